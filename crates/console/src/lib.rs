//! A machine's screen and keyboard for people: pictures as PNG files, screens in a terminal, terminal input as keys.
//!
//! It knows no chip: a picture is an [`Image`] over bytes, a text screen a [`TextGrid`] over cells, a key the physical key
//! of a US 104-key keyboard ([`KeyCode`]). It owns no terminal either: renderers return the characters to print, decoders
//! take the bytes that were read.
//!
//! | item | does |
//! | --- | --- |
//! | [`encode_png`], [`save_png`] | a picture as PNG bytes, as a file that is whole or absent |
//! | [`TerminalScreen`] | text screens with CP437 and 16 colours, pictures as half blocks; only what changed is printed |
//! | [`TerminalKeys`] | bytes from a terminal to keys, ANSI sequences included |
//! | [`cp437`] | the PC's character set in Unicode |
//!
//! Limits: no mouse; a terminal tells no releases, so every key is pressed and released at once; characters that no
//! key of a US keyboard gives are ignored.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod cp437;
mod image;
mod keys;
mod terminal;
mod terminal_keys;

pub use image::{Image, PngError, encode_png, save_png};
pub use keys::{KeyCode, KeyEvent};
pub use terminal::{TerminalScreen, TextGrid};
pub use terminal_keys::TerminalKeys;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
