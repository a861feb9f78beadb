//! smoltcp below the connections: IP packets, and the Ethernet around them by hand.

use super::config::NatConfig;
use crate::guard;
use crate::phy::{Wire, micros};
use crate::station::Outbox;
use crate::wire::{ETHERNET_HEADER, ETHERTYPE_IPV4, ip_at};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use smoltcp::iface::{Config, Context, Interface, PollResult, SocketSet};
use smoltcp::phy::Medium;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use std::net::Ipv4Addr;

/// Packets of one connection in one go.
const ROUNDS: usize = 64;

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
        let mut wire =
            Wire { medium: Medium::Ip, packet: None, out: &mut nothing, limit: 0, finish: &mut |_| false };
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
        let mut finish = |frame: &mut [u8]| {
            if let Some(told) = guard::told(&frame[ETHERNET_HEADER..]) {
                *edge = Some(told);
            }
            // Who never said its Ethernet address, or too long ago, is not reached; the connection tries again.
            let station = ip_at(frame, ETHERNET_HEADER + 16).and_then(|to| stations.mac(to));
            let Some(to) = station else { return false };
            frame[..6].copy_from_slice(&to.0);
            frame[6..12].copy_from_slice(&mac.0);
            frame[12..14].copy_from_slice(&ETHERTYPE_IPV4.to_be_bytes());
            true
        };
        let mut wire = Wire { medium: Medium::Ip, packet, out, limit: *frames, finish: &mut finish };
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
