//! What the fuzz targets share: how libFuzzer's bytes become an input, and back into text for people.
//!
//! The bodies of the targets are plain functions in `bodies/`, which `examples/tests/fuzz_seeds.rs` compiles as well, to replay the seeds
//! on a stable compiler.

#[path = "../bodies/mod.rs"]
pub mod bodies;

use std::fmt;

use arbitrary::{Arbitrary, Unstructured};
use slotone_fuzz_kit::Script;

#[doc(hidden)]
pub use libfuzzer_sys;

/// The input of a target that runs an operation script. Printed as the script's text.
pub struct ScriptInput(pub Vec<u8>);

/// The input of a target that takes bytes. Printed as hexadecimal text that the target reads as well.
pub struct BytesInput(pub Vec<u8>);

impl<'a> Arbitrary<'a> for ScriptInput {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let rest = u.len();
        Ok(Self(u.bytes(rest)?.to_vec()))
    }
}

impl<'a> Arbitrary<'a> for BytesInput {
    fn arbitrary(u: &mut Unstructured<'a>) -> arbitrary::Result<Self> {
        let rest = u.len();
        Ok(Self(u.bytes(rest)?.to_vec()))
    }
}

impl fmt::Debug for ScriptInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", Script::from_input(&self.0))
    }
}

impl fmt::Debug for BytesInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bodies::text::to_text(&bodies::text::bytes(&self.0)))
    }
}

/// Puts `bytes` in the place of the input in `data`, as far as they fit, and lets libFuzzer mutate them.
#[doc(hidden)]
pub fn mutate(data: &mut [u8], size: usize, max_size: usize, bytes: Option<Vec<u8>>) -> usize {
    let size = match bytes {
        Some(bytes) => {
            let n = bytes.len().min(max_size).min(data.len());
            data[..n].copy_from_slice(&bytes[..n]);
            n
        }
        None => size,
    };
    libfuzzer_sys::fuzzer_mutate(data, size, max_size)
}

/// A fuzz target for `bodies::NAME`, whose input is an operation script: as text, or in the bytes that
/// `Script::to_bytes` makes. Text is made bytes before it is mutated.
#[macro_export]
macro_rules! script_target {
    ($name:ident) => {
        $crate::libfuzzer_sys::fuzz_target!(|input: $crate::ScriptInput| $crate::bodies::$name(&input.0));
        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
            let script = slotone_fuzz_kit::Script::from_text(&data[..size]);
            $crate::mutate(data, size, max_size, script.map(|s| s.to_bytes()))
        });
    };
}

/// A fuzz target for `bodies::NAME`, whose input is bytes: as they are, or as hexadecimal text. With `, once` the body runs before libFuzzer
/// looks at the time: its first run goes through POST.
#[macro_export]
macro_rules! bytes_target {
    ($name:ident) => {
        $crate::bytes_target!($name, ());
    };
    ($name:ident, once) => {
        $crate::bytes_target!($name, $crate::bodies::$name(&[]));
    };
    ($name:ident, $init:expr) => {
        $crate::libfuzzer_sys::fuzz_target!(init: $init, |input: $crate::BytesInput| $crate::bodies::$name(&input.0));
        $crate::libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, _seed: u32| {
            let bytes = $crate::bodies::text::from_text(&data[..size]);
            $crate::mutate(data, size, max_size, bytes)
        });
    };
}
