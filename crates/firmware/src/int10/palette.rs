//! Int 10h AH=0Bh and AH=10h: palette registers and DAC.

use super::modes::{self, crtc_port, grey};
use crate::bda;
use crate::frame::Frame;
use crate::initiator::{Initiator, InitiatorExt};

/// Writes an attribute register and turns the display on again.
fn set_attribute(bus: &mut dyn Initiator, index: u8, value: u8) {
    let crtc = crtc_port(bus);
    bus.inb(crtc + 6);
    bus.outb(0x3C0, index & 0x1F);
    bus.outb(0x3C0, value);
    bus.outb(0x3C0, 0x20);
}

fn attribute(bus: &mut dyn Initiator, index: u8) -> u8 {
    let crtc = crtc_port(bus);
    bus.inb(crtc + 6);
    bus.outb(0x3C0, index & 0x1F);
    let value = bus.inb(0x3C1);
    bus.inb(crtc + 6);
    bus.outb(0x3C0, 0x20);
    value
}

fn dac(bus: &mut dyn Initiator, index: u8) -> [u8; 3] {
    bus.outb(0x3C7, index);
    [bus.inb(0x3C9), bus.inb(0x3C9), bus.inb(0x3C9)]
}

/// AH=0Bh: border and background, or the palette of mode 4.
pub(crate) fn background(bus: &mut dyn Initiator, frame: &Frame) {
    let value = frame.bl();
    let palette = bus.get8(bda::VIDEO_PALETTE);
    if frame.bh() == 0 {
        bus.put8(bda::VIDEO_PALETTE, palette & 0xE0 | value & 0x1F);
        let colour = value & 7 | value << 1 & 0x10;
        if bus.get8(bda::VIDEO_MODE) > 3 {
            set_attribute(bus, 0, colour);
        }
        set_attribute(bus, 0x11, colour);
    } else if frame.bh() == 1 {
        bus.put8(bda::VIDEO_PALETTE, palette & !0x20 | (value & 1) << 5);
        let bright = palette & 0x10;
        for index in 1..4 {
            set_attribute(bus, index, (index * 2 + (value & 1)) | bright);
        }
    }
}

/// AH=10h.
pub(crate) fn int10_10(bus: &mut dyn Initiator, frame: &mut Frame) {
    match frame.al() {
        0x00 => set_attribute(bus, frame.bl(), frame.bh()),
        0x01 => set_attribute(bus, 0x11, frame.bh()),
        0x02 => {
            let table = bus.get::<17>(frame.at_es(frame.dx()));
            for (index, value) in (0u8..).zip(table) {
                set_attribute(bus, if index == 16 { 0x11 } else { index }, value);
            }
        }
        0x03 => {
            let mode = attribute(bus, 0x10);
            set_attribute(bus, 0x10, if frame.bl() & 1 != 0 { mode | 8 } else { mode & !8 });
        }
        0x07 => {
            let value = attribute(bus, frame.bl());
            frame.set_bh(value);
        }
        0x08 => {
            let value = attribute(bus, 0x11);
            frame.set_bh(value);
        }
        0x09 => {
            let mut table = [0; 17];
            for (index, value) in (0u8..).zip(&mut table) {
                *value = attribute(bus, if index == 16 { 0x11 } else { index });
            }
            bus.put(frame.at_es(frame.dx()), &table);
        }
        0x10 => modes::set_dac(bus, frame.bl(), &[[frame.dh(), frame.ch(), frame.cl()]]),
        0x12 => {
            for i in 0..frame.cx().min(256) {
                let colour = bus.get::<3>(frame.at_es(frame.dx().wrapping_add(3 * i)));
                modes::set_dac(bus, frame.bl().wrapping_add(i as u8), &[colour]);
            }
        }
        0x13 => {
            let mode = attribute(bus, 0x10);
            if frame.bl() == 0 {
                set_attribute(bus, 0x10, mode & 0x7F | frame.bh() << 7);
            } else {
                // Four pages of 64 colours or sixteen of 16.
                let page = if mode & 0x80 != 0 { frame.bh() } else { frame.bh() << 2 };
                set_attribute(bus, 0x14, page & 0x0F);
            }
        }
        0x15 => {
            let [red, green, blue] = dac(bus, frame.bl());
            frame.set_dh(red);
            frame.set_ch(green);
            frame.set_cl(blue);
        }
        0x17 => {
            for i in 0..frame.cx().min(256) {
                let colour = dac(bus, frame.bl().wrapping_add(i as u8));
                bus.put(frame.at_es(frame.dx().wrapping_add(3 * i)), &colour);
            }
        }
        0x18 => bus.outb(0x3C6, frame.bl()),
        0x19 => {
            let mask = bus.inb(0x3C6);
            frame.set_bl(mask);
        }
        0x1A => {
            let (mode, select) = (attribute(bus, 0x10), attribute(bus, 0x14));
            frame.set_bl(mode >> 7);
            frame.set_bh(if mode & 0x80 != 0 { select & 0x0F } else { select >> 2 & 3 });
        }
        0x1B => {
            for i in 0..frame.cx().min(256) {
                let index = frame.bl().wrapping_add(i as u8);
                let colour = grey(dac(bus, index));
                modes::set_dac(bus, index, &[colour]);
            }
        }
        _ => {}
    }
}
