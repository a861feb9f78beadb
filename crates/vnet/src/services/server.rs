//! The station: ARP, ICMP and TCP by smoltcp, TFTP by hand.

use super::content::Library;
use super::http::Connection;
use super::tftp::{Peer, Tftp};
use crate::guard::Edges;
use crate::mac::mix;
use crate::phy::{Wire, micros};
use crate::station::{Outbox, Station};
use crate::wire::{
    ETHERNET_HEADER, ETHERTYPE_IPV4, Ethernet, Ipv4, PROTOCOL_UDP, Udp, be16, pseudo_header, sum,
};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::Medium;
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use std::borrow::Cow;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;

/// The protocol's number.
const TCP: u8 = 6;
/// HTTP connections at the same time.
const CONNECTIONS: usize = 16;
const RECEIVE_BUFFER: usize = 8 << 10;
const SEND_BUFFER: usize = 256 << 10;
/// How often one call goes round between stack and connections.
const ROUNDS: usize = 64;
/// A connection on which nothing moves for so long is given up.
const IDLE: Duration = Duration::from_secs(60);

/// The settings of a [`FileServer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileServerConfig {
    /// Its Ethernet address.
    pub mac: MacAddress,
    /// Its address.
    pub address: Ipv4Addr,
    /// Bits of the network's mask.
    pub prefix: u8,
    /// Default gateway, if guests of other networks are to be served.
    pub router: Option<Ipv4Addr>,
    /// The folder whose files it serves; without one only what [`FileServer::add`] was given, and `generate/N`.
    pub root: Option<PathBuf>,
    /// HTTP's port (80).
    pub http_port: u16,
}

impl FileServerConfig {
    /// A server at `address` on a network with a mask of `prefix` bits, without files.
    pub fn new(address: Ipv4Addr, prefix: u8) -> Self {
        let [_, b, c, d] = address.octets();
        Self {
            mac: MacAddress([0x02, 0x03, 0xff, b, c, d]),
            address,
            prefix,
            router: None,
            root: None,
            http_port: 80,
        }
    }
}

/// Why there is no server.
#[derive(Debug)]
#[non_exhaustive]
pub enum FileServerError {
    /// The addresses are none of a station.
    Address(Ipv4Addr, u8),
    /// The folder cannot be used.
    Root(PathBuf, io::Error),
}

impl std::fmt::Display for FileServerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Address(address, bits) => write!(f, "{address}/{bits} is no address of a station"),
            Self::Root(path, error) => write!(f, "{}: {error}", path.display()),
        }
    }
}

impl std::error::Error for FileServerError {}

/// What a server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FileServerStats {
    /// HTTP requests answered, whatever the answer.
    pub http: u64,
    /// TFTP transfers begun.
    pub tftp: u64,
}

/// Serves files to guests by TFTP and HTTP.
///
/// `http://ADDRESS/generate/N` is N bytes of a known pattern ([`generated`](super::generated)), `generate/N.sha256` its checksum as `sha256sum` prints it.
///
/// ```
/// use slotone_vnet::services::{FileServer, FileServerConfig};
/// use slotone_vnet::switch::Switch;
/// let mut server = FileServer::new(FileServerConfig::new("10.244.0.2".parse()?, 24))?;
/// server.add("boot.ipxe", *b"#!ipxe\nshell\n");
/// let switch = Switch::new();
/// switch.station(server)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct FileServer {
    mac: MacAddress,
    address: Ipv4Addr,
    http_port: u16,
    interface: Interface,
    sockets: SocketSet<'static>,
    connections: Vec<(SocketHandle, Connection)>,
    tftp: Tftp,
    library: Library,
    stats: FileServerStats,
    deadline: Option<VmInstant>,
    /// What clients were told that they may send.
    edges: Edges,
}

impl std::fmt::Debug for FileServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FileServer")
            .field("address", &self.address)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl FileServer {
    /// A server with the files of its folder.
    ///
    /// # Errors
    /// [`FileServerError`].
    pub fn new(config: FileServerConfig) -> Result<Self, FileServerError> {
        let FileServerConfig { mac, address, prefix, router, root, http_port } = config;
        if !(1..=30).contains(&prefix) || address.is_multicast() || address.is_unspecified() || mac.is_group()
        {
            return Err(FileServerError::Address(address, prefix));
        }
        let library = Library::new(root.as_deref())
            .map_err(|error| FileServerError::Root(root.unwrap_or_default(), error))?;
        let mut settings = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        settings.random_seed = mix(u64::from(address.to_bits()));
        let mut nothing = Outbox::new();
        let mut interface = Interface::new(
            settings,
            &mut Wire {
                medium: Medium::Ethernet,
                packet: None,
                out: &mut nothing,
                limit: 0,
                finish: &mut |_| false,
            },
            Instant::from_micros(0),
        );
        interface.update_ip_addrs(|list| {
            // The list has room for two.
            let _ = list.push(IpCidr::new(address.into(), prefix));
        });
        if let Some(router) = router {
            let _ = interface.routes_mut().add_default_ipv4_route(router);
        }
        let mut sockets = SocketSet::new(Vec::new());
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut socket = Socket::new(
                SocketBuffer::new(vec![0; RECEIVE_BUFFER]),
                SocketBuffer::new(vec![0; SEND_BUFFER]),
            );
            socket.set_nagle_enabled(false);
            socket.set_timeout(Some(IDLE));
            connections.push((sockets.add(socket), Connection::Idle));
        }
        let tftp = Tftp::new(mac, address);
        let stats = FileServerStats::default();
        let mut server = Self {
            mac,
            address,
            http_port,
            interface,
            sockets,
            connections,
            tftp,
            library,
            stats,
            deadline: None,
            edges: Edges::default(),
        };
        server.listen();
        Ok(server)
    }

    /// Serves `bytes` under a name, before a file of the folder.
    pub fn add(&mut self, name: &str, bytes: impl AsRef<[u8]>) {
        self.library.add(name, bytes.as_ref().into());
    }

    /// What it did so far.
    pub fn stats(&self) -> FileServerStats {
        self.stats
    }

    /// Where guests find it.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Sockets whose connection is over wait for the next one.
    fn listen(&mut self) {
        for (handle, connection) in &mut self.connections {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            // What is left of a closed connection is of no use here: ports of clients differ.
            if matches!(socket.state(), State::Closed | State::TimeWait) {
                if socket.state() == State::TimeWait {
                    socket.abort();
                }
                *connection = Connection::Idle;
                let _ = socket.listen(self.http_port);
            }
        }
    }

    fn run(&mut self, now: VmInstant, frame: Option<&[u8]>, out: &mut Outbox) {
        let at = micros(now);
        let fitting = frame.map(|frame| fit(&self.edges, frame));
        let mut frame = fitting.as_deref();
        for _ in 0..ROUNDS {
            let mut finish = |frame: &mut [u8]| {
                if be16(frame, 12) == Some(ETHERTYPE_IPV4) {
                    self.edges.sent(&frame[ETHERNET_HEADER..]);
                }
                true
            };
            let packet = frame.take();
            let medium = Medium::Ethernet;
            let mut wire = Wire { medium, packet, out, limit: usize::MAX, finish: &mut finish };
            self.interface.poll(at, &mut wire, &mut self.sockets);
            let mut moved = false;
            for (handle, connection) in &mut self.connections {
                let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
                let progress = connection.serve(socket, &mut self.library);
                moved |= progress.moved;
                self.stats.http += u64::from(progress.answered);
            }
            if !moved {
                break;
            }
        }
        self.listen();
        let next = self.interface.poll_at(at, &self.sockets);
        // What is due now was just done: a deadline that has passed would be served without end.
        let stack =
            next.map(|next| VmInstant::from_nanos((next.total_micros().max(0) as u64).saturating_mul(1000)));
        self.deadline = stack.map(|next| next.max(now + 1_000_000));
    }
}

impl Station for FileServer {
    fn mac(&self) -> MacAddress {
        self.mac
    }

    fn frame(&mut self, now: VmInstant, frame: &[u8], out: &mut Outbox) {
        let Some(ethernet) = Ethernet::parse(frame) else { return };
        if ethernet.destination != self.mac && ethernet.destination != MacAddress::BROADCAST {
            return;
        }
        if ethernet.kind == ETHERTYPE_IPV4
            && let Some(ip) = Ipv4::parse(ethernet.payload)
            && ip.protocol == PROTOCOL_UDP
        {
            if ip.destination == self.address
                && let Some(udp) = Udp::parse(&ip)
                && let Some(port) = be16(ip.payload, 0)
            {
                let peer = Peer { mac: ethernet.source, address: ip.source, port };
                let begun =
                    self.tftp.datagram(now, peer, udp.destination, udp.payload, &mut self.library, out);
                self.stats.tftp += u64::from(begun);
            }
            return;
        }
        self.run(now, Some(frame), out);
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        [self.deadline, self.tftp.next_deadline()].into_iter().flatten().min()
    }

    fn poll(&mut self, now: VmInstant, out: &mut Outbox) {
        self.tftp.poll(now, out);
        if self.deadline.is_some_and(|at| at <= now) {
            self.run(now, None, out);
        }
    }
}

/// A frame, its segment cut to the window: smoltcp must not be shown more.
fn fit<'a>(edges: &Edges, frame: &'a [u8]) -> Cow<'a, [u8]> {
    let whole = Ethernet::parse(frame).filter(|ethernet| {
        // Of a packet with a wrong sum nothing is looked at, and it stays wrong.
        ethernet.kind == ETHERTYPE_IPV4
            && Ipv4::parse(ethernet.payload).is_some_and(|ip| ip.protocol == TCP && sound(&ip))
    });
    let Some(ethernet) = whole else { return Cow::Borrowed(frame) };
    let total = usize::from(be16(ethernet.payload, 2).unwrap_or(0));
    match edges.fit(&ethernet.payload[..total]) {
        Cow::Borrowed(_) => Cow::Borrowed(frame),
        Cow::Owned(packet) => Cow::Owned([&frame[..ETHERNET_HEADER], &packet].concat()),
    }
}

fn sound(ip: &Ipv4<'_>) -> bool {
    sum(&[&pseudo_header(ip.source, ip.destination, TCP, ip.payload.len()), ip.payload]) == 0xffff
}
