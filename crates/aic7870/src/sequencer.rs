//! The sequencer: an 8-bit processor with 512 instructions of RAM and no program of its own.

use slotone_bus::Cx;

use crate::adapter::{Adapter, Who};
use crate::registers::{self as r, error, hcntrl, intstat, seqctl};
use crate::state::PROGRAM;

/// Operations, by their codes.
pub(crate) mod op {
    pub(crate) const OR: u8 = 0;
    pub(crate) const AND: u8 = 1;
    pub(crate) const XOR: u8 = 2;
    pub(crate) const ADD: u8 = 3;
    pub(crate) const ADC: u8 = 4;
    pub(crate) const ROL: u8 = 5;
    pub(crate) const JMP: u8 = 8;
    pub(crate) const JC: u8 = 9;
    pub(crate) const JNC: u8 = 10;
    pub(crate) const CALL: u8 = 11;
    pub(crate) const JNE: u8 = 12;
    pub(crate) const JNZ: u8 = 13;
    pub(crate) const JE: u8 = 14;
    pub(crate) const JZ: u8 = 15;
}

/// How an instruction is carried out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    /// OR, AND, XOR, ADD, ADC between registers that are storage.
    Plain,
    /// JE, JNE, JZ, JNZ by a register that is storage.
    Test,
    /// JMP, JC, JNC, CALL with such a register.
    Jump,
    /// A move through DINDIR.
    Copy,
    /// OR, AND, XOR, ADD, ADC with a register that has a life of its own.
    Combine,
    /// JE, JNE, JZ, JNZ by a register that has a life of its own.
    TestLive,
    /// All others.
    #[default]
    Other,
}

/// An instruction taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Instruction {
    pub(crate) op: u8,
    pub(crate) immediate: u8,
    pub(crate) source: u8,
    pub(crate) destination: u8,
    /// Branch target.
    pub(crate) target: u16,
    pub(crate) ret: bool,
    pub(crate) kind: Kind,
}

impl Instruction {
    pub(crate) fn decode(word: u32) -> Self {
        let [immediate, source, destination, high] = word.to_le_bytes();
        let op = high >> 1 & 15;
        let stored = READS_STORAGE[usize::from(source)];
        let kind = match op {
            op::OR..=op::ADC if stored && CLASSES[usize::from(destination)].is_plain() => Kind::Plain,
            op::AND if immediate == 0xff && destination == r::DINDIR => Kind::Copy,
            op::OR..=op::ADC => Kind::Combine,
            op::JMP..=op::CALL if stored => Kind::Jump,
            op::JNE..=op::JZ if stored => Kind::Test,
            op::JNE..=op::JZ => Kind::TestLive,
            _ => Kind::Other,
        };
        Self {
            op,
            immediate,
            source,
            destination,
            target: u16::from(destination) | u16::from(high & 1) << 8,
            ret: op < 8 && high & 1 != 0,
            kind,
        }
    }
}

/// What a write does to a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Class {
    /// Plain storage.
    Storage,
    /// Plain storage that is part of the processor itself.
    Core,
    /// Reads a constant; writes are dropped.
    Constant,
    /// A count or an address of the data path.
    Count,
    /// Has a life of its own.
    Live,
}

impl Class {
    pub(crate) const fn is_plain(self) -> bool {
        matches!(self, Self::Storage | Self::Core | Self::Constant)
    }
}

/// The one place that says which registers are what; the SCB window is storage but for how a host reaches it.
pub(crate) const CLASSES: [Class; 256] = {
    let mut class = [Class::Live; 256];
    let mut at = 0;
    while at < 256 {
        class[at] = match at as u8 {
            r::SCSIRATE | r::SCSIID | r::SCSITEST | r::SCAMCTL => Class::Storage,
            0x20..=0x5f | 0xa0..=0xbf => Class::Storage,
            r::ACCUM | r::SINDEX | r::DINDEX => Class::Core,
            r::ALLONES | r::ALLZEROS => Class::Constant,
            r::STCNT0..=r::STCNT2 | r::HADDR0..=r::HCNT2 => Class::Count,
            _ => Class::Live,
        };
        at += 1;
    }
    class
};

/// Registers that read as they are stored, and of which nobody notices that they were read.
const READS_STORAGE: [bool; 256] = {
    let mut stored = [false; 256];
    let mut at = 0;
    while at < 256 {
        stored[at] = CLASSES[at].is_plain()
            || matches!(
                at as u8,
                r::SCSISEQ
                    | r::SXFRCTL1
                    | r::SIMODE0
                    | r::SIMODE1
                    | r::SELID
                    | r::SBLKCTL
                    | r::SEQCTL
                    | r::SCBPTR
                    | r::DFCNTRL
            );
        at += 1;
    }
    stored
};

/// What the processor is between two instructions; with the version of everything else, two equal ones are a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    pc: u32,
    core: [u8; 3],
    flags: (bool, bool),
    stack: [u16; 4],
    sp: u8,
    /// SEQCTL: a loop may set PAUSEDIS and clear it again, time after time.
    control: u8,
    version: u64,
}

/// Finds loops by Brent's method: a position is kept, compared with each later one, and moved on ever more rarely.
#[derive(Debug, Clone, Default)]
pub(crate) struct LoopFinder {
    kept: Position,
    seen: u32,
    limit: u32,
}

/// Operations as one sum, by their codes: which of the bits that differ count, how often those that both have, whether the carry is added, whether it
/// stays as it was.
const SUMS: [[u8; 4]; 8] = {
    let mut sums = [[0; 4]; 8];
    sums[op::OR as usize] = [0xff, 1, 0, 1];
    sums[op::AND as usize] = [0, 1, 0, 1];
    sums[op::XOR as usize] = [0xff, 0, 0, 1];
    sums[op::ADD as usize] = [0xff, 2, 0, 0];
    sums[op::ADC as usize] = [0xff, 2, 1, 0];
    sums
};

/// When a slice of work ends, besides what wants attention.
struct End {
    /// Nanoseconds of an instruction.
    cycle: u64,
    /// The time, in nanoseconds.
    limit: u64,
    /// The break address.
    stop: u32,
    /// Instructions until now.
    executed: u64,
}

impl Adapter {
    #[inline]
    fn load(&mut self, cx: &mut Cx<'_>, address: u8) -> u8 {
        match address {
            r::SINDIR => self.load_indirect(cx),
            address if READS_STORAGE[usize::from(address)] => self.s.file[usize::from(address)],
            address => self.read_register(cx, address, Who::Sequencer),
        }
    }

    /// SINDIR: the register that SINDEX points at; SINDEX goes on.
    #[inline]
    pub(crate) fn load_indirect(&mut self, cx: &mut Cx<'_>) -> u8 {
        let at = self.s.file[usize::from(r::SINDEX)];
        let value = match at {
            at if READS_STORAGE[usize::from(at)] => self.s.file[usize::from(at)],
            // A register that points at itself would never come to an end.
            r::SINDIR | r::DINDIR => 0,
            at => self.read_register(cx, at, Who::Sequencer),
        };
        self.s.file[usize::from(r::SINDEX)] = at.wrapping_add(1);
        value
    }

    #[inline]
    fn store(&mut self, cx: &mut Cx<'_>, address: u8, value: u8) {
        match address {
            r::DINDIR => self.store_indirect(cx, value),
            address => self.store_direct(cx, address, value),
        }
    }

    #[inline]
    fn store_direct(&mut self, cx: &mut Cx<'_>, address: u8, value: u8) {
        match CLASSES[usize::from(address)] {
            Class::Storage => {
                let byte = &mut self.s.file[usize::from(address)];
                self.version += u64::from(*byte != value);
                *byte = value;
            }
            Class::Core => self.s.file[usize::from(address)] = value,
            Class::Constant => {}
            Class::Count => self.write_count(cx, address, value),
            Class::Live => self.write_register(cx, address, value, Who::Sequencer),
        }
    }

    /// DINDIR: the register that DINDEX points at; DINDEX goes on.
    #[inline]
    pub(crate) fn store_indirect(&mut self, cx: &mut Cx<'_>, value: u8) {
        let at = self.s.file[usize::from(r::DINDEX)];
        self.touch();
        // A register that points at itself would never come to an end.
        if !matches!(at, r::SINDIR | r::DINDIR) {
            self.store_direct(cx, at, value);
        }
        // DINDEX itself may be what was written.
        let index = &mut self.s.file[usize::from(r::DINDEX)];
        *index = index.wrapping_add(1);
    }

    /// Runs until the adapter's time reaches `limit`, or something wants attention.
    pub(crate) fn execute(&mut self, cx: &mut Cx<'_>, limit: u64) {
        let fast = self.s.file[usize::from(r::SEQCTL)] & seqctl::FASTMODE != 0;
        let cycle = if fast { 100 } else { 125 };
        let step = self.s.file[usize::from(r::SEQCTL)] & seqctl::STEP != 0;
        let stop = self.breakpoint();
        self.attention = false;
        // Whatever comes, one instruction is executed.
        let mut end = End { cycle, limit: if step { 0 } else { limit }, stop, executed: 0 };
        self.run(cx, &mut end);
        self.instructions += end.executed;
        if step {
            self.s.file[usize::from(r::HCNTRL)] |= hcntrl::PAUSE;
        }
    }

    /// Executes instructions until the end.
    fn run(&mut self, cx: &mut Cx<'_>, end: &mut End) {
        let mut i = self.fetch();
        loop {
            // What comes next is often of the same kind: a host predicts that better than a jump by the kind, above all when the program was
            // not run lately.
            match i.kind {
                Kind::Plain => loop {
                    self.plain(i);
                    if self.is_over(cx, end) {
                        return;
                    }
                    i = self.fetch();
                    if i.kind != Kind::Plain {
                        break;
                    }
                },
                Kind::Copy => loop {
                    self.copy(cx, i);
                    if self.is_over(cx, end) {
                        return;
                    }
                    i = self.fetch();
                    if i.kind != Kind::Copy {
                        break;
                    }
                },
                kind => {
                    match kind {
                        Kind::Test => self.test(i),
                        Kind::Jump => self.jump_plain(i),
                        Kind::Combine => self.combine(cx, i),
                        Kind::TestLive => self.test_live(cx, i),
                        _ => self.other(cx, i),
                    }
                    if self.is_over(cx, end) {
                        return;
                    }
                    i = self.fetch();
                }
            }
        }
    }

    /// After an instruction: time passes; whether the slice is over.
    #[inline(always)]
    fn is_over(&mut self, cx: &mut Cx<'_>, end: &mut End) -> bool {
        end.executed += 1;
        self.s.time = self.s.time + end.cycle;
        if self.s.pc == end.stop {
            self.s.intstat |= intstat::BRKADRINT;
            self.force_pause();
            self.update_interrupts(cx);
        }
        self.attention || self.s.time.as_nanos() >= end.limit
    }

    /// The break address, or one that no instruction has.
    fn breakpoint(&self) -> u32 {
        let (low, high) = (self.file(r::BRKADDR0), self.file(r::BRKADDR1));
        if high & 0x80 != 0 { u32::MAX } else { u32::from(low) | u32::from(high & 1) << 8 }
    }

    /// The instruction at SEQADDR.
    #[inline(always)]
    fn fetch(&mut self) -> Instruction {
        #[cfg(feature = "trace")]
        self.trace_instruction();
        self.program[self.s.pc as usize % PROGRAM]
    }

    /// SEQADDR goes on; where it was.
    #[inline(always)]
    fn step_over(&mut self) -> u32 {
        let at = self.s.pc;
        self.s.pc = (at + 1) % PROGRAM as u32;
        at
    }

    /// The second operand: an immediate of 0 means the accumulator.
    #[inline(always)]
    fn operand(&self, i: Instruction) -> u8 {
        let none = 0u8.wrapping_sub(u8::from(i.immediate == 0));
        self.s.file[usize::from(r::ACCUM)] & none | i.immediate
    }

    /// What OR, AND, XOR, ADD and ADC make of two operands, with the flags; without a jump, which a host would often predict wrongly.
    #[inline(always)]
    fn compute(&mut self, i: Instruction, a: u8, b: u8) -> u8 {
        let [differ, both, takes, keeps] = SUMS[usize::from(i.op & 7)];
        let carry = u8::from(self.s.carry);
        let sum = u32::from((a ^ b) & differ) + u32::from(a & b) * u32::from(both) + u32::from(carry & takes);
        self.s.carry = (sum > 0xff) | (carry & keeps != 0);
        let value = sum as u8;
        self.s.zero = value == 0;
        value
    }

    #[inline(always)]
    fn plain(&mut self, i: Instruction) {
        self.step_over();
        let a = self.s.file[usize::from(i.source)];
        let b = self.operand(i);
        let value = self.compute(i, a, b);
        let class = CLASSES[usize::from(i.destination)];
        let byte = &mut self.s.file[usize::from(i.destination)];
        let before = *byte;
        *byte = if class == Class::Constant { before } else { value };
        self.version += u64::from((class == Class::Storage) & (before != value));
        let sp = self.s.sp.wrapping_sub(u8::from(i.ret)) & 3;
        self.s.sp = sp;
        self.s.pc = if i.ret { self.s.stack[usize::from(sp)].into() } else { self.s.pc };
    }

    #[inline(always)]
    fn combine(&mut self, cx: &mut Cx<'_>, i: Instruction) {
        self.step_over();
        let a = self.load(cx, i.source);
        let b = self.operand(i);
        let value = self.compute(i, a, b);
        self.store(cx, i.destination, value);
        self.return_if(i.ret);
    }

    /// Drivers' programs move blocks so: by SINDIR, or out of the FIFO.
    #[inline(always)]
    fn copy(&mut self, cx: &mut Cx<'_>, i: Instruction) {
        self.step_over();
        let value = match i.source {
            r::DFDAT => self.read_fifo(cx),
            source => self.load(cx, source),
        };
        self.s.zero = value == 0;
        self.store_indirect(cx, value);
        self.return_if(i.ret);
    }

    #[inline(always)]
    fn test(&mut self, i: Instruction) {
        let at = self.step_over();
        let a = self.s.file[usize::from(i.source)];
        self.branch(i, at, a);
    }

    #[inline(always)]
    fn test_live(&mut self, cx: &mut Cx<'_>, i: Instruction) {
        let at = self.step_over();
        let a = self.load(cx, i.source);
        self.branch(i, at, a);
    }

    #[inline(always)]
    fn branch(&mut self, i: Instruction, at: u32, a: u8) {
        let b = self.operand(i);
        let bits = matches!(i.op, op::JZ | op::JNZ);
        self.s.zero = (if bits { a & b } else { a ^ b }) == 0;
        let wanted = matches!(i.op, op::JZ | op::JE);
        self.go_to(i.target.into(), at, self.s.zero == wanted);
    }

    #[inline(always)]
    fn jump_plain(&mut self, i: Instruction) {
        let at = self.step_over();
        let a = self.s.file[usize::from(i.source)];
        self.jump(i, at, a);
    }

    /// What jumps that compare nothing do with their operands; a call keeps where it came from.
    #[inline(always)]
    fn jump(&mut self, i: Instruction, at: u32, a: u8) {
        self.s.file[usize::from(r::SINDEX)] = a | i.immediate;
        if i.op == op::CALL {
            self.s.stack[usize::from(self.s.sp & 3)] = self.s.pc as u16;
            self.s.sp = (self.s.sp + 1) & 3;
        }
        let taken = match i.op {
            op::JC => self.s.carry,
            op::JNC => !self.s.carry,
            _ => true,
        };
        self.go_to(i.target.into(), at, taken);
    }

    /// A jump, if it is taken.
    #[inline(always)]
    fn go_to(&mut self, to: u32, from: u32, taken: bool) {
        self.s.pc = if taken { to } else { self.s.pc };
        if taken & (to <= from) {
            self.find_loop();
        }
    }

    fn other(&mut self, cx: &mut Cx<'_>, i: Instruction) {
        let at = self.step_over();
        match i.op {
            op::ROL => {
                let a = self.load(cx, i.source);
                let (value, carry) = rotate(a, i.immediate);
                if let Some(carry) = carry {
                    self.s.carry = carry;
                }
                self.s.zero = value == 0;
                self.store(cx, i.destination, value);
                self.return_if(i.ret);
            }
            op::JMP..=op::CALL => {
                let a = self.load(cx, i.source);
                self.jump(i, at, a);
            }
            _ => {
                self.s.pc = at;
                self.s.error |= error::ILLOPCODE;
                self.s.file[usize::from(r::SEQCTL)] &= !seqctl::PAUSEDIS;
                self.s.intstat |= intstat::BRKADRINT;
                self.force_pause();
                self.update_interrupts(cx);
            }
        }
    }

    #[inline]
    fn return_if(&mut self, ret: bool) {
        if ret {
            self.s.sp = self.s.sp.wrapping_sub(1) & 3;
            self.s.pc = self.s.stack[usize::from(self.s.sp)].into();
        }
    }

    /// Forgets what it knows of loops: a new slice finds them by itself, so that a restored adapter does as the saved one.
    pub(crate) fn forget_loops(&mut self) {
        self.loops = LoopFinder { kept: Position { pc: u32::MAX, ..Position::default() }, seen: 0, limit: 1 };
    }

    /// After a jump backwards: if nothing at all changed since the same place was passed, only an outside event will.
    fn find_loop(&mut self) {
        self.loops.seen += 1;
        // A change from outside the loop makes what was kept worthless at once.
        let stale = self.loops.kept.version != self.version;
        let moves_on = stale || self.loops.seen >= self.loops.limit;
        if !moves_on && self.loops.kept.pc != self.s.pc {
            return;
        }
        let file = |address: u8| self.s.file[usize::from(address)];
        let here = Position {
            pc: self.s.pc,
            core: [file(r::ACCUM), file(r::SINDEX), file(r::DINDEX)],
            flags: (self.s.zero, self.s.carry),
            stack: self.s.stack,
            sp: self.s.sp,
            control: file(r::SEQCTL),
            version: self.version,
        };
        if here == self.loops.kept {
            self.s.parked = true;
            self.attention = true;
        } else if moves_on {
            self.loops.limit = if stale { 1 } else { self.loops.limit.saturating_mul(2) };
            (self.loops.kept, self.loops.seen) = (here, 0);
        }
    }
}

/// Rotates `a` left by bits 2:0 of `control`, clears as many bits as bits 7:4 say: the upper ones if bit 3 is set, else the lower ones. Also
/// the last bit that was moved out, if any moved.
pub(crate) fn rotate(a: u8, control: u8) -> (u8, Option<bool>) {
    let left = u32::from(control & 7);
    let upper = control & 8 != 0;
    let clear = u32::from(control >> 4);
    let turned = a.rotate_left(left);
    let mask = match (clear, upper) {
        (8.., _) => 0,
        (n, true) => 0xffu8 >> n,
        (n, false) => 0xffu8 << n,
    };
    // A shift by 8 turns nothing and moves all bits out.
    let moved = if upper { (8 - left) % 8 } else { left };
    let moved = if moved == 0 && clear >= 8 { 8 } else { moved };
    let carry = match moved {
        0 => None,
        n if upper => Some(a >> (n - 1) & 1 != 0),
        n => Some(a >> (8 - n) & 1 != 0),
    };
    (turned & mask, carry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shifts_and_rotates() {
        for a in 0..=255u8 {
            for n in 1..8u32 {
                let c = n as u8;
                let left = Some(a >> (8 - n) & 1 != 0);
                let right = Some(a >> (n - 1) & 1 != 0);
                assert_eq!(rotate(a, c << 4 | c), (a << n, left), "shl {n}");
                assert_eq!(rotate(a, c << 4 | (8 - c) | 8), (a >> n, right), "shr {n}");
                assert_eq!(rotate(a, c), (a.rotate_left(n), left), "rol {n}");
                assert_eq!(rotate(a, (8 - c) | 8), (a.rotate_right(n), right), "ror {n}");
            }
            assert_eq!(rotate(a, 0xf0), (0, Some(a & 1 != 0)), "shl 8");
            assert_eq!(rotate(a, 0xf8), (0, Some(a & 0x80 != 0)), "shr 8");
            assert_eq!(rotate(a, 0), (a, None));
        }
    }
}
