//! The software CPU beside QEMU's TCG and Bochs, on the same boot sectors (crates/x86-cpu/benches/shapes).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use super::{build, children_cpu, min_and_median, output_of, peer};
use crate::error::{Error, IoContext, Result};
use crate::host;

/// Longest run of one image.
const LIMIT: Duration = Duration::from_secs(600);
const QEMU: &str = "qemu-system-i386";
const BOCHS: &str = "bochs";
/// Bochs' own BIOS: it boots on Bochs' 440BX.
const BOCHS_BIOS: &str = "/usr/share/bochs/BIOS-bochs-latest";
const BOCHS_VGA: &str = "/usr/share/bochs/VGABIOS-lgpl-latest";
/// What the speeds are to be at least, in million instructions a second.
const GOALS: [(&str, f64); 6] =
    [("W1", 150.0), ("W1P", 150.0), ("W2", 150.0), ("W3", 300.0), ("W4", 30.0), ("W5", 100.0)];

/// One who runs images.
struct Engine {
    name: &'static str,
    program: PathBuf,
    start: fn(&Engine, &Path, &Path) -> Result<Command>,
}

/// A program to run.
struct Shape {
    name: String,
    what: String,
    image: PathBuf,
    empty: PathBuf,
    result: String,
    instructions: f64,
}

pub(super) fn run(quick: bool) -> Result<Value> {
    let folder = host::output_dir("bench")?.join("cpu");
    fs::create_dir_all(&folder).at(&folder)?;
    let ours = build("slotone-x86-cpu", "shapes")?;
    let engines = engines(ours)?;
    let shapes = shapes(&engines[0].program, &folder, quick)?;
    let runs = if quick { 1 } else { 3 };
    println!(
        "CPU: million guest instructions a second of CPU time, best / median of {runs}; start-up taken off"
    );
    let versions: Vec<String> = engines[1..].iter().map(Engine::version).collect();
    versions.iter().for_each(|version| println!("{version}"));
    print!("| program |");
    engines.iter().for_each(|engine| print!(" {} |", engine.name));
    engines[1..].iter().for_each(|engine| print!(" ours to {} |", engine.name));
    println!(" goal |\n|{}", " --- |".repeat(2 * engines.len() + 1));
    let mut rows = Vec::new();
    for shape in &shapes {
        let row = measure(shape, &engines, &folder, runs)?;
        rows.push(row);
    }
    Ok(
        json!({ "unit": "million guest instructions a second of CPU time", "runs": runs, "peers": versions, "programs": rows }),
    )
}

/// Runs one shape on all engines, prints its row and returns it.
fn measure(shape: &Shape, engines: &[Engine], folder: &Path, runs: usize) -> Result<Value> {
    let mut seconds = vec![Vec::new(); engines.len()];
    for _ in 0..runs {
        for (engine, seconds) in engines.iter().zip(&mut seconds) {
            let zeros = format!("{} 00000000", shape.name);
            let start_up = engine.run(&shape.empty, &zeros, folder)?;
            seconds.push(engine.run(&shape.image, &shape.result, folder)? - start_up);
        }
    }
    // Ten milliseconds are what CPU time is counted in.
    let speeds: Vec<(f64, f64)> = seconds
        .iter()
        .map(|seconds| {
            let (min, median) = min_and_median(seconds);
            let speed = |time: f64| shape.instructions / time.max(0.01) / 1e6;
            (speed(min), speed(median))
        })
        .collect();
    let goal = GOALS.iter().find(|(name, _)| *name == shape.name).map(|(_, goal)| *goal);
    print!("| {} {} |", shape.name, shape.what);
    speeds.iter().for_each(|(best, median)| print!(" {best:.0} / {median:.0} |"));
    speeds[1..].iter().for_each(|(best, _)| print!(" {:.2} |", speeds[0].0 / best));
    match goal {
        Some(goal) => println!(" {goal:.0}: {} |", if speeds[0].0 >= goal { "met" } else { "MISSED" }),
        None => println!(" |"),
    }
    let mut row =
        json!({ "name": shape.name, "what": shape.what, "instructions": shape.instructions, "goal": goal });
    for ((engine, (best, median)), seconds) in engines.iter().zip(&speeds).zip(&seconds) {
        row[engine.name] = json!({ "best": best, "median": median, "cpu_seconds": seconds });
        if engine.name != engines[0].name {
            row[format!("ratio to {}", engine.name)] = (speeds[0].0 / best).into();
        }
    }
    Ok(row)
}

/// Ours first.
fn engines(ours: PathBuf) -> Result<Vec<Engine>> {
    let mut engines = vec![Engine {
        name: "Slot One",
        program: ours,
        start: |engine, image, serial| {
            let mut command = Command::new(&engine.program);
            let out = fs::File::create(serial).at(serial)?;
            command.arg("run").arg(image).stdout(out);
            Ok(command)
        },
    }];
    if let Some(program) = peer(QEMU, "qemu-system-x86")? {
        engines.push(Engine { name: "QEMU TCG", program, start: qemu });
    }
    if let Some(program) = peer(BOCHS, "bochs bochs-term bochsbios")? {
        engines.push(Engine { name: "Bochs", program, start: bochs });
    }
    Ok(engines)
}

fn shapes(ours: &Path, folder: &Path, quick: bool) -> Result<Vec<Shape>> {
    let folder = folder.display().to_string();
    let mut args = vec!["images", folder.as_str()];
    args.extend(quick.then_some("--quick"));
    let list = output_of(ours, &args)?;
    list.lines()
        .map(|line| {
            let bad = || Error::Input(format!("the images are described by {line:?}"));
            let value: Value = serde_json::from_str(line).map_err(|_| bad())?;
            let text = |key: &str| value[key].as_str().map(str::to_owned).ok_or_else(bad);
            Ok(Shape {
                name: text("name")?,
                what: text("what")?,
                image: text("image")?.into(),
                empty: text("empty")?.into(),
                result: text("result")?,
                instructions: value["instructions"].as_f64().ok_or_else(bad)?,
            })
        })
        .collect()
}

impl Engine {
    /// Name and version as the program tells them; Debian's Bochs is built with its debugger, which slows it down.
    fn version(&self) -> String {
        let argument = if self.name == "Bochs" { "--help" } else { "--version" };
        let output = Command::new(&self.program).arg(argument).stdin(Stdio::null()).output();
        let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let line = text.lines().find(|line| line.contains("version") || line.contains("Bochs x86 Emulator"));
        format!("{}: {}", self.name, line.unwrap_or("unknown version").trim_matches([' ', '=']))
    }

    /// Runs an image, wants its result and returns the CPU time it took.
    fn run(&self, image: &Path, result: &str, folder: &Path) -> Result<f64> {
        let serial = folder.join("serial.txt");
        if serial.exists() {
            fs::remove_file(&serial).at(&serial)?;
        }
        let mut command = (self.start)(self, image, &serial)?;
        let before = children_cpu()?;
        let ended = host::run_limited(command.stderr(Stdio::null()), LIMIT)?;
        let taken = children_cpu()? - before;
        // Each ends in its own way; what counts is what came out.
        let text = fs::read_to_string(&serial).unwrap_or_default();
        if text.trim() != result {
            return Err(Error::Check(format!(
                "{} on {}: printed {:?}, wanted {result:?} ({ended})",
                self.name,
                image.display(),
                text.trim()
            )));
        }
        Ok(taken)
    }
}

fn qemu(engine: &Engine, image: &Path, serial: &Path) -> Result<Command> {
    let mut command = Command::new(&engine.program);
    command.args(["-M", "pc", "-accel", "tcg", "-cpu", "pentium3", "-m", "32", "-display", "none"]);
    command.args([
        "-nodefaults",
        "-nic",
        "none",
        "-no-reboot",
        "-device",
        "isa-debug-exit,iobase=0xf4,iosize=4",
    ]);
    command.arg("-serial").arg(format!("file:{}", serial.display()));
    command.arg("-drive").arg(format!("file={},format=raw,if=ide,snapshot=on", image.display()));
    command.stdout(Stdio::null());
    Ok(command)
}

/// Debian builds Bochs with its debugger, which wants to be told to go on.
fn bochs(engine: &Engine, image: &Path, serial: &Path) -> Result<Command> {
    let sibling = |name: &str| serial.with_file_name(name);
    let configuration = format!(
        "config_interface: textconfig\n\
         display_library: rfb, options=\"timeout=0\"\n\
         romimage: file={BOCHS_BIOS}\nvgaromimage: file={BOCHS_VGA}\n\
         cpu: model=p3_katmai, count=1, ips=50000000, reset_on_triple_fault=0\n\
         memory: guest=32, host=32\n\
         ata0-master: type=disk, path=\"{}\", mode=flat, cylinders=1, heads=16, spt=63\n\
         boot: disk\n\
         com1: enabled=1, mode=file, dev={}\n\
         log: {}\n",
        image.display(),
        serial.display(),
        sibling("bochs.log").display()
    );
    let (rc, orders) = (sibling("bochsrc"), sibling("bochs-orders"));
    fs::write(&rc, configuration).at(&rc)?;
    fs::write(&orders, "c\n").at(&orders)?;
    let mut command = Command::new(&engine.program);
    command.arg("-q").arg("-f").arg(&rc).arg("-rc").arg(&orders);
    command.stdout(Stdio::null());
    Ok(command)
}
