//! Direct Linux boot: a kernel, an initial RAM disk and a command line placed in memory, entered by the 32-bit boot
//! protocol (Documentation/arch/x86/boot.rst of the kernel, "32-bit boot protocol").
//!
//! POST runs first, so that the chipset, PCI and the ACPI tables are as after a boot from disk; then the machine loads the
//! kernel and sets the processor to the [`LinuxEntry`].
//!
//! ```
//! use slotone_firmware::linux_boot::{LinuxBoot, LinuxBootError};
//! let mut memory = vec![0u8; 16 << 20];
//! let boot = LinuxBoot { kernel: b"no kernel", initrd: &[], command_line: "console=ttyS0", memory: 16 << 20, cursor: (0, 0) };
//! let answer = boot.load(&mut |address, bytes| {
//!     memory[address as usize..address as usize + bytes.len()].copy_from_slice(bytes);
//! });
//! assert!(matches!(answer, Err(LinuxBootError::NotAKernel)));
//! ```

use crate::memory_map::{MemoryMap, low_top};
use slotone_bus::cpu::{CpuState, Segment, TableRegister};
use thiserror::Error;

/// Physical address of the zero page (`boot_params`).
pub const BOOT_PARAMS: u32 = 0x1_0000;
/// Physical address of the command line.
pub const COMMAND_LINE: u32 = 0x1_1000;
/// Physical address of the GDT.
pub const GDT: u32 = 0x1_3000;
/// Longest command line, without its terminating NUL.
pub const COMMAND_LINE_MAX: usize = 2047;

/// Selector of the flat code segment (`__BOOT_CS`).
const BOOT_CS: u16 = 0x10;
/// Selector of the flat data segment (`__BOOT_DS`).
const BOOT_DS: u16 = 0x18;
const FLAT_CODE: u64 = 0x00CF_9B00_0000_FFFF;
const FLAT_DATA: u64 = 0x00CF_9300_0000_FFFF;

/// Where kernels are loaded: the first byte above the low megabyte.
const HIGH_LOAD: u64 = 0x10_0000;
/// Highest address of an initial RAM disk when the kernel does not say (kernel default of protocol 2.03).
const INITRD_MAX: u64 = 0x37FF_FFFF;

/// What to boot.
#[derive(Debug, Clone, Copy)]
pub struct LinuxBoot<'a> {
    /// A bzImage (protocol 2.02 or later, loaded high) or a 32-bit x86 ELF `vmlinux`.
    pub kernel: &'a [u8],
    /// The initial RAM disk; empty for none.
    pub initrd: &'a [u8],
    /// The kernel's command line.
    pub command_line: &'a str,
    /// Main memory in bytes.
    pub memory: u64,
    /// Column and row of the cursor on the 80x25 text screen, where the kernel's messages go on.
    pub cursor: (u8, u8),
}

/// How the processor enters the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LinuxEntry {
    /// Instruction pointer: physical address of the kernel's 32-bit entry.
    pub eip: u32,
    /// ESI: physical address of the zero page.
    pub esi: u32,
    /// The GDT: `__BOOT_CS` 10h and `__BOOT_DS` 18h, both flat.
    pub gdtr: TableRegister,
    /// CS.
    pub code: Segment,
    /// DS, ES, FS, GS and SS.
    pub data: Segment,
}

impl LinuxEntry {
    /// Sets what the 32-bit boot protocol asks for: flat segments, protection on, paging and interrupts off, ESI on the zero
    /// page, EBP, EDI and EBX zero.
    pub fn apply(&self, state: &mut CpuState) {
        state.gpr = [0; 8];
        state.gpr[6] = self.esi;
        state.eip = self.eip;
        state.eflags = 2;
        state.segments = [self.data; 6];
        state.segments[1] = self.code;
        state.gdtr = self.gdtr;
        state.idtr = TableRegister::default();
        // PE and ET on; paging, write protect, caches' disable bits and alignment checks off.
        state.cr0 = 0x11;
        state.cr3 = 0;
        state.cr4 = 0;
        state.pdpte = [0; 4];
        state.halted = false;
        state.interrupt_shadow = false;
    }
}

/// Why a kernel cannot be booted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum LinuxBootError {
    /// Neither a bzImage nor an ELF file.
    #[error("expected a Linux bzImage or a 32-bit x86 ELF vmlinux, found neither")]
    NotAKernel,
    /// A boot protocol before 2.02, or a zImage.
    #[error("kernel uses boot protocol {0:#06x}; 0x0202 or later, loaded high, is needed")]
    OldProtocol(u16),
    /// An ELF file for another processor, class or byte order, or not an executable.
    #[error("ELF kernel is not a 32-bit little-endian x86 executable")]
    WrongElf,
    /// A header points outside the file.
    #[error("kernel file is truncated: {expected} bytes expected, {found} found")]
    Truncated {
        /// Bytes its headers speak of.
        expected: u64,
        /// Bytes there are.
        found: u64,
    },
    /// The kernel does not fit.
    #[error("kernel needs memory up to {needed:#x}, the machine's ends at {available:#x}")]
    KernelTooBig {
        /// First address past the kernel.
        needed: u64,
        /// End of usable memory.
        available: u64,
    },
    /// A part of the kernel wants to lie below 1 MiB.
    #[error("kernel segment at {0:#x} lies below 1 MiB")]
    LowSegment(u64),
    /// The initial RAM disk does not fit between the kernel and the end of memory.
    #[error(
        "initial RAM disk of {size} bytes does not fit into the memory left by the kernel ({free} bytes)"
    )]
    InitrdTooBig {
        /// Its size.
        size: u64,
        /// Room there is.
        free: u64,
    },
    /// The command line is longer than the kernel (or this loader) takes.
    #[error("command line of {length} bytes is longer than the {limit} the kernel takes")]
    CommandLineTooLong {
        /// Its length.
        length: usize,
        /// The longest allowed.
        limit: usize,
    },
}

/// A kernel whose headers were understood.
struct Plan {
    /// (physical address, file offset, bytes) of each piece.
    pieces: Vec<(u64, usize, usize)>,
    /// (physical address, bytes) to clear.
    clear: Vec<(u64, u64)>,
    entry: u32,
    /// First address the kernel does not use while it starts.
    end: u64,
    initrd_max: u64,
    command_line_max: usize,
    /// Setup header for the zero page, from 1F1h.
    header: Vec<u8>,
}

impl LinuxBoot<'_> {
    /// Places everything in guest memory by calls of `write(physical address, bytes)` and says where to enter.
    ///
    /// # Errors
    /// [`LinuxBootError`]; nothing has been written then.
    pub fn load(&self, write: &mut dyn FnMut(u64, &[u8])) -> Result<LinuxEntry, LinuxBootError> {
        let plan = self.plan()?;
        let limit = plan.command_line_max.min(COMMAND_LINE_MAX);
        if self.command_line.len() > limit {
            return Err(LinuxBootError::CommandLineTooLong { length: self.command_line.len(), limit });
        }
        let top = low_top(self.memory);
        if plan.end > top {
            return Err(LinuxBootError::KernelTooBig { needed: plan.end, available: top });
        }
        let size = self.initrd.len() as u64;
        let ceiling = top.min(plan.initrd_max.saturating_add(1));
        let free = ceiling.saturating_sub(plan.end);
        let initrd = (ceiling.saturating_sub(size)) & !0xFFF;
        if size != 0 && (size > free || initrd < plan.end) {
            return Err(LinuxBootError::InitrdTooBig { size, free });
        }

        const ZEROS: [u8; 4096] = [0; 4096];
        for &(address, length) in &plan.clear {
            let mut done = 0;
            while done < length {
                let n = (length - done).min(4096);
                write(address + done, &ZEROS[..n as usize]);
                done += n;
            }
        }
        for &(address, offset, length) in &plan.pieces {
            write(address, &self.kernel[offset..offset + length]);
        }
        if size != 0 {
            write(initrd, self.initrd);
        }
        let mut line = self.command_line.as_bytes().to_vec();
        line.push(0);
        write(u64::from(COMMAND_LINE), &line);
        let mut gdt = Vec::new();
        for descriptor in [0, 0, FLAT_CODE, FLAT_DATA] {
            gdt.extend_from_slice(&u64::to_le_bytes(descriptor));
        }
        write(u64::from(GDT), &gdt);
        let image = if size == 0 { 0 } else { initrd as u32 };
        write(u64::from(BOOT_PARAMS), &self.zero_page(&plan, image));

        let segment = |selector, attributes| Segment { selector, base: 0, limit: u32::MAX, attributes };
        Ok(LinuxEntry {
            eip: plan.entry,
            esi: BOOT_PARAMS,
            gdtr: TableRegister { base: GDT, limit: 4 * 8 - 1 },
            code: segment(BOOT_CS, 0xC09B),
            data: segment(BOOT_DS, 0xC093),
        })
    }

    fn plan(&self) -> Result<Plan, LinuxBootError> {
        if self.kernel.starts_with(b"\x7FELF") {
            self.plan_elf()
        } else if field(self.kernel, 0x1FE, 2) == Some(0xAA55)
            && self.kernel.get(0x202..0x206) == Some(b"HdrS")
        {
            self.plan_bzimage()
        } else {
            Err(LinuxBootError::NotAKernel)
        }
    }

    fn plan_bzimage(&self) -> Result<Plan, LinuxBootError> {
        let kernel = self.kernel;
        let found = kernel.len() as u64;
        let truncated = |expected| LinuxBootError::Truncated { expected, found };
        let get = |offset, size| field(kernel, offset, size).ok_or(truncated(0x268));
        let version = get(0x206, 2)? as u16;
        if version < 0x0202 || get(0x211, 1)? & 1 == 0 {
            return Err(LinuxBootError::OldProtocol(version));
        }
        let sectors = match get(0x1F1, 1)? {
            0 => 4,
            n => n,
        };
        let setup = (sectors as usize + 1) * 512;
        // syssize: the protected-mode part in paragraphs; trailing signatures do not count.
        let body = (get(0x1F4, 4)? as usize) << 4;
        let rest = kernel
            .len()
            .checked_sub(setup)
            .filter(|n| *n > 0)
            .ok_or(truncated(setup as u64 + body as u64))?;
        if rest + 15 < body {
            return Err(truncated((setup + body) as u64));
        }
        let header_end = (0x202 + get(0x201, 1)? as usize).min(0x290);
        let mut header = kernel.get(0x1F1..header_end).ok_or(truncated(header_end as u64))?.to_vec();
        header.resize(0x290 - 0x1F1, 0);
        let entry = get(0x214, 4)? as u32;
        if u64::from(entry) != HIGH_LOAD {
            return Err(LinuxBootError::LowSegment(u64::from(entry)));
        }
        let mut end = HIGH_LOAD + rest as u64;
        if version >= 0x020A {
            // It unpacks itself at its preferred address and needs init_size bytes there.
            end = end.max(get(0x258, 8)?.max(HIGH_LOAD).saturating_add(get(0x260, 4)?));
        }
        Ok(Plan {
            pieces: vec![(HIGH_LOAD, setup, rest)],
            clear: Vec::new(),
            entry,
            end: page_up(end),
            initrd_max: if version >= 0x0203 { get(0x22C, 4)? } else { INITRD_MAX },
            command_line_max: if version >= 0x0206 { get(0x238, 4)? as usize } else { 255 },
            header,
        })
    }

    fn plan_elf(&self) -> Result<Plan, LinuxBootError> {
        let kernel = self.kernel;
        let found = kernel.len() as u64;
        let truncated = |expected| LinuxBootError::Truncated { expected, found };
        let get = |offset, size| field(kernel, offset, size).ok_or(truncated(offset as u64 + size as u64));
        // ELFCLASS32, ELFDATA2LSB, ET_EXEC, EM_386.
        if get(4, 1)? != 1 || get(5, 1)? != 1 || get(16, 2)? != 2 || get(18, 2)? != 3 {
            return Err(LinuxBootError::WrongElf);
        }
        let entry = get(24, 4)? as u32;
        let (table, size, count) = (get(28, 4)? as usize, get(42, 2)? as usize, get(44, 2)? as usize);
        if size < 32 || count == 0 {
            return Err(LinuxBootError::WrongElf);
        }
        let (mut pieces, mut clear, mut end) = (Vec::new(), Vec::new(), 0u64);
        for i in 0..count {
            let at = table + i * size;
            // PT_LOAD
            if get(at, 4)? != 1 {
                continue;
            }
            let (offset, address) = (get(at + 4, 4)?, get(at + 12, 4)?);
            let (in_file, in_memory) = (get(at + 16, 4)?, get(at + 20, 4)?);
            if offset + in_file > found {
                return Err(truncated(offset + in_file));
            }
            if in_file > in_memory {
                return Err(LinuxBootError::WrongElf);
            }
            if in_memory == 0 {
                continue;
            }
            if address < HIGH_LOAD {
                return Err(LinuxBootError::LowSegment(address));
            }
            end = end.max(address + in_memory);
            pieces.push((address, offset as usize, in_file as usize));
            clear.push((address + in_file, in_memory - in_file));
        }
        if end == 0 {
            return Err(LinuxBootError::WrongElf);
        }
        // The header a bzImage would have had, as far as the kernel proper reads it.
        let mut header = vec![0; 0x290 - 0x1F1];
        header[0x1FE - 0x1F1..][..2].copy_from_slice(&[0x55, 0xAA]);
        header[0x202 - 0x1F1..][..4].copy_from_slice(b"HdrS");
        header[0x206 - 0x1F1..][..2].copy_from_slice(&0x020Fu16.to_le_bytes());
        header[0x211 - 0x1F1] = 1;
        // The kernel's page tables and its brk come right behind it: keep the initial RAM disk away.
        let end = page_up(end) + 0x20_0000;
        Ok(Plan {
            pieces,
            clear,
            entry,
            end,
            initrd_max: INITRD_MAX,
            command_line_max: COMMAND_LINE_MAX,
            header,
        })
    }

    fn zero_page(&self, plan: &Plan, initrd: u32) -> Vec<u8> {
        let mut page = vec![0u8; 4096];
        let mut put = |offset: usize, bytes: &[u8]| page[offset..offset + bytes.len()].copy_from_slice(bytes);
        put(0x1F1, &plan.header);
        // screen_info: mode 3 on a VGA, 80x25, 16 scan lines per character.
        put(0x00, &[self.cursor.0, self.cursor.1]);
        let extended_kib =
            (low_top(self.memory).saturating_sub(1 << 20) >> 10).min(u64::from(u32::MAX)) as u32;
        put(0x02, &(extended_kib.min(0xFFFF) as u16).to_le_bytes());
        put(0x06, &[3, 80]);
        put(0x0A, &3u16.to_le_bytes());
        put(0x0E, &[25, 1]);
        put(0x10, &16u16.to_le_bytes());
        put(0x1E0, &extended_kib.to_le_bytes());
        let map = MemoryMap::new(self.memory);
        put(0x1E8, &[map.entries().len() as u8]);
        for (i, entry) in map.entries().iter().enumerate() {
            put(0x2D0 + 20 * i, &entry.to_bytes());
        }
        put(0x210, &[0xFF]); // type_of_loader: no assigned number
        put(0x218, &initrd.to_le_bytes());
        put(0x21C, &(self.initrd.len() as u32).to_le_bytes());
        put(0x228, &COMMAND_LINE.to_le_bytes());
        page
    }
}

/// A little-endian field of up to eight bytes.
fn field(bytes: &[u8], offset: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(offset..offset.checked_add(size)?)?;
    Some(bytes.iter().rev().fold(0, |value, byte| value << 8 | u64::from(*byte)))
}

fn page_up(address: u64) -> u64 {
    address.saturating_add(0xFFF) & !0xFFF
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bzimage(body: usize) -> Vec<u8> {
        let mut image = vec![0u8; 5 * 512 + body];
        image[0x1F1] = 4;
        image[0x1F4..0x1F8].copy_from_slice(&((body / 16) as u32).to_le_bytes());
        image[0x1FE..0x200].copy_from_slice(&[0x55, 0xAA]);
        image[0x201] = 0x6A;
        image[0x202..0x206].copy_from_slice(b"HdrS");
        image[0x206..0x208].copy_from_slice(&0x020Fu16.to_le_bytes());
        image[0x211] = 1;
        image[0x214..0x218].copy_from_slice(&0x10_0000u32.to_le_bytes());
        image[0x22C..0x230].copy_from_slice(&0x37FF_FFFFu32.to_le_bytes());
        image[0x238..0x23C].copy_from_slice(&2047u32.to_le_bytes());
        image[0x258..0x260].copy_from_slice(&0x100_0000u64.to_le_bytes());
        image[0x260..0x264].copy_from_slice(&0x10_0000u32.to_le_bytes());
        image[5 * 512] = 0xFC;
        image
    }

    fn elf(segments: &[(u32, &[u8], u32)]) -> Vec<u8> {
        let mut file = vec![0u8; 52 + 32 * segments.len()];
        file[..6].copy_from_slice(b"\x7FELF\x01\x01");
        file[16] = 2;
        file[18] = 3;
        file[24..28].copy_from_slice(&0x100_0000u32.to_le_bytes());
        file[28] = 52;
        file[42] = 32;
        file[44] = segments.len() as u8;
        for (i, (address, bytes, size)) in segments.iter().enumerate() {
            let offset = file.len() as u32;
            let at = 52 + 32 * i;
            for (field, value) in [
                (0, 1),
                (4, offset),
                (8, 0xC000_0000 | address),
                (12, *address),
                (16, bytes.len() as u32),
                (20, *size),
            ] {
                file[at + field..at + field + 4].copy_from_slice(&u32::to_le_bytes(value));
            }
            file.extend_from_slice(bytes);
        }
        file
    }

    fn load(boot: &LinuxBoot) -> Result<(Vec<u8>, LinuxEntry), LinuxBootError> {
        let mut memory = vec![0xCC; boot.memory as usize];
        let entry = boot
            .load(&mut |at, bytes| memory[at as usize..at as usize + bytes.len()].copy_from_slice(bytes))?;
        Ok((memory, entry))
    }

    #[test]
    fn bzimage_is_placed() {
        let kernel = bzimage(8192);
        let initrd = [0x11; 5000];
        let boot = LinuxBoot {
            kernel: &kernel,
            initrd: &initrd,
            command_line: "a b",
            memory: 32 << 20,
            cursor: (3, 4),
        };
        let (memory, entry) = load(&boot).unwrap();
        assert_eq!((entry.eip, entry.esi), (0x10_0000, BOOT_PARAMS));
        assert_eq!(memory[0x10_0000], 0xFC);
        let page = &memory[BOOT_PARAMS as usize..][..4096];
        let u32_at = |offset| field(page, offset, 4).unwrap();
        assert_eq!(page[0x202..0x206], *b"HdrS");
        assert_eq!((page[0], page[1], page[6], page[7], page[0xE], page[0xF]), (3, 4, 3, 80, 25, 1));
        let image = u32_at(0x218) as usize;
        assert_eq!(image % 4096, 0);
        assert_eq!(u32_at(0x21C), 5000);
        assert_eq!(memory[image..image + 5000], initrd);
        assert!(image + 5000 <= (32 << 20) - 0x1_0000, "below the ACPI tables");
        assert_eq!(memory[u32_at(0x228) as usize..][..4], *b"a b\0");
        assert_eq!(page[0x1E8], 7);
        assert_eq!(memory[GDT as usize + 16..][..8], FLAT_CODE.to_le_bytes());
    }

    #[test]
    fn elf_is_placed_and_cleared() {
        let kernel = elf(&[(0x100_0000, b"code", 4), (0x100_2000, b"data", 0x3000)]);
        let boot =
            LinuxBoot { kernel: &kernel, initrd: &[], command_line: "", memory: 32 << 20, cursor: (0, 0) };
        let (memory, entry) = load(&boot).unwrap();
        assert_eq!(entry.eip, 0x100_0000);
        assert_eq!(memory[0x100_0000..0x100_0004], *b"code");
        assert_eq!(memory[0x100_2000..0x100_2005], *b"data\0");
        assert_eq!(memory[0x100_4FFF..0x100_5001], [0, 0xCC]);
    }

    #[test]
    fn bad_kernels_are_named() {
        let kernel = bzimage(8192);
        let boot =
            LinuxBoot { kernel: &kernel, initrd: &[], command_line: "", memory: 32 << 20, cursor: (0, 0) };
        let fails = |boot: LinuxBoot| load(&boot).unwrap_err();
        assert!(matches!(
            fails(LinuxBoot { kernel: &kernel[..3000], ..boot }),
            LinuxBootError::Truncated { .. }
        ));
        assert!(matches!(
            fails(LinuxBoot { kernel: &kernel[..0x210], ..boot }),
            LinuxBootError::Truncated { .. }
        ));
        assert_eq!(fails(LinuxBoot { kernel: &[], ..boot }), LinuxBootError::NotAKernel);
        assert!(matches!(fails(LinuxBoot { memory: 4 << 20, ..boot }), LinuxBootError::KernelTooBig { .. }));
        let initrd = vec![0; 31 << 20];
        assert!(matches!(fails(LinuxBoot { initrd: &initrd, ..boot }), LinuxBootError::InitrdTooBig { .. }));
        let line = "x".repeat(3000);
        let error = fails(LinuxBoot { command_line: &line, ..boot });
        assert_eq!(error, LinuxBootError::CommandLineTooLong { length: 3000, limit: 2047 });
        let mut old = kernel.clone();
        old[0x206..0x208].copy_from_slice(&[1, 2]);
        assert_eq!(fails(LinuxBoot { kernel: &old, ..boot }), LinuxBootError::OldProtocol(0x201));
        let mut wrong = elf(&[(0x100_0000, b"code", 4)]);
        wrong[18] = 62;
        assert_eq!(fails(LinuxBoot { kernel: &wrong, ..boot }), LinuxBootError::WrongElf);
        let low = elf(&[(0x8000, b"code", 4)]);
        assert_eq!(fails(LinuxBoot { kernel: &low, ..boot }), LinuxBootError::LowSegment(0x8000));
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig::with_cases(128))]
        #[test]
        fn mutated_headers_never_panic(edits in proptest::collection::vec((0usize..0x300, 0u8..), 0..6), elf_file: bool) {
            let mut kernel = if elf_file { elf(&[(0x100_0000, b"code", 0x2000)]) } else { bzimage(4096) };
            for (at, value) in edits {
                let at = at % kernel.len();
                kernel[at] = value;
            }
            let boot = LinuxBoot { kernel: &kernel, initrd: b"i", command_line: "c", memory: 32 << 20, cursor: (0, 0) };
            let _ = boot.load(&mut |at, bytes| assert!(at + bytes.len() as u64 <= 32 << 20));
        }
    }
}
