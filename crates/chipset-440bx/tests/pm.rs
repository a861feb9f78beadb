//! Power management and SMBus as ACPI and i2c-piix4 use them.

use slotone_bus::{Clock, Device, ResetKind, Space};
use slotone_chipset_440bx::pm::pin::{SCI, SLP_S5, SMB_IRQ};
use slotone_chipset_440bx::{Pm, PmConfig, SmbusMemory};
use slotone_fuzz_kit::Rig;

const PM: u16 = 0x400;
const SMB: u16 = 0x440;

fn pm() -> Rig<Pm> {
    let spd = SmbusMemory { address: 0x50, content: vec![0x80, 0x08, 0x04, 0x0c, 0x0a] };
    let mut rig = Rig::new(Pm::new(PmConfig { smbus: vec![spd], ..PmConfig::default() }));
    rig.config_write(3, 0x40, &u32::from(PM).to_le_bytes());
    rig.config_write(3, 0x80, &[1]);
    rig.config_write(3, 0x90, &u32::from(SMB).to_le_bytes());
    rig.config_write(3, 0xd2, &[0x09]);
    rig.config_write(3, 0x04, &[1, 0]);
    rig
}

fn inw(rig: &mut Rig<Pm>, offset: u16) -> u16 {
    let mut data = [0; 2];
    rig.read_at(rig.at(Space::Io, u64::from(PM + offset)), &mut data);
    u16::from_le_bytes(data)
}

fn outw(rig: &mut Rig<Pm>, offset: u16, value: u16) -> Vec<(slotone_bus::Pin, bool)> {
    rig.write_at(rig.at(Space::Io, u64::from(PM + offset)), &value.to_le_bytes())
}

fn timer(rig: &mut Rig<Pm>) -> u32 {
    let mut data = [0; 4];
    rig.read_at(rig.at(Space::Io, u64::from(PM + 8)), &mut data);
    u32::from_le_bytes(data)
}

#[test]
fn identity_and_bases() {
    let mut p = Rig::new(Pm::new(PmConfig::default()));
    assert_eq!(p.config_read::<4>(3, 0x00), [0x86, 0x80, 0x13, 0x71]);
    assert_eq!(p.config_read::<8>(3, 0x04), [0, 0, 0x80, 0x02, 0x02, 0x00, 0x80, 0x06]);
    assert_eq!(p.config_read::<4>(3, 0x40), [1, 0, 0, 0]);
    p.config_write(3, 0x40, &[0xff; 4]);
    assert_eq!(p.config_read::<4>(3, 0x40), [0xc1, 0xff, 0, 0], "64 ports");
    p.config_write(3, 0x90, &[0xff; 4]);
    assert_eq!(p.config_read::<4>(3, 0x90), [0xf1, 0xff, 0, 0], "16 ports");
    let io = |p: &Rig<Pm>| p.device.windows().1.iter().filter(|w| w.space == Space::Io).count();
    assert_eq!(io(&p), 1, "only B2h");
    p.config_write(3, 0x80, &[1]);
    assert_eq!(io(&p), 2);
    p.config_write(3, 0xd2, &[1]);
    assert_eq!(io(&p), 2, "PCICMD bit 0 is clear");
    p.config_write(3, 0x04, &[1]);
    assert_eq!(io(&p), 3);
}

#[test]
fn the_timer_counts_at_3_579545_mhz_in_24_bits() {
    let mut p = pm();
    p.advance(1_000_000_000);
    assert_eq!(timer(&mut p), 3_579_545);
    p.now = Clock::PM_TIMER.instant_of(0x100_0005).as_nanos();
    assert_eq!(timer(&mut p), 5);
    assert_eq!(p.inb(PM + 8), 5, "bytes can be read");
    assert_eq!(p.ticks(), 0, "no deadline without TMROF_EN");
    assert_eq!(inw(&mut p, 0) & 1, 1, "but the status is right");
}

#[test]
fn timer_overflow_interrupts_every_2_3_seconds() {
    let mut p = pm();
    outw(&mut p, 4, 1); // SCI_EN
    outw(&mut p, 2, 1); // TMROF_EN
    for n in 1..=3 {
        let due = p.device.next_deadline().unwrap();
        assert_eq!(Clock::PM_TIMER.ticks_at(due), n << 23);
        p.now = due.as_nanos();
        assert_eq!(p.settle(), [(SCI, true)]);
        assert_eq!(p.device.next_deadline(), None, "until the status is cleared");
        assert_eq!(outw(&mut p, 0, 1), [(SCI, false)]);
    }
}

#[test]
fn acpi_is_switched_on_and_off_through_apmc() {
    let mut p = pm();
    p.outb(0xb2, 0xe1);
    assert_eq!(inw(&mut p, 4) & 1, 0, "DEVACTB bit 25 is clear");
    p.config_write(3, 0x5b, &[0x02]);
    p.outb(0xb2, 0xe1);
    assert_eq!(inw(&mut p, 4) & 1, 1);
    assert!(p.device.sci_enabled());
    p.outb(0xb3, 0x77);
    assert_eq!((p.inb(0xb2), p.inb(0xb3)), (0xe1, 0x77));
    p.outb(0xb2, 0x1e);
    assert_eq!(inw(&mut p, 4) & 1, 0);
}

#[test]
fn the_power_button() {
    let mut p = pm();
    let press = |p: &mut Rig<Pm>| {
        p.port.at(p.now, |cx| p.device.press_power_button(cx));
        p.lines()
    };
    assert_eq!(press(&mut p), []);
    assert_eq!(inw(&mut p, 0), 0x100);
    outw(&mut p, 0, 0xfeff);
    assert_eq!(inw(&mut p, 0), 0x100, "only a 1 clears a bit");
    outw(&mut p, 0, 0x100);
    assert_eq!(inw(&mut p, 0), 0);
    outw(&mut p, 4, 1);
    outw(&mut p, 2, 0x100);
    assert_eq!(press(&mut p), [(SCI, true)]);
    assert_eq!(outw(&mut p, 0, 0xffff), [(SCI, false)]);
}

#[test]
fn soft_off_and_other_sleep_types() {
    let mut p = pm();
    for sleep in 1..8u16 {
        assert_eq!(outw(&mut p, 4, 0x2001 | sleep << 10), []);
    }
    assert!(!p.device.is_off());
    assert_eq!(outw(&mut p, 4, 0x0001), [], "SUS_TYP alone does nothing");
    assert_eq!(outw(&mut p, 4, 0x2001), [(SLP_S5, true)]);
    assert_eq!(inw(&mut p, 4), 0x0001, "SUS_EN reads as 0");
    assert!(p.device.is_off());
    p.reset(ResetKind::Power);
    assert!(!p.device.is_off());
}

#[test]
fn the_bios_switches_off_by_two_bytes() {
    let mut p = pm();
    assert_eq!(p.outb(0xb2, b'T'), []);
    assert_eq!(p.outb(0xb2, b'E'), []);
    assert_eq!(p.outb(0xb2, b'E'), []);
    assert_eq!(p.outb(0xb2, b'T'), [(SLP_S5, true)]);
    let mut silent = Rig::new(Pm::new(PmConfig { power_off: None, ..PmConfig::default() }));
    silent.outb(0xb2, b'E');
    assert_eq!(silent.outb(0xb2, b'T'), []);
}

#[test]
fn register_table_of_pmba() {
    // Offset, value written, value read back (290562, section 7.2).
    let mut p = pm();
    for (offset, read_back) in
        [(0x02, 0x0521), (0x0e, 0x0f01), (0x20, 0xffff), (0x04, 0x1c03), (0x14, 0), (0x30, 0xffff)]
    {
        outw(&mut p, offset, 0xdfff);
        let mask = if offset == 0x20 { 0xdfff } else { 0xffff };
        assert_eq!(inw(&mut p, offset), read_back & mask, "offset {offset:#x}");
    }
    assert_eq!(inw(&mut p, 0x34), 0xbfff);
    assert_eq!(inw(&mut p, 0x36), 0x7fff);
    outw(&mut p, 0x28, 0x0002); // BIOS_RLS
    assert_eq!(inw(&mut p, 0x00) & 0x20, 0x20);
    outw(&mut p, 0x10, 0xffff);
    outw(&mut p, 0x12, 0xffff);
    assert_eq!((inw(&mut p, 0x10), inw(&mut p, 0x12)), (0x3e1e, 0x0002));
}

/// Starts a transfer and waits for its end; gives SMBHSTSTS.
fn transfer(p: &mut Rig<Pm>, address: u8, command: u8, protocol: u8) -> u8 {
    p.outb(SMB, 0x1e);
    p.outb(SMB + 4, address);
    p.outb(SMB + 3, command);
    p.outb(SMB + 2, 0x40 | protocol << 2);
    assert_eq!(p.inb(SMB) & 1, 1, "busy");
    p.advance(30_000_000);
    p.inb(SMB)
}

#[test]
fn spd_is_read_byte_by_byte() {
    let mut p = pm();
    for (offset, byte) in [(0, 0x80), (1, 0x08), (4, 0x0a), (5, 0xff)] {
        assert_eq!(transfer(&mut p, 0xa1, offset, 2), 0x02);
        assert_eq!(p.inb(SMB + 5), byte);
    }
    assert_eq!(transfer(&mut p, 0xa1, 1, 3), 0x02, "a word");
    assert_eq!((p.inb(SMB + 5), p.inb(SMB + 6)), (0x08, 0x04));
    assert_eq!(transfer(&mut p, 0xa0, 0x03, 1), 0x02, "send byte sets the address");
    assert_eq!(transfer(&mut p, 0xa1, 0, 1), 0x02);
    assert_eq!(p.inb(SMB + 5), 0x0c, "receive byte goes on from there");
}

#[test]
fn nobody_answers() {
    let mut p = pm();
    for address in (0x06..0xf0).step_by(2).filter(|a| *a != 0xa0) {
        assert_eq!(transfer(&mut p, address, 0, 0), 0x04, "DEV_ERR at {address:#x}");
    }
    assert_eq!(transfer(&mut p, 0xa0, 0, 0), 0x02, "the SPD acknowledges");
    assert_eq!(transfer(&mut p, 0xa1, 0, 7), 0x04, "no such protocol");
}

#[test]
fn a_block_and_its_index() {
    let mut p = pm();
    assert_eq!(transfer(&mut p, 0xa1, 2, 5), 0x02);
    assert_eq!(p.inb(SMB + 5), 4, "the first byte is the count");
    p.inb(SMB + 2); // resets the index
    let block = [0; 4].map(|_: u8| p.inb(SMB + 7));
    assert_eq!(block, [0x0c, 0x0a, 0xff, 0xff]);
    p.inb(SMB + 2);
    assert_eq!(p.inb(SMB + 7), 0x0c, "from the beginning");
}

#[test]
fn smbus_interrupts_and_kill() {
    let mut p = pm();
    p.outb(SMB + 4, 0xa1);
    p.outb(SMB + 2, 0x49);
    assert_eq!(p.advance(30_000_000), [(SMB_IRQ, true)]);
    assert_eq!(p.outb(SMB, 0x02), [(SMB_IRQ, false)]);
    p.outb(SMB + 2, 0x48);
    p.outb(SMB + 2, 0x02);
    assert_eq!(p.inb(SMB), 0x10, "failed by KILL");
    assert_eq!(p.device.next_deadline(), None);
}
