//! A whole command at once, for adapters that wait for their media: USB bridges, iSCSI servers, tests.

use std::io::{IoSlice, IoSliceMut};

use slotone_block::{BlockBackend, BlockError, Outcome};

use crate::{Access, Command, MediumResult, Range, Reply, Sense, Target};

/// Bytes of one piece.
const PIECE: usize = 64 * 1024;

/// The initiator's buffer: it alone bounds what is transferred.
#[derive(Debug)]
pub enum Data<'a> {
    /// No data phase is expected.
    None,
    /// Room for data of the target.
    In(&'a mut [u8]),
    /// Data for the target.
    Out(&'a [u8]),
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Completion {
    /// The status byte, one of [`status`](crate::status).
    pub status: u8,
    /// Sense data, if the status is CHECK CONDITION. The target keeps them for REQUEST SENSE as well.
    pub sense: Option<Sense>,
    /// Bytes transferred.
    pub transferred: usize,
    /// Bytes the target had for the initiator or wanted from it; more than `transferred` when the buffer was too small.
    pub wanted: u64,
}

/// Runs a command to its end on `medium` (`None`: there is none).
///
/// A buffer that is too small cuts the transfer, as a host adapter's scatter list does: of a read the rest is dropped; of a write only the whole
/// blocks of 512 bytes that are there are written. The status is the target's all the same; `wanted` tells. A command that the target holds
/// for ever ([`Reply::Held`]) ends with BUSY: who waits here could not abort it.
pub fn execute(
    target: &mut dyn Target,
    medium: Option<&dyn BlockBackend>,
    command: &Command,
    data: Data<'_>,
) -> Completion {
    let (input, output): (&mut [u8], &[u8]) = match data {
        Data::None => (&mut [], &[]),
        Data::In(buffer) => (buffer, &[]),
        Data::Out(data) => (&mut [], data),
    };
    let (mut transferred, mut wanted) = (0, 0);
    let mut reply = target.command(command);
    loop {
        reply = match reply {
            Reply::DataOut { len } => {
                let n = output.len().min(len as usize);
                (transferred, wanted) = (n, u64::from(len));
                target.data_out(command, &output[..n])
            }
            Reply::Medium(access) => {
                let (result, range) = match &access {
                    Access::Read(range) => (read(medium, *range, input), Some(range)),
                    Access::Write { range, fua } => (write(medium, *range, output, *fua), Some(range)),
                    Access::Compare(range) => (compare(medium, *range, output), Some(range)),
                    access => (without_data(medium, access), None),
                };
                if let Some(range) = range {
                    let room = input.len().max(output.len()) as u64;
                    let done = match result {
                        MediumResult::Done => range.len,
                        MediumResult::Failed { offset, .. } | MediumResult::Differs { offset } => {
                            offset.saturating_sub(range.offset)
                        }
                    };
                    (transferred, wanted) = (done.min(room) as usize, range.len);
                }
                target.medium_done(command, &access, result)
            }
            Reply::DataIn(bytes) => {
                let n = bytes.len().min(input.len());
                input[..n].copy_from_slice(&bytes[..n]);
                (transferred, wanted) = (n, bytes.len() as u64);
                reply = Reply::Good;
                break;
            }
            Reply::Good | Reply::Check(_) | Reply::ReservationConflict | Reply::Held => break,
        };
    }
    let sense = match reply {
        Reply::Check(sense) => Some(sense),
        _ => None,
    };
    Completion { status: reply.status().unwrap_or(crate::status::BUSY), sense, transferred, wanted }
}

fn failed(error: &BlockError, offset: u64) -> MediumResult {
    let offset = match error {
        BlockError::Medium { offset } => *offset,
        _ => offset,
    };
    MediumResult::Failed { outcome: Outcome::from(error), offset }
}

/// Calls `work` with the offset and the length of every piece of `range` until one does not end well.
fn pieces(range: Range, mut work: impl FnMut(u64, usize) -> MediumResult) -> MediumResult {
    let mut done = 0;
    while done < range.len {
        let n = (range.len - done).min(PIECE as u64);
        match work(range.offset + done, n as usize) {
            MediumResult::Done => done += n,
            result => return result,
        }
    }
    MediumResult::Done
}

/// Whole blocks of `range` for which `room` bytes suffice; `up`: and the one that fits in part.
fn fitting(range: Range, room: usize, up: bool) -> Range {
    let room = if up { room.next_multiple_of(512) } else { room / 512 * 512 };
    Range { len: range.len.min(room as u64), ..range }
}

const NO_MEDIUM: Outcome = Outcome::NotReady;

fn read(medium: Option<&dyn BlockBackend>, range: Range, buffer: &mut [u8]) -> MediumResult {
    let Some(medium) = medium else {
        return MediumResult::Failed { outcome: NO_MEDIUM, offset: range.offset };
    };
    let mut piece = vec![0; PIECE.min(buffer.len().next_multiple_of(512))];
    let mut at = 0;
    pieces(fitting(range, buffer.len(), true), |offset, n| {
        if let Err(e) = medium.read_at(offset, &mut [IoSliceMut::new(&mut piece[..n])]) {
            return failed(&e, offset);
        }
        let fits = n.min(buffer.len() - at);
        buffer[at..at + fits].copy_from_slice(&piece[..fits]);
        at += fits;
        MediumResult::Done
    })
}

fn write(medium: Option<&dyn BlockBackend>, range: Range, data: &[u8], fua: bool) -> MediumResult {
    let Some(medium) = medium else {
        return MediumResult::Failed { outcome: NO_MEDIUM, offset: range.offset };
    };
    let mut data = data;
    pieces(fitting(range, data.len(), false), |offset, n| {
        let (piece, rest) = data.split_at(n);
        data = rest;
        match medium.write_at(offset, &[IoSlice::new(piece)], fua) {
            Ok(()) => MediumResult::Done,
            Err(e) => failed(&e, offset),
        }
    })
}

fn compare(medium: Option<&dyn BlockBackend>, range: Range, data: &[u8]) -> MediumResult {
    let Some(medium) = medium else {
        return MediumResult::Failed { outcome: NO_MEDIUM, offset: range.offset };
    };
    let mut data = data;
    let mut buffer = vec![0; PIECE.min(data.len())];
    pieces(fitting(range, data.len(), false), |offset, n| {
        let (piece, rest) = data.split_at(n);
        data = rest;
        if let Err(e) = medium.read_at(offset, &mut [IoSliceMut::new(&mut buffer[..n])]) {
            return failed(&e, offset);
        }
        match buffer.iter().zip(piece).position(|(a, b)| a != b) {
            Some(at) => MediumResult::Differs { offset: offset + at as u64 },
            None => MediumResult::Done,
        }
    })
}

fn without_data(medium: Option<&dyn BlockBackend>, access: &Access) -> MediumResult {
    let Some(medium) = medium else { return MediumResult::Failed { outcome: NO_MEDIUM, offset: 0 } };
    match access {
        Access::Verify(range) => {
            let mut buffer = vec![0; PIECE];
            pieces(*range, |offset, n| {
                match medium.read_at(offset, &mut [IoSliceMut::new(&mut buffer[..n])]) {
                    Ok(()) => MediumResult::Done,
                    Err(e) => failed(&e, offset),
                }
            })
        }
        Access::WriteSame { range, block, fua } => {
            let buffer = block.repeat(PIECE / block.len().max(1));
            pieces(*range, |offset, n| match medium.write_at(offset, &[IoSlice::new(&buffer[..n])], *fua) {
                Ok(()) => MediumResult::Done,
                Err(e) => failed(&e, offset),
            })
        }
        Access::Discard(ranges) => {
            for range in ranges {
                if let Err(e) = medium.discard(range.offset, range.len) {
                    return failed(&e, range.offset);
                }
            }
            MediumResult::Done
        }
        _ => match medium.flush() {
            Ok(()) => MediumResult::Done,
            Err(e) => failed(&e, 0),
        },
    }
}
