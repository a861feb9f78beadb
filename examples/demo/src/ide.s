# PIIX4 function 1 and its drives: a disk to boot from, a disk to write on, a CD-ROM.

.set IDETIM, 0x40
.set ATA_BSY, 0x80
.set ATA_DRQ, 0x08
.set ATA_BAD, 0x21              # DF, ERR
.set DRIVE_CONTROL, 0x206       # from the command block's first port
.set READ_SECTORS, 0x20
.set WRITE_SECTORS, 0x30
.set READ_DMA, 0xc8
.set WRITE_DMA, 0xca
.set FLUSH_CACHE, 0xe7
.set IDENTIFY, 0xec
.set DEVICE_RESET, 0x08
.set PACKET, 0xa0
.set IDENTIFY_PACKET, 0xa1
.set TO_MEMORY, 0x08            # of the bus master's command register

# ---- the controller -----------------------------------------------------------------------------------------------

test_ide:
    movl $0x71118086, %eax
    call ide_find
    FAIL_IF c, "no IDE function"
    call pci_read
    cmpl $0x71118086, %eax
    FAIL_IF ne, "not the PIIX4's IDE function"
    movb $IDETIM, %bl
    call pci_read
    andl $0x80008000, %eax
    cmpl $0x80008000, %eax
    FAIL_IF ne, "the BIOS left a channel off"
    movw bm_base, %dx
    testw %dx, %dx
    FAIL_IF z, "the BIOS gave the bus master no ports"
    addw $4, %dx
    movl $PRD_TABLE, %eax       # each channel has its own descriptors
    outl %eax, %dx
    addw $8, %dx
    movl $PRD_TABLE + 0x1000, %eax
    outl %eax, %dx
    inl %dx, %eax
    cmpl $PRD_TABLE + 0x1000, %eax
    FAIL_IF ne, "descriptor pointer of the second channel"
    subw $8, %dx
    inl %dx, %eax
    cmpl $PRD_TABLE, %eax
    FAIL_IF ne, "descriptor pointer of the first channel"
    subw $2, %dx
    inb %dx, %al
    testb $0x01, %al
    FAIL_IF nz, "the bus master is busy with nothing"
    PUT "8086:7111, two channels, bus master at "
    movw bm_base, %ax
    jmp put_hex16

# BX, ide_devfn, bm_base <- the function, switched on. Any PIIX will do here. Carry: there is none.
ide_find:
    movl $0x71118086, %eax
    call pci_find
    jnc 1f
    movl $0x70108086, %eax
    call pci_find
    jc 2f
1:  movw %bx, ide_devfn
    movb $0x04, %bl
    call pci_read
    orb $0x05, %al              # ports, bus master
    call pci_write16
    movb $0x20, %bl
    call pci_read
    andw $0xfff0, %ax
    movw %ax, bm_base
    movb $0, %bl
    clc
2:  ret

# Chooses unit AL, 0 to 3, and hooks its interrupt.
unit_open:
    movb %al, %cl
    andb $1, %al
    shlb $4, %al
    orb $0xe0, %al              # block numbers
    movb %al, unit_select
    movw $0x1f0, %ax
    movw bm_base, %dx
    movb $14, %bl
    testb $2, %cl
    jz 1f
    movw $0x170, %ax
    addw $8, %dx
    movb $15, %bl
1:  movw %ax, unit_port
    movw %dx, unit_bm
    movb %bl, unit_irq
    cmpw $0, bm_base
    FAIL_IF e, "no IDE function"
    movb %bl, %al
    addb $0x68, %al             # IRQ 8 is vector 70h
    ADDRESS irq_ide, %dx
    call hook

    # Is there a drive at all? An empty channel floats, a missing slave is answered for with zeros.
    call ata_free
    movw unit_port, %dx
    addw $6, %dx
    movb unit_select, %al
    outb %al, %dx
    call ata_pause
    call ata_free
    movzbl %al, %eax
    cmpb $0x7f, %al
    FAIL_IF e, "no drive answers"
    cmpb $0xff, %al
    FAIL_IF e, "no drive answers"
    movw unit_port, %dx         # registers that keep what they are given
    addw $2, %dx
    movw $0x55aa, %ax
    outb %al, %dx
    incw %dx
    movb %ah, %al
    outb %al, %dx
    inb %dx, %al
    movb %al, %ah
    decw %dx
    inb %dx, %al
    xchgb %al, %ah
    cmpw $0xaa55, %ax
    FAIL_IF ne, "no drive answers"
    ret

irq_ide:
    pushw %ax
    pushw %dx
    movw %cs:unit_port, %dx
    addw $7, %dx
    inb %dx, %al
    movb %al, %cs:irq_data
    popw %dx
    popw %ax
    jmp irq_slave

# ---- commands -----------------------------------------------------------------------------------------------------

ata_pause:                      # 400 ns
    movw unit_port, %dx
    addw $DRIVE_CONTROL, %dx
    inb %dx, %al
    inb %dx, %al
    inb %dx, %al
    inb %dx, %al
    ret

# AL <- status, once the drive is not busy; without acknowledging the interrupt. It has 2 seconds.
ata_free:
    movl $2000000000, %eax
    call start_timer
    movw unit_port, %dx
    addw $DRIVE_CONTROL, %dx
1:  inb %dx, %al
    testb $ATA_BSY, %al
    jz 2f
    cmpb $0xff, %al
    je 2f
    call timer
    js 1b
2:  ret

# Issues command AL at block EBX for CL sectors.
ata_command:
    pushw %ax
    call ata_free
    movw unit_port, %dx
    addw $2, %dx
    movb %cl, %al
    outb %al, %dx
    incw %dx
    movl %ebx, %eax
    outb %al, %dx
    incw %dx
    movb %ah, %al
    outb %al, %dx
    incw %dx
    shrl $16, %eax
    outb %al, %dx
    incw %dx
    movb %ah, %al
    andb $0x0f, %al
    orb unit_select, %al
    outb %al, %dx
    movb unit_irq, %al
    call only_irq
    incw %dx
    popw %ax
    outb %al, %dx
    ret

# Waits for the command's interrupt, or for its end where nobody takes interrupts. AL <- status. An error ends the test.
ata_wait:
    cmpb $0, alive_pic
    je 1f
    movl $2000000000, %eax
    call await_irq
    FAIL_IF z, "the drive's interrupt does not come"
    movzbl irq_data, %eax
    testb $ATA_BSY, %al
    jz 2f
    movw $0, irq_count          # some drives tell that they have taken the packet
    jmp ata_wait
1:  call ata_pause
    call ata_free
    movw unit_port, %dx
    addw $7, %dx
    xorl %eax, %eax
    inb %dx, %al
2:  testb $ATA_BSY, %al
    FAIL_IF nz, "the drive stays busy"
    testb $ATA_BAD, %al
    jz 3f
    movw unit_port, %dx         # error register, status
    incw %dx
    movb %al, %ah
    inb %dx, %al
    xchgb %al, %ah
    FAIL "the drive reports an error"
3:  ret

# Data port to ES:DI, one sector.
ata_sector_in:
    testb $ATA_DRQ, %al
    FAIL_IF z, "the drive has no data"
    movw unit_port, %dx
    movw $256, %cx
    rep insw
    ret

# Command AL moves CL sectors at block EBX between the disk and 64 KB or less at ESI, by bus master; BP is TO_MEMORY or 0.
ata_dma:
    pushw %ax
    call dma_prepare
    popw %ax
    call ata_command
dma_run:
    movw unit_bm, %dx
    movw %bp, %ax
    orb $0x01, %al
    outb %al, %dx
    cmpb $0, alive_pic
    jne 2f
    movl $2000000000, %eax      # nobody takes the interrupt: the bus master keeps it
    call start_timer
    addw $2, %dx
1:  inb %dx, %al
    testb $0x04, %al
    jnz 2f
    call timer
    js 1b
2:  call ata_wait
    movw unit_bm, %dx
    addw $2, %dx
    xorl %eax, %eax
    inb %dx, %al
    pushw %ax
    movw unit_bm, %dx
    movw %bp, %ax
    outb %al, %dx
    popw %ax
    andb $0x07, %al
    cmpb $0x04, %al             # interrupt, no error, no longer active
    FAIL_IF ne, "bus master status"
    ret

# Two descriptors of half the size each; CL sectors at ESI.
dma_prepare:
    pushw %es
    pushw %cx
    movw $(PRD_TABLE >> 4), %ax
    movw %ax, %es
    movzbl %cl, %ecx
    shll $8, %ecx
    movl %esi, %es:0
    movl %ecx, %es:4
    leal (%esi, %ecx), %eax
    movl %eax, %es:8
    orl $0x80000000, %ecx
    movl %ecx, %es:12
    popw %cx
    popw %es
    movw unit_bm, %dx
    movw %bp, %ax
    outb %al, %dx
    addw $2, %dx
    inb %dx, %al
    orb $0x06, %al              # old interrupt and error bits away
    outb %al, %dx
    addw $2, %dx
    movl $PRD_TABLE, %eax
    outl %eax, %dx
    ret

# Appends model name and size: words 27 to 46, bytes swapped, without the blanks at the end; words 60 and 61.
put_model:
    movw $20, %cx
    movw $sector + 54, %si
1:  lodsw
    xchgb %al, %ah
    movw %ax, -2(%si)
    loop 1b
    movw $sector + 94, %di
2:  decw %di
    cmpb $0x20, (%di)
    je 2b
    movb $0, 1(%di)
    movw $sector + 54, %si
    jmp put_string

identify:
    movb $1, %cl
    xorl %ebx, %ebx
    call ata_command
    call ata_wait
    movw $sector, %di
    call ata_sector_in
    call put_model
    PUT ", "
    ret

# ---- the disk it was booted from: read ----------------------------------------------------------------------------

test_hda:
    call ide_find
    movb $0, %al
    call unit_open
    movb $IDENTIFY, %al
    call identify
    movl sector + 120, %eax
    shrl $11, %eax
    call put_decimal
    PUT " MB, PIO, "

    movb $READ_SECTORS, %al
    movb $1, %cl
    xorl %ebx, %ebx
    call ata_command
    call ata_wait
    movw $sector, %di
    call ata_sector_in
    xorw %si, %si               # the program in memory is what was read at boot
    movw $sector, %di
    movw $128, %cx
    repe cmpsl
    FAIL_IF ne, "the boot sector is not what was booted"

    movl $BUFFER_A, %esi
    movb $((slotone_demo_end - slotone_demo_begin) / 512), %cl
    xorl %ebx, %ebx
    movw $TO_MEMORY, %bp
    movb $READ_DMA, %al
    call ata_dma
    xorw %si, %si
    xorw %di, %di
    pushw $SEGMENT_A
    popw %es
    movw $((slotone_demo_end - slotone_demo_begin) / 4), %cx
    repe cmpsl
    pushw %ds
    popw %es
    FAIL_IF ne, "the boot image by DMA is not what was booted"
    movl $((slotone_demo_end - slotone_demo_begin) / 1024), %eax
    call put_decimal
    PUT " KB by DMA"
    cmpb $0, alive_pic
    je 1f
    PUT ", IRQ 14"
1:  ret

# ---- the second disk: write and read back -------------------------------------------------------------------------

.set WRITTEN_BLOCK, 2048        # 128 sectors of the pattern by DMA,
.set WRITTEN_PIO, 4000          # one by PIO
.set PATTERN_SEED, 0x510e0001
.set PATTERN_FACTOR, 1664525
.set PATTERN_STEP, 1013904223

test_hdb:
    call ide_find
    movb $1, %al
    call unit_open
    movb $IDENTIFY, %al
    call identify
    movl sector + 120, %eax
    cmpl $WRITTEN_PIO + 1, %eax
    FAIL_IF b, "the disk is too small"
    shrl $11, %eax
    call put_decimal
    PUT " MB, "

    pushw $SEGMENT_A
    popw %es
    xorw %di, %di
    movl $PATTERN_SEED, %eax
    movw $0x4000, %cx
1:  stosl
    imull $PATTERN_FACTOR, %eax, %eax
    addl $PATTERN_STEP, %eax
    loop 1b
    pushw $SEGMENT_B
    popw %es
    xorw %di, %di
    xorl %eax, %eax
    movw $0x4000, %cx
    rep stosl
    pushw %ds
    popw %es

    movl $BUFFER_A, %esi
    movb $128, %cl
    movl $WRITTEN_BLOCK, %ebx
    xorw %bp, %bp
    movb $WRITE_DMA, %al
    call ata_dma
    movb $FLUSH_CACHE, %al
    xorl %ebx, %ebx
    call ata_command
    call ata_wait
    movl $BUFFER_B, %esi
    movb $128, %cl
    movl $WRITTEN_BLOCK, %ebx
    movw $TO_MEMORY, %bp
    movb $READ_DMA, %al
    call ata_dma
    pushw %ds
    pushw $SEGMENT_A
    popw %ds
    pushw $SEGMENT_B
    popw %es
    xorw %si, %si
    xorw %di, %di
    movw $0x4000, %cx
    repe cmpsl
    popw %ds
    pushw %ds
    popw %es
    FAIL_IF ne, "what was written by DMA does not come back"
    PUT "64 KB written, read by DMA and PIO"

    movb $READ_SECTORS, %al     # one of them by PIO
    movb $1, %cl
    movl $WRITTEN_BLOCK + 77, %ebx
    call ata_command
    call ata_wait
    movw $sector, %di
    call ata_sector_in
    movw $sector, %di
    pushw %ds
    pushw $SEGMENT_A
    popw %ds
    movw $77 * 512, %si
    movw $128, %cx
    repe cmpsl
    popw %ds
    FAIL_IF ne, "what was written by DMA does not come back by PIO"

    movb $WRITE_SECTORS, %al    # and one the other way
    movb $1, %cl
    movl $WRITTEN_PIO, %ebx
    call ata_command
    call ata_pause
    call ata_free
    testb $ATA_DRQ, %al
    FAIL_IF z, "the drive wants no data"
    movw unit_port, %dx
    movw $sector, %si
    movw $256, %cx
    rep outsw
    call ata_wait
    movb $READ_SECTORS, %al
    movb $1, %cl
    movl $WRITTEN_PIO, %ebx
    call ata_command
    call ata_wait
    movw $sector + 512, %di
    call ata_sector_in
    movw $sector, %si
    movw $sector + 512, %di
    movw $128, %cx
    repe cmpsl
    FAIL_IF ne, "what was written by PIO does not come back"
    ret

# ---- the CD-ROM ---------------------------------------------------------------------------------------------------

.set CD_FACTOR, 0x9e3779b1      # doubleword i of block n is (512 n + i) times this
.set CD_PIO_BLOCK, 500
.set CD_DMA_BLOCK, 32
.set CD_DMA_BLOCKS, 32

VAR packet_ready
    .byte 0x00, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
VAR packet_sense
    .byte 0x03, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0
VAR packet_capacity
    .byte 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0
VAR packet_toc
    .byte 0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0, 0
VAR packet_read
    .byte 0x28, 0, 0, 0, CD_PIO_BLOCK >> 8, CD_PIO_BLOCK & 0xff, 0, 0, 1, 0, 0, 0
VAR packet_read_dma
    .byte 0x28, 0, 0, 0, 0, CD_DMA_BLOCK, 0, 0, CD_DMA_BLOCKS, 0, 0, 0

test_hdc:
    call ide_find
    movb $2, %al
    call unit_open
    movb $DEVICE_RESET, %al
    xorl %ebx, %ebx
    call ata_command
    call ata_pause
    call ata_free
    movw unit_port, %dx
    addw $4, %dx
    xorl %eax, %eax
    inw %dx, %ax                # both halves of the byte count
    cmpw $0xeb14, %ax
    FAIL_IF ne, "not an ATAPI drive"
    movb $IDENTIFY_PACKET, %al
    call identify

    movb $6, saved_byte         # a new disc is announced before it is ready
1:  movw $packet_ready, %si
    call packet_in
    jnc 2f
    movw $packet_sense, %si
    call packet_in
    decb saved_byte
    jnz 1b
    movl sector, %eax
    FAIL "the drive does not get ready"
2:  movw $packet_capacity, %si
    call packet_in
    FAIL_IF c, "READ CAPACITY"
    movl sector, %eax
    bswapl %eax
    incl %eax
    cmpl $CD_PIO_BLOCK, %eax
    FAIL_IF be, "the disc is too small"
    call put_decimal
    PUT " blocks, TOC, "
    movw $packet_toc, %si
    call packet_in
    FAIL_IF c, "READ TOC"
    movw sector + 2, %ax
    cmpw $0x0101, %ax
    FAIL_IF ne, "first and last track"
    testb $0x04, sector + 5
    FAIL_IF z, "the track is not of data"

    movw $packet_read, %si
    call packet_in
    FAIL_IF c, "READ(10) by PIO"
    movl $(CD_PIO_BLOCK * 512), %eax
    imull $CD_FACTOR, %eax, %eax
    movw $sector, %di
    movw $512, %cx
    call cd_compare
    FAIL_IF ne, "a block by PIO is not what is on the disc"

    movl $BUFFER_B, %esi
    movb $(CD_DMA_BLOCKS * 4), %cl
    movw $TO_MEMORY, %bp
    call dma_prepare
    movw $packet_read_dma, %si
    movb $1, %ah
    call packet_begin
    call dma_run
    pushw $SEGMENT_B
    popw %es
    movl $((CD_DMA_BLOCK * 512 * CD_FACTOR) & 0xffffffff), %eax
    xorw %di, %di
    movw $(CD_DMA_BLOCKS * 512), %cx
    call cd_compare
    pushw %ds
    popw %es
    FAIL_IF ne, "blocks by DMA are not what is on the disc"
    PUT "PIO, 64 KB by DMA"
    cmpb $0, alive_pic
    je 1f
    PUT ", IRQ 15"
1:  ret

# Compares CX doublewords at ES:DI with the disc's content from EAX on. Zero: the same.
cd_compare:
    scasl
    jne 1f
    addl $CD_FACTOR, %eax
    loop cd_compare
    cmpw %cx, %cx
1:  ret

# Sends the packet at SI; AH is 1 for DMA. Blocks of at most 2048 bytes.
packet_begin:
    pushw %ax
    call ata_free
    movw unit_port, %dx
    incw %dx
    popw %ax
    movb %ah, %al
    outb %al, %dx
    addw $3, %dx
    movw $0x0800, %ax
    outw %ax, %dx
    movb unit_irq, %al
    call only_irq
    addw $3, %dx
    movb $PACKET, %al
    outb %al, %dx
    call ata_pause
    call ata_free
    testb $ATA_DRQ, %al
    FAIL_IF z, "the drive wants no packet"
    movw unit_port, %dx
    movw $6, %cx
    rep outsw
    movw $0, irq_count
    ret

# Sends the packet at SI and takes what comes, at most 2048 bytes, to `sector`. Carry: the drive refused.
packet_in:
    movb $0, %ah
    call packet_begin
    movw $sector, %di
1:  call ata_pause
    call ata_free
    movw unit_port, %dx
    addw $7, %dx
    inb %dx, %al                # takes the interrupt away
    testb $ATA_BAD, %al
    jnz 3f
    testb $ATA_DRQ, %al
    jz 2f
    movw unit_port, %dx
    addw $4, %dx
    inw %dx, %ax
    movw %ax, %cx
    shrw $1, %cx
    movw %di, %ax
    shrw $1, %ax
    addw %cx, %ax
    cmpw $((sector + 2048) / 2), %ax
    FAIL_IF a, "the drive sends more than it was asked for"
    movw unit_port, %dx
    rep insw
    jmp 1b
2:  clc
    ret
3:  stc
    ret
