//! S3 Trio32/64 PCI graphics (86C764): VGA core, S3 extensions and a renderer.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod crtc;
mod dac;
mod device;
mod display;
mod memory;
mod ports;
pub mod registers;
mod render;
mod state;
mod text;
mod timing;

pub use device::S3Trio;
pub use render::Frame;
pub use text::{TextCursor, TextScreen};
