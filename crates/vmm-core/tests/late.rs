//! A request that a thread completes in the very moment in which its device finds that it is late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, Completion, DiskClient, MediumInfo, Operation, Request, Result};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{At, Cx, Device, Generation, Inspector, PinLevels, ResetKind, VmInstant, Window};
use slotone_vmm_core::{RunExit, VirtualServer2005, virtual_server_2005};

const PATIENCE: Duration = Duration::from_secs(60);
/// When the request is to be done, in virtual time.
const DUE: VmInstant = VmInstant::from_nanos(5_000_000);

/// A medium that is slow enough for threads and counts what it has done.
#[derive(Debug)]
struct Slow {
    disk: MemoryDisk,
    done: Arc<AtomicU32>,
}

impl BlockBackend for Slow {
    fn info(&self) -> &MediumInfo {
        self.disk.info()
    }
    fn read_at(&self, offset: u64, bufs: &mut [std::io::IoSliceMut<'_>]) -> Result<()> {
        // The first, which the machine waits for, tells it that this is slow; the second outlasts [`DUE`].
        let millis = if self.done.load(Ordering::SeqCst) == 0 { 2 } else { 100 };
        std::thread::sleep(Duration::from_millis(millis));
        self.disk.read_at(offset, bufs)?;
        self.done.fetch_add(1, Ordering::SeqCst);
        Ok(())
    }
    fn write_at(&self, offset: u64, bufs: &[std::io::IoSlice<'_>], fua: bool) -> Result<()> {
        self.disk.write_at(offset, bufs, fua)
    }
    fn flush(&self) -> Result<()> {
        self.disk.flush()
    }
}

/// A controller with two reads, whose time comes at [`DUE`]; when it is late, it waits for the answer, and its time is still [`DUE`].
struct Punctual {
    asked: u64,
    answered: u64,
    ended: u64,
    late: bool,
    done: Arc<AtomicU32>,
}

impl Device for Punctual {
    fn windows(&self) -> (Generation, &[Window]) {
        (Generation(0), &[])
    }
    fn read(&mut self, _: &mut Cx<'_>, _: At, _: &mut [u8]) {}
    fn write(&mut self, _: &mut Cx<'_>, _: At, _: &[u8]) {}
    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        (self.ended < 2 && !self.late).then_some(DUE)
    }
    fn tick(&mut self, _: &mut Cx<'_>) {
        if self.answered == 2 {
            self.ended = 2;
            return;
        }
        self.late = true;
        let began = Instant::now();
        while self.done.load(Ordering::SeqCst) < 2 && began.elapsed() < PATIENCE {
            std::thread::yield_now();
        }
        // Until the thread has told the machine.
        std::thread::sleep(Duration::from_millis(50));
    }
    fn reset(&mut self, _: ResetKind) {}
    fn save(&self, _: &mut StateWriter) {}
    fn restore(&mut self, _: &mut StateReader<'_>) -> std::result::Result<(), StateError> {
        Ok(())
    }
    fn inspect(&self, _: &mut Inspector<'_>) {}
}

impl DiskClient for Punctual {
    fn next_request(&mut self) -> Option<Request> {
        (self.asked < 2).then(|| {
            self.asked += 1;
            let data = vec![0; 512];
            Request {
                id: self.asked,
                unit: 0,
                operation: Operation::Read,
                offset: 0,
                data,
                due: DUE.as_nanos(),
            }
        })
    }
    fn complete(&mut self, _: Completion) {
        self.answered += 1;
        self.late = false;
    }
}

#[test]
fn an_answer_right_behind_the_tick_that_missed_it_is_noticed() {
    let done = Arc::new(AtomicU32::new(0));
    let config = VirtualServer2005 { memory_mib: 4, ..VirtualServer2005::new() };
    let mut builder = virtual_server_2005(&config).unwrap();
    let device = Punctual { asked: 0, answered: 0, ended: 0, late: false, done: Arc::clone(&done) };
    let id = builder.add("controller", device).unwrap();
    let medium: Arc<dyn BlockBackend> = Arc::new(Slow { disk: MemoryDisk::new(1 << 20), done });
    builder.media::<Punctual>(id, vec![Some(medium)]);
    let mut machine = builder.build().unwrap();
    let began = Instant::now();
    while machine.device::<Punctual>(id).unwrap().ended < 2 {
        assert!(began.elapsed() < PATIENCE, "the device is never ticked again");
        let until = machine.now() + 1_000_000;
        assert_eq!(machine.run(until), RunExit::Limit);
        if machine.now() > DUE + 2_000_000_000 {
            panic!("the device is never ticked again");
        }
    }
}
