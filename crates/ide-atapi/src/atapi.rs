//! Commands of a packet drive (ATA/ATAPI-5, 8.23; SFF-8020).

use slotone_block::Outcome;
use slotone_bus::VmInstant;
use slotone_scsi::{Access as MediumAccess, Command, MediumResult, Range, Reply, Sense, SenseKey, Target};

use crate::Timing;
use crate::ata::transfer_mode_exists;
use crate::channel::Channel;
use crate::drive::Kind;
use crate::identify;
use crate::registers::{command, error, reason, status};
use crate::transfer::{Access, Step};

/// Bytes of a command packet.
pub(crate) const PACKET_LEN: u32 = 12;

impl Channel {
    /// Begins a command on the selected packet drive. `Err` is the content of the error register of a command that is refused.
    pub(crate) fn atapi_command(&mut self, now: VmInstant, code: u8) -> Result<(), u8> {
        use command::*;
        let index = self.selected();
        let Some(drive @ Kind::Cd(cd)) = &self.drives[index] else { return Err(error::ABRT) };
        let unit = &mut self.state.units[index];
        match code {
            PACKET => {
                if unit.features & !1 != 0 {
                    return Err(error::ABRT); // no overlap
                }
                let limit = u16::from_be_bytes([unit.high.now, unit.mid.now]);
                unit.count.push(reason::CD);
                unit.status = status::DRDY | status::DSC | status::DRQ;
                let dma = unit.features & 1 != 0;
                let t = &mut self.state.transfer;
                t.packet = true;
                t.dma = dma;
                // An odd limit counts as the even one below; none at all as the largest.
                t.block = match u32::from(limit) & !1 {
                    0 => 0xfffe,
                    even => even,
                };
                t.step = Step::Packet;
                t.buffer = vec![0; PACKET_LEN as usize];
                t.block_end = PACKET_LEN;
                return Ok(());
            }
            IDENTIFY_PACKET_DEVICE => {
                let data = identify::packet(cd, unit);
                self.send_soon(now, data);
                return Ok(());
            }
            // These tell a host that probes for disks what it has met (9.12).
            IDENTIFY_DEVICE | READ_SECTORS => {
                unit.signature(Some(drive));
                unit.status = status::BSY;
                return Err(error::ABRT);
            }
            SET_FEATURES => match (unit.features, unit.count.now) {
                (0x66 | 0xcc, _) => {}
                (0x03, mode) if transfer_mode_exists(mode) => unit.transfer_mode = mode,
                _ => return Err(error::ABRT),
            },
            CHECK_POWER_MODE => unit.count.push(if unit.standby { 0x00 } else { 0xff }),
            STANDBY_IMMEDIATE | SLEEP => unit.standby = true,
            IDLE_IMMEDIATE => unit.standby = false,
            _ => return Err(error::ABRT),
        }
        self.finish_soon(now, 0);
        Ok(())
    }

    fn target(&mut self) -> Option<&mut slotone_scsi::CdRom> {
        match &mut self.drives[usize::from(self.state.transfer.unit & 1)] {
            Some(Kind::Cd(cd)) => Some(&mut cd.target),
            _ => None,
        }
    }

    /// The command packet is in the buffer.
    pub(crate) fn execute_packet(&mut self, now: VmInstant) {
        let mut packet = [0; PACKET_LEN as usize];
        for (byte, value) in packet.iter_mut().zip(&self.state.transfer.buffer) {
            *byte = *value;
        }
        let index = usize::from(self.state.transfer.unit & 1);
        self.state.units[index].standby = false;
        let command = Command::new(&packet);
        self.state.transfer.command = command;
        let Some(target) = self.target() else { return self.end(error::ABRT, true) };
        match target.command(&command) {
            Reply::DataIn(mut data) => {
                self.state.transfer.padded = data.len() % 2 != 0;
                if self.state.transfer.padded {
                    data.push(0);
                }
                self.send_soon(now, data);
            }
            Reply::Medium(MediumAccess::Read(Range { offset, len })) => {
                self.state.transfer.offset = offset;
                self.state.transfer.left = len;
                self.submit(now, Access::Read);
            }
            Reply::DataOut { len } => {
                let t = &mut self.state.transfer;
                t.padded = !len.is_multiple_of(2);
                t.write = true;
                t.load(vec![0; len.next_multiple_of(2) as usize]);
                if t.dma {
                    self.offer_dma();
                    self.kick_dma(now);
                } else {
                    self.wait(Step::OutWait, Timing::after(now, self.timing.command));
                }
            }
            // A drive that only reads wants nothing else of its medium, and nothing that it wants may pass for done.
            Reply::Medium(_) => {
                let reply = target.refuse(&command, Sense::new(SenseKey::HardwareError, 0x44, 0));
                self.packet_status(reply);
            }
            reply => self.packet_status(reply),
        }
    }

    /// The host has sent a parameter list.
    pub(crate) fn packet_data(&mut self, now: VmInstant) {
        let t = &mut self.state.transfer;
        t.write = false;
        let (command, padding) = (t.command, usize::from(t.padded));
        let data = t.load(Vec::new());
        let Some(target) = self.target() else { return self.end(error::ABRT, true) };
        let reply = target.data_out(&command, &data[..data.len() - padding]);
        self.finish_soon(now, Self::packet_error(&reply));
    }

    /// The medium failed at byte `offset`.
    pub(crate) fn packet_failed(&mut self, _now: VmInstant, outcome: Outcome, offset: u64) {
        let (command, len) = (self.state.transfer.command, self.state.transfer.left);
        let Some(target) = self.target() else { return self.end(error::ABRT, true) };
        let access = MediumAccess::Read(Range { offset, len });
        let reply = target.medium_done(&command, &access, MediumResult::new(outcome, offset));
        self.packet_status(reply);
    }

    fn packet_status(&mut self, reply: Reply) {
        self.end(Self::packet_error(&reply), true);
    }

    /// The error register has the sense key in its upper half.
    fn packet_error(reply: &Reply) -> u8 {
        match reply {
            Reply::Check(sense) => sense.key.code() << 4 | error::ABRT,
            _ => 0,
        }
    }
}
