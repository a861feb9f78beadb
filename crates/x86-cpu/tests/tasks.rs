//! Hardware task switches: JMP, CALL, IRET, task gates; busy bits, links, NT, TS; what faults where.

mod common;

use common::*;

const TS: u8 = 10;
const GP: u8 = 13;
const NP: u8 = 11;
const NT: u32 = 1 << 14;

/// Fills TASK2's TSS: it starts at CODE+200h with its own registers.
fn second_task(m: &mut Machine) {
    m.write32(TSS2 + 0x1C, PAGE_DIRECTORY);
    m.write32(TSS2 + 0x20, CODE + 0x200);
    m.write32(TSS2 + 0x24, 2);
    for i in 0..8 {
        m.write32(TSS2 + 0x28 + 4 * i, 0x1000 + i);
    }
    m.write32(TSS2 + 0x38, STACK3);
    for (i, s) in [DATA0, CODE0, DATA0, DATA0, 0, 0].into_iter().enumerate() {
        m.write32(TSS2 + 0x48 + 4 * i as u32, u32::from(s));
    }
    m.write32(TSS2 + 0x60, 0);
    m.write32(TSS2 + 0x64, 0);
}

fn access(m: &Machine, selector: u16) -> u8 {
    m.bus.ram.slice(u64::from(GDT + u32::from(selector) + 5), 1).unwrap()[0]
}

fn far(opcode: u8, selector: u16) -> Vec<u8> {
    let [lo, hi] = selector.to_le_bytes();
    vec![opcode, 0, 0, 0, 0, lo, hi]
}

#[test]
fn jump() {
    let mut m = Machine::new();
    second_task(&mut m);
    m.write(CODE + 0x200, &[0xF4]);
    m.state.gpr[0] = 0xAAAA;
    let s = m.passes("JMP to a TSS", &far(0xEA, TASK2));
    assert_eq!(s.gpr[0..4], [0x1000, 0x1001, 0x1002, 0x1003]);
    assert_eq!((s.gpr[4], s.eip), (STACK3, CODE + 0x201));
    assert_eq!(s.tr.selector, TASK2);
    assert_eq!(s.tr.attributes & 0xF, 0xB, "busy in TR");
    assert_eq!((access(&m, TASK), access(&m, TASK2)), (0x89, 0x8B), "busy bits");
    assert_ne!(s.cr0 & 8, 0, "TS");
    assert_eq!(s.eflags & NT, 0);
    assert_eq!(m.read32(TSS + 0x28), 0xAAAA, "EAX of the old task");
    assert_eq!(m.read32(TSS + 0x20), CODE + 7, "EIP of the old task");
    assert_eq!(m.read32(TSS2) & 0xFFFF, 0, "no link");
}

#[test]
fn call_and_return() {
    for by_gate in [false, true] {
        let mut m = Machine::new();
        second_task(&mut m);
        m.descriptor(FREE, gate(TASK2, 0, 0x85, 0));
        // inc ebx; iret; and round again
        m.write(CODE + 0x200, &[0x43, 0xCF, 0xEB, 0xFC]);
        let mut code = far(0x9A, if by_gate { FREE } else { TASK2 });
        code.extend(far(0x9A, if by_gate { FREE } else { TASK2 }));
        code.push(0xF4);
        m.state.gpr[3] = 7;
        let s = m.passes("CALL to a TSS", &code);
        assert_eq!(s.gpr[3], 7);
        assert_eq!(s.tr.selector, TASK);
        assert_eq!((access(&m, TASK), access(&m, TASK2)), (0x8B, 0x89));
        assert_eq!(m.read32(TSS2) & 0xFFFF, u32::from(TASK), "link");
        assert_eq!(m.read32(TSS2 + 0x34), 0x1003 + 2, "EBX of the second task went on from where it was");
        assert_eq!(m.read32(TSS2 + 0x24) & NT, 0, "NT is cleared in the image it leaves");
        assert_eq!(s.eflags & NT, 0);
    }
}

#[test]
fn nesting_is_seen() {
    let mut m = Machine::new();
    second_task(&mut m);
    m.write(CODE + 0x200, &[0xF4]);
    let s = m.passes("CALL", &far(0x9A, TASK2));
    assert_ne!(s.eflags & NT, 0, "NT in the new task");
    assert_eq!((access(&m, TASK), access(&m, TASK2)), (0x8B, 0x8B), "both busy");
}

#[test]
fn what_cannot_be_switched_to() {
    let rows = [
        ("busy", descriptor(TSS2, 0x67, 0x8B, 0), TASK2, GP, TASK2),
        ("not present", descriptor(TSS2, 0x67, 0x09, 0), TASK2, NP, TASK2),
        ("too short", descriptor(TSS2, 0x66, 0x89, 0), TASK2, TS, TASK2),
        ("16-bit, too short", descriptor(TSS2, 0x2A, 0x81, 0), TASK2, TS, TASK2),
        ("RPL above DPL", descriptor(TSS2, 0x67, 0x89, 0), TASK2 | 3, GP, TASK2),
    ];
    for (what, d, selector, vector, error) in rows {
        let mut m = Machine::new();
        second_task(&mut m);
        m.descriptor(TASK2, d);
        m.faults(what, &far(0xEA, selector), vector, Some(u32::from(error)), 0);
        m.faults(what, &far(0x9A, selector), vector, Some(u32::from(error)), 0);
        assert_eq!(access(&m, TASK), 0x8B, "{what}");
    }
    // A back link to a task that is not busy.
    let mut m = Machine::new();
    m.state.eflags |= NT;
    m.write16(TSS, TASK2);
    second_task(&mut m);
    m.faults("IRET to a task that is not busy", &[0xCF], TS, Some(u32::from(TASK2)), 0);
}

#[test]
fn a_bad_segment_faults_in_the_new_task() {
    // (what, index into ES CS SS DS FS GS, selector, vector)
    let rows = [
        ("CS is data", 1, DATA0, TS, DATA0),
        ("CS null", 1, 0, TS, 0),
        ("SS of another level", 2, DATA3, TS, DATA3 & !3),
        ("SS null", 2, 0, TS, 0),
        ("DS beyond the GDT", 3, 0x800, TS, 0x800),
        ("DS not present", 3, FREE, NP, FREE),
    ];
    for (what, index, selector, vector, error) in rows {
        let mut m = Machine::new();
        second_task(&mut m);
        m.descriptor(FREE, descriptor(0, 0xFFFF, 0x13, 0));
        m.write32(TSS2 + 0x48 + 4 * index, u32::from(selector));
        if matches!(index, 1 | 2) {
            // It has no usable stack or code segment: only another task can take the fault.
            const TSS3: u32 = 0x3800;
            let image = m.bus.ram.slice(u64::from(TSS2), 0x68).unwrap().to_vec();
            m.write(TSS3, &image);
            m.write32(TSS3 + 0x20, HANDLERS + u32::from(vector));
            for (i, s) in [DATA0, CODE0, DATA0, DATA0, 0, 0].into_iter().enumerate() {
                m.write32(TSS3 + 0x48 + 4 * i as u32, u32::from(s));
            }
            m.descriptor(FREE + 8, descriptor(TSS3, 0x67, 0x89, 0));
            m.gate(vector, gate(FREE + 8, 0, 0x85, 0));
        }
        let e = m.run(&far(0xEA, TASK2));
        assert_eq!(e.vector, Some(vector), "{what}: {e:?}");
        assert_eq!(
            m.read32(STACK3 - if matches!(index, 1 | 2) { 4 } else { 16 }),
            u32::from(error),
            "{what}"
        );
        assert_eq!((access(&m, TASK), access(&m, TASK2)), (0x89, 0x8B), "{what}: the switch is done");
        if !matches!(index, 1 | 2) {
            assert_eq!(e.pushed[0], CODE + 0x200, "{what}: EIP is the new task's");
        }
    }
}

#[test]
fn sixteen_bit_tasks() {
    let mut m = Machine::new();
    m.descriptor(TASK2, descriptor(TSS2, 0x2B, 0x81, 0));
    m.write16(TSS2 + 0x0E, 0x4242);
    m.write16(TSS2 + 0x10, 2);
    for i in 0..8 {
        m.write16(TSS2 + 0x12 + 2 * i, 0x2000 + i as u16);
    }
    m.descriptor(FREE, descriptor(CODE, 0xFFFF, 0x9B, 0));
    for (i, s) in [DATA0, FREE, DATA0, DATA0].into_iter().enumerate() {
        m.write16(TSS2 + 0x22 + 2 * i as u32, s);
    }
    m.write16(TSS2 + 0x2A, 0);
    m.write(CODE + 0x4242, &[0xF4]);
    let s = m.passes("16-bit TSS", &far(0xEA, TASK2));
    assert_eq!(s.gpr[0] & 0xFFFF, 0x2000);
    assert_eq!((s.segments[1].selector, s.eip), (FREE, 0x4243));
    assert_eq!(access(&m, TASK2), 0x83);
}

#[test]
fn paging_and_ldt_change_with_the_task() {
    let mut m = Machine::new();
    m.page(6);
    second_task(&mut m);
    // The new task has a directory of its own in which DATA is another page.
    const OTHER: u32 = 0x9000;
    const OTHER_TABLE: u32 = 0xA000;
    m.write32(OTHER, OTHER_TABLE | 7);
    for i in 0..1024 {
        m.write32(OTHER_TABLE + 4 * i, i << 12 | 7);
    }
    m.write32(OTHER_TABLE + 4 * (DATA >> 12), 0x38_0000 | 7);
    m.write32(TSS2 + 0x1C, OTHER);
    m.write32(TSS2 + 0x60, u32::from(LDT_SEL));
    m.write32(TSS2 + 0x54, u32::from(0xCu16));
    m.descriptor(0xC, descriptor(0, 0xF_FFFF, 0x93, 0xC));
    m.write32(DATA, 1);
    m.write32(0x38_0000, 2);
    // mov eax,[DATA]; hlt
    m.write(CODE + 0x200, &[0xA1, 0, 0, 3, 0, 0xF4]);
    m.state.ldtr = slotone_bus::cpu::Segment { selector: 0, base: 0, limit: 0, attributes: 1 << 16 };
    let s = m.passes("new directory", &far(0xEA, TASK2));
    assert_eq!((s.gpr[0], s.cr3), (2, OTHER));
    assert_eq!((s.ldtr.selector, s.segments[3].selector), (LDT_SEL, 0xC));
}

#[test]
fn faults_by_task_gate() {
    // #UD handled in a task of its own; its IRET goes back to the instruction, with RF set in the image.
    let mut m = Machine::new();
    m.handle_in_task(6);
    let e = m.run(&[0x40, 0x0F, 0x0B]);
    assert_eq!(e.vector, Some(6));
    assert_eq!(m.read32(TSS + 0x20), CODE + 1);
    assert_ne!(m.read32(TSS + 0x24) & 1 << 16, 0, "RF");
    assert_eq!(m.read32(TSS2) & 0xFFFF, u32::from(TASK));
}

#[test]
fn the_debug_trap_bit() {
    let mut m = Machine::new();
    second_task(&mut m);
    m.write32(TSS2 + 0x64, 1);
    m.write(CODE + 0x200, &[0xF4]);
    let e = m.run(&far(0xEA, TASK2));
    assert_eq!((e.vector, e.pushed[0]), (Some(1), CODE + 0x200));
    assert_ne!(e.state.dr[6] & 1 << 15, 0, "DR6.BT");
}
