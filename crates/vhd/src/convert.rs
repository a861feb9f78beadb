//! From any kind of disk to another.

use std::fs::File;
use std::io::IoSlice;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slotone_block::{BlockBackend, read_exact};

use crate::create::{CreateOptions, sync_folder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DEFAULT_BLOCK_SIZE, SECTOR};
use crate::io::is_zero;
use crate::progress::Progress;
use crate::source::{LinkedDisk, Source};
use crate::storage::{FileStorage, Storage};
use crate::vhd::OpenOptions;

/// What to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Target {
    /// A dynamic VHD.
    #[default]
    Dynamic,
    /// A fixed VHD.
    Fixed,
    /// A raw image.
    Raw,
}

/// How to convert.
#[derive(Debug, Clone)]
pub struct ConvertOptions {
    /// What to make.
    pub target: Target,
    /// Bytes in a block of a dynamic VHD.
    pub block_size: u32,
    /// Make the result durable before it gets its name (default). Without, a power cut soon afterwards may damage it.
    pub durable: bool,
    /// Threads that copy.
    pub threads: usize,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(4));
        Self { target: Target::Dynamic, block_size: DEFAULT_BLOCK_SIZE, durable: true, threads }
    }
}

/// Bytes that are looked at for zeros at a time.
const GRAIN: usize = 4096;
/// Bytes that a thread reads at once: small enough to be in its cache still when they are written.
const PIECE: usize = 256 << 10;
/// Bytes that a thread takes on.
const SHARE: u64 = 2 << 20;

/// Copies all of `source` into the new file `target`, leaving out zeros. The file appears under its name only when it is complete.
///
/// # Errors
/// `target` exists, a file cannot be read or written, or `progress` stopped it ([`ErrorKind::Interrupted`]). Nothing is left then.
pub fn convert(
    source: &dyn Source,
    target: impl AsRef<Path>,
    options: &ConvertOptions,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let target = target.as_ref();
    if target.symlink_metadata().is_ok() {
        return Err(Error::new(target, exists()));
    }
    let partial = partial_name(target);
    // Only a conversion to the same name that was killed leaves one.
    let _ = std::fs::remove_file(&partial);
    let done = fill(source, &partial, options, progress).and_then(|()| give_name(&partial, target));
    if done.is_err() {
        let _ = std::fs::remove_file(&partial);
    } else if options.durable {
        sync_folder(target);
    }
    done.map_err(|e| if e.path() == partial { Error::new(target, e.into_kind()) } else { e })
}

fn exists() -> std::io::Error {
    std::io::Error::new(std::io::ErrorKind::AlreadyExists, "the file exists already; nothing is overwritten")
}

pub(crate) fn partial_name(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".partial");
    PathBuf::from(name)
}

/// Renames without replacing.
fn give_name(partial: &Path, target: &Path) -> Result<()> {
    let fail = |e: std::io::Error| Error::new(target, e);
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, partial, CWD, target, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
            other => return other.map_err(|e| fail(e.into())),
        }
    }
    if target.symlink_metadata().is_ok() {
        return Err(fail(exists()));
    }
    std::fs::rename(partial, target).map_err(fail)
}

fn fill(
    source: &dyn Source,
    path: &Path,
    options: &ConvertOptions,
    progress: &mut Progress<'_>,
) -> Result<()> {
    let size = source.info().capacity;
    let open = OpenOptions::new().unsafe_bulk(true);
    match options.target {
        Target::Raw => {
            let storage = Arc::new(FileStorage::create(path)?);
            storage.set_len(size).map_err(|e| Error::new(path, e))?;
            let raw = LinkedDisk::from_storage(storage.clone(), path, false)?;
            copy(source, &raw, options.threads, progress).map_err(|e| Error::new(path, e))?;
            finish(storage.file(), path, options.durable)
        }
        Target::Fixed | Target::Dynamic => {
            let create = match options.target {
                Target::Fixed => CreateOptions::fixed(size),
                _ => CreateOptions::dynamic(size).block_size(options.block_size),
            };
            let disk = create.create_with(path, &open)?;
            copy(source, &disk, options.threads, progress).map_err(|e| Error::new(path, e))?;
            disk.close()?;
            let file = File::open(path).map_err(|e| Error::new(path, e))?;
            finish(&file, path, options.durable)
        }
    }
}

fn finish(file: &File, path: &Path, durable: bool) -> Result<()> {
    if durable { file.sync_all().map_err(|e| Error::new(path, e)) } else { Ok(()) }
}

/// Copies what is not zero from `source` to the new, empty disk `target` of at least the same size.
pub(crate) fn copy(
    source: &dyn Source,
    target: &dyn BlockBackend,
    threads: usize,
    progress: &mut Progress<'_>,
) -> std::result::Result<(), ErrorKind> {
    let size = source.info().capacity;
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let work = |tell: &mut dyn FnMut(u64) -> ControlFlow<()>| -> std::result::Result<(), ErrorKind> {
        let mut buf = vec![0u8; PIECE];
        while !stop.load(Ordering::Relaxed) {
            let start = next.fetch_add(SHARE, Ordering::Relaxed);
            if start >= size {
                break;
            }
            copy_range(source, target, start, (start + SHARE).min(size), &mut buf)?;
            if tell(start).is_break() {
                return Err(ErrorKind::Interrupted);
            }
        }
        Ok(())
    };
    let guarded = |tell: &mut dyn FnMut(u64) -> ControlFlow<()>| {
        let done = work(tell);
        if done.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
        done
    };
    let helpers = threads.saturating_sub(1).min(size.div_ceil(SHARE) as usize);
    std::thread::scope(|scope| {
        let others: Vec<_> =
            (0..helpers).map(|_| scope.spawn(|| guarded(&mut |_| ControlFlow::Continue(())))).collect();
        let mut result = guarded(&mut |at| progress(at, size));
        for other in others {
            let theirs =
                other.join().unwrap_or_else(|_| Err(ErrorKind::Damaged("a copying thread died".into())));
            result = result.and(theirs);
        }
        result
    })?;
    let _ = progress(size, size);
    Ok(())
}

fn copy_range(
    source: &dyn Source,
    target: &dyn BlockBackend,
    start: u64,
    end: u64,
    buf: &mut [u8],
) -> std::result::Result<(), ErrorKind> {
    let mut at = start;
    while at < end {
        let Some(data) = source.next_data(at).map_err(Error::into_kind)?.filter(|d| d.start < end) else {
            break;
        };
        at = data.start;
        let stop = data.end.min(end);
        while at < stop {
            let n = (stop - at).min(buf.len() as u64) as usize;
            read_exact(source, at, &mut buf[..n])?;
            write_nonzero(target, at, &buf[..n])?;
            at += n as u64;
        }
    }
    Ok(())
}

/// Writes the parts of `data` that are not zero, in runs of [`GRAIN`].
fn write_nonzero(target: &dyn BlockBackend, at: u64, data: &[u8]) -> std::result::Result<(), ErrorKind> {
    let mut run: Option<usize> = None;
    let mut i = 0;
    while i < data.len() {
        let end = (i + GRAIN).min(data.len());
        match (is_zero(&data[i..end]), run) {
            (true, Some(from)) => {
                target.write_at(at + from as u64, &[IoSlice::new(&data[from..i])], false)?;
                run = None;
            }
            (false, None) => run = Some(i),
            _ => {}
        }
        i = end;
    }
    if let Some(from) = run {
        target.write_at(at + from as u64, &[IoSlice::new(&data[from..])], false)?;
    }
    Ok(())
}

/// Calls `f(offset in data, bytes, zero)` for the runs of zeros and others in `data`, whole sectors.
pub(crate) fn zero_runs<E>(
    data: &[u8],
    grain: usize,
    mut f: impl FnMut(usize, &[u8], bool) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    debug_assert!((grain as u64).is_multiple_of(SECTOR));
    let mut from = 0;
    let mut kind = None;
    let mut i = 0;
    while i < data.len() {
        let end = (i + grain).min(data.len());
        let zero = is_zero(&data[i..end]);
        if let Some(k) = kind.filter(|k| *k != zero) {
            f(from, &data[from..i], k)?;
            from = i;
        }
        kind = Some(zero);
        i = end;
    }
    match kind {
        Some(k) => f(from, &data[from..], k),
        None => Ok(()),
    }
}
