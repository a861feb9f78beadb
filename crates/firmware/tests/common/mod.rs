//! A machine for the services: memory in a byte array, a few chips just real enough for POST, IDE drives with delays, and the
//! part of the ROM's stubs that builds frames and obeys answers.
#![allow(dead_code, unused_imports)]

mod ide;
pub(crate) mod scsi;

pub(crate) use ide::{Atapi, Disk, Ide};
use slotone_bus::VmInstant;
use slotone_firmware::{Firmware, Initiator, Outcome, Registers, Unmapped, rom, video_rom};
use std::collections::BTreeMap;

/// Main memory of the mock.
pub(crate) const MEMORY: u64 = 16 << 20;
const FRAME: usize = 76;

/// Registers as a caller of an interrupt has them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Regs {
    pub(crate) eax: u32,
    pub(crate) ebx: u32,
    pub(crate) ecx: u32,
    pub(crate) edx: u32,
    pub(crate) esi: u32,
    pub(crate) edi: u32,
    pub(crate) ebp: u32,
    pub(crate) ds: u16,
    pub(crate) es: u16,
    pub(crate) ip: u16,
    pub(crate) cs: u16,
    pub(crate) flags: u16,
}

impl Regs {
    pub(crate) fn ax(self) -> u16 {
        self.eax as u16
    }
    pub(crate) fn ah(self) -> u8 {
        (self.eax >> 8) as u8
    }
    pub(crate) fn al(self) -> u8 {
        self.eax as u8
    }
    pub(crate) fn carry(self) -> bool {
        self.flags & 1 != 0
    }
    pub(crate) fn zero(self) -> bool {
        self.flags & 0x40 != 0
    }
}

/// One PCI function: registers and which bits of each byte can be written.
pub(crate) struct Config {
    pub(crate) bytes: [u8; 256],
    pub(crate) mask: [u8; 256],
}

impl Config {
    pub(crate) fn new(vendor: u16, device: u16, class: u32, multi: bool) -> Self {
        let mut bytes = [0; 256];
        bytes[..2].copy_from_slice(&vendor.to_le_bytes());
        bytes[2..4].copy_from_slice(&device.to_le_bytes());
        bytes[9..12].copy_from_slice(&class.to_le_bytes()[..3]);
        bytes[14] = if multi { 0x80 } else { 0 };
        let mut mask = [0; 256];
        mask[4..6].fill(0xFF);
        mask[0x0D] = 0xF8;
        mask[0x3C] = 0xFF;
        mask[0x40..].fill(0xFF);
        Self { bytes, mask }
    }

    /// A BAR of `size` bytes; `low` are its hard-wired bits.
    pub(crate) fn bar(mut self, register: usize, size: u32, low: u32) -> Self {
        self.mask[register..register + 4].copy_from_slice(&(!(size - 1)).to_le_bytes());
        self.bytes[register..register + 4].copy_from_slice(&low.to_le_bytes());
        self
    }

    pub(crate) fn pin(mut self, pin: u8) -> Self {
        self.bytes[0x3D] = pin;
        self
    }

    pub(crate) fn u32(&self, register: usize) -> u32 {
        u32::from_le_bytes(self.bytes[register..register + 4].try_into().unwrap())
    }
}

/// Ports that read these bytes over and over, whatever is written.
pub(crate) struct Chaos {
    pub(crate) base: u16,
    pub(crate) bytes: Vec<u8>,
    pub(crate) at: usize,
}

impl Chaos {
    fn read(&mut self, port: u16, data: &mut [u8]) -> bool {
        let mine = (self.base..self.base + 256).contains(&port);
        if mine {
            for byte in data {
                *byte = self.bytes[self.at % self.bytes.len()];
                self.at += 1;
            }
        }
        mine
    }
}

pub(crate) struct Mock {
    pub(crate) firmware: Firmware,
    pub(crate) memory: Vec<u8>,
    pub(crate) cmos: [u8; 128],
    cmos_index: u8,
    pub(crate) pci: BTreeMap<(u8, u8), Config>,
    config_address: u32,
    pub(crate) ide: [Ide; 2],
    /// SCSI adapters.
    pub(crate) scsi: Vec<scsi::Scsi>,
    pub(crate) chaos: Option<Chaos>,
    pub(crate) now: u64,
    pub(crate) imr: [u8; 2],
    /// Bytes the keyboard controller has for the host.
    pub(crate) keyboard: Vec<u8>,
    /// Every port write: port, value.
    pub(crate) log: Vec<(u16, u32)>,
    /// Index registers and what is behind them: 3C4, 3CE, 3D4, 3C0.
    pub(crate) vga: BTreeMap<(u16, u8), u8>,
    vga_index: BTreeMap<u16, u8>,
    flip_flop: bool,
    misc: u8,
    pub(crate) dac: Vec<u8>,
    dac_at: usize,
    pub(crate) ports: BTreeMap<u16, u8>,
    pub(crate) registers: Registers,
    /// What the services asked the stub to call: segment, offset, AX.
    pub(crate) calls: Vec<(u16, u16, u16)>,
    /// Linear addresses from here on are not mapped.
    pub(crate) mapped_end: u32,
    /// How often a service waited.
    pub(crate) waits: usize,
}

impl Mock {
    pub(crate) fn new() -> Self {
        let mut pci = BTreeMap::new();
        pci.insert((0, 0), Config::new(0x8086, 0x7192, 0x06_0000, false));
        pci.insert((7, 0), Config::new(0x8086, 0x7110, 0x06_0100, true));
        pci.insert((7, 1), Config::new(0x8086, 0x7111, 0x01_0180, true).bar(0x20, 16, 1));
        pci.insert((7, 3), Config::new(0x8086, 0x7113, 0x06_8000, true).pin(1));
        pci.insert((8, 0), Config::new(0x5333, 0x8811, 0x03_0000, false).bar(0x10, 64 << 20, 0).pin(1));
        let nic = Config::new(0x1011, 0x0009, 0x02_0000, false).bar(0x10, 128, 1).bar(0x14, 128, 0).pin(1);
        pci.insert((10, 0), nic);
        let mut memory = vec![0; MEMORY as usize];
        let image = rom();
        memory[0xF_0000..0x10_0000].copy_from_slice(&image[image.len() - 0x1_0000..]);
        memory[0xC_0000..0xC_8000].copy_from_slice(&video_rom());
        Self {
            firmware: Firmware::new(MEMORY),
            memory,
            cmos: [0; 128],
            cmos_index: 0,
            pci,
            config_address: 0,
            ide: [Ide::default(), Ide::default()],
            scsi: Vec::new(),
            chaos: None,
            now: 0,
            imr: [0xB8, 0x8F],
            keyboard: Vec::new(),
            log: Vec::new(),
            vga: BTreeMap::new(),
            vga_index: BTreeMap::new(),
            flip_flop: false,
            misc: 0x67,
            dac: vec![0; 768],
            dac_at: 0,
            ports: BTreeMap::new(),
            registers: Registers::default(),
            calls: Vec::new(),
            mapped_end: u32::MAX,
            waits: 0,
        }
    }

    /// A machine that has run POST.
    pub(crate) fn posted() -> Self {
        let mut mock = Self::new();
        mock.post();
        mock
    }

    pub(crate) fn post(&mut self) {
        self.service(0x100, Regs::default());
    }

    /// Calls an interrupt.
    pub(crate) fn int(&mut self, vector: u8, regs: Regs) -> Regs {
        self.service(u16::from(vector), regs)
    }

    /// Int with AX and nothing else.
    pub(crate) fn ax(&mut self, vector: u8, ax: u16) -> Regs {
        self.int(vector, Regs { eax: u32::from(ax), ..Regs::default() })
    }

    /// Does what a stub of the ROM does with a service number.
    pub(crate) fn service(&mut self, service: u16, regs: Regs) -> Regs {
        let nested = self.registers;
        let esp = if nested.esp == 0 { 0x7000 } else { nested.esp - 200 };
        self.registers = Registers { cs: 0xF000, eip: 0x8030, esp, cr0: 0x10, ..Registers::default() };
        self.memory[esp as usize..esp as usize + FRAME].copy_from_slice(&frame(service, regs));
        for _ in 0..1_000_000 {
            let firmware = self.firmware.clone();
            let outcome = firmware.service(self);
            let answer = self.memory[esp as usize];
            assert_eq!(answer, outcome as u8, "the answer is in the frame");
            match outcome {
                Outcome::Done => {
                    let regs = unframe(&self.memory[esp as usize..esp as usize + FRAME]);
                    self.registers = nested;
                    return regs;
                }
                Outcome::Wait => {
                    self.waits += 1;
                    self.now += 200_000;
                }
                Outcome::Spin => self.now += 20_000,
                Outcome::Call | Outcome::Interrupt => {
                    let word = |at: usize| {
                        u16::from_le_bytes([
                            self.memory[esp as usize + at],
                            self.memory[esp as usize + at + 1],
                        ])
                    };
                    let call = (word(6), word(4), word(8));
                    self.calls.push(call);
                    // The video ROM's initialisation is a service too.
                    if outcome == Outcome::Call && call.0 == 0xC000 {
                        self.service(0x103, Regs::default());
                    }
                }
            }
        }
        panic!("service {service:#x} never ends");
    }

    pub(crate) fn u16(&self, at: usize) -> u16 {
        u16::from_le_bytes([self.memory[at], self.memory[at + 1]])
    }

    pub(crate) fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.memory[at..at + 4].try_into().unwrap())
    }

    /// Row `row` of the text screen, without attributes.
    pub(crate) fn row(&self, row: usize) -> String {
        let cells = &self.memory[0xB_8000 + 160 * row..][..160];
        cells.chunks(2).map(|cell| char::from(cell[0])).collect::<String>().trim_end().to_string()
    }

    pub(crate) fn config(&self, device: u8, function: u8) -> &Config {
        &self.pci[&(device, function)]
    }

    fn function(&mut self) -> Option<(&mut Config, usize)> {
        let address = self.config_address;
        if address >> 31 == 0 || address >> 16 & 0xFF != 0 {
            return None;
        }
        let key = ((address >> 11 & 31) as u8, (address >> 8 & 7) as u8);
        self.pci.get_mut(&key).map(|config| (config, (address & 0xFC) as usize))
    }

    /// The SCSI adapter that the configuration address means.
    fn adapter(&mut self) -> Option<(&mut scsi::Scsi, u64)> {
        let address = self.config_address;
        let own = address >> 31 == 1 && address >> 16 & 0xFF == 0 && address >> 8 & 7 == 0;
        let slot = (address >> 11 & 31) as u8;
        let adapter = self.scsi.iter_mut().find(|adapter| own && adapter.slot == slot)?;
        Some((adapter, u64::from(address & 0xFC)))
    }

    fn vga_write(&mut self, port: u16, value: u8) {
        match port {
            0x3C0 => {
                if self.flip_flop {
                    let index = self.vga_index.get(&0x3C0).copied().unwrap_or(0);
                    self.vga.insert((0x3C0, index & 0x1F), value);
                } else {
                    self.vga_index.insert(0x3C0, value);
                }
                self.flip_flop = !self.flip_flop;
            }
            0x3C2 => self.misc = value,
            0x3C7 | 0x3C8 => self.dac_at = usize::from(value) * 3,
            0x3C9 => {
                self.dac[self.dac_at % 768] = value & 63;
                self.dac_at += 1;
            }
            0x3C4 | 0x3CE | 0x3D4 | 0x3B4 => {
                self.vga_index.insert(port, value);
            }
            0x3C5 | 0x3CF | 0x3D5 | 0x3B5 => {
                let index = self.vga_index.get(&(port - 1)).copied().unwrap_or(0);
                self.vga.insert((port - 1, index), value);
            }
            _ => {}
        }
    }

    fn vga_read(&mut self, port: u16) -> u8 {
        match port {
            0x3DA | 0x3BA => {
                self.flip_flop = false;
                0
            }
            0x3C1 => {
                let index = self.vga_index.get(&0x3C0).copied().unwrap_or(0);
                self.vga.get(&(0x3C0, index & 0x1F)).copied().unwrap_or(0)
            }
            0x3C9 => {
                self.dac_at += 1;
                self.dac[(self.dac_at - 1) % 768]
            }
            0x3CC => self.misc,
            0x3C5 | 0x3CF | 0x3D5 | 0x3B5 => {
                let index = self.vga_index.get(&(port - 1)).copied().unwrap_or(0);
                self.vga.get(&(port - 1, index)).copied().unwrap_or(0)
            }
            _ => 0xFF,
        }
    }
}

/// The frame as a stub pushes it.
fn frame(service: u16, r: Regs) -> [u8; FRAME] {
    let mut f = [0; FRAME];
    f[32..34].copy_from_slice(&r.es.to_le_bytes());
    f[34..36].copy_from_slice(&r.ds.to_le_bytes());
    for (i, value) in [r.edi, r.esi, r.ebp, 0, r.ebx, r.edx, r.ecx, r.eax].into_iter().enumerate() {
        f[36 + 4 * i..40 + 4 * i].copy_from_slice(&value.to_le_bytes());
    }
    for (i, value) in [service, r.ip, r.cs, r.flags].into_iter().enumerate() {
        f[68 + 2 * i..70 + 2 * i].copy_from_slice(&value.to_le_bytes());
    }
    f
}

fn unframe(f: &[u8]) -> Regs {
    let word = |at: usize| u16::from_le_bytes([f[at], f[at + 1]]);
    let double = |at: usize| u32::from(word(at)) | u32::from(word(at + 2)) << 16;
    Regs {
        edi: double(36),
        esi: double(40),
        ebp: double(44),
        ebx: double(52),
        edx: double(56),
        ecx: double(60),
        eax: double(64),
        es: word(32),
        ds: word(34),
        ip: word(70),
        cs: word(72),
        flags: word(74),
    }
}

impl Initiator for Mock {
    fn io_read(&mut self, port: u16, data: &mut [u8]) {
        data.fill(0xFF);
        let now = self.now;
        match port {
            0xCFC..=0xCFF => {
                let low = usize::from(port & 3);
                if let Some((adapter, register)) = self.adapter() {
                    adapter.config_read(register + low as u64, data);
                } else if let Some((config, register)) = self.function() {
                    let n = data.len();
                    data.copy_from_slice(&config.bytes[register + low..register + low + n]);
                }
            }
            0xCF8 => data.copy_from_slice(&self.config_address.to_le_bytes()[..data.len()]),
            0x71 => data[0] = self.cmos[usize::from(self.cmos_index)],
            0x21 => data[0] = self.imr[0],
            0xA1 => data[0] = self.imr[1],
            0x60 => data[0] = if self.keyboard.is_empty() { 0 } else { self.keyboard.remove(0) },
            0x64 => data[0] = 0x14 | u8::from(!self.keyboard.is_empty()),
            0x1F0..=0x1F7 | 0x3F6 => self.ide[0].read(now, port & 0x20F, data),
            0x170..=0x177 | 0x376 => self.ide[1].read(now, (port | 0x80) & 0x20F, data),
            0x3B0..=0x3DF => data[0] = self.vga_read(port),
            _ if self.scsi.iter_mut().any(|adapter| adapter.read(now, port, data)) => {}
            _ if self.chaos.as_mut().is_some_and(|chaos| chaos.read(port, data)) => {}
            _ => data[0] = self.ports.get(&port).copied().unwrap_or(0xFF),
        }
    }

    fn io_write(&mut self, port: u16, data: &[u8]) {
        let value = data.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte));
        self.log.push((port, value));
        let (now, byte) = (self.now, data[0]);
        match port {
            0xCF8 if data.len() == 4 => self.config_address = value,
            0xCFC..=0xCFF => {
                let low = usize::from(port & 3);
                if let Some((adapter, register)) = self.adapter() {
                    adapter.config_write(register + low as u64, data);
                } else if let Some((config, register)) = self.function() {
                    for (i, byte) in data.iter().enumerate() {
                        let at = register + low + i;
                        config.bytes[at] = config.bytes[at] & !config.mask[at] | byte & config.mask[at];
                    }
                }
            }
            0x70 => self.cmos_index = byte & 0x7F,
            0x71 => self.cmos[usize::from(self.cmos_index)] = byte,
            0x21 => self.imr[0] = byte,
            0xA1 => self.imr[1] = byte,
            0x64 => match byte {
                0xAA => self.keyboard.push(0x55),
                0xA9 => self.keyboard.push(0x00),
                _ => {}
            },
            0x60 if byte == 0xFF => self.keyboard.extend([0xFA, 0xAA]),
            0x1F0..=0x1F7 | 0x3F6 => self.ide[0].write(now, port & 0x20F, data),
            0x170..=0x177 | 0x376 => self.ide[1].write(now, (port | 0x80) & 0x20F, data),
            0x3B0..=0x3DF => self.vga_write(port, byte),
            // A UART's scratch register and its interrupt enable register store; so does the parallel port.
            0x3F9 | 0x3FF | 0x378 | 0x37A | 0x4D0 | 0x4D1 | 0x92 => {
                self.ports.insert(port, byte);
            }
            _ if self.scsi.iter_mut().any(|adapter| adapter.write(now, port, data)) => {}
            _ => {}
        }
    }

    fn mem_read(&mut self, linear: u32, data: &mut [u8]) -> Result<(), Unmapped> {
        if linear.saturating_add(data.len() as u32) > self.mapped_end {
            return Err(Unmapped(linear));
        }
        self.phys_read(u64::from(linear), data);
        Ok(())
    }

    fn mem_write(&mut self, linear: u32, data: &[u8]) -> Result<(), Unmapped> {
        if linear.saturating_add(data.len() as u32) > self.mapped_end {
            return Err(Unmapped(linear));
        }
        self.phys_write(u64::from(linear), data);
        Ok(())
    }

    fn phys_read(&mut self, physical: u64, data: &mut [u8]) {
        for (i, byte) in data.iter_mut().enumerate() {
            *byte = self.memory.get((physical + i as u64) as usize).copied().unwrap_or(0xFF);
        }
    }

    fn phys_write(&mut self, physical: u64, data: &[u8]) {
        for (i, byte) in data.iter().enumerate() {
            if let Some(cell) = self.memory.get_mut((physical + i as u64) as usize) {
                *cell = *byte;
            }
        }
    }

    fn registers(&self) -> Registers {
        self.registers
    }

    fn now(&self) -> VmInstant {
        VmInstant::from_nanos(self.now)
    }
}
