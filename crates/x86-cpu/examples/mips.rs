//! Speed in million guest instructions per second of CPU time, on the five shapes of program that cpu.md names.
//!
//! `cargo run --release -p slotone-x86-cpu --example mips [repetitions [name]]`

use slotone_bus::cpu::{Cpu, CpuState, Exit};
use slotone_x86_cpu::test_bus::TestBus;
use slotone_x86_cpu::{CpuModel, SoftCpu};
use std::time::{Duration, Instant};

/// W1: sieve of a million bytes, then its CRC-32 by table.
///
/// ```text
/// start:
///   mov edi, 0x200000
///   mov ecx, 250000
///   mov eax, 0x01010101
///   cld
///   rep stosd
///   mov esi, 2
/// 1: mov eax, esi
///   imul eax, esi
///   cmp eax, 1000000
///   jae 3f
///   cmp byte ptr [esi+0x200000], 0
///   je 2f
/// 4: mov byte ptr [eax+0x200000], 0
///   add eax, esi
///   cmp eax, 1000000
///   jb 4b
/// 2: inc esi
///   jmp 1b
/// 3:
///   xor ebx, ebx
/// 5: mov eax, ebx
///   mov ecx, 8
/// 6: shr eax, 1
///   jnc 7f
///   xor eax, 0xEDB88320
/// 7: dec ecx
///   jnz 6b
///   mov [ebx*4+0x100000], eax
///   inc ebx
///   cmp ebx, 256
///   jb 5b
///   mov eax, -1
///   mov esi, 0x200000
///   mov ecx, 1000000
/// 8: movzx edx, byte ptr [esi]
///   xor dl, al
///   shr eax, 8
///   xor eax, [edx*4+0x100000]
///   inc esi
///   dec ecx
///   jnz 8b
///   not eax
///   hlt
/// ```
#[rustfmt::skip]
const W1: &[u8] = &[
    0xBF, 0x00, 0x00, 0x20, 0x00, 0xB9, 0x90, 0xD0, 0x03, 0x00, 0xB8, 0x01, 0x01, 0x01, 0x01, 0xFC, 0xF3, 0xAB,
    0xBE, 0x02, 0x00, 0x00, 0x00, 0x89, 0xF0, 0x0F, 0xAF, 0xC6, 0x3D, 0x40, 0x42, 0x0F, 0x00, 0x73, 0x1C, 0x80,
    0xBE, 0x00, 0x00, 0x20, 0x00, 0x00, 0x74, 0x10, 0xC6, 0x80, 0x00, 0x00, 0x20, 0x00, 0x00, 0x01, 0xF0, 0x3D,
    0x40, 0x42, 0x0F, 0x00, 0x72, 0xF0, 0x46, 0xEB, 0xD8, 0x31, 0xDB, 0x89, 0xD8, 0xB9, 0x08, 0x00, 0x00, 0x00,
    0xD1, 0xE8, 0x73, 0x05, 0x35, 0x20, 0x83, 0xB8, 0xED, 0x49, 0x75, 0xF4, 0x89, 0x04, 0x9D, 0x00, 0x00, 0x10,
    0x00, 0x43, 0x81, 0xFB, 0x00, 0x01, 0x00, 0x00, 0x72, 0xDD, 0xB8, 0xFF, 0xFF, 0xFF, 0xFF, 0xBE, 0x00, 0x00,
    0x20, 0x00, 0xB9, 0x40, 0x42, 0x0F, 0x00, 0x0F, 0xB6, 0x16, 0x30, 0xC2, 0xC1, 0xE8, 0x08, 0x33, 0x04, 0x95,
    0x00, 0x00, 0x10, 0x00, 0x46, 0x49, 0x75, 0xED, 0xF7, 0xD0, 0xF4
];

/// W2: fib(27) by recursion.
///
/// ```text
/// start:
///   mov eax, 27
///   call fib
///   hlt
/// fib:
///   push ebx
///   push esi
///   mov ebx, eax
///   cmp ebx, 2
///   jb 1f
///   lea eax, [ebx-1]
///   call fib
///   mov esi, eax
///   lea eax, [ebx-2]
///   call fib
///   add eax, esi
///   pop esi
///   pop ebx
///   ret
/// 1: mov eax, ebx
///   pop esi
///   pop ebx
///   ret
/// ```
#[rustfmt::skip]
const W2: &[u8] = &[
    0xB8, 0x1B, 0x00, 0x00, 0x00, 0xE8, 0x01, 0x00, 0x00, 0x00, 0xF4, 0x53, 0x56, 0x89, 0xC3, 0x83, 0xFB, 0x02,
    0x72, 0x17, 0x8D, 0x43, 0xFF, 0xE8, 0xEF, 0xFF, 0xFF, 0xFF, 0x89, 0xC6, 0x8D, 0x43, 0xFE, 0xE8, 0xE5, 0xFF,
    0xFF, 0xFF, 0x01, 0xF0, 0x5E, 0x5B, 0xC3, 0x89, 0xD8, 0x5E, 0x5B, 0xC3
];

/// W3: REP MOVSD, REP MOVSB, and a LODSB/STOSB loop.
///
/// ```text
/// start:
///   cld
///   mov ebx, 40
/// 1:
///   mov esi, 0x200000
///   mov edi, 0x300000
///   mov ecx, 65536
///   rep movsd
///   mov esi, 0x300001
///   mov edi, 0x400000
///   mov ecx, 262140
///   rep movsb
///   mov esi, 0x400000
///   mov edi, 0x200000
///   mov ecx, 50000
/// 2: lodsb
///   add al, 3
///   stosb
///   loop 2b
///   dec ebx
///   jnz 1b
///   hlt
/// ```
#[rustfmt::skip]
const W3: &[u8] = &[
    0xFC, 0xBB, 0x28, 0x00, 0x00, 0x00, 0xBE, 0x00, 0x00, 0x20, 0x00, 0xBF, 0x00, 0x00, 0x30, 0x00, 0xB9, 0x00,
    0x00, 0x01, 0x00, 0xF3, 0xA5, 0xBE, 0x01, 0x00, 0x30, 0x00, 0xBF, 0x00, 0x00, 0x40, 0x00, 0xB9, 0xFC, 0xFF,
    0x03, 0x00, 0xF3, 0xA4, 0xBE, 0x00, 0x00, 0x40, 0x00, 0xBF, 0x00, 0x00, 0x20, 0x00, 0xB9, 0x50, 0xC3, 0x00,
    0x00, 0xAC, 0x04, 0x03, 0xAA, 0xE2, 0xFA, 0x4B, 0x75, 0xC6, 0xF4
];

/// W4: x87 arithmetic on memory and the stack.
///
/// ```text
/// start:
///   fninit
///   fld1
///   fild dword ptr [three]
///   fdivp st(1), st
///   fstp qword ptr [0x200000]
///   fldz
///   mov ecx, 1000000
/// 1: fld qword ptr [0x200000]
///   fmul st, st(1)
///   fild dword ptr [three]
///   faddp st(1), st
///   fxch st(1)
///   fstp st
///   fld qword ptr [0x200000]
///   fsubp st(1), st
///   fst qword ptr [0x200010]
///   dec ecx
///   jnz 1b
///   fstp qword ptr [0x200008]
///   mov eax, [0x200008]
///   hlt
/// three: .long 3
/// ```
#[rustfmt::skip]
const W4: &[u8] = &[
    0xDB, 0xE3, 0xD9, 0xE8, 0xDB, 0x05, 0x4A, 0x00, 0x01, 0x00, 0xDE, 0xF9, 0xDD, 0x1D, 0x00, 0x00, 0x20, 0x00,
    0xD9, 0xEE, 0xB9, 0x40, 0x42, 0x0F, 0x00, 0xDD, 0x05, 0x00, 0x00, 0x20, 0x00, 0xD8, 0xC9, 0xDB, 0x05, 0x4A,
    0x00, 0x01, 0x00, 0xDE, 0xC1, 0xD9, 0xC9, 0xDD, 0xD8, 0xDD, 0x05, 0x00, 0x00, 0x20, 0x00, 0xDE, 0xE9, 0xDD,
    0x15, 0x10, 0x00, 0x20, 0x00, 0x49, 0x75, 0xDB, 0xDD, 0x1D, 0x08, 0x00, 0x20, 0x00, 0xA1, 0x08, 0x00, 0x20,
    0x00, 0xF4, 0x03, 0x00, 0x00, 0x00
];

/// W5: indirect calls, target picked at random.
///
/// ```text
/// start:
///   mov ecx, 1000000
///   mov ebx, 12345
/// 1: imul ebx, ebx, 1103515245
///   add ebx, 12345
///   mov edx, ebx
///   shr edx, 16
///   and edx, 7
///   call dword ptr [edx*4+table]
///   dec ecx
///   jnz 1b
///   hlt
/// f0: add eax, 1
///   ret
/// f1: xor eax, ebx
///   ret
/// f2: sub eax, edx
///   ret
/// f3: rol eax, 3
///   ret
/// f4: lea eax, [eax+eax*2]
///   ret
/// f5: not eax
///   ret
/// f6: add eax, ecx
///   ret
/// f7: neg eax
///   ret
/// table: .long f0,f1,f2,f3,f4,f5,f6,f7
/// ```
#[rustfmt::skip]
const W5: &[u8] = &[
    0xB9, 0x40, 0x42, 0x0F, 0x00, 0xBB, 0x39, 0x30, 0x00, 0x00, 0x69, 0xDB, 0x6D, 0x4E, 0xC6, 0x41, 0x81, 0xC3,
    0x39, 0x30, 0x00, 0x00, 0x89, 0xDA, 0xC1, 0xEA, 0x10, 0x83, 0xE2, 0x07, 0xFF, 0x14, 0x95, 0x44, 0x00, 0x01,
    0x00, 0x49, 0x75, 0xE2, 0xF4, 0x83, 0xC0, 0x01, 0xC3, 0x31, 0xD8, 0xC3, 0x29, 0xD0, 0xC3, 0xC1, 0xC0, 0x03,
    0xC3, 0x8D, 0x04, 0x40, 0xC3, 0xF7, 0xD0, 0xC3, 0x01, 0xC8, 0xC3, 0xF7, 0xD8, 0xC3, 0x29, 0x00, 0x01, 0x00,
    0x2D, 0x00, 0x01, 0x00, 0x30, 0x00, 0x01, 0x00, 0x33, 0x00, 0x01, 0x00, 0x37, 0x00, 0x01, 0x00, 0x3B, 0x00,
    0x01, 0x00, 0x3E, 0x00, 0x01, 0x00, 0x41, 0x00, 0x01, 0x00
];
const BASE: u64 = 0x1_0000;
const PAGE_DIRECTORY: u64 = 0x8000;

struct Program {
    name: &'static str,
    code: &'static [u8],
    /// EAX at the end.
    result: Option<u32>,
}

const PROGRAMS: [Program; 5] = [
    Program { name: "W1 sieve and CRC", code: W1, result: Some(0x37E3_B1B9) },
    Program { name: "W2 fib", code: W2, result: Some(196_418) },
    Program { name: "W3 string moves", code: W3, result: None },
    Program { name: "W4 x87", code: W4, result: None },
    Program { name: "W5 indirect calls", code: W5, result: Some(0xDA62_F914) },
];

/// Flat 32-bit protected mode at CPL 0, with identity pages of 4 MiB if `paging`.
fn protected(cpu: &SoftCpu, bus: &mut TestBus, paging: bool) -> CpuState {
    let mut s = cpu.save();
    for (i, seg) in s.segments.iter_mut().enumerate() {
        seg.selector = if i == 1 { 8 } else { 16 };
        seg.base = 0;
        seg.limit = u32::MAX;
        seg.attributes = if i == 1 { 0xC09B } else { 0xC093 };
    }
    s.cr0 = 0x11;
    s.eip = BASE as u32;
    s.gpr = [0; 8];
    s.gpr[4] = 0x8_0000;
    if paging {
        for i in 0..8u32 {
            let entry = i << 22 | 0xE3;
            bus.ram.write(PAGE_DIRECTORY + 4 * u64::from(i), &entry.to_le_bytes()).expect("in RAM");
        }
        s.cr3 = PAGE_DIRECTORY as u32;
        s.cr4 = 0x10;
        s.cr0 |= 1 << 31;
    }
    s
}

/// CPU time of this thread, where the system tells; else time on the wall.
fn cpu_time(start: Instant) -> Duration {
    let stat = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    match stat.split_whitespace().next().and_then(|n| n.parse().ok()) {
        Some(ns) => Duration::from_nanos(ns),
        None => start.elapsed(),
    }
}

fn main() {
    let repetitions: u32 = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(5);
    let start = Instant::now();
    let wanted = std::env::args().nth(2).unwrap_or_default();
    for program in PROGRAMS.iter().filter(|p| p.name.contains(&wanted)) {
        for paging in [false, true] {
            let mut best: f64 = 0.0;
            let mut count = 0;
            for _ in 0..repetitions {
                let mut bus = TestBus::new(32 << 20).expect("32 MiB");
                bus.ram.write(BASE, program.code).expect("in RAM");
                let mut cpu = SoftCpu::new(CpuModel::default());
                let state = protected(&cpu, &mut bus, paging);
                cpu.load(&state).expect("a valid state");
                let before = cpu_time(start);
                let exit = cpu.run(&mut bus);
                let taken = cpu_time(start) - before;
                assert!(matches!(exit, Exit::Halt { .. }), "{} ended with {exit:?}", program.name);
                let eax = cpu.save().gpr[0];
                assert!(program.result.is_none_or(|r| r == eax), "{}: EAX is {eax:#X}", program.name);
                count = cpu.retired();
                best = best.max(count as f64 / taken.as_secs_f64() / 1e6);
            }
            let pages = if paging { "paged" } else { "     " };
            println!("{:<20} {pages} {count:>10} instructions {best:>8.1} MIPS", program.name);
        }
    }
}
