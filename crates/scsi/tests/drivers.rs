//! What drivers do with a unit they have found, in the order in which they do it. The sequences are told by the drivers' sources (Linux) or
//! their documentation (Windows 2000's port, disk and CD drivers); no driver runs here.

use slotone_block::{BlockBackend, memory::MemoryDisk, read_exact};
use slotone_scsi::{
    CdConfig, CdRom, Command, Completion, Data, Disk, DiskConfig, SpiFlags, Target, Version, execute,
};

struct Host<'a> {
    target: &'a mut dyn Target,
    medium: &'a MemoryDisk,
}

impl Host<'_> {
    /// As a driver with automatic sense does it; a unit attention makes it try again.
    fn done(&mut self, cdb: &[u8], mut data: Data<'_>) -> Completion {
        for _ in 0..5 {
            let again = match &mut data {
                Data::None => Data::None,
                Data::In(buffer) => Data::In(buffer),
                Data::Out(data) => Data::Out(data),
            };
            let done = execute(self.target, Some(self.medium), &Command::new(cdb).initiator(7), again);
            if done.sense.is_none_or(|s| s.key.code() != 6) {
                return done;
            }
        }
        panic!("unit attentions without an end");
    }

    fn get(&mut self, cdb: &[u8], room: usize) -> Vec<u8> {
        let mut buffer = vec![0; room];
        let done = self.done(cdb, Data::In(&mut buffer));
        assert_eq!(done.status, 0, "{cdb:02x?}: {done:?}");
        buffer.truncate(done.transferred);
        buffer
    }

    fn good(&mut self, cdb: &[u8]) {
        let done = self.done(cdb, Data::None);
        assert_eq!(done.status, 0, "{cdb:02x?}: {done:?}");
    }

    fn refused(&mut self, cdb: &[u8]) -> u8 {
        let done = self.done(cdb, Data::In(&mut [0; 256]));
        done.sense.unwrap_or_else(|| panic!("{cdb:02x?}: {done:?}")).asc
    }
}

const SPI: SpiFlags = SpiFlags { wide: true, sync: true, queueing: true };

#[test]
fn linux_sd_on_a_scsi_2_disk() {
    let medium = MemoryDisk::new(2_048_000 * 512);
    let mut disk = Disk::new(DiskConfig { spi: SPI, ..DiskConfig::new(medium.info()) });
    let mut host = Host { target: &mut disk, medium: &medium };
    // scsi_scan: INQUIRY of 36 bytes, and another if there are more.
    let inquiry = host.get(&[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!(usize::from(inquiry[4]) + 5, 36);
    assert_eq!((inquiry[2] & 7, inquiry[7] & 0x32), (2, 0x32), "SCSI-2; wide, synchronous, tagged");
    // spi_dv_device: a READ BUFFER that is refused leaves INQUIRY as the test of the line.
    assert_eq!(host.refused(&[0x3c, 0x0b, 0, 0, 0, 0, 0, 0, 4, 0]), 0x20);
    // sd_spinup_disk, sd_read_capacity: capacities below 2^32 - 1 need the short form alone.
    host.good(&[0, 0, 0, 0, 0, 0]);
    let capacity = host.get(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8);
    assert_eq!(capacity, [0, 0x1f, 0x3f, 0xff, 0, 0, 2, 0]);
    // sd_read_write_protect_flag: all pages, four bytes; then page 0, then all pages in 255.
    assert_eq!(host.get(&[0x1a, 0, 0x3f, 0, 4, 0], 4)[2] & 0x80, 0);
    host.get(&[0x1a, 0, 0x00, 0, 4, 0], 4);
    // sd_read_cache_type: header of page 8 without descriptor, then as much as it says.
    let header = host.get(&[0x1a, 8, 8, 0, 4, 0], 4);
    let page = host.get(&[0x1a, 8, 8, 0, header[0] + 1, 0], 64);
    assert_eq!((page[2] & 0x10, page[4] & 0x3f, page[6] & 5), (0x10, 8, 4), "FUA, write back");
    // The partition table, a write with FUA, a flush, a discard that is not announced.
    assert_eq!(host.get(&[0x28, 0, 0, 0, 0, 0, 0, 0, 8, 0], 4096).len(), 4096);
    assert_eq!(host.done(&[0x2a, 8, 0, 0, 0, 8, 0, 0, 8, 0], Data::Out(&[0x5a; 4096])).status, 0);
    host.good(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let mut there = [0; 4096];
    read_exact(&medium, 8 * 512, &mut there).unwrap();
    assert_eq!(there, [0x5a; 4096]);
    // sysfs cache_type "write through": MODE SENSE, change, MODE SELECT with SP as PS was.
    let mut list = host.get(&[0x1a, 8, 8, 0, 24, 0], 24);
    list[0] = 0; // sd clears the mode data length, and keeps the header otherwise
    list[2] &= !0x90;
    list[6] &= !4;
    assert_eq!(host.done(&[0x15, 0x10 | list[4] >> 7, 0, 0, 24, 0], Data::Out(&list)).status, 0);
    assert!(!disk.write_cache());
}

#[test]
fn linux_sd_on_an_spc_3_disk_of_two_tebibytes() {
    let medium = MemoryDisk::new((1 << 32) * 512);
    let mut config = DiskConfig::new(medium.info());
    (config.version, config.serial, config.discards) = (Version::Spc3, "0042".to_string(), true);
    let mut disk = Disk::new(config);
    let mut host = Host { target: &mut disk, medium: &medium };
    let inquiry = host.get(&[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!(host.get(&[0x12, 0, 0, 0, inquiry[4] + 5, 0], 255).len(), usize::from(inquiry[4]) + 5);
    assert_eq!(host.get(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0x10, 8, 0, 0], 4104)[..4], [0, 0, 0, 8]);
    let pages = host.get(&[0x12, 1, 0, 0, 255, 0], 255);
    for page in &pages[4..] {
        let data = host.get(&[0x12, 1, *page, 0, 255, 0], 255);
        assert_eq!((data[1], usize::from(data[3])), (*page, data.len() - 4));
    }
    assert_eq!(pages[4..], [0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    // READ CAPACITY(16) first, since SPC-3.
    let capacity = host.get(&[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], 32);
    assert_eq!(capacity[..8], 0xffff_ffffu64.to_be_bytes());
    assert_eq!(capacity[14] & 0x80, 0x80, "LBPME");
    assert_eq!(host.refused(&[0xa3, 0x0c, 1, 0x93, 0, 0, 0, 0, 2, 0, 0, 0]), 0x20, "no list of commands");
    // Both ends, and UNMAP.
    let last = [0x88, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0];
    assert_eq!(host.get(&last, 512), [0; 512]);
    let write = [0x8a, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1, 0, 0];
    assert_eq!(host.done(&write, Data::Out(&[9; 512])).status, 0);
    assert_eq!(host.get(&last, 512), [9; 512]);
    let list = [0, 22, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0, 0, 8, 0, 0, 0, 0];
    assert_eq!(host.done(&[0x42, 0, 0, 0, 0, 0, 0, 0, 24, 0], Data::Out(&list)).status, 0);
}

#[test]
fn windows_2000_disk() {
    let medium = MemoryDisk::new(8 << 20);
    let mut disk = Disk::new(DiskConfig { spi: SPI, ..DiskConfig::new(medium.info()) });
    let mut host = Host { target: &mut disk, medium: &medium };
    // The port driver: INQUIRY, then serial numbers if the unit lists them.
    assert_eq!(host.get(&[0x12, 0, 0, 0, 36, 0], 36)[8..16], *b"Msft    ");
    assert_eq!(host.get(&[0x12, 1, 0, 0, 255, 0], 255), [0, 0, 0, 4, 0, 0xb0, 0xb1, 0xb2]);
    // disk.sys: ready, capacity, every mode page in 192 bytes, the caching page.
    host.good(&[0, 0, 0, 0, 0, 0]);
    assert_eq!(host.get(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)[4..], [0, 0, 2, 0]);
    let all = host.get(&[0x1a, 0, 0x3f, 0, 192, 0], 192);
    assert_eq!(all.len(), usize::from(all[0]) + 1);
    assert_eq!(host.get(&[0x1a, 0, 0x08, 0, 192, 0], 192)[12] & 0x3f, 8);
    // Formatting verifies, shutting down flushes and stops.
    host.good(&[0x2f, 0, 0, 0, 0, 0, 0, 0, 0x80, 0]);
    assert_eq!(host.done(&[0x2a, 0, 0, 0, 0, 63, 0, 0, 1, 0], Data::Out(&[1; 512])).status, 0);
    host.good(&[0x16, 0, 0, 0, 0, 0]);
    host.good(&[0x17, 0, 0, 0, 0, 0]);
    host.good(&[0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    host.good(&[0x1b, 0, 0, 0, 0, 0]);
    assert_eq!(host.refused(&[0, 0, 0, 0, 0, 0]), 0x04);
    host.good(&[0x1b, 0, 0, 0, 1, 0]);
}

fn disc() -> (MemoryDisk, CdRom) {
    let medium = MemoryDisk::from_bytes(&(0..64 * 2048).map(|i| (i / 2048) as u8).collect::<Vec<_>>());
    let mut drive = CdRom::with_config(CdConfig::scsi(SPI));
    drive.insert(medium.info().capacity);
    (medium, drive)
}

#[test]
fn linux_sr() {
    let (medium, mut drive) = disc();
    let mut host = Host { target: &mut drive, medium: &medium };
    let inquiry = host.get(&[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!((inquiry[0], inquiry[1], inquiry[2], inquiry[3]), (5, 0x80, 2, 2));
    host.good(&[0, 0, 0, 0, 0, 0]);
    // sr get_capabilities: page 2Ah behind header and block descriptor.
    let mode = host.get(&[0x5a, 0, 0x2a, 0, 0, 0, 0, 0, 128, 0], 128);
    let at = 8 + usize::from(u16::from_be_bytes([mode[6], mode[7]]));
    assert_eq!((mode[at] & 0x3f, at), (0x2a, 16));
    assert_eq!(host.get(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8), [0, 0, 0, 63, 0, 0, 8, 0]);
    assert_eq!(host.get(&[0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8, 0], 8)[4] & 0xf, 2, "new media");
    assert_eq!(host.get(&[0x46, 0, 0, 0, 0, 0, 0, 0, 8, 0], 8)[6..], [0, 8]);
    assert_eq!(host.get(&[0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0], 12)[..6], [0, 18, 1, 1, 0, 0x14]);
    assert_eq!(host.get(&[0x43, 0, 1, 0, 0, 0, 0, 0, 12, 0], 12)[..4], [0, 10, 1, 1], "sessions");
    host.good(&[0x1e, 0, 0, 0, 1, 0]);
    assert_eq!(host.get(&[0x28, 0, 0, 0, 0, 16, 0, 0, 2, 0], 4096)[2047..2049], [16, 17]);
    // eject: unlock, open; then nothing is there.
    host.good(&[0x1e, 0, 0, 0, 0, 0]);
    host.good(&[0x1b, 0, 0, 0, 2, 0]);
    assert_eq!(host.refused(&[0, 0, 0, 0, 0, 0]), 0x3a);
    host.good(&[0x1b, 0, 0, 0, 3, 0]);
    host.good(&[0, 0, 0, 0, 0, 0]);
}

#[test]
fn windows_2000_cdrom() {
    let (medium, mut drive) = disc();
    let mut host = Host { target: &mut drive, medium: &medium };
    host.get(&[0x12, 0, 0, 0, 36, 0], 36);
    assert_eq!(host.refused(&[0xa4, 0, 0, 0, 0, 0, 0, 0, 0, 8, 0, 0x3f]), 0x20, "no keys");
    host.good(&[0, 0, 0, 0, 0, 0]);
    assert_eq!(host.get(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)[6..], [8, 0]);
    assert_eq!(host.get(&[0x1a, 8, 0x2a, 0, 24, 0], 24)[4] & 0x3f, 0x2a);
    // The table of contents by minute and second, and by the old place of the format.
    assert_eq!(host.get(&[0x43, 2, 0, 0, 0, 0, 0, 3, 0x24, 0], 804)[8..12], [0, 0, 2, 0]);
    assert_eq!(host.get(&[0x43, 0, 0, 0, 0, 0, 0, 0, 12, 0x40], 12).len(), 12);
    // The CD player: volume, position, play, pause.
    let mut list = host.get(&[0x5a, 0x08, 0x0e, 0, 0, 0, 0, 0, 24, 0], 24);
    list[..2].fill(0);
    (list[17], list[19]) = (0x40, 0x40);
    assert_eq!(host.done(&[0x55, 0x10, 0, 0, 0, 0, 0, 0, 24, 0], Data::Out(&list)).status, 0);
    assert_eq!(host.get(&[0x1a, 8, 0x0e, 0, 20, 0], 20)[13], 0x40);
    assert_eq!(host.get(&[0x42, 2, 0x40, 1, 0, 0, 0, 0, 16, 0], 16)[1], 0x15, "nothing plays");
    assert_eq!(host.refused(&[0x47, 0, 0, 0, 2, 0, 0, 2, 10, 0]), 0x64, "a data track");
    assert_eq!(host.refused(&[0x4b, 0, 0, 0, 0, 0, 0, 0, 0, 0]), 0x2c);
    assert_eq!(host.refused(&[0x45, 0, 0, 0, 1, 0, 0, 0, 9, 0]), 0x21);
    host.good(&[0x45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    host.good(&[0x4e, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(host.refused(&[0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4, 0, 0]), 0x30, "no DVD");
    // Another disc.
    drive.eject();
    drive.insert(1 << 20);
    let mut host = Host { target: &mut drive, medium: &medium };
    assert_eq!(host.get(&[0x25, 0, 0, 0, 0, 0, 0, 0, 0, 0], 8)[..4], [0, 0, 1, 0xff]);
    // A DVD tells of its layer.
    drive.insert(4 << 30);
    let mut host = Host { target: &mut drive, medium: &medium };
    let layer = host.get(&[0xad, 0, 0, 0, 0, 0, 0, 0, 8, 4, 0, 0], 2052);
    assert_eq!(
        (layer.len(), &layer[..2], &layer[9..12], &layer[13..16]),
        (2052, &[8, 2][..], &[3, 0, 0][..], &[0x22, 0xff, 0xff][..])
    );
}
