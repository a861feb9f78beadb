//! The x87 unit as the core sees it: what no user-mode host can judge, or what it judges differently from a P6.

use slotone_bus::state::{StateReader, StateWriter};
use slotone_x86_cpu::fpu::{
    C1, ES, EnvFormat, F80, FXSAVE_LEN, Fpu, FpuCx, FpuFault, FpuOutcome, FpuState, MemAccess, SF,
    memory_form, register_form_exists,
};

const REAL_16: EnvFormat = EnvFormat { wide: false, protected: false };
const REAL_32: EnvFormat = EnvFormat { wide: true, protected: false };
const PROTECTED_16: EnvFormat = EnvFormat { wide: false, protected: true };
const PROTECTED_32: EnvFormat = EnvFormat { wide: true, protected: true };

fn cx(env: EnvFormat) -> FpuCx {
    FpuCx { cs: 0x1234, eip: 0x8765, ds: 0xABCD, offset: 0x4321, eflags: 0, env }
}

/// A unit after FNINIT and FLD of a double at ABCD:4321 by the instruction at 1234:8765.
fn loaded() -> Fpu {
    let mut fpu = Fpu::new();
    fpu.fninit();
    fpu.load(0xDD, 0x06, &1.5f64.to_bits().to_le_bytes(), &cx(PROTECTED_32)).expect("nothing pending");
    fpu
}

fn env(fpu: &Fpu, format: EnvFormat) -> Vec<u8> {
    let mut out = vec![0; format.env_len()];
    let plan = fpu.store(0xD9, 6 << 3, &mut out, &cx(format)).expect("FNSTENV does not wait");
    assert!(plan.write);
    out
}

fn words(bytes: &[u8]) -> Vec<u16> {
    bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect()
}

#[test]
fn environment_images_in_all_four_formats() {
    let fpu = loaded();
    // CW, SW with TOP 7, tags with only R7 valid; FOP of DD 06 is 506h.
    assert_eq!(words(&env(&fpu, PROTECTED_16)), [0x037F, 0x3800, 0x3FFF, 0x8765, 0x1234, 0x4321, 0xABCD]);
    // Linear addresses 12340h + 8765h = 1AAA5h and ABCD0h + 4321h = AFFF1h.
    assert_eq!(words(&env(&fpu, REAL_16)), [0x037F, 0x3800, 0x3FFF, 0xAAA5, 0x1506, 0xFFF1, 0xA000]);
    let protected = [
        0x037F, 0xFFFF, 0x3800, 0xFFFF, 0x3FFF, 0xFFFF, 0x8765, 0, 0x1234, 0x0506, 0x4321, 0, 0xABCD, 0xFFFF,
    ];
    assert_eq!(words(&env(&fpu, PROTECTED_32)), protected);
    let real = [
        0x037F, 0xFFFF, 0x3800, 0xFFFF, 0x3FFF, 0xFFFF, 0xAAA5, 0xFFFF, 0x1506, 0, 0xFFF1, 0xFFFF, 0xA000, 0,
    ];
    assert_eq!(words(&env(&fpu, REAL_32)), real);
}

#[test]
fn environments_load_back_as_they_were_stored() {
    let fpu = loaded();
    for format in [REAL_16, REAL_32, PROTECTED_16, PROTECTED_32] {
        let image = env(&fpu, format);
        // The tags of full registers follow from their contents, so the registers are the same.
        let mut other = fpu.clone();
        other.fninit();
        other.load(0xD9, 4 << 3, &image, &cx(format)).expect("nothing pending");
        assert_eq!(env(&other, format), image, "{format:?}");
        let mut state = vec![0; format.state_len()];
        let plan = fpu.store(0xDD, 6 << 3, &mut state, &cx(format)).expect("FNSAVE does not wait");
        let mut third = Fpu::new();
        third.load(0xDD, 4 << 3, &state, &cx(format)).expect("nothing pending");
        let mut again = vec![0; format.state_len()];
        let _ = third.store(0xDD, 6 << 3, &mut again, &cx(format)).expect("FNSAVE does not wait");
        assert_eq!(again, state, "{format:?}");
        // Once committed, FNSAVE has initialised the unit.
        third.commit_store(0xDD, 6 << 3, plan, &cx(format));
        let mut fresh = Fpu::new();
        fresh.fninit();
        assert_eq!((third.control_word(), third.status_word(), third.tag_word()), (0x037F, 0, 0xFFFF));
        assert_eq!(env(&third, format), env(&fresh, format));
    }
}

#[test]
fn fnstenv_masks_exceptions_only_when_committed() {
    let mut fpu = loaded();
    fpu.set_control_word(0x0340);
    let mut out = [0; 28];
    let plan = fpu.store(0xD9, 6 << 3, &mut out, &cx(PROTECTED_32)).expect("FNSTENV does not wait");
    assert_eq!(fpu.control_word(), 0x0340);
    fpu.commit_store(0xD9, 6 << 3, plan, &cx(PROTECTED_32));
    assert_eq!(fpu.control_word(), 0x037F);
}

#[test]
fn an_unmasked_exception_waits_for_the_next_waiting_instruction() {
    let mut fpu = Fpu::new();
    fpu.fninit();
    fpu.set_control_word(0x037B);
    fpu.fld_f80(F80::ONE);
    fpu.fld_f80(F80::ZERO);
    // FDIVP: 1 / 0 with zero divide unmasked. Nothing is stored, nothing popped.
    let mut cx = cx(PROTECTED_32);
    assert_eq!(fpu.execute_reg(0xDE, 0xF9, &mut cx), Ok(FpuOutcome::Done));
    assert!(fpu.pending());
    assert_eq!(fpu.status_word(), 0xB084);
    assert_eq!((fpu.st(0), fpu.st(1)), (F80::ZERO, F80::ONE));
    let before = fpu.clone();
    for (opcode, modrm) in [(0xD9, 0xD0), (0xD8, 0xC0), (0xDD, 0xC0), (0xDB, 0xF1)] {
        assert_eq!(fpu.execute_reg(opcode, modrm, &mut cx), Err(FpuFault::PendingException));
    }
    assert_eq!(fpu.load(0xD9, 5 << 3, &[0x7F, 0x03], &cx), Err(FpuFault::PendingException));
    assert_eq!(fpu.store(0xDD, 3 << 3, &mut [0; 8], &cx), Err(FpuFault::PendingException));
    assert_eq!(fpu, before);
    // The non-waiting ones go through.
    assert_eq!(fpu.execute_reg(0xDF, 0xE0, &mut cx), Ok(FpuOutcome::StoreAx(0xB084)));
    let mut word = [0; 2];
    assert!(fpu.store(0xD9, 7 << 3, &mut word, &cx).is_ok_and(|plan| plan.write));
    assert_eq!(u16::from_le_bytes(word), 0x037B);
    assert_eq!(fpu.execute_reg(0xDB, 0xE2, &mut cx), Ok(FpuOutcome::Done));
    assert!(!fpu.pending());
    assert_eq!(fpu.status_word(), 0x3000);
}

#[test]
fn unmasking_a_raised_exception_makes_it_pending() {
    let mut fpu = Fpu::new();
    fpu.fninit();
    fpu.fld_f80(F80::ONE);
    fpu.fld_f80(F80::ZERO);
    fpu.fdiv_st(1, 0);
    assert!(!fpu.pending());
    assert_eq!(fpu.st(1), F80::infinity(0));
    fpu.set_control_word(0x037B);
    assert_eq!(fpu.status_word() & ES, ES);
    fpu.set_control_word(0x037F);
    assert_eq!(fpu.status_word() & ES, 0);
}

#[test]
fn a_store_that_is_not_committed_leaves_no_trace() {
    let mut fpu = loaded();
    let mut cx = cx(PROTECTED_32);
    fpu.fld_f80(F80::new(0x7FFE, u64::MAX));
    let before = fpu.clone();
    // FSTP m32 overflows; as if the write had faulted, nothing is committed.
    let mut out = [0; 4];
    assert!(fpu.store(0xD9, 3 << 3, &mut out, &cx).is_ok_and(|plan| plan.write));
    assert_eq!(u32::from_le_bytes(out), f32::INFINITY.to_bits());
    assert_eq!(fpu, before);
    // The second try goes through.
    cx.offset = 0x1000;
    let plan = fpu.store(0xD9, 3 << 3, &mut out, &cx).expect("not pending");
    fpu.commit_store(0xD9, 3 << 3, plan, &cx);
    assert_eq!(fpu.st(0), F80::new(0x3FFF, 0xC000_0000_0000_0000));
    assert_eq!(fpu.status_word() & 0x023F, 0x0228, "overflow and precision, rounded up");
    assert_eq!(fpu.save().data_offset, 0x1000);
}

#[test]
fn an_unmasked_overflow_writes_nothing_and_pops_nothing() {
    let mut fpu = Fpu::new();
    fpu.fninit();
    fpu.set_control_word(0x0377);
    fpu.fld_f80(F80::new(0x7FFE, u64::MAX));
    let mut out = [0xEE; 8];
    let plan = fpu.store(0xDD, 3 << 3, &mut out, &cx(PROTECTED_32)).expect("not pending");
    assert!(!plan.write);
    fpu.commit_store(0xDD, 3 << 3, plan, &cx(PROTECTED_32));
    assert!(fpu.pending());
    assert!(!fpu.is_empty(0));
}

#[test]
fn fcomi_clears_c1_and_answers_flags() {
    let mut fpu = Fpu::new();
    fpu.fninit();
    let mut cx = cx(PROTECTED_32);
    fpu.fld_f80(F80::ONE);
    fpu.fld_f80(F80::INDEFINITE);
    // FXAM of a negative NaN sets C1.
    fpu.execute_reg(0xD9, 0xE5, &mut cx).expect("exists");
    assert_eq!(fpu.status_word() & C1, C1);
    assert_eq!(fpu.execute_reg(0xDB, 0xE9, &mut cx), Ok(FpuOutcome::Flags(0x45)));
    assert_eq!(fpu.status_word() & (C1 | 0x3F), 0, "FUCOMI of a quiet NaN is no exception");
    assert_eq!(fpu.execute_reg(0xDF, 0xF1, &mut cx), Ok(FpuOutcome::Flags(0x45)));
    assert_eq!(fpu.status_word() & 0x3F, 1, "FCOMIP of a quiet NaN is invalid");
    assert_eq!(fpu.st(0), F80::ONE);
}

#[test]
fn stack_faults_set_sf_and_c1() {
    let mut fpu = Fpu::new();
    fpu.fninit();
    for _ in 0..9 {
        fpu.fld_constant(0);
    }
    assert_eq!(fpu.status_word(), 0x3800 | SF | 1 | C1);
    assert_eq!(fpu.st(0), F80::INDEFINITE);
    fpu.fninit();
    fpu.fchs();
    assert_eq!(fpu.status_word(), SF | 1);
}

#[test]
fn packed_decimal_holds_eighteen_digits() {
    let mut fpu = Fpu::new();
    for (value, expected) in [
        (999_999_999_999_999_999, [0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x00]),
        (-999_999_999_999_999_999, [0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x99, 0x80]),
        (1_000_000_000_000_000_000, [0, 0, 0, 0, 0, 0, 0, 0xC0, 0xFF, 0xFF]),
        (1_234_567_890, [0x90, 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0, 0]),
    ] {
        fpu.fninit();
        fpu.fild(value);
        let mut out = [0; 10];
        let plan = fpu.store(0xDF, 6 << 3, &mut out, &cx(PROTECTED_32)).expect("not pending");
        assert!(plan.write);
        assert_eq!(out, expected, "{value}");
        fpu.commit_store(0xDF, 6 << 3, plan, &cx(PROTECTED_32));
        assert_eq!(fpu.status_word() & 0x3F, u16::from(expected[9] == 0xFF), "{value}");
    }
}

#[test]
fn reset_and_fninit_differ() {
    let fpu = Fpu::new();
    assert_eq!((fpu.control_word(), fpu.status_word(), fpu.tag_word()), (0x0040, 0, 0x5555));
    let mut fpu = loaded();
    fpu.fninit();
    assert_eq!((fpu.control_word(), fpu.status_word(), fpu.tag_word()), (0x037F, 0, 0xFFFF));
    assert_eq!(fpu.save().instruction_offset, 0);
}

#[test]
fn fxsave_keeps_everything_and_fxrstor_brings_it_back() {
    let mut fpu = loaded();
    fpu.fld_constant(3);
    let mut image = [0xCC; FXSAVE_LEN];
    fpu.fxsave(&mut image);
    assert_eq!(image[4], 0xC0, "R6 and R7 are full");
    assert_eq!(image[8..12], 0x8765u32.to_le_bytes());
    assert_eq!(image[32..42], F80::new(0x4000, 0xC90F_DAA2_2168_C235).to_bytes());
    assert_eq!(image[24..32], [0xCC; 8], "MXCSR is not the x87's");
    let mut other = Fpu::new();
    other.fxrstor(&image);
    assert_eq!(other, fpu);
}

#[test]
fn a_saved_state_is_plain_data_and_any_bytes_are_a_state() {
    let mut fpu = loaded();
    fpu.set_control_word(0x0C7F);
    let mut writer = StateWriter::new();
    writer.section("x87", 1, &fpu.save());
    let bytes = writer.into_bytes();
    let state: FpuState = StateReader::new(&bytes).section("x87", 1).expect("just written");
    let mut other = Fpu::new();
    other.restore(&state);
    assert_eq!(other, fpu);
    let hostile = FpuState {
        control: 0xFFFF,
        status: 0xFFFF,
        tags: 0xFF,
        significands: [u64::MAX; 8],
        exponents: [0x1234; 8],
        opcode: 0xFFFF,
        instruction_selector: 0xFFFF,
        instruction_offset: u32::MAX,
        data_selector: 0xFFFF,
        data_offset: u32::MAX,
    };
    other.restore(&hostile);
    assert_eq!(other.control_word(), 0x1F7F);
    assert!(!other.pending(), "all exceptions are masked, so ES follows them");
}

#[test]
fn every_opcode_is_an_instruction_or_undefined_and_none_panics() {
    let mut forms = 0;
    for opcode in 0..=255u8 {
        for modrm in 0..=255u8 {
            let mut fpu = Fpu::new();
            fpu.fninit();
            for (se, sig) in [(0xFFFF, 0xC000_0000_0000_0001), (0, 1), (0x7FFE, u64::MAX), (0xC000, 1 << 63)]
            {
                fpu.fld_f80(F80::new(se, sig));
            }
            let mut cx = cx(PROTECTED_16);
            if modrm >= 0xC0 {
                let exists = (0xD8..=0xDF).contains(&opcode) && register_form_exists(opcode, modrm);
                assert_eq!(fpu.execute_reg(opcode, modrm, &mut cx) == Err(FpuFault::InvalidOpcode), !exists);
                forms += usize::from(exists);
                continue;
            }
            let mut buffer = [0xFF; 108];
            match memory_form(opcode, modrm).access {
                MemAccess::Load(n) => {
                    fpu.load(opcode, modrm, &buffer[..usize::from(n)], &cx).expect("in order")
                }
                MemAccess::LoadEnv => fpu.load(opcode, modrm, &buffer[..14], &cx).expect("in order"),
                MemAccess::LoadState => fpu.load(opcode, modrm, &buffer[..94], &cx).expect("in order"),
                MemAccess::Undefined => {
                    assert!(fpu.load(opcode, modrm, &buffer[..4], &cx).is_err());
                    assert!(fpu.store(opcode, modrm, &mut buffer[..4], &cx).is_err());
                }
                store => {
                    let len = match store {
                        MemAccess::Store(n) => usize::from(n),
                        MemAccess::StoreEnv => 14,
                        _ => 94,
                    };
                    let plan = fpu.store(opcode, modrm, &mut buffer[..len], &cx).expect("in order");
                    fpu.commit_store(opcode, modrm, plan, &cx);
                }
            }
        }
    }
    // The P6's map of the escape opcodes, aliases included.
    assert_eq!(forms, 64 + 52 + 33 + 53 + 64 + 48 + 57 + 49);
}
