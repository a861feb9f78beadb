//! Operation scripts: from a fuzzer's bytes and back, from text and back.

use std::fmt;
use std::str::FromStr;

use arbitrary::{Arbitrary, Unstructured};
use thiserror::Error;

/// One step of a script. Windows are taken modulo what the device has at that moment, offsets modulo the window's length.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Reads 1 to 8 bytes: `r WINDOW+OFFSET LEN`.
    Read {
        /// Index among the device's windows.
        window: u8,
        /// Offset in the window.
        offset: u32,
        /// Bytes, 1 to 8.
        len: u8,
    },
    /// Writes 1 to 8 bytes: `w WINDOW+OFFSET HEX`.
    Write {
        /// Index among the device's windows.
        window: u8,
        /// Offset in the window.
        offset: u32,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Reads a port repeatedly, as REP INS does: `rr WINDOW+OFFSET WIDTH COUNT`.
    ReadBurst {
        /// Index among the device's windows.
        window: u8,
        /// Offset in the window.
        offset: u32,
        /// Bytes of an element: 1, 2 or 4.
        width: u8,
        /// Elements, 1 to [`Operation::BURST`].
        count: u16,
    },
    /// Writes a port repeatedly, as REP OUTS does: `ww WINDOW+OFFSET WIDTH COUNT HEX`.
    WriteBurst {
        /// Index among the device's windows.
        window: u8,
        /// Offset in the window.
        offset: u32,
        /// Bytes of an element: 1, 2 or 4.
        width: u8,
        /// Elements, 1 to [`Operation::BURST`].
        count: u16,
        /// What is written, over and over: 1 to 16 bytes.
        pattern: Vec<u8>,
    },
    /// Lets time pass, ticking at every deadline: `t NANOS`.
    Advance {
        /// Nanoseconds.
        nanos: u32,
    },
    /// Drives an input pin: `i PIN 0|1`.
    Input {
        /// Pin number, 0 to 63.
        pin: u8,
        /// Level.
        level: bool,
    },
    /// Fills memory that DMA can reach: `m ADDRESS HEX`.
    Memory {
        /// Physical address, modulo the harness's memory.
        address: u32,
        /// Bytes, 1 to [`Operation::FILL`].
        data: Vec<u8>,
    },
    /// Something that the device's owner does (a key, a byte on the line, a disc): `h EVENT [HEX]`. What it means is said by
    /// [`Harness::with_host`](crate::Harness::with_host).
    Host {
        /// Number of the event.
        event: u8,
        /// What comes with it, at most 15 bytes.
        data: Vec<u8>,
    },
    /// The CPU acknowledges an interrupt: `ack`.
    Intack,
    /// Resets the device: `reset`.
    Reset,
    /// Saves, restores into a second device, and goes on with that: `save`.
    SaveRestore,
    /// Saves, changes one byte of the state and offers it to the device: `damage OFFSET HEX`. A refused state must change nothing.
    Damage {
        /// Which byte, modulo the length of the state.
        offset: u16,
        /// What the byte is XORed with.
        xor: u8,
    },
}

impl Operation {
    /// Most elements of a burst.
    pub const BURST: u16 = 1024;
    /// Most bytes of an [`Operation::Memory`].
    pub const FILL: usize = 4096;
}

/// A list of operations.
///
/// ```
/// use slotone_fuzz_kit::Script;
/// let text = "w 0+3 83\nw 0+0 0c00 # divisor\nt 1000\nr 0+5 1\nsave\n";
/// let script: Script = text.parse()?;
/// assert_eq!(script.operations.len(), 5);
/// assert_eq!(script.to_string().parse::<Script>()?, script);
/// assert_eq!(Script::from_bytes(&script.to_bytes()), script);
/// assert_eq!(Script::from_input(text.as_bytes()), script);
/// # Ok::<(), slotone_fuzz_kit::ParseError>(())
/// ```
///
/// `fuzz_target!(|script: Script| ...)` works: it is [`Arbitrary`], by [`Script::from_input`], and its `Debug` form, which `cargo fuzz`
/// prints for a crash, is the text.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// In order.
    pub operations: Vec<Operation>,
}

/// Takes bytes off the front; `None` at the end.
struct Input<'a>(&'a [u8]);

impl Input<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// A little-endian number of 1 to 4 bytes.
    fn number(&mut self, bytes: u8) -> Option<u32> {
        (0..bytes).try_fold(0, |n, i| Some(n | u32::from(self.byte()?) << (8 * i)))
    }

    fn bytes(&mut self, n: usize) -> Option<Vec<u8>> {
        let (head, rest) = self.0.split_at_checked(n)?;
        self.0 = rest;
        Some(head.to_vec())
    }

    fn place(&mut self, class: u8) -> Option<(u8, u32)> {
        Some((self.byte()?, self.number((class & 3) + 1)?))
    }

    /// The low nibble of an operation's first byte says what it is, the high one holds the sizes of its numbers.
    fn operation(&mut self) -> Option<Operation> {
        let first = self.byte()?;
        let x = first >> 4;
        Some(match first & 15 {
            kind @ 0..=6 => {
                let (window, offset) = self.place(x)?;
                let len = match x >> 2 {
                    3 => 1 + self.byte()? % 8,
                    class => 1 << class,
                };
                if kind < 3 {
                    Operation::Read { window, offset, len }
                } else {
                    Operation::Write { window, offset, data: self.bytes(usize::from(len))? }
                }
            }
            kind @ 7..=8 => {
                let (window, offset) = self.place(x)?;
                let width = 1 << (x >> 2).min(2);
                let count = 1 + self.number(2)? as u16 % Operation::BURST;
                if kind == 7 {
                    Operation::ReadBurst { window, offset, width, count }
                } else {
                    let len = 1 + self.byte()? % 16;
                    let pattern = self.bytes(usize::from(len))?;
                    Operation::WriteBurst { window, offset, width, count, pattern }
                }
            }
            9 | 10 => Operation::Advance { nanos: self.number((x & 3) + 1)? },
            11 => {
                let pin = self.byte()?;
                Operation::Input { pin: pin & 63, level: pin & 0x80 != 0 }
            }
            12 => {
                let address = self.number((x & 3) + 1)?;
                let len = match x >> 2 {
                    1 => 1 + usize::from(self.byte()?),
                    2 => 1 + self.number(2)? as usize % Operation::FILL,
                    _ => 1 + usize::from(self.byte()? % 16),
                };
                Operation::Memory { address, data: self.bytes(len)? }
            }
            13 => match x {
                0..=1 => Operation::Reset,
                2..=7 => Operation::SaveRestore,
                _ => Operation::Intack,
            },
            14 => Operation::Host { event: self.byte()?, data: self.bytes(usize::from(x))? },
            _ => Operation::Damage { offset: self.number(2)? as u16, xor: self.byte()? },
        })
    }
}

/// The bytes of `n` that a little-endian number needs, less one.
fn class(n: u32) -> u8 {
    (u32::BITS - n.leading_zeros()).div_ceil(8).saturating_sub(1) as u8
}

fn put(out: &mut Vec<u8>, n: u32, class: u8) {
    out.extend_from_slice(&n.to_le_bytes()[..=usize::from(class)]);
}

fn put_place(out: &mut Vec<u8>, kind: u8, sizes: u8, window: u8, offset: u32) {
    out.extend([kind | (sizes << 2 | class(offset)) << 4, window]);
    put(out, offset, class(offset));
}

fn encode(operation: &Operation, out: &mut Vec<u8>) {
    let len_class = |len: usize| match len {
        1 | 2 | 4 => len.trailing_zeros() as u8,
        _ => 3,
    };
    match operation {
        Operation::Read { window, offset, len } => {
            let sizes = len_class(usize::from(*len));
            put_place(out, 0, sizes, *window, *offset);
            out.extend((sizes == 3).then(|| len - 1));
        }
        Operation::Write { window, offset, data } => {
            let sizes = len_class(data.len());
            put_place(out, 3, sizes, *window, *offset);
            out.extend((sizes == 3).then(|| data.len() as u8 - 1));
            out.extend(data);
        }
        Operation::ReadBurst { window, offset, width, count } => {
            put_place(out, 7, width.trailing_zeros() as u8, *window, *offset);
            put(out, u32::from(count - 1), 1);
        }
        Operation::WriteBurst { window, offset, width, count, pattern } => {
            put_place(out, 8, width.trailing_zeros() as u8, *window, *offset);
            put(out, u32::from(count - 1), 1);
            out.push(pattern.len() as u8 - 1);
            out.extend(pattern);
        }
        Operation::Advance { nanos } => {
            out.push(9 | class(*nanos) << 4);
            put(out, *nanos, class(*nanos));
        }
        Operation::Input { pin, level } => out.extend([11, pin & 63 | u8::from(*level) << 7]),
        Operation::Memory { address, data } => {
            let sizes = match data.len() {
                0..=16 => 0,
                17..=256 => 1,
                _ => 2,
            };
            out.push(12 | (sizes << 2 | class(*address)) << 4);
            put(out, *address, class(*address));
            put(out, data.len() as u32 - 1, u8::from(sizes == 2));
            out.extend(data);
        }
        Operation::Reset => out.push(13),
        Operation::SaveRestore => out.push(13 | 2 << 4),
        Operation::Intack => out.push(13 | 8 << 4),
        Operation::Host { event, data } => {
            out.extend([14 | (data.len() as u8) << 4, *event]);
            out.extend(data);
        }
        Operation::Damage { offset, xor } => {
            out.push(15);
            put(out, u32::from(*offset), 1);
            out.push(*xor);
        }
    }
}

impl Script {
    /// Most operations taken from a fuzzer's bytes: longer inputs find nothing that shorter ones do not.
    pub const MOST: usize = 256;

    /// Turns a fuzzer's bytes into a script. Every input is one; an operation cut off by the end is dropped.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut input = Input(bytes);
        let operations = std::iter::from_fn(|| input.operation()).take(Self::MOST).collect();
        Self { operations }
    }

    /// The bytes that [`Script::from_bytes`] makes this script of (its first [`Script::MOST`] operations): how a script written by
    /// hand becomes a fuzzer's seed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.operations.iter().for_each(|o| encode(o, &mut out));
        out
    }

    /// A script as text, or bytes from a fuzzer: seeds and crashes go through one door.
    pub fn from_input(input: &[u8]) -> Self {
        Self::from_text(input).unwrap_or_else(|| Self::from_bytes(input))
    }

    /// The script, if the input is one in text form.
    pub fn from_text(input: &[u8]) -> Option<Self> {
        let script: Self = std::str::from_utf8(input).ok()?.parse().ok()?;
        (!script.operations.is_empty()).then_some(script)
    }
}

impl<'a> Arbitrary<'a> for Script {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let rest = u.len();
        Ok(Self::from_input(u.bytes(rest)?))
    }
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|b| format!("{b:02x}")).collect()
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { window, offset, len } => write!(f, "r {window}+{offset:x} {len}"),
            Self::Write { window, offset, data } => write!(f, "w {window}+{offset:x} {}", hex(data)),
            Self::ReadBurst { window, offset, width, count } => {
                write!(f, "rr {window}+{offset:x} {width} {count}")
            }
            Self::WriteBurst { window, offset, width, count, pattern } => {
                write!(f, "ww {window}+{offset:x} {width} {count} {}", hex(pattern))
            }
            Self::Advance { nanos } => write!(f, "t {nanos}"),
            Self::Input { pin, level } => write!(f, "i {pin} {}", u8::from(*level)),
            Self::Memory { address, data } => write!(f, "m {address:x} {}", hex(data)),
            Self::Host { event, data } => {
                write!(f, "h {event}")?;
                if data.is_empty() { Ok(()) } else { write!(f, " {}", hex(data)) }
            }
            Self::Intack => f.write_str("ack"),
            Self::Reset => f.write_str("reset"),
            Self::SaveRestore => f.write_str("save"),
            Self::Damage { offset, xor } => write!(f, "damage {offset:x} {xor:02x}"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operations.iter().try_for_each(|o| writeln!(f, "{o}"))
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A line that is no operation.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("line {line}: '{text}' is no operation")]
pub struct ParseError {
    /// Line number from 1.
    pub line: usize,
    /// The line.
    pub text: String,
}

impl FromStr for Script {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let mut operations = Vec::new();
        for (i, line) in text.lines().enumerate() {
            let code = line.split('#').next().unwrap_or("").trim();
            if !code.is_empty() {
                let error = || ParseError { line: i + 1, text: line.to_string() };
                operations.push(operation(code).ok_or_else(error)?);
            }
        }
        Ok(Self { operations })
    }
}

fn operation(code: &str) -> Option<Operation> {
    let words: Vec<&str> = code.split_whitespace().collect();
    let place = |text: &str| -> Option<(u8, u32)> {
        let (window, offset) = text.split_once('+')?;
        Some((window.parse().ok()?, u32::from_str_radix(offset, 16).ok()?))
    };
    let bytes = |text: &str, most: usize| -> Option<Vec<u8>> {
        if text.is_empty() || !text.len().is_multiple_of(2) || text.len() / 2 > most || !text.is_ascii() {
            return None;
        }
        (0..text.len()).step_by(2).map(|i| u8::from_str_radix(&text[i..i + 2], 16).ok()).collect()
    };
    let width = |text: &str| text.parse().ok().filter(|n| matches!(n, 1u8 | 2 | 4));
    let count = |text: &str| text.parse().ok().filter(|n| (1..=Operation::BURST).contains(n));
    Some(match words.as_slice() {
        ["r", at, len] => {
            let (window, offset) = place(at)?;
            let len = len.parse().ok().filter(|n| (1..=8).contains(n))?;
            Operation::Read { window, offset, len }
        }
        ["w", at, data] => {
            let (window, offset) = place(at)?;
            Operation::Write { window, offset, data: bytes(data, 8)? }
        }
        ["rr", at, w, n] => {
            let (window, offset) = place(at)?;
            Operation::ReadBurst { window, offset, width: width(w)?, count: count(n)? }
        }
        ["ww", at, w, n, data] => {
            let (window, offset) = place(at)?;
            let pattern = bytes(data, 16)?;
            Operation::WriteBurst { window, offset, width: width(w)?, count: count(n)?, pattern }
        }
        ["t", nanos] => Operation::Advance { nanos: nanos.parse().ok()? },
        ["i", pin, level @ ("0" | "1")] => {
            Operation::Input { pin: pin.parse().ok().filter(|p| *p < 64)?, level: *level == "1" }
        }
        ["m", address, data] => Operation::Memory {
            address: u32::from_str_radix(address, 16).ok()?,
            data: bytes(data, Operation::FILL)?,
        },
        ["h", event] => Operation::Host { event: event.parse().ok()?, data: Vec::new() },
        ["h", event, data] => Operation::Host { event: event.parse().ok()?, data: bytes(data, 15)? },
        ["ack"] => Operation::Intack,
        ["reset"] => Operation::Reset,
        ["save"] => Operation::SaveRestore,
        ["damage", offset, xor] => {
            Operation::Damage { offset: u16::from_str_radix(offset, 16).ok()?, xor: bytes(xor, 1)?[0] }
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_script_and_text_and_bytes_read_back(
            bytes in proptest::collection::vec(any::<u8>(), 0..512),
        ) {
            let script = Script::from_bytes(&bytes);
            prop_assert_eq!(&script.to_string().parse::<Script>().unwrap(), &script);
            prop_assert_eq!(&Script::from_bytes(&script.to_bytes()), &script);
        }
    }

    #[test]
    fn every_operation_has_a_text_and_bytes() {
        let text = "r 0+12 1\nr 1+ffffffff 8\nw 255+0 0102030405\nw 1+100 01020304\nrr 0+1f0 2 256\n\
                    ww 2+0 4 1024 00112233445566778899aabbccddeeff\nww 0+0 1 1 ff\nt 0\nt 4294967295\ni 63 1\ni 0 0\n\
                    m 1000 00\nh 3\nh 255 0102\nack\nreset\nsave\ndamage ffff 80\n";
        let mut script: Script = text.parse().unwrap();
        assert_eq!(script.to_string(), text);
        for len in [16, 17, 256, 257, Operation::FILL] {
            script.operations.push(Operation::Memory { address: 0x12_3456, data: vec![7; len] });
        }
        assert_eq!(Script::from_bytes(&script.to_bytes()), script);
        assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = "reset\nw 0+0 123\n".parse::<Script>().unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (2, "w 0+0 123"));
        for bad in ["rr 0+0 3 1", "rr 0+0 2 1025", "r 0+0 9", "i 64 0", "h 256", "h 0 ", "damage 10000 00"] {
            assert_eq!(bad == "h 0 ", bad.parse::<Script>().is_ok(), "{bad}");
        }
    }
}
