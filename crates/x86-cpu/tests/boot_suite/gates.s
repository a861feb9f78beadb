# Call gates, interrupt gates, and the returns from them.

# What a target of a gate finds: EFLAGS, CS, SS, ESP, and what is on its stack.
.set g_efl, VARS + 0x140
.set g_cs, VARS + 0x144
.set g_ss, VARS + 0x148
.set g_esp, VARS + 0x14C
.set g_stack, VARS + 0x150

gate_target:
	pushfl
	pushal
	movl	$DATA3, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	32(%esp), %eax
	movl	%eax, g_efl
	movl	%cs, %eax
	movl	%eax, g_cs
	movl	%ss, %eax
	movl	%eax, g_ss
	leal	36(%esp), %esi
	movl	%esi, g_esp
	movl	$g_stack, %edi
	movl	$8, %ecx
1:	movl	%ss:(%esi), %eax
	stosl
	addl	$4, %esi
	loop	1b
	popal
	popfl
	int	$0x40

# Prints what it found; the return address as an offset into the trial.
gate_report:
	RESULT
	cmpl	$0x40, r_vec
	jne	1f
	OUTW	"cs", g_cs
	OUTW	"ss", g_ss
	OUT	"esp", g_esp
	movl	g_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	movl	g_stack, %eax
	subl	t_base, %eax
	SAY	" stack"
	OUT	"", %eax
	OUT	"", g_stack+4
	movl	g_stack+8, %eax
	andl	g_mask, %eax
	OUT	"", %eax
	OUT	"", g_stack+12
	OUT	"", g_stack+16
	OUT	"", g_stack+20
1:	ret
.set g_mask, VARS + 0x170

# A word frame: the return address is 16 bits.
gate_report_16:
	RESULT
	cmpl	$0x40, r_vec
	jne	1f
	OUTW	"cs", g_cs
	OUTW	"ss", g_ss
	OUT	"esp", g_esp
	movzwl	g_stack, %eax
	subw	t_base, %ax
	SAY	" stack"
	OUTW	"", %eax
	OUTW	"", g_stack+2
	OUTW	"", g_stack+4
	OUTW	"", g_stack+6
	OUTW	"", g_stack+8
	OUTW	"", g_stack+10
1:	ret

gates_group:
	movl	$0xFFFFFFFF, g_mask
	# ---- Call gates
	TEST	"call gate to cpl 0, two parameters:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xEC, 2
	USER
	pushl	$0x1111
	pushl	$0x2222
	lcall	$GATE+3, $0
	END
	call	gate_report
	NL
	TEST	"call gate to cpl 1, no parameters:"
	CALLGATE GATE, CODE1 & 0xF8, gate_target-Z, 0xEC, 0
	USER
	lcall	$GATE, $0
	END
	call	gate_report
	NL
	TEST	"call gate, count 31:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xEC, 31
	USER
	pushl	$0x1111
	pushl	$0x2222
	lcall	$GATE+3, $0
	END
	RESULT
	OUT	"esp", g_esp
	NL
	TEST	"call gate, count E1h:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xEC, 0xE1
	USER
	pushl	$0x1111
	lcall	$GATE+3, $0
	END
	call	gate_report
	NL
	TEST	"call gate at the same level, two parameters:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xEC, 2
	TRY
	pushl	$0x1111
	pushl	$0x2222
	lcall	$GATE, $0
	END
	RESULT
	OUTW	"cs", g_cs
	OUT	"", g_stack+4
	OUT	"", g_stack+8
	OUT	"", g_stack+12
	NL
	TEST	"call gate to conforming code, two parameters:"
	CALLGATE GATE, CONFORM, gate_target-Z, 0xEC, 2
	USER
	pushl	$0x1111
	pushl	$0x2222
	lcall	$GATE+3, $0
	END
	RESULT
	OUT	"esp", g_esp
	OUT	"", g_stack+4
	OUT	"", g_stack+8
	NL
	TEST	"call gate to conforming code, cs:"
	CALLGATE GATE, CONFORM, gate_target-Z, 0xEC, 0
	USER
	lcall	$GATE+3, $0
	END
	RESULT
	OUTW	"cs", g_cs
	NL
	TEST	"call gate with a 16-bit operand:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xEC, 0
	USER
	.byte	0x66, 0x9A
	.word	0, GATE + 3
	END
	call	gate_report
	NL
	TEST	"call gate of 16 bits, two parameters:"
	# Its target is below 64 KiB: CODE0 with an offset of 16 bits leads to the copy there.
	CALLGATE GATE, T0, gate_target-S, 0xE4, 2
	DESC	T0, 0x0000FFFF, 0x00409B01
	USER
	pushw	$0x1111
	pushw	$0x2222
	lcall	$GATE+3, $0
	END
	call	gate_report_16
	NL
	TEST	"call gate of 16 bits at the same level:"
	CALLGATE GATE, T0, gate_target-S, 0x84, 2
	DESC	T0, 0x0000FFFF, 0x00409B01
	TRY
	lcall	$GATE, $0
	END
	RESULT
	movzwl	g_stack, %eax
	subw	t_base, %ax
	OUTW	"", %eax
	OUTW	"", g_stack+2
	NL
	TEST	"call gate, offset beyond the limit:"
	movw	$0x41CD, COPY + 0x1000
	CALLGATE GATE, T0, 0x1000, 0xEC, 0
	DESC	T0, 0x00000FFF, 0x00409B08
	USER
	lcall	$GATE+3, $0
	END
	RESULT
	NL
	TEST	"call gate, gate dpl below cpl:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xCC, 0
	USER
	lcall	$GATE+3, $0
	END
	RESULT
	NL
	TEST	"call gate, gate dpl below rpl:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xCC, 0
	TRY
	lcall	$GATE+3, $0
	END
	RESULT
	NL
	TEST	"call gate, not present:"
	CALLGATE GATE, CODE0, gate_target-Z, 0x6C, 0
	USER
	lcall	$GATE+3, $0
	END
	RESULT
	NL
	TEST	"call gate, not present and not allowed:"
	CALLGATE GATE, CODE0, gate_target-Z, 0x0C, 0
	USER
	lcall	$GATE+3, $0
	END
	RESULT
	NL
	TEST	"jmp gate to more privilege:"
	CALLGATE GATE, CODE0, gate_target-Z, 0xEC, 0
	USER
	ljmp	$GATE+3, $0
	END
	RESULT
	NL
	# The stack of the new level, by the TSS. Level 1, so that exceptions still find their stack.
.macro BADSTACK name, first, second, third
	TEST	"\name"
	CALLGATE GATE, CODE1 & 0xF8, gate_target-Z, 0xEC, 2
	\first
	\second
	\third
	USER
	lcall	$GATE+3, $0
	END
	call	gate_report
	NL
.endm
	BADSTACK "call gate, ss1 null:", "movw $0, TSS0 + 16"
	BADSTACK "call gate, ss1 null of rpl 1:", "movw $1, TSS0 + 16"
	BADSTACK "call gate, ss1 of rpl 0:", "movw $DATA1 & 0xF8, TSS0 + 16"
	BADSTACK "call gate, ss1 of dpl 0:", "movw $DATA0 + 1, TSS0 + 16"
	BADSTACK "call gate, ss1 of dpl 3:", "movw $DATA3 & 0xF8 + 1, TSS0 + 16"
	BADSTACK "call gate, ss1 code:", "movw $CODE1, TSS0 + 16"
	BADSTACK "call gate, ss1 beyond the gdt:", "movw $0x401, TSS0 + 16"
	BADSTACK "call gate, ss1 in no ldt:", "movw $0x05, TSS0 + 16"
	BADSTACK "call gate, ss1 read-only:", "movb $0xB1, GDT + (DATA1 & 0xF8) + 5"
	BADSTACK "call gate, ss1 not present:", "movb $0x33, GDT + (DATA1 & 0xF8) + 5"
	BADSTACK "call gate, ss1 too small:", "movl $0x0040B300, GDT + (DATA1 & 0xF8) + 4"
	BADSTACK "call gate, esp1 at 10h:", "movl $0x10, TSS0 + 12", "movl $0x0040B303, GDT + (DATA1 & 0xF8) + 4"
	BADSTACK "call gate, tss too short for ss1:", "movw $0x11, GDT + TASK0", "call ltr_again"
	BADSTACK "call gate, tss just long enough:", "movw $0x13, GDT + TASK0", "call ltr_again"
	BADSTACK "call gate, tss of 16 bits:", "call tss_of_16_bits"

	TEST	"call gate, ss1 of 16 bits:"
	CALLGATE GATE, CODE1 & 0xF8, stubs+16*0x40-Z, 0xEC, 2
	movl	$0x0000B307, GDT + (DATA1 & 0xF8) + 4
	movl	$0x12347000, TSS0 + 12
	USER
	lcall	$GATE+3, $0
	END
	# The stub of INT 40h ran at CPL 1, faulted there for its data segment, and left this.
	RESULT
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUT	"esp", r_esp
	NL

	# ---- Far returns
	TEST	"retf n to cpl 3 drops from both stacks:"
	movl	$DATA3, %edx
	TRY
	pushl	%edx
	pushl	$STACK3
	pushl	$0x1111
	pushl	$0x2222
	pushl	$CODE3
	pushl	$1f-Z
	lretl	$8
1:	END
	RESULT
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUT	"esp", r_esp
	NL
	TEST	"retf of 16 bits to cpl 3:"
	DESC	T0, 0x0000FFFF, 0x0040FB01
	TRY
	pushw	$DATA3
	pushw	$0x7F00
	pushw	$T0 + 3
	pushw	$1f-S
	lretw
1:	END
	RESULT
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	movzwl	r_esp, %eax
	OUTW	"sp", %eax
	NL
	TEST	"a return drops what cpl 3 may not have:"
	movl	$DATA0, %eax
	movl	$DATA3, %ecx
	movl	$CONFORM, %edx
	TRY
	movl	%ecx, %es
	movl	%edx, %fs
	movl	$CODE0, %edx
	movl	%edx, %gs
	pushl	%ecx
	pushl	$STACK3
	pushl	$CODE3
	pushl	$1f-Z
	lretl
1:	END
	RESULT
	OUTW	"ds", r_ds
	OUTW	"es", r_es
	OUTW	"fs", r_fs
	OUTW	"gs", r_gs
	NL
	TEST	"retf to an eip beyond the limit:"
	movw	$0x41CD, COPY + 0x1000
	DESC	T0, 0x00000FFF, 0x00409B08
	TRY
	pushl	$T0
	pushl	$0x1000
	lretl
	END
	RESULT
	NL
	TEST	"retf to null:"
	TRY
	pushl	$0
	pushl	$0
	lretl
	END
	RESULT
	NL
	TEST	"retf to cpl 3 with ss null:"
	TRY
	pushl	$0
	pushl	$STACK3
	pushl	$CODE3
	pushl	$0
	lretl
	END
	RESULT
	NL
	TEST	"iret to cpl 3 with ss null of rpl 3:"
	TRY
	pushl	$3
	pushl	$STACK3
	pushl	$2
	pushl	$CODE3
	pushl	$0
	iretl
	END
	RESULT
	NL
	TEST	"iret to cpl 1:"
	TRY
	pushl	$DATA1
	pushl	$STACK1
	pushl	$0x3002
	pushl	$CODE1
	pushl	$1f-Z
	iretl
1:	END
	RESULT
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUT	"esp", r_esp
	OUTW	"ds", r_ds
	NL
	TEST	"iret of 16 bits to cpl 3:"
	DESC	T0, 0x0000FFFF, 0x0040FB01
	TRY
	pushw	$DATA3
	pushw	$0x7F00
	pushw	$0x3202
	pushw	$T0 + 3
	pushw	$1f-S
	iretw
1:	END
	RESULT
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	movzwl	r_esp, %eax
	OUTW	"sp", %eax
	movl	r_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	NL

	# ---- Which flags can be changed: all ones and all zeros but TF, VM, RF; IOPL as given
.macro FLAGS name, begin, start, put, insn, value
	TEST	"\name"
	\begin	\start
	\put	\value
	\insn
	pushfl
	popl	%eax
	END
	RESULT
	movl	r_eax, %eax
	andl	$0x003E7FD7, %eax
	OUT	"fl", %eax
	NL
.endm
.macro ALLFLAGS name, begin, start
	FLAGS	"popfd \name ones:", \begin, \start, pushl, popfl, $0x001CFED7 | 0x200000
	FLAGS	"popfd \name zeros:", \begin, \start, pushl, popfl, $0
	FLAGS	"popf \name ones:", \begin, \start, pushw, popfw, $0xFED7
	FLAGS	"popf \name zeros:", \begin, \start, pushw, popfw, $0
.endm
	ALLFLAGS "cpl0", TRY,
	ALLFLAGS "cpl3 iopl0", USER, 0x0202
	ALLFLAGS "cpl3 iopl3", USER, 0x3202
.macro IRETFLAGS name, begin, start, cs, value
	TEST	"\name"
	\begin	\start
	pushl	$\value
	pushl	$\cs
	pushl	$1f-Z
	iretl
1:	pushfl
	popl	%eax
	END
	RESULT
	movl	r_eax, %eax
	andl	$0x003E7FD7, %eax
	OUT	"fl", %eax
	NL
.endm
	TEST	"popfd leaves vif and vip:"
	TRY
	pushl	$0x00180002
	pushl	$CODE0
	pushl	$1f-Z
	iretl
1:	pushl	$0
	popfl
	pushfl
	popl	%eax
	END
	RESULT
	OUT	"fl", r_eax
	NL
	TEST	"popfd sets neither vif nor vip:"
	TRY
	pushl	$0x00180002
	popfl
	pushfl
	popl	%eax
	END
	RESULT
	OUT	"fl", r_eax
	NL
	IRETFLAGS "iretd cpl0 ones:", TRY, , CODE0, 0x003CFED7
	IRETFLAGS "iretd cpl0 zeros:", TRY, , CODE0, 0
	IRETFLAGS "iretd cpl3 iopl0 ones:", USER, 0x0002, CODE3, 0x003CFED7
	IRETFLAGS "iretd cpl3 iopl0 zeros:", USER, 0x0202, CODE3, 0
	IRETFLAGS "iretd cpl3 iopl3 ones:", USER, 0x3002, CODE3, 0x003CFED7
	IRETFLAGS "iretd cpl3 iopl3 zeros:", USER, 0x3202, CODE3, 0

	# ---- Interrupt gates
	TEST	"int from cpl 3, interrupt gate:"
	INTGATE	0x41, CODE0, gate_target-Z, 0xEE
	movl	$0x003E7F00, g_mask
	USER	0x4202
	int	$0x41
	END
	call	gate_report
	NL
	TEST	"int from cpl 3, trap gate:"
	INTGATE	0x41, CODE0, gate_target-Z, 0xEF
	USER	0x4202
	int	$0x41
	END
	call	gate_report
	NL
	TEST	"int from cpl 3 to cpl 1:"
	INTGATE	0x41, CODE1 & 0xF8, gate_target-Z, 0xEE
	USER	0x202
	int	$0x41
	END
	call	gate_report
	NL
	TEST	"int from cpl 3 to conforming code:"
	INTGATE	0x41, CONFORM, gate_target-Z, 0xEE
	USER	0x202
	int	$0x41
	END
	call	gate_report
	NL
	TEST	"int at cpl 0:"
	INTGATE	0x41, CODE0, gate_target-Z, 0x8E
	TRY
	int	$0x41
	END
	RESULT
	OUTW	"cs", g_cs
	OUTW	"", g_stack+4
	NL
	TEST	"int through a 16-bit interrupt gate from cpl 3:"
	DESC	T0, 0x0000FFFF, 0x00409B01
	INTGATE	0x41, T0, gate_target-S, 0xE6
	USER	0x202
	int	$0x41
	END
	call	gate_report_16
	NL
	TEST	"int through a 16-bit trap gate at cpl 0:"
	DESC	T0, 0x0000FFFF, 0x00409B01
	INTGATE	0x41, T0, gate_target-S, 0x87
	TRY
	int	$0x41
	END
	RESULT
	movzwl	g_stack, %eax
	subw	t_base, %ax
	OUTW	"", %eax
	OUTW	"", g_stack+2
	movl	g_efl, %eax
	andl	$0x00027F00, %eax
	OUT	"fl", %eax
	NL
	TEST	"an exception through a 16-bit gate:"
	DESC	T0, 0x0000FFFF, 0x00409B01
	INTGATE	13, T0, gate_target-S, 0x86
	USER	0x202
	hlt
	END
	RESULT
	OUT	"esp", g_esp
	OUTW	"error", g_stack
	movzwl	g_stack+2, %eax
	subw	t_base, %ax
	OUTW	"ip", %eax
	OUTW	"", g_stack+4
	OUTW	"", g_stack+6
	OUTW	"", g_stack+8
	OUTW	"", g_stack+10
	NL
	# ---- What is wrong with a gate
	call	env
	SAY	"idt types cpl0: "
	xorl	%ebx, %ebx
1:	call	idt_type
	TRY
	int	$0x41
	END
	call	sign
	incl	%ebx
	cmpl	$32, %ebx
	jb	1b
	NL
	SAY	"idt types cpl3: "
	xorl	%ebx, %ebx
1:	call	idt_type
	USER
	int	$0x41
	END
	call	sign
	incl	%ebx
	cmpl	$32, %ebx
	jb	1b
	NL
	TEST	"int, gate dpl below cpl:"
	INTGATE	0x41, CODE0, stubs+16*0x40-Z, 0x8E
	USER
	int	$0x41
	END
	RESULT
	NL
	TEST	"int, gate not present:"
	INTGATE	0x41, CODE0, stubs+16*0x40-Z, 0x6E
	USER
	int	$0x41
	END
	RESULT
	NL
	TEST	"int, gate neither present nor allowed:"
	INTGATE	0x41, CODE0, stubs+16*0x40-Z, 0x0E
	USER
	int	$0x41
	END
	RESULT
	NL
	TEST	"int 0dh is no exception:"
	TRY
	int	$0x0D
	END
	movl	r_vec, %eax
	OUT	"vec", %eax
	# No error code was pushed: what the stub takes for it is EIP.
	movl	r_err, %eax
	subl	t_base, %eax
	OUT	"ip", %eax
	NL
	TEST	"int3 through a gate of dpl 0:"
	movb	$0x8E, IDT + 8 * 3 + 5
	USER
	int3
	END
	RESULT
	NL
	TEST	"into through a gate of dpl 0:"
	movb	$0x8E, IDT + 8 * 4 + 5
	USER 0x802
	into
	END
	RESULT
	NL
	TEST	"icebp through a gate of dpl 0:"
	USER
	.byte	0xF1
	END
	RESULT
	NL
	TEST	"bound through an absent gate:"
	movb	$0x0E, IDT + 8 * 5 + 5
	movl	$2, v0
	movl	$3, v1
	movl	$1, %eax
	TRY
	bound	%eax, v0
	END
	RESULT
	NL
	TEST	"int 5 through an absent gate:"
	movb	$0x0E, IDT + 8 * 5 + 5
	TRY
	int	$5
	END
	RESULT
	NL
	TEST	"int beyond the idt:"
	movw	$0x207, -6(%esp)
	movl	$IDT, -4(%esp)
	lidt	-6(%esp)
	TRY
	int	$0x41
	END
	RESULT
	lidt	idt_pointer-Z
	NL
	TEST	"a fault to null code:"
	movw	$0, IDT + 8 * 6 + 2
	TRY
	ud2
	END
	RESULT
	NL
	TEST	"int to null code:"
	movw	$0, IDT + 8 * 0x41 + 2
	TRY
	int	$0x41
	END
	RESULT
	NL
	TEST	"a fault to code beyond the gdt:"
	movw	$0x400, IDT + 8 * 6 + 2
	TRY
	ud2
	END
	RESULT
	NL
	TEST	"a fault to absent code:"
	DESC	T0, 0x0000FFFF, 0x00CF1B00
	movw	$T0, IDT + 8 * 6 + 2
	TRY
	ud2
	END
	RESULT
	NL
	TEST	"int to absent code:"
	DESC	T0, 0x0000FFFF, 0x00CF1B00
	movw	$T0, IDT + 8 * 0x41 + 2
	TRY
	int	$0x41
	END
	RESULT
	NL
	TEST	"a fault, the offset beyond the limit:"
	DESC	T0, 0x00000FFF, 0x00409B00
	movw	$T0, IDT + 8 * 6 + 2
	TRY
	ud2
	END
	RESULT
	NL
	TEST	"a fault to cpl 1, its ss not present:"
	movb	$0x33, GDT + (DATA1 & 0xF8) + 5
	movw	$CODE1 & 0xF8, IDT + 8 * 6 + 2
	USER
	ud2
	END
	RESULT
	NL
	TEST	"int to cpl 1, its ss not present:"
	movb	$0x33, GDT + (DATA1 & 0xF8) + 5
	movw	$CODE1 & 0xF8, IDT + 8 * 0x41 + 2
	USER
	int	$0x41
	END
	RESULT
	NL
	TEST	"a fault to cpl 1, its ss null:"
	movw	$0, TSS0 + 16
	movw	$CODE1 & 0xF8, IDT + 8 * 6 + 2
	USER
	ud2
	END
	RESULT
	NL
	TEST	"a fault to cpl 1, its stack too small:"
	movl	$0x0040B300, GDT + (DATA1 & 0xF8) + 4
	movw	$CODE1 & 0xF8, IDT + 8 * 6 + 2
	USER
	ud2
	END
	RESULT
	NL
	ret

# Gate 41h of type EBX to where INT 40h goes.
idt_type:
	call	env
	# A segment in which 16 bits reach the stub.
	DESC	T0, 0x0000FFFF, 0x00409B01
	INTGATE	0x41, T0, stubs+16*0x40-S, 0xE0
	orb	%bl, IDT + 8 * 0x41 + 5
	# A task gate leads to nothing.
	cmpl	$5, %ebx
	jne	1f
	movw	$0, IDT + 8 * 0x41 + 2
1:	movl	$0x41*8+2, t_sel
	ret

ltr_again:
	movb	$0x89, GDT + TASK0 + 5
	movw	$TASK0, %ax
	ltr	%ax
	ret

# TR of 16 bits with the same stacks of levels 0 and 1.
tss_of_16_bits:
	movl	$TSS0 << 16 & 0xFFFF0000 | 0x2B, GDT + TASK0
	movl	$TSS0 >> 16 | 0x8100, GDT + TASK0 + 4
	movw	$0xC000, TSS0 + 2
	movw	$DATA0, TSS0 + 4
	movw	$0xD000, TSS0 + 6
	movw	$DATA1, TSS0 + 8
	movw	$TASK0, %ax
	ltr	%ax
	ret
