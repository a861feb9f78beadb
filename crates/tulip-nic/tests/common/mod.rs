//! A small computer around one card: memory, a cable, an interrupt line, and a driver's hands.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use std::collections::VecDeque;

use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{At, Cx, Device, TestPort, VmInstant, WindowId};
use slotone_net::{MacAddress, NetClient, NetPort, Sent, exchange};
use slotone_tulip_nic::registers::*;
use slotone_tulip_nic::{Tulip, TulipConfig};

pub const MAC: [u8; 6] = [0x00, 0x03, 0xff, 0x11, 0x22, 0x33];
pub const RAM: usize = 1 << 20;

/// The other end of the cable.
#[derive(Default)]
pub struct Wire {
    pub sent: Vec<Vec<u8>>,
    pub incoming: VecDeque<Vec<u8>>,
    pub full: bool,
}

impl NetPort for Wire {
    fn send(&mut self, _: VmInstant, frame: &[u8]) -> Sent {
        if self.full {
            return Sent::Full;
        }
        self.sent.push(frame.to_vec());
        Sent::Taken
    }
    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        self.incoming.pop_front().map(|frame| take(&frame)).is_some()
    }
}

pub struct Pc {
    pub port: TestPort,
    pub card: Tulip,
    pub wire: Wire,
    pub now: u64,
    pub level: bool,
    pub ticks: u32,
}

impl Pc {
    /// With the cable out and configuration space as after power-on.
    pub fn bare() -> Self {
        let card = Tulip::new(TulipConfig::new(MacAddress(MAC)));
        Self { port: TestPort::new(RAM), card, wire: Wire::default(), now: 0, level: false, ticks: 0 }
    }

    /// Plugged in and enabled.
    pub fn new() -> Self {
        let mut pc = Self::bare();
        pc.call(|card, cx| card.set_link(cx, true));
        pc.config_write(0x10, &0xe881u32.to_le_bytes());
        pc.config_write(0x04, &[7, 0]);
        pc
    }

    /// As the machine does it: a call into the card, then frames move.
    pub fn call<R>(&mut self, f: impl FnOnce(&mut Tulip, &mut Cx<'_>) -> R) -> R {
        let (card, wire) = (&mut self.card, &mut self.wire);
        let result = self.port.at(self.now, |cx| {
            let result = f(card, cx);
            exchange(card, wire, cx, 64);
            result
        });
        for (pin, level) in self.port.take_lines() {
            assert_eq!(pin, Tulip::INTA);
            assert_ne!(level, self.level, "only changes are told");
            self.level = level;
        }
        assert_eq!(self.card.levels().get(Tulip::INTA), self.level);
        result
    }

    /// The port has rung: frames move.
    pub fn deliver(&mut self) {
        self.call(|_, _| ());
    }

    pub fn config_read(&mut self, offset: u64) -> u32 {
        let mut data = [0; 4];
        let at = At { window: WindowId(0), offset };
        self.call(|card, cx| card.read(cx, at, &mut data));
        u32::from_le_bytes(data)
    }

    pub fn config_write(&mut self, offset: u64, data: &[u8]) {
        self.call(|card, cx| card.write(cx, At { window: WindowId(0), offset }, data));
    }

    pub fn csr(&mut self, n: u64) -> u32 {
        let mut data = [0; 4];
        let at = At { window: WindowId(1), offset: 8 * n };
        self.call(|card, cx| card.read(cx, at, &mut data));
        u32::from_le_bytes(data)
    }

    pub fn set_csr(&mut self, n: u64, value: u32) {
        let at = At { window: WindowId(1), offset: 8 * n };
        self.call(|card, cx| card.write(cx, at, &value.to_le_bytes()));
    }

    /// Lets time pass, with every tick that falls due.
    pub fn advance(&mut self, nanos: u64) {
        let target = self.now + nanos;
        while let Some(due) = self.card.next_deadline()
            && due.as_nanos() <= target
        {
            self.now = self.now.max(due.as_nanos());
            self.call(|card, cx| card.tick(cx));
            assert_ne!(self.card.next_deadline(), Some(due), "a tick moves the deadline");
            self.ticks += 1;
        }
        self.now = target;
    }

    pub fn put(&mut self, at: u32, bytes: &[u8]) {
        self.port.ram.write(at.into(), bytes).unwrap();
    }

    pub fn get(&self, at: u32, len: usize) -> Vec<u8> {
        self.port.ram.slice(at.into(), len).unwrap().to_vec()
    }

    pub fn put32(&mut self, at: u32, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn get32(&self, at: u32) -> u32 {
        let bytes = self.get(at, 4);
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    pub fn descriptor(&mut self, at: u32, words: [u32; 4]) {
        words.into_iter().zip([0, 4, 8, 12]).for_each(|(word, n)| self.put32(at + n, word));
    }

    /// What the process codes in CSR5 are: (RS, TS).
    pub fn processes(&mut self) -> (u32, u32) {
        let status = self.csr(5);
        (status >> csr5::RS_SHIFT & 7, status >> csr5::TS_SHIFT & 7)
    }

    /// Events that are set in CSR5, which are then cleared.
    pub fn events(&mut self) -> u32 {
        let status = self.csr(5) & csr5::EVENTS;
        self.set_csr(5, status);
        status
    }

    pub fn state(&self) -> Vec<u8> {
        let mut w = StateWriter::new();
        self.card.save(&mut w);
        w.into_bytes()
    }

    /// Replaces the card by a new one with its state.
    pub fn restored(&mut self) {
        let state = self.state();
        let mut card = Tulip::new(TulipConfig::new(MacAddress([9; 6])));
        card.restore(&mut StateReader::new(&state)).unwrap();
        self.card = card;
        assert_eq!(self.state(), state);
    }

    pub fn counter(&self, wanted: &str) -> u64 {
        let mut found = None;
        self.card.inspect(&mut |name, value| {
            if name == wanted
                && let slotone_bus::InspectValue::Count(n) = value
            {
                found = Some(n);
            }
        });
        found.expect("a counter of that name")
    }

    /// A ring of receive descriptors at `list` with one buffer of `size` bytes each from `buffers` on; all the chip's.
    pub fn receive_ring(&mut self, list: u32, entries: u32, buffers: u32, size: u32) {
        for n in 0..entries {
            let end = if n + 1 == entries { rdes::RER } else { 0 };
            self.descriptor(list + 16 * n, [rdes::OWN, size | end, buffers + size * n, 0]);
        }
        self.set_csr(3, list);
    }

    /// A set-up frame for perfect filtering at `buffer`: `addresses`, the rest the broadcast address.
    pub fn perfect(&mut self, buffer: u32, addresses: &[[u8; 6]]) {
        for n in 0..16 {
            let address = *addresses.get(n as usize).unwrap_or(&[0xff; 6]);
            for i in 0..3 {
                let half = u16::from_le_bytes([address[2 * i as usize], address[2 * i as usize + 1]]);
                self.put32(buffer + 12 * n + 4 * i, u32::from(half) * 0x1_0001);
            }
        }
    }

    /// Programs the filter with `addresses` through a list of its own, then stops the transmitter again.
    pub fn recognise(&mut self, addresses: &[[u8; 6]]) {
        self.perfect(0xff000, addresses);
        self.descriptor(0xfe000, [tdes::OWN, tdes::SET | tdes::TER | 192, 0xff000, 0]);
        self.set_csr(4, 0xfe000);
        let mode = self.csr(6);
        self.set_csr(6, mode | csr6::ST);
        assert_eq!(self.get32(0xfe000), tdes::SETUP_DONE);
        self.set_csr(6, mode & !(csr6::ST | csr6::PR));
        self.set_csr(5, u32::MAX);
    }
}

/// A frame from somebody to `to` with `len` bytes and a type field.
pub fn frame(to: [u8; 6], len: usize) -> Vec<u8> {
    let mut bytes: Vec<u8> = (0..len).map(|n| (n * 7 + len) as u8).collect();
    bytes[..6].copy_from_slice(&to);
    bytes[6..12].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
    bytes[12..14].copy_from_slice(&[0x08, 0x00]);
    bytes
}

/// The frame as it lies in memory: padded, with its check sequence.
pub fn with_crc(frame: &[u8]) -> Vec<u8> {
    let mut bytes = frame.to_vec();
    bytes.resize(bytes.len().max(60), 0);
    let mut crc = u32::MAX;
    for byte in &bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = crc >> 1 ^ if crc & 1 != 0 { 0xedb8_8320 } else { 0 };
        }
    }
    bytes.extend((!crc).to_le_bytes());
    bytes
}
