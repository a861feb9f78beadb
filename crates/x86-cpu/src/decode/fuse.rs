//! Which pairs of instructions become one handler: see [`crate::ops::fused`].

use crate::block::{Handler, Op};
use crate::ops::{Flat, fused};

/// What an instruction can be in a pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// Neither.
    None,
    /// The first: its kind as a const of [`fused`], and its operands; on bytes or doublewords.
    First {
        kind: u8,
        operands: Operands,
        byte: bool,
    },
    /// A conditional jump in flat code.
    Jump(u8),
    /// PUSH or POP of a doubleword register on a flat stack.
    Push,
    Pop,
    /// MOV of doubleword registers.
    Move {
        to: u8,
        from: u8,
    },
    /// RET in flat code.
    Ret,
}

/// Operands of the first of a pair; memory is flat.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operands {
    RegReg,
    RegImm,
    MemReg,
    RegMem,
    MemImm,
}

/// Makes `first` do the work of the one behind it too, if there is a handler for the two.
pub(crate) fn fuse(first: &mut Op, pair: Pair, second: &Op, second_pair: Pair) {
    match (pair, second_pair) {
        (Pair::First { kind, operands, byte }, Pair::Jump(cc)) => {
            fuse_jump(first, (kind, operands, byte), second, cc);
        }
        (Pair::Push, Pair::Push) => (first.run, first.reg) = (fused::push_push, second.rm),
        (Pair::Pop, Pair::Pop) => (first.run, first.reg) = (fused::pop_pop, second.rm),
        (Pair::Push, Pair::Move { to, from }) => {
            (first.run, first.reg, first.base) = (fused::push_move, to, from);
        }
        (Pair::Pop, Pair::Ret) => (first.run, first.imm) = (fused::pop_ret, second.imm),
        _ => {}
    }
}

fn fuse_jump(first: &mut Op, (kind, operands, byte): (u8, Operands, bool), jump: &Op, cc: u8) {
    if operands == Operands::MemImm && (!fits(first.imm, byte) || jump.imm as i16 as u32 != jump.imm) {
        return;
    }
    let Some(run) = handler(kind, operands, byte, cc) else { return };
    first.run = run;
    first.opcode = jump.len;
    first.link = jump.link;
    match operands {
        Operands::RegReg | Operands::RegImm => first.disp = jump.imm,
        Operands::MemReg | Operands::RegMem => first.imm = jump.imm,
        Operands::MemImm => first.imm = first.imm & 0xFFFF | jump.imm << 16,
    }
}

/// Whether an immediate comes back from its low 16 bits.
fn fits(imm: u32, byte: bool) -> bool {
    byte || imm as i16 as u32 == imm
}

fn handler(kind: u8, operands: Operands, byte: bool, cc: u8) -> Option<Handler> {
    use Operands::{MemImm, MemReg, RegImm, RegMem, RegReg};
    use fused::{AND, CMP, DEC, SUB, TEST};
    macro_rules! conditions {
        ($f:ident, [$($t:ty),*], $kind:expr) => {{
            let table: [Handler; 16] = [
                fused::$f::<$($t,)* { $kind }, 0>, fused::$f::<$($t,)* { $kind }, 1>,
                fused::$f::<$($t,)* { $kind }, 2>, fused::$f::<$($t,)* { $kind }, 3>,
                fused::$f::<$($t,)* { $kind }, 4>, fused::$f::<$($t,)* { $kind }, 5>,
                fused::$f::<$($t,)* { $kind }, 6>, fused::$f::<$($t,)* { $kind }, 7>,
                fused::$f::<$($t,)* { $kind }, 8>, fused::$f::<$($t,)* { $kind }, 9>,
                fused::$f::<$($t,)* { $kind }, 10>, fused::$f::<$($t,)* { $kind }, 11>,
                fused::$f::<$($t,)* { $kind }, 12>, fused::$f::<$($t,)* { $kind }, 13>,
                fused::$f::<$($t,)* { $kind }, 14>, fused::$f::<$($t,)* { $kind }, 15>,
            ];
            table[usize::from(cc & 15)]
        }};
    }
    macro_rules! sizes {
        ($f:ident, [$($m:ty)?], $kind:expr) => {
            if byte { conditions!($f, [u8 $(, $m)?], $kind) } else { conditions!($f, [u32 $(, $m)?], $kind) }
        };
    }
    Some(match (operands, kind) {
        (RegReg, CMP) => sizes!(reg_reg, [], CMP),
        (RegReg, TEST) => sizes!(reg_reg, [], TEST),
        (RegReg, SUB) => sizes!(reg_reg, [], SUB),
        (RegReg, AND) => sizes!(reg_reg, [], AND),
        (RegImm, CMP) => sizes!(reg_imm, [], CMP),
        (RegImm, TEST) => sizes!(reg_imm, [], TEST),
        (RegImm, SUB) => sizes!(reg_imm, [], SUB),
        (RegImm, AND) => sizes!(reg_imm, [], AND),
        (RegImm, DEC) => sizes!(reg_imm, [], DEC),
        (MemReg, CMP) => sizes!(mem_reg, [Flat], CMP),
        (MemReg, TEST) => sizes!(mem_reg, [Flat], TEST),
        (RegMem, CMP) => sizes!(reg_mem, [Flat], CMP),
        (MemImm, CMP) => sizes!(mem_imm, [Flat], CMP),
        (MemImm, TEST) => sizes!(mem_imm, [Flat], TEST),
        _ => return None,
    })
}
