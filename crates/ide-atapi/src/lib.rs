//! ATA disks, ATAPI drives and the PIIX4 IDE function with bus-master DMA.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

