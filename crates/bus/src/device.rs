//! A chip and its surroundings.

use crate::VmInstant;
use crate::mem::Memory;
use crate::state::{StateError, StateReader, StateWriter};
use thiserror::Error;

/// A pin of a device, numbered by the device (its crate names them as constants). Inputs and outputs are numbered apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(pub u8);

/// Levels of up to 64 output pins: bit n is [`Pin`] n, 1 is asserted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PinLevels(pub u64);

impl PinLevels {
    /// The level of `pin`.
    pub const fn get(self, pin: Pin) -> bool {
        self.0 >> (pin.0 & 63) & 1 != 0
    }

    /// These levels with `pin` at `level`.
    #[must_use]
    pub const fn with(self, pin: Pin, level: bool) -> Self {
        let bit = 1 << (pin.0 & 63);
        Self(if level { self.0 | bit } else { self.0 & !bit })
    }
}

/// Grows whenever [`Device::windows`] answers differently than before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Generation(pub u32);

/// Names a window within its device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WindowId(pub u16);

/// Names a memory that the machine lends to a device (its video memory, its ROM image), numbered by the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LentId(pub u8);

/// Where a device hears an access: the window and the offset in it, never an absolute address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    /// Which window.
    pub window: WindowId,
    /// Byte offset from the window's base.
    pub offset: u64,
}

/// An address space.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Space {
    /// I/O ports, 0 to FFFFh.
    Io,
    /// Physical memory.
    Memory,
    /// PCI configuration space of one function of this device: base 0, 256 bytes. The machine decides in which slot the device sits.
    PciConfig {
        /// Function number, 0 to 7.
        function: u8,
    },
}

/// Who serves an access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// [`Device::read`] or [`Device::write`].
    Device,
    /// Main memory at the offset given.
    Ram {
        /// Offset of the window's first byte in main memory.
        offset: u64,
    },
    /// A memory lent to the device. A write target only for memory that the CPU may write directly.
    Lent {
        /// Which one.
        memory: LentId,
        /// Offset of the window's first byte in it.
        offset: u64,
    },
    /// Claimed, but nobody answers: reads give all ones, writes are dropped.
    Open,
    /// Not claimed in this direction: the window of the next lower priority answers.
    Pass,
}

/// One range a device answers to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Names it.
    pub id: WindowId,
    /// Address space.
    pub space: Space,
    /// First address.
    pub base: u64,
    /// Bytes; not 0.
    pub len: u64,
    /// Among overlapping windows the highest priority answers; among equals the device that was added first.
    pub priority: u8,
    /// Reads and instruction fetches.
    pub read: Target,
    /// Writes.
    pub write: Target,
}

impl Window {
    /// Priority of an ordinary device.
    pub const PRIORITY_DEVICE: u8 = 64;
    /// Priority of the memory controller, which takes what it claims before PCI sees it.
    pub const PRIORITY_DRAM: u8 = 128;

    /// I/O ports `base..base + len` served by the device.
    pub const fn io(id: WindowId, base: u16, len: u16) -> Self {
        Self::device(id, Space::Io, base as u64, len as u64)
    }

    /// Memory `base..base + len` served by the device.
    pub const fn memory(id: WindowId, base: u64, len: u64) -> Self {
        Self::device(id, Space::Memory, base, len)
    }

    /// The 256 bytes of configuration space of `function`.
    pub const fn pci_config(id: WindowId, function: u8) -> Self {
        Self::device(id, Space::PciConfig { function }, 0, 256)
    }

    const fn device(id: WindowId, space: Space, base: u64, len: u64) -> Self {
        let (read, write) = (Target::Device, Target::Device);
        Self { id, space, base, len, priority: Self::PRIORITY_DEVICE, read, write }
    }
}

/// A device's current windows with their generation: what most devices keep to answer [`Device::windows`].
#[derive(Debug, Clone, Default)]
pub struct WindowSet {
    generation: Generation,
    windows: Vec<Window>,
}

impl WindowSet {
    /// A set that begins with `windows`.
    pub fn new(windows: Vec<Window>) -> Self {
        Self { generation: Generation(0), windows }
    }

    /// Replaces the windows; the generation grows only if they differ.
    pub fn set(&mut self, windows: Vec<Window>) {
        if windows != self.windows {
            self.windows = windows;
            self.generation.0 = self.generation.0.wrapping_add(1);
        }
    }

    /// The answer for [`Device::windows`].
    pub fn get(&self) -> (Generation, &[Window]) {
        (self.generation, &self.windows)
    }
}

/// Why DMA failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("no memory answers a DMA access of {len} bytes at {address:#x}")]
pub struct DmaFault {
    /// First physical address.
    pub address: u64,
    /// Bytes.
    pub len: usize,
}

/// How a device is reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetKind {
    /// Power came on, or was cycled.
    Power,
    /// PCIRST#/RSTDRV with power kept: what lives on battery or in straps stays.
    Bus,
}

/// What the machine does for a device: the implementer's half of [`Cx`].
pub trait Port {
    /// Logs a change of an output pin. The log keeps its order.
    fn line(&mut self, pin: Pin, level: bool);
    /// Reads memory as a PCI master sees it.
    ///
    /// # Errors
    /// [`DmaFault`] if no memory answers at a part of the range; bytes before it may have been transferred.
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault>;
    /// Writes memory as a PCI master sees it.
    ///
    /// # Errors
    /// As [`Port::dma_read`].
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault>;
    /// A memory lent to the device; none unless the machine lends any.
    fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        let _ = id;
        None
    }
}

/// What a device can do and know during one call.
pub struct Cx<'a> {
    now: VmInstant,
    changes: u32,
    port: &'a mut dyn Port,
}

impl std::fmt::Debug for Cx<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cx").field("now", &self.now).field("changes", &self.changes).finish_non_exhaustive()
    }
}

impl<'a> Cx<'a> {
    /// A context at `now` on `port`.
    pub fn new(now: VmInstant, port: &'a mut dyn Port) -> Self {
        Self { now, changes: 0, port }
    }

    /// Virtual time of the call. Every tick due before it has run.
    #[inline]
    pub fn now(&self) -> VmInstant {
        self.now
    }

    /// Drives an output pin. Call it on changes only, or as often as you like: the machine ignores repeats. An edge that rises
    /// and falls within one call is seen by whoever listens.
    pub fn line(&mut self, pin: Pin, level: bool) {
        self.changes = self.changes.wrapping_add(1);
        self.port.line(pin, level);
    }

    /// How often [`Cx::line`] was called: bursts stop when it moves.
    pub fn changes(&self) -> u32 {
        self.changes
    }

    /// Reads memory as a PCI master.
    ///
    /// # Errors
    /// [`DmaFault`] if no memory answers at a part of the range.
    pub fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.port.dma_read(address, data)
    }

    /// Writes memory as a PCI master.
    ///
    /// # Errors
    /// [`DmaFault`] if no memory answers at a part of the range.
    pub fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.port.dma_write(address, data)
    }

    /// A memory lent to this device; `None` only if the machine did not provide what [`Device::memories`] asked for.
    pub fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        self.port.lent(id)
    }
}

/// A value shown by [`Device::inspect`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum InspectValue {
    /// A register, shown in hexadecimal with `bits` bits.
    Register {
        /// Content.
        value: u64,
        /// Width.
        bits: u8,
    },
    /// A counter.
    Count(u64),
    /// A level or condition.
    Flag(bool),
    /// A word or two.
    Text(String),
}

/// As people read it: a register in hexadecimal with all its digits, the rest in words and decimal numbers.
///
/// ```
/// use slotone_bus::InspectValue;
/// assert_eq!(InspectValue::Register { value: 0x2f8, bits: 16 }.to_string(), "0x02f8");
/// assert_eq!(InspectValue::Register { value: 5, bits: 3 }.to_string(), "0x5");
/// assert_eq!(InspectValue::Count(12).to_string(), "12");
/// assert_eq!(InspectValue::Flag(true).to_string(), "true");
/// assert_eq!(format!("{:>6}|", InspectValue::Text("idle".into())), "  idle|");
/// ```
impl std::fmt::Display for InspectValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Register { value, bits } => {
                f.pad(&format!("{value:#0width$x}", width = 2 + usize::from(*bits).div_ceil(4)))
            }
            Self::Count(count) => count.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Text(text) => f.pad(text),
        }
    }
}

/// Receives names and values from [`Device::inspect`].
pub type Inspector<'a> = dyn FnMut(&str, InspectValue) + 'a;

/// A memory that a device wants to be lent by the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LentMemory {
    /// The device's name for it.
    pub id: LentId,
    /// Bytes.
    pub len: usize,
}

/// A chip.
///
/// Rules every implementation keeps, and `fuzz-kit` checks: no guest input makes it panic, loop or allocate without bound; an
/// access may have any length from 1 to 8 and any offset in the window; [`Device::tick`] moves [`Device::next_deadline`] to a later
/// instant or clears it; save, restore, continue equals continue.
///
/// `Any` is a supertrait so that a machine can give its owner the concrete device back.
pub trait Device: std::any::Any + Send {
    /// What it answers to now. Asked after every call; compared by generation.
    fn windows(&self) -> (Generation, &[Window]);

    /// Memories it wants lent; asked once, when it is plugged in.
    fn memories(&self) -> &[LentMemory] {
        &[]
    }

    /// Serves a read; fills all of `data` (unimplemented registers read as the data sheet says, else all ones).
    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]);

    /// Serves a write.
    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]);

    /// Reads one location `data.len() / width` times (REP INS). Returns bytes done, whole elements, at least one; stops after
    /// an element that changed a line.
    fn read_burst(&mut self, cx: &mut Cx<'_>, at: At, width: usize, data: &mut [u8]) -> usize {
        let mut done = 0;
        for element in data.chunks_exact_mut(width.max(1)) {
            let before = cx.changes();
            self.read(cx, at, element);
            done += element.len();
            if cx.changes() != before {
                break;
            }
        }
        done
    }

    /// Writes one location `data.len() / width` times (REP OUTS); the counterpart of [`Device::read_burst`].
    fn write_burst(&mut self, cx: &mut Cx<'_>, at: At, width: usize, data: &[u8]) -> usize {
        let mut done = 0;
        for element in data.chunks_exact(width.max(1)) {
            let before = cx.changes();
            self.write(cx, at, element);
            done += element.len();
            if cx.changes() != before {
                break;
            }
        }
        done
    }

    /// An input pin changed.
    fn input(&mut self, cx: &mut Cx<'_>, pin: Pin, level: bool) {
        let _ = (cx, pin, level);
    }

    /// Levels of the output pins now: where lines are restored from, and what tests compare the log with.
    fn levels(&self) -> PinLevels;

    /// Interrupt acknowledge by the CPU; only an interrupt controller answers.
    fn intack(&mut self, cx: &mut Cx<'_>) -> Option<u8> {
        let _ = cx;
        None
    }

    /// When it wants [`Device::tick`]; `None` while nothing is due. Asked after every call; any call may set it, also to an instant that has
    /// passed, which means at once.
    fn next_deadline(&self) -> Option<VmInstant>;

    /// Time has reached the deadline: [`Cx::now`] is not before it, and may be after it.
    ///
    /// Afterwards [`Device::next_deadline`] is later than it was, or `None`. It need not be later than now: what is still due is ticked again
    /// before time goes on. A device that is due again and again at one instant holds the machine, which may bound that: `slotone-vmm-core`
    /// ticks it a thousand times, and from then on once a millisecond of virtual time until a tick leaves it a deadline later than now.
    fn tick(&mut self, cx: &mut Cx<'_>);

    /// Back to the reset state; the machine reads [`Device::levels`] and [`Device::windows`] anew.
    fn reset(&mut self, kind: ResetKind);

    /// Writes its state: one [section](StateWriter::section), or several that [`Device::restore`] reads in the same order.
    fn save(&self, w: &mut StateWriter);

    /// Takes a state back, and nothing behind it: other states may follow. On an error the device is unchanged.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are not a state of such a device.
    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError>;

    /// Shows named registers (data-sheet names) and counters.
    fn inspect(&self, out: &mut Inspector<'_>);
}
