use std::path::Path;
use std::process::ExitCode;

use serde_json::{Value, json};
use slotone_vhd::format::time_of;
use slotone_vhd::undo::UndoSession;
use slotone_vhd::{DiskKind, ErrorKind, FileResolver, LinkedDisk, OpenOptions, Resolver, Source, Vhd};

use crate::ux::{Failure, bytes};

pub(crate) fn info(path: &Path, as_json: bool) -> Result<ExitCode, Failure> {
    let disk = match OpenOptions::new().read_only(true).open(path) {
        Ok(disk) => disk,
        Err(e) if matches!(e.kind(), ErrorKind::NotVhd) => return raw(path, as_json),
        Err(e) => return Err(e.into()),
    };
    let session = UndoSession::find(path)?;
    if as_json {
        println!("{:#}", facts(path, &disk, session.as_ref()));
    } else {
        print(path, &disk, session.as_ref());
    }
    Ok(ExitCode::SUCCESS)
}

fn raw(path: &Path, as_json: bool) -> Result<ExitCode, Failure> {
    let disk = LinkedDisk::open(path, true)?;
    let size = slotone_block::BlockBackend::info(&disk).capacity;
    let data = disk.next_data(0)?.is_some();
    if as_json {
        println!("{:#}", json!({ "path": path, "kind": "raw", "size": size, "empty": !data }));
    } else {
        println!("{}: no VHD; as a linked disk it has {}", path.display(), bytes(size));
    }
    Ok(ExitCode::SUCCESS)
}

fn text(bytes: [u8; 4]) -> String {
    bytes.iter().map(|b| if b.is_ascii_graphic() || *b == b' ' { char::from(*b) } else { '.' }).collect()
}

fn unix(stamp: u32) -> u64 {
    time_of(stamp).duration_since(std::time::UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn facts(path: &Path, disk: &Vhd, session: Option<&UndoSession>) -> Value {
    let f = disk.footer();
    let g = f.geometry();
    let (major, minor) = f.creator_version();
    let mut v = json!({
        "path": path,
        "kind": disk.kind().name(),
        "size": f.current_size(),
        "original_size": f.original_size(),
        "geometry": { "cylinders": g.cylinders, "heads": g.heads, "sectors": g.sectors, "bytes": g.total_sectors() * 512 },
        "id": f.id().to_string(),
        "id_windows": f.id().windows_text(),
        "created_unix": unix(f.time_stamp()),
        "creator": text(f.creator()),
        "creator_version": format!("{major}.{minor}"),
        "creator_host": text(f.creator_host_os()),
        "saved_state": f.saved_state(),
        "temporary": f.temporary(),
        "file_bytes": disk.storage().len().ok(),
        "allocated_on_host": disk.storage().allocated(),
        "aligned": disk.aligned(),
        "warnings": disk.warnings(),
        "chain": disk.chain().zip(disk.chain_ids()).map(|(p, id)| json!({ "path": p, "id": id.to_string() })).collect::<Vec<_>>(),
        "undo": session.map(|s| json!({ "state": s.state().name(), "journal": s.journal() })),
    });
    if let (Some((allocated, blocks)), Some(h)) = (disk.blocks(), disk.header()) {
        v["blocks"] = json!({ "size": h.block_size(), "allocated": allocated, "total": blocks });
    }
    if let Some(p) = disk.parent_info() {
        let locators: Vec<_> =
            p.locators.iter().map(|l| json!({ "platform": l.platform.name(), "path": l.text })).collect();
        v["parent"] = json!({ "id": p.id.to_string(), "name": p.name, "modified_unix": unix(p.stamp), "locators": locators });
    }
    v
}

fn print(path: &Path, disk: &Vhd, session: Option<&UndoSession>) {
    let f = disk.footer();
    let g = f.geometry();
    let (major, minor) = f.creator_version();
    let line = |name: &str, value: String| println!("{name:<12}{value}");
    println!("{}", path.display());
    line(
        "kind",
        format!("{}{}", disk.kind().name(), if f.temporary() { ", temporary (an undo disk)" } else { "" }),
    );
    line("size", bytes(f.current_size()));
    let covered = g.total_sectors() * 512;
    line("geometry", format!("{}/{}/{}, covers {}", g.cylinders, g.heads, g.sectors, bytes(covered)));
    if f.original_size() != f.current_size() {
        line("first size", bytes(f.original_size()));
    }
    line("id", format!("{} (as Windows prints it: {})", f.id(), f.id().windows_text()));
    line("creator", format!("{} {major}.{minor} on {}", text(f.creator()), text(f.creator_host_os())));
    line("created", format!("{} (Unix time)", unix(f.time_stamp())));
    if let (Ok(len), allocated) = (disk.storage().len(), disk.storage().allocated()) {
        line(
            "file",
            format!(
                "{}{}",
                bytes(len),
                allocated.map_or(String::new(), |a| format!(", takes {} here", bytes(a)))
            ),
        );
    }
    if let (Some((allocated, blocks)), Some(h)) = (disk.blocks(), disk.header()) {
        let aligned = if disk.aligned() { "aligned" } else { "not aligned" };
        line(
            "blocks",
            format!("{allocated} of {blocks} in the file, {} bytes each, {aligned}", h.block_size()),
        );
    }
    if f.saved_state() {
        line("state", "belongs to a machine in saved state".into());
    }
    if let Some(p) = disk.parent_info() {
        line("parent", format!("{} \"{}\"", p.id, p.name));
        for l in &p.locators {
            line("", format!("{}: {}", l.platform.name(), l.text.as_deref().unwrap_or("(not text)")));
        }
        let found = FileResolver::default().candidates(path, &p).into_iter().find(|c| c.exists());
        if let Some(found) = found.filter(|_| disk.kind() == DiskKind::Differencing) {
            line("", format!("found at {}", found.display()));
        }
    }
    for (depth, (p, id)) in disk.chain().zip(disk.chain_ids()).enumerate().skip(1) {
        line(&format!("chain {depth}"), format!("{id} {}", p.display()));
    }
    if let Some(s) = session {
        line("undo", format!("session {} ({})", s.state().name(), s.journal().display()));
    }
    for w in disk.warnings() {
        line("warning", w);
    }
}
