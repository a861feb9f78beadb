//! The x87 floating-point unit of a P6-class processor.
//!
//! [`Fpu`] is the unit's whole state and does not know the processor around it: the core decodes, checks CR0.EM and
//! CR0.TS, moves memory operands and turns [`FpuFault`] into exceptions. Facts: Intel SDM volume 1 chapter 8, volume
//! 2 for each instruction; where a recorded P6 and the host differ the file that decides says so.
//!
//! How the core drives it:
//!
//! - Register forms (`modrm >= 0xC0`): [`Fpu::execute_reg`].
//! - Memory forms: [`memory_form`] once at decode tells size and direction. At run time call
//!   [`Fpu::check_pending`] if the form is `waiting`, then for loads read the bytes and call [`Fpu::load`]; for stores
//!   call [`Fpu::store`], write the bytes if [`StorePlan::write`] says so, and if that did not fault
//!   [`Fpu::commit_store`]. A store that faults leaves the unit as it was.
//! - FWAIT: [`Fpu::check_pending`].
//! - Hot handlers may call the typed operations in [`ops`] directly (`fadd_st`, `fld_f64`, ...), after
//!   [`Fpu::check_pending`] and [`Fpu::note_instruction`]. They give the same result as the generic entry.
#![forbid(unsafe_code)]

mod control;
mod env;
mod execute;
mod memory;
mod mmx;
pub mod ops;
pub mod softfloat;
mod transcendental;
mod wide;

pub use env::{EnvFormat, FXSAVE_LEN};
pub use execute::register_form_exists;
pub use memory::{MemAccess, MemForm, StorePlan, memory_form};
pub use ops::Arith;
pub use softfloat::F80;

/// Status word: stack fault, with IE.
pub const SF: u16 = 0x0040;
/// Status word: exception summary, an unmasked exception is pending.
pub const ES: u16 = 0x0080;
/// Status word: busy, a copy of [`ES`].
pub const BUSY: u16 = 0x8000;
/// Status word: condition code C0.
pub const C0: u16 = 0x0100;
/// Status word: condition code C1.
pub const C1: u16 = softfloat::C1;
/// Status word: condition code C2.
pub const C2: u16 = 0x0400;
/// Status word: condition code C3.
pub const C3: u16 = 0x4000;
/// Control and status word: the six exceptions.
pub(crate) const EXCEPTIONS: u16 = 0x003F;
/// Control word after FNINIT.
pub(crate) const CW_INIT: u16 = 0x037F;
/// The control-word bits that can be written; bit 6 always reads 1.
pub(crate) const CW_WRITABLE: u16 = 0x1F3F;

/// What the core tells the unit about the instruction at hand.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FpuCx {
    /// Selector of the code segment.
    pub cs: u16,
    /// Offset of the instruction, its first prefix included.
    pub eip: u32,
    /// Selector of the memory operand's segment; not used by register forms.
    pub ds: u16,
    /// Offset of the memory operand; not used by register forms.
    pub offset: u32,
    /// EFLAGS, for FCMOVcc.
    pub eflags: u32,
    /// Layout of environment images at the current mode and operand size.
    pub env: EnvFormat,
}

/// What a register form asks the core to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum FpuOutcome {
    /// Nothing more.
    Done,
    /// FCOMI and kin: put these into ZF, PF and CF of EFLAGS and clear OF, SF and AF.
    Flags(u32),
    /// FNSTSW AX: put this into AX.
    StoreAx(u16),
}

/// Why an instruction did not run.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FpuFault {
    /// An unmasked exception of an earlier instruction is pending: #MF with CR0.NE set, FERR# without.
    #[error("an unmasked x87 exception is pending")]
    PendingException,
    /// Not an instruction: #UD.
    #[error("undefined x87 opcode")]
    InvalidOpcode,
}

/// The x87 unit.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fpu {
    /// The physical registers R0 to R7.
    regs: [F80; 8],
    /// One bit per physical register that is not empty.
    full: u8,
    /// Physical number of ST(0).
    top: u8,
    cw: u16,
    /// The status word without TOP.
    sw: u16,
    fop: u16,
    fcs: u16,
    fds: u16,
    fip: u32,
    fdp: u32,
}

/// The state of an [`Fpu`] as plain data: every bit pattern can be restored.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FpuState {
    /// Control word.
    pub control: u16,
    /// Status word, TOP included.
    pub status: u16,
    /// One bit per physical register that is not empty (the abridged tag word of FXSAVE).
    pub tags: u8,
    /// Significands of R0 to R7 (physical order): the MMX registers.
    pub significands: [u64; 8],
    /// Signs and exponents of R0 to R7.
    pub exponents: [u16; 8],
    /// Last opcode, 11 bits.
    pub opcode: u16,
    /// Selector of the last instruction.
    pub instruction_selector: u16,
    /// Offset of the last instruction.
    pub instruction_offset: u32,
    /// Selector of the last memory operand.
    pub data_selector: u16,
    /// Offset of the last memory operand.
    pub data_offset: u32,
}

slotone_bus::encode_fields!(FpuState {
    control,
    status,
    tags,
    significands,
    exponents,
    opcode,
    instruction_selector,
    instruction_offset,
    data_selector,
    data_offset,
});

impl Default for Fpu {
    fn default() -> Self {
        Self::new()
    }
}

impl Fpu {
    /// The unit after RESET: control word 0040h, everything else zero, all registers +0.0 and tagged valid.
    pub fn new() -> Self {
        Self {
            regs: [F80::ZERO; 8],
            full: 0xFF,
            top: 0,
            cw: 0x0040,
            sw: 0,
            fop: 0,
            fcs: 0,
            fds: 0,
            fip: 0,
            fdp: 0,
        }
    }

    /// The control word.
    #[inline]
    pub fn control_word(&self) -> u16 {
        self.cw
    }

    /// The status word, TOP included.
    #[inline]
    pub fn status_word(&self) -> u16 {
        self.sw | (u16::from(self.top) << 11)
    }

    /// The physical number of ST(0), 0 to 7.
    #[inline]
    pub fn top(&self) -> u8 {
        self.top
    }

    /// The content of ST(i), empty or not.
    #[inline]
    pub fn st(&self, i: u8) -> F80 {
        self.regs[self.physical(i)]
    }

    /// Whether ST(i) is empty.
    #[inline]
    pub fn is_empty(&self, i: u8) -> bool {
        self.full & (1 << self.physical(i)) == 0
    }

    /// Whether an unmasked exception waits to be reported (ES).
    #[inline]
    pub fn pending(&self) -> bool {
        self.sw & ES != 0
    }

    /// What FWAIT and every waiting instruction check first.
    #[inline]
    pub fn check_pending(&self) -> Result<(), FpuFault> {
        if self.sw & ES != 0 { Err(FpuFault::PendingException) } else { Ok(()) }
    }

    /// Records the instruction for FIP, FCS and FOP. `opcode` is D8h to DFh.
    #[inline]
    pub fn note_instruction(&mut self, opcode: u8, modrm: u8, cs: u16, eip: u32) {
        self.fop = (u16::from(opcode & 7) << 8) | u16::from(modrm);
        self.fcs = cs;
        self.fip = eip;
    }

    /// Records the memory operand for FDP and FDS.
    #[inline]
    pub fn note_operand(&mut self, ds: u16, offset: u32) {
        self.fds = ds;
        self.fdp = offset;
    }

    /// The state as plain data.
    pub fn save(&self) -> FpuState {
        FpuState {
            control: self.cw,
            status: self.status_word(),
            tags: self.full,
            significands: self.regs.map(|r| r.sig),
            exponents: self.regs.map(|r| r.se),
            opcode: self.fop,
            instruction_selector: self.fcs,
            instruction_offset: self.fip,
            data_selector: self.fds,
            data_offset: self.fdp,
        }
    }

    /// Takes over a state. Bits that the registers do not have are dropped, and ES is derived anew.
    pub fn restore(&mut self, state: &FpuState) {
        self.regs = core::array::from_fn(|i| F80::new(state.exponents[i], state.significands[i]));
        self.full = state.tags;
        self.set_status_word(state.status);
        self.set_control_word(state.control);
        self.fop = state.opcode & 0x07FF;
        self.fcs = state.instruction_selector;
        self.fip = state.instruction_offset;
        self.fds = state.data_selector;
        self.fdp = state.data_offset;
    }

    /// Index of ST(i) among the physical registers.
    #[inline]
    fn physical(&self, i: u8) -> usize {
        usize::from(self.top.wrapping_add(i) & 7)
    }
}
