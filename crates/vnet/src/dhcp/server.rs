//! The server's protocol: RFC 2131 section 4.3.

use super::config::{Config, ConfigError};
use super::leases::{Lease, LeaseError, LeaseState, Leases};
use super::message::{Kind, Reply, Request, code};
use crate::station::{Outbox, Station};
use crate::wire::{self, Arp, ETHERTYPE_ARP, ETHERTYPE_IPV4, Ethernet, Ipv4, Path, Udp, udp_frame};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use std::collections::VecDeque;
use std::net::Ipv4Addr;

const SECOND: u64 = 1_000_000_000;
/// How long an offer is kept for the client that got it.
const OFFER: u64 = 60 * SECOND;
/// How long the server waits for someone to answer for an address before it offers it.
const PROBE: u64 = 200_000_000;
/// Addresses that are asked for at the same time; clients beyond that ask again.
const PROBES: usize = 64;
/// How many addresses are tried for one request.
const TRIES: u32 = 4;
/// How long an address that someone uses without a lease is left alone.
const CONFLICT: u64 = 600 * SECOND;
const EVENTS: usize = 128;
const SERVER_PORT: u16 = 67;
const CLIENT_PORT: u16 = 68;

/// What happened to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum DhcpEvent {
    /// It has an address, anew or for longer.
    Bound(MacAddress, Ipv4Addr),
    /// It gave its address back.
    Released(MacAddress, Ipv4Addr),
    /// It found somebody on the address that it was given.
    Declined(MacAddress, Ipv4Addr),
    /// It asked for an address that it cannot have.
    Refused(MacAddress, Ipv4Addr),
    /// A station uses an address of the pool without having asked for it.
    Conflict(MacAddress, Ipv4Addr),
    /// It got nothing: every address of the pool is in use.
    Exhausted(MacAddress),
}

impl std::fmt::Display for DhcpEvent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Bound(mac, address) => write!(f, "{mac} has {address}"),
            Self::Released(mac, address) => write!(f, "{mac} gave {address} back"),
            Self::Declined(mac, address) => write!(f, "{mac} was given {address} and found it in use"),
            Self::Refused(mac, address) => write!(f, "{mac} asked for {address}, which it cannot have"),
            Self::Conflict(mac, address) => write!(f, "{mac} uses {address} without a lease"),
            Self::Exhausted(mac) => write!(
                f,
                "no address for {mac}: every address of the pool is in use (widen start/end or shorten lease)"
            ),
        }
    }
}

/// What a server did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Requests of all kinds that were understood.
    pub requests: u64,
    /// Frames to the server's port that were not.
    pub malformed: u64,
    /// Addresses offered.
    pub offers: u64,
    /// Requests granted, INFORM among them.
    pub acks: u64,
    /// Requests refused.
    pub naks: u64,
    /// Addresses found in use.
    pub conflicts: u64,
    /// Requests that got nothing because no address was free.
    pub exhausted: u64,
}

/// An address that is being asked for.
#[derive(Debug)]
struct Probe {
    address: Ipv4Addr,
    request: Request,
    from: MacAddress,
    until: VmInstant,
    tries: u32,
}

/// A DHCP server on a network: put it there by [`Switch::station`](crate::switch::Switch::station), in an `Arc<Mutex<..>>` if you want to
/// look into it later, or carry its frames yourself.
///
/// ```
/// use slotone_vnet::dhcp::{Config, Server};
/// use slotone_vnet::switch::Switch;
/// use std::sync::{Arc, Mutex};
///
/// let server = Arc::new(Mutex::new(Server::new(Config::for_network("internal"))?));
/// let switch = Switch::new();
/// switch.station(server.clone()).expect("the first station");
/// assert!(server.lock().unwrap().leases(Default::default()).is_empty());
/// # Ok::<(), slotone_vnet::dhcp::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Server {
    config: Config,
    leases: Leases,
    probes: Vec<Probe>,
    stats: Stats,
    events: VecDeque<DhcpEvent>,
    changed: bool,
}

impl Server {
    /// A server without leases.
    ///
    /// # Errors
    /// [`ConfigError`] if the settings break a rule.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        config.check()?;
        Ok(Self {
            config,
            leases: Leases::default(),
            probes: Vec::new(),
            stats: Stats::default(),
            events: VecDeque::new(),
            changed: false,
        })
    }

    /// Its settings.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every address that has or had a client, in order.
    pub fn leases(&self, now: VmInstant) -> Vec<Lease> {
        self.leases.list(now)
    }

    /// What it did so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// What happened since the last call; the oldest are forgotten when nobody asks.
    pub fn events(&mut self) -> Vec<DhcpEvent> {
        self.events.drain(..).collect()
    }

    /// The leases as text (see [`Server::import`]).
    pub fn export(&self, now: VmInstant) -> String {
        self.leases.export(now)
    }

    /// Takes over leases that [`Server::export`] gave, with the time that was left then. Addresses that the settings no longer hand out are left out.
    ///
    /// # Errors
    /// [`LeaseError`]; the server is as before then.
    pub fn import(&mut self, now: VmInstant, text: &str) -> Result<(), LeaseError> {
        self.leases = Leases::import(now, &self.config, text)?;
        self.probes.clear();
        Ok(())
    }

    /// The leases have changed since they were saved.
    pub fn changed(&self) -> bool {
        self.changed
    }

    pub(super) fn set_saved(&mut self) {
        self.changed = false;
    }

    fn event(&mut self, event: DhcpEvent) {
        if self.events.len() == EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    fn arp_request(&self, target: Ipv4Addr) -> Vec<u8> {
        // By the server's own address: unlike zeros (RFC 5227), every stack answers it.
        let arp = Arp {
            request: true,
            sender_mac: self.config.server_mac,
            sender: self.config.server,
            target_mac: MacAddress([0; 6]),
            target,
        };
        Ethernet::build(MacAddress::BROADCAST, self.config.server_mac, ETHERTYPE_ARP, &[&arp.bytes()])
    }

    /// Somebody spoke for an address: perhaps one that is about to be offered.
    fn heard(&mut self, now: VmInstant, arp: &Arp, out: &mut Outbox) {
        // A probe of somebody else for the same address counts as well (RFC 5227 section 2.1.1).
        let claimed = if arp.sender.is_unspecified() && arp.request { arp.target } else { arp.sender };
        let asks = |probe: &Probe| probe.address == claimed && probe.request.mac != arp.sender_mac;
        if arp.sender_mac == self.config.server_mac {
            return;
        }
        let Some(at) = self.probes.iter().position(asks) else { return };
        let probe = self.probes.swap_remove(at);
        self.conflict(now, probe.address, arp.sender_mac);
        if probe.tries < TRIES {
            self.offer(now, probe.request, probe.from, probe.tries + 1, out);
        }
    }

    fn conflict(&mut self, now: VmInstant, address: Ipv4Addr, by: MacAddress) {
        self.stats.conflicts += 1;
        self.leases.set(address, &[], by, LeaseState::Conflict, now + CONFLICT);
        self.event(DhcpEvent::Conflict(by, address));
    }

    fn request(&mut self, now: VmInstant, request: Request, from: MacAddress, out: &mut Outbox) {
        self.stats.requests += 1;
        match request.kind {
            Kind::Discover => self.offer(now, request, from, 1, out),
            Kind::Request => self.grant(now, &request, from, out),
            Kind::Decline => self.decline(now, &request),
            Kind::Release => self.release(now, &request),
            Kind::Inform => self.inform(&request, from, out),
            // What servers say.
            Kind::Offer | Kind::Ack | Kind::Nak => self.stats.malformed += 1,
        }
    }

    fn offer(&mut self, now: VmInstant, request: Request, from: MacAddress, tries: u32, out: &mut Outbox) {
        if self.probes.iter().any(|probe| probe.request.client == request.client) {
            // It asks again; the answer is on its way.
            return;
        }
        let bound = self.leases.of(now, &request.client);
        let Some(address) = self.leases.choose(now, &self.config, &request.client, request.requested) else {
            self.stats.exhausted += 1;
            self.event(DhcpEvent::Exhausted(request.mac));
            return;
        };
        if bound != Some((address, LeaseState::Bound)) {
            self.leases.set(address, &request.client, request.mac, LeaseState::Offered, now + OFFER);
            if self.config.probe {
                if self.probes.len() < PROBES {
                    out.push(self.arp_request(address));
                    self.probes.push(Probe { address, request, from, until: now + PROBE, tries });
                }
                return;
            }
        }
        self.send_offer(&request, address, from, out);
    }

    fn send_offer(&mut self, request: &Request, address: Ipv4Addr, from: MacAddress, out: &mut Outbox) {
        let mut reply = request.reply(Kind::Offer, self.config.server);
        reply.yiaddr(address);
        self.add_times(&mut reply);
        self.add_settings(&mut reply);
        self.stats.offers += 1;
        self.send(request, address, from, &reply.finish(), out);
    }

    fn grant(&mut self, now: VmInstant, request: &Request, from: MacAddress, out: &mut Outbox) {
        if request.server.is_some_and(|server| server != self.config.server) {
            // It chose another server's offer.
            self.probes.retain(|probe| probe.request.client != request.client);
            if let Some((address, LeaseState::Offered)) = self.leases.of(now, &request.client) {
                self.leases.release(now, address);
            }
            return;
        }
        let selecting = request.server.is_some();
        // RENEWING and REBINDING say it in ciaddr, the others in the option.
        let wish = if request.ciaddr.is_unspecified() { request.requested } else { Some(request.ciaddr) };
        let Some(address) = wish else {
            self.stats.malformed += 1;
            return;
        };
        let own = self.leases.of(now, &request.client);
        let fits = self.config.hands_out(address) && self.leases.is_free_for(now, address, &request.client);
        let granted = match own {
            Some((mine, LeaseState::Bound | LeaseState::Offered)) => mine == address && fits,
            // Its lease or offer is over, or from before this server: nobody else can have given it.
            _ => fits && (self.config.authoritative || own.is_some_and(|(mine, _)| mine == address)),
        };
        if granted {
            self.bind(now, request, address, from, out);
        } else if selecting || own.is_some() || self.config.authoritative || !self.config.contains(address) {
            self.refuse(request, address, from, out);
        }
    }

    fn bind(
        &mut self,
        now: VmInstant,
        request: &Request,
        address: Ipv4Addr,
        from: MacAddress,
        out: &mut Outbox,
    ) {
        let until = now + u64::from(self.config.lease) * SECOND;
        self.probes.retain(|probe| probe.address != address);
        self.leases.set(address, &request.client, request.mac, LeaseState::Bound, until);
        self.changed = true;
        self.stats.acks += 1;
        self.event(DhcpEvent::Bound(request.mac, address));
        let mut reply = request.reply(Kind::Ack, self.config.server);
        reply.yiaddr(address);
        self.add_times(&mut reply);
        self.add_settings(&mut reply);
        self.send(request, address, from, &reply.finish(), out);
    }

    fn refuse(&mut self, request: &Request, address: Ipv4Addr, from: MacAddress, out: &mut Outbox) {
        self.stats.naks += 1;
        self.event(DhcpEvent::Refused(request.mac, address));
        let mut reply = request.reply(Kind::Nak, self.config.server);
        reply.option(code::MESSAGE, b"address not available");
        let payload = reply.finish();
        // To every station: the client's address may belong to another network (RFC 2131 section 4.1).
        let (to, mac) = if request.giaddr.is_unspecified() {
            ((Ipv4Addr::BROADCAST, CLIENT_PORT), MacAddress::BROADCAST)
        } else {
            ((request.giaddr, SERVER_PORT), from)
        };
        out.push(self.datagram(to, mac, &payload));
    }

    fn decline(&mut self, now: VmInstant, request: &Request) {
        let own = self.leases.of(now, &request.client);
        let ours = request.server == Some(self.config.server);
        let Some(address) = request.requested.filter(|a| ours && own.is_some_and(|(mine, _)| mine == *a))
        else {
            return;
        };
        self.leases.set(address, &[], MacAddress([0; 6]), LeaseState::Conflict, now + CONFLICT);
        self.changed = true;
        self.stats.conflicts += 1;
        self.event(DhcpEvent::Declined(request.mac, address));
    }

    fn release(&mut self, now: VmInstant, request: &Request) {
        let own = self.leases.of(now, &request.client);
        let ours = request.server.is_none_or(|server| server == self.config.server);
        if ours && own == Some((request.ciaddr, LeaseState::Bound)) {
            self.leases.release(now, request.ciaddr);
            self.changed = true;
            self.event(DhcpEvent::Released(request.mac, request.ciaddr));
        }
    }

    /// The client has an address from elsewhere and asks for the rest: no times, no `yiaddr`.
    fn inform(&mut self, request: &Request, from: MacAddress, out: &mut Outbox) {
        if !self.config.contains(request.ciaddr) {
            return;
        }
        self.stats.acks += 1;
        let mut reply = request.reply(Kind::Ack, self.config.server);
        self.add_settings(&mut reply);
        self.send(request, request.ciaddr, from, &reply.finish(), out);
    }

    fn add_times(&self, reply: &mut Reply) {
        reply.seconds(code::LEASE, self.config.lease);
        reply.seconds(code::RENEWAL, self.config.renewal);
        reply.seconds(code::REBINDING, self.config.rebinding);
    }

    fn add_settings(&self, reply: &mut Reply) {
        let config = &self.config;
        reply.option(code::MASK, &config.mask().octets());
        reply.addresses(code::ROUTER, config.router.as_slice());
        reply.addresses(code::DNS, &config.dns);
        reply.addresses(code::WINS, &config.wins);
        if let Some(next) = config.next_server {
            reply.siaddr(next);
        }
        let named = config.boot_server.clone().or_else(|| config.next_server.map(|next| next.to_string()));
        if let Some(name) = &named {
            reply.sname(name);
            reply.option(code::BOOT_SERVER, name.as_bytes());
        }
        if let Some(file) = &config.boot_file {
            reply.file(file);
            reply.option(code::BOOT_FILE, file.as_bytes());
        }
        if let Some(domain) = &config.domain {
            reply.option(code::DOMAIN, domain.as_bytes());
        }
    }

    /// Sends an OFFER or ACK by the rules of RFC 2131 section 4.1.
    fn send(&self, request: &Request, address: Ipv4Addr, from: MacAddress, payload: &[u8], out: &mut Outbox) {
        let (to, mac) = if !request.giaddr.is_unspecified() {
            ((request.giaddr, SERVER_PORT), from)
        } else if !request.ciaddr.is_unspecified() {
            ((request.ciaddr, CLIENT_PORT), request.mac)
        } else if request.wants_broadcast() {
            ((Ipv4Addr::BROADCAST, CLIENT_PORT), MacAddress::BROADCAST)
        } else {
            ((address, CLIENT_PORT), request.mac)
        };
        out.push(self.datagram(to, mac, payload));
    }

    fn datagram(&self, destination: (Ipv4Addr, u16), destination_mac: MacAddress, payload: &[u8]) -> Vec<u8> {
        let path = Path {
            source_mac: self.config.server_mac,
            destination_mac,
            source: (self.config.server, SERVER_PORT),
            destination,
        };
        udp_frame(&path, payload)
    }
}

impl Station for Server {
    fn mac(&self) -> MacAddress {
        self.config.server_mac
    }

    fn frame(&mut self, now: VmInstant, frame: &[u8], out: &mut Outbox) {
        let Some(ethernet) = Ethernet::parse(frame) else { return };
        let own = self.config.server_mac;
        let here = ethernet.destination == own || ethernet.destination == MacAddress::BROADCAST;
        if !here || ethernet.source == own {
            return;
        }
        if let Some(answer) = wire::answer(own, self.config.server, &ethernet) {
            out.push(answer);
        }
        match ethernet.kind {
            ETHERTYPE_ARP => {
                if let Some(arp) = Arp::parse(ethernet.payload) {
                    self.heard(now, &arp, out);
                }
            }
            ETHERTYPE_IPV4 => {
                let Some(ip) = Ipv4::parse(ethernet.payload) else { return };
                let ours = [self.config.server, Ipv4Addr::BROADCAST, self.config.broadcast()]
                    .contains(&ip.destination);
                let Some(udp) = Udp::parse(&ip).filter(|udp| ours && udp.destination == SERVER_PORT) else {
                    return;
                };
                match Request::parse(udp.payload) {
                    Some(request) => self.request(now, request, ethernet.source, out),
                    None => self.stats.malformed += 1,
                }
            }
            _ => {}
        }
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        self.probes.iter().map(|probe| probe.until).min()
    }

    fn poll(&mut self, now: VmInstant, out: &mut Outbox) {
        let mut i = 0;
        while i < self.probes.len() {
            if self.probes[i].until > now {
                i += 1;
                continue;
            }
            // Nobody answered.
            let probe = self.probes.remove(i);
            self.send_offer(&probe.request, probe.address, probe.from, out);
        }
    }
}
