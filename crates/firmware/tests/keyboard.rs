//! Scan codes into the buffer, int 16h out of it.

mod common;

use common::{Mock, Regs};

fn press(mock: &mut Mock, codes: &[u8]) {
    for code in codes {
        mock.service(0x101, Regs { eax: (*code).into(), ..Regs::default() });
    }
}

/// What AH=10h gives for a sequence of scan codes.
fn keys(codes: &[u8]) -> Vec<u16> {
    let mut mock = Mock::posted();
    press(&mut mock, codes);
    let mut out = Vec::new();
    while !mock.ax(0x16, 0x1100).zero() {
        out.push(mock.ax(0x16, 0x1000).ax());
    }
    out
}

#[test]
fn characters_and_modifiers() {
    let (shift, up) = (0x2A, 0xAA);
    assert_eq!(keys(&[0x1E, 0x9E, shift, 0x1E, 0x9E, up, 0x1E]), [0x1E61, 0x1E41, 0x1E61]);
    assert_eq!(
        keys(&[shift, 0x02, 0x0D, 0x1A, 0x28, 0x2B, 0x35]),
        [0x0221, 0x0D2B, 0x1A7B, 0x2822, 0x2B7C, 0x353F]
    );
    // Caps Lock is for letters, Shift undoes it.
    assert_eq!(
        keys(&[0x3A, 0xBA, 0x10, 0x02, shift, 0x10, up, 0x3A, 0xBA, 0x10]),
        [0x1051, 0x0231, 0x1071, 0x1071]
    );
    assert_eq!(
        keys(&[0x1D, 0x2E, 0x03, 0x07, 0x0C, 0x1B, 0x39, 0x1C, 0x0E]),
        [0x2E03, 0x0300, 0x071E, 0x0C1F, 0x1B1D, 0x3920, 0x1C0A, 0x0E7F]
    );
    assert_eq!(keys(&[0x38, 0x1E, 0x02, 0x3B, 0x57]), [0x1E00, 0x7800, 0x6800, 0x8B00]);
    assert_eq!(keys(&[0x3B, shift, 0x3B, 0x58, up, 0x1D, 0x44]), [0x3B00, 0x5400, 0x8800, 0x6700]);
    assert_eq!(keys(&[0x01, 0x0F, shift, 0x0F]), [0x011B, 0x0F09, 0x0F00]);
}

#[test]
fn keypad_and_grey_keys() {
    // Grey up with the shifts that the keyboard wraps around it.
    assert_eq!(keys(&[0xE0, 0x2A, 0xE0, 0x48, 0xE0, 0xC8, 0xE0, 0xAA]), [0x48E0]);
    assert_eq!(keys(&[0x48, 0x45, 0xC5, 0x48, 0x2A, 0x48]), [0x4800, 0x4838, 0x4800]);
    assert_eq!(keys(&[0xE0, 0x1C, 0xE0, 0x35, 0x1D, 0xE0, 0x4B]), [0xE00D, 0xE02F, 0x73E0]);
    // Alt and 6, 5.
    assert_eq!(keys(&[0x38, 0x4D, 0xCD, 0x4C, 0xCC, 0xB8]), [65]);
    // Right Alt and right Ctrl count too, each until it is let go.
    assert_eq!(keys(&[0xE0, 0x38, 0x10, 0xE0, 0xB8, 0x10, 0xE0, 0x1D, 0x10]), [0x1000, 0x1071, 0x1011]);
}

#[test]
fn old_functions_see_the_old_keyboard() {
    let mut mock = Mock::posted();
    press(&mut mock, &[0xE0, 0x48, 0x57, 0xE0, 0x1C]);
    let r = mock.ax(0x16, 0x0100);
    assert_eq!((r.zero(), r.ax()), (false, 0x4800));
    assert_eq!(mock.ax(0x16, 0x0000).ax(), 0x4800);
    assert_eq!(mock.ax(0x16, 0x0000).ax(), 0x1C0D, "F11 is skipped");
    assert!(mock.ax(0x16, 0x0100).zero());
}

#[test]
fn the_buffer_wraps_and_fills() {
    let mut mock = Mock::posted();
    for round in 0..40u32 {
        let r = mock.int(0x16, Regs { eax: 0x0500, ecx: 0x1E00 + round, ..Regs::default() });
        assert_eq!(r.al(), 0);
        assert_eq!(u32::from(mock.ax(0x16, 0x0000).ax()), 0x1E00 + round);
    }
    for _ in 0..15 {
        assert_eq!(mock.int(0x16, Regs { eax: 0x0500, ecx: 0x1E61, ..Regs::default() }).al(), 0);
    }
    assert_eq!(mock.int(0x16, Regs { eax: 0x0500, ecx: 0x1E61, ..Regs::default() }).al(), 1);
}

#[test]
fn locks_light_up() {
    let mut mock = Mock::posted();
    mock.log.clear();
    press(&mut mock, &[0x3A, 0xBA]);
    assert_eq!(mock.log.iter().filter(|w| w.0 == 0x60).copied().collect::<Vec<_>>(), [(0x60, 0xED)]);
    press(&mut mock, &[0xFA]);
    assert_eq!(mock.log.last(), Some(&(0x60, 4)));
    press(&mut mock, &[0xFA]);
    assert_eq!((mock.memory[0x497], mock.memory[0x417]), (4, 0x40));
    assert_eq!(mock.ax(0x16, 0x0200).al(), 0x40);
    assert_eq!(mock.ax(0x16, 0x1200).ax(), 0x0040);
}

#[test]
fn keys_that_call_interrupts() {
    let mut mock = Mock::posted();
    for (vector, at) in [(0x1B, 0x1111u16), (0x05, 0x2222), (0x15, 0x3333)] {
        mock.memory[vector * 4..vector * 4 + 2].copy_from_slice(&at.to_le_bytes());
    }
    mock.calls.clear();
    press(&mut mock, &[0x1D, 0xE0, 0x46, 0x9D, 0xE0, 0x37, 0x54]);
    let offsets: Vec<_> = mock.calls.iter().map(|call| (call.1, call.2)).collect();
    assert_eq!(offsets, [(0x1111, 0), (0x2222, 0), (0x3333, 0x8500)]);
    assert_eq!(mock.memory[0x471], 0x80);
}

#[test]
fn control_alt_delete_restarts() {
    let mut mock = Mock::posted();
    mock.log.clear();
    press(&mut mock, &[0x1D, 0x38, 0x53]);
    let resets: Vec<_> = mock.log.iter().filter(|w| w.0 == 0xCF9).copied().collect();
    assert_eq!((resets, mock.u16(0x472)), (vec![(0xCF9, 2), (0xCF9, 6)], 0x1234));
}
