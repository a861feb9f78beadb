//! A guest: smoltcp's stack on a port, in virtual time.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use slotone_bus::VmInstant;
use slotone_net::{MacAddress, NetPort};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, tcp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, Ipv4Cidr};
use std::net::Ipv4Addr;

pub struct Guest<P> {
    pub wire: Wire<P>,
    pub interface: Interface,
    pub sockets: SocketSet<'static>,
    pub dhcp: Option<SocketHandle>,
    pub lease: Option<Ipv4Cidr>,
}

pub struct Wire<P> {
    pub port: P,
    now: VmInstant,
    /// Frames that the port did not take.
    pub full: u64,
}

pub struct In(Vec<u8>);
pub struct Out<'a, P>(&'a mut P, VmInstant, &'a mut u64);

impl RxToken for In {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl<P: NetPort> TxToken for Out<'_, P> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        if self.0.send(self.1, &frame) == slotone_net::Sent::Full {
            *self.2 += 1;
        }
        result
    }
}

impl<P: NetPort> Device for Wire<P> {
    type RxToken<'a>
        = In
    where
        P: 'a;
    type TxToken<'a>
        = Out<'a, P>
    where
        P: 'a;

    fn receive(&mut self, _: Instant) -> Option<(In, Out<'_, P>)> {
        let mut frame = None;
        self.port.receive(self.now, &mut |got| frame = Some(got.to_vec()));
        Some((In(frame?), Out(&mut self.port, self.now, &mut self.full)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Out<'_, P>> {
        Some(Out(&mut self.port, self.now, &mut self.full))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

impl<P: NetPort> Guest<P> {
    pub fn new(port: P, mac: MacAddress, address: Option<(Ipv4Addr, u8)>) -> Self {
        let mut wire = Wire { port, now: VmInstant::ZERO, full: 0 };
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(mac.0)));
        config.random_seed = mac.0.iter().fold(1, |seed, byte| seed * 257 + u64::from(*byte));
        let mut interface = Interface::new(config, &mut wire, Instant::from_micros(0));
        let mut sockets = SocketSet::new(Vec::new());
        let mut dhcp = None;
        match address {
            Some((address, bits)) => {
                interface.update_ip_addrs(|list| list.push(IpCidr::new(address.into(), bits)).unwrap())
            }
            None => dhcp = Some(sockets.add(dhcpv4::Socket::new())),
        }
        Self { wire, interface, sockets, dhcp, lease: None }
    }

    /// Does what there is to do at `now`.
    pub fn serve(&mut self, now: VmInstant) {
        self.wire.now = now;
        let at = Instant::from_micros((now.as_nanos() / 1000) as i64);
        self.interface.poll(at, &mut self.wire, &mut self.sockets);
        let Some(handle) = self.dhcp else { return };
        match self.sockets.get_mut::<dhcpv4::Socket>(handle).poll() {
            Some(dhcpv4::Event::Configured(config)) => {
                let address = config.address;
                self.interface.update_ip_addrs(|list| {
                    list.clear();
                    list.push(IpCidr::Ipv4(address)).unwrap();
                });
                self.lease = Some(address);
            }
            Some(dhcpv4::Event::Deconfigured) => {
                self.interface.update_ip_addrs(|list| list.clear());
                self.lease = None;
            }
            None => {}
        }
    }

    /// When it or its port wants to be served.
    pub fn next(&mut self, now: VmInstant) -> Option<VmInstant> {
        let at = Instant::from_micros((now.as_nanos() / 1000) as i64);
        let stack = self.interface.poll_at(at, &self.sockets);
        let stack = stack.map(|at| {
            VmInstant::from_nanos((at.total_micros().max(0) as u64 * 1000).max(now.as_nanos() + 1000))
        });
        [stack, self.wire.port.next_deadline()].into_iter().flatten().min()
    }

    pub fn connect(&mut self, to: (Ipv4Addr, u16), local: u16) -> SocketHandle {
        let mut socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; 256 << 10]),
            tcp::SocketBuffer::new(vec![0; 64 << 10]),
        );
        socket.connect(self.interface.context(), to, local).unwrap();
        self.sockets.add(socket)
    }
}

/// Serves the guests in turn until `until` says so or `limit` has come; answers when that was.
pub fn run<P: NetPort>(
    guests: &mut [Guest<P>],
    mut now: VmInstant,
    limit: VmInstant,
    mut until: impl FnMut(&mut [Guest<P>]) -> bool,
) -> VmInstant {
    loop {
        for guest in guests.iter_mut() {
            guest.serve(now);
        }
        if until(guests) || now >= limit {
            return now;
        }
        let next = guests.iter_mut().filter_map(|guest| guest.next(now)).min();
        now = next.unwrap_or(limit).clamp(now + 1000, limit);
    }
}

pub fn seconds(n: u64) -> VmInstant {
    VmInstant::from_nanos(n * 1_000_000_000)
}

pub fn mac(n: u8) -> MacAddress {
    MacAddress([0, 3, 0xff, 0, 0, n])
}

/// Serves a guest in the host's time until `until` says so; answers whether it did within `limit`.
pub fn run_real<P: NetPort>(
    guest: &mut Guest<P>,
    begun: std::time::Instant,
    limit: std::time::Duration,
    mut until: impl FnMut(&mut Guest<P>) -> bool,
) -> bool {
    let me = std::thread::current();
    guest.wire.port.set_waker(std::sync::Arc::new(move || me.unpark()));
    let end = std::time::Instant::now() + limit;
    loop {
        let now = VmInstant::from_nanos(begun.elapsed().as_nanos() as u64);
        guest.serve(now);
        if until(guest) {
            return true;
        }
        if std::time::Instant::now() >= end {
            return false;
        }
        let wait = guest.next(now).map_or(5_000_000, |at| at.since(now)).min(5_000_000);
        std::thread::park_timeout(std::time::Duration::from_nanos(wait));
    }
}
