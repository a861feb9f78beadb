//! Our devices in rust-vmm's `IoManager` (feature `vm-device`).
//!
//! [`Adapter`] makes any [`Device`] a `MutDevicePio` and `MutDeviceMmio`. What vm-device does not know about — time, memory, lines, wake-ups,
//! moving windows — goes through a [`HostPort`] of the VMM's. PCI configuration accesses go to [`Adapter::config_read`] and
//! [`Adapter::config_write`], from whatever the VMM's PCI bus is.

use crate::mem::Memory;
use crate::{At, Cx, Device, DmaFault, LentId, Pin, Port, Space, VmInstant, Window};
use vm_device::bus::{MmioAddress, MmioAddressOffset, PioAddress, PioAddressOffset};
use vm_device::{MutDeviceMmio, MutDevicePio};

/// What a device needs of the VMM around it.
pub trait HostPort: Send {
    /// Virtual time now. Never goes back.
    fn now(&mut self) -> VmInstant;
    /// An output pin changed level; repeats do not come here. Drive an `irqfd`, an interrupt controller or another device.
    fn line(&mut self, pin: Pin, level: bool);
    /// Call [`Adapter::tick`] at `deadline`, and not at an earlier one given before; `None`: not at all.
    fn wake_at(&mut self, deadline: Option<VmInstant>);
    /// The device answers at other addresses now: register the new ranges, deregister the old ones.
    fn windows_changed(&mut self, windows: &[Window]) {
        let _ = windows;
    }
    /// Reads guest memory as a PCI master.
    ///
    /// # Errors
    /// [`DmaFault`] if no memory answers.
    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault>;
    /// Writes guest memory as a PCI master.
    ///
    /// # Errors
    /// [`DmaFault`] if no memory answers.
    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault>;
}

/// A [`Device`] that rust-vmm's device manager can dispatch to. Put it behind `Arc<Mutex<_>>` and register it for each of its
/// windows.
#[derive(Debug)]
pub struct Adapter<D, H> {
    device: D,
    rest: Rest<H>,
}

#[derive(Debug)]
struct Rest<H> {
    host: H,
    lent: Vec<(LentId, Memory)>,
    levels: u64,
}

impl<H: HostPort> Port for Rest<H> {
    fn line(&mut self, pin: Pin, level: bool) {
        let bit = 1u64 << (pin.0 & 63);
        if (self.levels & bit != 0) != level {
            self.levels ^= bit;
            self.host.line(pin, level);
        }
    }

    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.host.dma_read(address, data)
    }

    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.host.dma_write(address, data)
    }

    fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        self.lent.iter_mut().find(|(i, _)| *i == id).map(|(_, m)| m)
    }
}

impl<D: Device, H: HostPort> Adapter<D, H> {
    /// Wraps `device`; allocates the memories that it wants lent.
    ///
    /// # Errors
    /// [`crate::mem::MemoryError`] if the host has no room for them.
    pub fn new(device: D, host: H) -> Result<Self, crate::mem::MemoryError> {
        let mut lent = Vec::new();
        for wanted in device.memories() {
            lent.push((wanted.id, Memory::new(wanted.len)?));
        }
        let levels = device.levels().0;
        Ok(Self { device, rest: Rest { host, lent, levels } })
    }

    /// The device.
    pub fn device(&self) -> &D {
        &self.device
    }

    /// The VMM's half.
    pub fn host(&mut self) -> &mut H {
        &mut self.rest.host
    }

    /// Calls the device and tells the VMM what changed. Runs overdue ticks first, in order.
    pub fn call<R>(&mut self, f: impl FnOnce(&mut D, &mut Cx<'_>) -> R) -> R {
        let now = self.rest.host.now();
        let before = self.device.windows().0;
        let mut ticked = None;
        while let Some(deadline) = self.device.next_deadline()
            && deadline <= now
            && ticked != Some(deadline)
        {
            self.device.tick(&mut Cx::new(deadline, &mut self.rest));
            ticked = Some(deadline);
        }
        let result = f(&mut self.device, &mut Cx::new(now, &mut self.rest));
        let (after, windows) = self.device.windows();
        if after != before {
            self.rest.host.windows_changed(windows);
        }
        self.rest.host.wake_at(self.device.next_deadline());
        result
    }

    /// Time has reached the deadline last given to [`HostPort::wake_at`].
    pub fn tick(&mut self) {
        self.call(|_, _| ());
    }

    /// Reads the configuration space of `function`; absent ones read as all ones.
    pub fn config_read(&mut self, function: u8, offset: u8, data: &mut [u8]) {
        match self.window(Space::PciConfig { function }, 0) {
            Some(at) => self.call(|d, cx| d.read(cx, At { offset: offset.into(), ..at }, data)),
            None => data.fill(0xff),
        }
    }

    /// Writes the configuration space of `function`.
    pub fn config_write(&mut self, function: u8, offset: u8, data: &[u8]) {
        if let Some(at) = self.window(Space::PciConfig { function }, 0) {
            self.call(|d, cx| d.write(cx, At { offset: offset.into(), ..at }, data));
        }
    }

    fn window(&self, space: Space, base: u64) -> Option<At> {
        let windows = self.device.windows().1;
        let found = windows.iter().find(|w| w.space == space && w.base == base)?;
        Some(At { window: found.id, offset: 0 })
    }

    fn read(&mut self, space: Space, base: u64, offset: u64, data: &mut [u8]) {
        match self.window(space, base) {
            Some(at) => self.call(|d, cx| d.read(cx, At { offset, ..at }, data)),
            None => data.fill(0xff),
        }
    }

    fn write(&mut self, space: Space, base: u64, offset: u64, data: &[u8]) {
        if let Some(at) = self.window(space, base) {
            self.call(|d, cx| d.write(cx, At { offset, ..at }, data));
        }
    }
}

impl<D: Device, H: HostPort> MutDevicePio for Adapter<D, H> {
    fn pio_read(&mut self, base: PioAddress, offset: PioAddressOffset, data: &mut [u8]) {
        self.read(Space::Io, base.0.into(), offset.into(), data);
    }

    fn pio_write(&mut self, base: PioAddress, offset: PioAddressOffset, data: &[u8]) {
        self.write(Space::Io, base.0.into(), offset.into(), data);
    }
}

impl<D: Device, H: HostPort> MutDeviceMmio for Adapter<D, H> {
    fn mmio_read(&mut self, base: MmioAddress, offset: MmioAddressOffset, data: &mut [u8]) {
        self.read(Space::Memory, base.0, offset, data);
    }

    fn mmio_write(&mut self, base: MmioAddress, offset: MmioAddressOffset, data: &[u8]) {
        self.write(Space::Memory, base.0, offset, data);
    }
}
