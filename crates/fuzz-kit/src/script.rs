//! Operation scripts: from a fuzzer's bytes, to and from text.

use std::fmt;
use std::str::FromStr;

use arbitrary::{Arbitrary, Unstructured};
use thiserror::Error;

/// One step of a script. Windows and pins are taken modulo what the device has at that moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Reads 1 to 8 bytes: `r WINDOW+OFFSET LEN`.
    Read {
        /// Index among the device's windows, modulo their number.
        window: u8,
        /// Offset, modulo the window's length.
        offset: u32,
        /// Bytes, 1 to 8.
        len: u8,
    },
    /// Writes 1 to 8 bytes: `w WINDOW+OFFSET HEX`.
    Write {
        /// Index among the device's windows, modulo their number.
        window: u8,
        /// Offset, modulo the window's length.
        offset: u32,
        /// The bytes.
        data: Vec<u8>,
    },
    /// Reads a port repeatedly, as REP INSW does: `rr WINDOW+OFFSET COUNT`.
    ReadBurst {
        /// Index among the device's windows, modulo their number.
        window: u8,
        /// Offset, modulo the window's length.
        offset: u32,
        /// Words.
        count: u8,
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
        /// Bytes.
        data: Vec<u8>,
    },
    /// Resets the device: `reset`.
    Reset,
    /// Saves, restores into a second device, and goes on with that: `save`.
    SaveRestore,
}

impl<'a> Arbitrary<'a> for Operation {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let bytes = |u: &mut Unstructured<'a>, most: usize| -> arbitrary::Result<Vec<u8>> {
            let n = u.int_in_range(1..=most)?;
            let mut data = vec![0; n];
            u.fill_buffer(&mut data)?;
            Ok(data)
        };
        Ok(match u.int_in_range(0..=15u8)? {
            0..=3 => Self::Read {
                window: u.arbitrary()?,
                offset: u.arbitrary()?,
                len: [1, 2, 4, 8, 3][usize::from(u.int_in_range(0..=4u8)?)],
            },
            4..=9 => Self::Write { window: u.arbitrary()?, offset: u.arbitrary()?, data: bytes(u, 8)? },
            10 => Self::ReadBurst { window: u.arbitrary()?, offset: u.arbitrary()?, count: u.arbitrary()? },
            11 | 12 => Self::Advance { nanos: u.arbitrary()? },
            13 => match u.arbitrary::<u8>()? {
                0..=15 => Self::Reset,
                _ => Self::Input { pin: u.int_in_range(0..=63)?, level: u.arbitrary()? },
            },
            14 => Self::Memory { address: u.arbitrary()?, data: bytes(u, 64)? },
            _ => Self::SaveRestore,
        })
    }
}

/// A list of operations.
///
/// ```
/// use slotone_fuzz_kit::Script;
/// let text = "w 0+3 83\nw 0+0 0c00 # divisor\nt 1000\nr 0+5 1\nsave\n";
/// let script: Script = text.parse()?;
/// assert_eq!(script.operations.len(), 5);
/// assert_eq!(script.to_string().parse::<Script>()?, script);
/// # Ok::<(), slotone_fuzz_kit::ParseError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Script {
    /// In order.
    pub operations: Vec<Operation>,
}

impl Script {
    /// Most operations taken from a fuzzer's bytes: longer inputs find nothing that shorter ones do not.
    pub const MOST: usize = 256;

    /// Turns a fuzzer's bytes into a script. Every input is one.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let mut u = Unstructured::new(bytes);
        let mut operations = Vec::new();
        while !u.is_empty() && operations.len() < Self::MOST {
            match Operation::arbitrary(&mut u) {
                Ok(operation) => operations.push(operation),
                Err(_) => break,
            }
        }
        Self { operations }
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
            Self::ReadBurst { window, offset, count } => write!(f, "rr {window}+{offset:x} {count}"),
            Self::Advance { nanos } => write!(f, "t {nanos}"),
            Self::Input { pin, level } => write!(f, "i {pin} {}", u8::from(*level)),
            Self::Memory { address, data } => write!(f, "m {address:x} {}", hex(data)),
            Self::Reset => f.write_str("reset"),
            Self::SaveRestore => f.write_str("save"),
        }
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.operations.iter().try_for_each(|o| writeln!(f, "{o}"))
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
        ["rr", at, count] => {
            let (window, offset) = place(at)?;
            Operation::ReadBurst { window, offset, count: count.parse().ok()? }
        }
        ["t", nanos] => Operation::Advance { nanos: nanos.parse().ok()? },
        ["i", pin, level @ ("0" | "1")] => {
            Operation::Input { pin: pin.parse().ok().filter(|p| *p < 64)?, level: *level == "1" }
        }
        ["m", address, data] => {
            Operation::Memory { address: u32::from_str_radix(address, 16).ok()?, data: bytes(data, 4096)? }
        }
        ["reset"] => Operation::Reset,
        ["save"] => Operation::SaveRestore,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_a_script_and_its_text_reads_back(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let script = Script::from_bytes(&bytes);
            prop_assert_eq!(script.to_string().parse::<Script>().unwrap(), script);
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        let error = "reset\nw 0+0 123\n".parse::<Script>().unwrap_err();
        assert_eq!((error.line, error.text.as_str()), (2, "w 0+0 123"));
    }
}
