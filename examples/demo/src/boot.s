# The boot sector: loads the whole image behind itself to 1000:0000 and goes on there.

.set CHUNK, 16                  # sectors of one call of the BIOS: 8 KB

boot:
    ljmp $0x07c0, $(boot_here - slotone_demo_begin)
boot_here:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    xorw %ax, %ax
    movw %ax, %ss
    movw $0x7c00, %sp
    sti
    movb $0x41, %ah             # does the BIOS read by block number?
    movw $0x55aa, %bx
    int $0x13
    jc boot_failed
    cmpw $0xaa55, %bx
    jne boot_failed
boot_next:
    movw $packet, %si
    movb $0x42, %ah
    int $0x13
    jc boot_failed
    addl $CHUNK, packet_block
    addw $(CHUNK * 512 / 16), packet_segment
    decw chunks_left
    jnz boot_next
    ljmp $PROGRAM, $(start - slotone_demo_begin)

boot_failed:
    movw $boot_message, %si
1:  lodsb
    testb %al, %al
    jz 2f
    movw $0x0007, %bx
    movb $0x0e, %ah
    int $0x10
    jmp 1b
2:  sti
    hlt
    jmp 2b

VAR boot_message
    .asciz "demonstration: the BIOS cannot read the boot disk\r\n"
VAR chunks_left
    .word (slotone_demo_end - slotone_demo_begin) / (CHUNK * 512)
.balign 4
VAR packet
    .byte 16, 0
    .word CHUNK
    .word 0
VAR packet_segment
    .word PROGRAM
VAR packet_block
    .long 0, 0

.org 510
    .byte 0x55, 0xaa
