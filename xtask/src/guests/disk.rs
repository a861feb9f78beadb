//! Disk images: a master boot record with GRUB behind it, a FAT partition to boot from, and a partition for tests to write to.

use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use slotone_vhd::{CreateOptions, DiskId};

use super::apt::{self, Packages};
use crate::error::{Error, IoContext, Result};

/// Bytes of a sector.
const SECTOR: usize = 512;
/// Sectors of a disk of 2 GiB: 4161 cylinders, 16 heads, 63 sectors, a size that VHD's geometry rule keeps as it is.
pub(crate) const SMALL: u64 = 4161 * 16 * 63;
/// Sectors of the largest disk that VHD's geometry, and so the original's IDE, can tell: 65,535 cylinders, 16 heads, 255 sectors (127.5 GiB).
pub(crate) const LARGEST: u64 = 65_535 * 16 * 255;
/// Bytes written in one go; all-zero ones are left out.
const PAGE: usize = 64 * SECTOR;
/// Seconds from 1 January 2000 to 1 January 2020, for reproducible footers.
const CREATED: u32 = 631_152_000;
/// First sector of the boot partition; GRUB's core lies before it.
const BOOT_START: u64 = 2048;
/// First sector of the scratch partition.
const SCRATCH_START: u64 = 64 * 2048;
/// What the test guest looks for before it writes.
const SCRATCH_MARK: &[u8; 16] = b"SlotOne scratch ";
/// Partition types: FAT16 by LBA, and data without a file system.
const TYPE_FAT16_LBA: u8 = 0x0e;
const TYPE_DATA: u8 = 0xda;
/// GRUB modules in the core: BIOS disks, this partition table and file system, the menu, and Linux.
const GRUB_MODULES: &[&str] =
    &["biosdisk", "part_msdos", "fat", "normal", "linux", "halt", "reboot", "echo", "test"];
/// Where core.img's first sector says which sectors follow (u64 start, u16 count, u16 segment).
const CORE_BLOCK_LIST: usize = 0x1f4;
/// Where boot.img says which sector core.img starts at (u64).
const BOOT_KERNEL_SECTOR: usize = 0x5c;

/// GRUB's boot sector and core, made with the fetched package's own `grub-mkimage`.
pub(crate) struct Grub {
    boot: Vec<u8>,
    core: Vec<u8>,
}

impl Grub {
    /// Unpacks the packages below `work` and makes the core.
    pub(crate) fn build(packages: &Packages, work: &Path, pc_bin: &str, libraries: &[&str]) -> Result<Self> {
        let tree = work.join("grub");
        for package in ["grub-common", pc_bin].iter().chain(libraries) {
            apt::unpack(packages.deb(package)?, &tree)?;
        }
        let modules = tree.join("usr/lib/grub/i386-pc");
        let core = work.join("core.img");
        apt::run(
            Command::new(tree.join("usr/bin/grub-mkimage"))
                .env("LD_LIBRARY_PATH", library_path(&tree)?)
                .args(["-O", "i386-pc", "-p", "(hd0,msdos1)/boot/grub", "-d"])
                .arg(&modules)
                .arg("-o")
                .arg(&core)
                .args(GRUB_MODULES),
        )?;
        let boot = modules.join("boot.img");
        Ok(Self { boot: fs::read(&boot).at(&boot)?, core: fs::read(&core).at(&core)? })
    }
}

/// The folders below `tree` that hold shared libraries.
fn library_path(tree: &Path) -> Result<std::ffi::OsString> {
    let mut folders: Vec<PathBuf> = Vec::new();
    for base in ["lib", "usr/lib"] {
        let base = tree.join(base);
        let Ok(entries) = fs::read_dir(&base) else { continue };
        for entry in entries {
            let path = entry.at(&base)?.path();
            if path.file_name().is_some_and(|name| name.to_string_lossy().contains("-linux-gnu")) {
                folders.push(path);
            }
        }
    }
    std::env::join_paths(folders).map_err(|e| Error::Input(e.to_string()))
}

/// A disk as runs of sectors; what is in no run is zero.
pub(crate) struct Disk {
    sectors: u64,
    runs: Vec<(u64, Vec<u8>)>,
}

impl Disk {
    /// A disk of so many sectors that boots GRUB and holds `files` (path and content) on its FAT partition. The scratch partition is all the rest.
    pub(crate) fn build(grub: &Grub, files: &[(&str, &[u8])], sectors: u64) -> Result<Self> {
        let mut head = vec![0u8; SECTOR];
        if grub.boot.len() != SECTOR || grub.core.len() < 2 * SECTOR {
            return Err(Error::Input("GRUB's boot.img or core.img has an unexpected size".into()));
        }
        head[..440].copy_from_slice(&grub.boot[..440]);
        head[BOOT_KERNEL_SECTOR..BOOT_KERNEL_SECTOR + 8].copy_from_slice(&1u64.to_le_bytes());
        head[440..444].copy_from_slice(b"SLT1");
        head[446..462].copy_from_slice(&partition(
            0x80,
            TYPE_FAT16_LBA,
            BOOT_START,
            SCRATCH_START - BOOT_START,
        ));
        head[462..478].copy_from_slice(&partition(0, TYPE_DATA, SCRATCH_START, sectors - SCRATCH_START));
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        let mut core = grub.core.clone();
        core.resize(core.len().next_multiple_of(SECTOR), 0);
        if core.len() / SECTOR >= BOOT_START as usize {
            return Err(Error::Input("GRUB's core does not fit before the first partition".into()));
        }
        core[CORE_BLOCK_LIST..CORE_BLOCK_LIST + 8].copy_from_slice(&2u64.to_le_bytes());
        let rest = (core.len() / SECTOR - 1) as u16;
        core[CORE_BLOCK_LIST + 8..CORE_BLOCK_LIST + 10].copy_from_slice(&rest.to_le_bytes());
        head.extend_from_slice(&core);
        Ok(Self {
            sectors,
            runs: vec![
                (0, head),
                (BOOT_START, fat(files)?),
                (SCRATCH_START, SCRATCH_MARK.iter().copied().chain([0; SECTOR - 16]).collect()),
            ],
        })
    }

    /// Writes the disk as a dynamic VHD; the same disk gives the same bytes.
    pub(crate) fn write_vhd(&self, path: &Path, id: [u8; 16]) -> Result<()> {
        let partial = path.with_extension("vhd.partial");
        if partial.exists() {
            fs::remove_file(&partial).at(&partial)?;
        }
        let failed = |e: &dyn std::fmt::Display| Error::Input(e.to_string());
        let vhd = CreateOptions::dynamic(self.sectors * SECTOR as u64)
            .id(DiskId(id))
            .time_stamp(CREATED)
            .create(&partial)
            .map_err(|e| failed(&e))?;
        for (start, data) in &self.runs {
            for (index, page) in data.chunks(PAGE).enumerate() {
                if page.iter().any(|byte| *byte != 0) {
                    let at = start * SECTOR as u64 + (index * PAGE) as u64;
                    slotone_block::write_all(&vhd, at, page).map_err(|e| failed(&e))?;
                }
            }
        }
        vhd.close().map_err(|e| failed(&e))?;
        fs::rename(&partial, path).at(path)
    }
}

/// An MBR partition entry; cylinder, head and sector as a BIOS with 255 heads counts them, the greatest value beyond its reach.
fn partition(active: u8, kind: u8, start: u64, sectors: u64) -> [u8; 16] {
    let chs = |lba: u64| -> [u8; 3] {
        let (cylinder, head, sector) = (lba / (255 * 63), lba / 63 % 255, lba % 63 + 1);
        if cylinder > 1023 {
            [254, 0xff, 0xff]
        } else {
            [head as u8, (sector | (cylinder >> 2 & 0xc0)) as u8, cylinder as u8]
        }
    };
    let mut out = [0; 16];
    out[0] = active;
    out[1..4].copy_from_slice(&chs(start));
    out[4] = kind;
    out[5..8].copy_from_slice(&chs(start + sectors - 1));
    out[8..12].copy_from_slice(&(start as u32).to_le_bytes());
    out[12..16].copy_from_slice(&(sectors as u32).to_le_bytes());
    out
}

/// The boot partition's content.
fn fat(files: &[(&str, &[u8])]) -> Result<Vec<u8>> {
    let mut volume = Cursor::new(vec![0u8; (SCRATCH_START - BOOT_START) as usize * SECTOR]);
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat16)
        .volume_id(0x510f_0001)
        .volume_label(*b"SLOT ONE   ")
        .bytes_per_cluster(4096);
    fatfs::format_volume(&mut volume, options).at("FAT volume")?;
    volume.set_position(0);
    {
        let system = fatfs::FileSystem::new(&mut volume, fatfs::FsOptions::new()).at("FAT volume")?;
        for (path, content) in files {
            let mut folder = system.root_dir();
            let mut parts: Vec<&str> = path.split('/').collect();
            let name = parts.pop().unwrap_or_default();
            for part in parts {
                folder = folder.create_dir(part).at(path)?;
            }
            folder.create_file(name).at(path)?.write_all(content).at(path)?;
        }
        system.unmount().at("FAT volume")?;
    }
    let mut data = volume.into_inner();
    // Hidden sectors: where the volume lies on the disk (FAT specification, BPB_HiddSec).
    data[0x1c..0x20].copy_from_slice(&(BOOT_START as u32).to_le_bytes());
    Ok(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_disk_has_its_partitions_and_files() {
        let grub = Grub { boot: vec![1; 512], core: vec![2; 3 * 512 + 5] };
        let disk =
            Disk::build(&grub, &[("boot/grub/grub.cfg", b"menu"), ("boot/kernel", &[7; 5000])], LARGEST)
                .unwrap();
        let head = &disk.runs[0].1;
        assert_eq!(head.len(), 5 * 512);
        assert_eq!(head[510..512], [0x55, 0xaa]);
        assert_eq!(head[0x5c..0x64], 1u64.to_le_bytes());
        assert_eq!(
            u64::from(u32::from_le_bytes(head[474..478].try_into().unwrap())),
            LARGEST - SCRATCH_START
        );
        assert_eq!(head[512 + 0x1f4..][..10], [2, 0, 0, 0, 0, 0, 0, 0, 3, 0]);
        let system =
            fatfs::FileSystem::new(Cursor::new(disk.runs[1].1.clone()), fatfs::FsOptions::new()).unwrap();
        let mut text = String::new();
        std::io::Read::read_to_string(
            &mut system.root_dir().open_file("boot/grub/grub.cfg").unwrap(),
            &mut text,
        )
        .unwrap();
        assert_eq!(text, "menu");
        assert_eq!(&disk.runs[2].1[..16], SCRATCH_MARK);
    }

    #[test]
    fn partitions_out_of_reach_of_chs_say_so() {
        assert_eq!(partition(0, 1, 63, 1)[1..4], [1, 1, 0]);
        assert_eq!(partition(0, 1, 1024 * 255 * 63, 1)[1..4], [254, 0xff, 0xff]);
    }
}
