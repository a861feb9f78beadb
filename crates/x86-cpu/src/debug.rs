//! Debug registers, breakpoints and single step.

use crate::block::Op;
use crate::exceptions::vector;
use crate::flags;
use crate::state::*;

/// DR6: a MOV to or from a debug register while DR7.GD is set.
const DR6_BD: u32 = 1 << 13;
/// DR6: single step.
pub(crate) const DR6_BS: u32 = 1 << 14;
/// DR7: general detect.
const DR7_GD: u32 = 1 << 13;

/// Kinds of breakpoint in DR7's R/W fields.
const EXECUTE: u32 = 0;
const WRITE: u32 = 1;
const PORT: u32 = 2;

impl Core {
    /// The debug register that an instruction names, if it may be touched now.
    pub(crate) fn debug_register(&mut self, op: &Op) -> Fallible<usize> {
        let n = match op.reg {
            4 | 5 if self.cr4 & CR4_DE != 0 => return Err(self.ud()),
            4 | 5 => usize::from(op.reg) + 2,
            n => usize::from(n),
        };
        self.require_cpl0()?;
        if self.dr[7] & DR7_GD != 0 {
            self.dr[6] |= DR6_BD;
            return Err(self.raise(vector::DB, None));
        }
        Ok(n)
    }

    pub(crate) fn set_debug_register(&mut self, n: usize, v: u32) {
        let watched = self.dr[7] & 0xFF != 0;
        self.dr[n] = match n {
            6 => v & 0xE00F | 0xFFFF_0FF0,
            7 => v & 0xFFFF_2BFF | 0x400,
            _ => v,
        };
        // Pages with breakpoints leave the fast path.
        if watched || self.dr[7] & 0xFF != 0 {
            self.flush_tlb(true);
        }
        self.poke();
    }

    /// Enabled breakpoints as (number, kind, address, length).
    fn breakpoints(&self) -> impl Iterator<Item = (usize, u32, u32, u32)> + '_ {
        let dr7 = self.dr[7];
        (0..4).filter(move |n| dr7 >> (2 * n) & 3 != 0).map(move |n| {
            let field = dr7 >> (16 + 4 * n) & 15;
            let len = match field >> 2 {
                0 => 1,
                1 => 2,
                2 => 8,
                _ => 4,
            };
            (n, field & 3, self.dr[n] & !(len - 1), len)
        })
    }

    /// Whether a data breakpoint lies on the page.
    pub(crate) fn page_has_breakpoint(&self, linear: u32) -> bool {
        self.dr[7] & 0xFF != 0
            && self.breakpoints().any(|(_, kind, at, _)| kind & 1 != 0 && at >> 12 == linear >> 12)
    }

    /// Notes the data breakpoints that an access hits.
    pub(crate) fn check_data_breakpoints(&mut self, linear: u32, size: u32, write: bool) {
        let mut hits = 0;
        for (n, kind, at, len) in self.breakpoints() {
            let watched = kind & 1 != 0 && (write || kind != WRITE);
            let before = linear.wrapping_sub(at) < len;
            let after = at.wrapping_sub(linear) < size;
            if watched && (before || after) {
                hits |= 1 << n;
            }
        }
        if hits != 0 {
            self.debug_hits |= hits;
            self.poke();
        }
    }

    /// Notes the I/O breakpoints that an access hits.
    pub(crate) fn check_port_breakpoints(&mut self, port: u16, size: u32) {
        if self.dr[7] & 0xFF == 0 || self.cr4 & CR4_DE == 0 {
            return;
        }
        let mut hits = 0;
        for (n, kind, at, len) in self.breakpoints() {
            let port = u32::from(port);
            if kind == PORT && (port.wrapping_sub(at) < len || at.wrapping_sub(port) < size) {
                hits |= 1 << n;
            }
        }
        if hits != 0 {
            self.debug_hits |= hits;
            self.poke();
        }
    }

    /// Whether any instruction breakpoint is enabled.
    pub(crate) fn watches_instructions(&self) -> bool {
        self.dr[7] & 0xFF != 0 && self.breakpoints().any(|(_, kind, ..)| kind == EXECUTE)
    }

    /// Raises #DB if an instruction breakpoint is at the next instruction and neither RF nor a load of SS before it holds
    /// it off (SDM vol. 3, 6.8.3). The breakpoints hit are left noted: by them the delivery knows what kind of #DB it is.
    pub(crate) fn check_instruction_breakpoints(&mut self) -> Fallible<()> {
        let resumed = self.flag(flags::RF) || self.amid_repeat();
        if resumed || self.shadow_traps && self.retired == self.shadow_at {
            return Ok(());
        }
        let linear = self.seg[CS].base.wrapping_add(self.eip);
        let mut hits = 0;
        for (n, kind, ..) in self.breakpoints() {
            if kind == EXECUTE && self.dr[n] == linear {
                hits |= 1 << n;
            }
        }
        if hits == 0 {
            return Ok(());
        }
        self.debug_hits = hits;
        Err(self.raise(vector::DB, None))
    }

    /// What an exception leaves of the noted hits; answers whether it is the #DB of an instruction breakpoint.
    pub(crate) fn hits_at_fault(&mut self, raised: u8) -> bool {
        // A load of SS before the instruction that faulted may have left some, for the handler's first instruction.
        if self.shadow_traps && self.retired == self.shadow_at {
            return false;
        }
        // An instruction that faults has hit no data breakpoint: that is a trap.
        let hits = std::mem::take(&mut self.debug_hits);
        let breakpoint = raised == vector::DB && hits != 0;
        if breakpoint {
            self.dr[6] = self.dr[6] & !15 | hits;
        }
        breakpoint
    }

    /// Takes the noted hits of the instruction that has just retired as a #DB trap.
    pub(crate) fn take_debug_trap(&mut self, pins: &mut Pins<'_>) {
        self.dr[6] |= self.debug_hits;
        self.debug_hits = 0;
        self.dr[7] &= !DR7_GD;
        self.deliver_external(pins, vector::DB);
    }
}
