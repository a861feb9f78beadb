//! The PIIX4's IDE function (Intel 82371AB/EB, order number 290562, chapter 5) with ATA disks and ATAPI CD drives (ATA/ATAPI-5,
//! T13 1321D; SFF-8020i).
//!
//! API in short:
//! - [`PciIde::new`] takes four optional [`Drive`]s ([`Drive::disk`], [`Drive::cdrom`]) and a [`Timing`]; it is PCI function 1 of its device.
//! - It is a `slotone_bus::Device`: windows are configuration space, 1F0h-1F7h, 3F6h, 170h-177h, 376h and 16 ports at BMIBA.
//! - Output pins: [`IRQ14`] and [`IRQ15`], active high.
//! - It is a `slotone_block::DiskClient`: requests with units 0 (primary master) to 3 (secondary slave), one at a time a channel.
//! - [`PciIde::insert`], [`PciIde::eject`] and [`PciIde::cd`] are the outside of a CD drive.
//!
//! ```
//! use slotone_block::{BlockBackend, DiskClient, memory::MemoryDisk, perform};
//! use slotone_bus::{At, Device, Space, TestPort, VmInstant, Window};
//! use slotone_ide_atapi::{DiskConfig, Drive, PciIde, Timing};
//!
//! let medium = MemoryDisk::new(1 << 30);
//! let disk = Drive::disk(DiskConfig::new(medium.info().clone()));
//! let mut ide = PciIde::new([Some(disk), None, None, None], Timing::default());
//! let mut port = TestPort::new(1 << 20);
//!
//! // What the BIOS does: PCICMD, I/O space enable and bus master enable.
//! let config = At { window: ide.windows().1[0].id, offset: 4 };
//! port.at(0, |cx| ide.write(cx, config, &[5]));
//! // The machine finds ports by the device's windows; here by hand.
//! let at = |ide: &PciIde, address: u64| {
//!     let hit = |w: &&Window| w.space == Space::Io && (w.base..w.base + w.len).contains(&address);
//!     let window = ide.windows().1.iter().find(hit).expect("a window");
//!     At { window: window.id, offset: address - window.base }
//! };
//! // READ SECTORS, one sector, LBA 0.
//! for (address, value) in [(0x1f6, 0xe0), (0x1f2, 1), (0x1f3, 0), (0x1f4, 0), (0x1f5, 0), (0x1f7, 0x20)] {
//!     let to = at(&ide, address);
//!     port.at(0, |cx| ide.write(cx, to, &[value]));
//! }
//! // The machine carries the request to the medium and ticks the device when it is due.
//! let request = ide.next_request().expect("a read");
//! let due = request.due;
//! ide.complete(perform(Some(&medium), request));
//! port.at(due, |cx| ide.tick(cx));
//! assert_eq!(port.take_lines(), [(slotone_ide_atapi::IRQ14, true)]);
//! ```
//!
//! Limits: 28-bit addresses (no LBA48), transfer modes up to Ultra DMA 2, no overlapped or queued commands, no SMART, security,
//! host protected area or removable ATA media; writes of one command reach the medium together, after its last DRQ block.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

use slotone_bus::Pin;

mod ata;
mod atapi;
mod bus_master;
mod channel;
mod device;
mod drive;
mod identify;
mod medium;
mod protocol;
pub mod registers;
mod state;
mod transfer;
mod unit;

pub use device::{MediaError, PciIde, Timing};
pub use drive::{CdConfig, DiskConfig, Drive, LBA28_SECTORS, VIRTUAL_SERVER_SECTORS};

/// Output: interrupt of the primary channel.
pub const IRQ14: Pin = Pin(0);
/// Output: interrupt of the secondary channel.
pub const IRQ15: Pin = Pin(1);
