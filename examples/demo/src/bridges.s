# The two bridges: 82443BX (PCI, shadow memory) and PIIX4 function 0 (interrupt routing, port 61h, A20, flash).

.set PAM_DC000, 0x5d            # high nibble: DC000h-DFFFFh
.set PAM_F0000, 0x59            # high nibble: F0000h-FFFFFh
.set SHADOW, 0xdc000            # an address whose ROM is empty
.set NMISC, 0x61
.set PORT92, 0x92
.set PIRQRC, 0x60
.set PIIX4, 0x3800              # bus 0, device 7, function 0

test_host_bridge:
    xorw %bx, %bx
    call pci_read
    movl %eax, saved_byte
    cmpw $0x8086, %ax
    FAIL_IF ne, "no host bridge at 00:00.0"
    shrl $16, %eax
    cmpw $0x7190, %ax
    je 1f
    cmpw $0x7192, %ax
    je 1f
    cmpw $0x1237, %ax           # the 440FX looks the same from here
    FAIL_IF ne, "not a 440BX"
1:  PUT "8086:"
    call put_hex16
    movb $0x08, %bl
    call pci_read
    cmpl $0x06000000, %eax
    FAIL_IF b, "not a host bridge by its class"

    # The four states of shadow memory: a nibble of PAM is 1 read memory, 2 write memory.
    call flat
    movl $SHADOW, %esi          # beyond 64 KB an address needs a 32-bit register
    movb $PAM_DC000, %bl
    call pci_read8
    movb %al, saved_byte
    movb $0x30, %ah
    call set_pam
    movl $0x600dcafe, %fs:(%esi)
    movl %fs:(%esi), %eax
    cmpl $0x600dcafe, %eax
    FAIL_IF ne, "shadow memory does not take writes"
    movb $0x10, %ah
    call set_pam
    movl $0xbadbadba, %fs:(%esi)
    movl %fs:(%esi), %eax
    cmpl $0x600dcafe, %eax
    FAIL_IF ne, "shadow memory is not write-protected"
    movb $0x00, %ah
    call set_pam
    movl %fs:(%esi), %eax
    cmpl $0x600dcafe, %eax
    FAIL_IF e, "shadow memory covers the bus"
    movb $0x20, %ah
    call set_pam
    movl $0x0ddba11, %fs:(%esi)
    movl %fs:(%esi), %eax
    cmpl $0x0ddba11, %eax
    FAIL_IF e, "the read-ROM write-RAM state reads memory"
    movb $0x30, %ah
    call set_pam
    movl %fs:(%esi), %eax
    cmpl $0x0ddba11, %eax
    FAIL_IF ne, "the read-ROM write-RAM state does not write memory"
    movb saved_byte, %al
    call pci_write8

    # The reset vector comes from the flash when the shadow of F0000h is closed, and the flash is at the end of 4 GB as well.
    movb $PAM_F0000, %bl
    call pci_read8
    movb %al, %ch
    andb $0x0f, %al
    call pci_write8
    movl $0xffff0, %esi
    movl %fs:(%esi), %edx
    movl $0xfffffff0, %esi
    movl %fs:(%esi), %eax
    pushl %eax
    movb %ch, %al
    call pci_write8
    popl %eax
    cmpl %edx, %eax
    FAIL_IF ne, "no ROM under the shadow"
    PUT ", shadow memory in all four states"
    ret

set_pam:                        # high nibble of AH into the register at BX
    movb %ah, %cl
    call pci_read8
    andb $0x0f, %al
    orb %cl, %al
    jmp pci_write8

test_isa_bridge:
    movw $PIIX4, %bx
    call pci_read
    cmpl $0x71108086, %eax
    FAIL_IF ne, "no 8086:7110 at 00:07.0"
    call flat
    movl $0xfffffff0, %esi
    movl %fs:(%esi), %eax
    cmpl $0xffffffff, %eax
    FAIL_IF e, "no flash at the end of 4 GB"

    movb $PIRQRC, %bl           # every router register keeps what it is given
    call pci_read
    movl %eax, saved_byte
    movl $0x80050a0b, %eax
    call pci_write
    call pci_read
    movl %eax, %ecx
    movl saved_byte, %eax
    call pci_write
    movl %ecx, %eax
    cmpl $0x80050a0b, %eax
    FAIL_IF ne, "PIRQ routing registers"

    # Bit 4 of port 61h turns over with every refresh: each 15.085 us.
    movb $10, saved_byte + 1
1:  call refresh_period
    movl $15085, %ebx
    call near
    jnc 2f
    decb saved_byte + 1
    jnz 1b
    FAIL "time between refreshes, in nanoseconds"
2:

    # Address line 20. The keyboard controller holds it as well: it has to let go first.
    movb $0xdd, %al
    call kbc_output_port
    call flat
    movl $0x100500, %esi
    movl %fs:0x500, %ebp
    movl $0x12345678, %fs:0x500
    movl $0x87654321, %fs:(%esi)
    inb $PORT92, %al
    movb %al, %cl
    andb $0xfc, %al
    outb %al, $PORT92
    movl %fs:(%esi), %edx     # wraps: the same as 500h
    movb %cl, %al
    orb $0x02, %al
    andb $0xfe, %al
    outb %al, $PORT92
    movl %fs:(%esi), %ebx
    movb %cl, %al
    andb $0xfe, %al
    outb %al, $PORT92
    movl %ebp, %fs:0x500
    movb $0xdf, %al
    call kbc_output_port
    movl %edx, %eax
    cmpl $0x12345678, %eax
    FAIL_IF ne, "port 92h does not close address line 20"
    movl %ebx, %eax
    cmpl $0x87654321, %eax
    FAIL_IF ne, "port 92h does not open address line 20"
    PUT "8086:7110, routing, refresh every 15 us, A20, flash"
    ret

# EAX <- nanoseconds between two turns of the refresh bit, on average over 64.
refresh_period:
    movw $64, %cx
    call refresh_turn
    jc 2f
    call clock_reset
1:  call refresh_turn
    jc 2f
    loop 1b
    call clock
    imull $1000, %eax, %eax
    shrl $6, %eax
    ret
2:  xorl %eax, %eax
    ret

# Waits until the bit is another: few instructions, for it is no long time. Carry: it stays.
refresh_turn:
    inb $NMISC, %al
    movb %al, %ah
    xorw %dx, %dx
1:  inb $NMISC, %al
    xorb %ah, %al
    testb $0x10, %al
    jnz 2f
    decw %dx
    jnz 1b
    stc
    ret
2:  clc
    ret
