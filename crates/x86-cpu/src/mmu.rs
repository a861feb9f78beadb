//! From linear addresses to bytes: paging, the slow half of the TLB, physical pages.

use crate::exceptions::vector;
use crate::fast_mem::{self, PART_ALIGNED, PART_SYSTEM, PART_USER, TLB_ALL, TLB_SIZE, tlb_index};
use crate::int::Int;
use crate::model;
use crate::state::*;
use slotone_bus::cpu::{CpuBus, PageMap};
use slotone_bus::mem::{HostPage, PAGE_SIZE};

const PRESENT: u64 = 1 << 0;
const WRITABLE: u64 = 1 << 1;
const USER: u64 = 1 << 2;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;

/// Page-fault error code: the page was present.
const PF_PROTECTION: u32 = 1;
const PF_WRITE: u32 = 2;
const PF_USER: u32 = 4;
const PF_RESERVED: u32 = 8;

/// Most physical address lines: 64 GiB.
const ADDRESS_MASK: u64 = (1 << 36) - 1;
const DIRECTORY: usize = 1 << (36 - 12 - 10);

/// Where every physical page leads, as far as asked. Holds the pages that the fast paths point into.
#[derive(Default)]
pub(crate) struct PhysMap {
    directory: Vec<Option<Box<[Option<PageMap>; 1024]>>>,
}

impl PhysMap {
    /// The page of a frame number.
    #[inline]
    pub(crate) fn page(&mut self, bus: &mut dyn CpuBus, frame: u32) -> &PageMap {
        let entry = frame as usize >> 10 & (DIRECTORY - 1);
        if entry >= self.directory.len() {
            self.directory.resize_with(entry + 1, || None);
        }
        let table = self.directory[entry].get_or_insert_with(|| Box::new([const { None }; 1024]));
        table[frame as usize & 1023].get_or_insert_with(|| bus.map(u64::from(frame) << 12))
    }

    /// Forgets all. The caller has flushed the TLB.
    fn clear(&mut self) {
        self.directory.clear();
    }
}

/// What the page tables said of a linear page.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct TlbInfo {
    /// Linear page address, bit 0 set if there is something here.
    tag: u32,
    frame: u32,
    /// Writes are allowed and the page is marked dirty.
    writable: bool,
    global: bool,
    /// Part of a large page.
    large: bool,
    /// The place is in [`Core::tlb_locals`].
    listed: bool,
}

struct Walk {
    frame: u32,
    writable: bool,
    global: bool,
    large: bool,
}

/// A table entry's address and value, to have its bits set when all checks passed.
#[derive(Clone, Copy)]
struct Visited {
    at: u64,
    entry: u64,
}

impl Core {
    /// Reads at the current privilege level.
    #[inline(always)]
    pub(crate) fn read<T: Int>(&mut self, pins: &mut Pins<'_>, linear: u32) -> Fallible<T> {
        match self.tlb.read(self.part, linear) {
            Some(v) => Ok(v),
            None => self.read_slow(pins, self.part, linear, T::SIZE).map(T::of),
        }
    }

    /// Writes at the current privilege level.
    #[inline(always)]
    pub(crate) fn write<T: Int>(&mut self, pins: &mut Pins<'_>, linear: u32, value: T) -> Fallible<()> {
        if self.tlb.write(self.part, linear, value) {
            return Ok(());
        }
        self.write_slow(pins, self.part, linear, T::SIZE, value.u())
    }

    /// Reads, changes and writes back; a fault is that of a write, and happens before the change.
    #[inline(always)]
    pub(crate) fn update<T: Int, R>(
        &mut self,
        pins: &mut Pins<'_>,
        linear: u32,
        change: impl Fn(T) -> (T, R),
    ) -> Fallible<R> {
        if let Some(r) = self.tlb.update(self.part, linear, &change) {
            return Ok(r);
        }
        self.probe_write(pins, linear, T::SIZE)?;
        let (new, r) = change(T::of(self.read_slow(pins, self.part, linear, T::SIZE)?));
        self.write_slow(pins, self.part, linear, T::SIZE, new.u())?;
        Ok(r)
    }

    /// Reads as the processor itself does from its tables: as a supervisor.
    pub(crate) fn read_system<T: Int>(&mut self, pins: &mut Pins<'_>, linear: u32) -> Fallible<T> {
        match self.tlb.read(PART_SYSTEM, linear) {
            Some(v) => Ok(v),
            None => self.read_slow(pins, PART_SYSTEM, linear, T::SIZE).map(T::of),
        }
    }

    /// Writes as a supervisor.
    pub(crate) fn write_system<T: Int>(&mut self, pins: &mut Pins<'_>, linear: u32, v: T) -> Fallible<()> {
        if self.tlb.write(PART_SYSTEM, linear, v) {
            return Ok(());
        }
        self.write_slow(pins, PART_SYSTEM, linear, T::SIZE, v.u())
    }

    /// Reads 64 bits.
    #[inline(always)]
    pub(crate) fn read64(&mut self, pins: &mut Pins<'_>, linear: u32) -> Fallible<u64> {
        if self.part == PART_ALIGNED {
            self.check_alignment(linear, 8)?;
        }
        let low: u32 = self.read(pins, linear)?;
        let high: u32 = self.read(pins, linear.wrapping_add(4))?;
        Ok(u64::from(high) << 32 | u64::from(low))
    }

    /// Writes 64 bits, all or nothing.
    #[inline(always)]
    pub(crate) fn write64(&mut self, pins: &mut Pins<'_>, linear: u32, value: u64) -> Fallible<()> {
        let one_page = linear as usize % PAGE_SIZE <= PAGE_SIZE - 8;
        if one_page && self.part != PART_ALIGNED && self.tlb.write(self.part, linear, value as u32) {
            return self.write(pins, linear.wrapping_add(4), (value >> 32) as u32);
        }
        self.write_bytes(pins, linear, &value.to_le_bytes())
    }

    /// Reads any number of bytes up to a page at the current privilege level.
    pub(crate) fn read_bytes(&mut self, pins: &mut Pins<'_>, linear: u32, out: &mut [u8]) -> Fallible<()> {
        let part = self.part;
        self.check_access(part, linear, out.len() as u32, false)?;
        let here = out.len().min(PAGE_SIZE - linear as usize % PAGE_SIZE);
        let first = self.translate_page(pins, part, linear, false)?;
        let next = linear.wrapping_add(here as u32);
        let second =
            if here < out.len() { Some(self.translate_page(pins, part, next, false)?) } else { None };
        let (low, high) = out.split_at_mut(here);
        self.phys_read(pins, first, low);
        if let Some(second) = second {
            self.phys_read(pins, second, high);
        }
        Ok(())
    }

    /// Writes any number of bytes up to a page at the current privilege level; all or, on a fault, nothing.
    pub(crate) fn write_bytes(&mut self, pins: &mut Pins<'_>, linear: u32, data: &[u8]) -> Fallible<()> {
        let part = self.part;
        self.check_access(part, linear, data.len() as u32, true)?;
        let here = data.len().min(PAGE_SIZE - linear as usize % PAGE_SIZE);
        let first = self.translate_page(pins, part, linear, true)?;
        let next = linear.wrapping_add(here as u32);
        let second =
            if here < data.len() { Some(self.translate_page(pins, part, next, true)?) } else { None };
        self.phys_write(pins, first, &data[..here]);
        if let Some(second) = second {
            self.phys_write(pins, second, &data[here..]);
        }
        Ok(())
    }

    /// Faults as a write would.
    pub(crate) fn probe_write(&mut self, pins: &mut Pins<'_>, linear: u32, size: u32) -> Fallible<()> {
        self.probe_part(pins, self.part, linear, size)
    }

    /// Faults as a supervisor's write would.
    pub(crate) fn probe_write_system(&mut self, pins: &mut Pins<'_>, linear: u32, size: u32) -> Fallible<()> {
        self.probe_part(pins, PART_SYSTEM, linear, size)
    }

    fn probe_part(&mut self, pins: &mut Pins<'_>, part: usize, linear: u32, size: u32) -> Fallible<()> {
        if part == PART_ALIGNED {
            self.check_alignment(linear, size)?;
        }
        self.translate_page(pins, part, linear, true)?;
        // CR2 is the first byte that is out of reach.
        if (linear.wrapping_add(size - 1) ^ linear) >> 12 != 0 {
            self.translate_page(pins, part, (linear | 0xFFF).wrapping_add(1), true)?;
        }
        Ok(())
    }

    fn check_alignment(&mut self, linear: u32, size: u32) -> Fallible<()> {
        let align = match size {
            10 => 8,
            16.. => 4,
            s => s,
        };
        if linear & (align - 1) != 0 { Err(self.raise(vector::AC, Some(0))) } else { Ok(()) }
    }

    /// Alignment and data breakpoints of an access.
    fn check_access(&mut self, part: usize, linear: u32, size: u32, write: bool) -> Fallible<()> {
        if part == PART_ALIGNED {
            self.check_alignment(linear, size)?;
        }
        if self.dr[7] & 0xFF != 0 {
            self.check_data_breakpoints(linear, size, write);
        }
        Ok(())
    }

    #[cold]
    #[inline(never)]
    fn read_slow(&mut self, pins: &mut Pins<'_>, part: usize, linear: u32, size: u32) -> Fallible<u32> {
        self.check_access(part, linear, size, false)?;
        let mut bytes = [0; 4];
        let at = self.translate_page(pins, part, linear, false)?;
        if (linear as usize % PAGE_SIZE) + size as usize <= PAGE_SIZE {
            self.phys_read(pins, at, &mut bytes[..size as usize]);
        } else {
            let here = PAGE_SIZE - linear as usize % PAGE_SIZE;
            let next = self.translate_page(pins, part, linear.wrapping_add(here as u32), false)?;
            for (i, b) in bytes[..size as usize].iter_mut().enumerate() {
                let at = if i < here { at + i as u64 } else { next + (i - here) as u64 };
                self.phys_read(pins, at, std::slice::from_mut(b));
            }
        }
        Ok(u32::from_le_bytes(bytes))
    }

    #[cold]
    #[inline(never)]
    fn write_slow(
        &mut self,
        pins: &mut Pins<'_>,
        part: usize,
        linear: u32,
        size: u32,
        value: u32,
    ) -> Fallible<()> {
        self.check_access(part, linear, size, true)?;
        let bytes = value.to_le_bytes();
        let at = self.translate_page(pins, part, linear, true)?;
        if (linear as usize % PAGE_SIZE) + size as usize <= PAGE_SIZE {
            if self.phys_write(pins, at, &bytes[..size as usize]) {
                let part = if part == PART_ALIGNED { PART_USER } else { part };
                self.fill(pins, tlb_index(part, linear), linear);
            }
        } else {
            let here = PAGE_SIZE - linear as usize % PAGE_SIZE;
            let next = self.translate_page(pins, part, linear.wrapping_add(here as u32), true)?;
            for (i, b) in bytes[..size as usize].iter().enumerate() {
                let at = if i < here { at + i as u64 } else { next + (i - here) as u64 };
                self.phys_write(pins, at, std::slice::from_ref(b));
            }
        }
        Ok(())
    }

    /// Reads physical memory; the bytes lie on one page.
    pub(crate) fn phys_read(&mut self, pins: &mut Pins<'_>, at: u64, out: &mut [u8]) {
        let page = self.phys.page(pins.bus, (at >> 12) as u32);
        if let Some(p) = &page.read {
            fast_mem::copy_from(p, at as usize % PAGE_SIZE, out);
            return;
        }
        let mut at = at;
        let mut rest = out;
        while !rest.is_empty() {
            let n = bus_width(at, rest.len());
            let (head, tail) = rest.split_at_mut(n);
            pins.bus.mem_read(self.now(), at, head);
            self.pull(pins);
            at += n as u64;
            rest = tail;
        }
    }

    /// Writes physical memory; the bytes lie on one page. Says whether that is RAM without code.
    pub(crate) fn phys_write(&mut self, pins: &mut Pins<'_>, at: u64, data: &[u8]) -> bool {
        let offset = at as usize % PAGE_SIZE;
        let page = self.phys.page(pins.bus, (at >> 12) as u32);
        if let Some(p) = &page.write {
            fast_mem::copy_to(p, offset, data);
            if p.state().code() == 0 {
                return true;
            }
            if p.state().wrote(offset..offset + data.len()) {
                // The code here is likely to be run again: only a second store makes the page quick to write to.
                self.poke();
            }
            return false;
        }
        let mut at = at;
        let mut rest = data;
        while !rest.is_empty() {
            let n = bus_width(at, rest.len());
            let (head, tail) = rest.split_at(n);
            pins.bus.mem_write(self.now(), at, head);
            self.pull(pins);
            at += n as u64;
            rest = tail;
        }
        false
    }

    /// The physical address behind a linear one, for an access from `part`; faults if it is not allowed.
    pub(crate) fn translate_page(
        &mut self,
        pins: &mut Pins<'_>,
        part: usize,
        linear: u32,
        write: bool,
    ) -> Fallible<u64> {
        let part = if part == PART_ALIGNED { PART_USER } else { part };
        let index = tlb_index(part, linear);
        let info = self.tlb_info[index];
        let offset = u64::from(linear) % PAGE_SIZE as u64;
        if info.tag == (linear & !0xFFF | 1) && (info.writable || !write) {
            return Ok(u64::from(info.frame) << 12 | offset);
        }
        let walk = self.walk(pins, part == PART_USER, linear, write)?;
        let Walk { frame, writable, global, large } = walk;
        let tag = linear & !0xFFF | 1;
        if info.tag == tag && info.frame != frame {
            // The guest changed its tables without a flush, and a first write has found out: code goes on from there too, the
            // rest of the running block included, wherever the run happens to be cut.
            self.next_epoch(true);
            self.poke();
        }
        if global {
            self.tlb_globals = true;
        } else if !info.listed {
            self.tlb_locals.push(index as u16);
        }
        let listed = info.listed || !global;
        self.tlb_info[index] = TlbInfo { tag, frame, writable, global, large, listed };
        if large {
            let region = linear as usize >> 22;
            self.large_regions[region / 32] |= 1 << (region % 32);
        }
        self.fill(pins, index, linear);
        Ok(u64::from(frame) << 12 | offset)
    }

    /// Gives a translated page to the fast path, as far as it is plain RAM without code and breakpoints.
    fn fill(&mut self, pins: &mut Pins<'_>, index: usize, linear: u32) {
        let info = self.tlb_info[index];
        if info.tag != linear & !0xFFF | 1 || self.page_has_breakpoint(linear) {
            self.tlb.clear(index);
            return;
        }
        let page = self.phys.page(pins.bus, info.frame);
        match (&page.read, &page.write) {
            (Some(r), w) => {
                let same = w.as_ref().is_some_and(|w| w.data() == r.data());
                self.tlb.fill(index, linear, r, info.writable && same && r.state().code() == 0);
            }
            _ => self.tlb.clear(index),
        }
    }

    fn table_read(&mut self, pins: &mut Pins<'_>, at: u64, wide: bool) -> Visited {
        let at = at & self.a20_mask;
        let mut bytes = [0; 8];
        let n = if wide { 8 } else { 4 };
        self.phys_read(pins, at, &mut bytes[..n]);
        Visited { at, entry: u64::from_le_bytes(bytes) }
    }

    /// Sets bits of a table entry that was read.
    fn table_set(&mut self, pins: &mut Pins<'_>, v: Visited, bits: u64) {
        if v.entry & bits != bits {
            self.phys_write(pins, v.at, &((v.entry | bits) as u32).to_le_bytes());
        }
    }

    fn page_fault(&mut self, linear: u32, code: u32) -> Abort {
        self.cr2 = linear;
        self.raise(vector::PF, Some(code))
    }

    fn walk(&mut self, pins: &mut Pins<'_>, user: bool, linear: u32, write: bool) -> Fallible<Walk> {
        if self.cr0 & CR0_PG == 0 {
            let frame = ((u64::from(linear) & self.a20_mask) >> 12) as u32;
            return Ok(Walk { frame, writable: true, global: false, large: false });
        }
        let code = if write { PF_WRITE } else { 0 } | if user { PF_USER } else { 0 };
        let pae = self.cr4 & CR4_PAE != 0;
        let lin = u64::from(linear);
        let reserved = if pae { !ADDRESS_MASK } else { 0 };
        let directory = if pae {
            let pdpte = self.pdpte[linear as usize >> 30];
            if pdpte & PRESENT == 0 {
                return Err(self.page_fault(linear, code));
            }
            (pdpte & ADDRESS_MASK & !0xFFF) + (lin >> 21 & 511) * 8
        } else {
            u64::from(self.cr3 & !0xFFF) + (lin >> 22) * 4
        };
        let pde = self.table_read(pins, directory, pae);
        if pde.entry & PRESENT == 0 {
            return Err(self.page_fault(linear, code));
        }
        let mut reserved_set = pde.entry & reserved != 0;
        let large = pde.entry & LARGE != 0 && (pae || self.cr4 & CR4_PSE != 0);
        let (leaf, base, rights);
        if large {
            leaf = pde;
            rights = pde.entry;
            base = if pae {
                reserved_set |= pde.entry & 0x001F_E000 != 0;
                pde.entry & ADDRESS_MASK & !0x1F_FFFF | lin & 0x1F_F000
            } else {
                let high = if self.model.has(model::PSE36) {
                    reserved_set |= pde.entry & 0x003E_0000 != 0;
                    (pde.entry >> 13 & 15) << 32
                } else {
                    reserved_set |= pde.entry & 0x003F_E000 != 0;
                    0
                };
                pde.entry & 0xFFC0_0000 | high | lin & 0x3F_F000
            };
        } else if reserved_set {
            return Err(self.page_fault(linear, code | PF_PROTECTION | PF_RESERVED));
        } else {
            let table = if pae {
                (pde.entry & ADDRESS_MASK & !0xFFF) + (lin >> 12 & 511) * 8
            } else {
                (pde.entry & !0xFFF) + (lin >> 12 & 1023) * 4
            };
            leaf = self.table_read(pins, table, pae);
            if leaf.entry & PRESENT == 0 {
                return Err(self.page_fault(linear, code));
            }
            reserved_set = leaf.entry & reserved != 0;
            rights = pde.entry & leaf.entry;
            base = leaf.entry & ADDRESS_MASK & !0xFFF;
        }
        if reserved_set {
            return Err(self.page_fault(linear, code | PF_PROTECTION | PF_RESERVED));
        }
        let may_write = rights & WRITABLE != 0 || !user && self.cr0 & CR0_WP == 0;
        if user && rights & USER == 0 || write && !may_write {
            return Err(self.page_fault(linear, code | PF_PROTECTION));
        }
        if !large {
            self.table_set(pins, pde, ACCESSED);
        }
        self.table_set(pins, leaf, if write { ACCESSED | DIRTY } else { ACCESSED });
        let dirty = write || leaf.entry & DIRTY != 0;
        let global = self.cr4 & CR4_PGE != 0 && leaf.entry & GLOBAL != 0;
        let frame = ((base & self.a20_mask) >> 12) as u32;
        Ok(Walk { frame, writable: may_write && dirty, global, large })
    }

    fn next_epoch(&mut self, globals: bool) {
        self.epoch = ((self.epoch + 1) & (GLOBAL_EPOCH - 1)).max(1);
        if globals {
            self.global_epoch = self.global_epoch.wrapping_add(1) & (GLOBAL_EPOCH - 1) | GLOBAL_EPOCH;
        }
    }

    /// The epoch that lasts as long as the translation of this address for a fetch at the current privilege level, as far as
    /// the TLB knows.
    pub(crate) fn epoch_of(&self, linear: u32) -> u32 {
        let info = &self.tlb_info[tlb_index(self.fetch_part(), linear)];
        let global = info.global && info.tag == (linear & !0xFFF | 1);
        if global { self.global_epoch } else { self.epoch }
    }

    fn fetch_part(&self) -> usize {
        if self.part == PART_SYSTEM { PART_SYSTEM } else { PART_USER }
    }

    /// Empties the TLB, of global pages only if told.
    pub(crate) fn flush_tlb(&mut self, globals: bool) {
        let all = globals || self.cr4 & CR4_PGE == 0;
        self.next_epoch(all);
        if all && self.tlb_globals {
            self.tlb.flush();
            self.tlb_info[..PART_ALIGNED].fill(TlbInfo::default());
            self.tlb_locals.clear();
            self.tlb_globals = false;
        }
        for index in self.tlb_locals.drain(..).map(usize::from) {
            if self.tlb_info[index].global {
                self.tlb_info[index].listed = false;
            } else {
                self.tlb_info[index] = TlbInfo::default();
                self.tlb.clear(index);
            }
        }
        if all {
            self.large_regions = [0; 32];
        }
    }

    /// INVLPG.
    pub(crate) fn invalidate_page(&mut self, linear: u32) {
        self.next_epoch(true);
        for part in [PART_SYSTEM, PART_USER] {
            let index = tlb_index(part, linear);
            if self.tlb_info[index].tag >> 12 == linear >> 12 {
                self.drop_entry(index);
            }
        }
        // A large page lies in the TLB in pieces, all of which go.
        let region = linear as usize >> 22;
        if self.large_regions[region / 32] >> (region % 32) & 1 == 0 {
            return;
        }
        for i in 0..PART_ALIGNED {
            let info = self.tlb_info[i];
            if info.large && info.tag >> 22 == linear >> 22 {
                self.drop_entry(i);
            }
        }
    }

    fn drop_entry(&mut self, index: usize) {
        let listed = self.tlb_info[index].listed;
        self.tlb_info[index] = TlbInfo { listed, ..TlbInfo::default() };
        self.tlb.clear(index);
    }

    /// Whether the TLB still holds this translation for a fetch at the current privilege level.
    #[inline]
    pub(crate) fn still_maps(&self, linear: u32, physical: u64) -> bool {
        let info = &self.tlb_info[tlb_index(self.fetch_part(), linear)];
        info.tag == (linear & !0xFFF | 1) && u64::from(info.frame) == physical >> 12
    }

    /// Drops everything that rests on answers of [`CpuBus::map`].
    pub(crate) fn forget_map(&mut self) {
        self.flush_tlb(true);
        self.phys.clear();
        self.page_epoch = self.page_epoch.wrapping_add(1) | PAGE_EPOCH;
    }

    /// Notes that bytes of a page were decoded: stores to the page go the slow way from now on.
    pub(crate) fn mark_code(&mut self, page: &HostPage, physical: u64, len: usize) {
        if page.state().code() == 0 {
            self.tlb.protect(page, physical);
        }
        let offset = physical as usize % PAGE_SIZE;
        page.state().mark_code(offset..offset + len);
    }

    /// Loads the page-directory-pointer registers that CR3 names.
    pub(crate) fn load_pdptes(&mut self, pins: &mut Pins<'_>, cr3: u32) -> Fallible<[u64; 4]> {
        let mut out = [0; 4];
        for (i, e) in out.iter_mut().enumerate() {
            *e = self.table_read(pins, u64::from(cr3 & !31) + 8 * i as u64, true).entry;
            if *e & PRESENT != 0 && *e & (!ADDRESS_MASK | 0x1E6) != 0 {
                return Err(self.gp(0));
            }
        }
        Ok(out)
    }

    /// A walk without side effects, as a supervisor's read.
    pub(crate) fn translate_quietly(&self, bus: &mut dyn CpuBus, linear: u32) -> Option<u64> {
        if self.cr0 & CR0_PG == 0 {
            return Some(u64::from(linear) & self.a20_mask);
        }
        let pae = self.cr4 & CR4_PAE != 0;
        let lin = u64::from(linear);
        let mut read = |at: u64| -> Option<u64> {
            let at = at & self.a20_mask;
            let page = bus.map(at & !0xFFF).read?;
            let mut bytes = [0; 8];
            let n = if pae { 8 } else { 4 };
            fast_mem::copy_from(&page, at as usize % PAGE_SIZE, &mut bytes[..n]);
            Some(u64::from_le_bytes(bytes)).filter(|e| e & PRESENT != 0)
        };
        let (pde, table, large_mask);
        if pae {
            let pdpte = Some(self.pdpte[linear as usize >> 30]).filter(|e| e & PRESENT != 0)?;
            pde = read((pdpte & ADDRESS_MASK & !0xFFF) + (lin >> 21 & 511) * 8)?;
            table = (pde & ADDRESS_MASK & !0xFFF) + (lin >> 12 & 511) * 8;
            large_mask = 0x1F_FFFF;
        } else {
            pde = read(u64::from(self.cr3 & !0xFFF) + (lin >> 22) * 4)?;
            table = (pde & !0xFFF) + (lin >> 12 & 1023) * 4;
            large_mask = 0x3F_FFFF;
        }
        let physical = if pde & LARGE != 0 && (pae || self.cr4 & CR4_PSE != 0) {
            let high = if !pae && self.model.has(model::PSE36) { (pde >> 13 & 15) << 32 } else { 0 };
            pde & ADDRESS_MASK & !large_mask | high | lin & large_mask
        } else {
            read(table)? & ADDRESS_MASK & !0xFFF | lin & 0xFFF
        };
        Some(physical & self.a20_mask)
    }
}

/// Width of the next bus access: a power of two that is aligned and not more than what is left.
fn bus_width(at: u64, left: usize) -> usize {
    // Accesses of the processor's own widths go out whole, aligned or not, as the bus allows within a page.
    match left {
        1 | 2 | 4 | 8 => left,
        3 => 2 - (at & 1) as usize,
        5..=7 => 4,
        _ => 8,
    }
}

const _: () = assert!(TLB_ALL >= PART_ALIGNED + TLB_SIZE && TLB_ALL <= 1 << 16);
