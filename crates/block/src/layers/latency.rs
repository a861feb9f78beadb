use std::io::{IoSlice, IoSliceMut};
use std::time::Duration;

use super::{len_in, len_out};
use crate::{BlockBackend, MediumInfo, Result};

/// Makes every operation take host time, as a slow disk or network does. Virtual time is the controller's own matter
/// ([`Request::due`](crate::Request::due)).
#[derive(Debug)]
pub struct LatencyLayer<B> {
    inner: B,
    operation: Duration,
    mebibyte: Duration,
}

impl<B: BlockBackend> LatencyLayer<B> {
    /// Every operation takes `operation` longer, and data take `mebibyte` more for each MiB.
    pub fn new(inner: B, operation: Duration, mebibyte: Duration) -> Self {
        Self { inner, operation, mebibyte }
    }

    fn wait(&self, bytes: u64) {
        let data = self.mebibyte.as_nanos().saturating_mul(u128::from(bytes)) >> 20;
        let data = Duration::from_nanos(u64::try_from(data).unwrap_or(u64::MAX));
        std::thread::sleep(self.operation.saturating_add(data));
    }
}

impl<B: BlockBackend> BlockBackend for LatencyLayer<B> {
    fn info(&self) -> &MediumInfo {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.wait(len_in(bufs));
        self.inner.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<()> {
        self.wait(len_out(bufs));
        self.inner.write_at(offset, bufs, fua)
    }

    fn flush(&self) -> Result<()> {
        self.wait(0);
        self.inner.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.wait(0);
        self.inner.discard(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, fua: bool) -> Result<()> {
        self.wait(0);
        self.inner.write_zeroes(offset, len, fua)
    }
}
