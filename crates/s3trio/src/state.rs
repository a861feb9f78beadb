//! What a guest can observe of the chip, and its snapshot. Video memory belongs to the machine and is not part of it.

use crate::dac::Dac;
use crate::registers::{attr, cr, gr, misc, seq, setup};
use slotone_bus::VmInstant;
use slotone_bus::state::{StateError, StateReader};
use slotone_pci::ConfigBytes;

/// Name and version of the snapshot's section.
pub(crate) const SECTION: (&str, u16) = ("s3trio", 1);

/// Registers of the chip, without configuration space.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Registers {
    pub(crate) misc: u8,
    pub(crate) feature: u8,
    /// Port 3C3h, bit 0.
    pub(crate) vga_enable: u8,
    /// Port 102h, bit 0.
    pub(crate) option_select: u8,
    /// Port 46E8h.
    pub(crate) setup: u8,
    pub(crate) seq_index: u8,
    pub(crate) seq: [u8; 0x20],
    pub(crate) gr_index: u8,
    pub(crate) gr: [u8; 9],
    pub(crate) cr_index: u8,
    pub(crate) cr: [u8; 0x80],
    pub(crate) attr_index: u8,
    /// The next write to 3C0h is data.
    pub(crate) attr_data: bool,
    pub(crate) attr: [u8; attr::COUNT],
    pub(crate) dac: Dac,
    /// Latch of plane n in byte n.
    pub(crate) latches: u32,
    /// Port 4AE8h; bit 0 lives in CR66.
    pub(crate) advfunc: u8,
    /// Vertical retrace began since CR11.4 was set.
    pub(crate) retrace_pending: bool,
    /// When the retrace that CR11.4 waits for begins.
    pub(crate) retrace_at: Option<VmInstant>,
}

slotone_bus::encode_fields!(Registers {
    misc,
    feature,
    vga_enable,
    option_select,
    setup,
    seq_index,
    seq,
    gr_index,
    gr,
    cr_index,
    cr,
    attr_index,
    attr_data,
    attr,
    dac,
    latches,
    advfunc,
    retrace_pending,
    retrace_at,
});

impl Default for Registers {
    /// Values after reset. The chip is awake: on PCI the command register is the gate.
    fn default() -> Self {
        let mut this = Self {
            misc: 0,
            feature: 0,
            vga_enable: 1,
            option_select: 1,
            setup: setup::ADDRESS_DECODE,
            seq_index: 0,
            seq: [0; 0x20],
            gr_index: 0,
            gr: [0; 9],
            cr_index: 0,
            cr: [0; 0x80],
            attr_index: 0,
            attr_data: false,
            attr: [0; attr::COUNT],
            dac: Dac::default(),
            latches: 0,
            advfunc: 0,
            retrace_pending: false,
            retrace_at: None,
        };
        this.seq[usize::from(seq::MCLK_LOW)] = 0x42; // MCLK 60 MHz, as a real card's BIOS leaves it.
        this.seq[usize::from(seq::MCLK_HIGH)] = 0x41;
        for (register, value) in [
            (cr::MEM_CNFG, 0x05),
            (cr::CONFIG_1, 0x1e), // PCI, BIOS enabled, 4 MB of memory.
            (cr::CONFIG_2, 0xe5),
            (cr::CONFIG_3, 0xfc),
        ] {
            this.cr[usize::from(register)] = value;
        }
        this
    }
}

impl Registers {
    /// Sequencer register.
    #[inline]
    pub(crate) fn sr(&self, index: u8) -> u8 {
        self.seq[usize::from(index & 0x1f)]
    }

    /// CRTC register.
    #[inline]
    pub(crate) fn cr(&self, index: u8) -> u8 {
        self.cr[usize::from(index & 0x7f)]
    }

    /// Graphics controller register; 0 for one that does not exist.
    #[inline]
    pub(crate) fn gr(&self, index: u8) -> u8 {
        self.gr.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Attribute controller register; 0 for one that does not exist.
    #[inline]
    pub(crate) fn ar(&self, index: u8) -> u8 {
        self.attr.get(usize::from(index)).copied().unwrap_or(0)
    }

    /// Whether the wake-up registers let the chip answer.
    pub(crate) fn awake(&self) -> bool {
        let decode = self.setup & (setup::ADDRESS_DECODE | setup::SETUP) == setup::ADDRESS_DECODE;
        decode && self.option_select & self.vga_enable & 1 != 0
    }

    /// Base of the CPU's 64 KB bank, in bytes of video memory.
    pub(crate) fn bank(&self) -> u32 {
        if self.cr(cr::MEM_CNFG) & cr::MEM_CNFG_CPUA_BASE == 0 {
            return 0;
        }
        let old = (self.cr(cr::CRTR_LOCK) & 0x0f) | (self.cr(cr::EX_SCTL_2) & 0x0c) << 2;
        let new = self.cr(cr::EXT_SCTL_4) & 0x3f;
        u32::from(if new != 0 { new } else { old }) << 16
    }

    /// Whether memory beyond 256 KB and packed chain-4 addressing are on (CR31.3).
    #[inline]
    pub(crate) fn enhanced_mapping(&self) -> bool {
        self.cr(cr::MEM_CNFG) & cr::MEM_CNFG_ENH_MAP != 0
    }
}

/// The whole snapshot.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Snapshot {
    pub(crate) config: ConfigBytes,
    pub(crate) registers: Registers,
}

slotone_bus::encode_fields!(Snapshot { config, registers });

impl Snapshot {
    /// Refuses what the chip cannot hold; read-only registers are computed, never taken from a snapshot.
    pub(crate) fn validate(&self, r: &StateReader<'_>) -> Result<(), StateError> {
        let s = &self.registers;
        let within = |values: &[u8], masks: &[u8]| values.iter().zip(masks).all(|(v, m)| v & !m == 0);
        let valid = s.misc & !misc::MASK == 0
            && s.feature & !0x0b == 0
            && s.vga_enable < 2
            && s.option_select < 2
            && s.setup < 0x20
            && s.seq_index < 0x20
            && within(&s.seq, &seq::MASK)
            && s.gr_index < 0x10
            && within(&s.gr, &gr::MASK)
            && s.cr_index < 0x80
            && within(&s.cr, &cr::MASK)
            && s.attr_index < 0x40
            && within(&s.attr[..16], &[0x3f; 16])
            && within(&s.attr[16..], &attr::MASK)
            && s.advfunc & !crate::registers::advfunc::MASK == 0;
        if !valid {
            return Err(r.invalid("a register holds bits it does not have"));
        }
        if !s.dac.is_valid() {
            return Err(r.invalid("the palette holds more than six bits a gun"));
        }
        let waits = s.cr(cr::VRE) & cr::VRE_CLR_VINT != 0;
        if (s.retrace_pending && (!waits || s.retrace_at.is_some())) || (!waits && s.retrace_at.is_some()) {
            return Err(r.invalid("a vertical interrupt without CR11.4"));
        }
        Ok(())
    }
}
