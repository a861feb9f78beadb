//! The contracts between an emulated chip, the processor beside it and the machine around both.
//!
//! A chip is a [`Device`]: a plain struct with `&mut self` methods that owns no thread, lock, file, clock or channel.
//! What it needs comes in through [`Cx`] (virtual time, DMA, memory lent to it); what it does goes out as ordered
//! line changes, or is state to be asked for ([`Device::windows`], [`Device::levels`], [`Device::next_deadline`]).
//! That one choice gives stand-alone use, fuzzing, determinism and saved states together.
//!
//! | module | contract |
//! | --- | --- |
//! | [`device`] | [`Device`], [`Cx`], [`Port`], windows, pins |
//! | [`time`] | [`VmInstant`] and the rational [`Clock`] of a chip |
//! | [`mem`] | guest RAM, ROM and video memory: [`mem::Memory`], dirty epochs, page generations |
//! | [`cpu`] | [`cpu::Cpu`] and [`cpu::CpuBus`]: what a software CPU and KVM both implement |
//! | [`state`] | versioned binary state without dependencies: [`state::Encode`], [`encode_fields!`] |
//! | [`test_port`] | [`TestPort`]: a port for unit tests and examples of chip crates |
#![cfg_attr(docsrs, feature(doc_cfg))]

pub mod cpu;
pub mod device;
pub mod mem;
pub mod state;
pub mod test_port;
pub mod time;
#[cfg(feature = "vm-device")]
pub mod vm_device;
#[cfg(feature = "vm-memory")]
pub mod vm_memory;

pub use device::{
    At, Cx, Device, DmaFault, Generation, InspectValue, Inspector, LentId, Pin, PinLevels, Port, ResetKind,
    Space, Target, Window, WindowId, WindowSet,
};
pub use test_port::TestPort;
pub use time::{Clock, VmInstant};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
