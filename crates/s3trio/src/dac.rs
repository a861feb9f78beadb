//! The RAMDAC: 256 entries of three 6-bit guns behind ports 3C6h to 3C9h.

/// The colour look-up table and its access state.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Dac {
    /// Port 3C6h: pixels are ANDed with it.
    pub(crate) mask: u8,
    /// Entry that the next complete write goes to; what 3C8h reads.
    pub(crate) write_index: u8,
    /// Entry that reads come from.
    pub(crate) read_index: u8,
    /// Which gun is next, 0 to 2.
    pub(crate) gun: u8,
    /// 3C7h was written last (its read gives 3), not 3C8h (0).
    pub(crate) reading: bool,
    /// Red and green of the entry being written.
    pub(crate) pending: [u8; 2],
    /// Red, green, blue; 6 bits each.
    pub(crate) table: [[u8; 3]; 256],
}

slotone_bus::encode_fields!(Dac { mask, write_index, read_index, gun, reading, pending, table });

impl Default for Dac {
    fn default() -> Self {
        Self {
            mask: 0xff,
            write_index: 0,
            read_index: 0,
            gun: 0,
            reading: false,
            pending: [0; 2],
            table: [[0; 3]; 256],
        }
    }
}

impl Dac {
    /// 3C7h written.
    pub(crate) fn start_reading(&mut self, index: u8) {
        (self.read_index, self.write_index) = (index, index.wrapping_add(1));
        (self.gun, self.reading) = (0, true);
    }

    /// 3C8h written.
    pub(crate) fn start_writing(&mut self, index: u8) {
        (self.read_index, self.write_index) = (index.wrapping_sub(1), index);
        (self.gun, self.reading) = (0, false);
    }

    /// 3C9h read.
    pub(crate) fn read(&mut self) -> u8 {
        let value = self.table[usize::from(self.read_index)][usize::from(self.gun)];
        self.advance();
        value
    }

    /// 3C9h written; whether the table changed.
    pub(crate) fn write(&mut self, value: u8) -> bool {
        let value = value & 0x3f;
        let mut changed = false;
        if let Some(pending) = self.pending.get_mut(usize::from(self.gun)) {
            *pending = value;
        } else {
            let entry = [self.pending[0], self.pending[1], value];
            let slot = &mut self.table[usize::from(self.write_index)];
            changed = *slot != entry;
            *slot = entry;
        }
        self.advance();
        changed
    }

    fn advance(&mut self) {
        self.gun = (self.gun + 1) % 3;
        if self.gun == 0 {
            self.read_index = self.read_index.wrapping_add(1);
            self.write_index = self.write_index.wrapping_add(1);
        }
    }

    /// Whether every value is one that writes can make.
    pub(crate) fn is_valid(&self) -> bool {
        let six_bits = |v: &u8| *v < 64;
        self.gun < 3 && self.pending.iter().all(six_bits) && self.table.as_flattened().iter().all(six_bits)
    }

    /// The 8-bit colour that pixel value `index` gives.
    pub(crate) fn color(&self, index: u8) -> [u8; 3] {
        self.table[usize::from(index & self.mask)].map(|v| v << 2 | v >> 4)
    }

    /// All 256 colours as they appear on the screen.
    pub(crate) fn colors(&self) -> [[u8; 3]; 256] {
        std::array::from_fn(|i| self.color(i as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_take_effect_with_the_third_gun() {
        let mut dac = Dac::default();
        dac.start_writing(7);
        assert!(!dac.write(0x3f));
        assert!(!dac.write(0xff));
        assert_eq!(dac.table[7], [0; 3]);
        assert!(dac.write(0x2a));
        assert_eq!(dac.table[7], [0x3f, 0x3f, 0x2a]);
        assert_eq!((dac.write_index, dac.reading), (8, false));
        dac.start_reading(7);
        assert_eq!([dac.read(), dac.read(), dac.read()], [0x3f, 0x3f, 0x2a]);
        assert_eq!((dac.read_index, dac.write_index, dac.reading), (8, 9, true));
    }

    #[test]
    fn six_bits_become_eight() {
        let mut dac = Dac::default();
        dac.table[1] = [0x3f, 0x2a, 0x15];
        assert_eq!(dac.color(1), [0xff, 0xaa, 0x55]);
        dac.mask = 0xf0;
        assert_eq!(dac.color(0x0f), dac.color(0));
    }
}
