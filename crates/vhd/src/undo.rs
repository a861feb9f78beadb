//! Undo sessions: all disks of a machine together, kept, committed or discarded as one.
//!
//! While a session runs, each disk's changes go to a differencing disk beside it (`VirtualPCUndo_....vud`, as Virtual Server names
//! them) and the disk itself is read-only. One journal, beside the first disk, holds the session's state; it is replaced by
//! renaming, so that every step of all disks hangs on one atomic change:
//!
//! | state | written | a crash leaves | finishing it means |
//! | --- | --- | --- | --- |
//! | starting | before the first undo disk is made | empty undo disks, some missing | the session never was |
//! | active | when all are there | the session, with what was flushed | nothing: keep, commit or discard |
//! | committing | before the first disk is written | some disks partly merged | merging all again: the same result |
//! | committed | when all are merged | some undo disks removed | removing the rest |
//! | discarding | before the first undo disk is removed | some removed | removing the rest |
//!
//! ```
//! use slotone_block::{read_exact, write_all};
//! use slotone_vhd::{CreateOptions, Vhd, quiet, undo::UndoSession};
//!
//! let dir = tempfile::tempdir()?;
//! let disk = dir.path().join("disk.vhd");
//! Vhd::create(&disk, &CreateOptions::dynamic(1 << 20))?.close()?;
//!
//! let session = UndoSession::start(&[&disk])?;
//! let disks = session.open()?;
//! write_all(&disks[0], 0, &[1; 512])?;
//! drop(disks);
//! session.discard()?;
//!
//! let mut sector = [9; 512];
//! read_exact(&Vhd::open(&disk)?, 0, &mut sector)?;
//! assert_eq!(sector, [0; 512]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::create::{CreateOptions, sync_folder};
use crate::error::{Error, ErrorKind, Result};
use crate::format::DiskKind;
use crate::image::Image;
use crate::merge::merge_into;
use crate::progress::Progress;
use crate::storage::{FileStorage, Lock};
use crate::vhd::{OpenOptions, StampPolicy, Vhd};

const MAGIC: &str = "slotone undo session 1";
/// No session of a real machine has a longer journal.
const JOURNAL_MAX: u64 = 1 << 20;

/// Where a session stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoState {
    /// Its beginning was interrupted.
    Starting,
    /// It runs.
    Active,
    /// Its commit was interrupted.
    Committing,
    /// Its commit was interrupted at the very end.
    Committed,
    /// Its discard was interrupted.
    Discarding,
}

impl UndoState {
    const ALL: [Self; 5] =
        [Self::Starting, Self::Active, Self::Committing, Self::Committed, Self::Discarding];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Active => "active",
            Self::Committing => "committing",
            Self::Committed => "committed",
            Self::Discarding => "discarding",
        }
    }
}

/// What to do with a session when the machine stops; the numbers are those of Virtual Server's `VMUndoAction`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UndoAction {
    /// 0: as if nothing had been written.
    Discard = 0,
    /// 1: go on with it next time.
    Keep = 1,
    /// 2: write it into the disks.
    Commit = 2,
}

/// One disk of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UndoDisk {
    /// The disk.
    pub disk: PathBuf,
    /// Its undo disk.
    pub undo: PathBuf,
}

/// A session over one or several disks. Dropping it keeps it.
#[derive(Debug)]
pub struct UndoSession {
    journal: PathBuf,
    state: UndoState,
    disks: Vec<UndoDisk>,
}

impl UndoSession {
    /// Begins a session. The disks must be image files that nobody has open for writing, without a session of their own.
    ///
    /// # Errors
    /// A disk cannot be opened or has a session, or an undo disk cannot be made; then nothing is left.
    pub fn start<P: AsRef<Path>>(disks: &[P]) -> Result<Self> {
        let mut members: Vec<UndoDisk> = Vec::new();
        for disk in disks {
            let disk = disk.as_ref();
            let real = fs::canonicalize(disk).map_err(|e| Error::new(disk, e))?;
            refuse_if_active(&real)?;
            // Also takes the lock for a moment: a writer that has it open is found here.
            let opened = OpenOptions::new().read_only(true).open(&real).map_err(|e| {
                if matches!(e.kind(), ErrorKind::NotVhd) {
                    let text = "undo works on image disks (VHD), not on raw or linked ones".to_owned();
                    Error::new(disk, ErrorKind::Unsupported(text))
                } else {
                    e
                }
            })?;
            drop(opened);
            if members.iter().any(|m| m.disk == real) {
                let text = "the same disk twice in one session".to_owned();
                return Err(Error::new(disk, ErrorKind::Unsupported(text)));
            }
            let undo = undo_name(&real, SystemTime::now());
            members.push(UndoDisk { disk: real, undo });
        }
        let Some(first) = members.first() else {
            return Err(Error::new("", ErrorKind::Unsupported("an undo session needs a disk".into())));
        };
        let mut session =
            Self { journal: note_path(&first.disk), state: UndoState::Starting, disks: members };
        session.write_journal(true)?;
        match session.make_undo_disks() {
            Ok(()) => Ok(session),
            Err(e) => {
                // What could not be removed either is found by the next one who looks.
                let _ = session.remove_all();
                Err(e)
            }
        }
    }

    fn make_undo_disks(&mut self) -> Result<()> {
        for m in &self.disks[1..] {
            let text = format!("{MAGIC}\njournal {}\n", encode(&self.journal));
            write_file(&note_path(&m.disk), &text, true)?;
        }
        for m in &self.disks {
            CreateOptions::differencing(&m.disk)
                .temporary(true)
                .create_with(&m.undo, &OpenOptions::new().ignore_undo())?
                .close()?;
        }
        self.enter(UndoState::Active)
    }

    /// The session that `disk` is part of, if there is one.
    ///
    /// # Errors
    /// There is a journal that cannot be read or does not make sense.
    pub fn find(disk: impl AsRef<Path>) -> Result<Option<Self>> {
        let disk = disk.as_ref();
        let real = fs::canonicalize(disk).map_err(|e| Error::new(disk, e))?;
        let note = note_path(&real);
        let Some(text) = read_file(&note)? else { return Ok(None) };
        let journal = match text.lines().nth(1).and_then(|l| l.strip_prefix("journal ")) {
            Some(path) => decode(path).ok_or_else(|| bad_journal(&note))?,
            None => note.clone(),
        };
        let Some(text) = read_file(&journal)? else { return Ok(None) };
        let session = Self::parse(&journal, &text)?;
        // A note that its session does not know was left behind by a crash.
        Ok(session.disks.iter().any(|m| m.disk == real).then_some(session))
    }

    /// The running session of exactly these disks, or a new one. An interrupted one is finished first.
    ///
    /// # Errors
    /// As [`UndoSession::start`]; also if a session of other disks has one of them.
    pub fn start_or_resume<P: AsRef<Path>>(disks: &[P], progress: &mut Progress<'_>) -> Result<Self> {
        for disk in disks {
            let Some(session) = Self::find(disk)? else { continue };
            let Some(session) = session.finish(progress)? else { continue };
            let same = session.disks.len() == disks.len()
                && disks.iter().all(|d| {
                    fs::canonicalize(d).is_ok_and(|real| session.disks.iter().any(|m| m.disk == real))
                });
            if same {
                return Ok(session);
            }
            return Err(Error::new(disk, ErrorKind::UndoActive { journal: session.journal }));
        }
        Self::start(disks)
    }

    fn parse(journal: &Path, text: &str) -> Result<Self> {
        let bad = || bad_journal(journal);
        let mut lines = text.lines();
        if lines.next() != Some(MAGIC) {
            return Err(bad());
        }
        let state = lines.next().and_then(|l| l.strip_prefix("state ")).ok_or_else(bad)?;
        let state = UndoState::ALL.into_iter().find(|s| s.name() == state).ok_or_else(bad)?;
        let mut disks = Vec::new();
        for line in lines {
            let (disk, undo) = line.strip_prefix("disk ").and_then(|l| l.split_once(' ')).ok_or_else(bad)?;
            let (Some(disk), Some(undo)) = (decode(disk), decode(undo)) else { return Err(bad()) };
            // Nothing but an undo disk beside its disk is ever removed.
            if disk.parent() != undo.parent() || undo.extension().is_none_or(|e| e != "vud") {
                return Err(bad());
            }
            disks.push(UndoDisk { disk, undo });
        }
        if disks.first().is_none_or(|m| note_path(&m.disk) != journal) {
            return Err(bad());
        }
        Ok(Self { journal: journal.to_owned(), state, disks })
    }

    /// Where it stands.
    pub fn state(&self) -> UndoState {
        self.state
    }

    /// Its disks, in the order given when it began.
    pub fn disks(&self) -> &[UndoDisk] {
        &self.disks
    }

    /// The file that holds its state.
    pub fn journal(&self) -> &Path {
        &self.journal
    }

    /// Opens all disks, for reading and writing into the session, in the order given when it began.
    ///
    /// # Errors
    /// An undo disk or its parent is missing, damaged or in use, or the session was interrupted and has to be finished.
    pub fn open(&self) -> Result<Vec<Vhd>> {
        self.expect_active()?;
        self.disks.iter().map(|m| OpenOptions::new().open(&m.undo)).collect()
    }

    fn expect_active(&self) -> Result<()> {
        if self.state == UndoState::Active {
            return Ok(());
        }
        let text = format!(
            "the undo session was interrupted while {}: it has to be finished first",
            self.state.name()
        );
        Err(Error::new(&self.journal, ErrorKind::Unsupported(text)))
    }

    /// Does what was decided at the machine's stop. Its disks must be closed. Gives the session back if it goes on.
    ///
    /// # Errors
    /// As [`UndoSession::commit`].
    pub fn end(self, action: UndoAction, progress: &mut Progress<'_>) -> Result<Option<Self>> {
        match action {
            UndoAction::Keep => Ok(Some(self)),
            UndoAction::Commit => self.commit(progress).map(|()| None),
            UndoAction::Discard => self.discard().map(|()| None),
        }
    }

    /// Writes all changes into the disks and ends the session.
    ///
    /// # Errors
    /// A disk is in use, or the host's I/O failed, or `progress` stopped it: the session can be finished later, and until then its
    /// content counts as committed.
    pub fn commit(mut self, progress: &mut Progress<'_>) -> Result<()> {
        if self.state != UndoState::Committing {
            self.expect_active()?;
            self.expect_unused()?;
            self.enter(UndoState::Committing)?;
        }
        for m in &self.disks {
            let options = OpenOptions::new().ignore_undo().stamp_policy(StampPolicy::Ignore);
            let storage = Arc::new(FileStorage::open(&m.undo, false, Lock::Exclusive)?);
            let child = Image::load(storage, &m.undo, options.load(false))?;
            merge_into(&child, options.open(&m.disk)?, progress)?;
        }
        self.enter(UndoState::Committed)?;
        self.remove_all()
    }

    /// Forgets all changes and ends the session.
    ///
    /// # Errors
    /// A disk is in use, or a file cannot be removed.
    pub fn discard(mut self) -> Result<()> {
        if self.state != UndoState::Discarding {
            self.expect_active()?;
            self.expect_unused()?;
            self.enter(UndoState::Discarding)?;
        }
        self.remove_all()
    }

    /// Goes on with what was interrupted. A session that is active, or never was, is given back as it is, or not at all.
    ///
    /// # Errors
    /// As [`UndoSession::commit`] and [`UndoSession::discard`].
    pub fn finish(self, progress: &mut Progress<'_>) -> Result<Option<Self>> {
        match self.state {
            UndoState::Active => return Ok(Some(self)),
            UndoState::Committing => self.commit(progress)?,
            UndoState::Discarding => self.discard()?,
            UndoState::Starting | UndoState::Committed => self.remove_all()?,
        }
        Ok(None)
    }

    /// Nobody has a disk or undo disk open, and each undo disk is what it must be.
    fn expect_unused(&self) -> Result<()> {
        for m in &self.disks {
            drop(FileStorage::open(&m.disk, false, Lock::Exclusive)?);
            let disk = OpenOptions::new().stamp_policy(StampPolicy::Ignore).open(&m.undo)?;
            let master = disk.chain().nth(1).and_then(|p| fs::canonicalize(p).ok());
            if disk.kind() != DiskKind::Differencing || master.as_ref() != Some(&m.disk) {
                let text = format!("it is not the undo disk of {}", m.disk.display());
                return Err(Error::new(&m.undo, ErrorKind::Damaged(text)));
            }
        }
        Ok(())
    }

    /// Undo disks first, then the notes, the journal last.
    fn remove_all(&self) -> Result<()> {
        for m in &self.disks {
            remove(&m.undo)?;
        }
        for m in &self.disks[1..] {
            remove(&note_path(&m.disk))?;
        }
        for m in &self.disks {
            remove(&new_name(&note_path(&m.disk)))?;
            sync_folder(&m.undo);
        }
        remove(&self.journal)?;
        sync_folder(&self.journal);
        Ok(())
    }

    fn enter(&mut self, state: UndoState) -> Result<()> {
        self.state = state;
        self.write_journal(false)
    }

    fn write_journal(&self, new: bool) -> Result<()> {
        let mut text = format!("{MAGIC}\nstate {}\n", self.state.name());
        for m in &self.disks {
            text.push_str(&format!("disk {} {}\n", encode(&m.disk), encode(&m.undo)));
        }
        write_file(&self.journal, &text, new)
    }
}

fn bad_journal(path: &Path) -> Error {
    Error::new(path, ErrorKind::Damaged("this is not the journal of an undo session".into()))
}

/// Where a session on `disk` is noted.
pub(crate) fn note_path(disk: &Path) -> PathBuf {
    let mut name = disk.as_os_str().to_owned();
    name.push(".undo");
    PathBuf::from(name)
}

/// Nobody may write to a disk that is the parent of an undo disk.
pub(crate) fn refuse_if_active(disk: &Path) -> Result<()> {
    // The usual case costs one look.
    let note = note_path(disk);
    let real = fs::canonicalize(disk).map_or(note.clone(), |r| note_path(&r));
    if !real.exists() {
        return Ok(());
    }
    match UndoSession::find(disk)? {
        Some(s) => Err(Error::new(disk, ErrorKind::UndoActive { journal: s.journal })),
        None => Ok(()),
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::new(path, e)),
        _ => Ok(()),
    }
}

fn read_file(path: &Path) -> Result<Option<String>> {
    use std::io::Read;
    let fail = |e| Error::new(path, e);
    let file = match fs::File::open(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other.map_err(fail)?,
    };
    let mut text = String::new();
    file.take(JOURNAL_MAX).read_to_string(&mut text).map_err(fail)?;
    Ok(Some(text))
}

fn new_name(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    PathBuf::from(name)
}

/// Writes a file as a whole, durably; `new`: it must not exist.
fn write_file(path: &Path, text: &str, new: bool) -> Result<()> {
    let temporary = new_name(path);
    let work = || -> std::io::Result<()> {
        // One that a crash left may be the same file as the journal, so it must not be written to.
        if temporary.symlink_metadata().is_ok() {
            fs::remove_file(&temporary)?;
        }
        let mut file = fs::File::create_new(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        if new {
            // Unlike renaming this never replaces.
            fs::hard_link(&temporary, path)?;
            fs::remove_file(&temporary)?;
        } else {
            fs::rename(&temporary, path)?;
        }
        sync_folder(path);
        Ok(())
    };
    work().map_err(|e| {
        let _ = fs::remove_file(&temporary);
        Error::new(path, e)
    })
}

/// A path in one word of printable ASCII.
fn encode(path: &Path) -> String {
    let mut out = String::new();
    for b in path.as_os_str().as_encoded_bytes() {
        if b.is_ascii_graphic() && *b != b'%' {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("%{b:02X}"));
        }
    }
    out
}

fn decode(word: &str) -> Option<PathBuf> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    #[cfg(unix)]
    {
        use std::os::unix::ffi::OsStringExt;
        Some(PathBuf::from(std::ffi::OsString::from_vec(out)))
    }
    #[cfg(not(unix))]
    String::from_utf8(out).ok().map(PathBuf::from)
}

/// `VirtualPCUndo_<name>_0_0_hhmmssMMDDYYYY.vud`, UTC.
fn undo_name(disk: &Path, now: SystemTime) -> PathBuf {
    let seconds = now.duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (days, second) = (seconds / 86400, seconds % 86400);
    // Days since 0000-03-01, so that the leap day is a year's last.
    let z = days + 719_468;
    let era = z / 146_097;
    let day = z % 146_097;
    let year_of_era = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * day_of_year + 2) / 153;
    let (month, day) = (if m < 10 { m + 3 } else { m - 9 }, day_of_year - (153 * m + 2) / 5 + 1);
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (h, min, s) = (second / 3600, second / 60 % 60, second % 60);
    let name = disk.file_stem().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    // Two disks of one folder may differ only in their extension.
    let mut n = 0;
    loop {
        let file = format!("VirtualPCUndo_{name}_0_{n}_{h:02}{min:02}{s:02}{month:02}{day:02}{year:04}.vud");
        let path = disk.with_file_name(file);
        if n == 1000 || path.symlink_metadata().is_err() {
            return path;
        }
        n += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        let at = UNIX_EPOCH + std::time::Duration::from_secs(1_709_210_096);
        let p = undo_name(Path::new("/m/My Disk.vhd"), at);
        assert_eq!(p, Path::new("/m/VirtualPCUndo_My Disk_0_0_12345602292024.vud"));
        let odd = Path::new("/a b/%c\n\u{e4}.vhd");
        assert_eq!(decode(&encode(odd)).unwrap(), odd);
    }
}
