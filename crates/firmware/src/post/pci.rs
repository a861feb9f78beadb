//! PCI: configuration cycles, the scan of bus 0, base addresses, interrupt routing.

use crate::Firmware;
use crate::initiator::{Initiator, InitiatorExt};
use crate::memory_map;
use crate::slots;
use slotone_pci::IntPin;

/// A function on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    bus: u8,
    devfn: u8,
}

impl Function {
    pub(crate) fn new(bus: u8, devfn: u8) -> Self {
        Self { bus, devfn }
    }

    /// A function on bus 0.
    pub(crate) fn at(device: u8, function: u8) -> Self {
        Self { bus: 0, devfn: device << 3 | function & 7 }
    }

    pub(crate) fn bus_devfn(self) -> (u8, u8) {
        (self.bus, self.devfn)
    }

    pub(crate) fn device(self) -> u8 {
        self.devfn >> 3
    }

    /// Puts the address into CF8h; the data port of `register`.
    fn select(self, bus: &mut dyn Initiator, register: u8) -> u16 {
        let address =
            0x8000_0000 | u32::from(self.bus) << 16 | u32::from(self.devfn) << 8 | u32::from(register & 0xFC);
        bus.outl(0xCF8, address);
        0xCFC + u16::from(register & 3)
    }

    pub(crate) fn read8(self, bus: &mut dyn Initiator, register: u8) -> u8 {
        let port = self.select(bus, register);
        bus.inb(port)
    }

    pub(crate) fn read16(self, bus: &mut dyn Initiator, register: u8) -> u16 {
        let port = self.select(bus, register);
        bus.inw(port)
    }

    pub(crate) fn read32(self, bus: &mut dyn Initiator, register: u8) -> u32 {
        let port = self.select(bus, register);
        bus.inl(port)
    }

    pub(crate) fn write8(self, bus: &mut dyn Initiator, register: u8, value: u8) {
        let port = self.select(bus, register);
        bus.outb(port, value);
    }

    pub(crate) fn write16(self, bus: &mut dyn Initiator, register: u8, value: u16) {
        let port = self.select(bus, register);
        bus.outw(port, value);
    }

    pub(crate) fn write32(self, bus: &mut dyn Initiator, register: u8, value: u32) {
        let port = self.select(bus, register);
        bus.outl(port, value);
    }

    pub(crate) fn present(self, bus: &mut dyn Initiator) -> bool {
        !matches!(self.read16(bus, 0), 0x0000 | 0xFFFF)
    }

    /// Class, subclass and programming interface.
    pub(crate) fn class(self, bus: &mut dyn Initiator) -> u32 {
        self.read32(bus, 8) >> 8
    }
}

/// All functions of bus 0 in order.
pub(crate) fn functions(bus: &mut dyn Initiator) -> Vec<Function> {
    let mut found = Vec::new();
    for device in 0..32 {
        let first = Function::at(device, 0);
        if !first.present(bus) {
            continue;
        }
        let count = if first.read8(bus, 0x0E) & 0x80 != 0 { 8 } else { 1 };
        found.push(first);
        for function in 1..count {
            let function = Function::at(device, function);
            if function.present(bus) {
                found.push(function);
            }
        }
    }
    found
}

/// The PIIX4's ISA bridge.
pub(crate) const ISA_BRIDGE: Function = Function { bus: 0, devfn: slots::PIIX4 << 3 };
/// Its IDE function.
pub(crate) const IDE: Function = Function { bus: 0, devfn: slots::PIIX4 << 3 | 1 };
/// Its power management function.
pub(crate) const POWER: Function = Function { bus: 0, devfn: slots::PIIX4 << 3 | 3 };
/// The host bridge.
pub(crate) const HOST_BRIDGE: Function = Function { bus: 0, devfn: 0 };

/// I/O base of the power management registers and of the SMBus host.
pub(crate) const PM_BASE: u16 = 0x0400;
pub(crate) const SMBUS_BASE: u16 = 0x0440;
/// Bus-master registers of the IDE function.
const IDE_BASE: u32 = 0xFFA0;
/// End of the memory that PCI devices may be given.
pub(crate) const MEMORY_END: u64 = 0xFEC0_0000;
/// First port that PCI devices may be given, and the end.
const IO_FIRST: u32 = 0xC000;
const IO_END: u32 = 0xFF00;

/// First address that PCI devices may be given in a machine with `memory` bytes.
pub(crate) fn memory_first(memory: u64) -> u64 {
    memory_map::usable(memory).next_multiple_of(1 << 24).max(0xE000_0000)
}

/// A base address register with what it decodes.
struct Bar {
    function: Function,
    register: u8,
    size: u64,
    io: bool,
}

/// Gives every base address register of bus 0 its place, from the smallest memory range downwards, so that a frame buffer
/// ends up below the small windows as in the original; ports go upwards from C000h.
pub(crate) fn assign(firmware: &Firmware, bus: &mut dyn Initiator) {
    let mut bars = Vec::new();
    for function in functions(bus) {
        let command = function.read16(bus, 4);
        // Decoding is off while sizes are probed.
        function.write16(bus, 4, command & !3);
        let count = match function.read8(bus, 0x0E) & 0x7F {
            0 => 6,
            1 => 2,
            _ => 0,
        };
        let mut index = 0;
        while index < count {
            let register = 0x10 + 4 * index;
            index += 1;
            let old = function.read32(bus, register);
            function.write32(bus, register, u32::MAX);
            let mask = function.read32(bus, register);
            function.write32(bus, register, old);
            if mask == 0 || mask == u32::MAX {
                continue;
            }
            let io = mask & 1 != 0;
            if !io && mask & 6 == 4 {
                // A 64-bit register takes two; ours stays below 4 GiB.
                index += 1;
                function.write32(bus, register + 4, 0);
            }
            let bits = if io { mask & 0xFFFC | 0xFFFF_0000 } else { mask & !0xF };
            if bits == 0 {
                continue;
            }
            bars.push(Bar { function, register, size: u64::from(!bits) + 1, io });
        }
        // Expansion ROMs stay off.
        let rom = if function.read8(bus, 0x0E) & 0x7F == 1 { 0x38 } else { 0x30 };
        function.write32(bus, rom, 0);
    }
    bars.sort_by_key(|bar| bar.size);
    let (mut port, mut top) = (IO_FIRST, MEMORY_END);
    let first = memory_first(firmware.memory);
    for Bar { function, register, size, io } in bars {
        let ide = function == IDE && register == 0x20;
        if io {
            let base = if ide { IDE_BASE } else { port.next_multiple_of(size as u32) };
            if !ide {
                if u64::from(base) + size > u64::from(IO_END) {
                    continue;
                }
                port = base + size as u32;
            }
            function.write32(bus, register, base);
        } else {
            let base = top.saturating_sub(size) & !(size - 1);
            if base < first {
                continue;
            }
            top = base;
            function.write32(bus, register, base as u32);
        }
        let command = function.read16(bus, 4);
        function.write16(bus, 4, command | if io { 1 } else { 2 });
    }
    enable(firmware, bus);
}

/// Commands, interrupt lines and latency of every function.
fn enable(firmware: &Firmware, bus: &mut dyn Initiator) {
    for function in functions(bus) {
        let class = function.class(bus) >> 8;
        let mut command = function.read16(bus, 4);
        match class {
            // Display: VGA ports and memory without a BAR.
            0x0300 => command |= 3,
            // IDE: legacy ports and bus master.
            0x0101 => command |= 5,
            _ => {}
        }
        function.write16(bus, 4, command);
        if class >> 8 != 6 {
            function.write8(bus, 0x0D, 0x40);
        }
        let pin = function.read8(bus, 0x3D);
        if (1..=4).contains(&pin) {
            let line = if function == POWER {
                Some(SCI)
            } else {
                firmware.pirq[usize::from(firmware.link(function.device(), pin - 1))]
            };
            function.write8(bus, 0x3C, line.unwrap_or(0xFF));
        }
    }
}

/// The IRQ of ACPI's system control interrupt, fixed by the PIIX4.
pub(crate) const SCI: u8 = 9;

impl Firmware {
    /// The router input, 0 to 3, of interrupt pin 0 to 3 (INTA# to INTD#) of a slot. The PIIX4's own pins are wired straight.
    pub(crate) fn link(&self, slot: u8, pin: u8) -> u8 {
        let pin = [IntPin::A, IntPin::B, IntPin::C, IntPin::D][usize::from(pin & 3)];
        if slot == ISA_BRIDGE.device() { pin as u8 } else { self.swizzle.route(slot, pin) }
    }
}

/// Routes PIRQ `link` to an IRQ, which becomes level triggered, or to none.
pub(crate) fn route(bus: &mut dyn Initiator, link: u8, irq: Option<u8>) {
    ISA_BRIDGE.write8(bus, 0x60 + (link & 3), irq.unwrap_or(0x80));
    if let Some(irq) = irq {
        set_level(bus, irq);
    }
}

/// ELCR: makes an IRQ level triggered.
pub(crate) fn set_level(bus: &mut dyn Initiator, irq: u8) {
    let port = 0x4D0 + u16::from(irq >> 3 & 1);
    let level = bus.inb(port);
    bus.outb(port, level | 1 << (irq & 7));
}
