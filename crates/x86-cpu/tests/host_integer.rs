//! Integer instructions against the host's own processor, with random operands and flags.
//!
//! The instruction runs natively as 32-bit code (a far jump into the system's 32-bit code segment) and in a small machine;
//! registers, memory and the flags that the manual defines must agree. Hosts that are not x86 or have no 32-bit
//! segment skip this, and say so.
#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod common;

use common::{CODE, DATA, Machine, Random};
use slotone_bus::cpu::{Cpu, Exit};

const CF: u32 = 1 << 0;
const PF: u32 = 1 << 2;
const AF: u32 = 1 << 4;
const ZF: u32 = 1 << 6;
const SF: u32 = 1 << 7;
const OF: u32 = 1 << 11;
const ARITH: u32 = CF | PF | AF | ZF | SF | OF;
const DF: u32 = 1 << 10;

/// Bytes of memory that instructions may touch, ESI in the middle of them.
const WINDOW: usize = 128;

#[derive(Clone, PartialEq, Eq, Debug)]
struct Case {
    /// EAX ECX EDX EBX (ESP) EBP ESI EDI. ESI and perhaps EDI are offsets from the middle of the window.
    gpr: [u32; 8],
    flags: u32,
    memory: [u8; WINDOW],
}

mod native {
    use super::{Case, WINDOW};

    /// One mapping below 4 GiB: code, state, window, stack.
    pub(super) struct Host {
        base: *mut u8,
    }

    const STATE: usize = 0x1000;
    const OUT: usize = 0x1040;
    const FAR: usize = 0x1080;
    const SAVED_RSP: usize = 0x1090;
    const WINDOW_AT: usize = 0x2000;
    const STACK: usize = 0x3F00;
    const STUB32: usize = 0x100;
    const SIZE: usize = 0x4000;

    impl Host {
        pub(super) fn new() -> Option<Self> {
            // SAFETY: a fresh anonymous mapping of our own.
            let base = unsafe {
                libc::mmap(
                    std::ptr::null_mut(),
                    SIZE,
                    libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC,
                    libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
                    -1,
                    0,
                )
            };
            if base == libc::MAP_FAILED {
                return None;
            }
            let mut host = Self { base: base.cast() };
            // A child tries the 32-bit segment: where there is none it dies, not this process.
            // SAFETY: the child calls nothing but the stub and _exit.
            let pid = unsafe { libc::fork() };
            if pid == 0 {
                let case = Case { gpr: [0; 8], flags: 2, memory: [0; WINDOW] };
                host.run(&[0x90], &case, false);
                // SAFETY: ends the child without running anything of the parent's.
                unsafe { libc::_exit(0) }
            }
            let mut status = 0;
            // SAFETY: waits for the child just made.
            unsafe { libc::waitpid(pid, &mut status, 0) };
            (libc::WIFEXITED(status) && libc::WEXITSTATUS(status) == 0).then_some(host)
        }

        fn address(&self, offset: usize) -> u32 {
            (self.base as usize + offset) as u32
        }

        fn put(&mut self, offset: usize, bytes: &[u8]) {
            assert!(offset + bytes.len() <= SIZE);
            // SAFETY: in the mapping; nothing else refers to it.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.base.add(offset), bytes.len()) }
        }

        fn get<const N: usize>(&self, offset: usize) -> [u8; N] {
            assert!(offset + N <= SIZE);
            let mut out = [0; N];
            // SAFETY: in the mapping.
            unsafe { std::ptr::copy_nonoverlapping(self.base.add(offset), out.as_mut_ptr(), N) }
            out
        }

        pub(super) fn middle(&self) -> u32 {
            self.address(WINDOW_AT + WINDOW / 2)
        }

        /// Runs `code` on a case; `edi` says that EDI is an offset into the window like ESI.
        pub(super) fn run(&mut self, code: &[u8], case: &Case, edi: bool) -> Case {
            let a32 = |at: u32| at.to_le_bytes();
            // 64-bit entry: save what is ours to keep, load DS and ES, and leave for 32-bit code.
            let mut entry = vec![0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x9C];
            entry.extend([0x48, 0x89, 0x24, 0x25]);
            entry.extend(a32(self.address(SAVED_RSP)));
            entry.extend([0xB8, 0x2B, 0, 0, 0, 0x8E, 0xD8, 0x8E, 0xC0]);
            entry.extend([0xFF, 0x2C, 0x25]);
            entry.extend(a32(self.address(FAR)));
            let back = self.address(entry.len());
            entry.extend([0x48, 0x8B, 0x24, 0x25]);
            entry.extend(a32(self.address(SAVED_RSP)));
            entry.extend([0x9D, 0x41, 0x5F, 0x41, 0x5E, 0x41, 0x5D, 0x41, 0x5C, 0x5D, 0x5B, 0xC3]);
            assert!(entry.len() <= STUB32);
            self.put(0, &entry);
            let mut far = a32(self.address(STUB32)).to_vec();
            far.extend([0x23, 0]);
            self.put(FAR, &far);
            // 32-bit: stack, flags, registers; the code; registers, flags; and back.
            let mut stub = vec![0xBC];
            stub.extend(a32(self.address(STACK)));
            stub.extend([0xFF, 0x35]);
            stub.extend(a32(self.address(STATE + 32)));
            stub.push(0x9D);
            let regs = [0, 1, 2, 3, 5, 6, 7];
            for r in regs {
                stub.extend([0x8B, 0x05 | (r as u8) << 3]);
                stub.extend(a32(self.address(STATE + 4 * r)));
            }
            stub.extend(code);
            for r in regs {
                stub.extend([0x89, 0x05 | (r as u8) << 3]);
                stub.extend(a32(self.address(OUT + 4 * r)));
            }
            stub.extend([0x9C, 0x8F, 0x05]);
            stub.extend(a32(self.address(OUT + 32)));
            stub.extend([0xFC, 0xEA]);
            stub.extend(a32(back));
            stub.extend([0x33, 0]);
            self.put(STUB32, &stub);
            for r in regs {
                let pointer = r == 6 || r == 7 && edi;
                let v = if pointer { case.gpr[r].wrapping_add(self.middle()) } else { case.gpr[r] };
                self.put(STATE + 4 * r, &v.to_le_bytes());
            }
            self.put(STATE + 32, &(case.flags | 0x202).to_le_bytes());
            self.put(WINDOW_AT, &case.memory);
            // SAFETY: the mapping's start is a function without arguments that keeps what the ABI wants kept and
            // touches nothing but the mapping: the test's instructions address it through ESI and EDI only.
            unsafe {
                let f: extern "C" fn() = std::mem::transmute(self.base);
                f();
            }
            let mut out = case.clone();
            for r in regs {
                let v = u32::from_le_bytes(self.get(OUT + 4 * r));
                let pointer = r == 6 || r == 7 && edi;
                out.gpr[r] = if pointer { v.wrapping_sub(self.middle()) } else { v };
            }
            out.flags = u32::from_le_bytes(self.get(OUT + 32));
            out.memory = self.get(WINDOW_AT);
            out
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            // SAFETY: our own mapping, not used any more.
            unsafe { libc::munmap(self.base.cast(), SIZE) };
        }
    }
}

/// The same in the machine. `None`: an exception.
fn emulated(m: &mut Machine, code: &[u8], case: &Case, edi: bool) -> Option<Case> {
    let middle = DATA + WINDOW as u32 / 2;
    let esp = m.state.gpr[4];
    m.state.gpr = case.gpr;
    m.state.gpr[4] = esp;
    m.state.gpr[6] = case.gpr[6].wrapping_add(middle);
    if edi {
        m.state.gpr[7] = case.gpr[7].wrapping_add(middle);
    }
    m.state.eflags = case.flags | 2;
    m.write(DATA, &case.memory);
    let mut code = code.to_vec();
    code.push(0xF4);
    m.write(CODE, &code);
    m.cpu.load(&m.state.clone()).unwrap();
    m.bus.after.until = 1000;
    let exit = m.cpu.run(&mut m.bus);
    assert!(matches!(exit, Exit::Halt { .. }), "{exit:?} after {code:02X?}");
    let s = m.cpu.save();
    if s.eip != CODE + code.len() as u32 {
        return None;
    }
    let mut out = case.clone();
    out.gpr = s.gpr;
    out.gpr[4] = case.gpr[4];
    out.gpr[6] = s.gpr[6].wrapping_sub(middle);
    if edi {
        out.gpr[7] = s.gpr[7].wrapping_sub(middle);
    }
    out.flags = s.eflags;
    out.memory.copy_from_slice(m.bus.ram.slice(u64::from(DATA), WINDOW).unwrap());
    Some(out)
}

/// An instruction with ModRM in all its forms: what comes before the ModRM byte and after, the reg field if it is fixed,
/// and the flags that the manual leaves undefined.
struct Form {
    name: &'static str,
    opcode: Vec<u8>,
    /// Without ModRM.
    plain: bool,
    reg: Option<u8>,
    byte: bool,
    immediate: usize,
    undefined: u32,
    memory: bool,
    register: bool,
}

impl Form {
    fn new(name: &'static str, opcode: &[u8]) -> Self {
        Self {
            name,
            opcode: opcode.to_vec(),
            plain: false,
            reg: None,
            byte: false,
            immediate: 0,
            undefined: 0,
            memory: true,
            register: true,
        }
    }

    fn plain(name: &'static str, opcode: &[u8]) -> Self {
        Self { plain: true, ..Self::new(name, opcode) }
    }

    fn reg(self, reg: u8) -> Self {
        Self { reg: Some(reg), ..self }
    }

    fn byte(self) -> Self {
        Self { byte: true, ..self }
    }

    fn imm(self, n: usize) -> Self {
        Self { immediate: n, ..self }
    }

    fn undefined(self, flags: u32) -> Self {
        Self { undefined: flags, ..self }
    }

    fn only_memory(self) -> Self {
        Self { register: false, ..self }
    }

    fn only_register(self) -> Self {
        Self { memory: false, ..self }
    }
}

/// An immediate of operand size.
const FULL: usize = 99;

fn forms() -> Vec<Form> {
    let mut f = Vec::new();
    let names = ["ADD", "OR", "ADC", "SBB", "AND", "SUB", "XOR", "CMP"];
    for (n, name) in names.into_iter().enumerate() {
        let u = if matches!(n, 1 | 4 | 6) { AF } else { 0 };
        let b = 8 * n as u8;
        f.push(Form::new(name, &[b]).byte().undefined(u));
        f.push(Form::new(name, &[b + 1]).undefined(u));
        f.push(Form::new(name, &[b + 2]).byte().undefined(u));
        f.push(Form::new(name, &[b + 3]).undefined(u));
        f.push(Form::plain(name, &[b + 4]).imm(1).undefined(u));
        f.push(Form::plain(name, &[b + 5]).imm(FULL).undefined(u));
        f.push(Form::new(name, &[0x80]).reg(n as u8).byte().imm(1).undefined(u));
        f.push(Form::new(name, &[0x81]).reg(n as u8).imm(FULL).undefined(u));
        f.push(Form::new(name, &[0x83]).reg(n as u8).imm(1).undefined(u));
    }
    let shifts = ["ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR"];
    for (n, name) in shifts.into_iter().enumerate() {
        let n = n as u8;
        let u = if n < 4 { OF } else { OF | AF };
        for (opcode, byte) in [(0xC0, true), (0xC1, false)] {
            let g = Form::new(name, &[opcode]).reg(n).imm(1).undefined(u);
            f.push(if byte { g.byte() } else { g });
        }
        for (opcode, byte, u) in
            [(0xD0, true, u & AF), (0xD1, false, u & AF), (0xD2, true, u), (0xD3, false, u)]
        {
            let g = Form::new(name, &[opcode]).reg(n).undefined(u);
            f.push(if byte { g.byte() } else { g });
        }
    }
    for (n, name, u) in [
        (0, "TEST", AF),
        (2, "NOT", 0),
        (3, "NEG", 0),
        (4, "MUL", SF | ZF | AF | PF),
        (5, "IMUL", SF | ZF | AF | PF),
        (6, "DIV", ARITH),
        (7, "IDIV", ARITH),
    ] {
        let imm = usize::from(n == 0);
        f.push(Form::new(name, &[0xF6]).reg(n).byte().imm(imm).undefined(u));
        f.push(Form::new(name, &[0xF7]).reg(n).imm(imm * FULL).undefined(u));
    }
    for (n, name) in [(0, "INC"), (1, "DEC")] {
        f.push(Form::new(name, &[0xFE]).reg(n).byte());
        f.push(Form::new(name, &[0xFF]).reg(n));
        for r in [0, 1, 2, 3, 5, 7] {
            f.push(Form::plain(name, &[0x40 + 8 * n + r]));
        }
    }
    f.push(Form::new("TEST", &[0x84]).byte().undefined(AF));
    f.push(Form::new("TEST", &[0x85]).undefined(AF));
    f.push(Form::plain("TEST", &[0xA8]).imm(1).undefined(AF));
    f.push(Form::plain("TEST", &[0xA9]).imm(FULL).undefined(AF));
    f.push(Form::new("XCHG", &[0x86]).byte());
    f.push(Form::new("XCHG", &[0x87]));
    f.push(Form::plain("XCHG", &[0x93]));
    f.push(Form::new("MOV", &[0x88]).byte());
    f.push(Form::new("MOV", &[0x89]));
    f.push(Form::new("MOV", &[0x8A]).byte());
    f.push(Form::new("MOV", &[0x8B]));
    f.push(Form::new("MOV", &[0xC6]).reg(0).byte().imm(1));
    f.push(Form::new("MOV", &[0xC7]).reg(0).imm(FULL));
    f.push(Form::plain("MOV", &[0xB4]).imm(1));
    f.push(Form::plain("MOV", &[0xBD]).imm(FULL));
    f.push(Form::new("IMUL", &[0x69]).imm(FULL).undefined(SF | ZF | AF | PF));
    f.push(Form::new("IMUL", &[0x6B]).imm(1).undefined(SF | ZF | AF | PF));
    f.push(Form::new("IMUL", &[0x0F, 0xAF]).undefined(SF | ZF | AF | PF));
    f.push(Form::new("SHLD", &[0x0F, 0xA4]).imm(1).undefined(OF | AF));
    f.push(Form::new("SHLD", &[0x0F, 0xA5]).undefined(OF | AF));
    f.push(Form::new("SHRD", &[0x0F, 0xAC]).imm(1).undefined(OF | AF));
    f.push(Form::new("SHRD", &[0x0F, 0xAD]).undefined(OF | AF));
    for (n, name) in [(4, "BT"), (5, "BTS"), (6, "BTR"), (7, "BTC")] {
        let u = OF | SF | AF | PF;
        f.push(Form::new(name, &[0x0F, 0xBA]).reg(n).imm(1).undefined(u));
        f.push(Form::new(name, &[0x0F, 0x83 + 8 * n]).undefined(u));
    }
    f.push(Form::new("BSF", &[0x0F, 0xBC]).undefined(ARITH & !ZF));
    f.push(Form::new("BSR", &[0x0F, 0xBD]).undefined(ARITH & !ZF));
    for cc in 0..16 {
        f.push(Form::new("SETcc", &[0x0F, 0x90 + cc]).reg(0).byte());
        f.push(Form::new("CMOVcc", &[0x0F, 0x40 + cc]));
        // jcc +2; mov al,77h
        f.push(Form::plain("Jcc", &[0x70 + cc, 2, 0xB0, 0x77]));
    }
    f.push(Form::new("MOVZX", &[0x0F, 0xB6]));
    f.push(Form::new("MOVZX", &[0x0F, 0xB7]));
    f.push(Form::new("MOVSX", &[0x0F, 0xBE]));
    f.push(Form::new("MOVSX", &[0x0F, 0xBF]));
    f.push(Form::new("CMPXCHG", &[0x0F, 0xB0]).byte());
    f.push(Form::new("CMPXCHG", &[0x0F, 0xB1]));
    f.push(Form::new("XADD", &[0x0F, 0xC0]).byte());
    f.push(Form::new("XADD", &[0x0F, 0xC1]));
    f.push(Form::new("CMPXCHG8B", &[0x0F, 0xC7]).reg(1).only_memory());
    f.push(Form::plain("BSWAP", &[0x0F, 0xCA]));
    // LEA with every scale; ESI is no operand, since it differs between the two.
    for scale in 0..4u8 {
        f.push(Form::plain("LEA", &[0x8D, 0x84, scale << 6 | 0x0B]).imm(4));
        f.push(Form::plain("LEA", &[0x8D, 0x6C, scale << 6 | 0x3D]).imm(1));
        f.push(Form::plain("LEA", &[0x8D, 0x14, scale << 6 | 0x15]).imm(4));
        f.push(Form::plain("LEA", &[0x66, 0x8D, 0x1C, scale << 6 | 0x3A]));
    }
    f.push(Form::plain("DAA", &[0x27]).undefined(OF));
    f.push(Form::plain("DAS", &[0x2F]).undefined(OF));
    f.push(Form::plain("AAA", &[0x37]).undefined(OF | SF | ZF | PF));
    f.push(Form::plain("AAS", &[0x3F]).undefined(OF | SF | ZF | PF));
    f.push(Form::plain("AAM", &[0xD4]).imm(1).undefined(OF | AF | CF));
    f.push(Form::plain("AAD", &[0xD5]).imm(1).undefined(OF | AF | CF));
    f.push(Form::plain("SALC", &[0xD6]));
    f.push(Form::plain("CBW", &[0x98]));
    f.push(Form::plain("CWD", &[0x99]));
    f.push(Form::plain("LAHF", &[0x9F]));
    f.push(Form::plain("SAHF", &[0x9E]));
    f.push(Form::plain("CLC", &[0xF8]));
    f.push(Form::plain("STC", &[0xF9]));
    f.push(Form::plain("CMC", &[0xF5]));
    f.push(Form::plain("PUSH, POP", &[0x50, 0x5B]));
    f.push(Form::plain("PUSHAD, XOR, POPAD", &[0x60, 0x31, 0xC0, 0x31, 0xDB, 0x61]));
    f.push(Form::plain("PUSH imm, POP", &[0x6A, 0x80, 0x5A]));
    f.push(Form::plain("ENTER, LEAVE", &[0xC8, 0x10, 0, 0, 0xC9]));
    f.push(Form::plain("LOOP", &[0xE2, 2, 0xB0, 0x77]));
    f.push(Form::plain("LOOPE", &[0xE1, 2, 0xB0, 0x77]));
    f.push(Form::plain("LOOPNE", &[0xE0, 2, 0xB0, 0x77]));
    f.push(Form::plain("JECXZ", &[0xE3, 2, 0xB0, 0x77]));
    f.push(Form::new("PUSH, POP r/m", &[0xFF]).reg(6).only_register());
    f
}

/// The bytes of a form with random registers and immediates.
fn bytes_of(form: &Form, r: &mut Random, wide: bool, memory: bool) -> Vec<u8> {
    let mut code = Vec::new();
    if !wide {
        code.push(0x66);
    }
    code.extend(&form.opcode);
    if !form.plain {
        // ESP and ESI stay what they are.
        let free = [0, 1, 2, 3, 5, 7];
        let any = [0, 1, 2, 3, 4, 5, 6, 7];
        let pick = |r: &mut Random| {
            if form.byte { any[r.below(8) as usize] } else { free[r.below(6) as usize] }
        };
        let reg = form.reg.unwrap_or_else(|| pick(r));
        if memory {
            // [esi], [esi+disp8], [esi+disp32]
            match r.below(3) {
                0 => code.push(reg << 3 | 6),
                1 => code.extend([0x40 | reg << 3 | 6, r.below(16) as u8]),
                _ => {
                    code.push(0x80 | reg << 3 | 6);
                    code.extend(r.below(16).to_le_bytes());
                }
            }
        } else {
            let rm = match form.opcode[..] {
                // A byte register as the source of a full one.
                [0x0F, 0xB6 | 0xBE] => any[r.below(8) as usize],
                _ => pick(r),
            };
            code.push(0xC0 | reg << 3 | rm);
        }
    }
    let n = match form.immediate {
        FULL if wide => 4,
        FULL => 2,
        n => n,
    };
    code.extend(&r.operand().to_le_bytes()[..n]);
    if form.name == "PUSH, POP r/m" {
        code.extend(if wide { &[0x5A][..] } else { &[0x66, 0x5A] });
    }
    code
}

fn random_case(r: &mut Random) -> Case {
    let mut gpr = [0; 8];
    for g in &mut gpr {
        *g = r.operand();
    }
    (gpr[4], gpr[6]) = (0, 0);
    let mut memory = [0; WINDOW];
    for quad in memory.chunks_exact_mut(4) {
        quad.copy_from_slice(&r.operand().to_le_bytes());
    }
    Case { gpr, flags: r.u32() & ARITH, memory }
}

#[test]
fn every_form_agrees_with_the_host() {
    let Some(mut host) = native::Host::new() else {
        println!("skipped: this system runs no 32-bit code");
        return;
    };
    let mut m = Machine::new();
    let mut r = Random(0x1234_5678_9ABC_DEF1);
    let rounds: u32 = std::env::var("SLOTONE_ROUNDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let (mut run, mut faulted) = (0, 0);
    for form in forms() {
        for wide in [true, false] {
            for memory in [false, true] {
                if memory && (form.plain || !form.memory) || !memory && !form.register && !form.plain {
                    continue;
                }
                // Several instructions: a prefix would change the first of them only.
                if form.plain && form.opcode.len() > 1 && !wide {
                    continue;
                }
                for _ in 0..rounds {
                    let code = bytes_of(&form, &mut r, wide, memory);
                    let mut case = random_case(&mut r);
                    if matches!(form.name, "BT" | "BTS" | "BTR" | "BTC") && form.reg.is_none() && memory {
                        // The bit offset stays in the window.
                        for i in [0, 1, 2, 3, 5, 7] {
                            case.gpr[i] = (r.below(512) as i32 - 256) as u32;
                        }
                    }
                    if form.name == "BSWAP" && !wide {
                        continue;
                    }
                    if form.name == "CMPXCHG8B" && r.below(2) == 0 {
                        let at = WINDOW / 2;
                        let word = |i: usize| u32::from_le_bytes(case.memory[i..i + 4].try_into().unwrap());
                        (case.gpr[0], case.gpr[2]) = (word(at), word(at + 4));
                    }
                    let Some(ours) = emulated(&mut m, &code, &case, false) else {
                        // #DE: the host would raise it too; whether it should is checked by arithmetic below.
                        assert!(
                            matches!(form.name, "DIV" | "IDIV" | "AAM"),
                            "{} {code:02X?}: faulted",
                            form.name
                        );
                        faulted += 1;
                        continue;
                    };
                    let theirs = host.run(&code, &case, false);
                    run += 1;
                    let mut undefined = form.undefined;
                    if matches!(form.name, "SHLD" | "SHRD") {
                        let n = code.last().copied().unwrap_or(0) & 31;
                        let n = if form.immediate == 1 { n } else { case.gpr[1] as u8 & 31 };
                        if !wide && n > 16 {
                            // Flags and result are undefined.
                            continue;
                        }
                    }
                    if matches!(form.name, "SHL" | "SAL" | "SHR") {
                        // CF is undefined for counts of the operand's size and more.
                        undefined |= CF;
                        let n =
                            if form.immediate == 1 { *code.last().unwrap() } else { case.gpr[1] as u8 } & 31;
                        let bits = if form.byte {
                            8
                        } else if wide {
                            32
                        } else {
                            16
                        };
                        if u32::from(n) < bits {
                            undefined &= !CF;
                        }
                    }
                    let same = ours.gpr == theirs.gpr
                        && ours.memory == theirs.memory
                        && (ours.flags ^ theirs.flags) & ARITH & !undefined == 0;
                    assert!(
                        same,
                        "{} {code:02X?}\nbefore {case:X?}\nours   {ours:X?}\ntheirs {theirs:X?}\nflags differ by {:X}",
                        form.name,
                        (ours.flags ^ theirs.flags) & ARITH & !undefined
                    );
                }
            }
        }
    }
    println!("{run} cases agreed, {faulted} raised #DE");
    assert!(run > 10_000);
}

#[test]
fn string_instructions_agree_with_the_host() {
    let Some(mut host) = native::Host::new() else {
        println!("skipped: this system runs no 32-bit code");
        return;
    };
    let mut m = Machine::new();
    let mut r = Random(77);
    for opcode in [0xA4, 0xA5, 0xA6, 0xA7, 0xAA, 0xAB, 0xAC, 0xAD, 0xAE, 0xAF] {
        for round in 0..600 {
            let mut code = Vec::new();
            match round % 3 {
                0 => {}
                1 => code.push(0xF3),
                _ => code.push(0xF2),
            }
            if r.below(2) == 0 {
                code.push(0x66);
            }
            code.push(opcode);
            let mut case = random_case(&mut r);
            case.gpr[1] = r.below(8);
            // Close together, so that they overlap; few values, so that comparisons go on.
            case.gpr[6] = (r.below(33) as i32 - 16) as u32;
            case.gpr[7] = (r.below(33) as i32 - 16) as u32;
            for b in &mut case.memory {
                *b &= 1;
            }
            case.gpr[0] &= 0x0101_0101;
            if r.below(2) == 0 {
                case.flags |= DF;
            }
            let ours = emulated(&mut m, &code, &case, true).expect("no fault");
            let theirs = host.run(&code, &case, true);
            let same = ours.gpr == theirs.gpr
                && ours.memory == theirs.memory
                && (ours.flags ^ theirs.flags) & ARITH == 0;
            assert!(same, "{code:02X?}\nbefore {case:X?}\nours   {ours:X?}\ntheirs {theirs:X?}");
        }
    }
}

#[test]
fn every_byte_operation_on_every_pair() {
    let Some(mut host) = native::Host::new() else {
        println!("skipped: this system runs no 32-bit code");
        return;
    };
    // The host works through all 65,536 pairs in one loop; ours is called through the same loop in the machine:
    // al = first, dl = second, and a checksum of AL and the flags after each in EBX.
    let mut m = Machine::new();
    for n in 0..8u8 {
        for carry in [0xF8, 0xF9] {
            // loop over ECX = FFFFh..0: mov al,cl; mov dl,ch; clc/stc; op al,dl; lahf; seto dh; ...
            let mut code = vec![0x88, 0xC8, 0x88, 0xEA, carry, n << 3, 0xD0, 0x9F, 0x0F, 0x90, 0xC6];
            if matches!(n, 1 | 4 | 6) {
                // AF is undefined: and ah,EFh
                code.extend([0x80, 0xE4, 0xEF]);
            }
            // imul ebx,ebx,01000193h; xor bx,ax; add bl,dh; dec cx; jnz
            code.extend([0x69, 0xDB, 0x93, 1, 0, 1, 0x66, 0x31, 0xC3, 0x00, 0xF3, 0x66, 0x49]);
            let back = -(code.len() as i32 + 2);
            code.extend([0x75, back as i8 as u8]);
            let case = Case { gpr: [0, 0, 0, 1, 0, 0, 0, 0], flags: 0, memory: [0; WINDOW] };
            let theirs = host.run(&code, &case, false);
            m.state.gpr = case.gpr;
            m.state.gpr[4] = common::STACK0;
            m.write(CODE, &code);
            m.write(CODE + code.len() as u32, &[0xF4]);
            m.cpu.load(&m.state.clone()).unwrap();
            m.bus.after.until = u64::MAX;
            m.cpu.run(&mut m.bus);
            assert_eq!(m.cpu.save().gpr[3], theirs.gpr[3], "operation {n}, carry {carry:X}");
        }
    }
}

#[test]
fn division_overflow_is_arithmetic() {
    let mut m = Machine::new();
    let mut r = Random(5);
    let mut raised = 0;
    for _ in 0..3000 {
        let (hi, lo, d) = (r.operand(), r.operand(), r.operand());
        let hi = if r.below(2) == 0 { hi & 0xFF } else { hi };
        let mut case = random_case(&mut r);
        (case.gpr[0], case.gpr[2], case.gpr[1]) = (lo, hi, d);
        // div ecx
        let n = u64::from(hi) << 32 | u64::from(lo);
        let fits = d != 0 && n / u64::from(d) <= u64::from(u32::MAX);
        assert_eq!(emulated(&mut m, &[0xF7, 0xF1], &case, false).is_some(), fits, "{n:X} / {d:X}");
        // idiv ecx
        let (n, d) = (i128::from(n as i64), i128::from(d as i32));
        let fits = d != 0 && i32::try_from(n / d).is_ok();
        let ours = emulated(&mut m, &[0xF7, 0xF9], &case, false);
        assert_eq!(ours.is_some(), fits, "{n:X} / {d:X} signed");
        raised += u32::from(!fits);
    }
    assert!(raised > 100);
}
