//! SCSI targets without a bus: what a drive does with a command descriptor block, whoever carries it there.
//!
//! A [`Target`] gets a [`Command`] and answers with a [`Reply`]: done, data for the initiator, data wanted from it, an [`Access`] to the
//! medium, or CHECK CONDITION with [`Sense`]. It never does I/O itself: the adapter (ATAPI packets, a SCSI host adapter, USB mass
//! storage) carries medium transfers through `slotone-block` and tells the target how they went.
//!
//! [`Disk`] is a hard disk by SBC-2 (INCITS 405) and SPC-2/SPC-3, to 2 TB and beyond, with blocks of 512 to 4096 bytes; [`CdRom`] is a CD/DVD-ROM drive by MMC-3 (INCITS 360) and SPC-2, with one data track; see its documentation for the commands.
//!
//! ```
//! use slotone_scsi::{Access, CdRom, Command, Range, Reply, Target};
//! let mut drive = CdRom::new();
//! drive.insert(4_000_000); // bytes
//! // The first command after power-on reports a unit attention; a driver asks again.
//! assert!(matches!(drive.command(&Command::new(&[0x00])), Reply::Check(s) if s.asc == 0x29));
//! assert!(matches!(drive.command(&Command::new(&[0x00])), Reply::Check(s) if s.asc == 0x28));
//! let read10 = Command::new(&[0x28, 0, 0, 0, 0, 16, 0, 0, 1, 0]);
//! assert_eq!(drive.command(&read10), Reply::Medium(Access::Read(Range { offset: 16 * 2048, len: 2048 })));
//! ```
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use std::any::Any;
use std::fmt;

use slotone_bus::state::{StateError, StateReader, StateWriter};

mod absent;
pub mod asc;
mod cdrom;
mod command;
mod config;
mod disk;
mod execute;
mod faulty;
mod identity;
mod modes;
mod nexus;
pub mod opcode;
mod reservation;
mod sense;
mod unit;

pub use cdrom::{CD_BLOCK, CdConfig, CdRom};
pub use command::{Access, Command, Failure, INITIATORS, MediumResult, Range, Reply, Reset, status};
pub use config::{SpiFlags, Version};
pub use disk::{Disk, DiskConfig};
pub use execute::{Completion, Data, execute};
pub use faulty::{Fault, FaultKind, Faulty};
pub use identity::Identity;
pub use sense::{Sense, SenseKey};

/// A SCSI target, as an adapter drives it.
///
/// **Many commands at once.** A target keeps nothing about a command that is not over: the adapter keeps the [`Command`] and, while
/// one is running, its [`Access`], and hands them in with every step. So the commands of a queue may be at different steps, may
/// end in any order, and an abort is nothing but forgetting one. How many there are, and when the answer is BUSY or TASK SET FULL
/// ([`status`]), is the adapter's decision; so is their order, where ORDERED tags ask for one.
///
/// **Sense data** belong to the initiator whose command failed and wait for its REQUEST SENSE; any other command of that initiator drops
/// them (contingent allegiance). An adapter with tagged commands holds the status of the others back while
/// [`Target::sense`] has a key, or their own sense would replace it; one with autosense uses the copy in [`Reply::Check`].
///
/// An adapter gets its boxed target's own type back by `Any`: `(target as &mut dyn Any).downcast_mut::<CdRom>()`.
pub trait Target: Any + Send + fmt::Debug {
    /// Begins a command.
    fn command(&mut self, command: &Command) -> Reply;

    /// The initiator's data for a [`Reply::DataOut`]; fewer than wanted if it gave fewer. What follows may be any reply but another
    /// `DataOut`. `command` is the one that asked for them; to another, which asks for none, the answer is [`Reply::Check`].
    fn data_out(&mut self, command: &Command, data: &[u8]) -> Reply;

    /// The access of a [`Reply::Medium`] ended. What follows is the end of the command or one more access without a data phase.
    ///
    /// `command` and `access` are the ones of that reply. The target keeps neither and cannot tell: for others (of a damaged saved state, say)
    /// the answer is as if it had asked: the wrong end of a command, or a read of that range.
    fn medium_done(&mut self, command: &Command, access: &Access, result: MediumResult) -> Reply;

    /// A reset: sense data, reservations and settings are dropped, every initiator's next command reports a unit attention. The adapter
    /// forgets the commands in flight.
    fn reset(&mut self, reset: Reset);

    /// The sense data of `initiator`'s last command: [`SenseKey::NoSense`] if there are none.
    fn sense(&self, initiator: u8) -> Sense;

    /// Ends a command for a reason that is not the target's own: an adapter saw it on its bus (commands that overlap, an error that the
    /// initiator detected), or a target around this one makes it up. The answer is [`Reply::Check`], and `sense` waits as that of any other
    /// failure.
    fn refuse(&mut self, command: &Command, sense: Sense) -> Reply;

    /// Bytes of a logical block. Of a block that cannot be read an initiator gets nothing, of one that did not come whole nothing is written.
    fn block_bytes(&self) -> u32;

    /// A selection begins: whether the target will answer it. Only an adapter with a SCSI bus asks, once for each; one with a fault does
    /// not ([`Faulty`]).
    fn selected(&mut self) -> bool {
        true
    }

    /// Writes its state as a section.
    fn save(&self, w: &mut StateWriter);

    /// Takes a state back; the target is unchanged on an error.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are no such state.
    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError>;
}
