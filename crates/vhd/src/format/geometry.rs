use slotone_block::Geometry;

use super::SECTOR;

/// Sectors that the largest geometry covers: 65535 cylinders, 16 heads, 255 sectors.
pub const CHS_MAX_SECTORS: u64 = 65535 * 16 * 255;

/// The geometry that the specification's appendix computes for a disk of `size` bytes. It covers at most that size, usually a little
/// less.
pub fn geometry_for(size: u64) -> Geometry {
    let n = (size / SECTOR).min(CHS_MAX_SECTORS);
    let (sectors, heads, cth);
    if n >= 65535 * 16 * 63 {
        (sectors, heads, cth) = (255, 16, n / 255);
    } else {
        let mut s = 17;
        let mut c = n / s;
        let mut h = c.div_ceil(1024).max(4);
        if c >= h * 1024 || h > 16 {
            (s, h) = (31, 16);
            c = n / s;
        }
        if c >= h * 1024 {
            (s, h) = (63, 16);
            c = n / s;
        }
        (sectors, heads, cth) = (s, h, c);
    }
    // cth is at most CHS_MAX_SECTORS / 255 = 65535 * 16 with 16 heads, below 1024 * heads otherwise: nothing is cut off.
    Geometry { cylinders: (cth / heads) as u16, heads: heads as u8, sectors: sectors as u8 }
}

/// The smallest size of at least `size` bytes that its own geometry covers exactly (what Virtual PC shows a guest); `None` beyond the
/// largest geometry.
pub fn chs_exact_size(size: u64) -> Option<u64> {
    let wanted = size.div_ceil(SECTOR).max(1);
    if wanted > CHS_MAX_SECTORS {
        return None;
    }
    let mut n = wanted;
    // A step of one cylinder at a time; the product is reached within a few steps of the largest cylinder.
    for _ in 0..64 {
        let g = geometry_for(n * SECTOR);
        let covered = g.total_sectors();
        if covered >= wanted && geometry_for(covered * SECTOR).total_sectors() == covered {
            return Some(covered * SECTOR);
        }
        n = (n + u64::from(g.heads) * u64::from(g.sectors)).min(CHS_MAX_SECTORS);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chs(size: u64) -> (u16, u8, u8) {
        let g = geometry_for(size);
        (g.cylinders, g.heads, g.sectors)
    }

    #[test]
    fn known_geometries() {
        // As the samples in tests/samples have them.
        assert_eq!(chs(41_943_040), (963, 5, 17));
        assert_eq!(chs(4_194_304), (120, 4, 17));
        assert_eq!(chs(136_365_211_648), (65278, 16, 255));
        assert_eq!(chs(2040 << 30), (65535, 16, 255));
        assert_eq!(chs(0), (0, 4, 17));
    }

    #[test]
    fn sizes_qemu_rounds_to() {
        assert_eq!(chs_exact_size(1 << 30), Some(1_073_995_776));
        assert_eq!(chs_exact_size(10 << 30), Some(10_737_893_376));
        assert_eq!(chs_exact_size(100 << 30), Some(107_374_632_960));
        assert_eq!(chs_exact_size(127 << 30), Some(136_365_219_840));
        assert_eq!(chs_exact_size(2040 << 30), None);
    }

    #[test]
    fn never_more_than_the_disk() {
        let mut n: u64 = 1;
        while n < CHS_MAX_SECTORS * 2 {
            assert!(geometry_for(n * SECTOR).total_sectors() <= n, "{n}");
            n = n * 9 / 8 + 1;
        }
    }
}
