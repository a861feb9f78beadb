# x87 errors, with CR0.NE and without.

x87_group:
	TEST	"an unmasked division by zero waits:"
	TRY
	fninit
	pushl	$0x37B
	fldcw	(%esp)
	fld1
	fldz
	fdivrp
	nop
	fnop
	END
	RESULT
	NL
	TEST	"fwait takes it:"
	TRY
	fninit
	pushl	$0x37B
	fldcw	(%esp)
	fld1
	fldz
	fdivrp
	fnstsw	%ax
	fwait
	END
	RESULT
	movl	r_eax, %eax
	andl	$0x8084, %eax
	OUTW	"sw", %eax
	NL
	TEST	"fnclex does not:"
	TRY
	fninit
	pushl	$0x37B
	fldcw	(%esp)
	fld1
	fldz
	fdivrp
	fnclex
	fnop
	END
	RESULT
	NL
	TEST	"emms takes it:"
	TRY
	fninit
	pushl	$0x37B
	fldcw	(%esp)
	fld1
	fldz
	fdivrp
	emms
	END
	RESULT
	NL
	TEST	"fldcw unmasks it:"
	TRY
	fninit
	fld1
	fldz
	fdivrp
	pushl	$0x37B
	fldcw	(%esp)
	fwait
	END
	RESULT
	NL
	ret

# By itself: not every emulator goes on after it.
irq13_group:
	TEST	"without ne, irq 13:"
	call	pic_set_up
	INTGATE	0x5D, CODE0, x87_irq-Z, 0x8E
	movl	$0x11, %eax
	movl	%eax, %cr0
	movb	$0xFB, %al
	outb	%al, $0x21
	movb	$0xDF, %al
	outb	%al, $0xA1
	TRY
	fninit
	pushl	$0x37B
	fldcw	(%esp)
	sti
	fld1
	fldz
	fdivrp
	fwait
	nop
	nop
	cli
	fninit
	END
	RESULT
	OUT	"irqs", irqs
	movb	$0xFF, %al
	outb	%al, $0x21
	outb	%al, $0xA1
	NL
	ret

x87_irq:
	pushl	%eax
	incl	%ss:irqs
	xorb	%al, %al
	outb	%al, $0xF0
	fnclex
	movb	$0x20, %al
	outb	%al, $0xA0
	outb	%al, $0x20
	popl	%eax
	iretl
