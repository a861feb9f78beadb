//! The architectural state as [`CpuState`].

use crate::flags;
use crate::fpu::FXSAVE_LEN;
use crate::ops::msr::STORED;
use crate::segmentation::{ATTR_ALL, ATTR_UNUSABLE, Seg};
use crate::state::*;
use slotone_bus::cpu::{CpuState, Segment};
use slotone_bus::state::StateError;

fn segment(s: &Seg) -> Segment {
    Segment { selector: s.sel, base: s.base, limit: s.limit, attributes: s.attr }
}

fn invalid(what: impl Into<String>) -> StateError {
    StateError::Invalid { section: "x86-cpu".into(), what: what.into() }
}

fn check_segment(name: &str, s: &Segment) -> Result<Seg, StateError> {
    if s.attributes & !ATTR_ALL != 0 {
        return Err(invalid(format!("{name} has unknown attribute bits {:#x}", s.attributes)));
    }
    Ok(Seg::new(s.selector, s.base, s.limit, s.attributes))
}

impl Core {
    pub(crate) fn save(&self) -> CpuState {
        let mut gpr = [0; 8];
        gpr.copy_from_slice(&self.gpr[..8]);
        let mut fx = [0; FXSAVE_LEN];
        self.fxsave_image(&mut fx);
        let mut msr: Vec<(u32, u64)> = STORED
            .iter()
            .filter_map(|&n| {
                let v = if n == 0x10 { Some(self.msr.tsc_offset) } else { self.read_msr(n) };
                v.map(|v| (n, v))
            })
            .collect();
        msr.sort_unstable();
        CpuState {
            gpr,
            eip: self.eip,
            eflags: self.eflags() | if self.amid_repeat() { flags::RF } else { 0 },
            segments: [0, 1, 2, 3, 4, 5].map(|i| segment(&self.seg[i])),
            ldtr: segment(&self.ldtr),
            tr: segment(&self.tr),
            gdtr: self.gdtr,
            idtr: self.idtr,
            cr0: self.cr0,
            cr2: self.cr2,
            cr3: self.cr3,
            cr4: self.cr4,
            pdpte: if self.cr4 & CR4_PAE != 0 { self.pdpte } else { [0; 4] },
            dr: self.dr,
            fx,
            msr,
            retired: self.retired,
            halted: self.halted,
            shutdown: self.shutdown,
            interrupt_shadow: self.shadow_at == self.retired,
            nmi_blocked: self.nmi_blocked,
            nmi_pending: self.nmi_pending,
            nmi_level: self.nmi_level,
            ferr: self.ferr,
            traps_held: self.shadow_traps && self.shadow_at == self.retired,
            held_hits: self.debug_hits,
        }
    }

    pub(crate) fn load(&mut self, s: &CpuState) -> Result<(), StateError> {
        if s.cr0 & !CR0_ALL != 0 || s.cr0 & CR0_PG != 0 && s.cr0 & CR0_PE == 0 {
            return Err(invalid(format!("CR0 cannot be {:#x}", s.cr0)));
        }
        if s.cr4 & !self.cr4_bits() != 0 {
            return Err(invalid(format!("this model's CR4 cannot be {:#x}", s.cr4)));
        }
        if s.eflags & !(flags::ALL | 2) != 0 {
            return Err(invalid(format!("EFLAGS cannot be {:#x}", s.eflags)));
        }
        if s.eflags & flags::VM != 0 && s.cr0 & CR0_PE == 0 {
            return Err(invalid("EFLAGS.VM is set outside protected mode"));
        }
        let names = ["ES", "CS", "SS", "DS", "FS", "GS"];
        let mut seg = [Seg::default(); 6];
        for (i, to) in seg.iter_mut().enumerate() {
            *to = check_segment(names[i], &s.segments[i])?;
        }
        let (ldtr, tr) = (check_segment("LDTR", &s.ldtr)?, check_segment("TR", &s.tr)?);
        if s.cr0 & CR0_PE != 0 && seg[CS].attr & ATTR_UNUSABLE != 0 {
            return Err(invalid("CS is unusable"));
        }
        if s.dr[4] != 0 || s.dr[5] != 0 {
            return Err(invalid("DR4 and DR5 do not exist"));
        }
        if s.retired > u64::MAX / 2 {
            return Err(invalid("the count of retired instructions is out of range"));
        }
        if s.traps_held && !s.interrupt_shadow {
            return Err(invalid("traps are held off outside an interrupt shadow"));
        }
        if s.held_hits & !15 != 0 || s.held_hits != 0 && !s.traps_held {
            return Err(invalid(format!("breakpoints {:#x} cannot be held off", s.held_hits)));
        }
        // MSRs are tried on a copy first.
        let kept = self.msr.clone();
        self.msr = Msrs::default();
        for &(n, v) in &s.msr {
            let ok = STORED.contains(&n) && if n == 0x10 { true } else { self.write_msr(n, v) };
            if !ok {
                self.msr = kept;
                return Err(invalid(format!("MSR {n:#x} cannot be {v:#x}")));
            }
            if n == 0x10 {
                self.msr.tsc_offset = v;
            }
        }
        if !self.fxrstor_image(&s.fx) {
            self.msr = kept;
            return Err(invalid("the FXSAVE image has reserved bits of MXCSR set"));
        }
        self.gpr[..8].copy_from_slice(&s.gpr);
        self.eip = s.eip;
        self.seg = seg;
        (self.ldtr, self.tr) = (ldtr, tr);
        (self.gdtr, self.idtr) = (s.gdtr, s.idtr);
        self.cr0 = s.cr0 | CR0_ET;
        (self.cr2, self.cr3, self.cr4) = (s.cr2, s.cr3, s.cr4);
        self.pdpte = s.pdpte;
        self.dr = s.dr;
        self.dr[6] = s.dr[6] & 0xE00F | 0xFFFF_0FF0;
        self.dr[7] = s.dr[7] & 0xFFFF_2BFF | 0x400;
        self.retired = s.retired;
        self.halted = s.halted;
        self.shutdown = s.shutdown;
        self.shadow_at = if s.interrupt_shadow { s.retired } else { u64::MAX };
        self.shadow_traps = s.traps_held;
        // RF says it.
        self.repeat_at = u64::MAX;
        self.nmi_blocked = s.nmi_blocked;
        self.nmi_pending = s.nmi_pending;
        self.nmi_level = s.nmi_level;
        self.debug_hits = s.held_hits;
        self.ferr = s.ferr;
        self.flags = s.eflags & flags::ALL & !flags::ARITH;
        self.fl = flags::Flags::from_bits(s.eflags);
        // The privilege level is that of SS, as KVM and VMX have it.
        self.cpl = match () {
            () if self.v86() => 3,
            () if self.protected() => (self.seg[SS].attr >> 5 & 3) as u8,
            () => 0,
        };
        self.forget_map();
        self.update_mode();
        self.limit = 0;
        self.poke();
        Ok(())
    }
}
