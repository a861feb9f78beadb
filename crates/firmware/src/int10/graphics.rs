//! Dots, and characters in graphics modes.

use super::modes::{Kind, indexed};
use super::text::{Area, Screen};
use crate::initiator::{Initiator, InitiatorExt};

/// Address of the byte that holds a dot, and the dot's number in it from the left.
fn place(screen: &Screen, page: u8, x: u16, y: u16) -> (u32, u8) {
    let (x, y) = (u32::from(x), u32::from(y));
    let columns = u32::from(screen.columns);
    let (offset, dot) = match screen.kind {
        Kind::Packed => (y * 320 + x, 0),
        Kind::Planar => (screen.page_start(page) + y * columns + x / 8, x % 8),
        Kind::Cga4 => ((y & 1) * 0x2000 + y / 2 * 80 + x / 4, x % 4),
        Kind::Cga2 | Kind::Text => ((y & 1) * 0x2000 + y / 2 * 80 + x / 8, x % 8),
    };
    (screen.memory + (offset & 0xFFFF), dot as u8)
}

/// AH=0Ch: bit 7 of the colour asks for exclusive or, but in mode 13h.
pub(crate) fn write_dot(bus: &mut dyn Initiator, page: u8, x: u16, y: u16, colour: u8) {
    let screen = Screen::current(bus);
    dot(bus, &screen, page, (x, y), colour);
}

fn dot(bus: &mut dyn Initiator, screen: &Screen, page: u8, (x, y): (u16, u16), colour: u8) {
    let (address, dot) = place(screen, page, x, y);
    let xor = colour & 0x80 != 0;
    match screen.kind {
        Kind::Text => {}
        Kind::Packed => bus.put8(address, colour),
        Kind::Planar => {
            // Write mode 2 puts the colour's bits into the planes where the bit mask is set.
            for (index, value) in [(5, 2), (8, 0x80 >> dot), (3, if xor { 0x18 } else { 0 })] {
                indexed(bus, 0x3CE, index, value);
            }
            bus.get8(address);
            bus.put8(address, colour & 0x0F);
            for (index, value) in [(5, 0), (8, 0xFF), (3, 0)] {
                indexed(bus, 0x3CE, index, value);
            }
        }
        Kind::Cga4 | Kind::Cga2 => {
            let (mask, shift) =
                if screen.kind == Kind::Cga4 { (3u8, 6 - 2 * (dot & 3)) } else { (1, 7 - (dot & 7)) };
            let bits = (colour & mask) << shift;
            let old = bus.get8(address);
            bus.put8(address, if xor { old ^ bits } else { old & !(mask << shift) | bits });
        }
    }
}

/// AH=0Dh.
pub(crate) fn read_dot(bus: &mut dyn Initiator, page: u8, x: u16, y: u16) -> u8 {
    let screen = Screen::current(bus);
    read(bus, &screen, page, x, y)
}

fn read(bus: &mut dyn Initiator, screen: &Screen, page: u8, x: u16, y: u16) -> u8 {
    let (address, dot) = place(screen, page, x, y);
    match screen.kind {
        Kind::Text => 0,
        Kind::Packed => bus.get8(address),
        Kind::Planar => {
            let mut colour = 0;
            for plane in 0..4 {
                indexed(bus, 0x3CE, 4, plane);
                colour |= (bus.get8(address) >> (7 - (dot & 7)) & 1) << plane;
            }
            indexed(bus, 0x3CE, 4, 0);
            colour
        }
        Kind::Cga4 => bus.get8(address) >> (6 - 2 * (dot & 3)) & 3,
        Kind::Cga2 => bus.get8(address) >> (7 - (dot & 7)) & 1,
    }
}

/// The rows of a character: int 43h, or for CGA modes the 8x8 font and int 1Fh for its upper half.
fn glyph(bus: &mut dyn Initiator, screen: &Screen, character: u8) -> Vec<u8> {
    let height = u32::from(screen.height);
    let cga = matches!(screen.kind, Kind::Cga2 | Kind::Cga4);
    let (table, index) = if cga && character >= 0x80 {
        (bus.get32(0x1F * 4), u32::from(character) - 0x80)
    } else {
        (bus.get32(0x43 * 4), u32::from(character))
    };
    let (segment, offset) = super::pointer(table);
    let at = u32::from(segment) * 16 + u32::from(offset) + index * height;
    (0..height).map(|row| bus.get8(at + row)).collect()
}

/// Draws a character; bit 7 of the colour asks for exclusive or, but in mode 13h.
pub(crate) fn draw_character(
    bus: &mut dyn Initiator,
    screen: &Screen,
    page: u8,
    (column, row): (u8, u8),
    character: u8,
    colour: u8,
) {
    let xor = colour & 0x80 != 0 && screen.kind != Kind::Packed;
    let (x, y) = (u16::from(column) * 8, u16::from(row) * u16::from(screen.height));
    for (dy, bits) in glyph(bus, screen, character).into_iter().enumerate() {
        for dx in 0..8 {
            let set = bits & 0x80 >> dx != 0;
            let at = (x + dx, y + dy as u16);
            if set {
                dot(bus, screen, page, at, colour);
            } else if !xor {
                dot(bus, screen, page, at, 0);
            }
        }
    }
}

/// Finds the character whose glyph is on the screen; 0 if none.
pub(crate) fn read_character(bus: &mut dyn Initiator, screen: &Screen, page: u8, column: u8, row: u8) -> u8 {
    let (x, y) = (u16::from(column) * 8, u16::from(row) * u16::from(screen.height));
    let mut rows = Vec::new();
    for dy in 0..u16::from(screen.height) {
        let dots = (0..8).map(|dx| u8::from(read(bus, screen, page, x + dx, y + dy) != 0) << (7 - dx));
        rows.push(dots.sum::<u8>());
    }
    (0..=255u8).find(|character| glyph(bus, screen, *character) == rows).unwrap_or(0)
}

/// Scrolls whole characters.
pub(crate) fn scroll(
    bus: &mut dyn Initiator,
    screen: &Screen,
    page: u8,
    area: Area,
    lines: u8,
    fill: u8,
    down: bool,
) {
    let height = u16::from(screen.height);
    let (top, bottom) = (u16::from(area.top) * height, (u16::from(area.bottom) + 1) * height);
    let distance = u16::from(lines) * height;
    let left = u16::from(area.left) * 8;
    let columns = usize::from(area.right - area.left) + 1;
    let bytes = match screen.kind {
        Kind::Packed => columns * 8,
        Kind::Cga4 => columns * 2,
        _ => columns,
    };
    let planar = screen.kind == Kind::Planar;
    if planar {
        // Write mode 1: a read fills the latches of all planes, a write stores them.
        indexed(bus, 0x3CE, 5, 1);
    }
    let kept = bottom - top - distance;
    for i in 0..kept {
        let to = if down { bottom - 1 - i } else { top + i };
        let from = if down { to - distance } else { to + distance };
        let (from, to) = (place(screen, page, left, from).0, place(screen, page, left, to).0);
        if planar {
            for byte in 0..bytes as u32 {
                bus.get8(from + byte);
                bus.put8(to + byte, 0);
            }
        } else {
            let mut line = vec![0; bytes];
            if bus.mem_read(from, &mut line).is_ok() {
                bus.put(to, &line);
            }
        }
    }
    if planar {
        // Set/reset writes the fill colour into all planes.
        for (index, value) in [(5, 0), (0, fill & 0x0F), (1, 0x0F)] {
            indexed(bus, 0x3CE, index, value);
        }
    }
    let value = match screen.kind {
        Kind::Cga4 => (fill & 3) * 0x55,
        Kind::Cga2 => (fill & 1) * 0xFF,
        _ => fill,
    };
    let blank = vec![value; bytes];
    for i in 0..distance {
        let y = if down { top + i } else { bottom - 1 - i };
        bus.put(place(screen, page, left, y).0, &blank);
    }
    if planar {
        indexed(bus, 0x3CE, 1, 0);
        indexed(bus, 0x3CE, 0, 0);
    }
}
