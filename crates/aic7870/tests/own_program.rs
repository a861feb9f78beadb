//! A program of our own with command blocks of another layout; targets that hesitate, hosts that pause.

mod common;

use common::Board;
use common::program::{self, Work};
use proptest::prelude::*;
use slotone_aic7870::{Aic7870Config, Latency, Timing};

const READ: Work<'static> =
    Work { id: 1, cdb: &[], address: 0x100000, len: 0, out: false, tag: 0, disconnect: false };

fn block(code: u8, lba: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = vec![code, 0];
    cdb.extend(lba.to_be_bytes());
    cdb.push(0);
    cdb.extend(blocks.to_be_bytes());
    cdb.push(0);
    cdb
}

fn board(config: Aic7870Config) -> Board {
    let mut board = Board::new(config, &[1]);
    program::start(&mut board);
    // The unit attention of power-on.
    assert_eq!(program::run(&mut board, Work { cdb: &[0; 6], ..READ }), (Some(2), 0));
    board
}

#[test]
fn commands() {
    for disconnect in [false, true] {
        let mut board = board(Aic7870Config::default());
        let read = |lba, blocks| (block(0x28, lba, blocks), u32::from(blocks) * 512);
        let (cdb, len) = read(5, 3);
        let work = Work { cdb: &cdb, len, disconnect, tag: 9, ..READ };
        assert_eq!(program::run(&mut board, work), (Some(0), 0));
        let expected: Vec<u8> = (5..8u32).flat_map(|n| (n | 1 << 24).to_le_bytes().repeat(128)).collect();
        assert!(board.memory(0x100000, 1536) == expected);
        // Less than there is room for; more.
        assert_eq!(program::run(&mut board, Work { len: len + 100, ..work }), (Some(0), 100));
        board.poke(0x100000, &[0xee; 2048]);
        assert_eq!(program::run(&mut board, Work { len: 100, ..work }), (Some(0), 0));
        assert!(
            board.memory(0x100000, 100) == expected[..100] && board.memory(0x100064, 1900) == [0xee; 1900]
        );
        // Nobody there.
        assert_eq!(program::run(&mut board, Work { id: 2, ..work }).0, None);
        // Out and in again, with more than one piece of the medium.
        let data: Vec<u8> = (0..1_200_000u32).map(|n| (n ^ n >> 8) as u8).collect();
        let cdb = block(0x2a, 50, 2343);
        board.poke(0x200000, &data);
        let out = Work { cdb: &cdb, address: 0x200000, len: 2343 * 512, out: true, disconnect, ..READ };
        assert_eq!(program::run(&mut board, out), (Some(0), 0));
        let cdb = block(0x28, 50, 2343);
        let back = Work { cdb: &cdb, address: 0x400000, out: false, ..out };
        assert_eq!(program::run(&mut board, back), (Some(0), 0));
        assert!(board.memory(0x400000, 2343 * 512) == data[..2343 * 512]);
        board.idle();
    }
}

/// What is done to a board between two commands and while one runs.
#[derive(Debug, Clone)]
enum Trouble {
    Wait(u32),
    Pause(u32),
    Restore,
    Look(u8),
}

fn trouble() -> impl Strategy<Value = Trouble> {
    prop_oneof![
        3 => (0..20_000u32).prop_map(Trouble::Wait),
        2 => (0..5_000u32).prop_map(Trouble::Pause),
        1 => Just(Trouble::Restore),
        1 => prop_oneof![0x00..0x06u8, 0x08..0x1fu8, 0x84..0x99u8].prop_map(Trouble::Look),
    ]
}

/// What is on the bus when nothing disturbs the same two commands.
#[cfg(feature = "trace")]
fn undisturbed(config: Aic7870Config, seed: u64, disconnect: bool, tag: u8) -> String {
    let mut board = board(config);
    board.recorder.clear();
    let data: Vec<u8> = (0..4096u32).map(|n| (n as u64 ^ seed) as u8).collect();
    board.poke(0x200000, &data);
    for (code, address) in [(0x2a, 0x200000), (0x28, 0x300000)] {
        let cdb = block(code, 77, 8);
        let work = Work { cdb: &cdb, address, len: 4096, out: code == 0x2a, disconnect, tag, ..READ };
        assert_eq!(program::run(&mut board, work), (Some(0), 0));
    }
    board.idle();
    board.recorder.text()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Hesitating targets, bursts of any size, pauses, restored states: the bytes are the same.
    #[test]
    fn latencies_and_pauses_change_nothing(
        request in 0..4_000u64,
        burst in prop_oneof![Just(0u32), 1..700u32],
        seed: u64,
        access in prop_oneof![Just(0u64), Just(1_000), Just(100_000)],
        disconnect: bool,
        tag: u8,
        troubles in prop::collection::vec(trouble(), 0..40),
    ) {
        let timing = Timing { access, sector: 0, ..Timing::default() };
        let latency = Latency { request, burst, seed };
        let plain = Aic7870Config { timing, ..Aic7870Config::default() };
        #[cfg(feature = "trace")]
        let expected = undisturbed(plain, seed, disconnect, tag);
        let mut board = board(Aic7870Config { latency, ..plain });
        #[cfg(feature = "trace")]
        board.recorder.clear();
        let data: Vec<u8> = (0..4096u32).map(|n| (n as u64 ^ seed) as u8).collect();
        board.poke(0x200000, &data);
        let mut troubles = troubles.into_iter();
        for (code, address) in [(0x2a, 0x200000), (0x28, 0x300000)] {
            let cdb = block(code, 77, 8);
            let work = Work { cdb: &cdb, address, len: 4096, out: code == 0x2a, disconnect, tag, ..READ };
            program::begin(&mut board, work);
            for trouble in troubles.by_ref().take(20) {
                match trouble {
                    Trouble::Wait(nanos) => board.advance(nanos.into()),
                    Trouble::Pause(nanos) => {
                        board.set(0x87, 0x06);
                        prop_assert_eq!(board.get(0x87) & 4, 4);
                        board.advance(nanos.into());
                        board.set(0x87, 0x02);
                    }
                    Trouble::Restore => board.save_restore(),
                    Trouble::Look(register) => {
                        board.get(register);
                    }
                }
            }
            prop_assert_eq!(program::end(&mut board), (Some(0), 0));
        }
        prop_assert!(board.memory(0x300000, 4096) == data);
        board.idle();
        #[cfg(feature = "trace")]
        prop_assert_eq!(board.recorder.text(), expected);
    }
}
