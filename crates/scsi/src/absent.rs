//! What a target answers for a logical unit it does not have (SPC-2, 5.6.3 and 7.3.2), and REPORT LUNS (7.19).

use crate::{Command, Reply, Sense, opcode};

/// INQUIRY says that nothing can be there, REQUEST SENSE says so in its data, REPORT LUNS tells of unit 0; the rest fails.
pub(crate) fn command(command: &Command) -> Reply {
    let reply = match command.opcode() {
        opcode::INQUIRY if command.cdb[1] & 3 != 0 || command.cdb[2] != 0 => {
            Err(Sense::INVALID_FIELD.at(2 - usize::from(command.cdb[1] & 3 != 0)))
        }
        opcode::INQUIRY => {
            let mut data = vec![b' '; 36];
            data[..8].copy_from_slice(&[0x7f, 0, 0, 2, 31, 0, 0, 0]);
            Ok(Reply::data_in(data, usize::from(command.u16(3))))
        }
        opcode::REQUEST_SENSE => Ok(request_sense(command, Sense::LUN_NOT_SUPPORTED)),
        opcode::REPORT_LUNS => report_luns(command),
        _ => Err(Sense::LUN_NOT_SUPPORTED),
    };
    reply.unwrap_or_else(Reply::Check)
}

/// REPORT LUNS of a target with unit 0 alone.
pub(crate) fn report_luns(command: &Command) -> Result<Reply, Sense> {
    let allocated = command.u32(6) as usize;
    if allocated < 16 {
        return Err(Sense::INVALID_FIELD.at(6));
    }
    // Select report: all units, well-known units (there are none), or both.
    let data = match command.cdb[2] {
        0 | 2 => vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        1 => vec![0; 8],
        _ => return Err(Sense::INVALID_FIELD.at(2)),
    };
    Ok(Reply::data_in(data, allocated))
}

/// REQUEST SENSE: fixed format, or with DESC that of descriptors (SPC-3, 6.27).
pub(crate) fn request_sense(command: &Command, sense: Sense) -> Reply {
    let data = match command.cdb[1] & 1 {
        0 => sense.to_bytes().to_vec(),
        _ => sense.to_descriptor_bytes(),
    };
    Reply::data_in(data, usize::from(command.cdb[4]))
}
