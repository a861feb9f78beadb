//! The 93C46 serial ROM behind CSR9: 64 words, a bit at a time.

/// Words of a 93C46.
pub(crate) const WORDS: usize = 64;

/// Where the part is in a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Not selected.
    Standby,
    /// Waits for the start bit; leading zeros are ignored.
    Start,
    /// Two bits of operation code and six of address.
    Command,
    /// Shifts words out.
    Read,
    /// Shifts a word in, for one address.
    Write,
    /// Shifts a word in, for all addresses.
    WriteAll,
    /// Done; waits to be deselected.
    Done,
}
slotone_bus::encode_enum!(Phase { Standby, Start, Command, Read, Write, WriteAll, Done });

/// The part.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Eeprom {
    pub(crate) words: [u16; WORDS],
    /// EWEN was given, EWDS was not since.
    writable: bool,
    clock: bool,
    phase: Phase,
    shift: u16,
    bits: u8,
    address: u8,
    /// DO; high when the part does not drive it.
    pub(crate) out: bool,
}
slotone_bus::encode_fields!(Eeprom { words, writable, clock, phase, shift, bits, address, out });

impl Eeprom {
    pub(crate) fn new(image: &[u8; 2 * WORDS]) -> Self {
        let mut words = [0; WORDS];
        for (word, bytes) in words.iter_mut().zip(image.as_chunks::<2>().0) {
            *word = u16::from_le_bytes(*bytes);
        }
        Self {
            words,
            writable: false,
            clock: false,
            phase: Phase::Standby,
            shift: 0,
            bits: 0,
            address: 0,
            out: true,
        }
    }

    /// The content as bytes.
    pub(crate) fn image(&self) -> [u8; 2 * WORDS] {
        let mut image = [0; 2 * WORDS];
        for (bytes, word) in image.as_chunks_mut::<2>().0.iter_mut().zip(self.words) {
            *bytes = word.to_le_bytes();
        }
        image
    }

    /// Deselects the part; its content stays.
    pub(crate) fn release(&mut self) {
        (self.phase, self.shift, self.bits, self.out) = (Phase::Standby, 0, 0, true);
    }

    /// Drives CS, SK and DI.
    pub(crate) fn drive(&mut self, select: bool, clock: bool, data: bool) {
        let rising = clock && !self.clock;
        self.clock = clock;
        if !select {
            self.release();
            return;
        }
        if self.phase == Phase::Standby {
            self.phase = Phase::Start;
        }
        if !rising {
            return;
        }
        match self.phase {
            Phase::Start if data => (self.phase, self.shift, self.bits) = (Phase::Command, 0, 0),
            Phase::Standby | Phase::Start | Phase::Done => {}
            Phase::Command => {
                self.take(data);
                if self.bits == 8 {
                    self.command();
                }
            }
            Phase::Read => {
                self.out = self.shift & 0x8000 != 0;
                self.shift <<= 1;
                self.bits += 1;
                if self.bits == 16 {
                    self.address = (self.address + 1) % WORDS as u8;
                    (self.shift, self.bits) = (self.words[usize::from(self.address)], 0);
                }
            }
            Phase::Write | Phase::WriteAll => {
                self.take(data);
                if self.bits == 16 {
                    let all = self.phase == Phase::WriteAll;
                    self.store(all, self.shift);
                }
            }
        }
    }

    fn take(&mut self, data: bool) {
        self.shift = self.shift << 1 | u16::from(data);
        self.bits += 1;
    }

    fn command(&mut self) {
        self.address = (self.shift & 0x3f) as u8;
        self.bits = 0;
        self.phase = Phase::Done;
        match (self.shift >> 6 & 3, self.address >> 4) {
            (2, _) => {
                // The dummy zero comes with the clock of the last address bit: this is how drivers find the address width.
                (self.phase, self.out) = (Phase::Read, false);
                self.shift = self.words[usize::from(self.address)];
            }
            (1, _) => self.phase = Phase::Write,
            (3, _) => self.store(false, 0xffff),
            (_, 3) => self.writable = true,
            (_, 0) => self.writable = false,
            (_, 2) => self.store(true, 0xffff),
            (_, _) => self.phase = Phase::WriteAll,
        }
    }

    /// Programs at once; DO says ready.
    fn store(&mut self, all: bool, value: u16) {
        (self.phase, self.bits) = (Phase::Done, 0);
        match (self.writable, all) {
            (false, _) => {}
            (true, true) => self.words.fill(value),
            (true, false) => self.words[usize::from(self.address)] = value,
        }
    }

    /// Whether some machine can come to this.
    pub(crate) fn is_sound(&self) -> bool {
        let most = match self.phase {
            Phase::Command => 8,
            _ => 16,
        };
        let driven = self.phase == Phase::Read;
        self.bits < most && usize::from(self.address) < WORDS && (self.out || driven)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> Eeprom {
        let mut image = [0; 128];
        image.iter_mut().zip(0u8..).for_each(|(b, n)| *b = n);
        Eeprom::new(&image)
    }

    /// Clocks `count` bits of `bits` in, most significant first, and returns DO after each.
    fn clock(e: &mut Eeprom, bits: u32, count: u32) -> u32 {
        (0..count).rev().fold(0, |got, n| {
            let data = bits >> n & 1 != 0;
            e.drive(true, false, data);
            e.drive(true, true, data);
            got << 1 | u32::from(e.out)
        })
    }

    fn deselect(e: &mut Eeprom) {
        e.drive(false, false, false);
    }

    #[test]
    fn reads_with_the_dummy_zero_on_the_last_address_bit() {
        let mut e = part();
        assert_eq!(clock(&mut e, 0b000_0110, 7), 0x7f, "leading zeros, start, READ: nobody drives DO");
        assert_eq!(clock(&mut e, 9, 6), 0b11_1110);
        assert_eq!(clock(&mut e, 0, 16), 0x1312);
        assert_eq!(clock(&mut e, 0, 16), 0x1514, "the next word follows");
        deselect(&mut e);
        assert!(e.out);
    }

    #[test]
    fn writes_only_when_enabled() {
        let mut e = part();
        let write = |e: &mut Eeprom| {
            clock(e, 0b101, 3);
            clock(e, 5, 6);
            clock(e, 0xbeef, 16);
            assert!(e.is_sound());
            deselect(e);
        };
        let simple = |e: &mut Eeprom, command: u32| {
            clock(e, command, 9);
            deselect(e);
        };
        write(&mut e);
        assert_eq!(e.words, part().words);
        simple(&mut e, 0b1_0011_0000); // EWEN
        write(&mut e);
        assert_eq!(e.words[5], 0xbeef);
        simple(&mut e, 0b1_1100_0101); // ERASE 5
        assert_eq!((e.words[5], e.words[6]), (0xffff, 0x0d0c));
        clock(&mut e, 0b1_0001_0000, 9); // WRAL
        clock(&mut e, 0x1234, 16);
        deselect(&mut e);
        assert_eq!(e.words, [0x1234; 64]);
        simple(&mut e, 0b1_0000_0000); // EWDS
        simple(&mut e, 0b1_0010_0000); // ERAL
        assert_eq!(e.words, [0x1234; 64]);
        simple(&mut e, 0b1_0011_0000);
        simple(&mut e, 0b1_0010_0000);
        assert_eq!(e.words, [0xffff; 64]);
    }

    #[test]
    fn a_command_cut_short_is_forgotten() {
        let mut e = part();
        clock(&mut e, 0b1_0011_0000, 9);
        deselect(&mut e);
        clock(&mut e, 0b1_0100_0101, 9);
        clock(&mut e, 0x7f, 15);
        deselect(&mut e);
        assert_eq!(e.words, part().words);
        assert!(e.is_sound());
    }
}
