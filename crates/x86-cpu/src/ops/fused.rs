//! Two instructions as one handler, in flat 32-bit code: a comparison and the conditional jump behind it, and what functions begin
//! and end with.
//!
//! The second keeps its own place in the block, for when the budget ends between the two and for what cannot be done at once.

use super::alu::{self, alu};
use super::stack::{pop_r, push_r};
use super::{NEXT, Rm, Step};
use crate::block::{Flow, Op};
use crate::flags::Flags;
use crate::int::Int;
use crate::state::*;

pub(crate) const CMP: u8 = alu::CMP;
pub(crate) const SUB: u8 = alu::SUB;
pub(crate) const AND: u8 = alu::AND;
/// Not one of the eight.
pub(crate) const TEST: u8 = 8;
/// Not one of the eight.
pub(crate) const DEC: u8 = 9;

/// Where the displacement of the jump is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum At {
    /// In `disp`: there is no memory operand.
    Disp,
    /// In `imm`: there is no immediate.
    Imm,
    /// In the high half of `imm`, the immediate in the low one.
    High,
}

/// The flags of the first instruction, and its result if that is stored.
#[inline(always)]
fn compute<T: Int, const KIND: u8>(a: T, b: T, fl: Flags) -> (T, Flags) {
    match KIND {
        CMP | SUB => alu::<T, { alu::SUB }>(a, b, fl),
        DEC => {
            let (r, new) = alu::<T, { alu::SUB }>(a, T::of(1), fl);
            (r, new.with_cf(fl.cf()))
        }
        _ => alu::<T, { alu::AND }>(a, b, fl),
    }
}

/// The condition by the operands where that is shorter than by the flags.
#[inline(always)]
fn holds<T: Int, const KIND: u8, const CC: u8>(a: T, b: T, fl: Flags) -> bool {
    if matches!(KIND, CMP | SUB) {
        let (sa, sb) = (a.s() as i32, b.s() as i32);
        let v = match CC >> 1 {
            1 => a < b,
            2 => a == b,
            3 => a <= b,
            6 => sa < sb,
            7 => sa <= sb,
            _ => return fl.condition(CC),
        };
        return v != (CC & 1 != 0);
    }
    fl.condition(CC)
}

/// What follows the first instruction: the jump, unless the run stops between.
#[inline(always)]
fn jump(c: &mut Core, op: &Op, taken: bool, at: At) -> Step {
    if c.attention || c.index + 1 >= c.stop_at {
        return NEXT;
    }
    if taken {
        let by = match at {
            At::Disp => op.disp,
            At::Imm => op.imm,
            At::High => (op.imm as i32 >> 16) as u32,
        };
        c.retired += 1;
        c.eip = c.next_eip(op).wrapping_add(u32::from(op.opcode)).wrapping_add(by);
        Ok(Flow::Taken)
    } else {
        Ok(Flow::Skip)
    }
}

#[inline(always)]
fn on_registers<T: Int, const KIND: u8, const CC: u8>(c: &mut Core, op: &Op, b: T) -> Step {
    let a = c.reg::<T>(op.rm);
    let (r, fl) = compute::<T, KIND>(a, b, c.fl);
    c.fl = fl;
    if !matches!(KIND, CMP | TEST) {
        c.set_reg(op.rm, r);
    }
    jump(c, op, holds::<T, KIND, CC>(a, b, fl), At::Disp)
}

/// op r, r; Jcc
pub(crate) fn reg_reg<T: Int, const KIND: u8, const CC: u8>(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let b = c.reg::<T>(op.reg);
    on_registers::<T, KIND, CC>(c, op, b)
}

/// op r, imm; Jcc
pub(crate) fn reg_imm<T: Int, const KIND: u8, const CC: u8>(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    on_registers::<T, KIND, CC>(c, op, T::of(op.imm))
}

/// CMP or TEST m, r; Jcc
pub(crate) fn mem_reg<T: Int, M: Rm, const KIND: u8, const CC: u8>(
    c: &mut Core,
    p: &mut Pins<'_>,
    op: &Op,
) -> Step {
    let a = M::get::<T>(c, p, op)?;
    let b = c.reg::<T>(op.reg);
    c.fl = compute::<T, KIND>(a, b, c.fl).1;
    jump(c, op, holds::<T, KIND, CC>(a, b, c.fl), At::Imm)
}

/// CMP r, m; Jcc
pub(crate) fn reg_mem<T: Int, M: Rm, const KIND: u8, const CC: u8>(
    c: &mut Core,
    p: &mut Pins<'_>,
    op: &Op,
) -> Step {
    let b = M::get::<T>(c, p, op)?;
    let a = c.reg::<T>(op.reg);
    c.fl = compute::<T, KIND>(a, b, c.fl).1;
    jump(c, op, holds::<T, KIND, CC>(a, b, c.fl), At::Imm)
}

/// CMP or TEST m, imm; Jcc
pub(crate) fn mem_imm<T: Int, M: Rm, const KIND: u8, const CC: u8>(
    c: &mut Core,
    p: &mut Pins<'_>,
    op: &Op,
) -> Step {
    let a = M::get::<T>(c, p, op)?;
    let b = T::of(op.imm as i16 as u32);
    c.fl = compute::<T, KIND>(a, b, c.fl).1;
    jump(c, op, holds::<T, KIND, CC>(a, b, c.fl), At::High)
}

/// Whether the run stops behind the first of two that was done without a call.
#[inline(always)]
fn stops_between(c: &Core) -> bool {
    c.index + 1 >= c.stop_at
}

/// PUSH r, PUSH r: `op.rm`, then `op.reg`
pub(crate) fn push_push(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    if !c.push_quick(c.reg::<u32>(op.rm)) {
        return push_r::<u32, true>(c, p, op);
    }
    if !stops_between(c) && c.push_quick(c.reg::<u32>(op.reg)) { Ok(Flow::Skip) } else { NEXT }
}

/// PUSH r; MOV r, r: `op.rm`, then `op.base` to `op.reg`
pub(crate) fn push_move(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    if !c.push_quick(c.reg::<u32>(op.rm)) {
        return push_r::<u32, true>(c, p, op);
    }
    if stops_between(c) {
        return NEXT;
    }
    c.set_reg(op.reg, c.reg::<u32>(op.base));
    Ok(Flow::Skip)
}

/// POP r, POP r: `op.rm`, then `op.reg`
pub(crate) fn pop_pop(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let Some(v) = c.peek_quick::<u32>() else { return pop_r::<u32, true>(c, p, op) };
    c.drop_stack::<true>(4);
    c.set_reg(op.rm, v);
    if stops_between(c) {
        return NEXT;
    }
    let Some(v) = c.peek_quick::<u32>() else { return NEXT };
    c.drop_stack::<true>(4);
    c.set_reg(op.reg, v);
    Ok(Flow::Skip)
}

/// POP r; RET, which drops `op.imm` bytes more
pub(crate) fn pop_ret(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let Some(v) = c.peek_quick::<u32>() else { return pop_r::<u32, true>(c, p, op) };
    c.drop_stack::<true>(4);
    c.set_reg(op.rm, v);
    if stops_between(c) {
        return NEXT;
    }
    let Some(target) = c.peek_quick() else { return NEXT };
    c.retired += 1;
    c.eip = target;
    c.drop_stack::<true>(4 + op.imm);
    Ok(Flow::Jump)
}
