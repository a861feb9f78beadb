# PIIX4 function 3: the PM timer against the 8254, events and their interrupt, the SMBus host. Soft off comes last of all.

.set PM1_STATUS, 0x00
.set PM1_ENABLE, 0x02
.set PM1_CONTROL, 0x04
.set PM_GLOBAL_CONTROL, 0x28
.set GLOBAL, 0x20               # GBL_STS, GBL_EN
.set SMB_STATUS, 0x00
.set SMB_CONTROL, 0x02
.set SMB_ADDRESS, 0x04

test_pm:
    movl $0x71138086, %eax
    call pci_find
    movl $0x71138086, %eax
    FAIL_IF c, "no such PCI function"
    cmpb $0, alive_pm
    FAIL_IF e, "the BIOS gave it no ports"
    movb $0x80, %bl             # PMREGMISC
    call pci_read8
    testb $0x01, %al
    FAIL_IF z, "its ports are not decoded"
    PUT "8086:7113, "

    cmpb $0, alive_pit
    je 2f
    movb $5, saved_byte
1:  call pm_rate
    movl $71591, %ebx           # 20 ms of 3.579545 MHz
    call near
    jnc 2f
    decb saved_byte
    jnz 1b
    FAIL "clocks of the PM timer in 20 ms of the 8254"
2:  PUT "3.58 MHz timer, "

    # BIOS_RLS sets GBL_STS, which is an event, which is an SCI on IRQ 9.
    movw $PM1_ENABLE, %dx
    call pm_register
    movw $GLOBAL, %ax
    outw %ax, %dx
    inw %dx, %ax
    cmpw $GLOBAL, %ax
    FAIL_IF ne, "the event enable register"
    ADDRESS irq_sci, %dx
    movb $0x71, %al
    call hook
    movb $9, %al
    call only_irq
    movw $PM1_CONTROL, %dx
    call pm_register
    inw %dx, %ax
    movw %ax, saved_byte
    orw $0x0001, %ax
    outw %ax, %dx
    movw $PM_GLOBAL_CONTROL, %dx
    call pm_register
    inb %dx, %al
    orb $0x02, %al
    outb %al, %dx
    cmpb $0, alive_pic
    je 3f
    movl $10000000, %eax
    call await_irq
    FAIL_IF z, "no SCI"
    movzwl irq_data, %eax
    jmp 4f
3:  movw $PM1_STATUS, %dx
    call pm_register
    inw %dx, %ax
    outw %ax, %dx
4:  testw $GLOBAL, %ax
    FAIL_IF z, "no event"
    movw $PM1_STATUS, %dx
    call pm_register
    xorl %eax, %eax
    inw %dx, %ax
    testw $GLOBAL, %ax
    FAIL_IF nz, "the event stays"
    movw $PM1_ENABLE, %dx
    call pm_register
    xorw %ax, %ax
    outw %ax, %dx
    movw $PM1_CONTROL, %dx
    call pm_register
    movw saved_byte, %ax
    outw %ax, %dx
    PUT "SCI on IRQ 9, "

    # A quick command to an address where nobody can be: the host tells that nobody acknowledged.
    movw pm_devfn, %bx
    movb $0x90, %bl
    call pci_read
    andl $0xfff0, %eax
    FAIL_IF z, "the BIOS gave the SMBus no ports"
    movw %ax, %bp
    leaw SMB_STATUS(%bp), %dx
    movb $0x1e, %al
    outb %al, %dx
    leaw SMB_ADDRESS(%bp), %dx
    movb $0x10, %al
    outb %al, %dx
    leaw SMB_CONTROL(%bp), %dx
    movb $0x40, %al
    outb %al, %dx
    movl $200000000, %eax
    call start_timer
    movw %bp, %dx
5:  xorl %eax, %eax
    inb %dx, %al
    testb $0x1e, %al
    jnz 6f
    call timer
    js 5b
6:  testb $0x04, %al
    FAIL_IF z, "SMBus host status"
    movb $0x1e, %al
    outb %al, %dx
    PUT "SMBus host"
    ret

pm_register:                    # DX <- port of register DX
    addw pm_base, %dx
    ret

# EAX <- clocks of the PM timer while counter 0 counts 20 ms.
pm_rate:
    xorw %cx, %cx
    call pit_program
    movl $1000000000, %eax
    call start_timer
    call clock_read
    movl %eax, %ebp
    call pit_latch
    movw %ax, %bx
1:  call timer
    jns 2f
    call pit_latch
    movw %bx, %cx
    subw %ax, %cx
    cmpw $23864, %cx
    jb 1b
2:  call clock_read
    subl %ebp, %eax
    andl $0xffffff, %eax
    movl $23864, %ebx
    mull %ebx
    movzwl %cx, %ecx
    jecxz 3f
    divl %ecx
3:  pushl %eax
    call pit_restore
    popl %eax
    ret

irq_sci:                        # takes the event away, or it would come for ever
    pushw %ax
    pushw %dx
    incw %cs:irq_count
    movw %cs:pm_base, %dx
    inw %dx, %ax
    movw %ax, %cs:irq_data
    outw %ax, %dx
    popw %dx
    popw %ax
    jmp eoi_slave
