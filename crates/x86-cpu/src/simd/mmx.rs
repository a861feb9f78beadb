//! The packed integer operations on 64-bit registers: MMX, and what the Pentium III added to it.
//!
//! The core looks an operation up once at decode ([`operation`], [`shift_by_immediate`]) and calls it with the values
//! of destination and source; moves, EMMS and the forms with an immediate or a general register have functions of
//! their own. Intel SDM volume 2 for each instruction.

/// An operation: destination and source in, destination out.
pub type Operation = fn(u64, u64) -> u64;

/// Applies `f` to each of the eight bytes.
#[inline(always)]
fn bytes(a: u64, b: u64, f: impl Fn(u8, u8) -> u8) -> u64 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u64::from_le_bytes(core::array::from_fn(|i| f(a[i], b[i])))
}

/// The word at `i`, 0 being the lowest.
#[inline(always)]
const fn word(value: u64, i: usize) -> u16 {
    (value >> (16 * i)) as u16
}

/// Puts four words together, the lowest first.
#[inline(always)]
fn from_words(words: [u16; 4]) -> u64 {
    words.iter().rev().fold(0, |sum, &w| (sum << 16) | u64::from(w))
}

/// Applies `f` to each of the four words.
#[inline(always)]
fn words(a: u64, b: u64, f: impl Fn(u16, u16) -> u16) -> u64 {
    from_words(core::array::from_fn(|i| f(word(a, i), word(b, i))))
}

/// Applies `f` to both doublewords.
#[inline(always)]
fn doublewords(a: u64, b: u64, f: impl Fn(u32, u32) -> u32) -> u64 {
    u64::from(f(a as u32, b as u32)) | (u64::from(f((a >> 32) as u32, (b >> 32) as u32)) << 32)
}

/// All ones for true.
#[inline(always)]
const fn mask8(condition: bool) -> u8 {
    if condition { 0xFF } else { 0 }
}

#[inline(always)]
const fn mask16(condition: bool) -> u16 {
    if condition { 0xFFFF } else { 0 }
}

#[inline(always)]
const fn mask32(condition: bool) -> u32 {
    if condition { 0xFFFF_FFFF } else { 0 }
}

/// Interleaves the bytes of two doublewords, `a` first.
fn interleave_bytes(a: u32, b: u32) -> u64 {
    let (a, b) = (a.to_le_bytes(), b.to_le_bytes());
    u64::from_le_bytes([a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]])
}

/// Interleaves the words of two doublewords, `a` first.
fn interleave_words(a: u32, b: u32) -> u64 {
    from_words([a as u16, b as u16, (a >> 16) as u16, (b >> 16) as u16])
}

/// Packs eight words, `a`'s in the low half.
fn pack_words(a: u64, b: u64, f: impl Fn(i16) -> u8) -> u64 {
    u64::from_le_bytes(core::array::from_fn(|i| f(if i < 4 { word(a, i) } else { word(b, i - 4) } as i16)))
}

fn packssdw(a: u64, b: u64) -> u64 {
    let pack = |v: u64| (v as i32).clamp(-0x8000, 0x7FFF) as u16;
    from_words([pack(a), pack(a >> 32), pack(b), pack(b >> 32)])
}

fn pmaddwd(a: u64, b: u64) -> u64 {
    let product = |i| i32::from(word(a, i) as i16) * i32::from(word(b, i) as i16);
    let low = product(0).wrapping_add(product(1)) as u32;
    let high = product(2).wrapping_add(product(3)) as u32;
    u64::from(low) | (u64::from(high) << 32)
}

fn psadbw(a: u64, b: u64) -> u64 {
    a.to_le_bytes().iter().zip(b.to_le_bytes()).map(|(&x, y)| u64::from(x.abs_diff(y))).sum()
}

// The shifts take the whole 64-bit source as their count.

fn psrlw(a: u64, n: u64) -> u64 {
    if n > 15 { 0 } else { words(a, 0, |x, _| x >> n) }
}

fn psrld(a: u64, n: u64) -> u64 {
    if n > 31 { 0 } else { doublewords(a, 0, |x, _| x >> n) }
}

fn psrlq(a: u64, n: u64) -> u64 {
    if n > 63 { 0 } else { a >> n }
}

fn psllw(a: u64, n: u64) -> u64 {
    if n > 15 { 0 } else { words(a, 0, |x, _| x << n) }
}

fn pslld(a: u64, n: u64) -> u64 {
    if n > 31 { 0 } else { doublewords(a, 0, |x, _| x << n) }
}

fn psllq(a: u64, n: u64) -> u64 {
    if n > 63 { 0 } else { a << n }
}

fn psraw(a: u64, n: u64) -> u64 {
    let n = n.min(15);
    words(a, 0, |x, _| ((x as i16) >> n) as u16)
}

fn psrad(a: u64, n: u64) -> u64 {
    let n = n.min(31);
    doublewords(a, 0, |x, _| ((x as i32) >> n) as u32)
}

/// The MMX operation of 0F `opcode` with two register or memory operands; `None` if there is none.
///
/// A memory source has eight bytes, but for [`reads_doubleword`]'s.
pub const fn operation(opcode: u8) -> Option<Operation> {
    let f: Operation = match opcode {
        // PUNPCKL, PACK, PCMPGT, PUNPCKH
        0x60 => |a, b| interleave_bytes(a as u32, b as u32),
        0x61 => |a, b| interleave_words(a as u32, b as u32),
        0x62 => |a, b| (a & 0xFFFF_FFFF) | (b << 32),
        0x63 => |a, b| pack_words(a, b, |x| x.clamp(-0x80, 0x7F) as u8),
        0x64 => |a, b| bytes(a, b, |x, y| mask8(x as i8 > y as i8)),
        0x65 => |a, b| words(a, b, |x, y| mask16(x as i16 > y as i16)),
        0x66 => |a, b| doublewords(a, b, |x, y| mask32(x as i32 > y as i32)),
        0x67 => |a, b| pack_words(a, b, |x| x.clamp(0, 0xFF) as u8),
        0x68 => |a, b| interleave_bytes((a >> 32) as u32, (b >> 32) as u32),
        0x69 => |a, b| interleave_words((a >> 32) as u32, (b >> 32) as u32),
        0x6A => |a, b| (a >> 32) | (b & 0xFFFF_FFFF_0000_0000),
        0x6B => packssdw,
        // PCMPEQ
        0x74 => |a, b| bytes(a, b, |x, y| mask8(x == y)),
        0x75 => |a, b| words(a, b, |x, y| mask16(x == y)),
        0x76 => |a, b| doublewords(a, b, |x, y| mask32(x == y)),
        // PSRL, PMULLW
        0xD1 => psrlw,
        0xD2 => psrld,
        0xD3 => psrlq,
        0xD5 => |a, b| words(a, b, u16::wrapping_mul),
        // PSUBUS, PAND, PADDUS, PANDN
        0xD8 => |a, b| bytes(a, b, u8::saturating_sub),
        0xD9 => |a, b| words(a, b, u16::saturating_sub),
        0xDB => |a, b| a & b,
        0xDC => |a, b| bytes(a, b, u8::saturating_add),
        0xDD => |a, b| words(a, b, u16::saturating_add),
        0xDF => |a, b| !a & b,
        // PSRA, PMULHW
        0xE1 => psraw,
        0xE2 => psrad,
        0xE5 => |a, b| words(a, b, |x, y| ((i32::from(x as i16) * i32::from(y as i16)) >> 16) as u16),
        // PSUBS, POR, PADDS, PXOR
        0xE8 => |a, b| bytes(a, b, |x, y| (x as i8).saturating_sub(y as i8) as u8),
        0xE9 => |a, b| words(a, b, |x, y| (x as i16).saturating_sub(y as i16) as u16),
        0xEB => |a, b| a | b,
        0xEC => |a, b| bytes(a, b, |x, y| (x as i8).saturating_add(y as i8) as u8),
        0xED => |a, b| words(a, b, |x, y| (x as i16).saturating_add(y as i16) as u16),
        0xEF => |a, b| a ^ b,
        // PSLL, PMADDWD
        0xF1 => psllw,
        0xF2 => pslld,
        0xF3 => psllq,
        0xF5 => pmaddwd,
        // PSUB, PADD
        0xF8 => |a, b| bytes(a, b, u8::wrapping_sub),
        0xF9 => |a, b| words(a, b, u16::wrapping_sub),
        0xFA => |a, b| doublewords(a, b, u32::wrapping_sub),
        0xFC => |a, b| bytes(a, b, u8::wrapping_add),
        0xFD => |a, b| words(a, b, u16::wrapping_add),
        0xFE => |a, b| doublewords(a, b, u32::wrapping_add),
        _ => return None,
    };
    Some(f)
}

/// The two-operand operations on MMX registers that came with SSE; `None` if there is none.
pub const fn sse_operation(opcode: u8) -> Option<Operation> {
    let f: Operation = match opcode {
        // PMINUB, PMAXUB, PAVGB, PAVGW
        0xDA => |a, b| bytes(a, b, u8::min),
        0xDE => |a, b| bytes(a, b, u8::max),
        0xE0 => |a, b| bytes(a, b, |x, y| (u16::from(x) + u16::from(y)).div_ceil(2) as u8),
        0xE3 => |a, b| words(a, b, |x, y| (u32::from(x) + u32::from(y)).div_ceil(2) as u16),
        // PMULHUW, PMINSW, PMAXSW, PSADBW
        0xE4 => |a, b| words(a, b, |x, y| ((u32::from(x) * u32::from(y)) >> 16) as u16),
        0xEA => |a, b| words(a, b, |x, y| (x as i16).min(y as i16) as u16),
        0xEE => |a, b| words(a, b, |x, y| (x as i16).max(y as i16) as u16),
        0xF6 => psadbw,
        _ => return None,
    };
    Some(f)
}

/// Executes an MMX operation by opcode: [`operation`] looked up and called.
pub fn execute(opcode: u8, dst: u64, src: u64) -> Option<u64> {
    operation(opcode).map(|f| f(dst, src))
}

/// Whether the memory source of this operation has four bytes only (PUNPCKLBW, PUNPCKLWD, PUNPCKLDQ).
pub const fn reads_doubleword(opcode: u8) -> bool {
    matches!(opcode, 0x60..=0x62)
}

/// The shift of 0F 71h, 72h or 73h with an immediate count; `reg` is the ModRM byte's reg field. The count goes in as
/// the source. `None` for the holes in the groups.
pub const fn shift_by_immediate(opcode: u8, reg: u8) -> Option<Operation> {
    let f: Operation = match (opcode, reg & 7) {
        (0x71, 2) => psrlw,
        (0x71, 4) => psraw,
        (0x71, 6) => psllw,
        (0x72, 2) => psrld,
        (0x72, 4) => psrad,
        (0x72, 6) => pslld,
        (0x73, 2) => psrlq,
        (0x73, 6) => psllq,
        _ => return None,
    };
    Some(f)
}

/// PSHUFW (0F 70): each word of the result is the word of `src` that two bits of `order` name.
pub fn pshufw(src: u64, order: u8) -> u64 {
    from_words(core::array::from_fn(|i| word(src, usize::from(order >> (2 * i)) & 3)))
}

/// PINSRW (0F C4): `dst` with the word that the low two bits of `at` name replaced.
pub const fn pinsrw(dst: u64, value: u16, at: u8) -> u64 {
    let shift = 16 * (at as u32 & 3);
    (dst & !(0xFFFF << shift)) | ((value as u64) << shift)
}

/// PEXTRW (0F C5): the word that the low two bits of `at` name.
pub const fn pextrw(src: u64, at: u8) -> u16 {
    word(src, (at & 3) as usize)
}

/// PMOVMSKB (0F D7): the top bits of the eight bytes.
pub fn pmovmskb(src: u64) -> u8 {
    src.to_le_bytes().iter().rev().fold(0, |sum, &b| (sum << 1) | (b >> 7))
}
