//! `--fault`: breaking things on purpose.

use std::sync::Arc;
use std::time::Duration;

use slotone_block::BlockBackend;
use slotone_block::layers::{ErrorLayer, LatencyLayer, On};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{DriveBay, MachineBuilder, VirtualServer2005};

use super::args::{Args, FaultArg};
use super::failure::Failure;

/// IDE positions as faults name them.
const DRIVES: [&str; 4] = ["hda", "hdb", "hdc", "hdd"];

/// The drive that a fault names: `hda` to `hdd`, or `scsiA:I`.
fn bay<'a>(config: &'a mut VirtualServer2005, name: &str) -> Option<&'a mut DriveBay> {
    if let Some(position) = DRIVES.iter().position(|d| *d == name) {
        return Some(&mut config.ide[position]);
    }
    let (adapter, id) = name.strip_prefix("scsi")?.split_once(':')?;
    let bays = config.scsi.get_mut(adapter.parse::<usize>().ok()?)?.as_mut()?;
    bays.get_mut(id.parse::<usize>().ok()?)
}

fn is_drive(name: &str) -> bool {
    DRIVES.contains(&name) || name.contains(':')
}

/// Applies the faults of disks: `hda=error`, `scsi0:1=latency`, `hda` or `hda=dead`.
pub(crate) fn break_drives(config: &mut VirtualServer2005, args: &Args) -> Result<(), Failure> {
    for fault in args.fault.iter().filter(|f| is_drive(&f.device)) {
        let Some(slot) = bay(config, &fault.device).filter(|bay| !matches!(bay, DriveBay::Empty)) else {
            return Err(Failure::usage(format!(
                "--fault {}: there is no drive in that position",
                fault.device
            )));
        };
        let break_medium =
            |medium: &Arc<dyn BlockBackend>| -> Result<Option<Arc<dyn BlockBackend>>, Failure> {
                let inner = Arc::clone(medium);
                Ok(match fault.kind.as_deref() {
                    None | Some("dead") => None,
                    Some("error") => Some(Arc::new(ErrorLayer::new(inner).every_nth(1, On::Both))),
                    Some("latency") => {
                        let operation = Duration::from_millis(10);
                        Some(Arc::new(LatencyLayer::new(inner, operation, Duration::ZERO)))
                    }
                    Some(other) => {
                        return Err(Failure::usage(format!(
                            "--fault {}={other}: a drive can be dead, error or latency",
                            fault.device
                        )));
                    }
                })
            };
        *slot = match slot {
            DriveBay::Disk(medium) => break_medium(medium)?.map_or(DriveBay::Empty, DriveBay::Disk),
            DriveBay::CdRom(Some(medium)) => {
                break_medium(medium)?.map_or(DriveBay::Empty, |m| DriveBay::CdRom(Some(m)))
            }
            DriveBay::Empty | DriveBay::CdRom(None) => DriveBay::Empty,
        };
    }
    Ok(())
}

/// Takes the devices out that are to be dead: nobody answers at their addresses any more.
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
    Ok(())
}
