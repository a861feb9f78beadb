//! The interrupt controllers as operating systems program them.

use slotone_bus::Device;
use slotone_chipset_440bx::Pic;
use slotone_chipset_440bx::pic::pin::{INTR, ir};
use slotone_fuzz_kit::Rig;

/// Vectors 20h and 28h, everything unmasked.
fn pic() -> Rig<Pic> {
    let mut rig = Rig::new(Pic::new());
    init(&mut rig, 0x01);
    rig
}

fn init(rig: &mut Rig<Pic>, icw4: u8) {
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x20),
        (0x21, 0x04),
        (0x21, icw4), // master
        (0xa0, 0x11),
        (0xa1, 0x28),
        (0xa1, 0x02),
        (0xa1, icw4 & 0x0f), // slave
    ] {
        rig.outb(port, value);
    }
}

fn ack(rig: &mut Rig<Pic>) -> u8 {
    let vector = rig.port.at(rig.now, |cx| rig.device.intack(cx)).unwrap();
    rig.lines();
    vector
}

fn isr(rig: &mut Rig<Pic>) -> (u8, u8) {
    rig.outb(0x20, 0x0b);
    rig.outb(0xa0, 0x0b);
    (rig.inb(0x20), rig.inb(0xa0))
}

fn irr(rig: &mut Rig<Pic>) -> (u8, u8) {
    rig.outb(0x20, 0x0a);
    rig.outb(0xa0, 0x0a);
    (rig.inb(0x20), rig.inb(0xa0))
}

#[test]
fn the_mask_reads_back() {
    let mut p = pic();
    for value in [0xff, 0x00, 0xfb, 0xa5] {
        p.outb(0x21, value);
        p.outb(0xa1, !value);
        assert_eq!((p.inb(0x21), p.inb(0xa1)), (value, !value));
        assert_eq!(p.inb(0x3d), value, "alias");
    }
}

#[test]
fn a_slave_request_goes_through_the_cascade() {
    let mut p = pic();
    assert_eq!(p.input(ir(14), true), [(INTR, true)]);
    assert_eq!(irr(&mut p), (0x04, 0x40));
    assert_eq!(ack(&mut p), 0x2e);
    assert_eq!(isr(&mut p), (0x04, 0x40));
    assert!(!p.device.intr());
    p.outb(0xa0, 0x20);
    p.outb(0x20, 0x20);
    assert_eq!(isr(&mut p), (0, 0));
    // The line is still high: in edge mode that is no new request.
    assert!(!p.device.intr());
    p.input(ir(14), false);
    assert_eq!(p.input(ir(14), true), [(INTR, true)]);
}

#[test]
fn a_higher_request_interrupts_a_lower_one_and_not_the_reverse() {
    let mut p = pic();
    p.input(ir(4), true);
    assert_eq!(ack(&mut p), 0x24);
    p.input(ir(5), true);
    assert!(!p.device.intr());
    p.input(ir(1), true);
    assert_eq!(ack(&mut p), 0x21);
    p.outb(0x20, 0x20); // ends IR1
    assert!(!p.device.intr());
    p.outb(0x20, 0x20); // ends IR4
    assert_eq!(ack(&mut p), 0x25);
}

#[test]
fn a_vanished_request_is_spurious() {
    let mut p = pic();
    p.input(ir(3), true);
    assert_eq!(p.input(ir(3), false), [(INTR, false)]);
    assert_eq!(ack(&mut p), 0x27);
    assert_eq!(isr(&mut p), (0, 0));
}

#[test]
fn masking_at_the_slave_takes_the_request_back() {
    let mut p = pic();
    p.input(ir(9), true);
    assert_eq!(p.outb(0xa1, 0xff), [(INTR, false)]);
    assert_eq!(p.outb(0xa1, 0x00), [(INTR, true)]);
    assert_eq!(ack(&mut p), 0x29);
}

#[test]
fn level_mode_follows_the_pin() {
    let mut p = pic();
    p.outb(0x4d1, 0xff);
    p.outb(0x4d0, 0xff);
    assert_eq!((p.inb(0x4d0), p.inb(0x4d1)), (0xf8, 0xde), "IRQ 0-2, 8 and 13 are always edge");
    p.input(ir(11), true);
    assert_eq!(ack(&mut p), 0x2b);
    assert_eq!(irr(&mut p).1, 0x08, "still requested");
    p.outb(0xa0, 0x20);
    p.outb(0x20, 0x20);
    assert!(p.device.intr(), "the line is still high");
    assert_eq!(ack(&mut p), 0x2b);
    p.input(ir(11), false);
    p.outb(0xa0, 0x20);
    p.outb(0x20, 0x20);
    assert!(!p.device.intr());
}

#[test]
fn specific_eoi_priorities_and_rotation() {
    let mut p = pic();
    p.outb(0x20, 0xc3); // IR3 lowest, IR4 highest
    p.input(ir(0), true);
    p.input(ir(4), true);
    assert_eq!(ack(&mut p), 0x24);
    p.outb(0x20, 0x64); // specific EOI
    assert_eq!(ack(&mut p), 0x20);
    p.outb(0x20, 0xa0); // rotate on non-specific EOI: IR0 becomes the lowest
    p.input(ir(0), false);
    p.input(ir(0), true);
    p.input(ir(7), true);
    assert_eq!(ack(&mut p), 0x27);
    p.outb(0x20, 0xe7); // rotate on specific EOI: IR7 lowest
    assert_eq!(ack(&mut p), 0x20);
}

#[test]
fn automatic_eoi() {
    let mut p = Rig::new(Pic::new());
    init(&mut p, 0x03);
    p.input(ir(5), true);
    assert_eq!(ack(&mut p), 0x25);
    assert_eq!(isr(&mut p).0, 0);
}

#[test]
fn poll_acknowledges() {
    let mut p = pic();
    p.outb(0x20, 0x0c);
    assert_eq!(p.inb(0x20), 0x00);
    p.input(ir(6), true);
    p.outb(0x20, 0x0c);
    assert_eq!(p.inb(0x20), 0x86);
    assert_eq!(isr(&mut p).0, 0x40);
    assert!(!p.device.intr());
}

#[test]
fn special_mask_mode_lets_lower_requests_in() {
    let mut p = pic();
    p.input(ir(4), true);
    ack(&mut p);
    p.input(ir(7), true);
    assert!(!p.device.intr());
    p.outb(0x21, 0x10);
    p.outb(0x20, 0x68);
    assert_eq!(ack(&mut p), 0x27);
    p.outb(0x20, 0x20);
    assert_eq!(isr(&mut p).0, 0x10, "a non-specific EOI passes over masked levels");
    p.outb(0x20, 0x48);
    p.outb(0x20, 0x20);
    assert_eq!(isr(&mut p).0, 0x00);
}

#[test]
fn special_fully_nested_mode_lets_the_slave_interrupt_itself() {
    for (icw4, interrupts) in [(0x01, false), (0x11, true)] {
        let mut p = Rig::new(Pic::new());
        init(&mut p, icw4);
        p.input(ir(12), true);
        ack(&mut p);
        p.input(ir(8), true);
        assert_eq!(p.device.intr(), interrupts);
    }
}

#[test]
fn icw1_clears_what_is_pending() {
    let mut p = pic();
    p.outb(0x21, 0xff);
    p.input(ir(5), true);
    p.outb(0x20, 0x11);
    p.outb(0x21, 0x30);
    p.outb(0x21, 0x04);
    p.outb(0x21, 0x01);
    assert_eq!(p.inb(0x21), 0x00, "ICW1 clears the mask");
    assert!(!p.device.intr(), "the edge is forgotten");
    p.input(ir(5), false);
    p.input(ir(5), true);
    assert_eq!(ack(&mut p), 0x35);
}

#[test]
fn without_icw4_and_icw3() {
    let mut p = Rig::new(Pic::new());
    p.outb(0x20, 0x12); // single, no ICW4
    p.outb(0x21, 0x08);
    p.outb(0x21, 0xf0); // already the mask
    assert_eq!(p.inb(0x21), 0xf0);
    p.input(ir(1), true);
    assert_eq!(ack(&mut p), 0x09);
}
