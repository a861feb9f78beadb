//! From bytes to [`Op`]s: prefixes, ModRM, and the tables of the one-byte and two-byte opcodes.

pub(crate) mod fuse;
mod one;
mod two;

use crate::block::{A32, Handler, LOCK, NO_REG, O32, Op, REP, REPNE};
use crate::ops;
use crate::state::{CS, DS, EBP, ES, ESP, FS, GS, SS, mode};
use fuse::{Operands, Pair};

/// Longest instruction.
pub(crate) const MAX_LEN: usize = 15;

/// Why an instruction cannot be decoded from what is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// It goes on beyond the bytes given.
    Short,
    /// It is longer than 15 bytes.
    Long,
}

type Decoded<T> = Result<T, Trouble>;

/// Form of the ModRM operand, as handlers are specialised by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Reg,
    Flat,
    Segmented,
}

/// The operand beside the ModRM one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Other {
    /// A register.
    Reg,
    /// A register that is the destination.
    Load,
    /// An immediate, or nothing.
    Imm,
}

/// An instruction being decoded.
struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
    mode: u16,
    features: u32,
    op: Op,
    form: Form,
    /// The segment override, if there was one.
    over: Option<u8>,
    /// The block ends behind this instruction.
    end: bool,
    branch: bool,
    /// LOCK is allowed.
    lockable: bool,
    pair: Pair,
}

/// A decoded instruction.
pub(crate) struct Instruction {
    pub(crate) op: Op,
    /// A block ends behind it.
    pub(crate) end: bool,
    /// It is a direct branch.
    pub(crate) branch: bool,
    pub(crate) pair: Pair,
}

/// Decodes the instruction at the start of `bytes`.
pub(crate) fn decode(bytes: &[u8], mode: u16, features: u32) -> Decoded<Instruction> {
    let big = mode & mode::D != 0;
    let op = Op {
        run: ops::undefined,
        imm: 0,
        disp: 0,
        end: 0,
        len: 0,
        reg: 0,
        rm: 0,
        base: NO_REG,
        index: NO_REG,
        scale: 0,
        seg: DS as u8,
        flags: if big { O32 | A32 } else { 0 },
        modrm: 0xC0,
        opcode: 0,
        link: u32::MAX,
    };
    let mut d = Decoder {
        bytes,
        at: 0,
        mode,
        features,
        op,
        form: Form::Reg,
        over: None,
        end: false,
        branch: false,
        lockable: false,
        pair: Pair::None,
    };
    match d.instruction() {
        Ok(run) => d.op.run = run,
        Err(Trouble::Long) => {
            d.op.run = ops::too_long;
            d.end = true;
            d.pair = Pair::None;
            d.at = MAX_LEN;
        }
        Err(Trouble::Short) => return Err(Trouble::Short),
    }
    if d.op.flags & LOCK != 0 && !d.lockable {
        d.op.run = ops::undefined;
    }
    if d.op.run as usize == ops::undefined as Handler as usize {
        d.end = true;
        d.pair = Pair::None;
    }
    d.op.len = d.at as u8;
    Ok(Instruction { op: d.op, end: d.end, branch: d.branch, pair: d.pair })
}

impl Decoder<'_> {
    fn instruction(&mut self) -> Decoded<Handler> {
        let toggle = |flags: u8, bit: u8, big: bool| if big { flags & !bit } else { flags | bit };
        let big = self.mode & mode::D != 0;
        loop {
            let b = self.u8()?;
            match b {
                0x26 => self.over = Some(ES as u8),
                0x2E => self.over = Some(CS as u8),
                0x36 => self.over = Some(SS as u8),
                0x3E => self.over = Some(DS as u8),
                0x64 => self.over = Some(FS as u8),
                0x65 => self.over = Some(GS as u8),
                0x66 => self.op.flags = toggle(self.op.flags, O32, big),
                0x67 => self.op.flags = toggle(self.op.flags, A32, big),
                0xF0 => self.op.flags |= LOCK,
                0xF2 => self.op.flags = self.op.flags & !REP | REPNE,
                0xF3 => self.op.flags = self.op.flags & !REPNE | REP,
                _ => {
                    self.op.opcode = b;
                    if let Some(seg) = self.over {
                        self.op.seg = seg;
                    }
                    return if b == 0x0F { self.two_byte() } else { self.one_byte(b) };
                }
            }
        }
    }

    /// This handler if the model has the features.
    fn needs(&self, features: u32, run: Handler) -> Handler {
        if self.features & features == features { run } else { ops::undefined }
    }

    /// Notes what this can be the first of: `kind` on an operand of `size` bytes and another.
    fn first(&mut self, kind: u8, size: u8, other: Other) {
        let operands = match (self.form, other) {
            (Form::Reg, Other::Reg) => Operands::RegReg,
            (Form::Reg, Other::Imm) => Operands::RegImm,
            (Form::Flat, Other::Reg) => Operands::MemReg,
            (Form::Flat, Other::Load) => Operands::RegMem,
            (Form::Flat, Other::Imm) => Operands::MemImm,
            (Form::Reg, Other::Load) | (Form::Segmented, _) => return,
        };
        if size != 2 && self.op.flags & LOCK == 0 {
            self.pair = Pair::First { kind, operands, byte: size == 1 };
        }
    }

    /// Notes what this can be in a pair if it works on doublewords of a flat stack.
    fn on_flat_stack(&mut self, pair: Pair) {
        if self.o32() && self.flat_stack() {
            self.pair = pair;
        }
    }

    fn u8(&mut self) -> Decoded<u8> {
        if self.at >= MAX_LEN {
            return Err(Trouble::Long);
        }
        let b = *self.bytes.get(self.at).ok_or(Trouble::Short)?;
        self.at += 1;
        Ok(b)
    }

    fn u16(&mut self) -> Decoded<u16> {
        Ok(u16::from_le_bytes([self.u8()?, self.u8()?]))
    }

    fn u32(&mut self) -> Decoded<u32> {
        Ok(u32::from(self.u16()?) | u32::from(self.u16()?) << 16)
    }

    fn o32(&self) -> bool {
        self.op.flags & O32 != 0
    }

    fn a32(&self) -> bool {
        self.op.flags & A32 != 0
    }

    /// Operand size in bytes; `wide` is the low bit of most opcodes.
    fn size(&self, wide: bool) -> u8 {
        match (wide, self.o32()) {
            (false, _) => 1,
            (true, false) => 2,
            (true, true) => 4,
        }
    }

    /// An immediate of that size, zero-extended.
    fn imm(&mut self, size: u8) -> Decoded<()> {
        self.op.imm = match size {
            1 => u32::from(self.u8()?),
            2 => u32::from(self.u16()?),
            _ => self.u32()?,
        };
        Ok(())
    }

    /// A byte, sign-extended.
    fn imm8s(&mut self) -> Decoded<()> {
        self.op.imm = self.u8()? as i8 as u32;
        Ok(())
    }

    /// Displacement of a near branch of operand size, sign-extended.
    fn rel(&mut self) -> Decoded<()> {
        self.op.imm = if self.o32() { self.u32()? } else { self.u16()? as i16 as u32 };
        Ok(())
    }

    /// A ModRM byte with all it brings. Registers are coded for operands of `size` bytes.
    fn modrm(&mut self, size: u8) -> Decoded<()> {
        let m = self.u8()?;
        self.op.modrm = m;
        self.op.reg = reg_code(m >> 3 & 7, size);
        let (md, rm) = (m >> 6, m & 7);
        if md == 3 {
            self.op.rm = reg_code(rm, size);
            self.form = Form::Reg;
            return Ok(());
        }
        let stack = if self.a32() { self.address32(md, rm)? } else { self.address16(md, rm)? };
        self.op.seg = self.over.unwrap_or(if stack { SS as u8 } else { DS as u8 });
        self.form = if self.a32() && self.flat(self.op.seg) { Form::Flat } else { Form::Segmented };
        Ok(())
    }

    /// Whether a segment is flat for reading and writing.
    fn flat(&self, seg: u8) -> bool {
        let bit = match usize::from(seg) {
            DS => mode::FLAT_DS,
            SS => mode::FLAT_SS,
            ES => mode::FLAT_ES,
            _ => return false,
        };
        self.mode & bit != 0
    }

    /// Whether the stack is flat and 32 bits wide.
    fn flat_stack(&self) -> bool {
        self.mode & (mode::B | mode::FLAT_SS) == mode::B | mode::FLAT_SS
    }

    /// Whether near control transfers need no limit checks.
    fn flat_control(&self) -> bool {
        self.o32() && self.flat_stack() && self.mode & mode::FLAT_CS != 0
    }

    /// Returns whether the default segment is SS.
    fn address16(&mut self, md: u8, rm: u8) -> Decoded<bool> {
        const BX: u8 = 3;
        const BP: u8 = 5;
        const SI: u8 = 6;
        const DI: u8 = 7;
        let (base, index) = match rm {
            0 => (BX, SI),
            1 => (BX, DI),
            2 => (BP, SI),
            3 => (BP, DI),
            4 => (NO_REG, SI),
            5 => (NO_REG, DI),
            6 if md == 0 => (NO_REG, NO_REG),
            6 => (BP, NO_REG),
            _ => (BX, NO_REG),
        };
        (self.op.base, self.op.index) = (base, index);
        self.op.disp = match md {
            0 if rm == 6 => u32::from(self.u16()?),
            0 => 0,
            1 => self.u8()? as i8 as u32,
            _ => u32::from(self.u16()?),
        };
        Ok(base == BP)
    }

    fn address32(&mut self, md: u8, rm: u8) -> Decoded<bool> {
        let mut base = rm;
        if rm == 4 {
            let sib = self.u8()?;
            base = sib & 7;
            let index = sib >> 3 & 7;
            if index != 4 {
                self.op.index = index;
                self.op.scale = sib >> 6;
            }
        }
        if base == EBP as u8 && md == 0 {
            self.op.disp = self.u32()?;
            return Ok(false);
        }
        self.op.base = base;
        self.op.disp = match md {
            0 => 0,
            1 => self.u8()? as i8 as u32,
            _ => self.u32()?,
        };
        Ok(base == EBP as u8 || base == ESP as u8)
    }
}

/// How [`Op::reg`] codes a register number.
fn reg_code(n: u8, size: u8) -> u8 {
    if size == 1 && n >= 4 { (n - 4) | 8 } else { n }
}

/// The handler `$f` for the operand form found, of type `$t`.
macro_rules! by_form {
    ($d:expr, $m:ident::$f:ident, [$($t:ty),*] $(, $c:expr)*) => {
        match $d.form {
            Form::Reg => $m::$f::<$($t,)* ops::Reg $(, {$c})*>,
            Form::Flat => $m::$f::<$($t,)* ops::Flat $(, {$c})*>,
            Form::Segmented => $m::$f::<$($t,)* ops::Segmented $(, {$c})*>,
        }
    };
}

/// The handler `$f` for an operand size in bytes and the operand form found.
macro_rules! by_size_form {
    ($d:expr, $size:expr, $m:ident::$f:ident $(, $c:expr)*) => {
        match $size {
            1 => by_form!($d, $m::$f, [u8] $(, $c)*),
            2 => by_form!($d, $m::$f, [u16] $(, $c)*),
            _ => by_form!($d, $m::$f, [u32] $(, $c)*),
        }
    };
}

/// The handler `$f` for an operand size in bytes.
macro_rules! by_size {
    ($size:expr, $m:ident::$f:ident $(, $c:expr)*) => {
        match $size {
            1 => $m::$f::<u8 $(, {$c})*>,
            2 => $m::$f::<u16 $(, {$c})*>,
            _ => $m::$f::<u32 $(, {$c})*>,
        }
    };
}

/// One of eight handlers by a number that is a const parameter of them.
macro_rules! by_number {
    ($n:expr, $pick:ident!($($args:tt)*)) => {
        match $n {
            0 => $pick!($($args)*, 0),
            1 => $pick!($($args)*, 1),
            2 => $pick!($($args)*, 2),
            3 => $pick!($($args)*, 3),
            4 => $pick!($($args)*, 4),
            5 => $pick!($($args)*, 5),
            6 => $pick!($($args)*, 6),
            _ => $pick!($($args)*, 7),
        }
    };
}

/// The handler `$f` with a bool as its last const parameter.
macro_rules! by_flag {
    ($flag:expr, $m:ident::$f:ident, [$($t:ty),*]) => {
        if $flag { $m::$f::<$($t,)* true> } else { $m::$f::<$($t,)* false> }
    };
}

use {by_flag, by_form, by_number, by_size, by_size_form};
