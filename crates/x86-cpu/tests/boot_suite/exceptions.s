# Exceptions: vectors, error codes, saved addresses, and what becomes of one on another.

.macro FAULT name, c1, c2, c3, c4, c5
	TEST	"\name"
	TRY
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	NL
.endm
.macro FAULTU name, c1, c2, c3, c4, c5
	TEST	"\name"
	USER
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	NL
.endm
.macro BYTES name, code:vararg
	TEST	"\name"
	movl	$DATA, %eax
	movl	%eax, %ebx
	TRY
	.byte	\code
	END
	RESULT
	NL
.endm

exceptions_group:
	# ---- One of each
	TEST	"div by zero:"
	xorl	%ecx, %ecx
	TRY
	nop
	divl	%ecx
	END
	RESULT
	NL
	TEST	"div overflow:"
	movl	$1, %ecx
	movl	$1, %edx
	TRY
	divl	%ecx
	END
	RESULT
	OUT	"edx", r_edx
	NL
	TEST	"idiv overflow:"
	movl	$0x80000000, %eax
	movl	$-1, %edx
	movl	$-1, %ecx
	TRY
	idivl	%ecx
	END
	RESULT
	OUT	"eax", r_eax
	NL
	TEST	"idiv of bytes, -128:"
	movw	$-128, %ax
	movb	$1, %cl
	TRY
	idivb	%cl
	END
	RESULT
	movzwl	r_eax, %eax
	OUTW	"ax", %eax
	NL
	FAULT	"aam 0:", "aam $0"
	BYTES	"icebp:", 0x90, 0xF1
	FAULT	"int3:", "int3"
	BYTES	"int 3 of two bytes:", 0xCD, 3
	TEST	"into:"
	movb	$0x7F, %al
	TRY
	addb	$1, %al
	into
	END
	RESULT
	NL
	FAULT	"into without overflow:", "into"
	TEST	"bound, below:"
	movl	$5, v0
	movl	$7, v1
	movl	$4, %eax
	TRY
	bound	%eax, v0
	END
	RESULT
	NL
	TEST	"bound, at its ends:"
	movl	$-5, v0
	movl	$7, v1
	movl	$-5, %eax
	movl	$7, %ecx
	TRY
	bound	%eax, v0
	bound	%ecx, v0
	END
	RESULT
	NL
	TEST	"bound, above, 16 bits:"
	movl	$0x0007FFFF, v0
	movl	$8, %eax
	TRY
	data16 bound %eax, v0
	END
	RESULT
	NL
	# ---- Undefined
	FAULT	"ud2:", "ud2"
	BYTES	"0f ff:", 0x0F, 0xFF, 0xC0
	BYTES	"lock nop:", 0xF0, 0x90
	BYTES	"lock mov:", 0xF0, 0x89, 0x00
	BYTES	"lock add r:", 0xF0, 0x01, 0xC0
	BYTES	"lock add m:", 0xF0, 0x01, 0x00
	BYTES	"lock cmp m:", 0xF0, 0x39, 0x00
	BYTES	"lock bt m:", 0xF0, 0x0F, 0xA3, 0x00
	BYTES	"lock bts m:", 0xF0, 0x0F, 0xAB, 0x00
	BYTES	"lock xchg m:", 0xF0, 0x87, 0x00
	BYTES	"lock inc r:", 0xF0, 0x40
	BYTES	"lea r:", 0x8D, 0xC0
	BYTES	"mov cs:", 0x8E, 0xC8
	BYTES	"mov sreg 6:", 0x8E, 0xF0
	BYTES	"mov from sreg 7:", 0x8C, 0xF8
	BYTES	"les r:", 0xC4, 0xC0
	BYTES	"lss r:", 0x0F, 0xB2, 0xC0
	BYTES	"bound r:", 0x62, 0xC0
	BYTES	"call far r:", 0xFF, 0xD8
	BYTES	"jmp far r:", 0xFF, 0xE8
	BYTES	"ff /7:", 0xFF, 0xF8
	BYTES	"fe /2:", 0xFE, 0xD0
	BYTES	"fe /7:", 0xFE, 0xF8
	BYTES	"8f /1:", 0x8F, 0xC8
	BYTES	"c6 /1:", 0xC6, 0xC8, 0
	BYTES	"c7 /7:", 0xC7, 0xF8, 0, 0, 0, 0
	BYTES	"cmpxchg8b r:", 0x0F, 0xC7, 0xC8
	BYTES	"0f c7 /0 m:", 0x0F, 0xC7, 0x00
	BYTES	"0f ba /3:", 0x0F, 0xBA, 0xD8, 0
	BYTES	"mov cr1:", 0x0F, 0x20, 0xC8
	BYTES	"mov to cr5:", 0x0F, 0x22, 0xE8
	BYTES	"mov to cr7:", 0x0F, 0x22, 0xF8
	BYTES	"mov tr:", 0x0F, 0x24, 0xC0
	BYTES	"0f 00 /6:", 0x0F, 0x00, 0xF0
	BYTES	"0f 01 /5:", 0x0F, 0x01, 0xE8
	BYTES	"lgdt r:", 0x0F, 0x01, 0xD0
	BYTES	"sgdt r:", 0x0F, 0x01, 0xC0
	BYTES	"invlpg r:", 0x0F, 0x01, 0xF8
	BYTES	"syscall:", 0x0F, 0x05
	BYTES	"rsm:", 0x0F, 0xAA
	BYTES	"ud1:", 0x0F, 0xB9, 0xC0
	BYTES	"salc:", 0xD6
	BYTES	"82h:", 0x82, 0xC0, 1
	BYTES	"d0 /6:", 0xD0, 0xF0
	BYTES	"f6 /1:", 0xF6, 0xC8, 1
	BYTES	"fifteen bytes:", 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x90
	BYTES	"sixteen bytes:", 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x3E, 0x90
	# ---- Not available
.macro NOFPU name, bits, c1, c2, c3, c4, c5
	TEST	"\name"
	movl	%cr0, %eax
	andl	$~0xE, %eax
	orl	$\bits, %eax
	TRY
	movl	%eax, %cr0
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	NL
.endm
	NOFPU	"fninit, em:", 4, "fninit"
	NOFPU	"fninit, ts:", 8, "fninit"
	NOFPU	"fninit, mp:", 2, "fninit"
	NOFPU	"fwait, em:", 4, "fwait"
	NOFPU	"fwait, ts:", 8, "fwait"
	NOFPU	"fwait, mp ts:", 0xA, "fwait"
	NOFPU	"fwait, mp:", 2, "fwait"
	NOFPU	"emms, ts:", 8, "emms"
	NOFPU	"emms, em:", 4, "emms"
	NOFPU	"fxsave, ts:", 8, "fxsave DATA"
	NOFPU	"fxsave, em:", 4, "fxsave DATA"
	NOFPU	"ud2, ts:", 8, "ud2"
	# ---- Privileged, at CPL 3
	FAULTU	"hlt cpl3:", "hlt"
	FAULTU	"clts cpl3:", "clts"
	FAULTU	"lgdt cpl3:", "lgdt DATA"
	FAULTU	"lidt cpl3:", "lidt DATA"
	FAULTU	"lmsw cpl3:", "lmsw %ax"
	FAULTU	"smsw cpl3:", "smsw %ax"
	FAULTU	"sgdt cpl3:", "sgdt DATA"
	FAULTU	"str cpl3:", "str %ax"
	FAULTU	"lldt cpl3:", "lldt %ax"
	FAULTU	"ltr cpl3:", "ltr %ax"
	FAULTU	"invlpg cpl3:", "invlpg DATA"
	FAULTU	"invd cpl3:", "invd"
	FAULTU	"wbinvd cpl3:", "wbinvd"
	FAULTU	"mov from cr0 cpl3:", "movl %cr0, %eax"
	FAULTU	"mov to cr3 cpl3:", "movl %eax, %cr3"
	FAULTU	"mov from dr7 cpl3:", "movl %dr7, %eax"
	FAULTU	"mov to dr0 cpl3:", "movl %eax, %dr0"
	FAULTU	"rdmsr cpl3:", "rdmsr"
	FAULTU	"wrmsr cpl3:", "wrmsr"
	FAULTU	"rdpmc cpl3:", "rdpmc"
	FAULTU	"rdtsc cpl3:", "rdtsc"
	FAULTU	"sysexit cpl3:", "sysexit"
	FAULTU	"cli cpl3:", "cli"
	FAULTU	"sti cpl3:", "sti"
	FAULTU	"in cpl3:", "inb $0x80, %al"
	FAULTU	"out dx cpl3:", "outl %eax, %dx"
	FAULTU	"insb cpl3:", "insb"
	FAULTU	"rep outsl, ecx 0, cpl3:", "xorl %ecx, %ecx", "rep outsl"
	TEST	"rep insb, ecx 0, cpl3:"
	xorl	%ecx, %ecx
	USER
	rep insb
	END
	RESULT
	NL
	TEST	"cli cpl3 iopl3:"
	USER	0x3002
	cli
	sti
	inb	$0x80, %al
	END
	RESULT
	NL
	# ---- Alignment
.macro ALIGNED name, am, flags, c1, c2, c3, c4, c5
	TEST	"\name"
	movl	%cr0, %eax
	orl	$\am, %eax
	movl	%eax, %cr0
	movl	$DATA + 1, %ebx
	USER	\flags
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	NL
.endm
	ALIGNED	"ac, dword at 1:", 0x40000, 0x40002, "movl (%ebx), %eax"
	ALIGNED	"ac, word at 1:", 0x40000, 0x40002, "movw %ax, (%ebx)"
	ALIGNED	"ac, byte at 1:", 0x40000, 0x40002, "movb (%ebx), %al"
	ALIGNED	"ac, push:", 0x40000, 0x40002, "pushw %ax"
	ALIGNED	"ac, without am:", 0, 0x40002, "movl (%ebx), %eax"
	ALIGNED	"ac, without ac:", 0x40000, 2, "movl (%ebx), %eax"
	ALIGNED	"ac, far pointer at 1:", 0x40000, 0x40002, "lesl (%ebx), %eax"
	ALIGNED	"ac, fldl at 5:", 0x40000, 0x40002, "fldl 3(%ebx)"
	ALIGNED	"ac, fldt at 1:", 0x40000, 0x40002, "fldt (%ebx)"
	ALIGNED	"ac, fldt at 4:", 0x40000, 0x40002, "fldt 3(%ebx)"
	ALIGNED	"ac, fldt at 8:", 0x40000, 0x40002, "fldt 7(%ebx)"
	ALIGNED	"ac, fildll at 4:", 0x40000, 0x40002, "fildll 3(%ebx)"
	ALIGNED	"ac, fbld at 4:", 0x40000, 0x40002, "fbld 3(%ebx)"
	ALIGNED	"ac, fbld at 2:", 0x40000, 0x40002, "fbld 1(%ebx)"
	ALIGNED	"ac, fnstenv at 2:", 0x40000, 0x40002, "fnstenv 1(%ebx)"
	ALIGNED	"ac, fnsave at 1:", 0x40000, 0x40002, "fnsave (%ebx)"
	ALIGNED	"ac, fxsave at 8:", 0x40000, 0x40002, "fxsave 7(%ebx)"
	ALIGNED	"ac, fxsave at 8 without ac:", 0x40000, 2, "fxsave 7(%ebx)"
	ALIGNED	"ac, sgdt at 1:", 0x40000, 0x40002, "sgdt (%ebx)"
	ALIGNED	"ac, sgdt at 2:", 0x40000, 0x40002, "sgdt 1(%ebx)"
	ALIGNED	"ac, cmpxchg8b at 4:", 0x40000, 0x40002, "cmpxchg8b 3(%ebx)"
	ALIGNED	"ac, bound at 4:", 0x40000, 0x40002, "xorl %eax, %eax", "bound %eax, 3(%ebx)"
	ALIGNED	"ac, far pointer at 4:", 0x40000, 0x40002, "movl $DATA3, 7(%ebx)", "lesl 3(%ebx), %eax"
	ALIGNED	"ac, far pointer of 16 bits at 2:", 0x40000, 0x40002, "movw $DATA3, 3(%ebx)", "lesw 1(%ebx), %ax"
	ALIGNED	"ac, call far at 2:", 0x40000, 0x40002, "lcall *1(%ebx)"
	ALIGNED	"ac, pushal at 2:", 0x40000, 0x40002, "subl $2, %esp", "pushal"
	ALIGNED	"ac, pushw:", 0x40000, 0x40002, "pushw %ax", "popw %ax"
	ALIGNED	"ac, movsl:", 0x40000, 0x40002, "movl $DATA + 2, %esi", "movl $DATA + 16, %edi", "movsl"
	ALIGNED	"ac, movq at 4:", 0x40000, 0x40002, "movq 3(%ebx), %mm0"
	ALIGNED	"ac, bts of a distant bit:", 0x40000, 0x40002, "movl $64, %eax", "btsl %eax, 1(%ebx)"
	ALIGNED	"ac, flds at 1:", 0x40000, 0x40002, "flds (%ebx)"
	TEST	"ac, cpl 0:"
	movl	%cr0, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr0
	TRY
	pushl	$0x40002
	popfl
	movl	DATA + 1, %eax
	END
	RESULT
	movl	r_efl, %eax
	andl	$0x40000, %eax
	OUT	"ac", %eax
	NL
	TEST	"ac, stack at 2:"
	movl	%cr0, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr0
	USER	0x40002
	subl	$2, %esp
	pushl	%eax
	END
	RESULT
	OUT	"esp", r_esp
	NL

	# ---- One exception on another: the gate of the first is absent, is no gate, or lies on an absent page
	TEST	"double faults, absent gate:"
	SAY	" "
	movl	$0, v0
1:	call	env
	movl	v0, %ebx
	movl	df_vector-Z(%ebx), %eax
	movb	$0x0E, IDT + 5(,%eax,8)
	call	df_trigger
	cmpl	$df_last-df_table, v0
	jb	1b
	NL
	TEST	"double faults, no gate:"
	SAY	" "
	movl	$0, v0
1:	call	env
	movl	v0, %ebx
	movl	df_vector-Z(%ebx), %eax
	movb	$0x80, IDT + 5(,%eax,8)
	call	df_trigger
	cmpl	$df_last-df_table, v0
	jb	1b
	NL
	TEST	"double faults, code of no stack:"
	# A handler at CPL 1, whose stack is no good: #TS.
	SAY	" "
	movl	$0, v0
1:	call	env
	movl	v0, %ebx
	movl	df_vector-Z(%ebx), %eax
	movw	$CODE1 & 0xF8, IDT + 2(,%eax,8)
	movw	$0, TSS0 + 16
	call	df_trigger_user
	cmpl	$df_last-df_table, v0
	jb	1b
	NL
	TEST	"double faults, absent page:"
	SAY	" "
	movl	$0, v0
1:	call	env
	# The IDT's copy begins 8 n bytes before a page: vectors below n are not there, or those from n on.
	movl	v0, %ebx
	movl	df_vector-Z(%ebx), %eax
	call	df_split_idt
	call	df_trigger
	lidt	idt_pointer-Z
	cmpl	$df_last-df_table, v0
	jb	1b
	NL
	TEST	"a page fault, its gate on an absent page:"
	movl	$9, %eax
	call	df_move_idt
	movl	$0, PTAB + 4 * (PAGE2 >> 12)
	invlpg	PAGE2
	movl	$8, %ecx
	TRY
	movl	0x3FF000, %eax
	END
	RESULT
	lidt	idt_pointer-Z
	NL
	TEST	"a page fault, its handler's stack on an absent page:"
	call	paging_on
	movb	$8, %al
	call	by_task
	movl	$0, PTAB + 4 * ((STACK0 - 1) >> 12)
	movl	$0, PTAB + 4 * 0x3FF
	call	flush
	USER
	movl	0x3FF000, %eax
	END
	RESULT
	OUTW	"cs", r_cs
	OUT	"esp", r_esp
	NL
	TEST	"general protection, its handler's stack on an absent page:"
	call	paging_on
	movb	$14, %al
	call	by_task
	movl	$0, PTAB + 4 * ((STACK0 - 1) >> 12)
	call	flush
	USER
	hlt
	END
	RESULT
	OUT	"err", r_err
	NL
	TEST	"a bad stack at cpl 0:"
	movb	$8, %al
	call	by_task
	DESC	T0, 0x00000FFF, 0x00409300
	movl	$T0, %eax
	TRY
	movl	%eax, %ss
	movl	$0x2000, %esp
	pushl	%eax
	END
	RESULT
	OUTW	"ss", r_ss
	OUT	"esp", r_esp
	OUTW	"tr", r_tr
	NL

	# ---- Which comes first
	TEST	"limit before page:"
	call	paging_on
	movl	$6, %eax
	call	set_page
	DESC	T0, 0x00000FFF, 0x00409300 | PAGE >> 16
	movw	$PAGE & 0xFFFF, GDT + T0 + 2
	movl	$T0, %eax
	movl	%eax, %fs
	TRY
	movl	%fs:0xFFD, %eax
	END
	RESULT
	NL
	TEST	"page before alignment:"
	call	paging_on
	movl	$6, %eax
	call	set_page
	movl	%cr0, %eax
	orl	$0x40000, %eax
	movl	%eax, %cr0
	USER	0x40002
	movl	PAGE + 1, %eax
	END
	movl	r_vec, %eax
	# Either is allowed; an Intel processor raises #AC.
	cmpl	$14, %eax
	je	1f
	SAY	" alignment"
	jmp	2f
1:	SAY	" page"
2:	NL
	TEST	"not available before page:"
	call	paging_on
	movl	$6, %eax
	call	set_page
	movl	%cr0, %eax
	orl	$8, %eax
	movl	%eax, %cr0
	TRY
	flds	PAGE
	END
	RESULT
	NL
	TEST	"privilege before page:"
	call	paging_on
	movl	$6, %eax
	call	set_page
	USER
	lgdt	PAGE
	END
	RESULT
	NL
	TEST	"cr2 stays on other faults:"
	movl	$0x12345678, %eax
	movl	%eax, %cr2
	USER
	hlt
	END
	RESULT
	OUT	"cr2", r_cr2
	NL
	# ---- RF and the other flags in what is pushed
.macro PUSHED name, begin, c1, c2, c3, c4, c5
	TEST	"\name"
	\begin	0x4002
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	movl	r_efl, %eax
	andl	$0x003F7700, %eax
	OUT	"fl", %eax
	NL
.endm
	PUSHED	"rf of ud2:", USER, "ud2"
	PUSHED	"rf of hlt:", USER, "hlt"
	PUSHED	"rf of int3:", USER, "int3"
	PUSHED	"rf of int n:", USER, "int $0x42"
	TEST	"rf of a page fault:"
	call	paging_on
	USER	2
	movl	0x400000, %eax
	END
	movl	r_efl, %eax
	andl	$0x003F7702, %eax
	OUT	"fl", %eax
	NL
	TEST	"rf of div:"
	xorl	%ecx, %ecx
	USER	2
	divl	%ecx
	END
	movl	r_efl, %eax
	andl	$0x10000, %eax
	OUT	"fl", %eax
	NL
	ret

# What raises what: vector, code.
df_table:
df_vector:
	.long	0, df_de-Z, 5, df_br-Z, 6, df_ud-Z, 7, df_nm-Z, 11, df_np-Z, 12, df_ss-Z, 13, df_gp-Z, 14, df_pf-Z
df_last:
df_trigger:
	pushl	$1f-Z
	pushl	df_vector-Z + 4(%ebx)
	movl	$0, t_sel
	cmpl	$14, df_vector-Z(%ebx)
	jne	2f
	movl	%cr0, %eax
	testl	%eax, %eax
	js	2f
	call	paging_on
	# Entry 3FFh of the table is absent.
2:	movl	$0, PTAB + 4 * 0x3FF
	invlpg	0x3FF000
	ret
1:	SAY	" "
	movl	df_vector-Z(%ebx), %eax
	shll	$24, %eax
	movl	$2, %ecx
	call	digits
	SAY	">"
	call	sign
	addl	$8, v0
	ret
df_de:	xorl	%ecx, %ecx
	TRY
	divl	%ecx
	END
	ret
df_br:	movl	$1, v1
	movl	$1, v2
	movl	$2, %eax
	TRY
	bound	%eax, v1
	END
	ret
df_ud:	TRY
	ud2
	END
	ret
df_nm:	movl	%cr0, %eax
	orl	$4, %eax
	TRY
	movl	%eax, %cr0
	fninit
	END
	ret
df_np:	DESC	T0, 0x0000FFFF, 0x00CF1300
	movl	$T0, %eax
	TRY
	movl	%eax, %fs
	END
	ret
df_ss:	DESC	T0, 0x0000FFFF, 0x00CF1300
	movl	$T0, %eax
	TRY
	movl	%eax, %ss
	END
	ret
df_gp:	movl	$0x400, %eax
	TRY
	movl	%eax, %fs
	END
	ret
df_pf:	TRY
	movl	0x3FF000, %eax
	END
	ret
# The same at CPL 3.
df_trigger_user:
	movl	$0, t_sel
	SAY	" "
	movl	df_vector-Z(%ebx), %eax
	shll	$24, %eax
	movl	$2, %ecx
	call	digits
	SAY	">"
	movl	df_vector-Z(%ebx), %eax
	cmpl	$13, %eax
	jne	1f
	USER
	hlt
	END
	jmp	9f
1:	cmpl	$14, %eax
	jne	2f
	call	paging_on
	movl	$0, PTAB + 4 * 0x3FF
	invlpg	0x3FF000
	USER
	movl	0x3FF000, %eax
	END
	jmp	9f
2:	testl	%eax, %eax
	jnz	3f
	xorl	%ecx, %ecx
	USER
	divl	%ecx
	END
	jmp	9f
3:	USER
	ud2
	END
9:	call	sign
	addl	$8, v0
	ret
# Paging on; the IDT so that vector EAX begins the page at PAGE2, or what is before it ends there; that page absent or the one before.
df_move_idt:
	call	paging_on
	pushal
	shll	$3, %eax
	movl	$PAGE2, %edi
	subl	%eax, %edi
	pushl	%edi
	movl	$IDT, %esi
	movl	$0x800/4, %ecx
	rep movsl
	popl	%edi
	movw	$0x7FF, -6(%esp)
	movl	%edi, -4(%esp)
	lidt	-6(%esp)
	popal
	ret
df_split_idt:
	cmpl	$9, %eax
	jae	1f
	# Vectors below 8: absent, the rest there.
	pushl	%eax
	movl	$8, %eax
	call	df_move_idt
	movl	$0, PTAB + 4 * (PAGE >> 12)
	invlpg	PAGE
	popl	%eax
	ret
	# Vectors 9 to 13 cannot go without 14: only the page fault of the trial after this one does that.
1:	call	paging_on
	ret

triple_group:
	TEST	"triple fault:"
	SAY	" coming"
	NL
	movb	$0x6E, %al
	outb	%al, $0x70
	movb	$0xA5, %al
	outb	%al, $0x71
	pushl	$0
	pushl	$0
	lidt	(%esp)
	ud2
