//! The board: devices, the wires between them, memory and time. What the CPU is plugged into.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use slotone_block::BlockBackend;
use slotone_bus::mem::{Memory, MemoryError};
use slotone_bus::state::{StateError, StateReader};
use slotone_bus::{At, Cx, Device, DmaFault, LentId, Pin, Port, ResetKind, VmInstant};
use slotone_pci::ConfigPort;

use crate::clock::{ClockMode, Timebase};
use crate::disk_errors::DiskErrors;
use crate::disks::DiskPort;
use crate::host_time::{HostTime, HostTimes};
use crate::map::{AddressMap, Route};
use crate::network::{Cable, Calls};
use crate::pool::Pool;
use crate::save::DriveBusy;

/// Names a device of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DeviceId(pub(crate) u16);

/// What a wire ends in, besides a device's input pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sink {
    /// An input pin of a device.
    Input(DeviceId, Pin),
    /// INTR of the CPU; the device that drives it also answers the interrupt acknowledge.
    CpuIntr,
    /// NMI of the CPU.
    CpuNmi,
    /// A20M# of the CPU, inverted: any source at 1 lets address bit 20 pass.
    CpuA20,
    /// INIT# of the CPU; acts on the rising edge.
    CpuInit,
    /// Reset of the whole board; acts on the rising edge.
    Reset,
    /// The power supply is switched off; acts on the rising edge.
    PowerOff,
}

/// A net: the OR of its sources, by bitset, so that no source can hold or lose it for another.
#[derive(Debug)]
struct Net {
    sink: Sink,
    sources: u64,
    used: u32,
}

/// What the CPU or the run loop has to act on.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Pending {
    pub(crate) init: bool,
    pub(crate) reset: bool,
    pub(crate) power_off: bool,
    /// The firmware's trap port was written.
    pub(crate) trap: bool,
}

/// Which inputs hear of their level when all nets are computed anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tell {
    /// All: the machine has just been built.
    All,
    /// Those whose level is another than before: after a reset, through which devices know their inputs.
    Changed,
    /// None: after a restore, when each device has its own memory of its inputs back.
    None,
}

impl Pending {
    pub(crate) fn any(self) -> bool {
        self.init || self.reset || self.power_off || self.trap
    }
}

/// Work done by a board since it was built.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BoardStats {
    /// Port accesses (a burst counts once).
    pub io: u64,
    /// Accesses to device memory.
    pub mmio: u64,
    /// Device ticks.
    pub ticks: u64,
    /// Line changes delivered.
    pub lines: u64,
    /// Interrupts acknowledged.
    pub interrupts: u64,
    /// Disk requests carried out.
    pub disk_requests: u64,
    /// Bytes moved from and to disks.
    pub disk_bytes: u64,
    /// Frames moved from and to networks.
    pub frames: u64,
    /// Bytes of these frames.
    pub frame_bytes: u64,
    /// Address maps rebuilt.
    pub maps: u64,
    /// Line changes dropped because devices drove each other in a circle.
    pub line_storms: u64,
    /// Ticks put off because a device was due again and again without time going on, which [`Device::tick`] forbids.
    pub tick_storms: u64,
}

pub(crate) struct Slot {
    name: String,
    /// Taken out while the device is being called, so that it can never be re-entered.
    pub(crate) device: Option<Box<dyn Device>>,
    pci_slot: Option<u8>,
    generation: slotone_bus::Generation,
    deadline: Option<VmInstant>,
    /// Ticks in a row after which it was still due.
    overdue: u32,
    /// It is not ticked before this.
    quiet: VmInstant,
    lent: Vec<(LentId, Memory)>,
    pub(crate) disk: Option<DiskPort>,
    /// Taken out with the device.
    cable: Option<Box<Cable>>,
    /// Nets driven by this device: (pin, net, bit in the net's sources).
    wires: Vec<(Pin, u16, u64)>,
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("name", &self.name)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// Devices, wires, memory and time.
#[derive(Debug)]
pub(crate) struct Board {
    pub(crate) slots: Vec<Slot>,
    nets: Vec<Net>,
    pub(crate) ram: Memory,
    pub(crate) map: AddressMap,
    pub(crate) map_generation: u64,
    map_stale: bool,
    pub(crate) config_port: ConfigPort,
    pub(crate) time: Timebase,
    now: VmInstant,
    /// Instruction count of the last [`Board::sync`].
    synced: u64,
    next: Option<(VmInstant, u16)>,
    lines: VecDeque<(u16, Pin, bool)>,
    settling: bool,
    pub(crate) intr: bool,
    intr_source: Option<u16>,
    pub(crate) nmi: bool,
    pub(crate) a20: bool,
    pub(crate) pending: Pending,
    pub(crate) trap_port: Option<u16>,
    /// Input pin that hears FERR#.
    pub(crate) ferr: Option<(DeviceId, Pin)>,
    /// Run no further than this instruction count.
    pub(crate) slice_end: u64,
    /// Run no further than this virtual time.
    pub(crate) limit: VmInstant,
    pub(crate) stats: BoardStats,
    pub(crate) host_times: HostTimes,
    /// Threads for slow media.
    pub(crate) pool: Pool,
    /// When to look for drives that are to be flushed.
    pub(crate) drain_at: Option<Instant>,
    /// What nobody was told yet.
    pub(crate) disk_errors: DiskErrors,
    /// Network ports that have called.
    pub(crate) calls: Calls,
    pub(crate) answering: bool,
}

/// Unique over all boards of the process: a CPU moved from one board to another sees a change.
fn next_map_generation() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// With the real clock, the most virtual nanoseconds that pass for one instruction: many times what one takes.
const MOST_NANOS_PER_INSTRUCTION: u64 = 250;

/// Line changes that one outside event may cause before the rest is dropped: far above what wired chips need.
const LINE_STORM: u32 = 10_000;

/// Ticks in a row that may leave a device due: far above what a chip has to catch up with at one instant.
const TICK_STORM: u32 = 1_000;
/// Virtual nanoseconds until a device that is due after these gets its next.
const TICK_QUIET: u64 = 1_000_000;

impl Board {
    pub(crate) fn new(ram: usize, mode: ClockMode) -> Result<Self, MemoryError> {
        Ok(Self {
            slots: Vec::new(),
            nets: Vec::new(),
            ram: Memory::new(ram)?,
            map: AddressMap::new(),
            map_generation: next_map_generation(),
            map_stale: true,
            config_port: ConfigPort::default(),
            time: Timebase::new(mode),
            now: VmInstant::ZERO,
            synced: 0,
            next: None,
            lines: VecDeque::new(),
            settling: false,
            intr: false,
            intr_source: None,
            nmi: false,
            // Until somebody drives it: a board without a gate has no gate.
            a20: true,
            pending: Pending::default(),
            trap_port: None,
            ferr: None,
            slice_end: u64::MAX,
            limit: VmInstant::MAX,
            stats: BoardStats::default(),
            host_times: HostTimes::default(),
            pool: Pool::default(),
            drain_at: None,
            disk_errors: DiskErrors::default(),
            calls: Calls::default(),
            answering: false,
        })
    }

    // ---- building ----

    pub(crate) fn add(
        &mut self,
        name: &str,
        device: Box<dyn Device>,
        pci_slot: Option<u8>,
    ) -> Result<DeviceId, MemoryError> {
        let mut lent = Vec::new();
        for wanted in device.memories() {
            lent.push((wanted.id, Memory::new(wanted.len)?));
        }
        let id = DeviceId(self.slots.len() as u16);
        self.slots.push(Slot {
            name: name.to_string(),
            generation: device.windows().0,
            deadline: device.next_deadline(),
            overdue: 0,
            quiet: VmInstant::ZERO,
            device: Some(device),
            pci_slot,
            lent,
            disk: None,
            cable: None,
            wires: Vec::new(),
        });
        self.map_stale = true;
        self.find_next();
        Ok(id)
    }

    pub(crate) fn replace(&mut self, id: DeviceId, device: Box<dyn Device>) -> Result<(), MemoryError> {
        let fresh = DeviceId(self.slots.len() as u16);
        let old = usize::from(id.0);
        let (name, pci_slot) = (self.slots[old].name.clone(), self.slots[old].pci_slot);
        self.add(&name, device, pci_slot)?;
        let wires = std::mem::take(&mut self.slots[old].wires);
        let mut slot = self.slots.swap_remove(usize::from(fresh.0));
        slot.wires = wires;
        self.slots[old] = slot;
        self.find_next();
        Ok(())
    }

    /// Before devices get another state: none of them hears of what it asked in this one.
    pub(crate) fn before_restore(&mut self) -> Result<(), DriveBusy> {
        self.wait_for_disks()?;
        self.pool.forget();
        self.slots.iter_mut().filter_map(|slot| slot.disk.as_mut()).for_each(DiskPort::forget_requests);
        Ok(())
    }

    pub(crate) fn restore_device(&mut self, id: DeviceId, r: &mut StateReader<'_>) -> Result<(), StateError> {
        match self.slots[usize::from(id.0)].device.as_deref_mut() {
            Some(device) => device.restore(r),
            None => Ok(()),
        }
    }

    /// After every device has its state back: deadlines, maps, requests in flight and lines follow from it.
    pub(crate) fn after_restore(&mut self) {
        self.lines.clear();
        self.pending = Pending::default();
        for i in 0..self.slots.len() as u16 {
            let slot = self.slot_mut(i);
            (slot.overdue, slot.quiet) = (0, VmInstant::ZERO);
            if let Some(cable) = &mut slot.cable {
                cable.forget();
            }
            self.after_call(i);
        }
        self.settle_levels(Tell::None);
    }

    /// Every medium attached, in a fixed order.
    pub(crate) fn media(&self) -> impl Iterator<Item = &Arc<dyn BlockBackend>> {
        self.slots.iter().filter_map(|s| s.disk.as_ref()).flat_map(DiskPort::media)
    }

    /// Connects an output pin to a sink. Several sources of one sink are ORed.
    pub(crate) fn wire(&mut self, from: DeviceId, pin: Pin, sink: Sink) {
        let net = match self.nets.iter().position(|n| n.sink == sink && n.used < 64) {
            Some(n) => n,
            None => {
                self.nets.push(Net { sink, sources: 0, used: 0 });
                self.nets.len() - 1
            }
        };
        let bit = 1 << self.nets[net].used;
        self.nets[net].used += 1;
        self.slots[usize::from(from.0)].wires.push((pin, net as u16, bit));
        if sink == Sink::CpuIntr {
            self.intr_source = Some(from.0);
        }
    }

    /// Computes every net from the output pins, and gives the inputs that `tell` chooses their level.
    pub(crate) fn settle_levels(&mut self, tell: Tell) {
        let before: Vec<bool> = self.nets.iter().map(|n| n.sources != 0).collect();
        for i in 0..self.slots.len() as u16 {
            let levels = self.device(i).levels();
            for (pin, net, bit) in self.slots[usize::from(i)].wires.clone() {
                let net = &mut self.nets[usize::from(net)];
                net.sources = if levels.get(pin) { net.sources | bit } else { net.sources & !bit };
            }
        }
        let nets: Vec<(Sink, bool)> = self.nets.iter().map(|n| (n.sink, n.sources != 0)).collect();
        for ((sink, level), before) in nets.into_iter().zip(before) {
            match sink {
                Sink::CpuIntr => self.intr = level,
                Sink::CpuNmi => self.nmi = level,
                Sink::CpuA20 => self.a20 = level,
                Sink::Input(id, pin) => {
                    if tell == Tell::All || (tell == Tell::Changed && level != before) {
                        self.call(id.0, |d, cx| d.input(cx, pin, level));
                    }
                }
                Sink::CpuInit | Sink::Reset | Sink::PowerOff => {}
            }
        }
        self.map_stale = true;
        self.refresh_map();
    }

    // ---- devices ----

    pub(crate) fn slot_mut(&mut self, index: u16) -> &mut Slot {
        &mut self.slots[usize::from(index)]
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = (DeviceId, &str)> {
        self.slots.iter().enumerate().map(|(i, s)| (DeviceId(i as u16), s.name.as_str()))
    }

    pub(crate) fn name(&self, index: u16) -> &str {
        &self.slots[usize::from(index)].name
    }

    fn device(&self, index: u16) -> &dyn Device {
        self.slots[usize::from(index)]
            .device
            .as_deref()
            .expect("a device is in its slot unless it is being called")
    }

    pub(crate) fn get(&self, id: DeviceId) -> &dyn Device {
        self.device(id.0)
    }

    pub(crate) fn lent(&self, id: DeviceId, memory: LentId) -> Option<&Memory> {
        self.slots[usize::from(id.0)].lent.iter().find(|l| l.0 == memory).map(|l| &l.1)
    }

    pub(crate) fn lent_mut(&mut self, id: DeviceId, memory: LentId) -> Option<&mut Memory> {
        self.slots[usize::from(id.0)].lent.iter_mut().find(|l| l.0 == memory).map(|l| &mut l.1)
    }

    pub(crate) fn lent_memories(&self) -> impl Iterator<Item = &Memory> {
        self.slots.iter().flat_map(|s| s.lent.iter().map(|l| &l.1))
    }

    pub(crate) fn lent_memories_mut(&mut self) -> impl Iterator<Item = &mut Memory> {
        self.slots.iter_mut().flat_map(|s| s.lent.iter_mut().map(|l| &mut l.1))
    }

    /// Calls a device and acts on everything that the call changed.
    pub(crate) fn call<R>(&mut self, index: u16, f: impl FnOnce(&mut dyn Device, &mut Cx<'_>) -> R) -> R {
        self.call_with(index, true, f)
    }

    /// The same for a read. It makes no card more ready than it was, and ports say themselves when they have something: frames stay where they are.
    pub(crate) fn read_device(&mut self, index: u16, at: At, data: &mut [u8]) {
        self.call_with(index, false, |d, cx| d.read(cx, at, data));
    }

    fn call_with<R>(
        &mut self,
        index: u16,
        serve: bool,
        f: impl FnOnce(&mut dyn Device, &mut Cx<'_>) -> R,
    ) -> R {
        let at = usize::from(index);
        let sample = self.host_times.call(index);
        let mut device = self.slots[at].device.take().expect("a device is never re-entered");
        let mut cable = self.slots[at].cable.take();
        let mut port = DevicePort { board: self, index };
        let mut cx = Cx::new(port.board.now, &mut port);
        let result = f(&mut *device, &mut cx);
        if let Some(cable) = &mut cable
            && serve
        {
            let (frames, bytes) = cable.serve(&mut *device, &mut cx);
            self.stats.frames += frames;
            self.stats.frame_bytes += bytes;
        }
        self.slots[at].device = Some(device);
        self.slots[at].cable = cable;
        self.after_call(index);
        self.host_times.returned(index, sample);
        self.settle_lines();
        if !self.settling {
            self.answer_calls();
        }
        result
    }

    pub(crate) fn measure_host_time(&mut self, on: bool) {
        self.host_times.start(if on { self.slots.len() } else { 0 });
    }

    pub(crate) fn host_time(&self, id: DeviceId) -> HostTime {
        self.host_times.of(id.0)
    }

    // ---- network cards: network.rs ----

    pub(crate) fn cables(&self) -> impl Iterator<Item = (DeviceId, &Cable)> {
        let slots = self.slots.iter().enumerate();
        slots.filter_map(|(i, s)| Some((DeviceId(i as u16), s.cable.as_deref()?)))
    }

    pub(crate) fn cable(&self, id: DeviceId) -> Option<&Cable> {
        self.slots[usize::from(id.0)].cable.as_deref()
    }

    pub(crate) fn cable_mut(&mut self, id: DeviceId) -> Option<&mut Cable> {
        self.slots[usize::from(id.0)].cable.as_deref_mut()
    }

    pub(crate) fn set_cable(&mut self, id: DeviceId, cable: Cable) {
        self.slots[usize::from(id.0)].cable = Some(Box::new(cable));
    }

    fn after_call(&mut self, index: u16) {
        if self.slots[usize::from(index)].disk.is_some() {
            self.carry_disk_requests(index);
        }
        let generation = self.device(index).windows().0;
        let slot = &mut self.slots[usize::from(index)];
        if slot.generation != generation {
            slot.generation = generation;
            self.map_stale = true;
        }
        self.update_deadline(index);
    }

    pub(crate) fn update_deadline(&mut self, index: u16) {
        let slot = &mut self.slots[usize::from(index)];
        let device = slot.device.as_deref().and_then(Device::next_deadline);
        let deadline = match &slot.cable {
            None => device,
            Some(cable) => [device, cable.next_deadline()].into_iter().flatten().min(),
        };
        let deadline = deadline.map(|at| at.max(slot.quiet));
        if slot.deadline != deadline {
            slot.deadline = deadline;
            self.find_next();
        }
    }

    fn settle_lines(&mut self) {
        if self.settling {
            return;
        }
        self.settling = true;
        let mut budget = LINE_STORM;
        while let Some((from, pin, level)) = self.lines.pop_front() {
            budget -= 1;
            if budget == 0 {
                self.stats.line_storms += self.lines.len() as u64;
                self.lines.clear();
                break;
            }
            for w in 0..self.slots[usize::from(from)].wires.len() {
                let (wired, net, bit) = self.slots[usize::from(from)].wires[w];
                if wired == pin {
                    self.drive(usize::from(net), bit, level);
                }
            }
        }
        self.settling = false;
        self.refresh_map();
    }

    fn drive(&mut self, net: usize, bit: u64, level: bool) {
        let net = &mut self.nets[net];
        let before = net.sources != 0;
        net.sources = if level { net.sources | bit } else { net.sources & !bit };
        let after = net.sources != 0;
        if before == after {
            return;
        }
        self.stats.lines += 1;
        match net.sink {
            Sink::CpuIntr => self.intr = after,
            Sink::CpuNmi => self.nmi = after,
            Sink::CpuA20 => {
                self.a20 = after;
                self.map_generation = next_map_generation();
            }
            Sink::CpuInit => self.pending.init |= after,
            Sink::Reset => self.pending.reset |= after,
            Sink::PowerOff => self.pending.power_off |= after,
            Sink::Input(id, pin) => self.call(id.0, |d, cx| d.input(cx, pin, after)),
        }
    }

    fn refresh_map(&mut self) {
        if !self.map_stale {
            return;
        }
        self.map_stale = false;
        self.stats.maps += 1;
        let devices = self.slots.iter().enumerate();
        self.map.rebuild(devices.filter_map(|(i, s)| Some((i as u16, s.pci_slot, s.device.as_deref()?))));
        self.map_generation = next_map_generation();
    }

    pub(crate) fn drive_ferr(&mut self, level: bool) {
        if let Some((id, pin)) = self.ferr {
            self.call(id.0, |d, cx| d.input(cx, pin, level));
        }
    }

    pub(crate) fn intack(&mut self) -> u8 {
        self.stats.interrupts += 1;
        // Without an interrupt controller the data bus floats.
        let Some(source) = self.intr_source else { return 0xff };
        self.call(source, |d, cx| d.intack(cx)).unwrap_or(0xff)
    }

    pub(crate) fn reset_devices(&mut self, kind: ResetKind) {
        for i in 0..self.slots.len() as u16 {
            self.pool.forget_unbegun(i);
            let slot = self.slot_mut(i);
            if let Some(disk) = &mut slot.disk {
                disk.forget_requests();
            }
            if let Some(device) = slot.device.as_deref_mut() {
                device.reset(kind);
            }
            self.after_call(i);
        }
        self.config_port = ConfigPort::default();
        self.lines.clear();
        self.settle_levels(Tell::Changed);
        self.pending = Pending::default();
    }

    // ---- time ----

    pub(crate) fn now(&self) -> VmInstant {
        self.now
    }

    /// The next deadline of any device.
    pub(crate) fn next_deadline(&self) -> Option<VmInstant> {
        self.next.map(|n| n.0)
    }

    fn find_next(&mut self) {
        let deadlines = self.slots.iter().enumerate();
        self.next = deadlines.filter_map(|(i, s)| Some((s.deadline?, i as u16))).min();
    }

    /// Brings time up to the clock and runs every tick that is due, in order of (deadline, device). With the real clock it
    /// stops early once a tick has raised the CPU's interrupt, so that late ticks reach the guest one by one.
    pub(crate) fn sync(&mut self, retired: u64) {
        self.answer_calls();
        let mut target = self.time.target(retired).min(self.limit).max(self.now);
        if self.time.mode() == ClockMode::Real {
            // A host that was busy elsewhere does not make the guest miss what a real processor would have seen: lost time is
            // made up for at a pace at which its handlers keep up. While it is halted, `catch_up` does it.
            let passed = retired.saturating_sub(std::mem::replace(&mut self.synced, retired));
            target = target.min(self.now + passed.saturating_mul(MOST_NANOS_PER_INSTRUCTION));
        }
        self.advance(target);
    }

    /// As [`Board::sync`] for a processor that is halted: no instruction has to pass for time to pass.
    pub(crate) fn catch_up(&mut self, retired: u64) {
        let target = self.time.target(retired).min(self.limit).max(self.now);
        self.synced = retired;
        self.advance(target);
    }

    fn advance(&mut self, target: VmInstant) {
        while let Some((deadline, index)) = self.next
            && deadline <= target
        {
            self.now = self.now.max(deadline);
            self.stats.ticks += 1;
            let before = self.intr;
            self.call(index, |d, cx| {
                // It may be the time of the card's port instead.
                if d.next_deadline().is_some_and(|due| due <= cx.now()) {
                    d.tick(cx);
                }
            });
            self.bound_ticks(index);
            let real = self.time.mode() == ClockMode::Real;
            if self.pending.any() || (real && self.intr && !before) {
                return;
            }
        }
        self.now = self.now.max(target);
    }

    /// A device that is due however often it is ticked would hold the machine.
    fn bound_ticks(&mut self, index: u16) {
        let now = self.now;
        let slot = self.slot_mut(index);
        if slot.deadline.is_none_or(|due| due > now) {
            slot.overdue = 0;
        } else if slot.overdue < TICK_STORM {
            slot.overdue += 1;
        } else {
            slot.quiet = now + TICK_QUIET;
            self.stats.tick_storms += 1;
            self.update_deadline(index);
        }
    }

    /// Idle until `deadline`: jumps there with the counted clock.
    pub(crate) fn jump(&mut self, deadline: VmInstant, retired: u64) {
        let deadline = deadline.max(self.now);
        if self.time.mode() == ClockMode::Counted {
            self.time.set(deadline, retired);
        }
        self.advance(deadline);
    }

    pub(crate) fn set_now(&mut self, now: VmInstant, retired: u64) {
        self.now = now;
        self.time.set(now, retired);
    }

    /// The instruction count at which the CPU must come back.
    pub(crate) fn until(&self) -> u64 {
        if self.time.mode() == ClockMode::Real {
            return self.slice_end;
        }
        let deadline = self.next.map_or(self.limit, |n| n.0.min(self.limit));
        self.time.retired_at(deadline).min(self.slice_end)
    }

    // ---- physical memory ----

    /// Applies `each` to the pieces of `address..address + len` by segment.
    fn pieces(
        &mut self,
        address: u64,
        len: usize,
        mut each: impl FnMut(&mut Self, crate::map::Segment, u64, std::ops::Range<usize>) -> bool,
    ) {
        let mut done = 0;
        while done < len {
            let at = address.wrapping_add(done as u64);
            let segment = self.map.segment(at);
            // The last byte of the address space is behind the end of every segment.
            let n = usize::try_from(segment.end - at).unwrap_or(usize::MAX).clamp(1, len - done);
            if !each(self, segment, at, done..done + n) {
                return;
            }
            done += n;
        }
    }

    fn memory_of(&self, route: Route) -> Option<(&Memory, u64)> {
        match route {
            Route::Ram(offset) => Some((&self.ram, offset)),
            Route::Lent(device, id, offset) => Some((self.lent(DeviceId(device), id)?, offset)),
            _ => None,
        }
    }

    fn memory_of_mut(&mut self, route: Route) -> Option<(&mut Memory, u64)> {
        match route {
            Route::Ram(offset) => Some((&mut self.ram, offset)),
            Route::Lent(device, id, offset) => Some((self.lent_mut(DeviceId(device), id)?, offset)),
            _ => None,
        }
    }

    /// The memory page behind a route, for the CPU's fast path.
    pub(crate) fn host_page(
        &self,
        route: Route,
        skip: u64,
        write: bool,
    ) -> Option<slotone_bus::mem::HostPage> {
        let (memory, offset) = self.memory_of(route)?;
        let offset = offset.checked_add(skip)?;
        if !offset.is_multiple_of(slotone_bus::mem::PAGE_SIZE as u64) {
            return None;
        }
        memory.host_page(usize::try_from(offset).ok()? / slotone_bus::mem::PAGE_SIZE, write)
    }

    /// Reads physical memory as the CPU does, devices included.
    pub(crate) fn physical_read(&mut self, address: u64, data: &mut [u8]) {
        self.pieces(address, data.len(), |board, segment, at, range| {
            let piece = &mut data[range];
            match segment.read {
                Route::Device { device, window, base } => {
                    board.stats.mmio += 1;
                    let offset = at - base;
                    for (i, part) in piece.chunks_mut(8).enumerate() {
                        let at = At { window, offset: offset + 8 * i as u64 };
                        board.read_device(device, at, part);
                    }
                }
                route => {
                    let skip = at - segment.start;
                    let read = board.memory_of(route).map(|(m, o)| m.read(o + skip, piece));
                    if !matches!(read, Some(Ok(()))) {
                        piece.fill(0xff);
                    }
                }
            }
            true
        });
    }

    /// Writes physical memory as the CPU does, devices included.
    pub(crate) fn physical_write(&mut self, address: u64, data: &[u8]) {
        self.pieces(address, data.len(), |board, segment, at, range| {
            let piece = &data[range];
            match segment.write {
                Route::Device { device, window, base } => {
                    board.stats.mmio += 1;
                    let offset = at - base;
                    for (i, part) in piece.chunks(8).enumerate() {
                        let at = At { window, offset: offset + 8 * i as u64 };
                        board.call(device, |d, cx| d.write(cx, at, part));
                    }
                }
                route => {
                    let skip = at - segment.start;
                    if let Some((m, o)) = board.memory_of_mut(route) {
                        // Beyond the memory's end nobody answers.
                        let _ = m.write(o + skip, piece);
                    }
                }
            }
            true
        });
    }

    /// Carries a DMA transfer out piece by piece; `copy` moves one piece between its range of the buffer and a memory's offset,
    /// and says whether there was one.
    fn dma(
        &mut self,
        address: u64,
        len: usize,
        write: bool,
        mut copy: impl FnMut(&mut Self, Route, u64, std::ops::Range<usize>) -> bool,
    ) -> Result<(), DmaFault> {
        let mut fault = None;
        self.pieces(address, len, |board, segment, at, range| {
            let route = if write { segment.write } else { segment.read };
            let len = range.len();
            let ok = copy(board, route, at - segment.start, range);
            if !ok {
                fault = Some(DmaFault { address: at, len });
            }
            ok
        });
        fault.map_or(Ok(()), Err)
    }
}

/// The board as one device sees it during a call.
struct DevicePort<'a> {
    board: &'a mut Board,
    index: u16,
}

impl Port for DevicePort<'_> {
    fn line(&mut self, pin: Pin, level: bool) {
        self.board.lines.push_back((self.index, pin, level));
    }

    fn dma_read(&mut self, address: u64, data: &mut [u8]) -> Result<(), DmaFault> {
        self.board.dma(address, data.len(), false, |board, route, skip, range| {
            board.memory_of(route).is_some_and(|(m, o)| m.read(o + skip, &mut data[range]).is_ok())
        })
    }

    fn dma_write(&mut self, address: u64, data: &[u8]) -> Result<(), DmaFault> {
        self.board.dma(address, data.len(), true, |board, route, skip, range| {
            board.memory_of_mut(route).is_some_and(|(m, o)| m.write(o + skip, &data[range]).is_ok())
        })
    }

    fn lent(&mut self, id: LentId) -> Option<&mut Memory> {
        self.board.lent_mut(DeviceId(self.index), id)
    }
}
