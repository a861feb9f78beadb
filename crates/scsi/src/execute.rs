//! A whole command at once, for adapters that wait for their media: USB bridges, iSCSI servers, tests.

use std::io::{IoSlice, IoSliceMut};

use slotone_block::{BlockBackend, BlockError, Outcome};

use crate::{Access, Command, Failure, MediumResult, Range, Reply, Sense, Target};

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
    /// Bytes that arrived: in the initiator's buffer; on the medium, or compared with it, which are whole blocks; as a parameter list at the
    /// target. 0 when the command's data go the other way than `Data` does.
    pub transferred: usize,
    /// Bytes the target had for the initiator or wanted from it; more than `transferred` when the buffer was too small or for the other
    /// direction, or when the command failed.
    pub wanted: u64,
}

/// Runs a command to its end on `medium` (`None`: there is none).
///
/// A buffer that is too small cuts the transfer, as a host adapter's scatter list does: of a read the rest is dropped; of a write only the whole
/// blocks that are there are written. One for the other direction, or none, cuts it to nothing: a WRITE with [`Data::In`] writes nothing. The
/// status is the target's all the same; `transferred` beside `wanted` tells. A command that the target holds for ever ([`Reply::Held`]) ends
/// with BUSY: who waits here could not abort it.
///
/// # What an adapter tells its host
///
/// The host announces a length, and the buffer is as long. GOOD with more `wanted` than `transferred` means that host and target do not agree about
/// the data: their length or their direction. A USB bridge (mass storage, bulk-only transport, 6.7) then reports a phase error, an iSCSI target an
/// overflow. Any other status is a failed command, whatever the lengths. The residue is the host's length less `transferred` in every case.
///
/// The targets here have unit 0, and other units are absent ([`Command::lun`]). Units of a bridge's own are one target each: the bridge chooses by the
/// host's unit number, and the command's stays 0.
///
/// ```
/// use slotone_block::{BlockBackend, memory::MemoryDisk};
/// use slotone_scsi::{Command, Completion, Data, Disk, DiskConfig, execute, opcode, status};
///
/// /// `bCSWStatus` and `dCSWDataResidue`, for `dCBWDataTransferLength`.
/// fn csw(done: &Completion, length: u32) -> (u8, u32) {
///     let status = match done.status {
///         status::GOOD if done.wanted > done.transferred as u64 => 2, // phase error
///         status::GOOD => 0,
///         _ => 1, // command failed
///     };
///     (status, length - done.transferred as u32)
/// }
///
/// let medium = MemoryDisk::new(1 << 20);
/// let mut disk = Disk::new(DiskConfig::new(medium.info()));
/// let mut buffer = [0; 512];
/// let mut csw_of = |cdb: &[u8], data: Data<'_>| {
///     let length = match &data {
///         Data::None => 0,
///         Data::In(buffer) => buffer.len(),
///         Data::Out(data) => data.len(),
///     };
///     csw(&execute(&mut disk, Some(&medium), &Command::new(cdb), data), length as u32)
/// };
/// let read = [opcode::READ_10, 0, 0, 0, 0, 16, 0, 0, 1, 0];
/// let inquiry = [opcode::INQUIRY, 0, 0, 0, 36, 0];
/// assert_eq!(csw_of(&read, Data::In(&mut buffer)), (1, 512), "the unit attention");
/// assert_eq!(csw_of(&read, Data::In(&mut buffer)), (0, 0));
/// assert_eq!(csw_of(&inquiry, Data::In(&mut buffer)), (0, 512 - 36), "the host has more room: that is fine");
/// assert_eq!(csw_of(&read, Data::In(&mut buffer[..500])), (2, 0), "too little");
/// assert_eq!(csw_of(&read, Data::Out(&[7; 512])), (2, 512), "the other direction");
/// assert_eq!(csw_of(&read, Data::None), (2, 0));
/// ```
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
    let block = target.block_bytes() as usize;
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
                let blocks = whole(output, block);
                // The range, and how much of it the buffer has room or data for.
                let (result, phase) = match &access {
                    Access::Read(range) => (read(medium, *range, input, block), Some((range, input.len()))),
                    Access::Write { range, fua } => {
                        (write(medium, *range, blocks, block, *fua), Some((range, blocks.len())))
                    }
                    Access::Compare(range) => {
                        (compare(medium, *range, blocks, block), Some((range, blocks.len())))
                    }
                    Access::Verify(range) => (verify(medium, *range, block), None),
                    Access::WriteSame { range, block, fua } => {
                        (write_same(medium, *range, block, *fua), None)
                    }
                    Access::Discard(ranges) => (discard(medium, ranges), None),
                    Access::Flush => (flush(medium), None),
                };
                if let Some((range, room)) = phase {
                    let done = match result {
                        MediumResult::Done => range.len,
                        MediumResult::Failed { offset, .. } | MediumResult::Differs { offset } => {
                            let good = offset.saturating_sub(range.offset);
                            good - good % block as u64
                        }
                    };
                    (transferred, wanted) = (done.min(room as u64) as usize, range.len);
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
    MediumResult::new(Outcome::from(error), offset)
}

/// Calls `work` with where a piece begins in `range` and its length, until a piece does not end well. What the medium fails is tried again block by
/// block: what is good before the bad block is done, and the result names that block.
fn pieces(
    range: Range,
    block: usize,
    mut work: impl FnMut(usize, usize) -> Result<MediumResult, BlockError>,
) -> MediumResult {
    let (mut at, mut most) = (0, PIECE as u64);
    while at < range.len {
        let n = (range.len - at).min(most) as usize;
        match work(at as usize, n) {
            Ok(MediumResult::Done) => at += n as u64,
            Ok(result) => return result,
            Err(e) if n > block && Outcome::from(&e) == Outcome::MediumError => most = block as u64,
            Err(e) => return failed(&e, range.offset + at),
        }
    }
    MediumResult::Done
}

/// As much of `range` as `room` bytes hold.
fn fitting(range: Range, room: usize) -> Range {
    Range { len: range.len.min(room as u64), ..range }
}

/// The blocks that came whole.
fn whole(data: &[u8], block: usize) -> &[u8] {
    &data[..data.len() - data.len() % block]
}

fn no_medium(offset: u64) -> MediumResult {
    MediumResult::Failed { failure: Failure::NotReady, offset }
}

fn read(medium: Option<&dyn BlockBackend>, range: Range, buffer: &mut [u8], block: usize) -> MediumResult {
    let Some(medium) = medium else { return no_medium(range.offset) };
    let range = fitting(range, buffer.len().next_multiple_of(block));
    let mut piece = vec![0; PIECE.min(range.len as usize)];
    pieces(range, block, |at, n| {
        medium.read_at(range.offset + at as u64, &mut [IoSliceMut::new(&mut piece[..n])])?;
        let fits = n.min(buffer.len() - at);
        buffer[at..at + fits].copy_from_slice(&piece[..fits]);
        Ok(MediumResult::Done)
    })
}

fn write(
    medium: Option<&dyn BlockBackend>,
    range: Range,
    data: &[u8],
    block: usize,
    fua: bool,
) -> MediumResult {
    let Some(medium) = medium else { return no_medium(range.offset) };
    pieces(fitting(range, data.len()), block, |at, n| {
        medium.write_at(range.offset + at as u64, &[IoSlice::new(&data[at..at + n])], fua)?;
        Ok(MediumResult::Done)
    })
}

fn compare(medium: Option<&dyn BlockBackend>, range: Range, data: &[u8], block: usize) -> MediumResult {
    let Some(medium) = medium else { return no_medium(range.offset) };
    let mut buffer = vec![0; PIECE.min(data.len())];
    pieces(fitting(range, data.len()), block, |at, n| {
        let offset = range.offset + at as u64;
        medium.read_at(offset, &mut [IoSliceMut::new(&mut buffer[..n])])?;
        let differs = buffer.iter().zip(&data[at..at + n]).position(|(a, b)| a != b);
        Ok(differs.map_or(MediumResult::Done, |byte| MediumResult::Differs { offset: offset + byte as u64 }))
    })
}

fn verify(medium: Option<&dyn BlockBackend>, range: Range, block: usize) -> MediumResult {
    let Some(medium) = medium else { return no_medium(range.offset) };
    let mut buffer = vec![0; PIECE.min(range.len as usize)];
    pieces(range, block, |at, n| {
        medium.read_at(range.offset + at as u64, &mut [IoSliceMut::new(&mut buffer[..n])])?;
        Ok(MediumResult::Done)
    })
}

fn write_same(medium: Option<&dyn BlockBackend>, range: Range, block: &[u8], fua: bool) -> MediumResult {
    let Some(medium) = medium else { return no_medium(range.offset) };
    let len = block.len().max(1);
    let buffer = block.repeat(PIECE / len);
    pieces(range, len, |at, n| {
        medium.write_at(range.offset + at as u64, &[IoSlice::new(&buffer[..n])], fua)?;
        Ok(MediumResult::Done)
    })
}

fn discard(medium: Option<&dyn BlockBackend>, ranges: &[Range]) -> MediumResult {
    let Some(medium) = medium else { return no_medium(0) };
    for range in ranges {
        if let Err(e) = medium.discard(range.offset, range.len) {
            return failed(&e, range.offset);
        }
    }
    MediumResult::Done
}

fn flush(medium: Option<&dyn BlockBackend>) -> MediumResult {
    let Some(medium) = medium else { return no_medium(0) };
    match medium.flush() {
        Ok(()) => MediumResult::Done,
        Err(e) => failed(&e, 0),
    }
}
