//! One device, accessed as a driver does.

use slotone_bus::state::StateWriter;
use slotone_bus::{At, Device, Pin, PinLevels, ResetKind, Space, TestPort};

/// One device and its driver's view of it: accesses by address, virtual time, the lines it moves. For unit tests in the shape of
/// drivers; [`Harness`](crate::Harness) is for random scripts.
///
/// Ticks that are due run before every access, and the lines a call reports must lead to the levels the device has.
///
/// ```
/// # use slotone_bus::*;
/// # use slotone_bus::state::*;
/// # #[derive(Default)]
/// # struct Latch(u8);
/// # const WINDOW: [Window; 1] = [Window::io(WindowId(0), 0x80, 1)];
/// # impl Device for Latch {
/// #     fn windows(&self) -> (Generation, &[Window]) { (Generation(0), &WINDOW) }
/// #     fn read(&mut self, _: &mut Cx<'_>, _: At, data: &mut [u8]) { data.fill(self.0); }
/// #     fn write(&mut self, _: &mut Cx<'_>, _: At, data: &[u8]) { self.0 = data[0]; }
/// #     fn levels(&self) -> PinLevels { PinLevels::default() }
/// #     fn next_deadline(&self) -> Option<VmInstant> { None }
/// #     fn tick(&mut self, _: &mut Cx<'_>) {}
/// #     fn reset(&mut self, _: ResetKind) { self.0 = 0; }
/// #     fn save(&self, w: &mut StateWriter) { w.section("latch", 1, &self.0); }
/// #     fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> { self.0 = r.section("latch", 1)?; Ok(()) }
/// #     fn inspect(&self, _: &mut Inspector<'_>) {}
/// # }
/// use slotone_fuzz_kit::Rig;
/// let mut latch = Rig::new(Latch::default());
/// latch.outb(0x80, 0x5a);
/// latch.advance(1_000_000);
/// assert_eq!(latch.inb(0x80), 0x5a);
/// ```
#[derive(Debug)]
pub struct Rig<D> {
    /// The device.
    pub device: D,
    /// Its port: memory for DMA and lent memory.
    pub port: TestPort,
    /// Virtual time in nanoseconds.
    pub now: u64,
    levels: PinLevels,
    ticks: u64,
}

impl<D: Device> Rig<D> {
    /// 64 KiB of memory for DMA and 256 KiB lent as number 0, at virtual time 0.
    ///
    /// # Panics
    /// If the host has no room for them.
    pub fn new(device: D) -> Self {
        let levels = device.levels();
        Self { device, port: TestPort::new(0x1_0000).with_lent(0x4_0000), now: 0, levels, ticks: 0 }
    }

    /// Levels of the lines.
    pub fn levels(&self) -> PinLevels {
        self.levels
    }

    /// Ticks that have run.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// The device's state as it would be saved.
    pub fn state(&self) -> Vec<u8> {
        let mut w = StateWriter::new();
        self.device.save(&mut w);
        w.into_bytes()
    }

    /// The window and offset that serve `address` in `space`.
    ///
    /// # Panics
    /// If the device has no window there.
    pub fn at(&self, space: Space, address: u64) -> At {
        let (_, windows) = self.device.windows();
        let hit = windows.iter().find(|w| w.space == space && (w.base..w.base + w.len).contains(&address));
        let window = hit.unwrap_or_else(|| panic!("nobody answers at {address:#x}"));
        At { window: window.id, offset: address - window.base }
    }

    /// Takes the log of line changes after a call of the device that did not go through the rig.
    ///
    /// # Panics
    /// If the log does not lead to the device's levels.
    pub fn lines(&mut self) -> Vec<(Pin, bool)> {
        let lines = self.port.take_lines();
        for (pin, level) in &lines {
            self.levels = self.levels.with(*pin, *level);
        }
        assert_eq!(self.levels, self.device.levels(), "log and levels differ after {lines:?}");
        lines
    }

    /// Runs every tick that is due.
    ///
    /// # Panics
    /// If a tick leaves its deadline where it was, several times over.
    pub fn settle(&mut self) -> Vec<(Pin, bool)> {
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

    /// Lets `nanos` pass. Returns the line changes, as everything below does.
    pub fn advance(&mut self, nanos: u64) -> Vec<(Pin, bool)> {
        self.now += nanos;
        self.settle()
    }

    /// Resets the device; its lines go to their levels without a log, as on a board.
    pub fn reset(&mut self, kind: ResetKind) {
        self.device.reset(kind);
        self.levels = self.device.levels();
    }

    /// Moves an input pin.
    pub fn input(&mut self, pin: Pin, level: bool) -> Vec<(Pin, bool)> {
        self.settle();
        self.port.at(self.now, |cx| self.device.input(cx, pin, level));
        self.lines()
    }

    /// Writes to a window.
    pub fn write_at(&mut self, at: At, data: &[u8]) -> Vec<(Pin, bool)> {
        self.settle();
        self.port.at(self.now, |cx| self.device.write(cx, at, data));
        self.lines()
    }

    /// Reads from a window.
    pub fn read_at(&mut self, at: At, data: &mut [u8]) {
        self.settle();
        self.port.at(self.now, |cx| self.device.read(cx, at, data));
        self.lines();
    }

    /// Writes an I/O port.
    ///
    /// # Panics
    /// If nobody answers there, as for all accesses by address.
    pub fn outb(&mut self, port: u16, value: u8) -> Vec<(Pin, bool)> {
        self.write_at(self.at(Space::Io, u64::from(port)), &[value])
    }

    /// Reads an I/O port.
    pub fn inb(&mut self, port: u16) -> u8 {
        let mut data = [0];
        self.read_at(self.at(Space::Io, u64::from(port)), &mut data);
        data[0]
    }

    /// Writes PCI configuration space.
    pub fn config_write(&mut self, function: u8, offset: u8, data: &[u8]) -> Vec<(Pin, bool)> {
        self.write_at(self.at(Space::PciConfig { function }, u64::from(offset)), data)
    }

    /// Reads PCI configuration space.
    pub fn config_read<const N: usize>(&mut self, function: u8, offset: u8) -> [u8; N] {
        let mut data = [0; N];
        self.read_at(self.at(Space::PciConfig { function }, u64::from(offset)), &mut data);
        data
    }
}
