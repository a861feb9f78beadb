//! A board around one adapter, and drivers for it.
#![allow(dead_code, reason = "every test program uses its part")]

pub(crate) mod driver;
pub(crate) mod hand;
pub(crate) mod linux;
pub(crate) mod linux_old;
pub(crate) mod program;
pub(crate) mod queue_program;
#[cfg(feature = "trace")]
pub(crate) mod record;

use slotone_aic7870::{Aic7870, Aic7870Config};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, Completion, DiskClient, perform};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{At, Device, TestPort, WindowId};
use slotone_scsi::{Disk, DiskConfig, Target};

/// Ports at BAR 0 and memory at BAR 1 by their window numbers.
pub(crate) const CONFIG: WindowId = WindowId(0);
pub(crate) const PORTS: WindowId = WindowId(1);
pub(crate) const MEMORY: WindowId = WindowId(2);

pub(crate) type Media = Vec<Option<Box<dyn BlockBackend>>>;

/// An adapter, its memory, its media, and virtual time.
pub(crate) struct Board {
    pub(crate) aic: Aic7870,
    pub(crate) port: TestPort,
    pub(crate) media: Media,
    pub(crate) now: u64,
    pub(crate) make: Box<dyn Fn() -> Aic7870>,
    /// What happens to it while a driver waits.
    pub(crate) trouble: Trouble,
    /// Its program sets PAUSEDIS: where it does, one step is several.
    pub(crate) holds: bool,
    /// Answers of slow media, and when they come.
    held: Vec<(u64, Completion)>,
    #[cfg(feature = "trace")]
    pub(crate) recorder: record::Recorder,
}

/// Numbers for tests: splitmix64.
#[derive(Debug, Clone, Default)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % n.max(1)
    }
}

/// What disturbs a sequencer while its driver waits for an interrupt.
#[derive(Debug, Clone, Default)]
pub(crate) enum Trouble {
    #[default]
    None,
    /// Another adapter takes its state and goes on, whenever the driver waits; so often with commands in flight.
    Restores(usize),
    /// It is stopped after every instruction.
    EveryInstruction,
    /// It is stopped anywhere, goes some instructions one by one, has its state saved and restored, has its registers looked at; media
    /// take up to so many nanoseconds longer than they said.
    Random(Random, u64),
}

pub(crate) fn no_targets() -> [Option<Box<dyn Target>>; 16] {
    Default::default()
}

/// Disks of 8 MiB at the given IDs, every sector with its number in it.
pub(crate) fn disks(ids: &[u8]) -> ([Option<Box<dyn Target>>; 16], Media) {
    let mut targets = no_targets();
    let mut media: Media = (0..16).map(|_| None).collect();
    for id in ids {
        let disk = MemoryDisk::new(8 << 20);
        for sector in 0..64u64 {
            let mark = (sector as u32 | u32::from(*id) << 24).to_le_bytes();
            slotone_block::write_all(&disk, sector * 512, &mark.repeat(128)).expect("in range");
        }
        targets[usize::from(*id)] = Some(Box::new(Disk::new(DiskConfig::new(disk.info()))));
        media[usize::from(*id)] = Some(Box::new(disk));
    }
    (targets, media)
}

impl Board {
    pub(crate) fn new(config: Aic7870Config, ids: &[u8]) -> Self {
        let ids_ = ids.to_vec();
        let make = move || Aic7870::new(config, disks(&ids_).0);
        let mut this = Self {
            aic: make(),
            port: TestPort::new(8 << 20),
            media: disks(ids).1,
            now: 0,
            make: Box::new(make),
            trouble: Trouble::None,
            holds: false,
            held: Vec::new(),
            #[cfg(feature = "trace")]
            recorder: record::Recorder::default(),
        };
        #[cfg(feature = "trace")]
        this.recorder.listen(&mut this.aic);
        #[cfg(feature = "trace")]
        if let Ok(what) = std::env::var("AIC_TRACE") {
            this.aic.set_trace(|line| eprintln!("{line}"), what == "all");
        }
        // What a BIOS does: bases, then I/O, memory and bus master.
        this.config_write(0x10, &0xd001u32.to_le_bytes());
        this.config_write(0x14, &0xfeb0_0000u32.to_le_bytes());
        this.config_write(0x04, &[7, 1]);
        this
    }

    pub(crate) fn config_write(&mut self, offset: u64, data: &[u8]) {
        let aic = &mut self.aic;
        self.port.at(self.now, |cx| aic.write(cx, At { window: CONFIG, offset }, data));
    }

    pub(crate) fn config_read(&mut self, offset: u64) -> u32 {
        let aic = &mut self.aic;
        let mut data = [0; 4];
        self.port.at(self.now, |cx| aic.read(cx, At { window: CONFIG, offset }, &mut data));
        u32::from_le_bytes(data)
    }

    pub(crate) fn get(&mut self, register: u8) -> u8 {
        self.advance(50);
        let aic = &mut self.aic;
        let mut data = [0];
        self.port.at(self.now, |cx| aic.read(cx, At { window: MEMORY, offset: register.into() }, &mut data));
        self.carry();
        data[0]
    }

    pub(crate) fn set(&mut self, register: u8, value: u8) {
        self.advance(50);
        let aic = &mut self.aic;
        self.port.at(self.now, |cx| aic.write(cx, At { window: MEMORY, offset: register.into() }, &[value]));
        self.carry();
    }

    pub(crate) fn set_all(&mut self, register: u8, values: &[u8]) {
        for (at, value) in (register..).zip(values) {
            self.set(at, *value);
        }
    }

    pub(crate) fn get_all(&mut self, register: u8, n: u8) -> Vec<u8> {
        (register..register + n).map(|at| self.get(at)).collect()
    }

    pub(crate) fn line(&self) -> bool {
        self.aic.levels().get(Aic7870::INTA)
    }

    fn carry(&mut self) {
        while let Some(request) = self.aic.next_request() {
            let medium = self.media[usize::from(request.unit)].as_deref();
            let done = perform(medium, request);
            match &mut self.trouble {
                Trouble::Random(random, most) if *most > 0 => {
                    self.held.push((self.now + random.below(*most), done));
                }
                _ => self.aic.complete(done),
            }
        }
        let now = self.now;
        for (_, done) in self.held.extract_if(.., |(at, _)| *at <= now) {
            self.aic.complete(done);
        }
    }

    /// Answers of media that have not come yet.
    pub(crate) fn held(&self) -> usize {
        self.held.len()
    }

    /// Lets `nanos` pass.
    pub(crate) fn advance(&mut self, nanos: u64) {
        let end = self.now + nanos;
        while let Some(due) = self.aic.next_deadline()
            && due.as_nanos() <= end
        {
            self.now = self.now.max(due.as_nanos());
            let aic = &mut self.aic;
            self.port.at(self.now, |cx| aic.tick(cx));
            assert_ne!(self.aic.next_deadline(), Some(due), "a tick moves the deadline");
            self.carry();
        }
        self.now = end;
    }

    /// Lets time pass until the pin rises.
    pub(crate) fn wait(&mut self) {
        for _ in 0..1_000_000 {
            if self.line() {
                return;
            }
            self.disturb();
            if self.line() {
                return;
            }
            if matches!(self.trouble, Trouble::EveryInstruction) {
                continue;
            }
            let held = self.held.iter().map(|(at, _)| *at).min();
            match (self.aic.next_deadline().map(|due| due.as_nanos()), held) {
                (None, None) => panic!("nothing will ever happen again"),
                (due, held) => {
                    let next = due.into_iter().chain(held).min().expect("one of them");
                    self.advance(next.saturating_sub(self.now).max(1));
                    self.carry();
                }
            }
        }
        panic!("no interrupt");
    }

    /// No trouble any more.
    pub(crate) fn be_quiet(&mut self) {
        self.trouble = Trouble::None;
        let control = self.get(0x60);
        self.set(0x60, control & !0x04);
        self.set(0x87, 0x02);
    }

    /// The sequencer is stopped by an interrupt, and its driver will start it again.
    fn stopped(&mut self) -> bool {
        self.get(0x91) & 0x0d != 0
    }

    /// One of the things that must not matter.
    pub(crate) fn disturb(&mut self) {
        let Trouble::Random(random, _) = &mut self.trouble else {
            let in_flight = self.aic.commands_in_flight() > 0;
            match &mut self.trouble {
                Trouble::EveryInstruction => self.step(),
                Trouble::Restores(n) => {
                    *n += usize::from(in_flight);
                    self.save_restore();
                }
                _ => {}
            }
            return;
        };
        let (kind, amount) = (random.below(16), random.below(4_000));
        match kind {
            0..=3 => self.advance(amount),
            4..=6 => {
                self.set(0x87, 0x06);
                for _ in 0..100 {
                    if !self.holds || self.get(0x87) & 4 != 0 {
                        break;
                    }
                    self.advance(1_000);
                }
                assert_eq!(self.get(0x87) & 4, 4);
                self.advance(amount);
                if !self.stopped() {
                    self.set(0x87, 0x02);
                }
            }
            7..=10 => self.steps(amount / 50),
            11 => self.save_restore(),
            12 => {
                let register =
                    [0x00, 0x03, 0x0b, 0x0c, 0x12, 0x62, 0x64, 0x93, 0x94, 0xa0][amount as usize % 10];
                self.get(register);
            }
            _ => {}
        }
    }

    /// One instruction, unless an interrupt stopped it; nothing runs before the next call.
    fn step(&mut self) {
        let control = self.get(0x60);
        if control & 0x04 == 0 {
            self.set(0x87, 0x06);
            self.set(0x60, control | 0x04);
        }
        if !self.stopped() {
            self.step_from_pause();
        }
    }

    fn step_from_pause(&mut self) {
        let before = self.aic.instructions();
        self.set(0x87, 0x02);
        self.advance(1_200);
        // It may be a slice of work ahead of the machine's time.
        for _ in 0..60 {
            if self.get(0x87) & 4 != 0 {
                break;
            }
            self.advance(1_000);
        }
        assert_eq!(self.get(0x87) & 4, 4);
        let ran = self.aic.instructions() - before;
        assert!(ran == 1 || self.holds && ran < 10, "one instruction, not {ran}");
    }

    /// Goes `n` instructions one by one, unless an interrupt stops them.
    fn steps(&mut self, n: u64) {
        self.set(0x87, 0x06);
        let control = self.get(0x60);
        self.set(0x60, control | 0x04);
        for _ in 0..n {
            if self.stopped() {
                break;
            }
            self.step_from_pause();
        }
        let control = self.get(0x60);
        self.set(0x60, control & !0x04);
        if !self.stopped() {
            self.set(0x87, 0x02);
        }
    }

    /// Nothing is due any more.
    pub(crate) fn idle(&mut self) {
        for _ in 0..1_000_000 {
            match self.aic.next_deadline() {
                Some(due) => self.advance(due.as_nanos().saturating_sub(self.now).max(1)),
                None => return,
            }
        }
        panic!("it never comes to rest");
    }

    pub(crate) fn saved(&self) -> Vec<u8> {
        let mut w = StateWriter::new();
        self.aic.save(&mut w);
        w.into_bytes()
    }

    /// Goes on with another adapter that takes the state of this one.
    pub(crate) fn save_restore(&mut self) {
        let bytes = self.saved();
        let mut other = (self.make)();
        other.restore(&mut StateReader::new(&bytes)).expect("its own state");
        #[cfg(feature = "trace")]
        self.recorder.listen(&mut other);
        self.aic = other;
        assert!(self.saved() == bytes, "what was restored is saved as it was");
        // What was on its way to the old one is lost; the new one asks again.
        self.held.clear();
        self.carry();
    }

    /// Loads a program and starts it at address 0.
    pub(crate) fn load(&mut self, program: &[u32]) {
        self.set(0x87, 0x04);
        self.set(0x60, 0xb1);
        self.set(0x62, 0);
        self.set(0x63, 0);
        for word in program {
            for byte in word.to_le_bytes() {
                self.set(0x61, byte);
            }
        }
        self.set(0x60, 0xb0);
        self.set(0x62, 0);
        self.set(0x63, 0);
    }

    pub(crate) fn memory(&self, address: u64, len: usize) -> Vec<u8> {
        self.port.ram.slice(address, len).expect("in memory").to_vec()
    }

    pub(crate) fn poke(&mut self, address: u64, data: &[u8]) {
        self.port.ram.write(address, data).expect("in memory");
    }
}
