//! Booting from CD: "El Torito" Bootable CD-ROM Format Specification 1.0, without emulation.

use super::drives::Drive;
use super::transfer::code;
use crate::bda;
use crate::frame::Frame;
use crate::initiator::{Initiator, InitiatorExt};

/// The specification packet of the CD that was booted, in the EBDA; its first byte is 0 if none was.
const PACKET: u32 = bda::EBDA + 0x1E0;
const PACKET_BYTES: usize = 0x13;

/// The boot record volume descriptor is sector 17.
pub(crate) const BOOT_RECORD: u32 = 17;

/// The sector of the boot catalog, if this is a boot record.
pub(crate) fn catalog(sector: &[u8; 2048]) -> Option<u32> {
    (sector[..7] == *b"\0CD001\x01" && sector[7..30] == *b"EL TORITO SPECIFICATION")
        .then(|| u32::from_le_bytes([sector[0x47], sector[0x48], sector[0x49], sector[0x4A]]))
}

/// The default entry of a boot catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BootEntry {
    /// Segment to load at.
    pub(crate) segment: u16,
    /// Sectors of 512 bytes to load.
    pub(crate) sectors: u16,
    /// First sector of 2048 bytes.
    pub(crate) lba: u32,
}

/// Why a catalog's default entry is not booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotBootable {
    /// The catalog is broken, or says so.
    Invalid,
    /// A diskette or hard disk is to be emulated.
    Emulation,
}

/// Validates a catalog and reads its default entry.
pub(crate) fn default_entry(sector: &[u8; 2048]) -> Result<BootEntry, NotBootable> {
    let word = |at: usize| u16::from_le_bytes([sector[at], sector[at + 1]]);
    let sum = (0..32).step_by(2).fold(0u16, |sum, at| sum.wrapping_add(word(at)));
    // Header 1, 80x86, key bytes; then an entry marked bootable.
    if sector[0] != 1 || sector[1] != 0 || word(30) != 0xAA55 || sum != 0 || sector[32] != 0x88 {
        return Err(NotBootable::Invalid);
    }
    if sector[33] & 0x0F != 0 {
        return Err(NotBootable::Emulation);
    }
    let segment = match word(34) {
        0 => 0x07C0,
        segment => segment,
    };
    let lba = u32::from(word(40)) | u32::from(word(42)) << 16;
    Ok(BootEntry { segment, sectors: word(38).max(1), lba })
}

/// Remembers what was booted, for AX=4B01h.
pub(crate) fn remember(bus: &mut dyn Initiator, entry: &BootEntry, number: u8, drive: &Drive) {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = PACKET_BYTES as u8;
    packet[2] = number;
    packet[3] = drive.controller;
    packet[4..8].copy_from_slice(&entry.lba.to_le_bytes());
    // IDE: master or slave. SCSI: the target, the bus.
    packet[8] = drive.scsi.map_or(drive.slot & 1, |at| at.id);
    packet[12..14].copy_from_slice(&entry.segment.to_le_bytes());
    packet[14..16].copy_from_slice(&entry.sectors.to_le_bytes());
    bus.put(PACKET, &packet);
}

/// Linear address of the image that was loaded.
pub(crate) fn loaded_at(bus: &mut dyn Initiator) -> u32 {
    u32::from(bus.get16(PACKET + 12)) * 16
}

/// AH=4Bh: the specification packet into DS:SI. Without emulation there is nothing to terminate.
pub(super) fn status(bus: &mut dyn Initiator, frame: &mut Frame) -> u8 {
    let packet = bus.get::<PACKET_BYTES>(PACKET);
    if packet[0] != PACKET_BYTES as u8 || frame.al() > 1 {
        return code::BAD_COMMAND;
    }
    bus.put(frame.at_ds(frame.si()), &packet);
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(crate) fn sectors() -> ([u8; 2048], [u8; 2048]) {
        let (mut record, mut catalog) = ([0; 2048], [0; 2048]);
        record[..7].copy_from_slice(b"\0CD001\x01");
        record[7..30].copy_from_slice(b"EL TORITO SPECIFICATION");
        record[0x47] = 33;
        catalog[0] = 1;
        catalog[30..32].copy_from_slice(&[0x55, 0xAA]);
        catalog[28..30].copy_from_slice(&0u16.wrapping_sub(0xAA55 + 1).to_le_bytes());
        catalog[32] = 0x88;
        catalog[38] = 4;
        catalog[40] = 50;
        (record, catalog)
    }

    #[test]
    fn records_and_catalogs() {
        let (record, boot) = sectors();
        assert_eq!(catalog(&record), Some(33));
        assert_eq!(catalog(&boot), None);
        assert_eq!(default_entry(&boot), Ok(BootEntry { segment: 0x7C0, sectors: 4, lba: 50 }));
        let mut floppy = boot;
        floppy[33] = 2;
        assert_eq!(default_entry(&floppy), Err(NotBootable::Emulation));
        let mut broken = boot;
        broken[5] = 1;
        assert_eq!(default_entry(&broken), Err(NotBootable::Invalid));
    }
}
