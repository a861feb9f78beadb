//! `--undo keep|commit|discard`: a guest writes to its disk; what the image holds afterwards.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use slotone_block::{read_exact, write_all};
use slotone_vhd::undo::UndoSession;
use slotone_vhd::{CreateOptions, Vhd};

/// Reads sector 2 by int 13h, adds 1 to its first byte, writes it back, and says that byte on COM1.
const COUNT: &[u8] = &[
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0x8e, 0xc0, // mov es, ax
    0xbb, 0x00, 0x80, // mov bx, 8000h
    0xb8, 0x01, 0x02, // mov ax, 0201h: read one sector
    0xb9, 0x02, 0x00, // mov cx, 2
    0xba, 0x80, 0x00, // mov dx, 80h
    0xcd, 0x13, // int 13h
    0xfe, 0x07, // inc byte [bx]
    0xb8, 0x01, 0x03, // mov ax, 0301h: write it
    0xb9, 0x02, 0x00, // mov cx, 2
    0xba, 0x80, 0x00, // mov dx, 80h
    0xcd, 0x13, // int 13h
    0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, // LCR: 8 bits
    0xba, 0xf8, 0x03, // mov dx, 3f8h
    0x8a, 0x07, // mov al, [bx]
    0xee, // out dx, al
    0xfa, 0xf4, // cli; hlt
];

/// A VHD whose boot sector is [`COUNT`], and whose second sector begins with `first`.
fn disk(folder: &Path, name: &str, first: u8) -> PathBuf {
    let path = folder.join(name);
    let disk = Vhd::create(&path, &CreateOptions::dynamic(4 << 20)).unwrap();
    let mut boot = [0; 512];
    boot[..COUNT.len()].copy_from_slice(COUNT);
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    write_all(&disk, 0, &boot).unwrap();
    write_all(&disk, 512, &[first; 512]).unwrap();
    disk.close().unwrap();
    path
}

/// Runs the machine; returns the exit status, what came out of COM1, and the message.
fn run(args: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    let out = Command::new(env!("CARGO_BIN_EXE_virtual-server-2005"))
        .args(["--memory", "8", "--clock", "counted", "--serial", "stdio", "--exit-after", "60"])
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    (out.status.code(), out.stdout, String::from_utf8_lossy(&out.stderr).into_owned())
}

/// What the guest counted to.
fn counted(path: &Path, undo: &str) -> u8 {
    let (code, out, message) = run(&["--hda", path.to_str().unwrap(), "--undo", undo]);
    assert_eq!(code, Some(0), "--undo {undo}: {message}");
    assert_eq!(out.len(), 1, "--undo {undo}: {message}");
    out[0]
}

/// First byte of the second sector, in the image itself.
fn in_image(path: &Path) -> u8 {
    let mut sector = [0; 512];
    read_exact(&slotone_vhd::OpenOptions::new().read_only(true).open(path).unwrap(), 512, &mut sector)
        .unwrap();
    sector[0]
}

/// Names of the files beside the disks.
fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.collect();
    names.sort();
    names
}

#[test]
fn discard_leaves_the_image_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path(), "d.vhd", 10);
    let before = std::fs::read(&disk).unwrap();
    assert_eq!(counted(&disk, "discard"), 11);
    assert_eq!(counted(&disk, "discard"), 11, "every time anew");
    assert!(std::fs::read(&disk).unwrap() == before);
    assert_eq!(files(folder.path()), ["d.vhd"]);
}

#[test]
fn commit_writes_the_changes_into_the_image() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path(), "c.vhd", 20);
    assert_eq!(counted(&disk, "commit"), 21);
    assert_eq!(in_image(&disk), 21);
    assert_eq!(files(folder.path()), ["c.vhd"]);
    assert_eq!(counted(&disk, "commit"), 22);
    assert_eq!(in_image(&disk), 22);
}

#[test]
fn keep_goes_on_until_it_is_committed_or_discarded() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path(), "k.vhd", 30);
    let before = std::fs::read(&disk).unwrap();
    assert_eq!(counted(&disk, "keep"), 31);
    assert_eq!(counted(&disk, "keep"), 32, "the second run sees what the first wrote");
    assert!(std::fs::read(&disk).unwrap() == before, "the image itself is not written");
    let session = UndoSession::find(&disk).unwrap().expect("the session is there");
    assert!(files(folder.path()).len() > 1 && session.disks()[0].undo.exists());
    // Without --undo the changes would be lost sight of: refused, and they stay.
    let (code, _, message) = run(&["--hda", disk.to_str().unwrap()]);
    assert_eq!((code, message.contains("undo session")), (Some(2), true), "{message}");
    assert_eq!(counted(&disk, "discard"), 33, "what was kept is seen a last time");
    assert!(std::fs::read(&disk).unwrap() == before);
    assert_eq!(files(folder.path()), ["k.vhd"]);
    assert_eq!(counted(&disk, "keep"), 31);
    assert_eq!(counted(&disk, "commit"), 32);
    assert_eq!((in_image(&disk), files(folder.path())), (32, vec!["k.vhd".to_string()]));
}

#[test]
fn scsi_disks_take_part() {
    let folder = tempfile::tempdir().unwrap();
    let (ide, scsi) = (disk(folder.path(), "ide.vhd", 60), disk(folder.path(), "scsi.vhd", 70));
    let place = format!("0:3={}", scsi.display());
    let both = |undo| {
        let (code, out, message) =
            run(&["--hda", ide.to_str().unwrap(), "--scsi", &place, "--boot", "scsi", "--undo", undo]);
        assert_eq!((code, out.len()), (Some(0), 1), "--undo {undo}: {message}");
        out[0]
    };
    assert_eq!((both("keep"), both("keep")), (71, 72));
    assert_eq!(in_image(&scsi), 70, "the image itself is not written");
    assert_eq!(UndoSession::find(&scsi).unwrap().unwrap().disks().len(), 2);
    assert_eq!(both("discard"), 73);
    assert_eq!((both("discard"), both("commit")), (71, 71));
    assert_eq!((in_image(&ide), in_image(&scsi)), (60, 71));
    assert_eq!(files(folder.path()), ["ide.vhd", "scsi.vhd"]);
}

#[test]
fn all_disks_are_one_session_and_some_cannot_be_part_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let (a, b) = (disk(folder.path(), "a.vhd", 40), disk(folder.path(), "b.vhd", 50));
    let (a_name, b_name) = (a.to_str().unwrap(), b.to_str().unwrap());
    let both = ["--hda", a_name, "--hdb", b_name, "--undo", "keep"];
    assert_eq!(run(&both).0, Some(0));
    assert_eq!(UndoSession::find(&b).unwrap().unwrap().disks().len(), 2);
    let (code, _, message) = run(&["--hda", a_name, "--undo", "keep"]);
    assert_eq!((code, message.contains("undo session")), (Some(2), true), "half of a session: {message}");
    assert_eq!(run(&["--hda", a_name, "--hdb", b_name, "--undo", "commit"]).0, Some(0));
    assert_eq!((in_image(&a), in_image(&b)), (42, 50));
    // A read-only disk takes no part; a raw one cannot, and then nothing is left behind.
    let readonly = format!("{b_name},readonly");
    assert_eq!(run(&["--hda", a_name, "--hdb", &readonly, "--undo", "commit"]).0, Some(0));
    let raw = folder.path().join("raw.img");
    std::fs::write(&raw, [0; 1 << 16]).unwrap();
    let (code, _, message) = run(&["--hda", a_name, "--hdb", raw.to_str().unwrap(), "--undo", "keep"]);
    assert_eq!((code, message.contains("raw.img"), message.lines().count()), (Some(2), true, 1), "{message}");
    // A run that never begins leaves no session.
    let (code, _, message) = run(&["--hda", a_name, "--cdrom", "/nowhere.iso", "--undo", "keep"]);
    assert_eq!(code, Some(2), "{message}");
    assert_eq!(files(folder.path()), ["a.vhd", "b.vhd", "raw.img"]);
}
