//! Firmware of the 440BX machine: a system BIOS and a video BIOS of its own.
//!
//! A BIOS is partly code that must be there byte for byte (entry points that programs call, interrupt handlers that they
//! hook) and partly services whose bytes nobody looks at. The first part is a ROM of native 16-bit code ([`rom`],
//! [`video_rom`]); the second is [`Firmware::service`], which the machine calls when a stub in ROM has written
//! [`TRAP_PORT`]. A service works through an [`Initiator`]: ports, memory and time as the processor has them.
//!
//! Nothing is remembered outside the machine: the state of a service that waits lies in the frame that its stub pushed,
//! everything else in the BDA, the EBDA and CMOS. A saved state, a reset or a second machine needs nothing from here.
//!
//! # API
//! - [`rom`], [`video_rom`]: the images; [`TRAP_PORT`]: the port whose OUT stops the processor
//! - [`Firmware`], [`Initiator`], [`Registers`], [`Outcome`]: the services
//! - [`memory_map`]: who owns which addresses; [`slots`]: what is in which PCI slot
//! - [`linux_boot`]: a Linux kernel entered directly
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod acpi;
mod bda;
mod boot;
mod frame;
mod initiator;
mod int10;
mod int13;
mod int15;
mod int1a;
mod keyboard;
pub mod linux_boot;
pub mod memory_map;
mod ports;
mod post;
mod rom;
mod service;
pub mod slots;
mod wait;

pub use frame::Outcome;
pub use initiator::{Initiator, Registers, Unmapped};
pub use rom::{rom, video_rom};
use slotone_pci::Swizzle;

/// The I/O port whose OUT by a ROM stub calls [`Firmware::service`]. Nothing on the board decodes it, and no operating system hooks it.
pub const TRAP_PORT: u16 = 0xE4;
/// Bytes of the system ROM, which ends at 4 GiB.
pub const ROM_BYTES: usize = 256 << 10;
/// Bytes of the video ROM at C0000h.
pub const VIDEO_ROM_BYTES: usize = 32 << 10;
/// The date at F000:FFF5.
pub(crate) const SYSTEM_BIOS_DATE: &[u8; 8] = b"09/20/05";

/// What a service may try to boot from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BootDevice {
    /// The CD-ROM drives: ATAPI, then SCSI.
    Cd,
    /// Diskette drive A.
    Floppy,
    /// The first hard disk, drive 80h: IDE, or SCSI where there is no IDE disk. With [`BootDevice::Scsi`] in the order as well, the first IDE disk.
    HardDisk,
    /// The first SCSI disk. Before [`BootDevice::HardDisk`] in the order (or without it), SCSI disks are numbered first, so that this one is
    /// drive 80h.
    Scsi,
}

/// The BIOS services. Configuration only; all state is the guest's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Firmware {
    /// Main memory in bytes.
    pub memory: u64,
    /// What to boot from, in order.
    pub boot_order: Vec<BootDevice>,
    /// The IRQs that PIRQA to PIRQD are routed to, or none.
    pub pirq: [Option<u8>; 4],
    /// How the board wires the slots' interrupt pins to the PIRQs.
    pub swizzle: Swizzle,
}

impl Firmware {
    /// The firmware of Virtual Server's board with `memory` bytes: boots from CD, diskette and hard disk in this order; PIRQA and
    /// PIRQD on IRQ 11, B and C off, pins wired straight.
    pub fn new(memory: u64) -> Self {
        Self {
            memory,
            boot_order: vec![BootDevice::Cd, BootDevice::Floppy, BootDevice::HardDisk],
            pirq: [Some(11), None, None, Some(11)],
            swizzle: Swizzle::Straight,
        }
    }

    /// Serves the trap that the processor has just made: call it when the OUT to [`TRAP_PORT`] has retired.
    ///
    /// A write to the port that does not come from a stub of the ROM is ignored. The answer is already in the guest's
    /// memory; what is returned here is for the curious.
    pub fn service(&self, bus: &mut dyn Initiator) -> Outcome {
        let Some(mut frame) = frame::Frame::read(bus) else { return Outcome::Done };
        let outcome = self.dispatch(bus, &mut frame);
        frame.write(bus, outcome);
        outcome
    }

    /// Whether the trap that the processor has just made is the end of POST: the firmware is about to look for a boot device.
    ///
    /// A machine that boots a kernel directly ([`linux_boot`]) asks this before [`Firmware::service`], and enters the kernel instead.
    pub fn is_boot(&self, bus: &mut dyn Initiator) -> bool {
        frame::Frame::read(bus).is_some_and(|frame| frame.service() == 0x19)
    }

    fn dispatch(&self, bus: &mut dyn Initiator, frame: &mut frame::Frame) -> Outcome {
        match frame.service() {
            0x10 => int10::int10(bus, frame),
            0x11 => ports::equipment(bus, frame, bda::EQUIPMENT),
            0x12 => ports::equipment(bus, frame, bda::MEMORY_KIB),
            0x13 => return int13::int13(bus, frame),
            0x14 => return ports::int14(bus, frame),
            0x15 => return int15::int15(self, bus, frame),
            0x16 => return keyboard::int16(bus, frame),
            0x17 => return ports::int17(bus, frame),
            0x18 => return boot::int18(self, bus, frame),
            0x19 => return boot::int19(self, bus, frame),
            0x1A => return int1a::int1a(self, bus, frame),
            0x40 => return int13::int40(bus, frame),
            service::SHUTDOWN => return post::shutdown(bus, frame),
            service::POST => return post::post(self, bus, frame),
            service::KEYBOARD => return keyboard::scan_code(bus, frame),
            service::RTC => return int15::rtc(bus, frame),
            service::VIDEO_INIT => int10::initialise(bus),
            _ => {}
        }
        Outcome::Done
    }
}
