//! Far transfers: JMP, CALL, RET, INT, IRET, SYSENTER, SYSEXIT.

use super::Step;
use crate::block::{Flow, Op};
use crate::exceptions::{Source, StackFrame, vector};
use crate::flags;
use crate::segmentation::*;
use crate::state::*;
use crate::tasks::Switch;

const JUMP: Step = Ok(Flow::Jump);

/// JMP ptr16:16/32
pub(crate) fn jmp_direct(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.far_jump(p, op, op.disp as u16, op.imm)
}

/// JMP m16:16/32
pub(crate) fn jmp_mem(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (sel, offset) = c.far_pointer(p, op)?;
    c.far_jump(p, op, sel, offset)
}

/// CALL ptr16:16/32
pub(crate) fn call_direct(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.far_call(p, op, op.disp as u16, op.imm)
}

/// CALL m16:16/32
pub(crate) fn call_mem(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (sel, offset) = c.far_pointer(p, op)?;
    c.far_call(p, op, sel, offset)
}

impl Core {
    fn far_pointer(&mut self, p: &mut Pins<'_>, op: &Op) -> Fallible<(u16, u32)> {
        let size = if op.o32() { 4 } else { 2 };
        let offset = self.offset(op);
        let seg = usize::from(op.seg);
        let at = self.linear(seg, offset, size, false)?;
        let sel_at = self.linear(seg, offset.wrapping_add(size) & op.address_mask(), 2, false)?;
        let target = if op.o32() { self.read(p, at)? } else { u32::from(self.read::<u16>(p, at)?) };
        Ok((self.read(p, sel_at)?, target))
    }

    /// The code segment of a direct far JMP or CALL that stays at its privilege level.
    fn check_far_code(
        &mut self,
        p: &mut Pins<'_>,
        sel: u16,
        d: &mut Descriptor,
        offset: u32,
    ) -> Fallible<Seg> {
        let allowed =
            if d.conforming() { d.dpl() <= self.cpl } else { rpl(sel) <= self.cpl && d.dpl() == self.cpl };
        if !allowed {
            return Err(self.gp(code_of(sel)));
        }
        if !d.present() {
            return Err(self.np(code_of(sel)));
        }
        if offset > d.limit() {
            return Err(self.gp(0));
        }
        self.set_accessed(p, d)?;
        Ok(Seg::from_descriptor(sel & 0xFFFC | u16::from(self.cpl), d))
    }

    fn enter_code(&mut self, cs: Seg, eip: u32) {
        self.seg[CS] = cs;
        self.eip = eip;
        self.update_mode();
    }

    fn far_jump(&mut self, p: &mut Pins<'_>, op: &Op, sel: u16, offset: u32) -> Step {
        if !self.by_descriptor() {
            let cs = self.real_segment(CS, sel);
            if offset > cs.limit {
                return Err(self.gp(0));
            }
            self.enter_code(cs, offset);
            return JUMP;
        }
        if is_null(sel) {
            return Err(self.gp(0));
        }
        let mut d = self.descriptor_or_gp(p, sel)?;
        if d.is_code() {
            let cs = self.check_far_code(p, sel, &mut d, offset)?;
            self.enter_code(cs, offset);
            return JUMP;
        }
        if d.attr() & ATTR_SEGMENT != 0 || !matches!(d.kind(), 1 | 4 | 5 | 9 | 12) {
            return Err(self.gp(code_of(sel)));
        }
        if d.dpl() < self.cpl || d.dpl() < rpl(sel) {
            return Err(self.gp(code_of(sel)));
        }
        if !d.present() {
            return Err(self.np(code_of(sel)));
        }
        match d.kind() {
            1 | 9 => self.switch_task(p, sel, Switch::Jump, self.next_eip(op))?,
            5 => self.switch_by_gate(p, &d, Switch::Jump, self.next_eip(op))?,
            _ => {
                let (gate_sel, gate_offset) = (d.gate_selector(), d.gate_offset());
                let mut code = self.gate_code(p, gate_sel)?;
                let allowed = if code.conforming() { code.dpl() <= self.cpl } else { code.dpl() == self.cpl };
                if !allowed {
                    return Err(self.gp(code_of(gate_sel)));
                }
                if !code.present() {
                    return Err(self.np(code_of(gate_sel)));
                }
                if gate_offset > code.limit() {
                    return Err(self.gp(0));
                }
                self.set_accessed(p, &mut code)?;
                let cs = Seg::from_descriptor(gate_sel & 0xFFFC | u16::from(self.cpl), &code);
                self.enter_code(cs, gate_offset);
            }
        }
        JUMP
    }

    /// The code descriptor that a call gate leads to.
    fn gate_code(&mut self, p: &mut Pins<'_>, sel: u16) -> Fallible<Descriptor> {
        if is_null(sel) {
            return Err(self.gp(0));
        }
        let code = self.descriptor_or_gp(p, sel)?;
        if !code.is_code() || code.dpl() > self.cpl {
            return Err(self.gp(code_of(sel)));
        }
        Ok(code)
    }

    fn far_call(&mut self, p: &mut Pins<'_>, op: &Op, sel: u16, offset: u32) -> Step {
        let back = self.next_eip(op);
        let old_cs = u32::from(self.seg[CS].sel);
        if !self.by_descriptor() {
            let cs = self.real_segment(CS, sel);
            if offset > cs.limit {
                return Err(self.gp(0));
            }
            let mut frame = StackFrame::current(self);
            frame.push(self, p, op.o32(), old_cs)?;
            frame.push(self, p, op.o32(), back)?;
            frame.commit(self);
            self.enter_code(cs, offset);
            return JUMP;
        }
        if is_null(sel) {
            return Err(self.gp(0));
        }
        let mut d = self.descriptor_or_gp(p, sel)?;
        if d.is_code() {
            let cs = self.check_far_code(p, sel, &mut d, offset)?;
            let mut frame = StackFrame::current(self);
            frame.push(self, p, op.o32(), old_cs)?;
            frame.push(self, p, op.o32(), back)?;
            frame.commit(self);
            self.enter_code(cs, offset);
            return JUMP;
        }
        if d.attr() & ATTR_SEGMENT != 0 || !matches!(d.kind(), 1 | 4 | 5 | 9 | 12) {
            return Err(self.gp(code_of(sel)));
        }
        if d.dpl() < self.cpl || d.dpl() < rpl(sel) {
            return Err(self.gp(code_of(sel)));
        }
        if !d.present() {
            return Err(self.np(code_of(sel)));
        }
        match d.kind() {
            1 | 9 => self.switch_task(p, sel, Switch::Call, back)?,
            5 => self.switch_by_gate(p, &d, Switch::Call, back)?,
            _ => self.call_gate(p, &d, back)?,
        }
        JUMP
    }

    fn call_gate(&mut self, p: &mut Pins<'_>, gate: &Descriptor, back: u32) -> Fallible<()> {
        let wide = gate.kind() == 12;
        let (sel, target) = (gate.gate_selector(), gate.gate_offset());
        let mut code = self.gate_code(p, sel)?;
        if !code.present() {
            return Err(self.np(code_of(sel)));
        }
        let inner = !code.conforming() && code.dpl() < self.cpl;
        let cpl = if inner { code.dpl() } else { self.cpl };
        let old_cs = u32::from(self.seg[CS].sel);
        let mut frame;
        if inner {
            let (ss, esp) = self.stack_of_level(p, cpl, 0)?;
            frame = StackFrame::inner(ss, esp, cpl);
            frame.push(self, p, wide, u32::from(self.seg[SS].sel))?;
            frame.push(self, p, wide, self.gpr[ESP])?;
            let size = if wide { 4 } else { 2 };
            for i in (0..gate.hi & 31).rev() {
                let v = if wide {
                    self.peek::<u32, false>(p, i * size)?
                } else {
                    u32::from(self.peek::<u16, false>(p, i * size)?)
                };
                frame.push(self, p, wide, v)?;
            }
        } else {
            frame = StackFrame::current(self);
        }
        frame.push(self, p, wide, old_cs)?;
        frame.push(self, p, wide, back)?;
        if target > code.limit() {
            return Err(self.gp(0));
        }
        self.set_accessed(p, &mut code)?;
        frame.commit(self);
        self.cpl = cpl;
        self.enter_code(Seg::from_descriptor(sel & 0xFFFC | u16::from(cpl), &code), target);
        Ok(())
    }

    fn peek_wide(&mut self, p: &mut Pins<'_>, wide: bool, slot: u32) -> Fallible<u32> {
        if wide {
            self.peek::<u32, false>(p, slot * 4)
        } else {
            Ok(u32::from(self.peek::<u16, false>(p, slot * 2)?))
        }
    }

    /// The code segment of a far return or IRET.
    fn check_return_code(&mut self, p: &mut Pins<'_>, sel: u16, eip: u32) -> Fallible<Seg> {
        if is_null(sel) {
            return Err(self.gp(0));
        }
        let mut d = self.descriptor_or_gp(p, sel)?;
        let wrong_level = if d.conforming() { d.dpl() > rpl(sel) } else { d.dpl() != rpl(sel) };
        if !d.is_code() || rpl(sel) < self.cpl || wrong_level {
            return Err(self.gp(code_of(sel)));
        }
        if !d.present() {
            return Err(self.np(code_of(sel)));
        }
        if eip > d.limit() {
            return Err(self.gp(0));
        }
        self.set_accessed(p, &mut d)?;
        Ok(Seg::from_descriptor(sel, &d))
    }

    /// Goes to a less privileged level; the stack there was checked.
    fn leave_to_outer(&mut self, cs: Seg, eip: u32, ss: Seg, esp: u32) {
        self.cpl = rpl(cs.sel);
        self.seg[SS] = ss;
        self.set_sp(esp);
        self.drop_privileged_segments();
        self.enter_code(cs, eip);
    }
}

/// RETF, RETF imm16
pub(crate) fn retf(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let wide = op.o32();
    let size = if wide { 4 } else { 2 };
    let eip = c.peek_wide(p, wide, 0)?;
    let sel = c.peek_wide(p, wide, 1)? as u16;
    if !c.by_descriptor() {
        let cs = c.real_segment(CS, sel);
        if eip > cs.limit {
            return Err(c.gp(0));
        }
        c.drop_stack::<false>(2 * size + op.imm);
        c.enter_code(cs, eip);
        return JUMP;
    }
    let cs = c.check_return_code(p, sel, eip)?;
    if rpl(sel) == c.cpl {
        c.drop_stack::<false>(2 * size + op.imm);
        c.enter_code(cs, eip);
        return JUMP;
    }
    let at = 2 * size + op.imm;
    let (esp, ss) = if wide {
        (c.peek::<u32, false>(p, at)?, c.peek::<u32, false>(p, at + 4)? as u16)
    } else {
        (u32::from(c.peek::<u16, false>(p, at)?), c.peek::<u16, false>(p, at + 2)?)
    };
    let ss = c.check_stack_segment(p, ss, rpl(sel), false)?;
    c.leave_to_outer(cs, eip, ss, esp);
    c.drop_stack::<false>(op.imm);
    JUMP
}

/// INT n, INT3, INTO, ICEBP
pub(crate) fn int(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let back = c.next_eip(op);
    let (n, source) = match op.opcode {
        0xCC => (vector::BP, Source::Software),
        0xCE if !c.fl.of() => return c.fall(op),
        0xCE => (vector::OF, Source::Software),
        0xF1 => (vector::DB, Source::External),
        _ => (op.imm as u8, Source::Software),
    };
    if op.opcode == 0xCD && c.v86() {
        if c.cr4 & CR4_VME != 0 && !c.vme_redirects(p, n)? {
            return c.int_vme(p, n, back);
        }
        if c.iopl() < 3 {
            return Err(c.gp(0));
        }
    }
    c.interrupt(p, n, source, None, back)?;
    JUMP
}

impl Core {
    /// Whether the TSS's redirection bitmap sends INT n of a V86 task to the protected-mode handler.
    fn vme_redirects(&mut self, p: &mut Pins<'_>, n: u8) -> Fallible<bool> {
        if self.tr.limit < 0x67 {
            return Err(self.gp(0));
        }
        let io_map: u16 = self.read_system(p, self.tr.base.wrapping_add(0x66))?;
        let at = u32::from(io_map).wrapping_sub(32).wrapping_add(u32::from(n / 8));
        if at > self.tr.limit {
            return Err(self.gp(0));
        }
        let byte: u8 = self.read_system(p, self.tr.base.wrapping_add(at))?;
        Ok(byte >> (n % 8) & 1 != 0)
    }

    /// INT n of a V86 task through the vector table at linear 0.
    fn int_vme(&mut self, p: &mut Pins<'_>, n: u8, back: u32) -> Step {
        let entry: u32 = self.read_system(p, u32::from(n) * 4)?;
        let low = self.iopl() < 3;
        let mut f = self.eflags();
        if low {
            let vif = if f & flags::VIF != 0 { flags::IF } else { 0 };
            f = f & !flags::IF | flags::IOPL | vif;
        }
        let mut frame = StackFrame::current(self);
        frame.push(self, p, false, f)?;
        frame.push(self, p, false, u32::from(self.seg[CS].sel))?;
        frame.push(self, p, false, back)?;
        frame.commit(self);
        self.enter_real(entry);
        self.flags &= !(flags::NT | if low { flags::VIF } else { flags::IF });
        JUMP
    }
}

/// IRET, IRETD
pub(crate) fn iret(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let wide = op.o32();
    let size = if wide { 4 } else { 2 };
    let width = if wide { u32::MAX } else { 0xFFFF };
    c.iret_unblocks_nmi();
    if !c.protected() {
        let (eip, sel, f) = (c.peek_wide(p, wide, 0)?, c.peek_wide(p, wide, 1)?, c.peek_wide(p, wide, 2)?);
        let cs = c.real_segment(CS, sel as u16);
        if eip > cs.limit {
            return Err(c.gp(0));
        }
        c.drop_stack::<false>(3 * size);
        c.enter_code(cs, eip);
        let writable = width & !(flags::VM | flags::VIF | flags::VIP);
        c.set_eflags(c.eflags() & !writable | f & writable);
        return JUMP;
    }
    if c.v86() {
        return c.iret_v86(p, wide);
    }
    if c.flag(flags::NT) {
        c.return_from_task(p, c.next_eip(op))?;
        return JUMP;
    }
    let (eip, sel, f) = (c.peek_wide(p, wide, 0)?, c.peek_wide(p, wide, 1)? as u16, c.peek_wide(p, wide, 2)?);
    if wide && f & flags::VM != 0 && c.cpl == 0 {
        let mut rest = [0; 6];
        for (i, v) in rest.iter_mut().enumerate() {
            *v = c.peek_wide(p, true, 3 + i as u32)?;
        }
        if eip > 0xFFFF {
            return Err(c.gp(0));
        }
        c.cpl = 3;
        c.set_eflags(f);
        let [esp, ss, es, ds, fs, gs] = rest;
        for (i, v) in [(CS, u32::from(sel)), (SS, ss), (ES, es), (DS, ds), (FS, fs), (GS, gs)] {
            c.seg[i] = Seg::v86(v as u16);
        }
        c.gpr[ESP] = esp;
        c.eip = eip;
        c.update_mode();
        return JUMP;
    }
    let cs = c.check_return_code(p, sel, eip)?;
    let mut writable = flags::ARITH | flags::TF | flags::DF | flags::NT | flags::RF | flags::AC | flags::ID;
    if c.cpl <= c.iopl() {
        writable |= flags::IF;
    }
    if c.cpl == 0 {
        writable |= flags::IOPL | flags::VIF | flags::VIP;
    }
    writable &= width;
    let new_flags = c.eflags() & !writable | f & writable;
    if rpl(sel) == c.cpl {
        c.drop_stack::<false>(3 * size);
    } else {
        let (esp, ss) = (c.peek_wide(p, wide, 3)?, c.peek_wide(p, wide, 4)? as u16);
        let ss = c.check_stack_segment(p, ss, rpl(sel), false)?;
        c.leave_to_outer(cs, eip, ss, esp);
    }
    c.enter_code(cs, eip);
    c.set_eflags(new_flags);
    c.update_mode();
    JUMP
}

impl Core {
    fn iret_v86(&mut self, p: &mut Pins<'_>, wide: bool) -> Step {
        let size = if wide { 4 } else { 2 };
        let vme = self.iopl() < 3;
        if vme && (wide || self.cr4 & CR4_VME == 0) {
            return Err(self.gp(0));
        }
        let (eip, sel) = (self.peek_wide(p, wide, 0)?, self.peek_wide(p, wide, 1)?);
        let f = self.peek_wide(p, wide, 2)?;
        let mut writable = flags::ARITH | flags::TF | flags::DF | flags::NT;
        let mut f = f;
        if vme {
            if f & flags::TF != 0 || f & flags::IF != 0 && self.flag(flags::VIP) {
                return Err(self.gp(0));
            }
            writable |= flags::VIF;
            f = f & !flags::VIF | if f & flags::IF != 0 { flags::VIF } else { 0 };
        } else {
            writable |= flags::IF;
            if wide {
                writable |= flags::RF | flags::AC | flags::ID;
            }
        }
        if eip > 0xFFFF {
            return Err(self.gp(0));
        }
        self.drop_stack::<false>(3 * size);
        self.enter_code(Seg::v86(sel as u16), eip);
        self.set_eflags(self.eflags() & !writable | f & writable);
        JUMP
    }

    /// IRET ends the handling of an NMI, even if it faults.
    fn iret_unblocks_nmi(&mut self) {
        if self.nmi_blocked {
            self.nmi_blocked = false;
            if self.nmi_pending {
                self.poke();
            }
        }
    }
}

fn flat_segment(sel: u16, attr: u32) -> Seg {
    Seg::new(sel, 0, u32::MAX, attr)
}

/// SYSENTER
pub(crate) fn sysenter(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let sel = c.msr.sysenter_cs as u16 & 0xFFFC;
    if !c.protected() || sel == 0 {
        return Err(c.gp(0));
    }
    c.flags &= !(flags::VM | flags::IF | flags::RF);
    c.cpl = 0;
    c.seg[SS] = flat_segment(sel.wrapping_add(8), 0xC093);
    c.gpr[ESP] = c.msr.sysenter_esp;
    c.enter_code(flat_segment(sel, 0xC09B), c.msr.sysenter_eip);
    JUMP
}

/// SYSEXIT
pub(crate) fn sysexit(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    let sel = c.msr.sysenter_cs as u16 & 0xFFFC;
    if !c.protected() || sel == 0 || c.cpl != 0 {
        return Err(c.gp(0));
    }
    c.cpl = 3;
    c.seg[SS] = flat_segment(sel.wrapping_add(24) | 3, 0xC0F3);
    let (esp, eip) = (c.gpr[ECX], c.gpr[EDX]);
    c.gpr[ESP] = esp;
    c.enter_code(flat_segment(sel.wrapping_add(16) | 3, 0xC0FB), eip);
    JUMP
}
