//! Runs a script on a device and watches the rules.

use slotone_block::{BlockBackend, DiskClient, perform};
use slotone_bus::mem::Memory;
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{At, Cx, Device, DmaFault, LentId, Pin, PinLevels, Port, ResetKind, VmInstant, Window};
use thiserror::Error;

use crate::script::{Operation, Script};

/// A rule of [`Device`] that was broken. (A panic is one as well, and needs no oracle.)
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// `tick` left the deadline where it was.
    #[error("tick at {0:?} did not move the deadline")]
    DeadlineStuck(VmInstant),
    /// So many ticks fell due in a short time that a guest could stop the machine with it.
    #[error("{ticks} ticks within {nanos} ns")]
    TickStorm {
        /// Ticks.
        ticks: u32,
        /// Time they fell in.
        nanos: u64,
    },
    /// One call did an unbounded amount of DMA.
    #[error("{bytes} bytes of DMA in one call")]
    DmaStorm {
        /// Bytes.
        bytes: u64,
    },
    /// `levels` and the log of line changes disagree.
    #[error("pin {pin} is {level} by levels(), {logged} by the last line change")]
    Levels {
        /// The pin.
        pin: u8,
        /// What `levels` says.
        level: bool,
        /// What was logged last.
        logged: bool,
    },
    /// The windows changed and the generation did not.
    #[error("the windows changed without a new generation")]
    Generation,
    /// A window of no bytes, or one that leaves its address space.
    #[error("window {0:?} is empty or leaves its space")]
    Window(Window),
    /// A device did not take its own state back.
    #[error("restore of its own state failed: {0}")]
    Restore(String),
    /// The state read back from a restored device is another.
    #[error("save, restore, save gives another state ({before} and {after} bytes)")]
    State {
        /// Bytes before.
        before: usize,
        /// Bytes after.
        after: usize,
    },
}

/// Bytes of memory from address 0 that DMA reaches.
const RAM: usize = 1 << 20;
/// One call may move this much: the largest transfer of a real controller, and room to spare.
const DMA_MOST: u64 = 64 << 20;
/// Ticks per [`Operation::Advance`] that are still no storm: a tick a microsecond, and some.
const TICKS_LEAST: u32 = 10_000;

struct Board {
    ram: Memory,
    lent: Vec<(LentId, Memory)>,
    logged: PinLevels,
    known: u64,
    dma: u64,
}

impl Port for Board {
    fn line(&mut self, pin: Pin, level: bool) {
        self.logged = self.logged.with(pin, level);
        self.known |= 1 << (pin.0 & 63);
    }
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.dma += data.len() as u64;
        self.ram.read(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.dma += data.len() as u64;
        self.ram.write(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        self.lent.iter_mut().find(|(i, _)| *i == id).map(|(_, m)| m)
    }
}

struct Disks<D> {
    client: fn(&mut D) -> &mut dyn DiskClient,
    media: Vec<Option<Box<dyn BlockBackend>>>,
}

/// One device under test.
pub struct Harness<D> {
    make: Box<dyn Fn() -> D>,
    device: D,
    board: Board,
    now: VmInstant,
    disk: Option<Disks<D>>,
}

impl<D: Device> std::fmt::Debug for Harness<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harness").field("now", &self.now).finish_non_exhaustive()
    }
}

impl<D: Device> Harness<D> {
    /// A harness for the devices that `make` makes; each must begin in the same state.
    ///
    /// # Panics
    /// If the host has no room for the memories the device wants lent.
    pub fn new(make: impl Fn() -> D + 'static) -> Self {
        let device = make();
        let lent = device.memories().iter().map(|m| (m.id, Memory::new(m.len).expect("memory for a test")));
        let board = Board {
            lent: lent.collect(),
            ram: Memory::new(RAM).expect("memory for a test"),
            logged: PinLevels::default(),
            known: 0,
            dma: 0,
        };
        Self { make: Box::new(make), device, board, now: VmInstant::ZERO, disk: None }
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Runs the whole script.
    ///
    /// # Errors
    /// The index of the operation after which a rule was broken, and the rule.
    pub fn run(&mut self, script: &Script) -> Result<(), (usize, Violation)> {
        for (i, operation) in script.operations.iter().enumerate() {
            self.step(operation).map_err(|v| (i, v))?;
        }
        Ok(())
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// The rule that it broke.
    pub fn step(&mut self, operation: &Operation) -> Result<(), Violation> {
        match operation {
            Operation::Read { window, offset, len } => {
                if let Some(at) = self.place(*window, *offset) {
                    let mut data = [0; 8];
                    self.call(|d, cx| d.read(cx, at, &mut data[..usize::from(*len)]))?;
                }
            }
            Operation::Write { window, offset, data } => {
                if let Some(at) = self.place(*window, *offset) {
                    self.call(|d, cx| d.write(cx, at, data))?;
                }
            }
            Operation::ReadBurst { window, offset, count } => {
                if let Some(at) = self.place(*window, *offset) {
                    let mut data = vec![0; 2 * usize::from(*count).max(1)];
                    self.call(|d, cx| d.read_burst(cx, at, 2, &mut data))?;
                }
            }
            Operation::Advance { nanos } => self.advance(u64::from(*nanos))?,
            Operation::Input { pin, level } => self.call(|d, cx| d.input(cx, Pin(*pin), *level))?,
            Operation::Memory { address, data } => {
                let at = u64::from(*address) % (RAM - 4096) as u64;
                self.board.ram.write(at, data).expect("in bounds by the modulus");
            }
            Operation::Reset => {
                self.device.reset(ResetKind::Bus);
                self.board.known = 0;
                self.check()?;
            }
            Operation::SaveRestore => self.save_restore()?,
        }
        Ok(())
    }

    fn place(&self, window: u8, offset: u32) -> Option<At> {
        let windows = self.device.windows().1;
        let count = windows.len();
        let w = windows.get(usize::from(window).checked_rem(count)?)?;
        Some(At { window: w.id, offset: u64::from(offset) % w.len.max(1) })
    }

    fn call<R>(&mut self, f: impl FnOnce(&mut D, &mut Cx<'_>) -> R) -> Result<R, Violation> {
        let (generation, before) = {
            let (generation, windows) = self.device.windows();
            (generation, windows.to_vec())
        };
        self.board.dma = 0;
        let result = f(&mut self.device, &mut Cx::new(self.now, &mut self.board));
        if self.board.dma > DMA_MOST {
            return Err(Violation::DmaStorm { bytes: self.board.dma });
        }
        self.carry();
        let (after, windows) = self.device.windows();
        if after == generation && windows != before {
            return Err(Violation::Generation);
        }
        self.check()?;
        Ok(result)
    }

    fn carry(&mut self) {
        if let Some(Disks { client, media }) = &self.disk {
            let client = client(&mut self.device);
            while let Some(request) = client.next_request() {
                let medium = media.get(usize::from(request.unit)).and_then(|m| m.as_deref());
                client.complete(perform(medium, request));
            }
        }
    }

    fn check(&self) -> Result<(), Violation> {
        let levels = self.device.levels();
        for pin in (0..64).filter(|p| self.board.known >> p & 1 != 0) {
            let (level, logged) = (levels.get(Pin(pin)), self.board.logged.get(Pin(pin)));
            if level != logged {
                return Err(Violation::Levels { pin, level, logged });
            }
        }
        for window in self.device.windows().1 {
            if window.len == 0 || window.base.checked_add(window.len).is_none() {
                return Err(Violation::Window(*window));
            }
        }
        Ok(())
    }

    fn advance(&mut self, nanos: u64) -> Result<(), Violation> {
        let target = self.now + nanos;
        let most = TICKS_LEAST + (nanos / 500) as u32;
        let mut ticks = 0;
        while let Some(deadline) = self.device.next_deadline()
            && deadline <= target
        {
            self.now = self.now.max(deadline);
            self.call(|d, cx| d.tick(cx))?;
            if self.device.next_deadline() == Some(deadline) {
                return Err(Violation::DeadlineStuck(deadline));
            }
            ticks += 1;
            if ticks > most {
                return Err(Violation::TickStorm { ticks, nanos });
            }
        }
        self.now = target;
        Ok(())
    }

    fn save_restore(&mut self) -> Result<(), Violation> {
        let save = |device: &D| {
            let mut w = StateWriter::new();
            device.save(&mut w);
            w.into_bytes()
        };
        let before = save(&self.device);
        let mut fresh = (self.make)();
        fresh.restore(&mut StateReader::new(&before)).map_err(|e| Violation::Restore(e.to_string()))?;
        let after = save(&fresh);
        if before != after {
            return Err(Violation::State { before: before.len(), after: after.len() });
        }
        self.device = fresh;
        self.carry();
        self.check()
    }
}

impl<D: Device + DiskClient> Harness<D> {
    /// Gives the controller media to carry its requests to.
    #[must_use]
    pub fn with_media(mut self, media: Vec<Option<Box<dyn BlockBackend>>>) -> Self {
        self.disk = Some(Disks { client: |device| device, media });
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use slotone_bus::state::StateError;
    use slotone_bus::{Generation, Inspector, WindowId};

    /// A timer with every mistake on a switch.
    #[derive(Default)]
    struct Timer {
        deadline: Option<VmInstant>,
        out: bool,
        stuck: bool,
        silent: bool,
        forgetful: bool,
    }

    const WINDOW: [Window; 1] = [Window::io(WindowId(0), 0x40, 4)];

    impl Device for Timer {
        fn windows(&self) -> (Generation, &[Window]) {
            (Generation(0), &WINDOW)
        }
        fn read(&mut self, _: &mut Cx<'_>, _: At, data: &mut [u8]) {
            data.fill(u8::from(self.out));
        }
        fn write(&mut self, cx: &mut Cx<'_>, _: At, data: &[u8]) {
            self.deadline = Some(cx.now() + u64::from(data[0]) + 1);
        }
        fn levels(&self) -> PinLevels {
            PinLevels::default().with(Pin(0), self.out)
        }
        fn next_deadline(&self) -> Option<VmInstant> {
            self.deadline
        }
        fn tick(&mut self, cx: &mut Cx<'_>) {
            self.out = !self.out;
            cx.line(Pin(0), self.out != self.silent);
            if !self.stuck {
                self.deadline = None;
            }
        }
        fn reset(&mut self, _: ResetKind) {
            self.deadline = None;
        }
        fn save(&self, w: &mut StateWriter) {
            w.section("timer", 1, &(self.deadline, self.out));
        }
        fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
            (self.deadline, self.out) = r.section("timer", 1)?;
            if self.forgetful {
                self.deadline = None;
            }
            Ok(())
        }
        fn inspect(&self, _: &mut Inspector<'_>) {}
    }

    fn run(make: impl Fn() -> Timer + 'static, script: &str) -> Result<(), (usize, Violation)> {
        Harness::new(make).run(&script.parse().unwrap())
    }

    #[test]
    fn a_good_device_passes_and_each_mistake_is_found() {
        let script = "w 0+0 09\nsave\nt 100\nr 0+0 1\nreset";
        assert_eq!(run(Timer::default, script), Ok(()));
        let stuck = run(|| Timer { stuck: true, ..Timer::default() }, script);
        assert!(matches!(stuck, Err((2, Violation::DeadlineStuck(_)))));
        let silent = run(|| Timer { silent: true, ..Timer::default() }, script);
        assert!(matches!(silent, Err((2, Violation::Levels { pin: 0, .. }))));
        let forgetful = run(|| Timer { forgetful: true, ..Timer::default() }, script);
        assert!(matches!(forgetful, Err((1, Violation::State { .. }))));
    }
}
