# The body's beginning, and what all groups of tests use.

# ---- Where things are
.set GDT, 0x40800
.set IDT, 0x40000
.set LDT, 0x41000
.set TSS0, 0x42000
.set TSS1, 0x45000
.set TSS2, 0x45400
.set TSS3, 0x45800
.set VARS, 0x48000
.set IVT, 0x49000
.set PDIR, 0x4A000
.set PTAB, 0x4B000
.set PTAB2, 0x4F000
.set PDPT, 0x4C000
.set PAEDIR, 0x4D000
.set PAETAB, 0x4E000
.set STACK, 0x58000
.set STACK0, 0x5C000
.set STACK1, 0x5D000
.set STACKT, 0x5E000
.set STACK3, 0x67F00
.set DATA, 0x70000
.set PAGE, 0x78000
.set PAGE2, 0x79000
.set COPY, 0x80000

# ---- Selectors
.set CODE0, 0x08
.set DATA0, 0x10
.set CODE3, 0x1B
.set DATA3, 0x23
.set TASK0, 0x28
.set TASK1, 0x30
.set TASK2, 0x38
.set LDTSEL, 0x40
.set CODE16, 0x48
.set DATA16, 0x50
.set CODE1, 0x59
.set DATA1, 0x61
.set TASK3, 0x68
.set T0, 0x70
.set T1, 0x78
.set GATE, 0x80
.set CODE16U, 0x8B
.set CONFORM, 0x90
.set CODE2, 0x9A
.set DATA2, 0xA2

# ---- What the handlers write down
.set r_vec, VARS
.set r_err, VARS + 0x04
.set r_eip, VARS + 0x08
.set r_cs, VARS + 0x0C
.set r_efl, VARS + 0x10
.set r_esp, VARS + 0x14
.set r_ss, VARS + 0x18
.set r_es, VARS + 0x1C
.set r_ds, VARS + 0x20
.set r_fs, VARS + 0x24
.set r_gs, VARS + 0x28
.set r_cr2, VARS + 0x2C
.set r_cr0, VARS + 0x30
.set r_dr6, VARS + 0x34
.set r_tr, VARS + 0x38
.set r_link, VARS + 0x3C
.set r_edi, VARS + 0x40
.set r_esi, VARS + 0x44
.set r_ebp, VARS + 0x48
.set r_ebx, VARS + 0x50
.set r_edx, VARS + 0x54
.set r_ecx, VARS + 0x58
.set r_eax, VARS + 0x5C
.set r_hesp, VARS + 0x60
.set r_hss, VARS + 0x64
# ---- What a trial says before it begins
.set t_esp, VARS + 0x80
.set t_resume, VARS + 0x84
.set t_base, VARS + 0x88
.set t_sel, VARS + 0x8C
.set features, VARS + 0x90
.set v0, VARS + 0xA0
.set v1, VARS + 0xA4
.set v2, VARS + 0xA8
.set v3, VARS + 0xAC
.set irqs, VARS + 0xB0
.set irq_eip, VARS + 0xB4
.set irq_stop, VARS + 0xB8

# ---- Macros
# A test: the machine as it should be, and the line's beginning.
.macro TEST name
	call	env
	call	puts
	.asciz	"\name"
.endm
.macro SAY text
	call	puts
	.asciz	"\text"
.endm
# The value of an operand, after a word.
.macro OUT text, value:vararg
	call	puts
	.ascii	" "
	.ascii	"\text"
	.asciz	"="
	pushl	\value
	call	hex
.endm
# The same, of 16 bits.
.macro OUTW text, value:vararg
	call	puts
	.ascii	" "
	.ascii	"\text"
	.asciz	"="
	pushl	\value
	call	hexw
.endm
.macro NL
	call	newline
.endm
# Whatever happens between TRY and END is written down, and execution goes on behind END with all registers as before TRY.
.macro TRY
	call	try
	.long	771f-Z
.endm
.macro END
	int	$0x40
771:	popal
.endm
# TRY at CPL 3, with these EFLAGS.
.macro USER flags=2
	call	try_user
	.long	771f-Z, \flags
.endm
# TRY in V86 mode: DS = 7000h, ES = 7001h, FS = 7002h, GS = 7003h, SS:SP = 6000:7F00. Ends with INT3 and not with END.
.macro V86 flags=0x20002
	call	try_v86
	.long	771f-Z, \flags
	.code16
.endm
.macro ENDV86
	int3
	.code32
771:	popal
.endm
# TRY in 16-bit code of CPL 0.
.macro TRY16
	call	try_16
	.long	771f-Z
	.code16
.endm
# TRY in real mode: data segments 7000h, SS:SP = 6000:7F00.
.macro REAL
	call	try_real
	.long	771f-Z
	.code16
.endm
.macro END16
	int	$0x40
	.code32
771:	popal
.endm
# What the trial came to: "ok", or exception, error code and offset in the trial's code.
.macro RESULT
	call	report
.endm
# A descriptor or gate into the GDT.
.macro DESC selector, low, high
	movl	$\low, GDT + (\selector & 0xFFF8)
	movl	$\high, GDT + (\selector & 0xFFF8) + 4
.endm
.macro CALLGATE at, selector, target, access, count=0
	movl	$\target, %eax
	movw	%ax, GDT + \at
	movw	$\selector, GDT + \at + 2
	movw	$\access << 8 | \count, GDT + \at + 4
	shrl	$16, %eax
	movw	%ax, GDT + \at + 6
.endm
.macro INTGATE vector, selector, target, access
	movl	$\target, %eax
	movw	%ax, IDT + 8 * \vector
	movw	$\selector, IDT + 8 * \vector + 2
	movw	$\access << 8, IDT + 8 * \vector + 4
	shrl	$16, %eax
	movw	%ax, IDT + 8 * \vector + 6
.endm

# A model-specific register's low half; the high one is 0.
.macro MSR number, value
	movl	$\number, %ecx
	movl	$\value, %eax
	xorl	%edx, %edx
	wrmsr
.endm

# ---- The body
.code16
S:
	jmp	start
.org S + 4
# Which group runs: the runner writes it.
group:	.byte	0
.org S + 8
start:
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ds
	lgdtl	gdt_pointer_0-S
	movl	%cr0, %eax
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$CODE0, $start32-Z
	.balign	4, 0
gdt_pointer_0:
	.word	gdt_end - gdt - 1
	.long	gdt-Z
.code32
start32:
	movl	$DATA0, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	$STACK, %esp
	# What the tests use is clear at first.
	movl	$IDT, %edi
	movl	$(0x90000-IDT)/4, %ecx
	xorl	%eax, %eax
	rep stosl
	# All interrupts masked; the serial port at 115,200 baud, 8N1.
	movb	$0xFF, %al
	outb	%al, $0x21
	outb	%al, $0xA1
	movl	$serial_set_up-Z, %esi
	movl	$6, %ecx
1:	movzbl	(%esi), %edx
	addl	$0x3F8, %edx
	movb	1(%esi), %al
	outb	%al, %dx
	addl	$2, %esi
	loop	1b
	# A20 on.
	inb	$0x92, %al
	orb	$2, %al
	andb	$0xFE, %al
	outb	%al, $0x92
	call	env
	movl	$1, %eax
	cpuid
	movl	%edx, features
	# Is this the boot after a triple fault?
	movb	$0x6E, %al
	outb	%al, $0x70
	inb	$0x71, %al
	cmpb	$0xA5, %al
	jne	1f
	xorb	%al, %al
	outb	%al, $0x71
	SAY	"after it: reset"
	NL
	jmp	finish
1:	movzbl	group-Z, %eax
	movl	groups-Z(,%eax,4), %eax
	call	*%eax
finish:
	SAY	"SUITE-END"
	NL
1:	movw	$0x3FD, %dx
	inb	%dx, %al
	testb	$0x40, %al
	jz	1b
	# QEMU's isa-debug-exit, Bochs' shutdown port.
	movb	$0x10, %al
	outb	%al, $0xF4
	movl	$shutdown-Z, %esi
	movl	$8, %ecx
	movw	$0x8900, %dx
2:	lodsb
	outb	%al, %dx
	loop	2b
3:	cli
	hlt
	jmp	3b
shutdown:
	.ascii	"Shutdown"
serial_set_up:
	.byte	1, 0, 3, 0x80, 0, 1, 1, 0, 3, 3, 2, 0

	.balign	4, 0
groups:
	.long	real_group-Z, pg_group-Z, segments_group-Z, gates_group-Z, paging_group-Z, exceptions_group-Z, tasks_group-Z
	.long	v86_group-Z, vme_group-Z, debug_group-Z, code16_group-Z, system_group-Z, cr4_group-Z, interrupts_group-Z
	.long	x87_group-Z, irq13_group-Z, triple_group-Z

	.balign	8, 0
gdt:
	.quad	0
	.quad	0x00CF9B000000FFFF
	.quad	0x00CF93000000FFFF
	.quad	0x00CFFB000000FFFF
	.quad	0x00CFF3000000FFFF
	.long	(TSS0 & 0xFFFF) << 16 | 0x2088, TSS0 >> 16 | 0x8900
	.long	(TSS1 & 0xFFFF) << 16 | 0x67, TSS1 >> 16 | 0x8900
	.long	(TSS2 & 0xFFFF) << 16 | 0x2B, TSS2 >> 16 | 0x8100
	.long	(LDT & 0xFFFF) << 16 | 0xFF, LDT >> 16 | 0x8200
	.quad	0x00009B010000FFFF
	.quad	0x000093010000FFFF
	.quad	0x00CFBB000000FFFF
	.quad	0x00CFB3000000FFFF
	.long	(TSS3 & 0xFFFF) << 16 | 0x67, TSS3 >> 16 | 0x8900
	.quad	0, 0, 0
	.quad	0x0000FB010000FFFF
	.quad	0x00CF9F000000FFFF
	.quad	0x00CFDB000000FFFF
	.quad	0x00CFD3000000FFFF
gdt_end:
gdt_pointer:
	.word	0x3FF
	.long	GDT
idt_pointer:
	.word	0x7FF
	.long	IDT
ivt_pointer:
	.word	0x3FF
	.long	IVT

# ---- Everything back as it should be; no register changes
env:
	pushal
	cli
	cld
	movl	$0x31, %eax
	movl	%eax, %cr0
	xorl	%eax, %eax
	movl	%eax, %cr4
	movl	%eax, %dr7
	movl	%eax, %dr0
	movl	%eax, %dr1
	movl	%eax, %dr2
	movl	%eax, %dr3
	movl	%eax, %dr6
	# GDT, LDT
	movl	$gdt-Z, %esi
	movl	$GDT, %edi
	movl	$(gdt_end-gdt)/4, %ecx
	rep movsl
	movl	$(0x400-(gdt_end-gdt))/4, %ecx
	rep stosl
	movl	$LDT, %edi
	movl	$64, %ecx
	rep stosl
	lgdt	gdt_pointer-Z
	ljmp	$CODE0, $1f-Z
1:	movl	$DATA0, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	# IDT
	movl	$IDT, %edi
	movl	$stubs-Z, %eax
	movl	$256, %ecx
2:	movw	%ax, (%edi)
	movw	$CODE0, 2(%edi)
	movw	$0x8E00, 4(%edi)
	movl	%eax, %edx
	shrl	$16, %edx
	movw	%dx, 6(%edi)
	addl	$16, %eax
	addl	$8, %edi
	loop	2b
	movb	$0xEE, IDT + 8 * 3 + 5
	movb	$0xEE, IDT + 8 * 4 + 5
	movl	$0x40, %ecx
3:	movb	$0xEE, IDT + 5(,%ecx,8)
	incl	%ecx
	cmpl	$0x50, %ecx
	jb	3b
	lidt	idt_pointer-Z
	# IVT
	movl	$IVT, %edi
	movl	$real_stubs-S + 0x10000000, %eax
	movl	$256, %ecx
4:	stosl
	addl	$8, %eax
	loop	4b
	# TSSs
	xorl	%eax, %eax
	movl	$TSS0, %edi
	movl	$0x88/4, %ecx
	rep stosl
	decl	%eax
	movl	$0x2004/4, %ecx
	rep stosl
	incl	%eax
	movl	$TSS1, %edi
	movl	$0xC00/4, %ecx
	rep stosl
	movl	$STACK0, TSS0 + 4
	movl	$DATA0, TSS0 + 8
	movl	$STACK1, TSS0 + 12
	movl	$DATA1, TSS0 + 16
	movw	$0x88, TSS0 + 0x66
	xorl	%eax, %eax
	lldt	%ax
	movw	$TASK0, %ax
	ltr	%ax
	movl	$VARS, %edi
	movl	$0x68/4, %ecx
	xorl	%eax, %eax
	rep stosl
	popal
	ret

# ---- The beginning of a trial: behind the CALL lies where to go on
try:
	popl	t_base
	pushal
	movl	%esp, t_esp
	pushl	%eax
	movl	t_base, %eax
	pushl	(%eax)
	popl	t_resume
	leal	4(%eax), %eax
	movl	%eax, t_base
	popl	%eax
	jmp	*t_base
# and EFLAGS.
try_user:
	popl	t_base
	pushal
	movl	%esp, t_esp
	pushl	$DATA3
	pushl	$STACK3
	pushl	%eax
	movl	t_base, %eax
	pushl	(%eax)
	popl	t_resume
	addl	$8, t_base
	movl	4(%eax), %eax
	xchgl	%eax, (%esp)
	pushl	$CODE3
	pushl	t_base
	pushl	%eax
	movl	$DATA3, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	popl	%eax
	iretl
try_v86:
	popl	t_base
	pushal
	movl	%esp, t_esp
	pushl	$0x7003
	pushl	$0x7002
	pushl	$0x7000
	pushl	$0x7001
	pushl	$0x6000
	pushl	$0x7F00
	pushl	%eax
	movl	t_base, %eax
	pushl	(%eax)
	popl	t_resume
	addl	$8 - 0x10000, t_base
	movl	4(%eax), %eax
	xchgl	%eax, (%esp)
	pushl	$0x1000
	pushl	t_base
	iretl
try_16:
	popl	t_base
	pushal
	movl	%esp, t_esp
	pushl	%eax
	movl	t_base, %eax
	pushl	(%eax)
	popl	t_resume
	addl	$4 - 0x10000, t_base
	popl	%eax
	pushl	$2
	pushl	$CODE16
	pushl	t_base
	iretl
try_real:
	popl	t_base
	pushal
	movl	%esp, t_esp
	movl	t_base, %eax
	pushl	(%eax)
	popl	t_resume
	addl	$4 - 0x10000, t_base
	movl	t_base, %edi
	jmp	to_real

# ---- Output
putc:
	pushl	%edx
	pushl	%eax
	movw	$0x3FD, %dx
1:	inb	%dx, %al
	testb	$0x20, %al
	jz	1b
	popl	%eax
	movw	$0x3F8, %dx
	outb	%al, %dx
	popl	%edx
	ret
newline:
	pushl	%eax
	movb	$'\n', %al
	call	putc
	popl	%eax
	ret
# The text behind the CALL.
puts:
	xchgl	%esi, (%esp)
	pushl	%eax
1:	movb	(%esi), %al
	incl	%esi
	testb	%al, %al
	jz	2f
	call	putc
	jmp	1b
2:	popl	%eax
	xchgl	%esi, (%esp)
	ret
# The doubleword, or word, on the stack.
hexw:
	pushal
	movl	36(%esp), %eax
	shll	$16, %eax
	movl	$4, %ecx
	jmp	1f
hex:
	pushal
	movl	36(%esp), %eax
	movl	$8, %ecx
1:	call	digits
	popal
	ret	$4
# ECX digits from the top of EAX.
digits:
	roll	$4, %eax
	pushl	%eax
	andb	$15, %al
	cmpb	$10, %al
	sbbb	$0x69, %al
	das
	call	putc
	popl	%eax
	loop	digits
	ret

exception_names:
	.ascii	"DEDB02BPOFBRUDNMDF09TSNPSSGPPF0FMFACMCXM"

report:
	pushal
	movl	r_vec, %eax
	cmpl	$0x40, %eax
	jne	1f
	SAY	" ok"
	jmp	9f
1:	SAY	" #"
	cmpl	$20, %eax
	jae	2f
	movw	exception_names-Z(,%eax,2), %ax
	call	putc
	movb	%ah, %al
	call	putc
	jmp	3f
2:	shll	$24, %eax
	movl	$2, %ecx
	call	digits
3:	movl	r_vec, %eax
	call	has_error
	jnc	4f
	SAY	"("
	movl	r_err, %eax
	shll	$16, %eax
	movl	$4, %ecx
	call	digits
	SAY	")"
4:	SAY	"+"
	movl	r_eip, %eax
	subl	t_base, %eax
	cmpl	$0x200, %eax
	jae	5f
	shll	$16, %eax
	movl	$4, %ecx
	call	digits
	jmp	6f
5:	SAY	"elsewhere"
6:	cmpb	$14, r_vec
	jne	9f
	OUT	"cr2", r_cr2
9:	popal
	ret

# CF: exception EAX has an error code.
has_error:
	cmpl	$18, %eax
	jae	1f
	btl	%eax, error_codes-Z
	ret
1:	clc
	ret
	.balign	4, 0
error_codes:
	.long	0x00027D00

# A sign for what the trial came to: "." fine, a letter for an exception (capital if the error code is t_sel, small if it is 0),
# the letter and the error code if it is another.
sign:
	pushal
	movl	r_vec, %eax
	movb	$'.', %bl
	cmpl	$0x40, %eax
	je	5f
	movb	$'?', %bl
	cmpl	$20, %eax
	jae	5f
	movb	letters-Z(%eax), %bl
	call	has_error
	jnc	5f
	movl	r_err, %eax
	cmpl	t_sel, %eax
	je	5f
	testl	%eax, %eax
	jnz	6f
	orb	$0x20, %bl
5:	movb	%bl, %al
	call	putc
	popal
	ret
6:	movb	%bl, %al
	call	putc
	SAY	"("
	movl	r_err, %eax
	shll	$16, %eax
	movl	$4, %ecx
	call	digits
	SAY	")"
	popal
	ret
letters:
	.ascii	"DBIYORUMF9TNSGP0XAC1"

# ---- Exceptions and interrupts of protected mode
	.balign	16, 0x90
stubs:
.set vec, 0
.rept 256
	.if vec == 8 || vec == 17 || (vec >= 10 && vec <= 14)
	.byte	0x90, 0x90, 0x90, 0x90, 0x90
	.else
	.byte	0x68, 0, 0, 0, 0
	.endif
	.byte	0x68
	.long	vec
	.byte	0xE9
	.long	handler - . - 4
	.byte	0x90
	.set	vec, vec + 1
.endr

# [esp]: vector, error code, EIP, CS, EFLAGS, then ESP, SS if the level changed, then ES DS FS GS from V86 mode.
handler:
	pushal
	movl	%ds, %ebx
	movl	$DATA0, %eax
	movl	%eax, %ds
	movl	%ebx, r_ds
	movl	%es, %ebx
	movl	%ebx, r_es
	movl	%fs, %ebx
	movl	%ebx, r_fs
	movl	%gs, %ebx
	movl	%ebx, r_gs
	movl	%eax, %es
	leal	52(%esp), %ebx
	movl	%ss, %ecx
	movl	%ecx, r_hss
	testl	$0x20000, 48(%esp)
	jnz	1f
	testb	$3, 44(%esp)
	jz	2f
	movl	52(%esp), %ebx
	movl	56(%esp), %ecx
	jmp	2f
1:	movl	60(%esp), %ebx
	movl	%ebx, r_es
	movl	64(%esp), %ebx
	movl	%ebx, r_ds
	movl	68(%esp), %ebx
	movl	%ebx, r_fs
	movl	72(%esp), %ebx
	movl	%ebx, r_gs
	movl	52(%esp), %ebx
	movl	56(%esp), %ecx
2:	movl	%ebx, r_esp
	movl	%ecx, r_ss
	# Where the handler's frame ends: where its stack began.
	leal	40(%esp), %ebx
	movl	%ebx, r_hesp
	movl	32(%esp), %eax
	movl	%eax, r_vec
	movl	36(%esp), %eax
	movl	%eax, r_err
	movl	40(%esp), %eax
	movl	%eax, r_eip
	movl	44(%esp), %eax
	movl	%eax, r_cs
	movl	48(%esp), %eax
	movl	%eax, r_efl
	movl	%esp, %esi
	movl	$r_edi, %edi
	movl	$8, %ecx
3:	movl	%ss:(%esi), %eax
	movl	%eax, (%edi)
	addl	$4, %esi
	addl	$4, %edi
	loop	3b
recorded:
	movl	%cr2, %eax
	movl	%eax, r_cr2
	movl	%cr0, %eax
	movl	%eax, r_cr0
	xorl	%eax, %eax
	movl	%dr7, %ebx
	movl	%eax, %dr7
	movl	%dr6, %eax
	movl	%eax, r_dr6
	xorl	%eax, %eax
	str	%ax
	movl	%eax, r_tr
go_on:
	cld
	movl	$DATA0, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %fs
	movl	%eax, %gs
	movl	%eax, %ss
	movl	t_esp, %esp
	pushl	$2
	popfl
	# POPF leaves some flags; IRET at CPL 0 leaves none.
	pushl	$2
	pushl	$CODE0
	pushl	$1f-Z
	iretl
1:	jmp	*t_resume

# ---- Exceptions that need a task of their own
.set t_vec, VARS + 0xC0
# Exception AL goes to the task of TSS3, in which everything is in order.
by_task:
	pushal
	movzbl	%al, %eax
	movl	%eax, t_vec
	movw	$TASK3, IDT + 2(,%eax,8)
	movw	$0x8500, IDT + 4(,%eax,8)
	movl	%cr3, %eax
	movl	%eax, TSS3 + 0x1C
	movl	$task_handler-Z, TSS3 + 0x20
	movl	$2, TSS3 + 0x24
	movl	$STACKT, TSS3 + 0x38
	movl	$DATA0, %eax
	movl	%eax, TSS3 + 0x48
	movl	$CODE0, TSS3 + 0x4C
	movl	%eax, TSS3 + 0x50
	movl	%eax, TSS3 + 0x54
	movl	%eax, TSS3 + 0x58
	movl	%eax, TSS3 + 0x5C
	popal
	ret
# The old task's registers are in its TSS; the error code, if any, is on this stack.
task_handler:
	movl	t_vec, %eax
	movl	%eax, r_vec
	movl	$0, r_err
	call	has_error
	jnc	1f
	popl	r_err
1:	movl	%esp, r_hesp
	movl	%ss, %eax
	movl	%eax, r_hss
	# The task linked to: base of its descriptor.
	movzwl	TSS3, %eax
	movl	%eax, r_link
	movzwl	GDT + 2(%eax), %ebx
	movl	GDT + 4(%eax), %eax
	shll	$16, %eax
	andl	$0xFF0000, %eax
	orl	%eax, %ebx
	movl	0x20(%ebx), %eax
	movl	%eax, r_eip
	movl	0x24(%ebx), %eax
	movl	%eax, r_efl
	movl	0x38(%ebx), %eax
	movl	%eax, r_esp
	movl	0x48(%ebx), %eax
	movl	%eax, r_es
	movl	0x4C(%ebx), %eax
	movl	%eax, r_cs
	movl	0x50(%ebx), %eax
	movl	%eax, r_ss
	movl	0x54(%ebx), %eax
	movl	%eax, r_ds
	movl	0x58(%ebx), %eax
	movl	%eax, r_fs
	movl	0x5C(%ebx), %eax
	movl	%eax, r_gs
	leal	0x28(%ebx), %esi
	movl	$r_eax, %edi
	movl	$8, %ecx
2:	lodsl
	movl	%eax, (%edi)
	subl	$4, %edi
	loop	2b
	movl	%cr2, %eax
	movl	%eax, r_cr2
	movl	%cr0, %eax
	movl	%eax, r_cr0
	movl	%dr6, %eax
	movl	%eax, r_dr6
	xorl	%eax, %eax
	movl	%eax, %dr7
	str	%ax
	movl	%eax, r_tr
	clts
	movb	$0x89, GDT + TASK0 + 5
	movl	$TASK0, %eax
	ltr	%ax
	movb	$0x89, GDT + TASK3 + 5
	jmp	go_on

# ---- Paging: the first 4 MiB onto themselves, everything allowed; the directory's second entry leads to PTAB2
paging_on:
	pushal
	movl	$PDIR, %edi
	xorl	%eax, %eax
	movl	$1024, %ecx
	rep stosl
	movl	$PTAB + 7, PDIR
	movl	$PTAB2 + 7, PDIR + 4
	movl	$PTAB, %edi
	movl	$7, %eax
	movl	$1024, %ecx
1:	stosl
	addl	$0x1000, %eax
	loop	1b
	movl	$PTAB2, %edi
	xorl	%eax, %eax
	movl	$1024, %ecx
	rep stosl
	movl	$PDIR, %eax
	movl	%eax, %cr3
	movl	%eax, TSS3 + 0x1C
	movl	%cr0, %eax
	orl	$0x80000000, %eax
	movl	%eax, %cr0
	jmp	2f
2:	popal
	ret
# The entry of PAGE becomes EAX.
set_page:
	movl	%eax, PTAB + 4 * (PAGE >> 12)
	invlpg	PAGE
	ret
flush:	pushl	%eax
	movl	%cr3, %eax
	movl	%eax, %cr3
	popl	%eax
	ret

# ---- To real mode and back
to_real:
	lidt	ivt_pointer-Z
	ljmp	$CODE16, $1f-S
	.code16
1:	movw	$DATA16, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%ax, %ss
	movl	%cr0, %eax
	andb	$0xFE, %al
	movl	%eax, %cr0
	ljmp	$0x1000, $2f-S
2:	movw	$0x7000, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %fs
	movw	%ax, %gs
	movw	$0x6000, %ax
	movw	%ax, %ss
	movl	$0x7F00, %esp
	pushl	$2
	popfl
	jmp	*%di

	.balign	8, 0x90
real_stubs:
.set vec, 0
.rept 256
	.byte	0x68
	.word	vec
	.byte	0xE9
	.word	real_handler - . - 2
	.byte	0x90, 0x90
	.set	vec, vec + 1
.endr
# [sp]: vector, IP, CS, FLAGS
real_handler:
	pushal
	movw	%ds, %bx
	movw	$VARS >> 4, %ax
	movw	%ax, %ds
	movw	%bx, r_ds - VARS
	movl	%esp, %ebp
	movzwl	%bp, %ebp
	movzwl	32(%bp), %eax
	movl	%eax, r_vec - VARS
	movzwl	34(%bp), %eax
	movl	%eax, r_eip - VARS
	movzwl	36(%bp), %eax
	movl	%eax, r_cs - VARS
	movzwl	38(%bp), %eax
	movl	%eax, r_efl - VARS
	leal	40(%ebp), %eax
	movl	%eax, r_esp - VARS
	pushfl
	popl	%eax
	movl	%eax, v3 - VARS
	movl	%ss, %eax
	movl	%eax, r_ss - VARS
	movl	$0, r_err - VARS
	movw	$r_edi - VARS, %di
	movw	$8, %cx
1:	movl	(%bp), %eax
	movl	%eax, (%di)
	addw	$4, %bp
	addw	$4, %di
	loop	1b
	movw	$0x1000, %ax
	movw	%ax, %ds
	lgdtl	gdt_pointer-S
	lidtl	idt_pointer-S
	movl	%cr0, %eax
	movl	%eax, %ebx
	orb	$1, %al
	movl	%eax, %cr0
	ljmpl	$CODE0, $2f-Z
	.code32
2:	movl	$DATA0, %eax
	movl	%eax, %ds
	movl	%eax, %ss
	jmp	recorded
