//! Helpers of the tests.
#![allow(dead_code, reason = "each test crate uses a part of it")]

pub(crate) mod crash;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use slotone_block::{BlockBackend, read_exact};

/// The whole content of a disk.
pub(crate) fn content(disk: &dyn BlockBackend) -> Vec<u8> {
    let mut all = vec![0; disk.info().capacity as usize];
    read_exact(disk, 0, &mut all).unwrap();
    all
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Hash of a disk's content, read in pieces.
pub(crate) fn content_hash(disk: &dyn BlockBackend) -> String {
    let mut h = Sha256::new();
    let mut buf = vec![0; 1 << 20];
    let (mut at, end) = (0, disk.info().capacity);
    while at < end {
        let n = (end - at).min(buf.len() as u64) as usize;
        read_exact(disk, at, &mut buf[..n]).unwrap();
        h.update(&buf[..n]);
        at += n as u64;
    }
    hex(&h.finalize())
}

/// Unpacks or copies all samples into `dir`.
pub(crate) fn samples(dir: &Path) {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/samples");
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let bytes = std::fs::read(&path).unwrap();
        if let Some(plain) = name.strip_suffix(".gz") {
            let mut out = Vec::new();
            flate2::read::GzDecoder::new(&bytes[..]).read_to_end(&mut out).unwrap();
            std::fs::write(dir.join(plain), out).unwrap();
        } else if name.ends_with(".vhd") {
            std::fs::write(dir.join(name), bytes).unwrap();
        }
    }
}

/// The program `name`, or `None` after one line that says the test is skipped. With SLOTONE_CI=1 a missing program is a failure.
pub(crate) fn tool(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let extra = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let found = std::env::split_paths(&path).chain(extra).map(|d| d.join(name)).find(|p| p.is_file());
    if found.is_none() {
        assert!(std::env::var_os("SLOTONE_CI").is_none_or(|v| v != "1"), "{name} is missing on a CI machine");
        eprintln!("skipped: {name} is not installed");
    }
    found
}

/// Runs a program to a good end and returns what it printed.
pub(crate) fn run(program: &Path, args: &[&str]) -> String {
    let out = Command::new(program).args(args).output().unwrap();
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(
        out.status.success(),
        "{} {args:?}: {}\n{text}{}",
        program.display(),
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    text
}

/// A small generator, so that a failing run can be told by its seed.
pub(crate) struct Rng(pub(crate) u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub(crate) fn fill(&mut self, buf: &mut [u8]) {
        for chunk in buf.chunks_mut(8) {
            let n = chunk.len();
            chunk.copy_from_slice(&self.next().to_le_bytes()[..n]);
        }
    }
}

/// Lets this process run `work`, and if `after` is given die of SIGKILL that long after its beginning; if the work was quicker it lives on.
/// Returns how long the work took.
pub(crate) fn mortally(after: Option<Duration>, work: impl FnOnce()) -> Duration {
    let over = Arc::new(AtomicBool::new(false));
    let begun = Instant::now();
    if let Some(after) = after {
        let over = over.clone();
        std::thread::spawn(move || {
            std::thread::sleep(after.saturating_sub(begun.elapsed()));
            if !over.load(Ordering::Acquire) {
                rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL)
                    .unwrap();
            }
        });
    }
    work();
    over.store(true, Ordering::Release);
    begun.elapsed()
}
