//! Adaptec AIC-7870 PCI SCSI host adapter with its sequencer.
#![forbid(unsafe_code)]
