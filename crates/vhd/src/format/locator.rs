use std::path::{Component, Path, PathBuf};

/// Locator entries in a dynamic header.
pub const LOCATORS: usize = 8;

/// What a locator's data is ("platform code").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Platform {
    /// 0: not used.
    None,
    /// `Wi2r`: relative Windows path in an ANSI code page (old).
    RelativeAnsi,
    /// `Wi2k`: absolute Windows path in an ANSI code page (old).
    AbsoluteAnsi,
    /// `W2ru`: relative Windows path, UTF-16LE.
    RelativeUnicode,
    /// `W2ku`: absolute Windows path, UTF-16LE.
    AbsoluteUnicode,
    /// `Mac `: a Mac OS alias, opaque.
    MacAlias,
    /// `MacX`: a file URL in UTF-8.
    MacUrl,
    /// A code that is not in the specification.
    Other(u32),
}

impl Platform {
    /// From the code in the header.
    pub const fn from_code(code: u32) -> Self {
        match code {
            0 => Self::None,
            0x5769_3272 => Self::RelativeAnsi,
            0x5769_326B => Self::AbsoluteAnsi,
            0x5732_7275 => Self::RelativeUnicode,
            0x5732_6B75 => Self::AbsoluteUnicode,
            // The second of each pair is VirtualBox's slip of the pen.
            0x4D61_6320 | 0x4D16_3220 => Self::MacAlias,
            0x4D61_6358 | 0x4D16_3258 => Self::MacUrl,
            other => Self::Other(other),
        }
    }

    /// The code for the header.
    pub const fn code(self) -> u32 {
        match self {
            Self::None => 0,
            Self::RelativeAnsi => 0x5769_3272,
            Self::AbsoluteAnsi => 0x5769_326B,
            Self::RelativeUnicode => 0x5732_7275,
            Self::AbsoluteUnicode => 0x5732_6B75,
            Self::MacAlias => 0x4D61_6320,
            Self::MacUrl => 0x4D61_6358,
            Self::Other(code) => code,
        }
    }

    /// The code as text, as in the specification.
    pub fn name(self) -> String {
        match self {
            Self::None => "none".into(),
            other => other.code().to_be_bytes().iter().map(|b| char::from(*b)).collect(),
        }
    }
}

/// A locator entry: where in the file a path to the parent stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Locator {
    /// What kind of path.
    pub platform: Platform,
    /// Room in the file as stored: bytes by all products, sectors by the specification.
    pub data_space: u32,
    /// Bytes of the path.
    pub data_length: u32,
    /// Absolute byte offset of the path.
    pub offset: u64,
}

impl Locator {
    /// The unused entry.
    pub const NONE: Self = Self { platform: Platform::None, data_space: 0, data_length: 0, offset: 0 };

    /// Room in bytes: a number below 512 can only be sectors.
    pub fn space(&self) -> u64 {
        let space = u64::from(self.data_space);
        let bytes = if space < 512 { space * 512 } else { space };
        bytes.max(u64::from(self.data_length))
    }

    /// The path in `data`, as written; `None` for opaque kinds.
    pub fn text(&self, data: &[u8]) -> Option<String> {
        let text: String = match self.platform {
            Platform::RelativeUnicode | Platform::AbsoluteUnicode => {
                let units =
                    data.chunks_exact(2).map(|c| u16::from_le_bytes([c[0], c[1]])).take_while(|u| *u != 0);
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            Platform::RelativeAnsi | Platform::AbsoluteAnsi => {
                // The code page is not stored; Latin-1 is right for what old products could name everywhere.
                data.iter().take_while(|b| **b != 0).map(|b| char::from(*b)).collect()
            }
            Platform::MacUrl => {
                let end = data.iter().position(|b| *b == 0).unwrap_or(data.len());
                String::from_utf8_lossy(&data[..end]).into_owned()
            }
            _ => return None,
        };
        (!text.is_empty()).then_some(text)
    }
}

/// A path as a Windows locator writes it, relative to `base` (a directory): `.\x`, `.\dir\x`, `..\x`. Both paths must be absolute
/// and free of `.` and `..`; `None` when they have no common root.
pub fn relative_windows(base: &Path, target: &Path) -> Option<String> {
    let b: Vec<Component<'_>> = base.components().collect();
    let t: Vec<Component<'_>> = target.components().collect();
    if b.first() != t.first() {
        return None;
    }
    let common = b.iter().zip(&t).take_while(|(x, y)| x == y).count();
    let mut s = String::new();
    if common == b.len() {
        s.push_str(".\\");
    }
    for _ in common..b.len() {
        s.push_str("..\\");
    }
    let rest: Option<Vec<&str>> = t[common..].iter().map(|c| c.as_os_str().to_str()).collect();
    s.push_str(&rest?.join("\\"));
    Some(s)
}

/// The file URL of an absolute path.
pub fn file_url(path: &Path) -> String {
    let mut s = String::from("file://");
    for b in path.to_string_lossy().bytes() {
        match b {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'-' | b'_' | b'.' | b'~' => {
                s.push(char::from(b))
            }
            _ => s.push_str(&format!("%{b:02X}")),
        }
    }
    s
}

/// A locator's text as a path of this host. Relative ones stay relative. `None` for what cannot name a file here: a drive letter or
/// a share on a host that has none, a URL with a host part.
pub fn to_host_path(platform: Platform, text: &str) -> Option<PathBuf> {
    match platform {
        Platform::MacUrl => {
            let rest = text.strip_prefix("file://")?;
            let rest = rest.strip_prefix("localhost").unwrap_or(rest);
            if !rest.starts_with('/') && !rest.starts_with('.') {
                return None;
            }
            Some(PathBuf::from(percent_decode(rest)?))
        }
        Platform::RelativeAnsi
        | Platform::AbsoluteAnsi
        | Platform::RelativeUnicode
        | Platform::AbsoluteUnicode => {
            if cfg!(windows) {
                return Some(PathBuf::from(text));
            }
            let bytes = text.as_bytes();
            let drive = bytes.len() >= 2 && bytes[0].is_ascii_alphabetic() && bytes[1] == b':';
            if drive || text.starts_with("\\\\") {
                return None;
            }
            let slashed = text.replace('\\', "/");
            Some(PathBuf::from(slashed.strip_prefix("./").unwrap_or(&slashed)))
        }
        _ => None,
    }
}

fn percent_decode(s: &str) -> Option<String> {
    let mut out = Vec::with_capacity(s.len());
    let mut bytes = s.bytes();
    while let Some(b) = bytes.next() {
        if b == b'%' {
            let hex = [bytes.next()?, bytes.next()?];
            // The parser of numbers would take a sign as well.
            if !hex.iter().all(u8::is_ascii_hexdigit) {
                return None;
            }
            out.push(u8::from_str_radix(std::str::from_utf8(&hex).ok()?, 16).ok()?);
        } else {
            out.push(b);
        }
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths() {
        assert_eq!(relative_windows(Path::new("/a/b"), Path::new("/a/b/p.vhd")).unwrap(), ".\\p.vhd");
        assert_eq!(
            relative_windows(Path::new("/a/b"), Path::new("/a/c/d/p.vhd")).unwrap(),
            "..\\c\\d\\p.vhd"
        );
        let p = to_host_path(Platform::RelativeUnicode, "..\\c\\p.vhd").unwrap();
        assert_eq!(p, Path::new("../c/p.vhd"));
        assert_eq!(to_host_path(Platform::RelativeUnicode, ".\\p.vhd").unwrap(), Path::new("p.vhd"));
        #[cfg(unix)]
        assert_eq!(to_host_path(Platform::AbsoluteUnicode, "C:\\x\\p.vhd"), None);
        let url = file_url(Path::new("/a b/p\u{e4}.vhd"));
        assert_eq!(to_host_path(Platform::MacUrl, &url).unwrap(), Path::new("/a b/p\u{e4}.vhd"));
        assert_eq!(to_host_path(Platform::MacUrl, "file://server/x"), None);
        assert_eq!(to_host_path(Platform::MacUrl, "file:///x%zz"), None);
        assert_eq!(to_host_path(Platform::MacUrl, "file:///x%+f"), None);
    }

    #[test]
    fn space_in_sectors_or_bytes() {
        let l = Locator { data_space: 1, data_length: 10, ..Locator::NONE };
        assert_eq!(l.space(), 512);
        let l = Locator { data_space: 4096, data_length: 10, ..Locator::NONE };
        assert_eq!(l.space(), 4096);
    }
}
