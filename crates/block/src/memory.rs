//! A sparse medium in memory.

use std::collections::HashMap;
use std::io::{IoSlice, IoSliceMut};
use std::sync::{PoisonError, RwLock};

use crate::{BlockBackend, Geometry, MediumInfo, Result, SECTOR, check_range};

/// Bytes of one piece of memory; only pieces that were written take room.
const CHUNK: usize = 64 * 1024;

/// A disk in memory: what was never written reads as zeros and takes no room.
///
/// ```
/// use slotone_block::{memory::MemoryDisk, read_exact, write_all};
/// let disk = MemoryDisk::new(127 << 30); // 127 GiB
/// write_all(&disk, 512, &[0x55; 512])?;
/// let mut sector = [0; 512];
/// read_exact(&disk, 512, &mut sector)?;
/// assert_eq!(sector, [0x55; 512]);
/// assert_eq!(disk.allocated(), 64 * 1024);
/// # Ok::<(), slotone_block::BlockError>(())
/// ```
#[derive(Debug)]
pub struct MemoryDisk {
    info: MediumInfo,
    chunks: RwLock<HashMap<u64, Box<[u8]>>>,
}

impl MemoryDisk {
    /// An empty disk of `capacity` bytes, rounded down to whole sectors.
    pub fn new(capacity: u64) -> Self {
        let info = MediumInfo {
            capacity: capacity - capacity % SECTOR,
            physical_block: 512,
            read_only: false,
            geometry: None,
            discards: true,
            name: "memory".to_string(),
        };
        Self { info, chunks: RwLock::default() }
    }

    /// A disk that holds `bytes`, padded with zeros to whole sectors.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let disk = Self::new((bytes.len() as u64).next_multiple_of(SECTOR));
        let chunks = bytes.chunks(CHUNK).map(|part| {
            let mut chunk = vec![0; CHUNK].into_boxed_slice();
            chunk[..part.len()].copy_from_slice(part);
            chunk
        });
        *disk.chunks.write().unwrap_or_else(PoisonError::into_inner) = (0..).zip(chunks).collect();
        disk
    }

    /// Writes fail from now on.
    #[must_use]
    pub fn read_only(mut self) -> Self {
        self.info.read_only = true;
        self
    }

    /// Gives the disk a geometry of its own.
    #[must_use]
    pub fn with_geometry(mut self, geometry: Geometry) -> Self {
        self.info.geometry = Some(geometry);
        self
    }

    /// Bytes of memory in use for content.
    pub fn allocated(&self) -> u64 {
        (self.chunks.read().unwrap_or_else(PoisonError::into_inner).len() * CHUNK) as u64
    }
}

/// Cuts `offset..offset + len` at chunk borders: (chunk, first byte in it, bytes).
fn pieces(mut offset: u64, mut len: usize) -> impl Iterator<Item = (u64, usize, usize)> {
    std::iter::from_fn(move || {
        if len == 0 {
            return None;
        }
        let at = (offset % CHUNK as u64) as usize;
        let n = len.min(CHUNK - at);
        let piece = (offset / CHUNK as u64, at, n);
        offset += n as u64;
        len -= n;
        Some(piece)
    })
}

impl BlockBackend for MemoryDisk {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn read_at(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
        check_range(&self.info, offset, bufs.iter().map(|b| b.len() as u64).sum(), false)?;
        let chunks = self.chunks.read().unwrap_or_else(PoisonError::into_inner);
        for buf in bufs {
            let mut done = 0;
            for (chunk, at, n) in pieces(offset, buf.len()) {
                match chunks.get(&chunk) {
                    Some(bytes) => buf[done..done + n].copy_from_slice(&bytes[at..at + n]),
                    None => buf[done..done + n].fill(0),
                }
                done += n;
            }
            offset += done as u64;
        }
        Ok(())
    }

    fn write_at(&self, mut offset: u64, bufs: &[IoSlice<'_>], _fua: bool) -> Result<()> {
        check_range(&self.info, offset, bufs.iter().map(|b| b.len() as u64).sum(), true)?;
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        for buf in bufs {
            let mut done = 0;
            for (chunk, at, n) in pieces(offset, buf.len()) {
                let bytes = chunks.entry(chunk).or_insert_with(|| vec![0; CHUNK].into_boxed_slice());
                bytes[at..at + n].copy_from_slice(&buf[done..done + n]);
                done += n;
            }
            offset += done as u64;
        }
        Ok(())
    }

    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        self.write_zeroes(offset, len, false)
    }

    fn write_zeroes(&self, offset: u64, len: u64, _fua: bool) -> Result<()> {
        check_range(&self.info, offset, len, true)?;
        let end = offset + len;
        let mut chunks = self.chunks.write().unwrap_or_else(PoisonError::into_inner);
        // Walks what is allocated, not the range: a discard of 127 GiB is one pass over what was written.
        chunks.retain(|chunk, bytes| {
            let start = chunk * CHUNK as u64;
            let (from, to) = (offset.max(start), end.min(start + CHUNK as u64));
            if from < to {
                bytes[(from - start) as usize..(to - start) as usize].fill(0);
            }
            to.saturating_sub(from) < CHUNK as u64
        });
        Ok(())
    }
}
