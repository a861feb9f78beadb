//! Disk controllers on the board: each with the media of its drives.
//!
//! With the counted clock a request is carried out at once, in the order it came, so that a run is the same every time. With the real clock so
//! is a read or write of a medium that has been fast, which most are (their bytes are in the host's memory): to wait for another thread would take longer
//! than the request. One to a medium that has been slow or is at work, and what may take long on any host, goes to a thread ([`crate::pool`]), and the
//! guest runs on.

use std::any::Any;
use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slotone_block::{BlockBackend, DiskClient, Operation, Outcome, Request, perform_with};
use slotone_bus::Device;

use crate::board::{Board, DeviceId};
use crate::clock::ClockMode;
use crate::disk_errors::Failure;
use crate::pool::{Job, Lane, Pool};
use crate::save::DriveBusy;

type AsDiskClient = fn(&mut dyn Device) -> Option<&mut dyn DiskClient>;

/// Nanoseconds that a fast request may take, besides one for each byte.
const FAST: u64 = 200_000;
/// At most so many requests after a slow one are given to threads before one is carried out at once again.
const PATIENCE: u8 = 32;
/// After so many fast ones in a row the slow ones before are forgotten.
const FORGET: u8 = 64;
/// So long after its last write a drive is flushed if the guest does not do it.
const QUIET: Duration = Duration::from_secs(2);
/// Requests, and bytes of their data, that wait in the machine because enough is out to their drive; with more the controller's others wait with them.
const MOST_WAITING: usize = 256;
const MOST_BYTES_WAITING: usize = 32 << 20;

/// How fast a drive has been with one kind of request. One slow request may be the host's scheduler; one that is followed by more, again and
/// again, is the medium.
#[derive(Debug, Default, Clone, Copy)]
struct Pace {
    /// So many are given to threads until one is carried out at once again.
    left: u8,
    /// What the last slow one has made of `left`.
    level: u8,
    /// Fast ones in a row.
    fast: u8,
}

impl Pace {
    fn took(&mut self, bytes: usize, nanos: u64) {
        if nanos > FAST + bytes as u64 {
            let level = self.level.saturating_mul(2).saturating_add(1).min(PATIENCE);
            *self = Self { left: level, level, fast: 0 };
        } else {
            self.left = self.left.saturating_sub(1);
            self.fast = self.fast.saturating_add(1);
            if self.fast >= FORGET {
                self.level = 0;
            }
        }
    }
}

/// A drive: what is in it, and what is known of that.
struct Drive {
    medium: Option<Arc<dyn BlockBackend>>,
    reads: Pace,
    writes: Pace,
    /// When it was last written to, unless it was flushed since; with the real clock only.
    unflushed: Option<Instant>,
}

impl Drive {
    fn new(medium: Option<Arc<dyn BlockBackend>>) -> Self {
        Self { medium, reads: Pace::default(), writes: Pace::default(), unflushed: None }
    }

    /// The pace of what is carried out at once while it is fast. The rest may take long on any host: it makes data durable, or works on ranges of any
    /// length.
    fn pace(&mut self, operation: Operation) -> Option<&mut Pace> {
        match operation {
            Operation::Read => Some(&mut self.reads),
            Operation::Write { fua: false } => Some(&mut self.writes),
            Operation::Write { fua: true } | Operation::Flush | Operation::Discard { .. } => None,
        }
    }

    /// A request of so many bytes was carried out. Whether the drive has unflushed writes now.
    fn took(
        &mut self,
        (operation, outcome): (Operation, Outcome),
        bytes: usize,
        started: Instant,
        nanos: u64,
    ) -> bool {
        if let Some(pace) = self.pace(operation) {
            pace.took(bytes, nanos);
        }
        match operation {
            // One that failed may have been carried out in part.
            Operation::Write { fua: false } | Operation::Discard { .. } => {
                if self.medium.as_ref().is_some_and(|medium| !medium.info().read_only) {
                    self.unflushed = self.unflushed.max(Some(started + Duration::from_nanos(nanos)));
                }
            }
            Operation::Flush if outcome == Outcome::Done => {
                self.unflushed = self.unflushed.filter(|written| *written > started);
            }
            Operation::Flush | Operation::Read | Operation::Write { fua: true } => {}
        }
        self.unflushed.is_some()
    }
}

/// The drives of a controller.
pub(crate) struct DiskPort {
    client: AsDiskClient,
    drives: Vec<Drive>,
    /// Counts resets. What was asked before the last is not answered.
    epoch: u32,
    /// What was asked of drives to which enough is out.
    waiting: VecDeque<Request>,
}

impl fmt::Debug for DiskPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DiskPort").field("drives", &self.drives.len()).finish_non_exhaustive()
    }
}

impl DiskPort {
    pub(crate) fn media(&self) -> impl Iterator<Item = &Arc<dyn BlockBackend>> {
        self.drives.iter().filter_map(|d| d.medium.as_ref())
    }

    pub(crate) fn forget_requests(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
        self.waiting.clear();
    }

    /// The next request that is to be carried out now. One to a drive to which enough is out waits, and those behind it to other drives do not.
    fn next_request(&mut self, client: &mut dyn DiskClient, full: &[u8]) -> Option<Request> {
        if let Some(at) = self.waiting.iter().position(|r| !full.contains(&r.unit)) {
            return self.waiting.remove(at);
        }
        while self.waiting.len() < MOST_WAITING
            && self.waiting.iter().map(|r| r.data.len()).sum::<usize>() < MOST_BYTES_WAITING
        {
            let request = client.next_request()?;
            if !full.contains(&request.unit) {
                return Some(request);
            }
            self.waiting.push_back(request);
        }
        None
    }

    /// The medium of a request that is not to be carried out at once: it may be slow, or something is out to its drive. That may have to come
    /// first, and it may hold a lock of the medium for as long as it takes.
    fn for_a_thread(&mut self, pool: &Pool, device: u16, request: &Request) -> Option<Arc<dyn BlockBackend>> {
        let drive = self.drives.get_mut(usize::from(request.unit))?;
        let slow = drive.pace(request.operation).is_none_or(|pace| pace.left > 0)
            || pool.is_busy((device, request.unit));
        drive.medium.clone().filter(|_| slow)
    }
}

impl Board {
    pub(crate) fn attach_media<T: Device + DiskClient>(
        &mut self,
        id: DeviceId,
        media: Vec<Option<Arc<dyn BlockBackend>>>,
    ) {
        let client: AsDiskClient = |device| {
            let any: &mut dyn Any = device;
            any.downcast_mut::<T>().map(|t| t as &mut dyn DiskClient)
        };
        let drives = media.into_iter().map(Drive::new).collect();
        self.slot_mut(id.0).disk = Some(DiskPort { client, drives, epoch: 0, waiting: VecDeque::new() });
        self.carry_disk_requests(id.0);
    }

    /// Waits until nothing is out.
    pub(crate) fn wait_for_disks(&self) -> Result<(), DriveBusy> {
        self.pool.wait().map_err(|lane| self.busy(lane))
    }

    fn busy(&self, (controller, drive): Lane) -> DriveBusy {
        let disk = self.slots[usize::from(controller)].disk.as_ref();
        let medium = disk.and_then(|disk| disk.drives.get(usize::from(drive))?.medium.as_ref());
        DriveBusy {
            controller: self.name(controller).to_string(),
            drive,
            medium: medium.map_or_else(String::new, |medium| medium.info().name.clone()),
            patience: self.pool.patience,
        }
    }

    /// Replaces the medium of a drive, once it has done what it was asked; the caller tells the drive.
    pub(crate) fn set_medium(
        &mut self,
        id: DeviceId,
        unit: usize,
        medium: Option<Arc<dyn BlockBackend>>,
    ) -> Result<(), DriveBusy> {
        if let Ok(unit) = u8::try_from(unit) {
            self.pool.wait_for((id.0, unit)).map_err(|lane| self.busy(lane))?;
        }
        if let Some(disk) = &mut self.slot_mut(id.0).disk
            && let Some(drive) = disk.drives.get_mut(unit)
        {
            *drive = Drive::new(medium);
        }
        Ok(())
    }

    /// Carries the requests of a controller to its media, or hands them to a thread.
    pub(crate) fn carry_disk_requests(&mut self, index: u16) {
        let real = self.time.mode() == ClockMode::Real;
        let Self { slots, pool, host_times, stats, disk_errors, drain_at, .. } = self;
        let slot = &mut slots[usize::from(index)];
        let (Some(disk), Some(device)) = (&mut slot.disk, slot.device.as_deref_mut()) else { return };
        let Some(client) = (disk.client)(device) else { return };
        while let Some(mut request) = disk.next_request(client, &pool.full(index)) {
            let bytes = request.data.len();
            stats.disk_requests += 1;
            stats.disk_bytes += bytes as u64;
            if real && let Some(medium) = disk.for_a_thread(pool, index, &request) {
                match pool.submit(Job { device: index, epoch: disk.epoch, medium, request, own: false }) {
                    Ok(()) => continue,
                    Err(job) => request = job.request,
                }
            }
            let computing = host_times.long();
            let started = real.then(Instant::now);
            let (operation, unit) = (request.operation, usize::from(request.unit));
            let medium = disk.drives.get(unit).and_then(|d| d.medium.as_deref());
            let lane = (index, request.unit);
            let completion = perform_with(medium, request, |reason| {
                let medium = medium.map_or_else(String::new, |medium| medium.info().name.clone());
                disk_errors.note(lane, operation, Failure { medium, reason });
            });
            let outcome = completion.outcome;
            client.complete(completion);
            host_times.long_over(index, computing);
            if let (Some(started), Some(drive)) = (started, disk.drives.get_mut(unit)) {
                let nanos = started.elapsed().as_nanos() as u64;
                if drive.took((operation, outcome), bytes, started, nanos) {
                    drain_at.get_or_insert(started + QUIET);
                }
            }
        }
        // Until something was done.
        pool.kept |= !disk.waiting.is_empty();
        self.update_deadline(index);
    }

    /// Flushes drives that were written to and then left alone, as the write cache of a disk drains: a guest that is content with that may never ask
    /// for a flush, and the host may lose its power.
    #[inline]
    pub(crate) fn drain_caches(&mut self) {
        if self.drain_at.is_some_and(|at| at <= Instant::now()) {
            self.drain_at = None;
            self.drain_caches_now(Instant::now());
        }
    }

    fn drain_caches_now(&mut self, now: Instant) {
        let Self { slots, pool, drain_at, .. } = self;
        for (index, slot) in slots.iter_mut().enumerate() {
            let Some(disk) = &mut slot.disk else { continue };
            let device = index as u16;
            for (unit, drive) in disk.drives.iter_mut().enumerate() {
                let (Some(written), Some(medium), Ok(unit)) =
                    (drive.unflushed, &drive.medium, u8::try_from(unit))
                else {
                    continue;
                };
                let mut due = written + QUIET;
                if due <= now {
                    // If it fails, or another flush or a write is out, later.
                    due = now + QUIET;
                    if !pool.is_writing((device, unit)) {
                        drive.unflushed = Some(now);
                        let (medium, operation) = (Arc::clone(medium), Operation::Flush);
                        let request = Request { id: 0, unit, operation, offset: 0, data: Vec::new(), due: 0 };
                        // Without a thread later as well.
                        let _ = pool.submit(Job { device, epoch: disk.epoch, medium, request, own: true });
                    }
                }
                *drain_at = Some(drain_at.map_or(due, |at| at.min(due)));
            }
        }
    }

    /// Tells controllers what threads have done.
    pub(crate) fn take_completions(&mut self) {
        for done in self.pool.take() {
            self.host_times.in_thread(done.device, done.computed);
            if let Some(failure) = done.failure {
                self.disk_errors.note((done.device, done.unit), done.operation, failure);
            }
            let Some(disk) = &mut self.slot_mut(done.device).disk else { continue };
            let client = disk.client;
            let asked = disk.epoch == done.epoch && !done.own;
            if let Some(drive) = disk.drives.get_mut(usize::from(done.unit)) {
                let how = (done.operation, done.completion.outcome);
                if drive.took(how, done.completion.data.len(), done.started, done.nanos) {
                    self.drain_at.get_or_insert(done.started + QUIET);
                }
            }
            if asked {
                self.call(done.device, |device, _| {
                    if let Some(client) = client(device) {
                        client.complete(done.completion);
                    }
                });
            }
        }
        if std::mem::take(&mut self.pool.kept) {
            (0..self.slots.len() as u16).for_each(|index| self.carry_disk_requests(index));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_slow_request_among_fast_ones_sends_one_more_to_a_thread() {
        let mut pace = Pace::default();
        for _ in 0..3 {
            pace.took(512, 10 * FAST);
            assert_eq!(pace.left, 1);
            for _ in 0..FORGET {
                pace.took(512, 1_000);
            }
            assert_eq!(pace.left, 0);
        }
        // A long one may take its nanosecond a byte.
        pace.took(1 << 20, FAST + (1 << 20));
        assert_eq!(pace.left, 0);
    }

    #[test]
    fn slow_ones_that_come_again_are_given_to_threads_more_and_more() {
        let mut pace = Pace::default();
        let left = [1, 3, 7, 15, 31, PATIENCE, PATIENCE];
        for left in left {
            pace.took(512, 10 * FAST);
            assert_eq!(pace.left, left);
        }
        // Every fourth is slow: of these hardly any is carried out at once.
        let mut at_once = 0;
        for n in 0..400 {
            at_once += u32::from(pace.left == 0 && n % 4 == 0);
            pace.took(512, if n % 4 == 0 { 10 * FAST } else { 1_000 });
        }
        assert_eq!(at_once, 0);
    }
}
