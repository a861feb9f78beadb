//! A machine: one CPU, one board, one owner.

use std::any::Any;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use slotone_block::BlockBackend;
use slotone_bus::cpu::{Cpu, CpuReset, Exit, KickHandle};
use slotone_bus::mem::Memory;
use slotone_bus::{Cx, Device, LentId, ResetKind, VmInstant};
use slotone_firmware::Firmware;
use slotone_net::{NetClient, NetPort};

use crate::board::{Board, BoardStats, DeviceId, Tell};
use crate::clock::ClockMode;
use crate::disk_errors::DiskError;
use crate::firmware::{Trap, service};
use crate::host_time::HostTime;
use crate::linux::LinuxImage;
use crate::save::DriveBusy;

/// Instructions between two looks at the host's clock and at the inbox: about 0.1 ms.
const SLICE: u64 = 20_000;

/// A halted guest whose time comes this soon is not left to the host's timers, which wake a thread later than that. An idle guest sleeps longer: to wait
/// for it this way would cost what sleeping saves.
const SHORT_WAIT: Duration = Duration::from_micros(60);

/// Why [`Machine::run`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RunExit {
    /// The time limit is reached.
    Limit,
    /// The guest switched the power off.
    PowerOff,
    /// Triple fault, and the machine stops on it.
    TripleFault {
        /// Instruction pointer at the fault.
        eip: u32,
    },
    /// HLT that nothing can end: interrupts are off, or no device has anything due and the host can send nothing.
    Dead,
    /// [`Remote::stop`] was called.
    Stopped,
    /// The CPU met something it cannot execute.
    Unsupported {
        /// Instruction pointer.
        eip: u32,
    },
}

/// What a machine does on a triple fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnTripleFault {
    /// Reset, as a PC does.
    #[default]
    Reset,
    /// End the run with [`RunExit::TripleFault`].
    Stop,
}

type Call = Box<dyn FnOnce(&mut Machine) + Send>;

enum Message {
    Call(Call),
    /// Something came for a network card.
    Wake,
    Stop,
}

/// Reaches a running machine from other threads. Clones freely; messages are carried out in order, between instructions.
#[derive(Clone)]
pub struct Remote {
    sender: Sender<Message>,
    kick: KickHandle,
}

impl std::fmt::Debug for Remote {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Remote").finish_non_exhaustive()
    }
}

impl Remote {
    /// Runs `call` on the machine's thread soon. Returns `false` if the machine is gone.
    pub fn call(&self, call: impl FnOnce(&mut Machine) + Send + 'static) -> bool {
        self.send(Message::Call(Box::new(call)))
    }

    /// Ends [`Machine::run`] with [`RunExit::Stopped`].
    pub fn stop(&self) -> bool {
        self.send(Message::Stop)
    }

    fn send(&self, message: Message) -> bool {
        let sent = self.sender.send(message).is_ok();
        self.kick.kick();
        sent
    }
}

/// A composed machine. It owns its CPU and every device, and is run by whoever calls [`Machine::run`]; two machines in one process
/// share nothing.
pub struct Machine {
    pub(crate) cpu: Box<dyn Cpu>,
    pub(crate) board: Board,
    pub(crate) firmware: Option<Firmware>,
    pub(crate) on_triple_fault: OnTripleFault,
    pub(crate) linux: Option<LinuxImage>,
    sender: Sender<Message>,
    inbox: Receiver<Message>,
    kick: KickHandle,
    resets: u64,
    /// Somebody outside may still send something, so idling is not death.
    wait_for_host: bool,
}

impl std::fmt::Debug for Machine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Machine").field("board", &self.board).finish_non_exhaustive()
    }
}

impl Machine {
    pub(crate) fn assemble(
        cpu: Box<dyn Cpu>,
        board: Board,
        firmware: Option<Firmware>,
        on_triple_fault: OnTripleFault,
        linux: Option<LinuxImage>,
    ) -> Self {
        let (sender, inbox) = channel();
        let kick = cpu.kick_handle();
        let mut machine = Self {
            cpu,
            board,
            firmware,
            on_triple_fault,
            linux,
            sender,
            inbox,
            kick,
            resets: 0,
            wait_for_host: false,
        };
        let (bell, kick) = (machine.sender.clone(), machine.kick.clone());
        machine.board.set_doorbell(Arc::new(move || {
            // A machine that is gone needs no waking.
            let _ = bell.send(Message::Wake);
            kick.kick();
        }));
        machine.board.settle_levels(Tell::All);
        machine.board.set_now(VmInstant::ZERO, machine.cpu.retired());
        machine
    }

    /// A handle for other threads.
    pub fn remote(&self) -> Remote {
        Remote { sender: self.sender.clone(), kick: self.kick.clone() }
    }

    /// Whether a guest that halts with nothing due waits for [`Remote`] messages instead of ending with [`RunExit::Dead`].
    pub fn set_wait_for_host(&mut self, wait: bool) {
        self.wait_for_host = wait;
    }

    /// Runs until virtual time `limit` or something else ends it. With the counted clock the stop is exact to the instruction,
    /// and running in several steps is the same run as in one.
    pub fn run(&mut self, limit: VmInstant) -> RunExit {
        self.board.limit = limit;
        if self.board.time.mode() == ClockMode::Real {
            // The machine stood still since the last run; the host's clock did not.
            let (now, retired) = (self.board.now(), self.cpu.retired());
            self.board.set_now(now, retired);
        }
        loop {
            if let Some(exit) = self.drain_inbox() {
                return exit;
            }
            if let Some(exit) = self.act_on_pending() {
                return exit;
            }
            self.board.sync(self.cpu.retired());
            self.board.drain_caches();
            if self.board.pending.any() {
                continue;
            }
            if self.board.now() >= limit {
                return RunExit::Limit;
            }
            self.board.slice_end = self.cpu.retired().saturating_add(SLICE);
            let exit = match self.cpu.run(&mut self.board) {
                Exit::Budget | Exit::Stop | Exit::Kick => None,
                Exit::Halt { interruptible } => self.idle(interruptible, limit),
                Exit::Shutdown => self.triple_fault(),
                Exit::Unsupported { eip } => Some(RunExit::Unsupported { eip }),
                _ => None,
            };
            if let Some(exit) = exit {
                return exit;
            }
        }
    }

    fn drain_inbox(&mut self) -> Option<RunExit> {
        self.kick.take();
        while let Ok(message) = self.inbox.try_recv() {
            match message {
                Message::Call(call) => call(self),
                // What came before a message is seen before it.
                Message::Wake => self.board.answer_calls(),
                Message::Stop => return Some(RunExit::Stopped),
            }
        }
        None
    }

    fn act_on_pending(&mut self) -> Option<RunExit> {
        let pending = self.board.pending;
        if pending.power_off {
            self.board.pending = Default::default();
            return Some(RunExit::PowerOff);
        }
        if pending.reset {
            self.reset();
            return None;
        }
        if pending.init {
            self.board.pending = Default::default();
            self.cpu.reset(CpuReset::Init);
            return None;
        }
        if pending.trap {
            self.board.pending.trap = false;
            if let Some(firmware) = &self.firmware
                && let Trap::EnterLinux =
                    service(firmware, &mut *self.cpu, &mut self.board, self.linux.is_some())
            {
                self.enter_linux();
            }
        }
        None
    }

    fn triple_fault(&mut self) -> Option<RunExit> {
        match self.on_triple_fault {
            OnTripleFault::Stop => Some(RunExit::TripleFault { eip: self.cpu.save().eip }),
            OnTripleFault::Reset => {
                self.reset();
                None
            }
        }
    }

    fn idle(&mut self, interruptible: bool, limit: VmInstant) -> Option<RunExit> {
        let due = self.board.next_deadline().filter(|_| interruptible);
        let retired = self.cpu.retired();
        let disks = interruptible && self.board.pool.out() > 0;
        if due.is_none() && !disks && !self.wait_for_host {
            let ticks = self.board.stats.ticks;
            self.board.sync(retired);
            // Devices that were due meanwhile may have more to say than it seemed.
            let alive = self.board.stats.ticks != ticks || self.board.pending.any();
            return (!alive).then_some(RunExit::Dead);
        }
        let target = due.or(self.board.next_deadline()).unwrap_or(VmInstant::MAX).min(limit);
        let wait = match (self.board.time.mode(), due) {
            (ClockMode::Real, _) => target.since(self.board.time.target(retired)),
            (ClockMode::Counted, Some(_)) => 0,
            // Only the host can go on from here: leave it some of its own time for that.
            (ClockMode::Counted, None) => 1_000_000,
        };
        if wait > 0 {
            match self.next_message(Duration::from_nanos(wait.min(100_000_000))) {
                Some(Message::Call(call)) => call(self),
                Some(Message::Stop) => return Some(RunExit::Stopped),
                Some(Message::Wake) | None => {}
            }
        }
        if self.board.time.mode() == ClockMode::Counted {
            let ahead = if target == VmInstant::MAX { self.board.now() + wait } else { target };
            self.board.jump(ahead, retired);
        } else {
            self.board.catch_up(retired);
        }
        None
    }

    /// Waits for a message, but no longer than this.
    fn next_message(&self, wait: Duration) -> Option<Message> {
        if wait > SHORT_WAIT {
            return self.inbox.recv_timeout(wait).ok();
        }
        let began = Instant::now();
        loop {
            match self.inbox.try_recv() {
                Ok(message) => return Some(message),
                Err(_) if began.elapsed() >= wait => return None,
                Err(_) => std::hint::spin_loop(),
            }
        }
    }

    /// Resets the board and the CPU, as the reset button does.
    pub fn reset(&mut self) {
        self.resets += 1;
        self.board.reset_devices(ResetKind::Bus);
        self.cpu.reset(CpuReset::Power);
    }

    /// Resets since power-on.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// What virtual time follows.
    pub fn clock(&self) -> ClockMode {
        self.board.time.mode()
    }

    /// Virtual time.
    pub fn now(&self) -> VmInstant {
        self.board.now()
    }

    /// Instructions retired since power-on.
    pub fn retired(&self) -> u64 {
        self.cpu.retired()
    }

    /// Work done by the board.
    pub fn stats(&self) -> BoardStats {
        self.board.stats
    }

    /// Begins to measure the host's time that each device takes, or ends it. Until then nothing is measured; the machine does
    /// the same either way.
    pub fn measure_host_time(&mut self, on: bool) {
        self.board.measure_host_time(on);
    }

    /// What a device has taken of the host's time; nothing unless [`Machine::measure_host_time`] was asked for.
    pub fn host_time(&self, id: DeviceId) -> HostTime {
        self.board.host_time(id)
    }

    /// The CPU.
    pub fn cpu(&self) -> &dyn Cpu {
        &*self.cpu
    }

    /// The CPU, to be changed (a debugger, a loader).
    pub fn cpu_mut(&mut self) -> &mut dyn Cpu {
        &mut *self.cpu
    }

    /// Devices by name, in the order they were added.
    pub fn devices(&self) -> impl Iterator<Item = (DeviceId, &str)> {
        self.board.ids()
    }

    /// The device named `name`.
    pub fn find(&self, name: &str) -> Option<DeviceId> {
        self.board.ids().find(|(_, n)| *n == name).map(|(id, _)| id)
    }

    /// The concrete device behind `id`; `None` if it is of another type.
    pub fn device<T: Device>(&self, id: DeviceId) -> Option<&T> {
        let any: &dyn Any = self.board.get(id);
        any.downcast_ref()
    }

    /// The device behind `id` as its contract.
    pub fn any_device(&self, id: DeviceId) -> &dyn Device {
        self.board.get(id)
    }

    /// Calls into a concrete device from outside (a key pressed, bytes on the serial line); the machine acts on what
    /// the call changed. `None` if it is of another type.
    pub fn with<T: Device, R>(
        &mut self,
        id: DeviceId,
        f: impl FnOnce(&mut T, &mut Cx<'_>) -> R,
    ) -> Option<R> {
        self.board.call(id.0, |device, cx| {
            let any: &mut dyn Any = device;
            any.downcast_mut::<T>().map(|t| f(t, cx))
        })
    }

    /// Puts another medium into a drive of a disk controller, or takes it out; waits until the old one has done what it was asked. The drive itself is told through
    /// [`Machine::with`] (`PciIde::insert`, `PciIde::eject`).
    ///
    /// # Errors
    /// [`DriveBusy`] if that takes longer than [`Machine::set_patience`] allows; the old one is then still there.
    pub fn set_medium(
        &mut self,
        controller: DeviceId,
        unit: usize,
        medium: Option<Arc<dyn BlockBackend>>,
    ) -> Result<(), DriveBusy> {
        self.board.set_medium(controller, unit, medium)
    }

    /// How long [`Machine::save`], [`Machine::restore`], [`Machine::set_medium`] and dropping the machine wait for media that threads are
    /// waiting for; 30 s until this is called. Dropping it then leaves these threads behind: each ends when its medium answers.
    pub fn set_patience(&mut self, patience: Duration) {
        self.board.pool.patience = patience;
    }

    /// Disk requests that failed on the host since the last call: the first of each drive, and how many more there were. A guest is told
    /// no more than that its disk failed; why, its user has to hear from here. Out of range and write-protected is the guest's own doing and not among them.
    pub fn take_disk_errors(&mut self) -> Vec<DiskError> {
        self.board.take_disk_errors()
    }

    /// Plugs a network card into another port. It sees the link go and come as the ports' cables do.
    pub fn set_network<T: Device + NetClient>(&mut self, card: DeviceId, port: impl NetPort + 'static) {
        self.board.attach_network::<T>(card, Box::new(port));
    }

    /// A memory lent to a device.
    pub fn lent(&self, id: DeviceId, memory: LentId) -> Option<&Memory> {
        self.board.lent(id, memory)
    }

    /// Main memory.
    pub fn ram(&self) -> &Memory {
        &self.board.ram
    }

    /// Reads the I/O ports from `port` on as the CPU does, with one access of `data.len()` bytes (1, 2 or 4).
    pub fn port_read(&mut self, port: u16, data: &mut [u8]) {
        self.board.port_read(port, data);
    }

    /// Writes the I/O ports from `port` on as the CPU does, with one access of `data.len()` bytes (1, 2 or 4).
    pub fn port_write(&mut self, port: u16, data: &[u8]) {
        self.board.port_write(port, data);
    }

    /// Lets `nanos` of virtual time pass for the devices while the CPU stands still: for a host that works the board by itself.
    pub fn pass(&mut self, nanos: u64) {
        let (until, retired) = (self.board.now() + nanos, self.cpu.retired());
        while self.board.now() < until && !self.board.pending.any() {
            self.board.jump(until, retired);
        }
        let now = self.board.now();
        self.board.set_now(now, retired);
    }

    /// Reads physical memory as the CPU does, device memory included.
    pub fn physical_read(&mut self, address: u64, data: &mut [u8]) {
        self.board.physical_read(address, data);
    }

    /// Writes physical memory as the CPU does.
    pub fn physical_write(&mut self, address: u64, data: &[u8]) {
        self.board.physical_write(address, data);
    }
}
