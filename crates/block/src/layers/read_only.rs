use std::io::{IoSlice, IoSliceMut};

use super::len_out;
use crate::{BlockBackend, MediumInfo, Result, check_range};

/// Refuses every change with [`BlockError::ReadOnly`](crate::BlockError::ReadOnly).
#[derive(Debug)]
pub struct ReadOnly<B> {
    inner: B,
    info: MediumInfo,
}

impl<B: BlockBackend> ReadOnly<B> {
    /// `inner`, write-protected.
    pub fn new(inner: B) -> Self {
        let info = MediumInfo { read_only: true, discards: false, ..inner.info().clone() };
        Self { inner, info }
    }
}

impl<B: BlockBackend> BlockBackend for ReadOnly<B> {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.inner.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], _fua: bool) -> Result<()> {
        check_range(&self.info, offset, len_out(bufs), true)
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn write_zeroes(&self, offset: u64, len: u64, _fua: bool) -> Result<()> {
        check_range(&self.info, offset, len, true)
    }
}
