# Debug registers, single step, the traps they make.

# A trial with DR0 at 771b-like label 1f, DR7 as given; the code holds the label.
.macro WATCH dr7, address
	movl	$\address, %eax
	movl	%eax, %dr0
	movl	$\dr7, %eax
	movl	%eax, %dr7
.endm
# DR7 for breakpoint 0: execute, write, ports, access; lengths 1, 2, 4.
.set X0, 0x00000002
.set W1, 0x00010002
.set W2, 0x00050002
.set W4, 0x000D0002
.set IO1, 0x00020002
.set IO2, 0x00060002
.set RW1, 0x00030002
.set RW2, 0x00070002
.set RW4, 0x000F0002

.macro DR6
	movl	r_dr6, %eax
	andl	$0xE00F, %eax
	OUTW	"dr6", %eax
.endm
# A data breakpoint and an access.
.macro DATAB name, dr7, address, c1, c2, c3, c4
	TEST	"\name"
	movl	$DATA, %ebx
	movl	$DATA, %esi
	movl	$DATA + 0x40, %edi
	movl	$4, %ecx
	WATCH	\dr7, \address
	TRY
	\c1
	\c2
	\c3
	\c4
	END
	RESULT
	DR6
	OUT	"ecx", r_ecx
	NL
.endm
# An instruction breakpoint at label 1 of the code.
.macro CODEB name, dr7, c1, c2, c3, c4
	TEST	"\name"
	WATCH	\dr7, 1f-Z
	TRY
	\c1
	\c2
	\c3
	\c4
	END
	RESULT
	DR6
	movl	r_efl, %eax
	andl	$0x10000, %eax
	OUT	"rf", %eax
	NL
.endm
# Code run with TF set by POPF.
.macro STEP name, c1, c2, c3, c4, c5
	TEST	"\name"
	movl	$DATA, %ebx
	movl	$DATA, %esi
	movl	$DATA + 0x40, %edi
	movl	$4, %ecx
	movl	$DATA0, %edx
	TRY
	pushl	$0x102
	popfl
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	DR6
	movl	r_efl, %eax
	andl	$0x10100, %eax
	OUT	"fl", %eax
	NL
.endm

debug_group:
	# ---- Instructions
	CODEB	"a breakpoint on an instruction:", X0, nop, "1: nop", nop
	CODEB	"not enabled:", 0, nop, "1: nop", nop
	CODEB	"local:", 1, nop, "1: nop", nop
	CODEB	"on the second byte:", X0, nop, ".byte 0xB8; 1: .byte 0x90, 0x90, 0x90, 0x90", nop
	CODEB	"on a prefix:", X0, "1: .byte 0x66; nop", nop
	CODEB	"on an instruction that faults:", X0, nop, "1: ud2", nop
	CODEB	"on int3:", X0, nop, "1: int3", nop
	CODEB	"behind popf with rf:", X0, "pushl $0x10002", popfl, "1: nop", nop
	CODEB	"behind iret with rf:", X0, "pushl $0x10002; pushl $CODE0; pushl $1f-Z", iretl, "1: nop", nop
	CODEB	"rf is gone after one:", X0, "pushl $0x10002; pushl $CODE0; pushl $2f-Z", iretl, "2: nop", "1: nop"
	CODEB	"behind mov ss:", X0, "movl %ss, %eax", "movl %eax, %ss", "1: nop", nop
	CODEB	"behind sti:", X0, "sti", "1: nop", "cli", nop
	CODEB	"at a branch's target:", X0, "jmp 1f", "ud2", "1: nop", nop
	CODEB	"with ge and le:", 0x00000302, nop, "1: nop", nop
	TEST	"the breakpoint's address has a length:"
	WATCH	0x00040002, 1f-Z
	TRY
	nop
1:	nop
	END
	# Undefined, but harmless: not an instruction breakpoint of one byte.
	movl	r_vec, %eax
	cmpl	$0x40, %eax
	je	1f
	cmpl	$1, %eax
	je	1f
	SAY	" strange"
1:	NL
	TEST	"two on one instruction:"
	movl	$1f-Z, %eax
	movl	%eax, %dr1
	movl	%eax, %dr3
	movl	$0x88, %eax
	movl	%eax, %dr7
	TRY
	nop
1:	nop
	END
	RESULT
	DR6
	NL
	TEST	"dr6 keeps its old bits:"
	movl	$0x8, %eax
	movl	%eax, %dr6
	WATCH	X0, 1f-Z
	TRY
	nop
1:	nop
	END
	RESULT
	movl	r_dr6, %eax
	# B3 of before may stay or go.
	andl	$0xE007, %eax
	OUTW	"dr6", %eax
	NL
	TEST	"a breakpoint at cpl 3:"
	WATCH	X0, 1f-Z
	USER
	nop
1:	nop
	END
	RESULT
	DR6
	OUTW	"cs", r_cs
	NL
	TEST	"on code of another page:"
	call	paging_on
	movl	$PAGE2 + 7, PTAB2 + 4
	movb	$0xC3, PAGE2
	WATCH	X0, 0x401000
	TRY
	movl	$PAGE2, %eax
	call	*%eax
	movl	$0x401000, %eax
	call	*%eax
	END
	movl	$0x401000, t_base
	RESULT
	DR6
	NL
	# ---- Data
	DATAB	"a byte written:", W1, DATA, "movb %al, (%ebx)", nop
	DATAB	"a byte read:", W1, DATA, "movb (%ebx), %al", nop
	DATAB	"a byte read, watched for access:", RW1, DATA, "movb (%ebx), %al", nop
	DATAB	"the byte before:", W1, DATA + 1, "movb %al, (%ebx)", nop
	DATAB	"a dword over it:", W1, DATA + 3, "movl %eax, (%ebx)", nop
	DATAB	"a dword below it:", W1, DATA + 4, "movl %eax, (%ebx)", nop
	DATAB	"in the middle of four:", W4, DATA, "movb %al, 3(%ebx)", nop
	DATAB	"behind four:", W4, DATA, "movb %al, 4(%ebx)", nop
	DATAB	"four at 2 begin at 0:", W4, DATA + 2, "movb %al, (%ebx)", nop
	DATAB	"two at 1 begin at 0:", RW2, DATA + 1, "movb (%ebx), %al", nop
	DATAB	"two, the third:", RW2, DATA, "movb 2(%ebx), %al", nop
	DATAB	"or, watched for writes:", W4, DATA, "orl $0, (%ebx)", nop
	DATAB	"cmp, watched for access:", RW4, DATA, "cmpl $0, (%ebx)", nop
	DATAB	"push:", W4, STACK - 0x100, "movl $STACK - 0xFC, %esp", "pushl %eax", nop
	DATAB	"call:", W4, STACK - 0x100, "movl $STACK - 0xFC, %esp", "call 1f", "1: nop"
	DATAB	"movs, its source:", RW4, DATA, "movsl", nop
	DATAB	"rep movs, the second:", W4, DATA + 0x44, "rep movsl", nop
	DATAB	"rep movs, the last:", W4, DATA + 0x4C, "rep movsl", nop
	DATAB	"rep stos:", W1, DATA + 0x42, "rep stosb; nop"
	DATAB	"fst:", W1, DATA + 7, "fnsave (%ebx)", nop
	DATAB	"a fetch is no access:", RW4, DATA, "movb $0xC3, (%ebx)", "movl %cr0, %eax", "call *%ebx"
	DATAB	"two instructions, the first:", W4, DATA, "movl %eax, (%ebx)", "movl %eax, 4(%ebx)"
	DATAB	"not when it faults:", RW4, DATA, "movl $DATA + 2, %eax", "xorl %ecx, %ecx", "divl (%ebx)"
	DATAB	"xchg:", RW4, DATA, "xchgl %eax, (%ebx)", nop
	# At CPL 3, so that the handler has a stack of its own.
	TEST	"pop:"
	WATCH	RW4, STACK3 - 0x100
	USER
	movl	$STACK3 - 0x100, %esp
	popl	%eax
	nop
	END
	RESULT
	DR6
	NL
	TEST	"lidt from it:"
	movw	$0x7FF, DATA
	movl	$IDT, DATA + 2
	WATCH	RW4, DATA
	TRY
	lidt	DATA
	nop
	END
	RESULT
	DR6
	NL
	TEST	"mov ss from it, then:"
	movl	$DATA0, v0
	WATCH	RW4, v0
	TRY
	movw	v0, %ss
	nop
	nop
	END
	RESULT
	DR6
	NL
	TEST	"across pages, the second:"
	call	paging_on
	WATCH	W1, PAGE2
	TRY
	movl	%eax, PAGE2 - 2
	nop
	END
	RESULT
	DR6
	NL
	TEST	"written at cpl 3:"
	WATCH	W4, DATA
	USER
	movl	%eax, DATA
	nop
	END
	RESULT
	DR6
	movl	r_efl, %eax
	andl	$0x10000, %eax
	OUT	"rf", %eax
	NL
	TEST	"two at once:"
	movl	$DATA, %eax
	movl	%eax, %dr1
	addl	$3, %eax
	movl	%eax, %dr2
	movl	$0x01100028, %eax
	movl	%eax, %dr7
	TRY
	movl	%eax, DATA
	nop
	END
	RESULT
	DR6
	NL
	# ---- Ports
	TEST	"a port, de:"
	movl	$8, %eax
	movl	%eax, %cr4
	WATCH	IO1, 0x80
	TRY
	outb	%al, $0x80
	nop
	END
	RESULT
	DR6
	NL
	TEST	"another port, de:"
	movl	$8, %eax
	movl	%eax, %cr4
	WATCH	IO2, 0x80
	TRY
	outb	%al, $0x82
	inb	$0x81, %al
	nop
	END
	RESULT
	DR6
	NL
	# ---- Single step
	STEP	"a step:", nop, nop, nop
	STEP	"a step over cli:", cli, nop
	STEP	"a step over a branch:", "jmp 1f", nop, "1: nop"
	STEP	"a step over popf without tf:", "pushl $2", popfl, nop
	STEP	"a step into int:", "int $0x42", nop
	STEP	"a step over int3:", int3, nop
	STEP	"a step over icebp:", ".byte 0xF1", nop
	STEP	"a step over a fault:", ud2, nop
	STEP	"a step over mov ss:", "movl %edx, %ss", nop, nop
	STEP	"a step over pop ss:", "pushl %edx", "popl %ss", nop, nop
	STEP	"a step over sti:", sti, nop, cli
	STEP	"a step over pushf:", "pushfl", "popl %eax"
	STEP	"a step over rep movs:", "rep movsb", nop
	STEP	"a step over mov dr7:", "movl %edx, %dr0", nop
	STEP	"a step over lds:", "movl %edx, %ds", nop
	STEP	"a step over cpuid:", cpuid, nop
	STEP	"a step over clts:", clts, nop
	STEP	"a step over mov cr3:", "movl %cr3, %eax; movl %eax, %cr3", nop
	TEST	"pushf shows tf:"
	TRY
	pushl	$0x102
	popfl
	pushfl
	END
	RESULT
	movl	r_esp, %eax
	movl	(%eax), %eax
	andl	$0x7702, %eax
	OUT	"", %eax
	NL
	TEST	"a step by iret to cpl 3:"
	USER	0x102
	nop
	nop
	END
	RESULT
	DR6
	NL
	TEST	"a step in v86 mode:"
	V86	0x23102
	nop
	nop
	ENDV86
	RESULT
	DR6
	NL
	TEST	"int at cpl 3 with tf:"
	USER	0x102
	int	$0x42
	END
	RESULT
	DR6
	NL
	TEST	"a step and a data breakpoint:"
	WATCH	W4, DATA
	TRY
	pushl	$0x102
	popfl
	movl	%eax, DATA
	nop
	END
	RESULT
	DR6
	NL
	TEST	"a step onto a breakpoint:"
	WATCH	X0, 1f-Z
	TRY
	pushl	$0x102
	popfl
	nop
1:	nop
	END
	RESULT
	movl	r_dr6, %eax
	andl	$0x4000, %eax
	OUTW	"bs", %eax
	NL
	TEST	"a repeated move at a breakpoint, stepped:"
	movl	$DATA, %esi
	movl	$DATA + 0x40, %edi
	movl	$3, %ecx
	TRY
	pushl	$0x102
	popfl
	rep movsb
	END
	RESULT
	DR6
	OUT	"ecx", r_ecx
	OUT	"esi", r_esi
	NL
	# ---- The registers themselves
	TEST	"dr6 and dr7, zeros:"
	xorl	%eax, %eax
	movl	%eax, %dr6
	movl	%eax, %dr7
	movl	%dr6, %ebx
	movl	%dr7, %ecx
	OUT	"dr6", %ebx
	OUT	"dr7", %ecx
	NL
	TEST	"dr6 and dr7, ones:"
	movl	$-1, %eax
	movl	%eax, %dr6
	movl	%dr6, %ebx
	movl	$0xFFFFD000, %eax
	movl	%eax, %dr7
	movl	%dr7, %ecx
	xorl	%eax, %eax
	movl	%eax, %dr7
	OUT	"dr6", %ebx
	OUT	"dr7", %ecx
	NL
	TEST	"dr4 is dr6:"
	movl	$0xA, %eax
	movl	%eax, %dr6
	movl	%dr4, %eax
	andl	$15, %eax
	OUT	"", %eax
	NL
	TEST	"dr5 with de:"
	movl	$8, %eax
	movl	%eax, %cr4
	TRY
	movl	%dr5, %eax
	END
	RESULT
	NL
	TEST	"general detect:"
	movl	$0x2000, %eax
	movl	%eax, %dr7
	TRY
	nop
	movl	%dr0, %eax
	END
	RESULT
	DR6
	NL
	TEST	"general detect ends in the handler:"
	movl	$0x2000, %eax
	movl	%eax, %dr7
	INTGATE	1, CODE0, debug_target-Z, 0x8E
	TRY
	movl	%eax, %dr0
	END
	RESULT
	OUT	"dr7", r_eax
	NL
	TEST	"general detect at cpl 3:"
	movl	$0x2000, %eax
	movl	%eax, %dr7
	movl	$0, v0
	INTGATE	13, CODE0, debug_protection-Z, 0x8E
	USER
	movl	%dr0, %eax
	END
	OUT	"first", v0
	NL
	TEST	"general detect and other exceptions:"
	movl	$0x2000, %eax
	movl	%eax, %dr7
	INTGATE	6, CODE0, debug_target-Z, 0x8E
	TRY
	ud2
	END
	RESULT
	DR6
	NL
	# A step over each iteration of a loop, counted by a handler that goes on.
	TEST	"steps counted:"
	INTGATE	1, CODE0, debug_count-Z, 0x8E
	movl	$0, v0
	movl	$DATA, %edi
	movl	$5, %ecx
	TRY
	pushl	$0x102
	popfl
	rep stosb
	movl	$3, %ecx
1:	loop	1b
	pushl	$2
	popfl
	END
	RESULT
	OUT	"", v0
	NL
	# Its iterations are one instruction.
	TEST	"a breakpoint on rep movs, counted:"
	INTGATE	1, CODE0, debug_resume-Z, 0x8E
	movl	$0, v0
	movl	$DATA, %esi
	movl	$DATA + 0x40, %edi
	movl	$4, %ecx
	WATCH	X0, 1f-Z
	TRY
1:	rep movsb
	END
	RESULT
	OUT	"", v0
	NL
	TEST	"rf set by the handler goes on:"
	INTGATE	1, CODE0, debug_resume-Z, 0x8E
	movl	$0, v0
	WATCH	X0, 1f-Z
	TRY
	movl	$4, %ecx
1:	loop	1b
	END
	RESULT
	OUT	"", v0
	NL
	ret

# By itself: not every emulator goes on after it.
code16_group:
	TEST	"a breakpoint in real mode:"
	movl	$1f-Z, %eax
	movl	%eax, %dr0
	movl	$2, %eax
	movl	%eax, %dr7
	REAL
	nop
1:	nop
	END16
	RESULT
	NL
	TEST	"a breakpoint in 16-bit code, linear and not effective:"
	WATCH	X0, 1f-Z
	TRY16
	nop
1:	nop
	END16
	RESULT
	DR6
	NL
	ret

debug_target:
	movl	%dr7, %eax
	movl	%dr6, %edx
	int	$0x40
# The handler's own access to DR7 ends the detection.
debug_protection:
	movl	$13, %ss:v0
	int	$0x42
debug_count:
	incl	v0
	iretl
debug_resume:
	incl	v0
	orl	$0x10000, 8(%esp)
	iretl
