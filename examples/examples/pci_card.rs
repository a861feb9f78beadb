//! A PCI card of one's own in the machine of Virtual Server 2005: the BIOS finds it and gives it ports, the guest uses it.
//!
//! `cargo run -p slotone-examples --example pci_card`

use std::sync::Arc;

use slotone_block::memory::MemoryDisk;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window,
    WindowId, WindowSet,
};
use slotone_chipset_440bx::isa_bridge;
use slotone_pci::{Bar, ConfigBytes, ConfigSpace, Identity};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{ClockMode, DriveBay, RunExit, Sink, VirtualServer2005, virtual_server_2005};

const CONFIG: WindowId = WindowId(0);
const PORTS: WindowId = WindowId(1);
/// Output: INTA#, asserted while the sum is odd.
const INTA: Pin = Pin(0);

/// Adds what is written to it: port 0 takes a byte, port 4 gives the sum as a dword.
struct Adder {
    config: ConfigSpace,
    sum: u32,
    windows: WindowSet,
}

impl Adder {
    fn new() -> Self {
        let identity = Identity {
            vendor: 0x1234,
            device: 0xadd0,
            class: 0xff_00_00,
            interrupt_pin: 1,
            ..Identity::default()
        };
        let config =
            ConfigSpace::new(identity).with_command(ConfigSpace::COMMAND_IO).with_bar(0, Bar::Io { len: 16 });
        let mut this = Self { config, sum: 0, windows: WindowSet::default() };
        this.decode();
        this
    }

    fn decode(&mut self) {
        let mut windows = vec![Window::pci_config(CONFIG, 0)];
        windows.extend(self.config.io_bar(0).map(|base| Window::io(PORTS, base, 16)));
        self.windows.set(windows);
    }
}

impl Device for Adder {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }
    fn read(&mut self, _: &mut Cx<'_>, at: At, data: &mut [u8]) {
        match at.window {
            CONFIG => self.config.read(at.offset, data),
            _ => {
                let sum = self.sum.to_le_bytes();
                for (i, byte) in data.iter_mut().enumerate() {
                    *byte = sum.get((at.offset as usize + i).wrapping_sub(4)).copied().unwrap_or(0xff);
                }
            }
        }
    }
    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        match (at.window, at.offset) {
            (CONFIG, _) => {
                self.config.write(at.offset, data);
                self.decode();
            }
            (_, 0) => {
                self.sum = self.sum.wrapping_add(u32::from(data[0]));
                cx.line(INTA, self.sum & 1 != 0);
            }
            _ => {}
        }
    }
    fn levels(&self) -> PinLevels {
        PinLevels::default().with(INTA, self.sum & 1 != 0)
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }
    fn tick(&mut self, _: &mut Cx<'_>) {}
    fn reset(&mut self, _: ResetKind) {
        self.config.reset();
        self.sum = 0;
        self.decode();
    }
    fn save(&self, w: &mut StateWriter) {
        w.section("adder", 1, &(self.config.save(), self.sum));
    }
    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let (config, sum): (ConfigBytes, u32) = r.section("adder", 1)?;
        self.config.load(&config);
        self.sum = sum;
        self.decode();
        Ok(())
    }
    fn inspect(&self, out: &mut Inspector<'_>) {
        out("sum", InspectValue::Count(self.sum.into()));
    }
}

/// A boot sector that asks the PCI BIOS for the card (INT 1Ah, B102h), reads its port (B10Ah of BAR 0), and adds 40 and 2.
fn boot_disk() -> Vec<u8> {
    let program = [
        0xb8, 0x02, 0xb1, 0xb9, 0xd0, 0xad, 0xba, 0x34,
        0x12, // mov ax,b102h; mov cx,add0h; mov dx,1234h
        0x31, 0xf6, 0xcd, 0x1a, // xor si,si; int 1ah             bx = bus, device, function
        0xb8, 0x0a, 0xb1, 0xbf, 0x10, 0x00, 0xcd,
        0x1a, // mov ax,b10ah; mov di,10h; int 1ah      ecx = BAR 0
        0x89, 0xca, 0x83, 0xe2, 0xfc, // mov dx,cx; and dx,fffch
        0xb0, 40, 0xee, 0xb0, 2, 0xee, // mov al,40; out dx,al; mov al,2; out dx,al
        0xfa, 0xf4, // cli; hlt
    ];
    let mut disk = vec![0; 1 << 20];
    disk[..program.len()].copy_from_slice(&program);
    disk[510..512].copy_from_slice(&[0x55, 0xaa]);
    disk
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut config =
        VirtualServer2005 { memory_mib: 16, clock: ClockMode::Counted, ..VirtualServer2005::new() };
    config.ide[0] = DriveBay::Disk(Arc::new(MemoryDisk::from_bytes(&boot_disk())));
    let mut builder = virtual_server_2005(&config)?;
    let card = builder.add_pci("adder", 11, Adder::new())?;
    let bridge = builder.find(name::ISA_BRIDGE)?;
    builder.wire(card, INTA, Sink::Input(bridge, isa_bridge::pin::pirq(0)));
    let mut machine = builder.build()?;

    let exit = machine.run(VmInstant::from_nanos(20_000_000_000));
    assert_eq!(exit, RunExit::Dead, "the boot sector ends with CLI and HLT");
    let sum = machine.device::<Adder>(card).map(|adder| adder.sum);
    println!("the guest found the card and added 40 and 2: {sum:?}");
    assert_eq!(sum, Some(42));
    Ok(())
}
