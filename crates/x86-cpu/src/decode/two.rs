//! Two-byte opcodes: 0Fh and another.

use super::*;
use crate::model;
use crate::ops::{alu, bit, control, data, far, msr, muldiv, protection, shift, simd, stack, system, x87};
use crate::simd::mmx;
use crate::simd::sse::form;

impl Decoder<'_> {
    pub(super) fn two_byte(&mut self) -> Decoded<Handler> {
        let b = self.u8()?;
        self.op.opcode = b;
        let wide = b & 1 != 0;
        let full = self.size(true);
        let size = self.size(wide);
        let run: Handler = match b {
            0x00 => {
                self.modrm(4)?;
                if self.op.reg < 6 { protection::group6 } else { ops::undefined }
            }
            0x01 => return self.group7(),
            0x02 => {
                self.modrm(4)?;
                protection::lar
            }
            0x03 => {
                self.modrm(4)?;
                protection::lsl
            }
            0x10..=0x17 | 0x28..=0x2F | 0x50..=0x5F | 0xC6 | 0xC2 => return self.sse(b),
            0x60..=0x6B
            | 0x74..=0x76
            | 0xD1..=0xD3
            | 0xD5
            | 0xD8..=0xDF
            | 0xE0..=0xE5
            | 0xE8..=0xEF
            | 0xF1..=0xF3
            | 0xF5
            | 0xF6
            | 0xF8..=0xFE
            | 0x6E..=0x73
            | 0x77
            | 0x7E
            | 0x7F
            | 0xC4
            | 0xC5
            | 0xD7
            | 0xE7
            | 0xF7 => return self.mmx(b),
            0x06 => system::clts,
            0x08 | 0x09 => system::invd,
            0x0D | 0x18..=0x1F => {
                self.modrm(4)?;
                if b == 0x0D { ops::undefined } else { control::nop }
            }
            0x20 | 0x22 => {
                self.register_only()?;
                self.end |= b == 0x22;
                self.lockable = false;
                if b == 0x20 { system::mov_from_cr } else { system::mov_to_cr }
            }
            0x21 | 0x23 => {
                self.register_only()?;
                self.end |= b == 0x23;
                if b == 0x21 { system::mov_from_dr } else { system::mov_to_dr }
            }
            0x30 => self.needs(model::MSR, msr::wrmsr),
            0x31 => self.needs(model::TSC, system::rdtsc),
            0x32 => self.needs(model::MSR, msr::rdmsr),
            0x33 => self.needs(model::MMX | model::TSC, system::rdpmc),
            0x34 => {
                self.end = true;
                self.needs(model::SEP, far::sysenter)
            }
            0x35 => {
                self.end = true;
                self.needs(model::SEP, far::sysexit)
            }
            0x40..=0x4F => {
                self.modrm(4)?;
                self.needs(model::CMOV, by_size_form!(self, full, bit::cmov))
            }
            0x80..=0x8F => {
                self.rel()?;
                return self.conditional_jump(b & 15);
            }
            0x90..=0x9F => {
                self.modrm(1)?;
                by_form!(self, bit::setcc, [])
            }
            0xA0 | 0xA8 => {
                self.op.reg = if b == 0xA0 { FS } else { GS } as u8;
                stack::push_sreg
            }
            0xA1 | 0xA9 => {
                self.op.reg = if b == 0xA1 { FS } else { GS } as u8;
                stack::pop_sreg
            }
            0xA2 => system::cpuid,
            0xA3 => self.bit_by_register::<{ bit::BT }>()?,
            0xAB => self.bit_by_register::<{ bit::BTS }>()?,
            0xB3 => self.bit_by_register::<{ bit::BTR }>()?,
            0xBB => self.bit_by_register::<{ bit::BTC }>()?,
            0xBA => {
                self.modrm(4)?;
                self.imm(1)?;
                self.lockable = self.form != Form::Reg && self.op.reg > 4;
                match self.op.reg {
                    4 => by_size_form!(self, full, bit::bt_i, bit::BT),
                    5 => by_size_form!(self, full, bit::bt_i, bit::BTS),
                    6 => by_size_form!(self, full, bit::bt_i, bit::BTR),
                    7 => by_size_form!(self, full, bit::bt_i, bit::BTC),
                    _ => ops::undefined,
                }
            }
            0xA4 => {
                self.modrm(4)?;
                self.imm(1)?;
                by_size_form!(self, full, shift::double_i, true)
            }
            0xA5 => {
                self.modrm(4)?;
                by_size_form!(self, full, shift::double_cl, true)
            }
            0xAC => {
                self.modrm(4)?;
                self.imm(1)?;
                by_size_form!(self, full, shift::double_i, false)
            }
            0xAD => {
                self.modrm(4)?;
                by_size_form!(self, full, shift::double_cl, false)
            }
            0xAE => {
                self.modrm(4)?;
                match self.op.reg {
                    0 if self.form != Form::Reg => self.needs(model::FXSR, x87::fxsave),
                    1 if self.form != Form::Reg => self.needs(model::FXSR, x87::fxrstor),
                    2 if self.form != Form::Reg => self.needs(model::SSE, simd::ldmxcsr),
                    3 if self.form != Form::Reg => self.needs(model::SSE, simd::stmxcsr),
                    // SFENCE
                    7 if self.form == Form::Reg => self.needs(model::SSE, control::nop),
                    _ => ops::undefined,
                }
            }
            0xAF => {
                self.modrm(4)?;
                by_size_form!(self, full, muldiv::imul2)
            }
            0xB0 | 0xB1 => {
                self.modrm(size)?;
                self.lockable = self.form != Form::Reg;
                by_size_form!(self, size, alu::cmpxchg)
            }
            0xB2 | 0xB4 | 0xB5 => {
                self.modrm(4)?;
                self.op.rm = match b {
                    0xB2 => SS,
                    0xB4 => FS,
                    _ => GS,
                } as u8;
                if self.form == Form::Reg { ops::undefined } else { by_size!(full, data::load_pointer) }
            }
            0xB6 => {
                self.extend(1)?;
                if full == 2 {
                    by_form!(self, data::movzx, [u16, u8])
                } else {
                    by_form!(self, data::movzx, [u32, u8])
                }
            }
            0xB7 => {
                self.extend(2)?;
                if full == 2 {
                    by_form!(self, data::movzx, [u16, u16])
                } else {
                    by_form!(self, data::movzx, [u32, u16])
                }
            }
            0xBE => {
                self.extend(1)?;
                if full == 2 {
                    by_form!(self, data::movsx, [u16, u8])
                } else {
                    by_form!(self, data::movsx, [u32, u8])
                }
            }
            0xBF => {
                self.extend(2)?;
                if full == 2 {
                    by_form!(self, data::movsx, [u16, u16])
                } else {
                    by_form!(self, data::movsx, [u32, u16])
                }
            }
            0xBC => {
                self.modrm(4)?;
                by_size_form!(self, full, bit::scan, false)
            }
            0xBD => {
                self.modrm(4)?;
                by_size_form!(self, full, bit::scan, true)
            }
            0xC0 | 0xC1 => {
                self.modrm(size)?;
                self.lockable = self.form != Form::Reg;
                by_size_form!(self, size, alu::xadd)
            }
            0xC7 => {
                self.modrm(4)?;
                self.lockable = true;
                if self.op.reg == 1 && self.form != Form::Reg {
                    self.needs(model::CX8, alu::cmpxchg8b)
                } else {
                    ops::undefined
                }
            }
            0xC8..=0xCF => {
                self.op.rm = b & 7;
                bit::bswap
            }
            _ => ops::undefined,
        };
        Ok(run)
    }

    /// MMX, and what SSE added to it.
    fn mmx(&mut self, b: u8) -> Decoded<Handler> {
        let sse = model::MMX | model::SSE;
        if b == 0x77 {
            return Ok(self.needs(model::MMX, simd::emms));
        }
        self.modrm(4)?;
        if matches!(b, 0x70..=0x73 | 0xC4 | 0xC5) {
            self.imm(1)?;
        }
        let register = self.form == Form::Reg;
        Ok(match b {
            0x6E => self.needs(model::MMX, simd::movd_load),
            0x6F => self.needs(model::MMX, simd::movq_load),
            0x7E => self.needs(model::MMX, simd::movd_store),
            0x7F => self.needs(model::MMX, simd::movq_store),
            0x70 => self.needs(sse, simd::pshufw),
            0x71..=0x73 if register => self.needs(model::MMX, simd::mmx_shift),
            0xC4 => self.needs(sse, simd::pinsrw),
            0xC5 if register => self.needs(sse, simd::pextrw),
            0xD7 if register => self.needs(sse, simd::pmovmskb),
            0xE7 if !register => self.needs(sse, simd::movq_store),
            0xF7 if register => self.needs(sse, simd::maskmovq),
            _ if mmx::operation(b).is_some() => self.needs(model::MMX, simd::mmx_operation),
            _ if mmx::sse_operation(b).is_some() => self.needs(sse, simd::mmx_operation),
            _ => ops::undefined,
        })
    }

    fn sse(&mut self, b: u8) -> Decoded<Handler> {
        self.modrm(4)?;
        let scalar = self.op.flags & REP != 0;
        if matches!(b, 0xC2 | 0xC6) {
            self.imm(1)?;
        }
        if self.op.flags & REPNE != 0 || form(b, scalar, self.form != Form::Reg).is_none() {
            return Ok(ops::undefined);
        }
        Ok(self.needs(model::SSE, simd::sse))
    }

    /// MOV CR and DR: ModRM names registers whatever its mod field says.
    fn register_only(&mut self) -> Decoded<()> {
        let m = self.u8()?;
        self.op.modrm = m | 0xC0;
        self.op.reg = m >> 3 & 7;
        self.op.rm = m & 7;
        Ok(())
    }

    /// MOVZX and MOVSX: the source is `size` bytes, the destination a full register.
    fn extend(&mut self, size: u8) -> Decoded<()> {
        self.modrm(size)?;
        self.op.reg = self.op.modrm >> 3 & 7;
        Ok(())
    }

    fn bit_by_register<const OP: u8>(&mut self) -> Decoded<Handler> {
        self.modrm(4)?;
        self.lockable = self.form != Form::Reg && OP != bit::BT;
        let full = self.size(true);
        Ok(match (self.form, full) {
            (Form::Reg, 2) => bit::bt_r::<u16, ops::Reg, OP>,
            (Form::Reg, _) => bit::bt_r::<u32, ops::Reg, OP>,
            (_, 2) => bit::bt_string::<u16, OP>,
            _ => bit::bt_string::<u32, OP>,
        })
    }

    fn group7(&mut self) -> Decoded<Handler> {
        self.modrm(4)?;
        let memory = self.form != Form::Reg;
        let run: Handler = match self.op.reg {
            0..=3 if memory => protection::table_register,
            4 => system::smsw,
            6 => {
                self.end = true;
                system::lmsw
            }
            7 if memory => {
                self.end = true;
                system::invlpg
            }
            _ => ops::undefined,
        };
        Ok(run)
    }
}
