//! Save, restore, continue equals continue; and states nobody saved.

mod common;

use common::{BMIBA, Machine, cdrom, info};
use proptest::prelude::*;
use slotone_block::{DiskClient, Operation};
use slotone_bus::state::StateReader;
use slotone_bus::{At, Device, WindowId};
use slotone_ide_atapi::Timing;

/// A bit of everything: DMA and PIO, in and out, packets in small blocks, an error, a reset.
fn work(m: &mut Machine) {
    m.outb(0x1f6, 0xe0);
    m.outb(0x1f2, 4);
    m.outb(0x1f7, 0xc6);
    m.poll(0x1f0);
    m.prd(0x1000, &[(0x2000, 512), (0x3000, 0x8000 - 512)]);
    m.outl(BMIBA + 4, 0x1000);
    m.taskfile(0x1f0, 0xe0, 64, 5);
    m.outb(0x1f7, 0xc8);
    m.outb(BMIBA, 0x09);
    m.wait_irq(0);
    m.inb(0x1f7);
    m.outb(BMIBA, 0);
    m.outb(BMIBA, 0x01);
    m.taskfile(0x1f0, 0xe0, 64, 500);
    m.outb(0x1f7, 0xca);
    m.wait_irq(0);
    m.inb(0x1f7);
    m.taskfile(0x1f0, 0xe0, 9, 20);
    m.outb(0x1f7, 0xc5);
    for n in [4, 4, 1] {
        assert_eq!(m.poll(0x1f0), 0x58);
        m.outs(0x1f0, 4, &vec![n as u8; n * 512]);
    }
    assert_eq!(m.poll(0x1f0), 0x50);
    m.taskfile(0x1f0, 0xe0, 9, 18);
    m.outb(0x1f7, 0xc4);
    let mut block = vec![0; 2048];
    for n in [4, 4, 1] {
        m.wait_irq(0);
        assert_eq!(m.inb(0x1f7), 0x58);
        m.ins(0x1f0, 2, &mut block[..n * 512]);
    }
    m.port.ram.write(0x4_0000, &block).unwrap();
    m.taskfile(0x1f0, 0xe0, 9, 0x0ff_ffff);
    m.outb(0x1f7, 0x20);
    assert_eq!(m.poll(0x1f0), 0x51);
    // The sector buffer, and a packet command for a disk.
    m.outb(0x1f7, 0xe8);
    m.outs(0x1f0, 2, &[9; 512]);
    assert_eq!(m.poll(0x1f0), 0x50);
    m.outb(0x1f7, 0xa0);
    assert_eq!(m.poll(0x1f0), 0x51);
    // Packets.
    for cdb in [
        [0u8; 12],
        [0; 12],
        [0x28, 0, 0, 0, 0, 1, 0, 0, 3, 0, 0, 0],
        [0x28, 0, 0xff, 0, 0, 1, 0, 0, 3, 0, 0, 0],
    ] {
        m.outb(0x176, 0xa0);
        m.outb(0x171, 0);
        m.outb(0x174, 0x00);
        m.outb(0x175, 0x05);
        m.outb(0x177, 0xa0);
        m.poll(0x170);
        m.outs(0x170, 2, &cdb);
        while m.poll(0x170) & 8 != 0 {
            let n = usize::from(u16::from_le_bytes([m.inb(0x174), m.inb(0x175)]));
            m.ins(0x170, 2, &mut block[..n.min(2048)]);
            m.port.ram.write(0x5_0000, &block).unwrap();
        }
    }
    m.outb(0x376, 4);
    m.outb(0x376, 0);
    m.poll(0x170);
}

#[test]
fn continue_equals_save_restore_continue_at_every_access() {
    let mut plain = Machine::usual(1_000);
    work(&mut plain);
    let mut churned = Machine::usual(1_000);
    churned.churn = true;
    work(&mut churned);
    assert_eq!(plain.now, churned.now);
    assert_eq!(plain.edges, churned.edges);
    assert!(plain.save() == churned.save());
    assert!(plain.ram(0, 1 << 20) == churned.ram(0, 1 << 20));
    for unit in [0, 2] {
        let all = |m: &Machine| {
            let mut data = vec![0; 1_000 * 512];
            slotone_block::read_exact(&m.media[&unit], 0, &mut data).unwrap();
            data
        };
        assert!(all(&plain) == all(&churned));
    }
}

#[test]
fn a_request_in_flight_is_issued_again_with_its_data() {
    let mut m = Machine::usual(1_000);
    m.taskfile(0x1f0, 0xe0, 1, 77);
    m.outb(0x1f7, 0x30);
    m.outs(0x1f0, 2, &[7; 510]);
    let at = At { window: WindowId(1), offset: 0 };
    let ide = &mut m.ide;
    m.port.at(m.now, |cx| ide.write(cx, at, &[7, 7]));
    let lost = m.ide.next_request().expect("the write");
    let saved = m.save();
    let mut other = Machine::usual(1_000);
    other.ide.restore(&mut StateReader::new(&saved)).unwrap();
    let again = other.ide.next_request().expect("the write again");
    assert_eq!(again, lost);
    assert_eq!((again.operation, again.data), (Operation::Write { fua: false }, vec![7; 512]));
}

#[test]
fn another_medium_in_the_tray_is_a_medium_change() {
    let mut m = Machine::usual(1_000);
    let saved = m.save();
    for (medium, asc) in [
        (Some(info(1_000 * 512)), [0x29, 0x28, 0x00]),
        (Some(info(1 << 20)), [0x29, 0x28, 0x00]),
        (None, [0x29, 0x3a, 0x3a]),
    ] {
        m = Machine::new(
            [Machine::usual_disk(1_000), None, Some(cdrom(medium.as_ref())), None],
            Timing::default(),
        );
        m.ide.restore(&mut StateReader::new(&saved)).unwrap();
        for want in asc {
            let packet = |m: &mut Machine, cdb: [u8; 12]| {
                m.outb(0x176, 0xa0);
                m.outb(0x175, 0x10);
                m.outb(0x177, 0xa0);
                m.poll(0x170);
                m.outs(0x170, 2, &cdb);
                m.poll(0x170)
            };
            let status = packet(&mut m, [0; 12]);
            assert_eq!(status & 1 != 0, want != 0);
            assert_eq!(packet(&mut m, [3, 0, 0, 0, 18, 0, 0, 0, 0, 0, 0, 0]) & 8, 8);
            let mut sense = [0; 18];
            m.ins(0x170, 2, &mut sense);
            assert_eq!(m.poll(0x170), 0x50);
            assert_eq!(sense[12], want);
        }
    }
}

#[test]
fn states_of_other_machines_are_refused_and_change_nothing() {
    let saved = Machine::usual(1_000).save();
    let mut none = Machine::new([None, None, None, None], Timing::default());
    let before = none.save();
    // The CD drive's section is left over: the machine's reader notices; here the disk's command would.
    let _ = none.ide.restore(&mut StateReader::new(&saved));
    let mut m = Machine::usual(1_000);
    for cut in 0..saved.len() {
        assert!(m.ide.restore(&mut StateReader::new(&saved[..cut])).is_err(), "cut at {cut}");
    }
    assert!(m.save() == saved);
    assert!(m.ide.restore(&mut StateReader::new(&before)).is_err(), "the CD drive's state is missing");
    assert!(m.save() == saved);
}

/// A state in the middle of some command.
fn busy(step: usize) -> Vec<u8> {
    let mut m = Machine::usual(1_000);
    m.prd(0x1000, &[(0x2000, 0x8000)]);
    m.outl(BMIBA + 4, 0x1000);
    m.taskfile(0x1f0, 0xe0, 8, 5);
    match step {
        0 => m.outb(0x1f7, 0xc8),
        1 => {
            m.outb(0x1f7, 0x30);
            m.outs(0x1f0, 2, &[1; 700]);
        }
        2 => {
            m.outb(0x1f7, 0x20);
            m.poll(0x1f0);
        }
        3 => {
            m.outb(BMIBA, 0x01);
            m.outb(0x1f7, 0xca);
            m.idle();
        }
        _ => {
            m.outb(0x176, 0xa0);
            m.outb(0x177, 0xa0);
            m.poll(0x170);
            m.outs(0x170, 2, &[0x12, 0, 0, 0, 36, 0]);
        }
    }
    m.save()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// Flipped bits: refused, or a controller that serves a guest without panic and without hanging the host.
    #[test]
    fn hostile_states(
        step in 0usize..5,
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = busy(step);
        for (index, value) in flips {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let mut m = Machine::usual(1_000);
        let before = m.save();
        if m.ide.restore(&mut StateReader::new(&bytes)).is_err() {
            prop_assert!(m.save() == before, "an error changes nothing");
            return Ok(());
        }
        m.levels = m.ide.levels();
        m.after();
        for round in 0..3u8 {
            for base in [0x1f0, 0x170] {
                let mut data = [0; 600];
                m.ins(base, 2, &mut data);
                m.outs(base, 2, &data);
                m.outb(if base == 0x1f0 { BMIBA } else { BMIBA + 8 }, 9 - 8 * (round & 1));
                for _ in 0..50 {
                    let Some(due) = m.ide.next_deadline() else { break };
                    m.now = m.now.max(due.as_nanos());
                    m.settle();
                }
                for register in 1..8 {
                    m.inb(base + register);
                }
            }
        }
        let again = m.save();
        m.ide.restore(&mut StateReader::new(&again)).expect("what it came to is a state of its own");
    }
}
