//! Frames as a capture file that tcpdump and Wireshark read (libpcap's format, nanosecond stamps, link type Ethernet).
//!
//! Stamps are virtual time, from an epoch of the owner's choice: the instant at which the machine's clock was started, for instance.

use crate::{Arc, Mutex, lock};
use slotone_bus::VmInstant;
use slotone_net::{MAX_FRAME, NetPort, Sent, Waker};
use std::io::{self, Write};

/// Nanosecond stamps in the writer's byte order, here always little-endian.
const MAGIC: u32 = 0xa1b2_3c4d;
const LINK_ETHERNET: u32 = 1;
const SECOND: u64 = 1_000_000_000;

/// Writes frames to a capture file. After an error nothing more is written, and the error is kept for [`Writer::finish`].
///
/// ```
/// use slotone_bus::VmInstant;
/// use slotone_vnet::pcap::Writer;
/// let mut file = Vec::new();
/// let mut writer = Writer::new(&mut file, 1_000_000_000);
/// writer.write(VmInstant::from_nanos(1_500_000_000), &[0xff; 60]);
/// writer.finish()?;
/// assert_eq!(file.len(), 24 + 16 + 60);
/// assert_eq!(file[24..32], [1, 202, 154, 59, 0, 101, 205, 29]); // second 1,000,000,001 and half
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Writer<W: Write> {
    out: W,
    epoch: u64,
    error: Option<io::Error>,
    /// No stamp is before the one of the frame before it, though ports may have clocks of their own.
    last: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file. `epoch`: the second of Unix time that is virtual time zero.
    pub fn new(out: W, epoch: u64) -> Self {
        let mut writer = Self { out, epoch, error: None, last: 0 };
        let mut header = [0; 24];
        header[..4].copy_from_slice(&MAGIC.to_le_bytes());
        header[4..6].copy_from_slice(&2u16.to_le_bytes());
        header[6..8].copy_from_slice(&4u16.to_le_bytes());
        header[16..20].copy_from_slice(&(MAX_FRAME as u32).to_le_bytes());
        header[20..].copy_from_slice(&LINK_ETHERNET.to_le_bytes());
        writer.put(&[&header]);
        writer
    }

    fn put(&mut self, parts: &[&[u8]]) {
        if self.error.is_none() {
            self.error = parts.iter().try_for_each(|part| self.out.write_all(part)).err();
        }
    }

    /// Adds a frame; what is longer than [`MAX_FRAME`] is cut, and the file says so.
    pub fn write(&mut self, now: VmInstant, frame: &[u8]) {
        self.last = self.last.max(now.as_nanos());
        let seconds = self.epoch.wrapping_add(self.last / SECOND) as u32;
        let cut = &frame[..frame.len().min(MAX_FRAME)];
        let mut header = [0; 16];
        header[..4].copy_from_slice(&seconds.to_le_bytes());
        header[4..8].copy_from_slice(&((self.last % SECOND) as u32).to_le_bytes());
        header[8..12].copy_from_slice(&(cut.len() as u32).to_le_bytes());
        header[12..].copy_from_slice(&(frame.len() as u32).to_le_bytes());
        self.put(&[&header, cut]);
    }

    /// Brings everything to where it is written to.
    ///
    /// # Errors
    /// The first error since the last call.
    pub fn flush(&mut self) -> io::Result<()> {
        match self.error.take() {
            Some(error) => Err(error),
            None => self.out.flush(),
        }
    }

    /// Ends the file.
    ///
    /// # Errors
    /// The first error since [`Writer::flush`]: the file is not complete.
    pub fn finish(mut self) -> io::Result<()> {
        self.flush()
    }
}

#[cfg(feature = "switch")]
impl<W: Write + Send> crate::switch::FrameSink for Writer<W> {
    fn frame(&mut self, now: VmInstant, frame: &[u8]) {
        self.write(now, frame);
    }
}

/// A port whose frames are captured, both ways. The writer is shared, so that several ports may write one file and the owner can ask for
/// errors.
#[derive(Debug)]
pub struct Captured<P, W: Write> {
    port: P,
    writer: Arc<Mutex<Writer<W>>>,
}

impl<P: NetPort, W: Write + Send> Captured<P, W> {
    /// Captures what passes at `port`.
    pub fn new(port: P, writer: Arc<Mutex<Writer<W>>>) -> Self {
        Self { port, writer }
    }
}

impl<P: NetPort, W: Write + Send> NetPort for Captured<P, W> {
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent {
        let sent = self.port.send(now, frame);
        // A frame that was not taken comes again.
        if sent == Sent::Taken {
            lock(&self.writer).write(now, frame);
        }
        sent
    }

    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        let writer = &self.writer;
        self.port.receive(now, &mut |frame| {
            lock(writer).write(now, frame);
            take(frame);
        })
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        self.port.next_deadline()
    }

    fn link(&self) -> bool {
        self.port.link()
    }

    fn set_waker(&mut self, waker: Waker) {
        self.port.set_waker(waker);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes so many bytes and no more.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, data: &[u8]) -> io::Result<usize> {
            if self.0 < data.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            self.0 -= data.len();
            Ok(data.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_full_disk_is_said_at_the_end() {
        let mut writer = Writer::new(Disk(24 + 76), 0);
        writer.write(VmInstant::ZERO, &[0; 60]);
        assert!(writer.flush().is_ok());
        writer.write(VmInstant::ZERO, &[0; 60]);
        assert_eq!(writer.finish().unwrap_err().kind(), io::ErrorKind::StorageFull);
    }

    #[test]
    fn long_frames_are_cut_and_stamps_do_not_go_back() {
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, 0);
        writer.write(VmInstant::from_nanos(5), &[1; MAX_FRAME + 1]);
        writer.write(VmInstant::from_nanos(3), &[]);
        drop(writer);
        let word = |at: usize| u32::from_le_bytes(file[at..at + 4].try_into().unwrap());
        assert_eq!((word(28), word(32), word(36)), (5, MAX_FRAME as u32, MAX_FRAME as u32 + 1));
        let second = 24 + 16 + MAX_FRAME;
        assert_eq!((word(second + 4), word(second + 8), word(second + 12)), (5, 0, 0));
    }
}
