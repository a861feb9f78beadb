# Descriptors: what can be loaded, what LAR and its kin say, limits.

# ---- Every descriptor type, DPL and RPL, in rows of the 32 types
# ESI: a name; EBP: what to do with selector EBX, and to print.
matrix:
	movl	$0x80, m_present
1:	movl	$0, m_dpl
2:	movl	$0, m_rpl
3:	cmpl	$0x80, m_present
	je	4f
	# Absent descriptors: the diagonal will do.
	movl	m_dpl, %eax
	cmpl	m_rpl, %eax
	jne	8f
4:	call	env
	call	text
	SAY	" dpl"
	movl	m_dpl, %eax
	call	digit
	SAY	" rpl"
	movl	m_rpl, %eax
	call	digit
	cmpl	$0x80, m_present
	je	5f
	SAY	" absent"
5:	SAY	": "
	movl	$0, m_sum
	movl	$0, m_type
6:	call	matrix_descriptor
	movl	$T0, t_sel
	movl	m_rpl, %ebx
	orl	$T0, %ebx
	pushal
	call	*%ebp
	popal
	incl	m_type
	cmpl	$32, m_type
	jb	6b
	cmpl	$0, m_sum
	je	7f
	OUT	"sum", m_sum
7:	NL
8:	incl	m_rpl
	cmpl	$4, m_rpl
	jb	3b
	incl	m_dpl
	cmpl	$4, m_dpl
	jb	2b
	subl	$0x80, m_present
	jz	1b
	ret
.set m_present, VARS + 0x100
.set m_dpl, VARS + 0x104
.set m_rpl, VARS + 0x108
.set m_type, VARS + 0x10C
.set m_sum, VARS + 0x110
.set m_far, VARS + 0x118

# Segments are flat; system descriptors have base 0 and limit 0.
matrix_descriptor:
	movl	m_dpl, %eax
	shll	$5, %eax
	orl	m_type, %eax
	orl	m_present, %eax
	shll	$8, %eax
	cmpl	$16, m_type
	jb	1f
	orl	$0x00CF0000, %eax
	movl	$0xFFFF, GDT + T0
	jmp	2f
1:	movl	$0, GDT + T0
2:	movl	%eax, GDT + T0 + 4
	ret
# EAX as a digit.
digit:	pushl	%eax
	addb	$'0', %al
	call	putc
	popl	%eax
	ret
# The text at ESI.
text:	pushal
1:	lodsb
	testb	%al, %al
	jz	2f
	call	putc
	jmp	1b
2:	popal
	ret
# Takes EAX into the row's sum.
sum:	pushl	%edx
	movl	m_sum, %edx
	roll	$5, %edx
	xorl	%eax, %edx
	movl	%edx, m_sum
	popl	%edx
	ret

.macro MATRIX name, function
	call	801f
	.asciz	"\name"
801:	popl	%esi
	movl	$\function-Z, %ebp
	call	matrix
.endm

load_fs_0:
	TRY
	movl	%ebx, %fs
	END
	call	sign
	# The accessed bit is set by a load that went through, and by no other.
	movl	GDT + T0 + 4, %eax
	andl	$0x100, %eax
	call	sum
	ret
load_fs_3:
	USER
	movl	%ebx, %fs
	END
	call	sign
	movl	GDT + T0 + 4, %eax
	andl	$0x100, %eax
	call	sum
	ret
load_ss_0:
	movl	$DATA0, %ecx
	TRY
	movl	%ebx, %ss
	movl	%ecx, %ss
	END
	call	sign
	ret
load_ss_3:
	movl	$DATA3, %ecx
	USER
	movl	%ebx, %ss
	movl	%ecx, %ss
	END
	call	sign
	ret
jump_0:
	movl	$1f-Z, m_far
	movw	%bx, m_far + 4
	TRY
	ljmp	*m_far
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
jump_3:
	movl	$1f-Z, m_far
	movw	%bx, m_far + 4
	USER
	ljmp	*m_far
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
call_0:
	movl	$1f-Z, m_far
	movw	%bx, m_far + 4
	TRY
	lcall	*m_far
1:	END
	call	sign
	ret
call_3:
	movl	$1f-Z, m_far
	movw	%bx, m_far + 4
	USER
	lcall	*m_far
1:	END
	call	sign
	movl	r_esp, %eax
	call	sum
	ret
# LAR, LSL, VERR, VERW: "+" for ZF.
.macro LOOK function, begin, mask, code:vararg
\function:
	\begin
	movl	$0x12345678, %eax
	\code
	END
	cmpl	$0x40, r_vec
	je	1f
	call	sign
	ret
	# LAR leaves bits 19:16 undefined.
1:	movl	r_eax, %eax
	andl	$\mask, %eax
	call	sum
	movb	$'-', %al
	testb	$0x40, r_efl
	jz	2f
	movb	$'+', %al
2:	call	putc
	ret
.endm
	LOOK	lar_0, TRY, 0xFFF0FFFF, larl %ebx, %eax
	LOOK	lar_3, USER, 0xFFF0FFFF, larl %ebx, %eax
	LOOK	lsl_0, TRY, 0xFFFFFFFF, lsll %ebx, %eax
	LOOK	lsl_3, USER, 0xFFFFFFFF, lsll %ebx, %eax
	LOOK	lar16_0, TRY, 0xFFFFFFFF, larw %bx, %ax
	LOOK	lsl16_0, TRY, 0xFFFFFFFF, lslw %bx, %ax
	LOOK	verr_0, TRY, 0xFFFFFFFF, verr %bx
	LOOK	verr_3, USER, 0xFFFFFFFF, verr %bx
	LOOK	verw_0, TRY, 0xFFFFFFFF, verw %bx
	LOOK	verw_3, USER, 0xFFFFFFFF, verw %bx
lldt_0:
	TRY
	lldt	%bx
	END
	call	sign
	ret
ltr_0:
	TRY
	ltr	%bx
	END
	call	sign
	# Marked busy if it went through; then the usual task again.
	movl	GDT + T0 + 4, %eax
	andl	$0x200, %eax
	call	sum
	movb	$0x89, GDT + TASK0 + 5
	movl	$TASK0, %eax
	ltr	%ax
	ret
# RETF and IRETD from CPL 0: to the same level, or to an outer one with a good stack there.
data_of_level:
	.word	DATA0, DATA1, DATA2, DATA3
retf_0:
	movl	%ebx, %edx
	andl	$3, %edx
	movzwl	data_of_level-Z(,%edx,2), %edx
	TRY
	pushl	%edx
	pushl	$STACK3
	pushl	%ebx
	pushl	$1f-Z
	lretl
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
iret_0:
	movl	%ebx, %edx
	andl	$3, %edx
	movzwl	data_of_level-Z(,%edx,2), %edx
	TRY
	pushl	%edx
	pushl	$STACK3
	pushl	$2
	pushl	%ebx
	pushl	$1f-Z
	iretl
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
retf_3:
	USER
	pushl	%ebx
	pushl	$1f-Z
	lretl
1:	END
	call	sign
	ret
iret_3:
	USER
	pushl	$2
	pushl	%ebx
	pushl	$1f-Z
	iretl
1:	END
	call	sign
	ret
# The stack that IRETD to CPL 3 takes along.
iret_ss:
	TRY
	pushl	%ebx
	pushl	$STACK3
	pushl	$2
	pushl	$CODE3
	pushl	$1f-Z
	iretl
1:	END
	call	sign
	ret
retf_ss:
	TRY
	pushl	%ebx
	pushl	$STACK3
	pushl	$CODE3
	pushl	$1f-Z
	lretl
1:	END
	call	sign
	ret
# A call gate, and an interrupt gate, to it.
gate_to:
	CALLGATE GATE, 0, 1f-Z, 0xEC, 0
	movw	%bx, GDT + GATE + 2
	USER
	lcall	$GATE+3, $0
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
jump_gate_to:
	CALLGATE GATE, 0, 1f-Z, 0xEC, 0
	movw	%bx, GDT + GATE + 2
	TRY
	ljmp	$GATE, $0
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
int_to_0:
	INTGATE	0x41, 0, 1f-Z, 0xEE
	movw	%bx, IDT + 8 * 0x41 + 2
	TRY
	int	$0x41
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
int_to_3:
	INTGATE	0x41, 0, 1f-Z, 0xEE
	movw	%bx, IDT + 8 * 0x41 + 2
	USER
	int	$0x41
1:	END
	call	sign
	movl	r_cs, %eax
	call	sum
	ret
segments_group:
	MATRIX	"mov fs cpl0", load_fs_0
	MATRIX	"mov fs cpl3", load_fs_3
	MATRIX	"mov ss cpl0", load_ss_0
	MATRIX	"mov ss cpl3", load_ss_3
	MATRIX	"jmp far cpl0", jump_0
	MATRIX	"jmp far cpl3", jump_3
	MATRIX	"call far cpl0", call_0
	MATRIX	"call far cpl3", call_3
	MATRIX	"lar cpl0", lar_0
	MATRIX	"lar cpl3", lar_3
	MATRIX	"lar16 cpl0", lar16_0
	MATRIX	"lsl cpl0", lsl_0
	MATRIX	"lsl cpl3", lsl_3
	MATRIX	"lsl16 cpl0", lsl16_0
	MATRIX	"verr cpl0", verr_0
	MATRIX	"verr cpl3", verr_3
	MATRIX	"verw cpl0", verw_0
	MATRIX	"verw cpl3", verw_3
	MATRIX	"lldt", lldt_0
	MATRIX	"ltr", ltr_0
	MATRIX	"retf cpl0", retf_0
	MATRIX	"retf cpl3", retf_3
	MATRIX	"iret cpl0", iret_0
	MATRIX	"iret cpl3", iret_3
	MATRIX	"iret ss", iret_ss
	MATRIX	"retf ss", retf_ss
	MATRIX	"call gate to", gate_to
	MATRIX	"jmp gate to", jump_gate_to
	MATRIX	"int gate to cpl0", int_to_0
	MATRIX	"int gate to cpl3", int_to_3

	# ---- Null selectors, and selectors beyond their table
	TEST	"null fs, used:"
	xorl	%eax, %eax
	TRY
	movl	%eax, %fs
	movl	%fs:0, %eax
	END
	RESULT
	NL
	TEST	"null gs of rpl 3, written:"
	movl	$3, %eax
	TRY
	movl	%eax, %gs
	movl	%eax, %gs:0
	END
	RESULT
	NL
	TEST	"null ss:"
	xorl	%eax, %eax
	TRY
	movl	%eax, %ss
	END
	RESULT
	NL
	TEST	"jmp null:"
	TRY
	ljmp	$0, $0
	END
	RESULT
	NL
	TEST	"call null of rpl 3:"
	TRY
	lcall	$3, $0
	END
	RESULT
	NL
	TEST	"fs beyond the gdt:"
	movl	$0x403, %eax
	TRY
	movl	%eax, %fs
	END
	RESULT
	NL
	TEST	"fs across the end of the gdt:"
	movw	$0x76, -6(%esp)
	movl	$GDT, -4(%esp)
	lgdt	-6(%esp)
	movl	$T0, %eax
	TRY
	movl	%eax, %fs
	END
	RESULT
	lgdt	gdt_pointer-Z
	NL
	TEST	"ds from no ldt:"
	movl	$4, %eax
	TRY
	movl	%eax, %ds
	END
	RESULT
	NL
	TEST	"ds from the ldt:"
	movl	$LDTSEL, %eax
	lldt	%ax
	movl	$0xFFFF, LDT
	movl	$0x00CF9200, LDT + 4
	movl	$4, %eax
	TRY
	movl	%eax, %ds
	END
	RESULT
	OUT	"access", LDT + 4
	NL
	TEST	"ds beyond the ldt:"
	movl	$LDTSEL, %eax
	lldt	%ax
	movl	$0x104, %eax
	TRY
	movl	%eax, %ds
	END
	RESULT
	NL
	TEST	"lldt from the ldt:"
	movl	$LDTSEL, %eax
	lldt	%ax
	movl	$0x0C, %eax
	TRY
	lldt	%ax
	END
	RESULT
	NL
	TEST	"ltr null:"
	xorl	%eax, %eax
	TRY
	ltr	%ax
	END
	RESULT
	NL
	TEST	"ltr of a busy tss:"
	movl	$TASK0, %eax
	TRY
	ltr	%ax
	END
	RESULT
	NL
	TEST	"lds, the pointer across the limit:"
	DESC	T0, 0x00000FFF, 0x00409307
	movl	$T0, %eax
	movl	%eax, %fs
	TRY
	ldsl	%fs:0xFFB, %eax
	END
	RESULT
	NL
	TEST	"arpl:"
	movl	$0x1234, %eax
	movl	$3, %ecx
	TRY
	arpl	%cx, %ax
	END
	RESULT
	OUT	"ax", r_eax
	movl	r_efl, %eax
	andl	$0x40, %eax
	OUT	"zf", %eax
	NL
	call	limits
	ret

# ---- Limits. Rows of accesses: reads of 1, 2 and 4 bytes, writes of 1, 2 and 4 bytes, at ten offsets
limit_offsets:
	.long	0, 0xFFC, 0xFFE, 0xFFF, 0x1000, 0x1001, 0xFFFC, 0xFFFD, 0xFFFF, 0x10000, 0xFFFFFFFC, 0xFFFFFFFF
limit_offsets_end:
.macro LIMIT name, low, high
	call	801f
	.asciz	"\name"
801:	popl	%esi
	movl	$\low, %eax
	movl	$\high, %edx
	call	limit_rows
.endm
limits:
	LIMIT	"limit up FFF", 0x00000FFF, 0x0040F307
	LIMIT	"limit up FFF b0", 0x00000FFF, 0x0000F307
	LIMIT	"limit up 0 pages", 0x00000000, 0x00C0F307
	LIMIT	"limit up read-only", 0x0000FFFF, 0x0040F107
	LIMIT	"limit up 4G", 0x0000FFFF, 0x00CFF307
	LIMIT	"limit down FFF", 0x00000FFF, 0x0040F707
	LIMIT	"limit down FFF b0", 0x00000FFF, 0x0000F707
	LIMIT	"limit down 0 pages", 0x00000000, 0x00C0F707
	LIMIT	"limit down read-only", 0x00000FFF, 0x0040F507
	LIMIT	"limit down 4G", 0x0000FFFF, 0x00CFF707
	LIMIT	"limit down FFFF b0", 0x0000FFFF, 0x0000F707
	LIMIT	"limit code readable", 0x00000FFF, 0x0040FB07
	ret
limit_rows:
	call	env
	movl	%eax, GDT + T0
	movl	%edx, GDT + T0 + 4
	movl	$0, t_sel
	call	text
	SAY	":"
	movl	$limit_offsets-Z, %edi
1:	SAY	" "
	movl	(%edi), %ebx
	movl	$T0+3, %ecx
	USER
	movl	%ecx, %fs
	movb	%fs:(%ebx), %al
	END
	call	sign
	USER
	movl	%ecx, %fs
	movw	%fs:(%ebx), %ax
	END
	call	sign
	USER
	movl	%ecx, %fs
	movl	%fs:(%ebx), %eax
	END
	call	sign
	USER
	movl	%ecx, %fs
	movb	%al, %fs:(%ebx)
	END
	call	sign
	USER
	movl	%ecx, %fs
	movw	%ax, %fs:(%ebx)
	END
	call	sign
	USER
	movl	%ecx, %fs
	addl	%eax, %fs:(%ebx)
	END
	call	sign
	addl	$4, %edi
	cmpl	$limit_offsets_end-Z, %edi
	jb	1b
	NL
	# By SS, if it can be one.
	movb	GDT + T0 + 5, %al
	andb	$0x0A, %al
	cmpb	$2, %al
	jne	3f
	call	text
	SAY	" ss:"
	movl	$limit_offsets-Z, %edi
2:	SAY	" "
	movl	(%edi), %ebx
	movl	$T0+3, %ecx
	USER
	movl	%ecx, %ss
	movl	%ss:(%ebx), %eax
	END
	call	sign
	USER
	movl	%ecx, %ss
	movl	%ebx, %esp
	pushl	%eax
	END
	call	sign
	USER
	movl	%ecx, %ss
	movl	%ebx, %esp
	pushw	%ax
	END
	call	sign
	USER
	movl	%ecx, %ss
	movl	%ebx, %esp
	popl	%eax
	END
	call	sign
	USER
	movl	%ecx, %ss
	movl	%ebx, %esp
	popw	%ax
	END
	call	sign
	movl	r_esp, %eax
	call	sum
	USER
	movl	%ecx, %ss
	movl	%ebx, %esp
	pushal
	END
	call	sign
	USER
	movl	%ecx, %ss
	movl	%ebx, %esp
	movl	%ebx, %ebp
	leave
	END
	call	sign
	addl	$4, %edi
	cmpl	$limit_offsets_end-Z, %edi
	jb	2b
	NL
3:	ret
