//! Where things lie: the same linear addresses on the host and in the emulated machine.
#![allow(dead_code, reason = "every test file uses its part")]

/// Data and stacks, 64 KiB, the base of the 16-bit segments.
pub(crate) const REGION: u32 = 0x20_0000;
/// A page of the region that is not mapped.
pub(crate) const HOLE: u32 = 0x8000;
/// A page of the region that cannot be written.
pub(crate) const READ_ONLY: u32 = 0x9000;
/// Code, 64 KiB, of which only [`CODE_PAGES`] are mapped; the base of the 16-bit code segment.
pub(crate) const CODE: u32 = 0x22_0000;
/// Offsets of the mapped pages of code.
pub(crate) const CODE_PAGES: [u32; 3] = [0x1000, 0x2000, 0xF000];
/// How the code under test leaves: a far jump to [`CS_EXIT`] and one of these.
pub(crate) const EXITS: [u32; 3] = [0x23_0800, 0x23_0810, 0x23_0820];
/// The host's way in and out.
pub(crate) const STUBS: u32 = 0x23_0000;
/// What goes in and out.
pub(crate) const STATE: u32 = 0x23_1000;
/// A large buffer.
pub(crate) const BUFFER: u32 = 0x24_0000;
pub(crate) const BUFFER_LEN: u32 = 0x8_0000;

/// Linux' 32-bit code segment, data segment and 64-bit code segment.
pub(crate) const CS32: u16 = 0x23;
pub(crate) const FLAT: u16 = 0x2B;
pub(crate) const CS_EXIT: u16 = 0x33;

/// A descriptor of the LDT.
pub(crate) struct LdtEntry {
    pub(crate) selector: u16,
    pub(crate) base: u32,
    pub(crate) limit: u32,
    /// 0 data, 1 expand-down data, 2 code.
    pub(crate) contents: u32,
    pub(crate) big: bool,
    /// Read-only data or execute-only code.
    pub(crate) restricted: bool,
    pub(crate) present: bool,
}

const fn entry(selector: u16, base: u32, limit: u32, contents: u32) -> LdtEntry {
    LdtEntry { selector, base, limit, contents, big: false, restricted: false, present: true }
}

pub(crate) const DATA16: u16 = 0x07;
pub(crate) const CODE16: u16 = 0x0F;
pub(crate) const SMALL: u16 = 0x17;
pub(crate) const DOWN16: u16 = 0x1F;
pub(crate) const READ_ONLY_DATA: u16 = 0x27;
pub(crate) const EXECUTE_ONLY: u16 = 0x2F;
pub(crate) const DOWN32: u16 = 0x37;
pub(crate) const ABSENT: u16 = 0x3F;
/// Limit of [`SMALL`], inside the first window, and of the expand-down segments, inside the second.
pub(crate) const SMALL_LIMIT: u32 = 0x7F7F;
pub(crate) const DOWN_LIMIT: u32 = 0xA07F;

pub(crate) const LDT: [LdtEntry; 8] = [
    entry(DATA16, REGION, 0xFFFF, 0),
    entry(CODE16, CODE, 0xFFFF, 2),
    LdtEntry { big: true, ..entry(SMALL, REGION, SMALL_LIMIT, 0) },
    entry(DOWN16, REGION, DOWN_LIMIT, 1),
    LdtEntry { restricted: true, ..entry(READ_ONLY_DATA, REGION, 0xFFFF, 0) },
    LdtEntry { restricted: true, ..entry(EXECUTE_ONLY, CODE, 0xFFFF, 2) },
    LdtEntry { big: true, ..entry(DOWN32, REGION, DOWN_LIMIT, 1) },
    LdtEntry { present: false, ..entry(ABSENT, REGION, 0xFFFF, 0) },
];

/// Pieces of the region that are filled before a case and compared after it: offset of 256 bytes each. The first ends at
/// the hole, the second begins behind the page that is read-only, the third is for stacks, the last ends with the region.
pub(crate) const WINDOWS: [u32; 4] = [0x7F00, 0xA000, 0xB000, 0xFF00];
pub(crate) const WINDOW_LEN: usize = 256;
/// The content of all windows.
pub(crate) type Windows = [[u8; WINDOW_LEN]; WINDOWS.len()];

/// What a case starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Start {
    /// EAX ECX EDX EBX ESP EBP ESI EDI.
    pub(crate) gpr: [u32; 8],
    pub(crate) eflags: u32,
    pub(crate) cs: u16,
    pub(crate) eip: u32,
    pub(crate) ds: u16,
    pub(crate) es: u16,
    pub(crate) ss: u16,
}

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// At one of [`EXITS`].
    Exit(u32),
    /// An exception: vector, error code (0 if it has none), CS, EIP, CR2 (of a page fault).
    Fault { vector: u8, error: u32, cs: u16, eip: u32, cr2: u32 },
}

/// What is left after a case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) end: End,
    pub(crate) gpr: [u32; 8],
    pub(crate) eflags: u32,
    pub(crate) ds: u16,
    pub(crate) es: u16,
    pub(crate) ss: u16,
}

/// The way out from 32-bit or 16-bit code.
pub(crate) fn far_exit(wide: bool, n: usize) -> Vec<u8> {
    let mut code = if wide { vec![0xEA] } else { vec![0x66, 0xEA] };
    code.extend(EXITS[n].to_le_bytes());
    code.extend(CS_EXIT.to_le_bytes());
    code
}
