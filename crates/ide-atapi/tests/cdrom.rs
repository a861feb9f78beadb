//! What drivers do with a CD drive.

mod common;

use common::{BMIBA, Machine, pattern};

const BASE: u16 = 0x170;

/// PACKET with `features` and a byte count limit; returns the status once the command packet was taken.
fn packet(m: &mut Machine, features: u8, limit: u16, cdb: &[u8; 12]) {
    let [low, high] = limit.to_le_bytes();
    for (register, value) in [(6, 0xa0), (1, features), (4, low), (5, high)] {
        m.outb(BASE + register, value);
    }
    m.outb(BASE + 7, 0xa0);
    assert_eq!(m.poll(BASE) & 0x89, 0x08);
    assert_eq!(m.inb(BASE + 2) & 3, 1, "interrupt reason: command");
    m.outs(BASE, 2, cdb);
}

/// A packet command with data by PIO, as a BIOS does it: polled.
fn pio_in(m: &mut Machine, limit: u16, cdb: &[u8; 12]) -> Result<Vec<u8>, u8> {
    packet(m, 0, limit, cdb);
    let mut data = Vec::new();
    let mut last_odd = None;
    loop {
        let status = m.poll(BASE);
        if status & 1 != 0 {
            return Err(m.inb(BASE + 1));
        }
        if status & 8 == 0 {
            assert_eq!(m.inb(BASE + 2) & 3, 3, "interrupt reason: status");
            return Ok(data);
        }
        assert_eq!(m.inb(BASE + 2) & 3, 2, "interrupt reason: data to the host");
        let n = usize::from(u16::from_le_bytes([m.inb(BASE + 4), m.inb(BASE + 5)]));
        assert!(n <= usize::from(limit));
        assert!(last_odd.is_none(), "only the last block may be odd");
        last_odd = (n % 2 != 0).then_some(n);
        let mut block = vec![0; n.next_multiple_of(2)];
        m.ins(BASE, 2, &mut block);
        data.extend(&block[..n]);
    }
}

fn cdb(bytes: &[u8]) -> [u8; 12] {
    let mut cdb = [0; 12];
    cdb[..bytes.len()].copy_from_slice(bytes);
    cdb
}

/// A drive whose unit attentions were fetched.
fn ready() -> Machine {
    let mut m = Machine::usual(4_000);
    for _ in 0..2 {
        assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Err(0x64), "unit attention");
    }
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Ok(vec![]));
    m
}

#[test]
fn signature_and_identify() {
    let mut m = Machine::usual(4_000);
    m.outb(BASE + 6, 0xa0);
    assert_eq!((m.inb(BASE + 4), m.inb(BASE + 5)), (0x14, 0xeb));
    m.outb(BASE + 7, 0xec);
    assert_eq!(m.poll(BASE) & 1, 1, "IDENTIFY DEVICE is refused");
    assert_eq!((m.inb(BASE + 1), m.inb(BASE + 4), m.inb(BASE + 5)), (4, 0x14, 0xeb));
    m.outb(BASE + 7, 0xa1);
    assert_eq!(m.poll(BASE) & 0x89, 8);
    let mut data = vec![0; 512];
    m.ins(BASE, 2, &mut data);
    assert_eq!(data[..2], [0xc0, 0x85]);
    assert_eq!(&data[54..64], b"iVtrau lDC");
}

#[test]
fn mode_select_by_pio_and_dma() {
    let mut m = ready();
    let page = |m: &mut Machine| pio_in(m, 512, &cdb(&[0x5a, 0, 0x01, 0, 0, 0, 0, 0, 20])).unwrap();
    let mut list = page(&mut m);
    assert_eq!(list[8..12], [0x01, 10, 0, 5]);
    list[..2].fill(0);
    list[11] = 7;
    let select = cdb(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 20]);
    // In blocks of 12 bytes.
    packet(&mut m, 0, 12, &select);
    for block in [&list[..12], &list[12..]] {
        assert_eq!(m.poll(BASE) & 0x89, 8);
        assert_eq!(m.inb(BASE + 2) & 3, 0, "interrupt reason: data to the drive");
        assert_eq!([m.inb(BASE + 4), m.inb(BASE + 5)], [block.len() as u8, 0]);
        m.outs(BASE, 2, block);
    }
    assert_eq!(m.poll(BASE) & 0x89, 0);
    assert_eq!(m.inb(BASE + 2) & 3, 3, "interrupt reason: status");
    assert_eq!(page(&mut m)[11], 7);
    // A list that is refused: no such page. An odd length costs a whole word.
    packet(&mut m, 0, 0xfffe, &cdb(&[0x15, 0x10, 0, 0, 7]));
    assert_eq!(m.poll(BASE) & 0x89, 8);
    assert_eq!(m.inb(BASE + 4), 7);
    m.outs(BASE, 2, &[0, 0, 0, 0, 0x3e, 1, 0, 0]);
    assert_eq!(m.poll(BASE) & 1, 1);
    assert_eq!(m.inb(BASE + 1) >> 4, 5, "ILLEGAL REQUEST");
    // By DMA.
    list[11] = 9;
    m.port.ram.write(0x2000, &list).unwrap();
    m.prd(0x1000, &[(0x2000, 20)]);
    m.outl(BMIBA + 12, 0x1000);
    m.outb(BMIBA + 8, 0x00);
    packet(&mut m, 1, 0, &select);
    m.outb(BMIBA + 8, 0x01);
    m.wait_irq(1);
    m.outb(BMIBA + 8, 0);
    assert_eq!(m.inb(BASE + 7), 0x50);
    assert_eq!(page(&mut m)[11], 9);
}

#[test]
fn toc_by_pio() {
    let mut m = ready();
    let toc = pio_in(&mut m, 0xfffe, &cdb(&[0x43, 0x02, 0, 0, 0, 0, 0, 0, 12])).unwrap();
    assert_eq!(toc, [0, 18, 1, 1, 0, 0x14, 1, 0, 0, 0, 2, 0]);
    // 4,000 sectors are 1,000 blocks: lead-out at 1150 frames = 0:15:25.
    let toc = pio_in(&mut m, 0xfffe, &cdb(&[0x43, 0x02, 0, 0, 0, 0, 0xaa, 1, 0])).unwrap();
    assert_eq!(toc, [0, 10, 1, 1, 0, 0x14, 0xaa, 0, 0, 0, 15, 25]);
}

#[test]
fn read_10_by_pio_in_small_blocks() {
    let mut m = ready();
    let data = pio_in(&mut m, 1_001, &cdb(&[0x28, 0, 0, 0, 0, 20, 0, 0, 5])).unwrap();
    assert!(data == pattern(4_000)[20 * 2048..25 * 2048]);
}

#[test]
fn read_10_by_dma() {
    let mut m = ready();
    // 150 blocks: more than one request.
    m.prd(
        0x1000,
        &[(0x2_0000, 0), (0x3_0000, 0), (0x4_0000, 0), (0x5_0000, 0), (0x6_0000, 150 * 2048 - 0x4_0000)],
    );
    m.outl(BMIBA + 12, 0x1000);
    m.outb(BMIBA + 8, 0x08);
    packet(&mut m, 1, 0, &cdb(&[0x28, 0, 0, 0, 1, 0, 0, 0, 150]));
    m.outb(BMIBA + 8, 0x09);
    m.requests.clear();
    m.wait_irq(1);
    assert_eq!(m.inb(BMIBA + 10), 0x04);
    m.outb(BMIBA + 8, 0);
    assert_eq!(m.inb(BASE + 7), 0x50);
    assert_eq!(m.inb(BASE + 2) & 3, 3);
    assert!(m.ram(0x2_0000, 150 * 2048) == pattern(4_000)[256 * 2048..][..150 * 2048]);
    assert_eq!(m.requests.len(), 3);
}

#[test]
fn media_come_and_go() {
    let mut m = ready();
    let sense = |m: &mut Machine| {
        let data = pio_in(m, 0xfffe, &cdb(&[3, 0, 0, 0, 18])).unwrap();
        [data[2], data[12], data[13]]
    };
    assert!(m.ide.cd(2).unwrap().ready());
    m.ide.eject(2).unwrap();
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Err(0x24));
    assert_eq!(sense(&mut m), [2, 0x3a, 1]);
    assert_eq!(sense(&mut m), [0, 0, 0], "sense is fetched once");
    m.ide.insert(2, &common::info(1 << 20)).unwrap();
    assert_eq!(pio_in(&mut m, 0xfffe, &cdb(&[0x25])), Err(0x64));
    assert_eq!(sense(&mut m), [6, 0x28, 0]);
    assert_eq!(pio_in(&mut m, 0xfffe, &cdb(&[0x25])).unwrap(), [0, 0, 1, 0xff, 0, 0, 8, 0]);
    assert!(m.ide.insert(0, &common::info(1 << 20)).is_err());
    assert!(m.ide.eject(1).is_err());
    assert!(m.ide.eject(9).is_err());
}

#[test]
fn a_guest_opens_the_tray_and_closes_it() {
    let mut m = ready();
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0x1e, 0, 0, 0, 1])), Ok(vec![]));
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0x1b, 0, 0, 0, 2])), Err(0x54), "locked");
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0x1e])), Ok(vec![]));
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0x1b, 0, 0, 0, 2])), Ok(vec![]));
    assert!(m.ide.cd(2).unwrap().tray_open());
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Err(0x24));
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0x1b, 0, 0, 0, 3])), Ok(vec![]));
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Err(0x64));
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Ok(vec![]));
}

#[test]
fn errors_carry_the_sense_key_and_the_block() {
    use slotone_block::layers::{ErrorLayer, On};
    use slotone_block::memory::MemoryDisk;
    let mut m = ready();
    let flawed =
        ErrorLayer::new(MemoryDisk::from_bytes(&pattern(4_000))).bad(23 * 2048..23 * 2048 + 512, On::Reads);
    m.media.insert(2, Box::new(flawed));
    // Blocks before the bad one are delivered.
    packet(&mut m, 0, 0xfffe, &cdb(&[0x28, 0, 0, 0, 0, 20, 0, 0, 8]));
    let mut data = Vec::new();
    while m.poll(BASE) & 8 != 0 {
        let n = usize::from(u16::from_le_bytes([m.inb(BASE + 4), m.inb(BASE + 5)]));
        let at = data.len();
        data.resize(at + n, 0);
        m.ins(BASE, 2, &mut data[at..]);
    }
    assert_eq!((m.inb(BASE + 7) & 1, m.inb(BASE + 1)), (1, 0x34));
    assert!(data == pattern(4_000)[20 * 2048..23 * 2048]);
    let sense = pio_in(&mut m, 0xfffe, &cdb(&[3, 0, 0, 0, 18])).unwrap();
    assert_eq!(sense, [0xf0, 0, 3, 0, 0, 0, 23, 10, 0, 0, 0, 0, 0x11, 0, 0, 0, 0, 0]);
    // Beyond the end, and a command nobody knows.
    assert_eq!(pio_in(&mut m, 0xfffe, &cdb(&[0x28, 0, 0, 0, 3, 0xe7, 0, 0, 2])), Err(0x54));
    assert_eq!(pio_in(&mut m, 0xfffe, &cdb(&[0x2a])), Err(0x54));
    // The medium vanishes under a read.
    m.media.remove(&2);
    assert_eq!(pio_in(&mut m, 0xfffe, &cdb(&[0x28, 0, 0, 0, 0, 0, 0, 0, 1])), Err(0x24));
}

#[test]
fn odd_lengths_and_byte_count_limits() {
    let mut m = ready();
    let inquiry = pio_in(&mut m, 0xfffe, &cdb(&[0x12, 0, 0, 0, 36])).unwrap();
    assert_eq!(&inquiry[8..32], b"MS      Virtual CD      ");
    for (len, limit) in [(5, 0xfffe), (36, 7), (35, 2), (35, 0xffff), (35, 0)] {
        let data = pio_in(&mut m, limit.max(2), &cdb(&[0x12, 0, 0, 0, len])).unwrap();
        assert_eq!(data, inquiry[..usize::from(len)], "{len} {limit}");
    }
    // By DMA an odd number of bytes is padded to a word.
    m.port.ram.write(0x2000, &[0xee; 8]).unwrap();
    m.prd(0x1000, &[(0x2000, 8)]);
    m.outl(BMIBA + 12, 0x1000);
    packet(&mut m, 1, 0, &cdb(&[0x12, 0, 0, 0, 5]));
    m.outb(BMIBA + 8, 0x09);
    m.wait_irq(1);
    assert_eq!(m.inb(BMIBA + 10), 0x05);
    assert_eq!(m.ram(0x2000, 8), [0x05, 0x80, 0, 0x32, 31, 0, 0xee, 0xee]);
}

#[test]
fn overlap_is_refused_and_device_reset_ends_anything() {
    let mut m = ready();
    m.outb(BASE + 6, 0xa0);
    m.outb(BASE + 1, 2);
    m.outb(BASE + 7, 0xa0);
    assert_eq!(m.poll(BASE) & 9, 1);
    m.outb(BASE + 1, 0);
    m.outb(BASE + 7, 0xa0);
    assert_eq!(m.poll(BASE) & 9, 8, "waits for its packet");
    m.outb(BASE + 7, 0xa0);
    assert_eq!(m.inb(BASE + 7) & 9, 8, "a command in the middle of another is not heard");
    m.outb(BASE + 7, 0x08);
    assert_eq!(m.inb(BASE + 7), 0);
    assert_eq!([1, 2, 3, 4, 5].map(|r| m.inb(BASE + r)), [1, 1, 1, 0x14, 0xeb]);
    assert_eq!(pio_in(&mut m, 0, &cdb(&[0])), Ok(vec![]));
}

/// As a driver does it that sleeps: an interrupt for each DRQ block, and one for the status.
#[test]
fn packets_by_interrupt() {
    let mut m = ready();
    m.inb(BASE + 7);
    let before = m.edges[1];
    packet(&mut m, 0, 4096, &cdb(&[0x28, 0, 0, 0, 0, 3, 0, 0, 4]));
    assert_eq!(m.edges[1], before, "no interrupt asks for the packet");
    for n in 0..2 {
        m.wait_irq(1);
        assert_eq!(m.inb(BASE + 7) & 0x89, 8);
        let mut block = vec![0; 4096];
        m.ins(BASE, 2, &mut block);
        assert!(block == pattern(4_000)[(3 + 2 * n) * 2048..][..4096]);
    }
    m.wait_irq(1);
    assert_eq!((m.inb(BASE + 7), m.inb(BASE + 2) & 3), (0x50, 3));
    assert_eq!(m.edges[1], before + 3);
}
