//! Commands of the disk, byte by byte as SPC-2, SPC-3 and SBC-2 lay them out.

mod common;

use common::{check, data, run};
use slotone_block::{Geometry, MediumInfo, Outcome};
use slotone_bus::state::{StateReader, StateWriter};
use slotone_scsi::{
    Access, Command, Disk, DiskConfig, MediumResult, Range, Reply, Reset, SenseKey, SpiFlags, Target,
    Version, opcode,
};

const INVALID_OPCODE: [u8; 3] = [5, 0x20, 0];
const OUT_OF_RANGE: [u8; 3] = [5, 0x21, 0];
const INVALID_FIELD: [u8; 3] = [5, 0x24, 0];
const INVALID_PARAMETER: [u8; 3] = [5, 0x26, 0];
const LIST_LENGTH: [u8; 3] = [5, 0x1a, 0];
const PROTECTED: [u8; 3] = [7, 0x27, 0];

fn info(blocks: u64) -> MediumInfo {
    MediumInfo {
        capacity: blocks * 512,
        physical_block: 4096,
        read_only: false,
        geometry: None,
        discards: true,
        name: "test".to_string(),
    }
}

fn config(blocks: u64) -> DiskConfig {
    DiskConfig { serial: "S1".to_string(), ..DiskConfig::new(&info(blocks)) }
}

/// A disk whose unit attention was fetched.
fn ready(config: DiskConfig) -> Disk {
    let mut disk = attended(config);
    assert_eq!(run(&mut disk, &[0]), Reply::Good);
    disk
}

/// A disk whose unit attention was fetched; it may not be ready.
fn attended(config: DiskConfig) -> Disk {
    let mut disk = Disk::new(config);
    assert_eq!(check(&mut disk, &[0]), [6, 0x29, 0]);
    disk
}

fn range(lba: u64, count: u64) -> Range {
    Range { offset: lba * 512, len: count * 512 }
}

fn read(lba: u64, count: u64) -> Reply {
    Reply::Medium(Access::Read(range(lba, count)))
}

fn write(lba: u64, count: u64, fua: bool) -> Reply {
    Reply::Medium(Access::Write { range: range(lba, count), fua })
}

/// A command with its parameter list.
fn out(disk: &mut Disk, cdb: &[u8], list: &[u8]) -> Reply {
    match run(disk, cdb) {
        Reply::DataOut { len } => assert_eq!(len as usize, list.len(), "{cdb:02x?}"),
        other => panic!("{cdb:02x?}: {other:?}"),
    }
    disk.data_out(&Command::new(cdb), list)
}

fn code(reply: &Reply) -> [u8; 3] {
    match reply {
        Reply::Check(s) => [s.key.code(), s.asc, s.ascq],
        other => panic!("{other:?}"),
    }
}

#[test]
fn inquiry_and_its_pages() {
    let mut disk = Disk::new(config(1000));
    let inquiry = data(&mut disk, &[0x12, 0, 0, 0, 255]);
    assert_eq!(inquiry[..8], [0, 0, 2, 2, 31, 0, 0, 0x02]);
    assert_eq!(inquiry[8..], *b"Msft    Virtual Disk    1.0 ");
    assert_eq!(data(&mut disk, &[0x12, 0, 0, 0, 5]), inquiry[..5]);
    assert_eq!(data(&mut disk, &[0x12, 0, 0, 1, 0]), inquiry, "a 16-bit allocation length");
    assert_eq!(data(&mut disk, &[0x12, 1, 0, 0, 255]), [0, 0, 0, 6, 0, 0x80, 0x83, 0xb0, 0xb1, 0xb2]);
    assert_eq!(data(&mut disk, &[0x12, 1, 0x80, 0, 255]), [0, 0x80, 0, 2, b'S', b'1']);
    let id = data(&mut disk, &[0x12, 1, 0x83, 0, 255]);
    assert_eq!(id[..8], [0, 0x83, 0, 4 + 26, 2, 1, 0, 26]);
    assert_eq!(id[8..], *b"Msft    Virtual Disk    S1");
    let limits = data(&mut disk, &[0x12, 1, 0xb0, 0, 255]);
    assert_eq!((limits.len(), &limits[..8]), (64, &[0, 0xb0, 0, 60, 1, 0, 0, 8][..]));
    assert_eq!(limits[20..32], [1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 8]);
    assert_eq!(limits[36..44], [0, 0, 0, 0, 0, 0, 0xff, 0xff]);
    assert_eq!(data(&mut disk, &[0x12, 1, 0xb1, 0, 255]).len(), 64);
    assert_eq!(data(&mut disk, &[0x12, 1, 0xb2, 0, 255]), [0, 0xb2, 0, 4, 0, 0x80, 2, 0]);
    for bad in [[0x12, 1, 0x81, 0, 255], [0x12, 0, 0x80, 0, 255], [0x12, 2, 0, 0, 255]] {
        assert_eq!(check(&mut disk, &bad), INVALID_FIELD, "{bad:02x?}");
    }
    // Without a serial number and without discards.
    let mut info = info(1000);
    info.discards = false;
    let spi = SpiFlags { wide: true, sync: true, queueing: true };
    let mut disk = Disk::new(DiskConfig { spi, version: Version::Spc3, ..DiskConfig::new(&info) });
    assert_eq!(data(&mut disk, &[0x12, 1, 0, 0, 255]), [0, 0, 0, 4, 0, 0x83, 0xb0, 0xb1]);
    assert_eq!(check(&mut disk, &[0x12, 1, 0x80, 0, 255]), INVALID_FIELD);
    let id = data(&mut disk, &[0x12, 1, 0x83, 0, 255]);
    assert_eq!(id[..8], [0, 0x83, 0, 4 + 24, 2, 1, 0, 24], "mandatory in SPC-3: the names alone");
    assert_eq!(id[8..], *b"Msft    Virtual Disk    ");
    let mut older = Disk::new(DiskConfig::new(&info));
    assert_eq!(data(&mut older, &[0x12, 1, 0, 0, 255]), [0, 0, 0, 3, 0, 0xb0, 0xb1]);
    assert_eq!(check(&mut older, &[0x12, 1, 0x83, 0, 255]), INVALID_FIELD);
    assert_eq!(data(&mut disk, &[0x12, 1, 0xb0, 0, 255])[20..32], [0; 12]);
    let inquiry = data(&mut disk, &[0x12, 0, 0, 0, 255]);
    assert_eq!((inquiry.len(), &inquiry[2..8]), (74, &[5, 2, 69, 0, 0, 0x32][..]));
    assert_eq!(inquiry[58..64], [0, 0x40, 3, 0, 3, 0x20]);
}

#[test]
fn a_disk_without_a_block_has_no_capacity() {
    for block in [512, 4096] {
        let mut disk = attended(DiskConfig { capacity: u64::from(block) - 1, block, ..config(0) });
        for cdb in
            [&[0x00][..], &[0x25], &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], &[0x28], &[0x35]]
        {
            assert_eq!(check(&mut disk, cdb), [3, 0x31, 0], "{cdb:02x?}");
        }
        assert_eq!(run(&mut disk, &[0x1b]), Reply::Medium(Access::Flush), "it can be stopped");
        let mut disk = ready(DiskConfig { capacity: block.into(), block, ..config(0) });
        assert_eq!(data(&mut disk, &[0x25])[..4], [0; 4], "one block");
    }
}

#[test]
fn every_command_of_the_table_answers() {
    // A command block, and the first bytes of what comes.
    let mut disk = ready(config(0x1_0000));
    let table: &[(&[u8], Reply)] = &[
        (&[0x00], Reply::Good),
        (&[0x01], Reply::Good),
        (&[0x08, 0x00, 0x12, 0x34, 5], read(0x1234, 5)),
        (&[0x08, 0xe0, 0, 0, 0], read(0, 256)),
        (&[0x0a, 0x00, 0x00, 0x07, 1], write(7, 1, false)),
        (&[0x0b, 0x00, 0x12, 0x34], Reply::Good),
        (&[0x1d, 0x04], Reply::Good),
        (&[0x1e, 0, 0, 0, 1], Reply::Good),
        (&[0x28, 0x18, 0, 0, 0xff, 0xff, 0, 0, 1], read(0xffff, 1)),
        (&[0x28, 0, 0, 1, 0, 0, 0, 0, 0], Reply::Good),
        (&[0x2a, 0x00, 0, 0, 0, 9, 0, 1, 0], write(9, 256, false)),
        (&[0x2a, 0x08, 0, 0, 0, 9, 0, 0, 2], write(9, 2, true)),
        (&[0x2b, 0, 0, 0, 0xff, 0xff], Reply::Good),
        (&[0x2e, 0, 0, 0, 0, 9, 0, 0, 2], write(9, 2, true)),
        (&[0x2f, 0, 0, 0, 0, 9, 0, 0, 2], Reply::Medium(Access::Verify(range(9, 2)))),
        (&[0x2f, 2, 0, 0, 0, 9, 0, 0, 2], Reply::Medium(Access::Compare(range(9, 2)))),
        (&[0x2f, 2, 0, 0, 0, 9, 0, 0, 0], Reply::Good),
        (&[0x35], Reply::Medium(Access::Flush)),
        (&[0x35, 2, 0, 0, 0, 9, 0, 0, 2], Reply::Medium(Access::Flush)),
        (&[0x37, 0, 0x1d, 0, 0, 0, 0, 0, 4], Reply::DataIn(vec![0, 0x1d, 0, 0])),
        (&[0xb7, 0x1d, 0, 0, 0, 0, 0, 0, 0, 8], Reply::DataIn(vec![0, 0x1d, 0, 0, 0, 0, 0, 0])),
        (&[0x4d, 0, 0x40, 0, 0, 0, 0, 0, 255], Reply::DataIn(vec![0, 0, 0, 1, 0])),
        (&[0x88, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0x10, 0], read(3, 0x1000)),
        (&[0x8a, 8, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1], write(3, 1, true)),
        (&[0x8e, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1], write(3, 1, true)),
        (&[0x8f, 0, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 1], Reply::Medium(Access::Verify(range(3, 1)))),
        (&[0x91], Reply::Medium(Access::Flush)),
        (
            &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16],
            Reply::DataIn(vec![0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        ),
        (&[0xa0, 0, 1, 0, 0, 0, 0, 0, 0, 16], Reply::DataIn(vec![0; 8])),
        (&[0xa8, 0, 0, 0, 0, 3, 0, 0, 0x10, 0], read(3, 0x1000)),
        (&[0xaa, 8, 0, 0, 0, 3, 0, 0, 0, 1], write(3, 1, true)),
        (&[0xae, 0, 0, 0, 0, 3, 0, 0, 0, 1], write(3, 1, true)),
        (&[0xaf, 2, 0, 0, 0, 3, 0, 0, 0, 1], Reply::Medium(Access::Compare(range(3, 1)))),
        // Addresses that are none.
        (&[0x02], Reply::Check(slotone_scsi::Sense::new(SenseKey::IllegalRequest, 0x20, 0))),
    ];
    for (cdb, reply) in table {
        assert_eq!(run(&mut disk, cdb), *reply, "{cdb:02x?}");
    }
}

#[test]
fn what_is_refused() {
    let mut disk = ready(config(0x1_0000));
    let table: &[(&[u8], [u8; 3])] = &[
        (&[0x28, 0, 0, 0, 0xff, 0xff, 0, 0, 2], OUT_OF_RANGE),
        (&[0x28, 0, 0, 1, 0, 1, 0, 0, 0], OUT_OF_RANGE),
        (&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1], INVALID_FIELD),
        (&[0x28, 0x01, 0, 0, 0, 0, 0, 0, 1], INVALID_FIELD),
        (&[0x0a, 0x1f, 0xff, 0xff, 1], OUT_OF_RANGE),
        (&[0x88, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff], OUT_OF_RANGE),
        (&[0x2b, 0, 0, 1, 0, 0], OUT_OF_RANGE),
        (&[0x35, 0, 0, 1, 0, 1], OUT_OF_RANGE),
        (&[0x2e, 2, 0, 0, 0, 9, 0, 0, 2], INVALID_FIELD),
        (&[0x2f, 4, 0, 0, 0, 9, 0, 0, 2], INVALID_FIELD),
        (&[0x2f, 6, 0, 0, 0, 9, 0, 0, 2], INVALID_FIELD),
        (&[0x41, 0, 0, 0, 0, 9, 0, 0, 0], INVALID_FIELD),
        (&[0x41, 8, 0, 0, 0, 9, 0, 0, 1], INVALID_FIELD),
        (&[0x93, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], INVALID_FIELD),
        (&[0x42, 1, 0, 0, 0, 0, 0, 0, 24], INVALID_FIELD),
        (&[0x25, 0, 0, 0, 0, 1], INVALID_FIELD),
        (&[0x9e, 0x12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32], INVALID_FIELD),
        (&[0x1d, 0x20], INVALID_FIELD),
        (&[0x1d, 0x10, 0, 0, 8], INVALID_FIELD),
        (&[0x1b, 0, 0, 0, 2], INVALID_FIELD),
        (&[0x1b, 0, 0, 0, 0x70], INVALID_FIELD),
        (&[0x04, 0x40], INVALID_FIELD),
        (&[0x16, 0x10], INVALID_FIELD),
        (&[0x4d, 0, 0x02, 0, 0, 0, 0, 0, 255], INVALID_FIELD),
        (&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15], INVALID_FIELD),
        (&[0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 16], INVALID_FIELD),
        (&[0x3b], INVALID_OPCODE),
        (&[0x3c], INVALID_OPCODE),
        (&[0x07], INVALID_OPCODE),
        (&[0x5e], INVALID_OPCODE),
        (&[0xbe], INVALID_OPCODE),
    ];
    for (cdb, sense) in table {
        assert_eq!(check(&mut disk, cdb), *sense, "{cdb:02x?}");
    }
    check(&mut disk, &[0x28, 0, 0, 0, 0xff, 0xff, 0, 0, 2]);
    assert_eq!(disk.sense(0).information, Some(0x1_0000), "the first block that is not there");
}

#[test]
fn capacity_at_the_ends() {
    let capacity = |blocks: u64| {
        let mut disk = ready(config(blocks));
        let ten = data(&mut disk, &[0x25]);
        let sixteen = data(&mut disk, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!((sixteen.len(), &sixteen[8..16]), (32, &[0, 0, 2, 0, 0, 3, 0x80, 0][..]));
        let last = u64::from_be_bytes(sixteen[..8].try_into().unwrap());
        (u32::from_be_bytes(ten[..4].try_into().unwrap()), last)
    };
    assert_eq!(capacity(1), (0, 0));
    assert_eq!(capacity(0xffff_ffff), (0xffff_fffe, 0xffff_fffe));
    assert_eq!(capacity(1 << 32), (0xffff_ffff, 0xffff_ffff));
    assert_eq!(capacity(1 << 33), (0xffff_ffff, 0x1_ffff_ffff));
    // 2040 GiB and 2 TiB: both ends are there, and nothing beyond.
    for blocks in [4_278_190_080, 1u64 << 32] {
        let mut disk = ready(config(blocks));
        let last = (blocks - 1) as u32;
        let [a, b, c, d] = last.to_be_bytes();
        assert_eq!(run(&mut disk, &[0x28, 0, a, b, c, d, 0, 0, 1]), read(u64::from(last), 1));
        assert_eq!(run(&mut disk, &[0x2a, 0, 0, 0, 0, 0, 0, 0, 1]), write(0, 1, false));
        assert_eq!(run(&mut disk, &[0x88, 0, 0, 0, 0, 0, a, b, c, d, 0, 0, 0, 1]), read(u64::from(last), 1));
        assert_eq!(check(&mut disk, &[0x28, 0, a, b, c, d, 0, 0, 2]), OUT_OF_RANGE);
        assert_eq!(disk.sense(0).information, Some(blocks));
        // The fixed format has no room for 2^32, descriptors have.
        let fixed = data(&mut disk, &[3, 0, 0, 0, 18]);
        assert_eq!(fixed[0], if blocks > 0xffff_ffff { 0x70 } else { 0xf0 });
        assert_eq!(check(&mut disk, &[0x28, 0, a, b, c, d, 0, 0, 2]), OUT_OF_RANGE);
        let descriptors = data(&mut disk, &[3, 1, 0, 0, 255]);
        assert_eq!(descriptors[..12], [0x72, 5, 0x21, 0, 0, 0, 0, 12, 0, 10, 0x80, 0]);
        assert_eq!(descriptors[12..], blocks.to_be_bytes());
    }
}

#[test]
fn larger_blocks() {
    for block in [1024u32, 2048, 4096] {
        let blocks = (512 << 32) / u64::from(block);
        let range =
            |lba: u64, count: u64| Range { offset: lba * u64::from(block), len: count * u64::from(block) };
        let mut disk = ready(DiskConfig { block, ..config(1 << 32) });
        assert_eq!((disk.blocks(), disk.block_bytes()), (blocks, block));
        let last = (blocks - 1) as u32;
        let capacity = data(&mut disk, &[0x25]);
        assert_eq!(capacity, [last.to_be_bytes(), block.to_be_bytes()].concat());
        let long = data(&mut disk, &[0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255]);
        assert_eq!((&long[8..12], long[13]), (&block.to_be_bytes()[..], (4096 / block).ilog2() as u8));
        let [a, b, c, d] = last.to_be_bytes();
        let all = Reply::Medium(Access::Read(range(u64::from(last), 1)));
        assert_eq!(run(&mut disk, &[0x28, 0, a, b, c, d, 0, 0, 1]), all);
        assert_eq!(check(&mut disk, &[0x28, 0, a, b, c, d, 0, 0, 2]), OUT_OF_RANGE);
        assert_eq!(disk.sense(0).information, Some(blocks));
        let sense = data(&mut disk, &[0x1a, 0, 3, 0, 255]);
        assert_eq!(sense[8..12], block.to_be_bytes(), "the descriptor's length of a block");
        assert_eq!(sense[24..26], (block as u16).to_be_bytes(), "and that of the format page");
        let limits = data(&mut disk, &[0x12, 1, 0xb0, 0, 255]);
        assert_eq!(limits[6..8], ((4096 / block) as u16).to_be_bytes());
        assert_eq!(limits[20..24], ((8u64 << 30) / u64::from(block)).to_be_bytes()[4..]);
        let same = &[0x41, 0, 0, 0, 0, 5, 0, 0, 2];
        let list = vec![7; block as usize];
        let written = Access::WriteSame { range: range(5, 2), block: list.clone(), fua: false };
        assert_eq!(out(&mut disk, same, &list), Reply::Medium(written));
        let most = 0xffff * 512 / block;
        let [_, _, e, f] = (most + 1).to_be_bytes();
        assert_eq!(check(&mut disk, &[0x41, 0, 0, 0, 0, 5, 0, e, f]), INVALID_FIELD);
        let failed = MediumResult::new(Outcome::MediumError, 7 * u64::from(block) + 512);
        let command = Command::new(&[0x28, 0, 0, 0, 0, 5, 0, 0, 9]);
        let Reply::Check(s) = disk.medium_done(&command, &Access::Read(range(5, 9)), failed) else {
            panic!()
        };
        assert_eq!(s.information, Some(7));
    }
    for odd in [0, 520, 8192, u32::MAX] {
        assert_eq!(Disk::new(DiskConfig { block: odd, ..config(8) }).blocks(), 8, "{odd} counts as 512");
    }
}

#[test]
fn mode_pages() {
    let mut disk = ready(config(4_000_000));
    let all = data(&mut disk, &[0x5a, 0, 0x3f, 0, 0, 0, 0, 4, 0]);
    let len = usize::from(u16::from_be_bytes([all[0], all[1]]));
    assert_eq!((len, &all[2..8]), (all.len() - 2, &[0, 0x10, 0, 0, 0, 8][..]));
    assert_eq!(all[8..16], [0, 0x3d, 0x09, 0, 0, 0, 2, 0], "4,000,000 blocks of 512");
    // Pages in ascending order, each as long as it says.
    let (mut codes, mut rest) = (Vec::new(), &all[16..]);
    while let [code, len, tail @ ..] = rest {
        codes.push(*code);
        rest = &tail[usize::from(*len)..];
    }
    assert_eq!(codes, [1, 2, 3, 4, 8, 0x0a, 0x1c]);
    let six = data(&mut disk, &[0x1a, 0, 0x3f, 0, 255]);
    assert_eq!((usize::from(six[0]), &six[1..4], &six[4..]), (six.len() - 1, &[0, 0x10, 8][..], &all[8..]));
    assert_eq!(data(&mut disk, &[0x1a, 0, 0x3f, 0xff, 255]), six, "every subpage");
    assert_eq!(data(&mut disk, &[0x1a, 8, 0x08, 0, 255])[..8], [23, 0, 0x10, 0, 8, 18, 4, 0], "DBD; WCE");
    assert_eq!(
        data(&mut disk, &[0x5a, 0x10, 0x08, 0, 0, 0, 0, 1, 0])[4..24],
        [1, 0, 0, 16, 0, 0, 0, 0, 0, 0x3d, 9, 0, 0, 0, 0, 0, 0, 0, 2, 0]
    );
    let geometry = data(&mut disk, &[0x1a, 8, 0x04, 0, 255]);
    assert_eq!(geometry[6..10], [0, 0, 248, 255], "248 cylinders of 255 heads and 63 sectors");
    assert_eq!(data(&mut disk, &[0x1a, 8, 0x03, 0, 255])[14..18], [0, 63, 2, 0]);
    assert_eq!(check(&mut disk, &[0x1a, 0, 0xc8, 0, 255]), [5, 0x39, 0]);
    assert_eq!(check(&mut disk, &[0x1a, 0, 0x05, 0, 255]), INVALID_FIELD);
    assert_eq!(check(&mut disk, &[0x1a, 0, 0x08, 1, 255]), INVALID_FIELD);
    assert_eq!(data(&mut disk, &[0x1a, 0, 0x00, 0, 255]).len(), 12, "header and block descriptor alone");
    assert_eq!(
        data(&mut disk, &[0x1a, 8, 0x48, 0, 255])[6..],
        [4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        "WCE can be changed"
    );
    // The medium's own geometry; more blocks than 24 bits say.
    let mut info = info(1 << 25);
    info.geometry = Some(Geometry { cylinders: 100, heads: 16, sectors: 17 });
    info.read_only = true;
    let mut disk = ready(DiskConfig::new(&info));
    let geometry = data(&mut disk, &[0x1a, 0, 0x04, 0, 255]);
    assert_eq!(geometry[2], 0x90, "write-protected");
    assert_eq!(geometry[4..8], [0, 0xff, 0xff, 0xff]);
    assert_eq!(geometry[14..18], [1, 0xe1, 0xe1, 16], "123,361 cylinders of 16 heads and 17 sectors");
}

#[test]
fn mode_select_changes_what_can_be_changed() {
    let mut disk = ready(config(4_000_000));
    let page = |disk: &mut Disk, code: u8| data(disk, &[0x1a, 8, code, 0, 255])[4..].to_vec();
    let list = |page: &[u8]| [&[0, 0, 0, 0][..], page].concat();
    let select = |len: usize| [0x15, 0x10, 0, 0, len as u8];

    let mut caching = page(&mut disk, 8);
    caching[2] = 0;
    assert_eq!(
        out(&mut disk, &select(24), &list(&caching)),
        Reply::Medium(Access::Flush),
        "no cache any more"
    );
    assert_eq!(disk.medium_done(&Command::new(&select(24)), &Access::Flush, MediumResult::Done), Reply::Good);
    assert_eq!(page(&mut disk, 8), caching);
    assert_eq!(page(&mut disk, 0x88)[2], 4, "the default");
    assert_eq!(run(&mut disk, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 2]), write(9, 2, true), "written through");
    assert_eq!(out(&mut disk, &select(24), &list(&caching)), Reply::Good);
    // Other initiators are told of the change, once.
    assert_eq!(code(&disk.command(&Command::new(&[0]).initiator(6))), [6, 0x29, 0]);
    assert_eq!(code(&disk.command(&Command::new(&[0]).initiator(6))), [6, 0x2a, 1]);
    assert_eq!(disk.command(&Command::new(&[0]).initiator(6)), Reply::Good);
    assert_eq!(run(&mut disk, &[0]), Reply::Good);

    let mut control = page(&mut disk, 0x0a);
    control[4] = 8;
    let ten = [&[0, 0, 0, 0, 0, 0, 0, 8, 0, 0x3d, 0x09, 0, 0, 0, 2, 0][..], &control].concat();
    assert_eq!(out(&mut disk, &[0x55, 0x10, 0, 0, 0, 0, 0, 0, 28], &ten), Reply::Good);
    assert_eq!(check(&mut disk, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 2]), PROTECTED);
    assert_eq!(data(&mut disk, &[0x1a, 8, 0, 0, 4])[2], 0x90);
    disk.reset(Reset::Bus);
    assert_eq!(check(&mut disk, &[0]), [6, 0x29, 0]);
    assert_eq!(
        run(&mut disk, &[0x2a, 0, 0, 0, 0, 9, 0, 0, 2]),
        write(9, 2, false),
        "a reset brings the defaults"
    );

    // What is refused changes nothing.
    let good = caching.clone();
    let bad = |change: fn(&mut Vec<u8>)| {
        let mut list = list(&good);
        change(&mut list);
        list
    };
    for (list, sense) in [
        (bad(|l| l[6] = 1), INVALID_PARAMETER),    // RCD cannot be changed
        (bad(|l| l[4] = 5), INVALID_PARAMETER),    // no such page
        (bad(|l| l[4] = 0x48), INVALID_PARAMETER), // a subpage
        (bad(|l| l[5] = 17), INVALID_PARAMETER),   // not its length
        (bad(|l| l.truncate(20)), LIST_LENGTH),
        (bad(|l| l.truncate(5)), LIST_LENGTH),
        (bad(|l| l.truncate(3)), LIST_LENGTH),
        (bad(|l| l[3] = 8), INVALID_PARAMETER), // a page taken for a block descriptor
        (bad(|l| l[3] = 7), INVALID_PARAMETER),
        (bad(|l| l[3] = 200), LIST_LENGTH),
    ] {
        assert_eq!(code(&out(&mut disk, &select(list.len()), &list)), sense, "{list:02x?}");
        assert!(disk.write_cache());
    }
    let blocks_of_1024 = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 4, 0];
    assert_eq!(code(&out(&mut disk, &select(12), &blocks_of_1024)), INVALID_PARAMETER);
    assert_eq!(check(&mut disk, &[0x15, 0x11, 0, 0, 12]), INVALID_FIELD, "nothing is saved");
    assert_eq!(check(&mut disk, &[0x15, 0x00, 0, 0, 12]), INVALID_FIELD, "the page format alone");
    assert_eq!(run(&mut disk, &[0x15, 0x10, 0, 0, 0]), Reply::Good);
    // The initiator gave fewer bytes than it said.
    assert_eq!(run(&mut disk, &select(24)), Reply::DataOut { len: 24 });
    assert_eq!(code(&disk.data_out(&Command::new(&select(24)), &[])), LIST_LENGTH);
}

#[test]
fn space_is_given_back_and_filled() {
    let mut disk = ready(config(1 << 26));
    let descriptor = |lba: u64, count: u32| [&lba.to_be_bytes()[..], &count.to_be_bytes(), &[0; 4]].concat();
    let list = |descriptors: &[Vec<u8>]| {
        let d = descriptors.concat();
        let n = d.len() as u16;
        [&(n + 6).to_be_bytes()[..], &n.to_be_bytes(), &[0; 4], &d].concat()
    };
    let unmap = |disk: &mut Disk, list: &[u8]| {
        let [high, low] = (list.len() as u16).to_be_bytes();
        out(disk, &[0x42, 0, 0, 0, 0, 0, 0, high, low], list)
    };
    assert_eq!(
        unmap(&mut disk, &list(&[descriptor(8, 16), descriptor(5, 0), descriptor((1 << 26) - 1, 1)])),
        Reply::Medium(Access::Discard(vec![range(8, 16), range((1 << 26) - 1, 1)]))
    );
    assert_eq!(unmap(&mut disk, &list(&[])), Reply::Good);
    assert_eq!(unmap(&mut disk, &list(&[descriptor(8, 16)])[..20]), Reply::Good, "half a descriptor is none");
    assert_eq!(run(&mut disk, &[0x42]), Reply::Good);
    assert_eq!(code(&unmap(&mut disk, &[0; 7])), LIST_LENGTH);
    assert_eq!(code(&unmap(&mut disk, &list(&[descriptor((1 << 26) - 1, 2)]))), OUT_OF_RANGE);
    assert_eq!(code(&unmap(&mut disk, &list(&[descriptor(u64::MAX, u32::MAX)]))), OUT_OF_RANGE);
    assert_eq!(code(&unmap(&mut disk, &list(&[descriptor(0, (1 << 24) + 1)]))), INVALID_PARAMETER);
    assert_eq!(code(&unmap(&mut disk, &list(&vec![descriptor(0, 1); 257]))), INVALID_PARAMETER);

    let block = [7; 512];
    let same = |fua| Reply::Medium(Access::WriteSame { range: range(9, 0x100), block: block.to_vec(), fua });
    assert_eq!(out(&mut disk, &[0x41, 0, 0, 0, 0, 9, 0, 1, 0], &block), same(false));
    assert_eq!(out(&mut disk, &[0x93, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 1, 0], &block), same(false));
    let zeros = Reply::Medium(Access::WriteSame { range: range(9, 1), block: vec![0; 512], fua: false });
    assert_eq!(run(&mut disk, &[0x93, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1]), zeros, "NDOB");
    let short = Command::new(&[0x41, 0, 0, 0, 0, 9, 0, 1, 0]);
    assert_eq!(disk.command(&short), Reply::DataOut { len: 512 });
    assert_eq!(code(&disk.data_out(&short, &block[..511])), LIST_LENGTH);

    assert_eq!(run(&mut disk, &[0x04]), Reply::Good);
    assert_eq!(out(&mut disk, &[0x04, 0x18], &[0, 0x02, 0, 0]), Reply::Good);
    assert_eq!(out(&mut disk, &[0x04, 0x10], &[0, 0xa0, 0, 0]), Reply::Good);
    assert_eq!(out(&mut disk, &[0x04, 0x38], &[0; 8]), Reply::Good);
    for bad in [[0, 0x20, 0, 0], [0, 0x88, 0, 0], [0, 0, 0, 8]] {
        assert_eq!(code(&out(&mut disk, &[0x04, 0x18], &bad)), INVALID_PARAMETER, "{bad:02x?}");
    }

    let mut info = info(1000);
    (info.discards, info.read_only) = (false, true);
    let mut disk = ready(DiskConfig::new(&info));
    assert_eq!(check(&mut disk, &[0x42, 0, 0, 0, 0, 0, 0, 0, 24]), INVALID_OPCODE);
    for cdb in
        [[0x41, 0, 0, 0, 0, 9, 0, 0, 1], [0x04, 0, 0, 0, 0, 0, 0, 0, 0], [0x2e, 0, 0, 0, 0, 9, 0, 0, 1]]
    {
        assert_eq!(check(&mut disk, &cdb), PROTECTED, "{cdb:02x?}");
    }
    assert_eq!(run(&mut disk, &[0x28, 0, 0, 0, 0, 9, 0, 0, 1]), read(9, 1));
}

#[test]
fn results_of_the_medium() {
    let mut disk = ready(config(1000));
    let failed = |outcome| MediumResult::new(outcome, 7 * 512);
    let reading = Command::new(&[0x28, 0, 0, 0, 0, 5, 0, 0, 9]);
    let writing = Command::new(&[0x2a, 0, 0, 0, 0, 5, 0, 0, 9]);
    let (r, w) = (Access::Read(range(5, 9)), Access::Write { range: range(5, 9), fua: false });
    for (command, access, result, sense, information) in [
        (reading, r.clone(), failed(Outcome::MediumError), [3, 0x11, 0], Some(7)),
        (reading, r.clone(), failed(Outcome::OutOfRange), OUT_OF_RANGE, Some(7)),
        (reading, r.clone(), failed(Outcome::NotReady), [2, 0x04, 0], None),
        (writing, w.clone(), failed(Outcome::MediumError), [3, 0x0c, 0], Some(7)),
        (writing, w.clone(), failed(Outcome::ReadOnly), PROTECTED, None),
        (Command::new(&[0x35]), Access::Flush, failed(Outcome::MediumError), [3, 0x0c, 0], None),
        (
            Command::new(&[0x2f, 2]),
            Access::Compare(range(5, 9)),
            MediumResult::Differs { offset: 7 * 512 + 3 },
            [0xe, 0x1d, 0],
            Some(7),
        ),
    ] {
        let Reply::Check(s) = disk.medium_done(&command, &access, result) else { panic!("{result:?}") };
        assert_eq!(([s.key.code(), s.asc, s.ascq], s.information), (sense, information), "{access:?}");
        assert_eq!(disk.sense(0), s);
    }
    assert_eq!(disk.medium_done(&reading, &r, MediumResult::Done), Reply::Good);
    // WRITE AND VERIFY reads back what it has written.
    let both = Command::new(&[0x2e, 0, 0, 0, 0, 5, 0, 0, 9]);
    let verify = Access::Verify(range(5, 9));
    assert_eq!(disk.medium_done(&both, &w, MediumResult::Done), Reply::Medium(verify.clone()));
    assert_eq!(disk.medium_done(&both, &verify, MediumResult::Done), Reply::Good);
}

#[test]
fn a_stopped_disk_waits_for_start() {
    let mut disk = ready(config(1000));
    let stop = Command::new(&[0x1b]);
    assert_eq!(disk.command(&stop), Reply::Medium(Access::Flush));
    assert!(!disk.stopped());
    assert_eq!(disk.medium_done(&stop, &Access::Flush, MediumResult::Done), Reply::Good);
    assert!(disk.stopped());
    for code in [0x00, 0x01, 0x08, 0x0a, 0x25, 0x28, 0x2a, 0x2f, 0x35, 0x04, 0x9e] {
        assert_eq!(check(&mut disk, &[code, if code == 0x9e { 0x10 } else { 0 }]), [2, 4, 2], "{code:02x}");
    }
    assert_eq!(data(&mut disk, &[0x12, 0, 0, 0, 36]).len(), 36);
    assert_eq!(run(&mut disk, &[0x1b, 0, 0, 0, 1]), Reply::Good);
    assert_eq!(run(&mut disk, &[0]), Reply::Good);
}

#[test]
fn sense_and_attention_belong_to_the_initiator() {
    let mut disk = Disk::new(config(1000));
    let as_ = |initiator: u8, cdb: &[u8]| Command::new(cdb).initiator(initiator);
    let sense = |disk: &mut Disk, initiator| match disk.command(&as_(initiator, &[3, 0, 0, 0, 18])) {
        Reply::DataIn(d) => [d[2], d[12], d[13]],
        other => panic!("{other:?}"),
    };
    assert_eq!(sense(&mut disk, 7), [6, 0x29, 0], "REQUEST SENSE takes the attention, too");
    assert_eq!(disk.command(&as_(7, &[0])), Reply::Good);
    assert_eq!(code(&disk.command(&as_(6, &[0]))), [6, 0x29, 0]);
    assert_eq!(code(&disk.command(&as_(7, &[0xff]))), INVALID_OPCODE);
    assert_eq!(sense(&mut disk, 6), [6, 0x29, 0]);
    assert_eq!(sense(&mut disk, 6), [0, 0, 0]);
    assert_eq!(sense(&mut disk, 7), INVALID_OPCODE);
    assert_eq!(sense(&mut disk, 7), [0, 0, 0]);
    // Another command ends the allegiance.
    assert_eq!(code(&disk.command(&as_(7, &[0xff]))), INVALID_OPCODE);
    assert_eq!(disk.command(&as_(7, &[0])), Reply::Good);
    assert_eq!(sense(&mut disk, 7), [0, 0, 0]);
    for (reset, ascq) in [(Reset::Bus, 0), (Reset::Device, 3), (Reset::PowerOn, 0)] {
        disk.reset(Reset::Device);
        disk.reset(reset);
        assert_eq!(code(&disk.command(&as_(7, &[0]))), [6, 0x29, ascq], "the last reset alone");
        assert_eq!(disk.command(&as_(7, &[0])), Reply::Good);
    }
}

#[test]
fn absent_units_and_reservations() {
    let mut disk = ready(config(1000));
    let unit3 = |cdb: &[u8]| Command::new(cdb).lun(3);
    let Reply::DataIn(inquiry) = disk.command(&unit3(&[0x12, 0, 0, 0, 255])) else { panic!() };
    assert_eq!((inquiry[0], inquiry.len()), (0x7f, 36));
    assert_eq!(code(&disk.command(&unit3(&[0]))), [5, 0x25, 0]);
    assert_eq!(code(&disk.command(&unit3(&[0x2a, 0, 0, 0, 0, 0, 0, 0, 1]))), [5, 0x25, 0]);
    let Reply::DataIn(sense) = disk.command(&unit3(&[3, 0, 0, 0, 18])) else { panic!() };
    assert_eq!([sense[2], sense[12]], [5, 0x25]);
    assert_eq!(disk.sense(0).key, SenseKey::NoSense, "unit 0 knows nothing of it");

    let as_ = |initiator: u8, cdb: &[u8]| Command::new(cdb).initiator(initiator);
    assert_eq!(code(&disk.command(&as_(6, &[0]))), [6, 0x29, 0]);
    for (reserve, release) in [(0x16, 0x17), (0x56, 0x57)] {
        assert_eq!(
            disk.command(&as_(7, &[0])),
            if reserve == 0x16 {
                Reply::Check(slotone_scsi::Sense::new(SenseKey::UnitAttention, 0x29, 0))
            } else {
                Reply::Good
            }
        );
        assert_eq!(disk.command(&as_(7, &[reserve])), Reply::Good);
        assert_eq!(disk.command(&as_(7, &[reserve])), Reply::Good);
        assert_eq!(disk.command(&as_(6, &[0])), Reply::ReservationConflict);
        assert_eq!(disk.command(&as_(6, &[reserve])), Reply::ReservationConflict);
        assert_eq!(disk.command(&as_(6, &[release])), Reply::Good, "not its own: nothing happens");
        assert_eq!(disk.command(&as_(6, &[0x28])), Reply::ReservationConflict);
        assert!(matches!(disk.command(&as_(6, &[0x12, 0, 0, 0, 36])), Reply::DataIn(_)));
        assert_eq!(disk.command(&as_(7, &[release])), Reply::Good);
        assert_eq!(disk.command(&as_(6, &[0])), Reply::Good);
    }
    assert_eq!(disk.command(&as_(7, &[0x16])), Reply::Good);
    disk.reset(Reset::Bus);
    assert_eq!(code(&disk.command(&as_(6, &[0]))), [6, 0x29, 0]);
    assert_eq!(disk.command(&as_(6, &[0])), Reply::Good, "a reset ends reservations");
}

#[test]
fn names_and_lengths_of_commands() {
    assert_eq!(opcode::name(0x8e), Some("WRITE AND VERIFY(16)"));
    let lengths =
        [0x00, 0x1f, 0x20, 0x5f, 0x60, 0x7f, 0x80, 0x9f, 0xa0, 0xbf, 0xc0, 0xff].map(opcode::cdb_len);
    assert_eq!(lengths, [6, 6, 10, 10, 6, 6, 16, 16, 12, 12, 6, 6]);
    assert_eq!(Reply::ReservationConflict.status(), Some(0x18));
    assert_eq!(Reply::DataOut { len: 1 }.status(), None);
}

/// NACA and LINK of the control byte ask for what is not there; FLAG and vendor bits do not.
#[test]
fn control_bytes() {
    let mut disk = ready(config(0x1_0000));
    for cdb in [&[0u8; 6][..], &[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0], &[0xa8; 12], &[0x88; 16]] {
        let mut cdb = cdb.to_vec();
        if cdb.len() > 10 {
            cdb[1..].fill(0);
        }
        let last = cdb.len() - 1;
        for bit in [0x01, 0x04] {
            cdb[last] = bit;
            assert_eq!(check(&mut disk, &cdb), INVALID_FIELD, "{cdb:02x?}");
        }
        cdb[last] = 0xc2;
        assert!(!matches!(run(&mut disk, &cdb), Reply::Check(_)), "{cdb:02x?}");
    }
    assert_eq!(check(&mut disk, &[0x02, 0, 0, 0, 0, 1]), INVALID_OPCODE, "what it is comes first");
}

/// What an adapter refuses fails as what the disk refuses.
#[test]
fn refused_from_outside() {
    let mut disk = ready(config(0x1_0000));
    let overlapped = slotone_scsi::Sense::new(SenseKey::AbortedCommand, 0x4e, 0);
    let read = Command::new(&[0x08, 0, 0, 0, 1]).initiator(3);
    assert_eq!(disk.refuse(&read, overlapped), Reply::Check(overlapped));
    assert_eq!((disk.sense(3), disk.sense(0).key), (overlapped, SenseKey::NoSense));
    // An attention stays until a command is told of it; the sense data come first.
    for (key, asc) in [(0xb, 0x4e), (6, 0x29), (0, 0)] {
        let sense = match disk.command(&Command::new(&[3, 0, 0, 0, 18]).initiator(3)) {
            Reply::DataIn(data) => data,
            other => panic!("{other:?}"),
        };
        assert_eq!((sense[2], sense[12]), (key, asc));
    }
    assert_eq!(disk.refuse(&read.lun(1), overlapped), Reply::Check(overlapped));
    assert_eq!(disk.sense(3).key, SenseKey::NoSense, "no sense data of a unit that is not there");
}

/// Which byte it is: of the command block or, with 26h, of the parameter list.
#[test]
fn field_pointers() {
    let mut disk = ready(config(0x1_0000));
    let pointer = |disk: &mut Disk| {
        let fixed = data(disk, &[3, 0, 0, 0, 18]);
        (fixed[12], fixed[15], u16::from_be_bytes([fixed[16], fixed[17]]))
    };
    let table: &[(&[u8], u16)] = &[
        (&[0x12, 1, 0x81, 0, 255], 2),
        (&[0x12, 0, 0x80, 0, 255], 2),
        (&[0x12, 2, 0, 0, 255], 1),
        (&[0x1a, 0, 0x05, 0, 255], 2),
        (&[0x1a, 0, 0x08, 1, 255], 3),
        (&[0x15, 0, 0, 0, 24], 1),
        (&[0x28, 0x20, 0, 0, 0, 0, 0, 0, 1], 1),
        (&[0x28, 0, 0, 0, 0, 0, 0, 0, 1, 1], 9),
        (&[0x41, 0, 0, 0, 0, 9, 0, 0, 0], 7),
        (&[0x93], 10),
        (&[0xa0, 0, 3, 0, 0, 0, 0, 0, 0, 16], 2),
        (&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 15], 6),
        (&[0x1d, 0x10, 0, 0, 8], 3),
        (&[0x1d, 0x20], 1),
        (&[0x4d, 0, 0, 0, 0, 0, 1, 0, 255], 6),
        (&[0x1b, 0, 0, 0, 2], 4),
        (&[0x25, 0, 0, 0, 0, 1], 2),
    ];
    for (cdb, at) in table {
        assert_eq!(check(&mut disk, cdb), INVALID_FIELD, "{cdb:02x?}");
        assert_eq!(pointer(&mut disk), (0x24, 0xc0, *at), "{cdb:02x?}");
    }
    assert_eq!(check(&mut disk, &[0x28, 0, 0, 1, 0, 1, 0, 0, 0]), OUT_OF_RANGE);
    assert_eq!(pointer(&mut disk), (0x21, 0, 0), "the address is no field that is invalid");
    // Page 0Ah with another byte 6 than it has.
    let mut list = [0; 16];
    list[4..].copy_from_slice(&data(&mut disk, &[0x1a, 8, 0x0a, 0, 255])[4..]);
    list[10] ^= 1;
    assert_eq!(code(&out(&mut disk, &[0x15, 0x10, 0, 0, 16], &list)), INVALID_PARAMETER);
    let descriptors = {
        let sense = disk.sense(0);
        sense.to_descriptor_bytes()
    };
    assert_eq!(descriptors, [0x72, 5, 0x26, 0, 0, 0, 0, 8, 2, 6, 0, 0, 0x80, 0, 10, 0]);
    assert_eq!(pointer(&mut disk), (0x26, 0x80, 10));
}

fn saved(disk: &Disk) -> Vec<u8> {
    let mut w = StateWriter::new();
    disk.save(&mut w);
    w.into_bytes()
}

/// A command in flight is the adapter's, and was checked against the disk that was saved.
#[test]
fn a_state_is_for_a_disk_of_the_same_size() {
    let mut disk = ready(config(131_072));
    assert_eq!(run(&mut disk, &[0x28, 0, 0, 1, 0xff, 0xff, 0, 0, 1, 0]), read(131_071, 1));
    assert_eq!(check(&mut disk, &[0x7f]), INVALID_OPCODE);
    let state = saved(&disk);

    // The same number of bytes in other blocks, the same number of other blocks, a larger, a small and an empty disk.
    let others = [
        DiskConfig { block: 4096, ..config(131_072) },
        DiskConfig { block: 4096, ..config(8 * 131_072) },
        config(131_073),
        config(64),
        config(0),
    ];
    for other in others {
        let mut other = Disk::new(other);
        let before = saved(&other);
        let error = other.restore(&mut StateReader::new(&state)).unwrap_err().to_string();
        let size = format!("this one has {} of {}", other.blocks(), other.block_bytes());
        assert!(error.contains("131072 blocks of 512 bytes") && error.contains(&size), "{error}");
        assert_eq!(saved(&other), before, "a refused state changes nothing");
    }

    // Bytes behind the last whole block are no part of the disk; a number of block bytes that cannot be counts as 512.
    let same = DiskConfig { capacity: 131_072 * 512 + 511, block: 7, ..config(0) };
    let mut same = Disk::new(same);
    same.restore(&mut StateReader::new(&state)).unwrap();
    assert_eq!((saved(&same), same.sense(0).asc), (state, 0x20));
}
