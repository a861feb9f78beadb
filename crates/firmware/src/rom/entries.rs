//! The system BIOS: the F000h segment with its entry points where software since the PC/AT has called them.

use super::emit::{Emitter, If, Label};
use super::{emit_service, emit_trap};
use crate::int10::font;
use crate::service;
use crate::{ROM_BYTES, SYSTEM_BIOS_DATE};

/// Entry points that POST puts into interrupt vectors and that are not at fixed addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A software interrupt nobody serves.
    Iret,
    /// An interrupt request of the first 8259 nobody serves.
    Master,
    /// One of the second 8259.
    Slave,
    /// IRQ 9, handed on as the XT's IRQ 2.
    Irq9,
    /// IRQ 8.
    Rtc,
    /// IRQ 12.
    Mouse,
    /// IRQ 13.
    Coprocessor,
    /// IRQ 14 and 15.
    Ide,
    /// Int 18h.
    NoBoot,
}

/// Where the code is that need not lie at a fixed address.
const CODE: u16 = 0x8000;

/// Offsets of fixed entry points and tables, as in IBM's BIOS for the PC/AT.
pub(crate) mod fixed {
    pub(crate) const POST: u16 = 0xE05B;
    pub(crate) const NMI: u16 = 0xE2C3;
    pub(crate) const INT13: u16 = 0xE3FE;
    pub(crate) const INT19: u16 = 0xE6F2;
    pub(crate) const CONFIG: u16 = 0xE6F5;
    pub(crate) const BAUD: u16 = 0xE729;
    pub(crate) const INT14: u16 = 0xE739;
    pub(crate) const INT16: u16 = 0xE82E;
    pub(crate) const INT09: u16 = 0xE987;
    pub(crate) const INT40: u16 = 0xEC59;
    pub(crate) const INT0E: u16 = 0xEF57;
    pub(crate) const DISKETTE: u16 = 0xEFC7;
    pub(crate) const INT17: u16 = 0xEFD2;
    pub(crate) const INT10: u16 = 0xF065;
    pub(crate) const VIDEO_PARAMETERS: u16 = 0xF0A4;
    pub(crate) const INT12: u16 = 0xF841;
    pub(crate) const INT11: u16 = 0xF84D;
    pub(crate) const INT15: u16 = 0xF859;
    pub(crate) const FONT_8X8: u16 = 0xFA6E;
    pub(crate) const INT1A: u16 = 0xFE6E;
    pub(crate) const INT08: u16 = 0xFEA5;
    pub(crate) const VECTORS: u16 = 0xFEF3;
    pub(crate) const IRET: u16 = 0xFF53;
    pub(crate) const INT05: u16 = 0xFF54;
    pub(crate) const RESET: u16 = 0xFFF0;
}

/// Free room in the segment, up to the code, for tables that POST writes ($PIR, RSDP).
pub(crate) const TABLES: u16 = 0x6000;

/// The board's ROM, 256 KiB for FFFC0000h; its last 64 KiB also answer at F0000h.
///
/// ```
/// let rom = slotone_firmware::rom();
/// assert_eq!(rom.len(), 256 << 10);
/// // The reset vector: a far jump to F000:E05B.
/// assert_eq!(rom[rom.len() - 16..][..5], [0xEA, 0x5B, 0xE0, 0x00, 0xF0]);
/// ```
pub fn rom() -> Vec<u8> {
    let mut image = vec![0xFF; ROM_BYTES];
    let segment = build().0;
    image[ROM_BYTES - 0x1_0000..].copy_from_slice(&segment);
    image
}

/// The offsets of all entries in segment F000h.
pub(crate) fn offsets() -> [u16; 9] {
    build().1
}

fn build() -> (Vec<u8>, [u16; 9]) {
    let mut a = Emitter::new(0x1_0000, 0);
    strings(&mut a);

    a.org(CODE);
    let common = emit_trap(&mut a);
    let post = post(&mut a, common);
    let nmi = a.mark();
    a.iret();
    let boot = fresh_stack(&mut a, common, 0x19);
    let no_boot = fresh_stack(&mut a, common, 0x18);
    let timer = timer(&mut a);
    let keyboard = keyboard(&mut a, common);
    let diskette = bda_interrupt(&mut a, &[0x80, 0x0E, 0x3E, 0x00, 0x80], false); // or byte [3Eh], 80h
    let master = bda_interrupt(&mut a, &[], false);
    let slave = bda_interrupt(&mut a, &[], true);
    let ide = bda_interrupt(&mut a, &[0xC6, 0x06, 0x8E, 0x00, 0xFF], true); // mov byte [8Eh], FFh
    let mouse = bda_interrupt(&mut a, &[0xE4, 0x60], true); // in al, 60h
    let irq9 = a.mark();
    a.push_ax();
    a.mov_al(0x20);
    a.out_al(0xA0);
    a.pop_ax();
    a.int(0x0A);
    a.iret();
    let coprocessor = a.mark();
    a.push_ax();
    a.xor_ax_ax();
    a.out_al(0xF0);
    a.mov_al(0x20);
    a.out_al(0xA0);
    a.out_al(0x20);
    a.pop_ax();
    a.int(0x02);
    a.iret();
    let rtc = rtc(&mut a, common);
    let services = [
        (fixed::INT10, 0x10),
        (fixed::INT11, 0x11),
        (fixed::INT12, 0x12),
        (fixed::INT13, 0x13),
        (fixed::INT14, 0x14),
        (fixed::INT15, 0x15),
        (fixed::INT16, 0x16),
        (fixed::INT17, 0x17),
        (fixed::INT1A, 0x1A),
        (fixed::INT40, 0x40),
    ]
    .map(|(offset, vector)| (offset, emit_service(&mut a, common, vector)));
    assert!(a.here() < fixed::POST, "code stays below the fixed entry points");

    for (offset, label) in services.into_iter().chain([
        (fixed::POST, post),
        (fixed::NMI, nmi),
        (fixed::INT19, boot),
        (fixed::INT09, keyboard),
        (fixed::INT0E, diskette),
        (fixed::INT08, timer),
    ]) {
        a.org(offset);
        a.jmp(label);
    }
    a.org(fixed::IRET);
    a.iret();
    a.org(fixed::INT05);
    a.iret();
    let iret = fixed::IRET;
    tables(&mut a);

    a.org(fixed::RESET);
    a.jmp_far(0xF000, fixed::POST);
    a.db(SYSTEM_BIOS_DATE);
    a.db(&[0, 0xFC, 0]);

    let entries = [
        iret,
        a.offset(master),
        a.offset(slave),
        a.offset(irq9),
        a.offset(rtc),
        a.offset(mouse),
        a.offset(coprocessor),
        a.offset(ide),
        a.offset(no_boot),
    ];
    let mut bytes = a.finish();
    let sum = bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte));
    bytes[0xFFFF] = sum.wrapping_neg();
    (bytes, entries)
}

fn strings(a: &mut Emitter) {
    a.org(0x0000);
    a.db(b"Slot One BIOS. ");
    // What inventory tools look for in the F000h segment: the kind of BIOS this machine is known by, and its version.
    a.db(b"AMIBIOS(C) compatible; American Megatrends interfaces. ");
    a.db(b"BIOS Date: 09/20/05  Ver: 08.00.02\0");
}

fn post(a: &mut Emitter, common: Label) -> Label {
    let label = a.mark();
    a.cli();
    a.cld();
    // A reset with a shutdown code must leave memory as it is: that is found out on a stack in the EBDA.
    a.mov_ax(crate::bda::EBDA_SEGMENT);
    a.mov_ss_ax();
    a.mov_sp(0x3F0);
    let cold = a.label();
    a.pushf();
    a.push_cs();
    a.push_offset(cold);
    a.push_word(service::SHUTDOWN);
    a.jmp(common);
    a.bind(cold);
    a.xor_ax_ax();
    a.mov_ss_ax();
    a.mov_sp(0x7C00);
    let done = a.label();
    a.pushf();
    a.push_cs();
    a.push_offset(done);
    a.push_word(service::POST);
    a.jmp(common);
    a.bind(done);
    a.int(0x19);
    let stop = a.mark();
    a.hlt();
    a.jmp_short(stop);
    label
}

/// Int 18h and 19h leave their caller for good.
fn fresh_stack(a: &mut Emitter, common: Label, service: u16) -> Label {
    let label = a.mark();
    a.cli();
    a.cld();
    a.xor_ax_ax();
    a.mov_ss_ax();
    a.mov_sp(0x7C00);
    let back = a.label();
    a.pushf();
    a.push_cs();
    a.push_offset(back);
    a.push_word(service);
    a.jmp(common);
    // The service replaces the return address by the boot sector's; it only comes back here when nothing boots.
    a.bind(back);
    a.int(0x18);
    label
}

fn eoi(a: &mut Emitter, slave: bool) {
    a.mov_al(0x20);
    if slave {
        a.out_al(0xA0);
    }
    a.out_al(0x20);
}

/// An interrupt handler that does one thing with DS on the BDA.
fn bda_interrupt(a: &mut Emitter, action: &[u8], slave: bool) -> Label {
    let label = a.mark();
    a.push_ax();
    if !action.is_empty() {
        a.push_ds();
        a.mov_ax(0x40);
        a.mov_ds_ax();
        a.db(action);
        a.pop_ds();
    }
    eoi(a, slave);
    a.pop_ax();
    a.iret();
    label
}

/// IRQ 0: time of day, diskette motor, int 1Ch.
fn timer(a: &mut Emitter) -> Label {
    let label = a.mark();
    a.push_ax();
    a.push_dx();
    a.push_ds();
    a.mov_ax(0x40);
    a.mov_ds_ax();
    a.db(&[0x66, 0xFF, 0x06, 0x6C, 0x00]); // inc dword [6Ch]
    a.db(&[0x66, 0x81, 0x3E, 0x6C, 0x00, 0xB0, 0x00, 0x18, 0x00]); // cmp dword [6Ch], 1800B0h
    let same_day = a.label();
    a.j(If::Below, same_day);
    a.db(&[0x66, 0xC7, 0x06, 0x6C, 0x00, 0, 0, 0, 0]); // mov dword [6Ch], 0
    a.db(&[0xFE, 0x06, 0x70, 0x00]); // inc byte [70h]
    a.bind(same_day);
    let motor_done = a.label();
    a.db(&[0x80, 0x3E, 0x40, 0x00, 0x00]); // cmp byte [40h], 0
    a.j(If::Zero, motor_done);
    a.db(&[0xFE, 0x0E, 0x40, 0x00]); // dec byte [40h]
    a.j(If::NotZero, motor_done);
    a.db(&[0x80, 0x26, 0x3F, 0x00, 0xF0]); // and byte [3Fh], F0h
    a.mov_al(0x0C);
    a.mov_dx(0x3F2);
    a.out_dx_al();
    a.bind(motor_done);
    a.int(0x1C);
    eoi(a, false);
    a.pop_ds();
    a.pop_dx();
    a.pop_ax();
    a.iret();
    label
}

/// IRQ 1: the scan code goes through int 15h AH=4Fh, then to its translation.
fn keyboard(a: &mut Emitter, common: Label) -> Label {
    let translate = emit_service(a, common, service::KEYBOARD);
    let label = a.mark();
    a.push_ax();
    a.in_al(0x60);
    a.mov_ah(0x4F);
    a.stc();
    a.int(0x15);
    a.push_ax();
    // mov keeps the carry flag
    a.mov_al(0x20);
    a.out_al(0x20);
    a.pop_ax();
    let swallowed = a.label();
    a.j(If::NotBelow, swallowed);
    a.pushf();
    a.push_cs();
    a.call(translate);
    a.bind(swallowed);
    a.pop_ax();
    a.iret();
    label
}

/// IRQ 8: alarm and int 15h AH=83h.
fn rtc(a: &mut Emitter, common: Label) -> Label {
    let service = emit_service(a, common, service::RTC);
    let label = a.mark();
    a.push_ax();
    a.pushf();
    a.push_cs();
    a.call(service);
    eoi(a, true);
    a.pop_ax();
    a.iret();
    label
}

fn tables(a: &mut Emitter) {
    a.org(fixed::CONFIG);
    // Length 8, model FCh submodel 1 revision 0; second 8259, RTC, keyboard intercept, EBDA.
    a.db(&[8, 0, 0xFC, 0x01, 0x00, 0x74, 0, 0, 0, 0]);
    a.org(fixed::BAUD);
    for divisor in [1047u16, 768, 384, 192, 96, 48, 24, 12] {
        a.dw(divisor);
    }
    a.org(fixed::DISKETTE);
    a.db(&DISKETTE_PARAMETERS);
    a.org(fixed::VIDEO_PARAMETERS);
    a.db(&VIDEO_PARAMETERS);
    a.org(fixed::FONT_8X8);
    a.db(&font::glyphs(8)[..1024]);
    a.org(fixed::VECTORS);
    for offset in [
        fixed::INT08,
        fixed::INT09,
        fixed::IRET,
        fixed::IRET,
        fixed::IRET,
        fixed::IRET,
        fixed::INT0E,
        fixed::IRET,
        fixed::INT10,
        fixed::INT11,
        fixed::INT12,
        fixed::INT13,
        fixed::INT14,
        fixed::INT15,
        fixed::INT16,
        fixed::INT17,
        0,
        fixed::INT19,
        fixed::INT1A,
        fixed::IRET,
        fixed::IRET,
        fixed::VIDEO_PARAMETERS,
        fixed::DISKETTE,
        0,
    ] {
        a.dw(offset);
    }
}

/// Diskette parameters of a 1.44 MB drive, int 1Eh.
const DISKETTE_PARAMETERS: [u8; 11] = [0xAF, 0x02, 0x25, 0x02, 18, 0x1B, 0xFF, 0x6C, 0xF6, 0x0F, 0x08];

/// CRT controller parameters of the CGA and MDA modes, int 1Dh: 4 x 16 registers, page lengths, columns, mode registers.
const VIDEO_PARAMETERS: [u8; 88] = [
    0x38, 0x28, 0x2D, 0x0A, 0x1F, 0x06, 0x19, 0x1C, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0, //
    0x71, 0x50, 0x5A, 0x0A, 0x1F, 0x06, 0x19, 0x1C, 0x02, 0x07, 0x06, 0x07, 0, 0, 0, 0, //
    0x38, 0x28, 0x2D, 0x0A, 0x7F, 0x06, 0x64, 0x70, 0x02, 0x01, 0x06, 0x07, 0, 0, 0, 0, //
    0x61, 0x50, 0x52, 0x0F, 0x19, 0x06, 0x19, 0x19, 0x02, 0x0D, 0x0B, 0x0C, 0, 0, 0, 0, //
    0x00, 0x08, 0x00, 0x10, 0x00, 0x40, 0x00, 0x40, 40, 40, 80, 80, 40, 40, 80, 80, //
    0x2C, 0x28, 0x2D, 0x29, 0x2A, 0x2E, 0x1E, 0x29,
];
