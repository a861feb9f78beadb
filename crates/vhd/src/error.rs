//! What can be wrong with an image, and how it is said.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slotone_block::BlockError;
use thiserror::Error;

use crate::format::DiskId;

/// Result of an operation on an image.
pub type Result<T> = std::result::Result<T, Error>;

/// What failed, and in which file. The message says all there is, the host's reason included;
/// [`source`](std::error::Error::source) does not repeat it.
#[derive(Debug, Clone)]
pub struct Error {
    path: PathBuf,
    kind: Box<ErrorKind>,
}

impl Error {
    /// `kind` happened in the file `path`.
    pub fn new(path: impl AsRef<Path>, kind: impl Into<ErrorKind>) -> Self {
        Self { path: path.as_ref().to_owned(), kind: Box::new(kind.into()) }
    }

    /// The file; empty when an image is not a file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What happened, without the file.
    pub fn into_kind(self) -> ErrorKind {
        *self.kind
    }

    /// What happened.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.path.as_os_str().is_empty() {
            self.kind.fmt(f)
        } else {
            write!(f, "{}: {}", self.path.display(), self.kind)
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&*self.kind)
    }
}

/// Why one candidate was not taken as the parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TriedParent {
    /// Where it was looked for.
    pub path: PathBuf,
    /// What was there instead.
    pub why: String,
}

/// What can be wrong. Offsets and sizes are bytes.
#[derive(Debug, Clone, Error)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The host's I/O failed.
    #[error(transparent)]
    Io(Arc<io::Error>),
    /// Neither end of the file has the `conectix` cookie.
    #[error("not a VHD: no footer at the end and no copy of one at the beginning")]
    NotVhd,
    /// XenServer's mark for a disk that was disabled on purpose.
    #[error("the image was disabled on purpose by XenServer (cookie v_poison)")]
    Poisoned,
    /// Too short for what it must hold.
    #[error("the file is cut short: {what} needs {needed} bytes, the file has {have}")]
    Truncated {
        /// What does not fit.
        what: &'static str,
        /// Bytes the file must have.
        needed: u64,
        /// Bytes it has.
        have: u64,
    },
    /// Footers were found but none has the right checksum.
    #[error(
        "the footer's checksum is wrong (stored {stored:#010x}, computed {computed:#010x}) and there is no good copy"
    )]
    FooterChecksum {
        /// In the file.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// The dynamic header's checksum is wrong; there is no second copy of it.
    #[error("the dynamic header's checksum is wrong (stored {stored:#010x}, computed {computed:#010x})")]
    HeaderChecksum {
        /// In the file.
        stored: u32,
        /// What the bytes give.
        computed: u32,
    },
    /// No `cxsparse` cookie where the footer says the dynamic header is.
    #[error("no dynamic header at byte {offset}")]
    NoHeader {
        /// The footer's data offset.
        offset: u64,
    },
    /// A version other than 1.x.
    #[error("{what} has format version {version:#010x}, expected 0x00010000")]
    UnsupportedVersion {
        /// Footer or dynamic header.
        what: &'static str,
        /// Found.
        version: u32,
    },
    /// A disk type this crate does not know.
    #[error("disk type {0} is not fixed (2), dynamic (3) or differencing (4)")]
    UnsupportedType(u32),
    /// A size that is not whole sectors, zero, or beyond the format's limit.
    #[error("disk size {size}: {why}")]
    InvalidSize {
        /// The size.
        size: u64,
        /// What is wrong with it.
        why: &'static str,
    },
    /// Not a power of two between 512 bytes and 256 MiB.
    #[error("block size {0} is not a power of two between 512 bytes and 256 MiB")]
    InvalidBlockSize(u32),
    /// The table has fewer entries than the disk has blocks.
    #[error("the block allocation table has {entries} entries, the disk needs {needed}")]
    TableTooSmall {
        /// Entries.
        entries: u32,
        /// Blocks of the disk.
        needed: u64,
    },
    /// The table is not inside the file, or lies on the headers.
    #[error(
        "the block allocation table at byte {offset} ({len} bytes) is outside the file or on the headers"
    )]
    TableOutOfFile {
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
    },
    /// An entry that points at the headers, the table or a locator.
    #[error("block {block} is said to be at sector {sector}, inside the image's own headers")]
    EntryInMetadata {
        /// Block number.
        block: u32,
        /// BAT entry.
        sector: u32,
    },
    /// An entry whose block does not end inside the file.
    #[error("block {block} is said to be at sector {sector}, which does not fit into a file of {len} bytes")]
    EntryPastEnd {
        /// Block number.
        block: u32,
        /// BAT entry.
        sector: u32,
        /// Bytes of the file.
        len: u64,
    },
    /// Two blocks share bytes of the file.
    #[error("blocks {first} and {second} overlap in the file")]
    EntriesOverlap {
        /// One block.
        first: u32,
        /// The other block.
        second: u32,
    },
    /// A locator's data is not inside the file, or belongs to something else there.
    #[error("parent locator {index} points outside the file, at the headers or into a block")]
    LocatorOutOfFile {
        /// 0 to 7.
        index: usize,
    },
    /// No file was found that can be the parent. If it was moved, [`OpenOptions::parent`](crate::OpenOptions::parent) says where it is for
    /// this time, [`reconnect`](crate::reconnect) for good; `reconnect` with `any_id` takes a disk with another id than the child was made on.
    #[error("{}", parent_not_found(.id, .name, .tried))]
    ParentNotFound {
        /// The identifier that the parent must have.
        id: DiskId,
        /// Its name as the child has it.
        name: String,
        /// Where it was looked for and why it was not that.
        tried: Vec<TriedParent>,
    },
    /// The parent was modified after the child was made (only with [`crate::StampPolicy::Require`], which says what counts as that). If
    /// its content is right, [`crate::reconnect`] records its new time in the child.
    #[error(
        "the parent {} was modified at {found} (seconds since 2000), the child was made on its state of {wanted}",
        parent.display()
    )]
    ParentModified {
        /// The parent.
        parent: PathBuf,
        /// The child's record.
        wanted: u32,
        /// The file's modification time.
        found: u32,
    },
    /// A parent larger than its child.
    #[error("the parent {} has {found} bytes, more than the child's {size}", parent.display())]
    ParentTooLarge {
        /// The parent.
        parent: PathBuf,
        /// The child's size.
        size: u64,
        /// The parent's size.
        found: u64,
    },
    /// More images in the chain than allowed.
    #[error("more than {0} images in the chain")]
    ChainTooDeep(usize),
    /// An image that is its own ancestor.
    #[error("the chain comes back to {}", .0.display())]
    ChainCycle(PathBuf),
    /// Another process, or another part of this one, has it open.
    #[error("in use: another process (or this one) has it open{}", if *.exclusive { "" } else { " for writing" })]
    Locked {
        /// The lock that was asked for was the exclusive one of a writer.
        exclusive: bool,
    },
    /// A write to an image that is open read-only.
    #[error("the image is open read-only")]
    ReadOnly,
    /// The image belongs to a saved machine: its layout must not change.
    #[error("the image belongs to a machine in saved state: resize and compact are not allowed")]
    SavedState,
    /// An undo session is running on this disk.
    #[error(
        "an undo session is running ({}): open the disk through it, or commit or discard it first",
        journal.display()
    )]
    UndoActive {
        /// The session's journal.
        journal: PathBuf,
    },
    /// A number in the file asks for more than this program is willing to spend.
    #[error("{what} of {value} is over the limit of {limit}")]
    LimitExceeded {
        /// What.
        what: &'static str,
        /// Asked for.
        value: u64,
        /// The limit.
        limit: u64,
    },
    /// The 32-bit table cannot address any further block.
    #[error("the file has reached the last sector that the format can address")]
    FileFull,
    /// The operation does not apply to this kind of disk.
    #[error("{0}")]
    Unsupported(String),
    /// Damage that has no name of its own.
    #[error("{0}")]
    Damaged(String),
    /// A range outside the disk, or not whole sectors.
    #[error("{0}")]
    Block(String),
    /// The caller asked to stop; what was done so far is valid.
    #[error("interrupted")]
    Interrupted,
}

fn parent_not_found(id: &DiskId, name: &str, tried: &[TriedParent]) -> String {
    let mut s = format!("the parent disk {id} (named \"{name}\") was not found");
    if tried.is_empty() {
        s.push_str(": the image has no usable locator");
    }
    for (i, t) in tried.iter().enumerate() {
        s.push_str(if i == 0 { "; looked for it at " } else { ", at " });
        s.push_str(&format!("{} ({})", t.path.display(), t.why));
    }
    s
}

impl From<io::Error> for ErrorKind {
    fn from(e: io::Error) -> Self {
        Self::Io(Arc::new(e))
    }
}

impl From<Error> for BlockError {
    fn from(e: Error) -> Self {
        match *e.kind {
            ErrorKind::Io(e) => io_to_block(Arc::try_unwrap(e).unwrap_or_else(|e| copied(&e))),
            ErrorKind::ReadOnly => BlockError::ReadOnly,
            ErrorKind::FileFull => BlockError::NoSpace,
            _ => BlockError::Corrupt(e.to_string()),
        }
    }
}

impl From<BlockError> for ErrorKind {
    fn from(e: BlockError) -> Self {
        match e {
            BlockError::Io(e) => e.into(),
            BlockError::ReadOnly => ErrorKind::ReadOnly,
            BlockError::NoSpace => io::Error::from(io::ErrorKind::StorageFull).into(),
            other => ErrorKind::Block(other.to_string()),
        }
    }
}

fn copied(e: &io::Error) -> io::Error {
    e.raw_os_error().map_or_else(|| io::Error::new(e.kind(), e.to_string()), io::Error::from_raw_os_error)
}

pub(crate) fn io_to_block(e: io::Error) -> BlockError {
    match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            BlockError::NoSpace
        }
        _ => BlockError::Io(e),
    }
}
