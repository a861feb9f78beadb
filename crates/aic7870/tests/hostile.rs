//! Saved states with extreme numbers in every field: refused, or an adapter that goes on without a panic.

mod common;

use common::Board;
use common::hand::{DATA_IN, DATA_OUT, Hand};
use slotone_aic7870::{Aic7870, Aic7870Config, Timing};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, DiskClient, perform};
use slotone_bus::state::StateReader;
use slotone_bus::{At, Device, TestPort};
use slotone_scsi::{Disk, DiskConfig};

/// What RAM and data are filled with, so that their bytes can be told from fields.
const FILL: u8 = 0xa5;

/// A board with one disk whose requests take so long that nobody sees them end.
fn paused(disconnects: bool) -> Hand {
    let disconnect_after = if disconnects { 5_000 } else { u64::MAX };
    let timing = Timing { access: 100_000_000, disconnect_after, ..Timing::default() };
    let mut hand = Hand::new(Aic7870Config { timing, ..Aic7870Config::default() }, &[0]);
    hand.ready(0);
    hand.board.load(&[u32::from_le_bytes([FILL; 4]); 512]);
    for page in 0..16 {
        hand.board.set(0x90, page);
        hand.board.set_all(0xa0, &[FILL; 32]);
    }
    hand.board.set(0x87, 0x06);
    hand.board.set(0x02, 0x24);
    hand
}

/// A command as far as its data; `messages` begins with IDENTIFY.
fn command(hand: &mut Hand, messages: &[u8], cdb: &[u8], out: &[u8]) {
    assert!(hand.select(0, true));
    hand.board.set(0x00, 0);
    hand.send(messages);
    for byte in cdb {
        assert_eq!(hand.phase(), Some(0x80));
        hand.put(0x80, *byte);
    }
    for byte in out {
        assert_eq!(hand.phase(), Some(DATA_OUT));
        hand.put(DATA_OUT, *byte);
    }
}

/// The state with whatever is about to happen pending in it.
fn states() -> Vec<(&'static str, Vec<u8>)> {
    let mut all = Vec::new();
    let mut add = |name, disconnects: bool, work: &dyn Fn(&mut Hand)| {
        let mut hand = paused(disconnects);
        work(&mut hand);
        all.push((name, hand.board.saved()));
    };
    let block = [FILL; 512];
    let unmap =
        [&[0, 38, 0, 32, 0, 0, 0, 0][..], &[0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 4, 0, 0, 0, 0].repeat(2)];
    let unmap = unmap.concat();
    add("idle", true, &|_| {});
    add("selecting", true, &|hand| {
        hand.board.set(0x05, 0x07);
        hand.board.set(0x00, 0x48);
    });
    add("a message begun", true, &|hand| {
        assert!(hand.select(0, true));
        for byte in [0x80, 1, 3, 1] {
            assert_eq!(hand.phase(), Some(0xa0));
            hand.put(0xa0, byte);
        }
    });
    add("a command begun", true, &|hand| command(hand, &[0xc0], &[0x28, 0, 0, 0], &[]));
    add("two queued reads", true, &|hand| {
        command(hand, &[0xc0, 0x22, 1], &[0x28, 0, 0, 0, 0, 2, 0, 0, 4, 0], &[]);
        assert_eq!(hand.carry_on(&[], &[]).messages, [4]);
        command(hand, &[0xc0, 0x20, 2], &[0x28, 0, 0, 0, 0, 2, 0, 0, 4, 0], &[]);
        assert_eq!(hand.carry_on(&[], &[]).messages, [4]);
        hand.board.set(0x00, 0x10);
    });
    add("data in", true, &|hand| {
        command(hand, &[0x80], &[0x12, 0, 0, 0, 36, 0], &[]);
        assert_eq!(hand.phase(), Some(DATA_IN));
        hand.get(DATA_IN);
    });
    add("data out", true, &|hand| {
        command(hand, &[0x80], &[0x2a, 0, 0, 0, 0, 2, 0, 0, 2, 0], &block);
        assert_eq!(hand.phase(), Some(DATA_OUT));
    });
    for (name, cdb, out) in [
        ("read", &[0x28, 0, 0, 0, 0, 2, 0, 0, 4, 0][..], &[][..]),
        ("verify", &[0x2f, 0, 0, 0, 0, 2, 0, 0, 4, 0], &[]),
        ("compare", &[0x2f, 2, 0, 0, 0, 2, 0, 0, 1, 0], &block),
        ("write", &[0x2a, 0, 0, 0, 0, 2, 0, 0, 1, 0], &block),
        ("write through", &[0x2a, 8, 0, 0, 0, 2, 0, 0, 1, 0], &block),
        ("write same", &[0x41, 0, 0, 0, 0, 2, 0, 0, 3, 0], &block),
        ("unmap", &[0x42, 0, 0, 0, 0, 0, 0, 0, unmap.len() as u8, 0], &unmap),
        ("synchronize", &[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]),
    ] {
        add(name, false, &|hand| {
            command(hand, &[0x80], cdb, out);
            assert_eq!(hand.board.get(0x03) & 0x02, 0, "{name}: no REQ, it is with the medium");
            assert_eq!(hand.board.aic.commands_in_flight(), 1);
        });
    }
    all
}

/// Where the adapter's own part of `bytes` lies, with what is a field.
fn fields(bytes: &[u8]) -> Vec<usize> {
    let start = 4 + "aic7870".len() + 2 + 4;
    let len = u32::from_le_bytes(bytes[start - 4..start].try_into().unwrap()) as usize;
    let filled =
        |at: usize| bytes[at.saturating_sub(8)..(at + 8).min(bytes.len())].iter().all(|b| *b == FILL);
    (start..start + len).filter(|at| !filled(*at)).collect()
}

/// Prints what is tried if that panics.
struct Tried(String);

impl Drop for Tried {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("with {}", self.0);
        }
    }
}

/// Goes on with a restored adapter: time, registers, transfers in every phase, reselections.
fn drive(board: &mut Board, port: &mut TestPort) {
    let Board { aic, media, now, .. } = board;
    let mut turn = |aic: &mut Aic7870, accesses: &[(u8, Option<u8>)]| {
        for (register, value) in accesses {
            let at = At { window: common::MEMORY, offset: (*register).into() };
            match value {
                Some(value) => port.at(*now, |cx| aic.write(cx, at, &[*value])),
                None => port.at(*now, |cx| aic.read(cx, at, &mut [0])),
            }
        }
        for _ in 0..4 {
            let Some(due) = aic.next_deadline() else { break };
            *now = (*now).max(due.as_nanos());
            port.at(*now, |cx| aic.tick(cx));
            while let Some(request) = aic.next_request() {
                let bounded = request.data.len() <= 1 << 20;
                assert!(bounded, "a request of {} bytes", request.data.len());
                aic.complete(perform(media[0].as_deref(), request));
            }
        }
    };
    turn(aic, &[]);
    turn(
        aic,
        &[(0xa0, None), (0xa0, None), (0x87, Some(0x06)), (0x00, Some(0x10)), (0x6f, None), (0x99, None)],
    );
    for phase in [0x00, 0x40, 0xc0, 0xe0, 0xa0, 0x80] {
        let out = if phase & 0x40 == 0 { 0x3c } else { 0x38 };
        turn(
            aic,
            &[(0x03, Some(phase)), (0x8e, Some(1)), (0x0a, Some(1)), (0x93, Some(out)), (0x93, Some(0))],
        );
    }
    turn(aic, &[(0x02, Some(0xa4)), (0x03, Some(0x40)), (0x03, Some(0)), (0x01, Some(0x08)), (0x06, None)]);
}

#[test]
fn extreme_numbers() {
    let mut accepted = 0;
    for (name, bytes) in states() {
        let mut board = paused(true).board;
        board.aic.restore(&mut StateReader::new(&bytes)).expect("its own state");
        let mut port = TestPort::new(1 << 16);
        let medium = MemoryDisk::new(8 << 20);
        let make = || {
            let mut targets = common::no_targets();
            targets[0] = Some(Box::new(Disk::new(DiskConfig::new(medium.info()))));
            Aic7870::new(Aic7870Config::default(), targets)
        };
        for at in fields(&bytes) {
            let number = |width: usize| {
                let mut number = [0; 8];
                number[..width].copy_from_slice(&bytes[at..at + width]);
                u64::from_le_bytes(number)
            };
            for width in [1, 4, 8].into_iter().filter(|width| at + width <= bytes.len()) {
                let all = u64::MAX >> (64 - 8 * width);
                let own = number(width);
                let near = [own.wrapping_add(1) & all, own.wrapping_sub(1) & all, 0];
                let mut values = [&[all, all - all / 256, all >> 1, all / 2 + 1][..], &near].concat();
                values.sort_unstable();
                values.dedup();
                for value in values.into_iter().filter(|value| *value != own) {
                    let mut bad = bytes.clone();
                    bad[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
                    let mut fresh = make();
                    if fresh.restore(&mut StateReader::new(&bad)).is_err() {
                        continue;
                    }
                    accepted += 1;
                    let _tried = Tried(format!("{name}: {width} bytes at {at}: {own:#x} to {value:#x}"));
                    (board.aic, board.now) = (fresh, 1_000_000_000);
                    drive(&mut board, &mut port);
                }
            }
        }
    }
    assert!(accepted > 1_000, "{accepted}");
}
