//! Ports that lead out of the process: other processes' machines, unix sockets, TAP and the wire of an interface.
//!
//! Every port here has a thread of its own that moves frames between the host and two bounded queues, and calls the [`Waker`](slotone_net::Waker)
//! when there is something to do. What comes from outside comes when it comes: a machine whose run is to be repeated uses a
//! [`Switch`](crate::switch::Switch) of its own process.

mod error;
#[cfg(all(feature = "external", target_os = "linux"))]
mod external;
mod framed;
mod hub;
mod internal;
#[cfg(any(feature = "external", test))]
mod offload;
mod port;
mod rundir;
mod socket;
#[cfg(all(feature = "tap", target_os = "linux"))]
mod tap;

pub use crate::threaded::{HostPort, PortStats};
pub use error::HostError;
#[cfg(all(feature = "external", target_os = "linux"))]
pub use external::open_external;
pub use internal::{InternalOptions, open_internal};
pub use rundir::run_dir;
pub use socket::open_socket;
#[cfg(all(feature = "tap", target_os = "linux"))]
pub use tap::open_tap;

use crate::dhcp::DhcpSpec;
use crate::spec::{NicMode, NicSpec};
use slotone_net::{MacAddress, NetPort, NotConnected};

/// Opens what a command line says, for a card with the address `mac`. `dhcp` is for internal networks: what
/// the command line says about this network's server, if it does.
///
/// # Errors
/// [`HostError`], which names the interface or file and what to do.
pub fn open(nic: &NicSpec, mac: MacAddress, dhcp: Option<&DhcpSpec>) -> Result<Box<dyn NetPort>, HostError> {
    match &nic.mode {
        NicMode::None => Ok(Box::new(NotConnected)),
        NicMode::Internal(network) => {
            let options = InternalOptions {
                mac: Some(mac),
                promiscuous: nic.promiscuous,
                isolated: nic.isolated,
                dhcp: dhcp.cloned(),
                ..InternalOptions::new(network)
            };
            Ok(Box::new(open_internal(options)?))
        }
        NicMode::Socket(path) => Ok(Box::new(open_socket(path)?)),
        #[cfg(all(feature = "tap", target_os = "linux"))]
        NicMode::Tap(interface) => Ok(Box::new(open_tap(interface)?)),
        #[cfg(all(feature = "external", target_os = "linux"))]
        NicMode::External(interface) => Ok(Box::new(open_external(interface)?)),
        #[cfg(feature = "nat")]
        NicMode::Nat(spec) => Ok(Box::new(crate::nat::open_nat(spec, |_| {}).map_err(HostError::Nat)?)),
        #[allow(unreachable_patterns, reason = "modes that this build has not")]
        _ => Err(HostError::NotInThisBuild(match nic.mode {
            NicMode::Tap(_) => "tap",
            NicMode::External(_) => "external",
            _ => "nat",
        })),
    }
}
