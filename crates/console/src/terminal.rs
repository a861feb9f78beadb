//! Screens in a terminal: UTF-8, ANSI colours.

use crate::cp437;
use crate::image::Image;
use std::fmt::Write;

/// A text screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TextGrid<'a> {
    /// Characters in a row.
    pub columns: usize,
    /// Rows.
    pub rows: usize,
    /// CP437 code and VGA attribute of each cell, row by row; missing ones are blank.
    pub cells: &'a [(u8, u8)],
    /// Column and row of the cursor, if it shows.
    pub cursor: Option<(usize, usize)>,
    /// Attribute bit 7 blinks; else it makes the background bright.
    pub blink: bool,
}

impl TextGrid<'_> {
    fn cell(&self, column: usize, row: usize) -> (u8, u8) {
        let inside = column < self.columns && row < self.rows;
        let cell = inside.then(|| self.cells.get(row * self.columns + column)).flatten();
        cell.copied().unwrap_or((b' ', 0x07))
    }
}

/// One character cell of the terminal as it was last printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shown {
    Text {
        code: u8,
        attribute: u8,
        blink: bool,
    },
    /// Upper and lower half.
    Halves([u8; 3], [u8; 3]),
    /// Nothing of ours: the terminal's own blank.
    Blank,
}

/// Mirrors a machine's screen in a terminal of a given size. Each call returns what to print; cells that look
/// the same as before are left alone.
///
/// ```
/// use slotone_console::{TerminalScreen, TextGrid};
/// let mut screen = TerminalScreen::new(80, 24);
/// let mut cells = vec![(b' ', 7); 80 * 25];
/// cells[0] = (b'A', 0x1f);
/// let grid = |cells| TextGrid { columns: 80, rows: 25, cells, cursor: None, blink: true };
/// assert!(screen.text(&grid(&cells)).contains('A'));
/// assert_eq!(screen.text(&grid(&cells)), "", "nothing changed");
/// ```
#[derive(Debug, Clone)]
pub struct TerminalScreen {
    columns: usize,
    rows: usize,
    shown: Vec<Shown>,
    /// The terminal's content is not known: clear it first.
    fresh: bool,
    cursor: Option<(usize, usize)>,
}

impl TerminalScreen {
    /// Print this once at the start: the alternate screen.
    pub const ENTER: &'static str = "\x1b[?1049h\x1b[?25l";
    /// Print this at the end: colours, cursor and the screen that was there before.
    pub const LEAVE: &'static str = "\x1b[0m\x1b[?25h\x1b[?1049l";

    /// A terminal of `columns` by `rows` characters, at most 1000 of each.
    pub fn new(columns: usize, rows: usize) -> Self {
        let (columns, rows) = (columns.clamp(1, 1000), rows.clamp(1, 1000));
        Self { columns, rows, shown: vec![Shown::Blank; columns * rows], fresh: true, cursor: None }
    }

    /// The terminal changed its size, or someone else printed on it: everything is printed again.
    pub fn resize(&mut self, columns: usize, rows: usize) {
        *self = Self::new(columns, rows);
    }

    /// Prints a text screen. One that is larger than the terminal is cut at the right, and at the top if the cursor is below
    /// what fits.
    pub fn text(&mut self, grid: &TextGrid<'_>) -> String {
        let below = grid.cursor.map_or(0, |(_, row)| (row + 1).saturating_sub(self.rows));
        let top = below.min(grid.rows.saturating_sub(self.rows));
        let (columns, blink) = (self.columns, grid.blink);
        let next = (0..self.rows * columns).map(|i| {
            let (column, row) = (i % columns, i / columns + top);
            if column >= grid.columns || row >= grid.rows {
                return Shown::Blank;
            }
            let (code, attribute) = grid.cell(column, row);
            Shown::Text { code, attribute, blink }
        });
        let next = next.collect();
        let cursor = grid.cursor.and_then(|(column, row)| Some((column, row.checked_sub(top)?)));
        self.print(next, cursor.filter(|(column, row)| *column < self.columns && *row < self.rows))
    }

    /// Prints a picture with two pixels a character, one above the other, as large as fits with its proportions kept. A
    /// picture whose bytes do not match its size prints as nothing.
    pub fn image(&mut self, image: &Image<'_>) -> String {
        let mut next = vec![Shown::Blank; self.columns * self.rows];
        if let Some((width, height)) = self.fit(image) {
            let scaled = scale(image, width, height);
            for (i, cell) in next.iter_mut().enumerate() {
                let (x, y) = (i % self.columns, i / self.columns * 2);
                if x < width && y < height {
                    let upper = scaled[y * width + x];
                    let lower = if y + 1 < height { scaled[(y + 1) * width + x] } else { [0; 3] };
                    *cell = Shown::Halves(upper, lower);
                }
            }
        }
        self.print(next, None)
    }

    /// Size of the scaled picture in half characters.
    fn fit(&self, image: &Image<'_>) -> Option<(usize, usize)> {
        if !image.is_whole() {
            return None;
        }
        let (columns, lines) = (self.columns as u64, self.rows as u64 * 2);
        let (width, height) = (u64::from(image.width), u64::from(image.height));
        let by_width = (columns, (height * columns / width).max(1));
        let (w, h) = if by_width.1 <= lines { by_width } else { ((width * lines / height).max(1), lines) };
        Some((w as usize, h as usize))
    }

    fn print(&mut self, next: Vec<Shown>, cursor: Option<(usize, usize)>) -> String {
        let mut out = String::new();
        if self.fresh {
            out.push_str("\x1b[0m\x1b[?25l\x1b[2J");
            self.shown.fill(Shown::Blank);
            (self.fresh, self.cursor) = (false, None);
        }
        let cursor_was = self.cursor;
        let mut colors = None;
        let mut at = None;
        for (i, (old, new)) in self.shown.iter().zip(&next).enumerate() {
            if old == new {
                continue;
            }
            if at != Some(i) || i % self.columns == 0 {
                // A write to a String cannot fail.
                let _ = write!(out, "\x1b[{};{}H", i / self.columns + 1, i % self.columns + 1);
            }
            at = Some(i + 1);
            let wanted = sgr(*new);
            if colors.as_ref() != Some(&wanted) {
                out.push_str(&wanted);
                colors = Some(wanted);
            }
            out.push(match new {
                Shown::Text { code, .. } => cp437::to_char(*code),
                Shown::Halves(..) => '▀',
                Shown::Blank => ' ',
            });
        }
        if colors.is_some() {
            out.push_str("\x1b[0m");
        }
        self.shown = next;
        self.cursor = cursor;
        match cursor {
            Some((column, row)) if cursor_was != cursor || !out.is_empty() => {
                let show = if cursor_was.is_none() { "\x1b[?25h" } else { "" };
                let _ = write!(out, "\x1b[{};{}H{show}", row + 1, column + 1);
            }
            None if cursor_was.is_some() => out.push_str("\x1b[?25l"),
            _ => {}
        }
        out
    }
}

/// The colours of a cell, from a reset on.
fn sgr(cell: Shown) -> String {
    // VGA counts blue, green, red; ANSI red, green, blue.
    let ansi = |color: u8| (color & 1) << 2 | color & 2 | color >> 2 & 1;
    match cell {
        Shown::Blank => "\x1b[0m".into(),
        Shown::Text { attribute, blink, .. } => {
            let foreground = ansi(attribute) + if attribute & 8 != 0 { 90 } else { 30 };
            let bright = attribute & 0x80 != 0 && !blink;
            let background = ansi(attribute >> 4) + if bright { 100 } else { 40 };
            let blinks = if attribute & 0x80 != 0 && blink { ";5" } else { "" };
            format!("\x1b[0{blinks};{foreground};{background}m")
        }
        Shown::Halves([r, g, b], [lr, lg, lb]) => format!("\x1b[38;2;{r};{g};{b};48;2;{lr};{lg};{lb}m"),
    }
}

/// The picture at another size; each pixel is the average of those it covers.
fn scale(image: &Image<'_>, width: usize, height: usize) -> Vec<[u8; 3]> {
    let (from_width, from_height) = (image.width as usize, image.height as usize);
    let span = |i: usize, from: usize, to: usize| {
        let start = (i as u64 * from as u64 / to as u64) as usize;
        let end = ((i as u64 + 1) * from as u64).div_ceil(to as u64) as usize;
        start..end.clamp(start + 1, from.max(start + 1))
    };
    let mut out = Vec::with_capacity(width * height);
    for y in 0..height {
        for x in 0..width {
            let mut sum = [0u64; 3];
            let mut count = 0;
            let columns = span(x, from_width, width);
            for row in span(y, from_height, height) {
                let line = (row * from_width + columns.start) * 3..(row * from_width + columns.end) * 3;
                for pixel in image.rgb.get(line).unwrap_or(&[]).chunks_exact(3) {
                    for (total, gun) in sum.iter_mut().zip(pixel) {
                        *total += u64::from(*gun);
                    }
                    count += 1;
                }
            }
            out.push(sum.map(|total| total.checked_div(count).unwrap_or(0) as u8));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(cells: &[(u8, u8)], cursor: Option<(usize, usize)>) -> TextGrid<'_> {
        TextGrid { columns: 4, rows: 3, cells, cursor, blink: true }
    }

    #[test]
    fn only_changes_are_printed() {
        let mut screen = TerminalScreen::new(10, 5);
        let mut cells = vec![(b' ', 7); 12];
        cells[1] = (0xb0, 0x9e);
        let first = screen.text(&grid(&cells, Some((0, 2))));
        assert!(first.starts_with("\x1b[0m\x1b[?25l\x1b[2J\x1b[1;1H"));
        assert!(first.contains("\x1b[0;5;93;44m░"), "{first:?}");
        assert!(first.ends_with("\x1b[0m\x1b[3;1H\x1b[?25h"));
        assert_eq!(screen.text(&grid(&cells, Some((0, 2)))), "");
        cells[5] = (b'x', 0x07);
        assert_eq!(screen.text(&grid(&cells, Some((0, 2)))), "\x1b[2;2H\x1b[0;37;40mx\x1b[0m\x1b[3;1H");
        assert_eq!(screen.text(&grid(&cells, Some((1, 2)))), "\x1b[3;2H");
        assert_eq!(screen.text(&grid(&cells, None)), "\x1b[?25l");
    }

    #[test]
    fn a_small_terminal_shows_the_rows_around_the_cursor() {
        let mut screen = TerminalScreen::new(2, 1);
        let cells: Vec<_> = (b'a'..=b'l').map(|c| (c, 7)).collect();
        assert!(screen.text(&grid(&cells, Some((1, 2)))).contains("ij"));
        assert!(screen.text(&grid(&cells, Some((3, 0)))).contains("ab"));
    }

    #[test]
    fn pictures_become_half_blocks() {
        let mut screen = TerminalScreen::new(2, 1);
        let rgb = [[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]];
        let printed = screen.image(&Image { width: 2, height: 2, rgb: rgb.as_flattened() });
        assert!(printed.contains("\x1b[38;2;255;0;0;48;2;0;0;255m▀"), "{printed:?}");
        assert!(printed.contains("\x1b[38;2;0;255;0;48;2;9;9;9m▀"));
        // One pixel a character is all there is room for: the average of the four.
        let mut screen = TerminalScreen::new(1, 1);
        let rgb = [[200u8, 0, 0], [0, 100, 0], [0, 0, 50], [0, 0, 0]];
        let printed = screen.image(&Image { width: 2, height: 2, rgb: rgb.as_flattened() });
        assert!(printed.contains("38;2;50;25;12;48;2;0;0;0m"), "{printed:?}");
    }

    #[test]
    fn a_picture_that_is_none_prints_nothing() {
        let mut screen = TerminalScreen::new(4, 4);
        screen.image(&Image { width: 0, height: 0, rgb: &[] });
        assert_eq!(screen.image(&Image { width: 5, height: 5, rgb: &[1] }), "");
    }
}
