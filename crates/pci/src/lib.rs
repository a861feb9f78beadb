//! PCI for device models: the configuration space of a function, its base address registers, configuration mechanism
//! 1 (CF8h/CFCh) and the INTx swizzle. PCI Local Bus Specification 2.1, chapters 3 and 6.
//!
//! A PCI function is a [`Device`](slotone_bus::Device) with a window in [`Space::PciConfig`](slotone_bus::Space::PciConfig).
//! It keeps a [`ConfigSpace`], serves that window from it, and derives its other windows from the command
//! register and the BARs after *every* configuration write.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

mod config_port;
mod config_space;

pub use config_port::{ConfigAddress, ConfigPort};
pub use config_space::{Bar, ConfigBytes, ConfigSpace, Identity};

/// Where a function sits: bus, device (slot) and function number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf {
    /// Bus, 0 to 255.
    pub bus: u8,
    /// Device number, 0 to 31.
    pub device: u8,
    /// Function, 0 to 7.
    pub function: u8,
}

impl Bdf {
    /// A function on bus 0.
    pub const fn new(device: u8, function: u8) -> Self {
        Self { bus: 0, device: device & 31, function: function & 7 }
    }
}

impl std::fmt::Display for Bdf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:02x}:{:02x}.{}", self.bus, self.device, self.function)
    }
}

/// One of the four interrupt pins of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum IntPin {
    /// INTA#
    A,
    /// INTB#
    B,
    /// INTC#
    C,
    /// INTD#
    D,
}

/// How a board wires the slots' INTx pins to the router's PIRQ inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swizzle {
    /// INTx of every slot goes to PIRQx: Virtual PC's and Virtual Server's board.
    Straight,
    /// PIRQ = (slot - 1 + pin) mod 4: the rotation of QEMU's board and of most real ones.
    Rotated,
}

impl Swizzle {
    /// The router input, 0 (PIRQA) to 3 (PIRQD), for `pin` of the device in `slot`.
    pub const fn route(self, slot: u8, pin: IntPin) -> u8 {
        let pin = pin as u8;
        match self {
            Self::Straight => pin,
            Self::Rotated => (slot.wrapping_sub(1).wrapping_add(pin)) & 3,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn swizzles() {
        assert_eq!(Swizzle::Straight.route(10, IntPin::B), 1);
        assert_eq!(Swizzle::Rotated.route(1, IntPin::A), 0);
        assert_eq!(Swizzle::Rotated.route(3, IntPin::D), 1);
    }
}

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
