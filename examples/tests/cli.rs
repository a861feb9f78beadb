//! The command line from outside: exit statuses, and one line that names the file and says what to do.

mod common;

use common::{boot_disk, message, refused, run, text, write};
use slotone_vhd::CreateOptions;

#[test]
fn arguments() {
    refused(&["--no-such-flag"], &["--no-such-flag", "--help"]);
    refused(&["--memory", "3"], &["3", "4 to 3686"]);
    refused(&["--memory", "3687"], &["3687", "4 to 3686"]);
    refused(&["--memory", "lots"], &["lots"]);
    refused(&["--cpu-model", "z80"], &["z80", "pentium2"]);
    refused(&["--serial", "telepathy"], &["telepathy"]);
    refused(&["--initrd", "x"], &["--kernel"]);
    refused(&["--scsi", "0:7=x"], &["0:7", "IDs 0 to 6"]);
    refused(&["--scsi", "0:0=x,block=520"], &["512, 1024, 2048 or 4096"]);
    refused(&["--scsi", "0:0=x,cdrom,block=4096"], &["block= is for disks"]);
    refused(&["--nic", "telepathy"], &["telepathy"]);
    refused(&["--dhcp", "lab=10.0.0.0/24"], &["lab", "--nic internal=lab"]);
    refused(&["--fault", "hda=hang@3"], &["hda=hang@3", "only a SCSI drive"]);
    refused(&["--fault", "scsi0:1=error@16384"], &["scsi0:1", "blocks 0 to 16383"]);
    refused(&["--fault", "scsi0:1=sulk"], &["sulk", "vanish@N", "--help"]);
    refused(&["--fault", "scsi0:7=error"], &["scsi0:7", "no drive in that position"]);
    refused(&["--nic", "nat", "--clock", "counted"], &["--nic nat", "--nic internal"]);
    refused(&["--nic", "nat,forward=tcp:x"], &["forward=tcp:x", "tcp:HOST:GUEST"]);
    for flag in [["--fda", "x"], ["--cpu", "kvm"], ["--gdb", "x"]] {
        refused(&flag, &[flag[0], "not in this build"]);
    }
    let help = run(&["--help"]);
    assert_eq!(help.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&help.stdout).contains("--hda"));
}

#[test]
fn images_that_cannot_be_used() {
    let folder = tempfile::tempdir().unwrap();
    let missing = folder.path().join("nowhere.vhd");
    refused(&["--hda", text(&missing)], &[text(&missing), "check the path"]);
    let missing = folder.path().join("nowhere.img");
    refused(&["--hda", text(&missing)], &[text(&missing)]);
    refused(&["--cdrom", text(&missing)], &[text(&missing)]);
    refused(&["--scsi", &format!("0:0={}", text(&missing))], &[text(&missing)]);
    refused(&["--kernel", text(&missing)], &[text(&missing)]);

    let letter = write(folder.path(), "letter.vhd", &[b'x'; 4096]);
    refused(&["--hda", text(&letter)], &[text(&letter)]);
    let odd = write(folder.path(), "odd.img", &[0; 1000]);
    refused(&["--hda", text(&odd)], &[text(&odd), "512"]);
    let empty = write(folder.path(), "empty.img", &[]);
    refused(&["--hda", text(&empty)], &[text(&empty)]);
    let no_cd = write(folder.path(), "no.iso", &[0; 1 << 16]);
    refused(&["--cdrom", text(&no_cd)], &[text(&no_cd), "ISO 9660"]);
    refused(&["--kernel", text(&odd)], &[text(&odd), "bzImage"]);

    // Cut off in the middle of its block table and without the footer at its end.
    let whole = folder.path().join("whole.vhd");
    let disk = CreateOptions::dynamic(64 << 20).create(&whole).unwrap();
    slotone_block::write_all(&disk, 0, &[7; 512]).unwrap();
    disk.close().unwrap();
    let bytes = std::fs::read(&whole).unwrap();
    let cut = write(folder.path(), "cut.vhd", &bytes[..1600]);
    refused(&["--hda", text(&cut)], &[text(&cut)]);
    assert_eq!(std::fs::read(&cut).unwrap(), &bytes[..1600], "nothing was written to it");
}

#[test]
fn a_disk_in_use_is_named_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("busy.vhd");
    let disk = CreateOptions::dynamic(64 << 20).create(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    refused(&["--hda", text(&path)], &[text(&path), "in use"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    drop(disk);
}

#[test]
fn how_a_guest_ends() {
    let folder = tempfile::tempdir().unwrap();
    // LIDT of an empty table from 7C10h, then INT 0.
    let crash = boot_disk(folder.path(), "crash.img", &[0x0f, 0x01, 0x1e, 0x10, 0x7c, 0xcd, 0x00]);
    let crash = text(&crash);
    let counted = ["--clock", "counted", "--memory", "4", "--undo", "discard", "--exit-after", "20"];
    let with = |more: &[&str]| run(&[counted.as_slice(), more].concat());

    let out = with(&["--hda", crash, "--on-triple-fault", "stop"]);
    assert_eq!(out.status.code(), Some(1));
    assert!(message(&out).contains("triple fault"));

    let halt = boot_disk(folder.path(), "halt.img", &[0xfa, 0xf4]);
    assert_eq!(with(&["--hda", text(&halt)]).status.code(), Some(0));
    let out = with(&["--hda", text(&halt), "--expect", "never"]);
    assert_eq!(out.status.code(), Some(3));
    let idle = boot_disk(folder.path(), "idle.img", &[0xfb, 0xf4, 0xeb, 0xfd]);
    assert_eq!(with(&["--hda", text(&idle), "--expect", "never"]).status.code(), Some(124));

    // LCR 8 bits, then "ok" on COM1.
    let hello = [
        0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, 0xba, 0xf8, 0x03, 0xb0, b'o', 0xee, 0xb0, b'k', 0xee, 0xfb, 0xf4,
        0xeb, 0xfd,
    ];
    let hello = boot_disk(folder.path(), "hello.img", &hello);
    let png = folder.path().join("screen.png");
    let cells = folder.path().join("screen.txt");
    let out = with(&[
        "--hda",
        text(&hello),
        "--serial",
        "stdio",
        "--expect",
        "ok",
        "--screenshot",
        text(&png),
        "--screenshot",
        text(&cells),
    ]);
    assert_eq!((out.status.code(), out.stdout.as_slice()), (Some(0), b"ok".as_slice()));
    assert_eq!(&std::fs::read(&png).unwrap()[1..4], b"PNG");
    assert!(std::fs::read_to_string(&cells).unwrap().starts_with("screen 80 25\n"));
}

#[test]
fn the_same_counted_run_twice_is_the_same_run() {
    let folder = tempfile::tempdir().unwrap();
    let idle = boot_disk(folder.path(), "idle.img", &[0xfb, 0xf4, 0xeb, 0xfd]);
    let stats = || {
        let args = ["--hda", text(&idle), "--clock", "counted", "--memory", "8", "--undo", "discard"];
        let out = run(&[args.as_slice(), &["--exit-after", "6", "--stats"]].concat());
        let line = String::from_utf8_lossy(&out.stdout).into_owned();
        let stats: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        (stats["instructions"].clone(), stats["state_sha256"].clone())
    };
    let first = stats();
    assert!(first.0.as_u64() > Some(1000));
    assert_eq!(first, stats());
}

#[test]
fn a_saved_machine_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let idle = boot_disk(folder.path(), "idle.img", &[0xfb, 0xf4, 0xeb, 0xfd]);
    let state = folder.path().join("state");
    let base = ["--hda", text(&idle), "--clock", "counted", "--memory", "8", "--undo", "discard", "--stats"];
    let hash = |more: &[&str]| {
        let out = run(&[base.as_slice(), more].concat());
        let line = String::from_utf8_lossy(&out.stdout).into_owned();
        let stats: serde_json::Value = serde_json::from_str(&line).expect("one line of JSON");
        stats["state_sha256"].clone()
    };
    let whole = hash(&["--exit-after", "6", "--save", text(&state), "--save-at", "3"]);
    assert_eq!(hash(&["--exit-after", "6", "--restore", text(&state)]), whole);
    let damaged = write(folder.path(), "damaged", &std::fs::read(&state).unwrap()[..5000]);
    refused(&[base.as_slice(), &["--restore", text(&damaged)]].concat(), &[text(&damaged), "saved with"]);
}
