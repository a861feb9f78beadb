//! What the drive tells of the disc and of itself: sub-channel, disc and track information, features, events.

use super::{CD_BLOCK, CD_MAX_BLOCKS, CdRom, MediaEvent, toc};
use crate::Sense;

const PROFILE_CD_ROM: u16 = 0x0008;
const PROFILE_DVD_ROM: u16 = 0x0010;

/// READ SUB-CHANNEL (MMC-3, 6.23): no audio is ever playing.
pub(super) fn sub_channel(sub_q: bool, format: u8, msf: bool) -> Result<Vec<u8>, Sense> {
    let mut data = vec![0, 0x15, 0, 0]; // no current audio status
    if sub_q {
        match format {
            1 => {
                data.extend([1, 0x14, 1, 1]);
                data.extend(toc::address(0, msf));
                data.extend([0; 4]);
            }
            // No media catalogue number, no ISRC.
            2 | 3 => {
                data.extend([format, if format == 3 { 0x14 } else { 0 }, u8::from(format == 3), 0]);
                data.extend([0; 16]);
            }
            _ => return Err(Sense::INVALID_FIELD.at(3)),
        }
        data[3] = (data.len() - 4) as u8;
    }
    Ok(data)
}

/// READ DISC INFORMATION (MMC-3, 6.21): one complete session with one track, not erasable.
pub(super) fn disc() -> Vec<u8> {
    let mut data = vec![0; 34];
    data[1] = 32;
    data[2] = 0x0e;
    data[3..7].copy_from_slice(&[1, 1, 1, 1]);
    data[7] = 0x20;
    data[16..24].fill(0xff); // lead-in and lead-out of a next session: none
    data
}

/// READ TRACK INFORMATION (MMC-3, 6.26) of track 1, by block address (0), track number (1) or session (2).
pub(super) fn track(blocks: u32, by: u8, number: u32) -> Result<Vec<u8>, Sense> {
    match by {
        0 if number < blocks => {}
        0 => return Err(Sense::OUT_OF_RANGE),
        1 | 2 if number == 1 => {}
        _ => return Err(Sense::INVALID_FIELD.at(if by == 3 { 1 } else { 2 })),
    }
    let mut data = vec![0; 36];
    data[1] = 34;
    data[2..4].copy_from_slice(&[1, 1]);
    data[5] = 0x04; // data track, uninterrupted
    data[6] = 0x01; // mode 1
    data[24..28].copy_from_slice(&blocks.to_be_bytes());
    Ok(data)
}

/// READ DVD STRUCTURE (MMC-3, 6.22): the layer descriptor (format 0) or copyright information (1) of a DVD-ROM.
pub(super) fn dvd_structure(blocks: u32, format: u8, layer: u8) -> Result<Vec<u8>, Sense> {
    if blocks <= CD_MAX_BLOCKS {
        return Err(Sense::INCOMPATIBLE_MEDIUM);
    }
    let content = match format {
        0 if layer == 0 => {
            let mut layer = vec![0; 2048];
            layer[0] = 0x01; // DVD-ROM, version 1
            layer[1] = 0x02; // 120 mm, 10.08 Mbps
            layer[2] = 0x01; // one layer, embossed
            // Sector numbers of a DVD's data area begin at 30000h.
            let last = 0x3_0000 + (blocks - 1).min(0xff_ffff - 0x3_0000);
            layer[5..8].copy_from_slice(&[0x03, 0x00, 0x00]);
            layer[9..12].copy_from_slice(&last.to_be_bytes()[1..]);
            layer
        }
        1 => vec![0; 4], // no protection, every region
        _ => return Err(Sense::INVALID_FIELD.at(if format == 0 { 6 } else { 7 })),
    };
    let [high, low] = (content.len() as u16 + 2).to_be_bytes();
    Ok([&[high, low, 0, 0][..], &content].concat())
}

impl CdRom {
    /// GET CONFIGURATION (MMC-3, 6.6). `which`: 0 all features, 1 the current ones, 2 the one at `start`.
    pub(super) fn configuration(&self, which: u8, start: u16) -> Result<Vec<u8>, Sense> {
        let (profile, cd, dvd) = match self.medium() {
            Err(_) => (0, false, false),
            Ok(blocks) if blocks <= CD_MAX_BLOCKS => (PROFILE_CD_ROM, true, false),
            Ok(_) => (PROFILE_DVD_ROM, false, true),
        };
        let [dvd_high, dvd_low] = PROFILE_DVD_ROM.to_be_bytes();
        let [cd_high, cd_low] = PROFILE_CD_ROM.to_be_bytes();
        let [.., b2, b1, b0] = (CD_BLOCK as u32).to_be_bytes();
        // (feature, version, persistent, current, data)
        let mut features: Vec<(u16, u8, bool, bool, Vec<u8>)> = vec![
            (
                0x0000,
                0,
                true,
                true,
                vec![dvd_high, dvd_low, u8::from(dvd), 0, cd_high, cd_low, u8::from(cd), 0],
            ),
            // Core; physical interface: SCSI or ATAPI.
            (0x0001, 0, true, true, vec![0, 0, 0, if self.config.spi.is_some() { 1 } else { 2 }]),
            (0x0003, 0, true, true, vec![0x29, 0, 0, 0]), // tray, eject, lock
            (0x0010, 0, false, cd || dvd, vec![0, b2, b1, b0, 0, 1, 0, 0]),
            (0x001e, 0, false, cd, vec![0, 0, 0, 0]),
            (0x001f, 0, false, dvd, vec![]),
        ];
        if !self.config.serial.is_empty() {
            let mut serial = self.config.serial.as_bytes()[..self.config.serial.len().min(64)].to_vec();
            serial.resize(serial.len().next_multiple_of(4), b' ');
            features.push((0x0108, 0, true, true, serial));
        }
        let mut data = vec![0; 8];
        data[6..8].copy_from_slice(&profile.to_be_bytes());
        for (code, version, persistent, current, bytes) in features {
            let wanted = match which {
                0 => code >= start,
                1 => code >= start && current,
                2 => code == start,
                _ => return Err(Sense::INVALID_FIELD.at(1)),
            };
            if wanted {
                let [high, low] = code.to_be_bytes();
                let flags = version << 2 | u8::from(persistent) << 1 | u8::from(current);
                data.extend([high, low, flags, bytes.len() as u8]);
                data.extend(bytes);
            }
        }
        let len = (data.len() - 4) as u32;
        data[..4].copy_from_slice(&len.to_be_bytes());
        Ok(data)
    }

    /// GET EVENT STATUS NOTIFICATION (MMC-3, 6.7): the media class only. An event is reported once; the header
    /// alone does not report it.
    pub(super) fn event_status(&mut self, classes: u8, allocated: usize) -> Vec<u8> {
        const MEDIA: u8 = 4;
        let supported = 1 << MEDIA;
        if classes & supported == 0 {
            return vec![0, 2, 0x80, supported];
        }
        let pending = self.state.event;
        if allocated > 4 {
            self.state.event = MediaEvent::None;
        }
        let event = match pending {
            MediaEvent::None => 0,
            MediaEvent::New => 2,
            MediaEvent::Removal => 3,
        };
        let status = u8::from(self.state.blocks.is_some() && !self.state.tray_open) << 1
            | u8::from(self.state.tray_open);
        vec![0, 6, MEDIA, supported, event, status, 0, 0]
    }
}
