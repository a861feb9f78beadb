//! Register names, bits and write masks as IBM's VGA reference and S3's Trio32/Trio64 data sheet print them.

/// Miscellaneous output register (write 3C2h, read 3CCh).
pub mod misc {
    /// Bit 0: CRTC at 3D4h, input status 1 at 3DAh; clear: 3B4h and 3BAh.
    pub const IOA_SEL: u8 = 0x01;
    /// Bit 1: the CPU reaches display memory.
    pub const ENB_RAM: u8 = 0x02;
    /// Bits 3:2: dot clock, 0 25.175 MHz, 1 28.322 MHz, 2 and 3 the programmable DCLK (SR12, SR13).
    pub const CLK_SEL: u8 = 0x0c;
    /// Bit 5: page select in odd/even addressing.
    pub const PGSL: u8 = 0x20;
    /// Bits that exist.
    pub const MASK: u8 = 0xef;
}

/// Input status 1 (read 3BAh/3DAh).
pub mod is1 {
    /// Bit 0: the display is in horizontal or vertical blanking.
    pub const DTM: u8 = 0x01;
    /// Bit 3: vertical retrace.
    pub const VSY: u8 = 0x08;
}

/// Sequencer registers (index 3C4h, data 3C5h).
pub mod seq {
    /// SR0, reset.
    pub const RESET: u8 = 0x00;
    /// SR1, clocking mode.
    pub const CLOCKING: u8 = 0x01;
    /// SR1 bit 0: characters are 8 dots wide.
    pub const CLOCKING_8DOT: u8 = 0x01;
    /// SR1 bit 3: dot clock halved.
    pub const CLOCKING_HALF: u8 = 0x08;
    /// SR1 bit 5: screen off.
    pub const CLOCKING_OFF: u8 = 0x20;
    /// SR2, map mask: planes that CPU writes reach.
    pub const MAP_MASK: u8 = 0x02;
    /// SR3, character font select.
    pub const FONT: u8 = 0x03;
    /// SR4, memory mode.
    pub const MEMORY: u8 = 0x04;
    /// SR4 bit 2: clear for odd/even addressing of writes.
    pub const MEMORY_SEQUENTIAL: u8 = 0x04;
    /// SR4 bit 3: chain-4.
    pub const MEMORY_CHAIN4: u8 = 0x08;
    /// SR8: 06h unlocks SR9 to SR1C.
    pub const UNLOCK: u8 = 0x08;
    /// SR10, MCLK PLL: N and R.
    pub const MCLK_LOW: u8 = 0x10;
    /// SR11, MCLK PLL: M.
    pub const MCLK_HIGH: u8 = 0x11;
    /// SR12, DCLK PLL: 4:0 N, 7:5 R.
    pub const DCLK_LOW: u8 = 0x12;
    /// SR13, DCLK PLL: 6:0 M.
    pub const DCLK_HIGH: u8 = 0x13;
    /// SR15, CLKSYN control 2; bit 4 halves DCLK.
    pub const CLKSYN2: u8 = 0x15;
    /// Last register that exists.
    pub const LAST: u8 = 0x1c;

    /// Writable bits of the standard registers.
    pub(crate) const MASK: [u8; 5] = [0x03, 0x3d, 0x0f, 0x3f, 0x0e];
}

/// Graphics controller registers (index 3CEh, data 3CFh).
pub mod gr {
    /// GR0, set/reset data.
    pub const SET_RESET: u8 = 0x00;
    /// GR1, enable set/reset.
    pub const ENABLE_SET_RESET: u8 = 0x01;
    /// GR2, colour compare.
    pub const COMPARE: u8 = 0x02;
    /// GR3, rotate count (2:0) and raster operation (4:3).
    pub const ROTATE: u8 = 0x03;
    /// GR4, read plane select.
    pub const READ_PLANE: u8 = 0x04;
    /// GR5, mode: 1:0 write mode, 3 read mode, 4 odd/even reads, 5 CGA shift, 6 256 colours.
    pub const MODE: u8 = 0x05;
    /// GR5 bit 5: two-bit (CGA) shift.
    pub const MODE_CGA: u8 = 0x20;
    /// GR5 bit 6: 256 colours.
    pub const MODE_256: u8 = 0x40;
    /// GR6: 0 graphics, 1 chain odd/even, 3:2 memory map.
    pub const MISC: u8 = 0x06;
    /// GR6 bit 0: graphics.
    pub const MISC_GRAPHICS: u8 = 0x01;
    /// GR6 bit 1: A0 is replaced by the page select in odd/even addressing.
    pub const MISC_CHAIN: u8 = 0x02;
    /// GR7, colour don't care.
    pub const DONT_CARE: u8 = 0x07;
    /// GR8, bit mask.
    pub const BIT_MASK: u8 = 0x08;

    /// Writable bits.
    pub(crate) const MASK: [u8; 9] = [0x0f, 0x0f, 0x0f, 0x1f, 0x03, 0x7b, 0x0f, 0x0f, 0xff];
}

/// Attribute controller registers (index and data 3C0h, read 3C1h).
pub mod attr {
    /// Index bit 5: the palette belongs to the display; while clear the screen is blank and AR00-0F can be written.
    pub const INDEX_ENB_PLT: u8 = 0x20;
    /// AR10, mode control.
    pub const MODE: u8 = 0x10;
    /// AR10 bit 0: graphics.
    pub const MODE_GRAPHICS: u8 = 0x01;
    /// AR10 bit 1: monochrome attributes.
    pub const MODE_MONO: u8 = 0x02;
    /// AR10 bit 2: ninth dot of C0h-DFh repeats the eighth.
    pub const MODE_LINE_GRAPHICS: u8 = 0x04;
    /// AR10 bit 3: attribute bit 7 blinks.
    pub const MODE_BLINK: u8 = 0x08;
    /// AR10 bit 5: panning stops at the split.
    pub const MODE_PAN_SPLIT: u8 = 0x20;
    /// AR10 bit 6: 256 colours.
    pub const MODE_256: u8 = 0x40;
    /// AR10 bit 7: palette bits 5:4 come from AR14.
    pub const MODE_P54: u8 = 0x80;
    /// AR11, overscan colour.
    pub const OVERSCAN: u8 = 0x11;
    /// AR12, colour plane enable (3:0), display status multiplexer (5:4).
    pub const PLANE_ENABLE: u8 = 0x12;
    /// AR13, horizontal pixel panning.
    pub const PAN: u8 = 0x13;
    /// AR14, colour select: 1:0 P5:P4, 3:2 P7:P6.
    pub const COLOR_SELECT: u8 = 0x14;

    /// Registers that exist.
    pub const COUNT: usize = 0x15;
    /// Writable bits of AR10-AR14; the palette has six. AR10 bit 4 does not exist and some probes check that.
    pub(crate) const MASK: [u8; 5] = [0xef, 0xff, 0x3f, 0x0f, 0x0f];
}

/// CRT controller registers (index 3B4h/3D4h, data 3B5h/3D5h): standard to 18h, S3's from 22h on.
#[expect(
    missing_docs,
    reason = "the standard registers are named by the VGA reference; S3's bits stand below"
)]
pub mod cr {
    pub const H_TOTAL: u8 = 0x00;
    pub const H_D_END: u8 = 0x01;
    pub const S_H_BLNK: u8 = 0x02;
    pub const E_H_BLNK: u8 = 0x03;
    pub const S_H_SY_P: u8 = 0x04;
    pub const E_H_SY_P: u8 = 0x05;
    pub const V_TOTAL: u8 = 0x06;
    pub const OVFL_REG: u8 = 0x07;
    pub const P_R_SCAN: u8 = 0x08;
    pub const MAX_S_LN: u8 = 0x09;
    pub const CSSL: u8 = 0x0a;
    pub const CESL: u8 = 0x0b;
    pub const STA_HIGH: u8 = 0x0c;
    pub const STA_LOW: u8 = 0x0d;
    pub const CLA_HIGH: u8 = 0x0e;
    pub const CLA_LOW: u8 = 0x0f;
    pub const VRS: u8 = 0x10;
    pub const VRE: u8 = 0x11;
    pub const VDE: u8 = 0x12;
    pub const OFFSET: u8 = 0x13;
    pub const ULL: u8 = 0x14;
    pub const SVB: u8 = 0x15;
    pub const EVB: u8 = 0x16;
    pub const MODE: u8 = 0x17;
    pub const LCM: u8 = 0x18;

    /// CR11 bit 4: clear it to take the vertical interrupt back.
    pub const VRE_CLR_VINT: u8 = 0x10;
    /// CR11 bit 5: set to disable the vertical interrupt.
    pub const VRE_DIS_VINT: u8 = 0x20;
    /// CR11 bit 7: CR00-CR07 are write protected.
    pub const VRE_LOCK: u8 = 0x80;

    /// CR22 (read): the CPU latch of the plane in GR4.
    pub const GCCL: u8 = 0x22;
    /// CR24 (read): bit 7 is the attribute flip-flop, 1 when data is next.
    pub const ATC_F: u8 = 0x24;
    /// CR26 (read): the attribute index.
    pub const ATC_I: u8 = 0x26;
    pub const DEVICE_ID_HIGH: u8 = 0x2d;
    pub const DEVICE_ID_LOW: u8 = 0x2e;
    pub const REVISION: u8 = 0x2f;
    pub const CHIP_ID: u8 = 0x30;
    /// CR31, memory configuration: 0 bank enable, 3 enhanced memory mapping, 5:4 start address 17:16.
    pub const MEM_CNFG: u8 = 0x31;
    pub const MEM_CNFG_CPUA_BASE: u8 = 0x01;
    pub const MEM_CNFG_ENH_MAP: u8 = 0x08;
    /// CR32, backward compatibility 1: 4 interrupt enable, 6 display wraps at 256 KB.
    pub const BKWD_1: u8 = 0x32;
    /// CR33, backward compatibility 2: 1 CR07 bits 1 and 6 escape CR11.7, 4 DAC locked, 6 palette locked.
    pub const BKWD_2: u8 = 0x33;
    /// CR34, backward compatibility 3: 5 SR1 bits 0 and 3 locked, 7 MISC clock select locked.
    pub const BKWD_3: u8 = 0x34;
    /// CR35, CRT register lock: 3:0 CPU bank, 4 vertical, 5 horizontal timing locked.
    pub const CRTR_LOCK: u8 = 0x35;
    pub const CONFIG_1: u8 = 0x36;
    pub const CONFIG_2: u8 = 0x37;
    pub const REG_LOCK1: u8 = 0x38;
    pub const REG_LOCK2: u8 = 0x39;
    /// CR3A, miscellaneous 1: 4 enhanced 256-colour mode.
    pub const MISC_1: u8 = 0x3a;
    /// CR40, system configuration: 0 the enhanced register ports (x2E8h) are decoded.
    pub const SYS_CNFG: u8 = 0x40;
    pub const MODE_CTL: u8 = 0x42;
    pub const EXT_MODE: u8 = 0x43;
    /// CR51, extended system control 2: 1:0 start 19:18, 3:2 bank 5:4, 5:4 offset 9:8.
    pub const EX_SCTL_2: u8 = 0x51;
    /// CR58, linear address window control: 1:0 size, 4 enable.
    pub const LAW_CTL: u8 = 0x58;
    pub const LAW_POS_HIGH: u8 = 0x59;
    pub const LAW_POS_LOW: u8 = 0x5a;
    pub const EXT_H_OVF: u8 = 0x5d;
    pub const EXT_V_OVF: u8 = 0x5e;
    /// CR66, extended miscellaneous control 1: bit 0 is ADVFUNC_CNTL bit 0.
    pub const EXT_MISC_1: u8 = 0x66;
    /// CR67, extended miscellaneous control 2: 7:4 colour mode.
    pub const EXT_MISC_2: u8 = 0x67;
    pub const CONFIG_3: u8 = 0x68;
    /// CR69, extended system control 3: 3:0 start address 19:16.
    pub const EXT_SCTL_3: u8 = 0x69;
    /// CR6A, extended system control 4: 5:0 CPU bank.
    pub const EXT_SCTL_4: u8 = 0x6a;
    /// Last register that exists.
    pub const LAST: u8 = 0x6e;

    /// Writable bits of CR00-CR18.
    pub(crate) const MASK: [u8; 0x19] = [
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xff, 0x3f, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff,
        0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xef, 0xff,
    ];
}

/// Port 4AE8h, ADVFUNC_CNTL: 0 enhanced functions, 4 linear addressing.
pub mod advfunc {
    /// Bit 0: enhanced functions on; the same bit as CR66.0.
    pub const ENB_EHFC: u8 = 0x01;
    /// Bit 4: the linear frame buffer is on; the OR of this bit and CR58.4 counts.
    pub const LINEAR: u8 = 0x10;
    /// Bits that exist.
    pub const MASK: u8 = 0x3f;
}

/// Port 46E8h: 3 the chip answers, 4 setup mode (port 102h answers).
pub mod setup {
    /// Bit 3: the chip answers.
    pub const ADDRESS_DECODE: u8 = 0x08;
    /// Bit 4: setup mode.
    pub const SETUP: u8 = 0x10;
}
