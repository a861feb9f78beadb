//! Enhanced Disk Drive services, 3.0: sectors by number, parameters with the device's path.

use super::drives::Drive;
use super::transfer::{self, Operation, code};
use super::{Answer, advance};
use crate::acpi::checksum;
use crate::bda;
use crate::frame::{Frame, far};
use crate::initiator::{Initiator, InitiatorExt};

/// The disk address packet at DS:SI.
struct Packet {
    count: u16,
    linear: u32,
    lba: u64,
}

impl Packet {
    fn read(bus: &mut dyn Initiator, frame: &Frame) -> Option<Self> {
        let at = frame.at_ds(frame.si());
        let size = bus.get8(at);
        if size < 16 {
            return None;
        }
        let (offset, segment) = (bus.get16(at + 4), bus.get16(at + 6));
        // FFFF:FFFF: a flat 64-bit address follows.
        let linear = if (segment, offset) == (0xFFFF, 0xFFFF) && size >= 24 {
            u32::try_from(bus.get64(at + 16)).ok()?
        } else {
            far(segment, offset)
        };
        Some(Self { count: bus.get16(at + 2), linear, lba: bus.get64(at + 8) })
    }
}

/// Stores how many sectors were moved into the packet.
pub(super) fn moved(bus: &mut dyn Initiator, frame: &Frame, left: u16) {
    let at = frame.at_ds(frame.si());
    let asked = bus.get16(at + 2);
    bus.put16(at + 2, asked.saturating_sub(left));
}

/// AH=41h.
pub(super) fn installed(frame: &mut Frame) -> Answer {
    if frame.bx() != 0x55AA {
        return Answer::Status(code::BAD_COMMAND);
    }
    frame.set_bx(0xAA55);
    // Packets, and the EDD subset; no locking.
    frame.set_cx(0x0005);
    frame.set_ah(0x30);
    Answer::Return
}

/// Begins an extended function on a hard disk.
pub(super) fn begin(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Answer {
    match frame.ah() {
        0x41 => installed(frame),
        0x42 => transfer(bus, frame, drive, Operation::Read),
        0x43 => transfer(bus, frame, drive, Operation::Write),
        0x44 => transfer(bus, frame, drive, Operation::Verify),
        0x47 => match Packet::read(bus, frame) {
            Some(packet) if packet.lba < drive.sectors => Answer::Status(0),
            Some(_) => Answer::Status(code::NOT_FOUND),
            None => Answer::Status(code::BAD_COMMAND),
        },
        0x48 => parameters(bus, frame, drive),
        // Prefetch, PIO and DMA modes: whatever is asked for is in force.
        0x4E => Answer::Status(0),
        _ => Answer::Status(code::BAD_COMMAND),
    }
}

/// Begins a transfer by packet; CD-ROM drives read with it too.
pub(super) fn transfer(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive, what: Operation) -> Answer {
    let Some(Packet { count, linear, lba }) = Packet::read(bus, frame) else {
        return Answer::Status(code::BAD_COMMAND);
    };
    let end = lba.checked_add(u64::from(count));
    let limit = if drive.is_disk() { drive.reachable() } else { u64::from(u32::MAX) };
    if count > 127 || end.is_none_or(|end| end > limit) {
        moved(bus, frame, count);
        return Answer::Status(code::BAD_COMMAND);
    }
    transfer::begin(bus, frame, drive, what, lba as u32, linear, count);
    advance(bus, frame, drive)
}

/// AH=48h: as much as the buffer at DS:SI holds.
fn parameters(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Answer {
    let mut table = [0; 74];
    let p = drive.physical;
    // The geometry is valid while it can address the whole disk.
    let valid = u64::from(p.cylinders) * u64::from(p.heads) * u64::from(p.sectors) >= drive.sectors;
    table[2..4].copy_from_slice(&(if valid { 2u16 } else { 0 }).to_le_bytes());
    table[4..8].copy_from_slice(&u32::from(p.cylinders).to_le_bytes());
    table[8..12].copy_from_slice(&u32::from(p.heads).to_le_bytes());
    table[12..16].copy_from_slice(&u32::from(p.sectors).to_le_bytes());
    table[16..24].copy_from_slice(&drive.sectors.to_le_bytes());
    table[24..26].copy_from_slice(&512u16.to_le_bytes());
    table[26..30].fill(0xFF);
    if let Some(dpte) = drive.dpte() {
        table[26..28].copy_from_slice(&((dpte - bda::EBDA) as u16).to_le_bytes());
        table[28..30].copy_from_slice(&bda::EBDA_SEGMENT.to_le_bytes());
    }
    store(bus, frame, drive, table)
}

/// Completes a parameter table with the device's path and stores it.
pub(super) fn store(
    bus: &mut dyn Initiator,
    frame: &mut Frame,
    drive: &Drive,
    mut table: [u8; 74],
) -> Answer {
    let at = frame.at_ds(frame.si());
    let room = bus.get16(at);
    let size: u16 = match room {
        74.. => 74,
        30.. => 30,
        26.. => 26,
        _ => return Answer::Status(code::BAD_COMMAND),
    };
    table[..2].copy_from_slice(&size.to_le_bytes());
    // Device path: the controller on the PCI bus and the drive on it.
    table[30..34].copy_from_slice(&[0xDD, 0xBE, 0x2C, 0]);
    table[36..40].copy_from_slice(b"PCI ");
    match drive.scsi {
        None => {
            table[40..48].copy_from_slice(if drive.is_disk() { b"ATA     " } else { b"ATAPI   " });
            // 00:07.1, channel; master or slave.
            table[48..52].copy_from_slice(&[0, 7, 1, drive.slot >> 1]);
            table[56] = drive.slot & 1;
        }
        Some(at) => {
            table[40..48].copy_from_slice(b"SCSI    ");
            table[48..52].copy_from_slice(&[0, at.devfn >> 3, at.devfn & 7, 0]);
            // The target, in a word; its logical unit, in four, is 0.
            table[56] = at.id;
        }
    }
    table[73] = checksum(&table[30..73]);
    bus.put(at, &table[..usize::from(size)]);
    Answer::Status(0)
}
