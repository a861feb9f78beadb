//! What a card is plugged into, as one argument of a command line: `MODE[,key=value..]`.

use slotone_net::MacAddress;
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
    Nat(Vec<Forward>),
}

/// A protocol whose connections are passed on into a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

/// A port of the host that leads to a port of the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// Of which protocol.
    pub protocol: Protocol,
    /// The host's port.
    pub host: u16,
    /// The guest's.
    pub guest: u16,
}

/// What a command line says about a card.
///
/// Keys: `mac`, `promiscuous` and `isolated` (`on` or `off`), and for `nat` any number of `forward=tcp:HOST:GUEST`.
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
                write!(f, "{key}: expected mac=, promiscuous=on|off, isolated=on|off or, for nat, forward=")
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

fn forward(text: &str) -> Option<Forward> {
    let mut parts = text.split(':');
    let protocol = match parts.next()? {
        "tcp" => Protocol::Tcp,
        "udp" => Protocol::Udp,
        _ => return None,
    };
    let mut port = || parts.next()?.parse::<u16>().ok().filter(|port| *port != 0);
    let (host, guest) = (port()?, port()?);
    parts.next().is_none().then_some(Forward { protocol, host, guest })
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
            ("nat", None) => NicMode::Nat(Vec::new()),
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
                ("forward", NicMode::Nat(list)) => {
                    list.push(
                        forward(value)
                            .ok_or_else(|| bad("forward=tcp:HOST:GUEST or udp, with port numbers"))?,
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
        let forwards = vec![
            Forward { protocol: Protocol::Tcp, host: 2222, guest: 22 },
            Forward { protocol: Protocol::Udp, host: 53, guest: 53 },
        ];
        assert_eq!(mode("nat,forward=tcp:2222:22,forward=udp:53:53"), NicMode::Nat(forwards));
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
                "forward=tcp:0:1: expected forward=tcp:HOST:GUEST or udp, with port numbers",
            ),
            (
                "nat,forward=tcp:1:2:3",
                "forward=tcp:1:2:3: expected forward=tcp:HOST:GUEST or udp, with port numbers",
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
            "none,x=1",
            "none,x",
        ] {
            assert!(text.parse::<NicSpec>().is_err(), "{text}");
        }
    }
}
