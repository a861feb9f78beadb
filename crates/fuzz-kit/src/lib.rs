//! Device fuzzing harness: operation scripts, text replay and oracles for any slotone-bus device.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

