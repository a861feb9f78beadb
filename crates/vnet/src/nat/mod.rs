//! User-mode address translation: guests reach the networks that the host reaches, through plain sockets of this process and without a privilege.
//!
//! [`Nat`] is a station, the gateway of a network: it answers ARP, hands out leases with the DHCP [`Server`](crate::dhcp::Server) that it contains, ends the
//! guest's TCP connections with smoltcp and carries their bytes over sockets of the host, maps datagrams and echo requests, and passes name requests to the
//! host's resolvers. What it does outside it does through [`Host`], so it can be tested, fuzzed and restricted without a network.
//! [`NatPort`] (unix) is a card's own `Nat` with the host's sockets and a thread.
//!
//! | from the guest | goes to |
//! | --- | --- |
//! | gateway, port 53 (TCP, UDP) | a resolver of the host |
//! | gateway, echo request | answered here |
//! | gateway, other ports | the host's loopback, only with [`NatConfig::allow_host`]; else refused |
//! | 0/8, 127/8, 169.254/16, multicast, 240/4 and broadcast | refused |
//! | an address of the host itself | refused without [`NatConfig::allow_host`] |
//! | the network itself | nowhere: it is the other stations' |
//! | anything else | there, from a socket of the host |
//!
//! A connection's SYN is answered when the host's connection stands: what is refused outside is refused inside. Limits are [`Limits`]; what exceeds them is refused, or
//! takes the place of what was silent longest.
//!
//! Not here: IPv6, fragments from the guest (they are dropped), source quench and path MTU, protocols other than TCP, UDP and ICMP echo, helpers for protocols that
//! carry addresses (active FTP).

mod config;
mod echo;
mod engine;
mod flow;
mod host;
mod mapping;
#[cfg(unix)]
mod os;
#[cfg(unix)]
mod port;
mod stack;

pub use config::{Limits, NatConfig, NatError, NatEvent, NatStats};
pub use engine::{Nat, SocketId, Wants};
pub use host::{Host, HostSocket};
#[cfg(unix)]
pub use os::{OsHost, OsSocket};
#[cfg(unix)]
pub use port::{NatPort, open_nat};
