//! Whole commands on a medium: the bytes arrive where they belong, and faults become sense data.

use std::io::{IoSlice, IoSliceMut};

use slotone_block::layers::{ErrorLayer, On};
use slotone_block::{BlockBackend, BlockError, MediumInfo, memory::MemoryDisk, read_exact, write_all};
use slotone_scsi::{Command, Data, Disk, DiskConfig, SenseKey, execute, status};

fn disk(medium: &dyn BlockBackend) -> Disk {
    let mut disk = Disk::new(DiskConfig::new(medium.info()));
    assert_eq!(
        execute(&mut disk, Some(medium), &Command::new(&[0]), Data::None).status,
        status::CHECK_CONDITION
    );
    disk
}

fn pattern(len: usize, seed: u8) -> Vec<u8> {
    (0..len).map(|i| (i / 512) as u8 ^ (i % 251) as u8 ^ seed).collect()
}

#[test]
fn writes_and_reads_by_every_form() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = disk(&medium);
    // 300 blocks: more than one piece. The 6-byte forms take 256 at most.
    let forms: [(u64, usize, &[u8], &[u8]); 4] = [
        (3, 256, &[0x0a, 0, 0, 3, 0], &[0x08, 0, 0, 3, 0]),
        (300, 300, &[0x2a, 0, 0, 0, 1, 0x2c, 0, 1, 0x2c], &[0x28, 0, 0, 0, 1, 0x2c, 0, 1, 0x2c]),
        (700, 300, &[0xaa, 0, 0, 0, 2, 0xbc, 0, 0, 1, 0x2c], &[0xa8, 0, 0, 0, 2, 0xbc, 0, 0, 1, 0x2c]),
        (
            1700,
            300,
            &[0x8a, 0, 0, 0, 0, 0, 0, 0, 6, 0xa4, 0, 0, 1, 0x2c],
            &[0x88, 0, 0, 0, 0, 0, 0, 0, 6, 0xa4, 0, 0, 1, 0x2c],
        ),
    ];
    for (lba, blocks, write, read) in forms {
        let data = pattern(blocks * 512, write[0]);
        let done = execute(&mut disk, Some(&medium), &Command::new(write), Data::Out(&data));
        assert_eq!((done.status, done.transferred, done.wanted), (0, data.len(), data.len() as u64));
        let mut there = vec![0; data.len()];
        read_exact(&medium, lba * 512, &mut there).unwrap();
        assert!(there == data, "{write:02x?}");
        let mut back = vec![0; data.len()];
        let done = execute(&mut disk, Some(&medium), &Command::new(read), Data::In(&mut back));
        assert_eq!((done.status, done.transferred), (0, data.len()));
        assert!(back == data, "{read:02x?}");
    }
}

#[test]
fn a_small_buffer_cuts_the_transfer() {
    let medium = MemoryDisk::from_bytes(&pattern(64 * 512, 1));
    let mut disk = disk(&medium);
    let mut buffer = [0xee; 700];
    let read = Command::new(&[0x28, 0, 0, 0, 0, 2, 0, 0, 8]);
    let done = execute(&mut disk, Some(&medium), &read, Data::In(&mut buffer));
    assert_eq!((done.status, done.transferred, done.wanted), (0, 700, 8 * 512));
    assert!(buffer[..] == pattern(64 * 512, 1)[2 * 512..][..700]);
    let write = Command::new(&[0x2a, 0, 0, 0, 0, 2, 0, 0, 8]);
    let done = execute(&mut disk, Some(&medium), &write, Data::Out(&[0xaa; 700]));
    assert_eq!((done.status, done.transferred, done.wanted), (0, 512, 8 * 512));
    let mut there = [0; 1024];
    read_exact(&medium, 1024, &mut there).unwrap();
    assert!(
        there[..512] == [0xaa; 512] && there[512..] == pattern(64 * 512, 1)[3 * 512..4 * 512],
        "whole blocks alone"
    );
    // No buffer at all, though the disk has something to say.
    let done = execute(&mut disk, Some(&medium), &Command::new(&[0x12, 0, 0, 0, 36]), Data::None);
    assert_eq!((done.status, done.transferred, done.wanted), (0, 0, 36));
}

/// Data of the wrong direction go nowhere, and nobody says that they did.
#[test]
fn a_buffer_for_the_other_direction_is_none() {
    let content = pattern(64 * 512, 1);
    let medium = MemoryDisk::from_bytes(&content);
    let mut disk = disk(&medium);
    let mut buffer = [0xee; 1024];
    for code in [0x2a, 0x2e, 0x2f] {
        let byte = if code == 0x2f { 2 } else { 0 }; // BYTCHK
        let command = Command::new(&[code, byte, 0, 0, 0, 2, 0, 0, 2]);
        let done = execute(&mut disk, Some(&medium), &command, Data::In(&mut buffer));
        assert_eq!((done.status, done.transferred, done.wanted), (status::GOOD, 0, 1024), "{code:02x}");
    }
    for command in [&[0x28, 0, 0, 0, 0, 2, 0, 0, 2][..], &[0x12, 0, 0, 0, 36]] {
        let done = execute(&mut disk, Some(&medium), &Command::new(command), Data::Out(&buffer));
        assert_eq!((done.status, done.transferred), (status::GOOD, 0), "{command:02x?}");
        assert_ne!(done.wanted, 0);
    }
    assert_eq!(buffer, [0xee; 1024]);
    let mut there = vec![0; 64 * 512];
    read_exact(&medium, 0, &mut there).unwrap();
    assert!(there == content, "nothing was written");
}

#[test]
fn verify_compares_and_write_same_fills() {
    let medium = MemoryDisk::new(1 << 20);
    let mut disk = disk(&medium);
    let data = pattern(200 * 512, 9);
    write_all(&medium, 5 * 512, &data).unwrap();
    let compare = Command::new(&[0x2f, 2, 0, 0, 0, 5, 0, 0, 200]);
    assert_eq!(execute(&mut disk, Some(&medium), &compare, Data::Out(&data)).status, 0);
    let mut other = data.clone();
    other[150 * 512 + 17] ^= 1;
    let sense = execute(&mut disk, Some(&medium), &compare, Data::Out(&other)).sense.unwrap();
    assert_eq!((sense.key, sense.asc, sense.information), (SenseKey::Miscompare, 0x1d, Some(155)));
    let same = Command::new(&[0x41, 0, 0, 0, 0, 7, 0, 1, 44]);
    assert_eq!(execute(&mut disk, Some(&medium), &same, Data::Out(&[3; 512])).status, 0);
    let mut there = vec![0; 302 * 512];
    read_exact(&medium, 6 * 512, &mut there).unwrap();
    assert!(there[512..301 * 512].iter().all(|b| *b == 3));
    assert!(there[..512] == data[512..1024] && there[301 * 512..] == [0; 512]);
    let both = Command::new(&[0x2e, 0, 0, 0, 0, 1, 0, 0, 2]);
    let done = execute(&mut disk, Some(&medium), &both, Data::Out(&data[..1024]));
    assert_eq!((done.status, done.transferred), (0, 1024));
}

#[test]
fn faults_name_the_block() {
    let bad = ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(700 * 512..701 * 512, On::Both);
    let mut disk = disk(&bad);
    let mut buffer = vec![0; 300 * 512];
    let read = Command::new(&[0x28, 0, 0, 0, 2, 0x58, 0, 1, 0x2c]); // 300 blocks at 600
    let done = execute(&mut disk, Some(&bad), &read, Data::In(&mut buffer));
    let sense = done.sense.unwrap();
    assert_eq!(
        (done.status, sense.key, sense.asc, sense.information),
        (2, SenseKey::MediumError, 0x11, Some(700))
    );
    let write = Command::new(&[0x2a, 0, 0, 0, 2, 0x58, 0, 1, 0x2c]);
    let sense = execute(&mut disk, Some(&bad), &write, Data::Out(&buffer)).sense.unwrap();
    assert_eq!((sense.key, sense.asc, sense.information), (SenseKey::MediumError, 0x0c, Some(700)));
    let verify = Command::new(&[0x2f, 0, 0, 0, 2, 0x58, 0, 1, 0x2c]);
    let sense = execute(&mut disk, Some(&bad), &verify, Data::None).sense.unwrap();
    assert_eq!((sense.key, sense.asc, sense.information), (SenseKey::MediumError, 0x11, Some(700)));
    bad.fail_flushes(true);
    let sense = execute(&mut disk, Some(&bad), &Command::new(&[0x35]), Data::None).sense.unwrap();
    assert_eq!((sense.key, sense.asc, sense.information), (SenseKey::MediumError, 0x0c, None));
    let sense = execute(&mut disk, None, &read, Data::In(&mut buffer)).sense.unwrap();
    assert_eq!((sense.key, sense.asc), (SenseKey::NotReady, 0x04));
}

#[test]
fn blocks_come_whole_or_not_at_all() {
    // The third sector of block 5 is bad.
    let bad = ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(42 * 512..43 * 512, On::Both);
    let content = pattern(4096 * 5, 9);
    write_all(&bad, 0, &content).unwrap();
    let mut disk = Disk::new(DiskConfig { block: 4096, ..DiskConfig::new(bad.info()) });
    execute(&mut disk, Some(&bad), &Command::new(&[0]), Data::None);
    let mut buffer = vec![0xee; 4096 * 8];
    let read = Command::new(&[0x28, 0, 0, 0, 0, 0, 0, 0, 8]);
    let done = execute(&mut disk, Some(&bad), &read, Data::In(&mut buffer));
    assert_eq!(
        (done.sense.unwrap().information, done.transferred, done.wanted),
        (Some(5), 4096 * 5, 4096 * 8)
    );
    assert_eq!(buffer[..4096 * 5], content, "what is good before it is there");
    assert!(buffer[4096 * 5..].iter().all(|byte| *byte == 0xee), "and nothing of the bad block");
    // A buffer that ends in a block.
    let write = Command::new(&[0x2a, 0, 0, 0, 0, 8, 0, 0, 2]);
    let done = execute(&mut disk, Some(&bad), &write, Data::Out(&pattern(8191, 3)));
    assert_eq!((done.status, done.transferred, done.wanted), (status::GOOD, 4096, 8192));
    let mut back = vec![0; 8192];
    read_exact(&bad, 4096 * 8, &mut back).unwrap();
    assert_eq!((&back[..4096], &back[4096..]), (&pattern(4096, 3)[..], &[0; 4096][..]));
}

/// A medium that fails a whole request for a bad sector, wherever in it that is, and does nothing of it.
#[derive(Debug)]
struct Coarse(MemoryDisk);

const BAD: std::ops::Range<u64> = 700 * 512..701 * 512;

impl Coarse {
    fn check(&self, offset: u64, len: usize) -> Result<(), BlockError> {
        let bad = offset < BAD.end && offset + len as u64 > BAD.start;
        if bad { Err(BlockError::Medium { offset }) } else { Ok(()) }
    }
}

impl BlockBackend for Coarse {
    fn info(&self) -> &MediumInfo {
        self.0.info()
    }

    fn read_at(&self, offset: u64, buffers: &mut [IoSliceMut<'_>]) -> Result<(), BlockError> {
        self.check(offset, buffers.iter().map(|b| b.len()).sum())?;
        self.0.read_at(offset, buffers)
    }

    fn write_at(&self, offset: u64, data: &[IoSlice<'_>], fua: bool) -> Result<(), BlockError> {
        self.check(offset, data.iter().map(|b| b.len()).sum())?;
        self.0.write_at(offset, data, fua)
    }

    fn flush(&self) -> Result<(), BlockError> {
        self.0.flush()
    }
}

#[test]
fn the_bad_block_is_found_in_a_large_piece() {
    let medium = Coarse(MemoryDisk::new(1 << 20));
    let mut disk = disk(&medium);
    let mut buffer = vec![0; 300 * 512];
    // 300 blocks at 600: read, compared, verified, written, filled.
    for (code, byte, asc) in
        [(0x28, 0, 0x11), (0x2f, 2, 0x11), (0x2f, 0, 0x11), (0x2a, 0, 0x0c), (0x2e, 0, 0x0c), (0x41, 0, 0x0c)]
    {
        let command = Command::new(&[code, byte, 0, 0, 2, 0x58, 0, 1, 0x2c]);
        let fill = [9; 512];
        let data = match (code, byte) {
            (0x28, _) => Data::In(&mut buffer),
            (0x2f, 0) => Data::None,
            (0x41, _) => Data::Out(&fill),
            _ => Data::Out(&buffer),
        };
        let done = execute(&mut disk, Some(&medium), &command, data);
        let sense = done.sense.unwrap();
        assert_eq!((sense.asc, sense.information), (asc, Some(700)), "{code:02x} {byte}");
        if matches!(code, 0x28 | 0x2a | 0x2e) || byte == 2 {
            assert_eq!((done.transferred, done.wanted), (100 * 512, 300 * 512), "{code:02x}");
        }
    }
    let mut there = vec![0; 102 * 512];
    read_exact(&medium.0, 599 * 512, &mut there).unwrap();
    assert!(there[..512] == [0; 512] && there[101 * 512..] == [0; 512]);
    assert!(there[512..101 * 512].iter().all(|byte| *byte == 9), "what is good before it is written");
}
