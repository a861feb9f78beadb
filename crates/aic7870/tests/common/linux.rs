//! A driver shaped like Linux's: it reads the driver's own sequencer program from the header file that the kernel ships
//! (`aic7xxx_seq.h_shipped`; set SLOTONE_AIC7XXX_SEQ to its path), loads it as the driver does, and speaks its command blocks.

use super::driver::{Driver, End, Segment};
use super::{Board, Random};

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

    /// The table of 6.x or, with other names, that of 5.x.
    pub(crate) fn parse(text: &str) -> Self {
        let prefix = if text.contains("aic7xxx_patch") { "aic7xxx_patch" } else { "ahc_patch" };
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
                let number = cells.next()?.strip_prefix(prefix)?.strip_suffix("_func")?.parse().ok()?;
                let mut next = || cells.next()?.parse().ok();
                Some((number, next()?, next()?, next()?))
            })
            .collect();
        let conditions = text
            .split(&format!("\n{prefix}"))
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
                Some(_) if term.contains("AHC_CHIPID_MASK") => term.contains("== AHC_AIC7870"),
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
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// 256 command blocks of 64 bytes.
    hscbs: u64,
    /// Queues: what is done, and what is to be done.
    shared: u64,
    /// Scatter/gather lists, by command block.
    lists: Vec<u64>,
    /// Sense data, by command block.
    sense: u64,
    /// Command blocks in the order in which they are used first.
    order: Vec<u8>,
    /// Where the next buffer may lie.
    buffers: u64,
    random: Random,
}

impl Default for Layout {
    fn default() -> Self {
        Self {
            hscbs: 0x10000,
            shared: 0x20000,
            lists: (0..256).map(|tag| 0x30000 + tag * 1024).collect(),
            sense: 0x2e000,
            order: (0..255).collect(),
            buffers: 0x100000,
            random: Random(0),
        }
    }
}

impl Layout {
    /// Everything somewhere else: command blocks, queues, lists, their numbers, buffers.
    pub(crate) fn random(seed: u64) -> Self {
        let mut random = Random(seed);
        let mut shuffled = |n: u64| {
            let mut all: Vec<u64> = (0..n).collect();
            (1..n).rev().for_each(|at| all.swap(at as usize, random.below(at + 1) as usize));
            all
        };
        let order = shuffled(255).into_iter().map(|n| n as u8).collect();
        let slots = shuffled(256);
        let base = 0x20000 * (1 + random.below(3));
        let lists = slots.iter().map(|slot| 0x80000 + slot * 2048 + 8 * random.below(128)).collect();
        Self {
            hscbs: base + 8 * random.below(0x800),
            shared: base + 0x8000 + 256 * random.below(0x20),
            sense: base + 0x10000 + random.below(0x4000),
            lists,
            order,
            buffers: 0x100000 + random.below(0x10000),
            random,
        }
    }

    /// Room for a buffer, at any address.
    pub(crate) fn buffer(&mut self, len: u32) -> u32 {
        let at = self.buffers;
        self.buffers += u64::from(len) + self.random.below(300);
        assert!(self.buffers < 8 << 20);
        at as u32
    }
}

pub(crate) struct Linux {
    pub(crate) wide: bool,
    pub(crate) layout: Layout,
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
    /// The whole message of the next command in the place of the usual one.
    pub(crate) message_instead: Vec<u8>,
    /// What a message kills besides its own command block.
    pub(crate) victims: Vec<u8>,
    pub(crate) trouble: Vec<u8>,
}

impl Linux {
    /// Resets the chip, fills scratch RAM and SCBs, loads the program, starts it.
    pub(crate) fn attach(board: &mut Board, shipped: &Shipped, wide: bool) -> Self {
        Self::attach_at(board, shipped, wide, 0, Layout::default())
    }

    /// The same with its things anywhere, and the program for a cache line of so many bytes.
    pub(crate) fn attach_at(
        board: &mut Board,
        shipped: &Shipped,
        wide: bool,
        cache_line: u8,
        layout: Layout,
    ) -> Self {
        let program = shipped.program(wide, cache_line);
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
        board.set_all(0x44, &(layout.hscbs as u32).to_le_bytes());
        board.set_all(0x48, &(layout.shared as u32).to_le_bytes());
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
        board.poke(layout.shared, &[0xff; 512]);
        let next = layout.order[0];
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
        let free = layout.order[1..].iter().rev().copied().collect();
        Self {
            wide,
            layout,
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
            message_instead: Vec::new(),
            victims: Vec::new(),
            trouble: Vec::new(),
        }
    }
}

impl Driver for Linux {
    fn queue(&mut self, board: &mut Board, id: u8, cdb: &[u8], segments: &[Segment], tagged: bool) -> u8 {
        let tag = self.next;
        #[cfg(feature = "trace")]
        board.recorder.name(tag);
        let next = self.free.pop().expect("a free command block");
        let mut hscb = [0u8; 64];
        if cdb.len() <= 12 {
            hscb[..cdb.len()].copy_from_slice(cdb);
        } else {
            let at = self.layout.hscbs as u32 + 64 * u32::from(tag) + 32;
            hscb[..4].copy_from_slice(&at.to_le_bytes());
            hscb[32..32 + cdb.len()].copy_from_slice(cdb);
        }
        let list = self.layout.lists[usize::from(tag)];
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
        if !self.negotiate.is_empty() || !self.message_instead.is_empty() {
            hscb[24] |= 0x10;
        }
        hscb[25] = id << 4 | 7;
        hscb[27] = tag;
        hscb[28] = cdb.len() as u8;
        hscb[31] = next;
        board.poke(self.layout.hscbs + 64 * u64::from(tag), &hscb);
        board.poke(self.layout.shared + 256 + u64::from(self.qin), &[tag]);
        self.next = next;
        self.qin = self.qin.wrapping_add(1);
        board.set(0x4c, self.qin);
        tag
    }

    fn interrupt(&mut self, board: &mut Board) {
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

    fn done(&mut self) -> &mut Vec<(u8, End)> {
        &mut self.done
    }

    fn sense(&self, board: &Board, tag: u8) -> Vec<u8> {
        board.memory(self.layout.sense + 32 * u64::from(tag), 18)
    }
}

impl Linux {
    fn completions(&mut self, board: &mut Board) {
        loop {
            let at = self.layout.shared + u64::from(self.qout);
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
                    let hscb = board.memory(self.layout.hscbs + 64 * u64::from(tag), 32);
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
                    let at = self.layout.hscbs + 64 * u64::from(tag);
                    let mut hscb: [u8; 64] = board.memory(at, 64).try_into().unwrap();
                    hscb[..12].fill(0);
                    hscb[0] = 3;
                    hscb[4] = 18;
                    hscb[12..16]
                        .copy_from_slice(&(self.layout.sense as u32 + 32 * u32::from(tag)).to_le_bytes());
                    hscb[16..20].copy_from_slice(&(18u32 | 0x8000_0000).to_le_bytes());
                    let list = self.layout.lists[usize::from(tag)] as u32;
                    hscb[20..24].copy_from_slice(&((list + 8) | 2).to_le_bytes());
                    hscb[24] = 0;
                    hscb[28] = 6;
                    // The command moves to the block that is next in line, and leaves its own for the one after.
                    let slot = self.next;
                    (hscb[27], hscb[31]) = (slot, tag);
                    #[cfg(feature = "trace")]
                    board.recorder.name(slot);
                    board.poke(self.layout.hscbs + 64 * u64::from(slot), &hscb);
                    board.poke(self.layout.shared + 256 + u64::from(self.qin), &[slot]);
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
                if !self.message_instead.is_empty() {
                    self.message = std::mem::take(&mut self.message_instead);
                }
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
            Self::restart(board);
        } else if status & 0x08 != 0 && self.session.take().is_some() {
            // The bus is free after our message, as it should be.
            board.set(0x87, 0x06);
            assert_eq!(board.get(0x87) & 4, 4);
            let enabled = board.get(0x11);
            board.set(0x11, enabled & !0x08);
            board.set(0x0c, 0x08);
            let (page, first) = (board.get(0x90), board.get(0x41));
            let mut gone = vec![(page, board.get(0xbb))];
            // Blocks of others that wait in the list of those that disconnected.
            let (mut at, mut kept) = (first, Vec::new());
            while at != 0xff {
                board.set(0x90, at);
                let tag = board.get(0xbb);
                if self.victims.contains(&tag) {
                    gone.push((at, tag))
                } else {
                    kept.push(at)
                }
                at = board.get(0xbf);
            }
            for (n, at) in kept.iter().enumerate() {
                board.set(0x90, *at);
                board.set(0xbf, kept.get(n + 1).copied().unwrap_or(0xff));
            }
            board.set(0x41, kept.first().copied().unwrap_or(0xff));
            for (at, _) in &gone {
                board.set(0x90, *at);
                board.set(0xb8, 0);
                board.set(0xbb, 0xff);
                let free = board.get(0x42);
                board.set(0xbf, free);
                board.set(0x42, *at);
            }
            let mut tags = std::mem::take(&mut self.victims);
            tags.push(gone[0].1);
            tags.into_iter().for_each(|tag| self.end(tag, End::Aborted));
            board.set(0x92, 5);
            Self::restart(board);
        } else {
            panic!("SCSI interrupt {status:02x}");
        }
    }

    /// The program begins anew at its first instruction.
    fn restart(board: &mut Board) {
        board.set(0x03, 0);
        board.set(0x00, 0x12);
        board.set(0x62, 0);
        board.set(0x63, 0);
        board.set(0x87, 0x02);
    }
}
