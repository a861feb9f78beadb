//! What functions begin and end with is done two instructions at a time: nobody may notice.

mod common;

use common::*;
use slotone_bus::cpu::{Cpu, CpuState, Exit};

const UD: u8 = 6;
const PF: u8 = 14;
/// A page of data of its own.
const PAGE: u32 = 0x38_0000;

fn user_machine(esp: u32, missing: u32) -> Machine {
    let mut m = Machine::new();
    m.page(6);
    m.user();
    m.pte(missing, 0);
    m.state.gpr[4] = esp;
    m
}

#[test]
fn a_fault_of_the_second_is_its_own() {
    // mov edx,[esp]; push eax; push ecx
    let mut m = user_machine(PAGE + 4, PAGE - 0x1000);
    m.state.gpr[0] = 0x1234_5678;
    let touch: &[u8] = &[0x89, 0x14, 0x24];
    let e = m.faults("push, push", &[touch, &[0x50, 0x51]].concat(), PF, Some(6), 4);
    assert_eq!((e.state.cr2, m.read32(PAGE)), (PAGE - 4, 0x1234_5678));
    assert_eq!(m.read32(e.state.gpr[4] + 16), PAGE, "ESP behind the first PUSH");
    // mov [esp],edx; pop eax; pop ecx, and pop eax; ret
    for (what, second) in [("pop, pop", 0x59), ("pop, ret", 0xC3)] {
        let mut m = user_machine(PAGE - 4, PAGE);
        m.state.gpr[2] = 77;
        let e = m.faults(what, &[touch, &[0x58, second]].concat(), PF, Some(4), 4);
        assert_eq!((e.state.cr2, e.state.gpr[0]), (PAGE, 77), "{what}");
        assert_eq!(m.read32(e.state.gpr[4] + 16), PAGE, "{what}: ESP behind the POP");
    }
}

#[test]
fn a_second_that_is_undefined_is_no_second() {
    // cmp eax,eax; lock je
    Machine::new().faults("cmp, je", &[0x39, 0xC0, 0xF0, 0x74, 0], UD, None, 2);
    // push eax; lock mov ecx,edx
    Machine::new().faults("push, mov", &[0x50, 0xF0, 0x89, 0xD1], UD, None, 1);
}

/// Runs code to its HLT, an exception or two hundred instructions, `slice` at a time.
fn in_slices(code: &[u8], gpr: [u32; 8], stack: &[u32], slice: u64) -> (CpuState, Vec<u8>) {
    let mut m = Machine::new();
    m.write(CODE, code);
    for (i, &v) in stack.iter().enumerate() {
        m.write32(gpr[4] + 4 * i as u32, v);
    }
    m.state.gpr = gpr;
    m.cpu.load(&m.state).unwrap();
    let end = m.cpu.retired() + 200;
    loop {
        m.bus.after.until = end.min(m.cpu.retired() + slice);
        if m.cpu.run(&mut m.bus) != Exit::Budget || m.cpu.retired() == end {
            break;
        }
    }
    let stack = m.bus.ram.slice(u64::from(STACK0 - 0x800), 0x1000).unwrap().to_vec();
    (m.cpu.save(), stack)
}

#[test]
fn any_mixture_is_the_same_one_by_one() {
    let mut random = Random(0x5EED_0007);
    for round in 0..300 {
        let mut code = Vec::new();
        for _ in 0..24 {
            // ESP seldom: what comes behind it is often a fault.
            let mut register = || loop {
                let r = random.below(8) as u8;
                if r != 4 || random.below(16) == 0 {
                    break r;
                }
            };
            let (a, b) = (register(), register());
            match random.below(8) {
                0..=2 => code.push(0x50 + a),
                3..=5 => code.push(0x58 + a),
                6 => code.extend([if b & 1 == 0 { 0x89 } else { 0x8B }, 0xC0 | a << 3 | b]),
                _ => code.extend([0x58 + a, 0xC3]),
            }
        }
        code.push(0xF4);
        // Stack and registers full of places in the code, so that returns lead somewhere.
        let mut place = || CODE + random.below(code.len() as u32);
        let mut gpr = [0; 8].map(|_: u32| place());
        gpr[4] = STACK0 - 0x200;
        let stack = [0; 128].map(|_: u32| place());
        let alone = in_slices(&code, gpr, &stack, 1);
        for slice in [2, 3, 200] {
            let cut = in_slices(&code, gpr, &stack, slice);
            assert_eq!(cut, alone, "round {round}, {slice} at a time: {code:02X?}");
        }
    }
}
