//! What a target keeps for each initiator: sense data and unit attentions (SPC-2, 5.6.5 and 7.20).

use crate::command::INITIATORS;
use crate::{Command, Reset, Sense, opcode};

/// Unit attention conditions, the ones told first in front.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Attention {
    PowerOn = 1,
    BusReset = 2,
    DeviceReset = 4,
    MediumChanged = 8,
    ModeChanged = 16,
}

impl Attention {
    const ALL: [(Self, Sense); 5] = [
        (Self::PowerOn, Sense::RESET),
        // SCSI-2 has one code for it and power-on; 29h/02h is later, and drivers do alike for both.
        (Self::BusReset, Sense::RESET),
        (Self::DeviceReset, Sense::DEVICE_RESET),
        (Self::MediumChanged, Sense::MEDIUM_CHANGED),
        (Self::ModeChanged, Sense::MODE_CHANGED),
    ];
    const RESETS: u8 = 7;
}

impl From<Reset> for Attention {
    fn from(reset: Reset) -> Self {
        match reset {
            Reset::PowerOn => Self::PowerOn,
            Reset::Bus => Self::BusReset,
            Reset::Device => Self::DeviceReset,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Nexus {
    attentions: u8,
    sense: Sense,
}
slotone_bus::encode_fields!(Nexus { attentions, sense });

/// One entry for every initiator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Nexuses {
    all: [Nexus; INITIATORS],
}
slotone_bus::encode_fields!(Nexuses { all });

impl Nexuses {
    pub(crate) fn raise(&mut self, attention: Attention) {
        self.all.iter_mut().for_each(|n| n.attentions |= attention as u8);
    }

    /// For everyone but `initiator`, who caused it.
    pub(crate) fn raise_for_others(&mut self, initiator: u8, attention: Attention) {
        for (i, nexus) in self.all.iter_mut().enumerate() {
            if i != index(initiator) {
                nexus.attentions |= attention as u8;
            }
        }
    }

    pub(crate) fn withdraw(&mut self, attention: Attention) {
        self.all.iter_mut().for_each(|n| n.attentions &= !(attention as u8));
    }

    /// Sense data are dropped, everyone is told of the reset.
    pub(crate) fn reset(&mut self, reset: Reset) {
        for nexus in &mut self.all {
            nexus.sense = Sense::default();
            nexus.attentions &= !Attention::RESETS;
        }
        self.raise(reset.into());
    }

    /// The attention that `initiator` is told next; it is told once.
    pub(crate) fn take_attention(&mut self, initiator: u8) -> Option<Sense> {
        let nexus = &mut self.all[index(initiator)];
        let (attention, sense) = Attention::ALL.iter().find(|(a, _)| nexus.attentions & *a as u8 != 0)?;
        nexus.attentions &= !(*attention as u8);
        Some(*sense)
    }

    /// A command arrives: it ends the contingent allegiance, but for the one that asks for the reason.
    pub(crate) fn begin(&mut self, command: &Command) {
        if command.opcode() != opcode::REQUEST_SENSE {
            self.all[index(command.initiator)].sense = Sense::default();
        }
    }

    pub(crate) fn sense(&self, initiator: u8) -> Sense {
        self.all[index(initiator)].sense
    }

    pub(crate) fn set_sense(&mut self, initiator: u8, sense: Sense) {
        self.all[index(initiator)].sense = sense;
    }

    /// What REQUEST SENSE returns: the reason of the last CHECK CONDITION, else a unit attention, else nothing.
    pub(crate) fn take_sense(&mut self, initiator: u8) -> Sense {
        match std::mem::take(&mut self.all[index(initiator)].sense) {
            sense if sense != Sense::default() => sense,
            _ => self.take_attention(initiator).unwrap_or_default(),
        }
    }
}

fn index(initiator: u8) -> usize {
    usize::from(initiator) % INITIATORS
}
