//! Raising exceptions, and delivering them and interrupts.

use crate::fast_mem::{PART_ALIGNED, PART_SYSTEM, PART_USER};
use crate::flags::{self, IF, NT, RF, TF, VM};
use crate::segmentation::{Descriptor, Seg, code_of, is_null};
use crate::state::*;

/// Vectors.
pub(crate) mod vector {
    pub(crate) const DE: u8 = 0;
    pub(crate) const DB: u8 = 1;
    pub(crate) const NMI: u8 = 2;
    pub(crate) const BP: u8 = 3;
    pub(crate) const OF: u8 = 4;
    pub(crate) const BR: u8 = 5;
    pub(crate) const UD: u8 = 6;
    pub(crate) const NM: u8 = 7;
    pub(crate) const DF: u8 = 8;
    pub(crate) const TS: u8 = 10;
    pub(crate) const NP: u8 = 11;
    pub(crate) const SS: u8 = 12;
    pub(crate) const GP: u8 = 13;
    pub(crate) const PF: u8 = 14;
    pub(crate) const MF: u8 = 16;
    pub(crate) const AC: u8 = 17;
    pub(crate) const XM: u8 = 19;
}

/// Where an interrupt comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// INT n, INT3, INTO: the gate's DPL counts, and error codes have no EXT bit.
    Software,
    /// INTR or NMI, a trap, ICEBP.
    External,
    /// A fault: RF is set in the pushed flags.
    Fault,
}

/// A stack being pushed to before its registers are committed.
pub(crate) struct StackFrame {
    pub(crate) seg: Seg,
    pub(crate) sp: u32,
    part: usize,
    /// Error code of #SS.
    code: u32,
}

impl StackFrame {
    /// On the current stack.
    pub(crate) fn current(core: &Core) -> Self {
        Self { seg: core.seg[SS], sp: core.gpr[ESP], part: core.part, code: 0 }
    }

    /// On the stack of another privilege level.
    pub(crate) fn inner(seg: Seg, sp: u32, cpl: u8) -> Self {
        let part = if cpl == 3 { PART_USER } else { PART_SYSTEM };
        Self { seg, sp, part, code: code_of(seg.sel) }
    }

    pub(crate) fn push(&mut self, core: &mut Core, pins: &mut Pins<'_>, wide: bool, v: u32) -> Fallible<()> {
        let size = if wide { 4 } else { 2 };
        let mut sp = self.sp.wrapping_sub(size);
        let mut offset = sp;
        if !self.seg.big() {
            offset &= 0xFFFF;
            sp = self.sp & 0xFFFF_0000 | offset;
        }
        if !self.seg.allows(offset, size, true) {
            return Err(core.ss(self.code));
        }
        core.write_in(pins, self.part, self.seg.base.wrapping_add(offset), size, v)?;
        self.sp = sp;
        Ok(())
    }

    /// Makes it the stack.
    pub(crate) fn commit(&self, core: &mut Core) {
        core.seg[SS] = self.seg;
        core.gpr[ESP] = self.sp;
    }
}

impl Core {
    /// Notes an exception and gives the token that leads to its delivery.
    #[cold]
    pub(crate) fn raise(&mut self, vector: u8, error: Option<u32>) -> Abort {
        self.fault = Exception { vector, error };
        Abort
    }

    pub(crate) fn gp(&mut self, code: u32) -> Abort {
        self.raise(vector::GP, Some(code))
    }

    pub(crate) fn ss(&mut self, code: u32) -> Abort {
        self.raise(vector::SS, Some(code))
    }

    pub(crate) fn np(&mut self, code: u32) -> Abort {
        self.raise(vector::NP, Some(code))
    }

    pub(crate) fn ts(&mut self, code: u32) -> Abort {
        self.raise(vector::TS, Some(code))
    }

    pub(crate) fn ud(&mut self) -> Abort {
        self.raise(vector::UD, None)
    }

    pub(crate) fn nm(&mut self) -> Abort {
        self.raise(vector::NM, None)
    }

    /// A write from a part of the TLB that need not be the current one.
    pub(crate) fn write_in(
        &mut self,
        pins: &mut Pins<'_>,
        part: usize,
        linear: u32,
        size: u32,
        v: u32,
    ) -> Fallible<()> {
        let saved = self.part;
        self.part = if part == PART_ALIGNED { PART_USER } else { part };
        let r = match size {
            1 => self.write(pins, linear, v as u8),
            2 => self.write(pins, linear, v as u16),
            _ => self.write(pins, linear, v),
        };
        self.part = saved;
        r
    }

    /// Delivers the noted exception, and what that raises, down to a double fault and shutdown.
    pub(crate) fn deliver_fault(&mut self, pins: &mut Pins<'_>) {
        let mut now = self.fault;
        let breakpoint = self.hits_at_fault(now.vector);
        loop {
            // EIP is where it belongs, also if that is in another task.
            self.eip_exact = false;
            if now.vector == vector::DB {
                self.dr[7] &= !(1 << 13);
            }
            // An instruction breakpoint is the one fault that pushes RF as it is (SDM vol. 3, 17.3.1.1).
            let without_rf = now.vector == vector::DF || breakpoint && now.vector == vector::DB;
            let source = if without_rf { Source::External } else { Source::Fault };
            // So it does not matter whether a repeated instruction has just been resumed.
            self.set_flag(RF, !without_rf);
            if self.interrupt(pins, now.vector, source, now.error, self.eip).is_ok() {
                return;
            }
            if now.vector == vector::DF {
                self.flags &= !RF;
                self.shutdown = true;
                return;
            }
            let next = self.fault;
            let double = match class(now.vector) {
                Class::Benign => false,
                Class::Contributory => class(next.vector) == Class::Contributory,
                Class::PageFault => class(next.vector) != Class::Benign,
            };
            now = if double { Exception { vector: vector::DF, error: Some(0) } } else { next };
        }
    }

    /// Delivers an external interrupt or a trap; what that raises is delivered in its place.
    pub(crate) fn deliver_external(&mut self, pins: &mut Pins<'_>, vector: u8) {
        if self.interrupt(pins, vector, Source::External, None, self.eip).is_err() {
            self.deliver_fault(pins);
        }
    }

    /// Enters the handler of `vector`; `eip` is pushed as the return address. On a fault nothing but memory below
    /// the stack pointer has changed.
    pub(crate) fn interrupt(
        &mut self,
        pins: &mut Pins<'_>,
        vector: u8,
        source: Source,
        error: Option<u32>,
        eip: u32,
    ) -> Fallible<()> {
        // Between iterations RF is 1 in what is pushed or saved (SDM vol. 3, 17.3.1.1).
        if self.amid_repeat() && source == Source::External {
            self.flags |= RF;
        }
        self.repeat_at = u64::MAX;
        if !self.protected() {
            return self.interrupt_real(pins, vector, eip);
        }
        let ext = u32::from(source != Source::Software);
        let gate_code = u32::from(vector) * 8 + 2;
        let at = u32::from(vector) * 8;
        if at + 7 > u32::from(self.idtr.limit) {
            return Err(self.gp(gate_code + ext));
        }
        let at = self.idtr.base.wrapping_add(at);
        let lo = self.read_system(pins, at)?;
        let hi = self.read_system(pins, at.wrapping_add(4))?;
        let gate = Descriptor { lo, hi, at };
        if !matches!(gate.kind(), 5 | 6 | 7 | 14 | 15) {
            return Err(self.gp(gate_code + ext));
        }
        if source == Source::Software && gate.dpl() < self.cpl {
            return Err(self.gp(gate_code));
        }
        if !gate.present() {
            return Err(self.np(gate_code + ext));
        }
        if gate.kind() == 5 {
            return self.interrupt_task(pins, gate.gate_selector(), source, error, eip);
        }
        self.interrupt_gate(pins, &gate, source, error, eip)
    }

    fn interrupt_gate(
        &mut self,
        pins: &mut Pins<'_>,
        gate: &Descriptor,
        source: Source,
        error: Option<u32>,
        eip: u32,
    ) -> Fallible<()> {
        let ext = u32::from(source != Source::Software);
        let wide = gate.kind() & 8 != 0;
        let sel = gate.gate_selector();
        if is_null(sel) {
            return Err(self.gp(ext));
        }
        let Some(mut d) = self.descriptor(pins, sel)? else { return Err(self.gp(code_of(sel) + ext)) };
        if !d.is_code() || d.dpl() > self.cpl {
            return Err(self.gp(code_of(sel) + ext));
        }
        if !d.present() {
            return Err(self.np(code_of(sel) + ext));
        }
        let v86 = self.v86();
        let inner = !d.conforming() && d.dpl() < self.cpl;
        let cpl = if d.conforming() { self.cpl } else { d.dpl() };
        if v86 && (!inner || cpl != 0) {
            return Err(self.gp(code_of(sel) + ext));
        }
        let mut frame = if inner {
            let (ss, esp) = self.stack_of_level(pins, cpl, ext)?;
            StackFrame::inner(ss, esp, cpl)
        } else {
            StackFrame::current(self)
        };
        if inner {
            frame.code += ext;
            if v86 {
                for s in [GS, FS, DS, ES] {
                    frame.push(self, pins, wide, u32::from(self.seg[s].sel))?;
                }
            }
            frame.push(self, pins, wide, u32::from(self.seg[SS].sel))?;
            frame.push(self, pins, wide, self.gpr[ESP])?;
        }
        let rf = if source == Source::Fault { RF } else { 0 };
        frame.push(self, pins, wide, self.eflags() | rf)?;
        frame.push(self, pins, wide, u32::from(self.seg[CS].sel))?;
        frame.push(self, pins, wide, eip)?;
        if let Some(code) = error {
            frame.push(self, pins, wide, code)?;
        }
        let target = gate.gate_offset();
        if target > d.limit() {
            return Err(self.gp(ext));
        }
        self.set_accessed(pins, &mut d)?;

        frame.commit(self);
        if v86 {
            for s in [GS, FS, DS, ES] {
                self.seg[s] = Seg::null(0);
            }
        }
        self.cpl = cpl;
        self.seg[CS] = Seg::from_descriptor(sel & 0xFFFC | u16::from(cpl), &d);
        self.eip = target;
        self.flags &= !(TF | NT | RF | VM);
        if gate.kind() & 1 == 0 {
            self.flags &= !IF;
        }
        self.update_mode();
        self.halted = false;
        self.interrupted = true;
        Ok(())
    }

    fn interrupt_real(&mut self, pins: &mut Pins<'_>, vector: u8, eip: u32) -> Fallible<()> {
        let at = u32::from(vector) * 4;
        if at + 3 > u32::from(self.idtr.limit) {
            return Err(self.gp(u32::from(vector) * 8 + 2));
        }
        let entry: u32 = self.read_system(pins, self.idtr.base.wrapping_add(at))?;
        let mut frame = StackFrame::current(self);
        frame.push(self, pins, false, self.eflags())?;
        frame.push(self, pins, false, u32::from(self.seg[CS].sel))?;
        frame.push(self, pins, false, eip)?;
        frame.commit(self);
        self.enter_real(entry);
        Ok(())
    }

    /// Goes on at a vector-table entry in real mode, or in V86 mode through the redirection bitmap.
    pub(crate) fn enter_real(&mut self, entry: u32) {
        self.seg[CS] = self.real_segment(CS, (entry >> 16) as u16);
        self.eip = entry & 0xFFFF;
        self.flags &= !(TF | flags::AC | RF);
        if !self.v86() {
            self.flags &= !IF;
        }
        self.update_mode();
        self.halted = false;
        self.interrupted = true;
    }

    /// SS and ESP for a more privileged level, from the TSS.
    pub(crate) fn stack_of_level(&mut self, pins: &mut Pins<'_>, cpl: u8, ext: u32) -> Fallible<(Seg, u32)> {
        let wide = self.tr.attr & 8 != 0;
        let cpl32 = u32::from(cpl);
        let (at, size) = if wide { (4 + 8 * cpl32, 8) } else { (2 + 4 * cpl32, 4) };
        if at + size - 1 > self.tr.limit {
            return Err(self.ts(code_of(self.tr.sel) + ext));
        }
        let at = self.tr.base.wrapping_add(at);
        let (esp, ss): (u32, u16) = if wide {
            (self.read_system(pins, at)?, self.read_system(pins, at.wrapping_add(4))?)
        } else {
            let sp: u16 = self.read_system(pins, at)?;
            (u32::from(sp), self.read_system(pins, at.wrapping_add(2))?)
        };
        let ss = match self.check_stack_segment(pins, ss, cpl, true) {
            Ok(ss) => ss,
            Err(abort) => {
                if self.fault.vector != vector::PF {
                    self.fault.error = self.fault.error.map(|e| e + ext);
                }
                return Err(abort);
            }
        };
        Ok((ss, esp))
    }
}

#[derive(PartialEq, Eq, Clone, Copy)]
enum Class {
    Benign,
    Contributory,
    PageFault,
}

fn class(v: u8) -> Class {
    match v {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP => Class::Contributory,
        vector::PF => Class::PageFault,
        _ => Class::Benign,
    }
}
