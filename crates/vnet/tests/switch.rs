//! The switch's rules, one test for each.
#![cfg(feature = "switch")]

use proptest::prelude::*;
use slotone_bus::VmInstant;
use slotone_net::{MAX_FRAME, MacAddress, NetPort};
use slotone_vnet::switch::{Counters, PortOptions, Switch, SwitchError, SwitchEvent, SwitchPort};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

const T0: VmInstant = VmInstant::ZERO;

fn mac(n: u8) -> MacAddress {
    MacAddress([0, 3, 0xff, 0, 0, n])
}

fn frame(to: MacAddress, from: MacAddress, fill: u8) -> Vec<u8> {
    [&to.0[..], &from.0, &[fill; 48]].concat()
}

fn drain(port: &mut SwitchPort, now: VmInstant) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while port.receive(now, &mut |got| all.push(got.to_vec())) {}
    all
}

fn card(switch: &Switch, n: u8, change: impl Fn(&mut PortOptions)) -> SwitchPort {
    let mut options = PortOptions { mac: Some(mac(n)), ..PortOptions::default() };
    change(&mut options);
    switch.port(options).unwrap()
}

#[test]
fn an_unknown_address_goes_to_learning_ports_and_a_heard_one_to_its_port() {
    let switch = Switch::new();
    let mut ports: Vec<_> = (0..3).map(|_| switch.port(PortOptions::default()).unwrap()).collect();
    ports[0].send(T0, &frame(mac(9), mac(1), 1));
    assert_eq!(ports.iter_mut().map(|p| drain(p, T0).len()).collect::<Vec<_>>(), [0, 1, 1]);
    ports[1].send(T0, &frame(mac(1), mac(2), 2));
    assert_eq!(ports.iter_mut().map(|p| drain(p, T0).len()).collect::<Vec<_>>(), [1, 0, 0]);
    assert_eq!(switch.locate(mac(1)), Some(ports[0].id()));
    let late = T0 + 300_000_000_000;
    ports[1].send(late, &frame(mac(1), mac(2), 2));
    assert_eq!(ports.iter_mut().map(|p| drain(p, late).len()).collect::<Vec<_>>(), [1, 0, 1]);
}

#[test]
fn isolated_ports_hear_only_the_others() {
    let switch = Switch::new();
    let mut a = card(&switch, 1, |o| o.isolated = true);
    let mut b = card(&switch, 2, |o| o.isolated = true);
    let mut c = card(&switch, 3, |_| {});
    for to in [mac(2), MacAddress::BROADCAST] {
        a.send(T0, &frame(to, mac(1), 0));
        assert!(drain(&mut b, T0).is_empty());
    }
    assert_eq!(drain(&mut c, T0).len(), 1);
    c.send(T0, &frame(mac(1), mac(3), 0));
    assert_eq!(drain(&mut a, T0).len(), 1);
}

#[test]
fn only_promiscuous_ports_hear_what_is_for_others() {
    let switch = Switch::new();
    let mut a = card(&switch, 1, |_| {});
    let mut b = card(&switch, 2, |_| {});
    let mut c = card(&switch, 3, |_| {});
    let mut ear = card(&switch, 4, |o| o.promiscuous = true);
    a.send(T0, &frame(mac(2), mac(1), 0));
    a.send(T0, &frame(mac(77), mac(1), 0));
    assert_eq!((drain(&mut b, T0).len(), drain(&mut c, T0).len(), drain(&mut ear, T0).len()), (1, 0, 2));
    switch.set_promiscuous(ear.id(), false);
    a.send(T0, &frame(mac(2), mac(1), 0));
    assert!(drain(&mut ear, T0).is_empty());
}

#[test]
fn two_cards_with_one_address_are_an_error_or_a_report() {
    let switch = Switch::new();
    let mut a = card(&switch, 1, |_| {});
    let twice = switch.port(PortOptions { mac: Some(mac(1)), ..PortOptions::default() });
    assert_eq!(twice.map(|port| port.id()).unwrap_err(), SwitchError::DuplicateMac(mac(1), a.id()));
    // A forged source does not take the traffic.
    let mut thief = switch.port(PortOptions::default()).unwrap();
    thief.send(T0, &frame(MacAddress::BROADCAST, mac(1), 0));
    let event = SwitchEvent::DuplicateMac { mac: mac(1), first: a.id(), second: thief.id() };
    assert_eq!(switch.events(), [event]);
    assert_eq!(switch.locate(mac(1)), Some(a.id()));
    drain(&mut a, T0);
    drop(a);
    assert_eq!(switch.locate(mac(1)), None);
    card(&switch, 1, |_| {});
}

#[test]
fn counters_tell_what_was_carried_and_what_was_not() {
    let switch = Switch::new();
    let mut a = card(&switch, 1, |_| {});
    let b = card(&switch, 2, |o| o.queue_frames = 2);
    for _ in 0..3 {
        a.send(T0, &frame(mac(2), mac(1), 0));
    }
    a.send(T0, &[0; 13]);
    a.send(T0, &[2; MAX_FRAME + 1]);
    a.send(T0, &frame(MacAddress([1, 0x80, 0xc2, 0, 0, 1]), mac(1), 0));
    a.send(T0, &frame(mac(1), mac(1), 0));
    let sent = Counters {
        sent_frames: 7,
        sent_bytes: 3 * 60 + 13 + MAX_FRAME as u64 + 1 + 120,
        filtered: 4,
        ..Counters::default()
    };
    assert_eq!(switch.counters(a.id()), Some(sent));
    let got = Counters { delivered_frames: 2, delivered_bytes: 120, overflows: 1, ..Counters::default() };
    assert_eq!(switch.counters(b.id()), Some(got));
}

#[test]
fn a_cable_that_is_out_carries_nothing() {
    let switch = Switch::new();
    let mut a = card(&switch, 1, |_| {});
    let mut b = card(&switch, 2, |_| {});
    a.send(T0, &frame(mac(2), mac(1), 0));
    switch.set_link(b.id(), false);
    assert!(!b.link());
    a.send(T0, &frame(mac(2), mac(1), 0));
    b.send(T0, &frame(mac(1), mac(2), 0));
    switch.set_link(b.id(), true);
    assert!(b.link() && drain(&mut b, T0).is_empty() && drain(&mut a, T0).is_empty());
}

#[test]
fn the_other_machine_is_woken_once_and_the_own_one_sees_a_deadline() {
    let switch = Switch::new();
    let mut ports: Vec<_> = (1..=3).map(|n| card(&switch, n, |_| {})).collect();
    let calls = Arc::new(AtomicU32::new(0));
    let waker = |calls: &Arc<AtomicU32>| {
        let calls = calls.clone();
        Arc::new(move || {
            calls.fetch_add(1, Ordering::Relaxed);
        })
    };
    let (own, other) = (waker(&calls), waker(&calls));
    ports[0].set_waker(own.clone());
    ports[1].set_waker(own);
    ports[2].set_waker(other);
    ports[0].send(T0, &frame(mac(2), mac(1), 0));
    assert_eq!((calls.load(Ordering::Relaxed), ports[1].next_deadline()), (0, Some(T0)));
    ports[0].send(T0, &frame(mac(3), mac(1), 0));
    ports[0].send(T0, &frame(mac(3), mac(1), 0));
    assert_eq!(calls.load(Ordering::Relaxed), 1);
    drain(&mut ports[2], T0);
    assert_eq!(ports[2].next_deadline(), None);
}

#[test]
fn machines_of_different_ages_share_a_network() {
    let switch = Switch::new();
    let mut old = switch.port(PortOptions::default()).unwrap();
    let mut young = switch.port(PortOptions::default()).unwrap();
    let day = T0 + 86_400_000_000_000;
    old.send(day, &frame(MacAddress::BROADCAST, mac(1), 0));
    young.send(T0, &frame(MacAddress::BROADCAST, mac(2), 0));
    // Young in the switch's time too: it was heard a moment ago.
    old.send(day + 299_000_000_000, &frame(mac(2), mac(1), 0));
    assert_eq!(switch.locate(mac(2)), Some(young.id()));
    young.send(T0 + 301_000_000_000, &frame(mac(3), mac(2), 0));
    assert_eq!(switch.locate(mac(1)), Some(old.id()));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Nothing comes back, comes twice, is changed, or comes out of order.
    #[test]
    fn every_frame_arrives_whole_in_order_and_elsewhere(
        sends in proptest::collection::vec((0usize..4, 0u8..6, 14usize..200), 0..80),
    ) {
        let switch = Switch::new();
        let mut ports: Vec<_> = (0..4).map(|_| switch.port(PortOptions::default()).unwrap()).collect();
        let mut sent = Vec::new();
        for (n, (from, to, len)) in sends.iter().enumerate() {
            let to = if *to == 5 { MacAddress::BROADCAST } else { mac(*to) };
            let mut bytes = vec![n as u8; *len];
            bytes[..6].copy_from_slice(&to.0);
            bytes[6..12].copy_from_slice(&mac(*from as u8).0);
            ports[*from].send(T0, &bytes);
            sent.push(bytes);
        }
        for (i, port) in ports.iter_mut().enumerate() {
            let mut rest = sent.iter();
            for got in drain(port, T0) {
                prop_assert!(rest.any(|frame| *frame == got), "not in order");
                prop_assert_ne!(got[11], i as u8);
            }
        }
    }
}
