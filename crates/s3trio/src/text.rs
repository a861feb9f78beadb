//! Text modes: as cells for those who read, as pixels for those who look.

use crate::display::{Display, Line};
use crate::registers::{attr, cr, seq};
use crate::render::{Palette, counter_address};
use crate::state::Registers;

/// The hardware cursor of a text screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextCursor {
    /// Column, from 0.
    pub column: usize,
    /// Row, from 0.
    pub row: usize,
    /// First and last row scan (CR0A, CR0B).
    pub lines: (u8, u8),
}

/// A text screen as characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextScreen {
    /// Characters in a row.
    pub columns: usize,
    /// Rows that are wholly visible.
    pub rows: usize,
    /// Character code and attribute of each cell, row by row.
    pub cells: Vec<(u8, u8)>,
    /// Where the cursor stands, if it is on and visible. It blinks; this does not say in which half it is.
    pub cursor: Option<TextCursor>,
    /// Attribute bit 7 blinks (AR10.3); else it makes the background bright.
    pub blink: bool,
}

impl TextScreen {
    /// The cells of `row`; empty beyond the last.
    pub fn row(&self, row: usize) -> &[(u8, u8)] {
        self.cells.chunks(self.columns.max(1)).nth(row).unwrap_or(&[])
    }

    /// The rows as text without trailing blanks: what tests and `--expect`-like searches compare. Codes outside ASCII become `.`.
    pub fn to_lines(&self) -> Vec<String> {
        let line = |row: &[(u8, u8)]| {
            let text: String = row
                .iter()
                .map(|(code, _)| match code {
                    0 => ' ',
                    0x20..=0x7e => char::from(*code),
                    _ => '.',
                })
                .collect();
            text.trim_end().to_string()
        };
        (0..self.rows).map(|row| line(self.row(row))).collect()
    }
}

/// Where the cursor is and whether it is on: counter value and row scans.
struct Cursor {
    counter: u32,
    lines: (u8, u8),
}

impl Cursor {
    fn of(r: &Registers) -> Option<Self> {
        let lines = (r.cr(cr::CSSL) & 0x1f, r.cr(cr::CESL) & 0x1f);
        let skew = u32::from(r.cr(cr::CESL) >> 5 & 3);
        let counter = u32::from(r.cr(cr::CLA_HIGH)) << 8 | u32::from(r.cr(cr::CLA_LOW));
        // The upper start address bits apply to the cursor as well, for the counter it is compared with has them.
        let counter = counter | crate::display::start_address(r) & 0xf_0000;
        let on = r.cr(cr::CSSL) & 0x20 == 0 && lines.0 <= lines.1;
        on.then_some(Self { counter: counter.wrapping_add(skew), lines })
    }
}

/// The word with the four planes at counter value `counter`; zero beyond the memory.
fn word(vram: &[u8], r: &Registers, display: &Display, counter: u32, row: u8) -> [u8; 4] {
    let at = (counter_address(r, counter, row) & display.mask) as usize * 4;
    vram.get(at..at + 4).and_then(|w| w.try_into().ok()).unwrap_or([0; 4])
}

pub(crate) fn text_screen(r: &Registers, display: &Display, vram: &[u8]) -> TextScreen {
    let columns = display.chars as usize;
    let rows = (display.height / display.row_lines()).max(1) as usize;
    let cursor = Cursor::of(r);
    let blink = r.ar(attr::MODE) & attr::MODE_BLINK != 0;
    let mut screen =
        TextScreen { columns, rows, cells: Vec::with_capacity(columns * rows), cursor: None, blink };
    // A cell row begins where the row scan is 0; a screen scrolled by part of a row begins with what is left of one.
    let mut last = None;
    for line in display.lines() {
        let key = (line.counter, line.split);
        if last == Some(key) || screen.cells.len() == columns * rows {
            continue;
        }
        last = Some(key);
        let row = screen.cells.len() / columns;
        for column in 0..display.chars {
            let counter = line.counter.wrapping_add(column);
            let [code, attribute, ..] = word(vram, r, display, counter, 0);
            screen.cells.push((code, attribute));
            if let Some(cursor) = cursor.as_ref().filter(|c| c.counter == counter && screen.cursor.is_none())
            {
                let lines = cursor.lines;
                screen.cursor = Some(TextCursor { column: column as usize, row, lines });
            }
        }
    }
    screen.cells.resize(columns * rows, (0, 0));
    screen
}

/// Byte offsets in plane 2 of the fonts that attribute bit 3 clear and set select (SR3 font B and A).
fn fonts(r: &Registers) -> [u32; 2] {
    let select = r.sr(seq::FONT);
    // Numbers 0 to 3 are 16 KB apart, 4 to 7 lie 8 KB above them.
    let at = |low: u8, high: u8| u32::from(low & 3) * 0x4000 + u32::from(high & 1) * 0x2000;
    [at(select, select >> 4), at(select >> 2, select >> 5)]
}

/// Renders one scan line of text as palette indices into `out`.
pub(crate) fn text_line(
    r: &Registers,
    display: &Display,
    vram: &[u8],
    palette: &Palette,
    line: Line,
    out: &mut Vec<u8>,
) {
    let mode = r.ar(attr::MODE);
    let fonts = fonts(r);
    let two_fonts = fonts[0] != fonts[1];
    let blink_off = display.frame & 16 != 0;
    let cursor =
        Cursor::of(r).filter(|c| display.frame & 8 == 0 && (c.lines.0..=c.lines.1).contains(&line.row));
    let underline = mode & attr::MODE_MONO != 0 && line.row == r.cr(cr::ULL) & 0x1f;
    for column in 0..=display.chars {
        let counter = line.counter.wrapping_add(column);
        let [code, attribute, ..] = word(vram, r, display, counter, line.row);
        let font = fonts[usize::from(two_fonts && attribute & 8 != 0)];
        let glyph_at = (font + u32::from(code) * 32 + u32::from(line.row)) as usize * 4 + 2;
        let mut dots = u16::from(vram.get(glyph_at).copied().unwrap_or(0)) << 1;
        if mode & attr::MODE_LINE_GRAPHICS != 0 && code & 0xe0 == 0xc0 {
            dots |= dots >> 1 & 1;
        }
        // With 512 characters bit 3 still makes the colour bright unless AR12 or the palette hides it.
        let foreground = attribute & 0x0f;
        let mut background = attribute >> 4;
        if mode & attr::MODE_BLINK != 0 {
            background &= 7;
            if attribute & 0x80 != 0 && blink_off {
                dots = 0;
            }
        }
        if underline && attribute & 7 == 1 {
            dots = 0x1ff;
        }
        if cursor.as_ref().is_some_and(|c| c.counter == counter) {
            dots = 0x1ff;
        }
        let colors = [palette.sixteen[usize::from(background)], palette.sixteen[usize::from(foreground)]];
        for dot in 0..display.char_dots {
            out.push(colors[usize::from(dots >> (8 - dot) & 1)]);
        }
    }
}
