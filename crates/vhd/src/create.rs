use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::dynamic::footer_start;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{
    DEFAULT_BLOCK_SIZE, DiskId, DiskKind, FOOTER_LEN, Footer, HEADER_LEN, Header, Locator, Platform, SECTOR,
    check_block_size, check_size, file_url, relative_windows,
};
use crate::layout::table_len;
use crate::storage::{FileStorage, Storage};
use crate::vhd::{OpenOptions, Vhd, now};

/// Room that each locator of a new child gets.
pub(crate) const LOCATOR_ROOM: u64 = 16 << 10;

/// How to create an image.
#[derive(Debug, Clone)]
pub struct CreateOptions {
    kind: DiskKind,
    size: Option<u64>,
    parent: Option<PathBuf>,
    block_size: u32,
    id: Option<DiskId>,
    stamp: Option<u32>,
    creator: Option<([u8; 4], u32)>,
    temporary: bool,
    aligned: bool,
    preallocate: bool,
}

impl CreateOptions {
    fn new(kind: DiskKind, size: Option<u64>, parent: Option<PathBuf>) -> Self {
        Self {
            kind,
            size,
            parent,
            block_size: DEFAULT_BLOCK_SIZE,
            id: None,
            stamp: None,
            creator: None,
            temporary: false,
            aligned: true,
            preallocate: false,
        }
    }

    /// A disk of `size` bytes whose file grows as it is written. At most 2040 GiB.
    pub fn dynamic(size: u64) -> Self {
        Self::new(DiskKind::Dynamic, Some(size), None)
    }

    /// A disk of `size` bytes, all of them in the file (sparse where the host's file system can).
    pub fn fixed(size: u64) -> Self {
        Self::new(DiskKind::Fixed, Some(size), None)
    }

    /// What is written from now on to the disk `parent`, which must not change any more. Of the same size unless
    /// [`CreateOptions::size`] says a larger one.
    pub fn differencing(parent: impl Into<PathBuf>) -> Self {
        Self::new(DiskKind::Differencing, None, Some(parent.into()))
    }

    /// Size in bytes.
    pub fn size(mut self, size: u64) -> Self {
        self.size = Some(size);
        self
    }

    /// Bytes in a block, a power of two (2 MiB). Microsoft's products know 512 KiB and 2 MiB.
    pub fn block_size(mut self, bytes: u32) -> Self {
        self.block_size = bytes;
        self
    }

    /// The disk's id (random).
    pub fn id(mut self, id: DiskId) -> Self {
        self.id = Some(id);
        self
    }

    /// Time of creation in seconds since 2000 (now).
    pub fn time_stamp(mut self, stamp: u32) -> Self {
        self.stamp = Some(stamp);
        self
    }

    /// Creator application and version. Other programs decide by it whether size or geometry counts; the default (`win ` 10.0)
    /// makes all of them take the size.
    pub fn creator(mut self, application: [u8; 4], version: u32) -> Self {
        self.creator = Some((application, version));
        self
    }

    /// Marks it as a candidate for deletion, as undo disks are.
    pub fn temporary(mut self, on: bool) -> Self {
        self.temporary = on;
        self
    }

    /// Places data at multiples of 4096 bytes in the file (default), as Windows 8 and later do. Without, blocks are packed as by
    /// Virtual PC and Virtual Server.
    pub fn aligned(mut self, on: bool) -> Self {
        self.aligned = on;
        self
    }

    /// Writes zeros to all of a fixed disk, so that the room is taken now.
    pub fn preallocate(mut self, on: bool) -> Self {
        self.preallocate = on;
        self
    }

    /// Creates the file `path`, which must not exist, and opens it for reading and writing.
    ///
    /// # Errors
    /// The options contradict each other or the file cannot be written; then none is left.
    pub fn create(&self, path: impl AsRef<Path>) -> Result<Vhd> {
        self.create_with(path, &OpenOptions::new())
    }

    /// As [`CreateOptions::create`], opened as `open` says.
    ///
    /// # Errors
    /// As [`CreateOptions::create`].
    pub fn create_with(&self, path: impl AsRef<Path>, open: &OpenOptions) -> Result<Vhd> {
        let path = path.as_ref();
        let parent = match &self.parent {
            Some(p) => Some(open.clone().read_only(true).open(p)?),
            None => None,
        };
        // What can be refused is refused before there is a file.
        self.plan(path, parent.as_ref())?;
        let storage = Arc::new(FileStorage::create(path)?);
        let result = self.create_in(storage, path, open, parent.as_ref());
        if result.is_err() {
            let _ = std::fs::remove_file(path);
        } else {
            sync_folder(path);
        }
        result
    }

    /// Creates an image in an empty storage and opens it. `parent` is the open parent of a differencing disk.
    ///
    /// # Errors
    /// As [`CreateOptions::create`].
    pub fn create_in(
        &self,
        storage: Arc<dyn Storage>,
        path: impl AsRef<Path>,
        open: &OpenOptions,
        parent: Option<&Vhd>,
    ) -> Result<Vhd> {
        let path = path.as_ref();
        let footer = self.plan(path, parent)?;
        self.write(&*storage, path, &footer, parent).map_err(|e| Error::new(path, e))?;
        open.open_storage(storage, path)
    }

    fn plan(&self, path: &Path, parent: Option<&Vhd>) -> Result<Footer> {
        let fail = |k: ErrorKind| Error::new(path, k);
        let unsupported = |s: &str| fail(ErrorKind::Unsupported(s.into()));
        let size = match (self.size, parent) {
            (Some(size), Some(p)) if size < p.size() => {
                return Err(fail(ErrorKind::ParentTooLarge {
                    parent: p.path().to_owned(),
                    size,
                    found: p.size(),
                }));
            }
            (Some(size), _) => size,
            (None, Some(p)) => p.size(),
            (None, None) => return Err(unsupported("a new disk needs a size")),
        };
        if (self.kind == DiskKind::Differencing) != parent.is_some() {
            return Err(unsupported("a differencing disk needs an open parent, and no other disk has one"));
        }
        if parent.is_some_and(|p| p.id().is_nil()) {
            return Err(unsupported("the parent has no id: no child could be sure of it"));
        }
        check_size(self.kind, size).map_err(fail)?;
        if self.kind != DiskKind::Fixed {
            check_block_size(self.block_size).map_err(fail)?;
            if size.div_ceil(u64::from(self.block_size)) > 64 << 20 {
                return Err(unsupported("the blocks are too small for a disk of this size"));
            }
        }
        let id = match self.id {
            Some(id) => id,
            None => DiskId::random().map_err(|e| fail(e.into()))?,
        };
        let mut footer = Footer::new(self.kind, size, id, self.stamp.unwrap_or_else(now));
        footer.set_temporary(self.temporary);
        if let Some((app, version)) = self.creator {
            footer.set_creator(app, version);
        }
        Ok(footer)
    }

    /// Durable on return; a power cut before that leaves a file that is no image or a damaged one, which nobody was told of.
    fn write(
        &self,
        storage: &dyn Storage,
        path: &Path,
        footer: &Footer,
        parent: Option<&Vhd>,
    ) -> std::result::Result<(), ErrorKind> {
        let size = footer.current_size();
        if self.kind == DiskKind::Fixed {
            storage.set_len(size + FOOTER_LEN as u64)?;
            if self.preallocate {
                fill_with_zeros(storage, size)?;
            }
            storage.write_at(size, &footer.to_bytes())?;
            storage.sync()?;
            return Ok(());
        }
        let entries = size.div_ceil(u64::from(self.block_size)) as u32;
        let table_at = (FOOTER_LEN + HEADER_LEN) as u64;
        let table_end = table_at + table_len(entries);
        let mut header = Header::new(table_at, entries, self.block_size);
        let mut end = table_end;
        if let Some(parent) = parent {
            end = describe_parent(storage, path, &mut header, parent, table_end)?;
        }
        storage.write_at(FOOTER_LEN as u64, &header.to_bytes())?;
        let filled = vec![0xFF; table_len(entries).min(1 << 20) as usize];
        let mut at = table_at;
        while at < table_end {
            let n = (table_end - at).min(filled.len() as u64);
            storage.write_at(at, &filled[..n as usize])?;
            at += n;
        }
        let footer_at = footer_start(end, self.aligned);
        storage.set_len(footer_at + FOOTER_LEN as u64)?;
        storage.write_at(0, &footer.to_bytes())?;
        storage.write_at(footer_at, &footer.to_bytes())?;
        storage.sync()?;
        Ok(())
    }
}

/// Writes id, stamp, name and locators of `parent` into `header` and the locators' data behind `at`; returns where they end.
pub(crate) fn describe_parent(
    storage: &dyn Storage,
    child: &Path,
    header: &mut Header,
    parent: &Vhd,
    at: u64,
) -> std::result::Result<u64, ErrorKind> {
    let stamp = parent.storage().modified().unwrap_or(0);
    let name = parent.path().file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    header.set_parent(parent.id(), stamp, &name);
    let mut at = at.next_multiple_of(SECTOR);
    // PATH_MAX is 4096 bytes: 8192 in UTF-16, 12288 in a URL.
    for (index, (platform, data)) in parent_paths(child, parent.path()).into_iter().enumerate() {
        let room = LOCATOR_ROOM;
        if data.len() as u64 > room {
            continue;
        }
        let mut bytes = vec![0; room as usize];
        bytes[..data.len()].copy_from_slice(&data);
        storage.write_at(at, &bytes)?;
        let locator =
            Locator { platform, data_space: room as u32, data_length: data.len() as u32, offset: at };
        header.set_locator(index, locator);
        at += room;
    }
    Ok(at)
}

/// The locators for a parent: relative and absolute Windows paths, and a file URL.
fn parent_paths(child: &Path, parent: &Path) -> Vec<(Platform, Vec<u8>)> {
    let utf16 = |s: &str| s.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let absolute = std::fs::canonicalize(parent).or_else(|_| std::path::absolute(parent));
    let folder = child.parent().map(|d| if d.as_os_str().is_empty() { Path::new(".") } else { d });
    let folder = folder.and_then(|d| std::fs::canonicalize(d).or_else(|_| std::path::absolute(d)).ok());
    let mut out = Vec::new();
    let Ok(absolute) = absolute else { return out };
    if let Some(relative) = folder.and_then(|d| relative_windows(&d, &absolute)) {
        out.push((Platform::RelativeUnicode, utf16(&relative)));
    }
    out.push((Platform::AbsoluteUnicode, utf16(&absolute.to_string_lossy().replace('/', "\\"))));
    out.push((Platform::MacUrl, file_url(&absolute).into_bytes()));
    out
}

fn fill_with_zeros(storage: &dyn Storage, size: u64) -> std::io::Result<()> {
    let zeros = vec![0u8; 1 << 20];
    let mut at = 0;
    while at < size {
        let n = (size - at).min(zeros.len() as u64);
        storage.write_at(at, &zeros[..n as usize])?;
        at += n;
    }
    Ok(())
}

/// Makes a new name durable.
pub(crate) fn sync_folder(path: &Path) {
    #[cfg(unix)]
    {
        let folder = path.parent().filter(|d| !d.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // A folder that cannot be synced (some network file systems) leaves the file as it is.
        let _ = std::fs::File::open(folder).and_then(|d| d.sync_all());
    }
    #[cfg(not(unix))]
    let _ = path;
}
