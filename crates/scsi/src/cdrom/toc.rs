//! Addresses and the table of contents (MMC-3, 6.25).

use crate::Sense;

/// ADR 1 (position), CONTROL 4 (data track).
const ADR_CONTROL: u8 = 0x14;
const LEAD_OUT: u8 = 0xaa;

/// Minute, second, frame of a block; the first block is at 0:02:00. Beyond 255 minutes the address has no such form.
pub(super) fn lba_to_msf(lba: u32) -> [u8; 3] {
    let frames = u64::from(lba) + 150;
    let minutes = u8::try_from(frames / (75 * 60)).unwrap_or(u8::MAX);
    [minutes, (frames / 75 % 60) as u8, (frames % 75) as u8]
}

/// The block at minute, second, frame; `None` for the pre-gap and for addresses that are none.
pub(super) fn msf_to_lba([m, s, f]: [u8; 3]) -> Option<u32> {
    if s > 59 || f > 74 {
        return None;
    }
    ((u32::from(m) * 60 + u32::from(s)) * 75 + u32::from(f)).checked_sub(150)
}

/// The four-byte address field, as MSF or block number.
pub(super) fn address(lba: u32, msf: bool) -> [u8; 4] {
    if msf {
        let [m, s, f] = lba_to_msf(lba);
        [0, m, s, f]
    } else {
        lba.to_be_bytes()
    }
}

/// READ TOC for a disc with one data track of `blocks`.
pub(super) fn read_toc(blocks: u32, format: u8, msf: bool, start: u8) -> Result<Vec<u8>, Sense> {
    let mut data = vec![0, 0, 1, 1]; // length follows; first and last track or session
    match format {
        // Tracks from `start` on, then the lead-out.
        0 => {
            if start > 1 && start != LEAD_OUT {
                return Err(Sense::INVALID_FIELD.at(6));
            }
            if start <= 1 {
                data.extend([0, ADR_CONTROL, 1, 0]);
                data.extend(address(0, msf));
            }
            data.extend([0, ADR_CONTROL, LEAD_OUT, 0]);
            data.extend(address(blocks, msf));
        }
        // First track of the last session.
        1 => {
            data.extend([0, ADR_CONTROL, 1, 0]);
            data.extend(address(0, msf));
        }
        // The Q sub-channel entries of the lead-in, from session `start` on: always MSF.
        2 => {
            if start > 1 {
                return Err(Sense::INVALID_FIELD.at(6));
            }
            let [m, s, f] = lba_to_msf(blocks);
            let [m1, s1, f1] = lba_to_msf(0);
            for (point, p) in [(0xa0, [1, 0, 0]), (0xa1, [1, 0, 0]), (0xa2, [m, s, f]), (1, [m1, s1, f1])] {
                data.extend([1, ADR_CONTROL, 0, point, 0, 0, 0, 0]);
                data.extend(p);
            }
        }
        // CD-TEXT: there is none.
        5 => data[2..].fill(0),
        // The program memory area and pre-groove information are those of discs to be written.
        _ => return Err(Sense::INVALID_FIELD.at(2)),
    }
    let len = (data.len() - 2) as u16;
    data[..2].copy_from_slice(&len.to_be_bytes());
    Ok(data)
}
