//! The ROM images: entry points where software calls them, and the native code as an independent disassembler reads it.

mod common;

use iced_x86::{Decoder, DecoderOptions, Formatter, IntelFormatter};
use slotone_firmware::{ROM_BYTES, TRAP_PORT, VIDEO_ROM_BYTES, rom, video_rom};
use std::fmt::Write;

/// Regenerate with `SLOTONE_BLESS=1 cargo test -p slotone-firmware --test rom`.
const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/rom.lst");

fn segment() -> Vec<u8> {
    rom()[ROM_BYTES - 0x1_0000..].to_vec()
}

/// Follows code from its entry points; what it reaches is listed, in order of addresses.
fn disassemble(bytes: &[u8], entries: &[u16]) -> String {
    let mut seen = std::collections::BTreeMap::new();
    let mut todo = entries.to_vec();
    while let Some(at) = todo.pop() {
        if seen.contains_key(&at) {
            continue;
        }
        let mut decoder =
            Decoder::with_ip(16, &bytes[usize::from(at)..], u64::from(at), DecoderOptions::NONE);
        let instruction = decoder.decode();
        assert!(!instruction.is_invalid(), "no instruction at {at:#06x}");
        let mut text = String::new();
        IntelFormatter::new().format(&instruction, &mut text);
        seen.insert(at, (instruction.len(), text));
        use iced_x86::FlowControl::*;
        let next = instruction.next_ip16();
        match instruction.flow_control() {
            UnconditionalBranch if instruction.is_jmp_short_or_near() => {
                todo.push(instruction.near_branch16())
            }
            UnconditionalBranch | Return => {}
            ConditionalBranch | Call => todo.extend([next, instruction.near_branch16()]),
            // A far call of a service comes back.
            _ => todo.push(next),
        }
        // Addresses pushed for a later IRET.
        if bytes[usize::from(at)] == 0x68 && bytes[usize::from(at) - 1] == 0x0E {
            todo.push(instruction.immediate16());
        }
    }
    let mut out = String::new();
    for (at, (length, text)) in &seen {
        let code: String =
            bytes[usize::from(*at)..usize::from(*at) + length].iter().map(|b| format!("{b:02X}")).collect();
        writeln!(out, "{at:04X} {code:<20} {text}").unwrap();
    }
    out
}

#[test]
fn the_code_is_what_was_reviewed() {
    let system = segment();
    let word = |at: usize| u16::from_le_bytes([system[at], system[at + 1]]);
    let mut entries = vec![
        0xE05B, 0xE2C3, 0xE3FE, 0xE6F2, 0xE739, 0xE82E, 0xE987, 0xEC59, 0xEF57, 0xEFD2, 0xF065, 0xF841,
        0xF84D, 0xF859, 0xFE6E, 0xFEA5, 0xFF53, 0xFF54, 0xFFF0,
    ];
    // The handlers that POST puts into the vectors.
    let mock = common::Mock::posted();
    entries.extend((0..256).map(|vector| mock.u32(4 * vector)).filter_map(|at| {
        let (segment, offset) = (at >> 16, at as u16);
        (segment == 0xF000 && (0x8000..0xE000).contains(&offset)).then_some(offset)
    }));
    // The vector table of int 8 to int 1Fh leads to the same places.
    entries.extend((0..24).map(|i| word(0xFEF3 + 2 * i)).filter(|at| ![0, 0xF0A4, 0xEFC7].contains(at)));
    let video = video_rom();
    let listing = format!(
        "F000h, trap port {TRAP_PORT:02X}h\n{}\nC000h\n{}",
        disassemble(&system, &entries),
        disassemble(&video, &[0x0003, 0x0100])
    );
    if std::env::var_os("SLOTONE_BLESS").is_some() {
        std::fs::write(LISTING, &listing).unwrap();
    }
    let golden = std::fs::read_to_string(LISTING).expect("the golden listing");
    assert_eq!(listing, golden, "the ROM's code has changed; look at it, then bless it");
}

#[test]
fn fixed_places_hold_what_they_should() {
    let s = segment();
    assert_eq!(s[0xFFF5..0xFFFD], *b"09/20/05");
    assert_eq!(s[0xFFFE], 0xFC);
    assert_eq!(s.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
    // Configuration table: its length, then model FCh.
    assert_eq!(s[0xE6F5..0xE6F9], [8, 0, 0xFC, 1]);
    // Diskette parameters: 512-byte sectors, 18 a track.
    assert_eq!((s[0xEFC7 + 3], s[0xEFC7 + 4]), (2, 18));
    // 'A' of the 8x8 font is not empty, the blank is.
    assert!(s[0xFA6E + 0x41 * 8..][..8].iter().any(|row| *row != 0));
    assert!(s[0xFA6E + 0x20 * 8..][..8].iter().all(|row| *row == 0));
    assert!(s.windows(20).any(|w| w == b"American Megatrends "));
    // The same image each time.
    assert_eq!(rom(), rom());
    assert_eq!(video_rom(), video_rom());
}

#[test]
fn the_video_rom_is_an_option_rom() {
    let v = video_rom();
    assert_eq!((v.len(), v[2]), (VIDEO_ROM_BYTES, 64));
    let pcir = usize::from(u16::from_le_bytes([v[0x18], v[0x19]]));
    assert_eq!(v[pcir..pcir + 8], *b"PCIR\x33\x53\x11\x88");
    assert_eq!(v[pcir + 13..pcir + 16], [0, 0, 3], "class 030000h");
    assert_eq!(v[0x1E..0x21], *b"IBM");
}
