//! Requests to media: issued, handed out, completed, and narrowed down to the bad sector when they fail.

use slotone_block::{Completion, Operation, Outcome, Request};
use slotone_bus::{Cx, VmInstant};

use crate::Timing;
use crate::channel::Channel;
use crate::registers::{command, error, status};
use crate::transfer::{Access, MAX_REQUEST, MediumRequest, SECTOR, Step};

impl Channel {
    /// Issues the next request of the command.
    pub(crate) fn submit(&mut self, now: VmInstant, access: Access) {
        if access == Access::Read {
            // What was delivered is no part of the state any more; the room is used again.
            let delivered = self.state.transfer.load(Vec::new());
            self.recycle(delivered);
        }
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
        let (id, due) = (self.state.requests, Timing::after(now, latency));
        t.request = Some(MediumRequest { id, access, offset: t.offset, len, due });
        t.step = Step::Medium;
        t.due = None;
        self.handed_out = false;
        self.completion = None;
        self.overdue = false;
        self.unit().status = status::BSY;
    }

    pub(crate) fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() > self.spare.capacity() && buffer.capacity() <= MAX_REQUEST as usize {
            self.spare = buffer;
        }
    }

    pub(crate) fn drop_request(&mut self) {
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
                let mut data = std::mem::take(&mut self.spare);
                data.resize(request.len as usize, 0);
                (Operation::Read, data)
            }
            // A copy travels: a machine saved now must still have the data.
            Access::Write | Access::WriteThrough => {
                let at = t.buffer.len() - t.buffer.len().min(t.left as usize);
                let data = &t.buffer[at..t.buffer.len().min(at + request.len as usize)];
                (Operation::Write { fua: request.access == Access::WriteThrough }, data.to_vec())
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

    pub(crate) fn medium_done(&mut self, cx: &mut Cx<'_>, request: MediumRequest, completion: Completion) {
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
                    if self.state.transfer.probe > 0 {
                        return self.submit(cx.now(), Access::Read);
                    }
                    self.state.transfer.offset -= len;
                    self.state.transfer.left += len;
                    return self.end(error::UNC, true);
                }
                if matches!(t.opcode, command::READ_VERIFY | command::READ_VERIFY_NO_RETRY) {
                    self.recycle(completion.data);
                    return self.next_or_end(cx.now(), Access::Read);
                }
                t.load(completion.data);
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

    pub(crate) fn next_or_end(&mut self, now: VmInstant, access: Access) {
        if self.state.transfer.left > 0 { self.submit(now, access) } else { self.end(0, true) }
    }

    pub(crate) fn medium_failed(&mut self, now: VmInstant, request: MediumRequest, outcome: Outcome) {
        let t = &mut self.state.transfer;
        // A flaw somewhere in a large request: what is good before it is delivered, and the address told is the bad sector's.
        if outcome == Outcome::MediumError && request.len > t.narrow_unit() {
            t.narrow = true;
            return self.submit(now, request.access);
        }
        if outcome == Outcome::MediumError
            && request.access == Access::Read
            && !t.packet
            && request.len > SECTOR
        {
            t.probe = request.len;
            return self.submit(now, request.access);
        }
        if t.packet {
            return self.packet_failed(now, outcome, request.offset);
        }
        let result = match outcome {
            Outcome::Done => 0,
            Outcome::MediumError if request.access == Access::Read => error::UNC,
            Outcome::OutOfRange => error::IDNF,
            Outcome::MediumError | Outcome::ReadOnly | Outcome::NotReady => error::ABRT,
        };
        if request.access != Access::Read && outcome != Outcome::ReadOnly || outcome == Outcome::NotReady {
            self.unit().status |= status::DF;
        }
        self.end(result, true);
    }
}
