//! What a machine needs of its host: a thread for events, a terminal in raw mode, back ends for serial ports.
//!
//! Nothing here knows devices. The [`EventThread`] reads file descriptors and hands bytes to closures, which send them to the
//! machine; a [`CharBackend`] is the other end of a serial or parallel port; [`RawTerminal`] puts the terminal back when dropped.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod backend;
mod events;
mod terminal;

pub use backend::{BackendError, BackendSpec, CharBackend};
pub use events::{EventError, EventThread};
pub use terminal::{RawTerminal, terminal_size};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
