//! Drives one device as a machine would: ticks before accesses, lines from the log, saved states in the middle.
#![allow(dead_code, reason = "each test file uses a part of it")]

use proptest::prelude::*;
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{At, Device, Pin, PinLevels, ResetKind, Space, Target, TestPort, Window};

/// Something done to a device from outside.
#[derive(Debug, Clone)]
pub(crate) enum Op {
    Read { window: u8, offset: u16, len: u8 },
    Write { window: u8, offset: u16, data: Vec<u8> },
    Input { pin: u8, level: bool },
    Advance { nanos: u64 },
    Intack,
    Reset,
    Save,
}

pub(crate) fn ops(inputs: u8) -> impl Strategy<Value = Vec<Op>> {
    let data = prop_oneof![
        8 => prop::collection::vec(any::<u8>(), 1..=1),
        3 => prop::collection::vec(any::<u8>(), 1..=8),
    ];
    let nanos = prop_oneof![4 => 0u64..5_000, 3 => 0u64..2_000_000, 1 => 0u64..3_000_000_000];
    let op = prop_oneof![
        8 => (any::<u8>(), any::<u16>(), 1u8..=8).prop_map(|(window, offset, len)| Op::Read { window, offset, len }),
        16 => (any::<u8>(), any::<u16>(), data).prop_map(|(window, offset, data)| Op::Write { window, offset, data }),
        4 => (0..inputs.max(1) + 1, any::<bool>()).prop_map(|(pin, level)| Op::Input { pin, level }),
        8 => nanos.prop_map(|nanos| Op::Advance { nanos }),
        2 => Just(Op::Intack),
        1 => Just(Op::Reset),
        2 => Just(Op::Save),
    ];
    prop::collection::vec(op, 1..80)
}

pub(crate) fn state_of(device: &dyn Device) -> Vec<u8> {
    let mut w = StateWriter::new();
    device.save(&mut w);
    w.into_bytes()
}

pub(crate) struct Rig<D> {
    pub(crate) device: D,
    pub(crate) port: TestPort,
    pub(crate) now: u64,
    pub(crate) levels: PinLevels,
    pub(crate) ticks: u64,
}

impl<D: Device> Rig<D> {
    pub(crate) fn new(device: D) -> Self {
        let levels = device.levels();
        Self { device, port: TestPort::new(0x1_0000).with_lent(0x4_0000), now: 0, levels, ticks: 0 }
    }

    /// The window that serves `base` in `space`.
    pub(crate) fn at(&self, space: Space, address: u64) -> At {
        let (_, windows) = self.device.windows();
        let hit = windows.iter().find(|w| w.space == space && (w.base..w.base + w.len).contains(&address));
        let window = hit.unwrap_or_else(|| panic!("nobody answers at {address:#x}"));
        At { window: window.id, offset: address - window.base }
    }

    /// Applies the log of line changes; the levels must then be what the device says.
    pub(crate) fn lines(&mut self) -> Vec<(Pin, bool)> {
        let lines = self.port.take_lines();
        for (pin, level) in &lines {
            self.levels = self.levels.with(*pin, *level);
        }
        assert_eq!(self.levels, self.device.levels(), "log and levels differ after {lines:?}");
        lines
    }

    /// Runs every tick due by now; none may be due at once again for ever.
    pub(crate) fn settle(&mut self) -> Vec<(Pin, bool)> {
        let mut log = Vec::new();
        let mut stuck = 0;
        let mut last = None;
        while let Some(due) = self.device.next_deadline().filter(|d| d.as_nanos() <= self.now) {
            stuck = if last == Some(due) { stuck + 1 } else { 0 };
            assert!(stuck < 3, "a tick does not advance the deadline {due:?}");
            last = Some(due);
            self.ticks += 1;
            self.port.at(due.as_nanos(), |cx| self.device.tick(cx));
            log.extend(self.lines());
        }
        log
    }

    pub(crate) fn advance(&mut self, nanos: u64) -> Vec<(Pin, bool)> {
        self.now += nanos;
        self.settle()
    }

    pub(crate) fn input(&mut self, pin: Pin, level: bool) -> Vec<(Pin, bool)> {
        self.settle();
        self.port.at(self.now, |cx| self.device.input(cx, pin, level));
        self.lines()
    }

    pub(crate) fn write_at(&mut self, at: At, data: &[u8]) -> Vec<(Pin, bool)> {
        self.settle();
        self.port.at(self.now, |cx| self.device.write(cx, at, data));
        self.lines()
    }

    pub(crate) fn read_at(&mut self, at: At, data: &mut [u8]) {
        self.settle();
        self.port.at(self.now, |cx| self.device.read(cx, at, data));
        self.lines();
    }

    pub(crate) fn outb(&mut self, port: u16, value: u8) -> Vec<(Pin, bool)> {
        self.write_at(self.at(Space::Io, u64::from(port)), &[value])
    }

    pub(crate) fn inb(&mut self, port: u16) -> u8 {
        let mut data = [0];
        self.read_at(self.at(Space::Io, u64::from(port)), &mut data);
        data[0]
    }

    pub(crate) fn config_write(&mut self, function: u8, offset: u8, data: &[u8]) -> Vec<(Pin, bool)> {
        self.write_at(self.at(Space::PciConfig { function }, u64::from(offset)), data)
    }

    pub(crate) fn config_read<const N: usize>(&mut self, function: u8, offset: u8) -> [u8; N] {
        let mut data = [0; N];
        self.read_at(self.at(Space::PciConfig { function }, u64::from(offset)), &mut data);
        data
    }

    /// A window chosen by number among those the device serves, and an offset mostly inside it.
    fn pick(&self, window: u8, offset: u16) -> Option<At> {
        let (_, windows) = self.device.windows();
        let served: Vec<&Window> =
            windows.iter().filter(|w| w.read == Target::Device || w.write == Target::Device).collect();
        let w = served.get(usize::from(window) % served.len().max(1))?;
        let offset = if offset < 0xf000 { u64::from(offset) % w.len } else { u64::from(offset) };
        Some(At { window: w.id, offset })
    }

    /// Does `op`; everything that can be seen goes into `seen`.
    fn apply(&mut self, op: &Op, seen: &mut Vec<u8>) {
        match op {
            Op::Read { window, offset, len } => {
                if let Some(at) = self.pick(*window, *offset) {
                    let mut data = vec![0x5a; usize::from(*len)];
                    self.read_at(at, &mut data);
                    seen.extend(data);
                }
            }
            Op::Write { window, offset, data } => {
                if let Some(at) = self.pick(*window, *offset) {
                    self.write_at(at, data);
                }
            }
            Op::Input { pin, level } => {
                self.input(Pin(*pin), *level);
            }
            Op::Advance { nanos } => {
                let before = self.ticks;
                self.advance(*nanos);
                let ticks = self.ticks - before;
                assert!(ticks <= 64 + nanos / 2_000, "{ticks} ticks in {nanos} ns");
            }
            Op::Intack => {
                self.settle();
                let vector = self.port.at(self.now, |cx| self.device.intack(cx));
                self.lines();
                seen.extend(vector);
            }
            Op::Reset => {
                self.device.reset(ResetKind::Bus);
                self.levels = self.device.levels();
            }
            Op::Save => {}
        }
        seen.extend(self.levels.0.to_le_bytes());
        seen.extend(self.device.next_deadline().map_or(0, |d| d.as_nanos()).to_le_bytes());
    }
}

/// Runs `ops` on a device, and again on one that was saved and restored at every [`Op::Save`]: nobody must see a difference.
pub(crate) fn contract<D: Device>(make: impl Fn() -> D, ops: &[Op]) {
    let (mut plain, mut restored) = (Rig::new(make()), Rig::new(make()));
    for op in ops {
        let (mut a, mut b) = (Vec::new(), Vec::new());
        plain.apply(op, &mut a);
        restored.apply(op, &mut b);
        assert_eq!(a, b, "{op:?} after a restore");
        assert_eq!(plain.device.windows().1, restored.device.windows().1, "windows after {op:?}");
        if matches!(op, Op::Save) {
            let state = state_of(&restored.device);
            let mut next = make();
            next.restore(&mut StateReader::new(&state)).expect("its own state");
            assert_eq!(state_of(&next), state, "a state changes when it is saved again");
            assert_eq!(next.levels(), restored.levels);
            restored.device = next;
        }
    }
    plain.device.inspect(&mut |name, _| assert!(!name.is_empty()));
}

/// Cuts and changes a saved state: it is refused, or taken without harm.
pub(crate) fn hostile_state<D: Device>(make: impl Fn() -> D, ops: &[Op], at: usize, value: u8) {
    let mut rig = Rig::new(make());
    for op in ops {
        rig.apply(op, &mut Vec::new());
    }
    let good = state_of(&rig.device);
    let cut = at % good.len();
    let untouched = state_of(&rig.device);
    assert!(rig.device.restore(&mut StateReader::new(&good[..cut])).is_err(), "cut at {cut}");
    assert_eq!(state_of(&rig.device), untouched, "a refused state has changed the device");
    let mut bad = good;
    bad[cut] = value;
    let levels_before = state_of(&rig.device);
    if rig.device.restore(&mut StateReader::new(&bad)).is_err() {
        assert_eq!(state_of(&rig.device), levels_before, "a refused state has changed the device");
        return;
    }
    rig.levels = rig.device.levels();
    for nanos in [0, 1_000, 1_000_000] {
        // Whatever a state says about the past, the device comes to rest.
        rig.now += nanos;
        for _ in 0..2_000 {
            match rig.device.next_deadline() {
                Some(due) if due.as_nanos() <= rig.now => {
                    rig.port.at(rig.now, |cx| rig.device.tick(cx));
                    rig.lines();
                }
                _ => break,
            }
        }
        let due = rig.device.next_deadline();
        assert!(due.is_none_or(|d| d.as_nanos() > rig.now), "still due at {due:?} when it is {}", rig.now);
        rig.apply(&Op::Read { window: 0, offset: 0, len: 8 }, &mut Vec::new());
        rig.apply(&Op::Write { window: 1, offset: 1, data: vec![value; 4] }, &mut Vec::new());
    }
}
