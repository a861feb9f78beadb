//! SCSI disks and CD-ROM drives: the commands that int 13h needs, sense data, and the scan of POST.

use super::aic7870::{self, Address, Command, Data, Ended};
use super::drives::{self, Drive, Kind};
use super::transfer::{Operation, Progress, code, local, operation};
use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::int10::text::print;
use crate::wait;

/// Where INQUIRY data go, and other answers of targets, in the EBDA.
const INQUIRY: u32 = bda::EBDA + 0x80;
const INQUIRY_BYTES: u16 = 36;
const ANSWER: u32 = bda::EBDA + 0xC0;
const SENSE_BYTES: u16 = 18;
/// Where POST reads the first sectors of disks: nothing is booted yet.
const FIRST_SECTOR: u32 = 0x7C00;

/// Locals of its own: words 5 and 8 (low byte), the high byte of the operation's word.
const IN_COMMAND: usize = 5;
const PATIENCE: usize = 8;

/// How long a target may take for a transfer, and for an answer to POST.
const TRANSFER_NANOS: u64 = 20_000_000_000;
const POST_NANOS: u64 = 2_000_000_000;

/// What may be lost by retries: a unit attention or an aborted command costs much, a target that gets ready or is busy little, for it
/// is asked again at the next tick of the timer.
const PATIENCE_FULL: u16 = 100;
const ATTENTION: u16 = 16;
const NOT_YET: u16 = 1;

/// The command at hand, in the high byte of the operation's word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Transfer = 0,
    /// REQUEST SENSE behind another command, which is in the upper four bits.
    Sense = 1,
    Ready = 2,
    Inquiry = 3,
    Capacity = 4,
    Capacity16 = 5,
    /// No command: a reset of the bus.
    Reset = 6,
    /// START STOP UNIT, before another command is tried again.
    Start = 7,
    /// The first sector of a disk.
    Partitions = 8,
}

const WHATS: [What; 9] = [
    What::Transfer,
    What::Sense,
    What::Ready,
    What::Inquiry,
    What::Capacity,
    What::Capacity16,
    What::Reset,
    What::Start,
    What::Partitions,
];

/// The command at hand, and the one that failed if it is REQUEST SENSE or START STOP UNIT.
fn what(frame: &Frame) -> (What, What) {
    let byte = usize::from(frame.local16(local::OPERATION) >> 8);
    let at = |index: usize| WHATS.get(index).copied().unwrap_or(What::Transfer);
    (at(byte & 0xF), at(byte >> 4))
}

fn set_what(frame: &mut Frame, what: What, failed: What) {
    let operation = frame.local16(local::OPERATION) & 0x00FF;
    frame.set_local16(local::OPERATION, operation | (what as u16 | (failed as u16) << 4) << 8);
}

fn patience(frame: &Frame) -> u16 {
    frame.local16(PATIENCE) & 0x00FF
}

fn set_patience(frame: &mut Frame, value: u16) {
    let flags = frame.local16(PATIENCE) & 0xFF00;
    frame.set_local16(PATIENCE, flags | value.min(0xFF));
}

/// The command at hand as it goes over the bus.
fn command(frame: &Frame, drive: &Drive) -> Command {
    let mut block = [0; 16];
    let (data, len) = match what(frame).0 {
        What::Transfer => {
            let what = operation(frame);
            let sectors = frame.local16(IN_COMMAND);
            // READ(10), WRITE(10), VERIFY(10)
            block[0] = match what {
                Operation::Read => 0x28,
                Operation::Write => 0x2A,
                Operation::Verify => 0x2F,
            };
            block[2..6].copy_from_slice(&frame.local32(local::LBA).to_be_bytes());
            block[7..9].copy_from_slice(&sectors.to_be_bytes());
            let linear = frame.local32(local::LINEAR);
            let len = sectors.wrapping_mul(drive.sector_bytes());
            match what {
                Operation::Read => (Data::In(linear), len),
                Operation::Write => (Data::Out(linear), len),
                Operation::Verify => (Data::None, 0),
            }
        }
        What::Sense => {
            block[0] = 0x03;
            block[4] = SENSE_BYTES as u8;
            (Data::In(ANSWER), SENSE_BYTES)
        }
        What::Ready | What::Reset => (Data::None, 0),
        What::Start => {
            block[0] = 0x1B;
            block[4] = 0x01;
            (Data::None, 0)
        }
        What::Inquiry => {
            block[0] = 0x12;
            block[4] = INQUIRY_BYTES as u8;
            (Data::In(INQUIRY), INQUIRY_BYTES)
        }
        What::Capacity => {
            block[0] = 0x25;
            (Data::In(ANSWER), 8)
        }
        What::Partitions => {
            // READ(10) of one block, the first.
            block[0] = 0x28;
            block[8] = 1;
            (Data::In(FIRST_SECTOR), 512)
        }
        What::Capacity16 => {
            // SERVICE ACTION IN(16)
            block[0] = 0x9E;
            block[1] = 0x10;
            block[13] = 32;
            (Data::In(ANSWER), 32)
        }
    };
    let limit = if what(frame).1 == What::Transfer { TRANSFER_NANOS } else { POST_NANOS };
    Command { block, data, len, limit }
}

/// Prepares a command, with all patience.
fn issue(frame: &mut Frame, drive: &Drive, what: What) {
    set_patience(frame, PATIENCE_FULL);
    prepare(frame, drive, what, what);
}

fn prepare(frame: &mut Frame, drive: &Drive, what: What, failed: What) {
    set_what(frame, what, failed);
    if what == What::Transfer {
        // The counters of a command hold 65535 bytes.
        let most = u16::MAX / drive.sector_bytes();
        frame.set_local16(IN_COMMAND, frame.local16(local::REMAINING).min(most));
    }
    let len = command(frame, drive).len;
    aic7870::begin(frame, len);
}

/// How a command came out, retries and sense data included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Done,
    /// With this int 13h code.
    Failed(u8),
}

/// Goes on with the prepared command; the error is how to wait. Each call of the service does one command at most.
fn exchange(
    bus: &mut dyn Initiator,
    frame: &mut Frame,
    drive: &Drive,
    at: Address,
) -> Result<Answer, Outcome> {
    let command = command(frame, drive);
    let (what, failed) = what(frame);
    let (next, later) = match aic7870::run(bus, frame, at, &command) {
        Ended::Wait(outcome) => return Err(outcome),
        Ended::Good | Ended::Short if what == What::Sense => match judge(bus, frame, failed) {
            Verdict::Failed(code) => return Ok(Answer::Failed(code)),
            Verdict::Again => (failed, false),
            Verdict::Later => (failed, true),
            Verdict::Start => (What::Start, false),
        },
        Ended::Good if what == What::Start => (failed, false),
        Ended::Good => return Ok(Answer::Done),
        // A target may know less about itself than was asked.
        Ended::Short if what == What::Inquiry => return Ok(Answer::Done),
        Ended::Check if !matches!(what, What::Sense | What::Start) => {
            bus.put(ANSWER, &[0; SENSE_BYTES as usize]);
            (What::Sense, false)
        }
        Ended::Busy if spend(frame, NOT_YET) => (what, true),
        Ended::Busy => return Ok(Answer::Failed(code::NOT_READY)),
        Ended::Absent => return Ok(Answer::Failed(code::TIMEOUT)),
        Ended::Short | Ended::Check | Ended::Broken => return Ok(Answer::Failed(code::CONTROLLER)),
    };
    prepare(frame, drive, next, failed);
    Err(if later { wait::idle(bus) } else { Outcome::Spin })
}

/// Whether patience suffices for another try.
fn spend(frame: &mut Frame, cost: u16) -> bool {
    let left = patience(frame).checked_sub(cost);
    if let Some(left) = left {
        set_patience(frame, left);
    }
    left.is_some()
}

/// What follows from sense data.
enum Verdict {
    Again,
    /// Again when some time has passed.
    Later,
    /// Again when the motor runs.
    Start,
    Failed(u8),
}

fn judge(bus: &mut dyn Initiator, frame: &mut Frame, failed: What) -> Verdict {
    let sense = bus.get::<{ SENSE_BYTES as usize }>(ANSWER);
    let (key, asc) = (sense[2] & 0xF, sense[12]);
    let writing = failed == What::Transfer && operation(frame) == Operation::Write;
    let code = match key {
        // "Initializing command required": somebody has stopped it.
        2 if (asc, sense[13]) == (0x04, 0x02) && spend(frame, ATTENTION) => return Verdict::Start,
        // Becoming ready.
        2 if asc == 0x04 && spend(frame, NOT_YET) => return Verdict::Later,
        // Recovered, unit attention, aborted.
        0 | 1 | 6 | 0xB if spend(frame, ATTENTION) => return Verdict::Again,
        2 if asc == 0x3A => code::NO_MEDIA,
        2 | 6 => code::NOT_READY,
        3 if writing => code::WRITE_FAULT,
        3 => code::UNCORRECTABLE,
        // LBA out of range.
        5 if asc == 0x21 => code::NOT_FOUND,
        5 => code::BAD_COMMAND,
        7 => code::WRITE_PROTECTED,
        _ => code::CONTROLLER,
    };
    Verdict::Failed(code)
}

/// Begins the transfer that the common locals describe; [`run`] does it.
pub(super) fn begin(frame: &mut Frame, drive: &Drive) {
    frame.set_phase(0);
    issue(frame, drive, What::Transfer);
}

/// Goes on with a transfer.
pub(super) fn run(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive, at: Address) -> Progress {
    let remaining = frame.local16(local::REMAINING);
    if remaining == 0 {
        return Progress::Done;
    }
    let linear = frame.local32(local::LINEAR);
    if aic7870::is_prepared(frame) && operation(frame) == Operation::Write {
        // Better no command than one that stops in the middle for want of data.
        let mut data = vec![0; usize::from(command(frame, drive).len)];
        if bus.mem_read(linear, &mut data).is_err() {
            return Progress::Failed(code::BAD_COMMAND);
        }
    }
    match exchange(bus, frame, drive, at) {
        Err(outcome) => return Progress::Wait(outcome),
        Ok(Answer::Failed(code)) => return Progress::Failed(code),
        Ok(Answer::Done) => {}
    }
    let done = frame.local16(IN_COMMAND).clamp(1, remaining);
    let bytes = u32::from(done) * u32::from(drive.sector_bytes());
    frame.set_local32(local::LINEAR, linear.wrapping_add(bytes));
    frame.set_local32(local::LBA, frame.local32(local::LBA).wrapping_add(u32::from(done)));
    frame.set_local16(local::REMAINING, remaining - done);
    if remaining == done {
        return Progress::Done;
    }
    issue(frame, drive, What::Transfer);
    Progress::Wait(Outcome::Spin)
}

/// Where the scan of POST is, in the locals: word 9, and a double word that transfers have no use for then.
mod scan_local {
    pub(super) const PLACE: usize = 9;
    pub(super) const ADAPTER: usize = super::local::LBA;
}

/// The scan's stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Look for the first adapter, or for the next.
    First = 0,
    Next = 1,
    Reset = 2,
    Inquiry = 3,
    Ready = 4,
    Capacity = 5,
    Capacity16 = 6,
    Partitions = 7,
}

const STAGES: [Stage; 8] = [
    Stage::First,
    Stage::Next,
    Stage::Reset,
    Stage::Inquiry,
    Stage::Ready,
    Stage::Capacity,
    Stage::Capacity16,
    Stage::Partitions,
];

/// The scan as the frame has it.
struct Scan {
    stage: Stage,
    at: Address,
    /// Number of the adapter, and of drives found so far.
    controller: u8,
    found: u8,
}

impl Scan {
    fn load(frame: &Frame) -> Self {
        let place = frame.local16(scan_local::PLACE);
        let [own, controller, found, _] = frame.local32(scan_local::ADAPTER).to_le_bytes();
        let stage = STAGES.get(usize::from(place >> 11)).copied().unwrap_or(Stage::Next);
        Self { stage, at: Address { devfn: place as u8, own, id: (place >> 8 & 7) as u8 }, controller, found }
    }

    fn store(&self, frame: &mut Frame) {
        let place = u16::from(self.at.devfn) | u16::from(self.at.id) << 8 | (self.stage as u16) << 11;
        frame.set_local16(scan_local::PLACE, place);
        let adapter = u32::from_le_bytes([self.at.own, self.controller, self.found, 0]);
        frame.set_local32(scan_local::ADAPTER, adapter);
    }

    fn go(&mut self, frame: &mut Frame, stage: Stage) {
        self.stage = stage;
        let what = match stage {
            Stage::First | Stage::Next => return,
            Stage::Reset => {
                set_what(frame, What::Reset, What::Reset);
                return aic7870::begin_reset(frame);
            }
            Stage::Inquiry => What::Inquiry,
            Stage::Ready => What::Ready,
            Stage::Capacity => What::Capacity,
            Stage::Capacity16 => What::Capacity16,
            Stage::Partitions => What::Partitions,
        };
        issue(frame, &Drive::default(), what);
    }

    /// On to the ID behind this one, or to the next adapter.
    fn go_to_id(&mut self, frame: &mut Frame, id: u8) {
        let id = if id == self.at.own { id + 1 } else { id };
        if id < IDS {
            self.at.id = id;
            self.go(frame, Stage::Inquiry);
        } else {
            self.go(frame, Stage::Next);
        }
    }
}

/// Adapters that are looked at.
const ADAPTERS: u8 = 4;
/// SCSI IDs that are looked at: those of a narrow bus.
const IDS: u8 = 8;

/// Begins to look for adapters.
pub(crate) fn start_detection(frame: &mut Frame) {
    frame.set_local16(scan_local::PLACE, 0);
    frame.set_local32(scan_local::ADAPTER, 0);
}

/// Looks at one ID after another of one adapter after another, one command a call; done when all are known. A machine without adapters
/// is done at once.
pub(crate) fn detect(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    loop {
        let mut scan = Scan::load(frame);
        if matches!(scan.stage, Stage::First | Stage::Next) {
            let first = scan.stage == Stage::First;
            let behind = (!first).then_some(scan.at.devfn);
            scan.controller = if first { 0 } else { scan.controller.saturating_add(1) };
            if scan.controller >= ADAPTERS {
                return Outcome::Done;
            }
            let Some(devfn) = aic7870::next_adapter(bus, behind) else { return Outcome::Done };
            scan.at = Address { devfn, own: aic7870::own_id(bus, devfn), id: 0 };
            scan.go(frame, Stage::Reset);
            scan.store(frame);
            continue;
        }
        let answer = match exchange(bus, frame, &Drive::default(), scan.at) {
            Ok(answer) => answer,
            Err(outcome) => return outcome,
        };
        step(bus, frame, &mut scan, answer);
        scan.store(frame);
        return Outcome::Spin;
    }
}

/// What an answer leads to.
fn step(bus: &mut dyn Initiator, frame: &mut Frame, scan: &mut Scan, answer: Answer) {
    let next = scan.at.id + 1;
    let inquiry = bus.get::<{ INQUIRY_BYTES as usize }>(INQUIRY);
    let kind = match inquiry[0] {
        0x00 => Kind::Disk,
        0x05 => Kind::Cd,
        _ => Kind::None,
    };
    match (scan.stage, answer) {
        (Stage::Reset, _) => {
            scan.go_to_id(frame, 0);
        }
        (Stage::Inquiry, Answer::Done) => match kind {
            // Nothing connected to the unit, or nothing that int 13h reads.
            Kind::None if inquiry[0] & 0xE0 != 0 => scan.go_to_id(frame, next),
            Kind::None => {
                announce(bus, scan, &inquiry, "");
                scan.go_to_id(frame, next);
            }
            _ => scan.go(frame, Stage::Ready),
        },
        (Stage::Ready, _) if kind == Kind::Cd => {
            // With a disc or without.
            announce(bus, scan, &inquiry, "");
            Drive::scsi_cd(scan.found, scan.controller, scan.at).store(bus);
            scan.found = scan.found.saturating_add(1);
            scan.go_to_id(frame, next);
        }
        (Stage::Ready, Answer::Done) => scan.go(frame, Stage::Capacity),
        (Stage::Capacity, Answer::Done) => {
            let answer = bus.get::<8>(ANSWER);
            let last = u32::from_be_bytes([answer[0], answer[1], answer[2], answer[3]]);
            let bytes = u32::from_be_bytes([answer[4], answer[5], answer[6], answer[7]]);
            if last == u32::MAX {
                scan.go(frame, Stage::Capacity16);
            } else {
                disk(bus, frame, scan, &inquiry, u64::from(last) + 1, bytes);
            }
        }
        (Stage::Capacity16, Answer::Done) => {
            let answer = bus.get::<12>(ANSWER);
            let last = answer[..8].iter().fold(0, |last, byte| last << 8 | u64::from(*byte));
            let bytes = u32::from_be_bytes([answer[8], answer[9], answer[10], answer[11]]);
            disk(bus, frame, scan, &inquiry, last.saturating_add(1), bytes);
        }
        (Stage::Partitions, answer) => {
            // A disk that cannot be read is there all the same.
            let made_for = match answer {
                Answer::Done => drives::partitioned(&bus.get(FIRST_SECTOR)),
                Answer::Failed(_) => None,
            };
            if made_for.is_some()
                && let Some(drive) = drives::scsi_by_slot(bus, scan.found)
            {
                Drive::scsi_disk(scan.found, scan.controller, scan.at, drive.sectors, made_for).store(bus);
            }
            scan.found = scan.found.saturating_add(1);
            scan.go_to_id(frame, next);
        }
        (Stage::Ready | Stage::Capacity | Stage::Capacity16, Answer::Failed(_)) => {
            announce(bus, scan, &inquiry, ", not ready");
            scan.go_to_id(frame, next);
        }
        _ => scan.go_to_id(frame, next),
    }
}

/// A disk's size is known.
fn disk(
    bus: &mut dyn Initiator,
    frame: &mut Frame,
    scan: &mut Scan,
    inquiry: &[u8],
    sectors: u64,
    bytes: u32,
) {
    announce(bus, scan, inquiry, &format!(", {} MB", sectors.saturating_mul(u64::from(bytes)) >> 20));
    // Int 13h knows sectors of 512 bytes only.
    if bytes == 512 {
        Drive::scsi_disk(scan.found, scan.controller, scan.at, sectors, None).store(bus);
        scan.go(frame, Stage::Partitions);
    } else {
        let next = scan.at.id + 1;
        scan.go_to_id(frame, next);
    }
}

/// The line POST prints for a target.
fn announce(bus: &mut dyn Initiator, scan: &Scan, inquiry: &[u8], more: &str) {
    let text = |range: std::ops::Range<usize>| {
        let bytes = inquiry[range].iter();
        let text: String =
            bytes.map(|byte| if (0x20..0x7F).contains(byte) { char::from(*byte) } else { ' ' }).collect();
        text.trim().to_string()
    };
    let place = format!("SCSI {} ID {}", scan.controller, scan.at.id);
    let name = format!("{} {}", text(8..16), text(16..32));
    print(bus, &format!("{place:<16} : {}{more}\n", name.trim()));
}
