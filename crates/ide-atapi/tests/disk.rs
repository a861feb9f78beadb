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
