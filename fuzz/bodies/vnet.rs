//! The networks: the switch beside a model that keeps lists, and the DHCP server beside its own promises.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use slotone_bus::VmInstant;
use slotone_net::{MAX_FRAME, MacAddress, NetPort, Sent};
use slotone_vnet::dhcp::{Config, DhcpSpec, LeaseState, Server};
use slotone_vnet::station::{Outbox, Station};
use slotone_vnet::switch::{PortId, PortOptions, Switch, SwitchConfig, SwitchPort};

use super::{Reader, text};

const SECOND: u64 = 1_000_000_000;

// ---- switch

const AGEING: u64 = 300 * SECOND;
const ADDRESSES: usize = 4;
const QUEUE: usize = 3;

/// Sends every frame that is meant for it back, once.
struct Mirror(MacAddress);

impl Station for Mirror {
    fn mac(&self) -> MacAddress {
        self.0
    }

    fn frame(&mut self, _: VmInstant, frame: &[u8], out: &mut Outbox) {
        if let Some(back) = mirrored(self.0, frame) {
            out.push(back);
        }
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    fn poll(&mut self, _: VmInstant, _: &mut Outbox) {}
}

fn mirrored(own: MacAddress, frame: &[u8]) -> Option<Vec<u8>> {
    // What was sent back once is marked: two mirrors would play for ever.
    if frame[..6] != own.0 || frame[6] & 1 != 0 || frame[12] == 0xee {
        return None;
    }
    let mut back = frame.to_vec();
    back[12] = 0xee;
    back[..6].copy_from_slice(&frame[6..12]);
    back[6..12].copy_from_slice(&own.0);
    Some(back)
}

struct ModelPort {
    id: PortId,
    mac: Option<MacAddress>,
    promiscuous: bool,
    isolated: bool,
    link: bool,
    station: bool,
    queue: VecDeque<Vec<u8>>,
}

#[derive(Default)]
struct Model {
    ports: Vec<ModelPort>,
    heard: Vec<(MacAddress, PortId, u64)>,
}

impl Model {
    fn fixed(&self, mac: MacAddress) -> Option<PortId> {
        self.ports.iter().find(|port| port.mac == Some(mac)).map(|port| port.id)
    }

    fn learn(&mut self, now: u64, mac: MacAddress, from: PortId) {
        if mac.0[0] & 1 != 0 || self.fixed(mac).is_some() {
            return;
        }
        if let Some(entry) = self.heard.iter_mut().find(|entry| entry.0 == mac) {
            (entry.1, entry.2) = (from, now);
            return;
        }
        if self.heard.len() >= ADDRESSES {
            self.heard.retain(|entry| now - entry.2 < AGEING);
        }
        if self.heard.len() < ADDRESSES {
            self.heard.push((mac, from, now));
        }
    }

    fn send(&mut self, now: u64, from: PortId, frame: &[u8]) {
        let mut work = VecDeque::from([(from, frame.to_vec())]);
        while let Some((from, frame)) = work.pop_front() {
            let Some((link, isolated)) =
                self.ports.iter().find(|p| p.id == from).map(|p| (p.link, p.isolated))
            else {
                continue;
            };
            let fits = (14..=MAX_FRAME).contains(&frame.len()) && link;
            if !fits || (frame[..5] == [1, 0x80, 0xc2, 0, 0] && frame[5] < 16) {
                continue;
            }
            let to = MacAddress(frame[..6].try_into().unwrap());
            self.learn(now, MacAddress(frame[6..12].try_into().unwrap()), from);
            let group = to.0[0] & 1 != 0;
            let heard = || self.heard.iter().find(|e| e.0 == to && now - e.2 < AGEING).map(|e| e.1);
            let known = if group { None } else { self.fixed(to).or_else(heard) };
            for port in &mut self.ports {
                let wanted = group
                    || port.promiscuous
                    || known == Some(port.id)
                    || (known.is_none() && port.mac.is_none());
                if !wanted || port.id == from || !port.link || (isolated && port.isolated) {
                    continue;
                }
                if port.station {
                    work.extend(mirrored(port.mac.unwrap(), &frame).map(|back| (port.id, back)));
                } else if port.queue.len() < QUEUE {
                    port.queue.push_back(frame.clone());
                }
            }
        }
    }
}

fn station_mac(n: u8) -> MacAddress {
    match n % 12 {
        8 => MacAddress::BROADCAST,
        9 => MacAddress([1, 0, 0x5e, 0, 0, 1]),
        10 => MacAddress([1, 0x80, 0xc2, 0, 0, 0]),
        n => MacAddress([0, 3, 0xff, 0, 0, n]),
    }
}

/// Operations on a switch: every port gets exactly the frames that the model gives it.
pub fn switch(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut r = Reader(&bytes);
    let switch = Switch::with_config(SwitchConfig { addresses: ADDRESSES, ageing: AGEING, ports: 8 });
    let mut model = Model::default();
    let mut ports: Vec<SwitchPort> = Vec::new();
    let mut now = 0;
    for _ in 0..400 {
        if r.is_empty() {
            break;
        }
        let (op, n) = (r.u8(), usize::from(r.u8()));
        let at = VmInstant::from_nanos(now);
        match op % 9 {
            0 => {
                let flags = r.u8();
                let mac = (flags & 1 != 0).then(|| station_mac(flags >> 4));
                let (promiscuous, isolated, station) = (flags & 2 != 0, flags & 4 != 0, flags & 8 != 0);
                let fine = switch.ports().len() < 8
                    && mac.is_none_or(|mac| !mac.is_group() && model.fixed(mac).is_none());
                let id = if let (true, Some(mac)) = (station, mac) {
                    let id = switch.station(Mirror(mac)).ok();
                    id.map(|id| (id, false, false, true))
                } else {
                    let options = PortOptions {
                        mac,
                        promiscuous,
                        isolated,
                        queue_frames: QUEUE,
                        ..PortOptions::default()
                    };
                    let port = switch.port(options).ok();
                    port.map(|mut port| {
                        let id = port.id();
                        // A port's clock begins with its first call.
                        assert!(!port.receive(at, &mut |_| {}));
                        ports.push(port);
                        (id, promiscuous, isolated, false)
                    })
                };
                assert_eq!(id.is_some(), fine);
                if let Some((id, promiscuous, isolated, station)) = id {
                    if let Some(mac) = mac {
                        model.heard.retain(|entry| entry.0 != mac);
                    }
                    let queue = VecDeque::new();
                    model.ports.push(ModelPort {
                        id,
                        mac,
                        promiscuous,
                        isolated,
                        link: true,
                        station,
                        queue,
                    });
                }
            }
            1..=3 if !ports.is_empty() => {
                let port = n % ports.len();
                let (to, from, len) = (r.u8(), r.u8(), r.u16());
                let mut frame = vec![op; usize::from(len) % (MAX_FRAME + 10)];
                for (i, byte) in station_mac(to).0.iter().chain(&station_mac(from).0).enumerate() {
                    if let Some(slot) = frame.get_mut(i) {
                        *slot = *byte;
                    }
                }
                assert_eq!(ports[port].send(at, &frame), Sent::Taken);
                model.send(now, ports[port].id(), &frame);
            }
            4 => {
                now += u64::from(r.u32()) * 100;
                // The switch knows the time from its ports, and a port that comes later begins with the switch's.
                if let Some(port) = ports.first_mut() {
                    port.send(VmInstant::from_nanos(now), &[]);
                }
            }
            5 if !ports.is_empty() => {
                let i = n % ports.len();
                check(&mut ports[i], &mut model, at);
            }
            6 if !model.ports.is_empty() => {
                let port = n % model.ports.len();
                let port = &mut model.ports[port];
                port.link = !port.link;
                switch.set_link(port.id, port.link);
                if !port.link {
                    port.queue.clear();
                }
            }
            7 if !model.ports.is_empty() => {
                let port = n % model.ports.len();
                let port = &mut model.ports[port];
                port.promiscuous = !port.promiscuous;
                switch.set_promiscuous(port.id, port.promiscuous);
            }
            8 if !ports.is_empty() => {
                let gone = ports.swap_remove(n % ports.len()).id();
                model.ports.retain(|port| port.id != gone);
                model.heard.retain(|entry| entry.1 != gone);
            }
            _ => {}
        }
        assert!(switch.events().len() <= 64);
    }
    for port in &mut ports {
        check(port, &mut model, VmInstant::from_nanos(now));
    }
}

fn check(port: &mut SwitchPort, model: &mut Model, at: VmInstant) {
    let expected = model.ports.iter_mut().find(|p| p.id == port.id()).expect("a port of both");
    loop {
        assert_eq!(port.next_deadline().is_some(), !expected.queue.is_empty());
        let mut got = None;
        let any = port.receive(at, &mut |frame| got = Some(frame.to_vec()));
        assert_eq!(any, got.is_some());
        assert_eq!(got, expected.queue.pop_front(), "at {}", port.id());
        if !any {
            return;
        }
    }
}

// ---- dhcp

fn checksum(parts: &[&[u8]]) -> u16 {
    let bytes: Vec<u8> = parts.concat();
    let mut sum = 0u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(pair[0]) << 8 | u64::from(*pair.get(1).unwrap_or(&0));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

fn client_mac(n: u8) -> MacAddress {
    MacAddress([0, 3, 0xff, 0, 1, n % 8])
}

/// A frame with a DHCP message, right in every respect but what the input says.
fn request(config: &Config, r: &mut Reader<'_>) -> Vec<u8> {
    let (kind, n, flags) = (r.u8(), r.u8(), r.u8());
    let address = |last: u8| Ipv4Addr::from_bits(config.network.to_bits() | u32::from(last));
    let mac = client_mac(n);
    let mut message = vec![0; 236];
    message[..3].copy_from_slice(&[1, 1, 6]);
    message[7] = n;
    if flags & 1 != 0 {
        message[10] = 0x80;
    }
    if flags & 2 != 0 {
        message[12..16].copy_from_slice(&address(r.u8()).octets());
    }
    if flags & 4 != 0 {
        message[24..28].copy_from_slice(&address(r.u8()).octets());
    }
    message[28..34].copy_from_slice(&mac.0);
    message.extend_from_slice(&[99, 130, 83, 99, 53, 1, 1 + kind % 8]);
    if flags & 8 != 0 {
        message.extend_from_slice(&[50, 4]);
        message.extend_from_slice(&address(r.u8()).octets());
    }
    if flags & 16 != 0 {
        message.extend_from_slice(&[54, 4]);
        message.extend_from_slice(&if flags & 32 != 0 { config.server } else { address(9) }.octets());
    }
    if flags & 64 != 0 {
        let id = r.u8() % 4;
        message.extend_from_slice(&[61, 3, 0, id, id]);
    }
    if flags & 128 != 0 {
        let n = usize::from(r.u8());
        message.extend_from_slice(r.take(n));
    }
    message.push(255);
    let mut udp = vec![0, 68, 0, 67, 0, 0, 0, 0];
    udp[4..6].copy_from_slice(&((message.len() + 8) as u16).to_be_bytes());
    let mut ip = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255];
    ip[2..4].copy_from_slice(&((message.len() + 28) as u16).to_be_bytes());
    let sum = !checksum(&[&ip]);
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    [&[0xff; 6][..], &mac.0, &[8, 0], &ip, &udp, &message].concat()
}

/// Until when an address is a client's; the client is the identifier or the Ethernet address.
type Held = BTreeMap<Ipv4Addr, (Vec<u8>, u64)>;

/// What the server has promised.
#[derive(Default)]
struct Promises {
    /// By ACK.
    bound: Held,
    /// By OFFER: nobody else gets it for a minute (a probe of up to some seconds comes before it).
    offered: Held,
}

impl Promises {
    /// Nothing is known of anyone any more.
    fn clear(&mut self) {
        *self = Self::default();
    }
}

/// Checks what the server sent.
fn answers(config: &Config, out: &mut Outbox, now: u64, promises: &mut Promises) {
    let mut count = 0;
    while let Some(frame) = out.pop() {
        count += 1;
        assert!((60..=1514).contains(&frame.len()));
        assert_eq!(frame[6..12], config.server_mac.0);
        if frame[12..14] == [8, 6] {
            continue;
        }
        assert_eq!(frame[12..14], [8, 0]);
        let packet = &frame[14..];
        let total = usize::from(u16::from_be_bytes([packet[2], packet[3]]));
        let packet = &packet[..total];
        assert_eq!(checksum(&[&packet[..20]]), 0xffff);
        assert_eq!(packet[12..16], config.server.octets());
        if packet[9] == 1 {
            assert_eq!(checksum(&[&packet[20..]]), 0xffff);
            continue;
        }
        let udp = &packet[20..];
        let pseudo = [&packet[12..20], &[0, 17], &udp[4..6]].concat();
        assert_eq!(checksum(&[&pseudo, udp]), 0xffff);
        assert_eq!(usize::from(u16::from_be_bytes([udp[4], udp[5]])), udp.len());
        message(config, &udp[8..], now, promises);
    }
    assert!(count <= 200);
}

fn message(config: &Config, message: &[u8], now: u64, promises: &mut Promises) {
    assert!(message.len() >= 300 && message[..3] == [2, 1, 6] && message[236..240] == [99, 130, 83, 99]);
    let mut options = BTreeMap::new();
    let mut rest = &message[240..];
    while rest[0] != 255 {
        let len = usize::from(rest[1]);
        assert!(options.insert(rest[0], rest[2..2 + len].to_vec()).is_none(), "an option twice");
        rest = &rest[2 + len..];
    }
    assert!(rest[1..].iter().all(|byte| *byte == 0));
    assert_eq!(options[&54], config.server.octets());
    let yours = Ipv4Addr::new(message[16], message[17], message[18], message[19]);
    let client = options.get(&61).cloned().unwrap_or_else(|| [&[1], &message[28..34]].concat());
    let kind = options[&53][0];
    match kind {
        2 => assert!(config.hands_out(yours)),
        6 => return assert!(yours.is_unspecified() && !options.contains_key(&51)),
        5 if yours.is_unspecified() => return assert!(!options.contains_key(&51)),
        5 => assert!(config.hands_out(yours)),
        kind => panic!("a server does not say {kind}"),
    }
    assert_eq!(options[&51], config.lease.to_be_bytes());
    assert_eq!(options[&1], config.mask().octets());
    for held in [&promises.bound, &promises.offered] {
        if let Some((owner, until)) = held.get(&yours) {
            assert!(*owner == client || *until <= now, "{yours} promised to {owner:?} and {client:?}");
        }
    }
    promises.offered.retain(|_, (owner, _)| *owner != client);
    if kind == 5 {
        promises.bound.retain(|_, (owner, _)| *owner != client);
        promises.bound.insert(yours, (client, now + u64::from(config.lease) * SECOND));
    } else {
        // To offer what is a client's anyway changes nothing about how long it is.
        let bound = promises.bound.get(&yours).filter(|(owner, until)| *owner == client && *until > now);
        let until = bound.map_or(now + 50 * SECOND, |(_, until)| *until);
        promises.offered.insert(yours, (client, until));
    }
}

/// Frames, time and lease files for a DHCP server: what it sends is whole and right, no address is promised twice, a lease file is read as it was written.
pub fn dhcp(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut r = Reader(&bytes);
    let setup = r.u8();
    let mut config = Config::for_network("internal");
    // A small pool is soon exhausted.
    config.end = Ipv4Addr::from_bits(config.start.to_bits() + u32::from(setup & 7));
    config.probe = setup & 8 != 0;
    config.authoritative = setup & 16 != 0;
    if setup & 32 != 0 {
        (config.lease, config.renewal, config.rebinding) = (60, 30, 45);
    }
    if setup & 64 != 0 {
        config.dns = vec![config.server; 8];
        config.wins = vec![config.server; 8];
        config.boot_file = Some("b".repeat(200));
        config.boot_server = Some("s".repeat(60));
        config.next_server = Some(config.server);
        config.domain = Some("d".repeat(60));
    }
    let spec = DhcpSpec { network: "n".into(), config: Some(config.clone()), leases: None };
    assert_eq!(spec.to_string().parse(), Ok(spec));
    let mut server = Server::new(config.clone()).expect("settings by the rules");
    let (mut now, mut out, mut promises) = (0, Outbox::new(), Promises::default());
    for _ in 0..300 {
        if r.is_empty() {
            break;
        }
        let at = VmInstant::from_nanos(now);
        match r.u8() % 8 {
            0 => {
                let len = usize::from(r.u16()) % 2000;
                server.frame(at, r.take(len), &mut out);
            }
            1..=3 => {
                let frame = request(&config, &mut r);
                // Who gives an address back, or finds it in use, has it no more; the model believes everyone.
                if let 4 | 7 = frame[14 + 28 + 242] {
                    promises.clear();
                }
                // Who asks another server gives up what this one offered.
                if frame[14 + 28 + 242] == 3 {
                    promises.offered.clear();
                }
                server.frame(at, &frame, &mut out);
            }
            4 => {
                let end = now + u64::from(r.u16()) * 10_000_000;
                // As a machine does: at the deadlines, not long after them.
                while let Some(due) = server.next_deadline().map(|due| due.as_nanos())
                    && due <= end
                {
                    now = now.max(due);
                    server.poll(VmInstant::from_nanos(now), &mut out);
                    answers(&config, &mut out, now, &mut promises);
                }
                now = end;
            }
            5 => {
                let (n, last, kind) = (r.u8(), r.u8(), r.u8());
                let address = Ipv4Addr::from_bits(config.network.to_bits() | u32::from(last));
                let mac = client_mac(n);
                let target = if kind & 2 != 0 { config.server } else { address };
                let frame = [
                    &[0xff; 6][..],
                    &mac.0,
                    &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1 + kind % 2],
                    &mac.0,
                    &address.octets(),
                    &[0; 6],
                    &target.octets(),
                ];
                server.frame(at, &frame.concat(), &mut out);
            }
            6 => {
                let text = server.export(at);
                let mut other = Server::new(config.clone()).expect("the same settings");
                other.import(at, &text).expect("what was written is read");
                assert_eq!(other.export(at), text);
            }
            _ => {
                let len = usize::from(r.u8());
                let text = String::from_utf8_lossy(r.take(len)).into_owned();
                let mut other = Server::new(config.clone()).expect("the same settings");
                if other.import(at, &format!("slotone-leases 1\n{text}")).is_ok() {
                    assert!(other.leases(at).iter().all(|lease| config.hands_out(lease.address)));
                }
            }
        }
        let at = VmInstant::from_nanos(now);
        if server.next_deadline().is_some_and(|deadline| deadline <= at) {
            server.poll(at, &mut out);
        }
        assert!(server.next_deadline().is_none_or(|deadline| deadline > at && deadline.since(at) <= SECOND));
        answers(&config, &mut out, now, &mut promises);
        let leases = server.leases(at);
        assert!(leases.iter().all(|lease| config.hands_out(lease.address)));
        let bound = leases.iter().filter(|lease| lease.state == LeaseState::Bound);
        for (address, (client, until)) in &promises.bound {
            let kept = bound.clone().any(|lease| lease.address == *address && lease.client == *client);
            assert!(*until <= now || kept, "{address} was promised to {client:?} and forgotten");
        }
    }
}
