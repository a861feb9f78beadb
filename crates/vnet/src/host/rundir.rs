//! The folder in which processes of one user find each other.

use super::HostError;
use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Where the sockets of internal networks are: `slotone` in `$XDG_RUNTIME_DIR`, else `/tmp/slotone-UID`.
pub fn run_dir() -> PathBuf {
    match std::env::var_os("XDG_RUNTIME_DIR").filter(|value| Path::new(value).is_absolute()) {
        Some(folder) => Path::new(&folder).join("slotone"),
        None => PathBuf::from(format!("/tmp/slotone-{}", rustix::process::geteuid().as_raw())),
    }
}

/// Makes the folder if need be, and checks that nobody else can put anything into it.
pub(super) fn prepare(folder: &Path) -> Result<(), HostError> {
    let error = |error| HostError::Path(folder.to_path_buf(), error);
    match fs::DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => {}
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(e) => return Err(error(e)),
    }
    let data = fs::symlink_metadata(folder).map_err(error)?;
    let own = data.uid() == rustix::process::geteuid().as_raw();
    if data.is_dir() && own && data.mode() & 0o077 == 0 {
        Ok(())
    } else {
        Err(HostError::Unsafe(folder.to_path_buf()))
    }
}

/// The files of a network.
#[derive(Debug, Clone)]
pub(super) struct Files {
    pub(super) socket: PathBuf,
    pub(super) lock: PathBuf,
    pub(super) leases: PathBuf,
}

impl Files {
    pub(super) fn new(folder: &Path, network: &str) -> Result<Self, HostError> {
        let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
        if !(1..=64).contains(&network.len()) || network.starts_with('.') || !network.bytes().all(fine) {
            return Err(HostError::Name(network.to_string()));
        }
        let file = |suffix: &str| folder.join(format!("{network}.{suffix}"));
        let files = Self { socket: file("sock"), lock: file("lock"), leases: file("leases") };
        // The system's limit of a socket's path, and room for the new one beside it.
        if files.socket.as_os_str().len() > 100 {
            return Err(HostError::TooLong(files.socket));
        }
        Ok(files)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_folder_that_others_may_enter_is_refused() {
        let folder = std::env::temp_dir().join(format!("slotone-vnet-rundir-{}", std::process::id()));
        prepare(&folder).unwrap();
        prepare(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o750)).unwrap();
        assert!(matches!(prepare(&folder), Err(HostError::Unsafe(_))));
        fs::remove_dir(&folder).unwrap();
        std::os::unix::fs::symlink(std::env::temp_dir(), &folder).unwrap();
        assert!(matches!(prepare(&folder), Err(HostError::Unsafe(_))));
        fs::remove_file(&folder).unwrap();
    }

    #[test]
    fn names_stay_in_the_folder() {
        for bad in ["", ".", "..", "a/b", "a b", &"x".repeat(65)] {
            assert!(matches!(Files::new(Path::new("/run"), bad), Err(HostError::Name(_))), "{bad}");
        }
        let deep = PathBuf::from("/").join("x".repeat(100));
        assert!(matches!(Files::new(&deep, "a"), Err(HostError::TooLong(_))));
    }
}
