use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::{len_in, len_out};
use crate::{BlockBackend, BlockError, MediumInfo, Result};

/// Which accesses a fault hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    /// Reads.
    Reads,
    /// Writes (and zeroes).
    Writes,
    /// Both.
    Both,
}

impl On {
    fn hits(self, write: bool) -> bool {
        match self {
            Self::Reads => !write,
            Self::Writes => write,
            Self::Both => true,
        }
    }
}

#[derive(Debug, Default)]
struct Faults {
    bad: Vec<(Range<u64>, On)>,
    /// Cannot be read until they are written.
    pending: Vec<Range<u64>>,
    nth: Option<(u64, On)>,
    seen: u64,
    failed: u64,
    flushes: bool,
}

/// Medium errors: at given bytes, for good or until they are written, or at every n-th access. An access that fails reaches nothing below.
#[derive(Debug)]
pub struct ErrorLayer<B> {
    inner: B,
    faults: Mutex<Faults>,
}

impl<B: BlockBackend> ErrorLayer<B> {
    /// `inner` without faults so far.
    pub fn new(inner: B) -> Self {
        Self { inner, faults: Mutex::default() }
    }

    /// The bytes of `range` are bad from the start.
    #[must_use]
    pub fn bad(self, range: Range<u64>, on: On) -> Self {
        self.add_bad(range, on);
        self
    }

    /// The bytes of `range` cannot be read until they are written: what a disk calls pending sectors, which it replaces by spare ones as soon as
    /// it has data for them.
    #[must_use]
    pub fn pending(self, range: Range<u64>) -> Self {
        self.locked(|f| f.pending.push(range));
        self
    }

    /// Every `n`-th access that `on` names fails; 0 for none.
    #[must_use]
    pub fn every_nth(self, n: u64, on: On) -> Self {
        self.locked(|f| f.nth = (n > 0).then_some((n, on)));
        self
    }

    /// The bytes of `range` become bad.
    pub fn add_bad(&self, range: Range<u64>, on: On) {
        self.locked(|f| f.bad.push((range, on)));
    }

    /// From now on flushes fail, or succeed again.
    pub fn fail_flushes(&self, fail: bool) {
        self.locked(|f| f.flushes = fail);
    }

    /// All is well again.
    pub fn clear(&self) {
        self.locked(|f| *f = Faults { failed: f.failed, ..Faults::default() });
    }

    /// Accesses failed so far.
    pub fn failed(&self) -> u64 {
        self.locked(|f| f.failed)
    }

    fn locked<R>(&self, f: impl FnOnce(&mut Faults) -> R) -> R {
        f(&mut self.faults.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn written(&self, offset: u64, len: u64) {
        self.locked(|f| without(&mut f.pending, offset, offset.saturating_add(len)));
    }

    fn check(&self, offset: u64, len: u64, write: bool) -> Result<()> {
        self.locked(|f| {
            let end = offset.saturating_add(len);
            let hit = |(range, on): &(Range<u64>, On)| {
                let first = range.start.max(offset);
                (on.hits(write) && first < range.end.min(end)).then_some(first)
            };
            let pending = f.pending.iter().filter(|_| !write);
            let pending = pending.map(|range| (range.clone(), On::Reads)).filter_map(|bad| hit(&bad)).min();
            let mut bad = f.bad.iter().filter_map(hit).chain(pending).min();
            if let Some((n, on)) = f.nth
                && on.hits(write)
            {
                f.seen += 1;
                if f.seen.is_multiple_of(n) {
                    bad = bad.or(Some(offset));
                }
            }
            match bad {
                Some(offset) => {
                    f.failed += 1;
                    Err(BlockError::Medium { offset })
                }
                None => Ok(()),
            }
        })
    }
}

/// `ranges` without `[start, end)`.
fn without(ranges: &mut Vec<Range<u64>>, start: u64, end: u64) {
    if ranges.iter().any(|r| r.start < end && start < r.end) {
        let parts = ranges.iter().flat_map(|r| [r.start..r.end.min(start), r.start.max(end)..r.end]);
        *ranges = parts.filter(|r| !r.is_empty()).collect();
    }
}

impl<B: BlockBackend> BlockBackend for ErrorLayer<B> {
    fn info(&self) -> &MediumInfo {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        self.check(offset, len_in(bufs), false)?;
        self.inner.read_at(offset, bufs)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<()> {
        self.check(offset, len_out(bufs), true)?;
        self.inner.write_at(offset, bufs, fua)?;
        self.written(offset, len_out(bufs));
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        if self.locked(|f| {
            f.failed += u64::from(f.flushes);
            f.flushes
        }) {
            return Err(BlockError::Io(std::io::Error::other("flush failed by a fault layer")));
        }
        self.inner.flush()
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.inner.discard(offset, len)
    }

    fn write_zeroes(&self, offset: u64, len: u64, fua: bool) -> Result<()> {
        self.check(offset, len, true)?;
        self.inner.write_zeroes(offset, len, fua)?;
        self.written(offset, len);
        Ok(())
    }
}
