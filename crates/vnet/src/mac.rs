//! Addresses of cards by the original's rules (Microsoft KB 888030): the vendor is 00-03-FF; byte 4 is the host card's
//! byte 4 exclusive-or a counter, bytes 5 and 6 are the host card's; after 256 of them the next host card is used. Without a host card the
//! three bytes are random.
//!
//! Here "random" is a function of a seed or a UUID, so that a machine has the same addresses at every start.

use slotone_net::MacAddress;
use std::collections::BTreeSet;

/// The vendor part of every address that the original makes.
pub const OUI: [u8; 3] = [0x00, 0x03, 0xff];

/// An address that a [`MacAllocator`] cannot hand out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MacError {
    /// Another card on the network has it.
    Duplicate(MacAddress),
    /// A group address or all zeros, which no card may have.
    NotAStation(MacAddress),
    /// Every address of the host cards' ranges is in use.
    Exhausted,
}

impl std::fmt::Display for MacError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Duplicate(mac) => write!(
                f,
                "another card on this network has the address {mac}: give one of them another (mac=..)"
            ),
            Self::NotAStation(mac) => write!(f, "{mac} is no address of a single card"),
            Self::Exhausted => f.write_str("every address that the rules allow is in use on this network"),
        }
    }
}

impl std::error::Error for MacError {}

/// The address number `index` that a machine with the seed (or hashed UUID) `seed` has when no host card is asked.
///
/// ```
/// use slotone_vnet::mac;
/// let first = mac::from_seed(7, 0);
/// assert_eq!(first, mac::from_seed(7, 0));
/// assert_ne!(first, mac::from_seed(7, 1));
/// assert_eq!(first.0[..3], mac::OUI);
/// ```
pub fn from_seed(seed: u64, index: u32) -> MacAddress {
    // The cards of one machine differ in the low bits whatever the seed is; machines differ by the hash.
    let hash = mix(seed);
    let low = (hash as u32).wrapping_add(index) & 0xff_ffff;
    let [_, a, b, c] = low.to_be_bytes();
    MacAddress([OUI[0], OUI[1], OUI[2], a, b, c])
}

/// As [`from_seed`], from the machine's UUID.
pub fn from_uuid(uuid: &[u8; 16], index: u32) -> MacAddress {
    let value = u128::from_be_bytes(*uuid);
    from_seed(mix(value as u64) ^ (value >> 64) as u64, index)
}

/// The address that the original makes from a host card and its counter.
///
/// ```
/// use slotone_net::MacAddress;
/// let host = MacAddress([0x00, 0x50, 0x56, 0x12, 0x34, 0x56]);
/// assert_eq!(slotone_vnet::mac::from_host(host, 1).to_string(), "00-03-FF-13-34-56");
/// ```
pub fn from_host(host: MacAddress, counter: u8) -> MacAddress {
    let [_, _, _, a, b, c] = host.0;
    MacAddress([OUI[0], OUI[1], OUI[2], a ^ counter, b, c])
}

/// Hands out addresses that are unique on a network.
///
/// ```
/// use slotone_vnet::mac::{MacAllocator, MacError};
/// let mut network = MacAllocator::new(&[], 42);
/// let a = network.allocate()?;
/// let b = network.allocate()?;
/// assert_ne!(a, b);
/// assert_eq!(network.claim(a), Err(MacError::Duplicate(a)));
/// # Ok::<(), MacError>(())
/// ```
#[derive(Debug, Clone)]
pub struct MacAllocator {
    hosts: Vec<MacAddress>,
    seed: u64,
    used: BTreeSet<MacAddress>,
}

impl MacAllocator {
    /// Addresses derived from the cards in `hosts`, or from `seed` if there are none.
    pub fn new(hosts: &[MacAddress], seed: u64) -> Self {
        Self { hosts: hosts.to_vec(), seed, used: BTreeSet::new() }
    }

    /// The next address by the rules that no card on the network has.
    ///
    /// # Errors
    /// [`MacError::Exhausted`] after 256 for each host card, or 2^24 without one.
    pub fn allocate(&mut self) -> Result<MacAddress, MacError> {
        let (hosts, seed) = (&self.hosts, self.seed);
        let free = |mac: &MacAddress| !self.used.contains(mac);
        let found = if hosts.is_empty() {
            (0..1 << 24).map(|i| from_seed(seed, i)).find(free)
        } else {
            hosts.iter().flat_map(|host| (0..=255).map(|n| from_host(*host, n))).find(free)
        };
        let mac = found.ok_or(MacError::Exhausted)?;
        self.used.insert(mac);
        Ok(mac)
    }

    /// Takes an address that was chosen elsewhere, such as one in a configuration.
    ///
    /// # Errors
    /// [`MacError::Duplicate`] or [`MacError::NotAStation`].
    pub fn claim(&mut self, mac: MacAddress) -> Result<MacAddress, MacError> {
        if mac.is_group() || mac.0 == [0; 6] {
            return Err(MacError::NotAStation(mac));
        }
        if self.used.insert(mac) { Ok(mac) } else { Err(MacError::Duplicate(mac)) }
    }

    /// The card with this address is gone.
    pub fn release(&mut self, mac: MacAddress) {
        self.used.remove(&mac);
    }
}

/// The finalizer of splitmix64: neighbours come out far apart.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_card_gives_256_addresses_then_the_next_one_is_used() {
        let hosts = [MacAddress([0, 1, 2, 0x80, 4, 5]), MacAddress([0, 1, 2, 0x80, 4, 6])];
        let mut network = MacAllocator::new(&hosts, 0);
        let all: Vec<_> = (0..512).map(|_| network.allocate().unwrap()).collect();
        assert_eq!(all[0].0, [0, 3, 0xff, 0x80, 4, 5]);
        assert_eq!(all[1].0, [0, 3, 0xff, 0x81, 4, 5]);
        assert_eq!(all[256].0, [0, 3, 0xff, 0x80, 4, 6]);
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), 512);
        assert_eq!(network.allocate(), Err(MacError::Exhausted));
        network.release(all[3]);
        assert_eq!(network.allocate(), Ok(all[3]));
    }

    #[test]
    fn group_and_zero_addresses_are_no_cards() {
        let mut network = MacAllocator::new(&[], 0);
        for bad in [MacAddress::BROADCAST, MacAddress([0; 6]), MacAddress([1, 0, 0x5e, 0, 0, 1])] {
            assert_eq!(network.claim(bad), Err(MacError::NotAStation(bad)));
        }
    }

    #[test]
    fn a_uuid_always_has_the_same_addresses_and_another_uuid_others() {
        let mut uuid = [9; 16];
        let first = from_uuid(&uuid, 0);
        assert_eq!(first, from_uuid(&uuid, 0));
        uuid[15] ^= 1;
        assert_ne!(first, from_uuid(&uuid, 0));
        uuid[15] ^= 1;
        uuid[0] ^= 1;
        assert_ne!(first, from_uuid(&uuid, 0));
    }
}
