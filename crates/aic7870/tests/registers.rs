//! The register file as a host sees it while the sequencer is paused.

mod common;

use common::{Board, CONFIG, MEMORY, PORTS};
use slotone_aic7870::{Aic7870, Aic7870Config, seeprom_image};
use slotone_bus::{At, Device, ResetKind};

fn board() -> Board {
    let mut board = Board::new(Aic7870Config::default(), &[0]);
    board.set(0x87, 0x04);
    board
}

#[test]
fn configuration_space() {
    let mut board = board();
    assert_eq!(board.config_read(0x00), 0x7078_9004);
    assert_eq!(board.config_read(0x08), 0x0100_0003);
    assert_eq!(board.config_read(0x2c), 0);
    assert_eq!(board.config_read(0x3c) >> 8, 0x08_08_01);
    assert_eq!(board.config_read(0x40), 0x580);
    board.config_write(0x10, &[0xff; 8]);
    assert_eq!((board.config_read(0x10), board.config_read(0x14)), (0xffff_ff01, 0xffff_f000));
    board.config_write(0x0c, &[0xff, 0xff]);
    assert_eq!(board.config_read(0x0c) & 0xffff, 0xfc3c);
    // DEVCONFIG: all but RAMPSM.
    board.config_write(0x40, &[0xff; 4]);
    assert_eq!(board.config_read(0x40), 0xffff_fdff);
    assert_eq!(board.get(0x80), 0x04);
    assert_eq!(board.get(0x83), 0x70);
}

#[test]
fn windows_follow_the_command_register() {
    let mut board = board();
    let count = |board: &Board| board.aic.windows().1.len();
    assert_eq!(count(&board), 3);
    board.config_write(0x04, &[1, 0]);
    assert_eq!(board.aic.windows().1.iter().map(|w| w.id).collect::<Vec<_>>(), [CONFIG, PORTS]);
    board.config_write(0x04, &[2, 0]);
    assert_eq!(board.aic.windows().1.iter().map(|w| w.id).collect::<Vec<_>>(), [CONFIG, MEMORY]);
    assert_eq!(board.aic.windows().1[1].len, 4096);
    // Ports and memory are the same registers, and the 4 KiB repeat them.
    board.config_write(0x04, &[3, 0]);
    board.set(0x20, 0x5a);
    for (window, offset) in [(PORTS, 0x20), (MEMORY, 0xf20)] {
        let mut data = [0];
        let aic = &mut board.aic;
        board.port.at(board.now, |cx| aic.read(cx, At { window, offset }, &mut data));
        assert_eq!(data, [0x5a]);
    }
}

#[test]
fn values_after_reset() {
    let mut board = Board::new(Aic7870Config { wide: true, ..Aic7870Config::default() }, &[]);
    assert_eq!(board.get(0x87), 0x05, "PAUSE, CHIPRSTACK");
    assert_eq!(board.get(0x60), 0x90);
    assert_eq!(board.get(0x1f), 0xc2);
    assert_eq!(board.get(0x05), 0x07);
    assert_eq!(board.get(0x68), 0x80);
    assert_eq!(board.get(0x94), 0x29, "FIFO empty, host side done");
    assert_eq!(board.get(0x69), 0xff);
    for register in [0x00, 0x01, 0x02, 0x03, 0x04, 0x0c, 0x10, 0x11, 0x91, 0x92, 0x93, 0x6a] {
        assert_eq!(board.get(register), 0, "register {register:02x}");
    }
    for register in [0x1b, 0x70, 0x7f, 0xc0, 0xff] {
        board.set(register, 0xff);
        assert_eq!(board.get(register), 0, "register {register:02x} is not there");
    }
}

/// The bits that stay as they are written, register by register; what is storage alone keeps every value.
#[test]
fn what_is_kept() {
    let mut board = board();
    let kept = [
        (0x02, 0xff),
        (0x04, 0xff),
        (0x05, 0xff),
        (0x07, 0xff),
        (0x08, 0xff),
        (0x0a, 0xff),
        (0x0f, 0xff),
        (0x10, 0xff),
        (0x11, 0xff),
        (0x19, 0xff),
        (0x1a, 0xff),
        (0x1c, 0xff),
        (0x1f, 0xe0),
        (0x20, 0xff),
        (0x5f, 0xff),
        (0x60, 0xbd),
        (0x62, 0xff),
        (0x63, 0x01),
        (0x64, 0xff),
        (0x65, 0xff),
        (0x66, 0xff),
        (0x67, 0xff),
        (0x68, 0x81),
        (0x84, 0xf0),
        (0x85, 0x03),
        (0x86, 0xc0),
        (0x88, 0xff),
        (0x8b, 0xff),
        (0x8c, 0xff),
        (0x8e, 0xff),
        (0x90, 0xff),
        (0x93, 0x7c),
        (0x95, 0xff),
        (0x96, 0xff),
        (0x97, 0xff),
        (0x98, 0xff),
        (0x9a, 0x9f),
        (0x9f, 0xff),
    ];
    board.config_write(0x04, &[2, 0]);
    for (register, mask) in kept {
        let (before, other) = (board.get(register), board.get(0x5e));
        for value in [0x00, 0x55, 0xaa, 0xff] {
            board.set(register, value);
            let got = board.get(register);
            // Copies of PCI's bits in the rest.
            assert_eq!(got & mask, value & mask, "register {register:02x}");
            assert_eq!(got & !mask, before & !mask, "register {register:02x}");
        }
        board.set(register, before);
        assert_eq!(board.get(0x5e), other);
    }
    for register in [0x0d, 0x0e, 0x12, 0x13, 0x18, 0x69, 0x6a, 0x6b, 0x80, 0x81, 0x82, 0x83, 0x92, 0x94] {
        let before = board.get(register);
        board.set(register, 0x5a);
        assert_eq!(board.get(register), before, "register {register:02x} is read-only");
    }
}

#[test]
fn chip_reset_keeps_memories() {
    let mut board = board();
    board.set(0x20, 0x11);
    board.set(0x5f, 0x22);
    board.set(0x90, 5);
    board.set(0xa0, 0x33);
    board.load(&[0x1234_5678 & 0x1fff_ffff]);
    board.set(0x10, 0xff);
    board.set(0x87, 0x01);
    assert_eq!(board.get(0x87), 0x05);
    board.set(0x87, 0x04);
    assert_eq!(board.get(0x87), 0x04);
    assert_eq!((board.get(0x20), board.get(0x5f), board.get(0x10), board.get(0x90)), (0x11, 0x22, 0, 0));
    board.set(0x90, 5);
    assert_eq!(board.get(0xa0), 0x33);
    board.set(0x60, 0x91);
    assert_eq!(board.get_all(0x61, 1), [0x78]);
}

#[test]
fn sequencer_memory() {
    let mut board = board();
    let program: Vec<u32> = (0..512).map(|n| n * 0x0001_0203).collect();
    board.load(&program);
    board.set(0x60, 0x91);
    for word in &program {
        let bytes = [0; 4].map(|_| board.get(0x61));
        assert_eq!(u32::from_le_bytes(bytes), *word);
    }
    assert_eq!((board.get(0x62), board.get(0x63)), (0, 0), "it wraps");
    // The byte index begins anew with an address, and with LOADRAM.
    board.get(0x61);
    board.set(0x62, 1);
    assert_eq!(board.get(0x61), program[1] as u8);
    board.set(0x60, 0x90);
    assert_eq!(board.get(0x61), 0);
    board.set(0x60, 0x91);
    assert_eq!(board.get(0x61), program[1] as u8);
}

#[test]
fn command_block_pages() {
    let mut board = board();
    for page in 0..=255 {
        board.set(0x90, page);
        board.set(0xa0, page);
        board.set(0xbf, !page);
    }
    for page in 0..=255u8 {
        board.set(0x90, page);
        assert_eq!((board.get(0x90), board.get(0xa0), board.get(0xbf)), (page, page | 0xf0, !page & 0x0f));
    }
    // With SCBAUTO any place in the window is the next byte.
    board.set(0x90, 3);
    board.set(0x9a, 0x80 | 30);
    for value in 1..=4 {
        board.set(0xa5, value);
    }
    assert_eq!(board.get(0x9a), 0x82);
    board.set(0x9a, 0);
    assert_eq!([0xbe, 0xbf, 0xa0, 0xa1].map(|at| board.get(at)), [1, 2, 3, 4]);
}

#[test]
fn fifo_by_hand() {
    let mut board = board();
    board.set(0x93, 0x01);
    assert_eq!(board.get(0x93), 0, "FIFORESET is a strobe");
    for n in 0..=255u8 {
        let expected = match n {
            0 => 0x29,
            1..=7 => 0x28,
            8..=23 => 0x08,
            _ => 0x0c,
        };
        assert_eq!(board.get(0x94), expected, "{n} bytes");
        board.set(0x99, n);
    }
    assert_eq!(board.get(0x94), 0x0e);
    board.set(0x99, 0xee);
    for n in 0..=255u8 {
        assert_eq!(board.get(0x99), n);
    }
    assert_eq!((board.get(0x94), board.get(0x99)), (0x29, 0));
}

#[test]
fn queues() {
    let mut board = board();
    for n in 0..20 {
        board.set(0x9b, 0x30 + n);
        board.set(0x9d, 0x40 + n);
    }
    assert_eq!((board.get(0x9c), board.get(0x9e)), (16, 16));
    for n in 0..16 {
        assert_eq!((board.get(0x9b), board.get(0x9d)), (n, n));
    }
    assert_eq!((board.get(0x9b), board.get(0x9d), board.get(0x9c), board.get(0x9e)), (0, 0xff, 0, 0));
}

#[test]
fn host_dma() {
    let mut board = board();
    board.poke(0x12345, &[1, 2, 3, 4, 5]);
    board.set_all(0x88, &0x12345u32.to_le_bytes());
    board.set_all(0x8c, &[5, 0, 0]);
    assert_eq!(board.get_all(0x14, 4), 0x12345u32.to_le_bytes(), "SHADDR is loaded as well");
    board.set(0x93, 0x0d);
    assert_eq!((board.get(0x93), board.get(0x94) & 8, board.get(0x8c)), (0x0c, 8, 0));
    board.set(0x93, 0x04);
    assert_eq!([0; 5].map(|_| board.get(0x99)), [1, 2, 3, 4, 5]);
    // And back, to another place.
    board.set(0x93, 0x01);
    for n in [9, 8, 7] {
        board.set(0x99, n);
    }
    board.set_all(0x88, &0x20001u32.to_le_bytes());
    board.set_all(0x8c, &[3, 0, 0]);
    board.set(0x93, 0x0a);
    assert_eq!((board.get(0x94), board.memory(0x20000, 5)), (0x29, vec![0, 9, 8, 7, 0]));
    // Without the bus master bit nothing moves until it comes back.
    board.config_write(0x04, &[3]);
    board.set(0x93, 0x00);
    board.set_all(0x88, &0x12345u32.to_le_bytes());
    board.set_all(0x8c, &[5, 0, 0]);
    board.set(0x93, 0x0d);
    assert_eq!((board.get(0x94) & 9, board.get(0x84) & 1), (1, 0));
    board.config_write(0x04, &[7]);
    assert_eq!((board.get(0x94) & 9, board.get(0x84) & 1), (8, 1));
    // Nobody answers: a master abort in the status register, which a driver clears.
    board.set_all(0x88, &0xfff0_0000u32.to_le_bytes());
    board.set_all(0x8c, &[5, 0, 0]);
    board.set(0x93, 0x0d);
    assert_eq!(board.config_read(0x04) >> 24, 0x22);
    board.config_write(0x07, &[0x20]);
    assert_eq!(board.config_read(0x04) >> 24, 0x02);
    // HADDLDSEL: bits 39:32.
    board.set(0x85, 1);
    board.set(0x88, 0x12);
    board.set(0x85, 0);
    board.set_all(0x88, &[0; 4]);
    board.set(0x85, 1);
    assert_eq!(board.get(0x88), 0x12);
}

#[test]
fn small_wonders() {
    let mut board = board();
    for value in 0..=255u8 {
        board.set(0x6e, value);
        assert_eq!(board.get(0x6e), 1 << (value >> 4 & 7));
    }
    board.set(0x84, 0xff);
    assert_eq!(board.get(0x84), 0xf9, "SERR# and bus master are on");
    board.set(0x86, 0xff);
    assert_eq!(board.get(0x86), 0xc0);
    board.set(0x01, 0xff);
    assert_eq!(board.get(0x01), 0xcc, "strobes read 0");
    board.set(0x60, 0xfd);
    assert_eq!(board.get(0x60) & 0x40, 0, "PAUSEDIS is the sequencer's");
    board.set(0x1f, 0);
    assert_eq!(board.get(0x1f), 0);
    board.set(0x91, 0xff);
    assert_eq!(board.get(0x91), 0, "INTSTAT is the sequencer's to write");
}

#[test]
fn the_pin() {
    let mut board = board();
    let pin = |board: &Board| board.aic.levels().get(Aic7870::INTA);
    // A software interrupt, gated by INTEN, POWRDN and the bus master bit.
    for value in 0..128u8 {
        board.set(0x87, value & !0x01 | 0x04);
        let expected = value & 0x10 != 0 && value & 0x42 == 0x02;
        assert_eq!(pin(&board), expected, "HCNTRL {value:02x}");
    }
    board.set(0x87, 0x16);
    assert!(pin(&board));
    board.config_write(0x04, &[3]);
    assert!(!pin(&board));
    board.config_write(0x04, &[7]);
    assert!(pin(&board));
    board.set(0x87, 0x06);
    // The sequencer's causes, each cleared by its bit of CLRINT.
    for (bit, pauses) in [(1, true), (2, false)] {
        board.load(&[u32::from(0x91u8) << 16 | 0x6a00 | bit | 0x70, 0x1001_6500]);
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
        board.advance(20_000);
        assert!(pin(&board));
        let code = if bit & 1 != 0 { 0x70 } else { 0 };
        assert_eq!(board.get(0x91), bit as u8 | code);
        assert_eq!(board.get(0x87) & 4 != 0, pauses);
        board.set(0x92, bit as u8);
        assert_eq!((pin(&board), board.get(0x91)), (false, 0));
        board.set(0x87, 0x06);
    }
}

#[test]
fn serial_memory() {
    let mut board = Board::new(Aic7870Config { id: 6, ..Aic7870Config::default() }, &[]);
    board.set(0x1e, 0x20);
    assert_eq!(board.get(0x1e) & 0x10, 0x10, "granted");
    for (address, word) in seeprom_image(6, false).iter().enumerate() {
        board.set(0x1e, 0x20);
        board.set(0x1e, 0x28);
        for bit in (0..9).rev() {
            let data = if (0b110 << 6 | address) >> bit & 1 != 0 { 2 } else { 0 };
            board.set(0x1e, 0x28 | data);
            board.set(0x1e, 0x2c | data);
        }
        board.set(0x1e, 0x28);
        let mut value = 0u32;
        for _ in 0..17 {
            value = value << 1 | u32::from(board.get(0x1e) & 1);
            board.set(0x1e, 0x2c);
            board.set(0x1e, 0x28);
        }
        assert_eq!(value as u16, *word, "word {address}");
    }
    // Lines of the board: bank 0, bank 1.
    for (bank, lines) in [(0x00, 0x80), (0x20, 0xc0)] {
        for value in [0x18, 0x18 | bank, 0x08 | bank, bank, 0x0c] {
            board.set(0x1d, value);
        }
        assert_eq!(board.get(0x1d) & 0xc0, lines);
        board.set(0x1d, 0);
    }
}

#[test]
fn machine_reset() {
    let mut board = board();
    board.set(0x20, 0x77);
    board.set(0x87, 0x16);
    assert!(board.line());
    board.aic.reset(ResetKind::Bus);
    assert!(!board.line());
    assert_eq!(board.aic.windows().1.len(), 1);
    board.config_write(0x14, &0xfeb0_0000u32.to_le_bytes());
    board.config_write(0x04, &[7]);
    assert_eq!((board.get(0x87), board.get(0x20)), (5, 0x77));
}
