//! Another size.

use crate::dynamic::{footer_start, zero_file};
use crate::error::{ErrorKind, Result};
use crate::format::{FOOTER_LEN, Footer, SECTOR, UNALLOCATED, check_size};
use crate::image::{Body, Image};
use crate::layout::{Layout, overlaps, table_len};
use crate::storage::Storage;
use crate::vhd::{OpenOptions, Vhd};

/// Gives the disk another size and returns it open again. Larger: the new end reads as zeros. Smaller: only with `allow_cut`, and what
/// is beyond the new end is gone. A disk that has children must not be resized: they would not accept it any more. Whenever it is interrupted, the disk has the old size or the new one, and can be resized again.
///
/// # Errors
/// The disk is read-only or belongs to a saved machine, the size is not one that its kind can have, or the host's I/O failed.
pub fn resize(mut disk: Vhd, size: u64, allow_cut: bool) -> Result<Vhd> {
    let leaf = &disk.images()[0];
    let old = leaf.size;
    if disk.is_read_only() {
        return Err(leaf.error(ErrorKind::ReadOnly));
    }
    if leaf.footer.saved_state() {
        return Err(leaf.error(ErrorKind::SavedState));
    }
    check_size(leaf.kind, size).map_err(|e| leaf.error(e))?;
    if size < old && !allow_cut {
        return Err(leaf.error(ErrorKind::Unsupported(format!(
            "the disk has {old} bytes: making it smaller cuts off its end, which has to be allowed expressly"
        ))));
    }
    if let Some(p) = disk.images().get(1).filter(|p| p.size > size) {
        return Err(leaf.error(ErrorKind::ParentTooLarge { parent: p.path.clone(), size, found: p.size }));
    }
    disk.flush_and_trim()?;
    let leaf = &disk.images()[0];
    let storage = leaf.storage.clone();
    let mut footer = leaf.footer.clone();
    footer.set_size(size);
    let done = match &leaf.body {
        Body::Fixed => resize_fixed(&*storage, &footer, old, size),
        Body::Dynamic(d) => resize_dynamic(&*storage, &footer, &d.layout, d.aligned(), old, size),
    };
    done.map_err(|e| leaf.error(e))?;
    let path = leaf.path.clone();
    let fresh = Image::load(storage, &path, OpenOptions::new().load(true))?;
    disk.replace_leaf(fresh);
    Ok(disk)
}

fn resize_fixed(
    storage: &dyn Storage,
    footer: &Footer,
    old: u64,
    size: u64,
) -> std::result::Result<(), ErrorKind> {
    if size > old {
        storage.set_len(size + FOOTER_LEN as u64)?;
        storage.write_at(size, &footer.to_bytes())?;
        storage.sync()?;
        // The old footer is content now.
        storage.write_at(old, &[0; FOOTER_LEN])?;
    } else {
        storage.write_at(size, &footer.to_bytes())?;
        storage.sync()?;
        storage.set_len(size + FOOTER_LEN as u64)?;
    }
    storage.sync()?;
    Ok(())
}

/// Each step leaves an image of the old or the new size: a header that has more entries than the disk needs is a good one, and only
/// its first sector changes; the trailing footer decides.
fn resize_dynamic(
    storage: &dyn Storage,
    footer: &Footer,
    layout: &Layout,
    aligned: bool,
    old: u64,
    size: u64,
) -> std::result::Result<(), ErrorKind> {
    let block_size = u64::from(layout.header.block_size());
    let blocks = size.div_ceil(block_size) as u32;
    let bat = layout.read_table(storage)?;
    let mut tail_at = storage.len()? - FOOTER_LEN as u64;
    // What lies behind the end of the smaller size in its last block must read as zeros when the disk is larger.
    let edge = old.min(size);
    if !edge.is_multiple_of(block_size) {
        let entry = bat[(edge / block_size) as usize];
        if entry != UNALLOCATED {
            let at = u64::from(entry) * SECTOR + layout.bitmap_len + edge % block_size;
            if size < old {
                // Not before the disk is known to be smaller.
                switch_footers(storage, footer, tail_at)?;
            }
            zero_file(storage, at, block_size - edge % block_size)?;
            storage.sync()?;
        }
    }
    if blocks > layout.header.max_table_entries() {
        tail_at = grow_table(storage, footer, layout, &bat, blocks, aligned, tail_at, old)?;
    } else if blocks > layout.blocks {
        // Entries that were there but not in use may hold anything.
        fill_entries(storage, layout.header.table_offset(), layout.blocks, blocks)?;
        storage.sync()?;
    }
    switch_footers(storage, footer, tail_at)?;
    if blocks < layout.blocks {
        // Behind the end of the disk: nobody looks at these entries now.
        fill_entries(storage, layout.header.table_offset(), blocks, layout.blocks)?;
        storage.sync()?;
        let end = layout.end(&bat[..(blocks as usize).min(bat.len())]);
        let at = footer_start(end, aligned);
        if at < tail_at {
            storage.write_at(at, &footer.to_bytes())?;
            storage.sync()?;
            storage.set_len(at + FOOTER_LEN as u64)?;
            storage.sync()?;
        }
    }
    Ok(())
}

fn switch_footers(
    storage: &dyn Storage,
    footer: &Footer,
    tail_at: u64,
) -> std::result::Result<(), ErrorKind> {
    storage.write_at(tail_at, &footer.to_bytes())?;
    storage.sync()?;
    storage.write_at(0, &footer.to_bytes())?;
    storage.sync()?;
    Ok(())
}

fn fill_entries(storage: &dyn Storage, table: u64, from: u32, to: u32) -> std::result::Result<(), ErrorKind> {
    let bytes = vec![0xFF; ((to - from) as usize * 4).min(1 << 20)];
    let mut at = table + u64::from(from) * 4;
    let end = table + u64::from(to) * 4;
    while at < end {
        let n = (end - at).min(bytes.len() as u64);
        storage.write_at(at, &bytes[..n as usize])?;
        at += n;
    }
    Ok(())
}

/// More entries: in the padding of the table's last sector or the gap behind it, or a new table at the end of the file. Returns where
/// the trailing footer is then.
#[allow(clippy::too_many_arguments, reason = "one caller; a struct would only rename them")]
fn grow_table(
    storage: &dyn Storage,
    footer: &Footer,
    layout: &Layout,
    bat: &[u32],
    blocks: u32,
    aligned: bool,
    tail_at: u64,
    old: u64,
) -> std::result::Result<u64, ErrorKind> {
    let table = layout.header.table_offset();
    let mut header = layout.header.clone();
    let grown = table..table + table_len(blocks);
    let mut blocks_at =
        bat[..layout.blocks as usize].iter().filter(|s| **s != UNALLOCATED).map(|s| u64::from(*s) * SECTOR);
    let free = layout.metadata.iter().all(|m| m.start == table || !overlaps(m, &grown))
        && blocks_at.all(|b| !overlaps(&(b..b + layout.region()), &grown))
        && grown.end <= tail_at;
    let mut end = tail_at;
    if free {
        fill_entries(storage, table, layout.blocks, (table_len(blocks) / 4) as u32)?;
    } else {
        let at = tail_at.next_multiple_of(if aligned { 4096 } else { SECTOR });
        end = footer_start(at + table_len(blocks), aligned);
        storage.set_len(end + FOOTER_LEN as u64)?;
        // Still the disk's old size.
        let mut now = footer.clone();
        now.set_size(old);
        storage.write_at(end, &now.to_bytes())?;
        storage.sync()?;
        fill_entries(storage, at, 0, (table_len(blocks) / 4) as u32)?;
        let bytes: Vec<u8> = bat[..layout.blocks as usize].iter().flat_map(|e| e.to_be_bytes()).collect();
        storage.write_at(at, &bytes)?;
        header.set_table(at, blocks);
    }
    storage.sync()?;
    header.set_table(header.table_offset(), blocks);
    // Table offset, entries and checksum are in the first sector; the second one stays as it is.
    storage.write_at(layout.header_at, &header.to_bytes()[..SECTOR as usize])?;
    storage.sync()?;
    Ok(end)
}

impl Vhd {
    pub(crate) fn replace_leaf(&mut self, leaf: Image) {
        let mut chain = std::mem::take(self.images_mut());
        chain[0] = leaf;
        *self = Self::assemble(chain, false);
    }

    /// As [`resize`], for a disk in any storage.
    ///
    /// # Errors
    /// As [`resize`].
    pub fn resize(self, size: u64, allow_cut: bool) -> Result<Self> {
        resize(self, size, allow_cut)
    }
}
