//! Keyboard controller and keyboard as BIOSes and operating systems use them.

use slotone_bus::Device;
use slotone_fuzz_kit::Rig;
use slotone_superio_w83977::kbc::pin::{A20, INIT, IRQ1, IRQ12};
use slotone_superio_w83977::{Kbc, KeyCode, TypeError};

const MS: u64 = 1_000_000;

/// Translation and both interrupts on, both ports enabled.
fn kbc() -> Rig<Kbc> {
    let mut k = Rig::new(Kbc::new());
    k.outb(0x64, 0x60);
    k.outb(0x60, 0x47);
    k
}

/// Waits for a byte as drivers do: polls the status for at most half a second.
fn wait(k: &mut Rig<Kbc>) -> Option<u8> {
    for _ in 0..10_000 {
        if k.inb(0x64) & 1 != 0 {
            return Some(k.inb(0x60));
        }
        k.advance(50_000);
    }
    None
}

fn bytes(k: &mut Rig<Kbc>) -> Vec<u8> {
    let mut all = Vec::new();
    for _ in 0..100 {
        k.advance(2 * MS);
        if k.inb(0x64) & 1 != 0 {
            all.push(k.inb(0x60));
        }
    }
    all
}

fn command(k: &mut Rig<Kbc>, command: u8) -> Option<u8> {
    k.outb(0x64, command);
    wait(k)
}

fn to_keyboard(k: &mut Rig<Kbc>, value: u8) -> Option<u8> {
    k.outb(0x60, value);
    wait(k)
}

fn key(k: &mut Rig<Kbc>, code: KeyCode, pressed: bool) {
    k.settle();
    assert!(k.port.at(k.now, |cx| k.device.key(cx, code, pressed)));
    k.lines();
}

fn stroke(k: &mut Rig<Kbc>, code: KeyCode) -> Vec<u8> {
    key(k, code, true);
    let mut all = bytes(k);
    key(k, code, false);
    all.extend(bytes(k));
    all
}

#[test]
fn controller_commands() {
    let mut k = Rig::new(Kbc::new());
    assert_eq!(k.inb(0x64), 0x10);
    assert_eq!(command(&mut k, 0xaa), Some(0x55));
    assert_eq!(k.inb(0x64) & 0x0c, 0x0c, "SYS, and the last write was a command");
    assert_eq!(command(&mut k, 0xab), Some(0x00));
    assert_eq!(command(&mut k, 0xa9), Some(0x00));
    assert_eq!(command(&mut k, 0xa1), Some(b'H'));
    assert_eq!(command(&mut k, 0xa4), Some(0xf1));
    assert_eq!(command(&mut k, 0xc0).map(|v| v & 0x80), Some(0x80));
    assert_eq!(command(&mut k, 0xd0).map(|v| v & 0x03), Some(0x03));
    assert_eq!(command(&mut k, 0xca), Some(0x01));
    // The command byte and the internal RAM, with their aliases.
    k.outb(0x64, 0x60);
    k.outb(0x60, 0x65);
    assert_eq!(command(&mut k, 0x20), Some(0x65));
    k.outb(0x64, 0x5f);
    k.outb(0x60, 0xa7);
    assert_eq!((command(&mut k, 0x3f), command(&mut k, 0x1f)), (Some(0xa7), Some(0xa7)));
    for (off, on, bit) in [(0xad, 0xae, 0x10), (0xa7, 0xa8, 0x20)] {
        k.outb(0x64, off);
        assert_eq!(command(&mut k, 0x20).unwrap() & bit, bit);
        k.outb(0x64, on);
        assert_eq!(command(&mut k, 0x20).unwrap() & bit, 0);
    }
    k.outb(0x64, 0xb5); // not implemented: no answer
    assert_eq!(wait(&mut k), None);
}

#[test]
fn a20_and_reset() {
    let mut k = kbc();
    assert!(k.levels().get(A20));
    k.outb(0x64, 0xd1);
    assert_eq!(k.outb(0x60, 0xdd), [(A20, false)]);
    k.outb(0x64, 0xd1);
    assert_eq!(k.outb(0x60, 0xdf), [(A20, true)]);
    assert_eq!(k.outb(0x64, 0xfe), [(INIT, true), (INIT, false)]);
    assert_eq!(k.outb(0x64, 0xff), []);
    k.outb(0x64, 0xd1);
    assert_eq!(k.outb(0x60, 0x02), [(INIT, true), (INIT, false)]);
}

#[test]
fn keyboard_reset_and_identification() {
    let mut k = kbc();
    assert_eq!(to_keyboard(&mut k, 0xff), Some(0xfa));
    assert_eq!(wait(&mut k), Some(0xaa));
    assert_eq!(to_keyboard(&mut k, 0xf2), Some(0xfa));
    assert_eq!((wait(&mut k), wait(&mut k)), (Some(0xab), Some(0x41)), "83h, translated");
    k.outb(0x64, 0x60);
    k.outb(0x60, 0x07);
    to_keyboard(&mut k, 0xf2);
    assert_eq!((wait(&mut k), wait(&mut k)), (Some(0xab), Some(0x83)));
    assert_eq!(to_keyboard(&mut k, 0xee), Some(0xee));
    assert_eq!(to_keyboard(&mut k, 0xed), Some(0xfa));
    assert_eq!(to_keyboard(&mut k, 0x05), Some(0xfa));
    assert_eq!(k.device.leds(), 5);
    assert_eq!(to_keyboard(&mut k, 0xf3), Some(0xfa));
    assert_eq!(to_keyboard(&mut k, 0x00), Some(0xfa));
    assert_eq!(to_keyboard(&mut k, 0xfe), Some(0xfa), "resend");
    assert_eq!(to_keyboard(&mut k, 0x80), Some(0xfe), "no such command");
}

#[test]
fn translated_keys_and_one_edge_a_byte() {
    let mut k = kbc();
    key(&mut k, KeyCode::Delete, true);
    assert_eq!(k.advance(2 * MS), [(IRQ1, true)]);
    assert_eq!(k.advance(20 * MS), [], "the next byte waits until this one is read");
    assert_eq!(k.inb(0x60), 0xe0);
    assert!(!k.levels().get(IRQ1));
    assert_eq!(k.advance(2 * MS), [(IRQ1, true)]);
    assert_eq!(k.inb(0x60), 0x53);
    key(&mut k, KeyCode::Delete, false);
    assert_eq!(bytes(&mut k), [0xe0, 0xd3]);
    assert_eq!(stroke(&mut k, KeyCode::A), [0x1e, 0x9e]);
    assert_eq!(stroke(&mut k, KeyCode::F7), [0x41, 0xc1]);
    assert_eq!(stroke(&mut k, KeyCode::Pause), [0xe1, 0x1d, 0x45, 0xe1, 0x9d, 0xc5]);
    assert_eq!(stroke(&mut k, KeyCode::PrintScreen), [0xe0, 0x2a, 0xe0, 0x37, 0xe0, 0xb7, 0xe0, 0xaa]);
    key(&mut k, KeyCode::ControlLeft, true);
    assert_eq!(bytes(&mut k), [0x1d]);
    assert_eq!(stroke(&mut k, KeyCode::Pause), [0xe0, 0x46, 0xe0, 0xc6], "Ctrl-Break");
}

#[test]
fn the_three_scan_code_sets() {
    let mut k = kbc();
    k.outb(0x64, 0x60);
    k.outb(0x60, 0x07); // no translation
    assert_eq!(stroke(&mut k, KeyCode::ArrowUp), [0xe0, 0x75, 0xe0, 0xf0, 0x75]);
    for (set, expected) in [(1, vec![0xe0, 0x48, 0xe0, 0xc8]), (2, vec![0xe0, 0x75, 0xe0, 0xf0, 0x75])] {
        assert_eq!((to_keyboard(&mut k, 0xf0), to_keyboard(&mut k, set)), (Some(0xfa), Some(0xfa)));
        to_keyboard(&mut k, 0xf0);
        assert_eq!((to_keyboard(&mut k, 0x00), wait(&mut k)), (Some(0xfa), Some(set)));
        assert_eq!(stroke(&mut k, KeyCode::ArrowUp), expected);
    }
    to_keyboard(&mut k, 0xf0);
    to_keyboard(&mut k, 0x03);
    assert_eq!(stroke(&mut k, KeyCode::Esc), [0x08], "make only");
    assert_eq!(stroke(&mut k, KeyCode::ShiftLeft), [0x12, 0xf0, 0x12]);
    assert_eq!(to_keyboard(&mut k, 0xfa), Some(0xfa)); // every key repeats and breaks
    assert_eq!(stroke(&mut k, KeyCode::Esc), [0x08, 0xf0, 0x08]);
    assert_eq!(to_keyboard(&mut k, 0xfd), Some(0xfa)); // these make only
    assert_eq!(to_keyboard(&mut k, 0x08), Some(0xfa));
    assert_eq!(to_keyboard(&mut k, 0xf4), Some(0xfa));
    assert_eq!(stroke(&mut k, KeyCode::Esc), [0x08]);
    assert_eq!(to_keyboard(&mut k, 0xf6), Some(0xfa));
    assert_eq!(stroke(&mut k, KeyCode::A), [0x1c, 0xf0, 0x1c], "back to set 2");
}

#[test]
fn a_held_key_repeats() {
    let mut k = kbc();
    key(&mut k, KeyCode::X, true);
    let mut makes = 0;
    for _ in 0..1_000 {
        k.advance(MS);
        if k.inb(0x64) & 1 != 0 {
            assert_eq!(k.inb(0x60), 0x2d);
            makes += 1;
        }
    }
    // One at once, then after 500 ms 10.9 a second.
    assert!((6..=7).contains(&makes), "{makes}");
    to_keyboard(&mut k, 0xf3);
    to_keyboard(&mut k, 0x7f); // the slowest: 1 s, then 2 a second
    key(&mut k, KeyCode::X, false);
    assert_eq!(bytes(&mut k).last(), Some(&0xad));
    key(&mut k, KeyCode::X, true);
    key(&mut k, KeyCode::X, true); // the host's own repetition is not news
    key(&mut k, KeyCode::X, false);
    key(&mut k, KeyCode::X, false);
    assert_eq!(bytes(&mut k), [0x2d, 0xad]);
    assert_eq!(bytes(&mut k), []);
    assert_eq!(k.device.next_deadline(), None, "rest");
}

#[test]
fn a_disabled_port_holds_the_keys_back() {
    let mut k = kbc();
    k.outb(0x64, 0xad);
    key(&mut k, KeyCode::B, true);
    key(&mut k, KeyCode::B, false);
    assert_eq!(bytes(&mut k), []);
    k.outb(0x64, 0xae);
    assert_eq!(bytes(&mut k), [0x30, 0xb0]);
    k.outb(0x64, 0xad);
    assert_eq!(to_keyboard(&mut k, 0xee), Some(0xee), "a byte for the keyboard opens the port");
    to_keyboard(&mut k, 0xf5); // the keyboard itself does not scan
    assert_eq!(stroke(&mut k, KeyCode::B), []);
    to_keyboard(&mut k, 0xf4);
    assert_eq!(stroke(&mut k, KeyCode::B), [0x30, 0xb0]);
}

#[test]
fn an_answer_overtakes_codes_without_losing_any() {
    let mut k = kbc();
    key(&mut k, KeyCode::Delete, true);
    assert_eq!(wait(&mut k), Some(0xe0));
    k.outb(0x60, 0xee);
    assert_eq!(bytes(&mut k), [0xee, 0x53]);
    key(&mut k, KeyCode::Delete, false);
    assert_eq!(wait(&mut k), Some(0xe0));
    k.outb(0x60, 0xee);
    assert_eq!(bytes(&mut k), [0xee, 0xd3], "still a release");
}

#[test]
fn a_key_held_while_nobody_reads_does_not_pile_up() {
    let mut k = kbc();
    key(&mut k, KeyCode::ArrowUp, true);
    k.advance(10_000 * MS);
    key(&mut k, KeyCode::ArrowUp, false);
    let all = bytes(&mut k);
    assert_eq!(all[..2], [0xe0, 0x48]);
    assert_eq!(all[all.len() - 2..], [0xe0, 0xc8]);
    assert!(all.len() <= 6, "{all:x?}");
}

#[test]
fn text_is_typed_at_a_pace_a_bios_can_follow() {
    let mut k = kbc();
    let text = "Ls -l; {f1}{ctrl-alt-del}\n";
    k.port.at(0, |cx| k.device.type_text(cx, text)).unwrap();
    k.lines();
    let mut all = Vec::new();
    let mut last = 0;
    while k.device.strokes_waiting() > 0 || k.inb(0x64) & 1 != 0 || k.device.next_deadline().is_some() {
        k.advance(MS / 4);
        if k.inb(0x64) & 1 != 0 {
            all.push(k.inb(0x60));
            assert!(k.now - last > MS / 2);
            last = k.now;
        }
    }
    let expected: &[u8] = &[
        0x2a, 0x26, 0xa6, 0xaa, // L
        0x1f, 0x9f, 0x39, 0xb9, 0x0c, 0x8c, 0x26, 0xa6, 0x27, 0xa7, 0x39, 0xb9, // s -l;
        0x3b, 0xbb, // F1
        0x1d, 0x38, 0xe0, 0x53, 0xe0, 0xd3, 0xb8, 0x9d, // Ctrl-Alt-Del
        0x1c, 0x9c,
    ];
    assert_eq!(all, expected);
    let too_much = "x".repeat(20_000);
    let full = k.port.at(k.now, |cx| k.device.type_text(cx, &too_much));
    assert!(matches!(full, Err(TypeError::Full { .. })));
    assert_eq!(k.device.strokes_waiting(), 0, "nothing is half typed");
}

#[test]
fn a_stroke_that_is_due_when_the_last_byte_goes_is_made_then() {
    let mut k = Rig::new(Kbc::new());
    k.port.at(0, |cx| k.device.type_text(cx, "Hi")).unwrap();
    // The keyboard is disabled until 7 ms, and answers this first: the first stroke's byte goes at 10 ms, when the second is due.
    k.advance(7 * MS);
    k.outb(0x60, 0x07);
    k.advance(2 * MS);
    assert_eq!(k.inb(0x60), 0xfe);
    let waiting = k.device.strokes_waiting();
    assert_eq!(k.device.next_deadline().map(|due| due.as_nanos()), Some(10 * MS));
    // One tick has to do it: the board takes a deadline that a tick leaves where it was for a mistake.
    k.port.at(10 * MS, |cx| k.device.tick(cx));
    assert_eq!(k.device.strokes_waiting(), waiting - 1);
    assert!(k.device.next_deadline().is_none_or(|due| due.as_nanos() > 10 * MS));
}

#[test]
fn the_auxiliary_port_without_a_mouse() {
    let mut k = kbc();
    // A byte for the mouse: nobody takes it.
    k.outb(0x64, 0xd4);
    k.outb(0x60, 0xf2);
    assert_eq!(k.advance(5 * MS - 1), []);
    assert_eq!(k.advance(1), [(IRQ12, true)]);
    assert_eq!(k.inb(0x64) & 0x61, 0x61, "OBF, AUX and time-out");
    assert_eq!(k.inb(0x60), 0xfe);
    assert_eq!(k.inb(0x64) & 0x61, 0x00);
    // Loopback, which Linux uses to find the port and its interrupt.
    for value in [0x5a, 0xa5, 0xf0] {
        k.outb(0x64, 0xd3);
        assert_eq!(k.outb(0x60, value), []);
        assert_eq!(k.advance(MS), [(IRQ12, true)]);
        assert_eq!(k.inb(0x64) & 0x21, 0x21);
        assert_eq!(k.inb(0x60), value);
    }
    k.outb(0x64, 0xd2);
    k.outb(0x60, 0x77);
    assert_eq!(k.advance(MS), [(IRQ1, true)], "as if from the keyboard");
    assert_eq!(k.inb(0x60), 0x77);
    assert_eq!(k.inb(0x60), 0x77, "an empty buffer gives the last byte");
}

#[test]
fn interrupts_need_their_enables() {
    let mut k = kbc();
    k.outb(0x64, 0x60);
    k.outb(0x60, 0x44);
    key(&mut k, KeyCode::Q, true);
    assert_eq!(k.advance(5 * MS), []);
    assert_eq!(k.inb(0x64) & 1, 1);
    k.outb(0x64, 0x60);
    assert_eq!(k.outb(0x60, 0x45), [(IRQ1, true)], "the byte is still there");
}

#[test]
fn a_flood_of_commands_is_bounded() {
    let mut k = kbc();
    for _ in 0..1_000 {
        k.outb(0x64, 0x20);
        k.outb(0x60, 0xf2);
    }
    assert!(bytes(&mut k).len() <= 16);
}
