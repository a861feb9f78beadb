//! Guest memory reached without a call: the one module of this crate with `unsafe` in it.
//!
//! What all of it rests on: a [`HostPage`] keeps its memory alive and may be used on the thread that runs the CPU while
//! its owner lends itself to [`Cpu::run`](slotone_bus::cpu::Cpu::run). Pointers taken from it are used inside `run`
//! only, never kept as references, and the pages behind them are held by [`PhysMap`](crate::mmu::PhysMap): whoever
//! drops a page from there flushes the [`Tlb`] first.

use crate::int::Int;
use slotone_bus::mem::{HostPage, PAGE_SIZE, PageState};
use std::ptr::NonNull;

/// Entries of one part: supervisor, user, and the one never filled that sends every access of a program under
/// alignment checks the slow way.
pub(crate) const TLB_SIZE: usize = 4096;
/// Entries of all parts, a power of two.
pub(crate) const TLB_ALL: usize = 4 * TLB_SIZE;
/// The part for supervisor accesses.
pub(crate) const PART_SYSTEM: usize = 0;
/// The part for accesses at CPL 3.
pub(crate) const PART_USER: usize = TLB_SIZE;
/// The part for accesses at CPL 3 with alignment checks on.
pub(crate) const PART_ALIGNED: usize = 2 * TLB_SIZE;
/// A tag that matches no address.
const NONE: u32 = 1;
const OFFSET: u32 = PAGE_SIZE as u32 - 1;

#[derive(Clone, Copy)]
struct Entry {
    /// Linear page address that may be read through `host`, or [`NONE`].
    tag_r: u32,
    /// The same for writes.
    tag_w: u32,
    host: *mut u8,
}

const EMPTY: Entry = Entry { tag_r: NONE, tag_w: NONE, host: std::ptr::null_mut() };

/// Buckets of [`Tlb::writable`].
const WRITABLE: usize = 1024;

/// The translation cache of plain RAM: from linear pages to host memory.
pub(crate) struct Tlb {
    entries: Box<[Entry; TLB_ALL]>,
    /// How many entries may write to a host page whose address falls into the bucket: mostly none, and then
    /// [`Tlb::protect`] has nothing to look for.
    writable: Box<[u16; WRITABLE]>,
}

// SAFETY: the pointers are used only inside `Cpu::run` (see the head of this module), which borrows the CPU exclusively.
unsafe impl Send for Tlb {}

/// Index of a linear address in one of the parts.
#[inline(always)]
pub(crate) fn tlb_index(part: usize, linear: u32) -> usize {
    ((linear >> 12) as usize & (TLB_SIZE - 1) | part) & (TLB_ALL - 1)
}

/// The bucket of [`Tlb::writable`] of a host page.
fn bucket(host: *mut u8) -> usize {
    (host as usize / PAGE_SIZE) % WRITABLE
}

impl Tlb {
    pub(crate) fn new() -> Self {
        Self { entries: Box::new([EMPTY; TLB_ALL]), writable: Box::new([0; WRITABLE]) }
    }

    /// Reads if the page is at hand and the access does not leave it.
    #[inline(always)]
    pub(crate) fn read<T: Int>(&self, part: usize, linear: u32) -> Option<T> {
        let e = &self.entries[tlb_index(part, linear)];
        if linear.wrapping_add(T::SIZE - 1) & !OFFSET == e.tag_r {
            // SAFETY: the tag matches, so `host` is a page held by `PhysMap`; the last byte of the access is on the
            // page of the tag, hence (an index has one page per tag) so is the first. `T` is a plain integer.
            Some(unsafe { e.host.add((linear & OFFSET) as usize).cast::<T>().read_unaligned() })
        } else {
            None
        }
    }

    /// Writes if the page is at hand for writing and the access does not leave it.
    #[inline(always)]
    pub(crate) fn write<T: Int>(&mut self, part: usize, linear: u32, value: T) -> bool {
        let e = &self.entries[tlb_index(part, linear)];
        if linear.wrapping_add(T::SIZE - 1) & !OFFSET == e.tag_w {
            // SAFETY: as in `read`, and `tag_w` is set only for pages handed out for writing.
            unsafe { e.host.add((linear & OFFSET) as usize).cast::<T>().write_unaligned(value) }
            true
        } else {
            false
        }
    }

    /// Reads, changes and writes back under the conditions of [`Tlb::write`].
    #[inline(always)]
    pub(crate) fn update<T: Int, R>(
        &mut self,
        part: usize,
        linear: u32,
        change: impl FnOnce(T) -> (T, R),
    ) -> Option<R> {
        let e = &self.entries[tlb_index(part, linear)];
        if linear.wrapping_add(T::SIZE - 1) & !OFFSET == e.tag_w {
            // SAFETY: as in `write`; `change` has no way to the memory.
            unsafe {
                let p = e.host.add((linear & OFFSET) as usize).cast::<T>();
                let (new, r) = change(p.read_unaligned());
                p.write_unaligned(new);
                Some(r)
            }
        } else {
            None
        }
    }

    /// Puts a page in. `page` must be held by the caller's `PhysMap` for as long as the entry is here.
    pub(crate) fn fill(&mut self, index: usize, linear: u32, page: &HostPage, write: bool) {
        let tag = linear & !OFFSET;
        let tag_w = if write { tag } else { NONE };
        self.replace(index, Entry { tag_r: tag, tag_w, host: page.data().as_ptr() });
    }

    fn replace(&mut self, index: usize, new: Entry) {
        let old = std::mem::replace(&mut self.entries[index], new);
        if old.tag_w != NONE {
            self.writable[bucket(old.host)] -= 1;
        }
        if new.tag_w != NONE {
            self.writable[bucket(new.host)] += 1;
        }
    }

    /// Empties one entry.
    pub(crate) fn clear(&mut self, index: usize) {
        self.replace(index, EMPTY);
    }

    /// Empties all.
    pub(crate) fn flush(&mut self) {
        self.entries[..PART_ALIGNED].fill(EMPTY);
        self.writable.fill(0);
    }

    /// Takes the right to write to a page away: it holds code now. `physical` is where it is likely to be mapped,
    /// modulo the size of the TLB: as without paging, and in the kernels of most systems.
    pub(crate) fn protect(&mut self, page: &HostPage, physical: u64) {
        let host = page.data().as_ptr();
        let left = &mut self.writable[bucket(host)];
        let mut protect = |e: &mut Entry| {
            if e.host == host && e.tag_w != NONE {
                e.tag_w = NONE;
                *left -= 1;
            }
            *left != 0
        };
        let likely = tlb_index(PART_SYSTEM, physical as u32);
        if protect(&mut self.entries[likely]) {
            let _ = self.entries[..PART_ALIGNED].iter_mut().all(protect);
        }
    }

    /// `run` calls this with the longest runs of bytes from `linear` on, at most `len`, that are at hand on this page.
    #[inline]
    pub(crate) fn span(&self, part: usize, linear: u32, write: bool) -> Option<Span> {
        let e = &self.entries[tlb_index(part, linear)];
        let tag = if write { e.tag_w } else { e.tag_r };
        (linear & !OFFSET == tag).then(|| Span {
            // SAFETY: the offset is within the page.
            at: unsafe { e.host.add((linear & OFFSET) as usize) },
            len: PAGE_SIZE - (linear & OFFSET) as usize,
        })
    }
}

/// Bytes of one page at hand, from an address to the end of the page. Used at once, never kept.
pub(crate) struct Span {
    at: *mut u8,
    pub(crate) len: usize,
}

impl Span {
    /// Copies `n` bytes upwards as a loop of `width`-byte moves would, if the ranges do not make the order matter.
    /// `false`: not done, they do.
    pub(crate) fn copy_to(&self, to: &Span, n: usize) -> bool {
        assert!(n <= self.len && n <= to.len);
        let (from, dest) = (self.at as usize, to.at as usize);
        if from < dest && dest < from + n {
            return false;
        }
        // SAFETY: both ranges were checked to lie in pages at hand, `to` in one taken for writing by the caller.
        // `copy` allows overlap; with the source not below the destination it equals a loop upwards.
        unsafe { std::ptr::copy(self.at, to.at, n) }
        true
    }

    /// Stores a value `count` times.
    pub(crate) fn fill<T: Int>(&self, value: T, count: usize) {
        assert!(count * T::SIZE as usize <= self.len);
        let p = self.at.cast::<T>();
        for i in 0..count {
            // SAFETY: in the page, which the caller took for writing.
            unsafe { p.add(i).write_unaligned(value) }
        }
    }
}

/// Copies out of a page; the range must lie within it.
pub(crate) fn copy_from(page: &HostPage, offset: usize, out: &mut [u8]) {
    assert!(offset <= PAGE_SIZE && out.len() <= PAGE_SIZE - offset);
    // SAFETY: in bounds; `out` is ordinary memory of ours, never guest memory.
    unsafe { std::ptr::copy_nonoverlapping(page.data().as_ptr().add(offset), out.as_mut_ptr(), out.len()) }
}

/// Copies into a page that was handed out for writing; the range must lie within it. Does not tell the page's state.
pub(crate) fn copy_to(page: &HostPage, offset: usize, data: &[u8]) {
    assert!(offset <= PAGE_SIZE && data.len() <= PAGE_SIZE - offset);
    // SAFETY: in bounds; `data` is ordinary memory of ours, never guest memory.
    unsafe { std::ptr::copy_nonoverlapping(data.as_ptr(), page.data().as_ptr().add(offset), data.len()) }
}

/// A page's generation, read through one pointer.
#[derive(Clone)]
pub(crate) struct CodePage {
    state: NonNull<PageState>,
    /// Keeps `state` alive.
    page: HostPage,
}

// SAFETY: `PageState` is atomics, and `page` keeps it alive wherever this goes.
unsafe impl Send for CodePage {}

impl CodePage {
    pub(crate) fn new(page: HostPage) -> Self {
        Self { state: NonNull::from(page.state()), page }
    }

    /// The generation now.
    #[inline(always)]
    pub(crate) fn generation(&self) -> u32 {
        // SAFETY: the state lives as long as `page`, whose allocation does not move it.
        unsafe { self.state.as_ref() }.generation()
    }

    /// The page itself.
    pub(crate) fn page(&self) -> &HostPage {
        &self.page
    }

    /// Whether `bytes` are what is at `offset` now.
    pub(crate) fn holds(&self, offset: usize, bytes: &[u8]) -> bool {
        let mut now = [0; 64];
        bytes.chunks(now.len()).enumerate().all(|(i, part)| {
            let now = &mut now[..part.len()];
            copy_from(&self.page, offset + 64 * i, now);
            now == part
        })
    }

    /// Whether it is this page.
    pub(crate) fn is(&self, page: &HostPage) -> bool {
        std::ptr::eq(self.state.as_ptr(), page.state())
    }
}
