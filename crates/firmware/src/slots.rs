//! The PCI slots of Virtual Server's board: where the machine has its devices, and what $PIR tells of.

use core::ops::RangeInclusive;

/// The PIIX4 with all its functions.
pub const PIIX4: u8 = 7;
/// The slots that hold cards. Each stands in $PIR, whether there is a card or not.
pub const CARDS: RangeInclusive<u8> = 8..=17;
/// The S3.
pub const VIDEO: u8 = 8;
/// The SCSI adapters.
pub const SCSI: [u8; 4] = [9, 14, 15, 16];
/// The network cards.
pub const NETWORK: [u8; 4] = [10, 11, 12, 13];
