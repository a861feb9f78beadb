//! The chip on its bus: configuration space, CSRs, interrupt, time.

use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, DmaFault, Generation, Inspector, Pin, PinLevels, ResetKind, VmInstant, Window, WindowId,
    WindowSet,
};
use slotone_net::{MacAddress, NetClient, Received};
use slotone_pci::{Bar, ConfigSpace, Identity};

use crate::eeprom::Eeprom;
use crate::mii::Phy;
use crate::receive;
use crate::registers::{CSR_STRIDE, config, csr0, csr5, csr6, csr7, csr8, csr9, csr12, csr15};
use crate::srom::{self, Srom, SromError};
use crate::state::{Counters, SECTION, State, VERSION};
use crate::timer;
use crate::transmit;

const CONFIG: WindowId = WindowId(0);
const CBIO: WindowId = WindowId(1);
const CBMA: WindowId = WindowId(2);
/// Bytes of CBIO. Drivers look for exactly this.
const CBIO_LEN: u16 = 128;
/// Bytes of CBMA: a page, as Virtual PC had it. The CSRs are in the first 128.
const CBMA_LEN: u32 = 4096;

/// What a card is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TulipConfig {
    /// Ethernet address in the serial ROM.
    pub mac: MacAddress,
    /// Which of Virtual Server's four cards it is, 0 to 3 (the lowest two bits count): subsystem vendor 0A00h + `port`.
    pub port: u8,
    /// Another serial ROM than the one made of `mac` and `port`, which are then ignored. Its CRCs are not checked here: a ROM with a wrong ID CRC
    /// gives subsystem 0000:0000, as on the chip.
    pub srom: Option<[u8; srom::LEN]>,
}

impl TulipConfig {
    /// A card with this address, the first of its machine.
    pub fn new(mac: MacAddress) -> Self {
        Self { mac, port: 0, srom: None }
    }
}

/// Where frames go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Link {
    /// To the network.
    Network,
    /// To the network, and back to the own receiver.
    External,
    /// Back within the chip.
    Internal,
    /// Back in the transceiver.
    Phy,
    /// Nowhere: the cable is out.
    Down,
}

/// A 21140A with its serial ROM and its PHY.
///
/// The cable is out until [`NetClient::set_link`].
#[derive(Debug)]
pub struct Tulip {
    config: ConfigSpace,
    windows: WindowSet,
    pub(crate) state: State,
    pub(crate) counters: Counters,
}

impl Tulip {
    /// The interrupt output, active while asserted: INTA# of the card's slot.
    pub const INTA: Pin = Pin(0);

    /// A card after power-on.
    pub fn new(config: TulipConfig) -> Self {
        let TulipConfig { mac, port, srom } = config;
        let image = srom.or_else(|| Srom::new(port, mac).image().ok()).unwrap_or([0; srom::LEN]);
        let identity = Identity {
            vendor: 0x1011,
            device: 0x0009,
            revision: 0x20,
            class: 0x02_00_00,
            interrupt_pin: 1,
            ..Identity::default()
        };
        let space = ConfigSpace::new(identity)
            .with_command(0x0157)
            .with_register(ConfigSpace::STATUS, &[0x80, 0x02], &[0, 0])
            .with_write_one_to_clear(ConfigSpace::STATUS, &[0x00, 0xf9])
            .with_register(config::CFLT, &[0, 0], &[0xff, 0xff])
            .with_bar(0, Bar::Io { len: CBIO_LEN.into() })
            .with_bar(1, Bar::Memory { len: CBMA_LEN, prefetchable: false })
            .with_register(config::MIN_GNT, &[0x14, 0x28], &[0, 0])
            .with_register(config::CFDD, &[0; 4], &[0x00, 0xff, 0x00, 0xc0]);
        let state = State::new(space.save(), Eeprom::new(&image), Phy::new(false));
        let mut this =
            Self { config: space, windows: WindowSet::default(), state, counters: Counters::default() };
        this.load_csid();
        this.decode();
        this
    }

    /// The serial ROM as it is now; a guest may have written it.
    pub fn srom(&self) -> [u8; srom::LEN] {
        self.state.eeprom.image()
    }

    /// The Ethernet address in the serial ROM.
    ///
    /// # Errors
    /// [`SromError`] if the ROM is not sound (a guest may have written it).
    pub fn mac(&self) -> Result<MacAddress, SromError> {
        Srom::parse(&self.srom()).map(|rom| rom.mac)
    }

    /// CSID comes out of the serial ROM at every hardware reset.
    fn load_csid(&mut self) {
        let image = self.srom();
        let id = [image[0], image[1], image[2], image[3]];
        self.state.csid = if srom::id_crc(&image) == image[16] { u32::from_le_bytes(id) } else { 0 };
        self.config.set(config::CSID, &self.state.csid.to_le_bytes());
    }

    /// Derives the windows from configuration space.
    fn decode(&mut self) {
        let mut windows = vec![Window::pci_config(CONFIG, 0)];
        if let Some(base) = self.config.io_bar(0) {
            windows.push(Window::io(CBIO, base, CBIO_LEN));
        }
        if let Some(base) = self.config.memory_bar(1) {
            windows.push(Window::memory(CBMA, base, CBMA_LEN.into()));
        }
        self.windows.set(windows);
    }

    /// The chip may reach memory: bus mastering is on and no fatal bus error is latched.
    pub(crate) fn may_master(&self) -> bool {
        !self.state.fatal && self.config.command() & ConfigSpace::COMMAND_MASTER != 0
    }

    pub(crate) fn link(&self) -> Link {
        match self.state.csr6 >> csr6::OM_SHIFT & 3 {
            1 => Link::Internal,
            _ if self.state.phy.loops() => Link::Phy,
            _ if !self.state.phy.link() => Link::Down,
            0 => Link::Network,
            _ => Link::External,
        }
    }

    /// Sets events of CSR5.
    pub(crate) fn raise(&mut self, events: u32) {
        self.state.csr5 |= events;
    }

    /// A DMA access had no target: the chip keeps off the bus until it is reset.
    pub(crate) fn fatal(&mut self, _: DmaFault) {
        self.counters.dma_faults += 1;
        self.state.fatal = true;
        self.raise(csr5::FBE | csr5::EB_MASTER_ABORT << csr5::EB_SHIFT);
        let status = self.config.byte(ConfigSpace::STATUS + 1);
        self.config.set(ConfigSpace::STATUS + 1, &[status | config::CFCS_RMA_HIGH]);
    }

    /// NIS and AIS: what is both raised and enabled.
    fn summary(&self) -> u32 {
        let enabled = self.state.csr5 & self.state.csr7;
        let bit = |events: u32, bit: u32| if enabled & events != 0 { bit } else { 0 };
        bit(csr5::NORMAL, csr5::NIS) | bit(csr5::ABNORMAL, csr5::AIS)
    }

    fn level(&self) -> bool {
        self.summary() & self.state.csr7 != 0
    }

    /// Drives the interrupt pin if its level changed.
    fn update_line(&mut self, cx: &mut Cx<'_>) {
        let level = self.level();
        if level != self.state.line {
            self.state.line = level;
            cx.line(Self::INTA, level);
        }
    }

    fn step(&self) -> u64 {
        timer::step(self.state.csr6)
    }

    /// CSR `n` as the guest reads it, without side effects.
    pub(crate) fn peek(&self, n: u64, now: VmInstant) -> u32 {
        let s = &self.state;
        match n {
            0 => csr0::ONES | s.csr0,
            3 => s.csr3,
            4 => s.csr4,
            5 => {
                let processes = s.rx.code() << csr5::RS_SHIFT | s.tx.code() << csr5::TS_SHIFT;
                csr5::ONES | processes | self.summary() | s.csr5
            }
            6 => csr6::ONES | s.csr6 | s.filter.csr6(),
            7 => csr7::ONES | s.csr7,
            8 => csr8::ONES | s.csr8,
            9 => {
                let selected = s.csr9 & csr9::SR != 0;
                let out = if s.eeprom.out || !selected { csr9::SR_DO } else { 0 };
                csr9::ONES | s.csr9 | out | if self.mdio() { csr9::MDI } else { 0 }
            }
            10 => s.csr10,
            11 => s.timer.read(now, self.step()),
            // Nothing is wired to the pins: inputs are pulled up.
            12 => csr12::ONES | u32::from(s.gpr_data | !s.gpr_direction),
            15 => csr15::ONES | s.csr15,
            _ => u32::MAX,
        }
    }

    /// The management data line: the host's while it drives, else the PHY's.
    fn mdio(&self) -> bool {
        if self.state.csr9 & csr9::MII == 0 { self.state.csr9 & csr9::MDO != 0 } else { self.state.mii.out() }
    }

    fn read_csr(&mut self, n: u64, now: VmInstant) -> u32 {
        let value = self.peek(n, now);
        if n == 8 {
            self.state.csr8 = 0;
        }
        value
    }

    fn write_csr(&mut self, cx: &mut Cx<'_>, n: u64, value: u32) {
        let now = cx.now();
        match n {
            0 if value & csr0::SWR != 0 => self.software_reset(),
            0 => {
                self.state.csr0 = value & csr0::WRITABLE;
                self.schedule_transmit(now);
            }
            1 => self.transmit(cx),
            2 => self.look(cx),
            3 => {
                self.state.csr3 = value & !3;
                if self.state.rx.process == receive::Process::Stopped {
                    self.state.rx.next = value & !3;
                }
            }
            4 => {
                self.state.csr4 = value & !3;
                if self.state.tx.process == transmit::Process::Stopped {
                    self.state.tx.next = value & !3;
                }
            }
            5 => {
                self.state.csr5 &= !(value & csr5::EVENTS);
                self.look_again(cx);
            }
            6 => self.write_csr6(cx, value),
            7 => {
                self.state.csr7 = value & csr7::WRITABLE;
                self.look_again(cx);
            }
            9 => self.write_csr9(value),
            10 => self.state.csr10 = value & 0x3_ffff,
            11 => self.state.timer.write(now, value),
            12 if value & csr12::GPC != 0 => self.state.gpr_direction = value as u8,
            12 => self.state.gpr_data = value as u8,
            15 => self.state.csr15 = value & csr15::WRITABLE,
            _ => {}
        }
        self.update_line(cx);
    }

    fn write_csr6(&mut self, cx: &mut Cx<'_>, value: u32) {
        let (old, old_step) = (self.state.csr6, self.step());
        self.state.csr6 = value & csr6::WRITABLE;
        let changed = old ^ self.state.csr6;
        if self.step() != old_step {
            self.state.timer.change_step(cx.now(), old_step);
        }
        match (changed & csr6::SR != 0, value & csr6::SR != 0) {
            (true, true) => self.start_receive(cx),
            (true, false) => self.stop_receive(),
            _ => {}
        }
        match (changed & csr6::ST != 0, value & csr6::ST != 0) {
            (true, true) => self.start_transmit(cx),
            (true, false) => self.stop_transmit(cx),
            // The speed and the way of a held frame may have changed.
            _ if changed != 0 => self.schedule_transmit(cx.now()),
            _ => {}
        }
    }

    fn write_csr9(&mut self, value: u32) {
        let s = &mut self.state;
        s.csr9 = value & csr9::WRITABLE;
        let select = value & csr9::SR != 0 && value & csr9::SR_CS != 0;
        s.eeprom.drive(select, value & csr9::SR_SK != 0, value & csr9::SR_DI != 0);
        let data = value & (csr9::MII | csr9::MDO) != 0;
        s.mii.drive(&mut s.phy, value & csr9::MDC != 0, data);
    }

    /// CSR0 SWR: CSRs, processes, filter and serial engines; neither configuration space nor the PHY, and CSR6 PS stays.
    fn software_reset(&mut self) {
        let old = &self.state;
        let mut eeprom = old.eeprom.clone();
        eeprom.release();
        let mut new = State::new(old.config.clone(), eeprom, old.phy.clone());
        new.csr6 |= old.csr6 & csr6::PS;
        (new.csid, new.status_high, new.line) = (old.csid, old.status_high, old.line);
        self.state = new;
    }

    fn write_config(&mut self, cx: &mut Cx<'_>, offset: u64, data: &[u8]) {
        let could = self.may_master();
        self.config.write(offset, data);
        self.decode();
        if self.may_master() != could {
            // What waited for the bus goes on; what waits for it from now on needs no ticks.
            self.look(cx);
            self.transmit(cx);
            self.update_line(cx);
        }
    }

    /// The CSR at an offset of CBIO or CBMA, if one begins in its longword.
    fn csr_at(offset: u64) -> Option<u64> {
        (offset < u64::from(CBIO_LEN) && offset % CSR_STRIDE < 4).then_some(offset / CSR_STRIDE)
    }

    pub(crate) fn config(&self) -> &ConfigSpace {
        &self.config
    }
}

impl Device for Tulip {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        if at.window == CONFIG {
            self.config.read(at.offset, data);
            return;
        }
        // Accesses are of longwords; of anything else the chip gives the lanes.
        data.fill(0xff);
        if let Some(n) = Self::csr_at(at.offset) {
            let value = self.read_csr(n, cx.now()).to_le_bytes();
            data.iter_mut().zip(&value[(at.offset % 4) as usize..]).for_each(|(to, from)| *to = *from);
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        if at.window == CONFIG {
            self.write_config(cx, at.offset, data);
        } else if let Some(n) = Self::csr_at(at.offset)
            && at.offset.is_multiple_of(4)
            && let Some(value) = data.first_chunk::<4>()
        {
            self.write_csr(cx, n, u32::from_le_bytes(*value));
        }
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(Self::INTA, self.state.line)
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        let s = &self.state;
        [s.tx.again, s.rx.again, s.timer.deadline(self.step())].into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        let now = cx.now();
        let due = |at: Option<VmInstant>| at.is_some_and(|at| at <= now);
        if self.state.timer.expire(now, self.step()) {
            self.raise(csr5::GTE);
        }
        if due(self.state.rx.again) {
            self.receive_tick(cx);
        }
        if due(self.state.tx.again) {
            self.transmit_tick(cx);
        }
        self.update_line(cx);
    }

    fn reset(&mut self, kind: ResetKind) {
        let mut eeprom = self.state.eeprom.clone();
        if kind == ResetKind::Power {
            eeprom = Eeprom::new(&eeprom.image());
        }
        eeprom.release();
        self.config.reset();
        let phy = Phy::new(self.state.phy.cable);
        self.state = State::new(self.config.save(), eeprom, phy);
        self.load_csid();
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        let mut state = self.state.clone();
        state.config = self.config.save();
        state.status_high = self.config.byte(ConfigSpace::STATUS + 1);
        w.section(SECTION, VERSION, &state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, VERSION)?;
        let invalid = |what: &str| StateError::Invalid { section: SECTION.into(), what: what.into() };
        state.check().map_err(invalid)?;
        let mut config = self.config.clone();
        config.load(&state.config);
        config.set(config::CSID, &state.csid.to_le_bytes());
        config.set(ConfigSpace::STATUS + 1, &[state.status_high & 0xf9 | 0x02]);
        let old = std::mem::replace(&mut self.state, state);
        if self.level() != self.state.line {
            self.state = old;
            return Err(invalid("the interrupt pin does not fit CSR5 and CSR7"));
        }
        self.config = config;
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        self.show(out);
    }
}

impl NetClient for Tulip {
    fn frame(&self) -> Option<&[u8]> {
        let ready = self.state.tx.held && matches!(self.link(), Link::Network | Link::External);
        ready.then(|| self.state.tx.frame.as_slice())
    }

    fn sent(&mut self, cx: &mut Cx<'_>) {
        if self.frame().is_some() {
            self.transmitted(cx);
            self.update_line(cx);
        }
    }

    fn receive(&mut self, cx: &mut Cx<'_>, frame: &[u8]) -> Received {
        let received = self.receive_frame(cx, frame);
        self.update_line(cx);
        received
    }

    fn ready(&self) -> bool {
        let waits = matches!(self.state.rx.process, receive::Process::Suspended | receive::Process::Fetch);
        !waits || self.state.fatal
    }

    fn set_link(&mut self, cx: &mut Cx<'_>, up: bool) {
        if self.state.phy.cable != up {
            self.state.phy.set_cable(up);
            self.schedule_transmit(cx.now());
        }
    }
}
