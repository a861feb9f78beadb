//! Multiplication.

use super::{Class, DE, F80, INVALID, J, SIGN, nan_operands, round_pack};

/// `a * b`.
#[inline]
pub fn mul(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if a.is_normal() & b.is_normal() {
        mul_finite((a.se ^ b.se) & SIGN, a.exp() + b.exp(), a.sig, b.sig, cw)
    } else {
        mul_special(a, b, cw)
    }
}

/// Product of two normalised significands; `exps` is the sum of the biased exponents.
#[inline]
fn mul_finite(sign: u16, exps: i32, a: u64, b: u64, cw: u16) -> (F80, u16) {
    let product = u128::from(a) * u128::from(b);
    let (high, low) = ((product >> 64) as u64, product as u64);
    let exp = exps - 0x3FFE;
    if high >= J {
        round_pack(sign, exp, high, low, cw)
    } else {
        round_pack(sign, exp - 1, (high << 1) | (low >> 63), low << 1, cw)
    }
}

#[cold]
#[inline(never)]
fn mul_special(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    let sign = (a.se ^ b.se) & SIGN;
    let (ca, cb) = (a.class(), b.class());
    if matches!((ca, cb), (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity)) {
        return INVALID;
    }
    let denormal = if ca == Class::Denormal || cb == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (a, DE);
    }
    let (value, flags) = match (ca, cb) {
        (Class::Infinity, _) | (_, Class::Infinity) => (F80::infinity(sign), 0),
        (Class::Zero, _) | (_, Class::Zero) => (F80::zero(sign), 0),
        _ => {
            let ((ea, sa), (eb, sb)) = (a.normalized(), b.normalized());
            mul_finite(sign, ea + eb, sa, sb, cw)
        }
    };
    (value, flags | denormal)
}
