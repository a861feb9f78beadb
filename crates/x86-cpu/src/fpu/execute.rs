//! Decoding of the register forms, `modrm` C0h to FFh.

use super::{Arith, Fpu, FpuCx, FpuFault, FpuOutcome};

/// Operation of a reg field in D8h-order: destination op source, where ST(0) is the destination.
pub(super) const fn arith_of(reg: u8) -> Option<Arith> {
    match reg & 7 {
        0 => Some(Arith::Add),
        1 => Some(Arith::Mul),
        4 => Some(Arith::Sub),
        5 => Some(Arith::Subr),
        6 => Some(Arith::Div),
        7 => Some(Arith::Divr),
        _ => None,
    }
}

/// The same with ST(i) as the destination: the reversed forms trade places.
const fn arith_to_sti(reg: u8) -> Option<Arith> {
    match reg & 7 {
        4 => Some(Arith::Subr),
        5 => Some(Arith::Sub),
        6 => Some(Arith::Divr),
        7 => Some(Arith::Div),
        other => arith_of(other),
    }
}

/// Whether an opcode with a register operand exists; `modrm` is C0h to FFh.
pub fn register_form_exists(opcode: u8, modrm: u8) -> bool {
    match opcode {
        0xD8 | 0xDC => true,
        0xD9 => matches!(modrm, 0xC0..=0xD0 | 0xD8..=0xE1 | 0xE4 | 0xE5 | 0xE8..=0xEE | 0xF0..=0xFF),
        0xDA => matches!(modrm, 0xC0..=0xDF | 0xE9),
        0xDB => matches!(modrm, 0xC0..=0xE4 | 0xE8..=0xF7),
        0xDD => matches!(modrm, 0xC0..=0xEF),
        0xDE => matches!(modrm, 0xC0..=0xD7 | 0xD9 | 0xE0..=0xFF),
        0xDF => matches!(modrm, 0xC0..=0xE0 | 0xE8..=0xF7),
        _ => false,
    }
}

impl Fpu {
    /// Executes a register form: `opcode` D8h to DFh, `modrm` C0h to FFh.
    ///
    /// # Errors
    ///
    /// [`FpuFault::InvalidOpcode`] for a hole in the map, before anything else; [`FpuFault::PendingException`] when
    /// the instruction waits and an exception is pending.
    pub fn execute_reg(&mut self, opcode: u8, modrm: u8, cx: &mut FpuCx) -> Result<FpuOutcome, FpuFault> {
        if !register_form_exists(opcode, modrm) {
            return Err(FpuFault::InvalidOpcode);
        }
        match (opcode, modrm) {
            (0xDB, 0xE2) => {
                self.fnclex();
                return Ok(FpuOutcome::Done);
            }
            (0xDB, 0xE3) => {
                self.fninit();
                return Ok(FpuOutcome::Done);
            }
            // FNENI, FNDISI, FNSETPM: relics that do nothing.
            (0xDB, 0xE0 | 0xE1 | 0xE4) => return Ok(FpuOutcome::Done),
            (0xDF, 0xE0) => return Ok(FpuOutcome::StoreAx(self.status_word())),
            _ => {}
        }
        self.check_pending()?;
        self.note_instruction(opcode, modrm, cx.cs, cx.eip);
        let (reg, i) = ((modrm >> 3) & 7, modrm & 7);
        match opcode {
            0xD8 => self.execute_d8(reg, i),
            0xD9 => self.execute_d9(modrm, reg, i),
            0xDA | 0xDB => return Ok(self.execute_da_db(opcode, reg, i, cx.eflags)),
            0xDC => self.execute_dc(reg, i),
            0xDD => match reg {
                0 => self.ffree(i),
                1 => self.fxch(i),
                2 => {
                    self.fst_st(i);
                }
                3 => self.fstp_st(i),
                4 => {
                    self.fcom_st(i, true);
                }
                _ => self.fcomp_st(i, true),
            },
            0xDE => match (reg, arith_to_sti(reg)) {
                (3, _) => self.fcompp(false),
                (_, Some(op)) => self.arith_pop(op, i),
                // DE D0: an alias of FCOMP.
                _ => self.fcomp_st(i, false),
            },
            _ => return Ok(self.execute_df(reg, i)),
        }
        Ok(FpuOutcome::Done)
    }

    fn execute_d8(&mut self, reg: u8, i: u8) {
        match (reg, arith_of(reg)) {
            (_, Some(op)) => {
                self.arith(op, 0, i);
            }
            (2, _) => {
                self.fcom_st(i, false);
            }
            _ => self.fcomp_st(i, false),
        }
    }

    fn execute_dc(&mut self, reg: u8, i: u8) {
        match (reg, arith_to_sti(reg)) {
            (_, Some(op)) => {
                self.arith(op, i, 0);
            }
            // DC D0 and DC D8: aliases of FCOM and FCOMP.
            (2, _) => {
                self.fcom_st(i, false);
            }
            _ => self.fcomp_st(i, false),
        }
    }

    fn execute_d9(&mut self, modrm: u8, reg: u8, i: u8) {
        match reg {
            0 => self.fld_st(i),
            1 => self.fxch(i),
            // FNOP.
            2 => {}
            3 => self.fstp1(i),
            5 => self.fld_constant(i),
            _ => match modrm {
                0xE0 => self.fchs(),
                0xE1 => self.fabs(),
                0xE4 => self.ftst(),
                0xE5 => self.fxam(),
                0xF0 => self.f2xm1(),
                0xF1 => self.fyl2x(),
                0xF2 => self.fptan(),
                0xF3 => self.fpatan(),
                0xF4 => self.fxtract(),
                0xF5 => self.fprem(true),
                0xF6 => self.fdecstp(),
                0xF7 => self.fincstp(),
                0xF8 => self.fprem(false),
                0xF9 => self.fyl2xp1(),
                0xFA => self.fsqrt(),
                0xFB => self.fsincos(),
                0xFC => self.frndint(),
                0xFD => self.fscale(),
                0xFE => self.fsin(),
                _ => self.fcos(),
            },
        }
    }

    fn execute_da_db(&mut self, opcode: u8, reg: u8, i: u8, eflags: u32) -> FpuOutcome {
        let (cf, pf, zf) = (eflags & 1 != 0, eflags & 4 != 0, eflags & 0x40 != 0);
        match reg {
            0..=3 => {
                let condition = [cf, zf, cf || zf, pf][usize::from(reg)];
                self.fcmov(i, condition == (opcode == 0xDA));
                FpuOutcome::Done
            }
            5 if opcode == 0xDA => {
                self.fcompp(true);
                FpuOutcome::Done
            }
            // DB E8 FUCOMI, DB F0 FCOMI.
            _ => FpuOutcome::Flags(self.fcomi_st(i, reg == 5).0),
        }
    }

    fn execute_df(&mut self, reg: u8, i: u8) -> FpuOutcome {
        match reg {
            // DF C0: FFREEP.
            0 => {
                self.ffree(i);
                self.pop();
            }
            // DF C8, DF D0, DF D8: aliases.
            1 => self.fxch(i),
            2 | 3 => self.fstp_st(i),
            _ => {
                let (flags, pop) = self.fcomi_st(i, reg == 5);
                if pop {
                    self.pop();
                }
                return FpuOutcome::Flags(flags);
            }
        }
        FpuOutcome::Done
    }
}
