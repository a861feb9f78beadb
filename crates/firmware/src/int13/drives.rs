//! The drives POST has found: a table in the EBDA, and what the BDA and the interrupt vectors say of it.

use super::aic7870::Address;
use crate::bda;
use crate::initiator::{Initiator, InitiatorExt};

/// IDE slots: primary master and slave, secondary master and slave.
pub(crate) const IDE_SLOTS: usize = 4;
const TABLE: u32 = bda::EBDA + 0x100;
const ENTRY_BYTES: usize = 32;
/// The SCSI drives, in the order in which they were found: four adapters with seven targets.
pub(crate) const SCSI_SLOTS: usize = 28;
const SCSI_TABLE: u32 = bda::EBDA + 0x200;
const SCSI_ENTRY_BYTES: usize = 16;
/// Not 0 if int 13h counts SCSI disks before IDE disks.
const SCSI_FIRST: u32 = bda::EBDA + 0x61;
/// Device parameter table extensions, 16 bytes per IDE slot.
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

/// A drive: an IDE drive in one of the four slots, or a SCSI target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Drive {
    /// The IDE slot, or the number in the table of SCSI drives.
    pub(crate) slot: u8,
    /// The IDE channel, or the number of the SCSI adapter.
    pub(crate) controller: u8,
    /// The target, if it is a SCSI drive.
    pub(crate) scsi: Option<Address>,
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
    pub(crate) sectors: u64,
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
        let sectors = u64::from(sectors);
        let multiple = (word(47) & 0xFF) as u8;
        let logical = translate(physical, sectors);
        Self { kind: Kind::Disk, lba, multiple, physical, logical, sectors, ..Self::ide(slot) }
    }

    /// An empty IDE slot.
    pub(crate) fn ide(slot: u8) -> Self {
        Self { slot, controller: slot >> 1, ..Self::default() }
    }

    pub(crate) fn cd(slot: u8) -> Self {
        Self { kind: Kind::Cd, ..Self::ide(slot) }
    }

    /// A SCSI disk with sectors of 512 bytes. Its geometry is that which its partitions were made for ([`partitioned`]); else that of Adaptec's
    /// BIOSes: 64 heads and 32 sectors while 1024 cylinders of them hold it, which is 1 GiB, or 255 and 63 ("extended translation").
    pub(crate) fn scsi_disk(
        slot: u8,
        controller: u8,
        at: Address,
        sectors: u64,
        made_for: Option<(u8, u8)>,
    ) -> Self {
        let usual = if sectors > 1024 * 64 * 32 { (255, 63) } else { (64, 32) };
        let (heads, per_track) =
            made_for.map_or(usual, |(heads, per_track)| (heads.into(), per_track.into()));
        let cylinders = (sectors / u64::from(heads * per_track)).clamp(1, 1024) as u16;
        let logical = Geometry { cylinders, heads, sectors: per_track };
        Self {
            slot,
            controller,
            scsi: Some(at),
            kind: Kind::Disk,
            lba: true,
            multiple: 0,
            physical: logical,
            logical,
            sectors,
        }
    }

    pub(crate) fn scsi_cd(slot: u8, controller: u8, at: Address) -> Self {
        Self { slot, controller, scsi: Some(at), kind: Kind::Cd, ..Self::default() }
    }

    /// Where it is, as POST lists it.
    pub(crate) fn place(&self) -> String {
        match self.scsi {
            Some(at) => format!("SCSI {} ID {}", self.controller, at.id),
            None => ["Primary master", "Primary slave", "Secondary master", "Secondary slave"]
                [usize::from(self.slot & 3)]
            .into(),
        }
    }

    /// Bytes of a sector of int 13h.
    pub(crate) fn sector_bytes(&self) -> u16 {
        if self.kind == Kind::Cd { 2048 } else { 512 }
    }

    /// Sectors that commands with 32-bit addresses reach.
    pub(crate) fn reachable(&self) -> u64 {
        self.sectors.min(1 << 32)
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

    /// Puts the drive into its table. A SCSI table that is full takes no more.
    pub(crate) fn store(&self, bus: &mut dyn Initiator) {
        if let Some(Address { devfn, own, id }) = self.scsi {
            if usize::from(self.slot) < SCSI_SLOTS {
                let mut entry = [0; SCSI_ENTRY_BYTES];
                entry[..5].copy_from_slice(&[self.kind as u8, devfn, own, id, self.controller]);
                if self.is_disk() {
                    entry[5..7].copy_from_slice(&[self.logical.heads as u8, self.logical.sectors as u8]);
                }
                entry[8..].copy_from_slice(&self.sectors.to_le_bytes());
                bus.put(SCSI_TABLE + u32::from(self.slot) * SCSI_ENTRY_BYTES as u32, &entry);
            }
            return;
        }
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
        entry[16..20].copy_from_slice(&(self.sectors as u32).to_le_bytes());
        bus.put(TABLE + u32::from(self.slot & 3) * ENTRY_BYTES as u32, &entry);
    }

    /// Reads the entry of an IDE slot. The guest may have written anything there: nonsense is no drive.
    pub(crate) fn load(bus: &mut dyn Initiator, slot: u8) -> Self {
        let slot = slot & 3;
        let entry = bus.get::<ENTRY_BYTES>(TABLE + u32::from(slot) * ENTRY_BYTES as u32);
        let word = |index: usize| u16::from_le_bytes([entry[4 + 2 * index], entry[5 + 2 * index]]);
        let kind = match entry[0] {
            1 => Kind::Disk,
            2 => Kind::Cd,
            _ => return Self::ide(slot),
        };
        let drive = Self {
            kind,
            lba: entry[1] & 1 != 0,
            multiple: entry[2],
            physical: Geometry { cylinders: word(0), heads: word(1), sectors: word(2) },
            logical: Geometry { cylinders: word(3), heads: word(4), sectors: word(5) },
            sectors: u64::from(u32::from_le_bytes([entry[16], entry[17], entry[18], entry[19]])),
            ..Self::ide(slot)
        };
        let sane = |g: Geometry| {
            (1..=1024).contains(&g.cylinders) && (1..=255).contains(&g.heads) && (1..=63).contains(&g.sectors)
        };
        let physical_sane = drive.physical.heads >= 1
            && drive.physical.heads <= 16
            && (1..=255).contains(&drive.physical.sectors);
        if kind == Kind::Disk && !(sane(drive.logical) && (drive.lba || physical_sane)) {
            return Self::ide(slot);
        }
        drive
    }

    /// An entry of the table of SCSI drives; nonsense is no drive here too.
    fn from_entry(slot: u8, entry: &[u8]) -> Option<Self> {
        let at = Address { devfn: entry[1], own: entry[2] & 0xF, id: entry[3] & 0xF };
        let sectors = entry[8..16].iter().rfold(0, |sectors, byte| sectors << 8 | u64::from(*byte));
        match entry[0] {
            1 if entry[5] != 0 && (1..=63).contains(&entry[6]) => {
                Some(Self::scsi_disk(slot, entry[4], at, sectors, Some((entry[5], entry[6]))))
            }
            2 => Some(Self::scsi_cd(slot, entry[4], at)),
            _ => None,
        }
    }

    /// The DPTE of an IDE disk, written by [`publish`]. SCSI disks have none.
    pub(crate) fn dpte(&self) -> Option<u32> {
        self.scsi.is_none().then(|| DPTE + u32::from(self.slot & 3) * 16)
    }
}

/// The geometry of int 13h: the drive's own while it fits into 1024 cylinders, else "LBA assisted": 63 sectors and as many heads
/// as it takes.
fn translate(physical: Geometry, sectors: u64) -> Geometry {
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

/// Heads and sectors per track that the partitions in a boot sector were made for. Whoever partitions a disk lets partitions end with a
/// cylinder: the head and the sector of that end are the last there are if they lead to the block number that stands beside them.
pub(crate) fn partitioned(sector: &[u8; 512]) -> Option<(u8, u8)> {
    if sector[510..] != [0x55, 0xAA] {
        return None;
    }
    sector[446..510].chunks_exact(16).find_map(|entry| {
        let double = |at: usize| {
            u64::from(u32::from_le_bytes([entry[at], entry[at + 1], entry[at + 2], entry[at + 3]]))
        };
        let heads = entry[5].checked_add(1)?;
        let per_track = entry[6] & 0x3F;
        let last_cylinder = u64::from(entry[6] & 0xC0) << 2 | u64::from(entry[7]);
        let end = double(8) + double(12);
        let cylinder = u64::from(heads) * u64::from(per_track);
        if entry[4] == 0 || double(12) == 0 || cylinder == 0 || end % cylinder != 0 {
            return None;
        }
        // Cylinders that ten bits cannot name are written as the last one they can. In the first one any number of heads would do.
        let last = end / cylinder - 1;
        (last > 0 && last_cylinder == last.min(1023)).then_some((heads, per_track))
    })
}

/// The SCSI drive with that number in the table.
pub(crate) fn scsi_by_slot(bus: &mut dyn Initiator, slot: u8) -> Option<Drive> {
    read_all(bus).into_iter().find(|drive| drive.scsi.is_some() && drive.slot == slot)
}

/// All drives: IDE by slot, then SCSI in the order of the scan.
pub(crate) fn read_all(bus: &mut dyn Initiator) -> Vec<Drive> {
    let mut all: Vec<Drive> =
        (0..IDE_SLOTS as u8).map(|slot| Drive::load(bus, slot)).filter(|d| d.kind != Kind::None).collect();
    let table = bus.get::<{ SCSI_SLOTS * SCSI_ENTRY_BYTES }>(SCSI_TABLE);
    let entries = (0..).zip(table.chunks_exact(SCSI_ENTRY_BYTES));
    all.extend(entries.filter_map(|(slot, entry)| Drive::from_entry(slot, entry)));
    all
}

/// The drives of one kind as int 13h counts them.
pub(crate) fn numbered(bus: &mut dyn Initiator, kind: Kind) -> Vec<Drive> {
    let mut list = read_all(bus);
    list.retain(|drive| drive.kind == kind);
    if kind == Kind::Disk && bus.get8(SCSI_FIRST) != 0 {
        list.sort_by_key(|drive| drive.scsi.is_none());
    }
    list
}

/// Lets int 13h count SCSI disks before IDE disks, or behind them.
pub(crate) fn set_scsi_first(bus: &mut dyn Initiator, first: bool) {
    bus.put8(SCSI_FIRST, u8::from(first));
}

/// The drive with an int 13h number.
pub(crate) fn by_number(bus: &mut dyn Initiator, number: u8) -> Option<Drive> {
    let (kind, index) = match number {
        FIRST_CD..=0xFF => (Kind::Cd, number - FIRST_CD),
        FIRST_DISK..FIRST_CD => (Kind::Disk, number - FIRST_DISK),
        _ => return None,
    };
    numbered(bus, kind).into_iter().nth(usize::from(index))
}

/// Disks into the BDA, their parameter tables into the EBDA and int 41h and 46h.
pub(crate) fn publish(bus: &mut dyn Initiator) {
    let mut count = 0u8;
    for drive in numbered(bus, Kind::Disk) {
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
        count += 1;
        let Some(place) = drive.dpte() else { continue };
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
        bus.put(place, &dpte);
    }
    bus.put8(bda::DISK_COUNT, count);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot_sector(entries: &[[u8; 16]]) -> [u8; 512] {
        let mut sector = [0; 512];
        sector[446..][..16 * entries.len()].copy_from_slice(entries.as_flattened());
        sector[510..].copy_from_slice(&[0x55, 0xAA]);
        sector
    }

    /// A partition from a block on that ends with a cylinder of this geometry.
    fn entry(heads: u32, per_track: u32, start: u32, cylinders: u32) -> [u8; 16] {
        let last = (cylinders - 1).min(1023);
        let mut entry = [0; 16];
        entry[4] = 0x83;
        entry[5] = (heads - 1) as u8;
        entry[6] = per_track as u8 | (last >> 2 & 0xC0) as u8;
        entry[7] = last as u8;
        entry[8..12].copy_from_slice(&start.to_le_bytes());
        entry[12..].copy_from_slice(&(cylinders * heads * per_track - start).to_le_bytes());
        entry
    }

    #[test]
    fn geometries_of_partitions() {
        for (heads, per_track) in [(64, 32), (255, 63), (16, 63), (128, 63)] {
            for cylinders in [2, 100, 1024, 1025, 9000] {
                let found = partitioned(&boot_sector(&[[0; 16], entry(heads, per_track, 32, cylinders)]));
                assert_eq!(found, Some((heads as u8, per_track as u8)), "{cylinders}");
            }
        }
        // One that ends anywhere, as those of today do, tells nothing; the next may.
        let mut anywhere = entry(255, 63, 2048, 30);
        anywhere[12] ^= 7;
        assert_eq!(partitioned(&boot_sector(&[anywhere])), None);
        assert_eq!(partitioned(&boot_sector(&[anywhere, entry(64, 32, 32, 60)])), Some((64, 32)));
        // Within the first cylinder, empty, of 256 heads, of a disk with a GPT, and a sector that is no boot sector.
        let mut none = vec![entry(255, 63, 63, 1), [0; 16], entry(256, 63, 63, 9)];
        none.push([0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF, 1, 0, 0, 0, 0xFF, 0xFF, 0x1F, 0]);
        assert_eq!(partitioned(&boot_sector(&none)), None);
        let mut sector = boot_sector(&[entry(255, 63, 63, 9)]);
        sector[511] = 0;
        assert_eq!(partitioned(&sector), None);
    }

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
