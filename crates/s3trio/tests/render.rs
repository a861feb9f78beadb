//! Pictures: every mode is drawn through the CPU's window and every pixel compared with what the mode's definition says it must be
//! (`S3TRIO_PNG_DIR=folder` leaves the pictures as PNG files).

mod common;

use common::{Card, MODE_1, MODE_3, MODE_4, MODE_6, MODE_7, MODE_12, MODE_13, MODE_D, cga, ega, hash};
use slotone_bus::VmInstant;
use slotone_s3trio::Frame;

fn render(card: &Card) -> Frame {
    card.chip.render(card.vram(), VmInstant::from_nanos(card.now))
}

/// Leaves the picture as a PNG where the environment asks for it.
fn keep(name: &str, frame: &Frame) {
    let Some(folder) = std::env::var_os("S3TRIO_PNG_DIR") else { return };
    let file = std::fs::File::create(std::path::Path::new(&folder).join(name).with_extension("png")).unwrap();
    let mut encoder = png::Encoder::new(file, frame.width, frame.height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.write_header().unwrap().write_image_data(&frame.rgb).unwrap();
}

fn eight(gun: u8) -> u8 {
    gun << 2 | gun >> 4
}

/// Compares every pixel with `expected`.
fn check(name: &str, frame: &Frame, size: (u32, u32), expected: impl Fn(u32, u32) -> [u8; 3]) {
    keep(name, frame);
    assert_eq!((frame.width, frame.height), size, "{name}");
    assert_eq!(frame.rgb.len(), size.0 as usize * size.1 as usize * 3, "{name}");
    for y in 0..size.1 {
        for x in 0..size.0 {
            assert_eq!(frame.pixel(x, y), Some(expected(x, y)), "{name} at {x}, {y}");
        }
    }
}

/// A pattern without symmetry.
fn pattern(x: u32, y: u32, colors: u32) -> u8 {
    ((x / 3 + y * 7 + (x * y) / 64) % colors) as u8
}

/// Draws `color` by write mode 2 and the bit mask, as EGA and VGA programs plot.
fn plot(card: &mut Card, pitch: u64, x: u32, y: u32, color: u8) {
    card.outw(0x3ce, 8, 0x80 >> (x % 8));
    let address = 0xa_0000 + u64::from(y) * pitch + u64::from(x / 8);
    card.peek(address);
    card.poke(address, &[color]);
}

#[test]
fn sixteen_colours_in_four_planes() {
    for (name, mode, size, color) in
        [("mode-12", MODE_12, (640, 480), ega as fn(u8) -> [u8; 3]), ("mode-0d", MODE_D, (320, 200), cga)]
    {
        let mut card = Card::new();
        card.set_mode(&mode);
        card.outw(0x3ce, 5, 2);
        for y in 0..size.1 {
            for x in 0..size.0 {
                plot(&mut card, u64::from(size.0 / 8), x, y, pattern(x, y, 16));
            }
        }
        let attr = mode.attr;
        check(name, &render(&card), size, |x, y| color(attr[usize::from(pattern(x, y, 16))]).map(eight));
    }
}

#[test]
fn cga_modes() {
    let mut card = Card::new();
    card.set_mode(&MODE_4);
    for y in 0..200u32 {
        for x in (0..320).step_by(4) {
            let byte = (0..4).fold(0, |b, i| b << 2 | pattern(x + i, y, 4));
            card.poke(0xb_8000 + u64::from(y % 2 * 0x2000 + y / 2 * 80 + x / 4), &[byte]);
        }
    }
    check("mode-04", &render(&card), (320, 200), |x, y| {
        cga(MODE_4.attr[usize::from(pattern(x, y, 4))]).map(eight)
    });

    let mut card = Card::new();
    card.set_mode(&MODE_6);
    for y in 0..200u32 {
        for x in (0..640).step_by(8) {
            let byte = (0..8).fold(0, |b, i| b << 1 | pattern(x + i, y, 2));
            card.poke(0xb_8000 + u64::from(y % 2 * 0x2000 + y / 2 * 80 + x / 8), &[byte]);
        }
    }
    check("mode-06", &render(&card), (640, 200), |x, y| {
        cga(MODE_6.attr[usize::from(pattern(x, y, 2))]).map(eight)
    });
}

/// 256 colours of which no two are alike.
fn many(i: u8) -> [u8; 3] {
    [i & 0x3f, i >> 2, (i >> 6) * 0x15]
}

fn load_many(card: &mut Card) {
    let colors: Vec<_> = (0..=255).map(many).collect();
    card.palette(0, &colors);
}

#[test]
fn mode_13h() {
    let mut card = Card::new();
    card.set_mode(&MODE_13);
    load_many(&mut card);
    for y in 0..200 {
        let row: Vec<u8> = (0..320).map(|x| pattern(x, y, 256)).collect();
        for (i, bytes) in row.chunks(8).enumerate() {
            card.poke(0xa_0000 + u64::from(y) * 320 + 8 * i as u64, bytes);
        }
    }
    let color = |x, y| many(pattern(x, y, 256)).map(eight);
    check("mode-13", &render(&card), (320, 200), color);
    // The DAC mask applies on the way out.
    card.outb(0x3c6, 0x0f);
    assert_eq!(render(&card).pixel(3, 9), Some(many(pattern(3, 9, 256) & 0x0f).map(eight)));
}

#[test]
fn mode_x() {
    let mut card = Card::new();
    card.set_mode(&MODE_13);
    load_many(&mut card);
    // 320x240 unchained, as published for DOS programmers.
    card.outw(0x3c4, 4, 6);
    card.outb(0x3c2, 0xe3);
    for (index, value) in [
        (0x11, 0x2c),
        (6, 0x0d),
        (7, 0x3e),
        (9, 0x41),
        (0x10, 0xea),
        (0x11, 0xac),
        (0x12, 0xdf),
        (0x14, 0),
        (0x15, 0xe7),
        (0x16, 6),
        (0x17, 0xe3),
    ] {
        card.outw(0x3d4, index, value);
    }
    for y in 0..240 {
        for x in 0..320 {
            card.outw(0x3c4, 2, 1 << (x & 3));
            card.poke(0xa_0000 + u64::from(y * 80 + x / 4), &[pattern(x, y, 256)]);
        }
    }
    check("mode-x", &render(&card), (320, 240), |x, y| many(pattern(x, y, 256)).map(eight));
    // A second page, scrolled by a pixel: start address and panning.
    card.outw(0x3d4, 0x0d, 80);
    card.inb(0x3da);
    for value in [0x33, 2] {
        card.outb(0x3c0, value);
    }
    let frame = render(&card);
    for (x, y) in [(0, 0), (100, 50), (318, 238)] {
        assert_eq!(frame.pixel(x, y), Some(many(pattern(x + 1, y + 1, 256)).map(eight)));
    }
}

#[test]
fn split_screen_and_panning() {
    let mut card = Card::new();
    card.set_mode(&MODE_D);
    card.outw(0x3ce, 5, 2);
    // Rows 0-9 of memory are the status bar, the rest the field.
    for y in 0..220 {
        for x in 0..320 {
            plot(&mut card, 40, x, y, if y < 10 { 14 } else { pattern(x, y, 8) });
        }
    }
    card.outw(0x3d4, 0x0c, 1);
    card.outw(0x3d4, 0x0d, 0x90); // 400: row 10.
    // Line 379 is the last before the split; rows are drawn twice, so the bar begins at row 190.
    card.outw(0x3d4, 0x18, 379u32 as u8);
    card.outw(0x3d4, 0x07, 0x0f);
    card.outw(0x3d4, 0x11, 0x0e);
    card.outw(0x3d4, 0x07, 0x1f & !0x10 | 0x10);
    card.outw(0x3d4, 0x09, 0x80);
    card.inb(0x3da);
    for value in [0x30, 0x21, 0x33, 3] {
        card.outb(0x3c0, value);
    }
    let palette = MODE_D.attr;
    let color = |c: u8| cga(palette[usize::from(c)]).map(eight);
    let frame = render(&card);
    keep("split", &frame);
    for y in 0..200 {
        for x in 0..317 {
            let expected = if y < 190 { pattern(x + 3, y + 10, 8) } else { 14 };
            assert_eq!(frame.pixel(x, y), Some(color(expected)), "{x}, {y}");
        }
    }
}

#[test]
fn the_split_begins_below_the_line_that_compares() {
    let mut card = Card::new();
    card.set_mode(&MODE_12);
    card.outw(0x3ce, 5, 2);
    // Memory begins with a yellow row; the screen begins at row 100 (byte 8000), which is blue.
    for (row, color) in [(0, 14), (100, 1)] {
        for x in 0..640 {
            plot(&mut card, 80, x, row, color);
        }
    }
    card.outw(0x3d4, 0x11, 0x0c);
    for (index, value) in [(0x0c, 31), (0x0d, 64), (0x18, 99), (0x07, 0x2e), (0x09, 0)] {
        card.outw(0x3d4, index, value);
    }
    let frame = render(&card);
    let color = |c: usize| Some(ega(MODE_12.attr[c]).map(eight));
    assert_eq!(
        [0, 1, 99, 100, 101].map(|y| frame.pixel(7, y)),
        [color(1), color(0), color(0), color(14), color(0)]
    );
}

#[test]
fn text_pans_by_pixels() {
    let mut card = text_card(&MODE_3);
    let before = render(&card);
    // Nine dots: 8 is no shift, 0 is one dot, 7 is eight.
    for (value, dots) in [(0, 1), (7, 8), (8, 0)] {
        card.inb(0x3da);
        card.outb(0x3c0, 0x33);
        card.outb(0x3c0, value);
        let after = render(&card);
        for (x, y) in (0..400).step_by(37).flat_map(|y| (0..712).map(move |x| (x, y))) {
            assert_eq!(after.pixel(x, y), before.pixel(x + dots, y), "AR13 = {value} at {x}, {y}");
        }
    }
}

#[test]
fn word_mode_brings_the_top_bit_down() {
    // CR17.5 chooses which counter bit becomes A0: 15, or 13 for a card with 64 KB.
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    for (index, value) in [(0x0c, 0x20), (0x17, 0x83)] {
        card.outw(0x3d4, index, value);
    }
    let cell = |card: &Card, address: usize| card.vram()[address * 4];
    // Address 4001h of plane 0, through a planar window.
    card.outw(0x3c4, 4, 6);
    card.outw(0x3c4, 2, 1);
    card.outw(0x3ce, 6, 5);
    card.poke(0xa_4000, b"ab");
    assert_eq!((cell(&card, 0x4000), cell(&card, 0x4001)), (b'a', b'b'));
    card.outw(0x3ce, 6, 0x0e);
    assert_eq!(card.chip.text_screen(card.vram()).unwrap().row(0)[0].0, b'b');
    card.outw(0x3d4, 0x17, 0xa3);
    assert_eq!(card.chip.text_screen(card.vram()).unwrap().row(0)[0].0, b'a');
}

#[test]
fn palette_bits_from_ar14_and_planes_switched_off() {
    let mut card = Card::new();
    card.set_mode(&MODE_D);
    load_many(&mut card);
    card.outw(0x3ce, 5, 2);
    plot(&mut card, 40, 0, 0, 0x0b);
    card.inb(0x3da);
    for value in [0x30, 0x81, 0x34, 0x0e, 0x32, 0x0e] {
        card.outb(0x3c0, value);
    }
    // Plane 0 is off: colour 0Ah, palette entry 12h; P5:P4 = 2 and P7:P6 = 3 from AR14.
    assert_eq!(render(&card).pixel(0, 0), Some(many(0xc0 | 0x20 | 0x02).map(eight)));
}

#[test]
fn blank_screens() {
    let blank = |change: fn(&mut Card)| {
        let mut card = Card::new();
        card.set_mode(&MODE_13);
        card.palette(0, &[[0x3f; 3]]);
        assert_eq!(render(&card).pixel(5, 5), Some([255; 3]));
        change(&mut card);
        assert!(render(&card).rgb.iter().all(|b| *b == 0));
    };
    blank(|card| card.outw(0x3c4, 1, 0x21));
    blank(|card| card.outw(0x3d4, 0x17, 0x23));
    blank(|card| {
        card.inb(0x3da);
        card.outb(0x3c0, 0);
    });
}

/// Linux's s3fb at 640x480: it leaves GR5 and the sequencer as in a planar mode and sets CR3A.4 and CR67 only.
fn s3fb(card: &mut Card, depth: u32) {
    card.set_mode(&MODE_12);
    card.unlock();
    card.config_write(0x10, &0xe000_0000u32.to_le_bytes());
    let (color, chars, pitch) = match depth {
        8 => (0x00, 80, 640),
        15 => (0x30, 160, 1280),
        16 => (0x50, 160, 1280),
        24 => (0x70, 240, 1920),
        _ => (0xd0, 80, 2560u32),
    };
    let offset = pitch / 8;
    for (index, value) in [
        (0x11, 0x0c),
        (0x58, 0x13),
        (0x31, 0x08),
        (0x3a, 0x35),
        (0x67, color),
        (0x01, (chars - 1) as u8),
        (0x5d, 0),
        (0x13, offset as u8),
        (0x51, (offset >> 8 << 4) as u8),
        (0x14, 0),
        (0x17, 0xe3),
    ] {
        card.outw(0x3d4, index, value);
    }
    load_many(card);
    let rows: Vec<u8> = (0..480 * pitch).map(|i| (i / 5 + i / pitch * 11) as u8).collect();
    card.poke(0xe000_0000, &rows);
}

#[test]
fn s3_enhanced_modes() {
    for depth in [8, 15, 16, 24, 32] {
        let mut card = Card::new();
        s3fb(&mut card, depth);
        let pitch = [(8, 640), (15, 1280), (16, 1280), (24, 1920), (32, 2560)]
            .into_iter()
            .find(|p| p.0 == depth)
            .unwrap()
            .1;
        let byte = |at: u32| (at / 5 + at / pitch * 11) as u8;
        let scale = |value: u32, max: u32| {
            // Replicated bits: the nearest value, give or take the rounding of the replication.
            let exact = value * 255 / max;
            move |found: u8| u32::from(found).abs_diff(exact) <= 1
        };
        let frame = render(&card);
        keep(&format!("s3-{depth}bpp"), &frame);
        assert_eq!((frame.width, frame.height), (640, 480), "{depth} bits");
        for (x, y) in (0..480).flat_map(|y| (0..640).step_by(7).map(move |x| (x, y))) {
            let at = y * pitch + x * depth.div_ceil(8);
            let found = frame.pixel(x, y).unwrap();
            let word = u32::from(byte(at)) | u32::from(byte(at + 1)) << 8;
            let right = match depth {
                8 => found == many(byte(at)).map(eight),
                15 => [10, 5, 0].into_iter().zip(found).all(|(s, f)| scale(word >> s & 31, 31)(f)),
                16 => {
                    scale(word >> 11, 31)(found[0])
                        && scale(word >> 5 & 63, 63)(found[1])
                        && scale(word & 31, 31)(found[2])
                }
                _ => found == [byte(at + 2), byte(at + 1), byte(at)],
            };
            assert!(right, "{depth} bits at {x}, {y}: {found:?}");
        }
        // Panning by the 20-bit start address, which wraps at 4 MB.
        card.outw(0x3d4, 0x0c, 0);
        card.outw(0x3d4, 0x0d, 1);
        let panned = render(&card);
        let dots = if depth == 24 { continue } else { 32 / depth.next_power_of_two() };
        assert_eq!(panned.pixel(0, 3), frame.pixel(dots, 3));
        card.outw(0x3d4, 0x69, 0x0f);
        card.outw(0x3d4, 0x0c, 0xff);
        card.outw(0x3d4, 0x0d, 0xff);
        let wrapped = render(&card);
        assert_eq!(wrapped.pixel(dots, 0), frame.pixel(0, 0), "{depth} bits");
    }
}

#[test]
fn linear_planes_are_interleaved() {
    // s3fb's four-plane mode: through the linear window each dword holds the planes of eight pixels.
    let mut card = Card::new();
    card.set_mode(&MODE_12);
    card.unlock();
    card.config_write(0x10, &0xe000_0000u32.to_le_bytes());
    card.outw(0x3d4, 0x58, 0x13);
    card.poke(0xe000_0000, &[0x81, 0x80, 0, 0x01]);
    let frame = render(&card);
    let color = |c: usize| Some(ega(MODE_12.attr[c]).map(eight));
    assert_eq!([0, 1, 7].map(|x| frame.pixel(x, 0)), [color(3), color(0), color(9)]);
}

/// Five rows of three dots for a few letters, drawn large: enough to read a picture.
const LETTERS: &[(u8, [u8; 5])] = &[
    (b'S', [7, 4, 7, 1, 7]),
    (b'L', [4, 4, 4, 4, 7]),
    (b'O', [7, 5, 5, 5, 7]),
    (b'T', [7, 2, 2, 2, 2]),
    (b'N', [7, 5, 5, 5, 5]),
    (b'E', [7, 4, 6, 4, 7]),
];

/// The font: letters, and for every other code a picture that no other code has.
fn glyph(code: u8, row: u8) -> u8 {
    if code == b' ' || code == 0 || row >= 16 {
        return 0;
    }
    match LETTERS.iter().find(|(letter, _)| *letter == code) {
        Some((_, rows)) => {
            let bits = rows.get(usize::from(row.wrapping_sub(2) / 2)).copied().unwrap_or(0);
            [4u8, 2, 1]
                .iter()
                .enumerate()
                .map(|(i, bit)| if bits & bit != 0 { 0xc0 >> (2 * i) } else { 0 })
                .sum()
        }
        None => match row {
            0 | 15 => 0xff,
            1 | 14 => 0x81,
            _ if row.is_multiple_of(2) => 0x81 | (code >> 4) << 2,
            _ => 0x81 | (code & 0x0f) << 2,
        },
    }
}

fn load_font(card: &mut Card, font: u64, invert: bool) {
    let (memory_mode, map) = (card.indexed(0x3c4, 4), card.indexed(0x3ce, 6));
    let mode = card.indexed(0x3ce, 5);
    for (index, value) in [(2, 4), (4, 6)] {
        card.outw(0x3c4, index, value);
    }
    for (index, value) in [(5, 0), (6, 4)] {
        card.outw(0x3ce, index, value);
    }
    for code in 0..=255u8 {
        for row in 0..32u8 {
            let dots = if invert && row < 16 { !glyph(code, row) } else { glyph(code, row) };
            card.poke(0xa_0000 + font + u64::from(code) * 32 + u64::from(row), &[dots]);
        }
    }
    for (index, value) in [(2, 3), (4, memory_mode)] {
        card.outw(0x3c4, index, value);
    }
    for (index, value) in [(5, mode), (6, map)] {
        card.outw(0x3ce, index, value);
    }
}

/// A screen with every code and every attribute.
fn text_card(mode: &common::Mode) -> Card {
    let mut card = Card::new();
    card.set_mode(mode);
    load_font(&mut card, 0, false);
    let (base, columns) = (if mode.misc & 1 != 0 { 0xb_8000 } else { 0xb_0000 }, u64::from(mode.crtc[1]) + 1);
    for cell in 0..columns * 25 {
        let attribute = if cell < 256 { 0x07 } else { cell as u8 };
        card.poke(base + cell * 2, &[cell as u8, attribute]);
    }
    for (i, letter) in (0..).zip(b"SLOT ONE") {
        card.poke(base + (columns * 12 + 16 + i) * 2, &[*letter, 0x1e]);
    }
    let crtc = if mode.misc & 1 != 0 { 0x3d4 } else { 0x3b4 };
    let at = (columns * 12 + 26) as u16;
    card.outw(crtc, 0x0e, (at >> 8) as u8);
    card.outw(crtc, 0x0f, at as u8);
    card
}

/// The dots of a text screen by definition, for comparison with the renderer's.
fn text_pixel(screen: &slotone_s3trio::TextScreen, mode: &common::Mode, x: u32, y: u32) -> [u8; 3] {
    let (column, dot) = (x / 9, x % 9);
    let (row, line) = (y / 16, (y % 16) as u8);
    let (code, attribute) = screen.row(row as usize)[column as usize];
    let dots = glyph(code, line);
    let mut on =
        if dot < 8 { dots >> (7 - dot) & 1 == 1 } else { (0xc0..0xe0).contains(&code) && dots & 1 == 1 };
    if mode.crtc[0x14] == line && attribute & 7 == 1 && mode.attr[0x10] & 2 != 0 {
        on = true;
    }
    let cursor = screen.cursor.unwrap();
    if (cursor.column, cursor.row) == (column as usize, row as usize) && (0x0d..=0x0e).contains(&line) {
        on = true;
    }
    let color = if on { attribute & 0x0f } else { attribute >> 4 & 7 };
    (mode.color)(mode.attr[usize::from(color)]).map(eight)
}

#[test]
fn text_modes() {
    for (name, mode, width) in [("mode-03", MODE_3, 720), ("mode-01", MODE_1, 360), ("mode-07", MODE_7, 720)]
    {
        let card = text_card(&mode);
        let screen = card.chip.text_screen(card.vram()).unwrap();
        check(name, &render(&card), (width, 400), |x, y| text_pixel(&screen, &mode, x, y));
    }
}

#[test]
fn blinking_follows_virtual_time() {
    let mut card = text_card(&MODE_3);
    let frame_nanos = 14_268_200;
    let shown: Vec<_> = (0..64)
        .map(|i| {
            card.now = frame_nanos / 2 + i * frame_nanos;
            let now = VmInstant::from_nanos(card.now);
            (hash(&render(&card)), card.chip.blink_phase(now))
        })
        .collect();
    // Cursor: eight frames on, eight off; characters: sixteen and sixteen.
    for (i, (picture, phase)) in shown.iter().enumerate() {
        assert_eq!(*phase, (i / 8 % 2 == 1, i / 16 % 2 == 1));
        assert_eq!(*picture == shown[0].0, i % 32 < 8, "frame {i}");
    }
    // AR10.3 clear: bright backgrounds instead, and only the cursor blinks.
    card.inb(0x3da);
    for value in [0x30, 0x04] {
        card.outb(0x3c0, value);
    }
    card.now = 0;
    let first = render(&card);
    assert_eq!(first.pixel(9 * 16 + 1, 3 * 16 + 1), render(&card).pixel(9 * 16 + 1, 3 * 16 + 1));
    card.now = frame_nanos * 33 / 2;
    assert_eq!(first.rgb, render(&card).rgb);
    assert!(!card.chip.text_screen(card.vram()).unwrap().blink);
}

#[test]
fn two_fonts_eight_dots_and_heights() {
    let mut card = text_card(&MODE_3);
    // Font B at 16 KB, inverted: attribute bit 3 selects A = 0 or B... SR3 bits 5,3:2 are A (bit set), 4,1:0 B (clear).
    load_font(&mut card, 0x4000, true);
    card.outw(0x3c4, 3, 0x04);
    card.poke(0xb_8000, &[b'L', 0x07, b'L', 0x0f]);
    let frame = render(&card);
    let row: Vec<_> = (0..18).map(|x| frame.pixel(x, 3).unwrap()[0]).collect();
    assert_eq!(row[..9], [0xaa, 0xaa, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(row[9..], [0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0]);
    // Font 6 lies at 40 KB: SR3 bits 4, 1:0 are 1, 10.
    load_font(&mut card, 0xa000, true);
    card.outw(0x3c4, 3, 0x12);
    assert_eq!(render(&card).pixel(0, 3).unwrap()[0], 0);
    card.outw(0x3c4, 3, 0x04);
    // Eight dots a character.
    card.outw(0x3c4, 1, 1);
    assert_eq!((render(&card).width, render(&card).height), (640, 400));
    // 80x50: eight lines a character.
    card.outw(0x3d4, 9, 0x47);
    let screen = card.chip.text_screen(card.vram()).unwrap();
    assert_eq!((screen.columns, screen.rows), (80, 50));
    assert_eq!(screen.row(24)[79].0, card.vram()[(24 * 80 + 79) * 8]);
    // 80x43 in 350 lines leaves six lines of a row that is not counted.
    card.outw(0x3d4, 0x12, 0x5d);
    assert_eq!(card.chip.text_screen(card.vram()).unwrap().rows, 43);
    // Cursor switched off, and out of sight.
    card.outw(0x3d4, 0x0a, 0x20);
    assert_eq!(card.chip.text_screen(card.vram()).unwrap().cursor, None);
    card.set_mode(&MODE_13);
    assert_eq!(card.chip.text_screen(card.vram()), None);
}

#[test]
fn text_scrolls_by_start_address_and_by_lines() {
    let mut card = text_card(&MODE_3);
    let before = render(&card);
    card.outw(0x3d4, 0x0d, 80);
    let screen = card.chip.text_screen(card.vram()).unwrap();
    assert_eq!(screen.row(0)[0].0, 80);
    let cursor = screen.cursor.unwrap();
    assert_eq!((cursor.column, cursor.row), (26, 11), "the cursor's address does not move");
    let after = render(&card);
    assert_eq!(after.pixel(100, 0), before.pixel(100, 16));
    // Three characters further by byte panning.
    card.outw(0x3d4, 0x08, 0x60);
    assert_eq!(card.chip.text_screen(card.vram()).unwrap().row(0)[0].0, 83);
    // Five lines further by the preset row scan.
    card.outw(0x3d4, 0x08, 5);
    assert_eq!(render(&card).pixel(100, 0), before.pixel(100, 21));
}

#[test]
fn the_generation_grows_with_what_is_shown() {
    let mut card = text_card(&MODE_3);
    let start = card.chip.display_generation();
    card.peek(0xb_8000);
    card.inb(0x3da);
    card.outw(0x3d4, 0x0d, 0);
    assert_eq!(card.chip.display_generation(), start, "the same value again changes nothing");
    card.outw(0x3d4, 0x0d, 80);
    let moved = card.chip.display_generation();
    assert!(moved > start);
    card.palette(7, &[[1, 2, 3]]);
    assert!(card.chip.display_generation() > moved);
    assert_eq!(render(&card).generation, card.chip.display_generation());
}
