//! One drive's registers and settings.

use slotone_block::Geometry;
use slotone_bus::encode_fields;

use crate::drive::Kind;
use crate::registers::{device, error, status};

/// Power-on transfer mode: PIO without flow control.
pub(crate) const PIO_DEFAULT: u8 = 0;

/// A register two bytes deep: current and previous content (for reads with HOB).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Deep {
    pub(crate) now: u8,
    before: u8,
}
encode_fields!(Deep { now, before });

impl Deep {
    pub(crate) fn push(&mut self, value: u8) {
        self.before = self.now;
        self.now = value;
    }

    pub(crate) fn get(self, hob: bool) -> u8 {
        if hob { self.before } else { self.now }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct UnitState {
    // Command block registers.
    pub(crate) features: u8,
    pub(crate) error: u8,
    pub(crate) count: Deep,
    pub(crate) low: Deep,
    pub(crate) mid: Deep,
    pub(crate) high: Deep,
    pub(crate) status: u8,
    /// INTRQ is asserted by this drive (seen outside only while it is selected and nIEN is clear).
    pub(crate) intrq: bool,
    // Settings.
    /// Sectors of a DRQ block of READ/WRITE MULTIPLE; 0: not set, the commands are aborted.
    pub(crate) multiple: u8,
    /// SET FEATURES 03h: mode in the standard's coding (00h, 08h+n PIO, 20h+n multiword DMA, 40h+n Ultra DMA).
    pub(crate) transfer_mode: u8,
    /// Current translation, heads and sectors; 0 heads: none is valid.
    pub(crate) heads: u8,
    pub(crate) sectors: u8,
    pub(crate) write_cache: bool,
    pub(crate) look_ahead: bool,
    pub(crate) standby: bool,
    /// The drive's sector buffer (READ BUFFER, WRITE BUFFER); empty: never written.
    pub(crate) sector_buffer: Vec<u8>,
}
encode_fields!(UnitState {
    features,
    error,
    count,
    low,
    mid,
    high,
    status,
    intrq,
    multiple,
    transfer_mode,
    heads,
    sectors,
    write_cache,
    look_ahead,
    standby,
    sector_buffer
});

impl UnitState {
    /// A drive after power-on and its own diagnostics.
    pub(crate) fn new(kind: Option<&Kind>) -> Self {
        let (heads, sectors) = match kind {
            Some(Kind::Disk(disk)) => (disk.geometry.heads, disk.geometry.sectors),
            _ => (0, 0),
        };
        let mut this = Self {
            features: 0,
            error: 0,
            count: Deep::default(),
            low: Deep::default(),
            mid: Deep::default(),
            high: Deep::default(),
            status: 0,
            intrq: false,
            multiple: 0,
            transfer_mode: PIO_DEFAULT,
            heads,
            sectors,
            write_cache: true,
            look_ahead: true,
            standby: false,
            sector_buffer: Vec::new(),
        };
        this.signature(kind);
        this
    }

    /// Registers after a reset or diagnostic (ATA/ATAPI-5, 9.12).
    pub(crate) fn signature(&mut self, kind: Option<&Kind>) {
        self.intrq = false;
        let (mid, high, ready) = match kind {
            Some(Kind::Disk(_)) => (0, 0, status::DRDY | status::DSC),
            Some(Kind::Cd(_)) => (0x14, 0xeb, 0),
            None => (0, 0, 0),
        };
        self.error = if kind.is_some() { error::DIAGNOSTIC_PASSED } else { 0 };
        self.count.push(u8::from(kind.is_some()));
        self.low.push(u8::from(kind.is_some()));
        self.mid.push(mid);
        self.high.push(high);
        self.status = ready;
    }

    /// The current CHS translation over `total` sectors.
    pub(crate) fn translation(&self, total: u32) -> Option<Geometry> {
        let cylinder = u32::from(self.heads) * u32::from(self.sectors);
        if cylinder == 0 {
            return None;
        }
        let cylinders = (total / cylinder).min(65_535) as u16;
        Some(Geometry { cylinders, heads: self.heads, sectors: self.sectors })
    }

    /// The sector addressed by the registers; `None` if the translation has no such address.
    pub(crate) fn address(&self, device_register: u8) -> Option<u32> {
        let head = u32::from(device_register & 0x0f);
        if device_register & device::LBA != 0 {
            return Some(head << 24 | u32::from_be_bytes([0, self.high.now, self.mid.now, self.low.now]));
        }
        let cylinder = u32::from(self.high.now) << 8 | u32::from(self.mid.now);
        let sector = u32::from(self.low.now);
        let (heads, sectors) = (u32::from(self.heads), u32::from(self.sectors));
        if sector == 0 || sector > sectors || head >= heads {
            return None;
        }
        Some((cylinder * heads + head) * sectors + sector - 1)
    }

    /// Puts the address of `sector` into the registers, in the form the command used; returns the Device register.
    pub(crate) fn set_address(&mut self, device_register: u8, sector: u32) -> u8 {
        let (low, mid, high, head) = if device_register & device::LBA != 0 {
            let [top, high, mid, low] = sector.to_be_bytes();
            (low, mid, high, top & 0x0f)
        } else {
            let (heads, sectors) = (u32::from(self.heads).max(1), u32::from(self.sectors).max(1));
            let track = sector / sectors;
            let [.., high, mid] = (track / heads).to_be_bytes();
            ((sector % sectors + 1) as u8, mid, high, (track % heads) as u8)
        };
        self.low.push(low);
        self.mid.push(mid);
        self.high.push(high);
        device_register & 0xf0 | head & 0x0f
    }

    /// Sectors asked for: 0 stands for 256.
    pub(crate) fn sector_count(&self) -> u32 {
        match self.count.now {
            0 => 256,
            n => u32::from(n),
        }
    }
}
