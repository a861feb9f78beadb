//! The checkout, cargo's folders, and running programs with a log and a limit.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, IoContext, Result};

/// The checkout this program was built from.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// Where cargo builds.
pub(crate) fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// Cargo's home, with its copies of packages.
pub(crate) fn cargo_home() -> Option<PathBuf> {
    let home = std::env::var_os("CARGO_HOME").map(PathBuf::from);
    home.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cargo")))
}

/// Where `cargo xtask guests` leaves its files.
pub(crate) fn guests_dir() -> PathBuf {
    root().join("target/guests")
}

/// Where reports go, whatever cargo's target folder is: `target/NAME` of the checkout, made if need be.
pub(crate) fn output_dir(name: &str) -> Result<PathBuf> {
    let dir = root().join("target").join(name);
    fs::create_dir_all(&dir).at(&dir)?;
    Ok(dir)
}

/// Whether this is a CI run, where a missing tool is a failure.
pub(crate) fn strict() -> bool {
    std::env::var_os("SLOTONE_CI").is_some_and(|value| value == "1")
}

/// `cargo` in the checkout, as the one that runs this program.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env("CARGO_TERM_COLOR", "never");
    // What `cargo run` sets for this program is not meant for what it starts.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name == "CARGO_MANIFEST_DIR" {
            command.env_remove(name);
        }
    }
    command
}

/// The end of a program that was given a limit.
pub(crate) enum Ended {
    /// It ended by itself.
    Itself(ExitStatus),
    /// It was ended after so many seconds.
    TimedOut(u64),
}

impl Ended {
    /// The exit status as a number, if it ended by itself and not by a signal.
    pub(crate) fn code(&self) -> Option<i32> {
        match self {
            Self::Itself(status) => status.code(),
            Self::TimedOut(_) => None,
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Itself(status) => status.fmt(f),
            Self::TimedOut(seconds) => write!(f, "did not end within {seconds} s"),
        }
    }
}

/// Runs `command` with both its outputs in the file `log` (made anew); ends it and what it started after `limit`.
pub(crate) fn run_logged(command: &mut Command, log: &Path, limit: Duration) -> Result<Ended> {
    let out = File::create(log).at(log)?;
    let err = out.try_clone().at(log)?;
    run_limited(command.stdout(out).stderr(err), limit)
}

/// Runs `command`; ends it and what it started after `limit`.
pub(crate) fn run_limited(command: &mut Command, limit: Duration) -> Result<Ended> {
    let program = command.get_program().to_owned();
    let mut child = command.stdin(Stdio::null()).process_group(0).spawn().at(&program)?;
    let started = Instant::now();
    loop {
        if let Some(status) = child.try_wait().at(&program)? {
            return Ok(Ended::Itself(status));
        }
        if started.elapsed() > limit {
            end_group(&mut child);
            return Ok(Ended::TimedOut(limit.as_secs()));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Ends a child that leads a process group, with the group.
fn end_group(child: &mut Child) {
    let group = format!("-{}", child.id());
    let _ = Command::new("kill").args(["-KILL", "--", &group]).status();
    let _ = child.kill();
    let _ = child.wait();
}

/// The last `count` lines of a text that are not blank.
pub(crate) fn tail(text: &str, count: usize) -> Vec<&str> {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// Reads a file that may hold bytes that are not text.
pub(crate) fn read_lossy(path: &Path) -> Result<String> {
    Ok(String::from_utf8_lossy(&fs::read(path).at(path)?).into_owned())
}

/// Builds the release binary `virtual-server-2005` and returns its path.
pub(crate) fn build_machine(log: &Path, limit: Duration) -> Result<PathBuf> {
    let mut command = cargo();
    command.args(["build", "--release", "--locked", "--package", "slotone-examples"]);
    let ended = run_logged(&mut command, log, limit)?;
    if ended.code() != Some(0) {
        let text = read_lossy(log)?;
        return Err(Error::Program {
            program: "cargo build --release".into(),
            detail: format!("{ended}\n{}", tail(&text, 30).join("\n")),
        });
    }
    Ok(machine())
}

/// The release binary `virtual-server-2005`, built or not.
pub(crate) fn machine() -> PathBuf {
    target_dir().join("release/virtual-server-2005")
}
