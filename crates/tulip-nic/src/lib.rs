//! DEC/Intel 21140A ("tulip") PCI Fast Ethernet controller, with its 93C46 serial ROM and an MII PHY.
//!
//! The card as Virtual PC and Virtual Server showed it to their guests: PCI function 1011:0009 revision 20h, subsystem 0A00h..0A03h:2114h,
//! driven by the `tulip` of Linux, `dc21x4.sys` of Windows NT and its successors, the `tulip` of iPXE. A plain struct: no thread, no
//! socket, no clock of its own. Frames are asked for and handed in ([`slotone_net::NetClient`]); whoever owns the card carries them.
//!
//! | item | is |
//! | --- | --- |
//! | [`Tulip`] | the card, a [`Device`](slotone_bus::Device) and a [`NetClient`](slotone_net::NetClient) |
//! | [`TulipConfig`] | its Ethernet address, which of four cards it is, another serial ROM |
//! | [`Tulip::INTA`] | its one output pin |
//! | [`srom`] | the content of the serial ROM: written and read, both CRCs |
//! | [`registers`] | names and bits as the data sheet prints them |
//!
//! Sources: DEC/Intel 21140A data sheet and the hardware reference manual of its successor where the two agree (CSRs, descriptor lists,
//! receive and transmit processes, set-up frames), "21X4 Serial ROM Format" version 4.05, IEEE 802.3u clause 22.
//!
//! # Time
//!
//! A frame is handed over at the instant it is gathered, and its descriptor is closed when the network has taken it: the network's
//! pace is the card's. Frames that no network takes (internal loopback, transceiver loopback, no cable) last as long as on a wire of
//! 10 or 100 Mbit/s. The general-purpose timer and automatic polling keep the manual's intervals.
//!
//! # Limits
//!
//! Never reported: collisions, loss of carrier, heartbeat failure, FIFO underflow and overflow (there is no FIFO that could), early
//! interrupts. Storage only: bus arbitration, burst lengths, cache alignment, thresholds, store and forward, the backoff bits, the
//! SYM port's PCS and scrambler, HUJ and RWR. There is no boot ROM behind CSR9 and CSR10 and no expansion ROM BAR. The medium is MII only; nothing is
//! wired to the general-purpose port, whose inputs read as ones.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod device;
mod dma;
mod eeprom;
mod filter;
mod frame;
mod mii;
mod receive;
pub mod registers;
pub mod srom;
mod state;
mod timer;
mod transmit;

pub use device::{Tulip, TulipConfig};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
