//! How the CPU sees display memory through the VGA window: planes, latches, write and read modes.
//!
//! Plane p of VGA address a is byte `4 * a + p` of video memory, so one 32-bit word holds the four planes of an address and
//! every operation of the graphics controller is one on words.

use crate::registers::{gr, misc, seq};
use crate::state::Registers;
use slotone_bus::mem::Memory;

/// What the graphics controller and sequencer do to an access now, derived from their registers.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Access {
    /// VGA addresses that exist, less one.
    mask: u32,
    /// The bank, in VGA addresses.
    bank: u32,
    chain4: bool,
    packed: bool,
    odd_even_write: bool,
    odd_even_read: bool,
    /// What A0 becomes in odd/even addressing.
    page: u32,
    write_mode: u8,
    /// Writes of mode 0 store the CPU's byte as it is.
    plain: bool,
    rotate: u32,
    operation: u8,
    set_reset: u32,
    enable_set_reset: u32,
    bit_mask: u32,
    map_mask: u32,
    read_plane: u32,
    read_compare: bool,
    compare: u32,
    care: u32,
}

/// Four bytes, FFh where the bit of `planes` is set.
const fn expand(planes: u8) -> u32 {
    let p = planes as u32;
    ((p & 1) | (p & 2) << 7 | (p & 4) << 14 | (p & 8) << 21) * 0xff
}

/// The byte in all four planes.
const fn splat(byte: u8) -> u32 {
    byte as u32 * 0x0101_0101
}

/// Planes 0 and 2 from an even address, 1 and 3 from the odd one after it.
const fn splat_pair(even: u8, odd: u8) -> u32 {
    u32::from_le_bytes([even, odd, even, odd])
}

/// Puts the `lanes` of `data` to VGA address `address`.
#[inline]
fn store(vram: &mut Memory, address: u32, data: u32, lanes: u32) {
    if lanes == 0 {
        return;
    }
    let Ok(Ok(word)) = vram.slice_mut(u64::from(address) * 4, 4).map(<&mut [u8; 4]>::try_from) else {
        return;
    };
    let old = u32::from_le_bytes(*word);
    *word = (old & !lanes | data & lanes).to_le_bytes();
}

impl Access {
    /// What `r` programs.
    pub(crate) fn of(r: &Registers) -> Self {
        let mode = r.gr(gr::MODE);
        let rotate = r.gr(gr::ROTATE);
        let chained = r.gr(gr::MISC) & gr::MISC_CHAIN != 0;
        let enhanced = r.enhanced_mapping();
        Self {
            mask: if enhanced { 0xf_ffff } else { 0xffff },
            bank: r.bank() >> 2,
            chain4: r.sr(seq::MEMORY) & seq::MEMORY_CHAIN4 != 0,
            packed: enhanced,
            odd_even_write: r.sr(seq::MEMORY) & seq::MEMORY_SEQUENTIAL == 0,
            odd_even_read: mode & 0x10 != 0,
            page: u32::from(chained && r.misc & misc::PGSL == 0),
            write_mode: mode & 3,
            plain: mode & 3 == 0
                && rotate == 0
                && r.gr(gr::ENABLE_SET_RESET) == 0
                && r.gr(gr::BIT_MASK) == 0xff,
            rotate: u32::from(rotate & 7),
            operation: rotate >> 3,
            set_reset: expand(r.gr(gr::SET_RESET)),
            enable_set_reset: expand(r.gr(gr::ENABLE_SET_RESET)),
            bit_mask: splat(r.gr(gr::BIT_MASK)),
            map_mask: expand(r.sr(seq::MAP_MASK)),
            read_plane: u32::from(r.gr(gr::READ_PLANE)),
            read_compare: mode & 8 != 0,
            compare: expand(r.gr(gr::COMPARE)),
            care: expand(r.gr(gr::DONT_CARE)),
        }
    }

    /// Whether a 64 KB window is plain memory: chain-4 in the packed (enhanced) mapping with nothing in the data's way.
    pub(crate) fn is_direct(&self) -> bool {
        self.chain4 && self.packed && self.plain && self.map_mask == u32::MAX && !self.read_compare
    }

    /// VGA address and plane lanes that window offset `offset` reaches.
    #[inline]
    fn locate(&self, offset: u32, odd_even: bool) -> (u32, u32) {
        let (address, lanes) = if self.chain4 {
            // Packed, four bytes follow each other; the VGA leaves three addresses out after each group of four.
            let address = if self.packed { offset >> 2 } else { offset & 0xfffc | offset >> 16 & 3 };
            (address, 0xff << (8 * (offset & 3)))
        } else if odd_even {
            (offset & !1 | self.page, 0x00ff_00ff << (8 * (offset & 1)))
        } else {
            (offset, u32::MAX)
        };
        (address.wrapping_add(self.bank) & self.mask, lanes)
    }

    /// Reads the byte at window offset `offset` and loads the latches.
    #[inline]
    pub(crate) fn read(&self, vram: &Memory, latches: &mut u32, offset: u32) -> u8 {
        let (address, _) = self.locate(offset, self.odd_even_read);
        let Ok(Ok(word)) = vram.slice(u64::from(address) * 4, 4).map(<[u8; 4]>::try_from) else {
            return 0xff;
        };
        *latches = u32::from_le_bytes(word);
        if self.read_compare {
            let differ = (*latches ^ self.compare) & self.care;
            let [a, b, c, d] = differ.to_le_bytes();
            return !(a | b | c | d);
        }
        let plane = if self.chain4 {
            offset & 3
        } else if self.odd_even_read {
            self.read_plane & 2 | offset & 1
        } else {
            self.read_plane
        };
        (*latches >> (8 * plane)) as u8
    }

    /// Writes the byte at window offset `offset`.
    #[inline]
    fn write(&self, vram: &mut Memory, latches: u32, offset: u32, value: u8) {
        let (address, lanes) = self.locate(offset, self.odd_even_write);
        let data = if self.plain { splat(value) } else { self.data(latches, value) };
        store(vram, address, data, lanes & self.map_mask);
    }

    /// Writes bytes that follow each other; what fills a word of the memory at once goes there at once.
    pub(crate) fn write_all(&self, vram: &mut Memory, latches: u32, mut offset: u32, mut data: &[u8]) {
        while let [first, rest @ ..] = data {
            let (pair, whole) =
                (self.plain && self.odd_even_write && !self.chain4, self.plain && self.chain4);
            match *data {
                [even, odd, ref rest @ ..] if pair && offset & 1 == 0 => {
                    let (address, _) = self.locate(offset, true);
                    store(vram, address, splat_pair(even, odd), self.map_mask);
                    (offset, data) = (offset + 2, rest);
                }
                [a, b, c, d, ref rest @ ..] if whole && offset & 3 == 0 => {
                    let (address, _) = self.locate(offset, false);
                    store(vram, address, u32::from_le_bytes([a, b, c, d]), self.map_mask);
                    (offset, data) = (offset + 4, rest);
                }
                _ => {
                    self.write(vram, latches, offset, *first);
                    (offset, data) = (offset + 1, rest);
                }
            }
        }
    }

    /// What the graphics controller makes of the CPU's byte.
    fn data(&self, latches: u32, value: u8) -> u32 {
        let rotated = splat(value.rotate_right(self.rotate));
        let (source, mask) = match self.write_mode {
            0 => (rotated & !self.enable_set_reset | self.set_reset & self.enable_set_reset, self.bit_mask),
            1 => return latches,
            2 => (expand(value), self.bit_mask),
            _ => (self.set_reset, rotated & self.bit_mask),
        };
        let result = match self.operation {
            0 => source,
            1 => source & latches,
            2 => source | latches,
            _ => source ^ latches,
        };
        result & mask | latches & !mask
    }
}
