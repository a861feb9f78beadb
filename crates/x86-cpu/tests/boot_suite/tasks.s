# Hardware task switches.

# TSS1 for task_1 at CPL 0, with registers of its own.
task_set_up:
	pushal
	movl	$TSS1, %edi
	xorl	%eax, %eax
	movl	$26, %ecx
	rep stosl
	movl	%cr3, %eax
	movl	%eax, TSS1 + 0x1C
	movl	$task_1-Z, TSS1 + 0x20
	movl	$2, TSS1 + 0x24
	movl	$0xE1E1E1E1, %eax
	movl	$TSS1 + 0x28, %edi
	movl	$8, %ecx
1:	stosl
	addl	$0x01010101, %eax
	loop	1b
	movl	$STACKT, TSS1 + 0x38
	movl	$DATA0, TSS1 + 0x48
	movl	$CODE0, TSS1 + 0x4C
	movl	$DATA0, TSS1 + 0x50
	movl	$DATA0, TSS1 + 0x54
	# TSS2, 16 bits
	movl	$task_16-S, TSS2 + 0x0E
	movw	$2, TSS2 + 0x10
	movw	$0xE1E1, %ax
	movl	$TSS2 + 0x12, %edi
	movl	$8, %ecx
2:	stosw
	addw	$0x0101, %ax
	loop	2b
	movw	$0x7F00, TSS2 + 0x1A
	movw	$DATA0, TSS2 + 0x22
	movw	$CODE16, TSS2 + 0x24
	movw	$T1, TSS2 + 0x26
	DESC	T1, 0x0000FFFF, 0x00009306
	movw	$DATA0, TSS2 + 0x28
	movw	$0, TSS2 + 0x2A
	# What is saved into TSS0 shows.
	movl	$TSS0 + 0x20, %edi
	movl	$0xDEADDEAD, %eax
	movl	$16, %ecx
	rep stosl
	popal
	ret

task_1:	int	$0x40
	iretl
	int	$0x41
	iretl
	int	$0x42

	.code16
task_16:
	iretw
	int	$0x43
	.code32

# Who is who after a switch.
task_report:
	RESULT
task_state:
	OUTW	"tr", r_tr
	movzwl	TSS1, %eax
	OUTW	"link", %eax
	movzbl	GDT + TASK0 + 5, %eax
	OUTW	"old", %eax
	movzbl	GDT + TASK1 + 5, %eax
	OUTW	"new", %eax
	movl	r_efl, %eax
	andl	$0x7700, %eax
	OUTW	"fl", %eax
	movl	r_cr0, %eax
	andl	$8, %eax
	OUTW	"ts", %eax
	ret
task_saved:
	movl	TSS0 + 0x20, %eax
	subl	t_base, %eax
	OUT	"saved eip", %eax
	OUT	"fl", TSS0 + 0x24
	OUT	"eax", TSS0 + 0x28
	movl	t_esp, %eax
	subl	TSS0 + 0x38, %eax
	OUT	"sp", %eax
	OUT	"cs", TSS0 + 0x4C
	OUT	"ds", TSS0 + 0x54
	OUT	"ldt", TSS0 + 0x60
	ret

.macro TASKGATE at, selector, access=0x85
	movl	$\selector << 16, GDT + \at
	movl	$\access << 8, GDT + \at + 4
.endm
# A trial that comes to nothing.
.macro NOTASK name, c1, c2, c3, c4, c5
	TEST	"\name"
	call	task_set_up
	\c1
	\c2
	\c3
	\c4
	TRY
	\c5
	END
	RESULT
	movzbl	GDT + TASK0 + 5, %eax
	OUTW	"old", %eax
	movzbl	GDT + TASK1 + 5, %eax
	OUTW	"new", %eax
	NL
.endm
# A switch to a task in which something is wrong; its exception comes in the task of TSS3.
.macro BADTASK name, vector, c1, c2, c3
	TEST	"\name"
	call	task_set_up
	movb	$\vector, %al
	call	by_task
	\c1
	\c2
	\c3
	movl	$0x1234, %eax
	TRY
	ljmp	$TASK1, $0
	END
	movl	TSS1 + 0x20, %eax
	movl	%eax, t_base
	RESULT
	OUTW	"from", r_link
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUTW	"ds", r_ds
	OUT	"eax", r_eax
	movzbl	GDT + TASK1 + 5, %eax
	OUTW	"new", %eax
	NL
.endm

tasks_group:
	TEST	"jmp to a task:"
	call	task_set_up
	movl	$0x1234, %eax
	TRY
	ljmp	$TASK1, $0
	END
	call	task_report
	call	task_saved
	NL
	TEST	"what the new task has:"
	call	task_set_up
	TRY
	ljmp	$TASK1, $0
	END
	OUT	"eax", r_eax
	OUT	"ecx", r_ecx
	OUT	"edx", r_edx
	OUT	"ebx", r_ebx
	OUT	"esp", r_esp
	OUT	"ebp", r_ebp
	OUT	"esi", r_esi
	OUT	"edi", r_edi
	OUTW	"fs", r_fs
	NL
	TEST	"call of a task:"
	call	task_set_up
	TRY
	lcall	$TASK1, $0
	END
	call	task_report
	call	task_saved
	NL
	TEST	"jmp through a task gate:"
	call	task_set_up
	TASKGATE GATE, TASK1
	TRY
	ljmp	$GATE, $0
	END
	call	task_report
	NL
	TEST	"call through a task gate in the ldt:"
	call	task_set_up
	movl	$LDTSEL, %eax
	lldt	%ax
	movl	$TASK1 << 16, LDT
	movl	$0x8500, LDT + 4
	TRY
	lcall	$4, $0
	END
	call	task_report
	call	task_saved
	NL
	TEST	"int through a task gate:"
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 0x41
	movl	$0x8500, IDT + 8 * 0x41 + 4
	TRY
	int	$0x41
	END
	call	task_report
	call	task_saved
	NL
	TEST	"a fault through a task gate:"
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 6
	movl	$0x8500, IDT + 8 * 6 + 4
	TRY
	ud2
	END
	call	task_report
	call	task_saved
	NL
	TEST	"a fault with an error code through a task gate:"
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 11
	movl	$0x8500, IDT + 8 * 11 + 4
	DESC	T0, 0x0000FFFF, 0x00CF1300
	movl	$T0, %eax
	TRY
	movl	%eax, %fs
	END
	call	task_report
	OUT	"esp", r_esp
	OUT	"", STACKT - 4
	NL
	TEST	"from cpl 3 through a task gate of dpl 3:"
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 0x41
	movl	$0xE500, IDT + 8 * 0x41 + 4
	USER
	int	$0x41
	END
	call	task_report
	NL
	TEST	"from cpl 3 through a task gate of dpl 0:"
	call	task_set_up
	movl	$TASK1 << 16, IDT + 8 * 0x41
	movl	$0x8500, IDT + 8 * 0x41 + 4
	USER
	int	$0x41
	END
	RESULT
	NL
	TEST	"a call, and back by iret, twice:"
	call	task_set_up
	movl	$task_1-Z + 2, TSS1 + 0x20
	movl	$0x1234, %eax
	TRY
	lcall	$TASK1, $0
	movzbl	GDT + TASK1 + 5, %ebx
	movzbl	GDT + TASK0 + 5, %ecx
	movl	TSS1 + 0x20, %edx
	subl	$task_1-Z, %edx
	movl	TSS1 + 0x24, %esi
	END
	RESULT
	OUTW	"tr", r_tr
	OUT	"eax", r_eax
	OUTW	"new", r_ebx
	OUTW	"old", r_ecx
	OUT	"eip", r_edx
	OUT	"fl", r_esi
	movl	r_efl, %eax
	andl	$0x7700, %eax
	OUTW	"fl", %eax
	TRY
	lcall	$TASK1, $0
	END
	# It goes on behind its IRET, with INT 41h.
	OUT	"then", r_vec
	NL
	TEST	"back to cpl 3:"
	call	task_set_up
	movl	$task_1-Z + 2, TSS1 + 0x20
	movl	$TASK1 << 16, IDT + 8 * 0x41
	movl	$0xE500, IDT + 8 * 0x41 + 4
	USER	0x3202
	int	$0x41
	END
	RESULT
	OUTW	"cs", r_cs
	movl	r_efl, %eax
	andl	$0x7700, %eax
	OUTW	"fl", %eax
	NL
	TEST	"a task at cpl 3:"
	call	task_set_up
	movl	$CODE3, TSS1 + 0x4C
	movl	$DATA3, TSS1 + 0x50
	movl	$DATA3, TSS1 + 0x48
	movl	$DATA3, TSS1 + 0x54
	movl	$STACK3, TSS1 + 0x38
	movl	$STACK0, TSS1 + 4
	movl	$DATA0, TSS1 + 8
	movl	$0x3202, TSS1 + 0x24
	TRY
	ljmp	$TASK1, $0
	END
	call	task_report
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUTW	"es", r_es
	NL
	# ---- 16 bits
	TEST	"call of a 16-bit task, and back:"
	call	task_set_up
	movl	$0x12345678, %eax
	TRY
	lcall	$TASK2, $0
	movl	TSS2 + 0x0E, %ebx
	subw	$task_16-S, %bx
	movl	TSS2 + 0x10, %ecx
	END
	RESULT
	OUTW	"tr", r_tr
	OUT	"eax", r_eax
	OUT	"ip", r_ebx
	OUT	"fl", r_ecx
	movzwl	TSS2, %eax
	OUTW	"link", %eax
	NL
	TEST	"jmp to a 16-bit task:"
	call	task_set_up
	movl	$task_16_b-S, TSS2 + 0x0E
	TRY
	ljmp	$TASK2, $0
	END
	RESULT
	OUTW	"tr", r_tr
	OUT	"eax", r_eax
	OUT	"esp", r_ebx
	OUTW	"fs", r_fs
	OUTW	"gs", r_gs
	NL
	TEST	"from a 16-bit task to one of 32:"
	call	task_set_up
	movw	$task_16_c-S, TSS2 + 0x0E
	TRY
	ljmp	$TASK2, $0
	END
	RESULT
	OUTW	"tr", r_tr
	movzwl	TSS1, %eax
	OUTW	"link", %eax
	movzwl	TSS2 + 0x0E, %eax
	subw	$task_16_c-S, %ax
	OUTW	"ip", %eax
	movzwl	TSS2 + 0x12, %eax
	OUTW	"ax", %eax
	NL

	# ---- What cannot be switched to; all of it in the old task
	NOTASK	"jmp to a busy task:", "movb $0x8B, GDT + TASK1 + 5", , , , "ljmp $TASK1, $0"
	NOTASK	"call of oneself:", , , , , "lcall $TASK0, $0"
	NOTASK	"jmp to an absent task:", "movb $0x09, GDT + TASK1 + 5", , , , "ljmp $TASK1, $0"
	NOTASK	"jmp to a task of limit 66h:", "movw $0x66, GDT + TASK1", , , , "ljmp $TASK1, $0"
	NOTASK	"jmp to a 16-bit task of limit 2Ah:", "movw $0x2A, GDT + TASK2", , , , "ljmp $TASK2, $0"
	NOTASK	"jmp to a task, rpl above dpl:", , , , , "ljmp $TASK1 + 3, $0"
	NOTASK	"jmp to a task in the ldt:", "movl $LDTSEL, %eax", "lldt %ax", "movl $(TSS1 & 0xFFFF) << 16 | 0x67, LDT + 8", "movl $TSS1 >> 16 | 0x8900, LDT + 12", "ljmp $12, $0"
	NOTASK	"task gate to null:", "movl $0, GDT + GATE", "movl $0x8500, GDT + GATE + 4", , , "ljmp $GATE, $0"
	NOTASK	"task gate to the ldt:", "movl $0xC0000, GDT + GATE", "movl $0x8500, GDT + GATE + 4", , , "ljmp $GATE, $0"
	NOTASK	"task gate to data:", "movl $DATA0 << 16, GDT + GATE", "movl $0x8500, GDT + GATE + 4", , , "ljmp $GATE, $0"
	NOTASK	"task gate to a busy task:", "movl $TASK0 << 16, GDT + GATE", "movl $0x8500, GDT + GATE + 4", , , "ljmp $GATE, $0"
	NOTASK	"task gate beyond the gdt:", "movl $0x4000000, GDT + GATE", "movl $0x8500, GDT + GATE + 4", , , "ljmp $GATE, $0"
	NOTASK	"task gate, absent:", "movl $TASK1 << 16, GDT + GATE", "movl $0x0500, GDT + GATE + 4", , , "ljmp $GATE, $0"
	NOTASK	"int through a gate to an absent task:", "movb $0x09, GDT + TASK1 + 5", "movl $TASK1 << 16, IDT + 8 * 0x41", "movl $0x8500, IDT + 8 * 0x41 + 4", , "int $0x41"
	NOTASK	"int through a gate to a busy task:", "movb $0x8B, GDT + TASK1 + 5", "movl $TASK1 << 16, IDT + 8 * 0x41", "movl $0x8500, IDT + 8 * 0x41 + 4", , "int $0x41"
	NOTASK	"a fault through a gate to an absent task:", "movb $0x09, GDT + TASK1 + 5", "movl $TASK1 << 16, IDT + 8 * 6", "movl $0x8500, IDT + 8 * 6 + 4", , "ud2"
	NOTASK	"a fault through a gate to a busy task:", "movb $0x8B, GDT + TASK1 + 5", "movl $TASK1 << 16, IDT + 8 * 6", "movl $0x8500, IDT + 8 * 6 + 4", , "ud2"
	NOTASK	"a fault through a gate to a short task:", "movw $0x66, GDT + TASK1", "movl $TASK1 << 16, IDT + 8 * 6", "movl $0x8500, IDT + 8 * 6 + 4", , "ud2"
	NOTASK	"a fault through a gate to null:", "movl $0, IDT + 8 * 6", "movl $0x8500, IDT + 8 * 6 + 4", , , "ud2"
	TEST	"jmp to a task of dpl 0 from cpl 3:"
	call	task_set_up
	USER
	ljmp	$TASK1 + 3, $0
	END
	RESULT
	NL
	TEST	"jmp to a task of dpl 3 from cpl 3:"
	call	task_set_up
	movb	$0xE9, GDT + TASK1 + 5
	USER
	ljmp	$TASK1 + 3, $0
	END
	call	task_report
	NL
.macro BADLINK name, link
	TEST	"\name"
	call	task_set_up
	movw	$\link, TSS0
	TRY
	pushl	$0x4002
	popfl
	iretl
	END
	RESULT
	NL
.endm
	BADLINK	"iret to a link of null:", 0
	BADLINK	"iret to a link that is not busy:", TASK1
	BADLINK	"iret to a link to data:", DATA0
	BADLINK	"iret to a link beyond the gdt:", 0x400
	BADLINK	"iret to a link in the ldt:", 0x0C

	# ---- What is wrong in the new task
	BADTASK	"new task, no ldt:", 10, "movw $T0, TSS1 + 0x60"
	BADTASK	"new task, ldt in the ldt:", 10, "movw $4, TSS1 + 0x60"
	BADTASK	"new task, ldt absent:", 10, "movb $0x02, GDT + LDTSEL + 5", "movw $LDTSEL, TSS1 + 0x60"
	BADTASK	"new task, cs null:", 10, "movw $0, TSS1 + 0x4C"
	BADTASK	"new task, cs data:", 10, "movw $DATA0, TSS1 + 0x4C"
	BADTASK	"new task, cs of dpl 3 with rpl 0:", 10, "movw $CODE3 & 0xF8, TSS1 + 0x4C"
	BADTASK	"new task, cs of dpl 0 with rpl 3:", 10, "movw $CODE0 + 3, TSS1 + 0x4C"
	BADTASK	"new task, cs beyond the gdt:", 10, "movw $0x400, TSS1 + 0x4C"
	BADTASK	"new task, cs absent:", 11, "movl $0xFFFF, GDT + T0", "movl $0x00CF1B00, GDT + T0 + 4", "movw $T0, TSS1 + 0x4C"
	BADTASK	"new task, ss null:", 10, "movw $0, TSS1 + 0x50"
	BADTASK	"new task, ss code:", 10, "movw $CODE0, TSS1 + 0x50"
	BADTASK	"new task, ss of dpl 3:", 10, "movw $DATA3, TSS1 + 0x50"
	BADTASK	"new task, ss absent:", 12, "movl $0xFFFF, GDT + T0", "movl $0x00CF1300, GDT + T0 + 4", "movw $T0, TSS1 + 0x50"
	BADTASK	"new task, ds execute-only:", 10, "movl $0xFFFF, GDT + T0", "movl $0x00CF9900, GDT + T0 + 4", "movw $T0, TSS1 + 0x54"
	BADTASK	"new task, ds a tss:", 10, "movw $TASK0, TSS1 + 0x54"
	BADTASK	"new task, ds absent:", 11, "movl $0xFFFF, GDT + T0", "movl $0x00CF1300, GDT + T0 + 4", "movw $T0, TSS1 + 0x54"
	BADTASK	"new task, gs beyond the gdt:", 10, "movw $0x400, TSS1 + 0x5C"
	BADTASK	"new task, fs of dpl 0 with rpl 3:", 10, "movw $DATA0 + 3, TSS1 + 0x58"
	BADTASK	"new task, eip beyond the limit:", 13, "movl $0x00000FFF, GDT + T0", "movl $0x00409B00, GDT + T0 + 4", "movw $T0, TSS1 + 0x4C"

	TEST	"a fault through a gate to a task with a bad ds:"
	call	task_set_up
	movb	$10, %al
	call	by_task
	movl	$TASK1 << 16, IDT + 8 * 6
	movl	$0x8500, IDT + 8 * 6 + 4
	movw	$TASK0, TSS1 + 0x54
	movl	$0x0202, TSS1 + 0x24
	TRY
	ud2
	END
	movl	$task_1-Z, t_base
	RESULT
	OUTW	"from", r_link
	movl	r_efl, %eax
	andl	$0x7700, %eax
	OUTW	"fl", %eax
	# What comes next is where it is.
	xorl	%ecx, %ecx
	TRY
	nop
	nop
	divl	%ecx
	END
	RESULT
	NL

	# ---- What comes along
	TEST	"the ldt comes along:"
	call	task_set_up
	movw	$LDTSEL, TSS1 + 0x60
	movl	$0xFFFF, LDT
	movl	$0x00CF9300, LDT + 4
	movw	$4, TSS1 + 0x58
	TRY
	ljmp	$TASK1, $0
	END
	RESULT
	OUTW	"fs", r_fs
	xorl	%eax, %eax
	sldt	%ax
	OUTW	"ldtr", %eax
	NL
	TEST	"cr3 comes along:"
	call	paging_on
	call	task_set_up
	# Another directory, in which PAGE leads to PAGE2.
	movl	$PTAB, %esi
	movl	$PAETAB, %edi
	movl	$1024, %ecx
	rep movsl
	movl	$PAETAB + 7, PAEDIR
	movl	$PAGE2 + 7, PAETAB + 4 * (PAGE >> 12)
	movl	$1, PAGE
	movl	$2, PAGE2
	movl	$PAEDIR, TSS1 + 0x1C
	movl	$task_cr3-Z, TSS1 + 0x20
	TRY
	movl	PAGE, %ebx
	ljmp	$TASK1, $0
	END
	RESULT
	OUT	"eax", r_eax
	OUT	"cr3 saved", TSS0 + 0x1C
	NL
	TEST	"the trap bit:"
	call	task_set_up
	movw	$1, TSS1 + 0x64
	TRY
	ljmp	$TASK1, $0
	END
	movl	TSS1 + 0x20, %eax
	movl	$task_1-Z, t_base
	RESULT
	movl	r_dr6, %eax
	andl	$0xE00F, %eax
	OUTW	"dr6", %eax
	NL
	TEST	"local breakpoints end with the task:"
	call	task_set_up
	movl	$task_dr7-Z, TSS1 + 0x20
	movl	$0x00000755, %eax
	movl	%eax, %dr7
	TRY
	ljmp	$TASK1, $0
	END
	RESULT
	OUT	"dr7", r_eax
	NL
	TEST	"a task in v86 mode:"
	call	task_set_up
	movl	$task_v86-S, TSS1 + 0x20
	movl	$0x00023202, TSS1 + 0x24
	movl	$0x1000, TSS1 + 0x4C
	movl	$0x6000, TSS1 + 0x50
	movl	$0x7000, TSS1 + 0x54
	movl	$0x7F00, TSS1 + 0x38
	movl	$STACK0, TSS1 + 4
	movl	$DATA0, TSS1 + 8
	TRY
	ljmp	$TASK1, $0
	END
	OUT	"vec", r_vec
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUTW	"ds", r_ds
	movl	r_efl, %eax
	andl	$0x27700, %eax
	OUT	"fl", %eax
	NL
	TEST	"rf in the new task's flags:"
	call	task_set_up
	movl	$0x10002, TSS1 + 0x24
	movl	$task_1-Z, %eax
	movl	%eax, %dr0
	movl	$2, %eax
	movl	%eax, %dr7
	TRY
	ljmp	$TASK1, $0
	END
	RESULT
	NL
	TEST	"a breakpoint at the new task's first instruction:"
	call	task_set_up
	movl	$task_1-Z, %eax
	movl	%eax, %dr0
	movl	$2, %eax
	movl	%eax, %dr7
	TRY
	ljmp	$TASK1, $0
	END
	movl	$task_1-Z, t_base
	RESULT
	NL
	TEST	"ts makes x87 instructions fault:"
	call	task_set_up
	movl	$task_x87-Z, TSS1 + 0x20
	TRY
	ljmp	$TASK1, $0
	END
	movl	$task_x87-Z, t_base
	RESULT
	NL
	ret

task_cr3:
	movl	PAGE, %eax
	int	$0x40
task_dr7:
	movl	%dr7, %eax
	int	$0x40
task_x87:
	fnop
	int	$0x40
	.code16
task_16_b:
	movl	%esp, %ebx
	movzwl	%sp, %esp
	int	$0x40
task_16_c:
	ljmp	$TASK1, $0
task_v86:
	int	$0x44
	.code32
