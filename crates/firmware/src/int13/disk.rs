//! Hard disks by cylinder, head and sector.

use super::drives::Drive;
use super::transfer::{self, Operation, code};
use super::{Answer, advance, edd};
use crate::bda;
use crate::frame::Frame;
use crate::initiator::{Initiator, InitiatorExt};

/// Begins a function on a hard disk.
pub(super) fn begin(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Answer {
    match frame.ah() {
        // Reset, initialise, recalibrate, test: a drive that was found is ready.
        0x00 | 0x09 | 0x0D | 0x10 | 0x11 | 0x14 => Answer::Status(0),
        0x02 => transfer(bus, frame, drive, Operation::Read),
        0x03 => transfer(bus, frame, drive, Operation::Write),
        0x04 => transfer(bus, frame, drive, Operation::Verify),
        // Format track: a modern drive has nothing to format.
        0x05 => Answer::Status(address(frame, drive).map_or(code::BAD_COMMAND, |_| 0)),
        0x08 => {
            let l = drive.logical;
            let last = l.cylinders.saturating_sub(1);
            frame.set_ch(last as u8);
            frame.set_cl((last >> 2 & 0xC0) as u8 | l.sectors as u8);
            frame.set_dh((l.heads - 1) as u8);
            frame.set_dl(bus.get8(bda::DISK_COUNT));
            frame.set_al(0);
            Answer::Status(0)
        }
        0x0C => Answer::Status(address(frame, drive).map_or(code::NOT_FOUND, |_| 0)),
        0x15 => {
            // More than 32 bits hold is for AH=48h.
            let sectors = drive.sectors.min(u64::from(u32::MAX)) as u32;
            frame.set_cx((sectors >> 16) as u16);
            frame.set_dx(sectors as u16);
            frame.set_ah(3);
            Answer::Return
        }
        0x41..=0x49 | 0x4E => edd::begin(bus, frame, drive),
        // Media change and type are diskettes' matters, long sectors have gone.
        _ => Answer::Status(code::BAD_COMMAND),
    }
}

/// The sector that CX and DH name.
fn address(frame: &Frame, drive: &Drive) -> Option<u32> {
    let l = drive.logical;
    let cylinder = u32::from(frame.ch()) | u32::from(frame.cl() & 0xC0) << 2;
    let (head, sector) = (u32::from(frame.dh()), u32::from(frame.cl() & 0x3F));
    if cylinder >= u32::from(l.cylinders)
        || head >= u32::from(l.heads)
        || sector == 0
        || sector > u32::from(l.sectors)
    {
        return None;
    }
    Some((cylinder * u32::from(l.heads) + head) * u32::from(l.sectors) + sector - 1)
}

fn transfer(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive, what: Operation) -> Answer {
    let count = u16::from(frame.al());
    // 128 sectors fill a segment.
    if count == 0 || count > 128 {
        return Answer::Status(code::BAD_COMMAND);
    }
    let fits = |lba: &u32| u64::from(*lba) + u64::from(count) <= drive.reachable();
    let Some(lba) = address(frame, drive).filter(fits) else {
        frame.set_al(0);
        return Answer::Status(code::NOT_FOUND);
    };
    let linear = frame.at_es(frame.bx());
    transfer::begin(bus, frame, drive, what, lba, linear, count);
    advance(bus, frame, drive)
}
