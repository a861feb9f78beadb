//! Real-time clock and CMOS RAM, an MC146818A with 256 bytes (PIIX4 290562, section 8.7).
//!
//! | ports | register |
//! | --- | --- |
//! | 70h | index (bits 6:0) and NMI mask (bit 7); write only |
//! | 71h | the byte chosen |
//! | 72h, 73h | index and data of the upper 128 bytes, while input [`pin::UPPER`] is high |
//! | 74h-77h | aliases of 70h-73h |
//!
//! Time is virtual time from a start given by the owner, never the host's clock. Interrupts come from exact deadlines: the update
//! cycle only while UIE or AIE wants to see it, the periodic one only while PIE is set and its flag is not.
//! Limits: DSE (daylight saving) and SQWE are stored without effect; the leap year rule is the chip's (every fourth year); the locks of RTCCFG
//! on bytes 38h-3Fh are not modelled.

mod calendar;

use crate::util::{check, read_bytes, show, write_bytes};
use calendar::Format;
pub use calendar::{DateTime, InvalidDate};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Clock, Cx, Device, Generation, InspectValue, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window,
    WindowId, WindowSet, encode_fields,
};

/// Pins of [`Rtc`].
pub mod pin {
    use slotone_bus::Pin;

    /// Input: the upper 128 bytes answer (RTCCFG bit 2 of the ISA bridge). High until driven.
    pub const UPPER: Pin = Pin(0);
    /// Output: IRQ8#, here asserted-is-high, to IR8. Stays until register C is read.
    pub const IRQ8: Pin = Pin(0);
    /// Output: port 70h bit 7, to the NMI logic of the ISA bridge. High (masked) after reset.
    pub const NMI_MASK: Pin = Pin(1);
}

/// Registers by index.
pub mod register {
    /// Seconds.
    pub const SECONDS: u8 = 0x00;
    /// Seconds alarm.
    pub const SECONDS_ALARM: u8 = 0x01;
    /// Minutes.
    pub const MINUTES: u8 = 0x02;
    /// Minutes alarm.
    pub const MINUTES_ALARM: u8 = 0x03;
    /// Hours.
    pub const HOURS: u8 = 0x04;
    /// Hours alarm.
    pub const HOURS_ALARM: u8 = 0x05;
    /// Day of the week, 1 is Sunday.
    pub const DAY_OF_WEEK: u8 = 0x06;
    /// Day of the month.
    pub const DAY: u8 = 0x07;
    /// Month.
    pub const MONTH: u8 = 0x08;
    /// Year of the century.
    pub const YEAR: u8 = 0x09;
    /// Register A: UIP, divider, rate.
    pub const A: u8 = 0x0a;
    /// Register B: SET, interrupt enables, formats.
    pub const B: u8 = 0x0b;
    /// Register C: interrupt flags; reading clears them.
    pub const C: u8 = 0x0c;
    /// Register D: VRT.
    pub const D: u8 = 0x0d;
    /// Century, a byte of RAM that the chip carries into.
    pub const CENTURY: u8 = 0x32;
}

const SECTION: &str = "mc146818";
const CLOCK: Clock = Clock::RTC;
/// Crystal clocks a second.
const SECOND: u64 = 32_768;
/// Crystal clocks for which UIP is set before the registers change: 244 us warning and 1984 us of update.
const UIP_CLOCKS: u64 = 73;
const UIP: u8 = 0x80;
const SET: u8 = 0x80;
/// PIE, AIE, UIE in register B; PF, AF, UF in register C.
const PERIODIC: u8 = 0x40;
const ALARM: u8 = 0x20;
const UPDATE: u8 = 0x10;
const SQWE: u8 = 0x08;
const VRT: u8 = 0x80;
const SECONDS_A_DAY: u64 = 86_400;

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    cmos: [u8; 256],
    index: u8,
    upper_index: u8,
    nmi_mask: bool,
    upper: bool,
    /// PF, AF and UF.
    flags: u8,
    irq: bool,
    /// Crystal clock of the next update; also the phase of the periodic interrupt.
    next_update: u64,
    /// Crystal clock up to which PF is right.
    periodic_seen: u64,
}
encode_fields!(State { cmos, index, upper_index, nmi_mask, upper, flags, irq, next_update, periodic_seen });

impl State {
    fn reg(&self, index: u8) -> u8 {
        self.cmos[usize::from(index)]
    }

    fn format(&self) -> Format {
        Format::of(self.reg(register::B))
    }

    /// The divider chain runs (register A bits 6:4 = 010).
    fn runs(&self) -> bool {
        self.reg(register::A) & 0x70 == 0x20
    }

    fn updates(&self) -> bool {
        self.runs() && self.reg(register::B) & SET == 0
    }

    /// Crystal clocks between periodic interrupts.
    fn period(&self) -> Option<u64> {
        match self.reg(register::A) & 0x0f {
            0 => None,
            rate @ 1..=2 => Some(1 << (rate + 6)),
            rate => Some(1 << (rate - 1)),
        }
    }

    /// Whole periods at `clock`, up to a constant.
    fn periods(&self, clock: u64, period: u64) -> u64 {
        let phase = self.next_update % period;
        clock / period + u64::from(clock % period >= phase)
    }

    /// Brings time and flags to crystal clock `now`.
    fn advance(&mut self, now: u64) {
        if !self.runs() {
            self.periodic_seen = now;
            return;
        }
        if let Some(period) = self.period()
            && self.periods(now, period) > self.periods(self.periodic_seen, period)
        {
            self.flags |= PERIODIC;
        }
        self.periodic_seen = now;
        if now < self.next_update {
            return;
        }
        let mut seconds = (now - self.next_update) / SECOND + 1;
        self.next_update = self.next_update.saturating_add(seconds.saturating_mul(SECOND));
        if !self.updates() {
            return;
        }
        self.flags |= UPDATE;
        let format = self.format();
        if seconds > 2 * SECONDS_A_DAY && format.runs(&self.cmos) {
            // Whole days at once; the last one second by second, so that no alarm is missed.
            for _ in 1..seconds / SECONDS_A_DAY {
                format.next_day(&mut self.cmos);
            }
            seconds = SECONDS_A_DAY + seconds % SECONDS_A_DAY;
        }
        for _ in 0..seconds.min(2 * SECONDS_A_DAY) {
            format.next_second(&mut self.cmos);
            if format.alarm(&self.cmos) {
                self.flags |= ALARM;
            }
        }
    }

    fn wants_irq(&self) -> bool {
        self.flags & self.reg(register::B) & (PERIODIC | ALARM | UPDATE) != 0
    }

    fn deadline(&self) -> Option<u64> {
        if !self.runs() {
            return None;
        }
        let silent = self.reg(register::B) & !self.flags;
        let periodic = self.period().filter(|_| silent & PERIODIC != 0).map(|period| {
            let phase = self.next_update % period;
            let into = (self.periodic_seen % period + period - phase) % period;
            self.periodic_seen.saturating_add(period - into)
        });
        let update = (silent & (ALARM | UPDATE) != 0 && self.updates()).then_some(self.next_update);
        [periodic, update].into_iter().flatten().min()
    }
}

/// The clock and its memory. Pins: [`pin`].
///
/// ```
/// use slotone_bus::{At, Device, TestPort, WindowId};
/// use slotone_chipset_440bx::rtc::{DateTime, Rtc};
///
/// let (mut rtc, mut port) = (Rtc::new(DateTime::new(2005, 9, 20, 23, 59, 59)?), TestPort::new(0x1000));
/// let mut day = [0];
/// port.at(1_000_000_000, |cx| {
///     rtc.write(cx, At { window: WindowId(0), offset: 0 }, &[0x07]);
///     rtc.read(cx, At { window: WindowId(0), offset: 1 }, &mut day);
/// });
/// assert_eq!(day, [0x21], "BCD");
/// # Ok::<(), slotone_chipset_440bx::rtc::InvalidDate>(())
/// ```
#[derive(Debug)]
pub struct Rtc {
    windows: WindowSet,
    state: State,
}

impl Rtc {
    /// A clock that shows `start` at power-on (BCD, 24 hours), its RAM zero but for the century.
    pub fn new(start: DateTime) -> Self {
        let mut cmos = [0; 256];
        cmos[usize::from(register::A)] = 0x26;
        cmos[usize::from(register::B)] = 0x02;
        Format::of(0x02).store(&mut cmos, start);
        let state = State {
            cmos,
            index: 0,
            upper_index: 0,
            nmi_mask: true,
            upper: true,
            flags: 0,
            irq: false,
            next_update: SECOND,
            periodic_seen: 0,
        };
        let windows = vec![Window::io(WindowId(0), 0x70, 4), Window::io(WindowId(1), 0x74, 4)];
        Self { windows: WindowSet::new(windows), state }
    }

    /// The 256 bytes, for a host that keeps them in a file. Bytes 00h-0Dh are as of the last access.
    pub fn cmos(&self) -> &[u8; 256] {
        &self.state.cmos
    }

    /// Sets a byte of RAM (0Eh to FFh) as a battery would have kept it; clock registers are not changed this way.
    pub fn set_cmos(&mut self, index: u8, value: u8) {
        if index > register::D {
            self.state.cmos[usize::from(index)] = value;
        }
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        self.state.advance(CLOCK.ticks_at(cx.now()));
        self.drive(cx);
    }

    fn drive(&mut self, cx: &mut Cx<'_>) {
        let irq = self.state.wants_irq();
        if irq != self.state.irq {
            self.state.irq = irq;
            cx.line(pin::IRQ8, irq);
        }
    }

    fn read_register(&mut self, cx: &mut Cx<'_>) -> u8 {
        self.settle(cx);
        let s = &mut self.state;
        match s.index {
            register::A => {
                let left = s.next_update.saturating_sub(CLOCK.ticks_at(cx.now()));
                let uip = s.updates() && left <= UIP_CLOCKS;
                s.reg(register::A) & !UIP | if uip { UIP } else { 0 }
            }
            register::C => {
                let value = s.flags | u8::from(s.irq) << 7;
                s.flags = 0;
                self.drive(cx);
                value
            }
            register::D => VRT,
            index => s.reg(index),
        }
    }

    fn write_register(&mut self, cx: &mut Cx<'_>, value: u8) {
        self.settle(cx);
        let s = &mut self.state;
        let at = usize::from(s.index);
        match s.index {
            register::A => {
                let ran = s.runs();
                s.cmos[at] = value & !UIP;
                if s.runs() && !ran {
                    // The first update comes half a second after the divider chain was released.
                    s.next_update = CLOCK.ticks_at(cx.now()).saturating_add(SECOND / 2);
                }
            }
            register::B => {
                s.cmos[at] = if value & SET != 0 { value & !UPDATE } else { value };
                self.drive(cx);
            }
            register::C | register::D => {}
            _ => s.cmos[at] = value,
        }
    }
}

impl Device for Rtc {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        read_bytes(at.offset, data, |offset| match offset {
            1 => self.read_register(cx),
            3 if self.state.upper => self.state.cmos[usize::from(self.state.upper_index | 0x80)],
            _ => 0xff, // the index registers are write-only
        });
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        write_bytes(at.offset, data, |offset, value| match offset {
            0 => {
                self.state.index = value & 0x7f;
                let mask = value & 0x80 != 0;
                if mask != self.state.nmi_mask {
                    self.state.nmi_mask = mask;
                    cx.line(pin::NMI_MASK, mask);
                }
            }
            1 => self.write_register(cx, value),
            2 => self.state.upper_index = value & 0x7f,
            3 if self.state.upper => self.state.cmos[usize::from(self.state.upper_index | 0x80)] = value,
            _ => {}
        });
    }

    fn input(&mut self, _cx: &mut Cx<'_>, pin: Pin, level: bool) {
        if pin == pin::UPPER {
            self.state.upper = level;
        }
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(pin::IRQ8, self.state.irq).with(pin::NMI_MASK, self.state.nmi_mask)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        self.state.deadline().map(|clock| CLOCK.instant_of(clock))
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
    }

    /// Time and RAM are on the battery: only the interrupt enables and flags are reset.
    fn reset(&mut self, _kind: ResetKind) {
        let s = &mut self.state;
        s.cmos[usize::from(register::B)] &= !(PERIODIC | ALARM | UPDATE | SQWE);
        (s.flags, s.irq, s.nmi_mask, s.index, s.upper_index) = (0, false, true, 0, 0);
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.index < 0x80 && state.upper_index < 0x80, "an index has 7 bits")?;
        check(SECTION, state.flags & !(PERIODIC | ALARM | UPDATE) == 0, "register C has reserved bits set")?;
        check(SECTION, state.reg(register::A) & UIP == 0, "UIP is not stored")?;
        check(SECTION, state.irq == state.wants_irq(), "IRQ8 does not follow from the flags")?;
        self.state = state;
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        let s = &self.state;
        for (name, index) in [("A", register::A), ("B", register::B)] {
            show(out, name, s.reg(index), 8);
        }
        show(out, "C", s.flags | u8::from(s.irq) << 7, 8);
        show(out, "index", s.index, 7);
        out("NMI mask", InspectValue::Flag(s.nmi_mask));
        let r = |index: u8| s.reg(index);
        let time = format!(
            "{:02x}{:02x}-{:02x}-{:02x} {:02x}:{:02x}:{:02x}",
            r(register::CENTURY),
            r(register::YEAR),
            r(register::MONTH),
            r(register::DAY),
            r(register::HOURS),
            r(register::MINUTES),
            r(register::SECONDS)
        );
        out("time registers", InspectValue::Text(time));
    }
}
