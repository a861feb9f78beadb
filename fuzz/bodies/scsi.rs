//! The SCSI targets: any command block with any parameter list at any time.
//!
//! The input: one byte that says what happens, then what it needs. A command takes a byte of initiator and unit, and its 16 bytes; if it asks for a
//! parameter list a length and the list follow; if it accesses the medium, how that ended.

use slotone_block::{MediumInfo, Outcome};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Access, CD_BLOCK, CdConfig, CdRom, Command, DISK_BLOCK, Disk, DiskConfig, MediumResult, Range, Reply,
    Reset, SpiFlags, Target, opcode,
};

use super::{Reader, text};

fn saved(target: &dyn Target) -> Vec<u8> {
    let mut w = StateWriter::new();
    target.save(&mut w);
    w.into_bytes()
}

/// What the initiator allocated for the command's data, by the command's own layout (SPC, SBC, MMC).
fn allocated(cdb: &[u8; 16]) -> Option<usize> {
    let u16 = |at: usize| usize::from(u16::from_be_bytes([cdb[at], cdb[at + 1]]));
    let u32 = |at: usize| u16(at) << 16 | u16(at + 2);
    Some(match cdb[0] {
        opcode::REQUEST_SENSE | opcode::MODE_SENSE_6 => usize::from(cdb[4]),
        opcode::INQUIRY => u16(3),
        opcode::READ_CAPACITY => 8,
        opcode::REPORT_LUNS | opcode::READ_DEFECT_DATA_12 => u32(6),
        opcode::SERVICE_ACTION_IN_16 => u32(10),
        opcode::MECHANISM_STATUS | opcode::READ_DVD_STRUCTURE => u16(8),
        opcode::MODE_SENSE_10
        | opcode::LOG_SENSE
        | opcode::READ_DEFECT_DATA_10
        | opcode::READ_TOC
        | opcode::READ_HEADER
        | opcode::READ_SUB_CHANNEL
        | opcode::READ_DISC_INFORMATION
        | opcode::READ_TRACK_INFORMATION
        | opcode::GET_CONFIGURATION
        | opcode::GET_EVENT_STATUS_NOTIFICATION => u16(7),
        _ => return None,
    })
}

/// The medium's size, and that of its blocks.
#[derive(Clone, Copy)]
struct Medium {
    blocks: u64,
    block: u64,
}

fn check_access(access: &Access, medium: Medium, writable: bool) {
    let ranges: Vec<Range> = match access {
        Access::Read(r) | Access::Verify(r) | Access::Compare(r) => vec![*r],
        Access::Write { range, .. } => vec![*range],
        Access::WriteSame { range, block, .. } => {
            assert!(range.len <= 32 << 20 && block.len() as u64 == medium.block, "{range:?}");
            vec![*range]
        }
        Access::Discard(ranges) => ranges.clone(),
        Access::Flush => vec![],
        other => panic!("a new access: {other:?}"),
    };
    let writes = matches!(access, Access::Write { .. } | Access::WriteSame { .. } | Access::Discard(_));
    assert!(writable || !writes, "a write to a read-only medium: {access:?}");
    for Range { offset, len } in ranges {
        assert!(len > 0 && offset % medium.block == 0 && len % medium.block == 0, "{access:?}");
        let (first, count) = (offset / medium.block, len / medium.block);
        assert!(first < medium.blocks && count <= medium.blocks - first, "{access:?} of {}", medium.blocks);
    }
}

fn result(input: &mut Reader<'_>) -> MediumResult {
    let outcomes = [Outcome::OutOfRange, Outcome::ReadOnly, Outcome::MediumError, Outcome::NotReady];
    match input.u8() {
        n @ 1..=4 => MediumResult::new(outcomes[usize::from(n) - 1], u64::from(input.u32()) << 11),
        5 => MediumResult::Differs { offset: u64::from(input.u32()) },
        _ => MediumResult::Done,
    }
}

/// Runs a command to its end; `twin` is told the same, and must answer the same.
fn command(
    target: &mut dyn Target,
    twin: &mut dyn Target,
    input: &mut Reader<'_>,
    medium: Medium,
    writable: bool,
) {
    let who = input.u8();
    let command = Command { initiator: who & 0x0f, lun: who >> 6, cdb: input.array() };
    let mut reply = target.command(&command);
    assert_eq!(twin.command(&command), reply, "a restored target answers as the saved one: {command:02x?}");
    for step in 0.. {
        assert!(step < 4, "a command without an end: {command:02x?}");
        let next = match &reply {
            Reply::DataOut { len } => {
                assert!(step == 0 && (1..=0xffff).contains(len), "{command:02x?}");
                let n = usize::from(input.u8()).min(*len as usize);
                let mut list = input.take(n).to_vec();
                // A whole block is long: what the input does not say is its last byte.
                list.resize(
                    if *len == 512 && n == 255 { 512 } else { list.len() },
                    list.last().copied().unwrap_or(0),
                );
                let next = target.data_out(&command, &list);
                assert_eq!(twin.data_out(&command, &list), next, "{command:02x?}");
                next
            }
            Reply::Medium(access) => {
                check_access(access, medium, writable);
                let result = result(input);
                let next = target.medium_done(&command, access, result);
                assert_eq!(twin.medium_done(&command, access, result), next, "{command:02x?}");
                assert!(
                    result == MediumResult::Done || matches!(next, Reply::Check(_)),
                    "a failure goes unnoticed: {access:?}"
                );
                next
            }
            Reply::DataIn(data) => {
                let most = allocated(&command.cdb)
                    .unwrap_or_else(|| panic!("{command:02x?} has no data to give: {data:02x?}"));
                assert!(!data.is_empty() && data.len() <= most, "{} bytes, {most} allocated", data.len());
                break;
            }
            Reply::Check(sense) => {
                // A fault stays for REQUEST SENSE, but for that of a unit which is not there.
                assert!(command.lun != 0 || target.sense(command.initiator) == *sense);
                assert!(sense.key.code() != 0, "CHECK CONDITION without a reason: {command:02x?}");
                break;
            }
            Reply::Good | Reply::ReservationConflict => break,
            other => panic!("a new reply: {other:?}"),
        };
        reply = next;
    }
    assert_eq!(saved(target), saved(twin), "{command:02x?}");
}

/// A damaged state is refused and changes nothing, or is one that a target can have.
fn damage(target: &mut dyn Target, input: &mut Reader<'_>) {
    let before = saved(target);
    let mut bytes = before.clone();
    let at = usize::from(input.u16()) % bytes.len();
    bytes[at] ^= input.u8();
    if target.restore(&mut StateReader::new(&bytes)).is_err() {
        assert_eq!(saved(target), before, "a refused state changes nothing");
    }
}

const RESETS: [Reset; 3] = [Reset::PowerOn, Reset::Bus, Reset::Device];

/// See the module. The first byte of the input chooses the disk.
pub fn scsi_disk(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let kind = input.u8();
    let blocks = [0x10_0000, 0, 1, 1 << 32, 1 << 40, 4_278_190_080, 0xffff_ffff, 255][usize::from(kind & 7)];
    let info = MediumInfo {
        capacity: blocks * DISK_BLOCK,
        physical_block: if kind & 8 == 0 { 512 } else { 4096 },
        read_only: kind & 0x10 != 0,
        geometry: None,
        discards: kind & 0x20 == 0,
        name: String::new(),
    };
    let mut config = DiskConfig::new(&info);
    if kind & 0x40 != 0 {
        config.serial = "0123456789".to_string();
    }
    let medium = Medium { blocks, block: DISK_BLOCK };
    let mut disk = Disk::new(config.clone());
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 16 {
            0..=2 => disk.reset(RESETS[usize::from(input.u8() % 3)]),
            3 => damage(&mut disk, &mut input),
            _ => {
                let mut twin = Disk::new(config.clone());
                twin.restore(&mut StateReader::new(&saved(&disk))).expect("its own state");
                command(&mut disk, &mut twin, &mut input, medium, !info.read_only);
            }
        }
    }
}

/// See the module. The first byte of the input chooses between ATAPI and SCSI.
pub fn scsi_cdrom(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let kind = input.u8();
    let config = CdConfig {
        spi: (kind & 1 != 0).then_some(SpiFlags::default()),
        serial: if kind & 2 != 0 { "0123".to_string() } else { String::new() },
        ..CdConfig::default()
    };
    let mut drive = CdRom::with_config(config.clone());
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 16 {
            0 => drive.insert(u64::from(input.u32()) << (input.u8() % 40)),
            1 => drive.eject(),
            2 => drive.reset(RESETS[usize::from(input.u8() % 3)]),
            3 => damage(&mut drive, &mut input),
            _ => {
                let mut twin = CdRom::with_config(config.clone());
                if let Some(blocks) = drive.blocks() {
                    twin.insert(u64::from(blocks) * CD_BLOCK);
                }
                twin.restore(&mut StateReader::new(&saved(&drive))).expect("its own state");
                let blocks = if drive.ready() { drive.blocks().unwrap_or(0) } else { 0 };
                // A command that opens the tray reads nothing, so what was there before it counts.
                let medium = Medium { blocks: u64::from(blocks), block: CD_BLOCK };
                command(&mut drive, &mut twin, &mut input, medium, false);
            }
        }
    }
}
