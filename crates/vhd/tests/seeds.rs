//! The seeds of the fuzz targets, run on stable. What a seed is stands in `tests/seeds/README.md`.

mod common;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::Rng;
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::format::{Footer, Header, Locator, Platform, to_host_path};
use slotone_vhd::{
    CreateOptions, MemResolver, MemStorage, OpenOptions, Storage, check_storage, repair_storage,
};

fn footer(data: &[u8]) {
    let mut raw = [0; 512];
    let n = data.len().min(512);
    raw[..n].copy_from_slice(&data[..n]);
    if let Ok(f) = Footer::parse(&raw) {
        let _ = (f.kind(), f.checked_size(), f.size_by_creator());
        assert_eq!(Footer::parse(&f.to_bytes()).unwrap().id(), f.id());
    }
}

fn header(data: &[u8]) {
    let mut raw = [0; 1024];
    let n = data.len().min(1024);
    raw[..n].copy_from_slice(&data[..n]);
    if let Ok(h) = Header::parse_unverified(&raw, 512) {
        let _ = (h.parent_name(), h.locators().map(|l| l.space()));
        Header::parse(&h.to_bytes(), 512).unwrap();
    }
}

fn locator(data: &[u8]) {
    let Some((code, text)) = data.split_first_chunk::<4>() else { return };
    let platform = Platform::from_code(u32::from_be_bytes(*code));
    let l = Locator { platform, data_length: text.len() as u32, ..Locator::NONE };
    if let Some(text) = l.text(text) {
        let _ = to_host_path(platform, &text);
    }
}

/// Images with their lengths in front, the child first.
fn chain(data: &[u8]) {
    let mut images: Vec<(PathBuf, Arc<dyn Storage>)> = Vec::new();
    let mut rest = data;
    while let Some((len, more)) = rest.split_first_chunk::<4>() {
        let n = (u32::from_be_bytes(*len) as usize).min(more.len());
        images.push((format!("/{}.vhd", images.len()).into(), Arc::new(MemStorage::from_bytes(&more[..n]))));
        rest = &more[n..];
    }
    let Some((path, leaf)) = images.first().cloned() else { return };
    let resolver = Arc::new(MemResolver { images });
    let _ = check_storage(leaf.clone(), &path, Some(resolver.clone())).unwrap();
    if let Ok(disk) = OpenOptions::new().resolver(resolver).max_chain(8).open_storage(leaf, &path) {
        exercise(&disk);
    }
}

fn image(data: &[u8]) {
    let storage = Arc::new(MemStorage::from_bytes(data));
    let path = Path::new("/d.vhd");
    if let Ok(disk) = OpenOptions::new().open_storage(storage.clone(), path) {
        let at = exercise(&disk);
        disk.close().unwrap();
        let disk = OpenOptions::new().open_storage(storage.clone(), path).unwrap();
        let mut sector = [0; 512];
        read_exact(&disk, at, &mut sector).unwrap();
        assert_eq!(sector, [0x42; 512]);
    }
    let _ = repair_storage(storage, path).unwrap();
}

/// Reads, writes and gives back a little at both ends and in the middle.
fn exercise(disk: &slotone_vhd::Vhd) -> u64 {
    let size = disk.size();
    let mut buf = vec![0; size.min(1 << 20) as usize];
    for at in [0, size / 1024 * 512, size - 512] {
        let n = (size - at).min(buf.len() as u64) as usize;
        let _ = read_exact(disk, at, &mut buf[..n]);
    }
    let at = size / 1024 * 512;
    write_all(disk, at, &[0x41; 512]).unwrap();
    disk.write_zeroes(0, size.min(8192), false).unwrap();
    disk.discard(0, size.min(1 << 22)).unwrap();
    write_all(disk, at, &[0x42; 512]).unwrap();
    disk.flush().unwrap();
    at
}

#[test]
fn all_seeds_and_their_neighbours() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    type Target = (&'static str, fn(&[u8]));
    let targets: [Target; 5] =
        [("footer", footer), ("header", header), ("locator", locator), ("chain", chain), ("image", image)];
    let mut rng = Rng(11);
    for (name, target) in targets {
        let mut seeds = 0;
        for entry in std::fs::read_dir(dir.join(name)).unwrap() {
            let seed = std::fs::read(entry.unwrap().path()).unwrap();
            seeds += 1;
            target(&seed);
            for _ in 0..60 {
                let mut near = seed.clone();
                for _ in 0..1 + rng.below(4) {
                    let at = rng.below(near.len() as u64) as usize;
                    near[at] = rng.next() as u8;
                }
                near.truncate(near.len() - rng.below(2) as usize * rng.below(near.len() as u64) as usize);
                target(&near);
            }
        }
        assert!(seeds > 1, "{name} has no seeds");
    }
}

/// The chain seeds are made here, so that they follow the code: `VHD_WRITE_SEEDS=1` writes them anew.
#[test]
fn chain_seeds_open() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/seeds");
    let mut files: Vec<(PathBuf, Arc<MemStorage>)> = Vec::new();
    for depth in 0..3 {
        let images = files.iter().map(|(p, s)| (p.clone(), s.clone() as Arc<dyn Storage>)).collect();
        let options = OpenOptions::new().resolver(Arc::new(MemResolver { images }));
        let storage = Arc::new(MemStorage::new());
        let path = PathBuf::from(format!("/{depth}.vhd"));
        let parent =
            files.last().map(|(p, s)| options.clone().read_only(true).open_storage(s.clone(), p).unwrap());
        let create =
            if depth == 0 { CreateOptions::dynamic(64 << 10) } else { CreateOptions::differencing("x") };
        let disk = create
            .block_size(4096)
            .aligned(false)
            .id(slotone_vhd::DiskId([depth + 1; 16]))
            .time_stamp(1)
            .create_in(storage.clone(), &path, &options, parent.as_ref())
            .unwrap();
        write_all(&disk, u64::from(depth) * 8192, &[depth + 1; 512]).unwrap();
        disk.close().unwrap();
        files.push((path, storage));
        let mut seed = Vec::new();
        for (_, s) in files.iter().rev() {
            let bytes = s.to_vec();
            seed.extend((bytes.len() as u32).to_be_bytes());
            seed.extend(bytes);
        }
        if std::env::var_os("VHD_WRITE_SEEDS").is_some() {
            std::fs::write(dir.join(format!("chain/depth{depth}")), &seed).unwrap();
            std::fs::write(dir.join(format!("image/own{depth}")), files.last().unwrap().1.to_vec()).unwrap();
        }
        chain(&seed);
        chain(&std::fs::read(dir.join(format!("chain/depth{depth}"))).unwrap());
    }
}
