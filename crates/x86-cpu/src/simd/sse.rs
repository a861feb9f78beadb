//! SSE as the Pentium III has it: eight XMM registers, MXCSR, four singles at a time.
//!
//! The core asks [`form`] at decode what an opcode's operands are, moves them (alignment, page faults, CR4.OSFXSR and
//! CR0.TS are its matter), and calls [`Sse::execute`] with values. The operations on MMX registers that came with SSE
//! are in [`super::mmx`]; PREFETCH, SFENCE and MOVNTQ are moves or nothing to a machine without caches.
//!
//! RCP and RSQRT are approximations by definition (relative error at most 1.5 * 2^-12); here they are the quotient
//! rounded to 13 bits, the same on every host, and differ from silicon in the bits that the manual leaves open.
//! There is no DAZ bit: MXCSR bit 6 is reserved, as on a Pentium III.

use super::single::{self, Order};
use crate::fpu::FXSAVE_LEN;

/// The bits of MXCSR that exist.
pub const MXCSR_MASK: u32 = 0xFFBF;
/// MXCSR after RESET: all exceptions masked.
const MXCSR_RESET: u32 = 0x1F80;
/// The exceptions that are found before an operation computes.
const BEFORE: u32 = single::IE | single::DE | single::ZE;
/// The six exceptions.
const EXCEPTIONS: u32 = 0x3F;

/// An unmasked SIMD floating-point exception: #XM with CR4.OSXMMEXCPT set, #UD without. The destination keeps its value.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("unmasked SIMD floating-point exception")]
pub struct SimdException;

/// Reserved bits of MXCSR would be set: #GP(0).
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("reserved bits of MXCSR set")]
pub struct ReservedBits;

/// Where an operand of an SSE instruction lives.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Operand {
    /// An XMM register.
    Xmm,
    /// An MMX register: the x87's tags and TOP change ([`crate::fpu::Fpu::enter_mmx`]).
    Mmx,
    /// A 32-bit general register.
    Gpr,
    /// Memory of this many bytes.
    Memory(u8),
    /// Sixteen bytes of memory that must be aligned to 16, #GP(0) otherwise.
    MemoryAligned,
    /// ZF, PF and CF in their places of EFLAGS, with OF, SF and AF cleared.
    Flags,
}

/// The operands of an SSE instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Form {
    /// What the result goes to. Except for stores it is the ModRM byte's reg field.
    pub dst: Operand,
    /// What is read beside the destination.
    pub src: Operand,
    /// The destination is the ModRM byte's r/m field and the source its reg field.
    pub store: bool,
    /// An immediate byte follows.
    pub immediate: bool,
}

/// The operands of 0F `opcode`: `scalar` with the prefix F3, `memory` with a ModRM byte below C0h.
///
/// `None` for what is not SSE's or does not exist in this form (#UD). 0F AE, 0F 18 and the MMX forms are the core's.
pub const fn form(opcode: u8, scalar: bool, memory: bool) -> Option<Form> {
    use Operand::{Flags, Gpr, Memory, MemoryAligned, Mmx, Xmm};
    // Sources in r/m: a register, or memory of the size the operation has.
    let vector = match (memory, scalar) {
        (false, _) => Xmm,
        (true, true) => Memory(4),
        (true, false) => MemoryAligned,
    };
    let (dst, src, store) = match (opcode, scalar, memory) {
        // MOVUPS, MOVSS
        (0x10, false, true) => (Xmm, Memory(16), false),
        (0x10, true, true) => (Xmm, Memory(4), false),
        (0x10, _, false) => (Xmm, Xmm, false),
        (0x11, false, true) => (Memory(16), Xmm, true),
        (0x11, true, true) => (Memory(4), Xmm, true),
        (0x11, _, false) => (Xmm, Xmm, true),
        // MOVLPS, MOVHPS; between registers MOVHLPS, MOVLHPS
        (0x12 | 0x16, false, true) => (Xmm, Memory(8), false),
        (0x12 | 0x16, false, false) => (Xmm, Xmm, false),
        (0x13 | 0x17, false, true) => (Memory(8), Xmm, true),
        // UNPCKLPS, UNPCKHPS, MOVAPS
        (0x14 | 0x15 | 0x28, false, _) => (Xmm, vector, false),
        (0x29, false, true) => (MemoryAligned, Xmm, true),
        (0x29, false, false) => (Xmm, Xmm, true),
        // CVTPI2PS, CVTSI2SS
        (0x2A, false, true) => (Xmm, Memory(8), false),
        (0x2A, false, false) => (Xmm, Mmx, false),
        (0x2A, true, true) => (Xmm, Memory(4), false),
        (0x2A, true, false) => (Xmm, Gpr, false),
        // MOVNTPS
        (0x2B, false, true) => (MemoryAligned, Xmm, true),
        // CVTTPS2PI, CVTPS2PI, CVTTSS2SI, CVTSS2SI
        (0x2C | 0x2D, false, true) => (Mmx, Memory(8), false),
        (0x2C | 0x2D, false, false) => (Mmx, Xmm, false),
        (0x2C | 0x2D, true, _) => (Gpr, vector, false),
        // UCOMISS, COMISS
        (0x2E | 0x2F, false, true) => (Flags, Memory(4), false),
        (0x2E | 0x2F, false, false) => (Flags, Xmm, false),
        // MOVMSKPS
        (0x50, false, false) => (Gpr, Xmm, false),
        // SQRT, RSQRT, RCP, ADD, MUL, SUB, MIN, DIV, MAX
        (0x51..=0x53 | 0x58 | 0x59 | 0x5C..=0x5F, _, _) => (Xmm, vector, false),
        // ANDPS, ANDNPS, ORPS, XORPS
        (0x54..=0x57, false, _) => (Xmm, vector, false),
        // CMPPS, CMPSS, SHUFPS
        (0xC2, _, _) => (Xmm, vector, false),
        (0xC6, false, _) => (Xmm, vector, false),
        _ => return None,
    };
    Some(Form { dst, src, store, immediate: matches!(opcode, 0xC2 | 0xC6) })
}

/// The XMM registers and MXCSR.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sse {
    /// XMM0 to XMM7; bits 0-31 are element 0.
    pub xmm: [u128; 8],
    mxcsr: u32,
}

/// The state of an [`Sse`] as plain data.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SseState {
    /// XMM0 to XMM7.
    pub xmm: [u128; 8],
    /// MXCSR.
    pub mxcsr: u32,
}

slotone_bus::encode_fields!(SseState { xmm, mxcsr });

impl Default for Sse {
    fn default() -> Self {
        Self::new()
    }
}

/// Lane `i` of a register.
#[inline]
const fn lane(value: u128, i: usize) -> u32 {
    (value >> (32 * i)) as u32
}

/// Four lanes as a register, the lowest first.
#[inline]
fn from_lanes(lanes: [u32; 4]) -> u128 {
    lanes.iter().rev().fold(0, |sum, &lane| (sum << 32) | u128::from(lane))
}

/// `dst` with its lowest lane replaced.
#[inline]
const fn with_low_lane(dst: u128, low: u32) -> u128 {
    (dst & !0xFFFF_FFFF) | low as u128
}

const LOW_HALF: u128 = u64::MAX as u128;

impl Sse {
    /// The state after RESET.
    pub fn new() -> Self {
        Self { xmm: [0; 8], mxcsr: MXCSR_RESET }
    }

    /// The state as plain data.
    pub fn save(&self) -> SseState {
        SseState { xmm: self.xmm, mxcsr: self.mxcsr }
    }

    /// Takes over a state; bits that MXCSR does not have are dropped.
    pub fn restore(&mut self, state: &SseState) {
        self.xmm = state.xmm;
        self.mxcsr = state.mxcsr & MXCSR_MASK;
    }

    /// MXCSR.
    #[inline]
    pub fn mxcsr(&self) -> u32 {
        self.mxcsr
    }

    /// LDMXCSR.
    ///
    /// # Errors
    ///
    /// [`ReservedBits`] if bits outside [`MXCSR_MASK`] are set; MXCSR keeps its value.
    pub fn set_mxcsr(&mut self, value: u32) -> Result<(), ReservedBits> {
        if value & !MXCSR_MASK != 0 {
            return Err(ReservedBits);
        }
        self.mxcsr = value;
        Ok(())
    }

    /// Writes MXCSR, its mask and the XMM registers into an FXSAVE image (bytes 24-31 and 160-287).
    pub fn fxsave(&self, image: &mut [u8; FXSAVE_LEN]) {
        image[24..28].copy_from_slice(&self.mxcsr.to_le_bytes());
        image[28..32].copy_from_slice(&MXCSR_MASK.to_le_bytes());
        for (to, xmm) in image[160..288].chunks_exact_mut(16).zip(self.xmm) {
            to.copy_from_slice(&xmm.to_le_bytes());
        }
    }

    /// Takes MXCSR and the XMM registers from an FXSAVE image.
    ///
    /// # Errors
    ///
    /// [`ReservedBits`] as [`Sse::set_mxcsr`]; nothing has changed then, so call this before the x87's FXRSTOR.
    pub fn fxrstor(&mut self, image: &[u8; FXSAVE_LEN]) -> Result<(), ReservedBits> {
        self.set_mxcsr(u32::from_le_bytes([image[24], image[25], image[26], image[27]]))?;
        for (xmm, from) in self.xmm.iter_mut().zip(image[160..288].as_chunks::<16>().0) {
            *xmm = u128::from_le_bytes(*from);
        }
        Ok(())
    }

    /// Executes an operation that [`form`] knows.
    ///
    /// `dst` is the old value of the destination, `src` the source, both in their low bits; `register` tells that the
    /// source is a register (MOVSS merges then, and the moves 12h and 16h are others). The answer is the destination's
    /// new value, in the low bits where it is narrower than a register.
    ///
    /// # Errors
    ///
    /// [`SimdException`] when an exception is unmasked: MXCSR tells which; the destination keeps its value.
    pub fn execute(
        &mut self,
        opcode: u8,
        scalar: bool,
        register: bool,
        dst: u128,
        src: u128,
        immediate: u8,
    ) -> Result<u128, SimdException> {
        let rc = self.mxcsr >> 13 & 3;
        Ok(match opcode {
            // Moves.
            0x10 | 0x11 if scalar && register => with_low_lane(dst, src as u32),
            0x10 | 0x11 if scalar => src & 0xFFFF_FFFF,
            0x12 if register => (dst & !LOW_HALF) | (src >> 64),
            0x12 => (dst & !LOW_HALF) | (src & LOW_HALF),
            0x13 => src & LOW_HALF,
            0x16 => (dst & LOW_HALF) | (src << 64),
            0x17 => src >> 64,
            0x14 => from_lanes([lane(dst, 0), lane(src, 0), lane(dst, 1), lane(src, 1)]),
            0x15 => from_lanes([lane(dst, 2), lane(src, 2), lane(dst, 3), lane(src, 3)]),
            0x50 => (0..4).fold(0, |mask, i| mask | u128::from(lane(src, i) >> 31) << i),
            // Conversions.
            0x2A => {
                let mxcsr = self.mxcsr;
                let count = if scalar { 1 } else { 2 };
                self.lanes(count, dst, |i| single::from_i32(lane(src, i) as i32, mxcsr))?
            }
            0x2C | 0x2D => {
                let rc = if opcode == 0x2C { 3 } else { rc };
                let count = if scalar { 1 } else { 2 };
                self.lanes(count, 0, |i| single::to_i32(lane(src, i), rc))?
            }
            0x2E | 0x2F => {
                let (order, flags) = single::compare(lane(dst, 0), lane(src, 0), opcode == 0x2E);
                self.raise(flags)?;
                match order {
                    Order::Greater => 0,
                    Order::Less => 0x01,
                    Order::Equal => 0x40,
                    Order::Unordered => 0x45,
                }
            }
            // Logic.
            0x54 => dst & src,
            0x55 => !dst & src,
            0x56 => dst | src,
            0x57 => dst ^ src,
            0xC6 => {
                let pick = |from: u128, n: u8| lane(from, usize::from(immediate >> n & 3));
                from_lanes([pick(dst, 0), pick(dst, 2), pick(src, 4), pick(src, 6)])
            }
            // Arithmetic.
            0x51..=0x53 | 0x58 | 0x59 | 0x5C..=0x5F | 0xC2 => {
                let mxcsr = self.mxcsr;
                let count = if scalar { 1 } else { 4 };
                self.lanes(count, dst, |i| arithmetic(opcode, lane(dst, i), lane(src, i), immediate, mxcsr))?
            }
            // MOVUPS, MOVAPS, MOVNTPS.
            _ => src,
        })
    }

    /// Computes the lowest `count` lanes, raises their flags together, and puts them into `dst`.
    fn lanes(
        &mut self,
        count: usize,
        dst: u128,
        f: impl Fn(usize) -> single::Answer,
    ) -> Result<u128, SimdException> {
        let (mut value, mut flags) = (dst, 0);
        for i in 0..count {
            let (result, raised) = f(i);
            flags |= raised;
            value = (value & !(0xFFFF_FFFF << (32 * i))) | u128::from(result) << (32 * i);
        }
        self.raise(flags)?;
        Ok(value)
    }

    /// Raises flags; an unmasked one found before computing keeps those found after from being seen.
    fn raise(&mut self, flags: u32) -> Result<(), SimdException> {
        let unmasked = !(self.mxcsr >> 7) & EXCEPTIONS;
        let seen = if flags & BEFORE & unmasked != 0 { flags & BEFORE } else { flags };
        self.mxcsr |= seen;
        if seen & unmasked != 0 { Err(SimdException) } else { Ok(()) }
    }
}

/// One lane of an arithmetic operation.
fn arithmetic(opcode: u8, a: u32, b: u32, immediate: u8, mxcsr: u32) -> single::Answer {
    match opcode {
        0x51 => single::sqrt(b, mxcsr),
        0x52 => (single::reciprocal_root(b), 0),
        0x53 => (single::reciprocal(b), 0),
        0x58 => single::add(a, b, mxcsr),
        0x59 => single::mul(a, b, mxcsr),
        0x5C => single::sub(a, b, mxcsr),
        0x5D => single::min_max(a, b, false),
        0x5E => single::div(a, b, mxcsr),
        0x5F => single::min_max(a, b, true),
        _ => compare(a, b, immediate),
    }
}

/// CMPPS: all ones where the predicate holds.
fn compare(a: u32, b: u32, predicate: u8) -> single::Answer {
    // EQ, UNORD, NEQ and ORD (0, 3, 4, 7) do not mind quiet NaNs.
    let quiet = matches!(predicate & 3, 0 | 3);
    let (order, flags) = single::compare(a, b, quiet);
    let holds = match predicate & 3 {
        0 => order == Order::Equal,
        1 => order == Order::Less,
        2 => matches!(order, Order::Less | Order::Equal),
        _ => order == Order::Unordered,
    };
    let negated = predicate & 4 != 0;
    (if holds != negated { u32::MAX } else { 0 }, flags)
}
