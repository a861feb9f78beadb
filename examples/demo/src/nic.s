# DEC 21140A: identity, serial ROM, rings, a DHCP lease; frames between the two cards.

.set NIC_PORT, 0                # what is known about a card; BP points there
.set NIC_SEGMENT, 2             # 16 KB for its rings and frames
.set NIC_NUMBER, 4
.set NIC_RX, 6                  # the descriptors whose turn it is
.set NIC_TX, 8
.set NIC_MAC, 10
.set NIC_IP, 16
.set NIC_SERVER, 20
.set NIC_GOOD, 24               # passed its test
.set NIC_SIZE, 26
BSS nic_state, NIC_SIZE * 2
BSS nic_left, 2
BSS nic_length, 2
BSS nic_from, 2
BSS nic_to, 2

.set NIC_MEMORY, 0x5000         # segment; in it:
.set NIC_RX_RING, 0x000         # four descriptors each
.set NIC_TX_RING, 0x100
.set NIC_SETUP, 0x200
.set NIC_FRAME, 0x400           # the frame to send
.set NIC_BUFFERS, 0x1000        # four for received frames, 800h apart
.set NIC_BUFFER_SIZE, 0x600

.set NIC_OWN, 0x80000000        # of a descriptor's first word
.set NIC_ERROR, 0x8000
.set NIC_RING_END, 0x02000000   # of its second
.set NIC_WHOLE_FRAME, 0xe0000000 # interrupt, last and first segment
.set NIC_SETUP_FRAME, 0x08000000
.set NIC_MODE, 0x022c0200       # CSR6: MII port, store and forward, full duplex
.set NIC_SEND, 0x2000
.set NIC_RECEIVE, 0x0002
.set NIC_FRAMES, 8              # each way between the cards
.set NIC_OUR_TYPE, 0xb588       # 88B5h, for experiments

.macro CSR_OUT number           # CSR <- EAX
    movw $(\number * 8), %bx
    call nic_out
.endm
.macro CSR_IN number            # EAX <- CSR
    movw $(\number * 8), %bx
    call nic_in
.endm

test_nic0:
    movw $nic_state, %bp
    xorw %cx, %cx
    call nic_open
    PUT ", "
    call nic_put_address
    call nic_lease
    PUT ", "
    call nic_put_ip
    PUT " by DHCP"
    movb $1, NIC_GOOD(%bp)
nic_close:
    pushw %ds
    popw %es
    ret

test_nic1:
    movw $(nic_state + NIC_SIZE), %bp
    movw $1, %cx
    call nic_open
    call nic_lease
    PUT ", "
    call nic_put_ip
    PUT " by DHCP"
    cmpb $0, nic_state + NIC_GOOD
    je 1f
    movw $nic_state, %si
    movw $(nic_state + NIC_SIZE), %di
    call nic_exchange
    movw $(nic_state + NIC_SIZE), %si
    movw $nic_state, %di
    call nic_exchange
    PUT ", frames to and from nic0"
    movw $nic_state, %bp
    call nic_stop
    movw $(nic_state + NIC_SIZE), %bp
1:  call nic_stop
    jmp nic_close

# ---- the card -----------------------------------------------------------------------------------------------------

# Card CX: found, reset, its serial ROM read, its rings made, its own address and broadcasts let in.
nic_open:
    movw %cx, NIC_NUMBER(%bp)
    movzwl %cx, %ecx
    addl $0x21140a00, %ecx
    xorw %bx, %bx
1:  call pci_read
    cmpl $0x00091011, %eax
    jne 2f
    movb $0x2c, %bl             # the subsystem tells the cards apart
    call pci_read
    movb $0, %bl
    cmpl %ecx, %eax
    je 3f
2:  incb %bh
    jnz 1b
    movl %ecx, %eax
    FAIL "no 1011:0009 with this subsystem"
3:  movb $0x08, %bl
    call pci_read
    cmpl $0x02000020, %eax
    FAIL_IF ne, "class and revision"
    movb $0x10, %bl
    call pci_read
    movl %eax, %esi
    movl $0xffffffff, %eax
    call pci_write
    call pci_read
    xchgl %eax, %esi
    call pci_write
    xchgl %eax, %esi
    cmpl $0xffffff81, %eax
    FAIL_IF ne, "base address of 128 ports"
    movl %esi, %eax
    andw $0xff80, %ax
    FAIL_IF z, "the BIOS gave it no ports"
    movw %ax, NIC_PORT(%bp)
    movb $0x04, %bl
    call pci_read
    orb $0x05, %al              # ports, bus master
    call pci_write16
    PUT "1011:0009"

    movl $1, %eax               # software reset
    CSR_OUT 0
    movl $100000, %eax
    call wait_ns
    xorl %eax, %eax
    CSR_OUT 0
    CSR_IN 5
    testl $0x03ffffff, %eax
    FAIL_IF nz, "status after the reset"

    movb $0, %al
    call nic_word
    movzwl %ax, %eax
    movw NIC_NUMBER(%bp), %cx
    addw $0x0a00, %cx
    cmpw %cx, %ax
    FAIL_IF ne, "first word of the serial ROM"
    movb $10, %al
    call nic_word
    movw %ax, NIC_MAC(%bp)
    testb $0x01, %al
    FAIL_IF nz, "a group address in the serial ROM"
    movb $11, %al
    call nic_word
    movw %ax, NIC_MAC + 2(%bp)
    movb $12, %al
    call nic_word
    movw %ax, NIC_MAC + 4(%bp)

    movw NIC_NUMBER(%bp), %ax
    shlw $10, %ax
    addw $NIC_MEMORY, %ax
    movw %ax, NIC_SEGMENT(%bp)
    movw %ax, %es
    xorw %di, %di
    xorl %eax, %eax
    movw %di, NIC_RX(%bp)
    movw %di, NIC_TX(%bp)
    movw $(NIC_BUFFERS / 4), %cx
    rep stosl
    call nic_linear
    movl %edx, %eax
    CSR_OUT 3
    addl $NIC_TX_RING, %eax
    CSR_OUT 4
    addl $NIC_BUFFERS, %edx
    movw $NIC_RX_RING, %di
    movw $4, %cx
4:  movl $NIC_OWN, %es:(%di)
    movl $NIC_BUFFER_SIZE, %es:4(%di)
    movl %edx, %es:8(%di)
    addl $0x800, %edx
    addw $16, %di
    loop 4b
    orl $NIC_RING_END, %es:-12(%di)

    movw $NIC_SETUP, %di        # 16 addresses of three words
    leaw NIC_MAC(%bp), %si
    xorl %eax, %eax
    movw $3, %cx
5:  lodsw
    stosl
    loop 5b
    movl $0xffff, %eax
    movw $45, %cx
    rep stosl
    movl $(NIC_MODE | NIC_SEND), %eax
    CSR_OUT 6
    movl $(NIC_SETUP_FRAME | 192), %eax
    movw $NIC_SETUP, %si
    call nic_transmit
    cmpl $0x7fffffff, %eax
    FAIL_IF ne, "the setup frame"
    movl $(NIC_MODE | NIC_SEND | NIC_RECEIVE), %eax
    CSR_OUT 6
    ret

nic_stop:
    movl $NIC_MODE, %eax
    CSR_OUT 6
    CSR_IN 5
    andl $0x007e0000, %eax      # the states of both processes
    FAIL_IF nz, "it does not stop"
    ret

nic_out:                        # port BX of the card <- EAX
    pushw %dx
    movw NIC_PORT(%bp), %dx
    addw %bx, %dx
    outl %eax, %dx
    popw %dx
    ret

nic_in:
    pushw %dx
    movw NIC_PORT(%bp), %dx
    addw %bx, %dx
    inl %dx, %eax
    popw %dx
    ret

nic_linear:                     # EDX <- where its memory is
    movzwl NIC_SEGMENT(%bp), %edx
    shll $4, %edx
    ret

# AX <- word AL of the serial ROM, bit by bit: select 1, clock 2, to the ROM 4, from it 8.
nic_word:
    movzbw %al, %cx
    orw $0x0180, %cx            # start, read
    shlw $7, %cx
    movl $0x4800, %eax
    CSR_OUT 9
    incw %ax
    call nic_out
    movw $9, %dx
1:  movl $0x4801, %eax
    shlw $1, %cx
    jnc 2f
    orb $4, %al
2:  call nic_out
    orb $2, %al
    call nic_out
    andb $0xfd, %al
    call nic_out
    decw %dx
    jnz 1b
    movw $16, %dx
3:  movl $0x4803, %eax
    call nic_out
    call nic_in
    shrb $4, %al
    rclw $1, %cx
    movl $0x4801, %eax
    call nic_out
    decw %dx
    jnz 3b
    decw %ax
    call nic_out
    movw %cx, %ax
    ret

# Sends what is at SI of its memory; EAX has the flags and the size. EAX <- status.
nic_transmit:
    movw NIC_SEGMENT(%bp), %es
    movw NIC_TX(%bp), %di
    cmpw $0x30, %di
    jne 1f
    orl $NIC_RING_END, %eax
1:  addw $16, NIC_TX(%bp)
    andw $0x30, NIC_TX(%bp)
    addw $NIC_TX_RING, %di
    movl %eax, %es:4(%di)
    call nic_linear
    movzwl %si, %esi
    addl %edx, %esi
    movl %esi, %es:8(%di)
    movl $NIC_OWN, %es:(%di)
    CSR_OUT 1                   # look at the list
    movl $200000000, %eax
    call start_timer
2:  movl %es:(%di), %eax
    testl %eax, %eax
    jns 3f
    call timer
    js 2b
    FAIL "it does not send"
3:  ret

# The frame of CX bytes at NIC_FRAME.
nic_send:
    movzwl %cx, %eax
    orl $NIC_WHOLE_FRAME, %eax
    movw $NIC_FRAME, %si
    call nic_transmit
    testl $NIC_ERROR, %eax
    FAIL_IF nz, "status of a frame that was sent"
    ret

# ES:SI, CX <- the next frame, which comes within EAX nanoseconds. Carry: none came.
nic_receive:
    call start_timer
    movw NIC_SEGMENT(%bp), %es
    movw NIC_RX(%bp), %di
1:  movl %es:(%di), %eax
    testl %eax, %eax
    jns 2f
    call timer
    js 1b
    stc
    ret
2:  movw %ax, %dx
    andw $0x8300, %dx           # an error, first and last segment
    cmpw $0x0300, %dx
    FAIL_IF ne, "status of a received frame"
    shrl $16, %eax
    andw $0x3fff, %ax
    subw $4, %ax                # its check sequence
    movw %ax, %cx
    call nic_linear
    movl %es:8(%di), %esi
    subl %edx, %esi
    clc
    ret

# Its buffer is free again.
nic_release:
    movw NIC_SEGMENT(%bp), %es
    movw NIC_RX(%bp), %di
    movl $NIC_OWN, %es:(%di)
    addw $16, %di
    andw $0x30, %di
    movw %di, NIC_RX(%bp)
    CSR_OUT 2
    ret

nic_put_address:
    leaw NIC_MAC(%bp), %si
    movw $6, %cx
1:  lodsb
    call put_hex8
    decw %cx
    jz 2f
    movb $'-', %al
    call put_char
    jmp 1b
2:  ret

nic_put_ip:
    leaw NIC_IP(%bp), %si
    movw $4, %cx
1:  xorl %eax, %eax
    lodsb
    call put_decimal
    decw %cx
    jz 2f
    movb $'.', %al
    call put_char
    jmp 1b
2:  ret

# ---- DHCP ---------------------------------------------------------------------------------------------------------

.set DHCP_LENGTH, 342           # with 60 bytes of options
.set DHCP_XID, 46               # from the frame's first byte
.set DHCP_YIADDR, 58
.set DHCP_CHADDR, 70
.set DHCP_MAGIC, 278
.set DHCP_OPTIONS, 282

VAR dhcp_head
    .byte 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0x08, 0x00
    .byte 0x45, 0, 0x01, 0x48, 0, 0, 0, 0, 64, 17, 0x79, 0xa6, 0, 0, 0, 0, 255, 255, 255, 255
    .byte 0, 68, 0, 67, 0x01, 0x34, 0, 0
    .byte 1, 1, 6, 0, 0x51, 0x0e, 0x00, 0x00
.set DHCP_HEAD, . - slotone_demo_begin - dhcp_head

# DISCOVER, OFFER, REQUEST, ACK.
nic_lease:
    movw $0x0201, %ax
    call nic_ask
    FAIL_IF c, "nobody offers an address"
    movl %es:DHCP_YIADDR(%si), %eax
    testl %eax, %eax
    FAIL_IF z, "the offer is no address"
    movl %eax, NIC_IP(%bp)
    movb $54, %al
    call dhcp_option
    FAIL_IF c, "the offer does not tell who made it"
    movl %es:(%di), %eax
    movl %eax, NIC_SERVER(%bp)
    call nic_release
    movw $0x0503, %ax
    call nic_ask
    FAIL_IF c, "nobody acknowledges the address"
    movl %es:DHCP_YIADDR(%si), %eax
    cmpl NIC_IP(%bp), %eax
    FAIL_IF ne, "another address than was offered"
    jmp nic_release

# Sends message AL, three times at most, until there is an answer AH. ES:SI, CX <- its frame. Carry: nobody answers.
nic_ask:
    movw $3, nic_left
    movw %ax, nic_length
1:  call dhcp_build
    movw $DHCP_LENGTH, %cx
    call nic_send
2:  movl $500000000, %eax
    call nic_receive
    jc 4f
    cmpw $DHCP_OPTIONS, %cx
    jb 3f
    cmpw $0x0008, %es:12(%si)   # IP,
    jne 3f
    cmpb $17, %es:23(%si)       # UDP,
    jne 3f
    cmpw $(68 << 8), %es:36(%si) # to a client
    jne 3f
    cmpb $2, %es:42(%si)
    jne 3f
    movl %es:DHCP_XID(%si), %eax
    cmpl %es:NIC_FRAME + DHCP_XID, %eax
    jne 3f
    movb $53, %al
    call dhcp_option
    jc 3f
    movb %es:(%di), %al
    cmpb nic_length + 1, %al
    je 5f
3:  call nic_release
    jmp 2b
4:  decw nic_left
    jnz 1b
    stc
    ret
5:  clc
    ret

dhcp_build:
    movw NIC_SEGMENT(%bp), %es
    movw $NIC_FRAME, %di
    xorw %ax, %ax
    movw $(DHCP_LENGTH / 2), %cx
    rep stosw
    movw $NIC_FRAME, %di
    movw $dhcp_head, %si
    movw $DHCP_HEAD, %cx
    rep movsb
    movl NIC_MAC(%bp), %eax
    movl %eax, %es:NIC_FRAME + 6
    movl %eax, %es:NIC_FRAME + DHCP_CHADDR
    movw NIC_MAC + 4(%bp), %ax
    movw %ax, %es:NIC_FRAME + 10
    movw %ax, %es:NIC_FRAME + DHCP_CHADDR + 4
    movb NIC_NUMBER(%bp), %al
    movb %al, %es:NIC_FRAME + DHCP_XID + 3
    movl $0x63538263, %es:NIC_FRAME + DHCP_MAGIC
    movw $NIC_FRAME + DHCP_OPTIONS, %di
    movw $0x0135, %ax           # 53: what it is
    stosw
    movb nic_length, %al
    stosb
    cmpb $3, %al
    jne 1f
    movw $0x0432, %ax           # 50: the address
    stosw
    movl NIC_IP(%bp), %eax
    stosl
    movw $0x0436, %ax           # 54: from whom
    stosw
    movl NIC_SERVER(%bp), %eax
    stosl
1:  movb $0xff, %al
    stosb
    ret

# ES:DI <- what option AL of the frame of CX bytes at SI says. Carry: it is not there.
dhcp_option:
    leaw DHCP_OPTIONS(%si), %di
    movw %si, %dx
    addw %cx, %dx
1:  cmpw %dx, %di
    jae 3f
    movb %es:(%di), %ah
    cmpb $0xff, %ah
    je 3f
    incw %di
    testb %ah, %ah
    jz 1b
    movzbw %es:(%di), %bx
    incw %di
    cmpb %al, %ah
    je 2f
    addw %bx, %di
    jmp 1b
2:  clc
    ret
3:  stc
    ret

# ---- from card to card --------------------------------------------------------------------------------------------

# Frames of several lengths from the card at SI to the card at DI; what arrives is what was sent.
nic_exchange:
    movw %si, nic_from
    movw %di, nic_to
    movw $NIC_FRAMES, nic_left
    movw $60, nic_length
1:  movw nic_from, %bp
    movw NIC_SEGMENT(%bp), %es
    movw nic_to, %si
    addw $NIC_MAC, %si
    movw $NIC_FRAME, %di
    movw $3, %cx
    rep movsw
    leaw NIC_MAC(%bp), %si
    movw $3, %cx
    rep movsw
    movw $NIC_OUR_TYPE, %ax
    stosw
    movzwl nic_length, %eax
    shll $8, %eax
    addw NIC_NUMBER(%bp), %ax
    movw $375, %cx
2:  imull $1664525, %eax
    addl $1013904223, %eax
    stosl
    loop 2b
    movw nic_length, %cx
    call nic_send

    movw nic_to, %bp
3:  movl $500000000, %eax
    call nic_receive
    movzwl nic_length, %eax
    FAIL_IF c, "a frame from the other card does not come"
    cmpw $NIC_OUR_TYPE, %es:12(%si)
    je 4f
    call nic_release            # somebody else's
    jmp 3b
4:  movzwl %cx, %eax
    cmpw nic_length, %ax
    FAIL_IF ne, "the length of a frame from the other card"
    movw %si, %di
    movw $NIC_FRAME, %si
    movw nic_from, %bx
    movw NIC_SEGMENT(%bx), %ax
    movw %ax, %ds
    repe cmpsb
    movw %cs, %ax
    movw %ax, %ds
    movzwl %cx, %eax
    FAIL_IF ne, "a frame from the other card is not what was sent"
    movw nic_to, %bp
    call nic_release
    addw $207, nic_length
    decw nic_left
    jnz 1b
    ret
