//! Looking for everything that is wrong with an image, and putting right what can be.

use std::path::Path;
use std::sync::Arc;

use crate::dynamic::footer_start;
use crate::error::{Error, ErrorKind, Result};
use crate::format::{DiskKind, FOOTER_LEN, Footer, Locator, SECTOR, UNALLOCATED, geometry_for};
use crate::layout::{Footers, Layout};
use crate::resolve::{FileResolver, Resolver};
use crate::storage::{FileStorage, Lock, Storage};
use crate::vhd::OpenOptions;

/// Problems that are listed one by one; more are only counted.
const LISTED: usize = 1000;

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Odd, but no reader stumbles over it.
    Note,
    /// Some readers will refuse or misread the image; the content is all there.
    Warning,
    /// Content is missing or cannot be reached.
    Error,
}

/// What repair does about a problem.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fix {
    None,
    Tail,
    Copy,
    Header,
    Entry(u32),
    Locator(usize),
    Trim,
}

/// One thing that is wrong.
#[derive(Debug, Clone)]
pub struct Problem {
    /// How bad.
    pub severity: Severity,
    /// What.
    pub kind: ErrorKind,
    /// [`repair`] can put it right.
    pub repairable: bool,
    /// [`repair`] did.
    pub repaired: bool,
    fix: Fix,
}

/// What [`check`] found.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// In the order of the file.
    pub problems: Vec<Problem>,
    /// Problems beyond those listed.
    pub more: u64,
    /// Blocks in the file.
    pub allocated: u32,
    /// Blocks of the disk; 0 for a fixed one.
    pub blocks: u32,
}

impl Report {
    /// The worst problem that was not repaired.
    pub fn worst(&self) -> Option<Severity> {
        self.problems.iter().filter(|p| !p.repaired).map(|p| p.severity).max()
    }

    /// Nothing worse than notes is left.
    pub fn is_clean(&self) -> bool {
        self.worst().is_none_or(|s| s == Severity::Note) && self.more == 0
    }

    fn add(&mut self, severity: Severity, kind: ErrorKind, fix: Fix) {
        if self.problems.len() >= LISTED {
            self.more += 1;
            return;
        }
        let repairable = fix != Fix::None;
        self.problems.push(Problem { severity, kind, repairable, repaired: false, fix });
    }
}

/// Looks at every structure of the image file and, for a differencing disk, for its parents. Changes nothing.
///
/// # Errors
/// The file cannot be read at all. What is wrong with its content is in the report.
pub fn check(path: impl AsRef<Path>) -> Result<Report> {
    let path = path.as_ref();
    let storage = Arc::new(FileStorage::open(path, false, Lock::Shared)?);
    check_storage(storage, path, Some(Arc::new(FileResolver::default())))
}

/// As [`check`] in any storage; without a resolver parents are not looked for.
///
/// # Errors
/// The host's I/O failed.
pub fn check_storage(
    storage: Arc<dyn Storage>,
    path: &Path,
    resolver: Option<Arc<dyn Resolver>>,
) -> Result<Report> {
    examine(&storage, path, resolver).map(|(r, _)| r).map_err(|e| Error::new(path, e))
}

/// Checks and puts right what can be without guessing: a footer from its copy and the other way round, header checksums whose content
/// is plausible, entries that point nowhere (their blocks' content is lost already), locators, unused room at the end.
///
/// # Errors
/// The file cannot be read or written.
pub fn repair(path: impl AsRef<Path>) -> Result<Report> {
    let path = path.as_ref();
    crate::undo::refuse_if_active(path)?;
    let storage = Arc::new(FileStorage::open(path, true, Lock::Exclusive)?);
    repair_storage(storage, path)
}

/// As [`repair`] in any storage.
///
/// # Errors
/// The host's I/O failed.
pub fn repair_storage(storage: Arc<dyn Storage>, path: &Path) -> Result<Report> {
    let work = || -> std::result::Result<Report, ErrorKind> {
        let (mut report, found) = examine(&storage, path, None)?;
        if let Some(found) = found {
            mend(&*storage, &mut report, found)?;
        }
        Ok(report)
    };
    work().map_err(|e| Error::new(path, e))
}

struct Found {
    footer: Footer,
    tail_at: u64,
    layout: Option<(Layout, Vec<u32>)>,
}

type Examined = (Report, Option<Found>);

fn examine(
    storage: &Arc<dyn Storage>,
    path: &Path,
    resolver: Option<Arc<dyn Resolver>>,
) -> std::result::Result<Examined, ErrorKind> {
    let mut r = Report::default();
    let footers = Footers::read(&**storage)?;
    let (len, tail_at) = (footers.len, footers.tail_at);
    let tail_good = footers.tail.is_ok();
    let copy = footers.good_copy().cloned();
    if !len.is_multiple_of(SECTOR) && len % SECTOR != SECTOR - 1 {
        let text = format!("the file's length {len} is not a multiple of 512");
        r.add(
            Severity::Warning,
            ErrorKind::Damaged(text),
            if copy.is_some() { Fix::Tail } else { Fix::None },
        );
    }
    let stranded = footers.stranded;
    let copy_problem = footers.copy.as_ref().err().map(describe);
    let tail_problem = footers.tail.as_ref().err().map(describe);
    let footer = match footers.choose() {
        Ok((footer, _)) => footer,
        Err(e) => {
            r.add(Severity::Error, e, Fix::None);
            return Ok((r, None));
        }
    };
    let kind = match footer.kind() {
        Ok(kind) => kind,
        Err(e) => {
            r.add(Severity::Error, e, Fix::None);
            return Ok((r, None));
        }
    };
    if !tail_good {
        let text = format!("the footer at the end: {}", tail_problem.unwrap_or_default());
        r.add(Severity::Warning, ErrorKind::Damaged(text), Fix::Tail);
    }
    if kind != DiskKind::Fixed && tail_good {
        match &copy {
            None => {
                let text = format!(
                    "the copy of the footer: {}",
                    copy_problem.unwrap_or_else(|| "it is another disk's".into())
                );
                r.add(Severity::Warning, ErrorKind::Damaged(text), Fix::Copy);
            }
            Some(c) if *c != footer => {
                let text = "the footer and its copy differ; the footer at the end counts".to_owned();
                r.add(Severity::Warning, ErrorKind::Damaged(text), Fix::Copy);
            }
            Some(_) => {}
        }
    }
    let size = match footer.checked_size() {
        Ok(size) => size,
        Err(e) => {
            r.add(Severity::Error, e, Fix::None);
            return Ok((r, None));
        }
    };
    if footer.geometry() != geometry_for(size) {
        let (g, w) = (footer.geometry(), geometry_for(size));
        let text = format!(
            "geometry {}/{}/{} is not the one the specification computes for the size, {}/{}/{}",
            g.cylinders, g.heads, g.sectors, w.cylinders, w.heads, w.sectors
        );
        r.add(Severity::Note, ErrorKind::Damaged(text), Fix::None);
    }
    if footer.id().is_nil() {
        r.add(Severity::Note, ErrorKind::Damaged("the disk has no id".into()), Fix::None);
    }
    if kind == DiskKind::Fixed {
        if stranded {
            let text =
                "the file goes on behind its footer: making the disk larger was interrupted".to_owned();
            r.add(Severity::Warning, ErrorKind::Damaged(text), Fix::Tail);
        } else if size > tail_at {
            let e = ErrorKind::Truncated { what: "a fixed disk", needed: size + SECTOR, have: len };
            r.add(Severity::Error, e, Fix::None);
        } else if size < tail_at {
            let text = format!("{} bytes between the disk and its footer", tail_at - size);
            r.add(Severity::Note, ErrorKind::Damaged(text), Fix::None);
        }
        return Ok((r, Some(Found { footer, tail_at, layout: None })));
    }
    let mut layout = match Layout::read(&**storage, &footer, size, u64::MAX, true) {
        Ok(layout) => layout,
        Err(e @ ErrorKind::Io(_)) => return Err(e),
        Err(e) => {
            r.add(Severity::Error, e, Fix::None);
            return Ok((r, Some(Found { footer, tail_at, layout: None })));
        }
    };
    let (stored, computed) = layout.header.checksums();
    if stored != computed {
        r.add(Severity::Error, ErrorKind::HeaderChecksum { stored, computed }, Fix::Header);
    }
    let bat = layout.read_table(&**storage)?;
    layout.yield_to_blocks(&bat);
    for index in &layout.bad_locators {
        r.add(Severity::Warning, ErrorKind::LocatorOutOfFile { index: *index }, Fix::Locator(*index));
    }
    r.blocks = layout.blocks;
    r.allocated = bat[..layout.blocks as usize].iter().filter(|s| **s != UNALLOCATED).count() as u32;
    let mut bad = Vec::new();
    layout.check_table(&bat, len, |e| {
        let block = match &e {
            ErrorKind::EntryInMetadata { block, .. } | ErrorKind::EntryPastEnd { block, .. } => *block,
            // Which of the two is right nobody can tell; the later one goes.
            ErrorKind::EntriesOverlap { second, .. } => *second,
            _ => return true,
        };
        bad.push(block);
        r.add(Severity::Error, e, Fix::Entry(block));
        true
    });
    let mut good = bat.clone();
    bad.iter().for_each(|b| good[*b as usize] = UNALLOCATED);
    let slack = tail_at.saturating_sub(layout.end(&good));
    if slack > layout.region().max(4096) {
        let text = format!("{slack} bytes behind the last block are not used");
        r.add(Severity::Note, ErrorKind::Damaged(text), Fix::Trim);
    }
    let readable = r.worst().is_none_or(|s| s < Severity::Error);
    if let Some(resolver) = resolver.filter(|_| kind == DiskKind::Differencing && readable) {
        let options = OpenOptions::new().read_only(true).resolver(resolver);
        match options.open_storage(storage.clone(), path) {
            Ok(disk) => {
                let said = disk.images()[1..].iter().flat_map(|i| &i.warnings);
                said.for_each(|w| r.add(Severity::Note, ErrorKind::Damaged(w.clone()), Fix::None));
            }
            Err(e) => r.add(Severity::Warning, e.into_kind(), Fix::None),
        }
    }
    Ok((r, Some(Found { footer, tail_at, layout: Some((layout, bat)) })))
}

fn describe(e: &ErrorKind) -> String {
    match e {
        ErrorKind::NotVhd => "it is missing".into(),
        other => other.to_string(),
    }
}

/// Table entries first, then the header, then the footers: an interrupted repair can be run again.
fn mend(storage: &dyn Storage, report: &mut Report, found: Found) -> std::result::Result<(), ErrorKind> {
    let mut end = None;
    let mut aligned = true;
    if let Some((layout, mut bat)) = found.layout {
        let mut changed = false;
        let mut header = layout.header.clone();
        let mut new_header = false;
        for p in &mut report.problems {
            match p.fix {
                Fix::Entry(block) => {
                    bat[block as usize] = UNALLOCATED;
                    changed = true;
                }
                Fix::Header => new_header = true,
                Fix::Locator(index) => {
                    header.set_locator(index, Locator::NONE);
                    new_header = true;
                }
                _ => continue,
            }
            p.repaired = true;
        }
        if report.more > 0 {
            // All of them, listed or not.
            let len = storage.len()?;
            let mut again = Vec::new();
            layout.check_table(&bat, len, |e| {
                match e {
                    ErrorKind::EntryInMetadata { block, .. } | ErrorKind::EntryPastEnd { block, .. } => {
                        again.push(block)
                    }
                    ErrorKind::EntriesOverlap { second, .. } => again.push(second),
                    _ => {}
                }
                true
            });
            again.into_iter().for_each(|b| bat[b as usize] = UNALLOCATED);
            report.more = 0;
            changed = true;
        }
        if changed {
            let bytes: Vec<u8> = bat[..layout.blocks as usize].iter().flat_map(|e| e.to_be_bytes()).collect();
            storage.write_at(layout.header.table_offset(), &bytes)?;
            storage.sync()?;
        }
        if new_header {
            storage.write_at(layout.header_at, &header.to_bytes())?;
            storage.sync()?;
        }
        end = Some(layout.end(&bat));
        let data = |s: &u32| (u64::from(*s) * SECTOR + layout.bitmap_len).is_multiple_of(4096);
        aligned = bat[..layout.blocks as usize].iter().filter(|s| **s != UNALLOCATED).all(data);
    }
    let footer = found.footer.to_bytes();
    let wants = |report: &Report, f: Fix| report.problems.iter().any(|p| p.fix == f);
    if wants(report, Fix::Tail) || wants(report, Fix::Trim) {
        let at = match end {
            Some(end) => footer_start(end, aligned),
            None => found.tail_at,
        };
        storage.write_at(at, &footer)?;
        storage.sync()?;
        storage.set_len(at + FOOTER_LEN as u64)?;
        storage.sync()?;
    }
    if wants(report, Fix::Copy) {
        storage.write_at(0, &footer)?;
        storage.sync()?;
    }
    for p in &mut report.problems {
        p.repaired |= p.fix != Fix::None;
    }
    Ok(())
}
