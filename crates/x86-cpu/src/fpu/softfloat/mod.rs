//! 80-bit extended arithmetic in safe Rust, bit for bit as the x87 does it.
//!
//! A number is an [`F80`]; every operation takes the x87 control word (`cw`: masks in bits 0-5, precision control in
//! bits 8-9, rounding control in bits 10-11) and returns the result together with the status-word bits it raises:
//! the exceptions in bits 0-5 and C1 (bit 9) when the magnitude was rounded up.
//!
//! What a caller must do with the flags is the x87's rule: if an *unmasked* invalid, denormal or zero-divide exception
//! is among them, the result must not be stored. Unmasked overflow and underflow already changed the result to the
//! scaled one (exponent moved by 24576) that the x87 stores into a register.

mod add;
mod bcd;
mod compare;
mod convert;
mod div;
mod mul;
mod rem;
mod round;

pub use add::{add, sub};
pub use bcd::{BCD_INDEFINITE, from_bcd, to_bcd};
pub use compare::{Ordering, compare};
pub use convert::{
    F32_INDEFINITE, F64_INDEFINITE, from_f32, from_f64, from_i16, from_i32, from_i64, to_f32, to_f64, to_i16,
    to_i32, to_i64,
};
pub use div::{div, sqrt};
pub use mul::mul;
pub use rem::{Quotient, Remainder, rem, rem_ieee};
pub use round::{extract, round_to_int, scale};
pub(crate) use round::{round_pack, round_pack_64};

/// Invalid operation (status word bit 0).
pub const IE: u16 = 0x0001;
/// Denormal operand (status word bit 1).
pub const DE: u16 = 0x0002;
/// Zero divide (status word bit 2).
pub const ZE: u16 = 0x0004;
/// Overflow (status word bit 3).
pub const OE: u16 = 0x0008;
/// Underflow (status word bit 4).
pub const UE: u16 = 0x0010;
/// Precision, the result is inexact (status word bit 5).
pub const PE: u16 = 0x0020;
/// Condition code C1 (status word bit 9): with [`PE`], the magnitude was rounded up.
pub const C1: u16 = 0x0200;

/// The sign bit of [`F80::se`].
pub const SIGN: u16 = 0x8000;
/// The integer bit J of [`F80::sig`].
pub const J: u64 = 1 << 63;
/// The quiet bit of a NaN's significand.
const QUIET: u64 = 1 << 62;
/// The bias of the exponent.
pub const BIAS: i32 = 0x3FFF;
/// Half a unit in the last place, as bits below the significand.
pub(crate) const HALF: u64 = 1 << 63;

/// A number of the double extended format: 64 bits of significand with an explicit integer bit, then sign and exponent.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct F80 {
    /// The significand; bit 63 is the integer bit.
    pub sig: u64,
    /// Sign in bit 15, biased exponent in bits 0-14.
    pub se: u16,
}

impl core::fmt::Debug for F80 {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:04X}:{:016X}", self.se, self.sig)
    }
}

/// What kind of value an [`F80`] holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Class {
    /// Zero of either sign.
    Zero,
    /// Exponent 0 with a significand, pseudo-denormals included.
    Denormal,
    /// A finite number with the integer bit set.
    Normal,
    /// Infinity of either sign.
    Infinity,
    /// A quiet not-a-number.
    QuietNan,
    /// A signalling not-a-number.
    SignalingNan,
    /// A format no x87 since the 387 accepts: pseudo-NaN, pseudo-infinity, unnormal.
    Unsupported,
}

impl F80 {
    /// Plus zero.
    pub const ZERO: Self = Self { sig: 0, se: 0 };
    /// Plus one.
    pub const ONE: Self = Self { sig: J, se: 0x3FFF };
    /// The real indefinite, the answer to masked invalid operations.
    pub const INDEFINITE: Self = Self { sig: 0xC000_0000_0000_0000, se: 0xFFFF };

    /// Builds a number from its fields.
    #[inline]
    pub const fn new(se: u16, sig: u64) -> Self {
        Self { sig, se }
    }

    /// Zero with the given sign bit ([`SIGN`] or 0).
    #[inline]
    pub const fn zero(sign: u16) -> Self {
        Self { sig: 0, se: sign & SIGN }
    }

    /// Infinity with the given sign bit ([`SIGN`] or 0).
    #[inline]
    pub const fn infinity(sign: u16) -> Self {
        Self { sig: J, se: (sign & SIGN) | 0x7FFF }
    }

    /// Reads the ten bytes of the memory format.
    #[inline]
    pub fn from_bytes(bytes: [u8; 10]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j] = bytes;
        Self { sig: u64::from_le_bytes([a, b, c, d, e, f, g, h]), se: u16::from_le_bytes([i, j]) }
    }

    /// The ten bytes of the memory format.
    #[inline]
    pub fn to_bytes(self) -> [u8; 10] {
        let mut out = [0; 10];
        out[..8].copy_from_slice(&self.sig.to_le_bytes());
        out[8..].copy_from_slice(&self.se.to_le_bytes());
        out
    }

    /// The biased exponent.
    #[inline]
    pub const fn exp(self) -> i32 {
        (self.se & 0x7FFF) as i32
    }

    /// The sign bit in place ([`SIGN`] or 0).
    #[inline]
    pub const fn sign(self) -> u16 {
        self.se & SIGN
    }

    /// Whether this is a finite number with its integer bit set: the case every fast path takes.
    #[inline]
    pub const fn is_normal(self) -> bool {
        ((self.se & 0x7FFF).wrapping_sub(1) < 0x7FFE) & (self.sig >= J)
    }

    /// Whether this is a quiet or signalling NaN (not an unsupported format).
    #[inline]
    pub const fn is_nan(self) -> bool {
        self.se & 0x7FFF == 0x7FFF && self.sig > J
    }

    /// Which kind of value this is.
    pub const fn class(self) -> Class {
        match self.se & 0x7FFF {
            0 if self.sig == 0 => Class::Zero,
            0 => Class::Denormal,
            0x7FFF if self.sig == J => Class::Infinity,
            0x7FFF if self.sig < J => Class::Unsupported,
            0x7FFF if self.sig & QUIET != 0 => Class::QuietNan,
            0x7FFF => Class::SignalingNan,
            _ if self.sig >= J => Class::Normal,
            _ => Class::Unsupported,
        }
    }

    /// This NaN with its quiet bit set.
    #[inline]
    pub const fn quieted(self) -> Self {
        Self { sig: self.sig | QUIET, se: self.se }
    }

    /// Exponent and significand of a finite number that is not zero, the integer bit brought to its place.
    pub(crate) const fn normalized(self) -> (i32, u64) {
        let exp = self.exp();
        if exp != 0 {
            return (exp, self.sig);
        }
        let shift = self.sig.leading_zeros();
        (1 - shift as i32, self.sig << shift)
    }
}

/// The answer when an operand is a NaN or an unsupported format; `None` when neither is.
pub(crate) fn nan_operands(a: F80, b: F80) -> Option<(F80, u16)> {
    let (ca, cb) = (a.class(), b.class());
    if ca == Class::Unsupported || cb == Class::Unsupported {
        return Some((F80::INDEFINITE, IE));
    }
    let (a_signals, b_signals) = (ca == Class::SignalingNan, cb == Class::SignalingNan);
    let (a_nan, b_nan) = (a_signals || ca == Class::QuietNan, b_signals || cb == Class::QuietNan);
    let flags = if a_signals || b_signals { IE } else { 0 };
    let chosen = match (a_nan, b_nan) {
        (false, false) => return None,
        (true, false) => a,
        (false, true) => b,
        (true, true) if a_signals && !b_signals => b,
        (true, true) if b_signals && !a_signals => a,
        // Two of a kind: the larger significand wins, then the positive one.
        (true, true) if a.sig != b.sig => {
            if a.sig > b.sig {
                a
            } else {
                b
            }
        }
        (true, true) => {
            if a.se < b.se {
                a
            } else {
                b
            }
        }
    };
    Some((chosen.quieted(), flags))
}

/// The answer when the only operand is a NaN or an unsupported format; `None` when it is neither.
pub(crate) fn nan_operand(a: F80) -> Option<(F80, u16)> {
    match a.class() {
        Class::Unsupported => Some((F80::INDEFINITE, IE)),
        Class::SignalingNan => Some((a.quieted(), IE)),
        Class::QuietNan => Some((a, 0)),
        _ => None,
    }
}

/// The invalid-operation answer.
pub(crate) const INVALID: (F80, u16) = (F80::INDEFINITE, IE);
