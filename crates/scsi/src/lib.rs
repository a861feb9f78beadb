//! SCSI targets (CD-ROM, later disks) as adapters and ATAPI packets need them.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

