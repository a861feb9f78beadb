//! Names and bits as ATA/ATAPI-5 and the PIIX4 data sheet (Intel 290562, section 5) print them.

/// Status register (ATA/ATAPI-5, 7.15).
pub mod status {
    /// Busy: the drive owns the registers.
    pub const BSY: u8 = 0x80;
    /// Drive ready.
    pub const DRDY: u8 = 0x40;
    /// Drive fault.
    pub const DF: u8 = 0x20;
    /// Drive seek complete.
    pub const DSC: u8 = 0x10;
    /// Data request.
    pub const DRQ: u8 = 0x08;
    /// Error; CHK for packet commands.
    pub const ERR: u8 = 0x01;
}

/// Error register (ATA/ATAPI-5, 7.9).
pub mod error {
    /// Uncorrectable data.
    pub const UNC: u8 = 0x40;
    /// Address not found.
    pub const IDNF: u8 = 0x10;
    /// Command aborted.
    pub const ABRT: u8 = 0x04;
    /// Diagnostic code of a drive without a fault.
    pub const DIAGNOSTIC_PASSED: u8 = 0x01;
}

/// Device register (ATA/ATAPI-5, 7.7).
pub mod device {
    /// The address is a logical block number.
    pub const LBA: u8 = 0x40;
    /// Drive 1 is selected.
    pub const DEV: u8 = 0x10;
}

/// Device control register (ATA/ATAPI-5, 7.8).
pub mod control {
    /// Read back the previous content of the two-byte registers (ATA/ATAPI-6).
    pub const HOB: u8 = 0x80;
    /// Software reset of both drives.
    pub const SRST: u8 = 0x04;
    /// INTRQ is not driven.
    pub const NIEN: u8 = 0x02;
}

/// Interrupt reason of packet commands, in the sector count register (ATA/ATAPI-5, 8.23).
pub mod reason {
    /// The command packet is wanted, or status is there; else data.
    pub const CD: u8 = 0x01;
    /// Towards the host.
    pub const IO: u8 = 0x02;
}

/// Command codes (ATA/ATAPI-5, table E.1; the second code of a pair is the obsolete one).
#[expect(missing_docs, reason = "the standard's own names")]
pub mod command {
    pub const NOP: u8 = 0x00;
    pub const DEVICE_RESET: u8 = 0x08;
    pub const RECALIBRATE: u8 = 0x10;
    pub const READ_SECTORS: u8 = 0x20;
    pub const READ_SECTORS_NO_RETRY: u8 = 0x21;
    pub const WRITE_SECTORS: u8 = 0x30;
    pub const WRITE_SECTORS_NO_RETRY: u8 = 0x31;
    pub const WRITE_VERIFY: u8 = 0x3c;
    pub const READ_VERIFY: u8 = 0x40;
    pub const READ_VERIFY_NO_RETRY: u8 = 0x41;
    pub const SEEK: u8 = 0x70;
    pub const EXECUTE_DEVICE_DIAGNOSTIC: u8 = 0x90;
    pub const INITIALIZE_DEVICE_PARAMETERS: u8 = 0x91;
    pub const STANDBY_IMMEDIATE_OLD: u8 = 0x94;
    pub const IDLE_IMMEDIATE_OLD: u8 = 0x95;
    pub const STANDBY_OLD: u8 = 0x96;
    pub const IDLE_OLD: u8 = 0x97;
    pub const CHECK_POWER_MODE_OLD: u8 = 0x98;
    pub const SLEEP_OLD: u8 = 0x99;
    pub const PACKET: u8 = 0xa0;
    pub const IDENTIFY_PACKET_DEVICE: u8 = 0xa1;
    pub const READ_MULTIPLE: u8 = 0xc4;
    pub const WRITE_MULTIPLE: u8 = 0xc5;
    pub const SET_MULTIPLE_MODE: u8 = 0xc6;
    pub const READ_DMA: u8 = 0xc8;
    pub const READ_DMA_NO_RETRY: u8 = 0xc9;
    pub const WRITE_DMA: u8 = 0xca;
    pub const WRITE_DMA_NO_RETRY: u8 = 0xcb;
    pub const STANDBY_IMMEDIATE: u8 = 0xe0;
    pub const IDLE_IMMEDIATE: u8 = 0xe1;
    pub const STANDBY: u8 = 0xe2;
    pub const IDLE: u8 = 0xe3;
    pub const READ_BUFFER: u8 = 0xe4;
    pub const CHECK_POWER_MODE: u8 = 0xe5;
    pub const SLEEP: u8 = 0xe6;
    pub const FLUSH_CACHE: u8 = 0xe7;
    pub const WRITE_BUFFER: u8 = 0xe8;
    pub const IDENTIFY_DEVICE: u8 = 0xec;
    pub const SET_FEATURES: u8 = 0xef;
    pub const READ_NATIVE_MAX_ADDRESS: u8 = 0xf8;
}

/// BMICX, bus master IDE command register (PIIX4, 5.2.1).
pub mod bmic {
    /// Direction: 1 is a write to memory.
    pub const RWCON: u8 = 0x08;
    /// Start/stop.
    pub const SSBM: u8 = 0x01;
}

/// BMISX, bus master IDE status register (PIIX4, 5.2.2).
pub mod bmis {
    /// Drive 1 DMA capable: storage for the BIOS.
    pub const DMA1CAP: u8 = 0x40;
    /// Drive 0 DMA capable.
    pub const DMA0CAP: u8 = 0x20;
    /// IDE interrupt status: INTRQ rose.
    pub const IDEINTS: u8 = 0x04;
    /// IDE DMA error.
    pub const ERROR: u8 = 0x02;
    /// Bus master IDE active.
    pub const BMIDEA: u8 = 0x01;
}

/// Configuration space of PIIX4 function 1 (PIIX4, 5.1).
pub mod config {
    /// IDETIM of the primary channel; the secondary's follows at 42h.
    pub const IDETIM: u8 = 0x40;
    /// IDETIM bit 15: the channel's ports are decoded.
    pub const IDETIM_IDE: u16 = 0x8000;
    /// Slave timing.
    pub const SIDETIM: u8 = 0x44;
    /// Ultra DMA control.
    pub const UDMACTL: u8 = 0x48;
    /// Ultra DMA timing.
    pub const UDMATIM: u8 = 0x4a;
    /// PCISTS high byte, bit 5: received master abort.
    pub const PCISTS_RMA: u8 = 0x20;
}
