//! The transmit process (HRM, "descriptor lists and data buffers", "transmit process").
//!
//! It gathers one frame at a time into [`Frame`], holds it until the network has taken it, closes the descriptor and goes on. No call
//! handles more than [`BURST`] descriptors: a list without end costs a little time at every tick, and never more.

use slotone_bus::{Cx, DmaFault, VmInstant};

use crate::device::{Link, Tulip};
use crate::dma;
use crate::filter::SETUP_LEN;
use crate::frame::Frame;
use crate::registers::{csr0, csr5, csr6, csr15, tdes};

/// Descriptors handled by one call before the rest waits for a tick.
pub(crate) const BURST: u32 = 64;
/// Nanoseconds until a list that was interrupted after [`BURST`] descriptors is gone on with.
const PAUSE: u64 = 50_000;
/// Nanoseconds until the machine is asked again to take a frame to the network.
const OFFER: u64 = 100_000;
/// Shortest frame that the transmitter sends, without its CRC, unless padding is disabled.
pub(crate) const SHORTEST: usize = 60;
/// A frame that is longer is jabber: with JCK set (2048 to 2560 bytes), and at the end of the buffer otherwise.
const JABBER: usize = 2560;

/// The transmit process, TS in CSR5.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Process {
    /// ST is clear.
    Stopped,
    /// The next descriptor is to be fetched: after [`BURST`] of them, or while bus mastering is off.
    Fetch,
    /// A frame waits for the network.
    Hold,
    /// The next descriptor is the host's.
    Suspended,
}
slotone_bus::encode_enum!(Process { Stopped, Fetch, Hold, Suspended });

/// The last descriptor of a held frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Last {
    /// Where it is.
    pub(crate) address: u32,
    /// Interrupt on completion.
    pub(crate) interrupt: bool,
}
slotone_bus::encode_fields!(Last { address, interrupt });

/// The transmitter's state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Transmitter {
    pub(crate) process: Process,
    /// The descriptor to be fetched next.
    pub(crate) next: u32,
    /// A first segment came, the last one did not.
    pub(crate) open: bool,
    /// Bytes that the segments have so far, also those behind the buffer's end.
    pub(crate) total: u32,
    /// What was gathered.
    pub(crate) frame: Frame,
    /// The frame is whole and waits for the network.
    pub(crate) held: bool,
    /// What is closed when the frame has left; nothing if a stop has closed it already.
    pub(crate) last: Option<Last>,
    /// When to go on: with the list, a poll, the offer of the frame, or a frame that no network takes.
    pub(crate) again: Option<VmInstant>,
}
slotone_bus::encode_fields!(Transmitter { process, next, open, total, frame, held, last, again });

impl Transmitter {
    pub(crate) fn new() -> Self {
        Self {
            process: Process::Stopped,
            next: 0,
            open: false,
            total: 0,
            frame: Frame::new(),
            held: false,
            last: None,
            again: None,
        }
    }

    /// TS as CSR5 shows it.
    pub(crate) fn code(&self) -> u32 {
        match self.process {
            Process::Stopped => 0,
            Process::Fetch => 1,
            Process::Hold => 2,
            Process::Suspended => 6,
        }
    }

    /// Whether some machine can come to this.
    pub(crate) fn is_sound(&self) -> bool {
        let hold = match self.process {
            Process::Hold => self.held,
            Process::Stopped => self.last.is_none() && !self.open,
            Process::Fetch | Process::Suspended => !self.held,
        };
        let last = self.last.is_none() || self.held;
        let open = !self.open || (!self.held && self.frame.len() as u64 <= u64::from(self.total));
        hold && last && open && self.next & 3 == 0 && self.last.is_none_or(|l| l.address & 3 == 0)
    }
}

/// Nanoseconds between two automatic polls (CSR0 TAP) of a suspended transmitter.
fn poll_interval(csr0: u32, csr6: u32) -> Option<u64> {
    // At 10 Mbit/s through MII; a tenth of it at 100, a quarter for 10BASE-T.
    let slow = match csr0 >> csr0::TAP_SHIFT & csr0::TAP_MASK {
        0 => return None,
        1 => 800_000,
        2 => 3_200_000,
        3 => 6_400_000,
        n => 51_200 << (n - 4),
    };
    Some(match (csr6 & csr6::PS != 0, csr6 & csr6::TTM != 0) {
        (true, true) => slow,
        (true, false) => slow / 10,
        (false, _) => slow / 4,
    })
}

impl Tulip {
    /// ST was set.
    pub(crate) fn start_transmit(&mut self, cx: &mut Cx<'_>) {
        let tx = &mut self.state.tx;
        tx.process = if tx.held { Process::Hold } else { Process::Fetch };
        self.transmit(cx);
    }

    /// ST was cleared: stops within the call. A frame that waits for the network is closed and leaves the chip later.
    pub(crate) fn stop_transmit(&mut self, cx: &mut Cx<'_>) {
        let status = self.frame_status();
        if let Some(last) = self.state.tx.last.take() {
            self.close_transmit(cx, last, status);
        }
        let tx = &mut self.state.tx;
        tx.open = false;
        tx.process = Process::Stopped;
        self.raise(csr5::TPS);
        self.schedule_transmit(cx.now());
    }

    /// Goes on with the list as far as the chip may: until a frame is held, the list ends, or [`BURST`] descriptors are handled.
    pub(crate) fn transmit(&mut self, cx: &mut Cx<'_>) {
        for _ in 0..BURST {
            let going = matches!(self.state.tx.process, Process::Fetch | Process::Suspended);
            if !going || !self.may_master() {
                break;
            }
            match self.transmit_descriptor(cx) {
                Ok(true) => {}
                Ok(false) => break,
                Err(fault) => self.fatal(fault),
            }
        }
        self.schedule_transmit(cx.now());
    }

    /// Handles the next descriptor. `false`: it is not the chip's.
    fn transmit_descriptor(&mut self, cx: &mut Cx<'_>) -> Result<bool, DmaFault> {
        let at = self.state.tx.next;
        let swap = self.state.csr0 & csr0::DBO != 0;
        let [tdes0, tdes1, buffer1, buffer2] = dma::read_descriptor(cx, at, swap)?;
        let tx = &mut self.state.tx;
        if tdes0 & tdes::OWN == 0 {
            if tx.process != Process::Suspended {
                tx.process = Process::Suspended;
                self.raise(csr5::TU);
            }
            return Ok(false);
        }
        tx.process = Process::Fetch;
        let chained = tdes1 & tdes::TCH != 0;
        tx.next = if tdes1 & tdes::TER != 0 {
            self.state.csr4
        } else if chained {
            buffer2 & !3
        } else {
            let skip = self.state.csr0 >> csr0::DSL_SHIFT & csr0::DSL_MASK;
            at.wrapping_add(16 + 4 * skip)
        };
        let sizes = [tdes1 & 0x7ff, if chained { 0 } else { tdes1 >> 11 & 0x7ff }];
        if tdes1 & tdes::SET != 0 {
            self.set_up(cx, at, tdes1, buffer1)?;
            return Ok(true);
        }
        let last = tdes1 & tdes::LS != 0;
        if tdes1 & tdes::FS != 0 {
            self.counters.tx_errors += u64::from(tx.open);
            tx.frame.truncate(0);
            (tx.open, tx.total) = (true, 0);
        } else if !tx.open {
            // Nothing begins here. An empty descriptor is passed over, as drivers use it; data without a beginning is an error.
            let empty = sizes == [0, 0] && !last;
            self.counters.tx_errors += u64::from(!empty);
            let status = if empty { 0 } else { tdes::ES | tdes::UF };
            dma::write_status(cx, at, status, swap)?;
            if last && tdes1 & tdes::IC != 0 {
                self.raise(csr5::TI);
            }
            return Ok(true);
        }
        let big = self.state.csr0 & csr0::BLE != 0;
        for (buffer, size) in [buffer1, buffer2].into_iter().zip(sizes) {
            tx.total = tx.total.saturating_add(size);
            let room = tx.frame.grow(size as usize);
            if !room.is_empty() {
                dma::read_buffer(cx, buffer, room, big)?;
            }
        }
        if !last {
            dma::write_status(cx, at, 0, swap)?;
            return Ok(true);
        }
        tx.open = false;
        let last = Last { address: at, interrupt: tdes1 & tdes::IC != 0 };
        self.finish_frame(cx, last, tdes1);
        Ok(true)
    }

    /// The last segment is there: the frame is held for the network, or dropped for its faults.
    fn finish_frame(&mut self, cx: &mut Cx<'_>, last: Last, tdes1: u32) {
        let tx = &mut self.state.tx;
        let total = tx.total as usize;
        let csr15 = self.state.csr15;
        let jabber = if csr15 & csr15::JCK != 0 { JABBER } else { slotone_net::MAX_FRAME };
        if total > jabber && csr15 & csr15::JBD == 0 {
            self.counters.tx_errors += 1;
            self.raise(csr5::TJT);
            self.close_transmit(cx, last, tdes::ES | tdes::TO);
            return;
        }
        let pads = tdes1 & tdes::DPD == 0;
        // A frame that is padded gets its CRC from the chip, whatever AC says.
        let own_crc = tdes1 & tdes::AC != 0 && !(pads && total < SHORTEST + 4);
        let mut sound = true;
        if own_crc {
            // The guest has put a CRC behind the data; frames cross to the network without one. A wrong one dies on the wire.
            match tx.frame.as_slice().split_last_chunk::<4>() {
                Some((data, crc)) if crc32fast::hash(data).to_le_bytes() == *crc => {
                    let len = data.len();
                    tx.frame.truncate(len);
                }
                _ => sound = false,
            }
        } else if pads {
            tx.frame.pad(SHORTEST);
        }
        if !sound {
            self.counters.tx_errors += 1;
            self.close_transmit(cx, last, 0);
            return;
        }
        (tx.held, tx.last, tx.process) = (true, Some(last), Process::Hold);
    }

    /// TDES0 of a frame that left: no collision, no loss of carrier; in internal loopback FC makes every attempt collide.
    fn frame_status(&self) -> u32 {
        let collides = self.link() == Link::Internal && self.state.csr6 & csr6::FC != 0;
        if collides { tdes::ES | tdes::EC } else { 0 }
    }

    fn close_transmit(&mut self, cx: &mut Cx<'_>, last: Last, status: u32) {
        if !self.may_master() {
            return;
        }
        match dma::write_status(cx, last.address, status, self.state.csr0 & csr0::DBO != 0) {
            Ok(()) if last.interrupt => self.raise(csr5::TI),
            Ok(()) => {}
            Err(fault) => self.fatal(fault),
        }
    }

    /// A set-up frame: programs the address filter.
    fn set_up(&mut self, cx: &mut Cx<'_>, at: u32, tdes1: u32, buffer: u32) -> Result<(), DmaFault> {
        let mut frame = [0; SETUP_LEN];
        let len = SETUP_LEN.min((tdes1 & 0x7ff) as usize);
        dma::read_buffer(cx, buffer, &mut frame[..len], self.state.csr0 & csr0::BLE != 0)?;
        self.state.filter.load(tdes1, &frame);
        self.counters.setup_frames += 1;
        dma::write_status(cx, at, tdes::SETUP_DONE, self.state.csr0 & csr0::DBO != 0)?;
        if tdes1 & tdes::IC != 0 {
            self.raise(csr5::TI);
        }
        Ok(())
    }

    /// The held frame has left the chip.
    pub(crate) fn transmitted(&mut self, cx: &mut Cx<'_>) {
        let status = self.frame_status();
        self.counters.tx_frames += 1;
        self.counters.tx_bytes += self.state.tx.frame.len() as u64;
        let data_type = match self.link() {
            Link::Internal if status == 0 => Some(1),
            Link::External => Some(2),
            // A transceiver in loopback looks like the wire; half duplex does not listen while it sends.
            Link::Phy if self.state.csr6 & csr6::FD != 0 => Some(0),
            _ => None,
        };
        if let Some(data_type) = data_type {
            let frame = self.state.tx.frame.as_slice().to_vec();
            self.receive_looped(cx, &frame, data_type);
        }
        let tx = &mut self.state.tx;
        tx.held = false;
        let last = tx.last.take();
        if tx.process == Process::Hold {
            tx.process = Process::Fetch;
        }
        if let Some(last) = last {
            self.close_transmit(cx, last, status);
        }
        self.transmit(cx);
    }

    /// Nanoseconds that the held frame takes at the speed of the wire, gap and preamble included.
    fn wire_time(&self) -> u64 {
        let bytes = (self.state.tx.frame.len() + 24) as u64;
        let slow = self.state.csr6 & csr6::TTM != 0 || self.state.csr6 & csr6::PS == 0;
        bytes * if slow { 800 } else { 80 }
    }

    /// Sets when the transmitter wants a tick.
    pub(crate) fn schedule_transmit(&mut self, now: VmInstant) {
        let tx = &self.state.tx;
        let wait = if tx.held {
            Some(if matches!(self.link(), Link::Network | Link::External) { OFFER } else { self.wire_time() })
        } else if !self.may_master() {
            None
        } else {
            match tx.process {
                Process::Fetch => Some(PAUSE),
                Process::Suspended => poll_interval(self.state.csr0, self.state.csr6),
                Process::Stopped | Process::Hold => None,
            }
        };
        self.state.tx.again = wait.map(|nanos| now + nanos);
    }

    /// The transmitter's tick.
    pub(crate) fn transmit_tick(&mut self, cx: &mut Cx<'_>) {
        if self.state.tx.held && !matches!(self.link(), Link::Network | Link::External) {
            self.transmitted(cx);
        } else {
            // A held frame is offered by the machine's next exchange.
            self.transmit(cx);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn poll_intervals_of_the_table() {
        let tap = |n: u32| n << csr0::TAP_SHIFT;
        let mii10 = csr6::PS | csr6::TTM;
        let micros = [800, 3_200, 6_400].map(|us| Some(us * 1_000));
        assert_eq!([1, 2, 3].map(|n| poll_interval(tap(n), mii10)), micros);
        let short = [51_200, 102_400, 204_800, 409_600].map(Some);
        assert_eq!([4, 5, 6, 7].map(|n| poll_interval(tap(n), mii10)), short);
        assert_eq!(poll_interval(tap(4), csr6::PS), Some(5_120));
        assert_eq!(poll_interval(tap(1), 0), Some(200_000));
        assert_eq!(poll_interval(tap(0), mii10), None);
    }
}
