//! PCI, address decoding, wake-up, interrupt, snapshots.

mod common;

use common::{Card, MODE_3, MODE_7, MODE_12, MODE_13};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{Device, InspectValue, PinLevels, ResetKind, Space, Target, VmInstant};
use slotone_s3trio::S3Trio;

#[test]
fn identity_and_bars() {
    let mut card = Card::new();
    assert_eq!(card.config_read(0x00), 0x8811_5333);
    assert_eq!(card.config_read(0x08), 0x0300_0000);
    assert_eq!(card.config_read(0x2c), 0);
    assert_eq!(card.config_read(0x3c) >> 8 & 0xff, 1);
    card.config_write(0x04, &[0xff, 0xff]);
    assert_eq!(card.config_read(0x04), 0x0200_0023);
    for (bar, value) in [(0x10, 0xfc00_0000), (0x14, 0), (0x24, 0), (0x30, 0xffff_0001)] {
        card.config_write(bar, &[0xff; 4]);
        assert_eq!(card.config_read(bar), value, "register {bar:#x}");
    }
}

#[test]
fn nothing_answers_until_the_command_register_says_so() {
    let mut card = Card::new();
    card.config_write(0x04, &[0, 0]);
    assert_eq!(card.chip.windows().1.len(), 1);
    card.config_write(0x04, &[1, 0]);
    assert!(card.find(Space::Io, 0x3c0).is_some());
    card.outb(0x3c2, 0x67);
    assert!(card.find(Space::Memory, 0xa_0000).is_none());
    card.config_write(0x04, &[3, 0]);
    assert!(card.find(Space::Memory, 0xa_0000).is_some());
}

#[test]
fn misc_moves_the_crtc() {
    let mut card = Card::new();
    card.outb(0x3c2, 0x67);
    assert!(card.find(Space::Io, 0x3b4).is_none() && card.find(Space::Io, 0x3da).is_some());
    card.outw(0x3d4, 0x0f, 0x5a);
    card.outb(0x3c2, 0x66);
    assert!(card.find(Space::Io, 0x3d4).is_none() && card.find(Space::Io, 0x3ba).is_some());
    assert_eq!(card.indexed(0x3b4, 0x0f), 0x5a);
    assert!(card.find(Space::Io, 0x3bc).is_none(), "the parallel port's");
    assert!(card.find(Space::Io, 0x2e8).is_none(), "the fourth serial port's");
}

#[test]
fn the_four_maps_of_gr6() {
    let mut card = Card::new();
    card.set_mode(&MODE_12);
    for (map, base, len) in
        [(0u8, 0xa_0000, 0x2_0000), (1, 0xa_0000, 0x1_0000), (2, 0xb_0000, 0x8000), (3, 0xb_8000, 0x8000)]
    {
        card.outw(0x3ce, 6, map << 2 | 1);
        let window = card.find(Space::Memory, base).unwrap();
        assert_eq!((window.base, window.len), (base, len));
    }
    card.outb(0x3c2, 0xe1);
    assert!(card.find(Space::Memory, 0xb_8000).is_none(), "MISC.1 closes display memory");
}

#[test]
fn wake_up_registers() {
    let mut card = Card::new();
    card.outb(0x3c2, 0x67);
    assert!(card.find(Space::Io, 0x102).is_none());
    card.outb(0x46e8, 0x1f);
    assert!(card.find(Space::Io, 0x3d4).is_none());
    card.outb(0x102, 0x00);
    card.outb(0x46e8, 0x0f);
    assert!(card.find(Space::Io, 0x3d4).is_none() && card.find(Space::Memory, 0xa_0000).is_none());
    card.outb(0x46e8, 0x1f);
    card.outb(0x102, 0x01);
    card.outb(0x46e8, 0x0f);
    assert!(card.find(Space::Io, 0x3d4).is_some() && card.find(Space::Memory, 0xa_0000).is_some());
    card.outb(0x3c3, 0);
    assert!(card.find(Space::Io, 0x3d4).is_none());
    card.outb(0x3c3, 1);
    assert!(card.find(Space::Io, 0x3d4).is_some());
}

fn lent(card: &Card, address: u64) -> Option<u64> {
    match card.find(Space::Memory, address)?.read {
        Target::Lent { memory: S3Trio::VRAM, offset } => Some(offset),
        _ => None,
    }
}

#[test]
fn linear_window_and_bar_are_one_storage() {
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    card.unlock();
    card.config_write(0x10, &0xe000_0000u32.to_le_bytes());
    assert_eq!([card.indexed(0x3d4, 0x59), card.indexed(0x3d4, 0x5a)], [0xe0, 0]);
    // The BAR claims its 64 MB; nothing is in them yet.
    assert_eq!(card.find(Space::Memory, 0xe000_0000).unwrap().read, Target::Open);
    card.outw(0x3d4, 0x58, 0x13);
    assert_eq!(lent(&card, 0xe000_0000), Some(0));
    card.poke(0xe012_3456, &[0x77]);
    assert_eq!(card.vram()[0x12_3456], 0x77);
    // Beyond 4 MB nothing aliases: s3fb looks for a Trio64V+ at +16 MB.
    for beyond in [0xe040_0000, 0xe100_ff20, 0xe3ff_ffff] {
        assert_eq!(card.peek(beyond), 0xff);
        card.poke(beyond, &[0]);
    }
    assert!(card.find(Space::Memory, 0xe400_0000).is_none());
    // The chip's own registers move the BAR.
    card.outw(0x3d4, 0x59, 0xd4);
    assert_eq!(card.config_read(0x10), 0xd400_0000);
    assert_eq!(card.peek(0xd412_3456), 0x77);
    // A window of 1 MB within the BAR, off its start.
    card.outw(0x3d4, 0x5a, 0x30);
    card.outw(0x3d4, 0x58, 0x11);
    assert_eq!(
        (lent(&card, 0xd430_0000), lent(&card, 0xd400_0000), lent(&card, 0xd440_0000)),
        (Some(0), None, None)
    );
    // Off again by the command register.
    card.config_write(0x04, &[1, 0]);
    assert!(card.find(Space::Memory, 0xd430_0000).is_none());
}

#[test]
fn plain_banks_are_mapped_directly() {
    let mut card = Card::new();
    card.set_mode(&MODE_13);
    card.unlock();
    assert_eq!(lent(&card, 0xa_0000), None, "the VGA's mode 13h is not packed");
    card.outw(0x3d4, 0x31, 0x09);
    card.outw(0x3d4, 0x6a, 5);
    assert_eq!(lent(&card, 0xa_0000), Some(5 << 16));
    assert_eq!(card.find(Space::Memory, 0xa_0000).unwrap().len, 0x1_0000);
    card.poke(0xa_0001, &[0x42]);
    assert_eq!(card.vram()[0x5_0001], 0x42);
    // The old bank registers count while CR6A is 0.
    card.outw(0x3d4, 0x6a, 0);
    card.outw(0x3d4, 0x35, 0x02);
    card.outw(0x3d4, 0x51, 0x04);
    assert_eq!(lent(&card, 0xa_0000), Some(0x12 << 16));
    for (index, value) in [(8, 0x0f), (3, 1), (5, 0x41)] {
        card.outw(0x3ce, index, value);
        assert_eq!(lent(&card, 0xa_0000), None, "GR{index}");
        card.outw(0x3ce, 8, 0xff);
        card.outw(0x3ce, 3, 0);
        card.outw(0x3ce, 5, 0x40);
    }
    card.outw(0x3ce, 6, 0x01);
    assert_eq!(lent(&card, 0xa_0000), None, "128 KB are two banks, not one");
    card.outw(0x3ce, 6, 0x05);
    // Linear addressing with the 64 KB size is a window at A0000h whatever the planes do.
    card.set_mode(&MODE_12);
    card.outw(0x3d4, 0x58, 0x10);
    assert_eq!(lent(&card, 0xa_0000), Some(0x12 << 16));
}

#[test]
fn rom_is_lent_and_read_only() {
    let mut card = Card::new();
    card.port.lent[1].write(0, &[0x55, 0xaa]).unwrap();
    card.config_write(0x30, &0x000c_0001u32.to_le_bytes());
    assert_eq!([card.peek(0xc_0000), card.peek(0xc_0001)], [0x55, 0xaa]);
    card.poke(0xc_0000, &[0]);
    assert_eq!(card.peek(0xc_0000), 0x55);
    card.config_write(0x30, &[0]);
    assert!(card.find(Space::Memory, 0xc_0000).is_none());
}

/// Nanoseconds at which bit `bit` of input status 1 changes, looked at every microsecond.
fn changes(card: &mut Card, bit: u8, nanos: u64) -> Vec<u64> {
    let mut last = card.inb(0x3da) & bit;
    let mut out = Vec::new();
    for _ in 0..nanos / 1000 {
        card.now += 1000;
        let level = card.inb(0x3da) & bit;
        if level != last {
            out.push(card.now);
            last = level;
        }
    }
    out
}

#[test]
fn retrace_follows_the_crtc() {
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    // 28.322 MHz, 900 dots, 449 lines: 70.086 Hz, retrace for two lines of 31.778 us.
    let edges = changes(&mut card, 0x08, 100_000_000);
    assert_eq!(edges.len(), 14);
    let rise = edges.iter().step_by(2).copied().collect::<Vec<_>>();
    for pair in rise.windows(2) {
        assert!((14_267..=14_270).contains(&((pair[1] - pair[0]) / 1000)), "{pair:?}");
    }
    assert!((62..=65).contains(&((edges[1] - edges[0]) / 1000)));
    // In every one of the 400 lines shown display enable ends once, and once more before vertical blanking.
    let blanks = changes(&mut card, 0x01, 14_268_000).len();
    assert!((780..=802).contains(&blanks), "{blanks}");
}

#[test]
fn implausible_timing_runs_at_60_hz() {
    let mut card = Card::new();
    card.outb(0x3c2, 1);
    assert!(changes(&mut card, 0x01, 40_000_000).len() > 2);
    // A clock of 3.6 GHz or a frame of ten dots is not believed.
    card.unlock();
    card.set_mode(&MODE_12);
    card.outb(0x3c2, 0xef);
    card.outw(0x3c4, 0x13, 0x7f);
    let edges = changes(&mut card, 0x08, 50_000_000);
    assert_eq!(edges.len(), 6, "60 Hz: {edges:?}");
}

#[test]
fn vertical_interrupt() {
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    card.unlock();
    card.outw(0x3d4, 0x32, 0x10);
    assert_eq!(card.chip.next_deadline(), None);
    card.outw(0x3d4, 0x11, 0x9e);
    let due = card.chip.next_deadline().unwrap();
    card.now = due.as_nanos() - 1;
    assert_eq!(card.inb(0x3da) & 8, 0);
    card.now = due.as_nanos();
    assert_eq!(card.inb(0x3da) & 8, 8, "the deadline is the first instant of retrace");
    let tick = |card: &mut Card| {
        let chip = &mut card.chip;
        card.port.at(card.now, |cx| chip.tick(cx));
    };
    tick(&mut card);
    assert_eq!(card.port.take_lines(), [(S3Trio::INTA, true)]);
    assert_eq!((card.chip.next_deadline(), card.inb(0x3c2)), (None, 0x90));
    assert!(card.chip.levels().get(S3Trio::INTA));
    // Clear and arm again: the next one is a frame later.
    card.outw(0x3d4, 0x11, 0x8e);
    card.outw(0x3d4, 0x11, 0x9e);
    assert_eq!(card.port.take_lines(), [(S3Trio::INTA, false)]);
    let next = card.chip.next_deadline().unwrap();
    assert!((14_260_000..14_275_000).contains(&(next.as_nanos() - due.as_nanos())));
    // Disabled by CR11.5, it still shows in input status 0.
    card.outw(0x3d4, 0x11, 0xbe);
    card.now = next.as_nanos();
    tick(&mut card);
    assert_eq!((card.port.take_lines().len(), card.inb(0x3c2)), (0, 0x90));
    card.outw(0x3d4, 0x11, 0x9e);
    assert_eq!(card.port.take_lines(), [(S3Trio::INTA, true)]);
}

fn save(chip: &S3Trio) -> Vec<u8> {
    let mut w = StateWriter::new();
    chip.save(&mut w);
    w.into_bytes()
}

#[test]
fn a_snapshot_continues() {
    let mut card = Card::new();
    card.set_mode(&MODE_13);
    card.unlock();
    card.config_write(0x10, &0xe000_0000u32.to_le_bytes());
    for (index, value) in [(0x31, 0x09), (0x6a, 3), (0x58, 0x13), (0x32, 0x10), (0x11, 0x1e)] {
        card.outw(0x3d4, index, value);
    }
    card.outb(0x3c8, 9);
    card.outb(0x3c9, 0x3f);
    let bytes = save(&card.chip);
    let mut other = S3Trio::new();
    other.restore(&mut StateReader::new(&bytes)).unwrap();
    assert_eq!(save(&other), bytes);
    assert_eq!(other.windows().1, card.chip.windows().1);
    assert_eq!(other.next_deadline(), card.chip.next_deadline());
    let (a, b) = (card.chip.render(card.vram(), VmInstant::ZERO), other.render(card.vram(), VmInstant::ZERO));
    assert_eq!(a.rgb, b.rgb);
    card.chip = other;
    card.outb(0x3c9, 0x2a);
    card.outb(0x3c9, 0x15);
    card.outb(0x3c7, 9);
    assert_eq!([card.inb(0x3c9), card.inb(0x3c9), card.inb(0x3c9)], [0x3f, 0x2a, 0x15]);
}

#[test]
fn reset_goes_back_to_the_start() {
    let mut card = Card::new();
    card.set_mode(&MODE_7);
    card.chip.reset(ResetKind::Bus);
    assert_eq!(save(&card.chip), save(&S3Trio::new()));
    assert_eq!(card.chip.windows().1, S3Trio::new().windows().1);
    assert_eq!(card.chip.levels(), PinLevels::default());
}

#[test]
fn inspect_names_registers_as_the_data_sheet_does() {
    let mut card = Card::new();
    card.set_mode(&MODE_12);
    let mut seen = std::collections::HashMap::new();
    card.chip
        .inspect(&mut |name, value| assert!(seen.insert(name.to_string(), value).is_none(), "{name} twice"));
    assert_eq!(seen["CR01"], InspectValue::Register { value: 0x4f, bits: 8 });
    assert_eq!(seen["SR04"], InspectValue::Register { value: 6, bits: 8 });
    assert_eq!(seen["CR2E"], InspectValue::Register { value: 0x11, bits: 8 });
    assert_eq!(seen["mode"], InspectValue::Text("640x480 Planar".into()));
}
