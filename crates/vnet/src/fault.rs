//! A network that loses, doubles and delays frames: the same ones for the same seed.

use crate::mac::mix;
use slotone_bus::VmInstant;
use slotone_net::{NetPort, Sent, Waker};
use std::collections::BTreeMap;

/// Frames that are under way in each direction at most; what comes then is lost.
const UNDER_WAY: usize = 1024;
const MILLION: u64 = 1_000_000;

/// How bad the network is. Rates are frames in a million.
///
/// ```
/// use slotone_vnet::fault::Faults;
/// let faults: Faults = "loss=10000,duplicate=100,reorder=5000,delay=2000000,seed=7".parse()?;
/// assert_eq!(faults.loss, 10_000);
/// # Ok::<(), slotone_vnet::fault::ParseFaultsError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Faults {
    /// Frames that are lost.
    pub loss: u32,
    /// Frames that arrive twice.
    pub duplicate: u32,
    /// Frames that are held back for up to four times `delay` (or a millisecond without one), so that later ones overtake them.
    pub reorder: u32,
    /// Nanoseconds that every frame takes.
    pub delay: u64,
    /// Which frames.
    pub seed: u64,
}

/// Text that does not say faults: `key=number` with commas between, keys `loss`, `duplicate`, `reorder`, `delay` and `seed`; rates up to a million.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseFaultsError(String);

impl std::fmt::Display for ParseFaultsError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{}: expected loss=N, duplicate=N, reorder=N (frames in a million), delay=NANOSECONDS or seed=N",
            self.0
        )
    }
}

impl std::error::Error for ParseFaultsError {}

impl std::str::FromStr for Faults {
    type Err = ParseFaultsError;

    fn from_str(text: &str) -> Result<Self, ParseFaultsError> {
        let mut faults = Self::default();
        for part in text.split(',') {
            let error = || ParseFaultsError(part.to_string());
            let (key, value) = part.split_once('=').ok_or_else(error)?;
            let number: u64 = value.parse().map_err(|_| error())?;
            let rate =
                u32::try_from(number.min(MILLION)).ok().filter(|_| number <= MILLION).ok_or_else(error);
            match key {
                "loss" => faults.loss = rate?,
                "duplicate" => faults.duplicate = rate?,
                "reorder" => faults.reorder = rate?,
                "delay" => faults.delay = number,
                "seed" => faults.seed = number,
                _ => return Err(error()),
            }
        }
        Ok(faults)
    }
}

/// Frames in one direction, by when they arrive and in what order.
#[derive(Debug, Default)]
struct Line {
    under_way: BTreeMap<(VmInstant, u64), Vec<u8>>,
    count: u64,
}

impl Line {
    fn put(&mut self, faults: &Faults, direction: u64, now: VmInstant, frame: &[u8]) {
        self.count += 1;
        let chance = |what: u64| mix(faults.seed ^ mix(self.count * 8 + direction * 4 + what));
        if chance(0) % MILLION < faults.loss.into() {
            return;
        }
        let copies = 1 + usize::from(chance(1) % MILLION < faults.duplicate.into());
        let mut at = now + faults.delay;
        if chance(2) % MILLION < faults.reorder.into() {
            let most = if faults.delay == 0 { 1_000_000 } else { faults.delay.saturating_mul(4) };
            at = at + 1 + chance(3) % most;
        }
        for copy in 0..copies {
            if self.under_way.len() < UNDER_WAY {
                self.under_way.insert((at, self.count * 2 + copy as u64), frame.to_vec());
            }
        }
    }

    fn take(&mut self, now: VmInstant) -> Option<Vec<u8>> {
        let first = self.under_way.first_entry().filter(|entry| entry.key().0 <= now)?;
        Some(first.remove())
    }

    fn next(&self) -> Option<VmInstant> {
        self.under_way.first_key_value().map(|((at, _), _)| *at)
    }
}

/// A port behind a bad network, in both directions.
///
/// Frames on the way to the network leave when the port is used; [`NetPort::next_deadline`] says when that should be.
#[derive(Debug)]
pub struct Faulty<P> {
    port: P,
    faults: Faults,
    out: Line,
    /// A frame that the port did not take.
    stuck: Option<Vec<u8>>,
    into: Line,
}

impl<P: NetPort> Faulty<P> {
    /// Puts a bad network between a card and `port`.
    pub fn new(port: P, faults: Faults) -> Self {
        Self { port, faults, out: Line::default(), stuck: None, into: Line::default() }
    }

    /// Carries what has arrived at the port by now.
    fn carry(&mut self, now: VmInstant) {
        while let Some(frame) = self.stuck.take().or_else(|| self.out.take(now)) {
            if self.port.send(now, &frame) == Sent::Full {
                self.stuck = Some(frame);
                return;
            }
        }
    }
}

impl<P: NetPort> NetPort for Faulty<P> {
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent {
        self.carry(now);
        if self.stuck.is_some() {
            return Sent::Full;
        }
        self.out.put(&self.faults, 0, now, frame);
        self.carry(now);
        Sent::Taken
    }

    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        self.carry(now);
        let (into, faults) = (&mut self.into, &self.faults);
        while into.under_way.len() < UNDER_WAY
            && self.port.receive(now, &mut |frame| into.put(faults, 1, now, frame))
        {}
        match self.into.take(now) {
            Some(frame) => {
                take(&frame);
                true
            }
            None => false,
        }
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        [self.port.next_deadline(), self.out.next(), self.into.next()].into_iter().flatten().min()
    }

    fn link(&self) -> bool {
        self.port.link()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.port.set_waker(waker);
    }
}
