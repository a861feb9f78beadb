# Macros and fixed addresses of the demonstration's boot disk. README.md tells how the files hang together.

.pushsection .rodata.slotone_demo, "a"
.code16
.globl slotone_demo_begin
slotone_demo_begin:

# Every address in the program is a distance from its first byte: the program runs in one segment, in real mode as in
# protected mode, so that nothing needs relocation wherever an assembler's linker puts these bytes.
.macro VAR name                 # names the place here, as a number
.set \name, . - slotone_demo_begin
.endm

.macro ADDRESS label, register  # register <- address of code
    movw $(\label - slotone_demo_begin), \register
.endm

.macro PUT text                 # appends to the line of the device under test
    call put_inline
    .asciz "\text"
.endm

.macro FAIL text                # ends the test of this device; EAX is shown behind the text
    call test_failed
    .asciz "\text"
.endm

.macro FAIL_IF condition, text
    j\condition .Lfail\@
    jmp .Lpass\@
.Lfail\@:
    FAIL "\text"
.Lpass\@:
.endm

.macro FAIL32_IF condition, text    # the same in 32-bit code
    j\condition .Lfail\@
    jmp .Lpass\@
.Lfail\@:
    movl $(.Ltext\@ - slotone_demo_begin), %edx
    jmp pm_failed
.Ltext\@:
    .asciz "\text"
.Lpass\@:
.endm

.macro OUT port, value
.if \port > 0xff
    movw $\port, %dx
    movb $\value, %al
    outb %al, %dx
.else
    movb $\value, %al
    outb %al, $\port
.endif
.endm

# ---- memory -------------------------------------------------------------------------------------------------------

.set PROGRAM, 0x1000            # segment of the program, its variables and its stack
.set BASE, 0x10000              # the same as an address
.set STACK_TOP, 0xfff0
.set PRD_TABLE, 0x20000         # bus master descriptors
.set BUFFER_A, 0x30000          # two buffers of 64 KB
.set BUFFER_B, 0x40000
.set SEGMENT_A, 0x3000
.set SEGMENT_B, 0x4000
.set PAGE_DIRECTORY, 0x60000
.set PAGE_TABLE, 0x61000
.set PAGE_ONE, 0x62000
.set PAGE_TWO, 0x63000
.set IDT32, 0x64000

# ---- variables: after the program, so that its image stays what is on the disk ------------------------------------

.set bss_at, 0xc000
.macro BSS name, size
.set \name, bss_at
.set bss_at, bss_at + \size
.endm

BSS shadow, 4000                # the text screen
BSS line_buffer, 64             # what the test has to say
BSS line_length, 2
BSS row, 2                      # screen row of the device under test,
BSS half, 1                     # and whether all of it
BSS test_name, 2
BSS test_stack, 2
BSS fail_value, 4
BSS passed, 2
BSS failed, 2
BSS text_on, 1                  # the screen is in text mode

BSS has_cpuid, 1
BSS cpu_features, 4             # EDX of CPUID 1
BSS cpu_signature, 4            # EAX of CPUID 1
BSS alive_pic, 1                # answers, as far as others need it
BSS alive_pit, 1
BSS alive_rtc, 1
BSS alive_pm, 1
BSS pm_devfn, 2                 # shifted by 8
BSS pm_base, 2
BSS ide_devfn, 2
BSS bm_base, 2

BSS deadline, 4
BSS fake_time, 4
BSS clock_start, 4
BSS masks, 2                    # of the interrupt controllers, as the BIOS left them
BSS hooks, 2                    # vectors taken over, and what they were
BSS hook_list, 64
BSS irq_count, 2
BSS irq_data, 2                 # what the handler read
BSS spurious, 2

BSS pm_stack, 4
BSS exception_vector, 4
BSS exception_error, 4
BSS exception_eip, 4
BSS exception_resume, 4
BSS memory_end, 4               # end of the memory at 1 MB
BSS smap_entries, 2

BSS unit_port, 2                # IDE drive under test: command block,
BSS unit_select, 1              # Device register,
BSS unit_irq, 1
BSS unit_bm, 2                  # bus master registers
BSS uart_port, 2
BSS uart_irq, 1
BSS kbc_command, 1
BSS saved_byte, 4
BSS lfb, 4
BSS scratch, 64
BSS sector, 2048                # one sector of any drive
.set bss_end, bss_at
