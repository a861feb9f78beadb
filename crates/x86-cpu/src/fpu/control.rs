//! Control and status words, and the stack's bookkeeping instructions.

use super::{BUSY, C1, CW_INIT, CW_WRITABLE, ES, EXCEPTIONS, Fpu};

impl Fpu {
    /// FNINIT.
    pub fn fninit(&mut self) {
        self.cw = CW_INIT;
        self.sw = 0;
        self.top = 0;
        self.full = 0;
        self.fop = 0;
        self.fcs = 0;
        self.fds = 0;
        self.fip = 0;
        self.fdp = 0;
    }

    /// FNCLEX: clears the exceptions, SF, ES and B.
    #[inline]
    pub fn fnclex(&mut self) {
        self.sw &= !(EXCEPTIONS | super::SF | ES | BUSY);
    }

    /// FLDCW: an exception that was raised masked becomes pending when its mask goes.
    #[inline]
    pub fn set_control_word(&mut self, cw: u16) {
        self.cw = (cw & CW_WRITABLE) | 0x0040;
        self.update_summary();
    }

    /// Puts a whole status word in place; ES and B follow from the exceptions and their masks.
    pub(super) fn set_status_word(&mut self, sw: u16) {
        self.top = ((sw >> 11) & 7) as u8;
        self.sw = sw & !0x3800;
        self.update_summary();
    }

    /// Derives ES and B from the exceptions and their masks.
    #[inline]
    fn update_summary(&mut self) {
        if self.sw & !self.cw & EXCEPTIONS != 0 {
            self.sw |= ES | BUSY;
        } else {
            self.sw &= !(ES | BUSY);
        }
    }

    /// Masks all exceptions, as FNSTENV does after its image is in memory.
    pub(super) fn mask_all(&mut self) {
        self.cw |= EXCEPTIONS;
        self.sw &= !(ES | BUSY);
    }

    /// FINCSTP.
    #[inline]
    pub fn fincstp(&mut self) {
        self.sw &= !C1;
        self.top = (self.top + 1) & 7;
    }

    /// FDECSTP.
    #[inline]
    pub fn fdecstp(&mut self) {
        self.sw &= !C1;
        self.top = self.top.wrapping_sub(1) & 7;
    }

    /// FFREE ST(i).
    #[inline]
    pub fn ffree(&mut self, i: u8) {
        self.sw &= !C1;
        self.full &= !(1 << self.physical(i));
    }

    /// Pops the stack: ST(0) becomes empty and TOP moves on.
    #[inline]
    pub fn pop(&mut self) {
        self.full &= !(1 << self.top);
        self.top = (self.top + 1) & 7;
    }
}
