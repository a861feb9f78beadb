//! Model-specific registers as P6 drivers look for them.

use super::{NEXT, Step};
use crate::block::Op;
use crate::model;
use crate::state::*;

/// RDMSR
pub(crate) fn rdmsr(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    c.require_cpl0()?;
    let n = c.gpr[ECX];
    let v = match n {
        0x10 if c.model.has(model::TSC) => Some(c.tsc(p)),
        _ => c.read_msr(n),
    };
    let Some(v) = v else { return Err(c.gp(0)) };
    c.gpr[EAX] = v as u32;
    c.gpr[EDX] = (v >> 32) as u32;
    NEXT
}

/// WRMSR
pub(crate) fn wrmsr(c: &mut Core, p: &mut Pins<'_>, _: &Op) -> Step {
    c.require_cpl0()?;
    let n = c.gpr[ECX];
    let v = u64::from(c.gpr[EDX]) << 32 | u64::from(c.gpr[EAX]);
    let ok = match n {
        0x10 if c.model.has(model::TSC) => {
            // A P6 writes the low half and clears the high one.
            c.msr.tsc_offset = (v & 0xFFFF_FFFF).wrapping_sub(p.bus.tsc(c.now()));
            true
        }
        _ => c.write_msr(n, v),
    };
    if ok { NEXT } else { Err(c.gp(0)) }
}

/// Numbers of the fixed-range MTRRs, in the order they are stored.
const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x26D, 0x26E, 0x26F];
/// Numbers of the bus-and-cache control registers.
const BBL: [u32; 6] = [0x116, 0x118, 0x119, 0x11A, 0x11B, 0x11E];

/// What [`Core::write_msr`] and a loaded state may set.
pub(crate) const STORED: [u32; 47] = [
    0x10, 0x1B, 0x2A, 0x33, 0x8B, 0x116, 0x118, 0x119, 0x11A, 0x11B, 0x11E, 0x174, 0x175, 0x176, 0x17A,
    0x186, 0x187, 0xC1, 0xC2, 0x1D9, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206, 0x207, 0x208, 0x209,
    0x20A, 0x20B, 0x20C, 0x20D, 0x20E, 0x20F, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26A, 0x26B, 0x26C, 0x277,
    0x2FF, 0x26D,
];

/// A memory type MTRRs know.
fn memory_type(t: u64) -> bool {
    matches!(t, 0 | 1 | 4 | 5 | 6)
}

/// A memory type the PAT knows.
fn pat_type(t: u64) -> bool {
    matches!(t, 0 | 1 | 4 | 5 | 6 | 7)
}

fn each_byte(v: u64, ok: fn(u64) -> bool) -> bool {
    v.to_le_bytes().into_iter().all(|b| ok(u64::from(b)))
}

impl Core {
    /// The value of an MSR that does not depend on the bus.
    pub(crate) fn read_msr(&self, n: u32) -> Option<u64> {
        let m = &self.msr;
        let p6 = self.model.signature >> 8 & 15 == 6;
        if !self.model.has(model::MSR) {
            return None;
        }
        if !p6 {
            // Pentium: machine-check address and type, test registers, counters.
            return match n {
                0x00 | 0x01 | 0x02..=0x0E | 0x11..=0x13 => Some(0),
                _ => None,
            };
        }
        let v = match n {
            0x00 | 0x01 | 0x17 | 0x88..=0x8A | 0x79 => 0,
            0x1B => m.apic_base,
            0x2A => m.power_on,
            0x33 => m.test_ctl,
            0x8B => m.ucode_revision,
            0xC1 | 0xC2 => m.perf_count[n as usize - 0xC1],
            0xFE if self.model.has(model::MTRR) => 0x508,
            0x174 if self.model.has(model::SEP) => u64::from(m.sysenter_cs),
            0x175 if self.model.has(model::SEP) => u64::from(m.sysenter_esp),
            0x176 if self.model.has(model::SEP) => u64::from(m.sysenter_eip),
            // No machine-check banks.
            0x179 => 0,
            0x17A => m.mcg_status,
            0x186 | 0x187 => m.perf_select[n as usize - 0x186],
            0x1D9 => m.debugctl,
            0x1DB..=0x1DE => 0,
            0x200..=0x20F if self.model.has(model::MTRR) => {
                let i = (n - 0x200) as usize / 2;
                if n & 1 == 0 { m.mtrr_base[i] } else { m.mtrr_mask[i] }
            }
            0x277 if self.model.has(model::PAT) => m.pat,
            0x2FF if self.model.has(model::MTRR) => m.mtrr_def_type,
            _ => {
                if let Some(i) = BBL.iter().position(|&r| r == n) {
                    m.bbl[i]
                } else {
                    let i = FIXED.iter().position(|&r| r == n).filter(|_| self.model.has(model::MTRR))?;
                    m.mtrr_fixed[i]
                }
            }
        };
        Some(v)
    }

    /// Writes an MSR other than the time-stamp counter. `false`: there is none such, or it cannot hold this.
    pub(crate) fn write_msr(&mut self, n: u32, v: u64) -> bool {
        if self.read_msr(n).is_none() {
            return false;
        }
        let physical = (1u64 << self.model.address_bits) - 1;
        let p6 = self.model.signature >> 8 & 15 == 6;
        let m = &mut self.msr;
        if !p6 {
            return true;
        }
        match n {
            0x1B => {
                if v & !(physical & !0xFFF | 0x900) != 0 {
                    return false;
                }
                m.apic_base = v;
            }
            0x2A => m.power_on = v,
            0x33 => m.test_ctl = v,
            // A microcode load is accepted and changes nothing.
            0x79 => {}
            0x8B => m.ucode_revision = v,
            0xC1 | 0xC2 => m.perf_count[n as usize - 0xC1] = (v as u32 as i32 as i64 as u64) & 0xFF_FFFF_FFFF,
            0x174 => m.sysenter_cs = v as u32,
            0x175 => m.sysenter_esp = v as u32,
            0x176 => m.sysenter_eip = v as u32,
            0x17A => m.mcg_status = v & 7,
            0x186 | 0x187 => m.perf_select[n as usize - 0x186] = v & 0xFFFF_FFFF,
            0x1D9 => m.debugctl = v & 0x7F,
            0x200..=0x20F => {
                let i = (n - 0x200) as usize / 2;
                if n & 1 == 0 {
                    if v & !(physical & !0xFFF | 0xFF) != 0 || !memory_type(v & 0xFF) {
                        return false;
                    }
                    m.mtrr_base[i] = v;
                } else {
                    if v & !(physical & !0xFFF | 0x800) != 0 {
                        return false;
                    }
                    m.mtrr_mask[i] = v;
                }
            }
            0x277 => {
                if !each_byte(v, pat_type) {
                    return false;
                }
                m.pat = v;
            }
            0x2FF => {
                if v & !0xCFF != 0 || !memory_type(v & 0xFF) {
                    return false;
                }
                m.mtrr_def_type = v;
            }
            _ => {
                if let Some(i) = BBL.iter().position(|&r| r == n) {
                    m.bbl[i] = v;
                } else if let Some(i) = FIXED.iter().position(|&r| r == n) {
                    if !each_byte(v, memory_type) {
                        return false;
                    }
                    m.mtrr_fixed[i] = v;
                } else {
                    return n < 2 || (0x88..=0x8A).contains(&n) || (0x1DB..=0x1DE).contains(&n);
                }
            }
        }
        true
    }
}
