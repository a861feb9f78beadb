//! Option ROMs: the display's, and what other cards have left in C8000-DFFFF.

use super::chipset;
use super::pci::{self, Function};
use crate::Firmware;
use crate::initiator::Initiator;
use crate::rom::video_rom;

/// The largest video ROM that fits below C8000h... and the next card's: 64 KiB.
const ROM_MAX: usize = 64 << 10;

/// Puts the display's ROM at C0000h: the device's own from its ROM BAR, or what the bus shows there, or ours. Opens the
/// memory of C0000-DFFFF. Returns the device's bus and number.
pub(super) fn install(firmware: &Firmware, bus: &mut dyn Initiator) -> u16 {
    let display = pci::functions(bus).into_iter().find(|function| function.class(bus) >> 8 == 0x0300);
    let image = display.and_then(|function| rom_of(firmware, bus, function));

    // What the bus shows in the whole area goes into the memory under it, cards' ROMs too.
    chipset::open_option_roms(bus, false);
    let mut block = [0; 4096];
    for address in (0xC_0000u64..0xE_0000).step_by(block.len()) {
        bus.phys_read(address, &mut block);
        bus.phys_write(address, &block);
    }
    chipset::open_option_roms(bus, true);
    match image {
        Some(image) => bus.phys_write(0xC_0000, &image),
        None => {
            let mut signature = [0; 2];
            bus.phys_read(0xC_0000, &mut signature);
            if signature != [0x55, 0xAA] {
                bus.phys_write(0xC_0000, &video_rom());
            }
        }
    }
    let (number, devfn) = display.map_or((0, 0), Function::bus_devfn);
    u16::from(number) << 8 | u16::from(devfn)
}

/// Reads a device's expansion ROM through its ROM BAR, which is on for that long.
fn rom_of(firmware: &Firmware, bus: &mut dyn Initiator, function: Function) -> Option<Vec<u8>> {
    const ROM_BAR: u8 = 0x30;
    function.write32(bus, ROM_BAR, !0x7FF);
    let mask = function.read32(bus, ROM_BAR) & !0x7FF;
    if mask == 0 || mask == !0x7FF {
        function.write32(bus, ROM_BAR, 0);
        return None;
    }
    let size = u64::from(!mask) + 1;
    // Anywhere that no BAR was given: the bottom of the PCI memory.
    let base = pci::memory_first(firmware.memory).next_multiple_of(size);
    let command = function.read16(bus, 4);
    function.write32(bus, ROM_BAR, base as u32 | 1);
    function.write16(bus, 4, command | 2);
    let mut head = [0; 3];
    bus.phys_read(base, &mut head);
    let length = usize::from(head[2]) * 512;
    let image = (head[..2] == [0x55, 0xAA] && length > 0 && length <= ROM_MAX).then(|| {
        let mut image = vec![0; length];
        bus.phys_read(base, &mut image);
        image
    });
    function.write16(bus, 4, command);
    function.write32(bus, ROM_BAR, 0);
    image
}

/// An option ROM at a segment: its length in paragraphs if signature and checksum are right.
pub(super) fn option_rom(bus: &mut dyn Initiator, segment: u16) -> Option<u16> {
    let base = u64::from(segment) << 4;
    let mut head = [0; 3];
    bus.phys_read(base, &mut head);
    if head[..2] != [0x55, 0xAA] || head[2] == 0 {
        return None;
    }
    let mut image = vec![0; usize::from(head[2]) * 512];
    bus.phys_read(base, &mut image);
    let sum = image.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    // The next ROM begins on a 2 KiB boundary.
    (sum == 0).then(|| (u16::from(head[2]) * 32).next_multiple_of(0x80))
}
