//! A boot sector that runs a program in flat 32-bit protected mode, prints its result on the first serial port and ends the machine.

use crate::emit::Code;
use crate::programs::Shape;

/// Where a BIOS puts it.
pub(crate) const ORIGIN: u32 = 0x7C00;
/// A hard disk of one cylinder of 16 heads and 63 sectors: the smallest that all emulators take.
const DISK: usize = 16 * 63 * 512;
/// The results' sum.
const SUM: u32 = 0x7000;
const STACK: u32 = 0x8_0000;
const PAGE_DIRECTORY: u32 = 0x1_0000;
/// Page tables behind the directory, for 4 MiB each.
const PAGE_TABLES: u32 = 2;

const COM1: u32 = 0x3F8;
const LINE_STATUS: u32 = COM1 + 5;
/// QEMU's isa-debug-exit device, where the command line puts it.
const QEMU_EXIT: u8 = 0xF4;
/// Bochs ends itself when it reads this word here.
const BOCHS_PORT: u32 = 0x8900;
const BOCHS_WORD: &[u8] = b"Shutdown";

/// The disk image: the program runs so many times and the sum of its results is printed. With 0 all but the program runs.
pub(crate) fn image(shape: &Shape, repetitions: u32) -> Vec<u8> {
    let mut c = Code::at(ORIGIN);
    to_protected_mode(&mut c);
    if shape.paged {
        paging(&mut c);
    }
    c.b(&[0xC7, 0x05]).d(SUM).d(0); // mov dword [SUM], 0
    if repetitions > 0 {
        c.b(&[0xBD]).d(repetitions); // mov ebp, repetitions
        c.label("again").call("shape");
        c.b(&[0x01, 0x05]).d(SUM); // add [SUM], eax
        c.b(&[0x4D]).short(0x75, "again"); // dec ebp; jnz
    }
    print(&mut c, shape.name);
    end(&mut c);
    (shape.emit)(&mut c);
    c.label("gdt");
    c.b(&[0; 8]);
    c.b(&[0xFF, 0xFF, 0, 0, 0, 0x9B, 0xCF, 0]); // 08: code, 32 bits, all 4 GiB
    c.b(&[0xFF, 0xFF, 0, 0, 0, 0x93, 0xCF, 0]); // 10: data
    c.label("gdtr").b(&[23, 0]).address("gdt");
    let mut sector = c.finish();
    assert!(sector.len() <= 510, "{}: {} bytes do not fit a boot sector", shape.name, sector.len());
    sector.resize(510, 0);
    sector.extend([0x55, 0xAA]);
    sector.resize(DISK, 0);
    sector
}

/// The line that a right run prints.
pub(crate) fn result_line(shape: &Shape, repetitions: u32) -> String {
    format!("{} {:08X}", shape.name, (shape.expected)().wrapping_mul(repetitions))
}

fn to_protected_mode(c: &mut Code) {
    c.b(&[0xFA, 0xFC]); // cli; cld
    c.b(&[0x31, 0xC0, 0x8E, 0xD8]); // xor ax, ax; mov ds, ax
    c.b(&[0xE4, 0x92, 0x0C, 2, 0x24, 0xFE, 0xE6, 0x92]); // in al, 92h; or al, 2; and al, FEh; out 92h, al
    c.b(&[0x0F, 0x01, 0x16]).address16("gdtr"); // lgdt [gdtr]
    c.b(&[0x0F, 0x20, 0xC0, 0x0C, 1, 0x0F, 0x22, 0xC0]); // mov eax, cr0; or al, 1; mov cr0, eax
    c.b(&[0xEA]).address16("protected").b(&[8, 0]); // jmp 8:protected
    c.label("protected");
    c.b(&[0xB8]).d(0x10); // mov eax, 10h
    c.b(&[0x8E, 0xD8, 0x8E, 0xC0, 0x8E, 0xD0]); // mov ds, ax; mov es, ax; mov ss, ax
    c.b(&[0xBC]).d(STACK); // mov esp, STACK
}

fn paging(c: &mut Code) {
    c.b(&[0xBF]).d(PAGE_DIRECTORY); // mov edi, PAGE_DIRECTORY
    c.b(&[0x0F, 0x22, 0xDF]); // mov cr3, edi
    for table in 1..=PAGE_TABLES {
        c.b(&[0xB8]).d((PAGE_DIRECTORY + table * 0x1000) | 3).b(&[0xAB]); // mov eax, table; stosd
    }
    c.b(&[0xBF]).d(PAGE_DIRECTORY + 0x1000); // mov edi, first table
    c.b(&[0xB8]).d(3); // mov eax, 3
    c.b(&[0xB9]).d(PAGE_TABLES * 1024); // mov ecx, entries
    c.label("entry_of_page").b(&[0xAB]); // stosd
    c.b(&[0x05]).d(0x1000).short(0xE2, "entry_of_page"); // add eax, 1000h; loop
    c.b(&[0x0F, 0x20, 0xC0, 0x0D]).d(1 << 31).b(&[0x0F, 0x22, 0xC0]); // mov eax, cr0; or eax, PG; mov cr0, eax
}

fn print(c: &mut Code, name: &str) {
    // 115,200 baud, 8N1: mov edx, port; mov al, value; out dx, al
    for (port, value) in [(3, 0x83), (0, 1), (1, 0), (3, 3)] {
        c.b(&[0xBA]).d(COM1 + port).b(&[0xB0, value, 0xEE]);
    }
    for letter in name.bytes().chain([b' ']) {
        c.b(&[0xB0, letter]).call("put"); // mov al, letter; call
    }
    c.b(&[0x8B, 0x35]).d(SUM); // mov esi, [SUM]
    c.b(&[0xBF]).d(8); // mov edi, 8
    c.label("digit");
    c.b(&[0xC1, 0xC6, 4, 0x89, 0xF0]); // rol esi, 4; mov eax, esi
    c.b(&[0x24, 0x0F, 0x3C, 10]).short(0x72, "decimal"); // and al, 0Fh; cmp al, 10; jb
    c.b(&[0x04, 7]); // add al, 7
    c.label("decimal").b(&[0x04, b'0']).call("put"); // add al, '0'; call
    c.b(&[0x4F]).short(0x75, "digit"); // dec edi; jnz
    c.b(&[0xB0, b'\n']).call("put"); // mov al, 10; call
    c.short(0xEB, "end");
    c.label("put");
    c.b(&[0x88, 0xC3]); // mov bl, al
    c.b(&[0xBA]).d(LINE_STATUS); // mov edx, LINE_STATUS
    c.label("full").b(&[0xEC, 0xA8, 0x20]).short(0x74, "full"); // in al, dx; test al, THRE; jz
    c.b(&[0x88, 0xD8, 0xBA]).d(COM1).b(&[0xEE, 0xC3]); // mov al, bl; mov edx, COM1; out dx, al; ret
}

fn end(c: &mut Code) {
    c.label("end");
    c.b(&[0xBA]).d(LINE_STATUS); // mov edx, LINE_STATUS
    c.label("sending").b(&[0xEC, 0xA8, 0x40]).short(0x74, "sending"); // in al, dx; test al, TEMT; jz
    c.b(&[0xB0, 0x10, 0xE6, QEMU_EXIT]); // mov al, 10h; out QEMU_EXIT, al
    c.b(&[0xBA]).d(BOCHS_PORT); // mov edx, BOCHS_PORT
    for letter in BOCHS_WORD {
        c.b(&[0xB0, *letter, 0xEE]); // mov al, letter; out dx, al
    }
    c.label("halt").b(&[0xF4]).short(0xEB, "halt"); // hlt; jmp
}
