//! SSE of the Pentium III: the host judges values, MXCSR, EFLAGS; unit tests what a user-mode host cannot show.

use slotone_x86_cpu::fpu::FXSAVE_LEN;
use slotone_x86_cpu::simd::sse::{Form, MXCSR_MASK, Operand, ReservedBits, SimdException, Sse, form};

#[path = "fpu_host/image.rs"]
mod image;
#[path = "fpu_host/operands.rs"]
mod operands;

use operands::Rng;

fn splat(bits: u32) -> u128 {
    u128::from(bits) * 0x0000_0001_0000_0001_0000_0001_0000_0001
}

/// Four singles with the corners in them.
fn vector(rng: &mut Rng) -> u128 {
    (0..4).fold(0, |sum, _| {
        let near_one = (rng.f32() & 0x807F_FFFF) | (120 + rng.below(16) as u32) << 23;
        let single = match rng.below(8) {
            0 => [0, 0x8000_0000, 0x7F80_0000, 0xFF80_0000, 0x3F80_0000, 0x7F7F_FFFF][rng.below(6) as usize],
            1 => rng.f32(),
            2 => rng.u64() as u32,
            // Near the limits of the integers.
            3 => (rng.f32() & 0x807F_FFFF) | (156 + rng.below(4) as u32) << 23,
            _ => near_one,
        };
        sum << 32 | u128::from(single)
    })
}

#[cfg(target_arch = "x86_64")]
mod host {
    use core::arch::asm;

    use super::*;

    /// What goes into an instruction and what comes out.
    #[derive(Clone, Copy, PartialEq, Debug)]
    struct Registers {
        xmm0: u128,
        xmm1: u128,
        mm1: u64,
        eax: u32,
        mxcsr: u32,
        flags: u32,
    }

    /// Runs `PREFIX` 0F `OP` `MODRM` `TAIL` on XMM0, XMM1, MM1 and EAX; the tail is an immediate or a NOP.
    fn run<const PREFIX: u8, const OP: u8, const MODRM: u8, const TAIL: u8>(r: &mut Registers) {
        let mut saved = 0u32;
        let (mut rax, mut flags) = (u64::from(r.eax), 0u64);
        // SAFETY: the operands are this frame's; every exception is masked in `mxcsr`; MXCSR is put back, EMMS leaves
        // the x87 as Rust expects it.
        unsafe {
            asm!(
                "stmxcsr [{saved}]",
                "ldmxcsr [{mxcsr}]",
                "movups xmm0, [{x0}]",
                "movups xmm1, [{x1}]",
                "movq mm1, [{m1}]",
                ".byte {prefix}, 0x0F, {op}, {modrm}, {tail}",
                "pushfq",
                "pop {flags}",
                "movups [{x0}], xmm0",
                "movq [{m1}], mm1",
                "stmxcsr [{mxcsr}]",
                "ldmxcsr [{saved}]",
                "emms",
                saved = in(reg) &raw mut saved,
                mxcsr = in(reg) &raw mut r.mxcsr,
                x0 = in(reg) &raw mut r.xmm0,
                x1 = in(reg) &raw const r.xmm1,
                m1 = in(reg) &raw mut r.mm1,
                flags = inout(reg) flags,
                prefix = const PREFIX,
                op = const OP,
                modrm = const MODRM,
                tail = const TAIL,
                inout("rax") rax,
                out("xmm0") _, out("xmm1") _,
                out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
                out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
            );
        }
        r.eax = rax as u32;
        r.flags = flags as u32 & 0x8D5;
    }

    type HostFn = fn(&mut Registers);

    fn cases() -> usize {
        std::env::var("SLOTONE_FPU_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(20_000)
    }

    fn check(opcode: u8, scalar: bool, immediate: u8, native: HostFn) {
        let operands = form(opcode, scalar, false).expect("exists");
        let mut rng = Rng::new(u64::from(opcode) << 16 | u64::from(immediate) << 1 | u64::from(scalar));
        for _ in 0..cases() {
            let xmm0 = vector(&mut rng);
            let mut xmm1 = vector(&mut rng);
            if rng.below(8) == 0 {
                // Partners whose product or quotient lies next to the smallest normal number.
                let smallest = f64::from(f32::MIN_POSITIVE);
                let divide = rng.below(2) == 0;
                xmm1 = (0..4).rev().fold(0, |sum, i| {
                    let x = f64::from(f32::from_bits((xmm0 >> (32 * i)) as u32));
                    let partner = if divide { x / smallest } else { smallest / x } as f32;
                    sum << 32
                        | u128::from(partner.to_bits().wrapping_add(rng.below(3) as u32).wrapping_sub(1))
                });
            }
            let before = Registers {
                xmm0,
                xmm1,
                mm1: rng.bits(),
                eax: rng.integer() as u32,
                mxcsr: 0x1F80
                    | rng.u64() as u32 & 0xE000
                    | if rng.below(4) == 0 { rng.u64() as u32 & 0x3F } else { 0 },
                flags: 0,
            };
            let mut theirs = before;
            native(&mut theirs);
            let mut ours = before;
            let mut sse = Sse::new();
            sse.set_mxcsr(before.mxcsr).expect("no reserved bits");
            let src = match operands.src {
                Operand::Xmm => before.xmm1,
                Operand::Mmx => u128::from(before.mm1),
                _ => u128::from(before.eax),
            };
            let result = sse.execute(opcode, scalar, true, before.xmm0, src, immediate).expect("all masked");
            match operands.dst {
                Operand::Xmm => ours.xmm0 = result,
                Operand::Mmx => ours.mm1 = result as u64,
                Operand::Gpr => ours.eax = result as u32,
                _ => ours.flags = result as u32,
            }
            ours.mxcsr = sse.mxcsr();
            if operands.dst != Operand::Flags {
                ours.flags = theirs.flags;
            }
            let name = if scalar { "F3 0F" } else { "0F" };
            assert!(
                theirs == ours,
                "{name} {opcode:02X} {immediate:02X} from {before:X?}\n host {theirs:X?}\n ours {ours:X?}"
            );
        }
    }

    macro_rules! packed_and_scalar {
        ($($op:literal)*) => { $(
            check($op, false, 0, run::<0x3E, $op, 0xC1, 0x90>);
            check($op, true, 0, run::<0xF3, $op, 0xC1, 0x90>);
        )* };
    }

    macro_rules! packed {
        ($($op:literal)*) => { $(check($op, false, 0, run::<0x3E, $op, 0xC1, 0x90>);)* };
    }

    #[test]
    fn arithmetic() {
        packed_and_scalar!(0x51 0x58 0x59 0x5C 0x5D 0x5E 0x5F);
    }

    #[test]
    fn compares() {
        macro_rules! predicates {
            ($($imm:literal)*) => { $(
                check(0xC2, false, $imm, run::<0x3E, 0xC2, 0xC1, $imm>);
                check(0xC2, true, $imm, run::<0xF3, 0xC2, 0xC1, $imm>);
            )* };
        }
        predicates!(0 1 2 3 4 5 6 7);
        packed!(0x2E 0x2F);
    }

    #[test]
    fn moves_logic_and_shuffles() {
        packed!(0x10 0x12 0x14 0x15 0x16 0x28 0x50 0x54 0x55 0x56 0x57);
        check(0x10, true, 0, run::<0xF3, 0x10, 0xC1, 0x90>);
        // Stores between registers: XMM0 is in r/m.
        check(0x11, false, 0, run::<0x3E, 0x11, 0xC8, 0x90>);
        check(0x11, true, 0, run::<0xF3, 0x11, 0xC8, 0x90>);
        check(0x29, false, 0, run::<0x3E, 0x29, 0xC8, 0x90>);
        macro_rules! shuffles {
            ($($imm:literal)*) => { $(check(0xC6, false, $imm, run::<0x3E, 0xC6, 0xC1, $imm>);)* };
        }
        shuffles!(0x00 0x1B 0x4E 0x93 0xB1 0xE4 0xFF 0x39 0x72);
    }

    #[test]
    fn conversions() {
        // To and from MM1, EAX.
        check(0x2A, false, 0, run::<0x3E, 0x2A, 0xC1, 0x90>);
        check(0x2A, true, 0, run::<0xF3, 0x2A, 0xC0, 0x90>);
        check(0x2C, false, 0, run::<0x3E, 0x2C, 0xC9, 0x90>);
        check(0x2D, false, 0, run::<0x3E, 0x2D, 0xC9, 0x90>);
        check(0x2C, true, 0, run::<0xF3, 0x2C, 0xC1, 0x90>);
        check(0x2D, true, 0, run::<0xF3, 0x2D, 0xC1, 0x90>);
    }
}

#[test]
fn approximations_are_within_the_manual_s_error() {
    let mut rng = Rng::new(3);
    let mut sse = Sse::new();
    for _ in 0..100_000 {
        let bits = (rng.u64() as u32 & 0x007F_FFFF) | (1 + rng.below(251) as u32) << 23;
        let x = f64::from(f32::from_bits(bits));
        for (opcode, exact) in [(0x53, 1.0 / x), (0x52, 1.0 / x.sqrt())] {
            let result = sse.execute(opcode, false, true, 0, splat(bits), 0).expect("raises nothing");
            assert_eq!(result, splat(result as u32));
            let got = f64::from(f32::from_bits(result as u32));
            assert!(
                (got - exact).abs() <= exact * 1.5 / 4096.0,
                "0F {opcode:X} of {x:e}: {got:e}, not {exact:e}"
            );
        }
    }
    for (opcode, x, expected) in [
        (0x53, 0u32, 0x7F80_0000u32),
        (0x53, 0x8000_0001, 0xFF80_0000),
        (0x53, 0xFF80_0000, 0x8000_0000),
        (0x53, 0x7F7F_FFFF, 0),
        (0x53, 0x7F80_0001, 0x7FC0_0001),
        (0x52, 0x8000_0000, 0xFF80_0000),
        (0x52, 0xBF80_0000, 0xFFC0_0000),
        (0x52, 0x7F80_0000, 0),
        (0x52, 0x4080_0000, 0x3F00_0000),
    ] {
        assert_eq!(sse.execute(opcode, true, true, 0, u128::from(x), 0), Ok(u128::from(expected)), "{x:08X}");
    }
    assert_eq!(sse.mxcsr(), 0x1F80);
}

#[test]
fn unmasked_exceptions_keep_the_destination_and_hide_later_ones() {
    let mut sse = Sse::new();
    // Zero divide unmasked: 1/0 in one lane, an inexact 1/3 in the others.
    sse.set_mxcsr(0x1D80).expect("valid");
    let divisor = splat(0x4040_0000) & !0xFFFF_FFFF;
    assert_eq!(sse.execute(0x5E, false, true, splat(0x3F80_0000), divisor, 0), Err(SimdException));
    assert_eq!(sse.mxcsr(), 0x1D84, "the precision exception is not seen");
    // Overflow unmasked: found after computing, seen with what else was found.
    sse.set_mxcsr(0x1B80).expect("valid");
    assert_eq!(sse.execute(0x59, true, true, 0x7F7F_FFFF, 0x7F7F_FFFF, 0), Err(SimdException));
    assert_eq!(sse.mxcsr(), 0x1BA8);
    // Underflow unmasked: tiny is enough, exact or not.
    sse.set_mxcsr(0x1780).expect("valid");
    assert_eq!(sse.execute(0x59, true, true, 0x0080_0000, 0x3F00_0000, 0), Err(SimdException));
    assert_eq!(sse.mxcsr(), 0x1790);
    // Denormal operand unmasked.
    sse.set_mxcsr(0x1E80).expect("valid");
    assert_eq!(sse.execute(0x58, true, true, 1, 0x3F80_0000, 0), Err(SimdException));
    assert_eq!(sse.mxcsr(), 0x1E82);
}

#[test]
fn memory_forms_say_what_they_move() {
    use Operand::{Memory, MemoryAligned, Mmx, Xmm};
    let moves = |dst, src, store| Some(Form { dst, src, store, immediate: false });
    assert_eq!(form(0x10, true, true), moves(Xmm, Memory(4), false));
    assert_eq!(form(0x11, false, true), moves(Memory(16), Xmm, true));
    assert_eq!(form(0x29, false, true), moves(MemoryAligned, Xmm, true));
    assert_eq!(form(0x2C, false, true), moves(Mmx, Memory(8), false));
    assert_eq!(form(0x13, false, false), None);
    assert_eq!(form(0x54, true, true), None);
    let mut sse = Sse::new();
    let (dst, src) = (splat(0x1111_1111), 0x2222_2222u128);
    assert_eq!(sse.execute(0x10, true, false, dst, src, 0), Ok(src), "MOVSS from memory clears the rest");
    assert_eq!(
        sse.execute(0x10, true, true, dst, src, 0),
        Ok((dst & !0xFFFF_FFFF) | src),
        "between registers it merges"
    );
    assert_eq!(sse.execute(0x16, false, false, dst, src, 0), Ok((src << 64) | (dst & u128::from(u64::MAX))));
    assert_eq!(sse.execute(0x12, false, false, dst, src, 0), Ok((dst & !u128::from(u64::MAX)) | src));
    assert_eq!(sse.execute(0x17, false, false, 0, src << 64, 0), Ok(src));
}

#[test]
fn mxcsr_refuses_reserved_bits_and_fxrstor_with_it() {
    let mut sse = Sse::new();
    assert_eq!(sse.set_mxcsr(0x1FC0), Err(ReservedBits), "no DAZ on a Pentium III");
    assert_eq!(sse.mxcsr(), 0x1F80);
    let mut image = [0; FXSAVE_LEN];
    sse.xmm[3] = splat(0xDEAD_BEEF);
    sse.fxsave(&mut image);
    assert_eq!(image[28..32], MXCSR_MASK.to_le_bytes());
    assert_eq!(image[208..212], 0xDEAD_BEEFu32.to_le_bytes());
    let mut other = Sse::new();
    other.fxrstor(&image).expect("valid");
    assert_eq!(other, sse);
    image[26] = 1;
    image[160] = 0xFF;
    assert_eq!(other.fxrstor(&image), Err(ReservedBits));
    assert_eq!(other, sse, "nothing changed");
    let mut third = Sse::new();
    third.restore(&sse.save());
    assert_eq!(third, sse);
}
