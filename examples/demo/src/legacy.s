# What the PIIX4 inherited: interrupt controllers, timer, DMA controllers, clock.

# ---- 8259 pair ----------------------------------------------------------------------------------------------------

test_pic:
    movb $0x5a, %al             # masks
    outb %al, $0x21
    movb $0xc3, %al
    outb %al, $0xa1
    inb $0x21, %al
    movb %al, %ah
    inb $0xa1, %al
    cmpw $0x5ac3, %ax
    FAIL_IF ne, "the mask registers do not keep a mask"
    movw $0x4d0, %dx            # edge or level
    movb $0xb8, %cl
    call pic_level
    FAIL_IF ne, "the first edge/level register"
    incw %dx
    movb $0x5a, %cl
    call pic_level
    FAIL_IF ne, "the second edge/level register"
    movb $0x0b, %al             # nothing is in service
    outb %al, $0x20
    outb %al, $0xa0
    inb $0xa0, %al
    movb %al, %ah
    inb $0x20, %al
    testw %ax, %ax
    FAIL_IF nz, "an interrupt is in service for ever"
    ADDRESS irq_spurious, %dx
    movb $0x0f, %al
    call hook
    ADDRESS irq_spurious_slave, %dx
    movb $0x77, %al
    call hook
    movw $0, spurious

    cmpb $0, alive_pit
    je 3f
    ADDRESS irq_master, %dx     # IRQ 0 a thousand times a second
    movb $0x08, %al
    call hook
    movb $5, saved_byte
1:  movw $1193, %cx
    call pit_program
    movb $0, %al
    call only_irq
    movl $30000, %ebp
    call count_irqs
    call pit_restore
    movzwl irq_count, %eax
    movl $29, %ebx
    call near_count
    jnc 2f
    decb saved_byte
    jnz 1b
    FAIL "interrupts in 30 ms of a 1 kHz timer"
2:  PUT "IRQ 0 counted, "
3:  cmpb $0, alive_rtc
    je 4f
    call rtc_irqs               # through the second controller
    FAIL_IF c, "interrupts in 50 ms of a 1024 Hz clock"
    PUT "IRQ 8 through the cascade, "
4:  movzwl spurious, %eax
    testw %ax, %ax
    FAIL_IF nz, "spurious interrupts"
    PUT "none spurious"
    ret

# Writes CL to the register at DX, and what was there again. Zero: it kept it.
pic_level:
    inb %dx, %al
    movb %al, %ch
    movb %cl, %al
    outb %al, %dx
    inb %dx, %al
    xchgb %al, %ch
    outb %al, %dx
    movzbl %ch, %eax
    cmpb %cl, %al
    ret

# Lets interrupts in for EBP microseconds.
count_irqs:
    movl $1000000000, %eax
    call start_timer
    call clock_reset
    sti
1:  call clock
    cmpl %ebp, %eax
    jae 2f
    call timer
    js 1b
2:  cli
    ret

# Carry: EAX is more than 2 away from EBX.
near_count:
    subl %ebx, %eax
    addl $2, %eax
    cmpl $5, %eax
    cmc
    leal -2(%eax, %ebx), %eax
    ret

# ---- 8254 ---------------------------------------------------------------------------------------------------------

test_pit:
    movw $0, %cx
    call pit_program            # mode 2, 65536
    movb $0xe2, %al             # read back the status of counter 0
    outb %al, $0x43
    inb $0x40, %al
    andb $0x3f, %al
    cmpb $0x34, %al
    FAIL_IF ne, "the timer does not tell its mode"

    movb $5, saved_byte
1:  call pit_rate               # against the other clock
    movl $23864, %ebx           # 20 ms of 1.193182 MHz
    call near
    jnc 2f
    decb saved_byte
    jnz 1b
    FAIL "clocks of counter 0 in 20 ms"
2:  call pit_restore

    movb $5, saved_byte
3:  call speaker_time
    movl $10000, %ebx
    call near
    jnc 4f
    decb saved_byte
    jnz 3b
    FAIL "microseconds that counter 2 took for 10 ms"
4:  PUT "1.193 MHz, counter 2 on port 61h"
    cmpb $0, alive_pic
    je 6f
    ADDRESS irq_master, %dx
    movb $0x08, %al
    call hook
    movw $11932, %cx
    call pit_program
    movb $0, %al
    call only_irq
    movl $50000000, %eax
    call await_irq
    pushfw
    call pit_restore
    popfw
    FAIL_IF z, "no IRQ 0"
    PUT ", IRQ 0"
6:  ret

# EAX <- clocks of counter 0 while the measuring clock counts 20 ms.
pit_rate:
    movl $1000000000, %eax
    call start_timer
    call pit_latch
    movw %ax, %bx
    call clock_reset
1:  call clock
    cmpl $20000, %eax
    jae 2f
    call timer
    js 1b
2:  movl %eax, %ecx
    testl %eax, %eax
    jz 3f                       # the other clock stands still
    call pit_latch
    subw %ax, %bx
    movzwl %bx, %eax
    movl $20000, %ebx           # as much as in 20 ms exactly
    mull %ebx
    divl %ecx
3:  ret

# EAX <- microseconds until the output of counter 2 rises, in mode 0 with 11932.
speaker_time:
    inb $NMISC, %al
    movb %al, %cl
    andb $0x0c, %al
    orb $0x01, %al              # gate on, speaker off
    outb %al, $NMISC
    movb $0xb0, %al
    outb %al, $0x43
    movl $100000000, %eax
    call start_timer
    movb $0x9c, %al
    outb %al, $0x42
    call clock_reset
    movb $0x2e, %al
    outb %al, $0x42
    inb $NMISC, %al
    testb $0x20, %al
    jnz 3f                      # it never was low
1:  inb $NMISC, %al
    testb $0x20, %al
    jnz 2f
    call timer
    js 1b
2:  call clock
    jmp 4f
3:  xorl %eax, %eax
4:  pushl %eax
    movb %cl, %al
    andb $0x0f, %al
    outb %al, $NMISC
    popl %eax
    ret

# ---- 8237 pair ----------------------------------------------------------------------------------------------------

VAR dma_channels                # address registers of channels 0, 1, 3, 5, 6 and 7
    .byte 0x00, 0x02, 0x06, 0xc4, 0xc8, 0xcc
.set DMA_CHANNELS, 6
VAR dma_pages
    .byte 0x87, 0x83, 0x82, 0x8b, 0x89, 0x8a, 0x8f
.set DMA_PAGES, 7

test_dma:
    movw $dma_channels, %si
    movw $DMA_CHANNELS, %cx
    movw $0x1357, %bp
1:  lodsb
    movzbw %al, %dx
    call dma_register           # the address
    FAIL_IF ne, "an address register"
    incw %dx
    cmpb $0xc0, %dl
    jb 2f
    incw %dx                    # the second controller's are two apart
2:  call dma_register           # the count
    FAIL_IF ne, "a count register"
    addw $0x1111, %bp
    loop 1b

    movw $dma_pages, %si
    movw $DMA_PAGES, %cx
3:  lodsb
    movzbw %al, %dx
    inb %dx, %al
    movb %al, %ah
    movb $0xa6, %al
    outb %al, %dx
    inb %dx, %al
    xchgb %al, %ah
    outb %al, %dx
    movb %ah, %al
    cmpb $0xa6, %al
    FAIL_IF ne, "a page register"
    loop 3b
    inb $0x08, %al              # reading the status clears the terminal counts
    inb $0x08, %al
    testb $0x0f, %al
    FAIL_IF nz, "terminal counts stay"
    PUT "addresses, counts, pages (nobody to transfer for yet)"
    ret

# Writes BP to the 16-bit register DX, low byte first, and reads it back. Zero: it is there.
dma_register:
    outb %al, $0x0c             # byte pointers of both controllers, whichever it is
    outb %al, $0xd8
    movw %bp, %ax
    outb %al, %dx
    movb %ah, %al
    outb %al, %dx
    inb %dx, %al
    movb %al, %ah
    inb %dx, %al
    xchgb %al, %ah
    cmpw %bp, %ax
    ret

# ---- real-time clock ----------------------------------------------------------------------------------------------

.set RTC_A, 0x0a
.set RTC_B, 0x0b
.set RTC_C, 0x0c

test_rtc:
    movb $0x0d, %al
    call cmos_read
    cmpb $0x80, %al
    FAIL_IF ne, "register D"
    movw $0x10, %cx             # the sum of 10h to 2Dh
    xorw %bx, %bx
1:  movb %cl, %al
    call cmos_read
    movzbw %al, %ax
    addw %ax, %bx
    incw %cx
    cmpw $0x2e, %cx
    jb 1b
    movb $0x2e, %al
    call cmos_read
    movb %al, %ah
    movb $0x2f, %al
    call cmos_read
    cmpw %bx, %ax
    FAIL_IF ne, "the checksum of the CMOS memory"

    movw $0x7f, %ax             # memory keeps a byte
    call cmos_read
    movb %al, %bl
    movw $0x967f, %ax
    call cmos_write
    movb $0x7f, %al
    call cmos_read
    movb %al, %bh
    movb $0x7f, %al
    movb %bl, %ah
    call cmos_write
    cmpb $0x96, %bh
    FAIL_IF ne, "the CMOS memory does not keep a byte"

    call rtc_irqs
    FAIL_IF c, "periodic events in 50 ms at 1024 Hz"

    # Date and time: two digits each, in range.
    movb $RTC_B, %al
    call cmos_read
    testb $0x04, %al
    FAIL_IF nz, "the clock does not count in BCD"
    movl $1000000000, %eax
    call start_timer
2:  movb $RTC_A, %al            # not while it changes
    call cmos_read
    testb $0x80, %al
    jz 3f
    call timer
    js 2b
    FAIL "an update never ends"
3:  movw $0x3219, %bx           # century
    movb $0x20, %cl
    call date_part
    movw $0x0900, %bx
    movb $0x99, %cl
    call date_part
    PUT "-"
    movw $0x0801, %bx
    movb $0x12, %cl
    call date_part
    PUT "-"
    movw $0x0701, %bx
    movb $0x31, %cl
    call date_part
    PUT " "
    movw $0x0400, %bx
    movb $0x23, %cl
    call date_part
    PUT ":"
    movw $0x0200, %bx
    movb $0x59, %cl
    call date_part
    PUT ", 1024 Hz, CMOS checksum"
    ret

# Appends clock register BH, which must be BCD from BL to CL.
date_part:
    movb %bh, %al
    call cmos_read
    call put_hex8
    cmpb %bl, %al
    FAIL_IF b, "date or time"
    cmpb %cl, %al
    FAIL_IF a, "date or time"
    andb $0x0f, %al
    cmpb $9, %al
    FAIL_IF a, "date or time"
    ret

# Counts the periodic event for 50 ms at 1024 Hz: IRQ 8, or register C if there is no interrupt controller. Carry: EAX is not 51.
rtc_irqs:
    movb $5, saved_byte
    ADDRESS irq_rtc, %dx
    movb $0x70, %al
    call hook
1:  movb $RTC_A, %al
    movb $0x26, %ah
    call cmos_write
    movb $RTC_C, %al
    call cmos_read
    cmpb $0, alive_pic
    je 2f
    movb $8, %al
    call only_irq
    call rtc_enable
    movl $50000, %ebp
    call count_irqs
    call rtc_disable
    jmp 5f
2:  movw $0, irq_count
    movl $1000000000, %eax
    call start_timer
    call clock_reset
3:  movb $RTC_C, %al
    call cmos_read
    testb $0x40, %al
    jz 4f
    incw irq_count
4:  call clock
    cmpl $50000, %eax
    jae 5f
    call timer
    js 3b
5:  movzwl irq_count, %eax
    movl $51, %ebx
    call near_count
    jnc 6f
    decb saved_byte
    jnz 1b
    stc
6:  ret

rtc_enable:                     # PIE
    movb $RTC_B, %al
    call cmos_read
    orb $0x40, %al
    jmp 1f
rtc_disable:
    movb $RTC_B, %al
    call cmos_read
    andb $0xbf, %al
1:  movb %al, %ah
    movb $RTC_B, %al
    call cmos_write
    movb $RTC_C, %al
    jmp cmos_read

irq_rtc:                        # register C must be read before the next one comes
    pushw %ax
    incw %cs:irq_count
    movb $RTC_C + 0x80, %al
    outb %al, $0x70
    inb $0x71, %al
    popw %ax
    jmp eoi_slave
