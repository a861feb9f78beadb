//! A port on an internal network: finds the process that carries it, or becomes that process.

use super::HostError;
use super::framed::{Framed, Splitter};
use super::hub::{self, Hello};
use super::port::serve;
use super::rundir::{Files, prepare, run_dir};
use crate::dhcp::DhcpSpec;
use crate::threaded::{HostPort, Outside};
use rustix::fs::{FlockOperation, flock};
use slotone_net::MacAddress;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// How long until the next try when another process is about to carry the network.
const AGAIN: Duration = Duration::from_millis(5);
/// How long the hub may take to answer.
const ANSWER: Duration = Duration::from_secs(2);
/// How long the first try may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// What a port on an internal network wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternalOptions {
    /// The network's name.
    pub network: String,
    /// The folder in which processes find each other ([`run_dir`]).
    pub run_dir: PathBuf,
    /// The card's address: no other port of the network may have it.
    pub mac: Option<MacAddress>,
    /// The port hears every frame of the network.
    pub promiscuous: bool,
    /// The port hears only ports that are not isolated.
    pub isolated: bool,
    /// What this process has to say about the network's DHCP server. The first process that says anything is heard; if none does,
    /// the server is on with [`Config::for_network`](crate::dhcp::Config::for_network).
    pub dhcp: Option<DhcpSpec>,
}

impl InternalOptions {
    /// A plain port on the network of that name.
    pub fn new(network: &str) -> Self {
        Self {
            network: network.to_string(),
            run_dir: run_dir(),
            mac: None,
            promiscuous: false,
            isolated: false,
            dhcp: None,
        }
    }
}

/// Why there is no connection now.
enum Trouble {
    /// Another process is about to begin or to end.
    Later,
    For(HostError),
}

/// A port on an internal network, shared by every process of this user on this host. The first process carries the network, and with it the DHCP
/// server; when it ends, another one takes over, and frames of that moment wait.
///
/// # Errors
/// [`HostError`]: the folder is not safe, another card has the address, or the carrying process is stopped.
pub fn open_internal(options: InternalOptions) -> Result<HostPort, HostError> {
    prepare(&options.run_dir)?;
    let files = Files::new(&options.run_dir, &options.network)?;
    let folder = options.run_dir.clone();
    let (tell, told) = channel();
    let name = options.network.clone();
    let port = HostPort::spawn(&format!("net {name}"), false, move |outside| {
        run(outside, &options, &files, &tell);
    })
    .map_err(|error| HostError::Path(folder, error))?;
    match told.recv_timeout(PATIENCE) {
        Ok(Ok(())) => Ok(port),
        Ok(Err(error)) => Err(error),
        Err(_) => Err(HostError::NoAnswer(name)),
    }
}

fn run(outside: &Outside, options: &InternalOptions, files: &Files, tell: &Sender<Result<(), HostError>>) {
    let mut known = false;
    while !outside.stopped() {
        match join(options, files) {
            Ok(mut framed) => {
                outside.set_link(true, None);
                if !known {
                    known = true;
                    // Nobody waits any more if the answer took too long.
                    let _ = tell.send(Ok(()));
                }
                // The link stays up while the next process takes over: it is a matter of milliseconds.
                if serve(outside, &mut framed).is_ok() {
                    return;
                }
            }
            Err(Trouble::Later) => outside.wait(AGAIN),
            Err(Trouble::For(error)) if !known => {
                let _ = tell.send(Err(error));
                return;
            }
            Err(Trouble::For(error)) => {
                outside.set_link(false, Some(error.to_string()));
                outside.wait(AGAIN * 40);
            }
        }
    }
}

fn join(options: &InternalOptions, files: &Files) -> Result<Framed, Trouble> {
    let at = |error| Trouble::For(HostError::Path(files.socket.clone(), error));
    let stream = match UnixStream::connect(&files.socket) {
        Ok(stream) => stream,
        Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
            elect(options, files)?;
            UnixStream::connect(&files.socket).map_err(|_| Trouble::Later)?
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(Trouble::Later),
        Err(error) => return Err(at(error)),
    };
    let hello = Hello {
        mac: options.mac,
        promiscuous: options.promiscuous,
        isolated: options.isolated,
        dhcp: options.dhcp.clone(),
    };
    match greet(&stream, &hello) {
        Ok(answer) => match answer.strip_prefix("error ") {
            Some(why) => Err(Trouble::For(HostError::Refused(options.network.clone(), why.to_string()))),
            None => Framed::new(stream).map_err(at),
        },
        // It is stopped, or the machine is very busy.
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
            Err(Trouble::For(HostError::NoAnswer(options.network.clone())))
        }
        // It ended just now.
        Err(_) => Err(Trouble::Later),
    }
}

/// Says hello and reads the answer, which is the first message and nothing behind it.
fn greet(mut stream: &UnixStream, hello: &Hello) -> io::Result<String> {
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let text = hello.to_string();
    stream.write_all(&(text.len() as u32).to_be_bytes())?;
    stream.write_all(text.as_bytes())?;
    let mut splitter = Splitter::default();
    let mut answer = None;
    let began = Instant::now();
    while answer.is_none() {
        if began.elapsed() > ANSWER {
            return Err(io::ErrorKind::TimedOut.into());
        }
        // Byte by byte: frames may follow at once.
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        splitter.push(&byte, &mut |text| answer = Some(String::from_utf8_lossy(text).into_owned()))?;
    }
    Ok(answer.unwrap_or_default())
}

/// Becomes the process that carries the network, unless another one is.
fn elect(options: &InternalOptions, files: &Files) -> Result<(), Trouble> {
    let at = |path: &PathBuf| {
        let path = path.clone();
        move |error: io::Error| Trouble::For(HostError::Path(path, error))
    };
    let lock: File = OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(0o600)
        .open(&files.lock)
        .map_err(at(&files.lock))?;
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(Trouble::Later),
        Err(error) => return Err(at(&files.lock)(error.into())),
    }
    // Whoever had the socket is gone. The new one takes its name when it listens.
    let new = files.socket.with_extension("new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(&new)(error)),
        _ => {}
    }
    let listener = UnixListener::bind(&new).map_err(at(&new))?;
    std::fs::rename(&new, &files.socket).map_err(at(&files.socket))?;
    hub::spawn(&options.network, files.clone(), lock, listener).map_err(at(&files.socket))
}
