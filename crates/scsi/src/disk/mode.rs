//! Mode parameters (SPC-2, 8.3; SBC-2, 6.3; pages 3 and 4 as SCSI-2 had them).

use slotone_block::Geometry;

use super::Disk;
use crate::modes::{self, Page, Select};
use crate::nexus::Attention;
use crate::{Access, Command, Reply, Sense, Version};

/// WCE in byte 2 of page 8, and SWP in byte 4 of page 0Ah.
const WCE: u8 = 0x04;
const SWP: u8 = 0x08;

impl Disk {
    fn geometry(&self) -> Geometry {
        let blocks = self.blocks();
        match self.config.geometry {
            Some(geometry) if geometry.heads != 0 && geometry.sectors != 0 => geometry,
            _ => {
                // 1,024 cylinders of 64 heads and 32 sectors are 1 GiB.
                let (heads, sectors) = if blocks <= 1 << 21 { (64, 32) } else { (255, 63) };
                Geometry { cylinders: 0, heads, sectors }
            }
        }
    }

    fn pages(&self) -> Vec<Page> {
        let geometry = self.geometry();
        // Of the whole medium: a header's field may be too narrow for it.
        let cylinders = self.blocks() / (u64::from(geometry.heads) * u64::from(geometry.sectors));
        let cylinders = cylinders.clamp(1, 0xff_ffff) as u32;

        let mut format = [0; 22];
        format[8..10].copy_from_slice(&u16::from(geometry.sectors).to_be_bytes());
        format[10..12].copy_from_slice(&(self.block() as u16).to_be_bytes());
        format[12..14].copy_from_slice(&1u16.to_be_bytes()); // interleave
        format[18] = 0x40; // hard sectors

        let mut rigid = [0; 22];
        rigid[..3].copy_from_slice(&cylinders.to_be_bytes()[1..]);
        rigid[3] = geometry.heads;
        rigid[18..20].copy_from_slice(&7200u16.to_be_bytes());

        let mut caching = [0; 18];
        caching[0] = if self.state.write_cache { WCE } else { 0 };

        let mut control = [0; 10];
        control[1] = 0x10; // queued commands may be reordered
        control[2] = if self.state.write_protect { SWP } else { 0 };

        let mut exceptions = [0; 10];
        exceptions[0] = 0x08; // DEXCPT: none are reported

        vec![
            Page::fixed(0x01, &[0; 10]),
            Page::fixed(0x02, &[0; 14]),
            Page::fixed(0x03, &format),
            Page::fixed(0x04, &rigid),
            Page::new(0x08, &caching, &[(0, WCE)]),
            Page::new(0x0a, &control, &[(2, SWP)]),
            Page::fixed(0x1c, &exceptions),
        ]
    }

    /// Number of blocks in a short block descriptor: SCSI-2 has 24 bits for it.
    fn short_blocks(&self) -> u32 {
        let most = if self.config.version == Version::Scsi2 { 0xff_ffff } else { u32::MAX };
        u32::try_from(self.blocks()).unwrap_or(most).min(most)
    }

    pub(super) fn mode_sense(&self, command: &Command) -> Result<Reply, Sense> {
        // Write protection, and that DPO and FUA are known.
        let device = u8::from(self.write_protected()) << 7 | 0x10;
        let short = modes::short_descriptor(0, self.short_blocks(), self.block() as u32);
        let long = modes::long_descriptor(self.blocks(), self.block() as u32);
        modes::sense(command, 0, device, Some((short, long)), self.pages(), self.default_pages())
    }

    fn default_pages(&self) -> Vec<Page> {
        let mut fresh = self.clone();
        fresh.state.write_cache = self.config.write_cache;
        fresh.state.write_protect = false;
        fresh.pages()
    }

    pub(super) fn mode_select(&self, command: &Command) -> Result<Reply, Sense> {
        modes::select(command)
    }

    pub(super) fn mode_parameters(&mut self, command: &Command, data: &[u8]) -> Result<Reply, Sense> {
        let Select { header, descriptor, pages } = modes::parse(command, data, self.pages())?;
        if let Some((blocks, len)) = descriptor {
            let same = blocks == self.blocks()
                || blocks == u64::from(self.short_blocks())
                || blocks == u64::from(u32::MAX)
                || blocks == 0;
            if u64::from(len) != self.block() || !same {
                return Err(Sense::INVALID_PARAMETER.at(header));
            }
        }
        let before = (self.state.write_cache, self.state.write_protect);
        for page in &pages {
            match page.code {
                0x08 => self.state.write_cache = page.content[0] & WCE != 0,
                0x0a => self.state.write_protect = page.content[2] & SWP != 0,
                _ => {}
            }
        }
        if before != (self.state.write_cache, self.state.write_protect) {
            self.state.unit.nexuses.raise_for_others(command.initiator, Attention::ModeChanged);
        }
        // What the cache held must be on the medium when there is none any more.
        let cache_ended = before.0 && !self.state.write_cache;
        Ok(if cache_ended { Reply::Medium(Access::Flush) } else { Reply::Good })
    }
}
