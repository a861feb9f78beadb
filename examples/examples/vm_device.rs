//! A chip of ours in rust-vmm's own device manager, with rust-vmm's guest memory as its DMA: no machine of ours involved.
//!
//! `cargo run -p slotone-examples --example vm_device`

use std::sync::{Arc, Mutex};

use slotone_bus::vm_device::{Adapter, HostPort};
use slotone_bus::vm_memory::GuestDma;
use slotone_bus::{Device, DmaFault, Pin, Space, VmInstant};
use slotone_superio_w83977::uart::{Uart, UartConfig};
use vm_device::bus::{PioAddress, PioRange};
use vm_device::device_manager::{IoManager, PioManager};
use vm_memory::{GuestAddress, GuestMemoryMmap};

/// The VMM's half: a clock, interrupt lines, guest memory.
struct Vmm {
    nanos: u64,
    irq: bool,
    wake: Option<VmInstant>,
    memory: GuestMemoryMmap<()>,
}

impl HostPort for Vmm {
    fn now(&mut self) -> VmInstant {
        self.nanos += 1_000;
        VmInstant::from_nanos(self.nanos)
    }
    fn line(&mut self, _: Pin, level: bool) {
        self.irq = level;
    }
    fn wake_at(&mut self, deadline: Option<VmInstant>) {
        self.wake = deadline;
    }
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        GuestDma(&self.memory).read(address, data)
    }
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        GuestDma(&self.memory).write(address, data)
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let memory = GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 1 << 20)])?;
    let vmm = Vmm { nanos: 0, irq: false, wake: None, memory };
    let uart = Arc::new(Mutex::new(Adapter::new(Uart::new(UartConfig::new(0x3f8)), vmm)?));

    // Register the device for each of its port windows.
    let mut manager = IoManager::new();
    let windows = uart.lock().expect("nobody panicked").device().windows().1.to_vec();
    for w in windows.iter().filter(|w| w.space == Space::Io) {
        let range = PioRange::new(PioAddress(w.base as u16), w.len as u16)?;
        manager.register_pio(range, Arc::clone(&uart) as _)?;
    }

    // What a guest does: 8 bits, OUT2 and the transmitter's interrupt on, one character.
    for (port, value) in [(0x3fb, 3), (0x3fc, 8), (0x3f9, 2), (0x3f8, b'!')] {
        manager.pio_write(PioAddress(port), &[value])?;
    }
    let mut uart = uart.lock().expect("nobody panicked");
    uart.tick();
    let sent = uart.call(|uart, _| uart.take_output());
    println!("sent {:?}, interrupt line {}", String::from_utf8_lossy(&sent), uart.host().irq);
    assert_eq!(sent, b"!");
    assert!(uart.host().irq, "the transmitter is empty, and says so");
    Ok(())
}
