//! Who has which address, and the text in which that is kept.

use super::config::Config;
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

/// First line of a lease file.
const HEADER: &str = "slotone-leases 1";
/// Addresses that are remembered, whatever the network's size: what bounds the memory that guests can take.
pub(super) const LIMIT: usize = 4096;
const SECOND: u64 = 1_000_000_000;

/// What an address is to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseState {
    /// Offered; the client has not asked for it yet.
    Offered,
    /// A client has it.
    Bound,
    /// It is free, and its last client gets it again if possible.
    Free,
    /// Somebody uses it without having asked.
    Conflict,
}

/// One address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub address: Ipv4Addr,
    /// The Ethernet address of the client, or of the station that uses it without having asked (zeros if unknown).
    pub mac: MacAddress,
    /// The client identifier; without one, 1 and the Ethernet address.
    pub client: Vec<u8>,
    /// What it is now.
    pub state: LeaseState,
    /// Until when, if not free.
    pub until: VmInstant,
}

/// A lease file that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseError {
    /// The line, from 1.
    pub line: usize,
    /// What was expected there.
    pub expected: &'static str,
}

impl std::fmt::Display for LeaseError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "line {}: expected {}", self.line, self.expected)
    }
}

impl std::error::Error for LeaseError {}

#[derive(Debug, Clone)]
struct Entry {
    mac: MacAddress,
    client: Vec<u8>,
    state: LeaseState,
    until: VmInstant,
}

/// The table of addresses. In the order of addresses, so that the same requests get the same answers.
#[derive(Debug, Default)]
pub(super) struct Leases {
    entries: BTreeMap<Ipv4Addr, Entry>,
    clients: BTreeMap<Vec<u8>, Ipv4Addr>,
}

impl Leases {
    fn state(&self, now: VmInstant, address: Ipv4Addr) -> LeaseState {
        match self.entries.get(&address) {
            Some(entry) if entry.until > now => entry.state,
            _ => LeaseState::Free,
        }
    }

    /// The address of a client, unless someone else is on it.
    pub(super) fn of(&self, now: VmInstant, client: &[u8]) -> Option<(Ipv4Addr, LeaseState)> {
        let address = *self.clients.get(client)?;
        Some((address, self.state(now, address)))
    }

    /// Whether a client may have an address now.
    pub(super) fn is_free_for(&self, now: VmInstant, address: Ipv4Addr, client: &[u8]) -> bool {
        match self.state(now, address) {
            LeaseState::Free => true,
            LeaseState::Conflict => false,
            LeaseState::Offered | LeaseState::Bound => self.clients.get(client) == Some(&address),
        }
    }

    /// The address for a client: its own of before, the one it wishes, one that nobody had, or the one that is free for longest.
    pub(super) fn choose(
        &self,
        now: VmInstant,
        config: &Config,
        client: &[u8],
        wish: Option<Ipv4Addr>,
    ) -> Option<Ipv4Addr> {
        let old = self.clients.get(client).copied();
        if let Some(address) = old
            .into_iter()
            .chain(wish)
            .find(|address| config.hands_out(*address) && self.is_free_for(now, *address, client))
        {
            return Some(address);
        }
        if self.entries.len() < LIMIT {
            let range = config.start.to_bits()..=config.end.to_bits();
            let fresh = range
                .map(Ipv4Addr::from_bits)
                .find(|a| config.hands_out(*a) && !self.entries.contains_key(a));
            if fresh.is_some() {
                return fresh;
            }
        }
        let free = self.entries.iter().filter(|(a, e)| e.until <= now && config.hands_out(**a));
        free.min_by_key(|(_, e)| e.until).map(|(address, _)| *address)
    }

    pub(super) fn set(
        &mut self,
        address: Ipv4Addr,
        client: &[u8],
        mac: MacAddress,
        state: LeaseState,
        until: VmInstant,
    ) {
        self.forget(address);
        if let Some(other) = self.clients.get(client).copied() {
            self.forget(other);
        }
        if !self.entries.contains_key(&address) && self.entries.len() >= LIMIT {
            return;
        }
        if !client.is_empty() {
            self.clients.insert(client.to_vec(), address);
        }
        self.entries.insert(address, Entry { mac, client: client.to_vec(), state, until });
    }

    fn forget(&mut self, address: Ipv4Addr) {
        if let Some(old) = self.entries.remove(&address)
            && self.clients.get(&old.client) == Some(&address)
        {
            self.clients.remove(&old.client);
        }
    }

    /// The client gave its address back; it is remembered for it.
    pub(super) fn release(&mut self, now: VmInstant, address: Ipv4Addr) {
        if let Some(entry) = self.entries.get_mut(&address) {
            entry.until = entry.until.min(now);
        }
    }

    pub(super) fn list(&self, now: VmInstant) -> Vec<Lease> {
        let lease = |(address, entry): (&Ipv4Addr, &Entry)| Lease {
            address: *address,
            mac: entry.mac,
            client: entry.client.clone(),
            state: self.state(now, *address),
            until: entry.until,
        };
        self.entries.iter().map(lease).collect()
    }

    /// Bound and remembered addresses as text. Times are what is left, so that a network that was off does not lose its leases.
    pub(super) fn export(&self, now: VmInstant) -> String {
        let mut text = format!("{HEADER}\n");
        for (address, entry) in &self.entries {
            if entry.client.is_empty() || entry.state != LeaseState::Bound {
                continue;
            }
            let id: String = entry.client.iter().map(|byte| format!("{byte:02x}")).collect();
            let left = entry.until.since(now).div_ceil(SECOND);
            text.push_str(&format!("{address} {} {id} {left}\n", entry.mac));
        }
        text
    }

    pub(super) fn import(now: VmInstant, config: &Config, text: &str) -> Result<Self, LeaseError> {
        let mut leases = Self::default();
        for (i, line) in text.lines().enumerate() {
            let error = |expected| LeaseError { line: i + 1, expected };
            if i == 0 {
                if line != HEADER {
                    return Err(error("slotone-leases 1"));
                }
                continue;
            }
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let fields: Vec<&str> = line.split(' ').collect();
            let [address, mac, client, left] = fields[..] else {
                return Err(error("address, Ethernet address, client identifier and seconds"));
            };
            let address: Ipv4Addr = address.parse().map_err(|_| error("an address"))?;
            let mac = mac.parse().map_err(|_| error("an Ethernet address"))?;
            let client = from_hex(client).ok_or(error("a client identifier in hexadecimal digits"))?;
            let left: u32 = left.parse().map_err(|_| error("seconds"))?;
            // A network that was changed since does not keep what no longer fits.
            if config.hands_out(address) {
                let until = now + u64::from(left) * SECOND;
                leases.set(address, &client, mac, LeaseState::Bound, until);
            }
        }
        if text.is_empty() { Err(LeaseError { line: 1, expected: HEADER }) } else { Ok(leases) }
    }
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    if text.is_empty() || text.len() > 510 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    let digit = |b: u8| (b as char).to_digit(16).unwrap_or(0) as u8;
    rest.is_empty().then(|| pairs.iter().map(|[a, b]| digit(*a) << 4 | digit(*b)).collect())
}
