use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::{ErrorKind, LinkedDisk, OpenOptions, Source};

use crate::ux::{Failure, Size};

#[derive(Clone, Copy, ValueEnum)]
enum Pattern {
    /// At random
    Rand,
    /// One after the other
    Seq,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Op {
    /// Read
    Read,
    /// Write what is there, and flush at the end
    Write,
}

/// Arguments of `vhd bench`.
#[derive(Args)]
pub(crate) struct Bench {
    /// Image file, raw image or block device
    path: PathBuf,
    /// Order of the places
    #[arg(long, value_enum, default_value = "rand")]
    pattern: Pattern,
    /// What to do
    #[arg(long, value_enum, default_value = "read")]
    op: Op,
    /// Bytes of one operation
    #[arg(long, value_name = "N", default_value = "4K")]
    size: Size,
    /// Operations
    #[arg(long, value_name = "N", default_value_t = 100_000)]
    count: u64,
    /// Threads at once
    #[arg(long, value_name = "N", default_value_t = 1)]
    depth: u64,
    /// For programs
    #[arg(long)]
    json: bool,
}

pub(crate) fn bench(b: &Bench) -> Result<ExitCode, Failure> {
    let read_only = b.op == Op::Read;
    let disk: Box<dyn Source> = match OpenOptions::new().read_only(read_only).open(&b.path) {
        Ok(disk) => Box::new(disk),
        Err(e) if matches!(e.kind(), ErrorKind::NotVhd) => Box::new(LinkedDisk::open(&b.path, read_only)?),
        Err(e) => return Err(e.into()),
    };
    let disk: &dyn BlockBackend = &*disk;
    let size = b.size.0;
    let places = disk.info().capacity.checked_div(size).unwrap_or(0);
    if size == 0
        || !size.is_multiple_of(512)
        || size > 64 << 20
        || places == 0
        || !(1..=64).contains(&b.depth)
    {
        return Err(Failure::new(
            "--size is whole sectors up to 64M and not more than the disk, --depth 1 to 64",
        ));
    }
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    // Writes put back what is there, so reading it does not count.
    let busy = AtomicU64::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..b.depth {
            scope.spawn(|| {
                let mut buf = vec![0u8; size as usize];
                let mut mine = 0;
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= b.count || failed.load(Ordering::Relaxed) {
                        break;
                    }
                    let place = match b.pattern {
                        Pattern::Seq => n % places,
                        Pattern::Rand => scatter(n) % places,
                    };
                    let result = if read_only {
                        read_exact(disk, place * size, &mut buf)
                    } else {
                        read_exact(disk, place * size, &mut buf).and_then(|()| {
                            let t = Instant::now();
                            let done = write_all(disk, place * size, &buf);
                            mine += t.elapsed().as_nanos() as u64;
                            done
                        })
                    };
                    if let Err(e) = result {
                        eprintln!("vhd: {e}");
                        failed.store(true, Ordering::Relaxed);
                    }
                }
                busy.fetch_add(mine, Ordering::Relaxed);
            });
        }
    });
    let mut seconds = begun.elapsed().as_secs_f64();
    if failed.load(Ordering::Relaxed) {
        return Err(Failure::new("stopped"));
    }
    let mut flush = 0.0;
    if !read_only {
        seconds = busy.load(Ordering::Relaxed) as f64 / 1e9 / b.depth as f64;
        let t = Instant::now();
        disk.flush().map_err(|e| Failure::new(e.to_string()))?;
        flush = t.elapsed().as_secs_f64();
    }
    let rate = b.count as f64 / seconds;
    let mib = rate * size as f64 / (1 << 20) as f64;
    if b.json {
        let v = json!({
            "path": b.path, "operations": b.count, "size": size, "depth": b.depth, "seconds": seconds,
            "flush_seconds": flush, "operations_per_second": rate, "mib_per_second": mib,
        });
        println!("{v:#}");
    } else {
        println!(
            "{} operations of {size} bytes in {seconds:.3} s: {rate:.0} a second, {mib:.1} MiB/s",
            b.count
        );
        if !read_only {
            println!("and {flush:.3} s for the flush at the end");
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The same places in each run.
fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}
