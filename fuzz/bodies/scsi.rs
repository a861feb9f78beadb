//! The CD-ROM target: any command block at any time.
//!
//! The input: one byte that says what happens, then what it needs; a command takes its 12 bytes.

use slotone_block::Outcome;
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{Access, CD_BLOCK, CdRom, Command, MediumResult, Range, Reply, Reset, Target, opcode};

use super::{Reader, text};

fn saved(drive: &CdRom) -> Vec<u8> {
    let mut w = StateWriter::new();
    drive.save(&mut w);
    w.into_bytes()
}

/// What the initiator allocated for the command's data, by the command's own layout (SPC-2, MMC-3).
fn allocated(cdb: &[u8; 12]) -> Option<usize> {
    Some(match cdb[0] {
        opcode::REQUEST_SENSE | opcode::MODE_SENSE_6 => usize::from(cdb[4]),
        opcode::INQUIRY => usize::from(cdb[3]) << 8 | usize::from(cdb[4]),
        opcode::REPORT_LUNS => cdb[6..10].iter().fold(0, |n, b| n << 8 | usize::from(*b)),
        opcode::READ_CAPACITY => 8,
        opcode::MECHANISM_STATUS => usize::from(cdb[8]) << 8 | usize::from(cdb[9]),
        opcode::MODE_SENSE_10
        | opcode::READ_TOC
        | opcode::READ_HEADER
        | opcode::READ_SUB_CHANNEL
        | opcode::READ_DISC_INFORMATION
        | opcode::READ_TRACK_INFORMATION
        | opcode::GET_CONFIGURATION
        | opcode::GET_EVENT_STATUS_NOTIFICATION => usize::from(cdb[7]) << 8 | usize::from(cdb[8]),
        _ => return None,
    })
}

/// A fault in the sense data is reported in the next REQUEST SENSE, which is 18 bytes of fixed format.
fn check_reply(drive: &CdRom, cdb: &[u8; 12], reply: &Reply) {
    match reply {
        Reply::Good => {}
        Reply::DataIn(data) => {
            let most =
                allocated(cdb).unwrap_or_else(|| panic!("{cdb:02x?} has no data to give: {data:02x?}"));
            assert!(
                !data.is_empty() && data.len() <= most,
                "{} bytes, {most} allocated: {cdb:02x?}",
                data.len()
            );
        }
        Reply::Medium(Access::Read(Range { offset, len })) => {
            assert!(drive.ready(), "a read without a medium: {cdb:02x?}");
            let blocks = u64::from(drive.blocks().expect("a medium"));
            assert!(*len > 0 && offset % CD_BLOCK == 0 && len % CD_BLOCK == 0, "{cdb:02x?}");
            assert!(offset / CD_BLOCK + len / CD_BLOCK <= blocks, "{cdb:02x?} reads behind {blocks} blocks");
        }
        Reply::Check(sense) => {
            assert_eq!(drive.sense(0), *sense);
            assert!(sense.key.code() != 0, "CHECK CONDITION without a reason: {cdb:02x?}");
        }
        other => panic!("a new reply: {other:?}"),
    }
}

/// See the module.
pub fn scsi_cd(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let mut drive = CdRom::new();
    for _ in 0..200 {
        if input.is_empty() {
            break;
        }
        match input.u8() % 16 {
            0 => drive.insert(u64::from(input.u32()) << (input.u8() % 40)),
            1 => drive.eject(),
            2 => drive.reset(Reset::PowerOn),
            3 => {
                let outcomes = [
                    Outcome::Done,
                    Outcome::OutOfRange,
                    Outcome::ReadOnly,
                    Outcome::MediumError,
                    Outcome::NotReady,
                ];
                let outcome = outcomes[usize::from(input.u8() % 5)];
                let reply = drive.medium_done(
                    &Command::default(),
                    &Access::Flush,
                    MediumResult::new(outcome, u64::from(input.u32()) << 11),
                );
                assert_eq!(reply == Reply::Good, outcome == Outcome::Done);
            }
            4 => {
                let mut bytes = saved(&drive);
                let at = usize::from(input.u8()) % bytes.len();
                bytes[at] ^= input.u8();
                let before = saved(&drive);
                if drive.restore(&mut StateReader::new(&bytes)).is_err() {
                    assert_eq!(saved(&drive), before, "a refused state changes nothing");
                }
            }
            5 => {
                // A command block of another length: what is missing reads as zeros.
                let n = usize::from(input.u8() % 20);
                let short = input.take(n);
                let mut long = short.to_vec();
                long.resize(16, 0);
                let mut twin = drive.clone();
                assert_eq!(drive.command(&Command::new(short)), twin.command(&Command::new(&long)));
            }
            _ => {
                let cdb = input.array::<12>();
                let mut twin = CdRom::new();
                if let Some(blocks) = drive.blocks() {
                    twin.insert(u64::from(blocks) * CD_BLOCK);
                }
                let state = saved(&drive);
                twin.restore(&mut StateReader::new(&state)).expect("its own state");
                let reply = drive.command(&Command::new(&cdb));
                assert_eq!(
                    twin.command(&Command::new(&cdb)),
                    reply,
                    "a restored drive answers as the saved one: {cdb:02x?}"
                );
                assert_eq!(saved(&drive), saved(&twin), "{cdb:02x?}");
                check_reply(&drive, &cdb, &reply);
            }
        }
    }
}
