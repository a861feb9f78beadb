//! One SCSI command through an AIC-7870, by the host: the sequencer stays paused, so no program is loaded and nothing of a driver's is
//! overwritten but the chip's registers. Between commands the chip is in the reset that it has after power-on.
//!
//! Messages and status go byte by byte through SCSIDATL, command block and data through the data FIFO, which the host fills and empties
//! by PIO: a buffer may be anywhere that the caller's page tables reach. Interrupts stay off.
//!
//! State is in the frame: the high byte of the phase and three locals. Names are the data book's.

use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::post::pci::{self, Function};
use crate::wait;

/// Registers used here, as offsets from BAR 0.
mod reg {
    pub(super) const SCSISEQ: u16 = 0x00;
    pub(super) const SXFRCTL0: u16 = 0x01;
    pub(super) const SXFRCTL1: u16 = 0x02;
    /// Read: SCSISIGI; write: SCSISIGO.
    pub(super) const SCSISIG: u16 = 0x03;
    pub(super) const SCSIID: u16 = 0x05;
    pub(super) const SCSIDATL: u16 = 0x06;
    pub(super) const STCNT: u16 = 0x08;
    /// Read: SSTAT0; write: CLRSINT0.
    pub(super) const SSTAT0: u16 = 0x0B;
    /// Read: SSTAT1; write: CLRSINT1.
    pub(super) const SSTAT1: u16 = 0x0C;
    pub(super) const SCSIBUSL: u16 = 0x12;
    pub(super) const SEECTL: u16 = 0x1E;
    pub(super) const HCNTRL: u16 = 0x87;
    pub(super) const DFCNTRL: u16 = 0x93;
    pub(super) const DFDAT: u16 = 0x99;
}

// SCSISEQ
const ENSELO: u8 = 0x40;
const ENAUTOATNO: u8 = 0x08;
const SCSIRSTO: u8 = 0x01;
// SXFRCTL0
const DFON: u8 = 0x80;
const CLRSTCNT: u8 = 0x10;
const SPIOEN: u8 = 0x08;
const CLRCHN: u8 = 0x02;
// SXFRCTL1: a selection times out after 32 ms, terminators driven and on.
const SELECTION_32_MS: u8 = 0x18;
const ENSTIMER: u8 = 0x04;
const ACTNEGEN: u8 = 0x02;
const STPWEN: u8 = 0x01;
// SCSISIGI, SCSISIGO
const PHASE: u8 = 0xE0;
const ATNO: u8 = 0x10;
const ACKI: u8 = 0x01;
// SSTAT0
const SELDO: u8 = 0x40;
const SDONE: u8 = 0x04;
// SSTAT1
const SELTO: u8 = 0x80;
const CLRATNO: u8 = 0x40;
const PHASEMIS: u8 = 0x10;
const BUSFREE: u8 = 0x08;
const REQINIT: u8 = 0x01;
// HCNTRL
const PAUSE: u8 = 0x04;
const CHIPRST: u8 = 0x01;
// DFCNTRL
const SCSIEN: u8 = 0x20;
const SDMAEN: u8 = 0x10;
const DIRECTION: u8 = 0x04;
const FIFORESET: u8 = 0x01;
/// Bytes in the data FIFO.
const FIFO: u32 = 256;

/// Bus phases, as in SCSISIGI.
mod bus_phase {
    pub(super) const DATA_OUT: u8 = 0x00;
    pub(super) const DATA_IN: u8 = 0x40;
    pub(super) const COMMAND: u8 = 0x80;
    pub(super) const MESSAGE_OUT: u8 = 0xA0;
    pub(super) const STATUS: u8 = 0xC0;
    pub(super) const MESSAGE_IN: u8 = 0xE0;
}

/// Messages.
mod message {
    pub(super) const COMMAND_COMPLETE: u8 = 0x00;
    pub(super) const SAVE_DATA_POINTER: u8 = 0x02;
    pub(super) const MESSAGE_REJECT: u8 = 0x07;
    /// Logical unit 0, and the target may not disconnect.
    pub(super) const IDENTIFY: u8 = 0x80;
}

/// States, kept in the high byte of the frame's phase.
mod state {
    /// Nothing is done yet.
    pub(super) const START: u8 = 1;
    pub(super) const CHIP_RESET: u8 = 2;
    pub(super) const SELECTING: u8 = 3;
    /// The target has the bus and says what comes next.
    pub(super) const CONNECTED: u8 = 4;
    pub(super) const COMMAND: u8 = 5;
    pub(super) const DATA: u8 = 6;
    /// COMMAND COMPLETE has come.
    pub(super) const LETTING_GO: u8 = 7;
    /// The bus is to be reset.
    pub(super) const RESET: u8 = 8;
    /// RST is asserted.
    pub(super) const RESETTING: u8 = 9;
}

/// Locals: words 6 and 8, the high byte of the latter. The high byte of word 7 is [`scsi`](super::scsi)'s.
mod local {
    /// Bytes of the data phase that are still to come.
    pub(super) const LEFT: usize = 6;
    pub(super) const FLAGS: usize = 8;
}

/// In the high byte of the flags' word: the IDENTIFY message was sent, a status byte has come.
const IDENTIFIED: u16 = 0x0100;
const STATUS_CAME: u16 = 0x0200;
/// The status byte itself, where only these are told apart.
const CHECK: u16 = 0x0400;
const BUSY: u16 = 0x0800;
const OTHER: u16 = 0x1000;

/// A selection that the chip does not end by itself ends after this.
const SELECTION_NANOS: u64 = 300_000_000;
/// How long RST is asserted, and the chip may take for its own reset.
const RESET_NANOS: u64 = 25_000;
const CHIP_RESET_NANOS: u64 = 1_000_000_000;
/// A wait is spent in a loop for this long, then in HLT: disks answer in less, and a tick of the timer is 55 ms.
const IMPATIENT_NANOS: u64 = 20_000_000;

/// Changes of state in one call, more than any command takes: its data move in 256 of them.
const TURNS: u32 = 1000;

/// A target: its adapter's place on PCI bus 0, the adapter's SCSI ID and its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Address {
    pub(crate) devfn: u8,
    pub(crate) own: u8,
    pub(crate) id: u8,
}

/// Where the data of a command go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Data {
    None,
    /// To memory, from this linear address on.
    In(u32),
    /// From memory.
    Out(u32),
}

/// A command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Command {
    /// The command descriptor block; how long it is follows from its first byte.
    pub(super) block: [u8; 16],
    pub(super) data: Data,
    /// Bytes of data.
    pub(super) len: u16,
    /// How long the target may take, in nanoseconds.
    pub(super) limit: u64,
}

/// What has become of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Not ended: return this to the stub.
    Wait(Outcome),
    /// Done as asked: GOOD, and all data have moved.
    Good,
    /// GOOD, with less data than asked for.
    Short,
    /// CHECK CONDITION: sense data wait.
    Check,
    /// BUSY or TASK SET FULL.
    Busy,
    /// Nobody has this ID.
    Absent,
    /// No adapter, or the target does not follow the rules; the bus was reset if there is one.
    Broken,
}

/// The next AIC-7870 of bus 0 behind `devfn`.
pub(super) fn next_adapter(bus: &mut dyn Initiator, devfn: Option<u8>) -> Option<u8> {
    pci::functions(bus)
        .into_iter()
        .map(|function| function.bus_devfn().1)
        .filter(|found| devfn.is_none_or(|devfn| *found > devfn))
        .find(|found| ports(bus, *found).is_some())
}

/// The adapter's ports, if it is there and decodes them. Asked again for every call: an operating system may have moved them.
fn ports(bus: &mut dyn Initiator, devfn: u8) -> Option<u16> {
    // Whoever else uses the configuration ports finds their address register as it was.
    let address = bus.inl(0xCF8);
    let function = Function::new(0, devfn);
    let identity = function.read32(bus, 0);
    let (command, bar) = (function.read16(bus, 4), function.read32(bus, 0x10));
    bus.outl(0xCF8, address);
    let known = matches!(identity, 0x7078_9004 | 0x7178_9004);
    let base = bar & 0xFF00;
    (known && command & 1 != 0 && bar & 1 != 0 && bar >> 16 == 0 && base != 0).then_some(base as u16)
}

/// Prepares a command with `len` bytes of data; [`run`] does it.
pub(super) fn begin(frame: &mut Frame, len: u16) {
    set_state(frame, state::START);
    frame.set_local16(local::LEFT, len);
    let flags = frame.local16(local::FLAGS);
    frame.set_local16(local::FLAGS, flags & 0x00FF);
}

/// Prepares a reset of the bus; [`run`] does it and ends with [`Ended::Broken`].
pub(super) fn begin_reset(frame: &mut Frame) {
    set_state(frame, state::RESET);
}

/// Whether the command is prepared and not begun.
pub(super) fn is_prepared(frame: &Frame) -> bool {
    state_of(frame) == state::START
}

fn state_of(frame: &Frame) -> u8 {
    (frame.phase() >> 8) as u8
}

fn set_state(frame: &mut Frame, state: u8) {
    let low = frame.phase() & 0x00FF;
    frame.set_phase(low | u16::from(state) << 8);
}

/// The word where flags are kept; its low byte is the caller's.
fn set_flag(frame: &mut Frame, flag: u16) {
    let flags = frame.local16(local::FLAGS);
    frame.set_local16(local::FLAGS, flags | flag);
}

fn has_flag(frame: &Frame, flag: u16) -> bool {
    frame.local16(local::FLAGS) & flag != 0
}

/// Goes on with a command for as long as time need not pass.
pub(super) fn run(bus: &mut dyn Initiator, frame: &mut Frame, at: Address, command: &Command) -> Ended {
    let Some(base) = ports(bus, at.devfn) else { return Ended::Broken };
    let mut chip = Chip { bus, base };
    for turn in 0.. {
        let step = match state_of(frame) {
            state::START => chip.start(frame),
            state::CHIP_RESET => chip.select(frame, at),
            state::SELECTING => chip.selecting(frame, command),
            state::CONNECTED => chip.connected(frame, command),
            state::COMMAND => chip.command_sent(frame, command),
            state::DATA => chip.data(frame, command),
            state::LETTING_GO => chip.letting_go(frame, command),
            state::RESET => chip.reset(frame),
            _ => chip.resetting(frame),
        };
        let step = match step {
            // A target that talks without end must not end the machine.
            Step::Go(next) if turn > TURNS => {
                set_state(frame, next);
                Step::Wait(command.limit)
            }
            step => step,
        };
        match step {
            Step::Go(next) => set_state(frame, next),
            Step::Wait(limit) => {
                let left = wait::left(chip.bus, frame);
                if left == 0 {
                    set_state(frame, state::RESET);
                } else if limit.saturating_sub(left) < IMPATIENT_NANOS {
                    return Ended::Wait(Outcome::Spin);
                } else {
                    return Ended::Wait(wait::idle(chip.bus));
                }
            }
            Step::End(ended) => {
                chip.put(reg::HCNTRL, CHIPRST | PAUSE);
                return ended;
            }
        }
    }
    Ended::Broken
}

/// What a state has come to.
enum Step {
    /// On to the next.
    Go(u8),
    /// It goes on later; all in all it may take this long.
    Wait(u64),
    End(Ended),
}

struct Chip<'a> {
    bus: &'a mut dyn Initiator,
    base: u16,
}

impl Chip<'_> {
    fn get(&mut self, register: u16) -> u8 {
        self.bus.inb(self.base + register)
    }

    fn put(&mut self, register: u16, value: u8) {
        self.bus.outb(self.base + register, value);
    }

    /// Takes the chip, whatever it was doing.
    fn start(&mut self, frame: &mut Frame) -> Step {
        self.put(reg::HCNTRL, CHIPRST | PAUSE);
        wait::start(self.bus, frame, CHIP_RESET_NANOS);
        Step::Go(state::CHIP_RESET)
    }

    fn select(&mut self, frame: &mut Frame, at: Address) -> Step {
        match self.get(reg::HCNTRL) {
            0xFF => return Step::End(Ended::Broken),
            control if control & CHIPRST == 0 => return Step::Wait(CHIP_RESET_NANOS),
            _ => {}
        }
        self.put(reg::HCNTRL, PAUSE);
        self.put(reg::SXFRCTL1, SELECTION_32_MS | ENSTIMER | ACTNEGEN | STPWEN);
        self.put(reg::SXFRCTL0, DFON);
        self.put(reg::SCSIID, at.id << 4 | at.own & 0xF);
        self.put(reg::SCSISEQ, ENSELO | ENAUTOATNO);
        wait::start(self.bus, frame, SELECTION_NANOS);
        Step::Go(state::SELECTING)
    }

    fn selecting(&mut self, frame: &mut Frame, command: &Command) -> Step {
        if self.get(reg::SSTAT0) & SELDO != 0 {
            self.put(reg::SCSISEQ, 0);
            self.put(reg::SSTAT1, BUSFREE);
            self.put(reg::SXFRCTL0, DFON | SPIOEN | CLRSTCNT | CLRCHN);
            self.put(reg::SSTAT0, SELDO);
            wait::start(self.bus, frame, command.limit);
            return Step::Go(state::CONNECTED);
        }
        if self.get(reg::SSTAT1) & SELTO != 0 {
            return Step::End(Ended::Absent);
        }
        Step::Wait(SELECTION_NANOS)
    }

    /// What the target asks for next.
    fn connected(&mut self, frame: &mut Frame, command: &Command) -> Step {
        let status = self.get(reg::SSTAT1);
        if status & BUSFREE != 0 {
            // It has gone without a word.
            return Step::Go(state::RESET);
        }
        if status & REQINIT == 0 {
            return Step::Wait(command.limit);
        }
        let phase = self.get(reg::SCSISIG) & PHASE;
        self.put(reg::SCSISIG, phase);
        match phase {
            bus_phase::MESSAGE_OUT => {
                // ATN goes before the last byte, and there is but one.
                self.put(reg::SSTAT1, CLRATNO);
                let identified = has_flag(frame, IDENTIFIED);
                set_flag(frame, IDENTIFIED);
                let message = if identified { message::MESSAGE_REJECT } else { message::IDENTIFY };
                self.put(reg::SCSIDATL, message);
            }
            bus_phase::COMMAND => {
                // Groups 0 to 7 of operation codes.
                let len = [6, 10, 10, 6, 16, 12, 6, 6][usize::from(command.block[0] >> 5)];
                self.begin_fifo(len, DIRECTION);
                for byte in &command.block[..usize::from(len)] {
                    self.put(reg::DFDAT, *byte);
                }
                return Step::Go(state::COMMAND);
            }
            bus_phase::DATA_IN | bus_phase::DATA_OUT => {
                let left = frame.local16(local::LEFT);
                let direction = match (command.data, phase) {
                    (Data::In(_), bus_phase::DATA_IN) => 0,
                    (Data::Out(_), bus_phase::DATA_OUT) => DIRECTION,
                    _ => return Step::Go(state::RESET),
                };
                // More than was asked for, or the wrong way: not a target to trust.
                if left == 0 {
                    return Step::Go(state::RESET);
                }
                self.begin_fifo(left, direction);
                return Step::Go(state::DATA);
            }
            bus_phase::STATUS => {
                let flag = match self.get(reg::SCSIDATL) & 0x3E {
                    0x00 => 0,
                    0x02 => CHECK,
                    0x08 | 0x28 => BUSY,
                    _ => OTHER,
                };
                set_flag(frame, STATUS_CAME | flag);
            }
            bus_phase::MESSAGE_IN => match self.get(reg::SCSIBUSL) {
                message::COMMAND_COMPLETE => {
                    self.get(reg::SCSIDATL);
                    return Step::Go(state::LETTING_GO);
                }
                message::SAVE_DATA_POINTER => {
                    self.get(reg::SCSIDATL);
                }
                _ => {
                    // Negotiation, disconnection: not with us. ATN before the byte is acknowledged asks for a turn to say so.
                    self.put(reg::SCSISIG, phase | ATNO);
                    self.get(reg::SCSIDATL);
                }
            },
            _ => return Step::Go(state::RESET),
        }
        Step::Go(state::CONNECTED)
    }

    /// Opens the way between the bus and the data FIFO for `len` bytes.
    fn begin_fifo(&mut self, len: u16, direction: u8) {
        self.put(reg::DFCNTRL, 0);
        for (register, byte) in (reg::STCNT..).zip(u32::from(len).to_le_bytes()).take(3) {
            self.put(register, byte);
        }
        self.put(reg::DFCNTRL, SCSIEN | SDMAEN | direction | FIFORESET);
    }

    /// Bytes that have not crossed the bus.
    fn count(&mut self) -> u32 {
        (0..3).fold(0, |count, n| count | u32::from(self.get(reg::STCNT + n)) << (8 * n))
    }

    fn command_sent(&mut self, _frame: &mut Frame, command: &Command) -> Step {
        let gone = self.get(reg::SSTAT1) & (PHASEMIS | BUSFREE) != 0;
        let done = self.get(reg::SSTAT0) & SDONE != 0 && self.get(reg::SCSISIG) & ACKI == 0;
        if gone || done {
            self.put(reg::DFCNTRL, 0);
            return Step::Go(state::CONNECTED);
        }
        Step::Wait(command.limit)
    }

    /// Moves what the FIFO holds, or has room for.
    fn data(&mut self, frame: &mut Frame, command: &Command) -> Step {
        // In this order: bytes that came before a change of phase are counted.
        let over = self.get(reg::SSTAT1) & (PHASEMIS | BUSFREE) != 0;
        let on_bus = self.count();
        let left = u32::from(frame.local16(local::LEFT));
        let moved = u32::from(command.len).saturating_sub(left);
        let port = self.base + reg::DFDAT;
        let mut bytes = [0; FIFO as usize];
        let n = match command.data {
            Data::In(to) => {
                let n = left.saturating_sub(on_bus).min(FIFO);
                let bytes = &mut bytes[..n as usize];
                let mut done = 0;
                while done < bytes.len() {
                    done += self.bus.io_read_burst(port, 1, &mut bytes[done..]).max(1);
                }
                self.bus.put(to.wrapping_add(moved), bytes);
                n
            }
            Data::Out(from) if !over => {
                let n = FIFO.saturating_sub(on_bus.saturating_sub(left)).min(left);
                let bytes = &mut bytes[..n as usize];
                if self.bus.mem_read(from.wrapping_add(moved), bytes).is_err() {
                    return Step::Go(state::RESET);
                }
                let mut done = 0;
                while done < bytes.len() {
                    done += self.bus.io_write_burst(port, 1, &bytes[done..]).max(1);
                }
                n
            }
            _ => 0,
        };
        frame.set_local16(local::LEFT, (left - n) as u16);
        let complete = match command.data {
            Data::In(_) => left == n,
            _ => left == n && self.count() == 0,
        };
        if complete || over && n == 0 {
            if matches!(command.data, Data::Out(_)) {
                // What the target did not take counts as not moved.
                let count = self.count().min(u32::from(command.len));
                frame.set_local16(local::LEFT, count as u16);
            }
            self.put(reg::DFCNTRL, 0);
            return Step::Go(state::CONNECTED);
        }
        if n == 0 { Step::Wait(command.limit) } else { Step::Go(state::DATA) }
    }

    fn letting_go(&mut self, frame: &mut Frame, command: &Command) -> Step {
        let status = self.get(reg::SSTAT1);
        if status & BUSFREE != 0 {
            return Step::End(match frame.local16(local::FLAGS) {
                flags if flags & STATUS_CAME == 0 || flags & OTHER != 0 => Ended::Broken,
                flags if flags & CHECK != 0 => Ended::Check,
                flags if flags & BUSY != 0 => Ended::Busy,
                _ if frame.local16(local::LEFT) != 0 => Ended::Short,
                _ => Ended::Good,
            });
        }
        // The zero was part of a longer message that is being rejected.
        if status & REQINIT != 0 { Step::Go(state::CONNECTED) } else { Step::Wait(command.limit) }
    }

    fn reset(&mut self, frame: &mut Frame) -> Step {
        self.put(reg::HCNTRL, PAUSE);
        self.put(reg::DFCNTRL, 0);
        self.put(reg::SCSISEQ, SCSIRSTO);
        wait::start(self.bus, frame, RESET_NANOS);
        Step::Go(state::RESETTING)
    }

    fn resetting(&mut self, frame: &mut Frame) -> Step {
        if wait::left(self.bus, frame) > 0 {
            return Step::Wait(RESET_NANOS);
        }
        self.put(reg::SCSISEQ, 0);
        Step::End(Ended::Broken)
    }
}

// SEECTL
const SEEMS: u8 = 0x20;
const SEERDY: u8 = 0x10;
const SEECS: u8 = 0x08;
const SEECK: u8 = 0x04;
const SEEDO: u8 = 0x02;
const SEEDI: u8 = 0x01;

/// The adapter's own SCSI ID, from its serial EEPROM (a 93C46): bits 3:0 of word 18. 7 if it has none, or one that is blank.
pub(super) fn own_id(bus: &mut dyn Initiator, devfn: u8) -> u8 {
    let Some(base) = ports(bus, devfn) else { return 7 };
    let mut chip = Chip { bus, base };
    chip.put(reg::HCNTRL, PAUSE);
    chip.put(reg::SEECTL, SEEMS);
    let ready = chip.get(reg::SEECTL) & SEERDY != 0;
    let words: Vec<u16> = if ready { (0..32).map(|word| chip.seeprom(word)).collect() } else { Vec::new() };
    chip.put(reg::SEECTL, 0);
    chip.put(reg::HCNTRL, CHIPRST | PAUSE);
    // Word 31 is the sum of the others.
    let sum = words.iter().take(31).fold(0u16, |sum, word| sum.wrapping_add(*word));
    match (words.get(18), words.get(31)) {
        (Some(ids), Some(stored)) if sum != 0 && sum == *stored => (ids & 0xF) as u8,
        _ => 7,
    }
}

impl Chip<'_> {
    /// Reads a word: start bit, operation 10b, six bits of address, then 16 bits from the chip, each at a rising clock.
    fn seeprom(&mut self, word: u16) -> u16 {
        let mut clock = |value: u8| {
            self.put(reg::SEECTL, value);
            self.put(reg::SEECTL, value | SEECK);
            let data = self.get(reg::SEECTL) & SEEDI;
            self.put(reg::SEECTL, value);
            u16::from(data)
        };
        let select = SEEMS | SEECS;
        let instruction = 0b110 << 6 | word & 0x3F;
        for bit in (0..9).rev() {
            clock(select | if instruction >> bit & 1 != 0 { SEEDO } else { 0 });
        }
        let value = (0..16).fold(0, |value, _| value << 1 | clock(select));
        // Chip select low ends the instruction.
        clock(SEEMS);
        value
    }
}
