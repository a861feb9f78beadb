//! Instructions on descriptors and descriptor tables.

use super::{NEXT, Step};
use crate::block::Op;
use crate::flags::{self, Flags};
use crate::segmentation::*;
use crate::state::*;
use slotone_bus::cpu::TableRegister;

impl Core {
    fn set_zf(&mut self, on: bool) {
        let f = self.fl.bits() & !flags::ZF | if on { flags::ZF } else { 0 };
        self.fl = Flags::from_bits(f);
    }

    fn require_descriptors(&mut self) -> Fallible<()> {
        if self.by_descriptor() { Ok(()) } else { Err(self.ud()) }
    }

    /// The descriptor LAR, LSL, VERR and VERW may look at.
    fn visible(&mut self, p: &mut Pins<'_>, sel: u16) -> Fallible<Option<Descriptor>> {
        if is_null(sel) {
            return Ok(None);
        }
        let Some(d) = self.descriptor(p, sel)? else { return Ok(None) };
        let open = d.is_code() && d.conforming() || d.dpl() >= self.cpl && d.dpl() >= rpl(sel);
        Ok(open.then_some(d))
    }
}

/// 0F 00: SLDT, STR, LLDT, LTR, VERR, VERW
pub(crate) fn group6(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_descriptors()?;
    match op.reg {
        0 | 1 => {
            let sel = if op.reg == 0 { c.ldtr.sel } else { c.tr.sel };
            if !op.is_memory() && op.o32() {
                c.set_reg(op.rm, u32::from(sel));
            } else {
                c.set_rm(p, op, sel)?;
            }
        }
        2 => {
            c.require_cpl0()?;
            let sel: u16 = c.get_rm(p, op)?;
            if is_null(sel) {
                c.ldtr = Seg::null(sel);
                return NEXT;
            }
            if sel & 4 != 0 {
                return Err(c.gp(code_of(sel)));
            }
            let d = c.descriptor_or_gp(p, sel)?;
            if d.kind() != 2 {
                return Err(c.gp(code_of(sel)));
            }
            if !d.present() {
                return Err(c.np(code_of(sel)));
            }
            c.ldtr = Seg::from_descriptor(sel, &d);
        }
        3 => {
            c.require_cpl0()?;
            let sel: u16 = c.get_rm(p, op)?;
            if is_null(sel) {
                return Err(c.gp(0));
            }
            if sel & 4 != 0 {
                return Err(c.gp(code_of(sel)));
            }
            let mut d = c.descriptor_or_gp(p, sel)?;
            if !matches!(d.kind(), 1 | 9) {
                return Err(c.gp(code_of(sel)));
            }
            if !d.present() {
                return Err(c.np(code_of(sel)));
            }
            d.hi |= 0x200;
            c.write_system(p, d.at.wrapping_add(5), (d.hi >> 8) as u8)?;
            c.tr = Seg::from_descriptor(sel, &d);
        }
        _ => {
            let sel: u16 = c.get_rm(p, op)?;
            let ok = match c.visible(p, sel)? {
                Some(d) if op.reg == 4 => d.is_readable(),
                Some(d) => d.is_writable_data(),
                None => false,
            };
            c.set_zf(ok);
        }
    }
    NEXT
}

/// LAR
pub(crate) fn lar(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_descriptors()?;
    let sel: u16 = c.get_rm(p, op)?;
    let d = c.visible(p, sel)?;
    let d = d.filter(|d| matches!(d.kind(), 1..=5 | 9 | 11 | 12 | 16..));
    if let Some(d) = d {
        if op.o32() {
            c.set_reg(op.reg, d.hi & 0x00FF_FF00);
        } else {
            c.set_reg(op.reg, (d.hi & 0xFF00) as u16);
        }
    }
    c.set_zf(d.is_some());
    NEXT
}

/// LSL
pub(crate) fn lsl(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_descriptors()?;
    let sel: u16 = c.get_rm(p, op)?;
    let d = c.visible(p, sel)?;
    let d = d.filter(|d| matches!(d.kind(), 1..=3 | 9 | 11 | 16..));
    if let Some(d) = d {
        if op.o32() {
            c.set_reg(op.reg, d.limit());
        } else {
            c.set_reg(op.reg, d.limit() as u16);
        }
    }
    c.set_zf(d.is_some());
    NEXT
}

/// ARPL
pub(crate) fn arpl(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_descriptors()?;
    let dest: u16 = c.get_rm(p, op)?;
    let source: u16 = c.reg(op.reg);
    let lower = rpl(dest) < rpl(source);
    if lower {
        c.set_rm(p, op, dest & !3 | source & 3)?;
    }
    c.set_zf(lower);
    NEXT
}

/// SGDT, SIDT, LGDT, LIDT
pub(crate) fn table_register(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let offset = c.offset(op);
    let seg = usize::from(op.seg);
    let mask = op.address_mask();
    let store = op.reg < 2;
    if !store {
        c.require_cpl0()?;
    }
    let limit_at = c.linear(seg, offset, 2, store)?;
    let base_at = c.linear(seg, offset.wrapping_add(2) & mask, 4, store)?;
    if store {
        let t = if op.reg == 0 { c.gdtr } else { c.idtr };
        c.probe_write(p, base_at, 4)?;
        c.write(p, limit_at, t.limit)?;
        c.write(p, base_at, t.base)?;
        return NEXT;
    }
    let limit = c.read(p, limit_at)?;
    let base: u32 = c.read(p, base_at)?;
    let base = if op.o32() { base } else { base & 0x00FF_FFFF };
    let t = TableRegister { base, limit };
    if op.reg == 2 {
        c.gdtr = t;
    } else {
        c.idtr = t;
    }
    NEXT
}
