//! A disk that fails on the host: the user hears why.
#![cfg(unix)]

use std::process::{Command, Stdio};

use slotone_block::write_all;
use slotone_vhd::CreateOptions;

/// Writes the sector at 7C00 to where the packet at 7C60 says, and says "w" on COM1 if the carry flag tells of an error.
const WRITER: &[u8] = &[
    0x31, 0xc0, // xor ax, ax
    0x8e, 0xd8, // mov ds, ax
    0xbe, 0x60, 0x7c, // mov si, 7c60h
    0xb8, 0x00, 0x43, // mov ax, 4300h: write by packet
    0xba, 0x80, 0x00, // mov dx, 80h
    0xcd, 0x13, // int 13h
    0x73, 0x0c, // jnc to the sti
    0xba, 0xfb, 0x03, 0xb0, 0x03, 0xee, // LCR: 8 bits
    0xba, 0xf8, 0x03, 0xb0, b'w', 0xee, // out 3f8h
    0xfb, 0xf4, 0xeb, 0xfd, // sti; hlt; jmp to the hlt
];

/// The image may not grow: a limit of the process, as a full disk would need root to be made.
#[test]
fn the_reason_is_told_once_and_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("d.vhd");
    let disk = CreateOptions::dynamic(32 << 20).create(&path).unwrap();
    let mut boot = [0; 512];
    boot[..WRITER.len()].copy_from_slice(WRITER);
    boot[0x60..0x68].copy_from_slice(&[16, 0, 1, 0, 0x00, 0x7c, 0, 0]);
    boot[0x68..0x70].copy_from_slice(&20_000u64.to_le_bytes());
    boot[510..].copy_from_slice(&[0x55, 0xaa]);
    write_all(&disk, 0, &boot).unwrap();
    disk.close().unwrap();
    let blocks = std::fs::metadata(&path).unwrap().len().div_ceil(512);

    let out = Command::new("sh")
        .args(["-c", &format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$@\""), "sh"])
        .arg(env!("CARGO_BIN_EXE_virtual-server-2005"))
        .args([
            "--memory",
            "8",
            "--serial",
            "stdio",
            "--screen",
            "none",
            "--expect",
            "w",
            "--exit-after",
            "20",
        ])
        .arg("--hda")
        .arg(&path)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&out.stderr);
    let lines: Vec<&str> = said.lines().filter(|line| line.contains("d.vhd")).collect();
    assert_eq!(lines.len(), 1, "{said}");
    assert!(lines[0].contains(path.to_str().unwrap()) && lines[0].contains("write failed"), "{said}");
    assert_eq!((&*out.stdout, out.status.code()), (&b"w"[..], Some(0)), "{said}");
}
