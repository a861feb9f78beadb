//! The translation: takes frames apart, says where they go, and keeps what it must remember.

use super::config::{NatConfig, NatError, NatEvent, NatStats, forbidden};
use super::echo;
use super::flow::{Endpoint, Fate, Flow, FlowKey};
use super::host::{Host, HostSocket, later};
use super::mapping::{MapKey, Mapping, What, frames};
use super::stack::Stack;
use crate::dhcp::{LeaseState, Server};
use crate::spec::{Forward, Protocol};
use crate::station::{Outbox, Station};
use crate::wire::{
    self, Arp, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet, Ipv4, PROTOCOL_ICMP, PROTOCOL_UDP, Path, Udp, be16,
    pseudo_header, sum,
};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use smoltcp::iface::SocketSet;
use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

const PROTOCOL_TCP: u8 = 6;
const NAMES: u16 = 53;
const DHCP: u16 = 67;
/// Ports of the gateway from which connections and datagrams of forwards come.
const OWN_PORTS: std::ops::RangeInclusive<u16> = 49_152..=65_535;
/// Connections of a forward, and datagrams of a socket, that one call takes.
const AT_ONCE: usize = 32;
/// The longest datagram.
const LONGEST: usize = 65_535;
/// A resolver that has not answered for so long is passed over.
const PATIENCE: u64 = 2_000_000_000;
/// How long a forward rests when the host has no more sockets.
const REST: u64 = 1_000_000_000;
/// How often the sockets are looked at when nobody says which have something (nanoseconds).
const LOOK: u64 = 5_000_000;

/// Which of a translation's sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SocketId(Which);

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Which {
    Flow(FlowKey),
    Mapping(MapKey),
    Forward(usize),
}

/// What a socket is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wants {
    /// It has something to read, or to accept.
    pub read: bool,
    /// It takes something, or is connected.
    pub write: bool,
}

/// A forward's socket, and for UDP who came by it.
struct Inward<S> {
    forward: Forward,
    socket: S,
    peers: Vec<(SocketAddr, Caller)>,
    /// The host gave no connection though one waits: not before this instant again.
    rests: Option<VmInstant>,
}

#[derive(Debug, Clone, Copy)]
struct Caller {
    guest: Endpoint,
    port: u16,
    last: VmInstant,
}

/// Where something goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Route {
    /// A resolver's business.
    Names,
    To(SocketAddr),
    Refused,
    /// Not this station's.
    Nowhere,
}

/// The gateway of a network of guests, with the world behind it.
///
/// A station like others: frames in, frames out. Its owner may say which sockets have something ([`Nat::sockets`], [`Nat::ready`]), as
/// [`NatPort`](super::NatPort) does; on a [`Switch`](crate::switch::Switch) it looks at them every five milliseconds while it has any.
///
/// ```
/// # #[cfg(all(feature = "switch", unix))] {
/// use slotone_vnet::nat::{Nat, NatConfig, OsHost};
/// use slotone_vnet::switch::{PortOptions, Switch};
///
/// // Two cards behind one gateway.
/// let config = NatConfig::new("10.0.2.0".parse()?, 24)?;
/// let switch = Switch::new();
/// switch.station(Nat::new(config, OsHost::default())?)?;
/// let (one, two) = (switch.port(PortOptions::default())?, switch.port(PortOptions::default())?);
/// # drop((one, two));
/// # }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Nat<H: Host> {
    config: NatConfig,
    host: H,
    dhcp: Option<Server>,
    stack: Stack,
    flows: BTreeMap<FlowKey, Flow<H::Socket>>,
    mappings: BTreeMap<MapKey, Mapping<H::Socket>>,
    inward: Vec<Inward<H::Socket>>,
    stats: NatStats,
    events: Vec<NatEvent>,
    said: Vec<NatEvent>,
    /// The resolver that is asked, of how many there are, and since when it has not answered.
    resolver: usize,
    asked: Option<VmInstant>,
    next_port: u16,
    identification: u16,
    looked: VmInstant,
    buffer: Vec<u8>,
}

impl<H: Host> std::fmt::Debug for Nat<H> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Nat")
            .field("gateway", &self.config.gateway)
            .field("stats", &self.stats)
            .finish_non_exhaustive()
    }
}

impl<H: Host> Nat<H> {
    /// A gateway, whose forwards are open at once.
    ///
    /// # Errors
    /// [`NatError`]: a rule is broken, or a forward's port cannot be had.
    pub fn new(config: NatConfig, mut host: H) -> Result<Self, NatError> {
        let dhcp = config.dhcp.clone().map(Server::new).transpose()?;
        let mut inward = Vec::new();
        for forward in &config.forwards {
            let at = SocketAddr::from((forward.address, forward.host));
            let socket = match forward.protocol {
                Protocol::Tcp => host.listen(at),
                Protocol::Udp => host.datagrams(at),
            };
            let socket = socket.map_err(|error| NatError::Forward(*forward, error))?;
            inward.push(Inward { forward: *forward, socket, peers: Vec::new(), rests: None });
        }
        Ok(Self {
            stack: Stack::new(&config),
            config,
            host,
            dhcp,
            flows: BTreeMap::new(),
            mappings: BTreeMap::new(),
            inward,
            stats: NatStats::default(),
            events: Vec::new(),
            said: Vec::new(),
            resolver: 0,
            asked: None,
            next_port: *OWN_PORTS.start(),
            identification: 0,
            looked: VmInstant::ZERO,
            buffer: vec![0; LONGEST],
        })
    }

    /// What it did so far.
    pub fn stats(&self) -> NatStats {
        self.stats
    }

    /// What it has to say since the last call.
    pub fn events(&mut self) -> Vec<NatEvent> {
        std::mem::take(&mut self.events)
    }

    /// The world outside.
    pub fn host(&mut self) -> &mut H {
        &mut self.host
    }

    /// Connections, mapped UDP ports and mapped echo identifiers that there are now.
    pub fn in_use(&self) -> (usize, usize, usize) {
        let echoes = self.mappings.keys().filter(|key| key.what == What::Echo).count();
        (self.flows.len(), self.mappings.len() - echoes, echoes)
    }

    fn say(&mut self, event: NatEvent) {
        // Once of a kind: what a guest does must not fill its owner's screen.
        let kind = std::mem::discriminant(&event);
        if !self.said.iter().any(|said| std::mem::discriminant(said) == kind) {
            self.said.push(event);
            self.events.push(event);
        }
    }

    /// Every socket that is to be waited for, and for what.
    pub fn sockets(&self) -> impl Iterator<Item = (SocketId, &H::Socket, Wants)> {
        const READ: Wants = Wants { read: true, write: false };
        let inward = self.inward.iter().zip(0..).filter(|(inward, _)| inward.rests.is_none());
        let inward = inward.map(|(inward, i)| (SocketId(Which::Forward(i)), &inward.socket, READ));
        let mappings = self.mappings.iter();
        let mappings = mappings.map(|(key, mapping)| (SocketId(Which::Mapping(*key)), &mapping.socket, READ));
        let flows = self.flows.iter().map(|(key, flow)| {
            let (read, write) = flow.wants();
            (SocketId(Which::Flow(*key)), flow.socket(), Wants { read, write })
        });
        inward.chain(mappings).chain(flows.filter(|(_, _, wants)| wants.read || wants.write))
    }

    /// A socket has what it was waited for.
    pub fn ready(&mut self, now: VmInstant, socket: SocketId, out: &mut Outbox) {
        match socket.0 {
            Which::Flow(key) => self.carry(now, key, true, out),
            Which::Mapping(key) => self.hear(now, key, out),
            Which::Forward(i) => match self.inward.get(i).map(|inward| inward.forward.protocol) {
                Some(Protocol::Tcp) => self.accept(now, i, out),
                Some(Protocol::Udp) => self.take_in(now, i, out),
                None => {}
            },
        }
    }

    /// When [`Nat::tick`] has something to do, as far as time alone says.
    pub fn next_tick(&self) -> Option<VmInstant> {
        let flows = self.flows.values().map(|flow| flow.deadline);
        let mappings = self.mappings.iter().map(|(key, mapping)| mapping.last + self.patience(*key));
        let dhcp = self.dhcp.as_ref().and_then(Station::next_deadline);
        let rests = self.inward.iter().filter_map(|inward| inward.rests);
        flows.chain(mappings).chain(dhcp).chain(rests).min()
    }

    fn patience(&self, key: MapKey) -> u64 {
        match key.what {
            What::Datagrams => self.config.limits.datagram,
            What::Names | What::Echo => self.config.limits.brief,
        }
    }

    /// Time has passed: sends again, ends what was silent too long.
    pub fn tick(&mut self, now: VmInstant, out: &mut Outbox) {
        if let Some(dhcp) = &mut self.dhcp
            && dhcp.next_deadline().is_some_and(|at| at <= now)
        {
            dhcp.poll(now, out);
        }
        let due: Vec<FlowKey> =
            self.flows.iter().filter(|(_, flow)| flow.deadline <= now).map(|(key, _)| *key).collect();
        for key in due {
            self.carry(now, key, false, out);
        }
        let limits = self.config.limits;
        self.mappings.retain(|key, mapping| {
            let patience = if key.what == What::Datagrams { limits.datagram } else { limits.brief };
            mapping.last + patience > now
        });
        for inward in &mut self.inward {
            inward.peers.retain(|(_, caller)| caller.last + limits.datagram > now);
            inward.rests = inward.rests.filter(|at| *at > now);
        }
    }

    // ---- where to

    fn route(&self, (address, port): Endpoint) -> Route {
        if address == self.config.gateway {
            return match port {
                NAMES => Route::Names,
                _ if self.config.allow_host => Route::To(SocketAddr::from((Ipv4Addr::LOCALHOST, port))),
                _ => Route::Refused,
            };
        }
        if self.config.contains(address) || address.is_broadcast() {
            return Route::Nowhere;
        }
        if forbidden(address) { Route::Refused } else { Route::To(SocketAddr::from((address, port))) }
    }

    /// The route, with the host's own addresses taken out.
    fn route_outside(&mut self, to: Endpoint) -> Route {
        let route = self.route(to);
        let own = |host: &mut H| to.0 != self.config.gateway && !self.config.allow_host && host.is_own(to.0);
        let route = match route {
            Route::To(_) if own(&mut self.host) => Route::Refused,
            route => route,
        };
        if route == Route::Refused {
            self.stats.refused += 1;
            self.say(NatEvent::Refused(to.0));
        }
        route
    }

    fn resolver(&mut self, now: VmInstant) -> Option<SocketAddr> {
        let list = match &self.config.resolvers {
            Some(list) => list.clone(),
            None => self.host.resolvers(),
        };
        if list.is_empty() {
            self.say(NatEvent::NoResolver);
            return None;
        }
        if self.asked.is_some_and(|at| now.since(at) > PATIENCE) {
            self.resolver = self.resolver.wrapping_add(1);
            self.asked = None;
        }
        Some(list[self.resolver % list.len()])
    }

    // ---- frames

    fn frame_in(&mut self, now: VmInstant, frame: &[u8], out: &mut Outbox) {
        let Some(ethernet) = Ethernet::parse(frame) else { return };
        let own = self.config.mac;
        let broadcast = ethernet.destination == MacAddress::BROADCAST;
        if !(broadcast || ethernet.destination == own) || ethernet.source.is_group() || ethernet.source == own
        {
            return;
        }
        match ethernet.kind {
            ETHERTYPE_ARP => self.arp(now, &ethernet, frame, out),
            ETHERTYPE_IPV4 => {
                let Some(ip) = Ipv4::parse(ethernet.payload) else {
                    self.stats.dropped += 1;
                    self.stats.fragments += u64::from(wire::is_fragment(ethernet.payload));
                    return;
                };
                if ip.protocol == PROTOCOL_UDP && be16(ip.payload, 2) == Some(DHCP) {
                    if let Some(dhcp) = &mut self.dhcp {
                        dhcp.frame(now, frame, out);
                    }
                    return;
                }
                if broadcast {
                    return;
                }
                if !self.config.is_guest(ip.source) {
                    self.stats.dropped += 1;
                    return;
                }
                self.stack.stations.heard(ip.source, ethernet.source);
                let packet = &ethernet.payload[..usize::from(be16(ethernet.payload, 2).unwrap_or(0))];
                match ip.protocol {
                    PROTOCOL_ICMP => self.icmp(now, &ethernet, &ip, packet, out),
                    PROTOCOL_TCP => self.tcp(now, &ip, packet, out),
                    PROTOCOL_UDP => self.udp(now, &ip, packet, out),
                    _ => self.stats.dropped += 1,
                }
            }
            _ => {}
        }
    }

    fn arp(&mut self, now: VmInstant, ethernet: &Ethernet<'_>, frame: &[u8], out: &mut Outbox) {
        if let Some(arp) = Arp::parse(ethernet.payload)
            && self.config.is_guest(arp.sender)
            && arp.sender_mac == ethernet.source
        {
            self.stack.stations.heard(arp.sender, arp.sender_mac);
        }
        // The server of a network has the gateway's address and answers for it.
        match &mut self.dhcp {
            Some(dhcp) => dhcp.frame(now, frame, out),
            None => {
                if let Some(answer) = wire::answer(self.config.mac, self.config.gateway, ethernet) {
                    out.push(answer);
                }
            }
        }
    }

    /// Says to a guest that its packet goes nowhere.
    fn unreachable(&mut self, code: u8, packet: &[u8], guest: Ipv4Addr, out: &mut Outbox) {
        if let Some(mac) = self.stack.stations.mac(guest)
            && self.stack.has_room(out)
        {
            let message = echo::unreachable(code, packet);
            out.push(echo::frame((self.config.mac, self.config.gateway), (mac, guest), &message));
        }
    }

    // ---- TCP

    fn tcp(&mut self, now: VmInstant, ip: &Ipv4<'_>, packet: &[u8], out: &mut Outbox) {
        let data = ip.payload;
        let pseudo = pseudo_header(ip.source, ip.destination, PROTOCOL_TCP, data.len());
        let (Some(source), Some(port)) = (be16(data, 0), be16(data, 2)) else {
            self.stats.dropped += 1;
            return;
        };
        if data.len() < 20 || source == 0 || port == 0 || sum(&[&pseudo, data]) != 0xffff {
            self.stats.dropped += 1;
            return;
        }
        let key = FlowKey { guest: (ip.source, source), remote: (ip.destination, port) };
        let syn = data[13] & 0x17 == 2;
        if syn && self.flows.get(&key).is_some_and(Flow::is_lingering) {
            self.flows.remove(&key);
        }
        if let Some(flow) = self.flows.get_mut(&key) {
            let limits = &self.config.limits;
            let fate = flow.packet(now, packet, &mut self.stack, limits, &mut self.stats, out);
            return self.settle(key, fate);
        }
        if !syn {
            if self.route(key.remote) != Route::Nowhere {
                self.no_connection(now, packet, out);
            }
            return;
        }
        let to = match self.route_outside(key.remote) {
            Route::To(to) => Some(to),
            Route::Names => self.resolver(now),
            Route::Refused => None,
            Route::Nowhere => return,
        };
        self.stats.connections += 1;
        let host = match to {
            Some(to) if self.make_room(now, out) => self.host.connect(to),
            _ => {
                self.stats.failed += 1;
                return self.no_connection(now, packet, out);
            }
        };
        match host {
            Ok(host) => {
                self.flows.insert(key, Flow::from_guest(host, packet, now));
                self.carry(now, key, false, out);
            }
            Err(error) => {
                self.stats.failed += 1;
                self.no_socket(&error);
                self.no_connection(now, packet, out);
            }
        }
    }

    /// Answers a packet that belongs to no connection, as a host does: with RST, unless it is one.
    fn no_connection(&mut self, now: VmInstant, packet: &[u8], out: &mut Outbox) {
        if self.stack.has_room(out) {
            self.stack.poll(now, Some(packet), &mut SocketSet::new(Vec::new()), out);
        }
    }

    fn no_socket(&mut self, error: &io::Error) {
        // EMFILE and ENFILE have no kind of their own.
        if matches!(error.raw_os_error(), Some(23 | 24)) {
            self.say(NatEvent::NoSocket);
        }
    }

    /// Makes place for one more connection, if it must and can.
    fn make_room(&mut self, now: VmInstant, out: &mut Outbox) -> bool {
        let limits = self.config.limits;
        if self.flows.len() < limits.connections {
            return true;
        }
        let oldest = self.flows.iter().min_by_key(|(_, flow)| (!flow.is_lingering(), flow.last));
        let Some(key) = oldest
            .filter(|(_, flow)| flow.is_lingering() || now.since(flow.last) >= limits.evict)
            .map(|(key, _)| *key)
        else {
            self.say(NatEvent::ConnectionsFull);
            return false;
        };
        if let Some(mut flow) = self.flows.remove(&key)
            && !flow.is_lingering()
        {
            flow.give_up(now, &mut self.stack, out);
            self.stats.given_up += 1;
        }
        true
    }

    fn carry(&mut self, now: VmInstant, key: FlowKey, readable: bool, out: &mut Outbox) {
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let fate = flow.carry(now, readable, &mut self.stack, &self.config.limits, &mut self.stats, out);
        self.settle(key, fate);
    }

    fn settle(&mut self, key: FlowKey, fate: Fate) {
        match fate {
            Fate::Goes => return,
            Fate::Over => {}
            Fate::Failed => self.stats.failed += 1,
            Fate::Late => self.stats.given_up += 1,
        }
        self.flows.remove(&key);
    }

    // ---- forwards

    /// The guest that a forward means, if its Ethernet address is known: the one that it names, or the one that was heard last.
    fn target(&mut self, now: VmInstant, forward: &Forward) -> Option<Endpoint> {
        let address = match forward.guest_address.or_else(|| self.stack.stations.latest()) {
            Some(address) if self.stack.stations.mac(address).is_some() => address,
            // A guest that has a lease and has said nothing since.
            wanted => {
                let leases = self.dhcp.as_ref().map(|dhcp| dhcp.leases(now)).unwrap_or_default();
                let lease = leases.into_iter().find(|lease| {
                    lease.state == LeaseState::Bound && wanted.is_none_or(|wanted| wanted == lease.address)
                })?;
                self.stack.stations.heard(lease.address, lease.mac);
                lease.address
            }
        };
        Some((address, forward.guest))
    }

    /// A port of the gateway that nobody uses for this guest.
    fn own_port(&mut self, guest: Endpoint) -> Option<u16> {
        for _ in OWN_PORTS {
            let port = self.next_port;
            self.next_port = if port == *OWN_PORTS.end() { *OWN_PORTS.start() } else { port + 1 };
            let key = FlowKey { guest, remote: (self.config.gateway, port) };
            let called = |inward: &Inward<H::Socket>| inward.peers.iter().any(|(_, c)| c.port == port);
            if !self.flows.contains_key(&key) && !self.inward.iter().any(called) {
                return Some(port);
            }
        }
        None
    }

    fn accept(&mut self, now: VmInstant, i: usize, out: &mut Outbox) {
        for _ in 0..AT_ONCE {
            let Some(inward) = self.inward.get_mut(i) else { return };
            let forward = inward.forward;
            let mut host = match inward.socket.accept() {
                Ok(host) => host,
                Err(error) if later(&error) => return,
                Err(error) => {
                    // It would be offered again at once.
                    inward.rests = Some(now + REST);
                    return self.no_socket(&error);
                }
            };
            self.stats.forwarded += 1;
            let guest = self.target(now, &forward);
            let port = guest.filter(|_| self.make_room(now, out)).and_then(|guest| self.own_port(guest));
            let (Some(guest), Some(port)) = (guest, port) else {
                self.stats.failed += 1;
                host.reset();
                continue;
            };
            let key = FlowKey { guest, remote: (self.config.gateway, port) };
            if let Some(flow) = Flow::to_guest(host, key, &mut self.stack, &self.config.limits, now) {
                self.flows.insert(key, flow);
                self.carry(now, key, false, out);
            }
        }
    }

    fn take_in(&mut self, now: VmInstant, i: usize, out: &mut Outbox) {
        for _ in 0..AT_ONCE {
            let Some(inward) = self.inward.get_mut(i) else { return };
            let forward = inward.forward;
            let (len, from) = match inward.socket.receive_from(&mut self.buffer) {
                Ok(got) => got,
                Err(error) if later(&error) => return,
                Err(_) => continue,
            };
            let Some(guest) = self.target(now, &forward) else {
                self.stats.dropped += 1;
                continue;
            };
            let Some(port) = self.caller(now, i, guest, from) else { continue };
            self.datagram_in((self.config.gateway, port), guest, len, out);
        }
    }

    /// The port of the gateway that stands for somebody who came by a forward.
    fn caller(&mut self, now: VmInstant, i: usize, guest: Endpoint, from: SocketAddr) -> Option<u16> {
        let peers = &mut self.inward.get_mut(i)?.peers;
        if let Some((_, caller)) =
            peers.iter_mut().find(|(peer, caller)| *peer == from && caller.guest == guest)
        {
            caller.last = now;
            return Some(caller.port);
        }
        if peers.len() >= self.config.limits.peers.max(1)
            && let Some(oldest) = (0..peers.len()).min_by_key(|i| peers[*i].1.last)
        {
            peers.swap_remove(oldest);
        }
        let port = self.own_port(guest)?;
        self.inward.get_mut(i)?.peers.push((from, Caller { guest, port, last: now }));
        Some(port)
    }

    // ---- UDP

    fn udp(&mut self, now: VmInstant, ip: &Ipv4<'_>, packet: &[u8], out: &mut Outbox) {
        let (Some(udp), Some(source)) = (Udp::parse(ip), be16(ip.payload, 0).filter(|port| *port != 0))
        else {
            self.stats.dropped += 1;
            return;
        };
        let (guest, to) = ((ip.source, source), (ip.destination, udp.destination));
        if to.0 == self.config.gateway && self.answer_caller(now, guest, to.1, udp.payload) {
            return;
        }
        let key = MapKey { what: What::Datagrams, guest };
        // Who was allowed once is not asked for again.
        let known = self.mappings.get(&key).is_some_and(|mapping| mapping.knows(to));
        let (key, actual) = match if known { self.route(to) } else { self.route_outside(to) } {
            Route::To(actual) => (key, actual),
            Route::Names => match self.resolver(now) {
                Some(actual) => (MapKey { what: What::Names, guest }, actual),
                None => return self.unreachable(echo::PORT, packet, ip.source, out),
            },
            Route::Refused => {
                let code = if to.0 == self.config.gateway { echo::PORT } else { echo::PROHIBITED };
                return self.unreachable(code, packet, ip.source, out);
            }
            Route::Nowhere => return,
        };
        self.speak(now, key, to, actual, udp.payload);
    }

    /// Sends from the socket that stands for a guest's port or identifier.
    fn speak(&mut self, now: VmInstant, key: MapKey, shown: Endpoint, actual: SocketAddr, data: &[u8]) {
        if !self.mappings.contains_key(&key) {
            self.make_mapping_room(key.what);
            let socket = match (key.what, actual) {
                (What::Echo, _) => self.host.echo(),
                (_, SocketAddr::V4(_)) => {
                    self.host.datagrams(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0).into())
                }
                (_, SocketAddr::V6(_)) => {
                    self.host.datagrams(SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, 0).into())
                }
            };
            match socket {
                Ok(socket) => {
                    self.mappings.insert(key, Mapping::new(socket, now));
                }
                Err(error) => {
                    self.stats.dropped += 1;
                    match key.what {
                        What::Echo => self.say(NatEvent::NoEcho),
                        _ => self.no_socket(&error),
                    }
                    return;
                }
            }
        }
        let Some(mapping) = self.mappings.get_mut(&key) else { return };
        mapping.speak(now, shown, actual, self.config.limits.peers);
        match mapping.socket.send_to(data, actual) {
            Ok(()) => self.stats.datagrams_out += 1,
            Err(_) => self.stats.dropped += 1,
        }
        if key.what == What::Names {
            self.stats.names += 1;
            self.asked.get_or_insert(now);
        }
    }

    fn make_mapping_room(&mut self, what: What) {
        let echo = what == What::Echo;
        let limit = if echo { self.config.limits.echoes } else { self.config.limits.mappings };
        let alike = || self.mappings.iter().filter(|(key, _)| (key.what == What::Echo) == echo);
        if alike().count() >= limit.max(1)
            && let Some(oldest) = alike().min_by_key(|(_, mapping)| mapping.last).map(|(key, _)| *key)
        {
            self.mappings.remove(&oldest);
        }
    }

    /// A guest answers somebody who came by a forward.
    fn answer_caller(&mut self, now: VmInstant, guest: Endpoint, port: u16, data: &[u8]) -> bool {
        for inward in &mut self.inward {
            let caller = inward.peers.iter_mut().find(|(_, c)| c.port == port && c.guest == guest);
            if let Some((peer, caller)) = caller {
                caller.last = now;
                match inward.socket.send_to(data, *peer) {
                    Ok(()) => self.stats.datagrams_out += 1,
                    Err(_) => self.stats.dropped += 1,
                }
                return true;
            }
        }
        false
    }

    /// What came for a mapped port or identifier.
    fn hear(&mut self, now: VmInstant, key: MapKey, out: &mut Outbox) {
        for _ in 0..AT_ONCE {
            let Some(mapping) = self.mappings.get_mut(&key) else { return };
            let (len, from) = match mapping.socket.receive_from(&mut self.buffer) {
                Ok(got) => got,
                Err(error) if later(&error) => return,
                // An error of an earlier datagram: the next one may be fine.
                Err(_) => continue,
            };
            let len = len.min(self.buffer.len());
            let Some(shown) = mapping.hear(now, from) else {
                self.stats.dropped += 1;
                continue;
            };
            match key.what {
                What::Names => self.asked = None,
                What::Datagrams => {}
                What::Echo => {
                    self.echo_in(shown.0, key.guest, len, out);
                    continue;
                }
            }
            self.datagram_in(shown, key.guest, len, out);
        }
    }

    /// Sends the first bytes of the buffer to a guest.
    fn datagram_in(&mut self, from: Endpoint, guest: Endpoint, len: usize, out: &mut Outbox) {
        let (Some(mac), true) = (self.stack.stations.mac(guest.0), self.stack.has_room(out)) else {
            self.stats.dropped += 1;
            return;
        };
        let path =
            Path { source_mac: self.config.mac, destination_mac: mac, source: from, destination: guest };
        self.identification = self.identification.wrapping_add(1);
        frames(&path, self.identification, &self.buffer[..len.min(LONGEST)], &mut |frame| out.push(frame));
        self.stats.datagrams_in += 1;
    }

    // ---- ICMP

    fn icmp(
        &mut self,
        now: VmInstant,
        ethernet: &Ethernet<'_>,
        ip: &Ipv4<'_>,
        packet: &[u8],
        out: &mut Outbox,
    ) {
        if ip.destination == self.config.gateway {
            if let Some(answer) = wire::answer(self.config.mac, self.config.gateway, ethernet)
                && self.stack.has_room(out)
            {
                out.push(answer);
            }
            return;
        }
        let Some(identifier) = echo::request(ip.payload) else {
            self.stats.dropped += 1;
            return;
        };
        let to = (ip.destination, 0);
        let key = MapKey { what: What::Echo, guest: (ip.source, identifier) };
        let known = self.mappings.get(&key).is_some_and(|mapping| mapping.knows(to));
        match if known { self.route(to) } else { self.route_outside(to) } {
            Route::To(actual) => self.speak(now, key, to, actual, ip.payload),
            Route::Refused => self.unreachable(echo::PROHIBITED, packet, ip.source, out),
            Route::Names | Route::Nowhere => {}
        }
    }

    fn echo_in(&mut self, from: Ipv4Addr, guest: Endpoint, len: usize, out: &mut Outbox) {
        let message = &mut self.buffer[..len.min(1480)];
        let (Some(mac), true) = (self.stack.stations.mac(guest.0), echo::reply(message, guest.1)) else {
            self.stats.dropped += 1;
            return;
        };
        if self.stack.has_room(out) {
            self.stats.datagrams_in += 1;
            out.push(echo::frame((self.config.mac, from), (mac, guest.0), message));
        }
    }
}

impl<H: Host> Station for Nat<H> {
    fn mac(&self) -> MacAddress {
        self.config.mac
    }

    fn frame(&mut self, now: VmInstant, frame: &[u8], out: &mut Outbox) {
        self.frame_in(now, frame, out);
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        let sockets = !(self.flows.is_empty() && self.mappings.is_empty() && self.inward.is_empty());
        let look = sockets.then(|| self.looked + LOOK);
        [self.next_tick(), look].into_iter().flatten().min()
    }

    fn poll(&mut self, now: VmInstant, out: &mut Outbox) {
        self.looked = now;
        let sockets: Vec<SocketId> = self.sockets().map(|(id, ..)| id).collect();
        for id in sockets {
            self.ready(now, id, out);
        }
        self.tick(now, out);
    }
}
