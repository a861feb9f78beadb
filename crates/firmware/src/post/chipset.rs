//! The 82443BX and the PIIX4: shadow memory, routing, power management, IDE.

use super::pci::{self, HOST_BRIDGE, IDE, ISA_BRIDGE, PM_BASE, POWER, SCI, SMBUS_BASE};
use crate::Firmware;
use crate::initiator::{Initiator, InitiatorExt};
use crate::int13::drives::Drive;

/// First of the PAM registers of the host bridge; the others follow.
const PAM0: u8 = 0x59;

/// Copies the BIOS from ROM into the memory under it, and opens the memory for option ROMs.
pub(super) fn shadow(bus: &mut dyn Initiator) {
    // E0000-FFFFF: reads from ROM, writes to memory.
    HOST_BRIDGE.write8(bus, PAM0, 0x20);
    HOST_BRIDGE.write8(bus, PAM0 + 5, 0x22);
    HOST_BRIDGE.write8(bus, PAM0 + 6, 0x22);
    let mut block = [0; 4096];
    for address in (0xE_0000u64..0x10_0000).step_by(block.len()) {
        bus.phys_read(address, &mut block);
        bus.phys_write(address, &block);
    }
    HOST_BRIDGE.write8(bus, PAM0, 0x30);
    HOST_BRIDGE.write8(bus, PAM0 + 5, 0x33);
    HOST_BRIDGE.write8(bus, PAM0 + 6, 0x33);
}

/// Lets the memory of C0000-DFFFF be written while it still reads from the bus, or both ways.
pub(super) fn open_option_roms(bus: &mut dyn Initiator, read: bool) {
    for register in PAM0 + 1..=PAM0 + 4 {
        HOST_BRIDGE.write8(bus, register, if read { 0x33 } else { 0x22 });
    }
}

/// POST is over: F0000 and the video ROM become read-only. The rest of the option ROM area stays as it is.
pub(super) fn lock_shadow(bus: &mut dyn Initiator) {
    HOST_BRIDGE.write8(bus, PAM0, 0x10);
    HOST_BRIDGE.write8(bus, PAM0 + 1, 0x11);
}

/// The PIIX4's ISA bridge, IDE and power management functions.
pub(super) fn piix4(firmware: &Firmware, bus: &mut dyn Initiator) {
    // Level triggering begins with a clean slate.
    bus.outb(0x4D0, 0);
    bus.outb(0x4D1, 0);
    for (link, irq) in (0..).zip(firmware.pirq) {
        pci::route(bus, link, irq);
    }
    pci::set_level(bus, SCI);
    // ISA bus: RTC, keyboard controller, coprocessor error, both BIOS ranges.
    ISA_BRIDGE.write16(bus, 0x4E, 0x00E3);

    POWER.write32(bus, 0x40, u32::from(PM_BASE) | 1);
    POWER.write8(bus, 0x80, 1);
    POWER.write32(bus, 0x90, u32::from(SMBUS_BASE) | 1);
    // SMBus host on, its interrupt on IRQ 9.
    POWER.write8(bus, 0xD2, 0x09);
    let command = POWER.read16(bus, 4);
    POWER.write16(bus, 4, command | 1);
    // The APM port turns ACPI on and off: DEVACTB bit 25.
    let activity = POWER.read32(bus, 0x58);
    POWER.write32(bus, 0x58, activity | 1 << 25);

    // Both IDE channels decode.
    IDE.write16(bus, 0x40, 0x8000);
    IDE.write16(bus, 0x42, 0x8000);
    let command = IDE.read16(bus, 4);
    IDE.write16(bus, 4, command | 1);
}

/// Bus-master status registers: a bit for each drive that is there says that it may use DMA.
pub(super) fn announce_dma(bus: &mut dyn Initiator, list: &[Drive]) {
    let base = IDE.read16(bus, 0x20) & 0xFFF0;
    if base == 0 {
        return;
    }
    for (port, first) in [(base + 2, 0), (base + 10, 2)] {
        let present = |slot: u8| list.iter().any(|drive| drive.scsi.is_none() && drive.slot == slot);
        bus.outb(port, u8::from(present(first)) << 5 | u8::from(present(first + 1)) << 6);
    }
}
