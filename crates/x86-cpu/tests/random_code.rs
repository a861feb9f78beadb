//! Random code in a small machine: nothing panics or hangs, and how a run is cut into slices changes nothing.

mod common;

use common::{CODE, DATA, Machine, Random};
use slotone_bus::cpu::{Cpu, Exit};

/// Starts of instructions that random bytes alone seldom hit upon.
const STARTS: &[&[u8]] = &[
    &[0xF3, 0xA4],
    &[0xF3, 0xA5],
    &[0xF3, 0xAB],
    &[0xF2, 0xAE],
    &[0xF3, 0xA6],
    &[0xF3, 0x6C],
    &[0xF3, 0x6F],
    &[0x0F, 0x22, 0xC0],
    &[0x0F, 0x22, 0xD8],
    &[0x0F, 0x22, 0xE0],
    &[0x0F, 0x01],
    &[0x0F, 0x00],
    &[0x0F, 0x23, 0xF8],
    &[0x0F, 0xC7],
    &[0x0F, 0xAE],
    &[0x0F, 0x30],
    &[0x0F, 0x32],
    &[0x9D],
    &[0xCF],
    &[0xCD, 0x80],
    &[0x66, 0x8E, 0xD0],
    &[0xFB],
    &[0xEA],
    &[0x9A],
    &[0xD9],
    &[0xDD],
    &[0xC8],
];

fn fill(m: &mut Machine, r: &mut Random) {
    let mut bytes = vec![0; 0x2000];
    for b in &mut bytes {
        *b = r.u32() as u8;
    }
    for _ in 0..200 {
        let start = STARTS[r.below(STARTS.len() as u32) as usize];
        let at = r.below(0x1F00) as usize;
        bytes[at..at + start.len()].copy_from_slice(start);
    }
    m.write(CODE, &bytes);
    // Handlers return more often than not, so that things go on.
    for v in 0..256u32 {
        let handler: &[u8] = match r.below(4) {
            0 => &[0xCF],
            1 => &[0x83, 0xC4, 0x04, 0xCF],
            2 => &[0xFF, 0x04, 0x24, 0xCF],
            _ => &[0xFF, 0x44, 0x24, 0x04, 0x83, 0xC4, 0x04, 0xCF],
        };
        m.write(0x7000 + 16 * v, handler);
        m.gate(v as u8, common::gate(common::CODE0, 0x7000 + 16 * v, 0xEE, 0));
    }
    for g in 0..8 {
        m.state.gpr[g] = if r.below(2) == 0 { r.u32() } else { DATA + r.below(0x1000) };
    }
    m.state.gpr[4] = common::STACK0 - 4 * r.below(64);
    m.state.gpr[1] = r.below(5000);
    m.state.eflags = r.u32() & 0x0024_0CD5 | 2;
}

fn machine(seed: u64) -> Machine {
    let mut r = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
    let mut m = Machine::new();
    fill(&mut m, &mut r);
    match r.below(5) {
        0 => m.user(),
        1 => m.real(),
        2 => m.page(6),
        3 => {
            m.page(6);
            m.user();
        }
        _ => {}
    }
    m
}

/// Runs on through halts until so many instructions have retired; `slice` says how far each run goes.
fn run(m: &mut Machine, total: u64, mut slice: impl FnMut() -> u64) -> bool {
    m.cpu.load(&m.state.clone()).unwrap();
    let mut interrupts = 0;
    loop {
        let now = m.cpu.retired();
        if now >= total {
            return true;
        }
        // An interrupt at every multiple of 500 instructions: a deadline, however the run is sliced.
        let deadline = (now / 500 + 1) * 500;
        m.bus.after.until = deadline.min(now + slice()).min(total);
        match m.cpu.run(&mut m.bus) {
            Exit::Budget => {
                assert_eq!(m.cpu.retired(), m.bus.after.until, "a budget is kept exactly");
                if m.cpu.retired() == deadline {
                    m.bus.vectors = vec![0x40];
                    m.bus.after.intr = true;
                }
            }
            Exit::Halt { interruptible: true } if interrupts < 50 => {
                interrupts += 1;
                m.bus.vectors = vec![0x41];
                m.bus.after.intr = true;
            }
            _ => return false,
        }
    }
}

#[test]
fn slicing_changes_nothing() {
    let mut went_far = 0;
    for seed in 1..=300 {
        let mut whole = machine(seed);
        let mut sliced = machine(seed);
        let a = run(&mut whole, 5_000, || u64::MAX / 4);
        let mut r = Random(seed);
        let b = run(&mut sliced, 5_000, || 1 + u64::from(r.below(40)));
        assert_eq!(a, b, "seed {seed}");
        assert_eq!(whole.cpu.save(), sliced.cpu.save(), "seed {seed}");
        let all = |m: &Machine| m.bus.ram.slice(0, m.bus.ram.len()).unwrap().to_vec();
        assert!(all(&whole) == all(&sliced), "seed {seed}: memory differs");
        assert_eq!(whole.bus.log, sliced.bus.log, "seed {seed}");
        went_far += u32::from(a);
    }
    assert!(went_far > 30, "only {went_far} programs ran on: the test tests little");
}

#[test]
fn a_saved_state_goes_on_the_same() {
    for seed in 1000..1150 {
        let mut whole = machine(seed);
        let mut saved = machine(seed);
        run(&mut whole, 2_000, || u64::MAX / 4);
        // The other machine's processor is replaced by a new one with its state every few instructions.
        saved.cpu.load(&saved.state.clone()).unwrap();
        let mut r = Random(seed);
        let mut n = 0;
        loop {
            let state = saved.cpu.save();
            if state.retired >= 2_000 {
                break;
            }
            saved.cpu = slotone_x86_cpu::SoftCpu::new(slotone_x86_cpu::CpuModel::default());
            saved.cpu.load(&state).unwrap();
            assert_eq!(saved.cpu.save(), state, "seed {seed}");
            let deadline = (state.retired / 500 + 1) * 500;
            saved.bus.after.until = deadline.min(state.retired + 1 + u64::from(r.below(100))).min(2_000);
            match saved.cpu.run(&mut saved.bus) {
                Exit::Budget if saved.cpu.retired() == deadline => {
                    saved.bus.vectors = vec![0x40];
                    saved.bus.after.intr = true;
                }
                Exit::Budget => {}
                Exit::Halt { interruptible: true } if n < 50 => {
                    n += 1;
                    saved.bus.vectors = vec![0x41];
                    saved.bus.after.intr = true;
                }
                _ => break,
            }
        }
        assert_eq!(whole.cpu.save(), saved.cpu.save(), "seed {seed}");
    }
}
