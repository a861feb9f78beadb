//! Devices that are due again and again: what a tick must do, and what becomes of one that does not.

use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window, WindowId,
};
use slotone_vmm_core::{ClockMode, DeviceId, Machine, MachineBuilder, Sink};
use slotone_x86_cpu::{CpuModel, SoftCpu};

const PIN: Pin = Pin(0);
const MS: u64 = 1_000_000;

/// What the next tick does with the deadline.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Habit {
    /// Leaves it where it is.
    Stuck,
    /// Moves it on by a nanosecond, so often; the last tick clears it.
    Behind(u32),
    /// Moves it by this.
    Every(u64),
}

#[derive(Debug)]
struct Clockwork {
    habit: Habit,
    due: Option<VmInstant>,
    ticked: Vec<VmInstant>,
    /// Toggled by every tick.
    out: bool,
    windows: [Window; 1],
}

impl Clockwork {
    fn new(habit: Habit, due: u64, port: u16) -> Self {
        let windows = [Window::io(WindowId(0), port, 1)];
        let due = Some(VmInstant::from_nanos(due));
        Self { habit, due, ticked: Vec::new(), out: false, windows }
    }
}

impl Device for Clockwork {
    fn windows(&self) -> (Generation, &[Window]) {
        (Generation(0), &self.windows)
    }
    fn read(&mut self, _: &mut Cx<'_>, _: At, data: &mut [u8]) {
        data.fill(0);
    }
    fn write(&mut self, _: &mut Cx<'_>, _: At, _: &[u8]) {}
    fn levels(&self) -> PinLevels {
        PinLevels::default().with(PIN, self.out)
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        self.due
    }
    fn tick(&mut self, cx: &mut Cx<'_>) {
        let due = self.due.expect("it is due");
        assert!(cx.now() >= due, "ticked before its time");
        self.ticked.push(cx.now());
        match &mut self.habit {
            Habit::Stuck => {}
            Habit::Behind(0) => self.due = None,
            Habit::Behind(left) => {
                *left -= 1;
                self.due = Some(due + 1);
            }
            Habit::Every(nanos) => self.due = Some(due + *nanos),
        }
        self.out = !self.out;
        cx.line(PIN, self.out);
    }
    fn reset(&mut self, _: ResetKind) {}
    fn save(&self, _: &mut StateWriter) {}
    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
    fn inspect(&self, _: &mut Inspector<'_>) {}
}

/// A machine with these, whose processor runs a loop.
fn machine(
    habits: &[(Habit, u64)],
    wire: impl FnOnce(&mut MachineBuilder, &[DeviceId]),
) -> (Machine, Vec<DeviceId>) {
    let mut builder = MachineBuilder::new(1 << 20).unwrap();
    builder.clock(ClockMode::Counted).cpu(Box::new(SoftCpu::new(CpuModel::pentium2())));
    let add = |(i, (habit, due)): (usize, &(Habit, u64))| {
        builder.add(&format!("device{i}"), Clockwork::new(*habit, *due, 0x300 + i as u16)).unwrap()
    };
    let ids: Vec<DeviceId> = habits.iter().enumerate().map(add).collect();
    wire(&mut builder, &ids);
    (builder.build().unwrap(), ids)
}

fn ticked(machine: &Machine, id: DeviceId) -> &[VmInstant] {
    &machine.device::<Clockwork>(id).unwrap().ticked
}

fn at(nanos: u64) -> VmInstant {
    VmInstant::from_nanos(nanos)
}

#[test]
fn a_device_that_is_still_due_is_ticked_before_time_goes_on() {
    // Far in the past when it is asked for, and a nanosecond a tick: all at one instant.
    let (mut m, ids) = machine(&[(Habit::Every(MS), MS)], |_, _| {});
    m.pass(5 * MS);
    m.with(ids[0], |d: &mut Clockwork, _| {
        (d.habit, d.due) = (Habit::Behind(500), Some(VmInstant::ZERO));
        d.ticked.clear();
    });
    m.pass(1);
    assert_eq!(ticked(&m, ids[0]), vec![at(5 * MS); 501]);
    assert_eq!(m.stats().tick_storms, 0);
}

#[test]
fn a_tick_that_moves_nothing_holds_neither_the_machine_nor_the_others() {
    let (mut m, ids) = machine(&[(Habit::Stuck, MS), (Habit::Every(MS), MS)], |_, _| {});
    m.pass(101 * MS);
    assert_eq!(m.now(), at(101 * MS));
    assert_eq!(ticked(&m, ids[1]), (1..=101).map(|ms| at(ms * MS)).collect::<Vec<_>>());
    let stuck = ticked(&m, ids[0]);
    // All of them at once, then one a millisecond.
    assert_eq!(stuck.iter().filter(|t| **t == at(MS)).count(), 1_001);
    assert_eq!(stuck[1_001..], (2..=101).map(|ms| at(ms * MS)).collect::<Vec<_>>());
    assert_eq!(m.stats().tick_storms, 101);
}

#[test]
fn calls_do_not_bring_the_ticks_of_a_quiet_device_forward() {
    let (mut m, ids) = machine(&[(Habit::Stuck, MS)], |_, _| {});
    m.pass(MS);
    assert_eq!(ticked(&m, ids[0]).len(), 1_001);
    for _ in 0..100 {
        m.port_write(0x300, &[0]);
        m.pass(1);
    }
    assert_eq!(ticked(&m, ids[0]).len(), 1_001);
}

/// Each tick of one calls the other.
#[test]
fn two_that_move_nothing_and_drive_each_other_do_not_hold_the_machine() {
    let (mut m, ids) = machine(&[(Habit::Stuck, MS), (Habit::Stuck, MS)], |b, ids| {
        b.wire(ids[0], PIN, Sink::Input(ids[1], PIN));
        b.wire(ids[1], PIN, Sink::Input(ids[0], PIN));
    });
    m.pass(10 * MS);
    assert_eq!(m.now(), at(10 * MS));
    assert_eq!(ids.iter().map(|id| ticked(&m, *id).len()).collect::<Vec<_>>(), [1_010; 2]);
}

#[test]
fn a_device_that_comes_to_its_senses_is_punctual_again() {
    let (mut m, ids) = machine(&[(Habit::Stuck, MS)], |_, _| {});
    m.pass(2 * MS);
    m.with(ids[0], |d: &mut Clockwork, _| {
        d.habit = Habit::Every(100);
        d.due = Some(at(4 * MS));
        d.ticked.clear();
    });
    m.pass(2 * MS + 250);
    assert_eq!(ticked(&m, ids[0]), [at(4 * MS), at(4 * MS + 100), at(4 * MS + 200)]);
}
