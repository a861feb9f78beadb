# AIC-7870: identity, then its bus worked by hand with the sequencer paused; data go by its bus master.

.set SCSISEQ, 0x00
.set SXFRCTL0, 0x01
.set SXFRCTL1, 0x02
.set SCSISIG, 0x03
.set SCSIID, 0x05
.set SCSIDATL, 0x06
.set STCNT, 0x08
.set SSTAT0, 0x0b
.set SSTAT1, 0x0c
.set HCNTRL, 0x87
.set HADDR, 0x88
.set HCNT, 0x8c
.set DFCNTRL, 0x93
.set DFSTATUS, 0x94

.set PHASE_DATA_OUT, 0x00
.set PHASE_DATA_IN, 0x40
.set PHASE_COMMAND, 0x80
.set PHASE_MESSAGE_OUT, 0xa0
.set PHASE_STATUS, 0xc0
.set PHASE_MESSAGE_IN, 0xe0

.set SCSI_DISKS, 7
.set SCSI_SECTORS, 32           # copied from ID 0 to ID 1

BSS scsi_port, 2
BSS scsi_id, 1
BSS scsi_status, 1
BSS scsi_disks, 2
BSS scsi_blocks, 4
BSS scsi_address, 4             # of the data,
BSS scsi_count, 4               # and their size
BSS scsi_tries, 2

.macro REG_OUT register, value
    movb $\value, %al
    movw $\register, %dx
    call scsi_out
.endm
.macro REG_IN register
    movw $\register, %dx
    call scsi_in
.endm

test_scsi0:
    movb $(9 << 3), %bh
    jmp test_scsi
test_scsi1:
    movb $(14 << 3), %bh
    jmp test_scsi
test_scsi2:
    movb $(15 << 3), %bh
    jmp test_scsi
test_scsi3:
    movb $(16 << 3), %bh

test_scsi:
    call scsi_open
    movw $0, scsi_disks
    movl $0, scsi_blocks
    movb $0, scsi_id
1:  movw $cdb_inquiry, %si
    movl $36, %eax
    call scsi_to_sector
    jc 4f                       # nobody there
    cmpb $0, scsi_status
    jne 3f
    cmpb $0, sector             # a disk
    jne 4f
    movw $3, scsi_tries
2:  movw $cdb_ready, %si        # it tells first that it was reset
    xorl %eax, %eax
    call scsi_to_sector
    cmpb $0, scsi_status
    je 5f
    movw $cdb_sense, %si
    movl $18, %eax
    call scsi_to_sector
    decw scsi_tries
    jnz 2b
3:  movzbl scsi_status, %eax
    movb scsi_id, %ah
    FAIL "ID, status of a disk"
5:  movw $cdb_capacity, %si
    movl $8, %eax
    call scsi_to_sector
    cmpb $0, scsi_status
    jne 3b
    movl sector, %eax
    bswapl %eax
    incl %eax
    addl %eax, scsi_blocks
    incw scsi_disks
4:  incb scsi_id
    cmpb $SCSI_DISKS, scsi_id
    jb 1b
    movzwl scsi_disks, %eax
    cmpw $SCSI_DISKS, %ax
    FAIL_IF ne, "number of disks"
    call put_decimal
    PUT " disks, "
    movl scsi_blocks, %eax
    shrl $11, %eax
    call put_decimal
    PUT " MB, "

    movb $0, %al
    movl $BUFFER_A, %esi
    movw $cdb_read, %di
    call scsi_move
    movb $1, %al
    movl $BUFFER_A, %esi
    movw $cdb_write, %di
    call scsi_move
    movb $1, %al
    movl $BUFFER_B, %esi
    movw $cdb_read_back, %di
    call scsi_move
    movw $SEGMENT_B, %ax
    movw %ax, %es
    movw $SEGMENT_A, %ax
    movw %ax, %ds
    xorw %si, %si
    xorw %di, %di
    movw $(SCSI_SECTORS * 128), %cx
    repe cmpsl
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    movzwl %cx, %eax
    FAIL_IF ne, "ID 1 does not hold what ID 0 held"
    PUT "copied"
    ret

VAR cdb_inquiry
    .byte 0x12, 0, 0, 0, 36, 0
VAR cdb_ready
    .byte 0x00, 0, 0, 0, 0, 0
VAR cdb_sense
    .byte 0x03, 0, 0, 0, 18, 0
VAR cdb_capacity
    .byte 0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0
VAR cdb_read
    .byte 0x08, 0, 0, 100, SCSI_SECTORS, 0
VAR cdb_write
    .byte 0x0a, 0, 0, 200, SCSI_SECTORS, 0
VAR cdb_read_back
    .byte 0x08, 0, 0, 200, SCSI_SECTORS, 0

# ---- the adapter --------------------------------------------------------------------------------------------------

# The adapter at device BH: found, reset, its sequencer paused; its bus reset.
scsi_open:
    movb $0, %bl
    call pci_read
    cmpl $0x70789004, %eax
    FAIL_IF ne, "no such PCI function"
    movb $0x08, %bl
    call pci_read
    shrl $8, %eax
    cmpl $0x010000, %eax
    FAIL_IF ne, "class"
    movb $0x10, %bl
    call pci_read
    movl %eax, %esi
    movl $0xffffffff, %eax
    call pci_write
    call pci_read
    xchgl %eax, %esi
    call pci_write
    xchgl %eax, %esi
    cmpl $0xffffff01, %eax
    FAIL_IF ne, "base address of 256 ports"
    movl %esi, %eax
    andw $0xff00, %ax
    FAIL_IF z, "the BIOS gave it no ports"
    movw %ax, scsi_port
    movb $0x04, %bl
    call pci_read
    orb $0x05, %al              # ports, bus master
    call pci_write16

    REG_OUT HCNTRL, 0x01        # chip reset, then paused
    movl $100000, %eax
    call wait_ns
    REG_OUT HCNTRL, 0x04
    REG_IN HCNTRL
    movzbl %al, %eax
    cmpb $0x04, %al
    FAIL_IF ne, "HCNTRL after the reset"
    REG_OUT SXFRCTL1, 0x24      # selections end, parity is checked
    REG_OUT SCSISEQ, 0x01       # bus reset
    movl $50000, %eax
    call wait_ns
    REG_OUT SCSISEQ, 0x00
    movl $1000000, %eax
    call wait_ns
    REG_OUT SSTAT1, 0xaf
    ret

scsi_out:                       # register DX <- AL
    addw scsi_port, %dx
    outb %al, %dx
    ret

scsi_in:
    addw scsi_port, %dx
    inb %dx, %al
    ret

# Command at DI for disk AL, its data at ESI; ends the test if it fails.
scsi_move:
    movb %al, scsi_id
    movl %esi, scsi_address
    movl $(SCSI_SECTORS * 512), scsi_count
    movw %di, %si
    call scsi_command
    movzbl scsi_id, %eax
    FAIL_IF c, "a disk does not answer any more"
    movb %al, %ah
    movb scsi_status, %al
    cmpb $0, %al
    FAIL_IF ne, "ID, status of a copy"
    cmpl $0, scsi_count
    movl scsi_count, %eax
    FAIL_IF ne, "bytes that did not move"
    ret

# Command at SI with EAX bytes at most to `sector`.
scsi_to_sector:
    movl %eax, scsi_count
    movl $(BASE + sector), scsi_address

# Command at SI for scsi_id; scsi_status, scsi_count <- status and what did not move. Carry: nobody answers.
scsi_command:
    movb $0xff, scsi_status
    REG_OUT SSTAT1, 0x88        # old events away
    movb scsi_id, %al
    shlb $4, %al
    orb $7, %al
    movw $SCSIID, %dx
    call scsi_out
    REG_OUT SCSISEQ, 0x48       # select with attention
    movl $500000000, %eax
    call start_timer
1:  REG_IN SSTAT0
    testb $0x40, %al
    jnz 3f
    REG_IN SSTAT1
    testb $0x80, %al
    jnz 2f
    call timer
    js 1b
    movzbl %al, %eax
    FAIL "a selection does not end"
2:  REG_OUT SCSISEQ, 0x00
    REG_OUT SSTAT1, 0x80
    REG_OUT SSTAT0, 0x10
    stc
    ret
3:  REG_OUT SCSISEQ, 0x00
    REG_OUT SSTAT1, 0x08
    REG_OUT SXFRCTL0, 0x1a

scsi_phase:
    movl $1000000000, %eax
    call start_timer
1:  REG_IN SSTAT1
    testb $0x08, %al
    jnz scsi_free
    testb $0x01, %al
    jnz 2f
    call timer
    js 1b
    movzbl %al, %eax
    FAIL "the target holds the bus"
2:  REG_IN SCSISIG
    andb $0xe0, %al
    movw $SCSISIG, %dx          # now it is expected
    call scsi_out
    cmpb $PHASE_COMMAND, %al
    je 3f
    cmpb $PHASE_MESSAGE_OUT, %al
    je 4f
    cmpb $PHASE_STATUS, %al
    je 5f
    cmpb $PHASE_MESSAGE_IN, %al
    je 6f
    movb $0x39, %ah             # both sides on, the FIFO empty
    cmpb $PHASE_DATA_IN, %al
    je scsi_data
    movb $0x3d, %ah             # from memory
    cmpb $PHASE_DATA_OUT, %al
    je scsi_data
    movzbl %al, %eax
    FAIL "a phase that there is not"
3:  lodsb
    movw $SCSIDATL, %dx
    call scsi_out
    jmp scsi_phase
4:  REG_OUT SSTAT1, 0x40        # attention goes with the last message
    REG_OUT SCSIDATL, 0x80      # IDENTIFY
    jmp scsi_phase
5:  REG_IN SCSIDATL
    movb %al, scsi_status
    jmp scsi_phase
6:  REG_IN SCSIDATL
    jmp scsi_phase

scsi_free:
    REG_OUT SSTAT1, 0x08
    clc
    ret

# The data phase: until the target wants something else.
scsi_data:
    pushw %ax
    movl scsi_address, %eax
    movw $HADDR, %dx
    call scsi_out32
    movl scsi_count, %eax       # three bytes each
    movw $HCNT, %dx
    call scsi_out24
    movl scsi_count, %eax
    movw $STCNT, %dx
    call scsi_out24
    popw %ax
    movb %ah, %al
    movw $DFCNTRL, %dx
    call scsi_out
    movl $1000000000, %eax
    call start_timer
1:  REG_IN SSTAT1
    testb $0x18, %al            # another phase, or the bus is free
    jnz 2f
    call timer
    js 1b
    movl scsi_count, %eax
    FAIL "the data phase does not end"
2:  REG_IN DFSTATUS             # what came in is in memory
    testb $0x01, %al
    jnz 3f
    call timer
    js 2b
    movzbl %al, %eax
    FAIL "the FIFO does not drain"
3:  REG_OUT DFCNTRL, 0x00
    movw $STCNT + 2, %dx
    call scsi_in
    movzbl %al, %ebx
    shll $16, %ebx
    movw $STCNT + 1, %dx
    call scsi_in
    movb %al, %bh
    movw $STCNT, %dx
    call scsi_in
    movb %al, %bl
    movl %ebx, scsi_count
    jmp scsi_phase

scsi_out32:                     # four registers from DX on <- EAX
    movw $4, %cx
    jmp 1f
scsi_out24:
    movw $3, %cx
1:  addw scsi_port, %dx
2:  outb %al, %dx
    shrl $8, %eax
    incw %dx
    loop 2b
    ret
