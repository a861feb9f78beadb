//! The VGA's I/O ports: miscellaneous output, sequencer, graphics and attribute controller, DAC, wake-up.

use crate::registers::{advfunc, attr, cr, gr, misc, seq, setup};
use crate::state::Registers;
use crate::timing::Timing;
use slotone_bus::VmInstant;

impl Registers {
    /// Reads one byte. CRTC ports are given as 3D4h, 3D5h and 3DAh wherever MISC.0 puts them.
    pub(crate) fn read_port(&mut self, port: u16, now: VmInstant) -> u8 {
        match port {
            0x102 => self.option_select,
            0x3c0 => self.attr_index,
            0x3c1 => self.ar(self.attr_index & 0x1f),
            // Bit 4: the monitor loads the DAC; bit 7: vertical interrupt.
            0x3c2 => 0x10 | u8::from(self.retrace_pending) << 7,
            0x3c3 => self.vga_enable,
            0x3c4 => self.seq_index,
            0x3c5 => match self.seq_index {
                0..=4 | seq::UNLOCK..=seq::LAST => self.sr(self.seq_index),
                index => index,
            },
            0x3c6 => self.dac.mask,
            0x3c7 => {
                if self.dac.reading {
                    3
                } else {
                    0
                }
            }
            0x3c8 => self.dac.write_index,
            0x3c9 => self.dac.read(),
            0x3ca => self.feature,
            0x3cc => self.misc,
            0x3ce => self.gr_index,
            0x3cf => self.gr(self.gr_index),
            0x3d4 => self.cr_index,
            0x3d5 => self.read_crtc(self.cr_index),
            0x3da => {
                self.attr_data = false;
                self.input_status_1(now)
            }
            0x46e8 => self.setup,
            0x4ae8 => self.advfunc & !advfunc::ENB_EHFC | self.cr(cr::EXT_MISC_1) & advfunc::ENB_EHFC,
            _ => 0xff,
        }
    }

    /// Input status 1. The diagnostic bits 5:4 show the overscan colour, which the border always has.
    fn input_status_1(&self, now: VmInstant) -> u8 {
        let color = self.ar(attr::OVERSCAN);
        let bit = |n: u8| color >> n & 1;
        let shown = match self.ar(attr::PLANE_ENABLE) >> 4 & 3 {
            0 => bit(2) << 1 | bit(0),
            1 => bit(5) << 1 | bit(4),
            2 => bit(3) << 1 | bit(1),
            _ => bit(7) << 1 | bit(6),
        };
        Timing::of(self).status(now) | shown << 4
    }

    /// Writes one byte; whether what is shown may have changed.
    pub(crate) fn write_port(&mut self, port: u16, value: u8) -> bool {
        match port {
            0x102 => self.option_select = value & 1,
            0x3c0 | 0x3c1 => return self.write_attribute(value),
            0x3c2 => {
                let kept = if self.cr(cr::BKWD_3) & 0x80 != 0 { misc::CLK_SEL } else { 0 };
                return store(&mut self.misc, value, misc::MASK & !kept);
            }
            0x3c3 => self.vga_enable = value & 1,
            0x3c4 => self.seq_index = value & 0x1f,
            0x3c5 => return self.write_sequencer(value),
            0x3c6 if !self.dac_locked() => return store(&mut self.dac.mask, value, 0xff),
            0x3c7 => self.dac.start_reading(value),
            0x3c8 => self.dac.start_writing(value),
            0x3c9 if !self.dac_locked() => return self.dac.write(value),
            0x3ce => self.gr_index = value & 0x0f,
            0x3cf => {
                if let (Some(register), Some(mask)) =
                    (self.gr.get_mut(usize::from(self.gr_index)), gr::MASK.get(usize::from(self.gr_index)))
                {
                    return store(register, value, *mask);
                }
            }
            0x3d4 => self.cr_index = value & 0x7f,
            0x3d5 => return self.write_crtc(self.cr_index, value),
            0x3da => self.feature = value & 0x0b,
            0x46e8 => self.setup = value & (setup::ADDRESS_DECODE | setup::SETUP | 0x07),
            0x4ae8 => {
                self.advfunc = value & advfunc::MASK;
                return store(&mut self.cr[usize::from(cr::EXT_MISC_1)], value, advfunc::ENB_EHFC);
            }
            _ => {}
        }
        false
    }

    fn dac_locked(&self) -> bool {
        self.cr(cr::BKWD_2) & 0x10 != 0
    }

    fn write_sequencer(&mut self, value: u8) -> bool {
        let index = self.seq_index;
        let mask = match index {
            seq::CLOCKING if self.cr(cr::BKWD_3) & 0x20 != 0 => seq::MASK[1] & !0x09,
            0..=4 => seq::MASK[usize::from(index)],
            seq::UNLOCK => 0xff,
            seq::UNLOCK..=seq::LAST if self.sr(seq::UNLOCK) == 0x06 => 0xff,
            _ => return false,
        };
        store(&mut self.seq[usize::from(index)], value, mask)
    }

    fn write_attribute(&mut self, value: u8) -> bool {
        self.attr_data = !self.attr_data;
        if self.attr_data {
            return store(&mut self.attr_index, value, 0x3f);
        }
        let index = self.attr_index & 0x1f;
        let locked = self.cr(cr::BKWD_2) & 0x40 != 0;
        let mask = match index {
            0x00..=0x0f if self.attr_index & attr::INDEX_ENB_PLT != 0 || locked => 0,
            0x00..=0x0f => 0x3f,
            attr::OVERSCAN if locked => 0,
            attr::MODE..=attr::COLOR_SELECT => attr::MASK[usize::from(index - attr::MODE)],
            _ => return false,
        };
        store(&mut self.attr[usize::from(index)], value, mask)
    }
}

/// Puts the `mask` bits of `value` into `register`; whether it changed.
fn store(register: &mut u8, value: u8, mask: u8) -> bool {
    let new = (*register & !mask) | (value & mask);
    std::mem::replace(register, new) != new
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: VmInstant = VmInstant::ZERO;

    #[test]
    fn attribute_flip_flop_and_palette_gate() {
        let mut r = Registers::default();
        r.read_port(0x3da, NOW);
        r.write_port(0x3c0, 0x03);
        assert_eq!(r.read_crtc(cr::ATC_F), 0x80);
        r.write_port(0x3c0, 0x2a);
        assert_eq!(r.read_port(0x3c1, NOW), 0x2a);
        // With bit 5 of the index the palette is the display's; index 33h is AR13 with it.
        r.write_port(0x3c0, 0x23);
        r.write_port(0x3c0, 0x15);
        assert_eq!(r.ar(3), 0x2a);
        r.write_port(0x3c0, 0x33);
        r.write_port(0x3c0, 0x08);
        assert_eq!((r.ar(attr::PAN), r.read_crtc(cr::ATC_I)), (8, 0x33));
        r.write_port(0x3c0, 0x30);
        r.write_port(0x3c0, 0xff);
        assert_eq!(r.ar(attr::MODE), 0xef, "AR10 bit 4 does not exist");
    }

    #[test]
    fn sr8_unlocks_the_extended_sequencer() {
        let mut r = Registers::default();
        for (index, value) in [(0x12, 0x49), (0x08, 0x06), (0x13, 0x79), (0x08, 0x00), (0x15, 0x03)] {
            r.write_port(0x3c4, index);
            r.write_port(0x3c5, value);
        }
        assert_eq!([0x12, 0x13, 0x15].map(|i| r.sr(i)), [0, 0x79, 0]);
        r.write_port(0x3c4, 0x1e);
        assert_eq!(r.read_port(0x3c5, NOW), 0x1e, "a register that is not there echoes the index");
    }

    #[test]
    fn advfunc_and_cr66_share_bit_0() {
        let mut r = Registers::default();
        r.write_port(0x4ae8, 0x11);
        assert_eq!(r.cr(cr::EXT_MISC_1), 1);
        r.write_crtc(cr::REG_LOCK2, 0xa0);
        r.write_crtc(cr::EXT_MISC_1, 0x80);
        assert_eq!(r.read_port(0x4ae8, NOW), 0x10);
    }
}
