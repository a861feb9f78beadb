//! What a card is plugged into, as one argument of a command line: `MODE[,key=value..]`.

use slotone_net::MacAddress;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;

/// What a card is plugged into.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NicMode {
    /// Nothing.
    None,
    /// A network of the machines on this host, by name (`internal` if none is given).
    Internal(String),
    /// The wire of an interface of the host.
    External(String),
    /// A TAP interface of the host.
    Tap(String),
    /// A unix socket that speaks frames with their length before them, as QEMU's `-netdev stream` and passt do.
    Socket(PathBuf),
    /// The host's own connections, without privileges.
    Nat(NatSpec),
}

/// A network behind the host's own connections.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NatSpec {
    /// The guests' network and the bits of its mask, if it is to be another one (`network=`).
    pub network: Option<(Ipv4Addr, u8)>,
    /// Guests may reach the host, its loopback by the gateway's address (`host=`).
    pub host: bool,
    /// Name servers in place of the host's own (`dns=`, any number).
    pub dns: Vec<SocketAddr>,
    /// Ports that lead to guests (`forward=`, any number).
    pub forwards: Vec<Forward>,
}

/// A protocol whose connections are passed on into a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to a port of the guest: `tcp:[ADDRESS:]HOST:[GUEST-ADDRESS:]GUEST`, or `udp:`.
///
/// ```
/// use slotone_vnet::spec::Forward;
/// let forward: Forward = "tcp:0.0.0.0:8080:192.168.131.16:80".parse()?;
/// assert_eq!((forward.host, forward.guest), (8080, 80));
/// assert!(forward.address.is_unspecified());
/// let forward: Forward = "tcp:2222:22".parse()?;
/// assert!(forward.address.is_loopback() && forward.guest_address.is_none());
/// # Ok::<(), slotone_vnet::spec::ParseForwardError>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The host's address: by default 127.0.0.1, so that only programs of the host come in.
    pub address: Ipv4Addr,
    /// The host's port.
    pub host: u16,
    /// The guest's address; `None`: the guest that was heard last.
    pub guest_address: Option<Ipv4Addr>,
    /// The guest's port.
    pub guest: u16,
}

/// Text that is no [`Forward`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseForwardError;

const FORWARD: &str =
    "forward=tcp:HOST:GUEST or udp, with port numbers, and an address before either if need be";

impl std::fmt::Display for ParseForwardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "expected {FORWARD}")
    }
}

impl std::error::Error for ParseForwardError {}

impl std::fmt::Display for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.protocol {
            Protocol::Tcp => "tcp:",
            Protocol::Udp => "udp:",
        })?;
        if self.address != Ipv4Addr::LOCALHOST {
            write!(f, "{}:", self.address)?;
        }
        write!(f, "{}:", self.host)?;
        if let Some(address) = self.guest_address {
            write!(f, "{address}:")?;
        }
        write!(f, "{}", self.guest)
    }
}

impl FromStr for Forward {
    type Err = ParseForwardError;

    fn from_str(text: &str) -> Result<Self, ParseForwardError> {
        let mut parts = text.split(':').peekable();
        let protocol = match parts.next() {
            Some("tcp") => Protocol::Tcp,
            Some("udp") => Protocol::Udp,
            _ => return Err(ParseForwardError),
        };
        // An address if one stands there, then a port.
        let mut end = || {
            let address = parts.next_if(|part| part.contains('.'));
            let address = address.map(Ipv4Addr::from_str).transpose().ok()?;
            let port = parts.next()?.parse::<u16>().ok().filter(|port| *port != 0)?;
            Some((address, port))
        };
        let (Some((address, host)), Some((guest_address, guest))) = (end(), end()) else {
            return Err(ParseForwardError);
        };
        if parts.next().is_some() {
            return Err(ParseForwardError);
        }
        let address = address.unwrap_or(Ipv4Addr::LOCALHOST);
        Ok(Self { protocol, address, host, guest_address, guest })
    }
}

/// What a command line says about a card.
///
/// Keys: `mac`, `promiscuous` and `isolated` (`on` or `off`), and for `nat` those of [`NatSpec`].
///
/// ```
/// use slotone_vnet::spec::{NicMode, NicSpec};
/// let nic: NicSpec = "internal=lab,mac=00-03-FF-12-34-56,promiscuous=on".parse()?;
/// assert_eq!(nic.mode, NicMode::Internal("lab".into()));
/// assert_eq!(nic.mac.unwrap().to_string(), "00-03-FF-12-34-56");
/// assert!("tap".parse::<NicSpec>().is_err());
/// # Ok::<(), slotone_vnet::spec::NicSpecError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NicSpec {
    /// What it is plugged into.
    pub mode: NicMode,
    /// Its address, if given.
    pub mac: Option<MacAddress>,
    /// It may hear every frame of its network.
    pub promiscuous: bool,
    /// It hears only stations that are not isolated.
    pub isolated: bool,
}

/// Why a text is no [`NicSpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum NicSpecError {
    /// A mode that there is not.
    Mode(String),
    /// A mode without what it needs.
    Needs(&'static str, &'static str),
    /// A network or interface name that cannot be: more than 15 bytes for an interface, 64 for a network, or with characters other than letters, digits, `-`, `_` and `.`.
    Name(String),
    /// A key that the mode does not have.
    Key(String),
    /// A value that the key does not take; what it takes.
    Value(String, &'static str),
}

impl std::fmt::Display for NicSpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Mode(mode) => write!(
                f,
                "{mode}: expected none, internal[=NAME], external=INTERFACE, tap=INTERFACE, socket=PATH or nat"
            ),
            Self::Needs(mode, what) => write!(f, "{mode}: expected {mode}={what}"),
            Self::Name(name) => {
                write!(
                    f,
                    "{name}: expected a name of letters, digits, '-', '_' and '.' (64 for a network, 15 for an interface)"
                )
            }
            Self::Key(key) => {
                write!(
                    f,
                    "{key}: expected mac=, promiscuous=on|off, isolated=on|off or, for nat, forward=, host=on|off, dns=, network="
                )
            }
            Self::Value(text, expected) => write!(f, "{text}: expected {expected}"),
        }
    }
}

impl std::error::Error for NicSpecError {}

fn name(text: &str, most: usize) -> Result<String, NicSpecError> {
    let fine = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    let length = (1..=most).contains(&text.len());
    if length && text.bytes().all(fine) && !text.starts_with('.') {
        Ok(text.to_string())
    } else {
        Err(NicSpecError::Name(text.to_string()))
    }
}

/// An address of a name server, with its port if it is not 53.
fn name_server(text: &str) -> Option<SocketAddr> {
    let address = || text.parse::<IpAddr>().ok().map(|address| SocketAddr::from((address, 53)));
    text.parse().ok().or_else(address).filter(|server: &SocketAddr| server.port() != 0)
}

fn cidr(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, bits) = text.split_once('/')?;
    let (address, bits) = (address.parse::<Ipv4Addr>().ok()?, bits.parse::<u8>().ok()?);
    // Room for the gateway, and for a guest behind the addresses that are kept back.
    let fits = (8..=27).contains(&bits) && address.to_bits() & (u32::MAX >> bits) == 0;
    fits.then_some((address, bits))
}

impl FromStr for NicSpec {
    type Err = NicSpecError;

    fn from_str(text: &str) -> Result<Self, NicSpecError> {
        let mut parts = text.split(',');
        let mode = parts.next().unwrap_or_default();
        let (mode, value) = match mode.split_once('=') {
            Some((mode, value)) => (mode, Some(value)),
            None => (mode, None),
        };
        let interface = |mode, value: Option<&str>| {
            value
                .filter(|v| !v.is_empty())
                .ok_or(NicSpecError::Needs(mode, "INTERFACE"))
                .and_then(|v| name(v, 15))
        };
        let mode = match (mode, value) {
            ("none", None) => NicMode::None,
            ("internal", value) => NicMode::Internal(name(value.unwrap_or("internal"), 64)?),
            ("external", value) => NicMode::External(interface("external", value)?),
            ("tap", value) => NicMode::Tap(interface("tap", value)?),
            ("socket", None | Some("")) => return Err(NicSpecError::Needs("socket", "PATH")),
            ("socket", Some(path)) => NicMode::Socket(path.into()),
            ("nat", None) => NicMode::Nat(NatSpec::default()),
            _ => return Err(NicSpecError::Mode(text.to_string())),
        };
        let mut spec = Self { mode, mac: None, promiscuous: false, isolated: false };
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| NicSpecError::Key(part.to_string()))?;
            let bad = |expected| NicSpecError::Value(part.to_string(), expected);
            let on = || match value {
                "on" => Ok(true),
                "off" => Ok(false),
                _ => Err(bad("on or off")),
            };
            match (key, &mut spec.mode) {
                ("mac", _) => {
                    let mac: MacAddress =
                        value.parse().map_err(|_| bad("an Ethernet address such as 00-03-FF-12-34-56"))?;
                    if mac.is_group() || mac.0 == [0; 6] {
                        return Err(bad("the address of a single card"));
                    }
                    spec.mac = Some(mac);
                }
                ("promiscuous", _) => spec.promiscuous = on()?,
                ("isolated", _) => spec.isolated = on()?,
                ("forward", NicMode::Nat(nat)) => {
                    nat.forwards.push(value.parse().map_err(|_| bad(FORWARD))?);
                }
                ("host", NicMode::Nat(nat)) => nat.host = on()?,
                ("dns", NicMode::Nat(nat)) => {
                    nat.dns.push(name_server(value).ok_or_else(|| bad("dns=ADDRESS or dns=ADDRESS:PORT"))?);
                }
                ("network", NicMode::Nat(nat)) => {
                    let network = cidr(value);
                    nat.network = Some(
                        network.ok_or_else(|| bad("a network of 8 to 27 bits such as 192.168.131.0/24"))?,
                    );
                }
                _ => return Err(NicSpecError::Key(part.to_string())),
            }
        }
        Ok(spec)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_mode_of_the_command_line() {
        let mode = |text: &str| text.parse::<NicSpec>().unwrap().mode;
        assert_eq!(mode("none"), NicMode::None);
        assert_eq!(mode("internal"), NicMode::Internal("internal".into()));
        assert_eq!(mode("internal=a.b-c_9"), NicMode::Internal("a.b-c_9".into()));
        assert_eq!(mode("external=eth0"), NicMode::External("eth0".into()));
        assert_eq!(mode("tap=tap0"), NicMode::Tap("tap0".into()));
        assert_eq!(mode("socket=/run/x=y"), NicMode::Socket("/run/x=y".into()));
        let forward = |protocol, host, guest| Forward {
            protocol,
            address: Ipv4Addr::LOCALHOST,
            host,
            guest_address: None,
            guest,
        };
        let forwards = vec![forward(Protocol::Tcp, 2222, 22), forward(Protocol::Udp, 53, 53)];
        let nat = NatSpec { forwards, ..NatSpec::default() };
        assert_eq!(mode("nat,forward=tcp:2222:22,forward=udp:53:53"), NicMode::Nat(nat));
        let NicMode::Nat(nat) =
            mode("nat,host=on,dns=127.0.0.1:5353,dns=9.9.9.9,dns=[::1]:54,network=10.0.2.0/24")
        else {
            panic!("a nat");
        };
        assert!(nat.host && nat.forwards.is_empty());
        assert_eq!(nat.network, Some((Ipv4Addr::new(10, 0, 2, 0), 24)));
        let dns: Vec<String> = nat.dns.iter().map(ToString::to_string).collect();
        assert_eq!(dns, ["127.0.0.1:5353", "9.9.9.9:53", "[::1]:54"]);
        for text in ["tcp:1:2", "udp:0.0.0.0:1:2", "tcp:1:10.0.2.16:2", "tcp:10.1.1.1:1:10.0.2.16:2"] {
            assert_eq!(text.parse::<Forward>().unwrap().to_string(), text);
        }
        let nic: NicSpec = "none,isolated=on,promiscuous=off".parse().unwrap();
        assert!(nic.isolated && !nic.promiscuous);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            ("", ": expected none, internal[=NAME], external=INTERFACE, tap=INTERFACE, socket=PATH or nat"),
            (
                "none=x",
                "none=x: expected none, internal[=NAME], external=INTERFACE, tap=INTERFACE, socket=PATH or nat",
            ),
            ("tap", "tap: expected tap=INTERFACE"),
            ("external=", "external: expected external=INTERFACE"),
            ("socket", "socket: expected socket=PATH"),
            ("internal,mac=1", "mac=1: expected an Ethernet address such as 00-03-FF-12-34-56"),
            (
                "internal,mac=FF-FF-FF-FF-FF-FF",
                "mac=FF-FF-FF-FF-FF-FF: expected the address of a single card",
            ),
            ("internal,isolated=1", "isolated=1: expected on or off"),
            (
                "nat,forward=tcp:0:1",
                "forward=tcp:0:1: expected forward=tcp:HOST:GUEST or udp, with port numbers, and an address before either if need be",
            ),
            (
                "nat,forward=tcp:1:2:3",
                "forward=tcp:1:2:3: expected forward=tcp:HOST:GUEST or udp, with port numbers, and an address before either if need be",
            ),
            ("nat,host=yes", "host=yes: expected on or off"),
            ("nat,dns=x", "dns=x: expected dns=ADDRESS or dns=ADDRESS:PORT"),
            (
                "nat,network=10.0.2.1/24",
                "network=10.0.2.1/24: expected a network of 8 to 27 bits such as 192.168.131.0/24",
            ),
        ] {
            assert_eq!(text.parse::<NicSpec>().unwrap_err().to_string(), message, "{text}");
        }
        for text in [
            "internal=",
            "internal=a/b",
            "internal=..",
            "tap=abcdefghijklmnop",
            "internal,forward=tcp:1:1",
            "internal,host=on",
            "nat,forward=tcp:1.2.3:1:2",
            "nat,forward=tcp:1",
            "none,x=1",
            "none,x",
        ] {
            assert!(text.parse::<NicSpec>().is_err(), "{text}");
        }
    }
}
