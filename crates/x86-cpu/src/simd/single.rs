//! Single-precision arithmetic by the rules of MXCSR, on bit patterns.
//!
//! Flags are MXCSR's: invalid, denormal, zero divide, overflow, underflow, precision in bits 0-5. A result that comes
//! with an unmasked flag is not to be used.

/// MXCSR: invalid operation.
pub(super) const IE: u32 = 0x01;
/// MXCSR: denormal operand.
pub(super) const DE: u32 = 0x02;
/// MXCSR: zero divide.
pub(super) const ZE: u32 = 0x04;
/// MXCSR: overflow.
pub(super) const OE: u32 = 0x08;
/// MXCSR: underflow.
pub(super) const UE: u32 = 0x10;
/// MXCSR: precision.
pub(super) const PE: u32 = 0x20;
/// MXCSR: flush to zero.
const FZ: u32 = 0x8000;
/// How far above its flag an exception's mask bit lies.
const MASKS: u32 = 7;

const SIGN: u32 = 0x8000_0000;
const INFINITY: u32 = 0x7F80_0000;
const QUIET: u32 = 0x0040_0000;
/// The default NaN.
pub(super) const INDEFINITE: u32 = 0xFFC0_0000;

/// A result and the flags it raised.
pub(super) type Answer = (u32, u32);

const INVALID: Answer = (INDEFINITE, IE);

pub(super) const fn is_nan(x: u32) -> bool {
    x & !SIGN > INFINITY
}

pub(super) const fn is_signaling(x: u32) -> bool {
    is_nan(x) && x & QUIET == 0
}

pub(super) const fn is_zero(x: u32) -> bool {
    x & !SIGN == 0
}

pub(super) const fn is_infinite(x: u32) -> bool {
    x & !SIGN == INFINITY
}

/// [`DE`] if `x` is denormal.
pub(super) const fn denormal(x: u32) -> u32 {
    if x & INFINITY == 0 && !is_zero(x) { DE } else { 0 }
}

const fn sign(x: u32) -> u32 {
    x & SIGN
}

/// Exponent and significand of a finite number that is not zero, the integer bit in bit 63.
const fn unpack(x: u32) -> (i32, u64) {
    let (exp, fraction) = ((x >> 23 & 0xFF) as i32, (x & 0x007F_FFFF) as u64);
    if exp != 0 {
        return (exp, (fraction | 0x0080_0000) << 40);
    }
    let shift = fraction.leading_zeros();
    (41 - shift as i32, fraction << shift)
}

const fn rounding(mxcsr: u32) -> u32 {
    mxcsr >> 13 & 3
}

/// Rounds `sig` to `keep` fewer bits: the bits kept, and whether anything was lost.
const fn round_bits(sign: u32, sig: u64, drop: u32, rc: u32) -> (u64, bool) {
    let (kept, rest) = match drop {
        0 => (sig, 0),
        1..=63 => (sig >> drop, sig << (64 - drop)),
        64 => (0, sig),
        _ => (0, (sig != 0) as u64),
    };
    const HALF: u64 = 1 << 63;
    let up = match rc {
        0 => rest > HALF || (rest == HALF && kept & 1 != 0),
        1 => rest != 0 && sign != 0,
        2 => rest != 0 && sign == 0,
        _ => false,
    };
    (kept + up as u64, rest != 0)
}

/// Rounds a finite number that is not zero; `sig` has bit 63 set, its lowest bit sticky, `exp` is of any size.
fn round_pack(sign: u32, exp: i32, sig: u64, mxcsr: u32) -> Answer {
    let rc = rounding(mxcsr);
    let (kept, inexact) = round_bits(sign, sig, 40, rc);
    let rounded_exp = exp + i32::from(kept >> 24 != 0);
    let precision = if inexact { PE } else { 0 };
    if rounded_exp > 254 {
        let to_infinity = match rc {
            0 => true,
            1 => sign != 0,
            2 => sign == 0,
            _ => false,
        };
        let masked = mxcsr & (OE << MASKS) != 0;
        let flags = OE | if masked { PE } else { precision };
        return (sign | if to_infinity { INFINITY } else { INFINITY - 1 }, flags);
    }
    if exp >= 1 {
        // A carry runs over into the exponent.
        return (sign | ((((exp - 1) as u32) << 23) + kept as u32), precision);
    }
    let tiny = rounded_exp < 1;
    if tiny && mxcsr & (UE << MASKS) == 0 {
        return (sign, UE | precision);
    }
    if tiny && mxcsr & FZ != 0 {
        return (sign, UE | PE);
    }
    let (kept, inexact) = round_bits(sign, sig, 41u32.wrapping_sub(exp as u32), rc);
    let flags = match (inexact, tiny) {
        (false, _) => 0,
        (true, false) => PE,
        (true, true) => UE | PE,
    };
    (sign | kept as u32, flags)
}

/// The answer to NaN operands; the first operand's NaN goes before the second's.
fn nan_operands(a: u32, b: u32) -> Option<Answer> {
    if !is_nan(a) && !is_nan(b) {
        return None;
    }
    let flags = if is_signaling(a) || is_signaling(b) { IE } else { 0 };
    Some((if is_nan(a) { a } else { b } | QUIET, flags))
}

/// Whether a denormal operand ends the operation: its exception is unmasked.
const fn stops(denormal: u32, mxcsr: u32) -> bool {
    denormal & !(mxcsr >> MASKS) != 0
}

fn with((value, flags): Answer, more: u32) -> Answer {
    (value, flags | more)
}

/// `a + b`.
pub(super) fn add(a: u32, b: u32, mxcsr: u32) -> Answer {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    if is_infinite(a) && is_infinite(b) && a != b {
        return INVALID;
    }
    let de = denormal(a) | denormal(b);
    if stops(de, mxcsr) {
        return (a, de);
    }
    if is_infinite(a) || is_infinite(b) {
        return (if is_infinite(a) { a } else { b }, de);
    }
    let zero = if rounding(mxcsr) == 1 { SIGN } else { 0 };
    let answer = match (is_zero(a), is_zero(b)) {
        (true, true) => (if a == b { a } else { zero }, 0),
        // Through the rounding: a denormal may be flushed.
        (true, false) => round_value(b, mxcsr),
        (false, true) => round_value(a, mxcsr),
        (false, false) => {
            let swap = a & !SIGN < b & !SIGN;
            let (big, small) = if swap { (b, a) } else { (a, b) };
            let ((exp, sig), (small_exp, small_sig)) = (unpack(big), unpack(small));
            let by = (exp - small_exp) as u32;
            // The 40 free bits below hold all that matters, the last one sticky.
            let aligned = match by {
                0..=63 => (small_sig >> by) | u64::from(small_sig & ((1 << by) - 1) != 0),
                _ => 1,
            };
            if sign(a) == sign(b) {
                let (sum, carry) = sig.overflowing_add(aligned);
                let sum = if carry { (sum >> 1) | (sum & 1) | 1 << 63 } else { sum };
                round_pack(sign(big), exp + i32::from(carry), sum, mxcsr)
            } else {
                match sig - aligned {
                    0 => (zero, 0),
                    rest => {
                        let shift = rest.leading_zeros();
                        round_pack(sign(big), exp - shift as i32, rest << shift, mxcsr)
                    }
                }
            }
        }
    };
    with(answer, de)
}

fn round_value(x: u32, mxcsr: u32) -> Answer {
    let (exp, sig) = unpack(x);
    round_pack(sign(x), exp, sig, mxcsr)
}

/// `a - b`.
pub(super) fn sub(a: u32, b: u32, mxcsr: u32) -> Answer {
    // The sign of a NaN is not an operand's sign.
    if is_nan(b) { add(a, b, mxcsr) } else { add(a, b ^ SIGN, mxcsr) }
}

/// `a * b`.
pub(super) fn mul(a: u32, b: u32, mxcsr: u32) -> Answer {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    if (is_infinite(a) && is_zero(b)) || (is_zero(a) && is_infinite(b)) {
        return INVALID;
    }
    let (sign, de) = (sign(a ^ b), denormal(a) | denormal(b));
    if stops(de, mxcsr) {
        return (a, de);
    }
    if is_infinite(a) || is_infinite(b) {
        return (sign | INFINITY, de);
    }
    if is_zero(a) || is_zero(b) {
        return (sign, de);
    }
    let ((ea, sa), (eb, sb)) = (unpack(a), unpack(b));
    let product = (sa >> 40) * (sb >> 40);
    let shift = product.leading_zeros();
    with(round_pack(sign, ea + eb - 127 + 17 - shift as i32, product << shift, mxcsr), de)
}

/// `a / b`.
pub(super) fn div(a: u32, b: u32, mxcsr: u32) -> Answer {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    if (is_infinite(a) && is_infinite(b)) || (is_zero(a) && is_zero(b)) {
        return INVALID;
    }
    let (sign, de) = (sign(a ^ b), denormal(a) | denormal(b));
    if is_zero(b) && !is_infinite(a) {
        return (sign | INFINITY, ZE);
    }
    if stops(de, mxcsr) {
        return (a, de);
    }
    if is_infinite(a) {
        return (sign | INFINITY, de);
    }
    if is_infinite(b) || is_zero(a) {
        return (sign, de);
    }
    let ((ea, sa), (eb, sb)) = (unpack(a), unpack(b));
    let divisor = sb >> 40;
    let (quotient, rest) = (sa / divisor, sa % divisor);
    // 2^39 < quotient < 2^41: the bits shifted in below are free for the sticky one.
    let shift = quotient.leading_zeros();
    let sig = quotient << shift | u64::from(rest != 0);
    with(round_pack(sign, ea - eb + 127 + 23 - shift as i32, sig, mxcsr), de)
}

/// The square root of `a`.
pub(super) fn sqrt(a: u32, mxcsr: u32) -> Answer {
    if is_nan(a) {
        return (a | QUIET, if is_signaling(a) { IE } else { 0 });
    }
    if is_zero(a) || a == INFINITY {
        return (a, 0);
    }
    if sign(a) != 0 {
        return INVALID;
    }
    let de = denormal(a);
    if stops(de, mxcsr) {
        return (a, de);
    }
    let (exp, sig) = unpack(a);
    let unbiased = exp - 127;
    // An even power of two times the significand: the root has 32 bits.
    let radicand = sig >> (1 - (unbiased & 1));
    let root = radicand.isqrt();
    let shift = root.leading_zeros();
    let sig = root << shift | u64::from(root * root != radicand);
    with(round_pack(0, (unbiased >> 1) + 127, sig, mxcsr), de)
}

/// MINSS (`max` false) or MAXSS: on any NaN, and on two zeros, the second operand.
pub(super) fn min_max(a: u32, b: u32, max: bool) -> Answer {
    if is_nan(a) || is_nan(b) {
        return (b, IE);
    }
    let first = if max { less(b, a) } else { less(a, b) };
    (if first { a } else { b }, denormal(a) | denormal(b))
}

/// `a < b` for numbers.
const fn less(a: u32, b: u32) -> bool {
    if is_zero(a) && is_zero(b) {
        return false;
    }
    match (sign(a) != 0, sign(b) != 0) {
        (false, false) => a < b,
        (true, true) => a > b,
        (negative, _) => negative,
    }
}

/// How two numbers stand.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Less,
    Equal,
    Greater,
    Unordered,
}

/// Compares; with `quiet` a quiet NaN is no invalid operation.
pub(super) fn compare(a: u32, b: u32, quiet: bool) -> (Order, u32) {
    if is_nan(a) || is_nan(b) {
        let invalid = !quiet || is_signaling(a) || is_signaling(b);
        return (Order::Unordered, if invalid { IE } else { 0 });
    }
    let order = if less(a, b) {
        Order::Less
    } else if less(b, a) {
        Order::Greater
    } else {
        Order::Equal
    };
    (order, denormal(a) | denormal(b))
}

/// A signed doubleword to single.
pub(super) fn from_i32(value: i32, mxcsr: u32) -> Answer {
    if value == 0 {
        return (0, 0);
    }
    let magnitude = u64::from(value.unsigned_abs());
    let shift = magnitude.leading_zeros();
    round_pack(value as u32 & SIGN, 127 + 63 - shift as i32, magnitude << shift, mxcsr)
}

/// Single to a signed doubleword by rounding control `rc`; 80000000h and [`IE`] when it does not fit.
pub(super) fn to_i32(x: u32, rc: u32) -> Answer {
    const INTEGER_INDEFINITE: Answer = (0x8000_0000, IE);
    if is_zero(x) {
        return (0, 0);
    }
    if x & INFINITY == INFINITY {
        return INTEGER_INDEFINITE;
    }
    let (exp, sig) = unpack(x);
    if exp > 127 + 31 {
        return INTEGER_INDEFINITE;
    }
    let (magnitude, inexact) = round_bits(sign(x), sig, (127 + 63 - exp) as u32, rc);
    let flags = if inexact { PE } else { 0 };
    let negative = sign(x) != 0;
    match magnitude {
        0..=0x7FFF_FFFF if negative => ((magnitude as u32).wrapping_neg(), flags),
        0..=0x7FFF_FFFF => (magnitude as u32, flags),
        0x8000_0000 if negative => (0x8000_0000, flags),
        _ => INTEGER_INDEFINITE,
    }
}

/// RCPSS: an approximation of 1/x good to 12 bits and half a unit. Denormals count as zero, results too.
pub(super) fn reciprocal(x: u32) -> u32 {
    if is_nan(x) {
        return x | QUIET;
    }
    if is_infinite(x) {
        return sign(x);
    }
    if x & INFINITY == 0 {
        return sign(x) | INFINITY;
    }
    let (exp, sig) = unpack(x);
    // 13 bits of the quotient 2^23 / m, m being the significand's upper 24 bits: 1 to 1/2.
    let divisor = sig >> 40;
    let quotient = (((1u64 << 60) / divisor) + (1 << 23)) >> 24;
    approximate(sign(x), 254 - exp, quotient)
}

/// RSQRTSS: an approximation of 1/sqrt(x), as [`reciprocal`].
pub(super) fn reciprocal_root(x: u32) -> u32 {
    if is_nan(x) {
        return x | QUIET;
    }
    if x & INFINITY == 0 {
        return sign(x) | INFINITY;
    }
    if sign(x) != 0 {
        return INDEFINITE;
    }
    if x == INFINITY {
        return 0;
    }
    let (exp, sig) = unpack(x);
    let unbiased = exp - 127;
    // m in [1, 4), as 2^61 m; 2^13 / sqrt(m) from the root of 2^87 / (2^61 m).
    let m = u128::from(sig >> 2) << (unbiased & 1);
    let root = ((1u128 << 127) / m).isqrt() as u64;
    let quotient = (root + (1 << 19)) >> 20;
    approximate(0, 127 - (unbiased >> 1), quotient)
}

/// Packs an approximation: `quotient` is 2^13 for one, 2^12 for one half; `exp` is the exponent of one.
fn approximate(sign: u32, exp: i32, quotient: u64) -> u32 {
    let (exp, fraction) = if quotient >= 1 << 13 {
        (exp, quotient - (1 << 13))
    } else {
        (exp - 1, (quotient << 1) - (1 << 13))
    };
    if exp < 1 {
        return sign;
    }
    sign | (exp as u32) << 23 | (fraction as u32) << 10
}
