//! The configuration registers of the W83977F: extended function mode behind an index and a data port.
//!
//! Writing 87h twice to the index port opens them, AAh closes them. Registers below 30h are global; from 30h on they belong to the logical device chosen by
//! CR07. While closed the ports do not answer reads, so that a floppy controller at 3F0h shows through.
//!
//! Limits: values are stored and read back; the UARTs and the keyboard controller are devices of their own and stay where they were built. A
//! machine that wants to move them asks [`SuperIo::logical_device`].

use crate::util::{check, show};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, PinLevels, ResetKind, Target, VmInstant, Window,
    WindowId, WindowSet, encode_fields,
};

/// Register indices.
pub mod register {
    /// Logical device number.
    pub const LDN: u8 = 0x07;
    /// Chip identification.
    pub const ID: u8 = 0x20;
    /// Chip revision.
    pub const REVISION: u8 = 0x21;
    /// Bit 6 HEFRAS: the configuration ports are 370h and 371h.
    pub const CR26: u8 = 0x26;
    /// Logical device: bit 0 activates it.
    pub const ACTIVATE: u8 = 0x30;
    /// Logical device: first I/O base, high byte; the low byte follows.
    pub const IO_BASE: u8 = 0x60;
    /// Logical device: second I/O base.
    pub const IO_BASE_2: u8 = 0x62;
    /// Logical device: interrupt.
    pub const IRQ: u8 = 0x70;
    /// Logical device: DMA channel, 4 is none.
    pub const DMA: u8 = 0x74;
}

const SECTION: &str = "w83977-config";
const KEY: u8 = 0x87;
const LOCK: u8 = 0xaa;
const CHIP_ID: u8 = 0x97;
const DEVICES: usize = 11;
const FIRST_LOCAL: u8 = 0x30;
const LOCALS: usize = 0x100 - FIRST_LOCAL as usize;

/// What the configuration registers say about a logical device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogicalDevice {
    /// CR30 bit 0.
    pub active: bool,
    /// CR60 and CR61.
    pub io_base: u16,
    /// CR62 and CR63.
    pub io_base_2: u16,
    /// CR70 bits 3:0.
    pub irq: u8,
    /// CR74 bits 2:0.
    pub dma: u8,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    /// 87h seen: 0, 1, or 2 for open.
    keys: u8,
    index: u8,
    global: [u8; FIRST_LOCAL as usize],
    local: [[u8; LOCALS]; DEVICES],
}
encode_fields!(State { keys, index, global, local });

impl State {
    fn new(hefras: bool, revision: u8) -> Self {
        let mut global = [0; FIRST_LOCAL as usize];
        let straps = [
            (register::ID, CHIP_ID),
            (register::REVISION, revision),
            (0x22, 0xff), // power down: everything is on
            (0x24, 0xc4),
            (register::CR26, u8::from(hefras) << 6),
        ];
        for (index, value) in straps {
            global[usize::from(index)] = value;
        }
        let mut this = Self { keys: 0, index: 0, global, local: [[0; LOCALS]; DEVICES] };
        for local in &mut this.local {
            local[usize::from(register::DMA - FIRST_LOCAL)] = 4;
        }
        this.preset(0, 0x03f0, 0, 6, 2); // floppy
        this.preset(1, 0x0378, 0, 7, 4); // parallel
        this.preset(2, 0x03f8, 0, 4, 4); // UART A
        this.preset(3, 0x02f8, 0, 3, 4); // UART B
        this.preset(5, 0x0060, 0x0064, 1, 4); // keyboard, its mouse interrupt in CR72
        this.local[5][usize::from(register::IRQ + 2 - FIRST_LOCAL)] = 12;
        this
    }

    fn preset(&mut self, device: usize, base: u16, base_2: u16, irq: u8, dma: u8) {
        let local = &mut self.local[device];
        let mut put = |index: u8, value: u8| local[usize::from(index - FIRST_LOCAL)] = value;
        put(register::ACTIVATE, 1);
        let ([high, low], [high_2, low_2]) = (base.to_be_bytes(), base_2.to_be_bytes());
        put(register::IO_BASE, high);
        put(register::IO_BASE + 1, low);
        put(register::IO_BASE_2, high_2);
        put(register::IO_BASE_2 + 1, low_2);
        put(register::IRQ, irq);
        put(register::DMA, dma);
    }

    fn is_open(&self) -> bool {
        self.keys == 2
    }

    /// The register that `index` stands for now; `None` for a logical device the chip does not have.
    fn cell(&mut self, index: u8) -> Option<&mut u8> {
        let device = usize::from(self.global[usize::from(register::LDN)]);
        match index.checked_sub(FIRST_LOCAL) {
            None => self.global.get_mut(usize::from(index)),
            Some(local) => self.local.get_mut(device)?.get_mut(usize::from(local)),
        }
    }

    fn write_index(&mut self, value: u8) {
        match (self.keys, value) {
            (0 | 1, KEY) => self.keys += 1,
            (0 | 1, _) => self.keys = 0,
            (_, LOCK) => self.keys = 0,
            (_, _) => self.index = value,
        }
    }

    fn write_data(&mut self, value: u8) {
        let index = self.index;
        if matches!(index, register::ID | register::REVISION) {
            return;
        }
        if let Some(cell) = self.cell(index) {
            *cell = value;
        }
    }
}

/// The configuration registers. They have no pins.
///
/// ```
/// use slotone_bus::{At, Device, TestPort, WindowId};
/// use slotone_superio_w83977::SuperIo;
///
/// let (mut sio, mut port) = (SuperIo::new(&[0x370]), TestPort::new(0x1000));
/// let mut id = [0];
/// port.at(0, |cx| {
///     for value in [0x87, 0x87, 0x20] {
///         sio.write(cx, At { window: WindowId(0), offset: 0 }, &[value]);
///     }
///     sio.read(cx, At { window: WindowId(0), offset: 1 }, &mut id);
/// });
/// assert_eq!(id, [0x97]);
/// ```
#[derive(Debug)]
pub struct SuperIo {
    ports: Vec<u16>,
    windows: WindowSet,
    state: State,
}

impl SuperIo {
    /// Revision of the W83977F.
    const REVISION: u8 = 0x71;

    /// A chip whose index port answers at each of `ports` (370h as Virtual Server's board straps it; 3F0h is the other strap), the data port one
    /// above.
    pub fn new(ports: &[u16]) -> Self {
        let state = State::new(ports.first() != Some(&0x3f0), Self::REVISION);
        let mut this = Self { ports: ports.to_vec(), windows: WindowSet::default(), state };
        this.decode();
        this
    }

    /// What the registers say about logical device `number` (0 floppy, 1 parallel port, 2 and 3 UARTs, 5 keyboard ... 10).
    pub fn logical_device(&self, number: u8) -> Option<LogicalDevice> {
        let local = self.state.local.get(usize::from(number))?;
        let get = |index: u8| local[usize::from(index - FIRST_LOCAL)];
        let base = |index: u8| u16::from_be_bytes([get(index), get(index + 1)]);
        Some(LogicalDevice {
            active: get(register::ACTIVATE) & 1 != 0,
            io_base: base(register::IO_BASE),
            io_base_2: base(register::IO_BASE_2),
            irq: get(register::IRQ) & 0x0f,
            dma: get(register::DMA) & 0x07,
        })
    }

    fn decode(&mut self) {
        let read = if self.state.is_open() { Target::Device } else { Target::Pass };
        let priority = Window::PRIORITY_DEVICE + 1;
        let window =
            |(id, port): (u16, &u16)| Window { read, priority, ..Window::io(WindowId(id), *port, 2) };
        self.windows.set((0..).zip(&self.ports).map(window).collect());
    }
}

impl Device for SuperIo {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, _cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        crate::util::read_bytes(at.offset, data, |offset| match offset {
            0 if self.state.is_open() => self.state.index,
            1 if self.state.is_open() => {
                let index = self.state.index;
                self.state.cell(index).map_or(0xff, |cell| *cell)
            }
            _ => 0xff,
        });
    }

    fn write(&mut self, _cx: &mut Cx<'_>, at: At, data: &[u8]) {
        crate::util::write_bytes(at.offset, data, |offset, value| match offset {
            0 => self.state.write_index(value),
            1 if self.state.is_open() => self.state.write_data(value),
            _ => {}
        });
        self.decode();
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    fn tick(&mut self, _cx: &mut Cx<'_>) {}

    fn reset(&mut self, _kind: ResetKind) {
        self.state = State::new(self.ports.first() != Some(&0x3f0), Self::REVISION);
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.keys <= 2, "more keys than there are")?;
        let fixed = [register::ID, register::REVISION].map(usize::from);
        let same = fixed.iter().all(|at| state.global[*at] == self.state.global[*at]);
        check(SECTION, same, "another chip's identification")?;
        self.state = state;
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        out("open", InspectValue::Flag(self.state.is_open()));
        show(out, "index", self.state.index, 8);
        show(out, "CR07", self.state.global[usize::from(register::LDN)], 8);
        show(out, "CR26", self.state.global[usize::from(register::CR26)], 8);
    }
}
