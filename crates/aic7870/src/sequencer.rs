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
}

impl Instruction {
    pub(crate) fn decode(word: u32) -> Self {
        let [immediate, source, destination, high] = word.to_le_bytes();
        let op = high >> 1 & 15;
        Self {
            op,
            immediate,
            source,
            destination,
            target: u16::from(destination) | u16::from(high & 1) << 8,
            ret: op < 8 && high & 1 != 0,
        }
    }
}

/// How a register behaves towards the sequencer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// Plain storage.
    Storage,
    /// Plain storage that is part of the processor itself.
    Core,
    /// Reads a constant; writes are dropped.
    Constant,
    /// Has a life of its own.
    Live,
}

const CLASS: [Class; 256] = {
    let mut class = [Class::Live; 256];
    let mut at = 0;
    while at < 256 {
        class[at] = match at as u8 {
            r::SCSIRATE | r::SCSIID | r::SCSITEST | r::SCAMCTL => Class::Storage,
            0x20..=0x5f | 0xa0..=0xbf => Class::Storage,
            r::ACCUM | r::SINDEX | r::DINDEX => Class::Core,
            r::ALLONES | r::ALLZEROS => Class::Constant,
            _ => Class::Live,
        };
        at += 1;
    }
    class
};

/// What the processor is between two instructions; with the version of everything else, two equal ones are a loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Position {
    pc: u16,
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

impl Adapter {
    #[inline]
    fn load(&mut self, cx: &mut Cx<'_>, address: u8) -> u8 {
        if CLASS[usize::from(address)] == Class::Live {
            return self.read_register(cx, address, Who::Sequencer);
        }
        self.s.file[usize::from(address)]
    }

    #[inline]
    fn store(&mut self, cx: &mut Cx<'_>, address: u8, value: u8) {
        match CLASS[usize::from(address)] {
            Class::Storage => {
                let byte = &mut self.s.file[usize::from(address)];
                self.version += u64::from(*byte != value);
                *byte = value;
            }
            Class::Core => self.s.file[usize::from(address)] = value,
            Class::Constant => {}
            Class::Live if address == r::DINDIR => self.store_indirect(cx, value),
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
            self.write_any(cx, at, value, Who::Sequencer);
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
        loop {
            self.instruction(cx);
            self.instructions += 1;
            self.s.time = self.s.time + cycle;
            if step {
                self.s.file[usize::from(r::HCNTRL)] |= hcntrl::PAUSE;
                self.attention = true;
            }
            if self.s.pc == stop {
                self.s.intstat |= intstat::BRKADRINT;
                self.force_pause();
                self.update_interrupts(cx);
            }
            if self.attention || self.s.time.as_nanos() >= limit {
                break;
            }
        }
    }

    /// The break address, or one that no instruction has.
    fn breakpoint(&self) -> u16 {
        let [low, high] = [r::BRKADDR0, r::BRKADDR1].map(|a| self.s.file[usize::from(a)]);
        if high & 0x80 != 0 { u16::MAX } else { u16::from(low) | u16::from(high & 1) << 8 }
    }

    fn instruction(&mut self, cx: &mut Cx<'_>) {
        let i = self.program[usize::from(self.s.pc) % PROGRAM];
        #[cfg(feature = "trace")]
        self.trace_instruction();
        let at = self.s.pc;
        self.s.pc = (at + 1) % PROGRAM as u16;
        // One arm an operation: a host predicts one jump by it, where nested ones cost several when the program was not run lately.
        match i.op {
            op::OR => self.combine(cx, i, |_, a, b| a | b),
            op::AND => self.combine(cx, i, |_, a, b| a & b),
            op::XOR => self.combine(cx, i, |_, a, b| a ^ b),
            op::ADD => self.combine(cx, i, |this, a, b| this.sum(a, b, false)),
            op::ADC => self.combine(cx, i, |this, a, b| this.sum(a, b, this.s.carry)),
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
            op::JMP => {
                self.set_index(cx, i);
                self.jump(at, i.target);
            }
            op::JC => {
                self.set_index(cx, i);
                if self.s.carry {
                    self.jump(at, i.target);
                }
            }
            op::JNC => {
                self.set_index(cx, i);
                if !self.s.carry {
                    self.jump(at, i.target);
                }
            }
            op::CALL => {
                self.set_index(cx, i);
                self.s.stack[usize::from(self.s.sp & 3)] = self.s.pc;
                self.s.sp = (self.s.sp + 1) & 3;
                self.jump(at, i.target);
            }
            op::JNE => self.branch(cx, i, at, |a, b| a == b, false),
            op::JE => self.branch(cx, i, at, |a, b| a == b, true),
            op::JNZ => self.branch(cx, i, at, |a, b| a & b == 0, false),
            op::JZ => self.branch(cx, i, at, |a, b| a & b == 0, true),
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

    /// The second operand: an immediate of 0 means the accumulator.
    #[inline(always)]
    fn operand(&self, i: Instruction) -> u8 {
        match i.immediate {
            0 => self.s.file[usize::from(r::ACCUM)],
            immediate => immediate,
        }
    }

    /// Two operands become one.
    #[inline(always)]
    fn combine(&mut self, cx: &mut Cx<'_>, i: Instruction, f: impl FnOnce(&mut Self, u8, u8) -> u8) {
        let a = self.load(cx, i.source);
        let b = self.operand(i);
        let value = f(self, a, b);
        self.s.zero = value == 0;
        self.store(cx, i.destination, value);
        self.return_if(i.ret);
    }

    #[inline(always)]
    fn sum(&mut self, a: u8, b: u8, carry: bool) -> u8 {
        let sum = u16::from(a) + u16::from(b) + u16::from(carry);
        self.s.carry = sum > 0xff;
        sum as u8
    }

    /// What jumps that compare nothing do with their operands.
    #[inline(always)]
    fn set_index(&mut self, cx: &mut Cx<'_>, i: Instruction) {
        let value = self.load(cx, i.source) | i.immediate;
        self.s.file[usize::from(r::SINDEX)] = value;
    }

    #[inline(always)]
    fn branch(
        &mut self,
        cx: &mut Cx<'_>,
        i: Instruction,
        at: u16,
        test: impl FnOnce(u8, u8) -> bool,
        wanted: bool,
    ) {
        let a = self.load(cx, i.source);
        let b = self.operand(i);
        self.s.zero = test(a, b);
        if self.s.zero == wanted {
            self.jump(at, i.target);
        }
    }

    #[inline]
    fn return_if(&mut self, ret: bool) {
        if ret {
            self.s.sp = self.s.sp.wrapping_sub(1) & 3;
            let to = self.s.stack[usize::from(self.s.sp)];
            self.s.pc = to;
        }
    }

    #[inline]
    fn jump(&mut self, from: u16, to: u16) {
        self.s.pc = to;
        if to <= from {
            self.find_loop();
        }
    }

    /// Forgets what it knows of loops: a new slice finds them by itself, so that a restored adapter does as the saved one.
    pub(crate) fn forget_loops(&mut self) {
        self.loops = LoopFinder { kept: Position { pc: u16::MAX, ..Position::default() }, seen: 0, limit: 1 };
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
            core: [r::ACCUM, r::SINDEX, r::DINDEX].map(file),
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
