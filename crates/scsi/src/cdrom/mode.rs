//! Mode pages (SPC-2, 8.3; MMC-3, 5.5).

use super::{CD_BLOCK, CD_MAX_BLOCKS, CdRom};
use crate::modes::{self, Page, Select};
use crate::nexus::Attention;
use crate::{Command, Reply, Sense};

/// Speed in kilobytes a second: 24 times 176.
const SPEED: u16 = 24 * 176;

/// What MODE SELECT can change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Modes {
    /// Page 01h: read retries. Nothing depends on them.
    retries: u8,
    /// Page 0Eh: channel selection and volume of the four output ports. There is no sound, but players set them.
    ports: [u8; 8],
}
slotone_bus::encode_fields!(Modes { retries, ports });

impl Default for Modes {
    /// Five retries; both channels at full volume.
    fn default() -> Self {
        Self { retries: 5, ports: [1, 0xff, 2, 0xff, 0, 0, 0, 0] }
    }
}

impl Modes {
    /// Page 01h, read error recovery: everything automatic.
    fn error_recovery(&self) -> Page {
        Page::new(0x01, &[0, self.retries, 0, 0, 0, 0, 0, 0, 0, 0], &[(1, 0xff)])
    }

    /// Page 0Eh, CD audio control: IMMED.
    fn audio_control(&self) -> Page {
        let mut p = [0; 14];
        p[0] = 0x04;
        p[6..].copy_from_slice(&self.ports);
        let bits = [6, 7, 8, 9, 10, 11, 12, 13].map(|at| (at, if at % 2 == 0 { 0x0f } else { 0xff }));
        Page::new(0x0e, &p, &bits)
    }
}

impl CdRom {
    pub(super) fn mode_sense(&self, command: &Command) -> Result<Reply, Sense> {
        // Medium type (SFF-8020, 9.8.5.1).
        let medium = match self.state.blocks {
            _ if self.state.tray_open => 0x71,
            None => 0x70,
            Some(blocks) if blocks <= CD_MAX_BLOCKS => 0x01,
            Some(_) => 0x00,
        };
        // ATAPI has no block descriptors.
        let blocks = self.state.blocks.unwrap_or(0);
        let descriptors = self.config.spi.map(|_| {
            (
                modes::short_descriptor(0, blocks.min(0xff_ffff), CD_BLOCK as u32),
                modes::long_descriptor(u64::from(blocks), CD_BLOCK as u32),
            )
        });
        let (now, fresh) = (self.pages(&self.state.modes), self.pages(&Modes::default()));
        modes::sense(command, medium, 0, descriptors, now, fresh)
    }

    pub(super) fn mode_parameters(&mut self, command: &Command, data: &[u8]) -> Result<Reply, Sense> {
        let Select { header, descriptor, pages } =
            modes::parse(command, data, self.pages(&self.state.modes))?;
        // Blocks of 2048 bytes are all there are; how many is the disc's business.
        if descriptor.is_some_and(|(_, len)| u64::from(len) != CD_BLOCK) {
            return Err(Sense::INVALID_PARAMETER.at(header));
        }
        let before = self.state.modes;
        for page in &pages {
            match page.code {
                0x01 => self.state.modes.retries = page.content[1],
                0x0e => self.state.modes.ports.copy_from_slice(&page.content[6..]),
                _ => {}
            }
        }
        if before != self.state.modes {
            self.state.unit.nexuses.raise_for_others(command.initiator, Attention::ModeChanged);
        }
        Ok(Reply::Good)
    }

    fn pages(&self, modes: &Modes) -> Vec<Page> {
        vec![modes.error_recovery(), modes.audio_control(), self.capabilities()]
    }

    /// Page 2Ah, CD capabilities and mechanical status.
    fn capabilities(&self) -> Page {
        let mut p = [0; 18];
        p[0] = 0x0b; // reads CD-R, CD-RW and DVD-ROM
        p[2] = 0x70; // mode 2 form 1 and 2, several sessions
        p[4] = 0x29 | u8::from(self.state.locked) << 1; // tray, eject, lock
        p[6..8].copy_from_slice(&SPEED.to_be_bytes());
        p[10..12].copy_from_slice(&128u16.to_be_bytes()); // buffer in KiB
        p[12..14].copy_from_slice(&SPEED.to_be_bytes());
        Page::fixed(0x2a, &p)
    }
}
