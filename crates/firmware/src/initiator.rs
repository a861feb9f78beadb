//! What the firmware reaches the machine through.

use slotone_bus::VmInstant;
use thiserror::Error;

/// A linear address that the page tables do not map, or that the machine refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("linear address {0:#010x} is not mapped")]
pub struct Unmapped(pub u32);

/// The processor's registers at the trap, as far as a service needs them. General registers are in the frame on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Registers {
    /// Code segment selector.
    pub cs: u16,
    /// Instruction pointer, behind the OUT.
    pub eip: u32,
    /// Stack segment selector.
    pub ss: u16,
    /// Linear base of the stack segment.
    pub ss_base: u32,
    /// Stack pointer.
    pub esp: u32,
    /// EFLAGS; bit 17 says virtual-8086 mode.
    pub eflags: u32,
    /// CR0; bit 0 says protected mode.
    pub cr0: u32,
}

/// The machine as the firmware sees it: a bus master that can also follow the processor's page tables.
///
/// The machine implements it over the same buses the processor uses, so that a service exercises the device models just as
/// native code would. Virtual time stands still during a call; a service that needs time to pass returns to its stub
/// in ROM, which halts (or spins) and calls again.
pub trait Initiator {
    /// Reads an I/O port; 1, 2 or 4 bytes, little-endian.
    fn io_read(&mut self, port: u16, data: &mut [u8]);
    /// Writes an I/O port; 1, 2 or 4 bytes.
    fn io_write(&mut self, port: u16, data: &[u8]);
    /// Reads the same port `data.len() / width` times, as REP INS does. Returns the bytes done, whole elements, at least one.
    fn io_read_burst(&mut self, port: u16, width: usize, data: &mut [u8]) -> usize {
        for element in data.chunks_mut(width) {
            self.io_read(port, element);
        }
        data.len()
    }
    /// Writes the same port `data.len() / width` times, as REP OUTS does. Returns the bytes done.
    fn io_write_burst(&mut self, port: u16, width: usize, data: &[u8]) -> usize {
        for element in data.chunks(width) {
            self.io_write(port, element);
        }
        data.len()
    }
    /// Reads memory by linear address, through the page tables in force (a service called in virtual-8086 mode).
    ///
    /// # Errors
    /// [`Unmapped`] at the first page that is not present; bytes before it have been read.
    fn mem_read(&mut self, linear: u32, data: &mut [u8]) -> Result<(), Unmapped>;
    /// Writes memory by linear address.
    ///
    /// # Errors
    /// [`Unmapped`] at the first page that is not present; bytes before it have been written.
    fn mem_write(&mut self, linear: u32, data: &[u8]) -> Result<(), Unmapped>;
    /// Reads physical memory as the processor would with paging off and A20 open. Unclaimed addresses read FFh.
    fn phys_read(&mut self, physical: u64, data: &mut [u8]);
    /// Writes physical memory.
    fn phys_write(&mut self, physical: u64, data: &[u8]);
    /// The processor's registers behind the OUT to the trap port.
    fn registers(&self) -> Registers;
    /// Virtual time.
    fn now(&self) -> VmInstant;
}

/// Short names for what services do all the time.
pub(crate) trait InitiatorExt: Initiator {
    fn inb(&mut self, port: u16) -> u8 {
        let mut data = [0];
        self.io_read(port, &mut data);
        data[0]
    }

    fn inw(&mut self, port: u16) -> u16 {
        let mut data = [0; 2];
        self.io_read(port, &mut data);
        u16::from_le_bytes(data)
    }

    fn inl(&mut self, port: u16) -> u32 {
        let mut data = [0; 4];
        self.io_read(port, &mut data);
        u32::from_le_bytes(data)
    }

    fn outb(&mut self, port: u16, value: u8) {
        self.io_write(port, &[value]);
    }

    fn outw(&mut self, port: u16, value: u16) {
        self.io_write(port, &value.to_le_bytes());
    }

    fn outl(&mut self, port: u16, value: u32) {
        self.io_write(port, &value.to_le_bytes());
    }

    /// CMOS byte `index`, 0 to 7Fh. NMI stays enabled.
    fn cmos(&mut self, index: u8) -> u8 {
        self.outb(0x70, index & 0x7F);
        self.inb(0x71)
    }

    fn set_cmos(&mut self, index: u8, value: u8) {
        self.outb(0x70, index & 0x7F);
        self.outb(0x71, value);
    }

    /// `N` bytes at a linear address; unmapped ones read FFh, as open bus would.
    fn get<const N: usize>(&mut self, linear: u32) -> [u8; N] {
        let mut data = [0xFF; N];
        if self.mem_read(linear, &mut data).is_err() {
            data = [0xFF; N];
        }
        data
    }

    fn get8(&mut self, linear: u32) -> u8 {
        self.get::<1>(linear)[0]
    }

    fn get16(&mut self, linear: u32) -> u16 {
        u16::from_le_bytes(self.get(linear))
    }

    fn get32(&mut self, linear: u32) -> u32 {
        u32::from_le_bytes(self.get(linear))
    }

    fn get64(&mut self, linear: u32) -> u64 {
        u64::from_le_bytes(self.get(linear))
    }

    /// Stores bytes; a write to memory that is not there is lost, as on a bus.
    fn put(&mut self, linear: u32, data: &[u8]) {
        let _lost = self.mem_write(linear, data);
    }

    fn put8(&mut self, linear: u32, value: u8) {
        self.put(linear, &[value]);
    }

    fn put16(&mut self, linear: u32, value: u16) {
        self.put(linear, &value.to_le_bytes());
    }

    fn put32(&mut self, linear: u32, value: u32) {
        self.put(linear, &value.to_le_bytes());
    }
}

impl<T: Initiator + ?Sized> InitiatorExt for T {}
