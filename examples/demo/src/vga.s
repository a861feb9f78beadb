# S3 Trio64: its identity, four megabytes of video memory seen two ways, a picture in mode 13h, the beam.

.set CRTC, 0x3d4
.set INPUT_STATUS, 0x3da
.set SEGMENT_VGA, 0xa000
.set VRAM_FACTOR, 0x9e3779b1    # the doubleword at each 4 KB of video memory: its address times this
.set VRAM, 0x400000
.set PICTURE_WIDTH, 320
.set PICTURE_HEIGHT, 200

test_vga:
    movl $0x88115333, %eax
    call pci_find
    movl $0x88115333, %eax
    FAIL_IF c, "no such PCI function"
    movb $0x10, %bl
    call pci_read
    andl $0xff800000, %eax
    FAIL_IF z, "the BIOS gave the frame buffer no address"
    movl %eax, lfb
    movw $0x4838, %ax           # unlock S3's registers
    call crtc_write
    movw $0xa539, %ax
    call crtc_write
    movb $0x2d, %al
    call crtc_read
    movb %al, %bh
    movb $0x2e, %al
    call crtc_read
    movb %al, %bl
    movw %bx, %ax
    cmpw $0x8811, %ax
    FAIL_IF ne, "chip number in CR2D and CR2E"
    movb $0x30, %al
    call crtc_read
    cmpb $0xe1, %al
    FAIL_IF ne, "chip number in CR30"
    movb $0x36, %al
    call crtc_read
    testb $0xe0, %al
    FAIL_IF nz, "not 4 MB by CR36"
    movb $0x59, %al             # the same register as the base address
    call crtc_read
    cmpb lfb + 3, %al
    FAIL_IF ne, "CR59 is not the base address"
    movb $5, saved_byte
1:  call frame_time
    movl $14268, %ebx           # 449 lines of 900 dots of 28.322 MHz
    call near
    jnc 2f
    decb saved_byte
    jnz 1b
    FAIL "microseconds of a frame"
2:  PUT "S3 Trio64, "

    movb $0, text_on
    movw $0x0013, %ax
    int $0x10
    cli
    pushw %cs
    popw %es
    call vga_memory
    PUT "4 MB linear and in banks, mode 13h, 70 Hz"
    call vga_picture
    movl $400000000, %eax
    call hold
    call vga_picture_check
    ret                         # back to text: tidy

crtc_read:                      # AL <- CRTC register AL
    movw $CRTC, %dx
    outb %al, %dx
    incw %dx
    xorl %eax, %eax
    inb %dx, %al
    ret

crtc_write:                     # CRTC register AL <- AH
    movw $CRTC, %dx
    outw %ax, %dx
    ret

# EAX <- microseconds between two vertical retraces.
frame_time:
    movl $200000000, %eax
    call start_timer
    call retrace
    jc 1f
    call clock_reset
    call retrace
    jc 1f
    jmp clock
1:  xorl %eax, %eax
    ret

# Waits for the beginning of a vertical retrace. Carry: there is none.
retrace:
    movw $INPUT_STATUS, %dx
1:  call timer
    jns 3f
    inb %dx, %al
    testb $0x08, %al
    jnz 1b
2:  call timer
    jns 3f
    inb %dx, %al
    testb $0x08, %al
    jz 2b
    clc
    ret
3:  stc
    ret

# All of video memory through the linear frame buffer, then the same through the 64 KB window.
vga_memory:
    movb $0x58, %al
    call crtc_read
    orb $0x13, %al              # 4 MB, on
    movb %al, %ah
    movb $0x58, %al
    call crtc_write
    ADDRESS vga_linear, %bx
    call call32
    movb $0x31, %al
    call crtc_read
    movb %al, saved_byte
    orb $0x09, %al              # banks, linear addresses
    movb %al, %ah
    movb $0x31, %al
    call crtc_write
    pushw $SEGMENT_VGA
    popw %es
    movw $1, %bp                # bank 0 has two names; 1 to 63 do
1:  movw %bp, %ax
    movb %al, %ah
    movb $0x6a, %al
    call crtc_write
    xorw %di, %di
2:  movzwl %bp, %eax
    shll $16, %eax
    movw %di, %ax
    imull $VRAM_FACTOR, %eax, %ecx
    movl %es:(%di), %eax
    cmpl %ecx, %eax
    FAIL_IF ne, "a bank is not the same as the linear frame buffer"
    addw $0x1000, %di
    jnz 2b
    incw %bp
    cmpw $64, %bp
    jne 1b
    pushw %cs
    popw %es
    movw $0x006a, %ax
    call crtc_write
    movb saved_byte, %ah
    movb $0x31, %al
    jmp crtc_write

.code32
vga_linear:
    movl lfb, %esi
    xorl %edi, %edi
1:  imull $VRAM_FACTOR, %edi, %eax
    movl %eax, %fs:(%esi, %edi)
    addl $0x1000, %edi
    cmpl $VRAM, %edi
    jne 1b
    movl $0, %fs:(%esi, %edi)   # behind the memory: nobody
2:  subl $0x1000, %edi
    imull $VRAM_FACTOR, %edi, %ecx
    movl %fs:(%esi, %edi), %eax
    cmpl %ecx, %eax
    FAIL32_IF ne, "video memory lost its pattern"
    testl %edi, %edi
    jnz 2b
    ret
.code16

# Rings in 256 colours.
vga_picture:
    xorw %bx, %bx               # colours: three waves, a third of the circle apart
    movw $0x3c8, %dx
    movb $0, %al
    outb %al, %dx
    incw %dx
1:  movb %bl, %al
    call wave
    outb %al, %dx
    movb %bl, %al
    addb $85, %al
    call wave
    outb %al, %dx
    movb %bl, %al
    addb $170, %al
    call wave
    outb %al, %dx
    incb %bl
    jnz 1b
    ADDRESS store_pixel, %bx
    jmp each_pixel

vga_picture_check:
    movw $0x3c7, %dx            # the colours
    movb $0, %al
    outb %al, %dx
    movw $0x3c9, %dx
    xorw %bx, %bx
1:  movb %bl, %al
    call wave
    call compare_color
    movb %bl, %al
    addb $85, %al
    call wave
    call compare_color
    movb %bl, %al
    addb $170, %al
    call wave
    call compare_color
    incb %bl
    jnz 1b
    ADDRESS compare_pixel, %bx

# Calls BX for each pixel, with its colour in AL and ES:DI at its place.
each_pixel:
    pushw $SEGMENT_VGA
    popw %es
    xorw %di, %di
    movw $(-PICTURE_HEIGHT / 2), %bp
1:  movw $(-PICTURE_WIDTH / 2), %si
2:  movw %si, %ax
    imulw %ax, %ax
    movw %bp, %cx
    imulw %cx, %cx
    addw %cx, %ax
    shrw $5, %ax
    call *%bx
    incw %si
    cmpw $(PICTURE_WIDTH / 2), %si
    jne 2b
    incw %bp
    cmpw $(PICTURE_HEIGHT / 2), %bp
    jne 1b
    pushw %cs
    popw %es
    ret

store_pixel:
    stosb
    ret

compare_pixel:
    scasb
    FAIL_IF ne, "a pixel of mode 13h changed"
    ret

wave:                           # AL <- 0 to 63 and back as AL goes round
    testb $0x80, %al
    jz 1f
    notb %al
1:  shrb $1, %al
    ret

compare_color:                  # AL with the next gun of the palette
    movb %al, %ah
    inb %dx, %al
    cmpb %ah, %al
    FAIL_IF ne, "the palette changed"
    ret

# Back to the text screen, from anywhere.
vga_text:
    movw $0x006a, %ax
    call crtc_write
    movb $0x58, %al
    call crtc_read
    andb $0xef, %al
    movb %al, %ah
    movb $0x58, %al
    call crtc_write
    movw $0x0038, %ax
    call crtc_write
    movw $0x0039, %ax
    call crtc_write
    pushw %cs
    popw %es
    call screen_open
    jmp screen_refresh
