//! A program of ours with all pages in use at a time, hardware queues and transfers by hand: commands in any order on several disks,
//! under troubles of any kind.

mod common;

use std::collections::BTreeMap;

use common::queue_program::{self, Work};
use common::{Board, Random, Trouble};
use proptest::prelude::*;
use slotone_aic7870::{Aic7870Config, Latency, Timing};

const IDS: [u8; 3] = [0, 3, 6];

fn board(config: Aic7870Config) -> Board {
    let mut board = Board::new(config, &IDS);
    queue_program::start(&mut board);
    for id in IDS {
        let ready = Work { id, cdb: vec![0; 6], address: 0, len: 0, out: false, slow: false };
        for status in [2, 0] {
            // The unit attention of power-on; the sense data are not asked for.
            queue_program::queue(&mut board, 5, &ready);
            assert_eq!(queue_program::done(&mut board), [(5, Some(status), 0)]);
        }
    }
    board.idle();
    board
}

/// Reads and writes of up to 20 sectors; which page they lie in, and what memory they use, is drawn.
fn works(n: usize, random: &mut Random) -> Vec<(Work, Vec<u8>)> {
    (0..n as u32)
        .map(|n| {
            let id = IDS[random.below(3) as usize];
            let slow = random.below(4) == 0;
            let blocks = 1 + random.below(if slow { 1 } else { 20 }) as u8;
            let out = random.below(2) == 0;
            // Nobody writes where another reads.
            let lba = if out { 1_000 + n * 32 } else { random.below(40) as u32 };
            let [_, high, mid, low] = lba.to_be_bytes();
            let cdb = vec![if out { 0x0a } else { 0x08 }, high, mid, low, blocks, 0];
            let address = 0x100000 + n * 0x8000 + random.below(0x4000) as u32;
            let len = u32::from(blocks) * 512;
            let data = match out {
                true => (0..len).map(|at| (at.wrapping_mul(0x9e37_79b1) >> 24) as u8 ^ n as u8).collect(),
                false => (lba..lba + u32::from(blocks))
                    .flat_map(|at| (at | u32::from(id) << 24).to_le_bytes().repeat(128))
                    .collect(),
            };
            // Room for more than comes shows in the count.
            let spare = if out || slow { 0 } else { random.below(100) as u32 };
            (Work { id, cdb, address, len: len + spare, out, slow }, data)
        })
        .collect()
}

/// Runs all of `works`, at most `depth` at a time, in pages that are drawn; what they did is right.
fn run(board: &mut Board, works: &[(Work, Vec<u8>)], depth: usize, pages: &mut Random) {
    let mut free: Vec<u8> = (0..16).collect();
    let mut waiting: BTreeMap<u8, usize> = BTreeMap::new();
    let mut next = 0;
    while next < works.len() || !waiting.is_empty() {
        while next < works.len() && waiting.len() < depth {
            let page = free.swap_remove(pages.below(free.len() as u64) as usize);
            let (work, data) = &works[next];
            if work.out {
                board.poke(work.address.into(), data);
            }
            #[cfg(feature = "trace")]
            board.recorder.name(page);
            queue_program::queue(board, page, work);
            waiting.insert(page, next);
            next += 1;
        }
        for (page, status, left) in queue_program::done(board) {
            let n = waiting.remove(&page).expect("a page that was queued");
            let (work, data) = &works[n];
            assert_eq!((status, left), (Some(0), work.len - data.len() as u32), "{work:?}");
            if !work.out {
                assert!(board.memory(work.address.into(), data.len()) == *data, "{work:?}");
            }
            free.push(page);
        }
    }
    // What was written is on the media.
    for (work, data) in works.iter().filter(|(work, _)| work.out) {
        let [_, high, mid, low, ..] = work.cdb[..] else { unreachable!() };
        let at = u64::from(u32::from_be_bytes([0, high, mid, low])) * 512;
        let mut got = vec![0; data.len()];
        let medium = board.media[usize::from(work.id)].as_deref().expect("a disk");
        slotone_block::read_exact(medium, at, &mut got).expect("in range");
        assert!(got == *data, "{work:?}");
    }
}

#[test]
fn one_at_a_time_and_all_pages() {
    for depth in [1, 4, 16] {
        let mut random = Random(depth as u64);
        let works = works(48, &mut random);
        let mut board = board(Aic7870Config::default());
        run(&mut board, &works, depth, &mut random);
    }
}

#[test]
fn nobody_there() {
    let mut board = board(Aic7870Config::default());
    let work = Work { id: 4, cdb: vec![0; 6], address: 0, len: 0, out: false, slow: false };
    queue_program::queue(&mut board, 15, &work);
    assert_eq!(queue_program::done(&mut board), [(15, None, 0)]);
}

/// What is on the bus when nothing disturbs some commands, and when everything does.
fn traces(
    seed: u64,
    count: usize,
    depth: usize,
    latency: Latency,
    access: u64,
    late: u64,
    step_all: bool,
) -> [String; 2] {
    let timing = Timing { access, sector: 0, ..Timing::default() };
    let plain = Aic7870Config { timing, ..Aic7870Config::default() };
    let config = Aic7870Config { latency, ..plain };
    let works = works(count, &mut Random(seed));
    [
        (plain, Trouble::None),
        (
            config,
            match step_all {
                true => Trouble::EveryInstruction,
                false => Trouble::Random(Random(seed), late),
            },
        ),
    ]
    .map(|(config, trouble)| {
        let mut board = board(config);
        #[cfg(feature = "trace")]
        board.recorder.clear();
        let other_pages = seed ^ u64::from(!matches!(trouble, Trouble::None));
        board.trouble = trouble;
        run(&mut board, &works, depth, &mut Random(other_pages));
        board.be_quiet();
        board.idle();
        #[cfg(feature = "trace")]
        return board.recorder.text_by_nexus();
        #[cfg(not(feature = "trace"))]
        String::new()
    })
}

/// Media that are late one after the other: the sequencer's slices of work, ahead of the machine, do not add up (it stops in time).
#[test]
fn late_media_do_not_run_it_ahead() {
    let [expected, got] = traces(16101488632694893299, 10, 10, Latency::default(), 300_000, 200_000, false);
    assert_eq!(got, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn troubles_change_nothing(
        seed: u64,
        count in 1..40usize,
        depth in 1..17usize,
        request in prop_oneof![Just(0u64), 1..2_000u64],
        burst in prop_oneof![Just(0u32), 1..700u32],
        access in prop_oneof![Just(0u64), Just(4_000), Just(300_000)],
        late in prop_oneof![Just(0u64), Just(200_000)],
        step_all in prop::bool::weighted(0.2),
    ) {
        let [expected, got] = traces(seed, count, depth, Latency { request, burst, seed }, access, late, step_all);
        prop_assert_eq!(got, expected);
    }
}
