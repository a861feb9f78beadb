//! Text modes: what software writes is what a reader and a viewer see.

mod common;

use common::{Card, MODE_1, MODE_3, MODE_7};
use slotone_bus::VmInstant;

/// Loads glyphs the way every BIOS does: plane 2, sequential addressing.
fn load_glyph(card: &mut Card, code: u8, rows: &[u8]) {
    for (index, value) in [(2, 4), (4, 6)] {
        card.outw(0x3c4, index, value);
    }
    for (index, value) in [(4, 2), (5, 0), (6, 4)] {
        card.outw(0x3ce, index, value);
    }
    card.poke(0xa_0000 + u64::from(code) * 32, rows);
    for (index, value) in [(2, 3), (4, 2)] {
        card.outw(0x3c4, index, value);
    }
    for (index, value) in [(4, 0), (5, 0x10), (6, 0x0e)] {
        card.outw(0x3ce, index, value);
    }
}

fn print(card: &mut Card, base: u64, text: &str, attribute: u8) {
    let cells: Vec<u8> = text.bytes().flat_map(|c| [c, attribute]).collect();
    for (i, pair) in cells.chunks(2).enumerate() {
        card.poke(base + 2 * i as u64, pair);
    }
}

#[test]
fn mode_3_reads_back_and_renders() {
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    print(&mut card, 0xb_8000 + 2 * (80 + 3), "Hi", 0x1e);
    assert_eq!((card.peek(0xb_8000 + 166), card.peek(0xb_8000 + 167)), (b'H', 0x1e));
    for (index, value) in [(0x0e, 0), (0x0f, 85)] {
        card.outw(0x3d4, index, value);
    }
    let screen = card.chip.text_screen(card.vram()).unwrap();
    assert_eq!((screen.columns, screen.rows), (80, 25));
    assert_eq!(screen.to_lines()[1], "   Hi");
    assert_eq!(screen.row(1)[4], (b'i', 0x1e));
    let cursor = screen.cursor.unwrap();
    assert_eq!((cursor.column, cursor.row, cursor.lines), (5, 1, (0x0d, 0x0e)));

    load_glyph(&mut card, b'H', &[0, 0x81]);
    let frame = card.chip.render(card.vram(), VmInstant::ZERO);
    assert_eq!((frame.width, frame.height), (720, 400));
    let (yellow, blue) = ([0xff, 0xff, 0x55], [0, 0, 0xaa]);
    let row: Vec<_> = (27..36).map(|x| frame.pixel(x, 17).unwrap()).collect();
    assert_eq!(row, [yellow, blue, blue, blue, blue, blue, blue, yellow, blue]);
    assert_eq!(frame.pixel(27, 16), Some(blue));
    // The cursor: lines 13 and 14 of cell (5, 1) in that cell's foreground, which is attribute 0: black.
    card.poke(0xb_8000 + 170, &[b' ', 0x07]);
    let frame = card.chip.render(card.vram(), VmInstant::ZERO);
    assert_eq!([28, 29, 30, 31].map(|y| frame.pixel(45, y).unwrap()[0]), [0, 0xaa, 0xaa, 0]);
}

#[test]
fn forty_columns_and_monochrome() {
    let mut card = Card::new();
    card.set_mode(&MODE_1);
    print(&mut card, 0xb_8000 + 80, "forty", 7);
    let screen = card.chip.text_screen(card.vram()).unwrap();
    assert_eq!((screen.columns, screen.rows, screen.to_lines()[1].as_str()), (40, 25, "forty"));
    assert_eq!(card.chip.render(card.vram(), VmInstant::ZERO).width, 360);

    let mut card = Card::new();
    card.set_mode(&MODE_7);
    print(&mut card, 0xb_0000, "mono", 1);
    let screen = card.chip.text_screen(card.vram()).unwrap();
    assert_eq!(screen.to_lines()[0], "mono");
    assert_eq!(card.inb(0x3d5), 0xff, "the colour ports are not there");
    // Underline in row scan 15.
    let frame = card.chip.render(card.vram(), VmInstant::ZERO);
    assert_ne!(frame.pixel(0, 15), frame.pixel(0, 12));
}
