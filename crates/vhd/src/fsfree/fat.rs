//! FAT12, FAT16 and FAT32.

use super::{Free, Volume, u16_at, u32_at};

struct Bpb {
    sector: u64,
    cluster: u64,
    /// Byte offset of the first FAT.
    fat: u64,
    fat_len: u64,
    fats: u64,
    /// Byte offset of cluster 2.
    data: u64,
    clusters: u64,
    bits: u64,
    media: u8,
    /// FAT32: only this one is kept up to date.
    active: Option<u64>,
}

pub(super) fn looks_like(b: &[u8; 512]) -> bool {
    parse(b).is_some()
}

fn parse(b: &[u8; 512]) -> Option<Bpb> {
    let sector = u16_at(b, 11);
    let per_cluster = u64::from(b[13]);
    let reserved = u16_at(b, 14);
    let fats = u64::from(b[16]);
    let roots = u16_at(b, 17);
    let jump = b[0] == 0xEB || b[0] == 0xE9;
    if !jump
        || ![512, 1024, 2048, 4096].contains(&sector)
        || !per_cluster.is_power_of_two()
        || reserved == 0
        || !(1..=2).contains(&fats)
        || b[510..] != [0x55, 0xAA]
        || b[3..11] == *b"NTFS    "
    {
        return None;
    }
    let total = if u16_at(b, 19) != 0 { u16_at(b, 19) } else { u32_at(b, 32) };
    let small = u16_at(b, 22);
    let fat_sectors = if small != 0 { small } else { u32_at(b, 36) };
    let root_sectors = (roots * 32).div_ceil(sector);
    let meta = reserved + fats * fat_sectors + root_sectors;
    let clusters = total.checked_sub(meta)? / per_cluster;
    let bits = match clusters {
        0 => return None,
        1..4085 => 12,
        4085..65525 => 16,
        _ => 32,
    };
    let needed = ((clusters + 2) * bits).div_ceil(8);
    // A FAT32 volume has no 16-bit size and no fixed root; the others have both.
    if (bits == 32) != (small == 0 && roots == 0) || fat_sectors * sector < needed {
        return None;
    }
    let flags = u16_at(b, 40);
    Some(Bpb {
        sector,
        cluster: per_cluster * sector,
        fat: reserved * sector,
        fat_len: fat_sectors * sector,
        fats,
        data: meta * sector,
        clusters,
        bits,
        media: b[21],
        active: (bits == 32 && flags & 0x80 != 0).then_some(flags & 0xF),
    })
}

/// The volume's free clusters; `None` if it is not a FAT volume or cannot be trusted.
pub(super) fn free(v: &Volume<'_>) -> Option<Free> {
    let mut boot = [0u8; 512];
    v.read(0, &mut boot)?;
    let bpb = parse(&boot)?;
    if bpb.data + bpb.clusters * bpb.cluster > v.len() || !bpb.sector.is_multiple_of(512) {
        return None;
    }
    let (first, second) = match bpb.active {
        Some(n) if n < bpb.fats => (bpb.fat + n * bpb.fat_len, None),
        Some(_) => return None,
        None => (bpb.fat, (bpb.fats == 2).then_some(bpb.fat + bpb.fat_len)),
    };
    let mut out = Free::default();
    // Three sectors hold a whole number of 12-bit entries.
    let piece = 3 * 16384u64;
    let per_piece = piece * 8 / bpb.bits;
    let used = ((bpb.clusters + 2) * bpb.bits).div_ceil(8).next_multiple_of(512).min(bpb.fat_len);
    let (mut a, mut b) = (vec![0u8; piece as usize], vec![0u8; piece as usize]);
    let mut at = 0;
    while at < used {
        let n = (used - at).min(piece) as usize;
        a.fill(0xFF);
        v.read(first + at, &mut a[..n])?;
        if let Some(second) = second {
            b.fill(0xFF);
            v.read(second + at, &mut b[..n])?;
            if a != b {
                return None;
            }
        }
        if at == 0 && !clean(&a, &bpb) {
            return None;
        }
        let base = at / piece * per_piece;
        for i in 0..per_piece {
            let cluster = base + i;
            if cluster >= bpb.clusters + 2 {
                break;
            }
            if cluster >= 2 && entry(&a, i, bpb.bits) == 0 {
                out.add(v.range.start + bpb.data + (cluster - 2) * bpb.cluster, bpb.cluster);
            }
        }
        at += piece;
    }
    Some(out)
}

fn entry(fat: &[u8], i: u64, bits: u64) -> u64 {
    match bits {
        12 => {
            let at = (i * 3 / 2) as usize;
            let pair = u64::from(fat[at]) | u64::from(fat.get(at + 1).copied().unwrap_or(0xFF)) << 8;
            if i.is_multiple_of(2) { pair & 0xFFF } else { pair >> 4 }
        }
        16 => u16_at(fat, (i * 2) as usize),
        _ => u32_at(fat, (i * 4) as usize) & 0x0FFF_FFFF,
    }
}

/// Entry 0 repeats the media byte; entry 1 has the flags "shut down cleanly" and "no disk errors".
fn clean(fat: &[u8], bpb: &Bpb) -> bool {
    let flags = entry(fat, 1, bpb.bits);
    fat[0] == bpb.media
        && match bpb.bits {
            12 => true,
            16 => flags & 0xC000 == 0xC000,
            _ => flags & 0x0C00_0000 == 0x0C00_0000,
        }
}
