//! What goes into a target and what comes out.

use slotone_block::Outcome;
use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};

use crate::{Sense, opcode};

/// Initiators that a target tells apart: as many as a wide bus has addresses.
pub const INITIATORS: usize = 16;

/// A command as the adapter received it. The adapter keeps it until the command is done, and hands it in with every step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Command {
    /// Who asks, 0 to 15 (16 counts as 0, and so on): sense data, unit attentions and reservations are kept for each initiator.
    pub initiator: u8,
    /// Logical unit, from the IDENTIFY message. The targets here have unit 0 and answer for the absent ones as SPC-2 says.
    pub lun: u8,
    /// Command descriptor block, filled up with zeros.
    pub cdb: [u8; 16],
}

slotone_bus::encode_fields!(Command { initiator, lun, cdb });

impl Command {
    /// A command of initiator 0 for unit 0. `cdb` has any length: what is missing reads as zeros, what is too long is cut.
    pub fn new(cdb: &[u8]) -> Self {
        let mut block = [0; 16];
        let n = cdb.len().min(16);
        block[..n].copy_from_slice(&cdb[..n]);
        Self { initiator: 0, lun: 0, cdb: block }
    }

    /// The same command for another unit.
    #[must_use]
    pub fn lun(self, lun: u8) -> Self {
        Self { lun, ..self }
    }

    /// The same command from another initiator.
    #[must_use]
    pub fn initiator(self, initiator: u8) -> Self {
        Self { initiator, ..self }
    }

    /// Operation code: byte 0.
    pub fn opcode(&self) -> u8 {
        self.cdb[0]
    }

    /// Refuses NACA and LINK of the control byte (SPC-2, 4.3.6): neither an auto contingent allegiance nor linked commands are there. What a code that
    /// nobody knows has for a last byte nobody knows either.
    pub(crate) fn control(&self) -> Result<(), Sense> {
        let at = opcode::cdb_len(self.opcode()) - 1;
        let asks = opcode::name(self.opcode()).is_some() && self.cdb[at] & 0x05 != 0;
        if asks { Err(Sense::INVALID_FIELD.at(at)) } else { Ok(()) }
    }

    pub(crate) fn nexus(&self) -> u8 {
        self.initiator % INITIATORS as u8
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_be_bytes([self.cdb[at], self.cdb[at + 1]])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from(self.u16(at)) << 16 | u32::from(self.u16(at + 2))
    }

    pub(crate) fn u64(&self, at: usize) -> u64 {
        u64::from(self.u32(at)) << 32 | u64::from(self.u32(at + 4))
    }
}

/// A range of the medium in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First byte.
    pub offset: u64,
    /// Bytes; not 0.
    pub len: u64,
}

slotone_bus::encode_fields!(Range { offset, len });

/// What a command wants of the medium. Ranges lie within the medium and are whole blocks; lengths may be as large as the medium, so
/// an adapter works in pieces of a size of its own choice.
///
/// An access that an adapter does not know (there may be more in a later version) it must not take for done: it ends the command with
/// [`Target::refuse`](crate::Target::refuse).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Access {
    /// The initiator gets the range.
    Read(Range),
    /// The initiator's data go to the range.
    Write {
        /// Where.
        range: Range,
        /// Durable before the command ends (force unit access, or the write cache is off).
        fua: bool,
    },
    /// The range is read, and the data are thrown away: can it be read? No data phase.
    Verify(Range),
    /// The initiator's data are compared with the range; the first difference ends it with [`MediumResult::Differs`].
    Compare(Range),
    /// `block` is written over and over until the range is full. No data phase (its one block has come already).
    WriteSame {
        /// Where; a multiple of the block's length, and at most 32 MiB.
        range: Range,
        /// One block.
        block: Vec<u8>,
        /// Durable before the command ends.
        fua: bool,
    },
    /// The content of these ranges is no longer needed. No data phase.
    Discard(Vec<Range>),
    /// Every finished write is made durable. No data phase.
    Flush,
}

impl Encode for Access {
    fn encode(&self, w: &mut StateWriter) {
        match self {
            Self::Read(range) => (0u8, *range).encode(w),
            Self::Write { range, fua } => (1u8, (*range, *fua)).encode(w),
            Self::Verify(range) => (2u8, *range).encode(w),
            Self::Compare(range) => (3u8, *range).encode(w),
            Self::WriteSame { range, block, fua } => {
                (4u8, (*range, *fua)).encode(w);
                block.encode(w);
            }
            Self::Discard(ranges) => {
                5u8.encode(w);
                ranges.encode(w);
            }
            Self::Flush => 6u8.encode(w),
        }
    }

    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(match u8::decode(r)? {
            0 => Self::Read(Range::decode(r)?),
            1 => {
                let (range, fua) = Encode::decode(r)?;
                Self::Write { range, fua }
            }
            2 => Self::Verify(Range::decode(r)?),
            3 => Self::Compare(Range::decode(r)?),
            4 => {
                let (range, fua) = Encode::decode(r)?;
                let block = Vec::<u8>::decode(r)?;
                if block.is_empty() {
                    return Err(r.invalid("a block without bytes"));
                }
                Self::WriteSame { range, block, fua }
            }
            5 => Self::Discard(Encode::decode(r)?),
            6 => Self::Flush,
            other => return Err(r.invalid(format!("{other} is no access to a medium"))),
        })
    }
}

/// How an [`Access`] ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MediumResult {
    /// All of it is done.
    Done,
    /// It failed.
    Failed {
        /// Why.
        failure: Failure,
        /// First byte on the medium that is not done: sense data name its block. An adapter that works in pieces therefore tries a piece that
        /// failed with [`Failure::Medium`] once more in smaller ones, down to a block, be it read, compared or written: only so is what is good
        /// before the bad block done, and the block named the bad one.
        offset: u64,
    },
    /// [`Access::Compare`] met another byte.
    Differs {
        /// Where on the medium.
        offset: u64,
    },
}

/// Why an [`Access`] failed: every [`Outcome`] but the good one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// [`Outcome::OutOfRange`].
    OutOfRange,
    /// [`Outcome::ReadOnly`].
    ReadOnly,
    /// [`Outcome::MediumError`].
    Medium,
    /// [`Outcome::NotReady`].
    NotReady,
}

impl MediumResult {
    /// From the outcome of a request at byte `offset`.
    pub fn new(outcome: Outcome, offset: u64) -> Self {
        let failure = match outcome {
            Outcome::Done => return Self::Done,
            Outcome::OutOfRange => Failure::OutOfRange,
            Outcome::ReadOnly => Failure::ReadOnly,
            Outcome::MediumError => Failure::Medium,
            Outcome::NotReady => Failure::NotReady,
        };
        Self::Failed { failure, offset }
    }
}

/// What a target wants done about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// The command is over: GOOD, without (more) data.
    Good,
    /// The command is over: GOOD, with these bytes for the initiator: already cut to the allocation length, never empty.
    DataIn(Vec<u8>),
    /// `len` bytes are wanted from the initiator (a parameter list); then [`Target::data_out`](crate::Target::data_out).
    DataOut {
        /// Bytes, 1 to 65,535.
        len: u32,
    },
    /// The adapter accesses the medium, then calls [`Target::medium_done`](crate::Target::medium_done) once: after the last piece, or
    /// for the first that failed.
    Medium(Access),
    /// The command is over: CHECK CONDITION. The sense data stay with the target for REQUEST SENSE.
    Check(Sense),
    /// The command is over: RESERVATION CONFLICT.
    ReservationConflict,
    /// The command is not over, and the target says nothing more about it: the adapter keeps it until the initiator aborts it or resets the
    /// target. Only a target with a fault does so ([`Faulty`](crate::Faulty)).
    Held,
}

impl Reply {
    /// The status byte, if the command is over.
    pub fn status(&self) -> Option<u8> {
        match self {
            Self::Good | Self::DataIn(_) => Some(status::GOOD),
            Self::Check(_) => Some(status::CHECK_CONDITION),
            Self::ReservationConflict => Some(status::RESERVATION_CONFLICT),
            Self::DataOut { .. } | Self::Medium(_) | Self::Held => None,
        }
    }

    /// The initiator gets at most what it allocated; nothing at all is GOOD without data.
    pub(crate) fn data_in(mut data: Vec<u8>, allocated: usize) -> Self {
        data.truncate(allocated);
        if data.is_empty() { Self::Good } else { Self::DataIn(data) }
    }
}

/// Status bytes (SPC-2's SAM-2, table 22).
pub mod status {
    /// Done.
    pub const GOOD: u8 = 0x00;
    /// Failed, or something to tell: sense data wait.
    pub const CHECK_CONDITION: u8 = 0x02;
    /// The adapter has no room for a command of an initiator that has none here.
    pub const BUSY: u8 = 0x08;
    /// The unit is reserved by another initiator.
    pub const RESERVATION_CONFLICT: u8 = 0x18;
    /// TASK SET FULL (QUEUE FULL): the adapter has no room for one more tagged command.
    pub const TASK_SET_FULL: u8 = 0x28;
}

/// What reset a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// Power-on, or a reset whose cause nobody tells (ATA's).
    PowerOn,
    /// The bus's RST line.
    Bus,
    /// BUS DEVICE RESET message.
    Device,
}
