//! A board around one adapter, and drivers for it.
#![allow(dead_code, reason = "every test program uses its part")]

pub(crate) mod linux;
pub(crate) mod program;

use slotone_aic7870::{Aic7870, Aic7870Config};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, DiskClient, perform};
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
        };
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
            self.aic.complete(done);
        }
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
            match self.aic.next_deadline() {
                Some(due) => self.advance(due.as_nanos().saturating_sub(self.now).max(1)),
                None => panic!("nothing will ever happen again"),
            }
        }
        panic!("no interrupt");
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
        self.aic = other;
        assert_eq!(self.saved(), bytes);
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
