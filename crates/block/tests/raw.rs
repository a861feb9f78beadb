//! Raw images: what opens, what does not and what it says then, and the contract on a real file.
#![cfg(unix)]

use std::io::{IoSlice, IoSliceMut};
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use slotone_block::raw::{OpenError, OpenMode, RawDisk};
use slotone_block::{BlockBackend, BlockError, Outcome, read_exact, write_all};

const WRITE: OpenMode = OpenMode { read_only: false };
const READ: OpenMode = OpenMode { read_only: true };

fn said(result: Result<RawDisk, OpenError>, file: &str, advice: &str) -> OpenError {
    let error = result.expect_err("this must not open");
    let text = error.to_string();
    assert!(text.contains(file) && text.contains(advice), "{text}");
    assert!(!text.contains('\n'), "one line: {text}");
    error
}

#[test]
fn what_is_no_disk_is_refused_with_advice() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, len: u64| {
        let path = dir.path().join(name);
        std::fs::File::create(&path).unwrap().set_len(len).unwrap();
        path
    };
    let error = said(RawDisk::open(dir.path().join("none.img"), WRITE), "none.img", "check the name");
    assert!(matches!(error, OpenError::NotFound { .. }));
    let error = said(RawDisk::open(dir.path(), WRITE), "", "found a folder");
    assert!(matches!(error, OpenError::NotADisk { .. }));
    let error = said(RawDisk::open(file("empty.img", 0), READ), "empty.img", "give it a size");
    assert!(matches!(error, OpenError::Empty { .. }));
    let error = said(RawDisk::open(file("odd.img", 1_000), READ), "odd.img", "padded to 1024");
    assert!(matches!(error, OpenError::Unaligned { len: 1_000, .. }));
    let error = said(RawDisk::open(dir.path().join("empty.img/x.img"), READ), "x.img", "Not a directory");
    assert!(matches!(error, OpenError::Io { .. }) && std::error::Error::source(&error).is_none());
    let error = said(RawDisk::open("/dev/null", READ), "/dev/null", "character device");
    assert!(matches!(error, OpenError::NotADisk { .. }));
    let locked = file("locked.img", 512);
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o444)).unwrap();
    if std::fs::OpenOptions::new().write(true).open(&locked).is_err() {
        // Not so for root, whom no permission stops.
        said(RawDisk::open(&locked, WRITE), "locked.img", "open it read-only");
    }
    assert!(RawDisk::open(&locked, READ).is_ok());
}

#[test]
fn one_writer_or_many_readers() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let writer = RawDisk::create(&path, 1 << 20).unwrap();
    let error = said(RawDisk::open(&path, WRITE), "disk.img", "in use");
    assert!(matches!(error, OpenError::InUse { .. }));
    said(RawDisk::open(&path, READ), "disk.img", "in use");
    drop(writer);
    let a = RawDisk::open(&path, READ).unwrap();
    let b = RawDisk::open(&path, READ).unwrap();
    said(RawDisk::open(&path, WRITE), "disk.img", "in use");
    drop((a, b));
    assert!(RawDisk::open(&path, WRITE).is_ok());
}

#[test]
fn create_keeps_what_is_there_and_leaves_nothing_half_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    for len in [0, 1, 511, 513] {
        assert!(matches!(said(RawDisk::create(&path, len), "disk.img", "multiple"), OpenError::Size { .. }));
        assert!(!path.exists());
    }
    std::fs::write(&path, b"precious").unwrap();
    assert!(matches!(
        said(RawDisk::create(&path, 512), "disk.img", "not overwritten"),
        OpenError::Exists { .. }
    ));
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[test]
fn vectored_io_lands_where_it_should() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let disk = RawDisk::create(&path, 1 << 20).unwrap();
    let data: Vec<u8> = (0..8192u32).map(|i| (i / 5) as u8).collect();
    let parts = [&data[..100], &[], &data[100..5000], &data[5000..]];
    disk.write_at(4096, &parts.map(IoSlice::new), true).unwrap();
    assert_eq!(std::fs::read(&path).unwrap()[4096..12288], data);
    let (mut a, mut b, mut c, mut d) = ([0; 7], [0; 0], [0; 505], vec![0; 7680]);
    let mut bufs =
        [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b), IoSliceMut::new(&mut c), IoSliceMut::new(&mut d)];
    disk.read_at(4096, &mut bufs).unwrap();
    assert_eq!([&a[..], &c, &d].concat(), data);
    // More slices than one system call takes.
    let many: Vec<IoSlice<'_>> = data.chunks(4).map(IoSlice::new).collect();
    disk.write_at(65536, &many, false).unwrap();
    let mut back = vec![0; 8192];
    let mut many: Vec<IoSliceMut<'_>> = back.chunks_mut(4).map(IoSliceMut::new).collect();
    disk.read_at(65536, &mut many).unwrap();
    assert_eq!(back, data);
    disk.flush().unwrap();
}

#[test]
fn bounds_and_write_protection() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let disk = RawDisk::create(&path, 4096).unwrap();
    for (offset, len) in [(4096, 512), (3584, 1024), (u64::MAX - 511, 512)] {
        let result = read_exact(&disk, offset, &mut vec![0; len]);
        assert!(matches!(result, Err(BlockError::OutOfRange { .. })), "{offset} {len}");
        assert!(write_all(&disk, offset, &vec![0; len]).is_err());
    }
    for (offset, len) in [(1, 512), (0, 100), (100, 1536), (4097, 512)] {
        let error = read_exact(&disk, offset, &mut vec![0; len]).unwrap_err();
        assert!(matches!(error, BlockError::Unaligned { sector: 512, .. }), "{error}");
        assert_eq!(
            error.to_string(),
            format!("{len} bytes at {offset} are not whole sectors: both must be multiples of 512")
        );
        assert_eq!(Outcome::from(&error), Outcome::OutOfRange);
        let written = write_all(&disk, offset, &vec![0; len]);
        assert!(matches!(written, Err(BlockError::Unaligned { .. })), "{offset} {len}");
    }
    read_exact(&disk, 4096, &mut []).unwrap();
    drop(disk);
    let disk = RawDisk::open(&path, READ).unwrap();
    assert!(disk.info().read_only);
    assert!(matches!(write_all(&disk, 0, &[0; 512]), Err(BlockError::ReadOnly)));
    assert!(matches!(disk.discard(0, 512), Err(BlockError::ReadOnly)));
    assert!(matches!(disk.write_zeroes(0, 512, true), Err(BlockError::ReadOnly)));
    disk.flush().unwrap();
}

#[test]
fn a_file_cut_behind_our_back_is_an_error_not_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let disk = RawDisk::create(&path, 1 << 20).unwrap();
    std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(1000).unwrap();
    let (mut a, mut b) = ([0; 512], [0; 512]);
    let mut bufs = [IoSliceMut::new(&mut a), IoSliceMut::new(&mut b)];
    assert!(matches!(disk.read_at(512, &mut bufs), Err(BlockError::Io(_))));
    let error = read_exact(&disk, 8192, &mut [0; 512]).unwrap_err();
    assert!(matches!(error, BlockError::Io(_)));
    assert!(std::error::Error::source(&error).is_none(), "the message has the reason: {error}");
}

#[test]
fn discard_gives_room_back_and_zeroes_read_as_zeros() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    let disk = RawDisk::create(&path, 4 << 20).unwrap();
    write_all(&disk, 0, &vec![7; 4 << 20]).unwrap();
    disk.flush().unwrap();
    let before = std::fs::metadata(&path).unwrap().blocks();
    disk.discard(1 << 20, 2 << 20).unwrap();
    let after = std::fs::metadata(&path).unwrap().blocks();
    assert!(after <= before, "{after} of {before} blocks");
    disk.write_zeroes(512, 3072, true).unwrap();
    let mut head = vec![1; 8192];
    read_exact(&disk, 0, &mut head).unwrap();
    assert!(head[..512].iter().chain(&head[3584..]).all(|b| *b == 7));
    assert!(head[512..3584].iter().all(|b| *b == 0));
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 4 << 20, "a disk keeps its size");
}

/// A loop device on a file; None where this user or host has none.
#[cfg(target_os = "linux")]
fn loop_device(file: &std::path::Path) -> Option<String> {
    let made = std::process::Command::new("losetup").args(["--find", "--show"]).arg(file).output().ok()?;
    made.status.success().then(|| String::from_utf8_lossy(&made.stdout).trim().to_string())
}

#[cfg(target_os = "linux")]
#[test]
fn a_host_device_is_read_and_written_by_one_only() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("disk.img");
    drop(RawDisk::create(&path, 4 << 20).unwrap());
    let Some(device) = loop_device(&path) else {
        println!("SKIP a host block device: no loop device; run as root where /dev/loop-control is");
        return;
    };
    let result = std::panic::catch_unwind(|| {
        let disk = RawDisk::open(&device, OpenMode::default()).unwrap();
        assert_eq!(disk.info().capacity, 4 << 20);
        write_all(&disk, (4 << 20) - 512, &[7; 512]).unwrap();
        disk.flush().unwrap();
        let error = RawDisk::open(&device, OpenMode::default()).unwrap_err();
        assert!(matches!(error, OpenError::Busy { .. }) && error.to_string().contains(&device), "{error}");
        drop(disk);
        let disk = RawDisk::open(&device, READ).unwrap();
        let mut last = [0; 512];
        read_exact(&disk, (4 << 20) - 512, &mut last).unwrap();
        assert_eq!(last, [7; 512]);
    });
    assert!(std::process::Command::new("losetup").args(["--detach", &device]).status().unwrap().success());
    result.unwrap();
}
