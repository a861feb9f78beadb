//! The x87 instructions that programs spend their time in, without the detour through the generic entry.

use super::{NEXT, Rm, Step};
use crate::block::Op;
use crate::flags::{self, Flags};
use crate::fpu::Arith;
use crate::state::*;

/// Leaves unless the unit can execute a waiting instruction now.
macro_rules! ready {
    ($c:expr, $p:expr) => {
        $c.require_fpu()?;
        if $c.fpu.pending() {
            return $c.pending_fpu_error($p);
        }
    };
}

/// Records the instruction.
#[inline(always)]
fn note(c: &mut Core, op: &Op) {
    let eip = c.this_eip(op);
    c.fpu.note_instruction(op.opcode, op.modrm, c.seg[CS].sel, eip);
}

/// Records the memory operand, once it was accessed.
#[inline(always)]
fn operand(c: &mut Core, op: &Op) {
    let offset = c.offset(op);
    c.fpu.note_operand(c.seg[usize::from(op.seg)].sel, offset);
}

#[inline(always)]
const fn arith_of(reg: u8) -> Arith {
    match reg {
        0 => Arith::Add,
        1 => Arith::Mul,
        4 => Arith::Sub,
        5 => Arith::Subr,
        6 => Arith::Div,
        _ => Arith::Divr,
    }
}

/// With ST(i) as the destination the encodings of FSUB and FSUBR, FDIV and FDIVR are swapped.
#[inline(always)]
const fn arith_to_sti(reg: u8) -> Arith {
    arith_of(if reg >= 4 { reg ^ 1 } else { reg })
}

/// D8 /r with ST(i)
pub(crate) fn arith_st<const REG: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.arith(arith_of(REG), 0, op.modrm & 7);
    NEXT
}

/// DC /r with ST(i)
pub(crate) fn arith_sti<const REG: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.arith(arith_to_sti(REG), op.modrm & 7, 0);
    NEXT
}

/// DE /r with ST(i)
pub(crate) fn arith_pop<const REG: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.arith_pop(arith_to_sti(REG), op.modrm & 7);
    NEXT
}

#[inline(always)]
fn load32<M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Fallible<u32> {
    let v = M::get::<u32>(c, p, op)?;
    operand(c, op);
    Ok(v)
}

#[inline(always)]
fn load64(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Fallible<u64> {
    let at = c.address(op, 8, false)?;
    let v = c.read64(p, at)?;
    operand(c, op);
    Ok(v)
}

/// D8 /r m32
pub(crate) fn arith_m32<M: Rm, const REG: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let v = load32::<M>(c, p, op)?;
    note(c, op);
    c.fpu.arith_f32(arith_of(REG), v);
    NEXT
}

/// DC /r m64
pub(crate) fn arith_m64<const REG: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let v = load64(c, p, op)?;
    note(c, op);
    c.fpu.arith_f64(arith_of(REG), v);
    NEXT
}

/// FLD m32
pub(crate) fn fld_m32<M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let v = load32::<M>(c, p, op)?;
    note(c, op);
    c.fpu.fld_f32(v);
    NEXT
}

/// FLD m64
pub(crate) fn fld_m64(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let v = load64(c, p, op)?;
    note(c, op);
    c.fpu.fld_f64(v);
    NEXT
}

/// FILD m32
pub(crate) fn fild_m32<M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let v = load32::<M>(c, p, op)?;
    note(c, op);
    c.fpu.fild(i64::from(v as i32));
    NEXT
}

/// FST and FSTP m32
pub(crate) fn fst_m32<M: Rm, const POP: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let (v, plan) = c.fpu.store_f32(POP);
    if plan.write {
        M::set(c, p, op, v)?;
    } else {
        c.address(op, 4, true)?;
    }
    note(c, op);
    operand(c, op);
    c.fpu.commit(plan);
    NEXT
}

/// FST and FSTP m64
pub(crate) fn fst_m64<const POP: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let at = c.address(op, 8, true)?;
    let (v, plan) = c.fpu.store_f64(POP);
    if plan.write {
        c.write64(p, at, v)?;
    }
    note(c, op);
    operand(c, op);
    c.fpu.commit(plan);
    NEXT
}

/// FIST and FISTP m32
pub(crate) fn fist_m32<M: Rm, const POP: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    let (v, plan) = c.fpu.store_i32(POP);
    if plan.write {
        M::set(c, p, op, v as u32)?;
    } else {
        c.address(op, 4, true)?;
    }
    note(c, op);
    operand(c, op);
    c.fpu.commit(plan);
    NEXT
}

/// FLD ST(i)
pub(crate) fn fld_st(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.fld_st(op.modrm & 7);
    NEXT
}

/// FSTP ST(i)
pub(crate) fn fstp_st(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.fstp_st(op.modrm & 7);
    NEXT
}

/// FXCH ST(i)
pub(crate) fn fxch(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.fxch(op.modrm & 7);
    NEXT
}

/// FLD1, FLDZ and the other constants
pub(crate) fn fld_constant(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    c.fpu.fld_constant(op.modrm & 7);
    NEXT
}

/// FCOMI, FUCOMI
pub(crate) fn fcomi(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    ready!(c, p);
    note(c, op);
    let (f, _) = c.fpu.fcomi_st(op.modrm & 7, op.modrm >> 3 & 7 == 5);
    c.fl = Flags::from_bits(f & (flags::ZF | flags::PF | flags::CF));
    NEXT
}
