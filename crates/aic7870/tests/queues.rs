//! Commands that wait for others, and requests to media across resets and restored states.

mod common;

use common::hand::{DATA_IN, Hand, begin, hand};
use common::{Board, Random, Trouble};
use slotone_aic7870::{Aic7870Config, Timing};
use slotone_block::{Completion, DiskClient, Outcome, Request, perform};
use slotone_bus::state::StateReader;
use slotone_bus::{Device, ResetKind};

/// A tagged READ(10) of `blocks` that disconnects.
fn read(hand: &mut Hand, id: u8, kind: u8, tag: u8, blocks: u16) {
    assert!(hand.select(id, true));
    hand.board.set(0x00, 0);
    hand.send(&[0xc0, kind, tag]);
    let [high, low] = blocks.to_be_bytes();
    let result = hand.carry_on(&[0x28, 0, 0, 0, 0, 0, 0, high, low, 0], &[]);
    assert_eq!((result.status, &result.messages[..]), (None, &[4][..]), "DISCONNECT");
}

/// The next command that reselects, taken to its end.
fn next(hand: &mut Hand) -> (u8, Vec<u8>) {
    hand.board.set(0x00, 0x10);
    let (id, messages) = hand.reselected();
    hand.board.set(0x00, 0);
    assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
    (id, messages)
}

/// What waits behind ORDERED commands needs memory as soon as these end, all at once: no more begin than there is room for.
#[test]
fn queued_commands_share_what_there_is() {
    const TAGS: u8 = 40;
    let mut hand = Hand::new(Aic7870Config::default(), &[0, 1, 2, 3]);
    for id in 0..4 {
        hand.ready(id);
        read(&mut hand, id, 0x22, 0, 1);
        for tag in 1..=TAGS {
            read(&mut hand, id, 0x20, tag, 1024);
        }
    }
    hand.board.trouble = Trouble::Random(Random(1), 1 << 60);
    for id in 0..4 {
        assert_eq!(next(&mut hand), (id, vec![0x80, 0x20, 0]));
        hand.board.advance(1_000_000);
    }
    assert_eq!(hand.board.aic.commands_in_flight(), 4 * usize::from(TAGS));
    assert_eq!(hand.board.held(), 128, "64 MiB in pieces of 512 KiB");
    // Room again: the rest begins, whoever made it.
    assert!(hand.select(0, true));
    hand.board.set(0x00, 0);
    hand.send(&[0x0c]);
    assert_eq!(hand.phase(), None);
    hand.board.advance(1_000_000);
    assert_eq!(hand.board.aic.commands_in_flight(), 3 * usize::from(TAGS));
    assert_eq!(hand.board.held(), 4 * usize::from(TAGS));
}

/// CHIPRST takes the command on the bus with it; what waited behind that goes on.
#[test]
fn a_chip_reset_lets_others_begin() {
    let mut hand = hand();
    read(&mut hand, 0, 0x22, 1, 1);
    read(&mut hand, 0, 0x20, 2, 1);
    hand.board.set(0x00, 0x10);
    assert_eq!(hand.reselected(), (0, vec![0x80, 0x20, 1]));
    assert_eq!(hand.phase(), Some(DATA_IN));
    hand.board.set(0x87, 0x01);
    hand.board.set(0x87, 0x06);
    hand.board.set(0x02, 0x24);
    assert_eq!(hand.board.aic.commands_in_flight(), 1);
    assert_eq!(next(&mut hand), (0, vec![0x80, 0x20, 2]));
}

/// What comes of a request from before a reset or a restored state is no answer to one from after it.
#[test]
fn late_answers() {
    let slow = Timing { access: 100_000_000, ..Timing::default() };
    let mut hand = Hand::new(Aic7870Config { timing: slow, ..Aic7870Config::default() }, &[0, 2]);
    hand.ready(0);
    begin(&mut hand, 0, 1, 0x20, 5);
    hand.board.set(0x00, 0);
    let saved = hand.board.saved();
    let take = |board: &mut Board| board.aic.next_request().expect("the request of the command");
    let wrong =
        |request: &Request| Completion { id: request.id, outcome: Outcome::NotReady, data: Vec::new() };
    let mut before = Vec::new();
    for _ in 0..3 {
        hand.board.aic.restore(&mut StateReader::new(&saved)).expect("its own state");
        assert!(hand.board.saved() == saved, "what was restored is saved as it was");
        let request = take(&mut hand.board);
        assert!(before.iter().all(|old: &Request| old.id != request.id), "a number that was never used");
        before.push(request);
    }
    hand.board.aic.reset(ResetKind::Bus);
    hand.board.aic.restore(&mut StateReader::new(&saved)).expect("its own state");
    let request = take(&mut hand.board);
    before.iter().for_each(|old| hand.board.aic.complete(wrong(old)));
    let good = perform(hand.board.media[0].as_deref(), request);
    hand.board.aic.complete(good);
    before.iter().for_each(|old| hand.board.aic.complete(wrong(old)));
    hand.board.set(0x00, 0x10);
    hand.board.advance(200_000_000);
    assert_eq!(hand.reselected().0, 0);
    let result = hand.carry_on(&[], &[]);
    assert_eq!((result.status, &result.data[..4]), (Some(0), &[5, 0, 0, 0][..]));
}

/// A state belongs to the targets that it was saved with.
#[test]
fn a_state_of_another_bus() {
    let board = |config, ids: &[u8]| Board::new(config, ids);
    let saved = board(Aic7870Config::default(), &[0, 3]).saved();
    let refused = |config, ids: &[u8]| {
        let mut other = board(config, ids);
        let before = other.saved();
        let error = other.aic.restore(&mut StateReader::new(&saved)).expect_err("another bus");
        assert!(other.saved() == before, "nothing changed");
        error.to_string()
    };
    let error = refused(Aic7870Config::default(), &[1, 2]);
    assert!(error.contains("targets at 0, 3;") && error.contains("targets at 1, 2"), "{error}");
    refused(Aic7870Config::default(), &[0, 3, 4]);
    refused(Aic7870Config::default(), &[]);
    let error = refused(Aic7870Config { id: 6, ..Aic7870Config::default() }, &[0, 3]);
    assert!(error.contains("SCSI ID 7") && error.contains("SCSI ID 6"), "{error}");
    let error = refused(Aic7870Config { wide: true, ..Aic7870Config::default() }, &[0, 3]);
    assert!(error.contains("narrow") && error.contains("wide"), "{error}");
    board(Aic7870Config::default(), &[0, 3])
        .aic
        .restore(&mut StateReader::new(&saved))
        .expect("the same bus");
}
