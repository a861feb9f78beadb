# The Super I/O: configuration ports, keyboard controller with its keyboard, two serial ports.

# ---- W83977 -------------------------------------------------------------------------------------------------------

.set EFER, 0x370

test_superio:
    OUT EFER, 0x87
    movb $0x87, %al
    outb %al, %dx
    movb $0x20, %al
    call superio_read
    cmpb $0x97, %al
    FAIL_IF ne, "no W83977 at 370h"
    PUT "W83977, revision "
    movb $0x21, %al
    call superio_read
    call put_hex8
    movw $0x0207, %ax           # logical device 2: the first serial port
    call superio_write
    movb $0x60, %al
    call superio_read
    movb %al, %bh
    movb $0x61, %al
    call superio_read
    movb %al, %bl
    movw %bx, %ax
    cmpw $COM1, %ax
    FAIL_IF ne, "the first serial port is not where it belongs"
    movw $0x0507, %ax           # logical device 5: the keyboard controller
    call superio_write
    movb $0x70, %al
    call superio_read
    cmpb $1, %al
    FAIL_IF ne, "the keyboard is not on IRQ 1"
    OUT EFER, 0xaa              # closed again: nobody answers
    movb $0x20, %al
    call superio_read
    cmpb $0x97, %al
    FAIL_IF e, "it does not close"
    PUT ", configured at 370h"
    ret

superio_read:                   # AL <- register AL
    movw $EFER, %dx
    outb %al, %dx
    incw %dx
    inb %dx, %al
    ret

superio_write:                  # register AL <- AH
    movw $EFER, %dx
    outb %al, %dx
    incw %dx
    movb %ah, %al
    outb %al, %dx
    ret

# ---- 8042 and keyboard --------------------------------------------------------------------------------------------

.set KBC_DATA, 0x60
.set KBC_STATUS, 0x64

test_kbc:
    inb $KBC_STATUS, %al
    cmpb $0xff, %al
    FAIL_IF e, "nobody answers"
    movb $0xad, %al             # the keyboard waits
    call kbc_command_write
    call kbc_flush
    movb $0x20, %al
    call kbc_command_write
    call kbc_read
    movb %al, kbc_command
    movb $0xaa, %al
    call kbc_command_write
    call kbc_read
    cmpb $0x55, %al
    FAIL_IF ne, "self-test"
    movb $0xab, %al
    call kbc_command_write
    call kbc_read
    cmpb $0x00, %al
    FAIL_IF ne, "test of the keyboard's wires"
    PUT "self-test 55h, "

    movb $0x44, %al             # translation, no interrupts
    call kbc_set_command
    movb $0xee, %al             # echo
    call keyboard_write
    call kbc_read
    cmpb $0xee, %al
    FAIL_IF ne, "the keyboard's echo"
    movb $0xf5, %al
    call keyboard_write
    call kbc_read
    cmpb $0xfa, %al
    FAIL_IF ne, "the keyboard does not acknowledge"
    movb $0xf2, %al
    call keyboard_write
    call kbc_read
    cmpb $0xfa, %al
    FAIL_IF ne, "the keyboard does not identify itself"
    call kbc_read
    movb %al, %bh
    call kbc_read
    movb %al, %bl
    movb $0xf4, %al
    call keyboard_write
    call kbc_read
    cmpb $0xab, %bh
    FAIL_IF ne, "not a keyboard"
    PUT "keyboard "
    movw %bx, %ax
    call put_hex16

    cmpb $0, alive_pic
    je 1f
    ADDRESS irq_keyboard, %dx
    movb $0x09, %al
    call hook
    movb $0x45, %al             # with IRQ 1
    call kbc_set_command
    movb $1, %al
    call only_irq
    movb $0xee, %al
    call keyboard_write
    movl $200000000, %eax
    call await_irq
    FAIL_IF z, "no IRQ 1"
    movzbl irq_data, %eax
    cmpb $0xee, %al
    FAIL_IF ne, "what IRQ 1 brought"
    PUT ", IRQ 1"
1:  movb kbc_command, %al
    andb $0xef, %al             # the keyboard on
    jmp kbc_set_command

kbc_set_command:
    pushw %ax
    movb $0x60, %al
    call kbc_command_write
    popw %ax
    jmp keyboard_write

# The output port: AL. Where nobody is at 64h this does nothing.
kbc_output_port:
    pushw %ax
    inb $KBC_STATUS, %al
    cmpb $0xff, %al
    je 1f
    movb $0xd1, %al
    call kbc_command_write
    popw %ax
    jmp keyboard_write
1:  popw %ax
    ret

kbc_command_write:              # AL
    call kbc_ready
    outb %al, $KBC_STATUS
    ret

keyboard_write:                 # AL to the keyboard, or to the command before
    call kbc_ready
    outb %al, $KBC_DATA
    jmp kbc_ready

kbc_ready:                      # the controller has taken the last byte
    pushl %eax
    movl $50000000, %eax
    call start_timer
1:  inb $KBC_STATUS, %al
    testb $0x02, %al
    jz 2f
    call timer
    js 1b
2:  popl %eax
    ret

kbc_read:                       # AL, with zeros above
    movl $200000000, %eax
    call start_timer
1:  inb $KBC_STATUS, %al
    testb $0x01, %al
    jnz 2f
    call timer
    js 1b
    movzbl %al, %eax
    FAIL "no answer; status"
2:  xorl %eax, %eax
    inb $KBC_DATA, %al
    ret

kbc_flush:
    movb $16, %cl
1:  movl $2000000, %eax
    call start_timer
2:  inb $KBC_STATUS, %al
    testb $0x01, %al
    jnz 3f
    call timer
    js 2b
    ret
3:  inb $KBC_DATA, %al
    decb %cl
    jnz 1b
    ret

irq_keyboard:
    pushw %ax
    inb $KBC_DATA, %al
    movb %al, %cs:irq_data
    popw %ax
    jmp irq_master

# ---- 16550A -------------------------------------------------------------------------------------------------------

test_uart0:
    movw $COM1, uart_port
    movb $4, uart_irq
    jmp test_uart
test_uart1:
    movw $0x2f8, uart_port
    movb $3, uart_irq
test_uart:
    movb $7, %cl                # scratch register
    movb $0x96, %al
    call uart_write
    call uart_read
    cmpb $0x96, %al
    FAIL_IF ne, "nobody keeps a byte in the scratch register"
    movb $1, %cl
    movb $0xff, %al
    call uart_write
    call uart_read
    cmpb $0x0f, %al
    FAIL_IF ne, "the interrupt enable register has four bits"
    movb $0, %al
    call uart_write
    movb $3, %cl                # divisor
    movb $0x83, %al
    call uart_write
    movb $0, %cl
    movb $0x34, %al
    call uart_write
    call uart_read
    cmpb $0x34, %al
    FAIL_IF ne, "the divisor latch"
    movb $1, %al                # 115200
    call uart_write
    movb $3, %cl
    movb $3, %al
    call uart_write
    movb $2, %cl
    movb $7, %al
    call uart_write
    call uart_read
    andb $0xc0, %al
    cmpb $0xc0, %al
    FAIL_IF ne, "no FIFO"

    movb $4, %cl                # back to itself: outputs to inputs,
    movb $0x1f, %al
    call uart_write
    movb $6, %cl
    call uart_read
    andb $0xf0, %al
    cmpb $0xf0, %al
    FAIL_IF ne, "modem lines in loopback"
    movb $4, %cl
    movb $0x12, %al
    call uart_write
    movb $6, %cl
    call uart_read
    andb $0xf0, %al
    cmpb $0x10, %al
    FAIL_IF ne, "modem lines in loopback"
    movb $0x20, %bl             # and characters, a FIFO full each time
1:  movw $16, %bp
2:  movb $0, %cl
    movb %bl, %al
    call uart_write
    call uart_sent
    incb %bl
    decw %bp
    jnz 2b
    subb $16, %bl
    movw $16, %bp
3:  movb $5, %cl
    call uart_read
    testb $0x01, %al
    FAIL_IF z, "a character is lost in loopback"
    movb $0, %cl
    call uart_read
    cmpb %bl, %al
    FAIL_IF ne, "a character changed in loopback"
    incb %bl
    decw %bp
    jnz 3b
    testb $0x7f, %bl
    jnz 1b
    movb $5, %cl
    call uart_read
    testb $0x1f, %al
    FAIL_IF nz, "errors in loopback"
    movb $4, %cl
    movb $0x0b, %al             # the line again, with interrupts
    call uart_write
    PUT "16550A, 96 looped"

    cmpb $0, alive_pic
    je 5f
    ADDRESS irq_uart, %dx
    movb uart_irq, %al
    addb $8, %al
    call hook
    movb uart_irq, %al
    call only_irq
    movb $1, %cl
    movb $0x02, %al             # the transmitter is empty
    call uart_write
    movl $100000000, %eax
    call await_irq
    pushfw
    movb $1, %cl
    movb $0, %al
    call uart_write
    popfw
    FAIL_IF z, "no interrupt"
    movzbl irq_data, %eax
    andb $0x0f, %al
    cmpb $0x02, %al
    FAIL_IF ne, "interrupt identification"
    PUT ", IRQ "
    movzbl uart_irq, %eax
    call put_decimal
5:  movb $4, %cl
    movb $0x03, %al
    jmp uart_write

uart_register:                  # DX <- register CL
    movzbw %cl, %dx
    addw uart_port, %dx
    ret

uart_read:                      # AL, with zeros above
    call uart_register
    xorl %eax, %eax
    inb %dx, %al
    ret

uart_write:                     # AL
    call uart_register
    outb %al, %dx
    ret

uart_sent:                      # the transmitter is empty
    movl $10000000, %eax
    call start_timer
    movb $5, %cl
1:  call uart_read
    testb $0x40, %al
    jnz 2f
    call timer
    js 1b
2:  ret

irq_uart:
    pushw %ax
    pushw %dx
    movw %cs:uart_port, %dx
    addw $2, %dx
    inb %dx, %al
    movb %al, %cs:irq_data
    popw %dx
    popw %ax
    jmp irq_master
