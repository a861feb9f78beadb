//! Address translation in virtual time, with a world outside that is made up: smoltcp is the guest, [`World`] what the host reaches.
#![cfg(all(feature = "nat", feature = "switch"))]

mod common;
mod nat_world;

use common::{Guest, mac, run, seconds};
use nat_world::{Answer, FakeHost, World};
use slotone_bus::VmInstant;
use slotone_vnet::fault::{Faults, Faulty};
use slotone_vnet::nat::{Limits, Nat, NatConfig, NatEvent};
use slotone_vnet::spec::Forward;
use slotone_vnet::station::{Outbox, Station};
use slotone_vnet::switch::{PortOptions, Switch, SwitchPort};
use smoltcp::iface::SocketHandle;
use smoltcp::socket::{tcp, udp};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 131, 254);
const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 131, 20);
const OUTSIDE: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 7);

type Gateway = Arc<Mutex<Nat<FakeHost>>>;

fn config() -> NatConfig {
    NatConfig::new(Ipv4Addr::new(192, 168, 131, 0), 24).unwrap()
}

/// A guest with an address of its own and a route to the gateway, and what is behind it.
struct Lab {
    guests: [Guest<SwitchPort>; 1],
    nat: Gateway,
    world: World,
    now: VmInstant,
    _switch: Switch,
}

impl Lab {
    fn new(change: impl FnOnce(&mut NatConfig)) -> Self {
        let mut config = config();
        change(&mut config);
        let world = World::default();
        let nat = Arc::new(Mutex::new(Nat::new(config, FakeHost(world.clone())).unwrap()));
        let switch = Switch::new();
        switch.station(nat.clone()).unwrap();
        let port = switch.port(PortOptions { mac: Some(mac(1)), ..PortOptions::default() }).unwrap();
        let mut guest = Guest::new(port, mac(1), Some((GUEST, 24)));
        guest.interface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
        Self { guests: [guest], nat, world, now: VmInstant::ZERO, _switch: switch }
    }

    fn run(&mut self, most: u64, mut until: impl FnMut(&mut Guest<SwitchPort>, &World) -> bool) -> bool {
        let limit = self.now + seconds(most).as_nanos();
        let (world, mut done) = (self.world.clone(), false);
        self.now = run(&mut self.guests, self.now, limit, |guests| {
            done = until(&mut guests[0], &world);
            done
        });
        done
    }

    fn connect(&mut self, to: (Ipv4Addr, u16), local: u16) -> SocketHandle {
        self.guests[0].connect(to, local)
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.guests[0].sockets.get_mut(handle)
    }

    fn bind(&mut self, port: u16) -> SocketHandle {
        let buffer = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 64], vec![0; 100_000]);
        let mut socket = udp::Socket::new(buffer(), buffer());
        socket.bind(port).unwrap();
        self.guests[0].sockets.add(socket)
    }

    fn udp(&mut self, handle: SocketHandle) -> &mut udp::Socket<'static> {
        self.guests[0].sockets.get_mut(handle)
    }

    /// Sends a datagram and waits a little.
    fn say(&mut self, handle: SocketHandle, to: (Ipv4Addr, u16), data: &[u8]) {
        self.udp(handle).send_slice(data, to).unwrap();
        self.run(1, |_, _| false);
    }
}

fn state(guest: &mut Guest<SwitchPort>, handle: SocketHandle) -> tcp::State {
    guest.sockets.get::<tcp::Socket>(handle).state()
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251) as u8).collect()
}

/// Takes what a connection of the guest has.
fn take(guest: &mut Guest<SwitchPort>, handle: SocketHandle, into: &mut Vec<u8>) {
    let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
    while socket.can_recv() {
        socket
            .recv(|data| {
                into.extend_from_slice(data);
                (data.len(), ())
            })
            .unwrap();
    }
}

#[test]
fn a_guest_gets_a_lease_with_the_gateway_as_router_and_resolver() {
    let nat = Nat::new(config(), FakeHost::default()).unwrap();
    let switch = Switch::new();
    switch.station(nat).unwrap();
    let port = switch.port(PortOptions { mac: Some(mac(1)), ..PortOptions::default() }).unwrap();
    let mut guests = [Guest::new(port, mac(1), None)];
    run(&mut guests, VmInstant::ZERO, seconds(20), |guests| guests[0].lease.is_some());
    assert_eq!(guests[0].lease.unwrap().address(), Ipv4Addr::new(192, 168, 131, 16));
    let dhcp = config().dhcp.unwrap();
    assert_eq!((dhcp.router, dhcp.dns, dhcp.server), (Some(GATEWAY), vec![GATEWAY], GATEWAY));
}

#[test]
fn bytes_go_both_ways_and_each_side_ends_for_itself() {
    let mut lab = Lab::new(|_| {});
    let handle = lab.connect((OUTSIDE, 80), 40_000);
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Established));
    assert_eq!(lab.world.connects(), [SocketAddr::from((OUTSIDE, 80))]);
    let pipe = lab.world.stream(0);
    lab.tcp(handle).send_slice(b"request").unwrap();
    assert!(lab.run(5, |_, _| pipe.lock().unwrap().from_guest == b"request"));
    // The world says much and ends.
    let long = pattern(1_000_000);
    {
        let mut pipe = pipe.lock().unwrap();
        pipe.to_guest.extend(&long);
        pipe.ended = true;
    }
    let mut got = Vec::new();
    assert!(lab.run(60, |guest, _| {
        take(guest, handle, &mut got);
        state(guest, handle) == tcp::State::CloseWait
    }));
    assert!(got == long);
    // The guest goes on for a while.
    assert!(!pipe.lock().unwrap().guest_ended);
    lab.tcp(handle).send_slice(b" and more").unwrap();
    assert!(lab.run(5, |_, _| pipe.lock().unwrap().from_guest == b"request and more"));
    lab.tcp(handle).close();
    assert!(lab.run(5, |_, _| pipe.lock().unwrap().guest_ended));
    assert!(lab.run(30, |guest, _| state(guest, handle) == tcp::State::Closed));
    lab.run(30, |_, _| false);
    let nat = lab.nat.lock().unwrap();
    assert_eq!(nat.in_use(), (0, 0, 0));
    let pipe = pipe.lock().unwrap();
    assert!(pipe.dropped && !pipe.reset);
    let stats = nat.stats();
    assert_eq!((stats.connections, stats.failed, stats.to_host, stats.to_guest), (1, 0, 16, 1_000_000));
}

#[test]
fn a_long_upload_arrives_and_its_end_comes_behind_it() {
    let mut lab = Lab::new(|_| {});
    let handle = lab.connect((OUTSIDE, 80), 40_000);
    let long = pattern(700_000);
    let mut sent = 0;
    let mut closed = false;
    assert!(lab.run(60, |guest, world| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        if socket.can_send() && sent < long.len() {
            sent += socket.send_slice(&long[sent..]).unwrap();
        }
        if sent == long.len() && !closed {
            closed = true;
            socket.close();
        }
        world.streams() == 1 && {
            let pipe = world.stream(0);
            let pipe = pipe.lock().unwrap();
            assert!(!pipe.guest_ended || pipe.from_guest.len() == long.len());
            pipe.guest_ended
        }
    }));
    assert!(lab.world.stream(0).lock().unwrap().from_guest == long);
}

#[test]
fn what_is_refused_outside_is_refused_at_once_and_what_hangs_hangs() {
    let mut lab = Lab::new(|_| {});
    lab.world.answer(Answer::Refuses);
    let handle = lab.connect((OUTSIDE, 81), 40_000);
    let begun = lab.now;
    assert!(lab.run(5, |guest, world| world.streams() == 1 && state(guest, handle) == tcp::State::Closed));
    assert!(lab.now.since(begun) < 200_000_000, "{:?}", lab.now);
    lab.world.answer(Answer::Errs);
    let handle = lab.connect((OUTSIDE, 82), 40_001);
    assert!(lab.run(1, |guest, _| state(guest, handle) == tcp::State::Closed));
    lab.world.answer(Answer::Hangs);
    let handle = lab.connect((OUTSIDE, 83), 40_002);
    assert!(!lab.run(50, |guest, _| state(guest, handle) != tcp::State::SynSent));
    // One connection for all the SYNs that were sent meanwhile.
    assert_eq!(lab.world.connects().len(), 3);
    assert!(lab.run(20, |guest, _| state(guest, handle) == tcp::State::Closed));
    assert_eq!(lab.nat.lock().unwrap().in_use().0, 0);
    assert_eq!(lab.nat.lock().unwrap().stats().failed, 3);
}

#[test]
fn a_broken_connection_is_broken_on_the_other_side() {
    let mut lab = Lab::new(|_| {});
    let handle = lab.connect((OUTSIDE, 80), 40_000);
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Established));
    lab.world.stream(0).lock().unwrap().broken = true;
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Closed));
    let handle = lab.connect((OUTSIDE, 80), 40_001);
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Established));
    lab.tcp(handle).abort();
    assert!(lab.run(5, |_, world| world.stream(1).lock().unwrap().dropped));
    assert!(lab.world.stream(1).lock().unwrap().reset);
    assert_eq!(lab.nat.lock().unwrap().in_use().0, 0);
}

#[test]
fn who_does_not_read_is_waited_for_and_nothing_piles_up() {
    let mut lab = Lab::new(|_| {});
    lab.world.takes(Some(1000));
    let handle = lab.connect((OUTSIDE, 80), 40_000);
    let long = pattern(400_000);
    let mut sent = 0;
    let mut push = |guest: &mut Guest<SwitchPort>| {
        let socket = guest.sockets.get_mut::<tcp::Socket>(handle);
        if socket.can_send() && sent < long.len() {
            sent += socket.send_slice(&long[sent..]).unwrap();
        }
        sent
    };
    lab.run(20, |guest, _| {
        push(guest);
        false
    });
    let limits = Limits::default();
    // The host took a thousand bytes; the rest is in our buffer and in the guest's own of 64 KiB.
    let stuck = push(&mut lab.guests[0]);
    assert!(stuck <= 1000 + limits.to_host + (64 << 10), "{stuck}");
    assert_eq!(lab.world.stream(0).lock().unwrap().from_guest.len(), 1000);
    lab.world.takes(None);
    assert!(lab.run(60, |guest, world| {
        push(guest);
        world.stream(0).lock().unwrap().from_guest.len() == long.len()
    }));
    assert!(lab.world.stream(0).lock().unwrap().from_guest == long);
    // The other way: the guest does not read.
    let pipe = lab.world.stream(0);
    pipe.lock().unwrap().to_guest.extend(pattern(2_000_000));
    lab.run(20, |_, _| false);
    let left = pipe.lock().unwrap().to_guest.len();
    assert!(left >= 2_000_000 - limits.to_guest - (256 << 10), "{left}");
    let mut got = Vec::new();
    assert!(lab.run(60, |guest, _| {
        take(guest, handle, &mut got);
        got.len() == 2_000_000
    }));
    assert!(got == pattern(2_000_000));
}

/// Destinations that no guest may reach, whatever it sends.
const NEVER: &[[u8; 4]] = &[
    [0, 0, 0, 0],
    [0, 1, 2, 3],
    [127, 0, 0, 1],
    [127, 255, 255, 254],
    [169, 254, 169, 254],
    [224, 0, 0, 1],
    [239, 255, 255, 250],
    [240, 0, 0, 1],
    [255, 255, 255, 255],
    [192, 168, 131, 255],
    [192, 168, 131, 0],
    [192, 168, 131, 77],
];

#[test]
fn the_host_and_what_is_nobodys_cannot_be_reached() {
    for allow_host in [false, true] {
        let world = World::default();
        let own = Ipv4Addr::new(203, 0, 113, 9);
        world.own(own);
        let mut nat = Nat::new(NatConfig { allow_host, ..config() }, FakeHost(world.clone())).unwrap();
        let mut out = Outbox::new();
        let mut to = |address: [u8; 4]| {
            for frame in nat_world::probes(&nat, GUEST, mac(1), address.into()) {
                nat.frame(VmInstant::ZERO, &frame, &mut out);
            }
        };
        NEVER.iter().for_each(|address| to(*address));
        assert!(world.reached().is_empty(), "{:?}", world.reached());
        to(own.octets());
        to(GATEWAY.octets());
        let reached = world.reached();
        if allow_host {
            let loopback = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
            assert!(reached.contains(&loopback) && reached.contains(&(own, 80).into()), "{reached:?}");
            assert!(reached.iter().all(|to| to.ip() == own || *to == loopback), "{reached:?}");
        } else {
            assert!(reached.is_empty(), "{reached:?}");
            let said = nat.events();
            assert!(matches!(said[..], [NatEvent::Refused(_)]), "{said:?}");
            assert!(nat.stats().refused > 10);
        }
    }
}

#[test]
fn refused_connections_and_datagrams_are_told_so() {
    let mut lab = Lab::new(|_| {});
    for (i, to) in
        [GATEWAY, Ipv4Addr::new(127, 0, 0, 1), Ipv4Addr::new(169, 254, 169, 254)].into_iter().enumerate()
    {
        let handle = lab.connect((to, 22), 41_000 + i as u16);
        assert!(lab.run(1, |guest, _| state(guest, handle) == tcp::State::Closed), "{to}");
    }
    assert!(lab.world.connects().is_empty());
    // ICMP comes for the datagram, from the gateway, with its first bytes.
    let mut nat = Nat::new(config(), FakeHost::default()).unwrap();
    let mut out = Outbox::new();
    let frame = nat_world::udp(&nat, (GUEST, 5000), mac(1), (Ipv4Addr::new(169, 254, 1, 1), 80), b"data");
    nat.frame(VmInstant::ZERO, &frame, &mut out);
    let answer = out.pop().unwrap();
    assert_eq!((&answer[..6], answer[23], &answer[34..36]), (&mac(1).0[..], 1, &[3, 13][..]));
    assert_eq!(answer[42..70], frame[14..42]);
}

#[test]
fn the_gateway_is_the_host_only_where_that_is_allowed() {
    let mut lab = Lab::new(|config| config.allow_host = true);
    let handle = lab.connect((GATEWAY, 8080), 40_000);
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Established));
    assert_eq!(lab.world.connects(), [SocketAddr::from((Ipv4Addr::LOCALHOST, 8080))]);
}

#[test]
fn datagrams_are_heard_from_whom_the_guest_spoke_to_only() {
    let mut lab = Lab::new(|_| {});
    let handle = lab.bind(5000);
    lab.say(handle, (OUTSIDE, 123), b"time?");
    let socket = lab.world.datagrams(0);
    assert_eq!(socket.lock().unwrap().sent, [(b"time?".to_vec(), SocketAddr::from((OUTSIDE, 123)))]);
    for (data, from) in [
        (&b"lie"[..], SocketAddr::from((OUTSIDE, 124))),
        (b"lie", SocketAddr::from((Ipv4Addr::new(198, 51, 100, 8), 123))),
        (b"noon", SocketAddr::from((OUTSIDE, 123))),
    ] {
        socket.lock().unwrap().inbox.push_back((data.to_vec(), from));
    }
    lab.run(1, |_, _| false);
    let (data, meta) = lab.udp(handle).recv().map(|(data, meta)| (data.to_vec(), meta.endpoint)).unwrap();
    assert_eq!((&data[..], meta.port), (&b"noon"[..], 123));
    assert!(!lab.udp(handle).can_recv());
    // Another peer by the same socket: the mapping does not depend on who is spoken to.
    lab.say(handle, (Ipv4Addr::new(198, 51, 100, 8), 123), b"and you?");
    assert_eq!(lab.world.sockets(), 1);
    assert_eq!(lab.nat.lock().unwrap().in_use(), (0, 1, 0));
    lab.run(130, |_, _| false);
    assert_eq!(lab.nat.lock().unwrap().in_use(), (0, 0, 0));
    assert!(socket.lock().unwrap().dropped);
}

#[test]
fn a_long_datagram_comes_in_fragments_that_are_right() {
    let world = World::default();
    let mut nat = Nat::new(config(), FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    let frame = nat_world::udp(&nat, (GUEST, 5000), mac(1), (OUTSIDE, 7), b"x");
    nat.frame(VmInstant::ZERO, &frame, &mut out);
    let long = pattern(5000);
    world.datagrams(0).lock().unwrap().inbox.push_back((long.clone(), (OUTSIDE, 7).into()));
    nat.poll(seconds(1), &mut out);
    let mut whole = vec![0; 5008];
    let mut count = 0;
    while let Some(frame) = out.pop() {
        count += 1;
        assert!(frame.len() <= 1514 && nat_world::sum(&frame[14..34]) == 0xffff);
        let total = usize::from(u16::from_be_bytes([frame[16], frame[17]])) - 20;
        let place = u16::from_be_bytes([frame[20], frame[21]]);
        let at = usize::from(place & 0x1fff) * 8;
        assert_eq!(place & 0x2000 != 0, at + total < whole.len());
        whole[at..at + total].copy_from_slice(&frame[34..34 + total]);
    }
    assert_eq!((count, &whole[8..]), (4, &long[..]));
    let pseudo = [&OUTSIDE.octets()[..], &GUEST.octets(), &[0, 17], &5008u16.to_be_bytes()].concat();
    assert_eq!(nat_world::sum(&[pseudo, whole].concat()), 0xffff);
}

#[test]
fn names_are_asked_of_the_hosts_resolver_and_of_the_next_when_it_is_silent() {
    let mut lab = Lab::new(|config| {
        config.resolvers =
            Some(vec!["127.0.0.53:53".parse().unwrap(), "[2001:db8::1]:5353".parse().unwrap()]);
    });
    let handle = lab.bind(5000);
    lab.say(handle, (GATEWAY, 53), b"who?");
    let socket = lab.world.datagrams(0);
    let first: SocketAddr = "127.0.0.53:53".parse().unwrap();
    assert_eq!(socket.lock().unwrap().sent, [(b"who?".to_vec(), first)]);
    // Nobody else can answer.
    socket.lock().unwrap().inbox.push_back((b"liar".to_vec(), (OUTSIDE, 53).into()));
    socket.lock().unwrap().inbox.push_back((b"me".to_vec(), first));
    lab.run(1, |_, _| false);
    let (data, meta) = lab.udp(handle).recv().unwrap();
    assert_eq!((data, meta.endpoint.port), (&b"me"[..], 53));
    assert_eq!(meta.endpoint.addr, GATEWAY.into());
    // The next time it says nothing.
    lab.say(handle, (GATEWAY, 53), b"who now?");
    lab.run(3, |_, _| false);
    let handle = lab.bind(5001);
    lab.say(handle, (GATEWAY, 53), b"who now?");
    let second: SocketAddr = "[2001:db8::1]:5353".parse().unwrap();
    assert_eq!(lab.world.datagrams(1).lock().unwrap().sent, [(b"who now?".to_vec(), second)]);
    // By TCP too.
    let handle = lab.connect((GATEWAY, 53), 40_000);
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Established));
    assert_eq!(lab.world.connects(), [second]);
}

#[test]
fn without_a_resolver_a_name_request_is_refused() {
    let world = World::default();
    let mut nat = Nat::new(config(), FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    nat.frame(VmInstant::ZERO, &nat_world::udp(&nat, (GUEST, 5000), mac(1), (GATEWAY, 53), b"?"), &mut out);
    assert_eq!(out.pop().unwrap()[34..36], [3, 3]);
    assert_eq!(nat.events(), [NatEvent::NoResolver]);
    assert!(world.reached().is_empty());
}

#[test]
fn pings_are_answered_for_the_gateway_and_carried_for_others() {
    let world = World::default();
    let mut nat = Nat::new(config(), FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    let ping = nat_world::ping(&nat, GUEST, mac(1), GATEWAY, 77, b"abcd");
    nat.frame(VmInstant::ZERO, &ping, &mut out);
    assert_eq!(out.pop().unwrap()[34], 0);
    // The host says no: once to the owner, nothing to the guest.
    world.no_echo(true);
    let ping = nat_world::ping(&nat, GUEST, mac(1), OUTSIDE, 77, b"abcd");
    for _ in 0..3 {
        nat.frame(VmInstant::ZERO, &ping, &mut out);
    }
    assert!(out.is_empty());
    assert_eq!(nat.events(), [NatEvent::NoEcho]);
    world.no_echo(false);
    nat.frame(VmInstant::ZERO, &ping, &mut out);
    let socket = world.datagrams(0);
    let (mut message, to) = socket.lock().unwrap().sent[0].clone();
    assert_eq!((message[0], to), (8, (OUTSIDE, 0).into()));
    // Another identifier, as the kernel gives one; and something that is no reply.
    message[0] = 0;
    message[4..6].copy_from_slice(&[9, 9]);
    socket.lock().unwrap().inbox.extend([
        (vec![3; 30], to),
        (message.clone(), to),
        (message, (GUEST, 0).into()),
    ]);
    nat.poll(seconds(1), &mut out);
    let answer = out.pop().unwrap();
    assert_eq!((&answer[26..30], &answer[38..40]), (&OUTSIDE.octets()[..], &77u16.to_be_bytes()[..]));
    assert_eq!((answer[34], &answer[42..46], nat_world::sum(&answer[34..46])), (0, &b"abcd"[..], 0xffff));
    assert!(out.is_empty());
}

#[test]
fn forwards_lead_in_and_their_answers_out() {
    let forwards: Vec<Forward> = vec!["tcp:2222:22".parse().unwrap(), "udp:0.0.0.0:5353:53".parse().unwrap()];
    let mut lab = Lab::new(|config| config.forwards = forwards);
    let bound = lab.world.bound();
    assert_eq!(bound, ["127.0.0.1:2222".parse().unwrap(), "0.0.0.0:5353".parse::<SocketAddr>().unwrap()]);
    // Nobody is there yet: the caller is not left waiting.
    let early = lab.world.call(0);
    lab.run(1, |_, _| false);
    assert!(early.lock().unwrap().reset);
    let names = lab.bind(53);
    lab.say(names, (OUTSIDE, 9), b"here I am");
    // Nobody listens.
    let refused = lab.world.call(0);
    lab.run(1, |_, _| false);
    assert!(refused.lock().unwrap().reset && refused.lock().unwrap().dropped);
    let mut socket =
        tcp::Socket::new(tcp::SocketBuffer::new(vec![0; 4096]), tcp::SocketBuffer::new(vec![0; 4096]));
    socket.listen(22).unwrap();
    let handle = lab.guests[0].sockets.add(socket);
    let call = lab.world.call(0);
    call.lock().unwrap().to_guest.extend(b"hello");
    let mut got = Vec::new();
    assert!(lab.run(5, |guest, _| {
        take(guest, handle, &mut got);
        got == b"hello"
    }));
    assert_eq!(lab.tcp(handle).remote_endpoint().unwrap().addr, GATEWAY.into());
    lab.tcp(handle).send_slice(b"welcome").unwrap();
    lab.tcp(handle).close();
    assert!(lab.run(5, |_, _| call.lock().unwrap().guest_ended));
    assert_eq!(call.lock().unwrap().from_guest, b"welcome");
    // Datagrams from two callers keep apart.
    let port = lab.world.datagrams(0);
    let callers: [SocketAddr; 2] = ["192.0.2.1:1000".parse().unwrap(), "192.0.2.2:1000".parse().unwrap()];
    for from in callers {
        port.lock().unwrap().inbox.push_back((from.to_string().into_bytes(), from));
    }
    lab.run(1, |_, _| false);
    for from in callers {
        let (data, meta) = lab.udp(names).recv().map(|(data, meta)| (data.to_vec(), meta.endpoint)).unwrap();
        assert_eq!(data, from.to_string().into_bytes());
        assert_eq!(meta.addr, GATEWAY.into());
        let back = format!("to {from}");
        lab.udp(names).send_slice(back.as_bytes(), meta).unwrap();
    }
    lab.run(1, |_, _| false);
    let sent = port.lock().unwrap().sent.clone();
    assert_eq!(sent, callers.map(|from| (format!("to {from}").into_bytes(), from)));
}

#[test]
fn tables_are_bounded_and_the_silent_give_way() {
    let limits = Limits { connections: 4, mappings: 4, echoes: 2, peers: 2, ..Limits::default() };
    let world = World::default();
    let mut nat = Nat::new(NatConfig { limits, ..config() }, FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    for i in 0..100u16 {
        for frame in [
            nat_world::syn(&nat, (GUEST, 2000 + i), mac(1), (OUTSIDE, 80)),
            nat_world::udp(&nat, (GUEST, 2000 + i), mac(1), (OUTSIDE, 80), b"x"),
            nat_world::udp(&nat, (GUEST, 1), mac(1), (OUTSIDE, 80 + i), b"x"),
            nat_world::ping(&nat, GUEST, mac(1), OUTSIDE, i, b"x"),
        ] {
            nat.frame(VmInstant::from_nanos(u64::from(i)), &frame, &mut out);
        }
        while out.pop().is_some() {}
        let (flows, mappings, echoes) = nat.in_use();
        assert!(flows <= 4 && mappings <= 4 && echoes <= 2);
    }
    assert_eq!((nat.in_use(), world.open()), ((4, 4, 2), 10));
    assert!(nat.events().contains(&NatEvent::ConnectionsFull));
    assert_eq!(nat.stats().failed, 96);
    // Six minutes later the oldest gives way.
    let frame = nat_world::syn(&nat, (GUEST, 3000), mac(1), (OUTSIDE, 80));
    nat.frame(seconds(360), &frame, &mut out);
    assert_eq!((nat.in_use().0, nat.stats().given_up, world.open()), (4, 1, 10));
}

#[test]
fn a_bad_network_and_a_slow_reader_lose_no_byte() {
    let world = World::default();
    let switch = Switch::new();
    switch.station(Nat::new(config(), FakeHost(world.clone())).unwrap()).unwrap();
    let port = switch.port(PortOptions { mac: Some(mac(1)), ..PortOptions::default() }).unwrap();
    let faults = Faults { loss: 100_000, duplicate: 20_000, reorder: 20_000, delay: 100_000, seed: 5 };
    let mut guest = Guest::new(Faulty::new(port, faults), mac(1), Some((GUEST, 24)));
    guest.interface.routes_mut().add_default_ipv4_route(GATEWAY).unwrap();
    let mut guests = [guest];
    let handle = guests[0].connect((OUTSIDE, 80), 40_000);
    let (long, mut got, mut sent) = (pattern(1_500_000), Vec::new(), 0);
    let mut now = VmInstant::ZERO;
    while got.len() < long.len() {
        assert!(now < seconds(3000), "{} of {} bytes, {sent} the other way", got.len(), long.len());
        // It reads every two seconds only: its window closes, and the word that it opens is lost at times.
        let socket = guests[0].sockets.get_mut::<tcp::Socket>(handle);
        let _ = socket.recv(|data| {
            got.extend_from_slice(data);
            (data.len(), ())
        });
        if socket.can_send() && sent < 300_000 {
            sent += socket.send_slice(&long[sent..300_000]).unwrap();
        }
        if world.streams() == 1 && world.stream(0).lock().unwrap().to_guest.is_empty() && got.is_empty() {
            world.stream(0).lock().unwrap().to_guest.extend(&long);
        }
        now = run(&mut guests, now, now + 2_000_000_000, |_| false);
    }
    assert!(got == long && world.stream(0).lock().unwrap().from_guest == long[..300_000]);
}

#[test]
fn a_window_whose_opening_was_lost_is_asked_for() {
    let world = World::default();
    let mut nat = Nat::new(config(), FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    let (mut now, mut theirs) = (0, 0);
    let mut send = |flags, numbers, window, wait: u64| {
        let frame =
            nat_world::any_segment(&nat, (GUEST, 2000), mac(1), (OUTSIDE, 80), flags, numbers, b"", 0);
        nat.frame(VmInstant::from_nanos(now), &nat_world::with_window(frame, window), &mut out);
        let mut got = Vec::new();
        for _ in 0..wait.max(1) {
            nat.poll(VmInstant::from_nanos(now), &mut out);
            now += 1_000_000_000;
            while let Some(frame) = out.pop() {
                theirs = u32::from_be_bytes(frame[38..42].try_into().unwrap());
                got.push(usize::from(u16::from_be_bytes([frame[16], frame[17]])) - 40);
            }
        }
        (theirs, got)
    };
    let (first, _) = send(2, (100, 0), 1000, 0);
    let begins = first.wrapping_add(1);
    send(0x10, (101, begins), 0, 0);
    world.stream(0).lock().unwrap().to_guest.extend(pattern(500));
    // Nothing fits; the guest is asked every five seconds, with a byte that it has.
    let (number, got) = send(0x10, (101, begins), 0, 23);
    assert_eq!((number, &got[..]), (first, &[1; 4][..]));
    let (number, got) = send(0x10, (101, begins), 1000, 0);
    assert_eq!((number, &got[..]), (begins, &[500][..]));
}

#[test]
fn bytes_behind_the_end_are_not_the_hosts() {
    let world = World::default();
    let mut nat = Nat::new(config(), FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    let end = (GUEST, 2000);
    let mut send = |flags, numbers, data: &[u8]| {
        let frame = nat_world::any_segment(&nat, end, mac(1), (OUTSIDE, 80), flags, numbers, data, 0);
        nat.frame(VmInstant::ZERO, &frame, &mut out);
        nat.poll(VmInstant::ZERO, &mut out);
        let mut theirs = 0;
        while let Some(frame) = out.pop() {
            theirs = u32::from_be_bytes(frame[38..42].try_into().unwrap());
        }
        theirs
    };
    let theirs = send(2, (100, 0), b"").wrapping_add(1);
    send(0x19, (101, theirs), b"all");
    send(0x18, (105, theirs), b"more");
    let pipe = world.stream(0);
    let pipe = pipe.lock().unwrap();
    assert!(pipe.guest_ended && pipe.from_guest == b"all");
}

#[test]
fn idle_connections_end_after_two_hours() {
    let mut lab = Lab::new(|_| {});
    let handle = lab.connect((OUTSIDE, 80), 40_000);
    assert!(lab.run(5, |guest, _| state(guest, handle) == tcp::State::Established));
    lab.run(7400, |_, _| false);
    assert_eq!(
        (state(&mut lab.guests[0], handle), lab.nat.lock().unwrap().in_use().0),
        (tcp::State::Established, 1)
    );
    lab.run(60, |_, _| false);
    assert_eq!(
        (state(&mut lab.guests[0], handle), lab.nat.lock().unwrap().in_use().0),
        (tcp::State::Closed, 0)
    );
}

#[test]
fn frames_that_pretend_are_dropped() {
    let world = World::default();
    let mut nat = Nat::new(config(), FakeHost(world.clone())).unwrap();
    let mut out = Outbox::new();
    // A source that is no guest's, a wrong sum, a fragment.
    for source in [GATEWAY, OUTSIDE, Ipv4Addr::new(192, 168, 131, 255), Ipv4Addr::LOCALHOST] {
        for frame in nat_world::probes(&nat, source, mac(1), OUTSIDE) {
            nat.frame(VmInstant::ZERO, &frame, &mut out);
        }
    }
    let good = nat_world::syn(&nat, (GUEST, 2000), mac(1), (OUTSIDE, 80));
    for (at, bit) in [(24, 1), (34, 1), (36, 4), (50, 1), (20, 0x20)] {
        let mut bad = good.clone();
        bad[at] ^= bit;
        nat.frame(VmInstant::ZERO, &bad, &mut out);
    }
    assert_eq!(nat.stats().fragments, 1);
    for frame in [
        nat_world::udp(&nat, (GUEST, 0), mac(1), (OUTSIDE, 80), b"x"),
        nat_world::syn(&nat, (GUEST, 0), mac(1), (OUTSIDE, 80)),
        nat_world::syn(&nat, (GUEST, 2000), mac(1), (OUTSIDE, 0)),
        nat_world::udp(&nat, (Ipv4Addr::UNSPECIFIED, 0), mac(1), (OUTSIDE, 80), b"x"),
    ] {
        nat.frame(VmInstant::ZERO, &frame, &mut out);
    }
    assert!(world.reached().is_empty() && out.is_empty());
    nat.frame(VmInstant::ZERO, &good, &mut out);
    assert_eq!(world.reached().len(), 1);
    // Segments for a connection that there is not are answered with RST, and RST with nothing.
    let mut stray = nat_world::segment(&nat, (GUEST, 2001), mac(1), (OUTSIDE, 80), 0x10, 5, b"x");
    while out.pop().is_some() {}
    nat.frame(VmInstant::ZERO, &stray, &mut out);
    assert_eq!(out.pop().unwrap()[47] & 4, 4);
    stray = nat_world::segment(&nat, (GUEST, 2001), mac(1), (OUTSIDE, 80), 4, 5, b"");
    nat.frame(VmInstant::ZERO, &stray, &mut out);
    assert!(out.is_empty() && world.reached().len() == 1);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 96, failure_persistence: None, ..Default::default() })]
    /// Segments of any kind, in any order, with any options: nothing panics, nothing piles up, nothing else is reached.
    #[test]
    fn any_segments_are_survived(
        script in proptest::collection::vec(
            (0u8..=63, proptest::prelude::any::<u32>(), 0u8..4, proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80), 0u8..40),
            1..120,
        ),
        takes in 0usize..200,
    ) {
        let limits = Limits { connections: 3, to_host: 256, to_guest: 300, frames: 20, ..Limits::default() };
        let world = World::default();
        world.takes(Some(takes));
        let mut nat = Nat::new(NatConfig { limits, ..config() }, FakeHost(world.clone())).unwrap();
        let mut out = Outbox::new();
        let (mut now, mut theirs, mut mine) = (0u64, 0u32, 0u32);
        for (flags, number, port, data, options) in script {
            let key = (GUEST, 2000 + u16::from(port));
            // Near the window or anywhere.
            let sequence = if number % 3 == 0 { number } else { mine.wrapping_add(number % 300).wrapping_sub(20) };
            let acknowledged = if number % 5 == 0 { number } else { theirs.wrapping_add(number % 7) };
            let frame = nat_world::any_segment(&nat, key, mac(1), (OUTSIDE, 80), flags, (sequence, acknowledged), &data, options.into());
            now += u64::from(number % 4) * 3_000_000;
            nat.frame(VmInstant::from_nanos(now), &frame, &mut out);
            if world.streams() > 0 {
                world.stream(0).lock().unwrap().to_guest.extend(&data);
            }
            nat.poll(VmInstant::from_nanos(now), &mut out);
            assert!(out.len() <= 2 * limits.frames + 2, "{}", out.len());
            while let Some(frame) = out.pop() {
                assert!(frame.len() <= 1514 && nat_world::sum(&frame[14..34]) == 0xffff);
                if frame[23] == 6 {
                    theirs = u32::from_be_bytes(frame[38..42].try_into().unwrap());
                    mine = u32::from_be_bytes(frame[42..46].try_into().unwrap());
                }
            }
            assert!(nat.in_use().0 <= 3);
            assert!(world.open() <= 3);
            assert!(nat.next_deadline().is_none_or(|at| at.as_nanos() > now));
        }
        assert!(world.reached().iter().all(|to| *to == SocketAddr::from((OUTSIDE, 80))));
    }
}
