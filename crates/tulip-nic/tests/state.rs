//! Saved states: in the middle of everything, and damaged.

mod common;

use common::{MAC, Pc, frame};
use slotone_bus::Device;
use slotone_bus::state::{StateError, StateReader};
use slotone_net::{MacAddress, NetClient};
use slotone_tulip_nic::registers::*;
use slotone_tulip_nic::{Tulip, TulipConfig};

/// A card in mid-transfer: a frame held for a full network, a ring half used, the timer running, half a serial ROM command and
/// half a management frame, a hash filter.
fn busy() -> Pc {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.receive_ring(0x2000, 4, 0x10000, 1536);
    pc.wire.full = true;
    let data = frame([0xff; 6], 300);
    pc.put(0x4000, &data);
    pc.descriptor(0x1000, [tdes::OWN, tdes::FS | 100, 0x4000, 0]);
    pc.descriptor(0x1010, [tdes::OWN, tdes::LS | tdes::IC | 200, 0x4000 + 100, 0]);
    pc.set_csr(4, 0x1000);
    pc.set_csr(7, 0x1_efef);
    pc.set_csr(11, csr11::CON | 1000);
    pc.set_csr(6, csr6::PS | csr6::ST | csr6::SR);
    pc.wire.incoming.push_back(frame(MAC, 70));
    pc.deliver();
    pc.advance(12_345);
    for value in [0x4801, 0x4805, 0x4807, 0x4805, 0x4807, 0x4801] {
        pc.set_csr(9, value);
    }
    for value in [0x2_0000, 0x3_0000, 0, 0x1_0000, 0x2_0000, 0x3_0000] {
        pc.set_csr(9, value);
    }
    assert_eq!((pc.processes(), pc.level), ((3, 2), true));
    pc
}

#[test]
fn save_restore_continue_equals_continue() {
    let mut runs = [busy(), busy()];
    runs[1].restored();
    for n in 0..40u64 {
        for (i, pc) in runs.iter_mut().enumerate() {
            if i == 1 {
                pc.restored();
            }
            if n == 5 {
                pc.wire.full = false;
            }
            pc.wire.incoming.push_back(frame(MAC, 60 + n as usize));
            pc.advance(70_000 * n);
            if n % 3 == 0 {
                pc.set_csr(2, 0);
                pc.put32(0x2000 + 16 * (n as u32 % 4), rdes::OWN);
            }
        }
        let [a, b] = &mut runs;
        assert_eq!(a.state(), b.state(), "step {n}");
        assert_eq!(a.wire.sent, b.wire.sent);
        assert_eq!((a.level, a.now, a.card.next_deadline()), (b.level, b.now, b.card.next_deadline()));
        assert_eq!(a.get(0, 0x20000), b.get(0, 0x20000));
    }
    assert_eq!(runs[0].wire.sent, [frame([0xff; 6], 300)]);
    assert_eq!(runs[0].get32(0x1010), 0);
}

#[test]
fn a_damaged_state_is_refused_whole_or_taken_whole() {
    let mut pc = busy();
    let good = pc.state();
    let (mut refused, mut taken) = (0, 0);
    for at in 0..good.len() {
        for bit in [0, 3, 7] {
            let mut bad = good.clone();
            bad[at] ^= 1 << bit;
            let mut card = Tulip::new(TulipConfig::new(MacAddress(MAC)));
            let mut r = StateReader::new(&bad);
            let Ok(()) = card.restore(&mut r) else {
                refused += 1;
                // Nothing has changed.
                std::mem::swap(&mut pc.card, &mut card);
                assert_eq!(pc.state(), Pc::bare().state(), "byte {at}");
                std::mem::swap(&mut pc.card, &mut card);
                continue;
            };
            taken += 1;
            // It lives on without harm.
            let mut other = Pc::new();
            other.level = card.levels().get(Tulip::INTA);
            other.card = card;
            other.wire.incoming.push_back(frame(MAC, 100));
            other.now = 20_000;
            other.deliver();
            other.advance(1_000_000);
            other.call(|card, cx| card.set_link(cx, false));
            other.set_csr(6, 0);
            assert_eq!(other.processes(), (0, 0));
        }
    }
    assert!(refused > 150 && taken > 300, "{refused} {taken}");
    for cut in 0..good.len() {
        let mut card = Tulip::new(TulipConfig::new(MacAddress(MAC)));
        assert!(card.restore(&mut StateReader::new(&good[..cut])).is_err());
    }
}

#[test]
fn states_of_others_are_named() {
    let mut w = slotone_bus::state::StateWriter::new();
    w.section("rtl8139", 1, &0u8);
    let mut card = Tulip::new(TulipConfig::new(MacAddress(MAC)));
    let error = card.restore(&mut StateReader::new(&w.into_bytes())).unwrap_err();
    assert!(matches!(error, StateError::Section { .. }));
}

#[test]
fn a_written_serial_rom_and_the_cable_are_in_the_state() {
    let mut pc = Pc::new();
    let clock = |pc: &mut Pc, bits: u32, count: u32| {
        for n in (0..count).rev() {
            let data = if bits >> n & 1 != 0 { csr9::SR_DI } else { 0 };
            pc.set_csr(9, 0x4801 | data);
            pc.set_csr(9, 0x4803 | data);
        }
    };
    clock(&mut pc, 0b1_0011_0000, 9);
    pc.set_csr(9, 0x4800);
    clock(&mut pc, 0b1_0100_0000, 9);
    clock(&mut pc, 0xbeef, 16);
    pc.set_csr(9, 0x4800);
    pc.restored();
    assert_eq!(pc.card.srom()[..2], [0xef, 0xbe]);
    assert_eq!(pc.config_read(0x2c), 0x2114_0a00, "as loaded at reset");
    pc.card.reset(slotone_bus::ResetKind::Bus);
    pc.config_write(4, &[7]);
    assert_eq!(pc.config_read(0x2c), 0, "its CRC is wrong now");
    pc.config_write(0x10, &0xe881u32.to_le_bytes());
    pc.restored();
    assert!(pc.card.frame().is_none() && pc.card.ready());
}
