//! What a guest can observe and a saved machine keeps.

use std::collections::VecDeque;
use std::fmt;

use slotone_block::{Completion, Outcome};
use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};
use slotone_bus::{VmInstant, encode_enum, encode_fields};
use slotone_pci::ConfigBytes;
use slotone_scsi::{Access, Range};

use crate::adapter::SLICE;
use crate::registers::{self as r, dfcntrl, hcntrl};
use crate::seeprom::{self, Seeprom};

/// Instructions of sequencer RAM.
pub(crate) const PROGRAM: usize = 512;
/// Bytes of the data FIFO.
pub(crate) const FIFO: usize = 256;
/// Bytes of all SCB pages.
pub(crate) const SCBS: usize = 16 * 32;
/// Commands that one target has room for.
pub(crate) const DEPTH: usize = 64;
/// Bytes of one request to a medium at most.
pub(crate) const PIECE: u64 = 512 << 10;
/// Steps that the data path does in the time of one slice at most: an ordinary command takes some twenty.
pub(crate) const STEPS: u32 = 1_024;
/// Bytes of messages that a target keeps.
pub(crate) const MESSAGES: usize = 300;

/// Everything of one adapter but configuration space.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct State {
    /// Registers that are storage, by address; the current SCB page lies in its window.
    pub(crate) file: [u8; 256],
    /// SCB pages; the current one's bytes are in `file`.
    pub(crate) scb: [u8; SCBS],
    pub(crate) ram: Vec<u32>,
    /// Next byte of the instruction at PC that SEQRAM reaches.
    pub(crate) ram_byte: u8,
    /// A host takes longer to store 16 bits and load them again.
    pub(crate) pc: u32,
    pub(crate) zero: bool,
    pub(crate) carry: bool,
    pub(crate) stack: [u16; 4],
    pub(crate) sp: u8,
    pub(crate) stack_read: u8,
    /// An interrupt stopped the sequencer: PAUSEDIS does not matter.
    pub(crate) forced: bool,
    /// The program is in a loop that only an outside event ends.
    pub(crate) parked: bool,
    pub(crate) run_at: Option<VmInstant>,
    /// How far the adapter has come; a slice of work runs ahead of the machine.
    pub(crate) time: VmInstant,
    pub(crate) intstat: u8,
    pub(crate) error: u8,
    pub(crate) scsiint: bool,
    pub(crate) inta: bool,
    pub(crate) haddr: u64,
    pub(crate) hcnt: u32,
    pub(crate) shaddr: u32,
    pub(crate) stcnt: u32,
    pub(crate) fifo: VecDeque<u8>,
    pub(crate) qin: VecDeque<u8>,
    pub(crate) qout: VecDeque<u8>,
    pub(crate) seeprom: Seeprom,
    /// The bank of board lines that BRDCTL reads.
    pub(crate) board_bank: bool,
    pub(crate) sstat0: u8,
    pub(crate) sstat1: u8,
    pub(crate) atn: bool,
    pub(crate) sigo: u8,
    /// A byte that waits for a REQ.
    pub(crate) latch: Option<u8>,
    pub(crate) bus_data: u8,
    /// Steps that the data path may still do before `steps_again`.
    pub(crate) steps: u32,
    pub(crate) steps_again: VmInstant,
    /// It used them up, and goes on then.
    pub(crate) steps_over: bool,
    /// A selection under way: when it is won or given up.
    pub(crate) selecting: Option<VmInstant>,
    /// Who will answer it.
    pub(crate) selected: Option<u8>,
    /// A selection timed out, and nobody asked for another.
    pub(crate) selection_over: bool,
    pub(crate) link: Option<Link>,
    pub(crate) free_since: VmInstant,
    pub(crate) commands: Vec<Task>,
    pub(crate) next_id: u64,
    pub(crate) agreed: [Agreement; 16],
    pub(crate) random: u64,
}
encode_fields!(State {
    file,
    scb,
    ram,
    ram_byte,
    pc,
    zero,
    carry,
    stack,
    sp,
    stack_read,
    forced,
    parked,
    run_at,
    time,
    intstat,
    error,
    scsiint,
    inta,
    haddr,
    hcnt,
    shaddr,
    stcnt,
    fifo,
    qin,
    qout,
    seeprom,
    board_bank,
    sstat0,
    sstat1,
    atn,
    sigo,
    latch,
    bus_data,
    steps,
    steps_again,
    steps_over,
    selecting,
    selected,
    selection_over,
    link,
    free_since,
    commands,
    next_id,
    agreed,
    random,
});

/// What a target and we negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Agreement {
    /// Transfer period in units of 4 ns; 0 with offset 0.
    pub(crate) period: u8,
    /// REQ/ACK offset; 0 is asynchronous.
    pub(crate) offset: u8,
    /// 16 bits.
    pub(crate) wide: bool,
}
encode_fields!(Agreement { period, offset, wide });

/// What a target does when its messages are over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It goes on with the command.
    GoOn,
    /// It disconnects.
    Disconnect,
    /// COMMAND COMPLETE was said.
    Complete,
}
encode_enum!(After { GoOn, Disconnect, Complete });

/// A target holds the bus.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Link {
    pub(crate) unit: u8,
    /// The command that the connection is about, once there is one.
    pub(crate) task: Option<u64>,
    /// Who selected it, or is reselected.
    pub(crate) initiator: u8,
    /// The unit that IDENTIFY named or, without it, the command block.
    pub(crate) lun: Option<u8>,
    pub(crate) may_disconnect: bool,
    /// Queue message and tag.
    pub(crate) tag: Option<(u8, u8)>,
    /// C/D, I/O, MSG as in SCSISIGI.
    pub(crate) phase: u8,
    pub(crate) req: bool,
    /// REQ in `phase` comes then.
    pub(crate) req_at: Option<VmInstant>,
    pub(crate) message_out: Vec<u8>,
    pub(crate) message_in: VecDeque<u8>,
    /// The message that went last, or as much of it as went: the initiator may want it again.
    pub(crate) said: Vec<u8>,
    /// Bytes that must go before ATN is honoured: the rest of a message, or the IDENTIFY of a reselection (SCSI-2, 6.2.1).
    pub(crate) message_left: u16,
    pub(crate) after: After,
    pub(crate) cdb: Vec<u8>,
    /// The last message of ours was a reply to a negotiation, which may be rejected.
    pub(crate) negotiated: bool,
}
encode_fields!(Link {
    unit,
    task,
    initiator,
    lun,
    may_disconnect,
    tag,
    phase,
    req,
    req_at,
    message_out,
    message_in,
    said,
    message_left,
    after,
    cdb,
    negotiated,
});

/// Where a command stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It waits for others.
    Queued,
    /// Its request is with the medium.
    Medium,
    /// `data[pos..]` goes to the initiator.
    DataIn,
    /// `want` bytes are to come into `data`.
    DataOut,
    /// `status` goes to the initiator.
    Status,
    /// It went.
    Complete,
    /// The target does nothing more about it.
    Held,
}
encode_enum!(Stage { Queued, Medium, DataIn, DataOut, Status, Complete, Held });

/// What kind of request to a medium is out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Read,
    Write,
    WriteThrough,
    Flush,
    Discard,
}
encode_enum!(Kind { Read, Write, WriteThrough, Flush, Discard });

/// A request to a medium.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MediumRequest {
    pub(crate) id: u64,
    pub(crate) kind: Kind,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) due: VmInstant,
}
encode_fields!(MediumRequest { id, kind, offset, len, due });

/// A command that a target works on.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Task {
    pub(crate) id: u64,
    pub(crate) unit: u8,
    pub(crate) tag: Option<(u8, u8)>,
    pub(crate) command: slotone_scsi::Command,
    pub(crate) stage: Stage,
    pub(crate) status: u8,
    pub(crate) data: Vec<u8>,
    pub(crate) pos: u32,
    pub(crate) want: u32,
    /// Data went over the bus since the pointers were saved.
    pub(crate) moved: bool,
    pub(crate) access: Option<Access>,
    /// Bytes of the access that are done; for a list of ranges, those of the range at `index`.
    pub(crate) done: u64,
    pub(crate) index: u32,
    /// Size of a piece, smaller after an error.
    pub(crate) piece: u32,
    pub(crate) request: Option<MediumRequest>,
    /// Waits because another command's sense data have not been fetched, at most until then.
    pub(crate) blocked: Option<VmInstant>,
    /// Has something to say since then; disconnected commands reselect in that order.
    pub(crate) ready: VmInstant,
    /// Not part of the state: what the host knows of the request.
    pub(crate) host: HostSide,
}

impl Encode for Task {
    fn encode(&self, w: &mut StateWriter) {
        let Self { id, unit, tag, command, stage, status, data, pos, want, moved, .. } = self;
        (*id, *unit).encode(w);
        tag.encode(w);
        (*command, (*stage, *status)).encode(w);
        data.encode(w);
        ((*pos, *want), *moved).encode(w);
        self.access.encode(w);
        ((self.done, self.index), self.piece).encode(w);
        self.request.encode(w);
        (self.blocked, self.ready).encode(w);
    }

    fn decode(r: &mut StateReader<'_>) -> Result<Self, StateError> {
        let (id, unit) = Encode::decode(r)?;
        let tag = Encode::decode(r)?;
        let (command, (stage, status)) = Encode::decode(r)?;
        let data = Encode::decode(r)?;
        let ((pos, want), moved) = Encode::decode(r)?;
        let access = Encode::decode(r)?;
        let ((done, index), piece) = Encode::decode(r)?;
        let request = Encode::decode(r)?;
        let (blocked, ready) = Encode::decode(r)?;
        let host = HostSide::default();
        Ok(Self {
            id,
            unit,
            tag,
            command,
            stage,
            status,
            data,
            pos,
            want,
            moved,
            access,
            done,
            index,
            piece,
            request,
            blocked,
            ready,
            host,
        })
    }
}

/// What a restored adapter does anew.
#[derive(Debug, Clone, Default)]
pub(crate) struct HostSide {
    pub(crate) handed_out: bool,
    pub(crate) completion: Option<Completion>,
    /// The request was due and not done: the host is late.
    pub(crate) late: bool,
}

impl PartialEq for HostSide {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Task {
    /// The range that an access works on; one that discards has several.
    pub(crate) fn range(&self) -> Option<Range> {
        match self.access.as_ref()? {
            Access::Read(range)
            | Access::Verify(range)
            | Access::Compare(range)
            | Access::Write { range, .. }
            | Access::WriteSame { range, .. } => Some(*range),
            _ => None,
        }
    }

    /// The first byte of the medium that is not done.
    pub(crate) fn medium_offset(&self) -> u64 {
        match (self.range(), &self.access) {
            (Some(range), _) => range.offset.saturating_add(self.done),
            (None, Some(Access::Discard(ranges))) => ranges.get(self.index as usize).map_or(0, |r| r.offset),
            _ => 0,
        }
    }

    /// Whether it wants the bus.
    pub(crate) fn is_ready(&self) -> bool {
        matches!(self.stage, Stage::DataIn | Stage::DataOut | Stage::Status | Stage::Complete)
    }

    pub(crate) fn take_completion(&mut self) -> Option<(Outcome, Vec<u8>)> {
        self.host.completion.take().map(|c| (c.outcome, c.data))
    }
}

impl State {
    /// As after power-on.
    pub(crate) fn new(id: u8, wide: bool) -> Self {
        let mut this = Self {
            file: [0; 256],
            scb: [0; SCBS],
            ram: vec![0; PROGRAM],
            ram_byte: 0,
            pc: 0,
            zero: false,
            carry: false,
            stack: [0; 4],
            sp: 0,
            stack_read: 0,
            forced: false,
            parked: false,
            run_at: None,
            time: VmInstant::ZERO,
            intstat: 0,
            error: 0,
            scsiint: false,
            inta: false,
            haddr: 0,
            hcnt: 0,
            shaddr: 0,
            stcnt: 0,
            fifo: VecDeque::with_capacity(FIFO),
            qin: VecDeque::new(),
            qout: VecDeque::new(),
            seeprom: Seeprom::new(seeprom::seeprom_image(id, wide)),
            board_bank: false,
            sstat0: 0,
            sstat1: 0,
            atn: false,
            sigo: 0,
            latch: None,
            bus_data: 0,
            steps: STEPS,
            steps_again: VmInstant::ZERO,
            steps_over: false,
            selecting: None,
            selected: None,
            selection_over: false,
            link: None,
            free_since: VmInstant::ZERO,
            commands: Vec::new(),
            next_id: 0,
            agreed: [Agreement::default(); 16],
            random: 0,
        };
        this.reset_registers(wide);
        this
    }

    /// What CHIPRST does: registers as after power-on; scratch RAM, SCBs, the program and the serial EEPROM stay. (What it does to
    /// the bus is not done here.)
    pub(crate) fn reset_registers(&mut self, wide: bool) {
        self.select_page(0);
        for address in 0..=0xffu8 {
            if !matches!(address, 0x20..=0x5f | 0xa0..=0xbf) {
                self.file[usize::from(address)] = 0;
            }
        }
        let file = &mut self.file;
        file[usize::from(r::HCNTRL)] = hcntrl::PAUSE | hcntrl::CHIPRST;
        file[usize::from(r::SEQCTL)] = 0x90;
        file[usize::from(r::SBLKCTL)] = 0xc0 | u8::from(wide) << 1;
        file[usize::from(r::SCSIID)] = 0x07;
        file[usize::from(r::BRKADDR1)] = 0x80;
        file[usize::from(r::ALLONES)] = 0xff;
        file[usize::from(r::FUNCTION1)] = 0;
        self.ram_byte = 0;
        self.pc = 0;
        (self.zero, self.carry) = (false, false);
        (self.stack, self.sp, self.stack_read) = ([0; 4], 0, 0);
        (self.forced, self.parked, self.run_at) = (false, false, None);
        (self.intstat, self.error, self.scsiint) = (0, 0, false);
        (self.haddr, self.hcnt, self.shaddr, self.stcnt) = (0, 0, 0, 0);
        self.fifo.clear();
        self.qin.clear();
        self.qout.clear();
        (self.sstat0, self.sstat1, self.atn, self.sigo) = (0, 0, false, 0);
        (self.latch, self.bus_data) = (None, 0);
        (self.selecting, self.selected, self.selection_over) = (None, None, false);
    }

    /// SCBPTR gets `value`: another page comes into the window.
    pub(crate) fn select_page(&mut self, value: u8) {
        let window = usize::from(r::SCB);
        let [old, new] = [self.file[usize::from(r::SCBPTR)], value].map(|p| usize::from(p & 15) * 32);
        self.file[usize::from(r::SCBPTR)] = value;
        if old != new {
            self.scb[old..old + 32].copy_from_slice(&self.file[window..window + 32]);
            self.file[window..window + 32].copy_from_slice(&self.scb[new..new + 32]);
        }
    }

    /// Whether the sequencer may execute.
    pub(crate) fn running(&self) -> bool {
        use crate::registers::seqctl::PAUSEDIS;
        let pause = self.file[usize::from(r::HCNTRL)] & hcntrl::PAUSE != 0;
        let held = self.file[usize::from(r::SEQCTL)] & PAUSEDIS != 0;
        !(pause && (self.forced || !held))
    }
}

/// A whole adapter as it is saved.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Saved {
    pub(crate) config: ConfigBytes,
    pub(crate) status_high: u8,
    pub(crate) bus: Bus,
    pub(crate) state: State,
}
encode_fields!(Saved { config, status_high, bus, state });

/// Who is on a bus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bus {
    /// The adapter's own ID.
    pub(crate) id: u8,
    pub(crate) wide: bool,
    /// A bit for each ID that has a target.
    pub(crate) present: u16,
}
encode_fields!(Bus { id, wide, present });

impl Bus {
    fn has(self, id: u8) -> bool {
        id < 16 && self.present >> id & 1 != 0
    }
}

impl fmt::Display for Bus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = if self.wide { "wide" } else { "narrow" };
        write!(f, "SCSI ID {} on a {width} bus and ", self.id)?;
        let ids: Vec<String> = (0..16).filter(|id| self.has(*id)).map(|id| id.to_string()).collect();
        if ids.is_empty() { f.write_str("no targets") } else { write!(f, "targets at {}", ids.join(", ")) }
    }
}

fn sound(ok: bool, what: &'static str) -> Result<(), &'static str> {
    if ok { Ok(()) } else { Err(what) }
}

/// Whether a command can be at such a point of its access to the medium.
fn check_task(task: &Task) -> Result<(), &'static str> {
    let held = task.data.len() as u64;
    sound(held <= PIECE.max(1 << 17) && task.pos as usize <= task.data.len(), "data")?;
    sound(u64::from(task.want) <= PIECE && (512..=PIECE as u32).contains(&task.piece), "piece")?;
    sound(task.stage != Stage::DataOut || held < u64::from(task.want), "data")?;
    sound((task.stage == Stage::Medium) == task.request.is_some(), "request")?;
    // What is left of the range that is worked on.
    let left = match (task.range(), &task.access) {
        (_, None) => {
            sound(task.request.is_none() && task.done == 0 && task.index == 0, "access")?;
            return Ok(());
        }
        (Some(range), _) => {
            sound(range.offset.checked_add(range.len).is_some() && task.index == 0, "range")?;
            range.len.checked_sub(task.done).ok_or("range")?
        }
        (None, Some(Access::Discard(ranges))) => {
            sound(ranges.iter().all(|r| r.offset.checked_add(r.len).is_some()), "range")?;
            sound(task.done == 0, "range")?;
            ranges.get(task.index as usize).ok_or("range")?.len
        }
        (None, Some(Access::Flush)) => 0,
        (None, Some(_)) => return Err("access"),
    };
    if let Some(Access::WriteSame { block, .. }) = &task.access {
        sound(block.len() as u64 <= PIECE, "block")?;
    }
    match (task.stage, &task.access) {
        (Stage::DataIn, Some(Access::Read(_))) => sound(held <= left, "data"),
        (Stage::DataOut, Some(Access::Write { .. } | Access::Compare(_))) => {
            sound(u64::from(task.want) <= left, "data")
        }
        (Stage::Medium, Some(access)) => {
            let request = task.request.as_ref().ok_or("request")?;
            let through = |fua: bool| if fua { Kind::WriteThrough } else { Kind::Write };
            let (kind, most) = match access {
                Access::Read(_) | Access::Verify(_) => (Kind::Read, left.min(PIECE)),
                Access::Compare(_) => (Kind::Read, left.min(held - u64::from(task.pos))),
                Access::Write { fua, .. } | Access::WriteSame { fua, .. } => {
                    (through(*fua), left.min(held - u64::from(task.pos)))
                }
                Access::Discard(_) => (Kind::Discard, left),
                _ => (Kind::Flush, 0),
            };
            sound(request.kind == kind && request.len <= most, "request")?;
            sound(request.offset == task.medium_offset(), "request")
        }
        // A command whose access is over, or has not begun, has none.
        _ => Err("access"),
    }
}

/// Whether a machine could have come to `state`; `bus` says at which IDs there are targets.
pub(crate) fn check(state: &State, bus: Bus) -> Result<(), &'static str> {
    sound(state.ram.len() == PROGRAM, "sequencer RAM")?;
    sound(state.file[usize::from(r::ALLONES)] == 0xff, "ALLONES")?;
    sound(state.file[usize::from(r::ALLZEROS)] == 0, "ALLZEROS")?;
    sound(state.file[usize::from(r::SCBCNT)] & 0x60 == 0, "SCBCNT")?;
    let strobes = dfcntrl::FIFORESET | dfcntrl::FIFOFLUSH;
    sound(state.file[usize::from(r::DFCNTRL)] & strobes == 0, "DFCNTRL")?;
    sound(state.ram_byte < 4 && state.pc < PROGRAM as u32, "sequencer address")?;
    sound(state.sp < 4 && state.stack_read < 8, "stack")?;
    sound(state.stack.iter().all(|pc| *pc < PROGRAM as u16), "stack")?;
    sound(state.hcnt < 1 << 24 && state.stcnt < 1 << 24 && state.haddr < 1 << 40, "counters")?;
    sound(state.fifo.len() <= FIFO && state.qin.len() <= 16 && state.qout.len() <= 16, "queues")?;
    sound(state.seeprom.is_sound(), "serial EEPROM")?;
    // What is due after a while must have a time of its own.
    sound(state.time.as_nanos() < u64::MAX / 2, "time")?;
    let soon = state.time + SLICE;
    sound(state.steps <= STEPS && state.steps_again <= soon, "steps of the data path")?;
    sound(state.selecting.is_none() || state.link.is_none(), "selection")?;
    let there = |id: u8| bus.has(id);
    sound(state.selected.is_none_or(|id| there(id) && state.selecting.is_some()), "selection")?;
    sound(state.run_at.is_none() || state.running() && !state.parked, "sequencer")?;
    sound(state.commands.len() <= 16 * DEPTH, "commands")?;
    // Every command and every request has a number of its own for as long as a machine runs.
    sound(state.next_id <= u64::MAX / 2, "command number")?;
    for (n, task) in state.commands.iter().enumerate() {
        sound(task.id <= state.next_id, "command number")?;
        sound(!state.commands[..n].iter().any(|t| t.id == task.id), "command number")?;
        sound(there(task.unit), "command's target")?;
        check_task(task)?;
        sound(task.request.as_ref().is_none_or(|r| r.id <= state.next_id), "request number")?;
    }
    if let Some(link) = &state.link {
        sound(there(link.unit), "connected target")?;
        sound(matches!(link.phase, 0 | 0x40 | 0x80 | 0xa0 | 0xc0 | 0xe0), "phase")?;
        sound(link.message_out.len() <= MESSAGES && link.message_in.len() <= MESSAGES, "messages")?;
        sound(link.said.len() <= MESSAGES && link.initiator < 16, "messages")?;
        sound(link.lun.is_none_or(|lun| lun < 8), "unit")?;
        sound(link.cdb.len() < 16, "command block")?;
        let task = |id| state.commands.iter().find(|t| t.id == id && t.unit == link.unit);
        sound(link.task.is_none_or(|id| task(id).is_some()), "connected command")?;
        let empty = link.message_in.is_empty();
        sound(usize::from(link.message_left) <= link.message_in.len(), "message")?;
        sound(!link.req || link.phase != 0xe0 || !empty, "message")?;
        let stage = link.task.and_then(task).map(|t| t.stage);
        let fits = match link.phase {
            0x00 => stage == Some(Stage::DataOut),
            0x40 => stage == Some(Stage::DataIn),
            0xc0 => stage == Some(Stage::Status),
            0x80 => link.task.is_none(),
            _ => true,
        };
        sound(!(link.req || link.req_at.is_some()) || fits, "phase")?;
    }
    Ok(())
}
