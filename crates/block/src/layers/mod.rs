//! Layers over any medium: faults for tests, and what a machine puts between a drive and an image.
//!
//! | layer | does |
//! | --- | --- |
//! | [`ReadOnly`] | refuses writes |
//! | [`Overlay`] | keeps all writes in memory; the medium below is never changed |
//! | [`ErrorLayer`] | medium errors at given places, or every n-th access |
//! | [`LatencyLayer`] | makes the host wait, as a slow disk does |
//! | [`ShortWrite`] | a host that runs out of room in the middle of a write |
//! | [`PowerCut`] | loses and tears what was not flushed |
//!
//! A layer owns what is below it: a medium, a `Box`, an `Arc` or a reference to one. Layers stack.
//!
//! ```
//! use slotone_block::layers::{ErrorLayer, On, Overlay};
//! use slotone_block::{BlockError, memory::MemoryDisk, read_exact, write_all};
//! let disk = ErrorLayer::new(Overlay::new(MemoryDisk::new(1 << 20))).bad(8192..8704, On::Reads);
//! write_all(&disk, 0, &[1; 16384])?;
//! let error = read_exact(&disk, 0, &mut [0; 16384]).unwrap_err();
//! assert!(matches!(error, BlockError::Medium { offset: 8192 }));
//! # Ok::<(), BlockError>(())
//! ```

mod error;
mod latency;
mod overlay;
mod power_cut;
mod read_only;
mod short_write;

pub use error::{ErrorLayer, On};
pub use latency::LatencyLayer;
pub use overlay::Overlay;
pub use power_cut::PowerCut;
pub use read_only::ReadOnly;
pub use short_write::ShortWrite;

use std::io::{IoSlice, IoSliceMut};

/// Bytes of a list of buffers to fill.
fn len_in(bufs: &[IoSliceMut<'_>]) -> u64 {
    bufs.iter().map(|b| b.len() as u64).sum()
}

/// Bytes of a list of buffers to write.
fn len_out(bufs: &[IoSlice<'_>]) -> u64 {
    bufs.iter().map(|b| b.len() as u64).sum()
}
