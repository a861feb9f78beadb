//! Int 13h: hard disks and CD-ROM drives.

pub(crate) mod aic7870;
pub(crate) mod ata_pio;
mod cd;
mod disk;
pub(crate) mod drives;
mod edd;
pub(crate) mod eltorito;
pub(crate) mod scsi;
pub(crate) mod transfer;

use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use drives::{Drive, FIRST_CD};
use transfer::{Progress, code};

/// Serves int 13h. Diskettes (DL below 80h) are int 40h's.
pub(crate) fn int13(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let number = frame.dl();
    if frame.ah() == 0x4B {
        let status = eltorito::status(bus, frame);
        return finish(bus, frame, status);
    }
    if number < 0x80 {
        return int40(bus, frame);
    }
    // The status of the last operation outlives everything.
    if frame.ah() == 0x01 {
        let status = bus.get8(bda::DISK_STATUS);
        frame.set_ah(0);
        frame.set_al(status);
        frame.set_carry(status != 0);
        return Outcome::Done;
    }
    let Some(drive) = drives::by_number(bus, number) else {
        let status = no_such_drive(frame);
        return finish(bus, frame, status);
    };
    let answer = if frame.phase() != 0 {
        advance(bus, frame, &drive)
    } else if number >= FIRST_CD {
        cd::begin(bus, frame, &drive)
    } else {
        disk::begin(bus, frame, &drive)
    };
    match answer {
        Answer::Status(status) => finish(bus, frame, status),
        Answer::Wait(outcome) => outcome,
        Answer::Return => {
            frame.set_carry(false);
            bus.put8(bda::DISK_STATUS, 0);
            Outcome::Done
        }
    }
}

/// What a function has come to.
pub(crate) enum Answer {
    /// Done; AH gets the status, carry says whether it is an error.
    Status(u8),
    /// Done without error, and AH is already set.
    Return,
    /// Not done.
    Wait(Outcome),
}

/// AH=15h says that there is nothing by AH=00h without an error.
fn no_such_drive(frame: &mut Frame) -> u8 {
    if frame.ah() == 0x15 {
        frame.set_cx(0);
        frame.set_dx(0);
        return 0;
    }
    code::BAD_COMMAND
}

fn finish(bus: &mut dyn Initiator, frame: &mut Frame, status: u8) -> Outcome {
    frame.set_ah(status);
    frame.set_carry(status != 0);
    bus.put8(bda::DISK_STATUS, status);
    Outcome::Done
}

/// Goes on with a transfer and tells the caller how much of it was done.
fn advance(bus: &mut dyn Initiator, frame: &mut Frame, drive: &Drive) -> Answer {
    let status = match transfer::run(bus, frame, drive) {
        Progress::Wait(outcome) => return Answer::Wait(outcome),
        Progress::Done => 0,
        Progress::Failed(status) => status,
    };
    let left = transfer::remaining(frame);
    if frame.ah() >= 0x40 {
        edd::moved(bus, frame, left);
    } else {
        let asked = u16::from(frame.al());
        frame.set_al(asked.saturating_sub(left) as u8);
    }
    Answer::Status(status)
}

/// Int 40h, and int 13h below 80h: no diskette drive is driven by this firmware yet.
pub(crate) fn int40(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let status = match frame.ah() {
        0x00 => 0,
        0x01 => {
            let status = bus.get8(bda::DISKETTE_STATUS);
            frame.set_al(status);
            status
        }
        0x08 => {
            // No drives, no type.
            frame.set_ax(0);
            frame.set_bx(0);
            frame.set_cx(0);
            frame.set_dx(0);
            0
        }
        0x15 => 0,
        0x02..=0x05 => code::TIMEOUT,
        _ => code::BAD_COMMAND,
    };
    frame.set_ah(status);
    frame.set_carry(status != 0);
    bus.put8(bda::DISKETTE_STATUS, status);
    Outcome::Done
}
