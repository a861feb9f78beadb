//! Resize, compact, merge, convert and reconnect: the content stays, also when power is cut at any of their writes.
//!
//! Orders that were broken on purpose in a copy (2026-11-23), and which test fell: `compact` without the sync between a moved block and its
//! table entry: `compact_through_power_cuts`; `resize` without the one between a new table and the header: `resize_through_power_cuts`; `merge`
//! that returns before its target is flushed: `merge_through_power_cuts`.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::crash::{CrashStorage, memory};
use common::{Rng, content};
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::{
    CompactOptions, ConvertOptions, CreateOptions, DiskKind, ErrorKind, LinkedDisk, MemResolver, MemStorage,
    OpenOptions, Severity, Storage, Target, Vhd, check, check_storage, compact, convert, merge,
    merge_storage, open_source, quiet, reconnect, reconnect_storage, resize,
};

fn options(parent: Option<&Arc<MemStorage>>) -> OpenOptions {
    let images = parent.iter().map(|s| (PathBuf::from("/p.vhd"), (*s).clone() as Arc<dyn Storage>)).collect();
    OpenOptions::new().resolver(Arc::new(MemResolver { images }))
}

fn open(storage: Arc<dyn Storage>, parent: Option<&Arc<MemStorage>>) -> slotone_vhd::Result<Vhd> {
    options(parent).open_storage(storage, "/d.vhd")
}

/// Writes at random places; some blocks become zero again, some are given back.
fn scribble(disk: &Vhd, rng: &mut Rng, rounds: u64) {
    let sectors = disk.size() / 512;
    for _ in 0..rounds {
        let at = rng.below(sectors);
        let most = 1 + rng.below(40);
        let n = 1 + rng.below((sectors - at).min(most));
        let mut data = vec![0; (n * 512) as usize];
        match rng.below(5) {
            0 => disk.write_zeroes(at * 512, n * 512, false).unwrap(),
            1 => write_all(disk, at * 512, &data).unwrap(),
            2 if disk.kind() == DiskKind::Dynamic => disk.discard(at * 512, n * 512).unwrap(),
            _ => {
                rng.fill(&mut data);
                write_all(disk, at * 512, &data).unwrap();
            }
        }
    }
}

/// A disk with something on it, over a parent or not.
fn made(rng: &mut Rng, differencing: bool, sectors: u64) -> (Vec<u8>, Option<Arc<MemStorage>>) {
    let size = sectors * 512;
    let mut parent = None;
    let mut create = CreateOptions::dynamic(size);
    if differencing {
        let base = Arc::new(MemStorage::new());
        let b = CreateOptions::dynamic(size)
            .block_size(8192)
            .create_in(base.clone(), "/p.vhd", &options(None), None)
            .unwrap();
        scribble(&b, rng, 20);
        b.close().unwrap();
        parent = Some(base);
        create = CreateOptions::differencing("/p.vhd");
    }
    let storage = Arc::new(MemStorage::new());
    let p = parent.as_ref().map(|s| options(None).read_only(true).open_storage(s.clone(), "/p.vhd").unwrap());
    let block = 512 << rng.below(6);
    let disk = create
        .block_size(block)
        .aligned(rng.below(2) == 0)
        .create_in(storage.clone(), "/d.vhd", &options(parent.as_ref()), p.as_ref())
        .unwrap();
    scribble(&disk, rng, 25);
    disk.close().unwrap();
    (storage.to_vec(), parent)
}

/// Cuts power at every write and sync of `work`, and lets `after` look at what may be left.
fn every_cut(
    image: &[u8],
    rng: &mut Rng,
    what: &str,
    work: &dyn Fn(Arc<CrashStorage>) -> slotone_vhd::Result<()>,
    after: &mut dyn FnMut(Vec<u8>, &str),
) {
    let mut cut = 0;
    loop {
        let storage = CrashStorage::new(image);
        storage.cut_after(cut);
        let finished = work(storage.clone()).is_ok();
        for variant in 0..3 {
            after(storage.after_crash(rng), &format!("{what}, cut after {cut}, variant {variant}"));
        }
        if finished {
            storage.repair();
            storage.sync().unwrap();
            after(storage.to_vec(), &format!("{what}, finished"));
            return;
        }
        cut += 1;
        assert!(cut < 5000);
    }
}

#[test]
fn compact_through_power_cuts() {
    for seed in 0..24 {
        let mut rng = Rng(seed);
        let (image, parent) = made(&mut rng, seed % 2 == 1, 200);
        let want = content(&open(memory(&image), parent.as_ref()).unwrap());
        let work = |s: Arc<CrashStorage>| {
            let disk = open(s, parent.as_ref())?;
            compact(disk, CompactOptions::default(), &mut quiet())?.0.close()
        };
        let mut smallest = usize::MAX;
        every_cut(&image, &mut rng, &format!("seed {seed}"), &work, &mut |bytes, what| {
            let storage = memory(&bytes);
            let disk = open(storage.clone(), parent.as_ref()).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(content(&disk) == want, "{what}: content changed");
            // Again, to the end.
            let (disk, _) = compact(disk, CompactOptions::default(), &mut quiet()).unwrap();
            assert!(content(&disk) == want, "{what}: content changed the second time");
            disk.close().unwrap();
            let len = storage.to_vec().len();
            smallest = smallest.min(len);
            assert!(len <= smallest + 4096, "{what}: {len} bytes are left, {smallest} would do");
            let report = check_storage(storage, Path::new("/d.vhd"), None).unwrap();
            assert!(report.is_clean(), "{what}: {report:?}");
        });
    }
}

#[test]
fn resize_through_power_cuts() {
    for seed in 0..30 {
        let mut rng = Rng(seed);
        let fixed = seed % 5 == 4;
        let (mut image, parent) = made(&mut rng, seed % 2 == 1, 150);
        let mut parent = parent;
        if fixed {
            parent = None;
            let s = Arc::new(MemStorage::new());
            let d =
                CreateOptions::fixed(150 * 512).create_in(s.clone(), "/d.vhd", &options(None), None).unwrap();
            scribble(&d, &mut rng, 20);
            d.close().unwrap();
            image = s.to_vec();
        }
        if seed % 3 == 1 {
            // One that has a history: its table lies behind blocks, and has entries that are not used.
            let storage = memory(&image);
            let disk = open(storage.clone(), parent.as_ref()).unwrap().resize(512 * 9000, false).unwrap();
            scribble(&disk, &mut rng, 30);
            disk.resize(512 * (150 + rng.below(3000)), true).unwrap().close().unwrap();
            image = storage.to_vec();
        }
        let old = content(&open(memory(&image), parent.as_ref()).unwrap());
        // A child cannot become smaller than its parent.
        let size = 512 * if parent.is_some() { 151 + rng.below(20_000) } else { 1 + rng.below(20_000) };
        let work = |s: Arc<CrashStorage>| resize(open(s, parent.as_ref())?, size, true)?.close();
        every_cut(&image, &mut rng, &format!("seed {seed}, to {size}"), &work, &mut |bytes, what| {
            let disk = open(memory(&bytes), parent.as_ref()).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(disk.size() == size || disk.size() == old.len() as u64, "{what}: {} bytes", disk.size());
            let cut_off = size < old.len() as u64;
            if !cut_off || disk.size() == size {
                let same = disk.size().min(old.len() as u64) as usize;
                assert!(content(&disk)[..same] == old[..same], "{what}: content changed");
            }
            let disk = resize(disk, size, true).unwrap();
            let now = content(&disk);
            let same = old.len().min(now.len());
            assert!(now[..same] == old[..same], "{what}: content changed the second time");
            // One sector of a fixed disk may have a footer that was on its way out.
            let rest = if fixed { (same + 512).min(now.len()) } else { same };
            assert!(now[rest..].iter().all(|b| *b == 0), "{what}: the new end is not zero");
            // All of it can be used.
            write_all(&disk, size - 512, &[7; 512]).unwrap();
            disk.close().unwrap();
        });
    }
}

#[test]
fn merge_through_power_cuts() {
    for seed in 0..16 {
        let mut rng = Rng(seed);
        let (child, parent) = made(&mut rng, true, 120);
        let parent = parent.unwrap();
        let want = content(&open(memory(&child), Some(&parent)).unwrap());
        let image = parent.to_vec();
        let work = |s: Arc<CrashStorage>| {
            let target = options(None).open_storage(s, "/p.vhd")?;
            merge_storage(memory(&child), Path::new("/d.vhd"), target, &mut quiet())
        };
        every_cut(&image, &mut rng, &format!("seed {seed}"), &work, &mut |bytes, what| {
            let parent = memory(&bytes);
            let through =
                content(&open(memory(&child), Some(&parent)).unwrap_or_else(|e| panic!("{what}: {e}")));
            assert!(through == want, "{what}: content through the child changed");
            let target = options(None).open_storage(parent.clone(), "/p.vhd").unwrap();
            merge_storage(memory(&child), Path::new("/d.vhd"), target, &mut quiet()).unwrap();
            let alone = options(None).open_storage(parent, "/p.vhd").unwrap();
            assert!(content(&alone) == want, "{what}: the parent is not the merged disk");
        });
    }
}

#[test]
fn reconnect_through_power_cuts() {
    for seed in 0..6 {
        let mut rng = Rng(seed);
        let (image, parent) = made(&mut rng, true, 100);
        let parent = parent.unwrap();
        let want = content(&open(memory(&image), Some(&parent)).unwrap());
        let work = |s: Arc<CrashStorage>| {
            let p = options(None).read_only(true).open_storage(parent.clone(), "/elsewhere/p.vhd")?;
            reconnect_storage(s, Path::new("/d.vhd"), &p, false)
        };
        every_cut(&image, &mut rng, &format!("seed {seed}"), &work, &mut |bytes, what| {
            let disk = open(memory(&bytes), Some(&parent)).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert!(content(&disk) == want, "{what}: content changed");
            if what.ends_with("finished") {
                let urls: Vec<_> = disk.locators().iter().filter_map(|l| l.text.clone()).collect();
                assert!(urls.iter().any(|t| t.contains("/elsewhere/p.vhd")), "{urls:?}");
                assert_eq!(disk.footer().data_offset(), 512);
            }
        });
    }
}

#[test]
fn compact_of_a_large_table_and_interrupted() {
    let storage = Arc::new(MemStorage::new());
    let disk = CreateOptions::dynamic(64 << 20)
        .block_size(16 << 10)
        .create_in(storage.clone(), "/d.vhd", &options(None), None)
        .unwrap();
    for block in 0..2000u64 {
        write_all(&disk, block * (16 << 10), &[(block % 251) as u8 + 1; 512]).unwrap();
    }
    for block in (0..2000u64).filter(|b| b % 3 != 0) {
        disk.write_zeroes(block * (16 << 10), 512, false).unwrap();
    }
    let want = content(&disk);
    let mut calls = 0;
    let e = compact(disk, CompactOptions::default(), &mut |_, _| {
        calls += 1;
        if calls > 2003 { std::ops::ControlFlow::Break(()) } else { std::ops::ControlFlow::Continue(()) }
    })
    .unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Interrupted), "{e}");
    let disk = open(storage.clone(), None).unwrap();
    assert!(content(&disk) == want);
    let (disk, done) = compact(disk, CompactOptions::default(), &mut quiet()).unwrap();
    assert!(content(&disk) == want);
    assert_eq!(disk.blocks().unwrap().0, 667);
    assert!(done.after < 670 * (20 << 10) + 100_000, "{done:?}");
}

#[test]
fn what_is_not_allowed_says_so() {
    let s = Arc::new(MemStorage::new());
    let fixed = CreateOptions::fixed(1 << 20).create_in(s, "/f.vhd", &options(None), None).unwrap();
    let e = compact(fixed, CompactOptions::default(), &mut quiet()).unwrap_err();
    assert!(e.to_string().contains("fixed disk cannot be compacted"), "{e}");
    let s = Arc::new(MemStorage::new());
    let d = CreateOptions::dynamic(1 << 20).create_in(s.clone(), "/d.vhd", &options(None), None).unwrap();
    let e = d.resize(512, false).unwrap_err();
    assert!(e.to_string().contains("allowed expressly"), "{e}");
    let e = open(s, None).unwrap().resize(2041 << 30, false).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::InvalidSize { .. }), "{e}");
}

#[test]
fn files_convert_merge_reconnect() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    let mut rng = Rng(77);
    let disk = Vhd::create(at("base.vhd"), &CreateOptions::dynamic(9 << 20)).unwrap();
    scribble(&disk, &mut rng, 200);
    disk.close().unwrap();
    let child = Vhd::create(at("child.vhd"), &CreateOptions::differencing(at("base.vhd"))).unwrap();
    scribble(&child, &mut rng, 100);
    let want = content(&child);
    child.close().unwrap();

    // Any kind to any other.
    let mut from = at("child.vhd");
    for (i, target) in [
        Target::Dynamic,
        Target::Fixed,
        Target::Raw,
        Target::Fixed,
        Target::Dynamic,
        Target::Raw,
        Target::Dynamic,
    ]
    .into_iter()
    .enumerate()
    {
        let to = at(&format!("{i}.img"));
        let source = open_source(&from, &OpenOptions::new()).unwrap();
        let options = ConvertOptions { target, ..ConvertOptions::default() };
        convert(&*source, &to, &options, &mut quiet()).unwrap();
        let result = open_source(&to, &OpenOptions::new()).unwrap();
        let mut got = vec![0; result.info().capacity as usize];
        read_exact(&*result, 0, &mut got).unwrap();
        assert!(got == want, "{target:?}");
        from = to;
    }
    let source = LinkedDisk::open(at("5.img"), true).unwrap();
    let e = convert(&source, at("0.img"), &ConvertOptions::default(), &mut quiet()).unwrap_err();
    assert!(e.to_string().contains("exists"), "{e}");
    // Stopped: nothing is left.
    let e = convert(&source, at("no.img"), &ConvertOptions::default(), &mut |_, _| {
        std::ops::ControlFlow::Break(())
    })
    .unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Interrupted));
    assert!(
        !std::fs::read_dir(dir.path()).unwrap().any(|e| e
            .unwrap()
            .file_name()
            .to_str()
            .unwrap()
            .starts_with("no"))
    );

    // The parent moves away.
    std::fs::create_dir(at("store")).unwrap();
    std::fs::rename(at("base.vhd"), at("store/renamed.vhd")).unwrap();
    let e = Vhd::open(at("child.vhd")).unwrap_err();
    assert!(e.to_string().contains("base.vhd"), "{e}");
    let report = check(at("child.vhd")).unwrap();
    assert_eq!(report.worst(), Some(Severity::Warning), "{report:?}");
    let e = reconnect(at("child.vhd"), at("0.img"), false).unwrap_err();
    assert!(e.to_string().contains("that disk is"), "{e}");
    reconnect(at("child.vhd"), at("store/renamed.vhd"), false).unwrap();
    assert!(content(&Vhd::open(at("child.vhd")).unwrap()) == want);
    assert!(check(at("child.vhd")).unwrap().is_clean());
    let e = reconnect(at("child.vhd"), at("child.vhd"), true).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Locked { .. } | ErrorKind::ChainCycle(_)), "{e}");

    // Both go elsewhere together: the relative path still holds.
    std::fs::create_dir(at("moved")).unwrap();
    std::fs::rename(at("store"), at("moved/store")).unwrap();
    std::fs::rename(at("child.vhd"), at("moved/child.vhd")).unwrap();
    assert!(content(&Vhd::open(at("moved/child.vhd")).unwrap()) == want);

    let parent = merge(at("moved/child.vhd"), &OpenOptions::new(), &mut quiet()).unwrap();
    assert_eq!(parent.canonicalize().unwrap(), at("moved/store/renamed.vhd").canonicalize().unwrap());
    assert!(content(&Vhd::open(parent).unwrap()) == want);
}

#[test]
fn locks() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("d.vhd");
    let disk = Vhd::create(&path, &CreateOptions::dynamic(1 << 20)).unwrap();
    for read_only in [false, true] {
        let e = OpenOptions::new().read_only(read_only).open(&path).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::Locked { .. }), "{e}");
        assert!(e.to_string().contains("in use") && e.to_string().contains("d.vhd"), "{e}");
    }
    disk.close().unwrap();
    let child = Vhd::create(dir.path().join("c.vhd"), &CreateOptions::differencing(&path)).unwrap();
    // A parent in use by a child can be read by others, not written.
    OpenOptions::new().read_only(true).open(&path).unwrap();
    assert!(matches!(Vhd::open(&path).unwrap_err().kind(), ErrorKind::Locked { .. }));
    drop(child);
    Vhd::open(&path).unwrap();
}
