//! What every logical unit does alike (SPC-2): sense data, unit attentions, reservations, and the commands about them.

use slotone_bus::state::StateError;

use crate::nexus::{Attention, Nexuses};
use crate::{Command, Reply, Reset, Sense, absent, opcode, reservation};

/// The part of a target's state that is not about its kind.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Unit {
    reservation: Option<u8>,
    pub(crate) nexuses: Nexuses,
}
slotone_bus::encode_fields!(Unit { reservation, nexuses });

impl Unit {
    /// A command arrives. The answer, if it is not the kind's own to give: the unit is not there, an attention or another initiator's reservation
    /// comes first, or every kind has the command. `passing` are the commands that keep an attention, besides those of SPC-2, 5.6.5.
    pub(crate) fn begin(&mut self, command: &Command, passing: &[u8]) -> Option<Reply> {
        if command.lun != 0 {
            return Some(absent::command(command));
        }
        self.nexuses.begin(command);
        match self.common(command, passing) {
            Ok(reply) => reply,
            Err(sense) => Some(self.check(command, sense)),
        }
    }

    fn common(&mut self, command: &Command, passing: &[u8]) -> Result<Option<Reply>, Sense> {
        use opcode::*;
        let code = command.opcode();
        if !matches!(code, INQUIRY | REQUEST_SENSE | REPORT_LUNS)
            && !passing.contains(&code)
            && let Some(attention) = self.nexuses.take_attention(command.initiator)
        {
            return Err(attention);
        }
        if reservation::conflicts(self.reservation, command) {
            return Ok(Some(Reply::ReservationConflict));
        }
        command.control()?;
        Ok(Some(match code {
            REQUEST_SENSE => absent::request_sense(command, self.nexuses.take_sense(command.initiator)),
            REPORT_LUNS => absent::report_luns(command)?,
            RESERVE_6 | RELEASE_6 | RESERVE_10 | RELEASE_10 => {
                reservation::command(&mut self.reservation, command)?
            }
            SEND_DIAGNOSTIC => match (command.cdb[1] & 0xe4, command.u16(3)) {
                // The default self-test, which a state machine passes; or nothing at all.
                (0x00 | 0x04, 0) => Reply::Good,
                (0x00 | 0x04, _) => return Err(Sense::INVALID_FIELD.at(3)),
                _ => return Err(Sense::INVALID_FIELD.at(1)),
            },
            _ => return Ok(None),
        }))
    }

    /// What the kind made of a command or of a step of it, for the initiator.
    pub(crate) fn end(&mut self, command: &Command, reply: Result<Reply, Sense>) -> Reply {
        reply.unwrap_or_else(|sense| self.check(command, sense))
    }

    /// [`Target::refuse`](crate::Target::refuse): units that are not there keep no sense data.
    pub(crate) fn refuse(&mut self, command: &Command, sense: Sense) -> Reply {
        match command.lun {
            0 => self.check(command, sense),
            _ => Reply::Check(sense),
        }
    }

    fn check(&mut self, command: &Command, sense: Sense) -> Reply {
        self.nexuses.set_sense(command.initiator, sense);
        Reply::Check(sense)
    }

    pub(crate) fn reset(&mut self, reset: Reset) {
        self.reservation = None;
        self.nexuses.reset(reset);
        // Mode parameters changed by one initiator are news no more: all are back at their defaults.
        self.nexuses.withdraw(Attention::ModeChanged);
    }

    /// Whether a saved unit of `section` can be one.
    pub(crate) fn validate(&self, section: &str) -> Result<(), StateError> {
        if reservation::is_valid(self.reservation) {
            return Ok(());
        }
        Err(StateError::Invalid { section: section.to_string(), what: "a reservation by nobody".to_string() })
    }
}
