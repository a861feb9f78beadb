//! Undo sessions over several disks, also when the process is killed in their middle.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Rng, content};
use slotone_block::{BlockBackend, write_all};
use slotone_vhd::undo::{UndoAction, UndoSession, UndoState};
use slotone_vhd::{CreateOptions, ErrorKind, OpenOptions, Vhd, quiet};

const SIZE: u64 = 1 << 20;

/// A dynamic and a fixed disk, filled.
fn disks(dir: &Path) -> Vec<PathBuf> {
    let paths = vec![dir.join("a.vhd"), dir.join("b.vhd")];
    let made = [CreateOptions::dynamic(SIZE).block_size(64 << 10), CreateOptions::fixed(SIZE)];
    for (i, (path, options)) in paths.iter().zip(made).enumerate() {
        let disk = Vhd::create(path, &options).unwrap();
        write_all(&disk, 0, &vec![i as u8 + 1; (SIZE / 2) as usize]).unwrap();
        disk.close().unwrap();
    }
    paths
}

fn master(path: &Path) -> Vec<u8> {
    content(&OpenOptions::new().read_only(true).open(path).unwrap())
}

fn names(dir: &Path) -> Vec<String> {
    let mut all: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

#[test]
fn keep_commit_discard() {
    let dir = tempfile::tempdir().unwrap();
    let paths = disks(dir.path());
    let before: Vec<_> = paths.iter().map(|p| master(p)).collect();

    let session = UndoSession::start(&paths).unwrap();
    assert_eq!(session.state(), UndoState::Active);
    assert!(
        session.disks()[0].undo.file_name().unwrap().to_str().unwrap().starts_with("VirtualPCUndo_a_0_0_")
    );
    for p in &paths {
        let e = Vhd::open(p).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::UndoActive { .. }), "{e}");
        let e = UndoSession::start(&[p]).unwrap_err();
        assert!(matches!(e.kind(), ErrorKind::UndoActive { .. }), "{e}");
    }
    let open = session.open().unwrap();
    for d in &open {
        write_all(d, 4096, &[0xEE; 8192]).unwrap();
        d.write_zeroes(65536, 65536, false).unwrap();
    }
    // In use: nothing can be ended.
    let e = UndoSession::find(&paths[1]).unwrap().unwrap().discard().unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Locked { .. }), "{e}");
    let during: Vec<_> = open.iter().map(|d| content(d)).collect();
    drop(open);
    let session = session.end(UndoAction::Keep, &mut quiet()).unwrap().unwrap();
    drop(session);

    // Next time.
    let session = UndoSession::start_or_resume(&paths, &mut quiet()).unwrap();
    let open = session.open().unwrap();
    assert!(open.iter().map(|d| content(d)).eq(during.iter().cloned()));
    drop(open);
    assert!(paths.iter().map(|p| master(p)).eq(before.iter().cloned()));
    session.end(UndoAction::Commit, &mut quiet()).unwrap();
    assert!(paths.iter().map(|p| content(&Vhd::open(p).unwrap())).eq(during.iter().cloned()));
    assert_eq!(names(dir.path()), ["a.vhd", "b.vhd"]);

    let session = UndoSession::start(&paths).unwrap();
    write_all(&session.open().unwrap()[1], 0, &[0x11; 512]).unwrap();
    session.end(UndoAction::Discard, &mut quiet()).unwrap();
    assert!(paths.iter().map(|p| content(&Vhd::open(p).unwrap())).eq(during.iter().cloned()));
    assert_eq!(names(dir.path()), ["a.vhd", "b.vhd"]);
}

#[test]
fn what_cannot_be() {
    let dir = tempfile::tempdir().unwrap();
    let paths = disks(dir.path());
    let raw = dir.path().join("raw.img");
    std::fs::write(&raw, vec![1; 4096]).unwrap();
    let e = UndoSession::start(&[&paths[0], &raw]).unwrap_err();
    assert!(e.to_string().contains("not on raw or linked ones"), "{e}");
    let e = UndoSession::start(&[&paths[0], &paths[0]]).unwrap_err();
    assert!(e.to_string().contains("twice"), "{e}");
    let busy = Vhd::open(&paths[1]).unwrap();
    let e = UndoSession::start(&paths).unwrap_err();
    assert!(matches!(e.kind(), ErrorKind::Locked { .. }), "{e}");
    drop(busy);
    assert_eq!(names(dir.path()), ["a.vhd", "b.vhd", "raw.img"]);

    // A journal that would have other files removed is not believed.
    let victim = dir.path().join("precious");
    std::fs::write(&victim, b"x").unwrap();
    let real = paths[0].canonicalize().unwrap();
    let text =
        format!("slotone undo session 1\nstate discarding\ndisk {} {}\n", real.display(), victim.display());
    std::fs::write(dir.path().join("a.vhd.undo"), text).unwrap();
    let e = UndoSession::find(&paths[0]).unwrap_err();
    assert!(e.to_string().contains("not the journal"), "{e}");
    assert!(victim.exists());
}

/// What the child process of `killed_at_any_point` does.
fn life(dir: &Path, seed: u64, action: UndoAction) {
    let paths = [dir.join("a.vhd"), dir.join("b.vhd")];
    let mut rng = Rng(seed);
    // Merging goes slowly, so that it is hit often.
    let mut slowly = |_, _| {
        std::thread::sleep(Duration::from_micros(100));
        std::ops::ControlFlow::Continue(())
    };
    for _ in 0..8 {
        UndoSession::start(&paths).unwrap().discard().unwrap();
    }
    for round in 0..2u64 {
        let session = UndoSession::start_or_resume(&paths, &mut quiet()).unwrap();
        let open = session.open().unwrap();
        for _ in 0..40 {
            for d in &open {
                let mut data = vec![0; 4096];
                rng.fill(&mut data);
                write_all(d, rng.below(SIZE / 4096) * 4096, &data).unwrap();
            }
            open[rng.below(2) as usize].flush().unwrap();
        }
        for d in open {
            d.close().unwrap();
        }
        let end = if round == 0 { UndoAction::Keep } else { action };
        session.end(end, &mut slowly).unwrap();
    }
}

#[test]
fn child_process_of_killed_at_any_point() {
    let Some(dir) = std::env::var_os("VHD_UNDO_DIR") else { return };
    let seed = std::env::var("VHD_UNDO_SEED").unwrap().parse().unwrap();
    let action = if std::env::var("VHD_UNDO_END").unwrap() == "commit" {
        UndoAction::Commit
    } else {
        UndoAction::Discard
    };
    println!("ready");
    life(Path::new(&dir), seed, action);
    println!("done");
}

#[test]
fn killed_at_any_point() {
    let mut rng = Rng(1);
    let mut length = Duration::ZERO;
    let mut seen = [0u32; 6];
    for run in 0..200u64 {
        // A killed process loses nothing that it wrote, so memory is as good as a disk here, and has quicker syncs.
        let memory = Path::new("/dev/shm");
        let dir = if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() }.unwrap();
        let paths = disks(dir.path());
        let before: Vec<_> = paths.iter().map(|p| master(p)).collect();
        let commit = run % 2 == 0;
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process_of_killed_at_any_point", "--nocapture"])
            .env("VHD_UNDO_DIR", dir.path())
            .env("VHD_UNDO_SEED", run.to_string())
            .env("VHD_UNDO_END", if commit { "commit" } else { "discard" })
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its work begins after this word.
        let mut reader = std::io::BufReader::new(child.stdout.take().unwrap());
        let mut wait_for = |word: &str| {
            let mut line = String::new();
            while !line.contains(word) {
                line.clear();
                assert!(std::io::BufRead::read_line(&mut reader, &mut line).unwrap() > 0);
            }
        };
        wait_for("ready");
        let begun = Instant::now();
        if run < 4 {
            wait_for("done");
            length = begun.elapsed();
            assert!(child.wait().unwrap().success());
        } else {
            std::thread::sleep(length.mul_f64(rng.below(1000) as f64 / 1000.0));
            // SIGKILL.
            child.kill().unwrap();
            child.wait().unwrap();
        }

        let found = UndoSession::find(&paths[0]).unwrap();
        let state = found.as_ref().map(UndoSession::state);
        let Some(session) = found else {
            // It never began, or is over.
            seen[5] += 1;
            let now: Vec<_> = paths.iter().map(|p| content(&Vhd::open(p).unwrap())).collect();
            let changed: Vec<_> = now.iter().zip(&before).map(|(n, b)| n != b).collect();
            assert!(changed == [false; 2] || (commit && changed == [true; 2]), "run {run}: {changed:?}");
            continue;
        };
        seen[session.state() as usize] += 1;
        assert_eq!(session.disks().len(), 2);
        if matches!(state, Some(UndoState::Starting | UndoState::Active | UndoState::Discarding)) {
            assert!(
                paths.iter().map(|p| master(p)).eq(before.iter().cloned()),
                "run {run}: a disk was written in {state:?}"
            );
        }
        // What the session shows is what a commit gives, and what an interrupted commit ends in.
        let through = |s: &UndoSession| -> Vec<Vec<u8>> {
            let open = |p: &Path| content(&OpenOptions::new().read_only(true).open(p).unwrap());
            s.disks().iter().map(|m| open(if m.undo.exists() { &m.undo } else { &m.disk })).collect()
        };
        let was = session.state();
        let want = if was == UndoState::Starting { Vec::new() } else { through(&session) };
        let rest = session.finish(&mut quiet()).unwrap();
        let after = match (was, rest) {
            (UndoState::Active, Some(session)) if run % 3 == 0 => {
                session.discard().unwrap();
                &before
            }
            (UndoState::Active, Some(session)) => {
                session.commit(&mut quiet()).unwrap();
                &want
            }
            (UndoState::Committing | UndoState::Committed, None) => &want,
            (UndoState::Starting | UndoState::Discarding, None) => &before,
            (was, rest) => panic!("run {run}: {was:?} {rest:?}"),
        };
        assert!(
            paths.iter().map(|p| content(&Vhd::open(p).unwrap())).eq(after.iter().cloned()),
            "run {run}: {was:?}"
        );
        let left = names(dir.path());
        assert_eq!(left, ["a.vhd", "b.vhd"], "run {run}");
    }
    println!("killed while starting, active, committing, committed, discarding, none: {seen:?}");
    assert!(seen[..5].iter().sum::<u32>() > 50, "most kills came too late to hit anything: {seen:?}");
}
