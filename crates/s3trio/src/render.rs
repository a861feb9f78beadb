//! From video memory to pixels.

use crate::display::{Display, Format, Line};
use crate::registers::{attr, cr};
use crate::state::Registers;
use crate::text;

/// A picture of the screen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Pixels in a line.
    pub width: u32,
    /// Lines.
    pub height: u32,
    /// Red, green and blue of each pixel, line by line from the top: `width * height * 3` bytes.
    pub rgb: Vec<u8>,
    /// [`S3Trio::display_generation`](crate::S3Trio::display_generation) at the time.
    pub generation: u64,
}

impl Frame {
    /// Red, green and blue of a pixel; `None` beyond the edges.
    pub fn pixel(&self, x: u32, y: u32) -> Option<[u8; 3]> {
        if x >= self.width || y >= self.height {
            return None;
        }
        let at = (y as usize * self.width as usize + x as usize) * 3;
        self.rgb.get(at..at + 3)?.try_into().ok()
    }
}

/// The attribute controller's path from plane bits to a DAC index.
pub(crate) struct Palette {
    /// DAC index of each 4-bit colour.
    pub(crate) sixteen: [u8; 16],
}

impl Palette {
    fn of(r: &Registers) -> Self {
        let mode = r.ar(attr::MODE);
        let select = r.ar(attr::COLOR_SELECT);
        let enable = r.ar(attr::PLANE_ENABLE) & 0x0f;
        let sixteen = std::array::from_fn(|color| {
            let entry = r.attr[usize::from(color as u8 & enable)];
            let low =
                if mode & attr::MODE_P54 != 0 { entry & 0x0f | (select & 3) << 4 } else { entry & 0x3f };
            low | (select & 0x0c) << 4
        });
        Self { sixteen }
    }
}

/// The plane address that the CRTC puts out for counter value `counter` in row scan `row` (CR14.6, CR17).
#[inline]
pub(crate) fn counter_address(r: &Registers, counter: u32, row: u8) -> u32 {
    let mode = r.cr(cr::MODE);
    let mut address = if r.cr(cr::ULL) & 0x40 != 0 {
        // As chain-4 puts A17:A16 there, so that the two agree beyond the first 16 K groups.
        counter << 2 | counter >> 14 & 3
    } else if mode & 0x40 != 0 {
        counter
    } else {
        let top = if mode & 0x20 != 0 { 15 } else { 13 };
        counter << 1 | counter >> top & 1
    };
    if mode & 0x01 == 0 {
        address = address & !(1 << 13) | u32::from(row & 1) << 13;
    }
    if mode & 0x02 == 0 {
        address = address & !(1 << 14) | u32::from(row >> 1 & 1) << 14;
    }
    address
}

/// Draws what `r` shows of `vram` into `frame`, whose buffer is used again.
pub(crate) fn render(r: &Registers, display: &Display, vram: &[u8], frame: &mut Frame) {
    (frame.width, frame.height) = (display.width, display.height);
    frame.rgb.clear();
    let size = display.width as usize * display.height as usize * 3;
    if display.blank {
        frame.rgb.resize(size, 0);
        return;
    }
    frame.rgb.reserve(size);
    let colors = r.dac.colors();
    if display.format.linear_bytes().is_some() {
        for line in display.lines() {
            linear_line(display, vram, &colors, line, &mut frame.rgb);
        }
        return;
    }
    let palette = Palette::of(r);
    let mut indices = Vec::with_capacity((display.chars as usize + 1) * display.char_dots as usize);
    for line in display.lines() {
        indices.clear();
        match display.format {
            Format::Text => text::text_line(r, display, vram, &palette, line, &mut indices),
            _ => graphics_line(r, display, vram, &palette, line, &mut indices),
        }
        let pan = if line.split && display.pan_ends { 0 } else { display.pan as usize };
        for index in &indices[pan..pan + display.width as usize] {
            frame.rgb.extend_from_slice(&colors[usize::from(*index)]);
        }
    }
}

/// One line of the VGA's graphics modes as DAC indices, a character clock more than is shown (for panning).
fn graphics_line(
    r: &Registers,
    display: &Display,
    vram: &[u8],
    palette: &Palette,
    line: Line,
    out: &mut Vec<u8>,
) {
    // The counter moves every second or fourth character clock with CR17.3 or CR14.5.
    let slow = if r.cr(cr::ULL) & 0x20 != 0 { 2 } else { u32::from(r.cr(cr::MODE) >> 3 & 1) };
    for clock in 0..=display.chars {
        let counter = line.counter.wrapping_add(clock >> slow);
        let at = (counter_address(r, counter, line.row) & display.mask) as usize * 4;
        let planes: [u8; 4] = vram.get(at..at + 4).and_then(|w| w.try_into().ok()).unwrap_or([0; 4]);
        match display.format {
            Format::Vga256 => out.extend_from_slice(&planes),
            Format::Cga => {
                // Even bytes are in planes 0 and 2, odd ones in 1 and 3: two shift registers of two bits each.
                for (low, high) in [(planes[0], planes[2]), (planes[1], planes[3])] {
                    for shift in [6, 4, 2, 0] {
                        let color = low >> shift & 3 | (high >> shift & 3) << 2;
                        out.push(palette.sixteen[usize::from(color)]);
                    }
                }
            }
            _ => {
                let word = u32::from_le_bytes(planes);
                for shift in (0..8).rev() {
                    let bits = word >> shift & 0x0101_0101;
                    let color = (bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0f;
                    out.push(palette.sixteen[color as usize]);
                }
            }
        }
    }
}

/// One line of an S3 enhanced mode.
fn linear_line(display: &Display, vram: &[u8], colors: &[[u8; 3]; 256], line: Line, out: &mut Vec<u8>) {
    let bytes = display.format.linear_bytes().unwrap_or(1) as usize;
    let limit = display.mask as usize * 4 + 3;
    let first = line.counter as usize * 4;
    let five = |v: u16| ((v & 0x1f) << 3 | (v & 0x1f) >> 2) as u8;
    let six = |v: u16| ((v & 0x3f) << 2 | (v & 0x3f) >> 4) as u8;
    for x in 0..display.width as usize {
        let byte = |n: usize| vram.get((first + x * bytes + n) & limit).copied().unwrap_or(0);
        let word = || u16::from_le_bytes([byte(0), byte(1)]);
        out.extend_from_slice(&match display.format {
            Format::Linear15 => [five(word() >> 10), five(word() >> 5), five(word())],
            Format::Linear16 => [five(word() >> 11), six(word() >> 5), five(word())],
            Format::Linear24 | Format::Linear32 => [byte(2), byte(1), byte(0)],
            _ => colors[usize::from(byte(0))],
        });
    }
}
