//! Slow media: the machine runs on while threads carry its requests out, and nothing comes in another order than it must.
//!
//! The media here do nothing until the test lets them; no test depends on how fast anything is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use slotone_block::layers::ReadOnly;
use slotone_block::memory::MemoryDisk;
use slotone_block::{
    BlockBackend, BlockError, Completion, DiskClient, MediumInfo, Operation, Outcome, Request, Result,
};
use slotone_bus::state::{Encode, StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window, WindowId,
};
use slotone_vmm_core::{
    ClockMode, DeviceId, HashError, Machine, Remote, RestoreError, RunExit, Sink, VirtualServer2005,
    virtual_server_2005,
};

/// How long a test waits for what must come, on the busiest host.
const PATIENCE: Duration = Duration::from_secs(60);
const IRQ: Pin = Pin(0);
/// A port of the controller that the guest can reach by `OUT imm8, AL`.
const PORT: u16 = 0xe0;

/// A controller of many drives that passes requests on, and raises its pin when one has been completed and the guest knows what to do then. A write to its port takes it back and stops the machine.
struct Controller {
    windows: [Window; 1],
    asked: VecDeque<Request>,
    /// Handed out and not completed.
    out: BTreeMap<u64, Request>,
    done: Vec<Completion>,
    unknown: usize,
    news: bool,
    next: u64,
    written: u64,
    /// The guest has a handler.
    armed: bool,
    remote: Option<Remote>,
}

impl Controller {
    fn new() -> Self {
        Self {
            windows: [Window::io(WindowId(0), PORT, 1)],
            asked: VecDeque::new(),
            out: BTreeMap::new(),
            done: Vec::new(),
            unknown: 0,
            news: false,
            next: 0,
            written: 0,
            armed: false,
            remote: None,
        }
    }

    fn ask(&mut self, unit: u8, operation: Operation, offset: u64, data: Vec<u8>) -> u64 {
        self.next += 1;
        self.asked.push_back(Request { id: self.next, unit, operation, offset, data, due: 0 });
        self.next
    }
}

impl Device for Controller {
    fn windows(&self) -> (Generation, &[Window]) {
        (Generation(0), &self.windows)
    }
    fn read(&mut self, _: &mut Cx<'_>, _: At, data: &mut [u8]) {
        data.fill(0);
    }
    fn write(&mut self, cx: &mut Cx<'_>, _: At, _: &[u8]) {
        self.written += 1;
        cx.line(IRQ, false);
        self.remote.as_ref().unwrap().stop();
    }
    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        self.news.then_some(VmInstant::ZERO)
    }
    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.news = false;
        cx.line(IRQ, self.armed);
    }
    /// Forgets what it asked, and its numbers begin anew: what a machine must not be confused by.
    fn reset(&mut self, _: ResetKind) {
        *self = Self { remote: self.remote.take(), ..Self::new() };
    }
    fn save(&self, w: &mut StateWriter) {
        self.next.encode(w);
        let open: Vec<&Request> = self.out.values().chain(&self.asked).collect();
        (open.len() as u64).encode(w);
        for r in open {
            assert_eq!(r.operation, Operation::Read);
            (r.id << 8 | u64::from(r.unit)).encode(w);
            r.offset.encode(w);
            (r.data.len() as u64).encode(w);
        }
    }
    fn restore(&mut self, r: &mut StateReader<'_>) -> std::result::Result<(), StateError> {
        self.reset(ResetKind::Power);
        self.next = u64::decode(r)?;
        for _ in 0..u64::decode(r)? {
            let (id, offset, len) = (u64::decode(r)?, u64::decode(r)?, u64::decode(r)?);
            let data = vec![0; len as usize];
            let (id, unit) = (id >> 8, id as u8);
            self.asked.push_back(Request { id, unit, operation: Operation::Read, offset, data, due: 0 });
        }
        Ok(())
    }
    fn inspect(&self, _: &mut Inspector<'_>) {}
}

impl DiskClient for Controller {
    fn next_request(&mut self) -> Option<Request> {
        let request = self.asked.pop_front()?;
        self.out.insert(request.id, request.clone());
        Some(request)
    }
    fn complete(&mut self, completion: Completion) {
        match self.out.remove(&completion.id) {
            Some(_) => self.done.push(completion),
            None => self.unknown += 1,
        }
        self.news = true;
    }
}

/// What a medium was asked: its operation and first byte.
type Op = (char, u64);

#[derive(Debug, Default)]
struct GateState {
    shut: bool,
    /// What may go goes at once.
    fast: bool,
    panics: bool,
    flushes: usize,
    /// Writes find the host's disk full.
    full: bool,
    /// What came in, in order.
    entered: Vec<Op>,
    /// What may go.
    let_go: Vec<Op>,
}

impl GateState {
    fn may_go(&mut self, op: Op) -> bool {
        let at = self.let_go.iter().position(|o| *o == op);
        at.map(|at| self.let_go.remove(at)).is_some()
    }
}

/// A medium that is slow and, once it is shut, lets nothing go before it is told to.
#[derive(Debug)]
struct Gate {
    disk: MemoryDisk,
    state: Mutex<GateState>,
    changed: Condvar,
}

impl Gate {
    fn new() -> Arc<Self> {
        let disk = MemoryDisk::new(1 << 20);
        Arc::new(Self { disk, state: Mutex::default(), changed: Condvar::new() })
    }

    fn pass(&self, op: Op) {
        let mut state = self.state.lock().unwrap();
        if !state.shut {
            let fast = state.fast;
            drop(state);
            if !fast {
                std::thread::sleep(Duration::from_millis(1));
            }
            return;
        }
        state.entered.push(op);
        self.changed.notify_all();
        if std::mem::take(&mut state.panics) {
            drop(state);
            panic!("a medium that panics, as the test wants it");
        }
        while !state.may_go(op) {
            let (next, late) = self.changed.wait_timeout(state, PATIENCE).unwrap();
            assert!(!late.timed_out(), "nobody lets {op:?} go");
            state = next;
        }
        let fast = state.fast;
        drop(state);
        if !fast {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn let_go(&self, ops: &[Op]) {
        self.state.lock().unwrap().let_go.extend(ops);
        self.changed.notify_all();
    }

    /// Waits until so many operations have come in, and returns them all.
    fn entered(&self, n: usize) -> Vec<Op> {
        let mut state = self.state.lock().unwrap();
        while state.entered.len() < n {
            let (next, late) = self.changed.wait_timeout(state, PATIENCE).unwrap();
            assert!(!late.timed_out(), "{n} operations do not come: {:?}", next.entered);
            state = next;
        }
        state.entered.clone()
    }
}

impl BlockBackend for Gate {
    fn info(&self) -> &MediumInfo {
        self.disk.info()
    }
    fn read_at(&self, offset: u64, bufs: &mut [std::io::IoSliceMut<'_>]) -> Result<()> {
        self.pass(('r', offset));
        self.disk.read_at(offset, bufs)
    }
    fn write_at(&self, offset: u64, bufs: &[std::io::IoSlice<'_>], fua: bool) -> Result<()> {
        self.pass(('w', offset));
        if self.state.lock().unwrap().full {
            return Err(BlockError::NoSpace);
        }
        self.disk.write_at(offset, bufs, fua)
    }
    fn flush(&self) -> Result<()> {
        self.state.lock().unwrap().flushes += 1;
        self.pass(('f', 0));
        self.disk.flush()
    }
}

struct Bench {
    machine: Machine,
    id: DeviceId,
    gates: Vec<Arc<Gate>>,
}

impl Bench {
    /// A machine with a controller and so many drives, which have been slow already and are shut.
    fn new(drives: usize, clock: ClockMode) -> Self {
        let mut this = Self::open(drives, clock);
        for unit in 0..drives as u8 {
            for operation in [Operation::Read, Operation::Write { fua: false }] {
                this.ask(unit, operation, 0, vec![0; 512]);
            }
        }
        let done = this.take_done();
        assert_eq!(done.len(), 2 * drives, "what is slow for the first time is carried out at once");
        for gate in &this.gates {
            gate.state.lock().unwrap().shut = true;
        }
        this
    }

    /// The same, of whose drives nothing is known and which are open.
    fn open(drives: usize, clock: ClockMode) -> Self {
        let config = VirtualServer2005 { memory_mib: 4, clock, ..VirtualServer2005::new() };
        let mut builder = virtual_server_2005(&config).unwrap();
        let id = builder.add("controller", Controller::new()).unwrap();
        let gates: Vec<Arc<Gate>> = (0..drives).map(|_| Gate::new()).collect();
        let media = gates.iter().map(|g| Some(Arc::clone(g) as Arc<dyn BlockBackend>)).collect();
        builder.media::<Controller>(id, media).wire(id, IRQ, Sink::CpuNmi);
        let mut machine = builder.build().unwrap();
        let remote = machine.remote();
        machine.with(id, |c: &mut Controller, _| c.remote = Some(remote));
        Self { machine, id, gates }
    }

    fn ask(&mut self, unit: u8, operation: Operation, offset: u64, data: Vec<u8>) -> u64 {
        self.machine.with(self.id, |c: &mut Controller, _| c.ask(unit, operation, offset, data)).unwrap()
    }

    fn read(&mut self, unit: u8, offset: u64) -> u64 {
        self.ask(unit, Operation::Read, offset, vec![0; 512])
    }

    fn write(&mut self, unit: u8, offset: u64, byte: u8, len: usize) -> u64 {
        self.ask(unit, Operation::Write { fua: false }, offset, vec![byte; len])
    }

    fn controller(&self) -> &Controller {
        self.machine.device(self.id).unwrap()
    }

    fn take_done(&mut self) -> Vec<Completion> {
        self.machine.with(self.id, |c: &mut Controller, _| std::mem::take(&mut c.done)).unwrap()
    }

    /// Runs the machine until so many requests are completed.
    fn run_for(&mut self, completions: usize) {
        let began = Instant::now();
        while self.controller().done.len() < completions {
            assert!(began.elapsed() < PATIENCE, "{completions} completions do not come");
            self.run_some();
        }
    }

    /// A millisecond.
    fn run_some(&mut self) {
        let until = self.machine.now() + 1_000_000;
        assert_eq!(self.machine.run(until), RunExit::Limit);
    }
}

#[test]
fn the_processor_runs_while_a_request_is_out() {
    let mut b = Bench::new(1, ClockMode::Real);
    b.read(0, 512);
    b.gates[0].entered(1);
    let before = b.machine.retired();
    for _ in 0..20 {
        b.run_some();
    }
    assert!(b.machine.retired() > before + 1_000, "{}", b.machine.retired() - before);
    assert!(b.take_done().is_empty());
    b.gates[0].let_go(&[('r', 512)]);
    b.run_for(1);
    assert_eq!(b.take_done()[0].outcome, Outcome::Done);
}

#[test]
fn many_requests_of_many_drives_are_out_at_once() {
    let mut b = Bench::new(4, ClockMode::Real);
    for unit in 0..4 {
        b.read(unit, 512);
        b.read(unit, 4096);
    }
    for gate in &b.gates {
        gate.entered(2);
    }
    // Another order than they came in.
    for gate in b.gates.iter().rev() {
        gate.let_go(&[('r', 4096), ('r', 512)]);
    }
    b.run_for(8);
}

#[test]
fn what_overlaps_stays_in_order_and_a_flush_waits_for_writes() {
    let mut b = Bench::new(2, ClockMode::Real);
    let first = b.write(0, 512, 1, 1024);
    let second = b.write(0, 1024, 2, 1024);
    let behind = b.read(0, 1536);
    // None of these has to wait: other bytes, another drive.
    let elsewhere = b.read(0, 8192);
    b.write(0, 16384, 3, 512);
    let flush = b.ask(0, Operation::Flush, 0, Vec::new());
    b.read(1, 1024);
    let gates = b.gates.clone();
    gates[1].entered(1);
    let mut came = gates[0].entered(3);
    came.sort_unstable();
    assert_eq!(came, [('r', 8192), ('w', 512), ('w', 16384)]);
    gates[0].let_go(&[('r', 8192)]);
    gates[1].let_go(&[('r', 1024)]);
    b.run_for(2);
    assert_eq!(gates[0].entered(3).len(), 3, "nothing else began");
    gates[0].let_go(&[('w', 512)]);
    assert_eq!(gates[0].entered(4)[3], ('w', 1024));
    gates[0].let_go(&[('w', 1024)]);
    // The read goes on; the flush still waits for the write elsewhere.
    assert_eq!(gates[0].entered(5)[4], ('r', 1536));
    gates[0].let_go(&[('r', 1536), ('w', 16384)]);
    assert_eq!(gates[0].entered(6)[5], ('f', 0));
    gates[0].let_go(&[('f', 0)]);
    b.run_for(7);
    let done = b.take_done();
    assert!(done.iter().all(|d| d.outcome == Outcome::Done));
    let at = |id| done.iter().position(|d| d.id == id).unwrap();
    assert!(at(first) < at(second) && at(second) < at(behind) && at(second) < at(flush));
    assert!(at(elsewhere) < at(first));
    assert_eq!(done[at(behind)].data, [2; 512]);
}

/// A medium is slow for what it was slow for. As long as something slow is out, what would be fast goes to a thread as well, for the medium may hold a
/// lock; and it comes after what it overlaps.
#[test]
fn what_is_fast_is_not_carried_out_at_once_while_something_slow_is_out() {
    let mut b = Bench::open(1, ClockMode::Real);
    let gate = Arc::clone(&b.gates[0]);
    b.read(0, 512);
    assert_eq!(b.take_done().len(), 1);
    gate.state.lock().unwrap().shut = true;
    b.read(0, 1024);
    gate.entered(1);
    // The first writes: nothing is known of them. Here they return although the gate is shut.
    b.write(0, 1024, 7, 512);
    b.write(0, 8192, 8, 512);
    let before = b.machine.retired();
    b.run_some();
    assert!(b.machine.retired() > before);
    assert_eq!(gate.entered(2)[1], ('w', 8192), "the other write waits for the read");
    gate.let_go(&[('w', 8192), ('r', 1024)]);
    gate.entered(3);
    gate.let_go(&[('w', 1024)]);
    b.run_for(3);
    assert_eq!(b.take_done().iter().find(|d| d.data.len() == 512 && d.id == 2).unwrap().data, [0; 512]);

    // Once nothing is out, and requests are fast again, they are carried out in the call that asks for them.
    {
        let mut state = gate.state.lock().unwrap();
        (state.fast, state.shut) = (true, false);
    }
    let began = Instant::now();
    loop {
        b.read(0, 1024);
        if b.take_done().len() == 1 {
            break;
        }
        b.run_for(1);
        assert_eq!(b.take_done()[0].data, [7; 512]);
        assert!(began.elapsed() < PATIENCE);
    }
}

/// What makes data durable, or works on ranges of any length, may take long on any host.
#[test]
fn flushes_and_discards_never_hold_the_machine() {
    let mut b = Bench::open(2, ClockMode::Real);
    b.gates.iter().for_each(|g| g.state.lock().unwrap().shut = true);
    b.ask(0, Operation::Flush, 0, Vec::new());
    b.ask(1, Operation::Write { fua: true }, 512, vec![1; 512]);
    b.run_some();
    b.gates[0].entered(1);
    b.gates[1].entered(1);
    b.ask(0, Operation::Discard { len: 512 }, 0, Vec::new());
    b.gates[0].let_go(&[('f', 0)]);
    b.gates[1].let_go(&[('w', 512)]);
    b.run_for(3);
}

#[test]
fn a_halted_machine_is_woken() {
    let mut b = Bench::new(1, ClockMode::Real);
    b.machine.physical_write(0x7c00, &[0xfb, 0xf4, 0xeb, 0xfd]); // STI; again: HLT; JMP again
    b.machine.physical_write(0x7d00, &[0xe6, PORT as u8, 0xcf]); // OUT PORT,AL; IRET
    b.machine.physical_write(4 * 2, &[0x00, 0x7d, 0x00, 0x00]);
    let mut cpu = b.machine.cpu().save();
    (cpu.segments[1].base, cpu.segments[1].selector, cpu.eip) = (0, 0, 0x7c00);
    (cpu.segments[2].base, cpu.segments[2].selector, cpu.gpr[4]) = (0, 0, 0x7000);
    b.machine.cpu_mut().load(&cpu).unwrap();
    let soon = b.machine.now() + 1_000_000;
    assert_eq!(b.machine.run(soon), RunExit::Dead, "nothing is out that could end the halt");
    b.machine.with(b.id, |c: &mut Controller, _| c.armed = true);
    let gate = Arc::clone(&b.gates[0]);
    const ROUNDS: u32 = 40;
    // Without the call the machine would look only every 100 ms.
    let began = Instant::now();
    for n in 1..=ROUNDS {
        b.read(0, 512);
        gate.entered(n as usize);
        let gate = Arc::clone(&gate);
        let slow = std::thread::spawn(move || {
            std::thread::yield_now();
            gate.let_go(&[('r', 512)]);
        });
        assert_eq!(b.machine.run(VmInstant::MAX), RunExit::Stopped);
        slow.join().unwrap();
        assert_eq!((b.controller().done.len(), b.controller().written), (n as usize, u64::from(n)));
    }
    assert!(began.elapsed() < Duration::from_millis(50) * ROUNDS, "{:?}", began.elapsed());
}

#[test]
fn a_medium_that_panics_has_failed_and_nothing_else_has() {
    let mut b = Bench::new(1, ClockMode::Real);
    b.gates[0].state.lock().unwrap().panics = true;
    // The medium's lock is not held in its panic; ours neither.
    let bad = b.write(0, 512, 1, 512);
    let good = b.read(0, 512);
    b.gates[0].let_go(&[('r', 512)]);
    b.run_for(2);
    let done = b.take_done();
    assert_eq!((done[0].id, done[0].outcome), (bad, Outcome::MediumError));
    assert_eq!((done[1].id, done[1].outcome, done[1].data.len()), (good, Outcome::Done, 512));
    let errors = b.machine.take_disk_errors();
    assert_eq!(errors.len(), 1);
    assert!(matches!(&errors[0].reason, BlockError::Io(e) if e.to_string().contains("panicked")));
}

/// Why a medium failed is kept for the host's user, once for each drive, whoever carried the request out.
#[test]
fn the_hosts_reason_for_a_failure_is_kept() {
    for clock in [ClockMode::Real, ClockMode::Counted] {
        let mut b = Bench::open(2, clock);
        assert!(b.machine.take_disk_errors().is_empty());
        b.gates[1].state.lock().unwrap().full = true;
        b.write(0, 512, 1, 512);
        // Carried out at once, then by threads as it was slow.
        for n in 0..3 {
            b.write(1, 512 * n, 1, 512);
        }
        // The guest's own mistake.
        b.read(0, 1 << 40);
        b.run_for(5);
        let outcomes = b.take_done().iter().filter(|d| d.outcome == Outcome::MediumError).count();
        assert_eq!(outcomes, 3);
        let errors = b.machine.take_disk_errors();
        assert_eq!(errors.len(), 1);
        let e = &errors[0];
        assert_eq!((e.controller.as_str(), e.drive, e.more), ("controller", 1, 2));
        assert_eq!(
            e.to_string(),
            "memory: a write failed: no space left on the host; make room there; until then the guest sees disk errors"
        );
        assert!(b.machine.take_disk_errors().is_empty());
    }
}

#[test]
fn a_machine_that_is_dropped_waits_for_what_was_begun_and_drops_the_rest() {
    let mut b = Bench::new(1, ClockMode::Real);
    b.write(0, 512, 1, 512);
    b.write(0, 512, 2, 512);
    let gate = Arc::clone(&b.gates[0]);
    gate.entered(1);
    let (sender, dropped) = std::sync::mpsc::channel();
    let dropper = std::thread::spawn(move || {
        drop(b);
        sender.send(()).unwrap();
    });
    assert!(dropped.recv_timeout(Duration::from_millis(50)).is_err(), "a write is being carried out");
    gate.let_go(&[('w', 512)]);
    dropped.recv_timeout(PATIENCE).unwrap();
    dropper.join().unwrap();
    assert_eq!(gate.entered(1), [('w', 512)], "the second was not begun");
    assert_eq!(Arc::strong_count(&gate), 1, "nobody has the medium any more");
    let mut data = [0; 512];
    slotone_block::read_exact(&gate.disk, 512, &mut data).unwrap();
    assert_eq!(data, [1; 512]);
}

#[test]
fn a_state_is_saved_when_nothing_is_out_and_asks_again_when_restored() {
    let mut b = Bench::new(1, ClockMode::Real);
    let gate = Arc::clone(&b.gates[0]);
    let id = b.read(0, 512);
    gate.entered(1);
    let saver = {
        let gate = Arc::clone(&gate);
        std::thread::spawn(move || gate.let_go(&[('r', 512)]))
    };
    let saved = b.machine.save().unwrap();
    saver.join().unwrap();
    assert_eq!(b.controller().out.len(), 1, "the controller has not heard of it");
    b.run_for(1);
    b.take_done();

    // Another request, of the number that the restored controller gives out next: it is forgotten.
    let later = b.read(0, 1024);
    assert_eq!(later, id + 1);
    gate.entered(2);
    let restorer = {
        let gate = Arc::clone(&gate);
        std::thread::spawn(move || gate.let_go(&[('r', 1024)]))
    };
    b.machine.restore(&saved).unwrap();
    restorer.join().unwrap();
    let remote = b.machine.remote();
    b.machine.with(b.id, |c: &mut Controller, _| c.remote = Some(remote));
    assert_eq!(gate.entered(3)[2], ('r', 512), "asked again");
    slotone_block::write_all(&gate.disk, 2048, &[9; 512]).unwrap();
    assert_eq!(b.read(0, 2048), later);
    gate.let_go(&[('r', 512), ('r', 2048)]);
    b.run_for(2);
    let done = b.take_done();
    let data = |id| done.iter().find(|d| d.id == id).unwrap().data.clone();
    assert_eq!((data(id), data(later)), (vec![0; 512], vec![9; 512]));
    assert_eq!(b.controller().unknown, 0);
}

#[test]
fn after_a_reset_old_answers_are_nobodys() {
    let mut b = Bench::new(1, ClockMode::Real);
    let before = b.machine.with(b.id, |c: &mut Controller, _| std::mem::take(&mut c.next)).unwrap();
    assert!(before > 0);
    let old = b.read(0, 512);
    b.gates[0].entered(1);
    b.machine.reset();
    let new = b.read(0, 1024);
    assert_eq!(old, new, "this controller counts anew");
    b.gates[0].entered(2);
    slotone_block::write_all(&b.gates[0].disk, 1024, &[5; 512]).unwrap();
    b.gates[0].let_go(&[('r', 512)]);
    for _ in 0..10 {
        b.run_some();
    }
    assert!(b.take_done().is_empty());
    b.gates[0].let_go(&[('r', 1024)]);
    b.run_for(1);
    assert_eq!(b.take_done()[0].data, [5; 512]);
}

#[test]
fn a_medium_leaves_its_drive_when_it_has_done_what_it_was_asked() {
    let mut b = Bench::new(1, ClockMode::Real);
    let gate = Arc::clone(&b.gates[0]);
    b.gates.clear();
    b.write(0, 512, 1, 512);
    b.write(0, 512, 2, 512);
    gate.entered(1);
    let other = {
        let gate = Arc::clone(&gate);
        std::thread::spawn(move || gate.let_go(&[('w', 512); 2]))
    };
    b.machine.set_medium(b.id, 0, None).unwrap();
    other.join().unwrap();
    assert_eq!((gate.entered(2).len(), Arc::strong_count(&gate)), (2, 1));
    b.read(0, 512);
    b.run_for(3);
    let outcomes: Vec<Outcome> = b.take_done().iter().map(|d| d.outcome).collect();
    // What is not in the drive answers at once.
    assert_eq!(outcomes, [Outcome::NotReady, Outcome::Done, Outcome::Done]);
}

#[test]
fn with_the_counted_clock_everything_is_done_in_its_call() {
    let mut b = Bench::new(1, ClockMode::Counted);
    let ops = [('w', 512), ('r', 512), ('f', 0)];
    b.gates[0].let_go(&ops);
    b.write(0, 512, 1, 512);
    b.read(0, 512);
    b.ask(0, Operation::Flush, 0, Vec::new());
    assert_eq!((b.take_done().len(), b.gates[0].entered(3)), (3, ops.to_vec()));
}

/// A medium that hangs: what waits for it gives up, says for whom it has waited, and may be tried again.
#[test]
fn what_waits_for_a_medium_that_hangs_gives_up() {
    let mut b = Bench::new(2, ClockMode::Real);
    let saved = b.machine.save().unwrap();
    b.machine.set_patience(Duration::from_millis(50));
    let remote = b.machine.remote();
    b.read(1, 512);
    b.gates[1].entered(1);

    let busy = b.machine.save().unwrap_err();
    assert_eq!((busy.controller.as_str(), busy.drive), ("controller", 1));
    assert_eq!(
        busy.to_string(),
        "memory, in drive 1 of controller, has not answered for 50ms; see what its storage on the host waits for, and try again"
    );
    assert_eq!(busy.medium, "memory");
    assert!(matches!(b.machine.state_hash(), Err(HashError::Busy(e)) if e == busy));
    assert_eq!(b.machine.set_medium(b.id, 1, None), Err(busy.clone()));
    b.machine.set_medium(b.id, 0, None).expect("the other drive has nothing to do");
    assert!(matches!(b.machine.restore(&saved), Err(RestoreError::Busy(e)) if e == busy));

    // The machine is as it was.
    assert_eq!(b.controller().out.len(), 1);
    b.run_some();
    b.gates[1].let_go(&[('r', 512)]);
    b.run_for(1);
    assert_eq!(b.take_done()[0].outcome, Outcome::Done);
    b.machine.save().unwrap();
    b.machine.restore(&saved).unwrap();
    b.machine.with(b.id, |c: &mut Controller, _| c.remote = Some(remote));
    b.machine.set_medium(b.id, 1, None).unwrap();
}

#[test]
fn a_machine_with_a_medium_that_hangs_can_be_dropped() {
    let mut b = Bench::new(1, ClockMode::Real);
    b.machine.set_patience(Duration::from_millis(50));
    b.write(0, 512, 1, 512);
    b.write(0, 512, 2, 512);
    b.read(0, 8192);
    let gate = Arc::clone(&b.gates[0]);
    gate.entered(2);
    let began = Instant::now();
    drop(b);
    assert!(began.elapsed() < PATIENCE / 2, "{:?}", began.elapsed());
    assert!(Arc::strong_count(&gate) > 1, "two threads are still waiting");
    // When it answers after all, they end; what was not begun was forgotten.
    gate.let_go(&[('w', 512), ('r', 8192)]);
    while Arc::strong_count(&gate) > 1 {
        assert!(began.elapsed() < PATIENCE, "a thread does not end");
        std::thread::yield_now();
    }
    assert_eq!(gate.entered(2).len(), 2);
}

#[test]
fn more_requests_than_are_taken_stay_in_their_controller_and_the_machine_runs() {
    const MANY: u64 = 1_200;
    let mut b = Bench::new(1, ClockMode::Real);
    for n in 0..MANY {
        b.read(0, 512 * n);
    }
    let out = b.controller().out.len();
    assert!((256..MANY as usize / 2).contains(&out), "{out}");
    let before = b.machine.retired();
    b.run_some();
    assert!(b.machine.retired() > before);
    let all: Vec<Op> = (0..MANY).map(|n| ('r', 512 * n)).collect();
    b.gates[0].let_go(&all);
    b.run_for(MANY as usize);
    assert!(b.controller().asked.is_empty() && b.controller().unknown == 0);
}

/// Three drives hang with all they are given, by number or by bytes, and the fourth answers as before.
#[test]
fn drives_that_hang_stop_no_other() {
    let mut b = Bench::new(4, ClockMode::Real);
    for n in 0..300 {
        b.read(0, 512 * n);
    }
    for n in 0..60 {
        b.write(1, 1024 * n, 1, 256 << 10);
        b.ask(2, Operation::Read, 0, vec![0; 128 << 10]);
    }
    for n in 1..=20 {
        b.read(3, 512 * n);
        b.write(3, 1024 * n, n as u8, 512);
        b.gates[3].let_go(&[('r', 512 * n), ('w', 1024 * n)]);
        b.run_for(2);
        assert!(b.take_done().iter().all(|d| d.outcome == Outcome::Done));
    }
    assert_eq!(b.gates[0].entered(8).len(), 8, "no drive takes all threads");
    // A guest that resets what does not answer can ask again; what was begun is still being carried out.
    b.machine.reset();
    assert_eq!(b.controller().out.len(), 0);
    b.read(0, 1 << 19);
    b.gates[0].let_go(&(0..8).map(|n| ('r', 512 * n)).chain([('r', 1 << 19)]).collect::<Vec<Op>>());
    b.run_for(1);
    assert_eq!(b.gates[0].entered(9)[8], ('r', 1 << 19));
    b.machine.set_patience(Duration::ZERO);
}

#[test]
fn what_threads_compute_is_their_controllers() {
    let mut b = Bench::new(1, ClockMode::Real);
    b.gates[0].let_go(&[('r', 512), ('r', 1024)]);
    b.read(0, 512);
    b.run_for(1);
    assert_eq!(b.machine.host_time(b.id).thread_seconds, 0.0, "nobody has asked");
    b.machine.measure_host_time(true);
    let began = Instant::now();
    b.read(0, 1024);
    b.run_for(2);
    let (all, seconds) = (began.elapsed().as_secs_f64(), b.machine.host_time(b.id).thread_seconds);
    assert!(seconds > 0.0 && seconds < all, "{seconds} of {all}");
}

/// What a guest wrote and does not flush is made durable when it has been quiet for two seconds of the host's time, once.
#[test]
fn a_drive_that_was_written_to_and_left_alone_is_flushed() {
    let mut real = Bench::open(4, ClockMode::Real);
    let mut counted = Bench::open(1, ClockMode::Counted);
    let read_only = ReadOnly::new(Arc::clone(&real.gates[3]));
    real.machine.set_medium(real.id, 3, Some(Arc::new(read_only))).unwrap();
    let began = Instant::now();
    counted.write(0, 512, 1, 512);
    real.write(0, 512, 1, 512);
    real.read(1, 512);
    real.write(2, 512, 1, 512);
    real.ask(2, Operation::Flush, 0, Vec::new());
    real.write(3, 512, 1, 512);
    real.run_for(5);
    let flushes = |b: &Bench| b.gates.iter().map(|g| g.state.lock().unwrap().flushes).collect::<Vec<_>>();
    assert_eq!(flushes(&real), [0, 0, 1, 0]);
    let mut run_until = |done: &dyn Fn(&Bench) -> bool| {
        while !done(&real) {
            assert!(began.elapsed() < PATIENCE);
            real.run_some();
            counted.run_some();
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    run_until(&|b| flushes(b)[0] > 0);
    assert!(began.elapsed() >= Duration::from_secs(2));
    // Nothing was written since.
    run_until(&|_| began.elapsed() > Duration::from_millis(4_500));
    assert_eq!(flushes(&real), [1, 0, 1, 0]);
    assert_eq!(flushes(&counted), [0], "the same run whatever the host's time");
    assert_eq!(
        (real.take_done().len(), real.controller().unknown),
        (5, 0),
        "the controller does not hear of it"
    );
    // Again, and while the flush hangs no second.
    real.gates[0].state.lock().unwrap().shut = true;
    real.gates[0].let_go(&[('w', 512)]);
    real.write(0, 512, 1, 512);
    let began = Instant::now();
    while began.elapsed() < Duration::from_millis(4_500) {
        real.run_some();
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(flushes(&real)[0], 2);
    real.gates[0].let_go(&[('f', 0)]);
}
