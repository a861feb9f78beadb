//! Control and debug registers, HLT, interrupt flag, CPUID, time-stamp counter.

use super::{NEXT, Step};
use crate::block::Op;
use crate::flags;
use crate::model;
use crate::state::*;

/// SMSW
pub(crate) fn smsw(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    if !op.is_memory() && op.o32() {
        c.set_reg(op.rm, c.cr0);
    } else {
        c.set_rm(p, op, c.cr0 as u16)?;
    }
    NEXT
}

/// LMSW: sets PE, MP, EM, TS, but cannot clear PE.
pub(crate) fn lmsw(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_cpl0()?;
    let v: u16 = c.get_rm(p, op)?;
    let v = u32::from(v) & 15 | c.cr0 & CR0_PE;
    c.write_cr0(p, c.cr0 & !15 | v)?;
    c.resume(op)
}

/// CLTS
pub(crate) fn clts(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    c.require_cpl0()?;
    c.cr0 &= !CR0_TS;
    NEXT
}

/// INVLPG
pub(crate) fn invlpg(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    c.require_cpl0()?;
    let at = c.seg[usize::from(op.seg)].base.wrapping_add(c.offset(op));
    c.invalidate_page(at);
    c.resume(op)
}

/// INVD, WBINVD
pub(crate) fn invd(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    c.require_cpl0()?;
    NEXT
}

/// MOV r32, CRn
pub(crate) fn mov_from_cr(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    c.require_cpl0()?;
    let v = match op.reg {
        0 => c.cr0,
        2 => c.cr2,
        3 => c.cr3,
        4 => c.cr4,
        _ => return Err(c.ud()),
    };
    c.set_reg(op.rm, v);
    NEXT
}

/// MOV CRn, r32
pub(crate) fn mov_to_cr(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_cpl0()?;
    let v: u32 = c.reg(op.rm);
    match op.reg {
        0 => c.write_cr0(p, v)?,
        2 => c.cr2 = v,
        3 => c.write_cr3(p, v)?,
        4 => c.write_cr4(p, v)?,
        _ => return Err(c.ud()),
    }
    c.resume(op)
}

impl Core {
    fn write_cr0(&mut self, p: &mut Pins<'_>, v: u32) -> Fallible<()> {
        let bad = v & CR0_PG != 0 && v & CR0_PE == 0 || v & CR0_NW != 0 && v & CR0_CD == 0;
        if bad {
            return Err(self.gp(0));
        }
        let v = v & CR0_ALL | CR0_ET;
        let changed = v ^ self.cr0;
        if changed & CR0_PG != 0 && v & CR0_PG != 0 && self.cr4 & CR4_PAE != 0 {
            self.pdpte = self.load_pdptes(p, self.cr3)?;
        }
        self.cr0 = v;
        // Without paging protection changes no translation: going to real mode and back is cheap.
        if changed & CR0_PG != 0 || changed & CR0_WP != 0 && v & CR0_PG != 0 {
            self.flush_tlb(true);
        }
        if changed & CR0_PE != 0 && v & CR0_PE != 0 {
            self.cpl = 0;
        }
        self.update_mode();
        Ok(())
    }

    fn write_cr3(&mut self, p: &mut Pins<'_>, v: u32) -> Fallible<()> {
        if self.cr0 & CR0_PG != 0 && self.cr4 & CR4_PAE != 0 {
            self.pdpte = self.load_pdptes(p, v)?;
        }
        self.cr3 = v;
        self.flush_tlb(false);
        Ok(())
    }

    /// Bits of CR4 that the model has.
    pub(crate) fn cr4_bits(&self) -> u32 {
        let has = |f, bit| if self.model.has(f) { bit } else { 0 };
        has(model::VME, CR4_VME | CR4_PVI)
            | has(model::TSC, CR4_TSD)
            | has(model::DE, CR4_DE)
            | has(model::PSE, CR4_PSE)
            | has(model::PAE, CR4_PAE)
            | has(model::MCE, CR4_MCE)
            | has(model::PGE, CR4_PGE)
            | has(model::MMX | model::CMOV, CR4_PCE)
            | has(model::FXSR, CR4_OSFXSR)
            | has(model::SSE, CR4_OSXMMEXCPT)
    }

    fn write_cr4(&mut self, p: &mut Pins<'_>, v: u32) -> Fallible<()> {
        if v & !self.cr4_bits() != 0 {
            return Err(self.gp(0));
        }
        let changed = v ^ self.cr4;
        if changed & CR4_PAE != 0 && v & CR4_PAE != 0 && self.cr0 & CR0_PG != 0 {
            self.pdpte = self.load_pdptes(p, self.cr3)?;
        }
        self.cr4 = v;
        if changed & (CR4_PAE | CR4_PSE | CR4_PGE) != 0 {
            self.flush_tlb(true);
        }
        Ok(())
    }
}

/// MOV r32, DRn
pub(crate) fn mov_from_dr(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let n = c.debug_register(op)?;
    let v = c.dr[n];
    c.set_reg(op.rm, v);
    NEXT
}

/// MOV DRn, r32
pub(crate) fn mov_to_dr(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    let n = c.debug_register(op)?;
    let v: u32 = c.reg(op.rm);
    c.set_debug_register(n, v);
    c.resume(op)
}

/// HLT
pub(crate) fn hlt(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Step {
    c.require_cpl0()?;
    c.halted = true;
    c.poke();
    c.resume(op)
}

/// CLI
pub(crate) fn cli(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    if c.may_change_if() {
        c.flags &= !flags::IF;
    } else if c.virtual_interrupts() {
        c.flags &= !flags::VIF;
    } else {
        return Err(c.gp(0));
    }
    NEXT
}

/// STI
pub(crate) fn sti(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    if c.may_change_if() {
        if !c.flag(flags::IF) {
            c.flags |= flags::IF;
            c.shadow(false);
        }
    } else if c.virtual_interrupts() && !c.flag(flags::VIP) {
        c.flags |= flags::VIF;
    } else {
        return Err(c.gp(0));
    }
    NEXT
}

impl Core {
    fn may_change_if(&self) -> bool {
        !self.protected() || if self.v86() { self.iopl() == 3 } else { self.cpl <= self.iopl() }
    }

    /// CLI and STI work on VIF: V86 with VME, or CPL 3 with PVI.
    fn virtual_interrupts(&self) -> bool {
        if self.v86() { self.cr4 & CR4_VME != 0 } else { self.cpl == 3 && self.cr4 & CR4_PVI != 0 }
    }
}

/// CPUID
pub(crate) fn cpuid(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let leaf = c.gpr[EAX];
    if leaf == 1 {
        c.msr.ucode_revision = u64::from(c.model.microcode) << 32;
    }
    let [a, b, x, d] = c.model.cpuid(leaf);
    c.gpr[EAX] = a;
    c.gpr[EBX] = b;
    c.gpr[ECX] = x;
    c.gpr[EDX] = d;
    NEXT
}

/// RDTSC
pub(crate) fn rdtsc(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    if c.cr4 & CR4_TSD != 0 && c.cpl != 0 {
        return Err(c.gp(0));
    }
    let t = c.tsc(p);
    c.gpr[EAX] = t as u32;
    c.gpr[EDX] = (t >> 32) as u32;
    NEXT
}

/// RDPMC: counters of an idle monitor.
pub(crate) fn rdpmc(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    if c.cpl != 0 && c.cr4 & CR4_PCE == 0 || c.gpr[ECX] > 1 {
        return Err(c.gp(0));
    }
    let v = c.msr.perf_count[c.gpr[ECX] as usize];
    c.gpr[EAX] = v as u32;
    c.gpr[EDX] = (v >> 32) as u32 & 0xFF;
    NEXT
}

impl Core {
    pub(crate) fn tsc(&mut self, p: &mut Pins<'_>) -> u64 {
        let t = p.bus.tsc(self.now());
        // Time has passed on the board, and with it what is due.
        self.pull(p);
        t.wrapping_add(self.msr.tsc_offset)
    }
}
