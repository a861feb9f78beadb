//! The 256 bytes of a function's configuration space (PCI 2.1, chapter 6).

use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};

/// What identifies a function (PCI 2.1, 6.2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Identity {
    /// Vendor ID, offset 00h.
    pub vendor: u16,
    /// Device ID, offset 02h.
    pub device: u16,
    /// Revision ID, offset 08h.
    pub revision: u8,
    /// Base class, sub-class and programming interface, offsets 0Bh, 0Ah, 09h: 01_01_80h is an IDE controller.
    pub class: u32,
    /// Header type, offset 0Eh; bit 7 says that the device has more functions.
    pub header_type: u8,
    /// Subsystem vendor ID and subsystem ID, offsets 2Ch and 2Eh.
    pub subsystem: (u16, u16),
    /// Interrupt pin, offset 3Dh: 0 none, 1 INTA#.
    pub interrupt_pin: u8,
}

/// A base address register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bar {
    /// I/O space; `len` is a power of two of at least 4.
    Io {
        /// Bytes decoded.
        len: u32,
    },
    /// 32-bit memory space; `len` is a power of two of at least 16.
    Memory {
        /// Bytes decoded.
        len: u32,
        /// Reads have no side effects.
        prefetchable: bool,
    },
}

/// Configuration space with write masks. Bytes without a mask are read-only.
///
/// ```
/// use slotone_pci::{Bar, ConfigSpace, Identity};
/// let identity = Identity { vendor: 0x1011, device: 0x0009, class: 0x02_00_00, ..Identity::default() };
/// let mut config = ConfigSpace::new(identity).with_command(0x0147).with_bar(0, Bar::Io { len: 128 });
/// config.write(0x10, &0xffff_ffffu32.to_le_bytes());
/// assert_eq!(config.dword(0x10), 0xffff_ff81, "sizing");
/// config.write(0x10, &0xe881u32.to_le_bytes());
/// assert_eq!(config.io_bar(0), None, "I/O decoding is still off");
/// config.write(0x04, &[1]);
/// assert_eq!(config.io_bar(0), Some(0xe880));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigSpace {
    bytes: [u8; 256],
    reset: [u8; 256],
    mask: [u8; 256],
    clear: [u8; 256],
}

impl ConfigSpace {
    /// Offset of the command register.
    pub const COMMAND: u8 = 0x04;
    /// Offset of the status register.
    pub const STATUS: u8 = 0x06;
    /// Offset of the interrupt line register.
    pub const INTERRUPT_LINE: u8 = 0x3c;
    /// Command bit 0: the function answers to I/O space.
    pub const COMMAND_IO: u16 = 1;
    /// Command bit 1: the function answers to memory space.
    pub const COMMAND_MEMORY: u16 = 2;
    /// Command bit 2: the function may be a bus master.
    pub const COMMAND_MASTER: u16 = 4;

    /// A function with nothing writable but the interrupt line (when it has a pin).
    pub fn new(identity: Identity) -> Self {
        let mut this = Self { bytes: [0; 256], reset: [0; 256], mask: [0; 256], clear: [0; 256] };
        this.preset(0x00, &identity.vendor.to_le_bytes());
        this.preset(0x02, &identity.device.to_le_bytes());
        this.preset(0x08, &[identity.revision]);
        this.preset(0x09, &identity.class.to_le_bytes()[..3]);
        this.preset(0x0e, &[identity.header_type]);
        this.preset(0x2c, &identity.subsystem.0.to_le_bytes());
        this.preset(0x2e, &identity.subsystem.1.to_le_bytes());
        this.preset(0x3d, &[identity.interrupt_pin]);
        if identity.interrupt_pin != 0 {
            this.mask[usize::from(Self::INTERRUPT_LINE)] = 0xff;
        }
        this
    }

    fn preset(&mut self, offset: u8, value: &[u8]) {
        let at = usize::from(offset);
        self.reset[at..at + value.len()].copy_from_slice(value);
        self.bytes[at..at + value.len()].copy_from_slice(value);
    }

    /// Sets reset value and writable bits of a register of `value.len()` bytes.
    ///
    /// # Panics
    /// If the register leaves the 256 bytes or the two differ in length: both stand in a chip's code.
    #[must_use]
    pub fn with_register(mut self, offset: u8, value: &[u8], writable: &[u8]) -> Self {
        assert_eq!(value.len(), writable.len(), "a register has one mask byte per byte");
        self.preset(offset, value);
        let at = usize::from(offset);
        self.mask[at..at + writable.len()].copy_from_slice(writable);
        self
    }

    /// Makes the given bits of a register write-1-to-clear.
    #[must_use]
    pub fn with_write_one_to_clear(mut self, offset: u8, bits: &[u8]) -> Self {
        let at = usize::from(offset);
        self.clear[at..at + bits.len()].copy_from_slice(bits);
        self
    }

    /// Makes `writable` bits of the command register writable.
    #[must_use]
    pub fn with_command(mut self, writable: u16) -> Self {
        self.mask[4..6].copy_from_slice(&writable.to_le_bytes());
        self
    }

    /// Adds base address register `index` (0 to 5).
    ///
    /// # Panics
    /// If `index` is above 5 or the length is no power of two: both stand in a chip's code.
    #[must_use]
    pub fn with_bar(self, index: u8, bar: Bar) -> Self {
        assert!(index < 6, "a function has six base address registers");
        let (len, flags) = match bar {
            Bar::Io { len } => (len, 1u32),
            Bar::Memory { len, prefetchable } => (len, u32::from(prefetchable) << 3),
        };
        assert!(len.is_power_of_two() && len >= 4, "a base address register decodes a power of two");
        let mask = !(len - 1) & !flags;
        self.with_register(0x10 + 4 * index, &flags.to_le_bytes(), &mask.to_le_bytes())
    }

    /// Adds the expansion ROM base address register (offset 30h) for `len` bytes.
    #[must_use]
    pub fn with_rom_bar(self, len: u32) -> Self {
        let mask = !(len - 1) | 1;
        self.with_register(0x30, &[0; 4], &mask.to_le_bytes())
    }

    /// Serves a read; bytes beyond the 256 read as FFh.
    pub fn read(&self, offset: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = usize::try_from(offset)
                .ok()
                .and_then(|o| self.bytes.get(o.wrapping_add(i)))
                .copied()
                .unwrap_or(0xff);
        }
    }

    /// Serves a write through the masks; the caller derives its windows anew afterwards.
    pub fn write(&mut self, offset: u64, data: &[u8]) {
        for (i, value) in data.iter().enumerate() {
            let Some(at) = usize::try_from(offset).ok().map(|o| o.wrapping_add(i)).filter(|a| *a < 256)
            else {
                return;
            };
            let kept = self.bytes[at] & !(self.clear[at] & value);
            self.bytes[at] = (kept & !self.mask[at]) | (value & self.mask[at]);
        }
    }

    /// All registers back to their reset values.
    pub fn reset(&mut self) {
        self.bytes = self.reset;
    }

    /// The byte at `offset`.
    pub fn byte(&self, offset: u8) -> u8 {
        self.bytes[usize::from(offset)]
    }

    /// The word at `offset` (even).
    pub fn word(&self, offset: u8) -> u16 {
        u16::from_le_bytes([self.byte(offset & 0xfe), self.byte(offset | 1)])
    }

    /// The dword at `offset` (a multiple of 4).
    pub fn dword(&self, offset: u8) -> u32 {
        let o = offset & 0xfc;
        u32::from_le_bytes([self.byte(o), self.byte(o + 1), self.byte(o + 2), self.byte(o + 3)])
    }

    /// Sets bytes past the masks: for what the chip itself changes (status bits, straps).
    pub fn set(&mut self, offset: u8, value: &[u8]) {
        for (i, byte) in value.iter().enumerate() {
            if let Some(b) = self.bytes.get_mut(usize::from(offset) + i) {
                *b = *byte;
            }
        }
    }

    /// The command register.
    pub fn command(&self) -> u16 {
        self.word(Self::COMMAND)
    }

    /// Base of I/O BAR `index`; `None` while I/O decoding is off or the base is 0.
    pub fn io_bar(&self, index: u8) -> Option<u16> {
        let base = self.dword(0x10 + 4 * index) & 0xfffc;
        (self.command() & Self::COMMAND_IO != 0 && base != 0).then_some(base as u16)
    }

    /// Base of memory BAR `index`; `None` while memory decoding is off or the base is 0.
    pub fn memory_bar(&self, index: u8) -> Option<u64> {
        let base = self.dword(0x10 + 4 * index) & 0xffff_fff0;
        (self.command() & Self::COMMAND_MEMORY != 0 && base != 0).then_some(u64::from(base))
    }

    /// Base of the expansion ROM; `None` unless its enable bit and memory decoding are on.
    pub fn rom_bar(&self) -> Option<u64> {
        let bar = self.dword(0x30);
        let on = self.command() & Self::COMMAND_MEMORY != 0 && bar & 1 != 0 && bar & 0xffff_f800 != 0;
        on.then_some(u64::from(bar & 0xffff_f800))
    }
}

/// The state of a configuration space is its 256 bytes; masks belong to the chip. Decode into a scratch value and hand it to
/// [`ConfigSpace::load`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigBytes(pub [u8; 256]);

impl Encode for ConfigBytes {
    fn encode(&self, w: &mut StateWriter) {
        w.raw(&self.0);
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let bytes = r.take(256)?;
        let mut all = [0; 256];
        all.copy_from_slice(bytes);
        Ok(Self(all))
    }
}

impl ConfigSpace {
    /// The bytes as part of a device's state.
    pub fn save(&self) -> ConfigBytes {
        ConfigBytes(self.bytes)
    }

    /// Takes saved bytes over: writable and clearable bits only, so that a hostile state cannot change what the chip is.
    /// Bits that the chip itself drives (see [`ConfigSpace::set`]) are the caller's to restore.
    pub fn load(&mut self, saved: &ConfigBytes) {
        for at in 0..256 {
            let own = self.mask[at] | self.clear[at];
            self.bytes[at] = (self.bytes[at] & !own) | (saved.0[at] & own);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> ConfigSpace {
        ConfigSpace::new(Identity { vendor: 0x8086, device: 0x7113, interrupt_pin: 1, ..Identity::default() })
            .with_command(0x0005)
            .with_register(0x06, &[0x80, 0x02], &[0, 0])
            .with_write_one_to_clear(0x06, &[0, 0xf9])
            .with_bar(1, Bar::Memory { len: 1 << 20, prefetchable: true })
            .with_rom_bar(64 * 1024)
    }

    #[test]
    fn masks_hold() {
        let mut c = sample();
        c.write(0, &[0; 16]);
        assert_eq!(c.dword(0), 0x7113_8086);
        c.write(0x04, &[0xff, 0xff]);
        assert_eq!(c.command(), 5);
        c.set(0x07, &[0x22]);
        c.write(0x06, &[0xff, 0x20]);
        assert_eq!(c.word(0x06), 0x0280);
        c.write(0x14, &[0xff; 4]);
        assert_eq!(c.dword(0x14), 0xfff0_0008);
        c.write(0x30, &[0xff; 4]);
        assert_eq!(c.dword(0x30), 0xffff_0001);
        assert_eq!(c.memory_bar(1), None);
    }

    #[test]
    fn odd_offsets_and_lengths_are_safe() {
        let mut c = sample();
        for offset in [0u64, 0xfd, 0xff, 0x100, u64::MAX] {
            let mut data = [0; 8];
            c.read(offset, &mut data);
            c.write(offset, &data);
        }
    }

    #[test]
    fn state_changes_only_what_a_guest_may() {
        let mut c = sample();
        c.load(&ConfigBytes([0xff; 256]));
        assert_eq!(c.dword(0), 0x7113_8086);
        assert_eq!(c.command(), 5);
        let saved = c.save();
        let mut d = sample();
        d.load(&saved);
        assert_eq!(c, d);
    }
}
