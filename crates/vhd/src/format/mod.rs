//! The bytes of the format ("Virtual Hard Disk Image Format Specification", version 1.0, 2006): pure parsing and printing.
//!
//! All integers are big-endian. Structures keep the bytes they do not know, so that a rewritten header differs only where it was
//! changed.

mod footer;
mod geometry;
mod header;
mod id;
mod locator;

pub(crate) use footer::check_size;
pub use footer::{DiskKind, FOOTER_LEN, Footer};
pub use geometry::{CHS_MAX_SECTORS, chs_exact_size, geometry_for};
pub(crate) use header::check_block_size;
pub use header::{HEADER_LEN, Header};
pub use id::{DiskId, ParseIdError};
pub use locator::{LOCATORS, Locator, Platform, file_url, relative_windows, to_host_path};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes of a sector, always.
pub const SECTOR: u64 = 512;
/// A BAT entry of a block that is not in the file.
pub const UNALLOCATED: u32 = 0xFFFF_FFFF;
/// The largest dynamic or differencing disk: 2040 GiB.
pub const MAX_DYNAMIC_SIZE: u64 = 2040 << 30;
/// Block size of new images, and the one that Microsoft's products expect: 2 MiB.
pub const DEFAULT_BLOCK_SIZE: u32 = 2 << 20;

/// 2000-01-01 00:00:00 UTC in Unix time.
const EPOCH: u64 = 946_684_800;

/// A time as the format stores it: seconds since 2000-01-01 00:00:00 UTC; saturates at both ends.
pub fn stamp_of(time: SystemTime) -> u32 {
    let unix = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs();
    u32::try_from(unix.saturating_sub(EPOCH)).unwrap_or(u32::MAX)
}

/// The time of a stamp of the format.
pub fn time_of(stamp: u32) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(EPOCH + u64::from(stamp))
}

/// The format's checksum: the complement of the sum of all bytes, with the four bytes at `skip` counted as zero.
pub fn checksum(bytes: &[u8], skip: usize) -> u32 {
    let mut sum = 0u32;
    for (i, b) in bytes.iter().enumerate() {
        if !(skip..skip + 4).contains(&i) {
            sum = sum.wrapping_add(u32::from(*b));
        }
    }
    !sum
}
