//! Code that changes: by the processor itself, in the running block, on the next page, and by a device.

mod common;

use common::*;

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
