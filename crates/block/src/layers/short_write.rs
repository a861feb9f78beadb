use std::io::{IoSlice, IoSliceMut};
use std::sync::{Mutex, PoisonError};

use super::len_out;
use crate::{BlockBackend, BlockError, MediumInfo, Result, SECTOR, check_range};

/// A host that runs out of room: after so many bytes a write stops at a sector border in its middle and fails with
/// [`BlockError::NoSpace`], as do all later ones.
#[derive(Debug)]
pub struct ShortWrite<B> {
    inner: B,
    room: Mutex<u64>,
}

impl<B: BlockBackend> ShortWrite<B> {
    /// `inner` with room for `room` more bytes of writes.
    pub fn new(inner: B, room: u64) -> Self {
        Self { inner, room: Mutex::new(room) }
    }

    /// Someone made room.
    pub fn refill(&self, room: u64) {
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = room;
    }
}

impl<B: BlockBackend> BlockBackend for ShortWrite<B> {
    fn info(&self) -> &MediumInfo {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.inner.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<()> {
        let len = len_out(bufs);
        check_range(self.info(), offset, len, true)?;
        // Held while writing: which of two writes is cut must not depend on the host's scheduling of this layer.
        let mut room = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if len <= *room {
            *room -= len;
            return self.inner.write_at(offset, bufs, fua);
        }
        let mut left = *room - *room % SECTOR;
        *room = 0;
        let mut head = Vec::new();
        for buf in bufs {
            let n = left.min(buf.len() as u64);
            head.push(IoSlice::new(&buf[..n as usize]));
            left -= n;
        }
        if len_out(&head) > 0 {
            self.inner.write_at(offset, &head, fua)?;
        }
        Err(BlockError::NoSpace)
    }

    fn flush(&self) -> Result<()> {
        self.inner.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.discard(offset, len)
    }
}
