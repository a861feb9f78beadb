//! The PIIX4's function 1 as a device of a machine: configuration space, decoding, windows, state.

use slotone_block::{Completion, DiskClient, MediumInfo, Request};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, PinLevels, ResetKind, VmInstant, Window, WindowId,
    WindowSet, encode_fields,
};
use slotone_pci::{ConfigBytes, ConfigSpace, Identity};
use slotone_scsi::{CdRom, Target as _};
use thiserror::Error;

use crate::channel::{Channel, ChannelState};
use crate::drive::{Drive, Kind};
use crate::registers::config;
use crate::{IRQ14, IRQ15, state};

const SECTION: &str = "piix4-ide";
const CONFIG: WindowId = WindowId(0);
const COMMAND: [WindowId; 2] = [WindowId(1), WindowId(3)];
const CONTROL: [WindowId; 2] = [WindowId(2), WindowId(4)];
const BUS_MASTER: WindowId = WindowId(5);
const COMMAND_BASE: [u16; 2] = [0x1f0, 0x170];
const CONTROL_BASE: [u16; 2] = [0x3f6, 0x376];

/// How long drives take, in nanoseconds of virtual time. Zero means the least there is, 1 ns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// A medium request, before its first sector.
    pub access: u64,
    /// Each sector of a medium request.
    pub sector: u64,
    /// A command without a medium, and the end of a packet command.
    pub command: u64,
    /// Between two DRQ blocks, and before a DMA transfer starts.
    pub block: u64,
    /// A reset or the diagnostics.
    pub reset: u64,
}

impl Timing {
    /// `nanos` after `now`, and never `now` itself: a tick that comes to something new must move the deadline.
    pub(crate) fn after(now: VmInstant, nanos: u64) -> VmInstant {
        now + nanos.max(1)
    }
}

impl Default for Timing {
    /// A fast disk: 100 us an access, 2 us a sector, 5 us for a command or a DRQ block, 100 us for a reset.
    fn default() -> Self {
        Self { access: 100_000, sector: 2_000, command: 5_000, block: 5_000, reset: 100_000 }
    }
}

/// Why a medium cannot be changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MediaError {
    /// Units are 0 to 3.
    #[error("there is no IDE drive at unit {0}; units are 0 to 3, primary master first")]
    NoDrive(u8),
    /// The drive at this unit is a disk.
    #[error("the IDE drive at unit {0} has no removable medium")]
    NotRemovable(u8),
}

/// The PIIX4's IDE function with its four drives.
///
/// Requests to media come out of its [`DiskClient`] with units 0 (primary master) to 3 (secondary slave).
#[derive(Debug)]
pub struct PciIde {
    // Wiring.
    config: ConfigSpace,
    // Sub-devices.
    channels: [Channel; 2],
    // Book-keeping.
    windows: WindowSet,
}

#[derive(Debug, Clone, PartialEq)]
struct State {
    config: ConfigBytes,
    status_high: u8,
    channels: [ChannelState; 2],
}
encode_fields!(State { config, status_high, channels });

impl PciIde {
    /// The function with up to four drives: primary master and slave, secondary master and slave.
    ///
    /// As on the original product's board the channels are enabled from reset on; only PCICMD.IOSE is missing.
    pub fn new(drives: [Option<Drive>; 4], timing: Timing) -> Self {
        let identity = Identity {
            vendor: 0x8086,
            device: 0x7111,
            revision: 1,
            class: 0x01_01_80,
            ..Identity::default()
        };
        let config = ConfigSpace::new(identity)
            .with_command(ConfigSpace::COMMAND_IO | ConfigSpace::COMMAND_MASTER)
            .with_register(0x06, &[0x80, 0x02], &[0, 0])
            .with_write_one_to_clear(0x06, &[0x00, 0x38])
            .with_register(0x0d, &[0], &[0xf0])
            .with_register(0x20, &[1, 0, 0, 0], &[0xf0, 0xff, 0, 0])
            .with_register(config::IDETIM, &[0x00, 0x80, 0x00, 0x80], &[0xff, 0xf3, 0xff, 0xf3])
            .with_register(config::SIDETIM, &[0], &[0xff])
            .with_register(config::UDMACTL, &[0], &[0x0f])
            .with_register(config::UDMATIM, &[0, 0], &[0x33, 0x33]);
        let [a, b, c, d] = drives.map(|drive| drive.map(|d| d.0));
        let channels = [Channel::new([a, b], IRQ14, timing), Channel::new([c, d], IRQ15, timing)];
        let mut this = Self { config, channels, windows: WindowSet::default() };
        this.decode();
        this
    }

    /// Puts a medium into the CD drive at `unit`; a medium that was in is replaced. From now on requests of this unit mean the new one.
    ///
    /// # Errors
    /// [`MediaError`] if there is no CD drive at `unit`.
    pub fn insert(&mut self, unit: u8, medium: &MediumInfo) -> Result<(), MediaError> {
        self.cd_mut(unit)?.insert(medium.capacity);
        Ok(())
    }

    /// Takes the medium out of the CD drive at `unit`, even from a locked tray.
    ///
    /// # Errors
    /// [`MediaError`] if there is no CD drive at `unit`.
    pub fn eject(&mut self, unit: u8) -> Result<(), MediaError> {
        self.cd_mut(unit)?.eject();
        Ok(())
    }

    /// The CD drive at `unit`: is its tray open or locked, is there a medium.
    ///
    /// # Errors
    /// [`MediaError`] if there is no CD drive at `unit`.
    pub fn cd(&self, unit: u8) -> Result<&CdRom, MediaError> {
        match self.slot(unit)? {
            Kind::Cd(cd) => Ok(&cd.target),
            Kind::Disk(_) => Err(MediaError::NotRemovable(unit)),
        }
    }

    fn slot(&self, unit: u8) -> Result<&Kind, MediaError> {
        self.channels
            .get(usize::from(unit / 2))
            .and_then(|c| c.drives[usize::from(unit & 1)].as_ref())
            .ok_or(MediaError::NoDrive(unit))
    }

    fn cd_mut(&mut self, unit: u8) -> Result<&mut CdRom, MediaError> {
        let slot = self
            .channels
            .get_mut(usize::from(unit / 2))
            .and_then(|c| c.drives[usize::from(unit & 1)].as_mut())
            .ok_or(MediaError::NoDrive(unit))?;
        match slot {
            Kind::Cd(cd) => Ok(&mut cd.target),
            Kind::Disk(_) => Err(MediaError::NotRemovable(unit)),
        }
    }

    /// Derives from configuration space what it governs.
    fn decode(&mut self) {
        let command = self.config.command();
        let mut windows = vec![Window::pci_config(CONFIG, 1)];
        for n in 0..2 {
            self.channels[n].may_master = command & ConfigSpace::COMMAND_MASTER != 0;
            let enabled = self.config.word(config::IDETIM + 2 * n as u8) & config::IDETIM_IDE != 0;
            if enabled && command & ConfigSpace::COMMAND_IO != 0 {
                windows.push(Window::io(COMMAND[n], COMMAND_BASE[n], 8));
                windows.push(Window::io(CONTROL[n], CONTROL_BASE[n], 1));
            }
        }
        if let Some(base) = self.config.io_bar(4) {
            windows.push(Window::io(BUS_MASTER, base, 16));
        }
        self.windows.set(windows);
    }

    /// What a channel did that configuration space shows.
    fn settle(&mut self) {
        for channel in &mut self.channels {
            if std::mem::take(&mut channel.master_abort) {
                let status = self.config.byte(0x07);
                self.config.set(0x07, &[status | config::PCISTS_RMA]);
            }
        }
    }

    fn channel_of(window: WindowId) -> Option<(usize, bool)> {
        match window {
            w if w == COMMAND[0] => Some((0, true)),
            w if w == COMMAND[1] => Some((1, true)),
            w if w == CONTROL[0] => Some((0, false)),
            w if w == CONTROL[1] => Some((1, false)),
            _ => None,
        }
    }
}

impl Device for PciIde {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        data.fill(0xff);
        match at.window {
            CONFIG => self.config.read(at.offset, data),
            BUS_MASTER => {
                for (byte, offset) in data.iter_mut().zip(at.offset..16) {
                    *byte = self.channels[(offset >> 3) as usize].state.bus_master.read(offset & 7);
                }
            }
            window => {
                let Some((n, command_block)) = Self::channel_of(window) else { return };
                let channel = &mut self.channels[n];
                if !command_block {
                    if at.offset == 0
                        && let Some(byte) = data.first_mut()
                    {
                        *byte = channel.alternate_status();
                    }
                } else if at.offset == 0 {
                    channel.read_data(cx.now(), data);
                } else {
                    for (byte, register) in data.iter_mut().zip(at.offset..8) {
                        *byte = channel.read_register(register);
                    }
                }
                channel.update_line(cx);
            }
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        let now = cx.now();
        match at.window {
            CONFIG => {
                self.config.write(at.offset, data);
                self.decode();
                for channel in &mut self.channels {
                    channel.kick_dma(now);
                }
            }
            BUS_MASTER => {
                for (value, offset) in data.iter().zip(at.offset..16) {
                    let channel = &mut self.channels[(offset >> 3) as usize];
                    channel.state.bus_master.write(offset & 7, *value);
                    channel.kick_dma(now);
                }
            }
            window => {
                let Some((n, command_block)) = Self::channel_of(window) else { return };
                let channel = &mut self.channels[n];
                match (command_block, at.offset, data) {
                    (false, 0, [value, ..]) => channel.write_control(now, *value),
                    (false, ..) => {}
                    (true, 0, _) => channel.write_data(now, data),
                    (true, ..) => {
                        for (value, register) in data.iter().zip(at.offset..8) {
                            channel.write_register(now, register, *value);
                        }
                    }
                }
                channel.update_line(cx);
            }
        }
    }

    fn read_burst(&mut self, cx: &mut Cx<'_>, at: At, width: usize, data: &mut [u8]) -> usize {
        let width = width.max(1);
        // The fast way: whole elements that lie within the DRQ block of a data port.
        if at.offset == 0
            && width.is_multiple_of(2)
            && let Some((n, true)) = Self::channel_of(at.window)
        {
            let whole = self.channels[n].block_in().len().min(data.len()) / width * width;
            if whole > 0 {
                self.channels[n].read_data(cx.now(), &mut data[..whole]);
                self.channels[n].update_line(cx);
                return whole;
            }
        }
        match data.get_mut(..width) {
            Some(element) => {
                self.read(cx, at, element);
                width
            }
            None => 0,
        }
    }

    fn write_burst(&mut self, cx: &mut Cx<'_>, at: At, width: usize, data: &[u8]) -> usize {
        let width = width.max(1);
        if at.offset == 0
            && width.is_multiple_of(2)
            && let Some((n, true)) = Self::channel_of(at.window)
        {
            let whole = self.channels[n].wants_data().min(data.len()) / width * width;
            if whole > 0 {
                self.channels[n].write_data(cx.now(), &data[..whole]);
                self.channels[n].update_line(cx);
                return whole;
            }
        }
        match data.get(..width) {
            Some(element) => {
                self.write(cx, at, element);
                width
            }
            None => 0,
        }
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(IRQ14, self.channels[0].level()).with(IRQ15, self.channels[1].level())
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        self.channels.iter().filter_map(Channel::next_deadline).min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        for channel in &mut self.channels {
            channel.tick(cx);
        }
        self.settle();
    }

    fn reset(&mut self, _kind: ResetKind) {
        self.config.reset();
        for channel in &mut self.channels {
            channel.reset();
        }
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        let state = State {
            config: self.config.save(),
            status_high: self.config.byte(0x07),
            channels: [self.channels[0].state.clone(), self.channels[1].state.clone()],
        };
        w.section(SECTION, 2, &state);
        for channel in &self.channels {
            for drive in &channel.drives {
                if let Some(Kind::Cd(cd)) = drive {
                    cd.target.save(w);
                }
            }
        }
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        // Everything is read and checked before anything is changed.
        let saved: State = r.section(SECTION, 2)?;
        for (channel, state) in self.channels.iter().zip(&saved.channels) {
            state::check(state, &channel.drives).map_err(|what| StateError::Invalid {
                section: SECTION.to_string(),
                what: what.to_string(),
            })?;
        }
        let mut targets = Vec::new();
        for unit in 0..4 {
            if let Ok(cd) = self.cd(unit) {
                let mut target = cd.clone();
                target.restore(r)?;
                targets.push((unit, target));
            }
        }
        for (unit, target) in targets {
            if let Ok(cd) = self.cd_mut(unit) {
                *cd = target;
            }
        }
        self.config.load(&saved.config);
        self.config.set(0x07, &[saved.status_high & 0x38 | 0x02]);
        for (channel, state) in self.channels.iter_mut().zip(saved.channels) {
            channel.set_state(state);
        }
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        let mut register =
            |name: &str, value: u64, bits: u8| out(name, InspectValue::Register { value, bits });
        register("PCICMD", u64::from(self.config.command()), 16);
        register("PCISTS", u64::from(self.config.word(ConfigSpace::STATUS)), 16);
        register("BMIBA", u64::from(self.config.dword(0x20)), 32);
        register("IDETIM0", u64::from(self.config.word(config::IDETIM)), 16);
        register("IDETIM1", u64::from(self.config.word(config::IDETIM + 2)), 16);
        register("UDMACTL", u64::from(self.config.byte(config::UDMACTL)), 8);
        for (channel, prefix) in self.channels.iter().zip(["primary", "secondary"]) {
            channel.inspect(prefix, out);
        }
    }
}

/// Requests carry units 0 to 3; the lowest bit of an id is the channel.
impl DiskClient for PciIde {
    fn next_request(&mut self) -> Option<Request> {
        self.channels.iter_mut().zip(0u8..).find_map(|(channel, n)| {
            let request = channel.next_request()?;
            Some(Request { id: request.id << 1 | u64::from(n), unit: 2 * n + request.unit, ..request })
        })
    }

    fn complete(&mut self, completion: Completion) {
        let channel = &mut self.channels[(completion.id & 1) as usize];
        channel.complete(Completion { id: completion.id >> 1, ..completion });
    }
}
