//! A saved x87 state.
#![allow(dead_code, reason = "each test binary uses a part")]

/// The 108-byte FNSAVE image (32-bit protected mode).
#[repr(C, align(16))]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct StateImage(pub(crate) [u8; 108]);

impl StateImage {
    pub(crate) fn word(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.0[at], self.0[at + 1]])
    }

    pub(crate) fn set_word(&mut self, at: usize, value: u16) {
        self.0[at..at + 2].copy_from_slice(&value.to_le_bytes());
    }

    /// Sign and exponent, significand of ST(i).
    pub(crate) fn st(&self, i: usize) -> (u16, u64) {
        let at = 28 + 10 * i;
        let mut sig = [0; 8];
        sig.copy_from_slice(&self.0[at..at + 8]);
        (self.word(at + 8), u64::from_le_bytes(sig))
    }

    pub(crate) fn set_st(&mut self, i: usize, (se, sig): (u16, u64)) {
        let at = 28 + 10 * i;
        self.0[at..at + 8].copy_from_slice(&sig.to_le_bytes());
        self.set_word(at + 8, se);
    }
}
