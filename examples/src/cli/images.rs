//! Opening disk images: by content, with one line about what is wrong and what to do.

use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use slotone_block::layers::Overlay;
use slotone_block::raw::{OpenMode, RawDisk};
use slotone_block::{BlockBackend, SECTOR};
use slotone_vhd::OpenOptions;

use super::failure::Failure;

/// The cookie of a VHD footer, which a dynamic or differencing disk also has at its start.
const COOKIE: &[u8; 8] = b"conectix";

/// Whether the file is a VHD, by its cookies, or claims to be by its name.
fn is_vhd(path: &Path) -> Result<bool, Failure> {
    let named = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("vhd"));
    let mut file = std::fs::File::open(path).map_err(|e| missing(path, &e))?;
    let mut head = [0; 8];
    let starts = file.read_exact(&mut head).is_ok() && head == *COOKIE;
    Ok(named || starts)
}

fn missing(path: &Path, e: &std::io::Error) -> Failure {
    let advice = match e.kind() {
        std::io::ErrorKind::NotFound => "check the path",
        std::io::ErrorKind::PermissionDenied => "check its permissions",
        std::io::ErrorKind::IsADirectory => "name an image, not a folder",
        _ => "check that it is an image or a block device",
    };
    Failure::usage(format!("{}: {e}; {advice}", path.display()))
}

/// A hard disk: VHD of any kind, raw image or host block device. With `discard`, nothing the guest writes reaches the file.
pub(crate) fn disk(path: &Path, read_only: bool, discard: bool) -> Result<Arc<dyn BlockBackend>, Failure> {
    let locked = read_only || discard;
    let medium: Arc<dyn BlockBackend> = if is_vhd(path)? {
        Arc::new(OpenOptions::new().read_only(locked).open(path)?)
    } else {
        Arc::new(RawDisk::open(path, OpenMode { read_only: locked })?)
    };
    if discard && !read_only { Ok(Arc::new(Overlay::new(medium))) } else { Ok(medium) }
}

/// A CD image: whole 2048-byte sectors, opened read-only.
pub(crate) fn cd(path: &Path) -> Result<Arc<dyn BlockBackend>, Failure> {
    if path.is_dir() {
        return Err(Failure::usage(format!("{}: is a folder; name an ISO image", path.display())));
    }
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
    Ok(Arc::new(medium))
}

/// A ROM or kernel file.
pub(crate) fn file(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| missing(path, &e))
}
