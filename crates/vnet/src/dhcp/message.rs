//! The wire format of DHCP: RFC 2131 figure 1, options by RFC 2132, long and overloaded ones by RFC 3396 and option 52.

use crate::wire::{ip_at, mac_at};
use slotone_net::MacAddress;
use std::net::Ipv4Addr;

const MAGIC: [u8; 4] = [99, 130, 83, 99];
/// The fixed fields, up to the magic cookie.
const FIXED: usize = 236;
/// A BOOTP message has at least this many bytes; some clients insist.
const SHORTEST: usize = 300;
/// What every client takes, without IP and UDP headers (RFC 2131 section 2).
const SAFE_SIZE: usize = 576 - 28;
const FLAG_BROADCAST: u16 = 0x8000;

/// Message types (option 53).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Discover = 1,
    Offer,
    Request,
    Decline,
    Ack,
    Nak,
    Release,
    Inform,
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        Some(match byte {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }
}

/// Option codes.
pub(super) mod code {
    pub(crate) const MASK: u8 = 1;
    pub(crate) const ROUTER: u8 = 3;
    pub(crate) const DNS: u8 = 6;
    pub(crate) const DOMAIN: u8 = 15;
    pub(crate) const WINS: u8 = 44;
    pub(crate) const REQUESTED: u8 = 50;
    pub(crate) const LEASE: u8 = 51;
    pub(crate) const OVERLOAD: u8 = 52;
    pub(crate) const KIND: u8 = 53;
    pub(crate) const SERVER: u8 = 54;
    pub(crate) const MESSAGE: u8 = 56;
    pub(crate) const MAX_SIZE: u8 = 57;
    pub(crate) const RENEWAL: u8 = 58;
    pub(crate) const REBINDING: u8 = 59;
    pub(crate) const CLIENT: u8 = 61;
    pub(crate) const BOOT_SERVER: u8 = 66;
    pub(crate) const BOOT_FILE: u8 = 67;
    pub(crate) const END: u8 = 255;
}

/// What a client said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) xid: u32,
    pub(super) secs: u16,
    pub(super) flags: u16,
    pub(super) ciaddr: Ipv4Addr,
    pub(super) giaddr: Ipv4Addr,
    pub(super) mac: MacAddress,
    pub(super) requested: Option<Ipv4Addr>,
    pub(super) server: Option<Ipv4Addr>,
    pub(super) max_size: usize,
    /// What tells clients apart: the client identifier, else hardware type and address.
    pub(super) client: Vec<u8>,
    /// The client gave an identifier, which goes into the answer (RFC 6842).
    pub(super) identified: bool,
}

impl Request {
    /// `None`: no DHCP request of an Ethernet station.
    pub(super) fn parse(message: &[u8]) -> Option<Self> {
        // A request, over Ethernet, with addresses of 6 bytes.
        if message.get(..3)? != [1, 1, 6] || message.get(FIXED..FIXED + 4)? != MAGIC {
            return None;
        }
        let mac = mac_at(message, 28)?;
        if mac.is_group() || mac.0 == [0; 6] {
            return None;
        }
        let mut options = Options::default();
        options.collect(&message[FIXED + 4..])?;
        // Overload says whether the file and server name fields hold options, file first.
        let overload = options.byte(code::OVERLOAD).unwrap_or(0);
        if overload & 1 != 0 {
            options.collect(&message[108..236])?;
        }
        if overload & 2 != 0 {
            options.collect(&message[44..108])?;
        }
        let own = [&[1][..], &mac.0].concat();
        let id = options.get(code::CLIENT).filter(|id| id.len() >= 2);
        Some(Self {
            kind: Kind::from_byte(options.byte(code::KIND)?)?,
            xid: u32::from_be_bytes(message[4..8].try_into().ok()?),
            secs: u16::from_be_bytes([message[8], message[9]]),
            flags: u16::from_be_bytes([message[10], message[11]]),
            ciaddr: ip_at(message, 12)?,
            giaddr: ip_at(message, 24)?,
            mac,
            requested: options.address(code::REQUESTED),
            server: options.address(code::SERVER),
            max_size: options.get(code::MAX_SIZE).and_then(|v| crate::wire::be16(v, 0)).unwrap_or(576).into(),
            identified: id.is_some(),
            client: id.map_or(own, |id| id[..id.len().min(255)].to_vec()),
        })
    }

    pub(super) fn wants_broadcast(&self) -> bool {
        self.flags & FLAG_BROADCAST != 0
    }

    /// Begins the answer.
    pub(super) fn reply(&self, kind: Kind, server: Ipv4Addr) -> Reply {
        // RFC 2131 table 3.
        let mut bytes = vec![0; FIXED];
        bytes[..3].copy_from_slice(&[2, 1, 6]);
        bytes[4..8].copy_from_slice(&self.xid.to_be_bytes());
        let mut flags = self.flags & FLAG_BROADCAST;
        if kind == Kind::Nak && !self.giaddr.is_unspecified() {
            flags |= FLAG_BROADCAST;
        }
        bytes[10..12].copy_from_slice(&flags.to_be_bytes());
        if kind == Kind::Ack {
            bytes[12..16].copy_from_slice(&self.ciaddr.octets());
        }
        bytes[24..28].copy_from_slice(&self.giaddr.octets());
        bytes[28..34].copy_from_slice(&self.mac.0);
        bytes.extend_from_slice(&MAGIC);
        let room = self.max_size.saturating_sub(28).clamp(SAFE_SIZE, 1472);
        let mut reply = Reply { bytes, room };
        reply.option(code::KIND, &[kind as u8]);
        reply.option(code::SERVER, &server.octets());
        if self.identified {
            reply.option(code::CLIENT, &self.client);
        }
        reply
    }
}

/// An answer that is being put together.
#[derive(Debug)]
pub(super) struct Reply {
    bytes: Vec<u8>,
    room: usize,
}

impl Reply {
    pub(super) fn yiaddr(&mut self, address: Ipv4Addr) {
        self.bytes[16..20].copy_from_slice(&address.octets());
    }

    pub(super) fn siaddr(&mut self, address: Ipv4Addr) {
        self.bytes[20..24].copy_from_slice(&address.octets());
    }

    /// The server name field, with the zero that ends it.
    pub(super) fn sname(&mut self, name: &str) {
        let n = name.len().min(63);
        self.bytes[44..44 + n].copy_from_slice(&name.as_bytes()[..n]);
    }

    /// The file field, if the name fits with the zero that ends it.
    pub(super) fn file(&mut self, name: &str) {
        if name.len() < 128 {
            self.bytes[108..108 + name.len()].copy_from_slice(name.as_bytes());
        }
    }

    /// Adds an option unless it is longer than the client takes; the important ones come first.
    pub(super) fn option(&mut self, code: u8, value: &[u8]) {
        let Ok(len) = u8::try_from(value.len()) else { return };
        // One byte stays for the end.
        if self.bytes.len() + 2 + value.len() < self.room {
            self.bytes.extend_from_slice(&[code, len]);
            self.bytes.extend_from_slice(value);
        }
    }

    pub(super) fn addresses(&mut self, code: u8, list: &[Ipv4Addr]) {
        if !list.is_empty() {
            let bytes: Vec<u8> = list.iter().flat_map(|address| address.octets()).collect();
            self.option(code, &bytes);
        }
    }

    pub(super) fn seconds(&mut self, code: u8, value: u32) {
        self.option(code, &value.to_be_bytes());
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        self.bytes.push(code::END);
        if self.bytes.len() < SHORTEST {
            self.bytes.resize(SHORTEST, 0);
        }
        self.bytes
    }
}

/// Options by code; parts of one with the same code are joined (RFC 3396).
#[derive(Debug, Default)]
struct Options(std::collections::BTreeMap<u8, Vec<u8>>);

impl Options {
    /// `None` if an option ends behind the field. A missing end is forgiven, as every server does.
    fn collect(&mut self, mut field: &[u8]) -> Option<()> {
        while let [code, rest @ ..] = field {
            match *code {
                0 => field = rest,
                code::END => break,
                code => {
                    let (len, rest) = rest.split_first()?;
                    let (value, rest) = rest.split_at_checked(usize::from(*len))?;
                    self.0.entry(code).or_default().extend_from_slice(value);
                    field = rest;
                }
            }
        }
        Some(())
    }

    fn get(&self, code: u8) -> Option<&[u8]> {
        self.0.get(&code).map(Vec::as_slice)
    }

    fn byte(&self, code: u8) -> Option<u8> {
        self.get(code).and_then(|value| value.first().copied())
    }

    fn address(&self, code: u8) -> Option<Ipv4Addr> {
        self.get(code).and_then(|value| ip_at(value, 0))
    }
}
