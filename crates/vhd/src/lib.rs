//! Virtual hard disks (VHD): fixed, dynamic, differencing, linked and undo disks; read, write, check, convert.
//!
//! The format is Microsoft's "Virtual Hard Disk Image Format Specification", version 1.0 (2006), as the products write it: see
//! [`mod@format`] for the structures. [`Vhd`] is an open disk with its parents and a [`slotone_block::BlockBackend`];
//! [`OpenOptions`] and [`CreateOptions`] make one. [`convert`], [`merge`], [`compact`], [`resize`], [`reconnect`], [`check`] and
//! [`repair`] are the verbs of the `vhd` tool; [`undo`] has sessions over several disks, [`nbd`] a server, [`fsfree`] the free space of
//! FAT and NTFS. [`Storage`] is where bytes are kept.
//!
//! Writes are crash-consistent: what a flush acknowledged survives a power cut, and the image opens. The README has the rules, the
//! limits and the threat model.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod bits;
mod check;
mod compact;
mod convert;
mod create;
mod dynamic;
mod error;
pub mod format;
pub mod fsfree;
mod image;
mod io;
mod layout;
mod merge;
pub mod nbd;
mod progress;
mod reconnect;
mod resize;
mod resolve;
mod source;
pub mod storage;
pub mod undo;
mod vhd;

pub use check::{Problem, Report, Severity, check, check_storage, repair, repair_storage};
pub use compact::{CompactOptions, Compacted, compact};
pub use convert::{ConvertOptions, Target, convert};
pub use create::CreateOptions;
pub use error::{Error, ErrorKind, Result, TriedParent};
pub use format::{DiskId, DiskKind};
pub use image::SizePolicy;
pub use layout::LocatorText;
pub use merge::{merge, merge_storage};
pub use progress::{Progress, quiet};
pub use reconnect::{reconnect, reconnect_storage};
pub use resize::resize;
pub use resolve::{FileResolver, MemResolver, NoParents, ParentInfo, Resolver};
pub use source::{LinkedDisk, Source, open_source};
pub use storage::{FileStorage, MemStorage, Storage};
pub use vhd::{Extent, OpenOptions, StampPolicy, Vhd};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
