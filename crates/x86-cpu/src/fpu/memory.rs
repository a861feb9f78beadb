//! The memory forms: what they access, and the two-step protocol that lets a store fault without a trace.

use super::execute::arith_of;
use super::softfloat::{self, F80, IE, OE, UE, to_bcd};
use super::{EXCEPTIONS, Fpu, FpuCx, FpuFault, SF};

/// What a memory form does with its operand; sizes in bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemAccess {
    /// Reads an operand of this size (2, 4, 8 or 10).
    Load(u8),
    /// Writes an operand of this size (2, 4, 8 or 10).
    Store(u8),
    /// FLDENV: reads [`super::EnvFormat::env_len`] bytes.
    LoadEnv,
    /// FNSTENV: writes [`super::EnvFormat::env_len`] bytes.
    StoreEnv,
    /// FRSTOR: reads [`super::EnvFormat::state_len`] bytes.
    LoadState,
    /// FNSAVE: writes [`super::EnvFormat::state_len`] bytes.
    StoreState,
    /// Not an instruction: #UD.
    Undefined,
}

/// What the core must know about a memory form at decode.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemForm {
    /// The operand.
    pub access: MemAccess,
    /// Whether the form reports a pending exception before it does anything.
    pub waiting: bool,
}

/// Describes a memory form: `opcode` D8h to DFh, `modrm` below C0h (only its reg field counts).
pub const fn memory_form(opcode: u8, modrm: u8) -> MemForm {
    use MemAccess::{Load, LoadEnv, LoadState, Store, StoreEnv, StoreState, Undefined};
    let access = match (opcode, (modrm >> 3) & 7) {
        (0xD8 | 0xDA, _) => Load(4),
        (0xDC, _) => Load(8),
        (0xDE, _) => Load(2),
        (0xD9 | 0xDB, 0) => Load(4),
        (0xD9 | 0xDB, 2 | 3) => Store(4),
        (0xD9, 4) => LoadEnv,
        (0xD9, 5) => Load(2),
        (0xD9, 6) => StoreEnv,
        (0xD9, 7) => Store(2),
        (0xDB, 5) => Load(10),
        (0xDB, 7) => Store(10),
        (0xDD, 0) => Load(8),
        (0xDD, 2 | 3) => Store(8),
        (0xDD, 4) => LoadState,
        (0xDD, 6) => StoreState,
        (0xDD, 7) => Store(2),
        (0xDF, 0) => Load(2),
        (0xDF, 2 | 3) => Store(2),
        (0xDF, 4) => Load(10),
        (0xDF, 5) => Load(8),
        (0xDF, 6) => Store(10),
        (0xDF, 7) => Store(8),
        _ => Undefined,
    };
    let waiting = !matches!((opcode, (modrm >> 3) & 7), (0xD9 | 0xDD, 6 | 7));
    MemForm { access, waiting }
}

/// What [`Fpu::commit_store`] does once the bytes are in memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum After {
    /// Status bits to raise, then perhaps a pop.
    Value { flags: u16, pop: bool },
    /// FNSTCW, FNSTSW.
    Nothing,
    /// FNSTENV: all exceptions become masked.
    MaskAll,
    /// FNSAVE: the unit is initialised.
    Init,
}

/// A store that was computed and waits to be committed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use = "the store takes effect in the unit only when committed"]
pub struct StorePlan {
    /// Whether the bytes are to be written. An unmasked exception writes nothing; commit all the same.
    pub write: bool,
    after: After,
}

impl StorePlan {
    /// Whether the instruction counts as the last non-control instruction (FIP, FDP and FOP follow it).
    const fn noted(&self) -> bool {
        matches!(self.after, After::Value { .. })
    }
}

/// Flags of which each, unmasked, keeps a store from writing.
const STORE_FAULTS: u16 = IE | OE | UE;

impl Fpu {
    /// Executes a memory form that reads; `bytes` is the operand.
    ///
    /// # Errors
    ///
    /// [`FpuFault::PendingException`]; [`FpuFault::InvalidOpcode`] for a hole, a form that stores, or an operand of
    /// the wrong length.
    pub fn load(&mut self, opcode: u8, modrm: u8, bytes: &[u8], cx: &FpuCx) -> Result<(), FpuFault> {
        let reg = (modrm >> 3) & 7;
        let expected = match memory_form(opcode, modrm).access {
            MemAccess::Load(size) => usize::from(size),
            MemAccess::LoadEnv => cx.env.env_len(),
            MemAccess::LoadState => cx.env.state_len(),
            _ => return Err(FpuFault::InvalidOpcode),
        };
        if bytes.len() != expected {
            return Err(FpuFault::InvalidOpcode);
        }
        self.check_pending()?;
        match (opcode, reg) {
            (0xD9, 4) => {
                self.load_env(bytes, cx.env);
                return Ok(());
            }
            (0xDD, 4) => {
                self.load_state(bytes, cx.env);
                return Ok(());
            }
            (0xD9, 5) => {
                self.set_control_word(u16::from_le_bytes(fixed(bytes)));
                return Ok(());
            }
            _ => {}
        }
        self.note_instruction(opcode, modrm, cx.cs, cx.eip);
        self.note_operand(cx.ds, cx.offset);
        match opcode {
            0xD8 => self.load_float(reg, softfloat::from_f32(u32::from_le_bytes(fixed(bytes)))),
            0xDC => self.load_float(reg, softfloat::from_f64(u64::from_le_bytes(fixed(bytes)))),
            0xDA => self.load_float(reg, (softfloat::from_i32(i32::from_le_bytes(fixed(bytes))), 0)),
            0xDE => self.load_float(reg, (softfloat::from_i16(i16::from_le_bytes(fixed(bytes))), 0)),
            0xD9 => self.fld_f32(u32::from_le_bytes(fixed(bytes))),
            0xDD => self.fld_f64(u64::from_le_bytes(fixed(bytes))),
            0xDB if reg == 5 => self.fld_f80(F80::from_bytes(fixed(bytes))),
            0xDB => self.fild(i64::from(i32::from_le_bytes(fixed(bytes)))),
            _ => match reg {
                0 => self.fild(i64::from(i16::from_le_bytes(fixed(bytes)))),
                4 => self.fld_f80(softfloat::from_bcd(fixed(bytes))),
                _ => self.fild(i64::from_le_bytes(fixed(bytes))),
            },
        }
        Ok(())
    }

    /// D8h, DAh, DCh, DEh: arithmetic or comparison of ST(0) with a converted operand.
    #[inline]
    fn load_float(&mut self, reg: u8, (operand, flags): (F80, u16)) {
        match arith_of(reg) {
            Some(op) => self.arith_operand(op, operand, flags),
            None => {
                if self.compare_operand(operand, flags, false) && reg == 3 {
                    self.pop();
                }
            }
        }
    }

    /// Computes what a memory form that writes puts into memory, without changing the unit.
    ///
    /// # Errors
    ///
    /// As [`Fpu::load`].
    pub fn store(&self, opcode: u8, modrm: u8, out: &mut [u8], cx: &FpuCx) -> Result<StorePlan, FpuFault> {
        let reg = (modrm >> 3) & 7;
        let form = memory_form(opcode, modrm);
        let expected = match form.access {
            MemAccess::Store(size) => usize::from(size),
            MemAccess::StoreEnv => cx.env.env_len(),
            MemAccess::StoreState => cx.env.state_len(),
            _ => return Err(FpuFault::InvalidOpcode),
        };
        if out.len() != expected {
            return Err(FpuFault::InvalidOpcode);
        }
        if form.waiting {
            self.check_pending()?;
        }
        let control = |after| Ok(StorePlan { write: true, after });
        let pop = reg != 2;
        let plan = match (opcode, reg) {
            (0xD9, 6) => {
                self.store_env(out, cx.env);
                return control(After::MaskAll);
            }
            (0xDD, 6) => {
                self.store_state(out, cx.env);
                return control(After::Init);
            }
            (0xD9, 7) => {
                out.copy_from_slice(&self.control_word().to_le_bytes());
                return control(After::Nothing);
            }
            (0xDD, 7) => {
                out.copy_from_slice(&self.status_word().to_le_bytes());
                return control(After::Nothing);
            }
            (0xD9, _) => {
                let (value, plan) = self.store_f32(pop);
                out.copy_from_slice(&value.to_le_bytes());
                plan
            }
            (0xDD, _) => {
                let (value, plan) = self.store_f64(pop);
                out.copy_from_slice(&value.to_le_bytes());
                plan
            }
            (0xDB, 7) => {
                let (value, plan) = self.store_f80();
                out.copy_from_slice(&value.to_bytes());
                plan
            }
            (0xDB, _) => {
                let (value, plan) = self.store_i32(pop);
                out.copy_from_slice(&value.to_le_bytes());
                plan
            }
            (_, 6) => {
                let (value, plan) = self.store_bcd();
                out.copy_from_slice(&value);
                plan
            }
            (_, 7) => {
                let (value, plan) = self.store_i64();
                out.copy_from_slice(&value.to_le_bytes());
                plan
            }
            _ => {
                let (value, plan) = self.store_i16(pop);
                out.copy_from_slice(&value.to_le_bytes());
                plan
            }
        };
        Ok(plan)
    }

    /// Finishes a store whose bytes are in memory (or, without [`StorePlan::write`], need not be).
    #[inline]
    pub fn commit_store(&mut self, opcode: u8, modrm: u8, plan: StorePlan, cx: &FpuCx) {
        if plan.noted() {
            self.note_instruction(opcode, modrm, cx.cs, cx.eip);
            self.note_operand(cx.ds, cx.offset);
        }
        self.commit(plan);
    }

    /// [`Fpu::commit_store`] for a caller that has recorded instruction and operand itself.
    #[inline]
    pub fn commit(&mut self, plan: StorePlan) {
        match plan.after {
            After::Value { flags, pop } => {
                self.raise(flags);
                if plan.write && pop {
                    self.pop();
                }
            }
            After::Nothing => {}
            After::MaskAll => self.mask_all(),
            After::Init => self.fninit(),
        }
    }

    /// Plans the store of a value converted from ST(0); `indefinite` is the answer when ST(0) is empty.
    #[inline(always)]
    fn plan<T>(
        &self,
        pop: bool,
        indefinite: T,
        convert: impl FnOnce(F80, u16) -> (T, u16),
    ) -> (T, StorePlan) {
        let (value, flags) = if self.is_empty(0) {
            (indefinite, IE | SF)
        } else {
            convert(self.regs[usize::from(self.top)], self.cw)
        };
        let write = flags & !self.cw & STORE_FAULTS & EXCEPTIONS == 0;
        (value, StorePlan { write, after: After::Value { flags, pop } })
    }

    /// FST or FSTP to single precision.
    #[inline]
    pub fn store_f32(&self, pop: bool) -> (u32, StorePlan) {
        self.plan(pop, softfloat::F32_INDEFINITE, softfloat::to_f32)
    }

    /// FST or FSTP to double precision.
    #[inline]
    pub fn store_f64(&self, pop: bool) -> (u64, StorePlan) {
        self.plan(pop, softfloat::F64_INDEFINITE, softfloat::to_f64)
    }

    /// FSTP to extended precision: any bit pattern goes out unchanged.
    #[inline]
    pub fn store_f80(&self) -> (F80, StorePlan) {
        self.plan(true, F80::INDEFINITE, |value, _| (value, 0))
    }

    /// FIST or FISTP to 16 bits.
    #[inline]
    pub fn store_i16(&self, pop: bool) -> (i16, StorePlan) {
        self.plan(pop, i16::MIN, |value, cw| softfloat::to_i16(value, cw >> 10 & 3))
    }

    /// FIST or FISTP to 32 bits.
    #[inline]
    pub fn store_i32(&self, pop: bool) -> (i32, StorePlan) {
        self.plan(pop, i32::MIN, |value, cw| softfloat::to_i32(value, cw >> 10 & 3))
    }

    /// FISTP to 64 bits.
    #[inline]
    pub fn store_i64(&self) -> (i64, StorePlan) {
        self.plan(true, i64::MIN, |value, cw| softfloat::to_i64(value, cw >> 10 & 3))
    }

    /// FBSTP.
    pub fn store_bcd(&self) -> ([u8; 10], StorePlan) {
        self.plan(true, softfloat::BCD_INDEFINITE, to_bcd)
    }
}

/// The first `N` bytes of an operand whose length was checked.
fn fixed<const N: usize>(bytes: &[u8]) -> [u8; N] {
    let mut out = [0; N];
    for (to, from) in out.iter_mut().zip(bytes) {
        *to = *from;
    }
    out
}
