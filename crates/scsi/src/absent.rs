//! What a target answers for a logical unit it does not have (SPC-2, 7.3 and 5.6; REPORT LUNS 7.19).

use crate::{Command, Reply, Sense, opcode};

/// INQUIRY says that nothing can be there, REQUEST SENSE says so in its data, REPORT LUNS tells of unit 0; the rest fails.
pub(crate) fn command(command: &Command) -> Result<Reply, Sense> {
    match command.opcode() {
        opcode::INQUIRY => {
            if command.cdb[1] & 1 != 0 || command.cdb[2] != 0 {
                return Err(Sense::INVALID_FIELD);
            }
            let mut data = vec![0; 36];
            data[0] = 0x7f;
            data[3] = 2;
            data[4] = 31;
            data[8..].fill(b' ');
            Ok(Reply::data_in(data, usize::from(command.u16(3))))
        }
        opcode::REQUEST_SENSE => {
            let sense = Sense::LUN_NOT_SUPPORTED.to_bytes().to_vec();
            Ok(Reply::data_in(sense, usize::from(command.cdb[4])))
        }
        opcode::REPORT_LUNS => report_luns(command),
        _ => Err(Sense::LUN_NOT_SUPPORTED),
    }
}

/// REPORT LUNS of a target with unit 0 alone.
pub(crate) fn report_luns(command: &Command) -> Result<Reply, Sense> {
    // Select report: all units, well-known units (there are none), or both.
    let data = match command.cdb[2] {
        0 | 2 => vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        1 => vec![0; 8],
        _ => return Err(Sense::INVALID_FIELD),
    };
    Ok(Reply::data_in(data, command.u32(6) as usize))
}
