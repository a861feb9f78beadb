//! The CD/DVD-ROM drive.

use slotone_bus::state::{StateError, StateReader, StateWriter};

use crate::identity::Inquiry;
use crate::nexus::Attention;
use crate::unit::Unit;
use crate::{
    Access, Command, Failure, Identity, MediumResult, Range, Reply, Reset, Sense, SpiFlags, Target, Version,
    modes, opcode,
};

mod information;
mod mode;
mod toc;

use mode::Modes;

const SECTION: &str = "scsi-cdrom";

/// Bytes of a CD-ROM's user data block.
pub const CD_BLOCK: u64 = 2048;

/// Largest medium that is called a CD: 80 minutes of 75 frames a second. Larger ones are DVDs.
const CD_MAX_BLOCKS: u32 = 80 * 60 * 75;

/// What a CD drive is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CdConfig {
    /// Names in INQUIRY.
    pub identity: Identity,
    /// Unit serial number, up to 64 printable ASCII characters; none when empty.
    pub serial: String,
    /// On a SCSI bus, and what the adapter can do there. `None`: ATAPI, with INQUIRY and mode headers as SFF-8020 has them.
    pub spi: Option<SpiFlags>,
    /// The standard that INQUIRY names on a SCSI bus.
    pub version: Version,
}

impl Default for CdConfig {
    /// An ATAPI drive without a serial number.
    fn default() -> Self {
        Self { identity: Identity::CD, serial: String::new(), spi: None, version: Version::default() }
    }
}

impl CdConfig {
    /// A drive on a SCSI bus whose adapter can do `spi`.
    pub fn scsi(spi: SpiFlags) -> Self {
        Self { spi: Some(spi), ..Self::default() }
    }
}

/// Event of the media class (MMC-3, table 92).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum MediaEvent {
    #[default]
    None,
    New,
    Removal,
}
slotone_bus::encode_enum!(MediaEvent { None, New, Removal });

/// What a guest can observe and a saved machine keeps.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct State {
    /// Blocks of the medium in the tray.
    blocks: Option<u32>,
    tray_open: bool,
    locked: bool,
    event: MediaEvent,
    modes: Modes,
    unit: Unit,
}
slotone_bus::encode_fields!(State { blocks, tray_open, locked, event, modes, unit });

/// These report or keep a unit attention as well (MMC-3, 4.1.6.1).
const ATTENTION_PASSES: [u8; 2] = [opcode::GET_CONFIGURATION, opcode::GET_EVENT_STATUS_NOTIFICATION];

/// A CD/DVD-ROM drive with a tray and one data track (mode 1, 2048 bytes a block).
///
/// | group | commands |
/// | --- | --- |
/// | SPC | TEST UNIT READY, REQUEST SENSE, INQUIRY (pages 00h, 80h and 83h with a serial number), REPORT LUNS, MODE SENSE and MODE SELECT (6/10), RESERVE and RELEASE (6/10), SEND DIAGNOSTIC (default self-test), PREVENT ALLOW MEDIUM REMOVAL |
/// | reading | READ (6/10/12), READ CD and READ CD MSF (user data), SEEK (6/10), REZERO UNIT, READ CAPACITY, READ HEADER |
/// | disc | READ TOC formats 0, 1, 2 and 5, READ SUB-CHANNEL, READ DISC INFORMATION, READ TRACK INFORMATION, READ DVD STRUCTURE formats 0 and 1 |
/// | drive | START STOP UNIT, GET CONFIGURATION, GET EVENT STATUS NOTIFICATION (polled, media class), MECHANISM STATUS, SET CD SPEED, SET READ AHEAD |
/// | audio | PLAY AUDIO (10/12/MSF), PAUSE/RESUME, STOP PLAY/SCAN: answered as by a disc without audio tracks |
///
/// Mode pages 01h (read retries can be set), 0Eh (ports and volumes can be set) and 2Ah. Everything else ends with ILLEGAL REQUEST, INVALID
/// COMMAND OPERATION CODE. Not modelled: audio tracks, raw sectors with headers and error correction codes, sub-channel data, DVD keys,
/// several sessions.
#[derive(Debug, Clone)]
pub struct CdRom {
    config: CdConfig,
    state: State,
}

impl Default for CdRom {
    fn default() -> Self {
        Self::new()
    }
}

impl CdRom {
    /// An empty ATAPI drive, as after power-on.
    pub fn new() -> Self {
        Self::with_config(CdConfig::default())
    }

    /// An empty drive as `config` has it.
    pub fn with_config(config: CdConfig) -> Self {
        let mut drive = Self { config, state: State::default() };
        drive.reset(Reset::PowerOn);
        drive
    }

    /// Puts a medium of `capacity` bytes in and closes the tray; an incomplete last block is not readable. A medium that was in is replaced.
    ///
    /// One without a whole block (less than [`CD_BLOCK`] bytes) is a disc that the drive cannot read: it is there and its arrival is told, but
    /// commands that need the medium end with MEDIUM ERROR 31h/00h (medium format corrupted).
    pub fn insert(&mut self, capacity: u64) {
        self.state.blocks = Some(u32::try_from(capacity / CD_BLOCK).unwrap_or(u32::MAX));
        self.state.tray_open = false;
        self.medium_arrived();
    }

    /// Takes the medium out, even when the guest has locked the tray (someone used a paper clip).
    pub fn eject(&mut self) {
        if self.state.blocks.take().is_some() {
            self.state.event = MediaEvent::Removal;
        }
        self.state.unit.nexuses.withdraw(Attention::MediumChanged);
    }

    /// A readable medium, of one block at least, is in, the tray closed.
    pub fn ready(&self) -> bool {
        self.medium().is_ok()
    }

    /// Whether the guest opened the tray (START STOP UNIT with LoEj).
    pub fn tray_open(&self) -> bool {
        self.state.tray_open
    }

    /// Whether the guest locked the tray (PREVENT ALLOW MEDIUM REMOVAL).
    pub fn locked(&self) -> bool {
        self.state.locked
    }

    /// Blocks of the medium in the tray.
    pub fn blocks(&self) -> Option<u32> {
        self.state.blocks
    }

    fn medium_arrived(&mut self) {
        self.state.unit.nexuses.raise(Attention::MediumChanged);
        self.state.event = MediaEvent::New;
    }

    /// The blocks of a readable medium, or why there is none.
    fn medium(&self) -> Result<u32, Sense> {
        match self.state.blocks {
            _ if self.state.tray_open => Err(Sense::NO_MEDIUM_TRAY_OPEN),
            None => Err(Sense::NO_MEDIUM),
            Some(0) => Err(Sense::FORMAT_CORRUPTED),
            Some(blocks) => Ok(blocks),
        }
    }

    fn run(&mut self, command: &Command) -> Result<Reply, Sense> {
        let cdb = &command.cdb;
        let length_16 = usize::from(u16::from_be_bytes([cdb[7], cdb[8]]));
        let lba = u32::from_be_bytes([cdb[2], cdb[3], cdb[4], cdb[5]]);
        match cdb[0] {
            opcode::TEST_UNIT_READY => self.medium().map(|_| Reply::Good),
            opcode::INQUIRY => self.inquiry(command),
            opcode::MODE_SENSE_6 | opcode::MODE_SENSE_10 => self.mode_sense(command),
            opcode::MODE_SELECT_6 | opcode::MODE_SELECT_10 => modes::select(command),
            opcode::START_STOP_UNIT => self.start_stop(cdb[4]),
            opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => {
                self.state.locked = cdb[4] & 1 != 0;
                Ok(Reply::Good)
            }
            opcode::READ_CAPACITY => {
                let last = self.medium()? - 1;
                let mut data = last.to_be_bytes().to_vec();
                data.extend((CD_BLOCK as u32).to_be_bytes());
                Ok(Reply::DataIn(data))
            }
            opcode::READ_6 => {
                let count = if cdb[4] == 0 { 256 } else { u32::from(cdb[4]) };
                self.read(command.u32(0) & 0x1f_ffff, count)
            }
            opcode::READ_10 => self.read(lba, u32::from(u16::from_be_bytes([cdb[7], cdb[8]]))),
            opcode::READ_12 => self.read(lba, u32::from_be_bytes([cdb[6], cdb[7], cdb[8], cdb[9]])),
            opcode::REZERO_UNIT => self.medium().map(|_| Reply::Good),
            opcode::SEEK_6 | opcode::SEEK_10 => {
                let lba = if cdb[0] == opcode::SEEK_6 { command.u32(0) & 0x1f_ffff } else { lba };
                if lba >= self.medium()? {
                    return Err(Sense::OUT_OF_RANGE);
                }
                Ok(Reply::Good)
            }
            opcode::READ_CD => {
                let count = u32::from_be_bytes([0, cdb[6], cdb[7], cdb[8]]);
                self.read_cd(cdb, lba, count)
            }
            opcode::READ_CD_MSF => {
                let (from, count) = self.msf_range(cdb)?;
                self.read_cd(cdb, from, count)
            }
            opcode::READ_TOC => {
                // SFF-8020 put the format into the control byte; drivers of its time still do.
                let format = if cdb[2] & 0x0f != 0 { cdb[2] & 0x0f } else { cdb[9] >> 6 };
                let data = toc::read_toc(self.medium()?, format, cdb[1] & 2 != 0, cdb[6])?;
                Ok(Reply::data_in(data, length_16))
            }
            opcode::READ_HEADER => {
                if lba >= self.medium()? {
                    return Err(Sense::OUT_OF_RANGE);
                }
                let mut data = vec![1, 0, 0, 0]; // mode 1
                data.extend(toc::address(lba, cdb[1] & 2 != 0));
                Ok(Reply::data_in(data, length_16))
            }
            opcode::READ_SUB_CHANNEL => {
                self.medium()?;
                let data = information::sub_channel(cdb[2] & 0x40 != 0, cdb[3], cdb[1] & 2 != 0)?;
                Ok(Reply::data_in(data, length_16))
            }
            opcode::READ_DISC_INFORMATION => {
                self.medium()?;
                Ok(Reply::data_in(information::disc(), length_16))
            }
            opcode::READ_TRACK_INFORMATION => {
                let data = information::track(self.medium()?, cdb[1] & 3, lba)?;
                Ok(Reply::data_in(data, length_16))
            }
            opcode::GET_CONFIGURATION => {
                let start = u16::from_be_bytes([cdb[2], cdb[3]]);
                Ok(Reply::data_in(self.configuration(cdb[1] & 3, start)?, length_16))
            }
            opcode::GET_EVENT_STATUS_NOTIFICATION => {
                if cdb[1] & 1 == 0 {
                    return Err(Sense::INVALID_FIELD.at(1)); // only polled operation
                }
                Ok(Reply::data_in(self.event_status(cdb[4], length_16), length_16))
            }
            opcode::MECHANISM_STATUS => {
                let data = vec![0, if self.state.tray_open { 0x10 } else { 0 }, 0, 0, 0, 0, 0, 0];
                Ok(Reply::data_in(data, usize::from(u16::from_be_bytes([cdb[8], cdb[9]]))))
            }
            opcode::SET_CD_SPEED => Ok(Reply::Good),
            opcode::SET_READ_AHEAD => self.medium().map(|_| Reply::Good),
            opcode::STOP_PLAY_SCAN => self.medium().map(|_| Reply::Good),
            // Nothing plays that could be paused.
            opcode::PAUSE_RESUME => self.medium().and(Err(Sense::SEQUENCE_ERROR)),
            opcode::PLAY_AUDIO_10 => self.play(lba, u32::from(command.u16(7))),
            opcode::PLAY_AUDIO_12 => self.play(lba, command.u32(6)),
            opcode::PLAY_AUDIO_MSF => {
                let (from, count) = self.msf_range(cdb)?;
                self.play(from, count)
            }
            opcode::READ_DVD_STRUCTURE => {
                // The layer's address does not matter: there is one layer.
                let data = information::dvd_structure(self.medium()?, cdb[7], cdb[6])?;
                Ok(Reply::data_in(data, usize::from(command.u16(8))))
            }
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    fn inquiry(&self, command: &Command) -> Result<Reply, Sense> {
        // ATAPI version 3 and format 2 without an ANSI version (SFF-8020, 9.8.3).
        let (version, format) = match self.config.spi {
            None => (Version::None, 0x32),
            Some(_) => (self.config.version, 2),
        };
        let inquiry = Inquiry {
            device_type: 5,
            removable: true,
            version,
            format,
            spi: self.config.spi.unwrap_or_default(),
            identity: &self.config.identity,
            serial: &self.config.serial,
            pages: &[],
        };
        inquiry.answer(command)
    }

    /// First block and number of blocks between two MSF addresses, at bytes 3 and 6.
    fn msf_range(&self, cdb: &[u8; 16]) -> Result<(u32, u32), Sense> {
        let from = toc::msf_to_lba([cdb[3], cdb[4], cdb[5]]).ok_or(Sense::INVALID_FIELD.at(3))?;
        let to = toc::msf_to_lba([cdb[6], cdb[7], cdb[8]]).ok_or(Sense::INVALID_FIELD.at(6))?;
        Ok((from, to.checked_sub(from).ok_or(Sense::INVALID_FIELD.at(6))?))
    }

    /// PLAY AUDIO: the only track is a data track. No blocks at all are no error (MMC-3, 6.14).
    fn play(&self, lba: u32, count: u32) -> Result<Reply, Sense> {
        let blocks = self.medium()?;
        match count {
            0 => Ok(Reply::Good),
            // FFFFFFFFh is the head's position, which is in that track, too.
            _ if lba != u32::MAX && (lba > blocks || count > blocks - lba) => Err(Sense::OUT_OF_RANGE),
            _ => Err(Sense::ILLEGAL_MODE),
        }
    }

    fn start_stop(&mut self, bits: u8) -> Result<Reply, Sense> {
        match bits & 3 {
            // Power conditions: active, idle, standby (the unit stays ready), and sleep, from which a command wakes it.
            _ if bits >> 4 != 0 => match bits >> 4 {
                1..=3 | 5 => Ok(Reply::Good),
                _ => Err(Sense::INVALID_FIELD.at(4)),
            },
            2 if self.state.locked => Err(Sense::REMOVAL_PREVENTED),
            2 => {
                if !self.state.tray_open && self.state.blocks.is_some() {
                    self.state.event = MediaEvent::Removal;
                }
                self.state.tray_open = true;
                Ok(Reply::Good)
            }
            3 => {
                if std::mem::take(&mut self.state.tray_open) && self.state.blocks.is_some() {
                    self.medium_arrived();
                }
                Ok(Reply::Good)
            }
            // Spinning down and up needs no model: a medium is always up to speed.
            0 => Ok(Reply::Good),
            _ => self.medium().map(|_| Reply::Good),
        }
    }

    fn read(&mut self, lba: u32, count: u32) -> Result<Reply, Sense> {
        let blocks = self.medium()?;
        if lba > blocks || count > blocks - lba {
            // The first block that is not there.
            return Err(Sense { information: Some(u64::from(lba.max(blocks))), ..Sense::OUT_OF_RANGE });
        }
        if count == 0 {
            return Ok(Reply::Good);
        }
        let range = Range { offset: u64::from(lba) * CD_BLOCK, len: u64::from(count) * CD_BLOCK };
        Ok(Reply::Medium(Access::Read(range)))
    }

    fn read_cd(&mut self, cdb: &[u8; 16], lba: u32, count: u32) -> Result<Reply, Sense> {
        // Expected sector type: any, mode 1, or (as an image does not say) mode 2 form 1.
        if !matches!(cdb[1] >> 2 & 7, 0 | 2 | 4) {
            self.medium()?;
            return Err(Sense::ILLEGAL_MODE);
        }
        // Header codes, error flags, EDC/ECC and sub-channels are not modelled.
        match (cdb[9] & 0xfe, cdb[10] & 7) {
            (0x10, 0) => self.read(lba, count),
            (0x00, 0) => self.read(lba, 0),
            _ => {
                self.medium()?;
                Err(Sense::INVALID_FIELD.at(if cdb[10] & 7 != 0 { 10 } else { 9 }))
            }
        }
    }
}

impl Target for CdRom {
    fn command(&mut self, command: &Command) -> Reply {
        if let Some(reply) = self.state.unit.begin(command, &ATTENTION_PASSES) {
            return reply;
        }
        let reply = self.run(command);
        self.state.unit.end(command, reply)
    }

    fn data_out(&mut self, command: &Command, data: &[u8]) -> Reply {
        let reply = match command.opcode() {
            opcode::MODE_SELECT_6 | opcode::MODE_SELECT_10 => self.mode_parameters(command, data),
            _ => Err(Sense::INVALID_OPCODE),
        };
        self.state.unit.end(command, reply)
    }

    fn medium_done(&mut self, command: &Command, _access: &Access, result: MediumResult) -> Reply {
        let (sense, offset) = match result {
            MediumResult::Done => return Reply::Good,
            MediumResult::Differs { offset } => (Sense::INTERNAL_FAILURE, offset),
            MediumResult::Failed { failure, offset } => match failure {
                Failure::OutOfRange => (Sense::OUT_OF_RANGE, offset),
                Failure::Medium => (Sense::UNRECOVERED_READ_ERROR, offset),
                Failure::NotReady => (Sense::NO_MEDIUM, offset),
                Failure::ReadOnly => (Sense::INTERNAL_FAILURE, offset),
            },
        };
        self.state.unit.end(command, Err(Sense { information: Some(offset / CD_BLOCK), ..sense }))
    }

    fn reset(&mut self, reset: Reset) {
        self.state.locked = false;
        self.state.modes = Modes::default();
        self.state.unit.reset(reset);
    }

    fn refuse(&mut self, command: &Command, sense: Sense) -> Reply {
        self.state.unit.refuse(command, sense)
    }

    fn sense(&self, initiator: u8) -> Sense {
        self.state.unit.nexuses.sense(initiator)
    }

    fn block_bytes(&self) -> u32 {
        CD_BLOCK as u32
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 3, &self.state);
    }

    /// The medium must be inserted already: when it has another size than the one in the saved state, the guest is told of a medium
    /// change.
    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let mut state: State = r.section(SECTION, 3)?;
        state.unit.validate(SECTION)?;
        let same = state.blocks == self.state.blocks;
        state.blocks = self.state.blocks;
        self.state = state;
        if !same {
            match self.state.blocks {
                Some(_) => self.medium_arrived(),
                None => {
                    self.state.unit.nexuses.withdraw(Attention::MediumChanged);
                    self.state.event = MediaEvent::Removal;
                }
            }
        }
        Ok(())
    }
}
