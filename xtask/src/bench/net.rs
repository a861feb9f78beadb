//! The tulip model alone (crates/tulip-nic/benches/frames), then a guest that fetches 50 MB through a TAP interface: ours beside QEMU's tulip.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::{build, min_and_median, output_of, peer};
use crate::error::{Error, IoContext, Result};
use crate::guests::initramfs::noise;
use crate::host;

/// Frames a second that the model alone is to carry, by length.
const GOALS: [(u32, f64); 3] = [(64, 5e6), (512, 0.0), (1514, 2e6)];
/// Seconds of the machine's thread that a frame may cost outside the processor: `nic0` of `--stats`, which is the card with its register accesses, its
/// DMA and its port, system calls of this thread included. The port's own thread, which carries frames to and from the TAP interface, is not in it and has its own line.
const GOAL_PER_FRAME: f64 = 1e-6;
const FILE: usize = 50_000_000;
const LIMIT: Duration = Duration::from_secs(400);

pub(super) fn run(quick: bool) -> Result<Value> {
    let model = model(quick)?;
    let machine = host::build_machine(
        &host::output_dir("bench")?.join("release-build.log"),
        Duration::from_secs(1800),
    )?;
    let files = host::output_dir("bench/files")?;
    let path = files.join("large.bin");
    fs::write(&path, noise(50, if quick { FILE / 10 } else { FILE })).at(&path)?;
    let qemu = peer("qemu-system-i386", "qemu-system-x86")?;
    let runs = if quick { 1 } else { 3 };
    let (mut ours, mut theirs, mut per_frame, mut of_thread) =
        (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..runs {
        let Some(text) = guest("tap", &machine, "vmlinux-686", &files)? else {
            println!("bench: no guest: this host has no network namespaces or TAP, or this is not root");
            return Ok(json!({ "model": model }));
        };
        ours.push(transfer(&text)?);
        let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
        let stats: Value = serde_json::from_str(line).unwrap_or_default();
        let (Some(seconds), Some(frames)) =
            (stats["devices"]["nic0"]["seconds"].as_f64(), stats["frames"].as_f64())
        else {
            return Err(Error::Check("--stats printed no frames, or no time of nic0".into()));
        };
        per_frame.push(seconds / frames);
        of_thread.push(stats["threads"]["vnet tap0"].as_f64().unwrap_or_default() / frames);
        if let Some(qemu) = &qemu
            && let Some(text) = guest("qemu", qemu, "vmlinuz-686", &files)?
        {
            theirs.push(transfer(&text)?);
        }
    }
    let (frame, _) = min_and_median(&per_frame);
    let met = frame <= GOAL_PER_FRAME;
    println!(
        "outside the processor, on the machine's thread: {:.2} us a frame, goal 1.00, {}",
        frame * 1e6,
        if met { "met" } else { "missed" }
    );
    let (thread, _) = min_and_median(&of_thread);
    println!("the port's own thread, with the kernel's TAP: {:.2} us a frame", thread * 1e6);
    let ((ours, _), (theirs, _)) = (min_and_median(&ours), min_and_median(&theirs));
    println!("the transfer: Slot One {ours:.2} s, QEMU TCG {theirs:.2} s, QEMU : us {:.2}", theirs / ours);
    Ok(json!({
        "model": model,
        "seconds_per_frame_outside_the_processor": frame,
        "seconds_per_frame_of_the_ports_thread": thread,
        "transfer": { "bytes": fs::metadata(&path).at(&path)?.len(), "ours": ours, "qemu": theirs },
    }))
}

/// Frames a second by the crate's own benchmark.
fn model(quick: bool) -> Result<Vec<Value>> {
    let program = build("slotone-tulip-nic", "frames")?;
    let args: &[&str] = if quick { &["--bench", "--quick"] } else { &["--bench"] };
    let text = output_of(&program, args)?;
    let mut name = String::new();
    let mut rows = Vec::new();
    println!(
        "| model alone | frames a second | bytes a second | goal | met |\n| --- | --- | --- | --- | --- |"
    );
    for line in text.lines() {
        if let Some((length, rest)) = line.split_once(" bytes/") {
            name = format!("{} {length}", rest.split('/').next().unwrap_or_default());
        }
        let Some(rates) = line.trim().strip_prefix("thrpt:") else { continue };
        // [low unit middle unit high unit]
        let words: Vec<&str> = rates.trim().trim_matches(['[', ']']).split_whitespace().collect();
        let (Some(number), Some(unit)) = (words.get(2), words.get(3)) else { continue };
        let factor = match *unit {
            "elem/s" => 1.0,
            "Kelem/s" => 1e3,
            "Melem/s" => 1e6,
            "Gelem/s" => 1e9,
            _ => continue,
        };
        let Ok(number) = number.parse::<f64>() else { continue };
        let rate = number * factor;
        let length: u32 = name.rsplit(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default();
        let goal = GOALS.iter().find(|(l, _)| *l == length).map_or(0.0, |(_, goal)| *goal);
        let goal = if name.starts_with("memcpy") { 0.0 } else { goal };
        let met = if rate >= goal { "yes" } else { "no" };
        println!(
            "| {name} | {:.2} M | {:.2} G | {:.0} M | {met} |",
            rate / 1e6,
            rate * f64::from(length) / 1e9,
            goal / 1e6
        );
        rows.push(json!({ "what": name, "frames_per_second": rate, "goal": goal }));
    }
    if rows.is_empty() {
        return Err(Error::Check("the benchmark of slotone-tulip-nic printed no rate".into()));
    }
    Ok(rows)
}

/// What a guest of `guests/outside.sh` printed; `None` if this host cannot run it.
fn guest(mode: &str, machine: &Path, kernel: &str, files: &Path) -> Result<Option<String>> {
    let log = host::output_dir("bench")?.join(format!("net-{mode}.log"));
    let mut command = Command::new("sh");
    command.arg(host::root().join("guests/outside.sh")).arg(mode).arg(machine);
    command.arg(host::guests_dir().join(kernel)).arg(host::guests_dir().join("initrd-net.gz")).arg(files);
    let ended = host::run_logged(&mut command, &log, LIMIT)?;
    match ended.code() {
        Some(0) => host::read_lossy(&log).map(Some),
        Some(77) => Ok(None),
        _ => Err(Error::Check(format!("{mode}: {ended}, wanted 0; all of it is in {}", log.display()))),
    }
}

/// Seconds of the guest's line `TRANSFER NAME from A to B`.
fn transfer(text: &str) -> Result<f64> {
    let seconds = text.lines().find_map(|line| {
        let words: Vec<&str> = line.strip_prefix("TRANSFER ")?.split_whitespace().collect();
        let [_, "from", from, "to", to] = words[..] else { return None };
        Some(to.parse::<f64>().ok()? - from.parse::<f64>().ok()?)
    });
    seconds.ok_or_else(|| Error::Check("the guest told no TRANSFER".into()))
}
