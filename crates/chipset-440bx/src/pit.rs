//! The 8254 interval timer (Intel 8254 data sheet; PIIX4 290562, section 8.5), clocked with 14.31818 MHz / 12.
//!
//! | ports | register |
//! | --- | --- |
//! | 40h-42h | counters 0 (timer tick), 1 (refresh), 2 (speaker); aliases 50h-52h |
//! | 43h | control word; alias 53h |
//!
//! # How time becomes edges
//!
//! A counter is not stepped. It remembers the clock at which it began to count and works out count, OUT and the clock of the next
//! change of OUT from the clock now. The device's deadline is the next change of OUT0 or OUT2, exact to the clock, so mode 2's pulse of one clock
//! is a falling and a rising edge one clock apart. A counter that stands (gate low, nothing programmed, one-shot done) has no deadline.
//!
//! A period below [`COALESCE_BELOW`] clocks (20 us) would make the machine do nothing but serve the timer. OUT of such a counter is
//! brought up to date every [`COALESCED`] clocks (10 us) only; if it rose in between, an edge pair is shown. Counts and status
//! read by the guest stay exact.

mod counter;

use crate::util::{check, read_bytes, show, write_bytes};
use counter::Counter;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Clock, Cx, Device, Generation, InspectValue, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window,
    WindowId, WindowSet, encode_fields,
};

/// Pins of [`Pit`].
pub mod pin {
    use slotone_bus::Pin;

    /// Input: gate of counter 2, from port 61h bit 0. The gates of counters 0 and 1 are tied high.
    pub const GATE2: Pin = Pin(0);
    /// Output: OUT of counter 0, to IR0.
    pub const OUT0: Pin = Pin(0);
    /// Output: OUT of counter 2, to the speaker and port 61h bit 5.
    pub const OUT2: Pin = Pin(1);
}

/// OUT of a counter with a shorter period, in clocks, is not followed edge by edge.
pub const COALESCE_BELOW: u64 = 24;
/// Clocks between two looks at such a counter.
pub const COALESCED: u64 = 12;

const SECTION: &str = "8254";
const CLOCK: Clock = Clock::PIT;
/// Counters whose OUT leaves the chip.
const OBSERVED: [(usize, Pin); 2] = [(0, pin::OUT0), (2, pin::OUT2)];

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    counters: [Counter; 3],
    /// OUT0 and OUT2 as last driven.
    driven: [bool; 2],
    /// Clock up to which they are right.
    driven_at: [u64; 2],
}
encode_fields!(State { counters, driven, driven_at });

impl State {
    fn new(gate2: bool) -> Self {
        let counters = [Counter::new(true), Counter::new(true), Counter::new(gate2)];
        Self { driven: [counters[0].out(0), counters[2].out(0)], driven_at: [0; 2], counters }
    }

    fn deadline_of(&self, which: usize) -> Option<u64> {
        let (counter, from) = (&self.counters[OBSERVED[which].0], self.driven_at[which]);
        let edge = counter.next_change(from)?;
        Some(if counter.period() < COALESCE_BELOW { edge.max(from.saturating_add(COALESCED)) } else { edge })
    }
}

/// The 8254. Pins: [`pin`]. Its README shows it wired to a [`Pic`](crate::pic::Pic).
#[derive(Debug)]
pub struct Pit {
    windows: WindowSet,
    state: State,
}

impl Default for Pit {
    fn default() -> Self {
        Self::new()
    }
}

impl Pit {
    /// A timer that nobody has programmed: nothing counts, OUT is high, GATE2 is low.
    pub fn new() -> Self {
        let windows = vec![Window::io(WindowId(0), 0x40, 4), Window::io(WindowId(1), 0x50, 4)];
        Self { windows: WindowSet::new(windows), state: State::new(false) }
    }

    /// Clocks counter `n` (0 to 2) takes from one reload to the next; `None` while it does not count periodically. At 1.193182 MHz
    /// this is the pitch of the speaker (`n` = 2), for a host that plays it.
    pub fn period(&self, n: usize) -> Option<u32> {
        self.state.counters.get(n).and_then(Counter::periodic)
    }

    /// Brings the counters to `now` and drives what changed.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let now = CLOCK.ticks_at(cx.now());
        let State { counters, driven, driven_at } = &mut self.state;
        for (which, (index, pin)) in OBSERVED.into_iter().enumerate() {
            let counter = &mut counters[index];
            let (from, was) = (driven_at[which], driven[which]);
            let moved = counter.next_change(from).is_some_and(|clock| clock <= now);
            counter.advance(now);
            let level = counter.out(now);
            if level != was {
                cx.line(pin, level);
            } else if moved {
                // It changed and changed back, both in clocks too short to follow.
                cx.line(pin, !was);
                cx.line(pin, was);
            }
            driven[which] = level;
            driven_at[which] = now;
        }
        counters[1].advance(now);
    }
}

impl Device for Pit {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        self.settle(cx);
        let now = CLOCK.ticks_at(cx.now());
        let counters = &mut self.state.counters;
        read_bytes(at.offset, data, |offset| match offset {
            0..=2 => counters[offset as usize].read(now),
            _ => 0xff, // the control word cannot be read
        });
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        self.settle(cx);
        let now = CLOCK.ticks_at(cx.now());
        let counters = &mut self.state.counters;
        write_bytes(at.offset, data, |offset, value| match offset {
            0..=2 => counters[offset as usize].write(now, value),
            3 => match usize::from(value >> 6) {
                3 => {
                    for (n, counter) in counters.iter_mut().enumerate() {
                        if value & (2 << n) != 0 {
                            counter.read_back(now, value);
                        }
                    }
                }
                n => counters[n].control(now, value),
            },
            _ => {}
        });
        self.settle(cx);
    }

    fn input(&mut self, cx: &mut Cx<'_>, pin: Pin, level: bool) {
        if pin == pin::GATE2 {
            self.settle(cx);
            self.state.counters[2].set_gate(CLOCK.ticks_at(cx.now()), level);
            self.settle(cx);
        }
    }

    fn levels(&self) -> PinLevels {
        let [out0, out2] = self.state.driven;
        PinLevels::default().with(pin::OUT0, out0).with(pin::OUT2, out2)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        let clock = (0..OBSERVED.len()).filter_map(|which| self.state.deadline_of(which)).min()?;
        Some(CLOCK.instant_of(clock))
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
    }

    fn reset(&mut self, _kind: ResetKind) {
        // GATE2 belongs to another device and keeps its level.
        self.state = State::new(self.state.counters[2].gate());
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        for (n, counter) in state.counters.iter().enumerate() {
            counter.validate(SECTION)?;
            check(SECTION, n == 2 || counter.gate(), "the gates of counters 0 and 1 are tied high")?;
        }
        self.state = state;
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        for (n, counter) in self.state.counters.iter().enumerate() {
            show(out, &format!("C{n}.control"), counter.control_bits(), 6);
            show(out, &format!("C{n}.CR"), counter.count_register(), 17);
        }
        out("GATE2", InspectValue::Flag(self.state.counters[2].gate()));
        out("OUT0", InspectValue::Flag(self.state.driven[0]));
        out("OUT2", InspectValue::Flag(self.state.driven[1]));
    }
}
