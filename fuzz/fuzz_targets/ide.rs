#![no_main]
slotone_fuzz::script_target!(ide);
