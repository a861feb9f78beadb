//! Mode pages (SPC-2, 8.3; MMC-3, 5.5).

use super::{CD_MAX_BLOCKS, CdRom};
use crate::Sense;

/// Speed in kilobytes a second: 24 times 176.
const SPEED: u16 = 24 * 176;

impl CdRom {
    /// MODE SENSE. `page` is byte 2 of the command: page control and page code. `ten` chooses the eight-byte header.
    pub(super) fn mode_sense(&self, page: u8, ten: bool) -> Result<Vec<u8>, Sense> {
        let control = page >> 6;
        if control == 3 {
            return Err(Sense::SAVING_NOT_SUPPORTED);
        }
        let all = page & 0x3f == 0x3f;
        let mut pages = Vec::new();
        for (code, mut content) in
            [(0x01, error_recovery()), (0x0e, audio_control()), (0x2a, self.capabilities())]
        {
            if all || page & 0x3f == code {
                if control == 1 {
                    content.fill(0); // nothing can be changed
                }
                pages.extend([code, content.len() as u8]);
                pages.extend(content);
            }
        }
        if pages.is_empty() {
            return Err(Sense::INVALID_FIELD);
        }
        // Medium type (SFF-8020, 9.8.5.1).
        let medium = match self.state.blocks {
            _ if self.state.tray_open => 0x71,
            None => 0x70,
            Some(blocks) if blocks <= CD_MAX_BLOCKS => 0x01,
            Some(_) => 0x00,
        };
        let mut data = if ten { vec![0, 0, medium, 0, 0, 0, 0, 0] } else { vec![0, medium, 0, 0] };
        data.extend(pages);
        if ten {
            let len = (data.len() - 2) as u16;
            data[..2].copy_from_slice(&len.to_be_bytes());
        } else {
            data[0] = (data.len() - 1) as u8;
        }
        Ok(data)
    }

    /// Page 2Ah, CD capabilities and mechanical status.
    fn capabilities(&self) -> Vec<u8> {
        let mut p = vec![0; 18];
        p[0] = 0x0b; // reads CD-R, CD-RW and DVD-ROM
        p[2] = 0x70; // mode 2 form 1 and 2, several sessions
        p[4] = 0x29 | u8::from(self.state.locked) << 1; // tray, eject, lock
        p[6..8].copy_from_slice(&SPEED.to_be_bytes());
        p[10..12].copy_from_slice(&128u16.to_be_bytes()); // buffer in KiB
        p[12..14].copy_from_slice(&SPEED.to_be_bytes());
        p
    }
}

/// Page 01h, read error recovery: everything automatic, five retries.
fn error_recovery() -> Vec<u8> {
    vec![0, 5, 0, 0, 0, 0, 0, 0, 0, 0]
}

/// Page 0Eh, CD audio control: IMMED, both output ports muted.
fn audio_control() -> Vec<u8> {
    let mut p = vec![0; 14];
    p[0] = 0x04;
    p
}
