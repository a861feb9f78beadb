//! Single bits, bit scans, SETcc, CMOVcc, BSWAP.

use super::{NEXT, Rm, Step};
use crate::block::Op;
use crate::flags::{self, Flags};
use crate::int::Int;
use crate::state::*;

pub(crate) const BT: u8 = 0;
pub(crate) const BTS: u8 = 1;
pub(crate) const BTR: u8 = 2;
pub(crate) const BTC: u8 = 3;

#[inline(always)]
fn changed<const OP: u8>(v: u32, mask: u32) -> u32 {
    match OP {
        BTS => v | mask,
        BTR => v & !mask,
        BTC => v ^ mask,
        _ => v,
    }
}

/// BT and kin r/m, imm8; and r, r
pub(crate) fn bt_i<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    bt_in_operand::<T, M, OP>(c, p, op, op.imm)
}

/// BT and kin r, r
pub(crate) fn bt_r<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let bit = c.reg::<T>(op.reg).u();
    bt_in_operand::<T, M, OP>(c, p, op, bit)
}

#[inline(always)]
fn bt_in_operand<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op, bit: u32) -> Step {
    let mask = 1 << (bit & (T::BITS - 1));
    let old = if OP == BT {
        M::get::<T>(c, p, op)?
    } else {
        M::update(c, p, op, |v: T| (T::of(changed::<OP>(v.u(), mask)), v))?
    };
    c.fl = c.fl.with_cf(old.u() & mask != 0);
    NEXT
}

/// BT and kin m, r: the register reaches beyond the operand.
pub(crate) fn bt_string<T: Int, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let bit = c.reg::<T>(op.reg).s() as i32;
    let away = (bit >> T::BITS.trailing_zeros()) * T::SIZE as i32;
    let offset = c.sum(op).wrapping_add(away as u32) & op.address_mask();
    let at = c.linear(usize::from(op.seg), offset, T::SIZE, OP != BT)?;
    let mask = 1 << (bit as u32 & (T::BITS - 1));
    let old: T = if OP == BT {
        c.read(p, at)?
    } else {
        c.update(p, at, |v: T| (T::of(changed::<OP>(v.u(), mask)), v))?
    };
    c.fl = c.fl.with_cf(old.u() & mask != 0);
    NEXT
}

/// BSF and BSR r, r/m
pub(crate) fn scan<T: Int, M: Rm, const REVERSE: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = M::get::<T>(c, p, op)?.u();
    let zf = v == 0;
    if !zf {
        let n = if REVERSE { 31 - v.leading_zeros() } else { v.trailing_zeros() };
        c.set_reg(op.reg, T::of(n));
    }
    let f = c.fl.bits() & !flags::ZF | if zf { flags::ZF } else { 0 };
    c.fl = Flags::from_bits(f);
    NEXT
}

/// SETcc r/m8
pub(crate) fn setcc<M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = u8::from(c.fl.condition(op.opcode));
    M::set(c, p, op, v)?;
    NEXT
}

/// CMOVcc r, r/m
pub(crate) fn cmov<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = M::get::<T>(c, p, op)?;
    if c.fl.condition(op.opcode) {
        c.set_reg(op.reg, v);
    }
    NEXT
}

/// BSWAP r32; with a 16-bit operand the result is undefined and zero, as on a P6.
pub(crate) fn bswap(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    if op.o32() {
        let v = c.reg::<u32>(op.rm);
        c.set_reg(op.rm, v.swap_bytes());
    } else {
        c.set_reg(op.rm, 0u16);
    }
    NEXT
}

/// BOUND r, m
pub(crate) fn bound<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let offset = c.offset(op);
    let seg = usize::from(op.seg);
    let lo_at = c.linear(seg, offset, T::SIZE, false)?;
    let hi_at = c.linear(seg, offset.wrapping_add(T::SIZE) & op.address_mask(), T::SIZE, false)?;
    let lo = c.read::<T>(p, lo_at)?.s() as i32;
    let hi = c.read::<T>(p, hi_at)?.s() as i32;
    let v = c.reg::<T>(op.reg).s() as i32;
    if v < lo || v > hi {
        return Err(c.raise(crate::exceptions::vector::BR, None));
    }
    NEXT
}

/// XLAT
pub(crate) fn xlat(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let offset = c.gpr[EBX].wrapping_add(c.gpr[EAX] & 0xFF) & op.address_mask();
    let at = c.linear(usize::from(op.seg), offset, 1, false)?;
    let v: u8 = c.read(p, at)?;
    c.set_reg(0, v);
    NEXT
}
