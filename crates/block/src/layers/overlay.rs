use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use super::{len_in, len_out};
use crate::{BlockBackend, MediumInfo, Result, SECTOR, check_range, read_exact};

const PAGE: usize = 4096;
const SECTOR_LEN: usize = SECTOR as usize;

/// Eight sectors; bit n of `valid` says that sector n was written.
#[derive(Debug)]
struct Page {
    valid: u8,
    data: [u8; PAGE],
}

/// Copy-on-write in memory: reads see the base until a sector is written, writes never reach it.
///
/// The memory it takes is bounded by the disk's capacity (plus about 2 %); it is gone when the layer is dropped. Nothing is durable:
/// a flush returns at once.
#[derive(Debug)]
pub struct Overlay<B> {
    base: B,
    info: MediumInfo,
    pages: RwLock<HashMap<u64, Box<Page>>>,
}

impl<B: BlockBackend> Overlay<B> {
    /// A writable view of `base`, which may be read-only.
    pub fn new(base: B) -> Self {
        let info = MediumInfo { read_only: false, discards: false, ..base.info().clone() };
        Self { base, info, pages: RwLock::default() }
    }

    /// Sectors that were written.
    pub fn written_sectors(&self) -> u64 {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        pages.values().map(|p| u64::from(p.valid.count_ones())).sum()
    }

    /// Forgets all writes: the view equals the base again.
    pub fn discard_changes(&self) {
        self.pages.write().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The medium below.
    pub fn into_base(self) -> B {
        self.base
    }

    /// Fills what was written into buffers of whole sectors, and tells what was not; `None`: nothing was ever written.
    fn fill(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Option<Vec<Hole>> {
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        if pages.is_empty() {
            return None;
        }
        let mut holes: Vec<Hole> = Vec::new();
        for (n, buf) in bufs.iter_mut().enumerate() {
            for at in (0..buf.len()).step_by(SECTOR_LEN) {
                let (page, sector) = place(offset);
                match (pages.get(&page).filter(|p| p.valid >> sector & 1 != 0), holes.last_mut()) {
                    (Some(page), _) => {
                        let from = sector * SECTOR_LEN;
                        buf[at..at + SECTOR_LEN].copy_from_slice(&page.data[from..from + SECTOR_LEN]);
                    }
                    (None, Some(hole)) if hole.buf == n && hole.bytes.end == at => {
                        hole.bytes.end += SECTOR_LEN;
                    }
                    (None, _) => holes.push(Hole { buf: n, bytes: at..at + SECTOR_LEN, offset }),
                }
                offset += SECTOR;
            }
        }
        Some(holes)
    }
}

/// A part of a buffer that is to come from the base.
struct Hole {
    /// The buffer's number.
    buf: usize,
    bytes: Range<usize>,
    /// On the medium.
    offset: u64,
}

/// Page and sector in it of the byte at `offset`.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize / SECTOR_LEN)
}

impl<B: BlockBackend> BlockBackend for Overlay<B> {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(&self.info, offset, len_in(bufs), false)?;
        if bufs.iter().any(|buf| buf.len() % SECTOR_LEN != 0) {
            // Buffers may end inside a sector, as long as all together are whole ones: such a list is read through a bounce buffer.
            let mut bounce = vec![0; len_in(bufs) as usize];
            self.read_at(offset, &mut [IoSliceMut::new(&mut bounce)])?;
            let mut rest = &bounce[..];
            for buf in bufs {
                let (head, tail) = rest.split_at(buf.len());
                buf.copy_from_slice(head);
                rest = tail;
            }
            return Ok(());
        }
        // What is not here is read when the lock is free again: the base may be slow, and writes must not wait for it.
        let Some(holes) = self.fill(offset, bufs) else { return self.base.read_at(offset, bufs) };
        for Hole { buf, bytes, offset } in holes {
            read_exact(&self.base, offset, &mut bufs[buf][bytes])?;
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], _fua: bool) -> Result<()> {
        check_range(&self.info, offset, len_out(bufs), true)?;
        let mut pages = self.pages.write().unwrap_or_else(PoisonError::into_inner);
        let mut at = offset;
        for buf in bufs {
            let mut rest = &buf[..];
            while !rest.is_empty() {
                let (page, sector) = place(at);
                let start = (at % PAGE as u64) as usize;
                let n = rest.len().min(PAGE - start);
                let page = pages.entry(page).or_insert_with(|| Box::new(Page { valid: 0, data: [0; PAGE] }));
                page.data[start..start + n].copy_from_slice(&rest[..n]);
                // The range is whole sectors, so what this buffer leaves of one the next one fills.
                for sector in sector..(start + n).div_ceil(SECTOR_LEN) {
                    page.valid |= 1 << sector;
                }
                at += n as u64;
                rest = &rest[n..];
            }
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }
}
