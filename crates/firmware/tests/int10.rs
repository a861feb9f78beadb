//! Int 10h in text modes and mode 13h.

mod common;

use common::{Mock, Regs};

fn regs(ax: u16, bx: u16, cx: u16, dx: u16) -> Regs {
    Regs { eax: ax.into(), ebx: bx.into(), ecx: cx.into(), edx: dx.into(), ..Regs::default() }
}

/// A machine with mode 3 and a blank screen.
fn text() -> Mock {
    let mut mock = Mock::posted();
    mock.ax(0x10, 0x0003);
    mock
}

fn type_text(mock: &mut Mock, text: &str) {
    for byte in text.bytes() {
        mock.ax(0x10, 0x0E00 | u16::from(byte));
    }
}

#[test]
fn teletype_wraps_and_scrolls() {
    let mut mock = text();
    type_text(&mut mock, "one\r\ntwo\x08\x08X");
    assert_eq!((mock.row(0).as_str(), mock.row(1).as_str()), ("one", "tXo"));
    assert_eq!(mock.int(0x10, regs(0x0300, 0, 0, 0)).edx, 0x0102);
    type_text(&mut mock, &"y".repeat(79));
    assert_eq!(mock.row(2), "y", "the line wraps after column 79");
    for _ in 0..23 {
        type_text(&mut mock, "\n");
    }
    assert_eq!(mock.row(0), format!("tX{}", "y".repeat(78)), "one line has gone");
    assert_eq!(mock.row(24), "");
    // The CRTC follows the cursor: row 24, column 1.
    assert_eq!((mock.vga[&(0x3D4, 0x0E)], mock.vga[&(0x3D4, 0x0F)]), (0x07, 0x81));
}

#[test]
fn attributes_pages_and_strings() {
    let mut mock = text();
    mock.int(0x10, regs(0x0200, 0, 0, 0x0510));
    mock.int(0x10, regs(0x0941, 0x001E, 3, 0));
    assert_eq!(mock.memory[0xB_8000 + 2 * (5 * 80 + 16)..][..6], [0x41, 0x1E, 0x41, 0x1E, 0x41, 0x1E]);
    assert_eq!(mock.int(0x10, regs(0x0800, 0, 0, 0)).ax(), 0x1E41);
    mock.int(0x10, regs(0x0A42, 0, 1, 0));
    assert_eq!(mock.int(0x10, regs(0x0800, 0, 0, 0)).ax(), 0x1E42, "AH=0Ah keeps the attribute");
    // Page 1 lies 4096 bytes on; its cursor is its own.
    mock.ax(0x10, 0x0501);
    assert_eq!((mock.vga[&(0x3D4, 0x0C)], mock.vga[&(0x3D4, 0x0D)], mock.u16(0x44E)), (0x08, 0x00, 0x1000));
    mock.memory[0x5000..0x5004].copy_from_slice(b"h\x1Fi\x2F");
    let string = Regs { ebp: 0x5000, ..regs(0x1303, 0x0100, 2, 0x0102) };
    mock.int(0x10, string);
    assert_eq!(mock.memory[0xB_9000 + 2 * 82..][..4], *b"h\x1Fi\x2F");
    assert_eq!(mock.int(0x10, regs(0x0300, 0x0100, 0, 0)).edx, 0x0104);
    assert_eq!(mock.int(0x10, regs(0x0F00, 0, 0, 0)), Regs { eax: 0x5003, ebx: 0x0100, ..Regs::default() });
}

#[test]
fn windows_scroll_both_ways() {
    let mut mock = text();
    for row in 0..4u16 {
        mock.int(0x10, regs(0x0200, 0, 0, row << 8));
        mock.int(0x10, regs(0x0930 + row, 7, 10, 0));
    }
    mock.int(0x10, regs(0x0601, 0x7000, 0x0102, 0x0305));
    let rows: Vec<_> = (0..4).map(|row| mock.row(row)).collect();
    assert_eq!(rows, ["0000000000", "1122221111", "2233332222", "33    3333"]);
    assert_eq!(mock.memory[0xB_8000 + 2 * (3 * 80 + 2) + 1], 0x70);
    mock.int(0x10, regs(0x0702, 0x0700, 0x0000, 0x034F));
    let rows: Vec<_> = (0..4).map(|row| mock.row(row)).collect();
    assert_eq!(rows, ["", "", "0000000000", "1122221111"]);
    // Nonsense areas change nothing.
    let before = mock.memory.clone();
    mock.int(0x10, regs(0x0601, 0, 0x1010, 0x0505));
    assert!(before[0xB_8000..0xC_0000] == mock.memory[0xB_8000..0xC_0000]);
}

#[test]
fn eighty_by_fifty() {
    let mut mock = text();
    mock.int(0x10, regs(0x1112, 0, 0, 0));
    assert_eq!((mock.memory[0x484], mock.u16(0x485), mock.u16(0x44C)), (49, 8, 0x2000));
    assert_eq!(
        (mock.vga[&(0x3D4, 0x09)], mock.vga[&(0x3D4, 0x12)], mock.vga[&(0x3D4, 0x07)]),
        (0x47, 0x8F, 0x1F)
    );
    let info = mock.int(0x10, regs(0x1130, 0x0600, 0, 0));
    assert_eq!((info.ecx as u16, info.edx as u8, info.es), (8, 49, 0xC000));
    // 8x16 'A' at ES:BP.
    let at = usize::from(info.es) * 16 + info.ebp as usize + 0x41 * 16;
    assert_eq!(mock.memory[at..at + 16].iter().filter(|row| **row != 0).count(), 9);
}

#[test]
fn mode_13h_and_its_palette() {
    let mut mock = text();
    mock.ax(0x10, 0x0013);
    assert_eq!(
        (mock.memory[0x449], mock.vga[&(0x3C4, 4)], mock.vga[&(0x3CE, 5)], mock.vga[&(0x3D4, 0x14)]),
        (0x13, 0x0E, 0x40, 0x40)
    );
    mock.int(0x10, regs(0x0C2A, 0, 100, 50));
    assert_eq!(mock.memory[0xA_0000 + 50 * 320 + 100], 0x2A);
    assert_eq!(mock.int(0x10, regs(0x0D00, 0, 100, 50)).al(), 0x2A);
    // Colour 32 is the wheel's blue.
    assert_eq!(mock.dac[96..99], [0, 0, 0x3F]);
    mock.int(0x10, regs(0x1010, 7, 0x0203, 0x0100));
    let read = mock.int(0x10, regs(0x1015, 7, 0, 0));
    assert_eq!((read.ecx, read.edx), (0x0203, 0x0100));
    // A character is its glyph.
    mock.int(0x10, regs(0x0200, 0, 0, 0));
    mock.int(0x10, regs(0x0941, 0x000F, 1, 0));
    assert_eq!(mock.int(0x10, regs(0x0800, 0, 0, 0)).al(), 0x41);
}

#[test]
fn cga_graphics_scroll() {
    let mut mock = text();
    mock.ax(0x10, 0x0004);
    mock.int(0x10, regs(0x0200, 0, 0, 0x0100));
    mock.int(0x10, regs(0x0941, 3, 1, 0));
    let line = |mock: &Mock, y: usize| mock.memory[0xB_8000 + (y & 1) * 0x2000 + y / 2 * 80];
    let glyph: Vec<_> = (8..16).map(|y| line(&mock, y)).collect();
    assert!(glyph.iter().any(|row| *row != 0));
    mock.int(0x10, regs(0x0601, 0, 0, 0x1827));
    assert_eq!((0..8).map(|y| line(&mock, y)).collect::<Vec<_>>(), glyph);
    assert_eq!(line(&mock, 8), 0);
}

#[test]
fn what_is_asked_by_boot_loaders() {
    let mut mock = text();
    let alternate = mock.int(0x10, regs(0x1200, 0x0010, 0, 0));
    assert_eq!((alternate.ebx, alternate.ecx), (0x0003, 0x0F09));
    assert_eq!(mock.ax(0x10, 0x1A00), Regs { eax: 0x1A1A, ebx: 8, ..Regs::default() });
    assert_eq!(mock.ax(0x10, 0x4F00).ax(), 0x0100, "no VBE");
    mock.int(0x10, regs(0x0100, 0, 0x0607, 0));
    assert_eq!((mock.vga[&(0x3D4, 0x0A)], mock.vga[&(0x3D4, 0x0B)]), (13, 14));
    mock.int(0x10, regs(0x0100, 0, 0x2000, 0));
    assert_eq!(mock.vga[&(0x3D4, 0x0A)], 0x20, "cursor off");
    // Unknown modes leave the screen alone.
    let before = mock.log.len();
    mock.ax(0x10, 0x006A);
    assert!(mock.log[before..].iter().all(|(port, _)| *port != 0x3C2));
    assert_eq!(mock.memory[0x449], 3);
}

#[test]
fn state_block() {
    let mut mock = text();
    mock.int(0x10, Regs { edi: 0x6000, ..regs(0x1B00, 0, 0, 0) });
    let block = &mock.memory[0x6000..0x6040];
    assert_eq!(block[..7], [0x40, 0x02, 0x00, 0xC0, 3, 80, 0]);
    assert_eq!((block[0x22], block[0x25], block[0x27], block[0x29], block[0x2A]), (25, 8, 16, 8, 2));
}
