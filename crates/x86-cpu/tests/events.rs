//! Interrupts, NMI, HLT, single step, breakpoints, x87 errors, V86 mode.

mod common;

use common::*;
use slotone_bus::cpu::{Cpu, Exit, Segment};

const IF: u32 = 0x200;
const TF: u32 = 0x100;
const VM: u32 = 1 << 17;
const VIF: u32 = 1 << 19;
const VIP: u32 = 1 << 20;
const GP: u8 = 13;
const DB: u8 = 1;

/// Runs with INTR asserted from the start; the interrupt controller gives vector 50h.
fn with_interrupt(m: &mut Machine, code: &[u8]) -> Ended {
    m.bus.vectors = vec![0x50];
    m.bus.after.intr = true;
    m.run(code)
}

#[test]
fn external_interrupts() {
    let mut m = Machine::new();
    m.state.eflags |= IF;
    let e = with_interrupt(&mut m, &[0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0], e.state.gpr[0]), (Some(0x50), CODE, 0), "at once with IF");

    let mut m = Machine::new();
    let e = with_interrupt(&mut m, &[0x40, 0xF4]);
    assert_eq!((e.vector, e.state.gpr[0]), (None, 1), "not without IF");
    assert_eq!(e.exit, Exit::Halt { interruptible: false });

    let mut m = Machine::new();
    let e = with_interrupt(&mut m, &[0xFB, 0x40, 0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0]), (Some(0x50), CODE + 2), "one instruction after STI");

    let mut m = Machine::new();
    let e = with_interrupt(&mut m, &[0xFB, 0xFA, 0x40, 0xF4]);
    assert_eq!((e.vector, e.state.gpr[0]), (None, 1), "STI, CLI lets nothing in");

    // STI, HLT: the halt ends at once, with EIP behind it.
    let mut m = Machine::new();
    let e = with_interrupt(&mut m, &[0xFB, 0xF4, 0x40]);
    assert_eq!((e.vector, e.pushed[0]), (Some(0x50), CODE + 2));

    // mov ax,DATA0; mov ss,ax; inc ecx; inc ecx
    let mut m = Machine::new();
    m.state.eflags |= IF;
    m.write(CODE, &[0x8E, 0xD0, 0x41, 0x41, 0xF4]);
    m.state.gpr[0] = u32::from(DATA0);
    m.cpu.load(&m.state.clone()).unwrap();
    m.bus.after.until = 1;
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Budget);
    assert!(m.cpu.save().interrupt_shadow);
    m.bus.vectors = vec![0x50];
    m.bus.after.intr = true;
    m.bus.after.until = 100;
    m.cpu.run(&mut m.bus);
    assert_eq!(m.cpu.save().gpr[1], 1, "one instruction after a load of SS");
}

#[test]
fn halting() {
    let mut m = Machine::new();
    m.state.eflags |= IF;
    m.write(CODE, &[0xF4, 0x40, 0xF4]);
    m.cpu.load(&m.state.clone()).unwrap();
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Halt { interruptible: true });
    assert_eq!(m.cpu.retired(), 1);
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Halt { interruptible: true }, "still halted");
    let s = m.cpu.save();
    assert!(s.halted);
    m.bus.vectors = vec![0x50];
    m.bus.after.intr = true;
    // The handler returns behind the HLT.
    m.write(HANDLERS + 0x50, &[0xCF]);
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Halt { interruptible: true });
    let s = m.cpu.save();
    assert_eq!((s.gpr[0], s.eip), (1, CODE + 3));
}

#[test]
fn nmi() {
    let mut m = Machine::new();
    m.bus.after.nmi = true;
    let e = m.run(&[0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0]), (Some(2), CODE), "with IF clear");
    assert!(e.state.nmi_blocked && e.state.nmi_level && !e.state.nmi_pending);
    // A second edge waits for IRET.
    m.bus.after.nmi = false;
    m.cpu.run(&mut m.bus);
    m.bus.after.nmi = true;
    m.cpu.run(&mut m.bus);
    assert!(m.cpu.save().nmi_pending);
    let mut s = m.cpu.save();
    s.halted = false;
    m.write(HANDLERS + 3, &[0xCF]);
    s.eip = HANDLERS + 3;
    m.cpu.load(&s).unwrap();
    m.cpu.run(&mut m.bus);
    let s = m.cpu.save();
    assert_eq!(s.eip, HANDLERS + 3, "the second NMI is served after IRET");
    assert!(s.nmi_blocked && !s.nmi_pending);
}

#[test]
fn single_step() {
    let mut m = Machine::new();
    m.state.eflags |= TF;
    let e = m.run(&[0x40, 0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0]), (Some(DB), CODE + 1), "a trap after one instruction");
    assert_ne!(e.state.dr[6] & 1 << 14, 0, "DR6.BS");
    assert_ne!(e.pushed[2] & TF, 0);
    assert_eq!(e.state.eflags & TF, 0);

    // pushfd; or byte [esp+1],1; popfd; inc eax; inc eax: the trap comes after the INC.
    let mut m = Machine::new();
    let e = m.run(&[0x9C, 0x80, 0x4C, 0x24, 1, 1, 0x9D, 0x40, 0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0], e.state.gpr[0]), (Some(DB), CODE + 8, 1));

    // A REP instruction traps between iterations.
    let mut m = Machine::new();
    m.state.eflags |= TF;
    m.state.gpr[1] = 5;
    m.state.gpr[7] = DATA;
    let e = m.run(&[0xF3, 0xAA, 0xF4]);
    assert_eq!((e.vector, e.pushed[0], e.state.gpr[1]), (Some(DB), CODE, 4));
    assert_ne!(e.pushed[2] & 1 << 16, 0, "RF: it is to go on, not to begin");

    // MOV SS holds the trap off.
    let mut m = Machine::new();
    m.state.eflags |= TF;
    m.state.gpr[0] = u32::from(DATA0);
    let e = m.run(&[0x8E, 0xD0, 0x41, 0x41, 0xF4]);
    assert_eq!((e.vector, e.pushed[0]), (Some(DB), CODE + 3));

    // INT n is not followed by a trap, and its handler runs without.
    let mut m = Machine::new();
    m.state.eflags |= TF;
    let e = m.run(&[0xCD, 0x40]);
    assert_eq!((e.vector, e.state.dr[6] & 1 << 14), (Some(0x40), 0));
}

#[test]
fn breakpoints() {
    // Execution.
    let mut m = Machine::new();
    m.state.dr[0] = CODE + 1;
    m.state.dr[7] = 0x401;
    let e = m.run(&[0x40, 0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0], e.state.gpr[0]), (Some(DB), CODE + 1, 1), "a fault before it");
    assert_eq!(e.state.dr[6] & 15, 1);
    assert_eq!(e.pushed[2] & 1 << 16, 0, "of all faults this one does not set RF in the image");
    // With RF the instruction runs.
    m.state.eip = CODE + 1;
    m.state.eflags |= 1 << 16;
    let s = m.passes("RF", &[0x40, 0x40, 0xF4]);
    assert_eq!((s.gpr[0], s.eflags & 1 << 16), (1, 0));

    // An IRET that is resumed loads RF for the instruction it returns to: both have breakpoints, and neither hits.
    let mut m = Machine::new();
    m.state.gpr[4] = STACK0 - 12;
    for (i, v) in [CODE + 1, u32::from(CODE0), 1 << 16 | 2].into_iter().enumerate() {
        m.write32(STACK0 - 12 + 4 * i as u32, v);
    }
    (m.state.dr[0], m.state.dr[1], m.state.dr[7]) = (CODE, CODE + 1, 0x405);
    m.state.eflags |= 1 << 16;
    let s = m.passes("IRET with RF", &[0xCF, 0x40, 0xF4]);
    assert_eq!((s.gpr[0], s.gpr[4], s.eflags & 1 << 16), (1, STACK0, 0));
    // What INT n pushes is not what held for it.
    let mut m = Machine::new();
    m.state.eflags |= 1 << 16;
    let e = m.faults("INT n with RF", &[0xCD, 0x40], 0x40, None, 2);
    assert_eq!(e.pushed[2] & 1 << 16, 0);

    // Data: (R/W, LEN, address, instruction reads / writes where, hit)
    let rows: &[(u32, u32, u32, &[u8], bool)] = &[
        (1, 3, DATA, &[0xA3, 0, 0, 3, 0], true),
        (1, 3, DATA, &[0xA1, 0, 0, 3, 0], false),
        (3, 3, DATA, &[0xA1, 0, 0, 3, 0], true),
        (3, 0, DATA + 3, &[0xA1, 0, 0, 3, 0], true),
        (3, 0, DATA + 4, &[0xA1, 0, 0, 3, 0], false),
        (1, 1, DATA + 2, &[0xA2, 3, 0, 3, 0], true),
        (1, 1, DATA + 2, &[0xA2, 4, 0, 3, 0], false),
        (1, 3, DATA, &[0xFF, 0x05, 0, 0, 3, 0], true),
        (1, 3, STACK0 - 4, &[0x50], true),
    ];
    for &(rw, len, at, code, hit) in rows {
        let mut m = Machine::new();
        m.state.dr[2] = at;
        m.state.dr[7] = 0x400 | 0x10 | (rw | len << 2) << 24;
        let mut all = code.to_vec();
        all.extend([0x42, 0xF4]);
        let e = m.run(&all);
        if hit {
            let next = CODE + code.len() as u32;
            assert_eq!((e.vector, e.pushed[0], e.state.dr[6] & 15), (Some(DB), next, 4), "{rw} {len} {at:x}");
        } else {
            assert_eq!((e.vector, e.state.gpr[2]), (None, 1), "{rw} {len} {at:x}: {e:?}");
        }
    }

    // Ports, with CR4.DE.
    let mut m = Machine::new();
    m.state.cr4 |= 8;
    m.state.dr[1] = 0x80;
    m.state.dr[7] = 0x400 | 4 | 2 << 20;
    let e = m.run(&[0xE6, 0x81, 0xE6, 0x80, 0x40, 0xF4]);
    assert_eq!((e.vector, e.pushed[0], e.state.dr[6] & 15), (Some(DB), CODE + 4, 2));

    // General detect.
    let mut m = Machine::new();
    m.state.dr[7] = 0x400 | 1 << 13;
    let e = m.run(&[0x0F, 0x21, 0xC0, 0xF4]);
    assert_eq!((e.vector, e.pushed[0]), (Some(DB), CODE));
    assert_ne!(e.state.dr[6] & 1 << 13, 0);
    assert_eq!(e.state.dr[7] & 1 << 13, 0, "GD is cleared for the handler");

    // DR4 and DR5 are DR6 and DR7 without CR4.DE, and nothing with it.
    let mut m = Machine::new();
    m.passes("DR4", &[0x0F, 0x21, 0xE0, 0xF4]);
    m.state.cr4 |= 8;
    m.faults("DR4 with DE", &[0x0F, 0x21, 0xE0, 0xF4], 6, None, 0);
}

#[test]
fn icebp_and_its_kin() {
    let mut m = Machine::new();
    m.faults("ICEBP", &[0xF1, 0xF4], DB, None, 1);
    m.faults("INT3", &[0xCC, 0xF4], 3, None, 1);
    m.state.eflags |= 0x800;
    m.faults("INTO", &[0xCE, 0xF4], 4, None, 1);
    m.state.eflags &= !0x800;
    m.passes("INTO without OF", &[0xCE, 0xF4]);
    m.state.gpr[0] = 1;
    m.faults("BOUND", &[0x62, 0x05, 0, 0, 3, 0, 0xF4], 5, None, 0);
    m.faults("DIV by 0", &[0xF7, 0xF1, 0xF4], 0, None, 0);
}

#[test]
fn x87_errors() {
    // fninit; fldcw [DATA] (all unmasked); fldz; fld1; fdivrp: 1/0; fwait
    let code = [0xDB, 0xE3, 0xD9, 0x2D, 0, 0, 3, 0, 0xD9, 0xEE, 0xD9, 0xE8, 0xDE, 0xF1, 0x9B, 0xF4];
    let mut m = Machine::new();
    m.write16(DATA, 0x0340);
    m.state.cr0 |= 0x20;
    m.faults("#MF", &code, 16, None, 14);
    // CR0.NE clear: FERR#, and the processor waits for the interrupt it causes.
    let mut m = Machine::new();
    m.write16(DATA, 0x0340);
    m.state.cr0 &= !0x20;
    m.state.eflags |= IF;
    let e = m.run(&code);
    assert_eq!(e.exit, Exit::Halt { interruptible: true });
    assert!(m.bus.ferr);
    assert_eq!(e.state.eip, CODE + 14);
    // The handler clears the error and returns; FERR# goes, and the program goes on.
    m.write(HANDLERS + 0x50, &[0xDB, 0xE2, 0xCF]);
    m.bus.vectors = vec![0x50];
    m.bus.after.intr = true;
    m.cpu.run(&mut m.bus);
    assert!(!m.bus.ferr);
    assert_eq!(m.cpu.save().eip, CODE + 16);

    for (what, bits, code, faults) in [
        ("TS", 8, &[0xD9, 0xEE, 0xF4][..], true),
        ("EM", 4, &[0xD9, 0xEE, 0xF4], true),
        ("FWAIT with TS", 8, &[0x9B, 0xF4], false),
        ("FWAIT with TS and MP", 10, &[0x9B, 0xF4], true),
        ("FWAIT with EM", 4, &[0x9B, 0xF4], false),
        ("MMX with TS", 8, &[0x0F, 0x77, 0xF4], true),
    ] {
        let mut m = Machine::new();
        m.state.cr0 |= bits;
        if faults {
            m.faults(what, code, 7, None, 0);
        } else {
            m.passes(what, code);
        }
    }
    let mut m = Machine::new();
    m.state.cr0 |= 4;
    m.faults("MMX with EM", &[0x0F, 0x77, 0xF4], 6, None, 0);
}

/// V86 mode at 1000:0000 with the stack at 2000:1000.
fn v86(m: &mut Machine, iopl: u32) {
    m.state.eflags = VM | 2 | iopl << 12 | IF;
    for s in &mut m.state.segments {
        *s = Segment { selector: 0x1000, base: CODE, limit: 0xFFFF, attributes: 0xF3 };
    }
    m.state.segments[2] = Segment { selector: 0x2000, base: 0x2_0000, limit: 0xFFFF, attributes: 0xF3 };
    m.state.eip = 0;
    m.state.gpr[4] = 0x1000;
}

#[test]
fn v86_mode() {
    let sensitive: &[(&str, &[u8])] = &[
        ("CLI", &[0xFA]),
        ("STI", &[0xFB]),
        ("PUSHF", &[0x9C]),
        ("POPF", &[0x9D]),
        ("INT 21h", &[0xCD, 0x21]),
        ("IRET", &[0xCF]),
    ];
    for (what, code) in sensitive {
        let mut m = Machine::new();
        v86(&mut m, 0);
        m.faults(what, code, GP, Some(0), 0);
    }
    for (what, code) in [("HLT", &[0xF4][..]), ("MOV CR0", &[0x0F, 0x22, 0xC0]), ("IN", &[0xE4, 0x80])] {
        let mut m = Machine::new();
        v86(&mut m, 3);
        m.faults(what, code, GP, Some(0), 0);
    }
    for (what, code) in
        [("LLDT", &[0x0F, 0x00, 0xD0][..]), ("LAR", &[0x0F, 0x02, 0xC0]), ("ARPL", &[0x63, 0xC0])]
    {
        let mut m = Machine::new();
        v86(&mut m, 3);
        m.faults(what, code, 6, None, 0);
    }
    // The stack of level 0 after an exception: the data segments above SS.
    let mut m = Machine::new();
    v86(&mut m, 0);
    let e = m.faults("V86 frame", &[0xF4], GP, Some(0), 0);
    let sp = e.state.gpr[4] + 4;
    assert_eq!(sp, STACK0 - 0x1000 - 36);
    let frame: Vec<u32> = (0..9).map(|i| m.read32(sp + 4 * i)).collect();
    assert_eq!(frame[1], 0x1000);
    assert_ne!(frame[2] & VM, 0);
    assert_eq!(frame[3..], [0x1000, 0x2000, 0x1000, 0x1000, 0x1000, 0x1000]);
    assert_eq!(e.state.eflags & VM, 0);
    assert!([0, 3, 4, 5].iter().all(|&i| e.state.segments[i].selector == 0), "data segments are null");

    // And back in by IRETD.
    let mut m = Machine::new();
    for (i, v) in [0x100u32, 0x1000, VM | 2 | IF, 0x800, 0x2000, 0x11, 0x22, 0x33, 0x44].iter().enumerate() {
        m.write32(STACK0 - 0x100 + 4 * i as u32, *v);
    }
    m.state.gpr[4] = STACK0 - 0x100;
    m.write(CODE + 0x100, &[0xF4]);
    let e = m.run(&[0xCF]);
    assert_eq!((e.vector, e.pushed[0], e.pushed[1]), (Some(GP), 0x100, 0x1000));
    let sp = e.state.gpr[4] + 4;
    let frame: Vec<u32> = (3..9).map(|i| m.read32(sp + 4 * i)).collect();
    assert_eq!(frame, [0x800, 0x2000, 0x11, 0x22, 0x33, 0x44]);
    // An interrupt gate to another level than 0 cannot be taken.
    let mut m = Machine::new();
    v86(&mut m, 3);
    m.gate(0x40, gate(FREE, 0, 0xEE, 0));
    m.descriptor(FREE, descriptor(0, 0xF_FFFF, 0xDB, 0xC));
    m.faults("gate to level 2", &[0xCD, 0x40], GP, Some(u32::from(FREE)), 0);
}

#[test]
fn virtual_interrupts() {
    let vme = |m: &mut Machine| {
        v86(m, 0);
        m.state.cr4 |= 1;
        // The redirection bitmap lies before the permission map: all to the program but 22h.
        m.write16(TSS + 0x66, 0x68 + 32);
        m.write(TSS + 0x68, &[0; 32]);
        m.write(TSS + 0x68 + 4, &[1 << 2]);
        for v in 0..256 {
            m.write16(4 * v, 0x500);
            m.write16(4 * v + 2, 0x1000);
        }
    };
    // CLI and STI work on VIF.
    let mut m = Machine::new();
    vme(&mut m);
    let e = m.faults("STI", &[0xFB, 0xF4], GP, Some(0), 1);
    assert_ne!(e.pushed[2] & VIF, 0);
    let e = m.faults("STI, CLI", &[0xFB, 0xFA, 0xF4], GP, Some(0), 2);
    assert_eq!(e.pushed[2] & VIF, 0);
    // PUSHF shows VIF as IF and IOPL 3.
    let e = m.faults("STI, PUSHF, POP", &[0xFB, 0x9C, 0x58, 0xF4], GP, Some(0), 3);
    assert_eq!(e.state.gpr[0] & 0x3200, 0x3200);
    // INT through the program's vector table.
    m.write(CODE + 0x500, &[0xF4]);
    let e = m.run(&[0xFB, 0xCD, 0x21, 0xF4]);
    assert_eq!((e.vector, e.pushed[0], e.pushed[1]), (Some(GP), 0x500, 0x1000));
    assert_eq!(e.pushed[2] & VIF, 0, "VIF is cleared");
    let sp = 0x2_0000 + 0x1000 - 6;
    assert_eq!(m.read32(sp) & 0xFFFF, 3, "IP on the program's stack");
    assert_eq!(m.read32(sp + 4) & 0x3200, 0x3200, "flags on the program's stack");
    // The vector whose bit is set goes to the monitor.
    m.faults("redirected", &[0xCD, 0x22], GP, Some(0), 0);
    // STI with VIP pending.
    m.state.eflags |= VIP;
    m.faults("STI with VIP", &[0xFB, 0xF4], GP, Some(0), 0);
}

#[test]
fn real_mode_exceptions() {
    let rows: &[(&str, &[u8], u8, u32)] = &[
        ("DIV by 0", &[0xF6, 0xF1], 0, 0),
        ("UD2", &[0x0F, 0x0B], 6, 0),
        ("word at FFFFh", &[0xA1, 0xFF, 0xFF], GP, 0),
        ("INT3", &[0xCC], 3, 1),
        ("doubleword at FFFDh", &[0x66, 0xA1, 0xFD, 0xFF], GP, 0),
    ];
    for (what, code, vector, offset) in rows {
        let mut m = Machine::new();
        m.real();
        m.faults(what, code, *vector, None, *offset);
    }
    // The vector table ends before the vector: #GP, #DF, shutdown.
    let mut m = Machine::new();
    m.real();
    m.state.idtr.limit = 0x1F;
    assert_eq!(m.run(&[0xCD, 0x40]).exit, Exit::Shutdown);
}

#[test]
fn unreal_mode() {
    // A 4 GiB DS loaded in protected mode keeps its limit in real mode.
    let mut m = Machine::new();
    m.real();
    m.state.gdtr = slotone_bus::cpu::TableRegister { base: GDT, limit: 0x7FF };
    m.write32(0x20_0000, 0x1234_5678);
    // mov eax,cr0; inc ax; mov cr0,eax; mov bx,DATA0; mov ds,bx; dec ax; mov cr0,eax;
    // xor bx,bx; mov ds,bx; mov eax,[dword 200000h]; hlt
    let code = [
        0x0F, 0x20, 0xC0, 0x40, 0x0F, 0x22, 0xC0, 0xBB, 0x10, 0x00, 0x8E, 0xDB, 0x48, 0x0F, 0x22, 0xC0, 0x31,
        0xDB, 0x8E, 0xDB, 0x66, 0x67, 0xA1, 0, 0, 0x20, 0, 0xF4,
    ];
    let s = m.passes("unreal", &code);
    assert_eq!(s.gpr[0], 0x1234_5678);
}

#[test]
fn the_budget_is_exact() {
    let mut m = Machine::new();
    // inc eax x 5; out 80h,al; jmp back
    m.write(CODE, &[0x40, 0x40, 0x40, 0x40, 0x40, 0xE6, 0x80, 0xEB, 0xF7]);
    m.cpu.load(&m.state.clone()).unwrap();
    for n in 1..200 {
        m.bus.after.until = n;
        assert_eq!(m.cpu.run(&mut m.bus), Exit::Budget);
        assert_eq!(m.cpu.retired(), n);
    }
    for (i, access) in m.bus.log.iter().enumerate() {
        assert_eq!(access.retired, 5 + 7 * i as u64, "instructions before the access");
    }
    // REP counts each iteration, also at accesses.
    let mut m = Machine::new();
    m.state.gpr[1] = 10;
    m.state.gpr[6] = DATA;
    m.state.gpr[2] = 0x80;
    m.write(CODE, &[0x90, 0xF3, 0x6E, 0xF4]);
    m.cpu.load(&m.state.clone()).unwrap();
    m.bus.after.until = 4;
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Budget);
    assert_eq!((m.cpu.retired(), m.cpu.save().gpr[1]), (4, 7));
    m.bus.after.until = 1000;
    m.cpu.run(&mut m.bus);
    assert_eq!(m.cpu.retired(), 12);
    assert_eq!(m.bus.log.iter().map(|a| a.retired).collect::<Vec<_>>(), (1..11).collect::<Vec<_>>());
}

#[test]
fn kicks_and_stops() {
    let mut m = Machine::new();
    m.write(CODE, &[0xEB, 0xFE]);
    m.cpu.load(&m.state.clone()).unwrap();
    let kick = m.cpu.kick_handle();
    kick.kick();
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Kick, "sticky");
    let thread = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(20));
        kick.kick();
    });
    m.bus.after.until = u64::MAX;
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Kick);
    thread.join().unwrap();
    m.bus.after.stop = true;
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Stop);
}

#[test]
fn a_reset_processor_is_at_its_vector() {
    let m = Machine::new();
    let mut cpu = m.cpu;
    for kind in [slotone_bus::cpu::CpuReset::Init, slotone_bus::cpu::CpuReset::Power] {
        cpu.reset(kind);
        let s = cpu.save();
        assert_eq!((s.eip, s.segments[1].base, s.segments[1].selector), (0xFFF0, 0xFFFF_0000, 0xF000));
        assert_eq!((s.eflags, s.cr0 & 0x8000_0001), (2, 0));
        assert_eq!(s.gpr[2], 0x652, "EDX holds the signature");
    }
}

#[test]
fn hostile_states_are_refused() {
    let m = Machine::new();
    let mut cpu = m.cpu;
    let good = cpu.save();
    type Change = fn(&mut slotone_bus::cpu::CpuState);
    let bad: [(&str, Change); 13] = [
        ("PG without PE", |s| s.cr0 = 0x8000_0010),
        ("unknown CR0 bits", |s| s.cr0 |= 1 << 25),
        ("unknown CR4 bits", |s| s.cr4 |= 1 << 20),
        ("unknown flags", |s| s.eflags |= 1 << 30),
        ("V86 in real mode", |s| s.eflags |= VM),
        ("unknown attributes", |s| s.segments[3].attributes |= 1 << 20),
        ("an MSR there is not", |s| s.msr.push((0xC000_0080, 1))),
        ("a PAT type there is not", |s| s.msr.push((0x277, 2))),
        ("DR4", |s| s.dr[4] = 1),
        ("traps held outside a shadow", |s| s.traps_held = true),
        ("breakpoints held by nothing", |s| (s.interrupt_shadow, s.held_hits) = (true, 1)),
        ("a single step held", |s| {
            (s.interrupt_shadow, s.traps_held, s.held_hits) = (true, true, 1 << 14);
        }),
        ("breakpoints there are not", |s| {
            (s.interrupt_shadow, s.traps_held, s.held_hits) = (true, true, 16);
        }),
    ];
    for (what, change) in bad {
        let mut s = good.clone();
        change(&mut s);
        assert!(cpu.load(&s).is_err(), "{what}");
        assert_eq!(cpu.save(), good, "{what}: nothing has changed");
    }
}

/// Runs from `m.state` to a HLT, one instruction at a time, each on a processor that only knows the saved state.
fn run_through_states(m: &mut Machine, code: &[u8]) -> slotone_bus::cpu::CpuState {
    m.write(CODE, code);
    let mut state = m.state.clone();
    for _ in 0..100 {
        let mut cpu = slotone_x86_cpu::SoftCpu::new(slotone_x86_cpu::CpuModel::default());
        cpu.load(&state).unwrap();
        assert_eq!(cpu.save(), state, "a loaded state is the saved one");
        m.bus.after.until = state.retired + 1;
        let exit = cpu.run(&mut m.bus);
        state = cpu.save();
        if exit != Exit::Budget {
            break;
        }
    }
    state
}

#[test]
fn a_saved_state_has_what_a_load_of_ss_holds_off() {
    // mov ss,[DATA], which hits a breakpoint; inc ecx; inc ecx; hlt
    let code = [0x8E, 0x15, 0, 0, 3, 0, 0x41, 0x41, 0xF4];
    for (what, eflags, dr7, dr6) in
        [("breakpoint", 2, 0x400 | 1 | 3 << 16, 1), ("single step", 2 | TF, 0x400, 1 << 14)]
    {
        let prepared = || {
            let mut m = Machine::new();
            m.write16(DATA, DATA0);
            m.state.eflags = eflags;
            m.state.dr[0] = DATA;
            m.state.dr[7] = dr7;
            m
        };
        let e = prepared().run(&code);
        assert_eq!((e.vector, e.pushed[0], e.state.gpr[1]), (Some(DB), CODE + 7, 1), "{what}");
        assert_eq!(e.state.dr[6] & 0x400F, dr6, "{what}");
        assert_eq!(run_through_states(&mut prepared(), &code), e.state, "{what}");
    }
}

#[test]
fn a_saved_state_has_the_level_of_ferr() {
    // fninit; fldcw [DATA] (all unmasked); fldz; fld1; fdivrp: 1/0; nop; fwait. FERR# rises at the FWAIT, not before.
    let code = [0xDB, 0xE3, 0xD9, 0x2D, 0, 0, 3, 0, 0xD9, 0xEE, 0xD9, 0xE8, 0xDE, 0xF1, 0x90, 0x9B, 0xF4];
    let mut m = Machine::new();
    m.write16(DATA, 0x0340);
    m.state.cr0 &= !0x20;
    let s = run_through_states(&mut m, &code);
    assert!(s.halted && s.ferr && m.bus.ferr, "{s:?}");
    assert_eq!(s.eip, CODE + 15);
    // fnclex lets it go.
    m.state = s;
    (m.state.halted, m.state.eip) = (false, CODE);
    let s = run_through_states(&mut m, &[0xDB, 0xE2, 0xF4]);
    assert!(s.halted && !s.ferr && !m.bus.ferr, "{s:?}");
}
