//! Configuration mechanism 1: CONFADD at CF8h and CONFDATA at CFCh (PCI 2.1, 3.7.4.1; 82443BX 3.1).

use crate::Bdf;
use slotone_bus::state::{StateError, StateReader, StateWriter};

/// A configuration access decoded from CONFADD and the port used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConfigAddress {
    /// The function.
    pub bdf: Bdf,
    /// First byte of its configuration space, 0 to 255.
    pub offset: u8,
}

/// The CONFADD latch. A machine keeps one, asks it for every access to CF8h-CFFh, and carries out what it decodes.
///
/// ```
/// use slotone_pci::{Bdf, ConfigPort};
/// let mut port = ConfigPort::default();
/// assert!(port.write_address(0xcf8, &0x8000_3904u32.to_le_bytes()));
/// let at = port.decode(0xcfe, 2).unwrap();
/// assert_eq!((at.bdf, at.offset), (Bdf::new(7, 1), 6));
/// assert!(!port.write_address(0xcf9, &[6]), "a byte at CF9h is the reset control register, not CONFADD");
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ConfigPort {
    address: u32,
}

slotone_bus::encode_fields!(ConfigPort { address });

impl ConfigPort {
    /// First port of CONFADD.
    pub const ADDRESS: u16 = 0xcf8;
    /// First port of CONFDATA.
    pub const DATA: u16 = 0xcfc;

    /// A write to `port`; returns whether it was one to CONFADD, which only a 32-bit access at CF8h is.
    pub fn write_address(&mut self, port: u16, data: &[u8]) -> bool {
        match (port, <[u8; 4]>::try_from(data)) {
            (Self::ADDRESS, Ok(bytes)) => {
                // Bits 30:24 and 1:0 are reserved and read as zero (82443BX, CONFADD).
                self.address = u32::from_le_bytes(bytes) & 0x80ff_fffc;
                true
            }
            _ => false,
        }
    }

    /// CONFADD for a read at `port` of `len` bytes; `None` if that is not a read of CONFADD.
    pub fn read_address(&self, port: u16, len: usize) -> Option<u32> {
        (port == Self::ADDRESS && len == 4).then_some(self.address)
    }

    /// What an access of `len` bytes at `port` (CFCh to CFFh) reaches; `None` if the enable bit is clear, the port is another or the
    /// access leaves CONFDATA.
    pub fn decode(&self, port: u16, len: usize) -> Option<ConfigAddress> {
        let lane = port.checked_sub(Self::DATA).filter(|lane| usize::from(*lane) + len <= 4)? as u8;
        if self.address & 0x8000_0000 == 0 {
            return None;
        }
        let [offset, devfn, bus, _] = self.address.to_le_bytes();
        let bdf = Bdf { bus, device: devfn >> 3, function: devfn & 7 };
        Some(ConfigAddress { bdf, offset: offset + lane })
    }

    /// Writes its state.
    pub fn save(&self, w: &mut StateWriter) {
        w.section("pci-config-port", 1, self);
    }

    /// Takes a state back.
    ///
    /// # Errors
    /// [`StateError`] if the bytes are no such state.
    pub fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        *self = r.section("pci-config-port", 1)?;
        Ok(())
    }
}
