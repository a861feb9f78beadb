//! Copies a raw image or host block device to a new raw image; runs of zeros stay holes.
//!
//! `cargo run -p slotone-block --example copy -- SRC DST`

use std::process::ExitCode;

use slotone_block::raw::{OpenMode, RawDisk};
use slotone_block::{BlockBackend, read_exact, write_all};

const STEP: u64 = 1 << 20;

fn copy(from: &str, to: &str) -> Result<u64, Box<dyn std::error::Error>> {
    let source = RawDisk::open(from, OpenMode { read_only: true })?;
    let capacity = source.info().capacity;
    let target = RawDisk::create(to, capacity)?;
    let mut buffer = vec![0; STEP as usize];
    let mut written = 0;
    for offset in (0..capacity).step_by(STEP as usize) {
        let part = &mut buffer[..STEP.min(capacity - offset) as usize];
        read_exact(&source, offset, part)?;
        if part.iter().any(|byte| *byte != 0) {
            write_all(&target, offset, part)?;
            written += part.len() as u64;
        }
    }
    target.flush()?;
    Ok(written)
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to] = &arguments[..] else {
        eprintln!("usage: copy SRC DST");
        return ExitCode::from(2);
    };
    match copy(from, to) {
        Ok(written) => {
            println!("{to}: {written} bytes written, the rest are holes");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
