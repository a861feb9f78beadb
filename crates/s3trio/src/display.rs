//! Which picture the registers describe: format, size, and where each scan line begins in video memory.

use crate::registers::{attr, cr, gr, seq};
use crate::state::Registers;
use crate::timing::Timing;
use slotone_bus::VmInstant;

/// Lines that are rendered at most: what the vertical counter's eleven bits give. Interlace and CR17.2 could ask for four times as many.
const MAX_HEIGHT: u32 = 2048;

/// How pixels are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// Characters, attributes and fonts in planes 0, 1 and 2.
    Text,
    /// Four planes, 16 colours.
    Planar,
    /// CGA's two bits a pixel.
    Cga,
    /// VGA's 256 colours: mode 13h and the unchained modes.
    Vga256,
    /// S3 enhanced modes: linear, by bits a pixel.
    Linear8,
    Linear15,
    Linear16,
    Linear24,
    Linear32,
}

impl Format {
    /// What `r` programs.
    pub(crate) fn of(r: &Registers) -> Self {
        let graphics = r.gr(gr::MISC) & gr::MISC_GRAPHICS != 0 || r.ar(attr::MODE) & attr::MODE_GRAPHICS != 0;
        if !graphics {
            return Self::Text;
        }
        if (r.cr(cr::MISC_1) & 0x10) | (r.cr(cr::EXT_MISC_1) & 0x01) != 0 {
            return match r.cr(cr::EXT_MISC_2) >> 4 {
                0x3 => Self::Linear15,
                0x5 => Self::Linear16,
                0x7 => Self::Linear24,
                0xd => Self::Linear32,
                _ => Self::Linear8,
            };
        }
        match r.gr(gr::MODE) {
            mode if mode & gr::MODE_256 != 0 => Self::Vga256,
            mode if mode & gr::MODE_CGA != 0 => Self::Cga,
            _ => Self::Planar,
        }
    }

    /// Bytes a pixel of the linear formats.
    pub(crate) fn linear_bytes(self) -> Option<u32> {
        match self {
            Self::Linear8 => Some(1),
            Self::Linear15 | Self::Linear16 => Some(2),
            Self::Linear24 => Some(3),
            Self::Linear32 => Some(4),
            _ => None,
        }
    }
}

/// One scan line as the CRTC addresses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Line {
    /// The memory address counter at its left end.
    pub(crate) counter: u32,
    /// Row scan: the line of the character.
    pub(crate) row: u8,
    /// It is below the split.
    pub(crate) split: bool,
}

/// Everything a renderer needs that does not change from line to line.
#[derive(Debug, Clone)]
pub(crate) struct Display {
    pub(crate) format: Format,
    /// The screen shows nothing: CR17.7, SR1.5 or the palette gate.
    pub(crate) blank: bool,
    /// Character clocks displayed.
    pub(crate) chars: u32,
    /// Dots of a character as rendered.
    pub(crate) char_dots: u32,
    /// Pixels.
    pub(crate) width: u32,
    /// Lines rendered: scan lines less those that repeat the one above.
    pub(crate) height: u32,
    /// Scan lines a rendered line stands for.
    pub(crate) repeat: u32,
    /// Row scans of a character.
    pub(crate) char_lines: u32,
    /// Pixels the picture is shifted left by.
    pub(crate) pan: u32,
    /// The shift ends at the split.
    pub(crate) pan_ends: bool,
    /// Addresses that exist, less one (in words of four planes).
    pub(crate) mask: u32,
    /// Frames since power-on.
    pub(crate) frame: u64,
    start: u32,
    offset: u32,
    preset: u8,
    double: bool,
    split: Option<u32>,
    interlaced: bool,
}

impl Display {
    /// What `r` shows at `now`.
    pub(crate) fn of(r: &Registers, now: VmInstant) -> Self {
        let format = Format::of(r);
        let linear = format.linear_bytes().is_some();
        let chars = r.display_chars();
        let nine = r.sr(seq::CLOCKING) & seq::CLOCKING_8DOT == 0;
        let (char_dots, width) = match format {
            Format::Text if nine => (9, chars * 9),
            Format::Text | Format::Planar | Format::Cga => (8, chars * 8),
            Format::Vga256 | Format::Linear15 | Format::Linear16 => (4, chars * 4),
            Format::Linear24 => (8, chars * 8 / 3),
            Format::Linear8 | Format::Linear32 => (8, chars * 8),
        };
        let max_scan = r.cr(cr::MAX_S_LN);
        let double = max_scan & 0x80 != 0;
        let char_lines = u32::from(max_scan & 0x1f) + 1;
        let interleaved = r.cr(cr::MODE) & 3 != 3;
        // Lines that differ in nothing are one line of the picture: mode 13h is 320x200 although the beam draws 400 lines.
        let repeat = match format {
            Format::Text => 1,
            _ if interleaved && !linear => 1 + u32::from(double),
            _ => char_lines * (1 + u32::from(double)),
        };
        let interlaced = linear && r.cr(cr::MODE_CTL) & 0x20 != 0;
        let height = (r.display_lines().div_ceil(repeat) * (1 + u32::from(interlaced))).min(MAX_HEIGHT);
        let pan = match (format, r.ar(attr::PAN)) {
            (Format::Text, n) if nine => {
                if n > 7 {
                    0
                } else {
                    u32::from(n) + 1
                }
            }
            (Format::Vga256, n) => u32::from(n & 7) / 2,
            (Format::Text | Format::Planar | Format::Cga, n) => u32::from(n & 7),
            _ => 0,
        };
        let wraps = !r.enhanced_mapping() || r.cr(cr::BKWD_1) & 0x40 != 0;
        let mut display = Self {
            format,
            blank: r.cr(cr::MODE) & 0x80 == 0
                || r.sr(seq::CLOCKING) & seq::CLOCKING_OFF != 0
                || r.attr_index & attr::INDEX_ENB_PLT == 0,
            chars,
            char_dots,
            width,
            height,
            repeat,
            char_lines,
            pan,
            pan_ends: r.ar(attr::MODE) & attr::MODE_PAN_SPLIT != 0,
            mask: if wraps { 0xffff } else { 0xf_ffff },
            frame: Timing::of(r).frame_at(now),
            start: start_address(r),
            offset: offset(r),
            preset: r.cr(cr::P_R_SCAN) & 0x1f,
            double,
            split: (!linear).then(|| r.line_compare()),
            interlaced,
        };
        if !linear {
            display.start = display.start.wrapping_add(u32::from(r.cr(cr::P_R_SCAN) >> 5 & 3));
        }
        display
    }

    /// Scan lines of a row of characters.
    pub(crate) fn row_lines(&self) -> u32 {
        self.char_lines * (1 + u32::from(self.double))
    }

    /// The lines of the picture, top to bottom.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line> + '_ {
        let mut line = Line { counter: self.start, row: self.preset, split: false };
        let mut second = false;
        let step = if self.interlaced { 1 } else { self.repeat };
        (0..self.height * step).filter_map(move |y| {
            let shown = line;
            if self.split == Some(y) {
                line = Line { counter: 0, row: 0, split: true };
                second = false;
            } else if self.double && !second {
                second = true;
            } else {
                second = false;
                if u32::from(line.row) + 1 == self.char_lines {
                    line.row = 0;
                    line.counter = line.counter.wrapping_add(self.offset * 2);
                } else {
                    line.row = (line.row + 1) & 0x1f;
                }
            }
            (y % step == 0).then_some(shown)
        })
    }
}

/// Display start address, 20 bits, in words of four planes.
pub(crate) fn start_address(r: &Registers) -> u32 {
    let low = u32::from(r.cr(cr::STA_HIGH)) << 8 | u32::from(r.cr(cr::STA_LOW));
    let old = (r.cr(cr::MEM_CNFG) >> 4 & 3) | (r.cr(cr::EX_SCTL_2) & 3) << 2;
    let new = r.cr(cr::EXT_SCTL_3) & 0x0f;
    low | u32::from(if new != 0 { new } else { old }) << 16
}

/// Row offset: CR13 with CR51 bits 5:4, or CR43.2 while those are 0; 0 stands for 256.
fn offset(r: &Registers) -> u32 {
    let high = match r.cr(cr::EX_SCTL_2) >> 4 & 3 {
        0 => r.cr(cr::EXT_MODE) >> 2 & 1,
        n => n,
    };
    match u32::from(high) << 8 | u32::from(r.cr(cr::OFFSET)) {
        0 => 256,
        n => n,
    }
}
