//! `cargo xtask fuzz`: libFuzzer on every target of `fuzz/`, as often as wanted; each run goes on with the corpus of those before.
//!
//! The targets are built with the instrumentation that `cargo fuzz` uses, but for the address sanitizer, so that the stable compiler
//! does (the crates forbid `unsafe` almost everywhere). `cargo fuzz run TARGET` works on the same corpus.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::error::{Error, IoContext, Result};
use crate::host;

/// Options of `cargo xtask fuzz`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Time for all of it: 90s, 15m, 2h; the targets share it.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    budget: Duration,
    /// Targets at the same time (one for each processor when left out).
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
    /// The target (all of them when left out).
    target: Option<String>,
}

/// The instrumentation of `cargo fuzz`; assertions stay on.
const FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
     -Cllvm-args=-sanitizer-coverage-trace-compares -Cdebug-assertions -Coverflow-checks -Ccodegen-units=1";

/// What one run of a target gave.
struct Run {
    target: String,
    seconds: u64,
    executions: u64,
    coverage: u64,
    corpus: usize,
    /// The input that made it fail, and libFuzzer's words.
    failure: Option<(PathBuf, String)>,
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = host::root().join("fuzz");
    let targets = targets(&folder, args.target.as_deref())?;
    let programs = build(&folder)?;
    let log = host::output_dir("fuzz")?.join("log.jsonl");
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let jobs = args.jobs.unwrap_or(cores).clamp(1, targets.len());
    let rounds = targets.len().div_ceil(jobs) as u64;
    let each = (args.budget.as_secs() / rounds).max(1);
    println!("fuzz: {} targets, {jobs} at a time, {each} s each; totals in {}", targets.len(), log.display());
    let queue = Mutex::new(targets.into_iter());
    let failures = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(target) = queue.lock().ok().and_then(|mut left| left.next()) {
                    let result = fuzz(&folder, &programs, &target, each).and_then(|run| {
                        tell(&run);
                        append(&log, &run)?;
                        Ok(run.failure.is_some())
                    });
                    let failed = result.unwrap_or_else(|error| {
                        println!("fuzz: {target}: {error}");
                        true
                    });
                    if failed && let Ok(mut failures) = failures.lock() {
                        failures.push(target);
                    }
                }
            });
        }
    });
    totals(&log)?;
    let failures = failures.into_inner().unwrap_or_default();
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Check(format!("failed: {}", failures.join(", "))))
}

/// `90s`, `15m`, `2h`, or seconds.
fn duration(text: &str) -> std::result::Result<Duration, String> {
    let (number, unit) = match text.char_indices().find(|(_, c)| !c.is_ascii_digit()) {
        Some((at, _)) => text.split_at(at),
        None => (text, "s"),
    };
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        _ => return Err("expected a time such as 90s, 15m or 2h".into()),
    };
    let number: u64 = number.parse().map_err(|_| "expected a time such as 90s, 15m or 2h".to_owned())?;
    Ok(Duration::from_secs(number.saturating_mul(seconds)))
}

/// The targets that `fuzz/Cargo.toml` has, or the one that is wanted.
fn targets(folder: &Path, wanted: Option<&str>) -> Result<Vec<String>> {
    let manifest = folder.join("Cargo.toml");
    let mut command = host::cargo();
    command.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]).arg(&manifest);
    let output = command.output().at("cargo metadata")?;
    let value: Value = serde_json::from_slice(&output.stdout)
        .map_err(|_| Error::Input(format!("{}: cargo cannot read it", manifest.display())))?;
    let all = value["packages"][0]["targets"].as_array().cloned().unwrap_or_default();
    let names: Vec<String> = all
        .iter()
        .filter(|target| target["kind"][0] == "bin")
        .filter_map(|target| target["name"].as_str().map(str::to_owned))
        .collect();
    match wanted {
        None => Ok(names),
        Some(name) if names.iter().any(|known| known == name) => Ok(vec![name.to_owned()]),
        Some(name) => Err(Error::Input(format!("no target {name}; there are: {}", names.join(", ")))),
    }
}

/// Builds all targets and returns the folder of the programs.
fn build(folder: &Path) -> Result<PathBuf> {
    let triple = "x86_64-unknown-linux-gnu";
    let triple = if cfg!(target_arch = "x86_64") { triple } else { "aarch64-unknown-linux-gnu" };
    let dir = std::env::var_os("CARGO_TARGET_DIR").map_or(folder.join("target"), |dir| {
        // The flags would rebuild what others have built there.
        host::root().join(dir).join("fuzz")
    });
    let mut command = host::cargo();
    // With a target named, the flags are not used for build scripts.
    command.args(["build", "--release", "--bins", "--target", triple, "--manifest-path"]);
    command.arg(folder.join("Cargo.toml")).arg("--target-dir").arg(&dir).env("RUSTFLAGS", FLAGS);
    let log = host::output_dir("fuzz")?.join("build.log");
    let ended = host::run_logged(&mut command, &log, Duration::from_secs(3600))?;
    if ended.code() != Some(0) {
        let text = host::read_lossy(&log)?;
        let detail = format!("{ended}\n{}", host::tail(&text, 30).join("\n"));
        return Err(Error::Program { program: "cargo build of fuzz/".into(), detail });
    }
    Ok(dir.join(triple).join("release"))
}

/// Runs one target for so many seconds.
fn fuzz(folder: &Path, programs: &Path, target: &str, seconds: u64) -> Result<Run> {
    let made = |name: &str| {
        let path = folder.join(name).join(target);
        fs::create_dir_all(&path).at(&path).map(|()| path)
    };
    let (corpus, artifacts) = (made("corpus")?, made("artifacts")?);
    let mut command = Command::new(programs.join(target));
    command.current_dir(folder).arg(&corpus);
    let seeds = folder.join("seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command.arg(format!("-max_total_time={seconds}"));
    command.arg(format!("-artifact_prefix={}/", artifacts.display()));
    command.args(["-timeout=20", "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=1"]);
    let log = host::output_dir("fuzz")?.join(format!("{target}.log"));
    let started = Instant::now();
    let ended = host::run_logged(&mut command, &log, Duration::from_secs(seconds + 300))?;
    let text = host::read_lossy(&log)?;
    let failure = (ended.code() != Some(0)).then(|| {
        let written = text.lines().find_map(|line| line.split_once("Test unit written to "));
        let input = written.map_or(log.clone(), |(_, path)| PathBuf::from(path.trim()));
        let panic = text.lines().position(|line| line.contains("panicked at"));
        let words = panic.map(|at| text.lines().skip(at).take(2).collect::<Vec<_>>().join(" "));
        (input, words.unwrap_or_else(|| host::tail(&text, 3).join("; ")))
    });
    Ok(Run {
        target: target.to_owned(),
        seconds: started.elapsed().as_secs(),
        executions: number_after(&text, "stat::number_of_executed_units:"),
        coverage: number_after(&text, " cov: "),
        corpus: fs::read_dir(&corpus).at(&corpus)?.count(),
        failure,
    })
}

/// The number that follows the last `key`.
fn number_after(text: &str, key: &str) -> u64 {
    let rest = text.rsplit_once(key).map(|(_, rest)| rest.trim_start()).unwrap_or_default();
    let digits = rest.find(|c: char| !c.is_ascii_digit()).map_or(rest, |end| &rest[..end]);
    digits.parse().unwrap_or(0)
}

fn tell(run: &Run) {
    let Run { target, seconds, executions, coverage, corpus, failure } = run;
    println!("fuzz: {target}: {executions} inputs in {seconds} s, coverage {coverage}, corpus {corpus}");
    if let Some((input, words)) = failure {
        println!("fuzz: {target}: FAILED on {}: {words}", input.display());
    }
}

fn append(log: &Path, run: &Run) -> Result<()> {
    let time = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let line = json!({
        "time": time,
        "target": run.target,
        "seconds": run.seconds,
        "executions": run.executions,
        "coverage": run.coverage,
        "corpus": run.corpus,
        "failure": run.failure.as_ref().map(|(input, _)| input.display().to_string()),
    });
    let mut file = OpenOptions::new().create(true).append(true).open(log).at(log)?;
    writeln!(file, "{line}").at(log)
}

/// Tells what the log adds up to.
fn totals(log: &Path) -> Result<()> {
    let text = fs::read_to_string(log).at(log)?;
    let mut sums: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for value in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
        let sum = sums.entry(value["target"].as_str().unwrap_or("?").to_owned()).or_default();
        sum[0] += value["executions"].as_u64().unwrap_or(0);
        sum[1] += value["seconds"].as_u64().unwrap_or(0);
        sum[2] = sum[2].max(value["coverage"].as_u64().unwrap_or(0));
        sum[3] += u64::from(!value["failure"].is_null());
    }
    println!("fuzz: all runs so far: target, inputs, seconds, best coverage, failures");
    for (target, [executions, seconds, coverage, failures]) in &sums {
        println!("  {target:<20} {executions:>12} {seconds:>8} {coverage:>8} {failures:>4}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("15m"), Ok(Duration::from_secs(900)));
        assert_eq!(duration("2h"), Ok(Duration::from_secs(7200)));
        assert!(duration("2d").is_err() && duration("").is_err() && duration("m").is_err());
    }

    #[test]
    fn numbers_are_read_from_libfuzzers_lines() {
        let text =
            "#2 INITED cov: 12 ft: 13\n#9 NEW    cov: 345 ft: 1\nstat::number_of_executed_units: 678\n";
        assert_eq!(number_after(text, " cov: "), 345);
        assert_eq!(number_after(text, "stat::number_of_executed_units:"), 678);
        assert_eq!(number_after(text, "nothing"), 0);
    }
}
