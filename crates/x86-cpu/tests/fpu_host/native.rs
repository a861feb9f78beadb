//! Runs single x87 instructions on the host between an FRSTOR and an FNSAVE.

use core::arch::asm;

use super::image::StateImage;

type RegFn = fn(&mut StateImage, u32) -> (u32, u16);
type MemFn = fn(&mut StateImage, &mut [u8; 16]);

fn reg_form<const OP: u8, const MODRM: u8>(state: &mut StateImage, flags: u32) -> (u32, u16) {
    let mut rflags = u64::from(flags) | 2;
    let ax: u64;
    // SAFETY: the image is 108 writable bytes; FNSAVE leaves the unit initialised, which is its state at a call. The
    // stack is balanced, EFLAGS is loaded with arithmetic flags only. No exception can be delivered: FRSTOR's image
    // has none pending, and FNSAVE does not wait.
    unsafe {
        asm!(
            "frstor [{image}]",
            "push {flags}",
            "popfq",
            ".byte {op}, {modrm}",
            "pushfq",
            "pop {flags}",
            "fnsave [{image}]",
            image = in(reg) state.0.as_mut_ptr(),
            flags = inout(reg) rflags,
            inout("rax") 0u64 => ax,
            op = const OP,
            modrm = const MODRM,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    reset_control_word();
    rflags &= 0x8D5;
    (rflags as u32, ax as u16)
}

fn mem_form<const OP: u8, const MODRM: u8>(state: &mut StateImage, operand: &mut [u8; 16]) {
    // SAFETY: as above; the operand is at most ten bytes at RSI.
    unsafe {
        asm!(
            "frstor [{image}]",
            ".byte {op}, {modrm}",
            "fnsave [{image}]",
            image = in(reg) state.0.as_mut_ptr(),
            in("rsi") operand.as_mut_ptr(),
            op = const OP,
            modrm = const MODRM,
            out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
            out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
        );
    }
    reset_control_word();
}

/// FNSAVE leaves 037Fh, which is what Rust expects; said once more for the reader.
fn reset_control_word() {
    // SAFETY: FNINIT has no operands.
    unsafe { asm!("fninit") }
}

macro_rules! reg_row {
    ($op:literal; $($m:literal)*) => { [$(reg_form::<$op, $m> as RegFn),*] };
}
macro_rules! reg_table {
    ($($op:literal)*) => { [$(reg_row!($op;
        0xC0 0xC1 0xC2 0xC3 0xC4 0xC5 0xC6 0xC7 0xC8 0xC9 0xCA 0xCB 0xCC 0xCD 0xCE 0xCF
        0xD0 0xD1 0xD2 0xD3 0xD4 0xD5 0xD6 0xD7 0xD8 0xD9 0xDA 0xDB 0xDC 0xDD 0xDE 0xDF
        0xE0 0xE1 0xE2 0xE3 0xE4 0xE5 0xE6 0xE7 0xE8 0xE9 0xEA 0xEB 0xEC 0xED 0xEE 0xEF
        0xF0 0xF1 0xF2 0xF3 0xF4 0xF5 0xF6 0xF7 0xF8 0xF9 0xFA 0xFB 0xFC 0xFD 0xFE 0xFF)),*] };
}
static REG: [[RegFn; 64]; 8] = reg_table!(0xD8 0xD9 0xDA 0xDB 0xDC 0xDD 0xDE 0xDF);

macro_rules! mem_table {
    ($($op:literal)*) => { [$([
        mem_form::<$op, 0x06> as MemFn, mem_form::<$op, 0x0E>, mem_form::<$op, 0x16>, mem_form::<$op, 0x1E>,
        mem_form::<$op, 0x26>, mem_form::<$op, 0x2E>, mem_form::<$op, 0x36>, mem_form::<$op, 0x3E>]),*] };
}
static MEM: [[MemFn; 8]; 8] = mem_table!(0xD8 0xD9 0xDA 0xDB 0xDC 0xDD 0xDE 0xDF);

/// Runs a register form; the caller has checked that it exists. Answers EFLAGS and AX.
pub(crate) fn run_reg(opcode: u8, modrm: u8, state: &mut StateImage, flags: u32) -> (u32, u16) {
    REG[usize::from(opcode & 7)][usize::from(modrm & 63)](state, flags)
}

/// Runs a memory form with a plain operand.
pub(crate) fn run_mem(opcode: u8, reg: u8, state: &mut StateImage, operand: &mut [u8; 16]) {
    MEM[usize::from(opcode & 7)][usize::from(reg & 7)](state, operand);
}
