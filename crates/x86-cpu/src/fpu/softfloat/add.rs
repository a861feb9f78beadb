//! Addition and subtraction.

use super::{Class, DE, F80, INVALID, J, SIGN, nan_operands, round_pack};

/// `a + b`.
#[inline]
pub fn add(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if a.is_normal() & b.is_normal() { add_normal(a, b, b.se, cw) } else { add_special(a, b, 0, cw) }
}

/// `a - b`.
#[inline]
pub fn sub(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if a.is_normal() & b.is_normal() {
        add_normal(a, b, b.se ^ SIGN, cw)
    } else {
        add_special(a, b, SIGN, cw)
    }
}

/// Sum of two normal numbers; `b_se` is `b`'s sign and exponent with the sign the operation gives it.
#[inline]
fn add_normal(a: F80, b: F80, b_se: u16, cw: u16) -> (F80, u16) {
    add_finite((a.sign(), a.exp(), a.sig), (b_se & SIGN, b.exp(), b.sig), cw)
}

/// Sum of two finite, normalised numbers given as (sign, exponent, significand).
#[inline]
fn add_finite(a: (u16, i32, u64), b: (u16, i32, u64), cw: u16) -> (F80, u16) {
    // The larger magnitude first: then neither the sum's sign nor the subtraction's borrow is in doubt.
    let swap = (a.1, a.2) < (b.1, b.2);
    let (big, small) = if swap { (b, a) } else { (a, b) };
    let distance = (big.1 - small.1) as u32;
    // The smaller operand in 128 bits, what falls off the end kept as a sticky bit.
    let (high, low) = match distance {
        0 => (small.2, 0),
        1..=63 => (small.2 >> distance, small.2 << (64 - distance)),
        64 => (0, small.2),
        65..=127 => (0, (small.2 >> (distance - 64)) | u64::from(small.2 << (128 - distance) != 0)),
        _ => (0, 1),
    };
    if big.0 == small.0 {
        let (sum, carry) = big.2.overflowing_add(high);
        if carry {
            // A carry means that the operands overlap: the lowest bit of `low` is clear.
            let low = (sum << 63) | (low >> 1);
            round_pack(big.0, big.1 + 1, (sum >> 1) | J, low, cw)
        } else {
            round_pack(big.0, big.1, sum, low, cw)
        }
    } else {
        let (low, borrow) = 0u64.overflowing_sub(low);
        let high = big.2 - high - u64::from(borrow);
        if high >= J {
            return round_pack(big.0, big.1, high, low, cw);
        }
        if high == 0 && low == 0 {
            return (F80::zero(if cw & 0x0C00 == 0x0400 { SIGN } else { 0 }), 0);
        }
        // A sticky bit is only ever set when the distance is large; then the shift here is at most one place.
        let wide = (u128::from(high) << 64) | u128::from(low);
        let shift = wide.leading_zeros();
        let wide = wide << shift;
        round_pack(big.0, big.1 - shift as i32, (wide >> 64) as u64, wide as u64, cw)
    }
}

#[cold]
#[inline(never)]
fn add_special(a: F80, b: F80, flip: u16, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    let b = F80::new(b.se ^ flip, b.sig);
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Infinity && cb == Class::Infinity && a.se != b.se {
        return INVALID;
    }
    let denormal = if ca == Class::Denormal || cb == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (a, DE);
    }
    let (value, flags) = match (ca, cb) {
        (Class::Infinity, _) => (a, 0),
        (_, Class::Infinity) => (b, 0),
        (Class::Zero, Class::Zero) if a.se == b.se => (a, 0),
        (Class::Zero, Class::Zero) => (F80::zero(if cw & 0x0C00 == 0x0400 { SIGN } else { 0 }), 0),
        (Class::Zero, _) => {
            let (exp, sig) = b.normalized();
            round_pack(b.sign(), exp, sig, 0, cw)
        }
        (_, Class::Zero) => {
            let (exp, sig) = a.normalized();
            round_pack(a.sign(), exp, sig, 0, cw)
        }
        _ => {
            let ((ea, sa), (eb, sb)) = (a.normalized(), b.normalized());
            add_finite((a.sign(), ea, sa), (b.sign(), eb, sb), cw)
        }
    };
    (value, flags | denormal)
}
