//! Int 11h to 1Ah but for screen and disks.

mod common;

use common::{MEMORY, Mock, Regs};

const SMAP: u32 = 0x534D_4150;

#[test]
fn memory_map_call_by_call() {
    let mut mock = Mock::posted();
    let mut index = 0;
    let mut ranges = Vec::new();
    loop {
        let r = mock
            .int(0x15, Regs { eax: 0xE820, ebx: index, ecx: 24, edx: SMAP, edi: 0x600, ..Regs::default() });
        assert_eq!((r.carry(), r.eax, r.ecx), (false, SMAP, 20));
        let entry = &mock.memory[0x600..0x614];
        let u64_at = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().unwrap());
        ranges.push((u64_at(0), u64_at(8), entry[16]));
        index = r.ebx;
        if index == 0 {
            break;
        }
    }
    assert_eq!(ranges.len(), 7);
    assert_eq!(ranges[0], (0, 0x9_FC00, 1));
    assert_eq!(ranges[3], (0x10_0000, MEMORY - 0x11_0000, 1));
    assert_eq!(ranges[4], (MEMORY - 0x1_0000, 0xF000, 3));
    // Bad signature, index and size.
    for (ebx, ecx, edx) in [(0, 20, 0), (7, 20, SMAP), (u32::MAX, 20, SMAP), (0, 19, SMAP)] {
        let r = mock.int(0x15, Regs { eax: 0xE820, ebx, ecx, edx, edi: 0x600, ..Regs::default() });
        assert_eq!((r.carry(), r.ah()), (true, 0x86));
    }
}

#[test]
fn memory_sizes() {
    let mut mock = Mock::posted();
    // 16 MiB less the ACPI tables: 15 MiB - 64 KiB between 1 and 16 MiB, nothing above.
    let r = mock.ax(0x15, 0xE801);
    assert_eq!((r.carry(), r.ax(), r.ebx as u16, r.ecx, r.edx), (false, 0x3BC0, 0, 0x3BC0, 0));
    assert_eq!(mock.ax(0x15, 0x8800).ax(), 0x3BC0);
    assert_eq!(mock.ax(0x12, 0).ax(), 639);
    mock.firmware.memory = 500 << 20;
    let r = mock.ax(0x15, 0xE801);
    assert_eq!((r.ax(), r.ebx as u16), (0x3C00, 0x1E3F));
    assert_eq!(mock.ax(0x15, 0x8800).ax(), 0xFC00);
}

#[test]
fn block_move_between_the_halves_of_memory() {
    let mut mock = Mock::posted();
    mock.memory[0x8000..0x8008].copy_from_slice(b"blockmov");
    // Descriptors at 0:600; source base 8000h, destination base 123456h.
    mock.memory[0x612..0x615].copy_from_slice(&[0x00, 0x80, 0x00]);
    mock.memory[0x61A..0x61D].copy_from_slice(&[0x56, 0x34, 0x12]);
    let r = mock.int(0x15, Regs { eax: 0x8700, ecx: 4, esi: 0x600, ..Regs::default() });
    assert_eq!((r.carry(), r.ah()), (false, 0));
    assert_eq!(mock.memory[0x12_3456..0x12_345E], *b"blockmov");
    let r = mock.int(0x15, Regs { eax: 0x8700, ecx: 0x8001, esi: 0x600, ..Regs::default() });
    assert_eq!((r.carry(), r.ah()), (true, 2));
}

#[test]
fn a20_and_configuration() {
    let mut mock = Mock::posted();
    assert_eq!(mock.ax(0x15, 0x2402).al(), 1, "POST opens A20");
    assert!(!mock.ax(0x15, 0x2400).carry());
    assert_eq!(mock.ax(0x15, 0x2402).al(), 0);
    assert!(!mock.ax(0x15, 0x2401).carry());
    assert_eq!(mock.ports[&0x92] & 3, 2, "and never pulses the reset");
    let r = mock.ax(0x15, 0xC000);
    let table = usize::from(r.es) * 16 + (r.ebx & 0xFFFF) as usize;
    assert_eq!((r.carry(), mock.memory[table], mock.memory[table + 2]), (false, 8, 0xFC));
    assert_eq!(mock.ax(0x15, 0xC100).es, 0x9FC0);
    for ax in [0x5300, 0xC201, 0xD800, 0x8900, 0xEC00, 0x0000] {
        let r = mock.ax(0x15, ax);
        assert_eq!((r.carry(), r.ah()), (true, 0x86), "AX={ax:04x}");
    }
    let r = mock.ax(0x15, 0x4F1E);
    assert_eq!((r.carry(), r.ax()), (true, 0x4F1E), "the scan code goes on");
}

#[test]
fn waits_take_the_time_asked_for() {
    let mut mock = Mock::posted();
    for micros in [0u32, 900, 250_000] {
        let before = mock.now;
        let r =
            mock.int(0x15, Regs { eax: 0x8600, ecx: micros >> 16, edx: micros & 0xFFFF, ..Regs::default() });
        let passed = mock.now - before;
        assert!(!r.carry());
        assert!(
            (u64::from(micros) * 1000..u64::from(micros) * 1000 + 300_000).contains(&passed),
            "{micros}: {passed}"
        );
    }
}

#[test]
fn event_wait_sets_its_bit() {
    let mut mock = Mock::posted();
    mock.int(0x15, Regs { eax: 0x8300, ebx: 0x600, edx: 2500, ..Regs::default() });
    assert_eq!(mock.cmos[0x0B] & 0x40, 0x40);
    assert_eq!((mock.imr[0] & 4, mock.imr[1] & 1), (0, 0));
    assert!(mock.ax(0x15, 0x8300).carry(), "one at a time");
    for _ in 0..3 {
        assert_eq!(mock.memory[0x600], 0);
        mock.cmos[0x0C] = 0xC0;
        mock.service(0x102, Regs::default());
    }
    assert_eq!((mock.memory[0x600], mock.cmos[0x0B] & 0x40, mock.memory[0x4A0]), (0x80, 0, 0));
}

#[test]
fn alarm_calls_int_4a() {
    let mut mock = Mock::posted();
    mock.memory[0x4A * 4..0x4A * 4 + 4].copy_from_slice(&[0x78, 0x56, 0x34, 0x12]);
    mock.int(0x1A, Regs { eax: 0x0600, ecx: 0x0730, edx: 0x1500, ..Regs::default() });
    assert_eq!((mock.cmos[5], mock.cmos[3], mock.cmos[1], mock.cmos[0x0B] & 0x20), (0x07, 0x30, 0x15, 0x20));
    assert!(mock.ax(0x1A, 0x0600).carry(), "it is set already");
    mock.cmos[0x0C] = 0xA0;
    mock.calls.clear();
    mock.service(0x102, Regs::default());
    assert_eq!(mock.calls, [(0x1234, 0x5678, 0)]);
    mock.ax(0x1A, 0x0700);
    assert_eq!(mock.cmos[0x0B] & 0x20, 0);
}

#[test]
fn time_of_day() {
    let mut mock = Mock::new();
    mock.cmos[0..5].copy_from_slice(&[0x30, 0, 0x00, 0, 0x12]);
    mock.post();
    // 12:00:30 is 43230 s.
    let ticks = (43_230u64 * 1_193_182 / 65_536) as u32;
    let r = mock.ax(0x1A, 0);
    assert_eq!(((r.ecx & 0xFFFF) << 16 | r.edx & 0xFFFF, r.al()), (ticks, 0));
    mock.memory[0x470] = 1;
    assert_eq!((mock.ax(0x1A, 0).al(), mock.ax(0x1A, 0).al()), (1, 0));
    mock.int(0x1A, Regs { eax: 0x0100, ecx: 0x0012, edx: 0x3456, ..Regs::default() });
    assert_eq!(mock.u32(0x46C), 0x0012_3456);
    mock.int(0x1A, Regs { eax: 0x0300, ecx: 0x2359, edx: 0x5801, ..Regs::default() });
    let r = mock.ax(0x1A, 0x0200);
    assert_eq!((r.carry(), r.ecx as u16, r.edx as u16), (false, 0x2359, 0x5801));
    mock.int(0x1A, Regs { eax: 0x0500, ecx: 0x2005, edx: 0x0920, ..Regs::default() });
    let r = mock.ax(0x1A, 0x0400);
    assert_eq!((r.ecx as u16, r.edx as u16), (0x2005, 0x0920));
}

#[test]
fn pci_bios() {
    let mut mock = Mock::posted();
    let r = mock.ax(0x1A, 0xB101);
    assert_eq!((r.carry(), r.eax, r.ebx as u16, r.ecx as u8, r.edx), (false, 1, 0x0210, 0, 0x2049_4350));
    let find = |mock: &mut Mock, ax: u32, cx: u32, dx: u32, si: u32| {
        mock.int(0x1A, Regs { eax: ax, ecx: cx, edx: dx, esi: si, ..Regs::default() })
    };
    let r = find(&mut mock, 0xB102, 0x8811, 0x5333, 0);
    assert_eq!((r.ah(), r.ebx as u16), (0, 8 << 3));
    assert_eq!(find(&mut mock, 0xB102, 0x8811, 0x5333, 1).ah(), 0x86);
    assert_eq!(find(&mut mock, 0xB102, 0x8811, 0xFFFF, 0).ah(), 0x83);
    assert_eq!(find(&mut mock, 0xB103, 0x01_0180, 0, 0).ebx as u16, 7 << 3 | 1);
    let read = |mock: &mut Mock, ax: u32, bx: u32, di: u32| {
        mock.int(0x1A, Regs { eax: ax, ebx: bx, edi: di, ..Regs::default() })
    };
    assert_eq!(read(&mut mock, 0xB108, 0x39, 0x0A).ecx as u8, 0x01);
    assert_eq!(read(&mut mock, 0xB109, 0x39, 0x02).ecx as u16, 0x7111);
    assert_eq!(read(&mut mock, 0xB10A, 0x40, 0x10).ecx, 0xF800_0000);
    assert_eq!(read(&mut mock, 0xB10A, 0x40, 0x11).ah(), 0x87);
    assert_eq!(read(&mut mock, 0xB109, 0x40, 0x100).ah(), 0x87);
    assert_eq!(read(&mut mock, 0xB10A, 0x0100, 0).ecx, u32::MAX, "no other bus");
    mock.int(0x1A, Regs { eax: 0xB10B, ebx: 0x40, ecx: 0x05, edi: 0x3C, ..Regs::default() });
    assert_eq!(mock.config(8, 0).bytes[0x3C], 5);
    mock.int(0x1A, Regs { eax: 0xB10D, ebx: 0x40, ecx: 0xE000_0000, edi: 0x10, ..Regs::default() });
    assert_eq!(mock.config(8, 0).u32(0x10), 0xE000_0000);
    // Routing: too small a buffer says how much is needed.
    mock.memory[0x600..0x606].copy_from_slice(&[4, 0, 0x00, 0x50, 0, 0]);
    assert_eq!(mock.int(0x1A, Regs { eax: 0xB10E, edi: 0x600, ..Regs::default() }).ah(), 0x89);
    assert_eq!(mock.u16(0x600), 11 * 16);
    let r = mock.int(0x1A, Regs { eax: 0xB10E, edi: 0x600, ..Regs::default() });
    assert_eq!((r.ah(), r.ebx as u16, mock.memory[0x5001]), (0, 1 << 11, 7 << 3));
    // INTB# of slot 10 to IRQ 5.
    let r = mock.int(0x1A, Regs { eax: 0xB10F, ebx: 10 << 3, ecx: 0x050B, ..Regs::default() });
    assert_eq!((r.ah(), mock.config(7, 0).bytes[0x61], mock.ports[&0x4D0]), (0, 5, 0x20));
    assert_eq!(mock.int(0x1A, Regs { eax: 0xB10F, ebx: 10 << 3, ecx: 0x080B, ..Regs::default() }).ah(), 0x88);
}

#[test]
fn ports_that_are_there() {
    let mut mock = Mock::new();
    mock.post();
    // The mock has the registers by which POST tells a first UART and a parallel port.
    assert_eq!((mock.u16(0x400), mock.u16(0x402), mock.u16(0x408)), (0x3F8, 0, 0x378));
    assert_eq!(mock.ax(0x11, 0).ax(), mock.u16(0x410));
    assert_eq!(mock.u16(0x410), 0x4226, "one printer, one serial port, a mouse, colour, coprocessor");
    mock.ports.insert(0x379, 0xDF);
    mock.log.clear();
    let r = mock.ax(0x17, 0x0041);
    assert_eq!(r.ah(), 0x90, "not busy, selected");
    assert_eq!(mock.log[..3], [(0x378, 0x41), (0x37A, 0x0D), (0x37A, 0x0C)]);
    // Busy for good: a time-out.
    mock.ports.insert(0x379, 0x5F);
    assert_eq!(mock.ax(0x17, 0x0041).ah() & 1, 1);
}

#[test]
fn serial_port() {
    let mut mock = Mock::posted();
    mock.ports.insert(0x3FD, 0x60);
    mock.log.clear();
    // 9600 baud, 8 bits.
    mock.ax(0x14, 0x00E3);
    assert_eq!(mock.log, [(0x3FB, 0x83), (0x3F8, 12), (0x3F9, 0), (0x3FB, 3), (0x3F9, 0)]);
    mock.log.clear();
    assert_eq!(mock.ax(0x14, 0x0142).ah(), 0x60);
    assert_eq!(mock.log, [(0x3FC, 3), (0x3F8, 0x42)]);
    let before = mock.now;
    assert_eq!(mock.ax(0x14, 0x0200).ah() & 0x80, 0x80, "nothing comes");
    assert!(mock.now - before >= 500_000_000);
    mock.ports.insert(0x3FD, 0x61);
    mock.ports.insert(0x3F8, 0x55);
    assert_eq!(mock.ax(0x14, 0x0200).ax(), 0x0055);
}
