//! What drivers do with a disk: Linux libata's shape, a BIOS's, and the corners of the standard.

mod common;

use common::{BMIBA, Machine, pattern};

fn identify(m: &mut Machine, base: u16, code: u8) -> Vec<u16> {
    m.outb(base + 7, code);
    let status = m.poll(base);
    assert_eq!(status & 0x89, 0x08, "DRQ, no error: {status:02x}");
    let mut data = vec![0; 512];
    m.ins(base, 2, &mut data);
    assert_eq!(m.inb(base + 7) & 0x89, 0);
    data.chunks(2).map(|w| u16::from_le_bytes([w[0], w[1]])).collect()
}

#[test]
fn identify_by_pio() {
    let mut m = Machine::usual(100_000);
    m.outb(0x1f6, 0xa0);
    let w = identify(&mut m, 0x1f0, 0xec);
    let text: Vec<u8> = w[27..47].iter().flat_map(|w| w.to_be_bytes()).collect();
    assert_eq!(String::from_utf8(text).unwrap().trim(), "Virtual HD");
    assert_eq!(u32::from(w[60]) | u32::from(w[61]) << 16, 100_000);
    assert_eq!(w[49] & 0x300, 0x300, "LBA and DMA");
    assert_eq!((w[1], w[3], w[6]), (99, 16, 63));
    let sum: u8 = w.iter().flat_map(|w| w.to_le_bytes()).fold(0, u8::wrapping_add);
    assert_eq!(sum, 0, "integrity word");
    assert_eq!(m.edges[0], 1);
}

/// libata: set up the engine, issue the command, start the engine, sleep, then check and clear in this order.
#[test]
fn read_by_dma_as_linux_does() {
    let mut m = Machine::usual(1_000);
    m.prd(0x1000, &[(0x2000, 512), (0x4000, 0x600), (0x8_0000, 0x1_0000 - 0x800)]);
    m.outb(BMIBA + 2, 0x06);
    m.outl(BMIBA + 4, 0x1000);
    m.outb(BMIBA, 0x08);
    m.taskfile(0x1f0, 0xe0, 128, 10);
    m.outb(0x1f7, 0xc8);
    m.inb(0x3f6);
    m.outb(BMIBA, 0x09);
    assert_eq!(m.inb(BMIBA + 2), 0x01, "active, no interrupt");
    assert_eq!(m.inb(0x3f6), 0x80, "busy");
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x04, "transfer ended exactly: not active, interrupt");
    m.outb(BMIBA, 0x08);
    assert_eq!(m.inb(0x3f6), 0x50);
    assert_eq!(m.inb(0x1f7), 0x50);
    m.outb(BMIBA + 2, 0x04);
    assert_eq!(m.inb(BMIBA + 2), 0);
    assert!(!m.levels.get(common::pin(0)));
    let want = &pattern(1_000)[10 * 512..][..128 * 512];
    let mut got = m.ram(0x2000, 512);
    got.extend(m.ram(0x4000, 0x600));
    got.extend(m.ram(0x8_0000, 0x1_0000 - 0x800));
    assert!(got == want);
    assert_eq!(m.requests, [(0, 10 * 512, 128 * 512)], "one request for the whole command");
}

#[test]
fn write_multiple_by_pio() {
    let mut m = Machine::usual(1_000);
    m.outb(0x1f6, 0xe0);
    m.outb(0x1f2, 16);
    m.outb(0x1f7, 0xc6);
    assert_eq!(m.poll(0x1f0), 0x50);
    let edges = m.edges[0];
    m.taskfile(0x1f0, 0xe0, 40, 100);
    m.outb(0x1f7, 0xc5);
    assert_eq!(m.inb(0x3f6), 0x58, "DRQ at once, and no interrupt for the first block");
    assert_eq!(m.edges[0], edges);
    let data: Vec<u8> = (0..40 * 512u32).map(|i| (i / 3) as u8).collect();
    for (n, block) in data.chunks(16 * 512).enumerate() {
        m.outs(0x1f0, 4, block);
        m.wait_irq(0);
        let status = m.inb(0x1f7);
        assert_eq!(status, if n == 2 { 0x50 } else { 0x58 }, "block {n}");
    }
    assert_eq!(m.edges[0], edges + 3);
    m.outb(0x1f7, 0xe7);
    m.wait_irq(0);
    assert_eq!(m.inb(0x1f7), 0x50);
    // Read back with single sectors.
    m.taskfile(0x1f0, 0xe0, 40, 100);
    m.outb(0x1f7, 0x20);
    let mut back = vec![0; data.len()];
    for sector in back.chunks_mut(512) {
        m.wait_irq(0);
        assert_eq!(m.inb(0x1f7), 0x58);
        m.ins(0x1f0, 2, sector);
    }
    assert_eq!(m.inb(0x1f7), 0x50);
    assert!(back == data);
    assert_eq!((m.inb(0x1f2), m.inb(0x1f3)), (0, 139), "count used up, address of the last sector");
}

fn command(m: &mut Machine, code: u8) -> (u8, u8) {
    m.outb(0x1f7, code);
    let status = m.poll(0x1f0);
    (status, m.inb(0x1f1))
}

#[test]
fn chs_follows_initialize_device_parameters() {
    let mut m = Machine::usual(10_000);
    // 4 heads, 17 sectors: cylinder 3, head 2, sector 5 is (3 * 4 + 2) * 17 + 4 = 242.
    m.outb(0x1f6, 0xa3);
    m.outb(0x1f2, 17);
    assert_eq!(command(&mut m, 0x91).0, 0x50);
    for (register, value) in [(6, 0xa2), (2, 1), (3, 5), (4, 3), (5, 0)] {
        m.outb(0x1f0 + register, value);
    }
    assert_eq!(command(&mut m, 0x20).0, 0x58);
    let mut sector = vec![0; 512];
    m.ins(0x1f0, 2, &mut sector);
    assert!(sector == pattern(10_000)[242 * 512..243 * 512]);
    // No such head, no such sector.
    for (device, sector) in [(0xa4, 1), (0xa0, 18), (0xa0, 0)] {
        m.outb(0x1f6, device);
        m.outb(0x1f3, sector);
        assert_eq!(command(&mut m, 0x20), (0x51, 0x10));
        assert_eq!(m.inb(0x1f3), sector, "the address stays");
    }
    let w = identify(&mut m, 0x1f0, 0xec);
    assert_eq!((w[54], w[55], w[56]), (147, 4, 17));
    assert_eq!((w[1], w[3], w[6]), (9, 16, 63), "the default translation stays");
    // Across a cylinder, the address tells the last sector.
    for (register, value) in [(6, 0xa3), (2, 20), (3, 10), (4, 3), (5, 0)] {
        m.outb(0x1f0 + register, value);
    }
    assert_eq!(command(&mut m, 0x40).0, 0x50);
    let at = [3, 4, 5, 6].map(|r| m.inb(0x1f0 + r));
    assert_eq!(at, [12, 4, 0, 0xa0], "(3, 3, 10) and 19 more is (4, 0, 12)");
}

#[test]
fn addresses_beyond_the_end() {
    let mut m = Machine::usual(1_000);
    for code in [0x20, 0x30, 0x40, 0xc8, 0xca] {
        m.taskfile(0x1f0, 0xe0, 2, 999);
        assert_eq!(command(&mut m, code), (0x51, 0x10), "{code:x}");
        m.taskfile(0x1f0, 0xe0, 0, 0x0fff_ffff);
        assert_eq!(command(&mut m, code), (0x51, 0x10));
    }
    assert_eq!(m.requests, []);
    m.taskfile(0x1f0, 0xe0, 1, 999);
    assert_eq!(command(&mut m, 0x40), (0x50, 0));
    m.taskfile(0x1f0, 0xe0, 1, 1_000);
    assert_eq!(command(&mut m, 0x70), (0x51, 0x10));
    m.outb(0x1f6, 0xe0);
    assert_eq!(command(&mut m, 0xf8), (0x50, 0));
    assert_eq!([3, 4, 5].map(|r| m.inb(0x1f0 + r)), [0xe7, 0x03, 0]);
}

#[test]
fn settings() {
    let mut m = Machine::usual(1_000);
    m.outb(0x1f6, 0xe0);
    // Transfer modes up to MWDMA2 and UDMA2, seen in IDENTIFY.
    for (mode, known, mwdma, udma) in [
        (0x42, true, 0x0007, 0x0407),
        (0x22, true, 0x0407, 0x0007),
        (0x0c, true, 0x0007, 0x0007),
        (0x43, false, 0, 0),
        (0x45, false, 0, 0),
    ] {
        m.outb(0x1f1, 0x03);
        m.outb(0x1f2, mode);
        assert_eq!(command(&mut m, 0xef).0 & 1 == 0, known, "{mode:x}");
        if known {
            let w = identify(&mut m, 0x1f0, 0xec);
            assert_eq!((w[63], w[88]), (mwdma, udma), "{mode:x}");
        }
    }
    // MULTIPLE: powers of two up to 128; 0 switches it off.
    m.taskfile(0x1f0, 0xe0, 1, 0);
    assert_eq!(command(&mut m, 0xc4), (0x51, 0x04), "not set yet");
    for (sectors, good) in [(128, true), (129, false), (3, false), (16, true), (0, true)] {
        m.outb(0x1f2, sectors);
        assert_eq!(command(&mut m, 0xc6).0 & 1 == 0, good, "{sectors}");
        let want = if good && sectors > 0 { 0x0100 | u16::from(sectors) } else { 0 };
        assert_eq!(identify(&mut m, 0x1f0, 0xec)[59], want);
    }
    // Caches.
    for (feature, word) in [(0x82, 0x7048), (0x55, 0x7008), (0x02, 0x7028), (0xaa, 0x7068)] {
        m.outb(0x1f1, feature);
        assert_eq!(command(&mut m, 0xef), (0x50, 0));
        assert_eq!(identify(&mut m, 0x1f0, 0xec)[85], word);
    }
    // Power.
    assert_eq!((command(&mut m, 0xe0).0, command(&mut m, 0xe5).0, m.inb(0x1f2)), (0x50, 0x50, 0x00));
    assert_eq!((command(&mut m, 0xe1).0, command(&mut m, 0x98).0, m.inb(0x1f2)), (0x50, 0x50, 0xff));
    // What the drive does not have, and NOP, which never succeeds.
    for code in [0x00, 0x08, 0xa0, 0xa1, 0xb0, 0xf5, 0x24, 0x25, 0xea, 0xff] {
        assert_eq!(command(&mut m, code), (0x51, 0x04), "{code:x}");
    }
    for code in [0x10, 0x1f, 0xe3, 0xe7, 0x91] {
        m.outb(0x1f2, 63);
        assert_eq!(command(&mut m, code).0, 0x50, "{code:x}");
    }
}

#[test]
fn the_sector_buffer() {
    let mut m = Machine::usual(1_000);
    m.outb(0x1f6, 0xa0);
    m.outb(0x1f7, 0xe8);
    assert_eq!(m.inb(0x3f6), 0x58);
    let data: Vec<u8> = (0..512u32).map(|i| (i * 3) as u8).collect();
    m.outs(0x1f0, 2, &data);
    m.wait_irq(0);
    assert_eq!(command(&mut m, 0xe4).0, 0x58);
    let mut back = vec![0; 512];
    m.ins(0x1f0, 2, &mut back);
    assert_eq!(back, data);
    assert_eq!(m.requests, []);
}

#[test]
fn a_single_word_at_a_time_equals_a_burst() {
    let mut m = Machine::usual(1_000);
    m.taskfile(0x1f0, 0xe0, 2, 7);
    m.outb(0x1f7, 0x20);
    let mut got = Vec::new();
    for n in 0..1024 / 2 {
        if n % 256 == 0 {
            assert_eq!(m.poll(0x1f0), 0x58);
        }
        let mut word = [0; 2];
        m.input(0x1f0, &mut word);
        got.extend(word);
    }
    assert!(got == pattern(1_000)[7 * 512..9 * 512]);
    assert_eq!(m.poll(0x1f0), 0x50);
}
