//! What a server hands out, and the rules for it.

use slotone_net::MacAddress;
use std::net::Ipv4Addr;

/// Shortest lease, renewal and rebinding times of the original, in seconds.
pub(super) const SHORTEST: (u32, u32, u32) = (60, 30, 45);
/// The original keeps back the first addresses of a network: .1 to .15.
const KEPT_BACK: u32 = 15;
/// Addresses of a list that go into an option.
const LIST: usize = 8;

/// The settings of a [`Server`](super::Server).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The network's address: no bit set below the mask.
    pub network: Ipv4Addr,
    /// Length of the mask in bits, 8 to 30.
    pub prefix: u8,
    /// First address that is handed out. By default the sixteenth: the first 15 are kept back.
    pub start: Ipv4Addr,
    /// Last address that is handed out. By default the last one before the broadcast address.
    pub end: Ipv4Addr,
    /// The server's own address (default: the first of the network).
    pub server: Ipv4Addr,
    /// The server's Ethernet address.
    pub server_mac: MacAddress,
    /// Default gateway (option 3).
    pub router: Option<Ipv4Addr>,
    /// DNS servers (option 6), at most 8.
    pub dns: Vec<Ipv4Addr>,
    /// WINS servers (option 44), primary first, at most 8.
    pub wins: Vec<Ipv4Addr>,
    /// Domain name (option 15), at most 64 bytes.
    pub domain: Option<String>,
    /// Seconds of a lease (option 51), at least 60.
    pub lease: u32,
    /// Seconds until a client asks its server for more (option 58, T1), at least 30.
    pub renewal: u32,
    /// Seconds until a client asks any server (option 59, T2), at least 45, between the other two.
    pub rebinding: u32,
    /// Where the boot file is (`siaddr`).
    pub next_server: Option<Ipv4Addr>,
    /// Name of the server with the boot file (option 66, `sname`), at most 63 bytes. By default the address of `next_server`.
    pub boot_server: Option<String>,
    /// Boot file (option 67, and `file` if it has at most 127 bytes), at most 255 bytes.
    pub boot_file: Option<String>,
    /// Asks by ARP whether anyone has an address before it is offered for the first time.
    pub probe: bool,
    /// The only server of its network: a client that comes with an address of another network or another client is told so
    /// at once, and one that comes with an address that is free gets it.
    pub authoritative: bool,
}

impl Config {
    /// The settings for a network with everything at its default: a day of lease, no gateway, no name server.
    ///
    /// # Errors
    /// [`ConfigError`] if the network is none, or too small for the addresses that are kept back.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Result<Self, ConfigError> {
        Self::with_range(network, prefix, None, None)
    }

    pub(super) fn with_range(
        network: Ipv4Addr,
        prefix: u8,
        start: Option<Ipv4Addr>,
        end: Option<Ipv4Addr>,
    ) -> Result<Self, ConfigError> {
        if !(8..=30).contains(&prefix) {
            return Err(ConfigError::Prefix(prefix));
        }
        let hosts = u32::MAX >> prefix;
        let base = network.to_bits();
        if base & hosts != 0 {
            return Err(ConfigError::HostBits(network, Ipv4Addr::from_bits(base & !hosts)));
        }
        if start.is_none() && hosts <= KEPT_BACK + 1 {
            return Err(ConfigError::TooSmall(network, prefix));
        }
        Ok(Self {
            network,
            prefix,
            start: start.unwrap_or(Ipv4Addr::from_bits(base + KEPT_BACK + 1)),
            end: end.unwrap_or(Ipv4Addr::from_bits(base + hosts - 1)),
            server: Ipv4Addr::from_bits(base + 1),
            server_mac: MacAddress([0x02, 0x03, 0xff, 0x44, 0x48, 0x01]),
            router: None,
            dns: Vec::new(),
            wins: Vec::new(),
            domain: None,
            lease: 86_400,
            renewal: 43_200,
            rebinding: 75_600,
            next_server: None,
            boot_server: None,
            boot_file: None,
            probe: true,
            authoritative: true,
        })
    }

    /// The settings of an internal network of which only the name is known: 10.244.0.0/24 for `internal`; others get 10.244.N.0/24 with N
    /// by their name, so that a guest with cards on two networks sees two networks (most of the time: there are 255 of them).
    pub fn for_network(name: &str) -> Self {
        let mut third = 0;
        if name != "internal" {
            let hash = name.bytes().fold(7, |hash, byte| crate::mac::mix(hash ^ u64::from(byte)));
            third = 1 + (hash % 255) as u8;
        }
        Self::with_range(Ipv4Addr::new(10, 244, third, 0), 24, None, None)
            .expect("a network of 254 addresses")
    }

    /// The network's mask.
    pub fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(!(u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0)))
    }

    /// The address of every station of the network.
    pub fn broadcast(&self) -> Ipv4Addr {
        self.network | !self.mask()
    }

    /// Whether an address belongs to the network.
    pub fn contains(&self, address: Ipv4Addr) -> bool {
        address & self.mask() == self.network
    }

    /// Whether an address may be handed out: in the range, and nobody's by these settings.
    pub fn hands_out(&self, address: Ipv4Addr) -> bool {
        let taken = [Some(self.server), self.router, self.next_server].contains(&Some(address));
        (self.start..=self.end).contains(&address)
            && !taken
            && !self.dns.contains(&address)
            && !self.wins.contains(&address)
    }

    /// Checks every rule.
    ///
    /// # Errors
    /// [`ConfigError`] with the first rule that is broken.
    pub fn check(&self) -> Result<(), ConfigError> {
        if !(8..=30).contains(&self.prefix) {
            return Err(ConfigError::Prefix(self.prefix));
        }
        let base = self.network & self.mask();
        if base != self.network {
            return Err(ConfigError::HostBits(self.network, base));
        }
        for (what, address) in [
            ("start", Some(self.start)),
            ("end", Some(self.end)),
            ("server", Some(self.server)),
            ("router", self.router),
        ] {
            if let Some(address) = address
                && (!self.contains(address) || address == self.network || address == self.broadcast())
            {
                return Err(ConfigError::Outside {
                    what,
                    address,
                    network: self.network,
                    prefix: self.prefix,
                });
            }
        }
        if self.start > self.end {
            return Err(ConfigError::Order(self.start, self.end));
        }
        let (lease, renewal, rebinding) = SHORTEST;
        for (what, value, least) in [
            ("lease", self.lease, lease),
            ("renewal", self.renewal, renewal),
            ("rebinding", self.rebinding, rebinding),
        ] {
            if value < least {
                return Err(ConfigError::TooShort { what, value, least });
            }
        }
        if !(self.renewal < self.rebinding && self.rebinding < self.lease) {
            return Err(ConfigError::Times {
                lease: self.lease,
                renewal: self.renewal,
                rebinding: self.rebinding,
            });
        }
        if self.server_mac.is_group() || self.server_mac.0 == [0; 6] {
            return Err(ConfigError::Mac(self.server_mac));
        }
        for (what, len, most) in [
            ("dns", self.dns.len(), LIST),
            ("wins", self.wins.len(), LIST),
            ("domain", self.domain.as_ref().map_or(0, String::len), 64),
            ("server-name", self.boot_server.as_ref().map_or(0, String::len), 63),
            ("boot-file", self.boot_file.as_ref().map_or(0, String::len), 255),
        ] {
            if len > most {
                return Err(ConfigError::TooLong { what, len, most });
            }
        }
        Ok(())
    }
}

/// A rule that settings break.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The mask has fewer than 8 or more than 30 bits.
    Prefix(u8),
    /// The network's address has bits below the mask; the address without them.
    HostBits(Ipv4Addr, Ipv4Addr),
    /// No address is left when the first 15 are kept back.
    TooSmall(Ipv4Addr, u8),
    /// An address is not one of the network's stations.
    Outside {
        /// Which setting.
        what: &'static str,
        /// Its value.
        address: Ipv4Addr,
        /// The network.
        network: Ipv4Addr,
        /// The bits of its mask.
        prefix: u8,
    },
    /// The first address comes after the last one.
    Order(Ipv4Addr, Ipv4Addr),
    /// A time below its minimum.
    TooShort {
        /// Which setting.
        what: &'static str,
        /// Its value in seconds.
        value: u32,
        /// The minimum in seconds.
        least: u32,
    },
    /// Not: renewal, then rebinding, then the end of the lease.
    Times {
        /// Seconds of the lease.
        lease: u32,
        /// Seconds until renewal.
        renewal: u32,
        /// Seconds until rebinding.
        rebinding: u32,
    },
    /// The server's Ethernet address is no address of a station.
    Mac(MacAddress),
    /// A list or a text is too long.
    TooLong {
        /// Which setting.
        what: &'static str,
        /// Its length, in addresses or bytes.
        len: usize,
        /// The longest.
        most: usize,
    },
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(bits) => write!(f, "a network has 8 to 30 bits of mask, not {bits}"),
            Self::HostBits(given, base) => write!(f, "{given} is an address inside the network {base}"),
            Self::TooSmall(network, bits) => {
                write!(
                    f,
                    "{network}/{bits} has no address left when the first 15 are kept back: give start=ADDRESS"
                )
            }
            Self::Outside { what, address, network, prefix } => {
                write!(f, "{what} {address} is no station of {network}/{prefix}")
            }
            Self::Order(start, end) => write!(f, "start {start} comes after end {end}"),
            Self::TooShort { what, value, least } => {
                write!(f, "{what} is at least {least} seconds, not {value}")
            }
            Self::Times { lease, renewal, rebinding } => write!(
                f,
                "renewal must come before rebinding and rebinding before the end of the lease, not {renewal}, {rebinding} and {lease} seconds"
            ),
            Self::Mac(mac) => write!(f, "{mac} is no Ethernet address of a single station"),
            Self::TooLong { what, len, most } => {
                write!(f, "{what} has a length of {len}, at most {most} fits")
            }
        }
    }
}

impl std::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn base() -> Config {
        Config::new(Ipv4Addr::new(10, 244, 0, 0), 24).unwrap()
    }

    #[test]
    fn the_first_15_addresses_are_kept_back() {
        let config = base();
        assert_eq!(
            (config.start, config.end),
            (Ipv4Addr::new(10, 244, 0, 16), Ipv4Addr::new(10, 244, 0, 254))
        );
        assert_eq!(config.mask(), Ipv4Addr::new(255, 255, 255, 0));
        assert_eq!(config.broadcast(), Ipv4Addr::new(10, 244, 0, 255));
        assert!(!config.hands_out(Ipv4Addr::new(10, 244, 0, 15)));
        assert!(config.hands_out(Ipv4Addr::new(10, 244, 0, 16)));
        assert!(!config.hands_out(Ipv4Addr::new(10, 244, 0, 255)));
    }

    #[test]
    fn every_rule_has_its_error() {
        type Change = fn(&mut Config);
        let table: &[(Change, &str)] = &[
            (|c| c.prefix = 31, "a network has 8 to 30 bits of mask, not 31"),
            (
                |c| c.network = Ipv4Addr::new(10, 244, 0, 9),
                "10.244.0.9 is an address inside the network 10.244.0.0",
            ),
            (|c| c.start = Ipv4Addr::new(10, 243, 0, 9), "start 10.243.0.9 is no station of 10.244.0.0/24"),
            (|c| c.end = Ipv4Addr::new(10, 244, 0, 255), "end 10.244.0.255 is no station of 10.244.0.0/24"),
            (|c| c.server = c.network, "server 10.244.0.0 is no station of 10.244.0.0/24"),
            (|c| c.router = Some(Ipv4Addr::LOCALHOST), "router 127.0.0.1 is no station of 10.244.0.0/24"),
            (|c| c.end = Ipv4Addr::new(10, 244, 0, 2), "start 10.244.0.16 comes after end 10.244.0.2"),
            (|c| c.lease = 59, "lease is at least 60 seconds, not 59"),
            (|c| c.renewal = 29, "renewal is at least 30 seconds, not 29"),
            (|c| c.rebinding = 44, "rebinding is at least 45 seconds, not 44"),
            (
                |c| c.rebinding = c.renewal,
                "renewal must come before rebinding and rebinding before the end of the lease, not 43200, 43200 and 86400 seconds",
            ),
            (
                |c| c.server_mac = MacAddress::BROADCAST,
                "FF-FF-FF-FF-FF-FF is no Ethernet address of a single station",
            ),
            (|c| c.dns = vec![Ipv4Addr::LOCALHOST; 9], "dns has a length of 9, at most 8 fits"),
            (|c| c.boot_file = Some("x".repeat(256)), "boot-file has a length of 256, at most 255 fits"),
        ];
        for (change, message) in table {
            let mut config = base();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().to_string(), *message);
        }
        let mut shortest = base();
        (shortest.lease, shortest.renewal, shortest.rebinding) = SHORTEST;
        assert_eq!(shortest.check(), Ok(()));
        assert_eq!(
            Config::new(Ipv4Addr::new(10, 0, 0, 0), 28).unwrap_err(),
            ConfigError::TooSmall(Ipv4Addr::new(10, 0, 0, 0), 28)
        );
    }

    #[test]
    fn networks_by_name_differ_and_stay() {
        assert_eq!(Config::for_network("internal"), base());
        assert_ne!(Config::for_network("lab").network, base().network);
        assert_eq!(Config::for_network("lab"), Config::for_network("lab"));
        assert_eq!(Config::for_network("lab").check(), Ok(()));
    }
}
