//! Undo sessions.

use std::path::{Path, PathBuf};

use crate::error::{Error, ErrorKind, Result};

/// Where the journal of a session on `disk` is noted.
pub(crate) fn note_path(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(".undo");
    PathBuf::from(name)
}

pub(crate) fn refuse_if_active(disk: &Path) -> Result<()> {
    let journal = note_path(disk);
    if journal.exists() { Err(Error::new(disk, ErrorKind::UndoActive { journal })) } else { Ok(()) }
}
