//! The registers as MMX sees them: significands by physical number, with the effects on tags, TOP and exponents.

use super::Fpu;

impl Fpu {
    /// What every MMX instruction but EMMS does first, after [`Fpu::check_pending`]: TOP 0, all registers tagged valid.
    #[inline]
    pub fn enter_mmx(&mut self) {
        self.top = 0;
        self.full = 0xFF;
    }

    /// Reads MMX register `n` (modulo 8).
    #[inline]
    pub fn mmx(&self, n: u8) -> u64 {
        self.regs[usize::from(n & 7)].sig
    }

    /// Writes MMX register `n` (modulo 8); sign and exponent become ones.
    #[inline]
    pub fn set_mmx(&mut self, n: u8, value: u64) {
        let reg = &mut self.regs[usize::from(n & 7)];
        reg.sig = value;
        reg.se = 0xFFFF;
    }

    /// EMMS: TOP 0, all registers empty.
    #[inline]
    pub fn emms(&mut self) {
        self.top = 0;
        self.full = 0;
    }
}
