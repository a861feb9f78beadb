//! An AIC-7870 with targets on a PCI slot: the model of the chip itself.

use slotone_aic7870::{Aic7870, Aic7870Config, Latency};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, DiskClient, perform};
use slotone_bus::{At, Device, ResetKind, Space, TestPort, Window, WindowId};
use slotone_scsi::{CdConfig, CdRom, Disk, DiskConfig, SpiFlags, Target};

const CONFIG: WindowId = WindowId(0);

/// What is at a SCSI ID.
pub(crate) enum Unit {
    Disk(MemoryDisk),
    Cd(Option<Vec<u8>>),
    /// A target of the test's own.
    Other(Box<dyn Target>),
}

pub(crate) struct Scsi {
    pub(crate) slot: u8,
    pub(crate) aic: Aic7870,
    port: TestPort,
    pub(crate) media: Vec<Option<Box<dyn BlockBackend>>>,
    now: u64,
    /// Media do not answer.
    pub(crate) dead: bool,
}

impl Scsi {
    pub(crate) fn new(slot: u8, units: Vec<(u8, Unit)>) -> Self {
        Self::with(slot, Aic7870Config::default(), units)
    }

    /// Its targets hesitate before every byte, differently for every seed.
    pub(crate) fn hesitant(slot: u8, seed: u64, units: Vec<(u8, Unit)>) -> Self {
        let latency = Latency { request: 3_000, burst: 100, seed };
        Self::with(slot, Aic7870Config { latency, ..Aic7870Config::default() }, units)
    }

    pub(crate) fn with(slot: u8, config: Aic7870Config, units: Vec<(u8, Unit)>) -> Self {
        let spi = SpiFlags { wide: false, sync: true, queueing: true };
        let mut targets: [Option<Box<dyn Target>>; 16] = Default::default();
        let mut media: Vec<Option<Box<dyn BlockBackend>>> = (0..16).map(|_| None).collect();
        for (id, unit) in units {
            let id = usize::from(id);
            targets[id] = Some(match unit {
                Unit::Disk(disk) => {
                    let target = Disk::new(DiskConfig { spi, ..DiskConfig::new(disk.info()) });
                    media[id] = Some(Box::new(disk));
                    Box::new(target)
                }
                Unit::Cd(disc) => {
                    let mut drive = CdRom::with_config(CdConfig::scsi(spi));
                    if let Some(disc) = disc {
                        let disc = MemoryDisk::from_bytes(&disc).read_only();
                        drive.insert(disc.info().capacity);
                        media[id] = Some(Box::new(disc));
                    }
                    Box::new(drive)
                }
                Unit::Other(target) => target,
            });
        }
        let mut aic = Aic7870::new(config, targets);
        aic.reset(ResetKind::Power);
        Self { slot, aic, port: TestPort::new(4096), media, now: 0, dead: false }
    }

    /// Catches up with virtual time.
    fn advance(&mut self, now: u64) {
        while let Some(due) = self.aic.next_deadline()
            && due.as_nanos() <= now
        {
            self.now = self.now.max(due.as_nanos());
            let aic = &mut self.aic;
            self.port.at(self.now, |cx| aic.tick(cx));
            self.carry();
        }
        self.now = now;
    }

    fn carry(&mut self) {
        while !self.dead
            && let Some(request) = self.aic.next_request()
        {
            let done = perform(self.media[usize::from(request.unit)].as_deref(), request);
            self.aic.complete(done);
        }
    }

    fn window(&self, port: u16) -> Option<At> {
        let (_, windows) = self.aic.windows();
        let port = u64::from(port);
        let holds = |w: &&Window| w.space == Space::Io && (w.base..w.base + w.len).contains(&port);
        windows.iter().find(holds).map(|w| At { window: w.id, offset: port - w.base })
    }

    /// Reads a port if it is one of this adapter's.
    pub(crate) fn read(&mut self, now: u64, port: u16, data: &mut [u8]) -> bool {
        self.advance(now);
        let Some(at) = self.window(port) else { return false };
        let aic = &mut self.aic;
        self.port.at(now, |cx| aic.read(cx, at, data));
        self.carry();
        true
    }

    pub(crate) fn write(&mut self, now: u64, port: u16, data: &[u8]) -> bool {
        self.advance(now);
        let Some(at) = self.window(port) else { return false };
        let aic = &mut self.aic;
        self.port.at(now, |cx| aic.write(cx, at, data));
        self.carry();
        true
    }

    pub(crate) fn config_read(&mut self, register: u64, data: &mut [u8]) {
        let aic = &mut self.aic;
        self.port.at(self.now, |cx| aic.read(cx, At { window: CONFIG, offset: register }, data));
    }

    pub(crate) fn config_write(&mut self, register: u64, data: &[u8]) {
        let aic = &mut self.aic;
        self.port.at(self.now, |cx| aic.write(cx, At { window: CONFIG, offset: register }, data));
    }

    /// A register of the chip, without a side effect on virtual time.
    pub(crate) fn register(&mut self, register: u16) -> u8 {
        let base = self.base();
        let mut data = [0];
        self.read(self.now, base + register, &mut data);
        data[0]
    }

    pub(crate) fn base(&mut self) -> u16 {
        let mut bar = [0; 4];
        self.config_read(0x10, &mut bar);
        u32::from_le_bytes(bar) as u16 & 0xFF00
    }
}
