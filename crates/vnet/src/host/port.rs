//! A port with a thread: two bounded queues and a bell.

use crate::{Arc, Mutex, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slotone_bus::VmInstant;
use slotone_net::{NetPort, Sent, Waker};
use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;
use std::time::Duration;

/// Frames in each queue at most. What comes from outside then waits outside.
const LIMIT: usize = 1024;

/// Frames that a port has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// To the outside.
    pub sent: u64,
    /// From the outside.
    pub received: u64,
    /// Frames that the outside would not take, and were lost.
    pub lost: u64,
}

#[derive(Default)]
struct State {
    incoming: VecDeque<Vec<u8>>,
    outgoing: VecDeque<Vec<u8>>,
    waker: Option<Waker>,
    link: bool,
    stop: bool,
    /// A frame was refused; the card is called when there is room.
    refused: bool,
    /// The thread does not read because the queue is full.
    paused: bool,
    stats: PortStats,
    trouble: Option<String>,
}

/// What the card's side and the thread share.
pub(super) struct Shared {
    state: Mutex<State>,
    bell: UnixStream,
}

impl Shared {
    fn ring(&self) {
        // A bell that is full rings already.
        let _ = (&self.bell).write(&[1]);
    }

    pub(super) fn stopped(&self) -> bool {
        lock(&self.state).stop
    }

    /// Says whether there is a network, and what is wrong if not.
    pub(super) fn set_link(&self, up: bool, trouble: Option<String>) {
        let mut state = lock(&self.state);
        let changed = state.link != up;
        state.link = up;
        state.trouble = trouble;
        let waker = state.waker.clone().filter(|_| changed);
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }
}

/// The thread's end of the bell.
pub(super) struct Bell(UnixStream);

impl Bell {
    /// Waits until the bell rings or time is up.
    pub(super) fn wait(&self, time: Duration) {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let limit = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: i64::from(time.subsec_nanos()) };
        // Too early is no harm: the caller looks and comes back.
        let _ = poll(&mut fds, Some(&limit));
        self.clear();
    }

    fn clear(&self) {
        let mut rest = [0; 64];
        while matches!((&self.0).read(&mut rest), Ok(64)) {}
    }
}

/// A way out of the process that does not block.
pub(super) trait Link: Send {
    fn fd(&self) -> BorrowedFd<'_>;

    /// Gives the frames that are there, not too many at a time.
    fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()>;

    /// Takes a frame; `false`: not now.
    fn write(&mut self, frame: &[u8]) -> io::Result<bool>;

    /// Sends what was taken; `false`: not all of it yet.
    fn flush(&mut self) -> io::Result<bool> {
        Ok(true)
    }
}

/// Carries frames until the port is dropped (`Ok`) or the link ends.
pub(super) fn serve(shared: &Shared, bell: &Bell, link: &mut dyn Link) -> io::Result<()> {
    loop {
        let mut blocked = false;
        loop {
            let frame = lock(&shared.state).outgoing.pop_front();
            let Some(frame) = frame else { break };
            match link.write(&frame) {
                Ok(true) => lock(&shared.state).stats.sent += 1,
                Ok(false) => {
                    lock(&shared.state).outgoing.push_front(frame);
                    blocked = true;
                    break;
                }
                Err(error) => {
                    lock(&shared.state).stats.lost += 1;
                    return Err(error);
                }
            }
        }
        blocked |= !link.flush()?;
        let mut flags = if blocked { PollFlags::OUT } else { PollFlags::empty() };
        {
            let mut state = lock(&shared.state);
            if state.stop {
                return Ok(());
            }
            state.paused = state.incoming.len() >= LIMIT;
            if !state.paused {
                flags |= PollFlags::IN;
            }
            let waker = if state.refused && state.outgoing.len() <= LIMIT / 2 {
                state.refused = false;
                state.waker.clone()
            } else {
                None
            };
            drop(state);
            if let Some(waker) = waker {
                waker();
            }
        }
        let mut fds = [PollFd::from_borrowed_fd(link.fd(), flags), PollFd::new(&bell.0, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let (ready, rung) = (fds[0].revents(), fds[1].revents());
        if !rung.is_empty() {
            bell.clear();
        }
        let ended = ready.intersects(PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL);
        if ready.contains(PollFlags::IN) || ended {
            let mut fresh = Vec::new();
            let result = link.read(&mut |frame| fresh.push(frame.to_vec()));
            if !fresh.is_empty() {
                let mut state = lock(&shared.state);
                let waker = if state.incoming.is_empty() { state.waker.clone() } else { None };
                state.stats.received += fresh.len() as u64;
                state.incoming.extend(fresh);
                drop(state);
                if let Some(waker) = waker {
                    waker();
                }
            }
            result?;
        }
    }
}

/// A port whose network is outside the process. Dropping it ends its thread.
pub struct HostPort {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl HostPort {
    pub(super) fn spawn(name: &str, body: impl FnOnce(&Shared, &Bell) + Send + 'static) -> io::Result<Self> {
        let (near, far) = UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        let shared = Arc::new(Shared { state: Mutex::default(), bell: near });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("vnet {name}"))
            .spawn(move || body(&theirs, &Bell(far)))?;
        Ok(Self { shared, thread: Some(thread) })
    }

    /// A port over a link that is there from the beginning and whose end is the end.
    pub(super) fn over(name: &str, mut link: impl Link + 'static) -> io::Result<Self> {
        let port = Self::spawn(name, move |shared, bell| {
            if let Err(error) = serve(shared, bell, &mut link) {
                shared.set_link(false, Some(error.to_string()));
            }
        })?;
        port.shared.set_link(true, None);
        Ok(port)
    }

    /// What it has moved so far.
    pub fn stats(&self) -> PortStats {
        lock(&self.shared.state).stats
    }

    /// Why there is no link, if there is none or it is being looked for.
    pub fn trouble(&self) -> Option<String> {
        lock(&self.shared.state).trouble.clone()
    }
}

impl std::fmt::Debug for HostPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostPort").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl NetPort for HostPort {
    fn send(&mut self, _: VmInstant, frame: &[u8]) -> Sent {
        let mut state = lock(&self.shared.state);
        if !state.link {
            state.stats.lost += 1;
            return Sent::Taken;
        }
        if state.outgoing.len() >= LIMIT {
            state.refused = true;
            return Sent::Full;
        }
        let first = state.outgoing.is_empty();
        state.outgoing.push_back(frame.to_vec());
        drop(state);
        if first {
            self.shared.ring();
        }
        Sent::Taken
    }

    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        let mut state = lock(&self.shared.state);
        let Some(frame) = state.incoming.pop_front() else { return false };
        let resume = state.paused && state.incoming.len() <= LIMIT / 2;
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
        lock(&self.shared.state).link
    }

    fn set_waker(&mut self, waker: Waker) {
        let mut state = lock(&self.shared.state);
        state.waker = Some(waker.clone());
        let waiting = !state.incoming.is_empty();
        drop(state);
        if waiting {
            waker();
        }
    }
}

impl Drop for HostPort {
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
