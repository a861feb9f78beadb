//! Comparison.

use super::{Class, DE, F80, IE};

/// The four answers of a comparison.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ordering {
    /// The first operand is greater.
    Greater,
    /// The first operand is less.
    Less,
    /// The operands are equal (zeros of either sign are).
    Equal,
    /// At least one operand is a NaN or an unsupported format.
    Unordered,
}

impl Ordering {
    /// C3, C2 and C0 as FCOM leaves them in the status word.
    pub const fn condition(self) -> u16 {
        match self {
            Self::Greater => 0,
            Self::Less => 0x0100,
            Self::Equal => 0x4000,
            Self::Unordered => 0x4500,
        }
    }

    /// ZF, PF and CF as FCOMI leaves them in EFLAGS.
    pub const fn eflags(self) -> u32 {
        match self {
            Self::Greater => 0,
            Self::Less => 0x01,
            Self::Equal => 0x40,
            Self::Unordered => 0x45,
        }
    }
}

/// Compares `a` with `b`. With `quiet` (FUCOM and its kin) a quiet NaN is no invalid operation.
///
/// Flags raised: [`IE`] and [`DE`].
#[inline]
pub fn compare(a: F80, b: F80, quiet: bool) -> (Ordering, u16) {
    if a.is_normal() & b.is_normal() {
        return (order(a, b), 0);
    }
    compare_special(a, b, quiet)
}

#[cold]
#[inline(never)]
fn compare_special(a: F80, b: F80, quiet: bool) -> (Ordering, u16) {
    let (ca, cb) = (a.class(), b.class());
    let either = |class: Class| ca == class || cb == class;
    if either(Class::Unsupported) || either(Class::SignalingNan) {
        return (Ordering::Unordered, IE);
    }
    if either(Class::QuietNan) {
        return (Ordering::Unordered, if quiet { 0 } else { IE });
    }
    let flags = if either(Class::Denormal) { DE } else { 0 };
    if ca == Class::Zero && cb == Class::Zero {
        return (Ordering::Equal, flags);
    }
    // A pseudo-denormal equals the normal number of exponent 1 with the same significand.
    let lift = |x: F80| if x.exp() == 0 && x.sig >= super::J { F80::new(x.sign() | 1, x.sig) } else { x };
    (order(lift(a), lift(b)), flags)
}

/// Order of two numbers in canonical form that are not both zero.
#[inline]
fn order(a: F80, b: F80) -> Ordering {
    if a == b {
        return Ordering::Equal;
    }
    let negative = a.sign() != 0;
    if negative != (b.sign() != 0) {
        return if negative { Ordering::Less } else { Ordering::Greater };
    }
    let less = (a.exp(), a.sig) < (b.exp(), b.sig);
    if less != negative { Ordering::Less } else { Ordering::Greater }
}
