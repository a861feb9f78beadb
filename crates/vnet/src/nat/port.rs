//! A card's own gateway, with a thread that waits for the host's sockets.

use super::config::{NatConfig, NatError, NatEvent, NatStats};
use super::engine::{Nat, SocketId};
use super::os::OsHost;
use crate::spec::NatSpec;
use crate::station::{Outbox, Station};
use crate::threaded::{Frames, HostPort, Outside};
use crate::{Arc, Mutex, lock};
use rustix::event::{PollFd, PollFlags};
use slotone_bus::VmInstant;
use slotone_net::{NetPort, Sent, Waker};
use std::hash::{BuildHasher, Hasher};
use std::time::{Duration, Instant};

/// Frames that are made before the card's side gets them.
const BATCH: usize = 32;

/// A port behind which are a gateway and the host's sockets. Its network is its own: one card, or a switch behind it. Dropping it ends its thread and every
/// connection.
///
/// Time is the host's here: what comes from outside comes when it comes, and such a run cannot be repeated.
#[derive(Debug)]
pub struct NatPort {
    port: HostPort,
    stats: Arc<Mutex<NatStats>>,
}

/// Opens what a command line says. `tell` is called from the port's thread with what the machine's owner should know.
///
/// # Errors
/// [`NatError`]: the network is none, or a forward's port cannot be had.
pub fn open_nat(spec: &NatSpec, tell: impl FnMut(NatEvent) + Send + 'static) -> Result<NatPort, NatError> {
    let mut config = NatConfig::from_spec(spec)?;
    // Hashers are seeded by the system's random numbers.
    config.seed = std::hash::RandomState::new().build_hasher().finish();
    if let Some(dhcp) = &mut config.dhcp {
        // Nobody else is on the network of one card.
        dhcp.probe = false;
    }
    NatPort::new(Nat::new(config, OsHost::default())?, tell)
}

impl NatPort {
    /// Gives a gateway a thread. `tell` is called from it with what the machine's owner should know.
    ///
    /// # Errors
    /// [`NatError::Thread`]: the host gives no more of something.
    pub fn new(
        mut nat: Nat<OsHost>,
        mut tell: impl FnMut(NatEvent) + Send + 'static,
    ) -> Result<Self, NatError> {
        let stats = Arc::new(Mutex::new(nat.stats()));
        let theirs = stats.clone();
        let body = move |outside: &Outside| serve(outside, &mut nat, &theirs, &mut tell);
        let port = HostPort::spawn("nat", true, body).map_err(NatError::Thread)?;
        Ok(Self { port, stats })
    }

    /// What it did so far.
    pub fn stats(&self) -> NatStats {
        *lock(&self.stats)
    }

    /// [`NatPort::stats`] for one who has given the port away.
    pub fn watch(&self) -> impl Fn() -> NatStats + Send + 'static {
        let stats = self.stats.clone();
        move || *lock(&stats)
    }
}

fn serve(outside: &Outside, nat: &mut Nat<OsHost>, stats: &Mutex<NatStats>, tell: &mut dyn FnMut(NatEvent)) {
    let begun = Instant::now();
    let now = || VmInstant::from_nanos(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut out = Outbox::new();
    let (mut frames, mut fresh) = (Frames::default(), Frames::default());
    let mut ids: Vec<SocketId> = Vec::new();
    // Gives the card the frames that were made, after what is to be counted with them; answers whether there is room for more.
    let mut publish = |nat: &Nat<OsHost>, out: &mut Outbox| {
        let counted = nat.stats();
        *lock(stats) = NatStats { dropped: counted.dropped + outside.stats().lost, ..counted };
        while let Some(frame) = out.pop() {
            fresh.push(&frame);
        }
        outside.give(&mut fresh)
    };
    while !outside.stopped() {
        let more = outside.take(&mut frames);
        while let Some(frame) = frames.front() {
            nat.frame(now(), frame, &mut out);
            frames.pop();
            if out.len() >= BATCH {
                publish(nat, &mut out);
            }
        }
        let mut room = publish(nat, &mut out);
        if room && nat.next_tick().is_some_and(|at| at <= now()) {
            nat.tick(now(), &mut out);
            room = publish(nat, &mut out);
        }
        nat.events().into_iter().for_each(&mut *tell);
        let mut wait = u64::MAX;
        if more {
            wait = 0;
        } else if let Some(at) = nat.next_tick().filter(|_| room) {
            wait = at.since(now());
        }
        ids.clear();
        let ready: Vec<SocketId> = {
            let mut fds = Vec::new();
            if room {
                for (id, socket, wants) in nat.sockets() {
                    let read = if wants.read { PollFlags::IN } else { PollFlags::empty() };
                    let write = if wants.write { PollFlags::OUT } else { PollFlags::empty() };
                    ids.push(id);
                    fds.push(PollFd::new(socket, read | write));
                }
            }
            fds.push(outside.bell());
            if outside.poll(&mut fds, Some(Duration::from_nanos(wait))).is_err() {
                continue;
            }
            let ready = fds.iter().zip(&ids).filter(|(fd, _)| !fd.revents().is_empty());
            ready.map(|(_, id)| *id).collect()
        };
        for id in ready {
            nat.ready(now(), id, &mut out);
            if !publish(nat, &mut out) {
                break;
            }
        }
    }
}

impl NetPort for NatPort {
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent {
        self.port.send(now, frame)
    }

    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        self.port.receive(now, take)
    }

    fn link(&self) -> bool {
        self.port.link()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.port.set_waker(waker);
    }
}
