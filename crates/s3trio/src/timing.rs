//! When the beam is where: derived from the CRTC's timing registers, the dot clock and virtual time, nothing else.

use crate::display::Format;
use crate::registers::{cr, is1, seq};
use crate::state::Registers;
use slotone_bus::{Clock, VmInstant};

/// Slowest and fastest plausible frames a second. What is programmed beyond (or not programmed yet) runs at 60 Hz: software
/// that waits for retrace must see both levels, and a retrace interrupt may not come at any rate a guest asks for.
const PLAUSIBLE_HZ: std::ops::RangeInclusive<u64> = 30..=200;

/// The S3's reference crystal.
const CRYSTAL_HZ: u64 = 14_318_180;

/// Frame timing in dots.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Timing {
    clock: Clock,
    /// Dots of a scan line, and how many of them are displayed.
    line: (u64, u64),
    /// Scan lines of a frame, and how many of them are displayed.
    frame: (u64, u64),
    /// First scan line of vertical retrace and how many.
    retrace: (u64, u64),
}

impl Registers {
    /// A vertical count with its overflow bits: CR07 bit `eighth` and `ninth`, CR5E bit `tenth`.
    fn vertical(&self, register: u8, eighth: u8, ninth: u8, tenth: u8) -> u32 {
        let bit = |register: u8, n: u8, to: u32| u32::from(self.cr(register) >> n & 1) << to;
        u32::from(self.cr(register))
            | bit(cr::OVFL_REG, eighth, 8)
            | bit(cr::OVFL_REG, ninth, 9)
            | bit(cr::EXT_V_OVF, tenth, 10)
    }

    /// CR17.2: the vertical counter is clocked every second line.
    fn vertical_scale(&self) -> u32 {
        if self.cr(cr::MODE) & 0x04 != 0 { 2 } else { 1 }
    }

    /// Displayed scan lines.
    pub(crate) fn display_lines(&self) -> u32 {
        (self.vertical(cr::VDE, 1, 6, 1) + 1) * self.vertical_scale()
    }

    /// Displayed character clocks.
    pub(crate) fn display_chars(&self) -> u32 {
        (u32::from(self.cr(cr::H_D_END)) | u32::from(self.cr(cr::EXT_H_OVF) & 0x02) << 7) + 1
    }

    /// Last scan line before the split.
    pub(crate) fn line_compare(&self) -> u32 {
        u32::from(self.cr(cr::LCM))
            | u32::from(self.cr(cr::OVFL_REG) >> 4 & 1) << 8
            | u32::from(self.cr(cr::MAX_S_LN) >> 6 & 1) << 9
            | u32::from(self.cr(cr::EXT_V_OVF) >> 6 & 1) << 10
    }

    /// The dot clock as hertz, numerator and denominator.
    fn dot_clock(&self) -> (u64, u64) {
        let (mut hz, mut divisor) = match self.misc >> 2 & 3 {
            0 => (25_175_000, 1),
            1 => (28_322_000, 1),
            _ => {
                let (low, m) = (self.sr(seq::DCLK_LOW), u64::from(self.sr(seq::DCLK_HIGH) & 0x7f));
                (CRYSTAL_HZ * (m + 2), (u64::from(low & 0x1f) + 2) << (low >> 5))
            }
        };
        if self.sr(seq::CLOCKING) & seq::CLOCKING_HALF != 0 {
            divisor *= 2;
        }
        if self.sr(seq::CLKSYN2) & 0x10 != 0 {
            divisor *= 2;
        }
        // Two pixels a clock: SR15.4 halves what the pixel multiplexer doubles again.
        if self.cr(cr::EXT_MISC_2) >> 4 == 1 {
            hz *= 2;
        }
        (hz, divisor)
    }
}

impl Timing {
    /// The timing that `r` programs.
    pub(crate) fn of(r: &Registers) -> Self {
        let chars = u64::from(r.cr(cr::H_TOTAL)) + (u64::from(r.cr(cr::EXT_H_OVF) & 1) << 8) + 5;
        let (dots, per) = match Format::of(r) {
            Format::Linear15 | Format::Linear16 => (8, 2),
            Format::Linear24 => (8, 3),
            Format::Text if r.sr(seq::CLOCKING) & seq::CLOCKING_8DOT == 0 => (9, 1),
            _ => (8, 1),
        };
        let line = (chars * dots).div_ceil(per);
        let scale = u64::from(r.vertical_scale());
        let lines = (u64::from(r.vertical(cr::V_TOTAL, 0, 5, 0)) + 2) * scale;
        let start = u64::from(r.vertical(cr::VRS, 2, 7, 4));
        let length = match (u64::from(r.cr(cr::VRE)).wrapping_sub(start)) & 0x0f {
            0 => 16,
            n => n,
        };
        let (mut hz, mut divisor) = r.dot_clock();
        if !PLAUSIBLE_HZ.contains(&(hz / (divisor * line * lines))) {
            (hz, divisor) = (line * lines * 60, 1);
        }
        Self {
            clock: Clock::new(hz, divisor),
            line: (line, (u64::from(r.display_chars()) * dots / per).min(line)),
            frame: (lines, u64::from(r.display_lines()).min(lines)),
            retrace: (start * scale, length * scale),
        }
    }

    fn frame_dots(&self) -> u64 {
        self.line.0 * self.frame.0
    }

    /// Frames completed at `now`.
    pub(crate) fn frame_at(&self, now: VmInstant) -> u64 {
        self.clock.ticks_at(now) / self.frame_dots()
    }

    /// IS1 bits 0 and 3 at `now`.
    pub(crate) fn status(&self, now: VmInstant) -> u8 {
        let at = self.clock.ticks_at(now) % self.frame_dots();
        let (line, dot) = (at / self.line.0, at % self.line.0);
        let mut status = 0;
        if line >= self.frame.1 || dot >= self.line.1 {
            status |= is1::DTM;
        }
        if line >= self.retrace.0 && line - self.retrace.0 < self.retrace.1 {
            status |= is1::VSY;
        }
        status
    }

    /// When the first vertical retrace after `now` begins; `None` if the frame ends before it would.
    pub(crate) fn next_retrace(&self, now: VmInstant) -> Option<VmInstant> {
        if self.retrace.0 >= self.frame.0 {
            return None;
        }
        let ticks = self.clock.ticks_at(now);
        let mut next = (ticks / self.frame_dots())
            .saturating_mul(self.frame_dots())
            .saturating_add(self.retrace.0 * self.line.0);
        if next <= ticks {
            next = next.saturating_add(self.frame_dots());
        }
        Some(self.clock.instant_of(next))
    }
}
