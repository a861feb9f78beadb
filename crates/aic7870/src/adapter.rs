//! The register file, interrupts, and the order in which things happen.

use slotone_bus::{Cx, VmInstant};
use slotone_scsi::Target;

use crate::INTA;
use crate::device::Aic7870Config;
use crate::registers::{
    self as r, dfcntrl, dfstatus, hcntrl, intstat, scsiseq, seectl, seqctl, sstat0, sstat1, sxfrctl0,
    sxfrctl1,
};
use crate::sequencer::{CLASSES, Class, Instruction, LoopFinder};
use crate::state::{FIFO, PROGRAM, State};

/// Virtual time that one slice of work may take, in nanoseconds: 512 instructions.
pub(crate) const SLICE: u64 = 51_200;
/// From an access that wakes the sequencer to its next instruction.
const WAKE: u64 = 1_000;

/// Who accesses a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    Host,
    Sequencer,
}

/// The adapter without its PCI function.
pub(crate) struct Adapter {
    // Wiring.
    pub(crate) config: Aic7870Config,
    pub(crate) targets: [Option<Box<dyn Target>>; 16],
    pub(crate) s: State,
    // What follows from configuration space.
    pub(crate) master: bool,
    pub(crate) pci_id: [u8; 4],
    pub(crate) pci_low: u8,
    pub(crate) latency_timer: u8,
    /// A DMA access that nobody answered.
    pub(crate) master_abort: bool,
    // Derived from the state.
    pub(crate) program: Box<[Instruction; PROGRAM]>,
    // Book-keeping.
    /// What a machine knows a request by is this more than its number in the state.
    pub(crate) request_base: u64,
    /// Grows with every change that the sequencer's program could notice.
    pub(crate) version: u64,
    pub(crate) attention: bool,
    pub(crate) loops: LoopFinder,
    pub(crate) next_event: Option<Option<VmInstant>>,
    /// Buffers that were used before.
    pub(crate) spare: Vec<Vec<u8>>,
    pub(crate) instructions: u64,
    pub(crate) counters: Counters,
    #[cfg(feature = "trace")]
    pub(crate) trace: Option<crate::trace::Sink>,
    #[cfg(feature = "trace")]
    pub(crate) trace_sequencer: bool,
    #[cfg(feature = "trace")]
    pub(crate) bus_trace: Option<crate::trace::BusSink>,
}

/// For people.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counters {
    pub(crate) commands: u64,
    pub(crate) check_conditions: u64,
    pub(crate) disconnects: u64,
    pub(crate) bytes_in: u64,
    pub(crate) bytes_out: u64,
    pub(crate) medium_errors: u64,
    pub(crate) dma_faults: u64,
    pub(crate) bus_resets: u64,
    pub(crate) selection_timeouts: u64,
}

impl Adapter {
    pub(crate) fn new(config: Aic7870Config, targets: [Option<Box<dyn Target>>; 16]) -> Self {
        let s = State::new(config.id, config.wide);
        let program = Box::new([Instruction::default(); PROGRAM]);
        let mut this = Self {
            config,
            targets,
            s,
            master: false,
            pci_id: [0; 4],
            pci_low: 0,
            latency_timer: 0,
            master_abort: false,
            request_base: 0,
            program,
            version: 1,
            attention: false,
            loops: LoopFinder::default(),
            next_event: None,
            spare: Vec::new(),
            instructions: 0,
            counters: Counters::default(),
            #[cfg(feature = "trace")]
            trace: None,
            #[cfg(feature = "trace")]
            trace_sequencer: false,
            #[cfg(feature = "trace")]
            bus_trace: None,
        };
        this.s.random = this.config.latency.seed;
        this.decode_all();
        this
    }

    /// Another state, after which requests that are out are nobody's any more.
    pub(crate) fn replace(&mut self, state: State) {
        self.request_base = self.request_base.wrapping_add(self.s.next_id);
        self.s = state;
        self.decode_all();
    }

    /// Everything that follows from the state is made anew.
    fn decode_all(&mut self) {
        for (instruction, word) in self.program.iter_mut().zip(&self.s.ram) {
            *instruction = Instruction::decode(*word);
        }
        self.next_event = None;
        self.version += 1;
    }

    #[inline]
    pub(crate) fn file(&self, address: u8) -> u8 {
        self.s.file[usize::from(address)]
    }

    #[inline]
    pub(crate) fn set_file(&mut self, address: u8, value: u8) {
        self.s.file[usize::from(address)] = value;
    }

    /// Something changed that a waiting program could notice.
    pub(crate) fn touch(&mut self) {
        self.version += 1;
        self.s.parked = false;
    }

    /// Deadlines changed.
    pub(crate) fn reschedule(&mut self) {
        self.next_event = None;
        self.attention = true;
    }

    // Time.

    /// A call from outside comes in at `now`.
    pub(crate) fn enter(&mut self, now: VmInstant) {
        self.s.time = self.s.time.max(now);
    }

    /// A call from outside ends: when does the sequencer go on?
    pub(crate) fn leave(&mut self) {
        if self.s.running() && !self.s.parked {
            let at = self.s.time + WAKE;
            self.s.run_at.get_or_insert(at);
        } else {
            self.s.run_at = None;
        }
    }

    /// When it wants to be ticked.
    pub(crate) fn next_deadline(&self) -> Option<VmInstant> {
        let event = self.next_event.unwrap_or_else(|| self.earliest_event());
        match (self.s.run_at, event) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    /// A slice of work.
    pub(crate) fn tick(&mut self, cx: &mut Cx<'_>) {
        self.enter(cx.now());
        self.forget_loops();
        // From the machine's time, not the adapter's: a late medium's answer must not run it further ahead.
        let end = cx.now() + SLICE;
        self.s.run_at = None;
        loop {
            let event = match self.next_event {
                Some(event) => event,
                None => *self.next_event.insert(self.earliest_event()),
            };
            if let Some(due) = event
                && due <= self.s.time
            {
                self.next_event = None;
                self.event(cx);
                continue;
            }
            if self.s.time >= end {
                break;
            }
            let limit = event.map_or(end, |due| due.min(end));
            if self.s.running() && !self.s.parked {
                self.execute(cx, limit.as_nanos());
            } else if event.is_some() && limit < end {
                self.s.time = limit;
            } else {
                break;
            }
        }
        if self.s.running() && !self.s.parked {
            self.s.run_at = Some(self.s.time);
        }
    }

    // Interrupts.

    /// An interrupt stops the sequencer.
    pub(crate) fn force_pause(&mut self) {
        let pause = self.file(r::HCNTRL) | hcntrl::PAUSE;
        self.set_file(r::HCNTRL, pause);
        self.s.forced = true;
        self.attention = true;
    }

    pub(crate) fn sstat0(&self) -> u8 {
        let wraps = self.file(r::SXFRCTL1) & sxfrctl1::SWRAPEN != 0;
        let mut value = self.s.sstat0;
        if self.s.stcnt == 0 && !wraps {
            value |= sstat0::SDONE;
            if self.s.hcnt == 0 {
                value |= sstat0::DMADONE;
            }
        } else if value & sstat0::SPIORDY != 0 {
            value |= sstat0::SDONE; // and nothing about DMA
        }
        value
    }

    #[inline]
    pub(crate) fn sstat1(&self) -> u8 {
        let mismatch = self.s.sstat1 & sstat1::REQINIT != 0
            && self.s.link.as_ref().is_some_and(|l| l.phase != self.s.sigo & 0xe0);
        self.s.sstat1 | if mismatch { sstat1::PHASEMIS } else { 0 }
    }

    #[inline]
    fn cause(&self) -> bool {
        let (mode0, mode1) = (self.file(r::SIMODE0), self.file(r::SIMODE1));
        mode0 != 0 && self.sstat0() & mode0 != 0 || self.sstat1() & mode1 != 0
    }

    #[inline]
    fn pin(&self) -> bool {
        let control = self.file(r::HCNTRL);
        let brkadrinten = self.file(r::SEQCTL) & seqctl::BRKADRINTEN != 0;
        let cause = self.s.intstat & (intstat::CMDCMPLT | intstat::SEQINT) != 0
            || self.s.scsiint
            || self.s.intstat & intstat::BRKADRINT != 0 && (brkadrinten || self.s.error != 0)
            || control & hcntrl::SWINT != 0;
        control & (hcntrl::INTEN | hcntrl::POWRDN) == hcntrl::INTEN && self.master && cause
    }

    /// Brings SCSIINT and the pin up to date; a new SCSIINT stops the sequencer.
    #[inline]
    pub(crate) fn update_interrupts(&mut self, cx: &mut Cx<'_>) {
        let cause = self.cause();
        if cause && !self.s.scsiint {
            let control = self.file(r::SEQCTL) & !seqctl::PAUSEDIS;
            self.set_file(r::SEQCTL, control);
            self.force_pause();
        }
        self.s.scsiint = cause;
        let pin = self.pin();
        if pin != self.s.inta {
            self.s.inta = pin;
            cx.line(INTA, pin);
        }
    }

    // Registers.

    pub(crate) fn read_register(&mut self, cx: &mut Cx<'_>, address: u8, who: Who) -> u8 {
        match address {
            r::SXFRCTL0 => self.file(address) & !(sxfrctl0::CLRSTCNT | sxfrctl0::CLRCHN | 1),
            r::SCSISIG => self.signals(),
            r::SCSIDATL => self.read_latch(cx),
            r::STCNT0..=r::STCNT2 => self.s.stcnt.to_le_bytes()[usize::from(address - r::STCNT0)],
            r::SSTAT0 => self.sstat0(),
            r::SSTAT1 => self.sstat1(),
            r::SSTAT2 | r::SSTAT3 | r::SELTIMER | r::SCSIBUSH => 0,
            r::SCSIBUSL => self.s.bus_data,
            r::SHADDR0..=r::SHADDR3 => self.s.shaddr.to_le_bytes()[usize::from(address - r::SHADDR0)],
            r::SEECTL => {
                let value = self.file(address);
                let granted = if value & seectl::SEEMS != 0 { seectl::SEERDY } else { 0 };
                let external = if value & seectl::EXTARBREQ != 0 { seectl::EXTARBACK } else { 0 };
                value | granted | external | u8::from(self.s.seeprom.data_out())
            }
            r::BRDCTL => self.read_board(),
            // Not RAM on this chip.
            0x1b | 0x70..=0x7f | 0xc0..=0xff => 0,
            r::SEQRAM => self.read_program(),
            r::SEQADDR0 => self.s.pc as u8,
            r::SEQADDR1 => (self.s.pc >> 8) as u8,
            r::FLAGS => u8::from(self.s.zero) << 1 | u8::from(self.s.carry),
            r::SINDIR | r::DINDIR if who == Who::Host => 0,
            r::SINDIR => self.load_indirect(cx),
            r::DINDIR => 0,
            r::FUNCTION1 => 1 << (self.file(address) >> 4 & 7),
            r::STACK => self.read_stack(),
            r::PCIID0..=r::PCIID3 => self.pci_id[usize::from(address - r::PCIID0)],
            r::DSCOMMAND0 => self.file(address) & 0xf0 | self.pci_low,
            r::DSCOMMAND1 => self.file(address) & 3 | self.latency_timer & 0xfc,
            r::DSPCISTATUS => self.file(address) & 0xc0,
            r::HCNTRL => {
                let value = self.file(address) & !hcntrl::PAUSE;
                value | if self.s.running() { 0 } else { hcntrl::PAUSE }
            }
            r::HADDR0 if self.high_address() => (self.s.haddr >> 32) as u8,
            r::HADDR0..=r::HADDR3 => self.s.haddr.to_le_bytes()[usize::from(address - r::HADDR0)],
            r::HCNT0..=r::HCNT2 => self.s.hcnt.to_le_bytes()[usize::from(address - r::HCNT0)],
            r::INTSTAT => self.s.intstat | if self.s.scsiint { intstat::SCSIINT } else { 0 },
            r::ERROR => self.s.error,
            r::DFCNTRL => self.file(address) & !(dfcntrl::FIFORESET | dfcntrl::FIFOFLUSH),
            r::DFSTATUS => self.fifo_status(),
            r::DFDAT => self.read_fifo(cx),
            r::QINFIFO => self.s.qin.pop_front().inspect(|_| self.touch()).unwrap_or(0),
            r::QINCNT => self.s.qin.len() as u8,
            r::QOUTFIFO => self.s.qout.pop_front().inspect(|_| self.touch()).unwrap_or(0xff),
            r::QOUTCNT => self.s.qout.len() as u8,
            r::SCBCNT => self.file(address) & 0x9f,
            _ => self.file(address),
        }
    }

    /// DFDAT.
    #[inline]
    pub(crate) fn read_fifo(&mut self, cx: &mut Cx<'_>) -> u8 {
        self.touch();
        let byte = self.s.fifo.pop_front().unwrap_or(0);
        if self.may_move() {
            self.settle(cx);
        }
        byte
    }

    /// Any register, the window included; host accesses count SCBCNT up.
    pub(crate) fn read_any(&mut self, cx: &mut Cx<'_>, address: u8, who: Who) -> u8 {
        match address {
            0xa0..=0xbf => {
                let at = self.window_address(address, who);
                self.file(at)
            }
            address => self.read_register(cx, address, who),
        }
    }

    pub(crate) fn write_any(&mut self, cx: &mut Cx<'_>, address: u8, value: u8, who: Who) {
        match address {
            0xa0..=0xbf => {
                let at = self.window_address(address, who);
                if self.file(at) != value {
                    self.touch();
                }
                self.set_file(at, value);
            }
            address => self.write_register(cx, address, value, who),
        }
    }

    fn window_address(&mut self, address: u8, who: Who) -> u8 {
        let count = self.file(r::SCBCNT);
        if who == Who::Sequencer || count & 0x80 == 0 {
            return address;
        }
        self.set_file(r::SCBCNT, 0x80 | count.wrapping_add(1) & 0x1f);
        r::SCB + (count & 0x1f)
    }

    /// Host address and count, SCSI count.
    #[inline]
    pub(crate) fn write_count(&mut self, cx: &mut Cx<'_>, address: u8, value: u8) {
        self.touch();
        match address {
            r::STCNT0..=r::STCNT2 => set_byte(&mut self.s.stcnt, address - r::STCNT0, value),
            r::HADDR0 if self.high_address() => {
                self.s.haddr = self.s.haddr & 0xffff_ffff | u64::from(value) << 32;
            }
            r::HADDR0..=r::HADDR3 => {
                let mut low = self.s.haddr as u32;
                set_byte(&mut low, address - r::HADDR0, value);
                self.s.haddr = self.s.haddr & !0xffff_ffff | u64::from(low);
                set_byte(&mut self.s.shaddr, address - r::HADDR0, value);
            }
            r::HCNT0..=r::HCNT2 => set_byte(&mut self.s.hcnt, address - r::HCNT0, value),
            _ => {}
        }
        // Nothing follows from a count or an address while nothing moves, but for what the levels of SSTAT0 may interrupt for.
        if self.may_move() || self.file(r::SIMODE0) != 0 {
            self.settle(cx);
        }
    }

    pub(crate) fn write_register(&mut self, cx: &mut Cx<'_>, address: u8, value: u8, who: Who) {
        match CLASSES[usize::from(address)] {
            Class::Constant => return,
            // A program that waits for it sees a change.
            Class::Storage | Class::Core => {
                if self.file(address) != value {
                    self.touch();
                }
                self.set_file(address, value);
                return;
            }
            Class::Count => return self.write_count(cx, address, value),
            Class::Live => {}
        }
        match address {
            r::FLAGS | r::STACK | 0x1b | 0x70..=0x83 | 0xc0..=0xff => return,
            // Loops that wait write these over and over.
            r::SXFRCTL0 if who == Who::Sequencer && value == self.file(address) && value & STROBES == 0 => {
                return;
            }
            r::SEQCTL if who == Who::Sequencer && (value ^ self.file(address)) & !seqctl::PAUSEDIS == 0 => {
                self.set_file(address, value);
                // A stop may wait for it.
                self.attention |= self.file(r::HCNTRL) & hcntrl::PAUSE != 0;
                return;
            }
            _ => {}
        }
        self.touch();
        match address {
            r::SCSISEQ => self.write_sequence(value),
            r::SXFRCTL0 => self.write_transfer_control(value),
            r::SXFRCTL1 => self.set_file(address, value),
            r::SCSISIG => self.write_signals(value),
            r::SCSIDATL => {
                self.s.latch = Some(value);
                self.s.sstat0 &= !sstat0::SPIORDY;
            }
            r::SSTAT0 => {
                let before = self.s.sstat0;
                self.s.sstat0 &= !(value & sstat0::CLEARABLE);
                if before != self.s.sstat0 {
                    self.reschedule(); // SELDO kept a selection waiting
                }
            }
            r::SSTAT1 => {
                self.s.sstat1 &= !(value & sstat1::CLEARABLE);
                if value & sstat1::ATNTARG != 0 {
                    self.set_attention(false);
                }
                if value & sstat1::SELTO != 0 {
                    self.s.selection_over = false;
                }
            }
            r::SIMODE0 | r::SIMODE1 | r::SCSIDATH | r::SLEEPCTL | r::SELID | r::SFUNCT => {
                self.set_file(address, value);
            }
            r::SEECTL => {
                self.set_file(
                    address,
                    value
                        & (seectl::EXTARBREQ | seectl::SEEMS | seectl::SEECS | seectl::SEECK | seectl::SEEDO),
                );
                let ours = value & seectl::SEEMS != 0;
                let pin = |bit| ours && value & bit != 0;
                self.s.seeprom.pins(pin(seectl::SEECS), pin(seectl::SEECK), pin(seectl::SEEDO));
            }
            r::BRDCTL => {
                // The falling strobe takes the bank, which is BRDDAT5.
                if self.file(address) & 0x18 == 0x18 && value & 0x18 == 0x08 {
                    self.s.board_bank = value & 0x20 != 0;
                }
                self.set_file(address, value);
            }
            r::SBLKCTL => {
                let strap = self.file(address) & 2;
                self.set_file(address, value & 0xe0 | strap);
            }
            r::SEQCTL => self.write_sequencer_control(value, who),
            r::SEQRAM => self.write_program(value),
            r::SEQADDR0 => self.set_pc(self.s.pc & 0x100 | u32::from(value)),
            r::SEQADDR1 => self.set_pc(self.s.pc & 0xff | u32::from(value & 1) << 8),
            r::BRKADDR0 => self.set_file(address, value),
            r::BRKADDR1 => self.set_file(address, value & 0x81),
            r::SINDIR => {}
            r::DINDIR if who == Who::Host => {}
            r::DINDIR => return self.store_indirect(cx, value),
            r::DSCOMMAND0 => self.set_file(address, value & 0xf0),
            r::DSCOMMAND1 => self.set_file(address, value & 3),
            r::DSPCISTATUS => self.set_file(address, value & 0xc0),
            r::HCNTRL => self.write_host_control(value),
            r::SCBPTR => self.s.select_page(value),
            r::INTSTAT if who == Who::Host => {}
            r::INTSTAT => self.write_interrupt_status(value),
            r::ERROR => self.clear_interrupts(value),
            r::DFCNTRL => self.write_fifo_control(value),
            r::DFWADDR0..=r::DFRADDR1 => self.set_file(address, value),
            r::DFDAT => {
                if self.s.fifo.len() < FIFO {
                    self.s.fifo.push_back(value);
                }
            }
            r::SCBCNT => self.set_file(address, value & 0x9f),
            r::QINFIFO => push(&mut self.s.qin, value),
            r::QOUTFIFO => push(&mut self.s.qout, value),
            r::FUNCTION1 => self.set_file(address, value),
            _ => return,
        }
        self.settle(cx);
    }

    fn high_address(&self) -> bool {
        self.file(r::DSCOMMAND1) & 1 != 0
    }

    fn fifo_status(&self) -> u8 {
        let held = self.s.fifo.len();
        let threshold = [24, FIFO / 2, FIFO * 3 / 4, FIFO][usize::from(self.file(r::DSPCISTATUS) >> 6)];
        let bit = |on: bool, bit| if on { bit } else { 0 };
        // Towards the bus the threshold counts room.
        let out = self.file(r::DFCNTRL) & dfcntrl::DIRECTION != 0;
        let at_threshold = held > 0 && if out { FIFO - held >= threshold } else { held >= threshold };
        bit(held == 0, dfstatus::FIFOEMP)
            | bit(held < 8, dfstatus::FIFOQWDEMP)
            | bit(held == FIFO, dfstatus::FIFOFULL)
            | bit(self.s.hcnt == 0, dfstatus::HDONE)
            | bit(at_threshold, dfstatus::DFTHRESH)
    }

    /// The board's logic behind BRDCTL: which connectors are in use, by bank.
    fn read_board(&self) -> u8 {
        const CS: u8 = 0x08;
        const RW: u8 = 0x04;
        let value = self.file(r::BRDCTL);
        if value & (CS | RW) != CS | RW {
            return value;
        }
        // Bank 0: a 50-pin cable inside, no 68-pin one. Bank 1: nothing outside, a serial EEPROM.
        let lines = if self.s.board_bank { 0xc0 } else { 0x80 };
        value & 0x3f | lines
    }

    fn read_program(&mut self) -> u8 {
        if self.file(r::SEQCTL) & seqctl::LOADRAM == 0 {
            return 0;
        }
        let byte = self.s.ram[self.s.pc as usize].to_le_bytes()[usize::from(self.s.ram_byte)];
        self.next_program_byte();
        byte
    }

    fn write_program(&mut self, value: u8) {
        if self.file(r::SEQCTL) & seqctl::LOADRAM == 0 {
            return;
        }
        let at = self.s.pc as usize;
        set_byte(&mut self.s.ram[at], self.s.ram_byte, value);
        self.program[at] = Instruction::decode(self.s.ram[at]);
        self.next_program_byte();
    }

    fn next_program_byte(&mut self) {
        self.s.ram_byte = (self.s.ram_byte + 1) & 3;
        if self.s.ram_byte == 0 {
            self.s.pc = (self.s.pc + 1) & 0x1ff;
        }
        self.version += 1;
    }

    fn set_pc(&mut self, pc: u32) {
        self.s.pc = pc & 0x1ff;
        self.s.ram_byte = 0;
    }

    /// Entries from the top down, low byte first.
    fn read_stack(&mut self) -> u8 {
        let n = self.s.stack_read;
        self.s.stack_read = (n + 1) & 7;
        self.version += 1;
        let entry = self.s.sp.wrapping_sub(1 + n / 2) & 3;
        self.s.stack[usize::from(entry)].to_le_bytes()[usize::from(n & 1)]
    }

    fn write_sequencer_control(&mut self, value: u8, who: Who) {
        let old = self.file(r::SEQCTL);
        let mut value = value;
        if who == Who::Host {
            value = value & !seqctl::PAUSEDIS | old & seqctl::PAUSEDIS;
        }
        if (value ^ old) & seqctl::LOADRAM != 0 {
            self.s.ram_byte = 0;
        }
        if value & seqctl::SEQRESET != 0 {
            self.set_pc(0);
            (self.s.stack, self.s.sp, self.s.stack_read) = ([0; 4], 0, 0);
        }
        self.set_file(r::SEQCTL, value & !seqctl::SEQRESET);
        self.attention = true;
    }

    fn write_host_control(&mut self, value: u8) {
        if value & hcntrl::CHIPRST != 0 {
            return self.reset_chip(value);
        }
        if value & hcntrl::PAUSE == 0 {
            self.s.forced = false;
        }
        self.set_file(r::HCNTRL, value & 0x5e);
        self.attention = true;
    }

    /// CHIPRST. Who is on the bus finds itself alone; commands that are disconnected stay with their targets.
    fn reset_chip(&mut self, value: u8) {
        if let Some(link) = self.s.link.take() {
            self.s.commands.retain(|task| link.task != Some(task.id));
            on_bus!(self, Free);
        }
        self.s.reset_registers(self.config.wide);
        self.set_file(r::HCNTRL, value & 0x5a | hcntrl::PAUSE | hcntrl::CHIPRST);
        self.s.free_since = self.s.time;
        // What waited for the command that is gone goes on.
        self.start_queued();
    }

    fn write_interrupt_status(&mut self, value: u8) {
        let calls = value & intstat::SEQINT != 0;
        if calls {
            self.s.intstat = self.s.intstat & 0x0f | value & 0xf0;
        }
        self.s.intstat |= value & (intstat::SEQINT | intstat::CMDCMPLT | intstat::BRKADRINT);
        if value & (intstat::SEQINT | intstat::BRKADRINT) != 0 {
            self.force_pause();
        }
    }

    /// CLRINT.
    fn clear_interrupts(&mut self, value: u8) {
        if value & 0x10 != 0 {
            self.s.error &= !r::error::SQPARERR;
        }
        self.s.intstat &= !(value & (intstat::BRKADRINT | intstat::CMDCMPLT | intstat::SEQINT));
        if value & intstat::SEQINT != 0 {
            self.s.intstat &= 0x0f;
        }
        if value & intstat::SCSIINT != 0 {
            // Comes back at once if its cause stands.
            self.s.scsiint = false;
        }
    }

    fn write_transfer_control(&mut self, value: u8) {
        let old = self.file(r::SXFRCTL0);
        if value & sxfrctl0::CLRSTCNT != 0 {
            (self.s.stcnt, self.s.shaddr) = (0, 0);
        }
        if value & sxfrctl0::CLRCHN != 0 {
            self.s.latch = None;
        }
        if value & sxfrctl0::SPIOEN == 0 {
            self.s.sstat0 &= !sstat0::SPIORDY;
        }
        self.set_file(r::SXFRCTL0, value & 0xcc);
        if value & !old & sxfrctl0::SPIOEN != 0 && self.s.link.as_ref().is_some_and(|l| l.req) {
            self.offer_pio();
        }
    }

    fn write_sequence(&mut self, value: u8) {
        let old = self.file(r::SCSISEQ);
        self.set_file(r::SCSISEQ, value);
        if value & scsiseq::SCSIRSTO != 0 {
            if old & scsiseq::SCSIRSTO == 0 {
                self.reset_bus();
            }
            self.set_file(r::SCSISEQ, value & scsiseq::SCSIRSTO);
            return;
        }
        self.s.selection_over = false;
        if value & scsiseq::ENSELO == 0 && self.s.selecting.take().is_some() {
            self.s.selected = None;
            self.s.sstat0 &= !sstat0::SELINGO;
        }
        self.reschedule();
    }
}

/// Bits of SXFRCTL0 that do something each time they are written.
const STROBES: u8 = sxfrctl0::CLRSTCNT | sxfrctl0::CLRCHN;

/// Byte `n` of `word` becomes `value`.
fn set_byte(word: &mut u32, n: u8, value: u8) {
    let shift = 8 * u32::from(n & 3);
    *word = *word & !(0xff << shift) | u32::from(value) << shift;
}

/// One of the two queues: 16 entries without external memory.
fn push(queue: &mut std::collections::VecDeque<u8>, value: u8) {
    if queue.len() < 16 {
        queue.push_back(value & 15);
    }
}
