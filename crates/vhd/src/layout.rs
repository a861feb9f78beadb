//! Reading an image's headers and table: what must be true before anything in them is used.

use std::io;
use std::ops::Range;

use crate::error::ErrorKind;
use crate::format::{FOOTER_LEN, Footer, HEADER_LEN, Header, Locator, Platform, SECTOR, UNALLOCATED};
use crate::storage::Storage;

/// Longest path in a locator that is read.
const LOCATOR_MAX: u64 = 64 << 10;
/// How far from the last data of a file a stranded footer is looked for: the host's allocation unit, and some.
const STRANDED_SECTORS: u64 = 2048;

/// Both ends of an image.
#[derive(Debug)]
pub(crate) struct Footers {
    /// Bytes of the file.
    pub(crate) len: u64,
    /// Where the trailing footer begins if there is one.
    pub(crate) tail_at: u64,
    pub(crate) tail: Result<Footer, ErrorKind>,
    pub(crate) copy: Result<Footer, ErrorKind>,
    /// The tail is that of a fixed disk, with an unused end of the file behind it.
    pub(crate) stranded: bool,
}

impl Footers {
    pub(crate) fn read(storage: &dyn Storage) -> io::Result<Self> {
        let len = storage.len()?;
        let tail_at = len.saturating_sub(FOOTER_LEN as u64).next_multiple_of(SECTOR);
        let mut bytes = [0u8; FOOTER_LEN];
        let have = len.saturating_sub(tail_at).min(FOOTER_LEN as u64) as usize;
        storage.read_at(tail_at, &mut bytes[..have])?;
        let tail = if have >= FOOTER_LEN - 1 { Footer::parse(&bytes) } else { Err(ErrorKind::NotVhd) };
        let copy = if tail_at >= FOOTER_LEN as u64 {
            storage.read_at(0, &mut bytes)?;
            Footer::parse(&bytes)
        } else {
            Err(ErrorKind::NotVhd)
        };
        let mut footers = Self { len, tail_at, tail, copy, stranded: false };
        if matches!(footers.tail, Err(ErrorKind::NotVhd)) && footers.good_copy().is_none() {
            footers.look_for_stranded(storage)?;
        }
        Ok(footers)
    }

    /// The footer of a fixed disk that was being made larger when power was cut: behind it there is nothing but the new end.
    fn look_for_stranded(&mut self, storage: &dyn Storage) -> io::Result<()> {
        let mut end = 0;
        let mut at = 0;
        for _ in 0..1 << 16 {
            let Some(data) = storage.next_data(at)? else { break };
            end = data.end;
            at = data.end;
        }
        let mut bytes = [0u8; FOOTER_LEN];
        let last = (end / SECTOR).saturating_sub(1);
        for sector in (last.saturating_sub(STRANDED_SECTORS)..=last).rev() {
            let at = sector * SECTOR;
            if at + (FOOTER_LEN as u64) > self.len {
                continue;
            }
            storage.read_at(at, &mut bytes)?;
            if let Ok(footer) = Footer::parse(&bytes) {
                if footer.disk_type_code() == 2 && footer.current_size() == at {
                    self.tail = Ok(footer);
                    self.tail_at = at;
                    self.stranded = true;
                }
                break;
            }
            if bytes != [0; FOOTER_LEN] {
                break;
            }
        }
        Ok(())
    }

    /// The copy in front can stand in for the trailing footer: it is good and of a kind that has one.
    pub(crate) fn good_copy(&self) -> Option<&Footer> {
        self.copy.as_ref().ok().filter(|f| f.data_offset() != u64::MAX && !matches!(f.disk_type_code(), 2))
    }

    /// The footer that counts, and what is wrong with the other one.
    pub(crate) fn choose(self) -> Result<(Footer, Option<String>), ErrorKind> {
        let copy = self.good_copy().cloned();
        match (self.tail, copy) {
            (Ok(tail), copy) => {
                let note = if self.stranded {
                    Some(
                        "the file goes on behind its footer: making the disk larger was interrupted"
                            .to_owned(),
                    )
                } else if tail.disk_type_code() == 2 {
                    None
                } else if copy.is_none() {
                    Some("the copy of the footer at the beginning of the file is damaged".to_owned())
                } else if copy.as_ref() != Some(&tail) {
                    Some("the footer and its copy differ; the footer at the end counts".to_owned())
                } else {
                    None
                };
                Ok((tail, note))
            }
            (Err(e), Some(copy)) => {
                let what = if matches!(e, ErrorKind::NotVhd) { "missing" } else { "damaged" };
                Ok((copy, Some(format!("the footer at the end of the file is {what}; its copy was used"))))
            }
            (Err(ErrorKind::NotVhd), None) => match self.copy {
                Err(e @ (ErrorKind::Poisoned | ErrorKind::FooterChecksum { .. })) => Err(e),
                _ => Err(ErrorKind::NotVhd),
            },
            (Err(e), None) => Err(e),
        }
    }
}

/// A locator with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocatorText {
    /// 0 to 7.
    pub index: usize,
    /// Kind.
    pub platform: Platform,
    /// The path as written; `None` for opaque kinds and unreadable entries.
    pub text: Option<String>,
}

/// What lies where in a dynamic image, without its blocks.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) header_at: u64,
    pub(crate) header: Header,
    /// Blocks of the disk.
    pub(crate) blocks: u32,
    /// Bytes of one bitmap in the file.
    pub(crate) bitmap_len: u64,
    /// Ranges of the file that are neither blocks nor the footer, by start.
    pub(crate) metadata: Vec<Range<u64>>,
    pub(crate) locators: Vec<LocatorText>,
    /// Locators that cannot be what they say.
    pub(crate) bad_locators: Vec<usize>,
    claims: Vec<Claim>,
}

/// Room that something other than the headers and the table says it has.
#[derive(Debug, Clone)]
struct Claim {
    /// The room, as it is in `metadata`.
    room: Range<u64>,
    /// The part of it that is filled.
    used: Range<u64>,
    /// Index into `locators`, if it is one's.
    locator: Option<usize>,
}

impl Layout {
    pub(crate) fn read(
        storage: &dyn Storage,
        footer: &Footer,
        size: u64,
        limit: u64,
        lenient: bool,
    ) -> Result<Self, ErrorKind> {
        let len = storage.len()?;
        let header_at = footer.data_offset();
        let fits = header_at.checked_add(HEADER_LEN as u64).is_some_and(|end| end <= len);
        if !header_at.is_multiple_of(SECTOR) || header_at < FOOTER_LEN as u64 || !fits {
            return Err(ErrorKind::NoHeader { offset: header_at });
        }
        let mut bytes = [0u8; HEADER_LEN];
        storage.read_at(header_at, &mut bytes)?;
        let header = if lenient {
            Header::parse_unverified(&bytes, header_at)?
        } else {
            Header::parse(&bytes, header_at)?
        };
        let block_size = u64::from(header.block_size());
        let needed = size.div_ceil(block_size);
        let entries = header.max_table_entries();
        if needed > u64::from(entries) {
            return Err(ErrorKind::TableTooSmall { entries, needed });
        }
        let (table, table_len) = (header.table_offset(), table_len(entries));
        let header_range = header_at..header_at + HEADER_LEN as u64;
        let inside = table.checked_add(u64::from(entries) * 4).is_some_and(|end| end <= len);
        if !table.is_multiple_of(SECTOR)
            || !inside
            || overlaps(&(table..table + table_len), &(0..FOOTER_LEN as u64))
            || overlaps(&(table..table + table_len), &header_range)
        {
            return Err(ErrorKind::TableOutOfFile { offset: table, len: u64::from(entries) * 4 });
        }
        if needed * 5 > limit {
            return Err(ErrorKind::LimitExceeded {
                what: "memory for the block table",
                value: needed * 5,
                limit,
            });
        }
        let mut metadata = vec![0..FOOTER_LEN as u64, header_range, table..table + table_len];
        let mut claims = Vec::new();
        if let Some(batmap) = batmap(storage, table + table_len, len)? {
            let header = table + table_len..table + table_len + SECTOR;
            claims.extend([header, batmap].map(|r| Claim { room: r.clone(), used: r, locator: None }));
        }
        let mut locators = Vec::new();
        let mut bad_locators = Vec::new();
        if matches!(footer.kind(), Ok(crate::format::DiskKind::Differencing)) {
            for (index, l) in header.locators().iter().enumerate() {
                if l.platform == Platform::None {
                    continue;
                }
                let text = match locator_range(l, len, &metadata) {
                    None => {
                        bad_locators.push(index);
                        None
                    }
                    Some((room, used)) => {
                        claims.push(Claim { room, used, locator: Some(locators.len()) });
                        let mut data = vec![0; u64::from(l.data_length).min(LOCATOR_MAX) as usize];
                        storage.read_at(l.offset, &mut data)?;
                        l.text(&data)
                    }
                };
                locators.push(LocatorText { index, platform: l.platform, text });
            }
        }
        metadata.extend(claims.iter().map(|c| c.room.clone()));
        metadata.sort_by_key(|r| r.start);
        let bitmap_len = (block_size / SECTOR).div_ceil(8).next_multiple_of(SECTOR);
        // `needed` is at most `entries`, a u32.
        let blocks = needed as u32;
        Ok(Self { header_at, header, blocks, bitmap_len, metadata, locators, bad_locators, claims })
    }

    /// Bytes of a block with its bitmap.
    pub(crate) fn region(&self) -> u64 {
        self.bitmap_len + u64::from(self.header.block_size())
    }

    /// Reads the entries that the disk's size needs, and those that share their last sector.
    pub(crate) fn read_table(&self, storage: &dyn Storage) -> io::Result<Vec<u32>> {
        let len = storage.len()?;
        let table = self.header.table_offset();
        let wanted = u64::from(self.blocks).next_multiple_of(128).min((len - table) / 4);
        let mut bat = Vec::with_capacity(wanted as usize);
        let mut chunk = vec![0u8; (wanted * 4).min(256 << 10) as usize];
        let mut done = 0;
        while done < wanted * 4 {
            let n = (wanted * 4 - done).min(chunk.len() as u64) as usize;
            storage.read_at(table + done, &mut chunk[..n])?;
            bat.extend(chunk[..n].chunks_exact(4).map(|e| u32::from_be_bytes([e[0], e[1], e[2], e[3]])));
            done += n as u64;
        }
        bat.resize(u64::from(self.blocks).next_multiple_of(128) as usize, UNALLOCATED);
        Ok(bat)
    }

    /// What a block lies in is the block's: a locator or a map there is none any more. Else the bytes of a block could forbid the block,
    /// and those are the guest's: its first bitmap, right behind the table, may read as the header of a map.
    pub(crate) fn yield_to_blocks(&mut self, bat: &[u32]) {
        let region = self.region();
        let mut starts: Vec<u64> = bat
            .iter()
            .take(self.blocks as usize)
            .filter(|s| **s != UNALLOCATED)
            .map(|s| u64::from(*s) * SECTOR)
            .collect();
        starts.sort_unstable();
        let taken = |range: &Range<u64>| {
            let before = starts.partition_point(|start| *start < range.end);
            before > 0 && starts[before - 1] + region > range.start
        };
        for Claim { room, used, locator } in std::mem::take(&mut self.claims) {
            if !taken(&room) {
                continue;
            }
            if let Some(at) = self.metadata.iter().position(|m| *m == room) {
                self.metadata.remove(at);
            }
            if !taken(&used) {
                self.metadata.push(used);
            } else if let Some(locator) = locator.and_then(|at| self.locators.get_mut(at)) {
                locator.text = None;
                self.bad_locators.push(locator.index);
            }
        }
        self.metadata.sort_by_key(|r| r.start);
        self.bad_locators.sort_unstable();
    }

    /// Everything that is wrong with the table, in the order of the blocks, overlaps last. `report` answers whether to go on.
    pub(crate) fn check_table(&self, bat: &[u32], len: u64, mut report: impl FnMut(ErrorKind) -> bool) {
        let region = self.region();
        let mut used: Vec<(u32, u32)> = Vec::new();
        for (block, &sector) in bat.iter().take(self.blocks as usize).enumerate() {
            if sector == UNALLOCATED {
                continue;
            }
            let block = block as u32;
            let start = u64::from(sector) * SECTOR;
            let range = start..start + region;
            let wrong = if self.metadata.iter().any(|m| overlaps(m, &range)) {
                ErrorKind::EntryInMetadata { block, sector }
            } else if range.end > len {
                ErrorKind::EntryPastEnd { block, sector, len }
            } else {
                used.push((sector, block));
                continue;
            };
            if !report(wrong) {
                return;
            }
        }
        // Images that were written in order are sorted already.
        if !used.is_sorted() {
            used.sort_unstable();
        }
        for pair in used.windows(2) {
            if u64::from(pair[1].0 - pair[0].0) * SECTOR < region {
                let (a, b) = (pair[0].1, pair[1].1);
                if !report(ErrorKind::EntriesOverlap { first: a.min(b), second: a.max(b) }) {
                    return;
                }
            }
        }
    }

    /// End of everything that is in use.
    pub(crate) fn end(&self, bat: &[u32]) -> u64 {
        let meta = self.metadata.iter().map(|r| r.end).max().unwrap_or(0);
        let last = bat.iter().take(self.blocks as usize).filter(|s| **s != UNALLOCATED).max();
        last.map_or(meta, |s| meta.max(u64::from(*s) * SECTOR + self.region()))
    }
}

/// Bytes of a table in the file: whole sectors.
pub(crate) fn table_len(entries: u32) -> u64 {
    (u64::from(entries) * 4).next_multiple_of(SECTOR)
}

pub(crate) fn overlaps(a: &Range<u64>, b: &Range<u64>) -> bool {
    a.start < b.end && b.start < a.end
}

/// The room of a locator in the file and the part of it that is filled, if it can be one. The room may end behind the end of the file, for
/// a file that grows later does not grow into it; but no path needs more than [`LOCATOR_MAX`].
fn locator_range(l: &Locator, len: u64, headers: &[Range<u64>]) -> Option<(Range<u64>, Range<u64>)> {
    let used = l.offset..l.offset.checked_add(u64::from(l.data_length))?;
    if used.end > len || u64::from(l.data_length) > LOCATOR_MAX || headers.iter().any(|h| overlaps(h, &used))
    {
        return None;
    }
    Some((l.offset..l.offset.checked_add(l.space().min(LOCATOR_MAX))?, used))
}

/// XenServer's map of full blocks stands behind the table.
fn batmap(storage: &dyn Storage, at: u64, len: u64) -> io::Result<Option<Range<u64>>> {
    let mut b = [0u8; 20];
    if at.checked_add(SECTOR).is_none_or(|end| end > len) {
        return Ok(None);
    }
    storage.read_at(at, &mut b)?;
    if &b[..8] != b"tdbatmap" {
        return Ok(None);
    }
    let offset = u64::from_be_bytes([b[8], b[9], b[10], b[11], b[12], b[13], b[14], b[15]]);
    let sectors = u64::from(u32::from_be_bytes([b[16], b[17], b[18], b[19]]));
    Ok(offset.checked_add(sectors * SECTOR).filter(|end| *end <= len).map(|end| offset..end))
}
