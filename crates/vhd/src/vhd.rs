use std::io::{IoSlice, IoSliceMut};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use slotone_block::{BlockBackend, BlockError, Geometry, MediumInfo, check_range};

use crate::dynamic::Run;
use crate::error::{Error, ErrorKind, Result, TriedParent};
use crate::format::{DiskId, DiskKind, Footer, Header};
use crate::image::{Body, Image, Load, SizePolicy};
use crate::io::{total, total_out, zero_part};
use crate::layout::LocatorText;
use crate::resolve::{FileResolver, ParentInfo, Resolver};
use crate::storage::{FileStorage, Lock, Storage};

/// What to make of a parent whose file was modified after its child was made.
///
/// A child records the modification time of its parent's file in seconds. The file's time is the same if it differs by at most 2 seconds (FAT
/// counts in twos, and tools round), or by one hour and at most 2 seconds (tools that store local time, across a change of summer
/// time). Any other difference is a modification; a child that records no time (0) takes any, and so does one whose
/// parent has none (a block device, most [`Storage`]s that are no file).
///
/// Operations that keep a parent's content but write to its file (compact, repair, reconnect) modify it: [`crate::reconnect`] of the
/// child to it records the new time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StampPolicy {
    /// Say so among [`Vhd::warnings`]. Copying a file is enough to differ, so this is the default.
    #[default]
    Warn,
    /// Refuse to open.
    Require,
    /// Do not look.
    Ignore,
}

/// Two stamps, in seconds, are of one modification: see [`StampPolicy`].
fn same_stamp(a: u32, b: u32) -> bool {
    matches!(a.abs_diff(b), 0..=2 | 3_598..=3_602)
}

/// How to open an image.
#[derive(Debug, Clone)]
pub struct OpenOptions {
    read_only: bool,
    lock: bool,
    size: SizePolicy,
    stamp: StampPolicy,
    table_limit: u64,
    bitmap_limit: usize,
    max_chain: usize,
    ignore_undo: bool,
    bulk: bool,
    resolver: Option<Arc<dyn Resolver>>,
    parents: Vec<PathBuf>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

impl OpenOptions {
    /// For reading and writing, with locks, parents looked for in the host's files.
    pub fn new() -> Self {
        Self {
            read_only: false,
            lock: true,
            size: SizePolicy::CurrentSize,
            stamp: StampPolicy::Warn,
            table_limit: 256 << 20,
            bitmap_limit: 8 << 20,
            max_chain: 64,
            ignore_undo: false,
            bulk: false,
            resolver: None,
            parents: Vec::new(),
        }
    }

    /// Never write to the file.
    pub fn read_only(mut self, on: bool) -> Self {
        self.read_only = on;
        self
    }

    /// Take locks (default). Without them the caller must know that nobody else writes.
    pub fn lock(mut self, on: bool) -> Self {
        self.lock = on;
        self
    }

    /// Which of the two sizes counts.
    pub fn size_policy(mut self, policy: SizePolicy) -> Self {
        self.size = policy;
        self
    }

    /// What to make of a parent that was modified.
    pub fn stamp_policy(mut self, policy: StampPolicy) -> Self {
        self.stamp = policy;
        self
    }

    /// Most bytes of memory for the table of one image (256 MiB; a 2040 GiB disk of 2 MiB blocks needs 5 MiB).
    pub fn table_limit(mut self, bytes: u64) -> Self {
        self.table_limit = bytes;
        self
    }

    /// Bytes of memory for sector bitmaps of the whole chain (8 MiB).
    pub fn bitmap_limit(mut self, bytes: usize) -> Self {
        self.bitmap_limit = bytes;
        self
    }

    /// Most images in a chain (64).
    pub fn max_chain(mut self, images: usize) -> Self {
        self.max_chain = images;
        self
    }

    /// Where parents come from; in place of the host's files.
    pub fn resolver(mut self, resolver: Arc<dyn Resolver>) -> Self {
        self.resolver = Some(resolver);
        self
    }

    fn parents_from(&self) -> Arc<dyn Resolver> {
        self.resolver.clone().unwrap_or_else(|| {
            let overrides = self.parents.clone();
            Arc::new(FileResolver { overrides, unlocked: !self.lock, ..FileResolver::default() })
        })
    }

    /// Looks for the parent at this path first; in a longer chain say it once per missing parent. Without effect if there is a
    /// [`OpenOptions::resolver`].
    pub fn parent(mut self, path: impl Into<PathBuf>) -> Self {
        self.parents.push(path.into());
        self
    }

    /// For a new file that nobody needs if it is not finished: no syncs.
    pub(crate) fn unsafe_bulk(mut self, on: bool) -> Self {
        self.bulk = on;
        self
    }

    /// Opens for writing although an undo session runs on it: only the session itself does.
    pub(crate) fn ignore_undo(mut self) -> Self {
        self.ignore_undo = true;
        self
    }

    pub(crate) fn load(&self, writable: bool) -> Load {
        Load {
            writable,
            size: self.size,
            table_limit: self.table_limit,
            bitmap_limit: self.bitmap_limit,
            bulk: self.bulk,
        }
    }

    /// Opens an image file and its parents.
    ///
    /// # Errors
    /// Any [`ErrorKind`]; the message says which file and what was expected.
    pub fn open(&self, path: impl AsRef<Path>) -> Result<Vhd> {
        let path = path.as_ref();
        let writable = !self.read_only;
        if writable && !self.ignore_undo {
            crate::undo::refuse_if_active(path)?;
        }
        let lock = match (self.lock, writable) {
            (false, _) => Lock::None,
            (true, false) => Lock::Shared,
            (true, true) => Lock::Exclusive,
        };
        let storage = FileStorage::open(path, writable, lock)?;
        if writable && !self.ignore_undo {
            // A session may have begun before the lock was taken; with the lock held none can.
            crate::undo::refuse_if_active(path)?;
        }
        self.open_storage(Arc::new(storage), path)
    }

    /// Opens an image in any storage; `path` names it in errors and is what locators are relative to.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open_storage(&self, storage: Arc<dyn Storage>, path: impl AsRef<Path>) -> Result<Vhd> {
        let leaf = Image::load(storage, path.as_ref(), self.load(!self.read_only))?;
        let mut chain = vec![leaf];
        while let Some(child) = chain.last().filter(|i| i.kind == DiskKind::Differencing) {
            if chain.len() >= self.max_chain {
                return Err(child.error(ErrorKind::ChainTooDeep(self.max_chain)));
            }
            let parent = self.open_parent(child, &chain)?;
            chain.push(parent);
        }
        let each = self.bitmap_limit / chain.len();
        for image in &mut chain {
            if let Body::Dynamic(d) = &mut image.body {
                d.set_bitmap_limit(each);
            }
        }
        Ok(Vhd::assemble(chain, self.read_only))
    }

    fn open_parent(&self, child: &Image, chain: &[Image]) -> Result<Image> {
        let want = parent_info(child);
        let resolver = self.parents_from();
        let mut tried = Vec::new();
        for path in resolver.candidates(&child.path, &want) {
            let mut missed = |why: String| tried.push(TriedParent { path: path.clone(), why });
            let storage = match resolver.open(&path) {
                Ok(s) => s,
                Err(e) => {
                    if matches!(e.kind(), ErrorKind::Locked { .. }) {
                        // By this very chain? Then the name leads back to it.
                        match chain.iter().find(|i| same_file(&i.path, &path)) {
                            Some(i) if i.footer.id() == want.id => {
                                return Err(child.error(ErrorKind::ChainCycle(i.path.clone())));
                            }
                            Some(_) => {
                                missed("that is the child itself".into());
                                continue;
                            }
                            // One that a writer has must not be passed over in silence.
                            None => return Err(e),
                        }
                    }
                    missed(e.kind().to_string());
                    continue;
                }
            };
            let same =
                |i: &&Image| i.storage.identity().is_some() && i.storage.identity() == storage.identity();
            let cycle = chain.iter().find(same).map(|i| i.path.clone());
            let stamp = storage.modified();
            let image = match Image::load(storage, &path, self.load(false)) {
                Ok(image) => image,
                Err(e) => {
                    missed(e.kind().to_string());
                    continue;
                }
            };
            let found = image.footer.id();
            if found != want.id || found.is_nil() {
                missed(format!("that disk is {found}"));
                continue;
            }
            if let Some(first) = cycle {
                return Err(child.error(ErrorKind::ChainCycle(first)));
            }
            if image.size > child.size {
                return Err(child.error(ErrorKind::ParentTooLarge {
                    parent: path,
                    size: child.size,
                    found: image.size,
                }));
            }
            return self.checked_stamp(child, image, want.stamp, stamp);
        }
        Err(child.error(ErrorKind::ParentNotFound { id: want.id, name: want.name, tried }))
    }

    fn checked_stamp(
        &self,
        child: &Image,
        mut image: Image,
        wanted: u32,
        found: Option<u32>,
    ) -> Result<Image> {
        let Some(found) = found else { return Ok(image) };
        if wanted == 0 || same_stamp(wanted, found) || self.stamp == StampPolicy::Ignore {
            return Ok(image);
        }
        let e = ErrorKind::ParentModified { parent: image.path.clone(), wanted, found };
        if self.stamp == StampPolicy::Require {
            return Err(child.error(e));
        }
        image.warnings.push(child.error(e).to_string());
        Ok(image)
    }
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

pub(crate) fn parent_info(child: &Image) -> ParentInfo {
    match child.dynamic() {
        Some(d) => ParentInfo {
            id: d.layout.header.parent_id(),
            stamp: d.layout.header.parent_time_stamp(),
            name: d.layout.header.parent_name(),
            locators: d.layout.locators.clone(),
        },
        None => ParentInfo { id: DiskId::NIL, stamp: 0, name: String::new(), locators: Vec::new() },
    }
}

/// A part of a disk that is all from one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// Bytes.
    pub len: u64,
    /// Reads as zeros because nobody ever wrote there.
    pub zero: bool,
    /// The image that has it: 0 is the disk's own file, 1 its parent, and so on. For zeros, the last one asked.
    pub depth: usize,
}

/// A virtual hard disk: one image file, with its parents if it is a differencing one.
///
/// Reads and writes may come from several threads at once ([`BlockBackend`]). Dropping it flushes and closes it, but cannot say if
/// that went wrong: [`Vhd::close`] does.
///
/// ```
/// use slotone_block::{BlockBackend, read_exact, write_all};
/// use slotone_vhd::{CreateOptions, Vhd};
///
/// let dir = tempfile::tempdir()?;
/// let path = dir.path().join("disk.vhd");
/// let disk = Vhd::create(&path, &CreateOptions::dynamic(1 << 30))?;
/// write_all(&disk, 4096, &[7; 512])?;
/// disk.close()?;
///
/// let disk = Vhd::open(&path)?;
/// let mut sector = [0; 512];
/// read_exact(&disk, 4096, &mut sector)?;
/// assert_eq!(sector, [7; 512]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Vhd {
    chain: Vec<Image>,
    info: MediumInfo,
    closed: bool,
}

impl Vhd {
    /// Opens an image file for reading and writing, its parents for reading.
    ///
    /// # Errors
    /// As [`OpenOptions::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        OpenOptions::new().open(path)
    }

    /// Creates an image file, which must not exist, and opens it.
    ///
    /// # Errors
    /// The options contradict each other or the file cannot be written; then none is left.
    pub fn create(path: impl AsRef<Path>, options: &crate::CreateOptions) -> Result<Self> {
        options.create(path)
    }

    pub(crate) fn assemble(chain: Vec<Image>, read_only: bool) -> Self {
        let leaf = &chain[0];
        let g = leaf.footer.geometry();
        let info = MediumInfo {
            capacity: leaf.size,
            physical_block: leaf.storage.alignment(),
            read_only,
            geometry: (g.total_sectors() != 0).then_some(g),
            discards: leaf.kind != DiskKind::Differencing,
            name: leaf.path.display().to_string(),
        };
        Self { chain, info, closed: false }
    }

    fn leaf(&self) -> &Image {
        &self.chain[0]
    }

    /// Kind of disk.
    pub fn kind(&self) -> DiskKind {
        self.leaf().kind
    }

    /// Bytes.
    pub fn size(&self) -> u64 {
        self.leaf().size
    }

    /// The image's file.
    pub fn path(&self) -> &Path {
        &self.leaf().path
    }

    /// The disk's id.
    pub fn id(&self) -> DiskId {
        self.leaf().footer.id()
    }

    /// Geometry of the footer.
    pub fn geometry(&self) -> Geometry {
        self.leaf().footer.geometry()
    }

    /// The footer.
    pub fn footer(&self) -> &Footer {
        &self.leaf().footer
    }

    /// The dynamic header, if there is one.
    pub fn header(&self) -> Option<&Header> {
        self.leaf().dynamic().map(|d| &d.layout.header)
    }

    /// What a differencing disk says of its parent.
    pub fn parent_info(&self) -> Option<ParentInfo> {
        (self.kind() == DiskKind::Differencing).then(|| parent_info(self.leaf()))
    }

    /// Paths of the chain, the disk's own first.
    pub fn chain(&self) -> impl Iterator<Item = &Path> {
        self.chain.iter().map(|i| i.path.as_path())
    }

    /// Ids of the chain, the disk's own first.
    pub fn chain_ids(&self) -> impl Iterator<Item = DiskId> + '_ {
        self.chain.iter().map(|i| i.footer.id())
    }

    /// What was found odd while opening, in sentences.
    pub fn warnings(&self) -> Vec<String> {
        self.chain
            .iter()
            .flat_map(|i| i.warnings.iter().map(|w| format!("{}: {w}", i.path.display())))
            .collect()
    }

    /// Blocks in the file and blocks of the disk; `None` for a fixed disk.
    pub fn blocks(&self) -> Option<(u32, u32)> {
        self.leaf().dynamic().map(|d| (d.allocated_blocks(), d.layout.blocks))
    }

    /// Locators of a differencing disk.
    pub fn locators(&self) -> &[LocatorText] {
        self.leaf().dynamic().map_or(&[], |d| &d.layout.locators)
    }

    /// New blocks' data begin at multiples of 4096 bytes in the file.
    pub fn aligned(&self) -> bool {
        self.leaf().dynamic().is_none_or(|d| d.aligned())
    }

    /// The storage of the image file.
    pub fn storage(&self) -> &Arc<dyn Storage> {
        &self.leaf().storage
    }

    /// Where in the file of a dynamic disk, written in order, the blocks end that will not change any more.
    pub(crate) fn filled_up_to(&self) -> Option<u64> {
        self.leaf().dynamic().map(|d| d.filled_up_to())
    }

    pub(crate) fn images(&self) -> &[Image] {
        &self.chain
    }

    pub(crate) fn images_mut(&mut self) -> &mut Vec<Image> {
        &mut self.chain
    }

    /// Flushes everything, cuts unused room off the end of the file, and closes it.
    ///
    /// # Errors
    /// The host's I/O failed; the image is valid, what was written since the last good flush may be lost.
    pub fn close(mut self) -> Result<()> {
        self.shut()
    }

    /// No write is allowed.
    pub fn is_read_only(&self) -> bool {
        self.info.read_only
    }

    pub(crate) fn flush_and_trim(&self) -> Result<()> {
        let leaf = self.leaf();
        leaf.flush().and_then(|()| leaf.close()).map_err(|e| leaf.error(e))
    }

    fn shut(&mut self) -> Result<()> {
        if self.closed || self.info.read_only || self.chain.is_empty() {
            return Ok(());
        }
        self.closed = true;
        self.flush_and_trim()
    }

    /// The extent at `offset`, at most up to `offset + max`.
    ///
    /// # Errors
    /// The range leaves the disk, or the host's I/O failed.
    pub fn extent(&self, offset: u64, max: u64) -> Result<Extent> {
        let max = max.min(self.size().saturating_sub(offset));
        self.extent_at(0, offset, max).map_err(|e| self.leaf().error(e))
    }

    fn extent_at(&self, depth: usize, offset: u64, max: u64) -> std::result::Result<Extent, ErrorKind> {
        let Some(image) = self.chain.get(depth) else {
            return Ok(Extent { len: max, zero: true, depth: depth - 1 });
        };
        if offset >= image.size {
            return Ok(Extent { len: max, zero: true, depth });
        }
        let max = max.min(image.size - offset);
        match &image.body {
            Body::Fixed => Ok(match image.storage.next_data(offset)? {
                Some(r) if r.start <= offset => {
                    Extent { len: round_up(r.end - offset).min(max), zero: false, depth }
                }
                Some(r) => match (r.start - offset) & !511 {
                    0 => Extent { len: round_up(r.end - offset).min(max), zero: false, depth },
                    n => Extent { len: n.min(max), zero: true, depth },
                },
                None => Extent { len: max, zero: true, depth },
            }),
            Body::Dynamic(d) => {
                // The first two runs are enough to know where the first ends.
                let mut first: Option<(Run, u64)> = None;
                let mut whole = true;
                d.runs(&*image.storage, offset, max, &mut |run, _, n| {
                    match &mut first {
                        None => first = Some((run, n)),
                        Some((r, len)) if whole && same_kind(*r, run) => *len += n,
                        Some(_) => whole = false,
                    }
                    Ok(())
                })?;
                match first {
                    Some((Run::Here(_), n)) => Ok(Extent { len: n, zero: false, depth }),
                    Some((Run::Below, n)) => self.extent_at(depth + 1, offset, n),
                    None => Ok(Extent { len: 0, zero: true, depth }),
                }
            }
        }
    }

    /// The range reads as zeros as far as tables and bitmaps tell, from image `depth` on.
    pub(crate) fn zero_from(
        &self,
        depth: usize,
        offset: u64,
        len: u64,
    ) -> std::result::Result<bool, ErrorKind> {
        let mut at = offset;
        while at < offset + len {
            let e = self.extent_at(depth, at, offset + len - at)?;
            if !e.zero {
                return Ok(false);
            }
            at += e.len.max(1);
        }
        Ok(true)
    }

    pub(crate) fn read_from(
        &self,
        depth: usize,
        offset: u64,
        skip: u64,
        len: u64,
        bufs: &mut [IoSliceMut<'_>],
    ) -> std::result::Result<(), ErrorKind> {
        let Some(image) = self.chain.get(depth) else {
            zero_part(bufs, skip, len);
            return Ok(());
        };
        let here = len.min(image.size.saturating_sub(offset));
        if here < len {
            zero_part(bufs, skip + here, len - here);
        }
        if here == 0 {
            return Ok(());
        }
        image.read(offset, skip, here, bufs, &mut |bufs, at, skip, n| {
            self.read_from(depth + 1, at, skip, n, bufs)
        })
    }

    fn failed(&self, kind: ErrorKind) -> BlockError {
        self.leaf().error(kind).into()
    }
}

fn same_kind(a: Run, b: Run) -> bool {
    matches!((a, b), (Run::Below, Run::Below) | (Run::Here(_), Run::Here(_)))
}

fn round_up(n: u64) -> u64 {
    n.next_multiple_of(512)
}

impl Drop for Vhd {
    fn drop(&mut self) {
        // Nobody is left to be told; what a flush has acknowledged is safe in any case.
        let _ = self.shut();
    }
}

impl BlockBackend for Vhd {
    fn info(&self) -> &MediumInfo {
        &self.info
    }

    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> slotone_block::Result<()> {
        let len = total(bufs);
        check_range(&self.info, offset, len, false)?;
        // By far the most common: one buffer, all of it in one block of this file.
        if let ([one], Body::Dynamic(d)) = (&mut *bufs, &self.leaf().body)
            && let Some(done) = d.read_one(&*self.leaf().storage, offset, one)
        {
            return done.map_err(|e| self.failed(e.into()));
        }
        self.read_from(0, offset, 0, len, bufs).map_err(|e| self.failed(e))
    }

    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> slotone_block::Result<()> {
        check_range(&self.info, offset, total_out(bufs), true)?;
        if let ([one], Body::Dynamic(d)) = (bufs, &self.leaf().body)
            && let Some(done) = d.write_one(&*self.leaf().storage, offset, one)
        {
            self.leaf().changed();
            done.map_err(|e| self.failed(e.into()))?;
            return if fua { self.flush() } else { Ok(()) };
        }
        self.leaf().write(offset, bufs).map_err(|e| self.failed(e))?;
        if fua { self.flush() } else { Ok(()) }
    }

    fn flush(&self) -> slotone_block::Result<()> {
        if self.info.read_only {
            return Ok(());
        }
        self.leaf().flush().map_err(|e| self.failed(e))
    }

    fn discard(&self, offset: u64, len: u64) -> slotone_block::Result<()> {
        check_range(&self.info, offset, len, true)?;
        let leaf = self.leaf();
        let done = match &leaf.body {
            Body::Fixed => leaf.storage.punch(offset, len).map(|_| ()).map_err(ErrorKind::from),
            Body::Dynamic(d) => d.discard(&*leaf.storage, offset, len),
        };
        leaf.changed();
        done.map_err(|e| self.failed(e))
    }

    fn write_zeroes(&self, offset: u64, len: u64, fua: bool) -> slotone_block::Result<()> {
        check_range(&self.info, offset, len, true)?;
        let leaf = self.leaf();
        let done = match &leaf.body {
            Body::Fixed => crate::dynamic::zero_file(&*leaf.storage, offset, len),
            Body::Dynamic(d) => {
                d.write_zeroes(&*leaf.storage, offset, len, &|at, n| self.zero_from(1, at, n))
            }
        };
        leaf.changed();
        done.map_err(|e| self.failed(e))?;
        if fua { self.flush() } else { Ok(()) }
    }
}

/// The time now, as the format stores it.
pub(crate) fn now() -> u32 {
    crate::format::stamp_of(SystemTime::now())
}

impl From<Error> for std::io::Error {
    fn from(e: Error) -> Self {
        std::io::Error::other(e.to_string())
    }
}
