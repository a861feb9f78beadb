#![no_main]
slotone_fuzz::script_target!(superio_kbc);
