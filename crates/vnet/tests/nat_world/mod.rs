//! A world outside that is made up, and frames of guests by hand.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use slotone_net::MacAddress;
use slotone_vnet::nat::{Host, HostSocket, Nat};
use slotone_vnet::station::Station;
use std::collections::VecDeque;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

/// How a connection that is begun goes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Answer {
    #[default]
    Accepts,
    Refuses,
    Hangs,
    /// It cannot even be begun.
    Errs,
}

/// The world's end of a socket.
#[derive(Debug, Default)]
pub struct Pipe {
    pub answer: Answer,
    pub from_guest: Vec<u8>,
    pub to_guest: VecDeque<u8>,
    /// The world has no more bytes than those.
    pub ended: bool,
    pub guest_ended: bool,
    pub broken: bool,
    pub reset: bool,
    pub dropped: bool,
    pub inbox: VecDeque<(Vec<u8>, SocketAddr)>,
    pub sent: Vec<(Vec<u8>, SocketAddr)>,
    pub calls: VecDeque<Arc<Mutex<Pipe>>>,
}

pub type Shared = Arc<Mutex<Pipe>>;

#[derive(Debug, Default)]
struct Everything {
    answer: Answer,
    takes: Option<usize>,
    no_echo: bool,
    own: Vec<Ipv4Addr>,
    connects: Vec<SocketAddr>,
    reached: Vec<SocketAddr>,
    bound: Vec<SocketAddr>,
    streams: Vec<Shared>,
    sockets: Vec<Shared>,
    listeners: Vec<Shared>,
}

/// What the host reaches.
#[derive(Debug, Clone, Default)]
pub struct World(Arc<Mutex<Everything>>);

#[derive(Debug, Default)]
pub struct FakeHost(pub World);

#[derive(Debug)]
pub struct FakeSocket {
    pipe: Shared,
    world: World,
}

impl World {
    pub fn answer(&self, answer: Answer) {
        self.0.lock().unwrap().answer = answer;
    }
    /// How many bytes every stream takes altogether.
    pub fn takes(&self, takes: Option<usize>) {
        self.0.lock().unwrap().takes = takes;
    }
    pub fn no_echo(&self, no: bool) {
        self.0.lock().unwrap().no_echo = no;
    }
    pub fn own(&self, address: Ipv4Addr) {
        self.0.lock().unwrap().own.push(address);
    }
    pub fn connects(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap().connects.clone()
    }
    /// Whom connections, datagrams and pings went to.
    pub fn reached(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap().reached.clone()
    }
    pub fn bound(&self) -> Vec<SocketAddr> {
        self.0.lock().unwrap().bound.clone()
    }
    pub fn stream(&self, i: usize) -> Shared {
        self.0.lock().unwrap().streams[i].clone()
    }
    pub fn streams(&self) -> usize {
        self.0.lock().unwrap().streams.len()
    }
    /// A socket for datagrams or pings, in the order they were opened; those of forwards come first.
    pub fn datagrams(&self, i: usize) -> Shared {
        self.0.lock().unwrap().sockets[i].clone()
    }
    pub fn sockets(&self) -> usize {
        self.0.lock().unwrap().sockets.len()
    }
    /// Sockets that were not dropped, listeners left out.
    pub fn open(&self) -> usize {
        let everything = self.0.lock().unwrap();
        everything
            .streams
            .iter()
            .chain(&everything.sockets)
            .filter(|pipe| !pipe.lock().unwrap().dropped)
            .count()
    }
    /// Somebody comes by a forward.
    pub fn call(&self, listener: usize) -> Shared {
        let call = Shared::default();
        let everything = self.0.lock().unwrap();
        everything.listeners[listener].lock().unwrap().calls.push_back(call.clone());
        call
    }
}

impl FakeHost {
    fn socket(&self, pipe: &Shared) -> FakeSocket {
        FakeSocket { pipe: pipe.clone(), world: self.0.clone() }
    }
}

impl Host for FakeHost {
    type Socket = FakeSocket;

    fn connect(&mut self, to: SocketAddr) -> io::Result<FakeSocket> {
        let mut world = self.0.0.lock().unwrap();
        world.connects.push(to);
        world.reached.push(to);
        if world.answer == Answer::Errs {
            return Err(io::ErrorKind::Other.into());
        }
        let pipe = Arc::new(Mutex::new(Pipe { answer: world.answer, ..Pipe::default() }));
        world.streams.push(pipe.clone());
        drop(world);
        Ok(self.socket(&pipe))
    }

    fn listen(&mut self, at: SocketAddr) -> io::Result<FakeSocket> {
        let pipe = Shared::default();
        let mut world = self.0.0.lock().unwrap();
        world.bound.push(at);
        world.listeners.push(pipe.clone());
        drop(world);
        Ok(self.socket(&pipe))
    }

    fn datagrams(&mut self, at: SocketAddr) -> io::Result<FakeSocket> {
        let pipe = Shared::default();
        let mut world = self.0.0.lock().unwrap();
        if at.port() != 0 {
            world.bound.push(at);
        }
        world.sockets.push(pipe.clone());
        drop(world);
        Ok(self.socket(&pipe))
    }

    fn echo(&mut self) -> io::Result<FakeSocket> {
        if self.0.0.lock().unwrap().no_echo {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        self.datagrams(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)))
    }

    fn is_own(&mut self, address: Ipv4Addr) -> bool {
        address.is_loopback() || self.0.0.lock().unwrap().own.contains(&address)
    }

    fn resolvers(&mut self) -> Vec<SocketAddr> {
        Vec::new()
    }
}

const NOTHING: io::ErrorKind = io::ErrorKind::WouldBlock;

impl HostSocket for FakeSocket {
    fn connected(&mut self) -> io::Result<bool> {
        match self.pipe.lock().unwrap().answer {
            Answer::Accepts => Ok(true),
            Answer::Hangs => Ok(false),
            _ => Err(io::ErrorKind::ConnectionRefused.into()),
        }
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut pipe = self.pipe.lock().unwrap();
        if pipe.broken {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        let n = into.len().min(pipe.to_guest.len());
        if n == 0 && !pipe.ended {
            return Err(NOTHING.into());
        }
        for (to, from) in into.iter_mut().zip(pipe.to_guest.drain(..n)) {
            *to = from;
        }
        Ok(n)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let takes = self.world.0.lock().unwrap().takes;
        let mut pipe = self.pipe.lock().unwrap();
        assert!(!pipe.guest_ended, "bytes behind the end");
        let room = takes.map_or(usize::MAX, |n| n.saturating_sub(pipe.from_guest.len()));
        let n = from.len().min(room);
        pipe.from_guest.extend_from_slice(&from[..n]);
        if n == 0 { Err(NOTHING.into()) } else { Ok(n) }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.pipe.lock().unwrap().guest_ended = true;
        Ok(())
    }

    fn reset(&mut self) {
        self.pipe.lock().unwrap().reset = true;
    }

    fn send_to(&mut self, data: &[u8], to: SocketAddr) -> io::Result<()> {
        self.world.0.lock().unwrap().reached.push(to);
        self.pipe.lock().unwrap().sent.push((data.to_vec(), to));
        Ok(())
    }

    fn receive_from(&mut self, into: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (data, from) = self.pipe.lock().unwrap().inbox.pop_front().ok_or(NOTHING)?;
        let n = data.len().min(into.len());
        into[..n].copy_from_slice(&data[..n]);
        Ok((n, from))
    }

    fn accept(&mut self) -> io::Result<Self> {
        let call = self.pipe.lock().unwrap().calls.pop_front().ok_or(NOTHING)?;
        Ok(Self { pipe: call, world: self.world.clone() })
    }
}

impl Drop for FakeSocket {
    fn drop(&mut self) {
        self.pipe.lock().unwrap().dropped = true;
    }
}

/// The Internet checksum's sum, not inverted.
pub fn sum(data: &[u8]) -> u16 {
    let mut total = 0u32;
    for pair in data.chunks(2) {
        total += u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from);
    }
    while total > 0xffff {
        total = (total & 0xffff) + (total >> 16);
    }
    total as u16
}

type End = (Ipv4Addr, u16);

fn packet(
    nat: &Nat<FakeHost>,
    from: MacAddress,
    ends: (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    body: &[u8],
) -> Vec<u8> {
    let mut frame = nat.mac().0.to_vec();
    frame.extend_from_slice(&from.0);
    frame.extend_from_slice(&[8, 0, 0x45, 0]);
    frame.extend_from_slice(&(20 + body.len() as u16).to_be_bytes());
    frame.extend_from_slice(&[0, 0, 0, 0, 64, protocol, 0, 0]);
    frame.extend_from_slice(&ends.0.octets());
    frame.extend_from_slice(&ends.1.octets());
    let checksum = !sum(&frame[14..34]);
    frame[24..26].copy_from_slice(&checksum.to_be_bytes());
    frame.extend_from_slice(body);
    frame
}

fn with_sum(ends: (Ipv4Addr, Ipv4Addr), protocol: u8, at: usize, body: &mut [u8]) {
    let len = (body.len() as u16).to_be_bytes();
    let pseudo = [&ends.0.octets()[..], &ends.1.octets(), &[0, protocol], &len, body].concat();
    let checksum = !sum(&pseudo);
    body[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
}

pub fn udp(nat: &Nat<FakeHost>, from: End, mac: MacAddress, to: End, data: &[u8]) -> Vec<u8> {
    let len = 8 + data.len() as u16;
    let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes(), len.to_be_bytes(), [0, 0]].concat();
    body.extend_from_slice(data);
    with_sum((from.0, to.0), 17, 6, &mut body);
    packet(nat, mac, (from.0, to.0), 17, &body)
}

pub fn ping(
    nat: &Nat<FakeHost>,
    from: Ipv4Addr,
    mac: MacAddress,
    to: Ipv4Addr,
    id: u16,
    data: &[u8],
) -> Vec<u8> {
    let mut body = [[8, 0], [0, 0], id.to_be_bytes(), [0, 1]].concat();
    body.extend_from_slice(data);
    let checksum = !sum(&body);
    body[2..4].copy_from_slice(&checksum.to_be_bytes());
    packet(nat, mac, (from, to), 1, &body)
}

#[allow(clippy::too_many_arguments, reason = "a segment has many parts")]
pub fn any_segment(
    nat: &Nat<FakeHost>,
    from: End,
    mac: MacAddress,
    to: End,
    flags: u8,
    (sequence, acknowledged): (u32, u32),
    data: &[u8],
    options: usize,
) -> Vec<u8> {
    // The first bytes of the data are options as well: what they say is anybody's guess.
    let options = options.min(data.len()) & !3;
    let (options, data) = data.split_at(options);
    let mut body = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
    body.extend_from_slice(&sequence.to_be_bytes());
    body.extend_from_slice(&acknowledged.to_be_bytes());
    body.extend_from_slice(&[((5 + options.len() / 4) as u8) << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    body.extend_from_slice(options);
    body.extend_from_slice(data);
    with_sum((from.0, to.0), 6, 16, &mut body);
    packet(nat, mac, (from.0, to.0), 6, &body)
}

/// The same segment with another window.
pub fn with_window(mut frame: Vec<u8>, window: u16) -> Vec<u8> {
    let end = |at: usize| Ipv4Addr::new(frame[at], frame[at + 1], frame[at + 2], frame[at + 3]);
    let ends = (end(26), end(30));
    frame[48..50].copy_from_slice(&window.to_be_bytes());
    frame[50..52].fill(0);
    with_sum(ends, 6, 16, &mut frame[34..]);
    frame
}

pub fn segment(
    nat: &Nat<FakeHost>,
    from: End,
    mac: MacAddress,
    to: End,
    flags: u8,
    sequence: u32,
    data: &[u8],
) -> Vec<u8> {
    any_segment(nat, from, mac, to, flags, (sequence, 0), data, 0)
}

pub fn syn(nat: &Nat<FakeHost>, from: End, mac: MacAddress, to: End) -> Vec<u8> {
    segment(nat, from, mac, to, 2, 1, b"")
}

/// One frame of every kind that might reach somebody.
pub fn probes(nat: &Nat<FakeHost>, from: Ipv4Addr, mac: MacAddress, to: Ipv4Addr) -> Vec<Vec<u8>> {
    vec![
        syn(nat, (from, 2000), mac, (to, 80)),
        udp(nat, (from, 2000), mac, (to, 80), b"data"),
        ping(nat, from, mac, to, 9, b"data"),
        segment(nat, (from, 2001), mac, (to, 80), 0x10, 9, b"data"),
    ]
}
