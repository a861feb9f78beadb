//! The transmitter's one frame buffer.

use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};
use slotone_net::MAX_FRAME;

/// At most [`MAX_FRAME`] bytes, in one place so that the network takes them from where DMA has put them.
#[derive(Clone)]
pub(crate) struct Frame {
    bytes: Box<[u8; MAX_FRAME]>,
    len: usize,
}

impl Frame {
    pub(crate) fn new() -> Self {
        Self { bytes: Box::new([0; MAX_FRAME]), len: 0 }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Cuts the frame.
    pub(crate) fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The next `len` bytes, to be filled, as far as there is room.
    pub(crate) fn grow(&mut self, len: usize) -> &mut [u8] {
        let start = self.len;
        self.len = (start + len).min(MAX_FRAME);
        &mut self.bytes[start..self.len]
    }

    /// Zeros up to `len` bytes.
    pub(crate) fn pad(&mut self, len: usize) {
        let missing = len.saturating_sub(self.len);
        self.grow(missing).fill(0);
    }
}

impl PartialEq for Frame {
    fn eq(&self, other: &Self) -> bool {
        self.as_slice() == other.as_slice()
    }
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Frame({} bytes)", self.len)
    }
}

impl Encode for Frame {
    fn encode(&self, w: &mut StateWriter) {
        (self.len as u32).encode(w);
        w.raw(self.as_slice());
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let len = u32::decode(r)? as usize;
        if len > MAX_FRAME {
            return Err(r.invalid(format!("a frame of {len} bytes")));
        }
        let mut this = Self::new();
        this.grow(len).copy_from_slice(r.take(len)?);
        Ok(this)
    }
}
