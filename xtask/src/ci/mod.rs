//! `cargo xtask ci`: everything that must hold before a change lands, from formatting to real guests.
//!
//! Every step runs, whatever became of those before it; the failures are listed at the end. The programs' output is in `target/ci/`.

mod guests;
mod steps;
mod totals;

use std::fs;
use std::process::Command;
use std::thread;
use std::time::Duration;

use self::steps::Steps;
use crate::error::{Error, IoContext, Result};
use crate::guests::AIC7XXX_SEQ;
use crate::host;

/// Options of `cargo xtask ci`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The dear guests too, the QEMU cross check, a few seconds of each benchmark.
    #[arg(long)]
    full: bool,
    /// Only the steps whose names contain one of these.
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    only: Vec<String>,
}

impl Args {
    fn wants(&self, step: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|name| step.contains(name.as_str()))
    }
}

/// Runs the command.
pub(crate) fn run(args: &Args) -> Result<()> {
    let steps = Steps::new(host::output_dir("ci")?);
    let mut totals = totals::Totals::default();
    let mut passed = guests::Passed(0, Vec::new());
    thread::scope(|scope| {
        // Fetching and repacking the guests needs the network more than the processors.
        let built = args.wants("guest").then(|| scope.spawn(|| build_guests(&steps)));
        check_sources(&steps, args);
        // The adapter's tests use a program that comes with the guests.
        let guests_there = built.is_some_and(|thread| thread.join().unwrap_or(false));
        if args.wants("tests") {
            totals = run_tests(&steps);
        }
        if args.wants("package") {
            steps.run("package: every crate alone", || package(&steps));
        }
        if args.wants("demonstration") || guests_there {
            passed = run_machine(&steps, args, guests_there);
        }
        if args.full {
            run_dear(&steps, args);
        }
    });
    totals.skipped.append(&mut passed.1);
    close(steps, &totals, &passed)
}

/// Formatting, lints, documentation, manifests, the fuzz workspace.
fn check_sources(steps: &Steps, args: &Args) {
    if args.wants("fmt") {
        steps.program("fmt", host::cargo().args(["fmt", "--all", "--check", "--", "--color", "never"]), 5);
    }
    if args.wants("manifests") {
        steps.run("manifests", || manifests().map(|found| ((), found)));
    }
    if args.wants("clippy") {
        let all = ["clippy", "--locked", "--workspace", "--all-targets", "--all-features"];
        steps.program("clippy", host::cargo().args(all).args(["--", "-D", "warnings"]), 30);
    }
    if args.wants("doc") {
        let all = ["doc", "--locked", "--workspace", "--no-deps", "--all-features"];
        steps.program("doc", host::cargo().args(all).env("RUSTDOCFLAGS", "-D warnings"), 30);
    }
    if args.wants("fuzz") && host::root().join("fuzz/Cargo.toml").is_file() {
        let all = ["check", "--manifest-path", "fuzz/Cargo.toml", "--all-targets"];
        steps.program("fuzz workspace", host::cargo().args(all), 30);
    }
}

fn run_tests(steps: &Steps) -> totals::Totals {
    let mut totals = totals::Totals::default();
    let name = "tests";
    steps.run(name, || {
        let mut command = host::cargo();
        command.args(["test", "--locked", "--workspace", "--all-features", "--no-fail-fast"]);
        command.args(["--", "--show-output"]);
        let program = host::guests_dir().join(AIC7XXX_SEQ);
        if program.is_file() {
            command.env("SLOTONE_AIC7XXX_SEQ", program);
        }
        let log = steps.log(name);
        let ended = host::run_logged(&mut command, &log, Duration::from_secs(3600))?;
        let text = host::read_lossy(&log)?;
        totals = totals::read(&text);
        if ended.code() != Some(0) || totals.failed > 0 {
            let all = format!("all of it is in {}", log.display());
            if totals.failures.is_empty() {
                // It did not come to running tests, or a test program died: that is a failure as well.
                totals.failed = totals.failed.max(1);
                let end = steps::complaints(&text).join("\n");
                return Err(Error::Check(format!("cargo test: {ended}; {all}\n{end}")));
            }
            let list = totals.failures.join("\n");
            let text = format!("{} failed; {all}\n{list}", totals.failed);
            return Err(Error::Check(text));
        }
        if totals.passed == 0 {
            return Err(Error::Check("no test ran".into()));
        }
        Ok(((), format!("{} in {} programs", totals.passed, totals.programs)))
    });
    totals
}

/// The workspace's packages, as cargo sees them.
fn packages() -> Result<Vec<serde_json::Value>> {
    let output = host::cargo()
        .args(["metadata", "--locked", "--no-deps", "--format-version", "1"])
        .output()
        .at("cargo metadata")?;
    if !output.status.success() {
        let detail = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        return Err(Error::Program { program: "cargo metadata".into(), detail });
    }
    let value: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| Error::Input(format!("cargo metadata printed no JSON: {error}")))?;
    Ok(value["packages"].as_array().cloned().unwrap_or_default())
}

fn is_published(package: &serde_json::Value) -> bool {
    package["publish"].as_array().is_none_or(|registries| !registries.is_empty())
}

/// What every manifest declares. Only the toolchain that is here is used; that the declared version is enough is not tried.
fn manifests() -> Result<String> {
    let packages = packages()?;
    let mut bad = Vec::new();
    for package in &packages {
        let name = package["name"].as_str().unwrap_or("?");
        let mut wanted = vec!["rust_version", "license"];
        if is_published(package) {
            wanted.extend(["description", "repository", "readme"]);
        }
        for field in wanted {
            if package[field].as_str().is_none_or(str::is_empty) {
                bad.push(format!("{name} declares no {}", field.replace('_', "-")));
            }
        }
    }
    if !bad.is_empty() {
        return Err(Error::Check(bad.join("\n")));
    }
    let published = packages.iter().filter(|p| is_published(p)).count();
    let version = packages.first().and_then(|p| p["rust_version"].as_str()).unwrap_or("?");
    Ok(format!("{published} crates to publish, rust-version {version} declared"))
}

/// Packages every crate as it would be published and builds each from its package alone.
fn package(steps: &Steps) -> Result<((), String)> {
    let packages = packages()?;
    forget_unpacked(&packages)?;
    let mut command = host::cargo();
    command.args(["package", "--locked", "--workspace", "--allow-dirty", "--quiet"]);
    let mut count = 0;
    for package in &packages {
        if is_published(package) {
            count += 1;
        } else {
            command.arg("--exclude").arg(package["name"].as_str().unwrap_or_default());
        }
    }
    steps.execute("package", &mut command, 30)?;
    Ok(((), format!("{count} crates")))
}

/// Removes what an earlier run unpacked of our crates. Cargo keeps it in its home, in one folder per checkout path, and takes it for
/// the package of today as long as the version is the same.
fn forget_unpacked(packages: &[serde_json::Value]) -> Result<()> {
    let Some(home) = host::cargo_home() else { return Ok(()) };
    let Ok(registries) = fs::read_dir(home.join("registry/src")) else { return Ok(()) };
    // The folder of a registry without a host name, which the one `cargo package` makes is.
    for registry in
        registries.flatten().filter(|entry| entry.file_name().as_encoded_bytes().starts_with(b"-"))
    {
        for package in packages.iter().filter(|package| is_published(package)) {
            let field = |name: &str| package[name].as_str().unwrap_or("?").to_owned();
            let unpacked = registry.path().join(format!("{}-{}", field("name"), field("version")));
            if unpacked.is_dir() {
                fs::remove_dir_all(&unpacked).at(&unpacked)?;
            }
        }
    }
    Ok(())
}

fn build_guests(steps: &Steps) -> bool {
    let me = std::env::current_exe().unwrap_or_else(|_| "xtask".into());
    let missing = guests::missing().len();
    let built = steps.program("guests: build from packages", Command::new(me).arg("guests"), 20);
    built && (missing == 0 || guests::missing().is_empty())
}

/// The demonstration and the guests on the release build of the machine.
fn run_machine(steps: &Steps, args: &Args, guests_there: bool) -> guests::Passed {
    let built = steps.run("release build", || {
        let path = host::build_machine(&steps.log("release build"), Duration::from_secs(1800))?;
        Ok((path, String::new()))
    });
    let Some(machine) = built else {
        return guests::Passed(0, Vec::new());
    };
    if args.wants("demonstration") {
        let name = "demonstration";
        steps.run(name, || {
            steps.execute(name, host::cargo().args(["run", "--release", "--locked", "--quiet"]), 10)?;
            let text = host::read_lossy(&steps.log(name))?;
            let line = text.lines().find(|line| line.contains(" devices passed, "));
            let line = line.ok_or_else(|| Error::Check("no line with the devices' totals".into()))?;
            Ok(((), line.trim().to_owned()))
        });
    }
    if guests_there { guests::run(steps, &machine, args.full) } else { guests::Passed(0, Vec::new()) }
}

/// What only a full run does.
fn run_dear(steps: &Steps, args: &Args) {
    let me = std::env::current_exe().unwrap_or_else(|_| "xtask".into());
    if args.wants("guest") {
        steps.program("guests under QEMU", Command::new(&me).args(["guests", "--check-qemu"]), 30);
    }
    if args.wants("bench") {
        for name in crate::bench::NAMES {
            let mut command = Command::new(&me);
            command.args(["bench", name, "--quick"]);
            steps.program(&format!("bench {name}, a few seconds"), &mut command, 15);
        }
    }
}

/// The closing lines.
fn close(steps: Steps, totals: &totals::Totals, passed: &guests::Passed) -> Result<()> {
    let (count, failures, time) = steps.close();
    for skipped in &totals.skipped {
        println!("ci: skipped: {skipped}");
    }
    for failure in &failures {
        println!("ci: failed: {failure}");
    }
    let names: Vec<&str> = totals.skipped.iter().filter_map(|entry| entry.split(": ").nth(1)).collect();
    let names = if names.is_empty() { String::new() } else { format!(" ({})", names.join(", ")) };
    // The plain form first, which runners of any language are read by.
    println!("tests: {} passed, {} failed, {} skipped", totals.passed, totals.failed, totals.skipped.len());
    println!(
        "ci: {count} steps, {} tests passed, {} failed, {} skipped{names}, {} guests passed, in {} min {} s",
        totals.passed,
        totals.failed,
        totals.skipped.len(),
        passed.0,
        time.as_secs() / 60,
        time.as_secs() % 60
    );
    if failures.is_empty() {
        return Ok(());
    }
    Err(Error::Check(format!("{} of {count} steps failed", failures.len())))
}
