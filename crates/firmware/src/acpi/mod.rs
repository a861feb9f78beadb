//! ACPI: RSDP revision 0, RSDT, FADT revision 1, FACS, DSDT. No MADT: the machine has an 8259 pair and nothing else.
//!
//! Virtual Server's FADT said revision 2 with the length of 129 bytes, in which the flag "there is an 8042" has no meaning yet
//! to ACPICA while Linux takes its absence from revision 2 on for "no keyboard controller". Revision 1 says nothing.

mod aml;
pub(crate) mod dsdt;

use crate::Firmware;
use crate::memory_map;
use crate::post::pci::{PM_BASE, SCI};
use dsdt::Found;

/// Written to the SMI command port to turn ACPI on and off; the board's model of the APM port knows them.
pub(crate) const ACPI_ENABLE: u8 = 0xE1;
pub(crate) const ACPI_DISABLE: u8 = 0x1E;
const SMI_COMMAND: u16 = 0xB2;

/// Offsets of the tables from the beginning of the ACPI data.
const FADT_OFFSET: u64 = 0x200;
const DSDT_OFFSET: u64 = 0x400;

/// The RSDT's identity: software tells Virtual Server 2005 R2 by "A M I  - 9000520".
const RSDT_OEM: (&[u8; 6], &[u8; 8], u32) = (b"A M I ", b"OEMRSDT ", 0x0900_0520);
const FADT_OEM: (&[u8; 6], &[u8; 8], u32) = (b"A M I ", b"OEMFACP ", 0x0900_0520);
const DSDT_OEM: (&[u8; 6], &[u8; 8], u32) = (b"SLOT1 ", b"SLOTONE ", 1);

/// A table: 36 bytes of header and a body, with its checksum.
fn table(signature: &[u8; 4], revision: u8, oem: (&[u8; 6], &[u8; 8], u32), body: &[u8]) -> Vec<u8> {
    let mut out = signature.to_vec();
    out.extend((36 + body.len() as u32).to_le_bytes());
    out.extend([revision, 0]);
    out.extend(oem.0);
    out.extend(oem.1);
    out.extend(oem.2.to_le_bytes());
    out.extend(b"MSFT");
    out.extend(0x97u32.to_le_bytes());
    out.extend(body);
    out[9] = checksum(&out);
    out
}

/// The byte that makes the sum of all zero.
pub(crate) fn checksum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)).wrapping_neg()
}

/// The DSDT with its header.
pub(crate) fn dsdt(firmware: &Firmware, found: Found) -> Vec<u8> {
    table(b"DSDT", 1, DSDT_OEM, &dsdt::body(firmware, found))
}

fn fadt(facs: u32, dsdt: u32) -> Vec<u8> {
    let mut t = vec![0u8; 116 - 36];
    let mut put =
        |offset: usize, bytes: &[u8]| t[offset - 36..offset - 36 + bytes.len()].copy_from_slice(bytes);
    put(36, &facs.to_le_bytes());
    put(40, &dsdt.to_le_bytes());
    put(46, &u16::from(SCI).to_le_bytes());
    put(48, &u32::from(SMI_COMMAND).to_le_bytes());
    put(52, &[ACPI_ENABLE, ACPI_DISABLE]);
    let pm = u32::from(PM_BASE);
    put(56, &pm.to_le_bytes()); // PM1a event
    put(64, &(pm + 4).to_le_bytes()); // PM1a control
    put(76, &(pm + 8).to_le_bytes()); // PM timer
    put(80, &(pm + 0x0C).to_le_bytes()); // GPE0
    put(88, &[4, 2, 0, 4, 4, 0, 0]); // lengths
    put(96, &0xFFFFu16.to_le_bytes()); // C2 latency: not there
    put(98, &0xFFFFu16.to_le_bytes()); // C3 latency: not there
    put(108, &[0x32]); // CMOS index of the century
    // WBINVD works, C1 works, no sleep button.
    put(112, &(1u32 | 1 << 2 | 1 << 5).to_le_bytes());
    table(b"FACP", 1, FADT_OEM, &t)
}

fn facs() -> [u8; 64] {
    let mut t = [0; 64];
    t[..4].copy_from_slice(b"FACS");
    t[4..8].copy_from_slice(&64u32.to_le_bytes());
    t
}

/// What POST writes: pieces by physical address, and the RSDP for the F0000h segment.
pub(crate) struct Tables {
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
    pub(crate) rsdp: [u8; 20],
}

/// All tables of a machine.
pub(crate) fn tables(firmware: &Firmware, found: Found) -> Tables {
    let base = memory_map::low_top(firmware.memory);
    let nvs = memory_map::usable(firmware.memory) - memory_map::ACPI_NVS_BYTES;
    let (fadt_at, dsdt_at) = (base + FADT_OFFSET, base + DSDT_OFFSET);
    let rsdt = table(b"RSDT", 1, RSDT_OEM, &(fadt_at as u32).to_le_bytes());
    let mut rsdp = [0; 20];
    rsdp[..8].copy_from_slice(b"RSD PTR ");
    rsdp[9..15].copy_from_slice(b"ACPIAM");
    rsdp[16..].copy_from_slice(&(base as u32).to_le_bytes());
    rsdp[8] = checksum(&rsdp);
    let dsdt = dsdt(firmware, found);
    debug_assert!(dsdt_at + dsdt.len() as u64 <= nvs, "the tables fit into their 60 KiB");
    Tables {
        pieces: vec![
            (base, rsdt),
            (fadt_at, fadt(nvs as u32, dsdt_at as u32)),
            (dsdt_at, dsdt),
            (nvs, facs().to_vec()),
        ],
        rsdp,
    }
}
