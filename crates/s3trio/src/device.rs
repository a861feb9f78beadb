//! The chip on its bus: configuration space, windows, interrupt.

use crate::display::{Display, Format};
use crate::memory::Access;
use crate::registers::{advfunc, cr, gr, misc, seq, setup};
use crate::render::{self, Frame};
use crate::state::{Registers, SECTION, Snapshot};
use crate::text::{self, TextScreen};
use crate::timing::Timing;
use slotone_bus::device::LentMemory;
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, LentId, Pin, PinLevels, ResetKind, Target,
    VmInstant, Window, WindowId, WindowSet,
};
use slotone_pci::{Bar, ConfigSpace, Identity};

const CONFIG: WindowId = WindowId(0);
/// 3C0h-3CFh.
const VGA_PORTS: WindowId = WindowId(1);
/// 3B4h/3B5h or 3D4h/3D5h.
const CRTC_PORTS: WindowId = WindowId(2);
/// 3BAh or 3DAh.
const STATUS_PORT: WindowId = WindowId(3);
/// 46E8h.
const SETUP_PORT: WindowId = WindowId(4);
/// 102h.
const OPTION_PORT: WindowId = WindowId(5);
/// 4AE8h.
const ADVFUNC_PORT: WindowId = WindowId(6);
/// A0000h-BFFFFh, as far as GR6 maps it.
const VGA_MEMORY: WindowId = WindowId(7);
/// The linear address window.
const LINEAR: WindowId = WindowId(8);
/// What the BAR claims around the linear address window.
const BAR_BELOW: WindowId = WindowId(9);
const BAR_ABOVE: WindowId = WindowId(10);
/// The expansion ROM.
const ROM: WindowId = WindowId(11);

/// Bytes that BAR0 claims.
const BAR_LEN: u32 = 64 << 20;
/// Bytes that the ROM BAR claims.
const ROM_LEN: u32 = 64 << 10;

/// 3C3h alone, while the chip is put to sleep.
const ENABLE_PORT: WindowId = WindowId(12);

/// What the windows are derived from; they are rebuilt only when it differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Map {
    io: bool,
    memory: bool,
    awake: bool,
    color: bool,
    setup_mode: bool,
    advfunc: bool,
    /// GR6 bits 3:2, if the CPU may reach display memory.
    vga: Option<u8>,
    /// The 64 KB at A0000h are plain video memory from here.
    direct: Option<u32>,
    /// Base and bytes of the linear address window.
    linear: Option<(u32, u32)>,
    bar: u32,
    rom: Option<u64>,
}

/// S3 Trio64 with 4 MB on PCI.
///
/// Plug it in with [`S3Trio::VRAM`] and [`S3Trio::ROM`] lent to it; show it with [`S3Trio::render`] or [`S3Trio::text_screen`].
#[derive(Debug)]
pub struct S3Trio {
    config: ConfigSpace,
    registers: Registers,
    // Derived from the above.
    access: Access,
    map: Map,
    windows: WindowSet,
    generation: u64,
    // Counters for `inspect`.
    ignored_writes: u64,
}

impl Default for S3Trio {
    fn default() -> Self {
        Self::new()
    }
}

impl S3Trio {
    /// Bytes of video memory.
    pub const VRAM_LEN: usize = 4 << 20;
    /// Lent memory 0: video memory, [`S3Trio::VRAM_LEN`] bytes.
    pub const VRAM: LentId = LentId(0);
    /// Lent memory 1: the expansion ROM, 64 KB; the machine fills it.
    pub const ROM: LentId = LentId(1);
    /// Output pin: INTA#, asserted from a vertical retrace until CR11.4 is cleared, if CR11.5 and CR32.4 allow.
    pub const INTA: Pin = Pin(0);

    const MEMORIES: [LentMemory; 2] = [
        LentMemory { id: Self::VRAM, len: Self::VRAM_LEN },
        LentMemory { id: Self::ROM, len: ROM_LEN as usize },
    ];

    /// A chip after power-on: it answers to configuration cycles only.
    pub fn new() -> Self {
        let identity = Identity {
            vendor: 0x5333,
            device: 0x8811,
            class: 0x03_00_00,
            interrupt_pin: 1,
            ..Identity::default()
        };
        let config = ConfigSpace::new(identity)
            .with_command(ConfigSpace::COMMAND_IO | ConfigSpace::COMMAND_MEMORY | 0x20)
            .with_register(ConfigSpace::STATUS, &[0x00, 0x02], &[0, 0])
            .with_bar(0, Bar::Memory { len: BAR_LEN, prefetchable: false })
            .with_rom_bar(ROM_LEN);
        let mut this = Self {
            config,
            registers: Registers::default(),
            access: Access::default(),
            map: Map::default(),
            windows: WindowSet::default(),
            generation: 0,
            ignored_writes: 0,
        };
        this.refresh();
        this.windows = WindowSet::new(build_windows(&this.map));
        this
    }

    /// Draws the screen at virtual time `now` (blinking follows it) from `vram`, the content of [`S3Trio::VRAM`]. Memory that is
    /// missing reads as zero.
    pub fn render(&self, vram: &[u8], now: VmInstant) -> Frame {
        let mut frame = Frame::default();
        self.render_into(vram, now, &mut frame);
        frame
    }

    /// As [`S3Trio::render`], into a frame whose buffer is used again.
    pub fn render_into(&self, vram: &[u8], now: VmInstant, frame: &mut Frame) {
        let display = Display::of(&self.registers, now);
        render::render(&self.registers, &display, vram, frame);
        frame.generation = self.generation;
    }

    /// The screen as characters, if it is in a text mode and on.
    pub fn text_screen(&self, vram: &[u8]) -> Option<TextScreen> {
        let display = Display::of(&self.registers, VmInstant::ZERO);
        let readable = display.format == Format::Text && !display.blank;
        readable.then(|| text::text_screen(&self.registers, &display, vram))
    }

    /// Grows when a register or palette entry that decides what is shown has changed. With the dirty pages of video memory and
    /// [`S3Trio::blink_phase`] it says whether a picture is still true.
    pub fn display_generation(&self) -> u64 {
        self.generation
    }

    /// Which half of the cursor's and of the characters' blinking it is at `now`; in graphics modes always the same.
    pub fn blink_phase(&self, now: VmInstant) -> (bool, bool) {
        if Format::of(&self.registers) != Format::Text {
            return (false, false);
        }
        let frame = Timing::of(&self.registers).frame_at(now);
        (frame & 8 != 0, frame & 16 != 0)
    }

    fn interrupt(&self) -> bool {
        self.registers.retrace_pending
            && self.registers.cr(cr::VRE) & cr::VRE_DIS_VINT == 0
            && self.registers.cr(cr::BKWD_1) & 0x10 != 0
    }

    /// Derives access paths and windows from the registers.
    fn refresh(&mut self) {
        let r = &self.registers;
        self.access = Access::of(r);
        let law = r.cr(cr::LAW_CTL);
        let linear_on = law & 0x10 != 0 || r.advfunc & advfunc::LINEAR != 0;
        let len = [64 << 10, 1 << 20, 2 << 20, 4 << 20][usize::from(law & 3)];
        let base = u32::from(r.cr(cr::LAW_POS_HIGH)) << 24 | u32::from(r.cr(cr::LAW_POS_LOW)) << 16;
        let in_window = linear_on && len == 64 << 10;
        let vga_map = r.gr(gr::MISC) >> 2 & 3;
        let ram = r.misc & misc::ENB_RAM != 0;
        // Bank 63 is the last of 4 MB, so that a bank always fits.
        let direct = ram && (in_window || (vga_map == 1 && self.access.is_direct()));
        let map = Map {
            io: self.config.command() & ConfigSpace::COMMAND_IO != 0,
            memory: self.config.command() & ConfigSpace::COMMAND_MEMORY != 0,
            awake: r.awake(),
            color: r.misc & misc::IOA_SEL != 0,
            setup_mode: r.setup & setup::SETUP != 0,
            advfunc: r.cr(cr::SYS_CNFG) & 1 != 0,
            vga: ram.then_some(vga_map),
            direct: direct.then(|| r.bank()),
            linear: (linear_on && !in_window && base != 0).then_some((base & !(len - 1), len)),
            bar: self.config.dword(0x10) & !(BAR_LEN - 1),
            rom: self.config.rom_bar(),
        };
        if map != self.map {
            self.map = map;
            self.windows.set(build_windows(&map));
        }
    }

    /// The linear address registers and BAR0 are the same storage: copies the BAR after a write to it.
    fn linear_base_from_bar(&mut self) {
        let [_, _, low, high] = self.config.dword(0x10).to_le_bytes();
        self.registers.cr[usize::from(cr::LAW_POS_HIGH)] = high;
        self.registers.cr[usize::from(cr::LAW_POS_LOW)] = low;
    }

    fn linear_base_to_bar(&mut self) {
        let high = self.registers.cr(cr::LAW_POS_HIGH);
        self.config.set(0x10, &[0, 0, 0, high & (!(BAR_LEN - 1) >> 24) as u8]);
    }

    /// The port that byte `offset` of a window stands for; CRTC ports as in colour modes.
    fn port(at: At, index: usize) -> u16 {
        let base: u16 = match at.window {
            VGA_PORTS => 0x3c0,
            CRTC_PORTS => 0x3d4,
            STATUS_PORT => 0x3da,
            SETUP_PORT => 0x46e8,
            OPTION_PORT => 0x102,
            ADVFUNC_PORT => 0x4ae8,
            ENABLE_PORT => 0x3c3,
            _ => return 0,
        };
        // Beyond the window is no port of ours.
        match u16::try_from(at.offset).ok().and_then(|o| o.checked_add(index as u16)) {
            Some(offset) if offset < 16 => base + offset,
            _ => 0,
        }
    }

    fn write_byte(&mut self, port: u16, value: u8, now: VmInstant) {
        let r = &mut self.registers;
        let armed = r.cr(cr::VRE) & cr::VRE_CLR_VINT != 0;
        let changed = r.write_port(port, value);
        if changed {
            self.generation = self.generation.wrapping_add(1);
        }
        match port {
            0x3d5 if matches!(r.cr_index, cr::LAW_POS_HIGH | cr::LAW_POS_LOW) => self.linear_base_to_bar(),
            // Indices and the palette decide neither windows nor timing.
            0x3c4 | 0x3c6..=0x3c9 | 0x3ce | 0x3d4 => return,
            _ => {}
        }
        if changed && (armed || self.registers.cr(cr::VRE) & cr::VRE_CLR_VINT != 0) {
            self.schedule_retrace(now);
        }
        self.refresh();
    }

    /// CR11.4 clear takes the interrupt back; set, it waits for the next retrace.
    fn schedule_retrace(&mut self, now: VmInstant) {
        let r = &mut self.registers;
        if r.cr(cr::VRE) & cr::VRE_CLR_VINT == 0 {
            (r.retrace_pending, r.retrace_at) = (false, None);
        } else if !r.retrace_pending {
            r.retrace_at = Timing::of(r).next_retrace(now);
        }
    }
}

/// The windows that `map` stands for.
fn build_windows(map: &Map) -> Vec<Window> {
    let mut all = vec![Window::pci_config(CONFIG, 0)];
    if map.io {
        all.push(Window::io(SETUP_PORT, 0x46e8, 1));
        if map.setup_mode {
            all.push(Window::io(OPTION_PORT, 0x102, 1));
        }
        if map.awake {
            let (index, status) = if map.color { (0x3d4, 0x3da) } else { (0x3b4, 0x3ba) };
            all.push(Window::io(VGA_PORTS, 0x3c0, 16));
            all.push(Window::io(CRTC_PORTS, index, 2));
            all.push(Window::io(STATUS_PORT, status, 1));
            if map.advfunc {
                all.push(Window::io(ADVFUNC_PORT, 0x4ae8, 2));
            }
        } else {
            all.push(Window::io(ENABLE_PORT, 0x3c3, 1));
        }
    }
    if map.memory && map.awake {
        let lent = |memory, offset: u64| Target::Lent { memory, offset };
        if let Some(bank) = map.direct {
            let target = lent(S3Trio::VRAM, u64::from(bank));
            let window = Window::memory(VGA_MEMORY, 0xa_0000, 0x1_0000);
            all.push(Window { read: target, write: target, ..window });
        } else if let Some(vga) = map.vga {
            let (base, len) =
                [(0xa_0000, 0x2_0000), (0xa_0000, 0x1_0000), (0xb_0000, 0x8000), (0xb_8000, 0x8000)]
                    [usize::from(vga & 3)];
            all.push(Window::memory(VGA_MEMORY, base, len));
        }
        let mut open = |id, from: u64, to: u64| {
            if from < to {
                let window = Window::memory(id, from, to - from);
                all.push(Window { read: Target::Open, write: Target::Open, ..window });
            }
        };
        let (bar, end) = (u64::from(map.bar), u64::from(map.bar) + u64::from(BAR_LEN));
        let linear = map.linear.map(|(base, len)| (u64::from(base), u64::from(base) + u64::from(len)));
        if map.bar != 0 {
            let (from, to) = linear.unwrap_or((bar, bar));
            open(BAR_BELOW, bar, from.clamp(bar, end));
            open(BAR_ABOVE, to.clamp(bar, end), end);
        }
        if let Some((from, to)) = linear {
            let target = lent(S3Trio::VRAM, 0);
            all.push(Window { read: target, write: target, ..Window::memory(LINEAR, from, to - from) });
        }
    }
    if let Some(base) = map.rom {
        let target = Target::Lent { memory: S3Trio::ROM, offset: 0 };
        all.push(Window {
            read: target,
            write: Target::Open,
            ..Window::memory(ROM, base, u64::from(ROM_LEN))
        });
    }
    all
}

impl Device for S3Trio {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn memories(&self) -> &[LentMemory] {
        &Self::MEMORIES
    }

    fn read(&mut self, cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        match at.window {
            CONFIG => self.config.read(at.offset, data),
            VGA_MEMORY => {
                data.fill(0xff);
                let Some(vram) = cx.lent(Self::VRAM) else { return };
                for (i, byte) in data.iter_mut().enumerate() {
                    let offset = (at.offset as u32).wrapping_add(i as u32) & 0x1_ffff;
                    *byte = self.access.read(vram, &mut self.registers.latches, offset);
                }
            }
            _ => {
                for (i, byte) in data.iter_mut().enumerate() {
                    *byte = match Self::port(at, i) {
                        0 => 0xff,
                        // ADVFUNC_CNTL is a 16-bit port whose upper half is empty.
                        0x4ae9 => 0,
                        port => self.registers.read_port(port, cx.now()),
                    };
                }
            }
        }
    }

    fn write(&mut self, cx: &mut Cx<'_>, at: At, data: &[u8]) {
        match at.window {
            CONFIG => {
                self.config.write(at.offset, data);
                if at.offset < 0x14 && at.offset.saturating_add(data.len() as u64) > 0x10 {
                    self.linear_base_from_bar();
                }
                self.refresh();
            }
            VGA_MEMORY => {
                let Some(vram) = cx.lent(Self::VRAM) else { return };
                let offset = at.offset as u32 & 0x1_ffff;
                self.access.write_all(vram, self.registers.latches, offset, data);
            }
            _ => {
                let before = self.interrupt();
                for (i, byte) in data.iter().enumerate() {
                    match Self::port(at, i) {
                        0 => self.ignored_writes = self.ignored_writes.wrapping_add(1),
                        port => self.write_byte(port, *byte, cx.now()),
                    }
                }
                if self.interrupt() != before {
                    cx.line(Self::INTA, !before);
                }
            }
        }
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default().with(Self::INTA, self.interrupt())
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        self.registers.retrace_at
    }

    fn tick(&mut self, cx: &mut Cx<'_>) {
        let r = &mut self.registers;
        if r.retrace_at.is_some_and(|at| at <= cx.now()) {
            (r.retrace_pending, r.retrace_at) = (true, None);
            if self.interrupt() {
                cx.line(Self::INTA, true);
            }
        }
    }

    fn reset(&mut self, _kind: ResetKind) {
        self.config.reset();
        self.registers = Registers::default();
        self.generation = self.generation.wrapping_add(1);
        self.refresh();
    }

    fn save(&self, w: &mut StateWriter) {
        let body = Snapshot { config: self.config.save(), registers: self.registers.clone() };
        w.section(SECTION.0, SECTION.1, &body);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let Snapshot { config, registers } = {
            let snapshot: Snapshot = r.section(SECTION.0, SECTION.1)?;
            snapshot.validate(r)?;
            snapshot
        };
        self.config.load(&config);
        self.registers = registers;
        self.linear_base_to_bar();
        self.generation = self.generation.wrapping_add(1);
        self.refresh();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        let r = &self.registers;
        let mut register = |name: &str, value: u8| {
            out(name, InspectValue::Register { value: u64::from(value), bits: 8 });
        };
        register("MISC", r.misc);
        for (letters, values) in [("SR", &r.seq[..=usize::from(seq::LAST)]), ("GR", &r.gr), ("AR", &r.attr)] {
            for (index, value) in values.iter().enumerate() {
                register(&format!("{letters}{index:02X}"), *value);
            }
        }
        for index in (0..=cr::LCM).chain(cr::DEVICE_ID_HIGH..=cr::LAST) {
            register(&format!("CR{index:02X}"), r.read_crtc(index));
        }
        register("DAC_MASK", r.dac.mask);
        register("ADVFUNC_CNTL", r.advfunc);
        let display = Display::of(r, VmInstant::ZERO);
        let text = format!("{}x{} {:?}", display.width, display.height, display.format);
        out("mode", InspectValue::Text(text));
        out("latches", InspectValue::Register { value: u64::from(r.latches), bits: 32 });
        out("bar0", InspectValue::Register { value: u64::from(self.config.dword(0x10)), bits: 32 });
        out("interrupt", InspectValue::Flag(self.interrupt()));
        out("ignored writes", InspectValue::Count(self.ignored_writes));
    }
}
