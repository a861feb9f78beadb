//! Decoding, absent drives, resets and the registers' corners.

mod common;

use common::{BMIBA, Machine, cdrom, disk, info, pin};
use slotone_bus::{Device, ResetKind, Space};
use slotone_ide_atapi::Timing;

fn ports(m: &Machine) -> Vec<(u64, u64)> {
    m.ide.windows().1.iter().filter(|w| w.space == Space::Io).map(|w| (w.base, w.len)).collect()
}

#[test]
fn identity_and_configuration_masks() {
    let mut m = Machine::usual(100);
    assert_eq!(m.config_read(0), 0x7111_8086);
    assert_eq!(m.config_read(8), 0x0101_8001);
    assert_eq!(m.config_read(4), 0x0280_0005);
    assert_eq!(m.config_read(0x3c), 0);
    for offset in (0..0x100).step_by(4) {
        m.config_write(offset, &[0xff; 4]);
    }
    assert_eq!(m.config_read(4), 0x0280_0005);
    assert_eq!(m.config_read(0x0c), 0x0000_f000);
    assert_eq!(m.config_read(0x10), 0);
    assert_eq!(m.config_read(0x20), 0x0000_fff1);
    assert_eq!(m.config_read(0x40), 0xf3ff_f3ff);
    assert_eq!(m.config_read(0x44), 0x0000_00ff);
    assert_eq!(m.config_read(0x48), 0x3333_000f);
}

#[test]
fn ports_follow_pcicmd_and_idetim() {
    let mut m = Machine::usual(100);
    let both = [(0x1f0, 8), (0x3f6, 1), (0x170, 8), (0x376, 1), (u64::from(BMIBA), 16)];
    assert_eq!(ports(&m), both);
    m.config_write(4, &[4]);
    assert_eq!(ports(&m), []);
    m.config_write(4, &[5]);
    m.config_write(0x41, &[0x03]);
    assert_eq!(ports(&m), both[2..]);
    m.config_write(0x43, &[0x00]);
    assert_eq!(ports(&m), both[4..]);
    m.ide.reset(ResetKind::Bus);
    assert_eq!(ports(&m), [], "after reset the channels are enabled but I/O space is not");
    m.config_write(4, &[1]);
    assert_eq!(ports(&m), both[..4]);
}

#[test]
fn nobody_is_there() {
    let mut m = Machine::new([Some(disk(&info(1 << 20))), None, None, None], Timing::default());
    // An empty channel floats, with DD7 pulled down.
    for port in (0x171..0x178).chain([0x376]) {
        m.outb(port, 0x55);
        assert_eq!(m.inb(port), 0x7f, "{port:x}");
    }
    let mut word = [0; 2];
    m.input(0x170, &mut word);
    assert_eq!(word, [0x7f, 0xff]);
    m.outb(0x177, 0xec);
    assert_eq!(m.ide.next_deadline(), None);
    // The master answers for the missing slave: status 0, and libata's probe finds no register behind it.
    m.outb(0x1f6, 0xb0);
    m.outb(0x1f2, 0x55);
    m.outb(0x1f3, 0xaa);
    assert_eq!((m.inb(0x1f7), m.inb(0x3f6), m.inb(0x1f2), m.inb(0x1f3)), (0, 0, 0, 0));
    m.outb(0x1f7, 0xec);
    assert_eq!((m.ide.next_deadline(), m.inb(0x1f7)), (None, 0));
    m.outb(0x1f6, 0xa0);
    assert_eq!(m.inb(0x1f7), 0x50);
    m.outb(0x1f2, 0x55);
    m.outb(0x1f3, 0xaa);
    assert_eq!((m.inb(0x1f2), m.inb(0x1f3)), (0x55, 0xaa));
}

/// libata's soft reset: nIEN, SRST, nIEN; wait; signatures.
#[test]
fn soft_reset() {
    let cd = info(1 << 20);
    let mut m =
        Machine::new([Some(disk(&info(1 << 20))), Some(cdrom(Some(&cd))), None, None], Timing::default());
    m.taskfile(0x1f0, 0xf0, 7, 0x12_3456);
    for value in [0x08, 0x0c, 0x08] {
        m.outb(0x3f6, value);
    }
    assert_eq!(m.inb(0x1f7), 0x80);
    assert_eq!(m.inb(0x1f4), 0x80, "while BSY every register reads as status");
    assert_eq!(m.poll(0x1f0), 0x50, "drive 0 is selected");
    let signature = |m: &mut Machine| [1, 2, 3, 4, 5].map(|r| m.inb(0x1f0 + r));
    assert_eq!(signature(&mut m), [1, 1, 1, 0, 0]);
    m.outb(0x1f6, 0xb0);
    assert_eq!(m.inb(0x1f7), 0, "a packet drive is not ready before its first command");
    assert_eq!(signature(&mut m), [1, 1, 1, 0x14, 0xeb]);
    assert_eq!(m.edges[0], 0, "no interrupt");
}

#[test]
fn a_reset_that_is_held_stays_busy_and_aborts_what_runs() {
    let mut m = Machine::usual(100);
    m.taskfile(0x1f0, 0xe0, 1, 0);
    m.outb(0x1f7, 0x20);
    m.outb(0x3f6, 0x04);
    assert_eq!(m.ide.next_deadline(), None);
    m.now += 1_000_000_000;
    assert_eq!(m.inb(0x3f6), 0x80);
    m.outb(0x1f7, 0x20);
    m.outb(0x3f6, 0x00);
    assert_eq!(m.poll(0x1f0), 0x50);
    m.idle();
    assert_eq!(m.edges[0], 0);
    assert_eq!(m.inb(0x1f7), 0x50, "the command is gone");
}

#[test]
fn diagnostics_interrupt_and_select_drive_0() {
    let mut m = Machine::usual(100);
    m.outb(0x1f6, 0xb0);
    m.outb(0x1f7, 0x90);
    m.wait_irq(0);
    assert_eq!(m.inb(0x1f6) & 0x10, 0);
    assert_eq!((m.inb(0x1f7), m.inb(0x1f1)), (0x50, 0x01));
}

#[test]
fn nien_hides_the_interrupt_and_keeps_it() {
    let mut m = Machine::usual(100);
    m.outb(0x3f6, 0x02);
    m.outb(0x1f6, 0xa0);
    m.outb(0x1f7, 0xec);
    m.idle();
    assert!(!m.levels.get(pin(0)));
    assert_eq!(m.inb(BMIBA + 2), 0);
    m.outb(0x3f6, 0x00);
    assert!(m.levels.get(pin(0)));
    assert_eq!(m.inb(BMIBA + 2), 0x04);
    m.inb(0x3f6);
    assert!(m.levels.get(pin(0)), "alternate status acknowledges nothing");
    m.inb(0x1f7);
    assert!(!m.levels.get(pin(0)));
}

#[test]
fn an_interrupt_of_the_drive_that_is_not_selected_is_not_seen() {
    let mut m =
        Machine::new([Some(disk(&info(1 << 20))), Some(disk(&info(1 << 20))), None, None], Timing::default());
    m.outb(0x1f6, 0xa0);
    m.outb(0x1f7, 0xe5);
    m.wait_irq(0);
    m.outb(0x1f6, 0xb0);
    assert!(!m.levels.get(pin(0)));
    m.outb(0x1f6, 0xa0);
    assert!(m.levels.get(pin(0)));
}

#[test]
fn registers_are_two_deep_for_hob() {
    let mut m = Machine::usual(100);
    m.outb(0x1f6, 0xe0);
    for (register, old, new) in [(2, 1, 2), (3, 3, 4), (4, 5, 6), (5, 7, 8)] {
        m.outb(0x1f0 + register, old);
        m.outb(0x1f0 + register, new);
    }
    m.outb(0x3f6, 0x80);
    assert_eq!([2, 3, 4, 5].map(|r| m.inb(0x1f0 + r)), [1, 3, 5, 7]);
    m.outb(0x1f1, 0);
    assert_eq!([2, 3, 4, 5].map(|r| m.inb(0x1f0 + r)), [2, 4, 6, 8]);
}

#[test]
fn odd_accesses_are_served() {
    let mut m = Machine::usual(100);
    let windows = m.ide.windows().1.to_vec();
    for window in &windows {
        for offset in [0, 1, 7, 15, 255, 256, u64::MAX] {
            for len in 1..=8 {
                let at = slotone_bus::At { window: window.id, offset };
                let (ide, mut data) = (&mut m.ide, [0xaa; 8]);
                m.port.at(0, |cx| ide.read(cx, at, &mut data[..len]));
            }
        }
    }
    let mut dword = [0; 4];
    m.outb(0x1f6, 0xa0);
    m.outb(0x1f7, 0xec);
    m.poll(0x1f0);
    m.input(0x1f0, &mut dword);
    assert_eq!(dword[..2], [0x40, 0x00], "32-bit PIO");
    assert_eq!(u16::from_le_bytes([dword[2], dword[3]]), 1, "a medium of 100 sectors has one cylinder");
}

#[test]
fn a_busy_drive_hears_nothing_but_resets() {
    let mut m = Machine::usual(100);
    m.taskfile(0x1f0, 0xe0, 1, 42);
    m.outb(0x1f7, 0x20);
    m.taskfile(0x1f0, 0xf0, 9, 7);
    m.outb(0x1f7, 0xec);
    assert_eq!(m.poll(0x1f0), 0x58);
    let mut sector = vec![0; 512];
    m.taskfile(0x1f0, 0xf0, 9, 7);
    m.ins(0x1f0, 2, &mut sector);
    assert!(sector == common::pattern(100)[42 * 512..43 * 512]);
    assert_eq!([2, 3, 6].map(|r| m.inb(0x1f0 + r)), [0, 42, 0xe0]);
}
