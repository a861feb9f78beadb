//! What a target says about itself: INQUIRY and its vital product data (SPC-2, 7.3 and 8.4), alike for every kind of unit.

use crate::{Command, Reply, Sense, SpiFlags, Version};

/// Names in INQUIRY: ASCII, left-aligned, filled up with spaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// T10 vendor identification.
    pub vendor: [u8; 8],
    /// Product identification.
    pub product: [u8; 16],
    /// Product revision level.
    pub revision: [u8; 4],
}

impl Identity {
    /// Names of the disk: those of Hyper-V's disks. What Virtual Server 2005 said is not confirmed by any public source.
    pub const DISK: Self = Self { vendor: *b"Msft    ", product: *b"Virtual Disk    ", revision: *b"1.0 " };
    /// Names of the CD drive.
    pub const CD: Self = Self { vendor: *b"MS      ", product: *b"Virtual CD      ", revision: *b"1.0 " };
}

/// One unit's answers to INQUIRY.
pub(crate) struct Inquiry<'a> {
    pub(crate) device_type: u8,
    pub(crate) removable: bool,
    pub(crate) version: Version,
    /// Response data format and flags: byte 3.
    pub(crate) format: u8,
    pub(crate) spi: SpiFlags,
    pub(crate) identity: &'a Identity,
    pub(crate) serial: &'a str,
    /// Further vital product data pages: page code and content, in ascending order.
    pub(crate) pages: &'a [(u8, Vec<u8>)],
}

impl Inquiry<'_> {
    pub(crate) fn answer(&self, command: &Command) -> Result<Reply, Sense> {
        let cdb = &command.cdb;
        let data = match (cdb[1] & 3, cdb[2]) {
            (0, 0) => self.standard(),
            (1, page) => self.vital_product_data(page)?,
            _ => return Err(Sense::INVALID_FIELD.at(if cdb[1] & 2 != 0 { 1 } else { 2 })),
        };
        Ok(Reply::data_in(data, usize::from(command.u16(3))))
    }

    fn standard(&self) -> Vec<u8> {
        let mut data = vec![self.device_type, u8::from(self.removable) << 7];
        data.extend([self.version.code(), self.format, 31, 0, 0]);
        data.push(
            u8::from(self.spi.wide) << 5 | u8::from(self.spi.sync) << 4 | u8::from(self.spi.queueing) << 1,
        );
        data.extend(self.identity.vendor);
        data.extend(self.identity.product);
        data.extend(self.identity.revision);
        if self.version == Version::Spc3 {
            data.resize(58, 0);
            // Version descriptors: SAM-2, SPC-3, then SBC-2 or MMC-3.
            let commands: u16 = if self.device_type == 5 { 0x02a0 } else { 0x0320 };
            for standard in [0x0040, 0x0300, commands] {
                data.extend(standard.to_be_bytes());
            }
            data.resize(74, 0);
            data[4] = (data.len() - 5) as u8;
        }
        data
    }

    /// The serial number's page is there only when there is one: an empty one would not tell two drives apart. Identification SPC-3 demands of
    /// every unit (7.6.1), so that without a serial number it is the names alone; a unit that claims less leaves it out.
    fn vital_product_data(&self, page: u8) -> Result<Vec<u8>, Sense> {
        let serial = &self.serial.as_bytes()[..self.serial.len().min(64)];
        let numbered = !serial.is_empty();
        let identified = numbered || self.version == Version::Spc3;
        let content = match page {
            0x00 => {
                let mut codes = vec![0x00];
                codes.extend(numbered.then_some(0x80));
                codes.extend(identified.then_some(0x83));
                codes.extend(self.pages.iter().map(|(code, _)| code));
                codes
            }
            0x80 if numbered => serial.to_vec(),
            0x83 if identified => {
                // ASCII, about the logical unit, T10 vendor identification: vendor, product, serial number (SPC-3, 7.6.3.4).
                let id = [&self.identity.vendor[..], &self.identity.product, serial].concat();
                [&[0x02, 0x01, 0, id.len() as u8][..], &id].concat()
            }
            page => {
                let found = self.pages.iter().find(|(code, _)| *code == page);
                found.ok_or(Sense::INVALID_FIELD.at(2))?.1.clone()
            }
        };
        let [high, low] = (content.len() as u16).to_be_bytes();
        Ok([&[self.device_type, page, high, low][..], &content].concat())
    }
}
