use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use slotone_block::BlockBackend;
use slotone_vhd::{
    CompactOptions, ConvertOptions, CreateOptions, OpenOptions, Severity, SizePolicy, Target, Vhd,
    open_source,
};

use crate::ux::{Bar, Failure, Stop, bytes};
use crate::{Convert, Create, SizeFrom};

type Done = Result<ExitCode, Failure>;

pub(crate) fn create(c: &Create) -> Done {
    let size = c.size.map_or(0, |s| s.0);
    let options = match &c.parent {
        Some(parent) => {
            let options = CreateOptions::differencing(parent);
            if c.size.is_some() { options.size(size) } else { options }
        }
        None if c.fixed => CreateOptions::fixed(size).preallocate(c.preallocate),
        None => CreateOptions::dynamic(size),
    };
    let block = u32::try_from(c.block_size.0).map_err(|_| Failure::new("the block size is too large"))?;
    let disk = Vhd::create(&c.path, &options.block_size(block))?;
    println!("{}: {} disk of {}, id {}", c.path.display(), disk.kind().name(), bytes(disk.size()), disk.id());
    disk.close()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn convert(c: &Convert, stop: &Stop) -> Done {
    let target = match (c.fixed, c.raw) {
        (true, _) => Target::Fixed,
        (_, true) => Target::Raw,
        _ => Target::Dynamic,
    };
    let policy = match c.size_from {
        SizeFrom::Current => SizePolicy::CurrentSize,
        SizeFrom::Geometry => SizePolicy::Geometry,
        SizeFrom::Creator => SizePolicy::ByCreator,
    };
    let source = open_source(&c.source, &OpenOptions::new().size_policy(policy))?;
    let options = ConvertOptions { target, durable: !c.no_sync, ..ConvertOptions::default() };
    let mut bar = Bar::new("converting", stop);
    slotone_vhd::convert(&*source, &c.target, &options, &mut |d, t| bar.step(d, t))?;
    drop(bar);
    let kind = match target {
        Target::Fixed => "fixed disk",
        Target::Raw => "raw image",
        Target::Dynamic => "dynamic disk",
    };
    println!("{}: {kind} of {}", c.target.display(), bytes(source.info().capacity));
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn merge(child: &Path, into: Option<&Path>, keep: bool, stop: &Stop) -> Done {
    let mut bar = Bar::new("merging", stop);
    if let Some(new) = into {
        let disk = OpenOptions::new().read_only(true).open(child)?;
        slotone_vhd::convert(&disk, new, &ConvertOptions::default(), &mut |d, t| bar.step(d, t))?;
        drop(bar);
        println!("{}: dynamic disk of {}", new.display(), bytes(disk.size()));
        return Ok(ExitCode::SUCCESS);
    }
    let parent = slotone_vhd::merge(child, &OpenOptions::new(), &mut |d, t| bar.step(d, t))?;
    drop(bar);
    if !keep {
        std::fs::remove_file(child)?;
    }
    println!(
        "{} now has what {} had{}",
        parent.display(),
        child.display(),
        if keep { "" } else { ", which is removed" }
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn compact(path: &Path, free_space: bool, stop: &Stop) -> Done {
    let mut bar = Bar::new("compacting", stop);
    let disk = Vhd::open(path)?;
    let (disk, c) = slotone_vhd::compact(disk, CompactOptions { free_space }, &mut |d, t| bar.step(d, t))?;
    drop(bar);
    disk.close()?;
    println!(
        "{}: {} -> {} bytes, {} blocks dropped, {} moved",
        path.display(),
        c.before,
        c.after,
        c.dropped,
        c.moved
    );
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn resize(path: &Path, size: u64, shrink: bool) -> Done {
    let disk = Vhd::open(path)?;
    if size < disk.size() && !shrink {
        let text = format!(
            "{}: the disk has {} bytes; a smaller size loses what is beyond it, --shrink allows that",
            path.display(),
            disk.size()
        );
        return Err(Failure::new(text));
    }
    let before = disk.size();
    let disk = disk.resize(size, shrink)?;
    println!("{}: {} -> {}", path.display(), bytes(before), bytes(disk.size()));
    disk.close()?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn reconnect(child: &Path, parent: &Path, any_id: bool) -> Done {
    slotone_vhd::reconnect(child, parent, any_id)?;
    println!("{}: its parent is {}", child.display(), parent.display());
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn check(path: &Path, repair: bool, as_json: bool) -> Done {
    let report = if repair { slotone_vhd::repair(path)? } else { slotone_vhd::check(path)? };
    let word = |s: Severity| match s {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Error => "error",
    };
    if as_json {
        let problems: Vec<_> = report
            .problems
            .iter()
            .map(|p| {
                json!({ "severity": word(p.severity), "text": p.kind.to_string(), "repairable": p.repairable, "repaired": p.repaired })
            })
            .collect();
        let all = json!({
            "path": path, "clean": report.is_clean(), "problems": problems, "more": report.more,
            "allocated_blocks": report.allocated, "blocks": report.blocks,
        });
        println!("{all:#}");
    } else {
        for p in &report.problems {
            let state = match (p.repaired, p.repairable) {
                (true, _) => " [repaired]",
                (false, true) => " [--repair puts it right]",
                _ => "",
            };
            println!("{}: {}{state}", word(p.severity), p.kind);
        }
        if report.more > 0 {
            println!("and {} more", report.more);
        }
        let verdict = if report.is_clean() { "good" } else { "damaged" };
        println!(
            "{}: {verdict}, {} of {} blocks in the file",
            path.display(),
            report.allocated,
            report.blocks
        );
    }
    let repaired = report.problems.iter().any(|p| p.repaired);
    Ok(ExitCode::from(match (report.is_clean(), repaired) {
        (false, _) => 3,
        (true, true) => 4,
        (true, false) => 0,
    }))
}
