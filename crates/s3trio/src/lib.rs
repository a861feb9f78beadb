//! S3 Trio32/64 PCI graphics: VGA core, S3 extensions and a renderer.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

