//! Adaptec's AIC-7870 PCI SCSI host adapter (PCI 9004:7078) with its sequencer, as a device model without I/O.
//!
//! The chip has no firmware: every driver downloads a program of its own into the sequencer, and what a command block looks like is
//! that program's affair. So the model interprets the instruction set and everything the program can reach: the SCSI cell, the data FIFO
//! with host DMA, 16 SCB pages, scratch RAM, two queues, the 93C46 EEPROM.
//!
//! API in short:
//! - [`Aic7870::new`] takes an [`Aic7870Config`] and up to 16 targets of `slotone-scsi` by their SCSI IDs.
//! - It is a `slotone_bus::Device`: configuration space, 256 ports at BAR 0, 4 KiB at BAR 1; output pin [`Aic7870::INTA`].
//! - It is a `slotone_block::DiskClient`: the unit of a request is the SCSI ID; many are out at once.
//! - [`Aic7870::target_as`] reaches a target from outside: `target_as::<CdRom>(5)` to insert a medium.
//! - [`asm`] assembles and disassembles sequencer programs; [`registers`] has the names.
//!
//! Limits: initiator only (no target mode), no parity errors, no SCAM, no external SCB memory, no option ROM.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use slotone_bus::Pin;

#[macro_use]
mod trace;

mod adapter;
pub mod asm;
mod bus;
mod cell;
mod device;
pub mod registers;
mod seeprom;
mod sequencer;
mod state;
mod task;

pub use device::{Aic7870, Aic7870Config, Latency, Timing};
pub use seeprom::{WORDS as SEEPROM_WORDS, seeprom_image};
#[cfg(feature = "trace")]
pub use trace::BusEvent;

/// Output: the PCI interrupt pin.
const INTA: Pin = Pin(0);
