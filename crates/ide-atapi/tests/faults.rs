//! Media that fail, media that may not be written, hosts that are late.

mod common;

use common::{BMIBA, Machine, disk, pattern};
use slotone_block::layers::{ErrorLayer, On};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, Completion, DiskClient, Operation, Outcome, perform};
use slotone_bus::Device;
use slotone_ide_atapi::Timing;

/// A disk of 1,000 sectors at unit 0 whose sectors `bad` cannot be accessed.
fn flawed(bad: std::ops::Range<u64>, on: On) -> Machine {
    let medium =
        ErrorLayer::new(MemoryDisk::from_bytes(&pattern(1_000))).bad(bad.start * 512..bad.end * 512, on);
    let mut m = Machine::new([Some(disk(medium.info())), None, None, None], Timing::default());
    m.media.insert(0, Box::new(medium));
    m
}

fn error_address(m: &mut Machine) -> (u8, u8, u32) {
    let (status, error) = (m.inb(0x1f7), m.inb(0x1f1));
    let lba = [3, 4, 5].map(|r| m.inb(0x1f0 + r));
    (status, error, u32::from_le_bytes([lba[0], lba[1], lba[2], 0]))
}

#[test]
fn a_bad_sector_is_named_and_what_is_before_it_delivered_by_dma() {
    let mut m = flawed(137..139, On::Reads);
    m.prd(0x1000, &[(0x2_0000, 0), (0x3_0000, 0)]);
    m.outl(BMIBA + 4, 0x1000);
    m.taskfile(0x1f0, 0xe0, 200, 100);
    m.outb(0x1f7, 0xc8);
    m.outb(BMIBA, 0x09);
    m.wait_irq(0);
    assert_eq!(error_address(&mut m), (0x51, 0x40, 137));
    assert_eq!(m.inb(0x1f2), 163, "sectors left");
    assert_eq!(m.inb(BMIBA + 2), 0x05, "the table was not used up");
    assert!(m.ram(0x2_0000, 37 * 512) == pattern(1_000)[100 * 512..137 * 512]);
}

#[test]
fn a_bad_sector_by_pio() {
    let mut m = flawed(12..13, On::Reads);
    m.taskfile(0x1f0, 0xe0, 8, 10);
    m.outb(0x1f7, 0x20);
    for n in 0..2 {
        m.wait_irq(0);
        assert_eq!(m.inb(0x1f7), 0x58);
        let mut sector = vec![0; 512];
        m.ins(0x1f0, 2, &mut sector);
        assert!(sector == pattern(1_000)[(10 + n) * 512..][..512]);
    }
    m.wait_irq(0);
    assert_eq!(error_address(&mut m), (0x51, 0x40, 12));
    // By blocks of four: the block before is delivered, the bad sector inside the next is named.
    m.outb(0x1f2, 4);
    m.outb(0x1f7, 0xc6);
    m.poll(0x1f0);
    m.taskfile(0x1f0, 0xe0, 8, 6);
    m.outb(0x1f7, 0xc4);
    m.wait_irq(0);
    assert_eq!(m.inb(0x1f7), 0x58);
    let mut block = vec![0; 2048];
    m.ins(0x1f0, 2, &mut block);
    assert!(block == pattern(1_000)[6 * 512..10 * 512]);
    m.wait_irq(0);
    assert_eq!(error_address(&mut m), (0x51, 0x40, 12));
    // VERIFY moves nothing and finds it too.
    m.taskfile(0x1f0, 0xe0, 0, 0);
    m.outb(0x1f7, 0x40);
    m.wait_irq(0);
    assert_eq!(error_address(&mut m), (0x51, 0x40, 12));
}

#[test]
fn a_write_error_is_a_device_fault_at_its_sector() {
    let mut m = flawed(30..31, On::Writes);
    m.taskfile(0x1f0, 0xe0, 16, 20);
    m.outb(0x1f7, 0x30);
    let data: Vec<u8> = (0..16 * 512u32).map(|i| (i / 512 * 3 + i) as u8).collect();
    m.outs(0x1f0, 2, &data[..512]);
    for sector in data[512..].chunks(512) {
        m.wait_irq(0);
        assert_eq!(m.inb(0x1f7), 0x58);
        m.outs(0x1f0, 2, sector);
    }
    m.wait_irq(0);
    assert_eq!(error_address(&mut m), (0x71, 0x04, 30));
    let mut back = vec![0; 16 * 512];
    slotone_block::read_exact(&m.media[&0], 20 * 512, &mut back).unwrap();
    assert!(back[..10 * 512] == data[..10 * 512]);
    // The next command is not haunted.
    m.outb(0x1f7, 0xe5);
    assert_eq!(m.poll(0x1f0), 0x50);
}

#[test]
fn a_read_only_disk_aborts_writes() {
    let medium = MemoryDisk::new(1 << 20).read_only();
    let mut m = Machine::new([Some(disk(medium.info())), None, None, None], Timing::default());
    m.media.insert(0, Box::new(medium));
    for code in [0x30, 0xca] {
        m.taskfile(0x1f0, 0xe0, 1, 0);
        m.outb(0x1f7, code);
        assert_eq!(m.poll(0x1f0), 0x51);
        assert_eq!(m.inb(0x1f1), 0x04);
    }
    assert_eq!(m.requests, []);
}

#[test]
fn a_drive_without_its_medium_faults() {
    let mut m = Machine::usual(1_000);
    m.media.clear();
    m.taskfile(0x1f0, 0xe0, 1, 0);
    m.outb(0x1f7, 0x20);
    assert_eq!(m.poll(0x1f0), 0x71);
    m.outb(0x1f7, 0xe7);
    assert_eq!(m.poll(0x1f0), 0x71);
}

#[test]
fn a_late_host_delays_and_nothing_else() {
    let mut m = Machine::usual(1_000);
    m.taskfile(0x1f0, 0xe0, 1, 3);
    // By hand, so that the request is not carried at once.
    let at = slotone_bus::At { window: slotone_bus::WindowId(1), offset: 7 };
    let ide = &mut m.ide;
    m.port.at(m.now, |cx| ide.write(cx, at, &[0x20]));
    let request = m.ide.next_request().unwrap();
    assert_eq!(m.ide.next_request(), None, "handed out once");
    let due = m.ide.next_deadline().unwrap();
    assert_eq!(due.as_nanos(), request.due);
    m.now = request.due + 5;
    let ide = &mut m.ide;
    m.port.at(m.now, |cx| ide.tick(cx));
    assert_eq!(m.ide.next_deadline(), None, "nothing is due before the host answers");
    // Answers to questions nobody asked.
    m.ide.complete(Completion { id: request.id ^ 1, outcome: Outcome::Done, data: vec![] });
    m.ide.complete(Completion { id: request.id + 2, outcome: Outcome::Done, data: vec![] });
    assert_eq!(m.ide.next_deadline(), None);
    let done = perform(Some(&m.media[&0]), request);
    m.ide.complete(done);
    assert_eq!(m.ide.next_deadline(), Some(due));
    m.settle();
    let mut sector = vec![0; 512];
    m.ins(0x1f0, 2, &mut sector);
    assert!(sector == pattern(1_000)[3 * 512..4 * 512]);
}

/// A machine with slow media answers requests of commands that a reset has ended.
#[test]
fn an_answer_to_a_command_that_was_given_up_is_nobodys() {
    let mut m = Machine::usual(1_000);
    // By hand, so that requests are not carried at once.
    let ask = |m: &mut Machine, sector: u32| {
        m.taskfile(0x1f0, 0xe0, 1, sector);
        let at = slotone_bus::At { window: slotone_bus::WindowId(1), offset: 7 };
        let ide = &mut m.ide;
        m.port.at(m.now, |cx| ide.write(cx, at, &[0x20]));
        m.ide.next_request().unwrap()
    };
    let old = ask(&mut m, 3);
    m.outb(0x3f6, 0x04);
    m.outb(0x3f6, 0x00);
    assert_eq!(m.poll(0x1f0) & 0x80, 0, "the reset is over");
    let new = ask(&mut m, 7);
    assert_ne!(old.id, new.id);
    m.ide.complete(perform(Some(&m.media[&0]), old));
    m.now = new.due + 5;
    m.settle();
    assert_eq!(m.inb(0x1f7) & 0x88, 0x80, "it waits for its own answer");
    m.ide.complete(perform(Some(&m.media[&0]), new));
    m.settle();
    let mut sector = vec![0; 512];
    m.ins(0x1f0, 2, &mut sector);
    assert!(sector == pattern(1_000)[7 * 512..8 * 512]);
}

#[test]
fn without_its_write_cache_the_disk_writes_through() {
    let mut m = Machine::usual(1_000);
    for (feature, fua) in [(0x02, false), (0x82, true)] {
        m.outb(0x1f1, feature);
        m.outb(0x1f6, 0xe0);
        m.outb(0x1f7, 0xef);
        m.poll(0x1f0);
        m.taskfile(0x1f0, 0xe0, 1, 0);
        m.outb(0x1f7, 0x30);
        m.outs(0x1f0, 2, &[1; 510]);
        let at = slotone_bus::At { window: slotone_bus::WindowId(1), offset: 0 };
        let ide = &mut m.ide;
        m.port.at(m.now, |cx| ide.write(cx, at, &[1, 1]));
        let request = m.ide.next_request().unwrap();
        assert_eq!(request.operation, Operation::Write { fua });
        m.ide.complete(perform(Some(&m.media[&0]), request));
        assert_eq!(m.poll(0x1f0), 0x50);
    }
}
