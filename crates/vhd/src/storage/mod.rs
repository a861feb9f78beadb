//! Where an image's bytes are kept.

mod file;
mod memory;

pub use file::{FileStorage, Lock};
pub use memory::MemStorage;

use std::fmt;
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;

/// A byte store that holds one image. Positional: all methods may be called from several threads at once.
///
/// Bytes that were never written read as zeros. Nothing is durable before [`Storage::sync`] has returned; until then a crash may
/// leave any part of what was written, in any order.
pub trait Storage: Send + Sync + fmt::Debug {
    /// Bytes in it.
    ///
    /// # Errors
    /// The host's I/O failed.
    fn len(&self) -> io::Result<u64>;

    /// It holds nothing.
    ///
    /// # Errors
    /// As [`Storage::len`].
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `buf` from `offset` on.
    ///
    /// # Errors
    /// The host's I/O failed; `UnexpectedEof` past the end.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Writes all of `buf` at `offset`, growing the store if need be.
    ///
    /// # Errors
    /// The host's I/O failed; part of it may have been written.
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()>;

    /// As [`Storage::read_at`] into several buffers, whose slices are left as they are.
    ///
    /// # Errors
    /// As [`Storage::read_at`].
    fn read_vectored_at(&self, mut offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        for buf in bufs {
            self.read_at(offset, buf)?;
            offset += buf.len() as u64;
        }
        Ok(())
    }

    /// As [`Storage::write_at`] from several buffers.
    ///
    /// # Errors
    /// As [`Storage::write_at`].
    fn write_vectored_at(&self, mut offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        for buf in bufs {
            self.write_at(offset, buf)?;
            offset += buf.len() as u64;
        }
        Ok(())
    }

    /// Cuts or extends with zeros.
    ///
    /// # Errors
    /// The host's I/O failed.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes all completed writes and the length durable.
    ///
    /// # Errors
    /// The host's I/O failed; the durability of earlier writes is unknown.
    fn sync(&self) -> io::Result<()>;

    /// Begins to make the range durable, as far as it can be done without waiting. Only a hint: nothing is promised before a [`Storage::sync`].
    fn start_writeback(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }

    /// Makes a range read as zeros and gives its room back. `false`: cannot; nothing was done.
    ///
    /// # Errors
    /// The host's I/O failed.
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        let _ = (offset, len);
        Ok(false)
    }

    /// The first range at or after `offset` that may hold something other than zeros; `None`: zeros up to the end.
    ///
    /// # Errors
    /// The host's I/O failed.
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        let len = self.len()?;
        Ok((offset < len).then_some(offset..len))
    }

    /// Modification time in seconds since 2000, if there is one.
    fn modified(&self) -> Option<u32> {
        None
    }

    /// Room it takes on the host, in bytes, if known.
    fn allocated(&self) -> Option<u64> {
        None
    }

    /// Best alignment of I/O in bytes, a power of two.
    fn alignment(&self) -> u32 {
        4096
    }

    /// Something that is equal for two stores exactly when they are the same file.
    fn identity(&self) -> Option<(u64, u64)> {
        None
    }
}

impl<T: Storage + ?Sized> Storage for std::sync::Arc<T> {
    fn len(&self) -> io::Result<u64> {
        (**self).len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        (**self).read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        (**self).write_at(offset, buf)
    }
    fn read_vectored_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> io::Result<()> {
        (**self).read_vectored_at(offset, bufs)
    }
    fn write_vectored_at(&self, offset: u64, bufs: &[IoSlice<'_>]) -> io::Result<()> {
        (**self).write_vectored_at(offset, bufs)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        (**self).set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        (**self).sync()
    }
    fn start_writeback(&self, offset: u64, len: u64) {
        (**self).start_writeback(offset, len);
    }
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        (**self).punch(offset, len)
    }
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        (**self).next_data(offset)
    }
    fn modified(&self) -> Option<u32> {
        (**self).modified()
    }
    fn allocated(&self) -> Option<u64> {
        (**self).allocated()
    }
    fn alignment(&self) -> u32 {
        (**self).alignment()
    }
    fn identity(&self) -> Option<(u64, u64)> {
        (**self).identity()
    }
}
