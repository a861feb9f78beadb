//! The `vhd` tool as a user meets it. `cargo test -p slotone-vhd --features cli --test cli`.

mod common;

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use common::Rng;

fn vhd(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_vhd")).current_dir(dir).args(args).output().unwrap()
}

fn good(dir: &Path, args: &[&str]) -> String {
    let out = vhd(dir, args);
    assert!(out.status.success(), "{args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

fn bad(dir: &Path, args: &[&str], code: i32) -> String {
    let out = vhd(dir, args);
    let text = String::from_utf8(out.stderr).unwrap();
    assert_eq!(out.status.code(), Some(code), "{args:?}: {text}");
    text
}

fn noise(path: &Path, data: usize, size: u64) {
    let mut bytes = vec![0; data];
    Rng(1).fill(&mut bytes);
    std::fs::write(path, bytes).unwrap();
    std::fs::File::options().write(true).open(path).unwrap().set_len(size).unwrap();
}

#[test]
fn every_verb() {
    let tmp = tempfile::tempdir().unwrap();
    let d = tmp.path();
    assert!(
        good(d, &["create", "disk.vhd", "--size", "1G"]).contains("dynamic disk of 1073741824 bytes (1 GiB)")
    );
    assert!(d.join("disk.vhd").metadata().unwrap().len() < 100 << 10);
    good(d, &["create", "fixed.vhd", "--size", "3M", "--fixed"]);
    good(d, &["create", "child.vhd", "--parent", "disk.vhd"]);
    let json: serde_json::Value = serde_json::from_str(&good(d, &["info", "child.vhd", "--json"])).unwrap();
    assert_eq!(json["kind"], "differencing");
    assert_eq!(json["size"], 1u64 << 30);
    assert_eq!(json["chain"].as_array().unwrap().len(), 2);
    assert!(good(d, &["info", "fixed.vhd"]).contains("fixed"));

    noise(&d.join("raw.img"), 5 << 20, 40 << 20);
    assert!(good(d, &["info", "raw.img"]).contains("linked disk"));
    good(d, &["convert", "raw.img", "dyn.vhd"]);
    good(d, &["convert", "dyn.vhd", "f.vhd", "--fixed"]);
    good(d, &["convert", "f.vhd", "back.img", "--raw", "--no-sync"]);
    assert!(std::fs::read(d.join("raw.img")).unwrap() == std::fs::read(d.join("back.img")).unwrap());
    assert!(bad(d, &["convert", "raw.img", "dyn.vhd"], 2).contains("exists already"));
    assert!(bad(d, &["convert", "nothing.img", "x.vhd"], 2).contains("nothing.img"));

    assert!(good(d, &["resize", "dyn.vhd", "--size", "80M"]).contains("83886080"));
    assert!(bad(d, &["resize", "dyn.vhd", "--size", "40M"], 2).contains("--shrink"));
    good(d, &["resize", "dyn.vhd", "--size", "40M", "--shrink"]);
    assert!(good(d, &["compact", "dyn.vhd", "--free-space"]).contains("blocks dropped"));
    assert!(good(d, &["check", "dyn.vhd"]).contains("good, 3 of 20 blocks"));

    std::fs::create_dir(d.join("sub")).unwrap();
    std::fs::rename(d.join("disk.vhd"), d.join("sub/moved.vhd")).unwrap();
    let text = bad(d, &["info", "child.vhd"], 5);
    assert!(text.contains("disk.vhd") && text.contains("vhd reconnect"), "{text}");
    assert!(bad(d, &["reconnect", "child.vhd", "--parent", "f.vhd"], 5).contains("that disk is"));
    good(d, &["reconnect", "child.vhd", "--parent", "sub/moved.vhd"]);
    good(d, &["merge", "child.vhd", "--into", "both.vhd"]);
    good(d, &["merge", "child.vhd"]);
    assert!(!d.join("child.vhd").exists());

    assert!(good(d, &["undo", "status", "dyn.vhd"]).contains("no undo session"));
    good(d, &["undo", "start", "dyn.vhd", "f.vhd"]);
    assert!(good(d, &["undo", "status", "f.vhd"]).contains("active"));
    assert!(bad(d, &["compact", "dyn.vhd"], 2).contains("undo session"));
    good(d, &["undo", "commit", "f.vhd"]);
    good(d, &["undo", "start", "dyn.vhd"]);
    good(d, &["undo", "discard", "dyn.vhd"]);
    bad(d, &["undo", "commit", "dyn.vhd"], 2);

    let args = [
        "bench",
        "dyn.vhd",
        "--op",
        "write",
        "--pattern",
        "seq",
        "--size",
        "64K",
        "--count",
        "80",
        "--depth",
        "2",
        "--json",
    ];
    let json: serde_json::Value = serde_json::from_str(&good(d, &args)).unwrap();
    assert_eq!(json["operations"], 80);
    good(d, &["convert", "dyn.vhd", "after.img", "--raw"]);
    assert!(std::fs::read(d.join("raw.img")).unwrap() == std::fs::read(d.join("after.img")).unwrap());

    // Damage: told, mended, gone.
    let mut bytes = std::fs::read(d.join("dyn.vhd")).unwrap();
    bytes[0..8].fill(0);
    std::fs::write(d.join("dyn.vhd"), bytes).unwrap();
    assert_eq!(vhd(d, &["check", "dyn.vhd"]).status.code(), Some(3));
    assert_eq!(vhd(d, &["check", "dyn.vhd", "--repair"]).status.code(), Some(4));
    assert_eq!(vhd(d, &["check", "dyn.vhd"]).status.code(), Some(0));

    bad(d, &["create", "x.vhd"], 1);
    bad(d, &["resize", "dyn.vhd", "--size", "ten"], 1);
    for verb in [
        "create",
        "info",
        "convert",
        "merge",
        "compact",
        "resize",
        "reconnect",
        "check",
        "undo",
        "serve",
        "bench",
    ] {
        assert!(good(d, &[verb, "--help"]).contains("Usage:"));
    }
}

#[test]
fn interrupted_by_ctrl_c() {
    let tmp = tempfile::tempdir().unwrap();
    let d = tmp.path();
    noise(&d.join("raw.img"), 96 << 20, 512 << 20);
    let mut hit = false;
    for wait in [5, 10, 20, 40, 80] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vhd"))
            .current_dir(d)
            .args(["convert", "raw.img", "out.vhd"])
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
        let code = child.wait().unwrap().code();
        if kill.is_ok() && code == Some(130) {
            hit = true;
            let names: Vec<_> = std::fs::read_dir(d).unwrap().map(|e| e.unwrap().file_name()).collect();
            assert_eq!(names, ["raw.img"]);
        } else {
            let _ = std::fs::remove_file(d.join("out.vhd"));
            let _ = std::fs::remove_file(d.join("out.vhd.partial"));
        }
    }
    assert!(hit, "no conversion was interrupted");
}

#[test]
fn serve_until_told_to_stop() {
    let tmp = tempfile::tempdir().unwrap();
    let d = tmp.path();
    good(d, &["create", "d.vhd", "--size", "8M"]);
    let mut server = Command::new(env!("CARGO_BIN_EXE_vhd"))
        .current_dir(d)
        .args(["serve", "d.vhd", "--nbd", "unix:s"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(server.stdout.take().unwrap()), &mut line)
        .unwrap();
    assert!(line.starts_with("serving d.vhd at nbd+unix:///"), "{line}");
    // In use, and named.
    assert!(bad(d, &["resize", "d.vhd", "--size", "9M"], 2).contains("in use"));
    assert!(Command::new("kill").args(["-TERM", &server.id().to_string()]).status().unwrap().success());
    assert!(server.wait().unwrap().success());
    assert!(!d.join("s").exists());
    good(d, &["check", "d.vhd"]);
}

#[test]
fn a_full_disk() {
    // A file system of 8 MiB in memory stands for the host that has no room left.
    let tmp = tempfile::tempdir().unwrap();
    let small = tmp.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=8m", "none"])
        .arg(&small)
        .stderr(Stdio::null())
        .status();
    if !mounted.is_ok_and(|s| s.success()) {
        eprintln!("skipped: mounting a small file system needs root");
        return;
    }
    let work = std::panic::catch_unwind(|| {
        let source = tmp.path().join("raw.img");
        noise(&source, 20 << 20, 20 << 20);
        let text = bad(&small, &["convert", source.to_str().unwrap(), "out.vhd"], 2);
        assert!(text.to_lowercase().contains("space"), "{text}");
        assert_eq!(std::fs::read_dir(&small).unwrap().count(), 0);
    });
    let _ = Command::new("umount").arg(&small).status();
    work.unwrap();
}
