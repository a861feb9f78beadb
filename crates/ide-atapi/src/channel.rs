//! One IDE channel: the command block of both drives, the protocols (PIO in, PIO out, DMA, packet), and the interrupt line.
//!
//! At most one command runs on a channel. While it does, [`Transfer::step`] says what the drive waits for; what ends by itself has a
//! due time and goes on in [`Channel::tick`].

use slotone_block::{Completion, Operation, Outcome, Request};
use slotone_bus::{Cx, VmInstant, encode_enum, encode_fields};

use crate::Timing;
use crate::bus_master::{BusMaster, End};
use crate::drive::Kind;
use crate::registers::{bmis, command, control, device, error, reason, status};
use crate::unit::UnitState;

/// Largest request to a medium: 256 sectors.
pub(crate) const MAX_REQUEST: u32 = 256 * 512;

/// Bytes of a sector.
pub(crate) const SECTOR: u32 = 512;

/// What an empty channel reads as: the lines float high, DD7 is pulled down so that nobody waits for BSY.
const FLOATING: u8 = 0x7f;

/// What a command waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Nothing: no command runs.
    Idle,
    /// BSY; at `due` the packet command is carried out.
    Execute,
    /// BSY; a medium request is out.
    Medium,
    /// BSY; at `due` the next DRQ block towards the host is there.
    InWait,
    /// DRQ; the host reads a block.
    In,
    /// BSY; at `due` the next DRQ block from the host is wanted.
    OutWait,
    /// DRQ; the host writes a block.
    Out,
    /// DRQ; the host writes the command packet.
    Packet,
    /// DMARQ; the bus master has to move the buffer, at `due` if it runs.
    Dma,
    /// BSY; at `due` the command ends with `result`.
    Finish,
    /// BSY on both drives: SRST is held.
    Held,
    /// BSY on both drives; at `due` the reset is over.
    Reset,
    /// BSY on both drives; at `due` the diagnostics are over.
    Diagnostic,
}
encode_enum!(Step {
    Idle,
    Execute,
    Medium,
    InWait,
    In,
    OutWait,
    Out,
    Packet,
    Dma,
    Finish,
    Held,
    Reset,
    Diagnostic,
});

/// What a medium request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Read,
    Write,
    /// The drive's write cache is off.
    WriteThrough,
    Flush,
}
encode_enum!(Access { Read, Write, WriteThrough, Flush });

/// A request that is not completed. Data to write are in [`Transfer::buffer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MediumRequest {
    pub(crate) id: u64,
    pub(crate) access: Access,
    pub(crate) offset: u64,
    pub(crate) len: u32,
    pub(crate) due: VmInstant,
}
encode_fields!(MediumRequest { id, access, offset, len, due });

/// The command that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Transfer {
    pub(crate) step: Step,
    /// 0 or 1: the drive it runs on.
    pub(crate) unit: u8,
    pub(crate) due: Option<VmInstant>,
    /// ATA command code.
    pub(crate) opcode: u8,
    pub(crate) dma: bool,
    /// Towards the medium.
    pub(crate) write: bool,
    /// Data on their way; a command packet in [`Step::Packet`] and [`Step::Execute`].
    pub(crate) buffer: Vec<u8>,
    /// Next byte of the buffer, and end of the DRQ block it is in.
    pub(crate) pos: u32,
    pub(crate) block_end: u32,
    /// Bytes of a DRQ block.
    pub(crate) block: u32,
    /// The last byte of the buffer is padding of an odd number of bytes.
    pub(crate) padded: bool,
    /// Next byte on the medium, and bytes of it still to come or go.
    pub(crate) offset: u64,
    pub(crate) left: u64,
    /// A large request failed: the rest is done in the smallest pieces, so that what is good is delivered and the bad sector is found.
    pub(crate) narrow: bool,
    /// Bytes of a failed DRQ block of several sectors that are still searched for the bad one; their data are not delivered.
    pub(crate) probe: u32,
    /// Error register at [`Step::Finish`]; 0: the command went well.
    pub(crate) result: u8,
    pub(crate) request: Option<MediumRequest>,
}
encode_fields!(Transfer {
    step,
    unit,
    due,
    opcode,
    dma,
    write,
    buffer,
    pos,
    block_end,
    block,
    padded,
    offset,
    left,
    narrow,
    probe,
    result,
    request,
});

impl Transfer {
    pub(crate) fn idle() -> Self {
        Self {
            step: Step::Idle,
            unit: 0,
            due: None,
            opcode: 0,
            dma: false,
            write: false,
            buffer: Vec::new(),
            pos: 0,
            block_end: 0,
            block: SECTOR,
            padded: false,
            offset: 0,
            left: 0,
            narrow: false,
            probe: 0,
            result: 0,
            request: None,
        }
    }

    pub(crate) fn packet(&self) -> bool {
        self.opcode == command::PACKET
    }
}

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
    handed_out: bool,
    completion: Option<Completion>,
    overdue: bool,
    spare: Vec<u8>,
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
                slotone_scsi::Target::reset(&mut cd.target);
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

    fn unit(&mut self) -> &mut UnitState {
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
            self.begin_for_both(Step::Reset, Some(now + self.timing.reset));
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
            self.begin_for_both(Step::Diagnostic, Some(now + self.timing.reset));
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
            Step::In if more => self.wait(Step::InWait, now + timing.block),
            Step::In if t.left > 0 => self.submit(now, Access::Read),
            // The status phase of a packet command has an interrupt of its own; the last block of a PIO read is its end.
            Step::In if t.packet() => self.finish_soon(now, 0),
            Step::In => self.end(0, false),
            Step::Out if more => self.wait(Step::OutWait, now + timing.block),
            Step::Out => self.data_out_complete(now),
            Step::Packet => self.wait(Step::Execute, now + timing.command),
            _ => {}
        }
    }

    // ---- protocol ------------------------------------------------------------------------------------------------

    fn wait(&mut self, step: Step, due: VmInstant) {
        self.state.transfer.step = step;
        self.state.transfer.due = Some(due);
        self.unit().status = status::BSY;
    }

    /// The command ends after the command overhead, with an interrupt.
    pub(crate) fn finish_soon(&mut self, now: VmInstant, result: u8) {
        self.state.transfer.result = result;
        self.wait(Step::Finish, now + self.timing.command);
    }

    /// The buffer goes to the host in DRQ blocks or by DMA, after the command overhead.
    pub(crate) fn send_soon(&mut self, now: VmInstant, buffer: Vec<u8>) {
        self.state.transfer.buffer = buffer;
        self.state.transfer.pos = 0;
        let due = now + self.timing.command;
        if self.state.transfer.dma {
            self.offer_dma();
            self.kick_dma(now);
        } else {
            self.wait(Step::InWait, due);
        }
    }

    /// `len` bytes are wanted from the host: at once, without an interrupt before the first block.
    pub(crate) fn collect(&mut self, now: VmInstant, len: u32) {
        let mut buffer = std::mem::take(&mut self.spare);
        buffer.clear();
        buffer.resize(len as usize, 0);
        let t = &mut self.state.transfer;
        t.buffer = buffer;
        t.pos = 0;
        if t.dma {
            self.offer_dma();
            self.kick_dma(now);
        } else {
            self.offer_out(false);
        }
    }

    pub(crate) fn offer_out(&mut self, interrupt: bool) {
        let t = &mut self.state.transfer;
        t.step = Step::Out;
        t.due = None;
        t.block_end = (t.pos + t.block).min(t.buffer.len() as u32);
        let unit = self.unit();
        unit.status = status::DRDY | status::DSC | status::DRQ;
        unit.intrq |= interrupt;
    }

    fn offer_in(&mut self) {
        let t = &mut self.state.transfer;
        t.step = Step::In;
        t.due = None;
        t.block_end = t.pos.saturating_add(t.block).min(t.buffer.len() as u32);
        let padding = u32::from(t.padded && t.block_end as usize == t.buffer.len());
        let (packet, bytes) = (t.packet(), t.block_end - t.pos - padding);
        let unit = self.unit();
        if packet {
            let [.., high, low] = bytes.to_be_bytes();
            unit.count.push(reason::IO);
            unit.mid.push(low);
            unit.high.push(high);
        }
        unit.status = status::DRDY | status::DSC | status::DRQ;
        unit.intrq = true;
    }

    fn offer_dma(&mut self) {
        self.state.transfer.step = Step::Dma;
        self.state.transfer.due = None;
        let packet = self.state.transfer.packet();
        let to_host = !self.state.transfer.write;
        let unit = self.unit();
        if packet {
            unit.count.push(if to_host { reason::IO } else { 0 });
        }
        unit.status = status::DRDY | status::DSC | status::DRQ;
    }

    fn dma_can_run(&self) -> bool {
        let t = &self.state.transfer;
        t.step == Step::Dma && self.may_master && self.state.bus_master.serves(!t.write)
    }

    /// The bus master was started, stopped or allowed: the transfer runs a moment later, never inside the access.
    pub(crate) fn kick_dma(&mut self, now: VmInstant) {
        if self.dma_can_run() {
            self.state.transfer.due.get_or_insert(now + self.timing.block);
        }
    }

    fn run_dma(&mut self, cx: &mut Cx<'_>) {
        if !self.dma_can_run() {
            return;
        }
        let to_memory = !self.state.transfer.write;
        let mut buffer = std::mem::take(&mut self.state.transfer.buffer);
        let mut pos = self.state.transfer.pos as usize;
        let end = self.state.bus_master.run(cx, to_memory, &mut buffer, &mut pos);
        self.state.transfer.buffer = buffer;
        self.state.transfer.pos = pos as u32;
        match end {
            End::Exhausted => self.counters.dma_stalls += 1,
            End::Fault => {
                self.counters.dma_faults += 1;
                self.master_abort = true;
            }
            End::Done if !to_memory => self.data_out_complete(cx.now()),
            End::Done if self.state.transfer.left > 0 => self.submit(cx.now(), Access::Read),
            End::Done => self.end(0, true),
        }
    }

    /// All data of the host are in the buffer.
    fn data_out_complete(&mut self, now: VmInstant) {
        if self.state.transfer.opcode == command::WRITE_BUFFER {
            let data = std::mem::take(&mut self.state.transfer.buffer);
            self.unit().sector_buffer = data;
            self.finish_soon(now, 0);
            return;
        }
        let cached = self.unit().write_cache;
        self.submit(now, if cached { Access::Write } else { Access::WriteThrough });
    }

    /// Issues the next request of the command.
    pub(crate) fn submit(&mut self, now: VmInstant, access: Access) {
        let t = &mut self.state.transfer;
        let limit = if t.probe > 0 {
            SECTOR
        } else if t.narrow {
            t.narrow_unit()
        } else {
            MAX_REQUEST
        };
        let len = if access == Access::Flush { 0 } else { t.left.min(u64::from(limit)) as u32 };
        self.state.requests = self.state.requests.wrapping_add(1);
        let latency = self.timing.access + self.timing.sector * u64::from(len / SECTOR);
        let (id, due) = (self.state.requests, now + latency);
        t.request = Some(MediumRequest { id, access, offset: t.offset, len, due });
        t.step = Step::Medium;
        t.due = None;
        self.handed_out = false;
        self.completion = None;
        self.overdue = false;
        self.unit().status = status::BSY;
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= MAX_REQUEST as usize {
            self.spare = buffer;
        }
    }

    fn drop_request(&mut self) {
        self.state.transfer.request = None;
        self.handed_out = false;
        self.completion = None;
        self.overdue = false;
    }

    /// The next request for the host, once. `unit` of the request is 0 or 1, its `id` unique in this channel.
    pub(crate) fn next_request(&mut self) -> Option<Request> {
        let t = &mut self.state.transfer;
        let request = t.request.as_ref().filter(|_| !self.handed_out)?;
        self.handed_out = true;
        let (operation, data) = match request.access {
            Access::Read => {
                // The buffer is empty by now, or holds what was delivered already: it travels, and comes back filled.
                let mut data = std::mem::take(&mut t.buffer);
                if data.capacity() < request.len as usize {
                    data = std::mem::take(&mut self.spare);
                }
                data.resize(request.len as usize, 0);
                (Operation::Read, data)
            }
            // A copy travels: a machine saved now must still have the data.
            Access::Write | Access::WriteThrough => {
                let at = (request.offset - t.write_start()) as usize;
                let fua = request.access == Access::WriteThrough;
                (Operation::Write { fua }, t.buffer[at..at + request.len as usize].to_vec())
            }
            Access::Flush => (Operation::Flush, Vec::new()),
        };
        let due = request.due.as_nanos();
        Some(Request { id: request.id, unit: t.unit, operation, offset: request.offset, data, due })
    }

    pub(crate) fn complete(&mut self, completion: Completion) {
        if self.state.transfer.request.as_ref().is_some_and(|r| r.id == completion.id) && self.handed_out {
            self.completion = Some(completion);
        }
    }

    // ---- time ----------------------------------------------------------------------------------------------------

    pub(crate) fn next_deadline(&self) -> Option<VmInstant> {
        match &self.state.transfer.request {
            Some(request) => (self.completion.is_some() || !self.overdue).then_some(request.due),
            None => self.state.transfer.due,
        }
    }

    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        if self.next_deadline().is_none_or(|due| due > cx.now()) {
            return;
        }
        if let Some(request) = self.state.transfer.request.take() {
            match self.completion.take() {
                Some(completion) => self.medium_done(cx, request, completion),
                None => {
                    // The host is late: this goes on when it hands the result in.
                    self.state.transfer.request = Some(request);
                    self.overdue = true;
                }
            }
        } else {
            self.state.transfer.due = None;
            match self.state.transfer.step {
                Step::Execute => self.execute_packet(cx.now()),
                Step::InWait => self.offer_in(),
                Step::OutWait => self.offer_out(true),
                Step::Dma => self.run_dma(cx),
                Step::Finish => self.end(self.state.transfer.result, true),
                Step::Reset => self.reset_over(false),
                Step::Diagnostic => self.reset_over(true),
                Step::Idle | Step::Medium | Step::In | Step::Out | Step::Packet | Step::Held => {}
            }
        }
        self.update_line(cx);
    }

    fn reset_over(&mut self, interrupt: bool) {
        self.state.transfer = Transfer::idle();
        for (unit, drive) in self.state.units.iter_mut().zip(&self.drives) {
            unit.signature(drive.as_ref());
        }
        self.state.device = 0;
        if interrupt && self.drives[0].is_some() {
            self.state.units[0].intrq = true;
        }
    }

    fn medium_done(&mut self, cx: &mut Cx<'_>, request: MediumRequest, completion: Completion) {
        let len = u64::from(request.len);
        let mut outcome = completion.outcome;
        if request.access == Access::Read && completion.data.len() as u64 != len && outcome == Outcome::Done {
            outcome = Outcome::MediumError; // a host that lost the buffer
        }
        if outcome != Outcome::Done {
            self.counters.medium_errors += 1;
            self.recycle(completion.data);
            self.medium_failed(cx.now(), request, outcome);
            return;
        }
        let t = &mut self.state.transfer;
        t.offset += len;
        t.left -= len.min(t.left);
        match request.access {
            Access::Read => {
                self.counters.bytes_read += len;
                let t = &mut self.state.transfer;
                if t.probe > 0 {
                    t.probe = t.probe.saturating_sub(request.len);
                    self.recycle(completion.data);
                    // All good now? Then the error came and went; the block was not delivered, so it is still an error.
                    return if self.state.transfer.probe > 0 {
                        self.submit(cx.now(), Access::Read);
                    } else {
                        self.end(error::UNC, true);
                    };
                }
                if matches!(t.opcode, command::READ_VERIFY | command::READ_VERIFY_NO_RETRY) {
                    self.recycle(completion.data);
                    return self.next_or_end(cx.now(), Access::Read);
                }
                t.buffer = completion.data;
                t.pos = 0;
                if t.dma {
                    self.offer_dma();
                    self.run_dma(cx);
                } else {
                    self.offer_in();
                }
            }
            Access::Write | Access::WriteThrough => {
                self.counters.bytes_written += len;
                self.next_or_end(cx.now(), request.access);
            }
            Access::Flush => self.end(0, true),
        }
    }

    fn next_or_end(&mut self, now: VmInstant, access: Access) {
        if self.state.transfer.left > 0 { self.submit(now, access) } else { self.end(0, true) }
    }

    fn medium_failed(&mut self, now: VmInstant, request: MediumRequest, outcome: Outcome) {
        let t = &mut self.state.transfer;
        // A flaw somewhere in a large request: what is good before it is delivered, and the address told is the bad sector's.
        if outcome == Outcome::MediumError && request.len > t.narrow_unit() {
            t.narrow = true;
            return self.submit(now, request.access);
        }
        if outcome == Outcome::MediumError
            && request.access == Access::Read
            && !t.packet()
            && request.len > SECTOR
        {
            t.probe = request.len;
            return self.submit(now, request.access);
        }
        if t.packet() {
            return self.packet_failed(now, outcome, request.offset);
        }
        let result = match outcome {
            Outcome::Done => 0,
            Outcome::MediumError if request.access == Access::Read => error::UNC,
            Outcome::OutOfRange => error::IDNF,
            Outcome::MediumError | Outcome::ReadOnly | Outcome::NotReady => error::ABRT,
        };
        if outcome == Outcome::NotReady {
            self.unit().status |= status::DF;
        }
        self.end(result, true);
    }

    /// The command is over: registers tell how it went.
    pub(crate) fn end(&mut self, result: u8, interrupt: bool) {
        let t = &mut self.state.transfer;
        let (packet, opcode, left) = (t.packet(), t.opcode, (t.left / u64::from(SECTOR)) as u32);
        let next = u32::try_from(t.offset / u64::from(SECTOR)).unwrap_or(u32::MAX);
        t.step = Step::Idle;
        t.due = None;
        t.request = None;
        let mut device_register = self.state.device;
        let unit = self.unit();
        unit.error = result;
        let fault = unit.status & status::DF;
        unit.status = status::DRDY | status::DSC | fault | if result != 0 { status::ERR } else { 0 };
        unit.intrq |= interrupt;
        if packet {
            unit.count.push(reason::CD | reason::IO);
        } else if crate::ata::addresses_sectors(opcode) && (result == 0 || left > 0) {
            // The last sector, or the one that failed; an address that is none stays as it was written.
            let at = if result == 0 { next.saturating_sub(1) } else { next };
            device_register = unit.set_address(device_register, at);
            unit.count.push(left as u8);
        }
        self.state.device = device_register;
        if result != 0 {
            self.counters.aborted += 1;
        }
        let buffer = std::mem::take(&mut self.state.transfer.buffer);
        self.recycle(buffer);
        self.state.transfer = Transfer { unit: self.state.transfer.unit, ..Transfer::idle() };
    }
}

impl Transfer {
    /// Smallest request: a sector, a block of a CD, or what the host takes as one DRQ block.
    fn narrow_unit(&self) -> u32 {
        match (self.packet(), self.dma || self.write) {
            (true, _) => 2048,
            (false, true) => SECTOR,
            (false, false) => self.block,
        }
    }

    /// Where on the medium the first byte of the buffer of a write goes.
    fn write_start(&self) -> u64 {
        self.offset + self.left - self.buffer.len() as u64
    }
}
