//! The drives POST has found: a table in the EBDA, and what the BDA and the interrupt vectors say of it.

use crate::bda;
use crate::initiator::{Initiator, InitiatorExt};

/// Slots: primary master and slave, secondary master and slave.
pub(crate) const SLOTS: usize = 4;
const TABLE: u32 = bda::EBDA + 0x100;
const ENTRY_BYTES: usize = 32;
/// Device parameter table extensions, 16 bytes per hard disk.
const DPTE: u32 = bda::EBDA + 0x1A0;
/// Fixed disk parameter tables of the first two disks, where AMI keeps them.
const FDPT: [u32; 2] = [bda::EBDA + 0x3D, bda::EBDA + 0x4D];
/// First drive numbers of int 13h.
pub(crate) const FIRST_DISK: u8 = 0x80;
pub(crate) const FIRST_CD: u8 = 0xE0;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Kind {
    #[default]
    None,
    Disk,
    Cd,
}

/// Cylinders, heads and sectors per track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Geometry {
    pub(crate) cylinders: u16,
    pub(crate) heads: u16,
    pub(crate) sectors: u16,
}

/// A drive on one of the four slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drive {
    pub(crate) slot: u8,
    pub(crate) kind: Kind,
    /// Addressed by LBA; by cylinder, head and sector otherwise.
    pub(crate) lba: bool,
    /// Sectors per DRQ block of the MULTIPLE commands; 0 without them.
    pub(crate) multiple: u8,
    /// As the drive says.
    pub(crate) physical: Geometry,
    /// As int 13h says.
    pub(crate) logical: Geometry,
    /// Sectors of 512 bytes.
    pub(crate) sectors: u32,
}

impl Drive {
    /// From IDENTIFY DEVICE.
    pub(crate) fn from_identify(slot: u8, identify: &[u8; 512]) -> Self {
        let word = |index: usize| u16::from_le_bytes([identify[2 * index], identify[2 * index + 1]]);
        let physical = Geometry { cylinders: word(1), heads: word(3), sectors: word(6) };
        let lba = word(49) & 1 << 9 != 0;
        let by_geometry = u32::from(physical.cylinders)
            * u32::from(physical.heads & 0x1F)
            * u32::from(physical.sectors & 0xFF);
        let sectors = if lba { u32::from(word(60)) | u32::from(word(61)) << 16 } else { by_geometry };
        let multiple = (word(47) & 0xFF) as u8;
        let logical = translate(physical, sectors);
        Self { slot, kind: Kind::Disk, lba, multiple, physical, logical, sectors }
    }

    pub(crate) fn cd(slot: u8) -> Self {
        Self { slot, kind: Kind::Cd, ..Self::default() }
    }

    pub(crate) fn is_disk(&self) -> bool {
        self.kind == Kind::Disk
    }

    /// Base of the command block registers.
    pub(crate) fn base(&self) -> u16 {
        if self.slot < 2 { 0x1F0 } else { 0x170 }
    }

    /// The device control and alternate status register.
    pub(crate) fn control(&self) -> u16 {
        if self.slot < 2 { 0x3F6 } else { 0x376 }
    }

    /// The device bit with the obsolete ones.
    pub(crate) fn select(&self) -> u8 {
        0xA0 | (self.slot & 1) << 4
    }

    pub(crate) fn store(&self, bus: &mut dyn Initiator) {
        let mut entry = [0; ENTRY_BYTES];
        entry[0] = self.kind as u8;
        entry[1] = u8::from(self.lba);
        entry[2] = self.multiple;
        let p = self.physical;
        let l = self.logical;
        for (i, word) in
            [p.cylinders, p.heads, p.sectors, l.cylinders, l.heads, l.sectors].into_iter().enumerate()
        {
            entry[4 + 2 * i..6 + 2 * i].copy_from_slice(&word.to_le_bytes());
        }
        entry[16..20].copy_from_slice(&self.sectors.to_le_bytes());
        bus.put(TABLE + u32::from(self.slot & 3) * ENTRY_BYTES as u32, &entry);
    }

    /// Reads an entry. The guest may have written anything there: nonsense is no drive.
    pub(crate) fn load(bus: &mut dyn Initiator, slot: u8) -> Self {
        let slot = slot & 3;
        let entry = bus.get::<ENTRY_BYTES>(TABLE + u32::from(slot) * ENTRY_BYTES as u32);
        let word = |index: usize| u16::from_le_bytes([entry[4 + 2 * index], entry[5 + 2 * index]]);
        let kind = match entry[0] {
            1 => Kind::Disk,
            2 => Kind::Cd,
            _ => return Self { slot, ..Self::default() },
        };
        let drive = Self {
            slot,
            kind,
            lba: entry[1] & 1 != 0,
            multiple: entry[2],
            physical: Geometry { cylinders: word(0), heads: word(1), sectors: word(2) },
            logical: Geometry { cylinders: word(3), heads: word(4), sectors: word(5) },
            sectors: u32::from_le_bytes([entry[16], entry[17], entry[18], entry[19]]),
        };
        let sane = |g: Geometry| {
            (1..=1024).contains(&g.cylinders) && (1..=255).contains(&g.heads) && (1..=63).contains(&g.sectors)
        };
        let physical_sane = drive.physical.heads >= 1
            && drive.physical.heads <= 16
            && (1..=255).contains(&drive.physical.sectors);
        if kind == Kind::Disk && !(sane(drive.logical) && (drive.lba || physical_sane)) {
            return Self { slot, ..Self::default() };
        }
        drive
    }

    /// The DPTE of the hard disk with this number (0 for 80h), written by [`publish`].
    pub(crate) fn dpte(index: u8) -> u32 {
        DPTE + u32::from(index & 3) * 16
    }
}

/// The geometry of int 13h: the drive's own while it fits into 1024 cylinders, else "LBA assisted": 63 sectors and as many heads
/// as it takes.
fn translate(physical: Geometry, sectors: u32) -> Geometry {
    if physical.cylinders <= 1024
        && physical.cylinders > 0
        && (1..=16).contains(&physical.heads)
        && (1..=63).contains(&physical.sectors)
    {
        return physical;
    }
    let heads = [16, 32, 64, 128].into_iter().find(|heads| sectors <= 1024 * 63 * heads).unwrap_or(255);
    let cylinders = (sectors / (63 * heads)).clamp(1, 1024);
    Geometry { cylinders: cylinders as u16, heads: heads as u16, sectors: 63 }
}

/// All four slots.
pub(crate) fn read_all(bus: &mut dyn Initiator) -> [Drive; SLOTS] {
    [0, 1, 2, 3].map(|slot| Drive::load(bus, slot))
}

/// The drive with an int 13h number.
pub(crate) fn by_number(bus: &mut dyn Initiator, number: u8) -> Option<Drive> {
    let (kind, index) = match number {
        FIRST_CD..=0xEF => (Kind::Cd, number - FIRST_CD),
        0x80..=0x8F => (Kind::Disk, number - FIRST_DISK),
        _ => return None,
    };
    read_all(bus).into_iter().filter(|drive| drive.kind == kind).nth(usize::from(index))
}

/// Disks into the BDA, their parameter tables into the EBDA and int 41h and 46h.
pub(crate) fn publish(bus: &mut dyn Initiator, list: &[Drive; SLOTS]) {
    let mut count = 0;
    for drive in list.iter().filter(|drive| drive.is_disk()) {
        let (l, p) = (drive.logical, drive.physical);
        if let Some(table) = FDPT.get(usize::from(count)) {
            let [cylinders_low, cylinders_high] = l.cylinders.to_le_bytes();
            let [p_low, p_high] = p.cylinders.to_le_bytes();
            let mut fdpt = [
                cylinders_low,
                cylinders_high,
                l.heads as u8,
                0xA0,
                p.sectors as u8,
                0xFF,
                0xFF,
                0,
                if p.heads > 8 { 8 } else { 0 },
                p_low,
                p_high,
                p.heads as u8,
                0,
                0,
                l.sectors as u8,
                0,
            ];
            fdpt[15] = crate::acpi::checksum(&fdpt);
            bus.put(*table, &fdpt);
            let vector = if count == 0 { 0x41 } else { 0x46 };
            crate::int10::modes::set_vector(bus, vector, bda::EBDA_SEGMENT, (*table - bda::EBDA) as u16);
        }
        let mut dpte = [0; 16];
        dpte[..2].copy_from_slice(&drive.base().to_le_bytes());
        dpte[2..4].copy_from_slice(&drive.control().to_le_bytes());
        dpte[4] = drive.select() | if drive.lba { 0x40 } else { 0 };
        dpte[6] = if drive.slot < 2 { 14 } else { 15 };
        dpte[7] = drive.multiple;
        // LBA translation; geometry is translated.
        let flags = if drive.lba { 0x10u16 } else { 0 } | if l != p { 0x08 } else { 0 };
        dpte[10..12].copy_from_slice(&flags.to_le_bytes());
        dpte[14] = 0x30;
        dpte[15] = crate::acpi::checksum(&dpte);
        bus.put(Drive::dpte(count), &dpte);
        count += 1;
    }
    bus.put8(bda::DISK_COUNT, count);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn translations() {
        let own = Geometry { cylinders: 963, heads: 8, sectors: 17 };
        assert_eq!(translate(own, 963 * 8 * 17), own);
        let big = Geometry { cylinders: 16383, heads: 16, sectors: 63 };
        assert_eq!(translate(big, 1_032_193), Geometry { cylinders: 512, heads: 32, sectors: 63 });
        assert_eq!(translate(big, 4_194_304), Geometry { cylinders: 520, heads: 128, sectors: 63 });
        assert_eq!(translate(big, 267_386_880), Geometry { cylinders: 1024, heads: 255, sectors: 63 });
    }
}
