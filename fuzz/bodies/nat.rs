//! Address translation: a guest that sends anything, a world outside that does anything. Every byte says by its number what it must be, in both directions.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};

use slotone_bus::VmInstant;
use slotone_vnet::nat::{Host, HostSocket, Limits, Nat, NatConfig};
use slotone_vnet::station::{Outbox, Station};

use super::{Reader, text};

const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 131, 20);
const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 131, 254);
const OWN: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 9);
const MAC: [u8; 6] = [0, 3, 0xff, 0, 0, 1];
/// Whom the guest speaks to: some it may not.
const OTHERS: [Ipv4Addr; 8] = [
    Ipv4Addr::new(198, 51, 100, 7),
    Ipv4Addr::new(198, 51, 100, 8),
    GATEWAY,
    OWN,
    Ipv4Addr::LOCALHOST,
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(224, 0, 0, 1),
    Ipv4Addr::new(192, 168, 131, 255),
];
const PORTS: [u16; 4] = [80, 53, 0, 49_152];
const LIMITS: Limits = Limits {
    connections: 3,
    to_host: 600,
    to_guest: 5000,
    mappings: 3,
    peers: 2,
    echoes: 2,
    stations: 3,
    frames: 16,
    connect: 2_000_000_000,
    idle: 20_000_000_000,
    closing: 5_000_000_000,
    evict: 10_000_000_000,
    datagram: 4_000_000_000,
    brief: 3_000_000_000,
};
/// A call makes so many frames, then each of its packets may be answered once more, and a datagram may be 45 fragments.
const MOST: usize = 16 + 64 + 45;

type End = (Ipv4Addr, u16);

/// What the guest's byte with a sequence number is.
fn up(sequence: u32) -> u8 {
    (sequence ^ (sequence >> 7)) as u8
}

/// What a connection's byte of a number is that the world sends.
fn down(number: u32) -> u8 {
    (number.wrapping_mul(31) ^ (number >> 8)) as u8
}

#[derive(Default)]
struct Pipe {
    listens: bool,
    connects: Option<bool>,
    /// The guest's sequence number of the byte that comes next, where that is known.
    expected: Option<u32>,
    given: u32,
    offered: u32,
    room: usize,
    ended: bool,
    broken: bool,
    finished: bool,
    dropped: bool,
    inbox: Vec<(Vec<u8>, SocketAddr)>,
    /// Who came by a forward: they may be answered, whoever they are.
    came: Option<Vec<SocketAddr>>,
    calls: u8,
}

#[derive(Default)]
struct World {
    pipes: Vec<Arc<Mutex<Pipe>>>,
    allow_host: bool,
    resolvers: Vec<SocketAddr>,
    /// Sequence number of the SYN that is being handed in.
    syn: u32,
    poor: bool,
}

impl World {
    /// A guest must get nowhere else.
    fn check(&self, to: SocketAddr) {
        if self.resolvers.contains(&to) {
            return;
        }
        let SocketAddr::V4(to) = to else { panic!("{to}") };
        let (address, [a, b, ..]) = (*to.ip(), to.ip().octets());
        if self.allow_host && (address == Ipv4Addr::LOCALHOST || address == OWN) {
            return;
        }
        let fine = a != 0 && a != 127 && (a, b) != (169, 254) && a < 224 && address != OWN;
        assert!(fine && !address.to_string().starts_with("192.168.131."), "the guest got to {to}");
    }
}

#[derive(Clone, Default)]
struct Fake(Arc<Mutex<World>>);

impl Fake {
    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().expect("one thread")
    }

    fn socket(&self, pipe: Pipe) -> io::Result<Socket> {
        let mut world = self.world();
        if world.poor {
            return Err(io::Error::from_raw_os_error(24));
        }
        let pipe = Arc::new(Mutex::new(pipe));
        world.pipes.push(pipe.clone());
        Ok(Socket(pipe, self.clone()))
    }
}

struct Socket(Arc<Mutex<Pipe>>, Fake);

impl Socket {
    fn pipe(&self) -> MutexGuard<'_, Pipe> {
        self.0.lock().expect("one thread")
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.pipe().dropped = true;
    }
}

impl Host for Fake {
    type Socket = Socket;

    fn connect(&mut self, to: SocketAddr) -> io::Result<Socket> {
        let syn = self.world().syn;
        self.world().check(to);
        self.socket(Pipe { expected: Some(syn.wrapping_add(1)), ..Pipe::default() })
    }

    fn listen(&mut self, _: SocketAddr) -> io::Result<Socket> {
        self.socket(Pipe { listens: true, ..Pipe::default() })
    }

    fn datagrams(&mut self, at: SocketAddr) -> io::Result<Socket> {
        self.socket(Pipe { came: (at.port() != 0).then(Vec::new), ..Pipe::default() })
    }

    fn echo(&mut self) -> io::Result<Socket> {
        self.socket(Pipe::default())
    }

    fn is_own(&mut self, address: Ipv4Addr) -> bool {
        address == OWN
    }

    fn resolvers(&mut self) -> Vec<SocketAddr> {
        self.world().resolvers.clone()
    }
}

impl HostSocket for Socket {
    fn connected(&mut self) -> io::Result<bool> {
        match self.pipe().connects {
            Some(true) => Ok(true),
            Some(false) => Err(io::ErrorKind::ConnectionRefused.into()),
            None => Ok(false),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.pipe();
        if pipe.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n = into.len().min((pipe.offered - pipe.given) as usize);
        if n == 0 && !pipe.ended {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        for (i, byte) in into[..n].iter_mut().enumerate() {
            *byte = down(pipe.given + i as u32);
        }
        pipe.given += n as u32;
        Ok(n)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut pipe = self.pipe();
        assert!(!pipe.finished, "bytes behind the end");
        if pipe.broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let n = from.len().min(pipe.room);
        if n == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        pipe.room -= n;
        if let Some(expected) = pipe.expected {
            for (i, byte) in from[..n].iter().enumerate() {
                assert_eq!(*byte, up(expected.wrapping_add(i as u32)), "another byte than the guest sent");
            }
            pipe.expected = Some(expected.wrapping_add(n as u32));
        }
        Ok(n)
    }

    fn finish(&mut self) -> io::Result<()> {
        let mut pipe = self.pipe();
        assert!(!pipe.finished, "ended twice");
        pipe.finished = true;
        Ok(())
    }

    fn reset(&mut self) {}

    fn send_to(&mut self, _: &[u8], to: SocketAddr) -> io::Result<()> {
        match &self.pipe().came {
            Some(came) => assert!(came.contains(&to), "{to} never came"),
            None => self.1.world().check(to),
        }
        Ok(())
    }

    fn receive_from(&mut self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let mut pipe = self.pipe();
        let (data, from) = pipe.inbox.pop().ok_or(io::ErrorKind::WouldBlock)?;
        if let Some(came) = &mut pipe.came {
            came.push(from);
        }
        let n = data.len().min(into.len());
        into[..n].copy_from_slice(&data[..n]);
        Ok((n, from))
    }

    fn accept(&mut self) -> io::Result<Self> {
        let mut pipe = self.pipe();
        pipe.calls = pipe.calls.checked_sub(1).ok_or(io::ErrorKind::WouldBlock)?;
        drop(pipe);
        self.1.socket(Pipe::default())
    }
}

fn sum(data: &[u8]) -> u16 {
    let pairs =
        data.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from));
    let mut total: u32 = pairs.sum();
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

fn put_sum(data: &mut [u8], at: usize, total: u16) {
    data[at..at + 2].copy_from_slice(&(!total).to_be_bytes());
}

fn pseudo(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    [&from.octets()[..], &to.octets(), &[0, protocol], &(body.len() as u16).to_be_bytes(), body].concat()
}

fn packet(mac: [u8; 6], from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let len = (20 + body.len() as u16).to_be_bytes();
    let head = [&mac[..], &MAC, &[8, 0, 0x45, 0], &len, &[0, 0, 0, 0, 64, protocol, 0, 0]];
    let mut frame = [&head.concat()[..], &from.octets(), &to.octets()].concat();
    let total = sum(&frame[14..34]);
    put_sum(&mut frame, 24, total);
    frame.extend_from_slice(body);
    frame
}

/// What the guest knows of a connection.
#[derive(Default)]
struct Connection {
    mine: u32,
    theirs: u32,
    /// Sequence number of the other side's SYN.
    begins: Option<u32>,
}

struct Lab {
    nat: Nat<Fake>,
    fake: Fake,
    out: Outbox,
    now: u64,
    connections: BTreeMap<(u16, End), Connection>,
}

impl Lab {
    fn segment(&mut self, r: &mut Reader<'_>) -> Vec<u8> {
        let (which, flags, how) = (r.u8(), r.u8(), r.u8());
        let port = 2000 + u16::from(which & 3);
        let to = (OTHERS[usize::from(which >> 2 & 7)], PORTS[usize::from(which >> 5 & 3)]);
        // One of the forward's connections, if there is one.
        let called =
            self.connections.keys().find(|(port, _)| *port == 22).filter(|_| how & 0x80 != 0).copied();
        let (port, to) = called.unwrap_or((port, to));
        let connection = self.connections.entry((port, to)).or_default();
        let (offset, len) = (r.u8(), r.u16() % 1461);
        let sequence = match how & 3 {
            0 | 1 => connection.mine,
            2 => connection.mine.wrapping_add(u32::from(offset)).wrapping_sub(100),
            _ => r.u32(),
        };
        let acknowledged = match how >> 2 & 3 {
            0 | 1 => connection.theirs,
            2 => connection.theirs.wrapping_sub(u32::from(offset)),
            _ => r.u32(),
        };
        let window = if how & 0x10 == 0 { 0xffff } else { r.u16() };
        let mut options =
            if how & 0x20 == 0 { Vec::new() } else { r.take(usize::from(offset & 0x3c).min(40)).to_vec() };
        options.resize(options.len().next_multiple_of(4).min(40), 0);
        let syn = flags & 2 != 0;
        let data = |i: u32| up(sequence.wrapping_add(u32::from(syn)).wrapping_add(i));
        let len = if how & 0x40 == 0 { 0 } else { u32::from(len) };
        if how & 3 < 2 {
            let flags = u32::from(syn) + u32::from(flags & 1);
            connection.mine = sequence.wrapping_add(len + flags);
        }
        self.fake.world().syn = sequence;
        let mut body = [port.to_be_bytes(), to.1.to_be_bytes()].concat();
        body.extend_from_slice(&sequence.to_be_bytes());
        body.extend_from_slice(&acknowledged.to_be_bytes());
        body.extend_from_slice(&[((5 + options.len() / 4) as u8) << 4, flags]);
        body.extend_from_slice(&window.to_be_bytes());
        body.extend_from_slice(&[0; 4]);
        body.extend_from_slice(&options);
        body.extend((0..len).map(data));
        let total = sum(&pseudo(GUEST, to.0, 6, &body));
        put_sum(&mut body, 16, total);
        packet(self.nat.mac().0, GUEST, to.0, 6, &body)
    }

    fn datagram(&self, r: &mut Reader<'_>) -> Vec<u8> {
        let (which, len) = (r.u8(), r.u16() % 1473);
        let to = (
            OTHERS[usize::from(which & 7)],
            PORTS[usize::from(which >> 3 & 3)].wrapping_add(u16::from(which >> 7)),
        );
        let from = 2000 + u16::from(which >> 5 & 3);
        let mut body = [from.to_be_bytes(), to.1.to_be_bytes(), (8 + len).to_be_bytes(), [0, 0]].concat();
        body.resize(8 + usize::from(len), 7);
        let total = sum(&pseudo(GUEST, to.0, 17, &body));
        put_sum(&mut body, 6, total);
        packet(self.nat.mac().0, GUEST, to.0, 17, &body)
    }

    fn ping(&self, r: &mut Reader<'_>) -> Vec<u8> {
        let (which, len) = (r.u8(), r.u16() % 1473);
        let mut body = vec![if which & 0x80 == 0 { 8 } else { r.u8() }, 0, 0, 0, 0, which >> 3 & 7, 0, 1];
        body.resize(8 + usize::from(len), 9);
        let total = sum(&body);
        put_sum(&mut body, 2, total);
        packet(self.nat.mac().0, GUEST, OTHERS[usize::from(which & 7)], 1, &body)
    }

    fn hand_in(&mut self, frame: &[u8]) {
        self.nat.frame(VmInstant::from_nanos(self.now), frame, &mut self.out);
        self.look();
    }

    /// Everything that comes to the guest is whole, right and not too much.
    fn look(&mut self) {
        assert!(self.out.len() <= MOST, "{} frames", self.out.len());
        while let Some(frame) = self.out.pop() {
            assert!((60..=1514).contains(&frame.len()));
            if frame[12..14] != [8, 0] {
                continue;
            }
            let total = usize::from(u16::from_be_bytes([frame[16], frame[17]]));
            let (head, body) = frame[14..14 + total].split_at(20);
            assert_eq!(sum(head), 0xffff);
            let end = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);
            let (from, to) = (end(12), end(16));
            // Of a fragment only the first says where it belongs.
            let fragment = u16::from_be_bytes([head[6], head[7]]) & 0x3fff != 0;
            match head[9] {
                1 => assert_eq!(sum(body), 0xffff),
                6 => {
                    assert_eq!(sum(&pseudo(from, to, 6, body)), 0xffff);
                    self.came((from, u16::from_be_bytes([body[0], body[1]])), body);
                }
                17 if !fragment => assert_eq!(sum(&pseudo(from, to, 17, body)), 0xffff),
                17 => {}
                protocol => panic!("protocol {protocol}"),
            }
        }
        let (flows, mappings, echoes) = self.nat.in_use();
        assert!(flows <= LIMITS.connections && mappings <= LIMITS.mappings && echoes <= LIMITS.echoes);
        let open =
            self.fake.world().pipes.iter().filter(|pipe| !pipe.lock().expect("one thread").dropped).count();
        // And the two forwards.
        assert!(open <= flows + mappings + echoes + 2, "{open} sockets for {flows}, {mappings} and {echoes}");
    }

    fn came(&mut self, from: End, body: &[u8]) {
        let port = u16::from_be_bytes([body[2], body[3]]);
        let number = |at: usize| u32::from_be_bytes([body[at], body[at + 1], body[at + 2], body[at + 3]]);
        let connection = self.connections.entry((port, from)).or_default();
        let (sequence, flags) = (number(4), body[13]);
        if flags & 4 != 0 {
            return;
        }
        if flags & 2 != 0 {
            connection.begins = Some(sequence);
        }
        let data = &body[usize::from(body[12] >> 4) * 4..];
        let Some(begins) = connection.begins else { panic!("a segment before its SYN") };
        let first = sequence.wrapping_sub(begins).wrapping_sub(1);
        // A window is asked for with a byte that the guest has already.
        if data == [0] && flags & 1 == 0 {
            return;
        }
        for (i, byte) in data.iter().enumerate() {
            let number = first.wrapping_add(i as u32);
            assert!(*byte == down(number), "another byte than the world sent");
        }
        connection.theirs =
            sequence.wrapping_add(data.len() as u32 + u32::from(flags & 1) + u32::from(flags >> 1 & 1));
    }

    fn world(&mut self, r: &mut Reader<'_>) {
        let (which, what, n) = (usize::from(r.u8()), r.u8(), r.u16());
        let pipes: Vec<_> = {
            let world = self.fake.world();
            world.pipes.iter().filter(|pipe| !pipe.lock().expect("one thread").dropped).cloned().collect()
        };
        let Some(pipe) = pipes.get(which % pipes.len().max(1)) else { return };
        let mut pipe = pipe.lock().expect("one thread");
        match what % 8 {
            0 | 1 => pipe.connects = Some(true),
            2 => pipe.connects = Some(false),
            3 => pipe.offered += u32::from(n),
            4 => pipe.room += usize::from(n),
            5 => pipe.ended = true,
            6 => pipe.broken = true,
            _ => {}
        }
        if what & 8 != 0 && pipe.listens {
            pipe.calls = pipe.calls.saturating_add(1).min(4);
        }
        if what & 16 != 0 && pipe.inbox.len() < 3 {
            let from = match (what & 32, n & 3) {
                (0, 2) => SocketAddr::from((Ipv4Addr::new(127, 0, 0, 53), 53)),
                (0, low) => {
                    SocketAddr::from((OTHERS[usize::from(what >> 6)], [80, 0, 53, 53][usize::from(low)]))
                }
                _ => SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 1999)),
            };
            pipe.inbox.push((vec![0; usize::from(n)], from));
        }
    }
}

/// A guest that sends anything through a translation with small tables, and a world that does anything.
pub fn nat(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut r = Reader(&bytes);
    let setup = r.u8();
    let mut config = NatConfig::new(Ipv4Addr::new(192, 168, 131, 0), 24).expect("a network");
    config.limits = LIMITS;
    config.allow_host = setup & 1 != 0;
    config.seed = u64::from(setup);
    config.forwards = ["tcp:2222:22", "udp:5353:2000"].map(|text| text.parse().expect("a forward")).to_vec();
    let fake = Fake::default();
    fake.world().allow_host = config.allow_host;
    if setup & 2 != 0 {
        fake.world().resolvers =
            vec!["127.0.0.53:53".parse().expect("one"), "[2001:db8::1]:53".parse().expect("two")];
    }
    let nat = Nat::new(config, fake.clone()).expect("two free ports");
    let mut lab = Lab { nat, fake, out: Outbox::new(), now: 0, connections: BTreeMap::new() };
    for _ in 0..300 {
        if r.is_empty() {
            break;
        }
        match r.u8() % 12 {
            0..=4 => {
                let frame = lab.segment(&mut r);
                lab.hand_in(&frame);
            }
            5 => {
                let frame = lab.datagram(&mut r);
                lab.hand_in(&frame);
            }
            6 => {
                let frame = lab.ping(&mut r);
                lab.hand_in(&frame);
            }
            7 | 8 => {
                lab.world(&mut r);
            }
            9 => lab.now += u64::from(r.u16()) * 100_000,
            10 => {
                // A good datagram or ping with a byte of its headers changed, its sums as they fall.
                let mut frame = if r.u8() & 1 == 0 { lab.datagram(&mut r) } else { lab.ping(&mut r) };
                let (at, value) = (usize::from(r.u8()), r.u8());
                if let Some(byte) = frame.get_mut(at) {
                    *byte = value;
                }
                if frame.len() >= 34 {
                    frame[24..26].fill(0);
                    let total = sum(&frame[14..34]);
                    put_sum(&mut frame, 24, total);
                }
                lab.hand_in(&frame);
            }
            _ => {
                let len = usize::from(r.u16()) % 2000;
                let kind = r.u8();
                let mut frame = r.take(len).to_vec();
                if kind & 1 != 0 && frame.len() >= 14 {
                    frame[..6].copy_from_slice(&lab.nat.mac().0);
                    frame[12..14].copy_from_slice(&[8, if kind & 2 != 0 { 6 } else { 0 }]);
                }
                lab.fake.world().poor = kind & 4 != 0;
                lab.hand_in(&frame);
            }
        }
        let now = VmInstant::from_nanos(lab.now);
        lab.nat.poll(now, &mut lab.out);
        lab.look();
        assert!(lab.nat.next_deadline().is_some_and(|at| at > now && at.since(now) <= 5_000_000));
    }
    // Left alone, everything ends by itself.
    for _ in 0..64 {
        lab.now += 1_000_000_000;
        lab.nat.poll(VmInstant::from_nanos(lab.now), &mut lab.out);
        lab.look();
    }
    assert_eq!(lab.nat.in_use(), (0, 0, 0));
}
