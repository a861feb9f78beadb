//! Machine code with labels.

use std::collections::HashMap;

#[derive(Debug, Clone, Copy)]
enum Fixup {
    Relative8,
    Relative32,
    Absolute16,
    Absolute32,
}

/// Machine code that will stand at a known address.
#[derive(Debug)]
pub(crate) struct Code {
    origin: u32,
    bytes: Vec<u8>,
    labels: HashMap<&'static str, u32>,
    fixups: Vec<(usize, &'static str, Fixup)>,
}

impl Code {
    /// Nothing yet, to stand at `origin`.
    pub(crate) fn at(origin: u32) -> Self {
        Self { origin, bytes: Vec::new(), labels: HashMap::new(), fixups: Vec::new() }
    }

    fn here(&self) -> u32 {
        self.origin + self.bytes.len() as u32
    }

    /// Bytes as they are: opcodes, ModR/M, small immediates.
    pub(crate) fn b(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    /// A doubleword: an immediate or a displacement.
    pub(crate) fn d(&mut self, value: u32) -> &mut Self {
        self.b(&value.to_le_bytes())
    }

    /// Names this place.
    pub(crate) fn label(&mut self, name: &'static str) -> &mut Self {
        let known = self.labels.insert(name, self.here());
        assert!(known.is_none(), "label {name} stands twice");
        self
    }

    fn fix(&mut self, name: &'static str, fixup: Fixup, size: usize) -> &mut Self {
        self.fixups.push((self.bytes.len(), name, fixup));
        self.b(&[0; 4][..size])
    }

    /// A jump of two bytes: `opcode`, distance to the label.
    pub(crate) fn short(&mut self, opcode: u8, name: &'static str) -> &mut Self {
        self.b(&[opcode]).fix(name, Fixup::Relative8, 1)
    }

    /// CALL of the label.
    pub(crate) fn call(&mut self, name: &'static str) -> &mut Self {
        self.b(&[0xE8]).fix(name, Fixup::Relative32, 4)
    }

    /// The label's address in two bytes.
    pub(crate) fn address16(&mut self, name: &'static str) -> &mut Self {
        self.fix(name, Fixup::Absolute16, 2)
    }

    /// The label's address in four bytes.
    pub(crate) fn address(&mut self, name: &'static str) -> &mut Self {
        self.fix(name, Fixup::Absolute32, 4)
    }

    /// The code, with every label in its place.
    pub(crate) fn finish(mut self) -> Vec<u8> {
        for (at, name, fixup) in self.fixups {
            let target = *self.labels.get(name).unwrap_or_else(|| panic!("no label {name}"));
            let distance = |size: u32| target.wrapping_sub(self.origin + at as u32 + size) as i32;
            match fixup {
                Fixup::Relative8 => {
                    self.bytes[at] = i8::try_from(distance(1)).expect("a short jump reaches") as u8;
                }
                Fixup::Relative32 => self.bytes[at..at + 4].copy_from_slice(&distance(4).to_le_bytes()),
                Fixup::Absolute16 => self.bytes[at..at + 2].copy_from_slice(&(target as u16).to_le_bytes()),
                Fixup::Absolute32 => self.bytes[at..at + 4].copy_from_slice(&target.to_le_bytes()),
            }
        }
        self.bytes
    }
}
