//! The timer through its ports and pins.

use slotone_bus::{Clock, Device, Pin};
use slotone_chipset_440bx::Pit;
use slotone_chipset_440bx::pit::pin::{GATE2, OUT0, OUT2};
use slotone_fuzz_kit::Rig;

fn instant(clocks: u64) -> u64 {
    Clock::PIT.instant_of(clocks).as_nanos()
}

/// Runs to `until` clocks and says at which clock which line moved.
fn record(rig: &mut Rig<Pit>, until: u64) -> Vec<(u64, Pin, bool)> {
    let mut log = Vec::new();
    while let Some(due) = rig.device.next_deadline().filter(|d| d.as_nanos() <= instant(until)) {
        rig.now = due.as_nanos();
        let clock = Clock::PIT.ticks_at(due);
        log.extend(rig.settle().into_iter().map(|(pin, level)| (clock, pin, level)));
    }
    rig.now = instant(until);
    log
}

#[test]
fn the_system_tick_has_no_drift() {
    let mut t = Rig::new(Pit::new());
    t.outb(0x43, 0x34);
    t.outb(0x40, 0x9b); // 11931: 100 Hz
    t.outb(0x40, 0x2e);
    let log = record(&mut t, 11_931 * 1000 + 1);
    let rises: Vec<u64> = log.iter().filter(|(_, _, level)| *level).map(|(clock, ..)| *clock).collect();
    assert_eq!(rises.len(), 1000);
    for (n, clock) in (1..).zip(&rises) {
        assert_eq!(*clock, 11_931 * n + 1, "loaded at clock 1");
    }
    let falls = log.iter().filter(|(_, _, level)| !*level).map(|(clock, ..)| *clock);
    assert!(falls.zip(&rises).all(|(fall, rise)| fall + 1 == *rise), "OUT is low for one clock");
}

#[test]
fn linux_calibrates_with_channel_2_in_mode_0() {
    let mut t = Rig::new(Pit::new());
    t.input(GATE2, true);
    t.outb(0x43, 0xb0);
    assert!(!t.levels().get(OUT2), "mode 0 starts low");
    t.outb(0x42, 0x9b);
    t.outb(0x42, 0x2e);
    assert_eq!(record(&mut t, 20_000), [(11_932, OUT2, true)]);
    assert_eq!(t.device.next_deadline(), None, "done");
}

#[test]
fn the_gate_stops_and_restarts() {
    let mut t = Rig::new(Pit::new());
    t.outb(0x43, 0xb6);
    t.outb(0x42, 0xe8); // 1000 clocks, mode 3
    t.outb(0x42, 0x03);
    assert_eq!(t.device.next_deadline(), None, "GATE2 is low");
    assert_eq!(t.device.period(2), None);
    t.input(GATE2, true);
    assert_eq!(t.device.period(2), Some(1000));
    assert_eq!(record(&mut t, 1200), [(501, OUT2, false), (1001, OUT2, true)]);
    record(&mut t, 1600);
    assert!(!t.levels().get(OUT2));
    assert_eq!(t.input(GATE2, false), [(OUT2, true)], "a low gate takes OUT high");
    assert_eq!(t.device.next_deadline(), None);
    t.now = instant(5000);
    t.input(GATE2, true);
    assert_eq!(record(&mut t, 5600), [(5501, OUT2, false)], "a full half period after the trigger");
}

#[test]
fn latches_and_read_back() {
    let mut t = Rig::new(Pit::new());
    t.outb(0x43, 0x34);
    t.outb(0x40, 0x10);
    t.outb(0x40, 0x27); // 10000
    t.now = instant(101);
    t.outb(0x43, 0x00); // latch
    t.now = instant(150);
    t.outb(0x43, 0x00); // a second latch is ignored
    let latched = u16::from_le_bytes([t.inb(0x40), t.inb(0x40)]);
    assert_eq!(latched, 10_000 - 100);
    let live = u16::from_le_bytes([t.inb(0x40), t.inb(0x40)]);
    assert_eq!(live, 10_000 - 149);
    t.outb(0x43, 0xc2); // read-back of status and count of counter 0
    assert_eq!(t.inb(0x40), 0xb4, "OUT high, counting, as programmed");
    assert_eq!(u16::from_le_bytes([t.inb(0x40), t.inb(0x40)]), 10_000 - 149);
    t.outb(0x43, 0x34);
    t.outb(0x43, 0xe2); // status only
    assert_eq!(t.inb(0x40), 0xf4, "null count after a control word");
}

#[test]
fn a_byte_of_the_count_can_be_chosen() {
    let mut t = Rig::new(Pit::new());
    t.outb(0x43, 0x54); // counter 1, low byte, mode 2
    t.outb(0x41, 18);
    assert_eq!(t.device.period(1), Some(18));
    assert_eq!(t.device.next_deadline(), None, "OUT1 goes nowhere");
    t.outb(0x43, 0x60); // counter 1, high byte, mode 0
    t.outb(0x41, 0x02);
    t.now += 1_000;
    assert_eq!(t.inb(0x41), 0x02);
}

#[test]
fn short_periods_do_not_flood_the_machine() {
    for (mode, n) in [(2, 2u8), (3, 2), (3, 3), (2, 23), (2, 1), (3, 1)] {
        let mut t = Rig::new(Pit::new());
        t.outb(0x43, 0x10 | mode << 1);
        t.outb(0x40, n);
        let before = t.ticks();
        let lines = t.advance(10_000_000);
        assert!(t.ticks() - before <= 1_001, "mode {mode} count {n}: {} ticks in 10 ms", t.ticks() - before);
        let rises = lines.iter().filter(|(pin, level)| *pin == OUT0 && *level).count();
        assert_eq!(rises > 400, n != 1, "mode {mode} count {n}: edges are still seen: {rises}");
    }
}

#[test]
fn mode_0_is_stopped_by_half_a_count() {
    let mut t = Rig::new(Pit::new());
    t.outb(0x43, 0x30);
    t.outb(0x40, 10);
    t.outb(0x40, 0);
    t.advance(instant(20));
    assert!(t.levels().get(OUT0));
    assert_eq!(t.outb(0x40, 5), [(OUT0, false)]);
    t.advance(1_000_000);
    assert!(!t.levels().get(OUT0), "waits for the high byte");
    t.outb(0x40, 0);
    t.advance(1_000_000);
    assert!(t.levels().get(OUT0));
}
