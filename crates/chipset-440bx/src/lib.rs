//! Intel 440BX board: 82443BX host bridge and PIIX4 with what they integrate.
//!
//! Every block is a [`Device`](slotone_bus::Device) of its own, usable alone; a machine wires their pins. Data sheets: Intel 82443BX (290633),
//! 82371AB PIIX4 (290562), 8259A, 8254, 8237A, Motorola MC146818A.
//!
//! | device | answers to | constructor | input pins | output pins | host's side |
//! | --- | --- | --- | --- | --- | --- |
//! | [`HostBridge`] | PCI function 0, DRAM map, 22h | [`HostBridge::new`]`(`[`HostBridgeConfig::new`]`(ram_bytes))` | | | [`HostBridge::received_master_abort`] |
//! | [`IsaBridge`] | PCI function 0, 61h, 92h, CF9h, F0h, flash | [`IsaBridge::new`]`(`[`IsaBridgeConfig`]`)` | [`pirq(n)`](isa_bridge::pin::pirq), [`OUT2`](isa_bridge::pin::OUT2), [`FERR`](isa_bridge::pin::FERR), [`NMI_MASK`](isa_bridge::pin::NMI_MASK), [`SERR`](isa_bridge::pin::SERR), [`IOCHK`](isa_bridge::pin::IOCHK) | [`irq(n)`](isa_bridge::pin::irq), [`GATE2`](isa_bridge::pin::GATE2), [`SPEAKER`](isa_bridge::pin::SPEAKER), [`A20`](isa_bridge::pin::A20), [`INIT`](isa_bridge::pin::INIT) and [`RESET`](isa_bridge::pin::RESET) (pulses), [`NMI`](isa_bridge::pin::NMI), [`IGNNE`](isa_bridge::pin::IGNNE), [`RTC_UPPER`](isa_bridge::pin::RTC_UPPER) | [`IsaBridge::route`]; lent memory [`isa_bridge::FLASH`] |
//! | [`Pic`] | 20h, A0h, 4D0h | [`Pic::new`]`()` | [`ir(n)`](pic::pin::ir) | [`INTR`](pic::pin::INTR) | [`Pic::intr`], [`Device::intack`](slotone_bus::Device::intack) |
//! | [`Pit`] | 40h | [`Pit::new`]`()` | [`GATE2`](pit::pin::GATE2) | [`OUT0`](pit::pin::OUT0), [`OUT2`](pit::pin::OUT2) | [`Pit::period`] |
//! | [`Dma`] | 00h, 80h, C0h, 40Bh, 4D6h | [`Dma::new`]`()` | | | [`Dma::post_code`] |
//! | [`Rtc`] | 70h | [`Rtc::new`]`(`[`DateTime`]`)` | [`UPPER`](rtc::pin::UPPER) | [`IRQ8`](rtc::pin::IRQ8), [`NMI_MASK`](rtc::pin::NMI_MASK) | [`Rtc::cmos`], [`Rtc::set_cmos`] |
//! | [`Pm`] | PCI function 3, B2h, PMBA, SMBBA | [`Pm::new`]`(`[`PmConfig`]`)` | | [`SCI`](pm::pin::SCI), [`SLP_S5`](pm::pin::SLP_S5), [`SMB_IRQ`](pm::pin::SMB_IRQ) | [`Pm::press_power_button`], [`Pm::is_off`], [`Pm::sci_enabled`] |
//!
//! [`IsaBridge`] (function 0) and [`Pm`] (function 3) share slot 7 on the board with the IDE function, which has a crate of its own. Function 2, USB, is hidden
//! in Virtual Server and not built.
//!
//! Wires of the board: `Rtc::IRQ8` to `Pic` IR8, `Pit::OUT0` to IR0, `Pit::OUT2` to `IsaBridge::OUT2`, `IsaBridge::GATE2` to `Pit::GATE2`, `IsaBridge::irq(n)` to IR
//! n, `Pm::SCI` and `Pm::SMB_IRQ` to IR9, `Rtc::NMI_MASK` and `IsaBridge::RTC_UPPER` across. A wire with several sources is their OR.
//! A reset leaves what a device knows of its input levels alone: they are driven by others.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod dma;
pub mod host_bridge;
pub mod isa_bridge;
pub mod pic;
pub mod pit;
pub mod pm;
pub mod rtc;
mod util;

pub use dma::Dma;
pub use host_bridge::{HostBridge, HostBridgeConfig};
pub use isa_bridge::{IsaBridge, IsaBridgeConfig};
pub use pic::Pic;
pub use pit::Pit;
pub use pm::{Pm, PmConfig, SmbusMemory};
pub use rtc::{DateTime, Rtc};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
