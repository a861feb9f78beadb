//! The rules, as what is told when one is broken.

use std::fmt;

use slotone_bus::state::{Encode, StateReader};
use slotone_bus::{InspectValue, Pin, VmInstant, Window};
use thiserror::Error;

/// A rule of [`Device`](slotone_bus::Device) that was broken. (A panic is one as well, and needs no oracle.)
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Violation {
    /// `tick` left the deadline where it was.
    #[error("tick at {0:?} did not move the deadline")]
    DeadlineStuck(VmInstant),
    /// So many ticks fell due in a short time that a guest could stop the machine with it.
    #[error("{ticks} ticks within {nanos} ns")]
    TickStorm {
        /// Ticks.
        ticks: u32,
        /// Time they fell in.
        nanos: u64,
    },
    /// One call did an unbounded amount of DMA.
    #[error("{bytes} bytes of DMA in one call")]
    DmaStorm {
        /// Bytes.
        bytes: u64,
    },
    /// A burst returned another number of bytes than whole elements, at least one.
    #[error("a burst of {len} bytes in elements of {width} says that it did {done}")]
    Burst {
        /// Bytes offered.
        len: usize,
        /// Bytes of an element.
        width: usize,
        /// Bytes that it says were done.
        done: usize,
    },
    /// `levels` and the log of line changes disagree.
    #[error("pin {pin} is {level} by levels(), {logged} by the last line change")]
    Levels {
        /// The pin.
        pin: u8,
        /// What `levels` says.
        level: bool,
        /// What was logged last.
        logged: bool,
    },
    /// The windows changed and the generation did not.
    #[error("the windows changed without a new generation")]
    Generation,
    /// A window of no bytes, or one that leaves its address space.
    #[error("window {0:?} is empty or leaves its space")]
    Window(Window),
    /// A device did not take its own state back.
    #[error("restore of its own state failed: {0}")]
    Restore(String),
    /// The state read back from a restored device is another.
    #[error("save, restore, save gives another state ({before} and {after} bytes): {at}")]
    State {
        /// Bytes before.
        before: usize,
        /// Bytes after.
        after: usize,
        /// Where they differ.
        at: StateDifference,
    },
    /// A restored device differs from the one that was saved.
    #[error("the {0} of the restored device are not those of the one that was saved")]
    Restored(&'static str),
    /// A device took a state that ends too early.
    #[error("the device took the first {at} of the {len} bytes of a state")]
    Cut {
        /// Bytes it was given.
        at: usize,
        /// Bytes of the whole state.
        len: usize,
    },
    /// A device refused a state and changed nevertheless.
    #[error("the device refused a damaged state, and changed")]
    Refused,
    /// Two devices that went through the same script, one of them saved and restored after every operation, do not agree.
    #[error("a device that is saved and restored on the way goes on differently: {0}")]
    Diverged(Difference),
}

/// Where two saved states differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateDifference {
    /// The first byte that differs, or that only one of the two has.
    pub at: usize,
    /// If both are sections (see [`StateWriter::section`](slotone_bus::state::StateWriter::section)): the name of the one that
    /// differs, and the first byte of its body that does. The fields of a body stand one behind the other in the order of
    /// [`encode_fields!`](slotone_bus::encode_fields).
    pub section: Option<(String, usize)>,
}

impl StateDifference {
    pub(crate) fn between(a: &[u8], b: &[u8]) -> Option<Self> {
        let at = first(a, b)?;
        Some(Self { at, section: section(a, b) })
    }
}

impl fmt::Display for StateDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "byte {} differs first", self.at)?;
        match &self.section {
            Some((name, at)) => write!(f, ", byte {at} of the body of section \"{name}\""),
            None => Ok(()),
        }
    }
}

/// The first section whose body differs, and where in it.
fn section(a: &[u8], b: &[u8]) -> Option<(String, usize)> {
    let (mut a, mut b) = (StateReader::new(a), StateReader::new(b));
    loop {
        let (name, own) = body(&mut a)?;
        let (other, twin) = body(&mut b)?;
        if name != other {
            return None;
        }
        if let Some(at) = first(own, twin) {
            return Some((name, at));
        }
    }
}

fn body<'a>(r: &mut StateReader<'a>) -> Option<(String, &'a [u8])> {
    let name = String::decode(r).ok()?;
    u16::decode(r).ok()?;
    let len = u32::decode(r).ok()?;
    Some((name, r.take(len as usize).ok()?))
}

/// Where two lists first differ: the place of what is another, or is in one only.
pub(crate) fn first<T: PartialEq>(a: &[T], b: &[T]) -> Option<usize> {
    let at = a.iter().zip(b).take_while(|(a, b)| a == b).count();
    (at < a.len().max(b.len())).then_some(at)
}

/// What a device (`own`) shows otherwise than its `twin`, which is saved and restored on the way. `None` where only the other one has it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Difference {
    /// A byte that the operation read, or the vector of an acknowledge.
    #[error("byte {at} of what is read is {}, {} with restores", hex(.own), hex(.twin))]
    Read {
        /// Which byte.
        at: usize,
        /// What the device gave.
        own: Option<u8>,
        /// What the twin gave.
        twin: Option<u8>,
    },
    /// How far a burst went.
    #[error("a burst does {own} bytes, {twin} with restores")]
    Burst {
        /// Bytes that the device did.
        own: usize,
        /// Bytes that the twin did.
        twin: usize,
    },
    /// A change of a line during the operation.
    #[error("change {at} of a line is {}, {} with restores", change(.own), change(.twin))]
    Line {
        /// Which change of the operation, from 0.
        at: usize,
        /// Pin and level by the device.
        own: Option<(Pin, bool)>,
        /// Pin and level by the twin.
        twin: Option<(Pin, bool)>,
    },
    /// What DMA wrote.
    #[error("DMA writes something else with restores{}", .address.map(|a| format!(", first at {a:#x}")).unwrap_or_default())]
    Dma {
        /// The first address at which memory differs; `None` if only the order or the calls differ.
        address: Option<u64>,
    },
    /// When it was ticked.
    #[error("ticks come at other times with restores")]
    Ticks,
    /// The level of an output pin by `levels`.
    #[error("pin {pin} is {own}, {twin} with restores")]
    Level {
        /// The pin.
        pin: u8,
        /// Its level by the device.
        own: bool,
        /// Its level by the twin.
        twin: bool,
    },
    /// The windows.
    #[error("the windows are others with restores")]
    Windows,
    /// The next deadline.
    #[error("the deadline is {}, {} with restores", nanos(.own), nanos(.twin))]
    Deadline {
        /// The device's.
        own: Option<VmInstant>,
        /// The twin's.
        twin: Option<VmInstant>,
    },
    /// What `inspect` shows.
    #[error("{name} is {}, {} with restores", shown(.own), shown(.twin))]
    Register {
        /// The name.
        name: String,
        /// The device's.
        own: Option<InspectValue>,
        /// The twin's.
        twin: Option<InspectValue>,
    },
    /// What they save after the last operation.
    #[error("the states at the end are others: {0}")]
    State(StateDifference),
}

fn or_nothing(text: Option<String>) -> String {
    text.unwrap_or_else(|| "nothing".to_string())
}

fn hex(byte: &Option<u8>) -> String {
    or_nothing(byte.map(|b| format!("{b:#04x}")))
}

fn change(change: &Option<(Pin, bool)>) -> String {
    or_nothing(change.map(|(pin, level)| format!("pin {} to {level}", pin.0)))
}

fn nanos(at: &Option<VmInstant>) -> String {
    or_nothing(at.map(|at| format!("{} ns", at.as_nanos())))
}

fn shown(value: &Option<InspectValue>) -> String {
    or_nothing(value.as_ref().map(ToString::to_string))
}
