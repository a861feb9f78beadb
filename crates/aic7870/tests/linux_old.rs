//! The sequencer program of Linux's older driver (5.x, kernels 2.2 to 3.13), unmodified, with a small driver around it: another layout of command
//! blocks, other queues, other ways to stop, to send messages and to fail than 6.x has. The program is not ours and not in the tree:
//! SLOTONE_AIC7XXX_OLD_SEQ names `drivers/scsi/aic7xxx_old/aic7xxx_seq.c` of a kernel's source; without it these tests say so.

mod common;

use common::driver::{self, Driver, End, read10, write10};
use common::linux::Shipped;
use common::linux_old::OldLinux;
use common::{Board, Random, Trouble};
use slotone_aic7870::asm::{assemble, disassemble};
use slotone_aic7870::{Aic7870Config, Latency, Timing};

const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 36, 0];
const READY: [u8; 6] = [0; 6];

/// A part of the test, and its name.
type Part = (&'static str, fn(&Shipped));

/// One test, as it needs a file that no package registry has.
#[test]
fn the_older_driver() {
    let Some(shipped) = OldLinux::find() else {
        println!(
            "SKIP the older driver's sequencer program: SLOTONE_AIC7XXX_OLD_SEQ is not set; it names drivers/scsi/aic7xxx_old/aic7xxx_seq.c of a kernel's source, 2.4 to 3.13"
        );
        return;
    };
    let all: [Part; 14] = [
        ("the_program_comes_back_from_our_disassembler", the_program_comes_back_from_our_disassembler),
        ("inquiry", inquiry),
        ("a_program_that_waits_comes_to_rest", a_program_that_waits_comes_to_rest),
        ("nobody_there", nobody_there),
        ("reads_and_writes_in_segments", reads_and_writes_in_segments),
        ("a_large_transfer", a_large_transfer),
        ("fewer_bytes_than_asked_for", fewer_bytes_than_asked_for),
        ("more_bytes_than_there_is_room", more_bytes_than_there_is_room),
        ("sense_data", sense_data),
        ("forty_commands_on_two_disks", forty_commands_on_two_disks),
        ("untagged_commands_that_disconnect", untagged_commands_that_disconnect),
        ("negotiation", negotiation),
        ("resets_and_aborts", resets_and_aborts),
        ("under_troubles", under_troubles),
    ];
    for (name, part) in all {
        println!("{name}");
        part(&shipped);
    }
}

/// A board with a running driver; the unit attentions of power-on are behind it.
fn attached(shipped: &Shipped, config: Aic7870Config, ids: &[u8]) -> (Board, OldLinux) {
    let program = shipped.program(config.wide, 0);
    let mut board = Board::new(config, ids);
    let mut linux = OldLinux::attach(&mut board, &program, config.wide);
    for id in ids {
        let tag = linux.queue(&mut board, *id, &READY, &[], false);
        assert_eq!(linux.finish(&mut board, 1), [(tag, End::Status(2))]);
        // Its own reset of the bus.
        let sense = linux.sense(&board, tag);
        assert_eq!((sense[2], sense[12]), (6, 0x29), "unit attention");
        assert_eq!(linux.run(&mut board, *id, &READY, &[], false), End::Complete);
    }
    (board, linux)
}

fn slow(access: u64) -> Aic7870Config {
    Aic7870Config { timing: Timing { access, ..Timing::default() }, ..Aic7870Config::default() }
}

fn the_program_comes_back_from_our_disassembler(shipped: &Shipped) {
    for wide in [false, true] {
        let program = shipped.program(wide, 0);
        println!("{} instructions", program.len());
        assert!(program.len() > 400 && program.len() <= 512);
        let text: String = program.iter().map(|word| disassemble(*word) + "\n").collect();
        assert_eq!(assemble(&text).expect("our own text"), program);
    }
}

fn inquiry(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[0]);
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100001, 36)], false), End::Complete);
    let data = board.memory(0x100001, 36);
    assert_eq!((data[0], data[4]), (0, 31));
}

fn a_program_that_waits_comes_to_rest(shipped: &Shipped) {
    // Its idle loop sets and clears PAUSEDIS all the time.
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[0]);
    board.idle();
    let before = board.aic.instructions();
    board.advance(1_000_000_000);
    assert_eq!(board.aic.instructions(), before);
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100001, 36)], false), End::Complete);
    board.idle();
    // The same while a command is disconnected.
    let (mut board, mut linux) = attached(shipped, slow(50_000_000), &[0]);
    board.idle();
    let before = board.aic.instructions();
    linux.run(&mut board, 0, &read10(3, 1), &[(0x100000, 512)], true);
    let used = board.aic.instructions() - before;
    assert!(used < 5_000, "{used} instructions for one command of 50 ms");
}

fn nobody_there(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[2]);
    for _ in 0..20 {
        assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Timeout);
        assert_eq!(linux.run(&mut board, 2, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
    }
    assert_eq!(linux.run(&mut board, 7, &INQUIRY, &[(0x100000, 36)], false), End::Timeout, "ourselves");
}

fn reads_and_writes_in_segments(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[1]);
    driver::reads_and_writes_in_segments(&mut board, &mut linux);
    assert!(linux.residuals.is_empty());
}

fn a_large_transfer(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[1]);
    driver::a_large_transfer(&mut board, &mut linux);
}

fn fewer_bytes_than_asked_for(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[0]);
    let mut left = |segments: &[_]| {
        let tag = linux.queue(&mut board, 0, &INQUIRY, segments, false);
        assert_eq!(linux.finish(&mut board, 1), [(tag, End::Complete)]);
        linux.residuals.remove(&tag)
    };
    assert_eq!(left(&[(0x100000, 100)]), Some((1, 64)));
    assert_eq!(left(&[(0x100000, 10), (0x101000, 10), (0x102000, 40)]), Some((1, 24)));
    assert_eq!(left(&[(0x100000, 30), (0x101000, 10), (0x102000, 40)]), Some((2, 4)));
    assert_eq!(left(&[(0x100000, 36)]), None);
}

fn more_bytes_than_there_is_room(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[0]);
    for segments in [&[(0x100000, 20)][..], &[(0x100000, 5), (0x100005, 15)]] {
        board.poke(0x100000, &[0xee; 64]);
        linux.run(&mut board, 0, &INQUIRY, segments, false);
        assert_eq!(std::mem::take(&mut linux.told), [0xe], "DATA_OVERRUN");
        assert_eq!(board.memory(0x100014, 44), [0xee; 44]);
    }
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
}

fn sense_data(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[0]);
    for tagged in [false, true] {
        let tag = linux.queue(&mut board, 0, &[0xff, 0, 0, 0, 0, 0], &[], tagged);
        assert_eq!(linux.finish(&mut board, 1), [(tag, End::Status(2))]);
        let sense = linux.sense(&board, tag);
        assert_eq!((sense[0] & 0x7f, sense[2], sense[12]), (0x70, 5, 0x20));
        assert_eq!(linux.run(&mut board, 0, &READY, &[], false), End::Complete);
    }
}

fn forty_commands_on_two_disks(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, slow(1_000_000), &[0, 3]);
    driver::forty_commands_on_two_disks(&mut board, &mut linux);
}

fn untagged_commands_that_disconnect(shipped: &Shipped) {
    let ids = [0, 1, 2, 3, 4, 5, 6];
    let (mut board, mut linux) = attached(shipped, slow(1_000_000), &ids);
    let start = board.now;
    for id in ids {
        linux.queue(&mut board, id, &read10(id.into(), 1), &[(0x100000 + u32::from(id) * 512, 512)], false);
    }
    assert!(linux.finish(&mut board, 7).iter().all(|(_, end)| *end == End::Complete));
    for id in ids {
        let data = board.memory(0x100000 + u64::from(id) * 512, 512);
        assert_eq!(data, (u32::from(id) * 0x0100_0001).to_le_bytes().repeat(128));
    }
    assert!(board.now - start < 4_000_000);
}

fn negotiation(shipped: &Shipped) {
    let config = Aic7870Config { wide: true, ..Aic7870Config::default() };
    let (mut board, mut linux) = attached(shipped, config, &[0]);
    linux.say = vec![1, 2, 3, 1];
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
    linux.say = vec![1, 3, 1, 25, 8];
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], true), End::Complete);
    assert_eq!(linux.replies, [vec![1, 2, 3, 1], vec![1, 3, 1, 25, 8]]);
    assert_eq!(board.memory(0x100004, 1), [31]);
    // On a narrow bus.
    let (mut board, mut linux) = attached(shipped, Aic7870Config::default(), &[0]);
    linux.say = vec![1, 3, 1, 12, 15];
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
    assert_eq!(linux.replies, [vec![1, 3, 1, 25, 15]]);
    // PPR is newer than these disks.
    linux.say = vec![1, 6, 4, 10, 0, 15, 0, 0];
    assert_eq!(linux.run(&mut board, 0, &INQUIRY, &[(0x100000, 36)], false), End::Complete);
    assert_eq!(linux.told, [6], "MESSAGE REJECT");
}

fn resets_and_aborts(shipped: &Shipped) {
    let (mut board, mut linux) = attached(shipped, slow(100_000_000), &[0, 1]);
    // BUS DEVICE RESET, while commands of two disks are disconnected.
    let mut tags: Vec<u8> = (0..3)
        .map(|n| linux.queue(&mut board, 0, &read10(n, 1), &[(0x100000 + n * 512, 512)], true))
        .collect();
    let other = linux.queue(&mut board, 1, &read10(9, 1), &[(0x110000, 512)], true);
    board.advance(2_000_000);
    linux.say = vec![0x0c];
    tags.push(linux.queue(&mut board, 0, &READY, &[], true));
    let mut done = linux.finish(&mut board, 4);
    done.sort_by_key(|(tag, _)| *tag);
    tags.sort_unstable();
    assert_eq!(done, tags.iter().map(|t| (*t, End::Aborted)).collect::<Vec<_>>());
    assert_eq!(linux.finish(&mut board, 1), [(other, End::Complete)]);
    let tag = linux.queue(&mut board, 0, &READY, &[], false);
    assert_eq!(linux.finish(&mut board, 1), [(tag, End::Status(2))]);
    assert_eq!(linux.sense(&board, tag)[12..14], [0x29, 3]);
    // ABORT of an untagged command that never gets going.
    linux.say = vec![0x06];
    assert_eq!(linux.run(&mut board, 0, &READY, &[], false), End::Aborted);
    assert_eq!(linux.run(&mut board, 0, &READY, &[], false), End::Complete);
    board.idle();
}

/// Commands in any order with targets that hesitate, media that are late, a sequencer that is stopped, stepped, saved and restored.
fn under_troubles(shipped: &Shipped) {
    for seed in 1..25u64 {
        let mut random = Random(seed);
        let latency = Latency {
            request: [0, 100, 700, 4_000][random.below(4) as usize],
            burst: [0, 7, 64, 513][random.below(4) as usize],
            seed,
        };
        let access = [0, 3_000, 300_000][random.below(3) as usize];
        let timing = Timing { access, sector: 0, ..Timing::default() };
        let wide = seed % 2 == 0;
        let config = Aic7870Config { timing, latency, wide, ..Aic7870Config::default() };
        let (mut board, mut linux) = attached(shipped, config, &[0, 1]);
        board.trouble = Trouble::Random(Random(seed), 200_000);
        for round in 0..4u32 {
            let data: Vec<u8> = (0..8192u32).map(|n| (n ^ (n >> 5) ^ (round * 77)) as u8).collect();
            board.poke(0x200001, &data);
            let cut = 1 + random.below(4000) as u32;
            let segments = [(0x200001, cut), (0x200001 + cut, 3000), (0x200001 + cut + 3000, 5192 - cut)];
            linux.say = if round == 1 { vec![1, 3, 1, 25, 8] } else { Vec::new() };
            let tag = linux.queue(&mut board, 1, &write10(200 + round * 16, 16), &segments, round > 1);
            assert_eq!(linux.finish(&mut board, 1), [(tag, End::Complete)], "seed {seed}");
            for n in 0..6u32 {
                let at = 0x300000 + n * 0x10000;
                let list = [(at, 5000), (at + 5000, 3192)];
                linux.queue(&mut board, (n & 1) as u8, &read10(200 + round * 16, 16), &list, true);
            }
            let done = linux.finish(&mut board, 6);
            assert!(done.iter().all(|(_, end)| *end == End::Complete), "seed {seed}: {done:?}");
            for n in [1, 3, 5] {
                assert!(board.memory(0x300000 + n * 0x10000, 8192) == data, "seed {seed}");
            }
            let tag = linux.queue(&mut board, 0, &[0xff, 0, 0, 0, 0, 0], &[], true);
            assert_eq!(linux.finish(&mut board, 1), [(tag, End::Status(2))]);
            assert_eq!(linux.sense(&board, tag)[12], 0x20);
        }
        board.be_quiet();
        board.idle();
    }
}
