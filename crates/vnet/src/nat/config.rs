//! Settings, limits, and what a translation says about itself.

use crate::dhcp::{Config, ConfigError};
use crate::spec::{Forward, NatSpec};
use slotone_net::MacAddress;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};

const SECOND: u64 = 1_000_000_000;

/// The bounds of a [`Nat`](super::Nat). Times are nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// TCP connections (256). When all are in use, one that has been silent for [`Limits::evict`] gives way, else the new one is refused.
    pub connections: usize,
    /// Bytes of each connection that wait for the host (65,535, and no more than that).
    pub to_host: usize,
    /// Bytes of each connection that wait for the guest (128 KiB).
    pub to_guest: usize,
    /// UDP ports of guests that are mapped (256), name requests included; the one that was silent longest gives way.
    pub mappings: usize,
    /// Others whom a mapped port may hear at a time (64); who was silent longest is forgotten.
    pub peers: usize,
    /// Echo identifiers that are mapped (32).
    pub echoes: usize,
    /// Ethernet addresses of guests (64).
    pub stations: usize,
    /// Frames that one call makes (256). The rest waits in its connection; datagrams are dropped.
    pub frames: usize,
    /// How long the host may take to connect (60 s).
    pub connect: u64,
    /// How long a connection may be silent (7440 s, RFC 5382).
    pub idle: u64,
    /// How long one may be that one side has ended (240 s, RFC 5382).
    pub closing: u64,
    /// How long one must have been silent to give way to another (300 s).
    pub evict: u64,
    /// How long a mapped UDP port may be silent (120 s, RFC 4787).
    pub datagram: u64,
    /// How long a mapped name request or echo identifier may be (20 s).
    pub brief: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 256,
            to_host: 65_535,
            to_guest: 128 << 10,
            mappings: 256,
            peers: 64,
            echoes: 32,
            stations: 64,
            frames: 256,
            connect: 60 * SECOND,
            idle: 7440 * SECOND,
            closing: 240 * SECOND,
            evict: 300 * SECOND,
            datagram: 120 * SECOND,
            brief: 20 * SECOND,
        }
    }
}

/// The settings of a [`Nat`](super::Nat).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatConfig {
    /// The guests' network.
    pub network: Ipv4Addr,
    /// Bits of its mask.
    pub prefix: u8,
    /// The gateway's address, which is the DHCP and DNS server's too (default: the last of the network).
    pub gateway: Ipv4Addr,
    /// The gateway's Ethernet address.
    pub mac: MacAddress,
    /// The DHCP server; `None`: there is none.
    pub dhcp: Option<Config>,
    /// Guests may reach the host: its loopback by the gateway's address, and the host's own addresses.
    pub allow_host: bool,
    /// Where name requests go, in place of the host's own resolvers.
    pub resolvers: Option<Vec<SocketAddr>>,
    /// Ports of the host that lead to a guest.
    pub forwards: Vec<Forward>,
    /// Bounds.
    pub limits: Limits,
    /// Source of initial sequence numbers.
    pub seed: u64,
}

impl NatConfig {
    /// A closed network with a DHCP server: the gateway at its last address, leases from its sixteenth on.
    ///
    /// # Errors
    /// [`ConfigError`]: the network is none, or too small.
    pub fn new(network: Ipv4Addr, prefix: u8) -> Result<Self, ConfigError> {
        let mut dhcp = Config::new(network, prefix)?;
        let gateway = dhcp.end;
        let mac = MacAddress([0x02, 0x03, 0xff, 0x4e, 0x41, 0x54]);
        dhcp.end = Ipv4Addr::from_bits(gateway.to_bits() - 1);
        dhcp.server = gateway;
        dhcp.server_mac = mac;
        dhcp.router = Some(gateway);
        dhcp.dns = vec![gateway];
        dhcp.check()?;
        Ok(Self {
            network,
            prefix,
            gateway,
            mac,
            dhcp: Some(dhcp),
            allow_host: false,
            resolvers: None,
            forwards: Vec::new(),
            limits: Limits::default(),
            seed: 0,
        })
    }

    /// The settings that a command line says: 192.168.131.0/24 if it names no network.
    ///
    /// # Errors
    /// [`ConfigError`]: the network is none, or too small.
    pub fn from_spec(spec: &NatSpec) -> Result<Self, ConfigError> {
        let (network, prefix) = spec.network.unwrap_or((Ipv4Addr::new(192, 168, 131, 0), 24));
        Ok(Self {
            allow_host: spec.host,
            resolvers: (!spec.dns.is_empty()).then(|| spec.dns.clone()),
            forwards: spec.forwards.clone(),
            ..Self::new(network, prefix)?
        })
    }

    pub(super) fn mask(&self) -> u32 {
        !(u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0))
    }

    /// An address of the network that a guest may have.
    pub(super) fn is_guest(&self, address: Ipv4Addr) -> bool {
        let host = address.to_bits() & !self.mask();
        self.contains(address) && address != self.gateway && host != 0 && host != !self.mask()
    }

    pub(super) fn contains(&self, address: Ipv4Addr) -> bool {
        address.to_bits() & self.mask() == self.network.to_bits()
    }
}

/// Whether no guest gets there by any setting: this host or network, loopback, link-local (where clouds keep their secrets), multicast, reserved, broadcast.
pub(super) fn forbidden(address: Ipv4Addr) -> bool {
    let [a, b, ..] = address.octets();
    a == 0 || a == 127 || (a, b) == (169, 254) || a >= 224
}

/// Why there is no translation.
#[derive(Debug)]
#[non_exhaustive]
pub enum NatError {
    /// The network's settings break a rule.
    Config(ConfigError),
    /// A port of the host cannot be had.
    Forward(Forward, io::Error),
    /// The thread or its bell.
    Thread(io::Error),
}

impl std::fmt::Display for NatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Config(error) => write!(f, "nat: {error}"),
            Self::Forward(forward, error) => {
                write!(
                    f,
                    "forward={forward}: {error}; choose another port of the host, or end the program that has it"
                )
            }
            Self::Thread(error) => write!(f, "nat: {error}"),
        }
    }
}

impl std::error::Error for NatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            Self::Forward(_, error) | Self::Thread(error) => Some(error),
        }
    }
}

impl From<ConfigError> for NatError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// Something the owner of a machine should know. Each kind is said once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum NatEvent {
    /// The host lets this user send no echo requests.
    NoEcho,
    /// The host names no resolver.
    NoResolver,
    /// A guest wanted to reach the host, or where no guest gets.
    Refused(Ipv4Addr),
    /// Every connection is in use.
    ConnectionsFull,
    /// The host gave no socket, of whatever kind.
    NoSocket,
}

impl std::fmt::Display for NatEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoEcho => f.write_str(
                "pings to the outside are dropped: this user may have no ping socket (sysctl net.ipv4.ping_group_range)",
            ),
            Self::NoResolver => f.write_str("no names: /etc/resolv.conf has no nameserver; give dns=ADDRESS"),
            Self::Refused(address) => write!(
                f,
                "the guest may not reach {address}: it is the host's or nobody's (host=on lets it reach the host)"
            ),
            Self::ConnectionsFull => f.write_str("a connection was refused: as many as there may be are in use"),
            Self::NoSocket => f.write_str("the host gives no more sockets (ulimit -n)"),
        }
    }
}

/// What a translation did. Refused and dropped things are counted, never queued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NatStats {
    /// Connections that guests began.
    pub connections: u64,
    /// Connections that came in by a forward.
    pub forwarded: u64,
    /// Of both, those that did not come to stand.
    pub failed: u64,
    /// Connections and datagrams to where guests may not.
    pub refused: u64,
    /// Connections that another one took the place of, or that timed out.
    pub given_up: u64,
    /// Bytes of connections to the host.
    pub to_host: u64,
    /// Bytes of connections to guests.
    pub to_guest: u64,
    /// Datagrams and echo requests to the host.
    pub datagrams_out: u64,
    /// Datagrams and echo replies to guests.
    pub datagrams_in: u64,
    /// Name requests passed on, datagrams only.
    pub names: u64,
    /// Frames and datagrams that were dropped: not understood, of a wrong sender, or without room.
    pub dropped: u64,
    /// Of these, fragments of guests' datagrams.
    pub fragments: u64,
}
