//! Int 13h and booting on SCSI disks and CDs, through the model of the AIC-7870 itself.

mod common;

use common::scsi::{Scsi, Unit};
use common::{Atapi, Disk, Ide, Mock, Regs};
use proptest::prelude::*;
use slotone_aic7870::Aic7870Config;
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_firmware::BootDevice;
use slotone_scsi::{DiskConfig, Fault, FaultKind, Faulty, MediumResult, Reply, Target};

const SLOT: u8 = 9;

/// A disk whose first sectors begin with `mark` and their number, with a boot sector.
fn disk(bytes: u64, mark: u8) -> MemoryDisk {
    let disk = MemoryDisk::new(bytes);
    for sector in 0..600u64 {
        let mut content = [mark; 512];
        content[..8].copy_from_slice(&sector.to_le_bytes());
        content[510..].copy_from_slice(&[0x55, 0xAA]);
        write_all(&disk, sector * 512, &content).unwrap();
    }
    disk
}

fn posted(units: Vec<(u8, Unit)>) -> Mock {
    with_adapters(vec![Scsi::new(SLOT, units)], |_| {})
}

fn with_adapters(adapters: Vec<Scsi>, change: impl FnOnce(&mut Mock)) -> Mock {
    let mut mock = Mock::new();
    mock.scsi = adapters;
    change(&mut mock);
    mock.post();
    mock
}

fn call(mock: &mut Mock, ax: u16, cx: u16, dx: u16, bx: u16) -> Regs {
    mock.int(0x13, Regs { eax: ax.into(), ebx: bx.into(), ecx: cx.into(), edx: dx.into(), ..Regs::default() })
}

/// A disk address packet at 0:600 and a call with it; data at 1000:0000.
fn packet(mock: &mut Mock, ah: u8, drive: u8, count: u16, lba: u64) -> Regs {
    let mut p = vec![16, 0];
    p.extend(count.to_le_bytes());
    p.extend([0x00, 0x00, 0x00, 0x10]);
    p.extend(lba.to_le_bytes());
    mock.memory[0x600..0x610].copy_from_slice(&p);
    mock.int(0x13, Regs { eax: u32::from(ah) << 8, edx: drive.into(), esi: 0x600, ..Regs::default() })
}

/// Number and mark of a sector that [`disk`] made, from a buffer.
fn sector(mock: &Mock, at: usize) -> (u64, u8) {
    (u64::from_le_bytes(mock.memory[at..at + 8].try_into().unwrap()), mock.memory[at + 100])
}

fn screen(mock: &Mock) -> Vec<String> {
    (0..25).map(|row| mock.row(row)).filter(|row| !row.is_empty()).collect()
}

fn on_medium(mock: &Mock, id: usize, lba: u64) -> [u8; 512] {
    let mut data = [0; 512];
    read_exact(mock.scsi[0].media[id].as_deref().unwrap(), lba * 512, &mut data).unwrap();
    data
}

#[test]
fn post_lists_what_is_on_the_buses() {
    let first = Scsi::new(SLOT, vec![(0, Unit::Disk(disk(64 << 20, 1))), (5, Unit::Cd(None))]);
    let second = Scsi::new(14, vec![(3, Unit::Disk(disk(2 << 30, 2)))]);
    let mock = with_adapters(vec![first, second], |_| {});
    let screen = screen(&mock);
    for line in [
        "SCSI 0 ID 0      : Msft Virtual Disk, 64 MB",
        "SCSI 0 ID 5      : MS Virtual CD",
        "SCSI 1 ID 3      : Msft Virtual Disk, 2048 MB",
    ] {
        assert!(screen.iter().any(|row| row == line), "{line}: {screen:?}");
    }
    assert_eq!(mock.memory[0x475], 2);
    // CMOS speaks of IDE disks only.
    assert_eq!(mock.cmos[0x12], 0);
}

#[test]
fn adapters_change_nothing_where_there_are_none() {
    let screen =
        |adapters| screen(&with_adapters(adapters, |mock| mock.ide[0] = Ide::with_disk(Disk::new(40_320))));
    assert_eq!(screen(Vec::new()), screen(vec![Scsi::new(SLOT, Vec::new())]));
}

#[test]
fn empty_ids_cost_next_to_no_time() {
    let time = |adapters| with_adapters(adapters, |_| {}).now;
    let without = time(Vec::new());
    let four = time([9, 14, 15, 16].map(|slot| Scsi::new(slot, Vec::new())).into());
    assert!(four - without < 50_000_000, "{} ms", (four - without) / 1_000_000);
}

#[test]
fn geometry_and_type() {
    // 1 GiB is the last size with 64 heads and 32 sectors.
    let mut mock = posted(vec![
        (0, Unit::Disk(MemoryDisk::new(1 << 30))),
        (1, Unit::Disk(MemoryDisk::new((1 << 30) + 512))),
        (2, Unit::Disk(MemoryDisk::new(2040 << 30))),
    ]);
    let r = call(&mut mock, 0x0800, 0, 0x80, 0);
    assert_eq!((r.carry(), r.ah(), r.ecx, r.edx), (false, 0, 0xFFE0, 0x3F03));
    let r = call(&mut mock, 0x0800, 0, 0x81, 0);
    // 2097153 / (255 * 63) cylinders, the last is 129.
    assert_eq!((r.ecx, r.edx >> 8), (0x8100 | 63, 254));
    let r = call(&mut mock, 0x0800, 0, 0x82, 0);
    assert_eq!((r.ecx, r.edx >> 8), (0xFFFF, 254));
    let r = call(&mut mock, 0x1500, 0, 0x81, 0);
    assert_eq!((r.ah(), r.ecx << 16 | r.edx & 0xFFFF), (3, 2_097_153));
    assert!(call(&mut mock, 0x0800, 0, 0x83, 0).carry());
}

/// Marks the first sector as one of a disk with a partition that ends with cylinder 9 of this geometry, and a sector of cylinder 1, head 2.
fn partition(medium: &MemoryDisk, heads: u8, per_track: u8) {
    let mut sector = [0; 512];
    let cylinder = u32::from(heads) * u32::from(per_track);
    let start = u32::from(per_track);
    sector[446..][..8].copy_from_slice(&[0x80, 1, 1, 0, 6, heads - 1, per_track, 9]);
    sector[454..458].copy_from_slice(&start.to_le_bytes());
    sector[458..462].copy_from_slice(&(10 * cylinder - start).to_le_bytes());
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    write_all(medium, 0, &sector).unwrap();
    let there = cylinder + 2 * u32::from(per_track) + 4;
    write_all(medium, u64::from(there) * 512, &[0x6B; 512]).unwrap();
}

#[test]
fn the_geometry_is_that_which_partitions_were_made_for() {
    for (size, heads, per_track) in [
        (512 << 20, 255, 63),
        (512 << 20, 64, 32),
        (512 << 20, 16, 63),
        (4 << 30, 255, 63),
        (4 << 30, 64, 32),
    ] {
        let medium = MemoryDisk::new(size);
        partition(&medium, heads, per_track);
        // Of no consequence for the next.
        let mut mock = posted(vec![(0, Unit::Disk(medium)), (1, Unit::Disk(MemoryDisk::new(size)))]);
        let r = call(&mut mock, 0x0800, 0, 0x80, 0);
        assert_eq!((r.edx >> 8, r.ecx & 0x3F), (u32::from(heads) - 1, per_track.into()));
        let cylinders = (size / 512 / (u64::from(heads) * u64::from(per_track))).min(1024) as u32;
        assert_eq!((r.ecx >> 8 & 0xFF) | (r.ecx << 2 & 0x300), cylinders - 1);
        // Cylinder 1, head 2, sector 5.
        let r = mock.int(0x13, Regs { eax: 0x0201, ecx: 0x0105, edx: 0x0280, es: 0x1000, ..Regs::default() });
        assert_eq!((r.ax(), mock.memory[0x1_0000], mock.memory[0x1_01FF]), (1, 0x6B, 0x6B));
        let other = call(&mut mock, 0x0800, 0, 0x81, 0);
        assert_eq!(other.edx >> 8, if size > 1 << 30 { 254 } else { 63 });
    }
}

#[test]
fn a_disk_whose_partitions_cannot_be_read_is_there_all_the_same() {
    for kind in [FaultKind::MediumError, FaultKind::Hang] {
        let (unit, medium) = faulty(kind, 1, 1);
        partition(&medium, 255, 63);
        let mut adapter = Scsi::new(SLOT, vec![(0, unit)]);
        adapter.media[0] = Some(Box::new(medium));
        let mut mock = with_adapters(vec![adapter], |_| {});
        assert_eq!(call(&mut mock, 0x0800, 0, 0x80, 0).edx, 0x3F01, "{kind:?}");
        assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 5).ah(), 0);
    }
}

#[test]
fn sectors_by_cylinder_head_and_sector() {
    let mut mock = posted(vec![(2, Unit::Disk(disk(64 << 20, 7)))]);
    // Cylinder 0, head 3, sector 5: 3 * 32 + 4; 128 sectors are more than one command moves.
    let r = mock.int(0x13, Regs { eax: 0x0280, ecx: 5, edx: 0x0380, es: 0x1000, ..Regs::default() });
    assert_eq!((r.carry(), r.ax()), (false, 0x0080));
    for i in 0..128 {
        assert_eq!(sector(&mock, 0x1_0000 + 512 * i), (100 + i as u64, 7));
    }
    mock.memory[0x1_0000..0x1_0600].fill(0xC3);
    let r = mock.int(0x13, Regs { eax: 0x0303, ecx: 1, edx: 0x0080, es: 0x1000, ..Regs::default() });
    assert_eq!((r.carry(), r.ax()), (false, 3));
    assert_eq!(on_medium(&mock, 2, 2), [0xC3; 512]);
    assert_eq!(on_medium(&mock, 2, 3)[..2], [3, 0]);
    assert_eq!(call(&mut mock, 0x0404, 1, 0x0080, 0).ax(), 4, "verify");
    assert_eq!(call(&mut mock, 0x0201, 33, 0x0080, 0).ah(), 4, "no such sector");
}

#[test]
fn extended_functions() {
    let mut mock = posted(vec![(4, Unit::Disk(disk(2 << 30, 9)))]);
    let r = mock.int(0x13, Regs { eax: 0x4100, ebx: 0x55AA, edx: 0x80, ..Regs::default() });
    assert_eq!((r.carry(), r.ebx, r.ecx, r.ah()), (false, 0xAA55, 5, 0x30));
    assert_eq!(packet(&mut mock, 0x42, 0x80, 127, 400).ah(), 0);
    assert_eq!((sector(&mock, 0x1_0000), sector(&mock, 0x1_0000 + 126 * 512)), ((400, 9), (526, 9)));
    mock.memory[0x1_0000..0x1_0400].fill(0x5D);
    assert_eq!(packet(&mut mock, 0x43, 0x80, 2, (4 << 20) - 2).ah(), 0);
    assert_eq!(on_medium(&mock, 4, (4 << 20) - 1), [0x5D; 512]);
    assert!(packet(&mut mock, 0x42, 0x80, 2, (4 << 20) - 1).carry(), "behind the end");
    assert_eq!(packet(&mut mock, 0x44, 0x80, 100, 0).ah(), 0);
    assert_eq!(packet(&mut mock, 0x47, 0x80, 0, 5).ah(), 0);

    mock.memory[0x700..0x702].copy_from_slice(&[74, 0]);
    mock.int(0x13, Regs { eax: 0x4800, edx: 0x80, esi: 0x700, ..Regs::default() });
    let t = mock.memory[0x700..0x74A].to_vec();
    let double = |at: usize| u32::from_le_bytes(t[at..at + 4].try_into().unwrap());
    assert_eq!((double(4), double(8), double(12)), (261, 255, 63));
    assert_eq!((u64::from_le_bytes(t[16..24].try_into().unwrap()), t[24], t[25]), (4 << 20, 0, 2));
    assert_eq!(t[26..30], [0xFF; 4], "no table of an ATA drive");
    assert_eq!((&t[30..32], &t[36..48]), (&[0xDD, 0xBE][..], &b"PCI SCSI    "[..]));
    assert_eq!((&t[48..52], &t[56..66]), (&[0, SLOT, 0, 0][..], &[4, 0, 0, 0, 0, 0, 0, 0, 0, 0][..]));
    assert_eq!(t[30..74].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
}

#[test]
fn both_ends_of_disks_of_2_tb() {
    // The largest VHD, 2^32 sectors, and more than commands with 32-bit addresses reach.
    for sectors in [2040u64 << 21, 1 << 32, (1 << 32) + 4096] {
        let medium = MemoryDisk::new(sectors * 512);
        let last = sectors.min(1 << 32) - 1;
        write_all(&medium, last * 512, &[0x77; 512]).unwrap();
        let mut mock = posted(vec![(0, Unit::Disk(medium))]);
        mock.memory[0x700..0x702].copy_from_slice(&[26, 0]);
        mock.int(0x13, Regs { eax: 0x4800, edx: 0x80, esi: 0x700, ..Regs::default() });
        assert_eq!(u64::from_le_bytes(mock.memory[0x710..0x718].try_into().unwrap()), sectors);
        assert_eq!(packet(&mut mock, 0x42, 0x80, 1, last).ah(), 0, "{sectors}");
        assert!(mock.memory[0x1_0000..0x1_0200].iter().all(|byte| *byte == 0x77));
        mock.memory[0x1_0000..0x1_0200].fill(0x31);
        assert_eq!(packet(&mut mock, 0x43, 0x80, 1, last).ah(), 0);
        assert_eq!(on_medium(&mock, 0, last), [0x31; 512]);
        assert!(packet(&mut mock, 0x42, 0x80, 1, last + 1).carry());
    }
}

#[test]
fn numbers_follow_the_boot_order() {
    let machine = |order: Vec<BootDevice>| {
        let mut mock =
            with_adapters(vec![Scsi::new(SLOT, vec![(1, Unit::Disk(disk(64 << 20, 2)))])], |mock| {
                mock.firmware.boot_order = order;
                let mut ide = Disk::new(40_320);
                let mut first = ide.sector(0);
                first[510..].copy_from_slice(&[0x55, 0xAA]);
                ide.write(0, first);
                mock.ide[0] = Ide::with_disk(ide);
            });
        let boot = mock.ax(0x19, 0);
        let heads = call(&mut mock, 0x0800, 0, 0x80, 0).edx >> 8;
        (boot.ip, boot.edx, sector(&mock, 0x7C00).1, heads)
    };
    use BootDevice::{Cd, Floppy, HardDisk, Scsi as ScsiDisk};
    // IDE first: its disk has 16 heads, SCSI disks of this size 64.
    assert_eq!(machine(vec![Cd, Floppy, HardDisk]), (0x7C00, 0x80, 0, 15));
    assert_eq!(machine(vec![HardDisk, ScsiDisk]), (0x7C00, 0x80, 0, 15));
    assert_eq!(machine(vec![ScsiDisk, HardDisk]), (0x7C00, 0x80, 2, 63));
    assert_eq!(machine(vec![Cd, ScsiDisk]), (0x7C00, 0x80, 2, 63));
}

#[test]
fn the_default_order_boots_a_machine_without_ide_disks() {
    let mut mock = posted(vec![(3, Unit::Disk(disk(64 << 20, 6)))]);
    let r = mock.ax(0x19, 0);
    assert_eq!((r.cs, r.ip, r.edx, sector(&mock, 0x7C00).1), (0, 0x7C00, 0x80, 6));
    // It gives up: nothing else is there.
    mock.memory[0x41C] = 0x20;
    assert_eq!(mock.ax(0x18, 0).cs, 0xF000);
}

#[test]
fn an_ide_disk_that_gives_up_is_followed_by_the_scsi_disk() {
    let adapters = vec![Scsi::new(SLOT, vec![(0, Unit::Disk(disk(64 << 20, 6)))])];
    let mut mock = with_adapters(adapters, |mock| {
        mock.firmware.boot_order = vec![BootDevice::HardDisk, BootDevice::Scsi];
        mock.ide[0] = Ide::with_disk(Disk::new(40_320));
    });
    let r = mock.ax(0x19, 0);
    assert_eq!((r.ip, r.edx, sector(&mock, 0x7C00).1), (0x7C00, 0x81, 6));
}

#[test]
fn a_scsi_disk_that_gives_up_is_followed_by_the_ide_disk() {
    let adapters = vec![Scsi::new(SLOT, vec![(0, Unit::Disk(MemoryDisk::new(64 << 20)))])];
    let mut mock = with_adapters(adapters, |mock| {
        mock.firmware.boot_order = vec![BootDevice::Scsi, BootDevice::HardDisk];
        let mut ide = Disk::new(40_320);
        let mut first = ide.sector(0);
        first[100] = 0x1D;
        first[510..].copy_from_slice(&[0x55, 0xAA]);
        ide.write(0, first);
        mock.ide[0] = Ide::with_disk(ide);
    });
    let r = mock.ax(0x19, 0);
    assert_eq!((r.ip, r.edx, sector(&mock, 0x7C00).1), (0x7C00, 0x81, 0x1D));
    // Nothing else is left, and no disk is tried twice.
    mock.memory[0x41C] = 0x20;
    assert_eq!(mock.ax(0x18, 0).cs, 0xF000);
    let screen = screen(&mock);
    let tried: Vec<_> = screen.iter().filter(|row| row.starts_with("Hard disk")).collect();
    assert_eq!(tried, ["Hard disk, SCSI 0 ID 0: not bootable"]);
}

/// A bootable disc: boot record, catalog at 30, image of 8 512-byte units at 40.
fn bootable() -> Vec<u8> {
    let mut d = vec![0u8; 64 * 2048];
    d[17 * 2048..][..7].copy_from_slice(b"\0CD001\x01");
    d[17 * 2048 + 7..][..23].copy_from_slice(b"EL TORITO SPECIFICATION");
    d[17 * 2048 + 0x47] = 30;
    let catalog = &mut d[30 * 2048..][..64];
    catalog[0] = 1;
    catalog[30..32].copy_from_slice(&[0x55, 0xAA]);
    catalog[28..30].copy_from_slice(&0u16.wrapping_sub(0xAA56).to_le_bytes());
    catalog[32] = 0x88;
    catalog[38] = 8;
    catalog[40] = 40;
    d[40 * 2048..42 * 2048].fill(0xB7);
    d
}

#[test]
fn discs_are_read_and_booted_behind_those_of_ide() {
    let second = Scsi::new(14, vec![(0, Unit::Disk(disk(64 << 20, 1))), (6, Unit::Cd(Some(bootable())))]);
    let mut mock = with_adapters(vec![Scsi::new(SLOT, Vec::new()), second], |mock| {
        mock.ide[1] = Ide::with_cd(Atapi::default());
    });
    let r = mock.ax(0x19, 0);
    assert_eq!((r.cs, r.ip, r.edx), (0, 0x7C00, 0xE1));
    assert!(mock.memory[0x7C00..0x8C00].iter().all(|byte| *byte == 0xB7));
    assert!(screen(&mock).iter().any(|row| row == "CD-ROM, Secondary master: no disc in the drive"));
    let r = mock.int(0x13, Regs { eax: 0x4B01, edx: 0xE1, esi: 0x500, ..Regs::default() });
    assert!(!r.carry());
    let p = &mock.memory[0x500..0x513];
    // Adapter 1, target 6.
    assert_eq!((p[0], p[2], p[3], p[4], p[8], p[9]), (0x13, 0xE1, 1, 40, 6, 0));
    // More sectors than one command moves; the last ones; behind the end.
    mock.memory[0x1_0000..0x2_0000].fill(0xEE);
    assert_eq!(packet(&mut mock, 0x42, 0xE1, 32, 16).ah(), 0);
    assert_eq!(mock.memory[0x1_0800..0x1_0807], *b"\0CD001\x01");
    assert_eq!((mock.memory[0x1_0000 + 24 * 2048], mock.memory[0x1_0000 + 26 * 2048]), (0xB7, 0));
    assert_eq!(packet(&mut mock, 0x42, 0xE1, 1, 63).ah(), 0);
    assert_eq!(packet(&mut mock, 0x42, 0xE1, 1, 64).ah(), 4);
    assert_eq!(packet(&mut mock, 0x42, 0xE0, 1, 0).ah(), 0x31);
    mock.memory[0x700..0x702].copy_from_slice(&[74, 0]);
    mock.int(0x13, Regs { eax: 0x4800, edx: 0xE1, esi: 0x700, ..Regs::default() });
    assert_eq!((mock.u16(0x718), mock.memory[0x730..0x733].to_vec()), (2048, vec![0, 14, 0]));
    assert_eq!(mock.memory[0x728..0x730], *b"SCSI    ");
}

#[test]
fn a_medium_that_comes_later_is_found() {
    let mut mock = posted(vec![(2, Unit::Cd(None))]);
    assert_eq!(packet(&mut mock, 0x42, 0xE0, 1, 0).ah(), 0x31);
    let disc = MemoryDisk::from_bytes(&bootable());
    let drive = mock.scsi[0].aic.target_as::<slotone_scsi::CdRom>(2).unwrap();
    drive.insert(disc.info().capacity);
    mock.scsi[0].media[2] = Some(Box::new(disc));
    // Its unit attention is not the caller's affair.
    assert_eq!(packet(&mut mock, 0x42, 0xE0, 1, 40).ah(), 0);
    assert_eq!(mock.memory[0x1_0000], 0xB7);
}

#[test]
fn the_adapters_id_is_its_eeproms() {
    let config = Aic7870Config { id: 6, ..Aic7870Config::default() };
    let units = vec![(0, Unit::Disk(disk(64 << 20, 1))), (7, Unit::Disk(disk(64 << 20, 2)))];
    let mut mock = with_adapters(vec![Scsi::with(SLOT, config, units)], |_| {});
    assert_eq!(mock.memory[0x475], 2, "ID 7 is a target's then");
    assert_eq!(packet(&mut mock, 0x42, 0x81, 1, 5).ah(), 0);
    assert_eq!(sector(&mock, 0x1_0000), (5, 2));
}

#[test]
fn the_chip_is_left_as_after_power_on() {
    let mut mock = posted(vec![(0, Unit::Disk(disk(64 << 20, 1)))]);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 20, 0).ah(), 0);
    let fresh = {
        let mut other = Scsi::new(SLOT, Vec::new());
        other.config_write(0x10, &0xD001u32.to_le_bytes());
        other.config_write(0x04, &[3, 0]);
        other.config_write(0x0D, &[0x40]);
        (0..0x100).map(|register| other.register(register)).collect::<Vec<_>>()
    };
    let left: Vec<u8> = (0..0x100).map(|register| mock.scsi[0].register(register)).collect();
    let differ: Vec<_> =
        (0..0x100).filter(|r| fresh[*r] != left[*r]).map(|r| (r, fresh[r], left[r])).collect();
    // Power-on and CHIPRST differ in nothing that can be read.
    assert!(differ.is_empty(), "{differ:x?}");
    assert_eq!(mock.scsi[0].aic.commands_in_flight(), 0);
}

/// A target with a fault in a disk of 64 MiB.
fn faulty(kind: FaultKind, access: u64, times: u64) -> (Unit, MemoryDisk) {
    let medium = disk(64 << 20, 1);
    let inner = Box::new(slotone_scsi::Disk::new(DiskConfig::new(medium.info())));
    (Unit::Other(Box::new(Faulty::new(inner, vec![Fault { kind, access, times }]))), medium)
}

/// POST's look at the partitions is access 1.
fn with_fault(kind: FaultKind, access: u64, times: u64) -> Mock {
    let (unit, medium) = faulty(kind, access, times);
    let mut adapter = Scsi::new(SLOT, vec![(0, unit), (1, Unit::Disk(disk(64 << 20, 8)))]);
    adapter.media[0] = Some(Box::new(medium));
    with_adapters(vec![adapter], |_| {})
}

#[test]
fn errors_have_their_codes() {
    let mut mock = with_fault(FaultKind::MediumError, 3, u64::MAX);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 4, 0).ah(), 0);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 4, 0).ah(), 0x10);
    assert_eq!(mock.u16(0x602), 0, "nothing was moved");
    assert_eq!(packet(&mut mock, 0x43, 0x80, 4, 0).ah(), 0xCC);
    assert_eq!(call(&mut mock, 0x0100, 0, 0x80, 0).al(), 0xCC);
    assert_eq!(packet(&mut mock, 0x42, 0x81, 4, 0).ah(), 0, "the other disk does not mind");
}

#[test]
fn unit_attentions_are_nobodys_affair_while_they_end() {
    let mut mock = with_fault(FaultKind::Attention, 2, 3);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 4, 8).ah(), 0);
    assert_eq!(sector(&mock, 0x1_0000), (8, 1));
    let mut mock = with_fault(FaultKind::Attention, 2, u64::MAX);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 4, 8).ah(), 0xAA);
}

#[test]
fn a_disk_that_hangs_times_out_and_the_bus_goes_on() {
    let mut mock = with_fault(FaultKind::Hang, 2, 1);
    let before = mock.now;
    assert_eq!(packet(&mut mock, 0x42, 0x80, 4, 0).ah(), 0x20);
    assert!((15_000_000_000..30_000_000_000).contains(&(mock.now - before)), "{}", mock.now - before);
    assert_eq!(packet(&mut mock, 0x42, 0x81, 4, 0).ah(), 0);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 4, 0).ah(), 0, "after the reset it works again");
}

#[test]
fn a_disk_that_is_gone_is_a_time_out() {
    let mut mock = with_fault(FaultKind::Vanish, 3, u64::MAX);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 0).ah(), 0);
    let before = mock.now;
    // The access that it vanishes with still ends.
    packet(&mut mock, 0x42, 0x80, 1, 0);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 0).ah(), 0x80);
    assert!(mock.now - before < 100_000_000);
}

#[test]
fn an_adapter_that_is_gone_is_an_error() {
    let mut mock = posted(vec![(0, Unit::Disk(disk(64 << 20, 1)))]);
    // Its ports are off.
    mock.scsi[0].config_write(0x04, &[0, 0]);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 0).ah(), 0x20);
    mock.scsi.clear();
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 0).ah(), 0x20);
}

#[test]
fn a_disk_without_an_answer_holds_post_up_for_seconds_only() {
    let (unit, _) = faulty(FaultKind::Vanish, 0, u64::MAX);
    let mut adapter = Scsi::new(SLOT, vec![(0, unit), (1, Unit::Disk(disk(64 << 20, 1)))]);
    adapter.dead = true;
    let mock = with_adapters(vec![adapter], |_| {});
    assert_eq!(mock.memory[0x475], 1);
    assert!(mock.now < 5_000_000_000);
}

#[test]
fn a_stopped_disk_is_started() {
    let mut mock = posted(vec![(0, Unit::Disk(disk(64 << 20, 1)))]);
    let aic = &mut mock.scsi[0].aic;
    let target = aic.target_as::<slotone_scsi::Disk>(0).unwrap();
    // The unit attention for this initiator, then STOP, which empties the cache first.
    let stop = slotone_scsi::Command::new(&[0x1B, 0, 0, 0, 0, 0]);
    target.command(&stop);
    if let Reply::Medium(access) = target.command(&stop) {
        target.medium_done(&stop, &access, MediumResult::Done);
    }
    assert!(target.stopped());
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 3).ah(), 0);
    assert!(!mock.scsi[0].aic.target_as::<slotone_scsi::Disk>(0).unwrap().stopped());
}

#[test]
fn a_write_protected_disk_says_so() {
    let mut mock = posted(vec![(0, Unit::Disk(disk(64 << 20, 1).read_only()))]);
    assert_eq!(packet(&mut mock, 0x43, 0x80, 1, 3).ah(), 3);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, 3).ah(), 0);
}

#[test]
fn a_buffer_that_is_not_mapped_writes_nothing() {
    let mut mock = posted(vec![(0, Unit::Disk(disk(64 << 20, 1)))]);
    mock.mapped_end = 0x1_0100;
    mock.memory[0x600..0x610].copy_from_slice(&[16, 0, 2, 0, 0, 0, 0, 0x10, 7, 0, 0, 0, 0, 0, 0, 0]);
    let r = mock.int(0x13, Regs { eax: 0x4300, edx: 0x80, esi: 0x600, ..Regs::default() });
    assert_eq!(r.ah(), 1);
    assert_eq!(on_medium(&mock, 0, 7)[..2], [7, 0]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Targets may take their time before every byte.
    #[test]
    fn hesitations_change_nothing(seed: u64, lba in 0u64..400, count in 1u16..127) {
        let units = vec![(0, Unit::Disk(disk(64 << 20, 1))), (1, Unit::Cd(Some(bootable())))];
        let mut mock = with_adapters(vec![Scsi::hesitant(SLOT, seed, units)], |_| {});
        prop_assert_eq!(packet(&mut mock, 0x42, 0x80, count, lba).ah(), 0);
        for i in 0..u64::from(count) {
            prop_assert_eq!(sector(&mock, 0x1_0000 + 512 * i as usize), (lba + i, 1));
        }
        for (i, byte) in mock.memory[0x1_0000..0x2_0000].iter_mut().enumerate() {
            *byte = (i as u64 ^ seed) as u8;
        }
        prop_assert_eq!(packet(&mut mock, 0x43, 0x80, count, 1000).ah(), 0);
        for i in 0..u64::from(count) {
            let at = 0x1_0000 + 512 * i as usize;
            prop_assert_eq!(&on_medium(&mock, 0, 1000 + i)[..], &mock.memory[at..at + 512]);
        }
        prop_assert_eq!(mock.ax(0x19, 0).edx, 0xE0);
    }
}
