use std::fmt;
use std::io;
use std::str::FromStr;

/// A disk's unique id: 16 raw bytes. Compared as bytes only, because products disagree on the byte order of the text form.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct DiskId(pub [u8; 16]);

impl DiskId {
    /// No id.
    pub const NIL: Self = Self([0; 16]);

    /// A random (version 4) id in RFC 4122 byte order.
    ///
    /// # Errors
    /// The host has no randomness to give.
    pub fn random() -> io::Result<Self> {
        let mut b = [0u8; 16];
        getrandom::fill(&mut b).map_err(|e| io::Error::other(format!("no random bytes: {e}")))?;
        b[6] = (b[6] & 0x0F) | 0x40;
        b[8] = (b[8] & 0x3F) | 0x80;
        Ok(Self(b))
    }

    /// All bytes are zero.
    pub fn is_nil(&self) -> bool {
        self.0 == [0; 16]
    }

    /// The text as Windows prints it: the first three fields little-endian, which is how Windows and VirtualBox store them.
    pub fn windows_text(&self) -> String {
        let b = &self.0;
        Self([
            b[3], b[2], b[1], b[0], b[5], b[4], b[7], b[6], b[8], b[9], b[10], b[11], b[12], b[13], b[14],
            b[15],
        ])
        .to_string()
    }

    /// Reads 32 hexadecimal digits, with or without dashes and braces, in the order of the bytes.
    pub fn parse(text: &str) -> Option<Self> {
        let digits: Vec<u8> = text.bytes().filter(|b| !matches!(b, b'-' | b'{' | b'}')).collect();
        if digits.len() != 32 || !digits.iter().all(u8::is_ascii_hexdigit) {
            return None;
        }
        let mut id = [0u8; 16];
        for (i, pair) in digits.chunks_exact(2).enumerate() {
            id[i] = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(id))
    }
}

/// A text that is no [`DiskId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("expected 32 hexadecimal digits, with or without dashes and braces, found {text:?}")]
pub struct ParseIdError {
    /// The text.
    pub text: String,
}

/// As [`DiskId::parse`].
///
/// ```
/// use slotone_vhd::DiskId;
/// let id: DiskId = "b0609637-f0ea-4e3f-a081-0851b4983153".parse()?;
/// assert_eq!(id.to_string().parse(), Ok(id));
/// assert_eq!("{B0609637F0EA4E3FA0810851B4983153}".parse(), Ok(id));
/// assert!("+0609637-f0ea-4e3f-a081-0851b4983153".parse::<DiskId>().is_err());
/// # Ok::<(), slotone_vhd::format::ParseIdError>(())
/// ```
impl FromStr for DiskId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        Self::parse(text).ok_or_else(|| ParseIdError { text: text.to_owned() })
    }
}

impl fmt::Display for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, b) in self.0.iter().enumerate() {
            if matches!(i, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{b:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for DiskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
