//! A port with a thread: two bounded queues and a bell.
//!
//! What a frame costs the card's side is little: queues are handed over whole, one behind the other in one buffer, so that no frame has an
//! allocation or a lock of its own on its way in; the bell, which is a system call, rings only for a thread that sleeps.

use crate::{Arc, Mutex, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slotone_bus::VmInstant;
use slotone_net::{NetPort, Sent, Waker};
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Frames in each queue at most, and as many in the hands of who empties it. What comes from outside then waits outside.
pub(crate) const LIMIT: usize = 1024;

/// Frames in the order they came, in one piece of memory.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    bytes: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
    /// The first that was not taken.
    next: usize,
}

impl Frames {
    pub(crate) fn len(&self) -> usize {
        self.ends.len() - self.next
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn front(&self) -> Option<&[u8]> {
        let end = *self.ends.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    pub(crate) fn pop(&mut self) {
        self.next += 1;
        if self.next >= self.ends.len() {
            self.clear();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
        self.next = 0;
    }

    /// Moves all of `other` behind what is here.
    fn append(&mut self, other: &mut Self) {
        if self.is_empty() {
            std::mem::swap(self, other);
        }
        while let Some(frame) = other.front() {
            self.push(frame);
            other.pop();
        }
    }
}

/// Frames that a port has moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PortStats {
    /// To the outside.
    pub sent: u64,
    /// From the outside.
    pub received: u64,
    /// Frames that one side would not take, and were lost.
    pub lost: u64,
}

#[derive(Default)]
struct State {
    incoming: Frames,
    outgoing: Frames,
    waker: Option<Waker>,
    /// A frame was refused; the card is called when there is room.
    refused: bool,
    /// The thread gives no more frames because the queue is full.
    paused: bool,
    trouble: Option<String>,
}

/// What the card's side looks at all the time, on a line of the processor's cache that the thread seldom writes.
#[repr(align(128))]
#[derive(Default)]
struct Flags {
    /// There is a network. Changed with the lock held.
    link: AtomicBool,
    /// There is something in [`State::incoming`]. Changed with the lock held.
    waiting: AtomicBool,
}

struct Shared {
    flags: Flags,
    state: Mutex<State>,
    /// The thread waits for the bell before it looks at [`State::outgoing`]. Set with the lock held.
    asleep: AtomicBool,
    stop: AtomicBool,
    sent: AtomicU64,
    received: AtomicU64,
    lost: AtomicU64,
    bell: OwnedFd,
}

/// The two ends of a bell.
fn bell() -> io::Result<(OwnedFd, OwnedFd)> {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        use rustix::event::{EventfdFlags, eventfd};
        let near = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        let far = near.try_clone()?;
        Ok((near, far))
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    {
        let (near, far) = std::os::unix::net::UnixStream::pair()?;
        near.set_nonblocking(true)?;
        far.set_nonblocking(true)?;
        Ok((near.into(), far.into()))
    }
}

fn call(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker();
    }
}

impl Shared {
    fn ring(&self) {
        // A bell that is full rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    fn stats(&self) -> PortStats {
        let Self { sent, received, lost, .. } = self;
        PortStats {
            sent: sent.load(Ordering::Relaxed),
            received: received.load(Ordering::Relaxed),
            lost: lost.load(Ordering::Relaxed),
        }
    }

    fn set_link(&self, up: bool, trouble: impl FnOnce(&mut Option<String>)) {
        let mut state = lock(&self.state);
        let changed = self.flags.link.swap(up, Ordering::SeqCst) != up;
        trouble(&mut state.trouble);
        let waker = state.waker.clone().filter(|_| changed);
        drop(state);
        call(waker);
    }
}

/// The thread's side of a port. When the thread ends, however it does, the cable is out.
pub(crate) struct Outside {
    shared: Arc<Shared>,
    bell: OwnedFd,
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.shared.set_link(false, |_| {});
    }
}

impl Outside {
    /// The port was dropped: the thread is to end.
    pub(crate) fn stopped(&self) -> bool {
        self.shared.stop.load(Ordering::SeqCst)
    }

    /// What the port has moved so far.
    #[cfg(feature = "nat")]
    pub(crate) fn stats(&self) -> PortStats {
        self.shared.stats()
    }

    /// Takes all that the card has sent into `out`, which is empty. `false`: there was nothing, and the bell rings for what comes.
    pub(crate) fn take(&self, out: &mut Frames) -> bool {
        let mut state = lock(&self.shared.state);
        std::mem::swap(out, &mut state.outgoing);
        self.shared.asleep.store(out.is_empty(), Ordering::SeqCst);
        let waker = if std::mem::take(&mut state.refused) { state.waker.clone() } else { None };
        drop(state);
        call(waker);
        !out.is_empty()
    }

    /// Gives all of `fresh` to the card. `false`: no more for now, the bell rings when there is room; what comes nevertheless is lost at last.
    pub(crate) fn give(&self, fresh: &mut Frames) -> bool {
        let shared = &self.shared;
        let mut state = lock(&shared.state);
        let mut waker = None;
        if !fresh.is_empty() && state.incoming.len() < 2 * LIMIT {
            waker = state.waker.clone().filter(|_| state.incoming.is_empty());
            shared.received.fetch_add(fresh.len() as u64, Ordering::Relaxed);
            state.incoming.append(fresh);
            shared.flags.waiting.store(true, Ordering::SeqCst);
        }
        shared.lost.fetch_add(fresh.len() as u64, Ordering::Relaxed);
        fresh.clear();
        state.paused = state.incoming.len() >= LIMIT;
        let room = !state.paused;
        drop(state);
        call(waker);
        room
    }

    /// The bell, which [`Outside::poll`] wants to be the last.
    pub(crate) fn bell(&self) -> PollFd<'_> {
        PollFd::new(&self.bell, PollFlags::IN)
    }

    /// Waits for one of `fds`, or until time is up (an hour at most).
    pub(crate) fn poll(&self, fds: &mut [PollFd<'_>], limit: Option<Duration>) -> io::Result<()> {
        let limit = limit.map(|time| Timespec {
            tv_sec: time.as_secs().min(3600) as i64,
            tv_nsec: i64::from(time.subsec_nanos()),
        });
        match poll(fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // It looks at the queue before it sleeps again.
        self.shared.asleep.store(false, Ordering::SeqCst);
        if fds.last().is_some_and(|bell| !bell.revents().is_empty()) {
            let mut rest = [0; 64];
            while matches!(rustix::io::read(&self.bell, &mut rest), Ok(64)) {}
        }
        Ok(())
    }
}

/// What a thread over a link needs, which may come and go.
#[cfg(feature = "host")]
impl Outside {
    /// Says whether there is a network, and what is wrong if not.
    pub(crate) fn set_link(&self, up: bool, trouble: Option<String>) {
        self.shared.set_link(up, |was| *was = trouble);
    }

    /// What was taken and not sent, for the next link.
    pub(crate) fn put_back(&self, mut out: Frames) {
        let mut state = lock(&self.shared.state);
        out.append(&mut state.outgoing);
        state.outgoing = out;
        self.shared.asleep.store(false, Ordering::SeqCst);
    }

    /// A frame has left.
    pub(crate) fn sent(&self) {
        self.shared.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Frames were lost.
    pub(crate) fn lost(&self, frames: usize) {
        self.shared.lost.fetch_add(frames as u64, Ordering::Relaxed);
    }

    /// Waits until the bell rings or time is up.
    pub(crate) fn wait(&self, time: Duration) {
        // Too early is no harm: the caller looks and comes back.
        let _ = self.poll(&mut [self.bell()], Some(time));
    }
}

/// A port whose network is outside the process. Dropping it ends its thread.
pub struct HostPort {
    shared: Arc<Shared>,
    /// What was taken out of the queue and not given to the card.
    taken: Frames,
    thread: Option<JoinHandle<()>>,
}

impl HostPort {
    /// Starts the thread. `up`: there is a link from the beginning.
    pub(crate) fn spawn(
        name: &str,
        up: bool,
        body: impl FnOnce(&Outside) + Send + 'static,
    ) -> io::Result<Self> {
        let (near, far) = bell()?;
        let shared = Arc::new(Shared {
            flags: Flags { link: AtomicBool::new(up), waiting: AtomicBool::new(false) },
            state: Mutex::default(),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            received: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            bell: near,
        });
        let outside = Outside { shared: shared.clone(), bell: far };
        let thread =
            std::thread::Builder::new().name(format!("vnet {name}")).spawn(move || body(&outside))?;
        Ok(Self { shared, taken: Frames::default(), thread: Some(thread) })
    }

    /// What it has moved so far.
    pub fn stats(&self) -> PortStats {
        self.shared.stats()
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
        let shared = &*self.shared;
        if !self.link() {
            shared.lost.fetch_add(1, Ordering::Relaxed);
            return Sent::Taken;
        }
        let mut state = lock(&shared.state);
        if state.outgoing.len() >= LIMIT {
            state.refused = true;
            return Sent::Full;
        }
        state.outgoing.push(frame);
        drop(state);
        if shared.asleep.load(Ordering::SeqCst) && shared.asleep.swap(false, Ordering::SeqCst) {
            shared.ring();
        }
        Sent::Taken
    }

    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        if self.taken.is_empty() {
            let waiting = &self.shared.flags.waiting;
            if !waiting.load(Ordering::SeqCst) {
                return false;
            }
            let mut state = lock(&self.shared.state);
            std::mem::swap(&mut self.taken, &mut state.incoming);
            waiting.store(false, Ordering::SeqCst);
            let resume = std::mem::take(&mut state.paused);
            drop(state);
            if resume {
                self.shared.ring();
            }
        }
        let Some(frame) = self.taken.front() else { return false };
        take(frame);
        self.taken.pop();
        true
    }

    fn link(&self) -> bool {
        self.shared.flags.link.load(Ordering::SeqCst)
    }

    fn set_waker(&mut self, waker: Waker) {
        let mut state = lock(&self.shared.state);
        state.waker = Some(waker.clone());
        let waiting = !state.incoming.is_empty() || !self.taken.is_empty();
        drop(state);
        if waiting {
            waker();
        }
    }
}

impl Drop for HostPort {
    fn drop(&mut self) {
        lock(&self.shared.state).waker = None;
        self.shared.stop.store(true, Ordering::SeqCst);
        self.shared.ring();
        if let Some(thread) = self.thread.take() {
            // A thread that panicked has nothing left to say.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_keep_their_order_and_their_bytes() {
        let mut frames = Frames::default();
        let mut other = Frames::default();
        assert!(frames.front().is_none());
        for n in 0..5u8 {
            frames.push(&vec![n; usize::from(n)]);
            other.push(&[100 + n; 3]);
        }
        frames.pop();
        frames.pop();
        frames.append(&mut other);
        assert!(other.is_empty() && frames.len() == 8);
        let mut seen = Vec::new();
        while let Some(frame) = frames.front() {
            seen.push((frame.len(), frame.first().copied()));
            frames.pop();
        }
        let wanted = [(2, 2), (3, 3), (4, 4), (3, 100), (3, 101), (3, 102), (3, 103), (3, 104)];
        assert_eq!(seen, wanted.map(|(len, first)| (len, Some(first))));
        // An empty frame is one, and an empty queue takes another's place.
        other.push(&[]);
        frames.append(&mut other);
        assert_eq!((frames.len(), frames.front()), (1, Some(&[][..])));
    }

    #[test]
    fn what_nobody_takes_does_not_pile_up() {
        let (tell, told) = std::sync::mpsc::channel();
        let mut port = HostPort::spawn("test", true, move |outside| {
            let mut fresh = Frames::default();
            for n in 0..10 * LIMIT {
                fresh.push(&(n as u32).to_le_bytes());
                assert_eq!(outside.give(&mut fresh), n + 1 < LIMIT);
            }
            tell.send(()).unwrap();
        })
        .unwrap();
        told.recv().unwrap();
        let mut got = 0u32;
        while port.receive(VmInstant::ZERO, &mut |frame| assert_eq!(frame, got.to_le_bytes())) {
            got += 1;
        }
        let all = 10 * LIMIT as u64;
        assert_eq!(port.stats(), PortStats { sent: 0, received: got.into(), lost: all - u64::from(got) });
        assert_eq!(got as usize, 2 * LIMIT);
    }

    #[test]
    fn a_thread_that_ends_pulls_the_cable() {
        let (tell, told) = std::sync::mpsc::channel();
        let (end, ending) = std::sync::mpsc::channel::<()>();
        let mut port = HostPort::spawn("test", true, move |_| {
            let _ = ending.recv();
            panic!("a test's");
        })
        .unwrap();
        port.set_waker(Arc::new(move || tell.send(()).unwrap()));
        assert!(port.link());
        end.send(()).unwrap();
        told.recv_timeout(Duration::from_secs(20)).unwrap();
        assert!(!port.link());
        assert_eq!(port.send(VmInstant::ZERO, &[0; 60]), Sent::Taken);
        assert_eq!(port.stats().lost, 1);
    }
}
