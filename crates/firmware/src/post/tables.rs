//! Tables in the F0000h segment: $PIR and the RSDP.

use super::pci::ISA_BRIDGE;
use crate::Firmware;
use crate::acpi::checksum;
use crate::slots;

/// IRQs that a PIRQ may be routed to, by bit: 3, 4, 5, 7, 9-12, 14 and 15.
pub(crate) const ROUTABLE: u16 = 0xDEB8;

/// The entries of the PCI interrupt routing table, 16 bytes each.
pub(crate) fn routing_entries(firmware: &Firmware) -> Vec<u8> {
    let mut entries = Vec::new();
    for device in core::iter::once(ISA_BRIDGE.device()).chain(slots::CARDS) {
        entries.extend([0, device << 3]);
        for pin in 0..4 {
            // A link's value is its route control register.
            entries.push(0x60 + firmware.link(device, pin));
            entries.extend(ROUTABLE.to_le_bytes());
        }
        let slot = if slots::CARDS.contains(&device) { device - slots::CARDS.start() + 1 } else { 0 };
        entries.extend([slot, 0]);
    }
    entries
}

/// The whole $PIR table.
pub(crate) fn pir(firmware: &Firmware) -> Vec<u8> {
    let entries = routing_entries(firmware);
    let mut table = b"$PIR".to_vec();
    table.extend([0x00, 0x01]); // version 1.0
    table.extend((32 + entries.len() as u16).to_le_bytes());
    table.extend([0, ISA_BRIDGE.device() << 3]);
    table.extend([0, 0]); // IRQs for PCI alone
    table.extend(0x7110_8086u32.to_le_bytes()); // the router
    table.extend([0; 4]); // miniport data
    table.extend([0; 11]);
    table.push(0);
    table.extend(entries);
    table[31] = checksum(&table);
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_card_has_a_slot_of_its_own() {
        let mut used: Vec<u8> = [slots::VIDEO].into_iter().chain(slots::SCSI).chain(slots::NETWORK).collect();
        used.sort_unstable();
        assert!(used.windows(2).all(|two| two[0] < two[1]), "{used:?}");
        assert!(used.iter().all(|slot| slots::CARDS.contains(slot)), "{used:?}");
    }

    #[test]
    fn pir_adds_up() {
        let table = pir(&Firmware::new(64 << 20));
        assert_eq!(table.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0);
        assert_eq!(usize::from(table[6]) | usize::from(table[7]) << 8, table.len());
        // The ISA bridge: straight pins.
        assert_eq!(
            table[32..48],
            [0, 0x38, 0x60, 0xB8, 0xDE, 0x61, 0xB8, 0xDE, 0x62, 0xB8, 0xDE, 0x63, 0xB8, 0xDE, 0, 0]
        );
    }
}
