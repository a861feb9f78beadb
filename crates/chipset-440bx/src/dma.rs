//! The 8237A pair with the DMA page registers (Intel 8237A data sheet; PIIX4 290562, section 8.4), registers only.
//!
//! | ports | register |
//! | --- | --- |
//! | 00h-0Fh | controller 1, channels 0-3, bytes (alias 10h-1Fh) |
//! | 80h-8Fh | page registers; 80h also shows POST codes |
//! | C0h-DFh | controller 2, channels 4-7, words, registers at even ports |
//! | 40Bh, 4D6h | extended mode (ISA timing): accepted, write-only |
//!
//! Limits: nothing is transferred. Address, count, mode, mask and flip-flop behave as the chip's do, so that drivers can program them; the floppy
//! controller brings the transfers.

use crate::util::{read_bytes, show, write_bytes};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, InspectValue, Inspector, PinLevels, ResetKind, VmInstant, Window, WindowId,
    WindowSet, encode_fields,
};

const SECTION: &str = "8237a-pair";
const WINDOW_FIRST: u16 = 0;
const WINDOW_FIRST_ALIAS: u16 = 1;
const WINDOW_SECOND: u16 = 2;
const WINDOW_PAGES: u16 = 3;
const WINDOW_EXTENDED_FIRST: u16 = 4;
const WINDOW_EXTENDED_SECOND: u16 = 5;

#[derive(Debug, Clone, PartialEq, Eq, Default)]
struct Channel {
    base_address: u16,
    base_count: u16,
    current_address: u16,
    current_count: u16,
    /// Bits 7:2 of the mode register.
    mode: u8,
}
encode_fields!(Channel { base_address, base_count, current_address, current_count, mode });

#[derive(Debug, Clone, PartialEq, Eq)]
struct Controller {
    channels: [Channel; 4],
    command: u8,
    /// Software requests, bit n for channel n.
    requests: u8,
    mask: u8,
    terminal_count: u8,
    /// The next address or count access is to the high byte.
    high_byte: bool,
}
encode_fields!(Controller { channels, command, requests, mask, terminal_count, high_byte });

impl Controller {
    fn new() -> Self {
        Self {
            channels: Default::default(),
            command: 0,
            requests: 0,
            mask: 0x0f,
            terminal_count: 0,
            high_byte: false,
        }
    }

    fn master_clear(&mut self) {
        let channels = std::mem::take(&mut self.channels);
        *self = Self { channels, ..Self::new() };
    }

    fn flip(&mut self) -> usize {
        self.high_byte = !self.high_byte;
        usize::from(!self.high_byte)
    }

    /// `register` is 0 to 15.
    fn read(&mut self, register: u8) -> u8 {
        match register {
            0..=7 => {
                let byte = self.flip();
                let channel = &self.channels[usize::from(register >> 1)];
                let value = if register & 1 == 0 { channel.current_address } else { channel.current_count };
                value.to_le_bytes()[byte]
            }
            8 => self.requests << 4 | std::mem::take(&mut self.terminal_count),
            0x0f => self.mask | 0xf0,
            _ => 0xff,
        }
    }

    fn write(&mut self, register: u8, value: u8) {
        let bit = 1 << (value & 3);
        let set = value & 4 != 0;
        match register {
            0..=7 => {
                let byte = self.flip();
                let channel = &mut self.channels[usize::from(register >> 1)];
                let (base, current) = if register & 1 == 0 {
                    (&mut channel.base_address, &mut channel.current_address)
                } else {
                    (&mut channel.base_count, &mut channel.current_count)
                };
                let mut bytes = base.to_le_bytes();
                bytes[byte] = value;
                *base = u16::from_le_bytes(bytes);
                *current = *base;
            }
            8 => self.command = value,
            9 => self.requests = if set { self.requests | bit } else { self.requests & !bit },
            0x0a => self.mask = if set { self.mask | bit } else { self.mask & !bit },
            0x0b => self.channels[usize::from(value & 3)].mode = value & 0xfc,
            0x0c => self.high_byte = false,
            0x0d => self.master_clear(),
            0x0e => self.mask = 0,
            _ => self.mask = value & 0x0f,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    controllers: [Controller; 2],
    pages: [u8; 16],
    extended_mode: [u8; 2],
}
encode_fields!(State { controllers, pages, extended_mode });

/// The DMA controllers. They have no pins yet.
#[derive(Debug)]
pub struct Dma {
    windows: WindowSet,
    state: State,
}

impl Default for Dma {
    fn default() -> Self {
        Self::new()
    }
}

impl Dma {
    /// Both controllers after reset: every channel masked.
    pub fn new() -> Self {
        let windows = vec![
            Window::io(WindowId(WINDOW_FIRST), 0x00, 16),
            Window::io(WindowId(WINDOW_FIRST_ALIAS), 0x10, 16),
            Window::io(WindowId(WINDOW_SECOND), 0xc0, 32),
            Window::io(WindowId(WINDOW_PAGES), 0x80, 16),
            Window::io(WindowId(WINDOW_EXTENDED_FIRST), 0x40b, 1),
            Window::io(WindowId(WINDOW_EXTENDED_SECOND), 0x4d6, 1),
        ];
        Self { windows: WindowSet::new(windows), state: Self::fresh() }
    }

    fn fresh() -> State {
        State { controllers: [Controller::new(), Controller::new()], pages: [0; 16], extended_mode: [0; 2] }
    }

    /// The byte last written to port 80h: what a POST card shows.
    pub fn post_code(&self) -> u8 {
        self.state.pages[0]
    }
}

impl Device for Dma {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, _cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        let State { controllers: [first, second], pages, .. } = &mut self.state;
        read_bytes(at.offset, data, |offset| match (at.window.0, offset) {
            (WINDOW_FIRST | WINDOW_FIRST_ALIAS, 0..16) => first.read(offset as u8),
            (WINDOW_SECOND, 0..32) if offset & 1 == 0 => second.read((offset >> 1) as u8),
            (WINDOW_PAGES, 0..16) => pages[offset as usize],
            _ => 0xff,
        });
    }

    fn write(&mut self, _cx: &mut Cx<'_>, at: At, data: &[u8]) {
        let State { controllers: [first, second], pages, extended_mode } = &mut self.state;
        write_bytes(at.offset, data, |offset, value| match (at.window.0, offset) {
            (WINDOW_FIRST | WINDOW_FIRST_ALIAS, 0..16) => first.write(offset as u8, value),
            (WINDOW_SECOND, 0..32) if offset & 1 == 0 => second.write((offset >> 1) as u8, value),
            (WINDOW_PAGES, 0..16) => pages[offset as usize] = value,
            (WINDOW_EXTENDED_FIRST, 0) => extended_mode[0] = value,
            (WINDOW_EXTENDED_SECOND, 0) => extended_mode[1] = value,
            _ => {}
        });
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    fn tick(&mut self, _cx: &mut Cx<'_>) {}

    fn reset(&mut self, _kind: ResetKind) {
        self.state = Self::fresh();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &self.state);
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        for controller in &state.controllers {
            let four_bits = controller.mask | controller.requests | controller.terminal_count;
            crate::util::check(SECTION, four_bits < 16, "a controller has four channels")?;
            let modes = controller.channels.iter().all(|c| c.mode & 3 == 0);
            crate::util::check(SECTION, modes, "a mode register holds bits 7:2")?;
        }
        self.state = state;
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        show(out, "POST", self.state.pages[0], 8);
        for (controller, name) in self.state.controllers.iter().zip(["DMA1", "DMA2"]) {
            show(out, &format!("{name}.command"), controller.command, 8);
            show(out, &format!("{name}.mask"), controller.mask, 4);
            for (n, channel) in controller.channels.iter().enumerate() {
                show(out, &format!("{name}.CH{n}.address"), channel.current_address, 16);
                show(out, &format!("{name}.CH{n}.count"), channel.current_count, 16);
                show(out, &format!("{name}.CH{n}.mode"), channel.mode, 8);
            }
        }
        out("page registers", InspectValue::Text(format!("{:02x?}", self.state.pages)));
    }
}
