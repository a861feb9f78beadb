//! The SCSI cell and the data FIFO: signals, bytes by hand, bytes by DMA.

use slotone_bus::Cx;

use crate::adapter::{Adapter, SLICE};
use crate::registers::{self as r, dfcntrl, scsiseq, scsisig, sstat0, sstat1, sxfrctl0, sxfrctl1};
use crate::state::{FIFO, STEPS, Stage};

/// Bus phases: C/D, I/O and MSG as in SCSISIGI.
pub(crate) mod phase {
    pub(crate) const DATA_OUT: u8 = 0x00;
    pub(crate) const DATA_IN: u8 = 0x40;
    pub(crate) const COMMAND: u8 = 0x80;
    pub(crate) const MESSAGE_OUT: u8 = 0xa0;
    pub(crate) const STATUS: u8 = 0xc0;
    pub(crate) const MESSAGE_IN: u8 = 0xe0;
}

const ALL: u32 = 0xff_ffff;

impl Adapter {
    /// SCSISIGI.
    pub(crate) fn signals(&self) -> u8 {
        let Some(link) = &self.s.link else {
            return if self.s.selecting.is_some() { scsisig::SEL } else { 0 };
        };
        let bit = |on: bool, bit| if on { bit } else { 0 };
        link.phase | scsisig::BSY | bit(self.s.atn, scsisig::ATN) | bit(link.req, scsisig::REQ)
    }

    /// SCSISIGO. ATN is set by it and never dropped; a rising ACK acknowledges by hand.
    pub(crate) fn write_signals(&mut self, value: u8) {
        let old = self.s.sigo;
        self.s.sigo = value;
        if value & scsisig::ATN != 0
            && let Some(link) = &self.s.link
        {
            let idle = !link.req && link.req_at.is_none();
            self.set_attention(true);
            if idle {
                self.target_advances(); // it was idle, and notices at once
            }
        }
        if value & !old & scsisig::ACK != 0 && self.matches() {
            if self.s.sigo & scsisig::IO != 0 {
                self.acknowledge_in();
            } else {
                let byte = self.s.latch.take().unwrap_or(self.s.bus_data);
                self.acknowledge_out(byte);
            }
        }
    }

    /// ATN by a register.
    pub(crate) fn set_attention(&mut self, on: bool) {
        #[cfg(feature = "trace")]
        if self.s.atn != on && self.s.link.is_some() {
            on_bus!(self, Attention(on));
        }
        self.s.atn = on;
    }

    /// A REQ is up in the phase that SCSISIGO expects: the only time at which bytes are acknowledged.
    fn matches(&self) -> bool {
        self.s.link.as_ref().is_some_and(|l| l.req && l.phase == self.s.sigo & 0xe0)
    }

    fn by_hand(&self) -> bool {
        self.file(r::SXFRCTL0) & sxfrctl0::SPIOEN != 0
            && self.file(r::DFCNTRL) & (dfcntrl::SCSIEN | dfcntrl::SDMAEN) == 0
    }

    /// A byte may now go through SCSIDATL.
    pub(crate) fn offer_pio(&mut self) {
        if self.by_hand() {
            self.s.sstat0 |= sstat0::SPIORDY;
        }
    }

    /// A read of SCSIDATL: takes the byte and acknowledges it.
    pub(crate) fn read_latch(&mut self, cx: &mut Cx<'_>) -> u8 {
        if self.s.sigo & scsisig::IO != 0 && self.by_hand() && self.matches() {
            let byte = self.s.bus_data;
            self.touch();
            self.count(1);
            self.acknowledge_in();
            self.settle(cx);
            return byte;
        }
        if self.s.sstat0 & sstat0::SPIORDY != 0 {
            self.touch();
            self.s.sstat0 &= !sstat0::SPIORDY;
            self.settle(cx);
        }
        self.s.bus_data
    }

    /// The counters of the SCSI side move by bytes that went by hand: STCNT does not go below 0.
    fn count(&mut self, n: u32) {
        self.s.stcnt = self.s.stcnt.saturating_sub(n);
        self.s.shaddr = self.s.shaddr.wrapping_add(n);
    }

    /// ACK: the target's REQ is answered.
    pub(crate) fn acknowledged(&mut self) {
        if let Some(link) = &mut self.s.link {
            link.req = false;
        }
        self.s.sstat1 &= !sstat1::REQINIT;
        self.s.sstat0 &= !sstat0::SPIORDY;
    }

    fn acknowledge_in(&mut self) {
        on_bus!(self, Bytes { phase: self.s.sigo & 0xe0, bytes: &[self.s.bus_data] });
        self.acknowledged();
        self.target_gave();
    }

    fn acknowledge_out(&mut self, byte: u8) {
        on_bus!(self, Bytes { phase: self.s.sigo & 0xe0, bytes: &[byte] });
        self.s.bus_data = byte;
        self.acknowledged();
        self.target_took(byte);
    }

    /// The target asserts REQ in `phase`.
    pub(crate) fn request(&mut self, phase: u8) {
        let Some(link) = &mut self.s.link else { return };
        if link.phase != phase {
            link.phase = phase;
            self.s.sstat1 |= sstat1::PHASECHG;
        }
        link.req = true;
        link.req_at = None;
        self.s.sstat1 |= sstat1::REQINIT;
        if let Some(byte) = self.next_byte() {
            self.s.bus_data = byte;
        }
        self.offer_pio();
        self.touch();
    }

    /// Everything that follows at once from a change: a selection starts, bytes move, interrupts rise. Most writes of a program change
    /// nothing of that, so it is looked at first.
    #[inline]
    pub(crate) fn settle(&mut self, cx: &mut Cx<'_>) {
        if self.file(r::SCSISEQ) & scsiseq::ENSELO != 0 {
            self.start_selection();
        }
        if self.may_move() {
            self.move_all(cx);
        }
        self.update_interrupts(cx);
    }

    /// Moves what can be moved. Data go in pieces of any size, but a target that is told nothing of use takes messages for as long as the counters
    /// last, byte by byte: such a transfer goes on after a while, as it would on a bus.
    fn move_all(&mut self, cx: &mut Cx<'_>) {
        loop {
            if self.latched_byte() {
                continue; // one access, one byte
            }
            if self.s.steps_again <= self.s.time {
                (self.s.steps, self.s.steps_again) = (STEPS, self.s.time + SLICE);
            } else if self.s.steps == 0 {
                if !std::mem::replace(&mut self.s.steps_over, true) {
                    self.reschedule();
                }
                return;
            }
            if !self.transfer(cx) {
                return;
            }
            self.s.steps -= 1;
        }
    }

    /// The data path may go on.
    pub(crate) fn more_steps(&mut self) {
        self.s.steps_over = false;
        self.touch();
    }

    /// Whether [`Adapter::transfer`] is worth a call.
    #[inline]
    pub(crate) fn may_move(&self) -> bool {
        let control = self.file(r::DFCNTRL);
        let host = control & dfcntrl::HDMAEN != 0 && self.s.hcnt > 0;
        let scsi = control & dfcntrl::SCSIEN != 0
            || self.s.latch.is_some()
            || self.file(r::SXFRCTL1) & sxfrctl1::BITBUCKET != 0;
        host || scsi && self.s.link.is_some()
    }

    fn start_selection(&mut self) {
        if self.s.link.is_none()
            && self.s.selecting.is_none()
            && !self.s.selection_over
            && self.s.sstat0 & (sstat0::SELDO | sstat0::SELDI) == 0
        {
            self.begin_selection();
            self.s.sstat0 |= sstat0::SELINGO;
            self.reschedule();
            self.touch();
        }
    }

    /// DFCNTRL.
    pub(crate) fn write_fifo_control(&mut self, value: u8) {
        if value & dfcntrl::FIFORESET != 0 {
            self.s.fifo.clear();
        }
        if value & (dfcntrl::SCSIEN | dfcntrl::SDMAEN) != 0 {
            self.s.sstat0 &= !sstat0::SPIORDY;
        }
        self.set_file(r::DFCNTRL, value & !(dfcntrl::FIFORESET | dfcntrl::FIFOFLUSH | 0x80));
    }

    /// Data of this phase are taken and thrown away, or given as zeros.
    fn drains(&self, phase: u8) -> bool {
        self.file(r::SXFRCTL1) & sxfrctl1::BITBUCKET != 0 && matches!(phase, phase::DATA_IN | phase::DATA_OUT)
    }

    /// A byte that waits in SCSIDATL goes out by hand; whether one did.
    fn latched_byte(&mut self) -> bool {
        let phase = self.s.sigo & 0xe0;
        let goes = self.s.latch.is_some()
            && phase & scsisig::IO == 0
            && self.by_hand()
            && self.matches()
            && !self.drains(phase);
        let Some(byte) = self.s.latch.take_if(|_| goes) else { return false };
        self.count(1);
        self.acknowledge_out(byte);
        true
    }

    /// One step of the data path; whether anything moved.
    fn transfer(&mut self, cx: &mut Cx<'_>) -> bool {
        let control = self.file(r::DFCNTRL);
        let host = control & dfcntrl::HDMAEN != 0 && self.master && self.s.hcnt > 0;
        let out = control & dfcntrl::DIRECTION != 0;
        let scsi = control & dfcntrl::SCSIEN != 0;
        // What lies in the FIFO goes to memory as soon as it may.
        if host && !out && !self.s.fifo.is_empty() {
            let n = self.s.fifo.len().min(self.s.hcnt as usize);
            let mut bytes = [0; FIFO];
            for (to, from) in bytes.iter_mut().zip(self.s.fifo.drain(..n)) {
                *to = from;
            }
            self.host_takes(cx, &bytes[..n]);
            return true;
        }
        if self.matches() {
            let phase = self.s.sigo & 0xe0;
            if self.drains(phase) {
                return self.bit_bucket(phase);
            }
            let enabled = scsi && control & dfcntrl::SDMAEN != 0;
            let wraps = self.file(r::SXFRCTL1) & sxfrctl1::SWRAPEN != 0;
            if enabled && (self.s.stcnt > 0 || wraps) && out == (phase & scsisig::IO == 0) {
                let moved = if out { self.scsi_out(cx, phase, host) } else { self.scsi_in(cx, phase, host) };
                if moved {
                    return true;
                }
            }
        }
        // Without the bus beside it the host side fills the FIFO by itself.
        if host && out && !scsi && self.s.fifo.len() < FIFO {
            let n = (FIFO - self.s.fifo.len()).min(self.s.hcnt as usize);
            let mut bytes = [0; FIFO];
            self.host_gives(cx, &mut bytes[..n]);
            self.s.fifo.extend(&bytes[..n]);
            return true;
        }
        false
    }

    /// Most bytes that the SCSI side may move now.
    fn room(&self) -> usize {
        let most = if self.s.stcnt == 0 { ALL + 1 } else { self.s.stcnt };
        match self.config.latency.burst {
            0 => most as usize,
            burst => most.min(burst) as usize,
        }
    }

    /// `n` bytes went over the bus by DMA.
    fn counted(&mut self, n: usize) {
        let n = n as u32;
        if self.s.stcnt < n {
            self.s.sstat0 |= sstat0::SWRAP;
        }
        self.s.stcnt = self.s.stcnt.wrapping_sub(n) & ALL;
        self.s.shaddr = self.s.shaddr.wrapping_add(n);
    }

    fn scsi_in(&mut self, cx: &mut Cx<'_>, phase: u8, host: bool) -> bool {
        let direct = host && self.s.fifo.is_empty();
        let limit = if direct { self.s.hcnt as usize } else { FIFO - self.s.fifo.len() };
        let n = self.room().min(limit);
        if n == 0 {
            return false;
        }
        if phase != phase::DATA_IN {
            let byte = self.s.bus_data;
            self.s.fifo.push_back(byte);
            self.counted(1);
            self.acknowledge_in();
            return true;
        }
        // The data leave the target for the time of the copy: two borrows, no clone.
        let Some((data, pos)) = self.lend_data() else { return false };
        let n = n.min(data.len() - pos);
        let bytes = &data[pos..pos + n];
        on_bus!(self, Bytes { phase, bytes });
        if direct {
            self.host_takes(cx, bytes);
        } else {
            self.s.fifo.extend(bytes);
        }
        self.counters.bytes_in += n as u64;
        self.counted(n);
        self.acknowledged();
        self.return_data(data, n);
        true
    }

    fn scsi_out(&mut self, cx: &mut Cx<'_>, phase: u8, host: bool) -> bool {
        let direct = host && self.s.fifo.is_empty();
        let held = if direct { self.s.hcnt as usize } else { self.s.fifo.len() };
        let n = self.room().min(held);
        if n == 0 {
            return false;
        }
        if phase != phase::DATA_OUT {
            let mut byte = [0];
            match self.s.fifo.pop_front() {
                Some(held) => byte[0] = held,
                None => self.host_gives(cx, &mut byte),
            }
            self.counted(1);
            self.acknowledge_out(byte[0]);
            return true;
        }
        let Some((mut data, wanted)) = self.lend_room() else { return false };
        let n = n.min(wanted);
        let at = data.len();
        if direct {
            data.resize(at + n, 0);
            self.host_gives(cx, &mut data[at..]);
        } else {
            data.extend(self.s.fifo.drain(..n));
        }
        on_bus!(self, Bytes { phase, bytes: &data[at..] });
        self.counters.bytes_out += n as u64;
        self.counted(n);
        self.acknowledged();
        self.return_room(data);
        true
    }

    /// Takes all that the target has, or gives zeros for all that it wants.
    fn bit_bucket(&mut self, phase: u8) -> bool {
        if phase == phase::DATA_IN {
            let Some((data, pos)) = self.lend_data() else { return false };
            let n = data.len() - pos;
            on_bus!(self, Bytes { phase, bytes: &data[pos..] });
            self.acknowledged();
            self.return_data(data, n);
        } else {
            let Some((mut data, wanted)) = self.lend_room() else { return false };
            data.resize(data.len() + wanted, 0);
            on_bus!(self, Bytes { phase, bytes: &data[data.len() - wanted..] });
            self.acknowledged();
            self.return_room(data);
        }
        true
    }

    fn host_takes(&mut self, cx: &mut Cx<'_>, bytes: &[u8]) {
        if cx.dma_write(self.s.haddr, bytes).is_err() {
            self.fault();
        }
        self.advance_host(bytes.len());
    }

    fn host_gives(&mut self, cx: &mut Cx<'_>, bytes: &mut [u8]) {
        if cx.dma_read(self.s.haddr, bytes).is_err() {
            bytes.fill(0xff);
            self.fault();
        }
        self.advance_host(bytes.len());
    }

    fn fault(&mut self) {
        self.counters.dma_faults += 1;
        self.master_abort = true;
    }

    fn advance_host(&mut self, n: usize) {
        let low = (self.s.haddr as u32).wrapping_add(n as u32);
        self.s.haddr = self.s.haddr & !0xffff_ffff | u64::from(low);
        self.s.hcnt = self.s.hcnt.saturating_sub(n as u32);
    }

    /// The data that the connected target gives, and how much went already.
    fn lend_data(&mut self) -> Option<(Vec<u8>, usize)> {
        let id = self.s.link.as_ref()?.task?;
        let task = self.s.commands.iter_mut().find(|t| t.id == id && t.stage == Stage::DataIn)?;
        let pos = task.pos as usize;
        (pos < task.data.len()).then(|| (std::mem::take(&mut task.data), pos))
    }

    fn return_data(&mut self, data: Vec<u8>, moved: usize) {
        if let Some(task) = self.connected() {
            task.data = data;
            task.pos += moved as u32;
            task.moved = true;
        }
        self.target_advances();
    }

    /// The buffer of the connected target, and how much it still wants.
    fn lend_room(&mut self) -> Option<(Vec<u8>, usize)> {
        let id = self.s.link.as_ref()?.task?;
        let task = self.s.commands.iter_mut().find(|t| t.id == id && t.stage == Stage::DataOut)?;
        let wanted = (task.want as usize).checked_sub(task.data.len()).filter(|wanted| *wanted > 0)?;
        Some((std::mem::take(&mut task.data), wanted))
    }

    fn return_room(&mut self, data: Vec<u8>) {
        if let Some(task) = self.connected() {
            task.data = data;
            task.moved = true;
        }
        self.target_advances();
    }
}
