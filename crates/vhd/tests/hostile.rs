//! Images that lie: each lie has an error of its own, `check` finds all of them, and none costs memory or time by the file's numbers.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::{Rng, content};
use proptest::prelude::*;
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::format::{Footer, Header, Locator, Platform};
use slotone_vhd::{
    CreateOptions, DiskId, DiskKind, ErrorKind, MemResolver, MemStorage, OpenOptions, Severity, Storage, Vhd,
    check_storage, repair_storage,
};

/// A dynamic image of 64 blocks of 4 KiB, blocks 0 to 3 in the file.
fn image() -> Vec<u8> {
    let storage = Arc::new(MemStorage::new());
    let disk = CreateOptions::dynamic(64 * 4096)
        .block_size(4096)
        .create_in(storage.clone(), "/d.vhd", &OpenOptions::new(), None)
        .unwrap();
    write_all(&disk, 0, &[5; 4 * 4096]).unwrap();
    disk.close().unwrap();
    storage.to_vec()
}

fn open(bytes: &[u8], read_only: bool) -> Result<Vhd, ErrorKind> {
    OpenOptions::new()
        .read_only(read_only)
        .open_storage(Arc::new(MemStorage::from_bytes(bytes)), "/d.vhd")
        .map_err(|e| e.into_kind())
}

fn footer(bytes: &mut [u8], change: impl Fn(&mut [u8; 512])) {
    let len = bytes.len();
    for at in [0, len - 512] {
        let mut raw: [u8; 512] = bytes[at..at + 512].try_into().unwrap();
        change(&mut raw);
        raw[64..68].fill(0);
        let sum = !raw.iter().fold(0u32, |s, b| s + u32::from(*b));
        raw[64..68].copy_from_slice(&sum.to_be_bytes());
        bytes[at..at + 512].copy_from_slice(&raw);
    }
}

fn header(bytes: &mut [u8], change: impl Fn(&mut [u8])) {
    let raw = &mut bytes[512..1536];
    change(raw);
    raw[36..40].fill(0);
    let sum = !raw.iter().fold(0u32, |s, b| s + u32::from(*b));
    raw[36..40].copy_from_slice(&sum.to_be_bytes());
}

fn entry(bytes: &mut [u8], block: usize, sector: u32) {
    bytes[1536 + block * 4..][..4].copy_from_slice(&sector.to_be_bytes());
}

fn be32(raw: &mut [u8], at: usize, v: u32) {
    raw[at..at + 4].copy_from_slice(&v.to_be_bytes());
}

fn be64(raw: &mut [u8], at: usize, v: u64) {
    raw[at..at + 8].copy_from_slice(&v.to_be_bytes());
}

macro_rules! refused {
    ($bytes:expr, $pattern:pat) => {
        for read_only in [true, false] {
            let e = open(&$bytes, read_only).unwrap_err();
            assert!(matches!(e, $pattern), "{e:?}");
            assert!(e.to_string().len() > 8);
        }
        let report =
            check_storage(Arc::new(MemStorage::from_bytes(&$bytes)), Path::new("/d.vhd"), None).unwrap();
        assert!(report.problems.iter().any(|p| matches!(p.kind, $pattern)), "{report:?}");
    };
}

#[test]
fn each_lie_has_its_error() {
    let good = image();
    assert!(open(&good, false).is_ok());

    refused!([0u8; 0], ErrorKind::NotVhd);
    refused!(vec![0; 511], ErrorKind::NotVhd);
    refused!(vec![7; 100_000], ErrorKind::NotVhd);

    let mut b = good.clone();
    let len = b.len();
    (b[100], b[len - 412]) = (1, 1);
    refused!(b, ErrorKind::FooterChecksum { .. });

    let mut b = good.clone();
    for at in [0, len - 512] {
        b[at..at + 8].copy_from_slice(b"v_poison");
    }
    refused!(b, ErrorKind::Poisoned);

    for kind in [0, 1, 5, 6, 7, u32::MAX] {
        let mut b = good.clone();
        footer(&mut b, |f| be32(f, 60, kind));
        refused!(b, ErrorKind::UnsupportedType(_));
    }
    for size in [0, 1, 513, (2040 << 30) + 512, u64::MAX, u64::MAX - 511] {
        let mut b = good.clone();
        footer(&mut b, |f| be64(f, 48, size));
        refused!(b, ErrorKind::InvalidSize { .. });
    }
    let mut b = good.clone();
    footer(&mut b, |f| be32(f, 12, 0x0002_0000));
    refused!(b, ErrorKind::UnsupportedVersion { .. });

    for offset in [0, 511, 1024, len as u64, u64::MAX, u64::MAX - 100] {
        let mut b = good.clone();
        footer(&mut b, |f| be64(f, 16, offset));
        assert!(
            matches!(open(&b, true).unwrap_err(), ErrorKind::NoHeader { .. } | ErrorKind::NotVhd),
            "{offset}"
        );
    }
    let mut b = good.clone();
    b[1000] = 1;
    refused!(b, ErrorKind::HeaderChecksum { .. });

    for size in [0, 511, 4095, 1 << 31, u32::MAX] {
        let mut b = good.clone();
        header(&mut b, |h| be32(h, 32, size));
        refused!(b, ErrorKind::InvalidBlockSize(_));
    }
    let mut b = good.clone();
    header(&mut b, |h| be32(h, 28, 63));
    refused!(b, ErrorKind::TableTooSmall { .. });
    for (offset, entries) in
        [(0, 64), (512, 64), (1024, 64), (1537, 64), (len as u64, 64), (u64::MAX - 511, 64), (1536, u32::MAX)]
    {
        let mut b = good.clone();
        header(&mut b, |h| {
            be64(h, 16, offset);
            be32(h, 28, entries);
        });
        refused!(b, ErrorKind::TableOutOfFile { .. });
    }

    for sector in [0, 1, 2, 3] {
        let mut b = good.clone();
        entry(&mut b, 9, sector);
        refused!(b, ErrorKind::EntryInMetadata { block: 9, .. });
    }
    for sector in [(len / 512) as u32 - 1, (len / 512) as u32 - 7, 0xFFFF_FFFE] {
        let mut b = good.clone();
        entry(&mut b, 9, sector);
        refused!(b, ErrorKind::EntryPastEnd { block: 9, .. });
    }
    let first = u32::from_be_bytes(good[1536..1540].try_into().unwrap());
    for sector in [first, first + 1, first + 8] {
        let mut b = good.clone();
        entry(&mut b, 9, sector);
        refused!(b, ErrorKind::EntriesOverlap { .. });
    }

    // Cut anywhere: an error or an image whose every sector can be read.
    for cut in (0..len).step_by(487) {
        if let Ok(disk) = open(&good[..cut], true) {
            content(&disk);
        }
    }
    let mut fixed = vec![0u8; 512];
    fixed.extend(Footer::new(DiskKind::Fixed, 1 << 40, DiskId([1; 16]), 0).to_bytes());
    refused!(fixed, ErrorKind::Truncated { .. });
}

#[test]
fn a_table_for_2040_gib_in_a_small_file_costs_nothing() {
    // The table is said to have an entry per sector; the file is sparse and large enough for it.
    let storage = Arc::new(MemStorage::new());
    let mut f = Footer::new(DiskKind::Dynamic, 2040 << 30, DiskId([1; 16]), 0);
    f.set_data_offset(512);
    let h = Header::new(1536, u32::MAX, 512);
    storage.set_len(18 << 30).unwrap();
    storage.write_at(0, &f.to_bytes()).unwrap();
    storage.write_at(512, &h.to_bytes()).unwrap();
    storage.write_at((18 << 30) - 512, &f.to_bytes()).unwrap();
    let e = OpenOptions::new().read_only(true).open_storage(storage, "/d.vhd").unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::LimitExceeded { .. }), "{e}");
}

#[test]
fn check_lists_all_and_repair_mends() {
    let mut b = image();
    let first = u32::from_be_bytes(b[1536..1540].try_into().unwrap());
    entry(&mut b, 9, 0);
    entry(&mut b, 10, 0x00FF_FFFF);
    entry(&mut b, 11, first);
    entry(&mut b, 12, 2);
    b[1100] ^= 1;
    let len = b.len();
    b[len - 400] ^= 1;
    let storage = Arc::new(MemStorage::from_bytes(&b));
    let report = check_storage(storage.clone(), Path::new("/d.vhd"), None).unwrap();
    let count = |f: fn(&ErrorKind) -> bool| report.problems.iter().filter(|p| f(&p.kind)).count();
    assert_eq!(count(|k| matches!(k, ErrorKind::EntryInMetadata { .. })), 2, "{report:?}");
    assert_eq!(count(|k| matches!(k, ErrorKind::EntryPastEnd { .. })), 1);
    assert_eq!(count(|k| matches!(k, ErrorKind::EntriesOverlap { .. })), 1);
    assert_eq!(count(|k| matches!(k, ErrorKind::HeaderChecksum { .. })), 1);
    assert_eq!(report.worst(), Some(Severity::Error));
    assert_eq!(storage.to_vec(), b, "check changed something");

    let repaired = repair_storage(storage.clone(), Path::new("/d.vhd")).unwrap();
    assert!(repaired.is_clean(), "{repaired:?}");
    let again = check_storage(storage.clone(), Path::new("/d.vhd"), None).unwrap();
    assert!(again.is_clean(), "{again:?}");
    let disk = OpenOptions::new().open_storage(storage, "/d.vhd").unwrap();
    assert_eq!(content(&disk)[..4 * 4096], [5; 4 * 4096]);
}

#[test]
fn either_footer_is_enough() {
    let good = image();
    let len = good.len();
    for (at, what) in [(0, "copy"), (len - 512, "end")] {
        let mut b = good.clone();
        b[at..at + 512].fill(0);
        let disk = open(&b, true).unwrap();
        assert_eq!(content(&disk)[..16384], [5; 16384]);
        assert!(disk.warnings()[0].contains(what), "{:?}", disk.warnings());
        let storage = Arc::new(MemStorage::from_bytes(&b));
        assert!(repair_storage(storage.clone(), Path::new("/d.vhd")).unwrap().is_clean());
        assert_eq!(storage.to_vec(), good);
    }
    // Fewer bytes than a footer: images older than Virtual PC 2004.
    let disk = open(&good[..len - 1], true).unwrap();
    assert!(disk.warnings().is_empty(), "{:?}", disk.warnings());
}

fn differencing(locators: &[Locator]) -> (Vec<u8>, Arc<MemStorage>) {
    let base = Arc::new(MemStorage::from_bytes(&image()));
    let parent = OpenOptions::new().read_only(true).open_storage(base.clone(), "/p.vhd").unwrap();
    let storage = Arc::new(MemStorage::new());
    let images = vec![(PathBuf::from("/p.vhd"), base.clone() as Arc<dyn Storage>)];
    let options = OpenOptions::new().resolver(Arc::new(MemResolver { images }));
    CreateOptions::differencing("/p.vhd")
        .create_in(storage.clone(), "/d.vhd", &options, Some(&parent))
        .unwrap()
        .close()
        .unwrap();
    let mut bytes = storage.to_vec();
    let mut h = Header::parse(bytes[512..1536].try_into().unwrap(), 512).unwrap();
    for (i, l) in locators.iter().enumerate() {
        h.set_locator(i, *l);
    }
    bytes[512..1536].copy_from_slice(&h.to_bytes());
    (bytes, base)
}

#[test]
fn locators_that_point_anywhere() {
    let wild = |offset, data_length, data_space| Locator {
        platform: Platform::RelativeUnicode,
        data_space,
        data_length,
        offset,
    };
    let lies = [
        wild(u64::MAX, 10, 512),
        wild(0, 100, 512),
        wild(600, 10, 10),
        wild(1 << 40, 512, 1),
        wild(20_000, u32::MAX, 1),
    ];
    let (bytes, base) = differencing(&lies);
    let images = vec![(PathBuf::from("/p.vhd"), base as Arc<dyn Storage>)];
    let resolver = Arc::new(MemResolver { images });
    let disk = OpenOptions::new()
        .resolver(resolver.clone())
        .open_storage(Arc::new(MemStorage::from_bytes(&bytes)), "/d.vhd")
        .unwrap();
    assert_eq!(content(&disk)[..4], [5; 4]);
    let report =
        check_storage(Arc::new(MemStorage::from_bytes(&bytes)), Path::new("/d.vhd"), Some(resolver)).unwrap();
    let bad = report.problems.iter().filter(|p| matches!(p.kind, ErrorKind::LocatorOutOfFile { .. })).count();
    assert_eq!(bad, lies.len(), "{report:?}");
}

/// What an image reserves behind its end, blocks that are appended must not come to lie in; and what a block lies in is the block's.
#[test]
fn reserved_room_behind_the_end() {
    let len = differencing(&[]).0.len() as u64;
    let room = |offset, data_length, data_space| Locator {
        platform: Platform::RelativeUnicode,
        data_space,
        data_length,
        offset,
    };
    let rooms = [
        // Its text is in the file, its room is not, or it is said to be terabytes.
        (room(20_480, 14, (len - 20_480) as u32 + 4096), false),
        (room(20_480, 14, 1 << 31), false),
        // All of it is behind the end.
        (room(len, 14, 4096), true),
        (room(len + 8192, 14, 4096), true),
    ];
    for (locator, bad) in rooms {
        let (bytes, base) = differencing(&[locator]);
        let images = vec![(PathBuf::from("/p.vhd"), base as Arc<dyn Storage>)];
        let options = OpenOptions::new().resolver(Arc::new(MemResolver { images }));
        let storage = Arc::new(MemStorage::from_bytes(&bytes));
        let disk = options.open_storage(storage.clone(), "/d.vhd").unwrap();
        assert_eq!(disk.warnings().iter().any(|w| w.contains("locator")), bad, "{:?}", disk.warnings());
        write_all(&disk, 0, &[6; 64 * 4096]).unwrap();
        disk.close().unwrap();
        assert!(storage.len().unwrap() < 8 << 20, "{} bytes for a disk of 256 KiB", storage.len().unwrap());
        let disk = options.open_storage(storage, "/d.vhd").unwrap();
        assert!(content(&disk).iter().all(|b| *b == 6));
        assert_eq!(disk.warnings().iter().any(|w| w.contains("locator")), bad, "{:?}", disk.warnings());
    }
}

/// A bitmap is what the guest wrote where; it may read "tdbatmap", which is XenServer's word for a map behind the table.
#[test]
fn a_guest_cannot_make_a_batmap() {
    // Without locators the first block comes right behind the table.
    let (mut bytes, base) = differencing(&[Locator::NONE; 8]);
    let len = bytes.len();
    bytes.copy_within(len - 512.., 2048);
    bytes.truncate(2048 + 512);
    let images = vec![(PathBuf::from("/p.vhd"), base as Arc<dyn Storage>)];
    let options = OpenOptions::new().resolver(Arc::new(MemResolver { images }));
    let storage = Arc::new(MemStorage::from_bytes(&bytes));
    let disk = options.open_storage(storage.clone(), "/d.vhd").unwrap();
    let map = [&b"tdbatmap"[..], &2560u64.to_be_bytes(), &8u32.to_be_bytes()].concat();
    for sector in (0..map.len() * 8).filter(|s| map[s / 8] << (s % 8) & 0x80 != 0) {
        write_all(&disk, sector as u64 * 512, &[6; 512]).unwrap();
    }
    disk.close().unwrap();
    let table = Header::parse(storage.to_vec()[512..1536].try_into().unwrap(), 512).unwrap();
    let behind =
        table.table_offset() as usize + (table.max_table_entries() as usize * 4).next_multiple_of(512);
    assert_eq!(storage.to_vec()[behind..behind + map.len()], map, "the bitmap is behind the table");
    let disk = options.open_storage(storage, "/d.vhd").unwrap();
    assert_eq!(content(&disk)[512..1024], [6; 512]);
}

#[test]
fn chains_that_do_not_end() {
    // An image that is its own parent.
    let (mut bytes, _) = differencing(&[]);
    let own = Footer::parse(bytes[..512].try_into().unwrap()).unwrap().id();
    let mut h = Header::parse(bytes[512..1536].try_into().unwrap(), 512).unwrap();
    h.set_parent(own, 0, "d.vhd");
    bytes[512..1536].copy_from_slice(&h.to_bytes());
    let storage: Arc<dyn Storage> = Arc::new(MemStorage::from_bytes(&bytes));
    let resolver = Arc::new(MemResolver { images: vec![("/d.vhd".into(), storage.clone())] });
    let e = OpenOptions::new().resolver(resolver).open_storage(storage, "/d.vhd").unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::ChainCycle(_)), "{e}");
    // Copies of it without end.
    let copies = (0..3).map(|i| {
        (PathBuf::from(format!("/{i}")), Arc::new(MemStorage::from_bytes(&bytes)) as Arc<dyn Storage>)
    });
    let resolver = Arc::new(MemResolver { images: copies.collect() });
    let e = OpenOptions::new()
        .resolver(resolver)
        .open_storage(Arc::new(MemStorage::from_bytes(&bytes)), "/d.vhd")
        .unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::ChainCycle(_) | ErrorKind::ChainTooDeep(_)), "{e}");
    // On disk, where locks are in the way as well.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.vhd");
    std::fs::write(&path, &bytes).unwrap();
    for read_only in [true, false] {
        let e = OpenOptions::new().read_only(read_only).open(&path).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::ChainCycle(_)), "{e}");
    }
}

/// Whoever prints a chain of errors reads each reason once.
#[test]
fn a_reason_is_told_once() {
    let e = Vhd::open("/nowhere/at all/x.vhd").unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Io(_)));
    let said = e.to_string();
    assert!(said.starts_with("/nowhere/at all/x.vhd: "), "{said}");
    let below = std::iter::successors(std::error::Error::source(&e), |e| e.source()).map(ToString::to_string);
    below.for_each(|below| assert!(!said.contains(&below), "{said}: {below}"));
    assert_eq!(e.clone().to_string(), said);

    let medium = slotone_block::BlockError::from(e);
    assert!(medium.to_string().contains(said.split_once(": ").unwrap().1), "{medium}");
    assert!(std::error::Error::source(&medium).is_none());
}

#[test]
fn not_a_file() {
    let e = Vhd::open("/dev/null").unwrap_err();
    assert!(e.to_string().contains("neither a regular file"), "{e}");
    let e = Vhd::open("/nonexistent/x.vhd").unwrap_err();
    assert!(e.to_string().starts_with("/nonexistent/x.vhd: "), "{e}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    /// Whatever the bytes are: no panic, no endless loop; what opens can be read, written, closed and opened again.
    #[test]
    fn random_damage(seed: u64, flips in 1u32..12) {
        let mut rng = Rng(seed);
        let mut bytes = image();
        let (checked, len) = (rng.below(2) == 0, bytes.len());
        for _ in 0..flips {
            let at = match rng.below(3) { 0 => rng.below(512), 1 => 512 + rng.below(1024 + 256), _ => rng.below(len as u64) } as usize;
            bytes[at] = rng.next() as u8;
        }
        if checked {
            header(&mut bytes, |_| {});
            footer(&mut bytes, |_| {});
        }
        let storage = Arc::new(MemStorage::from_bytes(&bytes));
        let _ = check_storage(storage.clone(), Path::new("/d.vhd"), None).unwrap();
        if let Ok(disk) = OpenOptions::new().open_storage(storage.clone(), "/d.vhd") {
            let size = disk.info().capacity.min(1 << 20);
            let mut all = vec![0; size as usize];
            read_exact(&disk, 0, &mut all).unwrap();
            let at = rng.below(size / 512) * 512;
            write_all(&disk, at, &[3; 512]).unwrap();
            all[at as usize..at as usize + 512].fill(3);
            disk.close().unwrap();
            let disk = OpenOptions::new().open_storage(storage.clone(), "/d.vhd").unwrap();
            let mut again = vec![0; size as usize];
            read_exact(&disk, 0, &mut again).unwrap();
            prop_assert!(all == again);
        }
        let _ = repair_storage(storage, Path::new("/d.vhd")).unwrap();
    }
}
