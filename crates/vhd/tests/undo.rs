//! Undo sessions over several disks, also when the process is killed in their middle.

mod common;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Rng, content, mortally};
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

/// The parts of a session's life, and how many kills have to land in each.
const PHASES: [(&str, u32); 4] = [("begin", 40), ("keep", 30), ("commit", 70), ("discard", 60)];

/// States that have to be found after a kill, by kills in which phase, and how often.
const STATES: [(UndoState, usize, u32); 3] =
    [(UndoState::Starting, 0, 5), (UndoState::Committing, 2, 20), (UndoState::Discarding, 3, 5)];

/// What the child process of `killed_at_any_point` does: a session from its beginning to its end, killed `after` in `phase`.
fn life(dir: &Path, seed: u64, phase: &str, after: Option<Duration>) {
    let paths = [dir.join("a.vhd"), dir.join("b.vhd")];
    let mut rng = Rng(seed);
    let live = |name: &str, work: &mut dyn FnMut()| {
        let took = mortally(after.filter(|_| name == phase), work);
        println!("took {name} {}", took.as_nanos());
    };
    let mut session = None;
    live("begin", &mut || session = Some(UndoSession::start(&paths).unwrap()));
    live("keep", &mut || {
        let kept = session.take().unwrap();
        let open = kept.open().unwrap();
        for _ in 0..4 {
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
        drop(kept.end(UndoAction::Keep, &mut quiet()).unwrap());
        session = Some(UndoSession::start_or_resume(&paths, &mut quiet()).unwrap());
    });
    if phase == "discard" {
        live("discard", &mut || session.take().unwrap().discard().unwrap());
    } else {
        live("commit", &mut || session.take().unwrap().commit(&mut quiet()).unwrap());
    }
}

#[test]
fn child_process_of_killed_at_any_point() {
    let Some(dir) = std::env::var_os("VHD_UNDO_DIR") else { return };
    let var = |name: &str| std::env::var(name).unwrap();
    let after = var("VHD_UNDO_AFTER").parse().ok().map(Duration::from_nanos);
    life(Path::new(&dir), var("VHD_UNDO_SEED").parse().unwrap(), &var("VHD_UNDO_PHASE"), after);
    println!("took all");
}

/// SIGKILL at 200 random points: each kill is aimed at one part of a session's life and counts if it landed there.
#[test]
fn killed_at_any_point() {
    let template = tempfile::tempdir().unwrap();
    let made = disks(template.path());
    let mut rng = Rng(1);
    let mut seen = [0u32; 6];
    let mut landed = [0u32; PHASES.len()];
    // How long each part takes, from runs that are not killed.
    let mut length = [Duration::ZERO; PHASES.len()];
    // Other load on the machine stretches the work or delays the kill: aimed later when kills land, sooner when they miss.
    let mut aim = [1.0f64; PHASES.len()];
    let mut run = 0u64;
    loop {
        // The part that is furthest from its number of kills; then those whose states were not hit often enough.
        let next = (0..PHASES.len())
            .filter(|p| landed[*p] < PHASES[*p].1)
            .min_by_key(|p| landed[*p] * 100 / PHASES[*p].1)
            .or_else(|| STATES.iter().find(|(state, _, least)| seen[*state as usize] < *least).map(|s| s.1));
        let Some(p) = next else { break };
        run += 1;
        assert!(run < 1000, "kills do not land: {landed:?} of {PHASES:?}, {seen:?} in {run} runs");
        // On a disk, not in memory: its syncs make each part long enough to be hit.
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let paths: Vec<_> = made.iter().map(|p| dir.path().join(p.file_name().unwrap())).collect();
        for (from, to) in made.iter().zip(&paths) {
            std::fs::copy(from, to).unwrap();
        }
        let before: Vec<_> = paths.iter().map(|p| master(p)).collect();
        let phase = PHASES[p].0;
        let commit = phase != "discard";
        let measuring = length[p].is_zero();
        let after = if measuring {
            Duration::MAX
        } else {
            length[p].mul_f64(aim[p] * rng.below(1000) as f64 / 1000.0)
        };
        let out = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_process_of_killed_at_any_point", "--nocapture"])
            .env("VHD_UNDO_DIR", dir.path())
            .env("VHD_UNDO_SEED", run.to_string())
            .env("VHD_UNDO_PHASE", phase)
            .env("VHD_UNDO_AFTER", if measuring { String::new() } else { after.as_nanos().to_string() })
            .stderr(Stdio::inherit())
            .output()
            .unwrap();
        let said = String::from_utf8(out.stdout).unwrap();
        let took = |name: &str| {
            let line = said.lines().find_map(|l| l.split_once("took ")?.1.strip_prefix(name))?;
            Some(Duration::from_nanos(line.trim().parse().ok()?))
        };
        let killed = std::os::unix::process::ExitStatusExt::signal(&out.status) == Some(9);
        assert!(killed || out.status.success(), "run {run}: {said}");
        if measuring {
            length[p] = took(phase).unwrap();
            continue;
        }
        // A kill that comes when the part is just over is a miss, but what it leaves is looked at all the same.
        let inside = killed && took(phase).is_none();
        landed[p] += u32::from(inside);
        aim[p] = (aim[p] * if inside { 1.1 } else { 0.9 }).clamp(0.01, 10.0);

        let found = UndoSession::find(&paths[0]).unwrap();
        let state = found.as_ref().map(UndoSession::state);
        let Some(session) = found else {
            // It never began, or is over.
            seen[5] += 1;
            let now: Vec<_> = paths.iter().map(|p| content(&Vhd::open(p).unwrap())).collect();
            let changed: Vec<_> = now.iter().zip(&before).map(|(n, b)| n != b).collect();
            let whole = changed == [false; 2] || (commit && changed == [true; 2]);
            assert!(whole, "run {run}, {phase}: {changed:?}");
            assert!(phase != "keep" || !killed, "run {run}: the session is lost");
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
            (UndoState::Active, Some(session)) if run.is_multiple_of(3) => {
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
    println!(
        "{} kills in {run} runs landed in {:?}: {landed:?}",
        landed.iter().sum::<u32>(),
        PHASES.map(|p| p.0)
    );
    println!("found: starting, active, committing, committed, discarding, no session: {seen:?}");
    assert!(landed.iter().sum::<u32>() >= 200);
}
