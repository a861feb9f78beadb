use slotone_block::Geometry;
use zerocopy::big_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use super::{DiskId, SECTOR, checksum, geometry_for};
use crate::error::ErrorKind;

/// Bytes of a footer.
pub const FOOTER_LEN: usize = 512;
const COOKIE: [u8; 8] = *b"conectix";
const POISON: [u8; 8] = *b"v_poison";
const VERSION: u32 = 0x0001_0000;
const CHECKSUM_AT: usize = 64;
const HIDDEN_AT: usize = 85;

/// Kind of disk (footer field "disk type").
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DiskKind {
    /// 2: all sectors, then the footer.
    Fixed,
    /// 3: blocks as they are written.
    Dynamic,
    /// 4: what differs from a parent.
    Differencing,
}

impl DiskKind {
    /// The footer's number for it.
    pub const fn code(self) -> u32 {
        match self {
            Self::Fixed => 2,
            Self::Dynamic => 3,
            Self::Differencing => 4,
        }
    }

    /// Its name in lower case.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Dynamic => "dynamic",
            Self::Differencing => "differencing",
        }
    }
}

#[derive(Clone, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    cookie: [u8; 8],
    features: U32,
    version: U32,
    data_offset: U64,
    time_stamp: U32,
    creator_application: [u8; 4],
    creator_version: U32,
    creator_host_os: [u8; 4],
    original_size: U64,
    current_size: U64,
    cylinders: U16,
    heads: u8,
    sectors: u8,
    disk_type: U32,
    checksum: U32,
    unique_id: [u8; 16],
    saved_state: u8,
    reserved: [u8; 427],
}

/// The footer: the last 512 bytes of every image, with a copy in front of dynamic and differencing ones.
#[derive(Clone)]
pub struct Footer {
    raw: Raw,
}

impl PartialEq for Footer {
    fn eq(&self, other: &Self) -> bool {
        self.raw.as_bytes() == other.raw.as_bytes()
    }
}

impl Eq for Footer {}

impl std::fmt::Debug for Footer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Footer")
            .field("disk_type", &self.raw.disk_type.get())
            .field("current_size", &self.current_size())
            .field("geometry", &self.geometry())
            .field("id", &self.id())
            .field("creator", &self.creator())
            .finish_non_exhaustive()
    }
}

impl Footer {
    /// A footer for a new disk. `stamp` is in seconds since 2000 (see [`super::stamp_of`]).
    pub fn new(kind: DiskKind, size: u64, id: DiskId, stamp: u32) -> Self {
        let g = geometry_for(size);
        let data_offset = if kind == DiskKind::Fixed { u64::MAX } else { FOOTER_LEN as u64 };
        Self {
            raw: Raw {
                cookie: COOKIE,
                features: U32::new(2),
                version: U32::new(VERSION),
                data_offset: U64::new(data_offset),
                time_stamp: U32::new(stamp),
                // Readers decide by the creator which of the two sizes counts; with this one all of them take `current_size`.
                creator_application: *b"win ",
                creator_version: U32::new(0x000A_0000),
                creator_host_os: *b"Wi2k",
                original_size: U64::new(size),
                current_size: U64::new(size),
                cylinders: U16::new(g.cylinders),
                heads: g.heads,
                sectors: g.sectors,
                disk_type: U32::new(kind.code()),
                checksum: U32::new(0),
                unique_id: id.0,
                saved_state: 0,
                reserved: [0; 427],
            },
        }
    }

    /// Whether these bytes begin with the cookie of a footer.
    pub fn has_cookie(bytes: &[u8]) -> bool {
        bytes.starts_with(&COOKIE)
    }

    /// Reads a footer and checks what makes it one: cookie, checksum, version. A missing 512th byte (images older than Virtual PC
    /// 2004) is to be given as zero.
    ///
    /// # Errors
    /// [`ErrorKind::NotVhd`], [`ErrorKind::Poisoned`], [`ErrorKind::FooterChecksum`], [`ErrorKind::UnsupportedVersion`].
    pub fn parse(bytes: &[u8; FOOTER_LEN]) -> Result<Self, ErrorKind> {
        let footer = Self::parse_unverified(bytes)?;
        let (stored, computed) = footer.checksums();
        if stored != computed {
            // Early XenServer set the "hidden" byte without doing the checksum again.
            let mut without = *bytes;
            without[HIDDEN_AT] = 0;
            if checksum(&without, CHECKSUM_AT) != stored {
                return Err(ErrorKind::FooterChecksum { stored, computed });
            }
        }
        Ok(footer)
    }

    /// As [`Footer::parse`] but accepts a wrong checksum, for looking at damaged images.
    ///
    /// # Errors
    /// [`ErrorKind::NotVhd`], [`ErrorKind::Poisoned`], [`ErrorKind::UnsupportedVersion`].
    pub fn parse_unverified(bytes: &[u8; FOOTER_LEN]) -> Result<Self, ErrorKind> {
        if bytes.starts_with(&POISON) {
            return Err(ErrorKind::Poisoned);
        }
        if !Self::has_cookie(bytes) {
            return Err(ErrorKind::NotVhd);
        }
        let raw = Raw::read_from_bytes(&bytes[..]).map_err(|_| ErrorKind::NotVhd)?;
        let version = raw.version.get();
        if version >> 16 != VERSION >> 16 {
            return Err(ErrorKind::UnsupportedVersion { what: "the footer", version });
        }
        Ok(Self { raw })
    }

    /// The 512 bytes, with the right checksum.
    pub fn to_bytes(&self) -> [u8; FOOTER_LEN] {
        let mut raw = self.raw.clone();
        raw.checksum = U32::new(checksum(raw.as_bytes(), CHECKSUM_AT));
        let mut out = [0u8; FOOTER_LEN];
        out.copy_from_slice(raw.as_bytes());
        out
    }

    /// The checksum in the file and the one its bytes give.
    pub fn checksums(&self) -> (u32, u32) {
        (self.raw.checksum.get(), checksum(self.raw.as_bytes(), CHECKSUM_AT))
    }

    /// Kind of disk.
    ///
    /// # Errors
    /// [`ErrorKind::UnsupportedType`] for 0 and the reserved types 1, 5, 6 and all others.
    pub fn kind(&self) -> Result<DiskKind, ErrorKind> {
        match self.raw.disk_type.get() {
            2 => Ok(DiskKind::Fixed),
            3 => Ok(DiskKind::Dynamic),
            4 => Ok(DiskKind::Differencing),
            n => Err(ErrorKind::UnsupportedType(n)),
        }
    }

    /// The footer's number for the kind, whatever it is.
    pub fn disk_type_code(&self) -> u32 {
        self.raw.disk_type.get()
    }

    /// Checks the size against the kind's limits.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidSize`].
    pub fn checked_size(&self) -> Result<u64, ErrorKind> {
        let size = self.current_size();
        check_size(self.kind()?, size)?;
        Ok(size)
    }

    /// Absolute byte offset of the dynamic header; all ones in a fixed disk.
    pub fn data_offset(&self) -> u64 {
        self.raw.data_offset.get()
    }

    /// Seconds since 2000 at which the image was made.
    pub fn time_stamp(&self) -> u32 {
        self.raw.time_stamp.get()
    }

    /// The creator application, four bytes.
    pub fn creator(&self) -> [u8; 4] {
        self.raw.creator_application
    }

    /// Version of the creator, major and minor.
    pub fn creator_version(&self) -> (u16, u16) {
        let v = self.raw.creator_version.get();
        ((v >> 16) as u16, v as u16)
    }

    /// The creator's operating system, `Wi2k` or `Mac `.
    pub fn creator_host_os(&self) -> [u8; 4] {
        self.raw.creator_host_os
    }

    /// Size in bytes when the image was made; for people only.
    pub fn original_size(&self) -> u64 {
        self.raw.original_size.get()
    }

    /// Size in bytes.
    pub fn current_size(&self) -> u64 {
        self.raw.current_size.get()
    }

    /// Geometry.
    pub fn geometry(&self) -> Geometry {
        Geometry { cylinders: self.raw.cylinders.get(), heads: self.raw.heads, sectors: self.raw.sectors }
    }

    /// The disk's id.
    pub fn id(&self) -> DiskId {
        DiskId(self.raw.unique_id)
    }

    /// The image belongs to a machine in saved state.
    pub fn saved_state(&self) -> bool {
        self.raw.saved_state == 1
    }

    /// Feature bit 0: a candidate for deletion on shutdown, as undo disks are.
    pub fn temporary(&self) -> bool {
        self.raw.features.get() & 1 != 0
    }

    /// Sets [`Footer::temporary`].
    pub fn set_temporary(&mut self, on: bool) {
        let f = self.raw.features.get() & !1;
        self.raw.features = U32::new(f | u32::from(on));
    }

    /// Sets [`Footer::saved_state`].
    pub fn set_saved_state(&mut self, on: bool) {
        self.raw.saved_state = u8::from(on);
    }

    /// Sets the disk's id.
    pub fn set_id(&mut self, id: DiskId) {
        self.raw.unique_id = id.0;
    }

    /// Sets the creator application and its version.
    pub fn set_creator(&mut self, application: [u8; 4], version: u32) {
        self.raw.creator_application = application;
        self.raw.creator_version = U32::new(version);
    }

    /// Sets the size and the geometry that goes with it.
    pub fn set_size(&mut self, size: u64) {
        let g = geometry_for(size);
        self.raw.current_size = U64::new(size);
        self.raw.cylinders = U16::new(g.cylinders);
        self.raw.heads = g.heads;
        self.raw.sectors = g.sectors;
    }

    /// Sets the byte offset of the dynamic header.
    pub fn set_data_offset(&mut self, offset: u64) {
        self.raw.data_offset = U64::new(offset);
    }

    /// By the rule most readers follow: a Virtual PC or qemu image is as large as its geometry says, unless that is the
    /// largest one, all others as `current_size` says.
    pub fn size_by_creator(&self) -> u64 {
        let chs = self.geometry().total_sectors();
        if matches!(&self.creator(), b"vpc " | b"vs  " | b"qemu") && chs != super::CHS_MAX_SECTORS && chs != 0
        {
            chs * SECTOR
        } else {
            self.current_size()
        }
    }
}

pub(crate) fn check_size(kind: DiskKind, size: u64) -> Result<(), ErrorKind> {
    if size == 0 {
        return Err(ErrorKind::InvalidSize { size, why: "a disk has at least one sector" });
    }
    if !size.is_multiple_of(SECTOR) {
        return Err(ErrorKind::InvalidSize { size, why: "not a multiple of 512" });
    }
    if kind != DiskKind::Fixed && size > super::MAX_DYNAMIC_SIZE {
        return Err(ErrorKind::InvalidSize {
            size,
            why: "over 2040 GiB, the limit of dynamic and differencing disks",
        });
    }
    if size > i64::MAX as u64 - (1 << 20) {
        return Err(ErrorKind::InvalidSize { size, why: "more than a file can hold" });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_and_unknown_bytes() {
        let mut f = Footer::new(DiskKind::Dynamic, 1 << 30, DiskId([7; 16]), 42);
        f.raw.reserved[300] = 9;
        let b = f.to_bytes();
        let g = Footer::parse(&b).unwrap();
        assert_eq!(g.to_bytes(), b);
        assert_eq!(g.raw.reserved[300], 9);
        assert_eq!(b.len(), std::mem::size_of::<Raw>());
    }

    #[test]
    fn hidden_byte_without_new_checksum() {
        let mut b = Footer::new(DiskKind::Fixed, 512, DiskId::NIL, 0).to_bytes();
        b[HIDDEN_AT] = 1;
        assert!(Footer::parse(&b).is_ok());
        b[86] = 1;
        assert!(matches!(Footer::parse(&b), Err(ErrorKind::FooterChecksum { .. })));
    }
}
