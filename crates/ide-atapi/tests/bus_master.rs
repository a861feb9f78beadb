//! The bus-master engine: PRD tables as drivers and fuzzers write them, and the end states of the status register.

mod common;

use common::{BMIBA, Machine, pattern, pin};
use slotone_bus::Device;
use slotone_bus::state::StateReader;

/// READ DMA of `count` sectors from LBA 0 over the table at 1000h; starts the engine.
fn start_read(m: &mut Machine, count: u8) {
    m.outb(BMIBA + 2, 0x06);
    m.outl(BMIBA + 4, 0x1000);
    m.taskfile(0x1f0, 0xe0, count, 0);
    m.outb(0x1f7, 0xc8);
    m.outb(BMIBA, 0x09);
}

#[test]
fn longer_tables_leave_the_engine_active() {
    let mut m = Machine::usual(100);
    m.prd(0x1000, &[(0x2000, 512), (0x3000, 4096)]);
    start_read(&mut m, 2);
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x05, "active and interrupt");
    m.outb(BMIBA, 0x08);
    assert_eq!(m.inb(BMIBA + 2), 0x04, "stopping clears active");
    assert!(m.ram(0x3000, 512) == pattern(100)[512..1024]);
    assert!(m.ram(0x3200, 512).iter().all(|b| *b == 0));
}

#[test]
fn shorter_tables_stop_the_engine_and_another_start_goes_on() {
    let mut m = Machine::usual(100);
    m.prd(0x1000, &[(0x2000, 512)]);
    start_read(&mut m, 3);
    m.idle();
    assert_eq!(m.inb(BMIBA + 2), 0x00, "neither active nor interrupt");
    assert_eq!(m.inb(0x3f6) & 0x88, 0x08, "the drive still wants to transfer");
    assert!(!m.levels.get(pin(0)));
    m.outb(BMIBA, 0x08);
    m.prd(0x1000, &[(0x3000, 1024)]);
    m.outb(BMIBA, 0x09);
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x04);
    assert_eq!(m.inb(0x1f7), 0x50);
    assert!(m.ram(0x2000, 512) == pattern(100)[..512]);
    assert!(m.ram(0x3000, 1024) == pattern(100)[512..1536]);
}

#[test]
fn a_count_of_zero_is_64_kilobytes_and_odd_values_are_even() {
    let mut m = Machine::usual(300);
    m.prd(0x1000, &[(0x2_0001, 0), (0x4_0000, 0x1_0000)]);
    start_read(&mut m, 0); // 256 sectors
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x04);
    assert!(m.ram(0x2_0000, 0x1_0000) == pattern(300)[..0x1_0000]);
    assert!(m.ram(0x4_0000, 0x1_0000) == pattern(300)[0x1_0000..0x2_0000]);
    let mut m = Machine::usual(300);
    m.prd(0x1000, &[(0x2_0000, 513), (0x3_0000, 513)]);
    start_read(&mut m, 2);
    m.wait_irq(0);
    assert!(m.ram(0x3_0000, 512) == pattern(300)[512..1024]);
}

#[test]
fn memory_that_does_not_answer_sets_error_and_master_abort() {
    for (table, region) in [(0x1000, 0x7fff_0000), (0x1000, 0x000f_ff00), (0xffff_fff8u32, 0)] {
        let mut m = Machine::usual(100);
        if table == 0x1000 {
            m.prd(table, &[(region, 512)]);
        }
        m.outl(BMIBA + 4, table);
        m.taskfile(0x1f0, 0xe0, 1, 0);
        m.outb(0x1f7, 0xc8);
        m.outb(BMIBA, 0x09);
        m.idle();
        assert_eq!(m.inb(BMIBA + 2), 0x02, "error, not active");
        assert!(!m.levels.get(pin(0)));
        assert_eq!(m.config_read(4) >> 16 & 0x3800, 0x2000, "received master abort");
        let saved = m.save();
        let mut restored = Machine::usual(100);
        restored.ide.restore(&mut StateReader::new(&saved)).unwrap();
        assert_eq!(restored.config_read(4), m.config_read(4));
        m.config_write(7, &[0x20]);
        assert_eq!(m.config_read(4) >> 16 & 0x3800, 0);
        m.outb(BMIBA + 2, 0x02);
        assert_eq!(m.inb(BMIBA + 2), 0);
        // A driver's way out: stop, and reset the channel.
        m.outb(BMIBA, 0);
        m.outb(0x3f6, 4);
        m.outb(0x3f6, 0);
        assert_eq!(m.poll(0x1f0), 0x50);
    }
}

#[test]
fn an_endless_table_of_tiny_regions_ends_with_the_data() {
    let mut m = Machine::usual(300);
    // 32,768 descriptors of two bytes each, no end mark: 256 KiB of table for 64 KiB of data.
    let table: Vec<u8> = (0..0x8000).flat_map(|_| [0, 0, 0x0f, 0, 2, 0, 0, 0]).collect();
    m.port.ram.write(0x1000, &table).unwrap();
    start_read(&mut m, 128);
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x05);
}

#[test]
fn stopping_in_the_middle_clears_active_and_nothing_moves() {
    let mut m = Machine::usual(100);
    m.prd(0x1000, &[(0x2000, 512)]);
    start_read(&mut m, 1);
    m.outb(BMIBA, 0x08);
    assert_eq!(m.inb(BMIBA + 2), 0);
    m.idle();
    assert!(!m.levels.get(pin(0)));
    assert!(m.ram(0x2000, 512).iter().all(|b| *b == 0));
}

#[test]
fn the_engine_waits_for_direction_and_bus_master_enable() {
    let mut m = Machine::usual(100);
    m.prd(0x1000, &[(0x2000, 512)]);
    m.config_write(4, &[1]);
    m.outl(BMIBA + 4, 0x1000);
    m.taskfile(0x1f0, 0xe0, 1, 5);
    m.outb(0x1f7, 0xc8);
    m.outb(BMIBA, 0x01); // reads memory, and the drive wants to write it
    m.idle();
    assert!(!m.levels.get(pin(0)));
    m.outb(BMIBA, 0x00);
    m.outb(BMIBA, 0x09);
    m.idle();
    assert!(!m.levels.get(pin(0)), "PCICMD.BME is clear");
    m.config_write(4, &[5]);
    m.wait_irq(0);
    assert!(m.ram(0x2000, 512) == pattern(100)[5 * 512..6 * 512]);
}

#[test]
fn writes_by_dma_reach_the_medium() {
    let mut m = Machine::usual(1_000);
    let data: Vec<u8> = (0..0x1_0000u32).map(|i| (i ^ i >> 8) as u8).collect();
    m.port.ram.write(0x2_0000, &data).unwrap();
    m.prd(0x1000, &[(0x2_0000, 0x8000), (0x2_8000, 0x8000)]);
    // Engine first, command second: also legal.
    m.outl(BMIBA + 4, 0x1000);
    m.outb(BMIBA, 0x01);
    m.taskfile(0x1f0, 0xe0, 128, 300);
    m.outb(0x1f7, 0xca);
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x04);
    m.outb(BMIBA, 0);
    assert_eq!(m.inb(0x1f7), 0x50);
    assert_eq!(m.requests, [(0, 300 * 512, 0x1_0000)]);
    let mut back = vec![0; data.len()];
    slotone_block::read_exact(&m.media[&0], 300 * 512, &mut back).unwrap();
    assert!(back == data);
}

#[test]
fn registers_keep_what_they_should() {
    let mut m = Machine::usual(100);
    m.outb(BMIBA + 2, 0x66);
    assert_eq!(m.inb(BMIBA + 2), 0x60, "capable bits are storage");
    m.outl(BMIBA + 4, 0xdead_beef);
    let mut pointer = [0; 4];
    m.input(BMIBA + 4, &mut pointer);
    assert_eq!(u32::from_le_bytes(pointer), 0xdead_beec);
    assert_eq!((m.inb(BMIBA + 1), m.inb(BMIBA + 3)), (0, 0));
    m.outb(BMIBA + 8, 0xff);
    assert_eq!((m.inb(BMIBA + 8), m.inb(BMIBA)), (0x09, 0));
    let mut wide = [0; 4];
    m.input(BMIBA + 8, &mut wide);
    assert_eq!(wide, [0x09, 0, 0x01, 0]);
}

#[test]
fn pio_interrupts_set_the_interrupt_bit_too() {
    let mut m = Machine::usual(100);
    m.outb(0x1f6, 0xa0);
    m.outb(0x1f7, 0xec);
    m.wait_irq(0);
    assert_eq!(m.inb(BMIBA + 2), 0x04);
    m.outb(BMIBA + 2, 0x04);
    assert_eq!(m.inb(BMIBA + 2), 0, "it remembers the edge, not the level");
}
