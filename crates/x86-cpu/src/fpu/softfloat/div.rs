//! Division and square root.

use super::{BIAS, Class, DE, F80, HALF, INVALID, SIGN, ZE, nan_operand, nan_operands, round_pack};

/// `a / b`.
#[inline]
pub fn div(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if a.is_normal() & b.is_normal() {
        div_finite((a.se ^ b.se) & SIGN, a.exp() - b.exp(), a.sig, b.sig, cw)
    } else {
        div_special(a, b, cw)
    }
}

/// Quotient of two normalised significands; `exps` is the difference of the exponents.
#[inline]
fn div_finite(sign: u16, exps: i32, a: u64, b: u64, cw: u16) -> (F80, u16) {
    let less = a < b;
    let dividend = u128::from(a) << (63 + u32::from(less));
    let divisor = u128::from(b);
    let quotient = (dividend / divisor) as u64;
    let rest = dividend.wrapping_sub(u128::from(quotient) * divisor) as u64;
    // The bits below the quotient: only their place against one half matters.
    let extra = if rest == 0 {
        0
    } else {
        // rest < b, so b - rest does not wrap.
        match rest.cmp(&(b - rest)) {
            core::cmp::Ordering::Less => 1,
            core::cmp::Ordering::Equal => HALF,
            core::cmp::Ordering::Greater => HALF | 1,
        }
    };
    round_pack(sign, exps + BIAS - i32::from(less), quotient, extra, cw)
}

#[cold]
#[inline(never)]
fn div_special(a: F80, b: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(a, b) {
        return answer;
    }
    let sign = (a.se ^ b.se) & SIGN;
    let (ca, cb) = (a.class(), b.class());
    match (ca, cb) {
        (Class::Infinity, Class::Infinity) | (Class::Zero, Class::Zero) => return INVALID,
        // Zero divide comes before denormal operand in the order of priorities.
        (Class::Normal | Class::Denormal, Class::Zero) => return (F80::infinity(sign), ZE),
        _ => {}
    }
    let denormal = if ca == Class::Denormal || cb == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (a, DE);
    }
    let (value, flags) = match (ca, cb) {
        (Class::Infinity, _) => (F80::infinity(sign), 0),
        (_, Class::Infinity) | (Class::Zero, _) => (F80::zero(sign), 0),
        _ => {
            let ((ea, sa), (eb, sb)) = (a.normalized(), b.normalized());
            div_finite(sign, ea - eb, sa, sb, cw)
        }
    };
    (value, flags | denormal)
}

/// The square root of `a`.
pub fn sqrt(a: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operand(a) {
        return answer;
    }
    let class = a.class();
    if class == Class::Zero || a.se == 0x7FFF {
        return (a, 0);
    }
    if a.sign() != 0 {
        return INVALID;
    }
    let denormal = if class == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (a, DE);
    }
    let (exp, sig) = a.normalized();
    let unbiased = exp - BIAS;
    let radicand = u128::from(sig) << (63 + (unbiased & 1) as u32);
    let root = square_root(radicand);
    let rest = radicand - u128::from(root) * u128::from(root);
    // (root + 1/2)^2 = root^2 + root + 1/4: the rest decides, and a tie cannot happen.
    let extra = match rest {
        0 => 0,
        r if r <= u128::from(root) => 1,
        _ => HALF | 1,
    };
    let (value, flags) = round_pack(0, (unbiased >> 1) + BIAS, root, extra, cw);
    (value, flags | denormal)
}

/// The integer square root of a number of at least 2^126.
fn square_root(n: u128) -> u64 {
    // 53 bits from the host, one step of Newton's, and the last unit by trial: exact whatever the first guess was.
    let guess = (((n >> 64) as u64 as f64).sqrt() * 4_294_967_296.0) as u64;
    let x = u128::from(guess.max(1 << 63));
    let mut root = (x + n / x) >> 1;
    while root > u128::from(u64::MAX) || root * root > n {
        root -= 1;
    }
    root as u64
}
