//! The wire of an interface: a packet socket in promiscuous mode, as the original's driver on the host's card.
//!
//! The host itself does not hear what the guest sends (it goes to the wire), unless the interface is one end of a veth pair, a bridge port or the like.

use super::HostError;
use super::offload::complete;
use super::port::Link;
use crate::threaded::HostPort;
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

/// The longest that a packet socket gives: a segment that is still to be cut.
const LONGEST: usize = 1 << 16;
/// Frames that are read before those that wait to be sent have their turn.
const BURST: usize = 64;

struct PacketSocket {
    fd: OwnedFd,
    buffer: Vec<u8>,
}

/// A port on the wire of `interface`, which must be up. Needs CAP_NET_RAW.
///
/// # Errors
/// [`HostError`]: no such interface, down, or not permitted.
pub fn open_external(interface: &str) -> Result<HostPort, HostError> {
    let name = || interface.to_string();
    let found = pnet_datalink::interfaces().into_iter().find(|one| one.name == interface);
    let found = found.ok_or_else(|| HostError::NoInterface(name()))?;
    if !found.is_up() {
        return Err(HostError::Down(name()));
    }
    let error = |error: io::Error| match error.kind() {
        io::ErrorKind::PermissionDenied => HostError::Permission(name()),
        _ => HostError::Interface(name(), error),
    };
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    // Without a protocol nothing comes in until the socket is bound to the interface.
    let fd = socket_with(AddressFamily::PACKET, SocketType::RAW, flags, None).map_err(|e| error(e.into()))?;
    let theirs = fd.try_clone().map_err(error)?;
    // Binds it and makes the interface promiscuous, for as long as a copy of the socket is open.
    let config = pnet_datalink::Config {
        promiscuous: true,
        socket_fd: Some(theirs.into_raw_fd()),
        ..pnet_datalink::Config::default()
    };
    pnet_datalink::channel(&found, config).map_err(error)?;
    let link = PacketSocket { fd, buffer: vec![0; LONGEST] };
    HostPort::over(interface, link).map_err(error)
}

impl Link for PacketSocket {
    fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        for _ in 0..BURST {
            match rustix::io::read(&self.fd, &mut self.buffer[..]) {
                Ok(n) => complete(&self.buffer[..n], take),
                // Down for now: the socket goes on when the interface does.
                Err(Errno::AGAIN | Errno::INTR | Errno::NETDOWN) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<bool> {
        match rustix::io::write(&self.fd, frame) {
            Err(Errno::AGAIN) => Ok(false),
            // Lost, as on a wire: the interface is down or full, or the frame is none for it.
            Ok(_) | Err(Errno::NOBUFS | Errno::NETDOWN | Errno::MSGSIZE | Errno::INVAL | Errno::INTR) => {
                Ok(true)
            }
            Err(error) => Err(error.into()),
        }
    }
}
