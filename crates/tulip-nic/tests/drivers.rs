//! The card as drivers use it: the order of accesses of Linux' tulip, iPXE's tulip and NT's dc21x4, in our own words.

mod common;

use common::{MAC, Pc, frame, with_crc};
use slotone_tulip_nic::registers::*;
use slotone_tulip_nic::srom::{InfoBlock, Srom};

const ALL: [u8; 6] = [0xff; 6];

/// Reads a word of the serial ROM with `width` address bits; DO is sampled while SK is high. Returns all bits sampled.
fn srom_bits(pc: &mut Pc, address: u32, width: u32) -> u32 {
    const ENABLE: u32 = 0x4801;
    pc.set_csr(9, ENABLE & !1);
    pc.set_csr(9, ENABLE);
    let command = 6 << width | address;
    let mut got = 0;
    for n in (0..width + 5 + 16).rev() {
        let data = if n >= 16 && command >> (n - 16) & 1 != 0 { csr9::SR_DI } else { 0 };
        pc.set_csr(9, ENABLE | data);
        pc.set_csr(9, ENABLE | data | csr9::SR_SK);
        got = got << 1 | u32::from(pc.csr(9) & csr9::SR_DO != 0);
        pc.set_csr(9, ENABLE | data);
    }
    pc.set_csr(9, ENABLE & !1);
    got
}

fn mdio(pc: &mut Pc, value: u32, count: u32) {
    for n in (0..count).rev() {
        let data = if value >> n & 1 != 0 { csr9::MDO } else { 0 };
        pc.set_csr(9, data);
        pc.set_csr(9, data | csr9::MDC);
    }
}

/// Linux samples before the rising edge.
fn mdio_read(pc: &mut Pc, phy: u32, register: u32) -> u32 {
    mdio(pc, u32::MAX, 32);
    mdio(pc, 0xf6 << 10 | phy << 5 | register, 16);
    let mut got = 0;
    for _ in 0..19 {
        pc.set_csr(9, csr9::MII);
        got = got << 1 | u32::from(pc.csr(9) & csr9::MDI != 0);
        pc.set_csr(9, csr9::MII | csr9::MDC);
    }
    got >> 1 & 0xffff
}

fn mdio_write(pc: &mut Pc, phy: u32, register: u32, value: u32) {
    mdio(pc, u32::MAX, 32);
    mdio(pc, 0b0101_0000_0000_0010 << 16 | phy << 23 | register << 18 | value, 32);
}

#[test]
fn linux_probes_opens_moves_frames_and_closes() {
    let mut pc = Pc::new();
    assert_eq!((pc.config_read(0), pc.config_read(8)), (0x0009_1011, 0x0200_0020));
    assert_eq!(pc.config_read(0x2c), 0x2114_0a00);
    pc.config_write(0x10, &[0xff; 4]);
    assert_eq!(pc.config_read(0x10), 0xffff_ff81, "128 ports");
    pc.config_write(0x10, &0xe881u32.to_le_bytes());

    // Probe.
    pc.set_csr(6, csr6::PS);
    pc.set_csr(0, csr0::SWR);
    pc.set_csr(0, 0x01a0_8000);
    assert_eq!(pc.csr(0), 0xffa0_8000);
    assert_eq!(pc.csr(6) & csr6::PS, csr6::PS, "the port outlives a software reset");
    assert_eq!(srom_bits(&mut pc, 0xff, 8) & 0x4_0000, 0, "six address bits");
    let mut image = [0; 128];
    for n in 0..64 {
        image[2 * n..2 * n + 2].copy_from_slice(&(srom_bits(&mut pc, n as u32, 6) as u16).to_le_bytes());
    }
    let rom = Srom::parse(&image).unwrap();
    assert_eq!((rom.mac.0, rom.version, rom.blocks), (MAC, 3, vec![InfoBlock::mii()]));
    let found: Vec<u32> =
        (1..33).map(|n| n & 31).filter(|n| !matches!(mdio_read(&mut pc, *n, 1), 0 | 0xffff)).collect();
    assert_eq!(found, [1]);
    assert_eq!((mdio_read(&mut pc, 1, 0), mdio_read(&mut pc, 1, 1)), (0x3100, 0x782d));
    mdio_write(&mut pc, 1, 4, 0x01e1);
    assert_eq!((mdio_read(&mut pc, 1, 4), mdio_read(&mut pc, 1, 5)), (0x01e1, 0x45e1));

    // Open: rings, an empty descriptor and a set-up frame, both processes.
    const TX: u32 = 0x1000;
    const RX: u32 = 0x2000;
    pc.receive_ring(RX, 8, 0x10000, 1536);
    pc.perfect(0x3000, &[ALL, MAC]);
    for n in 0..8 {
        pc.descriptor(TX + 16 * n, [0, if n == 7 { tdes::TER } else { 0 }, 0, TX + 16 * (n + 1)]);
    }
    pc.descriptor(TX, [tdes::OWN, 0, 0, TX + 16]);
    pc.descriptor(TX + 16, [tdes::OWN, tdes::IC | tdes::SET | 192, 0x3000, TX + 32]);
    pc.set_csr(4, TX);
    pc.set_csr(5, 0x0001_ebef);
    pc.set_csr(7, 0x0001_ebef);
    let mode = csr6::PS | csr6::FD | csr6::SF;
    pc.set_csr(6, mode | csr6::ST);
    assert_eq!((pc.get32(TX), pc.get32(TX + 16)), (0, tdes::SETUP_DONE));
    assert_eq!(pc.processes(), (0, 6));
    assert!(pc.level, "set-up done, and nothing more to send");
    let status = pc.csr(5);
    assert_eq!(status & (csr5::EVENTS | csr5::NIS | csr5::AIS), csr5::TI | csr5::TU | csr5::NIS);
    pc.set_csr(5, status & 0x1_ffff);
    assert!(!pc.level);
    pc.set_csr(6, mode | csr6::ST | csr6::SR);
    pc.set_csr(2, 0);
    assert_eq!(pc.processes(), (3, 6));

    // Transmit: one a poll demand, an interrupt on some; the ring wraps.
    for n in 2..20u32 {
        let at = TX + 16 * (n % 8);
        let data = frame(ALL, 60 + 70 * n as usize);
        pc.put(0x40000 + 0x800 * (n % 8), &data);
        let end = if n % 8 == 7 { tdes::TER } else { 0 };
        let ic = if n % 4 == 0 { tdes::IC } else { 0 };
        let control = ic | tdes::FS | tdes::LS | end | data.len() as u32;
        pc.descriptor(at, [tdes::OWN, control, 0x40000 + 0x800 * (n % 8), TX + 16 * (n + 1)]);
        pc.set_csr(1, 0);
        assert_eq!(pc.get32(at), 0, "success has no bits");
        assert_eq!(pc.wire.sent.pop(), Some(data));
        assert!(pc.level, "TU, again after every frame, and TI with IC");
        assert_eq!(pc.events() & (csr5::TI | csr5::TU), if ic != 0 { csr5::TI | csr5::TU } else { csr5::TU });
    }

    // Receive under NAPI: RI and RU are masked while the ring is polled.
    let sizes = [60, 42, 1514, 700, 61, 1000, 1200];
    pc.wire.incoming.extend(sizes.map(|n| frame(MAC, n)));
    pc.wire.incoming.push_back(frame([2, 1, 1, 1, 1, 1], 99));
    pc.csr(5);
    assert!(pc.level);
    let polling = 0x0001_ebef & !(csr5::RI | csr5::RU);
    pc.set_csr(7, polling);
    assert!(!pc.level, "masked");
    for (n, size) in (0u32..).zip(sizes) {
        let status = pc.get32(RX + 16 * n);
        let data = with_crc(&frame(MAC, size));
        assert_eq!(status, (data.len() as u32) << 16 | rdes::FS | rdes::LS | rdes::FT, "frame {n}");
        assert_eq!(pc.get(0x10000 + 1536 * n, data.len()), data);
        pc.put32(RX + 16 * n, rdes::OWN);
    }
    assert_eq!(pc.get32(RX + 16 * 7), rdes::OWN, "that was for somebody else");
    pc.set_csr(5, csr5::RI | csr5::RU);
    pc.set_csr(7, 0x0001_ebef);
    assert!(!pc.level);

    // The media timer: both processes stop at once and start again where they were.
    pc.set_csr(6, mode);
    assert_eq!(pc.processes(), (0, 0));
    assert_eq!(pc.events() & (csr5::TPS | csr5::RPS), csr5::TPS | csr5::RPS);
    pc.set_csr(6, mode | csr6::ST | csr6::SR);
    assert_eq!(pc.processes(), (3, 6));
    pc.wire.incoming.push_back(frame(ALL, 64));
    pc.csr(5);
    assert_eq!(pc.get32(RX + 16 * 7), 68 << 16 | rdes::FS | rdes::LS | rdes::FT | rdes::MF);
    assert_eq!(pc.csr(8), csr8::ONES, "nothing was missed");
}

#[test]
fn linux_refills_a_ring_that_ran_dry() {
    let mut pc = Pc::new();
    pc.recognise(&[MAC]);
    pc.receive_ring(0x2000, 4, 0x10000, 1536);
    pc.set_csr(7, csr5::NIS | csr5::AIS | csr5::RI | csr5::RU);
    pc.set_csr(6, csr6::SR);
    pc.wire.incoming.extend((0..10).map(|n| frame(MAC, 100 + n)));
    pc.csr(5);
    assert_eq!(pc.processes().0, 4);
    assert_eq!(pc.events() & (csr5::RI | csr5::RU), csr5::RI | csr5::RU);
    assert_eq!(pc.wire.incoming.len(), 6, "the rest waits in the network");
    pc.set_csr(2, 0);
    assert_eq!(pc.events() & csr5::RU, 0, "once a suspension");
    for n in 0..4 {
        pc.put32(0x2000 + 16 * n, rdes::OWN);
    }
    pc.set_csr(2, 0);
    assert_eq!((pc.wire.incoming.len(), pc.processes().0), (2, 4));
    for n in 0..4 {
        pc.put32(0x2000 + 16 * n, rdes::OWN);
    }
    // Linux says nothing to this chip when it has refilled the ring; it unmasks the interrupts.
    pc.set_csr(7, csr5::NIS | csr5::AIS | csr5::RI | csr5::RU);
    let lengths: Vec<u32> = (0..2).map(|n| pc.get32(0x2000 + 16 * n) >> 16).collect();
    assert_eq!((lengths, pc.processes().0), (vec![112, 113], 3));
    assert_eq!(pc.csr(8), csr8::ONES);
}

#[test]
fn ipxe_polls_and_never_demands_a_receive_poll() {
    let mut pc = Pc::new();
    assert_ne!(pc.csr(5), u32::MAX, "a card is there");
    pc.set_csr(6, csr6::PS);
    pc.set_csr(0, csr0::SWR);
    pc.set_csr(0, 0);
    assert_eq!(mdio_read(&mut pc, 1, 1), 0x782d);
    const TX: u32 = 0x1000;
    const RX: u32 = 0x2000;
    pc.receive_ring(RX, 4, 0x10000, 1536);
    // The set-up frame goes through the first descriptor, chained to itself.
    pc.perfect(0x3000, &[MAC]);
    pc.descriptor(TX, [tdes::OWN, tdes::SET | tdes::TCH | 192, 0x3000, TX]);
    pc.set_csr(4, TX);
    let mode = pc.csr(6) & !csr6::PR | csr6::PM;
    pc.set_csr(6, mode | csr6::ST | csr6::SR);
    pc.set_csr(1, 0);
    assert_eq!(pc.get32(TX) & tdes::OWN, 0);
    for round in 0..12u32 {
        // Transmit: stop by read-modify-write, one chained descriptor, list, start, demand.
        let mode = pc.csr(6);
        pc.set_csr(6, mode & !csr6::ST);
        let data = frame(ALL, 42 + round as usize);
        pc.put(0x40000, &data);
        pc.descriptor(TX, [tdes::OWN, tdes::FS | tdes::LS | tdes::TCH | data.len() as u32, 0x40000, TX]);
        pc.set_csr(4, TX);
        let mode = pc.csr(6);
        pc.set_csr(6, mode | csr6::ST);
        pc.set_csr(1, 0);
        assert_eq!(pc.get32(TX), 0);
        let mut padded = data;
        padded.resize(padded.len().max(60), 0);
        assert_eq!(pc.wire.sent.split_off(0), [padded], "once");
        // Receive: the descriptor's OWN bit is polled, and given back.
        pc.wire.incoming.push_back(frame(MAC, 200));
        pc.wire.incoming.push_back(frame([1, 0, 0x5e, 1, 2, 3], 300));
        pc.deliver();
        for expected in [204, 304] {
            let at = RX + 16 * ((2 * round + u32::from(expected == 304)) % 4);
            assert_eq!(pc.get32(at) & (rdes::OWN | rdes::ES), 0);
            assert_eq!(pc.get32(at) >> 16, expected);
            pc.put32(at, rdes::OWN);
        }
    }
    // The ring full and given back without a word to the chip: reception goes on by itself.
    pc.wire.incoming.extend((0..6).map(|_| frame(MAC, 64)));
    pc.deliver();
    assert_eq!((pc.wire.incoming.len(), pc.processes().0), (2, 4));
    (0..4).for_each(|n| pc.put32(RX + 16 * n, rdes::OWN));
    pc.advance(10_000_000);
    assert_eq!((pc.wire.incoming.len(), pc.processes().0), (0, 3));
}

#[test]
fn nt_initialises_sends_and_polls_the_medium() {
    let mut pc = Pc::new();
    // CFDD is written and means nothing; CBIO is found by its length.
    pc.config_write(0x40, &0x4000_5a00u32.to_le_bytes());
    assert_eq!(pc.config_read(0x40), 0x4000_5a00);
    pc.set_csr(0, csr0::SWR);
    pc.set_csr(0, 0x0020_e000);
    assert_eq!(pc.csr(0), 0xfe20_e000);
    let image: Vec<u8> = (0..64).flat_map(|n| (srom_bits(&mut pc, n, 6) as u16).to_le_bytes()).collect();
    Srom::parse(image.as_slice().try_into().unwrap()).expect("the driver refuses a wrong CRC");
    pc.set_csr(12, csr12::GPC | 0xff);
    pc.set_csr(12, 0);
    assert_eq!(pc.csr(12), 0xffff_fe00, "all outputs low");

    // The set-up frame is waited for with the receiver stopped.
    const TX: u32 = 0x1000;
    const RX: u32 = 0x2000;
    pc.receive_ring(RX, 4, 0x10000, 1532);
    pc.perfect(0x3000, &[MAC]);
    pc.descriptor(TX, [tdes::OWN, 0, 0, 0]);
    pc.descriptor(TX + 16, [tdes::OWN, tdes::SET | tdes::IC | 192, 0x3000, 0]);
    pc.set_csr(4, TX);
    pc.set_csr(6, csr6::PS | csr6::ST);
    assert_eq!(pc.get32(TX + 16), tdes::SETUP_DONE);
    assert_ne!(pc.csr(5) & csr5::TI, 0);
    pc.set_csr(5, u32::MAX);
    pc.set_csr(7, 0x0001_a9c7);
    pc.set_csr(6, csr6::PS | csr6::ST | csr6::SR | csr6::FD | csr6::SF);

    // A packet in five pieces, two a descriptor.
    let data = frame(ALL, 1514);
    let pieces = [(0, 14), (14, 20), (34, 500), (534, 979), (1513, 1)];
    for (n, (at, len)) in (0u32..).zip(pieces) {
        pc.put(0x40000 + 0x1000 * n + 3 * n, &data[at..at + len]);
    }
    let piece = |n: u32| 0x40000 + 0x1000 * n + 3 * n;
    let last = tdes::LS | tdes::IC | tdes::TER | 1;
    pc.descriptor(TX + 64, [tdes::OWN, last, piece(4), 0]);
    pc.descriptor(TX + 48, [tdes::OWN, 979 << 11 | 500, piece(2), piece(3)]);
    pc.descriptor(TX + 32, [tdes::OWN, tdes::FS | 20 << 11 | 14, piece(0), piece(1)]);
    pc.set_csr(1, 1);
    assert_eq!(pc.wire.sent.split_off(0), [data]);
    assert_eq!([32, 48, 64].map(|n| pc.get32(TX + n)), [0; 3], "every descriptor is given back");
    // The interrupt loop: read, acknowledge what was seen, until nothing is left.
    let mut turns = 0;
    while pc.csr(5) & (csr5::NIS | csr5::AIS) != 0 {
        let seen = pc.csr(5);
        pc.set_csr(5, seen);
        turns += 1;
    }
    assert_eq!((turns, pc.level), (1, false));

    // The medium: the status register twice, for its latch.
    assert_eq!(mdio_read(&mut pc, 1, 1), 0x782d);
    pc.call(|card, cx| slotone_net::NetClient::set_link(card, cx, false));
    assert_eq!((mdio_read(&mut pc, 1, 1), mdio_read(&mut pc, 1, 1)), (0x7809, 0x7809));
    pc.call(|card, cx| slotone_net::NetClient::set_link(card, cx, true));
    assert_eq!((mdio_read(&mut pc, 1, 1), mdio_read(&mut pc, 1, 1)), (0x7829, 0x782d));
    assert_eq!(mdio_read(&mut pc, 0, 1), 0xffff);
}
