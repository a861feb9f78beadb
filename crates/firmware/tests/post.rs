//! POST on a bare machine: what an operating system finds afterwards.

mod common;

use common::{Atapi, Config, Disk, Ide, MEMORY, Mock, Regs};

#[test]
fn memory_the_data_areas_and_cmos() {
    let mock = Mock::posted();
    assert_eq!(mock.u16(0x413), 639);
    assert_eq!(mock.u16(0x40E), 0x9FC0);
    assert_eq!(mock.memory[0x9_FC00], 1);
    assert_eq!((mock.u16(0x480), mock.u16(0x482)), (0x1E, 0x3E));
    let cmos = |index: usize| u16::from_le_bytes([mock.cmos[index], mock.cmos[index + 1]]);
    assert_eq!((cmos(0x15), cmos(0x17), cmos(0x30), cmos(0x34)), (640, 15 * 1024, 15 * 1024, 0));
    let sum: u16 = mock.cmos[0x10..0x2E].iter().map(|byte| u16::from(*byte)).sum();
    assert_eq!((mock.cmos[0x2E], mock.cmos[0x2F]), ((sum >> 8) as u8, sum as u8));
}

#[test]
fn vectors_point_into_the_rom() {
    let mock = Mock::posted();
    for (vector, pointer) in [
        (0x08, 0xF000_FEA5u32),
        (0x09, 0xF000_E987),
        (0x10, 0xC000_0100),
        (0x13, 0xF000_E3FE),
        (0x15, 0xF000_F859),
        (0x16, 0xF000_E82E),
        (0x19, 0xF000_E6F2),
        (0x1A, 0xF000_FE6E),
        (0x1E, 0xF000_EFC7),
        (0x42, 0xF000_F065),
    ] {
        assert_eq!(mock.u32(vector * 4), pointer, "int {vector:x}");
    }
    // What nobody serves returns: an IRET.
    let at = mock.u32(0x1C * 4);
    assert_eq!(mock.memory[(at >> 16 << 4) as usize + (at & 0xFFFF) as usize], 0xCF);
    assert_eq!(mock.u32(0x60 * 4), 0);
}

#[test]
fn pci_is_given_addresses_and_lines() {
    let mock = Mock::posted();
    let vga = mock.config(8, 0);
    assert_eq!((vga.u32(0x10), vga.bytes[0x3C], vga.bytes[4]), (0xF800_0000, 11, 3));
    let nic = mock.config(10, 0);
    assert_eq!((nic.u32(0x10), nic.u32(0x14), nic.bytes[0x3C], nic.bytes[4]), (0xC001, 0xFEBF_FF80, 11, 3));
    let ide = mock.config(7, 1);
    assert_eq!((ide.u32(0x20), ide.bytes[4], ide.bytes[0x41], ide.bytes[0x43]), (0xFFA1, 5, 0x80, 0x80));
    let power = mock.config(7, 3);
    assert_eq!(
        (power.u32(0x40), power.u32(0x90), power.bytes[0x80], power.bytes[0x3C]),
        (0x401, 0x441, 1, 9)
    );
    let isa = mock.config(7, 0);
    assert_eq!(isa.bytes[0x60..0x64], [11, 0x80, 0x80, 11]);
    assert_eq!((mock.ports[&0x4D0], mock.ports[&0x4D1]), (0x00, 0x0A));
    // Shadow memory is read-only in the end, where the BIOS and its video part are.
    assert_eq!(mock.config(0, 0).bytes[0x59..0x60], [0x10, 0x11, 0x33, 0x33, 0x33, 0x33, 0x33]);
}

#[test]
fn address_ranges_of_hostile_devices_do_not_overlap() {
    let mut mock = Mock::new();
    // More than the hole holds, and a BAR that is all of it.
    for device in 11..16 {
        mock.pci.insert(
            (device, 0),
            Config::new(1, 2, 0xFF_0000, false).bar(0x10, 64 << 20, 0).bar(0x14, 1 << 31, 0),
        );
    }
    mock.pci.insert((16, 0), Config::new(1, 2, 0xFF_0000, false).bar(0x10, 0x8000, 1).bar(0x14, 0x8000, 1));
    mock.post();
    let mut ranges = Vec::new();
    for config in mock.pci.values() {
        for register in [0x10, 0x14] {
            let (base, mask) = (
                config.u32(register),
                u32::from_le_bytes(config.mask[register..register + 4].try_into().unwrap()),
            );
            if mask != 0 && base & 1 == 0 && base != 0 {
                ranges.push((base, base + !mask));
            }
        }
    }
    ranges.sort();
    assert!(ranges.windows(2).all(|pair| pair[0].1 < pair[1].0), "{ranges:x?}");
    assert!(ranges.iter().all(|range| range.0 >= 0xE000_0000 && range.1 < 0xFEC0_0000), "{ranges:x?}");
}

#[test]
fn the_screen_says_what_was_found() {
    let mut mock = Mock::new();
    mock.ide = [Ide::with_disk(Disk::new(40_320)), Ide::with_cd(Atapi::default())];
    mock.post();
    let screen: Vec<_> = (0..10).map(|row| mock.row(row)).collect();
    assert!(screen.iter().any(|row| row == "Primary master   : Virtual HD, 19 MB"), "{screen:?}");
    assert!(screen.iter().any(|row| row == "Secondary master : Virtual CD"), "{screen:?}");
    assert!(screen.iter().any(|row| row.contains("16384 KB")), "{screen:?}");
    assert_eq!(mock.memory[0x475], 1);
    // Both masters may use DMA.
    assert!(mock.log.contains(&(0xFFA2, 0x20)) && mock.log.contains(&(0xFFAA, 0x20)));
    // Text mode 3, grey on black.
    assert_eq!((mock.memory[0x449], mock.memory[0xB_8001]), (3, 7));
}

#[test]
fn a_dead_drive_does_not_hold_the_machine_up_for_ever() {
    let mut mock = Mock::new();
    mock.ide[0] = Ide::with_disk(Disk::new(2000));
    mock.ide[0].dead = true;
    mock.post();
    assert_eq!(mock.memory[0x475], 0);
    assert!(mock.now < 20_000_000_000);
}

#[test]
fn routing_table_lies_on_a_paragraph() {
    let mock = Mock::posted();
    let at =
        (0xF_0000..0x10_0000).step_by(16).find(|at| mock.memory[*at..*at + 4] == *b"$PIR").expect("$PIR");
    let size = usize::from(mock.u16(at + 6));
    let sum = mock.memory[at..at + size].iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    assert_eq!(sum, 0);
    // Slot 8: all pins straight.
    let slot = mock.memory[at + 32..at + size].chunks(16).find(|entry| entry[1] == 8 << 3).expect("slot 8");
    assert_eq!((slot[2], slot[5], slot[8], slot[11]), (0x60, 0x61, 0x62, 0x63));
}

#[test]
fn a_reset_with_a_shutdown_code_goes_on_where_it_was_told() {
    let mut mock = Mock::posted();
    mock.cmos[0x0F] = 0x0A;
    mock.memory[0x467..0x46B].copy_from_slice(&[0x78, 0x56, 0x34, 0x12]);
    let regs = mock.service(0x104, Regs { cs: 0xF000, ip: 0x1234, ..Regs::default() });
    assert_eq!((regs.cs, regs.ip, mock.cmos[0x0F]), (0x1234, 0x5678, 0));
    let regs = mock.service(0x104, Regs { cs: 0xF000, ip: 0x1234, ..Regs::default() });
    assert_eq!((regs.cs, regs.ip), (0xF000, 0x1234));
}

#[test]
fn tables_lie_where_the_memory_map_says() {
    let mock = Mock::posted();
    let base = MEMORY as usize - 0x1_0000;
    assert_eq!(mock.memory[base..base + 4], *b"RSDT");
    assert_eq!(mock.memory[MEMORY as usize - 0x1000..][..4], *b"FACS");
}
