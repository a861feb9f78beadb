//! The one contract between disk controllers and disk media, free of buses and interrupts.
//!
//! Two halves. [`BlockBackend`] is a medium: positional, vectored, thread-safe reads and writes on bytes. [`DiskClient`] is a
//! controller: it keeps its requests in its own state until they are completed, so that a saved machine can issue
//! them again. Completion never happens inside the submitting call.
//!
//! [`layers`] adds faults, latency and power cuts to any medium; [`memory`] is a medium in memory, sparse, for tests; `raw` (a
//! feature, on by default) is a plain image file or a host block device. Who only uses the contract, as a model of a controller does,
//! switches the default features off and has no dependency but `thiserror`.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(all(doctest, feature = "raw"))]
#[doc = include_str!("../README.md")]
struct Readme;

use std::fmt;
use std::io::{IoSlice, IoSliceMut};

use thiserror::Error;

pub mod layers;
pub mod memory;
#[cfg(feature = "raw")]
#[cfg_attr(docsrs, doc(cfg(feature = "raw")))]
pub mod raw;

/// Bytes of the sector that every backend's capacity is a multiple of.
pub const SECTOR: u64 = 512;

/// Why an operation on a medium failed. The message says all there is, the host's reason included, so there is no
/// [`source`](std::error::Error::source) to repeat it.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BlockError {
    /// The range leaves the medium.
    #[error("{len} bytes at {offset} leave a medium of {capacity} bytes")]
    OutOfRange {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Capacity in bytes.
        capacity: u64,
    },
    /// Not whole sectors.
    #[error("{len} bytes at {offset} are not whole sectors: both must be multiples of {sector}")]
    Unaligned {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// Bytes of a sector.
        sector: u64,
    },
    /// A write to a read-only medium.
    #[error("the medium is read-only")]
    ReadOnly,
    /// The medium itself cannot be read or written here (a bad sector).
    #[error("medium error at byte {offset}")]
    Medium {
        /// First bad byte.
        offset: u64,
    },
    /// The image is not what its format promises; nothing was written.
    #[error("the image is damaged: {0}")]
    Corrupt(String),
    /// The host has no room left.
    #[error("no space left on the host")]
    NoSpace,
    /// The host's I/O failed.
    #[error("host I/O failed: {0}")]
    Io(std::io::Error),
}

impl From<std::io::Error> for BlockError {
    fn from(e: std::io::Error) -> Self {
        Self::Io(e)
    }
}

/// Result of an operation on a medium.
pub type Result<T> = std::result::Result<T, BlockError>;

/// Cylinders, heads, sectors per track, as an image's header or a BIOS knows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Cylinders.
    pub cylinders: u16,
    /// Heads.
    pub heads: u8,
    /// Sectors per track.
    pub sectors: u8,
}

impl Geometry {
    /// Sectors that the geometry covers.
    pub const fn total_sectors(self) -> u64 {
        self.cylinders as u64 * self.heads as u64 * self.sectors as u64
    }
}

/// What a medium is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediumInfo {
    /// Bytes, a multiple of [`SECTOR`].
    pub capacity: u64,
    /// Best alignment and size of host I/O in bytes, a power of two.
    pub physical_block: u32,
    /// Writes fail with [`BlockError::ReadOnly`].
    pub read_only: bool,
    /// Geometry by the image's own header, if it has one.
    pub geometry: Option<Geometry>,
    /// [`BlockBackend::discard`] gives room back.
    pub discards: bool,
    /// For people: the file's name or what it is.
    pub name: String,
}

/// A disk medium: image, host device or a layer on another medium.
///
/// All methods may be called from several threads at once; overlapping writes leave one or the other. A write is durable once a
/// [`BlockBackend::flush`] that began after it has returned, or at its own return when `fua` is set. Offsets and lengths are
/// bytes, multiples of [`SECTOR`].
pub trait BlockBackend: Send + Sync + fmt::Debug {
    /// What it is. Does not change while the medium is in the drive.
    fn info(&self) -> &MediumInfo;

    /// Fills `bufs` from `offset` on.
    ///
    /// # Errors
    /// [`BlockError`]; the buffers' content is then undefined.
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()>;

    /// Writes `bufs` at `offset`; with `fua` it is durable on return.
    ///
    /// # Errors
    /// [`BlockError`]; which part of the range was written is then undefined.
    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<()>;

    /// Makes every completed write durable.
    ///
    /// # Errors
    /// [`BlockError::Io`]; durability of earlier writes is then unknown.
    fn flush(&self) -> Result<()>;

    /// The guest no longer needs these bytes; they may read as anything that was there, or as zeros. May do nothing.
    ///
    /// # Errors
    /// As [`BlockBackend::write_at`].
    fn discard(&self, offset: u64, len: u64) -> Result<()> {
        check_range(self.info(), offset, len, true)
    }

    /// The bytes read as zeros from now on.
    ///
    /// # Errors
    /// As [`BlockBackend::write_at`].
    fn write_zeroes(&self, offset: u64, len: u64, fua: bool) -> Result<()> {
        write_zero_bytes(self, offset, len, fua)
    }
}

/// Writes zeros as any other bytes, and flushes once behind them if they are to be durable.
fn write_zero_bytes(medium: &(impl BlockBackend + ?Sized), offset: u64, len: u64, fua: bool) -> Result<()> {
    let zeros = [0u8; 64 * 1024];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(zeros.len() as u64);
        write_all(medium, offset + done, &zeros[..n as usize])?;
        done += n;
    }
    if fua { medium.flush() } else { Ok(()) }
}

/// [`BlockBackend::read_at`] into one buffer.
///
/// # Errors
/// As [`BlockBackend::read_at`].
pub fn read_exact(medium: &(impl BlockBackend + ?Sized), offset: u64, data: &mut [u8]) -> Result<()> {
    medium.read_at(offset, &mut [IoSliceMut::new(data)])
}

/// [`BlockBackend::write_at`] from one buffer, without FUA.
///
/// # Errors
/// As [`BlockBackend::write_at`].
pub fn write_all(medium: &(impl BlockBackend + ?Sized), offset: u64, data: &[u8]) -> Result<()> {
    medium.write_at(offset, &[IoSlice::new(data)], false)
}

/// Checks a range against a medium: in bounds, whole sectors, and writable if `write`.
///
/// # Errors
/// [`BlockError::Unaligned`], [`BlockError::OutOfRange`] or [`BlockError::ReadOnly`].
pub fn check_range(info: &MediumInfo, offset: u64, len: u64, write: bool) -> Result<()> {
    let capacity = info.capacity;
    if !offset.is_multiple_of(SECTOR) || !len.is_multiple_of(SECTOR) {
        return Err(BlockError::Unaligned { offset, len, sector: SECTOR });
    }
    if offset > capacity || len > capacity - offset {
        return Err(BlockError::OutOfRange { offset, len, capacity });
    }
    if write && info.read_only {
        return Err(BlockError::ReadOnly);
    }
    Ok(())
}

/// What a controller asks of a medium.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Fill [`Request::data`].
    Read,
    /// Write [`Request::data`]; durable at completion if `fua`.
    Write {
        /// Force unit access.
        fua: bool,
    },
    /// Make completed writes durable.
    Flush,
    /// Give up `len` bytes.
    Discard {
        /// Bytes.
        len: u64,
    },
}

/// One request of a controller. The buffer travels with it and comes back in the [`Completion`], so that nothing is copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// Unique among the requests of this controller that are not completed.
    pub id: u64,
    /// Which of the controller's drives.
    pub unit: u8,
    /// What to do.
    pub operation: Operation,
    /// First byte on the medium.
    pub offset: u64,
    /// Data to write, or the buffer to fill.
    pub data: Vec<u8>,
    /// Virtual time, in nanoseconds, at which it takes effect: with a counted clock data move and interrupts come exactly then.
    pub due: u64,
}

/// Outcome classes a controller can tell a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Done.
    Done,
    /// The range leaves the medium, or is not whole sectors.
    OutOfRange,
    /// The medium is read-only.
    ReadOnly,
    /// A medium error, or the host's I/O failed. A guest is told no more; [`perform_with`] tells its caller the reason.
    MediumError,
    /// There is no medium, or the drive is dead.
    NotReady,
}

impl From<&BlockError> for Outcome {
    fn from(e: &BlockError) -> Self {
        match e {
            BlockError::OutOfRange { .. } | BlockError::Unaligned { .. } => Self::OutOfRange,
            BlockError::ReadOnly => Self::ReadOnly,
            _ => Self::MediumError,
        }
    }
}

/// The answer to a [`Request`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The request's.
    pub id: u64,
    /// How it went.
    pub outcome: Outcome,
    /// The request's buffer; filled if it was a read and went well.
    pub data: Vec<u8>,
}

/// A controller whose requests the machine carries to media.
///
/// The machine takes requests after every call into the device, performs them whenever it likes and in any order that leaves what overlaps as it
/// came, and hands the result back: before it next ticks the device at or after the request's `due`, or, if the medium is slow, later. The
/// controller acts on a completion at its own tick (its `next_deadline` is the request's `due` while one is outstanding; one ticked too
/// early asks for no tick until `complete`), so `complete` needs no bus. A restored controller offers its outstanding requests again.
pub trait DiskClient {
    /// The next request that was not handed out yet.
    fn next_request(&mut self) -> Option<Request>;
    /// Hands a result in. Unknown ids are ignored (the controller was reset meanwhile).
    fn complete(&mut self, completion: Completion);
}

/// Carries out one request on `medium` (`None`: no medium): what a machine without I/O threads does.
pub fn perform(medium: Option<&dyn BlockBackend>, request: Request) -> Completion {
    perform_with(medium, request, drop)
}

/// [`perform`], and `failed` gets the reason when the medium fails: for the host's user, as an [`Outcome`] says only what a guest can be told.
///
/// ```
/// use slotone_block::{BlockError, Operation, Outcome, Request, memory::MemoryDisk, perform_with};
///
/// let disk = MemoryDisk::new(1 << 20);
/// let request = Request { id: 1, unit: 0, operation: Operation::Read, offset: 1 << 20, data: vec![0; 512], due: 0 };
/// let mut reason = None;
/// let done = perform_with(Some(&disk), request, |e| reason = Some(e));
/// assert_eq!(done.outcome, Outcome::OutOfRange);
/// assert!(matches!(reason, Some(BlockError::OutOfRange { capacity: 0x10_0000, .. })));
/// ```
pub fn perform_with(
    medium: Option<&dyn BlockBackend>,
    mut request: Request,
    failed: impl FnOnce(BlockError),
) -> Completion {
    let outcome = match medium {
        None => Outcome::NotReady,
        Some(medium) => {
            let result = match request.operation {
                Operation::Read => read_exact(medium, request.offset, &mut request.data),
                Operation::Write { fua } => {
                    medium.write_at(request.offset, &[IoSlice::new(&request.data)], fua)
                }
                Operation::Flush => medium.flush(),
                Operation::Discard { len } => medium.discard(request.offset, len),
            };
            match result {
                Ok(()) => Outcome::Done,
                Err(e) => {
                    let outcome = Outcome::from(&e);
                    failed(e);
                    outcome
                }
            }
        }
    };
    Completion { id: request.id, outcome, data: request.data }
}

macro_rules! forward {
    ($($pointer:ty),*) => {$(
        impl<B: BlockBackend + ?Sized> BlockBackend for $pointer {
            fn info(&self) -> &MediumInfo {
                (**self).info()
            }
            fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<()> {
                (**self).read_at(offset, bufs)
            }
            fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<()> {
                (**self).write_at(offset, bufs, fua)
            }
            fn flush(&self) -> Result<()> {
                (**self).flush()
            }
            fn discard(&self, offset: u64, len: u64) -> Result<()> {
                (**self).discard(offset, len)
            }
            fn write_zeroes(&self, offset: u64, len: u64, fua: bool) -> Result<()> {
                (**self).write_zeroes(offset, len, fua)
            }
        }
    )*};
}
forward!(Box<B>, std::sync::Arc<B>, &B);
