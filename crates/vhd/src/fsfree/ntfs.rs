//! NTFS: the cluster bitmap is file 6, whether it can be trusted is in files 2 (the log) and 3 (the volume).

use super::{Free, Volume, u16_at, u32_at, u64_at};

/// Runs of a file that are looked at.
const MAX_RUNS: usize = 4096;

struct Ntfs<'a> {
    volume: &'a Volume<'a>,
    cluster: u64,
    record: usize,
    clusters: u64,
}

/// Clusters of a file in order: first cluster on the volume and count.
type Runs = Vec<(u64, u64)>;

pub(super) fn looks_like(b: &[u8; 512]) -> bool {
    b[3..11] == *b"NTFS    "
}

/// The volume's free clusters; `None` if it is not an NTFS volume or cannot be trusted.
pub(super) fn free(v: &Volume<'_>) -> Option<Free> {
    let mut b = [0u8; 512];
    v.read(0, &mut b)?;
    if !looks_like(&b) {
        return None;
    }
    let sector = u16_at(&b, 11);
    let per_cluster = if b[13] > 0x80 { 1u64.checked_shl(256 - u32::from(b[13]))? } else { u64::from(b[13]) };
    let cluster = sector.checked_mul(per_cluster)?;
    let record = match b[64].cast_signed() {
        n @ 1.. => u64::from(n.unsigned_abs()).checked_mul(cluster)?,
        n => 1u64.checked_shl(u32::from(n.unsigned_abs()))?,
    };
    let total = u64_at(&b, 40);
    let ok = [512, 1024, 2048, 4096].contains(&sector)
        && per_cluster.is_power_of_two()
        && cluster <= 2 << 20
        && record.is_power_of_two()
        && (512..=65536).contains(&record)
        && total.checked_mul(sector)? <= v.len();
    if !ok {
        return None;
    }
    let fs = Ntfs { volume: v, cluster, record: record as usize, clusters: total * sector / cluster };
    // Record 0 describes the table that it is the first record of.
    let (start, count) = (u64_at(&b, 48), record.div_ceil(cluster));
    if start.checked_add(count)? > fs.clusters {
        return None;
    }
    let first = fs.fixed(&vec![(start, count)], 0)?;
    let mft = fs.data_runs(&first)?;
    if fs.dirty(&fs.fixed(&mft, 3)?)? || !fs.log_is_clean(&fs.data_runs(&fs.fixed(&mft, 2)?)?)? {
        return None;
    }
    fs.bitmap(&fs.data_runs(&fs.fixed(&mft, 6)?)?)
}

impl Ntfs<'_> {
    /// Reads from a file by its runs.
    fn read(&self, runs: &Runs, at: u64, buf: &mut [u8]) -> Option<()> {
        let mut done = 0;
        let mut base = 0;
        for (start, count) in runs {
            let len = count * self.cluster;
            let want = at + done as u64;
            if done < buf.len() && want >= base && want < base + len {
                let n = ((base + len - want) as usize).min(buf.len() - done);
                self.volume.read(start * self.cluster + (want - base), &mut buf[done..done + n])?;
                done += n;
            }
            base += len;
        }
        (done == buf.len()).then_some(())
    }

    /// Record `n` of the master file table, with its sectors' last words put back.
    fn fixed(&self, mft: &Runs, n: u64) -> Option<Vec<u8>> {
        let mut r = vec![0u8; self.record];
        let at = n * self.record as u64;
        self.read(mft, at, &mut r)?;
        if &r[..4] != b"FILE" || u16_at(&r, 22) & 1 == 0 {
            return None;
        }
        let (array, count) = (u16_at(&r, 4) as usize, u16_at(&r, 6) as usize);
        if count != self.record / 512 + 1 || array + count * 2 > 510 {
            return None;
        }
        for i in 1..count {
            let end = i * 512 - 2;
            if r[end..end + 2] != r[array..array + 2] {
                return None;
            }
            (r[end], r[end + 1]) = (r[array + i * 2], r[array + i * 2 + 1]);
        }
        Some(r)
    }

    /// The unnamed attribute of a type.
    fn attribute<'r>(&self, r: &'r [u8], kind: u64) -> Option<&'r [u8]> {
        let mut at = u16_at(r, 20) as usize;
        while at + 16 <= r.len() {
            let (this, len) = (u32_at(r, at), u32_at(r, at + 4) as usize);
            if this == 0xFFFF_FFFF || len < 24 || len > r.len() - at {
                return None;
            }
            if this == kind && r[at + 9] == 0 {
                return Some(&r[at..at + len]);
            }
            at += len;
        }
        None
    }

    /// Runs of the unnamed data of a record. All of them, or none: an attribute list (0x20) is not followed.
    fn data_runs(&self, r: &[u8]) -> Option<Runs> {
        if self.attribute(r, 0x20).is_some() {
            return None;
        }
        let a = self.attribute(r, 0x80)?;
        if a[8] == 0 || a.len() < 64 || u16_at(a, 12) != 0 {
            return None;
        }
        let mut at = u16_at(a, 32) as usize;
        let mut runs = Runs::new();
        let mut lcn = 0i64;
        loop {
            let head = *a.get(at)?;
            if head == 0 {
                return Some(runs);
            }
            let (len_bytes, lcn_bytes) = (usize::from(head & 0xF), usize::from(head >> 4));
            if !(1..=8).contains(&len_bytes) || !(1..=8).contains(&lcn_bytes) || runs.len() >= MAX_RUNS {
                // Sparse runs have no place here.
                return None;
            }
            let mut count = 0u64;
            for (i, b) in a.get(at + 1..at + 1 + len_bytes)?.iter().enumerate() {
                count |= u64::from(*b) << (8 * i);
            }
            let raw = a.get(at + 1 + len_bytes..at + 1 + len_bytes + lcn_bytes)?;
            let mut delta = if raw[lcn_bytes - 1] & 0x80 != 0 { -1i64 } else { 0 };
            for b in raw.iter().rev() {
                delta = delta << 8 | i64::from(*b);
            }
            lcn = lcn.checked_add(delta)?;
            let start = u64::try_from(lcn).ok()?;
            if start.checked_add(count)? > self.clusters {
                return None;
            }
            runs.push((start, count));
            at += 1 + len_bytes + lcn_bytes;
        }
    }

    fn dirty(&self, volume: &[u8]) -> Option<bool> {
        let info = self.attribute(volume, 0x70)?;
        let value = u16_at(info, 20) as usize;
        let flags = info.get(value + 10..value + 12)?;
        Some(flags[0] & 1 != 0)
    }

    /// The log has nothing that is still to be done: it was never used, or each of its two restart pages says that nobody has it open
    /// or that the volume was shut down cleanly.
    fn log_is_clean(&self, log: &Runs) -> Option<bool> {
        let mut page = [0u8; 4096];
        for at in [0, 4096] {
            self.read(log, at, &mut page)?;
            match &page[..4] {
                [0xFF, 0xFF, 0xFF, 0xFF] => {}
                b"RSTR" => {
                    let area = u16_at(&page, 24) as usize;
                    let a = page.get(area..area + 16)?;
                    if u16_at(a, 12) != 0xFFFF && u16_at(a, 14) & 2 == 0 {
                        return Some(false);
                    }
                }
                _ => return Some(false),
            }
        }
        Some(true)
    }

    fn bitmap(&self, runs: &Runs) -> Option<Free> {
        let mut out = Free::default();
        let mut bits = vec![0u8; 32 << 10];
        let len = self.clusters.div_ceil(8);
        let mut at = 0;
        while at < len {
            let n = (len - at).min(bits.len() as u64);
            self.read(runs, at, &mut bits[..n.next_multiple_of(512) as usize])?;
            for i in 0..n * 8 {
                let cluster = at * 8 + i;
                if cluster >= self.clusters {
                    break;
                }
                if bits[(i / 8) as usize] & (1 << (i % 8)) == 0 {
                    out.add(self.volume.range.start + cluster * self.cluster, self.cluster);
                }
            }
            at += n;
        }
        Some(out)
    }
}
