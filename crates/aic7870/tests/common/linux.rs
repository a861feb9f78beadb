//! A driver shaped like Linux's: it reads the driver's own sequencer program from the header file that the kernel ships
//! (`aic7xxx_seq.h_shipped`; set SLOTONE_AIC7XXX_SEQ to its path), loads it as the driver does, and speaks its command blocks.

use super::Board;

/// The program in the kernel's table, with what the driver needs to fit it to a chip.
pub(crate) struct Shipped {
    words: Vec<u32>,
    patches: Vec<(usize, usize, usize, usize)>,
    conditions: Vec<(usize, String)>,
}

impl Shipped {
    /// From the path in SLOTONE_AIC7XXX_SEQ; `None` without it.
    pub(crate) fn find() -> Option<Self> {
        let path = std::env::var_os("SLOTONE_AIC7XXX_SEQ")?;
        let text = std::fs::read_to_string(&path).expect("SLOTONE_AIC7XXX_SEQ names a readable file");
        Some(Self::parse(&text))
    }

    fn parse(text: &str) -> Self {
        let between = |from: &str, to: &str| {
            let start = text.find(from).expect(from) + from.len();
            &text[start..start + text[start..].find(to).expect(to)]
        };
        let bytes: Vec<u8> = between("seqprog[] = {", "};")
            .split(',')
            .filter_map(|n| u8::from_str_radix(n.trim().strip_prefix("0x")?, 16).ok())
            .collect();
        let words = bytes.chunks_exact(4).map(|w| u32::from_le_bytes(w.try_into().unwrap())).collect();
        let table = between("patches[] = {", "};");
        let patches = table
            .split('{')
            .filter_map(|row| {
                let row = row.split('}').next()?;
                let mut cells = row.split(',').map(str::trim);
                let number = cells.next()?.strip_prefix("ahc_patch")?.strip_suffix("_func")?.parse().ok()?;
                let mut next = || cells.next()?.parse().ok();
                Some((number, next()?, next()?, next()?))
            })
            .collect();
        let conditions = text
            .split("\nahc_patch")
            .filter_map(|part| {
                let (number, rest) = part.split_once("_func(")?;
                let body = rest.split_once("return")?.1.split_once(';')?.0;
                Some((number.parse().ok()?, body.to_string()))
            })
            .collect();
        Self { words, patches, conditions }
    }

    /// Whether a patch applies to a 7870 as initiator, with SCB paging, on a narrow or wide bus.
    fn applies(&self, number: usize, wide: bool, cache_line: u8) -> bool {
        let (_, text) = self.conditions.iter().find(|(n, _)| *n == number).expect("a condition");
        let has = |name: &str| match name {
            "AHC_PAGESCBS" | "AHC_INITIATORROLE" | "AHC_TMODE_WIDEODD_BUG" | "AHC_PCI_MWI_BUG" => true,
            "AHC_WIDE" => wide,
            _ => false,
        };
        let terms: Vec<bool> = text
            .split("&&")
            .map(|term| match term.find("AHC_") {
                Some(at) => {
                    let name: String =
                        term[at..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
                    has(&name) == term.contains("!= 0")
                }
                None if term.contains("pci_cachesize") => cache_line != 0,
                None => false,
            })
            .collect();
        terms.iter().all(|t| *t)
    }

    /// The instructions that the driver leaves in, by their place in the table.
    fn kept(&self, wide: bool, cache_line: u8) -> Vec<bool> {
        let mut kept = vec![true; self.words.len()];
        let (mut patch, mut skip_to) = (0, 0);
        for (at, keep) in kept.iter_mut().enumerate() {
            while let Some((number, begin, instructions, patches)) = self.patches.get(patch)
                && *begin == at
            {
                if self.applies(*number, wide, cache_line) {
                    patch += 1;
                } else {
                    skip_to = at + instructions;
                    patch += patches;
                }
            }
            *keep = at >= skip_to;
        }
        kept
    }

    /// The words that the driver writes to SEQRAM of a 7870.
    pub(crate) fn program(&self, wide: bool, cache_line: u8) -> Vec<u32> {
        let kept = self.kept(wide, cache_line);
        let sg = cache_line.max(16);
        let line = cache_line.wrapping_sub(1);
        let constants = [0, 1, line, !line, sg, !(sg - 1), sg - 1];
        let mut program = Vec::new();
        for (word, _) in self.words.iter().zip(&kept).filter(|(_, keep)| **keep) {
            let mut operation = word >> 27 & 15;
            let mut immediate = word & 0xff;
            if word >> 31 != 0 {
                immediate = u32::from(constants[immediate as usize]);
            }
            let source = word >> 8 & 0x1ff;
            let packed = if operation >= 8 {
                let address = (word >> 17 & 0x3ff) as usize;
                let target = kept[..address].iter().filter(|keep| **keep).count() as u32;
                assert!(target < 512);
                target << 16
            } else {
                if operation == 6 {
                    assert_eq!(immediate, 1, "block moves of one byte only");
                    (operation, immediate) = (1, 0xff);
                }
                (word >> 17 & 0xff) << 16 | (word >> 26 & 1) << 24
            };
            program.push(operation << 25 | packed | (source & 0xff) << 8 | immediate);
        }
        program
    }
}

/// Where the driver keeps its things.
const HSCBS: u64 = 0x10000;
const SHARED: u64 = 0x20000;
const LISTS: u64 = 0x30000;

/// One element of a scatter/gather list.
pub(crate) type Segment = (u32, u32);

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Status(u8),
    Timeout,
    Overrun,
}

pub(crate) struct Linux {
    pub(crate) wide: bool,
    free: Vec<u8>,
    next: u8,
    qin: u8,
    qout: u8,
    /// (tag, status) in order of completion.
    pub(crate) done: Vec<(u8, End)>,
    pub(crate) interrupts: u32,
    residuals: std::collections::HashMap<u8, u32>,
    sense_of: Vec<(u8, u8)>,
    message: Vec<u8>,
    session: Option<u8>,
    pub(crate) replies: Vec<Vec<u8>>,
    reply: Vec<u8>,
    pub(crate) negotiate: Vec<u8>,
    pub(crate) trouble: Vec<u8>,
}

impl Linux {
    /// Resets the chip, fills scratch RAM and SCBs, loads the program, starts it.
    pub(crate) fn attach(board: &mut Board, shipped: &Shipped, wide: bool) -> Self {
        let program = shipped.program(wide, 0);
        board.set(0x87, 0x05);
        board.advance(1_000_000);
        assert_eq!(board.get(0x87) & 1, 1, "CHIPRSTACK");
        board.set(0x87, 0x04);
        assert_eq!(board.get(0x87) & 4, 4, "paused");
        assert_eq!(board.get(0x1f) & 0x0a, u8::from(wide) << 1);
        board.set(0x3c, 0);
        board.set(0x57, 0);
        board.set(0x05, 7);
        board.set(0x02, 0x27);
        board.set(0x11, 0xa4);
        board.set(0x01, 0x88);
        for at in 0x20..0x30 {
            board.set(at, 0xff);
        }
        board.set_all(0x44, &(HSCBS as u32).to_le_bytes());
        board.set_all(0x48, &(SHARED as u32).to_le_bytes());
        for at in [0x4c, 0x4d, 0x4e] {
            board.set(at, 0);
        }
        for at in [0x40, 0x41, 0x43] {
            board.set(at, 0xff);
        }
        board.set(0x42, 0);
        board.set(0x3a, 8);
        board.set(0x53, 8);
        board.set(0x54, 0x5a);
        for page in 0..16 {
            board.set(0x90, page);
            board.set(0xb8, 0);
            board.set(0xbb, 0xff);
            board.set(0xbf, if page < 15 { page + 1 } else { 0xff });
        }
        board.poke(SHARED, &[0xff; 512]);
        let next = 0;
        board.set(0x39, next);
        board.load(&program);
        board.set(0x03, 0);
        board.set(0x00, 0x12);
        board.set(0x92, 1);
        board.set(0x60, 0x10);
        board.set(0x62, 0);
        board.set(0x63, 0);
        board.set(0x87, 0x02);
        board.advance(10_000);
        let free = (1..=254).rev().collect();
        Self {
            wide,
            free,
            next,
            qin: 0,
            qout: 0,
            done: Vec::new(),
            interrupts: 0,
            residuals: Default::default(),
            sense_of: Vec::new(),
            message: Vec::new(),
            session: None,
            replies: Vec::new(),
            reply: Vec::new(),
            negotiate: Vec::new(),
            trouble: Vec::new(),
        }
    }

    /// Queues a command; returns its tag. `tagged`: with a SIMPLE QUEUE TAG message and the disconnect privilege.
    pub(crate) fn queue(
        &mut self,
        board: &mut Board,
        id: u8,
        cdb: &[u8],
        segments: &[Segment],
        tagged: bool,
    ) -> u8 {
        let tag = self.next;
        let next = self.free.pop().expect("a free command block");
        let mut hscb = [0u8; 64];
        if cdb.len() <= 12 {
            hscb[..cdb.len()].copy_from_slice(cdb);
        } else {
            let at = HSCBS as u32 + 64 * u32::from(tag) + 32;
            hscb[..4].copy_from_slice(&at.to_le_bytes());
            hscb[32..32 + cdb.len()].copy_from_slice(cdb);
        }
        let list = LISTS + u64::from(tag) * 1024;
        match segments {
            [] => hscb[20] = 1,
            [first, ..] => {
                for (n, (address, len)) in segments.iter().enumerate() {
                    let last = if n + 1 == segments.len() { 0x8000_0000 } else { 0 };
                    board.poke(list + 8 * n as u64, &address.to_le_bytes());
                    board.poke(list + 8 * n as u64 + 4, &(len | last).to_le_bytes());
                }
                hscb[12..16].copy_from_slice(&first.0.to_le_bytes());
                let last = if segments.len() == 1 { 0x8000_0000 } else { 0 };
                hscb[16..20].copy_from_slice(&(first.1 | last).to_le_bytes());
                hscb[20..24].copy_from_slice(&((list as u32 + 8) | 2).to_le_bytes());
            }
        }
        hscb[24] = if tagged { 0x60 } else { 0x40 };
        if !self.negotiate.is_empty() {
            hscb[24] |= 0x10;
        }
        hscb[25] = id << 4 | 7;
        hscb[27] = tag;
        hscb[28] = cdb.len() as u8;
        hscb[31] = next;
        board.poke(HSCBS + 64 * u64::from(tag), &hscb);
        board.poke(SHARED + 256 + u64::from(self.qin), &[tag]);
        self.next = next;
        self.qin = self.qin.wrapping_add(1);
        board.set(0x4c, self.qin);
        tag
    }

    /// Serves one interrupt.
    pub(crate) fn interrupt(&mut self, board: &mut Board) {
        self.interrupts += 1;
        let status = board.get(0x91);
        if status & 2 != 0 {
            board.set(0x92, 2);
            self.completions(board);
        }
        if status & 8 != 0 {
            panic!("BRKADRINT, error {:02x}", board.get(0x92));
        }
        if status & 1 != 0 {
            self.sequencer_interrupt(board, status >> 4);
        }
        if status & 4 != 0 {
            self.scsi_interrupt(board);
        }
    }

    fn completions(&mut self, board: &mut Board) {
        loop {
            let at = SHARED + u64::from(self.qout);
            let tag = board.memory(at, 1)[0];
            if tag == 0xff {
                return;
            }
            board.poke(at, &[0xff]);
            self.qout = self.qout.wrapping_add(1);
            match self.sense_of.iter().position(|(slot, _)| *slot == tag) {
                Some(n) => {
                    let (slot, first) = self.sense_of.swap_remove(n);
                    self.done.push((first, End::Status(2)));
                    self.free.insert(0, slot);
                }
                None => {
                    let hscb = board.memory(HSCBS + 64 * u64::from(tag), 32);
                    // A residual, or a status, was posted if SG_RESID_VALID (4) is set.
                    if hscb[20] & 4 != 0 {
                        let left = |at: usize| u32::from_le_bytes(hscb[at..at + 4].try_into().unwrap());
                        self.residuals.insert(tag, left(0) & 0xff_ffff);
                    }
                    self.end(tag, End::Complete);
                }
            }
        }
    }

    fn end(&mut self, tag: u8, end: End) {
        self.done.push((tag, end));
        self.free.insert(0, tag);
    }

    /// Bytes that did not move of a command that has ended, if the program said that there are some: of its last segment.
    pub(crate) fn residual(&self, tag: u8) -> Option<u32> {
        self.residuals.get(&tag).copied()
    }

    fn resume(&mut self, board: &mut Board) {
        board.set(0x92, 1);
        board.set(0x87, 0x02);
    }

    fn sequencer_interrupt(&mut self, board: &mut Board, code: u8) {
        match code {
            // BAD_STATUS: ask for sense data with the same block.
            7 => {
                let tag = board.get(0xbb);
                let status = board.get(0xa8);
                if status == 2 {
                    let at = HSCBS + 64 * u64::from(tag);
                    let mut hscb: [u8; 64] = board.memory(at, 64).try_into().unwrap();
                    hscb[..12].fill(0);
                    hscb[0] = 3;
                    hscb[4] = 18;
                    hscb[12..16].copy_from_slice(&(0x2f000u32 + 32 * u32::from(tag)).to_le_bytes());
                    hscb[16..20].copy_from_slice(&(18u32 | 0x8000_0000).to_le_bytes());
                    let list = LISTS as u32 + u32::from(tag) * 1024;
                    hscb[20..24].copy_from_slice(&((list + 8) | 2).to_le_bytes());
                    hscb[24] = 0;
                    hscb[28] = 6;
                    // The command moves to the block that is next in line, and leaves its own for the one after.
                    let slot = self.next;
                    (hscb[27], hscb[31]) = (slot, tag);
                    board.poke(HSCBS + 64 * u64::from(slot), &hscb);
                    board.poke(SHARED + 256 + u64::from(self.qin), &[slot]);
                    self.next = tag;
                    self.qin = self.qin.wrapping_add(1);
                    self.sense_of.push((slot, tag));
                    board.set(0x4c, self.qin);
                    board.set(0x51, 0x40);
                } else {
                    self.trouble.push(status);
                    board.set(0x51, 0);
                }
            }
            6 => self.message_byte(board),
            9 => {
                // DATA_OVERRUN: the rest goes into the bit bucket.
                self.trouble.push(0x90);
                let control = board.get(0x02);
                board.set(0x02, control | 0x80);
                while board.get(0x03) & 0xa0 == 0 && board.get(0x03) & 0x04 != 0 {
                    board.advance(1_000);
                }
                board.set(0x02, control);
                board.set_all(0x8c, &[0, 0, 0]);
                board.set_all(0x08, &[0, 0, 0]);
            }
            code => panic!("the program calls with code {code:x}"),
        }
        self.resume(board);
    }

    /// HOST_MSG_LOOP, once for every byte; another phase ends it.
    fn message_byte(&mut self, board: &mut Board) {
        const EXIT: u8 = 0x08;
        const CONTINUE: u8 = 0x04;
        let phase = board.get(0x03) & 0xe0;
        if self.session.is_none() {
            self.session = Some(phase);
            if phase == 0xa0 {
                self.message = vec![0xc0 | board.get(0xba) & 7];
                if board.get(0xb8) & 0x20 != 0 {
                    self.message.extend([0x20, board.get(0xbb)]);
                }
                self.message.append(&mut self.negotiate);
                self.message.reverse();
                let control = board.get(0xb8);
                board.set(0xb8, control & !0x10); // MK_MESSAGE is served
            }
        }
        if self.session != Some(phase) && phase == 0xe0 && self.message.is_empty() {
            // What answers our message comes in the same session.
            self.session = Some(phase);
        }
        if self.session != Some(phase) {
            self.session = None;
            return board.set(0x51, EXIT);
        }
        if phase == 0xa0 {
            let byte = self.message.pop().expect("a byte to send");
            if self.message.is_empty() {
                board.set(0x0c, 0x40); // ATN goes before the last byte
            }
            board.set(0x0c, 0x01);
            board.set(0x06, byte);
        } else {
            let byte = board.get(0x12);
            self.reply.push(byte);
            let whole = matches!(self.reply[..], [1, n, ..] if self.reply.len() == 2 + usize::from(n));
            if whole || self.reply[0] != 1 {
                self.replies.push(std::mem::take(&mut self.reply));
            }
            board.set(0x0c, 0x01);
            assert_eq!(board.get(0x06), byte);
        }
        board.set(0x51, CONTINUE);
    }

    fn scsi_interrupt(&mut self, board: &mut Board) {
        let status = board.get(0x0c);
        if status & 0x80 != 0 {
            // Nobody answered: the waiting command ends.
            let page = board.get(0x40);
            board.set(0x90, page);
            let tag = board.get(0xbb);
            board.set(0x00, 0);
            board.set(0x0c, 0x80 | 0x08);
            board.set(0x0b, 0x10);
            // Unlink it, and give its page back.
            let next = board.get(0xbf);
            board.set(0x40, next);
            board.set(0xbb, 0xff);
            let free = board.get(0x42);
            board.set(0xbf, free);
            board.set(0x42, page);
            board.set(0xb8, 0);
            self.end(tag, End::Timeout);
            board.set(0x92, 4);
            // Restart.
            board.set(0x03, 0);
            board.set(0x00, 0x12);
            board.set(0x62, 0);
            board.set(0x63, 0);
            board.set(0x87, 0x02);
        } else {
            panic!("SCSI interrupt {status:02x}");
        }
    }

    /// Serves interrupts until `n` commands have ended; returns those.
    pub(crate) fn finish(&mut self, board: &mut Board, n: usize) -> Vec<(u8, End)> {
        while self.done.len() < n {
            board.wait();
            self.interrupt(board);
        }
        std::mem::take(&mut self.done)
    }

    /// One command from start to end.
    pub(crate) fn run(
        &mut self,
        board: &mut Board,
        id: u8,
        cdb: &[u8],
        segments: &[Segment],
        tagged: bool,
    ) -> End {
        let tag = self.queue(board, id, cdb, segments, tagged);
        let done = self.finish(board, 1);
        assert_eq!(done[0].0, tag);
        done[0].1
    }

    /// Sense data that came with the last CHECK CONDITION of `tag`.
    pub(crate) fn sense(&self, board: &Board, tag: u8) -> Vec<u8> {
        board.memory(0x2f000 + 32 * u64::from(tag), 18)
    }
}
