//! The sequencer instruction by instruction: from what the host sees before one and from the instruction's word, what it must see
//! after it. SCB pages, the program and what DMA may touch are kept beside the adapter.

use slotone_aic7870::Aic7870;
use slotone_block::memory::MemoryDisk;
use slotone_block::{DiskClient, perform};
use slotone_bus::mem::Memory;
use slotone_bus::{At, Cx, Device, DmaFault, LentId, Pin, Port, VmInstant, WindowId};
use slotone_fuzz_kit::{Operation, Script};

/// Instructions of one input.
const STEPS: u32 = 600;

const SEQCTL: u8 = 0x60;
const SEQRAM: u8 = 0x61;
const SEQADDR0: u8 = 0x62;
const SEQADDR1: u8 = 0x63;
const ACCUM: u8 = 0x64;
const SINDEX: u8 = 0x65;
const DINDEX: u8 = 0x66;
const FLAGS: u8 = 0x6b;
const SINDIR: u8 = 0x6c;
const DINDIR: u8 = 0x6d;
const FUNCTION1: u8 = 0x6e;
const STACK: u8 = 0x6f;
const DSCOMMAND1: u8 = 0x85;
const HCNTRL: u8 = 0x87;
const SCBPTR: u8 = 0x90;
const SCBCNT: u8 = 0x9a;

/// Main memory that keeps a list of the accesses.
struct Watched {
    ram: Memory,
    accesses: Vec<(u64, u64)>,
}

impl Port for Watched {
    fn line(&mut self, _: Pin, _: bool) {}
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.accesses.push((address, data.len() as u64));
        self.ram.read(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.accesses.push((address, data.len() as u64));
        self.ram.write(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn lent(&mut self, _: LentId) -> Option<&mut Memory> {
        None
    }
}

/// What the host sees of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Core {
    pc: u16,
    zero: bool,
    carry: bool,
    accumulator: u8,
    sindex: u8,
    dindex: u8,
}

struct Bench {
    aic: Aic7870,
    port: Watched,
    disk: MemoryDisk,
    now: u64,
    program: Vec<u32>,
    /// Whether `program` is still what the adapter has.
    known: bool,
    pages: [[u8; 32]; 16],
    /// The host reads the stack from its top: no sequencer read moved the place where it does.
    stack_known: bool,
    steps: u32,
}

impl Bench {
    fn get(&mut self, register: u8) -> u8 {
        self.block::<1>(register)[0]
    }

    fn block<const N: usize>(&mut self, register: u8) -> [u8; N] {
        let mut bytes = [0; N];
        let at = At { window: WindowId(2), offset: register.into() };
        let mut cx = Cx::new(VmInstant::from_nanos(self.now), &mut self.port);
        self.aic.read(&mut cx, at, &mut bytes);
        bytes
    }

    fn set(&mut self, register: u8, value: u8) {
        let at = At { window: WindowId(2), offset: register.into() };
        let mut cx = Cx::new(VmInstant::from_nanos(self.now), &mut self.port);
        self.aic.write(&mut cx, at, &[value]);
    }

    fn core(&mut self) -> Core {
        let flags = self.get(FLAGS);
        let [low, high, accumulator, sindex, dindex] = self.block(SEQADDR0);
        let pc = u16::from_le_bytes([low, high]);
        Core { pc, zero: flags & 2 != 0, carry: flags & 1 != 0, accumulator, sindex, dindex }
    }

    /// Address and count of the host side, if HADDR means the low bytes.
    fn host_side(&mut self) -> Option<(u64, u64)> {
        self.port.accesses.clear();
        let [a, b, c, d, low, mid, high] = self.block(0x88);
        let both = (u32::from_le_bytes([a, b, c, d]).into(), u32::from_le_bytes([low, mid, high, 0]).into());
        (self.get(DSCOMMAND1) & 1 == 0).then_some(both)
    }

    /// DMA went from where HADDR was, no further than HCNT said, and both tell of it.
    fn check_dma(&mut self, before: Option<(u64, u64)>, what: &str) {
        let accesses = std::mem::take(&mut self.port.accesses);
        let Some((mut address, mut count)) = before else { return };
        for (at, len) in accesses {
            assert!(len > 0 && len <= count, "{what}: {len} bytes of DMA where HCNT is {count}");
            assert_eq!(at as u32, address as u32, "{what}: DMA elsewhere");
            address += len;
            count -= len;
        }
        let after = self.host_side();
        assert!(
            after.is_none_or(|(a, n)| (a as u32, n) == (address as u32, count)),
            "{what}: {after:x?} where {address:x} and {count:x} are left"
        );
    }

    /// The window shows the page that SCBPTR names.
    fn check_page(&mut self, what: &str) {
        if self.get(SCBCNT) & 0x80 != 0 {
            return; // every access would move it
        }
        let page = usize::from(self.get(SCBPTR) & 15);
        let shown = self.block::<32>(0xa0);
        assert_eq!(shown, self.pages[page], "{what}: page {page}");
    }

    fn host_write(&mut self, register: u8, value: u8) {
        let before = self.host_side();
        if (0xa0..0xc0).contains(&register) {
            let count = self.get(SCBCNT);
            let at = if count & 0x80 != 0 { count & 0x1f } else { register - 0xa0 };
            let page = usize::from(self.get(SCBPTR) & 15);
            self.pages[page][usize::from(at)] = value;
        }
        if register == SEQRAM && self.get(SEQCTL) & 1 != 0 {
            self.known = false;
        }
        self.set(register, value);
        let moves = matches!(register, DSCOMMAND1 | HCNTRL | 0x88..=0x8e);
        self.check_dma(before.filter(|_| !moves), "a write of the host");
        self.check_page("a write of the host");
    }

    /// The entry on top, as the host reads it; eight reads are a round.
    fn stack(&mut self) -> u16 {
        let bytes = [0; 8].map(|_| self.get(STACK));
        u16::from_le_bytes([bytes[0], bytes[1]])
    }

    /// Media answer at once.
    fn carry(&mut self) {
        while let Some(request) = self.aic.next_request() {
            let done = perform(Some(&self.disk), request);
            self.aic.complete(done);
        }
    }

    /// Lets time pass until the sequencer stands; `false` if it does not.
    fn until_paused(&mut self) -> bool {
        for _ in 0..8 {
            if self.get(HCNTRL) & 4 != 0 {
                return true;
            }
            let Some(due) = self.aic.next_deadline() else { return false };
            self.now = self.now.max(due.as_nanos());
            let mut cx = Cx::new(VmInstant::from_nanos(self.now), &mut self.port);
            self.aic.tick(&mut cx);
            self.carry();
        }
        false
    }

    /// One instruction.
    fn step(&mut self) {
        self.steps += 1;
        let control = self.get(SEQCTL);
        if control & 0x05 != 0x04 {
            self.set(SEQCTL, control & !1 | 4);
        }
        let before = self.core();
        let word = self.program[usize::from(before.pc) % 512];
        let returns = word >> 28 & 1 == 0 && word >> 24 & 1 != 0;
        let stack = if returns { self.stack() } else { 0 };
        let page = usize::from(self.get(SCBPTR) & 15);
        let host_side = self.host_side();
        let expected = self.known.then(|| self.predict(before, stack, word)).flatten();
        let count = self.aic.instructions();
        self.port.accesses.clear();
        self.set(HCNTRL, 0x02);
        let paused = self.until_paused();
        if !paused || self.aic.instructions() != count + 1 {
            // It goes on by itself (PAUSEDIS) and may have changed anything, its program as well; or it stood still.
            self.set(HCNTRL, 0x06);
            self.known &= self.aic.instructions() == count;
            return self.resync();
        }
        let what = format!("{word:08x} at {:03x}, {before:x?}", before.pc);
        let Some(expected) = expected else { return self.resync() };
        if let Some((at, value)) = expected.page {
            match value {
                Some(value) => self.pages[page][at] = value,
                None => self.pages[page][at] = self.get_page(at).unwrap_or(self.pages[page][at]),
            }
        }
        let after = self.core();
        let same = |name: &str, expected: Option<u16>, got: u16| {
            assert!(expected.is_none_or(|e| e == got), "{what}: {name} {got:x}, not {expected:x?}");
        };
        same("SEQADDR", expected.pc, after.pc);
        same("ZERO", expected.zero.map(u16::from), after.zero.into());
        same("CARRY", expected.carry.map(u16::from), after.carry.into());
        same("ACCUM", expected.accumulator.map(u16::from), after.accumulator.into());
        same("SINDEX", expected.sindex.map(u16::from), after.sindex.into());
        same("DINDEX", expected.dindex.map(u16::from), after.dindex.into());
        if let Some((at, value)) = expected.store {
            same("the destination", Some(value.into()), self.get(at).into());
        }
        if let Some(top) = expected.pushed
            && self.stack_known
        {
            same("the stack", Some(top), self.stack());
        }
        self.check_dma(host_side.filter(|_| !expected.moves_counters), &what);
        self.check_page(&what);
    }

    fn get_page(&mut self, at: usize) -> Option<u8> {
        (self.get(SCBCNT) & 0x80 == 0).then(|| self.get(0xa0 + at as u8))
    }

    /// Takes over the page that the window shows.
    fn resync(&mut self) {
        self.port.accesses.clear();
        // What else was written nobody knows: only a page that is looked at now.
        for page in 0..16u8 {
            let old = self.get(SCBPTR);
            let count = self.get(SCBCNT);
            self.set(SCBCNT, 0);
            self.set(SCBPTR, page);
            self.pages[usize::from(page)] = self.block(0xa0);
            self.set(SCBPTR, old);
            self.set(SCBCNT, count);
        }
    }

    /// The value of a register that only the sequencer and the host change.
    fn storage(&mut self, at: u8, core: Core) -> Option<u8> {
        Some(match at {
            0x69 => 0xff,
            0x6a | 0x1b | 0x70..=0x7f | 0xc0..=0xff => 0,
            ACCUM => core.accumulator,
            SINDEX => core.sindex,
            DINDEX => core.dindex,
            FLAGS => u8::from(core.zero) << 1 | u8::from(core.carry),
            0xa0..=0xbf => {
                let page = usize::from(self.get(SCBPTR) & 15);
                self.pages[page][usize::from(at - 0xa0)]
            }
            0x04 | 0x05 | 0x0f | 0x1a | 0x20..=0x5f | FUNCTION1 => self.get(at),
            _ => return None,
        })
    }

    /// What instruction `word` does, by its description; `None` in a field: it cannot be told.
    fn predict(&mut self, core: Core, stack: u16, word: u32) -> Option<Expected> {
        let [immediate, source, destination, high] = word.to_le_bytes();
        let (operation, bit) = (high >> 1 & 15, high & 1 != 0);
        if matches!(operation, 6 | 7) {
            return None;
        }
        let next = (core.pc + 1) % 512;
        // Where it really reads and writes.
        let from = if source == SINDIR { core.sindex } else { source };
        if from == STACK {
            self.stack_known = false;
        }
        if matches!(from, SEQRAM | SINDIR | DINDIR) {
            return None;
        }
        let a = match from {
            SEQADDR0 => Some(next as u8),
            SEQADDR1 => Some((next >> 8) as u8),
            from => self.storage(from, core),
        };
        let mut sindex = core.sindex;
        if source == SINDIR {
            sindex = sindex.wrapping_add(1);
        }
        let b = if immediate == 0 { core.accumulator } else { immediate };
        let mut expected = Expected {
            pc: Some(next),
            zero: Some(core.zero),
            carry: Some(core.carry),
            accumulator: Some(core.accumulator),
            sindex: Some(sindex),
            dindex: Some(core.dindex),
            ..Expected::default()
        };
        let target = u16::from(destination) | u16::from(bit) << 8;
        match operation {
            0..=5 => {
                let value = a.map(|a| match operation {
                    0 => a | b,
                    1 => a & b,
                    2 => a ^ b,
                    3 => a.wrapping_add(b),
                    4 => a.wrapping_add(b).wrapping_add(core.carry.into()),
                    _ => rotate(a, immediate),
                });
                if matches!(operation, 3 | 4) {
                    let carry = u16::from(operation == 4 && core.carry);
                    expected.carry = a.map(|a| u16::from(a) + u16::from(b) + carry > 0xff);
                } else if operation == 5 {
                    expected.carry = None;
                }
                expected.zero = value.map(|value| value == 0);
                let to = if destination == DINDIR { core.dindex } else { destination };
                if destination == DINDIR {
                    expected.dindex = Some(core.dindex.wrapping_add(1));
                }
                if bit {
                    expected.pc = self.stack_known.then_some(stack);
                }
                match to {
                    ACCUM => expected.accumulator = value,
                    SINDEX => expected.sindex = value,
                    DINDEX => {
                        let on = u8::from(destination == DINDIR);
                        expected.dindex = value.map(|value| value.wrapping_add(on));
                    }
                    SEQADDR0 if !bit => expected.pc = value.map(|value| next & 0x100 | u16::from(value)),
                    SEQADDR1 if !bit => {
                        expected.pc = value.map(|value| next & 0xff | u16::from(value & 1) << 8);
                    }
                    // These change what everything else means.
                    SEQCTL | SEQRAM | HCNTRL => {
                        if to == SEQRAM {
                            self.known = false;
                        }
                        return None;
                    }
                    0xa0..=0xbf => expected.page = Some((usize::from(to - 0xa0), value)),
                    0x04 | 0x05 | 0x0f | 0x1a | 0x20..=0x5f => {
                        expected.store = value.map(|value| (to, value))
                    }
                    DSCOMMAND1 | 0x88..=0x8e => expected.moves_counters = true,
                    SCBPTR => {}
                    _ => {}
                }
            }
            8..=11 => {
                expected.sindex = a.map(|a| a | immediate);
                if operation == 8 || operation == 11 || core.carry == (operation == 9) {
                    expected.pc = Some(target);
                }
                if operation == 11 {
                    expected.pushed = Some(next);
                }
            }
            _ => {
                let zero = a.map(|a| if operation % 2 == 0 { a == b } else { a & b == 0 });
                expected.zero = zero;
                expected.pc = zero.map(|zero| if zero == (operation >= 14) { target } else { next });
            }
        }
        Some(expected)
    }
}

#[derive(Debug, Default)]
struct Expected {
    pc: Option<u16>,
    zero: Option<bool>,
    carry: Option<bool>,
    accumulator: Option<u8>,
    sindex: Option<u8>,
    dindex: Option<u8>,
    /// A register that is storage, and its new value.
    store: Option<(u8, u8)>,
    /// A byte of the SCB page, and its new value if it can be told.
    page: Option<(usize, Option<u8>)>,
    pushed: Option<u16>,
    moves_counters: bool,
}

/// ROL by its description: rotated to the left, then some bits cleared.
fn rotate(a: u8, control: u8) -> u8 {
    let turned = (0..control & 7).fold(a, |a, _| a.rotate_left(1));
    let clear = control >> 4;
    (0..8).filter(|n| clear <= if control & 8 != 0 { 7 - n } else { *n }).map(|n| turned & 1 << n).sum()
}

/// Goes through `script` with the adapter's program stopped after each instruction; where the script lets time pass, instructions go.
pub(super) fn stepped(aic: Aic7870, program: &[u8], script: &Script) {
    let mut words: Vec<u32> = program
        .chunks(4)
        .map(|bytes| {
            let mut word = [0; 4];
            word[..bytes.len()].copy_from_slice(bytes);
            u32::from_le_bytes(word)
        })
        .collect();
    words.resize(513, 0);
    // A 513th word goes over the first.
    let known = program.len() <= 2048;
    let mut bench = Bench {
        aic,
        port: Watched { ram: Memory::new(1 << 20).expect("a mebibyte"), accesses: Vec::new() },
        disk: MemoryDisk::new(64 * 512),
        now: 0,
        program: words,
        known,
        pages: [[0; 32]; 16],
        stack_known: true,
        steps: 0,
    };
    bench.set(HCNTRL, 0x06);
    for operation in &script.operations {
        match operation {
            Operation::Write { window: 1 | 2, offset, data } => {
                for (n, byte) in data.iter().enumerate() {
                    bench.host_write((*offset as u8).wrapping_add(n as u8), *byte);
                }
                bench.carry();
            }
            Operation::Read { window: 1 | 2, offset, len } => {
                for n in 0..*len {
                    let register = (*offset as u8).wrapping_add(n);
                    if register == STACK {
                        continue;
                    }
                    let before = bench.host_side();
                    bench.get(register);
                    bench.check_dma(before, "a read of the host");
                }
                bench.carry();
            }
            Operation::Advance { nanos } => {
                for _ in 0..(nanos / 100).clamp(1, 200) {
                    if bench.steps < STEPS {
                        bench.step();
                    }
                }
            }
            _ => {}
        }
    }
    for _ in 0..64.min(STEPS.saturating_sub(bench.steps)) {
        bench.step();
    }
}
