//! The DMA controllers' registers.

use slotone_chipset_440bx::Dma;
use slotone_fuzz_kit::Rig;

#[test]
fn address_and_count_through_the_flip_flop() {
    let mut d = Rig::new(Dma::new());
    for (first, step, clear) in [(0x00u16, 1u16, 0x0cu16), (0xc0, 2, 0xd8)] {
        for register in 0..8 {
            let port = first + register * step;
            d.outb(clear, 0);
            d.outb(port, 0x34 + register as u8);
            d.outb(port, 0x12);
            d.outb(clear, 0);
            assert_eq!((d.inb(port), d.inb(port)), (0x34 + register as u8, 0x12));
        }
    }
    d.outb(0x0c, 0);
    d.inb(0x02);
    d.outb(0x0c, 0xff);
    assert_eq!(d.inb(0x02), 0x36, "the flip-flop was cleared");
}

#[test]
fn masks_requests_and_clears() {
    let mut d = Rig::new(Dma::new());
    assert_eq!(d.inb(0x0f), 0xff, "all masked after reset");
    d.outb(0x0a, 0x02);
    assert_eq!(d.inb(0x0f), 0xfb);
    d.outb(0x0a, 0x06);
    assert_eq!(d.inb(0x0f), 0xff);
    d.outb(0x0e, 0);
    assert_eq!(d.inb(0x0f), 0xf0);
    d.outb(0xde, 0x05);
    assert_eq!(d.inb(0xde), 0xf5);
    d.outb(0x09, 0x07);
    assert_eq!(d.inb(0x08), 0x80, "software request of channel 3");
    d.outb(0x0d, 0);
    assert_eq!((d.inb(0x08), d.inb(0x0f)), (0x00, 0xff), "master clear");
}

#[test]
fn page_registers_and_post_codes() {
    let mut d = Rig::new(Dma::new());
    for port in 0x80..0x90u16 {
        d.outb(port, port as u8 ^ 0xff);
    }
    for port in 0x80..0x90u16 {
        assert_eq!(d.inb(port), port as u8 ^ 0xff);
    }
    d.outb(0x80, 0xa5);
    assert_eq!(d.device.post_code(), 0xa5);
    assert_eq!(d.inb(0xc1), 0xff, "odd ports of the second controller");
    d.outb(0x40b, 0x03);
}
