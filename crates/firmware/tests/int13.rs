//! Int 13h on IDE drives with delays, and booting from them.

mod common;

use common::{Atapi, Disk, Ide, Mock, Regs};
use slotone_firmware::BootDevice;

const SECTORS: usize = 1200 * 16 * 63;

fn disk() -> Disk {
    Disk::new(SECTORS)
}

/// A disk with a boot sector.
fn boot_disk() -> Disk {
    let mut disk = disk();
    let mut sector = disk.sector(0);
    sector[510..].copy_from_slice(&[0x55, 0xAA]);
    disk.write(0, sector);
    disk
}

fn with_disk(disk: Disk) -> Mock {
    let mut mock = Mock::new();
    mock.ide[0] = Ide::with_disk(disk);
    mock.post();
    mock
}

fn disc(mock: &mut Mock, data: Option<Vec<u8>>) {
    mock.ide[1] = Ide::with_cd(Atapi { disc: data, attentions: 2 });
}

fn call(mock: &mut Mock, ax: u16, cx: u16, dx: u16, bx: u16) -> Regs {
    mock.int(0x13, Regs { eax: ax.into(), ebx: bx.into(), ecx: cx.into(), edx: dx.into(), ..Regs::default() })
}

/// A disk address packet at 0:600 and a call with it.
fn packet(mock: &mut Mock, ah: u8, drive: u8, count: u16, lba: u64) -> Regs {
    let mut p = vec![16, 0];
    p.extend(count.to_le_bytes());
    p.extend([0x00, 0x00, 0x00, 0x10]); // 1000:0000
    p.extend(lba.to_le_bytes());
    mock.memory[0x600..0x610].copy_from_slice(&p);
    mock.int(0x13, Regs { eax: u32::from(ah) << 8, edx: drive.into(), esi: 0x600, ..Regs::default() })
}

fn marker(mock: &Mock, at: usize) -> u64 {
    u64::from_le_bytes(mock.memory[at..at + 8].try_into().unwrap())
}

#[test]
fn geometry_and_type() {
    let mut mock = with_disk(disk());
    // 1200 cylinders of 16 heads: assisted, 32 heads.
    let r = call(&mut mock, 0x0800, 0, 0x80, 0);
    assert_eq!((r.carry(), r.ah(), r.ecx, r.edx), (false, 0, 0x5700 | 0x80 | 63, 0x1F01));
    let r = call(&mut mock, 0x1500, 0, 0x80, 0);
    assert_eq!((r.ah(), r.ecx << 16 | r.edx & 0xFFFF), (3, SECTORS as u32));
    let r = call(&mut mock, 0x0800, 0, 0x81, 0);
    assert_eq!((r.carry(), r.ah()), (true, 1));
    assert_eq!(call(&mut mock, 0x0100, 0, 0x80, 0).al(), 1, "the last status");
}

#[test]
fn sectors_by_cylinder_head_and_sector() {
    let mut mock = with_disk(disk());
    let waits = mock.waits;
    // Cylinder 300, head 5, sector 7; 40 sectors are several DRQ blocks.
    let r = call(&mut mock, 0x0228, 300 << 8 & 0xFF00 | 0x40 | 7, 0x0580, 0x8000);
    assert_eq!((r.carry(), r.ax()), (false, 0x0028));
    let first = (300 * 32 + 5) * 63 + 6;
    assert_eq!((marker(&mock, 0x8000), marker(&mock, 0x8000 + 39 * 512)), (first, first + 39));
    assert!(mock.waits > waits, "the drive took its time");
    mock.memory[0x8000..0x8200].fill(0x5A);
    let r = call(&mut mock, 0x0311, 1, 0x0080, 0x8000);
    assert_eq!((r.carry(), r.al()), (false, 17));
    let disk = mock.ide[0].disk.as_ref().unwrap();
    assert!(disk.sector(0).iter().all(|byte| *byte == 0x5A));
    assert_eq!(disk.sector(1)[..8], (first + 1).to_le_bytes());
    assert_eq!(call(&mut mock, 0x0401, 1, 0x0080, 0).ax(), 0x0001, "verify");
}

#[test]
fn bad_requests_are_refused() {
    let mut mock = with_disk(disk());
    for (ax, cx, dx, status) in [
        (0x0200, 1, 0x80, 1),
        (0x0281, 1, 0x80, 1),
        (0x0201, 0, 0x80, 4),
        (0x0201, 1, 0x2080, 4),
        (0x0201, 0xFFFF, 0x80, 4),
        (0x0A01, 1, 0x80, 1),
        (0xFF00, 1, 0x80, 1),
    ] {
        let r = call(&mut mock, ax, cx, dx, 0x8000);
        assert_eq!((r.carry(), r.ah()), (true, status), "AX={ax:04x} CX={cx:04x} DX={dx:04x}");
    }
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, SECTORS as u64).ah(), 1);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 1, u64::MAX).ah(), 1);
    assert_eq!(packet(&mut mock, 0x42, 0x80, 200, 0).ah(), 1);
    assert_eq!(mock.u16(0x602), 0, "nothing was moved");
    assert_eq!(call(&mut mock, 0x0201, 1, 0x0000, 0x8000).ah(), 0x80, "no diskette drive");
}

#[test]
fn media_errors_stop_where_they_are() {
    let mut disk = disk();
    disk.bad = vec![70];
    disk.no_multiple = true;
    let mut mock = with_disk(disk);
    let r = call(&mut mock, 0x0204, 8, 0x0180, 0x8000);
    assert_eq!((r.carry(), r.ah(), r.al()), (true, 0x10, 0));
    let r = packet(&mut mock, 0x42, 0x80, 4, 71);
    assert_eq!((r.carry(), marker(&mock, 0x1_0000)), (false, 71));
}

#[test]
fn extensions() {
    let mut mock = with_disk(disk());
    let r = call(&mut mock, 0x4100, 0, 0x80, 0x55AA);
    assert_eq!((r.carry(), r.ah(), r.ebx, r.ecx), (false, 0x30, 0xAA55, 5));
    assert_eq!(packet(&mut mock, 0x42, 0x80, 127, 1_000_000).ah(), 0);
    assert_eq!((marker(&mock, 0x1_0000), marker(&mock, 0x1_0000 + 126 * 512)), (1_000_000, 1_000_126));
    mock.memory[0x1_0000..0x1_0200].fill(0xA5);
    assert_eq!(packet(&mut mock, 0x43, 0x80, 1, 5).ah(), 0);
    assert_eq!(mock.ide[0].disk.as_ref().unwrap().sector(5), [0xA5; 512]);
    assert_eq!(packet(&mut mock, 0x44, 0x80, 1, 5).ah(), 0);
    assert_eq!(packet(&mut mock, 0x47, 0x80, 1, 5).ah(), 0);

    mock.memory[0x700] = 74;
    let r = mock.int(0x13, Regs { eax: 0x4800, edx: 0x80, esi: 0x700, ..Regs::default() });
    assert!(!r.carry());
    let t = mock.memory[0x700..0x74A].to_vec();
    assert_eq!((t[0], t[2]), (74, 2));
    assert_eq!(u64::from_le_bytes(t[16..24].try_into().unwrap()), SECTORS as u64);
    assert_eq!((t[24], t[25]), (0, 2));
    assert_eq!(
        (&t[36..40], &t[40..48], &t[48..52], t[56]),
        (&b"PCI "[..], &b"ATA     "[..], &[0, 7, 1, 0][..], 0)
    );
    assert_eq!(t[30..74].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    // DPTE: 1F0h, 3F6h, LBA, IRQ 14.
    let dpte = usize::from(u16::from_le_bytes([t[28], t[29]])) * 16
        + usize::from(u16::from_le_bytes([t[26], t[27]]));
    assert_eq!(mock.memory[dpte..dpte + 7], [0xF0, 1, 0xF6, 3, 0xE0, 0, 14]);
    // A smaller buffer gets a shorter table.
    mock.memory[0x700..0x710].copy_from_slice(&[26, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    mock.memory[0x71A] = 0x77;
    mock.int(0x13, Regs { eax: 0x4800, edx: 0x80, esi: 0x700, ..Regs::default() });
    assert_eq!((mock.memory[0x700], mock.memory[0x71A]), (26, 0x77));
}

#[test]
fn multiple_that_was_turned_off_is_no_error() {
    let mut mock = with_disk(disk());
    // A driver has used another setting, and the drive forgot ours.
    mock.ide[0].disk.as_mut().unwrap().forget_multiple();
    assert_eq!(packet(&mut mock, 0x42, 0x80, 40, 9).ah(), 0);
    assert_eq!(marker(&mock, 0x1_0000 + 39 * 512), 48);
}

/// What looks like a refused MULTIPLE command at the end of its data is a write that failed: sent again, it would leave those blocks out.
#[test]
fn a_write_that_fails_is_told() {
    for bad in [100, 117, 139] {
        let mut disk = disk();
        disk.bad = vec![bad];
        let mut mock = with_disk(disk);
        let r = packet(&mut mock, 0x43, 0x80, 40, 100);
        assert_eq!((r.carry(), r.ah()), (true, 0xCC), "block {bad}");
    }
}

#[test]
fn discs_are_read_through_unit_attention() {
    let mut mock = Mock::new();
    let mut data = vec![0; 64 * 2048];
    for (sector, bytes) in data.chunks_mut(2048).enumerate() {
        bytes.fill(sector as u8);
    }
    disc(&mut mock, Some(data));
    mock.post();
    assert_eq!(packet(&mut mock, 0x42, 0xE0, 7, 20).ah(), 0);
    for i in 0..7 {
        assert!(mock.memory[0x1_0000 + i * 2048..][..2048].iter().all(|byte| *byte == 20 + i as u8));
    }
    assert_eq!(packet(&mut mock, 0x42, 0xE0, 1, 64).ah(), 4);
    assert_eq!(packet(&mut mock, 0x43, 0xE0, 1, 0).ah(), 3, "write protected");
    mock.memory[0x700..0x702].copy_from_slice(&[74, 0]);
    mock.int(0x13, Regs { eax: 0x4800, edx: 0xE0, esi: 0x700, ..Regs::default() });
    assert_eq!((mock.u16(0x702), mock.u16(0x718)), (4, 2048));
    assert_eq!(mock.memory[0x728..0x730], *b"ATAPI   ");
}

/// A bootable disc: boot record, catalog at 30, image of `count` 512-byte units at 40.
fn bootable(count: u16) -> Vec<u8> {
    let mut d = vec![0u8; 64 * 2048];
    d[17 * 2048..][..7].copy_from_slice(b"\0CD001\x01");
    d[17 * 2048 + 7..][..23].copy_from_slice(b"EL TORITO SPECIFICATION");
    d[17 * 2048 + 0x47] = 30;
    let catalog = &mut d[30 * 2048..][..64];
    catalog[0] = 1;
    catalog[30..32].copy_from_slice(&[0x55, 0xAA]);
    catalog[28..30].copy_from_slice(&0u16.wrapping_sub(0xAA56).to_le_bytes());
    catalog[32] = 0x88;
    catalog[38..40].copy_from_slice(&count.to_le_bytes());
    catalog[40] = 40;
    d[40 * 2048..42 * 2048].fill(0xB7);
    d
}

#[test]
fn boots_a_disc_without_emulation() {
    let mut mock = Mock::new();
    disc(&mut mock, Some(bootable(8)));
    mock.post();
    let r = mock.ax(0x19, 0);
    assert_eq!((r.cs, r.ip, r.edx, r.flags & 0x200), (0, 0x7C00, 0xE0, 0x200));
    assert!(mock.memory[0x7C00..0x8C00].iter().all(|byte| *byte == 0xB7));
    let r = mock.int(0x13, Regs { eax: 0x4B01, edx: 0xE0, esi: 0x500, ..Regs::default() });
    assert!(!r.carry());
    let p = &mock.memory[0x500..0x513];
    assert_eq!((p[0], p[1], p[2], p[3], p[4], p[12], p[13], p[14]), (0x13, 0, 0xE0, 1, 40, 0xC0, 0x07, 8));
}

#[test]
fn boots_the_next_when_one_gives_up() {
    let mut mock = Mock::new();
    mock.ide[0] = Ide::with_disk(boot_disk());
    disc(&mut mock, None);
    mock.post();
    let r = mock.ax(0x19, 0);
    assert_eq!((r.cs, r.ip, r.edx), (0, 0x7C00, 0x80));
    assert!((0..25).any(|row| mock.row(row) == "CD-ROM, Secondary master: no disc in the drive"));
    // The boot sector gives up in its turn: nothing is left, a key starts over.
    mock.memory[0x41C] = 0x20;
    let r = mock.ax(0x18, 0);
    assert_eq!((r.cs, r.ip), (0xF000, 0xE6F2));
    assert!((0..25).any(|row| mock.row(row).starts_with("No bootable device.")));
}

#[test]
fn the_order_is_the_configuration_s() {
    let mut mock = Mock::new();
    mock.firmware.boot_order = vec![BootDevice::HardDisk, BootDevice::Cd];
    mock.ide[0] = Ide::with_disk(boot_disk());
    disc(&mut mock, Some(bootable(4)));
    mock.post();
    assert_eq!(mock.ax(0x19, 0).edx, 0x80);
    assert_eq!(mock.ax(0x18, 0).edx, 0xE0);
}

#[test]
fn a_dead_drive_times_out() {
    let mut mock = with_disk(disk());
    mock.ide[0].dead = true;
    let before = mock.now;
    let r = call(&mut mock, 0x0201, 1, 0x0080, 0x8000);
    assert_eq!((r.carry(), r.ah()), (true, 0x80));
    assert!(mock.now - before < 30_000_000_000);
}
