# External interrupts: when they are taken, and how.

# The controllers: bases 50h and 58h, all masked.
pic_set_up:
	pushal
	movb	$0x11, %al
	outb	%al, $0x20
	outb	%al, $0xA0
	movb	$0x50, %al
	outb	%al, $0x21
	movb	$0x58, %al
	outb	%al, $0xA1
	movb	$4, %al
	outb	%al, $0x21
	movb	$2, %al
	outb	%al, $0xA1
	movb	$1, %al
	outb	%al, $0x21
	outb	%al, $0xA1
	movb	$0xFF, %al
	outb	%al, $0x21
	outb	%al, $0xA1
	INTGATE	0x50, CODE0, irq_handler-Z, 0x8E
	movl	$0, irqs
	movl	$0, irq_eip
	popal
	ret
# Makes IRQ 0 pending and unmasks it: counter 0 counts to its end while IF is 0.
request:
	pushal
	call	pic_set_up
	movb	$0x30, %al
	outb	%al, $0x43
	movb	$0x10, %al
	outb	%al, $0x40
	movb	$0, %al
	outb	%al, $0x40
	movb	$0x0A, %al
	outb	%al, $0x20
1:	inb	$0x20, %al
	testb	$1, %al
	jz	1b
	movb	$0xFE, %al
	outb	%al, $0x21
	popal
	ret
# Counts, and notes where it interrupted, in which code, with which flags and stack.
irq_handler:
	pushl	%eax
	movl	4(%esp), %eax
	movl	%eax, %ss:irq_eip
	movl	8(%esp), %eax
	movl	%eax, %ss:irq_cs
	movl	12(%esp), %eax
	movl	%eax, %ss:irq_efl
	leal	4(%esp), %eax
	movl	%eax, %ss:irq_esp
	incl	%ss:irqs
	movb	$0xFF, %al
	outb	%al, $0x21
	movb	$0x20, %al
	outb	%al, $0x20
	popl	%eax
	iretl
.set irq_cs, VARS + 0xC4
.set irq_efl, VARS + 0xC8
.set irq_esp, VARS + 0xCC

irq_report:
	RESULT
	OUT	"irqs", irqs
	cmpl	$0, irqs
	je	1f
	movl	irq_eip, %eax
	subl	t_base, %eax
	OUTW	"at", %eax
	OUTW	"cs", irq_cs
	movl	irq_efl, %eax
	andl	$0x003F7F00, %eax
	OUT	"fl", %eax
1:	NL
	movb	$0xFF, %al
	outb	%al, $0x21
	ret
.macro IRQ name, c1, c2, c3, c4, c5
	TEST	"\name"
	call	request
	movl	$DATA0, %edx
	movl	$0x100, %ecx
	movl	$DATA, %edi
	TRY
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	call	irq_report
.endm

interrupts_group:
	IRQ	"sti:", sti, nop, nop, cli
	IRQ	"sti, cli:", sti, cli, nop
	IRQ	"sti, sti:", sti, sti, nop, cli
	IRQ	"sti, mov ss:", sti, "movl %edx, %ss", nop, nop, cli
	IRQ	"popf:", "pushl $0x202", popfl, nop, cli
	IRQ	"popf, mov ss:", "pushl $0x202", popfl, "movl %edx, %ss", nop, cli
	IRQ	"iret:", "pushl $0x202", "pushl $CODE0", "pushl $1f-Z", iretl, "1: nop; cli"
	IRQ	"sti, hlt:", sti, hlt, nop, cli
	IRQ	"sti, a branch:", sti, "jmp 1f", nop, "1: nop", cli
	IRQ	"sti, rep stos:", sti, "rep stosb", nop, cli
	IRQ	"sti, a fault:", sti, ud2, nop, cli
	IRQ	"sti, int:", sti, "int $0x42", cli
	IRQ	"sti, popf with if clear:", "pushl $2", sti, popfl, nop
	TEST	"sti, and with if set already:"
	call	pic_set_up
	TRY
	sti
	call	request_on
	nop
	cli
	END
	OUT	"irqs", irqs
	NL
	TEST	"masked:"
	call	request
	movb	$0xFF, %al
	outb	%al, $0x21
	TRY
	sti
	nop
	nop
	cli
	END
	call	irq_report
	TEST	"at cpl 3:"
	call	request
	USER	0x202
	nop
	END
	RESULT
	OUT	"irqs", irqs
	OUTW	"cs", irq_cs
	movl	$STACK0, %eax
	subl	irq_esp, %eax
	OUT	"frame", %eax
	NL
	TEST	"in v86 mode:"
	call	request
	V86	0x23202
	nop
	ENDV86
	RESULT
	OUT	"irqs", irqs
	OUTW	"cs", irq_cs
	movl	irq_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	movl	$STACK0, %eax
	subl	irq_esp, %eax
	OUT	"frame", %eax
	NL
	TEST	"in v86 mode, sti:"
	call	request
	V86	0x23002
	sti
	nop
	nop
	ENDV86
	OUT	"irqs", irqs
	movl	irq_eip, %eax
	subl	t_base, %eax
	OUTW	"at", %eax
	NL
	TEST	"in v86 mode, if set, iopl0:"
	call	request
	V86	0x20202
	nop
	ENDV86
	OUT	"irqs", irqs
	NL
	TEST	"through a task gate:"
	call	request
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 0x50
	movl	$0x8500, IDT + 8 * 0x50 + 4
	movl	$irq_task-Z, TSS1 + 0x20
	TRY
	sti
	nop
	nop
	cli
	END
	RESULT
	OUT	"irqs", irqs
	movl	TSS0 + 0x20, %eax
	subl	t_base, %eax
	OUTW	"at", %eax
	NL
	TEST	"through a task gate, and back:"
	call	request
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 0x50
	movl	$0x8500, IDT + 8 * 0x50 + 4
	movl	$irq_task_back-Z, TSS1 + 0x20
	TRY
	sti
	nop
	nop
	cli
	END
	RESULT
	OUT	"irqs", irqs
	OUTW	"tr", r_tr
	NL
	TEST	"through a trap gate:"
	call	request
	movw	$0x8F00, IDT + 8 * 0x50 + 4
	INTGATE	0x50, CODE0, irq_flags-Z, 0x8F
	TRY
	sti
	nop
	nop
	END
	movl	r_eax, %eax
	andl	$0x7F00, %eax
	OUT	"fl", %eax
	NL
	TEST	"through an absent gate:"
	call	request
	movb	$0x0E, IDT + 8 * 0x50 + 5
	TRY
	sti
	nop
	nop
	END
	RESULT
	NL
	TEST	"through a gate to null:"
	call	request
	movw	$0, IDT + 8 * 0x50 + 2
	TRY
	sti
	nop
	nop
	END
	RESULT
	NL
	TEST	"beyond the idt:"
	call	request
	movw	$0x27F, -6(%esp)
	movl	$IDT, -4(%esp)
	lidt	-6(%esp)
	TRY
	sti
	nop
	nop
	END
	RESULT
	lidt	idt_pointer-Z
	NL
	TEST	"with a step:"
	call	request
	TRY
	pushl	$0x302
	popfl
	nop
	nop
	END
	RESULT
	OUT	"irqs", irqs
	NL
	TEST	"a step is taken before it:"
	call	request
	INTGATE	1, CODE0, irq_step-Z, 0x8E
	movl	$0, v0
	TRY
	pushl	$0x102
	popfl
	sti
	nop
	pushl	$2
	popfl
	END
	RESULT
	OUT	"irqs", irqs
	OUT	"steps", v0
	NL
	# In real mode, by a table elsewhere.
	TEST	"real mode, sti:"
	call	request
	movl	$0x10000000 + irq_real-S, IVT + 4 * 0x50
	REAL
	sti
	nop
	nop
	cli
	END16
	RESULT
	OUT	"irqs", irqs
	movl	irq_eip, %eax
	subl	t_base, %eax
	OUTW	"at", %eax
	OUTW	"fl", irq_efl
	NL
	TEST	"real mode, hlt:"
	call	request
	movl	$0x10000000 + irq_real-S, IVT + 4 * 0x50
	REAL
	sti
	hlt
	nop
	cli
	END16
	RESULT
	OUT	"irqs", irqs
	movl	irq_eip, %eax
	subl	t_base, %eax
	OUTW	"at", %eax
	NL
	ret

request_on:
	movb	$0x30, %al
	outb	%al, $0x43
	movb	$0x10, %al
	outb	%al, $0x40
	movb	$0, %al
	outb	%al, $0x40
	movb	$0xFE, %al
	outb	%al, $0x21
1:	cmpl	$0, irqs
	je	1b
	ret
irq_task:
	incl	irqs
	movb	$0x20, %al
	outb	%al, $0x20
	int	$0x40
irq_task_back:
	incl	irqs
	movb	$0xFF, %al
	outb	%al, $0x21
	movb	$0x20, %al
	outb	%al, $0x20
	iretl
irq_flags:
	pushfl
	movb	$0x20, %al
	outb	%al, $0x20
	popl	%eax
	int	$0x40
irq_step:
	incl	v0
	iretl
	.code16
irq_real:
	pushw	%ax
	pushw	%ds
	pushw	%bp
	movw	%sp, %bp
	movw	$VARS >> 4, %ax
	movw	%ax, %ds
	movw	6(%bp), %ax
	movw	%ax, irq_eip - VARS
	movw	10(%bp), %ax
	movw	%ax, irq_efl - VARS
	incw	irqs - VARS
	movb	$0xFF, %al
	outb	%al, $0x21
	movb	$0x20, %al
	outb	%al, $0x20
	popw	%bp
	popw	%ds
	popw	%ax
	iretw
	.code32
