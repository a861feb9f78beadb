//! The processor's architectural state and the book-keeping around it.

use crate::fast_mem::{PART_ALIGNED, PART_SYSTEM, PART_USER, TLB_ALL, Tlb};
use crate::flags::{self, Flags};
use crate::fpu::Fpu;
use crate::mmu::{PhysMap, TlbInfo};
use crate::model::{self, CpuModel};
use crate::segmentation::Seg;
use crate::simd::sse::Sse;
use slotone_bus::cpu::{After, CpuBus, CpuReset, TableRegister};

pub(crate) const EAX: usize = 0;
pub(crate) const ECX: usize = 1;
pub(crate) const EDX: usize = 2;
pub(crate) const EBX: usize = 3;
pub(crate) const ESP: usize = 4;
pub(crate) const EBP: usize = 5;
pub(crate) const ESI: usize = 6;
pub(crate) const EDI: usize = 7;

pub(crate) const ES: usize = 0;
pub(crate) const CS: usize = 1;
pub(crate) const SS: usize = 2;
pub(crate) const DS: usize = 3;
pub(crate) const FS: usize = 4;
pub(crate) const GS: usize = 5;

pub(crate) const CR0_PE: u32 = 1 << 0;
pub(crate) const CR0_MP: u32 = 1 << 1;
pub(crate) const CR0_EM: u32 = 1 << 2;
pub(crate) const CR0_TS: u32 = 1 << 3;
pub(crate) const CR0_ET: u32 = 1 << 4;
pub(crate) const CR0_NE: u32 = 1 << 5;
pub(crate) const CR0_WP: u32 = 1 << 16;
pub(crate) const CR0_AM: u32 = 1 << 18;
pub(crate) const CR0_NW: u32 = 1 << 29;
pub(crate) const CR0_CD: u32 = 1 << 30;
pub(crate) const CR0_PG: u32 = 1 << 31;
pub(crate) const CR0_ALL: u32 =
    CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD | CR0_PG;

pub(crate) const CR4_VME: u32 = 1 << 0;
pub(crate) const CR4_PVI: u32 = 1 << 1;
pub(crate) const CR4_TSD: u32 = 1 << 2;
pub(crate) const CR4_DE: u32 = 1 << 3;
pub(crate) const CR4_PSE: u32 = 1 << 4;
pub(crate) const CR4_PAE: u32 = 1 << 5;
pub(crate) const CR4_MCE: u32 = 1 << 6;
pub(crate) const CR4_PGE: u32 = 1 << 7;
pub(crate) const CR4_PCE: u32 = 1 << 8;
pub(crate) const CR4_OSFXSR: u32 = 1 << 9;
pub(crate) const CR4_OSXMMEXCPT: u32 = 1 << 10;

/// Bit of [`Core::page_epoch`] that the other epochs never have.
pub(crate) const PAGE_EPOCH: u32 = 1 << 31;
/// Bit of [`Core::global_epoch`] that [`Core::epoch`] never has.
pub(crate) const GLOBAL_EPOCH: u32 = 1 << 30;

/// Block mode bits: what the decoder takes for granted of the processor's state.
pub(crate) mod mode {
    /// CS.D: 32-bit operands and addresses.
    pub(crate) const D: u16 = 1;
    /// SS.B: ESP, not SP.
    pub(crate) const B: u16 = 2;
    /// DS is flat: base 0, limit 4 GiB, readable and writable.
    pub(crate) const FLAT_DS: u16 = 4;
    /// SS is flat.
    pub(crate) const FLAT_SS: u16 = 8;
    /// ES is flat.
    pub(crate) const FLAT_ES: u16 = 16;
    /// CS is flat (base 0, limit 4 GiB).
    pub(crate) const FLAT_CS: u16 = 32;
    /// CPL is 3.
    pub(crate) const USER: u16 = 64;
}

/// The way out of a handler that raised an exception: its description is in [`Core::fault`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Abort;

pub(crate) type Fallible<T> = Result<T, Abort>;

/// An exception to be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Exception {
    pub(crate) vector: u8,
    pub(crate) error: Option<u32>,
}

/// The bus for the length of one `run`.
pub(crate) struct Pins<'a> {
    pub(crate) bus: &'a mut dyn CpuBus,
}

/// The processor without its block cache.
pub(crate) struct Core {
    // --- touched by every instruction
    /// General registers; 8 to 15 are always zero, so that an absent base or index can be added.
    pub(crate) gpr: [u32; 16],
    /// Instruction pointer at the start of the running block.
    pub(crate) eip: u32,
    pub(crate) fl: Flags,
    /// Index of the running instruction in its block.
    pub(crate) index: u32,
    /// The budget ends before the instruction of this index.
    pub(crate) stop_at: u32,
    /// Instructions retired before the running block.
    pub(crate) retired: u64,
    /// The part of the TLB for the current privilege level.
    pub(crate) part: usize,
    pub(crate) tlb: Tlb,
    /// Changes whenever a translation may have: links and jump-cache entries carry it.
    pub(crate) epoch: u32,
    /// Changes whenever a translation of a global page may have: code there is found again after a load of CR3.
    pub(crate) global_epoch: u32,
    /// The same for physical pages; the top bits tell the three apart.
    pub(crate) page_epoch: u32,
    pub(crate) mode: u16,
    /// Something needs the run loop's eye before the next block.
    pub(crate) attention: bool,
    /// EFLAGS without the arithmetic flags.
    pub(crate) flags: u32,
    pub(crate) seg: [Seg; 6],
    pub(crate) cpl: u8,

    // --- system registers
    pub(crate) ldtr: Seg,
    pub(crate) tr: Seg,
    pub(crate) gdtr: TableRegister,
    pub(crate) idtr: TableRegister,
    pub(crate) cr0: u32,
    pub(crate) cr2: u32,
    pub(crate) cr3: u32,
    pub(crate) cr4: u32,
    pub(crate) pdpte: [u64; 4],
    pub(crate) dr: [u32; 8],
    pub(crate) msr: Msrs,
    pub(crate) fpu: Fpu,
    pub(crate) sse: Sse,
    /// The error line last driven.
    pub(crate) ferr: bool,
    pub(crate) model: CpuModel,

    // --- events
    pub(crate) fault: Exception,
    pub(crate) halted: bool,
    pub(crate) shutdown: bool,
    /// Interrupts are held off while [`Core::retired`] is this.
    pub(crate) shadow_at: u64,
    /// The shadow is that of a load of SS, which holds traps off too.
    pub(crate) shadow_traps: bool,
    /// A repeated instruction stopped between iterations when this many instructions had retired.
    pub(crate) repeat_at: u64,
    /// The running instruction entered an interrupt handler: it is not followed by a single-step trap.
    pub(crate) interrupted: bool,
    pub(crate) nmi_blocked: bool,
    pub(crate) nmi_pending: bool,
    pub(crate) nmi_level: bool,
    /// DR6 bits of breakpoints hit by the running instruction.
    pub(crate) debug_hits: u32,

    // --- what the bus last said
    pub(crate) after: After,
    /// The map that the TLB and the physical pages rest on.
    pub(crate) map_generation: u64,
    /// All ones but bit 20 if A20 is masked.
    pub(crate) a20_mask: u64,
    pub(crate) phys: PhysMap,
    pub(crate) tlb_info: Box<[TlbInfo; TLB_ALL]>,
    /// Places in the TLB that were filled since it was last emptied, those of global pages only left out.
    pub(crate) tlb_locals: Vec<u16>,
    /// Whether a global page may be in the TLB.
    pub(crate) tlb_globals: bool,
    /// One bit for each 4 MiB of linear addresses that may have a large page in the TLB.
    pub(crate) large_regions: [u32; 32],
    /// The handler that aborted had already set EIP to where the exception belongs (in another task).
    pub(crate) eip_exact: bool,
    /// The budget, or less: the run loop looks around when this many instructions have retired.
    pub(crate) limit: u64,
}

/// Model-specific registers that are stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Msrs {
    /// Added to the bus's time-stamp counter.
    pub(crate) tsc_offset: u64,
    pub(crate) sysenter_cs: u32,
    pub(crate) sysenter_esp: u32,
    pub(crate) sysenter_eip: u32,
    pub(crate) apic_base: u64,
    pub(crate) power_on: u64,
    pub(crate) debugctl: u64,
    pub(crate) mtrr_base: [u64; 8],
    pub(crate) mtrr_mask: [u64; 8],
    pub(crate) mtrr_fixed: [u64; 11],
    pub(crate) mtrr_def_type: u64,
    pub(crate) pat: u64,
    pub(crate) mcg_status: u64,
    pub(crate) perf_select: [u64; 2],
    pub(crate) perf_count: [u64; 2],
    /// Bus and cache control registers 116h, 118h-11Bh, 11Eh.
    pub(crate) bbl: [u64; 6],
    pub(crate) test_ctl: u64,
    pub(crate) ucode_revision: u64,
}

impl Default for Msrs {
    fn default() -> Self {
        Self {
            tsc_offset: 0,
            sysenter_cs: 0,
            sysenter_esp: 0,
            sysenter_eip: 0,
            apic_base: 0xFEE0_0100,
            power_on: 0,
            debugctl: 0,
            mtrr_base: [0; 8],
            mtrr_mask: [0; 8],
            mtrr_fixed: [0; 11],
            mtrr_def_type: 0,
            pat: 0x0007_0406_0007_0406,
            mcg_status: 0,
            perf_select: [0; 2],
            perf_count: [0; 2],
            bbl: [0; 6],
            test_ctl: 0,
            ucode_revision: 0,
        }
    }
}

impl Core {
    pub(crate) fn new(model: CpuModel) -> Self {
        let mut core = Self {
            gpr: [0; 16],
            eip: 0,
            fl: Flags::default(),
            index: 0,
            stop_at: 0,
            retired: 0,
            part: PART_SYSTEM,
            tlb: Tlb::new(),
            epoch: 1,
            global_epoch: GLOBAL_EPOCH,
            page_epoch: PAGE_EPOCH,
            mode: 0,
            attention: true,
            flags: 0,
            seg: [Seg::default(); 6],
            cpl: 0,
            ldtr: Seg::default(),
            tr: Seg::default(),
            gdtr: TableRegister::default(),
            idtr: TableRegister::default(),
            cr0: 0,
            cr2: 0,
            cr3: 0,
            cr4: 0,
            pdpte: [0; 4],
            dr: [0; 8],
            msr: Msrs::default(),
            fpu: Fpu::new(),
            sse: Sse::new(),
            ferr: false,
            model,
            fault: Exception::default(),
            halted: false,
            shutdown: false,
            shadow_at: u64::MAX,
            shadow_traps: false,
            repeat_at: u64::MAX,
            interrupted: false,
            nmi_blocked: false,
            nmi_pending: false,
            nmi_level: false,
            debug_hits: 0,
            after: After { intr: false, nmi: false, a20: true, map_generation: 0, until: 0, stop: false },
            map_generation: 0,
            a20_mask: u64::MAX,
            phys: PhysMap::default(),
            tlb_info: Box::new([TlbInfo::default(); TLB_ALL]),
            tlb_locals: Vec::new(),
            tlb_globals: false,
            large_regions: [0; 32],
            eip_exact: false,
            limit: 0,
        };
        core.reset(CpuReset::Power);
        core
    }

    pub(crate) fn reset(&mut self, kind: CpuReset) {
        self.gpr = [0; 16];
        self.gpr[EDX] = self.model.signature;
        self.eip = 0xFFF0;
        self.fl = Flags::from_bits(0);
        self.flags = 0;
        self.seg = [Seg::real(0); 6];
        self.seg[CS] = Seg::code_at_reset();
        self.cpl = 0;
        self.ldtr = Seg::system(0x82);
        self.tr = Seg::system(0x8B);
        self.gdtr = TableRegister { base: 0, limit: 0xFFFF };
        self.idtr = TableRegister { base: 0, limit: 0xFFFF };
        let caches = if kind == CpuReset::Init { self.cr0 & (CR0_CD | CR0_NW) } else { CR0_CD | CR0_NW };
        self.cr0 = CR0_ET | caches;
        (self.cr2, self.cr3, self.cr4) = (0, 0, 0);
        self.pdpte = [0; 4];
        self.dr = [0, 0, 0, 0, 0, 0, 0xFFFF_0FF0, 0x400];
        if kind == CpuReset::Power {
            self.msr = Msrs::default();
            self.fpu = Fpu::new();
            self.sse = Sse::new();
            self.ferr = false;
            self.nmi_level = false;
        }
        self.halted = false;
        self.shutdown = false;
        self.shadow_at = u64::MAX;
        self.repeat_at = u64::MAX;
        self.nmi_blocked = false;
        self.nmi_pending = false;
        self.debug_hits = 0;
        self.flush_tlb(true);
        self.update_mode();
        self.poke();
    }

    /// Instructions retired before the running one.
    #[inline(always)]
    pub(crate) fn now(&self) -> u64 {
        self.retired + u64::from(self.index)
    }

    /// Leaves the block after the running instruction, so that the run loop looks around.
    #[inline]
    pub(crate) fn poke(&mut self) {
        self.attention = true;
    }

    /// EFLAGS with everything worked out; bit 1 set.
    pub(crate) fn eflags(&self) -> u32 {
        self.flags | self.fl.bits() | 2
    }

    /// Takes all flags over, as far as the model has them.
    pub(crate) fn set_eflags(&mut self, value: u32) {
        let mut value = value & flags::ALL;
        if !self.model.has(model::VME) {
            value &= !(flags::VIF | flags::VIP);
        }
        self.fl = Flags::from_bits(value);
        let vm = (self.flags ^ value) & (flags::VM | flags::AC) != 0;
        self.flags = value & !flags::ARITH;
        if vm {
            self.update_mode();
        }
        let virtual_interrupt = flags::VIF | flags::VIP;
        if self.flags & (flags::TF | flags::RF) != 0
            || self.flags & flags::IF != 0 && self.after.intr
            || self.flags & virtual_interrupt == virtual_interrupt
        {
            self.poke();
        }
    }

    pub(crate) fn set_flag(&mut self, mask: u32, on: bool) {
        self.flags = if on { self.flags | mask } else { self.flags & !mask };
    }

    #[inline(always)]
    pub(crate) fn flag(&self, mask: u32) -> bool {
        self.flags & mask != 0
    }

    /// EIP is at a repeated instruction of which iterations are done and others are to come.
    #[inline]
    pub(crate) fn amid_repeat(&self) -> bool {
        self.repeat_at == self.retired
    }

    /// Holds interrupts off until the instruction after the running one has retired.
    pub(crate) fn shadow(&mut self, traps: bool) {
        self.shadow_at = self.now() + 1;
        self.shadow_traps = traps;
        if self.after.intr || self.nmi_pending || self.flags & flags::TF != 0 {
            self.poke();
        }
    }

    #[inline(always)]
    pub(crate) fn protected(&self) -> bool {
        self.cr0 & CR0_PE != 0
    }

    #[inline(always)]
    pub(crate) fn v86(&self) -> bool {
        self.flags & flags::VM != 0
    }

    /// Protected mode proper: selectors name descriptors.
    #[inline(always)]
    pub(crate) fn by_descriptor(&self) -> bool {
        self.protected() && !self.v86()
    }

    pub(crate) fn iopl(&self) -> u8 {
        (self.flags >> 12 & 3) as u8
    }

    /// Works out [`Core::mode`] and the TLB part; to be called when a segment or the privilege level changed.
    pub(crate) fn update_mode(&mut self) {
        let mut m = 0;
        let s = &self.seg;
        if s[CS].big() {
            m |= mode::D;
        }
        if s[SS].big() {
            m |= mode::B;
        }
        for (i, bit) in [(DS, mode::FLAT_DS), (SS, mode::FLAT_SS), (ES, mode::FLAT_ES)] {
            if s[i].flat_data() {
                m |= bit;
            }
        }
        if s[CS].flat_code() {
            m |= mode::FLAT_CS;
        }
        self.part = PART_SYSTEM;
        if self.cpl == 3 {
            m |= mode::USER;
            let aligned = self.cr0 & CR0_AM != 0 && self.flags & flags::AC != 0;
            self.part = if aligned { PART_ALIGNED } else { PART_USER };
        }
        self.mode = m;
    }

    /// Pulls what an access changed.
    pub(crate) fn pull(&mut self, pins: &mut Pins<'_>) {
        let a = pins.bus.after();
        if a.nmi && !self.nmi_level {
            self.nmi_pending = true;
            self.poke();
        }
        self.nmi_level = a.nmi;
        if a != self.after {
            self.after = a;
            self.poke();
        }
    }
}
