//! SCSI targets without a bus: what a drive does with a command descriptor block, whoever carries it there.
//!
//! A [`Target`] gets a command and answers with a [`Reply`]: done, data for the initiator, a part of the medium to be read, or CHECK
//! CONDITION with [`Sense`]. It never does I/O itself: the adapter (ATAPI packets today, a SCSI host adapter later)
//! carries medium transfers through `slotone-block` and tells the target how they went.
//!
//! [`CdRom`] is a CD/DVD-ROM drive by MMC-3 (INCITS 360) and SPC-2, with one data track; see its documentation for the commands.
//!
//! ```
//! use slotone_scsi::{CdRom, Reply, Target};
//! let mut drive = CdRom::new();
//! drive.insert(4_000_000); // bytes
//! // The first command after power-on reports a unit attention; a driver asks again.
//! assert!(matches!(drive.command(&[0x00, 0, 0, 0, 0, 0]), Reply::Check(s) if s.asc == 0x29));
//! assert!(matches!(drive.command(&[0x00, 0, 0, 0, 0, 0]), Reply::Check(s) if s.asc == 0x28));
//! let read10 = [0x28, 0, 0, 0, 0, 16, 0, 0, 1, 0];
//! assert_eq!(drive.command(&read10), Reply::Read { offset: 16 * 2048, len: 2048 });
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use slotone_block::Outcome;

mod cdrom;
pub mod opcode;
mod sense;

pub use cdrom::{CD_BLOCK, CdIdentity, CdRom};
pub use sense::{Sense, SenseKey};

/// What a target wants done about a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reply {
    /// GOOD, without data.
    Good,
    /// GOOD, with these bytes for the initiator: already cut to the allocation length, so never empty by accident.
    DataIn(Vec<u8>),
    /// The initiator gets `len` bytes of the medium from byte `offset` on: in range, whole blocks. The adapter reads them in pieces as
    /// large as it likes, and calls [`Target::medium_done`] once: after the last piece, or for the first that failed.
    Read {
        /// First byte on the medium.
        offset: u64,
        /// Bytes; not 0.
        len: u64,
    },
    /// CHECK CONDITION. The sense data stay with the target for REQUEST SENSE.
    Check(Sense),
}

/// A SCSI logical unit.
pub trait Target: Send {
    /// Begins a command. `cdb` has any length: what is missing reads as zeros.
    fn command(&mut self, cdb: &[u8]) -> Reply;

    /// The transfer of a [`Reply::Read`] ended: at byte `offset` of the medium with `outcome`. Returns [`Reply::Good`] or
    /// [`Reply::Check`].
    fn medium_done(&mut self, outcome: Outcome, offset: u64) -> Reply;

    /// A reset by bus, device reset message or power: pending sense is dropped, the next command reports a unit attention.
    fn reset(&mut self);

    /// The sense data that REQUEST SENSE would return now.
    fn sense(&self) -> Sense;
}
