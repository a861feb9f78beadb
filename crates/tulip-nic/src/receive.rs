//! The receive process (HRM, "receive process"), from the address filter to the closed descriptor.
//!
//! A frame goes into guest memory within one call, straight from the caller's bytes; only its padding and CRC are the chip's.

use slotone_bus::{Cx, DmaFault, VmInstant};
use slotone_net::{MAX_FRAME, Received};

use crate::device::{Link, Tulip};
use crate::dma;
use crate::registers::{csr0, csr5, csr6, csr8, csr15, rdes};
use crate::transmit::SHORTEST;

/// Descriptors that one frame may take. Only a list of empty buffers that rewrites itself has more.
const MOST_DESCRIPTORS: u32 = 1024;
/// Bytes with CRC above which the watchdog cuts a frame off.
const WATCHDOG: usize = 2048;
/// Longest frame with CRC that is not "too long".
const LONGEST: usize = 1518;
/// Nanoseconds between the first looks at the list of a suspended receiver, and the longest that they grow to.
const LOOK_FIRST: u32 = 50_000;
const LOOK_LAST: u32 = 6_400_000;

/// The receive process, RS in CSR5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// SR is clear.
    Stopped,
    /// The next descriptor is to be fetched, as soon as bus mastering is on.
    Fetch,
    /// The next descriptor was fetched and is the chip's.
    Wait,
    /// The next descriptor is the host's.
    Suspended,
}
slotone_bus::encode_enum!(Process { Stopped, Fetch, Wait, Suspended });

/// The receiver's state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Receiver {
    pub(crate) process: Process,
    /// Where the next descriptor is.
    pub(crate) next: u32,
    /// It, if it was fetched.
    descriptor: [u32; 4],
    /// When the list of a suspended receiver is looked at.
    pub(crate) again: Option<VmInstant>,
    /// How long after the last look, in nanoseconds.
    interval: u32,
}
slotone_bus::encode_fields!(Receiver { process, next, descriptor, again, interval });

impl Receiver {
    pub(crate) fn new() -> Self {
        Self { process: Process::Stopped, next: 0, descriptor: [0; 4], again: None, interval: LOOK_FIRST }
    }

    /// RS as CSR5 shows it.
    pub(crate) fn code(&self) -> u32 {
        match self.process {
            Process::Stopped => 0,
            Process::Fetch => 1,
            Process::Wait => 3,
            Process::Suspended => 4,
        }
    }

    /// Whether some machine can come to this.
    pub(crate) fn is_sound(&self) -> bool {
        let owned = self.process != Process::Wait || self.descriptor[0] & rdes::OWN != 0;
        self.next & 3 == 0 && owned && (LOOK_FIRST..=LOOK_LAST).contains(&self.interval)
    }
}

/// A frame on its way into buffers: the caller's bytes, then padding and CRC.
struct Incoming<'a> {
    body: &'a [u8],
    tail: &'a [u8],
}

impl Incoming<'_> {
    fn len(&self) -> usize {
        self.body.len() + self.tail.len()
    }

    /// Writes the next `size` bytes at most.
    fn write(
        &mut self,
        cx: &mut Cx<'_>,
        mut address: u32,
        mut size: usize,
        big: bool,
    ) -> Result<(), DmaFault> {
        for part in [&mut self.body, &mut self.tail] {
            let (now, later) = part.split_at(size.min(part.len()));
            if !now.is_empty() {
                dma::write_buffer(cx, address, now, big)?;
                address = address.wrapping_add(now.len() as u32);
                size -= now.len();
            }
            *part = later;
        }
        Ok(())
    }
}

impl Tulip {
    /// SR was set.
    pub(crate) fn start_receive(&mut self, cx: &mut Cx<'_>) {
        self.state.rx.process = Process::Fetch;
        self.look(cx);
    }

    /// SR was cleared: stops within the call; no frame is ever half received between calls.
    pub(crate) fn stop_receive(&mut self) {
        let rx = &mut self.state.rx;
        (rx.process, rx.again) = (Process::Stopped, None);
        self.raise(csr5::RPS);
    }

    /// Fetches the next descriptor if the receiver has none.
    pub(crate) fn look(&mut self, cx: &mut Cx<'_>) {
        if matches!(self.state.rx.process, Process::Fetch | Process::Suspended)
            && self.may_master()
            && let Err(fault) = self.fetch_receive(cx)
        {
            self.fatal(fault);
        }
        self.schedule_receive(cx.now());
    }

    /// A driver has served its interrupt, and may have given descriptors back without a word: frames that wait outside go on now, not
    /// at the next tick. (On the wire the next frame would have come and made the chip look.)
    pub(crate) fn look_again(&mut self, cx: &mut Cx<'_>) {
        if self.state.rx.process == Process::Suspended {
            self.look(cx);
        }
    }

    /// Sets when a suspended receiver wants a tick.
    pub(crate) fn schedule_receive(&mut self, now: VmInstant) {
        let waits = self.state.rx.process == Process::Suspended && self.may_master();
        let rx = &mut self.state.rx;
        rx.again = waits.then(|| now + u64::from(rx.interval));
    }

    /// The receiver's tick: looks at the list, less and less often.
    pub(crate) fn receive_tick(&mut self, cx: &mut Cx<'_>) {
        let rx = &mut self.state.rx;
        rx.interval = (rx.interval * 2).min(LOOK_LAST);
        self.look(cx);
    }

    fn fetch_receive(&mut self, cx: &mut Cx<'_>) -> Result<(), DmaFault> {
        let swap = self.state.csr0 & csr0::DBO != 0;
        let descriptor = dma::read_descriptor(cx, self.state.rx.next, swap)?;
        let rx = &mut self.state.rx;
        if descriptor[0] & rdes::OWN != 0 {
            (rx.process, rx.descriptor) = (Process::Wait, descriptor);
        } else if rx.process != Process::Suspended {
            (rx.process, rx.interval) = (Process::Suspended, LOOK_FIRST);
            self.raise(csr5::RU);
        }
        Ok(())
    }

    /// A frame from the network.
    pub(crate) fn receive_frame(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Received {
        if !matches!(self.link(), Link::Network | Link::External) {
            return Received::Filtered;
        }
        // What other hosts leave to their hardware, padding, may be missing.
        const ZEROS: [u8; SHORTEST] = [0; SHORTEST];
        self.accept(cx, frame, &ZEROS[..SHORTEST.saturating_sub(frame.len())], 0)
    }

    /// A frame of the chip's own transmitter.
    pub(crate) fn receive_looped(&mut self, cx: &mut Cx<'_>, frame: &[u8], data_type: u32) {
        self.accept(cx, frame, &[], data_type);
    }

    fn accept(&mut self, cx: &mut Cx<'_>, frame: &[u8], pad: &[u8], data_type: u32) -> Received {
        if self.state.rx.process == Process::Stopped || self.state.fatal {
            return Received::Filtered;
        }
        let len = frame.len() + pad.len() + 4;
        let mut to = [0; 6];
        let known = frame.len().min(6);
        to[..known].copy_from_slice(&frame[..known]);
        let csr6 = self.state.csr6;
        let passes = self.state.filter.passes(csr6, to);
        let runt = len < SHORTEST + 4;
        if !passes && csr6 & csr6::RA == 0 || runt && csr6 & csr6::PB == 0 {
            self.counters.rx_filtered += 1;
            return Received::Filtered;
        }
        let cut = if self.state.csr15 & csr15::RWD == 0 { WATCHDOG } else { MAX_FRAME + 4 };
        if len > cut {
            self.counters.rx_errors += 1;
            self.raise(csr5::RWT);
            return Received::Filtered;
        }
        if self.state.rx.process != Process::Wait {
            // A suspended receiver looks again when a frame comes: some drivers never demand a poll.
            self.look(cx);
        }
        if self.state.rx.process != Process::Wait || !self.may_master() {
            self.miss();
            return Received::Missed;
        }
        let mut status = data_type << rdes::DT_SHIFT | (len as u32) << rdes::FL_SHIFT;
        let set = |on: bool, bit: u32| if on { bit } else { 0 };
        let kind = frame.get(12..14).map_or(0, |t| u16::from_be_bytes([t[0], t[1]]));
        status |= set(!passes, rdes::FF) | set(to[0] & 1 != 0, rdes::MF) | set(kind > 1500, rdes::FT);
        status |= set(len > LONGEST, rdes::TL | rdes::ES) | set(runt, rdes::RF | rdes::ES);
        let mut tail = [0; SHORTEST + 4];
        let mut crc = crc32fast::Hasher::new();
        crc.update(frame);
        crc.update(pad);
        tail[pad.len()..pad.len() + 4].copy_from_slice(&crc.finalize().to_le_bytes());
        let incoming = Incoming { body: frame, tail: &tail[..pad.len() + 4] };
        if let Err(fault) = self.deliver(cx, incoming, status) {
            self.fatal(fault);
        }
        self.schedule_receive(cx.now());
        Received::Taken
    }

    /// Puts a frame into the buffers of one or more descriptors and closes them.
    fn deliver(&mut self, cx: &mut Cx<'_>, mut frame: Incoming<'_>, status: u32) -> Result<(), DmaFault> {
        let (swap, big) = (self.state.csr0 & csr0::DBO != 0, self.state.csr0 & csr0::BLE != 0);
        let skip = 16 + 4 * (self.state.csr0 >> csr0::DSL_SHIFT & csr0::DSL_MASK);
        let bytes = frame.len();
        let mut close = rdes::FS;
        for n in 1.. {
            let at = self.state.rx.next;
            let [_, rdes1, buffer1, buffer2] = self.state.rx.descriptor;
            let chained = rdes1 & rdes::RCH != 0;
            let size2 = if chained { 0 } else { rdes1 >> 11 & 0x7fc };
            for (buffer, size) in [(buffer1, rdes1 & 0x7fc), (buffer2, size2)] {
                frame.write(cx, buffer & !3, size as usize, big)?;
            }
            self.state.rx.next = if rdes1 & rdes::RER != 0 {
                self.state.csr3
            } else if chained {
                buffer2 & !3
            } else {
                at.wrapping_add(skip)
            };
            let done = frame.len() == 0;
            if !done && n < MOST_DESCRIPTORS {
                // The next one is acquired before this one is closed: its absence is reported here.
                self.fetch_receive(cx)?;
                if self.state.rx.process == Process::Wait {
                    dma::write_status(cx, at, close, swap)?;
                    close = 0;
                    continue;
                }
            }
            close |= rdes::LS | status;
            if done {
                self.counters.rx_frames += 1;
                self.counters.rx_bytes += bytes as u64 - 4;
            } else {
                close |= rdes::DE | rdes::ES;
                self.counters.rx_errors += 1;
            }
            dma::write_status(cx, at, close, swap)?;
            self.raise(csr5::RI);
            if self.state.rx.process == Process::Wait {
                self.state.rx.process = Process::Fetch;
                self.fetch_receive(cx)?;
            }
            break;
        }
        Ok(())
    }

    /// A wanted frame found no descriptor.
    fn miss(&mut self) {
        self.counters.rx_missed += 1;
        let count = (self.state.csr8 + 1) & 0xffff;
        let overflow = if count == 0 { csr8::MFO } else { self.state.csr8 & csr8::MFO };
        self.state.csr8 = count | overflow;
    }
}
