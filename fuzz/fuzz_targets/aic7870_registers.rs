#![no_main]
slotone_fuzz::script_target!(aic7870_registers);
