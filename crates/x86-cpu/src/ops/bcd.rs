//! Decimal adjustment, SALC, and the flag instructions.

use super::{NEXT, Step};
use crate::block::Op;
use crate::exceptions::vector;
use crate::flags::{self, Flags};
use crate::state::*;

fn result(al: u8, cf: bool, af: bool) -> Flags {
    let mut f = Flags::logic(al).bits();
    f |= u32::from(cf) | if af { flags::AF } else { 0 };
    Flags::from_bits(f)
}

/// DAA and DAS
pub(crate) fn daa<const SUB: bool>(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let al: u8 = c.reg(0);
    let (old_cf, old_af) = (c.fl.cf(), c.fl.af());
    let mut r = al;
    let (mut cf, mut af) = (false, false);
    if al & 15 > 9 || old_af {
        cf = old_cf || if SUB { al < 6 } else { al > 0xF9 };
        r = if SUB { r.wrapping_sub(6) } else { r.wrapping_add(6) };
        af = true;
    }
    if al > 0x99 || old_cf {
        r = if SUB { r.wrapping_sub(0x60) } else { r.wrapping_add(0x60) };
        cf = true;
    }
    c.set_reg(0, r);
    c.fl = result(r, cf, af);
    NEXT
}

/// AAA and AAS
pub(crate) fn aaa<const SUB: bool>(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let ax: u16 = c.reg(0);
    let adjust = ax & 15 > 9 || c.fl.af();
    let r = match (adjust, SUB) {
        (true, false) => ax.wrapping_add(0x106),
        (true, true) => ax.wrapping_sub(0x106),
        _ => ax,
    } & 0xFF0F;
    c.set_reg(0, r);
    c.fl = result(r as u8, adjust, adjust);
    NEXT
}

/// AAM imm8
pub(crate) fn aam(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let d = op.imm as u8;
    if d == 0 {
        return Err(c.raise(vector::DE, None));
    }
    let al: u8 = c.reg(0);
    c.set_reg(0, u16::from(al / d) << 8 | u16::from(al % d));
    c.fl = result(al % d, false, false);
    NEXT
}

/// AAD imm8
pub(crate) fn aad(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let ax: u16 = c.reg(0);
    let al = (ax as u8).wrapping_add(((ax >> 8) as u8).wrapping_mul(op.imm as u8));
    c.set_reg(0, u16::from(al));
    c.fl = result(al, false, false);
    NEXT
}

/// SALC (D6h)
pub(crate) fn salc(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    c.set_reg(0, if c.fl.cf() { 0xFFu8 } else { 0 });
    NEXT
}

/// CLC, STC, CMC
pub(crate) fn carry(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let cf = match op.opcode {
        0xF8 => false,
        0xF9 => true,
        _ => !c.fl.cf(),
    };
    c.fl = c.fl.with_cf(cf);
    NEXT
}

/// CLD, STD
pub(crate) fn direction(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    c.set_flag(flags::DF, op.opcode & 1 != 0);
    NEXT
}

/// LAHF
pub(crate) fn lahf(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let f = c.fl.bits() as u8 | 2;
    c.set_reg(8, f);
    NEXT
}

/// SAHF
pub(crate) fn sahf(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let ah = u32::from(c.reg::<u8>(8));
    let of = c.fl.bits() & flags::OF;
    c.fl = Flags::from_bits(ah & (flags::ARITH & 0xFF) | of);
    NEXT
}
