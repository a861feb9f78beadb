//! Every medium in memory against one model, and what each fault layer promises.

use std::io::{IoSlice, IoSliceMut};
use std::sync::{Arc, Mutex, mpsc};
use std::time::{Duration, Instant};

use proptest::prelude::*;
use slotone_block::layers::{ErrorLayer, LatencyLayer, On, Overlay, PowerCut, ReadOnly, ShortWrite};
use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, BlockError, MediumInfo, read_exact, write_all};

const SECTORS: u64 = 600;

#[derive(Debug, Clone)]
enum Op {
    Write { sector: u64, sectors: u64, fill: u8, split: usize },
    Zero { sector: u64, sectors: u64 },
    Read { sector: u64, sectors: u64, split: usize },
    Flush,
}

fn op() -> impl Strategy<Value = Op> {
    let range = (0..SECTORS, 1..200u64).prop_map(|(s, n)| (s, n.min(SECTORS - s)));
    prop_oneof![
        (range.clone(), 1u8.., 0..4000usize).prop_map(|((sector, sectors), fill, split)| Op::Write {
            sector,
            sectors,
            fill,
            split
        }),
        range.clone().prop_map(|(sector, sectors)| Op::Zero { sector, sectors }),
        (range, 0..4000usize).prop_map(|((sector, sectors), split)| Op::Read { sector, sectors, split }),
        Just(Op::Flush),
    ]
}

/// Carries `ops` out on the medium and on plain bytes.
fn same_as_bytes(disk: &dyn BlockBackend, model: &mut [u8], ops: &[Op]) {
    for op in ops {
        match *op {
            Op::Write { sector, sectors, fill, split } => {
                let (at, len) = ((sector * 512) as usize, (sectors * 512) as usize);
                for (i, byte) in model[at..at + len].iter_mut().enumerate() {
                    *byte = fill.wrapping_add((i / 512) as u8);
                }
                let (a, b) = model[at..at + len].split_at(split.min(len));
                disk.write_at(sector * 512, &[IoSlice::new(a), IoSlice::new(b)], false).unwrap();
            }
            Op::Zero { sector, sectors } => {
                let (at, len) = ((sector * 512) as usize, (sectors * 512) as usize);
                model[at..at + len].fill(0);
                disk.write_zeroes(sector * 512, len as u64, false).unwrap();
            }
            Op::Read { sector, sectors, split } => {
                let (at, len) = ((sector * 512) as usize, (sectors * 512) as usize);
                let mut data = vec![0xee; len];
                let (a, b) = data.split_at_mut(split.min(len));
                disk.read_at(sector * 512, &mut [IoSliceMut::new(a), IoSliceMut::new(b)]).unwrap();
                assert!(data == model[at..at + len], "{op:?}");
            }
            Op::Flush => disk.flush().unwrap(),
        }
    }
    let mut all = vec![0; model.len()];
    read_exact(disk, 0, &mut all).unwrap();
    assert!(all == model);
}

fn base_bytes() -> Vec<u8> {
    (0..SECTORS * 512).map(|i| (i / 512 + i) as u8).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn memory_behaves_like_bytes(ops in prop::collection::vec(op(), 1..40)) {
        same_as_bytes(&MemoryDisk::from_bytes(&base_bytes()), &mut base_bytes(), &ops);
    }

    #[test]
    fn overlay_behaves_like_bytes_and_leaves_its_base_alone(ops in prop::collection::vec(op(), 1..40)) {
        let base = ReadOnly::new(MemoryDisk::from_bytes(&base_bytes()));
        let overlay = Overlay::new(&base);
        same_as_bytes(&overlay, &mut base_bytes(), &ops);
        prop_assert!(overlay.written_sectors() <= SECTORS);
        overlay.discard_changes();
        same_as_bytes(&overlay, &mut base_bytes(), &[]);
        let mut all = vec![0; (SECTORS * 512) as usize];
        read_exact(&base, 0, &mut all).unwrap();
        prop_assert!(all == base_bytes());
    }

    #[test]
    fn a_cache_with_power_behaves_like_bytes(ops in prop::collection::vec(op(), 1..40)) {
        let disk = PowerCut::new(MemoryDisk::from_bytes(&base_bytes()));
        same_as_bytes(&disk, &mut base_bytes(), &ops);
    }

    /// After a cut every sector is one of the versions written since the last flush, or the flushed one.
    #[test]
    fn a_power_cut_keeps_what_was_flushed(
        ops in prop::collection::vec(op(), 1..30), after in 0u64..30, seed in any::<u64>(),
    ) {
        let disk = PowerCut::new(MemoryDisk::from_bytes(&base_bytes()));
        disk.cut_after(after, seed);
        let mut current = base_bytes();
        let mut allowed: Vec<Vec<Vec<u8>>> = current.chunks(512).map(|s| vec![s.to_vec()]).collect();
        for op in &ops {
            let mut write = |sector: u64, data: Vec<u8>, disk: &PowerCut<MemoryDisk>| {
                for (n, part) in data.chunks(512).enumerate() {
                    allowed[sector as usize + n].push(part.to_vec());
                }
                let at = (sector * 512) as usize;
                current[at..at + data.len()].copy_from_slice(&data);
                write_all(disk, sector * 512, &data)
            };
            let result = match *op {
                Op::Write { sector, sectors, fill, .. } => write(sector, vec![fill; (sectors * 512) as usize], &disk),
                Op::Zero { sector, sectors } => write(sector, vec![0; (sectors * 512) as usize], &disk),
                Op::Read { .. } => continue,
                Op::Flush => {
                    let flushed = disk.flush();
                    if flushed.is_ok() {
                        allowed = current.chunks(512).map(|s| vec![s.to_vec()]).collect();
                    }
                    flushed
                }
            };
            if result.is_err() {
                break;
            }
        }
        if !disk.is_off() {
            disk.cut(seed);
        }
        prop_assert!(read_exact(&disk, 0, &mut [0; 512]).is_err());
        disk.power_on();
        let mut all = vec![0; (SECTORS * 512) as usize];
        read_exact(&disk, 0, &mut all).unwrap();
        for (n, sector) in all.chunks(512).enumerate() {
            prop_assert!(allowed[n].iter().any(|v| v == sector), "sector {} is a version nobody wrote", n);
        }
    }
}

#[test]
fn a_power_cut_does_lose_something() {
    let lost = (0..64).filter(|seed| {
        let disk = PowerCut::new(MemoryDisk::new(1 << 20));
        write_all(&disk, 0, &[1; 16 * 512]).unwrap();
        disk.cut(*seed);
        let inner = disk.into_inner();
        let mut data = [0; 16 * 512];
        read_exact(&inner, 0, &mut data).unwrap();
        let kept = data.chunks(512).filter(|s| s[0] == 1).count();
        kept > 0 && kept < 16
    });
    assert!(lost.count() > 50, "most cuts tear a write of 16 sectors");
}

#[test]
fn fua_survives_a_cut() {
    let disk = PowerCut::new(MemoryDisk::new(1 << 20));
    write_all(&disk, 0, &[1; 1024]).unwrap();
    disk.write_at(0, &[IoSlice::new(&[2; 1024])], true).unwrap();
    for seed in 0..32 {
        disk.cut(seed);
        disk.power_on();
        let mut data = [0; 1024];
        read_exact(&disk, 0, &mut data).unwrap();
        assert_eq!(data, [2; 1024]);
    }
}

#[test]
fn errors_hit_where_they_were_put() {
    let disk =
        ErrorLayer::new(MemoryDisk::new(1 << 20)).bad(1024..1536, On::Reads).bad(4096..8192, On::Writes);
    write_all(&disk, 0, &[1; 4096]).unwrap();
    assert!(matches!(read_exact(&disk, 0, &mut [0; 4096]), Err(BlockError::Medium { offset: 1024 })));
    read_exact(&disk, 1536, &mut [0; 4096]).unwrap();
    assert!(matches!(write_all(&disk, 4608, &[0; 512]), Err(BlockError::Medium { offset: 4608 })));
    assert_eq!(disk.failed(), 2);
    disk.fail_flushes(true);
    assert!(disk.flush().is_err());
    disk.clear();
    read_exact(&disk, 0, &mut [0; 4096]).unwrap();
    disk.flush().unwrap();
    let disk = ErrorLayer::new(MemoryDisk::new(1 << 20)).every_nth(3, On::Both);
    let results: Vec<bool> = (0..9).map(|_| read_exact(&disk, 0, &mut [0; 512]).is_ok()).collect();
    assert_eq!(results, [true, true, false, true, true, false, true, true, false]);
}

#[test]
fn pending_sectors_can_be_read_once_they_were_written() {
    let disk = ErrorLayer::new(MemoryDisk::new(1 << 20)).pending(1024..4096).pending(8192..8704);
    let bad_at = |offset: u64, len: usize| match read_exact(&disk, offset, &mut vec![0; len]) {
        Ok(()) => None,
        Err(BlockError::Medium { offset }) => Some(offset),
        Err(other) => panic!("{other}"),
    };
    assert_eq!((bad_at(0, 4096), bad_at(0, 1024), bad_at(4096, 512)), (Some(1024), None, None));
    // In its middle: two pieces are left.
    write_all(&disk, 2048, &[7; 1024]).unwrap();
    assert_eq!((bad_at(2048, 1024), bad_at(1024, 512), bad_at(3072, 512)), (None, Some(1024), Some(3072)));
    write_all(&disk, 0, &[8; 2048]).unwrap();
    disk.write_zeroes(3072, 1024, false).unwrap();
    assert_eq!((bad_at(0, 8192), bad_at(0, 16384)), (None, Some(8192)));
    let mut data = [0; 512];
    read_exact(&disk, 2048, &mut data).unwrap();
    assert_eq!(data, [7; 512]);
    assert_eq!(disk.failed(), 4);
    // A write that fails below heals nothing.
    let disk = ErrorLayer::new(ReadOnly::new(MemoryDisk::new(1 << 20))).pending(0..512);
    assert!(write_all(&disk, 0, &[1; 512]).is_err());
    assert!(read_exact(&disk, 0, &mut [0; 512]).is_err());
}

#[test]
fn a_full_host_cuts_a_write_at_a_sector() {
    let disk = ShortWrite::new(MemoryDisk::new(1 << 20), 1300);
    assert!(matches!(write_all(&disk, 0, &[1; 4096]), Err(BlockError::NoSpace)));
    let mut data = [0; 4096];
    read_exact(&disk, 0, &mut data).unwrap();
    assert!(data[..1024].iter().all(|b| *b == 1) && data[1024..].iter().all(|b| *b == 0));
    assert!(write_all(&disk, 0, &[1; 512]).is_err());
    disk.refill(512);
    write_all(&disk, 0, &[1; 512]).unwrap();
}

#[test]
fn latency_takes_host_time() {
    let disk =
        LatencyLayer::new(MemoryDisk::new(1 << 20), Duration::from_millis(5), Duration::from_millis(100));
    let start = Instant::now();
    write_all(&disk, 0, &[1; 512 * 1024]).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(55));
}

#[test]
fn read_only_is() {
    let disk = ReadOnly::new(MemoryDisk::new(1 << 20));
    assert!(disk.info().read_only);
    assert!(matches!(write_all(&disk, 0, &[0; 512]), Err(BlockError::ReadOnly)));
    assert!(matches!(disk.write_zeroes(0, 512, false), Err(BlockError::ReadOnly)));
    assert!(matches!(disk.discard(0, 512), Err(BlockError::ReadOnly)));
    disk.flush().unwrap();
}

#[test]
fn memory_is_sparse() {
    let disk = MemoryDisk::new(127 << 30);
    write_all(&disk, 100 << 30, &[1; 512]).unwrap();
    assert_eq!(disk.allocated(), 65536);
    disk.discard(0, 127 << 30).unwrap();
    assert_eq!(disk.allocated(), 0);
    assert_eq!(MemoryDisk::from_bytes(&[1; 700]).info().capacity, 1024);
}

/// A base whose reads wait for a word.
#[derive(Debug)]
struct Hanging {
    disk: MemoryDisk,
    begun: mpsc::Sender<()>,
    word: Mutex<mpsc::Receiver<()>>,
}

impl BlockBackend for Hanging {
    fn info(&self) -> &MediumInfo {
        self.disk.info()
    }
    fn read_at(&self, offset: u64, bufs: &mut [IoSliceMut<'_>]) -> Result<(), BlockError> {
        self.begun.send(()).unwrap();
        self.word.lock().unwrap().recv().unwrap();
        self.disk.read_at(offset, bufs)
    }
    fn write_at(&self, offset: u64, bufs: &[IoSlice<'_>], fua: bool) -> Result<(), BlockError> {
        self.disk.write_at(offset, bufs, fua)
    }
    fn flush(&self) -> Result<(), BlockError> {
        self.disk.flush()
    }
}

#[test]
fn a_write_to_an_overlay_does_not_wait_for_a_read_of_its_base() {
    let (begun, has_begun) = mpsc::channel();
    let (go, word) = mpsc::channel();
    let base = MemoryDisk::from_bytes(&[1; 4096]);
    let overlay = Arc::new(Overlay::new(Hanging { disk: base, begun, word: Mutex::new(word) }));
    write_all(&overlay, 1024, &[2; 512]).unwrap();
    let reader = {
        let overlay = Arc::clone(&overlay);
        std::thread::spawn(move || {
            let mut data = [0; 2048];
            read_exact(&overlay, 0, &mut data).map(|()| data)
        })
    };
    has_begun.recv().unwrap();
    let (written, was_written) = mpsc::channel();
    let writer = {
        let overlay = Arc::clone(&overlay);
        std::thread::spawn(move || written.send(write_all(&overlay, 0, &[3; 512]).is_ok()).unwrap())
    };
    let in_time = was_written.recv_timeout(Duration::from_secs(20));
    // Two pieces come from the base.
    go.send(()).unwrap();
    go.send(()).unwrap();
    writer.join().unwrap();
    let data = reader.join().unwrap().unwrap();
    assert_eq!(in_time, Ok(true), "the write has waited for the base");
    assert!(data[..1024] == [1; 1024] && data[1024..1536] == [2; 512] && data[1536..] == [1; 512]);
}

/// A medium that counts what makes its bytes durable.
#[derive(Debug)]
struct Counter {
    disk: MemoryDisk,
    durable: std::sync::atomic::AtomicUsize,
}

impl BlockBackend for Counter {
    fn info(&self) -> &slotone_block::MediumInfo {
        self.disk.info()
    }
    fn read_at(&self, offset: u64, bufs: &mut [std::io::IoSliceMut<'_>]) -> slotone_block::Result<()> {
        self.disk.read_at(offset, bufs)
    }
    fn write_at(&self, offset: u64, bufs: &[std::io::IoSlice<'_>], fua: bool) -> slotone_block::Result<()> {
        self.durable.fetch_add(usize::from(fua), std::sync::atomic::Ordering::Relaxed);
        self.disk.write_at(offset, bufs, fua)
    }
    fn flush(&self) -> slotone_block::Result<()> {
        self.durable.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        self.disk.flush()
    }
}

#[test]
fn zeros_that_are_to_be_durable_are_flushed_once() {
    let counter = Counter { disk: MemoryDisk::new(1 << 20), durable: Default::default() };
    slotone_block::write_all(&counter, 0, &[1; 1024]).unwrap();
    counter.write_zeroes(512, 300 << 10, true).unwrap();
    assert_eq!(counter.durable.load(std::sync::atomic::Ordering::Relaxed), 1);
    let mut data = [2; 1024];
    slotone_block::read_exact(&counter, 0, &mut data).unwrap();
    assert_eq!((data[511], data[512], data[1023]), (1, 0, 0));
    counter.write_zeroes(0, 512, false).unwrap();
    assert_eq!(counter.durable.load(std::sync::atomic::Ordering::Relaxed), 1);
}
