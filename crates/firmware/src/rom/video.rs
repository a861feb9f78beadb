//! The video BIOS: an option ROM for C0000h with the int 10h entry and the fonts.

use super::emit::Emitter;
use super::{emit_service, emit_trap};
use crate::VIDEO_ROM_BYTES;
use crate::int10::{font, modes};
use crate::service;

/// Offsets of tables in the video ROM.
pub(crate) mod layout {
    /// Int 10h.
    pub(crate) const INT10: u16 = 0x0100;
    /// Save pointer table (40:A8).
    pub(crate) const SAVE_POINTERS: u16 = 0x0200;
    /// Static functionality table (int 10h AH=1Bh).
    pub(crate) const FUNCTIONALITY: u16 = 0x0240;
    /// Video parameter table: 29 entries of 64 bytes.
    pub(crate) const PARAMETERS: u16 = 0x0300;
    /// Fonts.
    pub(crate) const FONT_8X16: u16 = 0x1000;
    pub(crate) const FONT_8X14: u16 = 0x2000;
    pub(crate) const FONT_8X8: u16 = 0x2E00;
}

/// The video BIOS, a 32 KiB option ROM for C0000h (and for the ROM BAR of the S3).
///
/// ```
/// let rom = slotone_firmware::video_rom();
/// assert_eq!(rom.len(), 32 << 10);
/// assert_eq!(rom[..3], [0x55, 0xAA, 64]);
/// assert_eq!(rom.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
/// ```
pub fn video_rom() -> Vec<u8> {
    let mut a = Emitter::new(VIDEO_ROM_BYTES, 0);
    a.org(0);
    a.db(&[0x55, 0xAA, (VIDEO_ROM_BYTES / 512) as u8]);
    let init = a.label();
    a.jmp(init);
    a.org(0x18);
    a.dw(0x40);
    a.org(0x1E);
    a.db(b"IBM VGA compatible. Slot One video BIOS for S3 Trio64\0");
    pci_data(&mut a);

    a.org(layout::INT10 + 8);
    let common = emit_trap(&mut a);
    let int10 = emit_service(&mut a, common, 0x10);
    a.bind(init);
    let done = a.label();
    a.pushf();
    a.push_cs();
    a.push_offset(done);
    a.push_word(service::VIDEO_INIT);
    a.jmp(common);
    a.bind(done);
    a.retf();
    assert!(a.here() <= layout::SAVE_POINTERS, "code stays below the tables");
    a.org(layout::INT10);
    a.jmp(int10);

    a.org(layout::SAVE_POINTERS);
    a.dw(layout::PARAMETERS);
    a.dw(0xC000);
    a.org(layout::FUNCTIONALITY);
    // Modes 0-7, 0Dh-13h; all scan line counts; 8 character blocks, 2 active; what int 10h can do.
    a.db(&[0xFF, 0xE0, 0x0F, 0, 0, 0, 0, 0x07, 0x02, 0x08, 0xFF, 0x0E, 0, 0, 0x3F, 0]);
    a.org(layout::PARAMETERS);
    for parameters in modes::parameter_table() {
        a.db(&parameters.to_bytes());
    }
    for (offset, height) in [(layout::FONT_8X16, 16), (layout::FONT_8X14, 14), (layout::FONT_8X8, 8)] {
        a.org(offset);
        a.db(&font::glyphs(height));
    }
    let mut bytes = a.finish();
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[VIDEO_ROM_BYTES - 1] = sum.wrapping_neg();
    bytes
}

/// The PCI data structure (PCI 2.1, 6.3.1.2): 5333:8811, class 030000h, x86 code.
fn pci_data(a: &mut Emitter) {
    a.org(0x58);
    let here = a.here();
    a.db(b"PCIR");
    for word in [0x5333, 0x8811, 0, 0x18] {
        a.dw(word);
    }
    a.db(&[0, 0, 0, 3]);
    a.dw((VIDEO_ROM_BYTES / 512) as u16);
    a.dw(0);
    a.db(&[0, 0x80, 0, 0]);
    a.org(0x18);
    a.dw(here);
}
