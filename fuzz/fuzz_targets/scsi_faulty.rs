#![no_main]
slotone_fuzz::bytes_target!(scsi_faulty);
