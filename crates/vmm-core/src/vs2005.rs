//! The machine of Virtual Server 2005, as a preset of [`MachineBuilder`].

use std::sync::Arc;

use slotone_aic7870::{Aic7870, Aic7870Config};
use slotone_block::{BlockBackend, MediumInfo};
use slotone_bus::Pin;
use slotone_bus::cpu::Cpu;
use slotone_chipset_440bx::{
    DateTime, Dma, HostBridge, HostBridgeConfig, IsaBridge, IsaBridgeConfig, Pic, Pit, Pm, PmConfig, Rtc,
    isa_bridge, pic, pit, pm, rtc,
};
use slotone_firmware::{BootDevice, Firmware, memory_map, slots};
use slotone_ide_atapi::{CdConfig, DiskConfig, Drive, IRQ14, IRQ15, PciIde, Timing};
use slotone_net::MacAddress;
use slotone_pci::{IntPin, Swizzle};
use slotone_s3trio::S3Trio;
use slotone_scsi::{self as scsi, SpiFlags, Target};
use slotone_superio_w83977::{Kbc, SuperIo, Uart, kbc, uart};
use slotone_tulip_nic::{Tulip, TulipConfig};
use slotone_x86_cpu::{CpuModel, SoftCpu};

use crate::board::{DeviceId, Sink};
use crate::builder::{BuildError, MachineBuilder};
use crate::clock::ClockMode;

/// Names of the devices of [`virtual_server_2005`], as `--fault`, [`MachineBuilder::find`] and saved states use them.
pub mod name {
    /// 82443BX host bridge.
    pub const HOST_BRIDGE: &str = "host-bridge";
    /// PIIX4 function 0 with ports 61h, 92h, F0h and CF9h and the flash.
    pub const ISA_BRIDGE: &str = "isa-bridge";
    /// PIIX4 function 3: power management and SMBus.
    pub const PM: &str = "pm";
    /// 8259A pair.
    pub const PIC: &str = "pic";
    /// 8254 timer.
    pub const PIT: &str = "pit";
    /// 8237A pair and page registers.
    pub const DMA: &str = "dma";
    /// Real-time clock and CMOS.
    pub const RTC: &str = "rtc";
    /// 8042 keyboard controller with its keyboard.
    pub const KBC: &str = "kbc";
    /// First serial port, 3F8h, IRQ 4.
    pub const UART0: &str = "uart0";
    /// Second serial port, 2F8h, IRQ 3.
    pub const UART1: &str = "uart1";
    /// Configuration ports of the W83977 Super I/O.
    pub const SUPER_IO: &str = "superio";
    /// PIIX4 function 1: IDE.
    pub const IDE: &str = "ide";
    /// S3 Trio64.
    pub const VGA: &str = "vga";
    /// Those that every machine has, in the order in which they are added.
    pub const ALL: [&str; 13] =
        [HOST_BRIDGE, ISA_BRIDGE, IDE, PM, VGA, PIC, PIT, DMA, RTC, KBC, UART0, UART1, SUPER_IO];
    /// AIC-7870 adapters, as far as there are.
    pub const SCSI: [&str; 4] = ["scsi0", "scsi1", "scsi2", "scsi3"];
    /// 21140A network cards, as far as there are.
    pub const NICS: [&str; 4] = ["nic0", "nic1", "nic2", "nic3"];
}

/// Least and most memory in MiB.
const MEMORY_MIB: (u64, u64) = (memory_map::MEMORY_MIN >> 20, memory_map::MEMORY_MAX >> 20);

/// What is in the place of a drive: an IDE position or a SCSI ID.
#[derive(Debug, Clone, Default)]
pub enum DriveBay {
    /// Nothing.
    #[default]
    Empty,
    /// A hard disk with blocks of 512 bytes. For a SCSI disk with larger ones, put another `slotone_scsi::Disk` in its place before the machine is
    /// built: [`MachineBuilder::with`] and [`Aic7870::target_as`].
    Disk(Arc<dyn BlockBackend>),
    /// An ATAPI CD-ROM drive, with or without a disc.
    CdRom(Option<Arc<dyn BlockBackend>>),
}

impl DriveBay {
    /// The medium in it.
    fn medium(&self) -> Option<Arc<dyn BlockBackend>> {
        match self {
            Self::Empty => None,
            Self::Disk(medium) => Some(Arc::clone(medium)),
            Self::CdRom(medium) => medium.clone(),
        }
    }
}

/// What can be chosen about the machine.
#[derive(Debug, Clone)]
pub struct VirtualServer2005 {
    /// Memory in MiB, 4 to 3686.
    pub memory_mib: u64,
    /// Processor model of the software CPU.
    pub cpu: CpuModel,
    /// What virtual time follows.
    pub clock: ClockMode,
    /// Where the real-time clock starts.
    pub rtc: DateTime,
    /// Primary master and slave, secondary master and slave.
    pub ide: [DriveBay; 4],
    /// The AIC-7870 adapters that there are, each with what is at SCSI IDs 0 to 6; its own ID is 7.
    pub scsi: [Option<[DriveBay; 7]>; 4],
    /// Addresses of the 21140A network cards, at most four. [`MachineBuilder::network`] plugs a card (by its name in [`name::NICS`]) into a network;
    /// until then its cable is out.
    pub nics: Vec<MacAddress>,
    /// Boot order of our BIOS. Where `Scsi` stands before `HardDisk` (or without it), int 13h counts SCSI disks first.
    pub boot: Vec<BootDevice>,
    /// Device ID of the host bridge: 7192h, 7190h or 1237h.
    pub chipset_id: u16,
    /// System BIOS image in place of ours: a power of two from 64 KiB to 1 MiB.
    pub bios: Option<Vec<u8>>,
    /// Video BIOS image in place of ours.
    pub video_bios: Option<Vec<u8>>,
    /// Where serial numbers come from.
    pub seed: u64,
}

impl VirtualServer2005 {
    /// The machine as the product made it: 128 MiB, a Pentium II, nothing in its drives.
    pub fn new() -> Self {
        Self {
            memory_mib: 128,
            cpu: CpuModel::pentium2(),
            clock: ClockMode::Real,
            rtc: DateTime::new(2005, 9, 20, 0, 0, 0).expect("a date"),
            ide: Default::default(),
            scsi: Default::default(),
            nics: Vec::new(),
            boot: vec![BootDevice::Cd, BootDevice::Floppy, BootDevice::HardDisk],
            chipset_id: 0x7192,
            bios: None,
            video_bios: None,
            seed: 1,
        }
    }
}

impl Default for VirtualServer2005 {
    fn default() -> Self {
        Self::new()
    }
}

fn drive(drive: &DriveBay, position: usize, seed: u64) -> Option<Drive> {
    let serial = format!("SLOT1-{seed:08X}-{position}");
    match drive {
        DriveBay::Empty => None,
        DriveBay::Disk(medium) => {
            let mut config = DiskConfig::new(medium.info().clone());
            config.serial = serial;
            Some(Drive::disk(config))
        }
        DriveBay::CdRom(medium) => {
            let disc: Option<MediumInfo> = medium.as_ref().map(|m| m.info().clone());
            Some(Drive::cdrom(CdConfig { serial, medium: disc, ..CdConfig::default() }))
        }
    }
}

fn scsi_target(bay: &DriveBay, wide: bool, serial: String) -> Option<Box<dyn Target>> {
    let spi = SpiFlags { wide, sync: true, queueing: true };
    match bay {
        DriveBay::Empty => None,
        DriveBay::Disk(medium) => {
            let config = scsi::DiskConfig { spi, serial, ..scsi::DiskConfig::new(medium.info()) };
            Some(Box::new(scsi::Disk::new(config)))
        }
        DriveBay::CdRom(medium) => {
            let mut drive = scsi::CdRom::with_config(scsi::CdConfig { serial, ..scsi::CdConfig::scsi(spi) });
            if let Some(medium) = medium {
                drive.insert(medium.info().capacity);
            }
            Some(Box::new(drive))
        }
    }
}

/// Builds the board of Virtual Server 2005 with everything on it that this build has. Add to it, replace or remove devices (by
/// [`name`]), then [`MachineBuilder::build`].
///
/// ```
/// use slotone_vmm_core::{VirtualServer2005, virtual_server_2005, vs2005::name};
/// let mut builder = virtual_server_2005(&VirtualServer2005 { memory_mib: 16, ..VirtualServer2005::new() })?;
/// let second_port = builder.find(name::UART1)?;
/// builder.remove(second_port)?;
/// let machine = builder.build()?;
/// assert_eq!(machine.ram().len(), 16 << 20);
/// # Ok::<(), slotone_vmm_core::BuildError>(())
/// ```
///
/// # Errors
/// [`BuildError`]: a memory size out of range, more network cards than slots, ROM images that do not fit, no room on the host.
pub fn virtual_server_2005(config: &VirtualServer2005) -> Result<MachineBuilder, BuildError> {
    let (least, most) = MEMORY_MIB;
    if !(least..=most).contains(&config.memory_mib) {
        return Err(BuildError::MemorySize { mib: config.memory_mib, least, most });
    }
    let ram = config.memory_mib << 20;
    let mut b = MachineBuilder::new(ram as usize)?;
    b.clock(config.clock);
    let cpu: Box<dyn Cpu> = Box::new(SoftCpu::new(config.cpu.clone()));
    b.cpu(cpu);

    let host = HostBridgeConfig { device_id: config.chipset_id, ..HostBridgeConfig::new(ram) };
    b.add_pci(name::HOST_BRIDGE, 0, HostBridge::new(host))?;
    let flash = match &config.bios {
        Some(image) => image.clone(),
        None => slotone_firmware::rom().to_vec(),
    };
    if !flash.len().is_power_of_two() || !(0x1_0000..=0x10_0000).contains(&flash.len()) {
        return Err(BuildError::Rom { device: name::ISA_BRIDGE.into(), len: flash.len(), room: 0x4_0000 });
    }
    let bridge = IsaBridgeConfig { flash_bytes: flash.len(), ..IsaBridgeConfig::default() };
    let isa = b.add_pci(name::ISA_BRIDGE, slots::PIIX4, IsaBridge::new(bridge))?;
    b.rom(isa, isa_bridge::FLASH, &flash)?;
    let ide = [0, 1, 2, 3].map(|i| drive(&config.ide[i], i, config.seed));
    let ide = b.add_pci(name::IDE, slots::PIIX4, PciIde::new(ide, Timing::default()))?;
    b.media::<PciIde>(ide, config.ide.iter().map(DriveBay::medium).collect());
    let pm = b.add_pci(name::PM, slots::PIIX4, Pm::new(PmConfig::default()))?;
    let vga = b.add_pci(name::VGA, slots::VIDEO, S3Trio::new())?;
    let video = config.video_bios.clone().unwrap_or_else(|| slotone_firmware::video_rom().to_vec());
    b.rom(vga, S3Trio::ROM, &video)?;

    if config.nics.len() > slots::NETWORK.len() {
        return Err(BuildError::TooMany {
            what: "network cards",
            asked: config.nics.len(),
            most: slots::NETWORK.len(),
        });
    }
    let mut on_pirq_a = vec![(vga, S3Trio::INTA)];
    for (number, bays) in config.scsi.iter().enumerate() {
        let Some(bays) = bays else { continue };
        let adapter = Aic7870Config { adapter: number as u8, ..Aic7870Config::default() };
        let mut targets: [Option<Box<dyn Target>>; 16] = Default::default();
        for (id, (bay, target)) in bays.iter().zip(&mut targets).enumerate() {
            *target = scsi_target(bay, adapter.wide, format!("SLOT1-{:08X}-{number}{id}", config.seed));
        }
        let device = b.add_pci(name::SCSI[number], slots::SCSI[number], Aic7870::new(adapter, targets))?;
        b.media::<Aic7870>(device, bays.iter().map(DriveBay::medium).collect());
        on_pirq_a.push((device, Aic7870::INTA));
    }
    for (port, (mac, slot)) in config.nics.iter().zip(slots::NETWORK).enumerate() {
        let card = Tulip::new(TulipConfig { port: port as u8, ..TulipConfig::new(*mac) });
        on_pirq_a.push((b.add_pci(name::NICS[port], slot, card)?, Tulip::INTA));
    }

    let pic = b.add(name::PIC, Pic::new())?;
    let pit = b.add(name::PIT, Pit::new())?;
    b.add(name::DMA, Dma::new())?;
    let rtc = b.add(name::RTC, Rtc::new(config.rtc))?;
    let kbc = b.add(name::KBC, Kbc::new())?;
    let uart0 =
        b.add(name::UART0, Uart::new(uart::UartConfig { fifo_64: true, ..uart::UartConfig::new(0x3f8) }))?;
    let uart1 =
        b.add(name::UART1, Uart::new(uart::UartConfig { fifo_64: true, ..uart::UartConfig::new(0x2f8) }))?;
    b.add(name::SUPER_IO, SuperIo::new(&[0x370]))?;

    let ir = |n| Sink::Input(pic, pic::pin::ir(n));
    for (device, pin, n) in [
        (pit, pit::pin::OUT0, 0),
        (kbc, kbc::pin::IRQ1, 1),
        (uart1, uart::pin::IRQ, 3),
        (uart0, uart::pin::IRQ, 4),
        (rtc, rtc::pin::IRQ8, 8),
        (pm, pm::pin::SCI, 9),
        (pm, pm::pin::SMB_IRQ, 9),
        (kbc, kbc::pin::IRQ12, 12),
        (ide, IRQ14, 14),
        (ide, IRQ15, 15),
    ] {
        b.wire(device, pin, ir(n));
    }
    for n in [3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 14, 15] {
        b.wire(isa, isa_bridge::pin::irq(n), ir(n));
    }
    b.wire(pic, pic::pin::INTR, Sink::CpuIntr);
    let to = |b: &mut MachineBuilder, from: DeviceId, pin: Pin, to: DeviceId, input: Pin| {
        b.wire(from, pin, Sink::Input(to, input));
    };
    to(&mut b, pit, pit::pin::OUT2, isa, isa_bridge::pin::OUT2);
    to(&mut b, isa, isa_bridge::pin::GATE2, pit, pit::pin::GATE2);
    to(&mut b, rtc, rtc::pin::NMI_MASK, isa, isa_bridge::pin::NMI_MASK);
    to(&mut b, isa, isa_bridge::pin::RTC_UPPER, rtc, rtc::pin::UPPER);
    // INTA# of every slot, wired straight.
    let pirq = Swizzle::Straight.route(slots::VIDEO, IntPin::A);
    for (card, inta) in on_pirq_a {
        to(&mut b, card, inta, isa, isa_bridge::pin::pirq(pirq));
    }
    b.wire(isa, isa_bridge::pin::A20, Sink::CpuA20);
    b.wire(kbc, kbc::pin::A20, Sink::CpuA20);
    b.wire(isa, isa_bridge::pin::NMI, Sink::CpuNmi);
    b.wire(isa, isa_bridge::pin::INIT, Sink::CpuInit);
    b.wire(kbc, kbc::pin::INIT, Sink::CpuInit);
    b.wire(isa, isa_bridge::pin::RESET, Sink::Reset);
    b.wire(pm, pm::pin::SLP_S5, Sink::PowerOff);
    b.wire_ferr(isa, isa_bridge::pin::FERR);
    if config.bios.is_none() {
        let mut firmware = Firmware::new(ram);
        firmware.boot_order.clone_from(&config.boot);
        b.firmware(firmware);
    }
    Ok(b)
}
