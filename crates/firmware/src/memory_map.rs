//! Who owns which physical addresses: what int 15h AX=E820h answers and what Linux finds in its zero page.

/// Bytes of ACPI data and non-volatile storage at the end of main memory.
pub const ACPI_BYTES: u64 = 0x1_0000;
/// Bytes of ACPI non-volatile storage, the last of [`ACPI_BYTES`].
pub const ACPI_NVS_BYTES: u64 = 0x1000;
/// The most main memory below the PCI hole: 3686 MiB.
pub const MEMORY_MAX: u64 = 3686 << 20;
/// The least main memory POST works with.
pub const MEMORY_MIN: u64 = 4 << 20;

/// What a range is for, as ACPI numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeKind {
    /// Memory the operating system may use.
    Memory = 1,
    /// Not to be used.
    Reserved = 2,
    /// ACPI tables; usable once they were read.
    AcpiData = 3,
    /// Kept over sleep by the firmware.
    AcpiNvs = 4,
}

/// One range.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// First address.
    pub base: u64,
    /// Bytes.
    pub length: u64,
    /// Use.
    pub kind: RangeKind,
}

impl Range {
    /// The 20 bytes an E820 call stores: base, length, type.
    pub fn to_bytes(self) -> [u8; 20] {
        let mut bytes = [0; 20];
        bytes[..8].copy_from_slice(&self.base.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.length.to_le_bytes());
        bytes[16..].copy_from_slice(&(self.kind as u32).to_le_bytes());
        bytes
    }
}

/// Main memory as the firmware uses it: within [`MEMORY_MIN`] and [`MEMORY_MAX`], in whole 64 KiB.
pub fn usable(memory: u64) -> u64 {
    memory.clamp(MEMORY_MIN, MEMORY_MAX) & !0xFFFF
}

/// The first address above 1 MiB that is not the operating system's: where the ACPI tables begin.
pub fn low_top(memory: u64) -> u64 {
    usable(memory) - ACPI_BYTES
}

/// The whole map, in ascending order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemoryMap([Range; 7]);

impl MemoryMap {
    /// The map of a machine with `memory` bytes.
    pub fn new(memory: u64) -> Self {
        let (top, acpi) = (usable(memory), low_top(memory));
        let nvs = top - ACPI_NVS_BYTES;
        let range = |base, end: u64, kind| Range { base, length: end - base, kind };
        Self([
            range(0, 0x9_FC00, RangeKind::Memory),
            range(0x9_FC00, 0xA_0000, RangeKind::Reserved),
            range(0xE_0000, 0x10_0000, RangeKind::Reserved),
            range(0x10_0000, acpi, RangeKind::Memory),
            range(acpi, nvs, RangeKind::AcpiData),
            range(nvs, top, RangeKind::AcpiNvs),
            range(0xFFFC_0000, 0x1_0000_0000, RangeKind::Reserved),
        ])
    }

    /// The ranges.
    pub fn entries(&self) -> &[Range] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_servers_500_mib_map() {
        let map = MemoryMap::new(500 << 20);
        let top = 500u64 << 20;
        let bounds: Vec<_> =
            map.entries().iter().map(|r| (r.base, r.base + r.length, r.kind as u8)).collect();
        let expected = [
            (0, 0x9_FC00, 1),
            (0x9_FC00, 0xA_0000, 2),
            (0xE_0000, 0x10_0000, 2),
            (0x10_0000, top - 0x1_0000, 1),
            (top - 0x1_0000, top - 0x1000, 3),
            (top - 0x1000, top, 4),
            (0xFFFC_0000, 1 << 32, 2),
        ];
        assert_eq!(bounds, expected);
    }
}
