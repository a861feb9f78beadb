//! IDENTIFY DEVICE and IDENTIFY PACKET DEVICE data (ATA/ATAPI-5, 8.12 and 8.13).

use crate::drive::{Cd, Disk, Strings};
use crate::unit::UnitState;

/// Largest DRQ block of READ/WRITE MULTIPLE, in sectors: what the original product reports.
pub(crate) const MAX_MULTIPLE: u8 = 128;

/// ASCII, left-justified, padded with spaces, two characters a word with the first in the high byte.
fn text(words: &mut [u16], text: &str) {
    let printable = |b: u8| if (0x20..0x7f).contains(&b) { b } else { b'?' };
    let mut bytes = text.bytes().map(printable).chain(std::iter::repeat(b' '));
    for word in words {
        let [high, low] = std::array::from_fn(|_| bytes.next().unwrap_or(b' '));
        *word = u16::from_be_bytes([high, low]);
    }
}

fn common(identity: &Strings, unit: &UnitState) -> [u16; 256] {
    let mut w = [0u16; 256];
    text(&mut w[10..20], &identity.serial);
    text(&mut w[23..27], &identity.firmware);
    text(&mut w[27..47], &identity.model);
    // Multiword DMA 0-2 and Ultra DMA 0-2, with the chosen mode; PIO 3 and 4; 120 ns cycles.
    let (kind, mode) = (unit.transfer_mode >> 4, unit.transfer_mode & 7);
    w[63] = 0x0007 | if kind == 2 { 0x0100 << mode } else { 0 };
    w[64] = 0x0003;
    w[65..69].fill(120);
    w[80] = 0x003e; // ATA-1 to ATA/ATAPI-5
    w[88] = 0x0007 | if kind == 4 { 0x0100 << mode } else { 0 };
    w
}

fn finish(mut w: [u16; 256]) -> Vec<u8> {
    w[255] = 0x00a5;
    let mut bytes: Vec<u8> = w.iter().flat_map(|word| word.to_le_bytes()).collect();
    // Integrity word: all 512 bytes add up to zero.
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[511] = sum.wrapping_neg();
    bytes
}

pub(crate) fn disk(disk: &Disk, unit: &UnitState, slave: bool) -> Vec<u8> {
    let mut w = common(&disk.identity, unit);
    w[0] = 0x0040; // fixed drive
    w[1] = disk.geometry.cylinders;
    w[3] = u16::from(disk.geometry.heads);
    w[6] = u16::from(disk.geometry.sectors);
    w[20] = 3; // dual-ported buffer with read cache, 64 KiB
    w[21] = 128;
    w[22] = 4;
    w[47] = 0x8000 | u16::from(MAX_MULTIPLE);
    w[48] = 1; // 32-bit PIO
    w[49] = 0x2f00; // standby timer, IORDY, LBA, DMA
    w[50] = 0x4000;
    w[51] = 0x0200;
    w[52] = 0x0200;
    w[53] = 0x0007;
    if let Some(current) = unit.translation(disk.sectors) {
        w[54] = current.cylinders;
        w[55] = u16::from(current.heads);
        w[56] = u16::from(current.sectors);
        let covered = current.total_sectors().min(u64::from(disk.sectors)) as u32;
        w[57] = covered as u16;
        w[58] = (covered >> 16) as u16;
    } else {
        w[53] &= !1;
    }
    if unit.multiple != 0 {
        w[59] = 0x0100 | u16::from(unit.multiple);
    }
    w[60] = disk.sectors as u16;
    w[61] = (disk.sectors >> 16) as u16;
    w[82] = 0x7068; // NOP, READ BUFFER, WRITE BUFFER, look-ahead, write cache, power management
    w[83] = 0x5000; // FLUSH CACHE
    w[84] = 0x4000;
    w[85] = 0x7008 | u16::from(unit.look_ahead) << 6 | u16::from(unit.write_cache) << 5;
    w[86] = 0x1000;
    w[87] = 0x4000;
    // Hardware reset result: 40-wire cable, diagnostics passed, drive number by jumper.
    w[93] = if slave { 0x4300 } else { 0x400b };
    finish(w)
}

pub(crate) fn packet(cd: &Cd, unit: &UnitState) -> Vec<u8> {
    let mut w = common(&cd.identity, unit);
    w[0] = 0x85c0; // ATAPI CD-ROM, removable, DRQ within 50 us, 12-byte packets
    w[49] = 0x0f00; // IORDY, LBA, DMA
    w[50] = 0x4000;
    w[51] = 0x0200;
    w[53] = 0x0006;
    w[82] = 0x4218; // NOP, DEVICE RESET, PACKET, power management
    w[83] = 0x4000;
    w[84] = 0x4000;
    w[85] = 0x4218;
    w[87] = 0x4000;
    finish(w)
}
