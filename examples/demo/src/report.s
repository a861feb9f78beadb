# What a test found: one line for each device on the screen and on the first serial port.
#
# Both show "[ OK ] name         details". The screen is kept in memory as well, for it is lost while the video device is
# tested.

.set STATUS_RUNNING, 0
.set STATUS_OK, 1
.set STATUS_FAILED, 2
.set DETAIL_LENGTH, 57          # what fits behind the name
.set NAME_LENGTH, 12
.set HALF_DETAIL_LENGTH, 25     # and in half a row
.set HALF_NAME_LENGTH, 5
.set COM1, 0x3f8
.set COLUMNS, 80
.set LAST_ROW, 24
.set ABSENT, 6                  # devices of the machine that this build lacks

.balign 2
VAR status_texts
    .ascii " .. "
    .ascii " OK "
    .ascii "FAIL"
VAR status_colors
    .byte 0x0e, 0x0a, 0x4f
VAR detail_colors
    .byte 0x08, 0x07, 0x0f

# ---- the line of the device under test ----------------------------------------------------------------------------

# Appends the character in AL.
put_char:
    pushw %bx
    movw line_length, %bx
    cmpw $DETAIL_LENGTH, %bx
    jae 1f
    movb %al, line_buffer(%bx)
    incw line_length
1:  popw %bx
    ret

# call put_inline; .asciz "text"
put_inline:
    pushw %bp
    movw %sp, %bp
    pushw %si
    movw 2(%bp), %si
    call put_string
    movw %si, 2(%bp)
    popw %si
    popw %bp
    ret

# Appends the string at SI; SI ends behind it.
put_string:
    pushw %ax
1:  lodsb
    testb %al, %al
    jz 2f
    call put_char
    jmp 1b
2:  popw %ax
    ret

put_hex32:                      # EAX
    pushl %eax
    shrl $16, %eax
    call put_hex16
    popl %eax
put_hex16:                      # AX
    pushw %ax
    movb %ah, %al
    call put_hex8
    popw %ax
put_hex8:                       # AL
    pushw %ax
    shrb $4, %al
    call put_digit
    popw %ax
put_digit:
    pushw %ax
    andb $0x0f, %al
    cmpb $10, %al
    jb 1f
    addb $7, %al                # to the letters
1:  addb $0x30, %al
    call put_char
    popw %ax
    ret

# Appends EAX as a decimal number.
put_decimal:
    pushal
    movl $10, %ebx
    xorw %cx, %cx
1:  xorl %edx, %edx
    divl %ebx
    pushw %dx
    incw %cx
    testl %eax, %eax
    jnz 1b
2:  popw %ax
    call put_digit
    decw %cx
    jnz 2b
    popal
    ret

# ---- showing it ---------------------------------------------------------------------------------------------------

# Shows the line with status AL on its screen row and sends it.
report:
    pushal
    pushw %es
    movzbw %al, %bp
    pushw %ds
    popw %es
    movw row, %ax
    movw $(COLUMNS * 2), %cx
    mulw %cx
    addw $shadow, %ax
    movw %ax, %di
    movw $COLUMNS, %cx
    cmpb $0, half
    je 6f
    shrw $1, %cx
    cmpb $1, half
    je 6f
    addw $COLUMNS, %di
6:  pushw %di
    movw $0x0720, %ax
    rep stosw
    popw %di
    addw $2, %di
    movw $0x0800 + '[', %ax
    call cell
    movw %bp, %si
    shlw $2, %si
    addw $status_texts, %si
    movw $4, %cx
    movb status_colors(%bp), %ah
1:  lodsb
    call cell
    decw %cx
    jnz 1b
    movw $0x0800 + ']', %ax
    call cell
    addw $2, %di
    movw test_name, %si
    movw $NAME_LENGTH, %cx
    cmpb $0, half
    je 7f
    movw $HALF_NAME_LENGTH, %cx
7:  movb $0x0f, %ah
2:  lodsb
    testb %al, %al
    jz 3f
    call cell
    decw %cx
    jmp 2b
3:  addw %cx, %di
    addw %cx, %di
    addw $2, %di
    movw $line_buffer, %si
    movw line_length, %cx
    cmpb $0, half
    je 8f
    cmpw $HALF_DETAIL_LENGTH, %cx
    jbe 8f
    movw $HALF_DETAIL_LENGTH, %cx
8:  movb detail_colors(%bp), %ah
4:  jcxz 5f
    lodsb
    stosw
    decw %cx
    jmp 4b
5:  movw row, %ax
    call screen_row
    call serial_line
    popw %es
    popal
    ret

# One cell of the shadow screen: AL character, AH attribute.
cell:
    stosw
    ret

# Copies screen row AX from the shadow, if the screen is in text mode.
screen_row:
    cmpb $0, text_on
    je 1f
    pushw %es
    pushw %cx
    movw $(COLUMNS * 2), %cx
    mulw %cx
    movw %ax, %di
    leaw shadow(%di), %si
    movw $0xb800, %cx
    movw %cx, %es
    movw $COLUMNS, %cx
    rep movsw
    popw %cx
    popw %es
1:  ret

# Sends the line with status BP.
serial_line:
    movb $'[', %al
    call serial_char
    movw %bp, %si
    shlw $2, %si
    addw $status_texts, %si
    movw $4, %cx
1:  lodsb
    call serial_char
    loop 1b
    movb $']', %al
    call serial_char
    movb $0x20, %al
    call serial_char
    movw test_name, %si
    movw $(NAME_LENGTH + 1), %cx
2:  lodsb
    testb %al, %al
    jz 3f
    call serial_char
    decw %cx
    jmp 2b
3:  cmpw $0, line_length
    je 6f
4:  movb $0x20, %al
    call serial_char
    loop 4b
    movw $line_buffer, %si
    movw line_length, %cx
5:  lodsb
    call serial_char
    loop 5b
6:  movb $13, %al
    call serial_char
    movb $10, %al

serial_char:
    pushal
    movb %al, %bl
    movw $2000, %cx
    movw $COM1 + 5, %dx
1:  inb %dx, %al
    testb $0x20, %al
    jnz 2f
    decw %cx
    jnz 1b
2:  movb %bl, %al
    movw $COM1, %dx
    outb %al, %dx
    popal
    ret

serial_string:                  # at SI
    lodsb
    testb %al, %al
    jz 1f
    call serial_char
    jmp serial_string
1:  ret

# 115200 bits a second, 8 data bits, FIFO on.
serial_open:
    OUT COM1 + 1, 0
    OUT COM1 + 3, 0x80
    OUT COM1 + 0, 1
    OUT COM1 + 1, 0
    OUT COM1 + 3, 3
    OUT COM1 + 2, 7
    OUT COM1 + 4, 3
    movw $serial_greeting, %si
    jmp serial_string

# ---- the screen around the lines ----------------------------------------------------------------------------------

# Text mode without a cursor.
screen_open:
    movw $0x0003, %ax
    int $0x10
    movw $0x2000, %cx
    movb $0x01, %ah
    int $0x10
    cli
    movb $1, text_on
    ret

# The whole shadow.
screen_refresh:
    xorw %cx, %cx
1:  movw %cx, %ax
    call screen_row
    incw %cx
    cmpw $LAST_ROW, %cx
    jbe 1b
    ret

# Writes the string at SI in attribute AH to row BL from column BH on.
screen_string:
    pushw %ax
    movzbw %bl, %ax
    movw $(COLUMNS * 2), %cx
    mulw %cx
    movzbw %bh, %di
    addw %di, %di
    addw %ax, %di
    addw $shadow, %di
    popw %ax
1:  lodsb
    testb %al, %al
    jz 2f
    stosw
    jmp 1b
2:  ret

# Fills row BL with attribute AH.
screen_bar:
    pushw %ax
    movzbw %bl, %ax
    movw $(COLUMNS * 2), %cx
    mulw %cx
    addw $shadow, %ax
    movw %ax, %di
    popw %ax
    movb $0x20, %al
    movw $COLUMNS, %cx
    rep stosw
    ret

screen_frame:
    movw $shadow, %di
    movw $0x0720, %ax
    movw $(COLUMNS * (LAST_ROW + 1)), %cx
    rep stosw
    movb $0x1f, %ah
    movb $0, %bl
    call screen_bar
    movw $title, %si
    movw $0x0100, %bx
    call screen_string
    movb $0x1b, %ah
    movw $subtitle, %si
    movw $((COLUMNS - SUBTITLE_LENGTH - 1) << 8), %bx
    call screen_string
    movb $0x08, %ah
    movw $absent, %si
    movw $(1 << 8 | 23), %bx
    call screen_string
    movb $0x70, %ah
    movb $LAST_ROW, %bl
    call screen_bar
    movb $0x70, %ah
    movw $testing, %si
    movw $(1 << 8 | LAST_ROW), %bx
    call screen_string
    jmp screen_refresh

# The last row and the last line: how many passed, how many failed.
screen_verdict:
    movw $0, line_length
    movzwl passed, %eax
    call put_decimal
    PUT " devices passed, "
    movzwl failed, %eax
    call put_decimal
    PUT " failed, "
    movl $ABSENT, %eax
    call put_decimal
    PUT " not in this build"
    movw line_length, %bx
    movb $0, line_buffer(%bx)
    movw $serial_verdict, %si
    call serial_string
    movw $line_buffer, %si
    call serial_string
    movb $13, %al
    call serial_char
    movb $10, %al
    call serial_char
    movb $0x2f, %ah
    cmpw $0, failed
    je 1f
    movb $0x4f, %ah
1:  pushw %ax
    movb $LAST_ROW, %bl
    call screen_bar
    popw %ax
    movw $line_buffer, %si
    movw $(1 << 8 | LAST_ROW), %bx
    call screen_string
    movw $LAST_ROW, %ax
    jmp screen_row

VAR title
    .asciz "SLOT ONE   the PC that Microsoft Virtual Server 2005 emulated"
VAR subtitle
    .asciz "demonstration"
.set SUBTITLE_LENGTH, . - slotone_demo_begin - subtitle - 1
VAR absent                      # not in this build
    .asciz "[ -- ] floppy, parallel port, PS/2 mouse, SMBus memories, S3 engine, KVM CPU"
VAR testing
    .asciz "working every device ..."
VAR serial_greeting
    .asciz "Slot One demonstration: working every device\r\n"
VAR serial_verdict
    .asciz "Slot One demonstration: "
