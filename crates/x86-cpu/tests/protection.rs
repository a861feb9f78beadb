//! Segmentation, privilege and gates against the tables of the Intel SDM, volume 3.

mod common;

use common::*;
use slotone_bus::cpu::{Cpu, Exit};

const GP: u8 = 13;
const SS: u8 = 12;
const NP: u8 = 11;
const UD: u8 = 6;

/// mov ax, `selector`; mov `sreg`, ax; hlt
fn load(sreg: u8, selector: u16) -> Vec<u8> {
    let [lo, hi] = selector.to_le_bytes();
    vec![0x66, 0xB8, lo, hi, 0x8E, 0xC0 | sreg << 3, 0xF4]
}

const DS_REG: u8 = 3;
const SS_REG: u8 = 2;
const FS_REG: u8 = 4;

/// Access bytes without DPL and P.
const DATA_RO: u8 = 0x10;
const DATA_RW: u8 = 0x12;
const CODE_X: u8 = 0x18;
const CODE_XR: u8 = 0x1A;
const CONFORMING_XR: u8 = 0x1E;
const SYSTEM_LDT: u8 = 0x02;

#[test]
fn loading_data_segments() {
    const P: u8 = 0x80;
    let dpl = |n: u8| n << 5;
    // (what, user, access, rpl, expected vector)
    let rows = [
        ("read-only data", false, P | DATA_RO, 0, None),
        ("writable data", false, P | DATA_RW, 0, None),
        ("readable code", false, P | CODE_XR, 0, None),
        ("execute-only code", false, P | CODE_X, 0, Some(GP)),
        ("a system segment", false, P | SYSTEM_LDT, 0, Some(GP)),
        ("not present", false, DATA_RW, 0, Some(NP)),
        ("DPL 3 from CPL 0", false, P | DATA_RW | dpl(3), 3, None),
        ("RPL 3 on DPL 0", false, P | DATA_RW, 3, Some(GP)),
        ("DPL 0 from CPL 3", true, P | DATA_RW, 0, Some(GP)),
        ("DPL 3 from CPL 3", true, P | DATA_RW | dpl(3), 3, None),
        ("DPL 2 from CPL 3", true, P | DATA_RW | dpl(2), 2, Some(GP)),
        ("conforming code of DPL 0 from CPL 3", true, P | CONFORMING_XR, 3, None),
        ("non-conforming code of DPL 0 from CPL 3", true, P | CODE_XR, 3, Some(GP)),
        ("not present and not allowed", true, DATA_RW, 3, Some(GP)),
    ];
    for (what, user, access, rpl, expected) in rows {
        let mut m = Machine::new();
        if user {
            m.user();
        }
        m.descriptor(FREE, descriptor(0x1234, 0xFF, access, 0));
        let selector = FREE | rpl;
        for reg in [DS_REG, FS_REG, 0, 5] {
            let code = load(reg, selector);
            if let Some(v) = expected {
                m.faults(what, &code, v, Some(u32::from(FREE)), 4);
                continue;
            }
            // At CPL 3 the HLT faults, after the load went through.
            let state =
                if user { m.faults(what, &code, GP, Some(0), 6).state } else { m.passes(what, &code) };
            let s = state.segments[usize::from(reg)];
            if !user {
                assert_eq!((s.selector, s.base, s.limit), (selector, 0x1234, 0xFF), "{what}");
            }
            let accessed = m.bus.ram.slice(u64::from(GDT + u32::from(FREE) + 5), 1).unwrap()[0] & 1;
            assert_eq!(accessed, 1, "{what}: the descriptor is marked accessed");
        }
    }
}

#[test]
fn loading_the_stack_segment() {
    const P: u8 = 0x80;
    let rows = [
        ("writable data", P | DATA_RW, FREE, None),
        ("read-only data", P | DATA_RO, FREE, Some((GP, FREE))),
        ("code", P | CODE_XR, FREE, Some((GP, FREE))),
        ("not present", DATA_RW, FREE, Some((SS, FREE))),
        ("RPL 3", P | DATA_RW | 0x60, FREE | 3, Some((GP, FREE))),
        ("DPL 3", P | DATA_RW | 0x60, FREE, Some((GP, FREE))),
        ("null", P | DATA_RW, 0, Some((GP, 0))),
        ("beyond the GDT", P | DATA_RW, 0x0800, Some((GP, 0x0800))),
    ];
    for (what, access, selector, expected) in rows {
        let mut m = Machine::new();
        m.descriptor(FREE, descriptor(0, 0xF_FFFF, access, 0xC));
        let code = load(SS_REG, selector);
        match expected {
            Some((v, code_)) => {
                m.faults(what, &code, v, Some(u32::from(code_)), 4);
            }
            None => {
                m.passes(what, &code);
            }
        }
    }
}

#[test]
fn null_selectors_fault_when_used() {
    let mut m = Machine::new();
    // xor eax,eax; mov fs,ax; mov eax,fs:[0]
    m.faults("null FS", &[0x31, 0xC0, 0x8E, 0xE0, 0x64, 0xA1, 0, 0, 0, 0, 0xF4], GP, Some(0), 4);
    m.passes("not used", &[0x31, 0xC0, 0x8E, 0xE0, 0xF4]);
}

#[test]
fn limits() {
    // (what, access, limit, flags, offset, width, write, faults)
    let rows = [
        ("last byte", 0x93, 0xFFF, 0, 0xFFF, 1, false, false),
        ("word across the limit", 0x93, 0xFFF, 0, 0xFFF, 2, false, true),
        ("last doubleword", 0x93, 0xFFF, 0, 0xFFC, 4, true, false),
        ("doubleword across the limit", 0x93, 0xFFF, 0, 0xFFD, 4, true, true),
        ("beyond", 0x93, 0xFFF, 0, 0x1000, 1, false, true),
        ("pages: last byte", 0x93, 1, 8, 0x1FFF, 1, false, false),
        ("pages: beyond", 0x93, 1, 8, 0x2000, 1, false, true),
        ("expand-down: the limit itself", 0x97, 0xFFF, 4, 0xFFF, 1, false, true),
        ("expand-down: above the limit", 0x97, 0xFFF, 4, 0x1000, 4, true, false),
        ("expand-down: across the limit", 0x97, 0xFFF, 4, 0xFFE, 4, true, true),
        ("expand-down, 64 KiB: top", 0x97, 0xFFF, 0, 0xFFFC, 4, true, false),
        ("expand-down, 64 KiB: across the top", 0x97, 0xFFF, 0, 0xFFFE, 4, true, true),
        ("expand-down, 64 KiB: beyond", 0x97, 0xFFF, 0, 0x1_0000, 1, true, true),
        ("writing read-only data", 0x91, 0xFFFF, 0, 0, 1, true, true),
        ("reading read-only data", 0x91, 0xFFFF, 0, 0, 1, false, false),
        ("writing code", 0x9B, 0xFFFF, 0, 0, 1, true, true),
    ];
    for (what, access, limit, flags, offset, width, write, faults) in rows {
        for (prefix, reg, vector) in [(0x64, FS_REG, GP), (0x36, SS_REG, SS)] {
            if reg == SS_REG && access & 0x1A != 0x12 {
                continue;
            }
            let mut m = Machine::new();
            // Based low enough that base + offset stays in RAM, expand-down or not.
            m.descriptor(FREE, descriptor(DATA, limit, access, flags));
            let mut code = load(reg, FREE);
            code.pop();
            let at = code.len() as u32;
            code.push(prefix);
            let opcode = if write { 0xA2 } else { 0xA0 };
            match width {
                1 => code.push(opcode),
                2 => code.extend([0x66, opcode + 1]),
                _ => code.push(opcode + 1),
            }
            code.extend(u32::to_le_bytes(offset));
            code.push(0xF4);
            if faults && reg == SS_REG {
                // The handler needs a stack: the fault is delivered through a task gate's TSS instead.
                m.handle_in_task(vector);
                let e = m.run(&code);
                assert_eq!(e.vector, Some(vector), "{what} by SS: {e:?}");
                assert_eq!(m.read32(STACK3 - 4), 0, "{what} by SS: error code");
                assert_eq!(m.read32(TSS + 0x20), CODE + at, "{what} by SS: EIP in the old TSS");
            } else if faults {
                m.faults(what, &code, vector, Some(0), at);
            } else {
                m.passes(what, &code);
            }
        }
    }
}

#[test]
fn privileged_instructions() {
    let rows: &[(&str, &[u8])] = &[
        ("HLT", &[0xF4]),
        ("CLTS", &[0x0F, 0x06]),
        ("LGDT", &[0x0F, 0x01, 0x15, 0, 0, 3, 0]),
        ("LIDT", &[0x0F, 0x01, 0x1D, 0, 0, 3, 0]),
        ("LMSW", &[0x0F, 0x01, 0xF0]),
        ("INVLPG", &[0x0F, 0x01, 0x3D, 0, 0, 3, 0]),
        ("LLDT", &[0x0F, 0x00, 0xD0]),
        ("LTR", &[0x0F, 0x00, 0xD8]),
        ("MOV CR0, EAX", &[0x0F, 0x22, 0xC0]),
        ("MOV EAX, CR3", &[0x0F, 0x20, 0xD8]),
        ("MOV DR7, EAX", &[0x0F, 0x23, 0xF8]),
        ("MOV EAX, DR0", &[0x0F, 0x21, 0xC0]),
        ("INVD", &[0x0F, 0x08]),
        ("WBINVD", &[0x0F, 0x09]),
        ("RDMSR", &[0x0F, 0x32]),
        ("WRMSR", &[0x0F, 0x30]),
        ("SYSEXIT", &[0x0F, 0x35]),
        ("CLI", &[0xFA]),
        ("STI", &[0xFB]),
        ("IN", &[0xE4, 0x80]),
        ("OUT", &[0xE6, 0x80]),
        ("INSB", &[0x6C]),
        ("OUTSB", &[0x6E]),
    ];
    for (what, code) in rows {
        let mut m = Machine::new();
        m.user();
        m.state.gpr[1] = 0x174;
        m.state.gpr[2] = 0x3F8;
        m.faults(what, code, GP, Some(0), 0);
    }
}

#[test]
fn undefined_instructions() {
    let rows: &[(&str, &[u8])] = &[
        ("UD2", &[0x0F, 0x0B]),
        ("0F FF", &[0x0F, 0xFF]),
        ("LOCK MOV", &[0xF0, 0x89, 0x00]),
        ("LOCK ADD to a register", &[0xF0, 0x01, 0xC0]),
        ("LOCK CMP", &[0xF0, 0x39, 0x00]),
        ("LOCK NOP", &[0xF0, 0x90]),
        ("LEA with a register", &[0x8D, 0xC0]),
        ("MOV CS, AX", &[0x8E, 0xC8]),
        ("MOV with Sreg 6", &[0x8E, 0xF0]),
        ("LES with a register", &[0xC4, 0xC0]),
        ("BOUND with a register", &[0x62, 0xC0]),
        ("CALL far with a register", &[0xFF, 0xD8]),
        ("FF /7", &[0xFF, 0xF8]),
        ("FE /2", &[0xFE, 0xD0]),
        ("CMPXCHG8B with a register", &[0x0F, 0xC7, 0xC8]),
        ("0F BA /0", &[0x0F, 0xBA, 0xC0, 0]),
        ("MOV EAX, CR1", &[0x0F, 0x20, 0xC8]),
        ("MOV CR5, EAX", &[0x0F, 0x22, 0xE8]),
        ("SSE on a Pentium II", &[0x0F, 0x58, 0xC0]),
        ("SYSCALL", &[0x0F, 0x05]),
    ];
    for (what, code) in rows {
        Machine::new().faults(what, code, UD, None, 0);
    }
    let rows: &[(&str, &[u8])] = &[
        ("LOCK ADD to memory", &[0xF0, 0x01, 0x05, 0, 0, 3, 0, 0xF4]),
        ("82h is 80h", &[0x82, 0xC0, 1, 0xF4]),
        ("SAL by /6", &[0xD0, 0xF0, 0xF4]),
        ("TEST by /1", &[0xF6, 0xC8, 1, 0xF4]),
        ("SALC", &[0xD6, 0xF4]),
        ("0F 1F", &[0x0F, 0x1F, 0x40, 0, 0xF4]),
        ("ENDBR32", &[0xF3, 0x0F, 0x1E, 0xFB, 0xF4]),
        ("PREFETCH", &[0x0F, 0x18, 0x08, 0xF4]),
    ];
    for (what, code) in rows {
        Machine::new().passes(what, code);
    }
    let mut m = Machine::new();
    for opcode in [&[0x0F, 0x00, 0xC0][..], &[0x0F, 0x02, 0xC0], &[0x63, 0xC0]] {
        m.real();
        m.faults("descriptors in real mode", opcode, UD, None, 0);
    }
}

#[test]
fn fifteen_bytes() {
    let mut code = vec![0x3E; 14];
    code.extend([0x90, 0xF4]);
    Machine::new().passes("15 bytes", &code);
    let mut code = vec![0x3E; 15];
    code.extend([0x90, 0xF4]);
    Machine::new().faults("16 bytes", &code, GP, Some(0), 0);
}

#[test]
fn io_permission_bitmap() {
    // (port, width, bit that is clear from, bits clear, faults)
    let rows = [
        (0x80u16, 1, 0x80, 1, false),
        (0x80, 2, 0x80, 1, true),
        (0x80, 2, 0x80, 2, false),
        (0x80, 4, 0x80, 4, false),
        (0x80, 4, 0x80, 3, true),
        (0x87, 2, 0x87, 2, false),
        (0x87, 2, 0x87, 1, true),
        (0x1F8, 1, 0x80, 8, true),
        (0x3F8, 1, 0x3F8, 1, true),
    ];
    for (port, width, first, count, faults) in rows {
        let mut m = Machine::new();
        m.user();
        m.write16(TSS + 0x66, 0x68);
        m.write(TSS + 0x68, &[0xFF; 0x41]);
        for bit in first..first + count {
            let at = TSS + 0x68 + bit / 8;
            if bit / 8 < 0x40 {
                let old = m.bus.ram.slice(u64::from(at), 1).unwrap()[0];
                m.write(at, &[old & !(1 << (bit % 8))]);
            }
        }
        m.state.gpr[2] = u32::from(port);
        let code: &[u8] = match width {
            1 => &[0xEE, 0xF4],
            2 => &[0x66, 0xEF, 0xF4],
            _ => &[0xEF, 0xF4],
        };
        let what = format!("port {port:#x} width {width}, {count} bits clear from {first:#x}");
        let offset = if faults { 0 } else { code.len() as u32 - 1 };
        m.faults(&what, code, GP, Some(0), offset);
        assert_eq!(m.bus.log.len(), usize::from(!faults), "{what}");
    }
    // The TSS ends before the bit: no port is allowed.
    let mut m = Machine::new();
    m.user();
    m.write16(TSS + 0x66, 0x68 + 0x40);
    m.faults("map outside the TSS", &[0xE4, 0x00], GP, Some(0), 0);
    m.state.eflags |= 3 << 12;
    m.faults("IOPL 3 needs no map", &[0xE4, 0x00, 0xF4], GP, Some(0), 2);
}

#[test]
fn call_gates() {
    // CPL 3 pushes two parameters and calls a gate to CPL 0 that copies them.
    let mut m = Machine::new();
    m.user();
    m.descriptor(FREE, gate(CODE0, CODE + 0x100, 0xEC, 2));
    let sel = (FREE | 3).to_le_bytes();
    // push 11h; push 22h; call FREE:0; hlt
    let code = [0x6A, 0x11, 0x6A, 0x22, 0x9A, 0, 0, 0, 0, sel[0], sel[1], 0xF4];
    // pop all of it into registers: eip cs p2 p1 esp ss
    m.write(CODE + 0x100, &[0x58, 0x5B, 0x59, 0x5A, 0x5E, 0x5F, 0xF4]);
    let s = m.passes("call gate", &code);
    assert_eq!(s.gpr[0], CODE + 11, "return EIP");
    assert_eq!(s.gpr[3], u32::from(CODE3), "return CS");
    assert_eq!((s.gpr[1], s.gpr[2]), (0x22, 0x11), "parameters");
    assert_eq!((s.gpr[6], s.gpr[7]), (STACK3 - 8, u32::from(DATA3)), "old stack");
    assert_eq!(s.segments[1].selector, CODE0);
    assert_eq!(s.segments[2].selector, DATA0);

    // And back: RETF 8 drops the parameters on both stacks.
    m.write(CODE + 0x100, &[0xCA, 8, 0]);
    let e = m.faults("return to CPL 3", &code, GP, Some(0), 11);
    assert_eq!(m.read32(e.state.gpr[4] + 16), STACK3, "ESP of CPL 3 after the return");

    // Gates that cannot be called.
    for (what, g, vector, error) in [
        ("DPL of the gate below CPL", gate(CODE0, 0, 0x8C, 0), GP, FREE),
        ("gate not present", gate(CODE0, 0, 0x6C, 0), NP, FREE),
        ("gate to null", gate(0, 0, 0xEC, 0), GP, 0),
        ("gate to data", gate(DATA0, 0, 0xEC, 0), GP, DATA0),
        ("gate beyond the GDT", gate(0x800, 0, 0xEC, 0), GP, 0x800),
        ("interrupt gate", gate(CODE0, 0, 0xEE, 0), GP, FREE),
    ] {
        m.descriptor(FREE, g);
        m.faults(what, &code, vector, Some(u32::from(error)), 4);
    }
    // JMP through a gate cannot raise the privilege.
    m.descriptor(FREE, gate(CODE0, CODE + 0x100, 0xEC, 0));
    m.faults("JMP to more privilege", &[0xEA, 0, 0, 0, 0, sel[0], sel[1]], GP, Some(u32::from(CODE0)), 0);
    // The TSS gives no stack.
    m.write16(TSS + 8, 0);
    m.handle_in_task(10);
    let e = m.run(&[0x9A, 0, 0, 0, 0, sel[0], sel[1]]);
    assert_eq!((e.vector, m.read32(STACK3 - 4)), (Some(10), 0), "no stack in the TSS: {e:?}");
    assert_eq!(m.read32(TSS + 0x20), CODE, "no stack in the TSS: EIP");
}

#[test]
fn far_jumps() {
    let far = |sel: u16, offset: u32| {
        let mut c = vec![0xEA];
        c.extend(offset.to_le_bytes());
        c.extend(sel.to_le_bytes());
        c
    };
    let rows = [
        ("code of CPL", 0x9B, 0, 0, None),
        ("conforming code of DPL 0", 0x9F, 0, 0, None),
        ("data", 0x93, 0, 0, Some(GP)),
        ("code of DPL 3", 0xFB, 0, 0, Some(GP)),
        ("conforming code of DPL 3", 0xFF, 0, 0, Some(GP)),
        ("not present", 0x1B, 0, 0, Some(NP)),
        ("RPL above CPL", 0x9B, 3, 0, Some(GP)),
    ];
    for (what, access, rpl, offset, expected) in rows {
        let mut m = Machine::new();
        m.descriptor(FREE, descriptor(CODE + 0x100, 0xFFF, access, 4));
        m.write(CODE + 0x100, &[0xF4]);
        let code = far(FREE | rpl, offset);
        match expected {
            Some(v) => {
                m.faults(what, &code, v, Some(u32::from(FREE)), 0);
            }
            None => {
                let s = m.passes(what, &code);
                assert_eq!((s.segments[1].base, s.eip), (CODE + 0x100, 1), "{what}");
            }
        }
    }
    let mut m = Machine::new();
    m.descriptor(FREE, descriptor(CODE + 0x100, 0xFFF, 0x9B, 4));
    m.faults("beyond the limit", &far(FREE, 0x1000), GP, Some(0), 0);
    m.faults("null", &far(0, 0), GP, Some(0), 0);
    // A near jump out of the segment faults at the jump.
    m.write(CODE + 0x100, &[0xE9, 0xFB, 0x0F, 0, 0]);
    let e = m.run(&far(FREE, 0));
    assert_eq!((e.vector, e.error, e.pushed[0]), (Some(GP), Some(0), 0), "near jump beyond the limit");
    // Running off the end faults there.
    m.write(CODE + 0x100 + 0xFFF, &[0x90]);
    let e = m.run(&far(FREE, 0xFFF));
    assert_eq!((e.vector, e.error, e.pushed[0]), (Some(GP), Some(0), 0x1000), "falling off the end");
}

#[test]
fn interrupts_and_their_gates() {
    // INT n from CPL 3: stack switch and what lies on the new stack.
    let mut m = Machine::new();
    m.user();
    let e = m.faults("INT 40h", &[0xCD, 0x40], 0x40, None, 2);
    let sp = e.state.gpr[4];
    assert_eq!(sp, STACK0 - 0x1000 - 20);
    assert_eq!((m.read32(sp + 12), m.read32(sp + 16)), (STACK3, u32::from(DATA3)));
    assert_eq!(e.pushed[1], u32::from(CODE3));
    assert_eq!(e.state.eflags & 0x200, 0, "an interrupt gate clears IF");

    let mut m = Machine::new();
    m.state.eflags |= 0x200;
    m.gate(0x40, gate(CODE0, HANDLERS + 0x40, 0x8F, 0));
    let e = m.faults("trap gate", &[0xCD, 0x40], 0x40, None, 2);
    assert_ne!(e.state.eflags & 0x200, 0, "a trap gate leaves IF");

    for (what, g, vector, error) in [
        ("DPL below CPL", gate(CODE0, 0, 0x8E, 0), GP, 0x40 * 8 + 2),
        ("not present", gate(CODE0, 0, 0x6E, 0), NP, 0x40 * 8 + 2),
        ("no gate", gate(CODE0, 0, 0xEC, 0), GP, 0x40 * 8 + 2),
        ("to null", gate(0, 0, 0xEE, 0), GP, 0),
        ("to data", gate(DATA0, 0, 0xEE, 0), GP, u32::from(DATA0)),
    ] {
        let mut m = Machine::new();
        m.user();
        m.gate(0x40, g);
        m.faults(what, &[0xCD, 0x40], vector, Some(error), 0);
    }
    let mut m = Machine::new();
    m.state.idtr.limit = 0x1FF;
    m.faults("beyond the IDT", &[0xCD, 0x40], GP, Some(0x202), 0);

    // A 16-bit gate pushes words.
    let mut m = Machine::new();
    m.gate(0x40, gate(CODE0, HANDLERS + 0x40, 0xE6, 0));
    let e = m.run(&[0xCD, 0x40]);
    assert_eq!(e.state.gpr[4], STACK0 - 6);
}

#[test]
fn double_and_triple_faults() {
    // #GP whose gate is not present: #NP within #GP is contributory: #DF.
    let mut m = Machine::new();
    m.state.gpr[0] = u32::MAX;
    m.faults("reserved bits of CR4", &[0x0F, 0x22, 0xE0, 0xF4], GP, Some(0), 0);
    m.gate(GP, gate(CODE0, 0, 0x0E, 0));
    m.faults("#GP then #NP", &[0x0F, 0x22, 0xE0, 0xF4], 8, Some(0), 0);
    // #UD whose gate is bad: benign, so the second one is served.
    let mut m = Machine::new();
    m.gate(UD, gate(CODE0, 0, 0x0E, 0));
    m.faults("#UD then #NP", &[0x0F, 0x0B], NP, Some(6 * 8 + 2 + 1), 0);
    // No handler for anything.
    let mut m = Machine::new();
    m.state.idtr.limit = 0;
    let e = m.run(&[0x0F, 0x0B]);
    assert_eq!(e.exit, Exit::Shutdown);
    assert!(e.state.shutdown);
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Shutdown, "it stays shut down");
    m.cpu.reset(slotone_bus::cpu::CpuReset::Init);
    assert!(!m.cpu.save().shutdown);
}

#[test]
fn looking_at_descriptors() {
    // (what, access, rpl, user, LAR, LSL, VERR, VERW)
    let rows = [
        ("writable data", 0x93, 0, false, true, true, true, true),
        ("read-only data", 0x91, 0, false, true, true, true, false),
        ("readable code", 0x9B, 0, false, true, true, true, false),
        ("execute-only code", 0x99, 0, false, true, true, false, false),
        ("TSS", 0x89, 0, false, true, true, false, false),
        ("LDT", 0x82, 0, false, true, true, false, false),
        ("call gate", 0x8C, 0, false, true, false, false, false),
        ("task gate", 0x85, 0, false, true, false, false, false),
        ("interrupt gate", 0x8E, 0, false, false, false, false, false),
        ("trap gate", 0x8F, 0, false, false, false, false, false),
        ("type 0", 0x80, 0, false, false, false, false, false),
        ("DPL 0 from CPL 3", 0x93, 0, true, false, false, false, false),
        ("DPL 3, RPL 3", 0xF3, 3, true, true, true, true, true),
        ("RPL above DPL", 0x93, 3, false, false, false, false, false),
        ("conforming code from CPL 3", 0x9F, 3, true, true, true, true, false),
    ];
    for (what, access, rpl, user, lar, lsl, verr, verw) in rows {
        let checks: [(&str, &[u8], bool); 4] = [
            ("LAR", &[0x0F, 0x02, 0xC8], lar),
            ("LSL", &[0x0F, 0x03, 0xC8], lsl),
            ("VERR", &[0x0F, 0x00, 0xE0], verr),
            ("VERW", &[0x0F, 0x00, 0xE8], verw),
        ];
        for (name, code, expected) in checks {
            let mut m = Machine::new();
            if user {
                m.user();
            }
            m.descriptor(FREE, descriptor(0x1000, 0x234, access, 8));
            m.state.gpr[0] = u32::from(FREE | rpl);
            m.state.gpr[1] = 0x5555_5555;
            let mut code = code.to_vec();
            code.extend([0xCD, 0x40]);
            let e = m.run(&code);
            assert_eq!(e.vector, Some(0x40), "{name} {what}: {e:?}");
            assert_eq!(e.pushed[2] & 0x40 != 0, expected, "{name} {what}");
            let value = match (name, expected) {
                ("LAR", true) => 0x0080_0000 | u32::from(access) << 8,
                ("LSL", true) => 0x0023_4FFF,
                _ => 0x5555_5555,
            };
            assert_eq!(e.state.gpr[1], value, "{name} {what}: result");
        }
    }
    let mut m = Machine::new();
    for (dest, source, result, zf) in [(8, 3, 11, true), (11, 2, 11, false), (9, 1, 9, false)] {
        m.state.gpr[0] = dest;
        m.state.gpr[3] = source;
        // arpl ax,bx
        let s = m.passes("ARPL", &[0x63, 0xD8, 0xF4]);
        assert_eq!((s.gpr[0], s.eflags & 0x40 != 0), (result, zf), "ARPL {dest} {source}");
    }
}

#[test]
fn a_fault_leaves_nothing_done() {
    // (what, code, vector): registers must be as they were.
    let rows: &[(&str, &[u8])] = &[
        ("PUSH EAX", &[0x50]),
        ("PUSHAD", &[0x60]),
        ("CALL", &[0xE8, 0, 0, 0, 0]),
        ("CALL far", &[0x9A, 0, 0, 1, 0, 8, 0]),
        ("ENTER", &[0xC8, 0, 0, 1]),
        ("PUSHFD", &[0x9C]),
        ("POP [bad]", &[0x8F, 0x05, 0, 0, 0x3F, 0]),
        ("XCHG", &[0x87, 0x05, 0, 0, 0x3F, 0]),
        ("XADD", &[0x0F, 0xC1, 0x05, 0, 0, 0x3F, 0]),
        ("CMPXCHG", &[0x0F, 0xB1, 0x05, 0, 0, 0x3F, 0]),
        ("CMPXCHG8B", &[0x0F, 0xC7, 0x0D, 0, 0, 0x3F, 0]),
        ("ADC", &[0x11, 0x05, 0, 0, 0x3F, 0]),
        ("SHL", &[0xC1, 0x25, 0, 0, 0x3F, 0, 3]),
        ("LSS", &[0x0F, 0xB2, 0x25, 0, 0, 0x3F, 0]),
        ("MOVSD", &[0xA5]),
        ("INSD", &[0x6D]),
        ("LODSD", &[0xAD]),
        ("FSTP m64", &[0xDD, 0x1D, 0, 0, 0x3F, 0]),
    ];
    for (what, code) in rows {
        let mut m = Machine::new();
        m.page(6);
        // The stack's lower page and the page at 3F0000h are absent.
        m.pte(0x3F_0000, 0);
        m.pte(0x1_F000, 0);
        m.handle_in_task(14);
        m.state.gpr = [0x11, 0x22, 0x33, 0x44, STACK0, 0x55, 0x3F_0000, 0x3F_0010];
        if code[0] == 0xC8 {
            m.state.gpr[5] = STACK3;
        }
        let before = m.state.clone();
        let e = m.run(code);
        assert_eq!(e.vector, Some(14), "{what}: {e:?}");
        let old: Vec<u32> = (0..8).map(|i| m.read32(TSS + 0x28 + 4 * i)).collect();
        assert_eq!(old, before.gpr, "{what}: general registers");
        assert_eq!(m.read32(TSS + 0x20), CODE, "{what}: EIP");
        let fx = |s: &slotone_bus::cpu::CpuState| s.fx[..160].to_vec();
        assert_eq!(fx(&e.state), fx(&before), "{what}: x87");
    }
}
