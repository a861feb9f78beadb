//! Runs a script on a device and watches the rules.

use std::hash::{Hash, Hasher};

use slotone_block::{BlockBackend, DiskClient, perform};
use slotone_bus::mem::Memory;
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, DmaFault, InspectValue, LentId, Pin, PinLevels, Port, ResetKind, VmInstant,
};

use crate::script::{Operation, Script};
use crate::violation::{Difference, StateDifference, Violation, first};

/// Bytes of memory from address 0 that DMA reaches.
const RAM: usize = 1 << 20;
/// One call may move this much: the largest transfer of a real controller, and room to spare.
const DMA_MOST: u64 = 64 << 20;
/// Ticks per [`Operation::Advance`] that are still no storm: a tick a microsecond, and some.
const TICKS_LEAST: u32 = 10_000;
/// Ticks and bytes of DMA after which a script ends early, so that every input takes a bounded time.
const TICKS_ALL: u32 = 40_000;
const DMA_ALL: u64 = 96 << 20;

/// A quick hash: it runs after every operation, and the fuzzer watches every branch in it.
#[derive(Default, PartialEq)]
struct Digest(u64);

impl Digest {
    fn mix(&mut self, value: u64) {
        let n = (self.0.rotate_left(5) ^ value).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        self.0 = n ^ n >> 32;
    }
}

impl Hasher for Digest {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|w| self.mix(u64::from_le_bytes(*w)));
        rest.iter().for_each(|b| self.mix(u64::from(*b)));
    }
    fn write_u8(&mut self, n: u8) {
        self.mix(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.mix(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.mix(n.into());
    }
    fn write_u64(&mut self, n: u64) {
        self.mix(n);
    }
    fn write_usize(&mut self, n: usize) {
        self.mix(n as u64);
    }
    fn finish(&self) -> u64 {
        self.0
    }
}

/// What a guest could see of one operation.
#[derive(Default)]
struct Seen {
    /// Bytes that were read, or the vector of an acknowledge.
    data: Vec<u8>,
    /// Bytes that a burst says were done.
    burst: usize,
    lines: Vec<(Pin, bool)>,
    ticks: Digest,
    /// What DMA wrote, and where.
    dma: Digest,
}

impl Seen {
    /// Forgets it; the room stays.
    fn clear(&mut self) {
        self.data.clear();
        self.lines.clear();
        (self.burst, self.ticks, self.dma) = (0, Digest::default(), Digest::default());
    }
}

struct Board {
    ram: Memory,
    lent: Vec<(LentId, Memory)>,
    logged: PinLevels,
    known: u64,
    dma: u64,
    dma_all: u64,
    seen: Seen,
}

impl Port for Board {
    fn line(&mut self, pin: Pin, level: bool) {
        // Repeats are nobody's business.
        if self.known >> (pin.0 & 63) & 1 == 0 || self.logged.get(pin) != level {
            self.seen.lines.push((pin, level));
        }
        self.logged = self.logged.with(pin, level);
        self.known |= 1 << (pin.0 & 63);
    }
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.dma += data.len() as u64;
        self.ram.read(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.dma += data.len() as u64;
        (address, data).hash(&mut self.seen.dma);
        self.ram.write(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }
    fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        self.lent.iter_mut().find(|(i, _)| *i == id).map(|(_, m)| m)
    }
}

impl Board {
    /// The first address of main memory at which two boards differ.
    fn first_difference(&self, other: &Self) -> Option<u64> {
        let read = |ram: &Memory| {
            let mut all = vec![0; RAM];
            ram.read(0, &mut all).expect("all of it");
            all
        };
        first(&read(&self.ram), &read(&other.ram)).map(|at| at as u64)
    }
}

struct Disks<D> {
    client: fn(&mut D) -> &mut dyn DiskClient,
    media: Vec<Option<Box<dyn BlockBackend>>>,
}

/// What [`Operation::Host`] does: gets the number of the event and its data.
type Host<D> = Box<dyn FnMut(&mut D, &mut Cx<'_>, u8, &[u8]) + Send>;
/// Gives a device that is about to take a state what its owner gave the old one.
type Prepare<D> = Box<dyn Fn(&D, &mut D) + Send>;

/// One device under test.
pub struct Harness<D> {
    make: Box<dyn Fn() -> D + Send>,
    device: D,
    board: Board,
    now: VmInstant,
    ticks: u32,
    disk: Option<Disks<D>>,
    host: Option<Host<D>>,
    prepare: Option<Prepare<D>>,
}

impl<D: Device> std::fmt::Debug for Harness<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Harness").field("now", &self.now).finish_non_exhaustive()
    }
}

fn saved<D: Device>(device: &D) -> Vec<u8> {
    let mut w = StateWriter::new();
    device.save(&mut w);
    w.into_bytes()
}

impl<D: Device> Harness<D> {
    /// A harness for the devices that `make` makes; each must begin in the same state.
    ///
    /// # Panics
    /// If the host has no room for the memories the device wants lent.
    pub fn new(make: impl Fn() -> D + Send + 'static) -> Self {
        let device = make();
        let lent = device.memories().iter().map(|m| (m.id, Memory::new(m.len).expect("memory for a test")));
        let board = Board {
            lent: lent.collect(),
            ram: Memory::new(RAM).expect("memory for a test"),
            logged: PinLevels::default(),
            known: 0,
            dma: 0,
            dma_all: 0,
            seen: Seen::default(),
        };
        Self {
            make: Box::new(make),
            device,
            board,
            now: VmInstant::ZERO,
            ticks: 0,
            disk: None,
            host: None,
            prepare: None,
        }
    }

    /// Says what [`Operation::Host`] does to the device. What it gives the device that is no part of the state (a disc, a cable)
    /// must reach a restored one as well: [`Harness::with_prepare`] carries it over.
    #[must_use]
    pub fn with_host(mut self, host: impl FnMut(&mut D, &mut Cx<'_>, u8, &[u8]) + Send + 'static) -> Self {
        self.host = Some(Box::new(host));
        self
    }

    /// Says how a new device becomes one that can take the old one's state: `prepare(old, new)` puts in what is no part of the state
    /// and does not come from `make` (a disc inserted on the way).
    #[must_use]
    pub fn with_prepare(mut self, prepare: impl Fn(&D, &mut D) + Send + 'static) -> Self {
        self.prepare = Some(Box::new(prepare));
        self
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// Virtual time.
    pub fn now(&self) -> VmInstant {
        self.now
    }

    /// A memory lent to the device.
    pub fn lent(&self, id: LentId) -> Option<&Memory> {
        self.board.lent.iter().find(|(i, _)| *i == id).map(|(_, m)| m)
    }

    /// Runs the whole script, or as much of it as fits the time that one input may take.
    ///
    /// # Errors
    /// The index of the operation after which a rule was broken, and the rule.
    pub fn run(&mut self, script: &Script) -> Result<(), (usize, Violation)> {
        for (i, operation) in script.operations.iter().enumerate() {
            self.step(operation).map_err(|v| (i, v))?;
            if self.is_spent() {
                break;
            }
        }
        Ok(())
    }

    /// Runs the script on this device and on a twin that is saved and restored after every operation. A guest must not see a
    /// difference: what it read, how the lines moved, what DMA wrote, the registers that `inspect` shows.
    ///
    /// # Errors
    /// As [`Harness::run`]; [`Violation::Diverged`] if the two do not agree, with what it shows in.
    pub fn run_beside(&mut self, twin: &mut Self, script: &Script) -> Result<(), (usize, Violation)> {
        for (i, operation) in script.operations.iter().enumerate() {
            self.step(operation).map_err(|v| (i, v))?;
            twin.step(operation).map_err(|v| (i, v))?;
            if let Some(difference) = self.difference(twin) {
                return Err((i, Violation::Diverged(difference)));
            }
            if self.is_spent() {
                break;
            }
            if !matches!(operation, Operation::SaveRestore) {
                twin.step(&Operation::SaveRestore).map_err(|v| (i, v))?;
            }
        }
        match StateDifference::between(&saved(&self.device), &saved(&twin.device)) {
            None => Ok(()),
            Some(at) => {
                let last = script.operations.len().saturating_sub(1);
                Err((last, Violation::Diverged(Difference::State(at))))
            }
        }
    }

    /// Whether the script has taken as much time as one input may.
    pub fn is_spent(&self) -> bool {
        self.ticks > TICKS_ALL || self.board.dma_all > DMA_ALL
    }

    /// Where the last operation, or the device after it, is not what it is with the twin.
    fn difference(&self, twin: &Self) -> Option<Difference> {
        let (own, other) = (&self.board.seen, &twin.board.seen);
        if let Some(at) = first(&own.data, &other.data) {
            let (own, twin) = (own.data.get(at).copied(), other.data.get(at).copied());
            return Some(Difference::Read { at, own, twin });
        }
        if own.burst != other.burst {
            return Some(Difference::Burst { own: own.burst, twin: other.burst });
        }
        if let Some(at) = first(&own.lines, &other.lines) {
            let (own, twin) = (own.lines.get(at).copied(), other.lines.get(at).copied());
            return Some(Difference::Line { at, own, twin });
        }
        if own.dma != other.dma {
            return Some(Difference::Dma { address: self.board.first_difference(&twin.board) });
        }
        if own.ticks != other.ticks {
            return Some(Difference::Ticks);
        }
        let (levels, others) = (self.device.levels(), twin.device.levels());
        if let Some(pin) = (0..64).map(Pin).find(|pin| levels.get(*pin) != others.get(*pin)) {
            return Some(Difference::Level { pin: pin.0, own: levels.get(pin), twin: others.get(pin) });
        }
        if self.device.windows().1 != twin.device.windows().1 {
            return Some(Difference::Windows);
        }
        let (own, twins) = (self.device.next_deadline(), twin.device.next_deadline());
        if own != twins {
            return Some(Difference::Deadline { own, twin: twins });
        }
        // The names and values themselves only if there is something to tell.
        if registers_digest(&self.device) == registers_digest(&twin.device) {
            return None;
        }
        let (own, twins) = (registers(&self.device), registers(&twin.device));
        let at = first(&own, &twins)?;
        let name = own.get(at).or(twins.get(at)).map(|(name, _)| name.clone()).unwrap_or_default();
        let value = |of: &[(String, InspectValue)]| {
            of.get(at).filter(|(n, _)| *n == name).map(|(_, value)| value.clone())
        };
        Some(Difference::Register { own: value(&own), twin: value(&twins), name })
    }

    /// Runs one operation.
    ///
    /// # Errors
    /// The rule that it broke.
    pub fn step(&mut self, operation: &Operation) -> Result<(), Violation> {
        self.board.seen.clear();
        match operation {
            Operation::Read { window, offset, len } => {
                if let Some(at) = self.place(*window, *offset) {
                    let mut data = [0; 8];
                    let data = &mut data[..usize::from(*len)];
                    self.call(|d, cx| d.read(cx, at, data))?;
                    self.board.seen.data.extend_from_slice(data);
                }
            }
            Operation::Write { window, offset, data } => {
                if let Some(at) = self.place(*window, *offset) {
                    self.call(|d, cx| d.write(cx, at, data))?;
                }
            }
            Operation::ReadBurst { window, offset, width, count } => {
                if let Some(at) = self.place(*window, *offset) {
                    let width = usize::from(*width);
                    let mut data = vec![0; width * usize::from(*count).max(1)];
                    let done = self.call(|d, cx| d.read_burst(cx, at, width, &mut data))?;
                    let done = burst(data.len(), width, done)?;
                    self.board.seen.burst = done;
                    self.board.seen.data.extend_from_slice(&data[..done]);
                }
            }
            Operation::WriteBurst { window, offset, width, count, pattern } => {
                if let Some(at) = self.place(*window, *offset) {
                    let width = usize::from(*width);
                    let len = width * usize::from(*count).max(1);
                    let data: Vec<u8> = pattern.iter().copied().cycle().take(len).collect();
                    let done = self.call(|d, cx| d.write_burst(cx, at, width, &data))?;
                    self.board.seen.burst = burst(data.len(), width, done)?;
                }
            }
            Operation::Advance { nanos } => self.advance(u64::from(*nanos))?,
            Operation::Input { pin, level } => self.call(|d, cx| d.input(cx, Pin(*pin), *level))?,
            Operation::Memory { address, data } => {
                let at = u64::from(*address) % (RAM - Operation::FILL) as u64;
                self.board.ram.write(at, data).expect("in bounds by the modulus");
            }
            Operation::Host { event, data } => {
                if let Some(mut host) = self.host.take() {
                    let result = self.call(|d, cx| host(d, cx, *event, data));
                    self.host = Some(host);
                    result?;
                }
            }
            Operation::Intack => {
                let vector = self.call(|d, cx| d.intack(cx))?;
                self.board.seen.data.extend(vector);
            }
            Operation::Reset => {
                self.device.reset(ResetKind::Bus);
                self.carry();
                self.board.known = 0;
                self.check()?;
            }
            Operation::SaveRestore => self.save_restore()?,
            Operation::Damage { offset, xor } => self.damage(*offset, *xor)?,
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
        self.board.dma_all += self.board.dma;
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
            && !self.is_spent()
        {
            self.now = self.now.max(deadline);
            self.now.hash(&mut self.board.seen.ticks);
            self.call(|d, cx| d.tick(cx))?;
            if self.device.next_deadline() == Some(deadline) {
                return Err(Violation::DeadlineStuck(deadline));
            }
            ticks += 1;
            self.ticks += 1;
            if ticks > most {
                return Err(Violation::TickStorm { ticks, nanos });
            }
        }
        self.now = target;
        Ok(())
    }

    fn fresh(&self) -> D {
        let mut fresh = (self.make)();
        if let Some(prepare) = &self.prepare {
            prepare(&self.device, &mut fresh);
        }
        fresh
    }

    fn save_restore(&mut self) -> Result<(), Violation> {
        let before = saved(&self.device);
        let mut fresh = self.fresh();
        fresh.restore(&mut StateReader::new(&before)).map_err(|e| Violation::Restore(e.to_string()))?;
        let after = saved(&fresh);
        if let Some(at) = StateDifference::between(&before, &after) {
            return Err(Violation::State { before: before.len(), after: after.len(), at });
        }
        let old = std::mem::replace(&mut self.device, fresh);
        self.carry();
        for (what, same) in [
            ("lines", old.levels() == self.device.levels()),
            ("windows", old.windows().1 == self.device.windows().1),
            ("deadlines", old.next_deadline() == self.device.next_deadline()),
        ] {
            if !same {
                return Err(Violation::Restored(what));
            }
        }
        self.check()
    }

    fn damage(&mut self, offset: u16, xor: u8) -> Result<(), Violation> {
        let good = saved(&self.device);
        let mut bad = good.clone();
        let Some(at) = usize::from(offset).checked_rem(bad.len()) else { return Ok(()) };
        if self.device.restore(&mut StateReader::new(&good[..at])).is_ok() {
            return Err(Violation::Cut { at, len: good.len() });
        }
        if saved(&self.device) != good {
            return Err(Violation::Refused);
        }
        bad[at] ^= xor;
        match self.device.restore(&mut StateReader::new(&bad)) {
            Ok(()) => {
                self.carry();
                self.board.known = 0;
                self.check()
            }
            Err(_) if saved(&self.device) != good => Err(Violation::Refused),
            Err(_) => self.check(),
        }
    }
}

/// What `inspect` shows but for counters: those are for people, a saved state need not have them.
fn registers_digest<D: Device>(device: &D) -> Digest {
    let mut hash = Digest::default();
    device.inspect(&mut |name, value| match value {
        InspectValue::Count(_) => {}
        InspectValue::Register { value, bits } => (name, value, bits).hash(&mut hash),
        InspectValue::Flag(flag) => (name, flag).hash(&mut hash),
        InspectValue::Text(text) => (name, text).hash(&mut hash),
        other => (name, format!("{other:?}")).hash(&mut hash),
    });
    hash
}

fn registers<D: Device>(device: &D) -> Vec<(String, InspectValue)> {
    let mut all = Vec::new();
    device.inspect(&mut |name, value| {
        if !matches!(value, InspectValue::Count(_)) {
            all.push((name.to_string(), value));
        }
    });
    all
}

fn burst(len: usize, width: usize, done: usize) -> Result<usize, Violation> {
    if done == 0 || done > len || !done.is_multiple_of(width) {
        return Err(Violation::Burst { len, width, done });
    }
    Ok(done)
}

/// Runs a script as [`Harness::run_beside`] does on two devices from `make`.
///
/// # Panics
/// If a rule is broken; the message has the rule, the operation and the whole script as text, ready to be kept as a test.
pub fn assert_rules<D: Device>(make: impl Fn() -> Harness<D>, script: &Script) -> Harness<D> {
    let (mut own, mut twin) = (make(), make());
    if let Err((index, violation)) = own.run_beside(&mut twin, script) {
        let operation = script.operations.get(index).map(ToString::to_string).unwrap_or_default();
        panic!("line {} ({operation}): {violation}\n{script}", index + 1);
    }
    own
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
    use slotone_bus::{Generation, Inspector, Window, WindowId};

    /// Where a count of reads shows that is not in the state.
    #[derive(Clone, Copy, Default, PartialEq)]
    enum Shows {
        #[default]
        Nowhere,
        Data,
        Line,
        Dma,
        Deadline,
        Register,
    }

    /// A timer with every mistake on a switch.
    #[derive(Default)]
    struct Timer {
        deadline: Option<VmInstant>,
        out: bool,
        stuck: bool,
        silent: bool,
        forgetful: bool,
        reads: u8,
        shows: Shows,
        /// Takes a part of a state that it refuses.
        hasty: bool,
    }

    const WINDOW: [Window; 1] = [Window::io(WindowId(0), 0x40, 4)];

    impl Device for Timer {
        fn windows(&self) -> (Generation, &[Window]) {
            (Generation(0), &WINDOW)
        }
        fn read(&mut self, cx: &mut Cx<'_>, _: At, data: &mut [u8]) {
            self.reads += 1;
            data.fill(u8::from(self.out));
            match self.shows {
                Shows::Data => data.fill(self.reads),
                Shows::Dma => cx.dma_write(0x1234, &[self.reads]).unwrap(),
                Shows::Line if self.reads == 2 => {
                    cx.line(Pin(1), true);
                    cx.line(Pin(1), false);
                }
                Shows::Deadline if self.reads == 2 => self.deadline = Some(cx.now() + 10),
                _ => {}
            }
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
            let (deadline, out) = r.section("timer", 1)?;
            if self.hasty {
                self.deadline = deadline;
            }
            if deadline > Some(VmInstant::from_nanos(1 << 32)) {
                return Err(StateError::Invalid { section: "timer".into(), what: "deadline".into() });
            }
            (self.deadline, self.out) = (deadline, out);
            if self.forgetful {
                self.deadline = None;
            }
            Ok(())
        }
        fn inspect(&self, out: &mut Inspector<'_>) {
            out("OUT", InspectValue::Flag(self.out));
            out("reads", InspectValue::Count(self.reads.into()));
            if self.shows == Shows::Register {
                out("READS", InspectValue::Register { value: self.reads.into(), bits: 8 });
            }
        }
    }

    fn run(make: impl Fn() -> Timer + Send + 'static, script: &str) -> Result<(), (usize, Violation)> {
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
        let Err((1, Violation::State { before: 25, after: 17, at })) = forgetful else {
            panic!("{forgetful:?}");
        };
        // The length of the section (byte 11) differs first; in it, whether there is a deadline.
        assert_eq!(at, StateDifference { at: 11, section: Some(("timer".into(), 0)) });
    }

    #[test]
    fn a_twin_finds_what_is_not_in_the_state() {
        let pair = |shows, script: &str| {
            let make = move || Harness::new(move || Timer { shows, ..Timer::default() });
            make().run_beside(&mut make(), &script.parse().unwrap())
        };
        let reads = "r 0+0 1\nr 0+0 1";
        assert_eq!(pair(Shows::Nowhere, reads), Ok(()));
        let shown = |shows, told: &str, difference| {
            assert_eq!(pair(shows, reads), Err((1, Violation::Diverged(difference))));
            let (_, violation) = pair(shows, reads).unwrap_err();
            assert!(violation.to_string().ends_with(told), "{violation}");
        };
        shown(
            Shows::Data,
            "byte 0 of what is read is 0x02, 0x01 with restores",
            Difference::Read { at: 0, own: Some(2), twin: Some(1) },
        );
        shown(
            Shows::Line,
            "change 0 of a line is pin 1 to true, nothing with restores",
            Difference::Line { at: 0, own: Some((Pin(1), true)), twin: None },
        );
        shown(
            Shows::Dma,
            "DMA writes something else with restores, first at 0x1234",
            Difference::Dma { address: Some(0x1234) },
        );
        shown(
            Shows::Deadline,
            "the deadline is 10 ns, nothing with restores",
            Difference::Deadline { own: Some(VmInstant::from_nanos(10)), twin: None },
        );
        let register = |value: u64| Some(InspectValue::Register { value, bits: 8 });
        shown(
            Shows::Register,
            "READS is 0x02, 0x01 with restores",
            Difference::Register { name: "READS".into(), own: register(2), twin: register(1) },
        );
    }

    #[test]
    fn a_harness_can_be_sent_to_a_thread() {
        let harness = Harness::new(Timer::default).with_host(|_, _, _, _| {}).with_prepare(|_, _| {});
        std::thread::spawn(move || harness.now()).join().unwrap();
    }

    #[test]
    fn a_refused_state_changes_nothing() {
        // The state: name (4 + 5 bytes), version (2), length (4), whether there is a deadline (1), the deadline (8), the level (1).
        let script = "w 0+0 09\ndamage 17 ff\ndamage 18 01\nt 100\nt 100";
        assert_eq!(run(Timer::default, script), Ok(()));
        let hasty = run(|| Timer { hasty: true, ..Timer::default() }, script);
        assert_eq!(hasty, Err((1, Violation::Refused)));
    }

    #[test]
    fn a_long_script_ends() {
        let mut harness = Harness::new(Timer::default);
        for _ in 0..=TICKS_ALL {
            harness.step(&Operation::Write { window: 0, offset: 0, data: vec![0] }).unwrap();
            harness.step(&Operation::Advance { nanos: 1000 }).unwrap();
        }
        assert!(harness.is_spent());
        let (deadline, now) = (harness.device().deadline, harness.now());
        harness.step(&Operation::Write { window: 0, offset: 0, data: vec![0] }).unwrap();
        harness.step(&Operation::Advance { nanos: 1000 }).unwrap();
        assert!(harness.device().deadline > deadline && harness.now() > now);
    }
}
