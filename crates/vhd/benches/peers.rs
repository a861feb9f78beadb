//! Ours beside bare `pread`/`pwrite` on the same file and beside qemu-img, alternating in one run.
//!
//! `cargo bench -p slotone-vhd --bench peers` (`-- --quick` for a few seconds that only keep it alive). Files go to `VHD_BENCH_DIR`, or the
//! temporary folder. Each figure is the best of the runs: other load on the machine only ever makes a run slower.

use std::cell::RefCell;
use std::fs::File;
use std::hint::black_box;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::{
    ConvertOptions, CreateOptions, LinkedDisk, OpenOptions, Target, Vhd, convert, open_source, quiet,
};

struct Bench {
    dir: PathBuf,
    runs: usize,
    /// Bytes of the disk.
    size: u64,
    operations: u64,
    qemu: bool,
}

fn scatter(n: u64) -> u64 {
    let mut z = n.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

fn seconds(work: impl FnOnce()) -> f64 {
    let t = Instant::now();
    work();
    t.elapsed().as_secs_f64()
}

/// Processor seconds so far of this process and its threads, and of its finished children, in ticks of 1/100 s.
fn processor() -> (f64, f64) {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after = stat.rsplit(')').next().unwrap_or("");
    let n: Vec<f64> = after.split_whitespace().skip(11).take(4).filter_map(|v| v.parse().ok()).collect();
    if n.len() == 4 { ((n[0] + n[1]) / 100.0, (n[2] + n[3]) / 100.0) } else { (f64::NAN, f64::NAN) }
}

/// Runs both alternately and returns the best time of each.
fn alternate(runs: usize, mut ours: impl FnMut() -> f64, mut theirs: impl FnMut() -> f64) -> (f64, f64) {
    let (mut a, mut b) = (f64::MAX, f64::MAX);
    for _ in 0..runs {
        a = a.min(ours());
        b = b.min(theirs());
    }
    (a, b)
}

fn line(what: &str, ours: &str, peer: &str, ratio: f64, goal: &str, met: bool) {
    println!("| {what} | {ours} | {peer} | {ratio:.2} | {goal} | {} |", if met { "yes" } else { "NO" });
}

/// A page-aligned part of a buffer: unaligned ones cost both sides 10 to 20 %.
fn aligned(buf: &mut [u8], len: usize) -> &mut [u8] {
    let skip = buf.as_ptr().align_offset(4096);
    &mut buf[skip..skip + len]
}

impl Bench {
    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    fn remove(&self, name: &str) -> PathBuf {
        let p = self.path(name);
        let _ = std::fs::remove_file(&p);
        p
    }

    /// A dynamic disk of full blocks, in the page cache.
    fn full(&self) -> PathBuf {
        let path = self.remove("full.vhd");
        let disk = Vhd::create(&path, &CreateOptions::dynamic(self.size)).unwrap();
        let data: Vec<u8> =
            (0..1u32 << 20).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8 | 1).collect();
        for at in (0..self.size).step_by(1 << 20) {
            write_all(&disk, at, &data).unwrap();
        }
        disk.close().unwrap();
        path
    }

    fn random(&self, path: &Path) {
        let disk = Vhd::open(path).unwrap();
        let mut b = vec![0u8; 16384];
        let buf = aligned(&mut b, 4096);
        // All bitmaps are known and all pages in memory.
        for at in (0..self.size).step_by(4096) {
            read_exact(&disk, at, buf).unwrap();
        }
        let file = File::options().read(true).write(true).open(path).unwrap();
        // The same bytes of the file: block by block, as the table has them.
        let base: Vec<u64> = (0..self.size >> 21).map(|b| self.file_offset(path, b)).collect();
        let place = |n: u64| scatter(n) % (self.size / 4096) * 4096;
        let offset = |at: u64| base[(at >> 21) as usize] + (at & 0x1F_FFFF);
        let ops = self.operations;
        // Both sides use the same memory: which pages a buffer has makes up to a fifth of the speed.
        let mut b = vec![0u8; 16384];
        let buf = RefCell::new(aligned(&mut b, 4096));
        let (ours, bare) = alternate(
            self.runs,
            || {
                let buf = &mut **buf.borrow_mut();
                seconds(|| (0..ops).for_each(|n| read_exact(&disk, place(n), black_box(buf)).unwrap()))
            },
            || {
                let buf = &mut **buf.borrow_mut();
                seconds(|| {
                    (0..ops).for_each(|n| file.read_exact_at(black_box(buf), offset(place(n))).unwrap())
                })
            },
        );
        let rate = |s: f64| format!("{:.0} k/s", ops as f64 / s / 1000.0);
        line(
            "random 4 KiB read, hot",
            &rate(ours),
            &format!("pread {}", rate(bare)),
            bare / ours,
            ">= 0.90",
            bare / ours >= 0.9,
        );
        // Within a part that the host need not write back meanwhile, all of it touched since the last sync.
        let small = self.size / 4;
        let spot = |n: u64| scatter(n) % (small / 4096) * 4096;
        let touch = |file: &File| {
            let data = vec![7u8; 1 << 20];
            (0..small >> 20).for_each(|n| file.write_all_at(&data, offset(n << 20)).unwrap());
        };
        let data: &[u8] = &buf.into_inner()[..];
        let (ours, bare) = alternate(
            self.runs,
            || {
                touch(&file);
                let t =
                    seconds(|| (0..ops).for_each(|n| write_all(&disk, spot(n), black_box(data)).unwrap()));
                disk.flush().unwrap();
                t
            },
            || {
                touch(&file);
                let t = seconds(|| {
                    (0..ops).for_each(|n| file.write_all_at(black_box(data), offset(spot(n))).unwrap());
                });
                file.sync_data().unwrap();
                t
            },
        );
        line(
            "random 4 KiB rewrite, hot",
            &rate(ours),
            &format!("pwrite {}", rate(bare)),
            bare / ours,
            ">= 0.80",
            bare / ours >= 0.8,
        );
        let mib = self.size >> 20;
        let rate = |s: f64| format!("{:.0} MiB/s", mib as f64 / s);
        let mut b = vec![7u8; 2 << 20];
        let buf = RefCell::new(aligned(&mut b, 1 << 20));
        let (ours, bare) = alternate(
            self.runs,
            || {
                let buf = &mut **buf.borrow_mut();
                seconds(|| (0..mib).for_each(|n| read_exact(&disk, n << 20, black_box(buf)).unwrap()))
            },
            || {
                let buf = &mut **buf.borrow_mut();
                seconds(|| {
                    (0..mib).for_each(|n| file.read_exact_at(black_box(buf), offset(n << 20)).unwrap())
                })
            },
        );
        line(
            "sequential 1 MiB read, hot",
            &rate(ours),
            &format!("pread {}", rate(bare)),
            bare / ours,
            ">= 0.95",
            bare / ours >= 0.95,
        );
        let data: &[u8] = &buf.into_inner()[..];
        let (ours, bare) = alternate(
            self.runs,
            || {
                let t =
                    seconds(|| (0..mib).for_each(|n| write_all(&disk, n << 20, black_box(data)).unwrap()));
                disk.flush().unwrap();
                t
            },
            || {
                let t = seconds(|| {
                    (0..mib).for_each(|n| file.write_all_at(black_box(data), offset(n << 20)).unwrap());
                });
                file.sync_data().unwrap();
                t
            },
        );
        line(
            "sequential 1 MiB rewrite, hot",
            &rate(ours),
            &format!("pwrite {}", rate(bare)),
            bare / ours,
            ">= 0.95",
            bare / ours >= 0.95,
        );
    }

    /// Where a block's data are, from the image's own table.
    fn file_offset(&self, path: &Path, block: u64) -> u64 {
        let f = File::open(path).unwrap();
        let mut e = [0; 4];
        f.read_exact_at(&mut e, 1536 + block * 4).unwrap();
        u64::from(u32::from_be_bytes(e)) * 512 + 512
    }

    /// New blocks, durable at the end; qemu in its mode that honours flushes.
    fn allocating(&self) {
        if !self.qemu {
            return;
        }
        let quarter = self.size / 4;
        // Name, bytes of a write, distance of two, how many, size of the disk.
        let cases = [
            ("4 KiB writes, each in a new block", 4096u64, 2 << 20, 500u64, 4u64 << 30),
            ("64 KiB writes in sequence", 64 << 10, 64 << 10, quarter / (64 << 10), self.size),
            ("1 MiB writes in sequence", 1 << 20, 1 << 20, quarter / (1 << 20), self.size),
        ];
        for (name, size, step, count, disk_size) in cases {
            let mut bare = f64::MAX;
            let (ours, theirs) = alternate(
                self.runs,
                || {
                    let disk =
                        Vhd::create(self.remove("ours.vhd"), &CreateOptions::dynamic(disk_size)).unwrap();
                    let data = vec![0x5A; size as usize];
                    seconds(|| {
                        (0..count).for_each(|n| write_all(&disk, n * step, &data).unwrap());
                        disk.flush().unwrap();
                    })
                },
                || {
                    // The bare file takes its turn here.
                    let f = File::create(self.remove("bare.raw")).unwrap();
                    let data = vec![0x5A; size as usize];
                    bare = bare.min(seconds(|| {
                        (0..count).for_each(|n| f.write_all_at(&data, n * step).unwrap());
                        f.sync_data().unwrap();
                    }));
                    let path = self.remove("theirs.vhd");
                    let text_size = disk_size.to_string();
                    quiet_run(
                        "qemu-img",
                        &["create", "-q", "-f", "vpc", "-o", "force_size=on", text(&path), &text_size],
                    );
                    let (c, s, step) = (count.to_string(), size.to_string(), step.to_string());
                    let args = [
                        "bench",
                        "-w",
                        "-f",
                        "vpc",
                        "-t",
                        "writeback",
                        "-d",
                        "1",
                        "-c",
                        &c,
                        "-s",
                        &s,
                        "-S",
                        &step,
                        "--flush-interval",
                        &c,
                        text(&path),
                    ];
                    seconds(|| quiet_run("qemu-img", &args))
                },
            );
            let rate = |s: f64| {
                if size < 65536 {
                    format!("{:.0} /s", count as f64 / s)
                } else {
                    format!("{:.0} MiB/s", ((count * size) >> 20) as f64 / s)
                }
            };
            let ratio = theirs / ours;
            line(
                &format!("allocating: {name}, durable at the end"),
                &rate(ours),
                &format!("qemu-img bench -t writeback {}; bare file {}", rate(theirs), rate(bare)),
                ratio,
                ">= 3",
                ratio >= 3.0,
            );
        }
        for name in ["ours.vhd", "theirs.vhd", "bare.raw"] {
            self.remove(name);
        }
    }

    fn conversions(&self) {
        if !self.qemu {
            return;
        }
        // Half zeros in units of 64 KiB; of the rest half noise, half text.
        let raw = self.remove("source.raw");
        {
            let f = File::create(&raw).unwrap();
            let mut buf = vec![0u8; 64 << 10];
            for n in 0..self.size / (64 << 10) {
                match scatter(n) % 4 {
                    0 | 1 => buf.fill(0),
                    2 => buf
                        .chunks_mut(8)
                        .enumerate()
                        .for_each(|(i, c)| c.copy_from_slice(&scatter(n << 20 | i as u64).to_le_bytes())),
                    _ => buf.chunks_mut(16).for_each(|c| c.copy_from_slice(b"half of the disk")),
                }
                f.write_all_at(&buf, n * (64 << 10)).unwrap();
            }
            f.sync_all().unwrap();
        }
        let dynamic = self.remove("dynamic.vhd");
        convert(&LinkedDisk::open(&raw, true).unwrap(), &dynamic, &ConvertOptions::default(), &mut quiet())
            .unwrap();
        let jobs = [
            ("raw to dynamic", &raw, "raw", Target::Dynamic, "vpc", "subformat=dynamic,force_size=on"),
            ("dynamic to raw", &dynamic, "vpc", Target::Raw, "raw", ""),
            ("raw to fixed", &raw, "raw", Target::Fixed, "vpc", "subformat=fixed,force_size=on"),
        ];
        for (name, source, from, target, to, options) in jobs {
            for (durable, cache) in [(false, "unsafe"), (true, "writeback")] {
                let (mut our_cpu, mut their_cpu) = (f64::MAX, f64::MAX);
                let (ours, theirs) = alternate(
                    self.runs,
                    || {
                        let out = self.remove("out.ours");
                        let options = ConvertOptions { target, durable, ..ConvertOptions::default() };
                        let source = open_source(source, &OpenOptions::new()).unwrap();
                        let cpu = processor().0;
                        let t = seconds(|| convert(&*source, &out, &options, &mut quiet()).unwrap());
                        our_cpu = our_cpu.min(processor().0 - cpu);
                        self.remove("out.ours");
                        t
                    },
                    || {
                        let out = self.remove("out.theirs");
                        let mut args = vec!["convert", "-t", cache, "-f", from, "-O", to];
                        if !options.is_empty() {
                            args.extend(["-o", options]);
                        }
                        args.extend([text(source), text(&out)]);
                        let cpu = processor().1;
                        let t = seconds(|| {
                            quiet_run("qemu-img", &args);
                            their_cpu = their_cpu.min(processor().1 - cpu);
                            if durable {
                                File::open(&out).unwrap().sync_all().unwrap();
                            }
                        });
                        self.remove("out.theirs");
                        t
                    },
                );
                let what = if durable { "durable" } else { "not synced" };
                let ratio = ours / theirs;
                line(
                    &format!("{name}, {what}"),
                    &format!("{ours:.2} s (processor {our_cpu:.2} s)"),
                    &format!("qemu-img -t {cache} {theirs:.2} s (processor {their_cpu:.2} s)"),
                    ratio,
                    "<= 0.80",
                    ratio <= 0.8,
                );
            }
        }
    }

    fn creation(&self) {
        let mut best = (f64::MAX, f64::MAX);
        for _ in 0..self.runs {
            let path = self.remove("large.vhd");
            best.0 = best.0.min(seconds(|| {
                Vhd::create(&path, &CreateOptions::dynamic(2040 << 30)).unwrap().close().unwrap()
            }));
            best.1 = best.1.min(seconds(|| drop(Vhd::open(&path).unwrap())));
        }
        let peer = if self.qemu {
            let path = self.remove("theirs.vhd");
            seconds(|| {
                quiet_run(
                    "qemu-img",
                    &["create", "-q", "-f", "vpc", "-o", "force_size=on", text(&path), "2040G"],
                )
            })
        } else {
            f64::NAN
        };
        line(
            "create 2040 GiB dynamic",
            &format!("{:.1} ms", best.0 * 1e3),
            &format!("qemu-img {:.0} ms", peer * 1e3),
            best.0 / peer,
            "< 20 ms",
            best.0 < 0.02,
        );
        println!("\nOpening it: {:.1} ms.", best.1 * 1e3);
    }
}

fn text(p: &Path) -> &str {
    p.to_str().unwrap()
}

fn quiet_run(program: &str, args: &[&str]) {
    let out = Command::new(program).args(args).stdout(Stdio::null()).output().unwrap();
    assert!(out.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&out.stderr));
}

fn high_water() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

fn main() {
    let quick = std::env::args().any(|a| a == "--quick" || a == "--test");
    let dir = std::env::var_os("VHD_BENCH_DIR")
        .map_or_else(std::env::temp_dir, PathBuf::from)
        .join("slotone-vhd-bench");
    std::fs::create_dir_all(&dir).unwrap();
    let qemu = Command::new("qemu-img").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !qemu {
        println!("skipped: qemu-img is not installed, so there is no peer to compare with");
    }
    let b = Bench {
        dir,
        runs: if quick { 1 } else { 5 },
        size: if quick { 64 << 20 } else { 2 << 30 },
        operations: if quick { 20_000 } else { 400_000 },
        qemu,
    };
    println!("| what | ours | peer | ratio | goal | met |\n| --- | --- | --- | --- | --- | --- |");
    b.creation();
    println!();
    println!("| what | ours | peer | ratio | goal | met |\n| --- | --- | --- | --- | --- | --- |");
    // A word on the command line picks a part.
    let wanted = |part: &str| {
        let words: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with('-')).collect();
        words.is_empty() || words.iter().any(|w| w == part)
    };
    if wanted("random") {
        let full = b.full();
        b.random(&full);
        let _ = std::fs::remove_file(full);
    }
    if wanted("allocating") {
        b.allocating();
    }
    if wanted("conversions") {
        b.conversions();
    }
    if let Some(kib) = high_water() {
        println!("\nMost memory this process ever had: {:.1} MiB.", kib as f64 / 1024.0);
    }
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    println!("Load average at the end: {}", load.trim());
    let _ = std::fs::remove_dir_all(&b.dir);
}
