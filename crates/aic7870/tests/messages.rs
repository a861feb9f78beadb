//! Messages to a target by SCSI-2's rules: who they are about, what is repeated, what ends a command.

mod common;

use common::hand::{COMMAND, DATA_IN, DATA_OUT, Hand, MESSAGE_IN, STATUS, begin, hand};
use slotone_bus::Device;

/// Selects target 0 without listening to reselections and sends `messages`.
fn say(hand: &mut Hand, messages: &[u8]) {
    hand.board.set(0x00, 0);
    assert!(hand.select(0, true));
    hand.board.set(0x00, 0);
    hand.send(messages);
}

fn freed(hand: &mut Hand) {
    assert_eq!(hand.phase(), None, "the bus is free");
    hand.board.set(0x0c, 0x08);
}

/// SCSI-2, 6.6.2: before IDENTIFY nobody says whose commands to abort.
#[test]
fn aborts_without_identify_abort_nothing() {
    for message in [0x06, 0x0d, 0x0e] {
        let mut hand = hand();
        for tag in 1..=2 {
            begin(&mut hand, 0, tag, 0x20, tag);
            hand.board.set(0x00, 0);
        }
        say(&mut hand, &[message]);
        freed(&mut hand);
        assert_eq!(hand.board.aic.commands_in_flight(), 2, "{message:02x}");
        say(&mut hand, &[0x80, 0x20, 9, message]);
        freed(&mut hand);
        let left = if message == 0x0d { 2 } else { 0 };
        assert_eq!(hand.board.aic.commands_in_flight(), left, "{message:02x} of a tag that is not there");
    }
}

/// Another initiator's commands are its own, but for CLEAR QUEUE.
#[test]
fn an_abort_is_the_initiators() {
    for (message, left) in [(&[0x80, 0x06][..], 1), (&[0x80, 0x20, 1, 0x0d], 1), (&[0x80, 0x0e], 0)] {
        let mut hand = hand();
        begin(&mut hand, 0, 1, 0x20, 1);
        hand.board.set(0x00, 0);
        // The same adapter under another ID.
        assert!(hand.select_as(6, 0, true));
        hand.board.set(0x00, 0);
        // Who it is was said by the selection.
        hand.board.set(0x05, 0x07);
        hand.send(message);
        freed(&mut hand);
        assert_eq!(hand.board.aic.commands_in_flight(), left, "{message:02x?}");
    }
}

/// SCSI-1's way: the unit stands in the command block when IDENTIFY did not come.
#[test]
fn the_unit_of_a_command_block() {
    let mut hand = hand();
    for (unit, kind) in [(0u8, 0x00), (2, 0x7f)] {
        assert!(hand.select(0, false));
        let inquiry = hand.carry_on(&[0x12, unit << 5, 0, 0, 36, 0], &[]);
        assert_eq!((inquiry.status, inquiry.data[0]), (Some(0), kind));
        // IDENTIFY counts for more.
        assert!(hand.select(0, true));
        hand.send(&[0x80]);
        assert_eq!(hand.carry_on(&[0x12, unit << 5, 0, 0, 36, 0], &[]).data[0], 0x00);
    }
}

/// SCSI-2, 6.6.7: a second IDENTIFY may change the leave to disconnect, not the unit.
#[test]
fn a_second_identify() {
    let mut hand = hand();
    say(&mut hand, &[0x80, 0xc0]);
    assert_eq!(hand.carry_on(&[0x08, 0, 0, 1, 1, 0], &[]).messages, [4], "it may disconnect now");
    say(&mut hand, &[0x81, 0x80]);
    freed(&mut hand);
    assert_eq!(hand.board.aic.commands_in_flight(), 1, "not its command");
    hand.board.set(0x00, 0x10);
    assert_eq!(hand.reselected(), (0, vec![0x80]));
    hand.board.set(0x00, 0);
    assert_eq!(hand.phase(), Some(DATA_IN));
    hand.board.set(0x03, 0x50);
    hand.get(DATA_IN);
    hand.send(&[0x85]);
    freed(&mut hand);
    assert_eq!(hand.board.aic.commands_in_flight(), 0, "the command that it broke");
    hand.good(0, &[0; 6], &[]);
}

/// A tag belongs between IDENTIFY and the command.
#[test]
fn tags_out_of_place() {
    let mut hand = hand();
    for messages in [&[0x20, 5][..], &[0x80, 0x20, 5, 0x21, 6]] {
        say(&mut hand, messages);
        assert_eq!((hand.phase(), hand.get(MESSAGE_IN)), (Some(MESSAGE_IN), 0x07), "{messages:02x?}");
        assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
    }
    say(&mut hand, &[0x80]);
    for _ in 0..5 {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, 0);
    }
    assert_eq!(hand.phase(), Some(COMMAND));
    hand.board.set(0x03, 0x90);
    hand.put(COMMAND, 0);
    hand.send(&[0x20, 5]);
    assert_eq!((hand.phase(), hand.get(MESSAGE_IN)), (Some(MESSAGE_IN), 0x07));
    assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
}

/// SCSI-2, 6.5.2: the same tag twice ends all that the initiator has there.
#[test]
fn overlapped_commands() {
    for messages in [&[0xc0, 0x20, 2][..], &[0xc0]] {
        let mut hand = hand();
        for tag in 1..=3 {
            begin(&mut hand, 0, tag, 0x20, tag);
            hand.board.set(0x00, 0);
        }
        begin(&mut hand, 2, 2, 0x20, 2);
        hand.board.set(0x00, 0);
        if messages.len() == 1 {
            // One without a tag beside those with one is none of them; a second one is.
            say(&mut hand, messages);
            assert_eq!(hand.carry_on(&[0x08, 0, 0, 1, 1, 0], &[]).messages, [4]);
            assert_eq!(hand.board.aic.commands_in_flight(), 5);
        }
        say(&mut hand, messages);
        assert_eq!(hand.carry_on(&[0x08, 0, 0, 1, 1, 0], &[]).status, Some(2), "{messages:02x?}");
        assert_eq!(hand.board.aic.commands_in_flight(), 1, "that of the other disk");
        assert_eq!(hand.sense(0), (0xb, 0x4e, 0));
        hand.board.set(0x00, 0x10);
        assert_eq!(hand.reselected(), (2, vec![0x80, 0x20, 2]));
        assert_eq!(hand.carry_on(&[], &[]).status, Some(0));
        hand.good(0, &[0x08, 0, 0, 1, 1, 0], &[]);
    }
}

/// SCSI-2, 6.6.13: what was not understood is said again.
#[test]
fn a_message_comes_again() {
    let mut hand = hand();
    say(&mut hand, &[0x80, 1, 3, 1, 50, 7]);
    for round in 0..3 {
        for (n, byte) in [1, 3, 1, 50, 7].into_iter().enumerate() {
            assert_eq!(hand.phase(), Some(MESSAGE_IN));
            if n == 4 && round < 2 {
                hand.board.set(0x03, 0xf0);
            }
            assert_eq!(hand.get(MESSAGE_IN), byte, "round {round}");
        }
        if round < 2 {
            hand.send(&[0x09]);
        }
    }
    for _ in 0..6 {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, 0);
    }
    assert_eq!(hand.phase(), Some(STATUS));
    // Before anything was said there is nothing to repeat.
    hand.board.set(0x03, 0xd0);
    assert_eq!(hand.get(STATUS), 0);
    hand.send(&[0x09]);
    for round in 0..2 {
        assert_eq!(hand.phase(), Some(MESSAGE_IN));
        if round == 0 {
            hand.board.set(0x03, 0xf0);
        }
        assert_eq!(hand.get(MESSAGE_IN), 0, "COMMAND COMPLETE");
        if round == 0 {
            hand.board.save_restore();
            hand.send(&[0x09]);
        }
    }
    freed(&mut hand);
    // DISCONNECT, and the tag of a reselection.
    say(&mut hand, &[0xc0, 0x20, 7]);
    for byte in [0x08, 0, 0, 7, 1, 0] {
        assert_eq!(hand.phase(), Some(COMMAND));
        hand.put(COMMAND, byte);
    }
    assert_eq!(hand.phase(), Some(MESSAGE_IN));
    hand.board.set(0x03, 0xf0);
    assert_eq!(hand.get(MESSAGE_IN), 4);
    hand.send(&[0x09]);
    assert_eq!((hand.phase(), hand.get(MESSAGE_IN)), (Some(MESSAGE_IN), 4));
    freed(&mut hand);
    hand.board.set(0x00, 0x14);
    while hand.board.get(0x0b) & 0x20 == 0 {
        hand.board.advance(1_000);
    }
    hand.board.set(0x01, 0x1a);
    hand.board.set(0x0b, 0x20);
    hand.board.set(0x00, 0);
    assert_eq!((hand.phase(), hand.get(MESSAGE_IN)), (Some(MESSAGE_IN), 0x80));
    hand.send(&[0x09]);
    for byte in [0x80, 0x20, 7] {
        assert_eq!((hand.phase(), hand.get(MESSAGE_IN)), (Some(MESSAGE_IN), byte));
    }
    assert_eq!(hand.carry_on(&[], &[]).data, 7u32.to_le_bytes().repeat(128));
}

/// SCSI-2, 6.6.10: the command ends with ABORTED COMMAND, in whatever phase; later there is nothing to end.
#[test]
fn the_initiator_detects_an_error() {
    let mut hand = hand();
    for (cdb, phase) in
        [([0x08, 0, 0, 7, 1, 0], DATA_IN), ([0x0a, 0, 0, 7, 1, 0], DATA_OUT), ([0; 6], STATUS)]
    {
        say(&mut hand, &[0x80]);
        for byte in cdb {
            assert_eq!(hand.phase(), Some(COMMAND));
            hand.put(COMMAND, byte);
        }
        assert_eq!(hand.phase(), Some(phase));
        if phase == STATUS {
            // ATN on the last byte of the status: it went.
            hand.board.set(0x03, phase | 0x10);
            assert_eq!(hand.get(STATUS), 0);
            hand.send(&[0x05]);
            let result = hand.carry_on(&[], &[]);
            assert_eq!((result.status, &result.messages[..]), (None, &[0][..]));
            assert_eq!(hand.sense(0), (0, 0, 0));
            continue;
        }
        hand.board.set(0x03, phase | 0x10);
        if phase == DATA_IN {
            assert_eq!(hand.get(phase), 7);
        } else {
            hand.put(phase, 1);
        }
        hand.board.save_restore();
        hand.send(&[0x05]);
        let result = hand.carry_on(&[], &[]);
        assert_eq!((result.status, result.data.len()), (Some(2), 0));
        assert_eq!(hand.sense(0), (0xb, 0x48, 0));
    }
    assert_eq!(
        hand.good(0, &[0x08, 0, 0, 7, 1, 0], &[]),
        7u32.to_le_bytes().repeat(128),
        "nothing was written"
    );
    // Before there is a command it means nothing.
    say(&mut hand, &[0x80, 0x05]);
    assert_eq!(hand.carry_on(&[0; 6], &[]).status, Some(0));
}

/// A selection asks its target once, and one that is given up before it ends counts as any other.
#[test]
fn a_selection_names_its_target_when_it_begins() {
    let mut hand = hand();
    hand.board.set(0x00, 0);
    hand.board.set(0x05, 0x27);
    hand.board.set(0x00, 0x48);
    hand.board.set(0x05, 0x37);
    let state = hand.board.saved();
    assert_eq!(hand.board.get(0x0b) & 0x10, 0x10, "SELINGO");
    hand.board.aic.restore(&mut slotone_bus::state::StateReader::new(&state)).expect("its own state");
    hand.board.advance(10_000);
    assert_eq!(hand.board.get(0x0b) & 0x50, 0x40, "target 2 answered");
}
