//! The three operand sizes of integer instructions.

/// An operand of 8, 16 or 32 bits.
pub(crate) trait Int: Copy + Eq + Ord + 'static {
    const BITS: u32;
    const SIZE: u32;
    const MASK: u32;
    /// Zero-extended.
    fn u(self) -> u32;
    /// Sign-extended.
    fn s(self) -> u32;
    /// The low bits.
    fn of(v: u32) -> Self;
}

macro_rules! int {
    ($($t:ty, $s:ty, $bits:literal;)*) => {$(
        impl Int for $t {
            const BITS: u32 = $bits;
            const SIZE: u32 = $bits / 8;
            const MASK: u32 = <$t>::MAX as u32;
            #[inline(always)]
            fn u(self) -> u32 {
                self as u32
            }
            #[inline(always)]
            fn s(self) -> u32 {
                self as $s as i32 as u32
            }
            #[inline(always)]
            fn of(v: u32) -> Self {
                v as $t
            }
        }
    )*};
}

int! {
    u8, i8, 8;
    u16, i16, 16;
    u32, i32, 32;
}
