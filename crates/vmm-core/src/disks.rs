//! Disk controllers on the board: each with the media of its drives.
//!
//! With the counted clock a request is carried out at once, in the order it came, so that a run is the same every time. With the real clock so
//! is a request to a medium that has been fast, which most are (their bytes are in the host's memory): to wait for another thread would take longer
//! than the request. One to a medium that has been slow goes to a thread ([`crate::pool`]), and the guest runs on.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use slotone_block::{BlockBackend, DiskClient, Operation, Request, perform};
use slotone_bus::Device;

use crate::board::{Board, DeviceId};
use crate::clock::ClockMode;
use crate::pool::{Job, Lane, Pool};
use crate::save::DriveBusy;

type AsDiskClient = fn(&mut dyn Device) -> Option<&mut dyn DiskClient>;

/// Nanoseconds that a fast request may take, besides one for each byte.
const FAST: u64 = 200_000;
/// So many fast requests after a slow one are still given to threads.
const PATIENCE: u8 = 32;

/// A drive: what is in it, and what is known of that.
struct Drive {
    medium: Option<Arc<dyn BlockBackend>>,
    /// For reads, writes and flushes: how many fast requests are missing until they are carried out at once again.
    slow: [u8; 3],
}

impl Drive {
    fn new(medium: Option<Arc<dyn BlockBackend>>) -> Self {
        Self { medium, slow: [0; 3] }
    }

    fn slow(&mut self, operation: Operation) -> &mut u8 {
        let kind = match operation {
            Operation::Read => 0,
            Operation::Write { .. } | Operation::Discard { .. } => 1,
            Operation::Flush => 2,
        };
        &mut self.slow[kind]
    }

    fn took(&mut self, operation: Operation, bytes: usize, nanos: u64) {
        let slow = self.slow(operation);
        *slow = if nanos > FAST + bytes as u64 { PATIENCE } else { slow.saturating_sub(1) };
    }
}

/// The drives of a controller.
pub(crate) struct DiskPort {
    client: AsDiskClient,
    drives: Vec<Drive>,
    /// Counts resets. What was asked before the last is not answered.
    epoch: u32,
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
    }

    /// The medium of a request that is not to be carried out at once: it is slow, or an earlier request comes first.
    fn for_a_thread(&mut self, pool: &Pool, device: u16, request: &Request) -> Option<Arc<dyn BlockBackend>> {
        let drive = self.drives.get_mut(usize::from(request.unit))?;
        let slow = *drive.slow(request.operation) > 0 || pool.must_wait(device, request);
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
        self.slot_mut(id.0).disk = Some(DiskPort { client, drives, epoch: 0 });
        self.carry_disk_requests(id.0);
    }

    /// Waits until nothing is out.
    pub(crate) fn wait_for_disks(&self) -> Result<(), DriveBusy> {
        self.pool.wait().map_err(|lane| self.busy(lane))
    }

    fn busy(&self, (controller, drive): Lane) -> DriveBusy {
        DriveBusy { controller: self.name(controller).to_string(), drive, patience: self.pool.patience }
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
        let Self { slots, pool, host_times, stats, .. } = self;
        let slot = &mut slots[usize::from(index)];
        let (Some(disk), Some(device)) = (&mut slot.disk, slot.device.as_deref_mut()) else { return };
        let Some(client) = (disk.client)(device) else { return };
        loop {
            if pool.is_full() {
                // The rest stays where it is until something was done.
                pool.kept = true;
                break;
            }
            let Some(mut request) = client.next_request() else { break };
            let bytes = request.data.len();
            stats.disk_requests += 1;
            stats.disk_bytes += bytes as u64;
            if real && let Some(medium) = disk.for_a_thread(pool, index, &request) {
                match pool.submit(Job { device: index, epoch: disk.epoch, medium, request }) {
                    Ok(()) => continue,
                    Err(job) => request = job.request,
                }
            }
            let computing = host_times.long();
            let started = real.then(Instant::now);
            let (operation, unit) = (request.operation, usize::from(request.unit));
            let medium = disk.drives.get(unit).and_then(|d| d.medium.as_deref());
            client.complete(perform(medium, request));
            host_times.long_over(index, computing);
            if let (Some(started), Some(drive)) = (started, disk.drives.get_mut(unit)) {
                drive.took(operation, bytes, started.elapsed().as_nanos() as u64);
            }
        }
        self.update_deadline(index);
    }

    /// Tells controllers what threads have done.
    pub(crate) fn take_completions(&mut self) {
        for done in self.pool.take() {
            self.host_times.in_thread(done.device, done.computed);
            let Some(disk) = &mut self.slot_mut(done.device).disk else { continue };
            if let Some(drive) = disk.drives.get_mut(usize::from(done.unit)) {
                drive.took(done.operation, done.completion.data.len(), done.nanos);
            }
            let client = disk.client;
            if disk.epoch == done.epoch {
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
