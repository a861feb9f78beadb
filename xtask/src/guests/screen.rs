//! A text screen of 80 by 25 cells, and the golden file form of it (described in guests/README.md).

use std::fmt::Write as _;

use crate::error::{Error, Result};

const COLUMNS: usize = 80;
const ROWS: usize = 25;
/// Bytes of text memory at B8000h.
const MEMORY: usize = 0x8000;

/// What a VGA shows in text mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Screen {
    /// Character and attribute of each cell, row by row.
    cells: Vec<[u8; 2]>,
    /// Column and row of the cursor, if it is shown inside the screen.
    cursor: Option<(usize, usize)>,
    /// Rows whose characters (not attributes) may differ: they hold a version number.
    masked: Vec<usize>,
}

impl Screen {
    /// From the 32 KB at B8000h and the CRT controller's registers 0Ah to 0Fh.
    pub(crate) fn from_memory(memory: &[u8], crtc: &[u8; 0x10]) -> Result<Self> {
        if memory.len() != MEMORY {
            return Err(Error::Input(format!("{} bytes of text memory, wanted {MEMORY}", memory.len())));
        }
        let word = |high: usize| usize::from(crtc[high]) << 8 | usize::from(crtc[high + 1]);
        let start = word(0x0c);
        let cells = (0..COLUMNS * ROWS)
            .map(|cell| {
                let at = (start + cell) * 2 % MEMORY;
                [memory[at], memory[at + 1]]
            })
            .collect();
        // Cursor Start register, bit 5: cursor off.
        let cursor = (crtc[0x0a] & 0x20 == 0)
            .then(|| word(0x0e).wrapping_sub(start))
            .filter(|cell| *cell < COLUMNS * ROWS)
            .map(|cell| (cell % COLUMNS, cell / COLUMNS));
        Ok(Self { cells, cursor, masked: Vec::new() })
    }

    /// The characters, printable ASCII only, a line for each row.
    pub(crate) fn text(&self) -> String {
        let mut out = String::new();
        for row in self.cells.chunks(COLUMNS) {
            out.extend(row.iter().map(|[c, _]| if (0x20..0x7f).contains(c) { char::from(*c) } else { '.' }));
            out.push('\n');
        }
        out
    }

    /// The same screen, with the characters of rows that hold `text` left out of comparisons against it.
    pub(crate) fn mask_rows_with(mut self, text: &str) -> Self {
        self.masked = self
            .text()
            .lines()
            .enumerate()
            .filter(|(_, line)| line.contains(text))
            .map(|(row, _)| row)
            .collect();
        self
    }

    /// The golden form; `note` says where it comes from.
    pub(crate) fn to_golden(&self, note: &str) -> String {
        let mut out =
            format!("# {note}\n# Form: guests/README.md, \"Golden screens\".\nscreen {COLUMNS} {ROWS}\n");
        match self.cursor {
            Some((column, row)) => writeln!(out, "cursor {column} {row}"),
            None => writeln!(out, "cursor off"),
        }
        .unwrap_or_default();
        for row in &self.masked {
            let _ = writeln!(out, "mask {row}");
        }
        for (row, (cells, text)) in self.cells.chunks(COLUMNS).zip(self.text().lines()).enumerate() {
            let hex = |index: usize| {
                cells.iter().fold(String::new(), |mut line, cell| {
                    let _ = write!(line, "{:02x}", cell[index]);
                    line
                })
            };
            let _ = write!(out, "# {row:02} |{text}|\nc {row:02} {}\na {row:02} {}\n", hex(0), hex(1));
        }
        out
    }

    /// Reads the golden form.
    pub(crate) fn from_golden(text: &str) -> Result<Self> {
        let bad = |line: &str| Error::Input(format!("golden screen: cannot read {line:?}"));
        let mut screen = Self { cells: vec![[0; 2]; COLUMNS * ROWS], cursor: None, masked: Vec::new() };
        let mut rows = 0;
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields[..] {
                ["screen", "80", "25"] | ["cursor", "off"] => {}
                ["cursor", column, row] => {
                    let number = |text: &str| text.parse().map_err(|_| bad(line));
                    screen.cursor = Some((number(column)?, number(row)?));
                }
                ["mask", row] => screen.masked.push(row.parse().map_err(|_| bad(line))?),
                [kind @ ("c" | "a"), row, hex] if hex.len() == 2 * COLUMNS && hex.is_ascii() => {
                    let row: usize = row.parse().ok().filter(|row| *row < ROWS).ok_or_else(|| bad(line))?;
                    for column in 0..COLUMNS {
                        let byte = u8::from_str_radix(&hex[2 * column..2 * column + 2], 16)
                            .map_err(|_| bad(line))?;
                        screen.cells[row * COLUMNS + column][usize::from(kind == "a")] = byte;
                    }
                    rows += 1;
                }
                _ => return Err(bad(line)),
            }
        }
        if rows != 2 * ROWS {
            return Err(bad("rows are missing"));
        }
        Ok(screen)
    }

    /// The first cell in which `other` differs, or the cursor.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let cell = (0..COLUMNS * ROWS).find(|cell| {
            let (a, b) = (self.cells[*cell], other.cells[*cell]);
            a[1] != b[1] || (a[0] != b[0] && !self.masked.contains(&(cell / COLUMNS)))
        });
        if let Some(cell) = cell {
            let ([c, a], [oc, oa]) = (self.cells[cell], other.cells[cell]);
            return Some(format!(
                "column {}, row {}: character {oc:02x} attribute {oa:02x}, wanted {c:02x} {a:02x}",
                cell % COLUMNS,
                cell / COLUMNS
            ));
        }
        (self.cursor != other.cursor).then(|| format!("cursor {:?}, wanted {:?}", other.cursor, self.cursor))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Screen {
        let mut memory = vec![0u8; MEMORY];
        for (at, byte) in memory.iter_mut().enumerate() {
            *byte = (at * 7 / 3) as u8;
        }
        let mut crtc = [0; 0x10];
        crtc[0x0c] = 0x3f; // near the end: the picture wraps
        crtc[0x0d] = 0x80;
        crtc[0x0e] = 0x3f;
        crtc[0x0f] = 0xd3;
        Screen::from_memory(&memory, &crtc).unwrap()
    }

    #[test]
    fn golden_form_gives_the_same_screen_back() {
        let screen = sample();
        assert_eq!(screen.cursor, Some((3, 1)));
        let again = Screen::from_golden(&screen.to_golden("test")).unwrap();
        assert_eq!(again, screen);
        assert_eq!(again.difference(&screen), None);
    }

    #[test]
    fn differences_are_named() {
        let (a, mut b) = (sample(), sample());
        b.cells[81][1] ^= 1;
        assert!(a.difference(&b).unwrap().starts_with("column 1, row 1:"));
        b = sample();
        b.cursor = None;
        assert!(a.difference(&b).unwrap().starts_with("cursor"));
    }

    #[test]
    fn a_masked_row_still_compares_its_attributes() {
        let a = Screen::from_golden(&format!("{}mask 1\n", sample().to_golden("test"))).unwrap();
        let mut b = sample();
        b.cells[81][0] ^= 1;
        assert_eq!(a.difference(&b), None);
        b.cells[81][1] ^= 1;
        assert!(a.difference(&b).is_some());
    }

    #[test]
    fn damaged_golden_files_are_refused() {
        let text = sample().to_golden("test");
        assert!(Screen::from_golden(&text[..text.len() / 2]).is_err());
        assert!(Screen::from_golden(&text.replace("c 03", "c 99")).is_err());
    }
}
