//! The fonts of the video BIOS, code page 437.
//!
//! Letters and signs are those of the X Window System's "misc-fixed" fonts 8x13 and 5x8 ("Public domain font. Share and
//! enjoy.", package font-misc-misc), reordered to code page 437; shades, lines and blocks (B0h-DFh) are drawn here so
//! that they join across cells.

const FIXED_8X13: &[u8; 256 * 13] = include_bytes!("misc-fixed-8x13.bin");
const FIXED_5X8: &[u8; 256 * 8] = include_bytes!("misc-fixed-5x8.bin");

/// Lines of B3h-DAh: 0 none, 1 single, 2 double, as up, right, down, left.
const LINES: [[u8; 4]; 0x28] = [
    [1, 0, 1, 0], // B3
    [1, 0, 1, 1],
    [1, 0, 1, 2],
    [2, 0, 2, 1],
    [0, 0, 2, 1],
    [0, 0, 1, 2],
    [2, 0, 2, 2],
    [2, 0, 2, 0],
    [0, 0, 2, 2],
    [2, 0, 0, 2],
    [2, 0, 0, 1],
    [1, 0, 0, 2],
    [0, 0, 1, 1],
    [1, 1, 0, 0], // C0
    [1, 1, 0, 1],
    [0, 1, 1, 1],
    [1, 1, 1, 0],
    [0, 1, 0, 1],
    [1, 1, 1, 1],
    [1, 2, 1, 0],
    [2, 1, 2, 0],
    [2, 2, 0, 0],
    [0, 2, 2, 0],
    [2, 2, 0, 2],
    [0, 2, 2, 2],
    [2, 2, 2, 0],
    [0, 2, 0, 2],
    [2, 2, 2, 2],
    [1, 2, 0, 2],
    [2, 1, 0, 1],
    [0, 2, 1, 2], // D1
    [0, 1, 2, 1],
    [2, 1, 0, 0],
    [1, 2, 0, 0],
    [0, 2, 1, 0],
    [0, 1, 2, 0],
    [2, 1, 2, 1],
    [1, 2, 1, 2],
    [1, 0, 0, 1],
    [0, 1, 1, 0], // DA
];

/// 256 characters of `height` (8, 14 or 16) bytes, the leftmost dot in bit 7.
pub(crate) fn glyphs(height: usize) -> Vec<u8> {
    let mut font = vec![0; 256 * height];
    for (code, cell) in font.chunks_exact_mut(height).enumerate() {
        match code {
            0xB0..=0xB2 | 0xDB..=0xDF => block(code, cell),
            0xB3..=0xDA => line(LINES[code - 0xB3], cell),
            _ if height == 8 => {
                for (row, dots) in cell.iter_mut().zip(&FIXED_5X8[code * 8..]) {
                    *row = dots >> 1;
                }
            }
            _ => cell[usize::from(height > 14)..][..13].copy_from_slice(&FIXED_8X13[code * 13..][..13]),
        }
    }
    font
}

fn block(code: usize, cell: &mut [u8]) {
    let half = cell.len() / 2;
    for (y, row) in cell.iter_mut().enumerate() {
        *row = match code {
            0xB0 => [0x22, 0x88][y % 2],
            0xB1 => [0x55, 0xAA][y % 2],
            0xB2 => [0xDD, 0x77][y % 2],
            0xDB => 0xFF,
            0xDC => [0, 0xFF][usize::from(y >= half)],
            0xDD => 0xF0,
            0xDE => 0x0F,
            _ => [0xFF, 0][usize::from(y >= half)],
        };
    }
}

/// Draws lines: a single vertical one in columns 3-4, a double one in 2-3 and 5-6; a single horizontal one in the middle
/// row, a double one in the rows above and below it.
fn line([up, right, down, left]: [u8; 4], cell: &mut [u8]) {
    let middle = cell.len() / 2 - 1;
    let mut set = |rows: core::ops::Range<usize>, columns: core::ops::Range<usize>, on: bool| {
        let mask = columns.fold(0u8, |mask, column| mask | 0x80 >> column);
        for row in &mut cell[rows] {
            *row = if on { *row | mask } else { *row & !mask };
        }
    };
    let height = 2 * (middle + 1);
    // Double arms are bands as far as what they meet,
    let (band_row, band_column) = (middle - 1..middle + 2, 2..7);
    let first_column = if up.max(down) == 2 { 2 } else { 3 };
    let last_column = if up.max(down) == 2 { 7 } else { 5 };
    for (kind, rows) in [(up, 0..middle + 2), (down, middle - 1..height)] {
        if kind == 2 {
            set(rows, band_column.clone(), true);
        }
    }
    for (kind, columns) in [(left, 0..last_column), (right, first_column..8)] {
        if kind == 2 {
            set(band_row.clone(), columns, true);
        }
    }
    // hollow inside;
    for (kind, rows, columns) in [
        (up, 0..middle + 1, 4..5),
        (down, middle..height, 4..5),
        (left, middle..middle + 1, 0..5),
        (right, middle..middle + 1, 4..8),
    ] {
        if kind == 2 {
            set(rows, columns, false);
        }
    }
    // a single arm goes to the middle, or to the near or far stroke of a double line.
    let reach = |opposite: u8, across: (u8, u8), near: usize, middle: usize, far: usize| match (
        across.0 == 2,
        across.1 == 2,
    ) {
        (true, true) if opposite == 0 => near,
        (false, false) => middle,
        _ => far,
    };
    let across = (left, right);
    if up == 1 {
        set(0..reach(down, across, middle, middle + 1, middle + 2), 3..5, true);
    }
    if down == 1 {
        set(reach(up, across, middle + 1, middle, middle - 1)..height, 3..5, true);
    }
    let across = (up, down);
    if left == 1 {
        set(middle..middle + 1, 0..reach(right, across, 4, 5, 7), true);
    }
    if right == 1 {
        set(middle..middle + 1, reach(left, across, 5, 3, 2)..8, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_join() {
        for height in [8, 14, 16] {
            let font = glyphs(height);
            let cell = |code: usize| &font[code * height..][..height];
            for code in 0xB3..=0xDA {
                let [up, right, down, left] = LINES[code - 0xB3];
                let column = |kind: u8| [0, 0x18, 0x36][usize::from(kind)];
                // What leaves a cell is what enters its neighbour.
                assert_eq!(cell(code)[0] & 0x3E, column(up), "{code:x}");
                assert_eq!(cell(code)[height - 1] & 0x3E, column(down), "{code:x}");
                let edge =
                    |bit: u8| (0..height).map(|y| u32::from(cell(code)[y] & bit != 0) << y).sum::<u32>();
                let rows = |kind: u8| [0, 1 << (height / 2 - 1), 5 << (height / 2 - 2)][usize::from(kind)];
                assert_eq!(edge(0x80), rows(left), "{code:x}");
                assert_eq!(edge(0x01), rows(right), "{code:x}");
            }
        }
    }

    #[test]
    fn letters_are_there() {
        for height in [8, 14, 16] {
            let font = glyphs(height);
            for code in (1..256).filter(|code| ![0x20, 0xFF].contains(code)) {
                assert!(font[code * height..][..height].iter().any(|row| *row != 0), "{code:x}");
            }
            assert!(font[0x20 * height..][..height].iter().all(|row| *row == 0));
        }
    }
}
