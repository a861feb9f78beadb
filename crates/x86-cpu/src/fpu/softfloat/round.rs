//! Rounding and packing, and the operations that are little more: FRNDINT, FSCALE, FXTRACT.

use super::{
    BIAS, C1, Class, DE, F80, HALF, INVALID, J, OE, PE, SIGN, UE, ZE, from_i64, nan_operand, nan_operands,
};

/// Rounding control: to nearest, ties to even.
pub(crate) const RC_NEAREST: u16 = 0;
/// Rounding control: toward minus infinity.
pub(crate) const RC_DOWN: u16 = 1;
/// Rounding control: toward plus infinity.
pub(crate) const RC_UP: u16 = 2;

/// The exponent adjustment of an unmasked overflow or underflow.
const WRAP: i32 = 0x6000;

/// The rounding-control field of a control word.
#[inline]
pub(crate) const fn rounding(cw: u16) -> u16 {
    (cw >> 10) & 3
}

/// How many bits of the significand precision control takes away.
#[inline]
const fn dropped_bits(cw: u16) -> u32 {
    match (cw >> 8) & 3 {
        0 => 40,
        2 => 11,
        // 1 is reserved and works as 64 bits.
        _ => 0,
    }
}

/// Rounds a finite number that is not zero and packs it.
///
/// `sig` has its integer bit set and `extra` holds the bits below it (the lowest one sticky); `exp` is the biased
/// exponent, of any size.
#[inline]
pub(crate) fn round_pack(sign: u16, exp: i32, sig: u64, extra: u64, cw: u16) -> (F80, u16) {
    if cw & 0x0F00 == 0x0300 && (1..0x7FFE).contains(&exp) {
        // Round to nearest, 64 bits, no underflow or overflow in reach.
        let up = (extra > HALF) | ((extra == HALF) & (sig & 1 != 0));
        let (sum, carry) = sig.overflowing_add(u64::from(up));
        let se = sign | (exp + i32::from(carry)) as u16;
        let flags = if extra != 0 { PE } else { 0 } | if up { C1 } else { 0 };
        return (F80::new(se, sum | (u64::from(carry) << 63)), flags);
    }
    round_pack_general(sign, exp, sig, extra, cw)
}

/// [`round_pack`] to 64 bits, whatever the precision control says.
pub(crate) fn round_pack_64(sign: u16, exp: i32, sig: u64, extra: u64, cw: u16) -> (F80, u16) {
    round_pack(sign, exp, sig, extra, cw | 0x0300)
}

/// A significand after rounding.
#[derive(Clone, Copy)]
struct Rounded {
    sig: u64,
    carry: bool,
    inexact: bool,
    up: bool,
}

/// Rounds `sig` and the bits below it to 64 minus `drop` bits. With `carry` the result is 2^64 and `sig` is 0.
#[inline]
fn round_significand(sign: u16, sig: u64, extra: u64, drop: u32, rc: u16) -> Rounded {
    let mask = (1u64 << drop) - 1;
    // The bits that go, brought to the top of a word.
    let rest = if drop == 0 { extra } else { ((sig & mask) << (64 - drop)) | u64::from(extra != 0) };
    let inexact = rest != 0;
    let odd = (sig >> drop) & 1 != 0;
    let up = match rc {
        RC_NEAREST => rest > HALF || (rest == HALF && odd),
        RC_DOWN => inexact && sign != 0,
        RC_UP => inexact && sign == 0,
        _ => false,
    };
    let (sig, carry) = (sig & !mask).overflowing_add(if up { 1 << drop } else { 0 });
    Rounded { sig, carry, inexact, up }
}

/// Shifts `sig` and the bits below it right, keeping what falls off as a sticky bit.
fn shift_right(sig: u64, extra: u64, by: u32) -> (u64, u64) {
    match by {
        0 => (sig, extra),
        1..=63 => (sig >> by, (sig << (64 - by)) | (extra >> by) | u64::from(extra << (64 - by) != 0)),
        64 => (0, sig | u64::from(extra != 0)),
        65..=127 => (0, (sig >> (by - 64)) | u64::from(sig << (128 - by) != 0 || extra != 0)),
        _ => (0, u64::from(sig != 0 || extra != 0)),
    }
}

#[inline(never)]
fn round_pack_general(sign: u16, exp: i32, sig: u64, extra: u64, cw: u16) -> (F80, u16) {
    let (drop, rc) = (dropped_bits(cw), rounding(cw));
    let r = round_significand(sign, sig, extra, drop, rc);
    let rounded_exp = exp + i32::from(r.carry);
    let inexact_flags = if r.inexact { PE } else { 0 } | if r.up { C1 } else { 0 };
    let pack = |exp: i32| F80::new(sign | exp as u16, r.sig | J);
    match rounded_exp {
        1..=0x7FFE => (pack(rounded_exp), inexact_flags),
        0x7FFF.. => {
            let wrapped = rounded_exp - WRAP;
            if cw & OE == 0 {
                // Beyond even the wrapped range (only FSCALE gets there) infinity is the answer, whatever the rounding.
                let far = (F80::infinity(sign), OE | PE | C1);
                return if wrapped <= 0x7FFE { (pack(wrapped), OE | inexact_flags) } else { far };
            }
            let to_infinity = match rc {
                RC_NEAREST => true,
                RC_DOWN => sign != 0,
                RC_UP => sign == 0,
                _ => false,
            };
            if to_infinity {
                (F80::infinity(sign), OE | PE | C1)
            } else {
                (F80::new(sign | 0x7FFE, u64::MAX << drop), OE | PE)
            }
        }
        _ => {
            let wrapped = rounded_exp + WRAP;
            if cw & UE == 0 {
                let far = (F80::zero(sign), UE | PE);
                return if wrapped >= 1 { (pack(wrapped), UE | inexact_flags) } else { far };
            }
            let (sig, extra) = shift_right(sig, extra, exp.unsigned_abs() + 1);
            let d = round_significand(sign, sig, extra, drop, rc);
            let flags = if d.inexact { PE } else { 0 } | if d.up { C1 } else { 0 };
            // The significand may have rounded up to the smallest normal number.
            let value = F80::new(sign | u16::from(d.sig >= J), d.sig);
            (value, flags | if d.inexact { UE } else { 0 })
        }
    }
}

/// FRNDINT: `a` rounded to an integer by rounding control.
pub fn round_to_int(a: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operand(a) {
        return answer;
    }
    if a.sig == 0 || a.exp() >= BIAS + 63 {
        return (a, 0);
    }
    let denormal = if a.exp() == 0 { DE } else { 0 };
    if denormal & !cw != 0 {
        return (a, DE);
    }
    let (exp, sig) = a.normalized();
    let (value, flags) = integer_part(a.sign(), exp, sig, rounding(cw));
    let result = if value == 0 {
        F80::zero(a.sign())
    } else {
        let shift = value.leading_zeros();
        F80::new(a.sign() | (BIAS + 63 - shift as i32) as u16, value << shift)
    };
    (result, flags | denormal)
}

/// A finite number below 2^63 in magnitude, rounded to an integer: the magnitude (at most 2^63), [`PE`] and [`C1`].
pub(super) fn integer_part(sign: u16, exp: i32, sig: u64, rc: u16) -> (u64, u16) {
    let (whole, fraction) = shift_right(sig, 0, (BIAS + 63 - exp).max(0) as u32);
    let r = round_significand(sign, whole, fraction, 0, rc);
    (r.sig, if r.inexact { PE } else { 0 } | if r.up { C1 } else { 0 })
}

/// FSCALE: `a` times two to the power of `b` chopped to an integer.
pub fn scale(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    let (ca, cb) = (a.class(), b.class());
    match (ca, cb) {
        (Class::Zero, Class::Infinity) if b.sign() == 0 => return INVALID,
        (Class::Infinity, Class::Infinity) if b.sign() != 0 => return INVALID,
        _ => {}
    }
    let denormal = if ca == Class::Denormal || cb == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (a, DE);
    }
    let (value, flags) = match (ca, cb) {
        (Class::Zero | Class::Infinity, _) => (a, 0),
        (_, Class::Infinity) if b.sign() == 0 => (F80::infinity(a.sign()), 0),
        (_, Class::Infinity) => (F80::zero(a.sign()), 0),
        _ => {
            let (exp, sig) = a.normalized();
            // The factor's exponent: 17 bits are more than any result needs.
            let magnitude = match b.exp() - BIAS {
                e if e < 0 => 0,
                e @ 0..=16 => (b.sig >> (63 - e)) as i32,
                _ => 0x2_0000,
            };
            let power = if b.sign() == 0 { magnitude } else { -magnitude };
            round_pack_64(a.sign(), exp + power, sig, 0, cw)
        }
    };
    (value, flags | denormal)
}

/// FXTRACT: the unbiased exponent of `a` as a number, its significand with exponent 0, and the flags.
pub fn extract(a: F80, cw: u16) -> (F80, F80, u16) {
    if let Some((value, flags)) = nan_operand(a) {
        return (value, value, flags);
    }
    match a.class() {
        Class::Zero => (F80::infinity(SIGN), a, ZE),
        Class::Infinity => (F80::infinity(0), a, 0),
        class => {
            let denormal = if class == Class::Denormal { DE } else { 0 };
            if denormal & !cw != 0 {
                return (a, a, DE);
            }
            let (exp, sig) = a.normalized();
            (from_i64(i64::from(exp - BIAS)), F80::new(a.sign() | BIAS as u16, sig), denormal)
        }
    }
}
