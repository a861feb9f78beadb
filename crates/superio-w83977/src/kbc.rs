//! The 8042 keyboard controller at ports 60h and 64h with its PS/2 keyboard.
//!
//! | port | read | write |
//! | --- | --- | --- |
//! | 60h | output buffer | parameter of a command, else a byte for the keyboard |
//! | 64h | status | command |
//!
//! Bytes need time on their way: [`KEYBOARD_BYTE_NANOS`] from the keyboard, [`CONTROLLER_BYTE_NANOS`] from the controller itself. The output buffer
//! holds one byte; the next follows after it was read, so that every byte makes an edge of IRQ 1 or 12.
//!
//! The auxiliary port works (enable, disable, test, loopback), but no mouse is attached yet: a byte for it is answered with FEh and the
//! time-out bit, as the chip does when nobody takes the byte.
//! Limits: Num Lock and Shift do not add fake shift codes around the cursor keys; the password commands say that there is none.

mod keyboard;
mod keys;

use crate::util::{check, read_bytes, show, write_bytes};
use keyboard::Keyboard;
pub use keys::{KeyCode, TypeError, keys_for};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, PinLevels, ResetKind, VmInstant, Window, WindowId,
    WindowSet, encode_enum, encode_fields,
};
use std::collections::VecDeque;

/// Pins of [`Kbc`].
pub mod pin {
    use slotone_bus::Pin;

    /// Output: a byte of the keyboard is in the output buffer, to IRQ 1.
    pub const IRQ1: Pin = Pin(0);
    /// Output: a byte of the auxiliary device is in the output buffer, to IRQ 12.
    pub const IRQ12: Pin = Pin(1);
    /// Output: P21. The processor's A20 is this OR the chipset's. High after reset.
    pub const A20: Pin = Pin(2);
    /// Output: a pulse (P20 low) asks for INIT# of the processor.
    pub const INIT: Pin = Pin(3);
}

/// From the keyboard to the output buffer: 11 bits at 11 kHz.
pub const KEYBOARD_BYTE_NANOS: u64 = 1_000_000;
/// From a command to its answer.
pub const CONTROLLER_BYTE_NANOS: u64 = 20_000;
/// From a byte for an absent mouse to the time-out.
pub const TIMEOUT_NANOS: u64 = 5_000_000;

const SECTION: &str = "8042";
/// Answers of the controller that wait for the output buffer.
const ANSWERS: usize = 8;
/// AMIKey-2.
const REVISION: u8 = b'H';

const STATUS_OBF: u8 = 0x01;
const STATUS_SYS: u8 = 0x04;
const STATUS_COMMAND: u8 = 0x08;
const STATUS_NOT_INHIBITED: u8 = 0x10;
const STATUS_AUX: u8 = 0x20;
const STATUS_TIMEOUT: u8 = 0x40;

const INT_KEYBOARD: u8 = 0x01;
const INT_AUX: u8 = 0x02;
const SYS: u8 = 0x04;
const DISABLE_KEYBOARD: u8 = 0x10;
const DISABLE_AUX: u8 = 0x20;
const XLAT: u8 = 0x40;

const P2_RESET: u8 = 0x01;
const P2_A20: u8 = 0x02;

/// Whose byte is in the output buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Source {
    Controller,
    Keyboard,
    Aux,
    /// Nobody took a byte for the auxiliary device.
    AuxTimeout,
}
encode_enum!(Source { Controller, Keyboard, Aux, AuxTimeout });

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Byte {
    value: u8,
    source: Source,
}
encode_fields!(Byte { value, source });

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// Internal RAM; byte 0 is the command byte.
    ram: [u8; 32],
    output: Option<Byte>,
    /// What port 60h gives when the buffer is empty.
    last: u8,
    /// The command whose parameter comes next.
    parameter_of: Option<u8>,
    last_was_command: bool,
    answers: VecDeque<Byte>,
    p2: u8,
    /// When the next byte is in the output buffer.
    transfer_at: Option<VmInstant>,
    /// F0h has been taken from the keyboard: the next code is a release.
    release: bool,
    keyboard: Keyboard,
    ignored: u64,
}
encode_fields!(State {
    ram,
    output,
    last,
    parameter_of,
    last_was_command,
    answers,
    p2,
    transfer_at,
    release,
    keyboard,
    ignored
});

impl State {
    fn new() -> Self {
        let mut ram = [0; 32];
        ram[0] = DISABLE_KEYBOARD | DISABLE_AUX | XLAT;
        Self {
            ram,
            output: None,
            last: 0,
            parameter_of: None,
            last_was_command: false,
            answers: VecDeque::new(),
            p2: P2_RESET | P2_A20,
            transfer_at: None,
            release: false,
            keyboard: Keyboard::new(),
            ignored: 0,
        }
    }

    fn command_byte(&self) -> u8 {
        self.ram[0]
    }

    fn status(&self) -> u8 {
        let mut status = STATUS_NOT_INHIBITED;
        if self.command_byte() & SYS != 0 {
            status |= STATUS_SYS;
        }
        if self.last_was_command {
            status |= STATUS_COMMAND;
        }
        match self.output.map(|b| b.source) {
            None => {}
            Some(Source::Controller | Source::Keyboard) => status |= STATUS_OBF,
            Some(Source::Aux) => status |= STATUS_OBF | STATUS_AUX,
            Some(Source::AuxTimeout) => status |= STATUS_OBF | STATUS_AUX | STATUS_TIMEOUT,
        }
        status
    }

    fn answer(&mut self, value: u8) {
        self.queue(Byte { value, source: Source::Controller });
    }

    fn queue(&mut self, byte: Byte) {
        if self.answers.len() < ANSWERS {
            self.answers.push_back(byte);
        } else {
            self.ignored = self.ignored.wrapping_add(1);
        }
    }

    fn keyboard_may_send(&self) -> bool {
        self.command_byte() & DISABLE_KEYBOARD == 0 && self.keyboard.has_byte()
    }

    /// Plans the next transfer to the output buffer.
    fn plan(&mut self, now: VmInstant) {
        if self.output.is_some() || self.transfer_at.is_some() {
            return;
        }
        let delay = match self.answers.front() {
            Some(Byte { source: Source::AuxTimeout, .. }) => TIMEOUT_NANOS,
            Some(_) => CONTROLLER_BYTE_NANOS,
            None if self.keyboard_may_send() => KEYBOARD_BYTE_NANOS,
            None => return,
        };
        self.transfer_at = Some(now + delay);
    }

    /// Everything due by `now`.
    fn advance(&mut self, now: VmInstant) {
        self.keyboard.advance(now);
        if self.transfer_at.is_some_and(|at| at <= now) {
            self.transfer_at = None;
            self.transfer();
            // If that was the last byte of a code, the next stroke may be due already.
            self.keyboard.advance(now);
        }
        self.plan(now);
    }

    fn transfer(&mut self) {
        if let Some(byte) = self.answers.pop_front() {
            self.output = Some(byte);
            return;
        }
        while self.keyboard_may_send() {
            let Some((value, scan)) = self.keyboard.send() else { return };
            let value = if self.command_byte() & XLAT == 0 {
                value
            } else if scan && value == 0xf0 {
                self.release = true;
                continue;
            } else if scan {
                let release = if std::mem::take(&mut self.release) { 0x80 } else { 0 };
                // A prefix belongs to the release code that follows it.
                if matches!(value, 0xe0 | 0xe1) { value } else { keys::translate(value) | release }
            } else {
                keys::translate(value)
            };
            self.output = Some(Byte { value, source: Source::Keyboard });
            return;
        }
    }

    fn levels(&self) -> PinLevels {
        let source = self.output.map(|b| b.source);
        let enabled = |bit: u8| self.command_byte() & bit != 0;
        let aux = matches!(source, Some(Source::Aux | Source::AuxTimeout));
        PinLevels::default()
            .with(pin::IRQ1, source == Some(Source::Keyboard) && enabled(INT_KEYBOARD))
            .with(pin::IRQ12, aux && enabled(INT_AUX))
            .with(pin::A20, self.p2 & P2_A20 != 0)
    }

    /// A command at port 64h; returns whether P20 was pulsed.
    fn command(&mut self, command: u8) -> bool {
        self.parameter_of = None;
        match command {
            0x00..=0x3f => self.answer(self.ram[usize::from(command & 0x1f)]),
            0x40..=0x7f | 0xcb | 0xd1..=0xd4 => self.parameter_of = Some(command),
            0xa1 => self.answer(REVISION),
            0xa2 | 0xa3 => self.answer(0x00),
            0xa4 => self.answer(0xf1), // no password
            0xa7 => self.ram[0] |= DISABLE_AUX,
            0xa8 => self.ram[0] &= !DISABLE_AUX,
            0xa9 | 0xab => self.answer(0x00), // interface test: good
            0xaa => {
                self.ram[0] = self.ram[0] & XLAT | SYS | DISABLE_KEYBOARD | DISABLE_AUX;
                self.answer(0x55);
            }
            0xad => self.ram[0] |= DISABLE_KEYBOARD,
            0xae => self.ram[0] &= !DISABLE_KEYBOARD,
            0xc0 => self.answer(0xb0), // not locked, no jumper, 640 KB
            0xca => self.answer(0x01), // PS/2 mode
            0xd0 => {
                let source = self.output.map(|b| b.source);
                let aux = matches!(source, Some(Source::Aux | Source::AuxTimeout));
                self.answer(self.p2 | u8::from(source.is_some() && !aux) << 4 | u8::from(aux) << 5);
            }
            0xe0 => {
                let clock = u8::from(self.command_byte() & DISABLE_KEYBOARD == 0);
                let aux_clock = u8::from(self.command_byte() & DISABLE_AUX == 0);
                self.answer(clock | aux_clock << 1);
            }
            0xf0..=0xff => return command & P2_RESET == 0,
            _ => self.ignored = self.ignored.wrapping_add(1),
        }
        false
    }

    /// A byte at port 60h; returns whether P20 went low.
    fn data(&mut self, now: VmInstant, value: u8) -> bool {
        match self.parameter_of.take() {
            Some(command @ 0x40..=0x7f) => self.ram[usize::from(command & 0x1f)] = value,
            Some(0xd1) => {
                self.p2 = value & (P2_A20 | 0x0c) | P2_RESET;
                return value & P2_RESET == 0;
            }
            Some(0xd2) => self.queue(Byte { value, source: Source::Keyboard }),
            Some(0xd3) => self.queue(Byte { value, source: Source::Aux }),
            Some(0xd4) => {
                self.ram[0] &= !DISABLE_AUX;
                self.queue(Byte { value: 0xfe, source: Source::AuxTimeout });
            }
            Some(_) => {} // CBh: the mode is fixed
            None => {
                self.ram[0] &= !DISABLE_KEYBOARD;
                self.keyboard.receive(now, value);
            }
        }
        false
    }
}

/// The keyboard controller and the keyboard. Pins: [`pin`].
///
/// ```
/// use slotone_bus::{At, Device, TestPort, WindowId};
/// use slotone_superio_w83977::kbc::{KEYBOARD_BYTE_NANOS, Kbc, KeyCode, pin};
///
/// let (mut kbc, mut port) = (Kbc::new(), TestPort::new(0x1000));
/// let (data, command) = (At { window: WindowId(0), offset: 0 }, At { window: WindowId(1), offset: 0 });
/// // Command byte: translate, interrupt.
/// port.at(0, |cx| kbc.write(cx, command, &[0x60]));
/// port.at(0, |cx| kbc.write(cx, data, &[0x41]));
/// port.at(0, |cx| kbc.key(cx, KeyCode::A, true));
/// let due = kbc.next_deadline().unwrap();
/// assert_eq!(due.as_nanos(), KEYBOARD_BYTE_NANOS);
/// port.at(due.as_nanos(), |cx| kbc.tick(cx));
/// assert_eq!(port.take_lines(), [(pin::IRQ1, true)]);
/// let mut scan = [0];
/// port.at(due.as_nanos(), |cx| kbc.read(cx, data, &mut scan));
/// assert_eq!(scan, [0x1e]);
/// ```
#[derive(Debug)]
pub struct Kbc {
    windows: WindowSet,
    state: State,
    driven: PinLevels,
}

impl Default for Kbc {
    fn default() -> Self {
        Self::new()
    }
}

impl Kbc {
    /// A controller after power-on: keyboard and auxiliary port disabled, A20 high.
    pub fn new() -> Self {
        let windows = vec![Window::io(WindowId(0), 0x60, 1), Window::io(WindowId(1), 0x64, 1)];
        let state = State::new();
        Self { windows: WindowSet::new(windows), driven: state.levels(), state }
    }

    /// Presses or releases a key. False if the queue is full.
    pub fn key(&mut self, cx: &mut Cx<'_>, key: KeyCode, pressed: bool) -> bool {
        let taken = self.state.keyboard.enqueue(&[(key, pressed)]);
        self.settle(cx);
        taken
    }

    /// Types text as [`keys_for`] reads it, at 50 characters a second.
    ///
    /// # Errors
    /// [`TypeError`]; nothing is typed then.
    pub fn type_text(&mut self, cx: &mut Cx<'_>, text: &str) -> Result<(), TypeError> {
        let strokes = keys_for(text)?;
        if !self.state.keyboard.enqueue(&strokes) {
            return Err(TypeError::Full { room: self.state.keyboard.room(), wanted: strokes.len() });
        }
        self.settle(cx);
        Ok(())
    }

    /// Strokes that have not been typed yet.
    pub fn strokes_waiting(&self) -> usize {
        self.state.keyboard.waiting()
    }

    /// The keyboard's lamps: bit 0 Scroll Lock, 1 Num Lock, 2 Caps Lock.
    pub fn leds(&self) -> u8 {
        self.state.keyboard.leds
    }

    fn settle(&mut self, cx: &mut Cx<'_>) {
        self.state.advance(cx.now());
        self.drive(cx);
    }

    fn drive(&mut self, cx: &mut Cx<'_>) {
        let levels = self.state.levels();
        for pin in [pin::IRQ1, pin::IRQ12, pin::A20] {
            if levels.get(pin) != self.driven.get(pin) {
                cx.line(pin, levels.get(pin));
            }
        }
        self.driven = levels;
    }
}

impl Device for Kbc {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        self.settle(cx);
        read_bytes(at.offset, data, |offset| match (at.window.0, offset) {
            (0, 0) => {
                if let Some(byte) = self.state.output.take() {
                    self.state.last = byte.value;
                    self.drive(cx);
                    self.state.plan(cx.now());
                }
                self.state.last
            }
            (1, 0) => self.state.status(),
            _ => 0xff,
        });
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        self.settle(cx);
        write_bytes(at.offset, data, |offset, value| {
            let reset = match (at.window.0, offset) {
                (0, 0) => {
                    self.state.last_was_command = false;
                    self.state.data(cx.now(), value)
                }
                (1, 0) => {
                    self.state.last_was_command = true;
                    self.state.command(value)
                }
                _ => false,
            };
            if reset {
                cx.line(pin::INIT, true);
                cx.line(pin::INIT, false);
            }
        });
        self.settle(cx);
    }

    fn levels(&self) -> PinLevels {
        self.driven
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        [self.state.transfer_at, self.state.keyboard.deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
    }

    fn reset(&mut self, _kind: ResetKind) {
        self.state = State { ignored: self.state.ignored, ..State::new() };
        self.driven = self.state.levels();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.answers.len() <= ANSWERS, "more answers than are kept")?;
        check(SECTION, state.p2 & !(P2_A20 | 0x0c) == P2_RESET, "an output port that cannot be")?;
        let has_parameter = |c| matches!(c, 0x40..=0x7f | 0xcb | 0xd1..=0xd4);
        check(
            SECTION,
            state.parameter_of.is_none_or(has_parameter),
            "a parameter of a command that has none",
        )?;
        let waits = state.output.is_none() && !state.answers.is_empty();
        check(SECTION, !waits || state.transfer_at.is_some(), "an answer that would never come")?;
        state.keyboard.validate(SECTION)?;
        self.driven = state.levels();
        self.state = state;
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        let s = &self.state;
        show(out, "status", s.status(), 8);
        show(out, "command byte", s.command_byte(), 8);
        show(out, "P2", s.p2, 8);
        show(out, "keyboard.LEDs", s.keyboard.leds, 3);
        show(out, "keyboard.scan code set", s.keyboard.set_number(), 2);
        out("keyboard.enabled", InspectValue::Flag(s.keyboard.is_enabled()));
        out("strokes waiting", InspectValue::Count(s.keyboard.waiting() as u64));
        out("commands ignored", InspectValue::Count(s.ignored));
    }
}
