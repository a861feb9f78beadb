//! Int 10h: the screen. Text on a VGA in all its modes, palettes, fonts.
//!
//! All state is in the BDA, the VGA's registers and its memory; the current mode is never kept elsewhere, because
//! programs (and Windows) change 40:49 themselves. VBE (AH=4Fh) answers that it is not there.

pub(crate) mod font;
pub(crate) mod graphics;
pub(crate) mod modes;
mod palette;
pub(crate) mod text;

use crate::bda;
use crate::frame::Frame;
use crate::initiator::{Initiator, InitiatorExt};
use crate::rom::video_layout as layout;
use modes::indexed;
use text::Screen;

/// Serves int 10h.
pub(crate) fn int10(bus: &mut dyn Initiator, frame: &mut Frame) {
    match frame.ah() {
        0x00 => {
            let number = frame.al() & 0x7F;
            if modes::set_mode(bus, number, frame.al() & 0x80 != 0) {
                frame.set_al(match number {
                    6 => 0x3F,
                    0..=5 | 7 => 0x30,
                    _ => 0x20,
                });
            }
        }
        0x01 => text::set_cursor_shape(bus, frame.cx()),
        0x02 => {
            let screen = Screen::current(bus);
            screen.set_cursor(bus, frame.bh(), frame.dl(), frame.dh());
        }
        0x03 => {
            frame.set_cx(bus.get16(bda::VIDEO_CURSOR_SHAPE));
            frame.set_dx(bus.get16(bda::VIDEO_CURSORS + 2 * u32::from(frame.bh() & 7)));
            frame.set_ax(0);
        }
        // No light pen.
        0x04 => frame.set_ah(0),
        0x05 => text::select_page(bus, frame.al()),
        0x06 | 0x07 => {
            let screen = Screen::current(bus);
            let area =
                text::Area { left: frame.cl(), top: frame.ch(), right: frame.dl(), bottom: frame.dh() };
            let page = bus.get8(bda::VIDEO_PAGE);
            screen.scroll(bus, page, area, frame.al(), frame.bh(), frame.ah() == 7);
        }
        0x08 => {
            let screen = Screen::current(bus);
            let (column, row) = screen.cursor(bus, frame.bh());
            frame.set_ax(screen.read(bus, frame.bh(), column, row));
        }
        0x09 | 0x0A => {
            let attribute = (frame.ah() == 9).then(|| frame.bl());
            text::write_repeated(bus, frame.bh(), frame.al(), attribute, frame.bl(), frame.cx());
        }
        0x0B => palette::background(bus, frame),
        0x0C => graphics::write_dot(bus, frame.bh(), frame.cx(), frame.dx(), frame.al()),
        0x0D => {
            let colour = graphics::read_dot(bus, frame.bh(), frame.cx(), frame.dx());
            frame.set_al(colour);
        }
        0x0E => text::teletype(bus, frame.bh(), frame.al(), None, frame.bl()),
        0x0F => {
            let keep = bus.get8(bda::VIDEO_CONTROL) & 0x80;
            frame.set_al(bus.get8(bda::VIDEO_MODE) | keep);
            frame.set_ah(bus.get16(bda::VIDEO_COLUMNS) as u8);
            frame.set_bh(bus.get8(bda::VIDEO_PAGE));
        }
        0x10 => palette::int10_10(bus, frame),
        0x11 => fonts(bus, frame),
        0x12 => alternate(bus, frame),
        0x13 => write_string(bus, frame),
        0x1A => match frame.al() {
            0 => {
                frame.set_bx(0x0008);
                frame.set_al(0x1A);
            }
            1 => frame.set_al(0x1A),
            _ => {}
        },
        0x1B if frame.bx() == 0 => {
            let state = functionality(bus);
            bus.put(frame.at_es(frame.di()), &state);
            frame.set_al(0x1B);
        }
        // VBE: "function not supported".
        0x4F => frame.set_ax(0x0100),
        _ => {}
    }
}

/// AH=11h: character generator.
fn fonts(bus: &mut dyn Initiator, frame: &mut Frame) {
    let rom = |height| (height, font::glyphs(usize::from(height)));
    match frame.al() {
        0x00 | 0x10 => {
            let height = frame.bh().min(32);
            let count = frame.cx().min(256);
            let mut glyphs = vec![0; usize::from(count) * usize::from(height)];
            let at = frame.at_es(frame.bp());
            if bus.mem_read(at, &mut glyphs).is_ok() {
                modes::load_font(bus, frame.bl(), frame.dx(), count, height, &glyphs);
            }
            if frame.al() == 0x10 {
                text::set_height(bus, height);
            }
        }
        0x01 | 0x02 | 0x04 | 0x11 | 0x12 | 0x14 => {
            let (height, glyphs) = rom(match frame.al() & 0xF {
                1 => 14,
                2 => 8,
                _ => 16,
            });
            modes::load_font(bus, frame.bl(), 0, 256, height, &glyphs);
            if frame.al() & 0x10 != 0 {
                text::set_height(bus, height);
            }
        }
        0x03 => indexed(bus, 0x3C4, 3, frame.bl()),
        0x20 => modes::set_vector(bus, 0x1F, frame.es(), frame.bp()),
        0x21..=0x24 => {
            let (height, segment, offset) = match frame.al() {
                0x21 => (frame.cx().min(32) as u8, frame.es(), frame.bp()),
                0x22 => (14, 0xC000, layout::FONT_8X14),
                0x23 => (8, 0xC000, layout::FONT_8X8),
                _ => (16, 0xC000, layout::FONT_8X16),
            };
            modes::set_vector(bus, 0x43, segment, offset);
            let rows = match frame.bl() {
                0 => frame.dl(),
                1 => 14,
                3 => 43,
                _ => 25,
            };
            bus.put16(bda::VIDEO_HEIGHT, u16::from(height));
            bus.put8(bda::VIDEO_ROWS, rows.wrapping_sub(1));
        }
        0x30 => {
            let (segment, offset) = match frame.bh() {
                0 => pointer(bus.get32(0x1F * 4)),
                1 => pointer(bus.get32(0x43 * 4)),
                2 => (0xC000, layout::FONT_8X14),
                3 => (0xC000, layout::FONT_8X8),
                4 => (0xC000, layout::FONT_8X8 + 1024),
                // 9-dot replacements: an empty list.
                5 | 7 => (0xC000, layout::FONT_8X8 + 2048),
                6 => (0xC000, layout::FONT_8X16),
                _ => return,
            };
            frame.set_es(segment);
            frame.set_bp(offset);
            frame.set_cx(bus.get16(bda::VIDEO_HEIGHT));
            frame.set_dl(bus.get8(bda::VIDEO_ROWS));
        }
        _ => {}
    }
}

/// Segment and offset of a far pointer.
pub(crate) fn pointer(value: u32) -> (u16, u16) {
    ((value >> 16) as u16, value as u16)
}

/// AH=12h: alternate select.
fn alternate(bus: &mut dyn Initiator, frame: &mut Frame) {
    let on = frame.al() & 1 == 0;
    let mut set_bit = |address, bit: u8, set: bool| {
        let value = bus.get8(address);
        bus.put8(address, if set { value | bit } else { value & !bit });
    };
    match frame.bl() {
        0x10 => {
            let switches = bus.get8(bda::VIDEO_SWITCHES);
            frame.set_bx(if bus.get16(bda::VIDEO_CRTC) == 0x3B4 { 0x0103 } else { 0x0003 });
            frame.set_ch(switches >> 4);
            frame.set_cl(switches & 0xF);
            return;
        }
        0x30 if frame.al() <= 2 => {
            // Scan lines of the next text mode: 40:89 bits 7 and 4.
            let flags = bus.get8(bda::VIDEO_VGA_FLAGS) & !0x90;
            bus.put8(bda::VIDEO_VGA_FLAGS, flags | [0x80, 0x00, 0x10][usize::from(frame.al())]);
        }
        // Default palette loading; bit 3 set: off.
        0x31 => set_bit(bda::VIDEO_VGA_FLAGS, 8, !on),
        0x32 => {
            let misc = bus.inb(0x3CC);
            bus.outb(0x3C2, if on { misc | 2 } else { misc & !2 });
        }
        0x33 => set_bit(bda::VIDEO_VGA_FLAGS, 2, on),
        0x34 => set_bit(bda::VIDEO_CONTROL, 1, !on),
        0x36 => {
            bus.outb(0x3C4, 1);
            let clocking = bus.inb(0x3C5);
            bus.outb(0x3C5, if on { clocking & !0x20 } else { clocking | 0x20 });
        }
        0x20 => {}
        _ => return,
    }
    frame.set_al(0x12);
}

/// AH=13h: write string.
fn write_string(bus: &mut dyn Initiator, frame: &mut Frame) {
    let screen = Screen::current(bus);
    let page = frame.bh();
    let (column, row) = screen.cursor(bus, page);
    screen.set_cursor(bus, page, frame.dl(), frame.dh());
    let with_attributes = frame.al() & 2 != 0;
    for i in 0..frame.cx() {
        let at = |index: u16| frame.at_es(frame.bp().wrapping_add(index));
        let (character, attribute) = if with_attributes {
            (bus.get8(at(i.wrapping_mul(2))), bus.get8(at(i.wrapping_mul(2).wrapping_add(1))))
        } else {
            (bus.get8(at(i)), frame.bl())
        };
        text::teletype(bus, page, character, Some(attribute), attribute);
    }
    if frame.al() & 1 == 0 {
        screen.set_cursor(bus, page, column, row);
    }
}

/// AH=1Bh: functionality and state.
fn functionality(bus: &mut dyn Initiator) -> [u8; 64] {
    let mut state = [0; 64];
    state[..2].copy_from_slice(&layout::FUNCTIONALITY.to_le_bytes());
    state[2..4].copy_from_slice(&0xC000u16.to_le_bytes());
    state[4..0x22].copy_from_slice(&bus.get::<30>(bda::VIDEO_MODE));
    state[0x22] = bus.get8(bda::VIDEO_ROWS).wrapping_add(1);
    state[0x23..0x25].copy_from_slice(&bus.get::<2>(bda::VIDEO_HEIGHT));
    state[0x25] = 8;
    let mode = bus.get8(bda::VIDEO_MODE);
    let (colours, pages) = match mode & 0x7F {
        0 | 1 => (16u16, 8),
        2 | 3 => (16, 8),
        4 | 5 => (4, 1),
        6 | 0x11 => (2, 1),
        7 => (0, 8),
        0x0D => (16, 8),
        0x0E => (16, 4),
        0x0F => (0, 2),
        0x10 => (16, 2),
        0x13 => (256, 1),
        _ => (16, 1),
    };
    state[0x27..0x29].copy_from_slice(&colours.to_le_bytes());
    state[0x29] = pages;
    state[0x2A] = match bus.inb(0x3CC) >> 6 {
        2 => 1,
        3 => 3,
        _ => 2,
    };
    state[0x2D] = 0x21 | bus.get8(bda::VIDEO_VGA_FLAGS) & 2;
    state[0x31] = 3;
    state
}

/// The video ROM's initialisation: vectors, equipment, save pointer, mode 3.
pub(crate) fn initialise(bus: &mut dyn Initiator) {
    let old = bus.get32(0x10 * 4);
    bus.put32(0x42 * 4, old);
    modes::set_vector(bus, 0x10, 0xC000, layout::INT10);
    modes::set_vector(bus, 0x6D, 0xC000, layout::INT10);
    modes::set_vector(bus, 0x1F, 0xC000, layout::FONT_8X8 + 1024);
    bus.put32(bda::VIDEO_SAVE_POINTER, 0xC000_0000 | u32::from(layout::SAVE_POINTERS));
    // The equipment word keeps 80x25 colour in bits 5:4.
    let equipment = bus.get16(bda::EQUIPMENT);
    bus.put16(bda::EQUIPMENT, equipment & !0x30 | 0x20);
    bus.put8(bda::VIDEO_VGA_FLAGS, 0x51);
    // Wake the chip up: VGA enable.
    bus.outb(0x3C3, 1);
    modes::set_mode(bus, 3, false);
}
