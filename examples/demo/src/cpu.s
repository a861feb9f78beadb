# The processor: known answers of every unit it has, its own code changed under it, exceptions and paging.

test_cpu:
    call cpu_identify
    call cpu_integer
    testb $1, cpu_features
    jz 1f
    call cpu_x87
    PUT ", FPU"
1:  testl $0x800000, cpu_features
    jz 2f
    call cpu_mmx
    PUT " MMX"
2:  testb $0x80, cpu_features + 1
    jz 3f
    call cpu_cmov
    PUT " CMOV"
3:  testb $0x10, cpu_features
    jz 4f
    call cpu_tsc
    PUT " TSC"
4:  call cpu_changed_code
    ADDRESS cpu_protected, %bx
    call call32
    PUT ", exceptions, paging"
    ret

cpu_identify:
    cmpb $0, has_cpuid
    jne 1f
    PUT "no CPUID"
    ret
1:  xorl %eax, %eax
    cpuid
    cmpl $1, %eax
    FAIL_IF b, "CPUID has no leaf 1"
    movl %ebx, scratch
    movl %edx, scratch + 4
    movl %ecx, scratch + 8
    movb $0, scratch + 12
    movw $scratch, %si
    call put_string
    PUT " "
    movl cpu_signature, %eax
    shrl $8, %eax
    andl $0x0f, %eax
    call put_decimal
    PUT "."
    movl cpu_signature, %eax
    shrl $4, %eax
    andl $0x0f, %eax
    jmp put_decimal

cpu_integer:
    movl $0xdeadbeef, %eax
    movl $0xcafebabe, %ecx
    mull %ecx
    cmpl $0x88cf5b62, %eax
    FAIL_IF ne, "MUL"
    cmpl $0xb092ab7b, %edx
    FAIL_IF ne, "MUL, high half"
    movl $0x12345678, %edx
    movl $0x9abcdef0, %eax
    movl $0x87654321, %ecx
    divl %ecx
    cmpl $0x226b9022, %eax
    FAIL_IF ne, "DIV"
    cmpl $0x38bc648e, %edx
    FAIL_IF ne, "DIV, remainder"
    movl $-1000001, %eax
    movl $1000, %ecx
    cdq
    idivl %ecx
    cmpl $-1000, %eax
    FAIL_IF ne, "IDIV"
    cmpl $-1, %edx
    FAIL_IF ne, "IDIV, remainder"
    imull $-77, %eax, %eax
    cmpl $77000, %eax
    FAIL_IF ne, "IMUL"
    movl $0x12345678, %eax
    movl $0x9abcdef0, %edx
    shldl $7, %edx, %eax
    cmpl $0x1a2b3c4d, %eax
    FAIL_IF ne, "SHLD"
    movw $0x8001, %ax
    stc
    rclw $1, %ax
    FAIL_IF nc, "RCL, carry"
    cmpw $0x0003, %ax
    FAIL_IF ne, "RCL"
    movb $0x57, %al
    addb $0x69, %al
    daa
    FAIL_IF nc, "DAA, carry"
    cmpb $0x26, %al
    FAIL_IF ne, "DAA"
    movl $0x00f00000, %eax
    bsfl %eax, %ecx
    bsrl %eax, %edx
    imull $100, %edx, %edx
    addl %ecx, %edx
    cmpl $2320, %edx
    FAIL_IF ne, "BSF and BSR"
    movb $0x7f, %al
    addb $1, %al
    FAIL_IF no, "overflow flag"
    FAIL_IF ns, "sign flag"
    FAIL_IF p, "parity flag"
    cmpb $0, has_cpuid          # from the 486 on
    je 1f
    movl $0x11223344, %eax
    bswapl %eax
    cmpl $0x44332211, %eax
    FAIL_IF ne, "BSWAP"
    movl $5, scratch
    movl $7, %ecx
    xaddl %ecx, scratch
    cmpl $12, scratch
    FAIL_IF ne, "XADD"
    movl $12, %eax
    movl $99, %ecx
    cmpxchgl %ecx, scratch
    FAIL_IF ne, "CMPXCHG"
    cmpl $99, scratch
    FAIL_IF ne, "CMPXCHG, store"
1:  movw $scratch, %di          # strings: overlapping moves repeat a byte
    movb $0x3c, (%di)
    movw %di, %si
    incw %di
    movw $15, %cx
    rep movsb
    movw $scratch, %di
    movb $0x3c, %al
    movw $16, %cx
    repe scasb
    FAIL_IF ne, "REP MOVSB"
    ret

VAR x87_root                    # the square root of 2
    .quad 0xb504f333f9de6484
    .word 0x3fff
VAR x87_third
    .quad 0xaaaaaaaaaaaaaaab
    .word 0x3ffd
VAR x87_pi
    .quad 0xc90fdaa22168c235
    .word 0x4000
VAR x87_decimal
    .quad 0x0000000987654321
    .word 0x8000
VAR x87_integer
    .long -987654321

# Compares ten bytes at SI with the popped top of the x87's stack. Zero: equal.
x87_compare:
    fstpt scratch
    fwait
    movw $scratch, %di
    movw $10, %cx
    repe cmpsb
    ret

cpu_x87:
    fninit
    fld1
    fadd %st, %st
    fsqrt
    movw $x87_root, %si
    call x87_compare
    FAIL_IF ne, "FSQRT"
    fld1
    fld1
    fadd %st, %st
    fld1
    faddp
    fdivrp
    fstpt scratch + 16
    fldt scratch + 16
    movw $x87_third, %si
    call x87_compare
    FAIL_IF ne, "FDIV"
    fldpi
    movw $x87_pi, %si
    call x87_compare
    FAIL_IF ne, "FLDPI"
    fildl x87_integer
    fbstp scratch
    fwait
    movw $scratch, %di
    movw $x87_decimal, %si
    movw $10, %cx
    repe cmpsb
    FAIL_IF ne, "FBSTP"
    fldz
    fld1
    fcompp
    fnstsw %ax
    andw $0x4500, %ax
    FAIL_IF ne, "FCOM"
    fld1
    fldz
    fdivrp                      # masked: infinity, and the flag
    fnstsw %ax
    testb $0x04, %al
    FAIL_IF z, "zero divide flag"
    fninit
    ret

VAR mmx_words
    .quad 0x0102fffe00037fff
VAR mmx_other
    .quad 0x000200010004ffff
cpu_mmx:
    movq mmx_words, %mm0
    movq mmx_other, %mm1
    pmaddwd %mm1, %mm0          # 0102*2 + -2*1, 3*4 + 7fff*-1
    movq %mm0, scratch
    movq mmx_words, %mm2
    paddusb %mm2, %mm2          # every byte twice, FFh at most
    movq %mm2, scratch + 8
    emms
    movl scratch, %eax
    cmpl $-32755, %eax
    FAIL_IF ne, "PMADDWD"
    movl scratch + 4, %eax
    cmpl $514, %eax
    FAIL_IF ne, "PMADDWD, high"
    movl scratch + 8, %eax
    cmpl $0x0006feff, %eax
    FAIL_IF ne, "PADDUSB"
    movl scratch + 12, %eax
    cmpl $0x0204ffff, %eax
    FAIL_IF ne, "PADDUSB, high"
    ret

cpu_cmov:
    movl $1, %eax
    movl $2, %ecx
    cmpl %ecx, %eax
    cmovbl %ecx, %eax
    cmpl $2, %eax
    FAIL_IF ne, "CMOVB"
    movl $3, %ecx
    cmpl $2, %eax
    cmovnel %ecx, %eax
    cmpl $2, %eax
    FAIL_IF ne, "CMOVNE"
    ret

cpu_tsc:
    rdtsc
    movl %eax, %ebx
    movw $100, %cx
1:  loop 1b
    rdtsc
    subl %ebx, %eax
    FAIL_IF be, "the time-stamp counter stands still"
    ret

# Code that changes the instruction after the one that runs, over and over.
VAR changing_code
    .byte 0xc6, 0x06            # movb imm8, imm of the next
    .word scratch + 6
changing_value:
    .byte 0x00
    .byte 0xb0, 0xff            # movb imm8, %al
    .byte 0xc3                  # ret
cpu_changed_code:
    movw $changing_code, %si
    movw $scratch, %di
    movw $8, %cx
    rep movsb
    movb $0x10, %bl
1:  movb %bl, scratch + 4
    ADDRESS 2f, %ax
    pushw %ax
    movw $scratch, %ax
    jmp *%ax
2:  cmpb %bl, %al
    FAIL_IF ne, "changed code ran as it was before"
    incb %bl
    cmpb $0x40, %bl
    jne 1b
    ret

# ---- protected mode -----------------------------------------------------------------------------------------------

.code32

# Exceptions with and without an error code. All are noted, and the program goes on at exception_resume.
.macro EXCEPTION number, has_error
exception_\number:
.if \has_error == 0
    pushl $0
.endif
    pushl $\number
    jmp exception
.endm
EXCEPTION 0, 0
EXCEPTION 6, 0
EXCEPTION 13, 1
EXCEPTION 14, 1

exception:
    pushl %eax
    movl 4(%esp), %eax
    movl %eax, exception_vector
    movl 8(%esp), %eax
    movl %eax, exception_error
    movl 12(%esp), %eax
    movl %eax, exception_eip
    movl exception_resume, %eax
    movl %eax, 12(%esp)
    popl %eax
    addl $8, %esp
    iretl

.macro GATE number
    movl $(IDT32 + \number * 8), %edi
    movl $(exception_\number - slotone_demo_begin), %eax
    call set_gate
.endm

set_gate:                       # EDI: the gate, EAX: offset of the handler
    movw %ax, %fs:(%edi)
    movw $CODE32, %fs:2(%edi)
    movw $0x8e00, %fs:4(%edi)
    shrl $16, %eax
    movw %ax, %fs:6(%edi)
    ret

# The next instruction but one raises an exception, at \at; the program goes on at \resume.
.macro EXPECT resume
    movl $-1, exception_vector
    movl $(\resume - slotone_demo_begin), exception_resume
.endm

VAR idt_pointer
    .word 15 * 8 - 1
    .long IDT32

cpu_protected:
    movl $IDT32, %edi
    movl $(15 * 2), %ecx
1:  movl $0, %fs:(%edi)
    addl $4, %edi
    decl %ecx
    jnz 1b
    GATE 0
    GATE 6
    GATE 13
    GATE 14
    lidtl idt_pointer

    EXPECT 3f
    xorl %edx, %edx
    movl %edx, %ecx
2:  divl %ecx
3:  movl exception_vector, %eax
    cmpl $0, %eax
    FAIL32_IF ne, "no divide error"
    movl exception_eip, %eax
    cmpl $(2b - slotone_demo_begin), %eax
    FAIL32_IF ne, "divide error at a wrong place"

    EXPECT 4f
    .byte 0x0f, 0x0b            # UD2
4:  movl exception_vector, %eax
    cmpl $6, %eax
    FAIL32_IF ne, "no invalid opcode exception"

    EXPECT 5f
    movl $0xfff8, %eax
    movw %ax, %gs
5:  movl exception_vector, %eax
    cmpl $13, %eax
    FAIL32_IF ne, "no general protection exception"
    movl exception_error, %eax
    cmpl $0xfff8, %eax
    FAIL32_IF ne, "error code of the general protection exception"

# Identity but for one page at 3FF000h, which is first one page, then another, then read-only, then none.
    movl $PAGE_TABLE, %edi
    movl $0x003, %eax
7:  movl %eax, %fs:(%edi)
    addl $0x1000, %eax
    addl $4, %edi
    cmpl $(PAGE_TABLE + 0x1000), %edi
    jne 7b
    movl $PAGE_DIRECTORY, %edi
8:  movl $0, %fs:(%edi)
    addl $4, %edi
    cmpl $(PAGE_DIRECTORY + 0x1000), %edi
    jne 8b
    movl $(PAGE_TABLE + 3), %fs:PAGE_DIRECTORY
    movl $0x11111111, %fs:PAGE_ONE
    movl $0x22222222, %fs:PAGE_TWO
    movl $(PAGE_ONE + 3), %fs:PAGE_TABLE + 0x3ff * 4
    movl $PAGE_DIRECTORY, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $0x80000000, %eax
    movl %eax, %cr0
    jmp 9f
9:  movl %fs:0x3ff000, %eax
    cmpl $0x11111111, %eax
    FAIL32_IF ne, "a page is not where it was put"
    movl $0x33333333, %fs:0x3ff004
    movl %fs:PAGE_ONE + 4, %eax
    cmpl $0x33333333, %eax
    FAIL32_IF ne, "a write went astray"
    movl %fs:PAGE_TABLE + 0x3ff * 4, %eax
    andl $0x60, %eax
    cmpl $0x60, %eax
    FAIL32_IF ne, "accessed and dirty bits"
    movl $(PAGE_TWO + 3), %fs:PAGE_TABLE + 0x3ff * 4
    movl %cr3, %eax
    movl %eax, %cr3
    movl %fs:0x3ff000, %eax
    cmpl $0x22222222, %eax
    FAIL32_IF ne, "a page was remapped and is where it was"

    cmpb $0, has_cpuid          # write protection came with the 486
    je cpu_absent_page
    movl $(PAGE_TWO + 1), %fs:PAGE_TABLE + 0x3ff * 4
    movl %cr3, %eax
    movl %eax, %cr3
    movl %cr0, %eax
    orl $0x10000, %eax
    movl %eax, %cr0
    EXPECT 1f
    movl $0, %fs:0x3ff008
1:  movl exception_vector, %eax
    cmpl $14, %eax
    FAIL32_IF ne, "a read-only page was written"
    movl exception_error, %eax
    cmpl $3, %eax
    FAIL32_IF ne, "error code of a protection fault"

cpu_absent_page:
    movl $0, %fs:PAGE_TABLE + 0x3ff * 4
    movl %cr3, %eax
    movl %eax, %cr3
    EXPECT 2f
    movl %fs:0x3ff00c, %eax
2:  movl exception_vector, %eax
    cmpl $14, %eax
    FAIL32_IF ne, "no page fault"
    movl exception_error, %eax
    testl %eax, %eax
    FAIL32_IF ne, "error code of a page fault"
    movl %cr2, %eax
    cmpl $0x3ff00c, %eax
    FAIL32_IF ne, "address of a page fault"

    movl %cr0, %eax
    andl $0x7ffeffff, %eax
    movl %eax, %cr0
    xorl %eax, %eax
    movl %eax, %cr3
    movl %fs:PAGE_TWO, %eax
    cmpl $0x22222222, %eax
    FAIL32_IF ne, "memory after paging"

    EXPECT 3f
    movb $0, %fs:0xffffffff     # inside the flat segment
    movb $0, 0x10000            # behind the end of this one
3:  movl exception_vector, %eax
    cmpl $13, %eax
    FAIL32_IF ne, "no exception behind the segment's end"
    ret

.code16
