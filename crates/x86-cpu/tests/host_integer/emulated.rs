//! The same machine emulated: paging on, CPL 3, the host's selectors, an LDT like the host's.
#![allow(dead_code, reason = "every test file uses its part")]

use super::common::{self, Machine};
use super::layout::*;
use slotone_bus::cpu::{Cpu, CpuState, Exit, Segment, TableRegister};

/// Linear address of physical 0: the tables are where user code never comes.
const HIGH: u32 = 0xC000_0000;
const HIGH_TABLE: u32 = 0x7000;
const CODE_ATTRIBUTES: u32 = 0xC0FB;
const DATA_ATTRIBUTES: u32 = 0xC0F3;

pub(crate) struct Emulated {
    machine: Machine,
    state: CpuState,
    ldt: [Segment; LDT.len()],
}

fn flat(selector: u16, attributes: u32) -> Segment {
    Segment { selector, base: 0, limit: u32::MAX, attributes }
}

impl Emulated {
    pub(crate) fn new() -> Self {
        let mut m = Machine::new();
        for (selector, access) in [(CS32, 0xFB), (FLAT, 0xF3), (CS_EXIT, 0xFB)] {
            m.descriptor(selector, common::descriptor(0, 0xF_FFFF, access, 0xC));
        }
        let mut ldt = [Segment::default(); LDT.len()];
        for (e, seg) in LDT.iter().zip(&mut ldt) {
            let kind = 0x71 | (e.contents as u8) << 2 | u8::from(!e.restricted) << 1;
            let access = kind | if e.present { 0x80 } else { 0 };
            let flags = 1 | if e.big { 4 } else { 0 };
            m.descriptor(e.selector, common::descriptor(e.base, e.limit, access, flags));
            let attributes = u32::from(access) | u32::from(flags) << 12;
            *seg = Segment { selector: e.selector, base: e.base, limit: e.limit, attributes };
        }
        for v in 0..=255u8 {
            let access = if matches!(v, 3 | 4) { 0xEE } else { 0x8E };
            m.gate(v, common::gate(common::CODE0, HIGH + common::HANDLERS + u32::from(v), access, 0));
        }
        m.write32(common::TSS + 4, HIGH + common::STACK0);
        m.write32(common::PAGE_DIRECTORY, common::PAGE_TABLE | 7);
        m.write32(common::PAGE_DIRECTORY + 4 * (HIGH >> 22), HIGH_TABLE | 7);
        let (mut pages, user) = ([0; 1024], 7);
        let read_only = 5;
        let mut set = |from: u32, len: u32, rights: u32| {
            for page in from >> 12..(from + len) >> 12 {
                pages[page as usize] = page << 12 | rights;
            }
        };
        set(REGION, 0x1_0000, user);
        set(REGION + HOLE, 0x1000, 0);
        set(REGION + READ_ONLY, 0x1000, read_only);
        set(STUBS, 0x1000, read_only);
        set(BUFFER, BUFFER_LEN, user);
        for at in CODE_PAGES {
            set(CODE + at, 0x1000, user);
        }
        for (i, entry) in pages.into_iter().enumerate() {
            m.write32(common::PAGE_TABLE + 4 * i as u32, entry);
            m.write32(HIGH_TABLE + 4 * i as u32, (i as u32) << 12 | 3);
        }
        // HLT is a general-protection fault at CPL 3.
        for at in EXITS {
            m.write(at, &[0xF4]);
        }
        let mut state = m.state.clone();
        state.cr3 = common::PAGE_DIRECTORY;
        // Paging, write protection and alignment checks, as Linux has them.
        state.cr0 |= 0x8005_0000;
        state.gdtr = TableRegister { base: HIGH + common::GDT, limit: 0x3F };
        state.idtr.base += HIGH;
        state.tr.base += HIGH;
        state.ldtr.base += HIGH;
        state.ldtr.limit = 8 * LDT.len() as u32 - 1;
        for i in [4, 5] {
            state.segments[i] = Segment { selector: 0, base: 0, limit: 0, attributes: 0x1_0000 };
        }
        Self { machine: m, state, ldt }
    }

    fn segment(&self, selector: u16) -> Segment {
        match selector {
            0..=3 => Segment { selector, base: 0, limit: 0, attributes: 0x1_0000 },
            FLAT => flat(selector, DATA_ATTRIBUTES),
            CS32 => flat(selector, CODE_ATTRIBUTES),
            _ => self.ldt[usize::from(selector >> 3)],
        }
    }

    pub(crate) fn put(&mut self, at: u32, data: &[u8]) {
        self.machine.write(at, data);
    }

    pub(crate) fn get(&self, at: u32, len: usize) -> &[u8] {
        self.machine.bus.ram.slice(u64::from(at), len).unwrap()
    }

    pub(crate) fn put_windows(&mut self, windows: &Windows) {
        for (at, w) in WINDOWS.iter().zip(windows) {
            self.machine.write(REGION + at, w);
        }
    }

    pub(crate) fn windows(&self, to: &mut Windows) {
        for (at, w) in WINDOWS.iter().zip(to) {
            w.copy_from_slice(self.get(REGION + at, WINDOW_LEN));
        }
    }

    /// Runs from `start` to an exit or an exception, for at most `limit` instructions.
    pub(crate) fn run(&mut self, start: &Start, limit: u64) -> Outcome {
        self.state.gpr = start.gpr;
        self.state.eflags = start.eflags & 0x0024_4CD5 | 0x202;
        self.state.eip = start.eip;
        for (i, selector) in [(0, start.es), (1, start.cs), (2, start.ss), (3, start.ds)] {
            self.state.segments[i] = self.segment(selector);
        }
        let m = &mut self.machine;
        m.cpu.load(&self.state).unwrap();
        m.bus.after.until = self.state.retired + limit;
        let exit = m.cpu.run(&mut m.bus);
        let s = m.cpu.save();
        let at_handler = s.eip.wrapping_sub(HIGH + common::HANDLERS + 1);
        assert!(
            matches!(exit, Exit::Halt { .. }) && at_handler < 256,
            "{exit:?} at {:#x}, {start:X?}",
            s.eip
        );
        let vector = at_handler as u8;
        let mut frame = s.gpr[4] - HIGH;
        let mut pop = || {
            frame += 4;
            m.read32(frame - 4)
        };
        let error = if matches!(vector, 8 | 10..=14 | 17) { pop() } else { 0 };
        let (eip, cs, eflags, esp, ss) = (pop(), pop() as u16, pop(), pop(), pop() as u16);
        let mut gpr = s.gpr;
        gpr[4] = esp;
        let end = match EXITS.iter().position(|&at| at == eip) {
            Some(n) if vector == 13 && cs == CS_EXIT => End::Exit(n as u32),
            _ => End::Fault { vector, error, cs, eip, cr2: if vector == 14 { s.cr2 } else { 0 } },
        };
        // A way out is no fault on the host.
        let eflags = if matches!(end, End::Exit(_)) { eflags & !(1 << 16) } else { eflags };
        Outcome { end, gpr, eflags, ds: s.segments[3].selector, es: s.segments[0].selector, ss }
    }
}
