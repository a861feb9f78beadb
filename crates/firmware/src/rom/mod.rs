//! The ROM images: native 16-bit entry points, made by the crate's own emitter.

mod emit;
mod entries;
mod video;

pub(crate) use emit::{Emitter, If};
pub use entries::rom;
pub(crate) use entries::{Entry, TABLES, fixed, offsets};
pub(crate) use video::layout as video_layout;
pub use video::video_rom;

use crate::TRAP_PORT;
use crate::frame::{LOCAL_BYTES, offset};
use emit::Label;

/// Emits what every service shares: the frame, the trap, and what the answer asks for. Expects the service number on top
/// of the caller's IRET image.
fn emit_trap(a: &mut Emitter) -> Label {
    let common = a.mark();
    a.pushad();
    a.push_ds();
    a.push_es();
    // The service's state, phase and answer: all zero.
    for _ in 0..(LOCAL_BYTES + 4) / 4 {
        a.push_dword_0();
    }
    let trap = a.mark();
    a.out_al(TRAP_PORT as u8);
    a.mov_bp_sp();
    a.mov_ax_bp(offset::ANSWER);
    let (done, wait, spin, call, interrupt) = (a.label(), a.label(), a.label(), a.label(), a.label());
    a.test_ax_ax();
    a.j(If::Zero, done);
    for target in [wait, spin, call, interrupt] {
        a.dec_ax();
        a.j(If::Zero, target);
    }
    a.bind(done);
    a.add_sp(4 + LOCAL_BYTES as u8);
    a.pop_es();
    a.pop_ds();
    a.popad();
    a.add_sp(2);
    a.iret();

    // Interrupts are off between the service's answer and HLT, so that none is missed.
    a.bind(wait);
    a.sti();
    a.hlt();
    a.cli();
    a.jmp_short(trap);

    a.bind(spin);
    a.sti();
    a.mov_cx(200);
    let turn = a.mark();
    a.in_al(0x61);
    a.loop_(turn);
    a.cli();
    a.jmp_short(trap);

    let arguments = |a: &mut Emitter| {
        a.mov_bx_bp(offset::LOCALS + 6);
        a.mov_es_bp(offset::LOCALS + 8);
        a.mov_di_bp(offset::LOCALS + 10);
        a.mov_ax_bp(offset::LOCALS + 4);
    };
    let called = a.label();
    a.bind(call);
    arguments(a);
    a.call_far_bp(offset::LOCALS);
    a.jmp_short(called);
    a.bind(interrupt);
    arguments(a);
    a.pushf();
    a.call_far_bp(offset::LOCALS);
    a.bind(called);
    a.cli();
    a.cld();
    a.mov_bp_sp();
    a.mov_bp_ax(offset::LOCALS + 4);
    a.jmp_short(trap);
    common
}

/// Emits the entry of a service that is called with an IRET image on the stack.
fn emit_service(a: &mut Emitter, common: Label, service: u16) -> Label {
    let label = a.mark();
    a.push_word(service);
    a.jmp(common);
    label
}
