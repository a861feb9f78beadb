//! Instruction cases recorded on a real 80286 (samples/80286, MIT licensed by their authors: see LICENSE there), run in real mode.
//!
//! Every case must end in the recorded state but for the bits below and for the cases listed in
//! `samples/80286-exceptions.txt`.

use flate2::read::GzDecoder;
use slotone_bus::cpu::{Cpu, CpuState, Exit};
use slotone_x86_cpu::test_bus::TestBus;
use slotone_x86_cpu::{CpuModel, SoftCpu};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::io::Read as _;
use std::path::PathBuf;

const CF: u16 = 1 << 0;
const PF: u16 = 1 << 2;
const AF: u16 = 1 << 4;
const ZF: u16 = 1 << 6;
const SF: u16 = 1 << 7;
const OF: u16 = 1 << 11;

/// Names in the order of the register mask.
const NAMES: [&str; 14] =
    ["ax", "bx", "cx", "dx", "cs", "ss", "ds", "es", "sp", "bp", "si", "di", "ip", "flags"];

#[derive(Default, Clone)]
struct Snapshot {
    regs: [Option<u16>; 14],
    ram: Vec<(u32, u8)>,
}

#[derive(Default)]
struct Case {
    index: u32,
    name: String,
    bytes: Vec<u8>,
    init: Snapshot,
    last: Snapshot,
    /// The vector of the exception it ends in.
    exception: Option<u8>,
}

fn u16_at(b: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([b[at], b[at + 1]])
}

fn u32_at(b: &[u8], at: usize) -> u32 {
    u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]])
}

/// The chunks of a container: tag and content.
fn chunks(mut b: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut out = Vec::new();
    while b.len() >= 8 {
        let n = u32_at(b, 4) as usize;
        out.push((&b[..4], &b[8..8 + n]));
        b = &b[8 + n..];
    }
    out
}

fn snapshot(b: &[u8]) -> Snapshot {
    let mut s = Snapshot::default();
    for (tag, body) in chunks(b) {
        if tag == b"REGS" {
            let mask = u16_at(body, 0);
            let mut at = 2;
            for (i, r) in s.regs.iter_mut().enumerate() {
                if mask >> i & 1 != 0 {
                    *r = Some(u16_at(body, at));
                    at += 2;
                }
            }
        } else if tag == b"RAM " {
            let n = u32_at(body, 0) as usize;
            s.ram = (0..n).map(|i| (u32_at(body, 4 + 5 * i), body[8 + 5 * i])).collect();
        }
    }
    s
}

fn cases(b: &[u8]) -> Vec<Case> {
    let mut out = Vec::new();
    for (_, body) in chunks(b).into_iter().filter(|(tag, _)| tag == b"TEST") {
        let mut case = Case { index: u32_at(body, 0), ..Case::default() };
        for (tag, body) in chunks(&body[4..]) {
            match tag {
                b"NAME" => case.name = String::from_utf8_lossy(&body[4..]).into_owned(),
                b"BYTS" => case.bytes = body[4..].to_vec(),
                b"INIT" => case.init = snapshot(body),
                b"FINA" => case.last = snapshot(body),
                b"EXCP" => case.exception = Some(body[0]),
                _ => {}
            }
        }
        out.push(case);
    }
    out
}

/// Flags that the manual leaves undefined after this instruction, where a P6 and a 286 differ.
fn undefined_flags(case: &Case) -> u16 {
    let mut b = &case.bytes[..];
    while let [0x26 | 0x2E | 0x36 | 0x3E | 0xF0 | 0xF2 | 0xF3, rest @ ..] = b {
        b = rest;
    }
    let modrm = b.get(1).copied().unwrap_or(0);
    let reg = modrm >> 3 & 7;
    let all = CF | PF | AF | ZF | SF | OF;
    match b.first().copied().unwrap_or(0) {
        0x08..=0x0D | 0x20..=0x25 | 0x30..=0x35 | 0x84 | 0x85 | 0xA8 | 0xA9 => AF,
        0x80..=0x83 if matches!(reg, 1 | 4 | 6) => AF,
        0x27 | 0x2F => OF,
        0x37 | 0x3F => OF | SF | ZF | PF,
        0xD4 | 0xD5 => OF | AF | CF,
        0x69 | 0x6B => SF | ZF | AF | PF,
        0xC0 | 0xC1 | 0xD0..=0xD3 => match reg {
            0..=3 => OF,
            _ => OF | AF | CF,
        },
        0xF6 | 0xF7 => match reg {
            0 | 1 => AF,
            4 | 5 => SF | ZF | AF | PF,
            6 | 7 => all,
            _ => 0,
        },
        _ => 0,
    }
}

/// With a count of one, a shift defines OF and CF.
fn shifts_by_one(case: &Case) -> bool {
    let mut b = &case.bytes[..];
    while let [0x26 | 0x2E | 0x36 | 0x3E | 0xF0 | 0xF2 | 0xF3, rest @ ..] = b {
        b = rest;
    }
    matches!(b, [0xD0 | 0xD1, ..])
}

fn put(state: &mut CpuState, regs: &[Option<u16>; 14]) {
    let gpr = [0, 3, 1, 2];
    for (i, v) in regs.iter().enumerate() {
        let Some(v) = *v else { continue };
        let seg = |state: &mut CpuState, n: usize| {
            state.segments[n].selector = v;
            state.segments[n].base = u32::from(v) << 4;
        };
        match NAMES[i] {
            "cs" => seg(state, 1),
            "ss" => seg(state, 2),
            "ds" => seg(state, 3),
            "es" => seg(state, 0),
            "sp" => state.gpr[4] = u32::from(v),
            "bp" => state.gpr[5] = u32::from(v),
            "si" => state.gpr[6] = u32::from(v),
            "di" => state.gpr[7] = u32::from(v),
            "ip" => state.eip = u32::from(v),
            "flags" => state.eflags = u32::from(v & 0x0FD7) | 2,
            _ => state.gpr[gpr[i]] = u32::from(v),
        }
    }
}

fn got(state: &CpuState) -> [u16; 14] {
    let g = |i: usize| state.gpr[i] as u16;
    let s = |i: usize| state.segments[i].selector;
    [
        g(0),
        g(3),
        g(1),
        g(2),
        s(1),
        s(2),
        s(3),
        s(0),
        g(4),
        g(5),
        g(6),
        g(7),
        state.eip as u16,
        state.eflags as u16,
    ]
}

struct Machine {
    bus: TestBus,
    cpu: SoftCpu,
    reset: CpuState,
}

impl Machine {
    fn new() -> Self {
        // 17 MiB: the 286's 24 address lines, and what FFFF:FFFF reaches beyond 1 MiB.
        let bus = TestBus::new(17 << 20).unwrap();
        let mut cpu = SoftCpu::new(CpuModel::default());
        let mut reset = cpu.save();
        for s in &mut reset.segments {
            s.attributes = 0x93;
        }
        cpu.load(&reset).unwrap();
        Self { bus, cpu, reset }
    }

    /// `Err` says how the end differs.
    fn run(&mut self, case: &Case) -> Result<(), String> {
        for &(at, b) in &case.init.ram {
            self.bus.ram.write(u64::from(at), &[b]).unwrap();
        }
        let mut state = self.reset.clone();
        put(&mut state, &case.init.regs);
        state.retired = 0;
        self.cpu.load(&state).unwrap();
        self.bus.log.clear();
        self.bus.after.until = 100_000;
        let exit = self.cpu.run(&mut self.bus);
        let end = self.cpu.save();

        let mut expected = [0; 14];
        for (i, e) in expected.iter_mut().enumerate() {
            *e = case.last.regs[i].or(case.init.regs[i]).unwrap_or(0);
        }
        let mut mask = undefined_flags(case);
        if shifts_by_one(case) {
            mask &= !(OF | CF);
        }
        let actual = got(&end);
        let mut wrong = String::new();
        if !matches!(exit, Exit::Halt { .. }) {
            let _ = write!(wrong, " exit {exit:?}");
        }
        for (i, name) in NAMES.iter().enumerate() {
            let care = if *name == "flags" { 0x0FD7 & !mask } else { 0xFFFF };
            if (expected[i] ^ actual[i]) & care != 0 {
                let _ = write!(wrong, " {name} {:04X} not {:04X}", actual[i], expected[i]);
            }
        }
        // What a 286 pushes as flags has the undefined bits, and its own bits 12-15.
        let pushed = case.exception.map(|_| {
            let sp = expected[8].wrapping_add(4);
            (u32::from(expected[5]) << 4) + u32::from(sp)
        });
        for &(at, want) in &case.last.ram {
            let have = self.bus.ram.slice(u64::from(at), 1).unwrap()[0];
            let care = match pushed {
                Some(p) if at == p => !(mask as u8),
                Some(p) if at == p + 1 => !((mask >> 8) as u8) & 0x0F,
                _ => 0xFF,
            };
            if (have ^ want) & care != 0 {
                let _ = write!(wrong, " [{at:05X}] {have:02X} not {want:02X}");
            }
        }
        for &(at, _) in case.init.ram.iter().chain(&case.last.ram) {
            self.bus.ram.write(u64::from(at), &[0]).unwrap();
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }
}

/// Form and case index to reason.
fn exceptions(dir: &std::path::Path) -> BTreeMap<(String, u32), String> {
    let text = fs::read_to_string(dir.join("../80286-exceptions.txt")).unwrap_or_default();
    let mut out = BTreeMap::new();
    let mut reason = String::new();
    for line in text.lines() {
        if let Some(r) = line.strip_prefix("# ") {
            reason = r.to_string();
        } else if let Some((form, list)) = line.split_once(':') {
            for n in list.split_whitespace() {
                out.insert((form.to_string(), n.parse().unwrap()), reason.clone());
            }
        }
    }
    out
}

#[test]
fn recorded_cases() {
    let dir = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/samples/80286");
    let mut excused = exceptions(&dir);
    let listed = excused.len();
    let mut files: Vec<_> = fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|p| p.extension().is_some_and(|e| e == "gz"));
    files.sort();
    assert_eq!(files.len(), 325, "forms");
    let (mut total, mut failed) = (0, Vec::new());
    let mut machine = Machine::new();
    for path in files {
        let form = path.file_name().unwrap().to_string_lossy().replace(".MOO.gz", "");
        let mut raw = Vec::new();
        GzDecoder::new(fs::File::open(&path).unwrap()).read_to_end(&mut raw).unwrap();
        let all = cases(&raw);
        assert!(!all.is_empty(), "{form} has no cases");
        for case in &all {
            total += 1;
            let result = machine.run(case);
            if result.is_err() {
                // It may have run wild over the memory.
                machine = Machine::new();
            }
            let excuse = excused.remove(&(form.clone(), case.index));
            match (result, excuse) {
                (Err(wrong), None) => failed.push((
                    form.clone(),
                    format!("{form} {} {} {:02X?}:{wrong}", case.index, case.name, case.bytes),
                )),
                (Ok(()), Some(_)) => {
                    failed.push((form.clone(), format!("{form} {} passes: take it off the list", case.index)))
                }
                _ => {}
            }
        }
    }
    println!("{total} cases, {listed} of them listed as exceptions");
    assert!(excused.is_empty(), "listed but not there: {excused:?}");
    assert!(listed * 1000 <= total * 22, "more than 2.2 % are excused");
    if !failed.is_empty() {
        let forms: BTreeSet<_> = failed.iter().map(|f| &f.0).collect();
        if let Ok(path) = std::env::var("MOO_FAILURES") {
            let text: Vec<_> = failed.iter().map(|f| f.1.as_str()).collect();
            fs::write(path, text.join("\n")).unwrap();
        }
        let first: Vec<_> = failed.iter().take(20).map(|f| f.1.as_str()).collect();
        panic!("{} cases of {} forms fail, the first:\n{}", failed.len(), forms.len(), first.join("\n"));
    }
}
