//! What is plugged into a channel: the wiring of a drive, its identity and its medium. Nothing here changes while the machine runs,
//! but for the CD drive's medium.

use slotone_block::{Geometry, MediumInfo, SECTOR};
use slotone_scsi::{CdConfig as TargetConfig, CdRom, Identity};

/// The largest number of sectors a 28-bit address reaches.
pub const LBA28_SECTORS: u32 = 0x0fff_ffff;

/// The largest disk of the original product: 65,535 cylinders, 16 heads, 255 sectors ("127 GB").
pub const VIRTUAL_SERVER_SECTORS: u32 = 65_535 * 16 * 255;

/// A hard disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// The medium.
    pub info: MediumInfo,
    /// Model number in IDENTIFY DEVICE, up to 40 ASCII characters.
    pub model: String,
    /// Serial number, up to 20 ASCII characters.
    pub serial: String,
    /// Firmware revision, up to 8 ASCII characters.
    pub firmware: String,
    /// Default translation. `None`: the medium's own geometry if ATA can express it, else 16 heads and 63 sectors.
    pub geometry: Option<Geometry>,
    /// Sectors beyond this number are cut off; at most [`LBA28_SECTORS`].
    pub sector_limit: u32,
}

impl DiskConfig {
    /// A "Virtual HD" on the medium described by `info`.
    pub fn new(info: MediumInfo) -> Self {
        Self {
            info,
            model: "Virtual HD".to_string(),
            serial: String::new(),
            firmware: "1.1".to_string(),
            geometry: None,
            sector_limit: VIRTUAL_SERVER_SECTORS,
        }
    }
}

/// A CD/DVD-ROM drive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdConfig {
    /// The medium in the tray at power-on.
    pub medium: Option<MediumInfo>,
    /// Model number in IDENTIFY PACKET DEVICE, up to 40 ASCII characters.
    pub model: String,
    /// Serial number, up to 20 ASCII characters.
    pub serial: String,
    /// Firmware revision, up to 8 ASCII characters.
    pub firmware: String,
    /// What the drive answers to INQUIRY.
    pub inquiry: Identity,
}

impl Default for CdConfig {
    fn default() -> Self {
        Self {
            medium: None,
            model: "Virtual CD".to_string(),
            serial: String::new(),
            firmware: "1.0".to_string(),
            inquiry: Identity::CD,
        }
    }
}

/// A drive to plug in.
#[derive(Debug, Clone)]
pub struct Drive(pub(crate) Kind);

#[derive(Debug, Clone)]
pub(crate) enum Kind {
    Disk(Disk),
    Cd(Box<Cd>),
}

#[derive(Debug, Clone)]
pub(crate) struct Disk {
    pub(crate) sectors: u32,
    pub(crate) geometry: Geometry,
    pub(crate) read_only: bool,
    pub(crate) identity: Strings,
}

#[derive(Debug, Clone)]
pub(crate) struct Cd {
    pub(crate) target: CdRom,
    pub(crate) identity: Strings,
}

#[derive(Debug, Clone)]
pub(crate) struct Strings {
    pub(crate) model: String,
    pub(crate) serial: String,
    pub(crate) firmware: String,
}

impl Drive {
    /// An ATA disk.
    pub fn disk(config: DiskConfig) -> Self {
        let limit = config.sector_limit.min(LBA28_SECTORS);
        let sectors = u32::try_from(config.info.capacity / SECTOR).unwrap_or(u32::MAX).min(limit);
        let geometry = config
            .geometry
            .or(config.info.geometry)
            .filter(|g| (1..=16).contains(&g.heads) && (1..=63).contains(&g.sectors) && g.cylinders > 0)
            .map_or_else(
                || {
                    let cylinders = (sectors / (16 * 63)).clamp(1, 16_383) as u16;
                    Geometry { cylinders, heads: 16, sectors: 63 }
                },
                |g| Geometry { cylinders: g.cylinders.min(16_383), ..g },
            );
        let identity = Strings { model: config.model, serial: config.serial, firmware: config.firmware };
        Self(Kind::Disk(Disk { sectors, geometry, read_only: config.info.read_only, identity }))
    }

    /// An ATAPI CD/DVD-ROM drive.
    pub fn cdrom(config: CdConfig) -> Self {
        let mut target =
            CdRom::with_config(TargetConfig { identity: config.inquiry, ..TargetConfig::default() });
        if let Some(medium) = &config.medium {
            target.insert(medium.capacity);
        }
        let identity = Strings { model: config.model, serial: config.serial, firmware: config.firmware };
        Self(Kind::Cd(Box::new(Cd { target, identity })))
    }
}
