# All 16-bit code lies before this: .org does not go back. Who gets beyond the limit of 64 KiB with CS = 1000h says so.
.org S + 0x10000
landing:
	int	$0x41
.code32
