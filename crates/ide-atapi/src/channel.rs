//! One IDE channel: the command block of both drives, the data port and the interrupt line.
//!
//! At most one command runs on a channel. While it does, [`Transfer::step`] says what the drive waits for; what ends by itself has a
//! due time and goes on in `Channel::tick`.

use slotone_block::Completion;
use slotone_bus::{Cx, VmInstant, encode_fields};

use crate::Timing;
use crate::bus_master::BusMaster;
use crate::drive::Kind;
use crate::registers::{bmis, command, control, device, status};
use crate::transfer::{Access, Step, Transfer};
use crate::unit::UnitState;

/// What an empty channel reads as: the lines float high, DD7 is pulled down so that nobody waits for BSY.
const FLOATING: u8 = 0x7f;

/// All a guest can observe of a channel, but for the CD drive's own state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ChannelState {
    /// Device control register.
    pub(crate) control: u8,
    /// Device register, common to both drives.
    pub(crate) device: u8,
    pub(crate) units: [UnitState; 2],
    pub(crate) transfer: Transfer,
    pub(crate) bus_master: BusMaster,
    /// Requests begun so far.
    pub(crate) requests: u64,
}
encode_fields!(ChannelState { control, device, units, transfer, bus_master, requests });

/// For people; no part of the state.
#[derive(Debug, Clone, Default)]
pub(crate) struct Counters {
    pub(crate) commands: u64,
    pub(crate) aborted: u64,
    pub(crate) bytes_read: u64,
    pub(crate) bytes_written: u64,
    pub(crate) dma_stalls: u64,
    pub(crate) dma_faults: u64,
    pub(crate) medium_errors: u64,
}

#[derive(Debug)]
pub(crate) struct Channel {
    // Wiring.
    pub(crate) drives: [Option<Kind>; 2],
    pub(crate) timing: Timing,
    pin: slotone_bus::Pin,
    // Host side: where the outstanding request is. Not state: a restored controller starts over.
    pub(crate) handed_out: bool,
    pub(crate) completion: Option<Completion>,
    pub(crate) overdue: bool,
    pub(crate) spare: Vec<u8>,
    // Book-keeping.
    pub(crate) counters: Counters,
    /// The level last driven on the pin.
    line: bool,
    /// PCICMD.BME.
    pub(crate) may_master: bool,
    /// A DMA access was not answered since this was last cleared.
    pub(crate) master_abort: bool,
    // Volatile state.
    pub(crate) state: ChannelState,
}

impl Channel {
    pub(crate) fn new(drives: [Option<Kind>; 2], pin: slotone_bus::Pin, timing: Timing) -> Self {
        let units = [UnitState::new(drives[0].as_ref()), UnitState::new(drives[1].as_ref())];
        Self {
            drives,
            timing,
            pin,
            handed_out: false,
            completion: None,
            overdue: false,
            spare: Vec::new(),
            counters: Counters::default(),
            line: false,
            may_master: false,
            master_abort: false,
            state: ChannelState {
                control: 0,
                device: 0,
                units,
                transfer: Transfer::idle(),
                bus_master: BusMaster::default(),
                requests: 0,
            },
        }
    }

    pub(crate) fn reset(&mut self) {
        for drive in self.drives.iter_mut().flatten() {
            if let Kind::Cd(cd) = drive {
                slotone_scsi::Target::reset(&mut cd.target, slotone_scsi::Reset::PowerOn);
            }
        }
        let requests = self.state.requests;
        self.set_state(ChannelState {
            control: 0,
            device: 0,
            units: [UnitState::new(self.drives[0].as_ref()), UnitState::new(self.drives[1].as_ref())],
            transfer: Transfer::idle(),
            bus_master: BusMaster::default(),
            requests,
        });
    }

    /// Replaces the state; the machine reads the level anew.
    pub(crate) fn set_state(&mut self, state: ChannelState) {
        self.state = state;
        self.handed_out = false;
        self.completion = None;
        self.overdue = false;
        self.line = self.level();
    }

    pub(crate) fn selected(&self) -> usize {
        usize::from(self.state.device & device::DEV != 0)
    }

    pub(crate) fn unit(&mut self) -> &mut UnitState {
        let index = usize::from(self.state.transfer.unit & 1);
        &mut self.state.units[index]
    }

    // ---- interrupt -----------------------------------------------------------------------------------------------

    pub(crate) fn level(&self) -> bool {
        let selected = self.selected();
        self.drives[selected].is_some()
            && self.state.units[selected].intrq
            && self.state.control & control::NIEN == 0
    }

    /// Drives the pin if its level changed; a rising edge is what the bus master's interrupt bit remembers.
    pub(crate) fn update_line(&mut self, cx: &mut Cx<'_>) {
        let level = self.level();
        if level != self.line {
            self.line = level;
            if level {
                self.state.bus_master.status |= bmis::IDEINTS;
            }
            cx.line(self.pin, level);
        }
    }

    // ---- registers -----------------------------------------------------------------------------------------------

    /// Reads command block register 1 to 7.
    pub(crate) fn read_register(&mut self, register: u64) -> u8 {
        if self.drives.iter().all(Option::is_none) {
            return FLOATING;
        }
        let selected = self.selected();
        if self.drives[selected].is_none() {
            // The drive that is there answers for the other one.
            return if register == 6 { self.state.device } else { 0 };
        }
        let hob = self.state.control & control::HOB != 0;
        let unit = &mut self.state.units[selected];
        if register == 7 {
            unit.intrq = false;
            return unit.status;
        }
        if unit.status & status::BSY != 0 {
            return unit.status;
        }
        match register {
            1 => unit.error,
            2 => unit.count.get(hob),
            3 => unit.low.get(hob),
            4 => unit.mid.get(hob),
            5 => unit.high.get(hob),
            6 => self.state.device | 0xa0,
            _ => 0xff,
        }
    }

    /// Alternate status: as status, without acknowledging the interrupt.
    pub(crate) fn alternate_status(&self) -> u8 {
        if self.drives.iter().all(Option::is_none) {
            return FLOATING;
        }
        let selected = self.selected();
        if self.drives[selected].is_none() { 0 } else { self.state.units[selected].status }
    }

    /// Writes command block register 1 to 7.
    pub(crate) fn write_register(&mut self, now: VmInstant, register: u64, value: u8) {
        if self.drives.iter().all(Option::is_none) {
            return;
        }
        if register == 7 {
            self.write_command(now, value);
            return;
        }
        if self.state.transfer.step != Step::Idle {
            return; // the drive owns the registers
        }
        self.state.control &= !control::HOB;
        if register == 6 {
            self.state.device = value;
            return;
        }
        for unit in &mut self.state.units {
            match register {
                1 => unit.features = value,
                2 => unit.count.push(value),
                3 => unit.low.push(value),
                4 => unit.mid.push(value),
                5 => unit.high.push(value),
                _ => {}
            }
        }
    }

    pub(crate) fn write_control(&mut self, now: VmInstant, value: u8) {
        let was = self.state.control & control::SRST != 0;
        self.state.control = value & (control::HOB | control::SRST | control::NIEN);
        let is = value & control::SRST != 0;
        if is && !was {
            self.begin_for_both(Step::Held, None);
        } else if was && !is && self.state.transfer.step == Step::Held {
            self.begin_for_both(Step::Reset, Some(Timing::after(now, self.timing.reset)));
        }
    }

    fn begin_for_both(&mut self, step: Step, due: Option<VmInstant>) {
        self.drop_request();
        self.state.transfer = Transfer { step, due, ..Transfer::idle() };
        for (unit, drive) in self.state.units.iter_mut().zip(&self.drives) {
            if drive.is_some() {
                unit.status = status::BSY;
                unit.intrq = false;
            }
        }
    }

    fn write_command(&mut self, now: VmInstant, code: u8) {
        let selected = self.selected();
        if code == command::DEVICE_RESET && matches!(self.drives[selected], Some(Kind::Cd(_))) {
            if matches!(self.state.transfer.step, Step::Held | Step::Reset | Step::Diagnostic) {
                return;
            }
            self.drop_request();
            self.state.transfer = Transfer::idle();
            self.state.units[selected].signature(self.drives[selected].as_ref());
            self.state.device &= device::DEV;
            return;
        }
        if self.state.transfer.step != Step::Idle {
            return;
        }
        self.state.control &= !control::HOB;
        if code == command::EXECUTE_DEVICE_DIAGNOSTIC {
            self.counters.commands += 1;
            self.begin_for_both(Step::Diagnostic, Some(Timing::after(now, self.timing.reset)));
            return;
        }
        let Some(drive) = &self.drives[selected] else { return };
        self.counters.commands += 1;
        let is_disk = matches!(drive, Kind::Disk(_));
        let spare = std::mem::take(&mut self.state.transfer.buffer);
        self.recycle(spare);
        self.state.transfer = Transfer { unit: selected as u8, opcode: code, ..Transfer::idle() };
        let unit = self.unit();
        unit.intrq = false;
        unit.error = 0;
        unit.status = status::BSY;
        let begun = if is_disk { self.ata_command(now, code) } else { self.atapi_command(now, code) };
        if let Err(error) = begun {
            self.finish_soon(now, error);
        }
    }

    // ---- data port -----------------------------------------------------------------------------------------------

    /// The bytes of the current DRQ block that the host has not read yet.
    pub(crate) fn block_in(&self) -> &[u8] {
        let t = &self.state.transfer;
        match t.step {
            Step::In => &t.buffer[t.pos as usize..t.block_end as usize],
            _ => &[],
        }
    }

    /// The host reads `data` from the data port: what lies beyond the DRQ block is undefined and reads as zeros (7Fs when nobody drives
    /// the bus).
    pub(crate) fn read_data(&mut self, now: VmInstant, data: &mut [u8]) {
        if self.drives.iter().all(Option::is_none) {
            for (i, byte) in data.iter_mut().enumerate() {
                *byte = if i & 1 == 0 { FLOATING } else { 0xff };
            }
            return;
        }
        data.fill(0);
        let block = self.block_in();
        let n = block.len().min(data.len());
        if n == 0 {
            return;
        }
        data[..n].copy_from_slice(&block[..n]);
        // The port is a word wide: a byte access moves a word.
        self.advance(now, n.next_multiple_of(2));
    }

    /// The host writes `data` to the data port: what the drive does not want is dropped.
    pub(crate) fn write_data(&mut self, now: VmInstant, data: &[u8]) {
        let t = &mut self.state.transfer;
        if !matches!(t.step, Step::Out | Step::Packet) {
            return;
        }
        let (pos, end) = (t.pos as usize, t.block_end as usize);
        let n = data.len().min(end - pos);
        t.buffer[pos..pos + n].copy_from_slice(&data[..n]);
        self.advance(now, n.next_multiple_of(2));
    }

    pub(crate) fn wants_data(&self) -> usize {
        let t = &self.state.transfer;
        match t.step {
            Step::Out | Step::Packet => (t.block_end - t.pos) as usize,
            _ => 0,
        }
    }

    fn advance(&mut self, now: VmInstant, n: usize) {
        let timing = self.timing;
        let t = &mut self.state.transfer;
        t.pos = (t.pos + n as u32).min(t.block_end);
        if t.pos < t.block_end {
            return;
        }
        let more = (t.pos as usize) < t.buffer.len();
        match t.step {
            Step::In if more => self.wait(Step::InWait, Timing::after(now, timing.block)),
            Step::In if t.left > 0 => self.submit(now, Access::Read),
            // The status phase of a packet command has an interrupt of its own; the last block of a PIO read is its end.
            Step::In if t.packet => self.finish_soon(now, 0),
            Step::In => self.end(0, false),
            Step::Out if more => self.wait(Step::OutWait, Timing::after(now, timing.block)),
            Step::Out => self.data_out_complete(now),
            Step::Packet => self.wait(Step::Execute, Timing::after(now, timing.command)),
            _ => {}
        }
    }
}
