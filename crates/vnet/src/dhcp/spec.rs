//! A server's settings as one argument of a command line: `NETWORK=CIDR[,key=value..]` or `NETWORK=off`.

use super::config::{Config, ConfigError};
use slotone_net::MacAddress;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::str::FromStr;

const KEYS: &str = "start, end, server, server-mac, router, dns, wins, domain, lease, renewal, rebinding, next-server, server-name, boot-file, probe, authoritative, leases";

/// What a command line says about a network's DHCP server.
///
/// Keys: `start`, `end`, `server`, `server-mac`, `router` (or `gateway`), `dns`, `wins` (both may be given more than once, or with `+` between
/// addresses), `domain`, `lease`, `renewal`, `rebinding` (seconds, or with `s`, `m`, `h` or `d`), `next-server`, `server-name`, `boot-file`,
/// `probe`, `authoritative` (`on` or `off`) and `leases` (the file that keeps them). A lease without times of its own is
/// renewed after a half and rebound after seven eighths.
///
/// ```
/// use slotone_vnet::dhcp::DhcpSpec;
/// let spec: DhcpSpec = "lab=192.168.7.0/24,router=192.168.7.1,server=192.168.7.2,lease=2h,boot-file=pxelinux.0".parse()?;
/// let config = spec.config.expect("not off");
/// assert_eq!(spec.network, "lab");
/// assert_eq!(config.start.to_string(), "192.168.7.16");
/// assert_eq!((config.lease, config.renewal, config.rebinding), (7200, 3600, 6300));
/// assert!("lab=off".parse::<DhcpSpec>()?.config.is_none());
/// # Ok::<(), slotone_vnet::dhcp::SpecError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpSpec {
    /// The network's name.
    pub network: String,
    /// The settings; `None` if there is no server.
    pub config: Option<Config>,
    /// Where the leases are kept.
    pub leases: Option<PathBuf>,
}

/// Why a text is no [`DhcpSpec`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum SpecError {
    /// Not `NETWORK=CIDR..`.
    Shape(String),
    /// Not an address, a slash and a number of bits.
    Cidr(String),
    /// A key that there is not.
    UnknownKey(String),
    /// A key without a value.
    NoValue(String),
    /// A key that may be given only once.
    Twice(String),
    /// A value that the key does not take.
    Value {
        /// The key.
        key: String,
        /// Its value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
    /// The settings break a rule.
    Config(ConfigError),
}

impl std::fmt::Display for SpecError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shape(text) => {
                write!(
                    f,
                    "{text}: expected NETWORK=CIDR[,key=value..] or NETWORK=off, such as internal=10.244.0.0/24"
                )
            }
            Self::Cidr(text) => write!(f, "{text}: expected a network such as 10.244.0.0/24"),
            Self::UnknownKey(key) => write!(f, "{key}: no such key; there are {KEYS}"),
            Self::NoValue(key) => write!(f, "{key}: expected {key}=VALUE"),
            Self::Twice(key) => write!(f, "{key}: given twice"),
            Self::Value { key, value, expected } => write!(f, "{key}={value}: expected {expected}"),
            Self::Config(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for SpecError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Config(error) => Some(error),
            _ => None,
        }
    }
}

impl From<ConfigError> for SpecError {
    fn from(error: ConfigError) -> Self {
        Self::Config(error)
    }
}

/// A key and its value.
struct Pair<'a>(&'a str, &'a str);

impl Pair<'_> {
    fn error(&self, expected: &'static str) -> SpecError {
        SpecError::Value { key: self.0.to_string(), value: self.1.to_string(), expected }
    }

    fn address(&self) -> Result<Ipv4Addr, SpecError> {
        self.1.parse().map_err(|_| self.error("an address such as 10.244.0.1"))
    }

    fn list(&self, into: &mut Vec<Ipv4Addr>) -> Result<(), SpecError> {
        for part in self.1.split('+') {
            into.push(part.parse().map_err(|_| self.error("addresses with + between them"))?);
        }
        Ok(())
    }

    fn seconds(&self) -> Result<u32, SpecError> {
        let (digits, factor) = match self.1.strip_suffix(|c: char| c.is_ascii_lowercase()) {
            None => (self.1, 1),
            Some(digits) => match &self.1[digits.len()..] {
                "s" => (digits, 1),
                "m" => (digits, 60),
                "h" => (digits, 3600),
                "d" => (digits, 86_400),
                _ => ("", 1),
            },
        };
        let number = digits.parse::<u32>().ok().filter(|_| !digits.starts_with('+'));
        number
            .and_then(|n| n.checked_mul(factor))
            .ok_or_else(|| self.error("seconds up to 4294967295, or a number with s, m, h or d"))
    }

    fn switch(&self) -> Result<bool, SpecError> {
        match self.1 {
            "on" => Ok(true),
            "off" => Ok(false),
            _ => Err(self.error("on or off")),
        }
    }

    fn mac(&self) -> Result<MacAddress, SpecError> {
        self.1.parse().map_err(|_| self.error("an Ethernet address such as 02-03-FF-44-48-01"))
    }
}

impl FromStr for DhcpSpec {
    type Err = SpecError;

    fn from_str(text: &str) -> Result<Self, SpecError> {
        let (network, rest) = text.split_once('=').ok_or_else(|| SpecError::Shape(text.to_string()))?;
        if network.is_empty() || network.contains(',') {
            return Err(SpecError::Shape(text.to_string()));
        }
        let mut parts = rest.split(',');
        let cidr = parts.next().unwrap_or_default();
        let network = network.to_string();
        if cidr == "off" {
            return match parts.next() {
                None => Ok(Self { network, config: None, leases: None }),
                Some(_) => Err(SpecError::Shape(text.to_string())),
            };
        }
        let mut pairs = Vec::new();
        for part in parts {
            let (key, value) = part.split_once('=').ok_or_else(|| SpecError::NoValue(part.to_string()))?;
            if value.is_empty() {
                return Err(SpecError::NoValue(key.to_string()));
            }
            if !matches!(key, "dns" | "wins") && pairs.iter().any(|Pair(k, _)| *k == key) {
                return Err(SpecError::Twice(key.to_string()));
            }
            pairs.push(Pair(key, value));
        }
        // The range first: without a start, the network must be large enough for the default one.
        let of = |key: &str| pairs.iter().find(|pair| pair.0 == key);
        let start = of("start").map(Pair::address).transpose()?;
        let end = of("end").map(Pair::address).transpose()?;
        let (address, bits) = cidr.split_once('/').ok_or_else(|| SpecError::Cidr(cidr.to_string()))?;
        let bad = || SpecError::Cidr(cidr.to_string());
        let mut config = Config::with_range(
            address.parse().map_err(|_| bad())?,
            bits.parse().map_err(|_| bad())?,
            start,
            end,
        )?;
        let mut leases = None;
        let (mut renewal, mut rebinding) = (None, None);
        for pair in &pairs {
            match pair.0 {
                "start" | "end" => {}
                "server" => config.server = pair.address()?,
                "server-mac" => config.server_mac = pair.mac()?,
                "router" | "gateway" => config.router = Some(pair.address()?),
                "dns" => pair.list(&mut config.dns)?,
                "wins" => pair.list(&mut config.wins)?,
                "domain" => config.domain = Some(pair.1.to_string()),
                "lease" => config.lease = pair.seconds()?,
                "renewal" => renewal = Some(pair.seconds()?),
                "rebinding" => rebinding = Some(pair.seconds()?),
                "next-server" => config.next_server = Some(pair.address()?),
                "server-name" => config.boot_server = Some(pair.1.to_string()),
                "boot-file" => config.boot_file = Some(pair.1.to_string()),
                "probe" => config.probe = pair.switch()?,
                "authoritative" => config.authoritative = pair.switch()?,
                "leases" => leases = Some(PathBuf::from(pair.1)),
                key => return Err(SpecError::UnknownKey(key.to_string())),
            }
        }
        // Both defaults are at or above their minima for every lease of 60 seconds or more.
        config.renewal = renewal.unwrap_or(config.lease / 2);
        config.rebinding = rebinding.unwrap_or(config.lease - config.lease / 8);
        config.check()?;
        Ok(Self { network, config: Some(config), leases })
    }
}

/// The text that is read as the same settings.
impl std::fmt::Display for DhcpSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Some(config) = &self.config else { return write!(f, "{}=off", self.network) };
        write!(
            f,
            "{}={}/{},start={},end={}",
            self.network, config.network, config.prefix, config.start, config.end
        )?;
        write!(f, ",server={},server-mac={}", config.server, config.server_mac)?;
        write!(f, ",lease={},renewal={},rebinding={}", config.lease, config.renewal, config.rebinding)?;
        let on = |flag| if flag { "on" } else { "off" };
        write!(f, ",probe={},authoritative={}", on(config.probe), on(config.authoritative))?;
        for (key, list) in [
            ("router", config.router.as_slice()),
            ("next-server", config.next_server.as_slice()),
            ("dns", &config.dns[..]),
            ("wins", &config.wins[..]),
        ] {
            for address in list {
                write!(f, ",{key}={address}")?;
            }
        }
        for (key, text) in [
            ("domain", &config.domain),
            ("server-name", &config.boot_server),
            ("boot-file", &config.boot_file),
        ] {
            if let Some(text) = text {
                write!(f, ",{key}={text}")?;
            }
        }
        match &self.leases {
            Some(path) => write!(f, ",leases={}", path.display()),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_understood() {
        let spec: DhcpSpec = "net=10.1.0.0/16,start=10.1.2.0,end=10.1.2.9,server=10.1.0.2,server-mac=02-00-00-00-00-01,gateway=10.1.0.3,\
            dns=10.1.0.4+8.8.8.8,dns=9.9.9.9,wins=10.1.0.5,domain=lab.test,lease=600,renewal=60s,rebinding=2m,next-server=10.1.0.6,\
            server-name=boot,boot-file=http://10.1.0.6/a?b=c,probe=off,authoritative=off,leases=/tmp/x"
            .parse()
            .unwrap();
        let ip = |c, d| Ipv4Addr::new(10, 1, c, d);
        let config = spec.config.unwrap();
        assert_eq!(
            (config.network, config.prefix, config.start, config.end),
            (ip(0, 0), 16, ip(2, 0), ip(2, 9))
        );
        assert_eq!(
            (config.server, config.router, config.next_server),
            (ip(0, 2), Some(ip(0, 3)), Some(ip(0, 6)))
        );
        assert_eq!(config.dns, [ip(0, 4), Ipv4Addr::new(8, 8, 8, 8), Ipv4Addr::new(9, 9, 9, 9)]);
        assert_eq!(config.wins, [ip(0, 5)]);
        assert_eq!((config.lease, config.renewal, config.rebinding), (600, 60, 120));
        assert_eq!(config.boot_file.as_deref(), Some("http://10.1.0.6/a?b=c"));
        assert_eq!(config.boot_server.as_deref(), Some("boot"));
        assert!(!config.probe && !config.authoritative);
        assert_eq!(spec.leases, Some(PathBuf::from("/tmp/x")));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, message) in [
            (
                "internal",
                "internal: expected NETWORK=CIDR[,key=value..] or NETWORK=off, such as internal=10.244.0.0/24",
            ),
            (
                "=10.0.0.0/8",
                "=10.0.0.0/8: expected NETWORK=CIDR[,key=value..] or NETWORK=off, such as internal=10.244.0.0/24",
            ),
            (
                "a=off,lease=60",
                "a=off,lease=60: expected NETWORK=CIDR[,key=value..] or NETWORK=off, such as internal=10.244.0.0/24",
            ),
            ("a=10.0.0.0", "10.0.0.0: expected a network such as 10.244.0.0/24"),
            ("a=10.0.0.0/x", "10.0.0.0/x: expected a network such as 10.244.0.0/24"),
            ("a=10.0.0.1/24", "10.0.0.1 is an address inside the network 10.0.0.0"),
            ("a=10.0.0.0/24,lease", "lease: expected lease=VALUE"),
            ("a=10.0.0.0/24,lease=", "lease: expected lease=VALUE"),
            (
                "a=10.0.0.0/24,lease=1y",
                "lease=1y: expected seconds up to 4294967295, or a number with s, m, h or d",
            ),
            (
                "a=10.0.0.0/24,lease=99999d",
                "lease=99999d: expected seconds up to 4294967295, or a number with s, m, h or d",
            ),
            (
                "a=10.0.0.0/24,lease=+70",
                "lease=+70: expected seconds up to 4294967295, or a number with s, m, h or d",
            ),
            ("a=10.0.0.0/24,lease=59", "lease is at least 60 seconds, not 59"),
            ("a=10.0.0.0/24,lease=60,lease=61", "lease: given twice"),
            ("a=10.0.0.0/24,dns=1.2.3", "dns=1.2.3: expected addresses with + between them"),
            ("a=10.0.0.0/24,probe=yes", "probe=yes: expected on or off"),
            ("a=10.0.0.0/24,router=10.0.1.1", "router 10.0.1.1 is no station of 10.0.0.0/24"),
            (
                "a=10.0.0.0/28",
                "10.0.0.0/28 has no address left when the first 15 are kept back: give start=ADDRESS",
            ),
        ] {
            assert_eq!(text.parse::<DhcpSpec>().unwrap_err().to_string(), message);
        }
        let unknown = "a=10.0.0.0/24,foo=1".parse::<DhcpSpec>().unwrap_err().to_string();
        assert!(unknown.starts_with("foo: no such key; there are start, "), "{unknown}");
    }

    #[test]
    fn default_times_keep_the_rules_for_every_lease() {
        for lease in [60, 61, 62, 63, 100, 86_400, u32::MAX] {
            let spec: DhcpSpec = format!("a=10.0.0.0/24,lease={lease}").parse().unwrap();
            assert_eq!(spec.config.unwrap().lease, lease);
        }
    }
}
