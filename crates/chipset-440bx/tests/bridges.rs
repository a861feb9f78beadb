//! Host bridge and ISA bridge: configuration registers, memory map, fixed ports.

use proptest::prelude::*;
use slotone_bus::state::StateReader;
use slotone_bus::{Device, LentId, Pin, ResetKind, Space, Target, Window};
use slotone_chipset_440bx::isa_bridge::{FLASH, pin, register};
use slotone_chipset_440bx::{HostBridge, HostBridgeConfig, IsaBridge, IsaBridgeConfig};
use slotone_fuzz_kit::Rig;

const MB: u64 = 1 << 20;

fn host(ram: u64) -> Rig<HostBridge> {
    Rig::new(HostBridge::new(HostBridgeConfig::new(ram)))
}

/// Who answers at `address` of memory for reads and writes.
fn targets(windows: &[Window], address: u64) -> (Target, Target) {
    let mut hits: Vec<&Window> = windows
        .iter()
        .filter(|w| w.space == Space::Memory && (w.base..w.base + w.len).contains(&address))
        .collect();
    hits.sort_by_key(|w| std::cmp::Reverse(w.priority));
    let answer = |side: fn(&Window) -> Target| {
        let hit = hits.iter().find(|w| side(w) != Target::Pass);
        hit.map_or(Target::Pass, |w| match side(w) {
            Target::Ram { offset } => Target::Ram { offset: offset + address - w.base },
            Target::Lent { memory, offset } => Target::Lent { memory, offset: offset + address - w.base },
            other => other,
        })
    };
    (answer(|w| w.read), answer(|w| w.write))
}

fn is_ram(rig: &Rig<HostBridge>, address: u64) -> (bool, bool) {
    let (read, write) = targets(rig.device.windows().1, address);
    for target in [read, write] {
        assert!(target == Target::Pass || target == Target::Ram { offset: address }, "{target:?}");
    }
    (read != Target::Pass, write != Target::Pass)
}

#[test]
fn identity_of_virtual_server() {
    let mut h = host(128 * MB);
    assert_eq!(h.config_read::<4>(0, 0x00), [0x86, 0x80, 0x92, 0x71]);
    assert_eq!(h.config_read::<4>(0, 0x04), [0x06, 0x00, 0x00, 0x02]);
    assert_eq!(h.config_read::<4>(0, 0x08), [0x03, 0x00, 0x00, 0x06]);
    assert_eq!(h.config_read::<1>(0, 0x34), [0x00], "no capabilities without AGP");
    assert_eq!(h.config_read::<1>(0, 0x7a), [0x02], "the AGP strap");
    h.config_write(0, 0x10, &[0xff; 4]);
    assert_eq!(h.config_read::<4>(0, 0x10), [0; 4], "no aperture");
}

#[test]
fn the_map_after_reset() {
    let h = host(128 * MB);
    for (address, expected) in [
        (0, true),
        (0x9_ffff, true),
        (0xa_0000, false),
        (0xc_0000, false),
        (0xf_ffff, false),
        (MB, true),
        (15 * MB, true),
        (128 * MB - 1, true),
        (128 * MB, false),
        (0xffff_fff0, false),
    ] {
        assert_eq!(is_ram(&h, address), (expected, expected), "{address:#x}");
    }
}

#[test]
fn memory_sizes_at_the_edges() {
    for ram in [0, 0x8_0000, 0xa_0000, MB, 4 * MB, 3686 * MB, 1 << 40] {
        let h = host(ram);
        for w in h.device.windows().1.iter().filter(|w| w.space == Space::Memory) {
            assert!(w.len > 0 && w.base + w.len <= ram.min(HostBridgeConfig::RAM_LIMIT));
        }
        assert_eq!(is_ram(&h, HostBridgeConfig::RAM_LIMIT), (false, false));
    }
}

#[test]
fn the_four_states_of_each_pam_segment() {
    // Register, shift, first address, length (290633, table 3-3).
    let segments: Vec<(u8, u8, u64, u64)> = [(0x59, 4, 0xf_0000, 0x1_0000)]
        .into_iter()
        .chain((0..12).map(|n| (0x5a + n / 2, 4 * (n & 1), 0xc_0000 + u64::from(n) * 0x4000, 0x4000)))
        .collect();
    for (register, shift, base, len) in &segments {
        for state in 0..4u8 {
            let mut h = host(64 * MB);
            h.config_write(0, *register, &[state << shift]);
            for (_, _, other, other_len) in &segments {
                let expected = if other == base { (state & 1 != 0, state & 2 != 0) } else { (false, false) };
                assert_eq!(is_ram(&h, *other), expected, "{register:#x} state {state} at {other:#x}");
                assert_eq!(is_ram(&h, other + other_len - 1), expected);
            }
            assert_eq!(len % 0x4000, 0);
        }
    }
}

#[test]
fn neighbouring_segments_are_one_window() {
    let mut h = host(64 * MB);
    h.config_write(0, 0x59, &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33]);
    let shadow: Vec<_> = h.device.windows().1.iter().filter(|w| w.base == 0xc_0000).collect();
    assert_eq!(shadow.len(), 1);
    assert_eq!(shadow[0].len, 0x4_0000);
    let (generation, _) = h.device.windows();
    h.config_write(0, 0xd0, &[0x5a; 8]);
    assert_eq!(h.device.windows().0, generation, "a write that moves nothing changes no window");
    assert_eq!(h.config_read::<8>(0, 0xd0), [0x5a; 8], "the BIOS's scratch pad");
}

#[test]
fn fixed_holes_and_smram() {
    let mut h = host(64 * MB);
    h.config_write(0, 0x68, &[0x40]);
    assert_eq!(is_ram(&h, 0x8_0000), (false, false));
    assert_eq!(is_ram(&h, 0x7_ffff), (true, true));
    h.config_write(0, 0x68, &[0x80]);
    assert_eq!(is_ram(&h, 0x8_0000), (true, true));
    assert_eq!(is_ram(&h, 15 * MB), (false, false));
    assert_eq!(is_ram(&h, 16 * MB - 1), (false, false));
    assert_eq!((is_ram(&h, 15 * MB - 1), is_ram(&h, 16 * MB)), ((true, true), (true, true)));
    h.config_write(0, 0x68, &[0]);

    h.config_write(0, 0x72, &[0x4a]); // D_OPEN, G_SMRAME
    assert_eq!(is_ram(&h, 0xa_0000), (true, true));
    assert_eq!(is_ram(&h, 0xb_ffff), (true, true));
    h.config_write(0, 0x72, &[0x0a]);
    assert_eq!(is_ram(&h, 0xa_0000), (false, false));
    h.config_write(0, 0x72, &[0x5a]); // D_LCK takes D_OPEN away
    assert_eq!(h.config_read::<1>(0, 0x72), [0x1a]);
    h.config_write(0, 0x72, &[0x4a, 0xff]);
    assert_eq!(h.config_read::<2>(0, 0x72), [0x1a, 0x38], "locked until reset");
    assert_eq!(is_ram(&h, 0xa_0000), (false, false));
    h.reset(ResetKind::Bus);
    assert_eq!(h.config_read::<1>(0, 0x72), [0x02]);
}

#[test]
fn read_only_and_clearable_bits() {
    let mut h = host(64 * MB);
    h.config_write(0, 0x00, &[0xff; 16]);
    assert_eq!(h.config_read::<4>(0, 0x00), [0x86, 0x80, 0x92, 0x71]);
    assert_eq!(h.config_read::<2>(0, 0x04), [0x46, 0x01], "PCICMD: PERRE and SERRE");
    h.device.received_master_abort();
    assert_eq!(h.config_read::<2>(0, 0x06), [0x00, 0x22]);
    h.config_write(0, 0x06, &[0x00, 0x20]);
    assert_eq!(h.config_read::<2>(0, 0x06), [0x00, 0x02]);
    h.config_write(0, 0x2c, &0x1234_5678u32.to_le_bytes());
    h.config_write(0, 0x2c, &[0xff; 4]);
    assert_eq!(h.config_read::<4>(0, 0x2c), 0x1234_5678u32.to_le_bytes(), "written once");
}

#[test]
fn the_aperture_sizes_as_apsize_says() {
    let config = HostBridgeConfig { device_id: 0x7190, ..HostBridgeConfig::new(64 * MB) };
    let mut h = Rig::new(HostBridge::new(config));
    assert_eq!(h.config_read::<1>(0, 0x34), [0xa0]);
    for (apsize, size) in
        [(0x00u8, 256u64), (0x20, 128), (0x30, 64), (0x38, 32), (0x3c, 16), (0x3e, 8), (0x3f, 4)]
    {
        h.config_write(0, 0xb4, &[apsize]);
        h.config_write(0, 0x10, &[0xff; 4]);
        let mask = u32::from_le_bytes(h.config_read(0, 0x10));
        assert_eq!(mask, !(size * MB - 1) as u32 | 8, "APSIZE {apsize:#x}");
    }
}

#[test]
fn a_saved_aperture_is_clipped_too() {
    let config = HostBridgeConfig { device_id: 0x7190, ..HostBridgeConfig::new(64 * MB) };
    let mut h = Rig::new(HostBridge::new(config));
    h.config_write(0, 0xb4, &[0x3f]);
    h.config_write(0, 0x10, &[0xff; 4]);
    let mut state = h.state();
    let config_space = state.len() - 256 - 1; // PM2_CNTRL follows it
    assert_eq!(state[config_space + 0xb4], 0x3f);
    state[config_space + 0xb4] = 0x00;
    h.device.restore(&mut StateReader::new(&state)).unwrap();
    assert_eq!(h.config_read::<4>(0, 0x10), [0x08, 0x00, 0x00, 0xf0]);
}

#[test]
fn pm2_control_appears_with_acpien() {
    let mut h = host(64 * MB);
    assert!(h.device.windows().1.iter().all(|w| w.space != Space::Io));
    h.config_write(0, 0x7a, &[0x40]);
    h.outb(0x22, 0xff);
    assert_eq!(h.inb(0x22), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    /// The windows say for every 16 KB what PAM, SMRAM and FDHC say.
    #[test]
    fn windows_follow_the_registers(pam in any::<[u8; 7]>(), fdhc in any::<u8>(), smram in any::<u8>()) {
        let mut h = host(32 * MB);
        h.config_write(0, 0x59, &pam);
        h.config_write(0, 0x68, &[fdhc]);
        h.config_write(0, 0x72, &[smram]);
        for page in 0..32 * MB / 0x4000 {
            let address = page * 0x4000;
            let open = smram & 0x58 == 0x48;
            let expected = match address {
                0x8_0000..0xa_0000 => (fdhc >> 6 != 1, fdhc >> 6 != 1),
                0xa_0000..0xc_0000 => (open, open),
                0xc_0000..0xf_0000 => {
                    let n = (address - 0xc_0000) / 0x4000;
                    let bits = pam[1 + n as usize / 2] >> (4 * (n & 1));
                    (bits & 1 != 0, bits & 2 != 0)
                }
                0xf_0000..0x10_0000 => (pam[0] & 0x10 != 0, pam[0] & 0x20 != 0),
                0xf0_0000..0x100_0000 => (fdhc >> 6 != 2, fdhc >> 6 != 2),
                _ => (true, true),
            };
            prop_assert_eq!(is_ram(&h, address), expected, "{:#x}", address);
        }
    }
}

fn isa() -> Rig<IsaBridge> {
    Rig::new(IsaBridge::new(IsaBridgeConfig::default()))
}

#[test]
fn identity_of_the_isa_bridge() {
    let mut b = isa();
    assert_eq!(b.config_read::<4>(0, 0x00), [0x86, 0x80, 0x10, 0x71]);
    assert_eq!(b.config_read::<8>(0, 0x04), [0x07, 0x00, 0x80, 0x02, 0x01, 0x00, 0x01, 0x06]);
    assert_eq!(b.config_read::<1>(0, 0x0e), [0x80], "more functions");
    assert_eq!(b.config_read::<2>(0, 0x4e), [0x03, 0x00]);
    assert_eq!(b.config_read::<4>(0, 0x60), [0x80; 4]);
    b.config_write(0, 0x60, &[0xff; 4]);
    assert_eq!(b.config_read::<4>(0, 0x60), [0x8f; 4]);
}

#[test]
fn the_flash_is_where_xbcs_says() {
    let lent = |offset| Target::Lent { memory: LentId(0), offset };
    let at = |b: &Rig<IsaBridge>, address| targets(b.device.windows().1, address).0;
    let mut b = isa();
    assert_eq!(b.device.memories()[0].len, 256 * 1024);
    assert_eq!(b.device.memories()[0].id, FLASH);
    // The reset vector, and the same byte below 1 MB.
    assert_eq!(at(&b, 0xffff_fff0), lent(0x3_fff0));
    assert_eq!(at(&b, 0xf_fff0), lent(0x3_fff0));
    assert_eq!(at(&b, 0xfffe_0000), lent(0x2_0000));
    assert_eq!(at(&b, 0xe_0000), Target::Pass);
    assert_eq!(at(&b, 0xfffd_ffff), Target::Pass);
    for (xbcs, answers) in [([0x43, 0], 0xe_0000), ([0x83, 0], 0xfffc_0000), ([0x03, 2], 0xfff0_0000)] {
        b.config_write(0, register::XBCS, &xbcs);
        for address in [0xe_0000, 0xfffc_0000, 0xfff0_0000] {
            assert_eq!(at(&b, address) != Target::Pass, address == answers, "{xbcs:x?} at {address:#x}");
        }
    }
    b.config_write(0, register::XBCS, &[0xc3, 0x02]);
    assert_eq!(at(&b, 0xe_0000), lent(0x2_0000));
    assert_eq!(at(&b, 0xfffc_0000), lent(0));
    assert_eq!(at(&b, 0xfff8_0000), lent(0), "the chip appears again");
    assert_eq!(at(&b, 0xfff0_0000), lent(0));
    assert_eq!(at(&b, 0xfff7_ffff), lent(0x3_ffff));
}

#[test]
fn flash_chips_of_every_size() {
    for shift in 16..=20 {
        let size = 1u64 << shift;
        let mut b = Rig::new(IsaBridge::new(IsaBridgeConfig { flash_bytes: size as usize, revision: 1 }));
        b.config_write(0, register::XBCS, &[0xff, 0x07]);
        for address in [0xe_0000u64, 0xf_0000, 0xfff0_0000, 0xfff8_0000, 0xfffc_0000, 0xffff_ffff] {
            let offset = address & (size - 1);
            let expected = Target::Lent { memory: FLASH, offset };
            assert_eq!(targets(b.device.windows().1, address).0, expected, "{address:#x} of {size:#x}");
        }
    }
}

#[test]
fn the_router() {
    for route in 0..=0xff {
        let mut b = isa();
        b.config_write(0, 0x60, &[route]);
        let irq = route & 0xf;
        let legal = route & 0x80 == 0 && [3, 4, 5, 6, 7, 9, 10, 11, 12, 14, 15].contains(&irq);
        assert_eq!(b.device.route(0), legal.then_some(irq));
        let expected: &[(Pin, bool)] = if legal { &[(pin::irq(irq), true)] } else { &[] };
        assert_eq!(b.input(pin::pirq(0), true), expected);
    }
}

#[test]
fn shared_links_and_rerouting() {
    let mut b = isa();
    b.config_write(0, 0x60, &[11, 11, 0x80, 10]);
    assert_eq!(b.input(pin::pirq(0), true), [(pin::irq(11), true)]);
    assert_eq!(b.input(pin::pirq(1), true), []);
    assert_eq!(b.input(pin::pirq(0), false), [], "PIRQB still holds it");
    assert_eq!(b.config_write(0, 0x61, &[5]), [(pin::irq(5), true), (pin::irq(11), false)]);
    assert_eq!(b.config_write(0, 0x61, &[0x80]), [(pin::irq(5), false)]);
    b.reset(ResetKind::Bus);
    assert_eq!(b.device.levels().0 & 0xffff, 0, "routes are off after reset");
}

#[test]
fn port_61() {
    let mut b = isa();
    assert_eq!(b.outb(0x61, 0x03), [(pin::GATE2, true)]);
    assert_eq!(b.inb(0x61) & 0xef, 0x03);
    assert_eq!(b.input(pin::OUT2, true), [(pin::SPEAKER, true)]);
    assert_eq!(b.inb(0x61) & 0xef, 0x23);
    assert_eq!(b.outb(0x61, 0x01), [(pin::SPEAKER, false)]);
    // The refresh toggle: 15.085 us a half.
    let mut flips = 0;
    let mut last = b.inb(0x61) & 0x10;
    for _ in 0..10_000 {
        b.advance(1_000);
        let now = b.inb(0x61) & 0x10;
        flips += u32::from(now != last);
        last = now;
    }
    assert!((662..=663).contains(&flips), "{flips} flips in 10 ms");
}

#[test]
fn nmi() {
    let mut b = isa();
    assert_eq!(b.input(pin::SERR, true), [], "masked by port 70h");
    assert_eq!(b.inb(0x61) & 0xc0, 0x80);
    assert_eq!(b.input(pin::NMI_MASK, false), [(pin::NMI, true)]);
    assert_eq!(b.outb(0x61, 0x04), [(pin::NMI, false)], "bit 2 clears the source");
    b.outb(0x61, 0x00);
    assert_eq!(b.input(pin::IOCHK, true), [(pin::NMI, true)]);
    assert_eq!(b.inb(0x61) & 0xc0, 0x40);
    assert_eq!(b.outb(0x61, 0x08), [(pin::NMI, false)]);
}

#[test]
fn port_92_and_cf9() {
    let mut b = isa();
    assert_eq!(b.outb(0x92, 0x02), [(pin::A20, true)]);
    assert_eq!(b.inb(0x92), 0x02);
    assert_eq!(b.outb(0x92, 0x03), [(pin::INIT, true), (pin::INIT, false)]);
    assert_eq!(b.outb(0x92, 0x03), [], "only the edge resets");
    assert_eq!(b.outb(0xcf9, 0x02), []);
    assert_eq!(b.outb(0xcf9, 0x06), [(pin::RESET, true), (pin::RESET, false)]);
    assert_eq!(b.inb(0xcf9), 0x06);
    assert_eq!(b.outb(0xcf9, 0x00), []);
    assert_eq!(b.outb(0xcf9, 0x04), [(pin::INIT, true), (pin::INIT, false)]);
}

#[test]
fn coprocessor_errors() {
    let mut b = isa();
    b.input(pin::FERR, true);
    assert_eq!(b.device.levels().0 & 0xffff, 0, "XBCS bit 5 is clear");
    b.input(pin::FERR, false);
    b.config_write(0, register::XBCS, &[0x23]);
    assert_eq!(b.input(pin::FERR, true), [(pin::irq(13), true)]);
    assert_eq!(b.outb(0xf0, 0), [(pin::irq(13), false), (pin::IGNNE, true)]);
    assert_eq!(b.input(pin::FERR, false), [(pin::IGNNE, false)]);
}

#[test]
fn rtccfg_opens_the_upper_cmos() {
    let mut b = isa();
    assert!(!b.levels().get(pin::RTC_UPPER));
    assert_eq!(b.config_write(0, register::RTCCFG, &[0x25]), [(pin::RTC_UPPER, true)]);
}

#[test]
fn flash_writes_are_dropped_and_counted() {
    let mut b = isa();
    b.write_at(b.at(Space::Memory, 0xf_0000), &[1, 2]);
    let mut count = None;
    b.device.inspect(&mut |name, value| {
        if name == "flash writes dropped" {
            count = Some(value);
        }
    });
    assert_eq!(count, Some(slotone_bus::InspectValue::Count(2)));
}
