//! `exchange` between a card and a port that are nothing but queues.

use slotone_bus::{Cx, TestPort, VmInstant};
use slotone_net::{Exchanged, MacAddress, NetClient, NetPort, Received, Sent, exchange};
use std::collections::VecDeque;

#[derive(Default)]
struct Card {
    out: VecDeque<Vec<u8>>,
    taken: Vec<Vec<u8>>,
    room: usize,
    /// Every frame sent makes another.
    endless: bool,
}

impl NetClient for Card {
    fn frame(&self) -> Option<&[u8]> {
        self.out.front().map(Vec::as_slice)
    }
    fn sent(&mut self, _: &mut Cx<'_>) {
        let frame = self.out.pop_front();
        if self.endless {
            self.out.extend(frame);
        }
    }
    fn receive(&mut self, _: &mut Cx<'_>, frame: &[u8]) -> Received {
        self.taken.push(frame.to_vec());
        self.room -= 1;
        Received::Taken
    }
    fn ready(&self) -> bool {
        self.room > 0
    }
    fn set_link(&mut self, _: &mut Cx<'_>, _: bool) {}
}

struct Queues {
    room: usize,
    got: Vec<Vec<u8>>,
    give: VecDeque<Vec<u8>>,
}

impl NetPort for Queues {
    fn send(&mut self, _: VmInstant, frame: &[u8]) -> Sent {
        if self.got.len() == self.room {
            return Sent::Full;
        }
        self.got.push(frame.to_vec());
        Sent::Taken
    }
    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        self.give.pop_front().map(|f| take(&f)).is_some()
    }
}

fn frames(n: u8) -> VecDeque<Vec<u8>> {
    (0..n).map(|i| vec![i; 60 + usize::from(i)]).collect()
}

#[test]
fn a_full_port_keeps_the_frame_and_the_other_way_goes_on() {
    let mut card = Card { out: frames(3), room: 9, ..Card::default() };
    let mut port = Queues { room: 2, got: vec![], give: frames(4) };
    let mut host = TestPort::new(4096);
    let mut cx = Cx::new(VmInstant::default(), &mut host);
    let done = exchange(&mut card, &mut port, &mut cx, 100);
    assert_eq!(done, Exchanged { sent: 2, received: 4, bytes: 121 + 246, more: false });
    assert_eq!(card.out.front().map(|f| f[0]), Some(2));
    assert_eq!(card.taken, Vec::from(frames(4)));
    port.room = 3;
    assert_eq!(exchange(&mut card, &mut port, &mut cx, 100).sent, 1);
}

#[test]
fn frames_wait_in_the_port_while_the_receiver_has_no_descriptor() {
    let mut card = Card { room: 1, ..Card::default() };
    let mut port = Queues { room: 0, got: vec![], give: frames(2) };
    let mut host = TestPort::new(4096);
    let mut cx = Cx::new(VmInstant::default(), &mut host);
    assert_eq!(exchange(&mut card, &mut port, &mut cx, 100).received, 1);
    assert_eq!(port.give.len(), 1);
}

#[test]
fn descriptors_that_never_end_are_left_at_the_budget() {
    let mut card = Card { out: frames(1), endless: true, ..Card::default() };
    let mut port = Queues { room: usize::MAX, got: vec![], give: VecDeque::new() };
    let mut host = TestPort::new(4096);
    let mut cx = Cx::new(VmInstant::default(), &mut host);
    let done = exchange(&mut card, &mut port, &mut cx, 64);
    assert_eq!((done.sent, done.more), (64, true));
}

#[test]
fn addresses_are_read_as_they_are_printed_and_nothing_else_is() {
    let mac: MacAddress = "00:03:ff:12:34:56".parse().unwrap();
    assert_eq!(mac.to_string().parse(), Ok(mac));
    assert_eq!("0003FF123456".parse(), Ok(mac));
    assert!(!mac.is_group() && MacAddress::BROADCAST.is_group());
    for bad in
        ["", "0003FF12345", "00-03-FF-12-34-5g", "00-03-FF-12-34-+5", "00/03/FF/12/34/56", "é003FF12345"]
    {
        assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
    }
}
