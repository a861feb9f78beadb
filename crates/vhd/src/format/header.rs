use zerocopy::big_endian::{U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::locator::{LOCATORS, Locator, Platform};
use super::{DiskId, checksum};
use crate::error::ErrorKind;

/// Bytes of a dynamic header.
pub const HEADER_LEN: usize = 1024;
const COOKIE: [u8; 8] = *b"cxsparse";
const VERSION: u32 = 0x0001_0000;
const CHECKSUM_AT: usize = 36;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct RawLocator {
    code: U32,
    data_space: U32,
    data_length: U32,
    reserved: U32,
    offset: U64,
}

#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    cookie: [u8; 8],
    data_offset: U64,
    table_offset: U64,
    version: U32,
    max_table_entries: U32,
    block_size: U32,
    checksum: U32,
    parent_id: [u8; 16],
    parent_time_stamp: U32,
    reserved: U32,
    parent_name: [u8; 512],
    locators: [RawLocator; LOCATORS],
    reserved2: [u8; 256],
}

/// The dynamic disk header, with what a differencing disk knows of its parent.
#[derive(Clone)]
pub struct Header {
    raw: Raw,
}

impl PartialEq for Header {
    fn eq(&self, other: &Self) -> bool {
        self.raw.as_bytes() == other.raw.as_bytes()
    }
}

impl Eq for Header {}

impl std::fmt::Debug for Header {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Header")
            .field("table_offset", &self.table_offset())
            .field("max_table_entries", &self.max_table_entries())
            .field("block_size", &self.block_size())
            .field("parent_id", &self.parent_id())
            .field("parent_name", &self.parent_name())
            .finish_non_exhaustive()
    }
}

impl Header {
    /// A header without a parent.
    pub fn new(table_offset: u64, max_table_entries: u32, block_size: u32) -> Self {
        let none = RawLocator {
            code: U32::new(0),
            data_space: U32::new(0),
            data_length: U32::new(0),
            reserved: U32::new(0),
            offset: U64::new(0),
        };
        Self {
            raw: Raw {
                cookie: COOKIE,
                data_offset: U64::new(u64::MAX),
                table_offset: U64::new(table_offset),
                version: U32::new(VERSION),
                max_table_entries: U32::new(max_table_entries),
                block_size: U32::new(block_size),
                checksum: U32::new(0),
                parent_id: [0; 16],
                parent_time_stamp: U32::new(0),
                reserved: U32::new(0),
                parent_name: [0; 512],
                locators: [none; LOCATORS],
                reserved2: [0; 256],
            },
        }
    }

    /// Reads a header found at byte `offset` and checks cookie, checksum, version and block size.
    ///
    /// # Errors
    /// [`ErrorKind::NoHeader`], [`ErrorKind::HeaderChecksum`], [`ErrorKind::UnsupportedVersion`], [`ErrorKind::InvalidBlockSize`].
    pub fn parse(bytes: &[u8; HEADER_LEN], offset: u64) -> Result<Self, ErrorKind> {
        let h = Self::parse_unverified(bytes, offset)?;
        let (stored, computed) = h.checksums();
        if stored != computed {
            return Err(ErrorKind::HeaderChecksum { stored, computed });
        }
        Ok(h)
    }

    /// As [`Header::parse`] but accepts a wrong checksum.
    ///
    /// # Errors
    /// [`ErrorKind::NoHeader`], [`ErrorKind::UnsupportedVersion`], [`ErrorKind::InvalidBlockSize`].
    pub fn parse_unverified(bytes: &[u8; HEADER_LEN], offset: u64) -> Result<Self, ErrorKind> {
        let raw = Raw::read_from_bytes(&bytes[..]).map_err(|_| ErrorKind::NoHeader { offset })?;
        if raw.cookie != COOKIE {
            return Err(ErrorKind::NoHeader { offset });
        }
        let version = raw.version.get();
        if version >> 16 != VERSION >> 16 {
            return Err(ErrorKind::UnsupportedVersion { what: "the dynamic header", version });
        }
        check_block_size(raw.block_size.get())?;
        Ok(Self { raw })
    }

    /// The 1024 bytes, with the right checksum.
    pub fn to_bytes(&self) -> [u8; HEADER_LEN] {
        let mut raw = self.raw.clone();
        raw.checksum = U32::new(checksum(raw.as_bytes(), CHECKSUM_AT));
        let mut out = [0u8; HEADER_LEN];
        out.copy_from_slice(raw.as_bytes());
        out
    }

    /// The checksum in the file and the one its bytes give.
    pub fn checksums(&self) -> (u32, u32) {
        (self.raw.checksum.get(), checksum(self.raw.as_bytes(), CHECKSUM_AT))
    }

    /// Absolute byte offset of the block allocation table.
    pub fn table_offset(&self) -> u64 {
        self.raw.table_offset.get()
    }

    /// Entries of the table.
    pub fn max_table_entries(&self) -> u32 {
        self.raw.max_table_entries.get()
    }

    /// Bytes of data in a block.
    pub fn block_size(&self) -> u32 {
        self.raw.block_size.get()
    }

    /// The next header in a chain of unknown ones; all ones in every image known.
    pub fn next_header(&self) -> u64 {
        self.raw.data_offset.get()
    }

    /// The parent's id.
    pub fn parent_id(&self) -> DiskId {
        DiskId(self.raw.parent_id)
    }

    /// The parent file's modification time when the child was made, in seconds since 2000; 0 if the creator left it out.
    pub fn parent_time_stamp(&self) -> u32 {
        self.raw.parent_time_stamp.get()
    }

    /// The parent's name or path, UTF-16BE in the file; lone surrogates come out as U+FFFD.
    pub fn parent_name(&self) -> String {
        let units = self
            .raw
            .parent_name
            .chunks_exact(2)
            .map(|c| u16::from_be_bytes([c[0], c[1]]))
            .take_while(|u| *u != 0);
        char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
    }

    /// The eight locator entries as they are.
    pub fn locators(&self) -> [Locator; LOCATORS] {
        self.raw.locators.map(|l| Locator {
            platform: Platform::from_code(l.code.get()),
            data_space: l.data_space.get(),
            data_length: l.data_length.get(),
            offset: l.offset.get(),
        })
    }

    /// Sets where the table is and how many entries it has.
    pub fn set_table(&mut self, offset: u64, entries: u32) {
        self.raw.table_offset = U64::new(offset);
        self.raw.max_table_entries = U32::new(entries);
    }

    /// Sets what is known of the parent. A name longer than 255 UTF-16 units is cut at its end.
    pub fn set_parent(&mut self, id: DiskId, stamp: u32, name: &str) {
        self.raw.parent_id = id.0;
        self.raw.parent_time_stamp = U32::new(stamp);
        self.raw.parent_name = [0; 512];
        for (slot, unit) in self.raw.parent_name.chunks_exact_mut(2).take(255).zip(name.encode_utf16()) {
            slot.copy_from_slice(&unit.to_be_bytes());
        }
    }

    /// Sets the parent's modification time.
    pub fn set_parent_time_stamp(&mut self, stamp: u32) {
        self.raw.parent_time_stamp = U32::new(stamp);
    }

    /// Sets locator entry `index` (0 to 7; others are ignored).
    pub fn set_locator(&mut self, index: usize, locator: Locator) {
        if let Some(slot) = self.raw.locators.get_mut(index) {
            *slot = RawLocator {
                code: U32::new(locator.platform.code()),
                data_space: U32::new(locator.data_space),
                data_length: U32::new(locator.data_length),
                reserved: U32::new(0),
                offset: U64::new(locator.offset),
            };
        }
    }
}

pub(crate) fn check_block_size(size: u32) -> Result<(), ErrorKind> {
    if size.is_power_of_two() && (512..=256 << 20).contains(&size) {
        Ok(())
    } else {
        Err(ErrorKind::InvalidBlockSize(size))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip() {
        let mut h = Header::new(1536, 20, 2 << 20);
        h.set_parent(DiskId([3; 16]), 5, "p\u{e4}rent.vhd");
        h.set_locator(
            6,
            Locator { platform: Platform::RelativeUnicode, data_space: 512, data_length: 24, offset: 4096 },
        );
        let b = h.to_bytes();
        let g = Header::parse(&b, 512).unwrap();
        assert_eq!(g.to_bytes(), b);
        assert_eq!(g.parent_name(), "p\u{e4}rent.vhd");
        assert_eq!(g.locators()[6].data_length, 24);
        assert_eq!(b.len(), std::mem::size_of::<Raw>());
    }

    #[test]
    fn long_names_and_lone_surrogates() {
        let mut h = Header::new(1536, 20, 512);
        h.set_parent(DiskId::NIL, 0, &"x".repeat(400));
        assert_eq!(h.parent_name().len(), 255);
        h.raw.parent_name[0] = 0xD8;
        assert!(h.parent_name().starts_with('\u{FFFD}'));
    }
}
