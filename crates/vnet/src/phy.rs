//! What smoltcp calls a device: the packet that just came, and the way out.

use crate::station::Outbox;
use crate::wire::{ETHERNET_HEADER, SHORTEST_FRAME};
use slotone_bus::VmInstant;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

/// The longest packet that is sent: Ethernet's.
const MTU: usize = 1500;

/// Virtual time as smoltcp has it, in whole microseconds.
pub(crate) fn micros(now: VmInstant) -> Instant {
    Instant::from_micros((now.as_nanos() / 1000) as i64)
}

/// A stack's view of its network for one call.
pub(crate) struct Wire<'a> {
    /// Frames, or the IP packets in them.
    pub(crate) medium: Medium,
    pub(crate) packet: Option<&'a [u8]>,
    pub(crate) out: &'a mut Outbox,
    /// Frames in `out` beyond which only answers to the packet are made.
    pub(crate) limit: usize,
    /// Sees a frame before it goes out, its Ethernet header empty if the stack makes IP packets; `false`: it does not.
    pub(crate) finish: &'a mut dyn FnMut(&mut [u8]) -> bool,
}

pub(crate) struct In<'a>(&'a [u8]);

pub(crate) struct Out<'a> {
    header: usize,
    out: &'a mut Outbox,
    finish: &'a mut dyn FnMut(&mut [u8]) -> bool,
}

impl RxToken for In<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Out<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; self.header + len];
        let result = f(&mut frame[self.header..]);
        // smoltcp believes that it was sent, whatever becomes of it.
        if (self.finish)(&mut frame) {
            if frame.len() < SHORTEST_FRAME {
                frame.resize(SHORTEST_FRAME, 0);
            }
            self.out.push(frame);
        }
        result
    }
}

impl Wire<'_> {
    fn way_out(&mut self) -> Out<'_> {
        let header = if self.medium == Medium::Ip { ETHERNET_HEADER } else { 0 };
        Out { header, out: self.out, finish: self.finish }
    }
}

impl Device for Wire<'_> {
    type RxToken<'a>
        = In<'a>
    where
        Self: 'a;
    type TxToken<'a>
        = Out<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: Instant) -> Option<(In<'_>, Out<'_>)> {
        // An answer to a packet may be one frame more than there is room for.
        let packet = self.packet.take()?;
        Some((In(packet), self.way_out()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Out<'_>> {
        (self.out.len() < self.limit).then(|| self.way_out())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = self.medium;
        capabilities.max_transmission_unit = match self.medium {
            Medium::Ethernet => ETHERNET_HEADER + MTU,
            _ => MTU,
        };
        capabilities
    }
}
