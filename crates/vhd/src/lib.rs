//! Virtual hard disks (VHD): fixed, dynamic, differencing, linked and undo disks; read, write, check, convert.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod bits;
mod create;
mod dynamic;
mod error;
pub mod format;
mod image;
mod io;
mod layout;
mod resolve;
pub mod storage;
pub mod undo;
mod vhd;

pub use create::CreateOptions;
pub use error::{Error, ErrorKind, Result, TriedParent};
pub use format::{DiskId, DiskKind};
pub use image::SizePolicy;
pub use layout::LocatorText;
pub use resolve::{FileResolver, MemResolver, NoParents, ParentInfo, Resolver};
pub use storage::{FileStorage, MemStorage, Storage};
pub use vhd::{Extent, OpenOptions, StampPolicy, Vhd};
