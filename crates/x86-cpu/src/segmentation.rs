//! Segment registers, descriptors, and the checks on loading and using them.

use crate::state::*;

pub(crate) const ATTR_PRESENT: u32 = 1 << 7;
pub(crate) const ATTR_SEGMENT: u32 = 1 << 4;
pub(crate) const ATTR_CODE: u32 = 1 << 3;
/// Conforming (code) or expand-down (data).
pub(crate) const ATTR_CONFORMING: u32 = 1 << 2;
/// Readable (code) or writable (data).
pub(crate) const ATTR_RW: u32 = 1 << 1;
pub(crate) const ATTR_ACCESSED: u32 = 1 << 0;
pub(crate) const ATTR_BIG: u32 = 1 << 14;
pub(crate) const ATTR_PAGES: u32 = 1 << 15;
pub(crate) const ATTR_UNUSABLE: u32 = 1 << 16;
/// Every attribute bit a segment can have.
pub(crate) const ATTR_ALL: u32 = 0x1_D0FF;

/// A segment register: selector, descriptor cache, and what follows from it.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Seg {
    pub(crate) sel: u16,
    pub(crate) base: u32,
    pub(crate) limit: u32,
    pub(crate) attr: u32,
    /// Lowest valid offset.
    lo: u32,
    /// Bytes from `lo` on that may be read.
    read_len: u64,
    /// Bytes from `lo` on that may be written.
    write_len: u64,
}

impl Seg {
    pub(crate) fn new(sel: u16, base: u32, limit: u32, attr: u32) -> Self {
        let mut s = Self { sel, base, limit, attr, lo: 0, read_len: 0, write_len: 0 };
        if attr & ATTR_UNUSABLE != 0 || attr & ATTR_PRESENT == 0 || attr & ATTR_SEGMENT == 0 {
            return s;
        }
        if attr & ATTR_CODE != 0 {
            if attr & ATTR_RW != 0 {
                s.read_len = u64::from(limit) + 1;
            }
            return s;
        }
        if attr & ATTR_CONFORMING != 0 {
            let top = if attr & ATTR_BIG != 0 { u32::MAX } else { 0xFFFF };
            if limit < top {
                s.lo = limit + 1;
                s.read_len = u64::from(top - limit);
            }
        } else {
            s.read_len = u64::from(limit) + 1;
        }
        if attr & ATTR_RW != 0 {
            s.write_len = s.read_len;
        }
        s
    }

    /// As a load in real mode from reset state leaves it.
    pub(crate) fn real(sel: u16) -> Self {
        Self::new(sel, u32::from(sel) << 4, 0xFFFF, 0x93)
    }

    /// As a load in V86 mode leaves it.
    pub(crate) fn v86(sel: u16) -> Self {
        Self::new(sel, u32::from(sel) << 4, 0xFFFF, 0xF3)
    }

    /// CS after RESET: F000 with the base at the top of the address space.
    pub(crate) fn code_at_reset() -> Self {
        Self::new(0xF000, 0xFFFF_0000, 0xFFFF, 0x93)
    }

    /// LDTR or TR after RESET.
    pub(crate) fn system(attr: u32) -> Self {
        Self::new(0, 0, 0xFFFF, attr)
    }

    /// After a load of a null selector.
    pub(crate) fn null(sel: u16) -> Self {
        Self::new(sel, 0, 0, ATTR_UNUSABLE)
    }

    pub(crate) fn from_descriptor(sel: u16, d: &Descriptor) -> Self {
        Self::new(sel, d.base(), d.limit(), d.attr())
    }

    pub(crate) fn big(&self) -> bool {
        self.attr & ATTR_BIG != 0
    }

    pub(crate) fn flat_data(&self) -> bool {
        self.base == 0 && self.lo == 0 && self.read_len == 1 << 32 && self.write_len == 1 << 32
    }

    pub(crate) fn flat_code(&self) -> bool {
        self.base == 0 && self.limit == u32::MAX
    }

    pub(crate) fn usable(&self) -> bool {
        self.attr & ATTR_UNUSABLE == 0
    }

    pub(crate) fn dpl(&self) -> u8 {
        (self.attr >> 5 & 3) as u8
    }

    /// Whether `size` bytes at `offset` may be accessed.
    #[inline(always)]
    pub(crate) fn allows(&self, offset: u32, size: u32, write: bool) -> bool {
        let len = if write { self.write_len } else { self.read_len };
        u64::from(offset.wrapping_sub(self.lo)) + u64::from(size) <= len
    }

    /// Bytes from `offset` on that may be accessed.
    pub(crate) fn room(&self, offset: u32, write: bool) -> u64 {
        let len = if write { self.write_len } else { self.read_len };
        len.saturating_sub(u64::from(offset.wrapping_sub(self.lo)))
    }
}

/// A descriptor as it stands in its table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Descriptor {
    pub(crate) lo: u32,
    pub(crate) hi: u32,
    /// Linear address of the descriptor.
    pub(crate) at: u32,
}

impl Descriptor {
    pub(crate) fn base(&self) -> u32 {
        self.lo >> 16 | (self.hi & 0xFF) << 16 | self.hi & 0xFF00_0000
    }

    pub(crate) fn limit(&self) -> u32 {
        let raw = self.lo & 0xFFFF | self.hi & 0xF_0000;
        if self.attr() & ATTR_PAGES != 0 { raw << 12 | 0xFFF } else { raw }
    }

    pub(crate) fn attr(&self) -> u32 {
        self.hi >> 8 & 0xD0FF
    }

    pub(crate) fn dpl(&self) -> u8 {
        (self.hi >> 13 & 3) as u8
    }

    pub(crate) fn present(&self) -> bool {
        self.attr() & ATTR_PRESENT != 0
    }

    /// Bits 4:0, S and type.
    pub(crate) fn kind(&self) -> u32 {
        self.attr() & 0x1F
    }

    pub(crate) fn is_code(&self) -> bool {
        self.attr() & (ATTR_SEGMENT | ATTR_CODE) == ATTR_SEGMENT | ATTR_CODE
    }

    pub(crate) fn conforming(&self) -> bool {
        self.attr() & ATTR_CONFORMING != 0
    }

    pub(crate) fn is_writable_data(&self) -> bool {
        self.attr() & (ATTR_SEGMENT | ATTR_CODE | ATTR_RW) == ATTR_SEGMENT | ATTR_RW
    }

    pub(crate) fn is_readable(&self) -> bool {
        self.attr() & ATTR_SEGMENT != 0 && self.attr() & (ATTR_CODE | ATTR_RW) != ATTR_CODE
    }

    /// Gates: offset of the target.
    pub(crate) fn gate_offset(&self) -> u32 {
        let wide = self.kind() & 8 != 0;
        self.lo & 0xFFFF | if wide { self.hi & 0xFFFF_0000 } else { 0 }
    }

    /// Gates: selector of the target.
    pub(crate) fn gate_selector(&self) -> u16 {
        (self.lo >> 16) as u16
    }
}

pub(crate) fn is_null(sel: u16) -> bool {
    sel & 0xFFFC == 0
}

pub(crate) fn rpl(sel: u16) -> u8 {
    (sel & 3) as u8
}

/// A selector as an error code.
pub(crate) fn code_of(sel: u16) -> u32 {
    u32::from(sel & 0xFFFC)
}

impl Core {
    /// The linear address of an access, or the exception that it raises.
    #[inline(always)]
    pub(crate) fn linear(&mut self, seg: usize, offset: u32, size: u32, write: bool) -> Fallible<u32> {
        let s = &self.seg[seg];
        if s.allows(offset, size, write) {
            Ok(s.base.wrapping_add(offset))
        } else {
            Err(self.limit_fault(seg))
        }
    }

    #[cold]
    pub(crate) fn limit_fault(&mut self, seg: usize) -> Abort {
        if seg == SS { self.ss(0) } else { self.gp(0) }
    }

    /// The descriptor of a selector; `None` if it lies outside its table.
    pub(crate) fn descriptor(&mut self, pins: &mut Pins<'_>, sel: u16) -> Fallible<Option<Descriptor>> {
        let (base, limit) = if sel & 4 != 0 {
            if !self.ldtr.usable() || self.ldtr.attr & ATTR_PRESENT == 0 || is_null(self.ldtr.sel) {
                return Ok(None);
            }
            (self.ldtr.base, self.ldtr.limit)
        } else {
            (self.gdtr.base, u32::from(self.gdtr.limit))
        };
        if u32::from(sel | 7) > limit {
            return Ok(None);
        }
        let at = base.wrapping_add(u32::from(sel & 0xFFF8));
        let lo = self.read_system(pins, at)?;
        let hi = self.read_system(pins, at.wrapping_add(4))?;
        Ok(Some(Descriptor { lo, hi, at }))
    }

    /// The same, with #GP(selector) outside the table.
    pub(crate) fn descriptor_or_gp(&mut self, pins: &mut Pins<'_>, sel: u16) -> Fallible<Descriptor> {
        match self.descriptor(pins, sel)? {
            Some(d) => Ok(d),
            None => Err(self.gp(code_of(sel))),
        }
    }

    /// Marks a segment descriptor accessed.
    pub(crate) fn set_accessed(&mut self, pins: &mut Pins<'_>, d: &mut Descriptor) -> Fallible<()> {
        if d.attr() & ATTR_ACCESSED == 0 {
            d.hi |= ATTR_ACCESSED << 8;
            self.write_system(pins, d.at.wrapping_add(5), (d.hi >> 8) as u8)?;
        }
        Ok(())
    }

    /// MOV, POP and LDS and kin: loads any segment register but CS.
    pub(crate) fn load_segment(&mut self, pins: &mut Pins<'_>, seg: usize, sel: u16) -> Fallible<()> {
        self.seg[seg] = self.check_segment(pins, seg, sel)?;
        self.update_mode();
        Ok(())
    }

    /// What a load would put into a segment register.
    pub(crate) fn check_segment(&mut self, pins: &mut Pins<'_>, seg: usize, sel: u16) -> Fallible<Seg> {
        if !self.by_descriptor() {
            return Ok(self.real_segment(seg, sel));
        }
        if seg == SS {
            return self.check_stack_segment(pins, sel, self.cpl, false);
        }
        if is_null(sel) {
            return Ok(Seg::null(sel));
        }
        let mut d = self.descriptor_or_gp(pins, sel)?;
        let guarded = !d.is_code() || !d.conforming();
        if !d.is_readable() || guarded && (rpl(sel) > d.dpl() || self.cpl > d.dpl()) {
            return Err(self.gp(code_of(sel)));
        }
        if !d.present() {
            return Err(self.np(code_of(sel)));
        }
        self.set_accessed(pins, &mut d)?;
        Ok(Seg::from_descriptor(sel, &d))
    }

    /// SS for privilege level `cpl`. `by_task`: violations are #TS, as when the selector comes from a TSS.
    pub(crate) fn check_stack_segment(
        &mut self,
        pins: &mut Pins<'_>,
        sel: u16,
        cpl: u8,
        by_task: bool,
    ) -> Fallible<Seg> {
        let bad = |core: &mut Self, code| if by_task { core.ts(code) } else { core.gp(code) };
        if is_null(sel) {
            return Err(bad(self, if by_task { code_of(sel) } else { 0 }));
        }
        let Some(mut d) = self.descriptor(pins, sel)? else { return Err(bad(self, code_of(sel))) };
        if rpl(sel) != cpl || !d.is_writable_data() || d.dpl() != cpl {
            return Err(bad(self, code_of(sel)));
        }
        if !d.present() {
            return Err(self.ss(code_of(sel)));
        }
        self.set_accessed(pins, &mut d)?;
        Ok(Seg::from_descriptor(sel, &d))
    }

    /// Real and V86 mode: base from the selector. In real mode the limit stays what it was ("unreal").
    pub(crate) fn real_segment(&self, seg: usize, sel: u16) -> Seg {
        if self.v86() {
            return Seg::v86(sel);
        }
        let old = &self.seg[seg];
        if seg == CS || old.attr & (ATTR_UNUSABLE | ATTR_CODE) != 0 || old.attr & ATTR_PRESENT == 0 {
            let limit = if old.usable() { old.limit } else { 0xFFFF };
            let size = if old.usable() { old.attr & (ATTR_BIG | ATTR_PAGES) } else { 0 };
            return Seg::new(sel, u32::from(sel) << 4, limit, 0x93 | size);
        }
        Seg::new(sel, u32::from(sel) << 4, old.limit, old.attr)
    }

    /// After a change to a less privileged level: data segments it may not hold become null.
    pub(crate) fn drop_privileged_segments(&mut self) {
        for i in [ES, DS, FS, GS] {
            let s = &self.seg[i];
            let conforming_code = s.attr & (ATTR_CODE | ATTR_CONFORMING) == ATTR_CODE | ATTR_CONFORMING;
            if s.usable() && !conforming_code && s.dpl() < self.cpl {
                self.seg[i] = Seg::null(0);
            }
        }
    }
}
