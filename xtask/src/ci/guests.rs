//! The real guests on our machine: verdict, exit status, last screen, and twice the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::Duration;

use super::steps::Steps;
use crate::error::{Error, IoContext, Result};
use crate::guests::screen::Screen;
use crate::host;

/// The line that ends a good run. It stands in no guest and on no command line.
const VERDICT: &str = "GUEST-TESTS-PASS";
/// The kernel command line of direct boots, before the list of what must be there.
const APPEND: &str = "cryptomgr.notests=1 console=tty0 console=ttyS0,115200 panic=-1 gt=";
/// Virtual seconds after which a guest has failed.
const VIRTUAL_LIMIT: &str = "300";
/// How long one may take on the wall.
const LIMIT: Duration = Duration::from_secs(600);

/// How a run is started and what it has to show.
struct Guest {
    name: &'static str,
    args: Vec<String>,
    /// Ends at the verdict (`--expect`) instead of at the power-off.
    expect: bool,
    /// The screen at the end equals this file of `guests/golden`.
    golden: Option<&'static str>,
    /// Run a second time, which must be the same run.
    twice: bool,
}

/// What a run left behind.
#[derive(PartialEq)]
struct Stats {
    instructions: u64,
    state: String,
    mips: f64,
}

/// The guests that ran to their good end.
pub(super) struct Passed(pub(super) usize);

/// Boots the cheap guests, or all of them, two at a time where there are two processors.
pub(super) fn run(steps: &Steps, machine: &Path, full: bool) -> Passed {
    let guests = Mutex::new(list(full).into_iter());
    let passed = Mutex::new(0);
    let workers = thread::available_parallelism().map_or(1, usize::from).min(4);
    let next = || guests.lock().ok().and_then(|mut left| left.next());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(guest) = next() {
                    let name = format!("guest: {}", guest.name);
                    let good = steps.run(&name, || boot(steps, machine, &guest)).is_some();
                    if let Ok(mut passed) = passed.lock() {
                        *passed += usize::from(good);
                    }
                }
            });
        }
    });
    Passed(passed.into_inner().unwrap_or(0))
}

fn list(full: bool) -> Vec<Guest> {
    let file = |name: &str| host::guests_dir().join(name).display().to_string();
    let args = |list: &[&str]| list.iter().map(|arg| (*arg).to_owned()).collect::<Vec<_>>();
    let direct = |kernel: &str, initrd: &str, gt: &str| {
        args(&["--kernel", &file(kernel), "--initrd", &file(initrd), "--append", &format!("{APPEND}{gt}")])
    };
    // The dear ones first, so that the last to run is a short one.
    let mut guests = vec![
        Guest {
            name: "debian.vhd",
            args: args(&["--hda", &file("debian.vhd")]),
            expect: true,
            golden: Some("linux-screen.txt"),
            twice: full,
        },
        Guest {
            name: "debian.iso",
            args: args(&["--cdrom", &file("debian.iso"), "--boot", "cd"]),
            expect: true,
            golden: Some("linux-screen.txt"),
            twice: false,
        },
        Guest {
            name: "direct -686-pae ELF, twice",
            args: direct("vmlinux-686-pae", "initrd-pae.gz", ""),
            expect: false,
            golden: None,
            twice: true,
        },
        Guest {
            name: "GRUB menu, power-off from it",
            args: args(&["--hda", &file("debian-grub-menu.vhd"), "--type", "{down}{enter}@4"]),
            expect: false,
            golden: Some("grub-menu.txt"),
            twice: false,
        },
    ];
    if full {
        let mut bzimage = direct("vmlinuz-686", "initrd.gz", "ide,cd");
        bzimage.extend(args(&["--hda", &file("debian.vhd"), "--cdrom", &file("debian.iso")]));
        guests.extend([
            Guest {
                name: "debian-pae.vhd",
                args: args(&["--hda", &file("debian-pae.vhd")]),
                expect: false,
                golden: None,
                twice: false,
            },
            Guest { name: "direct -686 bzImage", args: bzimage, expect: true, golden: None, twice: false },
        ]);
    }
    guests
}

fn boot(steps: &Steps, machine: &Path, guest: &Guest) -> Result<((), String)> {
    let (first, checks) = once(steps, machine, guest, "")?;
    let mut found = format!(
        "{:.2} G instructions, {:.0} a second{checks}",
        first.instructions as f64 / 1e9,
        first.mips * 1e6
    )
    .replace("000000 a second", " M a second");
    if guest.twice {
        let (second, _) = once(steps, machine, guest, " again")?;
        if (first.instructions, &first.state) != (second.instructions, &second.state) {
            return Err(Error::Check(format!(
                "two counted runs differ: {} instructions, state {}; then {} instructions, state {}",
                first.instructions, first.state, second.instructions, second.state
            )));
        }
        found += ", the same twice";
    }
    Ok(((), found))
}

/// One run of a guest.
fn once(steps: &Steps, machine: &Path, guest: &Guest, again: &str) -> Result<(Stats, String)> {
    let log = steps.log(&format!("guest {}{again}", guest.name));
    let screen = log.with_extension("screen.txt");
    let mut command = Command::new(machine);
    command
        .args(&guest.args)
        .args(["--undo", "discard", "--clock", "counted", "--screen", "none", "--stats"]);
    command.args(["--serial", "stdio", "--exit-after", VIRTUAL_LIMIT]);
    if guest.expect {
        command.args(["--expect", VERDICT]);
    }
    if guest.golden.is_some() {
        // The menu is looked at before a key ends it, Linux's screen when the verdict has come.
        let at = if guest.expect { "" } else { "@3" };
        command.arg("--screenshot").arg(format!("{}{at}", screen.display()));
    }
    let ended = host::run_logged(&mut command, &log, LIMIT)?;
    let text = host::read_lossy(&log)?;
    let tests = !guest.args.iter().any(|arg| arg.contains("grub-menu"));
    let failed = |what: String| {
        let bad: Vec<&str> =
            text.lines().filter(|line| line.starts_with("CHECK ") && line.contains(" FAIL")).collect();
        let end = if bad.is_empty() { host::tail(&text, 12) } else { bad };
        Error::Check(format!("{what}; all of it is in {}\n{}", log.display(), end.join("\n")))
    };
    if ended.code() != Some(0) {
        return Err(failed(format!("{ended}, wanted 0")));
    }
    if tests && !text.lines().any(|line| line.trim_end() == VERDICT) {
        return Err(failed(format!("{VERDICT} did not come")));
    }
    if let Some(golden) = guest.golden {
        compare(&host::root().join("guests/golden").join(golden), &screen)?;
    }
    let checks = text.lines().filter(|line| line.starts_with("CHECK ") && line.contains(" ok")).count();
    let checks = if tests { format!(", {checks} checks") } else { String::new() };
    Ok((stats(&text)?, checks))
}

/// The golden screen is compared with the one just taken.
fn compare(golden: &Path, taken: &Path) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).at(path).and_then(|text| Screen::from_golden(&text));
    match read(golden)?.difference(&read(taken)?) {
        None => Ok(()),
        Some(what) => Err(Error::Check(format!(
            "the screen {} differs from {}: {what}",
            taken.display(),
            golden.display()
        ))),
    }
}

/// The line of `--stats`: the last that is a JSON object.
fn stats(text: &str) -> Result<Stats> {
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let (instructions, state) = (value["instructions"].as_u64(), value["state_sha256"].as_str());
    let (Some(instructions), Some(state)) = (instructions, state) else {
        return Err(Error::Check("--stats printed no instructions and state_sha256".into()));
    };
    Ok(Stats { instructions, state: state.to_owned(), mips: value["mips"].as_f64().unwrap_or_default() })
}

/// The files a run of these guests needs.
pub(super) fn missing() -> Vec<PathBuf> {
    ["vmlinux-686-pae", "initrd-pae.gz", "debian.vhd", "debian.iso", "debian-grub-menu.vhd"]
        .iter()
        .map(|name| host::guests_dir().join(name))
        .filter(|path| !path.is_file())
        .collect()
}
