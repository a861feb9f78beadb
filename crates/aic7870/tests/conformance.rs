//! The sequencer beside a second one: an interpreter of our own that was written from the instruction set's description alone, on random
//! programs, with every instruction stepped or the run paused and saved anywhere. And what a program must not do to the machine.

mod common;

use common::Board;
use common::hand::{Hand, MESSAGE_OUT};
use proptest::prelude::*;
use slotone_aic7870::asm::{alu, assemble, branch, disassemble};
use slotone_aic7870::{Aic7870Config, Timing};
use slotone_bus::{Device, InspectValue};

const ACCUM: u8 = 0x64;
const SINDEX: u8 = 0x65;
const DINDEX: u8 = 0x66;
const ALLONES: u8 = 0x69;
const NONE: u8 = 0x6a;
const FLAGS: u8 = 0x6b;
const SINDIR: u8 = 0x6c;
const DINDIR: u8 = 0x6d;
const FUNCTION1: u8 = 0x6e;
const SEQADDR0: u8 = 0x62;
const SEQADDR1: u8 = 0x63;

/// The processor, with nothing around it.
#[derive(Debug, Clone)]
struct Model {
    program: Vec<u32>,
    /// Registers that are storage, the processor's own among them.
    file: [u8; 256],
    pc: u16,
    zero: bool,
    carry: bool,
    stack: [u16; 4],
    depth: usize,
}

impl Model {
    fn new(program: &[u32]) -> Self {
        let mut program = program.to_vec();
        program.resize(512, 0);
        let mut file = [0; 256];
        file[usize::from(ALLONES)] = 0xff;
        Self { program, file, pc: 0, zero: false, carry: false, stack: [0; 4], depth: 0 }
    }

    fn storage(address: u8) -> bool {
        matches!(address, 0x04 | 0x05 | 0x0f | 0x1a | 0x20..=0x5f | 0x64..=0x66 | 0x6e | 0xa0..=0xbf)
    }

    fn read(&mut self, address: u8) -> u8 {
        match address {
            SEQADDR0 => self.pc as u8,
            SEQADDR1 => (self.pc >> 8) as u8,
            FLAGS => u8::from(self.zero) * 2 + u8::from(self.carry),
            SINDIR => {
                let at = self.file[usize::from(SINDEX)];
                let value = if matches!(at, SINDIR | DINDIR) { 0 } else { self.read(at) };
                self.file[usize::from(SINDEX)] = at.wrapping_add(1);
                value
            }
            FUNCTION1 => 1 << (self.file[usize::from(FUNCTION1)] / 16 % 8),
            ALLONES => 0xff,
            at if Self::storage(at) => self.file[usize::from(at)],
            _ => 0,
        }
    }

    fn write(&mut self, address: u8, value: u8) {
        match address {
            SEQADDR0 => self.pc = self.pc & 0x100 | u16::from(value),
            SEQADDR1 => self.pc = self.pc & 0xff | u16::from(value & 1) << 8,
            DINDIR => {
                let at = self.file[usize::from(DINDEX)];
                if !matches!(at, SINDIR | DINDIR) {
                    self.write(at, value);
                }
                self.file[usize::from(DINDEX)] = self.file[usize::from(DINDEX)].wrapping_add(1);
            }
            at if Self::storage(at) => self.file[usize::from(at)] = value,
            _ => {}
        }
    }

    /// One instruction; `false` for an operation that does not exist.
    fn step(&mut self) -> bool {
        let word = self.program[usize::from(self.pc)];
        let (immediate, source, destination) = (word as u8, (word >> 8) as u8, (word >> 16) as u8);
        let (operation, bit24) = (word >> 25 & 15, word >> 24 & 1 == 1);
        if matches!(operation, 6 | 7) {
            return false;
        }
        let next = (self.pc + 1) % 512;
        self.pc = next;
        let a = self.read(source);
        let accumulator = self.file[usize::from(ACCUM)];
        let b = if immediate == 0 { accumulator } else { immediate };
        let target = u16::from(destination) + if bit24 { 256 } else { 0 };
        match operation {
            0..=5 => {
                let sum = u32::from(a) + u32::from(b) + u32::from(operation == 4 && self.carry);
                let value = match operation {
                    0 => a | b,
                    1 => a & b,
                    2 => a ^ b,
                    5 => self.rotate(a, immediate),
                    _ => {
                        self.carry = sum >= 256;
                        (sum % 256) as u8
                    }
                };
                self.zero = value == 0;
                self.write(destination, value);
                if bit24 {
                    self.depth = (self.depth + 3) % 4;
                    self.pc = self.stack[self.depth];
                }
            }
            8..=11 => {
                self.file[usize::from(SINDEX)] = a | immediate;
                if operation == 11 {
                    self.stack[self.depth] = next;
                    self.depth = (self.depth + 1) % 4;
                }
                if [true, self.carry, !self.carry, true][operation as usize - 8] {
                    self.pc = target;
                }
            }
            _ => {
                let equal = operation % 2 == 0;
                self.zero = if equal { a == b } else { a & b == 0 };
                if self.zero == (operation >= 14) {
                    self.pc = target;
                }
            }
        }
        true
    }

    /// Bit by bit: a rotation to the left, or one to the right if control bit 3 is set; then bits are cleared.
    fn rotate(&mut self, a: u8, control: u8) -> u8 {
        let (left, clear) = (control & 7, control >> 4);
        let to_right = control & 8 != 0;
        let mut value = a;
        if to_right {
            let n = if left == 0 && clear >= 8 { 8 } else { (8 - left) % 8 };
            for _ in 0..n {
                self.carry = value & 1 != 0;
                value = value.rotate_right(1);
            }
        } else {
            let n = if left == 0 && clear >= 8 { 8 } else { left };
            for _ in 0..n {
                self.carry = value & 0x80 != 0;
                value = value.rotate_left(1);
            }
        }
        for n in 0..clear.min(8) {
            value &= !(if to_right { 0x80 >> n } else { 1 << n });
        }
        value
    }
}

fn board(program: &[u32]) -> Board {
    let mut board = Board::new(Aic7870Config::default(), &[0]);
    board.load(program);
    board.set(0x05, 0);
    for at in [0x62, 0x63] {
        board.set(at, 0);
    }
    board
}

fn fill(board: &mut Board, model: &mut Model, values: &[(u8, u8)]) {
    for (at, value) in values {
        board.set(*at, *value);
        model.file[usize::from(*at)] = *value;
    }
}

/// What the processor is made of.
fn core(board: &mut Board) -> (u16, u8, [u8; 3]) {
    let pc = u16::from(board.get(SEQADDR0)) | u16::from(board.get(SEQADDR1)) << 8;
    (pc, board.get(FLAGS), [ACCUM, SINDEX, DINDEX].map(|at| board.get(at)))
}

fn expected_core(model: &mut Model) -> (u16, u8, [u8; 3]) {
    (model.pc, model.read(FLAGS), [ACCUM, SINDEX, DINDEX].map(|at| model.file[usize::from(at)]))
}

/// Both have the same registers, RAM and stack.
fn compare(board: &mut Board, model: &mut Model, what: &str) {
    assert_eq!(core(board), expected_core(model), "{what}");
    for at in (0..=255).filter(|at| Model::storage(*at) && *at != FUNCTION1) {
        assert_eq!(board.get(at), model.file[usize::from(at)], "{what}: register {at:02x}");
    }
    assert_eq!(board.get(FUNCTION1), model.read(FUNCTION1), "{what}");
    // The stack from its top down, low byte first; eight reads come back to the beginning.
    let entries = (1..=4).map(|n| model.stack[(model.depth + 4 - n) % 4]);
    let bytes: Vec<u8> = entries.flat_map(u16::to_le_bytes).collect();
    for round in 0..2 {
        let read: Vec<u8> = (0..8).map(|_| board.get(0x6f)).collect();
        assert_eq!(read, bytes, "{what}: the stack, reading it {round}");
    }
}

fn step(board: &mut Board) {
    board.set(0x87, 0x00);
    board.advance(2_000);
    assert_eq!(board.get(0x87) & 4, 4, "STEP pauses after an instruction");
}

/// Every operation with every flag, the accumulator and immediates, every kind of source and destination, with the return bit and without.
#[test]
fn each_operation_with_each_flag() {
    let sources = [0x30, ACCUM, SINDEX, ALLONES, NONE, FLAGS, SINDIR, SEQADDR0, FUNCTION1, 0xa3];
    let destinations = [0x31, ACCUM, DINDEX, NONE, DINDIR, SEQADDR0, 0x30];
    let operands =
        [(0x00, 0x00, 0x00), (0x80, 0x80, 0x11), (0xa5, 0x00, 0x5a), (0xff, 0x01, 0x80), (7, 7, 9)];
    let mut done = 0;
    let mut board = board(&[]);
    for operation in (0..=5).chain(8..16u8) {
        for (which, source) in sources.into_iter().enumerate() {
            for (zero, carry) in [(false, false), (false, true), (true, false), (true, true)] {
                // Two preparing instructions, a call to the one under test (so that RET has a place to go), in the upper half.
                let add = alu(3, NONE, if carry { ALLONES } else { NONE }, 1, false);
                let or = if zero { alu(1, NONE, NONE, 0xff, false) } else { alu(0, NONE, NONE, 1, false) };
                for (n, (a, immediate, accumulator)) in operands.into_iter().enumerate() {
                    let destination = destinations[(which + n) % destinations.len()];
                    for bit24 in [false, true] {
                        // A destination that is the program counter, or a RET, shall stay in the lower half or the upper one.
                        let word = match operation {
                            0..=5 => alu(operation, destination, source, immediate, bit24),
                            _ => branch(operation, 0x42 | u16::from(bit24) << 8, source, immediate),
                        };
                        let call = branch(11, 0x3, SINDEX, 0);
                        let program = [add, or, call, word];
                        let mut model = Model::new(&program);
                        board.set(0x60, 0x12); // SEQRESET: the stack is empty
                        board.load(&program);
                        fill(
                            &mut board,
                            &mut model,
                            &[
                                (0x30, a),
                                (0x31, 0x77),
                                (0xa3, a),
                                (ACCUM, accumulator),
                                (SINDEX, 0x30),
                                (DINDEX, 0x31),
                                (FUNCTION1, 0x50),
                                (0x04, 0),
                                (0x05, 0x07),
                            ],
                        );
                        board.set(0x60, 0x14);
                        for _ in 0..4 {
                            step(&mut board);
                            assert!(model.step());
                        }
                        let what = format!(
                            "{}, Z {zero} C {carry} a {a:02x} A {accumulator:02x}",
                            disassemble(word)
                        );
                        assert_eq!(core(&mut board), expected_core(&mut model), "{what}");
                        for at in [0x30, 0x31, 0x32, 0xa3] {
                            assert_eq!(board.get(at), model.file[usize::from(at)], "{what}: {at:02x}");
                        }
                        done += 1;
                    }
                }
            }
        }
    }
    assert_eq!(done, 14 * 10 * 4 * 5 * 2);
}

/// All 256 control bytes of the shifter, by execution.
#[test]
fn every_shift_and_rotation() {
    let program: Vec<u32> = (0..256).map(|control| alu(5, 0x31, 0x30, control as u8, false)).collect();
    for a in [0x00, 0x01, 0x80, 0xa5, 0x5a, 0xff] {
        let mut board = board(&program);
        let mut model = Model::new(&program);
        fill(&mut board, &mut model, &[(0x30, a)]);
        board.set(0x60, 0x14);
        for control in 0..256 {
            step(&mut board);
            model.step();
            let got = (board.get(0x31), board.get(FLAGS));
            assert_eq!(got, (model.file[0x31], model.read(FLAGS)), "{a:02x} by {control:02x}");
        }
    }
}

/// A fifth call overwrites the oldest return; a fifth return goes where the first went.
#[test]
fn the_stack_goes_round() {
    let mut program: Vec<u32> = (0..6).map(|n| branch(11, n + 1, SINDEX, 0)).collect();
    program.push(alu(1, NONE, NONE, 0xff, true));
    let mut board = board(&program);
    let mut model = Model::new(&program);
    board.set(0x60, 0x14);
    for n in 0..40 {
        step(&mut board);
        model.step();
        compare(&mut board, &mut model, &format!("step {n}"));
    }
}

/// The last word is followed by the first.
#[test]
fn the_program_goes_round() {
    let program: Vec<u32> =
        (0..512u32).map(|n| alu(3, 0x30 + (n & 7) as u8, 0x30 + (n & 7) as u8, 1, false)).collect();
    let mut board = board(&program);
    let mut model = Model::new(&program);
    board.set(0x62, 0xfe);
    board.set(0x63, 1);
    model.pc = 0x1fe;
    board.set(0x60, 0x14);
    for n in 0..5 {
        step(&mut board);
        model.step();
        compare(&mut board, &mut model, &format!("step {n}"));
    }
    assert_eq!(model.pc, 3);
}

/// A break at each address of a program, BRKADRINTEN on and off, and with BRKDIS.
#[test]
fn break_addresses() {
    let program: Vec<u32> =
        (0..300).map(|n| alu(3, 0x30 + (n & 15) as u8, ALLONES, n as u8, false)).collect();
    for at in [1u16, 2, 17, 255, 256, 257, 299] {
        for (disabled, enabled) in [(false, true), (false, false), (true, true)] {
            let mut board = board(&program);
            let mut model = Model::new(&program);
            board.set(0x67, at as u8);
            board.set(0x68, (at >> 8) as u8 | if disabled { 0x80 } else { 0 });
            board.set(0x60, if enabled { 0x18 } else { 0x10 });
            board.set(0x87, 0x02);
            board.advance(100_000);
            if disabled {
                assert_eq!(board.get(0x91), 0);
                continue;
            }
            (0..at).for_each(|_| assert!(model.step()));
            assert_eq!((board.get(0x87) & 4, board.get(0x91), board.line()), (4, 8, enabled), "{at}");
            compare(&mut board, &mut model, &format!("break at {at}"));
            // It goes on from there; the break does not hit again before the program comes round.
            board.set(0x92, 8);
            board.set(0x60, 0x14);
            step(&mut board);
            model.step();
            compare(&mut board, &mut model, &format!("after the break at {at}"));
        }
    }
}

/// No parity error is ever seen, whatever PERRORDIS and FAILDIS say, and whatever bits 31:29 of a word.
#[test]
fn parity() {
    for control in [0x10, 0x30, 0x90, 0xb0] {
        let word = alu(0, 0x30, NONE, 0x5a, false);
        let mut board = board(&[word | 7 << 29, word | 1 << 31, branch(8, 2, SINDEX, 0)]);
        board.set(0x60, control);
        board.set(0x87, 0x02);
        board.advance(10_000);
        assert_eq!((board.get(0x91), board.get(0x92), board.get(0x30)), (0, 0, 0x5a));
        assert_eq!(board.get(0x0c) & 4, 0, "SCSIPERR");
        // The bits are kept all the same.
        board.set(0x87, 0x06);
        board.set(0x60, 0x91);
        board.set(0x62, 0);
        let bytes = [0; 4].map(|_| board.get(0x61));
        assert_eq!(u32::from_le_bytes(bytes), word | 7 << 29);
    }
}

/// SEQINT and BRKADRINT stop it, CMDCMPLT does not; clearing the cause does not start it, HCNTRL does; codes of a nibble.
#[test]
fn interrupts_and_pauses() {
    for value in 0..=255u8 {
        let mut board =
            board(&[alu(0, 0x91, NONE, value, false), alu(0, 0x30, NONE, 1, false), branch(8, 2, SINDEX, 0)]);
        board.set(ACCUM, 0); // the accumulator stands for an immediate 0
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
        board.advance(10_000);
        let stops = value & 0x09 != 0;
        let status = value & 0x0b | if value & 1 != 0 { value & 0xf0 } else { 0 };
        assert_eq!(
            (board.get(0x91), board.get(0x87) & 4, board.get(0x30)),
            (status, u8::from(stops) * 4, u8::from(!stops)),
            "{value:02x}"
        );
        assert_eq!(board.line(), value & 3 != 0, "{value:02x}");
        board.set(0x92, 0x0f);
        assert_eq!((board.get(0x91), board.get(0x87) & 4, board.line()), (0, u8::from(stops) * 4, false));
        board.set(0x87, 0x02);
        board.advance(10_000);
        assert_eq!((board.get(0x30), board.get(0x87) & 4), (1, 0));
    }
}

/// A hard error ends PAUSEDIS, which the host cannot; only a reset of the chip clears it.
#[test]
fn an_illegal_operation_under_pausedis() {
    let mut board = board(&[alu(0, 0x60, 0x60, 0x40, false), 7 << 25]);
    board.set(0x60, 0x10);
    board.set(0x87, 0x02);
    board.advance(10_000);
    assert_eq!((board.get(0x60), board.get(0x87) & 4, board.get(0x91), board.get(0x92)), (0x10, 4, 8, 4));
    board.set(0x92, 0x1f);
    assert_eq!((board.get(0x91), board.get(0x92)), (0, 4));
    board.set(0x87, 0x01);
    board.set(0x87, 0x04);
    assert_eq!(board.get(0x92), 0);
}

/// Registers that a random program may use: all storage, indirection, the program counter.
fn register() -> impl Strategy<Value = u8> {
    prop_oneof![
        6 => 0x20..0x60u8,
        3 => 0xa0..0xc0u8,
        3 => prop::sample::select(vec![ACCUM, SINDEX, DINDEX]),
        2 => prop::sample::select(vec![SINDIR, DINDIR]),
        2 => prop::sample::select(vec![ALLONES, NONE, FLAGS, FUNCTION1, 0x04, 0x05, 0x0f, 0x1a]),
        1 => prop::sample::select(vec![SEQADDR0, SEQADDR1, 0x1b, 0x70, 0x7f, 0xc0, 0xff]),
    ]
}

/// An index that points at registers which are storage for some time.
fn pointer() -> impl Strategy<Value = u32> {
    (prop::sample::select(vec![SINDEX, DINDEX]), prop_oneof![0x20..0x58u8, 0xa0..0xb8u8, 0x64..0x6eu8])
        .prop_map(|(index, at)| alu(0, index, NONE, at, false))
}

fn instruction() -> impl Strategy<Value = u32> {
    let plain = (0..=5u8, register(), register(), any::<u8>(), prop::bool::weighted(0.1))
        .prop_map(|(operation, to, from, immediate, ret)| alu(operation, to, from, immediate, ret));
    let jump = (8..16u8, 0..512u16, register(), prop_oneof![Just(0), any::<u8>()])
        .prop_map(|(operation, to, from, immediate)| branch(operation, to, from, immediate));
    prop_oneof![6 => plain, 2 => jump, 2 => pointer()]
}

/// Indirection must not leave the registers that the model has.
fn stays(model: &Model) -> bool {
    [SINDEX, DINDEX].iter().all(|index| {
        let at = model.file[usize::from(*index)];
        Model::storage(at) || matches!(at, 0x1b | 0x62 | 0x63 | 0x69..=0x6d | 0x70..=0x7f | 0xc0..=0xff)
    })
}

/// Whether an instruction goes through a pointer.
fn indirect(word: u32) -> bool {
    let (source, destination, operation) = ((word >> 8) as u8, (word >> 16) as u8, word >> 25 & 15);
    source == SINDIR || operation < 8 && destination == DINDIR
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Random programs, stepped: after each instruction everything is as in the model; now and then by way of a saved state.
    #[test]
    fn random_programs_stepped(
        words in prop::collection::vec(instruction(), 512),
        memory in prop::collection::vec(any::<u8>(), 96),
        restores in prop::collection::vec(0..60usize, 0..3),
    ) {
        let mut board = board(&words);
        let mut model = Model::new(&words);
        let places = (0x20..0x60u8).chain(0xa0..0xc0);
        let values: Vec<_> = places.zip(memory).chain([(SINDEX, 0x20), (DINDEX, 0x40)]).collect();
        fill(&mut board, &mut model, &values);
        board.set(0x60, 0x14);
        for n in 0..60 {
            let word = model.program[usize::from(model.pc)];
            if indirect(word) && !stays(&model) {
                break;
            }
            if restores.contains(&n) {
                board.save_restore();
            }
            step(&mut board);
            prop_assert!(model.step());
            prop_assert_eq!(core(&mut board), expected_core(&mut model), "{}: {}", n, disassemble(word));
        }
        compare(&mut board, &mut model, "at the end");
    }

    /// The same programs at full speed, with pauses anywhere: the model goes as many instructions, and has the same.
    #[test]
    fn random_programs_paused(
        words in prop::collection::vec(instruction(), 512),
        memory in prop::collection::vec(any::<u8>(), 96),
        waits in prop::collection::vec((0..40_000u64, any::<bool>()), 1..12),
    ) {
        // Nothing that goes through pointers: at full speed nobody watches where they point.
        let nop = alu(1, NONE, NONE, 0xff, false);
        let words: Vec<u32> = words.into_iter().map(|word| if indirect(word) { nop } else { word }).collect();
        let mut board = board(&words);
        let mut model = Model::new(&words);
        let places = (0x20..0x60u8).chain(0xa0..0xc0);
        let values: Vec<_> = places.zip(memory).collect();
        fill(&mut board, &mut model, &values);
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
        for (nanos, restore) in waits {
            let before = board.aic.instructions();
            board.advance(nanos);
            board.set(0x87, 0x06);
            prop_assert_eq!(board.get(0x87) & 4, 4);
            let went = board.aic.instructions() - before;
            for _ in 0..went {
                prop_assert!(model.step());
            }
            compare(&mut board, &mut model, "paused");
            if restore {
                board.save_restore();
            }
            board.set(0x87, 0x02);
            // The write that starts it may already have let some instructions go.
            let more = board.aic.instructions().saturating_sub(if restore { 0 } else { before + went });
            for _ in 0..more {
                prop_assert!(model.step());
            }
        }
    }

    /// Any word that is an instruction comes back from its text; bits 31:29 have no meaning.
    #[test]
    fn any_word_comes_back(words in prop::collection::vec(any::<u32>(), 1..200)) {
        let text: String = words.iter().map(|word| disassemble(*word) + "\n").collect();
        let expected: Vec<u32> = words
            .iter()
            .map(|word| word & 0x1fff_ffff)
            .filter(|word| !matches!(word >> 25, 6 | 7))
            .collect();
        prop_assert_eq!(assemble(&text).map_err(|error| error.to_string()), Ok(expected));
    }
}

/// Runs a program for 20 ms of the machine's time; every tick's work is bounded, and the host gets the chip to stop at any time.
fn stays_bounded(source: &str, prepare: impl Fn(&mut Board)) -> Board {
    let none = Timing { access: 0, sector: 0, selection: 0, selection_timeout: 0, disconnect_after: 0 };
    let mut board = Board::new(Aic7870Config { timing: none, ..Aic7870Config::default() }, &[0, 1]);
    board.load(&assemble(source).expect("our own program"));
    board.set(0x02, 0x24);
    prepare(&mut board);
    board.set(0x60, 0x10);
    board.set(0x87, 0x02);
    let (end, mut ticks) = (board.now + 20_000_000, 0);
    while let Some(due) = board.aic.next_deadline().map(|due| due.as_nanos())
        && due < end
    {
        let before = board.aic.instructions();
        board.port.take_lines();
        board.advance(due.saturating_sub(board.now));
        let lines = board.port.take_lines().len();
        let went = board.aic.instructions() - before;
        ticks += 1;
        assert!(went <= 2 * 512, "{went} instructions in one tick");
        assert!(lines <= 2 * 512, "{lines} changes of the line in one tick");
        assert!(ticks <= 2_000, "{ticks} ticks before {} ns", board.now);
    }
    // The machine's registers answer, and the pause holds.
    board.set(0x87, 0x06);
    assert_eq!(board.get(0x87) & 4, 4);
    let before = board.aic.instructions();
    board.advance(1_000_000);
    assert_eq!(board.aic.instructions(), before);
    board
}

/// Selects target 0 with a byte of command after byte, again and again.
const ENDLESS: &str = "
    again: mvi SCSIID, 0x07
        mvi SXFRCTL0, 0x1a
        mvi SCSISEQ, 0x58
    loop: and ACCUM, SCSISIG, 0xe0
        mov SCSISIG, ACCUM
        mvi SSTAT0, 0x70
        mvi SSTAT1, 0xaf
        mov ALLZEROS, SCSIDATL
        jz SSTAT1, 0x08, put
        jmp again
    put: mov SCSIDATL, SRAM30
        jmp loop
";

#[test]
fn programs_without_an_end() {
    // Nothing but itself.
    stays_bounded("loop: jmp loop\n", |_| {});
    stays_bounded("loop: inc SRAM30\n jmp loop\n", |_| {});
    stays_bounded("loop: call loop\n", |_| {});
    stays_bounded("ret\n", |_| {});
    // Illegal after illegal: it stops at the first.
    stays_bounded("", |board| board.load(&[6 << 25; 512]));
    // PAUSEDIS for ever does not keep the host out of the registers; only CHIPRST gets through.
    let mut board = Board::new(Aic7870Config::default(), &[0]);
    board.load(&assemble("or SEQCTL, SEQCTL, 0x40\n loop: inc SRAM30\n jmp loop\n").expect("our own"));
    board.set(0x87, 0x02);
    board.advance(1_000_000);
    board.set(0x87, 0x06);
    board.advance(1_000_000);
    assert_eq!(board.get(0x87) & 4, 0);
    board.set(0x87, 0x01);
    assert_eq!(board.get(0x87), 0x05);
    // It stops and starts itself by writing HCNTRL.
    stays_bounded("loop: mvi HCNTRL, 0x04\n mvi HCNTRL, 0x02\n jmp loop\n", |_| {});
}

#[test]
fn floods_of_interrupts() {
    stays_bounded("loop: mvi INTSTAT, 0x02\n jmp loop\n", |_| {});
    stays_bounded("loop: mvi INTSTAT, 0x02\n mvi ERROR, 0x02\n jmp loop\n", |_| {});
    stays_bounded("loop: mvi HCNTRL, 0x12\n mvi HCNTRL, 0x02\n jmp loop\n", |_| {});
    // A cause that stands: SELTO of a selection that nobody answers, cleared and begun anew.
    stays_bounded(
        "loop: mvi SCSIID, 0x67\n mvi SIMODE1, 0x80\n mvi SCSISEQ, 0x40\n wait: jz SSTAT1, 0x80, wait\n
         mvi HCNTRL, 0x02\n mvi SSTAT1, 0x80\n mvi ERROR, 0x04\n jmp loop\n",
        |_| {},
    );
    // The host serves each SEQINT at once.
    let mut board = Board::new(Aic7870Config::default(), &[]);
    board.load(&assemble("loop: mvi INTSTAT, 0x31\n jmp loop\n").expect("our own"));
    board.set(0x87, 0x02);
    for _ in 0..10_000 {
        board.wait();
        board.set(0x92, 1);
        board.set(0x87, 0x02);
    }
    assert!(board.aic.instructions() <= 30_010);
}

#[test]
fn selections_without_an_end() {
    stays_bounded(ENDLESS, |board| board.set(0x30, 0));
    stays_bounded("loop: mvi SCSISEQ, 0x48\n jmp loop\n", |board| board.set(0x05, 0x07));
    stays_bounded("loop: mvi SCSISEQ, 0x48\n clr SCSISEQ\n jmp loop\n", |board| board.set(0x05, 0x67));
    // Bus resets.
    stays_bounded("loop: mvi SCSISEQ, 0x01\n clr SCSISEQ\n jmp loop\n", |_| {});
}

/// A target that disconnects and reselects for each of its commands, with a program that gives it new ones for ever.
#[test]
fn reselections_without_an_end() {
    let source = "
        again: mvi SCSIID, 0x07
            mvi SXFRCTL0, 0x1a
            mvi SCSISEQ, 0x58
        select: jnz SSTAT0, 0x60, bus
            jmp select
        bus: mvi SCSISEQ, 0x10
            mvi SSTAT1, 0x08
            mvi SSTAT0, 0x60
        loop: jnz SSTAT1, 0x08, free
            jz SSTAT1, 0x01, loop
            and ACCUM, SCSISIG, 0xe0
            mov SCSISIG, ACCUM
            je ACCUM, 0xa0, out
            je ACCUM, 0x80, command
            mov ALLZEROS, SCSIDATL
            jmp loop
        out: mvi SSTAT1, 0x40
            mvi SCSIDATL, 0xc0
            mvi SINDEX, 0x30
            jmp loop
        command: mov SCSIDATL, SINDIR
            jmp loop
        free: inc SRAM40
            jmp again
    ";
    for disconnect_after in [0, 5_000] {
        let timing = Timing { access: 6_000, sector: 0, disconnect_after, ..Timing::default() };
        let mut board = Board::new(Aic7870Config { timing, ..Aic7870Config::default() }, &[0]);
        board.load(&assemble(source).expect("our own program"));
        board.set(0x02, 0x24);
        board.set_all(0x30, &[0x08, 0, 0, 5, 1, 0]);
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
        let (end, mut ticks) = (board.now + 20_000_000, 0);
        while let Some(due) = board.aic.next_deadline().map(|due| due.as_nanos())
            && due < end
        {
            board.advance(due.saturating_sub(board.now));
            ticks += 1;
            assert!(ticks < 10_000, "{ticks} ticks before {} ns", board.now);
        }
        assert!(board.get(0x40) > 100 || ticks > 300, "it did get somewhere");
        board.set(0x87, 0x06);
        assert_eq!(board.get(0x87) & 4, 4);
    }
}

#[test]
fn dma_in_circles() {
    // Memory to FIFO and back, the FIFO cleared in between.
    let source = "
        loop: mvi HCNT0, 0xff
            mvi HCNT1, 0xff
            mvi HCNT2, 0xff
            mvi DFCNTRL, 0x0d
            mvi DFCNTRL, 0x08
            jmp loop
    ";
    stays_bounded(source, |_| {});
    // Where no memory answers.
    stays_bounded(source, |board| board.set(0x8b, 0xff));
    // A data phase whose bytes go to memory, into the bit bucket, and to where the program lies in a host's buffer.
    for control in [0x39, 0x38, 0x3d] {
        let board = stays_bounded(ENDLESS, |board| {
            board.set(0x30, 0x12);
            board.set_all(0x8c, &[0xff; 3]);
            board.set_all(0x08, &[0xff; 3]);
            board.set(0x93, control);
        });
        drop(board);
    }
    stays_bounded(ENDLESS, |board| {
        board.set(0x30, 0x08);
        board.set(0x02, 0xe4); // BITBUCKET, SWRAPEN
        board.set(0x93, 0x38);
    });
}

/// A count of the inspector's.
fn count(board: &Board, wanted: &str) -> u64 {
    let mut found = None;
    board.aic.inspect(&mut |name: &str, value: InspectValue| {
        if name == wanted
            && let InspectValue::Count(n) = value
        {
            found = Some(n);
        }
    });
    found.expect("a count")
}

/// A target that is told nothing of use stays in MESSAGE OUT for as long as ATN is up, and DMA gives it byte after byte: no write and no slice does
/// more of that than a bus has time for. Where no memory answers, every byte is a fault that is counted.
#[test]
fn messages_without_an_end() {
    const BYTES: u64 = 1_024;
    for (memory, faults) in [(0x0010_0000u32, false), (0x0020_0000, false), (0xff00_0000, true)] {
        let mut hand = Hand::new(Aic7870Config::default(), &[0]);
        hand.board.poke(0x0010_0000, &[0x08; 0x1000]); // NO OPERATION; elsewhere COMMAND COMPLETE, which no target takes, and IDENTIFY
        assert!(hand.select(0, true));
        assert_eq!(hand.phase(), Some(MESSAGE_OUT));
        let board = &mut hand.board;
        board.set(0x03, 0xb0);
        board.set_all(0x88, &memory.to_le_bytes());
        board.set_all(0x8c, &[0xff; 3]);
        board.set_all(0x08, &[0xff; 3]);
        let left = |board: &mut Board| {
            let bytes = board.get_all(0x08, 3);
            u64::from(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], 0]))
        };
        board.set(0x93, 0x3c);
        let went = 0xff_ffff - left(board);
        assert!((1..=BYTES).contains(&went), "{went} bytes by one write");
        assert_eq!(board.get(0x94) & 0x08, 0, "not HDONE: it is under way");
        assert_eq!(board.get(0x0b) & 0x05, 0, "nor SDONE");
        // It goes on by itself, at the pace of a bus, whether or not it is saved on the way.
        for n in 1..=100u64 {
            // The count of faults is not part of the state.
            if n % 7 == 0 && !faults {
                board.save_restore();
            }
            let before = left(board);
            board.advance(51_200);
            let went = before - left(board);
            assert!((1..=2 * BYTES).contains(&went), "{went} bytes in a slice");
        }
        assert!(0xff_ffff - left(board) > 90 * BYTES, "it goes on");
        if faults {
            assert_eq!(count(board, "dma_faults"), 0xff_ffff - left(board));
        }
        // Nothing is due for a transfer that was stopped.
        board.set(0x93, 0);
        let before = left(board);
        board.advance(1_000_000);
        assert_eq!((left(board), board.aic.next_deadline()), (before, None));
    }
    // A program that begins such transfers over and over, short ones and long ones.
    for low in ["0xff", "1"] {
        let source = format!(
            "loop: mvi STCNT0, {low}\n mvi STCNT1, 0x03\n mvi HCNT0, {low}\n mvi HCNT1, 0x03\n mvi DFCNTRL, 0x3c\n clr DFCNTRL\n
             inc SRAM30\n jmp loop\n"
        );
        let mut hand = Hand::new(Aic7870Config::default(), &[0]);
        assert!(hand.select(0, true));
        assert_eq!(hand.phase(), Some(MESSAGE_OUT));
        let board = &mut hand.board;
        board.set(0x03, 0xb0);
        board.load(&assemble(&source).expect("our own program"));
        board.set(0x8b, 0xff);
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
        let mut most = 0;
        for _ in 0..200 {
            let before = count(board, "dma_faults");
            board.advance(51_200);
            most = most.max(count(board, "dma_faults") - before);
        }
        assert!((1..=2 * BYTES).contains(&most), "{most} bytes in a slice");
    }
}

/// However long it takes and wherever it is stopped, such a transfer moves the bytes that it was told to.
#[test]
fn a_long_transfer_in_pieces() {
    let mut hand = Hand::new(Aic7870Config::default(), &[0]);
    hand.ready(0);
    assert!(hand.select(0, true));
    assert_eq!(hand.phase(), Some(MESSAGE_OUT));
    let board = &mut hand.board;
    board.poke(0x0010_0000, &[0x08; 5_000]);
    board.poke(0x0010_0000, &[0x80]);
    board.set(0x03, 0xb0);
    board.set_all(0x88, &0x0010_0000u32.to_le_bytes());
    board.set_all(0x8c, &5_000u32.to_le_bytes()[..3]);
    board.set_all(0x08, &5_000u32.to_le_bytes()[..3]);
    board.set(0x93, 0x3c);
    let mut turns = 0;
    while board.get(0x0b) & 1 == 0 {
        // Taken away and given back: it goes on where it was.
        let addresses = (board.get_all(0x88, 4), board.get_all(0x14, 4));
        assert_eq!(addresses.0, addresses.1, "no byte waits in between");
        board.set(0x93, 0x04);
        board.advance(7_000);
        board.save_restore();
        board.set(0x93, 0x3c);
        turns += 1;
        assert!(turns < 1_000, "it comes to its end");
    }
    assert!(turns > 3, "{turns} turns");
    assert_eq!((board.get_all(0x88, 4), board.get(0x94)), (0x0010_1388u32.to_le_bytes().to_vec(), 0x29));
    board.set(0x93, 0);
    // A byte by hand has its turn at once, whatever DMA did just before.
    board.set(0x0c, 0x40);
    hand.put(MESSAGE_OUT, 0x08);
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
}
