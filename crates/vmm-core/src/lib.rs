//! Composes machines from the Slot One crates: a thin layer of builder, address map, wires, run loop, save and restore.
//!
//! A [`Machine`] has one owner. It owns its CPU and every device; there are no locks inside and no statics, so that two machines run
//! in one process. Other threads reach it through [`Remote`]. [`MachineBuilder`] composes any board;
//! [`virtual_server_2005`] is the one that Microsoft Virtual Server 2005 emulated.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod board;
mod builder;
mod clock;
mod cpu_bus;
mod disk_errors;
mod disks;
mod firmware;
mod host_time;
mod linux;
mod machine;
mod map;
mod network;
mod pool;
mod save;
pub mod vs2005;

pub use board::{BoardStats, DeviceId, Sink};
pub use builder::{BuildError, MachineBuilder};
pub use clock::{ClockMode, NANOS_PER_INSTRUCTION, TSC_HZ};
pub use disk_errors::DiskError;
pub use host_time::HostTime;
pub use linux::LinuxImage;
pub use machine::{Machine, OnTripleFault, Remote, RunExit};
pub use save::{DriveBusy, HashError, RestoreError};
pub use vs2005::{DriveBay, VirtualServer2005, virtual_server_2005};

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
