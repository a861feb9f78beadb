//! CD-ROM drives, numbered from E0h: sectors of 2048 bytes.

use super::drives::Drive;
use super::transfer::{Operation, code};
use super::{Answer, edd};
use crate::frame::Frame;
use crate::initiator::Initiator;

/// Begins a function on a CD-ROM drive.
pub(super) fn begin(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Answer {
    match frame.ah() {
        0x00 | 0x09 | 0x0D | 0x10 | 0x11 | 0x14 => Answer::Status(0),
        0x15 => {
            // Removable, without a change line.
            frame.set_ah(1);
            Answer::Return
        }
        0x41 => edd::installed(frame),
        0x42 => edd::transfer(bus, frame, drive, Operation::Read),
        // Verify and seek have nothing to do before the next read.
        0x44 | 0x47 => Answer::Status(0),
        // Locking would have to be counted; the tray stays the drive's.
        0x45 | 0x46 => Answer::Status(code::BAD_COMMAND),
        0x48 => {
            let mut table = [0; 74];
            // Removable, change line, lockable; size unknown without asking the drive.
            table[2..4].copy_from_slice(&0x0004u16.to_le_bytes());
            table[4..24].fill(0xFF);
            table[24..26].copy_from_slice(&2048u16.to_le_bytes());
            table[26..30].fill(0xFF);
            edd::store(bus, frame, drive, table)
        }
        0x49 => Answer::Status(0),
        0x43 => Answer::Status(code::WRITE_PROTECTED),
        _ => Answer::Status(code::BAD_COMMAND),
    }
}
