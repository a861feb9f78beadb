//! The SCSI bus, driven by hand with the sequencer paused: what an option ROM does. Messages, phases, resets, errors of media.

mod common;

use common::hand::{COMMAND, DATA_IN, Hand, MESSAGE_IN, MESSAGE_OUT, STATUS, begin, hand};
use common::{Random, Trouble, disks, no_targets};
use slotone_aic7870::{Aic7870, Aic7870Config, Timing};
use slotone_block::layers::{ErrorLayer, On};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, MediumInfo};
use slotone_bus::Device;
use slotone_scsi::{CdRom, Disk, DiskConfig, Fault, FaultKind, Faulty};

#[test]
fn commands_by_hand() {
    let mut hand = hand();
    assert!(!hand.select(1, true) && !hand.select(7, true) && !hand.select(9, true));
    let inquiry = hand.good(0, &[0x12, 0, 0, 0, 36, 0], &[]);
    assert_eq!((inquiry.len(), inquiry[0]), (36, 0));
    let data: Vec<u8> = (0..512u32).map(|n| (n * 3) as u8).collect();
    hand.good(2, &[0x0a, 0, 0, 200, 1, 0], &data);
    assert_eq!(hand.good(2, &[0x08, 0, 0, 200, 1, 0], &[]), data);
    // Without ATN there is no IDENTIFY: the command comes first.
    assert!(hand.select(0, false));
    assert_eq!(hand.phase(), Some(COMMAND));
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
    // A logical unit that is not there.
    assert!(hand.select(0, true));
    hand.send(&[0x83]);
    assert_eq!(hand.carry_on(&[0x12, 0, 0, 0, 36, 0], &[]).data[0], 0x7f);
}

/// SDONE is up with SPIORDY as well, DMADONE is not.
#[test]
fn a_byte_by_hand_is_done() {
    let mut hand = hand();
    assert!(hand.select(0, true));
    assert_eq!(hand.phase(), Some(0xa0));
    hand.board.set(0x08, 5);
    assert_eq!(hand.board.get(0x0b) & 0x07, 0x06);
    hand.board.set(0x10, 0x04);
    assert!(hand.board.line(), "it can interrupt");
    hand.board.set(0x10, 0);
    hand.board.set(0x0b, 0x02);
    assert_eq!(hand.board.get(0x0b) & 0x07, 0, "CLRSPIORDY");
    hand.board.set(0x08, 0);
    assert_eq!(hand.board.get(0x0b) & 0x07, 0x05, "STCNT and HCNT are 0");
    hand.board.set(0x01, 0);
    hand.board.set(0x01, 0x08);
    assert_eq!(hand.board.get(0x0b) & 0x07, 0x07);
}

#[test]
fn transfer_by_dma_with_residual() {
    let mut hand = hand();
    assert!(hand.select(0, true));
    hand.send(&[0x80]);
    for byte in [0x08, 0, 0, 7, 1, 0] {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, byte);
    }
    assert_eq!(hand.phase(), Some(DATA_IN));
    let board = &mut hand.board;
    board.set_all(0x88, &0x100003u32.to_le_bytes());
    board.set_all(0x8c, &[0x58, 2, 0]);
    board.set_all(0x08, &[0x58, 2, 0]);
    board.set(0x93, 0x39);
    assert_eq!(board.get(0x0c) & 0x10, 0x10, "PHASEMIS ends it");
    assert_eq!(board.get(0x94) & 1, 1);
    assert_eq!(board.get_all(0x08, 3), [88, 0, 0], "600 - 512");
    assert_eq!(board.get_all(0x14, 4), (0x100203u32).to_le_bytes());
    board.set(0x93, 0);
    assert_eq!(board.memory(0x100003, 512), 7u32.to_le_bytes().repeat(128));
    assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
}

#[test]
fn negotiation() {
    for wide in [false, true] {
        let mut hand = Hand::new(Aic7870Config { wide, ..Aic7870Config::default() }, &[0]);
        hand.ready(0);
        assert!(hand.select(0, true));
        hand.send(&[0x80, 1, 2, 3, 1]);
        let mut reply = Vec::new();
        while hand.phase() == Some(MESSAGE_IN) {
            reply.push(hand.get(MESSAGE_IN));
        }
        assert_eq!(reply, [1, 2, 3, u8::from(wide)]);
        assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
        assert!(hand.select(0, true));
        hand.send(&[0x80, 1, 3, 1, 12, 255]);
        // Attention while the reply comes: another message follows it.
        let mut reply = Vec::new();
        for _ in 0..5 {
            assert_eq!(hand.phase(), Some(MESSAGE_IN));
            if reply.len() == 4 {
                hand.board.set(0x03, 0xf0);
            }
            reply.push(hand.get(MESSAGE_IN));
        }
        assert_eq!(reply, [1, 3, 1, 25, if wide { 8 } else { 15 }]);
        hand.send(&[0x07]);
        assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
        // What nobody knows is rejected, extended or not.
        for unknown in [&[0x80, 0x10][..], &[0x80, 1, 6, 4, 9, 0, 8, 1, 2], &[0x80, 0x23, 1]] {
            assert!(hand.select(0, true));
            hand.send(unknown);
            assert_eq!(hand.phase(), Some(MESSAGE_IN));
            assert_eq!(hand.get(MESSAGE_IN), 0x07);
            assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
        }
    }
}

#[test]
fn several_commands_at_once() {
    let mut hand = hand();
    // No reselections until all are out.
    for (id, tag) in [(0, 11), (2, 22), (0, 33)] {
        begin(&mut hand, id, tag, 0x20, tag);
        hand.board.set(0x00, 0);
    }
    assert_eq!(hand.board.aic.commands_in_flight(), 3);
    hand.board.advance(1_000_000);
    hand.board.save_restore();
    hand.board.set(0x00, 0x10);
    for (id, tag) in [(0, 11u8), (2, 22), (0, 33)] {
        assert_eq!(hand.reselected(), (id, vec![0x80, 0x20, tag]));
        let result = hand.carry_on(&[], &[]);
        let mark = u32::from(tag) | u32::from(id) << 24;
        assert_eq!((result.status, &result.data[..]), (Some(0), &mark.to_le_bytes().repeat(128)[..]));
    }
    assert_eq!(hand.board.aic.commands_in_flight(), 0);
}

#[test]
fn ordered_commands_wait() {
    let mut hand = hand();
    hand.board.set(0x00, 0);
    for (tag, kind) in [(1, 0x20), (2, 0x22), (3, 0x20), (4, 0x21)] {
        begin(&mut hand, 0, tag, kind, tag);
        hand.board.set(0x00, 0);
    }
    hand.board.advance(2_000_000);
    hand.board.set(0x00, 0x10);
    let mut order = Vec::new();
    for _ in 0..4 {
        order.push(hand.reselected().1[2]);
        assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
    }
    assert_eq!(order, [1, 4, 2, 3], "HEAD OF QUEUE does not wait, SIMPLE waits for ORDERED");
}

#[test]
fn aborts() {
    for (message, left) in
        [(&[0x80, 0x06][..], 1), (&[0x80, 0x20, 2, 0x0d], 3), (&[0x0c], 1), (&[0x80, 0x0e], 1)]
    {
        let mut hand = hand();
        for tag in 1..=3 {
            begin(&mut hand, 0, tag, 0x20, tag);
            hand.board.set(0x00, 0);
        }
        begin(&mut hand, 2, 1, 0x20, 1);
        hand.board.set(0x00, 0);
        assert!(hand.select(0, true));
        hand.board.set(0x00, 0);
        hand.send(message);
        assert_eq!(hand.phase(), None, "the bus is free at once");
        hand.board.set(0x0c, 0x08);
        assert_eq!(hand.board.aic.commands_in_flight(), left, "{message:02x?}");
        hand.board.advance(1_000_000);
        hand.board.set(0x00, 0x10);
        for _ in 0..left {
            let (_, messages) = hand.reselected();
            assert!(left == 1 || messages[2] != 2);
            assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
        }
        hand.board.set(0x00, 0);
        if message == [0x0c] {
            assert_eq!(hand.command(0, &[0; 6], &[]).status, Some(2));
            assert_eq!(hand.sense(0), (6, 0x29, 3), "BUS DEVICE RESET");
        }
        hand.good(0, &[0; 6], &[]);
    }
}

/// A machine with slow media answers requests whose commands were given up meanwhile, and whose tags are in use again.
#[test]
fn answers_to_what_was_given_up_are_nobodys() {
    for (message, left) in
        [(&[0x80, 0x06][..], 0), (&[0x80, 0x20, 2, 0x0d], 2), (&[0x0c], 0), (&[0x80, 0x0e], 0)]
    {
        let mut hand = hand();
        hand.board.trouble = Trouble::Random(Random(5), 40_000_000);
        for tag in 1..=3 {
            begin(&mut hand, 0, tag, 0x20, tag);
            hand.board.set(0x00, 0);
        }
        assert!(hand.select(0, true));
        hand.board.set(0x00, 0);
        hand.send(message);
        assert_eq!(hand.phase(), None);
        hand.board.set(0x0c, 0x08);
        assert_eq!(hand.board.aic.commands_in_flight(), left, "{message:02x?}");
        if message == [0x0c] {
            assert_eq!((hand.command(0, &[0; 6], &[]).status, hand.sense(0)), (Some(2), (6, 0x29, 3)));
        }
        begin(&mut hand, 0, 2, 0x20, 40);
        hand.board.set(0x00, 0);
        hand.board.advance(100_000_000);
        hand.board.set(0x00, 0x10);
        for _ in 0..=left {
            let tag = hand.reselected().1[2];
            let sector = if tag == 2 { 40u32 } else { tag.into() };
            let result = hand.carry_on(&[], &[]);
            assert_eq!((result.status, result.data), (Some(0), sector.to_le_bytes().repeat(128)));
        }
        assert_eq!(hand.board.aic.commands_in_flight(), 0);
    }
}

#[test]
fn attention_in_the_middle_of_data() {
    let mut hand = hand();
    assert!(hand.select(0, true));
    hand.send(&[0x80]);
    for byte in [0x08, 0, 0, 7, 1, 0] {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, byte);
    }
    for _ in 0..10 {
        assert_eq!(hand.phase(), Some(DATA_IN));
        hand.get(DATA_IN);
    }
    assert_eq!(hand.phase(), Some(DATA_IN));
    hand.board.set(0x03, 0x50);
    assert_eq!(hand.board.get(0x03) & 0x10, 0x10);
    hand.board.set(0x03, 0x40);
    assert_eq!(hand.board.get(0x03) & 0x10, 0x10, "only CLRATNO drops it");
    hand.get(DATA_IN);
    // No operation: the data go on where they were.
    hand.send(&[0x08]);
    assert_eq!(hand.carry_on(&[], &[]).data.len(), 512 - 11);
    assert_eq!(hand.board.aic.commands_in_flight(), 0);
}

#[test]
fn a_rejected_disconnection() {
    let mut hand = hand();
    assert!(hand.select(0, true));
    hand.send(&[0xc0]);
    for byte in [0x08, 0, 0, 7, 1, 0] {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, byte);
    }
    assert_eq!(hand.phase(), Some(MESSAGE_IN));
    hand.board.set(0x03, 0xf0);
    assert_eq!(hand.get(MESSAGE_IN), 4);
    hand.send(&[0x07]);
    let result = hand.carry_on(&[], &[]);
    assert_eq!((result.status, result.data.len()), (Some(0), 512));
}

#[test]
fn bus_reset() {
    let mut hand = hand();
    begin(&mut hand, 0, 1, 0x20, 1);
    hand.board.set(0x00, 0);
    assert!(hand.select(2, true));
    hand.board.set(0x00, 0x5b);
    assert_eq!(hand.board.get(0x00), 1, "all but SCSIRSTO");
    assert_eq!(
        (hand.board.get(0x03), hand.board.get(0x0b) & 0x70, hand.board.get(0x0c) & 0x20),
        (0, 0, 0x20)
    );
    hand.board.advance(25_000);
    hand.board.set(0x00, 0);
    hand.board.set(0x0c, 0xaf);
    assert_eq!(hand.board.aic.commands_in_flight(), 0);
    for id in [0, 2] {
        assert_eq!(hand.command(id, &[0; 6], &[]).status, Some(2));
        assert_eq!(hand.sense(id).0, 6);
    }
}

#[test]
fn interrupts_drive_a_paused_adapter() {
    let mut hand = hand();
    hand.board.set(0x11, 0x01);
    assert!(hand.select(0, true));
    assert!(hand.board.line(), "REQINIT");
    assert_eq!(hand.board.get(0x91), 4);
    hand.board.set(0x0c, 0x01);
    assert!(!hand.board.line(), "the level goes with its cause");
    // The REQ is still there, and a byte makes another.
    hand.board.set(0x03, MESSAGE_OUT);
    hand.board.set(0x0c, 0x40);
    hand.board.set(0x06, 0x80);
    assert!(hand.board.line());
    hand.board.set(0x92, 4);
    assert!(hand.board.line(), "it comes back while its cause stands");
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
    assert!(!hand.board.line());
    hand.board.set(0x11, 0x80);
    assert!(!hand.select(4, true));
}

#[test]
fn a_full_queue() {
    let mut hand = hand();
    hand.board.set(0x00, 0);
    for tag in 0..64 {
        begin(&mut hand, 0, tag, 0x20, 1);
        hand.board.set(0x00, 0);
    }
    assert!(hand.select(0, true));
    hand.board.set(0x00, 0);
    hand.send(&[0xc0, 0x20, 200]);
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0x28));
    assert_eq!(hand.command(0, &[0; 6], &[]).status, Some(0x08), "BUSY without a tag");
    // A tag that is in use.
    assert!(hand.select(0, true));
    hand.board.set(0x00, 0);
    hand.send(&[0xc0, 0x20, 5]);
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0x28));
}

fn with_medium(medium: impl BlockBackend + 'static) -> Hand {
    with_blocks(medium, 512)
}

/// A disk with blocks of `block` bytes.
fn with_blocks(medium: impl BlockBackend + 'static, block: u32) -> Hand {
    let info = MediumInfo { name: String::new(), ..medium.info().clone() };
    let make = move || {
        let mut targets = no_targets();
        targets[0] = Some(Box::new(Disk::new(DiskConfig { block, ..DiskConfig::new(&info) })));
        targets[5] = Some(Box::new(CdRom::new()));
        Aic7870::new(Aic7870Config::default(), targets)
    };
    let mut hand = Hand::new(Aic7870Config::default(), &[]);
    hand.board.aic = make();
    hand.board.make = Box::new(make);
    hand.board.media[0] = Some(Box::new(medium));
    hand.board.config_write(0x14, &0xfeb0_0000u32.to_le_bytes());
    hand.board.config_write(0x04, &[7]);
    hand.board.set(0x87, 0x06);
    hand.board.set(0x02, 0x24);
    hand.ready(0);
    hand
}

#[test]
fn a_bad_sector_is_found() {
    let layer = ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(333 * 512..334 * 512, On::Both);
    let mut hand = with_medium(layer);
    // READ(10) of 256 sectors from 200: 133 are good.
    let result = hand.command(0, &[0x28, 0, 0, 0, 0, 200, 0, 1, 0, 0], &[]);
    assert_eq!((result.status, result.data.len()), (Some(2), 133 * 512));
    let data = hand.good(0, &[3, 0, 0, 0, 18, 0], &[]);
    assert_eq!((data[0], data[2] & 15, &data[3..7], data[12]), (0xf0, 3, &[0, 0, 1, 77][..], 0x11));
    // VERIFY has no data, and finds it as well.
    assert_eq!(hand.command(0, &[0x2f, 0, 0, 0, 0, 200, 0, 1, 0, 0], &[]).status, Some(2));
    assert_eq!(hand.sense(0).0 & 15, 3);
    assert_eq!(hand.command(0, &[0x0a, 0, 1, 77, 1, 0], &[0; 512]).status, Some(2));
    assert_eq!(hand.sense(0).0 & 15, 3);
    hand.good(0, &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]);
}

/// The same where the initiator's data come first: they are written or compared up to the bad sector.
#[test]
fn a_bad_sector_is_found_by_writes() {
    let data: Vec<u8> = (0..40 * 512u32).map(|n| (n / 512) as u8 ^ n as u8).collect();
    let [before, after] = [&data[..13 * 512], &data[14 * 512..]];
    for fua in [0, 8] {
        let mut hand =
            with_medium(ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(53 * 512..54 * 512, On::Both));
        let write = |hand: &mut Hand, cdb: &[u8], data: &[u8]| {
            assert_eq!(hand.command(0, cdb, data).status, Some(2), "{cdb:02x?}");
            let sense = hand.good(0, &[3, 0, 0, 0, 18, 0], &[]);
            assert_eq!((sense[0], sense[2] & 15, &sense[3..7]), (0xf0, 3, &[0, 0, 0, 53][..]), "{cdb:02x?}");
        };
        // WRITE(10) and WRITE SAME(10) of 40 sectors from 40.
        write(&mut hand, &[0x41, 0, 0, 0, 0, 40, 0, 0, 40, 0], &[0x11; 512]);
        assert_eq!(hand.good(0, &[0x28, 0, 0, 0, 0, 52, 0, 0, 1, 0], &[]), [0x11; 512]);
        write(&mut hand, &[0x2a, fua, 0, 0, 0, 40, 0, 0, 40, 0], &data);
        assert_eq!(hand.good(0, &[0x28, 0, 0, 0, 0, 40, 0, 0, 13, 0], &[]), before, "what lies before it");
        assert_eq!(hand.good(0, &[0x28, 0, 0, 0, 0, 54, 0, 0, 26, 0], &[]), [0; 26 * 512], "not behind");
        hand.good(0, &[0x2a, 0, 0, 0, 0, 54, 0, 0, 26, 0], after);
        // VERIFY(10) that compares.
        write(&mut hand, &[0x2f, 2, 0, 0, 0, 40, 0, 0, 40, 0], &data);
        hand.good(0, &[0x2f, 2, 0, 0, 0, 54, 0, 0, 26, 0], after);
        let mut other = data.clone();
        other[12 * 512] ^= 1;
        assert_eq!(hand.command(0, &[0x2f, 2, 0, 0, 0, 40, 0, 0, 40, 0], &other).status, Some(2));
        assert_eq!(hand.sense(0), (0xe, 0x1d, 0), "MISCOMPARE comes first");
    }
}

#[test]
fn of_a_bad_block_nothing_comes() {
    for block in [1024u32, 4096] {
        // The last sector of block 50.
        let sector = u64::from(51 * block / 512 - 1);
        let bad = sector * 512..(sector + 1) * 512;
        let layer = ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(bad, On::Both);
        let mut hand = with_blocks(layer, block);
        // READ(10) of 100 blocks from 30.
        let result = hand.command(0, &[0x28, 0, 0, 0, 0, 30, 0, 0, 100, 0], &[]);
        assert_eq!((result.status, result.data.len()), (Some(2), 20 * block as usize));
        let data = hand.good(0, &[3, 0, 0, 0, 18, 0], &[]);
        assert_eq!((data[0], data[2] & 15, &data[3..7], data[12]), (0xf0, 3, &[0, 0, 0, 50][..], 0x11));
    }
}

#[test]
fn a_failed_command_waits_for_its_sense_data() {
    let layer = ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(20 * 512..22 * 512, On::Both);
    let mut hand = with_medium(layer);
    hand.board.set(0x00, 0);
    for tag in [20, 21, 22] {
        begin(&mut hand, 0, tag, 0x20, tag);
        hand.board.set(0x00, 0);
    }
    hand.board.advance(2_000_000);
    for expected in [20u8, 21] {
        hand.board.set(0x00, 0x10);
        let (_, messages) = hand.reselected();
        assert_eq!(messages[2], expected);
        assert_eq!(hand.carry_on(&[], &[]).status, Some(2));
        hand.board.set(0x00, 0);
        // Nobody else speaks before this one's reason is known.
        hand.board.advance(1_000_000);
        let data = hand.good(0, &[3, 0, 0, 0, 18, 0], &[]);
        assert_eq!((data[2] & 15, data[6]), (3, expected));
        hand.board.advance(1_000_000);
    }
    hand.board.set(0x00, 0x10);
    assert_eq!(hand.reselected().1[2], 22);
    assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
}

/// Nor does who keeps the bus destroy the reason of a command whose status has not come.
#[test]
fn a_failed_command_keeps_its_sense_data_from_who_does_not_wait() {
    let layer = ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(20 * 512..22 * 512, On::Both);
    let mut hand = with_medium(layer);
    for messages in [&[0x80][..], &[0x80, 0x20, 7]] {
        begin(&mut hand, 0, 1, 0x20, 20);
        hand.board.set(0x00, 0);
        hand.board.advance(2_000_000);
        assert!(hand.select(0, true));
        hand.board.set(0x00, 0);
        hand.send(messages);
        assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(8), "BUSY");
        hand.board.set(0x00, 0x10);
        assert_eq!(hand.reselected().1[2], 1);
        assert_eq!(hand.carry_on(&[], &[]).status, Some(2));
        hand.board.set(0x00, 0);
        let data = hand.good(0, &[3, 0, 0, 0, 18, 0], &[]);
        assert_eq!((data[2] & 15, data[6]), (3, 20));
    }
}

#[test]
fn a_cd_comes_and_goes() {
    let mut hand = with_medium(MemoryDisk::new(1 << 20));
    hand.command(5, &[0; 6], &[]);
    assert_eq!(hand.command(5, &[0; 6], &[]).status, Some(2));
    assert_eq!(hand.sense(5).1, 0x3a, "no medium");
    let disc = MemoryDisk::from_bytes(&[0x5a; 8192]);
    hand.board.aic.target_as::<CdRom>(5).expect("a CD drive").insert(disc.info().capacity);
    hand.board.media[5] = Some(Box::new(disc));
    assert!(hand.board.aic.target_as::<Disk>(5).is_none());
    assert_eq!(hand.command(5, &[0; 6], &[]).status, Some(2));
    assert_eq!(hand.sense(5), (6, 0x28, 0));
    let data = hand.good(5, &[0x28, 0, 0, 0, 0, 1, 0, 0, 2, 0], &[]);
    assert_eq!(data, [0x5a; 4096]);
    hand.board.aic.target_as::<CdRom>(5).expect("a CD drive").eject();
    assert_eq!(hand.command(5, &[0; 6], &[]).status, Some(2));
}

/// Two disks, that at 0 with a fault.
fn with_fault(kind: FaultKind, access: u64, times: u64) -> Hand {
    let make = move || {
        let mut aic = Aic7870::new(Aic7870Config::default(), disks(&[0, 2]).0);
        let fault = Fault { kind, access, times };
        assert!(aic.replace_target(0, |target| Box::new(Faulty::new(target, vec![fault]))));
        assert!(!aic.replace_target(1, |_| panic!("nobody is there")));
        aic
    };
    let mut hand = Hand::new(Aic7870Config::default(), &[0, 2]);
    let mut aic = make();
    std::mem::swap(&mut hand.board.aic, &mut aic);
    hand.board.make = Box::new(make);
    hand.board.config_write(0x14, &0xfeb0_0000u32.to_le_bytes());
    hand.board.config_write(0x04, &[7]);
    hand.board.set(0x87, 0x06);
    hand.board.set(0x02, 0x24);
    hand.ready(0);
    hand.ready(2);
    hand
}

#[test]
fn a_command_that_hangs_is_there_until_it_is_aborted() {
    let aborts: [&[u8]; 5] = [&[0x80, 0x20, 1, 0x0d], &[0x80, 0x06], &[0x80, 0x0e], &[0x0c], &[]];
    for (n, abort) in aborts.into_iter().enumerate() {
        let mut hand = with_fault(FaultKind::Hang, 1, 1);
        begin(&mut hand, 0, 1, 0x20, 1);
        hand.board.set(0x00, 0);
        begin(&mut hand, 0, 2, 0x20, 2);
        hand.board.set(0x00, 0);
        begin(&mut hand, 2, 3, 0x20, 3);
        // The others end as if nothing were the matter.
        for (id, tag) in [(0, 2u8), (2, 3)] {
            hand.board.set(0x00, 0x10);
            assert_eq!(hand.reselected(), (id, vec![0x80, 0x20, tag]));
            let data = hand.carry_on(&[], &[]).data;
            assert_eq!(data, (u32::from(tag) | u32::from(id) << 24).to_le_bytes().repeat(128));
        }
        assert_eq!(hand.board.aic.commands_in_flight(), 1);
        hand.board.idle();
        hand.board.advance(3_600_000_000_000);
        hand.board.save_restore();
        hand.board.idle();
        assert_eq!(hand.board.get(0x0b) & 0x20, 0, "nobody reselects");
        assert_eq!(hand.board.aic.commands_in_flight(), 1, "an hour later, and in another adapter");
        hand.board.set(0x00, 0);
        if abort.is_empty() {
            hand.board.set(0x00, 0x01);
            hand.board.set(0x00, 0);
        } else {
            assert!(hand.select(0, true));
            hand.send(abort);
            assert_eq!(hand.phase(), None);
        }
        assert_eq!(hand.board.aic.commands_in_flight(), 0, "abort {n}");
        if n >= 3 {
            assert_eq!(hand.command(0, &[0; 6], &[]).status, Some(2));
            assert_eq!(hand.sense(0), (6, 0x29, if n == 3 { 3 } else { 0 }));
        }
        assert_eq!(hand.good(0, &[0x08, 0, 0, 1, 1, 0], &[]), 1u32.to_le_bytes().repeat(128));
    }
}

#[test]
fn a_command_that_hangs_without_leave_to_disconnect_holds_the_bus() {
    let mut hand = with_fault(FaultKind::Hang, 1, 1);
    assert!(hand.select(0, true));
    hand.send(&[0x80]);
    for byte in [0x08, 0, 0, 7, 1, 0] {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, byte);
    }
    hand.board.advance(60_000_000_000);
    hand.board.save_restore();
    assert_eq!(hand.board.get(0x03) & 0x43, 0x00, "no REQ, no data phase");
    assert_eq!(hand.board.get(0x03) & 0x04, 0x04, "BSY");
    // Attention is noticed all the same.
    hand.board.set(0x03, 0x10);
    hand.send(&[0x06]);
    assert_eq!(hand.phase(), None);
    hand.board.set(0x0c, 0x08);
    assert_eq!(hand.good(0, &[0x08, 0, 0, 7, 1, 0], &[]), 7u32.to_le_bytes().repeat(128));
}

#[test]
fn a_target_that_vanishes_ends_what_it_began() {
    let mut hand = with_fault(FaultKind::Vanish, 2, 3);
    begin(&mut hand, 0, 1, 0x20, 1);
    hand.board.set(0x00, 0);
    begin(&mut hand, 0, 2, 0x20, 2);
    hand.board.set(0x00, 0);
    assert!(!hand.select(0, true));
    assert!(hand.select(2, false));
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
    hand.board.save_restore();
    assert!(!hand.select(0, true));
    for tag in [1u8, 2] {
        hand.board.set(0x00, 0x10);
        assert_eq!(hand.reselected(), (0, vec![0x80, 0x20, tag]));
        assert_eq!(hand.carry_on(&[], &[]).data, u32::from(tag).to_le_bytes().repeat(128));
        hand.board.set(0x00, 0);
    }
    assert!(!hand.select(0, true));
    assert_eq!(hand.good(0, &[0x08, 0, 0, 7, 1, 0], &[]), 7u32.to_le_bytes().repeat(128));
}

#[test]
fn damaged_states_change_nothing() {
    let timing = Timing { access: 10_000_000, ..Timing::default() };
    let mut hand = Hand::new(Aic7870Config { timing, ..Aic7870Config::default() }, &[0]);
    hand.ready(0);
    begin(&mut hand, 0, 1, 0x20, 1);
    let good = hand.board.saved();
    let mut refused = 0;
    for at in 0..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let mut r = slotone_bus::state::StateReader::new(&bad);
            if hand.board.aic.restore(&mut r).is_err() {
                refused += 1;
                assert_eq!(hand.board.saved(), good);
            } else {
                hand.board
                    .aic
                    .restore(&mut slotone_bus::state::StateReader::new(&good))
                    .expect("the good one");
            }
        }
    }
    assert!(refused > 100, "{refused}");
}

/// SCSI-2, 6.2.1: a message that has begun is finished before ATN is honoured, and a reselection's IDENTIFY comes first in any case.
#[test]
fn attention_in_the_middle_of_a_message() {
    let mut hand = hand();
    assert!(hand.select(0, true));
    hand.send(&[0x80, 1, 3, 1, 0xff, 15]);
    let mut reply = Vec::new();
    for _ in 0..5 {
        assert_eq!(hand.phase(), Some(MESSAGE_IN));
        hand.board.set(0x03, 0xf0);
        reply.push(hand.get(MESSAGE_IN));
    }
    assert_eq!(reply, [1, 3, 1, 0xff, 15]);
    hand.send(&[0x08]);
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
    // Two replies to one string of messages: ATN comes between them.
    assert!(hand.select(0, true));
    hand.send(&[0x80, 1, 2, 3, 0, 1, 3, 1, 50, 7]);
    let mut reply = Vec::new();
    for _ in 0..4 {
        assert_eq!(hand.phase(), Some(MESSAGE_IN));
        hand.board.set(0x03, 0xf0);
        reply.push(hand.get(MESSAGE_IN));
    }
    assert_eq!(reply, [1, 2, 3, 0]);
    hand.send(&[0x08]);
    let result = hand.carry_on(&[0; 6], &[]);
    assert_eq!((result.status, result.messages), (Some(0), vec![1, 3, 1, 50, 7, 0]));
}

#[test]
fn attention_with_a_reselection() {
    let mut hand = hand();
    begin(&mut hand, 0, 9, 0x20, 3);
    hand.board.set(0x00, 0x14); // ENRSELI, ENAUTOATNI
    let mut messages = Vec::new();
    for _ in 0..1_000 {
        if hand.board.get(0x0b) & 0x20 != 0 {
            break;
        }
        hand.board.advance(1_000);
    }
    assert_eq!((hand.board.get(0x0b) & 0x20, hand.board.get(0x19)), (0x20, 0x00));
    assert_eq!(hand.board.get(0x03) & 0x14, 0x14, "BSY, ATN");
    hand.board.set(0x01, 0x1a);
    hand.board.set(0x0c, 0x08);
    hand.board.set(0x0b, 0x20);
    assert_eq!(hand.phase(), Some(MESSAGE_IN));
    messages.push(hand.get(MESSAGE_IN));
    hand.send(&[0x08]);
    while hand.phase() == Some(MESSAGE_IN) {
        messages.push(hand.get(MESSAGE_IN));
    }
    assert_eq!(messages, [0x80, 0x20, 9]);
    let result = hand.carry_on(&[], &[]);
    assert_eq!((result.status, result.data.len()), (Some(0), 512));
}

/// A rejection means the last message, not a negotiation that ended before.
#[test]
fn what_is_rejected() {
    let agreed = |hand: &Hand| {
        let mut lines = Vec::new();
        hand.board.aic.inspect(&mut |name: &str, value| {
            if name == "target0" {
                lines.push(format!("{value:?}"));
            }
        });
        lines
    };
    let mut hand = hand();
    assert!(hand.select(0, true));
    hand.send(&[0x80, 1, 3, 1, 50, 15]);
    for _ in 0..5 {
        assert_eq!(hand.phase(), Some(MESSAGE_IN));
        hand.get(MESSAGE_IN);
    }
    for _ in 0..6 {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, 0);
    }
    assert_eq!(hand.phase(), Some(STATUS));
    hand.get(STATUS);
    assert_eq!(hand.phase(), Some(MESSAGE_IN));
    hand.board.set(0x03, 0xf0);
    assert_eq!(hand.get(MESSAGE_IN), 0);
    hand.send(&[0x07]);
    assert_eq!(hand.phase(), None);
    hand.board.set(0x0c, 0x08);
    assert_eq!(agreed(&hand).len(), 1, "the agreement stays");
    // The reply itself can be rejected, and BUS DEVICE RESET and a bus reset end an agreement.
    for end in [&[1, 3, 1, 60, 9, 0x07][..], &[0x0c]] {
        assert!(hand.select(0, true));
        let (message, reject) = if end.len() > 1 { end.split_at(5) } else { (end, &[][..]) };
        hand.send(&[&[0x80], message].concat());
        if !reject.is_empty() {
            for n in 0..5 {
                assert_eq!(hand.phase(), Some(MESSAGE_IN));
                if n == 4 {
                    hand.board.set(0x03, 0xf0);
                }
                hand.get(MESSAGE_IN);
            }
            hand.send(reject);
        }
        if hand.phase().is_some() {
            assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
        }
        hand.board.set(0x0c, 0x08);
        assert!(agreed(&hand).is_empty());
        if !reject.is_empty() {
            assert!(hand.select(0, true));
            hand.send(&[0x80, 1, 3, 1, 50, 15]);
            hand.carry_on(&[0; 6], &[]);
            assert_eq!(agreed(&hand).len(), 1);
        }
    }
}

/// ENSELO that is set while a target holds the bus, or has just won it, is carried out at the next bus free.
#[test]
fn a_selection_waits_for_a_reselection() {
    let mut hand = hand();
    begin(&mut hand, 0, 9, 0x20, 3);
    let free = hand.board.now;
    hand.board.set(0x00, 0);
    hand.board.advance(1_000_000);
    hand.board.set(0x00, 0x10);
    let (id, messages) = hand.reselected();
    assert_eq!((id, messages), (0, vec![0x80, 0x20, 9]));
    assert!(hand.board.now > free + 4_000);
    hand.board.set(0x05, 0x27);
    hand.board.set(0x00, 0x58);
    assert_eq!(hand.board.get(0x0b) & 0x50, 0, "neither selecting nor selected");
    hand.board.advance(100_000);
    assert_eq!(hand.board.get(0x0b) & 0x50, 0);
    assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
    hand.board.advance(10_000);
    assert_eq!(hand.board.get(0x0b) & 0x40, 0x40, "SELDO");
    hand.board.set(0x00, 0x10);
    hand.board.set(0x01, 0x1a);
    hand.board.set(0x0c, 0x08);
    hand.send(&[0x80]);
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
}

/// Nobody reselects within 4 us of a bus free: a program sees BUSFREE first.
#[test]
fn a_reselection_keeps_its_distance() {
    let timing = Timing { access: 6_000, sector: 0, disconnect_after: 0, ..Timing::default() };
    let mut hand = Hand::new(Aic7870Config { timing, ..Aic7870Config::default() }, &[0]);
    hand.ready(0);
    for wait in [0, 20_000] {
        begin(&mut hand, 0, 9, 0x20, 3);
        // Its data may be there before the bus is free or long after.
        hand.board.set(0x00, 0);
        begin(&mut hand, 0, 8, 0x20, 4);
        let free = hand.board.now;
        hand.board.set(0x00, 0x10);
        hand.board.advance(wait);
        while hand.board.get(0x0b) & 0x20 == 0 {
            hand.board.advance(100);
        }
        assert!(hand.board.now >= free + 4_000, "{} ns", hand.board.now - free);
        hand.reselected();
        assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
        hand.reselected();
        assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
    }
}

/// A wide bus has 16 IDs; a narrow one does not answer above 7.
#[test]
fn wide_and_narrow_addresses() {
    for wide in [false, true] {
        let mut hand = Hand::new(Aic7870Config { wide, ..Aic7870Config::default() }, &[0, 9, 15]);
        hand.ready(0);
        for id in [9, 15] {
            if wide {
                hand.ready(id);
                begin(&mut hand, id, 1, 0x20, 7);
                assert_eq!(hand.reselected(), (id, vec![0x80, 0x20, 1]));
                assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
            } else {
                assert!(!hand.select(id, true));
            }
        }
    }
}

/// One initiator's reservation keeps another's commands out; here both are one adapter under two IDs.
#[test]
fn a_reservation_on_the_bus() {
    let mut hand = hand();
    let as_6 = |hand: &mut Hand, cdb: &[u8]| {
        assert!(hand.select_as(6, 0, true));
        hand.send(&[0x80]);
        hand.carry_on(cdb, &[])
    };
    assert_eq!(as_6(&mut hand, &[0; 6]).status, Some(2), "each has a unit attention of its own");
    assert_eq!(as_6(&mut hand, &[0; 6]).status, Some(0));
    hand.good(0, &[0x16, 0, 0, 0, 0, 0], &[]);
    for cdb in [[0; 6], [0x08, 0, 0, 1, 1, 0], [0x16, 0, 0, 0, 0, 0]] {
        assert_eq!(as_6(&mut hand, &cdb).status, Some(0x18), "RESERVATION CONFLICT");
    }
    assert_eq!(as_6(&mut hand, &[0x12, 0, 0, 0, 36, 0]).status, Some(0));
    assert_eq!(as_6(&mut hand, &[0x17, 0, 0, 0, 0, 0]).status, Some(0), "a release by another does nothing");
    assert_eq!(as_6(&mut hand, &[0; 6]).status, Some(0x18));
    // BUS DEVICE RESET takes it away, from whomever it comes.
    assert!(hand.select(0, true));
    hand.send(&[0x80, 0x0c]);
    assert_eq!(hand.phase(), None);
    assert_eq!(as_6(&mut hand, &[0; 6]).status, Some(2), "a unit attention");
    assert_eq!(as_6(&mut hand, &[0; 6]).status, Some(0));
}
