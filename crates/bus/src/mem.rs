//! Guest RAM, ROM and video memory.
//!
//! A [`Memory`] belongs to one machine and is used by one thread. Devices reach it through
//! [`Cx`](crate::Cx), a software CPU through the [`HostPage`]s that its bus hands out. For every 4 KiB page it keeps
//! a *generation*, which grows when bytes that were decoded as code are overwritten, and the *epoch* of the last write,
//! so that a renderer, a remote screen and a snapshot can each ask what changed since they last looked.
//!
//! This is the one room among the contracts with `unsafe` in it.

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use thiserror::Error;

/// Bytes of a page.
pub const PAGE_SIZE: usize = 4096;
/// Bytes of one granule of [`PageState`]'s code map: 32 granules cover a page.
pub const CODE_GRANULE: usize = PAGE_SIZE / 32;

/// Why memory cannot be had or reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MemoryError {
    /// The host has no room for it.
    #[error("cannot allocate {0} bytes of guest memory")]
    Allocation(usize),
    /// The range leaves the memory.
    #[error("{len} bytes at offset {offset:#x} leave a memory of {size:#x} bytes")]
    OutOfRange {
        /// First byte wanted.
        offset: u64,
        /// Bytes wanted.
        len: usize,
        /// Bytes there are.
        size: usize,
    },
}

/// What is known of one page. Plain atomics, always relaxed: they cost what plain words cost.
#[derive(Debug, Default)]
pub struct PageState {
    generation: AtomicU32,
    code: AtomicU32,
    epoch: AtomicU32,
}

impl PageState {
    /// Grows when bytes marked as code are overwritten. A decoded block is valid while this is what it was.
    #[inline(always)]
    pub fn generation(&self) -> u32 {
        self.generation.load(Relaxed)
    }

    /// Bit n is set if granule n (bytes `n * CODE_GRANULE..`) holds decoded code.
    #[inline(always)]
    pub fn code(&self) -> u32 {
        self.code.load(Relaxed)
    }

    /// Notes that `bytes` (offsets within the page) were decoded as code.
    #[inline]
    pub fn mark_code(&self, bytes: Range<usize>) {
        self.code.store(self.code() | granules(bytes), Relaxed);
    }

    /// Notes a write to `bytes` (offsets within the page): invalidates code that it touches. Returns whether it did.
    #[inline]
    pub fn wrote(&self, bytes: Range<usize>) -> bool {
        let hit = self.code() & granules(bytes) != 0;
        if hit {
            self.invalidate();
        }
        hit
    }

    /// Invalidates all code decoded from this page.
    pub fn invalidate(&self) {
        self.generation.store(self.generation().wrapping_add(1), Relaxed);
        self.code.store(0, Relaxed);
    }
}

/// The code-map bits of `bytes`, clamped to the page.
fn granules(bytes: Range<usize>) -> u32 {
    if bytes.start >= bytes.end || bytes.start >= PAGE_SIZE {
        return 0;
    }
    let first = bytes.start / CODE_GRANULE;
    let last = (bytes.end - 1).min(PAGE_SIZE - 1) / CODE_GRANULE;
    (u32::MAX >> (31 - (last - first) as u32)) << first
}

#[derive(Debug)]
struct Allocation {
    raw: NonNull<u8>,
    layout: Layout,
    base: NonNull<u8>,
    len: usize,
    pages: Box<[PageState]>,
    epoch: AtomicU32,
}

// SAFETY: the bytes behind `base` are reached only through `Memory` (one owner, `&`/`&mut` rules) and through
// `HostPage::data`, whose use is `unsafe` and bound to the owner's thread; the rest is atomics and constants.
unsafe impl Send for Allocation {}
// SAFETY: as above; no method of `Allocation` itself touches the bytes.
unsafe impl Sync for Allocation {}

impl Drop for Allocation {
    fn drop(&mut self) {
        // SAFETY: `raw` and `layout` are what `alloc_zeroed` was called with, and nothing refers to them any more.
        unsafe { dealloc(self.raw.as_ptr(), self.layout) }
    }
}

/// A block of memory: zeroed, page aligned, of whole pages.
///
/// ```
/// use slotone_bus::mem::Memory;
/// let mut ram = Memory::new(64 * 1024)?;
/// let before = ram.epoch();
/// ram.advance_epoch();
/// ram.write(0x1ffe, &[1, 2, 3, 4])?;
/// assert_eq!(ram.dirty_since(before).collect::<Vec<_>>(), [1, 2]);
/// # Ok::<(), slotone_bus::mem::MemoryError>(())
/// ```
#[derive(Debug)]
pub struct Memory {
    allocation: Arc<Allocation>,
}

impl Memory {
    /// `len` bytes, rounded up to whole pages, all zero. Untouched pages cost the host nothing.
    ///
    /// # Errors
    /// [`MemoryError::Allocation`] if the host refuses.
    pub fn new(len: usize) -> Result<Self, MemoryError> {
        let len = len.max(1).checked_next_multiple_of(PAGE_SIZE).ok_or(MemoryError::Allocation(len))?;
        // One page more than needed and aligned by hand: an allocator's zeroed allocation of alignment 1 comes as
        // untouched pages of the host, one of alignment 4096 is cleared byte by byte.
        let size = len.checked_add(PAGE_SIZE).ok_or(MemoryError::Allocation(len))?;
        let layout = Layout::from_size_align(size, 1).map_err(|_| MemoryError::Allocation(len))?;
        // SAFETY: the layout has a size above zero.
        let raw = NonNull::new(unsafe { alloc_zeroed(layout) }).ok_or(MemoryError::Allocation(len))?;
        let skip = raw.as_ptr().align_offset(PAGE_SIZE);
        // SAFETY: `skip` is below PAGE_SIZE, which was allocated on top of `len`.
        let base = unsafe { raw.add(skip) };
        let pages = (0..len / PAGE_SIZE).map(|_| PageState::default()).collect();
        let epoch = AtomicU32::new(1);
        Ok(Self { allocation: Arc::new(Allocation { raw, layout, base, len, pages, epoch }) })
    }

    /// Bytes, a multiple of [`PAGE_SIZE`].
    #[expect(clippy::len_without_is_empty, reason = "a memory is never empty")]
    pub fn len(&self) -> usize {
        self.allocation.len
    }

    fn range(&self, offset: u64, len: usize) -> Result<usize, MemoryError> {
        let size = self.len();
        match usize::try_from(offset) {
            Ok(at) if at <= size && len <= size - at => Ok(at),
            _ => Err(MemoryError::OutOfRange { offset, len, size }),
        }
    }

    /// The bytes from `offset` on.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`] if they are not all there.
    pub fn slice(&self, offset: u64, len: usize) -> Result<&[u8], MemoryError> {
        let at = self.range(offset, len)?;
        // SAFETY: in bounds; initialised (zeroed); no one writes while `self` is borrowed: writers go through
        // `&mut self`, and the CPU's use of `HostPage` excludes it by its contract.
        Ok(unsafe { std::slice::from_raw_parts(self.allocation.base.as_ptr().add(at), len) })
    }

    /// The bytes from `offset` on, to be changed; they count as written now.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`] if they are not all there.
    pub fn slice_mut(&mut self, offset: u64, len: usize) -> Result<&mut [u8], MemoryError> {
        let at = self.range(offset, len)?;
        self.note_write(at, len);
        // SAFETY: as in `slice`, and `self` is borrowed exclusively.
        Ok(unsafe { std::slice::from_raw_parts_mut(self.allocation.base.as_ptr().add(at), len) })
    }

    /// Copies bytes out.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; nothing is copied then.
    pub fn read(&self, offset: u64, data: &mut [u8]) -> Result<(), MemoryError> {
        data.copy_from_slice(self.slice(offset, data.len())?);
        Ok(())
    }

    /// Copies bytes in; code decoded from them becomes invalid.
    ///
    /// # Errors
    /// [`MemoryError::OutOfRange`]; nothing is copied then.
    pub fn write(&mut self, offset: u64, data: &[u8]) -> Result<(), MemoryError> {
        self.slice_mut(offset, data.len())?.copy_from_slice(data);
        Ok(())
    }

    fn note_write(&self, at: usize, len: usize) {
        if len == 0 {
            return;
        }
        let epoch = self.epoch();
        for index in at / PAGE_SIZE..=(at + len - 1) / PAGE_SIZE {
            let page = &self.allocation.pages[index];
            page.epoch.store(epoch, Relaxed);
            if page.code() != 0 {
                let start = at.saturating_sub(index * PAGE_SIZE);
                let end = (at + len - index * PAGE_SIZE).min(PAGE_SIZE);
                page.wrote(start..end);
            }
        }
    }

    /// The epoch that writes are stamped with now.
    pub fn epoch(&self) -> u32 {
        self.allocation.epoch.load(Relaxed)
    }

    /// Begins a new epoch and returns it. Whoever handed out writable [`HostPage`]s must take them back first (a
    /// CPU does so when the bus's map generation changes): a page is stamped when it is handed out for writing.
    pub fn advance_epoch(&mut self) -> u32 {
        let next = self.epoch().wrapping_add(1);
        self.allocation.epoch.store(next, Relaxed);
        next
    }

    /// Indices of the pages written in an epoch after `epoch`.
    pub fn dirty_since(&self, epoch: u32) -> impl Iterator<Item = usize> + '_ {
        let pages = self.allocation.pages.iter().enumerate();
        pages.filter_map(move |(i, p)| (p.epoch.load(Relaxed) > epoch).then_some(i))
    }

    /// Invalidates all code decoded from this memory (after a restore, for instance).
    pub fn invalidate_code(&mut self) {
        self.allocation.pages.iter().for_each(PageState::invalidate);
    }

    /// Page `index` for a CPU's fast path; `write` stamps it with the current epoch. `None` beyond the end.
    pub fn host_page(&self, index: usize, write: bool) -> Option<HostPage> {
        let state = self.allocation.pages.get(index)?;
        if write {
            state.epoch.store(self.epoch(), Relaxed);
        }
        Some(HostPage { allocation: Arc::clone(&self.allocation), index })
    }
}

/// One page of a [`Memory`], as a CPU's translation cache or KVM keeps it. Keeps the memory alive.
#[derive(Debug, Clone)]
pub struct HostPage {
    allocation: Arc<Allocation>,
    index: usize,
}

impl HostPage {
    /// The page's first byte; [`PAGE_SIZE`] bytes are behind it for as long as this value (or a clone) lives.
    ///
    /// Dereferencing it is the caller's `unsafe`: only on the thread that owns the [`Memory`], only while the owner
    /// is lending itself to the CPU (inside [`Cpu::run`](crate::cpu::Cpu::run)), never across a call into the bus
    /// as a reference, and for writing only if the page was handed out for writing.
    #[inline]
    pub fn data(&self) -> NonNull<u8> {
        // SAFETY: `index` was checked by `Memory::host_page`.
        unsafe { self.allocation.base.add(self.index * PAGE_SIZE) }
    }

    /// The page's generation and code map.
    #[inline]
    pub fn state(&self) -> &PageState {
        &self.allocation.pages[self.index]
    }

    /// Whether both are pages of the same [`Memory`].
    #[inline]
    pub fn same_memory(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.allocation, &other.allocation)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_checked() {
        let mut m = Memory::new(1).unwrap();
        assert_eq!(m.len(), PAGE_SIZE);
        assert!(m.write(4096, &[]).is_ok());
        assert!(m.write(4095, &[1, 2]).is_err());
        assert!(m.read(u64::MAX, &mut [0; 2]).is_err());
        assert!(Memory::new(usize::MAX).is_err());
    }

    #[test]
    fn only_a_write_that_touches_code_changes_the_generation() {
        let mut m = Memory::new(2 * PAGE_SIZE).unwrap();
        let page = m.host_page(0, false).unwrap();
        page.state().mark_code(256..300);
        let g = page.state().generation();
        m.write(0, &[0; 256]).unwrap();
        m.write(512, &[0; 5000]).unwrap();
        assert_eq!(page.state().generation(), g);
        m.write(250, &[0; 7]).unwrap();
        assert_ne!(page.state().generation(), g);
        assert_eq!(page.state().code(), 0);
    }

    #[test]
    fn granule_masks() {
        assert_eq!(granules(0..1), 1);
        assert_eq!(granules(0..PAGE_SIZE), u32::MAX);
        assert_eq!(granules(127..129), 3);
        assert_eq!(granules(4095..9000), 1 << 31);
        assert_eq!(granules(5..5), 0);
    }

    #[test]
    fn a_host_page_outlives_its_memory() {
        let m = Memory::new(PAGE_SIZE).unwrap();
        let page = m.host_page(0, true).unwrap();
        drop(m);
        // SAFETY: the page keeps the allocation alive, and no one else has it.
        assert_eq!(unsafe { *page.data().as_ptr() }, 0);
    }
}
