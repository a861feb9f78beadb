//! Letting virtual time pass: HLT where an interrupt will end it, a short spin elsewhere.

use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};

/// Waits for an interrupt: halts if the timer's (IRQ 0) can come, spins otherwise.
pub(crate) fn idle(bus: &mut dyn Initiator) -> Outcome {
    if bus.inb(0x21) & 1 == 0 { Outcome::Wait } else { Outcome::Spin }
}

/// Double words 5 and 6 of the locals hold the instant at which a wait ends.
const DEADLINE: usize = 5;

/// Starts a time limit of `nanos`.
pub(crate) fn start(bus: &dyn Initiator, frame: &mut Frame, nanos: u64) {
    let deadline = (bus.now() + nanos).as_nanos();
    frame.set_local32(DEADLINE, deadline as u32);
    frame.set_local32(DEADLINE + 1, (deadline >> 32) as u32);
}

/// Nanoseconds left of the time limit.
pub(crate) fn left(bus: &dyn Initiator, frame: &Frame) -> u64 {
    let deadline = u64::from(frame.local32(DEADLINE)) | u64::from(frame.local32(DEADLINE + 1)) << 32;
    deadline.saturating_sub(bus.now().as_nanos())
}
