//! The 93C46 serial EEPROM behind SEECTL (64 words of 16 bits) and the image that Adaptec's drivers expect in it.

use slotone_bus::encode_fields;

/// Words of a 93C46.
pub const WORDS: usize = 64;

/// The content that an adapter is sold with: every device may disconnect and negotiate, no reset of the bus at start-up
/// (drivers wait many seconds after one), automatic termination off. `id` is the adapter's SCSI ID, 0 to 15.
///
/// ```
/// let image = slotone_aic7870::seeprom_image(7, false);
/// let sum = image[..31].iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
/// assert_eq!((image[31], image[18] & 15), (sum, 7));
/// ```
pub fn seeprom_image(id: u8, wide: bool) -> [u16; WORDS] {
    let mut image = [0xffff; WORDS];
    for (target, word) in image[..16].iter_mut().enumerate() {
        // Highest rate, synchronous, disconnection; wide where it can be.
        *word = if wide || target >= 8 { 0x0238 } else { 0x0218 };
    }
    image[16] = 0x18b6;
    // 005Dh as sold, without RESETB (40h) and AUTOTERM (01h).
    image[17] = 0x001c;
    image[18] = 0x2800 | u16::from(id & 15);
    image[19] = if wide { 0x0010 } else { 0x0008 };
    image[20] = 0xff00;
    image[30] = 0x00ff;
    image[31] = image[..31].iter().fold(0u16, |sum, word| sum.wrapping_add(*word));
    image
}

/// Start bit, two bits of operation, six of address.
const COMMAND_BITS: u8 = 9;

/// The chip: pins in, pin out.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Seeprom {
    words: Vec<u16>,
    select: bool,
    clock: bool,
    /// Bits shifted in since chip select, without leading zeros; the start bit is the first.
    shift: u32,
    count: u8,
    /// Bits to shift out, the next one in bit 16.
    out: u32,
    out_left: u8,
    writable: bool,
}
encode_fields!(Seeprom { words, select, clock, shift, count, out, out_left, writable });

impl Seeprom {
    pub(crate) fn new(image: [u16; WORDS]) -> Self {
        let words = image.to_vec();
        Self { words, select: false, clock: false, shift: 0, count: 0, out: 0, out_left: 0, writable: false }
    }

    pub(crate) fn is_sound(&self) -> bool {
        self.words.len() == WORDS && self.count <= 25 && self.out_left <= 17
    }

    pub(crate) fn words(&self) -> &[u16] {
        &self.words
    }

    /// Chip select, clock and data in.
    pub(crate) fn pins(&mut self, select: bool, clock: bool, data: bool) {
        if !select {
            (self.shift, self.count, self.out_left) = (0, 0, 0);
        } else if self.select && clock && !self.clock {
            self.rising(data);
        }
        (self.select, self.clock) = (select, clock);
    }

    /// Data out: ready (1) unless a word is being read.
    pub(crate) fn data_out(&self) -> bool {
        self.out_left == 0 || self.out >> 16 & 1 != 0
    }

    fn rising(&mut self, data: bool) {
        if self.out_left > 0 {
            self.out <<= 1;
            self.out_left -= 1;
            return;
        }
        if self.count == 0 && !data || self.count >= 25 {
            return; // no start bit yet, or all has been said
        }
        self.shift = self.shift << 1 | u32::from(data);
        self.count += 1;
        let address = (self.shift & 0x3f) as usize;
        match (self.count, self.shift >> 6 & 3) {
            (COMMAND_BITS, 0b10) => {
                // A dummy zero, then the word.
                self.out = u32::from(self.words[address]);
                self.out_left = 17;
            }
            (COMMAND_BITS, 0b11) if self.writable => self.words[address] = 0xffff, // ERASE
            (COMMAND_BITS, 0b00) => match address >> 4 {
                0b00 => self.writable = false,                    // EWDS
                0b11 => self.writable = true,                     // EWEN
                0b10 if self.writable => self.words.fill(0xffff), // ERAL
                _ => {}
            },
            (25, _) if self.writable => {
                let (command, word) = (self.shift >> 16, self.shift as u16);
                match command >> 6 & 3 {
                    0b01 => self.words[(command & 0x3f) as usize] = word, // WRITE
                    0b00 if command >> 4 & 3 == 0b01 => self.words.fill(word), // WRAL
                    _ => {}
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn send(chip: &mut Seeprom, bits: u32, count: u8) {
        for bit in (0..count).rev() {
            let data = bits >> bit & 1 != 0;
            chip.pins(true, false, data);
            chip.pins(true, true, data);
        }
        chip.pins(true, false, false);
    }

    fn read(chip: &mut Seeprom, address: u32) -> u16 {
        chip.pins(false, false, false);
        chip.pins(true, false, false);
        send(chip, 0b110 << 6 | address, 9);
        // A driver samples before each of 17 rising edges and drops the first bit.
        let mut word = 0u32;
        for _ in 0..17 {
            word = word << 1 | u32::from(chip.data_out());
            chip.pins(true, true, false);
            chip.pins(true, false, false);
        }
        word as u16
    }

    fn write(chip: &mut Seeprom, bits: u32, count: u8) {
        chip.pins(false, false, false);
        chip.pins(true, false, false);
        send(chip, bits, count);
        assert!(chip.data_out(), "ready");
        chip.pins(false, false, false);
    }

    #[test]
    fn words_are_read() {
        let image = seeprom_image(6, true);
        let mut chip = Seeprom::new(image);
        for (n, word) in image.iter().enumerate() {
            assert_eq!(read(&mut chip, n as u32), *word, "word {n}");
        }
    }

    #[test]
    fn writing_needs_permission() {
        let mut chip = Seeprom::new(seeprom_image(7, false));
        let store = |n: u32, word: u32| (0b101 << 6 | n) << 16 | word;
        write(&mut chip, store(3, 0x1234), 25);
        assert_eq!(read(&mut chip, 3), 0x0218);
        write(&mut chip, 0x130, 9);
        write(&mut chip, store(3, 0x1234), 25);
        assert_eq!(read(&mut chip, 3), 0x1234);
        write(&mut chip, 0b111 << 6 | 3, 9);
        assert_eq!(read(&mut chip, 3), 0xffff);
        write(&mut chip, 0x110 << 16 | 0x5a5a, 25);
        assert_eq!((read(&mut chip, 0), read(&mut chip, 63)), (0x5a5a, 0x5a5a));
        write(&mut chip, 0x120, 9);
        assert_eq!(read(&mut chip, 9), 0xffff);
        write(&mut chip, 0x100, 9);
        write(&mut chip, store(3, 1), 25);
        assert_eq!(read(&mut chip, 3), 0xffff);
    }
}
