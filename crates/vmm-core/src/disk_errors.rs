//! What a guest cannot be told of its disks: the host's reasons.

use std::collections::BTreeMap;
use std::fmt;

use slotone_block::{BlockError, Operation, Outcome};

use crate::board::Board;
use crate::pool::Lane;

/// A disk request that failed on the host. The guest has seen a medium error; this is the reason, for the host's user.
#[derive(Debug)]
#[non_exhaustive]
pub struct DiskError {
    /// Name of the controller.
    pub controller: String,
    /// Number of the drive there: a SCSI ID, or an IDE position from 0, the primary master, on.
    pub drive: u8,
    /// What is in the drive: [`MediumInfo::name`](slotone_block::MediumInfo::name), a file's path.
    pub medium: String,
    /// What was asked.
    pub operation: Operation,
    /// Why it failed.
    pub reason: BlockError,
    /// Requests of this drive that have failed after it.
    pub more: u64,
}

/// The file, the reason and what to do, in one line.
impl fmt::Display for DiskError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.operation {
            Operation::Read => "read",
            Operation::Write { .. } => "write",
            Operation::Flush => "flush",
            Operation::Discard { .. } => "discard",
        };
        let advice = match self.reason {
            BlockError::NoSpace => "make room there; until then the guest sees disk errors",
            BlockError::Corrupt(_) => "check it, or take a copy of it from a backup",
            BlockError::Medium { .. } => "the guest sees a bad sector",
            _ => "see the host's log for its disk, and the disk's connection",
        };
        write!(f, "{}: a {what} failed: {}; {advice}", self.medium, self.reason)
    }
}

/// Why a request failed, and of what medium.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) medium: String,
    pub(crate) reason: BlockError,
}

/// The first failure of each drive, and how many came after it.
#[derive(Debug, Default)]
pub(crate) struct DiskErrors(BTreeMap<Lane, (Operation, Failure, u64)>);

impl DiskErrors {
    /// What a guest did wrong is its own matter.
    pub(crate) fn note(&mut self, lane: Lane, operation: Operation, failure: Failure) {
        if Outcome::from(&failure.reason) == Outcome::MediumError {
            let more = |(_, _, more): &mut (Operation, Failure, u64)| *more = more.saturating_add(1);
            self.0.entry(lane).and_modify(more).or_insert((operation, failure, 0));
        }
    }
}

impl Board {
    pub(crate) fn take_disk_errors(&mut self) -> Vec<DiskError> {
        if self.disk_errors.0.is_empty() {
            return Vec::new();
        }
        let errors = std::mem::take(&mut self.disk_errors.0).into_iter();
        let named = errors.map(|((controller, drive), (operation, failure, more))| {
            let Failure { medium, reason } = failure;
            DiskError {
                controller: self.name(controller).to_string(),
                drive,
                medium,
                operation,
                reason,
                more,
            }
        });
        named.collect()
    }
}
