//! What instructions do: one handler per operation, operand size and form of operand.

use crate::block::{Flow, Op};
use crate::int::Int;
use crate::state::*;

pub(crate) mod alu;
pub(crate) mod bcd;
pub(crate) mod bit;
pub(crate) mod control;
pub(crate) mod data;
pub(crate) mod far;
pub(crate) mod fused;
pub(crate) mod io;
pub(crate) mod msr;
pub(crate) mod muldiv;
pub(crate) mod protection;
pub(crate) mod shift;
pub(crate) mod simd;
pub(crate) mod stack;
pub(crate) mod string;
pub(crate) mod system;
pub(crate) mod x87;
pub(crate) mod x87_fast;

pub(crate) type Step = Fallible<Flow>;
pub(crate) const NEXT: Step = Ok(Flow::Next);

/// A form of the ModRM operand.
pub(crate) trait Rm: 'static {
    fn get<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Fallible<T>;
    fn set<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op, v: T) -> Fallible<()>;
    fn update<T: Int, R>(c: &mut Core, p: &mut Pins<'_>, op: &Op, f: impl Fn(T) -> (T, R)) -> Fallible<R>;

    /// [`Rm::get`] if that takes no call. A handler that tries this first and leaves the rest to a second one needs no
    /// stack frame.
    #[inline(always)]
    fn get_quick<T: Int>(_: &Core, _: &Op) -> Option<T> {
        None
    }

    /// [`Rm::set`] if that takes no call; says whether it is done.
    #[inline(always)]
    fn set_quick<T: Int>(_: &mut Core, _: &Op, _: T) -> bool {
        false
    }
}

/// A register.
pub(crate) struct Reg;
/// Memory in a segment that is flat, 32-bit address.
pub(crate) struct Flat;
/// Memory in any segment.
pub(crate) struct Segmented;

impl Rm for Reg {
    #[inline(always)]
    fn get<T: Int>(c: &mut Core, _: &mut Pins<'_>, op: &Op) -> Fallible<T> {
        Ok(c.reg(op.rm))
    }

    #[inline(always)]
    fn set<T: Int>(c: &mut Core, _: &mut Pins<'_>, op: &Op, v: T) -> Fallible<()> {
        c.set_reg(op.rm, v);
        Ok(())
    }

    #[inline(always)]
    fn update<T: Int, R>(c: &mut Core, _: &mut Pins<'_>, op: &Op, f: impl Fn(T) -> (T, R)) -> Fallible<R> {
        let (v, r) = f(c.reg(op.rm));
        c.set_reg(op.rm, v);
        Ok(r)
    }

    #[inline(always)]
    fn get_quick<T: Int>(c: &Core, op: &Op) -> Option<T> {
        Some(c.reg(op.rm))
    }

    #[inline(always)]
    fn set_quick<T: Int>(c: &mut Core, op: &Op, v: T) -> bool {
        c.set_reg(op.rm, v);
        true
    }
}

impl Rm for Flat {
    #[inline(always)]
    fn get<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Fallible<T> {
        let at = c.sum(op);
        c.read(p, at)
    }

    #[inline(always)]
    fn set<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op, v: T) -> Fallible<()> {
        let at = c.sum(op);
        c.write(p, at, v)
    }

    #[inline(always)]
    fn update<T: Int, R>(c: &mut Core, p: &mut Pins<'_>, op: &Op, f: impl Fn(T) -> (T, R)) -> Fallible<R> {
        let at = c.sum(op);
        c.update(p, at, f)
    }

    #[inline(always)]
    fn get_quick<T: Int>(c: &Core, op: &Op) -> Option<T> {
        c.tlb.read(c.part, c.sum(op))
    }

    #[inline(always)]
    fn set_quick<T: Int>(c: &mut Core, op: &Op, v: T) -> bool {
        let at = c.sum(op);
        c.tlb.write(c.part, at, v)
    }
}

impl Rm for Segmented {
    #[inline(always)]
    fn get<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Fallible<T> {
        let at = c.address(op, T::SIZE, false)?;
        c.read(p, at)
    }

    #[inline(always)]
    fn set<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op, v: T) -> Fallible<()> {
        let at = c.address(op, T::SIZE, true)?;
        c.write(p, at, v)
    }

    #[inline(always)]
    fn update<T: Int, R>(c: &mut Core, p: &mut Pins<'_>, op: &Op, f: impl Fn(T) -> (T, R)) -> Fallible<R> {
        let at = c.address(op, T::SIZE, true)?;
        c.update(p, at, f)
    }
}

impl Core {
    /// A register; byte registers are coded as in [`Op::reg`].
    #[inline(always)]
    pub(crate) fn reg<T: Int>(&self, r: u8) -> T {
        let v = self.gpr[usize::from(r & 7)];
        if T::BITS == 8 { T::of(v >> (r & 8)) } else { T::of(v) }
    }

    #[inline(always)]
    pub(crate) fn set_reg<T: Int>(&mut self, r: u8, v: T) {
        let full = &mut self.gpr[usize::from(r & 7)];
        match T::BITS {
            8 => *full = *full & !(0xFF << (r & 8)) | v.u() << (r & 8),
            16 => *full = *full & 0xFFFF_0000 | v.u(),
            _ => *full = v.u(),
        }
    }

    /// Base, index and displacement added up.
    #[inline(always)]
    pub(crate) fn sum(&self, op: &Op) -> u32 {
        self.gpr[usize::from(op.base & 15)]
            .wrapping_add(self.gpr[usize::from(op.index & 15)] << (op.scale & 3))
            .wrapping_add(op.disp)
    }

    /// Offset of the memory operand.
    #[inline(always)]
    pub(crate) fn offset(&self, op: &Op) -> u32 {
        self.sum(op) & op.address_mask()
    }

    /// Linear address of the memory operand.
    #[inline(always)]
    pub(crate) fn address(&mut self, op: &Op, size: u32, write: bool) -> Fallible<u32> {
        let offset = self.offset(op);
        self.linear(usize::from(op.seg), offset, size, write)
    }

    /// Reads the register or memory operand, for handlers that do not care for speed.
    pub(crate) fn get_rm<T: Int>(&mut self, p: &mut Pins<'_>, op: &Op) -> Fallible<T> {
        if op.is_memory() { Segmented::get(self, p, op) } else { Reg::get(self, p, op) }
    }

    /// Writes the register or memory operand, for handlers that do not care for speed.
    pub(crate) fn set_rm<T: Int>(&mut self, p: &mut Pins<'_>, op: &Op, v: T) -> Fallible<()> {
        if op.is_memory() { Segmented::set(self, p, op, v) } else { Reg::set(self, p, op, v) }
    }

    /// EIP of the next instruction.
    #[inline(always)]
    pub(crate) fn next_eip(&self, op: &Op) -> u32 {
        self.eip.wrapping_add(u32::from(op.end))
    }

    /// EIP of this instruction.
    #[inline(always)]
    pub(crate) fn this_eip(&self, op: &Op) -> u32 {
        self.eip.wrapping_add(u32::from(op.end)).wrapping_sub(u32::from(op.len))
    }

    /// Ends the block behind this instruction.
    #[inline(always)]
    pub(crate) fn fall(&mut self, op: &Op) -> Step {
        self.eip = self.next_eip(op);
        Ok(Flow::Fall)
    }

    /// Ends the block behind this instruction; the mode may have changed.
    #[inline(always)]
    pub(crate) fn resume(&mut self, op: &Op) -> Step {
        self.eip = self.next_eip(op);
        Ok(Flow::Jump)
    }

    /// #GP(0) unless at CPL 0.
    pub(crate) fn require_cpl0(&mut self) -> Fallible<()> {
        if self.cpl != 0 { Err(self.gp(0)) } else { Ok(()) }
    }
}

/// Not an instruction.
pub(crate) fn undefined(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    Err(c.ud())
}

/// Longer than 15 bytes.
pub(crate) fn too_long(c: &mut Core, _: &mut Pins<'_>, _: &Op) -> Step {
    Err(c.gp(0))
}
