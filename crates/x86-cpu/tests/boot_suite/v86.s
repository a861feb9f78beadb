# Virtual-8086 mode.

.macro V name, flags, c1, c2, c3, c4, c5
	TEST	"\name"
	V86	\flags
	\c1
	\c2
	\c3
	\c4
	\c5
	ENDV86
	RESULT
	NL
.endm
# The same with flags to show.
.macro VF name, flags, c1, c2, c3, c4, c5
	TEST	"\name"
	V86	\flags
	\c1
	\c2
	\c3
	\c4
	\c5
	ENDV86
	RESULT
	movl	r_eax, %eax
	OUT	"eax", %eax
	movl	r_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	movzwl	r_esp, %eax
	OUTW	"sp", %eax
	NL
.endm

.set IOPL3, 0x23002
.set IOPL0, 0x20002
.set IF_IOPL3, 0x23202
.set IF_IOPL0, 0x20202

v86_group:
	TEST	"what v86 code finds and leaves:"
	V86	IOPL3
	movw	%cs, %ax
	movw	%ss, %bx
	movw	%ds, %cx
	movw	%es, %dx
	ENDV86
	RESULT
	OUTW	"", r_eax
	OUTW	"", r_ebx
	OUTW	"", r_ecx
	OUTW	"", r_edx
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUT	"esp", r_esp
	OUTW	"es", r_es
	OUTW	"ds", r_ds
	OUTW	"fs", r_fs
	OUTW	"gs", r_gs
	movl	$STACK0, %eax
	subl	r_hesp, %eax
	OUT	"frame", %eax
	NL
	TEST	"the handler's data segments:"
	INTGATE	0x41, CODE0, v86_target-Z, 0xEE
	V86	IOPL3
	int	$0x41
	ENDV86
	OUTW	"ds", r_eax
	OUTW	"es", r_ebx
	OUTW	"fs", r_ecx
	OUTW	"gs", r_edx
	NL
	TEST	"int through a gate to cpl 1:"
	INTGATE	0x41, CODE1 & 0xF8, v86_target-Z, 0xEE
	V86	IOPL3
	int	$0x41
	ENDV86
	RESULT
	NL
	TEST	"int through a gate to conforming code:"
	INTGATE	0x41, CONFORM, v86_target-Z, 0xEE
	V86	IOPL3
	int	$0x41
	ENDV86
	RESULT
	NL
	TEST	"int through a gate of dpl 0:"
	INTGATE	0x41, CODE0, v86_target-Z, 0x8E
	V86	IOPL3
	int	$0x41
	ENDV86
	RESULT
	NL
	TEST	"int3 through a gate of dpl 0:"
	movb	$0x8E, IDT + 8 * 3 + 5
	V86	IOPL0
	nop
	ENDV86
	RESULT
	NL
	# ---- IOPL
	V	"cli iopl0:", IF_IOPL0, cli
	V	"sti iopl0:", IOPL0, sti
	V	"pushf iopl0:", IOPL0, pushfw
	V	"pushfd iopl0:", IOPL0, pushfl
	V	"popf iopl0:", IOPL0, popfw
	V	"popfd iopl0:", IOPL0, popfl
	V	"int iopl0:", IOPL0, "int $0x42"
	V	"iret iopl0:", IOPL0, iretw
	V	"iretd iopl0:", IOPL0, iretl
	V	"int iopl2:", 0x22002, "int $0x42"
	V	"into iopl0:", 0x20802, into
	V	"icebp iopl0:", IOPL0, ".byte 0xF1"
	V	"hlt iopl3:", IOPL3, hlt
	VF	"cli iopl3:", IF_IOPL3, cli
	VF	"sti iopl3:", IOPL3, sti, nop
	VF	"pushf iopl3:", IF_IOPL3, "xorl %eax, %eax", pushfw, "popw %ax"
	VF	"pushfd iopl3:", 0x00273202, pushfl, "popl %eax"
	VF	"popfd iopl3:", IOPL3, "pushl $0x003CFED7", popfl
	VF	"popf iopl3, zeros:", IF_IOPL3, "pushw $0", popfw
	VF	"iret iopl3:", IF_IOPL3, "pushw $0x4ED7", "pushw %cs", "pushw $1f-S", iretw, "1:"
	VF	"iretd iopl3:", IF_IOPL3, "pushl $0x003CCED7", "pushl $0x1000", "pushl $1f-S", iretl, "1:"
	V	"iretd iopl3, eip beyond 64 kib:", IOPL3, "pushl $2", "pushl $0x1000", "pushl $0x10000", iretl
	V	"lgdt:", IOPL3, "lgdtl 0"
	V	"lmsw:", IOPL3, "lmsw %ax"
	V	"smsw:", IOPL3, "smsw %ax"
	V	"mov from cr0:", IOPL3, "movl %cr0, %eax"
	V	"mov to dr7:", IOPL3, "movl %eax, %dr7"
	V	"clts:", IOPL3, clts
	V	"invd:", IOPL3, invd
	V	"rdmsr:", IOPL3, rdmsr
	V	"sysenter:", IOPL3, sysenter
	V	"sldt:", IOPL3, "sldt %ax"
	V	"lldt:", IOPL3, "lldt %ax"
	V	"verr:", IOPL3, "verr %ax"
	V	"lar:", IOPL3, "lar %ax, %ax"
	V	"arpl:", IOPL3, "arpl %ax, %ax"
	V	"rdtsc:", IOPL0, rdtsc
	# ---- Ports: by the map alone
	TEST	"in, port allowed, iopl0:"
	movb	$0xFE, TSS0 + 0x88 + 0x80 / 8
	V86	IOPL0
	inb	$0x80, %al
	ENDV86
	RESULT
	NL
	TEST	"in, port not allowed, iopl3:"
	V86	IOPL3
	inb	$0x80, %al
	ENDV86
	RESULT
	NL
	TEST	"in of two ports, one allowed:"
	movb	$0xFE, TSS0 + 0x88 + 0x80 / 8
	V86	IOPL3
	inw	$0x80, %ax
	ENDV86
	RESULT
	NL
	TEST	"out of two ports in two bytes:"
	movw	$0xFE7F, TSS0 + 0x88 + 0x87 / 8
	movw	$0x87, %dx
	V86	IOPL3
	movw	$0x87, %dx
	outw	%ax, %dx
	ENDV86
	RESULT
	NL
	TEST	"outsb, port not allowed:"
	V86	IOPL3
	outsb
	ENDV86
	RESULT
	NL
	# ---- Segments
	V	"a word at ffff:", IOPL3, "movw $0xFFFF, %bx", "movw (%bx), %ax"
	V	"a word at ffff of the stack:", IOPL3, "movw $0xFFFF, %bp", "movw (%bp), %ax"
	V	"an offset of 32 bits:", IOPL3, "movl $0x10000, %ebx", "movb (%ebx), %al"
	V	"code beyond ffff:", IOPL3, "movl $0x10000, %eax", "jmpl *%eax"
	V	"mov cs:", IOPL3, ".byte 0x8E, 0xC8"
	V	"a far jump:", IOPL3, "ljmp $0x0FFF, $1f-S+16", "1:", "movw %cs, %ax", "movw $0x1234, %ax"
	TEST	"segments of sixteens:"
	movl	$0x11223344, DATA + 0x20
	V86	IOPL3
	movw	$0x7001, %ax
	movw	%ax, %fs
	movl	%fs:0x10, %eax
	ENDV86
	RESULT
	OUT	"eax", r_eax
	NL
	TEST	"above 1 mib:"
	movl	$0x55667788, 0x100000
	V86	IOPL3
	movw	$0xFFFF, %ax
	movw	%ax, %fs
	movl	%fs:0x10, %eax
	ENDV86
	RESULT
	OUT	"eax", r_eax
	NL
	TEST	"push wraps at 64 kib:"
	V86	IOPL3
	movl	$0x12340000, %esp
	pushw	%ax
	ENDV86
	RESULT
	OUT	"esp", r_esp
	NL
	TEST	"push across:"
	V86	IOPL3
	movl	$1, %esp
	pushw	%ax
	ENDV86
	RESULT
	NL
	TEST	"a page fault from v86 mode:"
	call	paging_on
	movl	$3, PTAB + 4 * (PAGE >> 12)
	call	flush
	V86	IOPL3
	movw	$0x8000, %bx
	movb	%al, 5(%bx)
	ENDV86
	RESULT
	NL
	TEST	"int through a 16-bit gate:"
	DESC	T0, 0x0000FFFF, 0x00409B01
	INTGATE	0x41, T0, gate_target-S, 0xE6
	V86	IOPL3
	int	$0x41
	ENDV86
	OUT	"esp", g_esp
	OUTW	"", g_stack+2
	OUTW	"", g_stack+4
	OUTW	"", g_stack+6
	OUTW	"", g_stack+8
	OUTW	"", g_stack+10
	OUTW	"", g_stack+12
	OUTW	"", g_stack+14
	OUTW	"", g_stack+16
	NL
	TEST	"int through a task gate:"
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 0x41
	movl	$0xE500, IDT + 8 * 0x41 + 4
	V86	IF_IOPL3
	int	$0x41
	ENDV86
	RESULT
	OUTW	"tr", r_tr
	OUT	"fl", TSS0 + 0x24
	OUTW	"cs", TSS0 + 0x4C
	OUTW	"ds", TSS0 + 0x54
	NL
	TEST	"int through a task gate, and back:"
	call	task_set_up
	movl	$task_1-Z + 2, TSS1 + 0x20
	movl	$TASK1 << 16, IDT + 8 * 0x41
	movl	$0xE500, IDT + 8 * 0x41 + 4
	V86	IOPL3
	int	$0x41
	movw	%cs, %ax
	movw	%ds, %bx
	ENDV86
	RESULT
	OUTW	"cs", r_eax
	OUTW	"ds", r_ebx
	movl	r_efl, %eax
	andl	$0x27700, %eax
	OUT	"fl", %eax
	NL
	TEST	"sysenter from v86 mode:"
	MSR	0x174, CODE0
	MSR	0x175, STACK0 - 0x40
	MSR	0x176, gate_target-Z
	V86	0x23202
	sysenter
	ENDV86
	RESULT
	OUTW	"cs", g_cs
	movl	g_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	NL
	TEST	"iret to v86 mode from cpl 3 is none:"
	# Who enters it is at 001B:0000 and says INT 41h.
	movw	$0x40CD, DATA
	movw	$0x41CD, CODE3 << 4
	USER	0x3002
	pushl	$0x23002
	pushl	$CODE3
	pushl	$DATA
	iretl
	END
	RESULT
	movl	r_efl, %eax
	andl	$0x27700, %eax
	OUT	"fl", %eax
	NL
	TEST	"iret of 16 bits does not enter v86 mode:"
	DESC	T0, 0x0000FFFF, 0x00409B01
	TRY
	pushw	$0x3002
	pushw	$T0
	pushw	$1f-S
	iretw
1:	END
	RESULT
	OUTW	"cs", r_cs
	NL

	ret

# ---- VME
vme_group:
	testb	$2, features
	jnz	1f
	TEST	"no vme"
	NL
	ret
1:
.macro VME name, flags, c1, c2, c3, c4, c5
	TEST	"\name"
	call	vme_on
	V86	\flags
	\c1
	\c2
	\c3
	\c4
	\c5
	ENDV86
	RESULT
	OUT	"eax", r_eax
	movl	r_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	movzwl	r_esp, %eax
	OUTW	"sp", %eax
	NL
.endm
	VME	"vme int by the table:", IOPL0, "int $0x42"
	VME	"vme int by the table, iopl3:", IF_IOPL3, "int $0x42"
	VME	"vme int by the table, vif:", 0x000A0002, "int $0x42"
	VME	"vme int by the idt:", IOPL0, "int $0x43"
	VME	"vme int by the idt, iopl3:", IOPL3, "int $0x43"
	VME	"vme int and iret:", 0x000A0002, "xorl %eax, %eax", "int $0x44", "nop"
	VME	"vme into:", 0x20802, "into"
	VME	"vme cli:", 0x000A0002, "cli"
	VME	"vme sti:", IOPL0, "sti", "nop"
	VME	"vme sti, vip:", 0x00120002, "sti", "nop"
	VME	"vme cli, vip:", 0x00120002, "cli", "nop"
	VME	"vme pushf:", 0x000A0002, "xorl %eax, %eax", "pushfw", "popw %ax"
	VME	"vme pushf, if:", 0x00020202, "xorl %eax, %eax", "pushfw", "popw %ax"
	VME	"vme pushfd:", 0x000A0002, "pushfl"
	VME	"vme popf, if:", IOPL0, "pushw $0x0202", "popfw", "nop"
	VME	"vme popf, no if:", 0x000A0202, "pushw $0x7002", "popfw", "nop"
	VME	"vme popf, tf:", IOPL0, "pushw $0x0102", "popfw", "nop"
	VME	"vme popf, if and vip:", 0x00120002, "pushw $0x0202", "popfw", "nop"
	VME	"vme popf, vip:", 0x00120002, "pushw $0x0002", "popfw", "nop"
	VME	"vme popfd:", IOPL0, "pushl $2", "popfl", "nop"
	VME	"vme iret, if:", IOPL0, "pushw $0x0202", "pushw %cs", "pushw $1f-S", iretw, "1:"
	VME	"vme iret, no if:", 0x000A0202, "pushw $0x7002", "pushw %cs", "pushw $1f-S", iretw, "1:"
	VME	"vme iret, tf:", IOPL0, "pushw $0x0102", "pushw %cs", "pushw $1f-S", iretw, "1:"
	VME	"vme iret, if and vip:", 0x00120002, "pushw $0x0202", "pushw %cs", "pushw $1f-S", iretw, "1:"
	VME	"vme iretd:", IOPL0, "pushl $2", "pushl $0x1000", "pushl $1f-S", iretl, "1:"
	VME	"vme, vif and vip at the start:", 0x001A0002, "nop"
	VME	"vme, vif and vip, iopl3:", 0x001A3002, "nop"
	VME	"vme pushf iopl3:", 0x00023202, "xorl %eax, %eax", "pushfw", "popw %ax"
	TEST	"vme int, the map beyond the tss:"
	call	vme_on
	movw	$0x2088 + 64, TSS0 + 0x66
	V86	IOPL0
	int	$0x42
	ENDV86
	RESULT
	NL
	TEST	"vme int, the map before the tss:"
	call	vme_on
	movw	$0x10, TSS0 + 0x66
	V86	IOPL0
	int	$0x42
	ENDV86
	RESULT
	NL
	TEST	"pvi cli and sti:"
	movl	$2, %eax
	movl	%eax, %cr4
	USER	0x202
	cli
	pushfl
	popl	%eax
	sti
	pushfl
	popl	%ebx
	END
	RESULT
	movl	r_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	OUT	"", r_eax
	OUT	"", r_ebx
	NL
	TEST	"pvi sti, vip:"
	movl	$2, %eax
	movl	%eax, %cr4
	USER	0x00100202
	sti
	END
	RESULT
	NL
	TEST	"pvi popf leaves if and vif:"
	movl	$2, %eax
	movl	%eax, %cr4
	USER	0x00080202
	pushl	$2
	popfl
	END
	RESULT
	movl	r_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	NL
	ret

v86_target:
	movl	%ds, %eax
	movl	%es, %ebx
	movl	%fs, %ecx
	movl	%gs, %edx
	int	$0x40

# CR4.VME; INT 42h and 44h go by the table at 0, 43h by the IDT.
vme_on:
	pushal
	movl	$1, %eax
	movl	%eax, %cr4
	movl	$0x10000000 + v86_int_42-S, 4 * 0x42
	movl	$0x10000000 + v86_int_44-S, 4 * 0x44
	movb	$0x08, TSS0 + 0x68 + 8
	popal
	ret
	.code16
# AX, and what INT pushed.
v86_int_42:
	popw	%cx
	popw	%dx
	popw	%ax
	int3
v86_int_44:
	incw	%ax
	iretw
	.code32
