//! A machine's frame and its input as PNG and terminal.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

