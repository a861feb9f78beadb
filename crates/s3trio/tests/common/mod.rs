//! A card in a slot: sets standard modes the way a BIOS does, with the VGA's published register values.
#![allow(dead_code, unreachable_pub, reason = "each test file uses a part of it")]

use slotone_bus::{At, Device, Space, Target, TestPort, Window};
use slotone_s3trio::S3Trio;

/// A chip on a port, with decoding switched on.
pub struct Card {
    pub chip: S3Trio,
    pub port: TestPort,
    pub now: u64,
}

impl Card {
    pub fn new() -> Self {
        let port = TestPort::new(4096).with_lent(S3Trio::VRAM_LEN).with_lent(64 << 10);
        let mut card = Self { chip: S3Trio::new(), port, now: 0 };
        card.config_write(0x04, &[3, 0]);
        card
    }

    pub fn vram(&self) -> &[u8] {
        self.port.lent[0].slice(0, S3Trio::VRAM_LEN).unwrap()
    }

    /// The window that answers, with its target for reads or writes.
    pub fn find(&self, space: Space, address: u64) -> Option<Window> {
        let (_, windows) = self.chip.windows();
        let mut hits =
            windows.iter().filter(|w| w.space == space && (w.base..w.base + w.len).contains(&address));
        let first = hits.next().copied();
        assert!(hits.next().is_none(), "windows overlap at {address:#x} in {space:?}");
        first
    }

    fn device_write(&mut self, window: Window, address: u64, data: &[u8]) {
        let at = At { window: window.id, offset: address - window.base };
        let chip = &mut self.chip;
        self.port.at(self.now, |cx| chip.write(cx, at, data));
    }

    fn device_read(&mut self, window: Window, address: u64, data: &mut [u8]) {
        let at = At { window: window.id, offset: address - window.base };
        let chip = &mut self.chip;
        self.port.at(self.now, |cx| chip.read(cx, at, data));
    }

    pub fn config_write(&mut self, offset: u64, data: &[u8]) {
        let window = self.find(Space::PciConfig { function: 0 }, offset).unwrap();
        self.device_write(window, offset, data);
    }

    pub fn config_read(&mut self, offset: u64) -> u32 {
        let window = self.find(Space::PciConfig { function: 0 }, offset).unwrap();
        let mut data = [0; 4];
        self.device_read(window, offset, &mut data);
        u32::from_le_bytes(data)
    }

    pub fn outb(&mut self, port: u16, value: u8) {
        if let Some(window) = self.find(Space::Io, u64::from(port)) {
            self.device_write(window, u64::from(port), &[value]);
        }
    }

    /// Index and data in one word, as `out dx, ax` does.
    pub fn outw(&mut self, port: u16, index: u8, value: u8) {
        let window = self.find(Space::Io, u64::from(port)).unwrap();
        self.device_write(window, u64::from(port), &[index, value]);
    }

    pub fn inb(&mut self, port: u16) -> u8 {
        let Some(window) = self.find(Space::Io, u64::from(port)) else { return 0xff };
        let mut data = [0];
        self.device_read(window, u64::from(port), &mut data);
        data[0]
    }

    pub fn indexed(&mut self, port: u16, index: u8) -> u8 {
        self.outb(port, index);
        self.inb(port + 1)
    }

    /// Writes memory as the CPU does, through whatever window answers.
    pub fn poke(&mut self, address: u64, data: &[u8]) {
        let Some(window) = self.find(Space::Memory, address) else { return };
        match window.write {
            Target::Device => self.device_write(window, address, data),
            Target::Lent { memory, offset } => {
                let memory = &mut self.port.lent[usize::from(memory.0)];
                memory.write(offset + address - window.base, data).unwrap();
            }
            _ => {}
        }
    }

    pub fn peek(&mut self, address: u64) -> u8 {
        let mut data = [0xff];
        let Some(window) = self.find(Space::Memory, address) else { return 0xff };
        match window.read {
            Target::Device => self.device_read(window, address, &mut data),
            Target::Lent { memory, offset } => {
                let memory = &self.port.lent[usize::from(memory.0)];
                memory.read(offset + address - window.base, &mut data).unwrap();
            }
            _ => {}
        }
        data[0]
    }

    pub fn unlock(&mut self) {
        self.outw(0x3c4, 0x08, 0x06);
        self.outw(0x3d4, 0x38, 0x48);
        self.outw(0x3d4, 0x39, 0xa5);
    }

    pub fn palette(&mut self, first: u8, colors: &[[u8; 3]]) {
        self.outb(0x3c8, first);
        for gun in colors.as_flattened() {
            self.outb(0x3c9, *gun);
        }
    }

    /// Sets a mode from its register values; the screen is on afterwards.
    pub fn set_mode(&mut self, mode: &Mode) {
        self.outb(0x3c2, mode.misc);
        for (index, value) in (0..).zip(mode.seq) {
            self.outw(0x3c4, index, value);
        }
        let crtc = if mode.misc & 1 != 0 { 0x3d4 } else { 0x3b4 };
        self.outw(crtc, 0x11, 0x00);
        for (index, value) in (0..).zip(mode.crtc) {
            self.outw(crtc, index, value);
        }
        for (index, value) in (0..).zip(mode.gr) {
            self.outw(0x3ce, index, value);
        }
        self.inb(crtc + 6);
        for (index, value) in (0..).zip(mode.attr) {
            self.outb(0x3c0, index);
            self.outb(0x3c0, value);
        }
        self.outb(0x3c0, 0x20);
        let colors: Vec<_> = (0..64u8).map(mode.color).collect();
        self.palette(0, &colors);
    }
}

/// Register values of a standard mode.
pub struct Mode {
    pub misc: u8,
    pub seq: [u8; 5],
    pub crtc: [u8; 25],
    pub gr: [u8; 9],
    pub attr: [u8; 21],
    pub color: fn(u8) -> [u8; 3],
}

/// EGA's rgbRGB colours.
pub fn ega(i: u8) -> [u8; 3] {
    [2, 1, 0].map(|gun| 0x2a * (i >> gun & 1) + 0x15 * (i >> (gun + 3) & 1))
}

/// CGA's sixteen colours as modes 4-6, 0Dh, 0Eh place them.
pub fn cga(i: u8) -> [u8; 3] {
    let i = i & 7 | i >> 1 & 8;
    let bright = 0x15 * (i >> 3);
    let mut color = [2, 1, 0].map(|gun| 0x2a * (i >> gun & 1) + bright);
    if i == 6 {
        color[1] = 0x15;
    }
    color
}

const TEXT_ATTR: [u8; 21] =
    [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 0x0c, 0, 0x0f, 8, 0];

/// 80x25, 9x16 dots.
pub const MODE_3: Mode = Mode {
    misc: 0x67,
    seq: [3, 0, 3, 0, 2],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f,
        0x28, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x10, 0x0e, 0x0f, 0xff],
    attr: TEXT_ATTR,
    color: ega,
};

/// 40x25, 9x16 dots.
pub const MODE_1: Mode = Mode {
    seq: [3, 8, 3, 0, 2],
    crtc: [
        0x2d, 0x27, 0x28, 0x90, 0x2b, 0xa0, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f,
        0x14, 0x1f, 0x96, 0xb9, 0xa3, 0xff,
    ],
    ..MODE_3
};

/// 80x25 monochrome at B0000h and 3B4h.
pub const MODE_7: Mode = Mode {
    misc: 0x66,
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x55, 0x81, 0xbf, 0x1f, 0, 0x4f, 0x0d, 0x0e, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f,
        0x28, 0x0f, 0x96, 0xb9, 0xa3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x10, 0x0a, 0x0f, 0xff],
    attr: [0, 8, 8, 8, 8, 8, 8, 8, 0x10, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x18, 0x0e, 0, 0x0f, 8, 0],
    ..MODE_3
};

/// 320x200, CGA's four colours.
pub const MODE_4: Mode = Mode {
    misc: 0x63,
    seq: [3, 9, 3, 0, 2],
    crtc: [
        0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0,
        0x96, 0xb9, 0xa2, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x30, 0x0f, 0x0f, 0xff],
    attr: [0, 0x13, 0x15, 0x17, 2, 4, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 3, 0, 0],
    color: cga,
};

/// 640x200, two colours.
pub const MODE_6: Mode = Mode {
    misc: 0x63,
    seq: [3, 1, 1, 0, 6],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0xc1, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28, 0,
        0x96, 0xb9, 0xc2, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0, 0x0d, 0x0f, 0xff],
    attr: [
        0, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 0x17, 1, 0, 1,
        0, 0,
    ],
    color: cga,
};

/// 320x200, four planes.
pub const MODE_D: Mode = Mode {
    misc: 0x63,
    seq: [3, 9, 0x0f, 0, 6],
    crtc: [
        0x2d, 0x27, 0x28, 0x90, 0x2b, 0x80, 0xbf, 0x1f, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x14, 0,
        0x96, 0xb9, 0xe3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff],
    attr: [0, 1, 2, 3, 4, 5, 6, 7, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17, 1, 0, 0x0f, 0, 0],
    color: cga,
};

/// 640x480, four planes.
pub const MODE_12: Mode = Mode {
    misc: 0xe3,
    seq: [3, 1, 0x0f, 0, 6],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0x0b, 0x3e, 0, 0x40, 0, 0, 0, 0, 0, 0, 0xea, 0x8c, 0xdf, 0x28, 0,
        0xe7, 0x04, 0xe3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0, 5, 0x0f, 0xff],
    attr: [0, 1, 2, 3, 4, 5, 0x14, 7, 0x38, 0x39, 0x3a, 0x3b, 0x3c, 0x3d, 0x3e, 0x3f, 1, 0, 0x0f, 0, 0],
    color: ega,
};

/// 320x200, 256 colours.
pub const MODE_13: Mode = Mode {
    misc: 0x63,
    seq: [3, 1, 0x0f, 0, 0x0e],
    crtc: [
        0x5f, 0x4f, 0x50, 0x82, 0x54, 0x80, 0xbf, 0x1f, 0, 0x41, 0, 0, 0, 0, 0, 0, 0x9c, 0x8e, 0x8f, 0x28,
        0x40, 0x96, 0xb9, 0xa3, 0xff,
    ],
    gr: [0, 0, 0, 0, 0, 0x40, 5, 0x0f, 0xff],
    attr: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 0x41, 0, 0x0f, 0, 0],
    color: ega,
};

/// FNV-1a of a picture's size and pixels.
pub fn hash(frame: &slotone_s3trio::Frame) -> u64 {
    let size = [frame.width.to_le_bytes(), frame.height.to_le_bytes()];
    let bytes = size.as_flattened().iter().chain(&frame.rgb);
    bytes.fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3))
}
