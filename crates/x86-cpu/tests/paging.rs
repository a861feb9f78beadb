//! Paging: rights, error codes, accessed and dirty bits, large and global pages, PAE, what stays in the TLB.

mod common;

use common::*;
use slotone_bus::cpu::{Cpu, Exit, Segment};

const PF: u8 = 14;
const PRESENT: u32 = 1;
const WRITABLE: u32 = 2;
const USER: u32 = 4;
const ACCESSED: u32 = 0x20;
const DIRTY: u32 = 0x40;
const LARGE: u32 = 0x80;
const GLOBAL: u32 = 0x100;

/// A page of data of its own.
const PAGE: u32 = 0x38_0000;
/// mov eax,[PAGE+10h]; hlt
const READ: &[u8] = &[0xA1, 0x10, 0, 0x38, 0, 0xF4];
/// mov [PAGE+10h],eax; hlt
const WRITE: &[u8] = &[0xA3, 0x10, 0, 0x38, 0, 0xF4];
/// inc dword [PAGE+10h]; hlt
const MODIFY: &[u8] = &[0xFF, 0x05, 0x10, 0, 0x38, 0, 0xF4];

#[test]
fn rights() {
    // (directory rights, table rights, user, write, WP, error code or none)
    let mut rows = Vec::new();
    for pde in 0..8 {
        for pte in 0..8 {
            for user in [false, true] {
                for write in [false, true] {
                    for wp in [false, true] {
                        let both = pde & pte;
                        let access = (u32::from(write) * 2) | (u32::from(user) * 4);
                        let expected = if both & PRESENT == 0 {
                            Some(access)
                        } else if user && both & USER == 0 || write && both & WRITABLE == 0 && (user || wp) {
                            Some(access | 1)
                        } else {
                            None
                        };
                        rows.push((pde, pte, user, write, wp, expected));
                    }
                }
            }
        }
    }
    for (pde, pte, user, write, wp, expected) in rows {
        let what = format!("PDE {pde:03b} PTE {pte:03b} user {user} write {write} WP {wp}");
        let mut m = Machine::new();
        m.page(7);
        if user {
            m.user();
        }
        if wp {
            m.state.cr0 |= 1 << 16;
        }
        // The page under test has a page table of its own, so that the PDE's rights are its alone.
        let (table, linear) = (0x9000, 0x40_0010);
        m.write32(PAGE_DIRECTORY + 4, table | pde);
        m.write32(table, PAGE | pte);
        let mut code = if write { vec![0xA3] } else { vec![0xA1] };
        code.extend(u32::to_le_bytes(linear));
        code.extend([0xCD, 0x40]);
        match expected {
            Some(error) => {
                let e = m.faults(&what, &code, PF, Some(error), 0);
                assert_eq!(e.state.cr2, linear, "{what}: CR2");
                assert_eq!(m.read32(table) & (ACCESSED | DIRTY), 0, "{what}: A and D");
            }
            None => {
                m.faults(&what, &code, 0x40, None, 7);
                let d = if write { DIRTY } else { 0 };
                assert_eq!(m.read32(table), PAGE | pte | ACCESSED | d, "{what}: PTE");
                assert_eq!(m.read32(PAGE_DIRECTORY + 4), table | pde | ACCESSED, "{what}: PDE");
            }
        }
    }
}

#[test]
fn a_write_after_a_read_sets_dirty() {
    let mut m = Machine::new();
    m.page(6);
    let mut code = READ[..5].to_vec();
    code.extend(WRITE);
    m.passes("read, write", &code);
    assert_eq!(m.read32(PAGE_TABLE + 4 * (PAGE >> 12)) & 0x60, ACCESSED | DIRTY);
}

#[test]
fn read_modify_write_faults_as_a_write() {
    let mut m = Machine::new();
    m.page(6);
    m.state.cr0 |= 1 << 16;
    m.pte(PAGE, PAGE | PRESENT | USER);
    m.faults("INC on a read-only page", MODIFY, PF, Some(3), 0);
    assert_eq!(m.read32(PAGE_TABLE + 4 * (PAGE >> 12)) & DIRTY, 0);
}

#[test]
fn an_access_across_pages_is_all_or_nothing() {
    let mut m = Machine::new();
    m.page(6);
    m.pte(PAGE + 0x1000, 0);
    m.write32(PAGE + 0xFFC, 0x1122_3344);
    m.state.gpr[0] = u32::MAX;
    // mov [PAGE+FFEh],eax
    let e = m.faults("store", &[0xA3, 0xFE, 0x0F, 0x38, 0, 0xF4], PF, Some(2), 0);
    assert_eq!(e.state.cr2, PAGE + 0x1000);
    assert_eq!(m.read32(PAGE + 0xFFC), 0x1122_3344);
    // The pages need not lie side by side.
    m.pte(PAGE + 0x1000, DATA | PRESENT | WRITABLE);
    m.passes("store", &[0xA3, 0xFE, 0x0F, 0x38, 0, 0xF4]);
    assert_eq!((m.read32(PAGE + 0xFFC), m.read32(DATA)), (0xFFFF_3344, 0xFFFF));
    let s = m.passes("load", &[0xA1, 0xFD, 0x0F, 0x38, 0, 0xF4]);
    assert_eq!(s.gpr[0], 0xFFFF_FF33);
}

#[test]
fn instruction_fetch_faults() {
    let mut m = Machine::new();
    m.page(6);
    m.pte(PAGE, 0);
    // jmp PAGE
    let e = m.run(&[0xE9, 0xFB, 0xFF, 0x36, 0]);
    assert_eq!((e.vector, e.error, e.pushed[0], e.state.cr2), (Some(PF), Some(0), PAGE, PAGE));
    // An instruction whose second half is missing.
    let mut m = Machine::new();
    m.page(6);
    m.pte(PAGE + 0x1000, 0);
    m.write(PAGE + 0xFFE, &[0x90, 0xB8]);
    let e = m.run(&[0xE9, 0xF9, 0x0F, 0x37, 0]);
    assert_eq!((e.error, e.pushed[0], e.state.cr2), (Some(0), PAGE + 0xFFF, PAGE + 0x1000));
    // And one on two pages that are both there, but not side by side.
    m.pte(PAGE + 0x1000, DATA | PRESENT);
    m.write(DATA, &[0x78, 0x56, 0x34, 0x12, 0xF4]);
    let s = m.passes("on two pages", &[0xE9, 0xF9, 0x0F, 0x37, 0]);
    assert_eq!(s.gpr[0], 0x1234_5678);
}

#[test]
fn large_pages() {
    let mut m = Machine::new();
    m.page(6);
    m.state.cr4 |= 0x10;
    m.write32(PAGE_DIRECTORY + 4, LARGE | PRESENT | WRITABLE | USER);
    m.write32(DATA, 0xCAFE_F00D);
    // mov eax,[400000h+DATA]; mov [400000h+DATA+4],eax; hlt
    let code = [0xA1, 0, 0, 0x43, 0, 0xA3, 4, 0, 0x43, 0, 0xF4];
    let s = m.passes("4 MiB page", &code);
    assert_eq!(s.gpr[0], 0xCAFE_F00D);
    assert_eq!(m.read32(DATA + 4), 0xCAFE_F00D);
    assert_eq!(m.read32(PAGE_DIRECTORY + 4) & 0x60, ACCESSED | DIRTY);
    // Reserved bits.
    m.write32(PAGE_DIRECTORY + 4, LARGE | PRESENT | WRITABLE | USER | 1 << 21);
    m.faults("reserved bit", &code, PF, Some(9), 0);
    // Without PSE the bit means nothing and the entry names a page table at 0.
    m.state.cr4 = 0;
    m.write32(PAGE_DIRECTORY + 4, PAGE_TABLE | LARGE | PRESENT | WRITABLE);
    m.passes("without PSE", &code);
}

#[test]
fn what_the_tlb_keeps() {
    // Reads PAGE, changes its entry to DATA in memory, then does `flush`, then reads again.
    let read_again = |flush: &[u8], global: bool| {
        let mut m = Machine::new();
        m.page(6);
        m.state.cr4 |= 0x80;
        m.write32(PAGE + 0x10, 1);
        m.write32(DATA + 0x10, 2);
        let g = if global { GLOBAL } else { 0 };
        let entry = DATA | PRESENT | WRITABLE | g;
        m.pte(PAGE, PAGE | PRESENT | WRITABLE | g);
        m.state.gpr[2] = PAGE_DIRECTORY;
        let mut code = READ[..5].to_vec();
        // mov dword [PAGE_TABLE+4*380h],entry
        code.extend([0xC7, 0x05]);
        code.extend(u32::to_le_bytes(PAGE_TABLE + 4 * (PAGE >> 12)));
        code.extend(entry.to_le_bytes());
        code.extend(flush);
        code.extend(READ);
        m.passes("read again", &code).gpr[0]
    };
    let cr3: &[u8] = &[0x0F, 0x22, 0xDA];
    let invlpg: &[u8] = &[0x0F, 0x01, 0x3D, 0, 0, 0x38, 0];
    // mov ecx,cr4; xor cl,80h; mov cr4,ecx
    let pge: &[u8] = &[0x0F, 0x20, 0xE1, 0x80, 0xF1, 0x80, 0x0F, 0x22, 0xE1];
    assert_eq!(read_again(cr3, false), 2, "MOV CR3 drops a page");
    assert_eq!(read_again(cr3, true), 1, "MOV CR3 keeps a global page");
    assert_eq!(read_again(invlpg, false), 2, "INVLPG drops a page");
    assert_eq!(read_again(invlpg, true), 2, "INVLPG drops a global page");
    assert_eq!(read_again(pge, true), 2, "a change of CR4.PGE drops all");
}

#[test]
fn code_follows_its_page_tables() {
    // A function on PAGE is called, its page is changed to DATA, it is called again.
    let mut m = Machine::new();
    m.page(6);
    m.write(PAGE, &[0x83, 0xC0, 0x01, 0xC3]);
    m.write(DATA, &[0x83, 0xC0, 0x10, 0xC3]);
    let entry = DATA | PRESENT | WRITABLE;
    let mut code = vec![0xBF];
    code.extend(PAGE.to_le_bytes());
    // call edi x 2
    code.extend([0xFF, 0xD7, 0xFF, 0xD7, 0xC7, 0x05]);
    code.extend(u32::to_le_bytes(PAGE_TABLE + 4 * (PAGE >> 12)));
    code.extend(entry.to_le_bytes());
    code.extend([0x0F, 0x01, 0x3F, 0xFF, 0xD7, 0xF4]);
    let s = m.passes("remapped code", &code);
    assert_eq!(s.gpr[0], 0x12);
}

#[test]
fn code_in_global_pages_stays_over_a_load_of_cr3() {
    for (what, global, expected) in [("global", GLOBAL, 3 + 16), ("not global", 0, 1 + 3 * 16)] {
        let mut m = Machine::new();
        m.page(6);
        m.state.cr4 = 1 << 7;
        m.pte(PAGE, PAGE | PRESENT | global);
        m.write(PAGE, &[0x43, 0xC3]); // inc ebx; ret
        m.write(DATA, &[0x83, 0xC3, 0x10, 0xC3]); // add ebx,16; ret
        m.state.gpr[0] = DATA | PRESENT | global;
        let mut code = vec![0xBF, 3, 0, 0, 0]; // mov edi,3
        let call =
            |from: usize| [vec![0xE8], (PAGE - CODE - from as u32 - 5).to_le_bytes().to_vec()].concat();
        code.extend(call(code.len())); // next: call PAGE
        code.push(0xA3); // mov [PTE],eax
        code.extend((PAGE_TABLE + 4 * (PAGE >> 12)).to_le_bytes());
        code.extend([0x0F, 0x20, 0xD9, 0x0F, 0x22, 0xD9]); // mov ecx,cr3; mov cr3,ecx
        code.extend([0x4F, 0x75, (5i8 - code.len() as i8 - 3) as u8]); // dec edi; jnz next
        code.extend([0x0F, 0x01, 0x3D]); // invlpg [PAGE]
        code.extend(PAGE.to_le_bytes());
        code.extend(call(code.len()));
        code.push(0xF4);
        assert_eq!(m.passes(what, &code).gpr[3], expected, "{what}");
    }
}

#[test]
fn code_that_maps_itself_elsewhere_goes_on_alike_however_the_run_is_cut() {
    // mov dword [PTE of CODE],PAGE|3; mov [CODE+800h],eax (looks the page up anew, as it was not dirty); mov bl,1; hlt
    let mut code = vec![0xC7, 0x05];
    code.extend((PAGE_TABLE + 4 * (CODE >> 12)).to_le_bytes());
    code.extend((PAGE | PRESENT | WRITABLE).to_le_bytes());
    code.push(0xA3);
    code.extend((CODE + 0x800).to_le_bytes());
    let behind = code.len() as u32;
    code.extend([0xB3, 1, 0xF4]);
    for step in [1, 2, 100] {
        let mut m = Machine::new();
        m.page(6);
        m.state.gpr[0] = 0x1122_3344;
        // mov bl,2; hlt
        m.write(PAGE + behind, &[0xB3, 2, 0xF4]);
        m.write(CODE, &code);
        m.cpu.load(&m.state).unwrap();
        m.bus.after.until = 0;
        while m.cpu.run(&mut m.bus) == Exit::Budget {
            m.bus.after.until = m.cpu.retired() + step;
        }
        assert_eq!(m.read32(PAGE + 0x800), 0x1122_3344, "step {step}: the store");
        assert_eq!(m.cpu.save().gpr[3], 2, "step {step}: the code of the new page");
    }
}

#[test]
fn supervisor_and_user_see_their_own_rights() {
    // CPL 0 reads a supervisor page, then CPL 3 must not find it.
    let mut m = Machine::new();
    m.page(7);
    m.pte(PAGE, PAGE | PRESENT | WRITABLE);
    m.state.segments[3] = Segment { selector: DATA3, base: 0, limit: u32::MAX, attributes: 0xC0F3 };
    let mut code = READ[..5].to_vec();
    // iret frame for CPL 3
    code.extend([0x6A, DATA3 as u8, 0x68]);
    code.extend(STACK3.to_le_bytes());
    code.extend([0x6A, 0x02, 0x6A, CODE3 as u8, 0x68]);
    let at = CODE + code.len() as u32 + 5;
    code.extend(at.to_le_bytes());
    code.push(0xCF);
    assert_eq!(code.len() as u32 + CODE, at);
    code.extend(READ);
    m.faults("user", &code, PF, Some(5), at - CODE);
}

#[test]
fn pae() {
    const PDPT: u32 = 0xA000;
    const PD: u32 = 0xB000;
    const PT: u32 = 0xC000;
    let mut m = Machine::new();
    let w64 = |m: &mut Machine, at: u32, v: u64| m.write(at, &v.to_le_bytes());
    w64(&mut m, PDPT, u64::from(PD) | 1);
    for i in 0..2u32 {
        w64(&mut m, PD + 8 * i, u64::from(PT + 0x1000 * i) | 7);
        for j in 0..512u32 {
            w64(&mut m, PT + 0x1000 * i + 8 * j, u64::from(i << 21 | j << 12) | 7);
        }
    }
    // A 2 MiB page at 40_0000h onto 0, and one beyond RAM at 36 bits.
    w64(&mut m, PD + 16, 0xE7);
    w64(&mut m, PD + 24, 0x8_0000_00E7);
    m.write32(DATA, 0x600D_F00D);
    m.state.gpr[0] = PDPT;
    // mov cr3,eax; mov ecx,20h; mov cr4,ecx; mov eax,80000011h; mov cr0,eax; mov eax,[400000h+DATA]; hlt
    let on =
        [0x0F, 0x22, 0xD8, 0xB9, 0x20, 0, 0, 0, 0x0F, 0x22, 0xE1, 0xB8, 0x11, 0, 0, 0x80, 0x0F, 0x22, 0xC0];
    let mut code = on.to_vec();
    code.extend([0xA1, 0, 0, 0x43, 0, 0xF4]);
    let s = m.passes("2 MiB page", &code);
    assert_eq!(s.gpr[0], 0x600D_F00D);
    assert_eq!(s.pdpte[0], u64::from(PD) | 1);
    // mov eax,[600000h]: nothing answers at 32 GiB
    let mut code = on.to_vec();
    code.extend([0xA1, 0, 0, 0x60, 0, 0xF4]);
    assert_eq!(m.passes("above 4 GiB", &code).gpr[0], u32::MAX);
    // mov eax,[40000000h]: its PDPTE is not present
    let mut code = on.to_vec();
    code.extend([0xA1, 0, 0, 0, 0x40, 0xF4]);
    m.faults("PDPTE not present", &code, PF, Some(0), 19);
    // A reserved bit in a page-table entry.
    w64(&mut m, PT + 8 * u64::from(DATA >> 12) as u32, u64::from(DATA) | 7 | 1 << 40);
    let mut code = on.to_vec();
    code.extend([0xA1, 0, 0, 3, 0, 0xF4]);
    m.faults("reserved bit", &code, PF, Some(9), 19);
    // The page-directory pointers are loaded when CR3 or CR0.PG is written, not before, and checked then.
    w64(&mut m, PDPT, u64::from(PD) | 1 | 2);
    let e = m.run(&on);
    assert_eq!((e.vector, e.error), (Some(13), Some(0)));
    // With large pages the directory is loaded and saved along.
    w64(&mut m, PDPT, u64::from(PD) | 1);
    w64(&mut m, PT + 8 * (DATA >> 12), u64::from(DATA) | 7);
    let mut code = on.to_vec();
    code.extend([0xC7, 0x05]);
    code.extend(PDPT.to_le_bytes());
    code.extend([0, 0, 0, 0, 0xA1, 0, 0, 0x43, 0, 0xF4]);
    m.passes("a cleared PDPTE is not seen before CR3 is written", &code);
}

#[test]
fn a_string_move_stops_at_a_fault_and_goes_on() {
    let mut m = Machine::new();
    m.page(6);
    m.pte(PAGE + 0x2000, 0);
    for i in 0..0x3000 / 4 {
        m.write32(0x30_0000 + 4 * i, i ^ 0xA5A5_A5A5);
    }
    m.state.gpr[1] = 0x3000 / 4;
    m.state.gpr[6] = 0x30_0000;
    m.state.gpr[7] = PAGE;
    let code = [0xF3, 0xA5, 0xF4];
    let e = m.faults("REP MOVSD", &code, PF, Some(2), 0);
    assert_eq!(e.state.gpr[1], 0x1000 / 4, "ECX");
    assert_eq!((e.state.gpr[6], e.state.gpr[7]), (0x30_2000, PAGE + 0x2000));
    assert_eq!(e.state.retired, 0x2000 / 4 + 1 + 1, "moves, the exception, HLT");
    m.pte(PAGE + 0x2000, (PAGE + 0x2000) | 3);
    m.state.gpr = e.state.gpr;
    m.state.gpr[4] = STACK0;
    let s = m.passes("the rest", &code);
    assert_eq!((s.gpr[1], s.gpr[7]), (0, PAGE + 0x3000));
    let (a, b) =
        (m.bus.ram.slice(0x30_0000, 0x3000).unwrap(), m.bus.ram.slice(u64::from(PAGE), 0x3000).unwrap());
    assert_eq!(a, b);
}

#[test]
fn translating_from_outside() {
    let mut m = Machine::new();
    m.page(6);
    m.pte(PAGE, DATA | PRESENT);
    m.pte(PAGE + 0x1000, 0);
    m.cpu.load(&m.state.clone()).unwrap();
    assert_eq!(m.cpu.translate(&mut m.bus, PAGE + 0x123), Some(u64::from(DATA) + 0x123));
    assert_eq!(m.cpu.translate(&mut m.bus, PAGE + 0x1000), None);
    assert_eq!(m.read32(PAGE_TABLE + 4 * (PAGE >> 12)), DATA | PRESENT, "no bit was set");
}

#[test]
fn the_a20_line() {
    let mut m = Machine::new();
    m.write32(0x10, 1);
    m.write32(0x10_0010, 2);
    // mov eax,[100010h]; out 92h,al; mov eax,[100010h]; hlt
    let read = [0xA1, 0x10, 0, 0x10, 0, 0xF4];
    assert_eq!(m.passes("A20 on", &read).gpr[0], 2);
    m.bus.after.a20 = false;
    m.write(CODE, &read);
    assert_eq!(m.passes("A20 off", &read).gpr[0], 1);
    m.bus.after.a20 = true;
    assert_eq!(m.passes("A20 on again", &read).gpr[0], 2);
}

#[test]
fn a_changed_map_is_noticed() {
    let mut m = Machine::new();
    m.state.gpr[0] = 7;
    // loop: mov [DATA],eax; dec ecx; jnz loop; hlt
    let code = [0xA3, 0, 0, 3, 0, 0x49, 0x75, 0xF8, 0xF4];
    m.state.gpr[1] = 3;
    m.passes("before", &code);
    assert_eq!(m.read32(DATA), 7);
    // Another RAM at the same place, same content but for that.
    let mut other = slotone_bus::mem::Memory::new(m.bus.ram.len()).unwrap();
    let all = m.bus.ram.slice(0, m.bus.ram.len()).unwrap().to_vec();
    other.write(0, &all).unwrap();
    let old = std::mem::replace(&mut m.bus.ram, other);
    m.bus.after.map_generation += 1;
    m.state.gpr[0] = 9;
    assert!(matches!(m.run(&code).exit, Exit::Halt { .. }));
    assert_eq!(m.read32(DATA), 9);
    assert_eq!(old.slice(u64::from(DATA), 1).unwrap()[0], 7);
    // And a third, with other code in the loop, while the processor is in it.
    let mut third = slotone_bus::mem::Memory::new(m.bus.ram.len()).unwrap();
    let all = m.bus.ram.slice(0, m.bus.ram.len()).unwrap().to_vec();
    third.write(0, &all).unwrap();
    // inc ebx in place of the MOV, padded with NOPs
    third.write(u64::from(CODE), &[0x43, 0x90, 0x90, 0x90, 0x90]).unwrap();
    m.state.gpr[1] = 1000;
    m.write(CODE, &code);
    m.cpu.load(&m.state.clone()).unwrap();
    m.bus.after.until = 30;
    assert_eq!(m.cpu.run(&mut m.bus), Exit::Budget);
    let done = 1000 - m.cpu.save().gpr[1];
    assert_eq!(done, 10);
    m.bus.ram = third;
    m.bus.after.map_generation += 1;
    m.bus.after.until = 100_000;
    assert!(matches!(m.cpu.run(&mut m.bus), Exit::Halt { .. }));
    assert_eq!(m.cpu.save().gpr[3], 1000 - done);
}
