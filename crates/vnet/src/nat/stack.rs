//! smoltcp below the connections: IP packets, and the Ethernet around them by hand.

use super::config::NatConfig;
use crate::guard;
use crate::station::Outbox;
use crate::wire::{ETHERNET_HEADER, ETHERTYPE_IPV4, SHORTEST_FRAME, ip_at};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use smoltcp::iface::{Config, Context, Interface, PollResult, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::net::Ipv4Addr;

/// The longest packet that is sent: Ethernet's.
const MTU: usize = 1500;
/// Packets of one connection in one go.
const ROUNDS: usize = 64;

/// Virtual time as smoltcp has it, in whole microseconds.
fn micros(now: VmInstant) -> Instant {
    Instant::from_micros((now.as_nanos() / 1000) as i64)
}

/// Who has which address: an entry for every guest that was heard, the latest last.
#[derive(Debug, Default)]
pub(super) struct Stations {
    list: Vec<(Ipv4Addr, MacAddress)>,
    limit: usize,
}

impl Stations {
    pub(super) fn heard(&mut self, address: Ipv4Addr, mac: MacAddress) {
        // The usual case: the one guest that there is.
        if self.list.last() == Some(&(address, mac)) {
            return;
        }
        self.list.retain(|(known, _)| *known != address);
        if self.list.len() >= self.limit {
            self.list.remove(0);
        }
        self.list.push((address, mac));
    }

    pub(super) fn mac(&self, address: Ipv4Addr) -> Option<MacAddress> {
        self.list.iter().rev().find(|(known, _)| *known == address).map(|(_, mac)| *mac)
    }

    pub(super) fn latest(&self) -> Option<Ipv4Addr> {
        self.list.last().map(|(address, _)| *address)
    }
}

pub(super) struct Stack {
    interface: Interface,
    mac: MacAddress,
    frames: usize,
    pub(super) stations: Stations,
    /// The end of the window that the last packet told.
    edge: Option<u32>,
}

impl Stack {
    pub(super) fn new(config: &NatConfig) -> Self {
        let mut settings = Config::new(HardwareAddress::Ip);
        settings.random_seed = config.seed;
        let mut nothing = Outbox::new();
        let mut wire = Wire {
            packet: None,
            out: &mut nothing,
            stations: &Stations::default(),
            mac: config.mac,
            frames: 0,
            edge: &mut None,
        };
        let mut interface = Interface::new(settings, &mut wire, Instant::from_micros(0));
        interface.update_ip_addrs(|list| {
            // The list has room for two.
            let _ = list.push(IpCidr::new(config.gateway.into(), config.prefix));
        });
        // Packets for every address are its own.
        interface.set_any_ip(true);
        let _ = interface.routes_mut().add_default_ipv4_route(config.gateway);
        let stations = Stations { list: Vec::new(), limit: config.limits.stations.max(1) };
        Self { interface, mac: config.mac, frames: config.limits.frames, stations, edge: None }
    }

    pub(super) fn context(&mut self) -> &mut Context {
        self.interface.context()
    }

    /// Whether another frame may be made in this call.
    pub(super) fn has_room(&self, out: &Outbox) -> bool {
        out.len() < self.frames
    }

    /// Where the window ends that the connection of the last [`Stack::poll`] has told in it, if it has.
    pub(super) fn edge(&mut self) -> Option<u32> {
        self.edge.take()
    }

    /// Gives a connection the packet that came for it, and sends what it has to send.
    pub(super) fn poll(
        &mut self,
        now: VmInstant,
        packet: Option<&[u8]>,
        sockets: &mut SocketSet<'static>,
        out: &mut Outbox,
    ) {
        let Self { interface, mac, frames, stations, edge } = self;
        *edge = None;
        let at = micros(now);
        let mut wire = Wire { packet, out, stations, mac: *mac, frames: *frames, edge };
        if packet.is_some() {
            interface.poll_ingress_single(at, &mut wire, sockets);
        }
        for _ in 0..ROUNDS {
            // A call sends one packet of a connection.
            if interface.poll_egress(at, &mut wire, sockets) == PollResult::None {
                break;
            }
        }
    }

    /// When a connection wants to be served though nothing comes: not before a millisecond has passed.
    pub(super) fn deadline(&mut self, now: VmInstant, sockets: &SocketSet<'static>) -> Option<VmInstant> {
        let next = self.interface.poll_at(micros(now), sockets)?;
        let at = VmInstant::from_nanos((next.total_micros().max(0) as u64).saturating_mul(1000));
        Some(at.max(now + 1_000_000))
    }
}

impl std::fmt::Debug for Stack {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stack").field("stations", &self.stations).finish_non_exhaustive()
    }
}

/// The stack's view of the network: the packet that just came, and the way out.
struct Wire<'a> {
    packet: Option<&'a [u8]>,
    out: &'a mut Outbox,
    stations: &'a Stations,
    mac: MacAddress,
    frames: usize,
    edge: &'a mut Option<u32>,
}

struct In<'a>(&'a [u8]);
struct Out<'a> {
    out: &'a mut Outbox,
    stations: &'a Stations,
    mac: MacAddress,
    edge: &'a mut Option<u32>,
}

impl RxToken for In<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; ETHERNET_HEADER + len];
        let result = f(&mut frame[ETHERNET_HEADER..]);
        // smoltcp believes that it was sent, whatever becomes of it.
        if let Some(edge) = guard::told(&frame[ETHERNET_HEADER..]) {
            *self.edge = Some(edge);
        }
        // Who never said its Ethernet address, or too long ago, is not reached; the connection tries again.
        let station = ip_at(&frame, ETHERNET_HEADER + 16).and_then(|to| self.stations.mac(to));
        if let Some(to) = station {
            frame[..6].copy_from_slice(&to.0);
            frame[6..12].copy_from_slice(&self.mac.0);
            frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
            if frame.len() < SHORTEST_FRAME {
                frame.resize(SHORTEST_FRAME, 0);
            }
            self.out.push(frame);
        }
        result
    }
}

impl Device for Wire<'_> {
    type RxToken<'a>
        = In<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Out<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(In<'_>, Out<'_>)> {
        // An answer to a packet may be one frame more than there is room for.
        let packet = self.packet.take()?;
        Some((In(packet), Out { out: self.out, stations: self.stations, mac: self.mac, edge: self.edge }))
    }

    fn transmit(&mut self, _: Instant) -> Option<Out<'_>> {
        let room = self.out.len() < self.frames;
        room.then_some(Out { out: self.out, stations: self.stations, mac: self.mac, edge: self.edge })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = MTU;
        capabilities
    }
}
