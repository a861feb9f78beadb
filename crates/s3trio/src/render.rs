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
    let line_len = display.width as usize * 3;
    frame.rgb.resize(line_len * display.height as usize, 0);
    if display.blank || line_len == 0 {
        frame.rgb.fill(0);
        return;
    }
    let colors = r.dac.colors();
    let lines = display.lines().zip(frame.rgb.chunks_exact_mut(line_len));
    if let Some(bytes) = display.format.linear_bytes() {
        let mut scratch = Vec::new();
        for (line, out) in lines {
            let len = display.width as usize * bytes as usize;
            linear_pixels(display.format, linear_bytes(display, vram, line, len, &mut scratch), &colors, out);
        }
        return;
    }
    let palette = Palette::of(r);
    let mut indices = Vec::with_capacity((display.chars as usize + 1) * display.char_dots as usize);
    for (line, out) in lines {
        indices.clear();
        match display.format {
            Format::Text => text::text_line(r, display, vram, &palette, line, &mut indices),
            _ => graphics_line(r, display, vram, &palette, line, &mut indices),
        }
        let pan = if line.split && display.pan_ends { 0 } else { display.pan as usize };
        look_up(&indices[pan..], &colors, out);
    }
}

/// DAC indices to pixels, as many as `out` has room for.
fn look_up(indices: &[u8], colors: &[[u8; 3]; 256], out: &mut [u8]) {
    for (pixel, index) in out.as_chunks_mut::<3>().0.iter_mut().zip(indices) {
        *pixel = colors[usize::from(*index)];
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
                out.extend_from_slice(&std::array::from_fn::<u8, 8, _>(|dot| {
                    let bits = word >> (7 - dot) & 0x0101_0101;
                    let color = (bits | bits >> 7 | bits >> 14 | bits >> 21) & 0x0f;
                    palette.sixteen[color as usize]
                }));
            }
        }
    }
}

/// The bytes of one line of an S3 enhanced mode; `scratch` takes those of a line that wraps at the end of memory.
fn linear_bytes<'a>(
    display: &Display,
    vram: &'a [u8],
    line: Line,
    len: usize,
    scratch: &'a mut Vec<u8>,
) -> &'a [u8] {
    let limit = display.mask as usize * 4 + 3;
    let first = (line.counter as usize * 4) & limit;
    if first + len <= limit + 1
        && let Some(bytes) = vram.get(first..first + len)
    {
        return bytes;
    }
    scratch.clear();
    scratch.extend((first..first + len).map(|at| vram.get(at & limit).copied().unwrap_or(0)));
    scratch
}

/// One line of an S3 enhanced mode.
fn linear_pixels(format: Format, bytes: &[u8], colors: &[[u8; 3]; 256], out: &mut [u8]) {
    let five = |v: u16| ((v & 0x1f) << 3 | (v & 0x1f) >> 2) as u8;
    let six = |v: u16| ((v & 0x3f) << 2 | (v & 0x3f) >> 4) as u8;
    let words = bytes.as_chunks::<2>().0.iter().map(|word| u16::from_le_bytes(*word));
    let out = out.as_chunks_mut::<3>().0;
    match format {
        Format::Linear15 => {
            for (pixel, word) in out.iter_mut().zip(words) {
                *pixel = [five(word >> 10), five(word >> 5), five(word)];
            }
        }
        Format::Linear16 => {
            for (pixel, word) in out.iter_mut().zip(words) {
                *pixel = [five(word >> 11), six(word >> 5), five(word)];
            }
        }
        Format::Linear24 => {
            for (pixel, [b, g, r]) in out.iter_mut().zip(bytes.as_chunks().0) {
                *pixel = [*r, *g, *b];
            }
        }
        Format::Linear32 => {
            for (pixel, [b, g, r, _]) in out.iter_mut().zip(bytes.as_chunks().0) {
                *pixel = [*r, *g, *b];
            }
        }
        _ => look_up(bytes, colors, out.as_flattened_mut()),
    }
}
