# Paging: rights, error codes, accessed and dirty bits, large pages, PAE.

# The bits of an entry of PAGE, after a trial.
.macro ENTRY
	movl	PTAB + 4 * (PAGE >> 12), %eax
	andl	$0xFFF, %eax
	OUT	"pte", %eax
.endm
# A trial on PAGE with these bits in its entry.
.macro ONPAGE name, bits, begin, c1, c2, c3, c4, c5
	TEST	"\name"
	call	paging_on
	movl	$PAGE + \bits, %eax
	call	set_page
	movl	$PAGE, %ebx
	movl	%ebx, %esi
	movl	$PAGE + 0x100, %edi
	\begin
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	ENTRY
	NL
.endm
.macro WP
	movl	%cr0, %eax
	orl	$0x10000, %eax
	movl	%eax, %cr0
.endm

# A sign: "." or the error code's digit.
page_sign:
	pushal
	movb	$'.', %al
	cmpl	$0x40, r_vec
	je	1f
	movb	$'?', %al
	cmpl	$14, r_vec
	jne	1f
	movl	r_err, %eax
	addb	$'0', %al
1:	call	putc
	popal
	ret

# A row: directory bits by table bits; EBP does the access at 400000h.
rights_row:
	call	text
	SAY	":"
	movl	$0, m_dpl
1:	SAY	" "
	movl	$0, m_rpl
2:	call	env
	call	paging_on
	movl	v2, %eax
	movl	%cr0, %edx
	orl	%eax, %edx
	movl	%edx, %cr0
	movl	m_dpl, %eax
	addl	$PTAB2, %eax
	movl	%eax, PDIR + 4
	movl	m_rpl, %eax
	addl	$PAGE, %eax
	movl	%eax, PTAB2
	call	flush
	pushal
	call	*%ebp
	popal
	call	page_sign
	movl	PDIR + 4, %eax
	shll	$8, %eax
	movb	PTAB2, %al
	call	sum
	incl	m_rpl
	cmpl	$8, m_rpl
	jb	2b
	incl	m_dpl
	cmpl	$8, m_dpl
	jb	1b
	OUT	"sum", m_sum
	NL
	movl	$0, m_sum
	ret
.macro RIGHTS name, function, wp
	call	801f
	.asciz	"\name"
801:	popl	%esi
	movl	$\function-Z, %ebp
	movl	$\wp, v2
	call	rights_row
.endm
read_0:	TRY
	movl	0x400000, %eax
	END
	ret
write_0:
	TRY
	movl	%eax, 0x400000
	END
	ret
read_3:	USER
	movl	0x400000, %eax
	END
	ret
write_3:
	USER
	movl	%eax, 0x400000
	END
	ret

paging_group:
	movl	$0, m_sum
	RIGHTS	"read cpl0", read_0, 0
	RIGHTS	"read cpl3", read_3, 0
	RIGHTS	"write cpl0", write_0, 0
	RIGHTS	"write cpl3", write_3, 0
	RIGHTS	"read cpl0 wp", read_0, 0x10000
	RIGHTS	"read cpl3 wp", read_3, 0x10000
	RIGHTS	"write cpl0 wp", write_0, 0x10000
	RIGHTS	"write cpl3 wp", write_3, 0x10000

	# ---- Accessed and dirty
	ONPAGE	"a read:", 7, TRY, "movl (%ebx), %eax"
	ONPAGE	"a write:", 7, TRY, "movl %eax, (%ebx)"
	ONPAGE	"a compare:", 7, TRY, "cmpl %eax, (%ebx)"
	ONPAGE	"a test of a bit:", 7, TRY, "btl %eax, (%ebx)"
	ONPAGE	"or of nothing:", 7, TRY, "orl $0, (%ebx)"
	ONPAGE	"an exchange:", 7, TRY, "xchgl %eax, (%ebx)"
	ONPAGE	"cmpxchg, equal:", 7, TRY, "cmpxchgl %ecx, (%ebx)"
	TEST	"cmpxchg, not equal:"
	call	paging_on
	movl	$PAGE + 7, %eax
	call	set_page
	movl	$-1, %eax
	TRY
	cmpxchgl %ecx, PAGE
	END
	RESULT
	ENTRY
	NL
	TEST	"cmpxchg8b, not equal:"
	call	paging_on
	movl	$PAGE + 7, %eax
	call	set_page
	movl	$-1, %eax
	TRY
	cmpxchg8b PAGE
	END
	RESULT
	ENTRY
	NL
	ONPAGE	"a shift by 0:", 7, TRY, "shll $0, (%ebx)"
	ONPAGE	"setcc:", 7, TRY, "setc (%ebx)"
	ONPAGE	"lods:", 7, TRY, "lodsl"
	ONPAGE	"stos:", 7, TRY, "stosl"
	ONPAGE	"cmps:", 7, TRY, "cmpsl"
	TEST	"rep stos of none:"
	call	paging_on
	movl	$PAGE + 7, %eax
	call	set_page
	xorl	%ecx, %ecx
	movl	$PAGE, %edi
	TRY
	rep stosl
	END
	RESULT
	ENTRY
	NL
	ONPAGE	"invlpg touches nothing:", 7, TRY, "invlpg (%ebx)"
	ONPAGE	"verr touches nothing of it:", 7, TRY, "leal (%ebx), %eax"
	ONPAGE	"a store of x87:", 7, TRY, "fnstcw (%ebx)"
	ONPAGE	"a push:", 7, TRY, "leal 0x100(%ebx), %esp", "pushl %eax"
	TEST	"a call there:"
	call	paging_on
	movl	$PAGE + 7, %eax
	call	set_page
	movb	$0xC3, PAGE
	movl	$PAGE + 7, %eax
	call	set_page
	TRY
	movl	$PAGE, %eax
	call	*%eax
	END
	RESULT
	ENTRY
	NL
	TEST	"a descriptor there is read and marked:"
	call	paging_on
	movl	$GDT, %esi
	movl	$PAGE, %edi
	movl	$0x100, %ecx
	rep movsl
	movl	$0xFFFF, PAGE + T0
	movl	$0x00CF9200, PAGE + T0 + 4
	movl	$PAGE + 1, %eax
	call	set_page
	movw	$0x3FF, -6(%esp)
	movl	$PAGE, -4(%esp)
	lgdt	-6(%esp)
	movl	$T0, %eax
	TRY
	movl	%eax, %fs
	END
	RESULT
	OUT	"access", PAGE + T0 + 4
	ENTRY
	lgdt	gdt_pointer-Z
	NL
	TEST	"the same, marked before:"
	call	paging_on
	movl	$GDT, %esi
	movl	$PAGE, %edi
	movl	$0x100, %ecx
	rep movsl
	movl	$0xFFFF, PAGE + T0
	movl	$0x00CF9300, PAGE + T0 + 4
	movl	$PAGE + 1, %eax
	call	set_page
	movw	$0x3FF, -6(%esp)
	movl	$PAGE, -4(%esp)
	lgdt	-6(%esp)
	movl	$T0, %eax
	TRY
	movl	%eax, %fs
	END
	RESULT
	ENTRY
	lgdt	gdt_pointer-Z
	NL
	TEST	"a descriptor that is read-only, wp, cpl 3:"
	call	paging_on
	WP
	movl	$GDT, %esi
	movl	$PAGE, %edi
	movl	$0x100, %ecx
	rep movsl
	movl	$0xFFFF, PAGE + T0
	movl	$0x00CFF200, PAGE + T0 + 4
	movl	$PAGE + 1, %eax
	call	set_page
	movw	$0x3FF, -6(%esp)
	movl	$PAGE, -4(%esp)
	lgdt	-6(%esp)
	movl	$T0 + 3, %eax
	USER
	movl	%eax, %fs
	END
	RESULT
	OUT	"access", PAGE + T0 + 4
	lgdt	gdt_pointer-Z
	NL
	TEST	"a descriptor that is absent, cpl 3:"
	call	paging_on
	movl	$LDTSEL, %eax
	movl	$PAGE << 16 | 0xFF, GDT + LDTSEL
	movl	$PAGE >> 16 | 0x8200, GDT + LDTSEL + 4
	lldt	%ax
	movl	$6, %eax
	call	set_page
	movl	$0x0F, %eax
	USER
	movl	%eax, %fs
	END
	RESULT
	NL
	TEST	"an i/o map that is absent, cpl 3:"
	call	paging_on
	# The map begins 2 bytes before the page that is not there.
	movl	$PAGE2 - 0x88 - 2, %eax
	movw	%ax, GDT + TASK0 + 2
	shrl	$16, %eax
	movb	%al, GDT + TASK0 + 4
	movl	$TSS0, %esi
	movl	$PAGE2 - 0x88 - 2, %edi
	movl	$0x100, %ecx
	rep movsl
	movb	$0, PAGE2 - 2
	movb	$0x89, GDT + TASK0 + 5
	movl	$TASK0, %eax
	ltr	%ax
	movl	$0, PTAB + 4 * (PAGE2 >> 12)
	invlpg	PAGE2
	USER
	inb	$0x20, %al
	END
	RESULT
	NL

	# ---- Error codes and CR2
	ONPAGE	"absent, read, cpl0:", 6, TRY, "movl 0x123(%ebx), %eax"
	ONPAGE	"absent, write, cpl3:", 6, USER, "movb %al, 0xFFF(%ebx)"
	ONPAGE	"system, read, cpl3:", 3, USER, "movl (%ebx), %eax"
	ONPAGE	"read-only, increment, cpl3:", 5, USER, "incl (%ebx)"
	ONPAGE	"read-only, compare, cpl3:", 5, USER, "cmpl $0, (%ebx)"
	ONPAGE	"read-only, cmpxchg, cpl3:", 5, USER, "cmpxchgl %ecx, (%ebx)"
	ONPAGE	"read-only, shift by 0, cpl3:", 5, USER, "shll $0, (%ebx)"
	ONPAGE	"read-only, push, cpl3:", 5, USER, "leal 0x10(%ebx), %esp", "pushl %eax"
	ONPAGE	"absent, fetch, cpl3:", 6, USER, "jmp *%ebx"
	ONPAGE	"absent, call, cpl0:", 6, TRY, "call *%ebx"
	ONPAGE	"absent, call through it:", 6, TRY, "call *(%ebx)"
	ONPAGE	"absent, the first of a bound:", 6, TRY, "bound %eax, (%ebx)"
	ONPAGE	"from the page before, read:", 6, TRY, "movl -2(%ebx), %eax"
	ONPAGE	"from the page before, write:", 6, TRY, "movl %eax, -3(%ebx)"
	ONPAGE	"from the page before, movsl:", 6, TRY, "leal -1(%ebx), %edi", "movsl"
	ONPAGE	"fxsave across:", 6, TRY, "fxsave -16(%ebx)"
	ONPAGE	"fnsave across:", 6, TRY, "fnsave -100(%ebx)"
	ONPAGE	"fstpt across:", 6, TRY, "fstpt -2(%ebx)"
	ONPAGE	"sgdt across:", 6, TRY, "sgdt -3(%ebx)"
	ONPAGE	"lgdt across:", 6, TRY, "lgdt -3(%ebx)"
	ONPAGE	"les across:", 6, TRY, "lesl -5(%ebx), %eax"
	ONPAGE	"cmpxchg8b across, wp:", 5, USER, "cmpxchg8b -4(%ebx)"
	TEST	"an instruction across, the second page absent:"
	call	paging_on
	movb	$0xB8, PAGE - 2
	movl	$6, %eax
	call	set_page
	TRY
	movl	$PAGE - 2, %eax
	jmp	*%eax
	END
	movl	$PAGE - 2, t_base
	RESULT
	NL
	TEST	"what a store across leaves:"
	call	paging_on
	movl	$6, %eax
	call	set_page
	movl	$0x11111111, PAGE - 4
	movl	$0x22222222, %eax
	TRY
	movl	%eax, PAGE - 2
	END
	RESULT
	OUT	"", PAGE - 4
	NL
	# ---- What is left to go on with
.macro LEFT name, bits, c1, c2, c3, c4, c5
	TEST	"\name"
	call	paging_on
	movb	$12, %al
	movl	$PAGE + \bits, %eax
	call	set_page
	movl	$PAGE, %ebx
	movl	$PAGE - 8, %esi
	movl	$PAGE - 8, %edi
	movl	$4, %ecx
	movl	$1, %edx
	movl	$PAGE + 8, %ebp
	USER
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	OUT	"esp", r_esp
	OUT	"ebp", r_ebp
	OUT	"esi", r_esi
	OUT	"edi", r_edi
	OUT	"ecx", r_ecx
	OUT	"eax", r_eax
	NL
.endm
	LEFT	"left by rep movsl:", 6, "movl $DATA, %esi", "rep movsl"
	LEFT	"left by rep movsl from there:", 6, "movl $DATA, %edi", "rep movsl"
	LEFT	"left by rep lodsw:", 6, "rep lodsw"
	LEFT	"left by repe cmpsb:", 6, "movl $12, %ecx", "movl $PAGE - 16, %edi", "repe cmpsb"
	LEFT	"left by rep stosl down:", 6, "std", "leal 4(%ebx), %edi", "rep stosl"
	LEFT	"left by pushal:", 6, "leal -16 - PAGE + PAGE2(%ebx), %esp", "movl %ebx, %esp", "addl $0x100C, %esp", "pushal"
	LEFT	"left by popal:", 6, "leal -16(%ebx), %esp", "popal"
	LEFT	"left by enter 16, 3:", 6, "leal 4(%ebx), %esp", "movl $DATA + 64, %ebp", "enter $16, $3"
	LEFT	"left by leave:", 6, "leave"
	LEFT	"left by pop m:", 6, "popl (%ebx)"
	LEFT	"left by push m:", 6, "pushl (%ebx)"
	LEFT	"left by call m:", 6, "call *(%ebx)"
	LEFT	"left by ret:", 6, "movl %ebx, %esp", "ret"
	LEFT	"left by popfl:", 6, "movl %ebx, %esp", "popfl"
	LEFT	"left by xadd:", 5, "xaddl %eax, (%ebx)"
	LEFT	"left by cmpxchg:", 5, "cmpxchgl %edx, (%ebx)"
	LEFT	"left by lretl:", 6, "leal -4(%ebx), %esp", "lretl"
	LEFT	"left by iretl:", 6, "leal -8(%ebx), %esp", "iretl"
	LEFT	"left by int:", 6, "movl %ebx, %esp", "int $0x44"
	LEFT	"left by xlat:", 6, "xlatb"
	LEFT	"left by div m:", 6, "divl (%ebx)"
	LEFT	"left by lssl:", 6, "lssl (%ebx), %esp"

	# ---- What changes in the tables
	TEST	"invlpg:"
	call	paging_on
	movl	$1, PAGE
	movl	$2, PAGE2
	movl	PAGE, %eax
	movl	$PAGE2 + 7, PTAB + 4 * (PAGE >> 12)
	invlpg	PAGE + 0xFFF
	OUT	"", PAGE
	NL
	TEST	"mov cr3:"
	call	paging_on
	movl	$1, PAGE
	movl	$2, PAGE2
	movl	PAGE, %eax
	movl	$PAGE2 + 7, PTAB + 4 * (PAGE >> 12)
	call	flush
	OUT	"", PAGE
	NL
	TEST	"global, invlpg:"
	call	paging_on
	movl	$0x80, %eax
	movl	%eax, %cr4
	movl	$PAGE + 0x107, %eax
	call	set_page
	movl	$1, PAGE
	movl	$2, PAGE2
	movl	PAGE, %eax
	movl	$PAGE2 + 7, PTAB + 4 * (PAGE >> 12)
	invlpg	PAGE
	OUT	"", PAGE
	NL
	TEST	"global, cr4.pge cleared:"
	call	paging_on
	movl	$0x80, %eax
	movl	%eax, %cr4
	movl	$PAGE + 0x107, %eax
	call	set_page
	movl	$1, PAGE
	movl	$2, PAGE2
	movl	PAGE, %eax
	movl	$PAGE2 + 7, PTAB + 4 * (PAGE >> 12)
	xorl	%eax, %eax
	movl	%eax, %cr4
	OUT	"", PAGE
	NL
	TEST	"more rights need no invlpg:"
	call	paging_on
	movl	$PAGE + 5, %eax
	call	set_page
	movl	PAGE, %eax
	movl	$PAGE + 0x27, PTAB + 4 * (PAGE >> 12)
	USER
	movl	%eax, PAGE
	END
	# A processor may still fault once.
	cmpl	$14, r_vec
	jne	1f
	USER
	movl	%eax, PAGE
	END
1:	RESULT
	NL
	TEST	"a page that was absent needs no invlpg:"
	call	paging_on
	movl	$6, %eax
	call	set_page
	TRY
	movl	PAGE, %eax
	END
	RESULT
	movl	$PAGE + 7, PTAB + 4 * (PAGE >> 12)
	TRY
	movl	PAGE, %eax
	END
	RESULT
	NL

	# ---- Pages of 4 MiB
.macro LARGE name, cr4, entry, address, c1, c2, c3, c4, c5
	TEST	"\name"
	call	paging_on
	movl	$\cr4, %eax
	movl	%eax, %cr4
	movl	$\entry, PDIR + 8
	movl	$0xCAFEF00D, DATA
	TRY
	movl	\address, %eax
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	RESULT
	OUT	"eax", r_eax
	movl	PDIR + 8, %eax
	OUT	"pde", %eax
	NL
.endm
	LARGE	"4 mib, read:", 0x10, 0x00000087, 0x00800000 + DATA
	LARGE	"4 mib, write:", 0x10, 0x00000087, 0x00800000 + DATA, "movl %eax, 0x800000 + DATA + 4"
	LARGE	"4 mib, global:", 0x90, 0x00000187, 0x00800000 + DATA
	LARGE	"4 mib without pse:", 0x00, PTAB + 0x87, 0x00800000 + DATA
	LARGE	"4 mib, absent:", 0x10, 0x00000086, 0x00800000 + DATA
	LARGE	"4 mib, bit 21:", 0x10, 0x00200087, 0x00800000 + DATA
	LARGE	"4 mib, bit 12 is pat:", 0x10, 0x00001087, 0x00800000 + DATA
	TEST	"4 mib, system, cpl 3:"
	call	paging_on
	movl	$0x10, %eax
	movl	%eax, %cr4
	movl	$0x83, PDIR + 8
	USER
	movl	0x800000 + DATA, %eax
	END
	RESULT
	NL
	TEST	"4 mib, read-only, cpl 3:"
	call	paging_on
	movl	$0x10, %eax
	movl	%eax, %cr4
	movl	$0x85, PDIR + 8
	USER
	movl	%eax, 0x800000 + DATA
	END
	RESULT
	OUT	"pde", PDIR + 8
	NL

	# ---- PAE
	call	env
	testl	$0x40, features
	jnz	1f
	SAY	"no pae"
	NL
	ret
1:
.macro PAE name, setup, c1, c2, c3, c4, c5
	TEST	"\name"
	call	pae_tables
	\setup
	TRY
	call	pae_on
	\c1
	\c2
	\c3
	\c4
	\c5
	END
	call	pae_off
	call	pae_report
	NL
.endm
	PAE	"pae, 4 kib:", , "movl DATA, %eax", "movl %eax, PAGE"
	PAE	"pae, 2 mib:", , "movl 0x200000 + DATA, %eax"
	PAE	"pae, 2 mib, write:", , "movl DATA, %eax", "movl %eax, 0x200000 + DATA"
	PAE	"pae, table absent:", "movl $0, PAEDIR + 8", "movl 0x200000, %eax"
	PAE	"pae, pointer absent:", , "movl 0x40000000, %eax"
	PAE	"pae, entry absent, write:", "movl $0, PAETAB + 8 * (PAGE >> 12)", "movl %eax, PAGE"
	PAE	"pae, reserved bit in the table:", "movl $0x10, PAETAB + 8 * (PAGE >> 12) + 4", "movl %eax, PAGE"
	PAE	"pae, reserved bit in the directory:", "movl $0x10, PAEDIR + 12", "movl 0x200000, %eax"
	PAE	"pae, 2 mib, reserved bit 13:", "orl $0x2000, PAEDIR + 8", "movl 0x200000, %eax"
	PAE	"pae, reserved bit in a pointer:", "orl $2, PDPT"
	PAE	"pae, reserved bit in an absent pointer:", "orl $2, PDPT + 8", "movl DATA, %eax"
	PAE	"pae, above 4 gib:", "movl $1, PAETAB + 8 * (PAGE >> 12) + 4", "movl PAGE, %eax", "xorl %eax, %eax"
	PAE	"pae, the pointers are loaded by mov cr3:", "movl $PAEDIR + 1, PDPT + 8", "call flush", "movl 0x40000000 + DATA, %eax"
	PAE	"pae, mov cr3 with a bad pointer:", , "orl $2, PDPT", "movl %cr3, %eax", "movl %eax, %cr3"
	PAE	"pae, the pointers are kept:", "movl $PAEDIR + 1, PDPT + 8", "movl $0, PDPT + 8", "movl 0x40000000 + DATA, %eax"
	ret

pae_tables:
	pushal
	movl	$PDPT, %edi
	xorl	%eax, %eax
	movl	$0x3000/4, %ecx
	rep stosl
	movl	$PAEDIR + 1, PDPT
	movl	$PAETAB + 7, PAEDIR
	# 200000h leads to 0.
	movl	$0x87, PAEDIR + 8
	movl	$PAETAB, %edi
	movl	$7, %eax
	movl	$512, %ecx
1:	stosl
	movl	$0, (%edi)
	addl	$4, %edi
	addl	$0x1000, %eax
	loop	1b
	movl	$0xCAFEF00D, DATA
	popal
	ret
pae_on:	pushl	%eax
	movl	$0x20, %eax
	movl	%eax, %cr4
	movl	$PDPT, %eax
	movl	%eax, %cr3
	movl	$0x80000031, %eax
	movl	%eax, %cr0
	popl	%eax
	ret
pae_off:
	pushl	%eax
	movl	$0x31, %eax
	movl	%eax, %cr0
	xorl	%eax, %eax
	movl	%eax, %cr4
	popl	%eax
	ret
pae_report:
	cmpl	$0x40, r_vec
	je	1f
	# Not where: CALL is in the way of a common offset.
	SAY	" #"
	movl	r_vec, %eax
	shll	$24, %eax
	movl	$2, %ecx
	call	digits
	OUT	"err", r_err
	cmpl	$14, r_vec
	jne	2f
	OUT	"cr2", r_cr2
	jmp	2f
1:	OUT	"eax", r_eax
2:	movl	PAEDIR + 8, %eax
	andl	$0xFFF, %eax
	OUT	"pde", %eax
	movl	PAETAB + 8 * (PAGE >> 12), %eax
	andl	$0xFFF, %eax
	OUT	"pte", %eax
	ret
