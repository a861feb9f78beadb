//! Winbond W83977 Super I/O: 8042 keyboard controller, UARTs and its configuration ports.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod uart;
mod util;

pub use uart::{ModemLines, Pacing, Uart, UartConfig};
