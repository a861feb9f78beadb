//! Leases in a file, written so that there is always a whole one.

use super::{LeaseError, Server};
use slotone_bus::VmInstant;
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// The longest lease file that is read: 4096 lines of the longest kind, and room.
const LONGEST: u64 = 4 << 20;

/// A lease file that cannot be used.
#[derive(Debug)]
#[non_exhaustive]
pub enum StoreError {
    /// It cannot be read or written.
    Io(PathBuf, io::Error),
    /// It is no lease file.
    Format(PathBuf, LeaseError),
}

impl std::fmt::Display for StoreError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Io(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Format(path, error) => write!(f, "{}: not a lease file: {error}", path.display()),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io(_, error) => Some(error),
            Self::Format(_, error) => Some(error),
        }
    }
}

impl Server {
    /// Takes the leases from a file; one that does not exist has none.
    ///
    /// # Errors
    /// [`StoreError`]; the server is as before then.
    pub fn load(&mut self, now: VmInstant, path: &Path) -> Result<(), StoreError> {
        let io = |error| StoreError::Io(path.to_path_buf(), error);
        match fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(io(error)),
            Ok(data) if data.len() > LONGEST => {
                return Err(StoreError::Format(
                    path.to_path_buf(),
                    LeaseError { line: 1, expected: "at most 4 MiB" },
                ));
            }
            Ok(_) => {}
        }
        let text = fs::read_to_string(path).map_err(io)?;
        self.import(now, &text).map_err(|error| StoreError::Format(path.to_path_buf(), error))
    }

    /// Writes the leases to a file if they changed since the last time: to a new file beside it that then takes its place.
    ///
    /// # Errors
    /// [`StoreError::Io`]; the file is as before then.
    pub fn save(&mut self, now: VmInstant, path: &Path) -> Result<(), StoreError> {
        self.write(now, path, true)
    }

    /// As [`Server::save`]; with `durable` the file outlives the host's end too, not only the program's, which takes a disk's time.
    pub(crate) fn write(&mut self, now: VmInstant, path: &Path, durable: bool) -> Result<(), StoreError> {
        if !self.changed() {
            return Ok(());
        }
        let io = |error| StoreError::Io(path.to_path_buf(), error);
        let mut name = path.file_name().ok_or_else(|| io(io::ErrorKind::InvalidInput.into()))?.to_os_string();
        name.push(format!(".{}.new", std::process::id()));
        let new = path.with_file_name(name);
        let written = File::create(&new).and_then(|mut file| {
            file.write_all(self.export(now).as_bytes())?;
            if durable {
                file.sync_all()?;
            }
            fs::rename(&new, path)
        });
        if let Err(error) = written {
            // What is left of the attempt is of no use to anyone.
            let _ = fs::remove_file(&new);
            return Err(io(error));
        }
        self.set_saved();
        Ok(())
    }
}
