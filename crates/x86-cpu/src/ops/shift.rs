//! Shifts and rotates. Flags that the manual leaves undefined are what a P6 makes of them.

use super::{NEXT, Rm, Step};
use crate::block::Op;
use crate::flags::Flags;
use crate::int::Int;
use crate::state::*;

pub(crate) const ROL: u8 = 0;
pub(crate) const ROR: u8 = 1;
pub(crate) const RCL: u8 = 2;
pub(crate) const RCR: u8 = 3;
pub(crate) const SHR: u8 = 5;
pub(crate) const SAR: u8 = 7;

/// The eight operations of opcodes C0h, C1h, D0h to D3h; `count` is already masked to five bits.
#[inline(always)]
pub(crate) fn shift<T: Int, const OP: u8>(a: T, count: u32, fl: Flags) -> (T, Flags) {
    if count == 0 {
        return (a, fl);
    }
    let bits = T::BITS;
    let top = bits - 1;
    let x = a.u();
    let wide = u64::from(x);
    match OP {
        ROL | ROR => {
            let n = if OP == ROL { count % bits } else { (bits - count % bits) % bits };
            let r = T::of((wide << n | wide >> (bits - n)) as u32);
            let (msb, next) = (r.u() >> top & 1, r.u() >> (top - 1) & 1);
            let (cf, of) = if OP == ROL { (r.u() & 1, msb ^ r.u() & 1) } else { (msb, msb ^ next) };
            (r, fl.with_cf_of(cf != 0, of != 0))
        }
        RCL | RCR => {
            let n = count % (bits + 1);
            let with_carry = wide | u64::from(fl.cf()) << bits;
            let left = if OP == RCL { n } else { bits + 1 - n };
            let turned = with_carry << left | with_carry >> (bits + 1 - left);
            let r = T::of(turned as u32);
            let cf = turned >> bits & 1 != 0;
            let msb = r.u() >> top & 1 != 0;
            let of = if OP == RCL { msb != cf } else { msb != (r.u() >> (top - 1) & 1 != 0) };
            (r, fl.with_cf_of(cf, of))
        }
        SHR => {
            let r = T::of((wide >> count) as u32);
            let cf = wide >> (count - 1) & 1 != 0;
            let of = (r.u() ^ r.u() << 1) >> top & 1 != 0;
            (r, Flags::logic(r).with_cf_of(cf, of))
        }
        SAR => {
            let s = i64::from(a.s() as i32);
            let r = T::of((s >> count) as u32);
            (r, Flags::logic(r).with_cf_of(s >> (count - 1) & 1 != 0, false))
        }
        _ => {
            let shifted = wide << count;
            let r = T::of(shifted as u32);
            let cf = shifted >> bits & 1 != 0;
            let of = cf != (r.u() >> top & 1 != 0);
            (r, Flags::logic(r).with_cf_of(cf, of))
        }
    }
}

/// shift r/m, imm8 (and 1)
pub(crate) fn by_i<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (fl, n) = (c.fl, op.imm & 31);
    c.fl = M::update(c, p, op, |a: T| shift::<T, OP>(a, n, fl))?;
    NEXT
}

/// shift r/m, CL
pub(crate) fn by_cl<T: Int, M: Rm, const OP: u8>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (fl, n) = (c.fl, c.gpr[ECX] & 31);
    c.fl = M::update(c, p, op, |a: T| shift::<T, OP>(a, n, fl))?;
    NEXT
}

fn double<T: Int, const LEFT: bool>(a: T, b: T, n: u32, fl: Flags) -> (T, Flags) {
    if n == 0 {
        return (a, fl);
    }
    let (bits, top) = (T::BITS, T::BITS - 1);
    let (x, y) = (u64::from(a.u()), u64::from(b.u()));
    // Three operands in a row, so that a 16-bit count above 16 goes on into the first again.
    let (r, cf) = if LEFT {
        let row = if bits == 16 { x << 32 | y << 16 | x } else { x << 32 | y };
        let width = if bits == 16 { 48 } else { 64 };
        (T::of((row << n >> (width - bits)) as u32), row >> (width - n) & 1 != 0)
    } else {
        let row = if bits == 16 { x << 32 | y << 16 | x } else { y << 32 | x };
        (T::of((row >> n) as u32), row >> (n - 1) & 1 != 0)
    };
    let msb = r.u() >> top & 1 != 0;
    let of = if LEFT { msb != cf } else { msb != (r.u() >> (top - 1) & 1 != 0) };
    (r, Flags::logic(r).with_cf_of(cf, of))
}

/// SHLD and SHRD r/m, r, imm8
pub(crate) fn double_i<T: Int, M: Rm, const LEFT: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (fl, n, b) = (c.fl, op.imm & 31, c.reg::<T>(op.reg));
    c.fl = M::update(c, p, op, |a: T| double::<T, LEFT>(a, b, n, fl))?;
    NEXT
}

/// SHLD and SHRD r/m, r, CL
pub(crate) fn double_cl<T: Int, M: Rm, const LEFT: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (fl, n, b) = (c.fl, c.gpr[ECX] & 31, c.reg::<T>(op.reg));
    c.fl = M::update(c, p, op, |a: T| double::<T, LEFT>(a, b, n, fl))?;
    NEXT
}
