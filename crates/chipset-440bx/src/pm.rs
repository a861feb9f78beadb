//! PIIX4 function 3: power management and SMBus (Intel 290562, section 7).
//!
//! | where | what |
//! | --- | --- |
//! | configuration | PMBA (40h), DEVACTB (58h), PMREGMISC (80h), SMBBA (90h), SMBHSTCFG (D2h) ... ([`register`]) |
//! | PMBA + 0..37h | PM1 event and control, PM timer, general-purpose event 0, GLBSTS ... GPO |
//! | SMBBA + 0..0Dh | SMBus host, while PCICMD bit 0 and SMBHSTCFG bit 0 are set |
//! | B2h, B3h | APMC, APMS |
//!
//! There is no system management mode. What a BIOS's SMI handler would do on APMC is done here while DEVACTB bit 25 (APMC enable) is set: the two values
//! of [`PmConfig`] set and clear SCI_EN; the two-byte power-off command works always. Sleep type 0 (soft off) powers off; other types are
//! counted and ignored. GPI pins read as high. Other SMI sources, clock control and device traps are storage.

mod smbus;

use crate::util::{byte_of, check, read_bytes, show, write_bytes};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Clock, Cx, Device, Generation, InspectValue, Inspector, PinLevels, ResetKind, VmInstant, Window,
    WindowId, WindowSet, encode_fields,
};
use slotone_pci::{ConfigBytes, ConfigSpace, Identity};
pub use smbus::SmbusMemory;
use smbus::{Host, Slaves};

/// Pins of [`Pm`].
pub mod pin {
    use slotone_bus::Pin;

    /// Output: SCI, to IRQ 9.
    pub const SCI: Pin = Pin(0);
    /// Output: SUSC#, asserted-is-high: the guest has switched the machine off. Stays until reset.
    pub const SLP_S5: Pin = Pin(1);
    /// Output: the SMBus host's interrupt when SMBHSTCFG selects IRQ 9, to IRQ 9.
    pub const SMB_IRQ: Pin = Pin(2);
}

/// Configuration registers.
pub mod register {
    /// Power management base address.
    pub const PMBA: u8 = 0x40;
    /// Device activity B; bit 25 enables APMC.
    pub const DEVACTB: u8 = 0x58;
    /// Bit 0 enables the ports at PMBA.
    pub const PMREGMISC: u8 = 0x80;
    /// SMBus base address.
    pub const SMBBA: u8 = 0x90;
    /// SMBus host configuration.
    pub const SMBHSTCFG: u8 = 0xd2;
}

const SECTION: &str = "piix4-pm";
const WINDOW_CONFIG: WindowId = WindowId(0);
const WINDOW_APM: WindowId = WindowId(1);
const WINDOW_PM: WindowId = WindowId(2);
const WINDOW_SMBUS: WindowId = WindowId(3);
const CLOCK: Clock = Clock::PM_TIMER;
/// Clocks after which bit 23 of the timer toggles.
const TMROF_CLOCKS: u64 = 1 << 23;

const TMROF: u16 = 1 << 0;
const GBL: u16 = 1 << 5;
const PWRBTN: u16 = 1 << 8;
const PMSTS_CLEAR: u16 = 0x8d31;
const PMEN_MASK: u16 = 0x0521;
const GPSTS_CLEAR: u16 = 0x0f81;
const GPEN_MASK: u16 = 0x0f01;
const SCI_EN: u16 = 1;
/// Bits of PMCNTRL that are kept: SUS_TYP, BRLD_EN_BM, SCI_EN. GBL_RLS and SUS_EN act and read as 0.
const PMCNTRL_MASK: u16 = 0x1c03;
const SUS_EN: u16 = 1 << 13;
const PCNTRL_MASK: u32 = 0x0002_3e1e;
const GPO_RESET: u32 = 0x7fff_bfff;

/// What the board and its BIOS decide about power management.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PmConfig {
    /// Value written to APMC (B2h) that hands power management to ACPI (FADT.ACPI_ENABLE).
    pub acpi_enable: u8,
    /// Value that takes it back (FADT.ACPI_DISABLE).
    pub acpi_disable: u8,
    /// Two bytes that, written to APMC one after the other, switch the machine off.
    pub power_off: Option<[u8; 2]>,
    /// Revision ID.
    pub revision: u8,
    /// Memories on the SMBus: the memory modules' SPD, for instance.
    pub smbus: Vec<SmbusMemory>,
}

impl Default for PmConfig {
    /// As Virtual Server has it: E1h and 1Eh, "ET", revision 2, nothing on the SMBus.
    fn default() -> Self {
        Self {
            acpi_enable: 0xe1,
            acpi_disable: 0x1e,
            power_off: Some(*b"ET"),
            revision: 2,
            smbus: Vec::new(),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    config: ConfigBytes,
    pmsts: u16,
    pmen: u16,
    pmcntrl: u16,
    gpsts: u16,
    gpen: u16,
    pcntrl: u32,
    glbsts: u16,
    devsts: u32,
    glben: u16,
    glbctl: u32,
    devctl: u32,
    gpo: u32,
    apmc: u8,
    apms: u8,
    /// Timer clock up to which TMROF_STS is right.
    timer_seen: u64,
    off: bool,
    other_sleeps: u64,
    smbus: Host,
}
encode_fields!(State {
    config,
    pmsts,
    pmen,
    pmcntrl,
    gpsts,
    gpen,
    pcntrl,
    glbsts,
    devsts,
    glben,
    glbctl,
    devctl,
    gpo,
    apmc,
    apms,
    timer_seen,
    off,
    other_sleeps,
    smbus
});

/// Power management and SMBus. Pins: [`pin`].
///
/// ```
/// use slotone_bus::{At, Device, TestPort, WindowId};
/// use slotone_chipset_440bx::pm::{Pm, PmConfig, pin};
///
/// let (mut pm, mut port) = (Pm::new(PmConfig::default()), TestPort::new(0x1000));
/// let mut config = |offset, data: &[u8]| port.at(0, |cx| pm.write(cx, At { window: WindowId(0), offset }, data));
/// config(0x40, &0x0400u32.to_le_bytes()); // PMBA
/// config(0x80, &[1]); // PMREGMISC
/// let pm1_control = pm.windows().1.iter().find(|w| w.base == 0x400).map(|w| At { window: w.id, offset: 4 }).unwrap();
/// port.at(0, |cx| pm.write(cx, pm1_control, &0x2000u16.to_le_bytes())); // SUS_EN, type 0: soft off
/// assert_eq!(port.take_lines(), [(pin::SLP_S5, true)]);
/// ```
#[derive(Debug)]
pub struct Pm {
    board: PmConfig,
    slaves: Slaves,
    config: ConfigSpace,
    state: State,
    driven: PinLevels,
    windows: WindowSet,
}

impl Pm {
    /// Function 3 after power-on.
    pub fn new(board: PmConfig) -> Self {
        let config = config_space(board.revision);
        let state = fresh(&config);
        let slaves = Slaves::new(&board.smbus);
        let (driven, windows) = Default::default();
        let mut this = Self { board, slaves, config, state, driven, windows };
        this.decode();
        this
    }

    /// Presses the power button: PWRBTN_STS, and SCI if the guest wants to know.
    pub fn press_power_button(&mut self, cx: &mut Cx<'_>) {
        self.state.pmsts |= PWRBTN;
        self.settle(cx);
    }

    /// Whether the guest has switched the machine off.
    pub fn is_off(&self) -> bool {
        self.state.off
    }

    /// Whether ACPI rules (SCI_EN), so that [`Pm::press_power_button`] reaches the guest.
    pub fn sci_enabled(&self) -> bool {
        self.state.pmcntrl & SCI_EN != 0
    }

    fn decode(&mut self) {
        let mut windows = vec![Window::pci_config(WINDOW_CONFIG, 3), Window::io(WINDOW_APM, 0xb2, 2)];
        let pm = self.config.word(register::PMBA) & 0xffc0;
        if self.config.byte(register::PMREGMISC) & 1 != 0 && pm != 0 {
            windows.push(Window::io(WINDOW_PM, pm, 0x40));
        }
        let smbus = self.config.word(register::SMBBA) & 0xfff0;
        let on = self.config.byte(register::SMBHSTCFG) & 1 != 0
            && self.config.command() & ConfigSpace::COMMAND_IO != 0;
        if on && smbus != 0 {
            windows.push(Window::io(WINDOW_SMBUS, smbus, 0x10));
        }
        self.windows.set(windows);
    }

    fn compute(&self) -> PinLevels {
        let s = &self.state;
        let events = s.pmsts & s.pmen | s.gpsts & s.gpen;
        // SMBHSTCFG bits 3:1: 100 is IRQ 9, 000 SMI.
        let smb_irq = self.config.byte(register::SMBHSTCFG) & 0x0e == 0x08 && s.smbus.interrupts();
        PinLevels::default()
            .with(pin::SCI, events != 0 && s.pmcntrl & SCI_EN != 0)
            .with(pin::SLP_S5, s.off)
            .with(pin::SMB_IRQ, smb_irq)
    }

    /// Brings timer status and SMBus to now and drives what changed.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let s = &mut self.state;
        let clock = CLOCK.ticks_at(cx.now());
        if clock / TMROF_CLOCKS > s.timer_seen / TMROF_CLOCKS {
            s.pmsts |= TMROF;
        }
        s.timer_seen = clock;
        s.smbus.advance(cx.now(), &self.slaves);
        let levels = self.compute();
        for pin in [pin::SCI, pin::SLP_S5, pin::SMB_IRQ] {
            if levels.get(pin) != self.driven.get(pin) {
                cx.line(pin, levels.get(pin));
            }
        }
        self.driven = levels;
    }

    fn read_pm(&self, offset: u64, now: VmInstant) -> u8 {
        let s = &self.state;
        // GLBSTS bits 7, 6 and 4 sum up the other three status registers.
        let sums = u16::from(s.gpsts & s.gpen != 0) << 7
            | u16::from(s.pmsts & s.pmen != 0) << 6
            | u16::from(s.devsts != 0) << 4;
        let (value, first) = match offset {
            0x00..=0x01 => (u64::from(s.pmsts), 0x00),
            0x02..=0x03 => (u64::from(s.pmen), 0x02),
            0x04..=0x05 => (u64::from(s.pmcntrl), 0x04),
            0x08..=0x0b => (CLOCK.ticks_at(now) & 0xff_ffff, 0x08),
            0x0c..=0x0d => (u64::from(s.gpsts), 0x0c),
            0x0e..=0x0f => (u64::from(s.gpen), 0x0e),
            0x10..=0x13 => (u64::from(s.pcntrl), 0x10),
            0x14..=0x15 => (0, 0x14), // PLVL2, PLVL3: the processor does not stop
            0x18..=0x19 => (u64::from(s.glbsts | sums), 0x18),
            0x1c..=0x1f => (u64::from(s.devsts), 0x1c),
            0x20..=0x21 => (u64::from(s.glben), 0x20),
            0x28..=0x2b => (u64::from(s.glbctl), 0x28),
            0x2c..=0x2f => (u64::from(s.devctl), 0x2c),
            0x30..=0x32 => (0xff_ffff, 0x30), // GPI
            0x34..=0x37 => (u64::from(s.gpo), 0x34),
            0x06..=0x3f => (0, offset),
            _ => return 0xff,
        };
        byte_of(value, offset - first)
    }

    fn write_pm(&mut self, offset: u64, value: u8) {
        let s = &mut self.state;
        let shift16 = 8 * (offset & 1);
        let word = u16::from(value) << shift16;
        let word_lane = 0xffu16 << shift16;
        let shift32 = 8 * (offset & 3);
        let dword = u32::from(value) << shift32;
        let dword_lane = 0xffu32 << shift32;
        let put16 = |register: &mut u16, mask: u16| *register = *register & !(word_lane & mask) | word & mask;
        let put32 =
            |register: &mut u32, mask: u32| *register = *register & !(dword_lane & mask) | dword & mask;
        match offset {
            0x00..=0x01 => s.pmsts &= !(word & PMSTS_CLEAR),
            0x02..=0x03 => put16(&mut s.pmen, PMEN_MASK),
            0x04..=0x05 => {
                put16(&mut s.pmcntrl, PMCNTRL_MASK);
                if word & SUS_EN != 0 {
                    if s.pmcntrl >> 10 & 7 == 0 {
                        s.off = true;
                    } else {
                        s.other_sleeps = s.other_sleeps.wrapping_add(1);
                    }
                }
            }
            0x0c..=0x0d => s.gpsts &= !(word & GPSTS_CLEAR),
            0x0e..=0x0f => put16(&mut s.gpen, GPEN_MASK),
            0x10..=0x13 => put32(&mut s.pcntrl, PCNTRL_MASK),
            0x18..=0x19 => s.glbsts &= !(word & 0x0d2f),
            0x1c..=0x1f => s.devsts &= !dword,
            0x20..=0x21 => put16(&mut s.glben, 0xffff),
            0x28..=0x2b => {
                put32(&mut s.glbctl, !2);
                if offset == 0x28 && value & 2 != 0 {
                    // BIOS_RLS: the BIOS releases the lock and tells the operating system.
                    s.pmsts |= GBL;
                }
            }
            0x2c..=0x2f => put32(&mut s.devctl, u32::MAX),
            0x34..=0x37 => put32(&mut s.gpo, u32::MAX),
            _ => {}
        }
    }

    fn write_apmc(&mut self, value: u8) {
        let s = &mut self.state;
        if self.board.power_off == Some([s.apmc, value]) {
            s.off = true;
        }
        s.apmc = value;
        if self.config.dword(register::DEVACTB) & 1 << 25 != 0 {
            s.glbsts |= 1 << 5; // APM_STS
            if value == self.board.acpi_enable {
                s.pmcntrl |= SCI_EN;
            } else if value == self.board.acpi_disable {
                s.pmcntrl &= !SCI_EN;
            }
        }
    }
}

fn fresh(config: &ConfigSpace) -> State {
    State {
        config: config.save(),
        pmsts: 0,
        pmen: 0,
        pmcntrl: 0,
        gpsts: 0,
        gpen: 0,
        pcntrl: 0,
        glbsts: 0,
        devsts: 0,
        glben: 0,
        glbctl: 0,
        devctl: 0,
        gpo: GPO_RESET,
        apmc: 0,
        apms: 0,
        timer_seen: 0,
        off: false,
        other_sleeps: 0,
        smbus: Host::default(),
    }
}

fn config_space(revision: u8) -> ConfigSpace {
    let identity = Identity {
        vendor: 0x8086,
        device: 0x7113,
        revision,
        class: 0x06_80_00,
        interrupt_pin: 1,
        ..Identity::default()
    };
    let storage = |config: ConfigSpace, from: u8, len: usize| {
        config.with_register(from, &vec![0; len], &vec![0xff; len])
    };
    let mut c = ConfigSpace::new(identity)
        .with_command(0x0001)
        .with_register(0x06, &[0x80, 0x02], &[0, 0])
        .with_write_one_to_clear(0x06, &[0x00, 0x78])
        .with_register(register::PMBA, &[1, 0, 0, 0], &[0xc0, 0xff, 0, 0])
        .with_register(register::PMREGMISC, &[0], &[0x01])
        .with_register(register::SMBBA, &[1, 0, 0, 0], &[0xf0, 0xff, 0, 0])
        .with_register(register::SMBHSTCFG, &[0], &[0x0f]);
    c = storage(c, 0x44, 0x3c); // CNTA, CNTB, GPICTL, DEVRESD, DEVACTA, DEVACTB, DEVRESA-DEVRESJ
    storage(c, 0xd3, 3) // SMBSLVC, SMBSHDW1, SMBSHDW2
}

impl Device for Pm {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        self.settle(cx);
        let now = cx.now();
        match at.window {
            WINDOW_CONFIG => self.config.read(at.offset, data),
            WINDOW_APM => read_bytes(at.offset, data, |offset| match offset {
                0 => self.state.apmc,
                1 => self.state.apms,
                _ => 0xff,
            }),
            WINDOW_PM => read_bytes(at.offset, data, |offset| self.read_pm(offset, now)),
            WINDOW_SMBUS => read_bytes(at.offset, data, |offset| self.state.smbus.read(offset)),
            _ => data.fill(0xff),
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        self.settle(cx);
        let now = cx.now();
        match at.window {
            WINDOW_CONFIG => {
                self.config.write(at.offset, data);
                self.decode();
            }
            WINDOW_APM => write_bytes(at.offset, data, |offset, value| match offset {
                0 => self.write_apmc(value),
                1 => self.state.apms = value,
                _ => {}
            }),
            WINDOW_PM => write_bytes(at.offset, data, |offset, value| self.write_pm(offset, value)),
            WINDOW_SMBUS => {
                write_bytes(at.offset, data, |offset, value| self.state.smbus.write(now, offset, value));
            }
            _ => {}
        }
        self.settle(cx);
    }

    fn levels(&self) -> PinLevels {
        self.driven
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        let s = &self.state;
        let overflow = (s.pmen & TMROF != 0 && s.pmsts & TMROF == 0).then(|| {
            CLOCK.instant_of((s.timer_seen / TMROF_CLOCKS).saturating_add(1).saturating_mul(TMROF_CLOCKS))
        });
        [overflow, s.smbus.deadline()].into_iter().flatten().min()
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        self.settle(cx);
    }

    fn reset(&mut self, _kind: ResetKind) {
        self.config.reset();
        let timer_seen = self.state.timer_seen;
        self.state = State { timer_seen, ..fresh(&self.config) };
        self.driven = self.compute();
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &State { config: self.config.save(), ..self.state.clone() });
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.pmsts & !PMSTS_CLEAR == 0, "PMSTS has reserved bits set")?;
        check(SECTION, state.pmen & !PMEN_MASK == 0, "PMEN has reserved bits set")?;
        check(SECTION, state.pmcntrl & !PMCNTRL_MASK == 0, "PMCNTRL has reserved bits set")?;
        check(SECTION, state.gpsts & !GPSTS_CLEAR == 0, "GPSTS has reserved bits set")?;
        check(SECTION, state.gpen & !GPEN_MASK == 0, "GPEN has reserved bits set")?;
        check(SECTION, state.pcntrl & !PCNTRL_MASK == 0, "PCNTRL has reserved bits set")?;
        state.smbus.validate(SECTION)?;
        self.config.load(&state.config);
        self.state = state;
        self.driven = self.compute();
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        let s = &self.state;
        show(out, "PMBA", self.config.dword(register::PMBA), 32);
        show(out, "PMSTS", s.pmsts, 16);
        show(out, "PMEN", s.pmen, 16);
        show(out, "PMCNTRL", s.pmcntrl, 16);
        show(out, "GPSTS", s.gpsts, 16);
        show(out, "GPEN", s.gpen, 16);
        show(out, "GLBCTL", s.glbctl, 32);
        show(out, "APMC", s.apmc, 8);
        s.smbus.inspect(out);
        out("switched off", InspectValue::Flag(s.off));
        out("sleeps other than soft off", InspectValue::Count(s.other_sleeps));
    }
}
