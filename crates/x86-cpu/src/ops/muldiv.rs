//! Multiplication and division.

use super::{NEXT, Rm, Step};
use crate::block::Op;
use crate::exceptions::vector;
use crate::flags::Flags;
use crate::int::Int;
use crate::state::*;

impl Core {
    /// The double-width accumulator: AX, DX:AX or EDX:EAX.
    fn wide_acc<T: Int>(&self) -> u64 {
        match T::BITS {
            8 => u64::from(self.gpr[EAX] as u16),
            16 => u64::from(self.gpr[EDX] as u16) << 16 | u64::from(self.gpr[EAX] as u16),
            _ => u64::from(self.gpr[EDX]) << 32 | u64::from(self.gpr[EAX]),
        }
    }

    fn set_wide_acc<T: Int>(&mut self, v: u64) {
        match T::BITS {
            8 => self.set_reg(0, v as u16),
            16 => {
                self.set_reg(0, v as u16);
                self.set_reg(2, (v >> 16) as u16);
            }
            _ => {
                self.gpr[EAX] = v as u32;
                self.gpr[EDX] = (v >> 32) as u32;
            }
        }
    }

    /// Quotient and remainder of a division.
    fn set_quotient<T: Int>(&mut self, q: u32, r: u32) {
        if T::BITS == 8 {
            self.set_reg(0, (q & 0xFF | (r & 0xFF) << 8) as u16);
        } else {
            self.set_reg(0, T::of(q));
            self.set_reg(2, T::of(r));
        }
    }

    #[cold]
    fn divide_error(&mut self) -> Abort {
        self.raise(vector::DE, None)
    }
}

/// MUL r/m
pub(crate) fn mul<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let b = M::get::<T>(c, p, op)?;
    let r = u64::from(c.reg::<T>(0).u()) * u64::from(b.u());
    c.set_wide_acc::<T>(r);
    let over = r >> T::BITS != 0;
    c.fl = Flags::logic(T::of(r as u32)).with_cf_of(over, over);
    NEXT
}

/// The low half of a signed product, and whether it is not all of it.
#[inline(always)]
fn product<T: Int>(a: T, b: T) -> (T, Flags, i64) {
    let r = i64::from(a.s() as i32) * i64::from(b.s() as i32);
    let low = T::of(r as u32);
    let over = i64::from(low.s() as i32) != r;
    (low, Flags::logic(low).with_cf_of(over, over), r)
}

/// IMUL r/m
pub(crate) fn imul1<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let b = M::get::<T>(c, p, op)?;
    let (_, fl, r) = product(c.reg::<T>(0), b);
    c.set_wide_acc::<T>(r as u64);
    c.fl = fl;
    NEXT
}

/// IMUL r, r/m
pub(crate) fn imul2<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let b = M::get::<T>(c, p, op)?;
    let (low, fl, _) = product(c.reg::<T>(op.reg), b);
    c.set_reg(op.reg, low);
    c.fl = fl;
    NEXT
}

/// IMUL r, r/m, imm
pub(crate) fn imul3<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let b = M::get::<T>(c, p, op)?;
    let (low, fl, _) = product(b, T::of(op.imm));
    c.set_reg(op.reg, low);
    c.fl = fl;
    NEXT
}

/// DIV r/m
pub(crate) fn div<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let d = u64::from(M::get::<T>(c, p, op)?.u());
    let n = c.wide_acc::<T>();
    if d == 0 || n / d > u64::from(T::MASK) {
        return Err(c.divide_error());
    }
    c.set_quotient::<T>((n / d) as u32, (n % d) as u32);
    NEXT
}

/// IDIV r/m
pub(crate) fn idiv<T: Int, M: Rm>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let d = i64::from(M::get::<T>(c, p, op)?.s() as i32);
    let unused = 64 - 2 * T::BITS;
    let n = (c.wide_acc::<T>() << unused) as i64 >> unused;
    let (Some(q), Some(r)) = (n.checked_div(d), n.checked_rem(d)) else { return Err(c.divide_error()) };
    if i64::from(T::of(q as u32).s() as i32) != q {
        return Err(c.divide_error());
    }
    c.set_quotient::<T>(q as u32, r as u32);
    NEXT
}
