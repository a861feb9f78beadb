//! `cargo xtask bench`: us and the named peers in one run, with the ratios; results go to `target/bench/NAME.json`.
//!
//! CPU time is what counts: other load on the machine spoils it less. Runs of the peers alternate with ours.

mod boot;
mod cpu;
mod net;
mod scsi;
mod vhd;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::error::{Error, IoContext, Result};
use crate::host;

/// Options of `cargo xtask bench`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to measure (all of it when left out).
    #[arg(value_parser = clap::builder::PossibleValuesParser::new(NAMES))]
    name: Option<String>,
    /// A few seconds each: shows that the benchmark works, measures little.
    #[arg(long)]
    quick: bool,
}

/// The benchmarks.
pub(crate) const NAMES: [&str; 5] = ["cpu", "boot", "vhd", "net", "scsi"];

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    for name in NAMES {
        if args.name.as_deref().is_some_and(|wanted| wanted != name) {
            continue;
        }
        let mut result = match name {
            "cpu" => cpu::run(args.quick)?,
            "boot" => boot::run(args.quick)?,
            "vhd" => vhd::run(args.quick)?,
            "net" => net::run(args.quick)?,
            _ => scsi::run(args.quick)?,
        };
        result["quick"] = args.quick.into();
        result["host"] = host_cpu().into();
        let path = host::output_dir("bench")?.join(format!("{name}.json"));
        let text = serde_json::to_string_pretty(&result).map_err(|error| Error::Input(error.to_string()))?;
        fs::write(&path, text + "\n").at(&path)?;
        println!("bench: {}", path.display());
    }
    Ok(())
}

/// The host's processor by its own name.
fn host_cpu() -> String {
    let info = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = info.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    name.map_or_else(|| "unknown".to_owned(), |(_, name)| name.trim().to_owned())
}

/// A peer's program; absent: one line that says so, or on a CI machine a failure.
fn peer(program: &str, package: &str) -> Result<Option<PathBuf>> {
    let found = crate::guests::apt::which(program);
    if found.is_none() {
        let what = format!("{program} (on Debian: apt-get install {package})");
        if host::strict() {
            return Err(Error::Host(what));
        }
        println!("bench: not compared, this host lacks {what}");
    }
    Ok(found)
}

/// CPU seconds of all children that have ended, as the system counts them: in hundredths.
fn children_cpu() -> Result<f64> {
    cpu_seconds(Path::new("/proc/self/stat"), CHILDREN)
}

/// Where the processor times of a `stat` file are among the fields behind the name: the process's own, and its children's.
const OWN: usize = 11;
const CHILDREN: usize = 13;

/// CPU seconds by the `stat` file of a process or a thread, user and system.
fn cpu_seconds(path: &Path, first: usize) -> Result<f64> {
    let text = fs::read_to_string(path).at(path)?;
    // The name, in parentheses, may hold anything.
    let fields: Vec<&str> = text.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok());
    match (ticks(first), ticks(first + 1)) {
        (Some(user), Some(system)) => Ok((user + system) / 100.0),
        _ => Err(Error::Input(format!("{} does not look as proc(5) says", path.display()))),
    }
}

/// Builds a benchmark of a crate and returns its program.
fn build(package: &str, bench: &str) -> Result<PathBuf> {
    let mut command = host::cargo();
    command.args(["bench", "--no-run", "--package", package, "--bench", bench]);
    command.args(["--message-format", "json-render-diagnostics"]);
    let output = command.stderr(std::process::Stdio::inherit()).output().at("cargo bench")?;
    if !output.status.success() {
        return Err(Error::Program {
            program: "cargo bench".into(),
            detail: format!("cannot build {bench}"),
        });
    }
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter(|message| message["target"]["name"] == bench)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
        .ok_or_else(|| Error::Input(format!("cargo built no program for {bench}")))
}

/// Runs `program` and returns what it printed.
fn output_of(program: &Path, args: &[&str]) -> Result<String> {
    output_of_command(Command::new(program).args(args))
}

/// Runs `command` and returns what it printed.
fn output_of_command(command: &mut Command) -> Result<String> {
    let program = PathBuf::from(command.get_program());
    let output = command.current_dir(host::root()).output().at(&program)?;
    if !output.status.success() {
        let text = String::from_utf8_lossy(&output.stderr);
        let detail = format!("{}: {}", output.status, host::tail(&text, 3).join("; "));
        return Err(Error::Program { program: program.display().to_string(), detail });
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// The lowest and the middle of some figures.
fn min_and_median(values: &[f64]) -> (f64, f64) {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted.first().copied().unwrap_or(f64::NAN), sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(min_and_median(&[3.0, 1.0, 2.0]), (1.0, 2.0));
        assert_eq!(min_and_median(&[5.0]), (5.0, 5.0));
    }

    #[test]
    fn cpu_time_of_children_grows() {
        let before = children_cpu().unwrap();
        let work = "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done";
        assert!(Command::new("sh").args(["-c", work]).status().unwrap().success());
        assert!(children_cpu().unwrap() > before);
    }
}
