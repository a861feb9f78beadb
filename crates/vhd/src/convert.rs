//! From any kind of disk to another.

use std::fs::File;
use std::io::IoSlice;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};

use slotone_block::{BlockBackend, read_exact};

use crate::create::{CreateOptions, sync_folder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DEFAULT_BLOCK_SIZE, SECTOR};
use crate::io::is_zero;
use crate::progress::{Progress, tell};
use crate::source::{LinkedDisk, Source};
use crate::storage::{FileStorage, Lock, Storage};
use crate::vhd::{OpenOptions, Vhd};

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
    /// 1: read and write in turns; more: one thread reads while the calling one writes.
    pub threads: usize,
}

impl Default for ConvertOptions {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(1, |n| n.get().min(2));
        Self { target: Target::Dynamic, block_size: DEFAULT_BLOCK_SIZE, durable: true, threads }
    }
}

/// Bytes that are looked at for zeros at a time.
const GRAIN: usize = 4096;
/// Bytes that a thread reads at once: small enough to be in its cache still when they are written.
const PIECE: usize = 256 << 10;
/// Pieces between reader and writer.
const IN_FLIGHT: usize = 8;
/// Bytes after which a durable conversion has the host write to its disk.
const EARLY: u64 = 8 << 20;
/// Disks smaller than this are not worth a second thread.
const SMALL: u64 = 4 << 20;

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
    if partial.symlink_metadata().is_ok() {
        // A conversion to the same name that was killed has left it, or one that runs holds its lock.
        drop(FileStorage::open(&partial, true, Lock::Exclusive)?);
        std::fs::remove_file(&partial).map_err(|e| Error::new(&partial, e))?;
    }
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
            let early = options.durable.then_some(Early { storage: &*storage, disk: None, done: 0 });
            copy(source, &raw, options.threads, early, progress).map_err(|e| Error::new(path, e))?;
            finish(storage.file(), path, options.durable)
        }
        Target::Fixed | Target::Dynamic => {
            let create = match options.target {
                Target::Fixed => CreateOptions::fixed(size),
                _ => CreateOptions::dynamic(size).block_size(options.block_size),
            };
            let disk = create.create_with(path, &open)?;
            let early =
                options.durable.then(|| Early { storage: &**disk.storage(), disk: Some(&disk), done: 0 });
            copy(source, &disk, options.threads, early, progress).map_err(|e| Error::new(path, e))?;
            disk.close()?;
            let file = File::open(path).map_err(|e| Error::new(path, e))?;
            finish(&file, path, options.durable)
        }
    }
}

fn finish(file: &File, path: &Path, durable: bool) -> Result<()> {
    if durable { file.sync_all().map_err(|e| Error::new(path, e)) } else { Ok(()) }
}

/// A piece of the source on its way.
struct Piece {
    at: u64,
    buf: Vec<u8>,
    len: usize,
}

/// Reads what may not be zero, in order.
struct Reader<'a> {
    source: &'a dyn Source,
    size: u64,
    at: u64,
    /// Of the source's answers the last one: asking again for each piece makes the host count a file's extents over and over.
    data: Range<u64>,
}

impl<'a> Reader<'a> {
    fn new(source: &'a dyn Source) -> Self {
        Self { source, size: source.info().capacity, at: 0, data: 0..0 }
    }

    /// Fills `piece` with the next data; `false`: nothing but zeros is left.
    fn next(&mut self, piece: &mut Piece) -> std::result::Result<bool, ErrorKind> {
        if self.at >= self.data.end {
            let found = self.source.next_data(self.at).map_err(Error::into_kind)?;
            let Some(data) = found.filter(|d| d.start < self.size) else { return Ok(false) };
            self.at = data.start;
            self.data = data;
        }
        piece.at = self.at;
        // Pieces end at multiples of their size, so that later ones are aligned.
        let stop = (self.at + 1).next_multiple_of(PIECE as u64).min(self.data.end).min(self.size);
        piece.len = (stop - self.at) as usize;
        self.at = stop;
        read_exact(self.source, piece.at, &mut piece.buf[..piece.len])?;
        Ok(true)
    }
}

/// Has the host begin with writing to its disk what will be made durable in the end anyway.
pub(crate) struct Early<'a> {
    storage: &'a dyn Storage,
    disk: Option<&'a Vhd>,
    done: u64,
}

impl Early<'_> {
    /// All up to `at` on the disk is written.
    fn reached(&mut self, at: u64) {
        let end = self.disk.and_then(Vhd::filled_up_to).unwrap_or(at);
        if end >= self.done + EARLY {
            self.storage.start_writeback(self.done, end - self.done);
            self.done = end;
        }
    }
}

/// Copies what is not zero from `source` to the new, empty disk `target` of at least the same size.
///
/// One thread reads, another one writes: two writers would only wait for each other in the host's file system.
pub(crate) fn copy(
    source: &dyn Source,
    target: &dyn BlockBackend,
    threads: usize,
    mut early: Option<Early<'_>>,
    progress: &mut Progress<'_>,
) -> std::result::Result<(), ErrorKind> {
    let mut reader = Reader::new(source);
    let size = reader.size;
    let mut write = |piece: &Piece| {
        write_nonzero(target, piece.at, &piece.buf[..piece.len])?;
        let end = piece.at + piece.len as u64;
        if let Some(early) = &mut early {
            early.reached(end);
        }
        tell(progress, end, size)
    };
    if threads < 2 || size < SMALL {
        let mut piece = Piece { at: 0, buf: vec![0; PIECE], len: 0 };
        while reader.next(&mut piece)? {
            write(&piece)?;
        }
    } else {
        std::thread::scope(|scope| {
            let (full, ready) = mpsc::sync_channel::<Piece>(IN_FLIGHT);
            let (empty, free) = mpsc::channel::<Vec<u8>>();
            (0..IN_FLIGHT).for_each(|_| drop(empty.send(vec![0; PIECE])));
            let reading = scope.spawn(move || -> std::result::Result<(), ErrorKind> {
                // Ends early when the writer is gone.
                while let Ok(buf) = free.recv() {
                    let mut piece = Piece { at: 0, buf, len: 0 };
                    if !reader.next(&mut piece)? || full.send(piece).is_err() {
                        break;
                    }
                }
                Ok(())
            });
            let written = ready.into_iter().try_for_each(|piece| {
                write(&piece)?;
                let _ = empty.send(piece.buf);
                Ok(())
            });
            drop(empty);
            let read =
                reading.join().unwrap_or_else(|_| Err(ErrorKind::Damaged("the reading thread died".into())));
            written.and(read)
        })?;
    }
    let _ = progress(size, size);
    Ok(())
}

/// Writes the parts of `data` that are not zero, in runs of [`GRAIN`].
fn write_nonzero(target: &dyn BlockBackend, at: u64, data: &[u8]) -> std::result::Result<(), ErrorKind> {
    zero_runs(data, GRAIN, |from, bytes, zero| {
        if zero { Ok(()) } else { Ok(target.write_at(at + from as u64, &[IoSlice::new(bytes)], false)?) }
    })
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
