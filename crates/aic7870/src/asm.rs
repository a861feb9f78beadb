//! An assembler and a disassembler for sequencer programs, in a notation of our own.
//!
//! One instruction a line, labels end with a colon, comments begin with `;` or `#`. Operands are register names
//! ([`registers`](crate::registers), the names of their write sides too: `CLRSINT1`), `SRAMxx` for scratch RAM with its address in hexadecimal
//! (`SRAM20` to `SRAM5f`), `SCBxx` for the SCB window with the offset in it (`SCB00` to `SCB1f`), numbers (`12`, `0x0c`), and for branches labels or
//! numbers. A label begins with a letter, an underscore or a dot.
//!
//! | instruction | meaning |
//! | --- | --- |
//! | `or D, S, I` `and` `xor` `add` `adc` | D = S op I; I = 0 or `A` means the accumulator |
//! | `rol D, S, I` | rotate and mask by control byte I |
//! | `shl D, S, n` `shr D, S, n` | the same for shifts by 1 to 8 |
//! | `mov D, S` | D = S (`and D, S, 0xff`) |
//! | `mvi D, I` | D = I, not 0 (`or D, ALLZEROS, I`) |
//! | `clr D` | D = 0 |
//! | `inc D` `dec D` | D = D + 1, D - 1 |
//! | `nop` | nothing |
//! | `jmp L` `jc L` `jnc L` `call L` | branches that leave SINDEX alone; with `, S, I` before the label SINDEX = S or I |
//! | `je S, I, L` `jne S, I, L` | branch if S = I, S != I |
//! | `jnz S, I, L` `jz S, I, L` | branch if S and I have a bit in common, none |
//! | `ret` | return; any instruction but a branch returns as well if `ret` ends its line |
//!
//! ```
//! use slotone_aic7870::asm::{assemble, disassemble};
//! let program = assemble("loop: jz SSTAT1, 0x01, loop\n mov SRAM20, SCSIBUSL ret\n")?;
//! assert_eq!(program, [0x1e00_0c01, 0x0320_12ff]);
//! assert_eq!(disassemble(program[1]), "mov SRAM20, SCSIBUSL ret");
//! # Ok::<(), slotone_aic7870::asm::AsmError>(())
//! ```

use std::collections::BTreeMap;
use std::fmt;

use crate::registers as r;
use crate::sequencer::{Instruction, op};
use crate::state::PROGRAM;

/// Why a program does not assemble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AsmError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for AsmError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for AsmError {}

const NAMES: [(&str, u8); 6] = [
    ("or", op::OR),
    ("and", op::AND),
    ("xor", op::XOR),
    ("add", op::ADD),
    ("adc", op::ADC),
    ("rol", op::ROL),
];
const JUMPS: [(&str, u8); 4] = [("jmp", op::JMP), ("jc", op::JC), ("jnc", op::JNC), ("call", op::CALL)];
const TESTS: [(&str, u8); 4] = [("jne", op::JNE), ("jnz", op::JNZ), ("je", op::JE), ("jz", op::JZ)];

fn code(table: &[(&str, u8)], name: &str) -> Option<u8> {
    table.iter().find(|(n, _)| *n == name).map(|(_, code)| *code)
}

fn mnemonic(table: &'static [(&'static str, u8)], code: u8) -> Option<&'static str> {
    table.iter().find(|(_, c)| *c == code).map(|(name, _)| *name)
}

/// The word of an ALU instruction as SEQRAM takes it: operation 0 to 5, OR, AND, XOR, ADD, ADC, ROL; of a larger number four bits count.
pub const fn alu(operation: u8, destination: u8, source: u8, immediate: u8, ret: bool) -> u32 {
    (operation as u32 & 15) << 25
        | (ret as u32) << 24
        | (destination as u32) << 16
        | (source as u32) << 8
        | immediate as u32
}

/// The word of a branch: operation 8 to 15, JMP, JC, JNC, CALL, JNE, JNZ, JE, JZ; of a larger number four bits count, nine of the target.
pub const fn branch(operation: u8, target: u16, source: u8, immediate: u8) -> u32 {
    (operation as u32 & 15) << 25 | (target as u32 & 0x1ff) << 16 | (source as u32) << 8 | immediate as u32
}

/// The control byte of `shl` and `shr` by `n`, 1 to 8.
const fn shift(left: bool, n: u8) -> u8 {
    match (left, n) {
        (true, 8) => 0xf0,
        (false, 8) => 0xf8,
        (true, n) => n << 4 | n,
        (false, n) => n << 4 | (8 - n) | 8,
    }
}

/// A program with the places in it that have names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Program {
    /// Words for SEQRAM, at most 512.
    pub words: Vec<u32>,
    /// Labels, with what SEQADDR is there: where a driver may start the sequencer, or set a break address.
    pub labels: BTreeMap<String, u16>,
}

/// Turns a program into words for SEQRAM, at most 512.
///
/// # Errors
/// [`AsmError`] with the line.
pub fn assemble(text: &str) -> Result<Vec<u32>, AsmError> {
    assemble_with_labels(text).map(|program| program.words)
}

/// The same, with the addresses of the labels.
///
/// ```
/// let program = slotone_aic7870::asm::assemble_with_labels("start: nop\n jmp start\nreset: clr SCSISEQ\n jmp start\n")?;
/// assert_eq!((program.words.len(), program.labels["start"], program.labels["reset"]), (4, 0, 2));
/// # Ok::<(), slotone_aic7870::asm::AsmError>(())
/// ```
///
/// # Errors
/// [`AsmError`] with the line.
pub fn assemble_with_labels(text: &str) -> Result<Program, AsmError> {
    let mut labels = BTreeMap::new();
    let mut lines = Vec::new();
    for (n, line) in text.lines().enumerate() {
        let mut line = line.split([';', '#']).next().unwrap_or("").trim();
        while let Some((label, rest)) = line.split_once(':') {
            let label = label.trim();
            let wrong = |what: &str| AsmError { line: n + 1, what: format!("{label} {what}") };
            if !label.starts_with(|c: char| c.is_alphabetic() || "_.".contains(c))
                || label.contains(|c: char| c.is_whitespace() || c == ',')
            {
                return Err(wrong("is no label"));
            }
            if lines.len() >= PROGRAM {
                return Err(wrong("lies beyond the last of 512 instructions"));
            }
            if labels.insert(label.to_string(), lines.len() as u16).is_some() {
                return Err(wrong("is a label already"));
            }
            line = rest.trim();
        }
        if !line.is_empty() {
            lines.push((n + 1, line));
        }
    }
    let words = lines.iter().map(|(n, line)| one(line, &labels).map_err(|what| AsmError { line: *n, what }));
    let words: Vec<u32> = words.collect::<Result<_, _>>()?;
    if let Some((line, _)) = lines.get(PROGRAM) {
        return Err(AsmError { line: *line, what: "a program has at most 512 instructions".into() });
    }
    Ok(Program { words, labels })
}

fn one(line: &str, labels: &BTreeMap<String, u16>) -> Result<u32, String> {
    let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let (rest, ret) = match rest.trim().strip_suffix("ret") {
        Some(rest) if rest.is_empty() || rest.ends_with(char::is_whitespace) => (rest, true),
        _ => (rest.trim(), false),
    };
    let operands: Vec<&str> = rest.split(',').map(str::trim).filter(|o| !o.is_empty()).collect();
    let count = |n: usize| match operands.len() == n {
        true => Ok(()),
        false => Err(format!("{name} takes {n} operands, not {}", operands.len())),
    };
    let number = |text: &str| {
        let value = match text.strip_prefix("0x") {
            Some(hex) => u16::from_str_radix(hex, 16),
            None => text.parse(),
        };
        value.map_err(|_| format!("{text} is no number"))
    };
    let register = |text: &str| match r::address(text) {
        Some(address) => Ok(address),
        None => number(text).ok().and_then(|n| u8::try_from(n).ok()).ok_or(format!("{text} is no register")),
    };
    let byte = |text: &str| match text {
        "A" => Ok(0),
        _ => number(text).and_then(|n| u8::try_from(n).map_err(|_| format!("{n} is no byte"))),
    };
    let target = |text: &str| match labels.get(text) {
        Some(at) => Ok(*at),
        None if !text.starts_with(|c: char| c.is_ascii_digit()) => Err(format!("{text} is no label")),
        None => number(text).and_then(|n| if n < 512 { Ok(n) } else { Err(format!("{n} is no address")) }),
    };
    if let Some(code) = code(&NAMES, name) {
        count(3)?;
        return Ok(alu(code, register(operands[0])?, register(operands[1])?, byte(operands[2])?, ret));
    }
    let is_branch = code(&JUMPS, name).is_some() || code(&TESTS, name).is_some();
    if ret && is_branch {
        return Err("a branch does not return".into());
    }
    if let Some(code) = code(&JUMPS, name) {
        return match operands[..] {
            [to] => Ok(branch(code, target(to)?, r::SINDEX, 0)),
            [source, immediate, to] => Ok(branch(code, target(to)?, register(source)?, byte(immediate)?)),
            _ => Err(format!("{name} takes 1 or 3 operands")),
        };
    }
    if let Some(code) = code(&TESTS, name) {
        count(3)?;
        return Ok(branch(code, target(operands[2])?, register(operands[0])?, byte(operands[1])?));
    }
    match name {
        "shl" | "shr" => {
            count(3)?;
            let n = byte(operands[2])?;
            if !(1..=8).contains(&n) {
                return Err(format!("a shift by {n}"));
            }
            let control = shift(name == "shl", n);
            Ok(alu(op::ROL, register(operands[0])?, register(operands[1])?, control, ret))
        }
        "mov" => {
            count(2)?;
            Ok(alu(op::AND, register(operands[0])?, register(operands[1])?, 0xff, ret))
        }
        "mvi" => {
            count(2)?;
            match byte(operands[1])? {
                0 => Err("mvi 0 is the accumulator: use clr".into()),
                value => Ok(alu(op::OR, register(operands[0])?, r::ALLZEROS, value, ret)),
            }
        }
        "clr" => {
            count(1)?;
            Ok(alu(op::AND, register(operands[0])?, r::ALLZEROS, 0xff, ret))
        }
        "inc" | "dec" => {
            count(1)?;
            let at = register(operands[0])?;
            Ok(alu(op::ADD, at, at, if name == "inc" { 1 } else { 0xff }, ret))
        }
        "nop" => {
            count(0)?;
            Ok(alu(op::AND, r::ALLZEROS, r::ALLZEROS, 0xff, ret))
        }
        "ret" => {
            count(0)?;
            Ok(alu(op::AND, r::ALLZEROS, r::ALLZEROS, 0xff, true))
        }
        _ => Err(format!("{name} is no instruction")),
    }
}

/// The text of one instruction, which [`assemble`] turns into the same word again (bits 31:29 apart, which have no meaning).
/// Operations 6 and 7 do not exist on this chip and come as a comment.
pub fn disassemble(word: u32) -> String {
    let i = Instruction::decode(word);
    let (source, destination) = (r::name(i.source), r::name(i.destination));
    let immediate = match i.immediate {
        0 => "A".to_string(),
        value => format!("{value:#04x}"),
    };
    if let Some(name) = mnemonic(&JUMPS, i.op) {
        return match (i.source, i.immediate) {
            (r::SINDEX, 0) => format!("{name} {:#05x}", i.target),
            _ => format!("{name} {source}, {:#04x}, {:#05x}", i.immediate, i.target),
        };
    }
    if let Some(name) = mnemonic(&TESTS, i.op) {
        return format!("{name} {source}, {immediate}, {:#05x}", i.target);
    }
    let text = match (i.op, i.source, i.immediate) {
        (op::AND, r::ALLZEROS, 0xff) if i.destination == r::ALLZEROS => {
            return if i.ret { "ret" } else { "nop" }.to_string();
        }
        (op::AND, r::ALLZEROS, 0xff) => format!("clr {destination}"),
        (op::AND, _, 0xff) => format!("mov {destination}, {source}"),
        (op::OR, r::ALLZEROS, 1..) => format!("mvi {destination}, {immediate}"),
        (op::ADD, _, 1) if i.source == i.destination => format!("inc {destination}"),
        (op::ADD, _, 0xff) if i.source == i.destination => format!("dec {destination}"),
        (op::ROL, _, control) => {
            let shifts = (1..=8).flat_map(|n| [(true, n), (false, n)]);
            match shifts.into_iter().find(|(left, n)| shift(*left, *n) == control) {
                Some((left, n)) => {
                    format!("{} {destination}, {source}, {n}", if left { "shl" } else { "shr" })
                }
                None => format!("rol {destination}, {source}, {control:#04x}"),
            }
        }
        _ => match mnemonic(&NAMES, i.op) {
            Some(name) => format!("{name} {destination}, {source}, {immediate}"),
            None => return format!("; {word:#010x}"),
        },
    };
    text + if i.ret { " ret" } else { "" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_comes_back() {
        for high in 0..32u32 {
            for (destination, source, immediate) in [
                (0x6a, 0x6a, 0xff),
                (0x20, 0x6a, 0x00),
                (0x65, 0x65, 0x01),
                (0xff, 0x1b, 0xf8),
                (0x40, 0x65, 0),
            ] {
                let word = high << 24 | destination << 16 | source << 8 | immediate;
                let text = disassemble(word);
                if matches!(high >> 1, 6 | 7) {
                    assert_eq!(assemble(&text), Ok(vec![]));
                } else {
                    assert_eq!(assemble(&text), Ok(vec![word]), "{text}");
                }
            }
            for control in 0..=255 {
                let word = u32::from(op::ROL) << 25 | 0x0064_6500 | control;
                assert_eq!(assemble(&disassemble(word)), Ok(vec![word]));
            }
        }
    }

    #[test]
    fn mistakes_have_a_line() {
        for (text, line) in
            [("nop\nbogus", 2), ("mov ACCUM", 1), ("mvi ACCUM, 0", 1), ("jmp nowhere", 1), ("jmp 1 ret", 1)]
        {
            assert_eq!(assemble(text).map_err(|e| e.line), Err(line), "{text}");
        }
        for (text, what) in [
            ("mov ACUM, SRAM20", "ACUM is no register"),
            ("mov 256, SRAM20", "256 is no register"),
            ("mov SRAM60, SRAM20", "SRAM60 is no register"),
            ("mvi ACCUM, x", "x is no number"),
            ("mvi ACCUM, 256", "256 is no byte"),
            ("jmp lop", "lop is no label"),
            ("jmp 0x5g", "0x5g is no number"),
            ("jmp 512", "512 is no address"),
            ("a: nop\n a: nop", "a is a label already"),
            ("1: nop", "1 is no label"),
            ("jmp a b: nop", "jmp a b is no label"),
            (": nop", " is no label"),
        ] {
            assert_eq!(assemble(text).map_err(|e| e.what), Err(what.to_string()), "{text}");
        }
    }

    #[test]
    fn the_end_of_the_program() {
        let full = "nop\n".repeat(511);
        let last = assemble_with_labels(&format!("{full}last: jmp last")).expect("512 instructions");
        assert_eq!((last.words[511], last.labels["last"]), (branch(op::JMP, 511, r::SINDEX, 0), 511));
        let beyond = assemble(&format!("jmp end\n{full}end:\n")).map_err(|e| (e.line, e.what));
        assert_eq!(beyond, Err((513, "end lies beyond the last of 512 instructions".to_string())));
        assert_eq!(assemble(&format!("{full}nop\nnop")).map_err(|e| e.line), Err(513));
    }

    #[test]
    fn other_names() {
        let names = [
            ("CLRSINT0", "SSTAT0"),
            ("CLRSINT1", "SSTAT1"),
            ("CLRINT", "ERROR"),
            ("SCSISIGO", "SCSISIG"),
            ("SCSISIGI", "SCSISIG"),
            ("NONE", "ALLZEROS"),
        ];
        for (name, other) in names {
            assert_eq!(assemble(&format!("mvi {name}, 1")), assemble(&format!("mvi {other}, 1")), "{name}");
            assert!(assemble(&format!("mvi {name}, 1")).is_ok());
        }
        // Nothing but the operation's own bits.
        assert_eq!((alu(0xf1, 0, 0, 0, false), branch(0xf8, 0x3ff, 0, 0)), (0x0200_0000, 0x11ff_0000));
    }
}
