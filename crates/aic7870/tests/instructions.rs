//! Each instruction with each flag, and control of execution.

mod common;

use common::Board;
use slotone_aic7870::Aic7870Config;
use slotone_aic7870::asm::{alu, assemble, branch};

const ACCUM: u8 = 0x64;
const SINDEX: u8 = 0x65;
const FLAGS: u8 = 0x6b;
const SOURCE: u8 = 0x30;
const RESULT: u8 = 0x31;

fn board() -> Board {
    Board::new(Aic7870Config::default(), &[0])
}

/// Loads a program, and executes `steps` instructions one by one.
fn steps(board: &mut Board, program: &[u32], steps: u32) {
    board.load(program);
    board.set(0x60, 0x14);
    board.set(0x62, 0);
    for _ in 0..steps {
        board.set(0x87, 0x00);
        board.advance(5_000);
        assert_eq!(board.get(0x87) & 4, 4, "STEP pauses");
    }
    board.set(0x60, 0x10);
}

/// ZERO and CARRY as given: two instructions.
fn flags(zero: bool, carry: bool) -> [u32; 2] {
    // Carry by an addition, then ZERO by an OR, which leaves carry alone.
    let add = if carry { alu(3, 0x6a, 0x69, 1, false) } else { alu(3, 0x6a, 0x6a, 1, false) };
    let or = if zero { alu(1, 0x6a, 0x6a, 0xff, false) } else { alu(0, 0x6a, 0x6a, 1, false) };
    [add, or]
}

#[test]
fn arithmetic_and_logic() {
    let mut board = board();
    for operation in 0..=4u8 {
        for (a, b, accumulator) in [
            (0x00, 0x00, 0x00),
            (0x5a, 0x0f, 0x33),
            (0xff, 0x01, 0x80),
            (0x80, 0x00, 0x80),
            (0x01, 0xfe, 0x00),
            (0xff, 0xff, 0xff),
            (0xf0, 0x00, 0x0f),
        ] {
            for (zero, carry) in [(false, false), (false, true), (true, false), (true, true)] {
                let [x, y] = flags(zero, carry);
                board.set(SOURCE, a);
                board.set(ACCUM, accumulator);
                steps(&mut board, &[x, y, alu(operation, RESULT, SOURCE, b, false)], 3);
                let b = if b == 0 { accumulator } else { b };
                let sum = u16::from(a) + u16::from(b) + u16::from(operation == 4 && carry);
                let (value, carry) = match operation {
                    0 => (a | b, carry),
                    1 => (a & b, carry),
                    2 => (a ^ b, carry),
                    _ => (sum as u8, sum > 255),
                };
                let what = format!("operation {operation}, {a:02x} {b:02x}");
                assert_eq!(board.get(RESULT), value, "{what}");
                assert_eq!(board.get(FLAGS), u8::from(value == 0) << 1 | u8::from(carry), "{what}");
                assert_eq!((board.get(SOURCE), board.get(ACCUM)), (a, accumulator));
            }
        }
    }
}

#[test]
fn branches() {
    let mut board = board();
    for operation in 8..16u8 {
        for (a, b, accumulator) in
            [(0u8, 0u8, 0u8), (5, 5, 1), (5, 4, 5), (8, 7, 0), (0, 0, 3), (3, 0, 3), (4, 0, 3), (0, 0x40, 1)]
        {
            for (zero, carry) in [(false, false), (false, true), (true, false), (true, true)] {
                let [x, y] = flags(zero, carry);
                board.set(SOURCE, a);
                board.set(ACCUM, accumulator);
                board.set(SINDEX, 0x77);
                steps(&mut board, &[x, y, branch(operation, 0x155, SOURCE, b)], 3);
                let c = if b == 0 { accumulator } else { b };
                let (taken, zero, sindex) = match operation {
                    8 | 11 => (true, zero, a | b),
                    9 => (carry, zero, a | b),
                    10 => (!carry, zero, a | b),
                    12 => (a != c, a == c, 0x77),
                    13 => (a & c != 0, a & c == 0, 0x77),
                    14 => (a == c, a == c, 0x77),
                    _ => (a & c == 0, a & c == 0, 0x77),
                };
                let what = format!("operation {operation}, {a:02x} {b:02x} accumulator {accumulator:02x}");
                let pc = u16::from(board.get(0x62)) | u16::from(board.get(0x63)) << 8;
                assert_eq!(pc, if taken { 0x155 } else { 3 }, "{what}");
                assert_eq!(board.get(FLAGS), u8::from(zero) << 1 | u8::from(carry), "{what}");
                assert_eq!(board.get(SINDEX), sindex, "{what}");
                if operation == 11 {
                    assert_eq!([0; 2].map(|_| board.get(0x6f)), [3, 0], "{what}");
                    board.set(0x60, 0x12);
                }
            }
        }
    }
}

fn run(text: &str, nanos: u64) -> Board {
    let mut board = board();
    board.load(&assemble(text).expect("our own program"));
    board.set(0x60, 0x10);
    board.set(0x87, 0x02);
    board.advance(nanos);
    board
}

#[test]
fn calls_and_returns() {
    let mut board = run(
        "call a\n mvi SRAM34, 4\n end: jmp end\n
         a: call b\n mvi SRAM33, 3 ret\n
         b: call c\n mvi SRAM32, 2\n ret\n
         c: call d\n mvi SRAM31, 1 ret\n
         d: mvi SRAM30, 9 ret\n",
        10_000,
    );
    assert_eq!(board.get_all(0x30, 5), [9, 1, 2, 3, 4]);
    assert_eq!(board.get(0x62), 2);
}

#[test]
fn indirect_registers() {
    // A sum over four bytes, as drivers do with addresses; a copy; a jump by a table.
    let mut board = run(
        "mvi SINDEX, 0x30\n mvi DINDEX, 0x40\n mvi ACCUM, 0x10\n
         mvi SRAM30, 0xf8\n mvi SRAM31, 0xff\n mvi SRAM32, 0x34\n mvi SRAM33, 0x12\n
         add DINDIR, SINDIR, A\n clr ACCUM\n adc DINDIR, SINDIR, A\n adc DINDIR, SINDIR, A\n adc DINDIR, SINDIR, A\n
         mvi ACCUM, 2\n add SEQADDR0, SEQADDR0, A\n
         mvi SRAM50, 1\n mvi SRAM51, 1\n mvi SRAM52, 1\n
         end: jmp end\n",
        10_000,
    );
    assert_eq!(board.get_all(0x40, 4), [0x08, 0x00, 0x35, 0x12]);
    assert_eq!((board.get(0x65), board.get(0x66)), (0x34, 0x44));
    assert_eq!(board.get_all(0x50, 3), [0, 0, 1]);
    // The registers that point cannot point at themselves without end.
    let mut board = run(
        "mvi SINDEX, 0x6c\n mov SRAM30, SINDIR\n mvi DINDEX, 0x6d\n mvi DINDIR, 1\n end: jmp end\n",
        10_000,
    );
    assert_eq!((board.get(0x65), board.get(0x66), board.get(0x30)), (0x6d, 0x6e, 0));
}

#[test]
fn the_host_is_kept_waiting() {
    // PAUSEDIS around a loop that counts.
    let mut board = run(
        "or SEQCTL, SEQCTL, 0x40\n mvi SRAM33, 9\n mvi SRAM30, 200\n more: dec SRAM30\n jnz SRAM30, 0xff, more\n
         dec SRAM33\n jnz SRAM33, 0xff, more\n
         and SEQCTL, SEQCTL, 0xbf\n mvi SRAM31, 1\n mvi SRAM32, 2\n end: jmp end\n",
        5_000,
    );
    board.set(0x87, 0x06);
    assert_eq!(board.get(0x87) & 4, 0, "not yet");
    board.advance(1_000_000);
    assert_eq!(board.get(0x87) & 4, 4);
    assert_eq!(board.get_all(0x30, 3), [0, 0, 0], "it stopped as soon as it could");
    board.set(0x87, 0x02);
    board.advance(10_000);
    assert_eq!(board.get_all(0x30, 3), [0, 1, 2]);
}

#[test]
fn break_addresses() {
    let mut board = board();
    board.load(&assemble("nop\n nop\n mvi SRAM30, 1\n mvi SRAM31, 1\n end: jmp end\n").expect("our own"));
    board.set(0x67, 3);
    board.set(0x68, 0);
    board.set(0x60, 0x18);
    board.set(0x87, 0x02);
    board.advance(5_000);
    assert_eq!((board.get(0x87) & 4, board.get(0x91), board.get(0x62)), (4, 8, 3));
    assert_eq!(board.get_all(0x30, 2), [1, 0]);
    assert!(board.line());
    board.set(0x92, 8);
    assert!(!board.line());
    board.set(0x87, 0x02);
    board.advance(5_000);
    assert_eq!((board.get(0x87) & 4, board.get_all(0x30, 2)), (0, vec![1, 1]));
}

#[test]
fn illegal_operations() {
    for operation in [6, 7] {
        let mut board = board();
        board.load(&[alu(0, 0x30, 0x6a, 1, false), alu(operation, 0x31, 0x6a, 1, false)]);
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
        board.advance(5_000);
        assert_eq!((board.get(0x87) & 4, board.get(0x91), board.get(0x92)), (4, 8, 4));
        assert!(board.line());
        assert_eq!((board.get(0x30), board.get(0x31), board.get(0x62)), (1, 0, 1));
    }
}

#[test]
fn a_program_that_waits_costs_nothing() {
    let mut board = run("wait: jz SRAM30, 0xff, wait\n clr SRAM30\n inc SRAM31\n jmp wait\n", 100_000);
    assert_eq!(board.aic.next_deadline_nanos(), None);
    let before = board.aic.instructions();
    board.advance(1_000_000_000);
    assert_eq!(board.aic.instructions(), before);
    board.set(0x30, 1);
    board.advance(10_000);
    assert_eq!(board.get(0x31), 1);
    // Nested loops, a call in the loop, registers that come back to what they were.
    let mut board = run(
        "wait: mvi SINDEX, 0x30\n mvi SRAM50, 7\n scan: call test\n je SINDEX, 0x40, wait\n jmp scan\n
         test: mov ACCUM, SINDIR\n jz ACCUM, 0xff, out\n inc SRAM51\n out: ret\n",
        1_000_000,
    );
    assert_eq!(board.aic.next_deadline_nanos(), None, "16 bytes scanned over and over");
    board.set(0x3a, 1);
    board.advance(1_000_000);
    assert_ne!(board.get(0x51), 0);
}

#[test]
fn a_program_that_waits_under_pausedis_costs_nothing() {
    // As Linux 5.x waits: stops are held off around the look at its doorbell.
    let mut board = run(
        "or SEQCTL, SEQCTL, 0x40\n
         work: and SXFRCTL0, SXFRCTL0, 0xf7\n mov ACCUM, SRAM30\n
         wait: and SEQCTL, SEQCTL, 0xbf\n jnz SCSISEQ, 0x40, work\n or SEQCTL, SEQCTL, 0x40\n
         je SRAM31, 0, wait\n inc SRAM30\n inc SRAM32\n jmp work\n",
        1_000_000,
    );
    for round in 1..=20 {
        assert_eq!(board.aic.next_deadline_nanos(), None, "round {round}");
        let before = board.aic.instructions();
        board.advance(1_000_000_000);
        assert_eq!(board.aic.instructions(), before);
        // It stops when the host asks, but never between `or` and `and`.
        board.set(0x87, 0x06);
        board.advance(50 * round);
        while board.get(0x87) & 4 == 0 {
            board.advance(50);
        }
        assert_eq!(board.get(0x60) & 0x40, 0);
        board.set(0x31, round as u8);
        board.advance(1_000_000);
        assert_eq!(board.get(0x32), round as u8 - 1, "stopped");
        board.set(0x87, 0x02);
        board.advance(100_000);
        assert_eq!(board.get(0x32), round as u8);
    }
}

#[test]
fn a_program_that_never_waits_leaves_time() {
    let mut board = run("inc SRAM30\n jmp 0\n", 0);
    let mut ticks = 0u32;
    let start = board.now;
    while board.now < start + 10_000_000 {
        let due = board.aic.next_deadline_nanos().expect("it runs");
        board.advance(due - board.now);
        ticks += 1;
    }
    assert!(ticks < 300, "{ticks} ticks in 10 ms");
    let n = board.aic.instructions();
    assert!((90_000..=110_000).contains(&n), "{n} instructions in 10 ms");
    board.set(0x87, 0x06);
    assert_eq!(board.get(0x87) & 4, 4);
}

trait Nanos {
    fn next_deadline_nanos(&self) -> Option<u64>;
}

impl Nanos for slotone_aic7870::Aic7870 {
    fn next_deadline_nanos(&self) -> Option<u64> {
        slotone_bus::Device::next_deadline(self).map(|due| due.as_nanos())
    }
}
