//! The five programs, each with its result computed a second time in Rust.

use crate::emit::Code;

/// A program whose speed is measured.
pub(crate) struct Shape {
    /// Starts its result line.
    pub(crate) name: &'static str,
    /// What it does.
    pub(crate) what: &'static str,
    /// Runs with paging, identity pages of 4 KiB.
    pub(crate) paged: bool,
    /// Emits the subroutine `shape`: result in EAX, EBP and ESP kept.
    pub(crate) emit: fn(&mut Code),
    /// The result of one repetition.
    pub(crate) expected: fn() -> u32,
    /// Repetitions of a measurement: about a billion instructions, fewer where each takes long.
    pub(crate) repetitions: u32,
}

/// All of them.
pub(crate) const SHAPES: [Shape; 6] = [
    Shape {
        name: "W1",
        what: "sieve of 1,000,000 and CRC-32 by table",
        paged: false,
        emit: sieve,
        expected: sieve_expected,
        repetitions: 60,
    },
    Shape {
        name: "W1P",
        what: "the same with paging",
        paged: true,
        emit: sieve,
        expected: sieve_expected,
        repetitions: 60,
    },
    Shape {
        name: "W2",
        what: "fib(27) by recursion",
        paged: false,
        emit: fib,
        expected: || fib_of(27),
        repetitions: 100,
    },
    Shape {
        name: "W3",
        what: "REP MOVS and STOS, LODSB/STOSB loop",
        paged: false,
        emit: strings,
        expected: strings_expected,
        repetitions: 1000,
    },
    Shape {
        name: "W4",
        what: "x87 with 80-bit intermediate results",
        paged: false,
        emit: x87,
        expected: x87_expected,
        repetitions: 100,
    },
    Shape {
        name: "W5",
        what: "indirect calls, target at random",
        paged: false,
        emit: indirect,
        expected: indirect_expected,
        repetitions: 500,
    },
];

const TABLE: u32 = 0x10_0000;
// The three areas of the string moves are no power of two apart, so that they share no entries of a direct-mapped TLB.
const DATA: u32 = 0x20_0000;
const COPY: u32 = 0x25_1000;
const COPY2: u32 = 0x2A_3000;

const JB: u8 = 0x72;
const JAE: u8 = 0x73;
const JE: u8 = 0x74;
const JNE: u8 = 0x75;
const JMP: u8 = 0xEB;
const LOOP: u8 = 0xE2;

const SIEVE: u32 = 1_000_000;
const CRC_POLYNOMIAL: u32 = 0xEDB8_8320;

fn sieve(c: &mut Code) {
    c.label("shape");
    c.b(&[0xBF]).d(DATA); // mov edi, DATA
    c.b(&[0xB9]).d(SIEVE / 4); // mov ecx, SIEVE/4
    c.b(&[0xB8]).d(0x0101_0101); // mov eax, 1010101h
    c.b(&[0xF3, 0xAB]); // rep stosd
    c.b(&[0xBE]).d(2); // mov esi, 2
    c.label("prime");
    c.b(&[0x89, 0xF0]); // mov eax, esi
    c.b(&[0x0F, 0xAF, 0xC6]); // imul eax, esi
    c.b(&[0x3D]).d(SIEVE).short(JAE, "sieved"); // cmp eax, SIEVE; jae
    c.b(&[0x80, 0xBE]).d(DATA).b(&[0]).short(JE, "next"); // cmp byte [esi+DATA], 0; je
    c.label("strike");
    c.b(&[0xC6, 0x80]).d(DATA).b(&[0]); // mov byte [eax+DATA], 0
    c.b(&[0x01, 0xF0]); // add eax, esi
    c.b(&[0x3D]).d(SIEVE).short(JB, "strike"); // cmp eax, SIEVE; jb
    c.label("next").b(&[0x46]).short(JMP, "prime"); // inc esi; jmp
    c.label("sieved");
    c.b(&[0x31, 0xDB]); // xor ebx, ebx
    c.label("entry");
    c.b(&[0x89, 0xD8]); // mov eax, ebx
    c.b(&[0xB9]).d(8); // mov ecx, 8
    c.label("bit");
    c.b(&[0xD1, 0xE8]).short(JAE, "clear"); // shr eax, 1; jnc
    c.b(&[0x35]).d(CRC_POLYNOMIAL); // xor eax, CRC_POLYNOMIAL
    c.label("clear").b(&[0x49]).short(JNE, "bit"); // dec ecx; jnz
    c.b(&[0x89, 0x04, 0x9D]).d(TABLE); // mov [ebx*4+TABLE], eax
    c.b(&[0x43]); // inc ebx
    c.b(&[0x81, 0xFB]).d(256).short(JB, "entry"); // cmp ebx, 256; jb
    c.b(&[0xB8]).d(u32::MAX); // mov eax, -1
    c.b(&[0xBE]).d(DATA); // mov esi, DATA
    c.b(&[0xB9]).d(SIEVE); // mov ecx, SIEVE
    c.label("byte");
    c.b(&[0x0F, 0xB6, 0x16]); // movzx edx, byte [esi]
    c.b(&[0x30, 0xC2]); // xor dl, al
    c.b(&[0xC1, 0xE8, 8]); // shr eax, 8
    c.b(&[0x33, 0x04, 0x95]).d(TABLE); // xor eax, [edx*4+TABLE]
    c.b(&[0x46]); // inc esi
    c.b(&[0x49]).short(JNE, "byte"); // dec ecx; jnz
    c.b(&[0xF7, 0xD0]); // not eax
    c.b(&[0xC3]); // ret
}

fn sieve_expected() -> u32 {
    let mut prime = vec![1u8; SIEVE as usize];
    for n in (2..).take_while(|n| n * n < SIEVE as usize) {
        if prime[n] == 1 {
            (n * n..SIEVE as usize).step_by(n).for_each(|multiple| prime[multiple] = 0);
        }
    }
    !prime.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| c >> 1 ^ (CRC_POLYNOMIAL & 0u32.wrapping_sub(c & 1)))
    })
}

fn fib(c: &mut Code) {
    c.label("shape");
    c.b(&[0xB8]).d(27); // mov eax, 27
    c.label("fib");
    c.b(&[0x53, 0x56]); // push ebx; push esi
    c.b(&[0x89, 0xC3]); // mov ebx, eax
    c.b(&[0x83, 0xFB, 2]).short(JB, "small"); // cmp ebx, 2; jb
    c.b(&[0x8D, 0x43, 0xFF]).call("fib"); // lea eax, [ebx-1]; call
    c.b(&[0x89, 0xC6]); // mov esi, eax
    c.b(&[0x8D, 0x43, 0xFE]).call("fib"); // lea eax, [ebx-2]; call
    c.b(&[0x01, 0xF0]); // add eax, esi
    c.b(&[0x5E, 0x5B, 0xC3]); // pop esi; pop ebx; ret
    c.label("small");
    c.b(&[0x89, 0xD8]); // mov eax, ebx
    c.b(&[0x5E, 0x5B, 0xC3]); // pop esi; pop ebx; ret
}

fn fib_of(n: u32) -> u32 {
    (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0
}

const FILL: u32 = 0x9E37_79B9;
const DWORDS: u32 = 65_536;
const STEPS: u32 = 50_000;
const SUMMED: u32 = 4096;
/// Of the FNV hash.
const PRIME: u32 = 0x0100_0193;

fn strings(c: &mut Code) {
    c.label("shape");
    c.b(&[0xBF]).d(DATA); // mov edi, DATA
    c.b(&[0xB9]).d(DWORDS); // mov ecx, DWORDS
    c.b(&[0xB8]).d(FILL); // mov eax, FILL
    c.b(&[0xF3, 0xAB]); // rep stosd
    c.b(&[0xBE]).d(DATA); // mov esi, DATA
    c.b(&[0x89, 0xF7]); // mov edi, esi
    c.b(&[0xB9]).d(STEPS); // mov ecx, STEPS
    c.label("step");
    c.b(&[0xAC]); // lodsb
    c.b(&[0x00, 0xC8]); // add al, cl
    c.b(&[0xAA]).short(LOOP, "step"); // stosb; loop
    c.b(&[0xBE]).d(DATA); // mov esi, DATA
    c.b(&[0xBF]).d(COPY); // mov edi, COPY
    c.b(&[0xB9]).d(DWORDS); // mov ecx, DWORDS
    c.b(&[0xF3, 0xA5]); // rep movsd
    c.b(&[0xBE]).d(COPY + 1); // mov esi, COPY+1
    c.b(&[0xBF]).d(COPY2); // mov edi, COPY2
    c.b(&[0xB9]).d(4 * DWORDS - 4); // mov ecx, DWORDS*4-4
    c.b(&[0xF3, 0xA4]); // rep movsb
    c.b(&[0xBE]).d(COPY2); // mov esi, COPY2
    c.b(&[0xB9]).d(SUMMED); // mov ecx, SUMMED
    c.b(&[0x31, 0xD2]); // xor edx, edx
    c.label("sum");
    c.b(&[0xAD]); // lodsd
    c.b(&[0x69, 0xD2]).d(PRIME); // imul edx, edx, PRIME
    c.b(&[0x31, 0xC2]).short(LOOP, "sum"); // xor edx, eax; loop
    c.b(&[0x89, 0xD0]); // mov eax, edx
    c.b(&[0xC3]); // ret
}

fn strings_expected() -> u32 {
    let mut data = FILL.to_le_bytes().repeat(DWORDS as usize);
    for (at, byte) in data.iter_mut().take(STEPS as usize).enumerate() {
        *byte = byte.wrapping_add((STEPS - at as u32) as u8);
    }
    data[1..]
        .chunks_exact(4)
        .take(SUMMED as usize)
        .fold(0u32, |sum, d| sum.wrapping_mul(PRIME) ^ u32::from_le_bytes([d[0], d[1], d[2], d[3]]))
}

const ITERATIONS: u32 = 100_000;
const START: f64 = 0.3;
const RATE: f64 = 3.99;

/// The logistic map, in which one wrong bit anywhere changes every bit of the result, and a sum of thirds.
fn x87(c: &mut Code) {
    c.label("shape");
    c.b(&[0xDB, 0xE3]); // fninit
    c.b(&[0xD9, 0xEE]); // fldz
    c.b(&[0xDD, 0x05]).address("start"); // fld qword [start]
    c.b(&[0xB9]).d(ITERATIONS); // mov ecx, ITERATIONS
    c.label("iterate");
    c.b(&[0xD9, 0xC0]); // fld st(0)
    c.b(&[0xDC, 0x0D]).address("rate"); // fmul qword [rate]
    c.b(&[0xD9, 0xE8]); // fld1
    c.b(&[0xD8, 0xE2]); // fsub st, st(2)
    c.b(&[0xDE, 0xC9]); // fmulp st(1), st
    c.b(&[0xDD, 0xD9]); // fstp st(1)
    c.b(&[0xDD, 0x15]).d(DATA); // fst qword [DATA]
    c.b(&[0xDD, 0x05]).d(DATA); // fld qword [DATA]
    c.b(&[0xDA, 0x35]).address("three"); // fidiv dword [three]
    c.b(&[0xDE, 0xC2]); // faddp st(2), st
    c.b(&[0x49]).short(JNE, "iterate"); // dec ecx; jnz
    c.b(&[0xDD, 0x1D]).d(DATA); // fstp qword [DATA]
    c.b(&[0xA1]).d(DATA); // mov eax, [DATA]
    c.b(&[0xDD, 0x1D]).d(DATA); // fstp qword [DATA]
    c.b(&[0x33, 0x05]).d(DATA); // xor eax, [DATA]
    c.b(&[0xC3]); // ret
    c.label("start").b(&START.to_le_bytes());
    c.label("rate").b(&RATE.to_le_bytes());
    c.label("three").d(3);
}

fn x87_expected() -> u32 {
    use rustc_apfloat::ieee::{Double, X87DoubleExtended};
    use rustc_apfloat::{Float, FloatConvert};
    let load = |bits: u128| -> X87DoubleExtended { Double::from_bits(bits).convert(&mut false).value };
    let store = |value: X87DoubleExtended| -> u128 {
        let double: Double = value.convert(&mut false).value;
        double.to_bits()
    };
    let constant = |value: f64| load(u128::from(value.to_bits()));
    let (one, rate, three) = (constant(1.0), constant(RATE), constant(3.0));
    let (mut x, mut sum) = (constant(START), constant(0.0));
    for _ in 0..ITERATIONS {
        x = ((x * rate).value * (one - x).value).value;
        sum = (sum + (load(store(x)) / three).value).value;
    }
    (store(x) ^ store(sum)) as u32
}

const CALLS: u32 = 100_000;
const SEED: u32 = 12_345;
const MULTIPLIER: u32 = 1_103_515_245;

fn indirect(c: &mut Code) {
    c.label("shape");
    c.b(&[0xB9]).d(CALLS); // mov ecx, CALLS
    c.b(&[0xBB]).d(SEED); // mov ebx, SEED
    c.b(&[0x31, 0xC0]); // xor eax, eax
    c.label("pick");
    c.b(&[0x69, 0xDB]).d(MULTIPLIER); // imul ebx, ebx, MULTIPLIER
    c.b(&[0x81, 0xC3]).d(SEED); // add ebx, SEED
    c.b(&[0x89, 0xDA]); // mov edx, ebx
    c.b(&[0xC1, 0xEA, 16]); // shr edx, 16
    c.b(&[0x83, 0xE2, 7]); // and edx, 7
    c.b(&[0xFF, 0x14, 0x95]).address("targets"); // call [edx*4+targets]
    c.b(&[0x49]).short(JNE, "pick"); // dec ecx; jnz
    c.b(&[0xC3]); // ret
    c.label("t0").b(&[0x83, 0xC0, 1, 0xC3]); // add eax, 1; ret
    c.label("t1").b(&[0x31, 0xD8, 0xC3]); // xor eax, ebx; ret
    c.label("t2").b(&[0x29, 0xD0, 0xC3]); // sub eax, edx; ret
    c.label("t3").b(&[0xC1, 0xC0, 3, 0xC3]); // rol eax, 3; ret
    c.label("t4").b(&[0x8D, 0x04, 0x40, 0xC3]); // lea eax, [eax+eax*2]; ret
    c.label("t5").b(&[0xF7, 0xD0, 0xC3]); // not eax; ret
    c.label("t6").b(&[0x01, 0xC8, 0xC3]); // add eax, ecx; ret
    c.label("t7").b(&[0xF7, 0xD8, 0xC3]); // neg eax; ret
    c.label("targets");
    for name in ["t0", "t1", "t2", "t3", "t4", "t5", "t6", "t7"] {
        c.address(name);
    }
}

fn indirect_expected() -> u32 {
    let (mut result, mut random) = (0u32, SEED);
    for left in (1..=CALLS).rev() {
        random = random.wrapping_mul(MULTIPLIER).wrapping_add(SEED);
        let target = random >> 16 & 7;
        result = match target {
            0 => result.wrapping_add(1),
            1 => result ^ random,
            2 => result.wrapping_sub(target),
            3 => result.rotate_left(3),
            4 => result.wrapping_mul(3),
            5 => !result,
            6 => result.wrapping_add(left),
            _ => result.wrapping_neg(),
        };
    }
    result
}
