#![no_main]
slotone_fuzz::script_target!(chipset_host_bridge);
