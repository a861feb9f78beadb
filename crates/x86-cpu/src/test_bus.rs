//! A flat bus for tests, benches and fuzz targets: RAM at 0, ROM below 4 GiB, ports that are logged.

use slotone_bus::cpu::{After, CpuBus, PageMap};
use slotone_bus::mem::{Memory, MemoryError, PAGE_SIZE};

/// An access to a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortAccess {
    /// Instructions retired before the one that made it.
    pub retired: u64,
    /// The port.
    pub port: u16,
    /// Bytes.
    pub width: u8,
    /// What was written; `None` for a read.
    pub written: Option<u32>,
}

/// RAM at 0, optional ROM at the end of the first 4 GiB, and ports that read as all ones and are logged.
///
/// ```
/// use slotone_bus::cpu::{Cpu, Exit};
/// use slotone_x86_cpu::{CpuModel, SoftCpu, test_bus::TestBus};
/// let mut bus = TestBus::new(64 * 1024)?;
/// // mov al, 42h; out 80h, al; hlt
/// bus.ram.write(0x7C00, &[0xB0, 0x42, 0xE6, 0x80, 0xF4])?;
/// let mut cpu = SoftCpu::new(CpuModel::default());
/// bus.start_real(&mut cpu, 0, 0x7C00);
/// assert_eq!(cpu.run(&mut bus), Exit::Halt { interruptible: false });
/// assert_eq!(bus.log[0].written, Some(0x42));
/// # Ok::<(), slotone_bus::mem::MemoryError>(())
/// ```
#[derive(Debug)]
pub struct TestBus {
    /// RAM, at physical address 0.
    pub ram: Memory,
    /// ROM, ending at 4 GiB.
    pub rom: Option<Memory>,
    /// What [`CpuBus::after`] answers.
    pub after: After,
    /// Vectors that [`CpuBus::intack`] gives out, first to last; then FFh.
    pub vectors: Vec<u8>,
    /// Port accesses, at most [`TestBus::LOG`].
    pub log: Vec<PortAccess>,
    /// What port reads give, by port; others read as all ones.
    pub inputs: std::collections::BTreeMap<u16, u32>,
    /// The level of FERR#.
    pub ferr: bool,
}

impl TestBus {
    /// Longest log.
    pub const LOG: usize = 4096;

    /// A bus with so many bytes of RAM.
    ///
    /// # Errors
    /// [`MemoryError::Allocation`] if the host refuses.
    pub fn new(ram: usize) -> Result<Self, MemoryError> {
        Ok(Self {
            ram: Memory::new(ram)?,
            rom: None,
            after: After {
                intr: false,
                nmi: false,
                a20: true,
                map_generation: 1,
                until: u64::MAX,
                stop: false,
            },
            vectors: Vec::new(),
            log: Vec::new(),
            inputs: std::collections::BTreeMap::new(),
            ferr: false,
        })
    }

    /// Puts a processor at `segment`:`offset` in real mode, as it is otherwise; SS:SP and the data segments become that segment.
    pub fn start_real(&self, cpu: &mut dyn slotone_bus::cpu::Cpu, segment: u16, offset: u16) {
        let mut s = cpu.save();
        for seg in &mut s.segments {
            seg.selector = segment;
            seg.base = u32::from(segment) << 4;
        }
        s.eip = u32::from(offset);
        cpu.load(&s).expect("a state that was saved can be loaded");
    }

    fn note(&mut self, access: PortAccess) {
        if self.log.len() < Self::LOG {
            self.log.push(access);
        }
    }

    fn rom_base(&self) -> u64 {
        (1 << 32) - self.rom.as_ref().map_or(0, |r| r.len() as u64)
    }
}

fn little_endian(data: &[u8]) -> u32 {
    data.iter().rev().fold(0, |v, &b| v << 8 | u32::from(b))
}

impl CpuBus for TestBus {
    fn io_read(&mut self, retired: u64, port: u16, data: &mut [u8]) {
        let v = self.inputs.get(&port).copied().unwrap_or(u32::MAX);
        data.copy_from_slice(&v.to_le_bytes()[..data.len()]);
        self.note(PortAccess { retired, port, width: data.len() as u8, written: None });
    }

    fn io_write(&mut self, retired: u64, port: u16, data: &[u8]) {
        let written = Some(little_endian(data));
        self.note(PortAccess { retired, port, width: data.len() as u8, written });
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
        let page = address as usize / PAGE_SIZE;
        if address < self.ram.len() as u64 {
            return PageMap { read: self.ram.host_page(page, false), write: self.ram.host_page(page, true) };
        }
        let base = self.rom_base();
        match &self.rom {
            Some(rom) if (base..1 << 32).contains(&address) => {
                PageMap { read: rom.host_page((address - base) as usize / PAGE_SIZE, false), write: None }
            }
            _ => PageMap::default(),
        }
    }

    fn intack(&mut self, _: u64) -> u8 {
        let vector = if self.vectors.is_empty() { 0xFF } else { self.vectors.remove(0) };
        self.after.intr = !self.vectors.is_empty();
        vector
    }

    fn tsc(&mut self, retired: u64) -> u64 {
        retired
    }

    fn ferr(&mut self, _: u64, level: bool) {
        self.ferr = level;
    }

    fn after(&mut self) -> After {
        self.after
    }
}
