//! The bounded queue of frames that wait for a card.

use std::collections::VecDeque;

/// A bounded queue of frames.
#[derive(Debug)]
pub(super) struct FrameQueue {
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
    frame_limit: usize,
    byte_limit: usize,
}

impl FrameQueue {
    pub(super) fn new(frame_limit: usize, byte_limit: usize) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, frame_limit, byte_limit }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Whether a frame of `len` bytes fits.
    pub(super) fn has_room(&self, len: usize) -> bool {
        self.frames.len() < self.frame_limit && self.bytes + len <= self.byte_limit
    }

    pub(super) fn push(&mut self, frame: Vec<u8>) {
        self.bytes += frame.len();
        self.frames.push_back(frame);
    }

    pub(super) fn pop(&mut self) -> Option<Vec<u8>> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }

    pub(super) fn clear(&mut self) {
        self.frames.clear();
        self.bytes = 0;
    }
}

/// Buffers that go round, so that a frame costs a copy and no allocation.
#[derive(Debug, Default)]
pub(super) struct Buffers(Vec<Vec<u8>>);

impl Buffers {
    const KEPT: usize = 256;

    pub(super) fn copy(&mut self, frame: &[u8]) -> Vec<u8> {
        let mut buffer = self.0.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        buffer
    }

    pub(super) fn give_back(&mut self, buffer: Vec<u8>) {
        if self.0.len() < Self::KEPT && buffer.capacity() <= slotone_net::MAX_FRAME * 2 {
            self.0.push(buffer);
        }
    }
}
