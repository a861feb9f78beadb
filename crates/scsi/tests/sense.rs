//! Sense data in words and in bytes: what the crate writes it reads back, and any other bytes are read without a panic.

use proptest::prelude::*;
use slotone_block::{BlockBackend, memory::MemoryDisk};
use slotone_scsi::{CdRom, Command, Disk, DiskConfig, Reply, Sense, SenseKey, Target, asc, opcode};

#[test]
fn in_words() {
    let sense = |key, asc, ascq| Sense::new(key, asc, ascq);
    let reset = sense(SenseKey::UnitAttention, 0x29, 0x00);
    for (sense, words) in [
        (reset, "UNIT ATTENTION 29/00, power on, reset, or bus device reset occurred"),
        (
            Sense { information: Some(100), ..reset },
            "UNIT ATTENTION 29/00, power on, reset, or bus device reset occurred; at block 100",
        ),
        (sense(SenseKey::NotReady, 0x3a, 0x02), "NOT READY 3A/02, medium not present - tray open"),
        (
            Sense { field: Some(4), ..sense(SenseKey::IllegalRequest, 0x24, 0) },
            "ILLEGAL REQUEST 24/00, invalid field in CDB; byte 4 of the command",
        ),
        (
            Sense { field: Some(300), ..sense(SenseKey::IllegalRequest, 0x26, 0) },
            "ILLEGAL REQUEST 26/00, invalid field in parameter list; byte 300 of the parameter list",
        ),
        (sense(SenseKey::VendorSpecific, 0x80, 0xff), "VENDOR SPECIFIC 80/FF"),
        (Sense::default(), "NO SENSE 00/00, no additional sense information"),
    ] {
        assert_eq!(sense.to_string(), words);
    }
    assert_eq!(format!("[{:<10}]", SenseKey::NotReady), "[NOT READY ]");
}

#[test]
fn every_key_has_a_code_and_a_name() {
    let mut names = std::collections::BTreeSet::new();
    for code in 0..=255 {
        let key = SenseKey::from_code(code);
        assert_eq!(key.code(), code & 0x0f);
        names.insert(key.name());
    }
    assert_eq!(names.len(), 16);
    // Some that are known by heart.
    assert_eq!(SenseKey::from_code(0x5), SenseKey::IllegalRequest);
    assert_eq!((SenseKey::Miscompare.code(), SenseKey::Miscompare.name()), (0x0e, "MISCOMPARE"));
}

/// Whatever a target complains of has a name, and what the adapters around it do.
#[test]
fn what_the_targets_report_is_named() {
    let config = DiskConfig::new(MemoryDisk::new(1 << 20).info());
    let read_only = DiskConfig { read_only: true, ..config.clone() };
    let empty = DiskConfig { capacity: 0, ..config.clone() };
    let mut full = CdRom::new();
    full.insert(1 << 20);
    let mut targets: [Box<dyn Target>; 5] = [
        Box::new(Disk::new(config)),
        Box::new(Disk::new(read_only)),
        Box::new(Disk::new(empty)),
        Box::new(CdRom::new()),
        Box::new(full),
    ];
    assert!(asc::name(0x48, 0).is_some() && asc::name(0x4e, 0).is_some());
    let mut seen = std::collections::BTreeSet::new();
    for target in &mut targets {
        for code in 0..=255 {
            for fill in [0x00, 0x01, 0xff] {
                for lun in 0..2 {
                    let mut cdb = [fill; 16];
                    cdb[0] = code;
                    cdb[opcode::cdb_len(code) - 1] = 0; // the control byte
                    if let Reply::Check(sense) = target.command(&Command::new(&cdb).lun(lun)) {
                        assert!(asc::name(sense.asc, sense.ascq).is_some(), "{sense}");
                        seen.insert((sense.asc, sense.ascq));
                    }
                }
            }
        }
    }
    assert!(seen.len() >= 10, "{seen:02x?}");
}

#[test]
fn sense_data_of_others() {
    // A sense block of a disk with autosense: 32 bytes, ILI set, vendor's bytes behind.
    let mut bytes = [0xaa; 32];
    bytes[..18].copy_from_slice(&[0xf0, 0, 0x23, 0, 1, 0, 0, 10, 9, 9, 9, 9, 0x11, 0x0b, 7, 0x80, 0, 3]);
    let expected = Sense { information: Some(0x1_0000), ..Sense::new(SenseKey::MediumError, 0x11, 0x0b) };
    assert_eq!(Sense::from_bytes(&bytes), Some(expected), "a retry count is no field pointer");
    // Not VALID; deferred; cut to what was allocated; cut by its own length.
    bytes[0] = 0x71;
    assert_eq!(Sense::from_bytes(&bytes), Some(Sense { information: None, ..expected }));
    assert_eq!(Sense::from_bytes(&bytes[..13]).map(|s| (s.asc, s.ascq)), Some((0x11, 0)));
    assert_eq!(Sense::from_bytes(&bytes[..3]), Some(Sense::new(SenseKey::MediumError, 0, 0)));
    bytes[7] = 4;
    assert_eq!(Sense::from_bytes(&bytes).map(|s| s.asc), Some(0));
    // Descriptors: an unknown one in front, one without VALID, one that is cut off.
    let mut bytes = vec![0x73, 0x05, 0x24, 0x00, 0, 0, 0, 24, 0x80, 2, 1, 2, 2, 6, 0, 0, 0xc8, 0, 8, 0];
    bytes.extend([0, 10, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 5]);
    let expected = Sense { field: Some(8), ..Sense::new(SenseKey::IllegalRequest, 0x24, 0) };
    let with = Sense { information: Some((1 << 32) + 5), ..expected };
    assert_eq!(Sense::from_bytes(&bytes), Some(with));
    assert_eq!(Sense::from_bytes(&bytes[..31]), Some(expected));
    bytes[22] = 0;
    assert_eq!(Sense::from_bytes(&bytes), Some(expected));
    // None at all.
    for bytes in [&[][..], &[0x70], &[0x70, 0], &[0x72], &[0; 18], &[0x7f, 0, 5], &[0x74, 5, 0x24]] {
        assert_eq!(Sense::from_bytes(bytes), None, "{bytes:02x?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn written_and_read(
        key in 0u8..16,
        asc in prop_oneof![any::<u8>(), Just(0x24), Just(0x26)],
        ascq in any::<u8>(),
        information in prop::option::of(prop_oneof![any::<u64>(), any::<u32>().prop_map(u64::from)]),
        field in prop::option::of(any::<u16>()),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let key = SenseKey::from_code(key);
        // Nothing but ILLEGAL REQUEST has a field pointer.
        let told = Sense { key, asc, ascq, information, field: field.filter(|_| key == SenseKey::IllegalRequest) };
        let sense = Sense { field, ..told };
        prop_assert_eq!(Sense::from_bytes(&sense.to_descriptor_bytes()), Some(told));
        let told = Sense { information: information.filter(|i| u32::try_from(*i).is_ok()), ..told };
        prop_assert_eq!(Sense::from_bytes(&sense.to_bytes()), Some(told));
        // What follows the data in a larger buffer says nothing.
        prop_assert_eq!(Sense::from_bytes(&[&sense.to_bytes()[..], &tail].concat()), Some(told));
        prop_assert_eq!(
            Sense::from_bytes(&[&sense.to_descriptor_bytes()[..], &tail].concat()),
            Sense::from_bytes(&sense.to_descriptor_bytes())
        );
        let words = sense.to_string();
        let begin = format!("{} {asc:02X}/{ascq:02X}", key.name());
        prop_assert!(words.starts_with(&begin), "{}", words);
        prop_assert_eq!(words.contains("at block"), information.is_some());
    }

    #[test]
    fn any_bytes(code in prop_oneof![0x70u8..0x74, any::<u8>()], rest in prop::collection::vec(prop_oneof![0u8..16, any::<u8>()], 0..64)) {
        let bytes = [&[code], &rest[..]].concat();
        if let Some(sense) = Sense::from_bytes(&bytes) {
            // What was understood survives the format that has room for all of it.
            prop_assert_eq!(Sense::from_bytes(&sense.to_descriptor_bytes()), Some(sense));
            prop_assert!(!sense.to_string().is_empty());
        }
    }
}
