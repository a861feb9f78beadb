//! Machines assembled from the Slot One crates. The full one is the program `virtual-server-2005`; small ones for composers are in
//! `examples/`.
#![forbid(unsafe_code)]

pub mod cli;
