//! The adapter as a device of a machine: configuration space, windows, disk requests, state.

use std::any::Any;

use slotone_block::{Completion, DiskClient, Request};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window,
    WindowId, WindowSet,
};
use slotone_pci::{Bar, ConfigSpace, Identity};
use slotone_scsi::{Reset, Target};

use crate::adapter::{Adapter, Who};
use crate::registers as r;
use crate::state::{self, Bus, Saved, State};
use crate::{INTA, seeprom};

const SECTION: &str = "aic7870";
const CONFIG: WindowId = WindowId(0);
const PORTS: WindowId = WindowId(1);
const MEMORY: WindowId = WindowId(2);

/// DEVCONFIG, offset 40h of configuration space.
const DEVCONFIG: u8 = 0x40;

/// How long targets take, in nanoseconds of virtual time. Zero means the least there is, 1 ns. The default is a disk that keeps nobody waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A request to a medium, before its first sector; 20,000 by default.
    pub access: u64,
    /// Each sector (512 bytes) of it; 200 by default.
    pub sector: u64,
    /// A selection that a target answers; 1,000 by default.
    pub selection: u64,
    /// A selection that nobody answers. On the chip STIMESEL chooses 32 to 256 ms; nothing measures it. 250,000 by default.
    pub selection_timeout: u64,
    /// A target whose medium takes longer than this disconnects, if it may; 5,000 by default.
    pub disconnect_after: u64,
}

impl Default for Timing {
    /// A disk that keeps nobody waiting: 20 us an access, 200 ns a sector; 1 us for a selection, 250 us for one without an answer; who needs more than 5 us
    /// disconnects.
    fn default() -> Self {
        Self {
            access: 20_000,
            sector: 200,
            selection: 1_000,
            selection_timeout: 250_000,
            disconnect_after: 5_000,
        }
    }
}

/// Hesitations of targets on the bus, for tests: drivers must not notice them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Latency {
    /// Before a REQ a target takes 1 to this many nanoseconds; 0 is none.
    pub request: u64,
    /// Bytes that DMA moves before the target hesitates again; 0 is no limit.
    pub burst: u32,
    /// Where the random numbers begin.
    pub seed: u64,
}

/// How an adapter is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aic7870Config {
    /// Its SCSI ID, 0 to 15 (usually 7; 6 on a bus that two machines share). Drivers read it from the serial EEPROM.
    pub id: u8,
    /// A wide bus: 16 bits and IDs 0 to 15.
    pub wide: bool,
    /// Its number among the adapters of a machine: for traces only.
    pub adapter: u8,
    /// How long targets take.
    pub timing: Timing,
    /// Hesitations, for tests.
    pub latency: Latency,
}

impl Default for Aic7870Config {
    fn default() -> Self {
        Self { id: 7, wide: false, adapter: 0, timing: Timing::default(), latency: Latency::default() }
    }
}

/// An AIC-7870 on a PCI slot, with up to 15 targets on its SCSI bus.
///
/// It is PCI function 0 of its device, `Device` and `DiskClient`; the unit of a disk request is the target's SCSI ID. Many requests
/// may be out at once. A reset and a restored state make what is out nobody's: what comes of it later is ignored, and the requests of a restored
/// state come anew, under numbers that were never used.
///
/// A state is restored into an adapter with the same ID and width and with targets at the same IDs; another one says in its error what it has.
pub struct Aic7870 {
    config: ConfigSpace,
    chip: Adapter,
    windows: WindowSet,
}

impl std::fmt::Debug for Aic7870 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Aic7870").field("config", &self.chip.config).finish_non_exhaustive()
    }
}

impl Aic7870 {
    /// The interrupt pin, active high here.
    pub const INTA: Pin = INTA;

    /// An adapter with `targets` by their SCSI IDs. A target at the adapter's own ID, or above 7 on a narrow bus, is never reached.
    pub fn new(config: Aic7870Config, targets: [Option<Box<dyn Target>>; 16]) -> Self {
        let config = Aic7870Config { id: config.id & 15, ..config };
        let identity = Identity {
            vendor: 0x9004,
            device: 0x7078,
            revision: 3,
            class: 0x01_00_00,
            interrupt_pin: 1,
            ..Identity::default()
        };
        let space = ConfigSpace::new(identity)
            // I/O, memory, master, memory write and invalidate, parity error response, SERR#.
            .with_command(0x0157)
            .with_register(0x06, &[0x80, 0x02], &[0, 0])
            .with_write_one_to_clear(0x06, &[0x00, 0xf9])
            .with_register(0x0c, &[0, 0], &[0x3c, 0xfc])
            .with_bar(0, Bar::Io { len: 256 })
            .with_bar(1, Bar::Memory { len: 4096, prefetchable: false })
            .with_register(0x3e, &[8, 8], &[0, 0])
            // External SCB memory is absent (RAMPSM, bit 9, stays 0).
            .with_register(DEVCONFIG, &[0x80, 0x05, 0, 0], &[0xff, 0xfd, 0xff, 0xff]);
        let mut this =
            Self { config: space, chip: Adapter::new(config, targets), windows: WindowSet::default() };
        this.decode();
        this
    }

    /// The target at SCSI ID `id`.
    pub fn target(&self, id: u8) -> Option<&dyn Target> {
        self.chip.targets.get(usize::from(id))?.as_deref()
    }

    /// The target at SCSI ID `id`, to be changed from outside: a medium inserted, for instance. From then on its requests mean the new one.
    pub fn target_mut(&mut self, id: u8) -> Option<&mut dyn Target> {
        Some(self.chip.targets.get_mut(usize::from(id))?.as_mut()?.as_mut())
    }

    /// The target at `id` if it is a `T`: `target_as::<CdRom>(5)` to insert a medium. One with a [`Faulty`](slotone_scsi::Faulty) around it is a
    /// `Faulty`, whose `inner_mut` leads to the drive.
    pub fn target_as<T: Target>(&mut self, id: u8) -> Option<&mut T> {
        (self.target_mut(id)? as &mut dyn Any).downcast_mut()
    }

    /// Puts another target in the place of that at SCSI ID `id`: `slotone_scsi::Faulty` around it, for instance. Before the machine runs; a
    /// saved state has the targets' own. Whether there was a target.
    pub fn replace_target(&mut self, id: u8, with: impl FnOnce(Box<dyn Target>) -> Box<dyn Target>) -> bool {
        let Some(slot) = self.chip.targets.get_mut(usize::from(id)) else { return false };
        *slot = slot.take().map(with);
        slot.is_some()
    }

    /// The content of the serial EEPROM, 64 words; a guest may have changed it.
    pub fn seeprom(&self) -> &[u16] {
        self.chip.s.seeprom.words()
    }

    /// Replaces the content of the serial EEPROM: what an owner kept from an earlier run.
    pub fn set_seeprom(&mut self, words: [u16; seeprom::WORDS]) {
        self.chip.s.seeprom = seeprom::Seeprom::new(words);
    }

    /// Commands that targets work on now.
    pub fn commands_in_flight(&self) -> usize {
        self.chip.s.commands.len()
    }

    /// Instructions that the sequencer executed since the adapter was made (not part of its state).
    pub fn instructions(&self) -> u64 {
        self.chip.instructions
    }

    /// Sends lines about the SCSI bus to `sink`, and with `sequencer` every instruction as well. Each begins with the adapter's own time, which may
    /// be a slice of work (51.2 us) ahead of the machine's: the line of an interrupt comes before the machine sees the pin. Not part of the state.
    #[cfg(feature = "trace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "trace")))]
    pub fn set_trace(&mut self, sink: impl FnMut(&str) + Send + 'static, sequencer: bool) {
        self.chip.trace = Some(Box::new(sink));
        self.chip.trace_sequencer = sequencer;
    }

    /// Sends what happens on the SCSI bus to `sink`: what a bus analyser would see, byte by byte. Not part of the state.
    #[cfg(feature = "trace")]
    #[cfg_attr(docsrs, doc(cfg(feature = "trace")))]
    pub fn set_bus_trace(&mut self, sink: impl FnMut(&crate::BusEvent<'_>) + Send + 'static) {
        self.chip.bus_trace = Some(Box::new(sink));
    }

    /// What a saved state must find again.
    fn bus(&self) -> Bus {
        let targets = self.chip.targets.iter().enumerate().filter(|(_, target)| target.is_some());
        let present = targets.fold(0, |mask, (id, _)| mask | 1 << id);
        Bus { id: self.chip.config.id, wide: self.chip.config.wide, present }
    }

    /// Derives from configuration space what it governs.
    fn decode(&mut self) {
        let command = self.config.command();
        self.chip.master = command & ConfigSpace::COMMAND_MASTER != 0;
        for (n, byte) in self.chip.pci_id.iter_mut().enumerate() {
            *byte = self.config.byte(n as u8);
        }
        // SERRESPEN, PERRESPEN, MWRICEN, MASTEREN.
        let bit = |mask: u16, bit: u8| if command & mask != 0 { bit } else { 0 };
        self.chip.pci_low = bit(0x100, 8) | bit(0x40, 4) | bit(0x10, 2) | bit(0x04, 1);
        self.chip.latency_timer = self.config.byte(0x0d);
        let mut windows = vec![Window::pci_config(CONFIG, 0)];
        if let Some(base) = self.config.io_bar(0) {
            windows.push(Window::io(PORTS, base, 256));
        }
        if let Some(base) = self.config.memory_bar(1) {
            windows.push(Window::memory(MEMORY, base, 4096));
        }
        self.windows.set(windows);
    }

    /// The end of every call: what the chip did that configuration space shows, and when it goes on.
    fn settle(&mut self) {
        if std::mem::take(&mut self.chip.master_abort) {
            let status = self.config.byte(0x07);
            self.config.set(0x07, &[status | 0x20]);
        }
    }
}

impl Device for Aic7870 {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        match at.window {
            CONFIG => self.config.read(at.offset, data),
            PORTS | MEMORY => {
                self.chip.enter(cx.now());
                for (byte, offset) in data.iter_mut().zip(at.offset..) {
                    // The 4 KiB of memory repeat the registers.
                    *byte = self.chip.read_any(cx, offset as u8, Who::Host);
                }
                self.chip.leave();
                self.settle();
            }
            _ => data.fill(0xff),
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        self.chip.enter(cx.now());
        match at.window {
            CONFIG => {
                self.config.write(at.offset, data);
                self.decode();
                // DMA may have become possible, and the pin is gated by the master bit.
                self.chip.touch();
                self.chip.settle(cx);
            }
            PORTS | MEMORY => {
                for (byte, offset) in data.iter().zip(at.offset..) {
                    self.chip.write_any(cx, offset as u8, *byte, Who::Host);
                }
            }
            _ => {}
        }
        self.chip.leave();
        self.settle();
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(INTA, self.chip.s.inta)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        self.chip.next_deadline()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.chip.tick(cx);
        self.settle();
    }

    fn reset(&mut self, kind: ResetKind) {
        self.config.reset();
        let chip = &mut self.chip;
        let (time, image) = (chip.s.time, chip.s.seeprom.words().to_vec());
        let scratch = chip.s.file[0x20..0x60].to_vec();
        chip.replace(State::new(chip.config.id, chip.config.wide));
        (chip.s.time, chip.s.random) = (time, chip.config.latency.seed);
        let words: [u16; seeprom::WORDS] = std::array::from_fn(|n| image.get(n).copied().unwrap_or(0xffff));
        chip.s.seeprom = seeprom::Seeprom::new(words);
        if kind == ResetKind::Bus {
            chip.s.file[0x20..0x60].copy_from_slice(&scratch);
        }
        for target in chip.targets.iter_mut().flatten() {
            target.reset(Reset::PowerOn);
        }
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        let saved = Saved {
            config: self.config.save(),
            status_high: self.config.byte(0x07),
            bus: self.bus(),
            state: self.chip.s.clone(),
        };
        w.section(SECTION, 1, &saved);
        for target in self.chip.targets.iter().flatten() {
            target.save(w);
        }
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let invalid =
            |what: &str| StateError::Invalid { section: SECTION.to_string(), what: what.to_string() };
        let saved: Saved = r.section(SECTION, 1)?;
        let here = self.bus();
        if saved.bus != here {
            return Err(invalid(&format!("it is of an adapter with {}; this one has {here}", saved.bus)));
        }
        state::check(&saved.state, here).map_err(invalid)?;
        // Targets change one by one; should one refuse, those before it get back what they had.
        let mut before = StateWriter::new();
        for target in self.chip.targets.iter().flatten() {
            target.save(&mut before);
        }
        let mut result = Ok(());
        for target in self.chip.targets.iter_mut().flatten() {
            result = target.restore(r);
            if result.is_err() {
                break;
            }
        }
        if let Err(error) = result {
            let before = before.into_bytes();
            let mut back = StateReader::new(&before);
            for target in self.chip.targets.iter_mut().flatten() {
                // Its own state, taken a moment ago.
                let _ = target.restore(&mut back);
            }
            return Err(error);
        }
        self.config.load(&saved.config);
        self.config.set(0x07, &[saved.status_high & 0xf9 | 0x02]);
        self.chip.replace(saved.state);
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        self.chip.inspect(out);
        out("DEVCONFIG", InspectValue::Register { value: u64::from(self.config.dword(DEVCONFIG)), bits: 32 });
        out("PCICMD", InspectValue::Register { value: u64::from(self.config.command()), bits: 16 });
    }
}

impl Adapter {
    fn inspect(&self, out: &mut Inspector<'_>) {
        let mut byte =
            |name: &str, value: u8| out(name, InspectValue::Register { value: value.into(), bits: 8 });
        for address in [
            r::SCSISEQ,
            r::SXFRCTL0,
            r::SXFRCTL1,
            r::SCSIRATE,
            r::SCSIID,
            r::SIMODE0,
            r::SIMODE1,
            r::SELID,
            r::SBLKCTL,
            r::SEQCTL,
            r::ACCUM,
            r::SINDEX,
            r::DINDEX,
            r::HCNTRL,
            r::SCBPTR,
            r::DFCNTRL,
            r::SCBCNT,
        ] {
            byte(&r::name(address), self.file(address));
        }
        byte("SCSISIGI", self.signals());
        byte("SCSISIGO", self.s.sigo);
        byte("SSTAT0", self.sstat0());
        byte("SSTAT1", self.sstat1());
        byte("INTSTAT", self.s.intstat | u8::from(self.s.scsiint) << 2);
        byte("ERROR", self.s.error);
        byte("FLAGS", u8::from(self.s.zero) << 1 | u8::from(self.s.carry));
        let mut wide = |name: &str, value: u64, bits| out(name, InspectValue::Register { value, bits });
        wide("SEQADDR", self.s.pc.into(), 9);
        wide("HADDR", self.s.haddr, 40);
        wide("HCNT", self.s.hcnt.into(), 24);
        wide("SHADDR", self.s.shaddr.into(), 32);
        wide("STCNT", self.s.stcnt.into(), 24);
        out("sequencer.running", InspectValue::Flag(self.s.running()));
        out("sequencer.idle", InspectValue::Flag(self.s.parked));
        let in_flight = self.s.commands.len() as u64;
        let link = self.s.link.as_ref().map_or("free".to_string(), |l| format!("target {}", l.unit));
        out("bus", InspectValue::Text(link));
        for (id, agreed) in self.s.agreed.iter().enumerate().filter(|(_, a)| a.wide || a.offset > 0) {
            let width = if agreed.wide { 16 } else { 8 };
            let text =
                format!("{width} bits, period {} ns, offset {}", u32::from(agreed.period) * 4, agreed.offset);
            out(&format!("target{id}"), InspectValue::Text(text));
        }
        let c = &self.counters;
        for (name, value) in [
            ("commands_in_flight", in_flight),
            ("commands", c.commands),
            ("check_conditions", c.check_conditions),
            ("disconnects", c.disconnects),
            ("bytes_in", c.bytes_in),
            ("bytes_out", c.bytes_out),
            ("medium_errors", c.medium_errors),
            ("dma_faults", c.dma_faults),
            ("bus_resets", c.bus_resets),
            ("selection_timeouts", c.selection_timeouts),
            ("instructions", self.instructions),
        ] {
            out(name, InspectValue::Count(value));
        }
    }
}

impl DiskClient for Aic7870 {
    fn next_request(&mut self) -> Option<Request> {
        self.chip.next_request()
    }

    fn complete(&mut self, completion: Completion) {
        self.chip.complete(completion);
    }
}
