//! Winbond W83977 Super I/O: 8042 keyboard controller, UARTs and its configuration ports.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod kbc;
pub mod uart;
mod util;

pub use kbc::{Kbc, KeyCode, TypeError, keys_for};
pub use uart::{ModemLines, Pacing, Uart, UartConfig};
