//! Saved state: a small, versioned, dependency-free binary form.
//!
//! Every device keeps what a guest can observe in one `State` struct and lists its fields once with
//! [`encode_fields!`](crate::encode_fields). The form is little-endian, self-delimiting where lengths vary, and starts with a name and a
//! version, so that a state of another device or a later version is refused, not misread. **Restored bytes are
//! hostile input**: lengths are bounded by what is left to read, and a device validates what it decoded.

use thiserror::Error;

/// Why a saved state cannot be taken.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum StateError {
    /// The bytes end inside a value.
    #[error("{} ends early: {wanted} more bytes expected, {left} left", named(section))]
    Short {
        /// The section being read, or the one that was expected here; empty outside of any.
        section: String,
        /// Bytes the value needs.
        wanted: usize,
        /// Bytes left.
        left: usize,
    },
    /// Another section than expected.
    #[error("expected the state of {expected}, found {found}")]
    Section {
        /// The section the device reads.
        expected: &'static str,
        /// The section found.
        found: String,
    },
    /// A version this build does not know.
    #[error("state of {section} has version {found}, this build reads up to {known}")]
    Version {
        /// The section being read.
        section: &'static str,
        /// Version found.
        found: u16,
        /// Newest version known.
        known: u16,
    },
    /// A value that the device cannot hold.
    #[error("{} is not valid: {what}", named(section))]
    Invalid {
        /// The section being read, or the one that was expected here; empty outside of any.
        section: String,
        /// What is wrong, in words.
        what: String,
    },
    /// Bytes are left over after the last value.
    #[error("{} has {left} bytes too many", named(section))]
    Trailing {
        /// The section being read, or the one that was expected here; empty outside of any.
        section: String,
        /// Bytes left over.
        left: usize,
    },
}

fn named(section: &str) -> String {
    if section.is_empty() { "the state".to_string() } else { format!("state of {section}") }
}

/// Collects a state.
#[derive(Debug, Default, Clone)]
pub struct StateWriter {
    bytes: Vec<u8>,
}

impl StateWriter {
    /// An empty writer.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends raw bytes.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Writes one section: its name, version, length and `body`'s fields.
    pub fn section<T: Encode>(&mut self, name: &str, version: u16, body: &T) {
        name.to_string().encode(self);
        version.encode(self);
        let at = self.bytes.len();
        0u32.encode(self);
        body.encode(self);
        let len = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    /// The bytes collected.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }
}

/// Reads a state back.
#[derive(Debug, Clone)]
pub struct StateReader<'a> {
    bytes: &'a [u8],
    section: String,
}

impl<'a> StateReader<'a> {
    /// A reader over `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, section: String::new() }
    }

    /// Takes `n` bytes.
    ///
    /// # Errors
    /// [`StateError::Short`] if fewer are left.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], StateError> {
        if n > self.bytes.len() {
            return Err(StateError::Short {
                section: self.section.clone(),
                wanted: n,
                left: self.bytes.len(),
            });
        }
        let (head, tail) = self.bytes.split_at(n);
        self.bytes = tail;
        Ok(head)
    }

    /// Bytes left.
    pub fn left(&self) -> usize {
        self.bytes.len()
    }

    /// Reads a section written by [`StateWriter::section`]; `version` is the newest known. Returns the body.
    ///
    /// # Errors
    /// Every [`StateError`]: another name, a newer version, a short or over-long body.
    pub fn section<T: Encode>(&mut self, name: &'static str, version: u16) -> Result<T, StateError> {
        // What goes wrong before the body begins is told by the name that was expected.
        let outer = std::mem::replace(&mut self.section, name.to_string());
        let body = self.expected(name, version);
        self.section = outer;
        body
    }

    fn expected<T: Encode>(&mut self, name: &'static str, version: u16) -> Result<T, StateError> {
        let found = String::decode(self)?;
        if found != name {
            return Err(StateError::Section { expected: name, found });
        }
        let v = u16::decode(self)?;
        if v > version {
            return Err(StateError::Version { section: name, found: v, known: version });
        }
        let len = u32::decode(self)? as usize;
        let mut inner = StateReader { bytes: self.take(len)?, section: name.to_string() };
        let body = T::decode(&mut inner)?;
        if inner.left() != 0 {
            return Err(StateError::Trailing { section: name.to_string(), left: inner.left() });
        }
        Ok(body)
    }

    /// An [`StateError::Invalid`] for the section being read.
    pub fn invalid(&self, what: impl Into<String>) -> StateError {
        StateError::Invalid { section: self.section.clone(), what: what.into() }
    }
}

/// A value that can be part of a state.
pub trait Encode: Sized {
    /// Appends the value.
    fn encode(&self, w: &mut StateWriter);
    /// Reads the value.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are not such a value.
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError>;
}

macro_rules! integers {
    ($($t:ty),*) => {$(
        impl Encode for $t {
            fn encode(&self, w: &mut StateWriter) {
                w.raw(&self.to_le_bytes());
            }
            fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
                let bytes = r.take(size_of::<$t>())?;
                Ok(<$t>::from_le_bytes(bytes.try_into().expect("take returns what was asked for")))
            }
        }
    )*};
}
integers!(u8, u16, u32, u64, u128, i8, i16, i32, i64);

impl Encode for bool {
    fn encode(&self, w: &mut StateWriter) {
        w.raw(&[u8::from(*self)]);
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        match r.take(1)?[0] {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(r.invalid(format!("{other} is not a boolean"))),
        }
    }
}

impl Encode for crate::VmInstant {
    fn encode(&self, w: &mut StateWriter) {
        self.as_nanos().encode(w);
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Self::from_nanos(u64::decode(r)?))
    }
}

impl Encode for String {
    fn encode(&self, w: &mut StateWriter) {
        (self.len() as u32).encode(w);
        w.raw(self.as_bytes());
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let len = u32::decode(r)? as usize;
        let bytes = r.take(len)?.to_vec();
        String::from_utf8(bytes).map_err(|_| r.invalid("text is not UTF-8"))
    }
}

impl<T: Encode> Encode for Option<T> {
    fn encode(&self, w: &mut StateWriter) {
        self.is_some().encode(w);
        if let Some(v) = self {
            v.encode(w);
        }
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        if bool::decode(r)? { Ok(Some(T::decode(r)?)) } else { Ok(None) }
    }
}

impl<T: Encode, const N: usize> Encode for [T; N] {
    fn encode(&self, w: &mut StateWriter) {
        for v in self {
            v.encode(w);
        }
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let mut out = Vec::with_capacity(N);
        for _ in 0..N {
            out.push(T::decode(r)?);
        }
        out.try_into().map_err(|_| r.invalid("array length"))
    }
}

impl<T: Encode> Encode for Vec<T> {
    fn encode(&self, w: &mut StateWriter) {
        (self.len() as u32).encode(w);
        for v in self {
            v.encode(w);
        }
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let len = u32::decode(r)? as usize;
        // A value takes at least one byte, so a length beyond what is left is a lie; nothing is allocated by it.
        if len > r.left() {
            return Err(r.invalid(format!("a list of {len} values in {} bytes", r.left())));
        }
        let mut out = Vec::new();
        for _ in 0..len {
            out.push(T::decode(r)?);
        }
        Ok(out)
    }
}

impl<T: Encode> Encode for std::collections::VecDeque<T> {
    fn encode(&self, w: &mut StateWriter) {
        (self.len() as u32).encode(w);
        for v in self {
            v.encode(w);
        }
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok(Vec::<T>::decode(r)?.into())
    }
}

impl<A: Encode, B: Encode> Encode for (A, B) {
    fn encode(&self, w: &mut StateWriter) {
        self.0.encode(w);
        self.1.encode(w);
    }
    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        Ok((A::decode(r)?, B::decode(r)?))
    }
}

/// Implements [`Encode`](crate::state::Encode) for a struct, field by field in the order given; every field must be named.
///
/// ```
/// use slotone_bus::{encode_fields, state::{Encode, StateReader, StateWriter}};
/// #[derive(Debug, Clone, PartialEq, Default)]
/// struct State { divisor: u16, fifo: Vec<u8> }
/// encode_fields!(State { divisor, fifo });
///
/// let state = State { divisor: 12, fifo: vec![1, 2] };
/// let mut w = StateWriter::new();
/// w.section("uart", 1, &state);
/// let bytes = w.into_bytes();
/// assert_eq!(StateReader::new(&bytes).section::<State>("uart", 1)?, state);
/// # Ok::<(), slotone_bus::state::StateError>(())
/// ```
#[macro_export]
macro_rules! encode_fields {
    ($t:ty { $($field:ident),* $(,)? }) => {
        impl $crate::state::Encode for $t {
            fn encode(&self, w: &mut $crate::state::StateWriter) {
                $($crate::state::Encode::encode(&self.$field, w);)*
            }
            fn decode(
                r: &mut $crate::state::StateReader<'_>,
            ) -> ::core::result::Result<Self, $crate::state::StateError> {
                ::core::result::Result::Ok(Self { $($field: $crate::state::Encode::decode(r)?),* })
            }
        }
    };
}

/// Implements [`Encode`](crate::state::Encode) for a field-less enum by listing its variants; a variant's place in the list is its number, so new
/// ones are added at the end.
///
/// ```
/// use slotone_bus::encode_enum;
/// #[derive(Debug, Clone, Copy, PartialEq)]
/// enum Phase { Idle, Data }
/// encode_enum!(Phase { Idle, Data });
/// ```
#[macro_export]
macro_rules! encode_enum {
    ($t:ty { $($variant:ident),* $(,)? }) => {
        impl $crate::state::Encode for $t {
            fn encode(&self, w: &mut $crate::state::StateWriter) {
                let all = [$(stringify!($variant)),*];
                let mine = match self { $(Self::$variant => stringify!($variant)),* };
                let n = all.iter().position(|v| *v == mine).unwrap_or(0) as u8;
                $crate::state::Encode::encode(&n, w);
            }
            fn decode(
                r: &mut $crate::state::StateReader<'_>,
            ) -> ::core::result::Result<Self, $crate::state::StateError> {
                let n = <u8 as $crate::state::Encode>::decode(r)?;
                [$(Self::$variant),*].into_iter().nth(usize::from(n)).ok_or_else(|| {
                    r.invalid(format!("{n} is not a {}", stringify!($t)))
                })
            }
        }
    };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Phase {
        Idle,
        Data,
    }
    encode_enum!(Phase { Idle, Data });

    #[derive(Debug, Clone, PartialEq)]
    struct State {
        a: u8,
        b: Option<u64>,
        c: Vec<u16>,
        d: [bool; 3],
        e: String,
        f: Phase,
    }
    encode_fields!(State { a, b, c, d, e, f });

    fn sample() -> (State, Vec<u8>) {
        let state = State {
            a: 7,
            b: Some(1 << 40),
            c: vec![1, 2, 3],
            d: [true, false, true],
            e: "CSR5".into(),
            f: Phase::Data,
        };
        let mut w = StateWriter::new();
        w.section("test", 2, &state);
        (state, w.into_bytes())
    }

    #[test]
    fn round_trip() {
        let (state, bytes) = sample();
        assert_eq!(StateReader::new(&bytes).section::<State>("test", 2).unwrap(), state);
    }

    #[test]
    fn wrong_name_version_or_length_is_refused() {
        let (_, bytes) = sample();
        assert!(matches!(
            StateReader::new(&bytes).section::<State>("other", 2),
            Err(StateError::Section { .. })
        ));
        assert!(matches!(
            StateReader::new(&bytes).section::<State>("test", 1),
            Err(StateError::Version { found: 2, known: 1, .. })
        ));
        for cut in 0..bytes.len() {
            assert!(StateReader::new(&bytes[..cut]).section::<State>("test", 2).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_short_state_is_told_by_its_name() {
        let (_, bytes) = sample();
        for cut in 0..bytes.len() {
            let told = StateReader::new(&bytes[..cut]).section::<State>("test", 2).unwrap_err().to_string();
            assert!(told.starts_with("state of test "), "cut at {cut}: {told}");
        }
        // Of two sections, the one that is missing.
        let mut r = StateReader::new(&bytes);
        r.section::<State>("test", 2).unwrap();
        let told = r.section::<State>("second", 1).unwrap_err().to_string();
        assert_eq!(told, "state of second ends early: 4 more bytes expected, 0 left");
        let told = r.take(1).unwrap_err().to_string();
        assert_eq!(told, "the state ends early: 1 more bytes expected, 0 left");
    }

    #[test]
    fn a_lying_length_allocates_nothing() {
        let mut r = StateReader::new(&[0xff, 0xff, 0xff, 0xff, 1]);
        assert!(matches!(Vec::<u8>::decode(&mut r), Err(StateError::Invalid { .. })));
    }
}
