//! The SMBus host controller and memories (EEPROMs) on its bus.

use crate::util::{check, show};
use slotone_bus::state::StateError;
use slotone_bus::{Inspector, VmInstant, encode_fields};

/// A 256-byte memory on the SMBus, such as a memory module's SPD. Writes are acknowledged and dropped: it is write-protected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SmbusMemory {
    /// Seven-bit address: 50h to 57h for SPD.
    pub address: u8,
    /// Content from offset 0; reads beyond it give FFh.
    pub content: Vec<u8>,
}

/// Offsets from SMBBA.
mod offset {
    pub(super) const HSTSTS: u64 = 0x00;
    pub(super) const SLVSTS: u64 = 0x01;
    pub(super) const HSTCNT: u64 = 0x02;
    pub(super) const HSTCMD: u64 = 0x03;
    pub(super) const HSTADD: u64 = 0x04;
    pub(super) const HSTDAT0: u64 = 0x05;
    pub(super) const HSTDAT1: u64 = 0x06;
    pub(super) const BLKDAT: u64 = 0x07;
    pub(super) const SLVCNT: u64 = 0x08;
    pub(super) const SHDWCMD: u64 = 0x09;
    pub(super) const SLVEVT: u64 = 0x0a;
    pub(super) const SLVDAT: u64 = 0x0c;
}

const BUSY: u8 = 0x01;
const INTR: u8 = 0x02;
const DEV_ERR: u8 = 0x04;
const FAILED: u8 = 0x10;
const STS_CLEAR: u8 = 0x1e;
const INTEN: u8 = 0x01;
const KILL: u8 = 0x02;
const START: u8 = 0x40;
/// One byte with its acknowledge at 16 kHz, the slowest the host goes, in nanoseconds.
const BYTE_NANOS: u64 = 9 * 62_500;
const BLOCK: usize = 32;

/// Who answers on the bus.
#[derive(Debug, Clone)]
pub(super) struct Slaves {
    memories: Vec<SmbusMemory>,
}

impl Slaves {
    pub(super) fn new(memories: &[SmbusMemory]) -> Self {
        Self { memories: memories.to_vec() }
    }

    /// The byte at `at` of the memory at `address`; `None` if nobody answers there.
    fn byte(&self, address: u8, at: u8) -> Option<u8> {
        let memory = self.memories.iter().find(|m| m.address == address)?;
        Some(memory.content.get(usize::from(at)).copied().unwrap_or(0xff))
    }
}

/// SMBBA registers and the transfer in progress.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Host {
    status: u8,
    control: u8,
    command: u8,
    address: u8,
    data: [u8; 2],
    block: [u8; BLOCK],
    block_index: u8,
    slave_control: u8,
    slave_event: [u8; 2],
    /// The memories' common address counter: where a byte read without a command goes on.
    pointer: u8,
    /// End of the transfer in progress.
    done_at: Option<VmInstant>,
}
encode_fields!(Host {
    status,
    control,
    command,
    address,
    data,
    block,
    block_index,
    slave_control,
    slave_event,
    pointer,
    done_at
});

impl Default for Host {
    fn default() -> Self {
        Self {
            status: 0,
            control: 0,
            command: 0,
            address: 0,
            data: [0; 2],
            block: [0; BLOCK],
            block_index: 0,
            slave_control: 0,
            slave_event: [0; 2],
            pointer: 0,
            done_at: None,
        }
    }
}

impl Host {
    pub(super) fn deadline(&self) -> Option<VmInstant> {
        self.done_at
    }

    pub(super) fn interrupts(&self) -> bool {
        self.control & INTEN != 0 && self.status & STS_CLEAR != 0
    }

    pub(super) fn read(&mut self, at: u64) -> u8 {
        match at {
            offset::HSTSTS => self.status,
            offset::SLVSTS => 0,
            offset::HSTCNT => {
                self.block_index = 0;
                self.control
            }
            offset::HSTCMD => self.command,
            offset::HSTADD => self.address,
            offset::HSTDAT0 => self.data[0],
            offset::HSTDAT1 => self.data[1],
            offset::BLKDAT => self.block[self.next_in_block()],
            offset::SLVCNT => self.slave_control,
            offset::SHDWCMD => 0,
            offset::SLVEVT => self.slave_event[0],
            0x0b => self.slave_event[1],
            offset::SLVDAT..=0x0d => 0,
            _ => 0xff,
        }
    }

    fn next_in_block(&mut self) -> usize {
        let index = usize::from(self.block_index) % BLOCK;
        self.block_index = ((index + 1) % BLOCK) as u8;
        index
    }

    pub(super) fn write(&mut self, now: VmInstant, at: u64, value: u8) {
        match at {
            offset::HSTSTS => self.status &= !(value & STS_CLEAR),
            offset::HSTCNT => self.write_control(now, value),
            offset::HSTCMD => self.command = value,
            offset::HSTADD => self.address = value,
            offset::HSTDAT0 => self.data[0] = value,
            offset::HSTDAT1 => self.data[1] = value,
            offset::BLKDAT => {
                let index = self.next_in_block();
                self.block[index] = value;
            }
            offset::SLVCNT => self.slave_control = value & 0x0f,
            offset::SLVEVT => self.slave_event[0] = value,
            0x0b => self.slave_event[1] = value,
            _ => {}
        }
    }

    fn write_control(&mut self, now: VmInstant, value: u8) {
        self.control = value & 0x1f & !KILL;
        if value & KILL != 0 {
            if self.done_at.take().is_some() {
                self.status = self.status & !BUSY | FAILED;
            }
        } else if value & START != 0 && self.done_at.is_none() {
            self.status |= BUSY;
            self.block_index = 0;
            self.done_at = Some(now + self.bytes() * BYTE_NANOS);
        }
    }

    fn protocol(&self) -> u8 {
        self.control >> 2 & 7
    }

    fn is_read(&self) -> bool {
        self.address & 1 != 0
    }

    /// Bytes on the wire of the transfer, addresses included.
    fn bytes(&self) -> u64 {
        match self.protocol() {
            0 => 1,
            1 => 2,
            2 => 3 + u64::from(self.is_read()),
            3 => 4 + u64::from(self.is_read()),
            _ => 4 + BLOCK as u64,
        }
    }

    /// Ends the transfer if it is over by `now`.
    pub(super) fn advance(&mut self, now: VmInstant, slaves: &Slaves) {
        if self.done_at.is_none_or(|at| now < at) {
            return;
        }
        self.done_at = None;
        self.status &= !BUSY;
        self.status |= if self.transfer(slaves).is_some() { INTR } else { DEV_ERR };
    }

    /// `None` if nobody acknowledges.
    fn transfer(&mut self, slaves: &Slaves) -> Option<()> {
        let address = self.address >> 1;
        let read = |pointer: u8| slaves.byte(address, pointer);
        read(0)?;
        match (self.protocol(), self.is_read()) {
            (0, _) => {}
            (1, true) => {
                self.data[0] = read(self.pointer)?;
                self.pointer = self.pointer.wrapping_add(1);
            }
            (1, false) => self.pointer = self.command,
            (2, true) => {
                self.data[0] = read(self.command)?;
                self.pointer = self.command.wrapping_add(1);
            }
            (3, true) => {
                self.data = [read(self.command)?, read(self.command.wrapping_add(1))?];
                self.pointer = self.command.wrapping_add(2);
            }
            (5, true) => {
                // The first byte says how many follow: 1 to 32.
                let count = read(self.command)?.clamp(1, BLOCK as u8);
                self.data[0] = count;
                for i in 0..count {
                    self.block[usize::from(i)] = read(self.command.wrapping_add(1 + i))?;
                }
            }
            (2 | 3 | 5, false) => {} // write-protected
            _ => return None,
        }
        Some(())
    }

    pub(super) fn validate(&self, section: &str) -> Result<(), StateError> {
        check(section, usize::from(self.block_index) < BLOCK, "SMBus block index beyond the block")?;
        let busy = self.status & BUSY != 0;
        check(section, busy == self.done_at.is_some(), "SMBus busy without a transfer, or the reverse")
    }

    pub(super) fn inspect(&self, out: &mut Inspector<'_>) {
        show(out, "SMBHSTSTS", self.status, 8);
        show(out, "SMBHSTCNT", self.control, 8);
        show(out, "SMBHSTADD", self.address, 8);
    }
}
