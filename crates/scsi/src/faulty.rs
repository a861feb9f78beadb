//! A target that misbehaves on purpose.

use slotone_bus::state::{StateError, StateReader, StateWriter};

use crate::{Access, Command, Failure, MediumResult, Reply, Reset, Sense, Target};

const SECTION: &str = "scsi-faulty";

/// How a target misbehaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The access fails before its first block: MEDIUM ERROR, as the target itself tells of errors of its medium.
    MediumError,
    /// UNIT ATTENTION instead of the access, 29h/00h: as if the power had failed for a moment. Nothing else of it is lost.
    Attention,
    /// The command is accepted and never ends: [`Reply::Held`], until the initiator loses patience and aborts it.
    Hang,
    /// From the access on, selections are not answered. What was begun before ends as it should.
    Vanish,
}

/// A fault and when it shows. Accesses are the commands that a target sends to its medium (reads, writes, SYNCHRONIZE CACHE, ...), counted
/// from 1 since the target was made; resets do not change the count, so that a retry is another access.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    /// What.
    pub kind: FaultKind,
    /// The first access that it hits; [`FaultKind::Vanish`] with 0 is there from the start.
    pub access: u64,
    /// How many accesses in a row it hits, or how many selections are not answered; `u64::MAX` is for ever.
    pub times: u64,
}

/// What a saved machine keeps.
#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    accesses: u64,
    /// Selections that each fault left without an answer.
    missed: Vec<u64>,
}
slotone_bus::encode_fields!(State { accesses, missed });

/// A target with faults around one without: accesses that fail, unit attentions, commands that never end, selections that nobody answers.
/// Bad sectors are the medium's: `slotone_block::layers::ErrorLayer`.
///
/// ```
/// use slotone_scsi::{Command, Disk, DiskConfig, Fault, FaultKind, Faulty, Reply, Target};
/// # use slotone_block::{BlockBackend, memory::MemoryDisk};
/// # let medium = MemoryDisk::new(1 << 20);
/// let disk = Disk::new(DiskConfig::new(medium.info()));
/// let mut disk = Faulty::new(Box::new(disk), vec![Fault { kind: FaultKind::Hang, access: 2, times: 1 }]);
/// disk.command(&Command::new(&[0x00])); // the unit attention of power-on
/// let read = Command::new(&[0x28, 0, 0, 0, 0, 16, 0, 0, 1]);
/// assert!(matches!(disk.command(&read), Reply::Medium(_)));
/// assert_eq!(disk.command(&read), Reply::Held);
/// assert!(matches!(disk.command(&read), Reply::Medium(_)), "a retry is the next access");
/// ```
#[derive(Debug)]
pub struct Faulty {
    inner: Box<dyn Target>,
    faults: Vec<Fault>,
    state: State,
}

impl Faulty {
    /// `inner` with `faults`. Where several hit the same access the first of them shows.
    pub fn new(inner: Box<dyn Target>, faults: Vec<Fault>) -> Self {
        let state = State { accesses: 0, missed: vec![0; faults.len()] };
        Self { inner, faults, state }
    }

    /// The target behind the faults.
    pub fn inner(&self) -> &dyn Target {
        &*self.inner
    }

    /// The target behind the faults, to be changed from outside.
    pub fn inner_mut(&mut self) -> &mut dyn Target {
        &mut *self.inner
    }

    /// Accesses so far.
    pub fn accesses(&self) -> u64 {
        self.state.accesses
    }

    /// What the target said, or a fault in its place.
    fn pass(&mut self, command: &Command, reply: Reply) -> Reply {
        let Reply::Medium(access) = reply else { return reply };
        self.state.accesses = self.state.accesses.saturating_add(1);
        let n = self.state.accesses;
        let hits = |f: &&Fault| n >= f.access && n - f.access < f.times;
        match self.faults.iter().filter(|f| f.kind != FaultKind::Vanish).find(hits).map(|f| f.kind) {
            Some(FaultKind::Attention) => self.inner.refuse(command, Sense::RESET),
            Some(FaultKind::Hang) => Reply::Held,
            Some(FaultKind::MediumError) => {
                let result = MediumResult::Failed { failure: Failure::Medium, offset: start(&access) };
                self.inner.medium_done(command, &access, result)
            }
            _ => Reply::Medium(access),
        }
    }

    /// The fault that keeps it from answering a selection.
    fn vanished(&self) -> Option<usize> {
        self.faults.iter().zip(&self.state.missed).position(|(fault, missed)| {
            fault.kind == FaultKind::Vanish && self.state.accesses >= fault.access && *missed < fault.times
        })
    }
}

/// First byte of an access on the medium.
fn start(access: &Access) -> u64 {
    match access {
        Access::Read(range)
        | Access::Write { range, .. }
        | Access::Verify(range)
        | Access::Compare(range)
        | Access::WriteSame { range, .. } => range.offset,
        Access::Discard(ranges) => ranges.first().map_or(0, |range| range.offset),
        Access::Flush => 0,
    }
}

impl Target for Faulty {
    fn command(&mut self, command: &Command) -> Reply {
        let reply = self.inner.command(command);
        self.pass(command, reply)
    }

    fn data_out(&mut self, command: &Command, data: &[u8]) -> Reply {
        let reply = self.inner.data_out(command, data);
        self.pass(command, reply)
    }

    fn medium_done(&mut self, command: &Command, access: &Access, result: MediumResult) -> Reply {
        self.inner.medium_done(command, access, result)
    }

    fn reset(&mut self, reset: Reset) {
        self.inner.reset(reset);
    }

    fn sense(&self, initiator: u8) -> Sense {
        self.inner.sense(initiator)
    }

    fn refuse(&mut self, command: &Command, sense: Sense) -> Reply {
        self.inner.refuse(command, sense)
    }

    fn block_bytes(&self) -> u32 {
        self.inner.block_bytes()
    }

    fn selected(&mut self) -> bool {
        if let Some(n) = self.vanished() {
            self.state.missed[n] = self.state.missed[n].saturating_add(1);
            return false;
        }
        self.inner.selected()
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
        self.inner.save(w);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        if state.missed.len() != self.faults.len() {
            return Err(StateError::Invalid {
                section: SECTION.to_string(),
                what: "the saved target had other faults".to_string(),
            });
        }
        self.inner.restore(r)?;
        self.state = state;
        Ok(())
    }
}
