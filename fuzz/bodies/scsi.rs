//! The SCSI targets: any command block with any parameter list at any time.
//!
//! What a disk's command means is worked out here a second time: which blocks, what is durable, what its mode pages say.
//!
//! The input: one byte that says what happens, then what it needs. A command takes a byte of initiator and unit, and its 16 bytes; if it asks for a
//! parameter list a length and the list follow; if it accesses the medium, how that ended.

use slotone_block::{MediumInfo, Outcome};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Access, CD_BLOCK, CdConfig, CdRom, Command, Disk, DiskConfig, MediumResult, Range, Reply, Reset,
    SpiFlags, Target, opcode,
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

/// Bytes of a command block by its group (SPC-2, 4.3.2).
fn cdb_len(code: u8) -> usize {
    [6, 10, 10, 6, 16, 12, 6, 6][usize::from(code >> 5)]
}

/// First block and number of blocks of a command that addresses a disk's blocks.
fn addressed(cdb: &[u8; 16]) -> Option<(u64, u64)> {
    use opcode::*;
    let number =
        |at: usize, len: usize| cdb[at..at + len].iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
    Some(match cdb[0] {
        READ_6 | WRITE_6 => (number(1, 3) & 0x1f_ffff, if cdb[4] == 0 { 256 } else { number(4, 1) }),
        READ_10 | WRITE_10 | WRITE_AND_VERIFY_10 | VERIFY_10 | WRITE_SAME_10 => (number(2, 4), number(7, 2)),
        READ_12 | WRITE_12 | WRITE_AND_VERIFY_12 | VERIFY_12 => (number(2, 4), number(6, 4)),
        READ_16 | WRITE_16 | WRITE_AND_VERIFY_16 | VERIFY_16 | WRITE_SAME_16 => (number(2, 8), number(10, 4)),
        _ => return None,
    })
}

/// What a disk should be, as far as its initiators can change it.
struct DiskModel {
    write_cache: bool,
    /// Unknown after a damaged state was accepted.
    write_protect: Option<bool>,
    read_only: bool,
}

impl DiskModel {
    /// The first answer to a command.
    fn check(&mut self, command: &Command, reply: &Reply, medium: Medium) {
        let (cdb, initiator) = (&command.cdb, command.initiator);
        if command.lun != 0 {
            return;
        }
        if let Some((first, count)) = addressed(cdb) {
            let there = first <= medium.blocks && count <= medium.blocks - first;
            match reply {
                Reply::Good => assert!(there && count == 0, "nothing is done: {cdb:02x?} of {initiator}"),
                Reply::Check(sense) if there => {
                    assert_ne!(sense.asc, 0x21, "{cdb:02x?}: the blocks are there")
                }
                Reply::DataOut { .. } => assert!(there, "{cdb:02x?}"),
                _ => {}
            }
        }
        self.check_access(cdb, reply, medium);
        match (cdb[0], reply) {
            (opcode::MODE_SENSE_6 | opcode::MODE_SENSE_10, Reply::DataIn(data)) => {
                self.mode_sense(cdb, data, medium)
            }
            // The content of a standard INQUIRY is longer than its header says.
            (opcode::READ_CAPACITY, Reply::DataIn(data)) => {
                let last = u32::try_from(medium.blocks.saturating_sub(1)).unwrap_or(u32::MAX);
                let whole = [last.to_be_bytes(), (medium.block as u32).to_be_bytes()].concat();
                assert!(medium.blocks == 0 || *data == whole, "{data:02x?}");
            }
            _ => {}
        }
    }

    /// The range of an access is the one that the command says, and writes are durable when they have to be.
    fn check_access(&self, cdb: &[u8; 16], reply: &Reply, medium: Medium) {
        let (Some((first, count)), Reply::Medium(access)) = (addressed(cdb), reply) else { return };
        let (Access::Read(range)
        | Access::Verify(range)
        | Access::Compare(range)
        | Access::Write { range, .. }
        | Access::WriteSame { range, .. }) = access
        else {
            panic!("{cdb:02x?} is {access:?}");
        };
        let expected = Range { offset: first * medium.block, len: count * medium.block };
        assert_eq!(*range, expected, "{cdb:02x?}");
        if let Access::Write { fua, .. } | Access::WriteSame { fua, .. } = access {
            let verify = matches!(cdb[0], 0x2e | 0xae | 0x8e);
            let asked = cdb_len(cdb[0]) != 6 && !matches!(cdb[0], 0x41 | 0x93) && cdb[1] & 8 != 0;
            assert_eq!(*fua, verify || asked || !self.write_cache, "{cdb:02x?}: durable?");
            assert_ne!(self.write_protect, Some(true), "{cdb:02x?} of a protected disk");
        }
    }

    /// The last answer to a parameter list that was sent.
    fn selected(&mut self, cdb: &[u8; 16], list: &[u8], reply: &Reply) {
        if matches!(reply, Reply::Check(_)) {
            return;
        }
        let (header, descriptors) = match cdb[0] {
            opcode::MODE_SELECT_6 => (4, usize::from(list[3])),
            opcode::MODE_SELECT_10 => (8, usize::from(list[6]) << 8 | usize::from(list[7])),
            _ => return,
        };
        let had = self.write_cache;
        let mut rest = &list[header + descriptors..];
        while let [code, len, tail @ ..] = rest {
            match code & 0x3f {
                0x08 => self.write_cache = tail[0] & 4 != 0,
                0x0a => self.write_protect = Some(tail[2] & 8 != 0),
                _ => {}
            }
            rest = &tail[usize::from(*len)..];
        }
        let flushes = *reply == Reply::Medium(Access::Flush);
        assert_eq!(flushes, had && !self.write_cache, "a cache that ends is written");
    }

    /// MODE SENSE: every length, the block descriptor, the pages that were asked for, what can be changed and what it is.
    fn mode_sense(&mut self, cdb: &[u8; 16], data: &[u8], medium: Medium) {
        let ten = cdb[0] == opcode::MODE_SENSE_10;
        let header = if ten { 8 } else { 4 };
        let allocated = allocated(cdb).unwrap_or(0);
        if data.len() < header {
            return assert_eq!(data.len(), allocated);
        }
        let whole = if ten { usize::from(data[0]) << 8 | usize::from(data[1]) } else { data[0].into() };
        let whole = whole + if ten { 2 } else { 1 };
        assert_eq!(data.len(), whole.min(allocated), "{cdb:02x?}: {data:02x?}");
        if data.len() < whole {
            return;
        }
        let specific = data[if ten { 3 } else { 2 }];
        let protected = specific & 0x80 != 0;
        assert_eq!(specific & 0x7f, 0x10, "{cdb:02x?}");
        assert!(protected || !self.read_only);
        if !self.read_only {
            assert_eq!(*self.write_protect.get_or_insert(protected), protected, "{cdb:02x?}");
        }
        let descriptor = if ten { usize::from(data[6]) << 8 | usize::from(data[7]) } else { data[3].into() };
        let long = ten && cdb[1] & 0x10 != 0;
        let expected = match (cdb[1] & 8 != 0, long) {
            (true, _) => 0,
            (_, false) => 8,
            (_, true) => 16,
        };
        assert_eq!(descriptor, expected, "{cdb:02x?}");
        let (descriptor, mut rest) = data[header..].split_at(descriptor);
        let number = |bytes: &[u8]| bytes.iter().fold(0, |n, byte| n << 8 | u64::from(*byte));
        match descriptor.len() {
            8 => assert_eq!(
                (number(&descriptor[..4]), number(&descriptor[5..])),
                (medium.blocks.min(0xff_ffff), medium.block)
            ),
            16 => assert_eq!(
                (number(&descriptor[..8]), number(&descriptor[12..])),
                (medium.blocks, medium.block)
            ),
            _ => {}
        }
        let (control, wanted) = (cdb[2] >> 6, cdb[2] & 0x3f);
        let mut codes = Vec::new();
        while let [code, len, tail @ ..] = rest {
            let (content, tail) = tail.split_at(usize::from(*len));
            let known = [(1, 10), (2, 14), (3, 22), (4, 22), (8, 18), (0x0a, 10), (0x1c, 10)];
            assert!(known.contains(&(*code, *len)), "page {code:02x} of {len} bytes");
            codes.push(*code);
            let (flag, mask) = match *code {
                0x08 => (0, 4),
                0x0a => (2, 8),
                _ => (0, 0),
            };
            let on = if *code == 0x08 { Some(self.write_cache) } else { self.write_protect };
            match control {
                1 => {
                    for (at, byte) in content.iter().enumerate() {
                        assert_eq!(
                            *byte,
                            if at == flag { mask } else { 0 },
                            "page {code:02x}: what can be changed"
                        );
                    }
                }
                0 => assert!(
                    mask == 0 || on.is_none_or(|on| (content[flag] & mask != 0) == on),
                    "page {code:02x} now"
                ),
                2 => assert!(*code != 8 || content[0] & 4 != 0, "the cache is on by default"),
                _ => panic!("saved values of {code:02x}"),
            }
            rest = tail;
        }
        assert!(rest.is_empty());
        match wanted {
            0x3f => assert_eq!(codes, [1, 2, 3, 4, 8, 0x0a, 0x1c]),
            0 => assert!(codes.is_empty()),
            wanted => assert_eq!(codes, [wanted]),
        }
    }
}

/// Runs a command to its end; `twin` is told the same, and must answer the same. What follows the command block in its field is
/// something else for the twin: it has no meaning.
fn command(
    target: &mut dyn Target,
    twin: &mut dyn Target,
    input: &mut Reader<'_>,
    medium: Medium,
    writable: bool,
    mut model: Option<&mut DiskModel>,
) {
    let who = input.u8();
    let command = Command { initiator: who & 0x0f, lun: who >> 6, cdb: input.array() };
    let mut reply = target.command(&command);
    let mut other = command;
    other.cdb[cdb_len(command.cdb[0])..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    assert_eq!(twin.command(&other), reply, "a restored target answers as the saved one: {command:02x?}");
    assert_eq!(opcode::cdb_len(command.cdb[0]), cdb_len(command.cdb[0]));
    if let Some(model) = &mut model {
        model.check(&command, &reply, medium);
    }
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
                assert_eq!(twin.data_out(&other, &list), next, "{command:02x?}");
                if let Some(model) = &mut model {
                    model.selected(&command.cdb, &list, &next);
                    model.check_access(&command.cdb, &next, medium);
                }
                next
            }
            Reply::Medium(access) => {
                check_access(access, medium, writable);
                let result = result(input);
                let next = target.medium_done(&command, access, result);
                assert_eq!(twin.medium_done(&other, access, result), next, "{command:02x?}");
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
    let block = if kind & 0x80 == 0 { 512 } else { 4096 };
    let info = MediumInfo {
        capacity: blocks * u64::from(block),
        physical_block: if kind & 8 == 0 { 512 } else { 4096 },
        read_only: kind & 0x10 != 0,
        geometry: None,
        discards: kind & 0x20 == 0,
        name: String::new(),
    };
    let mut config = DiskConfig { block, ..DiskConfig::new(&info) };
    if kind & 0x40 != 0 {
        config.serial = "0123456789".to_string();
    }
    let medium = Medium { blocks, block: block.into() };
    let mut disk = Disk::new(config.clone());
    let mut model = DiskModel { write_cache: true, write_protect: Some(false), read_only: info.read_only };
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 16 {
            0..=2 => {
                disk.reset(RESETS[usize::from(input.u8() % 3)]);
                (model.write_cache, model.write_protect) = (true, Some(false));
            }
            3 => {
                damage(&mut disk, &mut input);
                (model.write_cache, model.write_protect) = (disk.write_cache(), None);
            }
            _ => {
                let mut twin = Disk::new(config.clone());
                twin.restore(&mut StateReader::new(&saved(&disk))).expect("its own state");
                command(&mut disk, &mut twin, &mut input, medium, !info.read_only, Some(&mut model));
                assert_eq!(disk.write_cache(), model.write_cache);
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
                command(&mut drive, &mut twin, &mut input, medium, false, None);
            }
        }
    }
}
