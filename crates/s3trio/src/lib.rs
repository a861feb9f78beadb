//! S3 Trio64 (86C764) PCI graphics with 4 MB: VGA core, S3 extensions and a renderer.
//!
//! The chip as Virtual PC and Virtual Server showed it to their guests: PCI function 5333:8811 revision 0, a VGA that is one down
//! to its latches and retrace, S3's registers behind their locks, a linear frame buffer. It draws nothing by itself:
//! whoever wants a picture asks for one.
//!
//! | item | is |
//! | --- | --- |
//! | [`S3Trio`] | the chip, a [`Device`](slotone_bus::Device); needs [`S3Trio::VRAM`] (4 MB) and [`S3Trio::ROM`] (64 KB) lent |
//! | [`S3Trio::render`], [`S3Trio::render_into`] | the screen at a virtual time as a [`Frame`] of RGB bytes |
//! | [`S3Trio::text_screen`] | a text mode's screen as a [`TextScreen`] of codes and attributes |
//! | [`S3Trio::display_generation`], [`S3Trio::blink_phase`] | whether a picture is still true, besides the dirty pages of video memory |
//! | [`registers`] | names and bits as the data sheets print them |
//!
//! Sources: IBM VGA Technical Reference (registers, write modes), S3 Trio32/Trio64 Integrated Graphics Accelerators data sheet, sections on
//! the S3 VGA, system control and extension registers.
//!
//! # The picture
//!
//! Text (8 and 9 dots, any height, two fonts, cursor, blinking), 16 colours in four planes, CGA's modes, 256 colours (mode 13h
//! and unchained), S3 enhanced 8, 15, 16, 24 and 32 bits a pixel, split screen, panning, 20-bit start address. Lines that the CRTC repeats
//! are one line of the [`Frame`]: mode 13h is 320x200.
//!
//! # Time
//!
//! Input status 1 and the retrace interrupt follow from the CRTC's timing, the dot clock (PLL included) and virtual time. Timing that gives less than 30
//! or more than 200 frames a second (or none, before a BIOS ran) is taken as 60.
//!
//! # Limits
//!
//! Not in this version: the drawing engine (of its ports only 4AE8h, ADVFUNC_CNTL, is decoded; the others are not
//! claimed), the hardware cursor (CR45-CR4F are storage), memory-mapped engine registers. Never: what belongs to the
//! Trio64V+ (streams, new MMIO, DDC). The overscan border is not drawn; IS1 bits 5:4 show the overscan colour always; SR1's shift-load bits (4 and 2)
//! have no effect.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod crtc;
mod dac;
mod device;
mod display;
mod memory;
mod ports;
pub mod registers;
mod render;
mod state;
mod text;
mod timing;

pub use device::S3Trio;
pub use render::Frame;
pub use text::{TextCursor, TextScreen};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
