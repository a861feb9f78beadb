//! A TCP connection: smoltcp towards the guest, a socket of the host towards the world.

use super::config::{Limits, NatStats};
use super::host::{HostSocket, later};
use super::stack::Stack;
use crate::guard;
use crate::station::Outbox;
use slotone_bus::VmInstant;
use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Duration;
use smoltcp::wire::IpListenEndpoint;
use std::io;
use std::net::Ipv4Addr;

/// How often one call goes round between the two sides.
const ROUNDS: usize = 16;
/// A connection whose guest takes nothing for so long is asked about its window (nanoseconds).
const QUIET: u64 = 5_000_000_000;

/// An end of a connection or datagram.
pub(super) type Endpoint = (Ipv4Addr, u16);

/// A connection as the guest sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowKey {
    pub(super) guest: Endpoint,
    pub(super) remote: Endpoint,
}

enum Stage {
    /// The host connects; the guest's SYN waits for how it goes.
    Connecting(Vec<u8>),
    /// smoltcp has a connection, or begins one.
    Open(SocketHandle),
}

pub(super) struct Flow<S> {
    host: S,
    stage: Stage,
    set: SocketSet<'static>,
    /// The host has no more bytes.
    host_ended: bool,
    /// The host was told that the guest has no more bytes.
    guest_ended: bool,
    /// Broken: what the guest is told is on its way.
    broken: bool,
    /// The host takes no more now.
    host_full: bool,
    /// The guest has agreed to the connection.
    stood: bool,
    /// Where the window ends that the guest was told last.
    edge: Option<u32>,
    began: VmInstant,
    pub(super) last: VmInstant,
    pub(super) deadline: VmInstant,
}

/// What is to become of a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Goes,
    /// It is over.
    Over,
    /// It never stood.
    Failed,
    /// It was silent too long.
    Late,
}

fn buffers(limits: &Limits) -> Socket<'static> {
    let mut socket = Socket::new(
        SocketBuffer::new(vec![0; limits.to_host.clamp(1, guard::LARGEST_WINDOW)]),
        SocketBuffer::new(vec![0; limits.to_guest.max(1)]),
    );
    // Who wrote the bytes has joined them already, or did not want to.
    socket.set_nagle_enabled(false);
    socket
}

impl<S: HostSocket> Flow<S> {
    fn new(host: S, stage: Stage, set: SocketSet<'static>, now: VmInstant) -> Self {
        Self {
            host,
            stage,
            set,
            host_ended: false,
            guest_ended: false,
            broken: false,
            host_full: false,
            stood: false,
            edge: None,
            began: now,
            last: now,
            deadline: now,
        }
    }

    /// A guest wants a connection; `syn` is its IP packet.
    pub(super) fn from_guest(host: S, syn: &[u8], now: VmInstant) -> Self {
        Self::new(host, Stage::Connecting(syn.to_vec()), SocketSet::new(Vec::new()), now)
    }

    /// A connection that came in, to be made to the guest.
    pub(super) fn to_guest(
        host: S,
        key: FlowKey,
        stack: &mut Stack,
        limits: &Limits,
        now: VmInstant,
    ) -> Option<Self> {
        let mut socket = buffers(limits);
        socket.connect(stack.context(), key.guest, key.remote).ok()?;
        let mut set = SocketSet::new(Vec::with_capacity(1));
        let handle = set.add(socket);
        Some(Self::new(host, Stage::Open(handle), set, now))
    }

    pub(super) fn socket(&self) -> &S {
        &self.host
    }

    fn state(&self) -> State {
        match &self.stage {
            Stage::Connecting(_) => State::Listen,
            Stage::Open(handle) => self.set.get::<Socket<'_>>(*handle).state(),
        }
    }

    /// Both sides have ended; it stays only in case the guest did not hear the last word.
    pub(super) fn is_lingering(&self) -> bool {
        self.state() == State::TimeWait
    }

    /// Whether the host's socket is to be looked at: for bytes, for room.
    pub(super) fn wants(&self) -> (bool, bool) {
        match &self.stage {
            Stage::Connecting(_) => (false, true),
            Stage::Open(handle) => {
                let socket = self.set.get::<Socket<'_>>(*handle);
                (!self.host_ended && !self.broken && socket.can_send(), self.host_full && !self.broken)
            }
        }
    }

    /// Breaks the connection on both sides.
    pub(super) fn give_up(&mut self, now: VmInstant, stack: &mut Stack, out: &mut Outbox) {
        self.host.reset();
        match &self.stage {
            // Nobody listens: the SYN is answered with RST.
            Stage::Connecting(syn) => stack.poll(now, Some(syn), &mut self.set, out),
            Stage::Open(handle) => {
                self.set.get_mut::<Socket<'_>>(*handle).abort();
                stack.poll(now, None, &mut self.set, out);
            }
        }
    }

    fn poll(&mut self, now: VmInstant, packet: Option<&[u8]>, stack: &mut Stack, out: &mut Outbox) {
        stack.poll(now, packet, &mut self.set, out);
        self.edge = stack.edge().or(self.edge);
    }

    /// A packet came from the guest.
    pub(super) fn packet(
        &mut self,
        now: VmInstant,
        packet: &[u8],
        stack: &mut Stack,
        limits: &Limits,
        stats: &mut NatStats,
        out: &mut Outbox,
    ) -> Fate {
        if let Stage::Open(_) = self.stage {
            self.last = now;
            // What a guest sends behind its end smoltcp would take; a host must not see it.
            let edge = self.edge.filter(|_| !has_ended(self.state()));
            let packet = guard::fit(packet, edge);
            self.poll(now, Some(&packet), stack, out);
            // Bytes that the guest waits for are under way already; look at the host only if it has said so.
            return self.carry(now, false, stack, limits, stats, out);
        }
        // A SYN that is sent again is still waited for; anything else means that the guest has given up.
        match packet.get(usize::from(packet[0] & 15) * 4 + 13) {
            Some(flags) if flags & 0x17 == 2 => Fate::Goes,
            _ => {
                self.host.reset();
                Fate::Failed
            }
        }
    }

    /// Carries what there is to carry; `readable`: the host's socket has something to say.
    pub(super) fn carry(
        &mut self,
        now: VmInstant,
        readable: bool,
        stack: &mut Stack,
        limits: &Limits,
        stats: &mut NatStats,
        out: &mut Outbox,
    ) -> Fate {
        if let Stage::Connecting(syn) = &self.stage {
            let stands = match self.host.connected() {
                Ok(true) => true,
                Ok(false) if now.since(self.began) < limits.connect => {
                    self.deadline = self.began + limits.connect;
                    return Fate::Goes;
                }
                _ => false,
            };
            let (address, port) = match (stands, ports(syn)) {
                (true, Some(to)) => to,
                _ => {
                    self.give_up(now, stack, out);
                    return Fate::Failed;
                }
            };
            let mut socket = buffers(limits);
            let listening = socket.listen(IpListenEndpoint { addr: Some(address.into()), port });
            let handle = self.set.add(socket);
            let syn = guard::fit(syn, None).into_owned();
            self.stage = Stage::Open(handle);
            (self.began, self.last) = (now, now);
            if listening.is_ok() {
                self.poll(now, Some(&syn), stack, out);
            }
        }
        let Stage::Open(handle) = self.stage else { return Fate::Goes };
        for _ in 0..ROUNDS {
            let moved = self.carry_out(handle, now, stats) | self.carry_in(handle, now, readable, stats);
            self.poll(now, None, stack, out);
            if !moved || self.broken || !stack.has_room(out) {
                break;
            }
        }
        self.judge(handle, now, stack, limits, out)
    }

    /// Asks for the guest's window now and then while bytes wait for it: the guest's word that it has opened may have been lost, and smoltcp
    /// does not ask by itself.
    fn probe(&mut self, handle: SocketHandle, now: VmInstant) -> Option<VmInstant> {
        let socket = self.set.get_mut::<Socket<'_>>(handle);
        let waits = socket.send_queue() > 0 && socket.may_send();
        let quiet = self.last + QUIET;
        let probes = waits && quiet <= now;
        if probes != socket.keep_alive().is_some() {
            // The first one goes at once.
            socket.set_keep_alive(probes.then_some(Duration::from_micros(QUIET / 1000)));
        }
        (waits && !probes).then_some(quiet)
    }

    /// Whether it goes on, and until when it may be silent.
    fn judge(
        &mut self,
        handle: SocketHandle,
        now: VmInstant,
        stack: &mut Stack,
        limits: &Limits,
        out: &mut Outbox,
    ) -> Fate {
        let socket = self.set.get::<Socket<'_>>(handle);
        let unsaid = socket.remote_endpoint().is_some();
        self.stood |=
            !matches!(socket.state(), State::Closed | State::Listen | State::SynSent | State::SynReceived);
        match socket.state() {
            // A closed socket that has an endpoint has still to send RST.
            State::Closed if unsaid => {}
            // The guest ended everything and the host has not taken all of it yet.
            State::Closed if self.host_ended && socket.can_recv() && !self.broken => {}
            State::Closed | State::Listen => {
                if !(self.host_ended && self.guest_ended) {
                    self.host.reset();
                }
                return if self.stood { Fate::Over } else { Fate::Failed };
            }
            _ => {}
        }
        let ending = self.host_ended || self.guest_ended || self.broken || !socket.may_send();
        let silent = match (self.stood, ending) {
            (false, _) => self.began + limits.connect,
            (true, true) => self.last + limits.closing,
            (true, false) => self.last + limits.idle,
        };
        if silent <= now {
            self.give_up(now, stack, out);
            return Fate::Late;
        }
        let quiet = self.probe(handle, now).unwrap_or(silent);
        let at = stack.deadline(now, &self.set).unwrap_or(silent);
        self.deadline = at.min(silent).min(quiet);
        Fate::Goes
    }

    fn fail(&mut self, handle: SocketHandle) {
        self.broken = true;
        self.host.reset();
        self.set.get_mut::<Socket<'_>>(handle).abort();
    }

    fn carry_out(&mut self, handle: SocketHandle, now: VmInstant, stats: &mut NatStats) -> bool {
        let mut moved = false;
        self.host_full = false;
        while !self.broken {
            let socket = self.set.get_mut::<Socket<'_>>(handle);
            if !socket.can_recv() {
                // Only now has the host every byte that came before the end.
                let over = has_ended(socket.state()) || (socket.state() == State::Closed && self.host_ended);
                if over && !self.guest_ended {
                    self.guest_ended = true;
                    moved = true;
                    // A host that is gone says so when it is read.
                    let _ = self.host.finish();
                }
                break;
            }
            let host = &mut self.host;
            let result: Result<io::Result<usize>, _> = socket.recv(|data| match host.write(data) {
                Ok(n) => (n.min(data.len()), Ok(n)),
                Err(error) => (0, Err(error)),
            });
            match result {
                Ok(Ok(n @ 1..)) => {
                    moved = true;
                    self.last = now;
                    stats.to_host += n as u64;
                }
                Ok(Ok(0)) => {
                    self.host_full = true;
                    break;
                }
                Ok(Err(error)) if later(&error) => {
                    self.host_full = true;
                    break;
                }
                _ => {
                    self.fail(handle);
                    break;
                }
            }
        }
        moved
    }

    fn carry_in(
        &mut self,
        handle: SocketHandle,
        now: VmInstant,
        readable: bool,
        stats: &mut NatStats,
    ) -> bool {
        let mut moved = false;
        while readable && !self.broken && !self.host_ended {
            let socket = self.set.get_mut::<Socket<'_>>(handle);
            if !socket.can_send() {
                break;
            }
            let host = &mut self.host;
            let result: Result<io::Result<usize>, _> = socket.send(|room| match host.read(room) {
                Ok(n) => (n.min(room.len()), Ok(n)),
                Err(error) => (0, Err(error)),
            });
            match result {
                Ok(Ok(0)) => {
                    self.host_ended = true;
                    moved = true;
                    self.last = now;
                    self.set.get_mut::<Socket<'_>>(handle).close();
                }
                Ok(Ok(n)) => {
                    moved = true;
                    self.last = now;
                    stats.to_guest += n as u64;
                }
                Ok(Err(error)) if later(&error) => break,
                _ => {
                    self.fail(handle);
                    break;
                }
            }
        }
        moved
    }
}

/// The guest has sent its end.
fn has_ended(state: State) -> bool {
    matches!(state, State::CloseWait | State::LastAck | State::Closing | State::TimeWait)
}

/// Where a SYN goes.
fn ports(syn: &[u8]) -> Option<Endpoint> {
    let header = usize::from(syn.first()? & 15) * 4;
    Some((crate::wire::ip_at(syn, 16)?, crate::wire::be16(syn, header + 2)?))
}
