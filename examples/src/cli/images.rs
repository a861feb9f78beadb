//! Opening disk images: by content, with one line about what is wrong and what to do.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use slotone_block::layers::Overlay;
use slotone_block::raw::{OpenMode, RawDisk};
use slotone_block::{BlockBackend, SECTOR};
use slotone_vhd::undo::{UndoAction, UndoSession};
use slotone_vhd::{OpenOptions, Vhd, quiet};

use super::args::{Args, UndoArg};
use super::failure::Failure;
use super::session::complain;

/// The cookie of a VHD footer, which a dynamic or differencing disk also has at its start.
const COOKIE: &[u8; 8] = b"conectix";

/// Bytes of a CD's sector.
const DISC_SECTOR: u64 = 2048;

/// Whether the file is a VHD, by its cookies, or claims to be by its name.
fn is_vhd(path: &Path) -> Result<bool, Failure> {
    let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("vhd"));
    let mut file = std::fs::File::open(path).map_err(|e| missing(path, &e))?;
    let mut head = [0; 8];
    let starts = file.read_exact(&mut head).is_ok() && head == *COOKIE;
    Ok(named || starts)
}

fn missing(path: &Path, e: &std::io::Error) -> Failure {
    let option = path.to_string_lossy().rsplit_once(',').is_some_and(|(_, last)| !last.contains(['/', '.']));
    let advice = match e.kind() {
        std::io::ErrorKind::NotFound if option => {
            "check the path and what follows its comma: disks take readonly, SCSI units also cdrom and block=BYTES, --cdrom takes slot="
        }
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "check its permissions",
        std::io::ErrorKind::IsADirectory => "name an image, not a folder",
        _ => "check that it is an image or a block device",
    };
    Failure::usage(format!("{}: {e}; {advice}", path.display()))
}

/// What becomes of what the guest writes to its hard disks (`--undo`).
///
/// `keep` and `commit` are an undo session of `slotone-vhd` over all disks that can be written to, on differencing disks beside them; so is
/// `discard` when such a session is there from an earlier run. A `discard` of its own needs no files: the changes are in memory.
#[derive(Debug)]
pub(crate) struct Undo {
    discard: bool,
    /// The session, what to do with it, and whether it began with this run.
    session: Option<(UndoSession, UndoAction, bool)>,
    /// Its disks by their real paths, until the machine takes them.
    disks: Vec<(PathBuf, Vhd)>,
    /// Those that the machine has, to be closed when it is gone.
    open: Vec<Arc<Vhd>>,
    /// The guest has run: what it wrote is not lost by a failure.
    ran: bool,
}

impl Undo {
    /// Begins a session over the disks of `args`, or goes on with the one that was kept.
    pub(crate) fn begin(args: &Args) -> Result<Self, Failure> {
        let discard = args.undo == Some(UndoArg::Discard);
        let mut undo = Self { discard, session: None, disks: Vec::new(), open: Vec::new(), ran: false };
        let Some(arg) = args.undo else { return Ok(undo) };
        let ide = [&args.hda, &args.hdb, &args.hdc, &args.hdd].into_iter().flatten();
        let ide = ide.map(|disk| (&disk.path, disk.read_only));
        let scsi = args.scsi.iter().map(|disk| (&disk.path, disk.read_only || disk.cdrom));
        let writable = ide.chain(scsi).filter_map(|(path, read_only)| (!read_only).then_some(path));
        let mut paths = Vec::new();
        for path in writable {
            if is_vhd(path)? {
                paths.push(path);
            } else if !discard {
                return Err(Failure::usage(format!(
                    "{}: --undo keep and commit work on VHD images, not on raw or linked disks; make one with vhd convert",
                    path.display()
                )));
            }
        }
        let mut kept = false;
        for path in &paths {
            kept |= UndoSession::find(path)?.is_some();
        }
        if paths.is_empty() || discard && !kept {
            return Ok(undo);
        }
        let session = UndoSession::start_or_resume(&paths, &mut quiet())?;
        let action = match arg {
            UndoArg::Keep => UndoAction::Keep,
            UndoArg::Commit => UndoAction::Commit,
            UndoArg::Discard => UndoAction::Discard,
        };
        let names: Vec<_> = session.disks().iter().map(|d| d.disk.clone()).collect();
        match session.open() {
            Ok(disks) => undo.disks = names.into_iter().zip(disks).collect(),
            Err(e) => {
                // What began just now holds nothing yet, and must not be in the way of the next run.
                if !kept {
                    session.discard()?;
                }
                return Err(e.into());
            }
        }
        undo.session = Some((session, action, !kept));
        Ok(undo)
    }

    /// From now on the guest may have written something.
    pub(crate) fn runs(&mut self) {
        self.ran = true;
    }

    /// A disk for the machine, whose closing is not left to it: only then does a failure have somebody to be told to.
    fn lend(&mut self, vhd: Vhd) -> Arc<dyn BlockBackend> {
        let vhd = Arc::new(vhd);
        self.open.push(Arc::clone(&vhd));
        vhd
    }

    /// Closes what the machine had. Every failure is told; the last is the result's, if that was none before.
    fn close(&mut self, mut result: Result<u8, Failure>) -> Result<u8, Failure> {
        for vhd in self.open.drain(..) {
            let path = vhd.path().display().to_string();
            let closed = match Arc::into_inner(vhd) {
                Some(vhd) => vhd.close().map_err(|e| {
                    format!("{e}; what the guest wrote last may be lost: see that the host's disk has room and is well, then run vhd check")
                }),
                None => Err(format!(
                    "{path}: not closed, as its storage on the host does not answer; what the guest wrote last may be lost: run vhd check"
                )),
            };
            if let Err(message) = closed
                && let Err(earlier) = std::mem::replace(&mut result, Err(Failure::usage(message)))
            {
                complain(&earlier.message);
            }
        }
        result
    }

    /// The machine is gone: closes its disks, does what was asked for, and passes `result` on. When the run failed, the session stays as it
    /// is; one that the guest never saw goes away.
    pub(crate) fn end(mut self, result: Result<u8, Failure>) -> Result<u8, Failure> {
        let result = self.close(result);
        drop(self.disks);
        let Some((session, action, fresh)) = self.session else { return result };
        match result {
            Ok(status) => {
                session.end(action, &mut quiet())?;
                Ok(status)
            }
            Err(failure) => {
                if fresh && !self.ran {
                    session.discard()?;
                }
                Err(failure)
            }
        }
    }
}

/// A hard disk: VHD of any kind, raw image or host block device. What the guest writes goes where `undo` says.
pub(crate) fn disk(path: &Path, read_only: bool, undo: &mut Undo) -> Result<Arc<dyn BlockBackend>, Failure> {
    if !read_only && let Ok(real) = std::fs::canonicalize(path) {
        let at = undo.disks.iter().position(|(disk, _)| *disk == real);
        if let Some(at) = at {
            let vhd = undo.disks.swap_remove(at).1;
            return Ok(undo.lend(vhd));
        }
    }
    let locked = read_only || undo.discard;
    let medium: Arc<dyn BlockBackend> = if is_vhd(path)? {
        undo.lend(OpenOptions::new().read_only(locked).open(path)?)
    } else {
        Arc::new(RawDisk::open(path, OpenMode { read_only: locked })?)
    };
    if undo.discard && !read_only { Ok(Arc::new(Overlay::new(medium))) } else { Ok(medium) }
}

/// A CD image, opened read-only.
pub(crate) fn cd(path: &Path) -> Result<Arc<dyn BlockBackend>, Failure> {
    if path.is_dir() {
        return Err(Failure::usage(format!("{}: is a folder; name an ISO image", path.display())));
    }
    std::fs::metadata(path).map_err(|e| missing(path, &e))?;
    let medium = RawDisk::open(path, OpenMode { read_only: true })?;
    let mut id = [0; SECTOR as usize];
    // The volume descriptors of ISO 9660 begin at sector 16.
    let volume = slotone_block::read_exact(&medium, 16 * 2048, &mut id).is_ok() && &id[1..6] == b"CD001";
    if !volume {
        return Err(Failure::usage(format!(
            "{}: no ISO 9660 volume at sector 16; give an .iso image of a CD",
            path.display()
        )));
    }
    if let Some(note) = disc_note(medium.info().capacity, &id) {
        eprintln!("virtual-server-2005: {}: {note}", path.display());
    }
    Ok(Arc::new(medium))
}

/// What is odd about the size of a disc, by the begin of its first volume descriptor. No reason to refuse it: tools pad images that also boot from USB
/// sticks to other units than sectors, and of half an image the first half can be read.
fn disc_note(bytes: u64, descriptor: &[u8; SECTOR as usize]) -> Option<String> {
    let (whole, rest) = (bytes / DISC_SECTOR, bytes % DISC_SECTOR);
    // Only a primary descriptor has the volume's size, in logical blocks.
    let word = |at: usize| u64::from(u16::from_le_bytes([descriptor[at], descriptor[at + 1]]));
    let volume = (word(80) | word(82) << 16) * word(128);
    if descriptor[0] == 1 && volume.div_ceil(DISC_SECTOR) > whole {
        return Some(format!(
            "has {whole} whole sectors of the {} of its volume: it is cut off; the guest cannot read the rest, get the image anew",
            volume.div_ceil(DISC_SECTOR)
        ));
    }
    (rest > 0).then(|| {
        format!("the last {rest} bytes are no whole sector of {DISC_SECTOR}; the guest does not see them")
    })
}

/// A ROM or kernel file.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| missing(path, &e))
}

#[cfg(test)]
mod tests {
    use slotone_vhd::CreateOptions;

    use super::*;

    fn undo_with(vhd: Vhd) -> (Undo, Arc<dyn BlockBackend>) {
        let mut undo = Undo { discard: false, session: None, disks: Vec::new(), open: Vec::new(), ran: true };
        let lent = undo.lend(vhd);
        (undo, lent)
    }

    #[test]
    fn a_disk_that_cannot_be_closed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let vhd = |name| CreateOptions::dynamic(32 << 20).create(folder.path().join(name)).unwrap();
        let (undo, lent) = undo_with(vhd("a.vhd"));
        drop(lent);
        assert_eq!(undo.end(Ok(7)).unwrap(), 7);
        // As a thread has it that waits for it.
        let (undo, _lent) = undo_with(vhd("b.vhd"));
        let failure = undo.end(Ok(0)).unwrap_err();
        assert_eq!(failure.code, 2);
        assert!(failure.message.contains("b.vhd: not closed"), "{}", failure.message);
    }
}
