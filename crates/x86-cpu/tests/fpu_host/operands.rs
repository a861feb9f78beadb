//! Operands that hit the corners: a deterministic generator of numbers, states and control words.
#![allow(dead_code, reason = "each test binary uses a part")]

use super::image::StateImage;

/// SplitMix64.
pub(crate) struct Rng(u64);

impl Rng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5107_0E51_07E5_107E)
    }

    pub(crate) fn u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.u64() % n
    }

    /// A bit pattern with structure: random, few bits, runs of ones, few significant bits.
    pub(crate) fn bits(&mut self) -> u64 {
        let (a, b) = (self.below(64), self.below(64));
        match self.below(8) {
            0 => 1 << a | 1 << b,
            1 => !(1 << a | 1 << b),
            2 => (!0 << a) ^ (1 << b),
            3 => self.u64() << a,
            4 => (self.u64() << a) | (1 << b),
            5 => (!0 >> a) & (!0 << b),
            _ => self.u64(),
        }
    }

    /// A number of the extended format: sign and exponent, significand.
    pub(crate) fn f80(&mut self) -> (u16, u64) {
        let sign = (self.u64() & 1) as u16 * 0x8000;
        let bits = self.bits();
        let normal = bits | 1 << 63;
        let (exp, sig) = match self.below(32) {
            0 => (0, 0),
            1 => (0, bits >> 1),
            2 => (0, normal),
            3 => (0x7FFF, 1 << 63),
            4 => (0x7FFF, normal | 1 << 62),
            5 => (0x7FFF, normal & !(1 << 62)),
            6 => (self.u64() as u16 & 0x7FFF, bits),
            7 => (self.below(80) as u16, normal),
            8 => (0x7FFE - self.below(80) as u16, normal),
            9 => (0x3FFF - 0x3FF + 60 - self.below(120) as u16, normal),
            10 => (0x3FFF + 0x400 + 4 - self.below(8) as u16, normal),
            11 => (0x3FFF - 0x7F + 30 - self.below(60) as u16, normal),
            12 => (0x3FFF + 0x80 + 4 - self.below(8) as u16, normal),
            13 => (self.u64() as u16 & 0x7FFF, normal),
            14 => (0x3FFF, 1 << 63),
            15..=19 => (0x3FFF + 64 - self.below(80) as u16, normal),
            20 => (0x3FFF + 17 - self.below(20) as u16, normal),
            _ => (0x3FFF + 2 - self.below(5) as u16, normal),
        };
        (sign | exp, sig)
    }

    pub(crate) fn f32(&mut self) -> u32 {
        let bits = self.bits() as u32;
        match self.below(8) {
            0 => bits & 0x807F_FFFF,
            1 => bits | 0x7F80_0000,
            2 => (bits & 0x807F_FFFF) | 0x3F80_0000,
            _ => bits,
        }
    }

    pub(crate) fn f64(&mut self) -> u64 {
        let bits = self.bits();
        match self.below(8) {
            0 => bits & 0x800F_FFFF_FFFF_FFFF,
            1 => bits | 0x7FF0_0000_0000_0000,
            2 => (bits & 0x800F_FFFF_FFFF_FFFF) | 0x3FF0_0000_0000_0000,
            _ => bits,
        }
    }

    pub(crate) fn integer(&mut self) -> i64 {
        let shift = self.below(64);
        (self.bits() as i64) >> shift
    }

    /// Packed decimal with digits 0 to 9.
    pub(crate) fn bcd(&mut self) -> [u8; 10] {
        let mut out = [0; 10];
        let digits = self.below(19);
        for n in 0..digits as usize {
            out[n / 2] |= (self.below(10) as u8) << (4 * (n % 2));
        }
        out[9] = (self.u64() & 0x80) as u8;
        out
    }

    /// A control word: mostly all masked, all roundings and precisions.
    pub(crate) fn control(&mut self) -> u16 {
        let word = self.u64() as u16;
        let precision = if word & 0x7000 == 0 {
            word & 0x0300
        } else {
            [0, 0x0200, 0x0300, 0x0300, 0x0100][self.below(5) as usize]
        };
        let masks = if self.below(3) == 0 { self.u64() as u16 & 0x3F } else { 0x3F };
        0x0040 | precision | (word & 0x0C00) | masks
    }

    /// A whole state with nothing pending; ST(0) and ST(1) are full in most.
    pub(crate) fn state(&mut self) -> StateImage {
        let mut image = StateImage([0; 108]);
        let control = self.control();
        let top = self.below(8) as u16;
        let mut status = (self.u64() as u16 & 0x4700) | (top << 11);
        if self.below(4) == 0 {
            status |= self.u64() as u16 & control & 0x3F;
            status |= self.u64() as u16 & 0x40;
        }
        let mut full = self.u64() as u8;
        if self.below(16) != 0 {
            full |= 1u8.rotate_left(u32::from(top)) | 2u8.rotate_left(u32::from(top));
        }
        if self.below(4) != 0 {
            full &= !128u8.rotate_left(u32::from(top));
        }
        for i in 0..8 {
            let value = self.f80();
            image.set_st(i, value);
        }
        let sign = (self.u64() & 1) as u16 * 0x8000;
        match self.below(16) {
            0 | 1 => {
                // Near equal operands: cancellation, ties, equal comparisons.
                let (se, sig) = image.st(0);
                let by = self.below(4);
                image.set_st(1, (se ^ sign, sig.wrapping_add(by)));
            }
            2 | 3 => {
                let (se, _) = image.st(0);
                let bits = self.bits() | 1 << 63;
                let near = self.below(140) as u16;
                image.set_st(1, (sign | (se & 0x7FFF).saturating_sub(near), bits));
            }
            4 => {
                // A power of two and something about 64 bits below it: the borrow moves the point of rounding.
                let exp = 0x3FFF + self.below(100) as u16;
                let (top, bottom) = (self.below(3), self.below(3));
                let low = 1 << 63 | self.below(2) << 62 | bottom;
                image.set_st(0, (exp, 1 << 63 | top));
                image.set_st(1, (sign | (exp - 60 - self.below(10) as u16), low));
            }
            5 | 6 => {
                // A product or quotient just above or below a power of two, where the exponents end or in between.
                let (exp, bits) = (0x3FFF - 100 + self.below(200) as u16, self.bits() | 1 << 63);
                let inverse = (u128::MAX / u128::from(bits)) as u64 | 1 << 63;
                let goal = [0, 0x3FFF, 0x7FFE][self.below(3) as usize] + 1 - self.below(3) as i32;
                let product = goal + 0x3FFF - i32::from(exp);
                let quotient = i32::from(exp) - goal + 0x3FFF;
                let (other, sig) =
                    if sign == 0 { (product, inverse) } else { (quotient, bits.wrapping_add(1)) };
                let near = self.below(3);
                image.set_st(0, (exp, bits));
                image.set_st(
                    1,
                    (sign | other.clamp(0, 0x7FFE) as u16, sig.wrapping_add(near).wrapping_sub(1) | 1 << 63),
                );
            }
            _ => {}
        }
        let tags = (0..8).fold(0u16, |tags, n| tags | if full >> n & 1 == 0 { 3 << (2 * n) } else { 0 });
        image.set_word(0, control);
        image.set_word(2, 0xFFFF);
        image.set_word(4, status);
        image.set_word(6, 0xFFFF);
        image.set_word(8, tags);
        image.set_word(10, 0xFFFF);
        image.set_word(26, 0xFFFF);
        image
    }
}
