//! As much of a PC as the suite touches: RAM, a serial port, port 92h, CMOS memory, and of the interrupt controllers and
//! the timer that a request can be made and is delivered at once.

use slotone_bus::cpu::{After, Cpu, CpuBus, CpuReset, Exit, PageMap};
use slotone_bus::mem::{Memory, PAGE_SIZE};
use slotone_x86_cpu::{CpuModel, SoftCpu};

const RAM: usize = 16 << 20;
/// Where the boot sector loads the body.
const BODY: u64 = 0x1_0000;
/// Most instructions of one run: no group comes near it.
const LIMIT: u64 = 200_000_000;

/// One 8259.
#[derive(Default)]
struct Pic {
    base: u8,
    mask: u8,
    requests: u8,
    in_service: u8,
    /// Initialisation words still to come.
    setup: u8,
    read_in_service: bool,
}

impl Pic {
    fn pending(&self) -> Option<u8> {
        let first = (self.requests & !self.mask).trailing_zeros();
        (first < 8 && first < self.in_service.trailing_zeros()).then_some(first as u8)
    }

    fn write(&mut self, data: bool, v: u8) {
        match (data, v) {
            (true, _) if self.setup > 0 => {
                if self.setup == 3 {
                    self.base = v & 0xF8;
                }
                self.setup -= 1;
            }
            (true, _) => self.mask = v,
            (false, v) if v & 0x10 != 0 => {
                *self = Self { setup: 3, ..Self::default() };
            }
            (false, 0x20) => self.in_service &= self.in_service.wrapping_sub(1),
            (false, 0x0A) => self.read_in_service = false,
            (false, 0x0B) => self.read_in_service = true,
            _ => {}
        }
    }

    fn read(&self, data: bool) -> u8 {
        match (data, self.read_in_service) {
            (true, _) => self.mask,
            (false, true) => self.in_service,
            (false, false) => self.requests,
        }
    }

    fn acknowledge(&mut self) -> u8 {
        let n = self.pending().unwrap_or(7);
        self.requests &= !(1 << n);
        self.in_service |= 1 << n;
        self.base + n
    }
}

struct Pc {
    ram: Memory,
    a20: bool,
    output: Vec<u8>,
    divisor_latch: bool,
    cmos_index: u8,
    cmos: [u8; 128],
    master: Pic,
    slave: Pic,
    /// Bytes of the counter still to come.
    counter: u8,
    until: u64,
}

impl CpuBus for Pc {
    fn io_read(&mut self, _: u64, port: u16, data: &mut [u8]) {
        data.fill(0xFF);
        data[0] = match port {
            0x20 | 0x21 => self.master.read(port & 1 != 0),
            0xA0 | 0xA1 => self.slave.read(port & 1 != 0),
            0x71 => self.cmos[usize::from(self.cmos_index)],
            0x92 => u8::from(self.a20) << 1,
            0x3FD => 0x60,
            _ => return,
        };
    }

    fn io_write(&mut self, _: u64, port: u16, data: &[u8]) {
        let v = data[0];
        match port {
            0x20 | 0x21 => self.master.write(port & 1 != 0, v),
            0xA0 | 0xA1 => self.slave.write(port & 1 != 0, v),
            0x40 if self.counter > 0 => {
                self.counter -= 1;
                if self.counter == 0 {
                    self.master.requests |= 1;
                }
            }
            // Counter 0, mode 0, low byte then high byte: its output falls.
            0x43 if v == 0x30 => {
                self.counter = 2;
                self.master.requests &= !1;
            }
            0x70 => self.cmos_index = v & 0x7F,
            0x71 => self.cmos[usize::from(self.cmos_index)] = v,
            0x92 => self.a20 = v & 2 != 0,
            0xF0 => self.slave.requests &= !0x20,
            0x3F8 if !self.divisor_latch => self.output.push(v),
            0x3FB => self.divisor_latch = v & 0x80 != 0,
            _ => {}
        }
        self.cascade();
    }

    fn io_read_burst(&mut self, retired: u64, port: u16, width: usize, data: &mut [u8]) -> usize {
        self.io_read(retired, port, &mut data[..width]);
        width
    }

    fn io_write_burst(&mut self, retired: u64, port: u16, width: usize, data: &[u8]) -> usize {
        self.io_write(retired, port, &data[..width]);
        width
    }

    fn mem_read(&mut self, _: u64, _: u64, data: &mut [u8]) {
        data.fill(0xFF);
    }

    fn mem_write(&mut self, _: u64, _: u64, _: &[u8]) {}

    fn map(&mut self, address: u64) -> PageMap {
        if address >= RAM as u64 {
            return PageMap::default();
        }
        let page = address as usize / PAGE_SIZE;
        PageMap { read: self.ram.host_page(page, false), write: self.ram.host_page(page, true) }
    }

    fn intack(&mut self, _: u64) -> u8 {
        if self.master.pending() == Some(2) {
            self.master.in_service |= 4;
            let vector = self.slave.acknowledge();
            self.cascade();
            return vector;
        }
        self.master.acknowledge()
    }

    fn tsc(&mut self, retired: u64) -> u64 {
        retired
    }

    fn ferr(&mut self, _: u64, level: bool) {
        if level {
            self.slave.requests |= 0x20;
            self.cascade();
        }
    }

    fn after(&mut self) -> After {
        After {
            intr: self.master.pending().is_some(),
            nmi: false,
            a20: self.a20,
            map_generation: 1,
            until: self.until,
            stop: false,
        }
    }
}

impl Pc {
    fn cascade(&mut self) {
        let on = self.slave.pending().is_some();
        self.master.requests = self.master.requests & !4 | u8::from(on) << 2;
    }
}

/// What a group prints on our processor.
pub(crate) fn run(model: CpuModel, image: &[u8]) -> String {
    let mut pc = Pc {
        ram: Memory::new(RAM).expect("16 MiB"),
        a20: true,
        output: Vec::new(),
        divisor_latch: false,
        cmos_index: 0,
        cmos: [0; 128],
        master: Pic { mask: 0xFF, ..Pic::default() },
        slave: Pic { mask: 0xFF, ..Pic::default() },
        counter: 0,
        until: 0,
    };
    let body = &image[512..];
    let mut cpu = SoftCpu::new(model);
    let mut resets = 0;
    loop {
        // What the boot sector does.
        pc.ram.write(BODY, body).expect("the body fits");
        let mut s = cpu.save();
        for seg in &mut s.segments {
            (seg.selector, seg.base) = (0, 0);
        }
        (s.segments[1].selector, s.segments[1].base) = ((BODY >> 4) as u16, BODY as u32);
        (s.eip, s.gpr[4]) = (0, 0x7C00);
        cpu.load(&s).expect("a state that was saved can be loaded");
        pc.until = s.retired + LIMIT;
        let exit = cpu.run(&mut pc);
        let text = String::from_utf8_lossy(&pc.output).into_owned();
        match exit {
            Exit::Halt { interruptible: false } => return text,
            Exit::Shutdown if resets == 0 => {
                resets += 1;
                cpu.reset(CpuReset::Power);
                pc.a20 = true;
            }
            other => return format!("{text}\n{other:?}: {:#x?}\n", cpu.save()),
        }
    }
}
