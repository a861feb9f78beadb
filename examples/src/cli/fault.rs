//! `--fault`: breaking things on purpose.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use slotone_aic7870::Aic7870;
use slotone_block::BlockBackend;
use slotone_block::layers::{ErrorLayer, LatencyLayer, On};
use slotone_scsi::{Fault, FaultKind, Faulty};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{DriveBay, MachineBuilder, VirtualServer2005};

use super::args::{Args, FaultArg};
use super::failure::Failure;

/// The end of `--help`.
pub(crate) const HELP: &str = "\
Faults of a drive (hda to hdd, or scsiADAPTER:ID; --fault may repeat for one drive):
  dead                   it is not there; what a drive or device has without KIND
  error                  it can neither be read nor written
  error@LBA[+COUNT]      these blocks can neither be read nor written, the rest is fine
  pending@LBA[+COUNT]    these blocks cannot be read until they are written
  latency[=MS]           every access takes MS milliseconds of the host's time (10)
and of a SCSI drive, whose reads, writes and flushes are counted from 1 (retries are counted as well):
  fail@N[+COUNT]         the Nth access, or COUNT from the Nth on, fails with MEDIUM ERROR
  attention@N[+COUNT]    it reports UNIT ATTENTION, power on or reset, instead of carrying it out
  hang@N[+COUNT]         it is accepted and never ends: the guest has to abort it
  vanish@N[+COUNT]       from the Nth on COUNT selections are not answered (all of them)
Faults of a network card: loss=N, duplicate=N, reorder=N (frames in a million), delay=NANOSECONDS, seed=N.";

/// IDE positions as faults name them.
const DRIVES: [&str; 4] = ["hda", "hdb", "hdc", "hdd"];

/// A place and, if it was said, how many from there on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Span {
    first: u64,
    count: Option<u64>,
}

/// What is wrong with a drive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DriveFault {
    Dead,
    Error,
    Bad(Span),
    Pending(Span),
    Latency(Duration),
    /// The target's, not the medium's.
    Target(Fault),
}

impl FromStr for Span {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let number = |text: &str| text.parse::<u64>().map_err(|_| ());
        let (first, count) = match text.split_once('+') {
            None => (number(text)?, None),
            Some((first, count)) => (number(first)?, Some(number(count)?)),
        };
        if count == Some(0) { Err(()) } else { Ok(Self { first, count }) }
    }
}

impl FromStr for DriveFault {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        if let Some(ms) = text.strip_prefix("latency=") {
            return Ok(Self::Latency(Duration::from_millis(ms.parse::<u32>().map_err(|_| ())?.into())));
        }
        let Some((kind, at)) = text.split_once('@') else {
            return match text {
                "dead" => Ok(Self::Dead),
                "error" => Ok(Self::Error),
                "latency" => Ok(Self::Latency(Duration::from_millis(10))),
                _ => Err(()),
            };
        };
        let at: Span = at.parse()?;
        let (kind, times) = match kind {
            "error" => return Ok(Self::Bad(at)),
            "pending" => return Ok(Self::Pending(at)),
            "fail" => (FaultKind::MediumError, 1),
            "attention" => (FaultKind::Attention, 1),
            "hang" => (FaultKind::Hang, 1),
            "vanish" => (FaultKind::Vanish, u64::MAX),
            _ => return Err(()),
        };
        if at.first == 0 {
            return Err(());
        }
        Ok(Self::Target(Fault { kind, access: at.first, times: at.count.unwrap_or(times) }))
    }
}

/// The adapter and the ID of `scsiA:I`.
fn scsi_id(name: &str) -> Option<(usize, u8)> {
    let (adapter, id) = name.strip_prefix("scsi")?.split_once(':')?;
    Some((adapter.parse().ok()?, id.parse().ok()?))
}

/// The drive that a fault names: `hda` to `hdd`, or `scsiA:I`.
fn bay<'a>(config: &'a mut VirtualServer2005, name: &str) -> Option<&'a mut DriveBay> {
    if let Some(position) = DRIVES.iter().position(|d| *d == name) {
        return Some(&mut config.ide[position]);
    }
    let (adapter, id) = scsi_id(name)?;
    config.scsi.get_mut(adapter)?.as_mut()?.get_mut(usize::from(id))
}

fn is_drive(name: &str) -> bool {
    DRIVES.contains(&name) || name.contains(':')
}

fn drive_fault(arg: &FaultArg) -> Result<DriveFault, Failure> {
    let FaultArg { device, kind } = arg;
    let kind = kind.as_deref().unwrap_or("dead");
    let fault = kind.parse();
    let scsi = !DRIVES.contains(&device.as_str());
    match fault {
        Ok(DriveFault::Target(_)) if !scsi => Err(Failure::usage(format!(
            "--fault {device}={kind}: only a SCSI drive can have this fault; an IDE drive can be dead, error, \
             error@LBA+COUNT, pending@LBA+COUNT or latency=MS"
        ))),
        Ok(fault) => Ok(fault),
        Err(()) => {
            let targets = if scsi { ", fail@N, attention@N, hang@N or vanish@N" } else { "" };
            Err(Failure::usage(format!(
                "--fault {device}={kind}: a drive can be dead, error, error@LBA+COUNT, pending@LBA+COUNT or \
                 latency=MS{targets}; see --help"
            )))
        }
    }
}

/// Bytes of a disk's logical blocks, as `block=` of `--scsi` has it.
fn block_of(args: &Args, name: &str) -> u64 {
    let Some((adapter, id)) = scsi_id(name) else { return 512 };
    let disk = args.scsi.iter().find(|disk| disk.adapter == adapter && disk.id == usize::from(id));
    disk.map_or(512, |disk| disk.block.into())
}

/// The bytes of `span`'s blocks.
fn bytes(
    arg: &FaultArg,
    medium: &dyn BlockBackend,
    block: u64,
    span: Span,
) -> Result<std::ops::Range<u64>, Failure> {
    let blocks = medium.info().capacity / block;
    let end = span.first.checked_add(span.count.unwrap_or(1)).filter(|end| *end <= blocks);
    let Some(end) = end else {
        return Err(Failure::usage(format!(
            "--fault {}={}: the drive has blocks 0 to {}; choose some of them",
            arg.device,
            arg.kind.as_deref().unwrap_or_default(),
            blocks.saturating_sub(1)
        )));
    };
    Ok(span.first * block..end * block)
}

/// `inner` with its fault; `None`: nothing is left of it.
fn break_medium(
    arg: &FaultArg,
    inner: &Arc<dyn BlockBackend>,
    block: u64,
    fault: DriveFault,
) -> Result<Option<Arc<dyn BlockBackend>>, Failure> {
    let inner = Arc::clone(inner);
    Ok(match fault {
        DriveFault::Dead => None,
        DriveFault::Error => Some(Arc::new(ErrorLayer::new(inner).every_nth(1, On::Both))),
        DriveFault::Bad(span) => {
            let bad = bytes(arg, &inner, block, span)?;
            Some(Arc::new(ErrorLayer::new(inner).bad(bad, On::Both)))
        }
        DriveFault::Pending(span) => {
            let pending = bytes(arg, &inner, block, span)?;
            Some(Arc::new(ErrorLayer::new(inner).pending(pending)))
        }
        DriveFault::Latency(operation) => Some(Arc::new(LatencyLayer::new(inner, operation, Duration::ZERO))),
        DriveFault::Target(_) => Some(inner),
    })
}

/// Applies the faults of drives that are their media's, and takes dead ones out.
pub(crate) fn break_drives(config: &mut VirtualServer2005, args: &Args) -> Result<(), Failure> {
    for arg in args.fault.iter().filter(|f| is_drive(&f.device)) {
        let Some(slot) = bay(config, &arg.device).filter(|bay| !matches!(bay, DriveBay::Empty)) else {
            return Err(Failure::usage(format!(
                "--fault {}: there is no drive in that position",
                arg.device
            )));
        };
        let fault = drive_fault(arg)?;
        *slot = match slot {
            DriveBay::Disk(medium) => break_medium(arg, medium, block_of(args, &arg.device), fault)?
                .map_or(DriveBay::Empty, DriveBay::Disk),
            DriveBay::CdRom(Some(medium)) => {
                break_medium(arg, medium, 2048, fault)?.map_or(DriveBay::Empty, |m| DriveBay::CdRom(Some(m)))
            }
            DriveBay::CdRom(None) if fault != DriveFault::Dead => DriveBay::CdRom(None),
            DriveBay::Empty | DriveBay::CdRom(None) => DriveBay::Empty,
        };
    }
    Ok(())
}

/// Applies the faults of SCSI drives that are not their media's.
fn break_targets(builder: &mut MachineBuilder, args: &Args) -> Result<(), Failure> {
    let mut faults: Vec<((usize, u8), Vec<Fault>)> = Vec::new();
    for arg in args.fault.iter().filter(|f| is_drive(&f.device)) {
        if let (Some(place), DriveFault::Target(fault)) = (scsi_id(&arg.device), drive_fault(arg)?) {
            match faults.iter_mut().find(|(at, _)| *at == place) {
                Some((_, all)) => all.push(fault),
                None => faults.push((place, vec![fault])),
            }
        }
    }
    for ((adapter, id), faults) in faults {
        // break_drives has found a drive there; a dead adapter has none.
        let Some(adapter) = name::SCSI.get(adapter).and_then(|name| builder.find(name).ok()) else {
            continue;
        };
        builder.with(adapter, |adapter: &mut Aic7870| {
            adapter.replace_target(id, |target| Box::new(Faulty::new(target, faults)))
        });
    }
    Ok(())
}

/// Takes the devices out that are to be dead: nobody answers at their addresses any more. Then the faults of drives that are not
/// their media's.
pub(crate) fn break_devices(builder: &mut MachineBuilder, args: &Args) -> Result<(), Failure> {
    for FaultArg { device, kind } in &args.fault {
        if is_drive(device) {
            continue;
        }
        let Ok(id) = builder.find(device) else {
            let known = [DRIVES.as_slice(), &name::ALL, &name::SCSI, &name::NICS].concat().join(", ");
            return Err(Failure::usage(format!("--fault {device}: no such device; choose one of {known}")));
        };
        match kind.as_deref() {
            None | Some("dead") => builder.remove(id)?,
            // What is wrong with a network is the network's matter.
            Some(_) if name::NICS.contains(&device.as_str()) => builder,
            Some(other) => {
                return Err(Failure::usage(format!(
                    "--fault {device}={other}: this device can only be dead"
                )));
            }
        };
    }
    break_targets(builder, args)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds() {
        let span = |first, count| Span { first, count };
        let target = |kind, access, times| Ok(DriveFault::Target(Fault { kind, access, times }));
        for (text, fault) in [
            ("dead", Ok(DriveFault::Dead)),
            ("error", Ok(DriveFault::Error)),
            ("error@0", Ok(DriveFault::Bad(span(0, None)))),
            ("error@4000+3", Ok(DriveFault::Bad(span(4000, Some(3))))),
            ("pending@7", Ok(DriveFault::Pending(span(7, None)))),
            ("latency", Ok(DriveFault::Latency(Duration::from_millis(10)))),
            ("latency=3", Ok(DriveFault::Latency(Duration::from_millis(3)))),
            ("fail@1", target(FaultKind::MediumError, 1, 1)),
            ("attention@9+2", target(FaultKind::Attention, 9, 2)),
            ("hang@100", target(FaultKind::Hang, 100, 1)),
            ("vanish@100", target(FaultKind::Vanish, 100, u64::MAX)),
            ("vanish@100+6", target(FaultKind::Vanish, 100, 6)),
        ] {
            assert_eq!(text.parse(), fault, "{text}");
        }
        for text in [
            "",
            "dead@1",
            "errors",
            "error@",
            "error@x",
            "error@1+",
            "error@1+0",
            "error@-1",
            "pending",
            "hang",
            "hang@0",
            "hang@1+0",
            "vanish",
            "latency=",
            "latency=x",
            "latency@1",
            "error@1+2+3",
        ] {
            assert_eq!(text.parse::<DriveFault>(), Err(()), "{text}");
        }
    }

    #[test]
    fn blocks_must_be_there() {
        let arg: FaultArg = "hda=error@2047+2".parse().unwrap();
        let medium = slotone_block::memory::MemoryDisk::new(1 << 20);
        assert_eq!(bytes(&arg, &medium, 512, Span { first: 2047, count: None }).unwrap(), 0xffe00..0x10_0000);
        for count in [Some(2), Some(u64::MAX)] {
            let refused = bytes(&arg, &medium, 512, Span { first: 2047, count }).unwrap_err();
            assert_eq!(refused.code, 2);
            assert!(refused.message.contains("error@2047+2") && refused.message.contains("0 to 2047"));
        }
    }
}
