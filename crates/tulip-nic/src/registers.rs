//! Names and bits as the 21140A's data sheet and hardware reference manual print them.

/// Bytes between two CSRs; CSRn is at offset `n * CSR_STRIDE` of CBIO and CBMA.
pub const CSR_STRIDE: u64 = 8;

/// Configuration registers, by offset (chapter "PCI configuration registers").
pub mod config {
    /// Latency timer and cache line size.
    pub const CFLT: u8 = 0x0c;
    /// Subsystem vendor and ID, loaded from the serial ROM.
    pub const CSID: u8 = 0x2c;
    /// MIN_GNT.
    pub const MIN_GNT: u8 = 0x3e;
    /// Driver area with SLEEP and SNOOZE.
    pub const CFDD: u8 = 0x40;
    /// Received master abort, in the high byte of the status register.
    pub const CFCS_RMA_HIGH: u8 = 0x20;
}

/// CSR0, bus mode.
pub mod csr0 {
    /// Software reset.
    pub const SWR: u32 = 1;
    /// Descriptor skip length in longwords, shift.
    pub const DSL_SHIFT: u32 = 2;
    /// Descriptor skip length, mask after the shift.
    pub const DSL_MASK: u32 = 0x1f;
    /// Big-endian data buffers.
    pub const BLE: u32 = 1 << 7;
    /// Transmit automatic polling, shift.
    pub const TAP_SHIFT: u32 = 17;
    /// Transmit automatic polling, mask after the shift.
    pub const TAP_MASK: u32 = 7;
    /// Big-endian descriptors.
    pub const DBO: u32 = 1 << 20;
    /// Bits that are stored.
    pub const WRITABLE: u32 = 0x01be_fffe;
    /// Bits that read as one.
    pub const ONES: u32 = 0xfe00_0000;
}

/// CSR5, status, and CSR7, interrupt enable.
pub mod csr5 {
    /// Transmit interrupt.
    pub const TI: u32 = 1;
    /// Transmit process stopped.
    pub const TPS: u32 = 1 << 1;
    /// Transmit buffer unavailable.
    pub const TU: u32 = 1 << 2;
    /// Transmit jabber timeout.
    pub const TJT: u32 = 1 << 3;
    /// Transmit underflow. Never raised.
    pub const UNF: u32 = 1 << 5;
    /// Receive interrupt.
    pub const RI: u32 = 1 << 6;
    /// Receive buffer unavailable.
    pub const RU: u32 = 1 << 7;
    /// Receive process stopped.
    pub const RPS: u32 = 1 << 8;
    /// Receive watchdog timeout.
    pub const RWT: u32 = 1 << 9;
    /// Early transmit interrupt. Never raised.
    pub const ETI: u32 = 1 << 10;
    /// General-purpose timer expired.
    pub const GTE: u32 = 1 << 11;
    /// Fatal bus error.
    pub const FBE: u32 = 1 << 13;
    /// Early receive interrupt. Never raised.
    pub const ERI: u32 = 1 << 14;
    /// Abnormal interrupt summary (CSR5), its enable (CSR7).
    pub const AIS: u32 = 1 << 15;
    /// Normal interrupt summary (CSR5), its enable (CSR7).
    pub const NIS: u32 = 1 << 16;
    /// Receive process state, shift.
    pub const RS_SHIFT: u32 = 17;
    /// Transmit process state, shift.
    pub const TS_SHIFT: u32 = 20;
    /// Kind of bus error, shift.
    pub const EB_SHIFT: u32 = 23;
    /// EB: master abort.
    pub const EB_MASTER_ABORT: u32 = 1;
    /// Bits that a guest clears by writing ones, but for the summaries, which follow from the others.
    pub const EVENTS: u32 = ABNORMAL | NORMAL;
    /// What AIS sums up.
    pub const ABNORMAL: u32 = TPS | TJT | UNF | RU | RPS | RWT | ETI | FBE;
    /// What NIS sums up.
    pub const NORMAL: u32 = TI | TU | RI | GTE | ERI;
    /// Bits that read as one.
    pub const ONES: u32 = 0xfc00_0000;
}

/// CSR6, operation mode.
pub mod csr6 {
    /// Hash/perfect receive filtering mode; read-only, from the last set-up frame.
    pub const HP: u32 = 1;
    /// Start receive.
    pub const SR: u32 = 1 << 1;
    /// Hash-only filtering; read-only.
    pub const HO: u32 = 1 << 2;
    /// Pass bad frames.
    pub const PB: u32 = 1 << 3;
    /// Inverse filtering; read-only.
    pub const IF: u32 = 1 << 4;
    /// Promiscuous mode.
    pub const PR: u32 = 1 << 6;
    /// Pass all multicast.
    pub const PM: u32 = 1 << 7;
    /// Full duplex.
    pub const FD: u32 = 1 << 9;
    /// Operating mode, shift: 0 normal, 1 internal loopback, 2 external loopback.
    pub const OM_SHIFT: u32 = 10;
    /// Force collision, in internal loopback.
    pub const FC: u32 = 1 << 12;
    /// Start transmit.
    pub const ST: u32 = 1 << 13;
    /// Port select: 1 is MII/SYM. Survives a software reset.
    pub const PS: u32 = 1 << 18;
    /// Store and forward.
    pub const SF: u32 = 1 << 21;
    /// Transmit threshold mode: 1 is 10 Mbit/s.
    pub const TTM: u32 = 1 << 22;
    /// Receive all.
    pub const RA: u32 = 1 << 30;
    /// Bits that are stored.
    pub const WRITABLE: u32 = 0xc0ee_ffea;
    /// Bits that read as one.
    pub const ONES: u32 = 0x3200_0000;
    /// Stored bits after reset.
    pub const RESET: u32 = PR;
}

/// CSR7, interrupt enable: the bits of [`csr5`].
pub mod csr7 {
    /// Bits that are stored.
    pub const WRITABLE: u32 = 0x0001_efef;
    /// Bits that read as one.
    pub const ONES: u32 = 0xfffe_0000;
}

/// CSR8, missed frames and overflow counter.
pub mod csr8 {
    /// Missed frame overflow.
    pub const MFO: u32 = 1 << 16;
    /// Bits that read as one.
    pub const ONES: u32 = 0xe000_0000;
}

/// CSR9, boot ROM, serial ROM and MII management.
pub mod csr9 {
    /// Serial ROM chip select.
    pub const SR_CS: u32 = 1;
    /// Serial ROM clock.
    pub const SR_SK: u32 = 1 << 1;
    /// Serial ROM data in.
    pub const SR_DI: u32 = 1 << 2;
    /// Serial ROM data out.
    pub const SR_DO: u32 = 1 << 3;
    /// The serial ROM is what bits 3:0 belong to.
    pub const SR: u32 = 1 << 11;
    /// MII management clock.
    pub const MDC: u32 = 1 << 16;
    /// MII management data out.
    pub const MDO: u32 = 1 << 17;
    /// MII management operation: 1 leaves the line to the PHY.
    pub const MII: u32 = 1 << 18;
    /// MII management data in.
    pub const MDI: u32 = 1 << 19;
    /// Bits that are stored.
    pub const WRITABLE: u32 = 0x0007_7c07;
    /// Bits that read as one.
    pub const ONES: u32 = 0xfff0_83f0;
    /// Stored bits after reset.
    pub const RESET: u32 = MII | SR_DI | SR_SK | SR_CS;
}

/// CSR11, general-purpose timer.
pub mod csr11 {
    /// Continuous mode.
    pub const CON: u32 = 1 << 16;
    /// Bits that read as one.
    pub const ONES: u32 = 0xfffe_0000;
}

/// CSR12, general-purpose port.
pub mod csr12 {
    /// The write sets directions, not data.
    pub const GPC: u32 = 1 << 8;
    /// Bits that read as one.
    pub const ONES: u32 = 0xffff_fe00;
}

/// CSR15, watchdog timers.
pub mod csr15 {
    /// Jabber disable.
    pub const JBD: u32 = 1;
    /// Jabber clock: 1 cuts a transmission off after 2560 bytes.
    pub const JCK: u32 = 1 << 2;
    /// Receive watchdog disable.
    pub const RWD: u32 = 1 << 4;
    /// Bits that are stored.
    pub const WRITABLE: u32 = 0x37;
    /// Bits that read as one.
    pub const ONES: u32 = 0x8ff0_0000;
}

/// Transmit descriptors.
pub mod tdes {
    /// TDES0: owned by the chip.
    pub const OWN: u32 = 1 << 31;
    /// TDES0: error summary.
    pub const ES: u32 = 1 << 15;
    /// TDES0: jabber timeout.
    pub const TO: u32 = 1 << 14;
    /// TDES0: excessive collisions.
    pub const EC: u32 = 1 << 8;
    /// TDES0: underflow error.
    pub const UF: u32 = 1 << 1;
    /// TDES0 of a closed set-up frame.
    pub const SETUP_DONE: u32 = 0x7fff_ffff;
    /// TDES1: interrupt on completion.
    pub const IC: u32 = 1 << 31;
    /// TDES1: last segment.
    pub const LS: u32 = 1 << 30;
    /// TDES1: first segment.
    pub const FS: u32 = 1 << 29;
    /// TDES1: filtering type, high bit.
    pub const FT1: u32 = 1 << 28;
    /// TDES1: set-up packet.
    pub const SET: u32 = 1 << 27;
    /// TDES1: add CRC disable.
    pub const AC: u32 = 1 << 26;
    /// TDES1: transmit end of ring.
    pub const TER: u32 = 1 << 25;
    /// TDES1: second address chained.
    pub const TCH: u32 = 1 << 24;
    /// TDES1: disabled padding.
    pub const DPD: u32 = 1 << 23;
    /// TDES1: filtering type, low bit.
    pub const FT0: u32 = 1 << 22;
}

/// Receive descriptors.
pub mod rdes {
    /// RDES0: owned by the chip.
    pub const OWN: u32 = 1 << 31;
    /// RDES0: filtering fail.
    pub const FF: u32 = 1 << 30;
    /// RDES0: frame length with its CRC, shift.
    pub const FL_SHIFT: u32 = 16;
    /// RDES0: error summary.
    pub const ES: u32 = 1 << 15;
    /// RDES0: descriptor error.
    pub const DE: u32 = 1 << 14;
    /// RDES0: data type, shift: 0 from the wire, 1 internal loopback, 2 external loopback.
    pub const DT_SHIFT: u32 = 12;
    /// RDES0: runt frame.
    pub const RF: u32 = 1 << 11;
    /// RDES0: multicast frame.
    pub const MF: u32 = 1 << 10;
    /// RDES0: first descriptor.
    pub const FS: u32 = 1 << 9;
    /// RDES0: last descriptor.
    pub const LS: u32 = 1 << 8;
    /// RDES0: frame too long (above 1518 bytes).
    pub const TL: u32 = 1 << 7;
    /// RDES0: frame type (the length field is above 1500).
    pub const FT: u32 = 1 << 5;
    /// RDES1: receive end of ring.
    pub const RER: u32 = 1 << 25;
    /// RDES1: second address chained.
    pub const RCH: u32 = 1 << 24;
}
