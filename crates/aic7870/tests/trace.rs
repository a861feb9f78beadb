//! What people read: the lines of the tracer.
#![cfg(feature = "trace")]

mod common;

use std::sync::{Arc, Mutex};

use common::hand::Hand;
use slotone_aic7870::Aic7870Config;

#[test]
fn lines_in_words() {
    let lines = Arc::new(Mutex::new(String::new()));
    let mut hand = Hand::new(Aic7870Config::default(), &[0]);
    let sink = Arc::clone(&lines);
    hand.board.aic.set_trace(
        move |line| {
            let mut lines = sink.lock().expect("nobody panicked with it");
            lines.push_str(line);
            lines.push('\n');
        },
        false,
    );
    assert!(hand.select(0, true));
    hand.send(&[0xc0, 0x20, 0x0a, 1, 3, 1, 25, 8, 8]);
    hand.carry_on(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], &[]);
    let text = lines.lock().expect("nobody panicked with it").clone();
    for wanted in [
        "message IDENTIFY lun 0, may disconnect\n",
        "message SIMPLE QUEUE TAG 0a\n",
        "message SDTR period 100 ns, offset 8\n",
        "target 0 lun 0, simple tag 0a: READ CAPACITY(10) [25, 00, 00, 00, 00, 00, 00, 00, 00, 00]\n",
        "CHECK CONDITION UNIT ATTENTION 29/00, power on",
        "target 0, simple tag 0a: status 02\n",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
}
