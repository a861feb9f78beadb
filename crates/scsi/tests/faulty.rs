//! Targets with faults: what shows, when, and that the target behind them loses nothing.

use proptest::prelude::*;
use slotone_block::{BlockBackend, memory::MemoryDisk, read_exact};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Command, Data, Disk, DiskConfig, Fault, FaultKind, Faulty, Reply, Reset, SenseKey, Target, execute,
    status,
};

const READ: [u8; 10] = [0x28, 0, 0, 0, 0, 16, 0, 0, 1, 0];
const WRITE: [u8; 10] = [0x2a, 0, 0, 0, 0, 16, 0, 0, 1, 0];
const SENSE: [u8; 6] = [0x03, 0, 0, 0, 18, 0];

fn faulty(medium: &MemoryDisk, faults: &[(FaultKind, u64, u64)]) -> Faulty {
    let disk = Disk::new(DiskConfig::new(medium.info()));
    let faults =
        faults.iter().map(|(kind, access, times)| Fault { kind: *kind, access: *access, times: *times });
    let mut disk = Faulty::new(Box::new(disk), faults.collect());
    assert!(matches!(disk.command(&Command::new(&[0])), Reply::Check(s) if s.asc == 0x29));
    disk
}

fn sense_of(target: &mut dyn Target, initiator: u8) -> [u8; 3] {
    match target.command(&Command::new(&SENSE).initiator(initiator)) {
        Reply::DataIn(data) => [data[2], data[12], data[13]],
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_attention_is_told_once_and_nothing_is_written_meanwhile() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = faulty(&medium, &[(FaultKind::Attention, 2, 1)]);
    let mut write = |fill| execute(&mut disk, Some(&medium), &Command::new(&WRITE), Data::Out(&[fill; 512]));
    assert_eq!(write(1).status, status::GOOD);
    let told = write(2);
    assert_eq!((told.status, told.transferred), (status::CHECK_CONDITION, 0));
    let sense = told.sense.expect("a reason");
    assert_eq!((sense.key, sense.asc, sense.ascq), (SenseKey::UnitAttention, 0x29, 0));
    let mut there = [0; 512];
    read_exact(&medium, 16 * 512, &mut there).expect("in range");
    assert_eq!(there, [1; 512], "a command that failed wrote nothing");
    assert_eq!(write(3).status, status::GOOD);
    read_exact(&medium, 16 * 512, &mut there).expect("in range");
    assert_eq!(there, [3; 512]);
}

#[test]
fn an_access_fails_at_its_first_block() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = faulty(&medium, &[(FaultKind::MediumError, 1, 2)]);
    let failed = execute(&mut disk, Some(&medium), &Command::new(&WRITE), Data::Out(&[9; 512]));
    let sense = failed.sense.expect("a reason");
    assert_eq!((sense.key, sense.asc, sense.information), (SenseKey::MediumError, 0x0c, Some(16)));
    let mut data = [0xee; 512];
    let failed = execute(&mut disk, Some(&medium), &Command::new(&READ), Data::In(&mut data));
    let sense = failed.sense.expect("a reason");
    assert_eq!((sense.key, sense.asc, sense.information), (SenseKey::MediumError, 0x11, Some(16)));
    assert_eq!(sense_of(&mut disk, 0), [3, 0x11, 0]);
    assert_eq!(execute(&mut disk, Some(&medium), &Command::new(&READ), Data::In(&mut data)).status, 0);
    assert_eq!(data, [0; 512], "what failed was not written");
}

#[test]
fn sense_data_wait_for_their_initiator_and_go_with_its_next_command() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = faulty(&medium, &[(FaultKind::Attention, 1, 2)]);
    disk.command(&Command::new(&[0]).initiator(6));
    assert_eq!(sense_of(&mut disk, 6), [6, 0x29, 0], "power-on");
    assert!(matches!(disk.command(&Command::new(&READ)), Reply::Check(_)));
    assert_eq!((disk.sense(0).asc, disk.sense(6).key), (0x29, SenseKey::NoSense));
    assert_eq!(sense_of(&mut disk, 6), [0, 0, 0], "it is not theirs");
    assert_eq!(sense_of(&mut disk, 0), [6, 0x29, 0]);
    assert_eq!(sense_of(&mut disk, 0), [0, 0, 0], "once");
    assert!(matches!(disk.command(&Command::new(&READ)), Reply::Check(_)));
    assert_eq!(disk.command(&Command::new(&[0])), Reply::Good);
    assert_eq!(sense_of(&mut disk, 0), [0, 0, 0], "another command dropped them");
    assert!(matches!(disk.command(&Command::new(&READ)), Reply::Medium(_)));
    assert_eq!(disk.accesses(), 3, "only what goes to the medium counts");
}

#[test]
fn a_hang_holds_one_command_and_no_other() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = faulty(&medium, &[(FaultKind::Hang, 2, 2)]);
    let read = Command::new(&READ);
    let Reply::Medium(first) = disk.command(&read) else { panic!("the first access") };
    assert_eq!(disk.command(&read), Reply::Held);
    assert_eq!(Reply::Held.status(), None);
    assert_eq!(disk.medium_done(&read, &first, slotone_scsi::MediumResult::Done), Reply::Good);
    // One that waits here cannot abort it.
    let mut data = [0; 512];
    assert_eq!(execute(&mut disk, Some(&medium), &read, Data::In(&mut data)).status, status::BUSY);
    assert_eq!(execute(&mut disk, Some(&medium), &read, Data::In(&mut data)).status, status::GOOD);
}

#[test]
fn a_target_vanishes_and_comes_back() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = faulty(&medium, &[(FaultKind::Vanish, 1, 2), (FaultKind::Vanish, 2, u64::MAX)]);
    assert!(disk.selected());
    let read = Command::new(&READ);
    let Reply::Medium(access) = disk.command(&read) else { panic!("an access") };
    assert!(!disk.selected());
    assert_eq!(disk.medium_done(&read, &access, slotone_scsi::MediumResult::Done), Reply::Good, "it ends");
    disk.reset(Reset::Bus);
    assert!(!disk.selected());
    assert!(disk.selected());
    disk.command(&Command::new(&[0])); // the reset
    assert!(matches!(disk.command(&read), Reply::Medium(_)));
    for _ in 0..1000 {
        assert!(!disk.selected());
    }
}

#[test]
fn a_saved_target_goes_on_where_it_was() {
    let medium = MemoryDisk::new(1 << 20);
    let faults = [(FaultKind::Attention, 2, 1), (FaultKind::Vanish, 3, 2), (FaultKind::Hang, 4, 1)];
    let mut disk = faulty(&medium, &faults);
    let read = Command::new(&READ);
    for step in 0..12 {
        let mut w = StateWriter::new();
        disk.save(&mut w);
        let bytes = w.into_bytes();
        let mut twin = faulty(&medium, &faults);
        twin.restore(&mut StateReader::new(&bytes)).expect("its own state");
        let act = |disk: &mut Faulty| {
            if !disk.selected() {
                return "timeout".to_string();
            }
            let reply = format!("{:?}", disk.command(&read));
            format!("{reply} {:?} {}", disk.sense(0), disk.accesses())
        };
        assert_eq!(act(&mut disk), act(&mut twin), "step {step}");
    }
    assert_eq!(disk.accesses(), 10, "two of the twelve were selections without an answer");
}

#[test]
fn a_state_of_another_target_is_refused() {
    let medium = MemoryDisk::new(1 << 20);
    let state = |target: &dyn Target| {
        let mut w = StateWriter::new();
        target.save(&mut w);
        w.into_bytes()
    };
    let mut disk = faulty(&medium, &[(FaultKind::Hang, 1, 1)]);
    let other = state(&faulty(&medium, &[]));
    let plain = state(&Disk::new(DiskConfig::new(medium.info())));
    let before = state(&disk);
    for bytes in [other, plain, before[..before.len() / 2].to_vec(), Vec::new()] {
        assert!(disk.restore(&mut StateReader::new(&bytes)).is_err());
        assert_eq!(state(&disk), before);
    }
}

/// What an initiator does.
#[derive(Debug, Clone)]
enum Step {
    /// It selects the target and, if that answers, sends a command.
    Command {
        initiator: u8,
        cdb: [u8; 6],
    },
    Reset,
    SaveRestore,
}

fn step() -> impl Strategy<Value = Step> {
    let cdb = prop_oneof![
        4 => Just([0x08, 0, 0, 5, 1, 0]),
        4 => Just([0x0a, 0, 0, 5, 1, 0]),
        1 => Just([0x00; 6]),
        2 => Just(SENSE),
        1 => any::<[u8; 6]>(),
    ];
    prop_oneof![
        12 => (0..2u8, cdb).prop_map(|(initiator, cdb)| Step::Command { initiator, cdb }),
        1 => Just(Step::Reset),
        2 => Just(Step::SaveRestore),
    ]
}

fn fault() -> impl Strategy<Value = (FaultKind, u64, u64)> {
    let kind = prop_oneof![
        Just(FaultKind::MediumError),
        Just(FaultKind::Attention),
        Just(FaultKind::Hang),
        Just(FaultKind::Vanish),
    ];
    (kind, 0..20u64, prop_oneof![1..4u64, Just(u64::MAX)])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

    /// Beside a disk without faults, and their description worked out a second time: a fault shows when it should, and nothing else differs.
    #[test]
    fn only_the_faults_differ(
        faults in prop::collection::vec(fault(), 0..4),
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let medium = MemoryDisk::new(1 << 20);
        let mut disk = faulty(&medium, &faults);
        let mut plain = Disk::new(DiskConfig::new(medium.info()));
        plain.command(&Command::new(&[0]));
        let (mut accesses, mut missed) = (0u64, vec![0u64; faults.len()]);
        // Sense data that only the faulty one has.
        let mut owed = [false; 2];
        for step in steps {
            match step {
                Step::Reset => {
                    disk.reset(Reset::Bus);
                    plain.reset(Reset::Bus);
                    owed = [false; 2];
                }
                Step::SaveRestore => {
                    let mut w = StateWriter::new();
                    disk.save(&mut w);
                    disk = faulty(&medium, &faults);
                    disk.restore(&mut StateReader::new(&w.into_bytes())).expect("its own state");
                }
                Step::Command { initiator, cdb } => {
                    let gone = faults.iter().zip(&missed).position(|((kind, from, times), missed)| {
                        *kind == FaultKind::Vanish && accesses >= *from && missed < times
                    });
                    prop_assert_eq!(disk.selected(), gone.is_none());
                    if let Some(n) = gone {
                        missed[n] += 1;
                        continue;
                    }
                    let command = Command::new(&cdb).initiator(initiator);
                    let owes = std::mem::take(&mut owed[usize::from(initiator)]);
                    if owes && cdb[0] == 0x03 {
                        let data = if cdb[1] & 1 == 0 { 18 } else { 8 }.min(usize::from(cdb[4]));
                        let got = match disk.command(&command) {
                            Reply::DataIn(data) => data.len(),
                            Reply::Good => 0,
                            other => panic!("{other:?}"),
                        };
                        prop_assert_eq!(got, data);
                        continue;
                    }
                    let (got, expected) = (disk.command(&command), plain.command(&command));
                    let Reply::Medium(access) = &expected else {
                        prop_assert_eq!(got, expected);
                        continue;
                    };
                    accesses += 1;
                    let hit = faults.iter().find(|(kind, from, times)| {
                        *kind != FaultKind::Vanish && (*from..from.saturating_add(*times)).contains(&accesses)
                    });
                    match hit.map(|fault| fault.0) {
                        None => prop_assert_eq!(&got, &expected),
                        Some(FaultKind::Hang) => prop_assert_eq!(got, Reply::Held),
                        Some(kind) => {
                            let Reply::Check(sense) = got else { panic!("{got:?}") };
                            owed[usize::from(initiator)] = kind == FaultKind::Attention;
                            let key = if kind == FaultKind::Attention { 6 } else { 3 };
                            prop_assert_eq!(sense.key.code(), key);
                            prop_assert_eq!(disk.sense(initiator), sense);
                            if kind == FaultKind::MediumError {
                                // The plain one is told the same, so that it has the same sense data.
                                let offset = match access {
                                    slotone_scsi::Access::Read(range)
                                    | slotone_scsi::Access::Write { range, .. } => range.offset,
                                    _ => 0,
                                };
                                let failed = slotone_scsi::MediumResult::new(
                                    slotone_block::Outcome::MediumError,
                                    offset,
                                );
                                prop_assert_eq!(plain.medium_done(&command, access, failed), Reply::Check(sense));
                            }
                        }
                    }
                }
            }
        }
        prop_assert_eq!(disk.accesses(), accesses);
    }
}
