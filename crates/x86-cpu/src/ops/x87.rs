//! The x87 unit as the core drives it, and FXSAVE.

use super::{NEXT, Step};
use crate::block::{Flow, Op};
use crate::exceptions::vector;
use crate::flags::{self, Flags};
use crate::fpu::{EnvFormat, FXSAVE_LEN, FpuCx, FpuFault, FpuOutcome, MemAccess, memory_form};
use crate::model;
use crate::state::*;

impl Core {
    /// #NM if EM or TS say that there is no unit, or not this task's.
    #[inline(always)]
    pub(crate) fn require_fpu(&mut self) -> Fallible<()> {
        if self.cr0 & (CR0_EM | CR0_TS) != 0 { Err(self.nm()) } else { Ok(()) }
    }

    pub(crate) fn fpu_cx(&self, op: &Op) -> FpuCx {
        FpuCx {
            cs: self.seg[CS].sel,
            eip: self.this_eip(op),
            ds: self.seg[usize::from(op.seg)].sel,
            offset: if op.is_memory() { self.offset(op) } else { 0 },
            eflags: self.fl.bits(),
            env: EnvFormat { wide: op.o32(), protected: self.by_descriptor() },
        }
    }

    /// Turns a fault of the unit into what the processor does about it. `Ok`: it waits for the interrupt that FERR# is to
    /// cause.
    #[cold]
    fn fpu_fault(&mut self, p: &mut Pins<'_>, fault: FpuFault) -> Step {
        if fault == FpuFault::InvalidOpcode {
            return Err(self.ud());
        }
        self.pending_fpu_error(p)
    }

    /// An unmasked x87 error is pending and a waiting instruction meets it.
    #[cold]
    pub(crate) fn pending_fpu_error(&mut self, p: &mut Pins<'_>) -> Step {
        if self.cr0 & CR0_NE != 0 {
            return Err(self.raise(vector::MF, None));
        }
        if !self.ferr {
            self.ferr = true;
            p.bus.ferr(self.now(), true);
            self.pull(p);
        }
        // The processor freezes at this instruction until an interrupt comes.
        self.halted = true;
        self.poke();
        Ok(Flow::Again)
    }

    /// Lets FERR# go once nothing is pending any more.
    pub(crate) fn update_ferr(&mut self, p: &mut Pins<'_>) {
        if self.ferr && !self.fpu.pending() {
            self.ferr = false;
            p.bus.ferr(self.now(), false);
            self.pull(p);
        }
    }
}

/// D8h to DFh with a register
pub(crate) fn register_form(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_fpu()?;
    let mut cx = c.fpu_cx(op);
    match c.fpu.execute_reg(op.opcode, op.modrm, &mut cx) {
        Ok(FpuOutcome::Done) => {}
        Ok(FpuOutcome::Flags(f)) => c.fl = Flags::from_bits(f & (flags::ZF | flags::PF | flags::CF)),
        Ok(FpuOutcome::StoreAx(v)) => c.set_reg(0, v),
        Err(fault) => return c.fpu_fault(p, fault),
    }
    if c.ferr {
        c.update_ferr(p);
    }
    NEXT
}

/// D8h to DFh with memory
pub(crate) fn memory(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_fpu()?;
    let form = memory_form(op.opcode, op.modrm);
    let cx = c.fpu_cx(op);
    if form.waiting && c.fpu.pending() {
        return c.pending_fpu_error(p);
    }
    let (size, store) = match form.access {
        MemAccess::Load(n) => (usize::from(n), false),
        MemAccess::Store(n) => (usize::from(n), true),
        MemAccess::LoadEnv => (cx.env.env_len(), false),
        MemAccess::StoreEnv => (cx.env.env_len(), true),
        MemAccess::LoadState => (cx.env.state_len(), false),
        MemAccess::StoreState => (cx.env.state_len(), true),
        MemAccess::Undefined => return Err(c.ud()),
    };
    let at = c.address(op, size as u32, store)?;
    let mut bytes = [0; 108];
    let bytes = &mut bytes[..size];
    if store {
        match c.fpu.store(op.opcode, op.modrm, bytes, &cx) {
            Ok(plan) => {
                if plan.write {
                    match <[u8; 4]>::try_from(&*bytes) {
                        Ok(four) => c.write(p, at, u32::from_le_bytes(four))?,
                        Err(_) => c.write_bytes(p, at, bytes)?,
                    }
                }
                c.fpu.commit_store(op.opcode, op.modrm, plan, &cx);
            }
            Err(fault) => return c.fpu_fault(p, fault),
        }
    } else {
        if size == 4 {
            bytes.copy_from_slice(&c.read::<u32>(p, at)?.to_le_bytes());
        } else {
            c.read_bytes(p, at, bytes)?;
        }
        if let Err(fault) = c.fpu.load(op.opcode, op.modrm, bytes, &cx) {
            return c.fpu_fault(p, fault);
        }
    }
    if c.ferr {
        c.update_ferr(p);
    }
    NEXT
}

/// FWAIT
pub(crate) fn fwait(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    if c.cr0 & (CR0_MP | CR0_TS) == CR0_MP | CR0_TS {
        return Err(c.nm());
    }
    if c.fpu.pending() {
        return c.pending_fpu_error(p);
    }
    NEXT
}

/// FXSAVE
pub(crate) fn fxsave(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_fpu()?;
    let at = c.address(op, FXSAVE_LEN as u32, true)?;
    if at & 15 != 0 {
        return Err(c.gp(0));
    }
    // Reserved bytes keep what memory has.
    let mut image = [0; FXSAVE_LEN];
    c.probe_write(p, at, FXSAVE_LEN as u32)?;
    c.read_bytes(p, at, &mut image)?;
    c.fxsave_image(&mut image);
    c.write_bytes(p, at, &image)?;
    NEXT
}

/// FXRSTOR
pub(crate) fn fxrstor(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.require_fpu()?;
    let at = c.address(op, FXSAVE_LEN as u32, false)?;
    if at & 15 != 0 {
        return Err(c.gp(0));
    }
    let mut image = [0; FXSAVE_LEN];
    c.read_bytes(p, at, &mut image)?;
    if !c.fxrstor_image(&image) {
        return Err(c.gp(0));
    }
    c.update_ferr(p);
    NEXT
}

impl Core {
    pub(crate) fn fxsave_image(&self, image: &mut [u8; FXSAVE_LEN]) {
        self.fpu.fxsave(image);
        if self.model.has(model::SSE) {
            self.sse.fxsave(image);
        }
    }

    /// `false`: MXCSR has reserved bits set; nothing has changed.
    pub(crate) fn fxrstor_image(&mut self, image: &[u8; FXSAVE_LEN]) -> bool {
        if self.model.has(model::SSE) && self.sse.fxrstor(image).is_err() {
            return false;
        }
        self.fpu.fxrstor(image);
        true
    }
}
