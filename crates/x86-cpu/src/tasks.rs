//! Hardware task switches.

use crate::exceptions::{Source, StackFrame, vector};
use crate::flags;
use crate::segmentation::*;
use crate::state::*;

/// What causes the switch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Switch {
    /// JMP: the old task is left.
    Jump,
    /// CALL, interrupt or exception: the old task is nested under the new one.
    Call,
    /// IRET with NT: back to the task linked to.
    Return,
}

/// Bit 1 of a TSS descriptor's type.
const BUSY: u32 = 2;

/// Offsets in a 32-bit TSS.
mod tss32 {
    pub(super) const CR3: u32 = 0x1C;
    pub(super) const EIP: u32 = 0x20;
    pub(super) const EFLAGS: u32 = 0x24;
    pub(super) const GPR: u32 = 0x28;
    pub(super) const SEGMENTS: u32 = 0x48;
    pub(super) const LDT: u32 = 0x60;
    pub(super) const TRAP: u32 = 0x64;
    pub(super) const MIN_LIMIT: u32 = 0x67;
}

/// Offsets in a 16-bit TSS.
mod tss16 {
    pub(super) const IP: u32 = 0x0E;
    pub(super) const FLAGS: u32 = 0x10;
    pub(super) const GPR: u32 = 0x12;
    pub(super) const SEGMENTS: u32 = 0x22;
    pub(super) const LDT: u32 = 0x2A;
    pub(super) const MIN_LIMIT: u32 = 0x2B;
}

struct Image {
    cr3: Option<u32>,
    eip: u32,
    eflags: u32,
    gpr: [u32; 8],
    /// ES CS SS DS FS GS.
    segments: [u16; 6],
    ldt: u16,
    trap: bool,
}

impl Core {
    /// JMP or CALL to a task gate.
    pub(crate) fn switch_by_gate(
        &mut self,
        p: &mut Pins<'_>,
        gate: &Descriptor,
        how: Switch,
        back: u32,
    ) -> Fallible<()> {
        self.switch_task(p, gate.gate_selector(), how, back)
    }

    /// An interrupt through a task gate.
    pub(crate) fn interrupt_task(
        &mut self,
        p: &mut Pins<'_>,
        sel: u16,
        source: Source,
        error: Option<u32>,
        eip: u32,
    ) -> Fallible<()> {
        // The outgoing task's image gets RF for a fault, as a pushed one would.
        let saved = self.flags;
        if source == Source::Fault {
            self.flags |= flags::RF;
        }
        let r = self.switch_task(p, sel, Switch::Call, eip);
        if r.is_err() {
            if !self.eip_exact {
                self.flags = saved;
            }
            if source != Source::Software && self.fault.vector != vector::PF {
                // EXT
                self.fault.error = self.fault.error.map(|e| e | 1);
            }
            return r;
        }
        self.halted = false;
        if let Some(code) = error {
            let wide = self.tr.attr & 8 != 0;
            let mut frame = StackFrame::current(self);
            frame.push(self, p, wide, code)?;
            frame.commit(self);
        }
        Ok(())
    }

    /// IRET with NT set.
    pub(crate) fn return_from_task(&mut self, p: &mut Pins<'_>, back: u32) -> Fallible<()> {
        let sel: u16 = self.read_system(p, self.tr.base)?;
        self.switch_task(p, sel, Switch::Return, back)
    }

    /// Switches to the task of a TSS selector; `back` is the EIP the old task goes on at.
    pub(crate) fn switch_task(&mut self, p: &mut Pins<'_>, sel: u16, how: Switch, back: u32) -> Fallible<()> {
        let bad = |core: &mut Self| {
            if how == Switch::Return { core.ts(code_of(sel)) } else { core.gp(code_of(sel)) }
        };
        if sel & 4 != 0 || is_null(sel) {
            return Err(bad(self));
        }
        let Some(mut d) = self.descriptor(p, sel)? else { return Err(bad(self)) };
        let wanted_busy = if how == Switch::Return { BUSY } else { 0 };
        if d.kind() & !(BUSY | 8) != 1 || d.kind() & BUSY != wanted_busy {
            return Err(bad(self));
        }
        if !d.present() {
            return Err(self.np(code_of(sel)));
        }
        let wide = d.kind() & 8 != 0;
        let min = if wide { tss32::MIN_LIMIT } else { tss16::MIN_LIMIT };
        if d.limit() < min {
            return Err(self.ts(code_of(sel)));
        }
        // Everything that can fault on either TSS faults here, in the old task.
        let new_base = d.base();
        let image = self.read_tss(p, new_base, wide)?;
        let old_base = self.tr.base;
        let old_wide = self.tr.attr & 8 != 0;
        let (first, last) = if old_wide { (tss32::EIP, 0x5F) } else { (tss16::IP, 0x29) };
        for at in [first, last] {
            self.probe_write_system(p, old_base.wrapping_add(at), 1)?;
        }
        self.probe_write_system(p, new_base, 2)?;
        self.probe_write_system(p, d.at.wrapping_add(5), 1)?;

        // The outgoing task.
        let mut old_flags = self.eflags();
        if how == Switch::Return {
            old_flags &= !flags::NT;
        }
        if how != Switch::Call {
            self.set_busy(p, self.tr.sel, false)?;
        }
        self.write_tss(p, old_base, old_wide, back, old_flags)?;

        // The point of no return: what goes wrong from here on does so in the new task.
        let mut new_flags = image.eflags;
        if how == Switch::Call {
            self.write_system(p, new_base, self.tr.sel)?;
            new_flags |= flags::NT;
        }
        if how != Switch::Return {
            d.hi |= BUSY << 8;
            self.write_system(p, d.at.wrapping_add(5), (d.hi >> 8) as u8)?;
        }
        self.tr = Seg::new(sel, new_base, d.limit(), d.attr() | BUSY);
        self.cr0 |= CR0_TS;
        self.enter_task(p, image, new_flags)
    }

    fn enter_task(&mut self, p: &mut Pins<'_>, image: Image, new_flags: u32) -> Fallible<()> {
        if let Some(cr3) = image.cr3.filter(|_| self.cr0 & CR0_PG != 0) {
            if self.cr4 & CR4_PAE != 0 {
                self.pdpte = self.load_pdptes(p, cr3)?;
            }
            self.cr3 = cr3;
            self.flush_tlb(false);
        }
        self.gpr[..8].copy_from_slice(&image.gpr);
        self.eip = image.eip;
        self.eip_exact = true;
        self.dr[7] &= !0x155;
        self.set_eflags(new_flags);
        // Selectors are in place before any descriptor is looked at, so that a fault shows them.
        for (i, &s) in image.segments.iter().enumerate() {
            self.seg[i] = Seg::null(s);
        }
        self.ldtr = Seg::null(image.ldt);
        let old_cpl = self.cpl;
        self.cpl = rpl(image.segments[CS]);
        if self.v86() {
            self.cpl = 3;
            for (i, &s) in image.segments.iter().enumerate() {
                self.seg[i] = Seg::v86(s);
            }
        }
        self.update_mode();
        let loaded = self.load_task_segments(p, &image);
        if loaded.is_err() && !self.v86() && !self.seg[CS].usable() {
            self.cpl = old_cpl;
        }
        self.update_mode();
        loaded?;
        self.eip_exact = false;
        if image.trap {
            self.debug_hits |= 1 << 15;
            self.poke();
        }
        Ok(())
    }

    fn load_task_segments(&mut self, p: &mut Pins<'_>, image: &Image) -> Fallible<()> {
        let ldt = image.ldt;
        if !is_null(ldt) {
            let d = if ldt & 4 == 0 { self.descriptor(p, ldt)? } else { None };
            let Some(d) = d.filter(|d| d.kind() == 2 && d.present()) else {
                return Err(self.ts(code_of(ldt)));
            };
            self.ldtr = Seg::from_descriptor(ldt, &d);
        }
        if self.v86() {
            return Ok(());
        }
        let cs = image.segments[CS];
        let Some(mut d) = (if is_null(cs) { None } else { self.descriptor(p, cs)? }) else {
            return Err(self.ts(code_of(cs)));
        };
        let wrong_level = if d.conforming() { d.dpl() > rpl(cs) } else { d.dpl() != rpl(cs) };
        if !d.is_code() || wrong_level {
            return Err(self.ts(code_of(cs)));
        }
        if !d.present() {
            return Err(self.np(code_of(cs)));
        }
        self.set_accessed(p, &mut d)?;
        self.seg[CS] = Seg::from_descriptor(cs, &d);
        self.seg[SS] = self.check_stack_segment(p, image.segments[SS], self.cpl, true)?;
        for i in [ES, DS, FS, GS] {
            let sel = image.segments[i];
            match self.check_segment(p, i, sel) {
                Ok(s) => self.seg[i] = s,
                Err(abort) => {
                    if self.fault.vector == vector::GP {
                        return Err(self.ts(code_of(sel)));
                    }
                    return Err(abort);
                }
            }
        }
        if self.eip > self.seg[CS].limit {
            return Err(self.gp(0));
        }
        Ok(())
    }

    fn set_busy(&mut self, p: &mut Pins<'_>, sel: u16, busy: bool) -> Fallible<()> {
        if let Some(d) = self.descriptor(p, sel)? {
            let hi = if busy { d.hi | BUSY << 8 } else { d.hi & !(BUSY << 8) };
            self.write_system(p, d.at.wrapping_add(5), (hi >> 8) as u8)?;
        }
        Ok(())
    }

    fn read_tss(&mut self, p: &mut Pins<'_>, base: u32, wide: bool) -> Fallible<Image> {
        let mut gpr = [0; 8];
        let mut segments = [0; 6];
        if !wide {
            let mut word = |core: &mut Self, at: u32| -> Fallible<u16> {
                core.read_system::<u16>(p, base.wrapping_add(at))
            };
            for (i, r) in gpr.iter_mut().enumerate() {
                *r = u32::from(word(self, tss16::GPR + 2 * i as u32)?) | 0xFFFF_0000;
            }
            for (i, s) in segments.iter_mut().take(4).enumerate() {
                *s = word(self, tss16::SEGMENTS + 2 * i as u32)?;
            }
            let eip = u32::from(word(self, tss16::IP)?);
            let eflags = u32::from(word(self, tss16::FLAGS)?);
            let ldt = word(self, tss16::LDT)?;
            return Ok(Image { cr3: None, eip, eflags, gpr, segments, ldt, trap: false });
        }
        let mut dword =
            |core: &mut Self, at: u32| -> Fallible<u32> { core.read_system::<u32>(p, base.wrapping_add(at)) };
        for (i, r) in gpr.iter_mut().enumerate() {
            *r = dword(self, tss32::GPR + 4 * i as u32)?;
        }
        for (i, s) in segments.iter_mut().enumerate() {
            *s = dword(self, tss32::SEGMENTS + 4 * i as u32)? as u16;
        }
        Ok(Image {
            cr3: Some(dword(self, tss32::CR3)?),
            eip: dword(self, tss32::EIP)?,
            eflags: dword(self, tss32::EFLAGS)?,
            gpr,
            segments,
            ldt: dword(self, tss32::LDT)? as u16,
            trap: dword(self, tss32::TRAP)? & 1 != 0,
        })
    }

    fn write_tss(&mut self, p: &mut Pins<'_>, base: u32, wide: bool, eip: u32, eflags: u32) -> Fallible<()> {
        if wide {
            self.write_system(p, base.wrapping_add(tss32::EIP), eip)?;
            self.write_system(p, base.wrapping_add(tss32::EFLAGS), eflags)?;
            for i in 0..8 {
                self.write_system(p, base.wrapping_add(tss32::GPR + 4 * i as u32), self.gpr[i])?;
            }
            for i in 0..6 {
                let at = base.wrapping_add(tss32::SEGMENTS + 4 * i as u32);
                self.write_system(p, at, self.seg[i].sel)?;
            }
            return Ok(());
        }
        self.write_system(p, base.wrapping_add(tss16::IP), eip as u16)?;
        self.write_system(p, base.wrapping_add(tss16::FLAGS), eflags as u16)?;
        for i in 0..8 {
            self.write_system(p, base.wrapping_add(tss16::GPR + 2 * i as u32), self.gpr[i] as u16)?;
        }
        for i in 0..4 {
            self.write_system(p, base.wrapping_add(tss16::SEGMENTS + 2 * i as u32), self.seg[i].sel)?;
        }
        Ok(())
    }
}
