//! Virtual networks for emulated machines: a learning switch, a DHCP server, captures, bad networks by seed, and ports that lead to other processes
//! and to the host's interfaces.
//!
//! Everything that a card can be plugged into is a [`NetPort`](slotone_net::NetPort). What stays in the process has no thread and no clock: virtual time is
//! an argument, and two runs with the same inputs are the same run.
//!
//! | module | feature | what |
//! | --- | --- | --- |
//! | [`switch`] | `switch` (default) | learning switch: isolation, promiscuous ports, duplicate addresses, counters, captures |
//! | [`dhcp`] | `dhcp` (default) | DHCP server with the rules of Virtual Server 2005, a station for the switch |
//! | [`pcap`] | `pcap` (default) | capture files with virtual time |
//! | [`station`], [`fault`], [`mac`], [`spec`] | always | built-in stations; loss, doubling and delay by seed; addresses 00-03-FF; `--nic` as text |
//! | `services` | `services` | TFTP and HTTP for guests, on smoltcp |
//! | `nat` | `nat` | user-mode address translation: TCP, UDP, echo and names out, forwards in, without a privilege |
//! | `host` | `host`, `tap`, `external` | networks across processes, unix sockets, TAP, the wire of an interface |
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(feature = "dhcp")]
pub mod dhcp;
pub mod fault;
#[cfg(any(feature = "nat", feature = "services"))]
mod guard;
#[cfg(all(feature = "host", unix))]
pub mod host;
pub mod mac;
#[cfg(feature = "nat")]
pub mod nat;
#[cfg(feature = "pcap")]
pub mod pcap;
#[cfg(any(feature = "nat", feature = "services"))]
mod phy;
#[cfg(feature = "services")]
pub mod services;
pub mod spec;
pub mod station;
#[cfg(feature = "switch")]
pub mod switch;
#[cfg(all(any(feature = "host", feature = "nat"), unix))]
#[cfg_attr(
    not(feature = "host"),
    allow(dead_code, unreachable_pub, reason = "NAT alone shows its own port, and has no link that fails")
)]
mod threaded;
#[cfg(any(feature = "switch", feature = "dhcp"))]
#[cfg_attr(not(feature = "dhcp"), allow(dead_code, reason = "the switch alone needs addresses only"))]
mod wire;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Locks also what a panicking thread held: every change here is complete or harmless.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(all(doctest, feature = "switch", feature = "dhcp", feature = "pcap"))]
#[doc = include_str!("../README.md")]
struct Readme;
