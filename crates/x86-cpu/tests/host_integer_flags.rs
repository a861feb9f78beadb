//! Every result and every flag of the byte operations, for all operands, against the formulas of the manual and, where
//! there is one, against the host's own processor.
//!
//! A loop of guest code works through all 65,536 values of CX and writes AX and the flags down after each. What the manual
//! leaves undefined is not compared. Counts of a shift are all 256 that CL can hold.

mod common;
#[path = "host_integer/emulated.rs"]
mod emulated;
#[path = "host_integer/layout.rs"]
mod layout;
#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[path = "host_integer/native.rs"]
mod native;

use emulated::Emulated;
use layout::*;

const CF: u16 = 1 << 0;
const PF: u16 = 1 << 2;
const AF: u16 = 1 << 4;
const ZF: u16 = 1 << 6;
const SF: u16 = 1 << 7;
const OF: u16 = 1 << 11;
const ARITH: u16 = CF | PF | AF | ZF | SF | OF;

/// What an operation starts from: AL or AX, the other operand, and the flags.
#[derive(Clone, Copy)]
struct In {
    ax: u16,
    other: u8,
    flags: u16,
}

impl In {
    fn al(self) -> u8 {
        self.ax as u8
    }

    fn carry(self) -> u32 {
        u32::from(self.flags & CF)
    }
}

/// AX and the flags after it, and which of them are defined.
struct Out {
    ax: u16,
    flags: u16,
    defined: u16,
}

fn bit(on: bool, flag: u16) -> u16 {
    if on { flag } else { 0 }
}

/// SF, ZF and PF of a result.
fn szp(r: u8) -> u16 {
    bit(r >= 0x80, SF) | bit(r == 0, ZF) | bit(r.count_ones().is_multiple_of(2), PF)
}

fn with_al(ax: u16, al: u8) -> u16 {
    ax & 0xFF00 | u16::from(al)
}

/// ADD and ADC: operands and carry added up as numbers, unsigned, signed, and by their low digits.
fn add(i: In, carry: u32) -> Out {
    let (a, b) = (i.al(), i.other);
    let r = (u32::from(a) + u32::from(b) + carry) as u8;
    let signed = i32::from(a as i8) + i32::from(b as i8) + carry as i32;
    let flags = szp(r)
        | bit(u32::from(a) + u32::from(b) + carry > 0xFF, CF)
        | bit(i8::try_from(signed).is_err(), OF)
        | bit(u32::from(a & 15) + u32::from(b & 15) + carry > 15, AF);
    Out { ax: with_al(i.ax, r), flags, defined: ARITH }
}

/// SUB, SBB and CMP.
fn sub(i: In, borrow: u32) -> Out {
    let (a, b) = (i.al(), i.other);
    let r = u32::from(a).wrapping_sub(u32::from(b) + borrow) as u8;
    let signed = i32::from(a as i8) - i32::from(b as i8) - borrow as i32;
    let flags = szp(r)
        | bit(u32::from(a) < u32::from(b) + borrow, CF)
        | bit(i8::try_from(signed).is_err(), OF)
        | bit(u32::from(a & 15) < u32::from(b & 15) + borrow, AF);
    Out { ax: with_al(i.ax, r), flags, defined: ARITH }
}

/// AND, OR, XOR: CF and OF are cleared, AF is undefined.
fn logic(i: In, r: u8) -> Out {
    Out { ax: with_al(i.ax, r), flags: szp(r), defined: ARITH & !AF }
}

/// Rotates as the manual's operation section does them, one bit at a time.
fn rotate(i: In, n: u8) -> Out {
    let count = i.other & 31;
    let (mut r, mut cf) = (i.al(), i.flags & CF != 0);
    // RCL and RCR go round nine bits, the others round eight.
    let turns = if n < 2 { count % 8 } else { count % 9 };
    for _ in 0..turns {
        match n {
            0 => r = r.rotate_left(1),
            1 => r = r.rotate_right(1),
            2 => (r, cf) = (r << 1 | u8::from(cf), r & 0x80 != 0),
            _ => (r, cf) = (r >> 1 | u8::from(cf) << 7, r & 1 != 0),
        }
    }
    if count == 0 {
        return Out { ax: i.ax, flags: i.flags, defined: ARITH };
    }
    match n {
        0 => cf = r & 1 != 0,
        1 => cf = r & 0x80 != 0,
        _ => {}
    }
    let of = match n {
        0 | 2 => (r & 0x80 != 0) != cf,
        _ => (r & 0x80 != 0) != (r & 0x40 != 0),
    };
    let flags = i.flags & !(CF | OF) | bit(cf, CF) | bit(of, OF);
    // OF is defined for counts of one only.
    Out { ax: with_al(i.ax, r), flags, defined: if count == 1 { ARITH } else { ARITH & !OF } }
}

/// Shifts, one bit at a time.
fn shift(i: In, n: u8) -> Out {
    let count = i.other & 31;
    if count == 0 {
        return Out { ax: i.ax, flags: i.flags, defined: ARITH };
    }
    let (mut r, mut cf) = (i.al(), false);
    for _ in 0..count {
        match n {
            5 => (r, cf) = (r >> 1, r & 1 != 0),
            7 => (r, cf) = (((r as i8) >> 1) as u8, r & 1 != 0),
            _ => (r, cf) = (r << 1, r & 0x80 != 0),
        }
    }
    let of = match n {
        5 => i.al() & 0x80 != 0,
        7 => false,
        _ => (r & 0x80 != 0) != cf,
    };
    let mut defined = ARITH & !AF;
    if count != 1 {
        defined &= !OF;
    }
    // SHL and SHR: CF is undefined for counts of the operand's size and more.
    if count >= 8 && n != 7 {
        defined &= !CF;
    }
    Out { ax: with_al(i.ax, r), flags: szp(r) | bit(cf, CF) | bit(of, OF), defined }
}

fn daa(i: In) -> Out {
    let (old, old_cf) = (i.al(), i.flags & CF != 0);
    let (mut al, mut cf, mut af) = (old, false, false);
    if old & 15 > 9 || i.flags & AF != 0 {
        cf = old_cf || al.checked_add(6).is_none();
        al = al.wrapping_add(6);
        af = true;
    }
    if old > 0x99 || old_cf {
        al = al.wrapping_add(0x60);
        cf = true;
    }
    Out { ax: with_al(i.ax, al), flags: szp(al) | bit(cf, CF) | bit(af, AF), defined: ARITH & !OF }
}

fn das(i: In) -> Out {
    let (old, old_cf) = (i.al(), i.flags & CF != 0);
    let (mut al, mut cf, mut af) = (old, false, false);
    if old & 15 > 9 || i.flags & AF != 0 {
        cf = old_cf || al.checked_sub(6).is_none();
        al = al.wrapping_sub(6);
        af = true;
    }
    if old > 0x99 || old_cf {
        al = al.wrapping_sub(0x60);
        cf = true;
    }
    Out { ax: with_al(i.ax, al), flags: szp(al) | bit(cf, CF) | bit(af, AF), defined: ARITH & !OF }
}

/// AAA and AAS as the P6 and everything since does them: the correction goes to AX as a whole.
fn ascii(i: In, subtract: bool) -> Out {
    let adjust = i.al() & 15 > 9 || i.flags & AF != 0;
    let ax = match (adjust, subtract) {
        (false, _) => i.ax,
        (true, false) => i.ax.wrapping_add(0x106),
        (true, true) => i.ax.wrapping_sub(0x106),
    } & 0xFF0F;
    Out { ax, flags: bit(adjust, CF | AF), defined: CF | AF }
}

/// How the loop prepares an operation.
#[derive(Clone, Copy)]
enum Setup {
    /// AL from CH, the other operand in CL, these flags.
    Pair(u16),
    /// AL from CH, flags from CL.
    FlagsFromCl,
    /// AX from CX, these flags.
    Wide(u16),
}

struct Operation {
    name: &'static str,
    code: Vec<u8>,
    setup: Setup,
    formula: Box<dyn Fn(In) -> Out>,
}

const AH: u8 = 0x5A;

fn operations() -> Vec<Operation> {
    let mut all: Vec<Operation> = Vec::new();
    let mut op = |name, code: &[u8], setup, formula: Box<dyn Fn(In) -> Out>| {
        all.push(Operation { name, code: code.to_vec(), setup, formula });
    };
    // All six flags set or clear before: what an operation leaves alone shows.
    for flags in [0, CF, ARITH & !CF, ARITH] {
        let pair = Setup::Pair(flags);
        op("ADD AL,CL", &[0x00, 0xC8], pair, Box::new(|i| add(i, 0)));
        op("ADC AL,CL", &[0x10, 0xC8], pair, Box::new(|i| add(i, i.carry())));
        op("SUB AL,CL", &[0x28, 0xC8], pair, Box::new(|i| sub(i, 0)));
        op("SBB AL,CL", &[0x18, 0xC8], pair, Box::new(|i| sub(i, i.carry())));
        op("CMP AL,CL", &[0x38, 0xC8], pair, Box::new(|i| Out { ax: i.ax, ..sub(i, 0) }));
        op("AND AL,CL", &[0x20, 0xC8], pair, Box::new(|i| logic(i, i.al() & i.other)));
        op("OR AL,CL", &[0x08, 0xC8], pair, Box::new(|i| logic(i, i.al() | i.other)));
        op("XOR AL,CL", &[0x30, 0xC8], pair, Box::new(|i| logic(i, i.al() ^ i.other)));
        op("TEST AL,CL", &[0x84, 0xC8], pair, Box::new(|i| Out { ax: i.ax, ..logic(i, i.al() & i.other) }));
        let names = ["ROL", "ROR", "RCL", "RCR", "SHL", "SHR", "SAL", "SAR"];
        for (n, name) in names.into_iter().enumerate() {
            let n = n as u8;
            let formula = move |i: In| if n < 4 { rotate(i, n) } else { shift(i, n) };
            op(name, &[0xD2, 0xC0 | n << 3], pair, Box::new(formula));
            // By one: opcodes of their own.
            let once = move |i: In| formula(In { other: 1, ..i });
            op(name, &[0xD0, 0xC0 | n << 3], pair, Box::new(once));
        }
        op(
            "AAM",
            &[0xD4, 10],
            Setup::Wide(flags),
            Box::new(|i| {
                let (hi, lo) = (i.al() / 10, i.al() % 10);
                Out { ax: u16::from(hi) << 8 | u16::from(lo), flags: szp(lo), defined: SF | ZF | PF }
            }),
        );
        op(
            "AAD",
            &[0xD5, 10],
            Setup::Wide(flags),
            Box::new(|i| {
                let al = (i.ax & 0xFF).wrapping_add((i.ax >> 8).wrapping_mul(10)) as u8;
                Out { ax: u16::from(al), flags: szp(al), defined: SF | ZF | PF }
            }),
        );
        for (name, code, subtract) in [("AAA", 0x37, false), ("AAS", 0x3F, true)] {
            op(name, &[code], Setup::Wide(flags), Box::new(move |i| ascii(i, subtract)));
        }
    }
    let unary = Setup::FlagsFromCl;
    // INC and DEC leave CF alone.
    let keep_cf = |i: In, o: Out| Out { flags: o.flags & !CF | i.flags & CF, ..o };
    op("INC AL", &[0xFE, 0xC0], unary, Box::new(move |i| keep_cf(i, add(In { other: 1, ..i }, 0))));
    op("DEC AL", &[0xFE, 0xC8], unary, Box::new(move |i| keep_cf(i, sub(In { other: 1, ..i }, 0))));
    op(
        "NEG AL",
        &[0xF6, 0xD8],
        unary,
        Box::new(|i| {
            let o = sub(In { ax: i.ax & 0xFF00, other: i.al(), ..i }, 0);
            Out { ax: i.ax & 0xFF00 | o.ax & 0xFF, ..o }
        }),
    );
    let not = |i: In| Out { ax: i.ax ^ 0xFF, flags: i.flags, defined: ARITH };
    op("NOT AL", &[0xF6, 0xD0], unary, Box::new(not));
    op("DAA", &[0x27], unary, Box::new(daa));
    op("DAS", &[0x2F], unary, Box::new(das));
    op("AAA", &[0x37], unary, Box::new(|i| ascii(i, false)));
    op("AAS", &[0x3F], unary, Box::new(|i| ascii(i, true)));
    op("SALC", &[0xD6], unary, {
        Box::new(|i| Out {
            ax: with_al(i.ax, if i.carry() != 0 { 0xFF } else { 0 }),
            flags: i.flags,
            defined: ARITH,
        })
    });
    let lahf = |i: In| Out { ax: i.ax & 0xFF | (i.flags & 0xD5 | 2) << 8, flags: i.flags, defined: ARITH };
    op("LAHF", &[0x9F], unary, Box::new(lahf));
    op("SAHF", &[0x9E], Setup::Wide(OF), {
        Box::new(|i| Out { ax: i.ax, flags: i.ax >> 8 & (ARITH & 0xFF) | OF, defined: ARITH })
    });
    all
}

impl Operation {
    /// The loop: EDI walks through the buffer, CX through all its values.
    fn program(&self) -> Vec<u8> {
        let mut code = vec![0x31, 0xC9, 0xBF];
        code.extend(BUFFER.to_le_bytes());
        let top = code.len();
        // mov ax,cx or mov al,ch; mov ah,AH
        match self.setup {
            Setup::Wide(_) => code.extend([0x66, 0x89, 0xC8]),
            _ => code.extend([0x88, 0xE8, 0xB4, AH]),
        }
        // push flags or movzx edx,cl; and dl,D5h; push edx; then popfd
        match self.setup {
            Setup::FlagsFromCl => code.extend([0x0F, 0xB6, 0xD1, 0x80, 0xE2, 0xD5, 0x52]),
            Setup::Pair(f) | Setup::Wide(f) => {
                code.push(0x68);
                code.extend(u32::from(f).to_le_bytes());
            }
        }
        code.push(0x9D);
        code.extend(&self.code);
        // pushfd; pop ebx; mov [edi],ax; mov [edi+2],bx; add edi,4; inc cx; jnz top
        code.extend([0x9C, 0x5B, 0x66, 0x89, 0x07, 0x66, 0x89, 0x5F, 2, 0x83, 0xC7, 4, 0x66, 0x41]);
        let back = top as i32 - (code.len() as i32 + 2);
        code.extend([0x75, i8::try_from(back).expect("the loop is short") as u8]);
        code.extend(far_exit(true, 0));
        code
    }

    fn start_of(&self, cx: u16) -> In {
        let (ch, cl) = ((cx >> 8) as u8, cx as u8);
        match self.setup {
            Setup::Pair(flags) => In { ax: with_al(u16::from(AH) << 8, ch), other: cl, flags },
            Setup::FlagsFromCl => {
                In { ax: with_al(u16::from(AH) << 8, ch), other: 0, flags: u16::from(cl & 0xD5) }
            }
            Setup::Wide(flags) => In { ax: cx, other: 0, flags },
        }
    }

    /// Holds what a processor wrote down against the formula.
    fn check(&self, who: &str, buffer: &[u8]) {
        assert_eq!(buffer.len(), 4 << 16);
        for cx in 0..=u16::MAX {
            let at = 4 * usize::from(cx);
            let word = |n: usize| u16::from_le_bytes([buffer[at + n], buffer[at + n + 1]]);
            let start = self.start_of(cx);
            let want = (self.formula)(start);
            let (ax, flags) = (word(0), word(2));
            let wrong = (flags ^ want.flags) & want.defined;
            assert!(
                ax == want.ax && wrong == 0,
                "{who}: {} of AX {:04X}, other {:02X}, flags {:04X}: AX {ax:04X} flags {flags:04X}, the manual says {:04X} and {:04X} (defined {:04X})",
                self.name,
                start.ax,
                start.other,
                start.flags,
                want.ax,
                want.flags,
                want.defined,
            );
        }
    }
}

fn start() -> Start {
    let mut gpr = [0; 8];
    gpr[4] = REGION + WINDOWS[2] + 0x80;
    Start { gpr, eflags: 2, cs: CS32, eip: CODE + 0x1000, ds: FLAT, es: FLAT, ss: FLAT }
}

#[test]
fn every_byte_operation_is_as_the_manual_has_it() {
    let mut e = Emulated::new();
    for op in operations() {
        e.put(CODE + 0x1000, &op.program());
        let outcome = e.run(&start(), 4_000_000);
        assert_eq!(outcome.end, End::Exit(0), "{}", op.name);
        op.check("ours", e.get(BUFFER, 4 << 16));
    }
}

#[cfg(all(target_os = "linux", target_arch = "x86_64"))]
#[test]
fn the_host_reads_the_manual_the_same_way() {
    let mut host = match native::Host::new() {
        Ok(host) => host,
        Err(why) => {
            println!("SKIP host_integer_flags: {why}");
            return;
        }
    };
    for op in operations() {
        host.put(CODE + 0x1000, &op.program());
        let outcome = host.run(&start());
        assert_eq!(outcome.end, End::Exit(0), "{}", op.name);
        op.check("host", host.get(BUFFER, 4 << 16));
    }
}
