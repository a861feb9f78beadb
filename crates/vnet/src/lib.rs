//! Virtual networks: learning switch, DHCP server, TAP, packet and unix socket ports, pcap.
#![forbid(unsafe_code)]

#[cfg(feature = "dhcp")]
pub mod dhcp;
pub mod fault;
#[cfg(all(feature = "host", unix))]
pub mod host;
pub mod mac;
#[cfg(feature = "pcap")]
pub mod pcap;
#[cfg(feature = "services")]
pub mod services;
pub mod spec;
pub mod station;
#[cfg(feature = "switch")]
pub mod switch;
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks also what a panicking thread held: every change here is complete or harmless.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
