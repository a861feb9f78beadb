//! rust-vmm's guest memory as our DMA (feature `vm-memory`).

use crate::DmaFault;
use vm_memory::{Bytes, GuestAddress, GuestMemory};

/// DMA to any `vm_memory::GuestMemory`: the two methods a [`Port`](crate::Port) or a `HostPort` needs.
///
/// ```
/// use slotone_bus::vm_memory::GuestDma;
/// use vm_memory::{GuestAddress, GuestMemoryMmap};
/// let memory = GuestMemoryMmap::<()>::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap();
/// let dma = GuestDma(&memory);
/// dma.write(0x1000, &[1, 2, 3])?;
/// let mut back = [0; 3];
/// dma.read(0x1000, &mut back)?;
/// assert_eq!(back, [1, 2, 3]);
/// assert!(dma.write(0xfffe, &[0; 4]).is_err());
/// # Ok::<(), slotone_bus::DmaFault>(())
/// ```
#[derive(Debug, Clone, Copy)]
pub struct GuestDma<'a, M: ?Sized>(pub &'a M);

impl<M: GuestMemory + ?Sized> GuestDma<'_, M> {
    /// Reads guest memory.
    ///
    /// # Errors
    /// [`DmaFault`] if a part of the range is no memory.
    pub fn read(&self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.0.read_slice(data, GuestAddress(address)).map_err(|_| DmaFault { address, len: data.len() })
    }

    /// Writes guest memory.
    ///
    /// # Errors
    /// [`DmaFault`] if a part of the range is no memory.
    pub fn write(&self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.0.write_slice(data, GuestAddress(address)).map_err(|_| DmaFault { address, len: data.len() })
    }
}
