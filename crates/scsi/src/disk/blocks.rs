//! Commands that address blocks: reading, writing, verifying (SBC-2, clause 5).

use super::Disk;
use crate::{Access, Command, Range, Reply, Sense, opcode};

/// Address and number of blocks by the command's length.
fn address(command: &Command) -> (u64, u64) {
    match opcode::cdb_len(command.opcode()) {
        6 => {
            let lba = command.u32(0) & 0x1f_ffff;
            let count = command.cdb[4];
            (u64::from(lba), if count == 0 { 256 } else { u64::from(count) })
        }
        10 => (u64::from(command.u32(2)), u64::from(command.u16(7))),
        12 => (u64::from(command.u32(2)), u64::from(command.u32(6))),
        _ => (command.u64(2), u64::from(command.u32(10))),
    }
}

impl Disk {
    /// The blocks that a command means, if the unit is ready and has them; `None`: none at all.
    pub(super) fn range(&self, command: &Command) -> Result<Option<Range>, Sense> {
        let (lba, count) = address(command);
        self.ready()?;
        self.blocks_at(lba, count)
    }

    pub(super) fn blocks_at(&self, lba: u64, count: u64) -> Result<Option<Range>, Sense> {
        let blocks = self.blocks();
        if lba > blocks || count > blocks - lba {
            // The first block that is not there.
            return Err(Sense { information: Some(lba.max(blocks)), ..Sense::OUT_OF_RANGE });
        }
        let range = Range { offset: lba * self.block(), len: count * self.block() };
        Ok((count != 0).then_some(range))
    }

    /// Byte 1 of the longer forms: protection information and relative addresses are not there.
    fn plain(command: &Command) -> Result<(), Sense> {
        let relative = u8::from(opcode::cdb_len(command.opcode()) == 10);
        match opcode::cdb_len(command.opcode()) {
            6 => Ok(()),
            _ if command.cdb[1] & (0xe0 | relative) != 0 => Err(Sense::INVALID_FIELD.at(1)),
            _ => Ok(()),
        }
    }

    pub(super) fn writable(&self) -> Result<(), Sense> {
        if self.write_protected() { Err(Sense::WRITE_PROTECTED) } else { Ok(()) }
    }

    /// DPO and FUA need nothing: what is read is what was written last, cached or not.
    pub(super) fn read(&self, command: &Command) -> Result<Reply, Sense> {
        Self::plain(command)?;
        Ok(self.range(command)?.map_or(Reply::Good, |range| Reply::Medium(Access::Read(range))))
    }

    pub(super) fn write(&self, command: &Command) -> Result<Reply, Sense> {
        Self::plain(command)?;
        let range = self.range(command)?;
        self.writable()?;
        let fua = opcode::cdb_len(command.opcode()) != 6 && command.cdb[1] & 0x08 != 0;
        let write = |range| Reply::Medium(Access::Write { range, fua: fua || !self.state.write_cache });
        Ok(range.map_or(Reply::Good, write))
    }

    /// The blocks are written durably, then read again. With BYTCHK the data would be needed a second time: refused.
    pub(super) fn write_and_verify(&self, command: &Command) -> Result<Reply, Sense> {
        Self::plain(command)?;
        if command.cdb[1] & 0x06 != 0 {
            return Err(Sense::INVALID_FIELD.at(1));
        }
        let range = self.range(command)?;
        self.writable()?;
        Ok(range.map_or(Reply::Good, |range| Reply::Medium(Access::Write { range, fua: true })))
    }

    pub(super) fn verify(&self, command: &Command) -> Result<Reply, Sense> {
        Self::plain(command)?;
        let access = match command.cdb[1] >> 1 & 3 {
            0 => Access::Verify,
            1 => Access::Compare,
            _ => return Err(Sense::INVALID_FIELD.at(1)),
        };
        Ok(self.range(command)?.map_or(Reply::Good, |range| Reply::Medium(access(range))))
    }

    /// The range is checked, then everything is made durable; with IMMED no sooner.
    pub(super) fn synchronize_cache(&self, command: &Command) -> Result<Reply, Sense> {
        self.range(command)?;
        Ok(Reply::Medium(Access::Flush))
    }

    pub(super) fn seek(&self, command: &Command) -> Result<Reply, Sense> {
        self.ready()?;
        let lba = match command.opcode() {
            opcode::SEEK_6 => command.u32(0) & 0x1f_ffff,
            _ => command.u32(2),
        };
        self.blocks_at(u64::from(lba), 1).map(|_| Reply::Good)
    }
}
