# Real mode.

.macro R name, c1, c2, c3, c4, c5
	TEST	"\name"
	REAL
	\c1
	\c2
	\c3
	\c4
	\c5
	END16
	RESULT
	NL
.endm
# With AX and SP.
.macro RA name, c1, c2, c3, c4, c5
	TEST	"\name"
	REAL
	\c1
	\c2
	\c3
	\c4
	\c5
	END16
	RESULT
	OUT	"eax", r_eax
	movzwl	r_esp, %eax
	OUTW	"sp", %eax
	NL
.endm

real_group:
	# ---- Exceptions: no error code; where they were
	R	"div by zero:", "xorw %cx, %cx", nop, "divw %cx"
	R	"aam 0:", "aam $0"
	R	"int3:", int3
	R	"into:", "movb $0x7F, %al", "incb %al", into
	R	"bound:", "movl $0x00050002, (0)", "movw $1, %ax", ".byte 0x62, 0x06, 0, 0"
	R	"ud2:", ud2
	R	"lock nop:", ".byte 0xF0, 0x90"
	R	"arpl:", "arpl %ax, %ax"
	R	"lldt:", "lldt %ax"
	R	"ltr:", "ltr %ax"
	R	"sldt:", "sldt %ax"
	R	"str:", "str %ax"
	R	"lar:", "lar %ax, %ax"
	R	"lsl:", "lsl %ax, %ax"
	R	"verr:", "verr %ax"
	R	"mov cs:", ".byte 0x8E, 0xC8"
	R	"mov cr4:", "movl %cr4, %eax"
	R	"sysenter:", sysenter
	R	"sysexit:", sysexit
	R	"hlt is not asked for:", nop
	R	"rdmsr, unknown:", "movl $0x4321, %ecx", rdmsr
	R	"fninit, em:", "movl %cr0, %eax", "orb $4, %al", "movl %eax, %cr0", fninit
	R	"sixteen bytes:", ".fill 15, 1, 0x3E", nop
	# ---- Limits of 64 KiB
	R	"a word at ffff:", "movw $0xFFFF, %bx", "movw (%bx), %ax"
	R	"a dword at fffd:", "movw $0xFFFD, %bx", "movl %eax, (%bx)"
	R	"a dword at fffc:", "movw $0xFFFC, %bx", "movl %eax, (%bx)"
	R	"a word at ffff of the stack:", "movw $0xFFFF, %bp", "movw (%bp), %ax"
	R	"an offset of 32 bits:", "movl $0x10000, %ebx", "movb (%ebx), %al"
	R	"an offset that wraps in 16 bits:", "movw $0xFFFF, %bx", "movb 2(%bx), %al"
	R	"movsw at ffff:", "movw $0xFFFF, %si", movsw
	R	"rep lodsb across ffff:", "movw $0xFFF0, %si", "movw $0x20, %cx", "rep lodsb"
	R	"jmp beyond:", "ljmpl $0x1000, $landing-S"
	R	"call beyond:", "movl $0x10000, %eax", "calll *%eax"
	R	"iret beyond:", "pushl $2", "pushl $0x1000", "pushl $0x10000", iretl
	R	"retf beyond:", "pushl $0x1000", "pushl $0x10000", lretl
	TEST	"code across ffff:"
	# At 7000:FFFE, a MOV of three bytes.
	movl	$0x000000B8, 0x7FFFE
	movw	$0x41CD, 0x70001
	movw	$0x41CD, 0x80001
	REAL
	ljmp	$0x7000, $0xFFFE
	END16
	OUT	"vec", r_vec
	OUTW	"cs", r_cs
	OUTW	"ip", r_eip
	NL
	TEST	"code up to ffff, then 0:"
	# At 7000:FFFF, a NOP; nothing wraps.
	movb	$0x90, 0x7FFFF
	movw	$0x41CD, 0x80000
	movw	$0x40CD, 0x70000
	REAL
	ljmp	$0x7000, $0xFFFF
	END16
	OUT	"vec", r_vec
	NL
	TEST	"jmp short wraps:"
	# At 7000:FFFD, JMP +1: to 7000:0000.
	movl	$0x0001EB, 0x7FFFD
	movw	$0x41CD, 0x80000
	movw	$0x40CD, 0x70000
	REAL
	ljmp	$0x7000, $0xFFFD
	END16
	OUT	"vec", r_vec
	NL
	# ---- The stack
	RA	"push sp:", "movl $0x7FFE, %eax", "pushw %sp", "popw %ax"
	RA	"push wraps:", "movl $0x12340000, %esp", "pushw $0x5678", "popw %ax", "pushw %ax"
	RA	"push at 2, four bytes:", "movl $4, %esp", "pushl $0x56781234", "popl %eax"
	RA	"pusha, popa:", "movw $0x1111, %ax", pushaw, "xorw %ax, %ax", popaw
	RA	"pusha keeps sp:", pushaw, "movw %sp, %bx", "movw %ss:6(%bx), %ax"
	RA	"enter, leave:", "movw $0x7F00, %bp", "enter $8, $2", "movw %sp, %ax", leave
	RA	"pop sp:", "pushw $0x1234", "popw %sp", "movw %sp, %ax", "movw $0x7F00, %sp"
	RA	"call near of 32 bits:", "calll 1f", "1: popl %eax", "subl $1b-S, %eax"
	RA	"push of a segment, 32 bits:", "pushl $-1", "popl %eax", "pushl %ds", "popl %eax", "andl $0xFFFF, %eax"
	RA	"ret n:", "pushw $0x1234", "pushw $1f-S", "retw $2", "1: movw %sp, %ax"
	# ---- INT and IRET
	TEST	"int, iret:"
	movl	$0x10000000 + real_int-S, IVT + 4 * 0x42
	REAL
	pushw	$0x4202
	popfw
	stc
	int	$0x42
	cli
	pushfw
	popw	%bx
	END16
	RESULT
	# FLAGS in the handler, those it returned with, SP
	andl	$0xFFD7, r_eax
	OUTW	"", r_eax
	andl	$0xFFD7, r_ebx
	OUTW	"", r_ebx
	OUTW	"sp", r_esp
	NL
	TEST	"int beyond the table:"
	REAL
	movw	$0x00FF, %ss:-8
	movl	$IVT, %ss:-6
	lidtl	%ss:-8
	int	$0x41
	END16
	RESULT
	NL
	TEST	"int through a table elsewhere:"
	movl	$IVT, %esi
	movl	$COPY, %edi
	movl	$256, %ecx
	rep movsl
	REAL
	movw	$0x03FF, %ss:-8
	movl	$COPY, %ss:-6
	lidtl	%ss:-8
	int	$0x41
	END16
	OUT	"vec", r_vec
	NL
	TEST	"flags of an exception:"
	REAL
	pushw	$0x7ED7
	popfw
	ud2
	END16
	movl	r_efl, %eax
	andl	$0x7FD7, %eax
	OUTW	"fl", %eax
	movl	v3, %eax
	andl	$0x7700, %eax
	OUTW	"then", %eax
	NL
	TEST	"popf, all ones:"
	REAL
	pushw	$0xFED7
	popfw
	pushfw
	popw	%ax
	pushw	$2
	popfw
	END16
	andl	$0xFFFF, r_eax
	OUTW	"", r_eax
	NL
	TEST	"popfd, all ones:"
	REAL
	pushl	$0xFFFFFED7
	popfl
	pushfl
	popl	%eax
	pushl	$2
	popfl
	END16
	OUT	"", r_eax
	NL
	TEST	"iretd, all ones:"
	REAL
	pushl	$0xFFFCFED7
	pushl	$0x1000
	pushl	$1f-S
	iretl
1:	pushfl
	popl	%eax
	pushl	$2
	popfl
	END16
	# VM and RF are not for it to set.
	andl	$0x0027FFFF, r_eax
	OUT	"", r_eax
	NL
	TEST	"single step:"
	REAL
	pushw	$0x0102
	popfw
	nop
	nop
	END16
	RESULT
	movl	r_dr6, %eax
	andl	$0xE00F, %eax
	OUTW	"dr6", %eax
	NL
	# ---- From and to protected mode
	TEST	"smsw, lmsw:"
	REAL
	smsww	%ax
	movw	%ax, %bx
	orb	$0xE, %al
	lmsw	%ax
	smsww	%ax
	END16
	andl	$0xFFFF, r_eax
	andl	$0xFFFF, r_ebx
	OUTW	"", r_ebx
	OUTW	"", r_eax
	NL
	TEST	"lmsw does not clear pe:"
	TRY
	xorl	%eax, %eax
	lmsw	%ax
	movl	%cr0, %eax
	END
	OUT	"", r_eax
	NL
	TEST	"unreal mode:"
	movl	$0x600DF00D, 0x200000
	DESC	T0, 0x0000FFFF, 0x008F9300
	movl	$T0, %eax
	TRY16
	# Into real mode with a limit of 4 GiB in FS.
	movw	%ax, %fs
	lidtl	%cs:ivt_pointer-S
	movl	%cr0, %eax
	andb	$0xFE, %al
	movl	%eax, %cr0
	ljmp	$0x1000, $1f-S
1:	movw	$0x6000, %ax
	movw	%ax, %ss
	movl	$0x7F00, %esp
	xorw	%ax, %ax
	movw	%ax, %fs
	movl	$0x200000, %ebx
	movl	%fs:(%ebx), %eax
	movw	$0x1234, %cx
	movw	%cx, %fs
	movb	%fs:(%ebx), %cl
	END16
	RESULT
	OUT	"eax", r_eax
	NL
	TEST	"the high memory area:"
	movl	$0x11223344, 0x100010
	REAL
	movw	$0xFFFF, %ax
	movw	%ax, %fs
	movl	%fs:0x20, %eax
	END16
	OUT	"", r_eax
	NL
	TEST	"a20 off:"
	movl	$0x11223344, 0x100500
	movl	$0x55667788, 0x500
	REAL
	movw	$0xFFFF, %ax
	movw	%ax, %fs
	inb	$0x92, %al
	andb	$0xFC, %al
	outb	%al, $0x92
	movl	%fs:0x510, %ebx
	movl	$0x99AABBCC, %fs:0x514
	orb	$2, %al
	outb	%al, $0x92
	movl	%fs:0x510, %ecx
	END16
	OUT	"", r_ebx
	OUT	"", r_ecx
	OUT	"", 0x504
	NL
	TEST	"a20 off, in protected mode, with code there:"
	movb	$0xB0, 0x100600
	movb	$0x11, 0x100601
	movb	$0xC3, 0x100602
	movb	$0xB0, 0x600
	movb	$0x22, 0x601
	movb	$0xC3, 0x602
	TRY
	xorl	%ecx, %ecx
	movl	$0x100600, %ebx
	call	*%ebx
	movb	%al, %cl
	inb	$0x92, %al
	andb	$0xFC, %al
	outb	%al, $0x92
	call	*%ebx
	movb	%al, %ch
	inb	$0x92, %al
	orb	$2, %al
	outb	%al, $0x92
	call	*%ebx
	END
	RESULT
	movzbl	r_eax, %eax
	OUTW	"", r_ecx
	OUTW	"", %eax
	NL
	# ---- Operand and address sizes
	RA	"lea of 16 bits of 32:", "movl $0x12345678, %ebx", "xorl %eax, %eax", "leaw 0x100(%ebx), %ax"
	RA	"lea of 32 bits of 16:", "movl $0x1234FFFF, %ebx", "leal 2(%bx), %eax"
	RA	"xlat:", "movw $0x100, %bx", "movb $0x77, 0x105", "movw $5, %ax", xlatb
	RA	"movs by 32-bit registers:", "movl $0x10, %esi", "movl $0x20, %edi", "movb $0x66, 0x10", ".byte 0x67, 0xA4", "movl 0x20, %eax"
	RA	"loop by ecx:", "movl $0x00010001, %ecx", "xorl %eax, %eax", ".byte 0x67, 0xE2, 1", "incw %ax"
	ret

# By itself: not every emulator goes on after it.
pg_group:
	R	"pg without pe:", "movl %cr0, %eax", "orl $0x80000000, %eax", "movl %eax, %cr0"
	ret

	.code16
real_int:
	pushfw
	popw	%ax
	# The caller's carry is cleared.
	pushw	%bp
	movw	%sp, %bp
	andb	$0xFE, 6(%bp)
	popw	%bp
	iretw
	.code32
