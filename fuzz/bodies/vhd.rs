//! Virtual hard disks as a whole: `vhd_open` takes any bytes as an image, opens, reads, writes, closes and opens it again; `vhd_disk` does any
//! operations on a good one. The parts are in `vhd_parts.rs`.

use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_vhd::{
    CreateOptions, DiskId, ErrorKind, MemResolver, MemStorage, OpenOptions, Storage, Vhd, check_storage,
    repair_storage,
};

use super::{Random, Reader, text};

/// Bytes that one input may write before its storage is full.
const ROOM: u64 = 16 << 20;
/// Bytes of a disk that are looked at, and bytes of the largest image taken.
const LOOKED_AT: u64 = 1 << 18;
const IMAGE: usize = 1 << 16;

/// A storage with a limit on what is written to it.
#[derive(Debug)]
struct Limited {
    inner: MemStorage,
    left: AtomicU64,
}

impl Limited {
    fn new(inner: MemStorage) -> Arc<Self> {
        Arc::new(Self { inner, left: AtomicU64::new(ROOM) })
    }
}

impl Storage for Limited {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.inner.read_at(offset, buf)
    }
    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let n = buf.len() as u64;
        let took = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(n));
        took.map_err(|_| io::ErrorKind::StorageFull)?;
        self.inner.write_at(offset, buf)
    }
    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
    fn punch(&self, offset: u64, len: u64) -> io::Result<bool> {
        self.inner.punch(offset, len)
    }
    fn next_data(&self, offset: u64) -> io::Result<Option<Range<u64>>> {
        self.inner.next_data(offset)
    }
    fn allocated(&self) -> Option<u64> {
        self.inner.allocated()
    }
    fn identity(&self) -> Option<(u64, u64)> {
        self.inner.identity()
    }
}

const PARENT: DiskId = DiskId([7; 16]);

/// The parent that differencing images find: 64 blocks of 4 KiB, the first two written.
pub(super) fn parent() -> Arc<MemStorage> {
    let storage = Arc::new(MemStorage::new());
    let options = CreateOptions::dynamic(64 * 4096).block_size(4096).id(PARENT).time_stamp(1);
    let disk = options.create_in(storage.clone(), "/p.vhd", &OpenOptions::new(), None).expect("a parent");
    write_all(&disk, 0, &[5; 2 * 4096]).expect("room in memory");
    disk.close().expect("room in memory");
    storage
}

pub(super) fn options(parent: &Arc<MemStorage>) -> OpenOptions {
    let images = vec![(PathBuf::from("/p.vhd"), parent.clone() as Arc<dyn Storage>)];
    OpenOptions::new().resolver(Arc::new(MemResolver { images })).table_limit(1 << 20).bitmap_limit(1 << 16)
}

/// Makes the checksums of footers and header right, so that what they protect is looked at as well.
fn seal(bytes: &mut [u8]) {
    let end = bytes.len();
    let mut fix = |start: usize, len: usize, at: usize| {
        let Some(raw) = bytes.get_mut(start..start + len) else { return };
        raw[at..at + 4].fill(0);
        let sum = !raw.iter().fold(0u32, |sum, byte| sum.wrapping_add(u32::from(*byte)));
        raw[at..at + 4].copy_from_slice(&sum.to_be_bytes());
    };
    fix(0, 512, 64);
    fix(512, 1024, 36);
    if let Some(last) = end.checked_sub(512).filter(|start| *start >= 512) {
        fix(last, 512, 64);
    }
}

fn content(disk: &Vhd) -> Option<Vec<u8>> {
    let mut all = vec![0; disk.info().capacity.min(LOOKED_AT) as usize];
    read_exact(disk, 0, &mut all).ok()?;
    Some(all)
}

/// What is said to be zero is zero, and the extents cover the disk.
fn extents(disk: &Vhd, content: &[u8]) {
    let mut at = 0;
    for _ in 0..64 {
        if at >= disk.size() {
            break;
        }
        let Ok(e) = disk.extent(at, disk.size() - at) else { break };
        assert!(e.len > 0 && e.len.is_multiple_of(512) && e.len <= disk.size() - at, "{e:?} at {at}");
        let seen = content.get(at as usize..).unwrap_or_default();
        let seen = &seen[..seen.len().min(e.len.min(LOOKED_AT) as usize)];
        assert!(!e.zero || seen.iter().all(|b| *b == 0), "{e:?} at {at} is not zero");
        at += e.len;
    }
}

pub(super) fn one_image(bytes: &[u8]) {
    let base = parent();
    let open = |storage: &Arc<Limited>, read_only| {
        let storage: Arc<dyn Storage> = storage.clone();
        options(&base).read_only(read_only).open_storage(storage, "/d.vhd")
    };
    let resolver = {
        let images = vec![(PathBuf::from("/p.vhd"), base.clone() as Arc<dyn Storage>)];
        Some(Arc::new(MemResolver { images }) as Arc<dyn slotone_vhd::Resolver>)
    };
    let storage = Limited::new(MemStorage::from_bytes(bytes));
    let path = Path::new("/d.vhd");
    let report = check_storage(storage.clone(), path, resolver);
    let view = open(&storage, true);
    if let (Ok(report), Err(e)) = (&report, &view) {
        let limited = matches!(e.kind(), ErrorKind::LimitExceeded { .. });
        assert!(!report.is_clean() || limited, "the check finds nothing, but the image does not open: {e}");
    }
    let Ok(view) = view else {
        let _ = repair_storage(storage, path);
        return;
    };
    let first = content(&view);
    if let Some(first) = &first {
        extents(&view, first);
    }
    drop(view);
    assert!(storage.inner.to_vec_limited() == bytes, "reading changed the image");

    // Written to at places that the bytes decide.
    let mut random = Random(bytes.iter().fold(1, |n, b| n * 31 % 65_537 + u64::from(*b)));
    if let Ok(disk) = open(&storage, false) {
        let mut model = content(&disk);
        assert!(first == model, "opening for writing changed the content");
        let sectors = disk.info().capacity / 512;
        let mut failed = false;
        for n in 0..4 {
            let at = random.below(sectors.min(LOOKED_AT / 512)) * 512;
            let done = match n {
                0 | 1 => write_all(&disk, at, &[3 + n; 512]),
                2 => disk.write_zeroes(at, 512, false),
                _ => disk.write_zeroes(0, sectors.min(64) * 512, true),
            };
            failed |= done.is_err();
            if let Some(model) = &mut model {
                match n {
                    0 | 1 => model[at as usize..at as usize + 512].fill(3 + n),
                    2 => model[at as usize..at as usize + 512].fill(0),
                    _ => model[..(sectors.min(64) * 512) as usize].fill(0),
                }
            }
            // The last sector, which the model may not reach.
            let _ = write_all(&disk, (sectors - 1) * 512, &[9; 512]);
            if let Some(model) = model.as_mut().filter(|m| m.len() as u64 == sectors * 512) {
                model[(sectors as usize - 1) * 512..].fill(9);
            }
        }
        failed |= disk.flush().is_err();
        if !failed {
            assert!(content(&disk) == model, "what was written does not read back");
        }
        failed |= disk.close().is_err();
        if !failed {
            let again = open(&storage, true).expect("an image that was written and closed opens");
            assert!(
                content(&again) == model,
                "what was written is not there after the image was opened again"
            );
        }
    }
    let _ = repair_storage(storage, path);
}

trait ToVec {
    fn to_vec_limited(&self) -> Vec<u8>;
}

impl ToVec for MemStorage {
    /// The bytes, unless a hostile size made the storage long.
    fn to_vec_limited(&self) -> Vec<u8> {
        if self.len().is_ok_and(|len| len <= ROOM) { self.to_vec() } else { Vec::new() }
    }
}

/// Any bytes as an image: as they are, and with their checksums made right. Errors are fine; panics, endless loops and memory by
/// the image's numbers are not, and what opens can be written and read back.
pub fn vhd_open(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut bytes = bytes[..bytes.len().min(IMAGE)].to_vec();
    one_image(&bytes);
    seal(&mut bytes);
    one_image(&bytes);
}

/// Any operations on a dynamic disk or a child of one, beside a plain vector of bytes. The input: kind, block size, sectors, then
/// operations of five bytes.
pub fn vhd_disk(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut input = Reader(&bytes);
    let (kind, shift) = (input.u8(), 9 + u32::from(input.u8() % 7));
    let sectors = 1 + u64::from(input.u16() % 1000);
    let base = parent();
    let storage = Limited::new(MemStorage::new());
    let shared = || storage.clone() as Arc<dyn Storage>;
    let (disk, mut model) = if kind & 1 == 0 {
        let options_ = CreateOptions::dynamic(sectors * 512).block_size(1 << shift).aligned(kind & 2 != 0);
        let options_ = options_.id(DiskId([1; 16])).time_stamp(1);
        (options_.create_in(shared(), "/d.vhd", &options(&base), None), vec![0; sectors as usize * 512])
    } else {
        let view =
            options(&base).read_only(true).open_storage(base.clone(), "/p.vhd").expect("the parent opens");
        let size = view.size() + sectors % 8 * 512;
        let options_ =
            CreateOptions::differencing("/p.vhd").size(size).block_size(1 << shift).aligned(kind & 2 != 0);
        let options_ = options_.id(DiskId([1; 16])).time_stamp(1);
        let mut model = vec![0; size as usize];
        model[..2 * 4096].fill(5);
        (options_.create_in(shared(), "/d.vhd", &options(&base), Some(&view)), model)
    };
    let mut disk = disk.expect("a disk can be created in memory");
    for number in 0..200u8 {
        if input.is_empty() {
            break;
        }
        let (what, at, count) = (input.u8(), input.u16(), input.u8());
        let all = model.len() as u64 / 512;
        let at = u64::from(at) % all;
        let count = (1 + u64::from(count) % 64).min(all - at);
        let (from, len) = ((at * 512) as usize, (count * 512) as usize);
        let range = from..from + len;
        match what % 8 {
            0..=2 => {
                let data: Vec<u8> = (0..len).map(|i| number ^ (i / 512) as u8 ^ what).collect();
                let (a, b) = data.split_at((usize::from(what >> 3) * 512).min(len));
                let bufs = [IoSlice::new(a), IoSlice::new(b)];
                disk.write_at(at * 512, &bufs, what & 0x80 != 0).expect("room in memory");
                model[range].copy_from_slice(&data);
            }
            3 => {
                let mut got = vec![0xaa; len];
                let (a, b) = got.split_at_mut((usize::from(what >> 3) * 512).min(len));
                disk.read_at(at * 512, &mut [IoSliceMut::new(a), IoSliceMut::new(b)])
                    .expect("it is in memory");
                assert!(got == model[range], "{count} sectors at {at} read otherwise than written");
            }
            4 => {
                disk.write_zeroes(at * 512, len as u64, what & 0x80 != 0).expect("room in memory");
                model[range].fill(0);
            }
            5 => {
                disk.discard(at * 512, len as u64).expect("room in memory");
                // Each sector is what it was or zeros, and stays so.
                let mut got = vec![0; len];
                read_exact(&disk, at * 512, &mut got).expect("it is in memory");
                for (g, m) in got.chunks(512).zip(model[range].chunks_mut(512)) {
                    assert!(g == m || g.iter().all(|b| *b == 0), "a discarded sector has foreign content");
                    m.copy_from_slice(g);
                }
            }
            6 => disk.flush().expect("it is in memory"),
            _ => {
                disk.close().expect("it is in memory");
                disk = options(&base).open_storage(shared(), "/d.vhd").expect("a closed image opens");
                assert!(disk.warnings().is_empty(), "{:?}", disk.warnings());
            }
        }
    }
    let mut got = vec![0; model.len()];
    read_exact(&disk, 0, &mut got).expect("it is in memory");
    assert!(got == model, "the disk's content is not what was written");
    extents(&disk, &got[..got.len().min(LOOKED_AT as usize)]);
    disk.close().expect("it is in memory");
    let images = vec![(PathBuf::from("/p.vhd"), base.clone() as Arc<dyn Storage>)];
    let report = check_storage(shared(), Path::new("/d.vhd"), Some(Arc::new(MemResolver { images })));
    let report = report.expect("it is in memory");
    assert!(report.is_clean(), "the check complains about our own image: {report:?}");
    let disk = options(&base).read_only(true).open_storage(shared(), "/d.vhd").expect("a closed image opens");
    read_exact(&disk, 0, &mut got).expect("it is in memory");
    assert!(got == model, "the content is another after the image was opened again");
}
