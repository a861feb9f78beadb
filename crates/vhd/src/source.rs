use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use slotone_block::{BlockBackend, BlockError, MediumInfo, check_range};

use crate::error::{Error, ErrorKind, Result, io_to_block};
use crate::format::SECTOR;
use crate::io::{part, part_mut, total, total_out, zero_part};
use crate::storage::{FileStorage, Lock, Storage};
use crate::vhd::Vhd;

/// A disk that knows where it has nothing but zeros.
pub trait Source: BlockBackend {
    /// The first range at or after `offset` that may hold something other than zeros; `None`: zeros up to the end.
    ///
    /// # Errors
    /// The host's I/O failed.
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>>;
}

impl Source for Vhd {
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let mut at = offset;
        while at < self.size() {
            // Not the whole disk: an answer costs a look at each bitmap of the range.
            let e = self.extent(at, 64 << 20)?;
            if !e.zero {
                return Ok(Some(at..at + e.len));
            }
            at += e.len.max(SECTOR);
        }
        Ok(None)
    }
}

/// A linked disk: a host block device, or a raw image file, used as it is.
///
/// It has no header, no undo and no children. [`crate::convert`] makes a virtual disk of it. For writing, a device is opened
/// exclusively: one that the host has mounted is refused.
#[derive(Debug)]
pub struct LinkedDisk {
    storage: Arc<dyn Storage>,
    info: MediumInfo,
    len: u64,
}

impl LinkedDisk {
    /// Opens a device or raw file.
    ///
    /// # Errors
    /// It cannot be opened, is in use, or is empty.
    pub fn open(path: impl AsRef<Path>, read_only: bool) -> Result<Self> {
        let path = path.as_ref();
        let lock = if read_only { Lock::Shared } else { Lock::Exclusive };
        let storage = FileStorage::open(path, !read_only, lock)?;
        Self::from_storage(Arc::new(storage), path, read_only)
    }

    /// On any storage.
    ///
    /// # Errors
    /// The host's I/O failed, or it is empty.
    pub fn from_storage(storage: Arc<dyn Storage>, path: &Path, read_only: bool) -> Result<Self> {
        let len = storage.len().map_err(|e| Error::new(path, e))?;
        if len == 0 {
            return Err(Error::new(path, ErrorKind::InvalidSize { size: 0, why: "there is nothing in it" }));
        }
        if !read_only && !len.is_multiple_of(SECTOR) {
            return Err(Error::new(path, ErrorKind::InvalidSize { size: len, why: "not a multiple of 512" }));
        }
        let info = MediumInfo {
            capacity: len.next_multiple_of(SECTOR),
            physical_block: storage.alignment(),
            read_only,
            geometry: None,
            discards: true,
            name: path.display().to_string(),
        };
        Ok(Self { storage, info, len })
    }
}

impl Source for LinkedDisk {
    fn next_data(&self, offset: u64) -> Result<Option<Range<u64>>> {
        let found = self.storage.next_data(offset).map_err(|e| Error::new(&self.info.name, e))?;
        Ok(found.map(|r| (r.start / SECTOR * SECTOR).max(offset)..r.end.next_multiple_of(SECTOR)))
    }
}

impl BlockBackend for LinkedDisk {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> slotone_block::Result<()> {
        let len = total(bufs);
        check_range(&self.info, offset, len, false)?;
        let here = len.min(self.len.saturating_sub(offset));
        if here < len {
            // A raw file may end in the middle of its last sector.
            zero_part(bufs, here, len - here);
        }
        part_mut(bufs, 0, here, |list| self.storage.read_vectored_at(offset, list)).map_err(io_to_block)
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> slotone_block::Result<()> {
        let len = total_out(bufs);
        check_range(&self.info, offset, len, true)?;
        part(bufs, 0, len, |list| self.storage.write_vectored_at(offset, list)).map_err(io_to_block)?;
        if fua { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> slotone_block::Result<()> {
        if self.info.read_only { Ok(()) } else { self.storage.sync().map_err(io_to_block) }
    }

    fn discard(&self, offset: u64, len: u64) -> slotone_block::Result<()> {
        check_range(&self.info, offset, len, true)?;
        self.storage.punch(offset, len).map(|_| ()).map_err(io_to_block)
    }

    fn write_zeroes(&self, offset: u64, len: u64, fua: bool) -> slotone_block::Result<()> {
        check_range(&self.info, offset, len, true)?;
        crate::dynamic::zero_file(&*self.storage, offset, len)
            .map_err(|e| BlockError::from(Error::new(&self.info.name, e)))?;
        if fua { self.flush() } else { Ok(()) }
    }
}

/// Opens a disk of any kind for reading: a VHD if the file has a footer at either end, else a linked disk.
///
/// # Errors
/// As [`crate::OpenOptions::open`] and [`LinkedDisk::open`].
pub fn open_source(path: impl AsRef<Path>, options: &crate::OpenOptions) -> Result<Box<dyn Source>> {
    let path = path.as_ref();
    match options.clone().read_only(true).open(path) {
        Ok(disk) => Ok(Box::new(disk)),
        Err(e) if matches!(e.kind(), ErrorKind::NotVhd) => Ok(Box::new(LinkedDisk::open(path, true)?)),
        Err(e) => Err(e),
    }
}
