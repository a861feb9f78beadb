//! Network cards on the board: each with the port it is plugged into.
//!
//! Frames move at the end of every call into the card that is no read, at the card's and the port's deadlines, and when the port says that something
//! came. With ports inside the process all of these are points of virtual time, so that counted runs stay the same run.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use slotone_bus::{Cx, Device, VmInstant};
use slotone_net::{NetClient, NetPort, Waker, exchange};

use crate::board::{Board, DeviceId};

/// Frames moved before others get their turn.
const BUDGET: u32 = 64;
/// Virtual nanoseconds until a card that had more than that, or a port that waits for its card, gets its next turn: what 64 of the shortest frames take at 100 Mbit/s.
const NEXT_TURN: u64 = 430_080;
/// Cards a board can have: one bit each.
const MOST_CARDS: u64 = 64;

type AsNetClient = fn(&mut dyn Device) -> Option<&mut dyn NetClient>;

/// A card's cable.
pub(crate) struct Cable {
    client: AsNetClient,
    pub(crate) port: Box<dyn NetPort>,
    /// Its bit among the board's.
    bit: u64,
    serving: Arc<AtomicBool>,
    /// What the card was last told about the link; `None`: it may know something else.
    told: Option<bool>,
    /// When it is to be served though nobody calls.
    due: Option<VmInstant>,
}

impl fmt::Debug for Cable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cable").field("due", &self.due).finish_non_exhaustive()
    }
}

impl Cable {
    /// Tells the card about the link if that has changed, and carries frames; to be called with the card out of its slot.
    pub(crate) fn serve(&mut self, device: &mut dyn Device, cx: &mut Cx<'_>) -> (u64, u64) {
        let Some(client) = (self.client)(device) else { return (0, 0) };
        let up = self.port.link();
        if self.told != Some(up) {
            self.told = Some(up);
            client.set_link(cx, up);
        }
        self.serving.store(true, Ordering::SeqCst);
        let done = exchange(client, &mut *self.port, cx, BUDGET);
        self.serving.store(false, Ordering::SeqCst);
        // A port that is due after it was served waits for the card, or has more to do than it does at once.
        let next_turn = cx.now() + NEXT_TURN;
        let port = self.port.next_deadline().map(|at| if at > cx.now() { at } else { next_turn });
        self.due = [done.more.then_some(next_turn), port].into_iter().flatten().min();
        (u64::from(done.sent) + u64::from(done.received), done.bytes)
    }

    /// The card comes out of a saved state: it knows the link of another time.
    pub(crate) fn forget(&mut self) {
        self.told = None;
        self.due = self.port.next_deadline();
    }

    pub(crate) fn next_deadline(&self) -> Option<VmInstant> {
        self.due
    }
}

/// Wakes the machine, from any thread.
pub(crate) type Doorbell = Arc<dyn Fn() + Send + Sync>;

/// Which cards' ports have said that something came.
#[derive(Clone, Default)]
pub(crate) struct Calls {
    bits: Arc<AtomicU64>,
    /// The machine is serving a card and will look at the bits afterwards: no need to ring.
    serving: Arc<AtomicBool>,
    doorbell: Option<Doorbell>,
}

impl fmt::Debug for Calls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Calls").field("bits", &self.bits).finish_non_exhaustive()
    }
}

impl Calls {
    fn any(&self) -> bool {
        self.bits.load(Ordering::SeqCst) != 0
    }

    fn take(&self) -> u64 {
        // Most often there is none, and a swap costs more than a look.
        if self.any() { self.bits.swap(0, Ordering::SeqCst) } else { 0 }
    }

    fn waker(&self, bit: u64) -> Waker {
        let Self { bits, serving, doorbell } = self.clone();
        Arc::new(move || {
            let new = bits.fetch_or(bit, Ordering::SeqCst) & bit == 0;
            if let Some(doorbell) = &doorbell
                && new
                && !serving.load(Ordering::SeqCst)
            {
                doorbell();
            }
        })
    }
}

impl Board {
    /// Plugs card `id` into `port`, out of where it was before.
    pub(crate) fn attach_network<T: Device + NetClient>(&mut self, id: DeviceId, port: Box<dyn NetPort>) {
        let client: AsNetClient = |device| {
            let any: &mut dyn Any = device;
            any.downcast_mut::<T>().map(|t| t as &mut dyn NetClient)
        };
        let bit = match self.cable(id) {
            Some(old) => old.bit,
            None => {
                let used = self.cables().count() as u64;
                assert!(used < MOST_CARDS, "a board has room for {MOST_CARDS} network cards");
                1 << used
            }
        };
        let serving = Arc::clone(&self.calls.serving);
        self.set_cable(id, Cable { client, port, bit, serving, told: None, due: None });
        self.wire_doorbell(id);
        self.call(id.0, |_, _| {});
    }

    pub(crate) fn set_doorbell(&mut self, doorbell: Doorbell) {
        self.pool.set_doorbell(Arc::clone(&doorbell));
        self.calls.doorbell = Some(doorbell);
        let ids: Vec<DeviceId> = self.cables().map(|(id, _)| id).collect();
        ids.into_iter().for_each(|id| self.wire_doorbell(id));
    }

    fn wire_doorbell(&mut self, id: DeviceId) {
        let calls = self.calls.clone();
        if let Some(cable) = self.cable_mut(id) {
            cable.port.set_waker(calls.waker(cable.bit));
        }
    }

    /// Tells disk controllers what was done for them and serves the cards whose ports have called. Cards of one machine that answer each
    /// other are served in turns, and what is still to do after many of them waits for the next look.
    #[inline]
    pub(crate) fn answer_calls(&mut self) {
        // Looked at for every access of the guest, and hardly ever true.
        if (self.calls.any() || self.pool.called()) && !self.answering {
            self.answer();
        }
    }

    #[cold]
    fn answer(&mut self) {
        const TURNS: u32 = 64;
        self.answering = true;
        self.take_completions();
        for _ in 0..TURNS {
            let called = self.calls.take();
            if called == 0 {
                break;
            }
            let ids: Vec<DeviceId> =
                self.cables().filter(|(_, c)| c.bit & called != 0).map(|(id, _)| id).collect();
            for id in ids {
                self.call(id.0, |_, _| {});
            }
        }
        self.answering = false;
    }
}
