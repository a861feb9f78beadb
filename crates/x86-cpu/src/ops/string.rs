//! String instructions, single and repeated.
//!
//! A repeated one retires once per iteration, ends its block, and stops between iterations when the run loop wants to
//! look around; registers then show the progress.

use super::{NEXT, Step};
use crate::block::{Flow, Op, REP, REPNE};
use crate::fast_mem::PART_ALIGNED;
use crate::flags::DF;
use crate::int::Int;
use crate::ops::alu;
use crate::state::*;

impl Core {
    /// What ESI and EDI move by.
    #[inline(always)]
    pub(crate) fn string_step<T: Int>(&self) -> u32 {
        if self.flags & DF != 0 { T::SIZE.wrapping_neg() } else { T::SIZE }
    }

    #[inline(always)]
    pub(crate) fn advance(&mut self, reg: usize, mask: u32, by: u32) {
        let v = self.gpr[reg];
        self.gpr[reg] = v & !mask | v.wrapping_add(by) & mask;
    }

    /// Runs `once` per iteration; it says whether the ending condition holds.
    #[inline(always)]
    pub(crate) fn repeat(
        &mut self,
        p: &mut Pins<'_>,
        op: &Op,
        mut once: impl FnMut(&mut Self, &mut Pins<'_>) -> Fallible<bool>,
    ) -> Step {
        if op.flags & (REP | REPNE) == 0 {
            once(self, p)?;
            return NEXT;
        }
        let mask = op.address_mask();
        if self.gpr[ECX] & mask == 0 {
            return self.fall(op);
        }
        loop {
            let end = once(self, p)?;
            self.advance(ECX, mask, u32::MAX);
            if end || self.gpr[ECX] & mask == 0 {
                return self.fall(op);
            }
            self.retired += 1;
            if self.attention || self.now() >= self.limit {
                return Ok(self.pause());
            }
        }
    }

    /// Stops between iterations.
    pub(crate) fn pause(&mut self) -> Flow {
        self.repeat_at = self.now();
        Flow::Again
    }

    /// How many iterations can be done in one piece with `bytes` at hand.
    fn piece<T: Int>(&self, op: &Op, bytes: usize) -> usize {
        let count = (self.gpr[ECX] & op.address_mask()) as usize;
        let budget = self.limit.saturating_sub(self.now());
        (bytes / T::SIZE as usize).min(count).min(usize::try_from(budget).unwrap_or(usize::MAX))
    }

    /// Accounts for `n` iterations done in one piece. `Some` is how the handler leaves.
    fn piece_done(&mut self, op: &Op, n: usize) -> Option<Step> {
        let mask = op.address_mask();
        self.advance(ECX, mask, (n as u32).wrapping_neg());
        if self.gpr[ECX] & mask == 0 {
            self.retired += n as u64 - 1;
            return Some(self.fall(op));
        }
        self.retired += n as u64;
        (self.now() >= self.limit).then(|| Ok(self.pause()))
    }

    /// Whether pieces can be taken: repeated, upwards, nobody watching every step.
    fn in_pieces(&self, op: &Op) -> bool {
        op.flags & (REP | REPNE) != 0 && self.flags & DF == 0 && !self.attention && self.part != PART_ALIGNED
    }

    /// Bytes at hand from a segment's offset on, up to the segment's, the address size's and the page's end.
    fn string_span(&self, seg: usize, offset: u32, mask: u32, write: bool) -> Option<crate::fast_mem::Span> {
        let s = &self.seg[seg];
        let room = s.room(offset, write).min(u64::from(mask - offset) + 1);
        let mut span = self.tlb.span(self.part, s.base.wrapping_add(offset), write)?;
        span.len = span.len.min(usize::try_from(room).unwrap_or(usize::MAX));
        Some(span)
    }
}

/// MOVS
pub(crate) fn movs<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let seg = usize::from(op.seg);
    while c.in_pieces(op) && c.gpr[ECX] & mask > 1 {
        let from = c.string_span(seg, c.gpr[ESI] & mask, mask, false);
        let to = c.string_span(ES, c.gpr[EDI] & mask, mask, true);
        let (Some(from), Some(to)) = (from, to) else {
            // One the slow way brings the pages in, if they are RAM at all.
            if let Some(step) = movs_one_then_look::<T>(c, p, op)? {
                return step;
            }
            continue;
        };
        let n = c.piece::<T>(op, from.len.min(to.len));
        if n < 2 || !from.copy_to(&to, n * T::SIZE as usize) {
            if let Some(step) = movs_one_then_look::<T>(c, p, op)? {
                return step;
            }
            continue;
        }
        let bytes = n as u32 * T::SIZE;
        c.advance(ESI, mask, bytes);
        c.advance(EDI, mask, bytes);
        if let Some(step) = c.piece_done(op, n) {
            return step;
        }
    }
    let by = c.string_step::<T>();
    c.repeat(p, op, |c, p| {
        movs_once::<T>(c, p, seg, mask, by)?;
        Ok(false)
    })
}

#[inline(always)]
fn movs_once<T: Int>(c: &mut Core, p: &mut Pins<'_>, seg: usize, mask: u32, by: u32) -> Fallible<()> {
    let from = c.linear(seg, c.gpr[ESI] & mask, T::SIZE, false)?;
    let to = c.linear(ES, c.gpr[EDI] & mask, T::SIZE, true)?;
    let v: T = c.read(p, from)?;
    c.write(p, to, v)?;
    c.advance(ESI, mask, by);
    c.advance(EDI, mask, by);
    Ok(())
}

/// One iteration of a repeated MOVS; `Some` is how the handler leaves.
#[inline]
fn movs_one_then_look<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Fallible<Option<Step>> {
    movs_once::<T>(c, p, usize::from(op.seg), op.address_mask(), T::SIZE)?;
    Ok(one_done(c, op))
}

fn one_done(c: &mut Core, op: &Op) -> Option<Step> {
    c.piece_done(op, 1).or_else(|| c.attention.then(|| Ok(c.pause())))
}

/// STOS
pub(crate) fn stos<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let v = c.reg::<T>(0);
    while c.in_pieces(op) && c.gpr[ECX] & mask > 1 {
        let n = match c.string_span(ES, c.gpr[EDI] & mask, mask, true) {
            Some(to) => {
                let n = c.piece::<T>(op, to.len);
                to.fill(v, n);
                n
            }
            None => 0,
        };
        if n == 0 {
            stos_once(c, p, mask, T::SIZE, v)?;
            if let Some(step) = one_done(c, op) {
                return step;
            }
            continue;
        }
        c.advance(EDI, mask, n as u32 * T::SIZE);
        if let Some(step) = c.piece_done(op, n) {
            return step;
        }
    }
    let by = c.string_step::<T>();
    c.repeat(p, op, |c, p| {
        stos_once(c, p, mask, by, v)?;
        Ok(false)
    })
}

#[inline(always)]
fn stos_once<T: Int>(c: &mut Core, p: &mut Pins<'_>, mask: u32, by: u32, v: T) -> Fallible<()> {
    let to = c.linear(ES, c.gpr[EDI] & mask, T::SIZE, true)?;
    c.write(p, to, v)?;
    c.advance(EDI, mask, by);
    Ok(())
}

/// LODS
pub(crate) fn lods<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let by = c.string_step::<T>();
    let seg = usize::from(op.seg);
    c.repeat(p, op, |c, p| {
        let from = c.linear(seg, c.gpr[ESI] & mask, T::SIZE, false)?;
        let v: T = c.read(p, from)?;
        c.set_reg(0, v);
        c.advance(ESI, mask, by);
        Ok(false)
    })
}

/// SCAS
pub(crate) fn scas<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let by = c.string_step::<T>();
    let until_equal = op.flags & REPNE != 0;
    let a = c.reg::<T>(0);
    c.repeat(p, op, |c, p| {
        let at = c.linear(ES, c.gpr[EDI] & mask, T::SIZE, false)?;
        let b: T = c.read(p, at)?;
        c.fl = alu::alu::<T, { alu::CMP }>(a, b, c.fl).1;
        c.advance(EDI, mask, by);
        Ok(c.fl.zf() == until_equal)
    })
}

/// CMPS
pub(crate) fn cmps<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let by = c.string_step::<T>();
    let seg = usize::from(op.seg);
    let until_equal = op.flags & REPNE != 0;
    c.repeat(p, op, |c, p| {
        let at = c.linear(seg, c.gpr[ESI] & mask, T::SIZE, false)?;
        let a: T = c.read(p, at)?;
        let at = c.linear(ES, c.gpr[EDI] & mask, T::SIZE, false)?;
        let b: T = c.read(p, at)?;
        c.fl = alu::alu::<T, { alu::CMP }>(a, b, c.fl).1;
        c.advance(ESI, mask, by);
        c.advance(EDI, mask, by);
        Ok(c.fl.zf() == until_equal)
    })
}
