use std::io::{ErrorKind as IoKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use slotone_vhd::nbd::Export;
use slotone_vhd::{ErrorKind, LinkedDisk, OpenOptions, Source};

use crate::ux::{Failure, Stop};

/// Clients at once.
const MAX_CLIENTS: usize = 64;
/// How often the signals are looked at.
const TICK: Duration = Duration::from_millis(50);

enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, PathBuf),
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Self::Unix(_, path) = self {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// A client's stream that gives up when the server has to stop and the client is silent.
struct Client<S> {
    stream: S,
    stop: Stop,
}

impl<S: Read> Read for Client<S> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.read(buf) {
                Err(e) if matches!(e.kind(), IoKind::WouldBlock | IoKind::TimedOut | IoKind::Interrupted) => {
                    if self.stop.load(Ordering::Relaxed) {
                        return Ok(0);
                    }
                }
                other => return other,
            }
        }
    }
}

impl<S: Write> Write for Client<S> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        loop {
            match self.stream.write(buf) {
                Err(e)
                    if matches!(e.kind(), IoKind::WouldBlock | IoKind::TimedOut)
                        && !self.stop.load(Ordering::Relaxed) => {}
                other => return other,
            }
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.stream.flush()
    }
}

pub(crate) fn serve(path: &Path, address: &str, readonly: bool, stop: &Stop) -> Result<ExitCode, Failure> {
    let disk: Arc<dyn Source> = match OpenOptions::new().read_only(readonly).open(path) {
        Ok(disk) => Arc::new(disk),
        Err(e) if matches!(e.kind(), ErrorKind::NotVhd) => Arc::new(LinkedDisk::open(path, readonly)?),
        Err(e) => return Err(e.into()),
    };
    let at = |e: std::io::Error| Failure::new(format!("{address}: {e}"));
    let listener = match address.strip_prefix("unix:") {
        Some(socket) => Listener::Unix(UnixListener::bind(socket).map_err(at)?, socket.into()),
        None => Listener::Tcp(TcpListener::bind(address).map_err(at)?),
    };
    match &listener {
        Listener::Tcp(l) => {
            l.set_nonblocking(true)?;
            println!("serving {} at nbd://{}", path.display(), l.local_addr()?);
        }
        Listener::Unix(l, socket) => {
            l.set_nonblocking(true)?;
            println!("serving {} at nbd+unix:///?socket={}", path.display(), socket.display());
        }
    }
    std::io::stdout().flush()?;
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let export = Export::new(disk.clone()).name(name);
    let clients = AtomicUsize::new(0);
    std::thread::scope(|scope| -> Result<(), Failure> {
        while !stop.load(Ordering::Relaxed) {
            let accepted = match &listener {
                Listener::Tcp(l) => l.accept().map(|(s, _)| Stream::Tcp(s)),
                Listener::Unix(l, _) => l.accept().map(|(s, _)| Stream::Unix(s)),
            };
            let stream = match accepted {
                Ok(s) => s,
                Err(e)
                    if matches!(
                        e.kind(),
                        IoKind::WouldBlock | IoKind::Interrupted | IoKind::ConnectionAborted
                    ) =>
                {
                    std::thread::sleep(TICK);
                    continue;
                }
                Err(e) => return Err(e.into()),
            };
            if clients.load(Ordering::Relaxed) >= MAX_CLIENTS {
                eprintln!("vhd: more than {MAX_CLIENTS} clients: one is turned away");
                continue;
            }
            clients.fetch_add(1, Ordering::Relaxed);
            let (export, clients) = (&export, &clients);
            scope.spawn(move || {
                if let Err(e) = stream.serve(export, stop) {
                    eprintln!("vhd: a client: {e}");
                }
                clients.fetch_sub(1, Ordering::Relaxed);
            });
        }
        Ok(())
    })?;
    drop(export);
    disk.flush().map_err(|e| Failure::new(e.to_string()))?;
    Ok(ExitCode::SUCCESS)
}

enum Stream {
    Tcp(TcpStream),
    Unix(UnixStream),
}

impl Stream {
    fn serve(self, export: &Export, stop: &Stop) -> std::io::Result<()> {
        match self {
            Self::Tcp(s) => {
                s.set_nonblocking(false)?;
                s.set_nodelay(true)?;
                s.set_read_timeout(Some(TICK * 4))?;
                export.serve(Client { stream: s, stop: stop.clone() })
            }
            Self::Unix(s) => {
                s.set_nonblocking(false)?;
                s.set_read_timeout(Some(TICK * 4))?;
                export.serve(Client { stream: s, stop: stop.clone() })
            }
        }
    }
}
