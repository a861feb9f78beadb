//! A port over a link: a stream, a TAP interface or a packet socket.

#[cfg(any(feature = "tap", feature = "external", test))]
use crate::threaded::HostPort;
use crate::threaded::{Frames, Outside};
use rustix::event::{PollFd, PollFlags};
use std::io;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

/// A link that takes nothing for so long loses what is sent, as a wire does, until it takes again: a card that cannot send at all would be thought broken.
const PATIENCE: Duration = Duration::from_secs(2);

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
pub(super) fn serve(outside: &Outside, link: &mut dyn Link) -> io::Result<()> {
    let mut out = Frames::default();
    let result = carry(outside, link, &mut out);
    outside.put_back(out);
    result
}

fn carry(outside: &Outside, link: &mut dyn Link, out: &mut Frames) -> io::Result<()> {
    let mut fresh = Frames::default();
    let mut blocked_at = None;
    while !outside.stopped() {
        let mut blocked = false;
        while !blocked && (!out.is_empty() || outside.take(out)) {
            while let Some(frame) = out.front() {
                match link.write(frame) {
                    Ok(true) => outside.sent(),
                    Ok(false) => {
                        blocked = true;
                        break;
                    }
                    Err(error) => {
                        out.pop();
                        outside.lost(1);
                        return Err(error);
                    }
                }
                out.pop();
            }
        }
        blocked |= !link.flush()?;
        let mut limit = None;
        if !blocked {
            blocked_at = None;
        } else if blocked_at.get_or_insert_with(Instant::now).elapsed() < PATIENCE {
            limit = Some(PATIENCE);
        } else {
            while !out.is_empty() || outside.take(out) {
                outside.lost(out.len());
                out.clear();
            }
        }
        let mut flags = if blocked { PollFlags::OUT } else { PollFlags::empty() };
        if outside.give(&mut fresh) {
            flags |= PollFlags::IN;
        }
        let mut fds = [PollFd::from_borrowed_fd(link.fd(), flags), outside.bell()];
        outside.poll(&mut fds, limit)?;
        if fds[0].revents().intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR | PollFlags::NVAL) {
            let result = link.read(&mut |frame| fresh.push(frame));
            outside.give(&mut fresh);
            result?;
        }
    }
    Ok(())
}

#[cfg(any(feature = "tap", feature = "external", test))]
impl HostPort {
    /// A port over a link that is there from the beginning and whose end is the end.
    pub(super) fn over(name: &str, mut link: impl Link + 'static) -> io::Result<Self> {
        Self::spawn(name, true, move |outside| {
            if let Err(error) = serve(outside, &mut link) {
                outside.set_link(false, Some(error.to_string()));
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::threaded::LIMIT;
    use crate::{Arc, Mutex, lock};
    use slotone_bus::VmInstant;
    use slotone_net::{NetPort, Sent};
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

    #[test]
    fn a_link_that_takes_nothing_for_long_does_not_stop_the_card() {
        use std::os::unix::net::UnixDatagram;
        let (near, far) = UnixDatagram::pair().unwrap();
        near.set_nonblocking(true).unwrap();
        let mut port = HostPort::over("test", Wire(near)).unwrap();
        let begun = Instant::now();
        while port.stats().lost == 0 {
            assert!(begun.elapsed() < PATIENCE * 10, "the card waits");
            if port.send(VmInstant::ZERO, &[0; 4]) == Sent::Full {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        assert!(begun.elapsed() >= PATIENCE);
        // It takes again: what comes is what was sent last.
        let mut frame = [0; 4];
        far.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        loop {
            assert_eq!(far.recv(&mut frame).unwrap(), 4);
            port.send(VmInstant::ZERO, &(u32::MAX).to_le_bytes());
            if u32::from_le_bytes(frame) == u32::MAX {
                break;
            }
        }
    }
}
