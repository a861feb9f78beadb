//! IN, OUT, INS, OUTS.

use super::{NEXT, Step};
use crate::block::{Op, REP, REPNE};
use crate::flags::DF;
use crate::int::Int;
use crate::state::*;
use slotone_bus::mem::PAGE_SIZE;

impl Core {
    /// CPL against IOPL, then the TSS's permission bitmap.
    fn check_port(&mut self, p: &mut Pins<'_>, port: u16, size: u32) -> Fallible<()> {
        if !self.protected() || !self.v86() && self.cpl <= self.iopl() {
            return Ok(());
        }
        // A 32-bit TSS that is there and long enough to have a map.
        if self.tr.attr & 0x89 != 0x89 || self.tr.limit < 0x67 {
            return Err(self.gp(0));
        }
        let base = self.tr.base;
        let map: u16 = self.read_system(p, base.wrapping_add(0x66))?;
        let at = u32::from(map) + u32::from(port / 8);
        if at + 1 > self.tr.limit {
            return Err(self.gp(0));
        }
        let bits: u16 = self.read_system(p, base.wrapping_add(at))?;
        if bits >> (port % 8) & ((1 << size) - 1) != 0 {
            return Err(self.gp(0));
        }
        Ok(())
    }

    fn port_in<T: Int>(&mut self, p: &mut Pins<'_>, port: u16) -> T {
        let mut bytes = [0; 4];
        self.check_port_breakpoints(port, T::SIZE);
        p.bus.io_read(self.now(), port, &mut bytes[..T::SIZE as usize]);
        self.pull(p);
        T::of(u32::from_le_bytes(bytes))
    }

    fn port_out<T: Int>(&mut self, p: &mut Pins<'_>, port: u16, v: T) {
        self.check_port_breakpoints(port, T::SIZE);
        p.bus.io_write(self.now(), port, &v.u().to_le_bytes()[..T::SIZE as usize]);
        self.pull(p);
    }

    fn port_of(&self, op: &Op) -> u16 {
        // E4h-E7h have the port in the instruction.
        if op.opcode & 8 == 0 { op.imm as u16 & 0xFF } else { self.gpr[EDX] as u16 }
    }
}

/// IN
pub(crate) fn input<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let port = c.port_of(op);
    c.check_port(p, port, T::SIZE)?;
    let v: T = c.port_in(p, port);
    c.set_reg(0, v);
    NEXT
}

/// OUT
pub(crate) fn output<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let port = c.port_of(op);
    c.check_port(p, port, T::SIZE)?;
    let v = c.reg::<T>(0);
    c.port_out(p, port, v);
    NEXT
}

/// Most bytes of one burst.
const BURST: usize = PAGE_SIZE;

impl Core {
    /// Elements that one burst may move: within the count, the budget, the page, the segment and the address size.
    fn burst<T: Int>(&self, op: &Op, seg: usize, reg: usize, write: bool) -> usize {
        if op.flags & (REP | REPNE) == 0 || self.flags & DF != 0 || self.attention {
            return 1;
        }
        let mask = op.address_mask();
        let offset = self.gpr[reg] & mask;
        let room = self.seg[seg].room(offset, write).min(u64::from(mask - offset) + 1);
        let page = PAGE_SIZE as u64 - u64::from(self.seg[seg].base.wrapping_add(offset)) % PAGE_SIZE as u64;
        let count = u64::from(self.gpr[ECX] & mask);
        let budget = self.limit.saturating_sub(self.now());
        let n = (room.min(page).min(BURST as u64) / u64::from(T::SIZE)).min(count).min(budget);
        (n as usize).max(1)
    }

    /// Accounts for `n` elements of INS or OUTS.
    fn burst_done<T: Int>(&mut self, op: &Op, reg: usize, n: usize) -> Option<Step> {
        let mask = op.address_mask();
        let by = self.string_step::<T>().wrapping_mul(n as u32);
        self.advance(reg, mask, by);
        if op.flags & (REP | REPNE) == 0 {
            return Some(NEXT);
        }
        self.advance(ECX, mask, (n as u32).wrapping_neg());
        if self.gpr[ECX] & mask == 0 {
            self.retired += n as u64 - 1;
            return Some(self.fall(op));
        }
        self.retired += n as u64;
        (self.attention || self.now() >= self.limit).then(|| Ok(self.pause()))
    }
}

/// INS
pub(crate) fn ins<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let port = c.gpr[EDX] as u16;
    c.check_port(p, port, T::SIZE)?;
    if op.flags & (REP | REPNE) != 0 && c.gpr[ECX] & mask == 0 {
        return c.fall(op);
    }
    loop {
        let at = c.linear(ES, c.gpr[EDI] & mask, T::SIZE, true)?;
        c.probe_write(p, at, T::SIZE)?;
        let mut n = c.burst::<T>(op, ES, EDI, true);
        if n > 1 {
            let mut bytes = [0; BURST];
            let bytes = &mut bytes[..n * T::SIZE as usize];
            let done = p.bus.io_read_burst(c.now(), port, T::SIZE as usize, bytes);
            n = (done / T::SIZE as usize).clamp(1, n);
            c.pull(p);
            c.write_bytes(p, at, &bytes[..n * T::SIZE as usize])?;
        } else {
            let v: T = c.port_in(p, port);
            c.write(p, at, v)?;
        }
        if let Some(step) = c.burst_done::<T>(op, EDI, n) {
            return step;
        }
    }
}

/// OUTS
pub(crate) fn outs<T: Int>(c: &mut Core, p: &mut Pins<'_>, op: &Op) -> Step {
    let mask = op.address_mask();
    let port = c.gpr[EDX] as u16;
    c.check_port(p, port, T::SIZE)?;
    if op.flags & (REP | REPNE) != 0 && c.gpr[ECX] & mask == 0 {
        return c.fall(op);
    }
    let seg = usize::from(op.seg);
    loop {
        let at = c.linear(seg, c.gpr[ESI] & mask, T::SIZE, false)?;
        let mut n = c.burst::<T>(op, seg, ESI, false);
        if n > 1 {
            let mut bytes = [0; BURST];
            let bytes = &mut bytes[..n * T::SIZE as usize];
            c.read_bytes(p, at, bytes)?;
            let done = p.bus.io_write_burst(c.now(), port, T::SIZE as usize, bytes);
            n = (done / T::SIZE as usize).clamp(1, n);
            c.pull(p);
        } else {
            let v: T = c.read(p, at)?;
            c.port_out(p, port, v);
        }
        if let Some(step) = c.burst_done::<T>(op, ESI, n) {
            return step;
        }
    }
}
