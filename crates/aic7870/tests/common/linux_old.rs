//! A driver shaped like Linux's older one, 5.x: command blocks of 32 bytes, three queues of 256 bytes that the program reaches a byte at a
//! time, a table of untagged commands, messages byte by byte with the sequencer stopped and REQINIT as the interrupt, a stop around
//! each doorbell, and a bus reset at the start. Its program is read from a file: see [`OldLinux::find`].

use std::collections::{BTreeMap, BTreeSet};

use super::Board;
use super::driver::{Driver, End, Segment};
use super::linux::Shipped;

/// Main memory: 255 command blocks; untagged commands by target, what is done, what is to be done; commands; lists; sense data.
const HSCBS: u64 = 0x10000;
const QUEUES: u64 = 0x20000;
const CDBS: u64 = 0x24000;
const LISTS: u64 = 0x30000;
const SENSE: u64 = 0x28000;
/// Bytes of sense data asked for.
const SENSE_LEN: u32 = 18;

/// Scratch RAM as this program names it.
const MSG_OUT: u8 = 0x34;
const SEQ_FLAGS: u8 = 0x36;
const SAVED_TCL: u8 = 0x37;
const LASTPHASE: u8 = 0x3d;
const WAITING_SCBH: u8 = 0x3e;
const DISCONNECTED_SCBH: u8 = 0x3f;
const FREE_SCBH: u8 = 0x40;
const HSCB_ADDR: u8 = 0x41;
const SCBID_ADDR: u8 = 0x45;
const KERNEL_QINPOS: u8 = 0x4d;
const QINPOS: u8 = 0x4e;
const QOUTPOS: u8 = 0x4f;
const RETURN_1: u8 = 0x51;
const LAST_MSG: u8 = 0x53;
/// The same of a command block.
const SCB_CONTROL: u8 = 0xa0;
const SCB_STATUS: u8 = 0xa2;
const SCB_TAG: u8 = 0xb9;
const SCB_NEXT: u8 = 0xba;
const NOBODY: u8 = 0xff;
const NOOP: u8 = 0x08;

/// SCB_CONTROL.
const MK_MESSAGE: u8 = 0x80;
const DISCENB: u8 = 0x40;
const TAG_ENB: u8 = 0x20;
/// RETURN_1.
const SEND_SENSE: u8 = 0x40;
const MSGOUT_PHASEMIS: u8 = 0x10;

/// What the driver is busy with while it serves REQINIT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Session {
    Out,
    In,
}

/// A command that is under way.
struct Command {
    id: u8,
    tagged: bool,
    /// What goes out after IDENTIFY and the tag.
    message: Vec<u8>,
    /// It is being asked for its sense data.
    sensing: bool,
}

pub(crate) struct OldLinux {
    commands: BTreeMap<u8, Command>,
    free: Vec<u8>,
    qin: u8,
    qout: u8,
    /// (tag, how it ended) in order of completion.
    pub(crate) done: Vec<(u8, End)>,
    /// Segments that were not moved, and bytes of the first of these, by tag.
    pub(crate) residuals: BTreeMap<u8, (u8, u32)>,
    session: Option<Session>,
    message: Vec<u8>,
    sent: usize,
    /// What targets said in extended messages.
    pub(crate) replies: Vec<Vec<u8>>,
    /// Messages after the next command's IDENTIFY.
    pub(crate) say: Vec<u8>,
    /// Codes of SEQINT that need no answer: E overrun, 6 message reject.
    pub(crate) told: Vec<u8>,
    pub(crate) interrupts: u32,
}

impl OldLinux {
    /// The table in the file that SLOTONE_AIC7XXX_OLD_SEQ names: `drivers/scsi/aic7xxx_old/aic7xxx_seq.c` of a kernel of 2.4 to 3.13
    /// (`drivers/scsi/aic7xxx/aic7xxx_seq.c` in 2.2).
    pub(crate) fn find() -> Option<Shipped> {
        let path = std::env::var_os("SLOTONE_AIC7XXX_OLD_SEQ")?;
        let text = std::fs::read_to_string(&path).expect("SLOTONE_AIC7XXX_OLD_SEQ names a readable file");
        Some(Shipped::parse(&text))
    }

    /// Resets chip and bus, fills scratch RAM and SCBs, loads the program, starts it.
    pub(crate) fn attach(board: &mut Board, program: &[u32], wide: bool) -> Self {
        board.holds = true;
        board.set(0x87, 0x05);
        for _ in 0..1_000 {
            if board.get(0x87) & 1 != 0 {
                break;
            }
        }
        Self::pause(board, 0x04);
        assert_eq!(board.get(0x1f) & 0x0a, u8::from(wide) << 1);
        let command = board.get(0x84);
        board.set(0x84, command & 0x7f);
        board.set(SEQ_FLAGS, 0);
        // How many pages there are shows in which page answers for another.
        let mut pages = 0;
        for page in 0..=255u8 {
            board.set(0x90, page);
            board.set(SCB_CONTROL, page);
            if board.get(SCB_CONTROL) != page {
                break;
            }
            board.set(0x90, 0);
            if board.get(SCB_CONTROL) != 0 {
                break;
            }
            pages += 1;
        }
        assert_eq!(pages, 16);
        for page in 0..pages {
            board.set(0x90, page);
            board.set(SCB_CONTROL, 0);
            board.set(SCB_TAG, NOBODY);
            board.set(SCB_NEXT, if page + 1 < pages { page + 1 } else { NOBODY });
        }
        board.set(0x90, 0);
        board.set(FREE_SCBH, 0);
        board.set(0x05, 7);
        board.set(0x01, 0x88);
        board.set(0x02, 0x17);
        board.set(0x10, 0);
        board.set(0x11, 0xa4);
        board.set(0x04, 0);
        board.set_all(HSCB_ADDR, &(HSCBS as u32).to_le_bytes());
        board.set_all(SCBID_ADDR, &(QUEUES as u32).to_le_bytes());
        board.poke(QUEUES, &[NOBODY; 768]);
        board.set_all(0x20, &[0; 16]);
        for at in [QINPOS, KERNEL_QINPOS, QOUTPOS] {
            board.set(at, 0);
        }
        board.set(WAITING_SCBH, NOBODY);
        board.set(DISCONNECTED_SCBH, NOBODY);
        board.set(MSG_OUT, NOOP);
        board.set(LAST_MSG, NOOP);
        board.load(program);
        // It runs for a moment, then stops again.
        board.set(0x60, 0x30);
        board.set(0x87, 0x00);
        board.advance(1_000_000);
        Self::pause(board, 0x04);
        board.set(0x60, 0x10);
        let control = board.get(0x1f);
        board.set(0x1f, control & 0xdf);
        board.set(0x11, 0x84);
        let sequence = board.get(0x00);
        board.set(0x00, sequence | 1);
        assert_eq!(board.get(0x00) & 1, 1);
        board.advance(50_000_000);
        board.set(0x00, 0);
        board.advance(10_000_000);
        board.set(0x0b, 0x70);
        board.set(0x0c, 0xef);
        board.set(0x92, 0x1d);
        board.set(0x11, 0xa4);
        assert_eq!(board.get(0x91) & 0x0f, 0, "interrupts pending");
        board.set(0x87, 0x02);
        Self {
            commands: BTreeMap::new(),
            free: (0..40).rev().collect(),
            qin: 0,
            qout: 0,
            done: Vec::new(),
            residuals: BTreeMap::new(),
            session: None,
            message: Vec::new(),
            sent: 0,
            replies: Vec::new(),
            say: Vec::new(),
            told: Vec::new(),
            interrupts: 0,
        }
    }

    /// Stops the sequencer and waits until it has.
    fn pause(board: &mut Board, control: u8) {
        board.set(0x87, control | 4);
        for n in 0.. {
            if board.get(0x87) & 4 != 0 {
                break;
            }
            assert!(n < 10_000, "it does not stop");
            board.advance(100);
        }
    }

    fn hscb(tag: u8) -> u64 {
        HSCBS + 32 * u64::from(tag)
    }
}

impl Driver for OldLinux {
    /// Every command may disconnect.
    fn queue(&mut self, board: &mut Board, id: u8, cdb: &[u8], segments: &[Segment], tagged: bool) -> u8 {
        let tag = self.free.pop().expect("a free command block");
        let busy = self.commands.values().filter(|c| c.id == id && !(c.tagged && tagged)).count();
        assert_eq!(busy, 0, "an untagged command is alone on its target");
        let message = std::mem::take(&mut self.say);
        let mut hscb = [0u8; 32];
        hscb[0] = DISCENB;
        if tagged {
            hscb[0] |= TAG_ENB;
        }
        if !message.is_empty() {
            hscb[0] |= MK_MESSAGE;
        }
        hscb[1] = id << 4;
        hscb[3] = segments.len() as u8;
        let list = LISTS + 1024 * u64::from(tag);
        for (n, (address, len)) in segments.iter().enumerate() {
            board.poke(list + 8 * n as u64, &address.to_le_bytes());
            board.poke(list + 8 * n as u64 + 4, &len.to_le_bytes());
        }
        if let Some((address, len)) = segments.first() {
            hscb[4..8].copy_from_slice(&(list as u32 + 8).to_le_bytes());
            hscb[12..16].copy_from_slice(&address.to_le_bytes());
            hscb[16..20].copy_from_slice(&len.to_le_bytes());
        }
        let at = CDBS + 16 * u64::from(tag);
        board.poke(at, cdb);
        hscb[20..24].copy_from_slice(&(at as u32).to_le_bytes());
        hscb[24] = cdb.len() as u8;
        hscb[25] = tag;
        board.poke(Self::hscb(tag), &hscb);
        if !tagged {
            board.poke(QUEUES + u64::from(id << 4), &[tag]);
        }
        self.commands.insert(tag, Command { id, tagged, message, sensing: false });
        board.poke(QUEUES + 512 + u64::from(self.qin), &[tag]);
        self.qin = self.qin.wrapping_add(1);
        Self::pause(board, 0x02);
        board.set(KERNEL_QINPOS, self.qin);
        if board.get(0x91) & 0x0d == 0 && self.session.is_none() {
            board.set(0x87, 0x02);
        }
        tag
    }

    /// Serves the line until it is down.
    fn interrupt(&mut self, board: &mut Board) {
        self.interrupts += 1;
        for n in 0.. {
            let status = board.get(0x91);
            if status & 0x0f == 0 {
                // A message's next byte may take its time.
                return;
            }
            assert!(n < 1_000, "an interrupt that never goes: {status:02x}");
            if status & 2 != 0 {
                board.set(0x92, 2);
                board.get(0x91);
                self.completions(board);
            }
            if status & 8 != 0 {
                panic!("BRKADRINT, error {:02x}", board.get(0x92));
            }
            if status & 1 != 0 {
                self.call(board, status >> 4);
            }
            if status & 4 != 0 {
                self.scsi_interrupt(board);
            }
        }
    }

    fn done(&mut self) -> &mut Vec<(u8, End)> {
        &mut self.done
    }

    fn sense(&self, board: &Board, tag: u8) -> Vec<u8> {
        board.memory(SENSE + 32 * u64::from(tag), SENSE_LEN as usize)
    }
}

impl OldLinux {
    fn completions(&mut self, board: &mut Board) {
        loop {
            let at = QUEUES + 256 + u64::from(self.qout);
            let tag = board.memory(at, 1)[0];
            if tag == NOBODY {
                return;
            }
            board.poke(at, &[NOBODY]);
            self.qout = self.qout.wrapping_add(1);
            let hscb = board.memory(Self::hscb(tag), 32);
            if hscb[8] != 0 {
                let left = u32::from_le_bytes([hscb[9], hscb[10], hscb[11], 0]);
                self.residuals.insert(tag, (hscb[8], left));
            }
            let command = self.commands.get(&tag).expect("a command of ours");
            if !command.tagged {
                let busy = board.memory(QUEUES + u64::from(command.id << 4), 1);
                assert_eq!(busy, [NOBODY], "the program clears it");
            }
            let end = match (command.sensing, hscb[2]) {
                (true, 0) => End::Status(2),
                (_, 0) => End::Complete,
                (_, status) => End::Status(status),
            };
            self.end(tag, end);
        }
    }

    fn end(&mut self, tag: u8, end: End) {
        self.commands.remove(&tag).expect("a command of ours");
        self.done.push((tag, end));
        self.free.insert(0, tag);
    }

    /// The program calls.
    fn call(&mut self, board: &mut Board, code: u8) {
        board.set(0x92, 1);
        match code {
            // BAD_STATUS.
            7 => {
                board.set(RETURN_1, 0);
                let tag = board.get(SCB_TAG);
                let status = board.get(SCB_STATUS);
                let at = Self::hscb(tag);
                assert_eq!(board.memory(at + 2, 1), [status], "the program sent the block up");
                let command = self.commands.get_mut(&tag).expect("a command of ours");
                if status == 2 && !command.sensing {
                    command.sensing = true;
                    command.tagged = false;
                    let id = command.id;
                    let cdb = CDBS + 16 * u64::from(tag);
                    board.poke(cdb, &[3, 0, 0, 0, SENSE_LEN as u8, 0]);
                    let list = LISTS + 1024 * u64::from(tag);
                    let sense = SENSE as u32 + 32 * u32::from(tag);
                    board.poke(list, &sense.to_le_bytes());
                    board.poke(list + 4, &SENSE_LEN.to_le_bytes());
                    let mut hscb: [u8; 32] = board.memory(at, 32).try_into().unwrap();
                    (hscb[0], hscb[2], hscb[3]) = (0, 0, 1);
                    hscb[4..8].copy_from_slice(&(list as u32).to_le_bytes());
                    hscb[8..12].fill(0);
                    hscb[12..16].copy_from_slice(&sense.to_le_bytes());
                    hscb[16..20].copy_from_slice(&SENSE_LEN.to_le_bytes());
                    hscb[20..24].copy_from_slice(&(cdb as u32).to_le_bytes());
                    hscb[24] = 6;
                    board.poke(at, &hscb);
                    board.poke(QUEUES + u64::from(id << 4), &[tag]);
                    board.set(RETURN_1, SEND_SENSE);
                }
            }
            // AWAITING_MSG: from now on every REQ is an interrupt.
            0xa => {
                let tag = board.get(SCB_TAG);
                let out = board.get(MSG_OUT);
                let command = &self.commands[&tag];
                self.message.clear();
                if out == 0x80 && command.tagged {
                    self.message.extend([0x20, tag]);
                }
                self.message.extend(&command.message);
                assert!(!self.message.is_empty());
                return self.listen(board, Session::Out);
            }
            // EXTENDED_MSG: its first byte stands on the bus.
            4 => {
                self.message.clear();
                return self.listen(board, Session::In);
            }
            // DATA_OVERRUN, REJECT_MSG: the program knows what to do.
            0xe | 6 => self.told.push(code),
            code => panic!("the program calls with code {code:x}"),
        }
        board.set(0x87, 0x02);
    }

    fn listen(&mut self, board: &mut Board, session: Session) {
        self.sent = 0;
        self.session = Some(session);
        let enabled = board.get(0x11);
        board.set(0x11, enabled | 1);
    }

    /// No interrupt for REQ any more; the program goes on.
    fn stop_listening(&mut self, board: &mut Board) {
        let enabled = board.get(0x11);
        board.set(0x11, enabled & 0xfe);
        board.set(0x92, 4);
        self.session = None;
    }

    fn request(&mut self, board: &mut Board, session: Session) {
        let phase = board.get(0x03) & 0xe0;
        match session {
            Session::Out => {
                let last = self.sent + 1 == self.message.len();
                if last || phase != 0xa0 {
                    self.stop_listening(board);
                    if phase == 0xa0 {
                        // The program sends it, without ATN.
                        board.set(0x65, self.message[self.sent]);
                        board.set(RETURN_1, 0);
                    } else {
                        board.set(RETURN_1, MSGOUT_PHASEMIS);
                    }
                    board.set(0x87, 0x02);
                } else {
                    board.set(0x0c, 1);
                    board.set(0x92, 4);
                    board.set(0x06, self.message[self.sent]);
                    self.sent += 1;
                }
            }
            Session::In => {
                let mut over = phase != 0xe0;
                if !over {
                    let byte = board.get(0x12);
                    self.message.push(byte);
                    over = matches!(self.message[..], [1, n, ..] if self.message.len() == 2 + usize::from(n));
                    board.set(0x0c, 1);
                    board.set(0x92, 4);
                    assert_eq!(board.get(0x06), byte);
                }
                if over {
                    self.replies.push(self.message.clone());
                    self.stop_listening(board);
                    board.set(0x87, 0x02);
                }
            }
        }
    }

    fn scsi_interrupt(&mut self, board: &mut Board) {
        let tag = board.get(SCB_TAG);
        let status = board.get(0x0c);
        if status & 0x88 == 0x08 {
            // A message that frees the bus.
            let sequence = board.get(0x00);
            board.set(0x00, sequence & 0x32);
            assert_eq!(board.get(LASTPHASE), 0xa0, "MESSAGE OUT");
            let message = board.get(0x65);
            let id = board.get(SAVED_TCL) >> 4;
            let gone: BTreeSet<u8> = match message {
                0x0d => BTreeSet::from([tag]),
                0x06 | 0x0c | 0x0e => {
                    self.commands.iter().filter(|(_, c)| c.id == id).map(|(tag, _)| *tag).collect()
                }
                message => panic!("the bus is free after message {message:02x}"),
            };
            let current = board.get(0x90);
            self.forget(board, &gone);
            board.set(0x90, current);
            board.poke(QUEUES + u64::from(id << 4), &[NOBODY]);
            gone.into_iter().for_each(|tag| self.end(tag, End::Aborted));
            board.set(MSG_OUT, NOOP);
            let enabled = board.get(0x11);
            board.set(0x11, enabled & 0xf6);
            self.session = None;
            board.set(0x0c, 0x08);
            board.set(0x92, 4);
            Self::restart(board);
        } else if status & 0x80 != 0 {
            let page = board.get(WAITING_SCBH);
            board.set(0x90, page);
            let tag = board.get(SCB_TAG);
            board.set(SCB_CONTROL, 0);
            board.set(MSG_OUT, NOOP);
            let next = board.get(SCB_NEXT);
            board.set(WAITING_SCBH, next);
            Self::free_page(board);
            let sequence = board.get(0x00);
            board.set(0x00, sequence & 0xbf);
            board.set(0x12, 0);
            board.advance(301_000);
            board.set(0x0b, 0x10);
            let enabled = board.get(0x11);
            board.set(0x11, enabled & 0xf6);
            board.set(0x0c, 0x88);
            board.set(0x92, 4);
            let id = self.commands[&tag].id;
            board.poke(QUEUES + u64::from(id << 4), &[NOBODY]);
            self.end(tag, End::Timeout);
            Self::restart(board);
        } else if let (Some(session), 1) = (self.session, status & 1) {
            self.request(board, session);
        } else {
            panic!("SCSI interrupt {status:02x}");
        }
    }

    /// The page that SCBPTR points at is free.
    fn free_page(board: &mut Board) {
        board.set(SCB_TAG, NOBODY);
        board.set(SCB_CONTROL, 0);
        let first = board.get(FREE_SCBH);
        board.set(SCB_NEXT, first);
        let page = board.get(0x90);
        board.set(FREE_SCBH, page);
    }

    /// Pages of commands that are no more: the disconnected ones, and those that are in no list.
    fn forget(&mut self, board: &mut Board, gone: &BTreeSet<u8>) {
        let (mut at, mut kept, mut freed) = (board.get(DISCONNECTED_SCBH), Vec::new(), BTreeSet::new());
        while at != NOBODY {
            board.set(0x90, at);
            let next = board.get(SCB_NEXT);
            if gone.contains(&board.get(SCB_TAG)) {
                Self::free_page(board);
                freed.insert(at);
            } else {
                kept.push(at);
            }
            at = next;
        }
        for (n, at) in kept.iter().enumerate() {
            board.set(0x90, *at);
            board.set(SCB_NEXT, kept.get(n + 1).copied().unwrap_or(NOBODY));
        }
        board.set(DISCONNECTED_SCBH, kept.first().copied().unwrap_or(NOBODY));
        for page in (0..16).filter(|page| !freed.contains(page)) {
            board.set(0x90, page);
            if gone.contains(&board.get(SCB_TAG)) {
                Self::free_page(board);
            }
        }
    }

    /// The program begins anew at its first instruction.
    fn restart(board: &mut Board) {
        board.set(0x62, 0);
        board.set(0x63, 0);
        board.set(0x60, 0x10);
        board.set(0x87, 0x02);
    }
}
