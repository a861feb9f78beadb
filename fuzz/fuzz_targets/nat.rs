#![no_main]
slotone_fuzz::bytes_target!(nat);
