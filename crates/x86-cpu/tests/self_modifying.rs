//! Code that changes: by the processor itself, in the running block, on the next page, and by a device.

mod common;

use common::*;
use slotone_bus::cpu::Cpu;
use slotone_x86_cpu::{CpuModel, SoftCpu};

#[test]
fn the_next_instruction() {
    let mut m = Machine::new();
    // mov byte [CODE+8],40h (inc eax); the byte at CODE+7 is NOP, CODE+8 is NOP; hlt
    let code = [0xC6, 0x05, 0x08, 0, 1, 0, 0x40, 0x90, 0x90, 0xF4];
    for round in 0..3 {
        let s = m.passes("next instruction", &code);
        assert_eq!(s.gpr[0], 1, "round {round}");
    }
}

#[test]
fn an_immediate_in_a_loop() {
    let mut m = Machine::new();
    m.state.gpr[1] = 1000;
    // loop: add eax,imm32 (at +1); inc dword [CODE+1]; dec ecx; jnz loop; hlt
    let code = [0x05, 0, 0, 0, 0, 0xFF, 0x05, 1, 0, 1, 0, 0x49, 0x75, 0xF2, 0xF4];
    let s = m.passes("immediate", &code);
    assert_eq!(s.gpr[0], (0..1000).sum::<u32>());
}

#[test]
fn by_a_string_instruction() {
    let mut m = Machine::new();
    // mov esi,DATA; mov edi,CODE+20h; mov ecx,4; rep movsb; jmp CODE+20h
    let code = [0xBE, 0, 0, 3, 0, 0xBF, 0x20, 0, 1, 0, 0xB9, 4, 0, 0, 0, 0xF3, 0xA4, 0xEB, 0x0D];
    m.write(CODE + 0x20, &[0x90, 0x90, 0x90, 0xF4]);
    m.write(DATA, &[0x90, 0x90, 0x90, 0xF4]);
    assert_eq!(m.passes("before", &code).gpr[0], 0);
    m.write(DATA, &[0x40, 0x40, 0x40, 0xF4]);
    assert_eq!(m.passes("after", &code).gpr[0], 3);
}

#[test]
fn by_a_device() {
    let mut m = Machine::new();
    let code = [0x40, 0xF4];
    assert_eq!(m.passes("before", &code).gpr[0], 1);
    // `run` writes the code again through the memory, as a device would.
    let code = [0x48, 0xF4];
    assert_eq!(m.passes("after", &code).gpr[0], u32::MAX);
}

#[test]
fn through_another_linear_address() {
    let mut m = Machine::new();
    m.page(6);
    m.pte(0x38_0000, CODE | 3);
    // mov byte [380008h],40h; nop; nop; hlt
    let code = [0xC6, 0x05, 0x08, 0, 0x38, 0, 0x40, 0x90, 0x90, 0xF4];
    m.state.gpr[3] = 5;
    assert_eq!(m.passes("alias", &code).gpr[0], 1);
    // Once more with the alias's translation at hand for writing before the code is decoded.
    let mut m = Machine::new();
    m.page(6);
    m.pte(0x38_0000, (CODE + 0x1000) | 3);
    // mov [380000h],ecx ; call CODE+1000h ; mov byte [380000h],41h ; call CODE+1000h ; hlt
    let code = [
        0x89, 0x0D, 0, 0, 0x38, 0, 0xE8, 0xF5, 0x0F, 0, 0, 0xC6, 0x05, 0, 0, 0x38, 0, 0x41, 0xE8, 0xE9, 0x0F,
        0, 0, 0xF4,
    ];
    // inc eax; ret; nop; nop
    m.state.gpr[1] = 0x9090_C340;
    let s = m.passes("alias at hand", &code);
    assert_eq!((s.gpr[0], s.gpr[1]), (1, 0x9090_C341));
}

#[test]
fn data_beside_code_is_no_change() {
    // A counter on the code's page but away from it: correct, and the same in every round.
    let mut m = Machine::new();
    m.state.gpr[1] = 500;
    // loop: inc dword [CODE+800h]; dec ecx; jnz loop; hlt
    let code = [0xFF, 0x05, 0, 0x08, 1, 0, 0x49, 0x75, 0xF7, 0xF4];
    m.passes("counter", &code);
    assert_eq!(m.read32(CODE + 0x800), 500);
}

#[test]
fn an_instruction_on_two_pages() {
    let mut m = Machine::new();
    // mov eax,imm32 with its immediate on the next page
    m.write(CODE + 0xFFE, &[0x90, 0xB8, 1, 0, 0, 0, 0xF4]);
    // jmp CODE+FFEh
    let code = [0xE9, 0xF9, 0x0F, 0, 0];
    assert_eq!(m.passes("before", &code).gpr[0], 1);
    m.write(CODE + 0x1000, &[2]);
    assert_eq!(m.passes("after", &code).gpr[0], 2);
}

#[test]
fn the_same_bytes_written_again() {
    let mut m = Machine::new();
    m.state.gpr[1] = 500;
    // loop: mov byte [CODE+7],40h (what is there: inc eax); inc eax; dec ecx; jnz loop; hlt
    let code = [0xC6, 0x05, 0x07, 0, 1, 0, 0x40, 0x40, 0x49, 0x75, 0xF5, 0xF4];
    let s = m.passes("same bytes", &code);
    assert_eq!((s.gpr[0], s.gpr[1]), (500, 0));
}

#[test]
fn bytes_that_change_and_change_back() {
    let mut m = Machine::new();
    m.state.gpr[1] = 300;
    // loop: call f; xor byte [f],8 (inc eax <-> dec eax); dec ecx; jnz loop; hlt
    // f: inc eax; ret, at +20h: the block that was decoded first fits again in every second round.
    let code = [0xE8, 0x1B, 0, 0, 0, 0x80, 0x35, 0x20, 0, 1, 0, 8, 0x49, 0x75, 0xF1, 0xF4];
    m.write(CODE + 0x20, &[0x40, 0xC3]);
    assert_eq!(m.passes("even", &code).gpr[0], 0);
    m.state.gpr[1] = 301;
    assert_eq!(m.passes("odd", &code).gpr[0], 1);
}

#[test]
fn a_counter_between_the_instructions() {
    // The loop's own counter lies among its instructions: every round writes to bytes that are next to code.
    let mut m = Machine::new();
    // loop: inc eax; jmp over; counter: dd 400; over: dec dword [counter]; jnz loop; hlt
    let code = [0x40, 0xEB, 0x04, 0x90, 1, 0, 0, 0xFF, 0x0D, 0x03, 0, 1, 0, 0x75, 0xF1, 0xF4];
    let s = m.passes("counter", &code);
    assert_eq!(s.gpr[0], 0x190);
    assert_eq!(m.read32(CODE + 3), 0);
}

#[test]
fn modes_that_alternate_beside_their_variables() {
    // Protected 16-bit code goes to real mode and back 500 times and counts in bytes among the code, as boot loaders do.
    let mut m = Machine::new();
    m.real();
    m.state.gpr[1] = 500;
    m.descriptor(FREE, descriptor(CODE, 0xFFFF, 0x9B, 0));
    let code = [
        0xEB, 0x02, 0, 0, // jmp over; counter: dw 0
        0x2E, 0xFF, 0x06, 0x02, 0, // over: inc word cs:[counter]  (real mode)
        0x0F, 0x20, 0xC0, 0x0C, 0x01, 0x0F, 0x22, 0xC0, // mov eax,cr0; or al,1; mov cr0,eax
        0xEA, 0x16, 0, FREE as u8, 0, // jmp FREE:16h
        0x8B, 0x16, 0x02, 0, // mov dx,[counter]  (protected, DS as it was)
        0x01, 0xD3, // add bx,dx
        0x0F, 0x20, 0xC0, 0x24, 0xFE, 0x0F, 0x22, 0xC0, // mov eax,cr0; and al,FEh; mov cr0,eax
        0xEA, 0x29, 0, 0, 0x10, // jmp 1000h:29h
        0x49, 0x75, 0xD8, 0xF4, // dec cx; jnz over; hlt
    ];
    let s = m.passes("modes", &code);
    assert_eq!(s.gpr[3] & 0xFFFF, (1..=500).sum::<u32>() & 0xFFFF);
    assert_eq!(m.read32(CODE + 2) & 0xFFFF, 500);
    assert_eq!(s.cr0 & 1, 0);
}

#[test]
fn an_alias_at_hand_for_writing_after_code_was_found_again() {
    // The alias's entry of the TLB is nowhere near that of the page itself.
    const ALIAS: u32 = 0x38_0000;
    let mut m = Machine::new();
    m.page(6);
    m.pte(ALIAS, (CODE + 0x1000) | 3);
    m.write(CODE + 0x1000, &[0x40, 0xC3]);
    let mut code = Vec::new();
    for _ in 0..3 {
        // call CODE+1000h: decodes it, or finds it good again
        let next = code.len() as u32 + 5;
        code.push(0xE8);
        code.extend(0x1000u32.wrapping_sub(next).to_le_bytes());
        for value in [0x40, 0x40, 0x40] {
            // mov byte [ALIAS],40h: the first takes the code away, the next make the alias quick to write to
            code.extend([0xC6, 0x05]);
            code.extend(ALIAS.to_le_bytes());
            code.push(value);
        }
        let next = code.len() as u32 + 5;
        code.push(0xE8);
        code.extend(0x1000u32.wrapping_sub(next).to_le_bytes());
        // mov byte [ALIAS],48h (dec eax); call; mov byte [ALIAS],40h
        code.extend([0xC6, 0x05]);
        code.extend(ALIAS.to_le_bytes());
        code.push(0x48);
        let next = code.len() as u32 + 5;
        code.push(0xE8);
        code.extend(0x1000u32.wrapping_sub(next).to_le_bytes());
        code.extend([0xC6, 0x05]);
        code.extend(ALIAS.to_le_bytes());
        code.push(0x40);
    }
    code.push(0xF4);
    assert_eq!(m.passes("alias", &code).gpr[0], 3);
}

#[test]
fn random_changes_are_seen_as_a_processor_without_a_past_sees_them() {
    const PAGE: u32 = CODE + 0x1000;
    const ALIAS: u32 = 0x38_0000;
    // inc eax, dec eax, nop, inc ecx, add eax,7 in pieces, ret
    const BYTES: [u8; 8] = [0x40, 0x48, 0x90, 0x41, 0x83, 0xC0, 0x07, 0xC3];
    for seed in 1..=40u64 {
        let mut r = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let mut m = Machine::new();
        m.page(6);
        m.pte(ALIAS, PAGE | 3);
        // Everything that does not fit returns: an unfinished ADD takes the RET as its operand and another follows.
        m.write(PAGE, &[0xC3; 64]);
        let mut code = Vec::new();
        for _ in 0..60 {
            if r.below(3) == 0 {
                let target = 0x1000 + r.below(12);
                let next = code.len() as u32 + 5;
                code.push(0xE8);
                code.extend(target.wrapping_sub(next).to_le_bytes());
            } else {
                let to = if r.below(2) == 0 { PAGE } else { ALIAS } + r.below(24);
                code.extend([0xC6, 0x05]);
                code.extend(to.to_le_bytes());
                code.push(BYTES[r.below(8) as usize]);
            }
        }
        code.push(0xF4);
        let whole = m.run(&code).state;
        // The same with a new processor for every instruction.
        let mut n = Machine::new();
        n.page(6);
        n.pte(ALIAS, PAGE | 3);
        n.write(PAGE, &[0xC3; 64]);
        n.write(CODE, &code);
        let mut state = n.state.clone();
        while !state.halted {
            n.cpu = SoftCpu::new(CpuModel::default());
            n.cpu.load(&state).unwrap();
            n.bus.after.until = state.retired + 1;
            n.cpu.run(&mut n.bus);
            state = n.cpu.save();
        }
        assert_eq!(
            (whole.gpr, whole.eip, whole.retired),
            (state.gpr, state.eip, state.retired),
            "seed {seed}"
        );
    }
}
