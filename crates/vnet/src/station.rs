//! Stations without a card: servers that live on a network.

use crate::{Arc, Mutex, lock};
use slotone_bus::VmInstant;
use slotone_net::MacAddress;
use std::collections::VecDeque;

/// The frames that a station wants to send, in order.
#[derive(Debug, Default)]
pub struct Outbox {
    frames: VecDeque<Vec<u8>>,
}

impl Outbox {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a frame.
    pub fn push(&mut self, frame: Vec<u8>) {
        self.frames.push_back(frame);
    }

    /// Takes the first frame out.
    pub fn pop(&mut self) -> Option<Vec<u8>> {
        self.frames.pop_front()
    }

    /// How many frames wait.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// No frame waits.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }
}

/// A built-in station of a network: frames in, frames out, timers in virtual time. It neither blocks nor asks a clock.
pub trait Station: Send {
    /// Its Ethernet address.
    fn mac(&self) -> MacAddress;

    /// A frame that came by: for [`Station::mac`], for a group or for nobody known.
    fn frame(&mut self, now: VmInstant, frame: &[u8], out: &mut Outbox);

    /// When [`Station::poll`] has something to do though no frame comes.
    fn next_deadline(&self) -> Option<VmInstant>;

    /// Time has passed; `now` may be before, at or after the deadline.
    fn poll(&mut self, now: VmInstant, out: &mut Outbox);
}

/// A station that its owner can look into while it is on a network. Do not use the network while you hold the lock.
impl<S: Station + ?Sized> Station for Arc<Mutex<S>> {
    fn mac(&self) -> MacAddress {
        lock(self).mac()
    }

    fn frame(&mut self, now: VmInstant, frame: &[u8], out: &mut Outbox) {
        lock(self).frame(now, frame, out);
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        lock(self).next_deadline()
    }

    fn poll(&mut self, now: VmInstant, out: &mut Outbox) {
        lock(self).poll(now, out);
    }
}
