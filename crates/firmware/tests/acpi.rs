//! The ACPI tables as an operating system finds them, and the DSDT through the reference compiler.

mod common;

use common::Mock;
use std::path::Path;
use std::process::Command;

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |sum, byte| sum.wrapping_add(*byte))
}

/// The table at an address, its checksum verified.
fn table(mock: &Mock, at: u32, signature: &[u8; 4]) -> Vec<u8> {
    let at = at as usize;
    let length = mock.u32(at + 4) as usize;
    let bytes = mock.memory[at..at + length].to_vec();
    assert_eq!(&bytes[..4], signature);
    assert_eq!(sum(&bytes), 0, "checksum of {}", String::from_utf8_lossy(signature));
    bytes
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn dsdt(mock: &Mock) -> Vec<u8> {
    let rsdp =
        (0xE_0000..0x10_0000).step_by(16).find(|at| mock.memory[*at..*at + 8] == *b"RSD PTR ").expect("RSDP");
    assert_eq!(sum(&mock.memory[rsdp..rsdp + 20]), 0);
    let rsdt = table(mock, mock.u32(rsdp + 16), b"RSDT");
    assert_eq!((&rsdt[10..16], u32_at(&rsdt, 24)), (&b"A M I "[..], 0x0900_0520));
    let fadt = table(mock, u32_at(&rsdt, 36), b"FACP");
    // SCI 9 and the PM registers; enable and disable values; PM timer.
    assert_eq!((fadt[46], u32_at(&fadt, 48), fadt[52], fadt[53]), (9, 0xB2, 0xE1, 0x1E));
    assert_eq!(
        (u32_at(&fadt, 56), u32_at(&fadt, 64), u32_at(&fadt, 76), u32_at(&fadt, 80)),
        (0x400, 0x404, 0x408, 0x40C)
    );
    let facs = u32_at(&fadt, 36) as usize;
    assert_eq!(&mock.memory[facs..facs + 4], b"FACS");
    assert_eq!(facs % 64, 0);
    table(mock, u32_at(&fadt, 40), b"DSDT")
}

#[test]
fn tables_are_linked() {
    assert!(dsdt(&Mock::posted()).len() > 1000);
}

#[test]
fn the_reference_compiler_accepts_the_dsdt() {
    if Command::new("iasl").arg("-v").output().is_err() {
        assert!(
            std::env::var_os("SLOTONE_CI").is_none_or(|v| v != "1"),
            "iasl (package acpica-tools) is needed in CI"
        );
        eprintln!("skipped: iasl (package acpica-tools) is not installed");
        return;
    }
    let folder = std::env::temp_dir().join(format!("slotone-dsdt-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let answer = round_trip(&folder, &dsdt(&Mock::posted()));
    std::fs::remove_dir_all(&folder).unwrap();
    if let Err(text) = answer {
        panic!("{text}");
    }
}

/// Disassembles the table, compiles the source again and compares.
fn round_trip(folder: &Path, dsdt: &[u8]) -> Result<(), String> {
    std::fs::write(folder.join("dsdt.aml"), dsdt).map_err(|e| e.to_string())?;
    let iasl = |arguments: &[&str]| {
        let output =
            Command::new("iasl").args(arguments).current_dir(folder).output().map_err(|e| e.to_string())?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        if output.status.success() { Ok(text) } else { Err(text) }
    };
    iasl(&["-d", "dsdt.aml"])?;
    let text = iasl(&["-oa", "-p", "again", "dsdt.dsl"])?;
    if !text.contains(" 0 Errors") {
        return Err(text);
    }
    let again = std::fs::read(folder.join("again.aml")).map_err(|e| e.to_string())?;
    // Creator and revision are the compiler's, and with them the checksum.
    let body = |bytes: &[u8]| bytes[36..].to_vec();
    if body(&again) != body(dsdt) {
        return Err(format!("the recompiled table differs: {} and {} bytes", again.len(), dsdt.len()));
    }
    println!("{text}");
    Ok(())
}
