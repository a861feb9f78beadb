//! A writer for small ISO 9660 images that boot by El Torito (no emulation), with ISOLINUX's boot information table.
//!
//! Level 1 names in two folder levels, no extensions: what ISOLINUX and Linux's isofs read. The same files give the same bytes.

use crate::error::{Error, Result};

/// Bytes of a logical sector.
const SECTOR: usize = 2048;
/// First sector of the volume descriptors (ECMA-119 6.7.1).
const DESCRIPTORS: u32 = 16;
const PATH_TABLE_L: u32 = 19;
const PATH_TABLE_M: u32 = 20;
const CATALOG: u32 = 21;
const FIRST_FOLDER: u32 = 22;
/// 1 January 2020, 00:00:00 UTC, as a directory record holds it (ECMA-119 9.1.5).
const RECORD_DATE: [u8; 7] = [120, 1, 1, 0, 0, 0, 0];
/// The same as a volume descriptor holds it (8.4.26.1).
const VOLUME_DATE: &[u8; 17] = b"2020010100000000\0";
const NO_DATE: &[u8; 17] = b"0000000000000000\0";

/// A file of the image: `FOLDER/NAME.EXT` or `NAME.EXT`, in capitals.
pub(crate) struct File {
    /// Path inside the image.
    pub(crate) path: String,
    /// Content.
    pub(crate) content: Vec<u8>,
}

struct Entry {
    name: Vec<u8>,
    at: u32,
    length: u32,
    folder: bool,
}

/// Builds the image; `boot` is the path of the file that the BIOS starts.
pub(crate) fn build(volume: &str, mut files: Vec<File>, boot: &str) -> Result<Vec<u8>> {
    files.sort_by(|a, b| a.path.cmp(&b.path));
    let mut folders: Vec<String> =
        files.iter().filter_map(|f| f.path.split_once('/')).map(|(folder, _)| folder.to_owned()).collect();
    folders.dedup();

    // Places: one sector for each folder (checked below), then the files.
    let mut next = FIRST_FOLDER + 1 + folders.len() as u32;
    let mut places = Vec::new();
    for file in &files {
        places.push(next);
        next += file.content.len().div_ceil(SECTOR) as u32;
    }
    let total = next;
    let boot_index = files
        .iter()
        .position(|file| file.path == boot)
        .ok_or_else(|| Error::Input(format!("no file {boot} to boot from")))?;
    boot_information(&mut files[boot_index].content, places[boot_index])?;

    let mut image = vec![0u8; total as usize * SECTOR];
    let folder_at = |index: usize| FIRST_FOLDER + 1 + index as u32;
    let record_of = |index: usize| {
        let (folder, name) = files[index].path.split_once('/').unwrap_or(("", &files[index].path));
        let mut id = name.as_bytes().to_vec();
        id.extend_from_slice(if name.contains('.') { b";1" } else { b".;1" });
        let entry =
            Entry { name: id, at: places[index], length: files[index].content.len() as u32, folder: false };
        (folder.to_owned(), entry)
    };
    let mut root: Vec<Entry> = folders
        .iter()
        .enumerate()
        .map(|(i, name)| Entry {
            name: name.as_bytes().to_vec(),
            at: folder_at(i),
            length: SECTOR as u32,
            folder: true,
        })
        .collect();
    let mut inside: Vec<Vec<Entry>> = folders.iter().map(|_| Vec::new()).collect();
    for index in 0..files.len() {
        let (folder, entry) = record_of(index);
        match folders.iter().position(|name| *name == folder) {
            Some(place) => inside[place].push(entry),
            None => root.push(entry),
        }
    }
    put(&mut image, FIRST_FOLDER, &directory(FIRST_FOLDER, FIRST_FOLDER, root)?);
    for (index, entries) in inside.into_iter().enumerate() {
        put(&mut image, folder_at(index), &directory(folder_at(index), FIRST_FOLDER, entries)?);
    }

    let mut tables = [Vec::new(), Vec::new()];
    for (index, name) in ["\0"].into_iter().chain(folders.iter().map(String::as_str)).enumerate() {
        let at = FIRST_FOLDER + index as u32;
        for (big, table) in tables.iter_mut().enumerate() {
            table.extend_from_slice(&[name.len() as u8, 0]);
            table.extend_from_slice(&if big == 1 { at.to_be_bytes() } else { at.to_le_bytes() });
            table.extend_from_slice(&if big == 1 { 1u16.to_be_bytes() } else { 1u16.to_le_bytes() });
            table.extend_from_slice(name.as_bytes());
            table.resize(table.len().next_multiple_of(2), 0);
        }
    }
    put(&mut image, PATH_TABLE_L, &tables[0]);
    put(&mut image, PATH_TABLE_M, &tables[1]);
    put(&mut image, DESCRIPTORS, &primary(volume, total, tables[0].len() as u32));
    put(&mut image, DESCRIPTORS + 1, &boot_record());
    put(&mut image, DESCRIPTORS + 2, b"\xffCD001\x01");
    put(&mut image, CATALOG, &catalog(places[boot_index]));
    for (file, at) in files.iter().zip(&places) {
        put(&mut image, *at, &file.content);
    }
    Ok(image)
}

fn put(image: &mut [u8], sector: u32, content: &[u8]) {
    let at = sector as usize * SECTOR;
    image[at..at + content.len()].copy_from_slice(content);
}

fn both16(value: u16) -> [u8; 4] {
    let (l, b) = (value.to_le_bytes(), value.to_be_bytes());
    [l[0], l[1], b[0], b[1]]
}

fn both32(value: u32) -> [u8; 8] {
    let (l, b) = (value.to_le_bytes(), value.to_be_bytes());
    [l[0], l[1], l[2], l[3], b[0], b[1], b[2], b[3]]
}

/// A directory record (ECMA-119 9.1).
fn record(entry: &Entry) -> Vec<u8> {
    let mut out = vec![0, 0];
    out.extend_from_slice(&both32(entry.at));
    out.extend_from_slice(&both32(entry.length));
    out.extend_from_slice(&RECORD_DATE);
    out.extend_from_slice(&[if entry.folder { 2 } else { 0 }, 0, 0]);
    out.extend_from_slice(&both16(1));
    out.push(entry.name.len() as u8);
    out.extend_from_slice(&entry.name);
    out.resize(out.len().next_multiple_of(2), 0);
    out[0] = out.len() as u8;
    out
}

fn directory(own: u32, parent: u32, mut entries: Vec<Entry>) -> Result<Vec<u8>> {
    entries.sort_by(|a, b| a.name.cmp(&b.name));
    let link = |name: u8, at| Entry { name: vec![name], at, length: SECTOR as u32, folder: true };
    let mut out = Vec::new();
    for entry in [link(0, own), link(1, parent)].iter().chain(&entries) {
        out.extend(record(entry));
    }
    if out.len() > SECTOR {
        return Err(Error::Input("a folder of the ISO image outgrew its sector".into()));
    }
    Ok(out)
}

/// The primary volume descriptor (ECMA-119 8.4).
fn primary(volume: &str, sectors: u32, path_table: u32) -> Vec<u8> {
    let mut out = b"\x01CD001\x01\0".to_vec();
    let text = |out: &mut Vec<u8>, text: &str, length: usize| {
        let end = out.len() + length;
        out.extend(text.bytes().take(length));
        out.resize(end, b' ');
    };
    text(&mut out, "", 32);
    text(&mut out, volume, 32);
    out.extend_from_slice(&[0; 8]);
    out.extend_from_slice(&both32(sectors));
    out.extend_from_slice(&[0; 32]);
    out.extend_from_slice(&both16(1));
    out.extend_from_slice(&both16(1));
    out.extend_from_slice(&both16(SECTOR as u16));
    out.extend_from_slice(&both32(path_table));
    out.extend_from_slice(&PATH_TABLE_L.to_le_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&PATH_TABLE_M.to_be_bytes());
    out.extend_from_slice(&[0; 4]);
    out.extend(record(&Entry { name: vec![0], at: FIRST_FOLDER, length: SECTOR as u32, folder: true }));
    text(&mut out, "", 128 * 4 + 37 * 3);
    out.extend_from_slice(VOLUME_DATE);
    out.extend_from_slice(VOLUME_DATE);
    out.extend_from_slice(NO_DATE);
    out.extend_from_slice(NO_DATE);
    out.push(1);
    out
}

/// The boot record volume descriptor (El Torito 1.0, figure 7).
fn boot_record() -> Vec<u8> {
    let mut out = b"\0CD001\x01EL TORITO SPECIFICATION".to_vec();
    out.resize(0x47, 0);
    out.extend_from_slice(&CATALOG.to_le_bytes());
    out
}

/// The boot catalog: validation entry and default entry, no emulation, four 512-byte sectors to 07C0:0000 (figures 2 and 3).
fn catalog(boot: u32) -> Vec<u8> {
    let mut out = vec![1, 0, 0, 0];
    out.extend_from_slice(b"SLOT ONE");
    out.resize(0x1e, 0);
    out.extend_from_slice(&[0x55, 0xaa]);
    let sum =
        out.chunks_exact(2).fold(0u16, |sum, word| sum.wrapping_add(u16::from_le_bytes([word[0], word[1]])));
    out[0x1c..0x1e].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    out.extend_from_slice(&[0x88, 0, 0, 0, 0, 0, 4, 0]);
    out.extend_from_slice(&boot.to_le_bytes());
    out
}

/// Fills in what ISOLINUX wants at offset 8 of its boot file: where the volume and the file itself are, and a checksum.
fn boot_information(file: &mut Vec<u8>, at: u32) -> Result<()> {
    if file.len() < 64 {
        return Err(Error::Input("the boot file is too short for a boot information table".into()));
    }
    let length = file.len() as u32;
    file.resize(file.len().next_multiple_of(4), 0);
    let sum = file[64..]
        .chunks_exact(4)
        .fold(0u32, |sum, word| sum.wrapping_add(u32::from_le_bytes([word[0], word[1], word[2], word[3]])));
    file.truncate(length as usize);
    for (index, value) in [DESCRIPTORS, at, length, sum].iter().enumerate() {
        file[8 + 4 * index..12 + 4 * index].copy_from_slice(&value.to_le_bytes());
    }
    file[24..64].fill(0);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_image_has_its_parts_where_the_standards_put_them() {
        let files = vec![
            File { path: "GT/DATA.BIN".into(), content: vec![9; 3000] },
            File { path: "BOOT.BIN".into(), content: (0..200).collect() },
        ];
        let image = build("TEST", files, "BOOT.BIN").unwrap();
        assert_eq!(image.len() % SECTOR, 0);
        assert_eq!(&image[16 * SECTOR..][..6], b"\x01CD001");
        assert_eq!(image[16 * SECTOR + 80..][..4], (image.len() as u32 / 2048).to_le_bytes());
        assert_eq!(&image[16 * SECTOR + 813..][..17], VOLUME_DATE);
        let catalog = u32::from_le_bytes(image[17 * SECTOR + 0x47..][..4].try_into().unwrap()) as usize;
        let words = image[catalog * SECTOR..][..32].chunks_exact(2);
        assert_eq!(words.fold(0u16, |s, w| s.wrapping_add(u16::from_le_bytes([w[0], w[1]]))), 0);
        let boot = u32::from_le_bytes(image[catalog * SECTOR + 0x28..][..4].try_into().unwrap());
        let file = &image[boot as usize * SECTOR..][..200];
        assert_eq!(file[12..16], boot.to_le_bytes());
        assert_eq!(file[16..20], 200u32.to_le_bytes());
        assert_eq!(file[64..], (64..200).collect::<Vec<u8>>());
    }
}
