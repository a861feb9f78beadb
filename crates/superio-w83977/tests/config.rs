//! The configuration registers behind their key.

use slotone_bus::{Device, Target};
use slotone_fuzz_kit::Rig;
use slotone_superio_w83977::{LogicalDevice, SuperIo};

fn open(port: u16) -> Rig<SuperIo> {
    let mut s = Rig::new(SuperIo::new(&[0x370, 0x3f0]));
    s.outb(port, 0x87);
    s.outb(port, 0x87);
    s
}

fn get(s: &mut Rig<SuperIo>, index: u8) -> u8 {
    s.outb(0x370, index);
    s.inb(0x371)
}

fn set(s: &mut Rig<SuperIo>, index: u8, value: u8) {
    s.outb(0x370, index);
    s.outb(0x371, value);
}

#[test]
fn the_key() {
    let closed = |s: &Rig<SuperIo>| s.device.windows().1.iter().all(|w| w.read == Target::Pass);
    let mut s = Rig::new(SuperIo::new(&[0x370, 0x3f0]));
    for wrong in [[0x87, 0x86], [0x55, 0x55], [0x00, 0x87]] {
        for value in wrong {
            s.outb(0x370, value);
        }
        assert!(closed(&s), "a floppy controller shows through");
    }
    s.outb(0x370, 0x55); // the last of the wrong keys was half a right one
    s.outb(0x3f0, 0x87);
    s.outb(0x3f0, 0x87);
    assert!(!closed(&s));
    s.outb(0x370, 0xaa);
    assert!(closed(&s));
}

#[test]
fn identification_cannot_be_written() {
    for port in [0x370, 0x3f0] {
        let mut s = open(port);
        assert_eq!((get(&mut s, 0x20), get(&mut s, 0x21)), (0x97, 0x71));
        set(&mut s, 0x20, 0);
        set(&mut s, 0x21, 0);
        assert_eq!((get(&mut s, 0x20), get(&mut s, 0x21)), (0x97, 0x71));
    }
}

#[test]
fn logical_devices_keep_what_is_written() {
    let mut s = open(0x370);
    let uart = LogicalDevice { active: true, io_base: 0x3f8, io_base_2: 0, irq: 4, dma: 4 };
    assert_eq!(s.device.logical_device(2), Some(uart));
    assert_eq!(s.device.logical_device(5).unwrap().io_base_2, 0x64);
    assert_eq!(s.device.logical_device(11), None);
    for ldn in 0..11 {
        set(&mut s, 0x07, ldn);
        set(&mut s, 0xf0, ldn ^ 0x5a);
    }
    for ldn in 0..11 {
        set(&mut s, 0x07, ldn);
        assert_eq!(get(&mut s, 0xf0), ldn ^ 0x5a);
    }
    set(&mut s, 0x07, 2);
    for (index, value) in [(0x30, 0), (0x60, 0x02), (0x61, 0xe8), (0x70, 10)] {
        set(&mut s, index, value);
    }
    let moved = LogicalDevice { active: false, io_base: 0x2e8, irq: 10, ..uart };
    assert_eq!(s.device.logical_device(2), Some(moved));
    set(&mut s, 0x07, 0x77);
    assert_eq!(get(&mut s, 0x60), 0xff, "no such logical device");
    assert_eq!(get(&mut s, 0x07), 0x77);
}
