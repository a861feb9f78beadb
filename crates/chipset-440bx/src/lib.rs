//! Intel 82443BX host bridge and PIIX4 with what they integrate: 8259, 8254, 8237, RTC, power management.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![forbid(unsafe_code)]

pub mod dma;
pub mod host_bridge;
pub mod isa_bridge;
pub mod pic;
pub mod pit;
pub mod pm;
pub mod rtc;
mod util;

pub use dma::Dma;
pub use host_bridge::{HostBridge, HostBridgeConfig};
pub use isa_bridge::{IsaBridge, IsaBridgeConfig};
pub use pic::Pic;
pub use pit::Pit;
pub use pm::{Pm, PmConfig, SmbusMemory};
pub use rtc::{DateTime, Rtc};
