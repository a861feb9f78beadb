//! EFLAGS, and the lazy form of its six arithmetic flags.

use crate::int::Int;

pub(crate) const CF: u32 = 1 << 0;
pub(crate) const PF: u32 = 1 << 2;
pub(crate) const AF: u32 = 1 << 4;
pub(crate) const ZF: u32 = 1 << 6;
pub(crate) const SF: u32 = 1 << 7;
pub(crate) const TF: u32 = 1 << 8;
pub(crate) const IF: u32 = 1 << 9;
pub(crate) const DF: u32 = 1 << 10;
pub(crate) const OF: u32 = 1 << 11;
pub(crate) const IOPL: u32 = 3 << 12;
pub(crate) const NT: u32 = 1 << 14;
pub(crate) const RF: u32 = 1 << 16;
pub(crate) const VM: u32 = 1 << 17;
pub(crate) const AC: u32 = 1 << 18;
pub(crate) const VIF: u32 = 1 << 19;
pub(crate) const VIP: u32 = 1 << 20;
pub(crate) const ID: u32 = 1 << 21;

/// OF SF ZF AF PF CF.
pub(crate) const ARITH: u32 = OF | SF | ZF | AF | PF | CF;
/// Every flag this processor has, bit 1 not among them.
pub(crate) const ALL: u32 = ARITH | TF | IF | DF | IOPL | NT | RF | VM | AC | VIF | VIP | ID;

/// The arithmetic flags, not worked out yet.
///
/// `res` is the sign-extended result: ZF, and SF and PF before correction. `aux` bit 31 is CF, bit 30 the carry into the
/// sign bit (OF is their difference), bit 3 AF, bits 15:8 are exclusive-ored into the byte PF is taken from, and bit 0
/// into SF; both are zero but after an explicit load of the flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct Flags {
    pub(crate) res: u32,
    pub(crate) aux: u32,
}

impl Flags {
    /// After a logic operation: CF = OF = AF = 0.
    #[inline(always)]
    pub(crate) fn logic<T: Int>(res: T) -> Self {
        Self { res: res.s(), aux: 0 }
    }

    /// From a result and the vector of carries out of each bit.
    #[inline(always)]
    pub(crate) fn carries<T: Int>(res: T, carry: u32) -> Self {
        let aux = if T::BITS == 32 {
            carry & 0xC000_0008
        } else {
            (carry << (32 - T::BITS)) & 0xC000_0000 | carry & 8
        };
        Self { res: res.s(), aux }
    }

    #[inline(always)]
    pub(crate) fn cf(self) -> bool {
        (self.aux as i32) < 0
    }

    #[inline(always)]
    pub(crate) fn of(self) -> bool {
        (self.aux ^ (self.aux << 1)) as i32 >> 31 != 0
    }

    #[inline(always)]
    pub(crate) fn af(self) -> bool {
        self.aux & 8 != 0
    }

    #[inline(always)]
    pub(crate) fn zf(self) -> bool {
        self.res == 0
    }

    #[inline(always)]
    pub(crate) fn sf(self) -> bool {
        ((self.res >> 31) ^ self.aux) & 1 != 0
    }

    #[inline(always)]
    pub(crate) fn pf(self) -> bool {
        ((self.res ^ (self.aux >> 8)) as u8).count_ones() & 1 == 0
    }

    /// As bits of EFLAGS.
    #[inline]
    pub(crate) fn bits(self) -> u32 {
        u32::from(self.cf())
            | u32::from(self.pf()) << 2
            | u32::from(self.af()) << 4
            | u32::from(self.zf()) << 6
            | u32::from(self.sf()) << 7
            | u32::from(self.of()) << 11
    }

    /// The flags of an EFLAGS value.
    #[inline]
    pub(crate) fn from_bits(f: u32) -> Self {
        let sf = u32::from(f & SF != 0);
        let cf = f & CF;
        let of = f >> 11 & 1;
        let parity_fix = u32::from(f & PF == 0);
        let res = if f & ZF != 0 { 0 } else { 0x100 };
        Self { res, aux: cf << 31 | (cf ^ of) << 30 | (f & AF) >> 1 | parity_fix << 8 | sf }
    }

    /// The same with other values of CF and OF.
    #[inline(always)]
    pub(crate) fn with_cf_of(self, cf: bool, of: bool) -> Self {
        let (cf, of) = (u32::from(cf), u32::from(of));
        Self { aux: self.aux & 0x3FFF_FFFF | cf << 31 | (cf ^ of) << 30, ..self }
    }

    /// The same with another CF.
    #[inline(always)]
    pub(crate) fn with_cf(self, cf: bool) -> Self {
        self.with_cf_of(cf, self.of())
    }

    /// Condition `cc` of Jcc, SETcc and CMOVcc.
    #[inline(always)]
    pub(crate) fn condition(self, cc: u8) -> bool {
        let v = match cc >> 1 & 7 {
            0 => self.of(),
            1 => self.cf(),
            2 => self.zf(),
            3 => self.cf() | self.zf(),
            4 => self.sf(),
            5 => self.pf(),
            6 => self.sf() != self.of(),
            _ => self.zf() | (self.sf() != self.of()),
        };
        v != (cc & 1 != 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_survives() {
        for n in 0..64u32 {
            let bit = |i: u32, f: u32| if n >> i & 1 != 0 { f } else { 0 };
            let f = bit(0, CF) | bit(1, PF) | bit(2, AF) | bit(3, ZF) | bit(4, SF) | bit(5, OF);
            let lazy = Flags::from_bits(f);
            assert_eq!(lazy.bits(), f);
            assert_eq!(lazy.with_cf(true).bits(), f | CF);
            assert_eq!(lazy.with_cf_of(false, true).bits(), f & !CF | OF);
        }
    }
}
