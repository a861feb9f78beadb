//! Which parts of a disk its own file systems do not use.
//!
//! Only what is beyond doubt: a volume that was not shut down cleanly, whose two FATs differ, or whose structures do not add up
//! counts as in use to its last sector. The disk's content is hostile input: nothing here is allocated by its numbers.

mod fat;
mod ntfs;

use std::ops::Range;

use slotone_block::{BlockBackend, read_exact};

/// Ranges that are kept at most; what is beyond is taken as in use.
const MAX_RANGES: usize = 1 << 20;
const MAX_PARTITIONS: usize = 128;

/// The free ranges of a disk, sorted, in bytes: clusters that FAT12, FAT16, FAT32 and NTFS volumes in its partitions (MBR with logical
/// drives, GPT, or the whole disk) do not use. Reading errors make the list shorter.
pub fn free_ranges(disk: &dyn BlockBackend) -> Vec<Range<u64>> {
    let mut free = Free::default();
    for volume in volumes(disk) {
        let v = Volume { disk, range: volume };
        // `None`: not such a file system, or one that cannot be trusted.
        if let Some(found) = fat::free(&v).or_else(|| ntfs::free(&v)) {
            free.ranges.extend(found.ranges);
        }
    }
    free.ranges.sort_by_key(|r| r.start);
    // Partitions that overlap prove nothing.
    if free.ranges.windows(2).any(|w| w[0].end > w[1].start) { Vec::new() } else { free.ranges }
}

/// Collects neighbouring clusters.
#[derive(Default)]
struct Free {
    ranges: Vec<Range<u64>>,
}

impl Free {
    fn add(&mut self, start: u64, len: u64) {
        if let Some(last) = self.ranges.last_mut().filter(|r| r.end == start) {
            last.end += len;
        } else if self.ranges.len() < MAX_RANGES {
            self.ranges.push(start..start + len);
        }
    }
}

/// A part of the disk that may hold a file system.
struct Volume<'a> {
    disk: &'a dyn BlockBackend,
    range: Range<u64>,
}

impl Volume<'_> {
    fn len(&self) -> u64 {
        self.range.end - self.range.start
    }

    /// Whole sectors from `at` on.
    fn read(&self, at: u64, buf: &mut [u8]) -> Option<()> {
        if at.checked_add(buf.len() as u64)? > self.len() {
            return None;
        }
        read_exact(self.disk, self.range.start + at, buf).ok()
    }
}

fn u16_at(b: &[u8], at: usize) -> u64 {
    u64::from(u16::from_le_bytes([b[at], b[at + 1]]))
}

fn u32_at(b: &[u8], at: usize) -> u64 {
    u64::from(u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]))
}

fn u64_at(b: &[u8], at: usize) -> u64 {
    u32_at(b, at) | u32_at(b, at + 4) << 32
}

fn volumes(disk: &dyn BlockBackend) -> Vec<Range<u64>> {
    let size = disk.info().capacity;
    let mut boot = [0u8; 512];
    if read_exact(disk, 0, &mut boot).is_err() || boot[510..] != [0x55, 0xAA] {
        return Vec::new();
    }
    let whole = Volume { disk, range: 0..size };
    if fat::looks_like(&boot) || ntfs::looks_like(&boot) {
        return vec![whole.range];
    }
    let mut out = Vec::new();
    let mut add = |lba: u64, sectors: u64| {
        let (start, len) = (lba.saturating_mul(512), sectors.saturating_mul(512));
        if start > 0
            && len > 0
            && start.checked_add(len).is_some_and(|end| end <= size)
            && out.len() < MAX_PARTITIONS
        {
            out.push(start..start + len);
        }
    };
    for entry in boot[446..510].chunks_exact(16) {
        match entry[4] {
            0 => {}
            0xEE => gpt(disk, &mut add),
            0x05 | 0x0F | 0x85 => logical(disk, u32_at(entry, 8), &mut add),
            _ => add(u32_at(entry, 8), u32_at(entry, 12)),
        }
    }
    out
}

/// The chain of logical drives in an extended partition.
fn logical(disk: &dyn BlockBackend, first: u64, add: &mut dyn FnMut(u64, u64)) {
    let mut at = first;
    for _ in 0..MAX_PARTITIONS {
        let mut b = [0u8; 512];
        if read_exact(disk, at * 512, &mut b).is_err() || b[510..] != [0x55, 0xAA] {
            return;
        }
        if b[450] != 0 {
            add(at + u32_at(&b, 454), u32_at(&b, 458));
        }
        let next = u32_at(&b, 470);
        if b[466] == 0 || next == 0 {
            return;
        }
        at = first + next;
    }
}

fn gpt(disk: &dyn BlockBackend, add: &mut dyn FnMut(u64, u64)) {
    let mut h = [0u8; 512];
    if read_exact(disk, 512, &mut h).is_err() || &h[..8] != b"EFI PART" {
        return;
    }
    let (table, count, size) = (u64_at(&h, 72), u32_at(&h, 80).min(128), u32_at(&h, 84));
    if size != 128 {
        return;
    }
    let mut b = vec![0u8; (count * size).next_multiple_of(512) as usize];
    let Some(at) = table.checked_mul(512) else { return };
    if read_exact(disk, at, &mut b).is_err() {
        return;
    }
    for e in b.chunks_exact(128).take(count as usize) {
        let (first, last) = (u64_at(e, 32), u64_at(e, 40));
        if e[..16] != [0; 16] && last >= first {
            add(first, (last - first).saturating_add(1));
        }
    }
}
