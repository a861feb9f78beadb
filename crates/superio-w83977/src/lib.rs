//! Winbond W83977F Super I/O: 8042 keyboard controller with PS/2 keyboard, 16550A UARTs, configuration registers.
//!
//! Every block is a [`Device`](slotone_bus::Device) of its own, usable alone. Data sheets: Winbond W83977F/G, National PC16550D, IBM PS/2
//! keyboard and keyboard controller.
//!
//! | device | ports | constructor | output pins | host's side |
//! | --- | --- | --- | --- | --- |
//! | [`Uart`] | 8 from its base | [`Uart::new`]`(`[`UartConfig::new`]`(0x3f8))` | [`uart::pin::IRQ`] | [`Uart::take_output`], [`Uart::receive`], [`Uart::room`], [`Uart::receive_break`], [`Uart::set_modem`], [`Uart::dtr_rts`], [`Uart::sends_break`] |
//! | [`Kbc`] | 60h, 64h | [`Kbc::new`]`()` | [`kbc::pin::IRQ1`], [`kbc::pin::IRQ12`], [`kbc::pin::A20`], [`kbc::pin::INIT`] (pulse) | [`Kbc::key`], [`Kbc::type_text`], [`Kbc::strokes_waiting`], [`Kbc::leds`] |
//! | [`SuperIo`] | 370h, 371h and/or 3F0h, 3F1h | [`SuperIo::new`]`(&[0x370])` | none | [`SuperIo::logical_device`] |
//!
//! None of them has input pins. Methods that can move a line take a [`Cx`](slotone_bus::Cx).
//!
//! Not built yet: PS/2 mouse, floppy controller, parallel port.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod config;
pub mod kbc;
pub mod uart;
mod util;

pub use config::{LogicalDevice, SuperIo};
pub use kbc::{Kbc, KeyCode, TypeError, keys_for};
pub use uart::{ModemLines, Pacing, Uart, UartConfig};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
