//! RESERVE and RELEASE (SPC-2, 7.21 to 7.24 and 5.5.1): the whole unit, for one initiator, until it releases it or a reset comes.

use crate::command::INITIATORS;
use crate::{Command, Reply, Sense, opcode};

/// Whether a unit that another initiator has reserved answers this command all the same (SPC-2, table 10).
fn passes(command: &Command) -> bool {
    match command.opcode() {
        opcode::INQUIRY | opcode::REQUEST_SENSE | opcode::REPORT_LUNS => true,
        opcode::RELEASE_6 | opcode::RELEASE_10 => true,
        opcode::PREVENT_ALLOW_MEDIUM_REMOVAL => command.cdb[4] & 1 == 0,
        _ => false,
    }
}

pub(crate) fn conflicts(holder: Option<u8>, command: &Command) -> bool {
    holder.is_some_and(|holder| holder != command.nexus()) && !passes(command)
}

/// RESERVE, from nobody or the holder itself, or RELEASE, from anyone.
pub(crate) fn command(holder: &mut Option<u8>, command: &Command) -> Result<Reply, Sense> {
    let ten = matches!(command.opcode(), opcode::RESERVE_10 | opcode::RELEASE_10);
    // Third parties and, in the 6-byte form, extents.
    if command.cdb[1] & if ten { 0x13 } else { 0x11 } != 0 {
        return Err(Sense::INVALID_FIELD.at(1));
    }
    if matches!(command.opcode(), opcode::RESERVE_6 | opcode::RESERVE_10) {
        *holder = Some(command.nexus());
    } else if *holder == Some(command.nexus()) {
        *holder = None;
    }
    Ok(Reply::Good)
}

/// A saved holder that can be one.
pub(crate) fn is_valid(holder: Option<u8>) -> bool {
    holder.is_none_or(|holder| usize::from(holder) < INITIATORS)
}
