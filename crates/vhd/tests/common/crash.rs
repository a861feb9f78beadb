//! A storage that loses power.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};

use slotone_vhd::{MemStorage, Storage};

use super::Rng;

#[derive(Debug, Default)]
struct State {
    /// What reads see.
    now: Vec<u8>,
    /// What a sync has made safe.
    durable: Vec<u8>,
    /// Contents of each sector since the last sync, oldest first.
    pending: BTreeMap<u64, Vec<[u8; 512]>>,
    /// Lengths since the last sync.
    lengths: Vec<u64>,
    /// Changes until the power goes; `None`: it stays.
    fuse: Option<u64>,
    /// Changes and syncs so far.
    operations: u64,
    full: bool,
}

impl std::fmt::Debug for CrashStorage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CrashStorage")
    }
}

/// Keeps writes that were not synced apart by sector. After a power cut each sector has any of its contents since the
/// last sync, independent of all others: writes are dropped, reordered, and torn between sectors.
#[derive(Default)]
pub(crate) struct CrashStorage {
    state: Mutex<State>,
}

impl CrashStorage {
    pub(crate) fn new(bytes: &[u8]) -> Arc<Self> {
        let state = State { now: bytes.to_vec(), durable: bytes.to_vec(), ..State::default() };
        Arc::new(Self { state: Mutex::new(state) })
    }

    /// Power goes after `n` more changes or syncs.
    pub(crate) fn cut_after(&self, n: u64) {
        let mut s = self.state.lock().unwrap();
        s.fuse = Some(n);
        s.full = false;
    }

    /// The host has no room after `n` more changes or syncs.
    pub(crate) fn fill_after(&self, n: u64) {
        let mut s = self.state.lock().unwrap();
        s.fuse = Some(n);
        s.full = true;
    }

    /// There is room again.
    pub(crate) fn repair(&self) {
        self.state.lock().unwrap().fuse = None;
    }

    /// Changes and syncs so far.
    pub(crate) fn operations(&self) -> u64 {
        self.state.lock().unwrap().operations
    }

    /// One of the contents that may be there when power comes back.
    pub(crate) fn after_crash(&self, rng: &mut Rng) -> Vec<u8> {
        let s = self.state.lock().unwrap();
        let mut out = s.durable.clone();
        let pick = rng.below(s.lengths.len() as u64 + 1) as usize;
        let len = if pick == 0 { s.durable.len() } else { s.lengths[pick - 1] as usize };
        out.resize(len, 0);
        // Mostly nothing, mostly everything, or half of it survives.
        let bias = rng.below(3);
        for (sector, versions) in &s.pending {
            let at = (*sector * 512) as usize;
            let keep = match bias {
                0 => rng.below(8) == 0,
                1 => rng.below(8) != 0,
                _ => rng.below(2) == 0,
            };
            if !keep || at >= out.len() {
                continue;
            }
            let v = versions[rng.below(versions.len() as u64) as usize];
            let n = (out.len() - at).min(512);
            out[at..at + n].copy_from_slice(&v[..n]);
        }
        out
    }

    pub(crate) fn to_vec(&self) -> Vec<u8> {
        self.state.lock().unwrap().now.clone()
    }
}

impl State {
    fn burn(&mut self) -> io::Result<()> {
        self.operations += 1;
        match &mut self.fuse {
            Some(0) if self.full => Err(io::ErrorKind::StorageFull.into()),
            Some(0) => Err(io::Error::other("power lost")),
            Some(n) => {
                *n -= 1;
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes the present content of the sectors that `from..to` touches.
    fn note(&mut self, from: u64, to: u64) {
        for sector in from / 512..to.div_ceil(512) {
            let at = (sector * 512) as usize;
            let mut v = [0; 512];
            if at < self.now.len() {
                let n = (self.now.len() - at).min(512);
                v[..n].copy_from_slice(&self.now[at..at + n]);
            }
            self.pending.entry(sector).or_default().push(v);
        }
    }
}

impl Storage for CrashStorage {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state.lock().unwrap().now.len() as u64)
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let s = self.state.lock().unwrap();
        let at = offset as usize;
        let from = s.now.get(at..at + buf.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(from);
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let mut s = self.state.lock().unwrap();
        // The write in whose middle power goes may have done any part of its work.
        let lost = s.burn();
        let end = offset as usize + buf.len();
        if lost.is_err() && s.full {
            return lost;
        }
        if end > s.now.len() {
            s.now.resize(end, 0);
            s.lengths.push(end as u64);
        }
        s.now[offset as usize..end].copy_from_slice(buf);
        s.note(offset, end as u64);
        lost
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut s = self.state.lock().unwrap();
        s.burn()?;
        let old = s.now.len() as u64;
        s.now.resize(len as usize, 0);
        s.lengths.push(len);
        if len < old {
            s.note(len, old);
        }
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut s = self.state.lock().unwrap();
        s.burn()?;
        s.durable = s.now.clone();
        s.pending.clear();
        s.lengths.clear();
        Ok(())
    }

    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let mut s = self.state.lock().unwrap();
        s.burn()?;
        let end = (offset + len).min(s.now.len() as u64);
        if offset < end {
            s.now[offset as usize..end as usize].fill(0);
            s.note(offset, end);
        }
        Ok(true)
    }
}

/// A memory storage with these bytes.
pub(crate) fn memory(bytes: &[u8]) -> Arc<MemStorage> {
    Arc::new(MemStorage::from_bytes(bytes))
}
