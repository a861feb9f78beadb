//! 82443BX host bridge, device 0 function 0 (Intel 290633, section 3.3): which addresses are main memory.
//!
//! | range | is DRAM when |
//! | --- | --- |
//! | 00000000-0009FFFF | always; 80000-9FFFF not with FDHC = 01 |
//! | 000A0000-000BFFFF | SMRAM.G_SMRAME and D_OPEN are set |
//! | 000C0000-000FFFFF | PAM0-PAM6 say so, reads and writes apart |
//! | 00100000-top of memory | always; 00F00000-00FFFFFF not with FDHC = 10 |
//!
//! Everything else goes to PCI. How much memory there is comes from [`HostBridgeConfig`], not from DRB0-DRB7, which are storage: 1 GB is all they can express.

use crate::util::{check, read_bytes, show, write_bytes};
use slotone_bus::state::{StateError, StateReader, StateWriter};
use slotone_bus::{
    At, Cx, Device, Generation, Inspector, PinLevels, ResetKind, Space, Target, VmInstant, Window, WindowId,
    WindowSet, encode_fields,
};
use slotone_pci::{ConfigBytes, ConfigSpace, Identity};

/// Configuration registers.
pub mod register {
    /// PCI status.
    pub const PCISTS: u8 = 0x06;
    /// Programmable attribute map 0 to 6.
    pub const PAM0: u8 = 0x59;
    /// DRAM row boundary 0 to 7.
    pub const DRB0: u8 = 0x60;
    /// Fixed DRAM hole control.
    pub const FDHC: u8 = 0x68;
    /// System management RAM control.
    pub const SMRAM: u8 = 0x72;
    /// Extended system management RAM control.
    pub const ESMRAMC: u8 = 0x73;
    /// Power management control.
    pub const PMCR: u8 = 0x7a;
    /// Aperture size.
    pub const APSIZE: u8 = 0xb4;
    /// BIOS scratch pad.
    pub const BSPAD: u8 = 0xd0;
}

const SECTION: &str = "82443bx";
const WINDOW_CONFIG: WindowId = WindowId(0);
const WINDOW_PM2: WindowId = WindowId(1);
const WINDOW_LOW: WindowId = WindowId(2);
const WINDOW_SMRAM: WindowId = WindowId(3);
const WINDOW_EXTENDED: WindowId = WindowId(4);
const WINDOW_ABOVE_HOLE: WindowId = WindowId(5);
/// Plus the number of its first 16 KB segment from C0000.
const WINDOW_PAM: u16 = 16;
const PM2_CNTRL: u16 = 0x22;
const KB: u64 = 1024;
const MB: u64 = 1024 * KB;
const D_OPEN: u8 = 0x40;
const D_LCK: u8 = 0x10;
const G_SMRAME: u8 = 0x08;

/// What the board decides about the host bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostBridgeConfig {
    /// Bytes of main memory; what lies above FEC00000h cannot be reached and is not mapped.
    pub ram_bytes: u64,
    /// 7192h: 82443BX with AGP strapped off, as Virtual Server has it. 7190h: with AGP registers. 1237h: the identity of an 82441FX,
    /// whose PAM and SMRAM registers are in the same places.
    pub device_id: u16,
    /// Revision ID.
    pub revision: u8,
}

impl HostBridgeConfig {
    /// Memory ends below the I/O APIC's addresses.
    pub const RAM_LIMIT: u64 = 0xfec0_0000;

    /// The bridge of Virtual Server 2005 (8086:7192, revision 3) with `ram_bytes` of memory.
    pub const fn new(ram_bytes: u64) -> Self {
        Self { ram_bytes, device_id: 0x7192, revision: 3 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct State {
    config: ConfigBytes,
    pm2_cntrl: u8,
}
encode_fields!(State { config, pm2_cntrl });

/// The host bridge. It has no pins.
///
/// ```
/// use slotone_bus::{At, Device, Target, TestPort, WindowId};
/// use slotone_chipset_440bx::{HostBridge, HostBridgeConfig};
///
/// let (mut bridge, mut port) = (HostBridge::new(HostBridgeConfig::new(128 << 20)), TestPort::new(0x1000));
/// // PAM0: F0000-FFFFF reads go to the ROM, writes to the DRAM under it.
/// port.at(0, |cx| bridge.write(cx, At { window: WindowId(0), offset: 0x59 }, &[0x20]));
/// let shadow = bridge.windows().1.iter().find(|w| w.base == 0xf_0000).unwrap();
/// assert_eq!((shadow.read, shadow.write), (Target::Pass, Target::Ram { offset: 0xf_0000 }));
/// ```
#[derive(Debug)]
pub struct HostBridge {
    ram: u64,
    config: ConfigSpace,
    pm2_cntrl: u8,
    windows: WindowSet,
}

impl HostBridge {
    /// A bridge after power-on.
    pub fn new(board: HostBridgeConfig) -> Self {
        let ram = board.ram_bytes.min(HostBridgeConfig::RAM_LIMIT);
        let mut this = Self { ram, config: config_space(board), pm2_cntrl: 0, windows: WindowSet::default() };
        this.decode();
        this
    }

    /// Notes that a configuration cycle ended in a master abort (PCISTS bit 13), as one to an absent function does. For the machine.
    pub fn received_master_abort(&mut self) {
        let high = self.config.byte(register::PCISTS + 1) | 0x20;
        self.config.set(register::PCISTS + 1, &[high]);
    }

    fn has_agp(&self) -> bool {
        self.config.word(0x02) == 0x7190
    }

    /// The two attribute bits (bit 0 reads, bit 1 writes from and to DRAM) of 16 KB segment 0 to 15 from C0000.
    fn attributes(&self, segment: u8) -> u8 {
        match segment {
            12.. => self.config.byte(register::PAM0) >> 4 & 3,
            _ => self.config.byte(register::PAM0 + 1 + segment / 2) >> (4 * (segment & 1)) & 3,
        }
    }

    /// Derives the windows from the registers.
    fn decode(&mut self) {
        let mut windows = vec![Window::pci_config(WINDOW_CONFIG, 0)];
        if self.config.byte(register::PMCR) & 0x40 != 0 {
            windows.push(Window::io(WINDOW_PM2, PM2_CNTRL, 1));
        }
        let hole = self.config.byte(register::FDHC) >> 6;
        let low = if hole == 1 { 512 * KB } else { 640 * KB };
        self.push_ram(&mut windows, WINDOW_LOW, 0..low, 3);
        if self.config.byte(register::SMRAM) & (D_OPEN | G_SMRAME) == D_OPEN | G_SMRAME {
            self.push_ram(&mut windows, WINDOW_SMRAM, 640 * KB..768 * KB, 3);
        }
        let mut first = 0;
        while first < 16 {
            let attributes = self.attributes(first);
            let end = (first..16).find(|s| self.attributes(*s) != attributes).unwrap_or(16);
            let at = |segment: u8| 768 * KB + u64::from(segment) * 16 * KB;
            let id = WindowId(WINDOW_PAM + u16::from(first));
            self.push_ram(&mut windows, id, at(first)..at(end), attributes);
            first = end;
        }
        if hole == 2 {
            self.push_ram(&mut windows, WINDOW_EXTENDED, MB..15 * MB, 3);
            self.push_ram(&mut windows, WINDOW_ABOVE_HOLE, 16 * MB..self.ram, 3);
        } else {
            self.push_ram(&mut windows, WINDOW_EXTENDED, MB..self.ram, 3);
        }
        self.windows.set(windows);
    }

    fn push_ram(&self, windows: &mut Vec<Window>, id: WindowId, range: std::ops::Range<u64>, attributes: u8) {
        let (base, end) = (range.start, range.end.min(self.ram));
        if base >= end || attributes == 0 {
            return;
        }
        let target =
            |bit: u8| if attributes & bit != 0 { Target::Ram { offset: base } } else { Target::Pass };
        windows.push(Window {
            id,
            space: Space::Memory,
            base,
            len: end - base,
            priority: Window::PRIORITY_DRAM,
            read: target(1),
            write: target(2),
        });
    }

    /// A write of one byte to configuration space with the effects that masks cannot express.
    fn write_config(&mut self, offset: u64, value: u8) {
        let Ok(register) = u8::try_from(offset) else { return };
        let smram = self.config.byte(register::SMRAM);
        match register {
            register::SMRAM | register::ESMRAMC if smram & D_LCK != 0 => (),
            register::SMRAM if value & D_LCK != 0 => self.config.write(offset, &[value & !D_OPEN]),
            // BIOS and system read-only identification: written once.
            0x2c..=0x2f if self.config.dword(0x2c) >> (8 * (register & 3)) & 0xff != 0 => (),
            // Aperture size 0 bits force the same base bits to 0.
            0x10..=0x13 if self.has_agp() => {
                self.config.write(offset, &[value]);
                self.clip_aperture();
            }
            register::APSIZE if self.has_agp() => {
                self.config.write(offset, &[value]);
                self.clip_aperture();
            }
            _ => self.config.write(offset, &[value]),
        }
    }

    fn clip_aperture(&mut self) {
        let size = u32::from(self.config.byte(register::APSIZE) & 0x3f) << 22;
        let base = self.config.dword(0x10) & (0xf000_0000 | size) | 8;
        self.config.set(0x10, &base.to_le_bytes());
    }
}

/// Reset values and writable bits (290633, table 3-2); registers without an effect in this model are storage.
fn config_space(board: HostBridgeConfig) -> ConfigSpace {
    let agp = board.device_id == 0x7190;
    let identity = Identity {
        vendor: 0x8086,
        device: board.device_id,
        revision: board.revision,
        class: 0x06_00_00,
        ..Identity::default()
    };
    let storage = |config: ConfigSpace, from: u8, reset: &[u8]| {
        config.with_register(from, reset, &vec![0xff; reset.len()])
    };
    let mut c = ConfigSpace::new(identity)
        .with_register(0x04, &[0x06, 0x00], &[0x40, 0x01])
        .with_register(0x06, &[if agp { 0x10 } else { 0x00 }, 0x02], &[0, 0])
        .with_write_one_to_clear(0x06, &[0x00, 0xf0])
        .with_register(0x0d, &[0], &[0xf8])
        .with_register(0x50, &[0x00, 0x00, 0x00, 0x00], &[0xeb, 0x8f, 0x07, 0xff])
        .with_register(0x57, &[0x08], &[0x3f])
        .with_register(0x58, &[0x03], &[0x03])
        .with_register(register::PAM0, &[0; 7], &[0x30, 0x33, 0x33, 0x33, 0x33, 0x33, 0x33])
        .with_register(register::FDHC, &[0], &[0xc0])
        .with_register(register::SMRAM, &[0x02], &[0x78])
        .with_register(register::ESMRAMC, &[0x38], &[0x87])
        .with_write_one_to_clear(register::ESMRAMC, &[0x40])
        .with_register(register::PMCR, &[if agp { 0x00 } else { 0x02 }], &[0x75])
        .with_register(0x80, &[0; 4], &[0x00, 0xf0, 0xff, 0xff])
        .with_write_one_to_clear(0x80, &[0x03])
        .with_register(0x91, &[0; 2], &[0, 0])
        .with_write_one_to_clear(0x91, &[0x11, 0x1f])
        .with_register(0xf0, &[0; 2], &[0xc0, 0x03])
        .with_register(0xf8, &[0x20, 0x0f, 0x00, 0x00], &[0; 4])
        .with_register(0x2c, &[0; 4], &[0xff; 4]);
    c = storage(c, register::DRB0, &[0x01; 8]);
    c = storage(c, 0x69, &[0; 6]); // MBSC
    c = storage(c, 0x74, &[0; 6]); // RPS, SDRAMC, PGPOL
    c = storage(c, 0x7b, &[0x38, 0x00]); // SCRR
    c = storage(c, 0x90, &[0x80]); // ERRCMD
    c = storage(c, 0xca, &[0; 3]); // MBFS
    c = storage(c, register::BSPAD, &[0; 8]);
    c = storage(c, 0xe0, &[0; 16]); // DWTC, DRTC
    if agp {
        c = c
            .with_register(0x10, &[0x08, 0, 0, 0], &[0, 0, 0xc0, 0xff])
            .with_register(0x34, &[0xa0], &[0])
            .with_register(0xa0, &[0x02, 0x00, 0x10, 0x00], &[0; 4])
            .with_register(0xa4, &[0x03, 0x02, 0x00, 0x1f], &[0; 4])
            .with_register(0xa8, &[0; 4], &[0x07, 0x03, 0, 0])
            .with_register(0xb0, &[0; 4], &[0x80, 0xa0, 0, 0])
            .with_register(register::APSIZE, &[0], &[0x3f])
            .with_register(0xb8, &[0; 4], &[0, 0xf0, 0xff, 0xff]);
    }
    c
}

impl Device for HostBridge {
    fn windows(&self) -> (Generation, &[Window]) {
        self.windows.get()
    }

    fn read(&mut self, _cx: &mut Cx<'_>, at: At, data: &mut [u8]) {
        match at.window {
            WINDOW_CONFIG => self.config.read(at.offset, data),
            WINDOW_PM2 => read_bytes(at.offset, data, |o| if o == 0 { self.pm2_cntrl } else { 0xff }),
            _ => data.fill(0xff),
        }
    }

    fn write(&mut self, _cx: &mut Cx<'_>, at: At, data: &[u8]) {
        match at.window {
            WINDOW_CONFIG => {
                write_bytes(at.offset, data, |offset, value| self.write_config(offset, value));
                self.decode();
            }
            WINDOW_PM2 => write_bytes(at.offset, data, |o, value| {
                if o == 0 {
                    self.pm2_cntrl = value & 1;
                }
            }),
            _ => {}
        }
    }

    fn levels(&self) -> PinLevels {
        PinLevels::default()
    }

    fn next_deadline(&self) -> Option<VmInstant> {
        None
    }

    fn tick(&mut self, _cx: &mut Cx<'_>) {}

    fn reset(&mut self, _kind: ResetKind) {
        self.config.reset();
        self.pm2_cntrl = 0;
        self.decode();
    }

    fn save(&self, w: &mut StateWriter) {
        w.section(SECTION, 1, &State { config: self.config.save(), pm2_cntrl: self.pm2_cntrl });
    }

    fn restore(&mut self, r: &mut StateReader<'_>) -> Result<(), StateError> {
        let state: State = r.section(SECTION, 1)?;
        check(SECTION, state.pm2_cntrl & 0xfe == 0, "PM2_CNTRL has reserved bits set")?;
        self.config.load(&state.config);
        // Set by the machine, not by the guest, and cleared by writing 1: load() covers bits 15:12.
        if self.has_agp() {
            self.clip_aperture();
        }
        self.pm2_cntrl = state.pm2_cntrl;
        self.decode();
        Ok(())
    }

    fn inspect(&self, out: &mut Inspector<'_>) {
        for pam in 0..7 {
            show(out, &format!("PAM{pam}"), self.config.byte(register::PAM0 + pam), 8);
        }
        show(out, "FDHC", self.config.byte(register::FDHC), 8);
        show(out, "SMRAM", self.config.byte(register::SMRAM), 8);
        show(out, "PMCR", self.config.byte(register::PMCR), 8);
        show(out, "RAM bytes", self.ram, 32);
    }
}
