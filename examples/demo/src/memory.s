# Main memory: how much the BIOS tells, and whether every part of it keeps what it is given under its own address.

test_memory:
    # The range at 1 MB from the BIOS's map.
    xorl %ebx, %ebx
    movl $0, memory_end
1:  movl $0xe820, %eax
    movl $0x534d4150, %edx
    movl $20, %ecx
    movw $scratch, %di
    int $0x15
    cli
    jc 3f
    cmpl $0x534d4150, %eax
    FAIL_IF ne, "the BIOS gives no memory map"
    incw smap_entries
    cmpl $0x100000, scratch
    jne 2f
    cmpl $1, scratch + 16
    jne 2f
    movl scratch + 8, %eax
    addl $0x100000, %eax
    movl %eax, memory_end
2:  testl %ebx, %ebx
    jnz 1b
3:  movl memory_end, %eax
    cmpl $0x200000, %eax
    FAIL_IF b, "the BIOS's map has no memory at 1 MB"
    ADDRESS memory_patterns, %bx
    call call32
    movl memory_end, %eax
    addl $0xfffff, %eax
    shrl $20, %eax
    call put_decimal
    PUT " MB, every 64 KB under its own address, 1 MB in full"
    ret

.code32
memory_patterns:
    # First and last bytes of each 64 KB: the address, upwards, then its complement, downwards.
    movl memory_end, %ebp
    andl $0xffff0000, %ebp
    movl $0x100000, %edi
1:  movl %edi, %fs:(%edi)
    leal 0x5a5a5a5a(%edi), %eax
    movl %eax, %fs:0xfffc(%edi)
    addl $0x10000, %edi
    cmpl %ebp, %edi
    jb 1b
2:  subl $0x10000, %edi
    movl %fs:(%edi), %eax
    cmpl %edi, %eax
    FAIL32_IF ne, "memory lost its pattern"
    movl %fs:0xfffc(%edi), %eax
    leal 0x5a5a5a5a(%edi), %ecx
    cmpl %ecx, %eax
    FAIL32_IF ne, "memory lost its pattern at the end of 64 KB"
    notl %ecx
    movl %ecx, %fs:(%edi)
    cmpl $0x100000, %edi
    ja 2b
3:  movl %fs:(%edi), %eax
    leal 0x5a5a5a5a(%edi), %ecx
    notl %ecx
    cmpl %ecx, %eax
    FAIL32_IF ne, "memory lost its second pattern"
    addl $0x10000, %edi
    cmpl %ebp, %edi
    jb 3b

    # Every bit of the second megabyte, both ways.
    movw $FLAT, %ax
    movw %ax, %es
    movl $0x55aa33cc, %eax
4:  movl $0x100000, %edi
    movl $0x40000, %ecx
    rep stosl
    movl $0x100000, %edi
    movl $0x40000, %ecx
    repe scasl
    FAIL32_IF ne, "memory lost a bit"
    notl %eax
    testl %eax, %eax
    js 4b
    movw $DATA32, %ax
    movw %ax, %es
    ret
.code16
