//! Network cards in a machine: frames go at once, at a port's deadline, and when somebody outside wakes it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{At, Cx, Device, Generation, Inspector, PinLevels, ResetKind, VmInstant, Window, WindowId};
use slotone_net::{NetClient, NetPort, Received, Sent, Waker};
use slotone_vmm_core::{
    ClockMode, DeviceId, Machine, MachineBuilder, RunExit, VirtualServer2005, virtual_server_2005,
};

/// A card of two ports: a byte written to the first goes out as a frame; the second reads how many came.
struct Card {
    windows: [Window; 1],
    out: VecDeque<Vec<u8>>,
    got: Vec<(u64, Vec<u8>)>,
    link: bool,
}

impl Card {
    fn new(base: u16) -> Self {
        let windows = [Window::io(WindowId(0), base, 2)];
        Self { windows, out: VecDeque::new(), got: Vec::new(), link: false }
    }
}

impl Device for Card {
    fn windows(&self) -> (Generation, &[Window]) {
        (Generation(0), &self.windows)
    }
    fn read(&mut self, _: &mut Cx<'_>, _: At, data: &mut [u8]) {
        data.fill(self.got.len() as u8);
    }
    fn write(&mut self, _: &mut Cx<'_>, _: At, data: &[u8]) {
        self.out.push_back(vec![data[0]; 60]);
    }
    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }
    fn tick(&mut self, _: &mut Cx<'_>) {
        panic!("it asked for no tick");
    }
    fn reset(&mut self, _: ResetKind) {}
    fn save(&self, _: &mut StateWriter) {}
    fn restore(&mut self, _: &mut StateReader<'_>) -> Result<(), StateError> {
        Ok(())
    }
    fn inspect(&self, _: &mut Inspector<'_>) {}
}

impl NetClient for Card {
    fn frame(&self) -> Option<&[u8]> {
        self.out.front().map(Vec::as_slice)
    }
    fn sent(&mut self, _: &mut Cx<'_>) {
        self.out.pop_front();
    }
    fn receive(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Received {
        self.got.push((cx.now().as_nanos(), frame.to_vec()));
        Received::Taken
    }
    fn ready(&self) -> bool {
        true
    }
    fn set_link(&mut self, _: &mut Cx<'_>, up: bool) {
        self.link = up;
    }
}

#[derive(Default)]
struct Wire {
    to: [VecDeque<(VmInstant, Vec<u8>)>; 2],
    wakers: [Option<Waker>; 2],
    cut: bool,
}

/// One end of a cable on which a frame takes `delay` nanoseconds.
struct End {
    wire: Arc<Mutex<Wire>>,
    side: usize,
    delay: u64,
}

fn cable(delay: u64) -> (End, End) {
    let wire = Arc::new(Mutex::new(Wire::default()));
    (End { wire: Arc::clone(&wire), side: 0, delay }, End { wire, side: 1, delay })
}

impl NetPort for End {
    fn send(&mut self, now: VmInstant, frame: &[u8]) -> Sent {
        let mut wire = self.wire.lock().unwrap();
        wire.to[1 - self.side].push_back((now + self.delay, frame.to_vec()));
        let waker = wire.wakers[1 - self.side].clone();
        drop(wire);
        if let Some(waker) = waker {
            waker();
        }
        Sent::Taken
    }
    fn receive(&mut self, now: VmInstant, take: &mut dyn FnMut(&[u8])) -> bool {
        let mut wire = self.wire.lock().unwrap();
        let queue = &mut wire.to[self.side];
        let due = queue.front().is_some_and(|(at, _)| *at <= now);
        let frame = if due { queue.pop_front() } else { None };
        drop(wire);
        frame.map(|(_, f)| take(&f)).is_some()
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        self.wire.lock().unwrap().to[self.side].front().map(|(at, _)| *at)
    }
    fn link(&self) -> bool {
        !self.wire.lock().unwrap().cut
    }
    fn set_waker(&mut self, waker: Waker) {
        self.wire.lock().unwrap().wakers[self.side] = Some(waker);
    }
}

fn builder(clock: ClockMode) -> MachineBuilder {
    let config = VirtualServer2005 { memory_mib: 4, clock, ..VirtualServer2005::new() };
    virtual_server_2005(&config).unwrap()
}

fn got(machine: &Machine, card: DeviceId) -> Vec<(u64, u8)> {
    let card: &Card = machine.device(card).unwrap();
    card.got.iter().map(|(at, f)| (*at, f[0])).collect()
}

fn two_cards(delay: u64) -> (Machine, DeviceId, DeviceId) {
    let mut b = builder(ClockMode::Counted);
    let one = b.add("card-a", Card::new(0x300)).unwrap();
    let two = b.add("card-b", Card::new(0x308)).unwrap();
    let (left, right) = cable(delay);
    b.network::<Card>(one, left).network::<Card>(two, right);
    (b.build().unwrap(), one, two)
}

#[test]
fn a_frame_is_there_before_the_next_instruction() {
    let (mut machine, one, two) = two_cards(0);
    machine.port_write(0x300, &[7]);
    let mut count = [0];
    machine.port_read(0x309, &mut count);
    assert_eq!(count, [1]);
    machine.port_write(0x308, &[8]);
    assert_eq!((got(&machine, one), got(&machine, two)), (vec![(0, 8)], vec![(0, 7)]));
    assert_eq!((machine.stats().frames, machine.stats().frame_bytes), (4, 240));
    assert!(machine.device::<Card>(one).unwrap().link);
}

#[test]
fn a_delayed_frame_comes_exactly_at_its_time() {
    let (mut machine, _, two) = two_cards(1_234_567);
    machine.port_write(0x300, &[7]);
    assert_eq!(got(&machine, two), []);
    machine.run(VmInstant::from_nanos(1_234_566));
    assert_eq!(got(&machine, two), []);
    machine.run(VmInstant::from_nanos(2_000_000));
    assert_eq!(got(&machine, two), [(1_234_567, 7)]);
}

#[test]
fn more_frames_than_a_turn_takes_come_in_several() {
    let (mut machine, one, two) = two_cards(0);
    machine.with(one, |card: &mut Card, _| card.out.extend((0..200).map(|i| vec![i; 60])));
    assert_eq!(got(&machine, two).len(), 64);
    machine.run(VmInstant::from_nanos(10_000_000));
    let bytes: Vec<u8> = got(&machine, two).iter().map(|g| g.1).collect();
    assert_eq!(bytes, (0..200).collect::<Vec<u8>>());
}

#[test]
fn a_sleeping_machine_is_woken_from_outside() {
    let mut b = builder(ClockMode::Real);
    let card = b.add("card", Card::new(0x300)).unwrap();
    let (inside, mut outside) = cable(0);
    b.network::<Card>(card, inside);
    let mut machine = b.build().unwrap();
    machine.set_wait_for_host(true);
    let remote = machine.remote();
    let sender = std::thread::spawn(move || {
        for i in 0..100 {
            outside.send(VmInstant::default(), &[i; 60]);
            std::thread::sleep(Duration::from_millis(1));
        }
        // The last one was sent before this message, so the machine has seen it when it stops.
        remote.stop();
    });
    assert_eq!(machine.run(VmInstant::from_nanos(60_000_000_000)), RunExit::Stopped);
    sender.join().unwrap();
    assert_eq!(got(&machine, card).len(), 100);
}

#[test]
fn a_card_moved_to_another_port_leaves_the_first() {
    let (mut machine, one, two) = two_cards(0);
    machine.set_network::<Card>(one, slotone_net::NotConnected);
    assert!(!machine.device::<Card>(one).unwrap().link);
    machine.port_write(0x300, &[7]);
    assert!(machine.device::<Card>(one).unwrap().out.is_empty());
    assert_eq!(got(&machine, two), []);
}

#[test]
fn a_card_hears_that_its_link_goes_and_comes() {
    let mut b = builder(ClockMode::Counted);
    let card = b.add("card", Card::new(0x300)).unwrap();
    let (inside, outside) = cable(0);
    b.network::<Card>(card, inside);
    let mut machine = b.build().unwrap();
    for cut in [true, false] {
        let mut wire = outside.wire.lock().unwrap();
        wire.cut = cut;
        let waker = wire.wakers[0].clone().unwrap();
        drop(wire);
        waker();
        machine.run(machine.now() + 1_000);
        assert_eq!(machine.device::<Card>(card).unwrap().link, !cut);
    }
    // A restored card knows the link of another time.
    let saved = machine.save().unwrap();
    machine.with(card, |card: &mut Card, _| card.link = false);
    machine.restore(&saved).unwrap();
    machine.port_write(0x300, &[1]);
    assert!(machine.device::<Card>(card).unwrap().link);
}

/// A port whose time has always come, and which never has anything.
struct Impatient(Arc<AtomicU32>);

impl NetPort for Impatient {
    fn send(&mut self, _: VmInstant, _: &[u8]) -> Sent {
        Sent::Taken
    }
    fn receive(&mut self, _: VmInstant, _: &mut dyn FnMut(&[u8])) -> bool {
        self.0.fetch_add(1, Ordering::SeqCst);
        false
    }
    fn next_deadline(&self) -> Option<VmInstant> {
        Some(VmInstant::ZERO)
    }
}

#[test]
fn a_port_that_is_always_due_has_its_turns_and_no_more() {
    let mut b = builder(ClockMode::Counted);
    let card = b.add("card", Card::new(0x300)).unwrap();
    let served = Arc::new(AtomicU32::new(0));
    b.network::<Card>(card, Impatient(Arc::clone(&served)));
    let mut machine = b.build().unwrap();
    let before = served.swap(0, Ordering::SeqCst);
    assert!(before <= 2, "{before}");
    assert_eq!(machine.run(VmInstant::from_nanos(43_008_000)), RunExit::Limit);
    assert_eq!(served.load(Ordering::SeqCst), 100);
    assert_eq!(machine.stats().tick_storms, 0);
}
