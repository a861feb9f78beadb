//! Set mode: the register values of IBM's VGA, the palettes, and what the BDA says about a mode.

use super::font;
use crate::bda;
use crate::initiator::{Initiator, InitiatorExt};
use crate::rom::video_layout as layout;

/// Bytes of a video parameter table entry.
const ENTRY_BYTES: usize = 64;

/// An entry of the video parameter table, as every VGA BIOS lays it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Parameters {
    columns: u8,
    rows: u8,
    height: u8,
    page_bytes: u16,
    sequencer: [u8; 4],
    misc: u8,
    crtc: [u8; 25],
    attribute: [u8; 20],
    graphics: [u8; 9],
}

impl Parameters {
    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..3].copy_from_slice(&[self.columns, self.rows - 1, self.height]);
        bytes[3..5].copy_from_slice(&self.page_bytes.to_le_bytes());
        bytes[5..9].copy_from_slice(&self.sequencer);
        bytes[9] = self.misc;
        bytes[10..35].copy_from_slice(&self.crtc);
        bytes[35..55].copy_from_slice(&self.attribute);
        bytes[55..].copy_from_slice(&self.graphics);
        bytes
    }
}

/// How a mode keeps its picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Characters at B8000h, or B0000h.
    Text,
    /// CGA: 2 bits a dot, even and odd lines apart.
    Cga4,
    /// CGA: 1 bit a dot.
    Cga2,
    /// Planes at A0000h.
    Planar,
    /// A byte a dot at A0000h.
    Packed,
}

/// A mode of int 10h AH=00h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Mode {
    pub(crate) number: u8,
    pub(crate) kind: Kind,
    /// Linear address of the picture.
    pub(crate) memory: u32,
    pub(crate) parameters: Parameters,
    palette: Palette,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Palette {
    Ega64,
    Cga16,
    Mono,
    Vga256,
}

const CRTC_TEXT80: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x55, 0x81, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0, 0, 0, 0, 0x9C, 0x8E, 0x8F,
    0x28, 0x1F, 0x96, 0xB9, 0xA3, 0xFF,
];
const CRTC_TEXT40: [u8; 25] = [
    0x2D, 0x27, 0x28, 0x90, 0x2B, 0xA0, 0xBF, 0x1F, 0x00, 0x4F, 0x0D, 0x0E, 0, 0, 0, 0, 0x9C, 0x8E, 0x8F,
    0x14, 0x1F, 0x96, 0xB9, 0xA3, 0xFF,
];
const CRTC_320: [u8; 25] = [
    0x2D, 0x27, 0x28, 0x90, 0x2B, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0, 0, 0, 0, 0, 0, 0x9C, 0x8E, 0x8F, 0x14,
    0x00, 0x96, 0xB9, 0xA2, 0xFF,
];
const CRTC_640: [u8; 25] = [
    0x5F, 0x4F, 0x50, 0x82, 0x54, 0x80, 0xBF, 0x1F, 0x00, 0xC1, 0, 0, 0, 0, 0, 0, 0x9C, 0x8E, 0x8F, 0x28,
    0x00, 0x96, 0xB9, 0xC2, 0xFF,
];

const ATTRIBUTES_TEXT: [u8; 20] =
    [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 0x0C, 0, 0x0F, 8];
const ATTRIBUTES_MONO: [u8; 20] =
    [0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x0E, 0, 0x0F, 8];
const ATTRIBUTES_CGA4: [u8; 20] =
    [0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0];
const ATTRIBUTES_CGA2: [u8; 20] =
    [0, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 1, 0, 1, 0];
const ATTRIBUTES_EGA: [u8; 20] =
    [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 0x0F, 0];
const ATTRIBUTES_VGA16: [u8; 20] =
    [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3A, 0x3B, 0x3C, 0x3D, 0x3E, 0x3F, 1, 0, 0x0F, 0];
const ATTRIBUTES_EGA_MONO: [u8; 20] = [0, 8, 0, 0, 0x18, 0x18, 0, 0, 0, 8, 0, 0, 0, 0x18, 0, 0, 1, 0, 1, 0];
const ATTRIBUTES_VGA2: [u8; 20] =
    [0, 0x3F, 0, 0x3F, 0, 0x3F, 0, 0x3F, 0, 0x3F, 0, 0x3F, 0, 0x3F, 0, 0x3F, 1, 0, 0x0F, 0];
const ATTRIBUTES_256: [u8; 20] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0F, 0];

/// Graphics controller registers but for mode (5), miscellaneous (6) and don't care (7).
const fn graphics(mode: u8, misc: u8, dont_care: u8) -> [u8; 9] {
    [0, 0, 0, 0, 0, mode, misc, dont_care, 0xFF]
}

const fn with(mut crtc: [u8; 25], changes: &[(usize, u8)]) -> [u8; 25] {
    let mut i = 0;
    while i < changes.len() {
        crtc[changes[i].0] = changes[i].1;
        i += 1;
    }
    crtc
}

fn text(columns: u8, mono: bool) -> Parameters {
    let wide = columns == 80;
    let crtc = if wide { CRTC_TEXT80 } else { CRTC_TEXT40 };
    Parameters {
        columns,
        rows: 25,
        height: 16,
        page_bytes: if wide { 0x1000 } else { 0x800 },
        sequencer: [if wide { 0 } else { 8 }, 3, 0, 2],
        misc: if mono { 0x66 } else { 0x67 },
        crtc: if mono { with(crtc, &[(0x14, 0x0F)]) } else { crtc },
        attribute: if mono { ATTRIBUTES_MONO } else { ATTRIBUTES_TEXT },
        graphics: graphics(0x10, if mono { 0x0A } else { 0x0E }, 0x0F),
    }
}

/// The mode, if int 10h AH=00h knows it.
pub(crate) fn mode(number: u8) -> Option<Mode> {
    let planar = |columns, rows, height, page_bytes, crtc, attribute| Parameters {
        columns,
        rows,
        height,
        page_bytes,
        sequencer: [if columns == 40 { 9 } else { 1 }, 0x0F, 0, 6],
        misc: match u16::from(rows) * u16::from(height) {
            200 => 0x63,
            350 => 0xA3,
            _ => 0xE3,
        },
        crtc,
        attribute,
        graphics: graphics(0, 5, 0x0F),
    };
    let crtc_350 = with(
        CRTC_640,
        &[
            (9, 0x40),
            (0x10, 0x83),
            (0x11, 0x85),
            (0x12, 0x5D),
            (0x14, 0x0F),
            (0x15, 0x63),
            (0x16, 0xBA),
            (0x17, 0xE3),
        ],
    );
    let crtc_480 = with(
        CRTC_640,
        &[
            (6, 0x0B),
            (7, 0x3E),
            (9, 0x40),
            (0x10, 0xEA),
            (0x11, 0x8C),
            (0x12, 0xDF),
            (0x15, 0xE7),
            (0x16, 0x04),
            (0x17, 0xE3),
        ],
    );
    let (kind, memory, parameters, palette) = match number {
        0 | 1 => (Kind::Text, 0xB_8000, text(40, false), Palette::Ega64),
        2 | 3 => (Kind::Text, 0xB_8000, text(80, false), Palette::Ega64),
        7 => (Kind::Text, 0xB_0000, text(80, true), Palette::Mono),
        4 | 5 => {
            let parameters = Parameters {
                columns: 40,
                rows: 25,
                height: 8,
                page_bytes: 0x4000,
                sequencer: [9, 3, 0, 2],
                misc: 0x63,
                crtc: CRTC_320,
                attribute: ATTRIBUTES_CGA4,
                graphics: graphics(0x30, 0x0F, 0x0F),
            };
            (Kind::Cga4, 0xB_8000, parameters, Palette::Cga16)
        }
        6 => {
            let parameters = Parameters {
                columns: 80,
                rows: 25,
                height: 8,
                page_bytes: 0x4000,
                sequencer: [1, 1, 0, 6],
                misc: 0x63,
                crtc: CRTC_640,
                attribute: ATTRIBUTES_CGA2,
                graphics: graphics(0, 0x0D, 0x0F),
            };
            (Kind::Cga2, 0xB_8000, parameters, Palette::Cga16)
        }
        0x0D => {
            let crtc = with(CRTC_320, &[(9, 0xC0), (0x17, 0xE3)]);
            (Kind::Planar, 0xA_0000, planar(40, 25, 8, 0x2000, crtc, ATTRIBUTES_EGA), Palette::Cga16)
        }
        0x0E => {
            let crtc = with(CRTC_640, &[(9, 0xC0), (0x17, 0xE3)]);
            (Kind::Planar, 0xA_0000, planar(80, 25, 8, 0x4000, crtc, ATTRIBUTES_EGA), Palette::Cga16)
        }
        0x0F => {
            let parameters = planar(80, 25, 14, 0x8000, crtc_350, ATTRIBUTES_EGA_MONO);
            (Kind::Planar, 0xA_0000, Parameters { misc: 0xA2, ..parameters }, Palette::Mono)
        }
        0x10 => {
            (Kind::Planar, 0xA_0000, planar(80, 25, 14, 0x8000, crtc_350, ATTRIBUTES_VGA16), Palette::Ega64)
        }
        0x11 => {
            (Kind::Planar, 0xA_0000, planar(80, 30, 16, 0xA000, crtc_480, ATTRIBUTES_VGA2), Palette::Ega64)
        }
        0x12 => {
            (Kind::Planar, 0xA_0000, planar(80, 30, 16, 0xA000, crtc_480, ATTRIBUTES_VGA16), Palette::Ega64)
        }
        0x13 => {
            let parameters = Parameters {
                columns: 40,
                rows: 25,
                height: 8,
                page_bytes: 0x2000,
                sequencer: [1, 0x0F, 0, 0x0E],
                misc: 0x63,
                crtc: with(CRTC_640, &[(9, 0x41), (0x14, 0x40), (0x17, 0xA3)]),
                attribute: ATTRIBUTES_256,
                graphics: graphics(0x40, 5, 0x0F),
            };
            (Kind::Packed, 0xA_0000, parameters, Palette::Vga256)
        }
        _ => return None,
    };
    Some(Mode { number, kind, memory, parameters, palette })
}

/// The 29 entries of the video parameter table in their traditional order.
pub(crate) fn parameter_table() -> Vec<Parameters> {
    let of = |number| mode(number).expect("a mode of the table").parameters;
    // Modes 0-3 with 8x8 and 8x14 characters come before those with 8x16.
    let scan_200 = |number| {
        let parameters: Parameters = of(number);
        Parameters { height: 8, crtc: with(parameters.crtc, &[(9, 0xC7), (0xA, 6), (0xB, 7)]), ..parameters }
    };
    let scan_350 = |number| {
        let parameters: Parameters = of(number);
        let vertical = [
            (9, 0x4D),
            (0xA, 0x0B),
            (0xB, 0x0C),
            (0x10, 0x83),
            (0x11, 0x85),
            (0x12, 0x5D),
            (0x15, 0x63),
            (0x16, 0xBA),
        ];
        let misc = parameters.misc & 0x3F | 0x80;
        Parameters { height: 14, misc, crtc: with(parameters.crtc, &vertical), ..parameters }
    };
    let mut table: Vec<_> = (0..4).map(scan_200).collect();
    table.extend([4, 5, 6].map(of));
    table.push(scan_350(7));
    // 08h-0Ch are reserved.
    table.extend([6; 5].map(of));
    table.extend([0x0D, 0x0E, 0x0F, 0x10, 0x0F, 0x10].map(of));
    table.extend((0..4).map(scan_350));
    table.extend([1, 3, 7, 0x11, 0x12, 0x13].map(of));
    table
}

/// The 6-bit colours of a mode's DAC.
fn colours(palette: Palette) -> Vec<[u8; 3]> {
    let cga = |index: u8| {
        let bright = if index & 8 != 0 { 0x15 } else { 0 };
        let channel = |bit: u8| if index & bit != 0 { 0x2A + bright } else { bright };
        if index == 6 { [0x2A, 0x15, 0] } else { [channel(4), channel(2), channel(1)] }
    };
    let mut table: Vec<[u8; 3]> = match palette {
        Palette::Ega64 => (0..64u8)
            .map(|i| {
                let channel = |bit: u8| 0x2A * (i >> bit & 1) + 0x15 * (i >> (bit + 3) & 1);
                [channel(2), channel(1), channel(0)]
            })
            .collect(),
        Palette::Cga16 => (0..64u8).map(|i| cga(i & 7 | i >> 1 & 8)).collect(),
        Palette::Mono => (0..64u8).map(|i| [[0, 0x2A, 0, 0x3F][usize::from(i >> 3 & 3)]; 3]).collect(),
        Palette::Vga256 => {
            let mut table: Vec<_> = (0..16).map(cga).collect();
            let greys = [0, 5, 8, 0xB, 0xE, 0x11, 0x14, 0x18, 0x1C, 0x20, 0x24, 0x28, 0x2D, 0x32, 0x38, 0x3F];
            table.extend(greys.map(|grey| [grey; 3]));
            for levels in [
                [0, 0x10, 0x1F, 0x2F, 0x3F],
                [0x1F, 0x27, 0x2F, 0x37, 0x3F],
                [0x2D, 0x31, 0x36, 0x3A, 0x3F],
                [0, 7, 0x0E, 0x15, 0x1C],
                [0x0E, 0x11, 0x15, 0x18, 0x1C],
                [0x14, 0x16, 0x18, 0x1A, 0x1C],
                [0, 4, 8, 0x0C, 0x10],
                [8, 0x0A, 0x0C, 0x0E, 0x10],
                [0x0B, 0x0C, 0x0D, 0x0F, 0x10],
            ] {
                // Around the wheel from blue: each sixth moves one channel up or down.
                let mut at = [0usize, 0, 4];
                for (channel, up) in [(0, true), (2, false), (1, true), (0, false), (2, true), (1, false)] {
                    for _ in 0..4 {
                        table.push(at.map(|level| levels[level]));
                        at[channel] = if up { at[channel] + 1 } else { at[channel] - 1 };
                    }
                }
            }
            table
        }
    };
    table.resize(256, [0; 3]);
    table
}

/// A register behind an index port.
pub(crate) fn indexed(bus: &mut dyn Initiator, port: u16, index: u8, value: u8) {
    bus.outb(port, index);
    bus.outb(port + 1, value);
}

/// The CRTC's index port: 3D4h or 3B4h.
pub(crate) fn crtc_port(bus: &mut dyn Initiator) -> u16 {
    if bus.get16(bda::VIDEO_CRTC) == 0x3B4 { 0x3B4 } else { 0x3D4 }
}

/// Sets DAC registers from `first` on.
pub(crate) fn set_dac(bus: &mut dyn Initiator, first: u8, table: &[[u8; 3]]) {
    bus.outb(0x3C8, first);
    for value in table.iter().flatten() {
        bus.outb(0x3C9, *value);
    }
}

/// Grey of a colour by its luminance: 30 % red, 59 % green, 11 % blue.
pub(crate) fn grey([red, green, blue]: [u8; 3]) -> [u8; 3] {
    let sum = 77 * u32::from(red & 63) + 151 * u32::from(green & 63) + 28 * u32::from(blue & 63) + 0x80;
    [(sum >> 8).min(63) as u8; 3]
}

/// Int 10h AH=00h: programs the VGA, clears the picture unless asked not to, and fills in the BDA.
///
/// Returns false for a mode the VGA does not have; nothing has changed then.
pub(crate) fn set_mode(bus: &mut dyn Initiator, number: u8, keep_memory: bool) -> bool {
    let Some(mode) = mode(number) else { return false };
    let p = mode.parameters;
    let vga_flags = bus.get8(bda::VIDEO_VGA_FLAGS);

    // S3: leave the enhanced modes.
    let crtc = if p.misc & 1 != 0 { 0x3D4 } else { 0x3B4 };
    bus.outb(0x3C2, p.misc);
    for (index, value) in [
        (0x38, 0x48),
        (0x39, 0xA5),
        (0x31, 0x05),
        (0x3A, 0x05),
        (0x67, 0),
        (0x51, 0),
        (0x69, 0),
        (0x6A, 0),
        (0x5D, 0),
        (0x5E, 0),
        (0x43, 0),
    ] {
        indexed(bus, crtc, index, value);
    }
    // Sequencer in synchronous reset while the clock changes, screen off.
    indexed(bus, 0x3C4, 0, 1);
    indexed(bus, 0x3C4, 1, p.sequencer[0] | 0x20);
    for (index, value) in p.sequencer.iter().enumerate().skip(1) {
        indexed(bus, 0x3C4, index as u8 + 1, *value);
    }
    indexed(bus, 0x3C4, 0, 3);
    // CR11.7 protects CR00-07.
    indexed(bus, crtc, 0x11, p.crtc[0x11] & 0x7F);
    for (index, value) in p.crtc.iter().enumerate() {
        indexed(bus, crtc, index as u8, *value);
    }
    for (index, value) in p.graphics.iter().enumerate() {
        indexed(bus, 0x3CE, index as u8, *value);
    }
    bus.inb(crtc + 6);
    for (index, value) in p.attribute.iter().enumerate() {
        // 40:89 bit 3: the default palette is not to be loaded.
        if vga_flags & 8 == 0 || index >= 16 {
            bus.outb(0x3C0, index as u8);
            bus.outb(0x3C0, *value);
        }
    }
    bus.outb(0x3C0, 0x14);
    bus.outb(0x3C0, 0);
    bus.outb(0x3C6, 0xFF);
    if vga_flags & 8 == 0 {
        let mut table = colours(mode.palette);
        if vga_flags & 2 != 0 {
            table = table.into_iter().map(grey).collect();
        }
        set_dac(bus, 0, &table);
    }

    if !keep_memory {
        clear(bus, &mode);
    }
    if mode.kind == Kind::Text {
        load_font(bus, 0, 0, 256, p.height, &font::glyphs(usize::from(p.height)));
    }

    fill_bda(bus, &mode, keep_memory);
    // Palette address source: screen on.
    bus.inb(crtc + 6);
    bus.outb(0x3C0, 0x20);
    indexed(bus, 0x3C4, 1, p.sequencer[0]);
    true
}

fn clear(bus: &mut dyn Initiator, mode: &Mode) {
    let blank = if mode.kind == Kind::Text { [0x20, 0x07] } else { [0, 0] };
    let chunk: Vec<u8> = blank.iter().copied().cycle().take(4096).collect();
    let length = if mode.memory == 0xA_0000 { 0x1_0000 } else { 0x8000 };
    for offset in (0..length).step_by(4096) {
        bus.put(mode.memory + offset, &chunk);
    }
}

fn fill_bda(bus: &mut dyn Initiator, mode: &Mode, keep_memory: bool) {
    let p = mode.parameters;
    bus.put8(bda::VIDEO_MODE, mode.number);
    bus.put16(bda::VIDEO_COLUMNS, u16::from(p.columns));
    bus.put16(bda::VIDEO_PAGE_BYTES, p.page_bytes);
    bus.put16(bda::VIDEO_PAGE_START, 0);
    bus.put(bda::VIDEO_CURSORS, &[0; 16]);
    bus.put16(bda::VIDEO_CURSOR_SHAPE, if mode.kind == Kind::Text { 0x0607 } else { 0 });
    bus.put8(bda::VIDEO_PAGE, 0);
    bus.put16(bda::VIDEO_CRTC, if p.misc & 1 != 0 { 0x3D4 } else { 0x3B4 });
    let select = [0x2C, 0x28, 0x2D, 0x29, 0x2A, 0x2E, 0x1E, 0x29]
        .get(usize::from(mode.number))
        .copied()
        .unwrap_or(0x29);
    bus.put8(bda::VIDEO_MODE_SELECT, select);
    bus.put8(bda::VIDEO_PALETTE, if mode.number == 6 { 0x3F } else { 0x30 });
    bus.put8(bda::VIDEO_ROWS, p.rows - 1);
    bus.put16(bda::VIDEO_HEIGHT, u16::from(p.height));
    bus.put8(bda::VIDEO_CONTROL, if keep_memory { 0xE0 } else { 0x60 });
    bus.put8(bda::VIDEO_SWITCHES, 0xF9);
    let flags = bus.get8(bda::VIDEO_VGA_FLAGS);
    bus.put8(bda::VIDEO_VGA_FLAGS, flags & 0x0E | 0x51);
    bus.put8(bda::VIDEO_DCC, 0x0B);
    // Graphics characters: int 43h for all, int 1Fh for the upper half of 8x8.
    let offset = match p.height {
        8 => layout::FONT_8X8,
        14 => layout::FONT_8X14,
        _ => layout::FONT_8X16,
    };
    set_vector(bus, 0x43, 0xC000, offset);
}

/// Points an interrupt vector.
pub(crate) fn set_vector(bus: &mut dyn Initiator, vector: u8, segment: u16, offset: u16) {
    bus.put32(u32::from(vector) * 4, u32::from(segment) << 16 | u32::from(offset));
}

/// Loads characters into plane 2, where text modes keep eight fonts of 256 characters by 32 bytes.
pub(crate) fn load_font(
    bus: &mut dyn Initiator,
    block: u8,
    first: u16,
    count: u16,
    height: u8,
    glyphs: &[u8],
) {
    let crtc_is_colour = crtc_port_from_misc(bus);
    for (port, index, value) in [
        (0x3C4, 0, 1),
        (0x3C4, 2, 4),
        (0x3C4, 4, 7),
        (0x3C4, 0, 3),
        (0x3CE, 4, 2),
        (0x3CE, 5, 0),
        (0x3CE, 6, 4),
    ] {
        indexed(bus, port, index, value);
    }
    // Block 0-3 at 0, 4000h, 8000h, C000h; 4-7 8 KiB behind those.
    let base = 0xA_0000 + u32::from(block & 3) * 0x4000 + u32::from(block >> 2 & 1) * 0x2000;
    for (i, glyph) in glyphs.chunks_exact(usize::from(height.max(1))).take(usize::from(count)).enumerate() {
        let character = (u32::from(first) + i as u32) & 0xFF;
        bus.put(base + character * 32, glyph);
    }
    let misc = if crtc_is_colour { 0x0E } else { 0x0A };
    for (port, index, value) in [
        (0x3C4, 0, 1),
        (0x3C4, 2, 3),
        (0x3C4, 4, 3),
        (0x3C4, 0, 3),
        (0x3CE, 4, 0),
        (0x3CE, 5, 0x10),
        (0x3CE, 6, misc),
    ] {
        indexed(bus, port, index, value);
    }
}

fn crtc_port_from_misc(bus: &mut dyn Initiator) -> bool {
    bus.inb(0x3CC) & 1 != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_by_their_sum() {
        // Sync polarities say the number of lines: 400, 350 or 480.
        for (number, misc) in
            [(3, 0x67), (7, 0x66), (0x0D, 0x63), (0x0E, 0x63), (0x10, 0xA3), (0x12, 0xE3), (0x13, 0x63)]
        {
            assert_eq!(mode(number).unwrap().parameters.misc, misc, "mode {number:x}");
        }
        assert_eq!(parameter_table().len(), 29);
        assert!(mode(8).is_none() && mode(0x14).is_none());
    }

    #[test]
    fn palettes_of_the_reference() {
        assert_eq!(colours(Palette::Ega64)[0x14], [0x2A, 0x15, 0]);
        assert_eq!(colours(Palette::Ega64)[0x3F], [0x3F; 3]);
        let vga = colours(Palette::Vga256);
        assert_eq!(
            (vga[15], vga[31], vga[32], vga[33]),
            ([0x3F; 3], [0x3F; 3], [0, 0, 0x3F], [0x10, 0, 0x3F])
        );
        assert_eq!((vga[55], vga[247], vga[248]), ([0, 0x10, 0x3F], [0x0B, 0x0C, 0x10], [0; 3]));
    }
}
