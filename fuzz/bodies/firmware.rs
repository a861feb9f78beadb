//! BIOS services on hostile frames, data areas and devices: no panic, and each call does a bounded amount of work.
//!
//! The input: processor state, seed of what ports read, ports with fixed values, patches of memory, then frames. Memory is
//! what POST left behind on the whole machine. With bit 5 of the first byte there is a SCSI adapter in slot 9, at ports C000h.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use slotone_block::memory::MemoryDisk;
use slotone_bus::VmInstant;
use slotone_firmware::{Firmware, Initiator, Outcome, Registers, Unmapped};
use slotone_vmm_core::{ClockMode, DriveBay, VirtualServer2005, virtual_server_2005};

use super::machine::booted;
use super::{Random, Reader, text};

const MEMORY: usize = 0x12_0000;
/// Where the stub's frame is.
const STACK: u32 = 0x7000;
/// One call of a service may do so many accesses, and move so many bytes.
const ACCESSES: u64 = 4_000_000;
const BYTES: u64 = 64 << 20;
/// Traps of one service that waits.
const TRAPS: u32 = 64;

/// The first bytes of memory of a machine that has been through POST.
fn posted() -> &'static [u8] {
    static POSTED: OnceLock<Vec<u8>> = OnceLock::new();
    POSTED.get_or_init(|| {
        let disk = || std::sync::Arc::new(MemoryDisk::new(128 * 512));
        let config = VirtualServer2005 {
            memory_mib: 4,
            clock: ClockMode::Counted,
            boot: vec![slotone_firmware::BootDevice::HardDisk],
            ide: [DriveBay::Disk(disk()), DriveBay::Empty, DriveBay::CdRom(Some(disk())), DriveBay::Empty],
            ..VirtualServer2005::new()
        };
        let builder = virtual_server_2005(&config).expect("a machine of 4 MiB");
        let mut machine = builder.build().expect("it has a processor");
        machine.restore(booted()).expect("the same machine's state");
        let mut memory = vec![0; MEMORY];
        machine.physical_read(0, &mut memory);
        memory
    })
}

/// A machine whose every answer is made up.
struct Mock {
    memory: Vec<u8>,
    fixed: BTreeMap<u16, u8>,
    /// An AIC-7870 answers configuration cycles of slot 9.
    adapter: bool,
    config_address: u32,
    random: Random,
    registers: Registers,
    /// Linear addresses from here on are not mapped.
    mapped: u32,
    now: u64,
    accesses: u64,
    bytes: u64,
}

impl Mock {
    fn count(&mut self, bytes: usize) {
        self.accesses += 1;
        self.bytes += bytes as u64;
        assert!(self.accesses <= ACCESSES, "one call of a service made {ACCESSES} accesses");
        assert!(self.bytes <= BYTES, "one call of a service moved {BYTES} bytes");
    }

    /// The registers of the adapter that the services look at.
    fn adapter_register(&self, port: u16) -> Option<u8> {
        let register = (self.config_address & 0xfc) as u16 + (port & 3);
        if !self.adapter || port & !3 != 0xcfc || self.config_address & !0xff != 0x8000_4800 {
            return None;
        }
        match register {
            0..4 => Some([0x04, 0x90, 0x78, 0x70][usize::from(register)]),
            0x04 => Some(0x07),
            0x10..0x14 => Some([0x01, 0xc0, 0, 0][usize::from(register - 0x10)]),
            _ => None,
        }
    }
}

impl Initiator for Mock {
    fn io_read(&mut self, port: u16, data: &mut [u8]) {
        self.count(data.len());
        assert!(matches!(data.len(), 1 | 2 | 4), "{} bytes from port {port:#x}", data.len());
        for (i, byte) in data.iter_mut().enumerate() {
            let port = port.wrapping_add(i as u16);
            *byte = match self.adapter_register(port).or_else(|| self.fixed.get(&port).copied()) {
                Some(value) => value,
                None => self.random.next() as u8,
            };
        }
    }

    fn io_write(&mut self, port: u16, data: &[u8]) {
        self.count(data.len());
        assert!(matches!(data.len(), 1 | 2 | 4), "{} bytes to port {port:#x}", data.len());
        if let (0xcf8, [a, b, c, d]) = (port, data) {
            self.config_address = u32::from_le_bytes([*a, *b, *c, *d]);
        }
    }

    fn mem_read(&mut self, linear: u32, data: &mut [u8]) -> Result<(), Unmapped> {
        if linear.saturating_add(data.len() as u32) > self.mapped {
            return Err(Unmapped(linear));
        }
        self.phys_read(linear.into(), data);
        Ok(())
    }

    fn mem_write(&mut self, linear: u32, data: &[u8]) -> Result<(), Unmapped> {
        if linear.saturating_add(data.len() as u32) > self.mapped {
            return Err(Unmapped(linear));
        }
        self.phys_write(linear.into(), data);
        Ok(())
    }

    fn phys_read(&mut self, physical: u64, data: &mut [u8]) {
        self.count(data.len());
        for (i, byte) in data.iter_mut().enumerate() {
            let at = usize::try_from(physical.wrapping_add(i as u64)).unwrap_or(usize::MAX);
            *byte = self.memory.get(at).copied().unwrap_or(0xff);
        }
    }

    fn phys_write(&mut self, physical: u64, data: &[u8]) {
        self.count(data.len());
        for (i, byte) in data.iter().enumerate() {
            let at = usize::try_from(physical.wrapping_add(i as u64)).unwrap_or(usize::MAX);
            if let Some(cell) = self.memory.get_mut(at).filter(|_| !(0xf_0000..0x10_0000).contains(&at)) {
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

const SERVICES: [u16; 17] =
    [0x10, 0x10, 0x11, 0x12, 0x13, 0x13, 0x14, 0x15, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x40, 0x101, 0x102, 0x104];

fn processor(shape: u8) -> Registers {
    let mut r = Registers { cs: 0xf000, eip: 0x8030, esp: STACK, cr0: 0x10, ..Registers::default() };
    match shape & 7 {
        5 => r.cs = 0xc000,
        6 => (r.cr0, r.eflags) = (0x8000_0011, 1 << 17),
        7 => (r.ss, r.ss_base) = (0x9000, 0x9_0000),
        _ => {}
    }
    r
}

/// See the module.
pub fn firmware(input: &[u8]) {
    let input = text::bytes(input);
    let mut input = Reader(&input);
    let shape = input.u8();
    let mapped = if shape & 0x10 != 0 { 0xa_0000 + u32::from(input.u16()) * 16 } else { u32::MAX };
    let mut mock = Mock {
        memory: posted().to_vec(),
        fixed: BTreeMap::new(),
        adapter: shape & 0x20 != 0,
        config_address: 0,
        random: Random(input.u16().into()),
        registers: processor(shape),
        mapped,
        now: 0,
        accesses: 0,
        bytes: 0,
    };
    for _ in 0..input.u8() & 15 {
        let port = input.u16();
        mock.fixed.insert(port, input.u8());
    }
    for _ in 0..input.u8() & 7 {
        let (at, n) = (input.u32() as usize % MEMORY, usize::from(input.u8()));
        let patch = input.take(n);
        let end = (at + patch.len()).min(MEMORY);
        mock.memory[at..end].copy_from_slice(&patch[..end - at]);
    }
    let service = Firmware::new(4 << 20);
    for _ in 0..8 {
        if input.is_empty() {
            break;
        }
        // Which service, with or without a state that it left in the frame; then its registers.
        let which = input.u8();
        let mut frame = [0u8; 76];
        if which & 0x80 != 0 {
            frame[..36].copy_from_slice(&input.array::<36>());
        }
        let number = match which & 0x40 {
            0 => SERVICES[usize::from(which & 0x3f) % SERVICES.len()],
            _ => input.u16() % 0x110,
        };
        // EAX, ECX, EDX and EBX, then DS, ES and the low halves of ESI, EDI and EBP.
        for offset in [64, 60, 56, 52] {
            frame[offset..offset + 4].copy_from_slice(&input.array::<4>());
        }
        for offset in [34, 32, 40, 36, 44] {
            frame[offset..offset + 2].copy_from_slice(&input.array::<2>());
        }
        frame[68..70].copy_from_slice(&number.to_le_bytes());
        let at = mock.registers.ss_base as usize + STACK as usize;
        mock.memory[at..at + 76].copy_from_slice(&frame);
        for _ in 0..TRAPS {
            (mock.accesses, mock.bytes) = (0, 0);
            let outcome = service.service(&mut mock);
            if outcome == Outcome::Done {
                break;
            }
            mock.now += 50_000_000;
        }
    }
}
