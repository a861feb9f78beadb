//! The bus-master engine of one channel (PIIX4, 5.2 and 5.3; "Programming Interface for Bus Master IDE Controller" 1.0).

use slotone_bus::{Cx, encode_fields};

use crate::registers::{bmic, bmis};

/// How far a transfer got.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// All bytes of the drive were moved.
    Done,
    /// The descriptors are used up and the drive has (or wants) more.
    Exhausted,
    /// Memory did not answer.
    Fault,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct BusMaster {
    /// BMICX.
    pub(crate) command: u8,
    /// BMISX.
    pub(crate) status: u8,
    /// BMIDTPX as written.
    pub(crate) pointer: u32,
    /// Address of the next descriptor.
    cursor: u32,
    /// What is left of the current region.
    region: u32,
    left: u32,
    last: bool,
}
encode_fields!(BusMaster { command, status, pointer, cursor, region, left, last });

impl BusMaster {
    pub(crate) fn active(&self) -> bool {
        self.status & bmis::BMIDEA != 0
    }

    /// The engine runs, in the direction the drive needs.
    pub(crate) fn serves(&self, to_memory: bool) -> bool {
        self.active() && (self.command & bmic::RWCON != 0) == to_memory
    }

    pub(crate) fn read(&self, register: u64) -> u8 {
        match register {
            0 => self.command,
            2 => self.status,
            4..=7 => self.pointer.to_le_bytes()[(register - 4) as usize],
            _ => 0,
        }
    }

    pub(crate) fn write(&mut self, register: u64, value: u8) {
        match register {
            0 => {
                let was = self.command & bmic::SSBM != 0;
                self.command = value & (bmic::RWCON | bmic::SSBM);
                let now = self.command & bmic::SSBM != 0;
                if now && !was {
                    self.status |= bmis::BMIDEA;
                    self.cursor = self.pointer;
                    self.left = 0;
                    self.last = false;
                } else if !now {
                    // Stopped for good: it cannot be resumed in the middle.
                    self.status &= !bmis::BMIDEA;
                }
            }
            2 => {
                let kept = self.status & !(value & (bmis::IDEINTS | bmis::ERROR));
                let capable = bmis::DMA0CAP | bmis::DMA1CAP;
                self.status = kept & !capable | value & capable;
            }
            4..=7 => {
                let mut bytes = self.pointer.to_le_bytes();
                bytes[(register - 4) as usize] = value;
                self.pointer = u32::from_le_bytes(bytes) & !3;
            }
            _ => {}
        }
    }

    /// Moves bytes between `data[*pos..]` and memory until one side is used up. Every descriptor covers at least two bytes, so
    /// the walk is bounded by the data.
    pub(crate) fn run(&mut self, cx: &mut Cx<'_>, to_memory: bool, data: &mut [u8], pos: &mut usize) -> End {
        while *pos < data.len() {
            if self.left == 0 {
                if self.last {
                    self.status &= !bmis::BMIDEA;
                    return End::Exhausted;
                }
                let mut prd = [0; 8];
                if cx.dma_read(u64::from(self.cursor), &mut prd).is_err() {
                    return self.fault();
                }
                let [a, b, c, d, e, f, _, flags] = prd;
                self.cursor = self.cursor.wrapping_add(8);
                self.region = u32::from_le_bytes([a, b, c, d]) & !1;
                let count = u32::from(u16::from_le_bytes([e, f]) & !1);
                self.left = if count == 0 { 0x1_0000 } else { count };
                self.last = flags & 0x80 != 0;
            }
            let n = (self.left as usize).min(data.len() - *pos);
            let part = &mut data[*pos..*pos + n];
            let address = u64::from(self.region);
            let moved = if to_memory { cx.dma_write(address, part) } else { cx.dma_read(address, part) };
            if moved.is_err() {
                return self.fault();
            }
            *pos += n;
            self.region = self.region.wrapping_add(n as u32);
            self.left -= n as u32;
        }
        if self.left == 0 && self.last {
            self.status &= !bmis::BMIDEA;
        }
        End::Done
    }

    /// A master abort: the engine stops with its error bit; the drive goes on waiting.
    fn fault(&mut self) -> End {
        self.status = self.status & !bmis::BMIDEA | bmis::ERROR;
        End::Fault
    }

    /// Whether a saved engine could have come about.
    pub(crate) fn valid(&self) -> bool {
        let status = bmis::BMIDEA | bmis::ERROR | bmis::IDEINTS | bmis::DMA0CAP | bmis::DMA1CAP;
        self.command & !(bmic::RWCON | bmic::SSBM) == 0
            && self.status & !status == 0
            && (!self.active() || self.command & bmic::SSBM != 0)
            && self.pointer & 3 == 0
            && self.cursor & 3 == 0
            && self.left <= 0x1_0000
            && self.left & 1 == 0
    }
}
