//! The engine of dynamic and differencing images: table, sector bitmaps, allocation, and the order of writes.
//!
//! What holds at every instant, whatever subset of unsynced writes a crash leaves:
//!
//! 1. The footer's copy and the dynamic header are not written by guest I/O.
//! 2. The trailing footer is good, or the copy is good and the file is longer than its last block.
//! 3. A durable table entry points at a region inside the file whose bitmap's first state (all zero) is durable.
//! 4. A durable bitmap bit has its sector's data durable.
//! 5. A region is free for reuse only once its old table entry is durably gone.
//!
//! So data go first; bitmaps and table entries change in memory only until [`Dynamic::flush`] writes them between two syncs. Space
//! comes from a pool at the end of the file that is extended for several blocks at once; the trailing footer moves ahead of it. It may be
//! the one thing that a crash loses, and the copy in front stands in for it.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::bits;
use crate::error::ErrorKind;
use crate::format::{FOOTER_LEN, Footer, SECTOR, UNALLOCATED};
use crate::io::{part, part_mut};
use crate::layout::Layout;
use crate::storage::Storage;

/// Reads from below an image: buffers, offset on the disk, offset in the buffers, length.
pub(crate) type Below<'a> = dyn FnMut(&mut [IoSliceMut<'_>], u64, u64, u64) -> Result<()> + 'a;

type Result<T> = std::result::Result<T, ErrorKind>;

/// Data of new blocks begins at multiples of this in an aligned image.
pub(crate) const ALIGN: u64 = 4096;
/// The pool grows to this many blocks at a time; doubled from [`POOL_MIN`] as a session keeps allocating.
const POOL_MAX: u32 = 64;
const POOL_MIN: u32 = 8;
/// Blocks with unwritten bitmaps after which a write flushes by itself (guests that never flush).
const DIRTY_MAX: usize = 1024;
/// Bytes of new blocks after which the host is told to begin writing them to its disk: the flush then finds most of it done.
const EARLY: u64 = 8 << 20;

/// What memory knows of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Not in the file.
    Absent,
    /// In the file; its bitmap was not looked at.
    Unknown,
    /// In the file; its bitmap is in memory.
    Partial,
    /// In the file, all sectors valid.
    Full,
}

#[derive(Debug)]
struct Bitmap {
    bits: Box<[u8]>,
    dirty: bool,
    /// Being written by a flush: what is on disk is older.
    in_flight: bool,
    /// Used since the evictor last passed.
    used: AtomicBool,
}

/// A run of sectors of one block that come from the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Run {
    /// In this file from that byte on.
    Here(u64),
    /// Not in this file: zeros, or the parent's.
    Below,
}

pub(crate) struct Meta {
    pub(crate) bat: Vec<u32>,
    state: Vec<State>,
    bitmaps: HashMap<u32, Bitmap>,
    /// Blocks in `bitmaps`, in the order of the evictor.
    clock: VecDeque<u32>,
    dirty_bitmaps: BTreeSet<u32>,
    /// Sectors of the table that differ from the disk's.
    dirty_table: BTreeSet<u32>,
    /// Regions that are durably free, all zero but for their bitmap sector.
    free: Vec<u64>,
    /// Regions that are free once the table on disk says so.
    freed: Vec<u64>,
    /// Next byte of the pool, and its end.
    pool: Range<u64>,
    /// Blocks from here to the pool were allocated since the last flush, and the host was not told to write them yet.
    unwritten: u64,
    /// Where the trailing footer is (or, if it is missing, where the file ends).
    footer_at: u64,
    /// Blocks for the pool's next extension.
    pool_step: u32,
    /// The file was given a longer pool than it may keep when it is closed.
    pool_extended: bool,
}

pub(crate) struct Dynamic {
    pub(crate) layout: Layout,
    shift: u32,
    block_size: u64,
    size: u64,
    /// New blocks of a disk without parent are valid as a whole: what was not written is zero.
    root: bool,
    lsb_first: bool,
    aligned: bool,
    footer: [u8; FOOTER_LEN],
    meta: RwLock<Meta>,
    flushing: Mutex<()>,
    bitmap_limit: usize,
    /// No syncs: a new file that is thrown away if it is not finished.
    bulk: bool,
}

impl std::fmt::Debug for Dynamic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Dynamic")
            .field("layout", &self.layout)
            .field("aligned", &self.aligned)
            .finish_non_exhaustive()
    }
}

/// Where a new region may begin at or after `at`.
pub(crate) fn region_start(at: u64, bitmap_len: u64, aligned: bool) -> u64 {
    if aligned { (at + bitmap_len).next_multiple_of(ALIGN) - bitmap_len } else { at.next_multiple_of(SECTOR) }
}

/// Where the trailing footer goes when everything ends at `end`.
pub(crate) fn footer_start(end: u64, aligned: bool) -> u64 {
    let f = FOOTER_LEN as u64;
    if aligned { (end + f).next_multiple_of(ALIGN) - f } else { end.next_multiple_of(SECTOR) }
}

impl Dynamic {
    #[allow(clippy::too_many_arguments, reason = "one caller, which has them apart")]
    /// `footer_at`: where the good trailing footer is, or `None`. The table must have been checked.
    pub(crate) fn new(
        layout: Layout,
        bat: Vec<u32>,
        footer: &Footer,
        size: u64,
        root: bool,
        len: u64,
        footer_at: Option<u64>,
        bitmap_limit: usize,
        bulk: bool,
    ) -> Self {
        let blocks = layout.blocks as usize;
        let data_aligned =
            |s: &u32| *s == UNALLOCATED || (u64::from(*s) * SECTOR + layout.bitmap_len).is_multiple_of(ALIGN);
        let any = bat[..blocks].iter().any(|s| *s != UNALLOCATED);
        let aligned = bat[..blocks].iter().all(data_aligned)
            && (any && footer_at.is_none() || len.is_multiple_of(ALIGN));
        let state = bat[..blocks]
            .iter()
            .map(|s| if *s == UNALLOCATED { State::Absent } else { State::Unknown })
            .collect();
        let at = footer_at.unwrap_or_else(|| len.next_multiple_of(SECTOR));
        let block_size = u64::from(layout.header.block_size());
        let tap01 = &footer.creator() == b"tap\0" && footer.creator_version() == (0, 1);
        Self {
            shift: block_size.trailing_zeros(),
            block_size,
            size,
            root,
            lsb_first: tap01,
            aligned,
            footer: footer.to_bytes(),
            meta: RwLock::new(Meta {
                bat,
                state,
                bitmaps: HashMap::new(),
                clock: VecDeque::new(),
                dirty_bitmaps: BTreeSet::new(),
                dirty_table: BTreeSet::new(),
                free: Vec::new(),
                freed: Vec::new(),
                pool: at..at,
                unwritten: at,
                footer_at: at,
                pool_step: POOL_MIN,
                pool_extended: false,
            }),
            flushing: Mutex::new(()),
            bitmap_limit,
            bulk,
            layout,
        }
    }

    fn sync(&self, storage: &dyn Storage) -> std::io::Result<()> {
        if self.bulk { Ok(()) } else { storage.sync() }
    }

    pub(crate) fn set_bitmap_limit(&mut self, bytes: usize) {
        self.bitmap_limit = bytes;
    }

    pub(crate) fn aligned(&self) -> bool {
        self.aligned
    }

    pub(crate) fn block_size(&self) -> u64 {
        self.block_size
    }

    pub(crate) fn is_root(&self) -> bool {
        self.root
    }

    pub(crate) fn meta(&self) -> RwLockReadGuard<'_, Meta> {
        self.meta.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn meta_mut(&self) -> RwLockWriteGuard<'_, Meta> {
        self.meta.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush_lock(&self) -> MutexGuard<'_, ()> {
        self.flushing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Blocks that are in the file.
    pub(crate) fn allocated_blocks(&self) -> u32 {
        self.meta().state.iter().filter(|s| **s != State::Absent).count() as u32
    }

    fn sectors_in(&self, block: u32) -> usize {
        let start = u64::from(block) << self.shift;
        ((self.size - start).min(self.block_size) / SECTOR) as usize
    }

    fn split(&self, offset: u64) -> (u32, u64) {
        ((offset >> self.shift) as u32, offset & (self.block_size - 1))
    }

    fn data_at(&self, meta: &Meta, block: u32) -> u64 {
        u64::from(meta.bat[block as usize]) * SECTOR + self.layout.bitmap_len
    }

    /// Where `len` bytes are in the file if they are in one block that is valid as a whole.
    fn whole(&self, meta: &Meta, offset: u64, len: usize) -> Option<u64> {
        let (block, inside) = self.split(offset);
        let fits = inside + len as u64 <= self.block_size;
        let state = *meta.state.get(block as usize)?;
        (fits && state == State::Full).then(|| self.data_at(meta, block) + inside)
    }

    /// Reads at once what is in one full block; `None`: the general way has to be taken.
    pub(crate) fn read_one(
        &self,
        storage: &dyn Storage,
        offset: u64,
        buf: &mut [u8],
    ) -> Option<std::io::Result<()>> {
        let meta = self.meta();
        let at = self.whole(&meta, offset, buf.len())?;
        Some(storage.read_at(at, buf))
    }

    /// Rewrites at once what is in one full block.
    pub(crate) fn write_one(
        &self,
        storage: &dyn Storage,
        offset: u64,
        buf: &[u8],
    ) -> Option<std::io::Result<()>> {
        let meta = self.meta();
        let at = self.whole(&meta, offset, buf.len())?;
        Some(storage.write_at(at, buf))
    }

    /// Calls `f` for every run of `offset..offset + len` in order, with the table locked against change. `f` gets the run's offset
    /// on the disk and its length; neighbouring blocks that are not here come as one run.
    pub(crate) fn runs(
        &self,
        storage: &dyn Storage,
        offset: u64,
        len: u64,
        f: &mut dyn FnMut(Run, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let end = offset + len;
        let mut at = offset;
        let mut meta = self.meta();
        while at < end {
            let (block, inside) = self.split(at);
            let n = (end - at).min(self.block_size - inside);
            match meta.state[block as usize] {
                State::Absent => {
                    let mut stop = at + n;
                    let mut next = block + 1;
                    while stop < end && meta.state[next as usize] == State::Absent {
                        stop = (stop + self.block_size).min(end);
                        next += 1;
                    }
                    f(Run::Below, at, stop - at)?;
                    at = stop;
                }
                State::Full => {
                    f(Run::Here(self.data_at(&meta, block) + inside), at, n)?;
                    at += n;
                }
                State::Unknown => {
                    drop(meta);
                    self.make_room(storage)?;
                    self.load(&mut self.meta_mut(), storage, block)?;
                    meta = self.meta();
                }
                State::Partial => {
                    let Some(bitmap) = meta.bitmaps.get(&block) else {
                        // Evicted states go back to Unknown, so this is only for the compiler.
                        return Err(ErrorKind::Damaged("a bitmap is missing in memory".into()));
                    };
                    bitmap.used.store(true, Ordering::Relaxed);
                    let data = self.data_at(&meta, block);
                    let stop = inside + n;
                    let mut s = inside;
                    while s < stop {
                        let (set, count) =
                            bits::run(&bitmap.bits, (s / SECTOR) as usize, (stop / SECTOR) as usize);
                        let bytes = count as u64 * SECTOR;
                        let run = if set { Run::Here(data + s) } else { Run::Below };
                        f(run, at + (s - inside), bytes)?;
                        s += bytes;
                    }
                    at += n;
                }
            }
        }
        Ok(())
    }

    /// Reads the bitmap of a block that is in the file.
    fn load(&self, meta: &mut Meta, storage: &dyn Storage, block: u32) -> Result<()> {
        if meta.state[block as usize] != State::Unknown {
            return Ok(());
        }
        let mut raw = vec![0u8; self.layout.bitmap_len as usize];
        storage.read_at(u64::from(meta.bat[block as usize]) * SECTOR, &mut raw)?;
        if self.lsb_first {
            raw.iter_mut().for_each(|b| *b = b.reverse_bits());
        }
        if bits::all_set(&raw, self.sectors_in(block)) {
            meta.state[block as usize] = State::Full;
        } else {
            let bitmap =
                Bitmap { bits: raw.into(), dirty: false, in_flight: false, used: AtomicBool::new(true) };
            meta.bitmaps.insert(block, bitmap);
            meta.clock.push_back(block);
            meta.state[block as usize] = State::Partial;
        }
        Ok(())
    }

    /// Forgets bitmaps that were not used lately until one more fits into the limit.
    fn make_room(&self, storage: &dyn Storage) -> Result<()> {
        let each = self.layout.bitmap_len as usize + 64;
        let max = (self.bitmap_limit / each).max(2);
        if self.meta().bitmaps.len() < max {
            return Ok(());
        }
        if self.meta().dirty_bitmaps.len() > max / 2 {
            self.flush(storage)?;
        }
        let mut meta = self.meta_mut();
        let mut passes = meta.clock.len() * 2;
        while meta.bitmaps.len() >= max && passes > 0 {
            passes -= 1;
            let Some(block) = meta.clock.pop_front() else { break };
            let Some(b) = meta.bitmaps.get(&block) else { continue };
            if b.dirty || b.in_flight || b.used.swap(false, Ordering::Relaxed) {
                meta.clock.push_back(block);
                continue;
            }
            meta.bitmaps.remove(&block);
            if meta.state[block as usize] == State::Partial {
                meta.state[block as usize] = State::Unknown;
            }
        }
        Ok(())
    }

    /// Writes `len` bytes of `bufs` from `skip` on at `offset`.
    pub(crate) fn write(&self, storage: &dyn Storage, offset: u64, bufs: &[IoSlice<'_>]) -> Result<()> {
        let len = crate::io::total_out(bufs);
        self.each_segment(storage, offset, len, &mut |file_at, disk_at, n| {
            Ok(part(bufs, disk_at - offset, n, |list| storage.write_vectored_at(file_at, list))?)
        })
    }

    /// Makes the range read as zeros although a parent may have something there.
    fn write_zeros(&self, storage: &dyn Storage, offset: u64, len: u64) -> Result<()> {
        self.each_segment(storage, offset, len, &mut |file_at, _, n| zero_file(storage, file_at, n))
    }

    /// Gives each part of a range a place in the file, lets `put(file offset, disk offset, length)` write it, and makes it valid.
    fn each_segment(
        &self,
        storage: &dyn Storage,
        offset: u64,
        len: u64,
        put: &mut dyn FnMut(u64, u64, u64) -> Result<()>,
    ) -> Result<()> {
        let end = offset + len;
        let mut at = offset;
        let mut meta = Some(self.meta());
        while at < end {
            let (block, inside) = self.split(at);
            let n = (end - at).min(self.block_size - inside);
            let guard = match meta.take() {
                Some(m) => m,
                None => self.meta(),
            };
            if self.all_valid(&guard, block, inside, n) {
                put(self.data_at(&guard, block) + inside, at, n)?;
                meta = Some(guard);
            } else {
                drop(guard);
                self.make_room(storage)?;
                let (crowded, unwritten) = {
                    let mut m = self.meta_mut();
                    self.place(&mut m, storage, block)?;
                    put(self.data_at(&m, block) + inside, at, n)?;
                    self.mark(&mut m, block, inside, n);
                    (m.dirty_bitmaps.len() > DIRTY_MAX, self.take_unwritten(&mut m))
                };
                if crowded {
                    self.flush(storage)?;
                } else if let Some(range) = unwritten {
                    storage.start_writeback(range.start, range.end - range.start);
                }
            }
            at += n;
        }
        Ok(())
    }

    /// The range of the block is in the file and valid.
    fn all_valid(&self, meta: &Meta, block: u32, inside: u64, n: u64) -> bool {
        match meta.state[block as usize] {
            State::Full => true,
            State::Partial => meta.bitmaps.get(&block).is_some_and(|b| {
                let (from, to) = ((inside / SECTOR) as usize, ((inside + n) / SECTOR) as usize);
                bits::run(&b.bits, from, to) == (true, to - from)
            }),
            _ => false,
        }
    }

    /// Makes sure that the block has a region in the file and its bitmap is in memory.
    fn place(&self, meta: &mut Meta, storage: &dyn Storage, block: u32) -> Result<()> {
        if meta.state[block as usize] != State::Absent {
            return self.load(meta, storage, block);
        }
        let start = self.take_region(meta, storage)?;
        meta.bat[block as usize] = (start / SECTOR) as u32;
        meta.dirty_table.insert(block / 128);
        let fill = if self.root { 0xFF } else { 0 };
        let bits = vec![fill; self.layout.bitmap_len as usize].into();
        let bitmap = Bitmap { bits, dirty: true, in_flight: false, used: AtomicBool::new(true) };
        meta.bitmaps.insert(block, bitmap);
        meta.clock.push_back(block);
        meta.dirty_bitmaps.insert(block);
        meta.state[block as usize] = if self.root { State::Full } else { State::Partial };
        Ok(())
    }

    fn mark(&self, meta: &mut Meta, block: u32, inside: u64, n: u64) {
        if meta.state[block as usize] == State::Full {
            return;
        }
        let Some(b) = meta.bitmaps.get_mut(&block) else { return };
        bits::set(&mut b.bits, (inside / SECTOR) as usize, ((inside + n) / SECTOR) as usize);
        b.dirty = true;
        b.used.store(true, Ordering::Relaxed);
        let full = bits::all_set(&b.bits, self.sectors_in(block));
        meta.dirty_bitmaps.insert(block);
        if full {
            meta.state[block as usize] = State::Full;
        }
    }

    /// A region whose bitmap and data are zeros on disk (durably so once the next sync is over).
    fn take_region(&self, meta: &mut Meta, storage: &dyn Storage) -> Result<u64> {
        let zero = vec![0u8; self.layout.bitmap_len as usize];
        if let Some(start) = meta.free.pop() {
            if let Err(e) = storage.write_at(start, &zero) {
                meta.free.push(start);
                return Err(e.into());
            }
            return Ok(start);
        }
        let region = self.layout.region();
        let mut start = region_start(meta.pool.start, self.layout.bitmap_len, self.aligned);
        if start + region > meta.pool.end {
            self.extend_pool(meta, storage)?;
            start = region_start(meta.pool.start, self.layout.bitmap_len, self.aligned);
        }
        // The first region of a pool may lie on the old trailing footer.
        storage.write_at(start, &zero)?;
        meta.pool.start = start + region;
        Ok(start)
    }

    fn extend_pool(&self, meta: &mut Meta, storage: &dyn Storage) -> Result<()> {
        let region = self.layout.region();
        let slack = meta.footer_at.saturating_sub(self.used_end(meta));
        if meta.pool.is_empty() && slack >= region {
            // What a crash left behind the last block, or the end of an older pool.
            self.trim(meta, storage)?;
        }
        let base = meta.footer_at;
        let absent =
            meta.state.iter().filter(|s| **s == State::Absent).take(POOL_MAX as usize).count() as u32;
        let mut end = base;
        for _ in 0..meta.pool_step.min(absent.max(1)) {
            let start = region_start(end, self.layout.bitmap_len, self.aligned);
            if start / SECTOR >= u64::from(UNALLOCATED) {
                break;
            }
            end = start + region;
        }
        if end == base {
            return Err(ErrorKind::FileFull);
        }
        let footer_at = footer_start(end, self.aligned);
        let old_len = storage.len()?;
        // No sync: no table entry points there before the flush that makes this durable, and until then a crash leaves the old
        // footer, the new one, or neither and the copy.
        let grown = storage
            .set_len(footer_at + FOOTER_LEN as u64)
            .and_then(|()| storage.write_at(footer_at, &self.footer));
        if let Err(e) = grown {
            // The old footer was not touched: with the old length it is the trailing one again.
            if storage.set_len(old_len).is_err() {
                // Then closing has to set it right.
                meta.pool_extended = true;
            }
            return Err(e.into());
        }
        meta.pool = base..end;
        meta.footer_at = footer_at;
        meta.pool_step = (meta.pool_step * 2).min(POOL_MAX);
        meta.pool_extended = true;
        Ok(())
    }

    /// Where the blocks end that were allocated in order, without the last one, which may not be full.
    pub(crate) fn filled_up_to(&self) -> u64 {
        self.meta().pool.start.saturating_sub(self.layout.region())
    }

    /// The part of the file, if it is large enough to be worth it, whose new blocks the host should begin to write to its disk.
    fn take_unwritten(&self, meta: &mut Meta) -> Option<Range<u64>> {
        let end = meta.pool.start.saturating_sub(self.layout.region());
        if self.bulk || end < meta.unwritten.saturating_add(EARLY) {
            return None;
        }
        Some(std::mem::replace(&mut meta.unwritten, end)..end)
    }

    fn used_end(&self, meta: &Meta) -> u64 {
        let free = meta.free.iter().chain(&meta.freed).max().map_or(0, |s| s + self.layout.region());
        self.layout.end(&meta.bat).max(free)
    }

    /// Ends the file right behind what is in use, with a footer there. The table on disk must be current.
    fn trim(&self, meta: &mut Meta, storage: &dyn Storage) -> Result<()> {
        // Free regions at the end go as well.
        let region = self.layout.region();
        let used = self.layout.end(&meta.bat).max(meta.freed.iter().max().map_or(0, |s| s + region));
        meta.free.retain(|s| s + region <= used);
        let at = footer_start(used, self.aligned);
        let len = storage.len()?;
        if at + FOOTER_LEN as u64 == len && at == meta.footer_at {
            // Also right when the footer there was just found to be good.
            meta.pool = at..at;
            meta.unwritten = at;
            return Ok(());
        }
        storage.write_at(at, &self.footer)?;
        self.sync(storage)?;
        storage.set_len(at + FOOTER_LEN as u64)?;
        meta.footer_at = at;
        meta.pool = at..at;
        meta.unwritten = at;
        Ok(())
    }

    /// Writes a missing trailing footer again (after a crash).
    pub(crate) fn restore_tail(&self, storage: &dyn Storage) -> Result<()> {
        let mut meta = self.meta_mut();
        let at = footer_start(self.used_end(&meta), self.aligned);
        storage.write_at(at, &self.footer)?;
        self.sync(storage)?;
        storage.set_len(at + FOOTER_LEN as u64)?;
        self.sync(storage)?;
        meta.footer_at = at;
        meta.pool = at..at;
        meta.unwritten = at;
        Ok(())
    }

    /// Makes all completed writes durable: data, then bitmaps and table entries.
    pub(crate) fn flush(&self, storage: &dyn Storage) -> Result<()> {
        let _one = self.flush_lock();
        let pending = {
            let mut meta = self.meta_mut();
            self.take_pending(&mut meta)
        };
        if pending.is_empty() {
            return Ok(self.sync(storage)?);
        }
        let result = self.write_pending(storage, &pending);
        let mut meta = self.meta_mut();
        for block in &pending.blocks {
            let Some(b) = meta.bitmaps.get_mut(block) else { continue };
            b.in_flight = false;
            if result.is_err() {
                b.dirty = true;
                meta.dirty_bitmaps.insert(*block);
            } else if !b.dirty && meta.state[*block as usize] == State::Full {
                meta.bitmaps.remove(block);
            }
        }
        let mut kept = std::mem::take(&mut meta.clock);
        kept.retain(|b| meta.bitmaps.contains_key(b));
        meta.clock = kept;
        if let Err(e) = result {
            meta.dirty_table.extend(pending.table_sectors.iter());
            return Err(e);
        }
        meta.freed.drain(..pending.freed.len());
        for start in pending.freed {
            // Zeros under clear bits: the region may be used again. If that fails it is merely not reused.
            if zero_file(storage, start, self.layout.region()).is_ok() {
                meta.free.push(start);
            }
        }
        Ok(())
    }

    fn take_pending(&self, meta: &mut Meta) -> Pending {
        let mut p = Pending::default();
        meta.unwritten = meta.pool.start;
        let dirty = std::mem::take(&mut meta.dirty_bitmaps);
        for block in dirty {
            let at = u64::from(meta.bat[block as usize]) * SECTOR;
            let Some(b) = meta.bitmaps.get_mut(&block) else { continue };
            if !b.dirty {
                continue;
            }
            b.dirty = false;
            b.in_flight = true;
            let mut bytes = b.bits.to_vec();
            if self.lsb_first {
                bytes.iter_mut().for_each(|b| *b = b.reverse_bits());
            }
            p.blocks.push(block);
            p.bitmaps.push((at, bytes));
        }
        p.table_sectors = std::mem::take(&mut meta.dirty_table).into_iter().collect();
        for sector in &p.table_sectors {
            let first = *sector as usize * 128;
            let bytes: Vec<u8> = meta.bat[first..first + 128].iter().flat_map(|e| e.to_be_bytes()).collect();
            let at = self.layout.header.table_offset() + u64::from(*sector) * SECTOR;
            match p.table.last_mut() {
                Some((start, run)) if *start + run.len() as u64 == at => run.extend(bytes),
                _ => p.table.push((at, bytes)),
            }
        }
        // They stay in the list, which only grows at its end, until the table on disk is known to be free of them.
        p.freed = meta.freed.clone();
        p
    }

    fn write_pending(&self, storage: &dyn Storage, p: &Pending) -> Result<()> {
        self.sync(storage)?;
        for (at, bytes) in p.bitmaps.iter().chain(&p.table) {
            storage.write_at(*at, bytes)?;
        }
        self.sync(storage)?;
        Ok(())
    }

    /// Gives room back: blocks in their whole, holes in others. In a differencing disk the content stays hidden from the parent's.
    pub(crate) fn discard(&self, storage: &dyn Storage, offset: u64, len: u64) -> Result<()> {
        self.forget(offset, len, &mut |file_at, n| Ok(storage.punch(file_at, n).map(|_| ())?))
    }

    /// Makes the range read as zeros.
    ///
    /// `below_is_zero(offset, len)` tells whether the parents read as zeros there.
    pub(crate) fn write_zeroes(
        &self,
        storage: &dyn Storage,
        offset: u64,
        len: u64,
        below_is_zero: &dyn Fn(u64, u64) -> Result<bool>,
    ) -> Result<()> {
        if self.root {
            return self.forget(offset, len, &mut |at, n| zero_file(storage, at, n));
        }
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let (block, inside) = self.split(at);
            let n = (end - at).min(self.block_size - inside);
            let absent = self.meta().state[block as usize] == State::Absent;
            if !(absent && below_is_zero(at, n)?) {
                self.write_zeros(storage, at, n)?;
            }
            at += n;
        }
        Ok(())
    }

    fn forget(&self, offset: u64, len: u64, clear: &mut dyn FnMut(u64, u64) -> Result<()>) -> Result<()> {
        let end = offset + len;
        let mut at = offset;
        while at < end {
            let (block, inside) = self.split(at);
            let n = (end - at).min(self.block_size - inside);
            let whole = self.root && inside == 0 && (n == self.block_size || at + n == self.size);
            if whole {
                let mut meta = self.meta_mut();
                if meta.state[block as usize] != State::Absent {
                    self.free_block(&mut meta, block);
                }
            } else {
                let meta = self.meta();
                if meta.state[block as usize] != State::Absent {
                    clear(self.data_at(&meta, block) + inside, n)?;
                }
            }
            at += n;
        }
        Ok(())
    }

    /// Takes a block out of the table. Its region is reusable after the next flush.
    pub(crate) fn free_block(&self, meta: &mut Meta, block: u32) {
        let start = u64::from(meta.bat[block as usize]) * SECTOR;
        meta.bat[block as usize] = UNALLOCATED;
        meta.dirty_table.insert(block / 128);
        meta.state[block as usize] = State::Absent;
        meta.bitmaps.remove(&block);
        meta.dirty_bitmaps.remove(&block);
        meta.freed.push(start);
    }

    /// Frees a block from outside.
    pub(crate) fn drop_block(&self, block: u32) {
        let mut meta = self.meta_mut();
        if meta.state[block as usize] != State::Absent {
            self.free_block(&mut meta, block);
        }
    }

    /// Flushes and cuts the file behind its last block.
    pub(crate) fn close(&self, storage: &dyn Storage) -> Result<()> {
        let changed = {
            let m = self.meta();
            m.pool_extended || !m.dirty_bitmaps.is_empty() || !m.dirty_table.is_empty() || !m.freed.is_empty()
        };
        if !changed {
            return Ok(());
        }
        self.flush(storage)?;
        let _one = self.flush_lock();
        let mut meta = self.meta_mut();
        self.trim(&mut meta, storage)?;
        meta.pool_extended = false;
        self.sync(storage)?;
        Ok(())
    }

    /// Reads what this image has of a range into `bufs` and calls `below` for the rest (offset on the disk, length).
    pub(crate) fn read(
        &self,
        storage: &dyn Storage,
        offset: u64,
        skip: u64,
        len: u64,
        bufs: &mut [IoSliceMut<'_>],
        below: &mut Below<'_>,
    ) -> Result<()> {
        self.runs(storage, offset, len, &mut |run, at, n| {
            let skip = skip + (at - offset);
            match run {
                Run::Here(file_at) => {
                    Ok(part_mut(bufs, skip, n, |list| storage.read_vectored_at(file_at, list))?)
                }
                Run::Below => below(bufs, at, skip, n),
            }
        })
    }
}

#[derive(Default)]
struct Pending {
    blocks: Vec<u32>,
    bitmaps: Vec<(u64, Vec<u8>)>,
    table_sectors: Vec<u32>,
    table: Vec<(u64, Vec<u8>)>,
    freed: Vec<u64>,
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.bitmaps.is_empty() && self.table.is_empty() && self.freed.is_empty()
    }
}

/// Zeros a range of the file, giving its room back where the host can.
pub(crate) fn zero_file(storage: &dyn Storage, at: u64, len: u64) -> Result<()> {
    // Small holes cost more than they save.
    if len >= 4096 && storage.punch(at, len)? {
        return Ok(());
    }
    let zeros = vec![0u8; len.min(256 << 10) as usize];
    let mut done = 0;
    while done < len {
        let n = (len - done).min(zeros.len() as u64);
        storage.write_at(at + done, &zeros[..n as usize])?;
        done += n;
    }
    Ok(())
}
