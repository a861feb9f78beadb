//! ATA and ATAPI by programmed I/O through the drives' registers (ATA/ATAPI-4, chapters 7 to 9).
//!
//! A command takes virtual time, so everything here is a state machine over the frame's locals: a step either goes on or
//! says how to wait. Interrupts of the drives are left on; they end the stub's HLT.

use super::drives::{Drive, IDE_SLOTS as SLOTS};
use super::transfer::{Operation, Progress, code, operation};
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::int10::text::print;
use crate::wait;

const BSY: u8 = 0x80;
const DF: u8 = 0x20;
const DRQ: u8 = 0x08;
const ERR: u8 = 0x01;
const ABRT: u8 = 0x04;

/// The longest a drive may take for one command.
const COMMAND_NANOS: u64 = 20_000_000_000;

/// Locals of its own, besides [`transfer::local`](super::transfer::local): words 5, 6 and 8.
mod local {
    pub(super) use crate::int13::transfer::local::{LBA, LINEAR, REMAINING};
    pub(super) const IN_COMMAND: usize = 5;
    pub(super) const BLOCK: usize = 6;
    /// Packets: how often one was sent again. Disks: what is known of the MULTIPLE commands.
    pub(super) const RETRIES: usize = 8;
}

/// What is known of a disk's MULTIPLE commands.
mod multiple {
    pub(super) const UNTRIED: u16 = 0;
    /// One was refused before any block was moved: somebody has turned them off.
    pub(super) const REFUSED: u16 = 1;
    /// A block was moved.
    pub(super) const TAKEN: u16 = 2;
}

/// States, kept in the frame's phase; 0 is "not begun".
mod phase {
    pub(super) const SELECT: u16 = 1;
    pub(super) const DATA: u16 = 2;
    pub(super) const END: u16 = 3;
    pub(super) const PACKET: u16 = 4;
    pub(super) const COMMAND_BLOCK: u16 = 5;
    pub(super) const PACKET_DATA: u16 = 6;
}

/// Begins the transfer that the common locals describe; [`run`] does it.
pub(super) fn begin(bus: &dyn Initiator, frame: &mut Frame, drive: &Drive) {
    frame.set_local16(local::IN_COMMAND, 0);
    frame.set_local16(local::RETRIES, 0);
    frame.set_phase(if drive.is_disk() { phase::SELECT } else { phase::PACKET });
    wait::start(bus, frame, COMMAND_NANOS);
}

/// Goes on with a transfer.
pub(super) fn run(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Progress {
    loop {
        let step = match frame.phase() {
            phase::SELECT => select(bus, frame, drive),
            phase::DATA => data(bus, frame, drive),
            phase::END => end(bus, frame, drive),
            phase::PACKET => packet(bus, frame, drive),
            phase::COMMAND_BLOCK => command_block(bus, frame, drive),
            phase::PACKET_DATA => packet_data(bus, frame, drive),
            _ => return Progress::Failed(code::CONTROLLER),
        };
        if let Some(progress) = step {
            return progress;
        }
    }
}

/// Not busy: the status. Busy: how to wait, or that the time is up.
fn ready(bus: &mut dyn Initiator, frame: &Frame, drive: &Drive) -> Result<u8, Progress> {
    let status = bus.inb(drive.control());
    if status & BSY == 0 {
        // The status register proper: this takes the interrupt back.
        return Ok(bus.inb(drive.base() + 7));
    }
    if wait::left(bus, frame) == 0 {
        reset_channel(bus, drive);
        return Err(Progress::Failed(code::TIMEOUT));
    }
    Err(Progress::Wait(wait::idle(bus)))
}

/// Software reset of both drives of a channel, interrupts on.
pub(crate) fn reset_channel(bus: &mut dyn Initiator, drive: &Drive) {
    bus.outb(drive.control(), 0x0C);
    bus.outb(drive.control(), 0x08);
}

/// Chooses the drive and writes a command.
fn select(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    let remaining = frame.local16(local::REMAINING);
    if remaining == 0 {
        return Some(Progress::Done);
    }
    if let Err(progress) = ready(bus, frame, drive) {
        return Some(progress);
    }
    let base = drive.base();
    let lba = frame.local32(local::LBA);
    // One command moves up to 256 sectors, 0 in the count register.
    let count = remaining.min(256);
    let (head, track) = if drive.lba {
        (0x40 | (lba >> 24 & 0x0F) as u8, lba)
    } else {
        let (heads, sectors) =
            (u32::from(drive.physical.heads.max(1)), u32::from(drive.physical.sectors.max(1)));
        let (cylinder, head, sector) = (lba / (heads * sectors), lba / sectors % heads, lba % sectors + 1);
        (head as u8, cylinder << 8 | sector)
    };
    let what = operation(frame);
    let by_blocks = drive.multiple > 1 && frame.local16(local::RETRIES) != multiple::REFUSED;
    let command = match (what, by_blocks) {
        (Operation::Read, true) => 0xC4,
        (Operation::Read, false) => 0x20,
        (Operation::Write, true) => 0xC5,
        (Operation::Write, false) => 0x30,
        (Operation::Verify, _) => 0x40,
    };
    bus.outb(drive.control(), 0x08);
    let values = [count as u8, track as u8, (track >> 8) as u8, (track >> 16) as u8];
    bus.outb(base + 6, drive.select() | head);
    for (register, value) in (2..).zip(values) {
        bus.outb(base + register, value);
    }
    bus.outb(base + 7, command);
    frame.set_local16(local::IN_COMMAND, count);
    frame.set_local16(local::BLOCK, if by_blocks { u16::from(drive.multiple) } else { 1 });
    frame.set_phase(if what == Operation::Verify { phase::END } else { phase::DATA });
    wait::start(bus, frame, COMMAND_NANOS);
    None
}

/// Moves one DRQ block.
fn data(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    let status = match ready(bus, frame, drive) {
        Ok(status) => status,
        Err(progress) => return Some(progress),
    };
    if status & (ERR | DF) != 0 {
        return failed(bus, frame, drive);
    }
    if status & DRQ == 0 {
        return Some(Progress::Failed(code::CONTROLLER));
    }
    let in_command = frame.local16(local::IN_COMMAND).min(frame.local16(local::REMAINING));
    let sectors = frame.local16(local::BLOCK).clamp(1, 256).min(in_command);
    let length = usize::from(sectors) * 512;
    let linear = frame.local32(local::LINEAR);
    let mut block = vec![0; length];
    if operation(frame) == Operation::Write {
        if bus.mem_read(linear, &mut block).is_err() {
            return Some(Progress::Failed(code::BAD_COMMAND));
        }
        put_data(bus, drive.base(), &block);
    } else {
        get_data(bus, drive.base(), &mut block);
        bus.put(linear, &block);
    }
    frame.set_local32(local::LINEAR, linear.wrapping_add(length as u32));
    frame.set_local32(local::LBA, frame.local32(local::LBA).wrapping_add(u32::from(sectors)));
    frame.set_local16(local::REMAINING, frame.local16(local::REMAINING) - sectors);
    if frame.local16(local::RETRIES) == multiple::UNTRIED {
        frame.set_local16(local::RETRIES, multiple::TAKEN);
    }
    let left = in_command - sectors;
    frame.set_local16(local::IN_COMMAND, left);
    if left == 0 {
        frame.set_phase(phase::END);
    }
    None
}

/// The last block is through: a write (or verify) may still fail.
fn end(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    match ready(bus, frame, drive) {
        Ok(status) if status & (ERR | DF) != 0 => return failed(bus, frame, drive),
        Ok(_) => {}
        Err(progress) => return Some(progress),
    }
    if operation(frame) == Operation::Verify {
        let count = frame.local16(local::IN_COMMAND).min(frame.local16(local::REMAINING));
        frame.set_local32(local::LBA, frame.local32(local::LBA).wrapping_add(u32::from(count)));
        frame.set_local16(local::REMAINING, frame.local16(local::REMAINING) - count);
    }
    frame.set_phase(phase::SELECT);
    None
}

fn failed(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    let error = bus.inb(drive.base() + 1);
    // Once more without the MULTIPLE commands; not if blocks were moved, as then those would be left out.
    let known = frame.local16(local::RETRIES);
    if error & ABRT != 0 && drive.multiple > 1 && known == multiple::UNTRIED {
        frame.set_local16(local::RETRIES, multiple::REFUSED);
        frame.set_phase(phase::SELECT);
        return None;
    }
    Some(Progress::Failed(match error {
        error if error & 0x10 != 0 => code::NOT_FOUND,
        error if error & 0x40 != 0 => code::UNCORRECTABLE,
        error if error & ABRT != 0 && known != multiple::TAKEN => code::BAD_COMMAND,
        _ if operation(frame) == Operation::Write => code::WRITE_FAULT,
        _ => code::CONTROLLER,
    }))
}

/// REP INSD. Bursts may end early; the rest is fetched with the next.
fn get_data(bus: &mut dyn Initiator, port: u16, mut data: &mut [u8]) {
    let width = if data.len().is_multiple_of(4) { 4 } else { 2 };
    while data.len() >= width {
        let done = bus.io_read_burst(port, width, data).clamp(width, data.len());
        data = &mut data[done..];
    }
}

/// REP OUTSD.
fn put_data(bus: &mut dyn Initiator, port: u16, mut data: &[u8]) {
    let width = if data.len().is_multiple_of(4) { 4 } else { 2 };
    while data.len() >= width {
        let done = bus.io_write_burst(port, width, data).clamp(width, data.len());
        data = &data[done..];
    }
}

/// Retries of a packet: unit attentions, a drive that is getting ready.
const PACKET_RETRIES: u16 = 5;

fn packet(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    if frame.local16(local::REMAINING) == 0 {
        return Some(Progress::Done);
    }
    if let Err(progress) = ready(bus, frame, drive) {
        return Some(progress);
    }
    let base = drive.base();
    bus.outb(drive.control(), 0x08);
    bus.outb(base + 6, drive.select());
    // No DMA; at most F800h bytes at a time.
    for (register, value) in [(1, 0), (2, 0), (4, 0x00), (5, 0xF8), (7, 0xA0)] {
        bus.outb(base + register, value);
    }
    frame.set_phase(phase::COMMAND_BLOCK);
    wait::start(bus, frame, COMMAND_NANOS);
    None
}

fn command_block(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    let status = match ready(bus, frame, drive) {
        Ok(status) => status,
        Err(progress) => return Some(progress),
    };
    if status & DRQ == 0 {
        return Some(Progress::Failed(code::CONTROLLER));
    }
    let lba = frame.local32(local::LBA).to_be_bytes();
    let count = frame.local16(local::REMAINING).to_be_bytes();
    // READ(10)
    let block = [0x28, 0, lba[0], lba[1], lba[2], lba[3], 0, count[0], count[1], 0, 0, 0];
    for word in block.chunks_exact(2) {
        bus.io_write(drive.base(), word);
    }
    // Bytes of the first of the remaining sectors that have come.
    frame.set_local16(local::IN_COMMAND, 0);
    frame.set_phase(phase::PACKET_DATA);
    None
}

fn packet_data(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Option<Progress> {
    let status = match ready(bus, frame, drive) {
        Ok(status) => status,
        Err(progress) => return Some(progress),
    };
    let base = drive.base();
    if status & DRQ == 0 {
        if status & (ERR | DF) == 0 {
            // All is here, or the drive thinks so.
            let done = frame.local16(local::REMAINING) == 0;
            return Some(if done { Progress::Done } else { Progress::Failed(code::CONTROLLER) });
        }
        let key = bus.inb(base + 1) >> 4;
        let retries = frame.local16(local::RETRIES);
        if retries < PACKET_RETRIES && matches!(key, 2 | 6) {
            frame.set_local16(local::RETRIES, retries + 1);
            frame.set_phase(phase::PACKET);
            return None;
        }
        return Some(Progress::Failed(match key {
            2 => code::NO_MEDIA,
            3 => code::UNCORRECTABLE,
            5 => code::NOT_FOUND,
            6 => code::NOT_READY,
            _ => code::CONTROLLER,
        }));
    }
    let bytes =
        (u32::from(bus.inb(base + 4)) | u32::from(bus.inb(base + 5)) << 8).next_multiple_of(2) as usize;
    if bytes == 0 {
        return Some(Progress::Failed(code::CONTROLLER));
    }
    let mut block = vec![0; bytes];
    get_data(bus, base, &mut block);
    // What is more than was asked for is dropped.
    let partial = usize::from(frame.local16(local::IN_COMMAND)) % 2048;
    let wanted = usize::from(frame.local16(local::REMAINING)) * 2048 - partial.min(2047);
    let take = bytes.min(wanted);
    let linear = frame.local32(local::LINEAR);
    bus.put(linear, &block[..take]);
    let through = partial + take;
    frame.set_local32(local::LINEAR, linear.wrapping_add(take as u32));
    frame.set_local32(local::LBA, frame.local32(local::LBA).wrapping_add((through / 2048) as u32));
    frame.set_local16(
        local::REMAINING,
        frame.local16(local::REMAINING).saturating_sub((through / 2048) as u16),
    );
    frame.set_local16(local::IN_COMMAND, (through % 2048) as u16);
    None
}

/// Detection, in locals: word 8 the slot, word 9 what is being waited for.
mod detect_local {
    pub(super) const SLOT: usize = 8;
    pub(super) const STAGE: usize = 9;
}

/// A drive that is there answers a reset within this; the standard allows 31 seconds, no drive of this machine needs that.
const RESET_NANOS: u64 = 5_000_000_000;
/// Before this nobody is asked: a second drive alone on its channel takes no selection while it resets.
const SETTLE_NANOS: u64 = 2_000_000;

/// Resets both channels.
pub(crate) fn start_detection(bus: &mut dyn Initiator, frame: &mut Frame) {
    for slot in [0, 2] {
        reset_channel(bus, &Drive { slot, ..Drive::default() });
    }
    frame.set_local16(detect_local::SLOT, 0);
    frame.set_local16(detect_local::STAGE, 0);
    wait::start(bus, frame, RESET_NANOS);
}

/// Looks at one slot after another; done when all four are known.
pub(crate) fn detect(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    while usize::from(frame.local16(detect_local::SLOT)) < SLOTS {
        let slot = frame.local16(detect_local::SLOT) as u8;
        let outcome = match frame.local16(detect_local::STAGE) {
            0 => detect_signature(bus, frame, slot),
            stage => detect_identify(bus, frame, slot, stage),
        };
        match outcome {
            Detected::Wait => return wait::idle(bus),
            Detected::Go => {}
            Detected::Drive(drive) => {
                drive.store(bus);
                frame.set_local16(detect_local::SLOT, u16::from(slot) + 1);
                frame.set_local16(detect_local::STAGE, 0);
                wait::start(bus, frame, RESET_NANOS);
            }
        }
    }
    Outcome::Done
}

enum Detected {
    /// Nothing yet.
    Wait,
    /// On to the next stage.
    Go,
    /// This is in the slot; possibly nothing.
    Drive(Drive),
}

fn detect_signature(bus: &mut dyn Initiator, frame: &mut Frame, slot: u8) -> Detected {
    let none = Drive { slot, ..Drive::default() };
    let base = none.base();
    if slot == 0 && wait::left(bus, frame) > RESET_NANOS - SETTLE_NANOS {
        return Detected::Wait;
    }
    bus.outb(base + 6, none.select());
    let status = bus.inb(none.control());
    // An empty channel floats.
    if matches!(status, 0xFF | 0x7F) {
        return Detected::Drive(none);
    }
    if status & BSY != 0 {
        return if wait::left(bus, frame) > 0 { Detected::Wait } else { Detected::Drive(none) };
    }
    let signature = [2, 3, 4, 5].map(|register| bus.inb(base + register));
    let command = match signature {
        [1, 1, 0x00, 0x00] if status != 0 => 0xEC,
        [1, 1, 0x14, 0xEB] => 0xA1,
        _ => return Detected::Drive(none),
    };
    bus.outb(none.control(), 0x08);
    bus.outb(base + 7, command);
    frame.set_local16(detect_local::STAGE, u16::from(command));
    wait::start(bus, frame, RESET_NANOS);
    Detected::Go
}

fn detect_identify(bus: &mut dyn Initiator, frame: &mut Frame, slot: u8, stage: u16) -> Detected {
    let none = Drive { slot, ..Drive::default() };
    let base = none.base();
    if bus.inb(none.control()) & BSY != 0 {
        return if wait::left(bus, frame) > 0 { Detected::Wait } else { Detected::Drive(none) };
    }
    let status = bus.inb(base + 7);
    // SET MULTIPLE MODE was sent last: the answer decides whether it is used.
    if stage == 0xC6 {
        let mut drive = Drive::load(bus, slot);
        if status & ERR != 0 {
            drive.multiple = 0;
        }
        return Detected::Drive(drive);
    }
    if status & DRQ == 0 || status & ERR != 0 {
        return Detected::Drive(none);
    }
    let mut identify = [0; 512];
    get_data(bus, base, &mut identify);
    let drive = if stage == 0xEC { Drive::from_identify(slot, &identify) } else { Drive::cd(slot) };
    announce(bus, &drive, &identify);
    if drive.multiple <= 1 {
        return Detected::Drive(drive);
    }
    drive.store(bus);
    bus.outb(base + 2, drive.multiple);
    bus.outb(base + 7, 0xC6);
    frame.set_local16(detect_local::STAGE, 0xC6);
    wait::start(bus, frame, RESET_NANOS);
    Detected::Go
}

/// The line POST prints for a drive.
fn announce(bus: &mut dyn Initiator, drive: &Drive, identify: &[u8; 512]) {
    let place = drive.place();
    // The model: 40 characters, two in a word, the first in the high byte.
    let model: String = identify[54..94]
        .chunks_exact(2)
        .flat_map(|pair| [pair[1], pair[0]])
        .map(|byte| if (0x20..0x7F).contains(&byte) { char::from(byte) } else { ' ' })
        .collect();
    let size = if drive.is_disk() { format!(", {} MB", drive.sectors / 2048) } else { String::new() };
    print(bus, &format!("{place:<16} : {}{size}\n", model.trim()));
}
