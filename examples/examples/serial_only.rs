//! A machine for composers: a CPU, some memory and one serial port, nothing else. No BIOS, no PCI, no chipset.
//!
//! `cargo run -p slotone-examples --example serial_only`

use slotone_bus::cpu::Cpu;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, LentId, PinLevels, ResetKind, Space, Target, VmInstant, Window,
    WindowId, device::LentMemory,
};
use slotone_superio_w83977::uart::{Uart, UartConfig};
use slotone_vmm_core::{ClockMode, MachineBuilder, RunExit};
use slotone_x86_cpu::{CpuModel, SoftCpu};

/// What decodes memory on this board: 64 KiB of RAM from 0, and a ROM that ends where the CPU begins, at 4 GiB.
struct MemoryMap {
    windows: [Window; 2],
}

const ROM: LentMemory = LentMemory { id: LentId(0), len: 0x1000 };

impl MemoryMap {
    fn new() -> Self {
        let (ram, rom) = (Target::Ram { offset: 0 }, Target::Lent { memory: ROM.id, offset: 0 });
        let window = |id, base, len, read, write| Window {
            id: WindowId(id),
            space: Space::Memory,
            base,
            len,
            priority: Window::PRIORITY_DRAM,
            read,
            write,
        };
        Self {
            windows: [window(0, 0, 0x1_0000, ram, ram), window(1, 0xffff_f000, 0x1000, rom, Target::Open)],
        }
    }
}

impl Device for MemoryMap {
    fn windows(&self) -> (Generation, &[Window]) {
        (Generation(0), &self.windows)
    }
    fn memories(&self) -> &[LentMemory] {
        &[ROM]
    }
    fn read(&mut self, _: &mut Cx<'_>, _: At, data: &mut [u8]) {
        data.fill(0xff);
    }
    fn write(&mut self, _: &mut Cx<'_>, _: At, _: &[u8]) {}
    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }
    fn tick(&mut self, _: &mut Cx<'_>) {}
    fn reset(&mut self, _: ResetKind) {}
    fn save(&self, _: &mut StateWriter) {}
    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
    fn inspect(&self, _: &mut Inspector<'_>) {}
}

/// At the reset vector, F000:FFF0: a jump back to F000:F000. There: print the text at F000:F020, then halt for good.
fn rom() -> Vec<u8> {
    let mut rom = vec![0xf4; ROM.len];
    let program = [
        0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, // mov dx,3fbh; mov al,3; out dx,al     LCR: 8 bits
        0xba, 0xf8, 0x03, 0xbe, 0x20, 0xf0, // mov dx,3f8h; mov si,0f020h
        0x2e, 0xac, 0x84, 0xc0, 0x74, 0x03, // next: cs lodsb; test al,al; jz done
        0xee, 0xeb, 0xf7, // out dx,al; jmp next
        0xfa, 0xf4, // done: cli; hlt
    ];
    rom[..program.len()].copy_from_slice(&program);
    let text = b"hello from a machine of three parts\r\n\0";
    rom[0x20..0x20 + text.len()].copy_from_slice(text);
    rom[0xff0..0xff3].copy_from_slice(&[0xe9, 0x0d, 0xf0]);
    rom
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = MachineBuilder::new(0x1_0000)?;
    let cpu: Box<dyn Cpu> = Box::new(SoftCpu::new(CpuModel::pentium2()));
    builder.clock(ClockMode::Counted).cpu(cpu);
    let memory = builder.add("memory", MemoryMap::new())?;
    builder.rom(memory, ROM.id, &rom())?;
    let uart = builder.add("uart", Uart::new(UartConfig::new(0x3f8)))?;
    let mut machine = builder.build()?;

    let exit = machine.run(VmInstant::from_nanos(1_000_000_000));
    let text = machine.with(uart, |uart: &mut Uart, _| uart.take_output()).unwrap_or_default();
    print!("{}", String::from_utf8_lossy(&text));
    assert_eq!(exit, RunExit::Dead, "CLI and HLT: nothing can wake it");
    assert!(text.starts_with(b"hello"), "the text came out");
    Ok(())
}
