//! Transfers of sectors, whatever the drive hangs on.
//!
//! The frame's locals say what is to be moved and how far it is; the driver of the drive keeps its own state beside that.

use super::drives::Drive;
use super::{ata_pio, scsi};
use crate::frame::{Frame, Outcome};
use crate::initiator::Initiator;

/// Status and error codes of int 13h.
pub(crate) mod code {
    pub(crate) const BAD_COMMAND: u8 = 0x01;
    pub(crate) const WRITE_PROTECTED: u8 = 0x03;
    pub(crate) const NOT_FOUND: u8 = 0x04;
    pub(crate) const UNCORRECTABLE: u8 = 0x10;
    pub(crate) const CONTROLLER: u8 = 0x20;
    pub(crate) const NO_MEDIA: u8 = 0x31;
    pub(crate) const TIMEOUT: u8 = 0x80;
    pub(crate) const NOT_READY: u8 = 0xAA;
    pub(crate) const WRITE_FAULT: u8 = 0xCC;
}

/// What a transfer does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    Read = 0,
    Write = 1,
    Verify = 2,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Return this to the stub.
    Wait(Outcome),
    /// Complete.
    Done,
    /// Failed with this int 13h code.
    Failed(u8),
}

/// Locals of every transfer: double words 0 and 1, words 4 and 7. Words 5, 6 and 8 are the driver's, 9 is the caller's, the rest is the
/// time limit's.
pub(super) mod local {
    pub(crate) const LBA: usize = 0;
    pub(crate) const LINEAR: usize = 1;
    pub(crate) const REMAINING: usize = 4;
    pub(crate) const OPERATION: usize = 7;
}

/// Begins a transfer of `count` sectors at `lba` to or from a linear address; [`run`] does it.
pub(crate) fn begin(
    bus: &dyn Initiator,
    frame: &mut Frame,
    drive: &Drive,
    what: Operation,
    lba: u32,
    linear: u32,
    count: u16,
) {
    frame.set_local32(local::LBA, lba);
    frame.set_local32(local::LINEAR, linear);
    frame.set_local16(local::REMAINING, count);
    frame.set_local16(local::OPERATION, what as u16);
    match drive.scsi {
        None => ata_pio::begin(bus, frame, drive),
        Some(_) => scsi::begin(frame, drive),
    }
}

/// Goes on with a transfer.
pub(crate) fn run(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Progress {
    match drive.scsi {
        None => ata_pio::run(bus, frame, drive),
        Some(address) => scsi::run(bus, frame, drive, address),
    }
}

/// Sectors that a transfer has not moved.
pub(crate) fn remaining(frame: &Frame) -> u16 {
    frame.local16(local::REMAINING)
}

pub(super) fn operation(frame: &Frame) -> Operation {
    match frame.local16(local::OPERATION) & 0xFF {
        0 => Operation::Read,
        1 => Operation::Write,
        _ => Operation::Verify,
    }
}
