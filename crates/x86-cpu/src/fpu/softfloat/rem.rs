//! FPREM and FPREM1: the partial remainder.

use super::{Class, DE, F80, INVALID, nan_operands, round_pack_64};

/// What is known of the quotient.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Quotient {
    /// The reduction is complete; the three lowest bits of the quotient.
    Bits(u8),
    /// The reduction is not complete (C2): the dividend was only brought nearer.
    Partial,
    /// There is none: a NaN or an exception.
    None,
}

/// What a partial remainder leaves behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Remainder {
    /// The remainder, or the partly reduced dividend.
    pub value: F80,
    /// Exceptions raised.
    pub flags: u16,
    /// The quotient.
    pub quotient: Quotient,
}

/// FPREM: the remainder of `a / b` with the quotient chopped.
pub fn rem(a: F80, b: F80, cw: u16) -> Remainder {
    remainder(a, b, false, cw)
}

/// FPREM1: the remainder of `a / b` with the quotient rounded to nearest even, as IEEE 754 has it.
pub fn rem_ieee(a: F80, b: F80, cw: u16) -> Remainder {
    remainder(a, b, true, cw)
}

fn remainder(a: F80, b: F80, nearest: bool, cw: u16) -> Remainder {
    let none = |(value, flags)| Remainder { value, flags, quotient: Quotient::None };
    let zero = |(value, flags)| Remainder { value, flags, quotient: Quotient::Bits(0) };
    if let Some(answer) = nan_operands(a, b) {
        return none(answer);
    }
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Infinity || cb == Class::Zero {
        return none(INVALID);
    }
    let denormal = if ca == Class::Denormal || cb == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return none((a, DE));
    }
    if ca == Class::Zero {
        return zero((a, denormal));
    }
    let (exp_a, sig_a) = a.normalized();
    let pack = |exp: i32, sig: u64, sign: u16| {
        if sig == 0 {
            return (F80::zero(a.sign()), denormal);
        }
        let shift = sig.leading_zeros();
        let (value, flags) = round_pack_64(sign, exp - shift as i32, sig << shift, 0, cw);
        (value, flags | denormal)
    };
    if cb == Class::Infinity {
        return zero(pack(exp_a, sig_a, a.sign()));
    }
    let (exp_b, sig_b) = b.normalized();
    let distance = exp_a - exp_b;
    if distance >= 64 {
        // Reduce the exponent by 32 to 63, so that what is left is a multiple of 32 above the divisor.
        let by = (distance & 31) | 32;
        let rest = (u128::from(sig_a) << by) % u128::from(sig_b);
        let (value, flags) = pack(exp_a - by, rest as u64, a.sign());
        return Remainder { value, flags, quotient: Quotient::Partial };
    }
    if distance < -1 || (distance == -1 && !nearest) {
        return zero(pack(exp_a, sig_a, a.sign()));
    }
    // From here both are multiples of one unit: `unit` is the exponent at which sig_b stands.
    let (dividend, divisor, unit) = if distance == -1 {
        (u128::from(sig_a), u128::from(sig_b) << 1, exp_a)
    } else {
        (u128::from(sig_a) << distance, u128::from(sig_b), exp_b)
    };
    let (mut quotient, mut rest) = (dividend / divisor, dividend % divisor);
    let mut sign = a.sign();
    if nearest {
        let other = divisor - rest;
        if rest > other || (rest == other && quotient & 1 != 0) {
            rest = other;
            quotient += 1;
            sign ^= super::SIGN;
        }
    }
    // The rest is at most half of a doubled divisor, or below the divisor: it fits.
    let (value, flags) = pack(unit, rest as u64, sign);
    Remainder { value, flags, quotient: Quotient::Bits((quotient & 7) as u8) }
}
