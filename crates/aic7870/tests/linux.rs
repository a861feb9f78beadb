//! The sequencer program that Linux ships, unmodified, with a small driver around it. The program is not ours and not in the tree:
//! SLOTONE_AIC7XXX_SEQ names `drivers/scsi/aic7xxx/aic7xxx_seq.h_shipped` of a kernel's source; without it these tests say so.

mod common;

use common::Board;
use common::driver::{self, Driver, End, read10, write10};
use common::linux::{Linux, Shipped};
use slotone_aic7870::asm::{assemble, disassemble};
use slotone_aic7870::{Aic7870Config, Latency, Timing};

const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 36, 0];
const READY: [u8; 6] = [0; 6];

fn shipped() -> Option<Shipped> {
    let found = Shipped::find();
    if found.is_none() {
        println!(
            "SKIP the kernel's sequencer program: SLOTONE_AIC7XXX_SEQ is not set; cargo xtask guests aic7xxx-seq"
        );
    }
    found
}

/// A board with a running driver; the unit attentions of power-on are behind it.
fn attached(config: Aic7870Config, ids: &[u8]) -> Option<(Board, Linux)> {
    let shipped = shipped()?;
    let mut board = Board::new(config, ids);
    let mut linux = Linux::attach(&mut board, &shipped, config.wide);
    for id in ids {
        assert_eq!(linux.run(&mut board, *id, &READY, &[], false), End::Status(2), "unit attention");
        assert_eq!(linux.run(&mut board, *id, &READY, &[], false), End::Complete);
    }
    Some((board, linux))
}

#[test]
fn the_program_comes_back_from_our_disassembler() {
    let Some(shipped) = shipped() else { return };
    for (wide, cache_line) in [(false, 0), (true, 0), (false, 32), (true, 32)] {
        let program = shipped.program(wide, cache_line);
        println!("{} instructions", program.len());
        assert!(program.len() > 400 && program.len() <= 512);
        let text: String = program.iter().map(|word| disassemble(*word) + "\n").collect();
        assert_eq!(assemble(&text).expect("our own text"), program);
    }
}

#[test]
fn inquiry() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[0]) else { return };
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100001, 36)], false), End::Complete);
    let data = board.memory(0x100001, 36);
    assert_eq!((data[0], data[4]), (0, 31));
}

#[test]
fn nobody_there() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[2]) else { return };
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Timeout);
    assert_eq!(linux.run(&mut board, 2, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
    assert_eq!(linux.run(&mut board, 7, &INQUIRY, &[(0x100000, 36)], false), End::Timeout, "ourselves");
}

#[test]
fn reads_and_writes_in_segments() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[1]) else { return };
    driver::reads_and_writes_in_segments(&mut board, &mut linux);
}

#[test]
fn a_large_transfer() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[1]) else { return };
    driver::a_large_transfer(&mut board, &mut linux);
}

#[test]
fn fewer_bytes_than_asked_for() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[0]) else { return };
    let tag = linux.queue(&mut board, 0, &INQUIRY, &[(0x100000, 100)], false);
    assert_eq!(linux.finish(&mut board, 1), [(tag, End::Complete)]);
    assert_eq!(linux.residual(tag), Some(64));
    let tag = linux.queue(&mut board, 0, &INQUIRY, &[(0x100000, 10), (0x101000, 10), (0x102000, 40)], false);
    assert_eq!(linux.finish(&mut board, 1), [(tag, End::Complete)]);
    assert_eq!(linux.residual(tag), Some(24));
    let tag = linux.queue(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false);
    assert_eq!(linux.finish(&mut board, 1), [(tag, End::Complete)]);
    assert_eq!(linux.residual(tag), None);
}

#[test]
fn more_bytes_than_there_is_room() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[0]) else { return };
    board.poke(0x100000, &[0xee; 64]);
    linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 20)], false);
    assert!(linux.trouble.contains(&0x90), "DATA_OVERRUN");
    assert_eq!(board.memory(0x100014, 44), [0xee; 44]);
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
}

#[test]
fn sense_data() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[0]) else { return };
    let tag = linux.queue(&mut board, 0, &[0xff, 0, 0, 0, 0, 0], &[], true);
    assert_eq!(linux.finish(&mut board, 1), [(tag, End::Status(2))]);
    let sense = linux.sense(&board, tag);
    assert_eq!((sense[0] & 0x7f, sense[2], sense[12]), (0x70, 5, 0x20));
    assert_eq!(linux.run(&mut board, 0, &READY, &[], false), End::Complete);
}

#[test]
fn forty_commands_on_two_disks() {
    let timing = Timing { access: 1_000_000, ..Timing::default() };
    let config = Aic7870Config { timing, ..Aic7870Config::default() };
    let Some((mut board, mut linux)) = attached(config, &[0, 3]) else { return };
    driver::forty_commands_on_two_disks(&mut board, &mut linux);
}

#[test]
fn sixteen_byte_commands() {
    let Some((mut board, mut linux)) = attached(Aic7870Config::default(), &[0]) else { return };
    let cdb = [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0];
    assert_eq!(linux.run(&mut board, 0, &cdb, &[(0x100000, 1024)], true), End::Complete);
    assert_eq!(board.memory(0x100000, 4), 9u32.to_le_bytes());
}

#[test]
fn negotiation() {
    let config = Aic7870Config { wide: true, ..Aic7870Config::default() };
    let Some((mut board, mut linux)) = attached(config, &[0]) else { return };
    linux.negotiate = vec![1, 2, 3, 1];
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], true), End::Complete);
    linux.negotiate = vec![1, 3, 1, 25, 15];
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], true), End::Complete);
    assert_eq!(linux.replies, [vec![1, 2, 3, 1], vec![1, 3, 1, 25, 8]]);
}

/// The whole set again with targets that hesitate at every byte and give data in small bursts.
#[test]
fn hesitating_targets() {
    for (request, burst, seed) in [(100, 0, 1), (700, 64, 2), (4_000, 7, 3), (20_000, 513, 4)] {
        for access in [0, 3_000, 300_000] {
            let timing = Timing { access, sector: 0, ..Timing::default() };
            let latency = Latency { request, burst, seed };
            let config = Aic7870Config { timing, latency, ..Aic7870Config::default() };
            let Some((mut board, mut linux)) = attached(config, &[0, 1]) else { return };
            assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100001, 36)], false), End::Complete);
            let data: Vec<u8> = (0..8192u32).map(|n| (n ^ n >> 5) as u8).collect();
            board.poke(0x200001, &data);
            let segments = [(0x200001, 1001), (0x2003ea, 3000), (0x200fa2, 4191)];
            assert_eq!(segments.iter().map(|s| s.1).sum::<u32>(), 8192);
            assert_eq!(linux.run(&mut board, 1, &write10(200, 16), &segments, true), End::Complete);
            let mut tags = Vec::new();
            for n in 0..6u32 {
                let at = 0x300000 + n * 0x10000;
                let list = [(at, 5000), (at + 5000, 3192)];
                tags.push(linux.queue(&mut board, (n & 1) as u8, &read10(200, 16), &list, true));
            }
            board.advance(50_000);
            board.save_restore();
            assert!(linux.finish(&mut board, 6).iter().all(|(_, end)| *end == End::Complete));
            for n in [1, 3, 5] {
                assert!(board.memory(0x300000 + n * 0x10000, 8192) == data, "{request} {burst} {access}");
            }
            let tag = linux.queue(&mut board, 0, &[0xff, 0, 0, 0, 0, 0], &[], true);
            assert_eq!(linux.finish(&mut board, 1), [(tag, End::Status(2))]);
            assert_eq!(linux.sense(&board, tag)[12], 0x20);
            board.idle();
        }
    }
}
