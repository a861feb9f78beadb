//! Memory images: FNSTENV/FLDENV, FNSAVE/FRSTOR and the x87 part of FXSAVE/FXRSTOR.

use super::softfloat::Class;
use super::{F80, Fpu};

/// Length of the FXSAVE image in bytes.
pub const FXSAVE_LEN: usize = 512;

/// Which of the four layouts an environment image has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct EnvFormat {
    /// 32-bit operand size.
    pub wide: bool,
    /// Protected mode (not V86): selectors and offsets. Real and V86 mode: linear addresses and the opcode.
    pub protected: bool,
}

impl EnvFormat {
    /// Length of the FNSTENV image: 14 or 28 bytes.
    pub const fn env_len(self) -> usize {
        if self.wide { 28 } else { 14 }
    }

    /// Length of the FNSAVE image: 94 or 108 bytes.
    pub const fn state_len(self) -> usize {
        self.env_len() + 80
    }
}

impl Fpu {
    /// The tag word, two bits for each physical register: 0 valid, 1 zero, 2 special, 3 empty.
    pub fn tag_word(&self) -> u16 {
        self.regs.iter().enumerate().fold(0, |tags, (n, value)| {
            let tag = if self.full & (1 << n) == 0 {
                3
            } else {
                match value.class() {
                    Class::Normal => 0,
                    Class::Zero => 1,
                    _ => 2,
                }
            };
            tags | (tag << (2 * n))
        })
    }

    /// Takes over a tag word; the chip looks only at which registers are empty.
    fn set_tag_word(&mut self, tags: u16) {
        self.full = (0..8).fold(0, |full, n| full | (u8::from((tags >> (2 * n)) & 3 != 3) << n));
    }

    /// Writes the environment; `out` has [`EnvFormat::env_len`] bytes.
    pub(super) fn store_env(&self, out: &mut [u8], format: EnvFormat) {
        let (cw, sw, tags) = (self.cw, self.status_word(), self.tag_word());
        let opcode = u32::from(self.fop);
        if format.wide {
            // The unused upper halves read as ones.
            let high = 0xFFFF_0000;
            let fields = if format.protected {
                [self.fip, u32::from(self.fcs) | (opcode << 16), self.fdp, high | u32::from(self.fds)]
            } else {
                let (ip, dp) = self.linear_pointers();
                [high | (ip & 0xFFFF), ((ip >> 16) << 12) | opcode, high | (dp & 0xFFFF), (dp >> 16) << 12]
            };
            let head = [high | u32::from(cw), high | u32::from(sw), high | u32::from(tags)];
            for (to, value) in out.chunks_exact_mut(4).zip(head.into_iter().chain(fields)) {
                to.copy_from_slice(&value.to_le_bytes());
            }
        } else {
            let fields = if format.protected {
                [self.fip as u16, self.fcs, self.fdp as u16, self.fds]
            } else {
                let (ip, dp) = self.linear_pointers();
                let upper = |linear: u32| ((linear >> 4) & 0xF000) as u16;
                [ip as u16, upper(ip) | self.fop, dp as u16, upper(dp)]
            };
            for (to, value) in out.chunks_exact_mut(2).zip([cw, sw, tags].into_iter().chain(fields)) {
                to.copy_from_slice(&value.to_le_bytes());
            }
        }
    }

    /// Instruction and data pointer as the linear addresses of the real-mode formats.
    fn linear_pointers(&self) -> (u32, u32) {
        let linear = |selector: u16, offset: u32| (u32::from(selector) << 4).wrapping_add(offset);
        (linear(self.fcs, self.fip), linear(self.fds, self.fdp))
    }

    /// FLDENV; `bytes` has [`EnvFormat::env_len`] bytes.
    pub(super) fn load_env(&mut self, bytes: &[u8], format: EnvFormat) {
        let step = if format.wide { 4 } else { 2 };
        let mut fields = [0u32; 7];
        for (field, from) in fields.iter_mut().zip(bytes.chunks_exact(step)) {
            *field = from.iter().rev().fold(0, |value, &byte| (value << 8) | u32::from(byte));
        }
        let [cw, sw, tags, ip, ip_high, dp, dp_high] = fields;
        match (format.protected, format.wide) {
            (true, wide) => {
                self.fip = ip;
                self.fcs = ip_high as u16;
                // The 16-bit protected format has no opcode.
                self.fop = if wide { (ip_high >> 16) as u16 & 0x07FF } else { 0 };
                self.fdp = dp;
                self.fds = dp_high as u16;
            }
            (false, wide) => {
                let linear = |low: u32, high: u32| {
                    if wide {
                        (low & 0xFFFF) | ((high & 0x0FFF_F000) << 4)
                    } else {
                        low | ((high & 0xF000) << 4)
                    }
                };
                self.fip = linear(ip, ip_high);
                self.fcs = 0;
                self.fop = ip_high as u16 & 0x07FF;
                self.fdp = linear(dp, dp_high);
                self.fds = 0;
            }
        }
        self.set_tag_word(tags as u16);
        self.set_status_word(sw as u16);
        self.set_control_word(cw as u16);
    }

    /// Writes the FNSAVE image; `out` has [`EnvFormat::state_len`] bytes.
    pub(super) fn store_state(&self, out: &mut [u8], format: EnvFormat) {
        let (env, regs) = out.split_at_mut(format.env_len());
        self.store_env(env, format);
        for (i, to) in regs.chunks_exact_mut(10).enumerate() {
            to.copy_from_slice(&self.st(i as u8).to_bytes());
        }
    }

    /// FRSTOR; `bytes` has [`EnvFormat::state_len`] bytes.
    pub(super) fn load_state(&mut self, bytes: &[u8], format: EnvFormat) {
        let (env, regs) = bytes.split_at(format.env_len());
        self.load_env(env, format);
        for (i, from) in regs.as_chunks::<10>().0.iter().enumerate() {
            let at = self.physical(i as u8);
            self.regs[at] = F80::from_bytes(*from);
        }
    }

    /// Writes the x87 part of an FXSAVE image: bytes 0-23 and the registers at 32-159. Reserved bytes are left alone.
    pub fn fxsave(&self, image: &mut [u8; FXSAVE_LEN]) {
        image[0..2].copy_from_slice(&self.cw.to_le_bytes());
        image[2..4].copy_from_slice(&self.status_word().to_le_bytes());
        image[4] = self.full;
        image[5] = 0;
        image[6..8].copy_from_slice(&self.fop.to_le_bytes());
        image[8..12].copy_from_slice(&self.fip.to_le_bytes());
        image[12..16].copy_from_slice(&u32::from(self.fcs).to_le_bytes());
        image[16..20].copy_from_slice(&self.fdp.to_le_bytes());
        image[20..24].copy_from_slice(&u32::from(self.fds).to_le_bytes());
        for i in 0..8 {
            let at = 32 + 16 * usize::from(i);
            image[at..at + 10].copy_from_slice(&self.st(i).to_bytes());
            image[at + 10..at + 16].fill(0);
        }
    }

    /// Takes over the x87 part of an FXSAVE image.
    pub fn fxrstor(&mut self, image: &[u8; FXSAVE_LEN]) {
        let word = |at: usize| u16::from_le_bytes([image[at], image[at + 1]]);
        let double = |at: usize| u32::from(word(at)) | (u32::from(word(at + 2)) << 16);
        self.set_status_word(word(2));
        self.set_control_word(word(0));
        self.full = image[4];
        self.fop = word(6) & 0x07FF;
        self.fip = double(8);
        self.fcs = word(12);
        self.fdp = double(16);
        self.fds = word(20);
        for i in 0..8 {
            let from = 32 + 16 * usize::from(i);
            let mut bytes = [0; 10];
            bytes.copy_from_slice(&image[from..from + 10]);
            let at = self.physical(i);
            self.regs[at] = F80::from_bytes(bytes);
        }
    }
}
