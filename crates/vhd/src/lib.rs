//! Virtual hard disks (VHD): fixed, dynamic, differencing, linked and undo disks; read, write, check, convert.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

