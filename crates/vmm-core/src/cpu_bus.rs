//! The board at the CPU's pins.

use slotone_bus::cpu::{After, CpuBus, PageMap};
use slotone_bus::mem::PAGE_SIZE;
use slotone_bus::{At, Device};

use crate::board::Board;
use crate::map::Route;

impl Board {
    /// The device behind `len` ports from `port` on, if one window holds them all.
    fn one_device(&self, port: u16, len: usize, write: bool) -> Option<(u16, At)> {
        let route = self.map.io(port, write);
        let Route::Device { device, window, base } = route else { return None };
        let same = (1..len as u16).all(|i| self.map.io(port.wrapping_add(i), write) == route);
        same.then(|| (device, At { window, offset: u64::from(port) - base }))
    }

    /// Reads ports without bringing time up first: for the firmware as a bus initiator.
    pub(crate) fn port_read(&mut self, port: u16, data: &mut [u8]) {
        self.stats.io += 1;
        if port >> 3 == 0xcf8 >> 3 {
            if let Some(address) = self.config_port.read_address(port, data.len()) {
                data.copy_from_slice(&address.to_le_bytes());
                return;
            }
            if let Some(at) = self.config_port.decode(port, data.len()) {
                let function =
                    (at.bdf.bus == 0).then(|| self.map.config(at.bdf.device << 3 | at.bdf.function));
                match function.flatten() {
                    Some((device, window)) => {
                        let at = At { window, offset: u64::from(at.offset) };
                        self.read_device(device, at, data);
                    }
                    None => data.fill(0xff),
                }
                return;
            }
        }
        match self.one_device(port, data.len(), false) {
            Some((device, at)) => self.read_device(device, at, data),
            None if data.len() > 1 => {
                for (i, byte) in data.chunks_mut(1).enumerate() {
                    match self.one_device(port.wrapping_add(i as u16), 1, false) {
                        Some((device, at)) => self.read_device(device, at, byte),
                        None => byte.fill(0xff),
                    }
                }
            }
            None => data.fill(0xff),
        }
    }

    /// Writes ports without bringing time up first.
    pub(crate) fn port_write(&mut self, port: u16, data: &[u8]) {
        self.stats.io += 1;
        if self.trap_port == Some(port) {
            self.pending.trap = true;
            return;
        }
        if port >> 3 == 0xcf8 >> 3 {
            if self.config_port.write_address(port, data) {
                return;
            }
            if let Some(at) = self.config_port.decode(port, data.len()) {
                let function =
                    (at.bdf.bus == 0).then(|| self.map.config(at.bdf.device << 3 | at.bdf.function));
                if let Some((device, window)) = function.flatten() {
                    let at = At { window, offset: u64::from(at.offset) };
                    self.call(device, |d, cx| d.write(cx, at, data));
                }
                return;
            }
        }
        match self.one_device(port, data.len(), true) {
            Some((device, at)) => self.call(device, |d, cx| d.write(cx, at, data)),
            None if data.len() > 1 => {
                for (i, byte) in data.chunks(1).enumerate() {
                    if let Some((device, at)) = self.one_device(port.wrapping_add(i as u16), 1, true) {
                        self.call(device, |d, cx| d.write(cx, at, byte));
                    }
                }
            }
            None => {}
        }
    }

    /// Reads one port repeatedly; returns bytes done.
    pub(crate) fn port_read_burst(&mut self, port: u16, width: usize, data: &mut [u8]) -> usize {
        match self.one_device(port, width, false) {
            Some((device, at)) => {
                self.stats.io += 1;
                self.call(device, |d: &mut dyn Device, cx| d.read_burst(cx, at, width, data))
            }
            None => {
                let n = width.min(data.len());
                self.port_read(port, &mut data[..n]);
                n
            }
        }
    }

    /// Writes one port repeatedly; returns bytes done.
    pub(crate) fn port_write_burst(&mut self, port: u16, width: usize, data: &[u8]) -> usize {
        match self.one_device(port, width, true) {
            Some((device, at)) => {
                self.stats.io += 1;
                self.call(device, |d: &mut dyn Device, cx| d.write_burst(cx, at, width, data))
            }
            None => {
                let n = width.min(data.len());
                self.port_write(port, &data[..n]);
                n
            }
        }
    }
}

impl CpuBus for Board {
    fn io_read(&mut self, retired: u64, port: u16, data: &mut [u8]) {
        self.sync(retired);
        self.port_read(port, data);
    }

    fn io_write(&mut self, retired: u64, port: u16, data: &[u8]) {
        self.sync(retired);
        self.port_write(port, data);
    }

    fn io_read_burst(&mut self, retired: u64, port: u16, width: usize, data: &mut [u8]) -> usize {
        self.sync(retired);
        self.port_read_burst(port, width, data)
    }

    fn io_write_burst(&mut self, retired: u64, port: u16, width: usize, data: &[u8]) -> usize {
        self.sync(retired);
        self.port_write_burst(port, width, data)
    }

    fn mem_read(&mut self, retired: u64, address: u64, data: &mut [u8]) {
        self.sync(retired);
        self.physical_read(address, data);
    }

    fn mem_write(&mut self, retired: u64, address: u64, data: &[u8]) {
        self.sync(retired);
        self.physical_write(address, data);
    }

    fn map(&mut self, address: u64) -> PageMap {
        let page = address & !(PAGE_SIZE as u64 - 1);
        let segment = self.map.segment(page);
        if segment.end - page < PAGE_SIZE as u64 {
            return PageMap::default();
        }
        let skip = page - segment.start;
        PageMap {
            read: self.host_page(segment.read, skip, false),
            write: self.host_page(segment.write, skip, true),
        }
    }

    fn intack(&mut self, retired: u64) -> u8 {
        self.sync(retired);
        Board::intack(self)
    }

    fn tsc(&mut self, retired: u64) -> u64 {
        // 1 GHz of the devices' own time, one count a nanosecond: a guest calibrates one against the other.
        self.sync(retired);
        self.now().as_nanos()
    }

    fn ferr(&mut self, retired: u64, level: bool) {
        self.sync(retired);
        self.drive_ferr(level);
    }

    fn after(&mut self) -> After {
        After {
            intr: self.intr,
            nmi: self.nmi,
            a20: self.a20,
            map_generation: self.map_generation,
            until: self.until(),
            stop: self.pending.any(),
        }
    }
}
