//! Ports and echo identifiers of guests that are mapped to sockets of the host.

use super::flow::Endpoint;
use crate::wire::{ETHERTYPE_IPV4, Ethernet, PROTOCOL_UDP, Path, pseudo_header, sum, udp_frame};
use slotone_bus::VmInstant;
use std::net::{Ipv4Addr, SocketAddr};

/// The longest datagram in one frame.
const WHOLE: usize = 1472;
/// Payload of a fragment: a multiple of 8 that fits a frame.
const FRAGMENT: usize = 1480;

/// What is mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    /// A UDP port.
    Datagrams,
    /// A UDP port that asks for names.
    Names,
    /// An echo identifier.
    Echo,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct MapKey {
    pub(super) what: What,
    pub(super) guest: Endpoint,
}

/// Whom a mapped port has spoken to: only they are heard.
#[derive(Debug, Clone, Copy)]
struct Peer {
    /// As the guest knows it.
    shown: Endpoint,
    actual: SocketAddr,
    last: VmInstant,
}

#[derive(Debug)]
pub(super) struct Mapping<S> {
    pub(super) socket: S,
    peers: Vec<Peer>,
    pub(super) last: VmInstant,
}

impl<S> Mapping<S> {
    pub(super) fn new(socket: S, now: VmInstant) -> Self {
        Self { socket, peers: Vec::new(), last: now }
    }

    pub(super) fn knows(&self, shown: Endpoint) -> bool {
        self.peers.iter().any(|peer| peer.shown == shown)
    }

    /// The guest speaks to somebody.
    pub(super) fn speak(&mut self, now: VmInstant, shown: Endpoint, actual: SocketAddr, limit: usize) {
        self.last = now;
        if let Some(peer) = self.peers.iter_mut().find(|p| p.shown == shown && p.actual == actual) {
            peer.last = now;
            return;
        }
        if self.peers.len() >= limit.max(1)
            && let Some(oldest) = (0..self.peers.len()).min_by_key(|i| self.peers[*i].last)
        {
            self.peers.swap_remove(oldest);
        }
        self.peers.push(Peer { shown, actual, last: now });
    }

    /// Somebody speaks to the guest: how the guest knows them, if it does.
    pub(super) fn hear(&mut self, now: VmInstant, actual: SocketAddr) -> Option<Endpoint> {
        let peer = self.peers.iter_mut().find(|peer| peer.actual == actual)?;
        (self.last, peer.last) = (now, now);
        Some(peer.shown)
    }
}

/// A datagram as frames: one, or fragments.
pub(super) fn frames(path: &Path, identification: u16, payload: &[u8], push: &mut dyn FnMut(Vec<u8>)) {
    if payload.len() <= WHOLE {
        return push(udp_frame(path, payload));
    }
    // UDP counts its own header.
    let Ok(len) = u16::try_from(8 + payload.len()) else { return };
    let ((from, from_port), (to, to_port)) = (path.source, path.destination);
    let mut datagram = Vec::with_capacity(len.into());
    datagram.extend_from_slice(&from_port.to_be_bytes());
    datagram.extend_from_slice(&to_port.to_be_bytes());
    datagram.extend_from_slice(&len.to_be_bytes());
    datagram.extend_from_slice(&[0, 0]);
    datagram.extend_from_slice(payload);
    let pseudo = pseudo_header(from, to, PROTOCOL_UDP, len.into());
    let checksum = match !sum(&[&pseudo, &datagram]) {
        0 => 0xffff,
        other => other,
    };
    datagram[6..8].copy_from_slice(&checksum.to_be_bytes());
    let count = datagram.len().div_ceil(FRAGMENT);
    for (i, part) in datagram.chunks(FRAGMENT).enumerate() {
        let more = if i + 1 < count { 0x2000 } else { 0 };
        let header = fragment((from, to), identification, more | (i * FRAGMENT / 8) as u16, part.len());
        push(Ethernet::build(path.destination_mac, path.source_mac, ETHERTYPE_IPV4, &[&header, part]));
    }
}

fn fragment((from, to): (Ipv4Addr, Ipv4Addr), identification: u16, place: u16, len: usize) -> [u8; 20] {
    let mut header = crate::wire::Ipv4::header(from, to, PROTOCOL_UDP, len);
    header[4..6].copy_from_slice(&identification.to_be_bytes());
    header[6..8].copy_from_slice(&place.to_be_bytes());
    header[10..12].fill(0);
    let checksum = !sum(&[&header]);
    header[10..12].copy_from_slice(&checksum.to_be_bytes());
    header
}
