//! The board of `slotone-vmm-core` beside a slow model of it: who answers an access, what DMA reaches, in which order ticks run, how
//! lines add up, what a page maps to, what survives a saved state.
//!
//! The input describes up to five chips with wires between them, then what a processor does. The processor is a script as well: it
//! makes the accesses and compares every answer with the model's. A chip changes itself (windows, lines, deadline, DMA) only when it
//! is written to, as real ones do: the processor leaves it an order and writes to its order port.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use slotone_bus::cpu::{Cpu, CpuBus, CpuReset, CpuState, Exit, KickHandle};
use slotone_bus::mem::{HostPage, PAGE_SIZE};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, LentId, Pin, PinLevels, ResetKind, Space, Target, VmInstant,
    Window, WindowId, WindowSet,
};
use slotone_vmm_core::{ClockMode, DeviceId, Machine, MachineBuilder, NANOS_PER_INSTRUCTION, RunExit, Sink};
use slotone_x86_cpu::{CpuModel, SoftCpu};

use super::{Reader, text};

const RAM: usize = 16 * PAGE_SIZE;
const LENT: usize = 2 * PAGE_SIZE;
/// The order port of chip n is at ORDERS + 4 * n.
const ORDERS: u16 = 0xe000;
const ORDER_WINDOW: WindowId = WindowId(99);
const CONFIG_WINDOW: WindowId = WindowId(98);
/// Output pins and input pins of a chip.
const PINS: u8 = 4;

/// What a chip is told to do.
#[derive(Debug, Clone)]
enum Order {
    Windows(Vec<Window>),
    /// Levels of one pin, one after the other.
    Line(Pin, Vec<bool>),
    DmaRead {
        address: u64,
        len: usize,
    },
    DmaWrite {
        address: u64,
        data: Vec<u8>,
    },
    /// First deadline, then every so many nanoseconds (0: never again), toggling a pin.
    Deadline {
        first: Option<u64>,
        period: u64,
        pin: Pin,
    },
    LentWrite {
        offset: u64,
        data: Vec<u8>,
    },
}

/// What a chip saw.
#[derive(Debug, Clone, PartialEq)]
enum Event {
    /// A byte read or written through a window.
    Read(usize, u16, u64),
    Write(usize, u16, u64, u8),
    Input(usize, u8, bool),
    Tick(usize, u64),
    /// What DMA gave: the bytes, or where it failed.
    Dma(usize, Result<Vec<u8>, u64>),
    Intack(usize),
    Reset(usize),
}

/// What a byte read through a window is: a function of where it is.
fn content(chip: usize, window: u16, offset: u64) -> u8 {
    let n = (chip as u64) << 40 ^ u64::from(window) << 32 ^ offset;
    (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// What the chips share with the processor: an order on its way and the log.
#[derive(Debug, Default)]
struct Shared {
    order: Option<Order>,
    log: Vec<Event>,
    /// Windows that saved states speak of.
    windows: Vec<Vec<Window>>,
}

type Link = Arc<Mutex<Shared>>;

fn lock(link: &Link) -> std::sync::MutexGuard<'_, Shared> {
    link.lock().expect("one thread uses it")
}

/// The part of a chip that the model has a copy of.
#[derive(Debug, Clone)]
struct Chip {
    index: usize,
    /// The windows from reset on, order and configuration windows included.
    first: Vec<Window>,
    windows: Vec<Window>,
    levels: PinLevels,
    /// Output pin that follows the input pin of the same number.
    follows: u8,
    deadline: Option<u64>,
    period: u64,
    pin: Pin,
}

impl Chip {
    fn reset(&mut self) {
        self.windows.clone_from(&self.first);
        self.levels = PinLevels::default();
        self.deadline = None;
        self.period = 0;
    }

    /// The windows of an order, with those that never move.
    fn all_windows(&self, moving: &[Window]) -> Vec<Window> {
        let fixed = self.first.iter().filter(|w| matches!(w.id, ORDER_WINDOW | CONFIG_WINDOW));
        fixed.chain(moving).copied().collect()
    }

    /// A tick at `now`; returns the change of a line.
    fn tick(&mut self, now: u64) -> (Pin, bool) {
        let deadline = self.deadline.expect("a tick comes at a deadline");
        self.deadline = (self.period > 0).then(|| deadline.max(now) + self.period);
        let level = !self.levels.get(self.pin);
        self.levels = self.levels.with(self.pin, level);
        (self.pin, level)
    }

    /// An input changed; returns the change of the line that follows it.
    fn input(&mut self, pin: u8, level: bool) -> Option<(Pin, bool)> {
        (self.follows >> pin & 1 != 0 && self.levels.get(Pin(pin)) != level).then(|| {
            self.levels = self.levels.with(Pin(pin), level);
            (Pin(pin), level)
        })
    }
}

/// A chip on the board.
#[derive(Debug)]
struct Scripted {
    chip: Chip,
    set: WindowSet,
    lent: [slotone_bus::device::LentMemory; 1],
    link: Link,
}

impl Scripted {
    fn new(chip: Chip, link: Link) -> Self {
        let set = WindowSet::new(chip.windows.clone());
        let lent = [slotone_bus::device::LentMemory { id: LentId(0), len: LENT }];
        Self { chip, set, lent, link }
    }

    fn obey(&mut self, cx: &mut Cx<'_>, order: Order) {
        match order {
            Order::Windows(moving) => {
                self.chip.windows = self.chip.all_windows(&moving);
                self.set.set(self.chip.windows.clone());
            }
            Order::Line(pin, levels) => {
                for level in levels {
                    self.chip.levels = self.chip.levels.with(pin, level);
                    cx.line(pin, level);
                }
            }
            Order::DmaRead { address, len } => {
                let mut data = vec![0; len];
                let result = cx.dma_read(address, &mut data).map(|()| data).map_err(|e| e.address);
                lock(&self.link).log.push(Event::Dma(self.chip.index, result));
            }
            Order::DmaWrite { address, data } => {
                let result = cx.dma_write(address, &data).map(|()| Vec::new()).map_err(|e| e.address);
                lock(&self.link).log.push(Event::Dma(self.chip.index, result));
            }
            Order::Deadline { first, period, pin } => {
                (self.chip.deadline, self.chip.period, self.chip.pin) = (first, period, pin);
            }
            Order::LentWrite { offset, data } => {
                let memory = cx.lent(LentId(0)).expect("the memory it asked for");
                memory.write(offset, &data).expect("within its memory");
            }
        }
    }
}

impl Device for Scripted {
    fn windows(&self) -> (Generation, &[Window]) {
        self.set.get()
    }
    fn memories(&self) -> &[slotone_bus::device::LentMemory] {
        &self.lent
    }
    fn read(&mut self, _: &mut Cx<'_>, at: At, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            let offset = at.offset.wrapping_add(i as u64);
            *byte = content(self.chip.index, at.window.0, offset);
            lock(&self.link).log.push(Event::Read(self.chip.index, at.window.0, offset));
        }
    }
    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            let offset = at.offset.wrapping_add(i as u64);
            lock(&self.link).log.push(Event::Write(self.chip.index, at.window.0, offset, *byte));
        }
        let order = if at.window == ORDER_WINDOW { lock(&self.link).order.take() } else { None };
        if let Some(order) = order {
            self.obey(cx, order);
        }
    }
    fn input(&mut self, cx: &mut Cx<'_>, pin: Pin, level: bool) {
        lock(&self.link).log.push(Event::Input(self.chip.index, pin.0, level));
        if let Some((pin, level)) = self.chip.input(pin.0, level) {
            cx.line(pin, level);
        }
    }
    fn levels(&self) -> PinLevels {
        self.chip.levels
    }
    fn intack(&mut self, _: &mut Cx<'_>) -> Option<u8> {
        lock(&self.link).log.push(Event::Intack(self.chip.index));
        Some(0x20 + self.chip.index as u8)
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        self.chip.deadline.map(VmInstant::from_nanos)
    }
    fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now().as_nanos();
        lock(&self.link).log.push(Event::Tick(self.chip.index, now));
        let (pin, level) = self.chip.tick(now);
        cx.line(pin, level);
    }
    fn reset(&mut self, _: ResetKind) {
        lock(&self.link).log.push(Event::Reset(self.chip.index));
        self.chip.reset();
        self.set.set(self.chip.windows.clone());
    }
    fn save(&self, w: &mut StateWriter) {
        let kept = &mut lock(&self.link).windows;
        let number = kept.iter().position(|w| *w == self.chip.windows).unwrap_or(kept.len());
        if number == kept.len() {
            kept.push(self.chip.windows.clone());
        }
        let body = (self.chip.levels.0, (self.chip.deadline, (self.chip.period, self.chip.pin.0)));
        w.section("chip", 1, &(number as u32, body));
    }
    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let (number, (levels, (deadline, (period, pin)))): (u32, _) = r.section("chip", 1)?;
        self.chip.windows = lock(&self.link).windows[number as usize].clone();
        self.set.set(self.chip.windows.clone());
        self.chip.levels = PinLevels(levels);
        (self.chip.deadline, self.chip.period, self.chip.pin) = (deadline, period, Pin(pin));
        Ok(())
    }
    fn inspect(&self, _: &mut Inspector<'_>) {}
}

/// Who answers at one address, in the model.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Answer {
    Nobody,
    Device(usize, u16, u64),
    Ram(u64),
    Lent(usize, u64),
}

#[derive(Debug, Clone)]
struct Wire {
    from: usize,
    pin: Pin,
    sink: WireSink,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum WireSink {
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
enum Tell {
    All,
    Changed,
    None,
}

/// The board, slowly: every answer is looked up byte by byte in the windows themselves.
#[derive(Debug)]
struct Model {
    chips: Vec<Chip>,
    slots: Vec<Option<u8>>,
    wires: Vec<Wire>,
    ram: Vec<u8>,
    lent: Vec<Vec<u8>>,
    config: u32,
    /// Clock on top of the instructions' time.
    offset: u64,
    now: u64,
    reset: bool,
    init: bool,
    power_off: bool,
    resets: u32,
    expected: Vec<Event>,
    lines: VecDeque<(usize, Pin, bool)>,
    settling: bool,
    /// Sources of the wires now, one bool for each.
    driven: Vec<bool>,
    /// So many changes of lines happened: where it is too many, the model gives up.
    moves: u32,
}

impl Model {
    fn answer(&self, space: Space, address: u64, write: bool) -> Answer {
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

    fn io_read(&mut self, port: u16, len: usize) -> Vec<u8> {
        if port == 0xcf8 && len == 4 {
            return self.config.to_le_bytes().to_vec();
        }
        self.ports(port, len, false).into_iter().map(|a| self.read_byte(a)).collect()
    }

    fn io_write(&mut self, port: u16, data: &[u8]) {
        if let (0xcf8, Ok(bytes)) = (port, <[u8; 4]>::try_from(data)) {
            self.config = u32::from_le_bytes(bytes) & 0x80ff_fffc;
            return;
        }
        for (answer, byte) in self.ports(port, data.len(), true).into_iter().zip(data) {
            self.write_byte(answer, *byte);
        }
    }

    fn mem_read(&mut self, address: u64, len: usize) -> Vec<u8> {
        let places: Vec<u64> = (0..len as u64).map(|i| address.wrapping_add(i)).collect();
        places.into_iter().map(|a| self.read_byte(self.answer(Space::Memory, a, false))).collect()
    }

    fn mem_write(&mut self, address: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            let answer = self.answer(Space::Memory, address.wrapping_add(i as u64), true);
            self.write_byte(answer, *byte);
        }
    }

    // ---- orders ----

    fn obey(&mut self, index: usize, order: &Order) {
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

    fn level(&self, sink: WireSink) -> bool {
        // A board without a gate has address bit 20.
        let gated = self.wires.iter().any(|w| w.sink == WireSink::A20);
        (sink == WireSink::A20 && !gated)
            || self.wires.iter().zip(&self.driven).any(|(w, driven)| w.sink == sink && *driven)
    }

    fn settle(&mut self) {
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
    fn settle_levels(&mut self, tell: Tell) {
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

    fn pending(&self) -> bool {
        self.reset || self.init || self.power_off
    }

    fn next(&self) -> Option<(u64, usize)> {
        self.chips.iter().filter_map(|c| Some((c.deadline?, c.index))).min()
    }

    fn advance(&mut self, target: u64) {
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

    fn sync(&mut self, retired: u64) {
        let target = self.offset.wrapping_add(retired * NANOS_PER_INSTRUCTION).max(self.now);
        self.advance(target);
    }

    /// What the machine does before it lets the processor run; false if it does not.
    fn enter(&mut self, retired: u64) -> bool {
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

/// Everything that outlives a machine: the model, what is left of the input, what the processor has counted.
struct World {
    model: Model,
    input: VecDeque<u8>,
    link: Link,
    retired: u64,
    operations: u32,
    /// What [`Cpu::run`] found when the machine let it run.
    entered: u32,
    save_wanted: bool,
    done: bool,
    cpu_resets: u32,
    /// First bytes of RAM and of each chip's lent memory on the host.
    hosts: Vec<usize>,
    /// Map generation last seen, with the windows and A20 at that time.
    generation: Option<(u64, Vec<Vec<Window>>, bool)>,
    halting: bool,
}

impl World {
    fn u8(&mut self) -> u8 {
        self.input.pop_front().unwrap_or(0)
    }

    fn u16(&mut self) -> u16 {
        u16::from(self.u8()) | u16::from(self.u8()) << 8
    }

    fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.u8()).collect()
    }

    fn chip(&mut self) -> usize {
        usize::from(self.u8()) % self.model.chips.len()
    }

    /// An address near the border of a window, or any.
    fn address(&mut self, space: Space) -> u64 {
        let pick = self.u8();
        let windows: Vec<Window> = self
            .model
            .chips
            .iter()
            .flat_map(|c| c.windows.iter())
            .filter(|w| w.space == space)
            .copied()
            .collect();
        if pick < 0xe0 && !windows.is_empty() {
            let w = windows[usize::from(pick) % windows.len()];
            let near = self.u8();
            let at = if near & 1 != 0 { w.base.wrapping_add(w.len) } else { w.base };
            return at.wrapping_add(u64::from(near >> 1)).wrapping_sub(16);
        }
        match pick & 3 {
            0 => u64::from(self.u16()),
            1 => u64::from(self.u16()) << 4,
            2 => u64::from(self.u16()) << 48 | u64::from(self.u16()),
            _ => u64::MAX - u64::from(self.u8()),
        }
    }

    fn window(&mut self, id: u16) -> Window {
        let shape = self.u8();
        let (a, b) = (u64::from(self.u16()), u64::from(self.u16()));
        let target = |bits: u8, len: u64| match bits & 7 {
            0 | 1 => Target::Device,
            2 | 3 => Target::Ram { offset: (a ^ b) % (RAM as u64 - len.min(RAM as u64 - 1)) },
            4 => Target::Lent { memory: LentId(0), offset: b % (LENT as u64 - len.min(LENT as u64 - 1)) },
            5 => Target::Open,
            _ => Target::Pass,
        };
        let kinds = self.u8();
        if shape & 1 != 0 {
            let io = |bits: u8| if bits & 7 > 4 { target(bits, 1) } else { Target::Device };
            let base = match shape >> 6 {
                0 => a & 0x1ff,
                1 => 0xcf0 + (a & 31),
                2 => 0xffe0 + (a & 31),
                _ => a,
            };
            // The order ports stay free, so that every chip can be told something.
            let most = if base < u64::from(ORDERS) { u64::from(ORDERS) - base } else { 0x1_0000 - base };
            let len = (b & 63).min(most).max(1);
            let base = if (u64::from(ORDERS)..u64::from(ORDERS) + 32).contains(&base) { 0x300 } else { base };
            let mut w = Window::io(WindowId(id), base as u16, len as u16);
            (w.priority, w.read, w.write) =
                ([0, 64, 64, 128][usize::from(shape >> 2 & 3)], io(kinds), io(kinds >> 4));
            return w;
        }
        // Whole pages, or anything; low, or just below the ends of 4 GiB and of all.
        let (mut base, mut len) = (a << (shape >> 4 & 3), 1 + (b & 0x2fff));
        if shape & 2 != 0 {
            (base, len) = (base & !0xfff, (len + 0xfff) & !0xfff);
        }
        let len = len.min(LENT as u64);
        match shape >> 6 {
            1 => base = (1 << 32) - len - (base & 0x1000),
            2 if shape & 2 == 0 => base = u64::MAX - len - (base & 0xff),
            _ => {}
        }
        let mut w = Window::memory(WindowId(id), base, len);
        w.priority = [0, 64, 64, 128][usize::from(shape >> 2 & 3)];
        (w.read, w.write) = (target(kinds, len), target(kinds >> 4, len));
        if w.base & 0xfff == 0 {
            // What is to be mapped must begin on a page in memory as well.
            for t in [&mut w.read, &mut w.write] {
                if let Target::Ram { offset } | Target::Lent { offset, .. } = t {
                    *offset &= !0xfff;
                }
            }
        }
        w
    }

    fn order(&mut self) -> Order {
        match self.u8() % 8 {
            0..=2 => {
                let n = u16::from(self.u8() % 4);
                Order::Windows((0..n).map(|id| self.window(id)).collect())
            }
            3 => {
                let (pin, levels) = (Pin(self.u8() % PINS), self.u8());
                Order::Line(pin, (0..levels % 4 + 1).map(|i| levels >> (4 + i) & 1 != 0).collect())
            }
            4 => Order::DmaRead { address: self.address(Space::Memory), len: usize::from(self.u16() % 5000) },
            5 => {
                let address = self.address(Space::Memory);
                let (n, seed) = (usize::from(self.u16() % 5000), self.u8());
                Order::DmaWrite { address, data: (0..n).map(|i| (i as u8) ^ seed).collect() }
            }
            6 => {
                let (delay, period, pin) = (self.u16(), self.u16(), Pin(self.u8() % PINS));
                let first = (delay != 0).then(|| self.model.now + u64::from(delay));
                let period = if period & 1 == 0 { 0 } else { 500 + u64::from(period) };
                Order::Deadline { first, period, pin }
            }
            _ => {
                let offset = u64::from(self.u16()) % (LENT as u64 - 8);
                Order::LentWrite { offset, data: self.bytes(8) }
            }
        }
    }

    /// Compares what the chips saw with what the model says they should have.
    fn check(&mut self, what: &str) {
        let seen = std::mem::take(&mut lock(&self.link).log);
        let expected = std::mem::take(&mut self.model.expected);
        if seen != expected {
            let at = seen
                .iter()
                .zip(&expected)
                .position(|(a, b)| a != b)
                .unwrap_or(seen.len().min(expected.len()));
            panic!("{what}: event {at} is {:?}, the model says {:?}", seen.get(at), expected.get(at));
        }
    }

    /// What the processor can ask for without an access.
    fn check_after(&mut self, bus: &mut dyn CpuBus) {
        let after = bus.after();
        let levels = [WireSink::Intr, WireSink::Nmi, WireSink::A20].map(|s| self.model.level(s));
        assert_eq!([after.intr, after.nmi, after.a20], levels, "INTR, NMI, A20");
        assert_eq!(after.stop, self.model.pending(), "stop");
        if let Some((deadline, _)) = self.model.next() {
            let latest = deadline.saturating_sub(self.model.offset).div_ceil(NANOS_PER_INSTRUCTION);
            assert!(after.until <= latest, "until {} with a deadline at instruction {latest}", after.until);
        }
        let windows: Vec<Vec<Window>> = self.model.chips.iter().map(|c| c.windows.clone()).collect();
        if let Some((generation, before, a20)) = &self.generation {
            let changed = *before != windows || *a20 != levels[2];
            assert!(
                !changed || *generation != after.map_generation,
                "the map changed, its generation did not"
            );
        }
        self.generation = Some((after.map_generation, windows, levels[2]));
    }

    fn check_page(&mut self, bus: &mut dyn CpuBus, address: u64) {
        let map = bus.map(address);
        let page = address & !(PAGE_SIZE as u64 - 1);
        let uniform = |model: &Model, write| {
            let first = model.answer(Space::Memory, page, write);
            let start = match first {
                Answer::Ram(at) => self.hosts[0] + at as usize,
                Answer::Lent(chip, at) => self.hosts[1 + chip] + at as usize,
                _ => return None,
            };
            let follows = |i: u64| match (first, model.answer(Space::Memory, page.wrapping_add(i), write)) {
                (Answer::Ram(a), Answer::Ram(b)) => a + i == b,
                (Answer::Lent(c, a), Answer::Lent(d, b)) => (c, a + i) == (d, b),
                _ => false,
            };
            (start.is_multiple_of(PAGE_SIZE) && (1..PAGE_SIZE as u64).all(follows)).then_some(start)
        };
        let expected = [uniform(&self.model, false), uniform(&self.model, true)];
        let host = |page: &Option<HostPage>| page.as_ref().map(|p| p.data().as_ptr().addr());
        for (found, expected) in [host(&map.read), host(&map.write)].into_iter().zip(expected) {
            // Not to map what could be is allowed; it only costs time.
            if found.is_some() {
                assert_eq!(found, expected, "the page at {page:#x} is mapped to another place");
            }
        }
        if expected[0].is_some() && expected[0] == expected[1] {
            assert!(map.read.is_some() && map.write.is_some(), "plain memory at {page:#x} is not mapped");
        }
    }

    /// One thing that the processor does; `Some` if the machine has to act.
    fn operation(&mut self, bus: &mut dyn CpuBus) -> Option<Exit> {
        self.operations += 1;
        let retired = self.retired;
        match self.u8() % 16 {
            0 => {
                let (port, len) = (self.address(Space::Io) as u16, [1, 2, 4][usize::from(self.u8() % 3)]);
                let mut data = vec![0; len];
                bus.io_read(retired, port, &mut data);
                self.model.sync(retired);
                assert_eq!(data, self.model.io_read(port, len), "{len} bytes from port {port:#x}");
            }
            1 => {
                let (port, len) = (self.address(Space::Io) as u16, [1, 2, 4][usize::from(self.u8() % 3)]);
                let data = self.bytes(len);
                bus.io_write(retired, port, &data);
                self.model.sync(retired);
                self.model.io_write(port, &data);
            }
            2 | 3 => {
                let (address, len) = (self.address(Space::Memory), 1 << (self.u8() & 3));
                let mut data = vec![0; len];
                bus.mem_read(retired, address, &mut data);
                self.model.sync(retired);
                assert_eq!(data, self.model.mem_read(address, len), "{len} bytes from {address:#x}");
            }
            4 | 5 => {
                let (address, len) = (self.address(Space::Memory), 1 << (self.u8() & 3));
                let data = self.bytes(len);
                bus.mem_write(retired, address, &data);
                self.model.sync(retired);
                self.model.mem_write(address, &data);
            }
            6 => {
                let address = self.address(Space::Memory);
                self.check_page(bus, address);
            }
            7..=9 => {
                let (chip, order) = (self.chip(), self.order());
                lock(&self.link).order = Some(order.clone());
                bus.io_write(retired, ORDERS + 4 * chip as u16, &[0]);
                self.model.sync(retired);
                self.model.io_write(ORDERS + 4 * chip as u16, &[0]);
                self.model.obey(chip, &order);
                assert!(lock(&self.link).order.is_none(), "the order did not arrive");
            }
            10 => {
                // Time passes; a real processor stops at `until` as well.
                let until = bus.after().until;
                self.retired = (self.retired + u64::from(self.u16() % 2000)).min(until.max(self.retired));
                if self.retired >= until {
                    return Some(Exit::Budget);
                }
            }
            11 => {
                let vector = bus.intack(retired);
                self.model.sync(retired);
                let source = self.model.wires.iter().rev().find(|w| w.sink == WireSink::Intr).map(|w| w.from);
                if let Some(source) = source {
                    self.model.expected.push(Event::Intack(source));
                }
                assert_eq!(vector, source.map_or(0xff, |s| 0x20 + s as u8));
            }
            12 => {
                // CONFADD at a function that may be there.
                let (slot, rest) = (self.u8(), self.u16());
                let value = u32::from(slot & 3) << 11
                    | u32::from(rest & 0x7fc)
                    | u32::from(slot & 0x40) << 14
                    | if slot & 0x80 == 0 { 0x8000_0000 } else { 0 };
                bus.io_write(retired, 0xcf8, &value.to_le_bytes());
                self.model.sync(retired);
                self.model.io_write(0xcf8, &value.to_le_bytes());
                let (port, len) = (0xcf8 + u16::from(slot >> 2 & 7), [1, 2, 4][usize::from(rest >> 12) % 3]);
                let mut data = vec![0; len];
                bus.io_read(retired, port, &mut data);
                assert_eq!(data, self.model.io_read(port, len), "{len} bytes from port {port:#x}");
                bus.io_write(retired, port, &data);
                self.model.io_write(port, &data);
            }
            13 => {
                self.save_wanted = true;
                return Some(Exit::Halt { interruptible: false });
            }
            14 => {
                self.halting = true;
                return Some(Exit::Halt { interruptible: true });
            }
            _ => {
                let (port, width) = (self.address(Space::Io) as u16, [1, 2, 4][usize::from(self.u8() % 3)]);
                let mut data = vec![0; width * (1 + usize::from(self.u8() % 8))];
                let done = bus.io_read_burst(retired, port, width, &mut data);
                self.model.sync(retired);
                assert!(
                    done > 0 && done <= data.len() && done.is_multiple_of(width),
                    "{done} of {}",
                    data.len()
                );
                for element in data[..done].chunks(width) {
                    assert_eq!(element, self.model.io_read(port, width), "{width} bytes from port {port:#x}");
                }
            }
        }
        self.check("an access");
        self.check_after(bus);
        None
    }
}

/// The processor.
struct ScriptedCpu {
    world: Arc<Mutex<World>>,
    template: CpuState,
    kick: KickHandle,
}

impl Cpu for ScriptedCpu {
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit {
        let world = &mut *self.world.lock().expect("one thread uses it");
        world.entered += 1;
        if std::mem::take(&mut world.halting) {
            world.jump();
        }
        assert!(world.model.enter(world.retired), "the processor runs with the power off");
        world.check("between runs");
        world.check_after(bus);
        loop {
            // Lines that move each other by the thousand, or an end of the input.
            if world.input.is_empty() || world.operations > 300 || world.model.moves > 4000 {
                world.done = true;
                return Exit::Halt { interruptible: false };
            }
            if let Some(exit) = world.operation(bus) {
                return exit;
            }
            if world.model.pending() {
                return Exit::Stop;
            }
        }
    }
    fn retired(&self) -> u64 {
        // While the processor runs nobody asks.
        self.world.try_lock().map_or(0, |w| w.retired)
    }
    fn reset(&mut self, kind: CpuReset) {
        if kind == CpuReset::Power {
            self.world.lock().expect("one thread uses it").cpu_resets += 1;
        }
    }
    fn save(&self) -> CpuState {
        CpuState { retired: self.world.lock().expect("one thread uses it").retired, ..self.template.clone() }
    }
    fn load(&mut self, state: &CpuState) -> Result<(), StateError> {
        self.world.lock().expect("one thread uses it").retired = state.retired;
        Ok(())
    }
    fn translate(&self, _: &mut dyn CpuBus, linear: u32) -> Option<u64> {
        Some(linear.into())
    }
    fn kick_handle(&self) -> KickHandle {
        self.kick.clone()
    }
}

impl World {
    /// The machine idled to the next deadline.
    fn jump(&mut self) {
        if let Some((deadline, _)) = self.model.next() {
            let deadline = deadline.max(self.model.now);
            self.model.offset = deadline.wrapping_sub(self.retired * NANOS_PER_INSTRUCTION);
            self.model.advance(deadline);
        }
    }
}

fn build(world: &Arc<Mutex<World>>) -> Machine {
    let mut builder = MachineBuilder::new(RAM).expect("room for memory");
    builder.clock(ClockMode::Counted);
    let (chips, slots, wires, link) = {
        let mut w = world.lock().expect("one thread uses it");
        w.retired = 0;
        (w.model.chips.clone(), w.model.slots.clone(), w.model.wires.clone(), w.link.clone())
    };
    let mut ids: Vec<DeviceId> = Vec::new();
    for (mut chip, slot) in chips.into_iter().zip(slots) {
        chip.reset();
        let name = format!("chip{}", chip.index);
        let chip = Scripted::new(chip, link.clone());
        let id = match slot {
            Some(slot) => builder.add_pci(&name, slot, chip),
            None => builder.add(&name, chip),
        };
        ids.push(id.expect("room for a chip"));
    }
    for wire in &wires {
        let sink = match wire.sink {
            WireSink::Input(chip, pin) => Sink::Input(ids[chip], Pin(pin)),
            WireSink::Intr => Sink::CpuIntr,
            WireSink::Nmi => Sink::CpuNmi,
            WireSink::A20 => Sink::CpuA20,
            WireSink::Init => Sink::CpuInit,
            WireSink::Reset => Sink::Reset,
            WireSink::PowerOff => Sink::PowerOff,
        };
        builder.wire(ids[wire.from], wire.pin, sink);
    }
    let template = SoftCpu::new(CpuModel::default()).save();
    builder.cpu(Box::new(ScriptedCpu { world: world.clone(), template, kick: KickHandle::new() }));
    let machine = builder.build().expect("it has a processor");
    let mut w = world.lock().expect("one thread uses it");
    let page = |m: Option<&slotone_bus::mem::Memory>| {
        m.and_then(|m| m.host_page(0, false)).map_or(0, |p| p.data().as_ptr().addr())
    };
    w.hosts = vec![page(Some(machine.ram()))];
    w.hosts.extend(ids.iter().map(|id| page(machine.lent(*id, LentId(0)))));
    w.generation = None;
    drop(w);
    machine
}

fn world(bytes: &[u8]) -> World {
    let mut input = Reader(bytes);
    let count = 1 + usize::from(input.u8() % 5);
    let (mut chips, mut slots) = (Vec::new(), Vec::new());
    for index in 0..count {
        let shape = input.u8();
        let mut order = Window::io(ORDER_WINDOW, ORDERS + 4 * index as u16, 4);
        order.priority = 255;
        let mut first = vec![order];
        let slot = (shape & 3 != 0).then_some(shape >> 2 & 3);
        if shape & 1 != 0 {
            first.push(Window::pci_config(CONFIG_WINDOW, shape >> 4 & 7));
        }
        slots.push(slot);
        let follows = input.u8() & 15;
        chips.push(Chip {
            index,
            windows: first.clone(),
            first,
            levels: PinLevels::default(),
            follows,
            deadline: None,
            period: 0,
            pin: Pin(0),
        });
    }
    let mut wires = Vec::new();
    for _ in 0..input.u8() % 16 {
        let (a, b) = (input.u8(), input.u8());
        let sink = match b % 16 {
            0..=8 => WireSink::Input(usize::from(b >> 4) % count, a >> 6 & 3),
            9 | 10 => WireSink::Intr,
            11 => WireSink::Nmi,
            12 => WireSink::A20,
            13 => WireSink::Init,
            14 => WireSink::Reset,
            _ => WireSink::PowerOff,
        };
        wires.push(Wire { from: usize::from(a & 7) % count, pin: Pin(a >> 3 & 3), sink });
    }
    let driven = vec![false; wires.len()];
    let model = Model {
        slots,
        wires,
        ram: vec![0; RAM],
        lent: vec![vec![0; LENT]; count],
        chips,
        config: 0,
        offset: 0,
        now: 0,
        reset: false,
        init: false,
        power_off: false,
        resets: 0,
        expected: Vec::new(),
        lines: VecDeque::new(),
        settling: false,
        driven,
        moves: 0,
    };
    World {
        model,
        input: input.0.iter().copied().collect(),
        link: Link::default(),
        retired: 0,
        operations: 0,
        entered: 0,
        save_wanted: false,
        done: false,
        cpu_resets: 0,
        hosts: Vec::new(),
        generation: None,
        halting: false,
    }
}

/// See the module.
pub fn bus(input: &[u8]) {
    let bytes = text::bytes(input);
    let world = Arc::new(Mutex::new(world(&bytes)));
    let mut machine = build(&world);
    {
        let mut w = world.lock().expect("one thread uses it");
        w.model.settle_levels(Tell::All);
        w.check("building");
    }
    loop {
        let exit = machine.run(VmInstant::MAX);
        let mut w = world.lock().expect("one thread uses it");
        if std::mem::take(&mut w.halting) {
            w.jump();
        }
        match exit {
            RunExit::PowerOff => {
                let retired = w.retired;
                assert!(!w.model.enter(retired), "the machine switched itself off");
                w.check("power off");
                break;
            }
            RunExit::Dead if w.done => break,
            RunExit::Dead => {}
            other => panic!("the machine ended with {other:?}"),
        }
        assert_eq!(w.cpu_resets, w.model.resets);
        if std::mem::take(&mut w.save_wanted) {
            let entered = w.entered;
            drop(w);
            let state = machine.save();
            machine = build(&world);
            lock(&world.lock().expect("one thread uses it").link).log.clear();
            machine.restore(&state).expect("its own state");
            let mut w = world.lock().expect("one thread uses it");
            assert_eq!(w.entered, entered);
            // The clock goes on from the time that was saved.
            w.model.offset = w.model.now.wrapping_sub(w.retired * NANOS_PER_INSTRUCTION);
            w.model.settle_levels(Tell::None);
            w.check("a restore");
            drop(w);
            assert!(machine.save() == state, "a restored machine saves as what it was");
        }
    }
    let w = world.lock().expect("one thread uses it");
    let ram = machine.ram().slice(0, RAM).expect("all of it");
    assert!(ram == w.model.ram, "memory is not what the model has");
    for (i, (id, _)) in machine.devices().enumerate() {
        let lent = machine.lent(id, LentId(0)).expect("each has one");
        assert!(lent.slice(0, LENT).expect("all of it") == w.model.lent[i], "the memory lent to chip {i}");
    }
}
