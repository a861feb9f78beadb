//! Guests that mean harm. The classes of bugs that QEMU's tulip had are named where a test stands for one.

mod common;

use common::{MAC, Pc, RAM, frame};
use proptest::prelude::*;
use slotone_bus::Device;
use slotone_fuzz_kit::{Harness, Script, assert_rules};
use slotone_net::{MAX_FRAME, MacAddress, NetClient};
use slotone_tulip_nic::registers::*;
use slotone_tulip_nic::{Tulip, TulipConfig};

const ALL: [u8; 6] = [0xff; 6];
const TX: u32 = 0x1000;
const RX: u32 = 0x2000;

/// CVE-2020-11102 (transmit): lengths of segments were added up into a fixed buffer.
#[test]
fn oversize_frames_are_jabber_or_cut() {
    let mut pc = Pc::new();
    let segments = |pc: &mut Pc, count: u32, size: u32| {
        pc.set_csr(6, 0);
        for n in 0..count {
            let first = if n == 0 { tdes::FS } else { 0 };
            let last = if n + 1 == count { tdes::LS | tdes::IC } else { 0 };
            pc.descriptor(TX + 16 * n, [tdes::OWN, first | last | size << 11 | size, 0x8000, 0x9000]);
        }
        pc.descriptor(TX + 16 * count, [0; 4]);
        pc.set_csr(4, TX);
        pc.set_csr(6, csr6::ST);
        pc.advance(10_000_000);
        (
            pc.get32(TX + 16 * (count - 1)),
            pc.events() & (csr5::TI | csr5::TJT),
            pc.wire.sent.pop().map(|f| f.len()),
        )
    };
    let jabber = (tdes::ES | tdes::TO, csr5::TI | csr5::TJT, None);
    assert_eq!(segments(&mut pc, 1, 2047), (0, csr5::TI, Some(4094)));
    assert_eq!(segments(&mut pc, 2, 2047), jabber);
    assert_eq!(segments(&mut pc, 200, 2047), jabber, "800 KB");
    assert_eq!(segments(&mut pc, 3, 500), (0, csr5::TI, Some(3000)));
    pc.set_csr(15, csr15::JCK);
    assert_eq!(segments(&mut pc, 3, 500), jabber);
    pc.set_csr(15, csr15::JBD);
    assert_eq!(segments(&mut pc, 2, 2047), (0, csr5::TI, Some(MAX_FRAME)));
    assert_eq!(pc.processes().1, 6, "and the process goes on");
}

/// CVE-2020-11102 (receive): a frame larger than the buffers, or than any frame, was copied past their end.
#[test]
fn received_frames_stay_in_their_buffers() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.set_csr(15, csr15::RWD);
    for (size, len) in [(64, 1514), (0, 60), (2044, MAX_FRAME), (4, 61)] {
        pc.put(0x8000, &[0xa5; 0x2000]);
        pc.set_csr(6, 0);
        pc.receive_ring(RX, 1, 0x9000, size);
        pc.descriptor(RX + 16, [0; 4]);
        pc.set_csr(6, csr6::SR);
        pc.wire.incoming.push_back(frame(MAC, len));
        pc.deliver();
        assert_eq!(pc.get32(RX) & (rdes::OWN | rdes::DE), rdes::DE);
        assert_eq!(pc.get(0x8000, 0x1000), [0xa5; 0x1000]);
        let behind = 0x9000 + size;
        assert_eq!(pc.get(behind, 0x100), [0xa5; 0x100], "{size}");
    }
    // Longer than the contract allows.
    assert_eq!(pc.call(|card, cx| card.receive(cx, &vec![0xff; 100_000])), slotone_net::Received::Filtered);
}

/// CVE-2022-2962: descriptors and buffers in the device's own window re-entered it. DMA here never reaches a device: what is no memory
/// is a master abort.
#[test]
fn dma_to_the_cards_own_window_is_a_bus_error() {
    type Aim = fn(&mut Pc);
    let own = 0xfebf_f000u32;
    let aims: [(&str, Aim); 5] = [
        ("transmit list", |pc| pc.set_csr(4, 0xfebf_f000)),
        ("transmit buffer", |pc| {
            pc.descriptor(TX, [tdes::OWN, tdes::FS | tdes::LS | 64, 0xfebf_f000, 0]);
        }),
        ("set-up frame", |pc| pc.descriptor(TX, [tdes::OWN, tdes::SET | 192, 0xfebf_f030, 0])),
        ("chain", |pc| {
            pc.descriptor(TX, [tdes::OWN, tdes::FS | tdes::LS | tdes::TCH | 64, 0x8000, 0xfebf_f000]);
        }),
        ("beyond 4 GiB", |pc| {
            pc.descriptor(TX, [tdes::OWN, tdes::FS | tdes::LS | 64, 0xffff_fff8, 0]);
        }),
    ];
    for (what, aim) in aims {
        let mut pc = Pc::new();
        pc.config_write(0x14, &own.to_le_bytes());
        pc.set_csr(4, TX);
        pc.set_csr(7, csr5::FBE | csr5::AIS);
        aim(&mut pc);
        let before = pc.csr(6);
        pc.set_csr(6, before | csr6::ST);
        assert_eq!(pc.csr(5) >> csr5::EB_SHIFT & 7, csr5::EB_MASTER_ABORT, "{what}");
        assert!(pc.level && pc.events() & csr5::FBE != 0, "{what}");
        assert_eq!(pc.config_read(4) >> 16, 0x2280, "received master abort");
        // Off the bus until a software reset.
        assert!(pc.card.ready());
        pc.receive_ring(RX, 1, 0x6000, 1024);
        pc.set_csr(6, before | csr6::ST | csr6::SR | csr6::PR);
        pc.set_csr(1, 0);
        pc.wire.incoming.push_back(frame(MAC, 64));
        pc.advance(1_000_000);
        assert_eq!((pc.get32(RX), pc.get32(TX + 16)), (rdes::OWN, 0), "{what}");
        pc.set_csr(0, csr0::SWR);
        pc.wire.sent.clear();
        pc.descriptor(TX, [tdes::OWN, tdes::FS | tdes::LS | 64, 0x8000, 0]);
        pc.set_csr(4, TX);
        pc.set_csr(6, csr6::ST);
        assert_eq!(pc.wire.sent.len(), 1, "{what}");
    }
    let mut pc = Pc::new();
    pc.descriptor(RX, [rdes::OWN, rdes::RER | 1024, 0xfebf_f000, 0]);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::SR | csr6::PR);
    pc.wire.incoming.push_back(frame(MAC, 64));
    pc.deliver();
    assert_eq!((pc.events(), pc.counter("dma_faults")), (csr5::FBE, 1));
}

/// The recursion of the same CVE: in loopback, transmission called reception, which called transmission. Here a frame comes back at a
/// tick, and one at a time.
#[test]
fn loopback_does_not_nest() {
    let mut pc = Pc::new();
    pc.descriptor(TX, [tdes::OWN, tdes::FS | tdes::LS | tdes::TER | 64, 0x1000, 0]);
    // The receiver writes over the transmit descriptor: its data set OWN again and again.
    pc.receive_ring(RX, 1, TX, 64);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::PS | csr6::PR | csr6::ST | csr6::SR | 1 << csr6::OM_SHIFT);
    pc.advance(1_000_000);
    assert!(pc.ticks < 200, "{} ticks in a millisecond", pc.ticks);
}

/// Descriptor loops: lists that never end cost a bounded time in every call, and the clock goes on.
#[test]
fn endless_lists_take_turns() {
    // Closing a descriptor clears OWN, so that the longest list is all of memory.
    type Make = fn(&mut Pc);
    let lists: [(&str, Make); 3] = [
        ("empty descriptors over all of memory", |pc| {
            for at in (0..RAM as u32).step_by(16) {
                pc.descriptor(at, [tdes::OWN, 0, 0, 0]);
            }
        }),
        ("segments without an end", |pc| {
            for at in (0..RAM as u32).step_by(16) {
                pc.descriptor(at, [tdes::OWN, if at == 0 { tdes::FS } else { 0 } | 0x7ff, 0, 0]);
            }
        }),
        ("set-up frames", |pc| {
            for at in (0..RAM as u32).step_by(16) {
                pc.descriptor(at, [tdes::OWN, tdes::SET | 192, 0, 0]);
            }
        }),
    ];
    for (what, make) in lists {
        let mut pc = Pc::new();
        make(&mut pc);
        pc.set_csr(4, 0);
        pc.set_csr(6, csr6::ST);
        let owned = |pc: &Pc| (0..RAM as u32).step_by(16).filter(|at| pc.get32(*at) & tdes::OWN != 0).count();
        let all = RAM / 16;
        assert_eq!(owned(&pc), all - 64, "{what}");
        pc.set_csr(1, 0);
        assert_eq!(owned(&pc), all - 128, "{what}");
        assert_eq!(pc.processes().1, 1, "{what}");
        pc.advance(50_000);
        assert_eq!(owned(&pc), all - 192, "{what}");
        // Stopping works in between.
        pc.set_csr(6, 0);
        pc.advance(1_000_000);
        assert_eq!((owned(&pc), pc.processes().1), (all - 192, 0), "{what}");
    }
}

/// More frames than one exchange carries: the card's deadline brings the machine back for the rest.
#[test]
fn many_frames_are_bounded_by_the_exchange() {
    let mut pc = Pc::new();
    for n in 0..1000 {
        pc.descriptor(TX + 16 * n, [tdes::OWN, tdes::FS | tdes::LS | 64, 0x8_0000, 0]);
    }
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::ST);
    assert_eq!(pc.wire.sent.len(), 64, "the budget of the test's machine");
    assert!(pc.card.next_deadline().is_some());
    pc.advance(10_000_000);
    assert_eq!(pc.wire.sent.len(), 1000, "and the deadline brings the rest");
}

/// A receive list of empty buffers that ends in itself.
#[test]
fn a_receive_list_without_room_ends() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.descriptor(RX, [rdes::OWN, rdes::RER, 0, 0]);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::SR);
    pc.wire.incoming.push_back(frame(MAC, 1514));
    pc.deliver();
    assert_eq!(pc.get32(RX) & (rdes::LS | rdes::DE | rdes::OWN), rdes::LS | rdes::DE);
    for at in (0x4000..0xf0000).step_by(16) {
        pc.descriptor(at, [rdes::OWN, 0, 0, 0]);
    }
    pc.set_csr(6, 0);
    pc.set_csr(3, 0x4000);
    pc.set_csr(6, csr6::SR);
    pc.wire.incoming.push_back(frame(MAC, 1514));
    pc.deliver();
    assert_eq!(pc.get32(0x4000 + 16 * 1023) & (rdes::LS | rdes::DE), rdes::LS | rdes::DE);
    assert_eq!((pc.get32(0x4000 + 16 * 1024), pc.processes().0), (rdes::OWN, 3));
}

/// Overlapping buffers and descriptors: whatever comes of it, nothing is lost but the frame.
#[test]
fn buffers_over_descriptors() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.descriptor(RX, [rdes::OWN, 512, RX, 0]);
    pc.descriptor(RX + 16, [rdes::OWN, rdes::RER | 512, RX + 4, 0]);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::SR);
    for n in 0..20 {
        pc.wire.incoming.push_back(frame(MAC, 60 + 50 * n));
        pc.deliver();
    }
    pc.set_csr(6, 0);
    pc.set_csr(0, csr0::SWR);
    pc.recognise(&[MAC]);
    pc.receive_ring(RX, 1, 0x6000, 1024);
    pc.set_csr(6, csr6::SR);
    pc.wire.incoming.clear();
    pc.wire.incoming.push_back(frame(MAC, 64));
    pc.deliver();
    assert_eq!(pc.get32(RX) >> 16, 68);
}

/// Interrupt storms: TU, RU, TPS and RPS come once for what they report.
#[test]
fn suspensions_are_reported_once() {
    let mut pc = Pc::new();
    pc.set_csr(4, TX);
    pc.set_csr(3, RX);
    pc.set_csr(6, csr6::ST | csr6::SR);
    assert_eq!(pc.events(), csr5::TU | csr5::RU);
    for _ in 0..10 {
        pc.set_csr(1, 0);
        pc.set_csr(2, 0);
        pc.wire.incoming.push_back(frame(ALL, 64));
        pc.advance(10_000_000);
    }
    assert_eq!(pc.events(), 0);
    pc.set_csr(6, 0);
    pc.set_csr(6, 0);
    assert_eq!(pc.events(), csr5::TPS | csr5::RPS);
    pc.set_csr(6, 0);
    assert_eq!(pc.events(), 0);
}

fn harness() -> Harness<Tulip> {
    Harness::new(|| Tulip::new(TulipConfig::new(MacAddress(MAC)))).with_host(
        |card: &mut Tulip, cx, event, data| match event {
            0 => card.set_link(cx, data.first().is_some_and(|b| b & 1 != 0)),
            1 => drop(card.receive(cx, data)),
            _ => card.sent(cx),
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Random accesses, ticks, frames, resets, restores and damaged states under the rules of every device.
    #[test]
    fn a_guest_without_manners(bytes in proptest::collection::vec(any::<u8>(), 0..900), orders in 0u32..4) {
        let mut script: Script = "h 0 01\nw 0+10 81e80000\nw 0+4 07".parse().unwrap();
        if orders & 1 != 0 {
            script.operations.extend("w 1+20 00100000\nw 1+30 422e0400".parse::<Script>().unwrap().operations);
        }
        script.operations.extend(Script::from_bytes(&bytes).operations);
        assert_rules(harness, &script);
    }

    /// Random descriptors under a running card.
    #[test]
    fn lists_without_manners(
        words in proptest::collection::vec(any::<[u16; 4]>(), 64),
        control in proptest::collection::vec(any::<u16>(), 64),
        mode: u32, csr0: u32, frames in proptest::collection::vec(0usize..1600, 0..20),
    ) {
        let mut pc = Pc::new();
        for (n, (w, c)) in (0u32..).zip(words.iter().zip(&control)) {
            // Addresses mostly in low memory, so that lists and buffers overlap.
            let near = |x: u16| u32::from(x) % 0x800;
            let tdes1 = u32::from(*c) << 16 | u32::from(w[1]);
            pc.descriptor(16 * n, [u32::from(w[0]) << 16 | u32::from(w[0] & 1) << 31, tdes1, near(w[2]), near(w[3])]);
        }
        pc.set_csr(0, csr0 & !csr0::SWR);
        pc.set_csr(4, 0);
        pc.set_csr(3, 0x200);
        pc.set_csr(6, mode | csr6::ST | csr6::SR);
        for len in frames {
            pc.wire.incoming.push_back(frame(MAC, len.max(14)));
            pc.set_csr(1, 0);
            pc.restored();
            pc.advance(100_000);
        }
        let before = pc.ticks;
        pc.advance(10_000_000);
        prop_assert!(pc.ticks - before < 5_000);
        pc.set_csr(6, 0);
        prop_assert_eq!(pc.processes(), (0, 0), "the stop is synchronous");
    }
}
