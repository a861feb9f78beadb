use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::sync::{Mutex, PoisonError};

use super::{len_in, len_out};
use crate::{BlockBackend, BlockError, MediumInfo, Result, SECTOR, check_range, write_all};

const SECTOR_LEN: usize = SECTOR as usize;

#[derive(Debug, Default)]
struct State {
    /// Sectors written since the last flush, every version of them in order.
    volatile: BTreeMap<u64, Vec<Vec<u8>>>,
    off: bool,
    /// Operations until the power goes, and the seed of what survives.
    fuse: Option<(u64, u64)>,
}

/// A disk with a volatile write cache, and a plug to pull.
///
/// Writes stay in the cache until a flush. When the power goes, each sector of the cache is on the medium in any of the
/// versions written since the last flush, or not at all: writes are lost, reordered and torn at sector borders, and what was flushed is
/// there. All operations fail until [`PowerCut::power_on`].
///
/// ```
/// use slotone_block::{BlockBackend, layers::PowerCut, memory::MemoryDisk, read_exact, write_all};
/// let disk = PowerCut::new(MemoryDisk::new(1 << 20));
/// write_all(&disk, 0, &[1; 512])?;
/// disk.flush()?;
/// write_all(&disk, 0, &[2; 512])?;
/// disk.cut(7);
/// assert!(disk.flush().is_err());
/// disk.power_on();
/// let mut sector = [0; 512];
/// read_exact(&disk, 0, &mut sector)?;
/// assert!(sector == [1; 512] || sector == [2; 512]);
/// # Ok::<(), slotone_block::BlockError>(())
/// ```
#[derive(Debug)]
pub struct PowerCut<B> {
    inner: B,
    state: Mutex<State>,
}

/// A small generator (xorshift64*): the same seed is the same accident.
fn random(seed: &mut u64) -> u64 {
    let mut x = *seed | 1 << 63;
    x ^= x >> 12;
    x ^= x << 25;
    x ^= x >> 27;
    *seed = x;
    x.wrapping_mul(0x2545_f491_4f6c_dd1d)
}

impl<B: BlockBackend> PowerCut<B> {
    /// `inner` with power on and an empty cache.
    pub fn new(inner: B) -> Self {
        Self { inner, state: Mutex::default() }
    }

    /// Pulls the plug now. `seed` chooses what of the cache survives.
    pub fn cut(&self, seed: u64) {
        self.locked(|state| Self::lose(&self.inner, state, seed));
    }

    /// Pulls the plug in the middle of the operation (read, write or flush) after the next `operations`.
    pub fn cut_after(&self, operations: u64, seed: u64) {
        self.locked(|state| state.fuse = Some((operations, seed)));
    }

    /// The power comes back; the cache is empty.
    pub fn power_on(&self) {
        self.locked(|state| *state = State::default());
    }

    /// Whether the power is off.
    pub fn is_off(&self) -> bool {
        self.locked(|state| state.off)
    }

    /// The medium as it is; what was only in the cache is gone.
    pub fn into_inner(self) -> B {
        self.inner
    }

    fn locked<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn lose(inner: &B, state: &mut State, mut seed: u64) {
        for (sector, versions) in std::mem::take(&mut state.volatile) {
            let choice = random(&mut seed) % (versions.len() as u64 + 1);
            if let Some(data) = versions.get(choice as usize) {
                // A medium that fails here lost the sector, which is one of the outcomes.
                let _ = write_all(inner, sector * SECTOR, data);
            }
        }
        let _ = inner.flush();
        state.off = true;
        state.fuse = None;
    }

    /// Burns the fuse; fails when the power is off by now.
    fn operation(&self, state: &mut State) -> Result<()> {
        match state.fuse {
            Some((0, seed)) => Self::lose(&self.inner, state, seed),
            Some((n, seed)) => state.fuse = Some((n - 1, seed)),
            None => {}
        }
        if state.off {
            return Err(BlockError::Io(io::Error::new(io::ErrorKind::NotConnected, "the power is off")));
        }
        Ok(())
    }
}

impl<B: BlockBackend> BlockBackend for PowerCut<B> {
    fn info(&self) -> &MediumInfo {
        self.inner.info()
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(self.info(), offset, len_in(bufs), false)?;
        self.locked(|state| {
            self.operation(state)?;
            self.inner.read_at(offset, bufs)?;
            let mut at = offset;
            for buf in bufs {
                for (byte, position) in buf.iter_mut().zip(at..) {
                    if let Some(data) = state.volatile.get(&(position / SECTOR)).and_then(|v| v.last()) {
                        *byte = data[(position % SECTOR) as usize];
                    }
                }
                at += buf.len() as u64;
            }
            Ok(())
        })
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<()> {
        check_range(self.info(), offset, len_out(bufs), true)?;
        let data: Vec<u8> = bufs.iter().flat_map(|b| b.iter().copied()).collect();
        self.locked(|state| {
            let first = offset / SECTOR;
            if !state.off {
                // In the cache before the fuse burns: a write in progress is torn like any other.
                for (sector, bytes) in (first..).zip(data.chunks(SECTOR_LEN)) {
                    state.volatile.entry(sector).or_default().push(bytes.to_vec());
                }
            }
            self.operation(state)?;
            if fua {
                for sector in (first..).take(data.len() / SECTOR_LEN) {
                    state.volatile.remove(&sector);
                }
                return self.inner.write_at(offset, bufs, true);
            }
            Ok(())
        })
    }

    fn flush(&self) -> Result<()> {
        self.locked(|state| {
            self.operation(state)?;
            for (sector, versions) in &state.volatile {
                if let Some(data) = versions.last() {
                    write_all(&self.inner, sector * SECTOR, data)?;
                }
            }
            // Only now: after a flush that failed everything is still as volatile as before.
            self.inner.flush()?;
            state.volatile.clear();
            Ok(())
        })
    }
}
