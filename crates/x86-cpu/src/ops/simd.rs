//! MMX and SSE as the core drives them.

use super::{NEXT, Step};
use crate::block::{Op, REP};
use crate::exceptions::vector;
use crate::flags::{self, Flags};
use crate::simd::mmx;
use crate::simd::sse::{Operand, form};
use crate::state::*;

/// What an MMX instruction does first. `Some` is how the handler leaves.
#[inline(always)]
fn begin_mmx(c: &mut Core, p: &mut Pins<'_>) -> Fallible<Option<Step>> {
    if c.cr0 & (CR0_EM | CR0_TS) != 0 {
        return Err(if c.cr0 & CR0_EM != 0 { c.ud() } else { c.nm() });
    }
    if c.fpu.pending() {
        return Ok(Some(c.pending_fpu_error(p)));
    }
    Ok(None)
}

macro_rules! begin_mmx {
    ($c:expr, $p:expr) => {
        if let Some(step) = begin_mmx($c, $p)? {
            return step;
        }
    };
}

impl Core {
    /// The 64-bit source of an MMX instruction.
    fn mmx_source(&mut self, p: &mut Pins<'_>, op: &Op) -> Fallible<u64> {
        if !op.is_memory() {
            return Ok(self.fpu.mmx(op.modrm & 7));
        }
        let at = self.address(op, 8, false)?;
        self.read64(p, at)
    }
}

/// The operations with two MMX operands
pub(crate) fn mmx_operation(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let source = if op.is_memory() && mmx::reads_doubleword(op.opcode) {
        let at = c.address(op, 4, false)?;
        u64::from(c.read::<u32>(p, at)?)
    } else {
        c.mmx_source(p, op)?
    };
    let Some(f) = mmx::operation(op.opcode).or_else(|| mmx::sse_operation(op.opcode)) else {
        return Err(c.ud());
    };
    c.fpu.enter_mmx();
    let v = f(c.fpu.mmx(op.reg), source);
    c.fpu.set_mmx(op.reg, v);
    NEXT
}

/// 0F 71h to 73h: shifts by an immediate
pub(crate) fn mmx_shift(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let Some(f) = mmx::shift_by_immediate(op.opcode, op.reg) else { return Err(c.ud()) };
    begin_mmx!(c, p);
    c.fpu.enter_mmx();
    let v = f(c.fpu.mmx(op.modrm & 7), u64::from(op.imm));
    c.fpu.set_mmx(op.modrm & 7, v);
    NEXT
}

/// MOVD mm, r/m32
pub(crate) fn movd_load(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v: u32 = c.get_rm(p, op)?;
    c.fpu.enter_mmx();
    c.fpu.set_mmx(op.reg, u64::from(v));
    NEXT
}

/// MOVD r/m32, mm
pub(crate) fn movd_store(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v = c.fpu.mmx(op.reg) as u32;
    c.set_rm(p, op, v)?;
    c.fpu.enter_mmx();
    NEXT
}

/// MOVQ mm, mm/m64
pub(crate) fn movq_load(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v = c.mmx_source(p, op)?;
    c.fpu.enter_mmx();
    c.fpu.set_mmx(op.reg, v);
    NEXT
}

/// MOVQ mm/m64, mm; MOVNTQ
pub(crate) fn movq_store(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v = c.fpu.mmx(op.reg);
    if op.is_memory() {
        let at = c.address(op, 8, true)?;
        c.write64(p, at, v)?;
        c.fpu.enter_mmx();
    } else {
        c.fpu.enter_mmx();
        c.fpu.set_mmx(op.modrm & 7, v);
    }
    NEXT
}

/// EMMS
pub(crate) fn emms(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    begin_mmx!(c, p);
    c.fpu.emms();
    NEXT
}

/// PSHUFW mm, mm/m64, imm8
pub(crate) fn pshufw(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v = c.mmx_source(p, op)?;
    c.fpu.enter_mmx();
    c.fpu.set_mmx(op.reg, mmx::pshufw(v, op.imm as u8));
    NEXT
}

/// PINSRW mm, r32/m16, imm8
pub(crate) fn pinsrw(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v: u16 = c.get_rm(p, op)?;
    c.fpu.enter_mmx();
    let v = mmx::pinsrw(c.fpu.mmx(op.reg), v, op.imm as u8);
    c.fpu.set_mmx(op.reg, v);
    NEXT
}

/// PEXTRW r32, mm, imm8
pub(crate) fn pextrw(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v = mmx::pextrw(c.fpu.mmx(op.modrm & 7), op.imm as u8);
    c.fpu.enter_mmx();
    c.set_reg(op.reg, u32::from(v));
    NEXT
}

/// PMOVMSKB r32, mm
pub(crate) fn pmovmskb(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let v = mmx::pmovmskb(c.fpu.mmx(op.modrm & 7));
    c.fpu.enter_mmx();
    c.set_reg(op.reg, u32::from(v));
    NEXT
}

/// MASKMOVQ mm, mm: the bytes with their top bit set in the mask go to DS:EDI.
pub(crate) fn maskmovq(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    begin_mmx!(c, p);
    let (v, mask) = (c.fpu.mmx(op.reg).to_le_bytes(), c.fpu.mmx(op.modrm & 7).to_le_bytes());
    let offset = c.gpr[EDI] & op.address_mask();
    let at = c.linear(usize::from(op.seg), offset, 8, true)?;
    if mask.iter().any(|m| m & 0x80 != 0) {
        c.probe_write(p, at, 8)?;
        for (i, (&b, m)) in v.iter().zip(mask).enumerate() {
            if m & 0x80 != 0 {
                c.write(p, at.wrapping_add(i as u32), b)?;
            }
        }
    }
    c.fpu.enter_mmx();
    NEXT
}

impl Core {
    fn begin_sse(&mut self) -> Fallible<()> {
        if self.cr0 & CR0_EM != 0 || self.cr4 & CR4_OSFXSR == 0 {
            return Err(self.ud());
        }
        if self.cr0 & CR0_TS != 0 { Err(self.nm()) } else { Ok(()) }
    }

    fn simd_exception(&mut self) -> Abort {
        if self.cr4 & CR4_OSXMMEXCPT != 0 { self.raise(vector::XM, None) } else { self.ud() }
    }

    fn sse_address(&mut self, op: &Op, size: u32, aligned: bool, write: bool) -> Fallible<u32> {
        let at = self.address(op, size, write)?;
        if aligned && at & 15 != 0 { Err(self.gp(0)) } else { Ok(at) }
    }
}

/// LDMXCSR
pub(crate) fn ldmxcsr(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.begin_sse()?;
    let v: u32 = c.get_rm(p, op)?;
    if c.sse.set_mxcsr(v).is_err() {
        return Err(c.gp(0));
    }
    NEXT
}

/// STMXCSR
pub(crate) fn stmxcsr(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.begin_sse()?;
    let v = c.sse.mxcsr();
    c.set_rm(p, op, v)?;
    NEXT
}

/// Every SSE instruction that has a [`form`].
pub(crate) fn sse(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let scalar = op.flags & REP != 0;
    let Some(form) = form(op.opcode, scalar, op.is_memory()) else { return Err(c.ud()) };
    c.begin_sse()?;
    let uses_mmx = form.dst == Operand::Mmx || form.src == Operand::Mmx;
    if uses_mmx && c.fpu.pending() {
        return c.pending_fpu_error(p);
    }
    let (rm, reg) = (usize::from(op.modrm & 7), usize::from(op.reg & 7));
    let from = if form.store { reg } else { rm };
    let source = match form.src {
        Operand::Xmm => c.sse.xmm[from],
        Operand::Mmx => u128::from(c.fpu.mmx(rm as u8)),
        Operand::Gpr => u128::from(c.gpr[rm]),
        Operand::Memory(n) => c.sse_load(p, op, n, false)?,
        Operand::MemoryAligned => c.sse_load(p, op, 16, true)?,
        Operand::Flags => 0,
    };
    let to = if form.store { rm } else { reg };
    let old = match form.dst {
        Operand::Xmm => c.sse.xmm[to],
        Operand::Flags => c.sse.xmm[reg],
        _ => 0,
    };
    // A store converts nothing and so cannot raise anything; all the same its bytes go out first.
    let result = match c.sse.execute(op.opcode, scalar, !op.is_memory(), old, source, op.imm as u8) {
        Ok(v) => v,
        Err(_) => return Err(c.simd_exception()),
    };
    if uses_mmx {
        c.fpu.enter_mmx();
    }
    match form.dst {
        Operand::Xmm => c.sse.xmm[to] = result,
        Operand::Mmx => c.fpu.set_mmx(op.reg, result as u64),
        Operand::Gpr => c.gpr[reg] = result as u32,
        Operand::Flags => {
            c.fl = Flags::from_bits(result as u32 & (flags::ZF | flags::PF | flags::CF));
        }
        Operand::Memory(n) => {
            let at = c.sse_address(op, u32::from(n), false, true)?;
            c.write_bytes(p, at, &result.to_le_bytes()[..usize::from(n)])?;
        }
        Operand::MemoryAligned => {
            let at = c.sse_address(op, 16, true, true)?;
            c.write_bytes(p, at, &result.to_le_bytes())?;
        }
    }
    NEXT
}

impl Core {
    fn sse_load(&mut self, p: &mut Pins<'_>, op: &Op, size: u8, aligned: bool) -> Fallible<u128> {
        let at = self.sse_address(op, u32::from(size), aligned, false)?;
        let mut bytes = [0; 16];
        self.read_bytes(p, at, &mut bytes[..usize::from(size)])?;
        Ok(u128::from_le_bytes(bytes))
    }
}
