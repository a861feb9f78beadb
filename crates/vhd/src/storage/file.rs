use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::Path;

use super::Storage;
use crate::error::{Error, ErrorKind, Result};
use crate::format::stamp_of;

/// The lock to take on a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lock {
    /// Readers share it.
    Shared,
    /// A writer has it alone.
    Exclusive,
    /// None: the caller knows what it does.
    None,
}

/// An image file, or a host block device, whose bytes are the image.
#[derive(Debug)]
pub struct FileStorage {
    file: File,
    device: bool,
    alignment: u32,
}

impl FileStorage {
    /// Opens a regular file or block device. A device opened for writing is opened exclusively: one that is mounted is refused.
    ///
    /// # Errors
    /// It cannot be opened, is neither a file nor a block device, or [`ErrorKind::Locked`].
    pub fn open(path: &Path, writable: bool, lock: Lock) -> Result<Self> {
        let fail = |e: io::Error| Error::new(path, e);
        let meta = std::fs::metadata(path).map_err(fail)?;
        let device = is_block_device(&meta);
        if !device && !meta.is_file() {
            return Err(Error::new(
                path,
                ErrorKind::Unsupported("neither a regular file nor a block device".into()),
            ));
        }
        let mut options = OpenOptions::new();
        options.read(true).write(writable);
        #[cfg(unix)]
        {
            use std::os::unix::fs::OpenOptionsExt;
            // NONBLOCK: between the check above and here the name may have become a pipe.
            let mut flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::CLOEXEC;
            if device && writable {
                flags |= rustix::fs::OFlags::EXCL;
            }
            options.custom_flags(flags.bits().cast_signed());
        }
        let file = options.open(path).map_err(|e| {
            if device && e.kind() == io::ErrorKind::ResourceBusy {
                Error::new(
                    path,
                    ErrorKind::Unsupported(
                        "the device is in use on this host (mounted, or part of a volume)".into(),
                    ),
                )
            } else {
                fail(e)
            }
        })?;
        Self::adopt(path, file, device, lock)
    }

    /// Creates a new file, which must not exist, with an exclusive lock.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn create(path: &Path) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)
            .map_err(|e| Error::new(path, e))?;
        Self::adopt(path, file, false, Lock::Exclusive)
    }

    fn adopt(path: &Path, file: File, device: bool, lock: Lock) -> Result<Self> {
        take_lock(&file, lock).map_err(|e| {
            if e.kind() == io::ErrorKind::WouldBlock {
                Error::new(path, ErrorKind::Locked { exclusive: lock == Lock::Exclusive })
            } else {
                Error::new(path, e)
            }
        })?;
        #[cfg(target_os = "linux")]
        let alignment = if device { rustix::fs::ioctl_blkpbszget(&file).unwrap_or(512) } else { 4096 };
        #[cfg(not(target_os = "linux"))]
        let alignment = 4096;
        Ok(Self { file, device, alignment })
    }

    /// It is a host block device: its length cannot change.
    pub fn is_device(&self) -> bool {
        self.device
    }

    /// The open file.
    pub fn file(&self) -> &File {
        &self.file
    }
}

#[cfg(unix)]
impl Drop for FileStorage {
    fn drop(&mut self) {
        // Closing is not enough: a child process that was just forked may still hold the same open file.
        let _ = rustix::fs::flock(&self.file, rustix::fs::FlockOperation::Unlock);
    }
}

#[cfg(unix)]
fn is_block_device(meta: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    meta.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_block_device(_: &std::fs::Metadata) -> bool {
    false
}

#[cfg(unix)]
fn take_lock(file: &File, lock: Lock) -> io::Result<()> {
    use rustix::fs::{FlockOperation, flock};
    let op = match lock {
        Lock::None => return Ok(()),
        Lock::Shared => FlockOperation::NonBlockingLockShared,
        Lock::Exclusive => FlockOperation::NonBlockingLockExclusive,
    };
    match flock(file, op) {
        Ok(()) => Ok(()),
        // File systems without locks: better to work than not.
        Err(e) if e == rustix::io::Errno::NOTSUP || e == rustix::io::Errno::NOSYS => Ok(()),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(unix))]
fn take_lock(_: &File, _: Lock) -> io::Result<()> {
    Ok(())
}

#[cfg(unix)]
impl FileStorage {
    fn read_exact(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::read_exact_at(&self.file, buf, offset)
    }

    fn write_exact(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        std::os::unix::fs::FileExt::write_all_at(&self.file, buf, offset)
    }
}

#[cfg(windows)]
impl FileStorage {
    fn read_exact(&self, mut offset: u64, mut buf: &mut [u8]) -> io::Result<()> {
        use std::os::windows::fs::FileExt;
        while !buf.is_empty() {
            match self.file.seek_read(buf, offset)? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                n => {
                    buf = &mut buf[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }

    fn write_exact(&self, mut offset: u64, mut buf: &[u8]) -> io::Result<()> {
        use std::os::windows::fs::FileExt;
        while !buf.is_empty() {
            match self.file.seek_write(buf, offset)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => {
                    buf = &buf[n..];
                    offset += n as u64;
                }
            }
        }
        Ok(())
    }
}

/// Buffers of one vectored call; POSIX lets a system refuse more.
#[cfg(target_os = "linux")]
const IOV_MAX: usize = 1024;

impl Storage for FileStorage {
    fn len(&self) -> io::Result<u64> {
        if self.device {
            use std::io::Seek;
            (&self.file).seek(io::SeekFrom::End(0))
        } else {
            Ok(self.file.metadata()?.len())
        }
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.read_exact(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        self.write_exact(offset, buf)
    }

    #[cfg(target_os = "linux")]
    fn read_vectored_at(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        if let [one] = bufs {
            return self.read_exact(offset, one);
        }
        for part in bufs.chunks_mut(IOV_MAX) {
            let wanted: usize = part.iter().map(|b| b.len()).sum();
            let mut got = loop {
                match rustix::io::preadv(&self.file, part, offset) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other?,
                }
            };
            // A short read is rare: finish it buffer by buffer.
            let mut at = offset;
            offset += wanted as u64;
            if got == wanted {
                continue;
            }
            for buf in part {
                let skip = got.min(buf.len());
                got -= skip;
                at += skip as u64;
                self.read_exact(at, &mut buf[skip..])?;
                at += (buf.len() - skip) as u64;
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn read_vectored_at(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        for buf in bufs {
            self.read_exact(offset, buf)?;
            offset += buf.len() as u64;
        }
        Ok(())
    }

    #[cfg(target_os = "linux")]
    fn write_vectored_at(&self, mut offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        if let [one] = bufs {
            return self.write_exact(offset, one);
        }
        for part in bufs.chunks(IOV_MAX) {
            let wanted: usize = part.iter().map(|b| b.len()).sum();
            let mut put = loop {
                match rustix::io::pwritev(&self.file, part, offset) {
                    Err(rustix::io::Errno::INTR) => {}
                    other => break other?,
                }
            };
            let mut at = offset;
            offset += wanted as u64;
            if put == wanted {
                continue;
            }
            for buf in part {
                let skip = put.min(buf.len());
                put -= skip;
                at += skip as u64;
                self.write_exact(at, &buf[skip..])?;
                at += (buf.len() - skip) as u64;
            }
        }
        Ok(())
    }

    #[cfg(not(target_os = "linux"))]
    fn write_vectored_at(&self, mut offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        for buf in bufs {
            self.write_exact(offset, buf)?;
            offset += buf.len() as u64;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        if self.device {
            return Err(io::Error::new(io::ErrorKind::Unsupported, "a device cannot change its size"));
        }
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    /// Linux begins to write the range's dirty pages at this advice; those that are not clean yet, so all of a fresh range, stay in memory.
    #[cfg(target_os = "linux")]
    fn start_writeback(&self, offset: u64, len: u64) {
        if let (false, Some(len)) = (self.device, std::num::NonZeroU64::new(len)) {
            let _ = rustix::fs::fadvise(&self.file, offset, Some(len), rustix::fs::Advice::DontNeed);
        }
    }

    #[cfg(target_os = "linux")]
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        use rustix::fs::{FallocateFlags, fallocate};
        if len == 0 {
            return Ok(true);
        }
        match fallocate(&self.file, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS | rustix::io::Errno::INVAL) => {
                Ok(false)
            }
            Err(e) => Err(e.into()),
        }
    }

    #[cfg(target_os = "linux")]
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        use rustix::fs::{SeekFrom, seek};
        let len = self.len()?;
        if offset >= len {
            return Ok(None);
        }
        let start = match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(start) => start,
            Err(rustix::io::Errno::NXIO) => return Ok(None),
            Err(_) => return Ok(Some(offset..len)),
        };
        let end = seek(&self.file, SeekFrom::Hole(start)).unwrap_or(len);
        Ok(Some(start..end.min(len)).filter(|r| r.start < r.end))
    }

    fn modified(&self) -> Option<u32> {
        if self.device {
            return None;
        }
        self.file.metadata().ok()?.modified().ok().map(stamp_of)
    }

    fn allocated(&self) -> Option<u64> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            self.file.metadata().ok().map(|m| m.blocks() * 512)
        }
        #[cfg(not(unix))]
        None
    }

    fn alignment(&self) -> u32 {
        self.alignment
    }

    fn identity(&self) -> Option<(u64, u64)> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            self.file.metadata().ok().map(|m| (m.dev(), m.ino()))
        }
        #[cfg(not(unix))]
        None
    }
}
