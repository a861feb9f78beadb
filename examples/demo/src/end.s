.balign CHUNK * 512, 0
.globl slotone_demo_end
slotone_demo_end:
.code64
.popsection
