//! No operation takes 32 MiB of memory, tables aside, on disks of the largest size.

#![cfg(target_os = "linux")]

mod common;

use std::path::Path;
use std::process::Command;

use common::Rng;
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::undo::UndoSession;
use slotone_vhd::{
    CompactOptions, ConvertOptions, CreateOptions, OpenOptions, Target, Vhd, check, compact, convert, merge,
    quiet, reconnect,
};

const SIZE: u64 = 2040 << 30;
/// A table in the file.
const TABLE: u64 = (SIZE >> 21) * 4;
const BLOCKS: u64 = 1500;

/// Operation, and how many tables it needs: one each for the disks of a chain, and for a new disk.
const OPERATIONS: [(&str, u64); 13] = [
    ("create", 1),
    ("create a child", 2),
    ("open", 2),
    ("read at random", 2),
    ("write at random", 2),
    ("convert to dynamic", 3),
    ("convert to fixed", 2),
    ("check", 2),
    ("compact", 2),
    ("resize", 2),
    ("reconnect", 2),
    ("undo: start, write, commit", 4),
    ("merge", 2),
];

fn place(n: u64) -> u64 {
    Rng(n).below(SIZE >> 21) << 21
}

fn operate(name: &str, dir: &Path) {
    let (base, child, new) = (dir.join("base.vhd"), dir.join("child.vhd"), dir.join("new.vhd"));
    match name {
        "create" => {
            let disk = Vhd::create(&base, &CreateOptions::dynamic(SIZE)).unwrap();
            (0..BLOCKS / 4).for_each(|n| write_all(&disk, place(n), &[1; 512]).unwrap());
            disk.close().unwrap();
        }
        "create a child" => {
            let disk = Vhd::create(&child, &CreateOptions::differencing(&base)).unwrap();
            (0..BLOCKS).for_each(|n| write_all(&disk, place(n) + 4096, &[2; 512]).unwrap());
            disk.close().unwrap();
        }
        "open" => drop(Vhd::open(&child).unwrap()),
        "read at random" => {
            let disk = Vhd::open(&child).unwrap();
            let mut buf = vec![0; 1 << 20];
            (0..BLOCKS).for_each(|n| read_exact(&disk, place(n), &mut buf).unwrap());
        }
        "write at random" => {
            let disk = Vhd::open(&child).unwrap();
            (0..BLOCKS).for_each(|n| write_all(&disk, place(n) + 8192, &[3; 512]).unwrap());
            disk.flush().unwrap();
        }
        "convert to dynamic" | "convert to fixed" => {
            let target = if name.ends_with("fixed") { Target::Fixed } else { Target::Dynamic };
            let disk = OpenOptions::new().read_only(true).open(&child).unwrap();
            let options = ConvertOptions { target, durable: false, ..ConvertOptions::default() };
            convert(&disk, &new, &options, &mut quiet()).unwrap();
            std::fs::remove_file(&new).unwrap();
        }
        "check" => drop(check(&child).unwrap()),
        "compact" => {
            drop(compact(Vhd::open(&child).unwrap(), CompactOptions::default(), &mut quiet()).unwrap())
        }
        "resize" => {
            let path = dir.join("small.vhd");
            let disk = Vhd::create(&path, &CreateOptions::dynamic(1 << 30)).unwrap();
            disk.resize(SIZE, false).unwrap().close().unwrap();
        }
        "reconnect" => reconnect(&child, &base, false).unwrap(),
        "undo: start, write, commit" => {
            let session = UndoSession::start(&[&child]).unwrap();
            let disk = session.open().unwrap().remove(0);
            (0..BLOCKS).for_each(|n| write_all(&disk, place(n) + 12288, &[4; 512]).unwrap());
            disk.close().unwrap();
            session.commit(&mut quiet()).unwrap();
        }
        "merge" => drop(merge(&child, &OpenOptions::new(), &mut quiet()).unwrap()),
        other => panic!("{other}"),
    }
}

#[test]
fn child_process_of_each_operation() {
    let Some(dir) = std::env::var_os("VHD_MEMORY_DIR") else { return };
    operate(&std::env::var("VHD_MEMORY_OF").unwrap(), Path::new(&dir));
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    println!("{}", status.lines().find(|l| l.starts_with("VmHWM:")).unwrap());
}

#[test]
fn each_operation_is_modest() {
    let dir = tempfile::tempdir().unwrap();
    for (name, tables) in OPERATIONS {
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process_of_each_operation", "--nocapture"])
            .env("VHD_MEMORY_DIR", dir.path())
            .env("VHD_MEMORY_OF", name)
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        assert!(out.status.success(), "{name}: {said}{}", String::from_utf8_lossy(&out.stderr));
        let kib = said.lines().find_map(|l| l.split_once("VmHWM:")?.1.trim().strip_suffix(" kB")).unwrap();
        let bytes: u64 = kib.parse::<u64>().unwrap() << 10;
        println!("{name}: {:.1} MiB with {tables} tables of 4 MiB", bytes as f64 / f64::from(1 << 20));
        // In memory an entry takes five bytes: the fifth is what is known of the block.
        assert!(bytes < (32 << 20) + tables * TABLE * 5 / 4, "{name}: {bytes} bytes");
    }
}
