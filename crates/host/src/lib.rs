//! Host I/O of a machine: event thread, terminal, serial back ends.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]

