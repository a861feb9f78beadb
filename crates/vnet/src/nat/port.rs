//! A card's own gateway, with a thread that waits for the host's sockets.

use super::config::{NatConfig, NatError, NatEvent, NatStats};
use super::engine::{Nat, SocketId};
use super::os::OsHost;
use crate::spec::NatSpec;
use crate::station::{Outbox, Station};
use crate::{Arc, Mutex, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slotone_bus::VmInstant;
use slotone_net::{NetPort, Sent, Waker};
use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Instant;

/// Frames in each queue at most. What is for the guest then waits in its connections.
const LIMIT: usize = 1024;
/// Frames of the guest that are taken in one go.
const BATCH: usize = 256;

#[derive(Default)]
struct State {
    to_guest: VecDeque<Vec<u8>>,
    from_guest: VecDeque<Vec<u8>>,
    /// Buffers that go round.
    spare: Vec<Vec<u8>>,
    waker: Option<Waker>,
    stop: bool,
    /// The thread has ended, as it should or not.
    ended: bool,
    /// A frame was refused; the card is called when there is room.
    refused: bool,
    /// The thread waits until the card has taken frames.
    paused: bool,
    /// The thread is about to look at the queues: no bell is needed.
    awake: bool,
    stats: NatStats,
}

struct Shared {
    state: Mutex<State>,
    bell: UnixStream,
}

impl Shared {
    fn ring(&self) {
        // A bell that is full rings already.
        let _ = (&self.bell).write(&[1]);
    }
}

/// A port behind which are a gateway and the host's sockets. Its network is its own: one card, or a switch behind it. Dropping it ends its thread and every
/// connection.
///
/// Time is the host's here: what comes from outside comes when it comes, and such a run cannot be repeated.
pub struct NatPort {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl std::fmt::Debug for NatPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NatPort").field("stats", &self.stats()).finish_non_exhaustive()
    }
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
        let open = || -> std::io::Result<(UnixStream, UnixStream)> {
            let (near, far) = UnixStream::pair()?;
            near.set_nonblocking(true)?;
            far.set_nonblocking(true)?;
            Ok((near, far))
        };
        let (near, far) = open().map_err(NatError::Thread)?;
        let shared = Arc::new(Shared { state: Mutex::default(), bell: near });
        let theirs = End(shared.clone());
        let body = move || serve(&theirs.0, &far, &mut nat, &mut tell);
        let thread = std::thread::Builder::new().name("vnet nat".into()).spawn(body);
        Ok(Self { shared, thread: Some(thread.map_err(NatError::Thread)?) })
    }

    /// What it did so far.
    pub fn stats(&self) -> NatStats {
        lock(&self.shared.state).stats
    }
}

/// The thread's hold on what is shared: when the thread ends, however it does, the cable is out.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        state.ended = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }
}

/// Gives the frames that were made to the card's side; answers how much room is left.
fn publish(shared: &Shared, out: &mut Outbox, stats: NatStats) -> usize {
    let mut state = lock(&shared.state);
    state.stats = stats;
    let first = state.to_guest.is_empty() && !out.is_empty();
    while let Some(frame) = out.pop() {
        state.to_guest.push_back(frame);
    }
    let room = LIMIT.saturating_sub(state.to_guest.len());
    state.paused = room == 0;
    let waker = if first { state.waker.clone() } else { None };
    drop(state);
    if let Some(waker) = waker {
        waker();
    }
    room
}

fn serve(shared: &Shared, bell: &UnixStream, nat: &mut Nat<OsHost>, tell: &mut dyn FnMut(NatEvent)) {
    let begun = Instant::now();
    let now = || VmInstant::from_nanos(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
    let mut out = Outbox::new();
    let mut batch: Vec<Vec<u8>> = Vec::new();
    let mut ids: Vec<SocketId> = Vec::new();
    loop {
        let more = {
            let mut state = lock(&shared.state);
            if state.stop {
                return;
            }
            state.spare.append(&mut batch);
            state.spare.truncate(BATCH);
            let n = state.from_guest.len().min(BATCH);
            batch.extend(state.from_guest.drain(..n));
            let more = !state.from_guest.is_empty();
            // From here on a frame that comes to the empty queue rings.
            state.awake = more;
            let waker = if state.refused && state.from_guest.len() <= LIMIT / 2 {
                state.refused = false;
                state.waker.clone()
            } else {
                None
            };
            drop(state);
            if let Some(waker) = waker {
                waker();
            }
            more
        };
        let mut room = publish(shared, &mut out, nat.stats());
        for frame in &batch {
            nat.frame(now(), frame, &mut out);
            if !out.is_empty() {
                room = publish(shared, &mut out, nat.stats());
            }
        }
        if room > 0 && nat.next_tick().is_some_and(|at| at <= now()) {
            nat.tick(now(), &mut out);
            room = publish(shared, &mut out, nat.stats());
        }
        nat.events().into_iter().for_each(&mut *tell);
        let mut wait = u64::MAX;
        if more {
            wait = 0;
        } else if let Some(at) = nat.next_tick().filter(|_| room > 0) {
            wait = at.since(now());
        }
        let limit = Timespec {
            tv_sec: (wait / 1_000_000_000).min(3600) as i64,
            tv_nsec: (wait % 1_000_000_000) as i64,
        };
        ids.clear();
        let ready: Vec<SocketId> = {
            let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
            if room > 0 {
                for (id, socket, wants) in nat.sockets() {
                    let read = if wants.read { PollFlags::IN } else { PollFlags::empty() };
                    let write = if wants.write { PollFlags::OUT } else { PollFlags::empty() };
                    ids.push(id);
                    fds.push(PollFd::new(socket, read | write));
                }
            }
            if poll(&mut fds, Some(&limit)).is_err() {
                continue;
            }
            if !fds[0].revents().is_empty() {
                let mut rest = [0; 64];
                let mut bell = bell;
                while matches!(bell.read(&mut rest), Ok(64)) {}
            }
            let ready = fds[1..].iter().zip(&ids).filter(|(fd, _)| !fd.revents().is_empty());
            ready.map(|(_, id)| *id).collect()
        };
        lock(&shared.state).awake = true;
        for id in ready {
            nat.ready(now(), id, &mut out);
            room = publish(shared, &mut out, nat.stats());
            if room == 0 {
                break;
            }
        }
    }
}

impl NetPort for NatPort {
    fn send(&mut self, _: VmInstant, frame: &[u8]) -> Sent {
        let mut state = lock(&self.shared.state);
        if state.ended {
            return Sent::Taken;
        }
        if state.from_guest.len() >= LIMIT {
            state.refused = true;
            return Sent::Full;
        }
        let mut buffer = state.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.extend_from_slice(frame);
        let ring = state.from_guest.is_empty() && !state.awake;
        state.from_guest.push_back(buffer);
        drop(state);
        if ring {
            self.shared.ring();
        }
        Sent::Taken
    }

    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        let mut state = lock(&self.shared.state);
        let Some(frame) = state.to_guest.pop_front() else { return false };
        let resume = state.paused && state.to_guest.len() <= LIMIT / 2;
        if resume {
            state.paused = false;
        }
        drop(state);
        if resume {
            self.shared.ring();
        }
        take(&frame);
        true
    }

    fn link(&self) -> bool {
        !lock(&self.shared.state).ended
    }

    fn set_waker(&mut self, waker: Waker) {
        let mut state = lock(&self.shared.state);
        state.waker = Some(waker.clone());
        let waiting = !state.to_guest.is_empty();
        drop(state);
        if waiting {
            waker();
        }
    }
}

impl Drop for NatPort {
    fn drop(&mut self) {
        {
            let mut state = lock(&self.shared.state);
            state.stop = true;
            state.waker = None;
        }
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}
