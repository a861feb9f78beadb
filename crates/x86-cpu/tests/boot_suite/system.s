# Control registers, model-specific registers, fast system calls, SSE's switches.

# A trial with EAX in, EAX out.
.macro SYS name, value, c1, c2, c3, c4, c5, c6
	TEST	"\name"
	movl	$\value, %eax
	movl	$DATA, %ebx
	TRY
	\c1
	\c2
	\c3
	\c4
	\c5
	\c6
	END
	RESULT
	cmpl	$0x40, r_vec
	jne	770f
	OUT	"eax", r_eax
770:	NL
.endm
# The same at CPL 3.
.macro SYSU name, cr4, c1, c2, c3, c4, c5
	TEST	"\name"
	movl	$\cr4, %eax
	movl	%eax, %cr4
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
.macro SSE name, cr0, cr4, c1, c2, c3, c4, c5
	TEST	"\name"
	movl	$\cr4, %eax
	movl	%eax, %cr4
	movl	$DATA, %ebx
	movl	$\cr0, %eax
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

system_group:
	# ---- Control registers
	SYS	"cr0, et cannot be cleared:", 0x21, "movl %eax, %cr0", "movl %cr0, %eax"
	SYS	"cr0, cd and nw:", 0x60000031, "movl %eax, %cr0", "movl %cr0, %eax"
	SYS	"cr0, nw without cd:", 0x20000031, "movl %eax, %cr0", "movl %cr0, %eax"
	SYS	"cr0, wp and am:", 0x00050031, "movl %eax, %cr0", "movl %cr0, %eax"
	SYS	"cr2 holds anything:", 0x12345679, "movl %eax, %cr2", "movl $0, %eax", "movl %cr2, %eax"
	SYS	"cr3 holds pwt and pcd:", 0x0004A018, "movl %eax, %cr3", "movl $0, %eax", "movl %cr3, %eax"
	SYS	"cr4, what a pentium iii has:", 0x7FC, "movl %eax, %cr4", "movl %cr4, %eax"
	SYS	"mov from a control register, mod 0:", 0, ".byte 0x0F, 0x20, 0x00"
	SYS	"mov from a control register of 16 bits is of 32:", 0xFFFF0000, ".byte 0x66, 0x0F, 0x20, 0xC0"
	SYS	"lmsw sets ts, mp, em:", 0xFFF1, "lmsw %ax", "movl %cr0, %eax"
	SYS	"lmsw from memory:", 0xB, "movl %eax, (%ebx)", "lmsw (%ebx)", "movl %cr0, %eax"
	SYS	"clts:", 0x39, "movl %eax, %cr0", "clts", "movl %cr0, %eax"
	SYS	"smsw to memory is of 16 bits:", 0x12345678, "movl %eax, (%ebx)", "smsw (%ebx)", "movl (%ebx), %eax"
	SYS	"str to memory is of 16 bits:", 0x12345678, "movl %eax, (%ebx)", "str (%ebx)", "movl (%ebx), %eax"
	SYS	"str to a register of 16 bits:", 0x12345678, "strw %ax"
	SYS	"str to a register of 32 bits:", 0x12345678, "strl %eax"
	SYS	"sldt to a register of 16 bits:", 0x12345678, "sldtw %ax"
	SYS	"mov from a segment to memory is of 16 bits:", 0x12345678, "movl %eax, (%ebx)", "movw %ds, (%ebx)", "movl (%ebx), %eax"
	SYS	"mov from a segment to a register of 32 bits:", 0x12345678, "movl %ds, %eax"
	SYS	"push of a segment:", 0, "pushl $-1", "popl %eax", "pushl %ds", "popl %eax", "andl $0xFFFF, %eax"
	SYS	"sgdt, its limit:", 0x12345678, "sgdt (%ebx)", "movl (%ebx), %eax", "andl $0xFFFF, %eax"
	SYS	"sgdt, its base:", 0x12345678, "sgdt (%ebx)", "movl 2(%ebx), %eax"
	SYS	"sidt, its base:", 0x12345678, "sidt (%ebx)", "movl 2(%ebx), %eax"
	SYS	"lgdt of 16 bits takes 24 of the base:", 0, "movw $0x3FF, (%ebx)", "movl $GDT | 0x55000000, 2(%ebx)", "data16 lgdt (%ebx)", "sgdt (%ebx)", "movl 2(%ebx), %eax", "lgdt gdt_pointer-Z"
	SYS	"invd and wbinvd:", 0, "wbinvd"
	# ---- Looking at selectors
	SYS	"lar of null:", 0, "larl %eax, %eax", "movl $0, %eax", "setz %al"
	SYS	"lsl of null of rpl 3:", 3, "lsll %eax, %eax", "movl $0, %eax", "setz %al"
	SYS	"verr of null:", 0, "verr %ax", "movl $0, %eax", "setz %al"
	SYS	"lar beyond the gdt:", 0x400, "larl %eax, %eax", "setz %al", "andl $0xFF, %eax"
	SYS	"lsl of pages:", CODE0, "lsll %eax, %eax"
	SYS	"lsl of bytes:", CODE16, "lsll %eax, %eax"
	SYS	"lar of code:", CODE0, "larl %eax, %eax", "andl $0x00F0FF00, %eax"
	# ---- Time stamps and counters
	SYS	"rdtsc goes forward:", 0, "rdtsc; movl %eax, %ecx; movl %edx, %esi", "rdtsc", "subl %ecx, %eax; sbbl %esi, %edx", "movl $0, %eax", "setnc %al"
	SYSU	"rdtsc cpl 3, tsd:", 4, rdtsc
	SYSU	"rdtsc cpl 3, no tsd:", 0, rdtsc
	SYS	"rdtsc cpl 0, tsd:", 4, "movl %eax, %cr4", "rdtsc", "movl $0, %eax"
	SYS	"rdpmc, counter 2:", 0, "movl $2, %ecx", rdpmc
	# ---- Model-specific registers
	SYS	"rdmsr of what is none:", 0, "movl $0x4321, %ecx", rdmsr
	SYS	"wrmsr of what is none:", 0, "movl $0x4321, %ecx", wrmsr
	SYS	"msr 174h:", 0x5678, "movl $0x174, %ecx; movl $0, %edx", wrmsr, "movl $0, %eax", rdmsr
	SYS	"msr 175h:", 0x12345678, "movl $0x175, %ecx; movl $0, %edx", wrmsr, "movl $0, %eax", rdmsr
	SYS	"msr 176h:", 0x12345678, "movl $0x176, %ecx; movl $0, %edx", wrmsr, "movl $0, %eax", rdmsr
	SYS	"mtrr capabilities are read-only:", 0, "movl $0xFE, %ecx; movl $0, %edx", wrmsr
	SYS	"the msr of page attributes:", 0x00070406, "movl $0x277, %ecx; movl $0x00070406, %edx", wrmsr, "movl $0, %eax", rdmsr
	SYS	"page attributes, a type that is none:", 0x00070402, "movl $0x277, %ecx; movl $0x00070406, %edx", wrmsr
	# ---- Who
	TEST	"vendor:"
	xorl	%eax, %eax
	cpuid
	OUT	"", %ebx
	OUT	"", %edx
	OUT	"", %ecx
	NL
	TEST	"family:"
	movl	$1, %eax
	cpuid
	andl	$0xF00, %eax
	OUT	"", %eax
	NL
	# ---- Fast system calls
	TEST	"sysenter, selector null:"
	# Who goes on comes to a good end.
	MSR	0x174, 3
	MSR	0x175, STACK0 - 0x40
	MSR	0x176, gate_target-Z
	USER
	sysenter
	END
	RESULT
	NL
	TEST	"sysexit, selector null:"
	MSR	0x174, 3
	movl	$STACK3, %ecx
	movl	$1f-Z, %edx
	TRY
	sysexit
1:	END
	RESULT
	NL
	TEST	"sysenter:"
	MSR	0x174, CODE0 + 3
	MSR	0x175, STACK0 - 0x40
	MSR	0x176, gate_target-Z
	USER	0x3202
	movl	$0x1111, %ecx
	movl	$0x2222, %edx
	sysenter
	END
	RESULT
	OUTW	"cs", g_cs
	OUTW	"ss", g_ss
	OUT	"esp", g_esp
	movl	g_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	OUT	"ecx", r_ecx
	OUT	"edx", r_edx
	NL
	TEST	"sysenter at cpl 0:"
	MSR	0x174, CODE0
	MSR	0x175, STACK0 - 0x40
	MSR	0x176, gate_target-Z
	TRY
	sysenter
	END
	RESULT
	OUTW	"cs", g_cs
	OUT	"esp", g_esp
	NL
	TEST	"sysenter needs no descriptors:"
	MSR	0x174, CODE0
	MSR	0x175, STACK0 - 0x40
	MSR	0x176, system_flat-Z
	movl	$0, GDT + CODE0 + 4
	movl	$0, GDT + DATA0 + 4
	USER
	sysenter
	END
	OUT	"eax", v1
	NL
	TEST	"sysexit:"
	MSR	0x174, CODE0
	movl	$STACK3 - 0x20, %ecx
	movl	$1f-Z, %edx
	TRY
	pushl	$0x3202
	popfl
	sysexit
	ud2
1:	END
	RESULT
	OUTW	"cs", r_cs
	OUTW	"ss", r_ss
	OUT	"esp", r_esp
	OUTW	"ds", r_ds
	movl	r_efl, %eax
	andl	$0x003E7F00, %eax
	OUT	"fl", %eax
	NL
	# ---- SSE
	testl	$0x02000000, features
	jnz	1f
	SAY	"no sse"
	NL
	ret
1:	SSE	"xorps:", 0x31, 0x600, "xorps %xmm0, %xmm0"
	SSE	"xorps without osfxsr:", 0x31, 0x400, "xorps %xmm0, %xmm0"
	SSE	"xorps, em:", 0x35, 0x600, "xorps %xmm0, %xmm0"
	SSE	"xorps, ts:", 0x39, 0x600, "xorps %xmm0, %xmm0"
	SSE	"xorps, em and ts:", 0x3D, 0x600, "xorps %xmm0, %xmm0"
	SSE	"xorps without osfxsr, ts:", 0x39, 0x400, "xorps %xmm0, %xmm0"
	SSE	"movaps at 8:", 0x31, 0x600, "movaps 8(%ebx), %xmm0"
	SSE	"movups at 1:", 0x31, 0x600, "movups 1(%ebx), %xmm0"
	SSE	"mulps with memory at 4:", 0x31, 0x600, "mulps 4(%ebx), %xmm0"
	SSE	"ldmxcsr, a reserved bit:", 0x31, 0x600, "movl $0x00010000, (%ebx)", "ldmxcsr (%ebx)"
	SSE	"ldmxcsr, bit 6 is denormals are zeros:", 0x31, 0x600, "movl $0x00000040, (%ebx)", "ldmxcsr (%ebx)", "movl $0x1F80, (%ebx)", "ldmxcsr (%ebx)"
	SSE	"an unmasked division by zero:", 0x31, 0x600, "movl $0x1D80, (%ebx); ldmxcsr (%ebx)", "movl $0x3F800000, 4(%ebx); movss 4(%ebx), %xmm0", "xorps %xmm1, %xmm1", "divss %xmm1, %xmm0"
	SSE	"an unmasked division by zero without osxmmexcpt:", 0x31, 0x200, "movl $0x1D80, (%ebx); ldmxcsr (%ebx)", "movl $0x3F800000, 4(%ebx); movss 4(%ebx), %xmm0", "xorps %xmm1, %xmm1", "divss %xmm1, %xmm0"
	SSE	"fxrstor, a reserved bit of mxcsr:", 0x31, 0x600, "fxsave (%ebx)", "movl $0x00010000, 24(%ebx)", "fxrstor (%ebx)"
	SSE	"prefetch of nothing there:", 0x31, 0x600, "prefetchnta 0xFFFFFFF0"
	SSE	"sfence:", 0x31, 0, "sfence"
	ret

# By itself: not every emulator goes on after it.
cr4_group:
	SYS	"cr4, bit 11:", 0x800, "movl %eax, %cr4"
	SYS	"cr4, bit 31:", 0x80000000, "movl %eax, %cr4"
	ret

# Reached with no good descriptor: the registers' hidden parts are flat.
system_flat:
	movl	$0x600D, %ss:v1
	movl	$0x00CF9B00, %ss:GDT + CODE0 + 4
	movl	$0x00CF9300, %ss:GDT + DATA0 + 4
	int	$0x40
