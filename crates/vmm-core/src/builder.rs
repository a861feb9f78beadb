//! Composing a machine from parts.

use std::sync::Arc;

use slotone_block::{BlockBackend, DiskClient};
use slotone_bus::cpu::Cpu;
use slotone_bus::mem::MemoryError;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, LentId, Pin, PinLevels, ResetKind, VmInstant, Window,
};
use slotone_firmware::Firmware;
use slotone_net::{NetClient, NetPort};
use thiserror::Error;

use crate::board::{Board, DeviceId, Sink};
use crate::clock::ClockMode;
use crate::linux::LinuxImage;
use crate::machine::{Machine, OnTripleFault};

/// Why a machine cannot be built.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// The host has no room for the guest's memory.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// Memory size outside what the machine can have.
    #[error("{mib} MiB of memory: the machine takes {least} to {most} MiB")]
    MemorySize {
        /// Size asked for, in MiB.
        mib: u64,
        /// Least.
        least: u64,
        /// Most.
        most: u64,
    },
    /// The kernel of a direct Linux boot cannot be used.
    #[error(transparent)]
    Linux(#[from] slotone_firmware::linux_boot::LinuxBootError),
    /// No CPU was given.
    #[error("a machine needs a CPU: call MachineBuilder::cpu")]
    NoCpu,
    /// A PCI slot number above 31.
    #[error("PCI slot {0} does not exist: slots are 0 to 31")]
    Slot(u8),
    /// An image does not fit the memory it is for.
    #[error("a ROM image of {len} bytes does not fit the {room} bytes of {device}")]
    Rom {
        /// The device.
        device: String,
        /// Bytes given.
        len: usize,
        /// Bytes there are.
        room: usize,
    },
    /// More of something than the machine has room for.
    #[error("{asked} {what}: the machine takes {most}")]
    TooMany {
        /// What.
        what: &'static str,
        /// How many were asked for.
        asked: usize,
        /// How many there can be.
        most: usize,
    },
    /// No such device.
    #[error("the machine has no device named {0}")]
    NoDevice(String),
}

/// Composes a machine: add devices, wire their pins, plug in a CPU.
///
/// ```
/// use slotone_vmm_core::{MachineBuilder, Sink};
/// use slotone_x86_cpu::{CpuModel, SoftCpu};
/// let mut builder = MachineBuilder::new(1 << 20)?;
/// builder.cpu(Box::new(SoftCpu::new(CpuModel::pentium2())));
/// let machine = builder.build()?;
/// assert_eq!(machine.ram().len(), 1 << 20);
/// # Ok::<(), slotone_vmm_core::BuildError>(())
/// ```
#[derive(Debug)]
pub struct MachineBuilder {
    board: Board,
    cpu: CpuSlot,
    firmware: Option<Firmware>,
    on_triple_fault: OnTripleFault,
    linux: Option<LinuxImage>,
}

struct CpuSlot(Option<Box<dyn Cpu>>);

impl std::fmt::Debug for CpuSlot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "CPU" } else { "no CPU" })
    }
}

impl MachineBuilder {
    /// A bare board with `ram` bytes of memory (which answers nowhere until a device's window maps it) and the real clock.
    ///
    /// # Errors
    /// [`BuildError::Memory`] if the host has no room.
    pub fn new(ram: usize) -> Result<Self, BuildError> {
        Ok(Self {
            board: Board::new(ram, ClockMode::Real)?,
            cpu: CpuSlot(None),
            firmware: None,
            on_triple_fault: OnTripleFault::default(),
            linux: None,
        })
    }

    /// Chooses what virtual time follows.
    pub fn clock(&mut self, mode: ClockMode) -> &mut Self {
        self.board.time = crate::clock::Timebase::new(mode);
        self
    }

    /// Plugs in the CPU.
    pub fn cpu(&mut self, cpu: Box<dyn Cpu>) -> &mut Self {
        self.cpu = CpuSlot(Some(cpu));
        self
    }

    /// Puts the firmware behind its trap port.
    pub fn firmware(&mut self, firmware: Firmware) -> &mut Self {
        self.board.trap_port = Some(slotone_firmware::TRAP_PORT);
        self.firmware = Some(firmware);
        self
    }

    /// What a triple fault does.
    pub fn on_triple_fault(&mut self, what: OnTripleFault) -> &mut Self {
        self.on_triple_fault = what;
        self
    }

    /// Enters a Linux kernel directly once POST is done.
    ///
    /// # Errors
    /// [`BuildError::Linux`] if it is no kernel, or does not fit the memory.
    pub fn linux(&mut self, image: LinuxImage) -> Result<&mut Self, BuildError> {
        image.check(self.board.ram.len() as u64)?;
        self.linux = Some(image);
        Ok(self)
    }

    /// Adds a device that is not on PCI.
    ///
    /// # Errors
    /// [`BuildError::Memory`] if the memory it wants lent cannot be had.
    pub fn add(&mut self, name: &str, device: impl Device) -> Result<DeviceId, BuildError> {
        Ok(self.board.add(name, Box::new(device), None)?)
    }

    /// Adds a device to PCI slot `slot` of bus 0. Several devices may share a slot with different functions.
    ///
    /// # Errors
    /// [`BuildError::Slot`], or as [`MachineBuilder::add`].
    pub fn add_pci(&mut self, name: &str, slot: u8, device: impl Device) -> Result<DeviceId, BuildError> {
        if slot > 31 {
            return Err(BuildError::Slot(slot));
        }
        Ok(self.board.add(name, Box::new(device), Some(slot))?)
    }

    /// Gives a disk controller its media, by unit.
    pub fn media<T: Device + DiskClient>(
        &mut self,
        controller: DeviceId,
        media: Vec<Option<Arc<dyn BlockBackend>>>,
    ) -> &mut Self {
        self.board.attach_media::<T>(controller, media);
        self
    }

    /// Plugs a network card into a port of a network. A card without one has no link.
    pub fn network<T: Device + NetClient>(
        &mut self,
        card: DeviceId,
        port: impl NetPort + 'static,
    ) -> &mut Self {
        self.board.attach_network::<T>(card, Box::new(port));
        self
    }

    /// Fills a memory lent to a device (a ROM image), from its first byte.
    ///
    /// # Errors
    /// [`BuildError::Rom`] if it does not fit.
    pub fn rom(&mut self, device: DeviceId, memory: LentId, image: &[u8]) -> Result<&mut Self, BuildError> {
        let room = self.board.lent(device, memory).map_or(0, |m| m.len());
        if let Some(lent) = self.board.lent_mut(device, memory)
            && lent.write(0, image).is_ok()
        {
            return Ok(self);
        }
        let device =
            self.board.ids().find(|(id, _)| *id == device).map_or_else(String::new, |(_, n)| n.into());
        Err(BuildError::Rom { device, len: image.len(), room })
    }

    /// Connects an output pin. Several sources of one sink are ORed.
    pub fn wire(&mut self, from: DeviceId, pin: Pin, to: Sink) -> &mut Self {
        self.board.wire(from, pin, to);
        self
    }

    /// Connects FERR# of the CPU to an input pin.
    pub fn wire_ferr(&mut self, to: DeviceId, pin: Pin) -> &mut Self {
        self.board.ferr = Some((to, pin));
        self
    }

    /// The device named `name`.
    ///
    /// # Errors
    /// [`BuildError::NoDevice`].
    pub fn find(&self, name: &str) -> Result<DeviceId, BuildError> {
        let found = self.board.ids().find(|(_, n)| *n == name).map(|(id, _)| id);
        found.ok_or_else(|| BuildError::NoDevice(name.to_string()))
    }

    /// Changes a concrete device before the machine is there: a fault in one of an adapter's targets, for instance. `None` if it is of another
    /// type.
    pub fn with<T: Device, R>(&mut self, id: DeviceId, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        self.board.call(id.0, |device, _| {
            let any: &mut dyn std::any::Any = device;
            any.downcast_mut::<T>().map(f)
        })
    }

    /// Puts another device in the place of one: its name, PCI slot and wires stay.
    ///
    /// # Errors
    /// As [`MachineBuilder::add`].
    pub fn replace(&mut self, id: DeviceId, device: impl Device) -> Result<&mut Self, BuildError> {
        self.board.replace(id, Box::new(device))?;
        Ok(self)
    }

    /// Leaves a device out: nobody answers at its addresses, its pins stay low.
    ///
    /// # Errors
    /// As [`MachineBuilder::add`].
    pub fn remove(&mut self, id: DeviceId) -> Result<&mut Self, BuildError> {
        self.replace(id, Absent)
    }

    /// The finished machine, powered on.
    ///
    /// # Errors
    /// [`BuildError::NoCpu`].
    pub fn build(self) -> Result<Machine, BuildError> {
        let cpu = self.cpu.0.ok_or(BuildError::NoCpu)?;
        Ok(Machine::assemble(cpu, self.board, self.firmware, self.on_triple_fault, self.linux))
    }
}

/// An empty socket.
#[derive(Debug)]
struct Absent;

impl Device for Absent {
    fn windows(&self) -> (Generation, &[Window]) {
        (Generation(0), &[])
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
