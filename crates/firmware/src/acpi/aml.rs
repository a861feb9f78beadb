//! A small emitter of ACPI Machine Language: just the terms the DSDT uses (ACPI 1.0b, chapter 16).

/// PkgLength in front of `body`.
fn package_length(body: Vec<u8>) -> Vec<u8> {
    // The length counts its own bytes.
    let mut out = match body.len() {
        n @ 0..=62 => vec![n as u8 + 1],
        n @ 63..=4093 => {
            let n = n + 2;
            vec![0x40 | (n & 0xF) as u8, (n >> 4) as u8]
        }
        n => {
            let n = n + 3;
            vec![0x80 | (n & 0xF) as u8, (n >> 4) as u8, (n >> 12) as u8]
        }
    };
    out.extend(body);
    out
}

/// One NameSeg, padded with underscores.
fn segment(name: &str) -> [u8; 4] {
    let mut out = [b'_'; 4];
    for (to, from) in out.iter_mut().zip(name.bytes()) {
        *to = from;
    }
    out
}

/// A name as ASL writes it: `PCI0`, `\_SB.PCI0.ISA`, `^PIRA`.
pub(crate) fn name_string(path: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = path;
    while let Some(prefix) = rest.chars().next().filter(|c| matches!(c, '\\' | '^')) {
        out.push(prefix as u8);
        rest = &rest[1..];
    }
    let segments: Vec<_> = rest.split('.').filter(|s| !s.is_empty()).collect();
    match segments.len() {
        0 => out.push(0),
        1 => {}
        2 => out.push(0x2E),
        n => out.extend([0x2F, n as u8]),
    }
    for name in segments {
        out.extend(segment(name));
    }
    out
}

/// The shortest encoding of an integer.
pub(crate) fn integer(value: u32) -> Vec<u8> {
    match value {
        0 => vec![0x00],
        1 => vec![0x01],
        2..=0xFF => vec![0x0A, value as u8],
        0x100..=0xFFFF => [&[0x0B][..], &(value as u16).to_le_bytes()].concat(),
        _ => [&[0x0C][..], &value.to_le_bytes()].concat(),
    }
}

/// Several terms one after another.
pub(crate) fn terms(parts: &[Vec<u8>]) -> Vec<u8> {
    parts.concat()
}

fn with_length(opcode: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut out = opcode.to_vec();
    out.extend(package_length(parts.concat()));
    out
}

pub(crate) fn scope(path: &str, body: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x10], &[&name_string(path), &terms(body)])
}

pub(crate) fn device(name: &str, body: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x5B, 0x82], &[&name_string(name), &terms(body)])
}

/// A processor without power-state registers.
pub(crate) fn processor(name: &str, id: u8) -> Vec<u8> {
    with_length(&[0x5B, 0x83], &[&name_string(name), &[id, 0, 0, 0, 0, 0]])
}

pub(crate) fn name(path: &str, value: Vec<u8>) -> Vec<u8> {
    [vec![0x08], name_string(path), value].concat()
}

/// Flag of a method that creates names: one call at a time.
pub(crate) const SERIALIZED: u8 = 8;

/// A method; `flags` are its number of arguments and [`SERIALIZED`].
pub(crate) fn method(path: &str, flags: u8, body: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x14], &[&name_string(path), &[flags], &terms(body)])
}

pub(crate) fn package(elements: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0x12], &[&[elements.len() as u8], &terms(elements)])
}

pub(crate) fn buffer(bytes: &[u8]) -> Vec<u8> {
    with_length(&[0x11], &[&integer(bytes.len() as u32), bytes])
}

/// A resource template: the descriptors and their end tag.
pub(crate) fn resources(descriptors: &[Vec<u8>]) -> Vec<u8> {
    buffer(&[terms(descriptors), vec![0x79, 0x00]].concat())
}

/// A compressed EISA identifier such as `PNP0C0F`.
pub(crate) fn eisa_id(id: &str) -> Vec<u8> {
    let bytes = id.as_bytes();
    let letter = |i: usize| u32::from(bytes[i] - b'@') & 0x1F;
    let digits = u32::from_str_radix(&id[3..], 16).unwrap_or(0);
    let value = letter(0) << 26 | letter(1) << 21 | letter(2) << 16 | digits & 0xFFFF;
    integer(value.swap_bytes())
}

/// A region of PCI configuration space (2) or of system I/O (1).
pub(crate) fn region(path: &str, space: u8, offset: u32, length: u32) -> Vec<u8> {
    [vec![0x5B, 0x80], name_string(path), vec![space], integer(offset), integer(length)].concat()
}

/// Byte-wide fields of a region, one after another.
pub(crate) fn byte_fields(region: &str, names: &[&str]) -> Vec<u8> {
    let fields: Vec<u8> = names.iter().flat_map(|name| [&segment(name)[..], &[8]].concat()).collect();
    // Byte access, no lock, preserve.
    with_length(&[0x5B, 0x81], &[&name_string(region), &[0x01], &fields])
}

pub(crate) const LOCAL0: u8 = 0x60;
pub(crate) const ARG0: u8 = 0x68;

pub(crate) fn local0() -> Vec<u8> {
    vec![LOCAL0]
}

pub(crate) fn arg0() -> Vec<u8> {
    vec![ARG0]
}

pub(crate) fn reference(path: &str) -> Vec<u8> {
    name_string(path)
}

fn binary(opcode: u8, a: Vec<u8>, b: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
    [vec![opcode], a, b, target].concat()
}

/// `And (a, b, target)`; an empty target is a null name.
pub(crate) fn and(a: Vec<u8>, b: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
    binary(0x7B, a, b, or_null(target))
}

pub(crate) fn or(a: Vec<u8>, b: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
    binary(0x7D, a, b, or_null(target))
}

pub(crate) fn shift_left(a: Vec<u8>, b: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
    binary(0x79, a, b, or_null(target))
}

fn or_null(target: Vec<u8>) -> Vec<u8> {
    if target.is_empty() { vec![0] } else { target }
}

pub(crate) fn store(value: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
    [vec![0x70], value, target].concat()
}

pub(crate) fn find_set_right_bit(value: Vec<u8>, target: Vec<u8>) -> Vec<u8> {
    [vec![0x82], value, target].concat()
}

pub(crate) fn decrement(target: Vec<u8>) -> Vec<u8> {
    [vec![0x76], target].concat()
}

/// `CreateWordField (buffer, index, name)`
pub(crate) fn word_field(buffer: Vec<u8>, index: u32, name: &str) -> Vec<u8> {
    [vec![0x8B], buffer, integer(index), name_string(name)].concat()
}

pub(crate) fn if_(predicate: Vec<u8>, body: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0xA0], &[&predicate, &terms(body)])
}

pub(crate) fn else_(body: &[Vec<u8>]) -> Vec<u8> {
    with_length(&[0xA1], &[&terms(body)])
}

pub(crate) fn return_(value: Vec<u8>) -> Vec<u8> {
    [vec![0xA4], value].concat()
}

/// `IO (Decode16, base, base, 1, length)`
pub(crate) fn io(base: u16, length: u8) -> Vec<u8> {
    let [low, high] = base.to_le_bytes();
    vec![0x47, 0x01, low, high, low, high, 0x01, length]
}

/// `IRQNoFlags () {irq}`: edge, active high.
pub(crate) fn irq(irq: u8) -> Vec<u8> {
    let [low, high] = (1u16 << (irq & 15)).to_le_bytes();
    vec![0x22, low, high]
}

/// `IRQ (Level, ActiveLow, Shared)` with a mask of IRQs.
pub(crate) fn irq_level(mask: u16) -> Vec<u8> {
    let [low, high] = mask.to_le_bytes();
    vec![0x23, low, high, 0x18]
}

/// `DMA (Compatibility, NotBusMaster, Transfer8)` of a channel.
pub(crate) fn dma(channel: u8) -> Vec<u8> {
    vec![0x2A, 1 << (channel & 7), 0x00]
}

/// `WordBusNumber (ResourceProducer, MinFixed, MaxFixed, PosDecode)`
pub(crate) fn word_bus_numbers(first: u16, last: u16) -> Vec<u8> {
    word_space(2, 0x0C, 0, first, last)
}

/// `WordIO (ResourceProducer, MinFixed, MaxFixed, PosDecode, EntireRange)`
pub(crate) fn word_io(first: u16, last: u16) -> Vec<u8> {
    word_space(1, 0x0C, 3, first, last)
}

fn word_space(kind: u8, general: u8, specific: u8, first: u16, last: u16) -> Vec<u8> {
    let mut out = vec![0x88, 0x0D, 0x00, kind, general, specific];
    for word in [0, first, last, 0, last.wrapping_sub(first).wrapping_add(1)] {
        out.extend(word.to_le_bytes());
    }
    out
}

/// `DWordMemory (ResourceProducer, PosDecode, MinFixed, MaxFixed, cacheable or not, ReadWrite)`
pub(crate) fn dword_memory(first: u32, last: u32, cacheable: bool) -> Vec<u8> {
    let mut out = vec![0x87, 0x17, 0x00, 0x00, 0x0C, if cacheable { 0x03 } else { 0x01 }];
    for double in [0, first, last, 0, last - first + 1] {
        out.extend(double.to_le_bytes());
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_of_the_specification() {
        assert_eq!(eisa_id("PNP0A03"), [0x0C, 0x41, 0xD0, 0x0A, 0x03]);
        assert_eq!(name_string("\\_SB.PCI0.ISA"), b"\\\x2F\x03_SB_PCI0ISA_");
        assert_eq!(name_string("\\"), b"\\\0");
        assert_eq!(package_length(vec![0; 62])[0], 63);
        assert_eq!(package_length(vec![0; 63])[..2], [0x41, 0x04]);
        assert_eq!(package_length(vec![0; 5000])[..3], [0x8B, 0x38, 0x01]);
        assert_eq!(method("_STA", 0, &[return_(integer(15))]), b"\x14\x09_STA\x00\xA4\x0A\x0F");
    }
}
