//! A port with a thread: two bounded queues and a bell.
//!
//! What a frame costs the card's side is little: queues are handed over whole, one behind the other in one buffer, so that no frame has an
//! allocation or a lock of its own on its way in; the bell, which is a system call, rings only for a thread that sleeps.

use crate::{Arc, Mutex, lock};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use slotone_bus::VmInstant;
use slotone_net::{NetPort, Sent, Waker};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Frames in each queue at most, and as many in the hands of who empties it. What comes from outside then waits outside.
const LIMIT: usize = 1024;

/// Frames in the order they came, in one piece of memory.
#[derive(Debug, Default)]
struct Frames {
    bytes: Vec<u8>,
    /// Where each frame ends.
    ends: Vec<usize>,
    /// The first that was not taken.
    next: usize,
}

impl Frames {
    fn len(&self) -> usize {
        self.ends.len() - self.next
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
        self.ends.push(self.bytes.len());
    }

    fn front(&self) -> Option<&[u8]> {
        let end = *self.ends.get(self.next)?;
        let start = self.next.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.bytes[start..end])
    }

    fn pop(&mut self) {
        self.next += 1;
        if self.next >= self.ends.len() {
            self.bytes.clear();
            self.ends.clear();
            self.next = 0;
        }
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
    /// Frames that the outside would not take, and were lost.
    pub lost: u64,
}

#[derive(Default)]
struct State {
    incoming: Frames,
    outgoing: Frames,
    waker: Option<Waker>,
    stop: bool,
    /// The thread waits for the bell before it looks at `outgoing`.
    asleep: bool,
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
    /// There is a network. Changed with the lock held.
    link: AtomicBool,
    /// There is something in [`State::incoming`]. Changed with the lock held.
    waiting: AtomicBool,
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

impl Shared {
    fn ring(&self) {
        // A bell that is full rings already.
        let _ = rustix::io::write(&self.bell, &1u64.to_ne_bytes());
    }

    pub(super) fn stopped(&self) -> bool {
        lock(&self.state).stop
    }

    /// Says whether there is a network, and what is wrong if not.
    pub(super) fn set_link(&self, up: bool, trouble: Option<String>) {
        let mut state = lock(&self.state);
        let changed = self.link.swap(up, Ordering::SeqCst) != up;
        state.trouble = trouble;
        let waker = state.waker.clone().filter(|_| changed);
        drop(state);
        if let Some(waker) = waker {
            waker();
        }
    }
}

/// The thread's end of the bell.
pub(super) struct Bell(OwnedFd);

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
        while matches!(rustix::io::read(&self.0, &mut rest), Ok(64)) {}
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
    let mut out = Frames::default();
    let result = carry(shared, bell, link, &mut out);
    // What was not sent waits for the next link.
    let mut state = lock(&shared.state);
    out.append(&mut state.outgoing);
    state.outgoing = out;
    state.asleep = false;
    result
}

fn carry(shared: &Shared, bell: &Bell, link: &mut dyn Link, out: &mut Frames) -> io::Result<()> {
    let mut fresh = Frames::default();
    loop {
        let mut blocked = false;
        let mut sent = 0;
        loop {
            let Some(frame) = out.front() else {
                let mut state = lock(&shared.state);
                state.asleep = false;
                std::mem::swap(out, &mut state.outgoing);
                if out.is_empty() {
                    break;
                }
                continue;
            };
            match link.write(frame) {
                Ok(true) => {
                    sent += 1;
                    out.pop();
                }
                Ok(false) => {
                    blocked = true;
                    break;
                }
                Err(error) => {
                    out.pop();
                    let mut state = lock(&shared.state);
                    state.stats.sent += sent;
                    state.stats.lost += 1;
                    return Err(error);
                }
            }
        }
        blocked |= !link.flush()?;
        let mut flags = if blocked { PollFlags::OUT } else { PollFlags::empty() };
        {
            let mut state = lock(&shared.state);
            state.stats.sent += sent;
            if state.stop {
                return Ok(());
            }
            if !blocked && !state.outgoing.is_empty() {
                continue;
            }
            // A link that is blocked says itself when there is room again.
            state.asleep = !blocked;
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
            let result = link.read(&mut |frame| fresh.push(frame));
            if !fresh.is_empty() {
                let mut state = lock(&shared.state);
                let waker = if state.incoming.is_empty() { state.waker.clone() } else { None };
                state.stats.received += fresh.len() as u64;
                state.incoming.append(&mut fresh);
                shared.waiting.store(true, Ordering::SeqCst);
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
    /// What was taken out of the queue and not given to the card.
    taken: Frames,
    thread: Option<JoinHandle<()>>,
}

impl HostPort {
    pub(super) fn spawn(name: &str, body: impl FnOnce(&Shared, &Bell) + Send + 'static) -> io::Result<Self> {
        let (near, far) = bell()?;
        let shared = Arc::new(Shared {
            state: Mutex::default(),
            link: AtomicBool::new(false),
            waiting: AtomicBool::new(false),
            bell: near,
        });
        let theirs = shared.clone();
        let thread = std::thread::Builder::new()
            .name(format!("vnet {name}"))
            .spawn(move || body(&theirs, &Bell(far)))?;
        Ok(Self { shared, taken: Frames::default(), thread: Some(thread) })
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
        if !self.shared.link.load(Ordering::SeqCst) {
            state.stats.lost += 1;
            return Sent::Taken;
        }
        if state.outgoing.len() >= LIMIT {
            state.refused = true;
            return Sent::Full;
        }
        state.outgoing.push(frame);
        let asleep = std::mem::take(&mut state.asleep);
        drop(state);
        if asleep {
            self.shared.ring();
        }
        Sent::Taken
    }

    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        if self.taken.is_empty() {
            if !self.shared.waiting.load(Ordering::SeqCst) {
                return false;
            }
            let mut state = lock(&self.shared.state);
            std::mem::swap(&mut self.taken, &mut state.incoming);
            self.shared.waiting.store(false, Ordering::SeqCst);
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
        self.shared.link.load(Ordering::SeqCst)
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

    /// A pair of sockets that hold a few frames.
    struct Wire(std::os::unix::net::UnixDatagram);

    impl Link for Wire {
        fn fd(&self) -> BorrowedFd<'_> {
            use std::os::fd::AsFd;
            self.0.as_fd()
        }
        fn read(&mut self, take: &mut dyn FnMut(&[u8])) -> io::Result<()> {
            let mut frame = [0; 2000];
            while let Ok(n) = self.0.recv(&mut frame) {
                take(&frame[..n]);
            }
            Ok(())
        }
        fn write(&mut self, frame: &[u8]) -> io::Result<bool> {
            match self.0.send(frame) {
                Ok(_) => Ok(true),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
                Err(error) => Err(error),
            }
        }
    }

    #[test]
    fn every_frame_goes_both_ways_in_order_past_every_limit() {
        use std::os::unix::net::UnixDatagram;
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut port = HostPort::over("test", Wire(near)).unwrap();
        let woken = Arc::new((Mutex::new(false), std::sync::Condvar::new()));
        let bell = Arc::clone(&woken);
        port.set_waker(Arc::new(move || {
            *lock(&bell.0) = true;
            bell.1.notify_all();
        }));
        let wait = || {
            let (woken, _) =
                woken.1.wait_timeout_while(lock(&woken.0), Duration::from_secs(20), |w| !*w).unwrap();
            assert!(*woken, "nobody calls");
            let mut woken = woken;
            *woken = false;
        };
        const N: u32 = 5_000;
        // Out: the far end takes nothing until the queues are full.
        let mut sent = 0u32;
        while port.send(VmInstant::ZERO, &sent.to_le_bytes()) == Sent::Taken {
            sent += 1;
        }
        assert!(sent as usize >= LIMIT && sent < N);
        let reader = std::thread::spawn(move || {
            for n in 0..N {
                let mut frame = [0; 4];
                assert_eq!(far.recv(&mut frame).unwrap(), 4);
                assert_eq!(u32::from_le_bytes(frame), n);
            }
            for n in 0..N {
                far.send(&n.to_le_bytes()).unwrap();
            }
            far
        });
        while sent < N {
            match port.send(VmInstant::ZERO, &sent.to_le_bytes()) {
                Sent::Taken => sent += 1,
                Sent::Full => wait(),
            }
        }
        // In: nothing is taken until the queues are full.
        std::thread::sleep(Duration::from_millis(50));
        let mut got = 0;
        while got < N {
            if !port.receive(VmInstant::ZERO, &mut |frame| assert_eq!(frame, got.to_le_bytes())) {
                wait();
                continue;
            }
            got += 1;
        }
        drop(reader.join().unwrap());
        let stats = port.stats();
        assert_eq!((stats.sent, stats.received, stats.lost), (N.into(), N.into(), 0));
    }
}
