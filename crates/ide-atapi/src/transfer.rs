//! The command that runs on a channel: what it waits for, its data and its medium request.

use slotone_bus::{VmInstant, encode_enum, encode_fields};
use slotone_scsi::Command;

/// Largest request to a medium: 256 sectors.
pub(crate) const MAX_REQUEST: u32 = 256 * 512;

/// Bytes of a sector.
pub(crate) const SECTOR: u32 = 512;

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: no command runs.
    Idle,
    /// BSY; at `due` the packet command is carried out.
    Execute,
    /// BSY; a medium request is out.
    Medium,
    /// BSY; at `due` the next DRQ block towards the host is there.
    InWait,
    /// DRQ; the host reads a block.
    In,
    /// BSY; at `due` the next DRQ block from the host is wanted.
    OutWait,
    /// DRQ; the host writes a block.
    Out,
    /// DRQ; the host writes the command packet.
    Packet,
    /// DMARQ; the bus master has to move the buffer, at `due` if it runs.
    Dma,
    /// BSY; at `due` the command ends with `result`.
    Finish,
    /// BSY on both drives: SRST is held.
    Held,
    /// BSY on both drives; at `due` the reset is over.
    Reset,
    /// BSY on both drives; at `due` the diagnostics are over.
    Diagnostic,
}
encode_enum!(Step {
    Idle,
    Execute,
    Medium,
    InWait,
    In,
    OutWait,
    Out,
    Packet,
    Dma,
    Finish,
    Held,
    Reset,
    Diagnostic,
});

/// What a medium request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// The drive's write cache is off.
    WriteThrough,
    Flush,
}
encode_enum!(Access { Read, Write, WriteThrough, Flush });

/// A request that is not completed. Data to write are in [`Transfer::buffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediumRequest {
    pub(crate) id: u64,
    pub(crate) access: Access,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) due: VmInstant,
}
encode_fields!(MediumRequest { id, access, offset, len, due });

/// The command that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) step: Step,
    /// 0 or 1: the drive it runs on.
    pub(crate) unit: u8,
    pub(crate) due: Option<VmInstant>,
    /// ATA command code.
    pub(crate) opcode: u8,
    /// A PACKET command that was accepted.
    pub(crate) packet: bool,
    /// What its packet said.
    pub(crate) command: Command,
    pub(crate) dma: bool,
    /// Towards the medium.
    pub(crate) write: bool,
    /// Data on their way; a command packet in [`Step::Packet`] and [`Step::Execute`].
    pub(crate) buffer: Vec<u8>,
    /// Next byte of the buffer, and end of the DRQ block it is in.
    pub(crate) pos: u32,
    pub(crate) block_end: u32,
    /// Bytes of a DRQ block.
    pub(crate) block: u32,
    /// The last byte of the buffer is padding of an odd number of bytes.
    pub(crate) padded: bool,
    /// Next byte on the medium, and bytes of it still to come or go. For a write those are the last ones of the buffer.
    pub(crate) offset: u64,
    pub(crate) left: u64,
    /// A large request failed: the rest is done in the smallest pieces, so that what is good is delivered and the bad sector is found.
    pub(crate) narrow: bool,
    /// Bytes of a failed DRQ block of several sectors that are still searched for the bad one; their data are not delivered.
    pub(crate) probe: u32,
    /// Error register at [`Step::Finish`]; 0: the command went well.
    pub(crate) result: u8,
    pub(crate) request: Option<MediumRequest>,
}
encode_fields!(Transfer {
    step,
    unit,
    due,
    opcode,
    packet,
    command,
    dma,
    write,
    buffer,
    pos,
    block_end,
    block,
    padded,
    offset,
    left,
    narrow,
    probe,
    result,
    request,
});

impl Transfer {
    pub(crate) fn idle() -> Self {
        Self {
            step: Step::Idle,
            unit: 0,
            due: None,
            opcode: 0,
            packet: false,
            command: Command::default(),
            dma: false,
            write: false,
            buffer: Vec::new(),
            pos: 0,
            block_end: 0,
            block: SECTOR,
            padded: false,
            offset: 0,
            left: 0,
            narrow: false,
            probe: 0,
            result: 0,
            request: None,
        }
    }

    /// Replaces the buffer and begins at its front; returns the old one.
    pub(crate) fn load(&mut self, buffer: Vec<u8>) -> Vec<u8> {
        (self.pos, self.block_end) = (0, 0);
        std::mem::replace(&mut self.buffer, buffer)
    }

    /// Smallest request: a sector, a block of a CD, or what the host takes as one DRQ block.
    pub(crate) fn narrow_unit(&self) -> u32 {
        match (self.packet, self.dma || self.write) {
            (true, _) => 2048,
            (false, true) => SECTOR,
            (false, false) => self.block,
        }
    }
}
