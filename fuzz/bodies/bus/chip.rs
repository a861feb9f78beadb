//! The chips, which do as they are told, and what they share with the processor.

use std::sync::{Arc, Mutex, MutexGuard};

use slotone_bus::device::LentMemory;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, LentId, Pin, PinLevels, ResetKind, VmInstant, Window, WindowSet,
};

use super::{CONFIG_WINDOW, LENT, ORDER_WINDOW};

/// What a chip is told to do.
#[derive(Debug, Clone)]
pub(super) enum Order {
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
pub(super) enum Event {
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
pub(super) fn content(chip: usize, window: u16, offset: u64) -> u8 {
    let n = (chip as u64) << 40 ^ u64::from(window) << 32 ^ offset;
    (n.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8
}

/// What the chips share with the processor: an order on its way and the log.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) order: Option<Order>,
    pub(super) log: Vec<Event>,
    /// Windows that saved states speak of.
    pub(super) windows: Vec<Vec<Window>>,
}

pub(super) type Link = Arc<Mutex<Shared>>;

pub(super) fn lock(link: &Link) -> MutexGuard<'_, Shared> {
    link.lock().expect("one thread uses it")
}

/// The part of a chip that the model has a copy of.
#[derive(Debug, Clone)]
pub(super) struct Chip {
    pub(super) index: usize,
    /// The windows from reset on, order and configuration windows included.
    pub(super) first: Vec<Window>,
    pub(super) windows: Vec<Window>,
    pub(super) levels: PinLevels,
    /// Output pin that follows the input pin of the same number.
    pub(super) follows: u8,
    pub(super) deadline: Option<u64>,
    pub(super) period: u64,
    pub(super) pin: Pin,
}

impl Chip {
    pub(super) fn reset(&mut self) {
        self.windows.clone_from(&self.first);
        self.levels = PinLevels::default();
        self.deadline = None;
        self.period = 0;
    }

    /// The windows of an order, with those that never move.
    pub(super) fn all_windows(&self, moving: &[Window]) -> Vec<Window> {
        let fixed = self.first.iter().filter(|w| matches!(w.id, ORDER_WINDOW | CONFIG_WINDOW));
        fixed.chain(moving).copied().collect()
    }

    /// A tick at `now`; returns the change of a line.
    pub(super) fn tick(&mut self, now: u64) -> (Pin, bool) {
        let deadline = self.deadline.expect("a tick comes at a deadline");
        self.deadline = (self.period > 0).then(|| deadline.max(now) + self.period);
        let level = !self.levels.get(self.pin);
        self.levels = self.levels.with(self.pin, level);
        (self.pin, level)
    }

    /// An input changed; returns the change of the line that follows it.
    pub(super) fn input(&mut self, pin: u8, level: bool) -> Option<(Pin, bool)> {
        (self.follows >> pin & 1 != 0 && self.levels.get(Pin(pin)) != level).then(|| {
            self.levels = self.levels.with(Pin(pin), level);
            (Pin(pin), level)
        })
    }
}

/// A chip on the board.
#[derive(Debug)]
pub(super) struct Scripted {
    chip: Chip,
    set: WindowSet,
    lent: [LentMemory; 1],
    link: Link,
}

impl Scripted {
    pub(super) fn new(chip: Chip, link: Link) -> Self {
        let set = WindowSet::new(chip.windows.clone());
        let lent = [LentMemory { id: LentId(0), len: LENT }];
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
    fn memories(&self) -> &[LentMemory] {
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
