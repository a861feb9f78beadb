//! Moves.

use super::{NEXT, Rm, Step};
use crate::block::{Flow, Op};
use crate::int::Int;
use crate::state::*;

/// MOV r/m, r
pub(crate) fn mov_rm_r<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.reg::<T>(op.reg);
    if M::set_quick(c, op, v) { NEXT } else { mov_rm_r_slow::<T, M>(c, p, op) }
}

#[inline(never)]
fn mov_rm_r_slow<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.reg::<T>(op.reg);
    M::set(c, p, op, v)?;
    NEXT
}

/// MOV r, r/m
pub(crate) fn mov_r_rm<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let Some(v) = M::get_quick::<T>(c, op) else { return mov_r_rm_slow::<T, M>(c, p, op) };
    c.set_reg(op.reg, v);
    NEXT
}

#[inline(never)]
fn mov_r_rm_slow<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = M::get::<T>(c, p, op)?;
    c.set_reg(op.reg, v);
    NEXT
}

/// MOV r/m, imm
pub(crate) fn mov_rm_i<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    M::set(c, p, op, T::of(op.imm))?;
    NEXT
}

/// MOVZX r, r/m: from `S` to the operand size `T`.
pub(crate) fn movzx<T: Int, S: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let Some(v) = M::get_quick::<S>(c, op) else { return movzx_slow::<T, S, M>(c, p, op) };
    c.set_reg(op.reg, T::of(v.u()));
    NEXT
}

#[inline(never)]
fn movzx_slow<T: Int, S: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = M::get::<S>(c, p, op)?.u();
    c.set_reg(op.reg, T::of(v));
    NEXT
}

/// MOVSX r, r/m
pub(crate) fn movsx<T: Int, S: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = M::get::<S>(c, p, op)?.s();
    c.set_reg(op.reg, T::of(v));
    NEXT
}

/// XCHG r/m, r
pub(crate) fn xchg<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.reg::<T>(op.reg);
    let old = M::update(c, p, op, |old: T| (v, old))?;
    c.set_reg(op.reg, old);
    NEXT
}

/// LEA r, m
pub(crate) fn lea<T: Int>(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.offset(op);
    c.set_reg(op.reg, T::of(v));
    NEXT
}

/// LEA r32, m with a 32-bit address
pub(crate) fn lea32(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.sum(op);
    c.gpr[usize::from(op.reg & 7)] = v;
    NEXT
}

/// CBW, CWDE
pub(crate) fn cbw(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    if op.o32() {
        c.gpr[EAX] = c.reg::<u16>(0).s();
    } else {
        c.set_reg(0, c.reg::<u8>(0).s() as u16);
    }
    NEXT
}

/// CWD, CDQ
pub(crate) fn cwd(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    if op.o32() {
        c.gpr[EDX] = (c.gpr[EAX] as i32 >> 31) as u32;
    } else {
        c.set_reg(2, (c.reg::<u16>(0).s() as i32 >> 31) as u16);
    }
    NEXT
}

/// MOV r/m, Sreg: memory always takes 16 bits, a 32-bit register is cleared above them.
pub(crate) fn mov_rm_sreg(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let sel = c.seg[usize::from(op.reg)].sel;
    if op.is_memory() || !op.o32() {
        c.set_rm(p, op, sel)?;
    } else {
        c.set_reg(op.rm, u32::from(sel));
    }
    NEXT
}

/// MOV Sreg, r/m
pub(crate) fn mov_sreg_rm(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let sel: u16 = c.get_rm(p, op)?;
    c.load_and_go_on(p, op, sel)
}

impl Core {
    /// Loads the segment register `op.reg`, and leaves the block if code must be decoded in another way now.
    pub(crate) fn load_and_go_on(&mut self, p: &mut Pins<'_>, op: &Op, sel: u16) -> Step {
        let seg = usize::from(op.reg);
        let mode = self.mode;
        self.load_segment(p, seg, sel)?;
        if seg == SS {
            self.shadow(true);
        }
        if self.mode == mode {
            return NEXT;
        }
        self.eip = self.next_eip(op);
        Ok(Flow::Jump)
    }
}

/// LES, LDS, LSS, LFS, LGS; `op.rm` is the segment register.
pub(crate) fn load_pointer<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let offset = c.offset(op);
    let mask = op.address_mask();
    let at = c.linear(usize::from(op.seg), offset, T::SIZE, false)?;
    let sel_at = c.linear(usize::from(op.seg), offset.wrapping_add(T::SIZE) & mask, 2, false)?;
    let v: T = c.read(p, at)?;
    let sel: u16 = c.read(p, sel_at)?;
    let mut load = *op;
    load.reg = op.rm;
    let step = c.load_and_go_on(p, &load, sel)?;
    c.set_reg(op.reg, v);
    Ok(step)
}
