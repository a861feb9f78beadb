#![no_main]
slotone_fuzz::script_target!(chipset_isa_bridge);
