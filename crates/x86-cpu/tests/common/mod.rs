//! A small machine for tests: descriptor tables, a handler per vector, and what is left after a run.
#![allow(dead_code, unreachable_pub, reason = "every test file uses its part")]

use slotone_bus::cpu::{Cpu, CpuState, Exit, Segment, TableRegister};
use slotone_x86_cpu::test_bus::TestBus;
use slotone_x86_cpu::{CpuModel, SoftCpu};

/// Physical addresses of the machine's tables.
pub const IDT: u32 = 0x1000;
pub const GDT: u32 = 0x2000;
pub const LDT: u32 = 0x2800;
pub const TSS: u32 = 0x3000;
pub const TSS2: u32 = 0x3400;
/// One HLT per vector.
pub const HANDLERS: u32 = 0x4000;
/// Where code under test goes.
pub const CODE: u32 = 0x1_0000;
/// Tops of the stacks of CPL 0 and CPL 3.
pub const STACK0: u32 = 0x2_0000;
pub const STACK3: u32 = 0x2_8000;
/// Data that tests use.
pub const DATA: u32 = 0x3_0000;
/// Page directory and first page table.
pub const PAGE_DIRECTORY: u32 = 0x5000;
pub const PAGE_TABLE: u32 = 0x6000;

/// Selectors of the machine's GDT.
pub const CODE0: u16 = 0x08;
pub const DATA0: u16 = 0x10;
pub const CODE3: u16 = 0x1B;
pub const DATA3: u16 = 0x23;
pub const TASK: u16 = 0x28;
pub const TASK2: u16 = 0x30;
pub const LDT_SEL: u16 = 0x38;
/// First selector free for the test.
pub const FREE: u16 = 0x40;

/// A descriptor: base, limit as it stands in the descriptor, access byte, flags nibble (G D L AVL).
pub fn descriptor(base: u32, limit: u32, access: u8, flags: u8) -> u64 {
    u64::from(limit & 0xFFFF)
        | u64::from(base & 0xFF_FFFF) << 16
        | u64::from(access) << 40
        | u64::from(limit >> 16 & 15) << 48
        | u64::from(flags & 15) << 52
        | u64::from(base >> 24) << 56
}

/// A gate: selector, offset, access byte, parameter count.
pub fn gate(selector: u16, offset: u32, access: u8, count: u8) -> u64 {
    u64::from(offset & 0xFFFF)
        | u64::from(selector) << 16
        | u64::from(count) << 32
        | u64::from(access) << 40
        | u64::from(offset >> 16) << 48
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Vector whose handler was reached, if it was one.
    pub vector: Option<u8>,
    /// Error code that the handler found, if that vector has one.
    pub error: Option<u32>,
    /// EIP, CS and EFLAGS that the handler found.
    pub pushed: [u32; 3],
    /// The state at the HLT.
    pub state: CpuState,
    /// What `run` returned.
    pub exit: Exit,
}

pub struct Machine {
    pub bus: TestBus,
    pub cpu: SoftCpu,
    /// What the next run starts from.
    pub state: CpuState,
}

impl Machine {
    /// Flat 32-bit protected mode at CPL 0 with all tables in place.
    pub fn new() -> Self {
        Self::of(CpuModel::default())
    }

    pub fn of(model: CpuModel) -> Self {
        let bus = TestBus::new(4 << 20).unwrap();
        let cpu = SoftCpu::new(model);
        let mut state = cpu.save();
        for (i, s) in state.segments.iter_mut().enumerate() {
            let (selector, attributes) = if i == 1 { (CODE0, 0xC09B) } else { (DATA0, 0xC093) };
            *s = Segment { selector, base: 0, limit: u32::MAX, attributes };
        }
        state.cr0 = 0x11;
        state.eip = CODE;
        state.gpr = [0; 8];
        state.gpr[4] = STACK0;
        state.gdtr = TableRegister { base: GDT, limit: 0x7FF };
        state.idtr = TableRegister { base: IDT, limit: 0x7FF };
        state.tr = Segment { selector: TASK, base: TSS, limit: 0x67 + 0x40, attributes: 0x8B };
        state.ldtr = Segment { selector: LDT_SEL, base: LDT, limit: 0xFF, attributes: 0x82 };
        let mut m = Self { bus, cpu, state };
        for (sel, base, limit, access, flags) in [
            (CODE0, 0, 0xF_FFFF, 0x9B, 0xC),
            (DATA0, 0, 0xF_FFFF, 0x93, 0xC),
            (CODE3, 0, 0xF_FFFF, 0xFB, 0xC),
            (DATA3, 0, 0xF_FFFF, 0xF3, 0xC),
            (TASK, TSS, 0x67 + 0x40, 0x8B, 0),
            (TASK2, TSS2, 0x67, 0x89, 0),
            (LDT_SEL, LDT, 0xFF, 0x82, 0),
        ] {
            m.descriptor(sel, descriptor(base, limit, access, flags));
        }
        for v in 0..=255u32 {
            m.gate(v as u8, gate(CODE0, HANDLERS + v, 0xEE, 0));
            m.write(HANDLERS + v, &[0xF4]);
        }
        m.write32(TSS + 4, STACK0 - 0x1000);
        m.write32(TSS + 8, u32::from(DATA0));
        // No permission bitmap.
        m.write16(TSS + 0x66, 0xFFFF);
        m
    }

    pub fn write(&mut self, at: u32, bytes: &[u8]) {
        self.bus.ram.write(u64::from(at), bytes).unwrap();
    }

    pub fn write16(&mut self, at: u32, v: u16) {
        self.write(at, &v.to_le_bytes());
    }

    pub fn write32(&mut self, at: u32, v: u32) {
        self.write(at, &v.to_le_bytes());
    }

    pub fn read32(&self, at: u32) -> u32 {
        let b = self.bus.ram.slice(u64::from(at), 4).unwrap();
        u32::from_le_bytes([b[0], b[1], b[2], b[3]])
    }

    /// Lets an exception be handled in a task of its own, TASK2, so that it needs nothing of the faulting one.
    pub fn handle_in_task(&mut self, vector: u8) {
        self.write32(TSS2 + 0x1C, PAGE_DIRECTORY);
        self.write32(TSS2 + 0x20, HANDLERS + u32::from(vector));
        self.write32(TSS2 + 0x38, STACK3);
        for (i, s) in [DATA0, CODE0, DATA0, DATA0, 0, 0].into_iter().enumerate() {
            self.write32(TSS2 + 0x48 + 4 * i as u32, u32::from(s));
        }
        self.gate(vector, gate(TASK2, 0, 0x85, 0));
    }

    /// Puts a descriptor into the GDT, or the LDT if the selector says so.
    pub fn descriptor(&mut self, selector: u16, d: u64) {
        let table = if selector & 4 != 0 { LDT } else { GDT };
        self.write(table + u32::from(selector & 0xFFF8), &d.to_le_bytes());
    }

    pub fn gate(&mut self, vector: u8, g: u64) {
        self.write(IDT + 8 * u32::from(vector), &g.to_le_bytes());
    }

    /// Maps the first 4 MiB onto themselves with these rights in every entry (bits 1 and 2), and turns paging on.
    pub fn page(&mut self, rights: u32) {
        self.write32(PAGE_DIRECTORY, PAGE_TABLE | 7);
        for i in 0..1024 {
            self.write32(PAGE_TABLE + 4 * i, i << 12 | rights | 1);
        }
        self.state.cr3 = PAGE_DIRECTORY;
        self.state.cr0 |= 0x8000_0000;
    }

    /// The page-table entry of a page.
    pub fn pte(&mut self, linear: u32, entry: u32) {
        self.write32(PAGE_TABLE + 4 * (linear >> 12), entry);
    }

    /// Starts at CPL 3.
    pub fn user(&mut self) {
        for (i, s) in self.state.segments.iter_mut().enumerate() {
            let (selector, attributes) = if i == 1 { (CODE3, 0xC0FB) } else { (DATA3, 0xC0F3) };
            *s = Segment { selector, base: 0, limit: u32::MAX, attributes };
        }
        self.state.gpr[4] = STACK3;
    }

    /// Starts in real mode at 1000:0000.
    pub fn real(&mut self) {
        for s in &mut self.state.segments {
            *s = Segment { selector: 0x1000, base: CODE, limit: 0xFFFF, attributes: 0x93 };
        }
        self.state.cr0 = 0x10;
        self.state.eip = 0;
        self.state.gpr[4] = 0x8000;
        self.state.idtr = TableRegister { base: 0, limit: 0x3FF };
        for v in 0..256 {
            self.write16(4 * v, (HANDLERS + v) as u16);
            self.write16(4 * v + 2, 0);
        }
    }

    /// Runs `code` to a HLT or for ten thousand instructions.
    pub fn run(&mut self, code: &[u8]) -> Ended {
        self.write(CODE, code);
        let start = self.state.clone();
        self.cpu.load(&start).unwrap();
        self.bus.after.until = start.retired + 10_000;
        let exit = self.cpu.run(&mut self.bus);
        let state = self.cpu.save();
        let linear = state.segments[1].base.wrapping_add(state.eip);
        let at_handler = linear.wrapping_sub(HANDLERS + 1);
        let halted = matches!(exit, Exit::Halt { .. });
        let vector = (halted && at_handler < 256).then_some(at_handler as u8);
        let wide = state.cr0 & 1 != 0;
        let mut at = state.segments[2].base.wrapping_add(state.gpr[4]);
        let mut error = None;
        let mut pushed = [0; 3];
        if vector.is_some() {
            if wide && matches!(vector, Some(8 | 10..=14 | 17)) {
                error = Some(self.read32(at));
                at += 4;
            }
            for (i, v) in pushed.iter_mut().enumerate() {
                *v = if wide {
                    self.read32(at + 4 * i as u32)
                } else {
                    self.read32(at + 2 * i as u32) & 0xFFFF
                };
            }
        }
        Ended { vector, error, pushed, state, exit }
    }

    /// Runs and expects an exception: vector, error code, and EIP as an offset into the code.
    #[track_caller]
    pub fn faults(&mut self, what: &str, code: &[u8], vector: u8, error: Option<u32>, offset: u32) -> Ended {
        let e = self.run(code);
        assert_eq!(e.vector, Some(vector), "{what}: {e:?}");
        assert_eq!(e.error, error, "{what}: error code; {e:?}");
        let base = self.state.segments[1].base;
        assert_eq!(e.pushed[0], (CODE - base).wrapping_add(offset), "{what}: EIP; {e:?}");
        e
    }

    /// Runs and expects the HLT at the end of `code`.
    #[track_caller]
    pub fn passes(&mut self, what: &str, code: &[u8]) -> CpuState {
        let e = self.run(code);
        assert_eq!(e.vector, None, "{what}: {e:?}");
        assert!(matches!(e.exit, Exit::Halt { .. }), "{what}: {e:?}");
        e.state
    }
}

/// A generator of numbers: the same for the same seed.
pub struct Random(pub u64);

impl Random {
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub fn u32(&mut self) -> u32 {
        (self.next() >> 32) as u32
    }

    pub fn below(&mut self, n: u32) -> u32 {
        self.u32() % n
    }

    /// A number with interesting ones more likely.
    pub fn operand(&mut self) -> u32 {
        const EDGES: [u32; 16] = [
            0,
            1,
            2,
            0x7F,
            0x80,
            0x81,
            0xFF,
            0x100,
            0x7FFF,
            0x8000,
            0xFFFF,
            0x1_0000,
            0x7FFF_FFFF,
            0x8000_0000,
            0x8000_0001,
            u32::MAX,
        ];
        if self.below(3) == 0 { EDGES[self.below(16) as usize] } else { self.u32() }
    }
}
