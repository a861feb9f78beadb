//! The CRT controller's registers: what is stored, what is computed, and which locks apply.

use crate::registers::cr;
use crate::state::Registers;

/// CR2D, CR2E, CR2F, CR30: Trio64.
const IDENTITY: [u8; 4] = [0x88, 0x11, 0x00, 0xe1];

impl Registers {
    /// CR38 holds the code that opens CR20-CR3F.
    fn s3_vga_unlocked(&self) -> bool {
        self.cr(cr::REG_LOCK1) & 0xcc == 0x48
    }

    /// CR39 holds the code that opens CR40 and up.
    fn s3_system_unlocked(&self) -> bool {
        self.cr(cr::REG_LOCK2) & 0xe0 == 0xa0
    }

    /// Reads the CRTC register `index`. Locked registers show their content, except that CR30 hides while both locks are closed.
    pub(crate) fn read_crtc(&self, index: u8) -> u8 {
        match index {
            0x00..=cr::LCM => self.cr(index),
            cr::GCCL => (self.latches >> (8 * u32::from(self.gr[4] & 3))) as u8,
            cr::ATC_F => u8::from(self.attr_data) << 7,
            cr::ATC_I => self.attr_index,
            cr::CHIP_ID if !self.s3_vga_unlocked() && !self.s3_system_unlocked() => 0xff,
            cr::DEVICE_ID_HIGH..=cr::CHIP_ID => IDENTITY[usize::from(index - cr::DEVICE_ID_HIGH)],
            cr::MEM_CNFG..=cr::LAST => self.cr(index),
            _ => 0xff,
        }
    }

    /// Writes the CRTC register `index`; whether anything changed.
    pub(crate) fn write_crtc(&mut self, index: u8, value: u8) -> bool {
        let Some(bits) = self.writable_crtc_bits(index) else { return false };
        let old = self.cr(index);
        let new = (old & !bits) | (value & bits);
        self.cr[usize::from(index)] = new;
        // A write to the old start address and bank bits takes precedence over the new ones (CR31 as drivers see it).
        if index == cr::MEM_CNFG && self.cr(cr::EXT_SCTL_3) != 0 {
            self.cr[usize::from(cr::EXT_SCTL_3)] = 0;
            return true;
        }
        new != old
    }

    /// Bits of `index` that a write reaches now; `None` for a register that ignores writes.
    fn writable_crtc_bits(&self, index: u8) -> Option<u8> {
        match index {
            0x00..=cr::LCM => {
                let mut bits = cr::MASK[usize::from(index)];
                if index <= cr::OVFL_REG && self.cr(cr::VRE) & cr::VRE_LOCK != 0 {
                    bits &= match index {
                        cr::OVFL_REG if self.cr(cr::BKWD_2) & 0x02 != 0 => 0x52,
                        cr::OVFL_REG => 0x10,
                        _ => 0,
                    };
                }
                let lock = self.cr(cr::CRTR_LOCK);
                if lock & 0x10 != 0 {
                    bits &= match index {
                        cr::V_TOTAL | cr::VRS | cr::SVB | cr::EVB => 0,
                        cr::OVFL_REG => !0xad,
                        cr::MAX_S_LN => !0x20,
                        cr::VRE => !0x0f,
                        _ => 0xff,
                    };
                }
                if lock & 0x20 != 0 {
                    bits &= match index {
                        cr::H_TOTAL..=cr::E_H_SY_P => 0,
                        cr::MODE => !0x04,
                        _ => 0xff,
                    };
                }
                Some(bits)
            }
            cr::REG_LOCK1 | cr::REG_LOCK2 => Some(0xff),
            cr::CONFIG_1 | cr::CONFIG_2 => {
                (self.s3_vga_unlocked() && self.cr(cr::REG_LOCK2) == 0xa5).then_some(0xff)
            }
            cr::MEM_CNFG..=0x3f => self.s3_vga_unlocked().then_some(0xff),
            cr::CONFIG_3 => (self.cr(cr::REG_LOCK2) == 0xa5).then_some(0xff),
            cr::SYS_CNFG..=cr::LAST => self.s3_system_unlocked().then_some(0xff),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn locks_hold_the_extensions() {
        let mut r = Registers::default();
        assert!(!r.write_crtc(cr::MEM_CNFG, 0x0d));
        assert_eq!(r.read_crtc(cr::CHIP_ID), 0xff);
        r.write_crtc(cr::REG_LOCK1, 0x48);
        assert!(r.write_crtc(cr::MEM_CNFG, 0x0d));
        assert_eq!(r.read_crtc(cr::CHIP_ID), 0xe1);
        assert!(!r.write_crtc(cr::LAW_CTL, 0x13));
        assert!(!r.write_crtc(cr::CONFIG_1, 0));
        r.write_crtc(cr::REG_LOCK2, 0xa5);
        assert!(r.write_crtc(cr::LAW_CTL, 0x13));
        assert!(r.write_crtc(cr::CONFIG_1, 0x1a));
        assert!(!r.write_crtc(cr::DEVICE_ID_LOW, 0));
        assert_eq!([0x2d, 0x2e, 0x2f].map(|i| r.read_crtc(i)), [0x88, 0x11, 0]);
        assert_eq!(r.read_crtc(0x6f), 0xff);
    }

    #[test]
    fn cr11_bit_7_protects_the_first_eight() {
        let mut r = Registers::default();
        r.write_crtc(cr::VRE, cr::VRE_LOCK);
        for index in 0..8 {
            r.write_crtc(index, 0xff);
            assert_eq!(r.read_crtc(index), if index == 7 { 0x10 } else { 0 });
        }
        r.write_crtc(cr::REG_LOCK1, 0x48);
        r.write_crtc(cr::BKWD_2, 0x02);
        r.write_crtc(cr::OVFL_REG, 0xef);
        assert_eq!(r.read_crtc(cr::OVFL_REG), 0x42);
    }

    #[test]
    fn cr35_locks_timing() {
        let mut r = Registers::default();
        r.write_crtc(cr::REG_LOCK1, 0x48);
        r.write_crtc(cr::CRTR_LOCK, 0x30);
        for index in 0..=cr::LCM {
            r.write_crtc(index, 0xff);
        }
        assert_eq!([0, 5, 6, 0x10, 0x15, 0x16].map(|i| r.read_crtc(i)), [0; 6]);
        assert_eq!([7, 9, 0x11, 0x17].map(|i| r.read_crtc(i)), [0x52, 0xdf, 0xf0, 0xeb]);
    }

    #[test]
    fn a_write_to_cr31_clears_the_new_start_address() {
        let mut r = Registers::default();
        r.write_crtc(cr::REG_LOCK1, 0x48);
        r.write_crtc(cr::REG_LOCK2, 0xa0);
        r.write_crtc(cr::EXT_SCTL_3, 3);
        r.write_crtc(cr::MEM_CNFG, 0x09);
        assert_eq!(r.read_crtc(cr::EXT_SCTL_3), 0);
    }
}
