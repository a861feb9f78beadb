//! Less room for the same content.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::convert::zero_runs;
use crate::dynamic::{Run, footer_start, region_start, zero_file};
use crate::error::{ErrorKind, Result};
use crate::format::{FOOTER_LEN, SECTOR, UNALLOCATED};
use crate::image::Image;
use crate::layout::Layout;
use crate::progress::{Progress, tell};
use crate::storage::Storage;
use crate::vhd::{OpenOptions, Vhd};

/// How to compact.
#[derive(Debug, Clone, Copy, Default)]
pub struct CompactOptions {
    /// Also drop what the disk's own file systems (FAT12/16/32, NTFS) do not use. Only for disks without parent.
    pub free_space: bool,
}

/// What compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compacted {
    /// Blocks that were dropped.
    pub dropped: u32,
    /// Blocks that were moved towards the beginning.
    pub moved: u32,
    /// Bytes of the file before.
    pub before: u64,
    /// Bytes of the file now.
    pub after: u64,
}

/// Holes smaller than this are left as zeros.
const HOLE: usize = 64 << 10;

/// Drops blocks that read the same without them (all zero, or equal to the parent's), moves the last blocks into the gaps, and cuts
/// the file. In place; at every moment a valid image of the same content, so it can be interrupted and run again.
///
/// # Errors
/// The disk is fixed, read-only or belongs to a saved machine, or the host's I/O failed, or `progress` stopped it.
pub fn compact(
    mut disk: Vhd,
    options: CompactOptions,
    progress: &mut Progress<'_>,
) -> Result<(Vhd, Compacted)> {
    let leaf = &disk.images()[0];
    if disk.is_read_only() {
        return Err(leaf.error(ErrorKind::ReadOnly));
    }
    if leaf.footer.saved_state() {
        return Err(leaf.error(ErrorKind::SavedState));
    }
    if leaf.dynamic().is_none() {
        let text = "a fixed disk cannot be compacted: convert it to a dynamic one";
        return Err(leaf.error(ErrorKind::Unsupported(text.into())));
    }
    let mut report =
        Compacted { before: leaf.storage.len().map_err(|e| leaf.error(e))?, ..Compacted::default() };
    let free = if options.free_space && disk.images().len() == 1 {
        crate::fsfree::free_ranges(&disk)
    } else {
        Vec::new()
    };
    report.dropped = drop_blocks(&disk, &free, progress).map_err(|e| leaf.error(e))?;
    leaf.changed();
    disk.flush_and_trim()?;
    let leaf = &disk.images()[0];
    report.moved = pack(leaf, progress).map_err(|e| leaf.error(e))?;
    let (storage, path) = (leaf.storage.clone(), leaf.path.clone());
    report.after = storage.len().map_err(|e| leaf.error(e))?;
    let fresh = Image::load(storage, &path, OpenOptions::new().load(true))?;
    disk.replace_leaf(fresh);
    Ok((disk, report))
}

/// Looks at each block in the file.
fn drop_blocks(
    disk: &Vhd,
    free: &[Range<u64>],
    progress: &mut Progress<'_>,
) -> std::result::Result<u32, ErrorKind> {
    let leaf = &disk.images()[0];
    let Some(dynamic) = leaf.dynamic() else { return Ok(0) };
    let block_size = dynamic.block_size();
    let root = dynamic.is_root();
    let (mut here, mut below) = (vec![0u8; HOLE], vec![0u8; HOLE]);
    let mut dropped = 0;
    let blocks: Vec<u32> = {
        let meta = dynamic.meta();
        (0..dynamic.layout.blocks).filter(|b| meta.bat[*b as usize] != UNALLOCATED).collect()
    };
    let count = blocks.len() as u64;
    for (done, block) in blocks.into_iter().enumerate() {
        tell(progress, done as u64 * block_size, count * block_size)?;
        let start = u64::from(block) * block_size;
        let end = (start + block_size).min(leaf.size);
        let mut runs = Vec::new();
        dynamic.runs(&*leaf.storage, start, end - start, &mut |run, at, n| {
            if let Run::Here(file_at) = run {
                runs.push((file_at, at, n));
            }
            Ok(())
        })?;
        let mut needed = false;
        // Parts that hold nothing: they become holes if the block stays.
        let mut holes: Vec<(u64, u64)> = Vec::new();
        for (file_at, at, n) in runs {
            let mut i = 0;
            while i < n {
                let len = (n - i).min(HOLE as u64) as usize;
                leaf.storage.read_at(file_at + i, &mut here[..len])?;
                let mut useful = false;
                if root {
                    zero_runs(
                        &here[..len],
                        SECTOR as usize,
                        |o, bytes, zero| -> std::result::Result<(), ErrorKind> {
                            useful |= !zero && !covered(free, at + i + o as u64, bytes.len() as u64);
                            Ok(())
                        },
                    )?;
                    if !useful {
                        holes.push((file_at + i, len as u64));
                    }
                } else {
                    disk.read_from(
                        1,
                        at + i,
                        0,
                        len as u64,
                        &mut [std::io::IoSliceMut::new(&mut below[..len])],
                    )?;
                    useful = here[..len] != below[..len];
                }
                needed |= useful;
                i += len as u64;
            }
        }
        if needed {
            for (at, len) in holes {
                if len >= HOLE as u64 {
                    zero_file(&*leaf.storage, at, len)?;
                }
            }
        } else {
            dynamic.drop_block(block);
            dropped += 1;
        }
    }
    Ok(dropped)
}

/// The range lies in the sorted `ranges`.
fn covered(ranges: &[Range<u64>], at: u64, len: u64) -> bool {
    let i = ranges.partition_point(|r| r.end <= at);
    ranges.get(i).is_some_and(|r| r.start <= at && at + len <= r.end)
}

/// Moves blocks from the end into gaps. A block is copied, the copy synced, and only then the table points at it; the old place
/// is not touched before that is durable.
fn pack(leaf: &Image, progress: &mut Progress<'_>) -> std::result::Result<u32, ErrorKind> {
    let Some(dynamic) = leaf.dynamic() else { return Ok(0) };
    let storage = &*leaf.storage;
    let layout = &dynamic.layout;
    let aligned = dynamic.aligned();
    let mut bat = layout.read_table(storage)?;
    let blocks = layout.blocks as usize;
    let mut by_place: BTreeMap<u64, u32> = BTreeMap::new();
    for (block, sector) in bat[..blocks].iter().enumerate().filter(|(_, s)| **s != UNALLOCATED) {
        by_place.insert(u64::from(*sector) * SECTOR, block as u32);
    }
    let region = layout.region();
    let mut moved = 0;
    loop {
        tell(progress, u64::from(moved), by_place.len() as u64)?;
        let batch = plan(layout, &by_place, region, aligned);
        if batch.is_empty() {
            break;
        }
        for (from, to) in &batch {
            copy_region(storage, *from, *to, region)?;
        }
        storage.sync()?;
        let mut sectors: Vec<usize> = Vec::new();
        for (from, to) in &batch {
            let Some(block) = by_place.remove(from) else { continue };
            by_place.insert(*to, block);
            bat[block as usize] = (to / SECTOR) as u32;
            sectors.push(block as usize / 128);
        }
        sectors.sort_unstable();
        sectors.dedup();
        for s in sectors {
            let bytes: Vec<u8> = bat[s * 128..(s + 1) * 128].iter().flat_map(|e| e.to_be_bytes()).collect();
            storage.write_at(layout.header.table_offset() + s as u64 * SECTOR, &bytes)?;
        }
        storage.sync()?;
        moved += batch.len() as u32;
    }
    let at = footer_start(layout.end(&bat), aligned);
    if at + (FOOTER_LEN as u64) < storage.len()? {
        storage.write_at(at, &leaf.footer.to_bytes())?;
        storage.sync()?;
        storage.set_len(at + FOOTER_LEN as u64)?;
        storage.sync()?;
    }
    Ok(moved)
}

/// Up to 64 moves of the last regions into gaps before them. No target is where a region of the same batch came from.
fn plan(layout: &Layout, by_place: &BTreeMap<u64, u32>, region: u64, aligned: bool) -> Vec<(u64, u64)> {
    let mut taken: Vec<Range<u64>> = layout.metadata.clone();
    taken.extend(by_place.keys().map(|s| *s..s + region));
    taken.sort_by_key(|r| r.start);
    let mut last = by_place.keys().rev();
    let mut out = Vec::new();
    let mut at = 0;
    for used in taken {
        while out.len() < 64 {
            let to = region_start(at, layout.bitmap_len, aligned);
            if to + region > used.start {
                break;
            }
            match last.next() {
                Some(from) if *from >= to + region => out.push((*from, to)),
                _ => return out,
            }
            at = to + region;
        }
        at = at.max(used.end);
    }
    out
}

fn copy_region(storage: &dyn Storage, from: u64, to: u64, len: u64) -> std::result::Result<(), ErrorKind> {
    let mut buf = vec![0u8; len.min(1 << 20) as usize];
    let mut done = 0;
    // Zeros under clear bits stay zeros, and holes holes.
    zero_file(storage, to, len)?;
    while done < len {
        let n = (len - done).min(buf.len() as u64) as usize;
        storage.read_at(from + done, &mut buf[..n])?;
        zero_runs(&buf[..n], 4096, |o, bytes, zero| {
            if zero { Ok(()) } else { storage.write_at(to + done + o as u64, bytes) }
        })?;
        done += n as u64;
    }
    Ok(())
}
