//! The CPU's view of video memory against a reference that works plane by plane and bit by bit.

mod common;

use common::{Card, MODE_3, MODE_12, MODE_13};
use proptest::prelude::*;
use slotone_bus::{Space, Target};

/// The VGA as IBM's reference describes it: four memories, one bit at a time.
struct Reference {
    planes: [Vec<u8>; 4],
    latches: [u8; 4],
    gr: [u8; 9],
    map_mask: u8,
    memory_mode: u8,
    misc: u8,
    enhanced: bool,
    bank: usize,
}

impl Reference {
    fn new(enhanced: bool, bank: usize) -> Self {
        let size = if enhanced { 1 << 20 } else { 1 << 16 };
        let planes = std::array::from_fn(|_| vec![0; size]);
        let misc = 0x23;
        Self { planes, latches: [0; 4], gr: [0; 9], map_mask: 0, memory_mode: 0, misc, enhanced, bank }
    }

    /// Address within the planes, and the plane if the address selects one (odd/even selects a pair).
    fn address(&self, offset: usize, odd_even: bool) -> (usize, [bool; 4]) {
        if self.memory_mode & 8 != 0 {
            let plane = offset % 4;
            let mut planes = [false; 4];
            planes[plane] = true;
            let byte = if self.enhanced {
                self.bank * 65536 + offset
            } else {
                (offset & !3) * 4 + plane + self.bank * 65536
            };
            return (byte / 4 % self.planes[0].len(), planes);
        }
        let bank = self.bank * 65536 / 4;
        if odd_even {
            let page = usize::from(self.gr[6] & 2 != 0 && self.misc & 0x20 == 0);
            let planes = if offset.is_multiple_of(2) {
                [true, false, true, false]
            } else {
                [false, true, false, true]
            };
            return (((offset & !1) + page + bank) % self.planes[0].len(), planes);
        }
        ((offset + bank) % self.planes[0].len(), [true; 4])
    }

    fn read(&mut self, offset: usize) -> u8 {
        let odd_even = self.gr[5] & 0x10 != 0;
        let (address, _) = self.address(offset, odd_even);
        for plane in 0..4 {
            self.latches[plane] = self.planes[plane][address];
        }
        if self.gr[5] & 8 != 0 {
            let mut value = 0;
            for bit in 0..8 {
                let equal = (0..4).all(|plane| {
                    let cares = self.gr[7] >> plane & 1 == 1;
                    !cares || self.latches[plane] >> bit & 1 == self.gr[2] >> plane & 1
                });
                value |= u8::from(equal) << bit;
            }
            return value;
        }
        let plane = if self.memory_mode & 8 != 0 {
            offset % 4
        } else if odd_even {
            usize::from(self.gr[4] & 2) + offset % 2
        } else {
            usize::from(self.gr[4])
        };
        self.latches[plane]
    }

    fn write(&mut self, offset: usize, value: u8) {
        let (address, planes) = self.address(offset, self.memory_mode & 4 == 0);
        let rotated = value.rotate_right(u32::from(self.gr[3] & 7));
        for (plane, selected) in planes.into_iter().enumerate() {
            if !selected || self.map_mask >> plane & 1 == 0 {
                continue;
            }
            let latch = self.latches[plane];
            let set = self.gr[0] >> plane & 1 == 1;
            let mut result = 0;
            for bit in 0..8 {
                let of = |byte: u8| byte >> bit & 1 == 1;
                let (source, mask) = match self.gr[5] & 3 {
                    0 if self.gr[1] >> plane & 1 == 1 => (set, of(self.gr[8])),
                    0 => (of(rotated), of(self.gr[8])),
                    2 => (value >> plane & 1 == 1, of(self.gr[8])),
                    3 => (set, of(rotated) && of(self.gr[8])),
                    _ => (of(latch), false),
                };
                let done = match self.gr[3] >> 3 {
                    0 => source,
                    1 => source & of(latch),
                    2 => source | of(latch),
                    _ => source ^ of(latch),
                };
                result |= u8::from(if mask { done } else { of(latch) }) << bit;
            }
            self.planes[plane][address] = result;
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Graphics(u8, u8),
    MapMask(u8),
    MemoryMode(u8),
    Misc(u8),
    Write(u32, Vec<u8>),
    Read(u32),
}

fn op() -> impl Strategy<Value = Op> {
    // Few addresses, so that latches and planes meet again.
    let offset = prop_oneof![0u32..24, 0xfff0u32..0x1_0000, any::<u16>().prop_map(u32::from)];
    prop_oneof![
        3 => (prop::sample::select(vec![0u8, 1, 2, 3, 4, 5, 7, 8]), any::<u8>()).prop_map(|(i, v)| Op::Graphics(i, v)),
        1 => any::<bool>().prop_map(|chained| Op::Graphics(6, 5 | u8::from(chained) << 1)),
        1 => any::<u8>().prop_map(Op::MapMask),
        1 => any::<u8>().prop_map(Op::MemoryMode),
        1 => any::<bool>().prop_map(|page| Op::Misc(0x03 | u8::from(page) << 5)),
        8 => (offset.clone(), prop::collection::vec(any::<u8>(), 1..=8)).prop_map(|(o, v)| Op::Write(o.min(0x1_0000 - v.len() as u32), v)),
        4 => offset.prop_map(Op::Read),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn equals_the_reference(enhanced in any::<bool>(), bank in 0u8..64, ops in prop::collection::vec(op(), 1..120)) {
        let mut card = Card::new();
        card.set_mode(&MODE_12);
        card.unlock();
        card.outw(0x3d4, 0x31, if enhanced { 0x09 } else { 0x01 });
        card.outw(0x3d4, 0x6a, bank);
        let mut reference = Reference::new(enhanced, usize::from(bank));
        const MASKS: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
        // Both begin with the same registers.
        let start = [0u8, 0, 0, 0, 0, 0, 5, 0x0f, 0xff];
        let first = (0..).zip(start).map(|(i, v)| Op::Graphics(i, v)).chain([Op::MapMask(0x0f), Op::MemoryMode(6)]);
        let mut direct = false;
        for op in first.chain(ops) {
            match op {
                Op::Graphics(index, value) => {
                    card.outw(0x3ce, index, value);
                    reference.gr[usize::from(index)] = value & MASKS[usize::from(index)];
                }
                Op::MapMask(value) => {
                    card.outw(0x3c4, 2, value);
                    reference.map_mask = value & 0x0f;
                }
                Op::MemoryMode(value) => {
                    card.outw(0x3c4, 4, value);
                    reference.memory_mode = value;
                }
                Op::Misc(value) => {
                    card.outb(0x3c2, value);
                    reference.misc = value;
                }
                Op::Write(offset, values) => {
                    card.poke(0xa_0000 + u64::from(offset), &values);
                    for (i, value) in values.into_iter().enumerate() {
                        reference.write(offset as usize + i, value);
                    }
                }
                Op::Read(offset) => {
                    let window = card.find(Space::Memory, 0xa_0000).unwrap();
                    direct |= window.read != Target::Device;
                    prop_assert_eq!(card.peek(0xa_0000 + u64::from(offset)), reference.read(offset as usize), "{:x}", offset);
                    if direct {
                        // Plain memory leaves the latches alone; load them on both sides.
                        card.outw(0x3ce, 8, 0xfe);
                        card.peek(0xa_0000 + u64::from(offset));
                        card.outw(0x3ce, 8, reference.gr[8]);
                    }
                }
            }
        }
        let vram = card.vram();
        for (plane, bytes) in reference.planes.iter().enumerate() {
            let equal = bytes.iter().enumerate().all(|(a, byte)| vram[a * 4 + plane] == *byte);
            prop_assert!(equal, "plane {plane} differs");
        }
    }
}

#[test]
fn text_writes_land_in_planes_0_and_1() {
    let mut card = Card::new();
    card.set_mode(&MODE_3);
    card.poke(0xb_8000, &[b'A', 0x1f, b'B', 0x2e]);
    assert_eq!(card.vram()[..12], [b'A', 0x1f, 0, 0, 0, 0, 0, 0, b'B', 0x2e, 0, 0]);
    assert_eq!(card.peek(0xa_0000), 0xff, "only B8000h-BFFFFh is mapped");
}

#[test]
fn mode_13h_spreads_groups_of_four() {
    let mut card = Card::new();
    card.set_mode(&MODE_13);
    for offset in 0..8u8 {
        card.poke(0xa_0000 + u64::from(offset), &[offset + 1]);
    }
    assert_eq!(card.vram()[..4], [1, 2, 3, 4]);
    assert_eq!(card.vram()[16..20], [5, 6, 7, 8]);
    card.poke(0xa_fffc, &[9, 10, 11, 12]);
    assert_eq!(card.vram()[0x3_fff0..0x3_fff4], [9, 10, 11, 12]);
}

#[test]
fn the_latches_show_in_cr22() {
    let mut card = Card::new();
    card.set_mode(&MODE_12);
    for plane in 0..4 {
        card.outw(0x3c4, 2, 1 << plane);
        card.poke(0xa_0010, &[0x10 + plane]);
    }
    card.peek(0xa_0010);
    for plane in 0..4 {
        card.outw(0x3ce, 4, plane);
        assert_eq!(card.indexed(0x3d4, 0x22), 0x10 + plane);
    }
}
