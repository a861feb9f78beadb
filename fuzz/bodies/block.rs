//! Media of `slotone-block` and the layers over them, beside a plain vector of bytes.
//!
//! The input: which layers, sectors, then operations of six bytes. An overlay's base stays what it was; what is out of range is
//! refused and changes nothing; where a medium error is, is said.

use std::io::{IoSlice, IoSliceMut};
use std::ops::Range;
use std::sync::Arc;

use slotone_block::layers::{ErrorLayer, On, Overlay, PowerCut, ReadOnly};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, BlockError, Operation, Outcome, Request, perform, read_exact};

use super::{Reader, text};

fn refused(result: &Result<(), BlockError>, start: u64, bad: Option<&Range<u64>>) {
    match (result, bad) {
        (Ok(()), None) => {}
        (Err(BlockError::Medium { offset }), Some(bad)) => assert_eq!(*offset, bad.start.max(start)),
        (result, bad) => panic!("{result:?} where {bad:?} is bad"),
    }
}

/// See the module.
pub fn block(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut input = Reader(&bytes);
    let (layers, sectors) = (input.u8(), 1 + u64::from(input.u16() % 512));
    let size = sectors * 512;
    let mut model: Vec<u8> = (0..size).map(|i| (i / 512 * 7 + i) as u8).collect();
    let base = Arc::new(MemoryDisk::from_bytes(&model));
    let original = model.clone();
    let mut disk: Box<dyn BlockBackend> = match layers % 4 {
        0 => Box::new(base.clone()),
        1 => Box::new(Overlay::new(base.clone())),
        2 => Box::new(Overlay::new(ReadOnly::new(base.clone()))),
        _ => Box::new(Overlay::new(Overlay::new(base.clone()))),
    };
    if layers & 4 != 0 {
        disk = Box::new(PowerCut::new(disk));
    }
    let start = u64::from(input.u8()) * 512;
    let bad = (layers & 8 != 0 && start + 1024 <= size).then_some(start..start + 1024);
    if let Some(bad) = &bad {
        disk = Box::new(ErrorLayer::new(disk).bad(bad.clone(), On::Both));
    }
    for number in 0..200u8 {
        if input.is_empty() {
            break;
        }
        let (what, at, count, cut) = (input.u8(), u64::from(input.u16()), u64::from(input.u8()), input.u16());
        // A few of them reach past the end.
        let (offset, len) = (at % (sectors + 2) * 512, count % 40 * 512);
        let wild = what & 0xf0 == 0xf0;
        let offset = if wild { u64::MAX - 1023 + offset % 1024 } else { offset };
        let inside = !wild && offset <= size && len <= size - offset;
        let hit = bad.as_ref().filter(|bad| offset < bad.end && bad.start < offset.saturating_add(len));
        let range = if inside { offset as usize..(offset + len) as usize } else { 0..0 };
        let fill: Vec<u8> = (0..len).map(|i| number ^ (i / 512) as u8 ^ what).collect();
        let cut = usize::from(cut) % (len as usize + 1);
        let (result, changed) = match what % 6 {
            0 => {
                let (a, b) = fill.split_at(cut);
                (disk.write_at(offset, &[IoSlice::new(a), IoSlice::new(b)], what & 8 != 0), Some(fill))
            }
            1 => {
                let mut found = vec![0x5a; len as usize];
                let (a, b) = found.split_at_mut(cut);
                let result = disk.read_at(offset, &mut [IoSliceMut::new(a), IoSliceMut::new(b)]);
                if result.is_ok() {
                    assert!(
                        found == model[range.clone()],
                        "{len} bytes at {offset} are not what was written"
                    );
                }
                (result, None)
            }
            2 => (disk.write_zeroes(offset, len, what & 8 != 0), Some(vec![0; len as usize])),
            3 => {
                let result = disk.discard(offset, len);
                if result.is_ok() && hit.is_none() {
                    // Each sector is what it was or zeros, and stays so.
                    let mut found = vec![0; range.len()];
                    read_exact(&*disk, offset, &mut found).expect("it is in range");
                    for (f, m) in found.chunks(512).zip(model[range.clone()].chunks_mut(512)) {
                        assert!(
                            f == m || f.iter().all(|b| *b == 0),
                            "a discarded sector has foreign content"
                        );
                        m.copy_from_slice(f);
                    }
                }
                (result, None)
            }
            4 => {
                disk.flush().expect("it is in memory");
                continue;
            }
            _ => {
                // As a controller does it.
                let write = what & 8 != 0;
                let operation = if write { Operation::Write { fua: false } } else { Operation::Read };
                let data = if write { fill.clone() } else { vec![0; len as usize] };
                let done = perform(
                    Some(&*disk),
                    Request { id: number.into(), unit: 0, operation, offset, data, due: 0 },
                );
                assert_eq!(
                    (done.id, done.outcome == Outcome::Done),
                    (number.into(), inside && hit.is_none())
                );
                if done.outcome != Outcome::Done {
                    continue;
                }
                if write {
                    model[range].copy_from_slice(&fill);
                } else {
                    assert!(done.data == model[range], "{len} bytes at {offset} are not what was written");
                }
                continue;
            }
        };
        if !inside {
            // Nothing may be anywhere.
            assert!(
                len == 0 || matches!(result, Err(BlockError::OutOfRange { .. })),
                "{len} bytes at {offset}: {result:?}"
            );
            continue;
        }
        if what % 6 != 3 {
            refused(&result, offset, hit);
        }
        match (result, changed) {
            (Ok(()), Some(data)) => model[range].copy_from_slice(&data),
            // What a write that failed has left is undefined, but only there.
            (Err(_), Some(_)) => {
                for at in range.step_by(512) {
                    let _ = read_exact(&*disk, at as u64, &mut model[at..at + 512]);
                }
            }
            _ => {}
        }
    }
    for at in (0..size).step_by(512) {
        let mut found = [0; 512];
        let result = read_exact(&*disk, at, &mut found);
        let hit = bad.as_ref().filter(|bad| bad.contains(&at));
        refused(&result, at, hit);
        assert!(
            hit.is_some() || found == model[at as usize..at as usize + 512],
            "the sector at {at} differs"
        );
    }
    if layers % 4 != 0 {
        let mut found = vec![0; size as usize];
        read_exact(&base, 0, &mut found).expect("it is in memory");
        assert!(found == original, "a write has reached the base of an overlay");
    }
}
