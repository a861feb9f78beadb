//! The hard disk.

use slotone_block::{Geometry, MediumInfo};
use slotone_bus::state::{StateError, StateReader, StateWriter};

use crate::identity::Inquiry;
use crate::unit::Unit;
use crate::{
    Access, Command, Failure, Identity, MediumResult, Reply, Reset, Sense, SpiFlags, Target, Version, opcode,
};

mod blocks;
mod information;
mod mode;
mod provisioning;

const SECTION: &str = "scsi-disk";

/// Bytes of a logical block, unless somebody wants others.
const DEFAULT_BLOCK: u32 = 512;

/// What a disk is: nothing of it changes while the machine runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskConfig {
    /// Bytes of the medium; an incomplete last block is not used. Without one whole block every command that needs the medium, READ CAPACITY
    /// and TEST UNIT READY among them, ends with MEDIUM ERROR 31h/00h (medium format corrupted): no capacity says "none".
    pub capacity: u64,
    /// Bytes of a logical block: 512, 1024, 2048 or 4096; any other number counts as 512. Larger blocks bring a disk of 2 TiB and more
    /// within reach of drivers whose commands have 32 bits for an address; BIOSes boot from blocks of 512 bytes only.
    pub block: u32,
    /// Writes end with DATA PROTECT.
    pub read_only: bool,
    /// UNMAP is there: the medium gives room back.
    pub discards: bool,
    /// Best size and alignment of I/O in bytes, a power of two from 512 on: READ CAPACITY(16) and block limits.
    pub physical_block: u32,
    /// For the mode pages 3 and 4. `None`: 64 heads and 32 sectors up to 1 GiB, above 255 and 63.
    pub geometry: Option<Geometry>,
    /// Names in INQUIRY.
    pub identity: Identity,
    /// Unit serial number, up to 64 printable ASCII characters; none when empty. Of several disks with [`Version::Spc3`] each wants its own: their
    /// identification (page 83h) is there all the same, and drivers take equal ones for two ways to one disk.
    pub serial: String,
    /// The standard that INQUIRY names.
    pub version: Version,
    /// What the adapter can do.
    pub spi: SpiFlags,
    /// WCE of the caching page after power-on: writes are durable only after SYNCHRONIZE CACHE or with FUA.
    pub write_cache: bool,
}

impl DiskConfig {
    /// A disk on the medium described by `info`: blocks of 512 bytes, SCSI-2, tagged commands, write cache on, no serial number.
    pub fn new(info: &MediumInfo) -> Self {
        Self {
            capacity: info.capacity,
            block: DEFAULT_BLOCK,
            read_only: info.read_only,
            discards: info.discards,
            physical_block: info.physical_block,
            geometry: info.geometry,
            identity: Identity::DISK,
            serial: String::new(),
            version: Version::default(),
            spi: SpiFlags { queueing: true, ..SpiFlags::default() },
            write_cache: true,
        }
    }
}

/// What a guest can observe and a saved machine keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    stopped: bool,
    /// WCE of the caching page.
    write_cache: bool,
    /// SWP of the control page.
    write_protect: bool,
    unit: Unit,
}
slotone_bus::encode_fields!(State { stopped, write_cache, write_protect, unit });

/// What a state says of its disk besides: commands in flight were checked against it, and the guest knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Size {
    blocks: u64,
    block: u32,
}
slotone_bus::encode_fields!(Size { blocks, block });

/// A hard disk by SPC-2, SPC-3 and SBC-2.
///
/// | group | commands |
/// | --- | --- |
/// | SPC | TEST UNIT READY, REQUEST SENSE (both formats), INQUIRY with pages 00h 80h 83h B0h B1h B2h, REPORT LUNS, MODE SENSE and MODE SELECT (6/10), RESERVE and RELEASE (6/10), PREVENT ALLOW MEDIUM REMOVAL, SEND DIAGNOSTIC (default self-test), LOG SENSE (list of pages) |
/// | data | READ and WRITE (6/10/12/16), WRITE AND VERIFY (10/12/16), VERIFY (10/12/16; BYTCHK 0 and 1), SYNCHRONIZE CACHE (10/16), SEEK (6/10), REZERO UNIT |
/// | space | READ CAPACITY (10/16), UNMAP where the medium discards, WRITE SAME (10/16), FORMAT UNIT, READ DEFECT DATA (10/12; none) |
/// | unit | START STOP UNIT |
///
/// Mode pages 01h, 02h, 03h, 04h, 08h, 0Ah, 1Ch; WCE (write cache) and SWP (write protection) can be changed. Everything else ends with
/// ILLEGAL REQUEST.
#[derive(Debug, Clone)]
pub struct Disk {
    config: DiskConfig,
    state: State,
}

impl Disk {
    /// A disk as after power-on: spinning.
    pub fn new(config: DiskConfig) -> Self {
        let mut disk = Self { config, state: State::default() };
        disk.reset(Reset::PowerOn);
        disk
    }

    /// What it was built from.
    pub fn config(&self) -> &DiskConfig {
        &self.config
    }

    /// Logical blocks.
    pub fn blocks(&self) -> u64 {
        self.config.capacity / self.block()
    }

    /// Bytes of a logical block.
    fn block(&self) -> u64 {
        match self.config.block {
            block @ (1024 | 2048 | 4096) => block.into(),
            _ => DEFAULT_BLOCK.into(),
        }
    }

    /// Whether the initiator stopped it (START STOP UNIT).
    pub fn stopped(&self) -> bool {
        self.state.stopped
    }

    /// Whether writes stay in a cache until they are synchronized.
    pub fn write_cache(&self) -> bool {
        self.state.write_cache
    }

    fn size(&self) -> Size {
        Size { blocks: self.blocks(), block: self.block_bytes() }
    }

    fn write_protected(&self) -> bool {
        self.config.read_only || self.state.write_protect
    }

    fn run(&mut self, command: &Command) -> Result<Reply, Sense> {
        use opcode::*;
        match command.opcode() {
            INQUIRY => self.inquiry(command),
            TEST_UNIT_READY => self.ready().map(|()| Reply::Good),
            START_STOP_UNIT => self.start_stop(command),
            // The medium cannot be taken out anyway.
            PREVENT_ALLOW_MEDIUM_REMOVAL => Ok(Reply::Good),
            MODE_SENSE_6 | MODE_SENSE_10 => self.mode_sense(command),
            MODE_SELECT_6 | MODE_SELECT_10 => self.mode_select(command),
            LOG_SENSE => information::log_sense(command),
            READ_CAPACITY => self.read_capacity_10(command),
            SERVICE_ACTION_IN_16 => self.read_capacity_16(command),
            READ_DEFECT_DATA_10 | READ_DEFECT_DATA_12 => information::read_defect_data(command),
            READ_6 | READ_10 | READ_12 | READ_16 => self.read(command),
            WRITE_6 | WRITE_10 | WRITE_12 | WRITE_16 => self.write(command),
            WRITE_AND_VERIFY_10 | WRITE_AND_VERIFY_12 | WRITE_AND_VERIFY_16 => self.write_and_verify(command),
            VERIFY_10 | VERIFY_12 | VERIFY_16 => self.verify(command),
            SYNCHRONIZE_CACHE_10 | SYNCHRONIZE_CACHE_16 => self.synchronize_cache(command),
            REZERO_UNIT => self.ready().map(|()| Reply::Good),
            SEEK_6 | SEEK_10 => self.seek(command),
            UNMAP => self.unmap(command),
            WRITE_SAME_10 | WRITE_SAME_16 => self.write_same(command),
            FORMAT_UNIT => self.format_unit(command),
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    fn inquiry(&self, command: &Command) -> Result<Reply, Sense> {
        let pages = self.block_pages();
        let inquiry = Inquiry {
            device_type: 0,
            removable: false,
            version: self.config.version,
            format: 2,
            spi: self.config.spi,
            identity: &self.config.identity,
            serial: &self.config.serial,
            pages: &pages,
        };
        inquiry.answer(command)
    }

    /// The medium can be used.
    fn ready(&self) -> Result<(), Sense> {
        match self.blocks() {
            _ if self.state.stopped => Err(Sense::STOPPED),
            0 => Err(Sense::FORMAT_CORRUPTED),
            _ => Ok(()),
        }
    }

    /// START STOP UNIT (SBC-2, 5.19). Before it stops, what is cached goes to the medium.
    fn start_stop(&mut self, command: &Command) -> Result<Reply, Sense> {
        let bits = command.cdb[4];
        match (bits >> 4, bits & 3) {
            (0, 0) => Ok(Reply::Medium(Access::Flush)),
            (0, 1) | (1, _) => {
                self.state.stopped = false;
                Ok(Reply::Good)
            }
            // Idle and standby: the unit stays ready.
            (2 | 3, _) => Ok(Reply::Good),
            // The medium cannot be loaded or ejected; no power timers.
            _ => Err(Sense::INVALID_FIELD.at(4)),
        }
    }

    fn finish(&mut self, command: &Command, access: &Access, result: MediumResult) -> Result<Reply, Sense> {
        let (failure, offset) = match result {
            MediumResult::Done => return Ok(self.done(command, access)),
            MediumResult::Failed { failure, offset } => (failure, offset),
            MediumResult::Differs { offset } => return Err(self.about(Sense::MISCOMPARE, offset)),
        };
        let reading = matches!(access, Access::Read(_) | Access::Verify(_) | Access::Compare(_));
        let sense = match failure {
            Failure::OutOfRange => Sense::OUT_OF_RANGE,
            Failure::ReadOnly => return Err(Sense::WRITE_PROTECTED),
            Failure::NotReady => return Err(Sense::NOT_READY),
            Failure::Medium if reading => Sense::UNRECOVERED_READ_ERROR,
            // Which block a cache could not write nobody knows.
            Failure::Medium if matches!(access, Access::Flush) => return Err(Sense::WRITE_ERROR),
            Failure::Medium => Sense::WRITE_ERROR,
        };
        Err(self.about(sense, offset))
    }

    /// What comes after an access that went well.
    fn done(&mut self, command: &Command, access: &Access) -> Reply {
        match (command.opcode(), access) {
            (
                opcode::WRITE_AND_VERIFY_10 | opcode::WRITE_AND_VERIFY_12 | opcode::WRITE_AND_VERIFY_16,
                Access::Write { range, .. },
            ) => return Reply::Medium(Access::Verify(*range)),
            (opcode::START_STOP_UNIT, Access::Flush) => self.state.stopped = true,
            _ => {}
        }
        Reply::Good
    }

    fn about(&self, sense: Sense, offset: u64) -> Sense {
        Sense { information: Some(offset / self.block()), ..sense }
    }
}

impl Target for Disk {
    fn command(&mut self, command: &Command) -> Reply {
        if let Some(reply) = self.state.unit.begin(command, &[]) {
            return reply;
        }
        let reply = self.run(command);
        self.state.unit.end(command, reply)
    }

    fn data_out(&mut self, command: &Command, data: &[u8]) -> Reply {
        let reply = match command.opcode() {
            opcode::MODE_SELECT_6 | opcode::MODE_SELECT_10 => self.mode_parameters(command, data),
            opcode::UNMAP => self.unmap_parameters(data),
            opcode::WRITE_SAME_10 | opcode::WRITE_SAME_16 => self.write_same_block(command, data),
            opcode::FORMAT_UNIT => self.format_parameters(data),
            _ => Err(Sense::INVALID_OPCODE),
        };
        self.state.unit.end(command, reply)
    }

    fn medium_done(&mut self, command: &Command, access: &Access, result: MediumResult) -> Reply {
        let reply = self.finish(command, access, result);
        self.state.unit.end(command, reply)
    }

    fn reset(&mut self, reset: Reset) {
        let mut unit = std::mem::take(&mut self.state.unit);
        unit.reset(reset);
        self.state = State { write_cache: self.config.write_cache, unit, ..State::default() };
    }

    fn refuse(&mut self, command: &Command, sense: Sense) -> Reply {
        self.state.unit.refuse(command, sense)
    }

    fn sense(&self, initiator: u8) -> Sense {
        self.state.unit.nexuses.sense(initiator)
    }

    fn block_bytes(&self) -> u32 {
        self.block() as u32
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 2, &(self.state.clone(), self.size()));
    }

    /// The disk must have as many blocks, of as many bytes, as the saved one: a guest does not expect another size, and the commands that the
    /// adapter had in flight address the saved one's blocks.
    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let (state, saved): (State, Size) = r.section(SECTION, 2)?;
        state.unit.validate(SECTION)?;
        let size = self.size();
        if saved != size {
            let what = format!(
                "it is of a disk of {} blocks of {} bytes, this one has {} of {}",
                saved.blocks, saved.block, size.blocks, size.block
            );
            return Err(StateError::Invalid { section: SECTION.to_string(), what });
        }
        self.state = state;
        Ok(())
    }
}
