//! Numbers with 128 bits of significand, for the insides of the transcendental instructions.
//!
//! Nothing here rounds to nearest: every operation chops and is off by a few units of 2^-126 at most. After a dozen of
//! them a result is good to better than 2^-115, 51 bits more than the x87 shows.

use super::F80;
use super::softfloat::{BIAS, round_pack_64};

/// A fraction in units of 2^-127: 0 to just below 2.
pub(super) type Fixed = u128;

/// One as a [`Fixed`].
pub(super) const FIXED_ONE: Fixed = 1 << 127;

/// The upper half of a 256-bit product.
const fn mul_high(a: u128, b: u128) -> u128 {
    const LOW: u128 = u64::MAX as u128;
    let (a1, a0, b1, b0) = (a >> 64, a & LOW, b >> 64, b & LOW);
    let (mid1, mid2) = (a1 * b0, a0 * b1);
    let carry = ((a0 * b0) >> 64) + (mid1 & LOW) + (mid2 & LOW);
    a1 * b1 + (mid1 >> 64) + (mid2 >> 64) + (carry >> 64)
}

/// Product of two fractions below 2 whose product is below 2.
pub(super) const fn mul_fixed(a: Fixed, b: Fixed) -> Fixed {
    mul_high(a, b) << 1
}

/// Which sign the terms of a series have.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Terms {
    /// c0 + c1 z + c2 z^2 + ...
    Positive,
    /// c0 - c1 z + c2 z^2 - ...
    Alternating,
}

/// Sum of a power series by Horner's rule; the sum stays between 0 and 2.
pub(super) fn series(z: Fixed, coefficients: &[Fixed], terms: Terms) -> Fixed {
    coefficients.iter().rev().fold(0, |sum, &c| {
        let rest = mul_fixed(z, sum);
        match terms {
            Terms::Positive => c.wrapping_add(rest),
            Terms::Alternating => c.wrapping_sub(rest),
        }
    })
}

/// A sign, an exponent and a normalised significand: `sig / 2^127 * 2^exp`; zero has `sig` 0.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Wide {
    pub(super) negative: bool,
    pub(super) exp: i32,
    pub(super) sig: u128,
}

impl Wide {
    pub(super) const ZERO: Self = Self { negative: false, exp: 0, sig: 0 };
    pub(super) const ONE: Self = Self { negative: false, exp: 0, sig: FIXED_ONE };
    pub(super) const TWO: Self = Self { negative: false, exp: 1, sig: FIXED_ONE };
    pub(super) const PI: Self =
        Self { negative: false, exp: 1, sig: 0xC90F_DAA2_2168_C234_C4C6_628B_80DC_1CD1 };
    pub(super) const LN_2: Self =
        Self { negative: false, exp: -1, sig: 0xB172_17F7_D1CF_79AB_C9E3_B398_03F2_F6AF };
    pub(super) const LOG2_E: Self =
        Self { negative: false, exp: 0, sig: 0xB8AA_3B29_5C17_F0BB_BE87_FED0_691D_3E89 };

    /// `sig * 2^(exp - 127)`, `sig` not necessarily normalised.
    pub(super) const fn new(negative: bool, exp: i32, sig: u128) -> Self {
        if sig == 0 {
            return Self::ZERO;
        }
        let shift = sig.leading_zeros();
        Self { negative, exp: exp - shift as i32, sig: sig << shift }
    }

    /// A finite number; exact.
    pub(super) const fn from_f80(value: F80) -> Self {
        if value.sig == 0 {
            return Self::ZERO;
        }
        let (exp, sig) = value.normalized();
        Self { negative: value.sign() != 0, exp: exp - BIAS, sig: (sig as u128) << 64 }
    }

    pub(super) const fn from_int(value: i32) -> Self {
        Self::new(value < 0, 127, value.unsigned_abs() as u128)
    }

    pub(super) const fn from_fixed(value: Fixed) -> Self {
        Self::new(false, 0, value)
    }

    /// A magnitude below 2 in units of 2^-127.
    pub(super) const fn to_fixed(self) -> Fixed {
        match self.exp {
            -127..=0 => self.sig >> -self.exp,
            _ => 0,
        }
    }

    pub(super) const fn abs(self) -> Self {
        Self { negative: false, ..self }
    }

    pub(super) const fn negate(self) -> Self {
        Self { negative: !self.negative, ..self }
    }

    /// Times two to the power of `n`.
    pub(super) const fn scaled(self, n: i32) -> Self {
        Self { exp: self.exp + n, ..self }
    }

    pub(super) const fn mul(self, other: Self) -> Self {
        Self::new(self.negative != other.negative, self.exp + other.exp + 1, mul_high(self.sig, other.sig))
    }

    pub(super) const fn add(self, other: Self) -> Self {
        if self.sig == 0 {
            return other;
        }
        if other.sig == 0 {
            return self;
        }
        let swap = self.exp < other.exp || (self.exp == other.exp && self.sig < other.sig);
        let (big, small) = if swap { (other, self) } else { (self, other) };
        let distance = (big.exp - small.exp) as u32;
        let aligned = if distance < 128 { small.sig >> distance } else { 0 };
        if big.negative != small.negative {
            return Self::new(big.negative, big.exp, big.sig - aligned);
        }
        let (sum, carry) = big.sig.overflowing_add(aligned);
        if carry {
            Self { negative: big.negative, exp: big.exp + 1, sig: (sum >> 1) | FIXED_ONE }
        } else {
            Self { sig: sum, ..big }
        }
    }

    pub(super) const fn sub(self, other: Self) -> Self {
        self.add(other.negate())
    }

    /// Quotient; the divisor is not zero.
    pub(super) const fn div(self, other: Self) -> Self {
        let negative = self.negative != other.negative;
        let (a, b) = (self.sig, other.sig >> 64);
        if a as u64 == 0 && other.sig as u64 == 0 {
            // Two numbers of the extended format: all 128 bits exact, two digits of 64 bits. Half the dividend keeps
            // the first digit in its place.
            let (first, rest) = ((a >> 1) / b, (a >> 1) % b);
            return Self::new(negative, self.exp - other.exp, (first << 64) | ((rest << 64) / b));
        }
        self.mul(other.reciprocal())
    }

    const fn reciprocal(self) -> Self {
        // 1 / m for m in [1, 2) with 63 bits from one division, then one step of Newton's.
        let first = (u128::MAX / (self.sig >> 64)) << 62;
        let product = mul_high(self.sig, first);
        // The product is 1 in units of 2^-126, a little less or more.
        let one = 1 << 126;
        let sig = if product <= one {
            first + (mul_high(first, one - product) << 2)
        } else {
            first - (mul_high(first, product - one) << 2)
        };
        Self::new(self.negative, -self.exp, sig)
    }

    /// Rounds to the extended format as an inexact result.
    pub(super) fn round_inexact(self, cw: u16) -> (F80, u16) {
        let sign = if self.negative { 0x8000 } else { 0 };
        round_pack_64(sign, self.exp + BIAS, (self.sig >> 64) as u64, self.sig as u64 | 1, cw)
    }

    /// The same number a hair nearer to zero: for results that lie below by less than the significand shows.
    pub(super) const fn just_below(self) -> Self {
        Self::new(self.negative, self.exp, self.sig - 1)
    }
}
