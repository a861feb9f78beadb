//! DEC/Intel 21140A ("tulip") Fast Ethernet controller.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod device;
mod dma;
mod eeprom;
mod filter;
mod frame;
mod mii;
mod receive;
pub mod registers;
pub mod srom;
mod state;
mod timer;
mod transmit;

pub use device::{Tulip, TulipConfig};
