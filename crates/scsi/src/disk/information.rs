//! Capacity, defects and logs.

use super::Disk;
use crate::{Command, Reply, Sense, opcode};

impl Disk {
    /// READ CAPACITY(10) (SBC-2, 5.12): FFFFFFFFh says that the longer form is needed.
    pub(super) fn read_capacity_10(&self, command: &Command) -> Result<Reply, Sense> {
        self.ready()?;
        // Without PMI the address must be 0.
        if command.cdb[8] & 1 == 0 && command.u32(2) != 0 {
            return Err(Sense::INVALID_FIELD.at(2));
        }
        let last = u32::try_from(self.blocks() - 1).unwrap_or(u32::MAX);
        let mut data = last.to_be_bytes().to_vec();
        data.extend((self.block() as u32).to_be_bytes());
        Ok(Reply::DataIn(data))
    }

    /// READ CAPACITY(16) (SBC-3, 5.16), the only service action there is.
    pub(super) fn read_capacity_16(&self, command: &Command) -> Result<Reply, Sense> {
        if command.cdb[1] & 0x1f != 0x10 {
            return Err(Sense::INVALID_FIELD.at(1));
        }
        self.ready()?;
        if command.cdb[14] & 1 == 0 && command.u64(2) != 0 {
            return Err(Sense::INVALID_FIELD.at(2));
        }
        let mut data = vec![0; 32];
        data[..8].copy_from_slice(&(self.blocks() - 1).to_be_bytes());
        data[8..12].copy_from_slice(&(self.block() as u32).to_be_bytes());
        let blocks = u64::from(self.config.physical_block) / self.block();
        data[13] = blocks.checked_ilog2().unwrap_or(0).min(15) as u8;
        data[14] = u8::from(self.config.discards) << 7; // LBPME
        Ok(Reply::data_in(data, command.u32(10) as usize))
    }
}

/// READ DEFECT DATA (SBC-2, 5.13 and 5.14): both lists are empty.
pub(super) fn read_defect_data(command: &Command) -> Result<Reply, Sense> {
    if command.opcode() == opcode::READ_DEFECT_DATA_10 {
        let lists = command.cdb[2] & 0x1f;
        return Ok(Reply::data_in(vec![0, lists, 0, 0], usize::from(command.u16(7))));
    }
    let lists = command.cdb[1] & 0x1f;
    Ok(Reply::data_in(vec![0, lists, 0, 0, 0, 0, 0, 0], command.u32(6) as usize))
}

/// LOG SENSE (SPC-2, 7.8): the list of pages, which has itself alone.
pub(super) fn log_sense(command: &Command) -> Result<Reply, Sense> {
    let zero = [(1, 3), (2, 0x3f), (3, 0xff), (5, 0xff), (6, 0xff)];
    if let Some((at, _)) = zero.iter().find(|(at, mask)| command.cdb[*at] & mask != 0) {
        return Err(Sense::INVALID_FIELD.at(*at));
    }
    Ok(Reply::data_in(vec![0, 0, 0, 1, 0], usize::from(command.u16(7))))
}
