//! The chip as a bus master: descriptors and buffers in either byte order, at 32-bit addresses.

use slotone_bus::{Cx, DmaFault};

/// The address of `len` bytes at `address`; a transfer beyond 4 GiB has no target.
fn place(address: u32, len: usize) -> Result<u64, DmaFault> {
    let address = u64::from(address);
    if address + len as u64 > 1 << 32 { Err(DmaFault { address, len }) } else { Ok(address) }
}

/// Reads the four longwords of a descriptor. `swap` is CSR0 DBO.
pub(crate) fn read_descriptor(cx: &mut Cx<'_>, address: u32, swap: bool) -> Result<[u32; 4], DmaFault> {
    let mut bytes = [0; 16];
    cx.dma_read(place(address, 16)?, &mut bytes)?;
    let word = |n: usize| {
        let word = [bytes[n], bytes[n + 1], bytes[n + 2], bytes[n + 3]];
        if swap { u32::from_be_bytes(word) } else { u32::from_le_bytes(word) }
    };
    Ok([word(0), word(4), word(8), word(12)])
}

/// Writes the first longword of a descriptor.
pub(crate) fn write_status(cx: &mut Cx<'_>, address: u32, value: u32, swap: bool) -> Result<(), DmaFault> {
    let bytes = if swap { value.to_be_bytes() } else { value.to_le_bytes() };
    cx.dma_write(place(address, 4)?, &bytes)
}

/// Reads a piece of a buffer. `swap` is CSR0 BLE: the bytes of each longword are the other way round.
pub(crate) fn read_buffer(
    cx: &mut Cx<'_>,
    address: u32,
    data: &mut [u8],
    swap: bool,
) -> Result<(), DmaFault> {
    let at = place(address, data.len())?;
    if !swap {
        return cx.dma_read(at, data);
    }
    data.iter_mut().zip(at..).try_for_each(|(byte, at)| cx.dma_read(at ^ 3, std::slice::from_mut(byte)))
}

/// Writes a piece of a buffer; the counterpart of [`read_buffer`].
pub(crate) fn write_buffer(cx: &mut Cx<'_>, address: u32, data: &[u8], swap: bool) -> Result<(), DmaFault> {
    let at = place(address, data.len())?;
    if !swap {
        return cx.dma_write(at, data);
    }
    data.iter().zip(at..).try_for_each(|(byte, at)| cx.dma_write(at ^ 3, std::slice::from_ref(byte)))
}
