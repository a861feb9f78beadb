//! The contract between disk controllers and disk media, with raw files, host block devices and fault layers.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

