//! The rules of `slotone-fuzz-kit` under random guests: registers, programs, time, saved states.

mod common;

use common::program;
use proptest::prelude::*;
use slotone_aic7870::{Aic7870, Aic7870Config, Latency, Timing};
use slotone_block::BlockBackend;
use slotone_block::layers::{ErrorLayer, On};
use slotone_block::memory::MemoryDisk;
use slotone_bus::{At, Device, TestPort, WindowId};
use slotone_fuzz_kit::{Harness, Operation, Script, assert_rules};
use slotone_scsi::{CdRom, Disk, DiskConfig, Fault, FaultKind, Faulty};

const SECTORS: u64 = 400;

/// Two disks, a third one with faults, and an empty CD drive.
fn adapter(config: Aic7870Config) -> Aic7870 {
    let disk = |sectors: u64| Disk::new(DiskConfig::new(MemoryDisk::new(sectors * 512).info()));
    let mut targets = common::no_targets();
    targets[0] = Some(Box::new(disk(SECTORS)));
    targets[1] = Some(Box::new(disk(64)));
    let kinds = [FaultKind::Vanish, FaultKind::Attention, FaultKind::MediumError, FaultKind::Hang];
    let faults = (1..).step_by(2).zip(kinds).map(|(access, kind)| Fault { kind, access, times: 1 });
    targets[2] = Some(Box::new(Faulty::new(Box::new(disk(64)), faults.collect())));
    targets[5] = Some(Box::new(CdRom::new()));
    Aic7870::new(config, targets)
}

/// An adapter that answers at its windows, with a program of ours in it.
fn running(config: Aic7870Config) -> Aic7870 {
    let mut aic = adapter(config);
    let mut port = TestPort::new(1 << 20);
    let mut write = |window: u16, offset: u64, data: &[u8]| {
        port.at(0, |cx| aic.write(cx, At { window: WindowId(window), offset }, data));
    };
    write(0, 0x10, &0xd001u32.to_le_bytes());
    write(0, 0x14, &0xfeb0_0000u32.to_le_bytes());
    write(0, 0x04, &[7, 1]);
    write(2, 0x87, &[4]);
    write(2, 0x60, &[0xb1]);
    for word in program::words() {
        for byte in word.to_le_bytes() {
            write(2, 0x61, &[byte]);
        }
    }
    write(2, 0x60, &[0x10]);
    write(2, 0x62, &[0, 0]);
    write(2, 0x02, &[0x27]);
    write(2, 0x87, &[2]);
    aic
}

fn harness(config: Aic7870Config, with_program: bool) -> Harness<Aic7870> {
    let bad = ErrorLayer::new(MemoryDisk::new(SECTORS * 512)).bad(300 * 512..301 * 512, On::Both);
    let mut media: Vec<Option<Box<dyn BlockBackend>>> = (0..16).map(|_| None).collect();
    media[0] = Some(Box::new(bad));
    media[1] = Some(Box::new(MemoryDisk::new(64 * 512)));
    media[2] = Some(Box::new(MemoryDisk::new(64 * 512)));
    let make = move || if with_program { running(config) } else { adapter(config) };
    Harness::new(make).with_media(media)
}

fn configs() -> impl Strategy<Value = Aic7870Config> {
    let none = Timing { access: 0, sector: 0, selection: 0, selection_timeout: 0, disconnect_after: 0 };
    (any::<bool>(), any::<bool>(), 0..3000u64, 0..300u32).prop_map(move |(wide, slow, request, burst)| {
        let timing = if slow { Timing::default() } else { none };
        Aic7870Config {
            wide,
            timing,
            latency: Latency { request, burst, seed: 1 },
            ..Aic7870Config::default()
        }
    })
}

/// Accesses that do something more often than not.
fn operations() -> impl Strategy<Value = Vec<Operation>> {
    let register = prop_oneof![0u32..0x20, 0x60..0xa0u32, 0x20..0xc0u32, Just(0x87), Just(0x91), Just(0x93)];
    let write = (register.clone(), prop::collection::vec(any::<u8>(), 1..5))
        .prop_map(|(offset, data)| Operation::Write { window: 2, offset, data });
    let read = (register, 1..5u8).prop_map(|(offset, len)| Operation::Read { window: 2, offset, len });
    let fixed = |offset, data: Vec<u8>| Just(Operation::Write { window: 2, offset, data });
    let operation = prop_oneof![
        6 => write,
        2 => read,
        2 => (0..200_000u32).prop_map(|nanos| Operation::Advance { nanos }),
        1 => fixed(0x87, vec![2]),
        1 => fixed(0x87, vec![6]),
        1 => fixed(0x92, vec![0x1f]),
        1 => fixed(0x0b, vec![0xff, 0xff]),
        1 => fixed(0x30, vec![1]),
        1 => fixed(0x00, vec![0x58]),
        1 => (any::<u16>(), any::<u8>()).prop_map(|(offset, xor)| Operation::Damage { offset, xor }),
        1 => Just(Operation::SaveRestore),
        1 => Just(Operation::Reset),
    ];
    prop::collection::vec(operation, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn any_script_keeps_the_rules(config in configs(), bytes in prop::collection::vec(any::<u8>(), 1..400)) {
        let mut script = Script::from_bytes(&bytes);
        let mut first: Script = "w 0+10 01d00000\nw 0+14 0000b0fe\nw 0+4 0701".parse().unwrap();
        first.operations.append(&mut script.operations);
        assert_rules(|| harness(config, false), &first);
    }

    #[test]
    fn registers_under_a_running_program(config in configs(), operations in operations()) {
        assert_rules(|| harness(config, true), &Script { operations });
    }

    #[test]
    fn any_program(words in prop::collection::vec(any::<u32>(), 1..60), operations in operations()) {
        let load = words.iter().flat_map(|w| w.to_le_bytes()).map(|b| Operation::Write {
            window: 2,
            offset: 0x61,
            data: vec![b],
        });
        let one = |offset, value| Operation::Write { window: 2, offset, data: vec![value] };
        let mut all = vec![one(0x87, 4), one(0x60, 0xb1), one(0x62, 0), one(0x63, 0)];
        all.extend(load);
        all.extend([one(0x60, 0x10), one(0x62, 0), one(0x63, 0), one(0x87, 2)]);
        all.extend(operations);
        assert_rules(|| harness(Aic7870Config::default(), true), &Script { operations: all });
    }
}
