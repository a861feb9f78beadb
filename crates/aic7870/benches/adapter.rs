//! How fast the model is: the sequencer alone, and a 64 KiB read from a medium in memory through a program of ours.
//!
//! Beside Criterion's wall clock it prints processor time, which other jobs of a busy host do not change much.
//!
//! With SLOTONE_AIC7XXX_SEQ (see `tests/linux.rs`) also through the kernel's program.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[path = "../tests/common/mod.rs"]
mod common;

use common::Board;
use common::driver::{Driver, End, read10};
use common::linux::{Linux, Shipped};
use common::program::{self, Work};
use slotone_aic7870::asm::assemble;
use slotone_aic7870::{Aic7870Config, Timing};

/// A mix of what drivers do: moves, sums over four bytes, tests, calls; it counts, so it never comes to rest.
const MIX: &str = "
loop:  mov ACCUM, SRAM20
       add SRAM24, SRAM24, 1
       adc SRAM25, SRAM25, A
       adc SRAM26, SRAM26, A
       jz  SSTAT1, 0x08, on
       nop
on:    call sub
       jnz DFSTATUS, 0x08, loop
       jmp loop
sub:   mov SINDEX, SRAM24
       shl SRAM28, SRAM24, 3
       je  SRAM28, 0x18, out
       xor SRAM29, SRAM28, 0x55
out:   ret
";

fn sequencer(c: &mut Criterion) {
    let mut board = Board::new(Aic7870Config::default(), &[0]);
    board.load(&assemble(MIX).expect("our own program"));
    board.set(0x60, 0x10);
    board.set(0x87, 0x02);
    let before = board.aic.instructions();
    board.advance(10_000_000);
    let n = board.aic.instructions() - before;
    print_processor_time(&format!("{n} instructions"), 100, || board.advance(10_000_000));
    let mut group = c.benchmark_group("sequencer");
    group.throughput(Throughput::Elements(n));
    group.bench_function("10 ms of instructions", |b| b.iter(|| board.advance(10_000_000)));
    group.finish();
}

/// Processor time of this program in nanoseconds, where the host tells it.
fn processor_time() -> Option<u64> {
    std::fs::read_to_string("/proc/self/schedstat").ok()?.split(' ').next()?.parse().ok()
}

/// Prints the processor time of one of `n` rounds.
fn print_processor_time(what: &str, n: u32, mut round: impl FnMut()) {
    let before = processor_time();
    (0..n).for_each(|_| round());
    if let (Some(before), Some(after)) = (before, processor_time()) {
        println!("{what}: {} ns of processor time", (after - before) / u64::from(n));
    }
}

fn reads(c: &mut Criterion) {
    let timing = Timing { access: 0, sector: 0, ..Timing::default() };
    let config = Aic7870Config { timing, ..Aic7870Config::default() };
    let mut group = c.benchmark_group("64 KiB read");
    group.throughput(Throughput::Bytes(65536));
    let work =
        Work { id: 1, cdb: &[0; 6], address: 0x100000, len: 65536, out: false, tag: 1, disconnect: true };
    let mut board = Board::new(config, &[1]);
    program::start(&mut board);
    program::run(&mut board, work);
    let mut round = || {
        let cdb = read10(0, 128);
        assert_eq!(program::run(&mut board, Work { cdb: &cdb, ..work }).0, Some(0));
    };
    print_processor_time("64 KiB through our program", 50_000, &mut round);
    group.bench_function("our program", |b| b.iter(&mut round));
    if let Some(shipped) = Shipped::find() {
        let mut board = Board::new(config, &[1]);
        let mut linux = Linux::attach(&mut board, &shipped, false);
        linux.run(&mut board, 1, &[0; 6], &[], false);
        for (name, segments) in [("the kernel's program", 1u32), ("the kernel's program, 16 segments", 16)] {
            let size = 65536 / segments;
            let list: Vec<_> = (0..segments).map(|n| (0x100000 + n * size * 2, size)).collect();
            let mut round =
                || assert_eq!(linux.run(&mut board, 1, &read10(0, 128), &list, true), End::Complete);
            print_processor_time(&format!("64 KiB through {name}"), 50_000, &mut round);
            group.bench_function(name, |b| b.iter(&mut round));
        }
    }
    group.finish();
}

criterion_group!(benches, sequencer, reads);
criterion_main!(benches);
