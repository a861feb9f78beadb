//! The board, slowly: every answer is looked up byte by byte in the windows themselves.

use std::collections::VecDeque;

use slotone_bus::{Pin, Space, Target};
use slotone_vmm_core::NANOS_PER_INSTRUCTION;

use super::CONFIG_WINDOW;
use super::chip::{Chip, Event, Order, content};

/// Who answers at one address, in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Answer {
    Nobody,
    Device(usize, u16, u64),
    Ram(u64),
    Lent(usize, u64),
}

#[derive(Debug, Clone)]
pub(super) struct Wire {
    pub(super) from: usize,
    pub(super) pin: Pin,
    pub(super) sink: WireSink,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum WireSink {
    Input(usize, u8),
    Intr,
    Nmi,
    A20,
    Init,
    Reset,
    PowerOff,
}

/// Which inputs hear of their level when all nets are computed anew.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Tell {
    All,
    Changed,
    None,
}

/// The board, slowly: every answer is looked up byte by byte in the windows themselves.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) chips: Vec<Chip>,
    pub(super) slots: Vec<Option<u8>>,
    pub(super) wires: Vec<Wire>,
    pub(super) ram: Vec<u8>,
    pub(super) lent: Vec<Vec<u8>>,
    pub(super) config: u32,
    /// Clock on top of the instructions' time.
    pub(super) offset: u64,
    pub(super) now: u64,
    pub(super) reset: bool,
    pub(super) init: bool,
    pub(super) power_off: bool,
    pub(super) resets: u32,
    pub(super) expected: Vec<Event>,
    pub(super) lines: VecDeque<(usize, Pin, bool)>,
    pub(super) settling: bool,
    /// Sources of the wires now, one bool for each.
    pub(super) driven: Vec<bool>,
    /// So many changes of lines happened: where it is too many, the model gives up.
    pub(super) moves: u32,
}

impl Model {
    pub(super) fn answer(&self, space: Space, address: u64, write: bool) -> Answer {
        let mut best: Option<(u8, Answer)> = None;
        for chip in &self.chips {
            for w in &chip.windows {
                let inside = w.space == space && address >= w.base && address - w.base < w.len;
                let target = if write { w.write } else { w.read };
                if !inside || target == Target::Pass || best.is_some_and(|(p, _)| p >= w.priority) {
                    continue;
                }
                let at = address - w.base;
                let answer = match target {
                    Target::Device => Answer::Device(chip.index, w.id.0, at),
                    Target::Ram { offset } => Answer::Ram(offset + at),
                    Target::Lent { offset, .. } => Answer::Lent(chip.index, offset + at),
                    Target::Open | Target::Pass => Answer::Nobody,
                };
                best = Some((w.priority, answer));
            }
        }
        best.map_or(Answer::Nobody, |b| b.1)
    }

    fn memory(&mut self, answer: Answer) -> Option<&mut u8> {
        match answer {
            Answer::Ram(at) => Some(&mut self.ram[at as usize]),
            Answer::Lent(chip, at) => Some(&mut self.lent[chip][at as usize]),
            _ => None,
        }
    }

    fn read_byte(&mut self, answer: Answer) -> u8 {
        if let Answer::Device(chip, window, at) = answer {
            self.expected.push(Event::Read(chip, window, at));
            return content(chip, window, at);
        }
        self.memory(answer).map_or(0xff, |byte| *byte)
    }

    fn write_byte(&mut self, answer: Answer, value: u8) {
        if let Answer::Device(chip, window, at) = answer {
            self.expected.push(Event::Write(chip, window, at, value));
        } else if let Some(byte) = self.memory(answer) {
            *byte = value;
        }
    }

    /// Who hears each byte of a port access. Ports wrap at 64 KiB.
    fn ports(&self, port: u16, len: usize, write: bool) -> Vec<Answer> {
        if port >> 3 == 0xcf8 >> 3 {
            let lane = port.checked_sub(0xcfc).filter(|lane| usize::from(*lane) + len <= 4);
            if let Some(lane) = lane.filter(|_| self.config >> 31 != 0) {
                let (bus, slot, function) =
                    (self.config >> 16 & 0xff, self.config >> 11 & 31, self.config >> 8 & 7);
                let found = self.chips.iter().find(|c| {
                    let window = Space::PciConfig { function: function as u8 };
                    bus == 0
                        && self.slots[c.index] == Some(slot as u8)
                        && c.windows.iter().any(|w| w.space == window)
                });
                let at = u64::from(self.config & 0xfc) + u64::from(lane);
                return (0..len as u64)
                    .map(|i| {
                        found.map_or(Answer::Nobody, |c| Answer::Device(c.index, CONFIG_WINDOW.0, at + i))
                    })
                    .collect();
            }
        }
        (0..len as u16).map(|i| self.answer(Space::Io, u64::from(port.wrapping_add(i)), write)).collect()
    }

    pub(super) fn io_read(&mut self, port: u16, len: usize) -> Vec<u8> {
        if port == 0xcf8 && len == 4 {
            return self.config.to_le_bytes().to_vec();
        }
        self.ports(port, len, false).into_iter().map(|a| self.read_byte(a)).collect()
    }

    pub(super) fn io_write(&mut self, port: u16, data: &[u8]) {
        if let (0xcf8, Ok(bytes)) = (port, <[u8; 4]>::try_from(data)) {
            self.config = u32::from_le_bytes(bytes) & 0x80ff_fffc;
            return;
        }
        for (answer, byte) in self.ports(port, data.len(), true).into_iter().zip(data) {
            self.write_byte(answer, *byte);
        }
    }

    pub(super) fn mem_read(&mut self, address: u64, len: usize) -> Vec<u8> {
        let places: Vec<u64> = (0..len as u64).map(|i| address.wrapping_add(i)).collect();
        places.into_iter().map(|a| self.read_byte(self.answer(Space::Memory, a, false))).collect()
    }

    pub(super) fn mem_write(&mut self, address: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            let answer = self.answer(Space::Memory, address.wrapping_add(i as u64), true);
            self.write_byte(answer, *byte);
        }
    }

    // ---- orders ----

    pub(super) fn obey(&mut self, index: usize, order: &Order) {
        match order {
            Order::Windows(moving) => self.chips[index].windows = self.chips[index].all_windows(moving),
            Order::Line(pin, levels) => {
                for level in levels {
                    self.chips[index].levels = self.chips[index].levels.with(*pin, *level);
                    self.lines.push_back((index, *pin, *level));
                }
            }
            Order::DmaRead { address, len } => {
                let mut data = Vec::new();
                let mut fault = None;
                for i in 0..*len as u64 {
                    let at = address.wrapping_add(i);
                    let answer = self.answer(Space::Memory, at, false);
                    match self.memory(answer) {
                        Some(byte) => data.push(*byte),
                        None => {
                            fault = Some(at);
                            break;
                        }
                    }
                }
                self.expected.push(Event::Dma(index, fault.map_or(Ok(data), Err)));
            }
            Order::DmaWrite { address, data } => {
                let mut fault = None;
                for (i, value) in data.iter().enumerate() {
                    let at = address.wrapping_add(i as u64);
                    let answer = self.answer(Space::Memory, at, true);
                    match self.memory(answer) {
                        Some(byte) => *byte = *value,
                        None => {
                            fault = Some(at);
                            break;
                        }
                    }
                }
                self.expected.push(Event::Dma(index, fault.map_or(Ok(Vec::new()), Err)));
            }
            Order::Deadline { first, period, pin } => {
                let chip = &mut self.chips[index];
                (chip.deadline, chip.period, chip.pin) = (*first, *period, *pin);
            }
            Order::LentWrite { offset, data } => {
                self.lent[index][*offset as usize..*offset as usize + data.len()].copy_from_slice(data);
            }
        }
        self.settle();
    }

    // ---- lines ----

    pub(super) fn level(&self, sink: WireSink) -> bool {
        // A board without a gate has address bit 20.
        let gated = self.wires.iter().any(|w| w.sink == WireSink::A20);
        (sink == WireSink::A20 && !gated)
            || self.wires.iter().zip(&self.driven).any(|(w, driven)| w.sink == sink && *driven)
    }

    pub(super) fn settle(&mut self) {
        if std::mem::replace(&mut self.settling, true) {
            return;
        }
        while let Some((from, pin, level)) = self.lines.pop_front() {
            self.moves += 1;
            for i in 0..self.wires.len() {
                let wire = self.wires[i].clone();
                if wire.from != from || wire.pin != pin {
                    continue;
                }
                let before = self.level(wire.sink);
                self.driven[i] = level;
                let after = self.level(wire.sink);
                if before == after {
                    continue;
                }
                match wire.sink {
                    WireSink::Input(chip, pin) => self.input(chip, pin, after),
                    WireSink::Init => self.init |= after,
                    WireSink::Reset => self.reset |= after,
                    WireSink::PowerOff => self.power_off |= after,
                    WireSink::Intr | WireSink::Nmi | WireSink::A20 => {}
                }
            }
        }
        self.settling = false;
    }

    fn input(&mut self, chip: usize, pin: u8, level: bool) {
        self.expected.push(Event::Input(chip, pin, level));
        if let Some((pin, level)) = self.chips[chip].input(pin, level) {
            self.lines.push_back((chip, pin, level));
        }
        self.settle();
    }

    /// Computes every net anew. After building every input hears its level, after a reset those that changed, after a restore
    /// none.
    pub(super) fn settle_levels(&mut self, tell: Tell) {
        let mut nets: Vec<WireSink> = Vec::new();
        for wire in &self.wires {
            if !nets.contains(&wire.sink) {
                nets.push(wire.sink);
            }
        }
        let before: Vec<bool> = nets.iter().map(|n| self.level(*n)).collect();
        for i in 0..self.wires.len() {
            self.driven[i] = self.chips[self.wires[i].from].levels.get(self.wires[i].pin);
        }
        // The levels as they are before the first input is told.
        let levels: Vec<bool> = nets.iter().map(|n| self.level(*n)).collect();
        for ((net, before), level) in nets.into_iter().zip(before).zip(levels) {
            if let WireSink::Input(chip, pin) = net
                && (tell == Tell::All || (tell == Tell::Changed && level != before))
            {
                self.input(chip, pin, level);
            }
        }
    }

    // ---- time ----

    pub(super) fn pending(&self) -> bool {
        self.reset || self.init || self.power_off
    }

    pub(super) fn next(&self) -> Option<(u64, usize)> {
        self.chips.iter().filter_map(|c| Some((c.deadline?, c.index))).min()
    }

    pub(super) fn advance(&mut self, target: u64) {
        while let Some((deadline, chip)) = self.next().filter(|n| n.0 <= target) {
            self.now = self.now.max(deadline);
            self.expected.push(Event::Tick(chip, self.now));
            let (pin, level) = self.chips[chip].tick(self.now);
            self.lines.push_back((chip, pin, level));
            self.settle();
            if self.pending() {
                return;
            }
        }
        self.now = self.now.max(target);
    }

    pub(super) fn sync(&mut self, retired: u64) {
        let target = self.offset.wrapping_add(retired * NANOS_PER_INSTRUCTION).max(self.now);
        self.advance(target);
    }

    /// What the machine does before it lets the processor run; false if it does not.
    pub(super) fn enter(&mut self, retired: u64) -> bool {
        loop {
            if self.power_off {
                return false;
            }
            if self.reset {
                self.resets += 1;
                for i in 0..self.chips.len() {
                    self.expected.push(Event::Reset(i));
                    self.chips[i].reset();
                }
                self.config = 0;
                self.lines.clear();
                self.settle_levels(Tell::Changed);
                (self.reset, self.init, self.power_off) = (false, false, false);
            }
            self.init = false;
            self.sync(retired);
            if !self.pending() {
                return true;
            }
        }
    }
}
