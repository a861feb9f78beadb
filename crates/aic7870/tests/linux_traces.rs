//! What the kernel's unmodified sequencer program puts on the SCSI bus, byte by byte, beside traces in `tests/traces`: wherever the driver
//! keeps its command blocks, lists and queues, however long targets and media take, and wherever the sequencer is stopped, looked at,
//! saved and restored.
//!
//! `SLOTONE_RECORD=1` writes the traces anew; look at what changed. They were read against SCSI-2 when they were written first.
#![cfg(feature = "trace")]

mod common;

use std::path::PathBuf;

use common::driver::{Driver as _, End, Segment};
use common::linux::{Layout, Linux, Shipped};
use common::{Board, Random, Trouble};
use proptest::prelude::*;
use slotone_aic7870::{Aic7870Config, Latency, Timing};

const INQUIRY: [u8; 6] = [0x12, 0, 0, 0, 36, 0];
const READY: [u8; 6] = [0; 6];
const SECOND: u64 = 1_000_000_000;

/// A driver that works, and what its scenario needs.
struct Driver {
    board: Board,
    linux: Linux,
}

/// One sequence of commands.
struct Scenario {
    name: &'static str,
    /// The disks that are there.
    ids: &'static [u8],
    wide: bool,
    /// Nanoseconds of an access to a medium.
    access: u64,
    /// The order on the bus depends on how long things take: the trace is by commands.
    by_nexus: bool,
    run: fn(&mut Driver),
}

/// How a scenario is carried out.
#[derive(Debug, Clone)]
struct Way {
    layout: Option<u64>,
    latency: Latency,
    trouble: Trouble,
    cache_line: u8,
}

const PLAIN: Way = Way {
    layout: None,
    latency: Latency { request: 0, burst: 0, seed: 0 },
    trouble: Trouble::None,
    cache_line: 0,
};

fn block(code: u8, lba: u32, blocks: u16) -> Vec<u8> {
    let mut cdb = vec![code, 0];
    cdb.extend(lba.to_be_bytes());
    cdb.push(0);
    cdb.extend(blocks.to_be_bytes());
    cdb.push(0);
    cdb
}

fn pattern(seed: u32, len: u32) -> Vec<u8> {
    (0..len).map(|n| (n.wrapping_add(seed << 20).wrapping_mul(0x9e37_79b1) >> 24) as u8).collect()
}

impl Driver {
    /// Buffers of these lengths, with `data` in them.
    fn segments(&mut self, lens: &[u32], data: &[u8]) -> Vec<Segment> {
        let mut at = 0;
        let mut segments = Vec::new();
        for len in lens {
            let address = self.linux.layout.buffer(*len);
            let part: Vec<u8> = data.iter().copied().skip(at).take(*len as usize).collect();
            self.board.poke(address.into(), &vec![0xee; *len as usize]);
            self.board.poke(address.into(), &part);
            segments.push((address, *len));
            at += *len as usize;
        }
        segments
    }

    fn content(&self, segments: &[Segment]) -> Vec<u8> {
        segments.iter().flat_map(|(at, len)| self.board.memory((*at).into(), *len as usize)).collect()
    }

    fn queue(&mut self, id: u8, cdb: &[u8], segments: &[Segment], tagged: bool) -> u8 {
        self.board.disturb();
        self.linux.queue(&mut self.board, id, cdb, segments, tagged)
    }

    fn run(&mut self, id: u8, cdb: &[u8], segments: &[Segment], tagged: bool) -> End {
        let tag = self.queue(id, cdb, segments, tagged);
        let done = self.linux.finish(&mut self.board, 1);
        assert_eq!(done[0].0, tag);
        done[0].1
    }

    /// A read, with what it should give.
    fn read(&mut self, id: u8, lba: u32, blocks: u16, lens: &[u32], tagged: bool) {
        let segments = self.segments(lens, &[]);
        assert_eq!(self.run(id, &block(0x28, lba, blocks), &segments, tagged), End::Complete);
        assert!(self.content(&segments) == marks(id, lba, blocks));
    }
}

/// What lies on the first sectors of a disk.
fn marks(id: u8, lba: u32, blocks: u16) -> Vec<u8> {
    let sectors = lba..lba + u32::from(blocks);
    sectors
        .flat_map(|n| if n < 64 { (n | u32::from(id) << 24).to_le_bytes() } else { [0; 4] }.repeat(128))
        .collect()
}

fn attach(scenario: &Scenario, way: &Way, shipped: &Shipped) -> Driver {
    // A second takes too long to watch step by step.
    let most = if matches!(way.trouble, Trouble::EveryInstruction) { 20_000_000 } else { SECOND };
    let timing = Timing { access: scenario.access.min(most), sector: 0, ..Timing::default() };
    let config =
        Aic7870Config { wide: scenario.wide, timing, latency: way.latency, ..Aic7870Config::default() };
    let mut board = Board::new(config, scenario.ids);
    let layout = way.layout.map(Layout::random).unwrap_or_default();
    let mut linux = Linux::attach_at(&mut board, shipped, scenario.wide, way.cache_line, layout);
    for id in scenario.ids {
        assert_eq!(linux.run(&mut board, *id, &READY, &[], false), End::Status(2), "unit attention");
        assert_eq!(linux.run(&mut board, *id, &READY, &[], false), End::Complete);
    }
    board.idle();
    board.recorder.clear();
    board.trouble = way.trouble.clone();
    Driver { board, linux }
}

const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "read_connected",
        ids: &[1],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            d.read(1, 3, 1, &[512], false);
            d.read(1, 9, 8, &[4096], true);
        },
    },
    Scenario {
        name: "read_disconnected",
        ids: &[1],
        wide: false,
        access: 100_000,
        by_nexus: false,
        run: |d| {
            d.read(1, 3, 1, &[512], false);
            d.read(1, 9, 8, &[4096], true);
        },
    },
    Scenario {
        name: "write",
        ids: &[1],
        wide: false,
        access: 100_000,
        by_nexus: false,
        run: |d| {
            let data = pattern(7, 4096);
            let segments = d.segments(&[4096], &data);
            assert_eq!(d.run(1, &block(0x2a, 100, 8), &segments, true), End::Complete);
            let segments = d.segments(&[512], &data);
            assert_eq!(d.run(1, &block(0x2a, 108, 1), &segments, false), End::Complete);
            let back = d.segments(&[4608], &[]);
            assert_eq!(d.run(1, &block(0x28, 100, 9), &back, true), End::Complete);
            assert!(d.content(&back) == [&data[..], &data[..512]].concat());
        },
    },
    Scenario {
        name: "several_tags",
        ids: &[0, 3],
        wide: false,
        access: 400_000,
        by_nexus: true,
        run: |d| {
            let mut all = Vec::new();
            for n in 0..24u32 {
                let id = if n % 3 == 0 { 3 } else { 0 };
                let segments = d.segments(&[300, 212 + 512 * (n % 4)], &[]);
                let tag = d.queue(id, &block(0x28, n, 1 + n as u16 % 4), &segments, true);
                all.push((tag, id, n, segments));
            }
            let mut done = d.linux.finish(&mut d.board, all.len());
            assert!(done.iter().all(|(_, end)| *end == End::Complete));
            done.sort_unstable_by_key(|(tag, _)| *tag);
            done.dedup();
            assert_eq!(done.len(), all.len());
            for (_, id, n, segments) in all {
                assert!(d.content(&segments) == marks(id, n, 1 + n as u16 % 4), "command {n}");
            }
        },
    },
    Scenario {
        name: "sense_data",
        ids: &[0],
        wide: false,
        access: 100_000,
        by_nexus: false,
        run: |d| {
            for (cdb, key, code) in [(vec![0xff; 6], 5, 0x20), (block(0x28, 0x7fff_ffff, 1), 5, 0x21)] {
                let tag = d.queue(0, &cdb, &[], true);
                assert_eq!(d.linux.finish(&mut d.board, 1), [(tag, End::Status(2))]);
                let sense = d.linux.sense(&d.board, tag);
                assert_eq!((sense[0] & 0x7f, sense[2], sense[12]), (0x70, key, code));
            }
            assert_eq!(d.run(0, &READY, &[], false), End::Complete);
        },
    },
    Scenario {
        name: "negotiation_narrow",
        ids: &[0],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            negotiate(d, &[&[1, 2, 3, 1], &[1, 3, 1, 25, 15], &[1, 3, 1, 12, 255], &[1, 3, 1, 0, 0]]);
            assert_eq!(
                d.linux.replies,
                [vec![1, 2, 3, 0], vec![1, 3, 1, 25, 15], vec![1, 3, 1, 25, 15], vec![1, 3, 1, 25, 0]]
            );
        },
    },
    Scenario {
        name: "negotiation_wide",
        ids: &[0, 12],
        wide: true,
        access: 0,
        by_nexus: false,
        run: |d| {
            negotiate(
                d,
                &[&[1, 3, 1, 25, 15], &[1, 2, 3, 1], &[1, 3, 1, 50, 15], &[1, 2, 3, 2], &[1, 2, 3, 0]],
            );
            assert_eq!(
                d.linux.replies,
                [
                    vec![1, 3, 1, 25, 15],
                    vec![1, 2, 3, 1],
                    vec![1, 3, 1, 50, 8],
                    vec![1, 2, 3, 1],
                    vec![1, 2, 3, 0]
                ]
            );
            d.read(12, 5, 2, &[1024], true);
        },
    },
    Scenario {
        name: "message_reject",
        ids: &[0],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            // A parallel protocol request, which no target of SCSI-2 knows, and a reserved message.
            negotiate(d, &[&[1, 6, 4, 9, 0, 15, 1, 2], &[0x10]]);
            assert_eq!(d.linux.replies, [vec![7], vec![7]]);
        },
    },
    Scenario {
        name: "abort_tag",
        ids: &[0, 2],
        wide: false,
        access: SECOND,
        by_nexus: true,
        run: |d| {
            let (tags, segments) = five(d);
            d.linux.victims = vec![tags[1]];
            d.linux.message_instead = vec![0xc0, 0x20, tags[1], 0x0d];
            let carrier = d.queue(0, &READY, &[], false);
            let done = d.linux.finish(&mut d.board, 2);
            assert_eq!(done, [(tags[1], End::Aborted), (carrier, End::Aborted)]);
            let mut done = d.linux.finish(&mut d.board, 4);
            done.sort_unstable_by_key(|(tag, _)| tags.iter().position(|t| t == tag));
            assert_eq!(done, [0, 2, 3, 4].map(|n| (tags[n], End::Complete)));
            assert!(d.content(&segments[1]) == [0xee; 512], "an aborted read moved data");
            assert!(d.content(&segments[2]) == marks(0, 12, 1));
        },
    },
    Scenario {
        name: "abort",
        ids: &[0, 2],
        wide: false,
        access: SECOND,
        by_nexus: true,
        run: |d| {
            let (tags, _) = five(d);
            d.linux.victims = tags[..3].to_vec();
            d.linux.message_instead = vec![0xc0, 0x06];
            d.queue(0, &READY, &[], false);
            assert!(d.linux.finish(&mut d.board, 4).iter().all(|(_, end)| *end == End::Aborted));
            assert!(d.linux.finish(&mut d.board, 2).iter().all(|(_, end)| *end == End::Complete));
            // ABORT leaves no unit attention.
            assert_eq!(d.run(0, &READY, &[], false), End::Complete);
        },
    },
    Scenario {
        name: "bus_device_reset",
        ids: &[0, 2],
        wide: false,
        access: SECOND,
        by_nexus: true,
        run: |d| {
            let (tags, _) = five(d);
            d.linux.victims = tags[..3].to_vec();
            d.linux.message_instead = vec![0xc0, 0x0c];
            d.queue(0, &READY, &[], false);
            assert!(d.linux.finish(&mut d.board, 4).iter().all(|(_, end)| *end == End::Aborted));
            assert!(d.linux.finish(&mut d.board, 2).iter().all(|(_, end)| *end == End::Complete));
            let tag = d.queue(0, &READY, &[], false);
            assert_eq!(d.linux.finish(&mut d.board, 1), [(tag, End::Status(2))]);
            let sense = d.linux.sense(&d.board, tag);
            assert_eq!((sense[2], sense[12], sense[13]), (6, 0x29, 3));
            assert_eq!(d.run(2, &READY, &[], false), End::Complete, "the other target knows nothing of it");
        },
    },
    Scenario {
        name: "underrun",
        ids: &[0],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            for (lens, left) in [(&[100][..], 64), (&[10, 10, 40], 24), (&[36], 0), (&[36, 8], 8)] {
                let segments = d.segments(lens, &[]);
                let tag = d.queue(0, &INQUIRY, &segments, false);
                assert_eq!(d.linux.finish(&mut d.board, 1), [(tag, End::Complete)]);
                assert_eq!(d.linux.residual(tag).unwrap_or(0), left, "{lens:?}");
                assert!(d.content(&segments)[36..].iter().all(|byte| *byte == 0xee));
            }
        },
    },
    Scenario {
        name: "overrun",
        ids: &[0],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            let segments = d.segments(&[20], &[]);
            let behind = d.segments(&[64], &[]);
            d.run(0, &INQUIRY, &segments, false);
            assert!(d.linux.trouble.contains(&0x90), "DATA_OVERRUN");
            assert!(d.content(&behind) == [0xee; 64]);
            let segments = d.segments(&[36], &[]);
            assert_eq!(d.run(0, &INQUIRY, &segments, false), End::Complete);
        },
    },
    Scenario {
        name: "scatter_gather",
        ids: &[1],
        wide: false,
        access: 100_000,
        by_nexus: false,
        run: |d| {
            // 120 segments of odd lengths at odd addresses, one of them a single byte.
            let mut lens: Vec<u32> = (0..119).map(|n| 1 + n * 37 % 400).collect();
            let sum: u32 = lens.iter().sum();
            let blocks = sum.div_ceil(512) + 1;
            lens.push(blocks * 512 - sum);
            let data = pattern(11, blocks * 512);
            let segments = d.segments(&lens, &data);
            assert_eq!(d.run(1, &block(0x2a, 500, blocks as u16), &segments, true), End::Complete);
            lens.reverse();
            let back = d.segments(&lens, &[]);
            assert_eq!(d.run(1, &block(0x28, 500, blocks as u16), &back, true), End::Complete);
            assert!(d.content(&back) == data);
        },
    },
    Scenario {
        name: "saved_pointers",
        ids: &[1],
        wide: false,
        access: 100_000,
        by_nexus: false,
        run: |d| {
            // More than a piece of the medium: the target disconnects in the middle.
            let data = pattern(13, 1 << 20);
            let segments = d.segments(&[0x48003, 0x40001, 0x77ffc], &data);
            assert_eq!(segments.iter().map(|s| s.1).sum::<u32>(), 1 << 20);
            assert_eq!(d.run(1, &block(0x2a, 1000, 2048), &segments, true), End::Complete);
            let back = d.segments(&[0x7fffd, 0x80003], &[]);
            assert_eq!(d.run(1, &block(0x28, 1000, 2048), &back, true), End::Complete);
            assert!(d.content(&back) == data);
        },
    },
    Scenario {
        name: "selection_timeout",
        ids: &[2],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            let segments = d.segments(&[36], &[]);
            for id in [0, 7, 5] {
                assert_eq!(d.run(id, &INQUIRY, &segments, false), End::Timeout);
            }
            assert_eq!(d.run(2, &INQUIRY, &segments, false), End::Complete);
        },
    },
    Scenario {
        name: "long_commands",
        ids: &[0],
        wide: false,
        access: 0,
        by_nexus: false,
        run: |d| {
            let segments = d.segments(&[1024], &[]);
            let cdb = [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0];
            assert_eq!(d.run(0, &cdb, &segments, true), End::Complete);
            assert!(d.content(&segments) == marks(0, 9, 2));
            let cdb = [0xa8, 0, 0, 0, 0, 4, 0, 0, 0, 2, 0, 0];
            assert_eq!(d.run(0, &cdb, &segments, false), End::Complete);
            assert!(d.content(&segments) == marks(0, 4, 2));
        },
    },
];

fn negotiate(d: &mut Driver, messages: &[&[u8]]) {
    let segments = d.segments(&[36], &[]);
    for message in messages {
        d.linux.negotiate = message.to_vec();
        assert_eq!(d.run(0, &INQUIRY, &segments, true), End::Complete, "{message:02x?}");
    }
}

/// Five reads that wait for their media: three on target 0, two on target 2.
fn five(d: &mut Driver) -> (Vec<u8>, Vec<Vec<Segment>>) {
    let mut all = (Vec::new(), Vec::new());
    for n in 0..5u32 {
        let segments = d.segments(&[512], &[]);
        all.0.push(d.queue(if n < 3 { 0 } else { 2 }, &block(0x28, 10 + n, 1), &segments, true));
        all.1.push(segments);
    }
    while d.board.aic.commands_in_flight() < 5 {
        d.board.disturb();
        d.board.advance(1_000);
    }
    all
}

/// Carries a scenario out, and tells what was on the bus.
fn trace(scenario: &Scenario, way: &Way, shipped: &Shipped) -> String {
    let mut driver = attach(scenario, way, shipped);
    (scenario.run)(&mut driver);
    driver.board.be_quiet();
    driver.board.idle();
    assert_eq!(driver.board.aic.commands_in_flight(), 0);
    let recorder = &driver.board.recorder;
    if scenario.by_nexus { recorder.text_by_nexus() } else { recorder.text() }
}

fn path(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/traces").join(format!("{name}.txt"))
}

/// The first line that differs, with some before it.
fn difference(expected: &str, got: &str) -> String {
    let (a, b): (Vec<_>, Vec<_>) = (expected.lines().collect(), got.lines().collect());
    let at = (0..).find(|n| a.get(*n) != b.get(*n)).unwrap_or(0);
    let around =
        |lines: &[&str]| lines[at.saturating_sub(6).min(lines.len())..lines.len().min(at + 3)].join("\n");
    format!("line {}: expected\n{}\nbut it was\n{}", at + 1, around(&a), around(&b))
}

fn check(scenario: &Scenario, way: &Way, shipped: &Shipped) {
    let got = trace(scenario, way, shipped);
    let expected = std::fs::read_to_string(path(scenario.name)).expect("a recorded trace");
    assert!(got == expected, "{}, {way:?}: {}", scenario.name, difference(&expected, &got));
}

fn shipped() -> Option<Shipped> {
    let found = Shipped::find();
    if found.is_none() {
        println!(
            "SKIP the kernel's sequencer program: SLOTONE_AIC7XXX_SEQ is not set; cargo xtask guests aic7xxx-seq"
        );
    }
    found
}

#[test]
fn the_recorded_traces() {
    let Some(shipped) = shipped() else { return };
    for scenario in SCENARIOS {
        if std::env::var_os("SLOTONE_RECORD").is_some() {
            std::fs::write(path(scenario.name), trace(scenario, &PLAIN, &shipped)).expect("tests/traces");
        }
        check(scenario, &PLAIN, &shipped);
    }
    let committed = std::fs::read_dir(path("x").parent().expect("a folder")).expect("tests/traces").count();
    assert_eq!(committed, SCENARIOS.len(), "a trace without a scenario");
}

#[test]
fn stopped_after_every_instruction() {
    let Some(shipped) = shipped() else { return };
    for scenario in SCENARIOS {
        for layout in [None, Some(5)] {
            let way = Way { layout, trouble: Trouble::EveryInstruction, ..PLAIN };
            check(scenario, &way, &shipped);
        }
    }
}

#[test]
fn saved_and_restored_with_commands_in_flight() {
    let Some(shipped) = shipped() else { return };
    let mut most = 0;
    for scenario in SCENARIOS {
        let way = Way { trouble: Trouble::Restores(0), ..PLAIN };
        let mut driver = attach(scenario, &way, &shipped);
        (scenario.run)(&mut driver);
        let Trouble::Restores(n) = driver.board.trouble else { unreachable!() };
        most = most.max(n);
        check(scenario, &way, &shipped);
    }
    assert!(most > 50, "{most} restores with commands in flight");
}

#[test]
fn command_blocks_laid_out_at_random() {
    let Some(shipped) = shipped() else { return };
    let mut random = Random(1);
    for scenario in SCENARIOS {
        for cache_line in [0, 0, 0, 32, 64] {
            let way = Way { layout: Some(random.below(u64::MAX)), cache_line, ..PLAIN };
            check(scenario, &way, &shipped);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    /// Random places, hesitations, bursts, pauses, single steps, saved states, late media: the same bytes.
    #[test]
    fn nothing_changes_the_bytes(
        scenario in 0..SCENARIOS.len(),
        layout in proptest::option::of(any::<u64>()),
        request in prop_oneof![Just(0u64), 1..200u64, 200..4_000u64],
        burst in prop_oneof![Just(0u32), 1..16u32, 16..700u32],
        seed: u64,
        late in prop_oneof![Just(0u64), Just(5_000), Just(300_000)],
        cache_line in prop::sample::select(vec![0u8, 32]),
    ) {
        let Some(shipped) = shipped() else { return Ok(()) };
        let scenario = &SCENARIOS[scenario];
        // A REQ for every few bytes of a megabyte takes long to watch.
        let burst = if scenario.name == "saved_pointers" && burst != 0 { burst + 2_000 } else { burst };
        let way = Way {
            layout,
            latency: Latency { request, burst, seed },
            trouble: Trouble::Random(Random(seed ^ 0x5555), late),
            cache_line,
        };
        check(scenario, &way, &shipped);
    }
}
