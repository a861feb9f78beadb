//! Signals that end a program stop the machine, so that its disks are closed and undo sessions get what was asked for.
#![cfg(unix)]

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use slotone_block::{read_exact, write_all};
use slotone_vhd::undo::UndoSession;
use slotone_vhd::{CreateOptions, OpenOptions};

/// Writes the sector at 7C00 to where the packet at 7C40 says, without a flush, says "w" on COM1 and idles.
const WRITER: &[u8] = &[
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xbe, 0x40, 0x7c, // mov si, 7c40h
    0xb8, 0x00, 0x43, // mov ax, 4300h: write by packet
    0xba, 0x80, 0x00, // mov dx, 80h
    0xcd, 0x13, // int 13h
    0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, // LCR: 8 bits
    0xba, 0xf8, 0x03, 0xb0, b'w', 0xee, // out 3f8h
    0xfb, 0xf4, 0xeb, 0xfd, // sti; hlt; jmp to the hlt
];
/// In a block of the dynamic disk of its own.
const SECTOR: u64 = 20_000;

fn disk(folder: &Path) -> PathBuf {
    let path = folder.join("d.vhd");
    let disk = CreateOptions::dynamic(32 << 20).create(&path).unwrap();
    let mut boot = [0; 512];
    boot[..WRITER.len()].copy_from_slice(WRITER);
    boot[0x40..0x48].copy_from_slice(&[16, 0, 1, 0, 0x00, 0x7c, 0, 0]);
    boot[0x48..0x50].copy_from_slice(&SECTOR.to_le_bytes());
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    write_all(&disk, 0, &boot).unwrap();
    disk.close().unwrap();
    path
}

/// Whether the guest's sector is in the image itself.
fn is_written(path: &Path) -> bool {
    let mut sector = [0; 512];
    let image = OpenOptions::new().read_only(true).open(path).unwrap();
    read_exact(&image, SECTOR * 512, &mut sector).unwrap();
    sector[..WRITER.len()] == *WRITER
}

fn files(folder: &Path) -> usize {
    std::fs::read_dir(folder).unwrap().count()
}

/// Starts the machine and waits until the guest has written.
fn start(command: &mut Command, disk: &Path, more: &[&str]) -> Child {
    let mut child = command
        .args(["--memory", "8", "--serial", "stdio", "--screen", "none", "--hda", disk.to_str().unwrap()])
        .args(more)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0];
    child.stdout.as_mut().unwrap().read_exact(&mut said).expect("the guest gets that far");
    assert_eq!(said, *b"w");
    child
}

/// The program, which heeds every signal. Whoever runs the tests may have had some ignored (nohup, a script's `&`), which a program keeps; env(1) ends that.
fn program() -> Command {
    started_by(&[])
}

fn started_by(words: &[&str]) -> Command {
    let mut command = Command::new("env");
    if cfg!(target_os = "linux") {
        command.arg("--default-signal=HUP,INT,TERM");
    }
    command.args(words).arg(env!("CARGO_BIN_EXE_virtual-server-2005"));
    command
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Exit status, or `None` if a signal killed it.
fn end(child: &mut Child) -> Option<i32> {
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        if let Some(status) = child.try_wait().unwrap() {
            return status.code();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.kill().unwrap();
    panic!("it goes on");
}

#[test]
fn disks_are_closed_first() {
    for (signal, status) in [(Signal::HUP, 129), (Signal::INT, 130), (Signal::TERM, 143)] {
        let folder = tempfile::tempdir().unwrap();
        let disk = disk(folder.path());
        let mut child = start(&mut program(), &disk, &[]);
        // With the terminal everybody to talk to has gone, which is nothing to fall over.
        drop(child.stderr.take());
        send(&child, signal);
        assert_eq!(end(&mut child), Some(status), "{signal:?}");
        assert!(is_written(&disk), "{signal:?}");
    }
}

#[test]
fn a_status_of_its_own_even_with_a_text_that_did_not_come() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = start(&mut program(), &disk(folder.path()), &["--expect", "never"]);
    send(&child, Signal::TERM);
    assert_eq!(end(&mut child), Some(143));
    let mut told = String::new();
    child.stderr.take().unwrap().read_to_string(&mut told).unwrap();
    assert!(told.contains("SIGTERM"), "{told}");
}

#[test]
fn undo_sessions_get_what_was_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path());
    for (undo, written, left) in [("keep", false, 3), ("discard", false, 1), ("commit", true, 1)] {
        let mut child = start(&mut program(), &disk, &["--undo", undo]);
        send(&child, Signal::TERM);
        assert_eq!(end(&mut child), Some(143), "{undo}");
        assert_eq!((is_written(&disk), files(folder.path())), (written, left), "{undo}");
    }
    assert!(UndoSession::find(&disk).unwrap().is_none());
}

#[test]
fn a_signal_that_was_ignored_at_the_start_stays_so() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path());
    // As nohup does.
    let mut shell = started_by(&["sh", "-c", "trap '' HUP; exec \"$@\"", "sh"]);
    let mut child = start(&mut shell, &disk, &[]);
    send(&child, Signal::HUP);
    std::thread::sleep(Duration::from_millis(300));
    assert!(child.try_wait().unwrap().is_none());
    send(&child, Signal::TERM);
    assert_eq!(end(&mut child), Some(143));
}

#[test]
fn one_that_comes_twice_at_once_is_one() {
    // As when a terminal goes away, whose shell and kernel both tell, and from timeout(1).
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path());
    let mut child = start(&mut program(), &disk, &[]);
    for signal in [Signal::STOP, Signal::HUP, Signal::TERM, Signal::CONT] {
        send(&child, signal);
    }
    assert!(matches!(end(&mut child), Some(129 | 143)));
    assert!(is_written(&disk));
}

#[test]
fn a_second_one_kills() {
    let folder = tempfile::tempdir().unwrap();
    let disk = disk(folder.path());
    // At its end the machine is saved into a pipe that nobody reads, which takes for ever.
    let pipe = folder.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let mut child = start(&mut program(), &disk, &["--save", pipe.to_str().unwrap()]);
    send(&child, Signal::INT);
    std::thread::sleep(Duration::from_millis(500));
    assert!(child.try_wait().unwrap().is_none());
    send(&child, Signal::INT);
    assert_eq!(end(&mut child), None);
}

#[test]
fn the_demonstration_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let mut child = program()
        .env("TMPDIR", folder.path())
        .args(["--screen", "none"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while files(folder.path()) == 0 && begun.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(5));
    }
    send(&child, Signal::TERM);
    assert_eq!((end(&mut child), files(folder.path())), (Some(143), 0));
}
