//! The transcendental instructions.
//!
//! Each computes with 128 bits ([`super::wide`]) and rounds once to 64 bits by rounding control, whatever precision
//! control says. So results are those of correct rounding, but for about one argument in 2^50 and for arguments made
//! to lie within 2^-120 of the middle between two numbers. A P6 promises an error below one unit in the last place:
//! last bits can differ from silicon's.
//!
//! What is the P6's own: FSIN, FCOS, FSINCOS and FPTAN reduce their argument with a pi of 66 bits (SDM volume 1,
//! 8.3.8), so that results near multiples of pi are those of the chip and not of mathematics; and an argument of 2^63
//! or more only sets C2.

use super::softfloat::{self, BIAS, Class, DE, F80, IE, J, PE, SIGN, UE, ZE, nan_operand, nan_operands};
use super::wide::{FIXED_ONE, Fixed, Terms, Wide, series};
use super::{C2, Fpu};

/// The invalid-operation answer.
const INVALID: (F80, u16) = (F80::INDEFINITE, IE);

/// Reciprocals of the odd numbers: the series of atan and artanh.
const ODD_RECIPROCALS: [Fixed; 26] = {
    let mut out = [0; 26];
    let mut n = 0;
    while n < out.len() {
        out[n] = FIXED_ONE / (2 * n as u128 + 1);
        n += 1;
    }
    out
};

/// 1 / (first + step * n)! relative to what precedes: the series of sin, cos and exp.
const fn factorials<const N: usize>(first: u128, step: u128) -> [Fixed; N] {
    let mut out = [0; N];
    let (mut n, mut at, mut product) = (0, 1, 1u128);
    while n < N {
        let target = first + step * n as u128;
        while at <= target {
            product *= at;
            at += 1;
        }
        out[n] = FIXED_ONE / product;
        n += 1;
    }
    out
}

const SIN: [Fixed; 16] = factorials(1, 2);
const COS: [Fixed; 17] = factorials(0, 2);
const EXPM1: [Fixed; 21] = factorials(1, 1);

/// atan(n / 16) in units of 2^-128.
const ATAN_SIXTEENTHS: [u128; 17] = [
    0,
    0x0FFA_ADDB_967E_F4E3_6CB2_792D_C0E2_E0D5,
    0x1FD5_BA9A_AC2F_6DC6_5912_F313_E7D1_11DF,
    0x2F72_F697_9CB6_044D_1EC2_D3E2_0727_1D22,
    0x3EB6_EBF2_5901_BAC5_5B71_E7BD_7DE8_85F9,
    0x4D89_DCDC_1FAF_2F34_E2D5_DA4C_693D_7994,
    0x5BD8_6507_937B_C239_C551_9091_6E7F_2242,
    0x6993_BB0F_308F_F2DB_213E_4AF4_800F_389B,
    0x76B1_9C15_86ED_3DA2_B7F2_22F6_5E1D_4682,
    0x832B_F4A6_D986_7E2A_4B6A_09CB_61A5_15C1,
    0x8F00_5D5E_F7F5_9F9B_5C83_5E16_65C4_3748,
    0x9A2F_80E6_71BD_DA20_4226_F8E2_204F_F3BD,
    0xA4BC_7D19_34F7_0924_19A8_7F2A_457D_AC9F,
    0xAEAC_4C38_B4D8_C080_1472_5E2F_3E52_070A,
    0xB805_3E2B_C231_9E73_CB2D_A552_10A4_443D,
    0xC0CE_85B8_AC52_6640_89DD_62C4_6E92_FA25,
    0xC90F_DAA2_2168_C234_C4C6_628B_80DC_1CD1,
];

/// The P6's pi: 68 bits of which the last two are zero, in units of 2^-66. As half a pi the unit is 2^-67.
const PI_66: u128 = 0xC_90FD_AA22_168C_234C;

/// A square below this leaves nothing of a series but its first term and the side on which the rest lies.
const NEGLIGIBLE: Fixed = 64;

// -- functions of one angle ---------------------------------------------------------------------------------------

/// An angle brought to at most a quarter of pi, and the number of quarter turns taken away, modulo 4.
fn reduce(x: F80) -> (Wide, u32) {
    let (exp, sig) = x.normalized();
    let exp = exp - BIAS;
    if exp < -1 {
        // Below one half.
        return (Wide::from_f80(x), 0);
    }
    // x in units of 2^-67, taken modulo half a pi a few bits at a time; exact.
    let (mut rest, mut quotient) = (u128::from(sig), 0u32);
    let mut left = (exp + 4) as u32;
    loop {
        quotient = quotient.wrapping_add((rest / PI_66) as u32);
        rest %= PI_66;
        if left == 0 {
            break;
        }
        let by = left.min(56);
        rest <<= by;
        quotient = quotient.wrapping_shl(by);
        left -= by;
    }
    let mut negative = x.sign() != 0;
    let past_middle = 2 * rest > PI_66;
    if past_middle {
        rest = PI_66 - rest;
        quotient = quotient.wrapping_add(1);
    }
    if negative {
        quotient = quotient.wrapping_neg();
    }
    negative ^= past_middle;
    (Wide::new(negative, 127 - 67, rest), quotient & 3)
}

fn sin_reduced(r: Wide) -> Wide {
    let square = r.mul(r).to_fixed();
    if square < NEGLIGIBLE {
        return r.just_below();
    }
    r.mul(Wide::from_fixed(series(square, &SIN, Terms::Alternating)))
}

fn cos_reduced(r: Wide) -> Wide {
    let square = r.mul(r).to_fixed();
    if square < NEGLIGIBLE {
        return Wide::ONE.just_below();
    }
    if square < 1 << 65 {
        // Near 2^-32 the result lies next to the middle between 1 and its neighbour: all bits of the square count.
        return Wide::ONE.sub(r.mul(r).scaled(-1));
    }
    Wide::from_fixed(series(square, &COS, Terms::Alternating))
}

fn sin_cos(x: F80) -> (Wide, Wide) {
    let (r, turns) = reduce(x);
    let (s, c) = (sin_reduced(r), cos_reduced(r));
    match turns {
        0 => (s, c),
        1 => (c, s.negate()),
        2 => (s.negate(), c.negate()),
        _ => (c.negate(), s),
    }
}

fn tan(x: F80) -> Wide {
    let (r, turns) = reduce(x);
    let square = r.mul(r).to_fixed();
    if square < NEGLIGIBLE && turns & 1 == 0 {
        // tan r lies above r by less than the significand shows.
        return Wide { sig: r.sig | 1, ..r };
    }
    let (s, c) = (sin_reduced(r), cos_reduced(r));
    if turns & 1 == 0 { s.div(c) } else { c.div(s).negate() }
}

// -- exponential and logarithm ------------------------------------------------------------------------------------

/// 2^x - 1 for |x| at most 1.
fn exp2_minus_1(x: F80) -> Wide {
    let y = Wide::from_f80(x).mul(Wide::LN_2);
    if y.exp < -120 {
        // y + y^2/2: the second term only decides on which side of y the result lies.
        return if y.negative { y.just_below() } else { y };
    }
    // exp(y) - 1 from exp(y/8) - 1 by e(e + 2) thrice.
    let eighth = y.scaled(-3);
    let terms = if y.negative { Terms::Alternating } else { Terms::Positive };
    let mut e = eighth.mul(Wide::from_fixed(series(eighth.to_fixed(), &EXPM1, terms)));
    for _ in 0..3 {
        e = e.mul(e.add(Wide::TWO));
    }
    e
}

/// log2((1 + z) / (1 - z)) for |z| at most 0.172.
fn log2_ratio(z: Wide) -> Wide {
    let square = z.mul(z).to_fixed();
    z.scaled(1).mul(Wide::from_fixed(series(square, &ODD_RECIPROCALS, Terms::Positive))).mul(Wide::LOG2_E)
}

/// log2 of a positive number.
fn log2(x: Wide) -> Wide {
    // The mantissa between the square roots of one half and of two.
    let above = x.sig > 0xB504_F333_F9DE_6484_597D_89B3_754A_BE9F;
    let exp = x.exp + i32::from(above);
    let m = Wide { negative: false, exp: -i32::from(above), ..x };
    let z = m.sub(Wide::ONE).div(m.add(Wide::ONE));
    Wide::from_int(exp).add(log2_ratio(z))
}

/// log2(1 + x) for finite x above -1.
fn log2_1_plus(x: Wide) -> Wide {
    let small = x.exp < -2 || (x.exp == -2 && x.sig < 0x9 << 124);
    if small { log2_ratio(x.div(x.add(Wide::TWO))) } else { log2(x.add(Wide::ONE)) }
}

// -- arc tangent --------------------------------------------------------------------------------------------------

/// atan(t) for t between 0 and 1.
fn atan_unit(t: Wide) -> Wide {
    // The nearest sixteenth.
    let n = ((t.to_fixed() >> 122) + 1) >> 1;
    let c = Wide::new(false, 123, n);
    let r = if n == 0 { t } else { t.sub(c).div(t.mul(c).add(Wide::ONE)) };
    let square = r.mul(r).to_fixed();
    let small = if r.sig == 0 {
        r
    } else if square < NEGLIGIBLE {
        r.just_below()
    } else {
        r.mul(Wide::from_fixed(series(square, &ODD_RECIPROCALS[..14], Terms::Alternating)))
    };
    Wide::new(false, -1, ATAN_SIXTEENTHS[n as usize]).add(small)
}

/// The angle of the point (x, y), neither being zero.
fn atan2(y: Wide, x: Wide) -> Wide {
    let (ay, ax) = (y.abs(), x.abs());
    let steep = (ay.exp, ay.sig) > (ax.exp, ax.sig);
    let t = if steep { ax.div(ay) } else { ay.div(ax) };
    // Chopped arithmetic never makes the quotient more than one.
    let mut angle = atan_unit(t);
    if steep {
        angle = Wide::PI.scaled(-1).sub(angle);
    }
    if x.negative {
        angle = Wide::PI.sub(angle);
    }
    Wide { negative: y.negative, ..angle }
}

// -- the instructions ---------------------------------------------------------------------------------------------

/// The angle of an instruction that takes one: ready to compute with, answered already, or out of range.
enum Angle {
    /// Compute; with [`DE`] if it is denormal.
    Finite(u16),
    /// Zero, a NaN, infinity or an unmasked denormal: the answer for sin and tan.
    Special((F80, u16)),
    /// The magnitude is 2^63 or more.
    OutOfRange,
}

fn angle(x: F80, cw: u16) -> Angle {
    if let Some(answer) = nan_operand(x) {
        return Angle::Special(answer);
    }
    match x.class() {
        Class::Zero => Angle::Special((x, 0)),
        Class::Infinity => Angle::Special(INVALID),
        Class::Denormal if cw & DE == 0 => Angle::Special((x, DE)),
        Class::Denormal => Angle::Finite(DE),
        _ if x.exp() >= BIAS + 63 => Angle::OutOfRange,
        _ => Angle::Finite(0),
    }
}

/// Adds `more` to the flags of an answer.
fn with((value, flags): (F80, u16), more: u16) -> (F80, u16) {
    (value, flags | more)
}

fn f2xm1(x: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operand(x) {
        return answer;
    }
    let class = x.class();
    let denormal = if class == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (x, DE);
    }
    match class {
        Class::Zero => (x, 0),
        Class::Infinity if x.sign() == 0 => (x, 0),
        Class::Infinity => (F80::new(SIGN | 0x3FFF, J), 0),
        // Exact, and the precision exception is raised all the same.
        _ if x == F80::ONE => (x, PE),
        _ if x == F80::new(SIGN | 0x3FFF, J) => (F80::new(SIGN | 0x3FFE, J), PE),
        // Beyond 1 the result is undefined; the operand stays.
        _ if x.exp() >= BIAS => (x, PE),
        _ => with(exp2_minus_1(x).round_inexact(cw), denormal),
    }
}

/// FYL2X: y * log2(x).
fn yl2x(x: F80, y: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(y, x) {
        return answer;
    }
    let (cx, cy) = (x.class(), y.class());
    if x.sign() != 0 && cx != Class::Zero {
        return INVALID;
    }
    let denormal = if cx == Class::Denormal || cy == Class::Denormal { DE } else { 0 };
    match (cx, cy) {
        (Class::Zero, Class::Zero) | (Class::Infinity, Class::Zero) => return INVALID,
        (_, Class::Infinity) if x == F80::ONE => return INVALID,
        (Class::Zero, Class::Infinity) => return (F80::infinity(y.sign() ^ SIGN), 0),
        (Class::Zero, _) => return (F80::infinity(y.sign() ^ SIGN), ZE),
        _ => {}
    }
    if denormal & !cw != 0 {
        return (y, DE);
    }
    let log_sign = if x.exp() < BIAS { SIGN } else { 0 };
    let answer = match (cx, cy) {
        (Class::Infinity, _) | (_, Class::Infinity) => (F80::infinity(y.sign() ^ log_sign), 0),
        (_, Class::Zero) => (F80::zero(y.sign() ^ log_sign), 0),
        _ if x == F80::ONE => (F80::zero(y.sign()), 0),
        _ => {
            let (exp, sig) = x.normalized();
            if sig == J {
                // A power of two: the logarithm is exact, the precision exception is raised all the same.
                let (value, flags) = softfloat::mul(softfloat::from_i32(exp - BIAS), y, cw | 0x0300);
                let tiny = if value.class() == Class::Denormal { UE } else { 0 };
                (value, flags | PE | tiny)
            } else {
                log2(Wide::from_f80(x)).mul(Wide::from_f80(y)).round_inexact(cw)
            }
        }
    };
    with(answer, denormal)
}

/// FYL2XP1: y * log2(x + 1).
fn yl2xp1(x: F80, y: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(y, x) {
        return answer;
    }
    let (cx, cy) = (x.class(), y.class());
    match (cx, cy) {
        (Class::Infinity, Class::Zero) | (Class::Zero, Class::Infinity) => return INVALID,
        (Class::Infinity, _) if x.sign() != 0 => return INVALID,
        _ => {}
    }
    let denormal = if cx == Class::Denormal || cy == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (y, DE);
    }
    let sign = (x.se ^ y.se) & SIGN;
    let answer = match (cx, cy) {
        (Class::Infinity, _) | (_, Class::Infinity) => (F80::infinity(sign), 0),
        (Class::Zero, _) | (_, Class::Zero) => (F80::zero(sign), 0),
        // At -1 and below the result is undefined; the operand takes its place.
        _ if x.sign() != 0 && x.exp() >= BIAS => (x, PE),
        _ => log2_1_plus(Wide::from_f80(x)).mul(Wide::from_f80(y)).round_inexact(cw),
    };
    with(answer, denormal)
}

/// FPATAN: the angle of the point (x, y).
fn patan(x: F80, y: F80, cw: u16) -> (F80, u16) {
    if let Some(answer) = nan_operands(y, x) {
        return answer;
    }
    let (cx, cy) = (x.class(), y.class());
    let denormal = if cx == Class::Denormal || cy == Class::Denormal { DE } else { 0 };
    if denormal & !cw != 0 {
        return (y, DE);
    }
    let signed = |angle: Wide| Wide { negative: y.sign() != 0, ..angle }.round_inexact(cw);
    let answer = match (cx, cy) {
        (Class::Infinity, Class::Infinity) if x.sign() == 0 => signed(Wide::PI.scaled(-2)),
        (Class::Infinity, Class::Infinity) => signed(Wide::PI.sub(Wide::PI.scaled(-2))),
        (_, Class::Zero) | (Class::Infinity, _) if x.sign() == 0 => (F80::zero(y.sign()), 0),
        (_, Class::Zero) | (Class::Infinity, _) => signed(Wide::PI),
        (Class::Zero, _) | (_, Class::Infinity) => signed(Wide::PI.scaled(-1)),
        _ => atan2(Wide::from_f80(y), Wide::from_f80(x)).round_inexact(cw),
    };
    with(answer, denormal)
}

impl Fpu {
    /// F2XM1.
    pub fn f2xm1(&mut self) {
        self.unary(f2xm1);
    }

    /// FYL2X.
    pub fn fyl2x(&mut self) {
        self.binary_pop(yl2x);
    }

    /// FYL2XP1.
    pub fn fyl2xp1(&mut self) {
        self.binary_pop(yl2xp1);
    }

    /// FPATAN.
    pub fn fpatan(&mut self) {
        self.binary_pop(patan);
    }

    /// ST(1) = f(ST(0), ST(1)), then pop.
    fn binary_pop(&mut self, function: impl FnOnce(F80, F80, u16) -> (F80, u16)) {
        let stored = if self.is_empty(0) || self.is_empty(1) {
            let masked = self.underflow();
            if masked {
                self.write(1, F80::INDEFINITE);
            }
            masked
        } else {
            let (value, flags) = function(self.st(0), self.st(1), self.cw);
            let store = self.raise(flags);
            if store {
                self.write(1, value);
            }
            store
        };
        if stored {
            self.pop();
        }
    }

    /// FSIN.
    pub fn fsin(&mut self) {
        self.one_angle(|x| sin_cos(x).0, |zero| zero);
    }

    /// FCOS.
    pub fn fcos(&mut self) {
        self.one_angle(|x| sin_cos(x).1, |_| F80::ONE);
    }

    fn one_angle(&mut self, function: impl FnOnce(F80) -> Wide, at_zero: impl FnOnce(F80) -> F80) {
        self.sw &= !C2;
        let mut out_of_range = false;
        self.unary(|x, cw| match angle(x, cw) {
            Angle::Finite(denormal) => with(function(x).round_inexact(cw), denormal),
            Angle::Special(_) if x.class() == Class::Zero => (at_zero(x), 0),
            Angle::Special(answer) => answer,
            Angle::OutOfRange => {
                out_of_range = true;
                (x, 0)
            }
        });
        if out_of_range {
            self.sw |= C2;
        }
    }

    /// FSINCOS: ST(0) becomes the sine, the cosine is pushed.
    pub fn fsincos(&mut self) {
        self.two_results(|x, cw| {
            let (sin, cos) = sin_cos(x);
            (sin.round_inexact(cw), cos.round_inexact(cw))
        });
    }

    /// FPTAN: ST(0) becomes the tangent, 1.0 is pushed.
    pub fn fptan(&mut self) {
        self.two_results(|x, cw| (tan(x).round_inexact(cw), (F80::ONE, 0)));
    }

    fn two_results(&mut self, function: impl FnOnce(F80, u16) -> ((F80, u16), (F80, u16))) {
        self.sw &= !C2;
        if !self.room_for_second_result() {
            return;
        }
        let x = self.st(0);
        let (first, second, flags) = match angle(x, self.cw) {
            Angle::Finite(denormal) => {
                let ((first, flags), (second, more)) = function(x, self.cw);
                (first, second, flags | (more & (PE | UE)) | denormal)
            }
            Angle::Special((value, flags)) if x.class() == Class::Zero => (value, F80::ONE, flags),
            Angle::Special((value, flags)) => (value, value, flags),
            Angle::OutOfRange => {
                self.raise(0);
                self.sw |= C2;
                return;
            }
        };
        if self.raise(flags) {
            self.write(0, first);
            self.fdecstp_keep();
            self.write(0, second);
        }
    }
}
