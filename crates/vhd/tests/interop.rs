//! Images exchanged with qemu-img and 7-Zip.

mod common;

use std::path::Path;

use common::{Rng, content_hash, run, sha256, tool};
use slotone_block::{BlockBackend, write_all};
use slotone_vhd::{
    ConvertOptions, CreateOptions, DiskKind, LinkedDisk, OpenOptions, Target, Vhd, convert, open_source,
    quiet,
};

/// Raw content of 20 MiB and a bit: zeros, noise and text in pieces of many sizes.
fn raw(path: &Path, size: usize) -> String {
    let mut rng = Rng(42);
    let mut data = vec![0u8; size];
    let mut at = 0;
    while at < size {
        let n = ((1 + rng.below(300)) * 512).min((size - at) as u64) as usize;
        match rng.below(3) {
            0 => {}
            1 => rng.fill(&mut data[at..at + n]),
            _ => data[at..at + n].fill(b'x'),
        }
        at += n;
    }
    std::fs::write(path, &data).unwrap();
    sha256(&data)
}

fn text(p: &Path) -> &str {
    p.to_str().unwrap()
}

#[test]
fn qemu_reads_ours() {
    let Some(qemu) = tool("qemu-img") else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.raw");
    let hash = raw(&source, (20 << 20) + 1536);
    for target in [Target::Fixed, Target::Dynamic] {
        let (vhd, back) = (dir.path().join("ours.vhd"), dir.path().join("back.raw"));
        let options = ConvertOptions { target, ..ConvertOptions::default() };
        convert(&LinkedDisk::open(&source, true).unwrap(), &vhd, &options, &mut quiet()).unwrap();
        run(&qemu, &["convert", "-f", "vpc", "-O", "raw", text(&vhd), text(&back)]);
        assert_eq!(sha256(&std::fs::read(&back).unwrap()), hash, "{target:?}");
        std::fs::remove_file(&vhd).unwrap();
    }
}

#[test]
fn we_read_qemus() {
    let Some(qemu) = tool("qemu-img") else { return };
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source.raw");
    let hash = raw(&source, (20 << 20) + 1536);
    for (subformat, kind) in [("fixed", DiskKind::Fixed), ("dynamic", DiskKind::Dynamic)] {
        let vhd = dir.path().join("theirs.vhd");
        let options = format!("subformat={subformat},force_size=on");
        run(&qemu, &["convert", "-f", "raw", "-O", "vpc", "-o", &options, text(&source), text(&vhd)]);
        let disk = Vhd::open(&vhd).unwrap();
        assert_eq!(disk.kind(), kind);
        assert_eq!(content_hash(&disk), hash);
        // Written by us, read by them.
        write_all(&disk, 10 << 20, &[0xA5; 8192]).unwrap();
        disk.write_zeroes(4 << 20, 2 << 20, false).unwrap();
        let want = content_hash(&disk);
        disk.close().unwrap();
        let back = dir.path().join("back.raw");
        run(&qemu, &["convert", "-f", "vpc", "-O", "raw", text(&vhd), text(&back)]);
        assert_eq!(sha256(&std::fs::read(&back).unwrap()), want, "{subformat}");
    }
}

#[test]
fn qemu_agrees_about_a_disk_written_at_random() {
    let Some(qemu) = tool("qemu-img") else { return };
    let dir = tempfile::tempdir().unwrap();
    for (seed, aligned) in [(1, true), (2, false)] {
        let vhd = dir.path().join(format!("{seed}.vhd"));
        let disk = Vhd::create(&vhd, &CreateOptions::dynamic(64 << 20).aligned(aligned)).unwrap();
        let mut rng = Rng(seed);
        for _ in 0..200 {
            let at = rng.below((64 << 20) / 512 - 64) * 512;
            let mut data = vec![0; (1 + rng.below(64) as usize) * 512];
            rng.fill(&mut data);
            match rng.below(6) {
                0 => disk.write_zeroes(at, data.len() as u64, false).unwrap(),
                1 => disk.discard(at & !0x1F_FFFF, 2 << 20).unwrap(),
                _ => write_all(&disk, at, &data).unwrap(),
            }
        }
        let want = content_hash(&disk);
        disk.close().unwrap();
        let back = dir.path().join("back.raw");
        run(&qemu, &["convert", "-f", "vpc", "-O", "raw", text(&vhd), text(&back)]);
        assert_eq!(sha256(&std::fs::read(&back).unwrap()), want);
    }
}

#[test]
fn seven_zip_reads_our_children() {
    let Some(zip) = tool("7zz") else { return };
    let dir = tempfile::tempdir().unwrap();
    let mut rng = Rng(9);
    let base = dir.path().join("base.vhd");
    let mut parent = base.clone();
    let disk = Vhd::create(&base, &CreateOptions::dynamic(16 << 20)).unwrap();
    let scribble = |disk: &Vhd, rng: &mut Rng| {
        for _ in 0..60 {
            let at = rng.below((16 << 20) / 512 - 32) * 512;
            let mut data = vec![0; (1 + rng.below(32) as usize) * 512];
            rng.fill(&mut data);
            if rng.below(4) == 0 {
                disk.write_zeroes(at, data.len() as u64, false).unwrap();
            } else {
                write_all(disk, at, &data).unwrap();
            }
        }
    };
    scribble(&disk, &mut rng);
    disk.close().unwrap();
    for level in 0..3 {
        let path = dir.path().join(format!("child{level}.vhd"));
        let child = Vhd::create(&path, &CreateOptions::differencing(&parent)).unwrap();
        scribble(&child, &mut rng);
        let want = content_hash(&child);
        child.close().unwrap();
        let out = dir.path().join(format!("out{level}"));
        run(&zip, &["x", "-tVHD", "-y", &format!("-o{}", text(&out)), text(&path)]);
        let got = std::fs::read_dir(&out).unwrap().next().unwrap().unwrap().path();
        assert_eq!(sha256(&std::fs::read(got).unwrap()), want, "level {level}");
        parent = path;
    }
}

#[test]
fn sizes_survive_qemu() {
    let Some(qemu) = tool("qemu-img") else { return };
    let dir = tempfile::tempdir().unwrap();
    // Sizes that no geometry covers exactly: others must still take the size.
    for (i, size) in [1u64 << 20, (3 << 20) + 512, 127 << 30, 200 << 30, 2040 << 30].into_iter().enumerate() {
        let vhd = dir.path().join(format!("{i}.vhd"));
        Vhd::create(&vhd, &CreateOptions::dynamic(size)).unwrap().close().unwrap();
        let info = run(&qemu, &["info", "-f", "vpc", "--output=json", text(&vhd)]);
        assert!(info.contains(&format!("\"virtual-size\": {size}")), "{info}");
    }
    let source = open_source(dir.path().join("1.vhd"), &OpenOptions::new()).unwrap();
    assert_eq!(source.info().capacity, (3 << 20) + 512);
}
