//! A child into its parent.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use slotone_block::{BlockBackend, write_all};

use crate::convert::zero_runs;
use crate::dynamic::Run;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DiskKind, SECTOR};
use crate::image::Image;
use crate::progress::{Progress, tell};
use crate::resize::resize;
use crate::storage::{FileStorage, Lock};
use crate::vhd::{OpenOptions, StampPolicy, Vhd};

/// Writes all that a differencing disk has into its parent and returns the parent's path. The child's file is left as it is: reading
/// through it gives the same content before, during and after, so an interrupted merge is simply run again; the caller removes it
/// when it is done. Other children of the same parent are worthless afterwards.
///
/// # Errors
/// Either is in use, the parent cannot be written, or `progress` stopped it.
pub fn merge(child: impl AsRef<Path>, options: &OpenOptions, progress: &mut Progress<'_>) -> Result<PathBuf> {
    let child = child.as_ref();
    crate::undo::refuse_if_active(child)?;
    // A merge that was interrupted has changed the parent's time.
    let options = options.clone().stamp_policy(StampPolicy::Ignore);
    let parent = {
        let disk = options.clone().read_only(true).open(child)?;
        let parent = disk.chain().nth(1).map(Path::to_owned);
        parent.ok_or_else(|| {
            Error::new(
                child,
                ErrorKind::Unsupported(format!("a {} disk has no parent to merge into", disk.kind().name())),
            )
        })?
    };
    let storage = Arc::new(FileStorage::open(child, false, Lock::Exclusive)?);
    let image = Image::load(storage, child, options.load(false))?;
    let target = options.clone().read_only(false).open(&parent)?;
    merge_into(&image, target, progress)?;
    Ok(parent)
}

/// As [`merge`] for images that are open: `child` is one file without its parents.
pub(crate) fn merge_into(child: &Image, target: Vhd, progress: &mut Progress<'_>) -> Result<()> {
    let wrong = |text: &str| child.error(ErrorKind::Unsupported(text.into()));
    let Some(dynamic) = child.dynamic().filter(|_| child.kind == DiskKind::Differencing) else {
        return Err(wrong("only a differencing disk can be merged"));
    };
    if dynamic.layout.header.parent_id() != target.id() {
        return Err(wrong("the other disk is not its parent"));
    }
    let target = if target.size() < child.size { resize(target, child.size, false)? } else { target };
    let mut buf = vec![0u8; 1 << 20];
    let total = child.size;
    dynamic
        .runs(&*child.storage, 0, total, &mut |run, at, n| {
            let Run::Here(file_at) = run else { return tell(progress, at, total) };
            let mut done = 0;
            while done < n {
                let len = (n - done).min(buf.len() as u64) as usize;
                child.storage.read_at(file_at + done, &mut buf[..len])?;
                zero_runs(&buf[..len], SECTOR as usize * 8, |i, bytes, zero| {
                    let to = at + done + i as u64;
                    if zero {
                        target.write_zeroes(to, bytes.len() as u64, false)
                    } else {
                        write_all(&target, to, bytes)
                    }
                })?;
                done += len as u64;
                tell(progress, at + done, total)?;
            }
            Ok(())
        })
        .map_err(|e| child.error(e))?;
    target.close()
}

/// As [`merge`] in any storage: `child` alone, into its open parent.
///
/// # Errors
/// As [`merge`].
pub fn merge_storage(
    child: Arc<dyn crate::Storage>,
    path: &Path,
    target: Vhd,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let image = Image::load(child, path, OpenOptions::new().load(false))?;
    merge_into(&image, target, progress)
}
