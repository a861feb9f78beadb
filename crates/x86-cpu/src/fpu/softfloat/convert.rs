//! Conversions between the extended format and single, double and the three integer formats.

use super::round::{RC_DOWN, RC_NEAREST, RC_UP, integer_part, rounding};
use super::{BIAS, C1, Class, DE, F80, HALF, IE, J, OE, PE, QUIET, SIGN, UE};

/// The real indefinite in single precision.
pub const F32_INDEFINITE: u32 = 0xFFC0_0000;
/// The real indefinite in double precision.
pub const F64_INDEFINITE: u64 = 0xFFF8_0000_0000_0000;

/// Widens a single. A signalling NaN stays one: the operation that uses it reports it.
///
/// The flag is [`DE`] for a denormal and 0 otherwise; the result is then a normal number.
#[inline]
pub fn from_f32(bits: u32) -> (F80, u16) {
    let sign = ((bits >> 16) as u16) & SIGN;
    let exp = (bits >> 23) & 0xFF;
    let sig = u64::from(bits & 0x007F_FFFF) << 40;
    if exp.wrapping_sub(1) < 0xFE {
        return (F80::new(sign | (exp as u16 + (0x3FFF - 0x7F)), sig | J), 0);
    }
    widen_special(sign, exp != 0, sig, 0x3FFF - 0x7E)
}

/// Widens a double, as [`from_f32`] does a single.
#[inline]
pub fn from_f64(bits: u64) -> (F80, u16) {
    let sign = ((bits >> 48) as u16) & SIGN;
    let exp = ((bits >> 52) & 0x7FF) as u16;
    let sig = (bits & 0x000F_FFFF_FFFF_FFFF) << 11;
    if exp.wrapping_sub(1) < 0x7FE {
        return (F80::new(sign | (exp + (0x3FFF - 0x3FF)), sig | J), 0);
    }
    widen_special(sign, exp != 0, sig, 0x3FFF - 0x3FE)
}

#[cold]
fn widen_special(sign: u16, top: bool, sig: u64, denormal_exp: u16) -> (F80, u16) {
    if top {
        (F80::new(sign | 0x7FFF, sig | J), 0)
    } else if sig == 0 {
        (F80::zero(sign), 0)
    } else {
        let shift = sig.leading_zeros();
        (F80::new(sign | (denormal_exp - shift as u16), sig << shift), DE)
    }
}

/// A format that is narrower than the extended one.
struct Narrow {
    /// Bits of significand, the hidden one included.
    precision: u32,
    /// The largest exponent of a finite number.
    max_exp: i32,
    /// Bias of the narrow format.
    bias: i32,
}

const SINGLE: Narrow = Narrow { precision: 24, max_exp: 0xFE, bias: 0x7F };
const DOUBLE: Narrow = Narrow { precision: 53, max_exp: 0x7FE, bias: 0x3FF };

/// Narrows to single precision by rounding control.
///
/// With an unmasked overflow or underflow among the flags nothing must be stored (the destination is memory).
#[inline]
pub fn to_f32(a: F80, cw: u16) -> (u32, u16) {
    let (bits, flags) = narrow(a, &SINGLE, cw);
    (bits as u32, flags)
}

/// Narrows to double precision, as [`to_f32`].
#[inline]
pub fn to_f64(a: F80, cw: u16) -> (u64, u16) {
    narrow(a, &DOUBLE, cw)
}

#[inline]
fn narrow(a: F80, to: &Narrow, cw: u16) -> (u64, u16) {
    let exp = a.exp() - BIAS + to.bias;
    if a.is_normal() && cw & 0x0C00 == 0 && exp >= 1 && exp < to.max_exp {
        // Round to nearest, no underflow or overflow in reach: a carry runs over into the exponent by itself.
        let drop = 64 - to.precision;
        let rest = a.sig << to.precision;
        let kept = a.sig >> drop;
        let up = (rest > HALF) | ((rest == HALF) & (kept & 1 != 0));
        let sign = u64::from(a.sign() >> 15) << (to.width() - 1);
        let bits = ((exp as u64 - 1) << (to.precision - 1)) + kept + u64::from(up);
        let flags = if rest != 0 { PE } else { 0 } | if up { C1 } else { 0 };
        return (sign | bits, flags);
    }
    narrow_general(a, to, cw)
}

impl Narrow {
    #[inline]
    const fn width(&self) -> u32 {
        if self.precision == 24 { 32 } else { 64 }
    }
}

#[inline(never)]
fn narrow_general(a: F80, to: &Narrow, cw: u16) -> (u64, u16) {
    let sign = u64::from(a.sign() >> 15) << (to.width() - 1);
    let fraction_bits = to.precision - 1;
    let infinity = (to.max_exp as u64 + 1) << fraction_bits;
    let drop = 64 - to.precision;
    match a.class() {
        Class::Zero => return (sign, 0),
        Class::Infinity => return (sign | infinity, 0),
        Class::Unsupported => {
            return (1 << (to.width() - 1) | infinity | 1 << (fraction_bits - 1), IE);
        }
        class @ (Class::QuietNan | Class::SignalingNan) => {
            let payload = ((a.sig | QUIET) & !J) >> drop;
            return (sign | infinity | payload, if class == Class::SignalingNan { IE } else { 0 });
        }
        Class::Denormal | Class::Normal => {}
    }
    let (exp, sig) = a.normalized();
    let exp = exp - BIAS + to.bias;
    let rc = rounding(cw);
    // Rounds to `precision` bits after a shift of `by`; the carry may make one bit more.
    let round = |by: u32| {
        let total = drop + by;
        let (kept, rest) = match total {
            ..=63 => (sig >> total, sig << (64 - total)),
            64 => (0, sig),
            _ => (0, 1),
        };
        let up = match rc {
            RC_NEAREST => rest > HALF || (rest == HALF && kept & 1 != 0),
            RC_DOWN => rest != 0 && sign != 0,
            RC_UP => rest != 0 && sign == 0,
            _ => false,
        };
        let flags = if rest != 0 { PE } else { 0 } | if up { C1 } else { 0 };
        (kept + u64::from(up), flags)
    };
    let (rounded, flags) = round(0);
    let rounded_exp = exp + i32::from(rounded >> to.precision != 0);
    if rounded_exp > to.max_exp {
        if cw & OE == 0 {
            return (0, OE);
        }
        let to_infinity = match rc {
            RC_NEAREST => true,
            RC_DOWN => sign != 0,
            RC_UP => sign == 0,
            _ => false,
        };
        return if to_infinity { (sign | infinity, OE | PE | C1) } else { (sign | (infinity - 1), OE | PE) };
    }
    if exp >= 1 {
        return (sign | (((exp as u64 - 1) << fraction_bits) + rounded), flags);
    }
    let tiny = rounded_exp < 1;
    if tiny && cw & UE == 0 {
        return (0, UE);
    }
    let (rounded, flags) = round(1u32.wrapping_sub(exp as u32));
    (sign | rounded, flags | if tiny && flags & PE != 0 { UE } else { 0 })
}

/// Converts a 16-bit integer; exact.
#[inline]
pub fn from_i16(value: i16) -> F80 {
    from_i64(i64::from(value))
}

/// Converts a 32-bit integer; exact.
#[inline]
pub fn from_i32(value: i32) -> F80 {
    from_i64(i64::from(value))
}

/// Converts a 64-bit integer; exact.
#[inline]
pub fn from_i64(value: i64) -> F80 {
    if value == 0 {
        return F80::ZERO;
    }
    let magnitude = value.unsigned_abs();
    let shift = magnitude.leading_zeros();
    let sign = if value < 0 { SIGN } else { 0 };
    F80::new(sign | (BIAS as u16 + 63 - shift as u16), magnitude << shift)
}

/// Converts to a 16-bit integer by `rc` (0 to 3, as rounding control); 8000h and [`IE`] when it does not fit.
#[inline]
pub fn to_i16(a: F80, rc: u16) -> (i16, u16) {
    let (value, flags) = to_integer(a, rc, i64::from(i16::MIN), i64::from(i16::MAX));
    (value as i16, flags)
}

/// Converts to a 32-bit integer, as [`to_i16`].
#[inline]
pub fn to_i32(a: F80, rc: u16) -> (i32, u16) {
    let (value, flags) = to_integer(a, rc, i64::from(i32::MIN), i64::from(i32::MAX));
    (value as i32, flags)
}

/// Converts to a 64-bit integer, as [`to_i16`].
#[inline]
pub fn to_i64(a: F80, rc: u16) -> (i64, u16) {
    to_integer(a, rc, i64::MIN, i64::MAX)
}

#[inline]
fn to_integer(a: F80, rc: u16, min: i64, max: i64) -> (i64, u16) {
    match round_magnitude(a, rc) {
        Some((magnitude, flags)) => {
            let negative = a.sign() != 0;
            if magnitude <= max as u64 {
                let value = magnitude as i64;
                return (if negative { -value } else { value }, flags);
            }
            if negative && magnitude == min.unsigned_abs() { (min, flags) } else { (min, IE) }
        }
        None => (min, IE),
    }
}

/// The magnitude of `a` rounded to an integer, with [`PE`] and [`C1`]; `None` for what no 64-bit integer can hold.
#[inline]
pub(super) fn round_magnitude(a: F80, rc: u16) -> Option<(u64, u16)> {
    if a.sig == 0 && a.exp() == 0 {
        return Some((0, 0));
    }
    let exp = a.exp();
    if exp > BIAS + 63 || (exp != 0 && a.sig < J) {
        return None;
    }
    let (exp, sig) = a.normalized();
    let (magnitude, flags) = integer_part(a.sign(), exp, sig, rc);
    Some((magnitude, flags))
}
