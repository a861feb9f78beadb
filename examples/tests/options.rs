//! Options that contradict each other, and those that cannot do what they are for: the program says so instead of leaving them out.

mod common;

use std::process::{Command, Stdio};

use common::{boot_disk, message, refused, run, text, write};
use slotone_vhd::CreateOptions;

/// Says "ok" on COM1 and halts for good.
const OK: &[u8] = &[
    0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, // LCR: 8 bits
    0xba, 0xf8, 0x03, 0xb0, b'o', 0xee, 0xb0, b'k', 0xee, // out 3f8h
    0xfa, 0xf4, // cli; hlt
];

const COUNTED: [&str; 6] = ["--clock", "counted", "--memory", "4", "--serial", "stdio"];

#[test]
fn a_text_that_is_always_there_is_not_waited_for() {
    refused(&["--expect", ""], &["--expect"]);
}

#[test]
fn what_our_bios_does_needs_our_bios() {
    refused(&["--kernel", "k", "--bios", "b"], &["--kernel", "--bios"]);
    refused(&["--hda", "d", "--boot", "scsi", "--bios", "b"], &["--boot", "--bios"]);
}

#[test]
fn what_was_never_reached_is_told_and_is_no_success() {
    let folder = tempfile::tempdir().unwrap();
    let disk = boot_disk(folder.path(), "ok.img", OK);
    let (state, png) = (folder.path().join("state"), folder.path().join("late.png"));
    let late = format!("{}@500", text(&png));
    let base = [COUNTED.as_slice(), &["--hda", text(&disk)]].concat();
    let with = |more: &[&str]| run(&[base.as_slice(), more].concat());
    assert_eq!(with(&[]).status.code(), Some(0));
    for (more, file) in [
        (["--screenshot", &late].as_slice(), &png),
        (["--save", text(&state), "--save-at", "500"].as_slice(), &state),
    ] {
        let out = with(more);
        let told = message(&out);
        assert_eq!((out.status.code(), told.contains(text(file))), (Some(2), true), "{told}");
        assert_eq!(out.stdout, b"ok", "the guest has run all the same");
        // A status that says more stays.
        let out = with(&[more, &["--expect", "never"]].concat());
        let told = message(&out);
        assert_eq!((out.status.code(), told.contains(text(file))), (Some(3), true), "{told}");
        assert!(!file.exists());
    }
    // Due at the very end is not late.
    let end = format!("{}@20", text(&png));
    let idle = boot_disk(folder.path(), "idle.img", &[0xfb, 0xf4, 0xeb, 0xfd]);
    let out =
        run(&[COUNTED.as_slice(), &["--hda", text(&idle), "--exit-after", "20", "--screenshot", &end]]
            .concat());
    assert_eq!((out.status.code(), message(&out)), (Some(124), String::new()));
    assert!(png.exists());
}

#[test]
fn a_state_that_cannot_be_written_does_not_end_the_guest() {
    let folder = tempfile::tempdir().unwrap();
    let disk = boot_disk(folder.path(), "ok.img", OK);
    let nowhere = folder.path().join("nowhere/file");
    let picture = format!("{}@0.1", text(&nowhere));
    let base = [COUNTED.as_slice(), &["--hda", text(&disk)]].concat();
    for more in [["--save", text(&nowhere), "--save-at", "0.1"].as_slice(), &["--screenshot", &picture]] {
        let out = run(&[base.as_slice(), more].concat());
        let told = message(&out);
        assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(2), b"ok".as_slice()), "{told}");
        assert!(told.contains(text(&nowhere)), "{told}");
    }
}

#[test]
fn the_blocks_of_a_fault_are_those_of_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    let disk = write(folder.path(), "disk.img", &[0; 1 << 20]);
    let large = format!("0:0={},block=4096", text(&disk));
    for kind in ["error", "pending"] {
        let fault = format!("scsi0:0={kind}@256");
        refused(&["--scsi", &large, "--fault", &fault], &[&fault, "blocks 0 to 255"]);
        let fault = format!("scsi0:0={kind}@255");
        let out =
            run(&[COUNTED.as_slice(), &["--scsi", &large, "--fault", &fault, "--exit-after", "0"]].concat());
        assert_eq!(out.status.code(), Some(124), "{}", message(&out));
    }
}

#[test]
fn an_option_that_is_none_is_not_just_a_missing_file() {
    for (flag, value) in [
        ("--scsi", "0:0=x.iso,cdorm"),
        ("--scsi", "0:0=x.iso,cdorm,block=4096"),
        ("--hda", "x.vhd,readnoly"),
        ("--cdrom", "x.iso,slto=hda"),
    ] {
        refused(&[flag, value], &["x.", "readonly", "cdrom", "block=", "slot="]);
    }
    refused(&["--hda", "x.vhd"], &["x.vhd", "check the path"]);
    let help = String::from_utf8_lossy(&run(&["--help"]).stdout).into_owned();
    assert!(help.contains("ADAPTER:ID=PATH[,cdrom][,readonly][,block=BYTES]"), "{help}");
}

#[test]
fn images_of_odd_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let odd = write(folder.path(), "odd.img", &[0; 4096 * 3 + 512]);
    let scsi = format!("0:0={},block=4096", text(&odd));
    refused(&["--scsi", &scsi], &[text(&odd), "4096"]);

    // A disc of 20 sectors, by its volume descriptor, and a padding that makes no whole sector.
    let mut disc = vec![0; 20 * 2048];
    disc[16 * 2048..][..7].copy_from_slice(b"\x01CD001\x01");
    disc[16 * 2048 + 80] = 20;
    disc[16 * 2048 + 129] = 8;
    let base = [COUNTED.as_slice(), &["--exit-after", "0", "--cdrom"]].concat();
    let told = |bytes: &[u8]| {
        let disc = write(folder.path(), "disc.iso", bytes);
        let out = run(&[base.as_slice(), &[text(&disc)]].concat());
        assert_eq!(out.status.code(), Some(124), "{}", message(&out));
        message(&out).replace(text(&disc), "DISC")
    };
    assert_eq!(told(&disc), "");
    let padded = [disc.as_slice(), &[0; 512]].concat();
    let line = told(&padded);
    assert!(line.contains("DISC") && line.contains("512 bytes") && line.lines().count() == 1, "{line}");
    // Here the volume itself is cut off.
    let line = told(&disc[..19 * 2048 + 1024]);
    assert!(line.contains("DISC") && line.contains("20") && line.contains("19"), "{line}");
    assert!(told(&disc[..18 * 2048]).contains("18"));
}

#[test]
fn an_undo_session_that_cannot_begin_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    // Enough descriptors to make the undo disks one after another, too few to open all of them.
    command.args([
        "-c",
        "ulimit -n 20; exec \"$@\"",
        "sh",
        env!("CARGO_BIN_EXE_virtual-server-2005"),
        "--undo",
        "keep",
        "--exit-after",
        "0",
    ]);
    let mut names = Vec::new();
    for i in 0..12 {
        let name = format!("{i:02}.vhd");
        let path = folder.path().join(&name);
        CreateOptions::dynamic(1 << 20).create(&path).unwrap().close().unwrap();
        command.arg("--scsi").arg(format!("{}:{}={}", i / 6, i % 6, text(&path)));
        names.push(name);
    }
    let out = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!(out.status.code(), Some(2), "{}", message(&out));
    let files = std::fs::read_dir(folder.path()).unwrap();
    let mut files: Vec<_> = files.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    files.sort();
    assert_eq!(files, names, "{}", message(&out));
}

#[test]
fn a_state_without_its_disks_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let out = run(&[
        "--memory",
        "4",
        "--exit-after",
        "0",
        "--screen",
        "none",
        "--undo",
        "discard",
        "--boot",
        "hdd",
        "--save",
        state.to_str().unwrap(),
    ]);
    assert!(message(&out).contains("--save with --undo discard"), "{}", message(&out));
    assert!(state.exists());
}

#[test]
fn diskettes_and_networks_are_passed_over_in_an_order_but_not_alone() {
    refused(&["--hda", "d.vhd", "--boot", "floppy,net"], &["--boot", "not in this build"]);
    let out = run(&[
        "--memory",
        "4",
        "--exit-after",
        "0",
        "--screen",
        "none",
        "--cdrom",
        "missing.iso",
        "--boot",
        "cd,floppy,hdd,scsi,net",
    ]);
    for passed_over in ["floppy is not in this build", "net is not in this build", "missing.iso"] {
        assert!(message(&out).contains(passed_over), "{}", message(&out));
    }
}
