//! Threads that carry out requests of slow media, so that the machine runs on meanwhile.
//!
//! Requests of one drive that touch the same bytes are carried out in the order they came, unless both only read; a flush waits for every earlier
//! write of its drive. All others go at once, as far as there are threads; a drive whose medium hangs takes neither all threads nor the room of others.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use slotone_block::{BlockBackend, BlockError, Completion, Operation, Outcome, Request, perform_with};

use crate::disk_errors::Failure;
use crate::host_time::clock;
use crate::network::Doorbell;

/// Threads of one machine at most, besides one for each drive that none of them serves.
const MOST_THREADS: usize = 16;
/// Requests of one drive that are carried out at once.
const MOST_OF_A_DRIVE: usize = 8;
/// How long is waited for media: as long as Linux waits for a command.
const PATIENCE: Duration = Duration::from_secs(30);
/// Requests, and bytes of their data, with which no more is taken for a drive; a guest that gives up what it asked for, again and again, comes to this.
const MOST_REQUESTS: usize = 256;
const MOST_BYTES: usize = 4 << 20;

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
    /// The machine asks; the controller does not know.
    pub(crate) own: bool,
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
    /// Why it failed.
    pub(crate) failure: Option<Failure>,
    /// It is none of the controller's.
    pub(crate) own: bool,
    pub(crate) started: Instant,
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

/// What is out to one drive.
#[derive(Debug, Default)]
struct Queue {
    /// In the order it came.
    entries: Vec<Entry>,
    /// What a thread may take, in this order.
    ready: VecDeque<u64>,
    /// How many threads are at it.
    begun: usize,
    bytes: usize,
}

impl Queue {
    fn is_full(&self) -> bool {
        self.entries.len() >= MOST_REQUESTS || self.bytes >= MOST_BYTES
    }

    /// Something is ready, and no thread is at it.
    fn starves(&self) -> bool {
        self.begun == 0 && !self.ready.is_empty()
    }

    /// So many may be begun, as far as it is the drive's own matter.
    fn room(&self) -> usize {
        self.ready.len().min(MOST_OF_A_DRIVE - self.begun.min(MOST_OF_A_DRIVE))
    }
}

#[derive(Default)]
struct State {
    /// What is out, by drive; a drive with nothing out is not there.
    lanes: BTreeMap<Lane, Queue>,
    next: u64,
    done: Vec<Done>,
    threads: Vec<JoinHandle<()>>,
    /// Of these, those with nothing to do, or that have only been started.
    idle: usize,
    stop: bool,
    doorbell: Option<Doorbell>,
}

impl State {
    fn add(&mut self, job: Job) {
        let (effect, bytes, number) = (Effect::of(&job.request), job.request.data.len(), self.next);
        self.next += 1;
        let queue = self.lanes.entry(job.lane()).or_default();
        let ready = !queue.entries.iter().any(|e| effect.after(e.effect));
        queue.entries.push(Entry { number, effect, bytes, job: Some(job), ready });
        queue.bytes += bytes;
        if ready {
            queue.ready.push_back(number);
        }
    }

    /// Begins a request: of a drive with none begun, as the others' may hang, or else the one that came first.
    fn take(&mut self) -> Option<(u64, Job)> {
        let room = self.busy() < MOST_THREADS;
        let may = |queue: &&mut Queue| queue.starves() || room && queue.room() > 0;
        let first = |queue: &&mut Queue| (queue.begun > 0, queue.ready.front().copied());
        let queue = self.lanes.values_mut().filter(may).min_by_key(first)?;
        let number = queue.ready.pop_front()?;
        let job = queue.entries.iter_mut().find(|e| e.number == number)?.job.take()?;
        queue.begun += 1;
        Some((number, job))
    }

    /// Threads at work.
    fn busy(&self) -> usize {
        self.lanes.values().map(|queue| queue.begun).sum()
    }

    /// So many requests could be begun now. Media that hang must not hold the others: each drive may have one begun whatever others do.
    fn room(&self) -> usize {
        let room: usize = self.lanes.values().map(Queue::room).sum();
        let starving = self.lanes.values().filter(|queue| queue.starves()).count();
        room.min(MOST_THREADS.saturating_sub(self.busy())).max(starving)
    }

    /// A request is over: those that waited for nothing else may go.
    fn finish(&mut self, lane: Lane, number: u64) {
        let Some(queue) = self.lanes.get_mut(&lane) else { return };
        let out = &mut queue.entries;
        if let Some(at) = out.iter().position(|e| e.number == number) {
            queue.begun -= 1;
            queue.bytes -= out.remove(at).bytes;
        }
        for i in 0..out.len() {
            let effect = out[i].effect;
            if !out[i].ready && !out[..i].iter().any(|e| effect.after(e.effect)) {
                out[i].ready = true;
                queue.ready.push_back(out[i].number);
            }
        }
        if out.is_empty() {
            self.lanes.remove(&lane);
        }
    }

    /// Forgets what no thread has begun of a controller, or of all; how many these were.
    fn drop_unbegun(&mut self, device: Option<u16>) -> usize {
        let mut dropped = 0;
        self.lanes.retain(|lane, queue| {
            if device.is_none_or(|device| device == lane.0) {
                queue.ready.clear();
                let before = queue.entries.len();
                queue.entries.retain(|e| e.job.is_none());
                queue.bytes = queue.entries.iter().map(|e| e.bytes).sum();
                dropped += before - queue.entries.len();
            }
            !queue.entries.is_empty()
        });
        dropped
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

    /// Starts a thread if there is more to do than threads to do it.
    fn staff(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        if state.room() > state.idle {
            self.start_thread(state)?;
        }
        Ok(())
    }

    fn start_thread(self: &Arc<Self>, state: &mut State) -> std::io::Result<()> {
        let shared = Arc::clone(self);
        let name = format!("disks {}", state.threads.len());
        state.threads.push(std::thread::Builder::new().name(name).spawn(move || shared.work())?);
        state.idle += 1;
        Ok(())
    }

    /// A thread's life.
    fn work(self: &Arc<Self>) {
        let mut since = clock();
        let mut state = self.lock();
        state.idle -= 1;
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
            if state.room() > 0 {
                // Another has its turn; if the host gives no thread, it has to wait for one of those there are.
                let _ = self.staff(&mut state);
                self.work.notify_one();
            }
            drop(state);
            let lane = job.lane();
            let mut done = carry_out(job);
            done.computed = clock().saturating_sub(since);
            since += done.computed;
            state = self.lock();
            state.finish(lane, number);
            state.done.push(done);
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
    let Job { device, epoch, medium, request, own } = job;
    let (id, unit, operation) = (request.id, request.unit, request.operation);
    let (started, mut reason) = (Instant::now(), None);
    let result =
        catch_unwind(AssertUnwindSafe(|| perform_with(Some(&*medium), request, |e| reason = Some(e))));
    let nanos = started.elapsed().as_nanos() as u64;
    let completion = result.unwrap_or_else(|_| {
        reason = Some(BlockError::Io(std::io::Error::other("the program's code for this medium panicked")));
        Completion { id, outcome: Outcome::MediumError, data: Vec::new() }
    });
    // The medium is given back before anybody hears of the end: it may be the last to hold a file open.
    let named = move || reason.map(|reason| Failure { medium: medium.info().name.clone(), reason });
    let failure = catch_unwind(AssertUnwindSafe(named)).unwrap_or_default();
    Done { device, epoch, unit, operation, completion, failure, own, started, nanos, computed: 0 }
}

/// The threads of one machine, started when they are needed. Dropping it waits for requests that are being carried out, within its patience, and
/// forgets the rest, which nobody was told to be done. A thread whose medium does not answer is left to it: it ends when the medium does answer.
pub(crate) struct Pool {
    shared: Arc<Shared>,
    /// Requests that were taken and not given back.
    out: usize,
    /// How long is waited for media.
    pub(crate) patience: Duration,
    /// A controller has kept a request because too much was out.
    pub(crate) kept: bool,
}

impl Default for Pool {
    fn default() -> Self {
        Self { shared: Arc::default(), out: 0, patience: PATIENCE, kept: false }
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

    /// Whether something is out to a drive.
    pub(crate) fn is_busy(&self, lane: Lane) -> bool {
        self.out > 0 && self.shared.lock().lanes.contains_key(&lane)
    }

    /// Whether something is out to a drive that changes it or makes it durable.
    pub(crate) fn is_writing(&self, lane: Lane) -> bool {
        let writes = |queue: &Queue| queue.entries.iter().any(|e| !matches!(e.effect, Effect::Read(..)));
        self.out > 0 && self.shared.lock().lanes.get(&lane).is_some_and(writes)
    }

    /// The drives of a controller of which no more is to be taken, so much is out to them.
    pub(crate) fn full(&self, device: u16) -> Vec<u8> {
        if self.out == 0 {
            return Vec::new();
        }
        let state = self.shared.lock();
        let queues = state.lanes.range((device, 0)..=(device, u8::MAX));
        queues.filter(|(_, queue)| queue.is_full()).map(|(lane, _)| lane.1).collect()
    }

    /// Takes a request.
    ///
    /// # Errors
    /// The request back if the host has no thread to give.
    pub(crate) fn submit(&mut self, job: Job) -> Result<(), Job> {
        let mut state = self.shared.lock();
        if state.threads.is_empty() && self.shared.start_thread(&mut state).is_err() {
            return Err(job);
        }
        state.add(job);
        // One more if the host gives it.
        let _ = self.shared.staff(&mut state);
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

    /// Forgets what no thread has begun for a controller.
    pub(crate) fn forget_unbegun(&mut self, device: u16) {
        if self.out > 0 {
            self.out -= self.shared.lock().drop_unbegun(Some(device));
            self.shared.over.notify_all();
        }
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
            state.drop_unbegun(None);
            state.stop = true;
            state.doorbell = None;
        }
        self.shared.work.notify_all();
        let answered = self.wait().is_ok();
        let threads = std::mem::take(&mut self.shared.lock().threads);
        for thread in threads.into_iter().filter(|thread| answered || thread.is_finished()) {
            // It has caught every panic.
            let _ = thread.join();
        }
    }
}
