//! SCSI: the adapter's model alone (crates/aic7870/benches/adapter), then guests. One moves 64 KiB blocks from and to a disk, ours with
//! Debian's aic7xxx beside QEMU's lsi53c895a with its sym53c8xx; one reads from four disks whose media take a millisecond each.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{OWN, build, cpu_seconds, min_and_median, output_of_command, peer};
use crate::error::{Error, IoContext, Result};
use crate::guests::AIC7XXX_SEQ;
use crate::guests::initramfs::noise;
use crate::host;

const LIMIT: Duration = Duration::from_secs(300);
const APPEND: &str = "cryptomgr.notests=1 console=ttyS0,115200 panic=-1 gt=adapters=1";
const BLOCK: u64 = 64 << 10;
const DISKS: usize = 4;
/// What the guest must reach of QEMU's throughput.
const GOAL_RATIO: f64 = 1.0;
/// Seconds of the host's time that a command may cost outside the processor.
const GOAL_PER_COMMAND: f64 = 20e-6;
/// Eight readers of four disks to one.
const GOAL_READERS: f64 = 6.0;
/// Instructions of the sequencer, and bytes of a 64 KiB read, a second.
const GOAL_SEQUENCER: f64 = 60e6;
const GOAL_BYTES: f64 = 5e9;

pub(super) fn run(quick: bool) -> Result<Value> {
    let machine = host::build_machine(
        &host::output_dir("bench")?.join("release-build.log"),
        Duration::from_secs(1800),
    )?;
    for name in ["vmlinux-686", "vmlinuz-686", "initrd-scsi.gz"] {
        let path = host::guests_dir().join(name);
        if !path.is_file() {
            return Err(Error::Input(format!("{} is missing: run `cargo xtask guests`", path.display())));
        }
    }
    let runs = if quick { 1 } else { 3 };
    let copies = copies(&machine, if quick { 512 } else { 4096 }, runs)?;
    println!("\n| what | measured | goal | met |\n| --- | --- | --- | --- |");
    let outside =
        |key: &str| copies["seconds_per_command_outside_the_processor"][key].as_f64().unwrap_or(f64::NAN);
    let (all, adapter) = (outside("all"), outside("adapter"));
    println!(
        "| host CPU time outside the processor, a 64 KiB command: all devices (the adapter and its disk) | {:.1} us ({:.1}) | at most 20 us | {} |",
        all * 1e6,
        adapter * 1e6,
        met(all <= GOAL_PER_COMMAND)
    );
    let readers = readers(&machine, if quick { 250 } else { 2000 }, runs)?;
    let model = model(quick)?;
    Ok(json!({ "copies": copies, "readers": readers, "model": model }))
}

/// `dd` of 64 KiB blocks, ours and QEMU's in turn.
fn copies(machine: &Path, blocks: u64, runs: usize) -> Result<Value> {
    let image = image("disk.img", blocks * BLOCK)?;
    let qemu = peer("qemu-system-i386", "qemu-system-x86")?;
    let gt = |blocks: u64| format!("disks=1,bench={blocks}");
    let (mut ours, mut theirs, mut all, mut adapter) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let long = Run::of(slot_one(machine, &gt(blocks), &[&image], &[]), "scsi-ours.log")?;
        if let Some(qemu) = &qemu {
            theirs.push(Run::of(lsi53c895a(qemu, &gt(blocks), &image), "scsi-qemu.log")?);
        }
        // What the guest's start costs is in both, and taken off.
        let short = Run::of(slot_one(machine, &gt(blocks / 8), &[&image], &[]), "scsi-ours-short.log")?;
        let (to, from) = (long.outside()?, short.outside()?);
        let commands = (long.commands - short.commands) as f64;
        all.push((to.0 - from.0) / commands);
        adapter.push((to.1 - from.1) / commands);
        ours.push(long);
    }
    println!("SCSI: {blocks} direct 64 KiB commands of one `dd`, best of {runs}");
    println!(
        "| | Slot One: MB a CPU second, on the wall | QEMU TCG: MB a CPU second, on the wall | ours to QEMU: by CPU time, on the wall | goal | met |"
    );
    println!("| --- | --- | --- | --- | --- | --- |");
    let mut rows = Vec::new();
    for name in ["read", "write"] {
        let rates = |runs: &[Run]| -> Result<(f64, f64)> {
            let parts = runs.iter().map(|run| run.part(name)).collect::<Result<Vec<_>>>()?;
            let best = |seconds: fn(&Part) -> f64| {
                let all: Vec<f64> = parts.iter().map(|part| seconds(part)).collect();
                (blocks * BLOCK) as f64 / min_and_median(&all).0
            };
            Ok((best(|part| part.cpu), best(|part| part.wall)))
        };
        let us = rates(&ours)?;
        if theirs.is_empty() {
            println!("| {name} | {:.0}, {:.0} | | | | |", us.0 / 1e6, us.1 / 1e6);
            rows.push(
                json!({ "what": name, "ours": { "bytes_per_cpu_second": us.0, "bytes_per_second": us.1 } }),
            );
            continue;
        }
        let them = rates(&theirs)?;
        let ratios = (us.0 / them.0, us.1 / them.1);
        println!(
            "| {name} | {:.0}, {:.0} | {:.0}, {:.0} | {:.2}, {:.2} | {GOAL_RATIO:.1} | {} |",
            us.0 / 1e6,
            us.1 / 1e6,
            them.0 / 1e6,
            them.1 / 1e6,
            ratios.0,
            ratios.1,
            met(ratios.0 >= GOAL_RATIO)
        );
        rows.push(json!({
            "what": name,
            "ours": { "bytes_per_cpu_second": us.0, "bytes_per_second": us.1 },
            "qemu": { "bytes_per_cpu_second": them.0, "bytes_per_second": them.1 },
            "ratio": { "cpu": ratios.0, "wall": ratios.1 },
        }));
    }
    Ok(json!({
        "blocks": blocks,
        "rows": rows,
        "seconds_per_command_outside_the_processor": {
            "all": min_and_median(&all).0,
            "adapter": min_and_median(&adapter).0,
        },
    }))
}

fn met(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Readers of 4 KiB blocks, one, then two on each of four disks, with a millisecond at the medium.
fn readers(machine: &Path, blocks: u64, runs: usize) -> Result<Value> {
    let images =
        (0..DISKS).map(|n| image(&format!("disk{n}.img"), 2 * blocks * 4096)).collect::<Result<Vec<_>>>()?;
    let images: Vec<&Path> = images.iter().map(PathBuf::as_path).collect();
    let faults: Vec<String> = (0..DISKS).map(|n| format!("--fault=scsi0:{n}=latency=1")).collect();
    let gt = format!("disks={DISKS},readers={blocks}");
    let mut best = (0.0, 0.0, 0.0);
    for _ in 0..runs {
        let run = Run::of(slot_one(machine, &gt, &images, &faults), "scsi-readers.log")?;
        let rate = |name| run.part(name).map(|part| part.commands as f64 / part.wall);
        let (one, all) = (rate("one")?, rate("all")?);
        if all / one > best.2 {
            best = (one, all, all / one);
        }
    }
    let (one, all, ratio) = best;
    println!(
        "| eight readers on four disks to one, 1 ms at the medium ({all:.0} to {one:.0} commands a second) | {ratio:.1} | at least 6 | {} |",
        met(ratio >= GOAL_READERS)
    );
    Ok(json!({ "one": one, "all": all, "ratio": ratio }))
}

/// The crate's own benchmark; what counts is its processor time.
fn model(quick: bool) -> Result<Vec<Value>> {
    let program = build("slotone-aic7870", "adapter")?;
    let mut command = Command::new(&program);
    command.arg("--bench").args(quick.then_some("--quick"));
    let driver = host::guests_dir().join(AIC7XXX_SEQ);
    if driver.is_file() {
        command.env("SLOTONE_AIC7XXX_SEQ", driver);
    }
    let text = output_of_command(&mut command)?;
    // "WHAT: N ns of processor time", and in the same order Criterion's "thrpt: [low unit middle unit high unit]".
    let times = text.lines().filter_map(|line| {
        let (what, time) = line.split_once(": ")?;
        Some((what, time.strip_suffix(" ns of processor time")?.parse::<f64>().ok()? / 1e9))
    });
    let rates = text.lines().filter_map(|line| {
        let words: Vec<&str> =
            line.trim().strip_prefix("thrpt:")?.trim().trim_matches(['[', ']']).split_whitespace().collect();
        let [.., rate, unit] = words[..] else { return None };
        // Without a unit it is the change since the last time.
        let (prefix, unit) = unit.strip_suffix("/s")?.split_at_checked(1)?;
        let base: f64 = if unit.starts_with('i') { 1024.0 } else { 1000.0 };
        let power = " KMGT".find(prefix)?;
        Some(rate.parse::<f64>().ok()? * base.powi(power as i32))
    });
    let mut rows = Vec::new();
    for ((what, seconds), wall) in times.zip(rates) {
        // "N instructions", or 64 KiB.
        let instructions = what.strip_suffix(" instructions").and_then(|n| n.parse::<f64>().ok());
        let (name, amount, goal, unit, scale) = match instructions {
            Some(n) => ("sequencer instructions a second", n, GOAL_SEQUENCER, "million", 1e6),
            None => (what, BLOCK as f64, GOAL_BYTES, "GB/s", 1e9),
        };
        let rate = amount / seconds;
        println!(
            "| the model alone: {name} | {:.1} {unit} by CPU time, {:.1} on the wall | at least {:.0} | {} |",
            rate / scale,
            wall / scale,
            goal / scale,
            met(rate >= goal)
        );
        rows.push(json!({ "what": name, "per_cpu_second": rate, "per_second": wall, "goal": goal }));
    }
    if rows.is_empty() {
        return Err(Error::Check("the benchmark of slotone-aic7870 printed no time".into()));
    }
    Ok(rows)
}

/// Our machine with `images` on one adapter.
fn slot_one(machine: &Path, gt: &str, images: &[&Path], more: &[String]) -> Command {
    let mut command = Command::new(machine);
    command.args(["--serial", "stdio", "--screen", "none", "--stats", "--kernel"]);
    command.arg(host::guests_dir().join("vmlinux-686"));
    command.arg("--initrd").arg(host::guests_dir().join("initrd-scsi.gz"));
    command.arg("--append").arg(format!("{APPEND},{gt}"));
    for (id, image) in images.iter().enumerate() {
        command.arg(format!("--scsi=0:{id}={}", image.display()));
    }
    command.args(more);
    command
}

/// The same guest under TCG.
fn lsi53c895a(qemu: &Path, gt: &str, image: &Path) -> Command {
    let mut command = Command::new(qemu);
    command.args(["-M", "pc,hpet=off", "-accel", "tcg", "-cpu", "pentium3", "-m", "128", "-display", "none"]);
    command.args(["-nodefaults", "-nic", "none", "-no-reboot", "-serial", "stdio", "-kernel"]);
    command.arg(host::guests_dir().join("vmlinuz-686"));
    command.arg("-initrd").arg(host::guests_dir().join("initrd-scsi.gz"));
    command.arg("-append").arg(format!("{APPEND},{gt},driver=sym53c8xx"));
    command.arg("-drive").arg(format!("if=none,id=disk,format=raw,file={}", image.display()));
    command.args(["-device", "lsi53c895a", "-device", "scsi-hd,drive=disk"]);
    command
}

/// An image of `size` bytes that are not zeros, all of it on the host's disk.
fn image(name: &str, size: u64) -> Result<PathBuf> {
    let path = host::output_dir("bench/scsi")?.join(name);
    let mut file = File::create(&path).at(&path)?;
    let block = noise(size, 1 << 20);
    let mut left = size;
    while left > 0 {
        let n = left.min(block.len() as u64);
        file.write_all(&block[..n as usize]).at(&path)?;
        left -= n;
    }
    // So that the host does not write it back while somebody is timed.
    file.sync_all().at(&path)?;
    Ok(path)
}

/// What a guest did between a line `BENCH NAME begins` and its line `BENCH NAME ends: N commands ..`.
struct Part {
    name: String,
    commands: u64,
    /// Seconds of processor time, all threads.
    cpu: f64,
    /// Of these, those of all threads but the first.
    others: f64,
    wall: f64,
}

/// A whole run of a guest.
struct Run {
    parts: Vec<Part>,
    commands: u64,
    /// What `--stats` printed.
    stats: Value,
}

/// Processor time of a process until now, and that of all its threads but the first, which runs the guest in our machine.
struct Spent {
    all: f64,
    others: f64,
    at: Instant,
}

impl Spent {
    fn of(process: u32) -> Result<Self> {
        let all = cpu_seconds(Path::new(&format!("/proc/{process}/stat")), OWN)?;
        let folder = format!("/proc/{process}/task");
        let mut others = 0;
        for thread in fs::read_dir(&folder).at(&folder)?.flatten() {
            if thread.file_name().to_str() != Some(process.to_string().as_str()) {
                // In nanoseconds; one that ended meanwhile did little.
                let text = fs::read_to_string(thread.path().join("schedstat")).unwrap_or_default();
                others += text.split(' ').next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            }
        }
        Ok(Self { all, others: others as f64 / 1e9, at: Instant::now() })
    }
}

impl Run {
    /// Runs a guest to its end.
    fn of(mut command: Command, log: &str) -> Result<Self> {
        let log = host::output_dir("bench")?.join(log);
        let mut out = File::create(&log).at(&log)?;
        let program = PathBuf::from(command.get_program());
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(out.try_clone().at(&log)?)
            .process_group(0);
        let mut child = Guest(command.spawn().at(&program)?);
        let lines = child.lines();
        let deadline = Instant::now() + LIMIT;
        let mut run = Self { parts: Vec::new(), commands: 0, stats: Value::Null };
        let mut begun = None;
        let (mut ended, mut failed) = (false, false);
        while let Ok(line) = lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            writeln!(out, "{line}").at(&log)?;
            ended |= line.starts_with("GUEST-TESTS-");
            // On a busy host Linux refuses clocks that run unevenly, with the word "aborting".
            failed |= line.starts_with("CHECK ") && line.contains(" FAIL ") && !line.contains("PM-Timer");
            if line.starts_with("{\"") {
                run.stats = serde_json::from_str(&line).unwrap_or_default();
            }
            match line
                .strip_prefix("BENCH ")
                .map(|rest| rest.split_whitespace().collect::<Vec<_>>())
                .as_deref()
            {
                Some([_, "begins"]) => begun = Some(Spent::of(child.0.id())?),
                Some([name, "ends:", commands, "commands", ..]) => {
                    let (Some(from), to) = (begun.take(), Spent::of(child.0.id())?) else { continue };
                    run.parts.push(Part {
                        name: (*name).to_owned(),
                        commands: commands.parse().unwrap_or(0),
                        cpu: to.all - from.all,
                        others: (to.others - from.others).max(0.0),
                        wall: (to.at - from.at).as_secs_f64(),
                    });
                }
                Some(["commands", "in", "all:", commands]) => run.commands = commands.parse().unwrap_or(0),
                _ => {}
            }
        }
        if failed || !ended || run.commands == 0 {
            return Err(Error::Check(format!("the guest did not pass: all of it is in {}", log.display())));
        }
        child.0.wait().at(&program)?;
        Ok(run)
    }

    /// Seconds outside the processor, of all devices and of the adapter with its disk: what the machine's thread spent in them by
    /// `--stats`, and all that other threads did.
    fn outside(&self) -> Result<(f64, f64)> {
        let seconds = |device: &Value| device["seconds"].as_f64();
        let devices = self.stats["devices"].as_object();
        let all = devices.map(|devices| devices.values().filter_map(seconds).sum::<f64>());
        let (Some(all), Some(adapter)) = (all, seconds(&self.stats["devices"]["scsi0"])) else {
            return Err(Error::Check("--stats printed no devices.scsi0.seconds".into()));
        };
        let others: f64 = self.parts.iter().map(|part| part.others).sum();
        Ok((all + others, adapter + others))
    }

    fn part(&self, name: &str) -> Result<&Part> {
        let part = self.parts.iter().find(|part| part.name == name);
        part.filter(|part| part.commands > 0 && part.cpu > 0.0)
            .ok_or_else(|| Error::Check(format!("the guest told nothing of {name}")))
    }
}

/// A running emulator; it does not outlive this.
struct Guest(Child);

impl Guest {
    /// What it prints, line by line; ends with it.
    fn lines(&mut self) -> Receiver<String> {
        let (send, lines) = mpsc::channel();
        if let Some(output) = self.0.stdout.take() {
            thread::spawn(move || {
                let mut reader = BufReader::new(output);
                let mut line = Vec::new();
                while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
                    if send.send(String::from_utf8_lossy(&line).trim_end().to_owned()).is_err() {
                        break;
                    }
                    line.clear();
                }
            });
        }
        lines
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
