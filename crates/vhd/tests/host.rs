//! What needs the host's help: linked disks on loop devices, and file systems made by their own tools.

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use common::{Rng, content, content_hash, mortally, run, sha256, tool};
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::{
    CompactOptions, ConvertOptions, CreateOptions, ErrorKind, LinkedDisk, OpenOptions, Target, Vhd, compact,
    convert, fsfree::free_ranges, quiet,
};

fn text(p: &Path) -> &str {
    p.to_str().unwrap()
}

fn root() -> bool {
    std::fs::read_to_string("/proc/self/status").is_ok_and(|s| s.lines().any(|l| l.starts_with("Uid:\t0\t")))
}

/// A loop device on a file; gone when dropped.
struct Loop(PathBuf, String);

impl Loop {
    fn new(file: &Path) -> Option<Self> {
        let losetup = tool("losetup")?;
        if !root() || !Path::new("/dev/loop-control").exists() {
            eprintln!("skipped: loop devices need root");
            return None;
        }
        let out = Command::new(&losetup).args(["--find", "--show", text(file)]).output().unwrap();
        if !out.status.success() {
            // The tool is there; a container's kernel may still have no device to give.
            eprintln!("skipped: losetup: {}", String::from_utf8_lossy(&out.stderr).trim());
            return None;
        }
        Some(Self(losetup, String::from_utf8(out.stdout).unwrap().trim().to_owned()))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        run(&self.0, &["-d", &self.1]);
    }
}

#[test]
fn a_linked_disk_is_used_and_converted() {
    let dir = tempfile::tempdir().unwrap();
    let backing = dir.path().join("backing.raw");
    let mut data = vec![0; 24 << 20];
    Rng(2).fill(&mut data[5 << 20..8 << 20]);
    std::fs::write(&backing, &data).unwrap();
    let Some(device) = Loop::new(&backing) else { return };
    let path = Path::new(&device.1);

    // Used as it is.
    let disk = LinkedDisk::open(path, false).unwrap();
    assert_eq!(disk.info().capacity, 24 << 20);
    write_all(&disk, 20 << 20, &[0x77; 4096]).unwrap();
    disk.write_zeroes(6 << 20, 1 << 20, false).unwrap();
    disk.flush().unwrap();
    data[20 << 20..(20 << 20) + 4096].fill(0x77);
    data[6 << 20..7 << 20].fill(0);
    let mut got = vec![0; data.len()];
    read_exact(&disk, 0, &mut got).unwrap();
    assert!(got == data);
    // Nobody else writes meanwhile.
    let e = LinkedDisk::open(path, false).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Locked { .. } | ErrorKind::Unsupported(_)), "{e}");
    drop(disk);

    // A conversion that is stopped leaves neither a half disk nor a changed source.
    let source = LinkedDisk::open(path, true).unwrap();
    for target in [Target::Fixed, Target::Dynamic] {
        let out = dir.path().join("out.vhd");
        let options = ConvertOptions { target, ..ConvertOptions::default() };
        let mut calls = 0;
        let e = convert(&source, &out, &options, &mut |_, _| {
            calls += 1;
            if calls > 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::Interrupted), "{e}");
        assert!(!out.exists() && !dir.path().join("out.vhd.partial").exists());
        convert(&source, &out, &options, &mut quiet()).unwrap();
        assert!(content(&Vhd::open(&out).unwrap()) == data, "{target:?}");
        std::fs::remove_file(&out).unwrap();
    }
    drop(source);

    // A mounted device is not written to.
    let (Some(mkfs), Some(mount), Some(umount)) = (tool("mkfs.ext4"), tool("mount"), tool("umount")) else {
        return;
    };
    let point = dir.path().join("mnt");
    std::fs::create_dir(&point).unwrap();
    run(&mkfs, &["-q", "-F", text(path)]);
    run(&mount, &[text(path), text(&point)]);
    let refused = LinkedDisk::open(path, false);
    run(&umount, &[text(&point)]);
    let e = refused.unwrap_err();
    assert!(e.to_string().contains("in use on this host"), "{e}");
}

const TARGETS: [(Target, &str); 2] = [(Target::Fixed, "fixed"), (Target::Dynamic, "dynamic")];

/// What `a_conversion_of_a_linked_disk_is_killed` starts: converts, and dies on the way if told to.
#[test]
fn child_process_of_a_conversion() {
    let Some(source) = std::env::var_os("VHD_CONVERT_FROM") else { return };
    let var = |name: &str| std::env::var(name).unwrap();
    let target = TARGETS.iter().find(|t| t.1 == var("VHD_CONVERT_KIND")).unwrap().0;
    let after = var("VHD_CONVERT_AFTER").parse().ok().map(Duration::from_nanos);
    let source = LinkedDisk::open(Path::new(&source), true).unwrap();
    let options = ConvertOptions { target, ..ConvertOptions::default() };
    let took = mortally(after, || convert(&source, var("VHD_CONVERT_TO"), &options, &mut quiet()).unwrap());
    println!("took {}", took.as_nanos());
}

#[test]
fn a_conversion_of_a_linked_disk_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let backing = dir.path().join("backing.raw");
    let mut data = vec![0; 24 << 20];
    Rng(3).fill(&mut data[5 << 20..17 << 20]);
    std::fs::write(&backing, &data).unwrap();
    let Some(device) = Loop::new(&backing) else { return };
    let out = dir.path().join("out.vhd");
    let mut rng = Rng(7);
    for (target, name) in TARGETS {
        let mut length = None;
        let (mut killed, mut left) = (0, 0);
        for attempt in 0..100 {
            let after = length.map(|l: Duration| l.mul_f64(rng.below(1000) as f64 / 1000.0));
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "child_process_of_a_conversion", "--nocapture"])
                .env("VHD_CONVERT_FROM", &device.1)
                .env("VHD_CONVERT_TO", &out)
                .env("VHD_CONVERT_KIND", name)
                .env("VHD_CONVERT_AFTER", after.map_or(String::new(), |a| a.as_nanos().to_string()))
                .output()
                .unwrap();
            let said = String::from_utf8(child.stdout).unwrap();
            match said.lines().find_map(|l| l.split_once("took ")?.1.parse().ok()) {
                Some(nanos) => length = length.or(Some(Duration::from_nanos(nanos))),
                None => killed += 1,
            }
            left += u32::from(dir.path().join("out.vhd.partial").exists());
            // Under its name it is complete, or not there at all.
            if out.exists() {
                assert!(content(&Vhd::open(&out).unwrap()) == data, "{name}: {attempt}");
                std::fs::remove_file(&out).unwrap();
            }
            if killed == 10 {
                break;
            }
        }
        assert!(killed == 10 && left > 0, "{name}: {killed} kills, {left} unfinished files");
        println!("{name}: killed {killed} times, {left} unfinished files found");
        // The source is as it was, and the same conversion works over what was left.
        let source = LinkedDisk::open(Path::new(&device.1), true).unwrap();
        assert_eq!(content_hash(&source), sha256(&data));
        let options = ConvertOptions { target, ..ConvertOptions::default() };
        convert(&source, &out, &options, &mut quiet()).unwrap();
        assert!(content(&Vhd::open(&out).unwrap()) == data);
        assert!(!dir.path().join("out.vhd.partial").exists());
        std::fs::remove_file(&out).unwrap();
    }
}

/// Puts a raw image into a dynamic VHD.
fn to_vhd(raw: &Path, vhd: &Path) {
    convert(
        &LinkedDisk::open(raw, true).unwrap(),
        vhd,
        &ConvertOptions { block_size: 512 << 10, durable: false, ..ConvertOptions::default() },
        &mut quiet(),
    )
    .unwrap();
}

fn to_raw(vhd: &Path, raw: &Path) {
    let _ = std::fs::remove_file(raw);
    let disk = OpenOptions::new().read_only(true).open(vhd).unwrap();
    convert(
        &disk,
        raw,
        &ConvertOptions { target: Target::Raw, durable: false, ..ConvertOptions::default() },
        &mut quiet(),
    )
    .unwrap();
}

/// Compacts with and without the free space and says how many blocks are left each time.
fn compacted(vhd: &Path) -> (u32, u32) {
    let (disk, _) = compact(Vhd::open(vhd).unwrap(), CompactOptions::default(), &mut quiet()).unwrap();
    let plain = disk.blocks().unwrap().0;
    let (disk, _) = compact(disk, CompactOptions { free_space: true }, &mut quiet()).unwrap();
    let free = disk.blocks().unwrap().0;
    disk.close().unwrap();
    (plain, free)
}

#[test]
fn fat_free_space() {
    let (Some(mkfs), Some(mcopy), Some(mdel)) = (tool("mkfs.fat"), tool("mcopy"), tool("mdel")) else {
        return;
    };
    for (bits, megabytes, cluster) in [("12", 6u64, "4"), ("16", 24, "2"), ("32", 48, "1")] {
        for partition in [0u64, 63 * 512] {
            let dir = tempfile::tempdir().unwrap();
            let raw = dir.path().join("fat.raw");
            let file = std::fs::File::create(&raw).unwrap();
            file.set_len(megabytes << 20).unwrap();
            if partition > 0 {
                mbr(&raw, 0x0E, 63, ((megabytes << 20) / 512 - 63) as u32);
            }
            let blocks = ((megabytes << 20) - partition) / 1024;
            let (offset, count) = (format!("--offset={}", partition / 512), blocks.to_string());
            run(&mkfs, &["-F", bits, "-s", cluster, &offset, text(&raw), &count]);
            let image = format!("{}@@{partition}", text(&raw));
            let mut kept = Vec::new();
            for i in 0..16u64 {
                let mut data = vec![0; (megabytes << 20) as usize / 20];
                Rng(i).fill(&mut data);
                let local = dir.path().join(format!("f{i}"));
                std::fs::write(&local, &data).unwrap();
                run(&mcopy, &["-i", &image, text(&local), &format!("::f{i}")]);
                kept.push((format!("::f{i}"), sha256(&data)));
            }
            // Most go; their content is still on the disk.
            for i in 4..16 {
                run(&mdel, &["-i", &image, &format!("::f{i}")]);
            }
            kept.truncate(4);
            let vhd = dir.path().join("fat.vhd");
            to_vhd(&raw, &vhd);
            let (plain, free) = compacted(&vhd);
            assert!(free * 2 < plain, "FAT{bits} at {partition}: {free} of {plain} blocks left");
            let back = dir.path().join("back.raw");
            to_raw(&vhd, &back);
            let image = format!("{}@@{partition}", text(&back));
            for (name, hash) in &kept {
                let out = dir.path().join("out");
                run(&mcopy, &["-n", "-o", "-i", &image, name, text(&out)]);
                assert_eq!(sha256(&std::fs::read(&out).unwrap()), *hash, "FAT{bits} at {partition}: {name}");
                std::fs::remove_file(&out).unwrap();
            }
            if partition == 0
                && let Some(fsck) = tool("fsck.fat")
            {
                run(&fsck, &["-n", text(&back)]);
            }
        }
    }
}

fn mbr(raw: &Path, kind: u8, first: u32, sectors: u32) {
    use std::os::unix::fs::FileExt;
    let mut b = [0u8; 512];
    b[446 + 4] = kind;
    b[446 + 8..446 + 12].copy_from_slice(&first.to_le_bytes());
    b[446 + 12..446 + 16].copy_from_slice(&sectors.to_le_bytes());
    b[510..].copy_from_slice(&[0x55, 0xAA]);
    std::fs::File::options().write(true).open(raw).unwrap().write_all_at(&b, 0).unwrap();
}

#[test]
fn ntfs_free_space() {
    let (Some(mkfs), Some(cp), Some(cat)) = (tool("mkntfs"), tool("ntfscp"), tool("ntfscat")) else { return };
    let dir = tempfile::tempdir().unwrap();
    let raw = dir.path().join("ntfs.raw");
    // Noise everywhere: what is free is not zero.
    let mut noise = vec![0; 48 << 20];
    Rng(5).fill(&mut noise);
    std::fs::write(&raw, &noise).unwrap();
    run(&mkfs, &["-F", "-q", "-Q", "-s", "512", "-c", "4096", text(&raw)]);
    let mut kept = Vec::new();
    for i in 0..8u64 {
        let mut data = vec![0; 500_000 + i as usize * 777];
        Rng(i + 50).fill(&mut data);
        let local = dir.path().join(format!("f{i}"));
        std::fs::write(&local, &data).unwrap();
        run(&cp, &["-q", text(&raw), text(&local), &format!("/f{i}")]);
        kept.push((format!("/f{i}"), sha256(&data)));
    }
    let vhd = dir.path().join("ntfs.vhd");
    to_vhd(&raw, &vhd);
    let (plain, free) = compacted(&vhd);
    assert_eq!(plain, 96);
    assert!(free < 30, "{free} of {plain} blocks left");
    let back = dir.path().join("back.raw");
    to_raw(&vhd, &back);
    for (name, hash) in &kept {
        let out = std::process::Command::new(&cat).args(["-f", text(&back), name]).output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        assert_eq!(sha256(&out.stdout), *hash, "{name}");
    }

    // A volume that is marked dirty counts as in use.
    let disk = Vhd::open(&vhd).unwrap();
    assert!(!free_ranges(&disk).is_empty());
    let record = volume_record(&disk);
    let mut sector = vec![0; 1024];
    read_exact(&disk, record, &mut sector).unwrap();
    let flags = volume_flags(&sector);
    sector[flags] |= 1;
    write_all(&disk, record, &sector).unwrap();
    assert!(free_ranges(&disk).is_empty());
}

/// Where file 3 is: mkntfs puts the table in one piece.
fn volume_record(disk: &Vhd) -> u64 {
    let mut boot = [0; 512];
    read_exact(disk, 0, &mut boot).unwrap();
    let lcn = u64::from_le_bytes(boot[48..56].try_into().unwrap());
    lcn * 4096 + 3 * 1024
}

fn volume_flags(record: &[u8]) -> usize {
    let mut at = usize::from(record[20]);
    while record[at] != 0x70 {
        at += u32::from_le_bytes(record[at + 4..at + 8].try_into().unwrap()) as usize;
    }
    at + usize::from(record[at + 20]) + 10
}

#[test]
fn damaged_file_systems_prove_nothing_and_do_no_harm() {
    let Some(mkfs) = tool("mkfs.fat") else { return };
    let Some(ntfs) = tool("mkntfs") else { return };
    let dir = tempfile::tempdir().unwrap();
    for (program, args) in [(mkfs, vec!["-F", "16"]), (ntfs, vec!["-F", "-q", "-Q", "-s", "512"])] {
        let raw = dir.path().join("fs.raw");
        std::fs::write(&raw, vec![0; 12 << 20]).unwrap();
        let mut args = args;
        args.push(text(&raw));
        run(&program, &args);
        let image = std::fs::read(&raw).unwrap();
        let mut rng = Rng(1);
        for _ in 0..400 {
            let mut bytes = image.clone();
            for _ in 0..1 + rng.below(8) {
                // Boot sector, and where the tables are.
                let at = match rng.below(3) {
                    0 => rng.below(128),
                    1 => rng.below(64 << 10),
                    _ => rng.below(6 << 20),
                };
                bytes[at as usize] = rng.next() as u8;
            }
            let storage = std::sync::Arc::new(slotone_vhd::MemStorage::from_bytes(&bytes));
            let disk = LinkedDisk::from_storage(storage, Path::new("x"), true).unwrap();
            let free = free_ranges(&disk);
            assert!(free.windows(2).all(|w| w[0].end <= w[1].start));
            assert!(free.iter().all(|r| r.start < r.end && r.end <= bytes.len() as u64));
        }
    }
}

#[test]
fn sparse_where_it_can_be() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("f.vhd");
    let disk = Vhd::create(&path, &CreateOptions::fixed(64 << 20)).unwrap();
    write_all(&disk, 8 << 20, &vec![1; 4 << 20]).unwrap();
    disk.flush().unwrap();
    let taken = disk.storage().allocated().unwrap();
    assert!((4 << 20..6 << 20).contains(&taken), "{taken}");
    disk.discard(8 << 20, 4 << 20).unwrap();
    let left = disk.storage().allocated().unwrap();
    assert!(left < 1 << 20, "{left}");
    let hash = content_hash(&disk);
    assert_eq!(hash, sha256(&vec![0; 64 << 20]));
}
