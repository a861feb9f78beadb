//! The board of `slotone-vmm-core` beside a slow model of it: who answers an access, what DMA reaches, in which order ticks run, how
//! lines add up, what a page maps to, what survives a saved state.
//!
//! The input describes up to five chips with wires between them, then what a processor does. The processor is a script as well: it
//! makes the accesses and compares every answer with the model's. A chip changes itself (windows, lines, deadline, DMA) only when it
//! is written to, as real ones do: the processor leaves it an order and writes to its order port.

mod chip;
mod model;
mod world;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};

use slotone_bus::cpu::{Cpu, CpuBus, CpuReset, CpuState, Exit, KickHandle};
use slotone_bus::mem::{Memory, PAGE_SIZE};
use slotone_bus::state::StateError;
use slotone_bus::{LentId, Pin, PinLevels, VmInstant, Window, WindowId};
use slotone_vmm_core::{ClockMode, DeviceId, Machine, MachineBuilder, NANOS_PER_INSTRUCTION, RunExit, Sink};
use slotone_x86_cpu::{CpuModel, SoftCpu};

use chip::{Chip, Link, Scripted, lock};
use model::{Model, Tell, Wire, WireSink};
use world::World;

use super::{Reader, text};

const RAM: usize = 16 * PAGE_SIZE;
const LENT: usize = 2 * PAGE_SIZE;
/// The order port of chip n is at ORDERS + 4 * n.
const ORDERS: u16 = 0xe000;
const ORDER_WINDOW: WindowId = WindowId(99);
const CONFIG_WINDOW: WindowId = WindowId(98);
/// Output pins and input pins of a chip.
const PINS: u8 = 4;

/// The processor.
struct ScriptedCpu {
    world: Arc<Mutex<World>>,
    template: CpuState,
    kick: KickHandle,
}

impl Cpu for ScriptedCpu {
    fn run(&mut self, bus: &mut dyn CpuBus) -> Exit {
        let world = &mut *self.world.lock().expect("one thread uses it");
        world.entered += 1;
        if std::mem::take(&mut world.halting) {
            world.jump();
        }
        assert!(world.model.enter(world.retired), "the processor runs with the power off");
        world.check("between runs");
        world.check_after(bus);
        loop {
            // Lines that move each other by the thousand, or an end of the input.
            if world.input.is_empty() || world.operations > 300 || world.model.moves > 4000 {
                world.done = true;
                return Exit::Halt { interruptible: false };
            }
            if let Some(exit) = world.operation(bus) {
                return exit;
            }
            if world.model.pending() {
                return Exit::Stop;
            }
        }
    }
    fn retired(&self) -> u64 {
        // While the processor runs nobody asks.
        self.world.try_lock().map_or(0, |w| w.retired)
    }
    fn reset(&mut self, kind: CpuReset) {
        if kind == CpuReset::Power {
            self.world.lock().expect("one thread uses it").cpu_resets += 1;
        }
    }
    fn save(&self) -> CpuState {
        CpuState { retired: self.world.lock().expect("one thread uses it").retired, ..self.template.clone() }
    }
    fn load(&mut self, state: &CpuState) -> Result<(), StateError> {
        self.world.lock().expect("one thread uses it").retired = state.retired;
        Ok(())
    }
    fn translate(&self, _: &mut dyn CpuBus, linear: u32) -> Option<u64> {
        Some(linear.into())
    }
    fn kick_handle(&self) -> KickHandle {
        self.kick.clone()
    }
}

fn build(world: &Arc<Mutex<World>>) -> Machine {
    let mut builder = MachineBuilder::new(RAM).expect("room for memory");
    builder.clock(ClockMode::Counted);
    let (chips, slots, wires, link) = {
        let mut w = world.lock().expect("one thread uses it");
        w.retired = 0;
        (w.model.chips.clone(), w.model.slots.clone(), w.model.wires.clone(), w.link.clone())
    };
    let mut ids: Vec<DeviceId> = Vec::new();
    for (mut chip, slot) in chips.into_iter().zip(slots) {
        chip.reset();
        let name = format!("chip{}", chip.index);
        let chip = Scripted::new(chip, link.clone());
        let id = match slot {
            Some(slot) => builder.add_pci(&name, slot, chip),
            None => builder.add(&name, chip),
        };
        ids.push(id.expect("room for a chip"));
    }
    for wire in &wires {
        let sink = match wire.sink {
            WireSink::Input(chip, pin) => Sink::Input(ids[chip], Pin(pin)),
            WireSink::Intr => Sink::CpuIntr,
            WireSink::Nmi => Sink::CpuNmi,
            WireSink::A20 => Sink::CpuA20,
            WireSink::Init => Sink::CpuInit,
            WireSink::Reset => Sink::Reset,
            WireSink::PowerOff => Sink::PowerOff,
        };
        builder.wire(ids[wire.from], wire.pin, sink);
    }
    let template = SoftCpu::new(CpuModel::default()).save();
    builder.cpu(Box::new(ScriptedCpu { world: world.clone(), template, kick: KickHandle::new() }));
    let machine = builder.build().expect("it has a processor");
    let mut w = world.lock().expect("one thread uses it");
    let page =
        |m: Option<&Memory>| m.and_then(|m| m.host_page(0, false)).map_or(0, |p| p.data().as_ptr().addr());
    w.hosts = vec![page(Some(machine.ram()))];
    w.hosts.extend(ids.iter().map(|id| page(machine.lent(*id, LentId(0)))));
    w.generation = None;
    drop(w);
    machine
}

fn world(bytes: &[u8]) -> World {
    let mut input = Reader(bytes);
    let count = 1 + usize::from(input.u8() % 5);
    let (mut chips, mut slots) = (Vec::new(), Vec::new());
    for index in 0..count {
        let shape = input.u8();
        let mut order = Window::io(ORDER_WINDOW, ORDERS + 4 * index as u16, 4);
        order.priority = 255;
        let mut first = vec![order];
        let slot = (shape & 3 != 0).then_some(shape >> 2 & 3);
        if shape & 1 != 0 {
            first.push(Window::pci_config(CONFIG_WINDOW, shape >> 4 & 7));
        }
        slots.push(slot);
        let follows = input.u8() & 15;
        chips.push(Chip {
            index,
            windows: first.clone(),
            first,
            levels: PinLevels::default(),
            follows,
            deadline: None,
            period: 0,
            pin: Pin(0),
        });
    }
    let mut wires = Vec::new();
    for _ in 0..input.u8() % 16 {
        let (a, b) = (input.u8(), input.u8());
        let sink = match b % 16 {
            0..=8 => WireSink::Input(usize::from(b >> 4) % count, a >> 6 & 3),
            9 | 10 => WireSink::Intr,
            11 => WireSink::Nmi,
            12 => WireSink::A20,
            13 => WireSink::Init,
            14 => WireSink::Reset,
            _ => WireSink::PowerOff,
        };
        wires.push(Wire { from: usize::from(a & 7) % count, pin: Pin(a >> 3 & 3), sink });
    }
    let driven = vec![false; wires.len()];
    let model = Model {
        slots,
        wires,
        ram: vec![0; RAM],
        lent: vec![vec![0; LENT]; count],
        chips,
        config: 0,
        offset: 0,
        now: 0,
        reset: false,
        init: false,
        power_off: false,
        resets: 0,
        expected: Vec::new(),
        lines: VecDeque::new(),
        settling: false,
        driven,
        moves: 0,
    };
    World {
        model,
        input: input.0.iter().copied().collect(),
        link: Link::default(),
        retired: 0,
        operations: 0,
        entered: 0,
        save_wanted: false,
        done: false,
        cpu_resets: 0,
        hosts: Vec::new(),
        generation: None,
        halting: false,
    }
}

/// See the module.
pub fn bus(input: &[u8]) {
    let bytes = text::bytes(input);
    let world = Arc::new(Mutex::new(world(&bytes)));
    let mut machine = build(&world);
    {
        let mut w = world.lock().expect("one thread uses it");
        w.model.settle_levels(Tell::All);
        w.check("building");
    }
    loop {
        let exit = machine.run(VmInstant::MAX);
        let mut w = world.lock().expect("one thread uses it");
        if std::mem::take(&mut w.halting) {
            w.jump();
        }
        match exit {
            RunExit::PowerOff => {
                let retired = w.retired;
                assert!(!w.model.enter(retired), "the machine switched itself off");
                w.check("power off");
                break;
            }
            RunExit::Dead if w.done => break,
            RunExit::Dead => {}
            other => panic!("the machine ended with {other:?}"),
        }
        assert_eq!(w.cpu_resets, w.model.resets);
        if std::mem::take(&mut w.save_wanted) {
            let entered = w.entered;
            drop(w);
            let state = machine.save().expect("no disks");
            machine = build(&world);
            lock(&world.lock().expect("one thread uses it").link).log.clear();
            machine.restore(&state).expect("its own state");
            let mut w = world.lock().expect("one thread uses it");
            assert_eq!(w.entered, entered);
            // The clock goes on from the time that was saved.
            w.model.offset = w.model.now.wrapping_sub(w.retired * NANOS_PER_INSTRUCTION);
            w.model.settle_levels(Tell::None);
            w.check("a restore");
            drop(w);
            assert!(machine.save().as_ref() == Ok(&state), "a restored machine saves as what it was");
        }
    }
    let w = world.lock().expect("one thread uses it");
    let ram = machine.ram().slice(0, RAM).expect("all of it");
    assert!(ram == w.model.ram, "memory is not what the model has");
    for (i, (id, _)) in machine.devices().enumerate() {
        let lent = machine.lent(id, LentId(0)).expect("each has one");
        assert!(lent.slice(0, LENT).expect("all of it") == w.model.lent[i], "the memory lent to chip {i}");
    }
}
