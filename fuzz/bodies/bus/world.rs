//! What the input says that the processor does, and whether the machine's answers are the model's.

use std::collections::VecDeque;

use slotone_bus::cpu::{CpuBus, Exit};
use slotone_bus::mem::{HostPage, PAGE_SIZE};
use slotone_bus::{LentId, Pin, Space, Target, Window, WindowId};
use slotone_vmm_core::NANOS_PER_INSTRUCTION;

use super::chip::{Event, Link, Order, lock};
use super::model::{Answer, Model, WireSink};
use super::{LENT, ORDERS, PINS, RAM};

/// Everything that outlives a machine: the model, what is left of the input, what the processor has counted.
pub(super) struct World {
    pub(super) model: Model,
    pub(super) input: VecDeque<u8>,
    pub(super) link: Link,
    pub(super) retired: u64,
    pub(super) operations: u32,
    /// What [`Cpu::run`] found when the machine let it run.
    pub(super) entered: u32,
    pub(super) save_wanted: bool,
    pub(super) done: bool,
    pub(super) cpu_resets: u32,
    /// First bytes of RAM and of each chip's lent memory on the host.
    pub(super) hosts: Vec<usize>,
    /// Map generation last seen, with the windows and A20 at that time.
    pub(super) generation: Option<(u64, Vec<Vec<Window>>, bool)>,
    pub(super) halting: bool,
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
    pub(super) fn check(&mut self, what: &str) {
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
    pub(super) fn check_after(&mut self, bus: &mut dyn CpuBus) {
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
    pub(super) fn operation(&mut self, bus: &mut dyn CpuBus) -> Option<Exit> {
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

    /// The machine idled to the next deadline.
    pub(super) fn jump(&mut self) {
        if let Some((deadline, _)) = self.model.next() {
            let deadline = deadline.max(self.model.now);
            self.model.offset = deadline.wrapping_sub(self.retired * NANOS_PER_INSTRUCTION);
            self.model.advance(deadline);
        }
    }
}
