//! Characters, cursor and scrolling.

use super::graphics;
use super::modes::{self, Kind, crtc_port, indexed};
use crate::bda;
use crate::initiator::{Initiator, InitiatorExt};

/// The screen as the BDA describes it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Screen {
    pub(crate) kind: Kind,
    pub(crate) memory: u32,
    pub(crate) columns: u8,
    pub(crate) rows: u8,
    pub(crate) page_bytes: u16,
    pub(crate) height: u8,
}

/// A rectangle of characters, inclusive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Area {
    pub(crate) left: u8,
    pub(crate) top: u8,
    pub(crate) right: u8,
    pub(crate) bottom: u8,
}

impl Screen {
    /// Reads the BDA. A mode we do not know is taken for mode 3.
    pub(crate) fn current(bus: &mut dyn Initiator) -> Self {
        let number = bus.get8(bda::VIDEO_MODE) & 0x7F;
        let (kind, memory) =
            modes::mode(number).map_or((Kind::Text, 0xB_8000), |mode| (mode.kind, mode.memory));
        Self {
            kind,
            memory,
            columns: bus.get16(bda::VIDEO_COLUMNS).clamp(1, 132) as u8,
            rows: bus.get8(bda::VIDEO_ROWS).min(99) + 1,
            page_bytes: bus.get16(bda::VIDEO_PAGE_BYTES),
            height: bus.get16(bda::VIDEO_HEIGHT).clamp(1, 32) as u8,
        }
    }

    pub(crate) fn page_start(&self, page: u8) -> u32 {
        u32::from(page & 7) * u32::from(self.page_bytes)
    }

    fn cell(&self, page: u8, column: u8, row: u8) -> u32 {
        let index = u32::from(row) * u32::from(self.columns) + u32::from(column);
        // Text memory is 32 KiB; what lies beyond it wraps.
        self.memory + ((self.page_start(page) + 2 * index) & 0x7FFF)
    }

    pub(crate) fn cursor(&self, bus: &mut dyn Initiator, page: u8) -> (u8, u8) {
        let at = bus.get16(bda::VIDEO_CURSORS + 2 * u32::from(page & 7));
        (at as u8, (at >> 8) as u8)
    }

    pub(crate) fn set_cursor(&self, bus: &mut dyn Initiator, page: u8, column: u8, row: u8) {
        let page = page & 7;
        bus.put16(bda::VIDEO_CURSORS + 2 * u32::from(page), u16::from(row) << 8 | u16::from(column));
        if self.kind == Kind::Text && page == bus.get8(bda::VIDEO_PAGE) {
            let cell = u16::from(row) * u16::from(self.columns) + u16::from(column);
            let address = (self.page_start(page) / 2) as u16;
            let crtc = crtc_port(bus);
            let [low, high] = address.wrapping_add(cell).to_le_bytes();
            indexed(bus, crtc, 0x0E, high);
            indexed(bus, crtc, 0x0F, low);
        }
    }

    /// Character in the low byte, attribute in the high one.
    pub(crate) fn read(&self, bus: &mut dyn Initiator, page: u8, column: u8, row: u8) -> u16 {
        match self.kind {
            Kind::Text => bus.get16(self.cell(page, column, row)),
            _ => u16::from(graphics::read_character(bus, self, page, column, row)),
        }
    }

    /// Writes a character; without an attribute the cell keeps its own. Graphics modes draw in `colour`.
    fn write(
        &self,
        bus: &mut dyn Initiator,
        at: (u8, u8, u8),
        character: u8,
        attribute: Option<u8>,
        colour: u8,
    ) {
        let (page, column, row) = at;
        match self.kind {
            Kind::Text => {
                let cell = self.cell(page, column, row);
                match attribute {
                    Some(attribute) => bus.put(cell, &[character, attribute]),
                    None => bus.put8(cell, character),
                }
            }
            _ => graphics::draw_character(bus, self, page, (column, row), character, colour),
        }
    }

    /// Scrolls `area` by `lines` (0: clears it).
    pub(crate) fn scroll(
        &self,
        bus: &mut dyn Initiator,
        page: u8,
        area: Area,
        lines: u8,
        fill: u8,
        down: bool,
    ) {
        let right = area.right.min(self.columns - 1);
        let bottom = area.bottom.min(self.rows - 1);
        if area.left > right || area.top > bottom {
            return;
        }
        let area = Area { right, bottom, ..area };
        let height = bottom - area.top + 1;
        let lines = if lines == 0 || lines > height { height } else { lines };
        if self.kind != Kind::Text {
            graphics::scroll(bus, self, page, area, lines, fill, down);
            return;
        }
        let width = usize::from(right - area.left) + 1;
        let mut row = vec![0; 2 * width];
        for i in 0..height {
            // The order in which rows are copied keeps them from being overwritten.
            let to = if down { bottom - i } else { area.top + i };
            let from =
                if i < height - lines { Some(if down { to - lines } else { to + lines }) } else { None };
            match from {
                Some(from) => {
                    if bus.mem_read(self.cell(page, area.left, from), &mut row).is_err() {
                        return;
                    }
                }
                None => row.chunks_exact_mut(2).for_each(|cell| cell.copy_from_slice(&[b' ', fill])),
            }
            bus.put(self.cell(page, area.left, to), &row);
        }
    }
}

/// AH=09h and 0Ah: the same character `count` times from the cursor on; the cursor stays.
pub(crate) fn write_repeated(
    bus: &mut dyn Initiator,
    page: u8,
    character: u8,
    attribute: Option<u8>,
    colour: u8,
    count: u16,
) {
    let screen = Screen::current(bus);
    let (mut column, mut row) = screen.cursor(bus, page);
    for _ in 0..count.min(132 * 100) {
        if column >= screen.columns {
            column = 0;
            row = row.saturating_add(1);
        }
        if row >= screen.rows {
            break;
        }
        screen.write(bus, (page, column, row), character, attribute, colour);
        column += 1;
    }
}

/// AH=0Eh: writes a character as a terminal does.
pub(crate) fn teletype(bus: &mut dyn Initiator, page: u8, character: u8, attribute: Option<u8>, colour: u8) {
    let screen = Screen::current(bus);
    let (mut column, mut row) = screen.cursor(bus, page);
    match character {
        // The speaker is left alone.
        0x07 => return,
        0x08 => column = column.saturating_sub(1),
        b'\r' => column = 0,
        b'\n' => row = row.saturating_add(1),
        _ => {
            if column < screen.columns && row < screen.rows {
                screen.write(bus, (page, column, row), character, attribute, colour);
            }
            column = column.saturating_add(1);
            if column >= screen.columns {
                column = 0;
                row = row.saturating_add(1);
            }
        }
    }
    if row >= screen.rows {
        row = screen.rows - 1;
        let fill = match screen.kind {
            Kind::Text => (screen.read(bus, page, column, row) >> 8) as u8,
            _ => 0,
        };
        let whole = Area { left: 0, top: 0, right: screen.columns - 1, bottom: row };
        screen.scroll(bus, page, whole, 1, fill, false);
    }
    screen.set_cursor(bus, page, column, row);
}

/// Writes a string at the cursor of page 0, for the firmware's own messages.
pub(crate) fn print(bus: &mut dyn Initiator, message: &str) {
    for byte in message.bytes() {
        if byte == b'\n' {
            teletype(bus, 0, b'\r', None, 7);
        }
        teletype(bus, 0, byte, None, 7);
    }
}

/// AH=01h: cursor shape, scaled from 8-line characters unless emulation is off.
pub(crate) fn set_cursor_shape(bus: &mut dyn Initiator, shape: u16) {
    bus.put16(bda::VIDEO_CURSOR_SHAPE, shape);
    let [mut end, mut start] = shape.to_le_bytes();
    let height = bus.get16(bda::VIDEO_HEIGHT).clamp(1, 32) as u8;
    let emulate = bus.get8(bda::VIDEO_CONTROL) & 1 == 0;
    if emulate && height > 8 && start & 0x60 == 0 && start <= end && end < 8 {
        // Lines near the bottom stay near the bottom, a block stays a block.
        let scale = |line: u8| if line > 3 { height - (8 - line) - 1 } else { line };
        (start, end) = if start == 0 && end == 7 { (0, height - 1) } else { (scale(start), scale(end)) };
    }
    let crtc = crtc_port(bus);
    indexed(bus, crtc, 0x0A, start);
    indexed(bus, crtc, 0x0B, end);
}

/// AH=05h: shows another page.
pub(crate) fn select_page(bus: &mut dyn Initiator, page: u8) {
    let page = page & 7;
    let screen = Screen::current(bus);
    let start = screen.page_start(page);
    bus.put8(bda::VIDEO_PAGE, page);
    bus.put16(bda::VIDEO_PAGE_START, start as u16);
    // The CRTC counts character cells in text modes, bytes of a plane in graphics modes.
    let address = if screen.kind == Kind::Text { start / 2 } else { start };
    let crtc = crtc_port(bus);
    indexed(bus, crtc, 0x0C, (address >> 8) as u8);
    indexed(bus, crtc, 0x0D, address as u8);
    let (column, row) = screen.cursor(bus, page);
    screen.set_cursor(bus, page, column, row);
}

/// Characters of another height in a text mode: as many rows as fit, and the BDA to match.
pub(crate) fn set_height(bus: &mut dyn Initiator, height: u8) {
    let height = height.clamp(2, 32);
    let crtc = crtc_port(bus);
    // The sync polarities tell how many lines the mode has.
    let lines: u16 = match bus.inb(0x3CC) >> 6 {
        2 => 350,
        3 => 480,
        _ => 400,
    };
    bus.outb(crtc, 0x09);
    let scan = bus.inb(crtc + 1);
    let doubled = u16::from(scan >> 7 & 1);
    let rows = (lines >> doubled) / u16::from(height);
    let used = ((rows * u16::from(height)) << doubled) - 1;
    bus.outb(crtc + 1, scan & 0xE0 | (height - 1));
    bus.outb(crtc, 0x11);
    let protect = bus.inb(crtc + 1);
    bus.outb(crtc + 1, protect & 0x7F);
    indexed(bus, crtc, 0x12, used as u8);
    bus.outb(crtc, 0x07);
    let overflow = bus.inb(crtc + 1);
    let high = (used >> 8 & 1) << 1 | (used >> 9 & 1) << 6;
    bus.outb(crtc + 1, overflow & !0x42 | high as u8);
    indexed(bus, crtc, 0x11, protect);
    let (start, end) = if height < 14 { (height - 2, height - 1) } else { (height - 3, height - 2) };
    indexed(bus, crtc, 0x0A, start);
    indexed(bus, crtc, 0x0B, end);

    let columns = bus.get16(bda::VIDEO_COLUMNS).clamp(1, 132);
    let page_bytes = (rows * columns * 2).next_multiple_of(2048);
    bus.put16(bda::VIDEO_PAGE_BYTES, page_bytes);
    bus.put8(bda::VIDEO_ROWS, (rows - 1) as u8);
    bus.put16(bda::VIDEO_HEIGHT, u16::from(height));
}
