//! Near branches, calls and returns. `F`: CS and SS are flat and the operand size is 32 bits.

use super::{NEXT, Rm, Step};
use crate::block::{Flow, Op};
use crate::state::*;

impl Core {
    /// The target of a relative branch, or #GP(0) beyond the code segment.
    #[inline(always)]
    fn relative<const F: bool>(&mut self, op: &Op) -> Fallible<u32> {
        let target = self.next_eip(op).wrapping_add(op.imm);
        if F { Ok(target) } else { self.near_target(target, op.o32()) }
    }

    /// A target cut to the operand size and checked against the limit.
    #[inline(always)]
    pub(crate) fn near_target(&mut self, target: u32, o32: bool) -> Fallible<u32> {
        let target = if o32 { target } else { target & 0xFFFF };
        if target > self.seg[CS].limit { Err(self.gp(0)) } else { Ok(target) }
    }
}

/// Jcc rel
pub(crate) fn jcc<const CC: u8, const F: bool>(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    if c.fl.condition(CC) {
        c.eip = c.relative::<F>(op)?;
        Ok(Flow::Taken)
    } else {
        NEXT
    }
}

/// JMP rel
pub(crate) fn jmp_rel<const F: bool>(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    c.eip = c.relative::<F>(op)?;
    Ok(Flow::Taken)
}

/// CALL rel
pub(crate) fn call_rel<const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let back = c.next_eip(op);
    if F && c.push_quick(back) {
        c.eip = back.wrapping_add(op.imm);
        return Ok(Flow::Taken);
    }
    call_rel_slow::<F>(c, p, op)
}

#[inline(never)]
fn call_rel_slow<const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let target = c.relative::<F>(op)?;
    let back = c.next_eip(op);
    if F || op.o32() {
        c.push::<u32, F>(p, back)?;
    } else {
        c.push::<u16, false>(p, back as u16)?;
    }
    c.eip = target;
    Ok(Flow::Taken)
}

/// JMP r/m
pub(crate) fn jmp_rm<M: Rm, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let target = if F || op.o32() { M::get::<u32>(c, p, op)? } else { u32::from(M::get::<u16>(c, p, op)?) };
    c.eip = if F { target } else { c.near_target(target, op.o32())? };
    Ok(Flow::Jump)
}

/// CALL r/m
pub(crate) fn call_rm<M: Rm, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let back = c.next_eip(op);
    let target;
    if F || op.o32() {
        let t = M::get::<u32>(c, p, op)?;
        target = if F { t } else { c.near_target(t, true)? };
        c.push::<u32, F>(p, back)?;
    } else {
        let t = M::get::<u16>(c, p, op)?;
        target = c.near_target(u32::from(t), false)?;
        c.push::<u16, false>(p, back as u16)?;
    }
    c.eip = target;
    Ok(Flow::Jump)
}

/// RET, RET imm16
pub(crate) fn ret<const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let quick = if F { c.peek_quick() } else { None };
    let Some(target) = quick else { return ret_slow::<F>(c, p, op) };
    c.eip = target;
    c.drop_stack::<F>(4 + op.imm);
    Ok(Flow::Jump)
}

#[inline(never)]
fn ret_slow<const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (target, size) = if F || op.o32() {
        (c.peek::<u32, F>(p, 0)?, 4)
    } else {
        (u32::from(c.peek::<u16, false>(p, 0)?), 2)
    };
    c.eip = if F { target } else { c.near_target(target, op.o32())? };
    c.drop_stack::<F>(size + op.imm);
    Ok(Flow::Jump)
}

/// LOOPNE, LOOPE, LOOP, JCXZ
pub(crate) fn loops(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let mut count = c.gpr[ECX] & mask;
    let taken = match op.opcode {
        0xE3 => count == 0,
        _ => {
            count = count.wrapping_sub(1) & mask;
            count != 0
                && match op.opcode {
                    0xE0 => !c.fl.zf(),
                    0xE1 => c.fl.zf(),
                    _ => true,
                }
        }
    };
    let target = if taken { Some(c.relative::<false>(op)?) } else { None };
    c.gpr[ECX] = c.gpr[ECX] & !mask | count;
    match target {
        Some(t) => {
            c.eip = t;
            Ok(Flow::Taken)
        }
        None => NEXT,
    }
}

/// NOP, PAUSE, and the long NOPs.
pub(crate) fn nop(_: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    NEXT
}
