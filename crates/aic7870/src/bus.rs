//! The targets' side of the bus: selection, phases, messages, disconnection.

use std::collections::VecDeque;

use slotone_bus::{Cx, VmInstant};
use slotone_scsi::{Reset, Sense, SenseKey, opcode};

use crate::adapter::Adapter;
use crate::cell::phase;
use crate::registers::{self as r, scsiseq, sstat0, sstat1, sxfrctl1};
use crate::state::{After, Agreement, Link, MESSAGES, Stage, Task};

/// Message codes (SCSI-2, table 10).
pub(crate) mod message {
    pub(crate) const COMMAND_COMPLETE: u8 = 0x00;
    pub(crate) const EXTENDED: u8 = 0x01;
    pub(crate) const SAVE_DATA_POINTER: u8 = 0x02;
    pub(crate) const DISCONNECT: u8 = 0x04;
    pub(crate) const INITIATOR_DETECTED_ERROR: u8 = 0x05;
    pub(crate) const ABORT: u8 = 0x06;
    pub(crate) const MESSAGE_REJECT: u8 = 0x07;
    pub(crate) const NO_OPERATION: u8 = 0x08;
    pub(crate) const MESSAGE_PARITY_ERROR: u8 = 0x09;
    pub(crate) const BUS_DEVICE_RESET: u8 = 0x0c;
    pub(crate) const ABORT_TAG: u8 = 0x0d;
    pub(crate) const CLEAR_QUEUE: u8 = 0x0e;
    pub(crate) const SIMPLE_TAG: u8 = 0x20;
    pub(crate) const ORDERED_TAG: u8 = 0x22;
    pub(crate) const IDENTIFY: u8 = 0x80;
    pub(crate) const SDTR: u8 = 0x01;
    pub(crate) const WDTR: u8 = 0x03;
}

/// Between a bus free and a reselection, so that a program sees the one before the other.
const RESELECTION_GAP: u64 = 5_000;

/// Bytes of the message that begins with `bytes`, once that can be told (SCSI-2, 6.5).
fn message_len(bytes: &[u8]) -> Option<usize> {
    match *bytes {
        [] => None,
        [message::EXTENDED] => None,
        [message::EXTENDED, 0, ..] => Some(258),
        [message::EXTENDED, n, ..] => Some(2 + usize::from(n)),
        [0x20..=0x2f, ..] => Some(2),
        _ => Some(1),
    }
}

impl Adapter {
    // What is due.

    /// When something happens by itself.
    pub(crate) fn earliest_event(&self) -> Option<VmInstant> {
        let link = self.s.link.as_ref().and_then(|l| l.req_at);
        let tasks = self.s.commands.iter().filter_map(Task::due).min();
        let steps = self.s.steps_over.then_some(self.s.steps_again);
        [self.s.selecting, link, tasks, self.reselection().map(|(due, _)| due), steps]
            .into_iter()
            .flatten()
            .filter(|due| *due != VmInstant::MAX)
            .min()
    }

    /// One thing that is due happens, with what follows at once.
    pub(crate) fn event(&mut self, cx: &mut Cx<'_>) {
        let now = self.s.time;
        let is_due = |due: VmInstant| due <= now;
        if self.s.selecting.is_some_and(is_due) {
            self.selection_ends();
        } else if let Some(link) = &mut self.s.link
            && link.req_at.is_some_and(is_due)
        {
            let phase = link.phase;
            self.request(phase);
        } else if let Some(task) = self.s.commands.iter().find(|t| t.due().is_some_and(is_due)) {
            let id = task.id;
            self.task_event(id);
        } else if let Some((due, id)) = self.reselection()
            && is_due(due)
        {
            self.reselect(id);
        } else if self.s.steps_over && is_due(self.s.steps_again) {
            self.more_steps();
        }
        self.reschedule();
        self.settle(cx);
    }

    fn random(&mut self) -> u64 {
        // splitmix64
        self.s.random = self.s.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.s.random;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    // Selection.

    fn our_id(&self) -> u8 {
        self.file(r::SCSIID) & 15
    }

    /// The target that SCSIID names is asked whether it answers: who does, and how long that takes.
    pub(crate) fn begin_selection(&mut self) {
        let id = self.file(r::SCSIID) >> 4;
        let reached = id != self.our_id() && (self.config.wide || id < 8);
        let target = self.targets[usize::from(id)].as_mut().filter(|_| reached);
        let answers = target.is_some_and(|target| target.selected());
        let timer = self.file(r::SXFRCTL1) & sxfrctl1::ENSTIMER != 0;
        let delay = match (answers, timer) {
            (true, _) => self.config.timing.selection.max(1),
            (false, true) => self.config.timing.selection_timeout.max(1),
            (false, false) => u64::MAX,
        };
        self.s.selecting = Some(self.s.time + delay);
        self.s.selected = answers.then_some(id);
    }

    fn selection_ends(&mut self) {
        self.s.selecting = None;
        self.touch();
        let Some(unit) = self.s.selected.take() else {
            self.s.sstat1 |= sstat1::SELTO;
            self.s.selection_over = true;
            self.counters.selection_timeouts += 1;
            on_bus!(self, SelectionTimeout { target: self.file(r::SCSIID) >> 4 });
            return;
        };
        self.s.sstat0 = self.s.sstat0 & !sstat0::SELINGO | sstat0::SELDO;
        self.s.atn = self.file(r::SCSISEQ) & scsiseq::ENAUTOATNO != 0;
        on_bus!(self, Selected { target: unit, attention: self.s.atn });
        // No target holds the unit back any longer than its initiator's interest lasts.
        self.unblock(unit);
        self.s.link = Some(Link {
            unit,
            task: None,
            initiator: self.our_id(),
            lun: None,
            may_disconnect: false,
            tag: None,
            phase: 0,
            req: false,
            req_at: None,
            message_out: Vec::new(),
            message_in: VecDeque::new(),
            said: Vec::new(),
            message_left: 0,
            after: After::GoOn,
            cdb: Vec::new(),
            negotiated: false,
        });
        self.target_advances();
    }

    /// Which disconnected command reselects next, and when.
    fn reselection(&self) -> Option<(VmInstant, u64)> {
        let may = self.s.link.is_none()
            && self.s.selecting.is_none()
            && self.file(r::SCSISEQ) & (scsiseq::ENRSELI | scsiseq::SCSIRSTO) == scsiseq::ENRSELI
            && self.s.sstat0 & (sstat0::SELDO | sstat0::SELDI) == 0;
        if !may {
            return None;
        }
        let ready = self.s.commands.iter().filter(|t| t.is_ready());
        let next = ready.min_by_key(|t| (t.ready, t.id))?;
        Some((next.ready.max(self.s.free_since + RESELECTION_GAP), next.id))
    }

    fn reselect(&mut self, id: u64) {
        let Some(task) = self.s.commands.iter_mut().find(|t| t.id == id) else { return };
        task.moved = false;
        let (unit, lun, tag) = (task.unit, task.command.lun, task.tag);
        let initiator = task.command.initiator;
        let mut message_in = VecDeque::from([message::IDENTIFY | lun & 7]);
        if let Some((_, tag)) = tag {
            message_in.extend([message::SIMPLE_TAG, tag]);
        }
        on_bus!(self, Reselected { target: unit });
        self.s.link = Some(Link {
            unit,
            task: Some(id),
            initiator,
            lun: Some(lun),
            may_disconnect: true,
            tag,
            phase: 0,
            req: false,
            req_at: None,
            message_out: Vec::new(),
            message_in,
            said: Vec::new(),
            message_left: 1,
            after: After::GoOn,
            cdb: Vec::new(),
            negotiated: false,
        });
        self.set_file(r::SELID, unit << 4);
        self.s.sstat0 |= sstat0::SELDI;
        self.s.atn = self.file(r::SCSISEQ) & scsiseq::ENAUTOATNI != 0;
        self.touch();
        self.target_advances();
    }

    /// The target lets go of the bus.
    fn bus_free(&mut self) {
        self.s.link = None;
        self.s.sigo = 0;
        self.s.atn = false;
        self.s.sstat0 &= !(sstat0::SELDO | sstat0::SELDI | sstat0::SPIORDY);
        self.s.sstat1 = self.s.sstat1 & !sstat1::REQINIT | sstat1::BUSFREE;
        self.s.free_since = self.s.time;
        on_bus!(self, Free);
        self.touch();
        self.reschedule();
    }

    /// The RST line.
    pub(crate) fn reset_bus(&mut self) {
        on_bus!(self, Reset);
        self.counters.bus_resets += 1;
        if self.s.link.is_some() {
            self.bus_free();
        }
        self.s.commands.clear();
        self.s.agreed = [Agreement::default(); 16];
        (self.s.selecting, self.s.selected) = (None, None);
        self.s.selection_over = false;
        self.s.sigo = 0;
        self.s.atn = false;
        self.s.latch = None;
        self.s.sstat0 &= !(sstat0::SELDO | sstat0::SELDI | sstat0::SELINGO | sstat0::SPIORDY);
        self.s.sstat1 = self.s.sstat1 & !sstat1::REQINIT | sstat1::SCSIRSTI;
        self.s.free_since = self.s.time;
        for target in self.targets.iter_mut().flatten() {
            target.reset(Reset::Bus);
        }
        self.reschedule();
    }

    // Phases.

    /// The byte that an IN phase shows.
    pub(crate) fn next_byte(&self) -> Option<u8> {
        let link = self.s.link.as_ref()?;
        let task = link.task.and_then(|id| self.s.commands.iter().find(|t| t.id == id));
        match link.phase {
            phase::MESSAGE_IN => link.message_in.front().copied(),
            phase::STATUS => task.map(|t| t.status),
            phase::DATA_IN => task.and_then(|t| t.data.get(t.pos as usize).copied()),
            _ => None,
        }
    }

    pub(crate) fn connected(&mut self) -> Option<&mut Task> {
        let id = self.s.link.as_ref()?.task?;
        self.s.commands.iter_mut().find(|t| t.id == id)
    }

    /// A byte of an IN phase was acknowledged.
    pub(crate) fn target_gave(&mut self) {
        let Some(link) = &mut self.s.link else { return };
        match link.phase {
            phase::MESSAGE_IN => {
                let first = link.message_in.pop_front();
                if link.message_left == 0 {
                    link.said.clear();
                }
                link.said.extend(first);
                link.message_left = match (link.message_left, first, link.message_in.front()) {
                    (0, Some(first), Some(second)) => message_len(&[first, *second])
                        .map_or(0, |n| (n - 1).min(link.message_in.len()) as u16),
                    (left, ..) => left.saturating_sub(1),
                };
            }
            phase::STATUS => {
                if let Some(task) = self.connected() {
                    task.stage = Stage::Complete;
                }
            }
            phase::DATA_IN => {
                if let Some(task) = self.connected() {
                    task.pos += 1;
                    task.moved = true;
                }
            }
            _ => {}
        }
        self.target_advances();
    }

    /// A byte of an OUT phase came.
    pub(crate) fn target_took(&mut self, byte: u8) {
        let Some(link) = &mut self.s.link else { return };
        match link.phase {
            phase::MESSAGE_OUT => {
                link.message_out.push(byte);
                if message_len(&link.message_out).is_some_and(|n| link.message_out.len() >= n) {
                    let bytes = std::mem::take(&mut link.message_out);
                    if self.message(&bytes) {
                        return self.bus_free();
                    }
                }
            }
            phase::COMMAND => {
                link.cdb.push(byte);
                if link.cdb.len() >= opcode::cdb_len(link.cdb[0]) {
                    self.start_task();
                }
            }
            phase::DATA_OUT => {
                if let Some(task) = self.connected() {
                    task.data.push(byte);
                    task.moved = true;
                }
            }
            _ => {}
        }
        self.target_advances();
    }

    /// The target decides what comes next on the bus it holds.
    pub(crate) fn target_advances(&mut self) {
        // Each round ends a stage of the command or returns.
        loop {
            let atn = self.s.atn;
            let Some(link) = &mut self.s.link else { return };
            if atn && link.message_left == 0 {
                return self.request_later(phase::MESSAGE_OUT);
            }
            link.message_out.clear();
            if !link.message_in.is_empty() {
                return self.request_later(phase::MESSAGE_IN);
            }
            // What we said was taken: a rejection from now on is of something else.
            link.negotiated = false;
            link.said.clear();
            match link.after {
                After::GoOn => {}
                After::Disconnect => {
                    self.counters.disconnects += 1;
                    return self.bus_free();
                }
                After::Complete => {
                    let task = link.task;
                    self.bus_free();
                    if let Some(id) = task {
                        self.finish(id);
                    }
                    return;
                }
            }
            let Some(id) = link.task else { return self.request_later(phase::COMMAND) };
            let Some(task) = self.s.commands.iter_mut().find(|t| t.id == id) else { return self.bus_free() };
            match task.stage {
                Stage::DataIn if (task.pos as usize) < task.data.len() => {
                    return self.request_later(phase::DATA_IN);
                }
                Stage::DataIn => self.data_in_done(id),
                Stage::DataOut if task.data.len() < task.want as usize => {
                    return self.request_later(phase::DATA_OUT);
                }
                Stage::DataOut => self.data_out_done(id),
                Stage::Status => return self.request_later(phase::STATUS),
                Stage::Complete => {
                    link.message_in.push_back(message::COMMAND_COMPLETE);
                    link.after = After::Complete;
                }
                Stage::Queued | Stage::Medium | Stage::Held => {
                    let due = task.due().unwrap_or(VmInstant::MAX);
                    let soon = due.since(self.s.time) <= self.config.timing.disconnect_after;
                    if soon || !link.may_disconnect {
                        return; // it holds the bus without a REQ
                    }
                    if std::mem::take(&mut task.moved) {
                        link.message_in.push_back(message::SAVE_DATA_POINTER);
                    }
                    link.message_in.push_back(message::DISCONNECT);
                    link.after = After::Disconnect;
                }
            }
        }
    }

    fn request_later(&mut self, phase: u8) {
        let most = self.config.latency.request;
        if most == 0 {
            return self.request(phase);
        }
        let delay = 1 + self.random() % most;
        let at = self.s.time + delay;
        let Some(link) = &mut self.s.link else { return };
        if link.phase != phase {
            link.phase = phase;
            self.s.sstat1 |= sstat1::PHASECHG;
        }
        link.req_at = Some(at);
        self.touch();
        self.reschedule();
    }

    /// A command on the bus got further; its target goes on if it is the one that holds the bus.
    pub(crate) fn task_moved(&mut self, id: u64) {
        if self.s.link.as_ref().is_some_and(|l| l.task == Some(id) && !l.req && l.req_at.is_none()) {
            self.target_advances();
        }
    }

    // Messages.

    /// Acts on a whole message; whether the target lets go of the bus.
    fn message(&mut self, bytes: &[u8]) -> bool {
        let Some(link) = &mut self.s.link else { return false };
        let unit = link.unit;
        trace!(self, "target {unit} gets message {}", crate::trace::message_text(bytes));
        let Some(link) = &mut self.s.link else { return false };
        match *bytes {
            [identify @ 0x80..=0xff] => {
                let lun = identify & 7;
                // A connection is about one unit (SCSI-2, 6.6.7): who names another finds the bus free.
                if link.lun.is_some_and(|named| named != lun) {
                    let own = link.task;
                    self.abort(|t| own == Some(t.id));
                    return true;
                }
                link.lun = Some(lun);
                link.may_disconnect = identify & 0x40 != 0;
            }
            // After IDENTIFY and before the command.
            [kind @ message::SIMPLE_TAG..=message::ORDERED_TAG, tag]
                if link.lun.is_some() && link.tag.is_none() && link.task.is_none() =>
            {
                link.tag = Some((kind, tag));
            }
            // Before IDENTIFY there is no unit whose commands they could mean: the bus becomes free, no more (SCSI-2, 6.6.2).
            [code @ (message::ABORT | message::CLEAR_QUEUE)] => {
                let (lun, initiator) = (link.lun, link.initiator);
                self.abort(|t| {
                    let all = code == message::CLEAR_QUEUE || t.command.initiator == initiator;
                    t.unit == unit && Some(t.command.lun) == lun && all
                });
                return true;
            }
            [message::ABORT_TAG] => {
                let (lun, initiator, tag, own) = (link.lun, link.initiator, link.tag, link.task);
                self.abort(|t| {
                    let named = t.unit == unit && Some(t.command.lun) == lun;
                    let same = t.command.initiator == initiator && t.tag_byte() == tag.map(|t| t.1);
                    own == Some(t.id) || own.is_none() && named && same
                });
                return true;
            }
            [message::BUS_DEVICE_RESET] => {
                self.abort(|t| t.unit == unit);
                self.s.agreed[usize::from(unit)] = Agreement::default();
                if let Some(target) = &mut self.targets[usize::from(unit)] {
                    target.reset(Reset::Device);
                }
                return true;
            }
            [message::MESSAGE_REJECT] => {
                if link.after == After::Disconnect {
                    link.message_in.clear();
                    link.after = After::GoOn;
                    link.may_disconnect = false;
                } else if std::mem::take(&mut link.negotiated) {
                    link.message_in.clear();
                    self.s.agreed[usize::from(unit)] = Agreement::default();
                }
            }
            [message::NO_OPERATION] => {}
            // What it did not get right comes again (SCSI-2, 6.6.13).
            [message::MESSAGE_PARITY_ERROR] => {
                let said = std::mem::take(&mut link.said);
                let fits = link.message_in.len() + said.len() <= MESSAGES;
                for byte in said.into_iter().rev().filter(|_| fits) {
                    link.message_in.push_front(byte);
                }
            }
            // Its pointers cannot be trusted any more: the command ends (SCSI-2, 6.6.10).
            [message::INITIATOR_DETECTED_ERROR] => {
                if let Some(id) = link.task {
                    self.refuse(id, Sense::new(SenseKey::AbortedCommand, 0x48, 0));
                }
            }
            [message::EXTENDED, 3, message::SDTR, period, offset] => {
                let agreement = &mut self.s.agreed[usize::from(unit)];
                let most = if agreement.wide { 8 } else { 15 };
                (agreement.period, agreement.offset) = (period.max(25), offset.min(most));
                let reply = [message::EXTENDED, 3, message::SDTR, agreement.period, agreement.offset];
                self.reply(&reply);
            }
            [message::EXTENDED, 2, message::WDTR, width] => {
                let wide = self.config.wide && width >= 1;
                self.s.agreed[usize::from(unit)] = Agreement { wide, ..Agreement::default() };
                self.reply(&[message::EXTENDED, 2, message::WDTR, u8::from(wide)]);
            }
            _ => {
                if link.message_in.len() < MESSAGES {
                    link.message_in.push_back(message::MESSAGE_REJECT);
                }
            }
        }
        false
    }

    /// Answers a negotiation.
    fn reply(&mut self, bytes: &[u8]) {
        if let Some(link) = &mut self.s.link
            && link.message_in.len() + bytes.len() <= MESSAGES
        {
            link.message_in.extend(bytes);
            link.negotiated = true;
        }
    }
}
