# What the tests share: time, PCI configuration, interrupts, the way to 32-bit code and back.

# ---- who is there -------------------------------------------------------------------------------------------------

# CPUID, if the processor has it (EFLAGS.ID can be changed).
find_cpu:
    pushfl
    popl %eax
    movl %eax, %ecx
    xorl $0x200000, %eax
    pushl %eax
    popfl
    pushfl
    popl %eax
    pushl %ecx
    popfl
    xorl %ecx, %eax
    testl $0x200000, %eax
    jz 1f
    movb $1, has_cpuid
    movl $1, %eax
    cpuid
    movl %edx, cpu_features
    movl %eax, cpu_signature
1:  ret

# Which of the devices that other devices' tests lean on answer at all.
find_devices:
    # The interrupt controller keeps a mask.
    inb $0x21, %al
    movb %al, masks
    inb $0xa1, %al
    movb %al, masks + 1
    movb $0xa5, %al
    outb %al, $0x21
    inb $0x21, %al
    cmpb $0xa5, %al
    sete alive_pic
    movb masks, %al
    outb %al, $0x21

    # The timer counts.
    movb $20, %cl
1:  call pit_latch
    movw %ax, %bx
    movl $5000, %eax
    call wait_ns
    call pit_latch
    cmpw %ax, %bx
    setne alive_pit
    jne 2f
    decb %cl
    jnz 1b

    # The clock's register D has one bit, and it is set.
2:  movb $0x0d, %al
    call cmos_read
    cmpb $0x80, %al
    sete alive_rtc

    # Power management has its registers where the BIOS put them.
    movl $0x71138086, %eax
    call pci_find
    jc 3f
    movw %bx, pm_devfn
    movb $0x40, %bl
    call pci_read
    andw $0xffc0, %ax
    jz 3f
    movw %ax, pm_base
    movb $1, alive_pm
3:  ret

# ---- time ---------------------------------------------------------------------------------------------------------

# EAX <- nanoseconds, roughly: for time-outs. The processor's own counter, for every device may be dead; older
# processors have none.
now:
    testb $0x10, cpu_features
    jz 1f
    pushl %edx
    rdtsc
    popl %edx
    ret
1:  cmpb $0, alive_pm
    je 2f
    pushw %dx
    movw pm_base, %dx
    addw $8, %dx
    inl %dx, %eax
    popw %dx
    imull $279, %eax
    ret
2:  addl $100, fake_time
    movl fake_time, %eax
    ret

# A time-out EAX nanoseconds from now; at most 2 seconds.
start_timer:
    pushl %ebx
    movl %eax, %ebx
    call now
    addl %ebx, %eax
    movl %eax, deadline
    popl %ebx
    ret

# Sign: it is not over yet. Changes nothing else.
timer:
    pushl %eax
    call now
    subl deadline, %eax
    popl %eax
    ret

# Waits EAX nanoseconds, busily.
wait_ns:
    call start_timer
1:  call timer
    js 1b
    ret

# Shows the screen for EAX nanoseconds, halted; for less where the timer's interrupts do not end the halts.
hold:
    movb alive_pit, %cl
    andb alive_pic, %cl
    jnz 1f
    movl $50000000, %eax
    jmp wait_ns
1:  call start_timer
    movb masks, %al
    andb $0xfe, %al
    outb %al, $0x21
    sti
2:  hlt
    call timer
    js 2b
    cli
    movb masks, %al
    outb %al, $0x21
    ret

# The measuring clock: starts, and tells microseconds since. The PM timer if there is one, so that what is measured against it
# is another chip's crystal; at most 4 seconds.
clock_reset:
    call clock_read
    movl %eax, clock_start
    ret

clock_read:
    cmpb $0, alive_pm
    je now
    pushw %dx
    movw pm_base, %dx
    addw $8, %dx
    inl %dx, %eax
    popw %dx
    ret

# EAX <- microseconds since clock_reset.
clock:
    call clock_read
    pushl %edx
    subl clock_start, %eax
    cmpb $0, alive_pm
    je 1f
    andl $0xffffff, %eax
    movl $18308, %edx           # 65536 / 3.579545
    mull %edx
    shrdl $16, %edx, %eax
    popl %edx
    ret
1:  pushl %ecx
    xorl %edx, %edx
    movl $1000, %ecx
    divl %ecx
    popl %ecx
    popl %edx
    ret

# Carry: EAX is not within 1/32 of EBX, with 40 to spare.
near:
    pushl %ecx
    pushl %edx
    movl %ebx, %ecx
    shrl $5, %ecx
    addl $40, %ecx
    movl %eax, %edx
    subl %ebx, %edx
    jns 1f
    negl %edx
1:  cmpl %edx, %ecx
    popl %edx
    popl %ecx
    ret

# ---- small devices ------------------------------------------------------------------------------------------------

cmos_read:                      # AL <- byte AL; NMI stays masked
    orb $0x80, %al
    outb %al, $0x70
    inb $0x71, %al
    ret

cmos_write:                     # byte AL <- AH
    orb $0x80, %al
    outb %al, $0x70
    movb %ah, %al
    outb %al, $0x71
    ret

pit_latch:                      # AX <- counter 0
    movb $0x00, %al
    outb %al, $0x43
    inb $0x40, %al
    movb %al, %ah
    inb $0x40, %al
    xchgb %al, %ah
    ret

# Counter 0 in mode 2 with divisor CX; as the BIOS leaves it: mode 3, 65536.
pit_program:
    movb $0x34, %al
    jmp 1f
pit_restore:
    movb $0x36, %al
    xorw %cx, %cx
1:  outb %al, $0x43
    movb %cl, %al
    outb %al, $0x40
    movb %ch, %al
    outb %al, $0x40
    ret

# ---- PCI configuration --------------------------------------------------------------------------------------------

# BH is device and function, BL the register.
pci_address:
    movzwl %bx, %eax
    andb $0xfc, %al
    orl $0x80000000, %eax
    movw $0xcf8, %dx
    outl %eax, %dx
    movw %bx, %dx
    andw $3, %dx
    addw $0xcfc, %dx
    ret

pci_read:                       # EAX
    pushw %dx
    call pci_address
    movw $0xcfc, %dx
    inl %dx, %eax
    popw %dx
    ret

pci_read8:                      # AL
    pushw %dx
    call pci_address
    inb %dx, %al
    popw %dx
    ret

pci_write8:                     # AL
    pushw %dx
    pushl %eax
    call pci_address
    popl %eax
    outb %al, %dx
    popw %dx
    ret

pci_write16:                    # AX
    pushw %dx
    pushl %eax
    call pci_address
    popl %eax
    outw %ax, %dx
    popw %dx
    ret

pci_write:                      # EAX
    pushw %dx
    pushl %eax
    call pci_address
    popl %eax
    outl %eax, %dx
    popw %dx
    ret

# BX <- the function with vendor and device EAX, register 0. Carry: there is none on bus 0.
pci_find:
    pushl %ecx
    movl %eax, %ecx
    xorw %bx, %bx
1:  call pci_read
    cmpl %ecx, %eax
    je 2f
    incb %bh
    jnz 1b
    stc
    jmp 3f
2:  clc
3:  popl %ecx
    ret

# ---- interrupts ---------------------------------------------------------------------------------------------------

# Interrupts are off while tests run. A test takes over a vector, lets one IRQ in and turns them on for a while.

# Vector AL goes to the handler at DX until the test is over.
hook:
    pushw %es
    pushw %bx
    pushw %di
    xorw %bx, %bx
    movw %bx, %es
    movzbw %al, %bx
    shlw $2, %bx
    movw hooks, %di
    shlw $3, %di
    movw %bx, hook_list(%di)
    movl %es:(%bx), %eax
    movl %eax, hook_list + 4(%di)
    incw hooks
    movw %dx, %es:(%bx)
    movw $PROGRAM, %es:2(%bx)
    popw %di
    popw %bx
    popw %es
    ret

unhook:
    pushw %es
    xorw %bx, %bx
    movw %bx, %es
1:  cmpw $0, hooks
    je 2f
    decw hooks
    movw hooks, %di
    shlw $3, %di
    movw hook_list(%di), %bx
    movl hook_list + 4(%di), %eax
    movl %eax, %es:(%bx)
    jmp 1b
2:  popw %es
    ret

# Masks every IRQ but number AL, and counts from zero.
only_irq:
    pushw %cx
    movb %al, %cl
    movw $0xffff, %ax
    btrw %cx, %ax               # CH does not matter: the offset is taken modulo 16
    cmpb $8, %cl
    jb 1f
    andb $0xfb, %al             # the second controller comes through IRQ 2
1:  outb %al, $0x21
    movb %ah, %al
    outb %al, $0xa1
    popw %cx
    movw $0, irq_count
    ret

# Interrupts on until one has been counted or EAX nanoseconds are over. Zero: none came.
await_irq:
    call start_timer
    sti
1:  cmpw $0, irq_count
    jne 2f
    call timer
    js 1b
2:  cli
    cmpw $0, irq_count
    ret

irq_master:                     # counts
    incw %cs:irq_count
    jmp eoi_master

irq_slave:
    incw %cs:irq_count
eoi_slave:
    pushw %ax
    movb $0x20, %al
    outb %al, $0xa0
    popw %ax
eoi_master:
    pushw %ax
    movb $0x20, %al
    outb %al, $0x20
    popw %ax
    iret

irq_spurious:                   # IR7 of the first controller: nothing is in service
    incw %cs:spurious
    iret

irq_spurious_slave:             # IR7 of the second: IR2 of the first is in service
    incw %cs:spurious
    jmp eoi_master

# ---- 32-bit code --------------------------------------------------------------------------------------------------

.set CODE32, 0x08
.set DATA32, 0x10
.set FLAT, 0x18
.set CODE16, 0x20
.set DATA16, 0x28

.balign 8
VAR gdt
    .quad 0
    .quad 0x00409b010000ffff    # code, 32 bits, at 10000h
    .quad 0x004093010000ffff    # data, 32 bits, at 10000h
    .quad 0x00cf93000000ffff    # data, all 4 GB
    .quad 0x00009b010000ffff    # code, 16 bits, at 10000h
    .quad 0x000093010000ffff    # data, 16 bits, at 10000h
.set GDT_SIZE, . - slotone_demo_begin - gdt
VAR gdt_pointer
    .word GDT_SIZE - 1
    .long BASE + gdt
VAR real_idt
    .word 0x3ff
    .long 0

# FS <- all 4 GB, for real mode.
flat:
    pushl %eax
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    jmp 1f
1:  pushw $FLAT
    popw %fs
    andb $0xfe, %al
    movl %eax, %cr0
    jmp 2f
2:  pushw $0
    popw %fs
    popl %eax
    ret

# Calls the 32-bit code at BX in protected mode: CS, DS, ES and SS at 10000h, FS all of memory. A failure there is one here.
call32:
    movzwl %bx, %ebx
    lgdtl gdt_pointer
    movl %cr0, %eax
    orb $1, %al
    movl %eax, %cr0
    ljmpl $CODE32, $(pm_enter - slotone_demo_begin)

.code32
pm_enter:
    movw $DATA32, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $FLAT, %ax
    movw %ax, %fs
    movzwl %sp, %esp
    movl %esp, pm_stack
    call *%ebx
    xorl %edx, %edx
pm_leave:
    ljmpl $CODE16, $(pm_16 - slotone_demo_begin)

pm_failed:                      # EDX says why
    movl %eax, fail_value
    movl pm_stack, %esp
    movl %cr0, %eax
    andl $0x7ffeffff, %eax      # no paging, no write protection
    movl %eax, %cr0
    jmp pm_leave

.code16
pm_16:
    movw $DATA16, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw %ax, %fs
    movl %cr0, %eax
    andb $0xfe, %al
    movl %eax, %cr0
    ljmp $PROGRAM, $(pm_real - slotone_demo_begin)
pm_real:
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    lidtl real_idt
    movw %dx, %si
    testw %dx, %dx
    jnz test_failed_si
    ret
