#![no_main]
slotone_fuzz::script_target!(s3trio);
