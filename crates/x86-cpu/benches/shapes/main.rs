//! Speed on five shapes of program: integer work, calls, string moves, x87, indirect calls.
//!
//! ```text
//! cargo bench -p slotone-x86-cpu --bench shapes              million guest instructions a second of CPU time
//! cargo bench -p slotone-x86-cpu --bench shapes -- --quick   the same in a second, to keep it alive
//! ... -- images FOLDER [--quick]   writes the programs as disk images and prints a line of JSON for each
//! ... -- run IMAGE                 runs an image and prints what came out of its serial port
//! ```
//!
//! The images boot on any PC emulator with a BIOS; `cargo xtask bench cpu` measures QEMU and Bochs with them. Each prints its
//! result, which is checked against the same computation in Rust. Every repetition of a REP counts as an instruction.

mod emit;
mod programs;
mod sector;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use programs::{SHAPES, Shape};
use slotone_bus::cpu::{Cpu, Exit};
use slotone_x86_cpu::test_bus::TestBus;
use slotone_x86_cpu::{CpuModel, SoftCpu};

const RAM: usize = 16 << 20;
const COM1: u16 = 0x3F8;
const LINE_STATUS: u16 = COM1 + 5;
/// Transmitter and holding register empty.
const IDLE: u32 = 0x60;
/// What a quick run divides the repetitions by.
const QUICK: u32 = 20;

/// What a run of an image gave.
struct Run {
    serial: String,
    instructions: u64,
    time: Duration,
}

/// Runs the boot sector of an image on the software CPU, as a BIOS would enter it.
fn run(image: &[u8]) -> Run {
    let mut bus = TestBus::new(RAM).expect("the host has 16 MiB");
    let address = u64::from(sector::ORIGIN);
    bus.ram.write(address, &image[..512]).expect("the sector lies in RAM");
    bus.inputs.insert(LINE_STATUS, IDLE);
    let mut cpu = SoftCpu::new(CpuModel::default());
    bus.start_real(&mut cpu, 0, sector::ORIGIN as u16);
    let (started, before) = (Instant::now(), cpu_time());
    let exit = cpu.run(&mut bus);
    let time = match (before, cpu_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => started.elapsed(),
    };
    assert!(matches!(exit, Exit::Halt { .. }), "the program ended with {exit:?}");
    let sent = bus.log.iter().filter(|access| access.port == COM1).filter_map(|access| access.written);
    // The first byte to this port is the baud rate divisor.
    let serial = sent.skip(1).filter_map(|byte| u8::try_from(byte).ok()).map(char::from).collect();
    Run { serial, instructions: cpu.retired(), time }
}

/// CPU time of this thread, where the system tells.
fn cpu_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    stat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}

fn repetitions(shape: &Shape, quick: bool) -> u32 {
    if quick { shape.repetitions.div_ceil(QUICK) } else { shape.repetitions }
}

/// The program's instructions in so many repetitions, exactly: start and end are taken off.
fn instructions(shape: &Shape, repetitions: u32) -> u64 {
    let count = |n| run(&sector::image(shape, n)).instructions;
    let (none, one) = (count(0), count(1));
    // One repetition needs one instruction more: the move that sets their number.
    (one - none - 1) * u64::from(repetitions) + 1
}

/// Measures all shapes on this CPU alone.
fn measure(quick: bool) {
    println!(
        "{:<4} {:<40} {:>14} {:>9} {:>9}",
        "", "million instructions a second", "instructions", "best", "median"
    );
    for shape in &SHAPES {
        let n = repetitions(shape, quick);
        let image = sector::image(shape, n);
        let mut speeds = [0.0; 3];
        let mut count = 0;
        for speed in &mut speeds {
            let run = run(&image);
            assert_eq!(run.serial.trim_end(), sector::result_line(shape, n), "the result is wrong");
            count = run.instructions;
            *speed = count as f64 / run.time.as_secs_f64() / 1e6;
        }
        speeds.sort_by(f64::total_cmp);
        println!("{:<4} {:<40} {count:>14} {:>9.1} {:>9.1}", shape.name, shape.what, speeds[2], speeds[1]);
    }
}

/// Writes the images, with one that has everything but the program for each, and says in JSON what they are.
fn write_images(folder: &Path, quick: bool) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    for shape in &SHAPES {
        let n = repetitions(shape, quick);
        let write = |name: String, repetitions| -> std::io::Result<PathBuf> {
            let path = folder.join(name);
            std::fs::write(&path, sector::image(shape, repetitions))?;
            Ok(path)
        };
        let image = write(format!("{}.img", shape.name), n)?;
        let empty = write(format!("{}-empty.img", shape.name), 0)?;
        println!(
            "{{\"name\": \"{}\", \"what\": \"{}\", \"image\": \"{}\", \"empty\": \"{}\", \"result\": \"{}\", \"instructions\": {}}}",
            shape.name,
            shape.what,
            image.display(),
            empty.display(),
            sector::result_line(shape, n),
            instructions(shape, n)
        );
    }
    Ok(())
}

fn main() -> std::io::Result<()> {
    // Cargo adds --bench.
    let mut args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let quick = args.iter().any(|arg| arg == "--quick");
    args.retain(|arg| arg != "--quick");
    match args.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => measure(quick),
        ["images", folder] => write_images(Path::new(folder), quick)?,
        ["run", image] => print!("{}", run(&std::fs::read(image)?).serial),
        _ => eprintln!("shapes: [--quick], images FOLDER [--quick], or run IMAGE"),
    }
    Ok(())
}
