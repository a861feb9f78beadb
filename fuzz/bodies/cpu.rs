//! Random code in a small machine. However a run is cut into pieces, and whether the processor is saved and loaded between them,
//! the same code comes to the same state of processor, memory and ports.
//!
//! The input: mode, features, control bits, events, seed (two bytes), slices, then the code. What the head does not say (registers,
//! data, handlers) follows from the seed.

use slotone_bus::cpu::{Cpu, CpuState, Exit, Segment, TableRegister};
use slotone_x86_cpu::test_bus::{PortAccess, TestBus};
use slotone_x86_cpu::{CpuModel, SoftCpu};

use super::{Random, Reader, text};

const RAM: usize = 0x4_0000;
const IDT: u32 = 0x1000;
const GDT: u32 = 0x2000;
const LDT: u32 = 0x2800;
const TSS: u32 = 0x3000;
const TSS2: u32 = 0x3400;
const POINTERS: u32 = 0x4000;
const DIRECTORY: u32 = 0x5000;
const TABLE: u32 = 0x6000;
const HANDLERS: u32 = 0x8000;
const CODE: u32 = 0x1_0000;
const STACK0: u32 = 0x2_0000;
const STACK3: u32 = 0x2_8000;
const DATA: u32 = 0x3_0000;

const CODE0: u16 = 0x08;
const DATA0: u16 = 0x10;
const CODE3: u16 = 0x1b;
const DATA3: u16 = 0x23;
const TASK: u16 = 0x28;
const TASK2: u16 = 0x30;
const LOCAL: u16 = 0x38;
const CODE16: u16 = 0x40;
const DATA16: u16 = 0x48;
const CONFORMING: u16 = 0x50;
const CALL_GATE: u16 = 0x58;
const DOWN: u16 = 0x60;

/// Instructions of one run.
const TOTAL: u64 = 2_000;
/// Something happens at the machine's pins whenever so many instructions have retired.
const EVENT: u64 = 300;
/// Most of the code that is looked at.
const CODE_BYTES: usize = 4096;

fn descriptor(base: u32, limit: u32, access: u8, flags: u8) -> u64 {
    u64::from(limit & 0xffff)
        | u64::from(base & 0xff_ffff) << 16
        | u64::from(access) << 40
        | u64::from(limit >> 16 & 15) << 48
        | u64::from(flags & 15) << 52
        | u64::from(base >> 24) << 56
}

fn gate(selector: u16, offset: u32, access: u8, count: u8) -> u64 {
    u64::from(offset & 0xffff)
        | u64::from(selector) << 16
        | u64::from(count) << 32
        | u64::from(access) << 40
        | u64::from(offset >> 16) << 48
}

/// Where a run starts: the memory's content and the processor's state.
struct Start {
    model: CpuModel,
    memory: Vec<u8>,
    state: CpuState,
    events: u8,
}

impl Start {
    fn put(&mut self, at: u32, bytes: &[u8]) {
        self.memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    fn put32(&mut self, at: u32, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    fn new(input: &[u8]) -> (Self, u64) {
        let mut input = Reader(input);
        let [mode, features, control, events, low, high, slices] = input.array();
        let mut random = Random(u64::from(u16::from_le_bytes([low, high])));
        let names = ["pentium2", "pentium3", "486"];
        let model = CpuModel::by_name(names[usize::from(features & 3) % 3]).unwrap_or_default();
        let state = SoftCpu::new(model.clone()).save();
        let mut this = Self { model, memory: vec![0; RAM], state, events };
        this.tables(&mut random);
        this.registers(&mut random);
        this.mode(mode, features, control);
        let code = input.take(CODE_BYTES);
        this.put(CODE, code);
        // The code as data, too, for what follows pointers.
        this.put(DATA, code);
        (this, u64::from(slices))
    }

    fn tables(&mut self, random: &mut Random) {
        for (selector, base, limit, access, flags) in [
            (CODE0, 0, 0xf_ffff, 0x9b, 0xc),
            (DATA0, 0, 0xf_ffff, 0x93, 0xc),
            (CODE3, 0, 0xf_ffff, 0xfb, 0xc),
            (DATA3, 0, 0xf_ffff, 0xf3, 0xc),
            (TASK, TSS, 0xa7, 0x8b, 0),
            (TASK2, TSS2, 0x67, 0x89, 0),
            (LOCAL, LDT, 0xff, 0x82, 0),
            (CODE16, CODE, 0xffff, 0x9b, 0),
            (DATA16, CODE, 0xffff, 0x93, 0),
            (CONFORMING, 0, 0xf_ffff, 0x9f, 0xc),
            (DOWN, 0, 0x1_ffff, 0x97, 0x4),
        ] {
            let d = descriptor(base, limit, access, flags);
            self.put(GDT + u32::from(selector & 0xfff8), &d.to_le_bytes());
        }
        self.put(GDT + u32::from(CALL_GATE), &gate(CODE0, HANDLERS, 0xec, 2).to_le_bytes());
        for (i, d) in [descriptor(0, 0xf_ffff, 0xf3, 0xc), gate(TASK2, 0, 0x85, 0)].iter().enumerate() {
            self.put(LDT + 8 * i as u32, &d.to_le_bytes());
        }
        // Handlers that return more often than not, so that things go on.
        for v in 0..256u32 {
            let handler: &[u8] = match random.below(5) {
                0 => &[0xcf],
                1 => &[0x83, 0xc4, 0x04, 0xcf],
                2 => &[0xff, 0x04, 0x24, 0xcf],
                3 => &[0x83, 0x04, 0x24, 0x02, 0xcf],
                _ => &[0xff, 0x44, 0x24, 0x04, 0x83, 0xc4, 0x04, 0xcf],
            };
            let at = HANDLERS + 16 * v;
            self.put(at, handler);
            let access = if random.below(4) == 0 { 0xef } else { 0xee };
            let g = match random.below(32) {
                0 => gate(TASK2, 0, 0x85, 0),
                1 => gate(CODE16, HANDLERS & 0xffff, 0xe6, 0),
                _ => gate(CODE0, at, access, 0),
            };
            self.put(IDT + 8 * v, &g.to_le_bytes());
            // Real mode's table: an IRET, or an increment of the return address and an IRET.
            self.put(4 * v, &[0x00, 0xf0 | ((v & 1) as u8 * 8), 0x00, 0x00]);
        }
        self.put(0xf000, &[0xcf]);
        self.put(0xf800, &[0x55, 0x89, 0xe5, 0xff, 0x46, 0x02, 0x5d, 0xcf]);
        self.put32(TSS + 4, STACK0 - 0x1000);
        self.put32(TSS + 8, u32::from(DATA0));
        // No interrupt redirection, and a permission bitmap for the first 512 ports.
        self.put(TSS + 0x66, &0x68u16.to_le_bytes());
        self.put32(TSS2 + 0x1c, DIRECTORY);
        self.put32(TSS2 + 0x20, HANDLERS);
        self.put32(TSS2 + 0x24, 2);
        self.put32(TSS2 + 0x38, STACK3 - 0x1000);
        for (i, s) in [DATA0, CODE0, DATA0, DATA0, 0, 0].into_iter().enumerate() {
            self.put32(TSS2 + 0x48 + 4 * i as u32, u32::from(s));
        }
        self.put(TSS2 + 0x66, &0x68u16.to_le_bytes());
    }

    fn registers(&mut self, random: &mut Random) {
        for at in (DATA..DATA + 0x4000).step_by(8) {
            let value = random.next();
            self.put(at, &value.to_le_bytes());
        }
        for g in 0..8 {
            self.state.gpr[g] = match random.below(4) {
                0 => random.next() as u32,
                1 => random.below(64) as u32,
                _ => DATA + random.below(0x3000) as u32,
            };
        }
        self.state.gpr[4] = STACK0 - 4 * random.below(64) as u32;
        self.state.eflags = random.next() as u32 & 0x0024_0cd5 | 2;
        self.state.eip = CODE;
        self.state.gdtr = TableRegister { base: GDT, limit: 0x7f };
        self.state.idtr = TableRegister { base: IDT, limit: 0x7ff };
        self.state.tr = Segment { selector: TASK, base: TSS, limit: 0xa7, attributes: 0x8b };
        self.state.ldtr = Segment { selector: LOCAL, base: LDT, limit: 0xff, attributes: 0x82 };
    }

    fn segments(&mut self, code: (u16, u32, u32, u32), data: (u16, u32, u32, u32)) {
        for (i, s) in self.state.segments.iter_mut().enumerate() {
            let (selector, base, limit, attributes) = if i == 1 { code } else { data };
            *s = Segment { selector, base, limit, attributes };
        }
    }

    fn mode(&mut self, mode: u8, features: u8, control: u8) {
        let user = mode & 8 != 0;
        self.state.cr0 = 0x11;
        match mode & 7 {
            0 | 1 => {
                self.segments((0x1000, CODE, 0xffff, 0x93), (0x1000, CODE, 0xffff, 0x93));
                self.state.cr0 = 0x10;
                self.state.eip = 0;
                self.state.gpr[4] = 0xfff0;
                self.state.idtr = TableRegister { base: 0, limit: 0x3ff };
                for g in 0..8 {
                    self.state.gpr[g] &= 0xffff;
                }
            }
            2 => {
                self.segments((CODE16, CODE, 0xffff, 0x9b), (DATA16, CODE, 0xffff, 0x93));
                self.state.eip = 0;
                self.state.gpr[4] = 0xfff0;
            }
            3 => {
                // Virtual-8086 mode.
                self.segments((0x1000, CODE, 0xffff, 0xf3), (0x1000, CODE, 0xffff, 0xf3));
                self.state.eip = 0;
                self.state.gpr[4] = 0xfff0;
                self.state.eflags |= (1 << 17) | (u32::from(control & 1) * 0x3000);
            }
            _ if user => {
                self.segments((CODE3, 0, u32::MAX, 0xc0fb), (DATA3, 0, u32::MAX, 0xc0f3));
                self.state.gpr[4] = STACK3;
            }
            _ => self.segments((CODE0, 0, u32::MAX, 0xc09b), (DATA0, 0, u32::MAX, 0xc093)),
        }
        if mode & 0x10 != 0 {
            self.page(features, mode & 0x20 != 0);
        }
        // MP, EM, TS, NE, WP, AM.
        for (bit, cr0) in [(0, 1), (1, 2), (2, 3), (3, 5), (4, 16), (5, 18)] {
            self.state.cr0 |= u32::from(control >> bit & 1) << cr0;
        }
        // VME, PVI, TSD, DE, PGE; OSFXSR and OSXMMEXCPT where there is SSE.
        let cr4 = u32::from(features >> 2 & 3) | u32::from(features >> 4 & 3) << 2;
        let sse = if self.model.features & slotone_x86_cpu::model::SSE != 0 { 0x600 } else { 0 };
        if self.model.name != "486" {
            self.state.cr4 |= cr4 | sse | u32::from(control >> 6 & 1) << 7;
        }
    }

    /// Maps the first 2 MiB onto themselves, some pages absent, read-only or the supervisor's.
    fn page(&mut self, features: u8, pae: bool) {
        let rights = |page: u32| match (features >> 6, page) {
            (1, 0x32) => 0u32,
            (2, 0x31) => 5,
            (3, 0x33) => 3,
            _ => 7,
        };
        let pae = pae && self.model.features & slotone_x86_cpu::model::PAE != 0;
        if pae {
            self.put32(POINTERS, DIRECTORY | 1);
            self.put32(DIRECTORY, TABLE | 7);
            self.put32(DIRECTORY + 8, 0xe7); // a page of 2 MiB
            for page in 0..512 {
                self.put32(TABLE + 8 * page, page << 12 | rights(page));
            }
            self.state.cr3 = POINTERS;
            self.state.pdpte = [u64::from(DIRECTORY) | 1, 0, 0, 0];
            self.state.cr4 |= 0x20;
        } else {
            self.put32(DIRECTORY, TABLE | 7);
            self.put32(DIRECTORY + 4, 0xe7); // a page of 4 MiB
            for page in 0..1024 {
                self.put32(TABLE + 4 * page, page << 12 | rights(page));
            }
            self.state.cr3 = DIRECTORY;
            self.state.cr4 |= if self.model.name == "486" { 0 } else { 0x10 };
        }
        self.state.cr0 |= 0x8000_0000;
    }

    /// The start as a machine; `None` if no processor can be in such a state (a feature that the model has not).
    fn machine(&self) -> Option<(SoftCpu, TestBus)> {
        let mut bus = TestBus::new(RAM).expect("memory for a test");
        bus.ram.write(0, &self.memory).expect("as long as the memory");
        let mut cpu = SoftCpu::new(self.model.clone());
        cpu.load(&self.state).ok()?;
        Some((cpu, bus))
    }
}

/// How a run ended.
#[derive(Debug, PartialEq)]
struct End {
    went_on: bool,
    state: CpuState,
    memory: Vec<u8>,
    log: Vec<PortAccess>,
    ferr: bool,
}

/// What happens to the processor between two pieces of a run.
#[derive(Clone, Copy, PartialEq)]
enum Between {
    Nothing,
    /// It forgets the translations it has cached, as every processor may at any time.
    Forget,
    /// It is saved and loaded into another one, which may have cached what was true when it was saved itself, and has to forget it.
    Load,
}

/// Runs on through halts and events; `slice` says how far each piece goes.
fn run(start: &Start, mut slice: impl FnMut() -> u64, between: Between) -> Option<End> {
    let (mut cpu, mut bus) = start.machine()?;
    let mut other = SoftCpu::new(start.model.clone());
    let mut wakes = 0u32;
    let went_on = loop {
        let now = cpu.retired();
        if now >= TOTAL {
            break true;
        }
        if between == Between::Forget {
            bus.after.map_generation += 1;
        }
        if between == Between::Load {
            let state = cpu.save();
            other.load(&state).expect("a state that was saved can be loaded");
            std::mem::swap(&mut cpu, &mut other);
            assert_eq!(cpu.save(), state, "a loaded state is the saved one");
        }
        let event = (now / EVENT + 1) * EVENT;
        bus.after.until = event.min(now + slice()).min(TOTAL);
        match cpu.run(&mut bus) {
            Exit::Budget => {
                assert_eq!(cpu.retired(), bus.after.until, "a budget is kept exactly");
                if cpu.retired() == event {
                    happen(start.events, (event / EVENT) as u8, &mut bus);
                }
            }
            Exit::Halt { interruptible } => {
                assert!(cpu.retired() <= bus.after.until, "a halt within the budget");
                wakes += 1;
                if !interruptible || wakes > 50 {
                    break false;
                }
                bus.vectors = vec![0x41];
                bus.after.intr = true;
            }
            Exit::Shutdown => break false,
            other => panic!("a software processor ended with {other:?}"),
        }
    };
    let memory = bus.ram.slice(0, RAM).expect("all of it").to_vec();
    Some(End { went_on, state: cpu.save(), memory, log: bus.log, ferr: bus.ferr })
}

/// Something from outside, the same for every run of the same input.
fn happen(events: u8, number: u8, bus: &mut TestBus) {
    match events.rotate_left(u32::from(number)) & 7 {
        0..=2 => {
            bus.vectors = vec![0x40 + number % 8];
            bus.after.intr = true;
        }
        3 => bus.after.nmi = !bus.after.nmi,
        4 => {
            bus.after.a20 = !bus.after.a20;
            bus.after.map_generation += 1;
        }
        5 => {
            // Another bus master writes over code.
            let at = u64::from(CODE) + u64::from(number) * 3;
            bus.ram.write(at, &[0x90, 0x40]).expect("in memory");
        }
        _ => {}
    }
}

/// The fields in which two states differ, for people.
fn difference(a: &CpuState, b: &CpuState) -> String {
    let mut out = String::new();
    let mut note = |name: &str, a: String, b: String| {
        if a != b {
            out.push_str(&format!("{name} {a} and {b}; "));
        }
    };
    note("general registers", format!("{:x?}", a.gpr), format!("{:x?}", b.gpr));
    note("EIP, EFLAGS", format!("{:x?}", (a.eip, a.eflags)), format!("{:x?}", (b.eip, b.eflags)));
    note("segments", format!("{:x?}", a.segments), format!("{:x?}", b.segments));
    note(
        "tables",
        format!("{:x?}", (a.ldtr, a.tr, a.gdtr, a.idtr)),
        format!("{:x?}", (b.ldtr, b.tr, b.gdtr, b.idtr)),
    );
    let control = |s: &CpuState| format!("{:x?}", (s.cr0, s.cr2, s.cr3, s.cr4, s.pdpte, s.dr));
    note("control and debug registers", control(a), control(b));
    note("x87 and SSE", format!("{:x?}", a.fx), format!("{:x?}", b.fx));
    note("MSRs", format!("{:x?}", a.msr), format!("{:x?}", b.msr));
    note("instructions", a.retired.to_string(), b.retired.to_string());
    let rest = |s: &CpuState| {
        let nmi = [s.nmi_blocked, s.nmi_pending, s.nmi_level];
        format!("{:?}", (s.halted, s.shutdown, s.interrupt_shadow, nmi))
    };
    note("halted, shutdown, shadow, NMI", rest(a), rest(b));
    out
}

fn same(what: &str, one: &Option<End>, other: &Option<End>) {
    let (Some(one), Some(other)) = (one, other) else {
        assert!(one.is_none() && other.is_none());
        return;
    };
    let (a, b) = (&one.state, &other.state);
    assert!(a == b, "{what}: the processor differs: {}", difference(a, b));
    assert_eq!(one.log, other.log, "{what}: the port accesses differ");
    let differs = one.memory.iter().zip(&other.memory).position(|(a, b)| a != b);
    assert_eq!(differs, None, "{what}: memory differs at that address");
    assert_eq!(one, other, "{what}");
}

/// See the module.
pub fn cpu(input: &[u8]) {
    let input = text::bytes(input);
    let (start, slices) = Start::new(&input);
    let whole = run(&start, || u64::MAX / 4, Between::Nothing);
    let mut random = Random(slices);
    let sliced = run(&start, || 1 + random.below(40), Between::Nothing);
    same("in slices", &whole, &sliced);
    // A guest that changes its page tables and does not say so sees when translations are looked up anew. A saved state does not
    // have them, so what goes on from it is compared with a processor that forgets them at the same places.
    let [forgetful, loaded] = [Between::Forget, Between::Load].map(|between| {
        let mut random = Random(slices + 1);
        // Often after a single instruction: what lasts for one must be in the state as well.
        let slice = || {
            let most = [1, 4, 150][random.below(3) as usize];
            1 + random.below(most)
        };
        run(&start, slice, between)
    });
    same("saved and loaded", &forgetful, &loaded);
    if let Some((cpu, mut bus)) = start.machine() {
        for linear in [0, CODE, DATA + 1, 0x40_0000, u32::MAX] {
            if let Some(physical) = cpu.translate(&mut bus, linear) {
                assert!(physical < 1 << 36, "{linear:#x} leads to {physical:#x}");
            }
        }
    }
}
