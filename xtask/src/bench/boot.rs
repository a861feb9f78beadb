//! Debian's bzImage entered directly, until its init says its first line: ours beside QEMU's TCG.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{children_cpu, min_and_median, peer};
use crate::error::{Error, IoContext, Result};
use crate::host;

/// The init's first line starts with this; it stands nowhere on the command line.
const FIRST_LINE: &str = "Slot One guest tests:";
const APPEND: &str = "cryptomgr.notests=1 console=ttyS0,115200 panic=-1 gt=";
const LIMIT: Duration = Duration::from_secs(300);
/// Seconds that a boot may take on our CPU.
const GOAL: f64 = 40.0;

/// A program that boots the kernel with its first serial port on its standard output.
struct Engine {
    name: &'static str,
    program: PathBuf,
    args: &'static [&'static str],
}

pub(super) fn run(quick: bool) -> Result<Value> {
    // The ELF kernel leaves the decompressor out: 0.45 G instructions instead of 2.9.
    let (kernel, initrd) =
        if quick { ("vmlinux-686-pae", "initrd-pae.gz") } else { ("vmlinuz-686", "initrd.gz") };
    let files = [kernel, initrd].map(|name| host::guests_dir().join(name));
    if let Some(path) = files.iter().find(|path| !path.is_file()) {
        return Err(Error::Input(format!("{} is missing: run `cargo xtask guests`", path.display())));
    }
    let log = host::output_dir("bench")?.join("release-build.log");
    let machine = host::build_machine(&log, Duration::from_secs(1800))?;
    let mut engines = vec![Engine {
        name: "Slot One",
        program: machine,
        args: &["--serial", "stdio", "--screen", "none", "--expect", FIRST_LINE],
    }];
    if let Some(program) = peer("qemu-system-i386", "qemu-system-x86")? {
        let args: &[&str] = &[
            "-M",
            "pc,hpet=off",
            "-accel",
            "tcg",
            "-cpu",
            "pentium3",
            "-m",
            "128",
            "-display",
            "none",
            "-nodefaults",
            "-nic",
            "none",
            "-no-reboot",
            "-serial",
            "stdio",
        ];
        engines.push(Engine { name: "QEMU TCG", program, args });
    }
    let runs = if quick { 1 } else { 3 };
    let mut times = vec![(Vec::new(), Vec::new()); engines.len()];
    for _ in 0..runs {
        for (engine, (cpu, wall)) in engines.iter().zip(&mut times) {
            let taken = engine.boot(&files)?;
            cpu.push(taken.0);
            wall.push(taken.1);
        }
    }
    println!("Boot: {kernel} to the first line of init, seconds, best / median of {runs}");
    println!("| | CPU time | on the wall |\n| --- | --- | --- |");
    let mut result = json!({ "kernel": kernel, "runs": runs, "goal_seconds": GOAL });
    for (engine, (cpu, wall)) in engines.iter().zip(&times) {
        let (c, w) = (min_and_median(cpu), min_and_median(wall));
        println!("| {} | {:.1} / {:.1} | {:.1} / {:.1} |", engine.name, c.0, c.1, w.0, w.1);
        result[engine.name] = json!({ "cpu_seconds": cpu, "wall_seconds": wall });
    }
    let ours = min_and_median(&times[0].0).0;
    if let Some((cpu, _)) = times.get(1) {
        let ratio = min_and_median(cpu).0 / ours;
        println!("ours to QEMU TCG: {ratio:.2}");
        result["ratio to QEMU TCG"] = ratio.into();
    }
    if !quick {
        println!("goal: at most {GOAL:.0} s: {}", if ours <= GOAL { "met" } else { "MISSED" });
    }
    Ok(result)
}

impl Engine {
    /// Boots until the line has come; CPU time and time on the wall.
    fn boot(&self, files: &[PathBuf; 2]) -> Result<(f64, f64)> {
        let [kernel, initrd] = files;
        // QEMU takes long options with one dash or two.
        let mut command = Command::new(&self.program);
        command.args(self.args).arg("--kernel").arg(kernel).arg("--initrd").arg(initrd);
        command.args(["--append", APPEND]).stdin(Stdio::null()).stderr(Stdio::null()).stdout(Stdio::piped());
        let (before, started) = (children_cpu()?, Instant::now());
        let mut child = command.spawn().at(&self.program)?;
        let came = wait_for_line(&mut child);
        let wall = started.elapsed().as_secs_f64();
        let _ = child.kill();
        child.wait().at(&self.program)?;
        if !came {
            return Err(Error::Check(format!("{}: init did not speak within {LIMIT:?}", self.name)));
        }
        Ok((children_cpu()? - before, wall))
    }
}

/// Whether the line comes before the program ends or the time is up.
fn wait_for_line(child: &mut Child) -> bool {
    let Some(output) = child.stdout.take() else { return false };
    let (send, came) = mpsc::channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(output);
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
            if String::from_utf8_lossy(&line).contains(FIRST_LINE) {
                let _ = send.send(());
            }
            line.clear();
        }
    });
    came.recv_timeout(LIMIT).is_ok()
}
