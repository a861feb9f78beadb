//! The instructions as typed operations: what a decoded handler calls.
//!
//! All of them expect that the caller has checked [`Fpu::check_pending`]. Register numbers are stack relative and
//! taken modulo 8. Each one does the complete instruction with its exceptions; an unmasked exception leaves
//! [`Fpu::pending`] set, for the next waiting instruction to report.

use super::softfloat::{self, C1, DE, F80, IE, Quotient, ZE};
use super::{BUSY, C0, C2, C3, ES, EXCEPTIONS, Fpu, SF};

/// The arithmetic operations; destination and source as the instruction names them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Arith {
    /// destination + source
    Add,
    /// destination * source
    Mul,
    /// destination - source
    Sub,
    /// source - destination
    Subr,
    /// destination / source
    Div,
    /// source / destination
    Divr,
}

impl Arith {
    #[inline(always)]
    fn apply(self, dst: F80, src: F80, cw: u16) -> (F80, u16) {
        match self {
            Self::Add => softfloat::add(dst, src, cw),
            Self::Mul => softfloat::mul(dst, src, cw),
            Self::Sub => softfloat::sub(dst, src, cw),
            Self::Subr => softfloat::sub(src, dst, cw),
            Self::Div => softfloat::div(dst, src, cw),
            Self::Divr => softfloat::div(src, dst, cw),
        }
    }
}

impl Fpu {
    // -- raising exceptions -----------------------------------------------------------------------------------------

    /// Takes over the flags of an operation (C1 replaced). Answers whether the result may be stored.
    #[inline(always)]
    pub(super) fn raise(&mut self, flags: u16) -> bool {
        self.sw = (self.sw & !C1) | flags;
        if flags & !self.cw & EXCEPTIONS == 0 {
            return true;
        }
        self.raise_unmasked(flags)
    }

    #[cold]
    fn raise_unmasked(&mut self, flags: u16) -> bool {
        self.sw |= ES | BUSY;
        flags & !self.cw & (IE | DE | ZE) == 0
    }

    /// Stack underflow: an operand is empty. Answers whether the masked response applies.
    #[cold]
    pub(super) fn underflow(&mut self) -> bool {
        self.raise(IE | SF)
    }

    /// Stack overflow: the register to be pushed into is not empty.
    #[cold]
    fn overflow(&mut self) -> bool {
        self.raise(IE | SF | C1)
    }

    // -- the stack --------------------------------------------------------------------------------------------------

    #[inline(always)]
    pub(super) fn write(&mut self, i: u8, value: F80) {
        let at = self.physical(i);
        self.regs[at] = value;
        self.full |= 1 << at;
    }

    /// Pushes `value`, the result of a load that raised `flags`.
    #[inline(always)]
    pub(super) fn push(&mut self, value: F80, flags: u16) {
        let at = self.top.wrapping_sub(1) & 7;
        if self.full & (1 << at) != 0 {
            if self.overflow() {
                self.top = at;
                self.regs[usize::from(at)] = F80::INDEFINITE;
            }
            return;
        }
        // A denormal is loaded even when its exception is unmasked.
        if self.raise(flags) || flags & DE != 0 {
            self.top = at;
            self.full |= 1 << at;
            self.regs[usize::from(at)] = value;
        }
    }

    /// Whether ST(0) and ST(i) both hold a value.
    #[inline(always)]
    fn both_full(&self, i: u8) -> bool {
        let need = (1u8 << self.top) | (1 << self.physical(i));
        self.full & need == need
    }

    // -- arithmetic -------------------------------------------------------------------------------------------------

    /// ST(dst) = ST(dst) op ST(src), where one of the two is ST(0). Answers whether a pop may follow.
    #[inline(always)]
    pub fn arith(&mut self, op: Arith, dst: u8, src: u8) -> bool {
        let (d, s) = (self.physical(dst), self.physical(src));
        let need = (1u8 << d) | (1 << s);
        if self.full & need != need {
            return self.underflow_into(dst);
        }
        let (value, flags) = op.apply(self.regs[d], self.regs[s], self.cw);
        let store = self.raise(flags);
        if store {
            self.regs[d] = value;
        }
        store
    }

    /// ST(dst) = ST(dst) op ST(0), then pop.
    #[inline(always)]
    pub fn arith_pop(&mut self, op: Arith, dst: u8) {
        if self.arith(op, dst, 0) {
            self.pop();
        }
    }

    /// ST(0) = ST(0) op `operand`; `flags` is what the operand's conversion raised ([`DE`] or 0).
    #[inline(always)]
    pub fn arith_operand(&mut self, op: Arith, operand: F80, flags: u16) {
        if self.is_empty(0) {
            self.underflow_into(0);
            return;
        }
        let at = usize::from(self.top);
        let dst = self.regs[at];
        let (value, raised) = op.apply(dst, operand, self.cw);
        let raised = if flags == 0 { raised } else { self.with_denormal_operand(dst, raised) };
        if self.raise(raised) {
            self.regs[at] = value;
        }
    }

    /// Adds the denormal exception of a narrow memory operand to what the operation raised.
    #[cold]
    fn with_denormal_operand(&self, other: F80, raised: u16) -> u16 {
        if raised & (IE | ZE) != 0 || other.is_nan() {
            raised
        } else if self.cw & DE == 0 {
            DE
        } else {
            raised | DE
        }
    }

    #[cold]
    fn underflow_into(&mut self, dst: u8) -> bool {
        let masked = self.underflow();
        if masked {
            self.write(dst, F80::INDEFINITE);
        }
        masked
    }

    /// FADD ST(dst), ST(src).
    #[inline]
    pub fn fadd_st(&mut self, dst: u8, src: u8) {
        self.arith(Arith::Add, dst, src);
    }

    /// FMUL ST(dst), ST(src).
    #[inline]
    pub fn fmul_st(&mut self, dst: u8, src: u8) {
        self.arith(Arith::Mul, dst, src);
    }

    /// ST(dst) = ST(dst) - ST(src).
    #[inline]
    pub fn fsub_st(&mut self, dst: u8, src: u8) {
        self.arith(Arith::Sub, dst, src);
    }

    /// ST(dst) = ST(src) - ST(dst).
    #[inline]
    pub fn fsubr_st(&mut self, dst: u8, src: u8) {
        self.arith(Arith::Subr, dst, src);
    }

    /// ST(dst) = ST(dst) / ST(src).
    #[inline]
    pub fn fdiv_st(&mut self, dst: u8, src: u8) {
        self.arith(Arith::Div, dst, src);
    }

    /// ST(dst) = ST(src) / ST(dst).
    #[inline]
    pub fn fdivr_st(&mut self, dst: u8, src: u8) {
        self.arith(Arith::Divr, dst, src);
    }

    /// ST(0) = ST(0) op single-precision operand.
    #[inline]
    pub fn arith_f32(&mut self, op: Arith, bits: u32) {
        let (operand, flags) = softfloat::from_f32(bits);
        self.arith_operand(op, operand, flags);
    }

    /// ST(0) = ST(0) op double-precision operand.
    #[inline]
    pub fn arith_f64(&mut self, op: Arith, bits: u64) {
        let (operand, flags) = softfloat::from_f64(bits);
        self.arith_operand(op, operand, flags);
    }

    /// ST(0) = ST(0) op integer operand (FIADD and kin).
    #[inline]
    pub fn arith_int(&mut self, op: Arith, value: i32) {
        self.arith_operand(op, softfloat::from_i32(value), 0);
    }

    /// Applies a function of ST(0) in place.
    #[inline]
    pub(super) fn unary(&mut self, function: impl FnOnce(F80, u16) -> (F80, u16)) {
        if self.is_empty(0) {
            self.underflow_into(0);
            return;
        }
        let at = usize::from(self.top);
        let (value, flags) = function(self.regs[at], self.cw);
        if self.raise(flags) {
            self.regs[at] = value;
        }
    }

    /// FSQRT.
    pub fn fsqrt(&mut self) {
        self.unary(softfloat::sqrt);
    }

    /// FRNDINT.
    pub fn frndint(&mut self) {
        self.unary(softfloat::round_to_int);
    }

    /// FABS.
    #[inline]
    pub fn fabs(&mut self) {
        self.unary(|a, _| (F80::new(a.se & 0x7FFF, a.sig), 0));
    }

    /// FCHS.
    #[inline]
    pub fn fchs(&mut self) {
        self.unary(|a, _| (F80::new(a.se ^ softfloat::SIGN, a.sig), 0));
    }

    /// FSCALE.
    pub fn fscale(&mut self) {
        if !self.both_full(1) {
            self.underflow_into(0);
            return;
        }
        let (value, flags) = softfloat::scale(self.st(0), self.st(1), self.cw);
        if self.raise(flags) {
            self.write(0, value);
        }
    }

    /// FPREM, or FPREM1 with `nearest`.
    pub fn fprem(&mut self, nearest: bool) {
        // C0 and C3 change only when there is a quotient.
        self.sw &= !C2;
        if !self.both_full(1) {
            self.underflow_into(0);
            return;
        }
        let (a, b) = (self.st(0), self.st(1));
        let r = if nearest { softfloat::rem_ieee(a, b, self.cw) } else { softfloat::rem(a, b, self.cw) };
        if self.raise(r.flags) {
            self.write(0, r.value);
            match r.quotient {
                Quotient::Bits(q) => {
                    let bit = |n: u8, c: u16| if q & n != 0 { c } else { 0 };
                    self.set_condition(bit(4, C0) | bit(2, C3));
                    self.sw |= bit(1, C1);
                }
                Quotient::Partial => self.set_condition(C2),
                Quotient::None => {}
            }
        }
    }

    /// FXTRACT.
    pub fn fxtract(&mut self) {
        if !self.room_for_second_result() {
            return;
        }
        let (exponent, significand, flags) = softfloat::extract(self.st(0), self.cw);
        if self.raise(flags) {
            self.write(0, exponent);
            self.fdecstp_keep();
            self.write(0, significand);
        }
    }

    /// For instructions that replace ST(0) and push: whether ST(0) is full and ST(7) empty. If not, the stack fault
    /// is dealt with.
    pub(super) fn room_for_second_result(&mut self) -> bool {
        let masked = if self.is_empty(0) {
            self.underflow()
        } else if !self.is_empty(7) {
            self.overflow()
        } else {
            return true;
        };
        if masked {
            self.write(0, F80::INDEFINITE);
            self.fdecstp_keep();
            self.write(0, F80::INDEFINITE);
        }
        false
    }

    /// Moves TOP down without touching C1.
    #[inline]
    pub(super) fn fdecstp_keep(&mut self) {
        self.top = self.top.wrapping_sub(1) & 7;
    }

    // -- comparisons ------------------------------------------------------------------------------------------------

    #[inline(always)]
    fn set_condition(&mut self, condition: u16) {
        self.sw = (self.sw & !(C0 | C2 | C3)) | condition;
    }

    /// Compares ST(0) with a number whose conversion raised `flags`. Answers whether a pop may follow.
    #[inline(always)]
    pub fn compare_operand(&mut self, operand: F80, flags: u16, quiet: bool) -> bool {
        if self.is_empty(0) {
            self.set_condition(C0 | C2 | C3);
            return self.underflow();
        }
        let st0 = self.regs[usize::from(self.top)];
        let (order, raised) = softfloat::compare(st0, operand, quiet);
        let raised = if flags == 0 { raised } else { self.with_denormal_operand(st0, raised) };
        self.set_condition(order.condition());
        self.raise(raised)
    }

    /// FCOM ST(i), or FUCOM with `quiet`. Answers whether a pop may follow.
    #[inline(always)]
    pub fn fcom_st(&mut self, i: u8, quiet: bool) -> bool {
        if !self.both_full(i) {
            self.set_condition(C0 | C2 | C3);
            return self.underflow();
        }
        self.compare_operand(self.st(i), 0, quiet)
    }

    /// FCOMP ST(i), or FUCOMP with `quiet`.
    #[inline]
    pub fn fcomp_st(&mut self, i: u8, quiet: bool) {
        if self.fcom_st(i, quiet) {
            self.pop();
        }
    }

    /// FCOMPP, or FUCOMPP with `quiet`.
    #[inline]
    pub fn fcompp(&mut self, quiet: bool) {
        if self.fcom_st(1, quiet) {
            self.pop();
            self.pop();
        }
    }

    /// FCOMI ST(i), or FUCOMI with `quiet`: ZF, PF and CF, and whether a pop may follow.
    #[inline]
    pub fn fcomi_st(&mut self, i: u8, quiet: bool) -> (u32, bool) {
        if !self.both_full(i) {
            return (softfloat::Ordering::Unordered.eflags(), self.underflow());
        }
        let (order, flags) = softfloat::compare(self.st(0), self.st(i), quiet);
        (order.eflags(), self.raise(flags))
    }

    /// FCOM or FCOMP with a single-precision operand.
    #[inline]
    pub fn fcom_f32(&mut self, bits: u32, pop: bool) {
        let (operand, flags) = softfloat::from_f32(bits);
        if self.compare_operand(operand, flags, false) && pop {
            self.pop();
        }
    }

    /// FCOM or FCOMP with a double-precision operand.
    #[inline]
    pub fn fcom_f64(&mut self, bits: u64, pop: bool) {
        let (operand, flags) = softfloat::from_f64(bits);
        if self.compare_operand(operand, flags, false) && pop {
            self.pop();
        }
    }

    /// FICOM or FICOMP.
    #[inline]
    pub fn ficom(&mut self, value: i32, pop: bool) {
        if self.compare_operand(softfloat::from_i32(value), 0, false) && pop {
            self.pop();
        }
    }

    /// FTST.
    pub fn ftst(&mut self) {
        self.compare_operand(F80::ZERO, 0, false);
    }

    /// FXAM: C1 is the sign, C3, C2 and C0 the class.
    pub fn fxam(&mut self) {
        use softfloat::Class;
        let value = self.st(0);
        let class = if self.is_empty(0) {
            C3 | C0
        } else {
            match value.class() {
                Class::Unsupported => 0,
                Class::QuietNan | Class::SignalingNan => C0,
                Class::Normal => C2,
                Class::Infinity => C2 | C0,
                Class::Zero => C3,
                Class::Denormal => C3 | C2,
            }
        };
        self.set_condition(class);
        self.sw = (self.sw & !C1) | if value.sign() != 0 { C1 } else { 0 };
    }

    // -- moves ------------------------------------------------------------------------------------------------------

    /// FLD single precision.
    #[inline]
    pub fn fld_f32(&mut self, bits: u32) {
        let (value, flags) = softfloat::from_f32(bits);
        self.load_converted(value, flags);
    }

    /// FLD double precision.
    #[inline]
    pub fn fld_f64(&mut self, bits: u64) {
        let (value, flags) = softfloat::from_f64(bits);
        self.load_converted(value, flags);
    }

    #[inline(always)]
    fn load_converted(&mut self, value: F80, flags: u16) {
        if value.se & 0x7FFF == 0x7FFF && value.class() == softfloat::Class::SignalingNan {
            self.push(value.quieted(), IE);
        } else {
            self.push(value, flags);
        }
    }

    /// FLD extended precision, FILD, FBLD and the constants: nothing but a stack overflow can happen.
    #[inline]
    pub fn fld_f80(&mut self, value: F80) {
        self.push(value, 0);
    }

    /// FILD.
    #[inline]
    pub fn fild(&mut self, value: i64) {
        self.push(softfloat::from_i64(value), 0);
    }

    /// FLD ST(i).
    #[inline]
    pub fn fld_st(&mut self, i: u8) {
        if self.is_empty(i) {
            // Masked: the indefinite is pushed; overflow of the same push does not come on top.
            if self.underflow() {
                self.fdecstp_keep();
                self.write(0, F80::INDEFINITE);
            }
            return;
        }
        self.push(self.st(i), 0);
    }

    /// FST ST(i). Answers whether a pop may follow.
    #[inline]
    pub fn fst_st(&mut self, i: u8) -> bool {
        if self.is_empty(0) {
            return self.underflow_into(i);
        }
        self.sw &= !C1;
        self.write(i, self.st(0));
        true
    }

    /// FSTP ST(i).
    #[inline]
    pub fn fstp_st(&mut self, i: u8) {
        if self.fst_st(i) {
            self.pop();
        }
    }

    /// D9 D8, the alias of FSTP ST(i) that knows no stack underflow: with ST(0) empty it only moves TOP.
    #[inline]
    pub fn fstp1(&mut self, i: u8) {
        if self.is_empty(0) {
            self.fincstp();
        } else {
            self.fstp_st(i);
        }
    }

    /// FXCH ST(i).
    #[inline]
    pub fn fxch(&mut self, i: u8) {
        let other = self.physical(i);
        if !self.both_full(i) {
            if !self.underflow() {
                return;
            }
            for at in [usize::from(self.top), other] {
                if self.full & (1 << at) == 0 {
                    self.regs[at] = F80::INDEFINITE;
                    self.full |= 1 << at;
                }
            }
        } else {
            self.sw &= !C1;
        }
        self.regs.swap(usize::from(self.top), other);
    }

    /// FCMOVcc ST(0), ST(i) with the condition already evaluated.
    #[inline]
    pub fn fcmov(&mut self, i: u8, condition: bool) {
        if !self.both_full(i) {
            self.underflow_into(0);
            return;
        }
        if condition {
            self.regs[usize::from(self.top)] = self.st(i);
        }
    }

    /// FLD1, FLDL2T, FLDL2E, FLDPI, FLDLG2, FLDLN2, FLDZ by the low three bits of their opcode (7 does nothing).
    pub fn fld_constant(&mut self, number: u8) {
        let rc = (self.cw >> 10) & 3;
        // Each constant is stored chopped; `up` says whether rounding to nearest adds one.
        let (se, sig, up) = match number & 7 {
            0 => (0x3FFF, 0x8000_0000_0000_0000, None),
            1 => (0x4000, 0xD49A_784B_CD1B_8AFE, Some(false)),
            2 => (0x3FFF, 0xB8AA_3B29_5C17_F0BB, Some(true)),
            3 => (0x4000, 0xC90F_DAA2_2168_C234, Some(true)),
            4 => (0x3FFD, 0x9A20_9A84_FBCF_F798, Some(true)),
            5 => (0x3FFE, 0xB172_17F7_D1CF_79AB, Some(true)),
            6 => (0, 0, None),
            _ => return,
        };
        let add = match (rc, up) {
            (_, None) | (1 | 3, _) => 0,
            (0, Some(nearest)) => u64::from(nearest),
            _ => 1,
        };
        self.push(F80::new(se, sig + add), 0);
    }
}
