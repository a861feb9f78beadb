# The boot sector: loads the body to 1000:0000 and goes there.
#
# Labels are named by differences only, so that nothing needs a relocation: `x-Z` is the linear address of x, `x-S` its offset in
# segment 1000h. The section begins with what would lie below the body.

.pushsection .rodata.boot_suite, "a", @progbits
.code16
Z:
.org Z + 0x10000 - 512
.globl slotone_boot_suite
slotone_boot_suite:
boot:
	cli
	cld
	xorw	%ax, %ax
	movw	%ax, %ds
	movw	%ax, %es
	movw	%ax, %ss
	movw	$0x7C00, %sp
	ljmp	$0, $boot_1-boot+0x7C00
boot_1:
	movb	%dl, boot_drive-boot+0x7C00
	movw	$BODY_SECTORS/32 + 1, %cx
boot_2:
	pushw	%cx
	movw	$packet-boot+0x7C00, %si
	movb	boot_drive-boot+0x7C00, %dl
	movb	$0x42, %ah
	int	$0x13
	popw	%cx
	jc	boot_3
	addw	$32, packet_lba-boot+0x7C00
	addw	$32*32, packet_segment-boot+0x7C00
	loop	boot_2
	cli
	ljmp	$0x1000, $0
boot_3:
	hlt
	jmp	boot_3
boot_drive:
	.byte	0
	.balign	4, 0
packet:
	.byte	16, 0
	.word	32, 0
packet_segment:
	.word	0x1000
packet_lba:
	.long	1, 0
.org boot + 510
	.byte	0x55, 0xAA
