# Runs the tests one by one, shows and sends what they found, and switches the machine off.

start:
    cli
    cld
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    movw $STACK_TOP, %sp
    movw $shadow, %di
    movw $(bss_end - shadow), %cx
    xorw %ax, %ax
    rep stosb
    movw %ax, %fs               # exceptions in real mode end the test that raised them
    movw $(real_divide - slotone_demo_begin), %fs:0
    movw %cs, %fs:2
    movw $(real_opcode - slotone_demo_begin), %fs:(6 * 4)
    movw %cs, %fs:(6 * 4 + 2)
    call find_cpu
    call find_devices
    call serial_open
    call screen_open
    call screen_frame

    movw $tests, %si
1:  movw (%si), %ax
    testw %ax, %ax
    jz 3f
    movw %ax, test_name
    movzbw 4(%si), %ax
    movw %ax, row
    movb 5(%si), %al
    movb %al, half
    pushw %si
    movw $0, line_length
    movb $STATUS_RUNNING, %al
    call report
    popw %si
    pushw %si
    movw 2(%si), %bx
    call run_test
    movb $STATUS_OK, %al
    jnc 2f
    movb $STATUS_FAILED, %al
2:  call report
    popw %si
    addw $6, %si
    jmp 1b

3:  call screen_verdict
    movl $1500000000, %eax
    call hold
    jmp power_off

# Runs the test at BX. Carry: it failed.
run_test:
    movw %sp, test_stack
    movw $0, line_length
    call *%bx
    call tidy
    incw passed
    clc
    ret

# call test_failed; .asciz "why"
test_failed:
    cli
    cld
    movl %eax, fail_value
    popw %si
test_failed_si:
    movw %cs, %ax
    movw %ax, %ds
    movw %ax, %es
    movw test_stack, %sp
    movw $0, line_length
    call put_string
    PUT " ("
    movl fail_value, %eax
    call put_hex32
    PUT ")"
    call tidy
    incw failed
    stc
    ret

real_divide:
    movw %cs, %ax
    movw %ax, %ds
    FAIL "divide error"
real_opcode:
    movw %cs, %ax
    movw %ax, %ds
    FAIL "invalid opcode"

# Everything that the next test may rely on, whatever the last one left behind.
tidy:
    cli
    cld
    call unhook
    movw masks, %ax
    outb %al, $0x21
    movb %ah, %al
    outb %al, $0xa1
    cmpb $0, text_on
    je vga_text
    ret

# ACPI's S5: SUS_EN with type 0. A machine without power management halts.
power_off:
    cli
    cmpb $0, alive_pm
    je 1f
    movw pm_base, %dx
    addw $4, %dx
    movw $0x2000, %ax
    outw %ax, %dx
1:  cli
    hlt
    jmp 1b

# ---- the devices, in the order in which they stand on the screen --------------------------------------------------

.macro NAMED label, name
VAR name_\label
    .asciz "\name"
.endm
NAMED cpu, "cpu"
NAMED memory, "memory"
NAMED bios, "bios"
NAMED host_bridge, "host-bridge"
NAMED isa_bridge, "isa-bridge"
NAMED pic, "pic"
NAMED pit, "pit"
NAMED dma, "dma"
NAMED rtc, "rtc"
NAMED kbc, "kbc"
NAMED uart0, "uart0"
NAMED uart1, "uart1"
NAMED superio, "superio"
NAMED pm, "pm"
NAMED ide, "ide"
NAMED hda, "hda"
NAMED hdb, "hdb"
NAMED hdc, "hdc"
NAMED nic0, "nic0"
NAMED nic1, "nic1"
NAMED scsi0, "scsi0"
NAMED scsi1, "scsi1"
NAMED scsi2, "scsi2"
NAMED scsi3, "scsi3"
NAMED vga, "vga"

.macro TEST label, row, half=0  # half: 0 is the whole row, 1 and 2 its halves
    .word name_\label, test_\label - slotone_demo_begin
    .byte \row, \half
.endm
.balign 2
VAR tests
TEST cpu, 1
TEST memory, 2
TEST bios, 3
TEST host_bridge, 4
TEST isa_bridge, 5
TEST pic, 6
TEST pit, 7
TEST dma, 8
TEST rtc, 9
TEST kbc, 10
TEST uart0, 11, 1
TEST uart1, 11, 2
TEST superio, 12
TEST pm, 13
TEST ide, 14
TEST hda, 15
TEST hdb, 16
TEST hdc, 17
TEST nic0, 18
TEST nic1, 19
TEST scsi0, 20, 1
TEST scsi1, 20, 2
TEST scsi2, 21, 1
TEST scsi3, 21, 2
TEST vga, 22
    .word 0
