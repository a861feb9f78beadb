//! Any command at any time: no panic, data within the allocation length, accesses within the medium, a saved target goes on the same.

use proptest::prelude::*;
use slotone_block::{MediumInfo, Outcome};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Access, CdConfig, CdRom, Command, Disk, DiskConfig, MediumResult, Range, Reply, Reset, SpiFlags, Target,
    opcode,
};

/// What the initiator allocated for the command's data, by the command's own layout; `None`: it has none.
fn allocated(c: &[u8; 16]) -> Option<usize> {
    let u16 = |at: usize| usize::from(u16::from_be_bytes([c[at], c[at + 1]]));
    let u32 = |at: usize| u32::from_be_bytes([c[at], c[at + 1], c[at + 2], c[at + 3]]) as usize;
    Some(match c[0] {
        opcode::REQUEST_SENSE | opcode::MODE_SENSE_6 => usize::from(c[4]),
        opcode::INQUIRY => u16(3),
        opcode::READ_CAPACITY => 8,
        opcode::REPORT_LUNS | opcode::READ_DEFECT_DATA_12 => u32(6),
        opcode::SERVICE_ACTION_IN_16 => u32(10),
        opcode::MECHANISM_STATUS | opcode::READ_DVD_STRUCTURE => u16(8),
        opcode::MODE_SENSE_10
        | opcode::READ_DEFECT_DATA_10
        | opcode::LOG_SENSE
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

fn saved(target: &dyn Target) -> Vec<u8> {
    let mut w = StateWriter::new();
    target.save(&mut w);
    w.into_bytes()
}

fn ranges(access: &Access) -> Vec<Range> {
    match access {
        Access::Read(r) | Access::Verify(r) | Access::Compare(r) => vec![*r],
        Access::Write { range, .. } => vec![*range],
        Access::WriteSame { range, block, .. } => {
            assert!(range.len <= 32 << 20 && range.len.is_multiple_of(block.len() as u64));
            vec![*range]
        }
        Access::Discard(ranges) => ranges.clone(),
        _ => vec![],
    }
}

/// Runs a command to its end and checks every step; `twin` is told the same and must answer the same.
fn check(
    target: &mut dyn Target,
    twin: &mut dyn Target,
    command: &Command,
    list: &[u8],
    result: MediumResult,
    capacity: u64,
    block: u64,
) {
    let mut reply = target.command(command);
    assert_eq!(twin.command(command), reply, "{command:02x?}");
    for step in 0.. {
        assert!(step < 4, "a command without an end: {command:02x?}");
        match &reply {
            Reply::DataIn(data) => {
                let most = allocated(&command.cdb)
                    .unwrap_or_else(|| panic!("{command:02x?} has no data: {data:02x?}"));
                assert!(
                    !data.is_empty() && data.len() <= most.min(4096),
                    "{} bytes, {most} allocated",
                    data.len()
                );
            }
            Reply::DataOut { len } => {
                assert!(step == 0 && (1..=0xffff).contains(len));
                let data = &list[..list.len().min(*len as usize)];
                reply = target.data_out(command, data);
                assert_eq!(twin.data_out(command, data), reply, "{command:02x?}");
                continue;
            }
            Reply::Medium(access) => {
                for range in ranges(access) {
                    assert!(
                        range.len > 0 && range.offset % block == 0 && range.len % block == 0,
                        "{access:?}"
                    );
                    assert!(range.offset < capacity && range.len <= capacity - range.offset, "{access:?}");
                }
                let next = target.medium_done(command, access, result);
                assert_eq!(twin.medium_done(command, access, result), next, "{command:02x?}");
                if result != MediumResult::Done {
                    assert!(matches!(next, Reply::Check(_)), "a failure goes unnoticed: {access:?}");
                }
                reply = next;
                continue;
            }
            Reply::Check(sense) => {
                assert!(
                    sense.key.code() != 0 && sense.asc != 0,
                    "CHECK CONDITION without a reason: {command:02x?}"
                );
                if command.lun == 0 {
                    assert_eq!(target.sense(command.initiator), *sense);
                }
            }
            _ => {}
        }
        break;
    }
    assert_eq!(saved(target), saved(twin), "{command:02x?}");
}

#[derive(Debug, Clone)]
enum Event {
    Command(Command, Vec<u8>, MediumResult),
    Reset(Reset),
}

fn event() -> impl Strategy<Value = Event> {
    let codes: Vec<u8> = (0..=255).filter(|c| opcode::name(*c).is_some()).collect();
    let code = prop_oneof![9 => prop::sample::select(codes), 1 => any::<u8>()];
    // Mostly small numbers, so that ranges are often good ones.
    let byte = prop_oneof![6 => Just(0u8), 2 => 0u8..16, 1 => any::<u8>()];
    let cdb = (code, prop::collection::vec(byte, 15)).prop_map(|(code, rest)| [&[code][..], &rest].concat());
    let lun = prop_oneof![9 => Just(0u8), 1 => any::<u8>()];
    let command = (cdb, prop_oneof![Just(7u8), Just(6), any::<u8>()], lun)
        .prop_map(|(cdb, initiator, lun)| Command::new(&cdb).initiator(initiator).lun(lun));
    let list = prop_oneof![
        prop::collection::vec(any::<u8>(), 0..64),
        prop::collection::vec(prop_oneof![Just(0u8), any::<u8>()], 512),
        // The caching page without WCE, the control page with SWP, by MODE SELECT(6).
        Just([&[0, 0, 0, 0, 8, 18][..], &[0; 18]].concat()),
        Just(vec![0, 0, 0, 0, 0x0a, 10, 0, 0x10, 8, 0, 0, 0, 0, 0, 0, 0]),
    ];
    let result = prop_oneof![
        4 => Just(MediumResult::Done),
        1 => (prop::sample::select(vec![Outcome::OutOfRange, Outcome::ReadOnly, Outcome::MediumError, Outcome::NotReady]), any::<u64>())
            .prop_map(|(outcome, offset)| MediumResult::new(outcome, offset)),
        1 => any::<u64>().prop_map(|offset| MediumResult::Differs { offset }),
    ];
    let reset = prop::sample::select(vec![Reset::PowerOn, Reset::Bus, Reset::Device]);
    prop_oneof![
        20 => (command, list, result).prop_map(|(command, list, result)| Event::Command(command, list, result)),
        1 => reset.prop_map(Event::Reset),
    ]
}

fn run(mut target: Box<dyn Target>, mut twin: Box<dyn Target>, events: &[Event], capacity: u64, block: u64) {
    for event in events {
        // A fresh target with the saved state goes on as the one that was saved.
        twin.restore(&mut StateReader::new(&saved(&*target))).unwrap();
        match event {
            Event::Command(command, list, result) => {
                check(&mut *target, &mut *twin, command, list, *result, capacity, block);
            }
            Event::Reset(reset) => {
                target.reset(*reset);
                twin.reset(*reset);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_command_to_a_disk(
        blocks in prop_oneof![Just(0u64), Just(1), Just(1_000), Just(1 << 22), Just(1 << 32), Just(1 << 40)],
        read_only in any::<bool>(),
        discards in any::<bool>(),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let info = MediumInfo {
            capacity: blocks * 512,
            physical_block: 512,
            read_only,
            geometry: None,
            discards,
            name: String::new(),
        };
        let config = DiskConfig { serial: "1".to_string(), ..DiskConfig::new(&info) };
        run(Box::new(Disk::new(config.clone())), Box::new(Disk::new(config)), &events, blocks * 512, 512);
    }

    #[test]
    fn any_command_to_a_drive(
        blocks in prop_oneof![Just(0u64), Just(1), Just(1_000), Just(1 << 22), Just(u64::from(u32::MAX))],
        scsi in any::<bool>(),
        events in prop::collection::vec(event(), 1..40),
    ) {
        let config = CdConfig { spi: scsi.then(SpiFlags::default), ..CdConfig::default() };
        let drive = || {
            let mut drive = CdRom::with_config(config.clone());
            drive.insert(blocks * 2048);
            Box::new(drive)
        };
        run(drive(), drive(), &events, blocks * 2048, 2048);
    }

    /// A state from somewhere is refused, or is one that a target could have.
    #[test]
    fn hostile_states(flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4), cut in any::<prop::sample::Index>(), events in prop::collection::vec(event(), 1..8)) {
        let info = MediumInfo { capacity: 1 << 20, physical_block: 512, read_only: false, geometry: None, discards: true, name: String::new() };
        let mut disk = Disk::new(DiskConfig::new(&info));
        let mut bytes = saved(&disk);
        let before = bytes.clone();
        for (at, value) in flips {
            let at = at.index(bytes.len());
            bytes[at] ^= value;
        }
        prop_assert!(disk.restore(&mut StateReader::new(&bytes[..cut.index(bytes.len())])).is_err());
        prop_assert!(saved(&disk) == before);
        if disk.restore(&mut StateReader::new(&bytes)).is_ok() {
            let twin = disk.clone();
            run(Box::new(disk), Box::new(twin), &events, 1 << 20, 512);
        } else {
            prop_assert!(saved(&disk) == before, "a refused state changes nothing");
        }
    }
}
