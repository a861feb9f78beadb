//! A TAP interface: the guest's card is one end of it, the host's network stack (or a bridge of it) the other.

use super::HostError;
use super::port::Link;
use crate::threaded::HostPort;
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

/// Frames that are read before those that wait to be sent have their turn.
const BURST: usize = 64;
const LONGEST: usize = 1 << 16;

struct Tap {
    device: SyncDevice,
    buffer: Vec<u8>,
}

/// A port that is the far end of the TAP interface `interface`. One that does not exist is made, which needs CAP_NET_ADMIN, and vanishes with
/// the port; one that exists must belong to the user.
///
/// # Errors
/// [`HostError`]: not permitted, in use, or down and not to be changed.
pub fn open_tap(interface: &str) -> Result<HostPort, HostError> {
    let name = || interface.to_string();
    let error = |error: io::Error| match Errno::from_io_error(&error) {
        Some(Errno::PERM | Errno::ACCESS) => HostError::Permission(name()),
        Some(Errno::BUSY) => HostError::Busy(name()),
        _ => HostError::Interface(name(), error),
    };
    let builder = DeviceBuilder::new().name(interface).layer(Layer::L2).inherit_enable_state();
    let device = builder.build_sync().map_err(error)?;
    device.set_nonblocking(true).map_err(error)?;
    // An administrator may have done it already, and the user may not have to.
    if device.enabled(true).is_err() && !is_up(interface) {
        return Err(HostError::Down(name()));
    }
    HostPort::over(interface, Tap { device, buffer: vec![0; LONGEST] }).map_err(error)
}

fn is_up(interface: &str) -> bool {
    let flags = std::fs::read_to_string(format!("/sys/class/net/{interface}/flags")).unwrap_or_default();
    u32::from_str_radix(flags.trim().trim_start_matches("0x"), 16).is_ok_and(|flags| flags & 1 != 0)
}

impl Link for Tap {
    fn fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }

    fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        for _ in 0..BURST {
            match self.device.recv(&mut self.buffer) {
                Ok(n) => take(&self.buffer[..n.min(slotone_net::MAX_FRAME)]),
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) =>
                {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write(&mut self, frame: &[u8]) -> io::Result<bool> {
        match self.device.send(frame) {
            Ok(_) => Ok(true),
            Err(error) => match Errno::from_io_error(&error) {
                Some(Errno::AGAIN) => Ok(false),
                // Lost, as on a wire: the interface is down or full, or the frame is none.
                Some(Errno::IO | Errno::NOBUFS | Errno::INVAL | Errno::INTR | Errno::MSGSIZE) => Ok(true),
                _ => Err(error),
            },
        }
    }
}
