//! The power-on self test: everything between the reset vector and int 19h.
//!
//! It runs in steps, because a keyboard, an option ROM or a drive takes virtual time: each trap does one step or finds that it
//! must wait. The step's number and its state are in the frame, what later services need is in the BDA, the EBDA and CMOS.

mod chipset;
pub(crate) mod pci;
pub(crate) mod tables;
mod video;

use crate::acpi;
use crate::acpi::dsdt::Found;
use crate::bda;
use crate::frame::{Frame, Outcome};
use crate::initiator::{Initiator, InitiatorExt};
use crate::int10::modes::set_vector;
use crate::int10::text::print;
use crate::int13::{ata_pio, drives, scsi};
use crate::memory_map;
use crate::rom::{Entry, TABLES, fixed, offsets};
use crate::wait;
use crate::{BootDevice, Firmware};

/// CMOS bytes.
mod cmos {
    pub(super) const SHUTDOWN: u8 = 0x0F;
    pub(super) const FLOPPIES: u8 = 0x10;
    pub(super) const DISKS: u8 = 0x12;
    pub(super) const EQUIPMENT: u8 = 0x14;
    pub(super) const BASE_KIB: u8 = 0x15;
    pub(super) const EXTENDED_KIB: u8 = 0x17;
    pub(super) const DISK_TYPES: u8 = 0x19;
    pub(super) const CHECKSUM: u8 = 0x2E;
    pub(super) const FOUND_KIB: u8 = 0x30;
    pub(super) const HIGH_UNITS: u8 = 0x34;
}

/// Where the ISA devices that POST found are noted for the ACPI tables: bits of this EBDA byte.
const FOUND: u32 = bda::EBDA + 0x60;

/// The shutdown code of a reset that is no power-on, kept by CMOS: returns to the address at 40:67.
pub(crate) fn shutdown(bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    let code = bus.cmos(cmos::SHUTDOWN);
    bus.set_cmos(cmos::SHUTDOWN, 0);
    // 05h with an end of interrupt for the keyboard's, 0Ah without.
    if matches!(code, 0x05 | 0x0A) {
        if code == 0x05 {
            bus.inb(0x60);
            bus.outb(0xA0, 0x20);
            bus.outb(0x20, 0x20);
        }
        let (segment, offset) = crate::int10::pointer(bus.get32(bda::RESET_VECTOR));
        frame.set_cs(segment);
        frame.set_ip(offset);
    }
    Outcome::Done
}

/// The steps, by their number in the frame's phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Board,
    Video,
    OptionRoms,
    OptionRomDone,
    ControllerTest,
    AuxiliaryTest,
    KeyboardReset,
    KeyboardPassed,
    Drives,
    ScsiDrives,
    Finish,
}

const STEPS: [Step; 11] = [
    Step::Board,
    Step::Video,
    Step::OptionRoms,
    Step::OptionRomDone,
    Step::ControllerTest,
    Step::AuxiliaryTest,
    Step::KeyboardReset,
    Step::KeyboardPassed,
    Step::Drives,
    Step::ScsiDrives,
    Step::Finish,
];

fn go_on(frame: &mut Frame, step: Step) {
    frame.set_phase(STEPS.iter().position(|s| *s == step).unwrap_or(0) as u16);
}

/// Serves the POST trap.
pub(crate) fn post(firmware: &Firmware, bus: &mut dyn Initiator, frame: &mut Frame) -> Outcome {
    loop {
        let Some(step) = STEPS.get(usize::from(frame.phase() & 0xFF)).copied() else { return Outcome::Done };
        match step {
            Step::Board => {
                board(firmware, bus);
                pci::assign(firmware, bus);
                let display = video::install(firmware, bus);
                go_on(frame, Step::Video);
                // The video ROM initialises itself: AX is the device's bus and number.
                frame.call(0xC000, 3, display, 0xFFFF, 0xF000, 0);
                if bus.get16(0xC_0000) == 0xAA55 {
                    return Outcome::Call;
                }
            }
            Step::Video => {
                banner(firmware, bus);
                // Word 6 of the locals: the segment where the next option ROM may begin.
                frame.set_local16(6, 0xC800);
                go_on(frame, Step::OptionRoms);
            }
            Step::OptionRoms => {
                let segment = frame.local16(6);
                if !(0xC800..0xE000).contains(&segment) {
                    go_on(frame, Step::ControllerTest);
                    wait::start(bus, frame, KEYBOARD_NANOS);
                    start_controller_test(bus);
                } else if let Some(paragraphs) = video::option_rom(bus, segment) {
                    go_on(frame, Step::OptionRomDone);
                    frame.set_local16(6, segment.saturating_add(paragraphs));
                    frame.call(segment, 3, 0, 0xFFFF, 0xF000, 0);
                    return Outcome::Call;
                } else {
                    frame.set_local16(6, segment + 0x80);
                }
            }
            Step::OptionRomDone => go_on(frame, Step::OptionRoms),
            Step::ControllerTest => match keyboard_answer(bus, frame) {
                Answer::Byte(0x55) => {
                    bus.outb(0x64, 0xA9);
                    wait::start(bus, frame, KEYBOARD_NANOS);
                    go_on(frame, Step::AuxiliaryTest);
                }
                Answer::Wait => return Outcome::Spin,
                _ => no_keyboard(bus, frame),
            },
            Step::AuxiliaryTest => match keyboard_answer(bus, frame) {
                Answer::Wait => return Outcome::Spin,
                answer => {
                    if let Answer::Byte(0) = answer {
                        let found = bus.get8(FOUND);
                        bus.put8(FOUND, found | 0x10);
                        let equipment = bus.get16(bda::EQUIPMENT);
                        bus.put16(bda::EQUIPMENT, equipment | 4);
                    }
                    // XLAT, system flag, IRQ 1; the auxiliary port stays off until somebody wants it.
                    for (port, value) in [(0x64, 0x60), (0x60, 0x65), (0x60, 0xFF)] {
                        bus.outb(port, value);
                    }
                    wait::start(bus, frame, KEYBOARD_NANOS);
                    go_on(frame, Step::KeyboardReset);
                }
            },
            Step::KeyboardReset | Step::KeyboardPassed => match keyboard_answer(bus, frame) {
                Answer::Byte(0xFA) if step == Step::KeyboardReset => go_on(frame, Step::KeyboardPassed),
                Answer::Byte(0xAA) if step == Step::KeyboardPassed => {
                    bus.put8(bda::KEYBOARD_MODE, 0x10);
                    print(bus, "Keyboard present\n");
                    start_drives(bus, frame);
                }
                Answer::Wait => return Outcome::Spin,
                _ => no_keyboard(bus, frame),
            },
            Step::Drives => match ata_pio::detect(bus, frame) {
                Outcome::Done => {
                    scsi::start_detection(frame);
                    go_on(frame, Step::ScsiDrives);
                }
                outcome => return outcome,
            },
            Step::ScsiDrives => match scsi::detect(bus, frame) {
                Outcome::Done => go_on(frame, Step::Finish),
                outcome => return outcome,
            },
            Step::Finish => {
                finish(firmware, bus);
                return Outcome::Done;
            }
        }
    }
}

/// How long the keyboard and its controller may take to answer.
const KEYBOARD_NANOS: u64 = 1_000_000_000;

enum Answer {
    Byte(u8),
    Wait,
    Nothing,
}

fn keyboard_answer(bus: &mut dyn Initiator, frame: &Frame) -> Answer {
    let status = bus.inb(0x64);
    if status != 0xFF && status & 0x21 == 0x01 {
        Answer::Byte(bus.inb(0x60))
    } else if wait::left(bus, frame) > 0 {
        Answer::Wait
    } else {
        Answer::Nothing
    }
}

fn start_controller_test(bus: &mut dyn Initiator) {
    // Throw away what lies in the output buffer.
    for _ in 0..16 {
        if bus.inb(0x64) & 1 == 0 {
            break;
        }
        bus.inb(0x60);
    }
    bus.outb(0x64, 0xAA);
}

fn no_keyboard(bus: &mut dyn Initiator, frame: &mut Frame) {
    print(bus, "Keyboard not present\n");
    start_drives(bus, frame);
}

fn start_drives(bus: &mut dyn Initiator, frame: &mut Frame) {
    ata_pio::start_detection(bus, frame);
    go_on(frame, Step::Drives);
}

/// All of the board that answers at once.
fn board(firmware: &Firmware, bus: &mut dyn Initiator) {
    bus.outb(0x92, 0x02); // A20 open
    chipset::shadow(bus);
    chipset::piix4(firmware, bus);
    interrupt_controllers(bus);
    // DMA: controllers reset, cascade on channel 4.
    bus.outb(0x0D, 0);
    bus.outb(0xDA, 0);
    bus.outb(0xD6, 0xC0);
    bus.outb(0xD4, 0x00);
    // Timer 0 in mode 3 and timer 1 in mode 2 (refresh), speaker off.
    for (port, value) in [
        (0x43, 0x36),
        (0x40, 0),
        (0x40, 0),
        (0x43, 0x54),
        (0x41, 18),
        (0x43, 0xB6),
        (0x42, 0x31),
        (0x42, 0x05),
    ] {
        bus.outb(port, value);
    }
    bus.outb(0x61, 0);
    vectors(bus);
    data_areas(bus);
    let found = ports(bus);
    bus.put8(FOUND, found);
    real_time_clock(bus);
    memory_size(firmware, bus);
}

fn interrupt_controllers(bus: &mut dyn Initiator) {
    for (port, value) in [
        (0x20, 0x11),
        (0x21, 0x08),
        (0x21, 0x04),
        (0x21, 0x01),
        (0xA0, 0x11),
        (0xA1, 0x70),
        (0xA1, 0x02),
        (0xA1, 0x01),
        // Timer, cascade; the keyboard follows when it has been tested. IDE and the coprocessor.
        (0x21, 0xBA),
        (0xA1, 0x1F),
    ] {
        bus.outb(port, value);
    }
}

fn vectors(bus: &mut dyn Initiator) {
    let handlers = offsets();
    let at = |entry: Entry| handlers[entry as usize];
    for vector in 0..=0xFFu8 {
        let offset = match vector {
            0x02 => fixed::NMI,
            0x05 => fixed::INT05,
            0x08 => fixed::INT08,
            0x09 => fixed::INT09,
            0x0E => fixed::INT0E,
            0x0A..=0x0F => at(Entry::Master),
            0x10 | 0x42 => fixed::INT10,
            0x11 => fixed::INT11,
            0x12 => fixed::INT12,
            0x13 => fixed::INT13,
            0x14 => fixed::INT14,
            0x15 => fixed::INT15,
            0x16 => fixed::INT16,
            0x17 => fixed::INT17,
            0x18 => at(Entry::NoBoot),
            0x19 => fixed::INT19,
            0x1A => fixed::INT1A,
            0x1D => fixed::VIDEO_PARAMETERS,
            0x1E => fixed::DISKETTE,
            0x40 => fixed::INT40,
            0x70 => at(Entry::Rtc),
            0x71 => at(Entry::Irq9),
            0x72 | 0x73 => at(Entry::Slave),
            0x74 => at(Entry::Mouse),
            0x75 => at(Entry::Coprocessor),
            0x76 | 0x77 => at(Entry::Ide),
            // User vectors and those of disk tables are zero, the rest returns.
            0x1F | 0x41 | 0x43 | 0x46 | 0x60..=0x67 | 0x78..=0xFF => {
                bus.put32(u32::from(vector) * 4, 0);
                continue;
            }
            _ => at(Entry::Iret),
        };
        set_vector(bus, vector, 0xF000, offset);
    }
}

fn data_areas(bus: &mut dyn Initiator) {
    let reset_flag = bus.get16(bda::RESET_FLAG);
    bus.put(0x400, &[0; 256]);
    bus.put(bda::EBDA, &[0; 0x400]);
    bus.put8(bda::EBDA, 1);
    bus.put16(bda::EBDA_POINTER, bda::EBDA_SEGMENT);
    bus.put16(bda::MEMORY_KIB, 639);
    bus.put16(bda::RESET_FLAG, reset_flag);
    bus.put16(bda::KEYBOARD_HEAD, 0x1E);
    bus.put16(bda::KEYBOARD_TAIL, 0x1E);
    bus.put16(bda::KEYBOARD_START, 0x1E);
    bus.put16(bda::KEYBOARD_END, 0x3E);
    bus.put(bda::LPT_TIMEOUTS, &[20, 20, 20, 0, 1, 1, 1, 1]);
}

/// Serial and parallel ports, the diskette controller: what answers. Returns the bits of [`FOUND`].
fn ports(bus: &mut dyn Initiator) -> u8 {
    let (mut found, mut serial) = (0, 0u16);
    for (bit, base) in [(1, 0x3F8u16), (2, 0x2F8)] {
        // Bits 7:4 of the interrupt enable register do not exist, the scratch register stores.
        bus.outb(base + 1, 0);
        bus.outb(base + 7, 0x5A);
        if bus.inb(base + 1) == 0 && bus.inb(base + 7) == 0x5A {
            bus.put16(bda::COM_PORTS + 2 * u32::from(serial), base);
            serial += 1;
            found |= bit;
        }
    }
    let mut equipment = serial << 9;
    bus.outb(0x378, 0xAA);
    if bus.inb(0x378) == 0xAA {
        bus.outb(0x378, 0x55);
        if bus.inb(0x378) == 0x55 {
            bus.put16(bda::LPT_PORTS, 0x378);
            equipment |= 1 << 14;
            found |= 4;
        }
    }
    bus.outb(0x37A, 0x0C);
    // Main status register: FFh without a controller.
    if bus.inb(0x3F4) != 0xFF {
        found |= 8;
    }
    // Coprocessor, 80x25 colour.
    bus.put16(bda::EQUIPMENT, equipment | 0x22);
    found
}

fn real_time_clock(bus: &mut dyn Initiator) {
    bus.set_cmos(0x0A, 0x26);
    // 24 hours, BCD, no interrupts; daylight saving off.
    bus.set_cmos(0x0B, 0x02);
    bus.cmos(0x0C);
    bus.cmos(0x0D);
    let mut part = |index: u8| {
        let bcd = bus.cmos(index);
        u32::from(bcd >> 4) * 10 + u32::from(bcd & 0xF)
    };
    let seconds = part(4) * 3600 + part(2) * 60 + part(0);
    // 1193182 / 65536 ticks a second.
    let ticks = u64::from(seconds.min(86_399)) * 1_193_182 / 65_536;
    bus.put32(bda::TICKS, ticks as u32);
}

fn memory_size(firmware: &Firmware, bus: &mut dyn Initiator) {
    let top = memory_map::usable(firmware.memory);
    let extended = ((top - (1 << 20)) >> 10).min(0xFFFF) as u16;
    let high = (top.saturating_sub(16 << 20) >> 16) as u16;
    for (index, value) in [
        (cmos::BASE_KIB, 640),
        (cmos::EXTENDED_KIB, extended),
        (cmos::FOUND_KIB, extended),
        (cmos::HIGH_UNITS, high),
    ] {
        let [low, upper] = value.to_le_bytes();
        bus.set_cmos(index, low);
        bus.set_cmos(index + 1, upper);
    }
}

fn banner(firmware: &Firmware, bus: &mut dyn Initiator) {
    print(bus, "Slot One BIOS (AMIBIOS8 compatible)\n");
    print(bus, "BIOS Date: 09/20/05  Ver: 08.00.02\n\n");
    let kib = memory_map::usable(firmware.memory) >> 10;
    print(bus, &format!("{kib} KB of memory\n"));
}

/// Equipment, tables and the end of writing to the shadow.
fn finish(firmware: &Firmware, bus: &mut dyn Initiator) {
    let place = |device| firmware.boot_order.iter().position(|d| *d == device).unwrap_or(usize::MAX);
    drives::set_scsi_first(bus, place(BootDevice::Scsi) < place(BootDevice::HardDisk));
    let list = drives::read_all(bus);
    print(bus, "\n");
    drives::publish(bus);
    chipset::announce_dma(bus, &list);

    // CMOS describes IDE disks only.
    let disks = list.iter().filter(|drive| drive.is_disk() && drive.scsi.is_none()).count() as u8;
    let bits = bus.get8(FOUND);
    // Diskette drives join with the controller's driver: none is announced yet.
    bus.set_cmos(cmos::FLOPPIES, 0);
    bus.set_cmos(cmos::DISKS, [0x00, 0xF0, 0xFF][usize::from(disks.min(2))]);
    bus.set_cmos(cmos::DISK_TYPES, if disks > 0 { 0x30 } else { 0 });
    bus.set_cmos(cmos::DISK_TYPES + 1, if disks > 1 { 0x30 } else { 0 });
    let equipment = bus.get8(bda::EQUIPMENT);
    bus.set_cmos(cmos::EQUIPMENT, equipment);
    let sum: u16 = (0x10..=0x2D).map(|index| u16::from(bus.cmos(index))).sum();
    bus.set_cmos(cmos::CHECKSUM, (sum >> 8) as u8);
    bus.set_cmos(cmos::CHECKSUM + 1, sum as u8);

    let found = Found {
        serial: [(bits & 1 != 0).then_some(0x3F8), (bits & 2 != 0).then_some(0x2F8)],
        parallel: bits & 4 != 0,
        floppy: bits & 8 != 0,
        mouse: bits & 0x10 != 0,
    };
    let tables = acpi::tables(firmware, found);
    for (address, bytes) in &tables.pieces {
        bus.phys_write(*address, bytes);
    }
    let base = 0xF_0000 + u64::from(TABLES);
    bus.phys_write(base, &tables.rsdp);
    bus.phys_write(base + 0x20, &tables::pir(firmware));
    chipset::lock_shadow(bus);
    // Keyboard interrupts from now on.
    let mask = bus.inb(0x21);
    bus.outb(0x21, mask & !0x02);
    bus.put16(bda::RESET_FLAG, 0);
}
