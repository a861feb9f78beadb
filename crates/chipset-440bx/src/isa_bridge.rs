//! PIIX4 function 0: the PCI-to-ISA bridge and what it decodes itself (Intel 290562, section 4).
//!
//! | where | what |
//! | --- | --- |
//! | configuration | XBCS, PIRQRC, SERIRQC, GENCFG, RTCCFG ... ([`register`]) |
//! | 61h | NMISC: gate and speaker, refresh toggle, OUT2, NMI sources |
//! | 92h | fast A20 and INIT |
//! | CF9h | reset control |
//! | F0h, F1h | coprocessor error acknowledge |
//! | F0000-FFFFF, E0000-EFFFF, FFF00000-FFFFFFFF | the flash chip, as XBCS says, lent by the machine as [`FLASH`] |
//!
//! The PIRQ router connects each of the inputs PIRQA..PIRQD to one IRQ output. Several may share one: the output is their OR.
//!
//! Limits: writes to the flash are dropped (no command set); XBCS bits 0, 1, 8 and 10, delayed transactions, DDMA and PC/PCI
//! DMA are storage; alternate access mode is storage. SERIRQ is storage: every IRQ arrives on a wire.

use crate::util::{check, read_bytes, show, write_bytes};
use slotone_bus::device::LentMemory;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Clock, Cx, Device, Generation, InspectValue, Inspector, LentId, Pin, PinLevels, ResetKind, Space,
    Target, VmInstant, Window, WindowId, WindowSet, encode_fields,
};
use slotone_pci::{ConfigBytes, ConfigSpace, Identity};

/// Pins of [`IsaBridge`].
pub mod pin {
    use slotone_bus::Pin;

    /// Input: PIRQA# to PIRQD# (`n` 0 to 3), asserted-is-high.
    pub const fn pirq(n: u8) -> Pin {
        Pin(n & 3)
    }
    /// Input: OUT of counter 2 of the timer.
    pub const OUT2: Pin = Pin(4);
    /// Input: FERR# of the processor, asserted-is-high.
    pub const FERR: Pin = Pin(5);
    /// Input: port 70h bit 7. High (masked) until driven.
    pub const NMI_MASK: Pin = Pin(6);
    /// Input: SERR#, asserted-is-high: sets port 61h bit 7.
    pub const SERR: Pin = Pin(7);
    /// Input: IOCHK#, asserted-is-high: sets port 61h bit 6.
    pub const IOCHK: Pin = Pin(8);

    /// Output: IRQ `n` to the interrupt controller. The router drives 3-7, 9-12, 14 and 15, a coprocessor error 13; the others stay low.
    pub const fn irq(n: u8) -> Pin {
        Pin(n & 15)
    }
    /// Output: port 61h bit 0, to GATE2 of the timer.
    pub const GATE2: Pin = Pin(16);
    /// Output: the speaker's wire: port 61h bit 1 AND OUT2.
    pub const SPEAKER: Pin = Pin(17);
    /// Output: port 92h bit 1. The processor's A20 is this OR the keyboard controller's.
    pub const A20: Pin = Pin(18);
    /// Output: a pulse asks for INIT# of the processor (port 92h bit 0, or CF9h soft reset).
    pub const INIT: Pin = Pin(19);
    /// Output: a pulse asks for a reset of the whole machine (CF9h hard reset).
    pub const RESET: Pin = Pin(20);
    /// Output: NMI to the processor.
    pub const NMI: Pin = Pin(21);
    /// Output: IGNNE#, asserted-is-high: after a write to port F0h until FERR falls.
    pub const IGNNE: Pin = Pin(22);
    /// Output: RTCCFG bit 2, to the clock's [`UPPER`](crate::rtc::pin::UPPER).
    pub const RTC_UPPER: Pin = Pin(23);
}

/// Configuration registers.
pub mod register {
    /// X-bus chip select: which addresses the flash answers to.
    pub const XBCS: u8 = 0x4e;
    /// PIRQA route control; B, C and D follow.
    pub const PIRQRCA: u8 = 0x60;
    /// Serial IRQ control.
    pub const SERIRQC: u8 = 0x64;
    /// General configuration.
    pub const GENCFG: u8 = 0xb0;
    /// Real-time clock configuration.
    pub const RTCCFG: u8 = 0xcb;
}

/// The flash image, which the machine lends.
pub const FLASH: LentId = LentId(0);

const SECTION: &str = "piix4-isa";
const WINDOW_CONFIG: WindowId = WindowId(0);
const WINDOW_NMISC: WindowId = WindowId(1);
const WINDOW_PORT92: WindowId = WindowId(2);
const WINDOW_RCR: WindowId = WindowId(3);
const WINDOW_COPROCESSOR: WindowId = WindowId(4);
/// Plus the first address divided by 64 KB, low 8 bits, for the flash.
const WINDOW_FLASH: u16 = 0x100;
/// The bridge decodes what nobody else on PCI claims.
const PRIORITY_SUBTRACTIVE: u8 = Window::PRIORITY_DEVICE / 2;
const KB64: u64 = 0x1_0000;
/// IRQs a PIRQ may be routed to.
const ROUTABLE: u16 = 0xdef8;
/// Timer clocks (of 838 ns) between refreshes: port 61h bit 4 toggles every 15.085 us.
const REFRESH_CLOCKS: u64 = 18;

/// What the board decides about the ISA bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsaBridgeConfig {
    /// Bytes of the flash chip: a power of two from 64 KB to 1 MB. It ends at 4 GB; a smaller chip appears several times in a larger range.
    pub flash_bytes: usize,
    /// Revision ID.
    pub revision: u8,
}

impl Default for IsaBridgeConfig {
    /// 256 KB of flash (FFFC0000h-FFFFFFFFh), revision 1, as Virtual Server has it.
    fn default() -> Self {
        Self { flash_bytes: 256 * 1024, revision: 1 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    config: ConfigBytes,
    port61: u8,
    port92: u8,
    rcr: u8,
    /// Inputs by pin number.
    inputs: u16,
    /// A coprocessor error waits for port F0h.
    irq13: bool,
    ignne: bool,
    serr_seen: bool,
    iochk_seen: bool,
    flash_writes: u64,
}
encode_fields!(State {
    config,
    port61,
    port92,
    rcr,
    inputs,
    irq13,
    ignne,
    serr_seen,
    iochk_seen,
    flash_writes
});

/// The ISA bridge. Pins: [`pin`].
///
/// ```
/// use slotone_bus::{At, Device, TestPort, WindowId};
/// use slotone_chipset_440bx::isa_bridge::{IsaBridge, IsaBridgeConfig, pin};
///
/// let (mut isa, mut port) = (IsaBridge::new(IsaBridgeConfig::default()), TestPort::new(0x1000));
/// port.at(0, |cx| {
///     isa.write(cx, At { window: WindowId(0), offset: 0x60 }, &[11]); // PIRQA -> IRQ 11
///     isa.input(cx, pin::pirq(0), true);
/// });
/// assert_eq!(port.take_lines(), [(pin::irq(11), true)]);
/// ```
#[derive(Debug)]
pub struct IsaBridge {
    flash: [LentMemory; 1],
    config: ConfigSpace,
    state: State,
    /// Outputs as last driven.
    driven: PinLevels,
    windows: WindowSet,
}

impl IsaBridge {
    /// A bridge after power-on.
    ///
    /// # Panics
    /// If the size of the flash is not a power of two from 64 KB to 1 MB.
    pub fn new(board: IsaBridgeConfig) -> Self {
        let size = board.flash_bytes;
        assert!(size.is_power_of_two() && (0x1_0000..=0x10_0000).contains(&size), "a flash of 64 KB to 1 MB");
        let config = config_space(board.revision);
        let state = State {
            config: config.save(),
            port61: 0,
            port92: 0,
            rcr: 0,
            inputs: 1 << pin::NMI_MASK.0,
            irq13: false,
            ignne: false,
            serr_seen: false,
            iochk_seen: false,
            flash_writes: 0,
        };
        let mut this = Self {
            flash: [LentMemory { id: FLASH, len: size }],
            config,
            state,
            driven: PinLevels::default(),
            windows: WindowSet::default(),
        };
        this.driven = this.compute();
        this.decode();
        this
    }

    /// The IRQ that PIRQ `n` (0 to 3) is routed to.
    pub fn route(&self, n: u8) -> Option<u8> {
        let route = self.config.byte(register::PIRQRCA + (n & 3));
        let irq = route & 0xf;
        (route & 0x80 == 0 && ROUTABLE >> irq & 1 != 0).then_some(irq)
    }

    fn is_high(&self, pin: Pin) -> bool {
        self.state.inputs >> pin.0 & 1 != 0
    }

    /// Derives the windows from XBCS.
    fn decode(&mut self) {
        let mut windows = vec![
            Window::pci_config(WINDOW_CONFIG, 0),
            Window::io(WINDOW_NMISC, 0x61, 1),
            Window::io(WINDOW_PORT92, 0x92, 1),
            Window::io(WINDOW_RCR, 0xcf9, 1),
            Window::io(WINDOW_COPROCESSOR, 0xf0, 2),
        ];
        let xbcs = self.config.word(register::XBCS);
        let mut range = |enabled: bool, base: u64, len: u64| {
            if enabled {
                self.push_flash(&mut windows, base, len);
            }
        };
        range(true, 0xf_0000, KB64);
        range(xbcs & 0x40 != 0, 0xe_0000, KB64);
        range(true, 0xfffe_0000, 2 * KB64);
        range(xbcs & 0x80 != 0, 0xfff8_0000, 6 * KB64);
        range(xbcs & 0x200 != 0, 0xfff0_0000, 8 * KB64);
        self.windows.set(windows);
    }

    /// Adds windows for `base..base + len`, one for each time the chip appears in it.
    fn push_flash(&self, windows: &mut Vec<Window>, mut base: u64, len: u64) {
        let (size, end) = (self.flash[0].len as u64, base + len);
        while base < end {
            let offset = base & (size - 1);
            let piece = (size - offset).min(end - base);
            windows.push(Window {
                id: WindowId(WINDOW_FLASH | ((base / KB64) & 0xff) as u16),
                space: Space::Memory,
                base,
                len: piece,
                priority: PRIORITY_SUBTRACTIVE,
                read: Target::Lent { memory: FLASH, offset },
                write: Target::Device,
            });
            base += piece;
        }
    }

    /// The output levels that follow from the state.
    fn compute(&self) -> PinLevels {
        let s = &self.state;
        let mut levels = PinLevels::default();
        for n in 0..4 {
            if let Some(irq) = self.route(n).filter(|_| self.is_high(pin::pirq(n))) {
                levels = levels.with(pin::irq(irq), true);
            }
        }
        let nmi = (s.serr_seen || s.iochk_seen) && !self.is_high(pin::NMI_MASK);
        levels
            .with(pin::irq(13), s.irq13)
            .with(pin::GATE2, s.port61 & 1 != 0)
            .with(pin::SPEAKER, s.port61 & 2 != 0 && self.is_high(pin::OUT2))
            .with(pin::A20, s.port92 & 2 != 0)
            .with(pin::NMI, nmi)
            .with(pin::IGNNE, s.ignne)
            .with(pin::RTC_UPPER, self.config.byte(register::RTCCFG) & 4 != 0)
    }

    /// Drives what changed.
    fn settle(&mut self, cx: &mut Cx<'_>) {
        let levels = self.compute();
        let mut changed = levels.0 ^ self.driven.0;
        self.driven = levels;
        while changed != 0 {
            let pin = Pin(changed.trailing_zeros() as u8);
            cx.line(pin, levels.get(pin));
            changed &= changed - 1;
        }
    }

    fn pulse(cx: &mut Cx<'_>, pin: Pin) {
        cx.line(pin, true);
        cx.line(pin, false);
    }

    fn read_nmisc(&self, cx: &Cx<'_>) -> u8 {
        let s = &self.state;
        let refresh = (Clock::PIT.ticks_at(cx.now()) / REFRESH_CLOCKS) & 1;
        s.port61
            | (refresh as u8) << 4
            | u8::from(self.is_high(pin::OUT2)) << 5
            | u8::from(s.iochk_seen) << 6
            | u8::from(s.serr_seen) << 7
    }

    fn write_nmisc(&mut self, value: u8) {
        let s = &mut self.state;
        s.port61 = value & 0x0f;
        // Bits 2 and 3 disable and clear the two sources.
        s.serr_seen &= value & 4 == 0;
        s.iochk_seen &= value & 8 == 0;
    }

    fn write_port(&mut self, cx: &mut Cx<'_>, window: WindowId, offset: u64, value: u8) {
        match (window, offset) {
            (WINDOW_NMISC, 0) => self.write_nmisc(value),
            (WINDOW_PORT92, 0) => {
                let init = value & !self.state.port92 & 1 != 0;
                self.state.port92 = value & 3;
                if init {
                    Self::pulse(cx, pin::INIT);
                }
            }
            (WINDOW_RCR, 0) => {
                let starts = value & !self.state.rcr & 4 != 0;
                self.state.rcr = value & 6;
                if starts {
                    Self::pulse(cx, if value & 2 != 0 { pin::RESET } else { pin::INIT });
                }
            }
            (WINDOW_COPROCESSOR, 0) if self.state.irq13 => {
                self.state.irq13 = false;
                self.state.ignne = self.is_high(pin::FERR);
            }
            (WindowId(WINDOW_FLASH..), _) => {
                self.state.flash_writes = self.state.flash_writes.wrapping_add(1)
            }
            _ => {}
        }
    }
}

/// Reset values and writable bits of function 0.
fn config_space(revision: u8) -> ConfigSpace {
    let identity = Identity {
        vendor: 0x8086,
        device: 0x7110,
        revision,
        class: 0x06_01_00,
        header_type: 0x80,
        ..Identity::default()
    };
    ConfigSpace::new(identity)
        .with_register(0x04, &[0x07, 0x00], &[0x08, 0x01])
        .with_register(0x06, &[0x80, 0x02], &[0, 0])
        .with_write_one_to_clear(0x06, &[0x00, 0x78])
        .with_register(0x4c, &[0x4d], &[0xff]) // IORT
        .with_register(register::XBCS, &[0x03, 0x00], &[0xff, 0x07])
        .with_register(register::PIRQRCA, &[0x80; 4], &[0x8f; 4])
        .with_register(register::SERIRQC, &[0x10], &[0xff])
        .with_register(0x69, &[0x02], &[0xfe]) // TOM
        .with_register(0x6a, &[0x00, 0x00], &[0x80, 0x00]) // MSTAT
        .with_write_one_to_clear(0x6a, &[0x00, 0x80])
        .with_register(0x76, &[0x04, 0x04], &[0x87, 0x87]) // MBDMA
        .with_register(0x80, &[0x00], &[0x7f]) // APICBASE
        .with_register(0x82, &[0x00], &[0x0f]) // DLC
        .with_register(0x90, &[0; 6], &[0xff, 0xff, 0xc0, 0xff, 0xc0, 0xff]) // PDMACFG, DDMABP
        .with_register(register::GENCFG, &[0x04, 0, 0, 0], &[0xfb, 0xff, 0xff, 0xff])
        .with_register(register::RTCCFG, &[0x21], &[0x3d])
        .with_register(0xf8, &[0x30, 0x0f, 0x00, 0x00], &[0; 4])
}

impl Device for IsaBridge {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn memories(&self) -> &[LentMemory] {
        &self.flash
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        match at.window {
            WINDOW_CONFIG => self.config.read(at.offset, data),
            window => read_bytes(at.offset, data, |offset| match (window, offset) {
                (WINDOW_NMISC, 0) => self.read_nmisc(cx),
                (WINDOW_PORT92, 0) => self.state.port92,
                (WINDOW_RCR, 0) => self.state.rcr,
                _ => 0xff,
            }),
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        if at.window == WINDOW_CONFIG {
            self.config.write(at.offset, data);
            self.decode();
        } else {
            write_bytes(at.offset, data, |offset, value| self.write_port(cx, at.window, offset, value));
        }
        self.settle(cx);
    }

    fn input(&mut self, cx: &mut Cx<'_>, pin: Pin, level: bool) {
        if pin.0 > pin::IOCHK.0 {
            return;
        }
        let bit = 1 << pin.0;
        let rises = level && self.state.inputs & bit == 0;
        let s = &mut self.state;
        s.inputs = if level { s.inputs | bit } else { s.inputs & !bit };
        match pin {
            pin::FERR if rises && self.config.word(register::XBCS) & 0x20 != 0 => s.irq13 = true,
            pin::FERR if !level => s.ignne = false,
            pin::SERR if rises => s.serr_seen = s.port61 & 4 == 0,
            pin::IOCHK if rises => s.iochk_seen = s.port61 & 8 == 0,
            _ => {}
        }
        self.settle(cx);
    }

    fn levels(&self) -> PinLevels {
        self.driven
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    fn tick(&mut self, _cx: &mut Cx<'_>) {}

    fn reset(&mut self, _kind: ResetKind) {
        self.config.reset();
        let s = &mut self.state;
        (s.port61, s.port92, s.rcr) = (0, 0, 0);
        (s.irq13, s.ignne, s.serr_seen, s.iochk_seen) = (false, false, false, false);
        self.driven = self.compute();
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &State { config: self.config.save(), ..self.state.clone() });
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.port61 & 0xf0 == 0, "port 61h holds bits 3:0")?;
        check(SECTION, state.port92 & 0xfc == 0, "port 92h holds bits 1:0")?;
        check(SECTION, state.rcr & !6 == 0, "CF9h holds bits 2:1")?;
        check(SECTION, state.inputs >> (pin::IOCHK.0 + 1) == 0, "an input that does not exist")?;
        self.config.load(&state.config);
        self.state = state;
        self.driven = self.compute();
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        show(out, "XBCS", self.config.word(register::XBCS), 16);
        for (n, name) in (0..4).zip(["PIRQRCA", "PIRQRCB", "PIRQRCC", "PIRQRCD"]) {
            show(out, name, self.config.byte(register::PIRQRCA + n), 8);
        }
        show(out, "RTCCFG", self.config.byte(register::RTCCFG), 8);
        show(out, "NMISC", self.state.port61, 8);
        show(out, "port 92h", self.state.port92, 8);
        show(out, "RCR", self.state.rcr, 8);
        show(out, "inputs", self.state.inputs, 9);
        out("IRQ13", InspectValue::Flag(self.state.irq13));
        out("flash writes dropped", InspectValue::Count(self.state.flash_writes));
    }
}
