//! Push, pop, and stack frames. `F`: SS is flat and 32 bits wide.

use super::{NEXT, Step};
use crate::block::{Flow, Op};
use crate::flags;
use crate::int::Int;
use crate::model;
use crate::state::*;

impl Core {
    /// ESP or SP as SS.B says.
    #[inline(always)]
    pub(crate) fn stack_mask(&self) -> u32 {
        if self.seg[SS].big() { u32::MAX } else { 0xFFFF }
    }

    #[inline(always)]
    pub(crate) fn push<T: Int, const F: bool>(&mut self, p: &mut Pins<'_>, v: T) -> Fallible<()> {
        if F {
            let sp = self.gpr[ESP].wrapping_sub(T::SIZE);
            self.write(p, sp, v)?;
            self.gpr[ESP] = sp;
            return Ok(());
        }
        let mask = self.stack_mask();
        let sp = self.gpr[ESP].wrapping_sub(T::SIZE) & mask;
        let at = self.linear(SS, sp, T::SIZE, true)?;
        self.write(p, at, v)?;
        self.set_sp(sp);
        Ok(())
    }

    /// [`Core::push`] on a flat stack if that takes no call; says whether it is done.
    #[inline(always)]
    pub(crate) fn push_quick<T: Int>(&mut self, v: T) -> bool {
        let sp = self.gpr[ESP].wrapping_sub(T::SIZE);
        let done = self.tlb.write(self.part, sp, v);
        if done {
            self.gpr[ESP] = sp;
        }
        done
    }

    /// What is on top of a flat stack if that takes no call.
    #[inline(always)]
    pub(crate) fn peek_quick<T: Int>(&self) -> Option<T> {
        self.tlb.read(self.part, self.gpr[ESP])
    }

    /// Reads what is on top of the stack, `depth` bytes below it.
    #[inline(always)]
    pub(crate) fn peek<T: Int, const F: bool>(&mut self, p: &mut Pins<'_>, depth: u32) -> Fallible<T> {
        let sp = self.gpr[ESP].wrapping_add(depth);
        if F {
            return self.read(p, sp);
        }
        let at = self.linear(SS, sp & self.stack_mask(), T::SIZE, false)?;
        self.read(p, at)
    }

    /// Takes `bytes` off the stack.
    #[inline(always)]
    pub(crate) fn drop_stack<const F: bool>(&mut self, bytes: u32) {
        let sp = self.gpr[ESP].wrapping_add(bytes);
        if F {
            self.gpr[ESP] = sp;
        } else {
            self.set_sp(sp);
        }
    }

    #[inline(always)]
    pub(crate) fn pop<T: Int, const F: bool>(&mut self, p: &mut Pins<'_>) -> Fallible<T> {
        let v = self.peek::<T, F>(p, 0)?;
        self.drop_stack::<F>(T::SIZE);
        Ok(v)
    }

    /// Sets ESP or SP.
    #[inline(always)]
    pub(crate) fn set_sp(&mut self, sp: u32) {
        let mask = self.stack_mask();
        self.gpr[ESP] = self.gpr[ESP] & !mask | sp & mask;
    }
}

/// PUSH r
pub(crate) fn push_r<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.reg::<T>(op.rm);
    if F && c.push_quick(v) { NEXT } else { push_r_slow::<T, F>(c, p, op) }
}

#[inline(never)]
fn push_r_slow<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.reg::<T>(op.rm);
    c.push::<T, F>(p, v)?;
    NEXT
}

/// POP r
pub(crate) fn pop_r<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let quick = if F { c.peek_quick::<T>() } else { None };
    let Some(v) = quick else { return pop_r_slow::<T, F>(c, p, op) };
    c.drop_stack::<F>(T::SIZE);
    c.set_reg(op.rm, v);
    NEXT
}

#[inline(never)]
fn pop_r_slow<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.pop::<T, F>(p)?;
    c.set_reg(op.rm, v);
    NEXT
}

/// PUSH imm
pub(crate) fn push_i<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    c.push::<T, F>(p, T::of(op.imm))?;
    NEXT
}

/// PUSH r/m
pub(crate) fn push_rm<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.get_rm::<T>(p, op)?;
    c.push::<T, F>(p, v)?;
    NEXT
}

/// POP r/m: an address that uses ESP uses it after the increment.
pub(crate) fn pop_rm<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let old = c.gpr[ESP];
    let v = c.pop::<T, F>(p)?;
    if let Err(abort) = c.set_rm(p, op, v) {
        c.gpr[ESP] = old;
        return Err(abort);
    }
    NEXT
}

/// PUSH Sreg: with a 32-bit operand only the low half is written, as on a P6.
pub(crate) fn push_sreg(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let sel = c.seg[usize::from(op.reg)].sel;
    if !op.o32() {
        c.push::<u16, false>(p, sel)?;
        return NEXT;
    }
    let sp = c.gpr[ESP].wrapping_sub(4) & c.stack_mask();
    let at = c.linear(SS, sp, 4, true)?;
    c.write(p, at, sel)?;
    c.set_sp(sp);
    NEXT
}

/// POP Sreg
pub(crate) fn pop_sreg(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let size = if op.o32() { 4 } else { 2 };
    let sel: u16 = c.peek::<u16, false>(p, 0)?;
    // The stack pointer moves by the old stack's width even if SS itself is loaded.
    let mask = c.stack_mask();
    let step = c.load_and_go_on(p, op, sel)?;
    c.gpr[ESP] = c.gpr[ESP] & !mask | c.gpr[ESP].wrapping_add(size) & mask;
    Ok(step)
}

/// PUSHA, PUSHAD
pub(crate) fn pusha<T: Int>(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    let old = c.gpr[ESP];
    for i in 0..8 {
        let v = if i == ESP { old } else { c.gpr[i] };
        if let Err(abort) = c.push::<T, false>(p, T::of(v)) {
            c.gpr[ESP] = old;
            return Err(abort);
        }
    }
    NEXT
}

/// POPA, POPAD
pub(crate) fn popa<T: Int>(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    let mut v = [T::of(0); 8];
    for (i, v) in v.iter_mut().rev().enumerate() {
        *v = c.peek::<T, false>(p, i as u32 * T::SIZE)?;
    }
    c.drop_stack::<false>(8 * T::SIZE);
    for (i, v) in v.into_iter().enumerate() {
        if i != ESP {
            c.set_reg(i as u8, v);
        }
    }
    NEXT
}

/// ENTER imm16, imm8
pub(crate) fn enter<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let old = (c.gpr[ESP], c.gpr[EBP]);
    let step = enter_inner::<T>(c, p, op);
    if step.is_err() {
        (c.gpr[ESP], c.gpr[EBP]) = old;
    }
    step
}

fn enter_inner<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let (size, level) = (op.imm, op.disp & 31);
    let mask = c.stack_mask();
    c.push::<T, false>(p, T::of(c.gpr[EBP]))?;
    let frame = c.gpr[ESP];
    let mut bp = c.gpr[EBP];
    for _ in 1..level {
        bp = bp.wrapping_sub(T::SIZE);
        let at = c.linear(SS, bp & mask, T::SIZE, false)?;
        let v: T = c.read(p, at)?;
        c.push::<T, false>(p, v)?;
    }
    if level > 0 {
        c.push::<T, false>(p, T::of(frame))?;
    }
    let sp = c.gpr[ESP].wrapping_sub(size) & mask;
    // The new top must be writable, or the instruction faults as a push there would.
    let at = c.linear(SS, sp, T::SIZE, true)?;
    c.probe_write(p, at, T::SIZE)?;
    c.set_reg(5, T::of(frame));
    c.set_sp(sp);
    NEXT
}

/// LEAVE
pub(crate) fn leave<T: Int, const F: bool>(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    let bp = c.gpr[EBP];
    if F {
        let v = c.read::<T>(p, bp)?;
        c.gpr[ESP] = bp.wrapping_add(T::SIZE);
        c.set_reg(5, v);
        return NEXT;
    }
    let mask = c.stack_mask();
    let at = c.linear(SS, bp & mask, T::SIZE, false)?;
    let v = c.read::<T>(p, at)?;
    c.set_sp(bp.wrapping_add(T::SIZE));
    c.set_reg(5, v);
    NEXT
}

/// PUSHF, PUSHFD
pub(crate) fn pushf<T: Int>(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    let mut f = c.eflags() & !(flags::VM | flags::RF);
    if c.v86() && c.iopl() < 3 {
        if T::BITS != 16 || c.cr4 & CR4_VME == 0 {
            return Err(c.gp(0));
        }
        // VME: the program sees VIF as IF, and IOPL 3.
        f = f & !flags::IF | flags::IOPL | if f & flags::VIF != 0 { flags::IF } else { 0 };
    }
    c.push::<T, false>(p, T::of(f))?;
    NEXT
}

/// POPF, POPFD
pub(crate) fn popf<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let v = c.peek::<T, false>(p, 0)?.u();
    let mut writable = flags::ARITH | flags::TF | flags::DF | flags::NT;
    if T::BITS == 32 {
        writable |= flags::AC | flags::ID;
    }
    let mut v = v;
    if c.v86() && c.iopl() < 3 {
        if T::BITS != 16 || c.cr4 & CR4_VME == 0 {
            return Err(c.gp(0));
        }
        if v & flags::TF != 0 || v & flags::IF != 0 && c.flag(flags::VIP) {
            return Err(c.gp(0));
        }
        writable |= flags::VIF;
        v = v & !flags::VIF | if v & flags::IF != 0 { flags::VIF } else { 0 };
    } else {
        if c.cpl <= c.iopl() {
            writable |= flags::IF;
        }
        if c.cpl == 0 || !c.protected() {
            writable |= flags::IOPL;
        }
    }
    if !c.model.has(model::FPU) {
        writable &= !flags::ID;
    }
    let keep = c.eflags() & !writable & !flags::RF;
    c.drop_stack::<false>(T::SIZE);
    let mode_part = c.part;
    c.set_eflags(keep | v & writable);
    if c.part != mode_part {
        c.update_mode();
    }
    c.eip = c.next_eip(op);
    Ok(Flow::Fall)
}
