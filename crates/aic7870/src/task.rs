//! Commands: begun, carried to media, ended.

use slotone_block::{Completion, DiskClient, Operation, Outcome, Request};
use slotone_bus::VmInstant;
use slotone_scsi::{Access, Command, MediumResult, Reply, Sense, SenseKey, opcode, status};

use crate::adapter::Adapter;
use crate::bus::message;
use crate::state::{DEPTH, HostSide, Kind, MediumRequest, PIECE, Stage, Task};

/// Bytes that the commands of one adapter may hold; what comes beyond is told to come later.
const BUDGET: u64 = 64 << 20;
/// INTERNAL TARGET FAILURE.
const INTERNAL_FAILURE: Sense = Sense::new(SenseKey::HardwareError, 0x44, 0);
/// How long a command waits for another's sense data to be fetched.
const SENSE_HOLD: u64 = 100_000_000;
/// Buffers kept for commands to come, [`PIECE`] bytes each at most.
const SPARE: usize = 8;

impl Task {
    pub(crate) fn tag_byte(&self) -> Option<u8> {
        self.tag.map(|(_, tag)| tag)
    }

    /// When something happens to it by itself.
    pub(crate) fn due(&self) -> Option<VmInstant> {
        match (self.blocked, &self.request) {
            (Some(until), _) => Some(until),
            (None, Some(request)) if !self.host.late => Some(request.due),
            _ => None,
        }
    }

    /// Bytes that it holds or may come to hold, besides the copy that a write on its way and a comparison need. What a list of parameters asks for
    /// may be a whole piece; what waits for its turn asks for nothing yet.
    fn load(&self) -> u64 {
        if self.stage == Stage::DataOut && self.access.is_none() {
            return PIECE;
        }
        let piece = self.range().map_or(0, |range| range.len.min(PIECE));
        piece.max(self.data.len() as u64)
    }
}

impl Adapter {
    fn task(&mut self, id: u64) -> Option<&mut Task> {
        self.s.commands.iter_mut().find(|t| t.id == id)
    }

    fn new_id(&mut self) -> u64 {
        self.s.next_id = self.s.next_id.wrapping_add(1);
        self.s.next_id
    }

    /// The command block is complete.
    pub(crate) fn start_task(&mut self) {
        let id = self.new_id();
        let time = self.s.time;
        let Some(link) = &mut self.s.link else { return };
        let cdb = std::mem::take(&mut link.cdb);
        // Without IDENTIFY the command block names the unit (SCSI-2, 7.2.2).
        let lun = *link.lun.get_or_insert(cdb.get(1).map_or(0, |byte| byte >> 5));
        let command = Command::new(&cdb).lun(lun).initiator(link.initiator);
        let (unit, tag, may_disconnect) = (link.unit, link.tag, link.may_disconnect);
        link.task = Some(id);
        let mut task = Task {
            id,
            unit,
            tag,
            command,
            stage: Stage::Queued,
            status: status::GOOD,
            data: Vec::new(),
            pos: 0,
            want: 0,
            moved: false,
            access: None,
            done: 0,
            index: 0,
            piece: PIECE as u32,
            request: None,
            blocked: None,
            ready: time,
            host: HostSide::default(),
        };
        self.counters.commands += 1;
        let name = opcode::name(command.opcode()).unwrap_or("unknown");
        let _ = (name, tag);
        trace!(
            self,
            "target {unit} lun {}{}: {name} {:02x?}",
            command.lun,
            crate::trace::tag_text(tag),
            &command.cdb[..opcode::cdb_len(command.opcode())]
        );
        let others = || self.s.commands.iter().filter(|t| t.unit == unit);
        let of_nexus =
            |t: &Task| (t.unit, t.command.lun, t.command.initiator) == (unit, command.lun, command.initiator);
        let full = others().count() >= DEPTH || !self.has_room();
        let again = |t: &Task| of_nexus(t) && t.tag_byte() == tag.map(|(_, tag)| tag);
        let overlapped = !full && others().any(again);
        // The status of a failed command is on its way: its sense data must not be lost.
        let failing = others().any(|t| t.status == status::CHECK_CONDITION)
            && command.opcode() != opcode::REQUEST_SENSE;
        let waits = may_disconnect && (failing || !self.may_start(&task));
        // Who keeps the bus cannot wait for a status that needs the bus (SCSI-2, 7.6: the condition begins with the status).
        let unheard = failing && !may_disconnect;
        if overlapped || full || unheard {
            task.stage = Stage::Status;
            task.status = if tag.is_some() && !unheard { status::TASK_SET_FULL } else { status::BUSY };
        } else if waits && failing {
            task.blocked = Some(time + SENSE_HOLD);
        }
        let begins = task.stage == Stage::Queued && !waits;
        self.s.commands.push(task);
        self.reschedule();
        if overlapped {
            // All that the initiator has there ends with it (SCSI-2, 6.5.2).
            self.abort(|t| of_nexus(t) && t.id != id);
            self.refuse(id, Sense::new(SenseKey::AbortedCommand, 0x4e, 0));
        } else if begins {
            self.begin(id);
        }
    }

    /// Whether one more command may begin.
    fn has_room(&self) -> bool {
        self.s.commands.iter().map(Task::load).sum::<u64>() + PIECE <= BUDGET
    }

    /// Whether the order of tags lets a command start (SCSI-2, 7.8).
    fn may_start(&self, task: &Task) -> bool {
        let mut earlier = self
            .s
            .commands
            .iter()
            .filter(|t| t.unit == task.unit && t.command.lun == task.command.lun && t.id < task.id);
        match task.tag {
            Some((message::ORDERED_TAG, _)) => earlier.next().is_none(),
            Some((message::SIMPLE_TAG, _)) => {
                earlier.all(|t| t.tag.map(|(kind, _)| kind) != Some(message::ORDERED_TAG))
            }
            _ => true,
        }
    }

    fn begin(&mut self, id: u64) {
        let Some(task) = self.task(id) else { return };
        let (unit, command) = (task.unit, task.command);
        task.blocked = None;
        let Some(target) = &mut self.targets[usize::from(unit)] else { return };
        let reply = target.command(&command);
        self.act(id, reply);
        if !self.held(unit, command.initiator) {
            self.unblock(unit);
        }
    }

    /// The command ends with CHECK CONDITION for a reason that the bus gives, if its status has not gone.
    pub(crate) fn refuse(&mut self, id: u64, sense: Sense) {
        let Some(task) = self.task(id).filter(|task| task.stage != Stage::Complete) else { return };
        let (unit, command) = (task.unit, task.command);
        (task.request, task.blocked) = (None, None);
        let Some(target) = &mut self.targets[usize::from(unit)] else { return };
        let reply = target.refuse(&command, sense);
        self.act(id, reply);
    }

    /// Sense data of `initiator` wait at the target to be fetched.
    fn held(&self, unit: u8, initiator: u8) -> bool {
        self.targets[usize::from(unit)].as_ref().is_some_and(|t| t.sense(initiator).key != SenseKey::NoSense)
    }

    /// Nobody waits for sense data any more.
    pub(crate) fn unblock(&mut self, unit: u8) {
        for task in self.s.commands.iter_mut().filter(|t| t.unit == unit && t.stage == Stage::Medium) {
            task.blocked = None;
        }
        self.reschedule();
    }

    /// Commands that waited for their turn, or for room, begin.
    pub(crate) fn start_queued(&mut self) {
        let queued = self.s.commands.iter().filter(|t| t.stage == Stage::Queued);
        let waiting: Vec<u64> = queued.map(|t| t.id).collect();
        for id in waiting {
            let Some(task) = self.s.commands.iter().find(|t| t.id == id) else { continue };
            let unit = task.unit;
            let held = self.held(unit, task.command.initiator)
                || (self.s.commands.iter()).any(|t| t.unit == unit && t.status == status::CHECK_CONDITION);
            if held {
                let until = self.s.time + SENSE_HOLD;
                if let Some(task) = self.task(id) {
                    task.blocked.get_or_insert(until);
                }
            } else if self.may_start(task) && self.has_room() {
                self.begin(id);
            }
        }
        self.reschedule();
    }

    /// What the target wants done.
    fn act(&mut self, id: u64, reply: Reply) {
        let time = self.s.time;
        if let Reply::Check(sense) = &reply {
            self.counters.check_conditions += 1;
            trace!(self, "CHECK CONDITION {sense}");
            let _ = sense;
        }
        let Some(task) = self.task(id) else { return };
        task.access = None;
        task.data = Vec::new();
        (task.pos, task.want, task.done, task.index) = (0, 0, 0, 0);
        task.piece = PIECE as u32;
        task.ready = time;
        if let Some(status) = reply.status() {
            task.status = status;
            task.stage = Stage::Status;
        }
        match reply {
            Reply::DataIn(data) if !data.is_empty() => {
                task.data = data;
                task.stage = Stage::DataIn;
            }
            Reply::DataOut { len } => {
                task.want = len;
                task.stage = if len == 0 { Stage::Status } else { Stage::DataOut };
            }
            Reply::Medium(access) => {
                task.access = Some(access);
                self.next_piece(id);
            }
            Reply::Held => task.stage = Stage::Held,
            _ => {}
        }
        self.reschedule();
        self.task_moved(id);
    }

    /// The next piece of a command's access to its medium, or its end.
    fn next_piece(&mut self, id: u64) {
        let Some(task) = self.task(id) else { return };
        let Some(access) = &task.access else { return };
        let offset = task.medium_offset();
        let left = |len: u64| len.saturating_sub(task.done);
        let most = u64::from(task.piece);
        let request = match access {
            Access::Read(range) | Access::Verify(range) => (Kind::Read, left(range.len).min(most)),
            Access::Write { range, .. } | Access::Compare(range) => {
                let want = left(range.len).min(PIECE) as u32;
                if want > 0 {
                    return self.want_data(id, want);
                }
                (Kind::Write, 0)
            }
            Access::WriteSame { range, block, fua } => {
                let whole = (most / block.len().max(1) as u64).max(1) * block.len() as u64;
                let n = left(range.len).min(whole);
                task.data = block.iter().copied().cycle().take(n as usize).collect();
                (if *fua { Kind::WriteThrough } else { Kind::Write }, n)
            }
            Access::Discard(ranges) => {
                (Kind::Discard, ranges.get(task.index as usize).map_or(0, |range| range.len))
            }
            // One request that moves nothing.
            Access::Flush if task.done == 0 => return self.submit(id, Kind::Flush, 0, 0),
            Access::Flush => (Kind::Flush, 0),
            // What nobody here knows how to do must not be taken for done.
            _ => return self.refuse(id, INTERNAL_FAILURE),
        };
        match request {
            (_, 0) => self.end_access(id, MediumResult::Done),
            (kind, len) => self.submit(id, kind, offset, len),
        }
    }

    /// The initiator is to send `want` bytes for the medium.
    fn want_data(&mut self, id: u64, want: u32) {
        let mut buffer = self.spare.pop().unwrap_or_default();
        buffer.clear();
        buffer.reserve(want as usize);
        let Some(task) = self.task(id) else { return };
        (task.want, task.stage) = (want, Stage::DataOut);
        let used = std::mem::replace(&mut task.data, buffer);
        self.recycle(used);
    }

    fn submit(&mut self, id: u64, kind: Kind, offset: u64, len: u64) {
        let sectors = if matches!(kind, Kind::Flush | Kind::Discard) { 0 } else { len.div_ceil(512) };
        let timing = self.config.timing;
        let due = self.s.time + timing.access.saturating_add(timing.sector.saturating_mul(sectors)).max(1);
        let request = self.new_id();
        if let Some(task) = self.task(id) {
            task.request = Some(MediumRequest { id: request, kind, offset, len, due });
            task.stage = Stage::Medium;
            task.host = HostSide::default();
        }
        self.reschedule();
    }

    fn end_access(&mut self, id: u64, result: MediumResult) {
        let Some(task) = self.task(id) else { return };
        let (unit, command) = (task.unit, task.command);
        let Some(access) = task.access.take() else { return };
        let Some(target) = &mut self.targets[usize::from(unit)] else { return };
        let reply = target.medium_done(&command, &access, result);
        self.act(id, reply);
    }

    /// All data of a piece went to the initiator.
    pub(crate) fn data_in_done(&mut self, id: u64) {
        let Some(task) = self.task(id) else { return };
        let data = std::mem::take(&mut task.data);
        task.pos = 0;
        if task.access.is_some() {
            task.done += data.len() as u64;
            self.next_piece(id);
        } else {
            task.stage = Stage::Status;
        }
        self.recycle(data);
    }

    /// All data of a piece came from the initiator.
    pub(crate) fn data_out_done(&mut self, id: u64) {
        let Some(task) = self.task(id) else { return };
        (task.want, task.pos) = (0, 0);
        if task.access.is_some() {
            return self.submit_data(id);
        }
        let (unit, command) = (task.unit, task.command);
        let data = std::mem::take(&mut task.data);
        let Some(target) = &mut self.targets[usize::from(unit)] else { return };
        let reply = target.data_out(&command, &data);
        self.act(id, reply);
    }

    /// The initiator's data from `pos` on go to the medium or are compared with it.
    fn submit_data(&mut self, id: u64) {
        let Some(task) = self.task(id) else { return };
        let kind = match &task.access {
            Some(Access::Write { fua: true, .. }) => Kind::WriteThrough,
            Some(Access::Write { .. }) => Kind::Write,
            Some(Access::Compare(_)) => Kind::Read,
            _ => return self.refuse(id, INTERNAL_FAILURE),
        };
        let left = task.data.len().saturating_sub(task.pos as usize) as u64;
        let (offset, len) = (task.medium_offset(), left.min(u64::from(task.piece)));
        self.submit(id, kind, offset, len);
    }

    /// A buffer that the next command may use: allocating one and clearing it costs as much as filling it.
    fn recycle(&mut self, buffer: Vec<u8>) {
        if (4096..=PIECE).contains(&(buffer.capacity() as u64)) && self.spare.len() < SPARE {
            self.spare.push(buffer);
        }
    }

    /// A command's deadline came.
    pub(crate) fn task_event(&mut self, id: u64) {
        let Some(task) = self.task(id) else { return };
        let (unit, initiator) = (task.unit, task.command.initiator);
        if task.stage == Stage::Queued {
            // It waited long enough for another's sense data; without room it goes on when a command ends.
            task.blocked = None;
            return if self.has_room() {
                self.begin(id)
            };
        }
        let waited = task.blocked.take().is_some();
        let answered = task.host.completion.is_some();
        // Who holds the bus goes on: the sense data could not be fetched before it lets go.
        let connected = self.s.link.as_ref().is_some_and(|l| l.task == Some(id));
        if !waited && answered && !connected && self.held(unit, initiator) {
            let until = self.s.time + SENSE_HOLD;
            if let Some(task) = self.task(id) {
                task.blocked = Some(until);
            }
            return;
        }
        let Some(task) = self.task(id) else { return };
        let Some((outcome, data)) = task.take_completion() else {
            task.host.late = true;
            return;
        };
        let Some(request) = task.request.take() else { return };
        self.medium_answered(id, request, outcome, data);
        self.task_moved(id);
    }

    fn medium_answered(&mut self, id: u64, request: MediumRequest, outcome: Outcome, data: Vec<u8>) {
        let time = self.s.time;
        let mut outcome = outcome;
        if request.kind == Kind::Read && data.len() as u64 != request.len && outcome == Outcome::Done {
            outcome = Outcome::MediumError; // a host that lost the buffer
        }
        let Some(task) = self.s.commands.iter_mut().find(|t| t.id == id) else { return };
        let block = self.targets[usize::from(task.unit)].as_ref().map_or(512, |target| target.block_bytes());
        task.stage = Stage::Queued;
        if outcome != Outcome::Done {
            self.counters.medium_errors += 1;
            let narrows = matches!(request.kind, Kind::Read | Kind::Write | Kind::WriteThrough);
            if outcome == Outcome::MediumError && narrows && request.len > u64::from(block) {
                // What is good before the bad block is done, and the address told is that block's.
                task.piece = if request.len > 4096 { 4096.max(block) } else { block };
                return match task.access {
                    Some(Access::Write { .. } | Access::Compare(_)) => self.submit_data(id),
                    _ => self.next_piece(id),
                };
            }
            return self.end_access(id, MediumResult::new(outcome, request.offset));
        }
        match &task.access {
            Some(Access::Read(_)) => {
                task.data = data;
                task.pos = 0;
                task.stage = Stage::DataIn;
                task.ready = time;
                return;
            }
            Some(Access::Compare(_)) => {
                let differs = task.data.iter().skip(task.pos as usize).zip(&data).position(|(a, b)| a != b);
                if let Some(at) = differs {
                    let offset = request.offset.saturating_add(at as u64);
                    return self.end_access(id, MediumResult::Differs { offset });
                }
                task.done += request.len;
            }
            Some(Access::Discard(_)) => task.index += 1,
            Some(Access::Flush) => task.done = 1,
            _ => task.done += request.len,
        }
        if matches!(task.access, Some(Access::Write { .. } | Access::Compare(_))) {
            task.pos += request.len as u32;
            if (task.pos as usize) < task.data.len() {
                self.recycle(data);
                return self.submit_data(id);
            }
        }
        task.pos = 0;
        let used = std::mem::take(&mut task.data);
        self.next_piece(id);
        self.recycle(data);
        self.recycle(used);
    }

    /// A command is over.
    pub(crate) fn finish(&mut self, id: u64) {
        let Some(at) = self.s.commands.iter().position(|t| t.id == id) else { return };
        let task = self.s.commands.remove(at);
        let _ = &task;
        trace!(self, "target {}{}: status {:02x}", task.unit, crate::trace::tag_text(task.tag), task.status);
        self.start_queued();
    }

    /// Commands are forgotten.
    pub(crate) fn abort(&mut self, which: impl Fn(&Task) -> bool) {
        self.s.commands.retain(|t| !which(t));
        if let Some(link) = &mut self.s.link
            && let Some(id) = link.task
            && !self.s.commands.iter().any(|t| t.id == id)
        {
            link.task = None;
        }
        self.start_queued();
    }
}

impl DiskClient for Adapter {
    fn next_request(&mut self) -> Option<Request> {
        let task = self.s.commands.iter_mut().find(|t| t.request.is_some() && !t.host.handed_out)?;
        let request = task.request.as_ref()?;
        task.host.handed_out = true;
        let (operation, data) = match request.kind {
            Kind::Read => {
                let mut data = self.spare.pop().unwrap_or_default();
                data.resize(request.len as usize, 0);
                (Operation::Read, data)
            }
            // A copy travels: a machine saved now must still have the data.
            Kind::Write | Kind::WriteThrough => {
                let mut data = self.spare.pop().unwrap_or_default();
                data.clear();
                let rest = task.data.get(task.pos as usize..).unwrap_or_default();
                data.extend_from_slice(&rest[..rest.len().min(request.len as usize)]);
                (Operation::Write { fua: request.kind == Kind::WriteThrough }, data)
            }
            Kind::Flush => (Operation::Flush, Vec::new()),
            Kind::Discard => (Operation::Discard { len: request.len }, Vec::new()),
        };
        let due = request.due.as_nanos();
        let id = self.request_base.wrapping_add(request.id);
        Some(Request { id, unit: task.unit, operation, offset: request.offset, data, due })
    }

    fn complete(&mut self, completion: Completion) {
        let number = completion.id.wrapping_sub(self.request_base);
        let wanted = |t: &&mut Task| t.host.handed_out && t.request.as_ref().is_some_and(|r| r.id == number);
        if let Some(task) = self.s.commands.iter_mut().find(wanted) {
            task.host.late = false;
            task.host.completion = Some(completion);
            self.next_event = None;
        }
    }
}
