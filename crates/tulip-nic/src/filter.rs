//! Address recognition: what a set-up frame programs, and which frames pass.

use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};

use crate::registers::{csr6, tdes};

/// Bytes of a set-up frame.
pub(crate) const SETUP_LEN: usize = 192;
/// Longwords of a set-up frame; the low half of each is valid.
const WORDS: usize = SETUP_LEN / 4;
/// Where the one perfect address of the hash modes is.
const HASH_PERFECT: usize = 39;

/// The filtering type of a set-up frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// 16 perfect addresses.
    Perfect,
    /// Hash for group addresses, one perfect address for the others.
    HashPerfect,
    /// All but 16 addresses.
    Inverse,
    /// Hash for all addresses.
    HashOnly,
}
slotone_bus::encode_enum!(Mode { Perfect, HashPerfect, Inverse, HashOnly });

/// The recognition RAM.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Filter {
    mode: Mode,
    /// A set-up frame came since the last reset; before that nothing is recognised.
    loaded: bool,
    words: [u16; WORDS],
}

impl Encode for Filter {
    fn encode(&self, w: &mut StateWriter) {
        self.mode.encode(w);
        self.loaded.encode(w);
        self.words.encode(w);
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let this = Self { mode: Mode::decode(r)?, loaded: bool::decode(r)?, words: Encode::decode(r)? };
        if this.loaded || this == Self::new() { Ok(this) } else { Err(r.invalid("a filter from nowhere")) }
    }
}

/// The index of an address in the hash table: the low nine bits of its CRC-32 without the final inversion.
pub(crate) fn hash_index(address: [u8; 6]) -> usize {
    (!crc32fast::hash(&address) & 0x1ff) as usize
}

impl Filter {
    pub(crate) fn new() -> Self {
        Self { mode: Mode::Perfect, loaded: false, words: [0; WORDS] }
    }

    /// Takes a set-up frame over; `tdes1` has the filtering type.
    pub(crate) fn load(&mut self, tdes1: u32, frame: &[u8; SETUP_LEN]) {
        self.loaded = true;
        self.mode = match (tdes1 & tdes::FT1 != 0, tdes1 & tdes::FT0 != 0) {
            (false, false) => Mode::Perfect,
            (false, true) => Mode::HashPerfect,
            (true, false) => Mode::Inverse,
            (true, true) => Mode::HashOnly,
        };
        for (word, bytes) in self.words.iter_mut().zip(frame.as_chunks::<4>().0) {
            *word = u16::from_le_bytes([bytes[0], bytes[1]]);
        }
    }

    /// HP, HO and IF as CSR6 shows them.
    pub(crate) fn csr6(&self) -> u32 {
        match self.mode {
            Mode::Perfect => 0,
            Mode::HashPerfect => csr6::HP,
            Mode::Inverse => csr6::IF,
            Mode::HashOnly => csr6::HP | csr6::HO,
        }
    }

    fn hashed(&self, address: [u8; 6]) -> bool {
        let index = hash_index(address);
        self.words[index / 16] >> (index % 16) & 1 != 0
    }

    /// Whether a frame to `address` is recognised with this CSR6.
    pub(crate) fn passes(&self, csr6: u32, address: [u8; 6]) -> bool {
        let group = address[0] & 1 != 0;
        if csr6 & csr6::PR != 0 || group && csr6 & csr6::PM != 0 {
            return true;
        }
        if !self.loaded {
            return false;
        }
        let [a, b, c, d, e, f] = address;
        let words = [[a, b], [c, d], [e, f]].map(u16::from_le_bytes);
        let in_table = || self.words.as_chunks::<3>().0.contains(&words);
        match self.mode {
            Mode::Perfect => in_table(),
            Mode::Inverse => !in_table(),
            Mode::HashPerfect if !group => self.words[HASH_PERFECT..HASH_PERFECT + 3] == words,
            Mode::HashPerfect | Mode::HashOnly => self.hashed(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: [u8; 6] = [0x00, 0x03, 0xff, 0x11, 0x22, 0x33];
    const OTHER: [u8; 6] = [0x00, 0x03, 0xff, 0x11, 0x22, 0x34];
    const GROUP: [u8; 6] = [0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb];
    const ALL: [u8; 6] = [0xff; 6];

    fn perfect(addresses: &[[u8; 6]]) -> [u8; SETUP_LEN] {
        let mut frame = [0xee; SETUP_LEN];
        for n in 0..16 {
            let address = addresses.get(n).unwrap_or(&ALL);
            for (i, pair) in address.chunks(2).enumerate() {
                frame[12 * n + 4 * i..][..2].copy_from_slice(pair);
            }
        }
        frame
    }

    fn hash(addresses: &[[u8; 6]], one: [u8; 6]) -> [u8; SETUP_LEN] {
        let mut frame = [0; SETUP_LEN];
        for address in addresses {
            let index = hash_index(*address);
            frame[index / 16 * 4 + index % 16 / 8] |= 1 << (index % 8);
        }
        for (i, pair) in one.chunks(2).enumerate() {
            frame[4 * (39 + i)..][..2].copy_from_slice(pair);
        }
        frame
    }

    /// Who of (ME, OTHER, GROUP, ALL) passes.
    fn who(filter: &Filter, csr6: u32) -> [bool; 4] {
        [ME, OTHER, GROUP, ALL].map(|a| filter.passes(csr6, a))
    }

    #[test]
    fn the_manuals_hash_example() {
        // HRM, section "imperfect filtering": the broadcast address has index 255.
        assert_eq!(hash_index(ALL), 255);
        // Against the definition, bit by bit.
        for address in [ME, OTHER, GROUP] {
            let mut crc = u32::MAX;
            for byte in address {
                for bit in 0..8 {
                    let feedback = (crc ^ u32::from(byte >> bit)) & 1;
                    crc = crc >> 1 ^ if feedback != 0 { 0xedb8_8320 } else { 0 };
                }
            }
            assert_eq!(hash_index(address), (crc & 0x1ff) as usize);
        }
    }

    #[test]
    fn every_mode_of_the_table() {
        let mut f = Filter::new();
        assert_eq!(who(&f, 0), [false; 4], "nothing is programmed");
        assert_eq!(who(&f, csr6::PM), [false, false, true, true]);
        assert_eq!(who(&f, csr6::PR), [true; 4]);
        f.load(0, &perfect(&[OTHER, ME]));
        assert_eq!((who(&f, 0), f.csr6()), ([true, true, false, true], 0));
        assert_eq!(who(&f, csr6::PM), [true; 4]);
        f.load(tdes::FT1, &perfect(&[OTHER]));
        assert_eq!((who(&f, 0), f.csr6()), ([true, false, true, false], csr6::IF));
        f.load(tdes::FT0, &hash(&[GROUP, OTHER], ME));
        assert_eq!((who(&f, 0), f.csr6()), ([true, false, true, false], csr6::HP));
        assert_eq!(who(&f, csr6::PM), [true, false, true, true]);
        f.load(tdes::FT1 | tdes::FT0, &hash(&[GROUP, OTHER, ALL], ME));
        assert_eq!((who(&f, 0), f.csr6()), ([false, true, true, true], csr6::HP | csr6::HO));
    }
}
