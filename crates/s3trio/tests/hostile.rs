//! A guest that does anything, and a snapshot that holds anything.

mod common;

use common::{Card, MODE_3, MODE_12, MODE_13};
use proptest::prelude::*;
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{At, Device, Space, Target, VmInstant, WindowId};
use slotone_s3trio::S3Trio;

#[derive(Debug, Clone)]
enum Op {
    /// Through the device's own interface, windows that it never had included.
    Write {
        window: u16,
        offset: u64,
        data: Vec<u8>,
    },
    Read {
        window: u16,
        offset: u64,
        len: usize,
    },
    /// Index and data to one of the register files.
    Indexed {
        file: u8,
        index: u8,
        value: u8,
    },
    Memory {
        address: u64,
        data: Vec<u8>,
    },
    Later(u64),
    Mode(u8),
    Unlock,
}

fn op() -> impl Strategy<Value = Op> {
    let offset = prop_oneof![4 => 0u64..32, 2 => 0u64..0x2_0000, 1 => any::<u64>()];
    let data = prop::collection::vec(any::<u8>(), 1..9);
    prop_oneof![
        4 => (0u16..14, offset.clone(), data.clone()).prop_map(|(window, offset, data)| Op::Write { window, offset, data }),
        2 => (0u16..14, offset, 1usize..9).prop_map(|(window, offset, len)| Op::Read { window, offset, len }),
        8 => (0u8..4, any::<u8>(), any::<u8>()).prop_map(|(file, index, value)| Op::Indexed { file, index, value }),
        3 => (0xa_0000u64..0xc_0000, data).prop_map(|(address, data)| Op::Memory { address, data }),
        2 => (0u64..40_000_000).prop_map(Op::Later),
        1 => (0u8..3).prop_map(Op::Mode),
        2 => Just(Op::Unlock),
    ]
}

/// Windows of one space never overlap, none is empty, none lends more than there is.
fn check_windows(chip: &S3Trio) {
    let (_, windows) = chip.windows();
    for (i, a) in windows.iter().enumerate() {
        assert!(a.len > 0, "{a:?}");
        for target in [a.read, a.write] {
            if let Target::Lent { memory, offset } = target {
                let size = if memory == S3Trio::VRAM { S3Trio::VRAM_LEN as u64 } else { 64 << 10 };
                assert!(offset + a.len <= size, "{a:?}");
            }
        }
        for b in &windows[..i] {
            let apart = a.space != b.space || a.base + a.len <= b.base || b.base + b.len <= a.base;
            assert!(apart || a.id == ROM || b.id == ROM, "{a:?} over {b:?}");
        }
    }
}

/// The expansion ROM's window: a guest can lay that BAR over the other one or over the VGA's memory.
const ROM: WindowId = WindowId(11);

fn run(card: &mut Card, ops: Vec<Op>) {
    for op in ops {
        let mut generation = card.chip.windows().0;
        let before = card.chip.windows().1.to_vec();
        let (chip, now) = (&mut card.chip, card.now);
        match op {
            Op::Write { window, offset, data } => {
                card.port.at(now, |cx| chip.write(cx, At { window: WindowId(window), offset }, &data));
            }
            Op::Read { window, offset, len } => {
                let mut data = vec![0; len];
                card.port.at(now, |cx| chip.read(cx, At { window: WindowId(window), offset }, &mut data));
            }
            Op::Indexed { file, index, value } => {
                // 3C0h, 3C4h, 3CEh and the CRTC by their windows.
                let (window, offset) = [(1, 0), (1, 4), (1, 14), (2, 0)][usize::from(file)];
                let at = At { window: WindowId(window), offset };
                card.port.at(now, |cx| chip.write(cx, at, &[index, value]));
            }
            Op::Memory { address, data } => {
                for (i, byte) in (0..).zip(data) {
                    if !windows_overlap_at(&card.chip, address + i) {
                        card.poke(address + i, &[byte]);
                    }
                }
            }
            Op::Later(nanos) => {
                let until = card.now + nanos;
                let mut ticks = 0;
                while let Some(due) = card.chip.next_deadline().filter(|d| d.as_nanos() <= until) {
                    card.now = card.now.max(due.as_nanos());
                    let chip = &mut card.chip;
                    card.port.at(card.now, |cx| chip.tick(cx));
                    assert!(
                        card.chip.next_deadline().is_none_or(|next| next > due),
                        "a tick must move the deadline"
                    );
                    ticks += 1;
                }
                assert!(ticks <= 10);
                card.now = until;
            }
            Op::Mode(mode) => {
                if card.find(Space::Io, 0x3c2).is_some() {
                    card.set_mode([&MODE_3, &MODE_12, &MODE_13][usize::from(mode)]);
                }
                generation = card.chip.windows().0;
            }
            Op::Unlock => {
                if card.find(Space::Io, 0x3d4).is_some() {
                    card.unlock();
                }
            }
        }
        check_windows(&card.chip);
        if card.chip.windows().1 != before {
            assert!(card.chip.windows().0 != generation || generation.0 != 0);
        }
    }
}

fn windows_overlap_at(chip: &S3Trio, address: u64) -> bool {
    let hit =
        |w: &&slotone_bus::Window| w.space == Space::Memory && (w.base..w.base + w.len).contains(&address);
    chip.windows().1.iter().filter(hit).count() > 1
}

fn save(chip: &S3Trio) -> Vec<u8> {
    let mut w = StateWriter::new();
    chip.save(&mut w);
    w.into_bytes()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]
    #[test]
    fn nothing_panics_and_snapshots_continue(
        first in prop::collection::vec(op(), 1..80),
        second in prop::collection::vec(op(), 0..30),
    ) {
        let mut card = Card::new();
        card.set_mode(&MODE_3);
        run(&mut card, first);
        let frame = card.chip.render(card.vram(), VmInstant::from_nanos(card.now));
        prop_assert_eq!(frame.rgb.len(), frame.width as usize * frame.height as usize * 3);
        if let Some(screen) = card.chip.text_screen(card.vram()) {
            prop_assert_eq!(screen.cells.len(), screen.rows * screen.columns);
        }
        // The state taken here and put into a new chip goes on as the old one does.
        let state = save(&card.chip);
        let mut twin = Card::new();
        twin.chip.restore(&mut StateReader::new(&state)).unwrap();
        twin.now = card.now;
        twin.port.lent[0].write(0, card.vram()).unwrap();
        prop_assert_eq!(twin.chip.windows().1, card.chip.windows().1);
        prop_assert_eq!(twin.chip.levels(), card.chip.levels());
        run(&mut card, second.clone());
        run(&mut twin, second);
        prop_assert_eq!(save(&card.chip), save(&twin.chip));
        prop_assert!(card.vram() == twin.vram());
    }

    #[test]
    fn damaged_snapshots_are_refused_or_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ops in prop::collection::vec(op(), 0..20),
    ) {
        let mut card = Card::new();
        card.set_mode(&MODE_12);
        let good = save(&card.chip);
        let mut bytes = good.clone();
        for (index, value) in changes {
            let at = index.index(bytes.len());
            bytes[at] = value;
        }
        let before = card.chip.windows().1.to_vec();
        match card.chip.restore(&mut StateReader::new(&bytes)) {
            Ok(()) => {
                run(&mut card, ops);
                card.chip.render(card.vram(), VmInstant::from_nanos(card.now));
            }
            Err(_) => {
                prop_assert_eq!(save(&card.chip), good, "a refused snapshot changes nothing");
                prop_assert_eq!(card.chip.windows().1, before);
            }
        }
    }
}

#[test]
fn what_no_chip_can_hold_is_refused() {
    let chip = S3Trio::new();
    let good = save(&chip);
    // The register block follows name, version, length and 256 bytes of configuration space.
    let registers = good.len() - (good.len() - (4 + 6 + 2 + 4 + 256));
    for (at, value, what) in [
        (registers, 0xff, "MISC"),
        (registers + 5, 0x20, "sequencer index"),
        (registers + 6, 0x04, "SR0"),
        (registers + 38, 0x10, "graphics index"),
        (registers + 39, 0x10, "GR0"),
        (registers + 48, 0x80, "CRTC index"),
        (good.len() - 1, 2, "an option"),
    ] {
        let mut bytes = good.clone();
        bytes[at] = value;
        assert!(S3Trio::new().restore(&mut StateReader::new(&bytes)).is_err(), "{what}");
    }
    for cut in 0..good.len() {
        assert!(S3Trio::new().restore(&mut StateReader::new(&good[..cut])).is_err());
    }
}

#[test]
fn without_lent_memory_it_still_answers() {
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    card.port.lent.clear();
    card.poke(0xb_8000, &[1, 2]);
    assert_eq!(card.peek(0xb_8000), 0xff);
    let frame = card.chip.render(&[], VmInstant::ZERO);
    assert_eq!((frame.width, frame.height), (720, 400));
    assert!(card.chip.text_screen(&[]).is_some());
}
