//! TFTP read requests (RFC 1350) in octet mode, with the options blksize (RFC 2348), tsize (RFC 2349) and windowsize (RFC 7440).

use super::content::{Content, Library};
use crate::station::Outbox;
use crate::wire::{Path, be16, udp_frame};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

pub(super) const PORT: u16 = 69;
/// The server's ports of transfers begin here.
const FIRST_PORT: u16 = 49_152;
/// Transfers at the same time.
const SESSIONS: usize = 32;
const TIMEOUT: u64 = 1_000_000_000;
const RETRIES: u32 = 8;
/// What fits into a frame of 1514 bytes.
const LARGEST_BLOCK: u16 = 1468;
const LARGEST_WINDOW: u16 = 64;

/// The two ends as the server sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Peer {
    pub(super) mac: MacAddress,
    pub(super) address: Ipv4Addr,
    pub(super) port: u16,
}

#[derive(Debug)]
struct Session {
    peer: Peer,
    content: Content,
    block: u64,
    window: u64,
    /// Blocks that the client has, all of them up to this number.
    acked: u64,
    /// The answer to options, until block 0 is acknowledged.
    options: Option<Vec<u8>>,
    deadline: VmInstant,
    retries: u32,
}

impl Session {
    /// The number of the last block, which is shorter than the others.
    fn last(&self) -> u64 {
        self.content.len() / self.block + 1
    }
}

/// The transfers.
#[derive(Debug)]
pub(super) struct Tftp {
    own: (MacAddress, Ipv4Addr),
    sessions: BTreeMap<u16, Session>,
    next_port: u16,
}

impl Tftp {
    pub(super) fn new(mac: MacAddress, address: Ipv4Addr) -> Self {
        Self { own: (mac, address), sessions: BTreeMap::new(), next_port: FIRST_PORT }
    }

    pub(super) fn next_deadline(&self) -> Option<VmInstant> {
        self.sessions.values().map(|session| session.deadline).min()
    }

    /// A datagram came to `port`. Answers whether it began a transfer.
    pub(super) fn datagram(
        &mut self,
        now: VmInstant,
        peer: Peer,
        port: u16,
        data: &[u8],
        library: &mut Library,
        out: &mut Outbox,
    ) -> bool {
        if port == PORT {
            return self.request(now, peer, data, library, out);
        }
        let Some(session) = self
            .sessions
            .get_mut(&port)
            .filter(|s| (s.peer.address, s.peer.port) == (peer.address, peer.port))
        else {
            return false;
        };
        match be16(data, 0) {
            Some(4) => {
                let Some(number) = be16(data, 2) else { return false };
                // Numbers wrap: the one meant is the next of these 16 bits within the window.
                let ahead = u64::from(number.wrapping_sub(session.acked as u16));
                let fresh = ahead != 0 || session.options.is_some();
                if !fresh || session.acked + ahead > session.last() || ahead > session.window {
                    return false;
                }
                session.acked += ahead;
                session.options = None;
                session.retries = 0;
                session.deadline = now + TIMEOUT;
                if session.acked == session.last() {
                    self.sessions.remove(&port);
                } else {
                    self.send(port, out);
                }
            }
            Some(5) => {
                self.sessions.remove(&port);
            }
            _ => {}
        }
        false
    }

    pub(super) fn poll(&mut self, now: VmInstant, out: &mut Outbox) {
        let due: Vec<u16> =
            self.sessions.iter().filter(|(_, s)| s.deadline <= now).map(|(port, _)| *port).collect();
        for port in due {
            let Some(session) = self.sessions.get_mut(&port) else { continue };
            session.retries += 1;
            session.deadline = now + TIMEOUT;
            if session.retries > RETRIES {
                self.sessions.remove(&port);
            } else {
                self.send(port, out);
            }
        }
    }

    fn emit(&self, port: u16, peer: &Peer, data: &[u8], out: &mut Outbox) {
        let path = Path {
            source_mac: self.own.0,
            destination_mac: peer.mac,
            source: (self.own.1, port),
            destination: (peer.address, peer.port),
        };
        out.push(udp_frame(&path, data));
    }

    fn error(&self, peer: &Peer, code: u8, text: &str, out: &mut Outbox) {
        let data = [&[0, 5, 0, code], text.as_bytes(), &[0]].concat();
        self.emit(PORT, peer, &data, out);
    }

    /// Sends the answer to the options, or the window after what the client has.
    fn send(&mut self, port: u16, out: &mut Outbox) {
        let Some(session) = self.sessions.get_mut(&port) else { return };
        let peer = session.peer;
        let mut packets = Vec::new();
        if let Some(options) = &session.options {
            packets.push(options.clone());
        } else {
            let last = session.last().min(session.acked + session.window);
            for number in session.acked + 1..=last {
                let mut data = vec![0; 4 + session.block as usize];
                data[1] = 3;
                data[2..4].copy_from_slice(&(number as u16).to_be_bytes());
                let n = session.content.read((number - 1) * session.block, &mut data[4..]);
                data.truncate(4 + n);
                packets.push(data);
            }
        }
        for data in packets {
            self.emit(port, &peer, &data, out);
        }
    }

    fn request(
        &mut self,
        now: VmInstant,
        peer: Peer,
        data: &[u8],
        library: &mut Library,
        out: &mut Outbox,
    ) -> bool {
        match be16(data, 0) {
            Some(1) => {}
            Some(2) => {
                self.error(&peer, 2, "read only", out);
                return false;
            }
            _ => return false,
        }
        let Ok(text) = std::str::from_utf8(&data[2..]) else {
            self.error(&peer, 4, "malformed request", out);
            return false;
        };
        let mut fields = text.split_terminator('\0');
        let (Some(name), Some(mode)) = (fields.next(), fields.next()) else {
            self.error(&peer, 4, "malformed request", out);
            return false;
        };
        // The request again: its answer was lost, the timer sends it again.
        if self.sessions.values().any(|s| s.peer == peer) {
            return false;
        }
        if !mode.eq_ignore_ascii_case("octet") {
            self.error(&peer, 0, "only octet mode", out);
            return false;
        }
        let Some(content) = library.open(name) else {
            self.error(&peer, 1, "file not found", out);
            return false;
        };
        if self.sessions.len() >= SESSIONS {
            self.error(&peer, 0, "too many transfers", out);
            return false;
        }
        let mut session = Session {
            peer,
            content,
            block: 512,
            window: 1,
            acked: 0,
            options: None,
            deadline: now + TIMEOUT,
            retries: 0,
        };
        let mut answer = vec![0, 6];
        while let (Some(option), Some(value)) = (fields.next(), fields.next()) {
            let option = option.to_ascii_lowercase();
            let number: Option<u64> = value.parse().ok();
            let accepted = match (option.as_str(), number) {
                ("blksize", Some(n @ 8..)) => {
                    session.block = n.min(LARGEST_BLOCK.into());
                    session.block
                }
                ("windowsize", Some(n @ 1..)) => {
                    session.window = n.min(LARGEST_WINDOW.into());
                    session.window
                }
                ("tsize", Some(_)) => session.content.len(),
                _ => continue,
            };
            answer.extend_from_slice(format!("{option}\0{accepted}\0").as_bytes());
        }
        session.options = (answer.len() > 2).then_some(answer);
        while self.sessions.contains_key(&self.next_port) || self.next_port < FIRST_PORT {
            self.next_port = self.next_port.wrapping_add(1).max(FIRST_PORT);
        }
        let port = self.next_port;
        self.next_port = self.next_port.wrapping_add(1).max(FIRST_PORT);
        self.sessions.insert(port, session);
        self.send(port, out);
        true
    }
}
