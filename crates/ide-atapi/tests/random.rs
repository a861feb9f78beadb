//! A guest without manners: any access at any time. Nothing panics, hangs, or loses count of a line; and the same accesses are the
//! same run.

mod common;

use common::{BMIBA, Machine, disk, info};
use proptest::prelude::*;
use slotone_block::layers::{ErrorLayer, On};
use slotone_block::memory::MemoryDisk;
use slotone_bus::Device;
use slotone_bus::state::StateReader;
use slotone_ide_atapi::Timing;

#[derive(Debug, Clone)]
enum Op {
    In { port: u16, len: usize },
    Out { port: u16, len: usize, value: u64 },
    Ins { port: u16, width: usize, count: usize },
    Outs { port: u16, width: usize, count: usize, value: u8 },
    Command { base: u16, device: u8, count: u8, lba: u32, code: u8 },
    Packet { base: u16, features: u8, limit: u16, cdb: [u8; 12] },
    Prd { address: u32, len: u16, last: bool },
    Time { nanos: u64 },
    Config { offset: u64, value: u32 },
    Medium { present: bool },
    Churn,
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![0x1f0..0x1f8u16, 0x170..0x178u16, Just(0x3f6), Just(0x376), BMIBA..BMIBA + 16]
}

fn base() -> impl Strategy<Value = u16> {
    prop_oneof![Just(0x1f0u16), Just(0x170)]
}

fn code() -> impl Strategy<Value = u8> {
    let known = [
        0x00, 0x08, 0x10, 0x20, 0x30, 0x40, 0x70, 0x90, 0x91, 0xa0, 0xa1, 0xc4, 0xc5, 0xc6, 0xc8, 0xca, 0xe0,
        0xe4, 0xe5, 0xe7, 0xe8, 0xec, 0xef, 0xf8,
    ];
    prop_oneof![8 => prop::sample::select(known.to_vec()), 1 => any::<u8>()]
}

fn op() -> impl Strategy<Value = Op> {
    let opcode = prop::sample::select(vec![
        0x00u8, 0x03, 0x12, 0x1a, 0x1b, 0x1e, 0x25, 0x28, 0x2b, 0x42, 0x43, 0x44, 0x46, 0x4a, 0x51, 0x52,
        0x5a, 0xa8, 0xb9, 0xbb, 0xbd, 0xbe,
    ]);
    let cdb = (opcode, any::<[u8; 11]>(), any::<bool>()).prop_map(|(code, rest, small)| {
        let mut cdb = [0; 12];
        cdb[0] = code;
        for (byte, value) in cdb[1..].iter_mut().zip(rest) {
            *byte = if small { value & 3 } else { value };
        }
        cdb
    });
    prop_oneof![
        4 => (port(), 1..9usize).prop_map(|(port, len)| Op::In { port, len }),
        4 => (port(), 1..9usize, any::<u64>()).prop_map(|(port, len, value)| Op::Out { port, len, value }),
        4 => (base(), 1..5usize, 1..2000usize).prop_map(|(port, width, count)| Op::Ins { port, width, count }),
        4 => (base(), 1..5usize, 1..2000usize, any::<u8>())
            .prop_map(|(port, width, count, value)| Op::Outs { port, width, count, value }),
        6 => (base(), prop_oneof![Just(0xe0u8), Just(0xa0), Just(0xf0), any::<u8>()], any::<u8>(), 0..1100u32, code())
            .prop_map(|(base, device, count, lba, code)| Op::Command { base, device, count, lba, code }),
        4 => (base(), 0..3u8, any::<u16>(), cdb)
            .prop_map(|(base, features, limit, cdb)| Op::Packet { base, features, limit, cdb }),
        3 => (any::<u32>(), any::<u16>(), any::<bool>())
            .prop_map(|(address, len, last)| Op::Prd { address: address & 0x1f_ffff, len, last }),
        6 => (0..400_000u64).prop_map(|nanos| Op::Time { nanos }),
        1 => (0..256u64, any::<u32>()).prop_map(|(offset, value)| Op::Config { offset, value }),
        1 => any::<bool>().prop_map(|present| Op::Medium { present }),
        1 => Just(Op::Churn),
    ]
}

fn machine(timing: Timing) -> Machine {
    let first =
        ErrorLayer::new(MemoryDisk::from_bytes(&common::pattern(1_000))).bad(300 * 512..301 * 512, On::Both);
    let drives = [
        Some(disk(&info(1_000 * 512))),
        Some(disk(&info(64 * 512))),
        Some(common::cdrom(Some(&info(1_000 * 512)))),
        None,
    ];
    let mut m = Machine::new(drives, timing);
    m.media.insert(0, Box::new(first));
    m.media.insert(1, Box::new(MemoryDisk::new(64 * 512)));
    m.media.insert(2, Box::new(MemoryDisk::from_bytes(&common::pattern(1_000)).read_only()));
    m
}

fn run(m: &mut Machine, ops: &[Op]) {
    for op in ops {
        match *op {
            Op::In { port, len } => m.input(port, &mut [0; 8][..len]),
            Op::Out { port, len, value } => m.output(port, &value.to_le_bytes()[..len]),
            Op::Ins { port, width, count } => {
                let mut data = vec![0; width * count];
                m.ins(port, width, &mut data);
                m.port.ram.write(0x8_0000, &data).unwrap();
            }
            Op::Outs { port, width, count, value } => m.outs(port, width, &vec![value; width * count]),
            Op::Command { base, device, count, lba, code } => {
                m.taskfile(base, device, count, lba);
                m.outb(base + 7, code);
            }
            Op::Packet { base, features, limit, cdb } => {
                let [low, high] = limit.to_le_bytes();
                for (register, value) in [(6, 0xa0), (1, features), (4, low), (5, high), (7, 0xa0)] {
                    m.outb(base + register, value);
                }
                m.outs(base, 2, &cdb);
            }
            Op::Prd { address, len, last } => {
                let mut prd = address.to_le_bytes().to_vec();
                prd.extend(len.to_le_bytes());
                prd.extend([0, u8::from(last) << 7]);
                m.port.ram.write(0x1000, &prd.repeat(16)).unwrap();
                for offset in [4, 12] {
                    m.outl(BMIBA + offset, 0x1000);
                }
            }
            Op::Time { nanos } => {
                m.now += nanos;
                m.settle();
            }
            Op::Config { offset, value } => {
                m.config_write(offset, &value.to_le_bytes());
                m.config_write(4, &[5]);
                m.config_write(0x20, &u32::from(BMIBA).to_le_bytes());
            }
            Op::Medium { present: true } => m.ide.insert(2, &info(1_000 * 512)).unwrap(),
            Op::Medium { present: false } => m.ide.eject(2).unwrap(),
            Op::Churn => {
                let saved = m.save();
                m.ide.restore(&mut StateReader::new(&saved)).expect("our own state");
                m.after();
            }
        }
    }
    m.idle();
    // A reset makes the drives usable whatever happened.
    for (control, base) in [(0x3f6, 0x1f0), (0x376, 0x170)] {
        m.config_write(0x40, &[0, 0x80, 0, 0x80]);
        m.outb(control, 4);
        m.outb(control, 0);
        m.poll(base);
    }
    m.outb(0x1f6, 0xe0);
    m.outb(0x1f7, 0xec);
    assert_eq!(m.poll(0x1f0), 0x58);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_access_at_any_time(ops in prop::collection::vec(op(), 1..120), slow in any::<bool>()) {
        let none = Timing { access: 0, sector: 0, command: 0, block: 0, reset: 0 };
        let timing = if slow { Timing::default() } else { none };
        let (mut a, mut b) = (machine(timing), machine(timing));
        run(&mut a, &ops);
        run(&mut b, &ops);
        prop_assert!(a.save() == b.save());
        prop_assert!(a.ram(0, 1 << 20) == b.ram(0, 1 << 20));
        let mut names = 0;
        a.ide.inspect(&mut |_, _| names += 1);
        prop_assert!(names > 40);
    }
}
