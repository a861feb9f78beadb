//! Threads that carry out requests of slow media, so that the machine runs on meanwhile.
//!
//! Requests of one drive that touch the same bytes are carried out in the order they came, unless both only read; a flush waits for every earlier
//! write of its drive. All others go at once, as far as there are threads.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slotone_block::{BlockBackend, Completion, Operation, Outcome, Request, perform};

use crate::host_time::clock;
use crate::network::Doorbell;

/// Threads of one machine at most.
const MOST_THREADS: usize = 16;
/// How long is waited for media: as long as Linux waits for a command.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests, and bytes of their data, with which no more is taken; a guest that gives up what it asked for, again and again, comes to this.
const MOST_REQUESTS: usize = 1024;
const MOST_BYTES: usize = 128 << 20;

/// A drive: its controller and its unit there.
pub(crate) type Lane = (u16, u8);

/// A request on its way to a medium.
#[derive(Debug)]
pub(crate) struct Job {
    /// The controller.
    pub(crate) device: u16,
    /// The controller's life, which a reset ends.
    pub(crate) epoch: u32,
    pub(crate) medium: Arc<dyn BlockBackend>,
    pub(crate) request: Request,
}

impl Job {
    fn lane(&self) -> Lane {
        (self.device, self.request.unit)
    }
}

/// A request that was carried out.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) device: u16,
    pub(crate) epoch: u32,
    pub(crate) unit: u8,
    pub(crate) operation: Operation,
    pub(crate) completion: Completion,
    /// Nanoseconds that it took.
    pub(crate) nanos: u64,
    /// Nanoseconds of processor time that its thread took for it.
    pub(crate) computed: u64,
}

/// What a request does to which bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Effect {
    Read(u64, u64),
    Write(u64, u64),
    Flush,
}

impl Effect {
    fn of(request: &Request) -> Self {
        let end = |len: u64| request.offset.saturating_add(len);
        match request.operation {
            Operation::Read => Self::Read(request.offset, end(request.data.len() as u64)),
            Operation::Write { .. } => Self::Write(request.offset, end(request.data.len() as u64)),
            Operation::Discard { len } => Self::Write(request.offset, end(len)),
            Operation::Flush => Self::Flush,
        }
    }

    /// Whether it must wait for `earlier`.
    fn after(self, earlier: Self) -> bool {
        let overlap = |(a, b): (u64, u64), (c, d): (u64, u64)| a < d && c < b;
        match (self, earlier) {
            (Self::Read(a, b) | Self::Write(a, b), Self::Write(c, d))
            | (Self::Write(a, b), Self::Read(c, d)) => overlap((a, b), (c, d)),
            (Self::Flush, Self::Write(..)) => true,
            _ => false,
        }
    }
}

/// A request that is out.
#[derive(Debug)]
struct Entry {
    number: u64,
    effect: Effect,
    bytes: usize,
    /// It, until a thread takes it.
    job: Option<Job>,
    /// It waits for no earlier one.
    ready: bool,
}

#[derive(Default)]
struct State {
    /// What is out, in the order it came, by drive.
    lanes: BTreeMap<Lane, Vec<Entry>>,
    /// What a thread may take, in this order.
    ready: VecDeque<(Lane, u64)>,
    next: u64,
    requests: usize,
    bytes: usize,
    done: Vec<Done>,
    /// Threads with nothing to do.
    idle: usize,
    stop: bool,
    doorbell: Option<Doorbell>,
}

impl State {
    fn must_wait(&self, lane: Lane, effect: Effect) -> bool {
        self.lanes.get(&lane).is_some_and(|out| out.iter().any(|e| effect.after(e.effect)))
    }

    fn add(&mut self, job: Job) {
        let (lane, effect) = (job.lane(), Effect::of(&job.request));
        let (number, bytes, ready) = (self.next, job.request.data.len(), !self.must_wait(lane, effect));
        self.next += 1;
        self.requests += 1;
        self.bytes += bytes;
        self.lanes.entry(lane).or_default().push(Entry { number, effect, bytes, job: Some(job), ready });
        if ready {
            self.ready.push_back((lane, number));
        }
    }

    fn take(&mut self) -> Option<(u64, Job)> {
        let (lane, number) = self.ready.pop_front()?;
        let job = self.lanes.get_mut(&lane)?.iter_mut().find(|e| e.number == number)?.job.take()?;
        Some((number, job))
    }

    /// A request is over: those that waited for nothing else may go.
    fn finish(&mut self, lane: Lane, number: u64) {
        let Some(out) = self.lanes.get_mut(&lane) else { return };
        if let Some(at) = out.iter().position(|e| e.number == number) {
            self.requests -= 1;
            self.bytes -= out.remove(at).bytes;
        }
        for i in 0..out.len() {
            let effect = out[i].effect;
            if !out[i].ready && !out[..i].iter().any(|e| effect.after(e.effect)) {
                out[i].ready = true;
                self.ready.push_back((lane, out[i].number));
            }
        }
        if out.is_empty() {
            self.lanes.remove(&lane);
        }
    }

    /// Forgets what no thread has begun.
    fn drop_unbegun(&mut self) {
        self.ready.clear();
        self.lanes.values_mut().for_each(|out| out.retain(|e| e.job.is_none()));
        self.lanes.retain(|_, out| !out.is_empty());
        self.requests = self.lanes.values().map(Vec::len).sum();
        self.bytes = self.lanes.values().flatten().map(|e| e.bytes).sum();
    }
}

#[derive(Default)]
struct Shared {
    state: Mutex<State>,
    /// There is something to do for a thread.
    work: Condvar,
    /// A request is over.
    over: Condvar,
    /// There is something done that the machine was told of and has not taken.
    called: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics with the lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A thread's life.
    fn work(&self) {
        let mut since = clock();
        let mut state = self.lock();
        loop {
            if state.stop {
                return;
            }
            let Some((number, job)) = state.take() else {
                state.idle += 1;
                state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
                state.idle -= 1;
                since = clock();
                continue;
            };
            drop(state);
            let lane = job.lane();
            let mut done = carry_out(job);
            done.computed = clock().saturating_sub(since);
            since += done.computed;
            state = self.lock();
            state.finish(lane, number);
            state.done.push(done);
            if state.ready.len() > 1 {
                // This thread takes one of those that waited for the request.
                self.work.notify_all();
            }
            let doorbell = state.doorbell.clone().filter(|_| !self.called.swap(true, Ordering::SeqCst));
            drop(state);
            self.over.notify_all();
            if let Some(doorbell) = doorbell {
                doorbell();
            }
            state = self.lock();
        }
    }
}

/// Carries a request out. A medium that panics has failed; its panic has been told where panics are told.
fn carry_out(job: Job) -> Done {
    let Job { device, epoch, medium, request } = job;
    let (id, unit, operation) = (request.id, request.unit, request.operation);
    let started = Instant::now();
    // The medium is given back before anybody hears of the end: it may be the last to hold a file open.
    let result = catch_unwind(AssertUnwindSafe(move || perform(Some(&*medium), request)));
    let nanos = started.elapsed().as_nanos() as u64;
    let failed = |_| Completion { id, outcome: Outcome::MediumError, data: Vec::new() };
    Done { device, epoch, unit, operation, completion: result.unwrap_or_else(failed), nanos, computed: 0 }
}

/// The threads of one machine, started when they are needed. Dropping it waits for requests that are being carried out, within its patience, and
/// forgets the rest, which nobody was told to be done. A thread whose medium does not answer is left to it: it ends when the medium does answer.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    /// Requests that were taken and not given back.
    out: usize,
    /// How long is waited for media.
    pub(crate) patience: Duration,
    /// A controller has kept a request because too much was out.
    pub(crate) kept: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self { shared: Arc::default(), threads: Vec::new(), out: 0, patience: PATIENCE, kept: false }
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("out", &self.out).finish_non_exhaustive()
    }
}

impl Pool {
    pub(crate) fn set_doorbell(&self, doorbell: Doorbell) {
        self.shared.lock().doorbell = Some(doorbell);
    }

    /// Requests that were taken and not given back.
    pub(crate) fn out(&self) -> usize {
        self.out
    }

    /// Whether an earlier request, which is not over, must be over before this one.
    pub(crate) fn must_wait(&self, device: u16, request: &Request) -> bool {
        self.out > 0 && self.shared.lock().must_wait((device, request.unit), Effect::of(request))
    }

    /// So much is out that no more is to be taken.
    pub(crate) fn is_full(&self) -> bool {
        self.out > 0 && {
            let state = self.shared.lock();
            state.requests >= MOST_REQUESTS || state.bytes >= MOST_BYTES
        }
    }

    /// Takes a request.
    ///
    /// # Errors
    /// The request back if the host has no thread to give.
    pub(crate) fn submit(&mut self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        if state.idle <= state.ready.len() && self.threads.len() < MOST_THREADS {
            let shared = Arc::clone(&self.shared);
            let name = format!("disks {}", self.threads.len());
            match std::thread::Builder::new().name(name).spawn(move || shared.work()) {
                Ok(thread) => self.threads.push(thread),
                Err(_) if self.threads.is_empty() => return Err(job),
                Err(_) => {}
            }
        }
        state.add(job);
        drop(state);
        self.out += 1;
        self.shared.work.notify_one();
        Ok(())
    }

    /// Something was done.
    #[inline]
    pub(crate) fn called(&self) -> bool {
        self.out > 0 && self.shared.called.load(Ordering::SeqCst)
    }

    /// What was done since the last call.
    pub(crate) fn take(&mut self) -> Vec<Done> {
        if !self.called() {
            return Vec::new();
        }
        self.shared.called.store(false, Ordering::SeqCst);
        let done = std::mem::take(&mut self.shared.lock().done);
        self.out -= done.len();
        done
    }

    /// Waits until a drive has nothing out.
    ///
    /// # Errors
    /// The drive, if it takes longer than the patience.
    pub(crate) fn wait_for(&self, lane: Lane) -> Result<(), Lane> {
        self.wait_while(|state| state.lanes.contains_key(&lane).then_some(lane))
    }

    /// Waits until nothing is out.
    ///
    /// # Errors
    /// A drive that takes longer than the patience.
    pub(crate) fn wait(&self) -> Result<(), Lane> {
        self.wait_while(|state| state.lanes.keys().next().copied())
    }

    fn wait_while(&self, busy: impl Fn(&State) -> Option<Lane>) -> Result<(), Lane> {
        let began = Instant::now();
        let mut state = self.shared.lock();
        while let Some(lane) = busy(&state) {
            let left = self.patience.checked_sub(began.elapsed()).ok_or(lane)?;
            state = self.shared.over.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Nobody hears of what was done; nothing is out.
    pub(crate) fn forget(&mut self) {
        let mut state = self.shared.lock();
        state.done.clear();
        self.shared.called.store(false, Ordering::SeqCst);
        drop(state);
        self.out = 0;
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        {
            let mut state = self.shared.lock();
            state.drop_unbegun();
            state.stop = true;
            state.doorbell = None;
        }
        self.shared.work.notify_all();
        let answered = self.wait().is_ok();
        for thread in self.threads.drain(..).filter(|thread| answered || thread.is_finished()) {
            // It has caught every panic.
            let _ = thread.join();
        }
    }
}
