//! Configuration space and CSRs, table by table.

mod common;

use common::{MAC, Pc, frame};
use slotone_bus::{At, Device, ResetKind, Space, TestPort, WindowId};
use slotone_net::{MacAddress, NetClient};
use slotone_tulip_nic::registers::*;
use slotone_tulip_nic::{Tulip, TulipConfig};

#[test]
fn configuration_space_of_each_of_four_cards() {
    for port in 0..4 {
        let mut pc = Pc::bare();
        pc.card = Tulip::new(TulipConfig { port, ..TulipConfig::new(MacAddress(MAC)) });
        let expected = [
            (0x00, 0x0009_1011),
            (0x04, 0x0280_0000),
            (0x08, 0x0200_0020),
            (0x0c, 0),
            (0x10, 1),
            (0x14, 0),
            (0x2c, 0x2114_0a00 + u32::from(port)),
            (0x30, 0),
            (0x34, 0),
            (0x3c, 0x2814_0100),
            (0x40, 0),
            (0x44, 0),
        ];
        for (offset, value) in expected {
            assert_eq!(pc.config_read(offset), value, "offset {offset:02x}");
        }
        for offset in (0..0x48).step_by(4) {
            pc.config_write(offset, &[0xff; 4]);
        }
        let expected = [
            (0x00, 0x0009_1011),
            (0x04, 0x0280_0157),
            (0x08, 0x0200_0020),
            (0x0c, 0xffff),
            (0x10, 0xffff_ff81),
            (0x14, 0xffff_f000),
            (0x2c, 0x2114_0a00 + u32::from(port)),
            (0x3c, 0x2814_01ff),
            (0x40, 0xc000_ff00),
        ];
        for (offset, value) in expected {
            assert_eq!(pc.config_read(offset), value, "offset {offset:02x}, written");
        }
    }
}

#[test]
fn a_serial_rom_with_a_wrong_id_crc_names_no_subsystem() {
    let config = TulipConfig { srom: Some([0x5a; 128]), ..TulipConfig::new(MacAddress(MAC)) };
    let mut pc = Pc::bare();
    pc.card = Tulip::new(config);
    assert_eq!((pc.config_read(0x2c), pc.card.mac().is_err(), pc.card.srom()), (0, true, [0x5a; 128]));
    assert_eq!(Pc::bare().card.mac(), Ok(MacAddress(MAC)));
}

#[test]
fn windows_follow_command_and_bars() {
    let mut pc = Pc::bare();
    let windows = |pc: &Pc| -> Vec<(Space, u64, u64)> {
        pc.card.windows().1.iter().map(|w| (w.space, w.base, w.len)).collect()
    };
    let config = (Space::PciConfig { function: 0 }, 0, 256);
    assert_eq!(windows(&pc), [config]);
    pc.config_write(0x10, &0xe881u32.to_le_bytes());
    pc.config_write(0x14, &0xfebf_f000u32.to_le_bytes());
    assert_eq!(windows(&pc), [config]);
    pc.config_write(4, &[1]);
    assert_eq!(windows(&pc), [config, (Space::Io, 0xe880, 128)]);
    pc.config_write(4, &[3]);
    assert_eq!(windows(&pc)[1..], [(Space::Io, 0xe880, 128), (Space::Memory, 0xfebf_f000, 4096)]);
    pc.card.reset(ResetKind::Bus);
    assert_eq!(windows(&pc), [config]);
}

const RESET: [(u64, u32); 16] = [
    (0, 0xfe00_0000),
    (1, 0xffff_ffff),
    (2, 0xffff_ffff),
    (3, 0),
    (4, 0),
    (5, 0xfc00_0000),
    (6, 0x3200_0040),
    (7, 0xfffe_0000),
    (8, 0xe000_0000),
    // MDI floats high.
    (9, 0xfffc_83ff),
    (10, 0),
    (11, 0xfffe_0000),
    (12, 0xffff_feff),
    (13, 0xffff_ffff),
    (14, 0xffff_ffff),
    (15, 0x8ff0_0000),
];

#[test]
fn csrs_after_reset_and_after_a_software_reset() {
    let mut pc = Pc::new();
    for (n, value) in RESET {
        assert_eq!(pc.csr(n), value, "CSR{n}");
    }
    for (n, value) in [(0, 0x01be_fffe), (3, !3), (4, !3), (7, 0x1_efef), (10, 0x3_ffff), (15, 0x37)] {
        pc.set_csr(n, !u32::from(n == 0));
        let ones = RESET[n as usize].1 & if n == 10 { 0 } else { u32::MAX };
        assert_eq!(pc.csr(n), value | ones, "CSR{n}, written");
    }
    // Processes off: read-only and missing bits of CSR6 do not stick.
    pc.set_csr(6, !(csr6::ST | csr6::SR));
    assert_eq!(pc.csr(6), 0xf2ee_dfe8);
    pc.set_csr(12, csr12::GPC | 0x0f);
    pc.set_csr(12, 0x35);
    assert_eq!(pc.csr(12), 0xffff_fef5, "outputs as written, inputs pulled up");
    pc.set_csr(11, 0x1_0005);
    pc.set_csr(0, csr0::SWR);
    for (n, value) in RESET {
        assert_eq!(pc.csr(n), if n == 6 { value | csr6::PS } else { value }, "CSR{n}, software reset");
    }
    assert_eq!(pc.card.next_deadline(), None);
    assert_eq!(pc.config_read(4) & 0xffff, 7, "configuration space is not touched");
    pc.card.reset(ResetKind::Bus);
    pc.config_write(4, &[7]);
    assert_eq!(pc.config_read(0x10), 1);
}

#[test]
fn odd_accesses_are_lanes_or_nothing() {
    let mut pc = Pc::new();
    pc.config_write(0x14, &0xfebf_f000u32.to_le_bytes());
    let mut read = |window: u16, offset: u64, len: usize| {
        let mut data = vec![0; len];
        let at = At { window: WindowId(window), offset };
        pc.call(|card, cx| card.read(cx, at, &mut data));
        data
    };
    for window in [1, 2] {
        assert_eq!(read(window, 0x30, 4), [0x40, 0, 0, 0x32], "CSR6");
        assert_eq!(read(window, 0x33, 1), [0x32]);
        assert_eq!(read(window, 0x32, 4), [0, 0x32, 0xff, 0xff]);
        assert_eq!(read(window, 0x30, 8), [0x40, 0, 0, 0x32, 0xff, 0xff, 0xff, 0xff]);
        assert_eq!(read(window, 0x34, 4), [0xff; 4], "between two CSRs");
    }
    assert_eq!(read(2, 0x830, 4), [0xff; 4], "behind the CSRs");
    let mut write = |offset: u64, data: &[u8]| {
        let at = At { window: WindowId(1), offset };
        pc.call(|card, cx| card.write(cx, at, data));
    };
    write(0x18, &[1, 2]);
    write(0x19, &[1, 2, 3, 4]);
    write(0x1c, &[1, 2, 3, 4]);
    assert_eq!(pc.csr(3), 0);
    let at = At { window: WindowId(1), offset: 0x18 };
    pc.call(|card, cx| card.write(cx, at, &[4, 3, 2, 1, 9, 9, 9, 9]));
    assert_eq!(pc.csr(3), 0x0102_0304);
}

#[test]
fn summaries_hold_what_is_enabled_at_that_moment() {
    let mut pc = Pc::new();
    pc.set_csr(4, 0x1000);
    pc.set_csr(6, csr6::ST | csr6::SR);
    pc.set_csr(6, 0);
    let events = csr5::TU | csr5::RU | csr5::TPS | csr5::RPS;
    assert_eq!(pc.csr(5) & 0x1_ffff, events, "nothing is enabled: no summary");
    let cases = [
        (csr5::TU, csr5::NIS, false),
        (csr5::TU | csr5::NIS, csr5::NIS, true),
        (csr5::TU | csr5::AIS, csr5::NIS, false),
        (csr5::TPS | csr5::AIS, csr5::AIS, true),
        (csr5::RI | csr5::NIS | csr5::AIS, 0, false),
        (csr7::WRITABLE, csr5::NIS | csr5::AIS, true),
    ];
    for (enable, summary, level) in cases {
        pc.set_csr(7, enable);
        assert_eq!((pc.csr(5) & (csr5::NIS | csr5::AIS), pc.level), (summary, level), "{enable:x}");
    }
    pc.set_csr(5, csr5::NIS | csr5::AIS);
    assert!(pc.level, "a summary is not cleared by itself");
    pc.set_csr(5, csr5::TU);
    assert_eq!(pc.csr(5) & 0x1_ffff, csr5::RU | csr5::TPS | csr5::RPS | csr5::AIS);
    pc.set_csr(5, u32::MAX);
    assert_eq!((pc.csr(5), pc.level), (0xfc00_0000, false));
}

#[test]
fn the_timer_expires_into_csr5() {
    let mut pc = Pc::new();
    pc.set_csr(6, csr6::PS);
    pc.set_csr(7, csr5::GTE | csr5::NIS);
    pc.set_csr(11, 100);
    pc.advance(99 * 81_920);
    assert_eq!((pc.csr(11), pc.level), (0xfffe_0001, false));
    pc.advance(81_920);
    assert_eq!((pc.csr(11), pc.level), (0xfffe_0000, true));
    pc.set_csr(5, csr5::GTE);
    pc.set_csr(11, csr11::CON | 2);
    let before = pc.ticks;
    pc.advance(10 * 81_920);
    assert_eq!((pc.ticks - before, pc.csr(11)), (5, 0xffff_0002));
    pc.set_csr(11, 0);
    assert_eq!(pc.card.next_deadline(), None);
}

#[test]
fn the_missed_frame_counter_counts_and_clears() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.set_csr(3, 0x2000);
    pc.set_csr(6, csr6::SR);
    let other = frame([2; 6], 64);
    let mine = frame(MAC, 64);
    let give = |pc: &mut Pc, frame: &[u8]| pc.call(|card, cx| card.receive(cx, frame));
    assert!(!pc.card.ready());
    for _ in 0..5 {
        assert_eq!(give(&mut pc, &mine), slotone_net::Received::Missed);
    }
    assert_eq!(give(&mut pc, &other), slotone_net::Received::Filtered);
    assert_eq!([pc.csr(8), pc.csr(8)], [0xe000_0005, 0xe000_0000]);
    for _ in 0..0x1_0003 {
        give(&mut pc, &mine);
    }
    assert_eq!(pc.csr(8), 0xe001_0003, "it wrapped; bits 27:17 are never set");
    assert_eq!(pc.csr(8), 0xe000_0000);
}

#[test]
fn a_frame_without_a_running_receiver_is_refused() {
    let mut card = Tulip::new(TulipConfig::new(MacAddress(MAC)));
    let mut port = TestPort::new(4096);
    assert!(card.ready());
    let got = port.at(0, |cx| card.receive(cx, &frame(MAC, 64)));
    assert_eq!(got, slotone_net::Received::Filtered);
    assert_eq!(card.frame(), None);
    port.at(0, |cx| card.sent(cx));
}
