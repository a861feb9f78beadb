//! MMX and the Pentium III's additions to it against the host: whole FNSAVE images, so that tags, TOP and exponents
//! are judged with the values.
#![cfg(target_arch = "x86_64")]

use core::arch::asm;

use slotone_x86_cpu::fpu::{EnvFormat, Fpu, FpuCx};
use slotone_x86_cpu::simd::mmx;

#[path = "fpu_host/image.rs"]
mod image;
#[path = "fpu_host/operands.rs"]
mod operands;

use image::StateImage;
use operands::Rng;

fn cx() -> FpuCx {
    FpuCx { env: EnvFormat { wide: true, protected: true }, ..FpuCx::default() }
}

fn cases() -> usize {
    std::env::var("SLOTONE_FPU_CASES").ok().and_then(|v| v.parse().ok()).unwrap_or(8_000)
}

fn saved(fpu: &Fpu) -> StateImage {
    let mut image = StateImage([0; 108]);
    let _ = fpu.store(0xDD, 6 << 3, &mut image.0, &cx()).expect("FNSAVE does not wait");
    image
}

/// Runs 0F `OP` `MODRM` `TAIL`, where the tail is an immediate or a NOP, with EAX in and out.
fn host<const OP: u8, const MODRM: u8, const TAIL: u8>(state: &mut StateImage, eax: u32) -> u32 {
    let mut rax = u64::from(eax);
    // SAFETY: the image is 108 writable bytes and has no exception pending; FNSAVE leaves the unit initialised. The
    // instruction touches EAX and MMX registers only.
    unsafe {
        asm!(
            "frstor [{image}]",
            ".byte 0x0F, {op}, {modrm}, {tail}",
            "fnsave [{image}]",
            image = in(reg) state.0.as_mut_ptr(),
            inout("rax") rax,
            op = const OP,
            modrm = const MODRM,
            tail = const TAIL,
            out("mm0") _, out("mm1") _, out("mm2") _, out("mm3") _,
            out("mm4") _, out("mm5") _, out("mm6") _, out("mm7") _,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    rax as u32
}

type HostFn = fn(&mut StateImage, u32) -> u32;

/// A state whose significands are what packed arithmetic finds interesting.
fn packed_state(rng: &mut Rng) -> StateImage {
    let mut image = rng.state();
    for i in 0..8 {
        let se = image.st(i).0;
        let mut value = rng.bits();
        if rng.below(2) == 0 {
            // Bytes and words at the edges of saturation.
            for lane in 0..8 {
                let edge = [0x00, 0x01, 0x7F, 0x80, 0x81, 0xFE, 0xFF][rng.below(7) as usize];
                if rng.below(3) != 0 {
                    value = (value & !(0xFF << (8 * lane))) | (edge << (8 * lane));
                }
            }
        }
        // A shift count, now and then.
        if rng.below(4) == 0 {
            value = rng.below(70);
        }
        image.set_st(i, (se, value));
    }
    image
}

fn check(name: &str, seed: u8, native: HostFn, ours: impl Fn(&mut Fpu, u32) -> u32) {
    let mut rng = Rng::new(u64::from(seed));
    for _ in 0..cases() {
        let before = packed_state(&mut rng);
        let eax = rng.u64() as u32;
        let mut theirs = before;
        let their_eax = native(&mut theirs, eax);
        let mut fpu = Fpu::new();
        fpu.load(0xDD, 4 << 3, &before.0, &cx()).expect("nothing pending");
        let our_eax = ours(&mut fpu, eax);
        let mine = saved(&fpu);
        // Pointers and opcode (bytes 12-27) are not MMX's.
        assert_eq!(
            (&theirs.0[..12], &theirs.0[28..]),
            (&mine.0[..12], &mine.0[28..]),
            "{name} from {before:02X?}"
        );
        assert_eq!(their_eax, our_eax, "{name}: EAX from {before:02X?}");
    }
}

fn check_operation(opcode: u8, native: HostFn) {
    let f = mmx::operation(opcode).or(mmx::sse_operation(opcode)).expect("listed");
    check(&format!("0F {opcode:02X}"), opcode, native, |fpu, eax| {
        fpu.enter_mmx();
        let value = f(fpu.mmx(3), fpu.mmx(5));
        fpu.set_mmx(3, value);
        eax
    });
}

macro_rules! operations {
    ($($op:literal)*) => { [$(($op, host::<$op, 0xDD, 0x90> as HostFn)),*] };
}

#[test]
fn two_operand_operations() {
    let listed = operations!(
        0x60 0x61 0x62 0x63 0x64 0x65 0x66 0x67 0x68 0x69 0x6A 0x6B 0x74 0x75 0x76
        0xD1 0xD2 0xD3 0xD5 0xD8 0xD9 0xDA 0xDB 0xDC 0xDD 0xDE 0xDF
        0xE0 0xE1 0xE2 0xE3 0xE4 0xE5 0xE8 0xE9 0xEA 0xEB 0xEC 0xED 0xEE 0xEF
        0xF1 0xF2 0xF3 0xF5 0xF6 0xF8 0xF9 0xFA 0xFC 0xFD 0xFE
    );
    for (opcode, native) in listed {
        check_operation(opcode, native);
    }
    let known =
        (0..=255).filter(|&op| mmx::operation(op).is_some() || mmx::sse_operation(op).is_some()).count();
    assert_eq!(known, listed.len(), "every operation of ours was judged");
}

#[test]
fn shifts_by_immediate() {
    macro_rules! shifts {
        ($(($op:literal, $modrm:literal))*) => { [$(($op, $modrm, [
            (0, host::<$op, $modrm, 0> as HostFn), (7, host::<$op, $modrm, 7>), (15, host::<$op, $modrm, 15>),
            (16, host::<$op, $modrm, 16>), (31, host::<$op, $modrm, 31>), (33, host::<$op, $modrm, 33>),
            (63, host::<$op, $modrm, 63>), (64, host::<$op, $modrm, 64>), (255, host::<$op, $modrm, 255>)])),*] };
    }
    let groups = shifts!((0x71, 0xD3)(0x71, 0xE3)(0x71, 0xF3)(0x72, 0xD3)(0x72, 0xE3)(0x72, 0xF3)(
        0x73, 0xD3
    )(0x73, 0xF3));
    for (opcode, modrm, counts) in groups {
        let f = mmx::shift_by_immediate(opcode, modrm >> 3 & 7).expect("listed");
        for (count, native) in counts {
            check(&format!("0F {opcode:02X} {modrm:02X} {count:02X}"), count, native, |fpu, eax| {
                fpu.enter_mmx();
                let value = f(fpu.mmx(3), u64::from(count));
                fpu.set_mmx(3, value);
                eax
            });
        }
    }
    let known = (0x71..=0x73).flat_map(|op| (0..8).map(move |reg| (op, reg)));
    assert_eq!(known.filter(|&(op, reg)| mmx::shift_by_immediate(op, reg).is_some()).count(), groups.len());
}

#[test]
fn moves_and_emms() {
    check("MOVD MM3, EAX", 1, host::<0x6E, 0xD8, 0x90>, |fpu, eax| {
        fpu.enter_mmx();
        fpu.set_mmx(3, u64::from(eax));
        eax
    });
    check("MOVD EAX, MM3", 2, host::<0x7E, 0xD8, 0x90>, |fpu, _| {
        fpu.enter_mmx();
        fpu.mmx(3) as u32
    });
    check("MOVQ MM3, MM5", 3, host::<0x6F, 0xDD, 0x90>, |fpu, eax| {
        fpu.enter_mmx();
        fpu.set_mmx(3, fpu.mmx(5));
        eax
    });
    check("EMMS", 4, host::<0x77, 0x90, 0x90>, |fpu, eax| {
        fpu.emms();
        eax
    });
}

#[test]
fn pentium_iii_word_forms() {
    macro_rules! orders {
        ($($imm:literal)*) => { [$(($imm, host::<0x70, 0xDD, $imm> as HostFn, host::<0xC4, 0xD8, $imm> as HostFn,
            host::<0xC5, 0xC3, $imm> as HostFn)),*] };
    }
    for (imm, shuffle, insert, extract) in orders!(0x00 0x1B 0x4E 0x93 0xB1 0xE4 0xFF 0x39) {
        check("PSHUFW", imm, shuffle, |fpu, eax| {
            fpu.enter_mmx();
            fpu.set_mmx(3, mmx::pshufw(fpu.mmx(5), imm));
            eax
        });
        check("PINSRW", imm, insert, |fpu, eax| {
            fpu.enter_mmx();
            fpu.set_mmx(3, mmx::pinsrw(fpu.mmx(3), eax as u16, imm));
            eax
        });
        check("PEXTRW", imm, extract, |fpu, _| {
            fpu.enter_mmx();
            u32::from(mmx::pextrw(fpu.mmx(3), imm))
        });
    }
    check("PMOVMSKB", 9, host::<0xD7, 0xC3, 0x90>, |fpu, _| {
        fpu.enter_mmx();
        u32::from(mmx::pmovmskb(fpu.mmx(3)))
    });
}
