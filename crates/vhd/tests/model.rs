//! Every kind of disk against a plain `Vec` under random operations.

mod common;

use std::io::{IoSlice, IoSliceMut};
use std::path::PathBuf;
use std::sync::Arc;

use common::{Rng, content};
use proptest::prelude::*;
use slotone_block::BlockBackend;
use slotone_vhd::{
    CompactOptions, CreateOptions, DiskKind, MemResolver, MemStorage, OpenOptions, Storage, Vhd, compact,
    quiet,
};

/// A chain of images in memory.
struct Disks {
    files: Vec<(PathBuf, Arc<MemStorage>)>,
}

impl Disks {
    fn options(&self) -> OpenOptions {
        let images = self.files.iter().map(|(p, s)| (p.clone(), s.clone() as Arc<dyn Storage>)).collect();
        OpenOptions::new().resolver(Arc::new(MemResolver { images })).bitmap_limit(1)
    }

    fn open(&self, index: usize, read_only: bool) -> Vhd {
        let (path, storage) = &self.files[index];
        self.options().read_only(read_only).open_storage(storage.clone(), path).unwrap()
    }

    fn add(&mut self, options: &CreateOptions, parent: bool) -> Vhd {
        let path = PathBuf::from(format!("/{}.vhd", self.files.len()));
        let storage = Arc::new(MemStorage::new());
        let parent = parent.then(|| self.open(self.files.len() - 1, true));
        let disk = options.create_in(storage.clone(), &path, &self.options(), parent.as_ref()).unwrap();
        self.files.push((path, storage));
        disk
    }
}

/// One random operation on both.
fn step(disk: &Vhd, model: &mut [u8], rng: &mut Rng) {
    let sectors = (model.len() / 512) as u64;
    let at = rng.below(sectors);
    let most = 1 + rng.below(200);
    let n = 1 + rng.below((sectors - at).min(most));
    let (at, n) = ((at * 512) as usize, (n * 512) as usize);
    match rng.below(10) {
        0..=3 => {
            let mut data = vec![0; n];
            rng.fill(&mut data);
            // In one to three buffers.
            let (a, b) = data.split_at((rng.below(n as u64 / 512 + 1) * 512) as usize);
            let (b, c) = b.split_at(b.len() / 2);
            disk.write_at(at as u64, &[IoSlice::new(a), IoSlice::new(b), IoSlice::new(c)], rng.below(8) == 0)
                .unwrap();
            model[at..at + n].copy_from_slice(&data);
        }
        4..=6 => {
            let mut got = vec![1; n];
            let (a, b) = got.split_at_mut((rng.below(n as u64 / 512 + 1) * 512) as usize);
            let (b, c) = b.split_at_mut(b.len() / 2);
            disk.read_at(at as u64, &mut [IoSliceMut::new(a), IoSliceMut::new(b), IoSliceMut::new(c)])
                .unwrap();
            assert!(got == model[at..at + n], "read of {n} at {at}");
        }
        7 => {
            disk.write_zeroes(at as u64, n as u64, false).unwrap();
            model[at..at + n].fill(0);
        }
        8 => {
            disk.discard(at as u64, n as u64).unwrap();
            // Either what was there or zeros, sector by sector, and it stays so.
            let mut got = vec![0; n];
            slotone_block::read_exact(disk, at as u64, &mut got).unwrap();
            for (g, m) in got.chunks(512).zip(model[at..at + n].chunks_mut(512)) {
                assert!(g == m || g.iter().all(|b| *b == 0));
                m.copy_from_slice(g);
            }
        }
        _ => disk.flush().unwrap(),
    }
}

/// `least`: the parent's size.
fn churn(disks: &mut Disks, mut disk: Vhd, model: &mut Vec<u8>, rng: &mut Rng, steps: u32, least: usize) {
    let index = disks.files.len() - 1;
    for i in 0..steps {
        step(&disk, model, rng);
        if rng.below(40) == 0 {
            disk.close().unwrap();
            disk = disks.open(index, false);
        }
        if rng.below(30) == 0 {
            let size = (least / 512).max(1) as u64 + rng.below((model.len() as u64 / 256).min(4000) + 1);
            disk = disk.resize(size * 512, true).unwrap();
            model.resize(size as usize * 512, 0);
        }
        if rng.below(30) == 0 && disk.kind() != DiskKind::Fixed {
            disk = compact(disk, CompactOptions::default(), &mut quiet()).unwrap().0;
        }
        if i % 50 == 49 {
            assert!(content(&disk) == *model, "step {i}");
            extents_agree(&disk, model);
        }
    }
    disk.close().unwrap();
    let (path, _) = &disks.files[index];
    let disk = disks.open(index, true);
    assert!(content(&disk) == *model, "{}", path.display());
    assert!(disk.warnings().is_empty(), "{:?}", disk.warnings());
}

/// What is said to be zero is zero.
fn extents_agree(disk: &Vhd, model: &[u8]) {
    let mut at = 0;
    while at < disk.size() {
        let e = disk.extent(at, disk.size() - at).unwrap();
        assert!(e.len > 0 && e.len.is_multiple_of(512));
        assert!(!e.zero || model[at as usize..(at + e.len) as usize].iter().all(|b| *b == 0));
        at += e.len;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn fixed(seed: u64, sectors in 1u64..400) {
        let mut disks = Disks { files: vec![] };
        let disk = disks.add(&CreateOptions::fixed(sectors * 512), false);
        let mut model = vec![0; sectors as usize * 512];
        churn(&mut disks, disk, &mut model, &mut Rng(seed), 150, 0);
    }

    #[test]
    fn dynamic(seed: u64, sectors in 1u64..3000, shift in 9u32..18, aligned: bool) {
        let mut disks = Disks { files: vec![] };
        let options = CreateOptions::dynamic(sectors * 512).block_size(1 << shift).aligned(aligned);
        let disk = disks.add(&options, false);
        let mut model = vec![0; sectors as usize * 512];
        churn(&mut disks, disk, &mut model, &mut Rng(seed), 200, 0);
    }

    #[test]
    fn differencing(seed: u64, sectors in 1u64..1500, shift in 9u32..16, base_fixed: bool, depth in 1usize..4) {
        let mut rng = Rng(seed);
        let mut disks = Disks { files: vec![] };
        let size = sectors * 512;
        let base = if base_fixed { CreateOptions::fixed(size) } else { CreateOptions::dynamic(size).block_size(4096) };
        let disk = disks.add(&base, false);
        let mut model = vec![0; size as usize];
        churn(&mut disks, disk, &mut model, &mut rng, 60, 0);
        for level in 0..depth {
            // A child may be larger than its parent.
            let size = model.len() as u64 + if level == 1 { 512 * 100 } else { 0 };
            let options = CreateOptions::differencing("parent").size(size).block_size(1 << (shift + level as u32 % 2));
            let disk = disks.add(&options, true);
            prop_assert_eq!(disk.kind(), DiskKind::Differencing);
            let least = model.len();
            model.resize(size as usize, 0);
            churn(&mut disks, disk, &mut model, &mut rng, 100, least);
        }
    }
}

#[test]
fn zeros_in_a_child_hide_the_parent() {
    let mut disks = Disks { files: vec![] };
    let disk = disks.add(&CreateOptions::dynamic(1 << 20), false);
    slotone_block::write_all(&disk, 0, &[9; 8192]).unwrap();
    disk.close().unwrap();
    let child = disks.add(&CreateOptions::differencing("parent"), true);
    child.write_zeroes(512, 1024, false).unwrap();
    slotone_block::write_all(&child, 4096, &[0; 512]).unwrap();
    // Nothing to hide there: nothing is stored.
    child.write_zeroes(1 << 19, 1 << 19, false).unwrap();
    child.close().unwrap();
    let child = disks.open(1, true);
    let all = content(&child);
    assert_eq!(all[..512], [9; 512]);
    assert_eq!(all[512..1536], [0; 1024]);
    assert_eq!(all[1536..4096], [9; 2560]);
    assert_eq!(all[4096..4608], [0; 512]);
    assert_eq!(all[4608..8192], [9; 3584]);
}

#[test]
fn several_threads_at_once() {
    let mut disks = Disks { files: vec![] };
    let base = disks.add(&CreateOptions::dynamic(8 << 20).block_size(64 << 10), false);
    slotone_block::write_all(&base, 0, &vec![1; 8 << 20]).unwrap();
    base.close().unwrap();
    let disk = disks.add(&CreateOptions::differencing("parent").block_size(64 << 10), true);
    // Each thread owns every fourth sector, so that all of them meet in every block and bitmap.
    std::thread::scope(|scope| {
        for t in 0..4u64 {
            let disk = &disk;
            scope.spawn(move || {
                let mut rng = Rng(t);
                for round in 0..2000u64 {
                    let sector = rng.below((8 << 20) / 2048) * 4 + t;
                    let mut got = [0; 512];
                    slotone_block::read_exact(disk, sector * 512, &mut got).unwrap();
                    assert!(got.iter().all(|b| *b == got[0]));
                    slotone_block::write_all(disk, sector * 512, &[(round % 250) as u8; 512]).unwrap();
                    slotone_block::read_exact(disk, sector * 512, &mut got).unwrap();
                    assert_eq!(got, [(round % 250) as u8; 512]);
                    if round % 500 == 0 {
                        disk.flush().unwrap();
                    }
                }
            });
        }
    });
    let before = content(&disk);
    disk.close().unwrap();
    assert!(content(&disks.open(1, true)) == before);
}

#[test]
fn threads_that_give_blocks_back() {
    let mut disks = Disks { files: vec![] };
    let disk = disks.add(&CreateOptions::dynamic(4 << 20).block_size(16 << 10), false);
    std::thread::scope(|scope| {
        for t in 0..4u64 {
            let disk = &disk;
            scope.spawn(move || {
                let mut rng = Rng(t);
                for round in 0..1500u64 {
                    // A block of its own among those of the others.
                    let at = (rng.below(64) * 4 + t) * (16 << 10);
                    let mut block = vec![(round % 250) as u8 + 1; 16 << 10];
                    match rng.below(4) {
                        0 => {
                            disk.write_zeroes(at, 16 << 10, false).unwrap();
                            block.fill(0);
                        }
                        1 => {
                            disk.flush().unwrap();
                            continue;
                        }
                        _ => slotone_block::write_all(disk, at, &block).unwrap(),
                    }
                    let mut got = vec![9; 16 << 10];
                    slotone_block::read_exact(disk, at, &mut got).unwrap();
                    assert!(got == block);
                }
            });
        }
    });
    let before = content(&disk);
    disk.close().unwrap();
    assert!(content(&disks.open(0, true)) == before);
}

#[test]
fn send_and_sync() {
    fn is<T: Send + Sync + 'static>() {}
    is::<Vhd>();
}
