//! The protocols of ATA/ATAPI-5, chapter 9: PIO in and out, DMA, packet; and how time carries a command on.

use slotone_bus::{Cx, VmInstant};

use crate::Timing;
use crate::bus_master::End;
use crate::channel::Channel;
use crate::registers::{command, reason, status};
use crate::transfer::{Access, SECTOR, Step, Transfer};

impl Channel {
    pub(crate) fn wait(&mut self, step: Step, due: VmInstant) {
        self.state.transfer.step = step;
        self.state.transfer.due = Some(due);
        self.unit().status = status::BSY;
    }

    /// The command ends after the command overhead, with an interrupt.
    pub(crate) fn finish_soon(&mut self, now: VmInstant, result: u8) {
        self.state.transfer.result = result;
        self.wait(Step::Finish, Timing::after(now, self.timing.command));
    }

    /// The buffer goes to the host in DRQ blocks or by DMA, after the command overhead.
    pub(crate) fn send_soon(&mut self, now: VmInstant, buffer: Vec<u8>) {
        self.state.transfer.load(buffer);
        let due = Timing::after(now, self.timing.command);
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
        t.load(buffer);
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
        let padding = u32::from(t.padded && t.block_end as usize == t.buffer.len());
        let (packet, bytes) = (t.packet, t.block_end - t.pos - padding);
        let unit = self.unit();
        if packet {
            let [.., high, low] = bytes.to_be_bytes();
            unit.count.push(0);
            unit.mid.push(low);
            unit.high.push(high);
        }
        unit.status = status::DRDY | status::DSC | status::DRQ;
        unit.intrq |= interrupt;
    }

    pub(crate) fn offer_in(&mut self) {
        let t = &mut self.state.transfer;
        t.step = Step::In;
        t.due = None;
        t.block_end = t.pos.saturating_add(t.block).min(t.buffer.len() as u32);
        let padding = u32::from(t.padded && t.block_end as usize == t.buffer.len());
        let (packet, bytes) = (t.packet, t.block_end - t.pos - padding);
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

    pub(crate) fn offer_dma(&mut self) {
        self.state.transfer.step = Step::Dma;
        self.state.transfer.due = None;
        let packet = self.state.transfer.packet;
        let to_host = !self.state.transfer.write;
        let unit = self.unit();
        if packet {
            unit.count.push(if to_host { reason::IO } else { 0 });
        }
        unit.status = status::DRDY | status::DSC | status::DRQ;
    }

    pub(crate) fn dma_can_run(&self) -> bool {
        let t = &self.state.transfer;
        t.step == Step::Dma && self.may_master && self.state.bus_master.serves(!t.write)
    }

    /// The bus master was started, stopped or allowed: the transfer runs a moment later, never inside the access.
    pub(crate) fn kick_dma(&mut self, now: VmInstant) {
        if self.dma_can_run() {
            self.state.transfer.due.get_or_insert(Timing::after(now, self.timing.block));
        }
    }

    pub(crate) fn run_dma(&mut self, cx: &mut Cx<'_>) {
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
    pub(crate) fn data_out_complete(&mut self, now: VmInstant) {
        if self.state.transfer.packet {
            return self.packet_data(now);
        }
        if self.state.transfer.opcode == command::WRITE_BUFFER {
            let data = self.state.transfer.load(Vec::new());
            self.unit().sector_buffer = data;
            self.finish_soon(now, 0);
            return;
        }
        let cached = self.unit().write_cache;
        self.submit(now, if cached { Access::Write } else { Access::WriteThrough });
    }

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

    pub(crate) fn reset_over(&mut self, interrupt: bool) {
        self.state.transfer = Transfer::idle();
        for (unit, drive) in self.state.units.iter_mut().zip(&self.drives) {
            unit.signature(drive.as_ref());
        }
        self.state.device = 0;
        if interrupt && self.drives[0].is_some() {
            self.state.units[0].intrq = true;
        }
    }

    /// The command is over: registers tell how it went.
    pub(crate) fn end(&mut self, result: u8, interrupt: bool) {
        let t = &mut self.state.transfer;
        let (packet, opcode, left) = (t.packet, t.opcode, (t.left / u64::from(SECTOR)) as u32);
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
