//! The 16550A UART (National PC16550D data sheet; Winbond W83977, UART A and B).
//!
//! | offset | DLAB = 0 | DLAB = 1 |
//! | --- | --- | --- |
//! | 0 | RBR (read), THR (write) | DLL |
//! | 1 | IER | DLM |
//! | 2 | IIR (read), FCR (write) | the same |
//! | 3 | LCR | LCR |
//! | 4 to 7 | MCR, LSR, MSR, SCR | the same |
//!
//! With [`UartConfig::fifo_64`] it is the part that Virtual Server's guests detect as a TI16750: FCR bit 5 chooses 64-byte FIFOs, can be changed only while
//! DLAB is set, and shows in IIR bit 5.
//!
//! The host's side is [`Uart::take_output`], [`Uart::receive`], [`Uart::receive_break`] and [`Uart::set_modem`]. Characters received are there at once; how
//! fast characters leave is [`Pacing`].

use crate::util::{check, read_bytes, show, write_bytes};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, PinLevels, ResetKind, VmInstant, Window, WindowId,
    WindowSet, encode_fields,
};
use std::collections::VecDeque;

/// Pins of [`Uart`].
pub mod pin {
    use slotone_bus::Pin;

    /// Output: interrupt request, enabled by MCR.OUT2 as PCs wire it.
    pub const IRQ: Pin = Pin(0);
}

/// Register offsets.
pub mod register {
    /// Receiver buffer (read) and transmitter holding register (write); divisor low with DLAB.
    pub const RBR_THR: u64 = 0;
    /// Interrupt enable; divisor high with DLAB.
    pub const IER: u64 = 1;
    /// Interrupt identification (read), FIFO control (write).
    pub const IIR_FCR: u64 = 2;
    /// Line control.
    pub const LCR: u64 = 3;
    /// Modem control.
    pub const MCR: u64 = 4;
    /// Line status.
    pub const LSR: u64 = 5;
    /// Modem status.
    pub const MSR: u64 = 6;
    /// Scratch.
    pub const SCR: u64 = 7;
}

/// Bytes kept for the host between two calls of [`Uart::take_output`]; what comes on top is dropped and counted.
pub const OUTPUT_LIMIT: usize = 64 * 1024;

const SECTION: &str = "16550a";
const IER_RDA: u8 = 0x01;
const IER_THRE: u8 = 0x02;
const IER_LINE: u8 = 0x04;
const IER_MODEM: u8 = 0x08;
const IIR_NONE: u8 = 0x01;
const IIR_MODEM: u8 = 0x00;
const IIR_THRE: u8 = 0x02;
const IIR_RDA: u8 = 0x04;
const IIR_LINE: u8 = 0x06;
const IIR_TIMEOUT: u8 = 0x0c;
const FCR_ENABLE: u8 = 0x01;
const FCR_64: u8 = 0x20;
const LCR_BREAK: u8 = 0x40;
const LCR_DLAB: u8 = 0x80;
const MCR_OUT2: u8 = 0x08;
const MCR_LOOP: u8 = 0x10;
const LSR_DR: u8 = 0x01;
const LSR_OE: u8 = 0x02;
const LSR_FE: u8 = 0x08;
const LSR_BI: u8 = 0x10;
const LSR_THRE: u8 = 0x20;
const LSR_TEMT: u8 = 0x40;
const LSR_FIFO_ERROR: u8 = 0x80;
/// PE, FE and BI, which belong to a character.
const CHARACTER_ERRORS: u8 = 0x1c;
const CRYSTAL: u64 = 1_843_200;

/// How fast characters leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pacing {
    /// Everything written has left at the next instant of virtual time.
    #[default]
    Immediate,
    /// A character takes as long as divisor and line control say.
    Baud,
}

/// What the board decides about a UART.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UartConfig {
    /// First of its eight ports.
    pub base: u16,
    /// How fast characters leave.
    pub pacing: Pacing,
    /// 64-byte FIFOs as a TI16750 has them.
    pub fifo_64: bool,
}

impl UartConfig {
    /// A 16550A at `base`, transmitting immediately. COM1 is 3F8h with IRQ 4, COM2 2F8h with IRQ 3.
    pub const fn new(base: u16) -> Self {
        Self { base, pacing: Pacing::Immediate, fifo_64: false }
    }
}

/// The modem's outputs: bits 7:4 of MSR. `true` is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModemLines {
    /// Clear to send.
    pub cts: bool,
    /// Data set ready.
    pub dsr: bool,
    /// Ring indicator.
    pub ri: bool,
    /// Carrier detect.
    pub dcd: bool,
}

impl ModemLines {
    /// Somebody is there: CTS, DSR and DCD.
    pub const CONNECTED: Self = Self { cts: true, dsr: true, ri: false, dcd: true };
    /// Nobody is there.
    pub const DISCONNECTED: Self = Self { cts: false, dsr: false, ri: false, dcd: false };

    fn bits(self) -> u8 {
        (u8::from(self.cts) << 4)
            | (u8::from(self.dsr) << 5)
            | (u8::from(self.ri) << 6)
            | (u8::from(self.dcd) << 7)
    }
}

/// A character with the error bits of LSR that came with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Character {
    value: u8,
    errors: u8,
}
encode_fields!(Character { value, errors });

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scr: u8,
    divisor: u16,
    /// OE, and the errors of the character that was at the head when it came there.
    line_errors: u8,
    /// The modem's lines, bits 7:4.
    modem: u8,
    /// Delta bits of MSR.
    modem_deltas: u8,
    received: VecDeque<Character>,
    /// Holding register or FIFO.
    transmit: VecDeque<u8>,
    /// Shift register (paced only).
    shift: Option<u8>,
    transmit_at: Option<VmInstant>,
    thre_interrupt: bool,
    timeout_at: Option<VmInstant>,
    timed_out: bool,
    output: Vec<u8>,
    irq: bool,
    dropped: u64,
    overruns: u64,
}
encode_fields!(State {
    ier,
    fcr,
    lcr,
    mcr,
    scr,
    divisor,
    line_errors,
    modem,
    modem_deltas,
    received,
    transmit,
    shift,
    transmit_at,
    thre_interrupt,
    timeout_at,
    timed_out,
    output,
    irq,
    dropped,
    overruns
});

impl State {
    fn new(modem: u8) -> Self {
        Self {
            ier: 0,
            fcr: 0,
            lcr: 0,
            mcr: 0,
            scr: 0,
            divisor: 12,
            line_errors: 0,
            modem,
            modem_deltas: 0,
            received: VecDeque::new(),
            transmit: VecDeque::new(),
            shift: None,
            transmit_at: None,
            thre_interrupt: false,
            timeout_at: None,
            timed_out: false,
            output: Vec::new(),
            irq: false,
            dropped: 0,
            overruns: 0,
        }
    }

    fn fifos(&self) -> bool {
        self.fcr & FCR_ENABLE != 0
    }

    /// Characters that fit into each FIFO (or the one register).
    fn depth(&self) -> usize {
        match self.fcr & (FCR_ENABLE | FCR_64) {
            v if v & FCR_ENABLE == 0 => 1,
            v if v & FCR_64 != 0 => 64,
            _ => 16,
        }
    }

    fn trigger(&self) -> usize {
        match (self.depth(), self.fcr >> 6) {
            (1, _) | (_, 0) => 1,
            (16, 1) => 4,
            (16, 2) => 8,
            (16, _) => 14,
            (_, 1) => 16,
            (_, 2) => 32,
            (_, _) => 56,
        }
    }

    /// Nanoseconds a character takes on the line.
    fn character_nanos(&self) -> u64 {
        let data = 5 + u64::from(self.lcr & 3);
        let parity = u64::from(self.lcr >> 3 & 1);
        let half_bits =
            2 * (1 + data + parity) + if self.lcr & 4 == 0 { 2 } else { 3 + u64::from(data != 5) };
        // The chip treats a divisor of 0 as the largest.
        let divisor = if self.divisor == 0 { 0x1_0000 } else { u64::from(self.divisor) };
        (half_bits * 8 * divisor * 1_000_000_000).div_ceil(CRYSTAL)
    }

    fn lsr(&self) -> u8 {
        let mut lsr = self.line_errors;
        if !self.received.is_empty() {
            lsr |= LSR_DR;
        }
        if self.transmit.is_empty() {
            lsr |= LSR_THRE;
            if self.shift.is_none() {
                lsr |= LSR_TEMT;
            }
        }
        if self.fifos() && self.received.iter().any(|c| c.errors != 0) {
            lsr |= LSR_FIFO_ERROR;
        }
        lsr
    }

    /// Modem status bits 7:4: the lines, or in loopback the outputs of MCR.
    fn modem_lines(&self) -> u8 {
        if self.mcr & MCR_LOOP == 0 {
            return self.modem;
        }
        // RTS to CTS, DTR to DSR, OUT1 to RI, OUT2 to DCD.
        let m = self.mcr;
        (m & 2) << 3 | (m & 1) << 5 | (m & 4) << 4 | (m & 8) << 4
    }

    /// Notes what changed since `before`: deltas, for RI only its falling edge.
    fn note_modem(&mut self, before: u8) {
        let now = self.modem_lines();
        let changed = now ^ before;
        self.modem_deltas |= (changed & !0x40 | before & !now & 0x40) >> 4;
    }

    /// Interrupt identification without the FIFO bits.
    fn cause(&self) -> u8 {
        if self.ier & IER_LINE != 0 && self.line_errors != 0 {
            IIR_LINE
        } else if self.ier & IER_RDA != 0 && self.received.len() >= self.trigger() {
            IIR_RDA
        } else if self.ier & IER_RDA != 0 && self.timed_out {
            IIR_TIMEOUT
        } else if self.ier & IER_THRE != 0 && self.thre_interrupt {
            IIR_THRE
        } else if self.ier & IER_MODEM != 0 && self.modem_deltas != 0 {
            IIR_MODEM
        } else {
            IIR_NONE
        }
    }

    fn wants_irq(&self) -> bool {
        self.cause() != IIR_NONE && self.mcr & (MCR_OUT2 | MCR_LOOP) == MCR_OUT2
    }

    /// Puts a character into the receiver.
    fn take_in(&mut self, now: VmInstant, character: Character) {
        if self.received.len() >= self.depth() {
            self.line_errors |= LSR_OE;
            self.overruns = self.overruns.wrapping_add(1);
            if self.fifos() {
                return; // the FIFO keeps what it has
            }
            self.received.clear();
        }
        if self.received.is_empty() {
            self.line_errors |= character.errors;
        }
        self.received.push_back(character);
        self.restart_timeout(now);
    }

    fn restart_timeout(&mut self, now: VmInstant) {
        self.timed_out = false;
        let waits = self.fifos() && !self.received.is_empty();
        self.timeout_at = waits.then(|| now + 4 * self.character_nanos());
    }

    fn clear_receiver(&mut self) {
        self.received.clear();
        (self.timed_out, self.timeout_at) = (false, None);
    }

    fn clear_transmitter(&mut self) {
        self.transmit.clear();
        if self.shift.is_none() {
            self.transmit_at = None;
        }
        self.thre_interrupt = true;
    }

    /// A character has left the shift register.
    fn put_out(&mut self, now: VmInstant, value: u8) {
        let value = value & (0xff >> (3 - (self.lcr & 3)));
        if self.mcr & MCR_LOOP != 0 {
            self.take_in(now, Character { value, errors: 0 });
        } else if self.lcr & LCR_BREAK != 0 {
            // The line is held low: nobody can read it.
        } else if self.output.len() < OUTPUT_LIMIT {
            self.output.push(value);
        } else {
            self.dropped = self.dropped.wrapping_add(1);
        }
    }

    fn begin_transmit(&mut self, now: VmInstant, pacing: Pacing) {
        match pacing {
            Pacing::Immediate => self.transmit_at = self.transmit_at.or(Some(now + 1)),
            Pacing::Baud if self.shift.is_none() => {
                self.shift = self.transmit.pop_front();
                self.thre_interrupt |= self.transmit.is_empty();
                self.transmit_at = Some(now + self.character_nanos());
            }
            Pacing::Baud => {}
        }
    }

    /// Everything due by `now`.
    fn advance(&mut self, now: VmInstant) {
        while let Some(at) = self.transmit_at.filter(|at| *at <= now) {
            if let Some(value) = self.shift.take() {
                self.put_out(at, value);
                self.shift = self.transmit.pop_front();
                self.transmit_at = self.shift.map(|_| at + self.character_nanos());
                self.thre_interrupt |= self.shift.is_some() && self.transmit.is_empty();
            } else {
                self.transmit_at = None;
                while let Some(value) = self.transmit.pop_front() {
                    self.put_out(at, value);
                }
                self.thre_interrupt = true;
            }
        }
        if self.timeout_at.is_some_and(|at| at <= now) {
            (self.timeout_at, self.timed_out) = (None, true);
        }
    }
}

/// A 16550A. Pins: [`pin`]. The crate's README has it stand-alone.
#[derive(Debug)]
pub struct Uart {
    board: UartConfig,
    windows: WindowSet,
    state: State,
}

impl Uart {
    /// A UART after power-on, with somebody at the other end ([`ModemLines::CONNECTED`]).
    pub fn new(board: UartConfig) -> Self {
        let windows = WindowSet::new(vec![Window::io(WindowId(0), board.base, 8)]);
        Self { board, windows, state: State::new(ModemLines::CONNECTED.bits()) }
    }

    /// Takes what the guest has sent, up to [`OUTPUT_LIMIT`] bytes since the last call.
    pub fn take_output(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.state.output)
    }

    /// Whether [`Uart::take_output`] would give something.
    pub fn has_output(&self) -> bool {
        !self.state.output.is_empty()
    }

    /// Characters the receiver has room for.
    pub fn room(&self) -> usize {
        self.state.depth().saturating_sub(self.state.received.len())
    }

    /// Gives the guest characters; returns how many were accepted, as many as the receiver had room for.
    pub fn receive(&mut self, cx: &mut Cx<'_>, data: &[u8]) -> usize {
        self.state.advance(cx.now());
        let accepted = self.room().min(data.len());
        // In loopback the receiver does not listen to the line.
        if self.state.mcr & MCR_LOOP == 0 {
            for value in &data[..accepted] {
                self.state.take_in(cx.now(), Character { value: *value, errors: 0 });
            }
        }
        self.drive(cx);
        accepted
    }

    /// Gives the guest a break; false if the receiver had no room for it.
    pub fn receive_break(&mut self, cx: &mut Cx<'_>) -> bool {
        self.state.advance(cx.now());
        let accepted = self.room() > 0 && self.state.mcr & MCR_LOOP == 0;
        if accepted {
            self.state.take_in(cx.now(), Character { value: 0, errors: LSR_BI | LSR_FE });
            self.drive(cx);
        }
        accepted
    }

    /// Sets the modem's outputs.
    pub fn set_modem(&mut self, cx: &mut Cx<'_>, lines: ModemLines) {
        let before = self.state.modem_lines();
        self.state.modem = lines.bits();
        self.state.note_modem(before);
        self.drive(cx);
    }

    /// DTR and RTS as the guest drives them.
    pub fn dtr_rts(&self) -> (bool, bool) {
        let mcr = if self.state.mcr & MCR_LOOP == 0 { self.state.mcr } else { 0 };
        (mcr & 1 != 0, mcr & 2 != 0)
    }

    /// Whether the guest holds the line in break (LCR bit 6).
    pub fn sends_break(&self) -> bool {
        self.state.lcr & LCR_BREAK != 0
    }

    fn drive(&mut self, cx: &mut Cx<'_>) {
        let irq = self.state.wants_irq();
        if irq != self.state.irq {
            self.state.irq = irq;
            cx.line(pin::IRQ, irq);
        }
    }

    fn read_register(&mut self, cx: &mut Cx<'_>, offset: u64) -> u8 {
        let s = &mut self.state;
        let dlab = s.lcr & LCR_DLAB != 0;
        let value = match offset {
            register::RBR_THR if dlab => s.divisor as u8,
            register::RBR_THR => {
                let value = s.received.pop_front().map_or(0, |c| c.value);
                if let Some(next) = s.received.front() {
                    s.line_errors |= next.errors;
                }
                s.restart_timeout(cx.now());
                value
            }
            register::IER if dlab => (s.divisor >> 8) as u8,
            register::IER => s.ier,
            register::IIR_FCR => {
                let cause = s.cause();
                if cause == IIR_THRE {
                    s.thre_interrupt = false;
                }
                cause | if s.fifos() { 0xc0 | s.fcr & FCR_64 } else { 0 }
            }
            register::LCR => s.lcr,
            register::MCR => s.mcr,
            register::LSR => {
                let lsr = s.lsr();
                s.line_errors = 0;
                if let Some(head) = s.received.front_mut() {
                    head.errors = 0;
                }
                lsr
            }
            register::MSR => s.modem_lines() | std::mem::take(&mut s.modem_deltas),
            register::SCR => s.scr,
            _ => 0xff,
        };
        self.drive(cx);
        value
    }

    fn write_register(&mut self, cx: &mut Cx<'_>, offset: u64, value: u8) {
        let s = &mut self.state;
        let dlab = s.lcr & LCR_DLAB != 0;
        match offset {
            register::RBR_THR if dlab => s.divisor = s.divisor & 0xff00 | u16::from(value),
            register::RBR_THR => {
                s.thre_interrupt = false;
                if s.transmit.len() >= s.depth() {
                    s.transmit.pop_back(); // the last one is overwritten
                }
                s.transmit.push_back(value);
                // THRE, and with it the interrupt, goes away before it can come back.
                self.drive(cx);
                self.state.begin_transmit(cx.now(), self.board.pacing);
            }
            register::IER if dlab => s.divisor = s.divisor & 0x00ff | u16::from(value) << 8,
            register::IER => {
                let value = value & 0x0f;
                if value & !s.ier & IER_THRE != 0 && s.transmit.is_empty() {
                    s.thre_interrupt = true;
                }
                s.ier = value;
            }
            register::IIR_FCR => self.write_fcr(value),
            register::LCR => {
                let begins = value & !s.lcr & LCR_BREAK != 0;
                s.lcr = value;
                if begins && s.mcr & MCR_LOOP != 0 {
                    s.take_in(cx.now(), Character { value: 0, errors: LSR_BI | LSR_FE });
                }
            }
            register::MCR => {
                let before = s.modem_lines();
                s.mcr = value & 0x1f;
                s.note_modem(before);
            }
            register::SCR => s.scr = value,
            _ => {} // LSR and MSR are read-only
        }
        self.drive(cx);
    }

    fn write_fcr(&mut self, value: u8) {
        let s = &mut self.state;
        let dlab = s.lcr & LCR_DLAB != 0;
        let wide = if self.board.fifo_64 && dlab { value & FCR_64 } else { s.fcr & FCR_64 };
        let toggled = (value ^ s.fcr) & FCR_ENABLE != 0 || wide != s.fcr & FCR_64;
        // Without bit 0 the other bits cannot be programmed.
        s.fcr = if value & FCR_ENABLE != 0 { value & 0xc9 | wide } else { 0 };
        if toggled || value & 0x03 == 0x03 {
            s.clear_receiver();
        }
        if toggled || value & 0x05 == 0x05 {
            s.clear_transmitter();
        }
    }
}

impl Device for Uart {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        self.state.advance(cx.now());
        read_bytes(at.offset, data, |offset| self.read_register(cx, offset));
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        self.state.advance(cx.now());
        write_bytes(at.offset, data, |offset, value| self.write_register(cx, offset, value));
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(pin::IRQ, self.state.irq)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        let s = &self.state;
        // The time-out matters only to a guest that wants its interrupt; otherwise it is found at the next access.
        let timeout = s.timeout_at.filter(|_| s.ier & IER_RDA != 0);
        [s.transmit_at, timeout].into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.state.advance(cx.now());
        self.drive(cx);
    }

    /// Registers as after MR; what has been sent stays for the host to take, and the modem's lines are the modem's.
    fn reset(&mut self, _kind: ResetKind) {
        let s = &mut self.state;
        let output = std::mem::take(&mut s.output);
        *s = State { output, scr: s.scr, divisor: s.divisor, dropped: s.dropped, ..State::new(s.modem) };
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.ier & 0xf0 == 0 && state.mcr & 0xe0 == 0, "IER or MCR has reserved bits set")?;
        check(SECTION, state.fcr & 0x16 == 0, "FCR keeps bits 7:6, 5, 3 and 0")?;
        check(SECTION, self.board.fifo_64 || state.fcr & FCR_64 == 0, "64-byte FIFOs in a 16550A")?;
        let full = state.received.len() > state.depth() || state.transmit.len() > state.depth();
        check(SECTION, !full, "more characters than the FIFO holds")?;
        let errors = state.received.iter().fold(state.line_errors & !LSR_OE, |all, c| all | c.errors);
        check(SECTION, errors & !CHARACTER_ERRORS == 0, "errors that no character can have")?;
        check(
            SECTION,
            state.modem & 0x0f == 0 && state.modem_deltas & 0xf0 == 0,
            "modem lines in wrong bits",
        )?;
        check(SECTION, state.output.len() <= OUTPUT_LIMIT, "more output than is kept")?;
        let busy = state.shift.is_some() || !state.transmit.is_empty();
        check(SECTION, busy == state.transmit_at.is_some(), "a transmitter that would stand still")?;
        check(SECTION, state.irq == state.wants_irq(), "IRQ does not follow from the registers")?;
        self.state = state;
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        let s = &self.state;
        show(out, "IER", s.ier, 8);
        show(out, "IIR", s.cause(), 8);
        show(out, "FCR", s.fcr, 8);
        show(out, "LCR", s.lcr, 8);
        show(out, "MCR", s.mcr, 8);
        show(out, "LSR", s.lsr(), 8);
        show(out, "MSR", s.modem_lines() | s.modem_deltas, 8);
        show(out, "divisor", s.divisor, 16);
        out("characters waiting for the guest", InspectValue::Count(s.received.len() as u64));
        out("output dropped", InspectValue::Count(s.dropped));
        out("overruns", InspectValue::Count(s.overruns));
    }
}
