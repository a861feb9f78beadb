//! The boot disk of the demonstration is what its source says: assembled again here, by the compiler itself.
//!
//! `SLOTONE_REGENERATE=1 cargo test -p slotone-examples --test demo_boot` writes it anew.

// The program is x86 code, and the section directives are those of ELF.
#![cfg(all(target_arch = "x86_64", target_os = "linux"))]

use std::path::Path;

macro_rules! assemble {
    ($($file:literal)*) => {
        core::arch::global_asm!(
            $(include_str!(concat!("../demo/src/", $file, ".s"))),*,
            options(att_syntax, raw)
        );
        const FILES: &[&str] = &[$($file),*];
    };
}
assemble! {
    "macros" "boot" "main" "report" "system" "cpu" "memory" "bios" "bridges" "legacy" "superio" "pm" "ide" "nic" "scsi" "vga" "end"
}

unsafe extern "C" {
    static slotone_demo_begin: u8;
    static slotone_demo_end: u8;
}

fn assembled() -> &'static [u8] {
    let (begin, end) = (&raw const slotone_demo_begin, &raw const slotone_demo_end);
    // SAFETY: the assembler puts both labels into one section, the second behind the first, and everything between them is
    // initialised, read-only and there for ever.
    unsafe { std::slice::from_raw_parts(begin, end.addr() - begin.addr()) }
}

#[test]
fn the_committed_image_is_what_its_source_says() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/boot.bin");
    if std::env::var_os("SLOTONE_REGENERATE").is_some() {
        std::fs::write(&path, assembled()).unwrap();
    }
    let committed = std::fs::read(&path).unwrap();
    let differs = committed.iter().zip(assembled()).position(|(a, b)| a != b);
    assert_eq!((committed.len(), differs), (assembled().len(), None), "run with SLOTONE_REGENERATE=1");
    assert_eq!(committed[510..512], [0x55, 0xaa]);
    // The loader reads whole chunks of 8 KB; the variables begin at C000h.
    assert!(committed.len().is_multiple_of(8192) && committed.len() <= 0xc000);
}

#[test]
fn every_source_file_is_assembled() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("demo/src");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        assert!(FILES.contains(&name), "{name}.s is not in the list above");
    }
}
