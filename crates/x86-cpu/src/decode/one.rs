//! One-byte opcodes.

use super::*;
use crate::model;
use crate::ops::{
    alu, bcd, bit, control, data, far, fused, io, muldiv, protection, shift, stack, string, system, x87,
    x87_fast,
};

impl Decoder<'_> {
    /// Ends the block with this handler.
    fn last(&mut self, run: Handler) -> Decoded<Handler> {
        self.end = true;
        Ok(run)
    }

    pub(super) fn one_byte(&mut self, b: u8) -> Decoded<Handler> {
        let wide = b & 1 != 0;
        let size = self.size(wide);
        let run: Handler = match b {
            0x00..=0x3F if b & 7 < 6 => return self.arithmetic(b),
            0x06 | 0x0E | 0x16 | 0x1E => {
                self.op.reg = b >> 3;
                stack::push_sreg
            }
            0x07 | 0x17 | 0x1F => {
                self.op.reg = b >> 3;
                stack::pop_sreg
            }
            0x27 => bcd::daa::<false>,
            0x2F => bcd::daa::<true>,
            0x37 => bcd::aaa::<false>,
            0x3F => bcd::aaa::<true>,
            0x40..=0x47 => {
                self.op.rm = b & 7;
                by_size_form!(self, self.size(true), alu::inc)
            }
            0x48..=0x4F => {
                self.op.rm = b & 7;
                self.first(fused::DEC, self.size(true), Other::Imm);
                by_size_form!(self, self.size(true), alu::dec)
            }
            0x50..=0x57 => {
                self.op.rm = b & 7;
                self.on_flat_stack(Pair::Push);
                self.push_form(
                    stack::push_r::<u16, true>,
                    stack::push_r::<u16, false>,
                    stack::push_r::<u32, true>,
                    stack::push_r::<u32, false>,
                )
            }
            0x58..=0x5F => {
                self.op.rm = b & 7;
                self.on_flat_stack(Pair::Pop);
                self.push_form(
                    stack::pop_r::<u16, true>,
                    stack::pop_r::<u16, false>,
                    stack::pop_r::<u32, true>,
                    stack::pop_r::<u32, false>,
                )
            }
            0x60 => by_size!(self.size(true), stack::pusha),
            0x61 => by_size!(self.size(true), stack::popa),
            0x62 => {
                self.modrm(4)?;
                if self.form == Form::Reg { ops::undefined } else { by_size!(self.size(true), bit::bound) }
            }
            0x63 => {
                self.modrm(2)?;
                protection::arpl
            }
            0x68 => {
                self.imm(self.size(true))?;
                self.push_immediate()
            }
            0x6A => {
                self.imm8s()?;
                self.push_immediate()
            }
            0x69 => {
                self.modrm(4)?;
                self.imm(self.size(true))?;
                by_size_form!(self, self.size(true), muldiv::imul3)
            }
            0x6B => {
                self.modrm(4)?;
                self.imm8s()?;
                by_size_form!(self, self.size(true), muldiv::imul3)
            }
            0x6C | 0x6D => {
                self.end_if_repeated();
                by_size!(size, io::ins)
            }
            0x6E | 0x6F => {
                self.end_if_repeated();
                by_size!(size, io::outs)
            }
            0x70..=0x7F => {
                self.imm8s()?;
                return self.conditional_jump(b & 15);
            }
            0x80..=0x83 => return self.group1(b),
            0x84 | 0x85 => {
                self.modrm(size)?;
                self.first(fused::TEST, size, Other::Reg);
                by_size_form!(self, size, alu::test_r)
            }
            0x86 | 0x87 => {
                self.modrm(size)?;
                self.lockable = self.form != Form::Reg;
                by_size_form!(self, size, data::xchg)
            }
            0x88 | 0x89 => {
                self.modrm(size)?;
                if size == 4 && self.form == Form::Reg {
                    self.pair = Pair::Move { to: self.op.rm, from: self.op.reg };
                }
                by_size_form!(self, size, data::mov_rm_r)
            }
            0x8A | 0x8B => {
                self.modrm(size)?;
                if size == 4 && self.form == Form::Reg {
                    self.pair = Pair::Move { to: self.op.reg, from: self.op.rm };
                }
                by_size_form!(self, size, data::mov_r_rm)
            }
            0x8C => {
                self.modrm(4)?;
                if self.op.reg > 5 { ops::undefined } else { data::mov_rm_sreg }
            }
            0x8E => {
                self.modrm(4)?;
                if self.op.reg > 5 || usize::from(self.op.reg) == CS {
                    ops::undefined
                } else {
                    data::mov_sreg_rm
                }
            }
            0x8D => {
                self.modrm(4)?;
                match self.form {
                    Form::Reg => ops::undefined,
                    _ if self.o32() && self.a32() => data::lea32,
                    _ => by_size!(self.size(true), data::lea),
                }
            }
            0x8F => {
                self.modrm(4)?;
                match (self.op.reg, self.size(true)) {
                    (0, 2) => stack::pop_rm::<u16, false>,
                    (0, _) => stack::pop_rm::<u32, false>,
                    _ => ops::undefined,
                }
            }
            0x90 => control::nop,
            0x91..=0x97 => {
                self.op.rm = b & 7;
                by_size_form!(self, self.size(true), data::xchg)
            }
            0x98 => data::cbw,
            0x99 => data::cwd,
            0x9A => {
                self.far_immediate()?;
                return self.last(far::call_direct);
            }
            0x9B => x87::fwait,
            0x9C => by_size!(self.size(true), stack::pushf),
            0x9D => return self.last(by_size!(self.size(true), stack::popf)),
            0x9E => bcd::sahf,
            0x9F => bcd::lahf,
            0xA0..=0xA3 => return self.moffs(b),
            0xA4 | 0xA5 => {
                self.end_if_repeated();
                by_size!(size, string::movs)
            }
            0xA6 | 0xA7 => {
                self.end_if_repeated();
                by_size!(size, string::cmps)
            }
            0xA8 | 0xA9 => {
                self.imm(size)?;
                self.first(fused::TEST, size, Other::Imm);
                by_size_form!(self, size, alu::test_i)
            }
            0xAA | 0xAB => {
                self.end_if_repeated();
                by_size!(size, string::stos)
            }
            0xAC | 0xAD => {
                self.end_if_repeated();
                by_size!(size, string::lods)
            }
            0xAE | 0xAF => {
                self.end_if_repeated();
                by_size!(size, string::scas)
            }
            0xB0..=0xB7 => {
                self.op.rm = reg_code(b & 7, 1);
                self.imm(1)?;
                data::mov_rm_i::<u8, ops::Reg>
            }
            0xB8..=0xBF => {
                self.op.rm = b & 7;
                let size = self.size(true);
                self.imm(size)?;
                by_size_form!(self, size, data::mov_rm_i)
            }
            0xC0 | 0xC1 | 0xD0..=0xD3 => return self.group2(b),
            0xC2 | 0xCA => {
                self.imm(2)?;
                let run = if b == 0xCA { far::retf } else { self.near_return() };
                return self.last(run);
            }
            0xC3 => {
                let run = self.near_return();
                return self.last(run);
            }
            0xCB => return self.last(far::retf),
            0xC4 | 0xC5 => {
                self.modrm(4)?;
                self.op.rm = if b == 0xC4 { ES } else { DS } as u8;
                if self.form == Form::Reg {
                    ops::undefined
                } else {
                    by_size!(self.size(true), data::load_pointer)
                }
            }
            0xC6 | 0xC7 => {
                self.modrm(size)?;
                self.imm(size)?;
                if self.op.modrm >> 3 & 7 != 0 {
                    ops::undefined
                } else {
                    by_size_form!(self, size, data::mov_rm_i)
                }
            }
            0xC8 => {
                self.imm(2)?;
                self.op.disp = u32::from(self.u8()?);
                by_size!(self.size(true), stack::enter)
            }
            0xC9 => self.push_form(
                stack::leave::<u16, true>,
                stack::leave::<u16, false>,
                stack::leave::<u32, true>,
                stack::leave::<u32, false>,
            ),
            0xCC | 0xCE | 0xF1 => return self.last(far::int),
            0xCD => {
                self.imm(1)?;
                return self.last(far::int);
            }
            0xCF => return self.last(far::iret),
            0xD4 => {
                self.imm(1)?;
                bcd::aam
            }
            0xD5 => {
                self.imm(1)?;
                bcd::aad
            }
            0xD6 => bcd::salc,
            0xD7 => bit::xlat,
            0xD8..=0xDF => {
                self.modrm(4)?;
                self.x87(b)
            }
            0xE0..=0xE3 => {
                self.imm8s()?;
                self.branch = true;
                control::loops
            }
            0xE4 | 0xE5 => {
                self.imm(1)?;
                by_size!(size, io::input)
            }
            0xE6 | 0xE7 => {
                self.imm(1)?;
                by_size!(size, io::output)
            }
            0xE8 => {
                self.rel()?;
                self.branch = true;
                let run = by_flag!(self.flat_control(), control::call_rel, []);
                return self.last(run);
            }
            0xE9 | 0xEB => {
                if b == 0xE9 {
                    self.rel()?
                } else {
                    self.imm8s()?
                }
                self.branch = true;
                let run = by_flag!(self.flat_control(), control::jmp_rel, []);
                return self.last(run);
            }
            0xEA => {
                self.far_immediate()?;
                return self.last(far::jmp_direct);
            }
            0xEC | 0xED => by_size!(size, io::input),
            0xEE | 0xEF => by_size!(size, io::output),
            0xF4 => return self.last(system::hlt),
            0xF5 | 0xF8 | 0xF9 => bcd::carry,
            0xF6 | 0xF7 => return self.group3(size),
            0xFA => system::cli,
            0xFB => system::sti,
            0xFC | 0xFD => bcd::direction,
            0xFE => {
                self.modrm(1)?;
                self.lockable = self.form != Form::Reg;
                match self.op.modrm >> 3 & 7 {
                    0 => by_form!(self, alu::inc, [u8]),
                    1 => by_form!(self, alu::dec, [u8]),
                    _ => ops::undefined,
                }
            }
            0xFF => return self.group5(),
            _ => ops::undefined,
        };
        Ok(run)
    }

    /// D8h to DFh: the frequent ones have handlers of their own.
    fn x87(&self, b: u8) -> Handler {
        macro_rules! arith {
            ($f:ident) => {
                match self.op.reg {
                    0 => x87_fast::$f::<0>,
                    1 => x87_fast::$f::<1>,
                    4 => x87_fast::$f::<4>,
                    5 => x87_fast::$f::<5>,
                    6 => x87_fast::$f::<6>,
                    _ => x87_fast::$f::<7>,
                }
            };
        }
        let memory = self.form != Form::Reg;
        match (b, memory, self.op.reg) {
            (0xD8, true, 0 | 1 | 4..) => match self.op.reg {
                0 => by_form!(self, x87_fast::arith_m32, [], 0),
                1 => by_form!(self, x87_fast::arith_m32, [], 1),
                4 => by_form!(self, x87_fast::arith_m32, [], 4),
                5 => by_form!(self, x87_fast::arith_m32, [], 5),
                6 => by_form!(self, x87_fast::arith_m32, [], 6),
                _ => by_form!(self, x87_fast::arith_m32, [], 7),
            },
            (0xDC, true, 0 | 1 | 4..) => arith!(arith_m64),
            (0xD8, false, 0 | 1 | 4..) => arith!(arith_st),
            (0xDC, false, 0 | 1 | 4..) => arith!(arith_sti),
            (0xDE, false, 0 | 1 | 4..) => arith!(arith_pop),
            (0xD9, true, 0) => by_form!(self, x87_fast::fld_m32, []),
            (0xDD, true, 0) => x87_fast::fld_m64,
            (0xDB, true, 0) => by_form!(self, x87_fast::fild_m32, []),
            (0xD9, true, 2) => by_form!(self, x87_fast::fst_m32, [], false),
            (0xD9, true, 3) => by_form!(self, x87_fast::fst_m32, [], true),
            (0xDD, true, 2) => x87_fast::fst_m64::<false>,
            (0xDD, true, 3) => x87_fast::fst_m64::<true>,
            (0xDB, true, 2) => by_form!(self, x87_fast::fist_m32, [], false),
            (0xDB, true, 3) => by_form!(self, x87_fast::fist_m32, [], true),
            (0xD9, false, 0) => x87_fast::fld_st,
            (0xD9, false, 1) => x87_fast::fxch,
            (0xDD, false, 3) => x87_fast::fstp_st,
            (0xD9, false, 5) if self.op.modrm != 0xEF => x87_fast::fld_constant,
            (0xDB, false, 5 | 6) => self.needs(model::CMOV, x87_fast::fcomi),
            (0xDF, false, 5 | 6) | (0xDA | 0xDB, false, 0..=3) => self.needs(model::CMOV, x87::register_form),
            (_, true, _) => x87::memory,
            _ => x87::register_form,
        }
    }

    /// 00h to 3Fh but the columns 6 and 7.
    fn arithmetic(&mut self, b: u8) -> Decoded<Handler> {
        let n = b >> 3;
        let size = self.size(b & 1 != 0);
        Ok(match b & 7 {
            0 | 1 => {
                self.modrm(size)?;
                self.lockable = self.form != Form::Reg && n != alu::CMP;
                self.first(n, size, Other::Reg);
                by_number!(n, by_size_form!(self, size, alu::rm_r))
            }
            2 | 3 => {
                self.modrm(size)?;
                if n == alu::CMP {
                    self.first(n, size, Other::Load);
                }
                by_number!(n, by_size_form!(self, size, alu::r_rm))
            }
            _ => {
                self.imm(size)?;
                self.first(n, size, Other::Imm);
                by_number!(n, by_size_form!(self, size, alu::rm_i))
            }
        })
    }

    fn group1(&mut self, b: u8) -> Decoded<Handler> {
        let size = self.size(b & 1 != 0);
        self.modrm(size)?;
        let n = self.op.modrm >> 3 & 7;
        if b == 0x81 {
            self.imm(size)?
        } else {
            self.imm8s()?
        }
        self.lockable = self.form != Form::Reg && n != alu::CMP;
        self.first(n, size, Other::Imm);
        Ok(by_number!(n, by_size_form!(self, size, alu::rm_i)))
    }

    fn group2(&mut self, b: u8) -> Decoded<Handler> {
        let size = self.size(b & 1 != 0);
        self.modrm(size)?;
        let n = self.op.modrm >> 3 & 7;
        match b {
            0xC0 | 0xC1 => self.imm(1)?,
            0xD0 | 0xD1 => self.op.imm = 1,
            _ => return Ok(by_number!(n, by_size_form!(self, size, shift::by_cl))),
        }
        Ok(by_number!(n, by_size_form!(self, size, shift::by_i)))
    }

    fn group3(&mut self, size: u8) -> Decoded<Handler> {
        self.modrm(size)?;
        let n = self.op.modrm >> 3 & 7;
        if n < 2 {
            self.imm(size)?;
        }
        self.lockable = self.form != Form::Reg && matches!(n, 2 | 3);
        if n < 2 {
            self.first(fused::TEST, size, Other::Imm);
        }
        Ok(match n {
            0 | 1 => by_size_form!(self, size, alu::test_i),
            2 => by_size_form!(self, size, alu::not),
            3 => by_size_form!(self, size, alu::neg),
            4 => by_size_form!(self, size, muldiv::mul),
            5 => by_size_form!(self, size, muldiv::imul1),
            6 => by_size_form!(self, size, muldiv::div),
            _ => by_size_form!(self, size, muldiv::idiv),
        })
    }

    fn group5(&mut self) -> Decoded<Handler> {
        self.modrm(4)?;
        let size = self.size(true);
        self.lockable = self.form != Form::Reg && self.op.reg < 2;
        let memory = self.form != Form::Reg;
        let run: Handler = match self.op.reg {
            0 => by_size_form!(self, size, alu::inc),
            1 => by_size_form!(self, size, alu::dec),
            2 if self.flat_control() => by_form!(self, control::call_rm, [], true),
            2 => by_form!(self, control::call_rm, [], false),
            3 if memory => far::call_mem,
            4 if self.flat_control() => by_form!(self, control::jmp_rm, [], true),
            4 => by_form!(self, control::jmp_rm, [], false),
            5 if memory => far::jmp_mem,
            6 => self.push_form(
                stack::push_rm::<u16, true>,
                stack::push_rm::<u16, false>,
                stack::push_rm::<u32, true>,
                stack::push_rm::<u32, false>,
            ),
            _ => ops::undefined,
        };
        self.end |= matches!(self.op.reg, 2..=5);
        Ok(run)
    }

    /// One of four by operand size and whether the stack is flat.
    fn push_form(&self, flat16: Handler, any16: Handler, flat32: Handler, any32: Handler) -> Handler {
        match (self.o32(), self.flat_stack()) {
            (false, true) => flat16,
            (false, false) => any16,
            (true, true) => flat32,
            (true, false) => any32,
        }
    }

    fn push_immediate(&self) -> Handler {
        self.push_form(
            stack::push_i::<u16, true>,
            stack::push_i::<u16, false>,
            stack::push_i::<u32, true>,
            stack::push_i::<u32, false>,
        )
    }

    fn near_return(&mut self) -> Handler {
        if self.flat_control() {
            self.pair = Pair::Ret;
        }
        by_flag!(self.flat_control(), control::ret, [])
    }

    /// A repeated string instruction ends its block.
    fn end_if_repeated(&mut self) {
        self.end |= self.op.flags & (REP | REPNE) != 0;
    }

    /// Offset and selector of a direct far transfer: into `imm` and `disp`.
    fn far_immediate(&mut self) -> Decoded<()> {
        self.imm(self.size(true))?;
        self.op.disp = u32::from(self.u16()?);
        Ok(())
    }

    /// A0h to A3h: an address without ModRM.
    fn moffs(&mut self, b: u8) -> Decoded<Handler> {
        let size = self.size(b & 1 != 0);
        self.op.disp = if self.a32() { self.u32()? } else { u32::from(self.u16()?) };
        self.op.modrm = 0;
        self.form = if self.a32() && self.flat(self.op.seg) { Form::Flat } else { Form::Segmented };
        Ok(if b < 0xA2 {
            by_size_form!(self, size, data::mov_r_rm)
        } else {
            by_size_form!(self, size, data::mov_rm_r)
        })
    }

    pub(super) fn conditional_jump(&mut self, cc: u8) -> Decoded<Handler> {
        macro_rules! jumps {
            ($($n:literal)*) => {
                match (cc, self.flat_control()) {
                    $(($n, true) => control::jcc::<$n, true>,
                    ($n, false) => control::jcc::<$n, false>,)*
                    _ => ops::undefined,
                }
            };
        }
        if self.flat_control() {
            self.pair = Pair::Jump(cc);
        }
        self.branch = true;
        Ok(jumps!(0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15))
    }
}
