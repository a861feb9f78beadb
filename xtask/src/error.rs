//! The one error type of the scripts: a line that says what was expected, what was found, and what to do.

use std::io;
use std::path::{Path, PathBuf};

/// Why a script stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    /// The host lacks something that the user can install.
    #[error("this host lacks {0}")]
    Host(String),
    /// A file operation failed.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the host said.
        source: io::Error,
    },
    /// A program that was run failed.
    #[error("{program} failed: {detail}")]
    Program {
        /// Its name.
        program: String,
        /// The last lines of what it said.
        detail: String,
    },
    /// An input does not look as it should.
    #[error("{0}")]
    Input(String),
    /// A check that was run did not pass.
    #[error("{0}")]
    Check(String),
}

/// Result of a script's step.
pub(crate) type Result<T> = std::result::Result<T, Error>;

/// Names the file in an I/O error.
pub(crate) trait IoContext<T> {
    /// Attaches `path` to the error.
    fn at(self, path: impl AsRef<Path>) -> Result<T>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn at(self, path: impl AsRef<Path>) -> Result<T> {
        self.map_err(|source| Error::Io { path: path.as_ref().to_path_buf(), source })
    }
}
