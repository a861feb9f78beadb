//! Virtual hard disks part by part: `vhd_footer`, `vhd_header` and `vhd_locators` beside a reading of the same bytes by the specification, then
//! in a whole image; `vhd_chain` builds images whose parents lead anywhere, beside a model of which chains there are and what they hold.
//! `vhd.rs` has the whole images: `vhd_open` is the one that opens, reads, writes, closes and opens again.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use slotone_block::{read_exact, write_all};
use slotone_vhd::format::{
    Footer, Header, LOCATORS, Locator, Platform, file_url, relative_windows, to_host_path,
};
use slotone_vhd::{
    CreateOptions, DiskId, ErrorKind, MemResolver, MemStorage, OpenOptions, Storage, check_storage,
};

use super::vhd::{one_image, options, parent};
use super::{Reader, text};

fn be<const N: usize>(raw: &[u8], at: usize) -> u64 {
    raw[at..at + N].iter().fold(0, |n, byte| n << 8 | u64::from(*byte))
}

/// The checksum of `raw` without the four bytes at `at`.
fn sum(raw: &[u8], at: usize) -> u32 {
    let all = raw.iter().enumerate().filter(|(i, _)| !(at..at + 4).contains(i));
    !all.fold(0u32, |sum, (_, byte)| sum.wrapping_add(u32::from(*byte)))
}

fn put_sum(raw: &mut [u8], at: usize) {
    let sum = sum(raw, at);
    raw[at..at + 4].copy_from_slice(&sum.to_be_bytes());
}

fn filled<const N: usize>(data: &[u8]) -> [u8; N] {
    let mut raw = [0; N];
    let n = data.len().min(N);
    raw[..n].copy_from_slice(&data[..n]);
    raw
}

/// A dynamic image of 64 blocks of 4 KiB with one written, or a child of [`parent`].
fn good_image(child: bool) -> Vec<u8> {
    let base = parent();
    let storage = Arc::new(MemStorage::new());
    let view = options(&base).read_only(true).open_storage(base.clone(), "/p.vhd").expect("the parent opens");
    let create =
        if child { CreateOptions::differencing("/p.vhd") } else { CreateOptions::dynamic(64 * 4096) };
    let create = create.block_size(4096).id(DiskId([1; 16])).time_stamp(1).aligned(false);
    let disk = create.create_in(storage.clone(), "/d.vhd", &options(&base), child.then_some(&view));
    let disk = disk.expect("a disk can be created in memory");
    write_all(&disk, 4096, &[6; 512]).expect("room in memory");
    disk.close().expect("room in memory");
    storage.to_vec()
}

fn one_footer(raw: &[u8; 512]) {
    let mut seen = *raw;
    seen[85] = 0; // XenServer's "hidden"
    let stored = be::<4>(raw, 64) as u32;
    let right = stored == sum(raw, 64) || stored == sum(&seen, 64);
    let parsed = Footer::parse(raw);
    let expected = match (&raw[..8], be::<2>(raw, 12), right) {
        (b"v_poison", ..) => matches!(parsed, Err(ErrorKind::Poisoned)),
        (b"conectix", 1, true) => parsed.is_ok(),
        (b"conectix", 1, false) => matches!(parsed, Err(ErrorKind::FooterChecksum { .. })),
        (b"conectix", ..) => matches!(parsed, Err(ErrorKind::UnsupportedVersion { .. })),
        _ => matches!(parsed, Err(ErrorKind::NotVhd)),
    };
    assert!(expected, "a footer that is read as {parsed:?}");
    let Ok(mut footer) = Footer::parse_unverified(raw) else { return };
    assert_eq!(footer.checksums(), (stored, sum(raw, 64)));
    assert_eq!(footer.data_offset(), be::<8>(raw, 16));
    assert_eq!(u64::from(footer.time_stamp()), be::<4>(raw, 24));
    assert_eq!(footer.creator(), raw[28..32]);
    assert_eq!((footer.original_size(), footer.current_size()), (be::<8>(raw, 40), be::<8>(raw, 48)));
    assert_eq!(footer.geometry().cylinders, be::<2>(raw, 56) as u16);
    assert_eq!(u64::from(footer.disk_type_code()), be::<4>(raw, 60));
    assert_eq!(footer.id().0, raw[68..84]);
    assert_eq!((footer.temporary(), footer.saved_state()), (raw[11] & 1 != 0, raw[84] == 1));
    let size = be::<8>(raw, 48);
    match footer.checked_size() {
        Ok(found) => {
            let limit = if raw[63] == 2 { i64::MAX as u64 } else { 2040 << 30 };
            assert!(found == size && size > 0 && size.is_multiple_of(512) && size <= limit, "{size}");
        }
        Err(ErrorKind::UnsupportedType(kind)) => assert!(!(2..=4).contains(&kind)),
        Err(e) => assert!(size == 0 || !size.is_multiple_of(512) || size > 2040 << 30, "{size}: {e}"),
    }
    let by_creator = footer.size_by_creator();
    let g = footer.geometry();
    let chs = u64::from(g.cylinders) * u64::from(g.heads) * u64::from(g.sectors) * 512;
    assert!(by_creator == size || by_creator == chs, "{by_creator}");
    let mut again = *raw;
    put_sum(&mut again, 64);
    assert!(footer.to_bytes() == again, "a footer is written otherwise than it was read");
    for size in [size, size / 512 * 512, u64::MAX] {
        footer.set_size(size);
        let g = footer.geometry();
        let chs = u64::from(g.cylinders) * u64::from(g.heads) * u64::from(g.sectors) * 512;
        assert!(chs <= size.max(68 * 512 * 17), "a geometry of {chs} bytes for {size}");
        assert_eq!(footer.current_size(), size);
    }
    footer.set_saved_state(true);
    footer.set_temporary(true);
    let again = Footer::parse(&footer.to_bytes()).expect("what was written is read");
    assert!(again.saved_state() && again.temporary());
}

/// A footer: 512 bytes, as they are and with the right checksum; then as the footer of a fixed image and as both of a dynamic one.
pub fn vhd_footer(input: &[u8]) {
    let mut raw = filled::<512>(&text::bytes(input));
    one_footer(&raw);
    put_sum(&mut raw, 64);
    one_footer(&raw);
    let mut fixed = vec![3; 8 * 512];
    fixed.extend(raw);
    one_image(&fixed);
    let mut dynamic = good_image(raw[63] == 4);
    let tail = dynamic.len() - 512;
    dynamic[tail..].copy_from_slice(&raw);
    one_image(&dynamic);
    dynamic[..512].copy_from_slice(&raw);
    one_image(&dynamic);
}

fn one_header(raw: &[u8; 1024]) {
    let right = be::<4>(raw, 36) as u32 == sum(raw, 36);
    let block = be::<4>(raw, 32);
    let good_block = block.is_power_of_two() && (512..=256 << 20).contains(&block);
    let parsed = Header::parse(raw, 512);
    let expected = match (&raw[..8] == b"cxsparse", be::<2>(raw, 24), good_block, right) {
        (false, ..) => matches!(parsed, Err(ErrorKind::NoHeader { offset: 512 })),
        (true, 1, false, _) => matches!(parsed, Err(ErrorKind::InvalidBlockSize(_))),
        (true, 1, true, false) => matches!(parsed, Err(ErrorKind::HeaderChecksum { .. })),
        (true, 1, true, true) => parsed.is_ok(),
        (true, ..) => matches!(parsed, Err(ErrorKind::UnsupportedVersion { .. })),
    };
    assert!(expected, "a header that is read as {parsed:?}");
    let Ok(mut header) = Header::parse_unverified(raw, 512) else { return };
    assert_eq!((header.next_header(), header.table_offset()), (be::<8>(raw, 8), be::<8>(raw, 16)));
    assert_eq!(u64::from(header.max_table_entries()), be::<4>(raw, 28));
    assert_eq!(
        (header.parent_id().0, header.parent_time_stamp()),
        (filled(&raw[40..56]), be::<4>(raw, 56) as u32)
    );
    let name = header.parent_name();
    assert!(name.encode_utf16().count() <= 256 && !name.contains('\0'), "{name:?}");
    for (i, locator) in header.locators().iter().enumerate() {
        let at = 576 + i * 24;
        assert_eq!(
            (locator.data_length, locator.offset),
            (be::<4>(raw, at + 8) as u32, be::<8>(raw, at + 16))
        );
        assert!(locator.space() >= locator.data_length.into(), "{locator:?}");
    }
    let mut again = *raw;
    put_sum(&mut again, 36);
    assert!(header.to_bytes() == again, "a header is written otherwise than it was read");
    header.set_parent(DiskId([4; 16]), 5, &name);
    let again = Header::parse(&header.to_bytes(), 512).expect("what was written is read");
    let kept: Vec<u16> = name.encode_utf16().take(255).collect();
    assert_eq!(again.parent_name(), String::from_utf16_lossy(&kept));
    assert_eq!((again.parent_id(), again.parent_time_stamp()), (DiskId([4; 16]), 5));
}

/// A dynamic header: 1024 bytes, as they are and with the right checksum; then in an image.
pub fn vhd_header(input: &[u8]) {
    let mut raw = filled::<1024>(&text::bytes(input));
    one_header(&raw);
    put_sum(&mut raw, 36);
    one_header(&raw);
    for child in [false, true] {
        let mut image = good_image(child);
        image[512..1536].copy_from_slice(&raw);
        one_image(&image);
    }
}

const PLATFORMS: [Platform; 6] = [
    Platform::RelativeUnicode,
    Platform::AbsoluteUnicode,
    Platform::RelativeAnsi,
    Platform::AbsoluteAnsi,
    Platform::MacUrl,
    Platform::None,
];

/// What stands between percent signs of a URL, by the letter.
fn decoded(url: &str) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    let mut rest = url.as_bytes();
    while let Some((first, more)) = rest.split_first() {
        rest = more;
        let byte = match first {
            b'%' => {
                let [a, b] = [0, 1].map(|i| rest.get(i).and_then(|c| char::from(*c).to_digit(16)));
                rest = rest.get(2..)?;
                (a? << 4 | b?) as u8
            }
            other => *other,
        };
        out.push(byte);
    }
    Some(out)
}

fn one_path(platform: Platform, path: &str) {
    let found = to_host_path(platform, path);
    if platform == Platform::MacUrl {
        let rest = path.strip_prefix("file://").map(|rest| rest.strip_prefix("localhost").unwrap_or(rest));
        let named = rest.filter(|rest| rest.starts_with(['/', '.']));
        let expected = named.and_then(decoded).and_then(|bytes| String::from_utf8(bytes).ok());
        assert_eq!(found, expected.map(PathBuf::from), "{path:?}");
    }
    // What this crate writes it reads again.
    let plain = |c: &char| !matches!(c, '/' | '\\' | '\0');
    let name: String = path.chars().filter(plain).take(40).collect();
    let target = Path::new("/base/dir").join(if name.is_empty() { "x" } else { &name });
    let url = file_url(&target);
    assert_eq!(to_host_path(Platform::MacUrl, &url).as_deref(), Some(&*target), "{url}");
    if name != "." && name != ".." {
        for base in ["/", "/base", "/base/dir", "/base/other/deep"] {
            let windows = relative_windows(Path::new(base), &target).expect("one root");
            let back = to_host_path(Platform::RelativeUnicode, &windows).expect("a relative path");
            let mut walked = PathBuf::from(base);
            for part in back.components() {
                match part {
                    Component::ParentDir => assert!(walked.pop(), "{windows} leaves the root"),
                    Component::CurDir => {}
                    part => walked.push(part),
                }
            }
            assert_eq!(walked, target, "{windows} from {base}");
        }
    }
}

/// Locators: a count, then for each its kind, room, length and place in the file; the rest of the input is what stands where the first
/// good one points. Paths are read as the crate writes them, and the image that has the locators is opened, written and opened again.
pub fn vhd_locators(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut input = Reader(&bytes);
    let mut image = good_image(true);
    let mut header = Header::parse(&filled(&image[512..1536]), 512).expect("a good image");
    let count = usize::from(input.u8()) % (LOCATORS + 1);
    let mut places = Vec::new();
    for index in 0..count {
        let platform = PLATFORMS[usize::from(input.u8()) % PLATFORMS.len()];
        let (data_space, data_length) = (input.u32(), input.u32());
        // Near the image, or anywhere.
        let offset = match input.u8() {
            0 => u64::from_le_bytes(input.array()),
            n => u64::from(n) * 512 + u64::from(input.u16() % 512),
        };
        // Lengths that fit a path are what is interesting, mostly.
        let data_length = if data_length & 0x8000 == 0 { data_length % 600 } else { data_length };
        places.push((platform, data_length, offset));
        header.set_locator(index, Locator { platform, data_space, data_length, offset });
    }
    for (platform, length, offset) in places {
        let data = input.0;
        let locator = Locator { platform, data_length: length, ..Locator::NONE };
        if let Some(path) = locator.text(data) {
            assert!(!path.is_empty() && !path.contains('\0'), "{path:?}");
            assert!(path.chars().count() <= data.len());
            one_path(platform, &path);
        }
        // Not over the headers and the table: those are other targets' business.
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if at >= 2048 && at < image.len() - 512 {
            let n = data.len().min(image.len() - 512 - at).min(length as usize);
            image[at..at + n].copy_from_slice(&data[..n]);
        }
    }
    image[512..1536].copy_from_slice(&header.to_bytes());
    one_image(&image);
}

/// Sectors of the largest disk of a chain, and the most images.
const SECTORS: u64 = 64;
const IMAGES: usize = 6;

struct Link {
    /// Fixed, dynamic or differencing, by its number.
    kind: u8,
    id: u8,
    wants: u8,
    sectors: u64,
    /// What was written to it.
    written: Vec<(u64, u8)>,
    damaged: bool,
}

impl Link {
    fn read(input: &mut Reader<'_>) -> Self {
        let (shape, id, wants) = (input.u8(), input.u8() % 8, input.u8() % 8);
        let sectors = SECTORS - u64::from(input.u8() % 8) * 8;
        let written = (0..shape >> 4).map(|_| (u64::from(input.u8()) % sectors, input.u8())).collect();
        Self {
            kind: if shape & 3 < 2 { 4 } else { shape & 3 },
            id,
            wants,
            sectors,
            written,
            damaged: shape & 12 == 12,
        }
    }

    /// The image's bytes: created like any other, then its ids are changed.
    fn image(&self) -> Vec<u8> {
        let storage = Arc::new(MemStorage::new());
        let size = self.sectors * 512;
        let create = match self.kind {
            2 => CreateOptions::fixed(size),
            3 => CreateOptions::dynamic(size),
            _ => CreateOptions::differencing("/p.vhd").size(size),
        };
        let create = create.block_size(4096).id(DiskId([9; 16])).time_stamp(1).aligned(false);
        let base = Arc::new(MemStorage::new());
        let none = CreateOptions::dynamic(512).block_size(4096).id(DiskId([8; 16])).time_stamp(1);
        none.create_in(base.clone(), "/p.vhd", &OpenOptions::new(), None)
            .expect("a parent")
            .close()
            .expect("in memory");
        let images = vec![(PathBuf::from("/p.vhd"), base.clone() as Arc<dyn Storage>)];
        let open = OpenOptions::new().read_only(true).resolver(Arc::new(MemResolver { images }));
        let view = open.open_storage(base, "/p.vhd").expect("the parent opens");
        let view = (self.kind == 4).then_some(&view);
        let disk = create.create_in(storage.clone(), "/d.vhd", &open.clone().read_only(false), view);
        let disk = disk.expect("a disk can be created in memory");
        for (sector, value) in &self.written {
            write_all(&disk, sector * 512, &[*value; 512]).expect("room in memory");
        }
        disk.close().expect("room in memory");
        let mut bytes = storage.to_vec();
        let tail = bytes.len() - 512;
        for at in [0, tail].into_iter().skip(usize::from(self.kind == 2)) {
            let mut footer = Footer::parse(&filled(&bytes[at..at + 512])).expect("a footer");
            footer.set_id(DiskId([self.id; 16]));
            bytes[at..at + 512].copy_from_slice(&footer.to_bytes());
        }
        if self.kind != 2 {
            let mut header = Header::parse(&filled(&bytes[512..1536]), 512).expect("a header");
            header.set_parent(DiskId([self.wants; 16]), 0, "p.vhd");
            if self.damaged {
                header.set_table(header.table_offset(), 1 << 30);
            }
            bytes[512..1536].copy_from_slice(&header.to_bytes());
        } else if self.damaged {
            bytes[tail + 64] ^= 1;
        }
        bytes
    }
}

/// The images that the first one's chain has, if it has an end.
fn expected(links: &[Link]) -> Option<Vec<usize>> {
    let mut chain = vec![0];
    loop {
        let child = &links[*chain.last()?];
        if child.damaged {
            return None;
        }
        if child.kind != 4 {
            return Some(chain);
        }
        // Image 0 stands for the nil id, which is nobody's. The first that has the id is the one; a damaged one has none.
        let parent = links.iter().position(|l| l.id == child.wants && l.id != 0 && !l.damaged)?;
        if chain.contains(&parent) || links[parent].sectors > child.sectors {
            return None;
        }
        chain.push(parent);
    }
}

/// Up to six images: for each its kind, its id, the id of its parent (its own, one of a cycle, one that is not there, one that two have),
/// its size, damage, and what is written to it. The first one's chain opens if the model has one, and holds what the model holds.
pub fn vhd_chain(input: &[u8]) {
    let bytes = text::bytes(input);
    let mut input = Reader(&bytes);
    let mut links: Vec<Link> = Vec::new();
    while !input.is_empty() && links.len() < IMAGES {
        links.push(Link::read(&mut input));
    }
    if links.is_empty() {
        return;
    }
    let stores: Vec<Arc<MemStorage>> =
        links.iter().map(|l| Arc::new(MemStorage::from_bytes(&l.image()))).collect();
    let images: Vec<(PathBuf, Arc<dyn Storage>)> = stores
        .iter()
        .enumerate()
        .map(|(i, s)| (PathBuf::from(format!("/{i}.vhd")), s.clone() as Arc<dyn Storage>))
        .collect();
    let resolver = Arc::new(MemResolver { images });
    let open = OpenOptions::new().resolver(resolver.clone()).max_chain(IMAGES);
    let report =
        check_storage(stores[0].clone(), Path::new("/0.vhd"), Some(resolver)).expect("it is in memory");
    let opened = open.clone().read_only(true).open_storage(stores[0].clone(), "/0.vhd");
    let chain = expected(&links);
    assert_eq!(opened.is_ok(), chain.is_some(), "{:?}, but the model has {chain:?}", opened.err());
    assert_eq!(report.is_clean(), chain.is_some(), "{report:?}, but the model has {chain:?}");
    let (Ok(view), Some(chain)) = (opened, chain) else { return };
    let ids: Vec<u8> = view.chain_ids().map(|id| id.0[0]).collect();
    assert_eq!(ids, chain.iter().map(|i| links[*i].id).collect::<Vec<_>>(), "another chain");
    let mut model = vec![0; links[0].sectors as usize * 512];
    for image in chain.iter().rev() {
        for (sector, value) in &links[*image].written {
            let at = *sector as usize * 512;
            model[at..at + 512].fill(*value);
        }
    }
    let mut found = vec![0; model.len()];
    read_exact(&view, 0, &mut found).expect("it is in memory");
    assert!(found == model, "the chain {chain:?} holds something else");
    drop(view);
    // A write goes to the first image alone.
    let before: Vec<Vec<u8>> = stores[1..].iter().map(|s| s.to_vec()).collect();
    let disk = open
        .clone()
        .read_only(false)
        .open_storage(stores[0].clone(), "/0.vhd")
        .expect("it has opened before");
    let last = model.len() - 512;
    write_all(&disk, last as u64, &[0x77; 512]).expect("room in memory");
    model[last..].fill(0x77);
    disk.close().expect("room in memory");
    assert!(stores[1..].iter().zip(&before).all(|(s, b)| s.to_vec() == *b), "a write has changed a parent");
    let disk =
        open.clone().read_only(true).open_storage(stores[0].clone(), "/0.vhd").expect("a closed image opens");
    read_exact(&disk, 0, &mut found).expect("it is in memory");
    assert!(found == model, "the content is another after the chain was opened again");
}
