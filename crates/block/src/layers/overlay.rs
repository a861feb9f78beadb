use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
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
}

/// Page and sector in it of the byte at `offset`.
fn place(offset: u64) -> (u64, usize) {
    (offset / PAGE as u64, (offset % PAGE as u64) as usize / SECTOR_LEN)
}

impl<B: BlockBackend> BlockBackend for Overlay<B> {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn read_at(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(&self.info, offset, len_in(bufs), false)?;
        let pages = self.pages.read().unwrap_or_else(PoisonError::into_inner);
        if pages.is_empty() {
            return self.base.read_at(offset, bufs);
        }
        for buf in bufs {
            // Buffers may end inside a sector, as long as all together are whole ones: such a list is read through a bounce buffer.
            let mut bounce = Vec::new();
            let skip = (offset % SECTOR) as usize;
            let whole = skip == 0 && buf.len() % SECTOR_LEN == 0;
            if !whole {
                bounce = vec![0; (skip + buf.len()).next_multiple_of(SECTOR_LEN)];
            }
            let start = offset - skip as u64;
            let target: &mut [u8] = if whole { &mut buf[..] } else { &mut bounce };
            let mut from_base = 0..0;
            for (n, at) in (0..target.len()).step_by(SECTOR_LEN).enumerate() {
                let (page, sector) = place(start + (n * SECTOR_LEN) as u64);
                match pages.get(&page).filter(|p| p.valid >> sector & 1 != 0) {
                    Some(page) => {
                        let from = sector * SECTOR_LEN;
                        target[at..at + SECTOR_LEN].copy_from_slice(&page.data[from..from + SECTOR_LEN]);
                    }
                    None if from_base.end == at && !from_base.is_empty() => from_base.end = at + SECTOR_LEN,
                    None => {
                        if !from_base.is_empty() {
                            read_exact(&self.base, start + from_base.start as u64, &mut target[from_base])?;
                        }
                        from_base = at..at + SECTOR_LEN;
                    }
                }
            }
            if !from_base.is_empty() {
                read_exact(&self.base, start + from_base.start as u64, &mut target[from_base])?;
            }
            if !whole {
                let n = buf.len();
                buf.copy_from_slice(&bounce[skip..skip + n]);
            }
            offset += buf.len() as u64;
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
