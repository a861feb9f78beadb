//! A parent that was modified after its child was made, by the modification time of its file.

use std::path::Path;
use std::time::{Duration, SystemTime};

use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::undo::UndoSession;
use slotone_vhd::{
    CompactOptions, CreateOptions, ErrorKind, OpenOptions, StampPolicy, Vhd, check, compact, quiet, reconnect,
};

const SIZE: u64 = 8 << 20;

fn set(path: &Path, time: SystemTime) {
    std::fs::File::options().append(true).open(path).unwrap().set_modified(time).unwrap();
}

fn modified(path: &Path) -> SystemTime {
    std::fs::metadata(path).unwrap().modified().unwrap()
}

fn opened(child: &Path, policy: StampPolicy) -> slotone_vhd::Result<Vhd> {
    OpenOptions::new().read_only(true).stamp_policy(policy).open(child)
}

/// Whole seconds, so that a shift by seconds is one of the stamps; in winter or summer does not matter: times are UTC.
fn yesterday() -> SystemTime {
    let day = SystemTime::now() - Duration::from_secs(86_400);
    let unix = day.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    SystemTime::UNIX_EPOCH + Duration::from_secs(unix)
}

#[test]
fn a_change_is_seen_but_for_an_hour_to_the_second() {
    let dir = tempfile::tempdir().unwrap();
    let (base, child) = (dir.path().join("base.vhd"), dir.path().join("child.vhd"));
    Vhd::create(&base, &CreateOptions::dynamic(SIZE)).unwrap().close().unwrap();
    let made = yesterday();
    set(&base, made);
    Vhd::create(&child, &CreateOptions::differencing(&base)).unwrap().close().unwrap();

    let same = [0, 1, 2, 3_598, 3_600, 3_602];
    let other = [3, 4, 10, 60, 1_800, 3_597, 3_603, 3_700, 7_200, 86_000];
    for (seconds, accepted) in same.map(|s| (s, true)).into_iter().chain(other.map(|s| (s, false))) {
        let by = Duration::from_secs(seconds);
        for (time, way) in [(made + by, "later"), (made - by, "earlier")] {
            set(&base, time);
            let told = opened(&child, StampPolicy::Require);
            assert_eq!(told.is_ok(), accepted, "{seconds} s {way}");
            if let Err(e) = told {
                assert!(matches!(e.kind(), ErrorKind::ParentModified { .. }), "{e}");
            }
            let warnings = opened(&child, StampPolicy::Warn).unwrap().warnings();
            assert_eq!(warnings.is_empty(), accepted, "{seconds} s {way}: {warnings:?}");
            assert!(opened(&child, StampPolicy::Ignore).unwrap().warnings().is_empty());
        }
    }
}

/// A minute is enough to write into the parent and ruin the child.
#[test]
fn a_parent_written_shortly_after_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let (base, child) = (dir.path().join("base.vhd"), dir.path().join("child.vhd"));
    Vhd::create(&base, &CreateOptions::dynamic(SIZE)).unwrap().close().unwrap();
    set(&base, SystemTime::now() - Duration::from_secs(60));
    Vhd::create(&child, &CreateOptions::differencing(&base)).unwrap().close().unwrap();
    opened(&child, StampPolicy::Require).unwrap();

    let disk = Vhd::open(&base).unwrap();
    write_all(&disk, 0, &[7; 512]).unwrap();
    disk.close().unwrap();
    let e = opened(&child, StampPolicy::Require).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::ParentModified { .. }), "{e}");
    assert_eq!(opened(&child, StampPolicy::Warn).unwrap().warnings().len(), 1);
}

/// What this crate does with a parent that keeps its content must not look like a change, or the child's stamp must follow.
#[test]
fn our_own_work_on_a_chain_raises_no_alarm() {
    let dir = tempfile::tempdir().unwrap();
    let (base, middle, top) =
        (dir.path().join("base.vhd"), dir.path().join("middle.vhd"), dir.path().join("top.vhd"));
    for (kind, create) in [("dynamic", CreateOptions::dynamic(SIZE)), ("fixed", CreateOptions::fixed(SIZE))] {
        let disk = Vhd::create(&base, &create).unwrap();
        write_all(&disk, 4096, &[1; 512]).unwrap();
        disk.close().unwrap();
        let made = yesterday();
        set(&base, made);
        Vhd::create(&middle, &CreateOptions::differencing(&base)).unwrap().close().unwrap();
        set(&middle, made);
        Vhd::create(&top, &CreateOptions::differencing(&middle)).unwrap().close().unwrap();

        // Reading and writing the child, opening the parents for writing without a write, checking.
        let disk = Vhd::open(&top).unwrap();
        write_all(&disk, 0, &[2; 512]).unwrap();
        read_exact(&disk, 4096, &mut [0; 512]).unwrap();
        disk.write_zeroes(1 << 20, 4096, false).unwrap();
        disk.close().unwrap();
        Vhd::open(&base).unwrap().close().unwrap();
        drop(Vhd::open(&middle).unwrap());
        check(&top).unwrap();
        let session = UndoSession::start(&[&top]).unwrap();

        session.commit(&mut quiet()).unwrap();
        assert_eq!((modified(&base), modified(&middle)), (made, made), "{kind}");
        opened(&top, StampPolicy::Require).unwrap();

        // A parent that was rewritten with the same content is another file; the child is told so by reconnecting it.
        compact(Vhd::open(&middle).unwrap(), CompactOptions::default(), &mut quiet()).unwrap();
        reconnect(&middle, &base, false).unwrap();
        let e = opened(&top, StampPolicy::Require).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::ParentModified { .. }), "{e}");
        reconnect(&top, &middle, false).unwrap();
        opened(&top, StampPolicy::Require).unwrap();
        for path in [&base, &middle, &top] {
            std::fs::remove_file(path).unwrap();
        }
    }
}
