//! Parts of scatter/gather lists.

use std::io::{IoSlice, IoSliceMut};

pub(crate) fn total(bufs: &[IoSliceMut<'_>]) -> u64 {
    bufs.iter().map(|b| b.len() as u64).sum()
}

pub(crate) fn total_out(bufs: &[IoSlice<'_>]) -> u64 {
    bufs.iter().map(|b| b.len() as u64).sum()
}

/// Hands bytes `skip..skip + len` of the list to `f`, as a list.
pub(crate) fn part_mut<R>(
    bufs: &mut [IoSliceMut<'_>],
    skip: u64,
    len: u64,
    f: impl FnOnce(&mut [IoSliceMut<'_>]) -> R,
) -> R {
    let (mut skip, mut len) = (skip as usize, len as usize);
    if let [one] = bufs {
        return f(&mut [IoSliceMut::new(&mut one[skip..skip + len])]);
    }
    let mut list = Vec::new();
    for buf in bufs {
        if len == 0 {
            break;
        }
        let size = buf.len();
        if skip >= size {
            skip -= size;
            continue;
        }
        let n = (size - skip).min(len);
        list.push(IoSliceMut::new(&mut buf[skip..skip + n]));
        skip = 0;
        len -= n;
    }
    f(&mut list)
}

/// As [`part_mut`] for data to write.
pub(crate) fn part<R>(bufs: &[IoSlice<'_>], skip: u64, len: u64, f: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
    let (mut skip, mut len) = (skip as usize, len as usize);
    if let [one] = bufs {
        return f(&[IoSlice::new(&one[skip..skip + len])]);
    }
    let mut list = Vec::new();
    for buf in bufs {
        if len == 0 {
            break;
        }
        let size = buf.len();
        if skip >= size {
            skip -= size;
            continue;
        }
        let n = (size - skip).min(len);
        list.push(IoSlice::new(&buf[skip..skip + n]));
        skip = 0;
        len -= n;
    }
    f(&list)
}

pub(crate) fn zero_part(bufs: &mut [IoSliceMut<'_>], skip: u64, len: u64) {
    part_mut(bufs, skip, len, |list| list.iter_mut().for_each(|b| b.fill(0)));
}

/// Whether all bytes are zero.
pub(crate) fn is_zero(bytes: &[u8]) -> bool {
    let mut chunks = bytes.chunks_exact(64);
    chunks.by_ref().all(|c| c.iter().fold(0, |a, b| a | b) == 0) && chunks.remainder().iter().all(|b| *b == 0)
}
