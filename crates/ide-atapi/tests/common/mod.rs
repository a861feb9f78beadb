//! A machine around the controller, as far as a driver needs one: ports found by the device's windows, media, virtual time, and the
//! interrupt lines.
#![allow(dead_code, reason = "every test file uses its part of it")]

use std::collections::BTreeMap;

use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, DiskClient, MediumInfo, perform};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_bus::{At, Device, Pin, PinLevels, Space, TestPort};
use slotone_ide_atapi::{CdConfig, DiskConfig, Drive, IRQ14, IRQ15, PciIde, Timing};

pub(crate) const BMIBA: u16 = 0xffa0;

pub(crate) struct Machine {
    pub(crate) ide: PciIde,
    pub(crate) port: TestPort,
    pub(crate) media: BTreeMap<u8, Box<dyn BlockBackend>>,
    pub(crate) now: u64,
    /// Rising edges seen on IRQ14 and IRQ15.
    pub(crate) edges: [u32; 2],
    pub(crate) levels: PinLevels,
    /// Before every access the controller is saved, and a new one goes on in its place.
    pub(crate) churn: bool,
    drives: [Option<Drive>; 4],
    timing: Timing,
    /// Requests carried: (unit, offset, bytes).
    pub(crate) requests: Vec<(u8, u64, u64)>,
}

/// Sector n begins with n and goes on with a pattern of its own.
pub(crate) fn pattern(sectors: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for n in 0..sectors {
        bytes.extend(n.to_le_bytes());
        bytes.extend((4..512u32).map(|i| (i.wrapping_mul(7) ^ n.wrapping_mul(31)) as u8));
    }
    bytes
}

pub(crate) fn info(capacity: u64) -> MediumInfo {
    MemoryDisk::new(capacity).info().clone()
}

pub(crate) fn disk(info: &MediumInfo) -> Drive {
    Drive::disk(DiskConfig { serial: "SN-1".into(), ..DiskConfig::new(info.clone()) })
}

pub(crate) fn cdrom(info: Option<&MediumInfo>) -> Drive {
    Drive::cdrom(CdConfig { medium: info.cloned(), ..CdConfig::default() })
}

impl Machine {
    pub(crate) fn new(drives: [Option<Drive>; 4], timing: Timing) -> Self {
        let mut this = Self {
            ide: PciIde::new(drives.clone(), timing),
            churn: false,
            drives,
            timing,
            port: TestPort::new(1 << 20),
            media: BTreeMap::new(),
            now: 1_000,
            edges: [0; 2],
            levels: PinLevels::default(),
            requests: Vec::new(),
        };
        // What POST does.
        this.config_write(0x04, &[5, 0]);
        this.config_write(0x20, &u32::from(BMIBA).to_le_bytes());
        this
    }

    /// A disk of `sectors` with [`pattern`] at unit 0, and a CD of as many bytes at unit 2.
    pub(crate) fn usual(sectors: u32) -> Self {
        let medium = MemoryDisk::from_bytes(&pattern(sectors));
        let cd = MemoryDisk::from_bytes(&pattern(sectors)).read_only();
        let drives = [Some(disk(medium.info())), None, Some(cdrom(Some(cd.info()))), None];
        let mut this = Self::new(drives, Timing::default());
        this.media.insert(0, Box::new(medium));
        this.media.insert(2, Box::new(cd));
        this
    }

    /// The disk of [`Machine::usual`].
    pub(crate) fn usual_disk(sectors: u64) -> Option<Drive> {
        Some(disk(&info(sectors * 512)))
    }

    fn find(&self, port: u16) -> Option<At> {
        let hit = |w: &&slotone_bus::Window| {
            w.space == Space::Io && (w.base..w.base + w.len).contains(&u64::from(port))
        };
        let window = self.ide.windows().1.iter().find(hit)?;
        Some(At { window: window.id, offset: u64::from(port) - window.base })
    }

    pub(crate) fn config_write(&mut self, offset: u64, data: &[u8]) {
        let at = At { window: self.ide.windows().1[0].id, offset };
        let ide = &mut self.ide;
        self.port.at(self.now, |cx| ide.write(cx, at, data));
        self.after();
    }

    pub(crate) fn config_read(&mut self, offset: u64) -> u32 {
        let at = At { window: self.ide.windows().1[0].id, offset };
        let (ide, mut data) = (&mut self.ide, [0; 4]);
        self.port.at(self.now, |cx| ide.read(cx, at, &mut data));
        u32::from_le_bytes(data)
    }

    fn maybe_replace(&mut self) {
        if self.churn {
            let saved = self.save();
            self.ide = PciIde::new(self.drives.clone(), self.timing);
            self.restore(&saved);
            assert!(self.save() == saved, "a restored controller saves as what it was");
        }
    }

    /// Logs lines, and carries requests as a machine without I/O threads does.
    pub(crate) fn after(&mut self) {
        for (pin, level) in self.port.take_lines() {
            if level && !self.levels.get(pin) {
                self.edges[usize::from(pin == IRQ15)] += 1;
            }
            self.levels = self.levels.with(pin, level);
        }
        assert_eq!(self.levels, self.ide.levels(), "the log of lines and the levels agree");
        while let Some(request) = self.ide.next_request() {
            let len = request.data.len() as u64;
            self.requests.push((request.unit, request.offset, len));
            let medium = self.media.get(&request.unit).map(|m| &**m);
            self.ide.complete(perform(medium, request));
        }
    }

    /// Ticks everything that is due by now.
    pub(crate) fn settle(&mut self) {
        let mut last = None;
        while let Some(due) = self.ide.next_deadline().filter(|d| d.as_nanos() <= self.now) {
            assert!(last.replace(due) < Some(due) || last.is_none(), "time stands still");
            let ide = &mut self.ide;
            self.port.at(self.now, |cx| ide.tick(cx));
            self.after();
            last = Some(due);
        }
    }

    pub(crate) fn input(&mut self, port: u16, data: &mut [u8]) {
        self.now += 100;
        self.settle();
        self.maybe_replace();
        data.fill(0xff);
        if let Some(at) = self.find(port) {
            let ide = &mut self.ide;
            self.port.at(self.now, |cx| ide.read(cx, at, data));
        }
        self.after();
    }

    pub(crate) fn output(&mut self, port: u16, data: &[u8]) {
        self.now += 100;
        self.settle();
        self.maybe_replace();
        if let Some(at) = self.find(port) {
            let ide = &mut self.ide;
            self.port.at(self.now, |cx| ide.write(cx, at, data));
        }
        self.after();
    }

    pub(crate) fn inb(&mut self, port: u16) -> u8 {
        let mut data = [0];
        self.input(port, &mut data);
        data[0]
    }

    pub(crate) fn outb(&mut self, port: u16, value: u8) {
        self.output(port, &[value]);
    }

    pub(crate) fn outl(&mut self, port: u16, value: u32) {
        self.output(port, &value.to_le_bytes());
    }

    /// REP INS / REP OUTS of elements of `width`.
    pub(crate) fn ins(&mut self, port: u16, width: usize, data: &mut [u8]) {
        let mut done = 0;
        while done < data.len() {
            self.settle();
            self.maybe_replace();
            let Some(at) = self.find(port) else { return };
            let ide = &mut self.ide;
            let n = self.port.at(self.now, |cx| ide.read_burst(cx, at, width, &mut data[done..]));
            assert!(n >= width && n.is_multiple_of(width), "a burst makes progress");
            done += n;
            self.after();
        }
    }

    pub(crate) fn outs(&mut self, port: u16, width: usize, data: &[u8]) {
        let mut done = 0;
        while done < data.len() {
            self.settle();
            self.maybe_replace();
            let Some(at) = self.find(port) else { return };
            let ide = &mut self.ide;
            let n = self.port.at(self.now, |cx| ide.write_burst(cx, at, width, &data[done..]));
            assert!(n >= width && n.is_multiple_of(width), "a burst makes progress");
            done += n;
            self.after();
        }
    }

    /// HLT until the channel's interrupt is asserted.
    pub(crate) fn wait_irq(&mut self, channel: usize) {
        let pin = [IRQ14, IRQ15][channel];
        for _ in 0..10_000 {
            if self.levels.get(pin) {
                return;
            }
            let due = self.ide.next_deadline().expect("an interrupt that never comes").as_nanos();
            self.maybe_replace();
            self.now = self.now.max(due);
            self.settle();
        }
        panic!("no interrupt");
    }

    /// Runs until nothing is due.
    pub(crate) fn idle(&mut self) {
        for _ in 0..10_000 {
            let Some(due) = self.ide.next_deadline() else { return };
            self.now = self.now.max(due.as_nanos());
            self.settle();
        }
        panic!("never idle");
    }

    /// Polls until BSY is clear; returns the status.
    pub(crate) fn poll(&mut self, base: u16) -> u8 {
        for _ in 0..100_000 {
            let status = self.inb(base + 7);
            if status & 0x80 == 0 {
                return status;
            }
        }
        panic!("busy for ever");
    }

    pub(crate) fn taskfile(&mut self, base: u16, device: u8, count: u8, lba: u32) {
        let [_, high, mid, low] = lba.to_be_bytes();
        let top = (lba >> 24) as u8 & 0x0f;
        for (register, value) in [(6, device | top), (2, count), (3, low), (4, mid), (5, high)] {
            self.outb(base + register, value);
        }
    }

    pub(crate) fn save(&self) -> Vec<u8> {
        let mut w = StateWriter::new();
        self.ide.save(&mut w);
        w.into_bytes()
    }

    pub(crate) fn restore(&mut self, bytes: &[u8]) {
        self.ide.restore(&mut StateReader::new(bytes)).expect("our own state");
        assert_eq!(self.ide.levels(), self.levels, "levels are restored");
        self.after();
    }

    /// A PRD table at `table` for `regions` of (address, bytes).
    pub(crate) fn prd(&mut self, table: u32, regions: &[(u32, u32)]) {
        let mut bytes = Vec::new();
        for (n, (address, len)) in regions.iter().enumerate() {
            bytes.extend(address.to_le_bytes());
            bytes.extend((*len as u16).to_le_bytes());
            bytes.extend([0, if n + 1 == regions.len() { 0x80 } else { 0 }]);
        }
        self.port.ram.write(u64::from(table), &bytes).unwrap();
    }

    pub(crate) fn ram(&self, address: u64, len: usize) -> Vec<u8> {
        self.port.ram.slice(address, len).unwrap().to_vec()
    }
}

pub(crate) fn pin(channel: usize) -> Pin {
    [IRQ14, IRQ15][channel]
}
