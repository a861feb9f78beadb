//! Commands of the CD-ROM drive, byte by byte as MMC-3 and SPC-2 lay them out.

use proptest::prelude::*;
use slotone_block::Outcome;
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Access, CdConfig, CdRom, Command, MediumResult, Range, Reply, Reset, Sense, SenseKey, SpiFlags, Target,
    opcode,
};

/// A drive with `blocks` whose unit attentions were fetched.
fn ready(blocks: u64) -> CdRom {
    let mut drive = CdRom::new();
    drive.insert(blocks * 2048);
    assert_eq!(check(&mut drive, &[0]), [6, 0x29, 0]);
    assert_eq!(check(&mut drive, &[0]), [6, 0x28, 0]);
    assert_eq!(run(&mut drive, &[0]), Reply::Good);
    drive
}

fn run(drive: &mut CdRom, cdb: &[u8]) -> Reply {
    drive.command(&Command::new(cdb))
}

/// A read that wanted blocks from 5 on ended at `block`.
fn done(drive: &mut CdRom, outcome: Outcome, block: u64) -> Reply {
    let command = Command::new(&[0x28, 0, 0, 0, 0, 5, 0, 0, 9]);
    let access = Access::Read(Range { offset: 5 * 2048, len: 9 * 2048 });
    drive.medium_done(&command, &access, MediumResult::new(outcome, block * 2048))
}

fn data(drive: &mut CdRom, cdb: &[u8]) -> Vec<u8> {
    match run(drive, cdb) {
        Reply::DataIn(data) => data,
        other => panic!("{cdb:02x?}: {other:?}"),
    }
}

fn check(drive: &mut CdRom, cdb: &[u8]) -> [u8; 3] {
    match run(drive, cdb) {
        Reply::Check(s) => [s.key.code(), s.asc, s.ascq],
        other => panic!("{cdb:02x?}: {other:?}"),
    }
}

const NO_MEDIUM: [u8; 3] = [2, 0x3a, 1];
const INVALID_FIELD: [u8; 3] = [5, 0x24, 0];

#[test]
fn inquiry_passes_unit_attention() {
    let mut drive = CdRom::new();
    let inquiry = data(&mut drive, &[0x12, 0, 0, 0, 255]);
    assert_eq!(inquiry.len(), 36);
    assert_eq!(&inquiry[..5], [5, 0x80, 0, 0x32, 31]);
    assert_eq!(data(&mut drive, &[0x12, 0, 0, 0, 5]), inquiry[..5]);
    assert_eq!(run(&mut drive, &[0x12]), Reply::Good, "no room, no data");
    assert_eq!(check(&mut drive, &[0x12, 1, 0x80, 0, 36]), INVALID_FIELD);
    // The attention is still there; REQUEST SENSE reports it as well as a failing command.
    let sense = data(&mut drive, &[0x03, 0, 0, 0, 18]);
    assert_eq!([sense[0], sense[2], sense[7], sense[12]], [0x70, 5, 10, 0x24]);
    let sense = data(&mut drive, &[0x03, 0, 0, 0, 18]);
    assert_eq!([sense[2], sense[12]], [6, 0x29]);
    assert_eq!(check(&mut drive, &[0]), NO_MEDIUM);
}

#[test]
fn an_empty_drive_has_nothing_to_read() {
    let mut drive = CdRom::new();
    check(&mut drive, &[0]);
    for code in [0x00, 0x25, 0x28, 0xa8, 0xbe, 0x2b, 0x43, 0x44, 0x51, 0x52, 0x42] {
        assert_eq!(check(&mut drive, &[code, 0, 0, 0, 0, 0, 0, 0, 8, 0x10]), NO_MEDIUM, "{code:x}");
        assert_eq!(drive.sense(0), Sense::new(SenseKey::NotReady, 0x3a, 1));
    }
    assert_eq!(data(&mut drive, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]), [0, 6, 4, 0x10, 0, 0, 0, 0]);
    let configuration = data(&mut drive, &[0x46, 0, 0, 0, 0, 0, 0, 0, 255]);
    assert_eq!(configuration[6..8], [0, 0], "no current profile");
}

#[test]
fn a_disc_without_a_block_cannot_be_read() {
    let mut drive = CdRom::new();
    drive.insert(2047);
    check(&mut drive, &[0]);
    assert_eq!(check(&mut drive, &[0]), [6, 0x28, 0], "it came");
    assert!(!drive.ready());
    for code in [0x00, 0x25, 0x28, 0xbe, 0x43, 0x51] {
        assert_eq!(check(&mut drive, &[code]), [3, 0x31, 0], "{code:02x}");
    }
    assert_eq!(data(&mut drive, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])[4..6], [2, 2], "a new medium, there");
    assert_eq!(data(&mut drive, &[0x46, 0, 0, 0, 0, 0, 0, 0, 8])[6..8], [0, 0], "of no profile");
    drive.insert(2048);
    check(&mut drive, &[0]);
    assert_eq!(data(&mut drive, &[0x25]), [0, 0, 0, 0, 0, 0, 8, 0], "one block");
}

#[test]
fn capacity_and_reads() {
    let mut drive = ready(1_000);
    assert_eq!(data(&mut drive, &[0x25]), [0, 0, 3, 0xe7, 0, 0, 8, 0]);
    let read =
        |offset: u64, len: u64| Reply::Medium(Access::Read(Range { offset: offset * 2048, len: len * 2048 }));
    assert_eq!(run(&mut drive, &[0x28, 0, 0, 0, 0, 5, 0, 0, 9]), read(5, 9));
    assert_eq!(run(&mut drive, &[0xa8, 0, 0, 0, 3, 0xe7, 0, 0, 0, 1]), read(999, 1));
    assert_eq!(run(&mut drive, &[0x28, 0, 0, 0, 3, 0xe8, 0, 0, 0]), Reply::Good, "nothing at the end");
    assert_eq!(check(&mut drive, &[0x28, 0, 0, 0, 3, 0xe7, 0, 0, 2]), [5, 0x21, 0]);
    assert_eq!(drive.sense(0).information, Some(1_000));
    assert_eq!(check(&mut drive, &[0xa8, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]), [5, 0x21, 0]);
    assert_eq!(check(&mut drive, &[0x2b, 0, 0, 0, 3, 0xe8]), [5, 0x21, 0]);
    assert_eq!(run(&mut drive, &[0x2b, 0, 0, 0, 3, 0xe7]), Reply::Good);
    // READ CD: user data of any sector type that is data; nothing else.
    assert_eq!(run(&mut drive, &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0x10]), read(7, 2));
    assert_eq!(run(&mut drive, &[0xbe, 0x08, 0, 0, 0, 7, 0, 0, 2, 0x10]), read(7, 2));
    assert_eq!(run(&mut drive, &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0]), Reply::Good);
    assert_eq!(check(&mut drive, &[0xbe, 0x04, 0, 0, 0, 7, 0, 0, 2, 0x10]), [5, 0x64, 0]);
    assert_eq!(check(&mut drive, &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0xf8]), INVALID_FIELD);
    assert_eq!(check(&mut drive, &[0xbe, 0, 0, 0, 0, 7, 0, 0, 2, 0x10, 1]), INVALID_FIELD);
    // 0:02:05 to 0:02:07.
    assert_eq!(run(&mut drive, &[0xb9, 0, 0, 0, 2, 5, 0, 2, 7, 0x10]), read(5, 2));
    assert_eq!(check(&mut drive, &[0xb9, 0, 0, 0, 2, 7, 0, 2, 5, 0x10]), INVALID_FIELD);
    assert_eq!(check(&mut drive, &[0xb9, 0, 0, 0, 1, 74, 0, 2, 5, 0x10]), INVALID_FIELD);
}

#[test]
fn the_medium_fails() {
    let mut drive = ready(1_000);
    for (outcome, sense) in [
        (Outcome::MediumError, [3, 0x11, 0]),
        (Outcome::OutOfRange, [5, 0x21, 0]),
        (Outcome::NotReady, NO_MEDIUM),
        (Outcome::ReadOnly, [4, 0x44, 0]),
    ] {
        run(&mut drive, &[0x28, 0, 0, 0, 0, 5, 0, 0, 9]);
        let Reply::Check(s) = done(&mut drive, outcome, 7) else { panic!("{outcome:?}") };
        assert_eq!([s.key.code(), s.asc, s.ascq], sense);
        assert_eq!(s.information, Some(7));
        let bytes = data(&mut drive, &[0x03, 0, 0, 0, 18]);
        assert_eq!((bytes[0], &bytes[3..7]), (0xf0, &[0, 0, 0, 7][..]));
    }
    run(&mut drive, &[0x28, 0, 0, 0, 0, 5, 0, 0, 9]);
    assert_eq!(done(&mut drive, Outcome::Done, 5), Reply::Good);
}

#[test]
fn table_of_contents() {
    // 74:12:30 minus the pre-gap of 150 frames.
    let mut drive = ready((74 * 60 + 12) * 75 + 30 - 150);
    let toc = |drive: &mut CdRom, msf: u8, format: u8, start: u8| {
        data(drive, &[0x43, msf, format, 0, 0, 0, start, 1, 0])
    };
    let lba = [0, 0x14, 1, 0, 0, 0, 0, 0];
    let lead_out = ((74 * 60 + 12) * 75 + 30 - 150u32).to_be_bytes();
    assert_eq!(toc(&mut drive, 0, 0, 0), [&[0, 18, 1, 1][..], &lba, &[0, 0x14, 0xaa, 0], &lead_out].concat());
    assert_eq!(toc(&mut drive, 2, 0, 0xaa), [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 74, 12, 30]);
    assert_eq!(toc(&mut drive, 2, 1, 0), [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0]);
    let full = toc(&mut drive, 0, 2, 0);
    assert_eq!(full.len(), 4 + 4 * 11);
    assert_eq!(full[..4], [0, 46, 1, 1]);
    assert_eq!(full[4 + 2 * 11..][..11], [1, 0x14, 0, 0xa2, 0, 0, 0, 0, 74, 12, 30]);
    // The old place of the format, in the control byte.
    assert_eq!(
        data(&mut drive, &[0x43, 2, 0, 0, 0, 0, 0, 1, 0, 0x40]),
        [0, 10, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0]
    );
    assert_eq!(check(&mut drive, &[0x43, 0, 0, 0, 0, 0, 2, 1, 0]), INVALID_FIELD);
    assert_eq!(toc(&mut drive, 0, 2, 1), full);
    assert_eq!(
        check(&mut drive, &[0x43, 0, 2, 0, 0, 0, 2, 1, 0]),
        INVALID_FIELD,
        "there is no second session"
    );
    assert_eq!(toc(&mut drive, 0, 5, 0), [0, 2, 0, 0], "no CD-TEXT");
    assert_eq!(check(&mut drive, &[0x43, 0, 3, 0, 0, 0, 0, 1, 0]), INVALID_FIELD);
    assert_eq!(check(&mut drive, &[0x43, 0, 4, 0, 0, 0, 0, 1, 0]), INVALID_FIELD);
    assert_eq!(data(&mut drive, &[0x43, 0, 0, 0, 0, 0, 0, 0, 4]), [0, 18, 1, 1], "cut to the room given");
}

#[test]
fn what_the_drive_tells_of_itself() {
    let mut drive = ready(1_000);
    let capabilities = data(&mut drive, &[0x5a, 0, 0x2a, 0, 0, 0, 0, 1, 0]);
    assert_eq!(capabilities.len(), 8 + 20);
    assert_eq!(capabilities[..10], [0, 26, 1, 0, 0, 0, 0, 0, 0x2a, 18]);
    assert_eq!(capabilities[14] & 3, 1, "can lock, is not locked");
    run(&mut drive, &[0x1e, 0, 0, 0, 1]);
    assert!(drive.locked());
    assert_eq!(data(&mut drive, &[0x1a, 0, 0x2a, 0, 255])[4 + 6] & 3, 3);
    let all = data(&mut drive, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 1, 0]);
    assert_eq!([all[8], all[20], all[36]], [0x01, 0x0e, 0x2a]);
    let changeable = data(&mut drive, &[0x5a, 0, 0x41, 0, 0, 0, 0, 1, 0]);
    assert_eq!(changeable[8..], [0x01, 10, 0, 0xff, 0, 0, 0, 0, 0, 0, 0, 0], "the number of retries");
    assert_eq!(check(&mut drive, &[0x5a, 0, 0x08, 0, 0, 0, 0, 1, 0]), INVALID_FIELD);
    assert_eq!(check(&mut drive, &[0x5a, 0, 0xea, 0, 0, 0, 0, 1, 0]), [5, 0x39, 0]);
    // Features.
    let all = data(&mut drive, &[0x46, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(u32::from_be_bytes([all[0], all[1], all[2], all[3]]) as usize, all.len() - 4);
    assert_eq!(all[6..8], [0, 8]);
    let one = data(&mut drive, &[0x46, 2, 0, 0x1e, 0, 0, 0, 1, 0]);
    assert_eq!(one[8..], [0, 0x1e, 1, 4, 0, 0, 0, 0]);
    assert_eq!(data(&mut drive, &[0x46, 2, 0, 0x99, 0, 0, 0, 1, 0]).len(), 8);
    let mut dvd = ready(2_000_000);
    assert_eq!(data(&mut dvd, &[0x46, 1, 0, 0, 0, 0, 0, 1, 0])[6..8], [0, 0x10]);
    // The rest, by length and first bytes.
    assert_eq!(data(&mut drive, &[0x51, 0, 0, 0, 0, 0, 0, 1, 0])[..8], [0, 32, 0x0e, 1, 1, 1, 1, 0x20]);
    assert_eq!(data(&mut drive, &[0x52, 1, 0, 0, 0, 1, 0, 1, 0])[24..28], [0, 0, 3, 0xe8]);
    assert_eq!(check(&mut drive, &[0x52, 1, 0, 0, 0, 2, 0, 1, 0]), INVALID_FIELD);
    assert_eq!(data(&mut drive, &[0x44, 2, 0, 0, 0, 75, 0, 0, 8]), [1, 0, 0, 0, 0, 0, 3, 0]);
    assert_eq!(data(&mut drive, &[0x42, 2, 0x40, 1, 0, 0, 0, 0, 16]).len(), 16);
    assert_eq!(data(&mut drive, &[0x42, 2, 0, 1, 0, 0, 0, 0, 16]), [0, 0x15, 0, 0]);
    assert_eq!(data(&mut drive, &[0xbd, 0, 0, 0, 0, 0, 0, 0, 0, 8]).len(), 8);
    assert_eq!(run(&mut drive, &[0xbb]), Reply::Good);
    assert_eq!(check(&mut drive, &[0xbb, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), INVALID_FIELD, "LINK");
    assert_eq!(check(&mut drive, &[0x2a]), [5, 0x20, 0]);
    assert_eq!(opcode::name(0xbd), Some("MECHANISM STATUS"));
    assert_eq!(opcode::name(0x02), None);
}

#[test]
fn events_are_told_once() {
    let mut drive = ready(1_000);
    let event = |drive: &mut CdRom| {
        let e = data(drive, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8]);
        (e[4], e[5])
    };
    assert_eq!(data(&mut drive, &[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 4]), [0, 6, 4, 0x10], "the header alone");
    assert_eq!(event(&mut drive), (2, 2), "new medium, present");
    assert_eq!(event(&mut drive), (0, 2));
    run(&mut drive, &[0x1b, 0, 0, 0, 2]);
    assert_eq!(event(&mut drive), (3, 1), "removal, tray open");
    assert_eq!(check(&mut drive, &[0]), [2, 0x3a, 2]);
    run(&mut drive, &[0x1b, 0, 0, 0, 3]);
    assert_eq!(event(&mut drive), (2, 2));
    drive.eject();
    assert_eq!(event(&mut drive), (3, 0));
    assert_eq!(data(&mut drive, &[0x4a, 1, 0, 0, 0x02, 0, 0, 0, 8]), [0, 2, 0x80, 0x10]);
    assert_eq!(check(&mut drive, &[0x4a, 0, 0, 0, 0x10, 0, 0, 0, 8]), INVALID_FIELD);
}

#[test]
fn a_locked_tray_stays_shut_for_the_guest() {
    let mut drive = ready(1_000);
    run(&mut drive, &[0x1e, 0, 0, 0, 1]);
    assert_eq!(check(&mut drive, &[0x1b, 0, 0, 0, 2]), [5, 0x53, 2]);
    drive.reset(Reset::PowerOn);
    assert_eq!(check(&mut drive, &[0]), [6, 0x29, 0]);
    assert_eq!(run(&mut drive, &[0x1b, 0, 0, 0, 2]), Reply::Good, "a reset unlocks");
}

/// A drive on a SCSI bus says other things of itself than one on ATAPI, and has what every SCSI unit has.
#[test]
fn on_a_scsi_bus() {
    let spi = SpiFlags { wide: false, sync: true, queueing: true };
    let mut drive = CdRom::with_config(CdConfig { serial: "77".to_string(), ..CdConfig::scsi(spi) });
    drive.insert(1_000 * 2048);
    assert_eq!(data(&mut drive, &[0x12, 0, 0, 0, 255])[..8], [5, 0x80, 2, 2, 31, 0, 0, 0x12]);
    assert_eq!(data(&mut drive, &[0x12, 1, 0, 0, 255]), [5, 0, 0, 3, 0, 0x80, 0x83]);
    assert_eq!(data(&mut drive, &[0x12, 1, 0x80, 0, 255]), [5, 0x80, 0, 2, b'7', b'7']);
    assert_eq!(data(&mut drive, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16]).len(), 16, "in spite of an attention");
    assert_eq!(check(&mut drive, &[0]), [6, 0x29, 0]);
    assert_eq!(check(&mut drive, &[0]), [6, 0x28, 0]);
    let read =
        |lba: u64, count: u64| Reply::Medium(Access::Read(Range { offset: lba * 2048, len: count * 2048 }));
    assert_eq!(run(&mut drive, &[0x08, 0, 0, 5, 9]), read(5, 9));
    assert_eq!(run(&mut drive, &[0x08, 0, 0, 5, 0]), read(5, 256));
    assert_eq!(run(&mut drive, &[0x01]), Reply::Good);
    assert_eq!(run(&mut drive, &[0x0b, 0, 3, 0xe7]), Reply::Good);
    assert_eq!(check(&mut drive, &[0x0b, 0, 3, 0xe8]), [5, 0x21, 0]);
    assert_eq!(run(&mut drive, &[0x1d, 4]), Reply::Good);
    let mode = data(&mut drive, &[0x1a, 0, 0x01, 0, 255]);
    assert_eq!(mode[..14], [23, 1, 0, 8, 0, 0, 3, 0xe8, 0, 0, 8, 0, 1, 10]);
    let feature = data(&mut drive, &[0x46, 2, 0, 1, 0, 0, 0, 1, 0]);
    assert_eq!(feature[8..], [0, 1, 3, 4, 0, 0, 0, 1], "the physical interface");
    assert_eq!(data(&mut drive, &[0x46, 2, 1, 8, 0, 0, 0, 1, 0])[8..], [1, 8, 3, 4, b'7', b'7', b' ', b' ']);
    // Blocks of 2048 bytes, and no others.
    let select = |drive: &mut CdRom, len: u8| {
        let command = Command::new(&[0x15, 0x10, 0, 0, 12]);
        assert_eq!(drive.command(&command), Reply::DataOut { len: 12 });
        drive.data_out(&command, &[0, 0, 0, 8, 0, 0, 0, 0, 0, 0, len, 0])
    };
    assert_eq!(select(&mut drive, 8), Reply::Good);
    assert!(matches!(select(&mut drive, 9), Reply::Check(s) if s.asc == 0x26));
    // Reserved, and the unit that is not there.
    assert_eq!(run(&mut drive, &[0x16]), Reply::Good);
    let other = Command::new(&[0x28]).initiator(3);
    assert!(matches!(drive.command(&other), Reply::Check(s) if s.asc == 0x29));
    assert!(matches!(drive.command(&other), Reply::Check(s) if s.asc == 0x28));
    assert_eq!(drive.command(&other), Reply::ReservationConflict);
    assert!(matches!(drive.command(&Command::new(&[0]).lun(1)), Reply::Check(s) if s.asc == 0x25));
    assert_eq!(run(&mut drive, &[0x17]), Reply::Good);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Any packets: no panic, reads in range, data within the allocation length of a 16-bit field, and a saved drive goes on the same.
    #[test]
    fn any_command(
        blocks in prop_oneof![Just(0u64), Just(1), Just(1_000), Just(u64::from(u32::MAX))],
        cdbs in prop::collection::vec((prop::sample::select((0u8..=255).filter(|c| opcode::name(*c).is_some()).collect::<Vec<_>>()), prop::collection::vec(any::<u8>(), 0..16)), 1..20),
    ) {
        let mut drive = CdRom::new();
        drive.insert(blocks * 2048);
        for (code, rest) in cdbs {
            let cdb = [&[code][..], &rest].concat();
            let mut w = StateWriter::new();
            drive.save(&mut w);
            let bytes = w.into_bytes();
            let mut twin = CdRom::new();
            twin.insert(blocks * 2048);
            twin.restore(&mut StateReader::new(&bytes)).unwrap();
            let reply = run(&mut drive, &cdb);
            prop_assert_eq!(&reply, &run(&mut twin, &cdb));
            match reply {
                Reply::Medium(Access::Read(Range { offset, len })) => {
                    prop_assert!(len > 0 && len % 2048 == 0 && offset % 2048 == 0);
                    prop_assert!(offset + len <= blocks * 2048);
                }
                Reply::DataIn(data) => prop_assert!(!data.is_empty() && data.len() <= 0xffff),
                Reply::Check(sense) => prop_assert_eq!(drive.sense(0), sense),
                _ => {}
            }
        }
    }

    #[test]
    fn hostile_states(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let mut drive = ready(10);
        let _ = drive.restore(&mut StateReader::new(&bytes));
        prop_assert_eq!(drive.blocks(), Some(10));
    }
}
