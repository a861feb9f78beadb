//! A DHCP server (RFC 2131, RFC 2132) with the rules of the original's virtual networks.
//!
//! [`Server`] is a station without I/O: frames in, frames out, time as an argument. It has an address of its own on the
//! network and answers ARP and ICMP echo for it. [`Config`] says what it hands out; [`DhcpSpec`] is the text form of it.

mod config;
mod leases;
mod message;
mod server;
mod spec;
mod store;

pub use config::{Config, ConfigError};
pub use leases::{Lease, LeaseError, LeaseState};
pub use server::{DhcpEvent, Server, Stats};
pub use spec::{DhcpSpec, SpecError};
pub use store::StoreError;
