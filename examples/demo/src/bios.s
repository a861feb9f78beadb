# The BIOS: the services and tables that boot loaders and operating systems ask for first.

test_bios:
    int $0x12
    cmpw $600, %ax
    FAIL_IF b, "int 12h: base memory"
    cmpw $640, %ax
    FAIL_IF a, "int 12h: base memory"
    int $0x11
    testb $0x02, %al
    FAIL_IF z, "int 11h: no x87"
    cmpb $0, alive_rtc
    je 1f
    movb $0x02, %ah             # int 1Ah: a time in BCD
    int $0x1a
    cli
    cmpb $0x23, %ch
    FAIL_IF a, "int 1Ah: the hour"
1:  movw $0xb101, %ax
    xorl %edi, %edi
    int $0x1a
    cli
    pushw %cs
    popw %es
    FAIL_IF c, "int 1Ah: no PCI BIOS"
    cmpl $0x20494350, %edx
    FAIL_IF ne, "int 1Ah: no PCI BIOS"
    movw smap_entries, %ax
    cmpw $4, %ax
    FAIL_IF b, "int 15h: a poor memory map"
    PUT "PCI"

    # Tables in the last 128 KB of the first megabyte, on 16-byte boundaries.
    movw $signature_rsdp, %si
    movw $8, %dx
    movw $20, %bp
    call find_table
    FAIL_IF c, "no ACPI tables"
    PUT ", ACPI"
    movw $signature_pir, %si
    movw $4, %dx
    movw $32, %bp
    call find_table
    FAIL_IF c, "no interrupt routing table"
    PUT ", $PIR, "

    movw $0x1a, scratch         # int 13h: size of the boot disk
    movb $0x48, %ah
    movb $0x80, %dl
    movw $scratch, %si
    int $0x13
    cli
    FAIL_IF c, "int 13h: no extensions"
    movl scratch + 16, %eax
    shrl $11, %eax
    call put_decimal
    PUT " MB boot disk, "
    movzwl smap_entries, %eax
    call put_decimal
    PUT " ranges of memory"
    ret

VAR signature_rsdp
    .ascii "RSD PTR "
VAR signature_pir
    .ascii "$PIR"

# Looks from E0000h on for the DX bytes at SI, at the start of a table of at least BP bytes whose bytes add up to nothing. The
# interrupt routing table has its length in word 6. Carry: not there.
find_table:
    movw $0xe000, %bx
1:  movw %bx, %es
    xorw %di, %di
    pushw %si
    movw %dx, %cx
    repe cmpsb
    popw %si
    jne 4f
    movw %bp, %cx
    cmpw $32, %bp
    jne 2f
    movw %es:6, %cx
2:  xorw %di, %di
    xorb %al, %al
3:  addb %es:(%di), %al
    incw %di
    loop 3b
    testb %al, %al
    jz 5f
4:  incw %bx
    jnz 1b                      # F000h:FFF0h is the last
    stc
5:  pushw %cs
    popw %es
    ret
