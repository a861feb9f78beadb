//! Int 19h: boot; int 18h: what was booted gave up, the next.

use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::int10::text::print;
use crate::int13::drives::{self, Drive, FIRST_CD, FIRST_DISK, Kind};
use crate::int13::eltorito;
use crate::int13::transfer::{self, Operation, Progress};
use crate::wait;
use crate::{BootDevice, Firmware};

/// Number of the candidate that is tried, in the EBDA: int 18h goes on from there.
const CANDIDATE: u32 = bda::EBDA + 0x62;
/// Where sectors are looked at before they are booted.
const SCRATCH: u32 = 0x8000;
/// Where boot sectors go.
const BOOT_SECTOR: u32 = 0x7C00;

/// Stages, in word 9 of the locals.
const STAGE: usize = 9;
mod stage {
    pub(super) const BEGIN: u16 = 0;
    pub(super) const BOOT_SECTOR: u16 = 1;
    pub(super) const BOOT_RECORD: u16 = 2;
    pub(super) const CATALOG: u16 = 3;
    pub(super) const IMAGE: u16 = 4;
    pub(super) const KEY: u16 = 5;
}

/// Drives to try, as int 13h numbers, in order.
fn candidates(firmware: &Firmware, bus: &mut dyn Initiator) -> Vec<u8> {
    let disks = drives::numbered(bus, Kind::Disk);
    let cds = drives::numbered(bus, Kind::Cd).len() as u8;
    let scsi_too = firmware.boot_order.contains(&BootDevice::Scsi);
    let number = |index: usize| FIRST_DISK + index as u8;
    let mut out = Vec::new();
    for device in &firmware.boot_order {
        match device {
            BootDevice::Cd => out.extend((0..cds).map(|i| FIRST_CD + i)),
            // Only the first disk of a kind: boot sectors expect a low number. Without SCSI disks in the order whatever is first.
            BootDevice::HardDisk => {
                let wanted = |disk: &Drive| !scsi_too || disk.scsi.is_none();
                out.extend(disks.iter().position(wanted).map(number));
            }
            BootDevice::Scsi => out.extend(disks.iter().position(|disk| disk.scsi.is_some()).map(number)),
            BootDevice::Floppy => {}
        }
    }
    // Each drive once.
    let mut seen = Vec::new();
    out.retain(|number| !seen.contains(number) && (seen.push(*number), true).1);
    out
}

/// Serves int 19h.
pub(crate) fn int19(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    if frame.phase() == 0 && frame.local16(STAGE) == stage::BEGIN {
        bus.put8(CANDIDATE, 0);
        frame.set_flags(0x0202);
    }
    boot(firmware, bus, frame)
}

/// Serves int 18h.
pub(crate) fn int18(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    if frame.phase() == 0 && frame.local16(STAGE) == stage::BEGIN {
        let candidate = bus.get8(CANDIDATE);
        bus.put8(CANDIDATE, candidate.saturating_add(1));
        frame.set_flags(0x0202);
    }
    boot(firmware, bus, frame)
}

fn boot(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let list = candidates(firmware, bus);
    loop {
        if frame.local16(STAGE) == stage::KEY {
            return key(bus, frame);
        }
        let candidate = bus.get8(CANDIDATE);
        let number = list.get(usize::from(candidate)).copied();
        let Some((number, drive)) = number.and_then(|n| drives::by_number(bus, n).map(|drive| (n, drive)))
        else {
            print(bus, "No bootable device. Insert boot media and press any key.\n");
            frame.set_local16(STAGE, stage::KEY);
            continue;
        };
        match attempt(bus, frame, number, &drive) {
            Attempt::Wait(outcome) => return outcome,
            Attempt::Go => {}
            Attempt::Jump(segment, offset) => {
                frame.set_cs(segment);
                frame.set_ip(offset);
                for set in [Frame::set_eax, Frame::set_ebx, Frame::set_ecx, Frame::set_esi, Frame::set_edi] {
                    set(frame, 0);
                }
                frame.set_edx(u32::from(number));
                frame.set_ds(0);
                frame.set_es(0);
                return Outcome::Done;
            }
            Attempt::Next(reason) => {
                let name = if number >= FIRST_CD { "CD-ROM" } else { "Hard disk" };
                print(bus, &format!("{name}, {}: {reason}\n", drive.place()));
                bus.put8(CANDIDATE, candidate.saturating_add(1));
                frame.set_local16(STAGE, stage::BEGIN);
                frame.set_phase(0);
            }
        }
    }
}

/// Nothing boots: a key starts over.
fn key(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    if bus.get16(bda::KEYBOARD_HEAD) == bus.get16(bda::KEYBOARD_TAIL) {
        return wait::idle(bus);
    }
    let tail = bus.get16(bda::KEYBOARD_TAIL);
    bus.put16(bda::KEYBOARD_HEAD, tail);
    frame.set_cs(0xF000);
    frame.set_ip(crate::rom::fixed::INT19);
    Outcome::Done
}

enum Attempt {
    Wait(Outcome),
    Go,
    Jump(u16, u16),
    Next(&'static str),
}

/// Begins reading for a stage.
fn start(
    bus: &dyn Initiator,
    frame: &mut Frame,
    drive: &Drive,
    stage: u16,
    lba: u32,
    linear: u32,
    count: u16,
) -> Attempt {
    transfer::begin(bus, frame, drive, Operation::Read, lba, linear, count);
    frame.set_local16(STAGE, stage);
    Attempt::Go
}

fn attempt(bus: &mut dyn Initiator, frame: &mut Frame, number: u8, drive: &Drive) -> Attempt {
    let current = frame.local16(STAGE);
    if current == stage::BEGIN {
        return if drive.is_disk() {
            start(bus, frame, drive, stage::BOOT_SECTOR, 0, BOOT_SECTOR, 1)
        } else {
            start(bus, frame, drive, stage::BOOT_RECORD, eltorito::BOOT_RECORD, SCRATCH, 1)
        };
    }
    match transfer::run(bus, frame, drive) {
        Progress::Wait(outcome) => return Attempt::Wait(outcome),
        Progress::Failed(transfer::code::NO_MEDIA) => return Attempt::Next("no disc in the drive"),
        Progress::Failed(_) => return Attempt::Next("read error"),
        Progress::Done => {}
    }
    match current {
        stage::BOOT_SECTOR if bus.get16(BOOT_SECTOR + 510) == 0xAA55 => Attempt::Jump(0, BOOT_SECTOR as u16),
        stage::BOOT_SECTOR => Attempt::Next("not bootable"),
        stage::BOOT_RECORD => match eltorito::catalog(&bus.get(SCRATCH)) {
            Some(catalog) => start(bus, frame, drive, stage::CATALOG, catalog, SCRATCH, 1),
            None => Attempt::Next("not bootable"),
        },
        stage::CATALOG => match eltorito::default_entry(&bus.get(SCRATCH)) {
            Ok(entry) => {
                eltorito::remember(bus, &entry, number, drive);
                // Not over the BIOS: what does not fit below the EBDA is cut off.
                let linear = u32::from(entry.segment) * 16;
                let room = bda::EBDA.saturating_sub(linear) / 2048;
                let count = u32::from(entry.sectors).div_ceil(4).min(room);
                start(bus, frame, drive, stage::IMAGE, entry.lba, linear, count as u16)
            }
            Err(eltorito::NotBootable::Invalid) => Attempt::Next("boot catalog is not valid"),
            Err(eltorito::NotBootable::Emulation) => {
                Attempt::Next("boots by emulation, which this BIOS lacks")
            }
        },
        _ => {
            let linear = eltorito::loaded_at(bus);
            // 0000:7C00 rather than 07C0:0000: boot code expects one or the other, and copes with this one.
            Attempt::Jump((linear >> 4 & 0xF000) as u16, linear as u16)
        }
    }
}
