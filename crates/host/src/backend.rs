//! The host's end of a serial or parallel port.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::events::{EventError, EventThread};

/// Why a back end cannot be used.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BackendError {
    /// The text is none of the forms.
    #[error("'{0}' is no port back end: use none, stdio, file=PATH, unix=PATH, pty or host=DEVICE")]
    Syntax(String),
    /// The host refused.
    #[error("cannot open {path} for the port: {source}; {advice}")]
    Open {
        /// What was opened.
        path: String,
        /// The host's reason.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The event thread failed.
    #[error(transparent)]
    Events(#[from] EventError),
}

/// A back end as written on the command line.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum BackendSpec {
    /// Output is dropped, there is no input.
    #[default]
    None,
    /// Standard output and input.
    Stdio,
    /// Output is written to a file, made anew.
    File(PathBuf),
    /// One client at a time on a unix socket that we listen on.
    Unix(PathBuf),
    /// A new pseudo-terminal; its name is printed.
    Pty,
    /// A character device of the host.
    Host(PathBuf),
}

impl FromStr for BackendSpec {
    type Err = BackendError;

    fn from_str(text: &str) -> Result<Self, BackendError> {
        let syntax = || BackendError::Syntax(text.to_string());
        match text.split_once('=') {
            None => match text {
                "none" => Ok(Self::None),
                "stdio" => Ok(Self::Stdio),
                "pty" => Ok(Self::Pty),
                _ => Err(syntax()),
            },
            Some((_, "")) => Err(syntax()),
            Some(("file", path)) => Ok(Self::File(path.into())),
            Some(("unix", path)) => Ok(Self::Unix(path.into())),
            Some(("host", path)) => Ok(Self::Host(path.into())),
            Some(_) => Err(syntax()),
        }
    }
}

/// An open back end: where a port's output goes. Input comes through the event thread.
#[derive(Debug, Clone)]
pub struct CharBackend {
    output: Arc<Mutex<Output>>,
    description: String,
}

#[derive(Debug)]
enum Output {
    Nowhere,
    Stdout,
    File(File),
}

impl CharBackend {
    /// Opens `spec`; bytes that arrive are handed to `input` on the event thread.
    ///
    /// # Errors
    /// [`BackendError::Open`] with the name and what to do, or the event thread's error.
    pub fn open(
        spec: &BackendSpec,
        events: &EventThread,
        mut input: impl FnMut(&[u8]) + Send + 'static,
    ) -> Result<Self, BackendError> {
        let open = |path: &std::path::Path, advice| {
            let path = path.display().to_string();
            move |source| BackendError::Open { path, source, advice }
        };
        let (output, description) = match spec {
            BackendSpec::None => (Output::Nowhere, "none".to_string()),
            BackendSpec::Stdio => {
                let stdin = io::stdin().as_fd().try_clone_to_owned();
                // A closed standard input is no input, not an error.
                if let Ok(stdin) = stdin {
                    events.read(File::from(stdin), input)?;
                }
                (Output::Stdout, "stdio".to_string())
            }
            BackendSpec::File(path) => {
                let file = File::create(path).map_err(open(path, "check the folder and its permissions"))?;
                (Output::File(file), format!("file {}", path.display()))
            }
            BackendSpec::Host(path) => {
                let device = OpenOptions::new().read(true).write(true).open(path);
                let device = device.map_err(open(path, "check the device's name and that you may use it"))?;
                let reader =
                    device.try_clone().map_err(open(path, "check the host's limit of open files"))?;
                events.read(reader, input)?;
                (Output::File(device), format!("host device {}", path.display()))
            }
            BackendSpec::Pty => {
                use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
                let opened = || -> io::Result<(OwnedFd, String)> {
                    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY)?;
                    grantpt(&master)?;
                    unlockpt(&master)?;
                    let name = ptsname(&master, Vec::new())?.to_string_lossy().into_owned();
                    Ok((master, name))
                };
                let path = PathBuf::from("a pseudo-terminal");
                let (master, name) = opened().map_err(open(&path, "check that /dev/pts is mounted"))?;
                let master = File::from(master);
                let reader =
                    master.try_clone().map_err(open(&path, "check the host's limit of open files"))?;
                events.read(reader, input)?;
                (Output::File(master), name)
            }
            BackendSpec::Unix(path) => {
                let listener = UnixListener::bind(path)
                    .map_err(open(path, "remove the socket if no machine uses it any more"))?;
                let output = Arc::new(Mutex::new(Output::Nowhere));
                let client = Arc::clone(&output);
                std::thread::Builder::new()
                    .name("serial-socket".into())
                    .spawn(move || {
                        for stream in listener.incoming().flatten() {
                            let (Ok(writer), mut reader) = (stream.try_clone(), stream) else { continue };
                            *client.lock().unwrap_or_else(PoisonError::into_inner) =
                                Output::File(File::from(OwnedFd::from(writer)));
                            let mut buffer = [0; 4096];
                            while let Ok(n) = io::Read::read(&mut reader, &mut buffer)
                                && n > 0
                            {
                                input(&buffer[..n]);
                            }
                            *client.lock().unwrap_or_else(PoisonError::into_inner) = Output::Nowhere;
                        }
                    })
                    .map_err(open(path, "check the host's limit of threads"))?;
                let description = format!("unix socket {}", path.display());
                return Ok(Self { output, description });
            }
        };
        Ok(Self { output: Arc::new(Mutex::new(output)), description })
    }

    /// Writes what came out of the port. A reader that went away is not an error of the guest's: bytes are dropped.
    pub fn write(&self, bytes: &[u8]) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let _ = match &mut *output {
            Output::Nowhere => Ok(()),
            Output::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(bytes).and_then(|()| out.flush())
            }
            Output::File(file) => file.write_all(bytes),
        };
    }

    /// What it is, for messages: the name of a pseudo-terminal, for instance.
    pub fn description(&self) -> &str {
        &self.description
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn specifications() {
        assert_eq!("stdio".parse::<BackendSpec>().unwrap(), BackendSpec::Stdio);
        assert_eq!("file=/tmp/a=b".parse::<BackendSpec>().unwrap(), BackendSpec::File("/tmp/a=b".into()));
        for bad in ["", "file", "file=", "tcp=1", "stdin"] {
            assert!(matches!(bad.parse::<BackendSpec>(), Err(BackendError::Syntax(_))), "{bad}");
        }
    }

    #[test]
    fn a_file_that_cannot_be_made_is_named_with_advice() {
        let events = EventThread::start().unwrap();
        let spec = BackendSpec::File("/nonexistent-folder/serial.txt".into());
        let error = CharBackend::open(&spec, &events, |_| ()).unwrap_err().to_string();
        assert!(
            error.contains("/nonexistent-folder/serial.txt") && error.contains("check the folder"),
            "{error}"
        );
    }

    #[test]
    fn a_unix_socket_carries_both_ways() {
        use std::io::Read;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("serial");
        let events = EventThread::start().unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let backend = CharBackend::open(&BackendSpec::Unix(path.clone()), &events, move |b| {
            sender.send(b.to_vec()).unwrap();
        })
        .unwrap();
        let mut client = std::os::unix::net::UnixStream::connect(&path).unwrap();
        client.write_all(b"in").unwrap();
        assert_eq!(receiver.recv_timeout(std::time::Duration::from_secs(10)).unwrap(), b"in");
        backend.write(b"out");
        let mut got = [0; 3];
        client.read_exact(&mut got).unwrap();
        assert_eq!(&got, b"out");
    }
}
