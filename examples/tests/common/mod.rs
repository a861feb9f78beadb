//! The program from outside.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

pub(crate) fn run(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_virtual-server-2005"))
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

pub(crate) fn message(out: &Output) -> String {
    String::from_utf8_lossy(&out.stderr).into_owned()
}

/// Exit status 2, nothing on the standard output, and exactly one line, which holds all of `parts`.
pub(crate) fn refused(args: &[&str], parts: &[&str]) {
    // One that is not refused does not run for ever.
    let out = run(&[args, &["--exit-after", "5"]].concat());
    let text = message(&out);
    assert_eq!(out.status.code(), Some(2), "{args:?}: {text}");
    assert_eq!(text.trim_end().lines().count(), 1, "{args:?}: {text}");
    assert!(out.stdout.is_empty(), "{args:?}");
    for part in parts {
        assert!(text.contains(part), "{args:?}: '{part}' is missing in: {text}");
    }
}

pub(crate) fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, bytes).expect("the folder is ours");
    path
}

pub(crate) fn text(path: &Path) -> &str {
    path.to_str().expect("a plain name")
}

/// A raw disk whose boot sector is `code`.
pub(crate) fn boot_disk(folder: &Path, name: &str, code: &[u8]) -> PathBuf {
    let mut disk = vec![0; 1 << 20];
    disk[..code.len()].copy_from_slice(code);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    write(folder, name, &disk)
}
