//! A port for unit tests, doctests and fuzz targets of chip crates: flat memory, logged lines.

use crate::device::{Cx, DmaFault, LentId, Pin, Port};
use crate::mem::Memory;
use crate::time::VmInstant;

/// Memory from address 0, lent memories on demand, and a log of line changes.
///
/// ```
/// use slotone_bus::{Pin, TestPort};
/// let mut port = TestPort::new(64 * 1024);
/// port.at(1_000, |cx| cx.line(Pin(3), true));
/// assert_eq!(port.take_lines(), [(Pin(3), true)]);
/// ```
#[derive(Debug)]
pub struct TestPort {
    /// Main memory at physical address 0.
    pub ram: Memory,
    /// Lent memories by number.
    pub lent: Vec<Memory>,
    lines: Vec<(Pin, bool)>,
}

impl TestPort {
    /// `ram` bytes of main memory.
    ///
    /// # Panics
    /// If the host has no room for it: a test cannot go on then.
    pub fn new(ram: usize) -> Self {
        Self { ram: Memory::new(ram).expect("memory for a test"), lent: Vec::new(), lines: Vec::new() }
    }

    /// Adds the memory that the device knows as the next [`LentId`].
    ///
    /// # Panics
    /// If the host has no room for it.
    #[must_use]
    pub fn with_lent(mut self, len: usize) -> Self {
        self.lent.push(Memory::new(len).expect("memory for a test"));
        self
    }

    /// Runs `call` with a context at `nanos`.
    pub fn at<R>(&mut self, nanos: u64, call: impl FnOnce(&mut Cx<'_>) -> R) -> R {
        call(&mut Cx::new(VmInstant::from_nanos(nanos), self))
    }

    /// The line changes since the last call, in order, repeats included.
    pub fn take_lines(&mut self) -> Vec<(Pin, bool)> {
        std::mem::take(&mut self.lines)
    }
}

impl Port for TestPort {
    fn line(&mut self, pin: Pin, level: bool) {
        self.lines.push((pin, level));
    }

    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.ram.read(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }

    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.ram.write(address, data).map_err(|_| DmaFault { address, len: data.len() })
    }

    fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        self.lent.get_mut(usize::from(id.0))
    }
}
