#![no_main]
slotone_fuzz::bytes_target!(aic7870_sequencer);
