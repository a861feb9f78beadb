//! Frames a second through the model alone: descriptor rings in memory, a network that takes everything and gives the same frame again, the
//! interrupt served once a ring. Beside each figure a copy of the same bytes. `cargo bench -p slotone-tulip-nic`.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use slotone_bus::{At, Device, TestPort, VmInstant, WindowId};
use slotone_net::{MacAddress, NetClient, NetPort, Sent, exchange};
use slotone_tulip_nic::registers::{csr5, csr6, rdes, tdes};
use slotone_tulip_nic::{Tulip, TulipConfig};

/// Descriptors of a ring, and frames of one turn.
const RING: u32 = 128;
const LIST: u32 = 0x1000;
const BUFFERS: u32 = 0x1_0000;
const STRIDE: u32 = 0x800;

struct Sink {
    bytes: u64,
}

impl NetPort for Sink {
    fn send(&mut self, _: VmInstant, frame: &[u8]) -> Sent {
        self.bytes += black_box(frame).len() as u64;
        Sent::Taken
    }
    fn receive(&mut self, _: VmInstant, _: &mut dyn FnMut(&[u8])) -> bool {
        false
    }
}

struct Source {
    frame: Vec<u8>,
    left: u32,
}

impl NetPort for Source {
    fn send(&mut self, _: VmInstant, _: &[u8]) -> Sent {
        Sent::Taken
    }
    fn receive(&mut self, _: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        let more = self.left > 0;
        if more {
            self.left -= 1;
            take(&self.frame);
        }
        more
    }
}

fn write(card: &mut Tulip, port: &mut TestPort, window: u16, offset: u64, value: u32) {
    port.at(0, |cx| card.write(cx, At { window: WindowId(window), offset }, &value.to_le_bytes()));
}

fn set(card: &mut Tulip, port: &mut TestPort, csr: u64, value: u32) {
    write(card, port, 1, 8 * csr, value);
}

fn card() -> (Tulip, TestPort) {
    let mut port = TestPort::new(1 << 20);
    let mut card = Tulip::new(TulipConfig::new(MacAddress([0, 3, 0xff, 1, 2, 3])));
    port.at(0, |cx| card.set_link(cx, true));
    write(&mut card, &mut port, 0, 0x10, 0xe881);
    write(&mut card, &mut port, 0, 0x04, 7);
    set(&mut card, &mut port, 7, csr5::TI | csr5::RI | csr5::NIS);
    (card, port)
}

fn descriptor(port: &mut TestPort, n: u32, words: [u32; 4]) {
    let bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
    port.ram.write((LIST + 16 * n).into(), &bytes).expect("in memory");
}

/// Gives the whole ring to the card: what a driver does, counted in as well.
fn give(port: &mut TestPort) {
    for n in 0..RING {
        port.ram.write((LIST + 16 * n).into(), &tdes::OWN.to_le_bytes()).expect("in memory");
    }
}

fn frames(c: &mut Criterion) {
    for len in [64u32, 512, 1514] {
        let mut group = c.benchmark_group(format!("{len} bytes"));
        group.throughput(Throughput::Elements(RING.into()));

        let (mut tx, mut port) = card();
        for n in 0..RING {
            let end = if n + 1 == RING { tdes::TER | tdes::IC } else { 0 };
            descriptor(&mut port, n, [0, tdes::FS | tdes::LS | end | len, BUFFERS + STRIDE * n, 0]);
        }
        set(&mut tx, &mut port, 4, LIST);
        set(&mut tx, &mut port, 6, csr6::PS | csr6::FD | csr6::ST);
        let mut sink = Sink { bytes: 0 };
        group.bench_function(BenchmarkId::new("transmit", len), |b| {
            b.iter(|| {
                give(&mut port);
                set(&mut tx, &mut port, 1, 0);
                let done = port.at(0, |cx| exchange(&mut tx, &mut sink, cx, RING + 1));
                assert_eq!(done.sent, RING);
                set(&mut tx, &mut port, 5, u32::MAX);
            });
        });

        let (mut rx, mut port) = card();
        for n in 0..RING {
            let end = if n + 1 == RING { rdes::RER } else { 0 };
            descriptor(&mut port, n, [rdes::OWN, end | 1536, BUFFERS + STRIDE * n, 0]);
        }
        set(&mut rx, &mut port, 3, LIST);
        set(&mut rx, &mut port, 6, csr6::PS | csr6::FD | csr6::PR | csr6::SR);
        let mut source = Source { frame: (0..len).map(|n| n as u8).collect(), left: 0 };
        group.bench_function(BenchmarkId::new("receive", len), |b| {
            b.iter(|| {
                give(&mut port);
                set(&mut rx, &mut port, 2, 0);
                source.left = RING;
                let done = port.at(0, |cx| exchange(&mut rx, &mut source, cx, RING + 1));
                assert_eq!(done.received, RING);
                set(&mut rx, &mut port, 5, u32::MAX);
            });
        });

        let from = vec![0x5au8; (STRIDE * RING) as usize];
        let mut to = [0u8; 2048];
        group.bench_function(BenchmarkId::new("memcpy", len), |b| {
            b.iter(|| {
                for n in 0..RING {
                    let at = (STRIDE * n) as usize;
                    to[..len as usize].copy_from_slice(black_box(&from[at..at + len as usize]));
                    black_box(&mut to);
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, frames);
criterion_main!(benches);
