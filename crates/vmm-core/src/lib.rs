//! Composes the Slot One machine: builder, memory map, run loop, save and restore.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

