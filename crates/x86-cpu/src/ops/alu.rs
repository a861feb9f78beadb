//! Addition, subtraction, logic, and what goes with them.

use super::{NEXT, Rm, Step};
use crate::block::Op;
use crate::flags::Flags;
use crate::int::Int;
use crate::state::*;

pub(crate) const ADD: u8 = 0;
pub(crate) const OR: u8 = 1;
pub(crate) const ADC: u8 = 2;
pub(crate) const SBB: u8 = 3;
pub(crate) const AND: u8 = 4;
pub(crate) const SUB: u8 = 5;
pub(crate) const XOR: u8 = 6;
pub(crate) const CMP: u8 = 7;

/// The eight operations of opcodes 00h to 3Fh.
#[inline(always)]
pub(crate) fn alu<T: Int, const OP: u8>(a: T, b: T, fl: Flags) -> (T, Flags) {
    let (x, y) = (a.u(), b.u());
    match OP {
        OR | AND | XOR => {
            let r = T::of(match OP {
                OR => x | y,
                AND => x & y,
                _ => x ^ y,
            });
            (r, Flags::logic(r))
        }
        ADD | ADC => {
            let carry = if OP == ADC { u32::from(fl.cf()) } else { 0 };
            let r = x.wrapping_add(y).wrapping_add(carry);
            (T::of(r), Flags::carries(T::of(r), x & y | (x | y) & !r))
        }
        _ => {
            let borrow = if OP == SBB { u32::from(fl.cf()) } else { 0 };
            let r = x.wrapping_sub(y).wrapping_sub(borrow);
            (T::of(r), Flags::carries(T::of(r), !x & y | (!x | y) & r))
        }
    }
}

/// op r/m, r
pub(crate) fn rm_r<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let b = c.reg::<T>(op.reg);
    apply::<T, M, OP>(c, p, op, b)
}

/// op r/m, imm
pub(crate) fn rm_i<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    apply::<T, M, OP>(c, p, op, T::of(op.imm))
}

#[inline(always)]
fn apply<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op, b: T) -> Step {
    let fl = c.fl;
    c.fl = if OP == CMP {
        alu::<T, OP>(M::get(c, p, op)?, b, fl).1
    } else {
        M::update(c, p, op, |a| alu::<T, OP>(a, b, fl))?
    };
    NEXT
}

/// op r, r/m
pub(crate) fn r_rm<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let b = M::get(c, p, op)?;
    let (r, fl) = alu::<T, OP>(c.reg(op.reg), b, c.fl);
    if OP != CMP {
        c.set_reg(op.reg, r);
    }
    c.fl = fl;
    NEXT
}

/// TEST r/m, r
pub(crate) fn test_r<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let a = M::get::<T>(c, p, op)?;
    c.fl = Flags::logic(T::of(a.u() & c.reg::<T>(op.reg).u()));
    NEXT
}

/// TEST r/m, imm
pub(crate) fn test_i<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let a = M::get::<T>(c, p, op)?;
    c.fl = Flags::logic(T::of(a.u() & op.imm));
    NEXT
}

#[inline(always)]
fn inc_of<T: Int>(a: T, fl: Flags) -> (T, Flags) {
    let (r, new) = alu::<T, ADD>(a, T::of(1), fl);
    (r, new.with_cf(fl.cf()))
}

#[inline(always)]
fn dec_of<T: Int>(a: T, fl: Flags) -> (T, Flags) {
    let (r, new) = alu::<T, SUB>(a, T::of(1), fl);
    (r, new.with_cf(fl.cf()))
}

/// INC r/m
pub(crate) fn inc<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let fl = c.fl;
    c.fl = M::update(c, p, op, |a: T| inc_of(a, fl))?;
    NEXT
}

/// DEC r/m
pub(crate) fn dec<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let fl = c.fl;
    c.fl = M::update(c, p, op, |a: T| dec_of(a, fl))?;
    NEXT
}

/// NEG r/m
pub(crate) fn neg<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let fl = c.fl;
    c.fl = M::update(c, p, op, |a: T| alu::<T, SUB>(T::of(0), a, fl))?;
    NEXT
}

/// NOT r/m
pub(crate) fn not<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    M::update(c, p, op, |a: T| (T::of(!a.u()), ()))?;
    NEXT
}

/// XADD r/m, r
pub(crate) fn xadd<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (fl, b) = (c.fl, c.reg::<T>(op.reg));
    let (old, new_fl) = M::update(c, p, op, |a: T| {
        let (r, fl) = alu::<T, ADD>(a, b, fl);
        (r, (a, fl))
    })?;
    // XADD with both operands the same register leaves the sum there.
    if op.is_memory() || op.rm != op.reg {
        c.set_reg(op.reg, old);
    }
    c.fl = new_fl;
    NEXT
}

/// CMPXCHG r/m, r
pub(crate) fn cmpxchg<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (fl, acc, new) = (c.fl, c.reg::<T>(0), c.reg::<T>(op.reg));
    let old = M::update(c, p, op, |a: T| (if a == acc { new } else { a }, a))?;
    if old != acc {
        c.set_reg(0, old);
    }
    c.fl = alu::<T, CMP>(acc, old, fl).1;
    NEXT
}

/// CMPXCHG8B m64
pub(crate) fn cmpxchg8b(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let at = c.address(op, 8, true)?;
    c.probe_write(p, at, 8)?;
    let mut bytes = [0; 8];
    c.read_bytes(p, at, &mut bytes)?;
    let old = u64::from_le_bytes(bytes);
    let acc = u64::from(c.gpr[EDX]) << 32 | u64::from(c.gpr[EAX]);
    let equal = old == acc;
    let new = if equal { u64::from(c.gpr[ECX]) << 32 | u64::from(c.gpr[EBX]) } else { old };
    c.write_bytes(p, at, &new.to_le_bytes())?;
    if !equal {
        c.gpr[EAX] = old as u32;
        c.gpr[EDX] = (old >> 32) as u32;
    }
    let f = c.fl.bits() & !crate::flags::ZF | if equal { crate::flags::ZF } else { 0 };
    c.fl = Flags::from_bits(f);
    NEXT
}
