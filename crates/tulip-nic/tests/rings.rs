//! Descriptor lists and frames: rings, chains, skips, sizes, both byte orders, loopback, and the processes' states.

mod common;

use common::{MAC, Pc, frame, with_crc};
use proptest::prelude::*;
use slotone_bus::Device;
use slotone_net::NetClient;
use slotone_tulip_nic::registers::*;

const ALL: [u8; 6] = [0xff; 6];
const TX: u32 = 0x1000;
const RX: u32 = 0x2000;

/// Puts `data` at `buffer` and a descriptor for the whole of it at `at`.
fn send(pc: &mut Pc, at: u32, data: &[u8], buffer: u32, flags: u32) {
    pc.put(buffer, data);
    pc.descriptor(at, [tdes::OWN, tdes::FS | tdes::LS | flags | data.len() as u32, buffer, 0]);
}

#[test]
fn descriptor_skip_wraps_and_chains() {
    let mut pc = Pc::new();
    pc.set_csr(0, 3 << csr0::DSL_SHIFT);
    // A ring with 12 bytes between descriptors, whose last one is at its end: TER wins over TCH.
    for n in 0..4 {
        let end = if n == 3 { tdes::TER | tdes::TCH } else { 0 };
        send(&mut pc, TX + 28 * n, &frame(ALL, 100 + n as usize), 0x4000 + 0x100 * n, end);
    }
    pc.put32(TX + 28 * 3 + 12, 0x9000);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST);
    assert_eq!(pc.wire.sent.split_off(0).iter().map(Vec::len).collect::<Vec<_>>(), [100, 101, 102, 103]);
    // A chain: the second size is no size, the second address the next descriptor.
    for (at, next, n) in [(TX, 0x8008, 0u32), (0x8008, 0x7000, 1), (0x7000, TX, 2)] {
        send(&mut pc, at, &frame(ALL, 200 + n as usize), 0x4000 + 0x100 * n, tdes::TCH | 0x3ff << 11);
        pc.put32(at + 12, next);
    }
    pc.set_csr(1, 0);
    assert_eq!(pc.wire.sent.iter().map(Vec::len).collect::<Vec<_>>(), [200, 201, 202]);
    assert_eq!(pc.processes().1, 6);
}

#[test]
fn big_endian_descriptors_and_buffers() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.set_csr(0, csr0::DBO | csr0::BLE);
    let swapped = |pc: &mut Pc, at: u32, words: [u32; 4]| pc.descriptor(at, words.map(u32::swap_bytes));
    let data = frame(ALL, 77);
    let mut lanes = data.clone();
    lanes.resize(80, 0);
    lanes.chunks_mut(4).for_each(<[u8]>::reverse);
    pc.put(0x4000, &lanes);
    swapped(&mut pc, TX, [tdes::OWN, tdes::FS | tdes::LS | 14 << 11 | 63, 0x4000, 0x4000 + 63]);
    pc.set_csr(4, TX);
    swapped(&mut pc, RX, [rdes::OWN, rdes::RER | 128, 0x6000, 0]);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::ST | csr6::SR);
    assert_eq!((pc.wire.sent.pop(), pc.get32(TX)), (Some(data), 0));
    let mine = frame(MAC, 61);
    pc.wire.incoming.push_back(mine.clone());
    pc.deliver();
    assert_eq!(pc.get32(RX).swap_bytes(), 65 << 16 | rdes::FS | rdes::LS | rdes::FT);
    let mut got = pc.get(0x6000, 68);
    got.chunks_mut(4).for_each(<[u8]>::reverse);
    assert_eq!(got[..65], with_crc(&mine));
}

#[test]
fn padding_and_own_check_sequences() {
    let mut pc = Pc::new();
    let short = frame(ALL, 20);
    let long = frame(ALL, 80);
    let sealed = with_crc(&long);
    let mut wrong = sealed.clone();
    wrong[83] ^= 1;
    let mut padded = short.clone();
    padded.resize(60, 0);
    type Case<'a> = (&'a [u8], u32, Option<&'a [u8]>);
    let cases: [Case<'_>; 7] = [
        (&short, 0, Some(&padded)),
        (&short, tdes::DPD, Some(&short)),
        // A padded frame gets the chip's CRC whatever AC says.
        (&short, tdes::AC, Some(&padded)),
        (&sealed, tdes::AC, Some(&long)),
        (&wrong, tdes::AC, None),
        (&short[..3], tdes::AC | tdes::DPD, None),
        (&[], tdes::DPD, Some(&[])),
    ];
    for (data, flags, expected) in cases {
        pc.set_csr(6, 0);
        send(&mut pc, TX, data, 0x4000, flags);
        pc.descriptor(TX + 16, [0; 4]);
        pc.set_csr(4, TX);
        pc.set_csr(6, csr6::ST);
        assert_eq!(pc.wire.sent.pop().as_deref(), expected, "{flags:x}");
        assert_eq!(pc.get32(TX), 0);
    }
}

#[test]
fn segments_without_a_beginning_and_beginnings_without_an_end() {
    let mut pc = Pc::new();
    let first = frame(ALL, 100);
    pc.put(0x4000, &first);
    pc.descriptor(TX, [tdes::OWN, 50, 0x4000, 0]); // a middle of nothing
    pc.descriptor(TX + 16, [tdes::OWN, tdes::LS | tdes::IC | 50, 0x4000, 0]); // an end of nothing
    pc.descriptor(TX + 32, [tdes::OWN, 0, 0, 0]); // empty
    pc.descriptor(TX + 48, [tdes::OWN, tdes::FS | 30, 0x4000, 0]); // never ended
    pc.descriptor(TX + 64, [tdes::OWN, tdes::FS | 40, 0x4000, 0]);
    pc.descriptor(TX + 80, [tdes::OWN, 0, 0x4000, 0]);
    pc.descriptor(TX + 96, [tdes::OWN, tdes::LS | 60, 0x4000 + 40, 0]);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST);
    let error = tdes::ES | tdes::UF;
    assert_eq!([0, 1, 2, 3, 4, 5, 6].map(|n| pc.get32(TX + 16 * n)), [error, error, 0, 0, 0, 0, 0]);
    assert_eq!(pc.wire.sent, [first]);
    assert_eq!(pc.counter("tx_errors"), 3);
    assert_eq!(pc.events() & csr5::TI, csr5::TI);
}

#[test]
fn a_list_that_ends_within_a_frame_goes_on_later() {
    let mut pc = Pc::new();
    let data = frame(ALL, 100);
    pc.put(0x4000, &data);
    pc.descriptor(TX, [tdes::OWN, tdes::FS | 60, 0x4000, 0]);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST);
    assert_eq!((pc.processes().1, pc.events()), (6, csr5::TU));
    pc.restored();
    pc.descriptor(TX + 16, [tdes::OWN, tdes::LS | 40, 0x4000 + 60, 0]);
    pc.set_csr(1, 0);
    assert_eq!(pc.wire.sent, [data]);
    // A stop forgets the beginning.
    pc.descriptor(TX + 32, [tdes::OWN, tdes::FS | 60, 0x4000, 0]);
    pc.set_csr(1, 0);
    pc.set_csr(6, 0);
    pc.descriptor(TX + 48, [tdes::OWN, tdes::LS | 40, 0x4000 + 60, 0]);
    pc.set_csr(6, csr6::ST);
    assert_eq!((pc.wire.sent.len(), pc.get32(TX + 48)), (1, tdes::ES | tdes::UF));
}

#[test]
fn a_full_network_holds_the_transmitter_and_a_stop_does_not_wait() {
    let mut pc = Pc::new();
    pc.wire.full = true;
    let frames = [frame(ALL, 100), frame(ALL, 101), frame(ALL, 102)];
    for (n, data) in (0u32..).zip(&frames) {
        send(&mut pc, TX + 16 * n, data, 0x4000 + 0x100 * n, tdes::IC);
    }
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST);
    pc.set_csr(1, 0);
    assert_eq!((pc.processes().1, pc.get32(TX), pc.events()), (2, tdes::OWN, 0));
    assert!(pc.card.next_deadline().is_some(), "the machine is to come back");
    pc.advance(1_000_000);
    pc.wire.full = false;
    pc.advance(200_000);
    assert_eq!(pc.wire.sent, frames);
    assert_eq!((pc.processes().1, pc.events()), (6, csr5::TI | csr5::TU));
    // Stop with a frame on its way: it is closed at once, and leaves when it can.
    pc.wire.full = true;
    send(&mut pc, TX + 48, &frames[0], 0x4000, tdes::IC);
    pc.set_csr(1, 0);
    pc.set_csr(6, 0);
    assert_eq!((pc.processes().1, pc.get32(TX + 48), pc.events()), (0, 0, csr5::TI | csr5::TPS));
    pc.restored();
    send(&mut pc, TX + 64, &frames[1], 0x4100, 0);
    pc.set_csr(6, csr6::ST);
    assert_eq!((pc.processes().1, pc.get32(TX + 64)), (2, tdes::OWN));
    pc.wire.full = false;
    pc.advance(200_000);
    assert_eq!((pc.wire.sent.len(), pc.get32(TX + 64)), (5, 0));
}

#[test]
fn automatic_polling_finds_new_frames() {
    let mut pc = Pc::new();
    pc.set_csr(4, TX);
    pc.set_csr(0, 1 << csr0::TAP_SHIFT);
    pc.set_csr(6, csr6::PS | csr6::ST);
    pc.events();
    pc.advance(400_000);
    assert_eq!((pc.ticks, pc.events()), (5, 0), "80 us each; TU once a suspension");
    for n in 0..3 {
        send(&mut pc, TX + 16 * n, &frame(ALL, 64), 0x4000, 0);
    }
    pc.advance(80_000);
    assert_eq!((pc.wire.sent.len(), pc.events()), (3, csr5::TU));
    pc.set_csr(0, 0);
    assert_eq!(pc.card.next_deadline(), None);
}

#[test]
fn list_bases_count_while_stopped() {
    let mut pc = Pc::new();
    send(&mut pc, TX, &frame(ALL, 64), 0x4000, 0);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST);
    pc.set_csr(4, 0x5000);
    send(&mut pc, 0x5000, &frame(ALL, 65), 0x4000, 0);
    send(&mut pc, TX + 16, &frame(ALL, 66), 0x4100, 0);
    pc.set_csr(1, 0);
    pc.set_csr(6, 0);
    pc.set_csr(6, csr6::ST);
    assert_eq!(pc.wire.sent.split_off(0).iter().map(Vec::len).collect::<Vec<_>>(), [64, 66]);
    pc.set_csr(6, 0);
    pc.set_csr(4, 0x5000);
    pc.set_csr(6, csr6::ST);
    assert_eq!(pc.wire.sent.len(), 1);
}

#[test]
fn received_frames_fill_both_buffers_and_several_descriptors() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    let data = frame(MAC, 300);
    // Ring of: 64 + 32, nothing, chained 100 (its second size is none), 128.
    pc.descriptor(RX, [rdes::OWN, 32 << 11 | 64, 0x6000, 0x6100]);
    pc.descriptor(RX + 16, [rdes::OWN, 0, 0, 0]);
    pc.descriptor(RX + 32, [rdes::OWN, rdes::RCH | 77 << 11 | 100, 0x6200, 0x3000]);
    pc.descriptor(0x3000, [rdes::OWN, rdes::RER | 128, 0x6300, 0]);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::SR);
    pc.wire.incoming.push_back(data.clone());
    pc.deliver();
    let got =
        [(0x6000, 64), (0x6100, 32), (0x6200, 100), (0x6300, 108)].map(|(at, len)| pc.get(at, len)).concat();
    assert_eq!(got, with_crc(&data));
    assert_eq!([RX, RX + 16, RX + 32].map(|at| pc.get32(at)), [rdes::FS, 0, 0]);
    assert_eq!(pc.get32(0x3000), 304 << 16 | rdes::LS | rdes::FT);
    assert_eq!((pc.processes().0, pc.events() & (csr5::RI | csr5::RU)), (4, csr5::RI | csr5::RU));
}

#[test]
fn a_frame_that_outlasts_the_list_is_cut_and_said_so() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.descriptor(RX, [rdes::OWN, 64, 0x6000, 0]);
    pc.descriptor(RX + 16, [rdes::OWN, 64, 0x6100, 0]);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::SR);
    pc.wire.incoming.push_back(frame(MAC, 300));
    pc.deliver();
    assert_eq!(pc.get32(RX), rdes::FS);
    assert_eq!(pc.get32(RX + 16), 304 << 16 | rdes::LS | rdes::FT | rdes::DE | rdes::ES);
    assert_eq!((pc.processes().0, pc.counter("rx_errors")), (4, 1));
    // The next frame is whole again.
    pc.descriptor(RX + 32, [rdes::OWN, 0x400, 0x6200, 0]);
    pc.wire.incoming.push_back(frame(MAC, 70));
    pc.set_csr(2, 0);
    assert_eq!(pc.get32(RX + 32), 74 << 16 | rdes::FS | rdes::LS | rdes::FT);
}

#[test]
fn what_kind_of_frame_it_is() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.receive_ring(RX, 1, 0x6000, 2044);
    let status = |pc: &mut Pc, mode: u32, data: Vec<u8>| {
        pc.set_csr(6, 0);
        pc.put32(RX, rdes::OWN);
        pc.put32(RX + 4, rdes::RER | 2044 << 11 | 2044);
        pc.put32(RX + 12, 0x6000 + 2044);
        pc.set_csr(3, RX);
        pc.set_csr(6, mode | csr6::SR);
        pc.wire.incoming.push_back(data);
        pc.deliver();
        pc.get32(RX)
    };
    let whole = rdes::FS | rdes::LS;
    let mut ieee = frame(MAC, 100);
    ieee[12..14].copy_from_slice(&[0, 86]);
    let stranger = || frame([2; 6], 64);
    assert_eq!(status(&mut pc, 0, ieee), 104 << 16 | whole);
    assert_eq!(status(&mut pc, 0, frame(ALL, 1514)), 1518 << 16 | whole | rdes::FT | rdes::MF);
    let long = rdes::TL | rdes::ES;
    assert_eq!(status(&mut pc, 0, frame(MAC, 1518)), 1522 << 16 | whole | rdes::FT | long);
    assert_eq!(status(&mut pc, 0, frame(MAC, 2044)), 2048 << 16 | whole | rdes::FT | long);
    assert_eq!(status(&mut pc, 0, frame(MAC, 2045)), rdes::OWN, "the watchdog");
    assert_eq!(pc.events() & csr5::RWT, csr5::RWT);
    pc.set_csr(15, csr15::RWD);
    assert_eq!(status(&mut pc, 0, frame(MAC, 3000)), 3004 << 16 | whole | rdes::FT | long);
    assert_eq!(status(&mut pc, 0, vec![]), rdes::OWN, "padding makes an address of no one's");
    assert_eq!(status(&mut pc, 0, stranger()), rdes::OWN);
    assert_eq!(status(&mut pc, csr6::PR, stranger()), 68 << 16 | whole | rdes::FT);
    assert_eq!(status(&mut pc, csr6::RA, stranger()), 68 << 16 | whole | rdes::FT | rdes::FF);
    assert_eq!(status(&mut pc, csr6::RA, frame(MAC, 9 + 60)), 73 << 16 | whole | rdes::FT);
    let group = frame([1, 0, 0x5e, 0, 0, 1], 64);
    assert_eq!(status(&mut pc, 0, group.clone()), rdes::OWN);
    assert_eq!(status(&mut pc, csr6::PM, group), 68 << 16 | whole | rdes::FT | rdes::MF);
}

#[test]
fn loopback_inside_outside_and_in_the_transceiver() {
    let mut pc = Pc::new();
    let run = |pc: &mut Pc, mode: u32, data: &[u8], flags: u32| {
        pc.set_csr(6, 0);
        pc.events();
        pc.receive_ring(RX, 2, 0x6000, 1024);
        send(pc, TX, data, 0x4000, flags | tdes::IC);
        pc.descriptor(TX + 16, [0; 4]);
        pc.set_csr(4, TX);
        pc.set_csr(6, mode | csr6::PS | csr6::ST | csr6::SR);
        let before = pc.wire.sent.len();
        // Nothing is received from within the call that sends.
        if mode >> csr6::OM_SHIFT & 3 == 1 {
            assert_eq!((pc.get32(TX), pc.get32(RX)), (tdes::OWN, rdes::OWN));
        }
        pc.advance(1_000_000);
        (pc.get32(TX), pc.get32(RX), pc.wire.sent.len() - before)
    };
    pc.recognise(&[MAC]);
    let mine = frame(MAC, 64);
    let inside = 1 << csr6::OM_SHIFT;
    let whole = 68 << 16 | rdes::FS | rdes::LS | rdes::FT;
    assert_eq!(run(&mut pc, inside, &mine, 0), (0, whole | 1 << rdes::DT_SHIFT, 0));
    assert_eq!(pc.get(0x6000, 68), with_crc(&mine));
    assert_eq!(run(&mut pc, inside, &frame([2; 6], 64), 0), (0, rdes::OWN, 0), "through the filter");
    assert_eq!(run(&mut pc, inside | csr6::FC, &mine, 0), (tdes::ES | tdes::EC, rdes::OWN, 0));
    let short = frame(MAC, 20);
    assert_eq!(run(&mut pc, inside, &short, tdes::DPD), (0, rdes::OWN, 0), "a runt");
    let runt = 24 << 16 | rdes::FS | rdes::LS | rdes::FT | rdes::RF | rdes::ES | 1 << rdes::DT_SHIFT;
    assert_eq!(run(&mut pc, inside | csr6::PB, &short, tdes::DPD), (0, runt, 0));
    pc.wire.sent.clear();
    let outside = 2 << csr6::OM_SHIFT;
    // The network took the frame within the CSR6 write.
    assert_eq!(run(&mut pc, outside, &mine, 0), (0, whole | 2 << rdes::DT_SHIFT, 0));
    assert_eq!(pc.wire.sent.split_off(0), std::slice::from_ref(&mine));
    // What comes while the wire is disconnected is not for us.
    pc.set_csr(6, inside | csr6::SR);
    assert_eq!(pc.call(|card, cx| card.receive(cx, &mine)), slotone_net::Received::Filtered);
    // BMCR loopback, by a management frame: write register 0 of PHY 1 with 4100h.
    let bits =
        (0..32).map(|_| true).chain((0..32).rev().map(|n| 0x5082_4100u32 >> n & 1 != 0)).collect::<Vec<_>>();
    for bit in bits {
        let data = if bit { csr9::MDO } else { 0 };
        pc.set_csr(9, data);
        pc.set_csr(9, data | csr9::MDC);
    }
    assert_eq!(run(&mut pc, csr6::FD, &mine, 0), (0, whole, 0));
    assert_eq!(run(&mut pc, 0, &mine, 0), (0, rdes::OWN, 0), "half duplex");
    assert!(pc.wire.sent.is_empty());
}

#[test]
fn without_a_cable_frames_go_nowhere_and_the_driver_is_not_held_up() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.receive_ring(RX, 2, 0x6000, 1024);
    for n in 0..3 {
        send(&mut pc, TX + 16 * n, &frame(ALL, 64), 0x4000, tdes::IC);
    }
    pc.set_csr(4, TX);
    pc.call(|card, cx| card.set_link(cx, false));
    pc.set_csr(6, csr6::ST | csr6::SR);
    pc.advance(1_000_000);
    assert_eq!((pc.wire.sent.len(), [0, 1, 2].map(|n| pc.get32(TX + 16 * n))), (0, [0; 3]));
    assert_eq!(pc.call(|card, cx| card.receive(cx, &frame(MAC, 64))), slotone_net::Received::Filtered);
    pc.call(|card, cx| card.set_link(cx, true));
    assert_eq!(pc.call(|card, cx| card.receive(cx, &frame(MAC, 64))), slotone_net::Received::Taken);
}

#[test]
fn bus_mastering_off_means_no_dma_and_on_goes_on() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.config_write(4, &[3]);
    pc.receive_ring(RX, 2, 0x6000, 1024);
    send(&mut pc, TX, &frame(ALL, 64), 0x4000, 0);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST | csr6::SR);
    pc.advance(1_000_000);
    assert_eq!((pc.processes(), pc.get32(TX), pc.ticks), ((1, 1), tdes::OWN, 0));
    assert!(!pc.card.ready());
    pc.config_write(4, &[7]);
    assert_eq!((pc.processes(), pc.get32(TX), pc.wire.sent.len()), ((3, 6), 0, 1));
}

/// What the reference says of a transmit list: frames and what every descriptor becomes.
fn reference(list: &[(u32, Vec<u8>)]) -> (Vec<Vec<u8>>, Vec<u32>) {
    let (mut frames, mut states, mut open) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    for (flags, data) in list {
        if flags & tdes::FS != 0 {
            open = Some(Vec::new());
        }
        let Some(frame) = &mut open else {
            let empty = data.is_empty() && flags & tdes::LS == 0;
            states.push(if empty { 0 } else { tdes::ES | tdes::UF });
            continue;
        };
        frame.extend(data);
        if flags & tdes::LS == 0 {
            states.push(0);
            continue;
        }
        let mut frame = open.take().unwrap();
        if frame.len() > 4096 {
            states.push(tdes::ES | tdes::TO);
            continue;
        }
        if flags & tdes::DPD == 0 {
            frame.resize(frame.len().max(60), 0);
        }
        frames.push(frame);
        states.push(0);
    }
    (frames, states)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Random segments in a random arrangement of ring and chain, beside the reference.
    #[test]
    fn any_transmit_list_gives_the_references_frames(
        list in proptest::collection::vec((0u32..8, 0usize..2048, 0usize..2048, any::<bool>()), 1..40),
        seed: u8, skip in 0u32..4,
    ) {
        let mut pc = Pc::new();
        pc.set_csr(0, skip << csr0::DSL_SHIFT);
        let step = 16 + 4 * skip;
        let (mut at, mut expected, mut places) = (TX, Vec::new(), Vec::new());
        let mut buffer = 0x10000;
        for (n, (kind, one, two, chained)) in list.iter().enumerate() {
            let flags = [0, tdes::FS, tdes::LS, tdes::FS | tdes::LS, tdes::FS | tdes::LS | tdes::DPD][(*kind).min(4) as usize];
            // Mostly small pieces.
            let scale = |len: usize| if n % 5 == 0 { len.min(2047) } else { len % 90 };
            let (one, two) = (scale(*one), if *chained { 0 } else { scale(*two) });
            let data: Vec<u8> = (0..one + two).map(|i| (i * 3 + n) as u8 ^ seed).collect();
            pc.put(buffer, &data);
            let next = at + step + if *chained { 0x20 } else { 0 };
            let (second, size2) = if *chained { (next, 0x155) } else { (buffer + one as u32, two as u32) };
            let chain = if *chained { tdes::TCH } else { 0 };
            pc.descriptor(at, [tdes::OWN, flags | chain | size2 << 11 | one as u32, buffer, second]);
            places.push(at);
            expected.push((flags, data));
            buffer += 0x1000;
            at = next;
        }
        pc.set_csr(4, TX);
        pc.set_csr(6, csr6::ST);
        pc.advance(10_000_000);
        let (frames, states) = reference(&expected);
        prop_assert_eq!(&pc.wire.sent, &frames);
        prop_assert_eq!(places.iter().map(|at| pc.get32(*at)).collect::<Vec<_>>(), states);
        prop_assert_eq!(pc.processes().1, 6);
    }

    /// Random frames into random buffers: what lies in memory, read as a driver reads it, is what came.
    #[test]
    fn any_receive_ring_gives_the_frames_back(
        sizes in proptest::collection::vec((0u32..600, 0u32..600), 6..24),
        lengths in proptest::collection::vec(14usize..1515, 1..12),
    ) {
        let mut pc = Pc::new();
        pc.recognise(&[MAC]);
        let entries = sizes.len() as u32;
        for (n, (one, two)) in (0..).zip(&sizes) {
            let end = if n + 1 == entries { rdes::RER } else { 0 };
            let control = end | (two & !3) << 11 | (one & !3);
            pc.descriptor(RX + 16 * n, [rdes::OWN, control, 0x10000 + 0x1000 * n, 0x10800 + 0x1000 * n]);
        }
        pc.set_csr(3, RX);
        pc.set_csr(6, csr6::SR);
        let frames: Vec<_> = lengths.iter().map(|n| frame(MAC, *n)).collect();
        pc.wire.incoming.extend(frames.clone());
        let (mut at, mut got, mut partial, mut want) = (0, Vec::new(), Vec::new(), 0);
        // A driver that empties the ring, gives everything back, and asks for more.
        for _ in 0..40 {
            pc.set_csr(2, 0);
            while pc.get32(RX + 16 * at) & rdes::OWN == 0 {
                let status = pc.get32(RX + 16 * at);
                if status & rdes::FS != 0 {
                    partial.clear();
                }
                let (one, two) = sizes[at as usize];
                partial.extend(pc.get(0x10000 + 0x1000 * at, (one & !3) as usize));
                partial.extend(pc.get(0x10800 + 0x1000 * at, (two & !3) as usize));
                if status & rdes::LS != 0 {
                    let whole = with_crc(&frames[want]);
                    prop_assert_eq!(status >> 16 & 0x3fff, whole.len() as u32);
                    if status & rdes::DE == 0 {
                        partial.truncate(whole.len());
                        prop_assert_eq!(&partial, &whole);
                    } else {
                        prop_assert!(partial.len() < whole.len());
                        prop_assert_eq!(&partial[..], &whole[..partial.len()]);
                    }
                    got.push(want);
                    want += 1;
                }
                pc.put32(RX + 16 * at, rdes::OWN);
                at = (at + 1) % entries;
            }
        }
        prop_assert_eq!(got.len(), frames.len(), "nothing is lost without a word");
        prop_assert_eq!(pc.csr(8), csr8::ONES);
    }
}
