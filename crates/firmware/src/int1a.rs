//! Int 1Ah: time of day, the real-time clock, and the PCI BIOS in real mode.

use crate::Firmware;
use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::post::pci::{self, Function};

/// Serves int 1Ah.
pub(crate) fn int1a(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    match frame.ah() {
        0x00 => {
            let ticks = bus.get32(bda::TICKS);
            frame.set_cx((ticks >> 16) as u16);
            frame.set_dx(ticks as u16);
            frame.set_al(bus.get8(bda::MIDNIGHT));
            bus.put8(bda::MIDNIGHT, 0);
            frame.set_ah(0);
            frame.set_carry(false);
        }
        0x01 => {
            bus.put16(bda::TICKS, frame.dx());
            bus.put16(bda::TICKS + 2, frame.cx());
            bus.put8(bda::MIDNIGHT, 0);
            frame.set_ah(0);
            frame.set_carry(false);
        }
        0x02..=0x07 => return clock(bus, frame),
        0xB1 => pci_bios(firmware, bus, frame),
        _ => frame.set_carry(true),
    }
    Outcome::Done
}

fn clock(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    match bus.cmos(0x0A) {
        // Nobody there: the divider is never 111b while a clock runs.
        0xFF => {
            frame.set_carry(true);
            return Outcome::Done;
        }
        // Not during an update: it is over in 2 ms.
        updating if updating & 0x80 != 0 => return Outcome::Spin,
        _ => {}
    }
    let control = bus.cmos(0x0B);
    frame.set_carry(false);
    match frame.ah() {
        0x02 => {
            frame.set_ch(bus.cmos(0x04));
            frame.set_cl(bus.cmos(0x02));
            frame.set_dh(bus.cmos(0x00));
            frame.set_dl(control & 1);
        }
        0x03 => {
            bus.set_cmos(0x0B, control | 0x80);
            bus.set_cmos(0x04, frame.ch());
            bus.set_cmos(0x02, frame.cl());
            bus.set_cmos(0x00, frame.dh());
            bus.set_cmos(0x0B, control & 0x7E | 2 | frame.dl() & 1);
        }
        0x04 => {
            frame.set_ch(bus.cmos(0x32));
            frame.set_cl(bus.cmos(0x09));
            frame.set_dh(bus.cmos(0x08));
            frame.set_dl(bus.cmos(0x07));
        }
        0x05 => {
            bus.set_cmos(0x0B, control | 0x80);
            bus.set_cmos(0x32, frame.ch());
            bus.set_cmos(0x09, frame.cl());
            bus.set_cmos(0x08, frame.dh());
            bus.set_cmos(0x07, frame.dl());
            bus.set_cmos(0x0B, control & 0x7F);
        }
        0x06 if control & 0x20 != 0 => frame.set_carry(true),
        0x06 => {
            bus.set_cmos(0x05, frame.ch());
            bus.set_cmos(0x03, frame.cl());
            bus.set_cmos(0x01, frame.dh());
            for (port, bit) in [(0x21, 0x04), (0xA1, 0x01)] {
                let mask = bus.inb(port);
                bus.outb(port, mask & !bit);
            }
            bus.set_cmos(0x0B, control | 0x20);
        }
        _ => bus.set_cmos(0x0B, control & !0x20),
    }
    Outcome::Done
}

const NOT_SUPPORTED: u8 = 0x81;
const BAD_VENDOR: u8 = 0x83;
const NOT_FOUND: u8 = 0x86;
const BAD_REGISTER: u8 = 0x87;
const SET_FAILED: u8 = 0x88;
const BUFFER_TOO_SMALL: u8 = 0x89;

fn pci_bios(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) {
    let status = match frame.al() {
        0x01 => {
            frame.set_edx(0x2049_4350); // "PCI "
            frame.set_al(1);
            frame.set_bx(0x0210);
            frame.set_cl(0);
            0
        }
        0x02 | 0x03 => find(bus, frame),
        0x06 => NOT_SUPPORTED,
        0x08..=0x0D => access(bus, frame),
        0x0E => routing(firmware, bus, frame),
        0x0F => set_interrupt(firmware, bus, frame),
        _ => NOT_SUPPORTED,
    };
    frame.set_ah(status);
    frame.set_carry(status != 0);
}

fn find(bus: &mut dyn Initiator, frame: &mut Frame) -> u8 {
    if frame.al() == 2 && frame.dx() == 0xFFFF {
        return BAD_VENDOR;
    }
    let (wanted, class) = (u32::from(frame.cx()) << 16 | u32::from(frame.dx()), frame.ecx() & 0xFF_FFFF);
    let by_class = frame.al() == 3;
    let found = pci::functions(bus)
        .into_iter()
        .filter(|function| {
            if by_class { function.read32(bus, 8) >> 8 == class } else { function.read32(bus, 0) == wanted }
        })
        .nth(usize::from(frame.si()));
    match found {
        Some(function) => {
            frame.set_bx(u16::from(function.bus_devfn().0) << 8 | u16::from(function.bus_devfn().1));
            0
        }
        None => NOT_FOUND,
    }
}

fn access(bus: &mut dyn Initiator, frame: &mut Frame) -> u8 {
    let function = Function::new(frame.bh(), frame.bl());
    let register = frame.di();
    let width = 1 << ((frame.al() - 8) % 3);
    if register > 0xFF || !register.is_multiple_of(width) {
        return BAD_REGISTER;
    }
    let register = register as u8;
    match frame.al() {
        0x08 => frame.set_cl(function.read8(bus, register)),
        0x09 => frame.set_cx(function.read16(bus, register)),
        0x0A => frame.set_ecx(function.read32(bus, register)),
        0x0B => function.write8(bus, register, frame.cl()),
        0x0C => function.write16(bus, register, frame.cx()),
        _ => function.write32(bus, register, frame.ecx()),
    }
    0
}

/// AL=0Eh: the $PIR entries into the caller's buffer, whose size and far pointer stand at ES:DI.
fn routing(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> u8 {
    let entries = crate::post::tables::routing_entries(firmware);
    let at = frame.at_es(frame.di());
    let size = bus.get16(at);
    bus.put16(at, entries.len() as u16);
    if usize::from(size) < entries.len() {
        return BUFFER_TOO_SMALL;
    }
    let (segment, offset) = crate::int10::pointer(bus.get32(at + 2));
    bus.put(crate::frame::far(segment, offset), &entries);
    let exclusive = firmware.pirq.iter().flatten().fold(0, |mask, irq| mask | 1u16 << (irq & 15));
    frame.set_bx(exclusive);
    0
}

/// AL=0Fh: routes interrupt pin CL of device BX to IRQ CH.
fn set_interrupt(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> u8 {
    let (pin, irq) = (frame.cl(), frame.ch());
    if !(0x0A..=0x0D).contains(&pin) || crate::post::tables::ROUTABLE >> (irq & 15) & 1 == 0 || irq > 15 {
        return SET_FAILED;
    }
    let link = firmware.link(frame.bl() >> 3, pin - 0x0A);
    pci::route(bus, link, Some(irq));
    0
}
