//! The DSDT: the PCI root with its interrupt links, the ISA devices that are there, the sleep states.

use super::aml::*;
use crate::Firmware;
use crate::post::pci::{self, ISA_BRIDGE, PM_BASE, SMBUS_BASE};
use crate::post::tables::ROUTABLE;

/// ISA devices that POST has found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Found {
    /// I/O base of the serial ports.
    pub(crate) serial: [Option<u16>; 2],
    /// The parallel port at 378h.
    pub(crate) parallel: bool,
    /// The diskette controller.
    pub(crate) floppy: bool,
    /// The auxiliary port of the keyboard controller has a mouse.
    pub(crate) mouse: bool,
}

/// The body of the DSDT, without its header.
pub(crate) fn body(firmware: &Firmware, found: Found) -> Vec<u8> {
    let link_names = ["LNKA", "LNKB", "LNKC", "LNKD"];
    let mut system_bus = vec![device(
        "PCI0",
        &[
            name("_HID", eisa_id("PNP0A03")),
            name("_UID", integer(0)),
            name("_CRS", root_resources(firmware)),
            name("_PRT", routing(firmware, link_names)),
            isa(found),
            device("IDE", &[name("_ADR", integer(0x0007_0001))]),
            device("PM", &[name("_ADR", integer(0x0007_0003))]),
        ],
    )];
    for (number, link) in (0u32..).zip(link_names) {
        system_bus.push(interrupt_link(number, link));
    }
    terms(&[
        scope("\\_PR", &[processor("CPU0", 1)]),
        // SUS_TYP: 5 working, 0 soft off.
        name("\\_S0", package(&[integer(5), integer(5), integer(0), integer(0)])),
        name("\\_S5", package(&[integer(0), integer(0), integer(0), integer(0)])),
        scope("\\_SB", &system_bus),
    ])
}

fn root_resources(firmware: &Firmware) -> Vec<u8> {
    let first = pci::memory_first(firmware.memory) as u32;
    resources(&[
        word_bus_numbers(0, 0xFF),
        io(0xCF8, 8),
        word_io(0x0000, 0x0CF7),
        word_io(0x0D00, 0xFFFF),
        dword_memory(0xA_0000, 0xB_FFFF, false),
        dword_memory(0xC_8000, 0xD_FFFF, false),
        dword_memory(first, pci::MEMORY_END as u32 - 1, false),
    ])
}

fn routing(firmware: &Firmware, links: [&str; 4]) -> Vec<u8> {
    let mut entries = Vec::new();
    for slot in 1..=31u8 {
        for pin in 0..4 {
            let link = links[usize::from(firmware.link(slot, pin))];
            let address = u32::from(slot) << 16 | 0xFFFF;
            entries.push(package(&[
                integer(address),
                integer(u32::from(pin)),
                reference(&format!("\\_SB.{link}")),
                integer(0),
            ]));
        }
    }
    package(&entries)
}

/// A PNP0C0F device over a PIRQ route control register of the PIIX4.
fn interrupt_link(number: u32, link: &str) -> Vec<u8> {
    let register =
        || reference(&format!("\\_SB.PCI0.ISA.{}", ["PIRA", "PIRB", "PIRC", "PIRD"][number as usize & 3]));
    let disabled = || and(register(), integer(0x80), vec![]);
    device(
        link,
        &[
            name("_HID", eisa_id("PNP0C0F")),
            name("_UID", integer(number + 1)),
            name("_PRS", resources(&[irq_level(ROUTABLE)])),
            method("_STA", 0, &[if_(disabled(), &[return_(integer(0x09))]), return_(integer(0x0B))]),
            method("_DIS", 0, &[or(register(), integer(0x80), register())]),
            name("BUF", resources(&[irq_level(0)])),
            method(
                "_CRS",
                SERIALIZED,
                &[
                    word_field(reference("BUF"), 1, "IRQW"),
                    if_(disabled(), &[store(integer(0), reference("IRQW"))]),
                    else_(&[shift_left(
                        integer(1),
                        and(register(), integer(0x0F), vec![]),
                        reference("IRQW"),
                    )]),
                    return_(reference("BUF")),
                ],
            ),
            method(
                "_SRS",
                SERIALIZED | 1,
                &[
                    word_field(arg0(), 1, "IRQW"),
                    find_set_right_bit(reference("IRQW"), local0()),
                    decrement(local0()),
                    store(local0(), register()),
                ],
            ),
        ],
    )
}

/// A device with an identifier and resources.
fn pnp(label: &str, id: &str, descriptors: &[Vec<u8>]) -> Vec<u8> {
    device(label, &[name("_HID", eisa_id(id)), name("_CRS", resources(descriptors))])
}

fn isa(found: Found) -> Vec<u8> {
    let mut body = vec![
        name("_ADR", integer(u32::from(ISA_BRIDGE.device()) << 16)),
        region("PIRR", 2, 0x60, 4),
        byte_fields("PIRR", &["PIRA", "PIRB", "PIRC", "PIRD"]),
        pnp("PIC", "PNP0000", &[io(0x20, 2), io(0xA0, 2), irq(2)]),
        pnp("TMR", "PNP0100", &[io(0x40, 4), irq(0)]),
        pnp("DMAC", "PNP0200", &[io(0x00, 16), io(0x81, 15), io(0xC0, 32), dma(4)]),
        pnp("RTC", "PNP0B00", &[io(0x70, 4), irq(8)]),
        pnp("SPKR", "PNP0800", &[io(0x61, 1)]),
        pnp("COPR", "PNP0C04", &[io(0xF0, 16), irq(13)]),
        pnp("PS2K", "PNP0303", &[io(0x60, 1), io(0x64, 1), irq(1)]),
        device(
            "SYSR",
            &[
                name("_HID", eisa_id("PNP0C02")),
                name("_UID", integer(1)),
                name(
                    "_CRS",
                    resources(&[
                        io(0x80, 1),
                        io(0x92, 1),
                        io(0xB2, 2),
                        io(0x0370, 2),
                        io(0x04D0, 2),
                        io(PM_BASE, 0x40),
                        io(SMBUS_BASE, 0x10),
                    ]),
                ),
            ],
        ),
    ];
    if found.mouse {
        body.push(pnp("PS2M", "PNP0F03", &[irq(12)]));
    }
    if found.floppy {
        body.push(pnp("FDC", "PNP0700", &[io(0x3F2, 4), io(0x3F7, 1), irq(6), dma(2)]));
    }
    for (number, base) in (1u32..).zip(found.serial) {
        if let Some(base) = base {
            let line = if base == 0x3F8 { 4 } else { 3 };
            body.push(device(
                &format!("COM{number}"),
                &[
                    name("_HID", eisa_id("PNP0501")),
                    name("_UID", integer(number)),
                    name("_CRS", resources(&[io(base, 8), irq(line)])),
                ],
            ));
        }
    }
    if found.parallel {
        body.push(pnp("LPT1", "PNP0400", &[io(0x378, 3), irq(7)]));
    }
    device("ISA", &body)
}
