//! The packed decimal format: 18 digits and a sign in ten bytes.

use super::convert::round_magnitude;
use super::round::rounding;
use super::{F80, IE, SIGN, from_i64};

/// The packed decimal indefinite.
pub const BCD_INDEFINITE: [u8; 10] = [0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF];
/// The largest magnitude that fits 18 digits.
const MAX: u64 = 999_999_999_999_999_999;

/// FBLD: reads packed decimal; exact. Digits above 9 are undefined on the chip and weigh what their bits say here.
pub fn from_bcd(bytes: [u8; 10]) -> F80 {
    let magnitude = bytes[..9].iter().rev().fold(0u64, |sum, &byte| {
        // At most 165 * 101^8 or so: well inside 64 bits.
        sum * 100 + u64::from(byte >> 4) * 10 + u64::from(byte & 15)
    });
    let value = from_i64(magnitude as i64);
    F80::new(value.se | if bytes[9] & 0x80 != 0 { SIGN } else { 0 }, value.sig)
}

/// FBSTP: writes packed decimal by rounding control; the indefinite and [`IE`] when 18 digits do not hold it.
pub fn to_bcd(a: F80, cw: u16) -> ([u8; 10], u16) {
    let Some((mut rest, flags)) = round_magnitude(a, rounding(cw)).filter(|&(magnitude, _)| magnitude <= MAX)
    else {
        return (BCD_INDEFINITE, IE);
    };
    let mut out = [0; 10];
    for byte in &mut out[..9] {
        let pair = (rest % 100) as u8;
        *byte = ((pair / 10) << 4) | (pair % 10);
        rest /= 100;
    }
    out[9] = if a.sign() != 0 { 0x80 } else { 0 };
    (out, flags)
}
