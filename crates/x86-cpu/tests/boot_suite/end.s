# The end of the body.
	.balign	512, 0
body_end:
.globl slotone_boot_suite_end
slotone_boot_suite_end:
.set BODY_SECTORS, (body_end - S) / 512
.code64
.popsection
