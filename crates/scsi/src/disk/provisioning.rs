//! UNMAP, WRITE SAME and FORMAT UNIT (SBC-3, 5.28 and 5.42; SBC-2, 5.2), with the pages that tell of them.

use super::Disk;
use crate::{Access, Command, Reply, Sense, opcode};

/// Most bytes of one UNMAP.
const MAX_UNMAP: u64 = 8 << 30;
/// Most ranges of one UNMAP.
const MAX_UNMAP_RANGES: u32 = 256;
/// Most bytes of one WRITE SAME: as many blocks of 512 bytes as its shorter form can ask for.
const MAX_WRITE_SAME: u64 = 0xffff * 512;

/// Where WRITE SAME has its number of blocks.
fn number_of_blocks(command: &Command) -> usize {
    if command.opcode() == opcode::WRITE_SAME_16 { 10 } else { 7 }
}

impl Disk {
    /// Vital product data pages B0h (block limits), B1h (block device characteristics) and, on a medium that discards, B2h (logical block
    /// provisioning).
    pub(super) fn block_pages(&self) -> Vec<(u8, Vec<u8>)> {
        let granularity = (u64::from(self.config.physical_block) / self.block()) as u32;
        let mut limits = vec![0; 60];
        limits[0] = 1; // WSNZ: WRITE SAME of zero blocks is refused
        limits[2..4].copy_from_slice(&u16::try_from(granularity).unwrap_or(0).to_be_bytes());
        if self.config.discards {
            limits[16..20].copy_from_slice(&((MAX_UNMAP / self.block()) as u32).to_be_bytes());
            limits[20..24].copy_from_slice(&MAX_UNMAP_RANGES.to_be_bytes());
            limits[24..28].copy_from_slice(&granularity.to_be_bytes());
        }
        limits[32..40].copy_from_slice(&(MAX_WRITE_SAME / self.block()).to_be_bytes());
        // Rotation rate and form factor: not reported.
        let mut pages = vec![(0xb0, limits), (0xb1, vec![0; 60])];
        if self.config.discards {
            // LBPU alone; thin. What reads after UNMAP is not promised (no LBPRZ).
            pages.push((0xb2, vec![0, 0x80, 2, 0]));
        }
        pages
    }

    pub(super) fn unmap(&self, command: &Command) -> Result<Reply, Sense> {
        if !self.config.discards {
            return Err(Sense::INVALID_OPCODE);
        }
        if command.cdb[1] & 1 != 0 {
            return Err(Sense::INVALID_FIELD.at(1)); // no anchored blocks
        }
        self.ready()?;
        self.writable()?;
        Ok(match command.u16(7) {
            0 => Reply::Good,
            len => Reply::DataOut { len: u32::from(len) },
        })
    }

    pub(super) fn unmap_parameters(&self, data: &[u8]) -> Result<Reply, Sense> {
        let (header, descriptors) = data.split_at_checked(8).ok_or(Sense::PARAMETER_LIST_LENGTH)?;
        let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
        // A list longer than what was sent ends where that does; half a descriptor is none.
        let descriptors = &descriptors[..len.min(descriptors.len())];
        if descriptors.len() / 16 > MAX_UNMAP_RANGES as usize {
            return Err(Sense::INVALID_PARAMETER.at(2));
        }
        let (mut ranges, mut total) = (Vec::new(), 0);
        for descriptor in descriptors.chunks_exact(16) {
            let word = |at: usize| u64::from(u32::from_be_bytes([0, 1, 2, 3].map(|n| descriptor[at + n])));
            let count = word(8);
            total += count;
            ranges.extend(self.blocks_at(word(0) << 32 | word(4), count)?);
        }
        if total > MAX_UNMAP / self.block() {
            return Err(Sense::INVALID_PARAMETER);
        }
        Ok(if ranges.is_empty() { Reply::Good } else { Reply::Medium(Access::Discard(ranges)) })
    }

    /// UNMAP and ANCHOR bits are refused (what an unmapped block reads as is not promised), as are the obsolete PBDATA and LBDATA.
    pub(super) fn write_same(&self, command: &Command) -> Result<Reply, Sense> {
        let no_data = command.opcode() == opcode::WRITE_SAME_16 && command.cdb[1] & 1 != 0;
        let allowed = if command.opcode() == opcode::WRITE_SAME_16 { 0x01 } else { 0x00 };
        if command.cdb[1] & !allowed != 0 {
            return Err(Sense::INVALID_FIELD.at(1));
        }
        let number = number_of_blocks(command);
        let Some(range) = self.range(command)? else { return Err(Sense::INVALID_FIELD.at(number)) };
        if range.len > MAX_WRITE_SAME {
            return Err(Sense::INVALID_FIELD.at(number));
        }
        self.writable()?;
        if no_data {
            return self.write_same_block(command, &vec![0; self.block() as usize]);
        }
        Ok(Reply::DataOut { len: self.block() as u32 })
    }

    pub(super) fn write_same_block(&self, command: &Command, data: &[u8]) -> Result<Reply, Sense> {
        let block = data.get(..self.block() as usize).ok_or(Sense::PARAMETER_LIST_LENGTH)?.to_vec();
        // The unit may have been stopped meanwhile.
        let range = self.range(command)?.filter(|r| r.len <= MAX_WRITE_SAME);
        let number = number_of_blocks(command);
        let Some(range) = range else { return Err(Sense::INVALID_FIELD.at(number)) };
        Ok(Reply::Medium(Access::WriteSame { range, block, fua: !self.state.write_cache }))
    }

    /// FORMAT UNIT changes nothing: all blocks are there and good, and what they hold afterwards the standard leaves open. What asks for
    /// an effect, an initialization pattern, defects, protection information, is refused.
    pub(super) fn format_unit(&self, command: &Command) -> Result<Reply, Sense> {
        if command.cdb[1] & 0xc0 != 0 {
            return Err(Sense::INVALID_FIELD.at(1));
        }
        self.ready()?;
        self.writable()?;
        Ok(match command.cdb[1] & 0x30 {
            0x10 => Reply::DataOut { len: 4 },
            0x30 => Reply::DataOut { len: 8 },
            _ => Reply::Good,
        })
    }

    pub(super) fn format_parameters(&self, data: &[u8]) -> Result<Reply, Sense> {
        // The header; a longer one has its length in the last four bytes.
        let [_, flags, rest @ ..] = data else { return Err(Sense::PARAMETER_LIST_LENGTH) };
        if rest.len() < 2 {
            return Err(Sense::PARAMETER_LIST_LENGTH);
        }
        // With FOV clear the other flags must be, but for IMMED; IP is a pattern to write.
        let unspecified = flags & 0x80 == 0 && flags & 0x7c != 0;
        if unspecified || flags & 0x08 != 0 {
            return Err(Sense::INVALID_PARAMETER.at(1));
        }
        if let Some(at) = rest.iter().position(|b| *b != 0) {
            return Err(Sense::INVALID_PARAMETER.at(2 + at));
        }
        Ok(Reply::Good)
    }
}
