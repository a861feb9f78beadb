//! PCI for device models: configuration space, BARs, CF8/CFC, INTx swizzle.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

