//! Why a port of the host cannot be had.

use std::io;
use std::path::PathBuf;

/// Why a port of the host cannot be had. The texts name what was tried and what to do.
#[derive(Debug)]
#[non_exhaustive]
pub enum HostError {
    /// A file or folder.
    Path(PathBuf, io::Error),
    /// The folder of the sockets belongs to someone else or lets others in.
    Unsafe(PathBuf),
    /// The path of a socket is longer than the system allows.
    TooLong(PathBuf),
    /// A name of a network that cannot be a file's.
    Name(String),
    /// An interface that there is not.
    NoInterface(String),
    /// The user may not open the interface.
    Permission(String),
    /// Another program has the interface.
    Busy(String),
    /// The interface is down and the user may not change that.
    Down(String),
    /// Anything else about an interface.
    Interface(String, io::Error),
    /// The network refused the card: another one has its address, for instance.
    Refused(String, String),
    /// The network's hub does not answer.
    NoAnswer(String),
    /// A network behind the host's own connections.
    #[cfg(feature = "nat")]
    Nat(crate::nat::NatError),
    /// A mode that was left out when this program was built.
    NotInThisBuild(&'static str),
}

impl std::fmt::Display for HostError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path, error) => write!(f, "{}: {error}", path.display()),
            Self::Unsafe(path) => write!(
                f,
                "{}: must be a folder that belongs to you and that nobody else may enter (chmod 700), or set XDG_RUNTIME_DIR",
                path.display()
            ),
            Self::TooLong(path) => {
                write!(
                    f,
                    "{}: too long for a socket; set XDG_RUNTIME_DIR to a shorter folder",
                    path.display()
                )
            }
            Self::Name(name) => {
                write!(f, "{name}: a network's name is 1 to 64 letters, digits, '-', '_' and '.'")
            }
            Self::NoInterface(name) => write!(f, "{name}: no such interface (ip link shows them)"),
            Self::Permission(name) => write!(
                f,
                "{name}: not permitted; run with CAP_NET_ADMIN and CAP_NET_RAW, or for TAP let an administrator make it: ip tuntap add {name} mode tap user $USER"
            ),
            Self::Busy(name) => write!(f, "{name}: another program uses it"),
            Self::Down(name) => write!(f, "{name}: the interface is down: ip link set {name} up"),
            Self::Interface(name, error) => write!(f, "{name}: {error}"),
            Self::Refused(name, why) => write!(f, "network {name}: {why}"),
            Self::NoAnswer(name) => {
                write!(f, "network {name}: the process that carries it does not answer; is it stopped?")
            }
            #[cfg(feature = "nat")]
            Self::Nat(error) => error.fmt(f),
            Self::NotInThisBuild(mode) => write!(f, "--nic {mode}: not in this build"),
        }
    }
}

impl std::error::Error for HostError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Path(_, error) | Self::Interface(_, error) => Some(error),
            #[cfg(feature = "nat")]
            Self::Nat(error) => Some(error),
            _ => None,
        }
    }
}
