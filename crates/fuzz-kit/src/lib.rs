//! A fuzzing harness for device models: ours, or any other [`Device`](slotone_bus::Device).
//!
//! Raw bytes from a fuzzer become a [`Script`] of operations (accesses, time, pins, reset, save and restore). A [`Harness`] runs it
//! on a device and checks after every operation the rules that each device has to keep ([`Violation`] lists them). A script
//! has a text form that a person can read, cut down and commit, and that replays on stable Rust. A [`Rig`] is for tests by hand.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod harness;
mod rig;
mod script;
mod violation;

pub use harness::{Harness, assert_rules};
pub use rig::Rig;
pub use script::{Operation, ParseError, Script};
pub use violation::{Difference, StateDifference, Violation};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
