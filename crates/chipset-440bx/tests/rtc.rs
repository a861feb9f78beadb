//! The clock through its ports.

use proptest::prelude::*;
use slotone_bus::{Device, ResetKind};
use slotone_chipset_440bx::rtc::pin::{IRQ8, NMI_MASK, UPPER};
use slotone_chipset_440bx::{DateTime, Rtc};
use slotone_fuzz_kit::Rig;

const SECOND: u64 = 1_000_000_000;

fn rtc() -> Rig<Rtc> {
    Rig::new(Rtc::new(DateTime::new(2005, 9, 20, 23, 59, 50).unwrap()))
}

fn get(rig: &mut Rig<Rtc>, index: u8) -> u8 {
    rig.outb(0x70, index);
    rig.inb(0x71)
}

fn set(rig: &mut Rig<Rtc>, index: u8, value: u8) {
    rig.outb(0x70, index);
    rig.outb(0x71, value);
}

fn time(rig: &mut Rig<Rtc>) -> [u8; 8] {
    [0x32, 9, 8, 7, 6, 4, 2, 0].map(|index| get(rig, index))
}

#[test]
fn time_goes_on() {
    let mut r = rtc();
    assert_eq!(time(&mut r), [0x20, 0x05, 0x09, 0x20, 3, 0x23, 0x59, 0x50]);
    r.advance(10 * SECOND - 1);
    assert_eq!(time(&mut r)[5..], [0x23, 0x59, 0x59]);
    r.advance(1);
    assert_eq!(time(&mut r), [0x20, 0x05, 0x09, 0x21, 4, 0x00, 0x00, 0x00]);
    r.advance(100 * 86_400 * SECOND);
    assert_eq!(time(&mut r)[1..4], [0x05, 0x12, 0x30]);
    assert_eq!(r.ticks(), 0, "nobody asked for an interrupt");
}

#[test]
fn uip_warns_before_the_update() {
    let mut r = rtc();
    let uip = |r: &mut Rig<Rtc>| get(r, 0x0a) & 0x80 != 0;
    r.advance(SECOND - 3_000_000);
    assert!(!uip(&mut r));
    r.advance(1_000_000);
    assert!(uip(&mut r), "2 ms before the update");
    r.advance(2_000_000 - 1);
    assert!(uip(&mut r));
    r.advance(1);
    assert!(!uip(&mut r));
    assert_eq!(get(&mut r, 0), 0x51);
}

#[test]
fn set_holds_time_still() {
    let mut r = rtc();
    set(&mut r, 0x0b, 0x92);
    assert_eq!(get(&mut r, 0x0b), 0x82, "SET clears UIE");
    set(&mut r, 0x0b, 0x82);
    r.advance(5 * SECOND);
    assert_eq!(get(&mut r, 0), 0x50);
    set(&mut r, 0x0b, 0x02);
    r.advance(SECOND);
    assert_eq!(get(&mut r, 0), 0x51);
}

#[test]
fn a_released_divider_takes_half_a_second() {
    let mut r = rtc();
    set(&mut r, 0x0a, 0x76);
    r.advance(SECOND / 3);
    set(&mut r, 0x0a, 0x26);
    r.advance(SECOND / 2 - 40_000);
    assert_eq!(get(&mut r, 0), 0x50);
    r.advance(80_000);
    assert_eq!(get(&mut r, 0), 0x51);
    r.advance(SECOND);
    assert_eq!(get(&mut r, 0), 0x52);
}

#[test]
fn the_periodic_interrupt_waits_for_register_c() {
    let mut r = rtc();
    set(&mut r, 0x0a, 0x26); // 1024 Hz
    set(&mut r, 0x0b, 0x42);
    let mut edges = 0;
    for n in 1..=1024 {
        let lines = r.advance(SECOND / 1024 + 1);
        edges += lines.iter().filter(|l| **l == (IRQ8, true)).count();
        let update = if n == 1024 { 0x10 } else { 0 };
        assert_eq!(get(&mut r, 0x0c), 0xc0 | update, "period {n}");
        assert!(!r.levels().get(IRQ8));
    }
    assert_eq!(edges, 1024);
    r.advance(SECOND);
    assert!(r.levels().get(IRQ8));
    assert_eq!(r.device.next_deadline(), None, "no storm while register C is not read");
    assert_ne!(get(&mut r, 0x0c) & 0x40, 0);
    assert_eq!(get(&mut r, 0x0c), 0);
}

#[test]
fn every_rate() {
    for rate in 1u8..16 {
        let mut r = rtc();
        set(&mut r, 0x0a, 0x20 | rate);
        set(&mut r, 0x0b, 0x42);
        let crystal = match rate {
            1 => 128,
            2 => 256,
            _ => 1u64 << (rate - 1),
        };
        let due = r.device.next_deadline().unwrap().as_nanos();
        assert_eq!(due, (crystal * SECOND).div_ceil(32_768), "rate {rate}");
    }
    let mut r = rtc();
    set(&mut r, 0x0a, 0x20);
    set(&mut r, 0x0b, 0x42);
    assert_eq!(r.device.next_deadline(), None, "rate 0 is off");
}

#[test]
fn the_update_interrupt_and_the_alarm() {
    let mut r = rtc();
    set(&mut r, 0x0b, 0x12);
    assert_eq!(r.advance(SECOND), [(IRQ8, true)]);
    assert_eq!(get(&mut r, 0x0c) & 0xb0, 0x90);
    for (index, value) in [(1, 0x55), (3, 0xff), (5, 0xc0)] {
        set(&mut r, index, value);
    }
    set(&mut r, 0x0b, 0x22);
    assert_eq!(r.advance(4 * SECOND - 1), []);
    assert_eq!(r.advance(1), [(IRQ8, true)]);
    assert_eq!(get(&mut r, 0), 0x55);
    assert_eq!(get(&mut r, 0x0c) & 0xa0, 0xa0);
    assert_eq!(r.advance(59 * SECOND), []);
    assert_eq!(r.advance(SECOND), [(IRQ8, true)], "hour and minute do not matter");
}

#[test]
fn flags_are_set_even_when_not_enabled() {
    let mut r = rtc();
    r.advance(SECOND);
    assert_eq!(get(&mut r, 0x0c), 0x50);
    assert_eq!(get(&mut r, 0x0c), 0x00);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Looking once after days shows what looking every few hours shows.
    #[test]
    fn a_long_sleep_misses_nothing(days in 1u64..9, rest in 0u64..86_400, alarm in any::<[u8; 3]>(), b in 0u8..8, skew in 0u64..86_400) {
        let (mut late, mut often) = (rtc(), rtc());
        for r in [&mut late, &mut often] {
            set(r, 0x0b, 0x80 | b);
            for (index, value) in (0..6).step_by(2).zip([0x12, 0x34, 0x08]) {
                set(r, index, value);
            }
            for (index, value) in (1..6).step_by(2).zip(alarm) {
                set(r, index, if value < 0xc0 { value & 0x17 } else { value });
            }
            set(r, 0x0b, b);
            get(r, 0x0c);
        }
        let mut left = days * 86_400 + rest;
        late.advance(left * SECOND);
        while left > 0 {
            let step = left.min(skew % 20_000 + 1);
            often.advance(step * SECOND);
            get(&mut often, 0);
            left -= step;
        }
        prop_assert_eq!(time(&mut late), time(&mut often));
        prop_assert_eq!(get(&mut late, 0x0c), get(&mut often, 0x0c));
    }
}

#[test]
fn twelve_hours_and_binary() {
    let mut r = rtc();
    set(&mut r, 0x0b, 0x80 | 0x04);
    for (index, value) in [(0, 59), (2, 59), (4, 0x80 | 11), (7, 28), (8, 2), (9, 4), (6, 7)] {
        set(&mut r, index, value);
    }
    set(&mut r, 0x0b, 0x04);
    r.advance(SECOND);
    assert_eq!(time(&mut r)[1..], [4, 2, 29, 1, 12, 0, 0], "midnight of a leap day, a Sunday");
}

#[test]
fn ram_and_the_upper_bank() {
    let mut r = rtc();
    for index in (0x0e..0x80).filter(|i| *i != 0x32) {
        set(&mut r, index, index ^ 0x55);
    }
    for index in (0x0e..0x80).filter(|i| *i != 0x32) {
        assert_eq!(get(&mut r, index), index ^ 0x55);
    }
    r.outb(0x72, 0x05);
    r.outb(0x73, 0xa7);
    assert_eq!(r.inb(0x77), 0xa7);
    assert_eq!(r.device.cmos()[0x85], 0xa7);
    r.input(UPPER, false);
    r.outb(0x73, 0x00);
    assert_eq!(r.inb(0x73), 0xff);
    assert_eq!(r.device.cmos()[0x85], 0xa7);
    r.device.set_cmos(0x05, 0x11);
    assert_eq!(r.device.cmos()[5], 0, "clock registers are the guest's");
    r.device.set_cmos(0x14, 0x11);
    assert_eq!(get(&mut r, 0x14), 0x11);
}

#[test]
fn registers_a_to_d_have_their_read_only_bits() {
    let mut r = rtc();
    set(&mut r, 0x0a, 0xff);
    assert_eq!(get(&mut r, 0x0a), 0x7f);
    set(&mut r, 0x0d, 0x00);
    assert_eq!(get(&mut r, 0x0d), 0x80, "the battery is good");
    assert_eq!(r.inb(0x70), 0xff, "the index is write-only");
}

#[test]
fn nmi_mask_and_reset() {
    let mut r = rtc();
    assert!(r.levels().get(NMI_MASK));
    assert_eq!(r.outb(0x70, 0x0f), [(NMI_MASK, false)]);
    assert_eq!(r.outb(0x70, 0x8f), [(NMI_MASK, true)]);
    set(&mut r, 0x0b, 0x7a);
    set(&mut r, 0x20, 0x99);
    r.reset(ResetKind::Power);
    assert_eq!(get(&mut r, 0x0b), 0x02, "interrupts and SQWE are off");
    assert_eq!(get(&mut r, 0x20), 0x99, "RAM is on the battery");
    assert_eq!(get(&mut r, 0x09), 0x05, "so is time");
}
