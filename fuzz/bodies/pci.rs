//! Configuration space and configuration mechanism 1 beside a reference that keeps one bit at a time.
//!
//! The input: a recipe for the function (identity, registers, BARs), then operations.

use slotone_bus::state::{Encode, StateReader, StateWriter};
use slotone_pci::{Bar, Bdf, ConfigBytes, ConfigPort, ConfigSpace, Identity, IntPin, Swizzle};

use super::{Reader, text};

/// What a bit does when it is written.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Fixed,
    Stored,
    Clears,
    /// Both: the bit is stored, whatever clearing did before.
    StoredToo,
}

/// 2048 bits with what each does.
struct Reference {
    bits: Vec<bool>,
    reset: Vec<bool>,
    kinds: Vec<Kind>,
}

impl Reference {
    fn new() -> Self {
        Self { bits: vec![false; 2048], reset: vec![false; 2048], kinds: vec![Kind::Fixed; 2048] }
    }

    fn preset(&mut self, offset: usize, value: &[u8]) {
        for (i, byte) in value.iter().enumerate() {
            for bit in 0..8 {
                self.bits[(offset + i) * 8 + bit] = byte >> bit & 1 != 0;
                self.reset[(offset + i) * 8 + bit] = byte >> bit & 1 != 0;
            }
        }
    }

    fn writable(&mut self, offset: usize, mask: &[u8]) {
        for (i, byte) in mask.iter().enumerate() {
            for bit in 0..8 {
                let kind = &mut self.kinds[(offset + i) * 8 + bit];
                let clears = matches!(kind, Kind::Clears | Kind::StoredToo);
                *kind = match (byte >> bit & 1 != 0, clears) {
                    (true, true) => Kind::StoredToo,
                    (true, false) => Kind::Stored,
                    (false, true) => Kind::Clears,
                    (false, false) => Kind::Fixed,
                };
            }
        }
    }

    fn clears(&mut self, offset: usize, mask: &[u8]) {
        for (i, byte) in mask.iter().enumerate() {
            for bit in 0..8 {
                let kind = &mut self.kinds[(offset + i) * 8 + bit];
                let stored = matches!(kind, Kind::Stored | Kind::StoredToo);
                *kind = match (byte >> bit & 1 != 0, stored) {
                    (true, true) => Kind::StoredToo,
                    (true, false) => Kind::Clears,
                    (false, true) => Kind::Stored,
                    (false, false) => Kind::Fixed,
                };
            }
        }
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            let Some(at) = offset.checked_add(i as u64).filter(|at| *at < 256) else { return };
            for bit in 0..8 {
                let (n, value) = (at as usize * 8 + bit, byte >> bit & 1 != 0);
                match self.kinds[n] {
                    Kind::Fixed => {}
                    Kind::Stored | Kind::StoredToo => self.bits[n] = value,
                    Kind::Clears => self.bits[n] &= !value,
                }
            }
        }
    }

    fn byte(&self, at: usize) -> u8 {
        (0..8).map(|bit| u8::from(self.bits[at * 8 + bit]) << bit).sum()
    }

    fn number(&self, at: usize, len: usize) -> u32 {
        (0..len).map(|i| u32::from(self.byte(at + i)) << (8 * i)).sum()
    }
}

fn function(input: &mut Reader<'_>) -> (ConfigSpace, Reference) {
    let mut reference = Reference::new();
    let identity = Identity {
        vendor: input.u16(),
        device: input.u16(),
        revision: input.u8(),
        class: input.u32() & 0xff_ffff,
        header_type: input.u8(),
        subsystem: (input.u16(), input.u16()),
        interrupt_pin: input.u8() % 5,
    };
    reference.preset(0x00, &identity.vendor.to_le_bytes());
    reference.preset(0x02, &identity.device.to_le_bytes());
    reference.preset(0x08, &[identity.revision]);
    let [prog, sub, base, _] = identity.class.to_le_bytes();
    reference.preset(0x09, &[prog, sub, base]);
    reference.preset(0x0e, &[identity.header_type]);
    reference.preset(0x2c, &identity.subsystem.0.to_le_bytes());
    reference.preset(0x2e, &identity.subsystem.1.to_le_bytes());
    reference.preset(0x3d, &[identity.interrupt_pin]);
    if identity.interrupt_pin != 0 {
        reference.writable(0x3c, &[0xff]);
    }
    let mut space = ConfigSpace::new(identity);
    for _ in 0..input.u8() % 12 {
        let what = input.u8();
        match what % 5 {
            0 => {
                let mask = input.u16();
                space = space.with_command(mask);
                reference.writable(4, &mask.to_le_bytes());
            }
            1 => {
                let index = input.u8() % 6;
                let bar = match input.u8() {
                    shape if shape & 1 != 0 => Bar::Io { len: 4 << (shape >> 1 & 7) },
                    shape => Bar::Memory { len: 16 << ((shape >> 2) % 28), prefetchable: shape & 2 != 0 },
                };
                space = space.with_bar(index, bar);
                let (len, low) = match bar {
                    Bar::Io { len } => (len, 1),
                    Bar::Memory { len, prefetchable } => (len, if prefetchable { 8 } else { 0 }),
                };
                let at = 0x10 + 4 * usize::from(index);
                reference.preset(at, &[low, 0, 0, 0]);
                // A guest can write the address bits above the size.
                let mask = (0..32u32)
                    .filter(|bit| 1u64 << bit >= u64::from(len))
                    .map(|bit| 1u32 << bit)
                    .sum::<u32>();
                reference.writable(at, &mask.to_le_bytes());
            }
            2 => {
                let at = input.u8() & 0xfc;
                let (value, mask) = (input.array::<4>(), input.array::<4>());
                space = space.with_register(at, &value, &mask);
                reference.preset(usize::from(at), &value);
                reference.writable(usize::from(at), &mask);
            }
            3 => {
                let (at, mask) = (input.u8() & 0xfe, input.array::<2>());
                space = space.with_write_one_to_clear(at, &mask);
                reference.clears(usize::from(at), &mask);
            }
            _ => {
                let len = 2048u32 << (input.u8() % 10);
                space = space.with_rom_bar(len);
                reference.preset(0x30, &[0; 4]);
                let mask = (0..32u32).filter(|bit| 1 << bit >= len).map(|bit| 1u32 << bit).sum::<u32>() | 1;
                reference.writable(0x30, &mask.to_le_bytes());
            }
        }
    }
    (space, reference)
}

fn compare(space: &ConfigSpace, reference: &Reference) {
    for at in 0..=255u8 {
        assert_eq!(space.byte(at), reference.byte(usize::from(at)), "byte {at:#04x}");
    }
    let command = reference.number(4, 2) as u16;
    assert_eq!(space.command(), command);
    for index in 0..6u8 {
        let bar = reference.number(0x10 + 4 * usize::from(index), 4);
        let io = (command & 1 != 0 && bar & 0xfffc != 0).then_some((bar & 0xfffc) as u16);
        assert_eq!(space.io_bar(index), io, "I/O BAR {index}");
        let memory = (command & 2 != 0 && bar & !15 != 0).then_some(u64::from(bar & !15));
        assert_eq!(space.memory_bar(index), memory, "memory BAR {index}");
    }
    let rom = reference.number(0x30, 4);
    let on = command & 2 != 0 && rom & 1 != 0 && rom >> 11 != 0;
    assert_eq!(space.rom_bar(), on.then_some(u64::from(rom >> 11 << 11)));
}

fn saved<T: Encode>(value: &T) -> Vec<u8> {
    let mut w = StateWriter::new();
    value.encode(&mut w);
    w.into_bytes()
}

/// See the module.
pub fn pci(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let (mut space, mut reference) = function(&mut input);
    let blank = space.clone();
    let mut port = ConfigPort::default();
    let mut address = 0u32;
    compare(&space, &reference);
    for _ in 0..256 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 8 {
            0..=2 => {
                let offset = match input.u16() {
                    wild if wild & 0x8000 != 0 => u64::from(wild) << 48 | u64::from(wild & 0x3ff),
                    near => u64::from(near & 0x1ff),
                };
                let n = usize::from(input.u8() % 8) + 1;
                let data = input.array::<8>();
                space.write(offset, &data[..n]);
                reference.write(offset, &data[..n]);
            }
            3 => {
                let (offset, n) = (u64::from(input.u16() & 0x1ff), usize::from(input.u8() % 9));
                let mut data = vec![0; n];
                space.read(offset, &mut data);
                for (i, byte) in data.iter().enumerate() {
                    let at = offset as usize + i;
                    let expected = if at < 256 { reference.byte(at) } else { 0xff };
                    assert_eq!(*byte, expected, "read at {at:#x}");
                }
            }
            4 => {
                // The chip changes a register of its own.
                let (offset, data) = (input.u8(), input.array::<2>());
                space.set(offset, &data);
                for (i, byte) in data.iter().enumerate() {
                    let at = usize::from(offset) + i;
                    for bit in 0..8 {
                        if at < 256 {
                            reference.bits[at * 8 + bit] = byte >> bit & 1 != 0;
                        }
                    }
                }
            }
            5 => match input.u8() % 3 {
                0 => {
                    space.reset();
                    reference.bits.clone_from(&reference.reset);
                }
                1 => {
                    let bytes = saved(&space.save());
                    let back = ConfigBytes::decode(&mut StateReader::new(&bytes)).expect("its own state");
                    let mut twin = blank.clone();
                    twin.load(&back);
                    // What the chip itself drives is its own to restore; all that a guest wrote is there.
                    for n in 0..2048 {
                        if reference.kinds[n] != Kind::Fixed {
                            let bit = twin.byte((n / 8) as u8) >> (n % 8) & 1 != 0;
                            assert_eq!(bit, reference.bits[n], "bit {n} after a restore");
                        }
                    }
                }
                _ => {
                    // A hostile state changes what a guest could have changed, and nothing else.
                    let fill = input.u8();
                    space.load(&ConfigBytes([fill; 256]));
                    for n in 0..2048 {
                        if reference.kinds[n] != Kind::Fixed {
                            reference.bits[n] = fill >> (n % 8) & 1 != 0;
                        }
                    }
                }
            },
            6 => {
                let at = [0xcf8, 0xcf8, 0xcf9, 0xcfa, 0xcfc, 0xcf7][usize::from(input.u8() % 6)];
                let n = [4, 4, 1, 2, 3, 8][usize::from(input.u8() % 6)];
                let data = input.array::<8>();
                let taken = port.write_address(at, &data[..n]);
                assert_eq!(taken, at == 0xcf8 && n == 4, "a write of {n} bytes at {at:#x}");
                if taken {
                    let [a, b, c, d, ..] = data;
                    address = u32::from(a & 0xfc)
                        | u32::from(b) << 8
                        | u32::from(c) << 16
                        | u32::from(d & 0x80) << 24;
                }
            }
            _ => {
                let (at, n) = (0xcf6 + u16::from(input.u8() % 12), usize::from(input.u8() % 8) + 1);
                let confadd = (at == 0xcf8 && n == 4).then_some(address);
                assert_eq!(port.read_address(at, n), confadd);
                let inside = at >= 0xcfc && usize::from(at) + n <= 0xd00;
                let found = port.decode(at, n);
                assert_eq!(
                    found.is_some(),
                    inside && address >> 31 != 0,
                    "{n} bytes at {at:#x}, CONFADD {address:#x}"
                );
                if let Some(found) = found {
                    assert_eq!(u32::from(found.offset), (address & 0xff) + u32::from(at - 0xcfc));
                    let bdf = Bdf {
                        bus: (address >> 16) as u8,
                        device: (address >> 11 & 31) as u8,
                        function: (address >> 8 & 7) as u8,
                    };
                    assert_eq!(found.bdf, bdf);
                    let pins = [IntPin::A, IntPin::B, IntPin::C, IntPin::D];
                    for (i, pin) in pins.into_iter().enumerate() {
                        assert_eq!(usize::from(Swizzle::Straight.route(bdf.device, pin)), i);
                        let rotated = (usize::from(bdf.device) + 3 + i) % 4;
                        assert_eq!(usize::from(Swizzle::Rotated.route(bdf.device, pin)), rotated);
                    }
                }
                let mut w = StateWriter::new();
                port.save(&mut w);
                let bytes = w.into_bytes();
                port = ConfigPort::default();
                port.restore(&mut StateReader::new(&bytes)).expect("its own state");
            }
        }
        compare(&space, &reference);
    }
}
