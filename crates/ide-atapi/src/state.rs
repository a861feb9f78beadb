//! Checks of a restored state: it is hostile input, and nothing behind it may meet what it cannot hold.

use slotone_bus::InspectValue;
use slotone_bus::Inspector;

use crate::channel::{Channel, ChannelState};
use crate::drive::Kind;
use crate::identify::MAX_MULTIPLE;
use crate::registers::{command, control};
use crate::transfer::{Access, MAX_REQUEST, SECTOR, Step};
use crate::unit::UnitState;

/// Largest buffer: a command's 256 sectors, or a CD's data in pieces of as much; a DRQ block of a packet drive may end a word later.
const MAX_BUFFER: usize = MAX_REQUEST as usize;

fn unit_is_sound(unit: &UnitState) -> bool {
    (unit.multiple == 0 || unit.multiple.is_power_of_two() && unit.multiple <= MAX_MULTIPLE)
        && unit.heads <= 16
        && matches!(unit.sector_buffer.len(), 0 | 512)
}

/// `Err` says in words what is wrong with a saved channel for these drives.
pub(crate) fn check(state: &ChannelState, drives: &[Option<Kind>; 2]) -> Result<(), &'static str> {
    let t = &state.transfer;
    if !state.units.iter().all(unit_is_sound) {
        return Err("drive settings out of range");
    }
    if !state.bus_master.valid() {
        return Err("bus master registers out of range");
    }
    if t.unit > 1 {
        return Err("a command on a third drive");
    }
    let len = t.buffer.len();
    let (pos, end) = (t.pos as usize, t.block_end as usize);
    if len > MAX_BUFFER || pos > len || end > len {
        return Err("a transfer outside its buffer");
    }
    if t.block == 0 || t.block > u32::from(MAX_MULTIPLE) * SECTOR {
        return Err("a DRQ block of an impossible size");
    }
    let for_both = matches!(t.step, Step::Idle | Step::Held | Step::Reset | Step::Diagnostic);
    let drive = drives[usize::from(t.unit)].as_ref();
    if !for_both && drive.is_none() {
        return Err("a command on a drive that is not there");
    }
    let is_cd = matches!(drive, Some(Kind::Cd(_)));
    if t.packet && !is_cd || matches!(t.step, Step::Packet | Step::Execute) && !t.packet {
        return Err("a packet command on a disk");
    }
    let timed = matches!(
        t.step,
        Step::Execute | Step::InWait | Step::OutWait | Step::Finish | Step::Reset | Step::Diagnostic
    );
    if timed && t.due.is_none() || t.due.is_some() && !timed && t.step != Step::Dma {
        return Err("a command that never goes on");
    }
    if (t.step == Step::Medium) != t.request.is_some() {
        return Err("a medium request without a command");
    }
    if t.step == Step::Held && state.control & control::SRST == 0 {
        return Err("a reset that is not held");
    }
    let in_block = match t.step {
        Step::In | Step::Out | Step::Packet => pos < end,
        Step::InWait | Step::OutWait | Step::Dma => pos < len,
        _ => true,
    };
    if !in_block {
        return Err("a data phase without data");
    }
    let direction = match t.step {
        Step::In | Step::InWait | Step::Packet | Step::Execute => !t.write,
        Step::Out | Step::OutWait => t.write,
        _ => true,
    };
    if !direction || t.result != 0 && t.step != Step::Finish {
        return Err("a data phase of the wrong kind");
    }
    // Where the data come from or go to.
    let capacity = match drive {
        Some(Kind::Disk(disk)) => u64::from(disk.sectors) * u64::from(SECTOR),
        // The medium may have been changed while the machine was off: the host's medium refuses what it does not have.
        Some(Kind::Cd(_)) => u64::from(u32::MAX) * 2048,
        None => 0,
    };
    let beyond = t.offset > capacity || t.left > capacity - t.offset;
    // A refused command may name any address.
    if beyond && (t.step != Step::Finish || t.offset > 1 << 40 || t.left > 1 << 40) {
        return Err("a transfer beyond the medium");
    }
    let to_buffer = t.opcode == command::WRITE_BUFFER;
    // A packet drive takes parameter lists, and nothing for its medium.
    let parameters = t.packet && t.left == 0 && t.request.is_none() && len >= usize::from(t.padded);
    if t.write && is_cd && !parameters {
        return Err("a write to a disc");
    }
    if t.write && (to_buffer && len != SECTOR as usize && t.step != Step::Finish) {
        return Err("a write that no drive of this kind knows");
    }
    if t.write && !to_buffer && t.step != Step::Finish && t.left > len as u64 {
        return Err("a write without its data");
    }
    if t.probe > 0 && (t.step != Step::Medium || t.write || u64::from(t.probe) > t.left) {
        return Err("a search for a bad sector in no command");
    }
    if let Some(request) = &t.request {
        let (len, writes) =
            (u64::from(request.len), matches!(request.access, Access::Write | Access::WriteThrough));
        let flush = request.access == Access::Flush;
        if request.offset != t.offset
            || len > t.left
            || request.len > MAX_REQUEST
            || flush != (len == 0)
            || !len.is_multiple_of(u64::from(SECTOR))
            || !request.offset.is_multiple_of(u64::from(SECTOR))
            || writes != t.write
        {
            return Err("a medium request that does not fit its command");
        }
    }
    Ok(())
}

impl Channel {
    /// Shows registers and counters under `prefix`.
    pub(crate) fn inspect(&self, prefix: &str, out: &mut Inspector<'_>) {
        let state = &self.state;
        let mut register = |name: &str, value: u64, bits: u8| {
            out(&format!("{prefix}.{name}"), InspectValue::Register { value, bits });
        };
        register("device", u64::from(state.device), 8);
        register("device_control", u64::from(state.control), 8);
        register("BMICX", u64::from(state.bus_master.command), 8);
        register("BMISX", u64::from(state.bus_master.status), 8);
        register("BMIDTPX", u64::from(state.bus_master.pointer), 32);
        for (n, unit) in state.units.iter().enumerate().filter(|(n, _)| self.drives[*n].is_some()) {
            let mut byte = |name: &str, value: u8| register(&format!("{n}.{name}"), u64::from(value), 8);
            byte("status", unit.status);
            byte("error", unit.error);
            byte("sector_count", unit.count.now);
            byte("lba_low", unit.low.now);
            byte("lba_mid", unit.mid.now);
            byte("lba_high", unit.high.now);
            byte("transfer_mode", unit.transfer_mode);
            byte("multiple", unit.multiple);
        }
        out(&format!("{prefix}.INTRQ"), InspectValue::Flag(self.level()));
        out(&format!("{prefix}.step"), InspectValue::Text(format!("{:?}", state.transfer.step)));
        register_count(
            prefix,
            out,
            &[
                ("commands", self.counters.commands),
                ("errors", self.counters.aborted),
                ("bytes_read", self.counters.bytes_read),
                ("bytes_written", self.counters.bytes_written),
                ("dma_stalls", self.counters.dma_stalls),
                ("dma_faults", self.counters.dma_faults),
                ("medium_errors", self.counters.medium_errors),
            ],
        );
    }
}

fn register_count(prefix: &str, out: &mut Inspector<'_>, counters: &[(&str, u64)]) {
    for (name, value) in counters {
        out(&format!("{prefix}.{name}"), InspectValue::Count(*value));
    }
}

#[cfg(test)]
mod tests {
    use slotone_block::{BlockBackend, memory::MemoryDisk};
    use slotone_bus::{Pin, VmInstant};

    use super::*;
    use crate::transfer::{MediumRequest, Transfer};
    use crate::{CdConfig, DiskConfig, Drive, Timing};

    fn drives() -> [Option<Kind>; 2] {
        let medium = MemoryDisk::new(1_000 * 512);
        let disk = Drive::disk(DiskConfig::new(medium.info().clone()));
        [Some(disk.0), Some(Drive::cdrom(CdConfig::default()).0)]
    }

    /// A DMA write of eight sectors at sector 5 whose request is out.
    fn sound() -> ChannelState {
        let mut state = Channel::new(drives(), Pin(0), Timing::default()).state;
        let due = VmInstant::from_nanos(5);
        let request = MediumRequest { id: 1, access: Access::Write, offset: 2560, len: 4096, due };
        state.transfer = Transfer {
            step: Step::Medium,
            opcode: command::WRITE_DMA,
            dma: true,
            write: true,
            buffer: vec![1; 4096],
            pos: 4096,
            offset: 2560,
            left: 4096,
            request: Some(request),
            ..Transfer::idle()
        };
        state
    }

    #[test]
    fn what_no_machine_comes_to_is_refused() {
        assert_eq!(check(&sound(), &drives()), Ok(()));
        type Spoil = fn(&mut ChannelState);
        let request: fn(&mut ChannelState) -> &mut MediumRequest =
            |s| s.transfer.request.get_or_insert_with(|| unreachable!("there is one"));
        let spoilt: [(&str, Spoil); 24] = [
            ("multiple", |s| s.units[0].multiple = 3),
            ("multiple", |s| s.units[1].multiple = 255),
            ("heads", |s| s.units[0].heads = 17),
            ("sector buffer", |s| s.units[0].sector_buffer = vec![0; 511]),
            ("bus master", |s| s.bus_master.pointer = 1),
            ("bus master", |s| s.bus_master.status = 1),
            ("unit", |s| s.transfer.unit = 2),
            ("no drive of that kind", |s| s.transfer.unit = 1),
            ("pos", |s| s.transfer.pos = 4097),
            ("block end", |s| s.transfer.block_end = 4097),
            ("buffer", |s| s.transfer.buffer = vec![0; 200 << 10]),
            ("block", |s| s.transfer.block = 0),
            ("block", |s| s.transfer.block = 70_000),
            ("step", |s| s.transfer.step = Step::Finish),
            ("step", |s| s.transfer.step = Step::Held),
            ("step", |s| s.transfer.step = Step::Out),
            ("step", |s| s.transfer.step = Step::Execute),
            ("due", |s| s.transfer.due = Some(VmInstant::ZERO)),
            ("packet", |s| s.transfer.packet = true),
            ("request", |s| s.transfer.request = None),
            ("offset", |s| s.transfer.offset = 1_000 * 512),
            ("offset", |s| s.transfer.offset = u64::MAX),
            ("left", |s| s.transfer.left = 8192),
            ("probe", |s| s.transfer.probe = 512),
        ];
        for (what, spoil) in spoilt {
            let mut state = sound();
            spoil(&mut state);
            assert!(check(&state, &drives()).is_err(), "{what}");
        }
        let spoilt: [fn(&mut MediumRequest); 6] = [
            |r| r.len = 8192,
            |r| r.len = 100,
            |r| r.len = 0,
            |r| r.offset += 512,
            |r| r.access = Access::Read,
            |r| r.access = Access::Flush,
        ];
        for spoil in spoilt {
            let mut state = sound();
            spoil(request(&mut state));
            assert!(check(&state, &drives()).is_err());
        }
        // A read as large as a disk.
        let mut state = sound();
        state.transfer.write = false;
        state.transfer.left = 512_000 - 2560;
        request(&mut state).access = Access::Read;
        assert_eq!(check(&state, &drives()), Ok(()));
        request(&mut state).len = MAX_REQUEST + 512;
        assert!(check(&state, &drives()).is_err());
        // A drive that is not there.
        let [disk, _] = drives();
        assert!(check(&sound(), &[None, disk]).is_err());
    }
}
