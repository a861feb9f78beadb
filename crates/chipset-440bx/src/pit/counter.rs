//! One counter of the 8254 as a function of the clock.
//!
//! *Elapsed* is the number of clocks counted since the counting element was loaded with `count`. Everything the guest or the board can see (count, OUT, null
//! count) is worked out from it.

use crate::util::check;
use slotone_bus::encode_fields;
use slotone_bus::state::StateError;

/// Control word bits 5:0 of a counter nobody has programmed: low then high byte, mode 3, binary.
const UNPROGRAMMED: u8 = 0x36;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Counter {
    /// Control word bits 5:0: access, mode, BCD.
    control: u8,
    /// CR in clocks, 1 to 65536; 0 until a count has been written after the control word.
    reload: u32,
    /// Low byte of a count whose high byte is still to come.
    write_low: Option<u8>,
    /// The next read gives the high byte.
    read_high: bool,
    latched_count: Option<u16>,
    latched_status: Option<u8>,
    gate: bool,
    /// What the counting element was loaded with, in clocks; 0 until it was.
    count: u32,
    /// Clocks counted by `since`.
    elapsed: u64,
    /// Clock from which `elapsed` is right; the counting element is loaded then if that is still to come.
    since: u64,
    /// It counts: the gate lets it, or does not matter.
    runs: bool,
    /// Clock at which a count was written that waits for the end of the period (modes 2, 3) or for a trigger (modes 1, 5).
    pending: Option<u64>,
}
encode_fields!(Counter {
    control,
    reload,
    write_low,
    read_high,
    latched_count,
    latched_status,
    gate,
    count,
    elapsed,
    since,
    runs,
    pending
});

impl Counter {
    pub(super) fn new(gate: bool) -> Self {
        Self {
            control: UNPROGRAMMED,
            reload: 0,
            write_low: None,
            read_high: false,
            latched_count: None,
            latched_status: None,
            gate,
            count: 0,
            elapsed: 0,
            since: 0,
            runs: false,
            pending: None,
        }
    }

    pub(super) fn gate(&self) -> bool {
        self.gate
    }

    pub(super) fn control_bits(&self) -> u8 {
        self.control
    }

    pub(super) fn count_register(&self) -> u32 {
        self.reload
    }

    /// Mode 0 to 5; 6 and 7 are 2 and 3.
    fn mode(&self) -> u8 {
        match self.control >> 1 & 7 {
            mode @ 6..=7 => mode - 4,
            mode => mode,
        }
    }

    fn is_periodic(&self) -> bool {
        matches!(self.mode(), 2 | 3)
    }

    fn n(&self) -> u64 {
        u64::from(self.count)
    }

    /// Clocks for which mode 3 holds OUT high.
    fn high_half(&self) -> u64 {
        self.n().div_ceil(2)
    }

    /// Clocks from reload to reload; no bound for a mode that does not reload.
    pub(super) fn period(&self) -> u64 {
        if self.is_periodic() { self.n() } else { u64::MAX }
    }

    pub(super) fn periodic(&self) -> Option<u32> {
        (self.is_periodic() && self.count != 0 && self.runs).then_some(self.count)
    }

    fn elapsed_at(&self, clock: u64) -> u64 {
        let running = if self.runs { clock.saturating_sub(self.since) } else { 0 };
        self.elapsed.saturating_add(running)
    }

    /// OUT at `clock`.
    pub(super) fn out(&self, clock: u64) -> bool {
        let (n, elapsed) = (self.n(), self.elapsed_at(clock));
        match self.mode() {
            0 => n != 0 && elapsed >= n,
            _ if n == 0 => true,
            1 => clock < self.since || elapsed >= n,
            // A period of one clock is illegal in modes 2 and 3; OUT stays high then.
            2 => !self.gate || n == 1 || elapsed % n != n - 1,
            3 => !self.gate || n == 1 || elapsed % n < self.high_half(),
            _ => elapsed != n,
        }
    }

    /// The first clock after `from` at which OUT changes by counting alone.
    pub(super) fn next_change(&self, from: u64) -> Option<u64> {
        let (n, since) = (self.n(), self.since);
        if n == 0 || !self.runs {
            return None;
        }
        let end = since.saturating_add(n.saturating_sub(self.elapsed));
        let start = from.max(since);
        let phase = self.elapsed_at(start) % n;
        let change = match self.mode() {
            0 => end,
            1 if from < since => since,
            1 => end,
            2 | 3 if n == 1 => return None,
            2 if phase < n - 1 => start.saturating_add(n - 1 - phase),
            3 if phase < self.high_half() => start.saturating_add(self.high_half() - phase),
            2 | 3 => start.saturating_add(n - phase),
            _ if from < end => end,
            _ => end.saturating_add(1),
        };
        (change > from).then_some(change)
    }

    /// Loads a count that waited for the end of a period (mode 3: of a half period) which is over by `now`.
    pub(super) fn advance(&mut self, now: u64) {
        let Some(written) = self.pending.filter(|_| self.is_periodic() && self.runs && self.count != 0)
        else {
            return;
        };
        let at = written.max(self.since);
        let (n, phase) = (self.n(), self.elapsed_at(at) % self.n());
        let ends_high_half = self.mode() == 3 && phase < self.high_half();
        let end = at.saturating_add(if ends_high_half { self.high_half() - phase } else { n - phase });
        if end <= now {
            self.count = self.reload;
            self.elapsed = if ends_high_half { self.high_half() } else { 0 };
            self.since = end;
            self.pending = None;
        }
    }

    /// The counting element at `clock`, as the guest reads it.
    fn value(&self, clock: u64) -> u16 {
        let (n, elapsed) = (self.n(), self.elapsed_at(clock));
        let bcd = self.control & 1 != 0;
        let modulus = if bcd { 10_000 } else { 0x1_0000 };
        let count = match self.mode() {
            _ if n == 0 => 0,
            2 => n - elapsed % n,
            3 => {
                let phase = elapsed % n;
                let half = self.high_half();
                let step = if phase < half { phase } else { phase - half };
                (n & !1).saturating_sub(2 * step)
            }
            _ => (n + modulus - elapsed % modulus) % modulus,
        } % modulus;
        if bcd { to_bcd(count) } else { count as u16 }
    }

    fn null_count(&self, clock: u64) -> bool {
        self.count == 0 || self.pending.is_some() || clock < self.since
    }

    pub(super) fn control(&mut self, now: u64, value: u8) {
        if value & 0x30 == 0 {
            self.latch_count(now);
            return;
        }
        *self = Self { control: value & 0x3f, ..Self::new(self.gate) };
    }

    fn latch_count(&mut self, now: u64) {
        self.latched_count = self.latched_count.or_else(|| Some(self.value(now)));
    }

    /// Read-back command (bits 5 and 4 low: latch count, latch status).
    pub(super) fn read_back(&mut self, now: u64, command: u8) {
        if command & 0x20 == 0 {
            self.latch_count(now);
        }
        if command & 0x10 == 0 && self.latched_status.is_none() {
            let (out, null) = (self.out(now), self.null_count(now));
            self.latched_status = Some(u8::from(out) << 7 | u8::from(null) << 6 | self.control);
        }
    }

    pub(super) fn read(&mut self, now: u64) -> u8 {
        if let Some(status) = self.latched_status.take() {
            return status;
        }
        let [low, high] = self.latched_count.unwrap_or_else(|| self.value(now)).to_le_bytes();
        let (byte, last) = match self.control >> 4 {
            1 => (low, true),
            2 => (high, true),
            _ if self.read_high => (high, true),
            _ => (low, false),
        };
        self.read_high = !last;
        if last {
            self.latched_count = None;
        }
        byte
    }

    pub(super) fn write(&mut self, now: u64, value: u8) {
        let raw = match (self.control >> 4, self.write_low.take()) {
            (1, _) => u16::from(value),
            (2, _) => u16::from(value) << 8,
            (_, Some(low)) => u16::from_le_bytes([low, value]),
            (_, None) => {
                self.write_low = Some(value);
                if self.mode() == 0 {
                    // Half a count stops mode 0 and takes OUT low.
                    (self.count, self.runs) = (0, false);
                }
                return;
            }
        };
        self.reload = match (self.control & 1 != 0, raw) {
            (false, 0) => 0x1_0000,
            (false, raw) => u32::from(raw),
            (true, 0) => 10_000,
            (true, raw) => from_bcd(raw),
        };
        let loading = now < self.since;
        match self.mode() {
            1 | 5 if !loading => self.pending = Some(now),
            2 | 3 if self.count != 0 && !loading => self.pending = Some(now),
            _ => self.load(now),
        }
    }

    /// CR into the counting element at the next clock.
    fn load(&mut self, now: u64) {
        self.count = self.reload;
        self.elapsed = 0;
        self.pending = None;
        self.since = now.saturating_add(1);
        self.runs = self.gate || matches!(self.mode(), 1 | 5);
    }

    pub(super) fn set_gate(&mut self, now: u64, level: bool) {
        let rises = level && !self.gate;
        self.gate = level;
        let triggered = rises && self.reload != 0;
        match self.mode() {
            1 | 5 if triggered => self.load(now),
            1 | 5 => {}
            2 | 3 if triggered => self.load(now),
            _ if rises && self.count != 0 => (self.since, self.runs) = (self.since.max(now), true),
            _ if !level && self.runs => {
                self.elapsed = self.elapsed_at(now);
                if self.mode() == 4 && self.elapsed == self.n() {
                    self.elapsed += 1; // the strobe lasts a clock, gate or not
                }
                (self.since, self.runs) = (self.since.max(now), false);
            }
            _ => {}
        }
    }

    pub(super) fn validate(&self, section: &str) -> Result<(), StateError> {
        check(section, self.control & 0xc0 == 0 && self.control & 0x30 != 0, "a control word of no counter")?;
        check(section, self.count <= 0x1_0000 && self.reload <= 0x1_0000, "a count above 65536")?;
        check(section, self.count == 0 || self.reload != 0, "a counter loaded from nowhere")?;
        check(section, self.pending.is_none() || self.reload != 0, "a pending count that was not written")?;
        check(section, !self.runs || self.count != 0, "a counter that counts nothing")
    }
}

fn from_bcd(raw: u16) -> u32 {
    (0..4).rev().fold(0, |value, digit| value * 10 + u32::from(raw >> (4 * digit) & 0xf))
}

fn to_bcd(value: u64) -> u16 {
    let digit = |scale: u64| (value / scale % 10) as u16;
    digit(1000) << 12 | digit(100) << 8 | digit(10) << 4 | digit(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn programmed(mode: u8, n: u16) -> Counter {
        let mut c = Counter::new(true);
        c.control(0, 0x30 | mode << 1);
        let [low, high] = n.to_le_bytes();
        c.write(0, low);
        c.write(0, high);
        c
    }

    #[test]
    fn waveforms_of_the_data_sheet() {
        let wave = |c: &Counter, clocks: std::ops::Range<u64>| -> String {
            clocks.map(|t| if c.out(t) { '-' } else { '_' }).collect()
        };
        // Clock 0 is the write, the count is loaded at clock 1.
        assert_eq!(wave(&programmed(0, 4), 0..8), "_____---");
        assert_eq!(wave(&programmed(2, 3), 0..11), "---_--_--_-");
        assert_eq!(wave(&programmed(3, 4), 0..11), "---__--__--");
        assert_eq!(wave(&programmed(3, 5), 0..12), "----__---__-");
        assert_eq!(wave(&programmed(4, 3), 0..7), "----_--");
        let mut one_shot = Counter::new(false);
        one_shot.control(0, 0x32);
        one_shot.write(0, 3);
        one_shot.write(0, 0);
        one_shot.set_gate(1, true);
        assert_eq!(wave(&one_shot, 0..8), "--___---");
    }

    #[test]
    fn mode_3_counts_by_two() {
        let values = |n| (1..8).map(|t| programmed(3, n).value(t)).collect::<Vec<_>>();
        assert_eq!(values(4), [4, 2, 4, 2, 4, 2, 4]);
        assert_eq!(values(5), [4, 2, 0, 4, 2, 4, 2]);
    }

    #[test]
    fn bcd_counts_in_tens() {
        let mut c = Counter::new(true);
        c.control(0, 0x35);
        c.write(0, 0x00);
        c.write(0, 0x01);
        assert_eq!(c.value(1), 0x100);
        assert_eq!(c.value(2), 0x099);
        assert_eq!((from_bcd(0x9999), to_bcd(9999)), (9999, 0x9999));
    }

    #[test]
    fn a_new_count_waits_for_the_end_of_the_period() {
        let mut c = programmed(2, 10);
        c.advance(4);
        c.write(4, 3);
        c.write(4, 0);
        assert!(c.null_count(4));
        c.advance(10);
        assert!(c.null_count(10), "the period of 10 clocks that began at 1 is not over");
        c.advance(11);
        assert!(!c.null_count(11));
        assert_eq!((11..15).map(|t| c.value(t)).collect::<Vec<_>>(), [3, 2, 1, 3]);
    }

    /// The data sheet's counter, clocked one by one.
    #[derive(Debug, Default)]
    struct Stepped {
        mode: u8,
        bcd: bool,
        cr: u32,
        ce: u32,
        out: bool,
        gate: bool,
        counting: bool,
        load: bool,
        null: bool,
        strobe: bool,
        /// Terminal count was reached once: modes 4 and 5 strobe only then.
        done: bool,
        /// Mode 3: the count loaded was odd.
        parity: bool,
        half_written: bool,
    }

    impl Stepped {
        fn modulus(&self) -> u32 {
            if self.bcd { 10_000 } else { 0x1_0000 }
        }

        fn control(&mut self, mode: u8, bcd: bool) {
            *self = Self { mode, bcd, gate: self.gate, out: mode != 0, null: true, ..Self::default() };
        }

        fn write(&mut self, n: u32) {
            (self.cr, self.null) = (n, true);
            self.half_written = false;
            match self.mode {
                0 => (self.load, self.out) = (true, false),
                4 => self.load = true,
                2 | 3 if !self.counting => self.load = true,
                _ => {}
            }
        }

        fn first_byte(&mut self) {
            if self.mode == 0 {
                (self.half_written, self.counting, self.load, self.out, self.null) =
                    (true, false, false, false, true);
            }
        }

        fn set_gate(&mut self, gate: bool) {
            let rises = gate && !self.gate;
            self.gate = gate;
            match self.mode {
                1 | 2 | 3 | 5 if rises && self.cr != 0 => self.load = true,
                2 | 3 if !gate => self.out = true,
                _ => {}
            }
            if rises && matches!(self.mode, 2 | 3) {
                self.out = true;
            }
        }

        fn reload(&mut self) {
            self.ce = if self.mode == 3 { self.cr & !1 } else { self.cr };
            self.null = false;
        }

        fn clock(&mut self) {
            let strobe_over = std::mem::take(&mut self.strobe);
            if strobe_over && matches!(self.mode, 4 | 5) {
                self.out = true;
            }
            if self.load {
                self.load = false;
                self.counting = true;
                self.reload();
                (self.done, self.parity) = (false, self.cr & 1 != 0);
                self.out = !matches!(self.mode, 0 | 1);
                return;
            }
            let gated = matches!(self.mode, 0 | 2 | 3 | 4) && !self.gate;
            if !self.counting || gated {
                return;
            }
            match self.mode {
                2 if self.ce == 1 => {
                    self.reload();
                    self.out = true;
                }
                3 => {
                    let odd_high = self.out && self.parity;
                    if self.ce == if odd_high { 0 } else { 2 } {
                        self.reload();
                        self.out = !self.out;
                        self.parity = self.cr & 1 != 0;
                    } else {
                        self.ce -= 2;
                    }
                }
                _ => {
                    self.ce = (self.ce + self.modulus() - 1) % self.modulus();
                    match (self.mode, self.ce) {
                        (0 | 1, 0) => self.out = true,
                        (2, 1) => self.out = false,
                        (4 | 5, 0) if !self.done => (self.out, self.strobe, self.done) = (false, true, true),
                        _ => {}
                    }
                }
            }
        }
    }

    #[derive(Debug, Clone)]
    enum Op {
        Control(u8, bool),
        Count(u16),
        HalfCount(u8),
        Gate(bool),
        Clocks(u16),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            1 => (0u8..6, any::<bool>()).prop_map(|(mode, bcd)| Op::Control(mode, bcd)),
            3 => (2u16..10).prop_map(Op::Count),
            2 => (2u16..0x99).prop_map(Op::Count),
            1 => (0u8..9).prop_map(Op::HalfCount),
            3 => any::<bool>().prop_map(Op::Gate),
            6 => (0u16..12).prop_map(Op::Clocks),
            1 => (0u16..400).prop_map(Op::Clocks),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn next_change_is_the_first_change(mode in 0u8..8, n in 0u16..40, start in 0u64..20, gate in any::<bool>()) {
            let mut c = Counter::new(gate);
            c.control(start, 0x30 | mode << 1);
            c.write(start, n as u8);
            c.write(start, 0);
            c.set_gate(start + 1, !gate);
            c.set_gate(start + 2, gate);
            for from in start + 2..start + 120 {
                let by_hand = (from + 1..from + 200).find(|t| c.out(*t) != c.out(*t - 1));
                let computed = c.next_change(from).filter(|t| *t < from + 200);
                prop_assert_eq!(computed, by_hand, "mode {} n {} from {}", mode, n, from);
            }
        }

        #[test]
        fn agrees_with_the_counter_clocked_one_by_one(ops in prop::collection::vec(op(), 1..60), gate in any::<bool>()) {
            let (mut ours, mut theirs) = (Counter::new(gate), Stepped { gate, out: true, null: true, mode: 3, ..Stepped::default() });
            let mut now = 0u64;
            for op in ops {
                ours.advance(now);
                match op {
                    Op::Control(mode, bcd) => {
                        ours.control(now, 0x30 | mode << 1 | u8::from(bcd));
                        theirs.control(mode, bcd);
                    }
                    Op::Count(n) => {
                        let raw = if theirs.bcd { to_bcd(u64::from(n)) } else { n };
                        for byte in raw.to_le_bytes() {
                            ours.write(now, byte);
                        }
                        theirs.first_byte();
                        theirs.write(u32::from(n));
                    }
                    Op::HalfCount(low) => {
                        // Completed at once in the other modes, so that both have the same byte order.
                        ours.write(now, low | 2);
                        theirs.first_byte();
                        if theirs.mode != 0 {
                            ours.write(now, 0);
                            theirs.write(u32::from(low | 2));
                        } else {
                            for _ in 0..3 {
                                now += 1;
                                theirs.clock();
                                prop_assert_eq!((ours.out(now), ours.null_count(now)), (theirs.out, theirs.null));
                            }
                            ours.write(now, 0);
                            theirs.write(u32::from(low | 2));
                        }
                    }
                    Op::Gate(level) => {
                        if !theirs.strobe {
                            ours.set_gate(now, level);
                            theirs.set_gate(level);
                        }
                    }
                    Op::Clocks(n) => {
                        for _ in 0..n {
                            now += 1;
                            theirs.clock();
                            // Sometimes late, as a device that nobody asks is.
                            if now.is_multiple_of(3) {
                                ours.advance(now);
                            }
                            let mut asked = ours.clone();
                            asked.advance(now);
                            prop_assert_eq!(asked.out(now), theirs.out, "OUT at {}: {:?} {:?}", now, asked, theirs);
                            prop_assert_eq!(asked.null_count(now), theirs.null, "null at {}: {:?} {:?}", now, asked, theirs);
                            if !theirs.null && theirs.counting {
                                let ce = if theirs.bcd { to_bcd(u64::from(theirs.ce % 10_000)) } else { theirs.ce as u16 };
                                prop_assert_eq!(asked.value(now), ce, "count at {}: {:?} {:?}", now, asked, theirs);
                            }
                        }
                    }
                }
            }
        }
    }
}
