//! From arguments to a machine, its run, and the exit status.

use serde_json::json;
use slotone_aic7870::Aic7870;
use slotone_chipset_440bx::DateTime;
use slotone_firmware::BootDevice as FirmwareBoot;
use slotone_host::BackendSpec;
use slotone_scsi::{Disk, DiskConfig};
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{
    ClockMode, DriveBay, HostTime, LinuxImage, MachineBuilder, OnTripleFault, RunExit, VirtualServer2005,
    virtual_server_2005,
};
use slotone_x86_cpu::CpuModel;

use super::args::{Args, BootDevice, ClockArg, DiskArg, RtcTime, ScsiArg, TripleFaultArg};
use super::failure::Failure;
use super::fault;
use super::images::{self, Undo};
use super::network::{self, Networks};
use super::screen::{Keyboard, Screen};
use super::session::{End, Session};
use super::signals::Signals;
use super::threads;

/// Exit status when time is up.
pub(crate) const TIME_UP: u8 = 124;
/// Exit status of a run that went well otherwise when a file that was asked for is not there.
pub(crate) const MISSED: u8 = 2;

/// Runs what the arguments ask for.
pub(crate) fn run(args: &Args) -> Result<u8, Failure> {
    args.check()?;
    for note in args.notes() {
        eprintln!("virtual-server-2005: {note}");
    }
    let signals = Signals::take()?;
    if args.is_demonstration() {
        return super::demo::run(args, &signals);
    }
    let mut undo = Undo::begin(args)?;
    let result = run_machine(args, &mut undo, &signals);
    undo.end(result)
}

/// Builds the machine, runs it and takes it apart again: afterwards its disks are closed.
fn run_machine(args: &Args, undo: &mut Undo, signals: &Signals) -> Result<u8, Failure> {
    let config = config(args, undo)?;
    let mut builder = virtual_server_2005(&config)?;
    if args.on_triple_fault == Some(TripleFaultArg::Stop) {
        builder.on_triple_fault(OnTripleFault::Stop);
    }
    if let Some(path) = &args.kernel {
        let image = LinuxImage {
            kernel: images::file(path)?,
            initrd: args.initrd.as_deref().map(images::file).transpose()?.unwrap_or_default(),
            command_line: args.append.clone().unwrap_or_default(),
        };
        let named = |e| Failure::usage(format!("--kernel {}: {e}", path.display()));
        builder.linux(image).map_err(named)?;
    }
    set_blocks(&mut builder, args);
    fault::break_devices(&mut builder, args)?;
    let networks = Networks::plug(&mut builder, args)?;
    let mut machine = builder.build()?;
    if let Some(path) = &args.restore {
        let bytes = images::file(path)?;
        machine.restore(&bytes).map_err(|e| {
            Failure::usage(format!("{}: {e}; restore with the flags it was saved with", path.display()))
        })?;
    }
    let serial_is_live = args.serial.iter().any(|s| !matches!(s, BackendSpec::None | BackendSpec::File(_)));
    machine.set_wait_for_host(serial_is_live || networks.lead_outside());
    machine.measure_host_time(args.stats);
    let mut session = Session::new(machine, &args.serial, signals)?;
    if let Some(text) = &args.expect {
        session.expect(text);
    }
    args.screenshot.iter().for_each(|s| session.screenshot(s));
    args.type_text.iter().for_each(|t| session.type_text(t));
    if let (Some(path), Some(at)) = (&args.save, args.save_at) {
        session.save_at(path, at);
    }
    undo.runs();
    let end = {
        let mut screen = Screen::of(args);
        let keyboard = if screen.is_on() { Keyboard::take(&session.machine)? } else { None };
        if keyboard.is_some() {
            session.machine.set_wait_for_host(true);
        }
        session.run_showing(args.exit_after, &mut |session| screen.show(session))?
    };
    if let (Some(path), None) = (&args.save, args.save_at) {
        session.save(path)?;
    }
    networks.finish(session.machine.now())?;
    if args.stats {
        print_stats(&session, &networks)?;
    }
    let reached = session.all_reached();
    Ok(match status(args, end) {
        0 if !reached => MISSED,
        status => status,
    })
}

/// Exit status of a program that a signal ended, as shells have it.
pub(crate) fn killed_by(signal: i32) -> u8 {
    (128 + signal) as u8
}

fn status(args: &Args, end: End) -> u8 {
    match end {
        End::Expected => 0,
        End::TimeUp => TIME_UP,
        End::Signal(signal) => killed_by(signal),
        End::Machine(RunExit::TripleFault { eip }) => {
            eprintln!("virtual-server-2005: the guest crashed: triple fault at {eip:#010x}");
            1
        }
        End::Machine(RunExit::Unsupported { eip }) => {
            eprintln!("virtual-server-2005: the processor cannot execute what stands at {eip:#010x}");
            1
        }
        End::Machine(exit) => {
            let how = match exit {
                RunExit::PowerOff => "powered off",
                _ => "halted for good",
            };
            match &args.expect {
                Some(text) => {
                    eprintln!(
                        "virtual-server-2005: the guest {how} before '{text}' came out of serial port 1"
                    );
                    3
                }
                None => 0,
            }
        }
    }
}

/// The machine that the arguments describe, with its drives.
fn config(args: &Args, undo: &mut Undo) -> Result<VirtualServer2005, Failure> {
    let mut config = machine_config(args)?;
    config.ide = drives(args, undo)?;
    config.scsi = scsi(args, undo)?;
    fault::break_drives(&mut config, args)?;
    Ok(config)
}

/// The machine that the arguments describe, nothing in its drives.
pub(crate) fn machine_config(args: &Args) -> Result<VirtualServer2005, Failure> {
    let mut config = VirtualServer2005 {
        memory_mib: args.memory,
        seed: args.seed,
        nics: network::addresses(args),
        clock: match args.clock {
            ClockArg::Real => ClockMode::Real,
            ClockArg::Counted => ClockMode::Counted,
        },
        ..VirtualServer2005::new()
    };
    config.cpu = CpuModel::by_name(&args.cpu_model).ok_or_else(|| {
        Failure::usage(format!(
            "--cpu-model {}: the software CPU has 486, pentium, pentium2 and pentium3; choose one of them",
            args.cpu_model
        ))
    })?;
    let start = match (args.rtc, args.clock) {
        (Some(time), _) => time,
        (None, ClockArg::Counted) => RtcTime::RELEASE,
        (None, ClockArg::Real) => RtcTime::now(),
    };
    config.rtc = date_time(start)?;
    if let Some(id) = &args.chipset_id {
        config.chipset_id = match id.as_str() {
            "7190" => 0x7190,
            "7192" => 0x7192,
            "1237" => 0x1237,
            other => {
                return Err(Failure::usage(format!("--chipset-id {other}: choose 7190, 7192 or 1237")));
            }
        };
    }
    if !args.boot.is_empty() {
        config.boot = args.boot.iter().filter_map(|b| boot_device(*b)).collect();
    }
    config.bios = args.bios.as_deref().map(images::file).transpose()?;
    config.video_bios = args.video_bios.as_deref().map(images::file).transpose()?;
    Ok(config)
}

fn boot_device(device: BootDevice) -> Option<FirmwareBoot> {
    match device {
        BootDevice::Cd => Some(FirmwareBoot::Cd),
        BootDevice::Floppy => Some(FirmwareBoot::Floppy),
        BootDevice::Hdd => Some(FirmwareBoot::HardDisk),
        BootDevice::Scsi => Some(FirmwareBoot::Scsi),
        BootDevice::Net => None,
    }
}

fn date_time(t: RtcTime) -> Result<DateTime, Failure> {
    Ok(DateTime::new(t.year, t.month, t.day, t.hour, t.minute, t.second)?)
}

fn drives(args: &Args, undo: &mut Undo) -> Result<[DriveBay; 4], Failure> {
    let mut drives: [DriveBay; 4] = Default::default();
    let disks: [&Option<DiskArg>; 4] = [&args.hda, &args.hdb, &args.hdc, &args.hdd];
    for (drive, disk) in drives.iter_mut().zip(disks) {
        if let Some(disk) = disk {
            *drive = DriveBay::Disk(images::disk(&disk.path, disk.read_only, undo)?);
        }
    }
    for cd in &args.cdrom {
        // Secondary master first, as in the product; then whatever is free.
        let free = |slot: &usize| matches!(drives[*slot], DriveBay::Empty);
        let slot = match cd.slot {
            Some(slot) => Some(slot).filter(free),
            None => [2, 3, 1, 0].into_iter().find(free),
        };
        let Some(slot) = slot else {
            return Err(Failure::usage(format!(
                "--cdrom {}: that IDE position is taken; choose another with slot=",
                cd.path.display()
            )));
        };
        drives[slot] = DriveBay::CdRom(Some(images::cd(&cd.path)?));
    }
    Ok(drives)
}

/// The SCSI adapters that are used, with their drives.
fn scsi(args: &Args, undo: &mut Undo) -> Result<[Option<[DriveBay; 7]>; 4], Failure> {
    let mut adapters: [Option<[DriveBay; 7]>; 4] = Default::default();
    for ScsiArg { adapter, id, path, cdrom, read_only, block } in &args.scsi {
        let bay = &mut adapters[*adapter].get_or_insert_default()[*id];
        if !matches!(bay, DriveBay::Empty) {
            return Err(Failure::usage(format!(
                "--scsi {adapter}:{id}={}: that ID is taken; choose another",
                path.display()
            )));
        }
        *bay = match cdrom {
            true => DriveBay::CdRom(Some(images::cd(path)?)),
            false => {
                let disk = images::disk(path, *read_only, undo)?;
                let capacity = disk.info().capacity;
                let blocks = capacity / u64::from(*block);
                if capacity % u64::from(*block) != 0 {
                    return Err(Failure::usage(format!(
                        "{}: {capacity} bytes are not whole blocks of {block} bytes; take a smaller block=, or make the image \
                         larger",
                        path.display()
                    )));
                }
                if blocks > u64::from(u32::MAX) {
                    eprintln!(
                        "virtual-server-2005: {}: {blocks} blocks of {block} bytes; guests whose driver sends no 16-byte \
                         commands, as Linux's aic7xxx, cannot use it: give it larger ones, such as block=4096",
                        path.display()
                    );
                }
                DriveBay::Disk(disk)
            }
        };
    }
    Ok(adapters)
}

/// Gives the SCSI disks the logical blocks that were asked for.
fn set_blocks(builder: &mut MachineBuilder, args: &Args) {
    for ScsiArg { adapter, id, block, .. } in args.scsi.iter().filter(|disk| disk.block != 512) {
        let Ok(adapter) = builder.find(name::SCSI[*adapter]) else { continue };
        builder.with(adapter, |adapter: &mut Aic7870| {
            // None: a fault has taken it out.
            if let Some(disk) = adapter.target_as::<Disk>(*id as u8) {
                *disk = Disk::new(DiskConfig { block: *block, ..disk.config().clone() });
            }
        });
    }
}

pub(crate) fn print_stats(session: &Session, networks: &Networks) -> Result<(), Failure> {
    let machine = &session.machine;
    let board = machine.stats();
    let wall = session.started.elapsed().as_secs_f64();
    // No two runs with the host's clock are the same, and the hash takes seconds for each GB of disks.
    let hash = match machine.clock() {
        ClockMode::Real => None,
        ClockMode::Counted => {
            let hash = machine.state_hash().map_err(|e| Failure::usage(format!("--stats: {e}")))?;
            Some(hash.iter().map(|b| format!("{b:02x}")).collect::<String>())
        }
    };
    let times = machine.devices().map(|(id, name)| (name, machine.host_time(id)));
    let devices: serde_json::Map<_, _> = times
        .filter(|(_, time)| time.calls > 0)
        .map(|(name, HostTime { calls, seconds, thread_seconds, .. })| {
            let mut device = json!({ "calls": calls, "seconds": seconds });
            if thread_seconds > 0.0 {
                device["thread_seconds"] = thread_seconds.into();
            }
            (name.to_string(), device)
        })
        .collect();
    let stats = json!({
        "instructions": machine.retired(),
        "virtual_seconds": machine.now().as_nanos() as f64 / 1e9,
        "wall_seconds": wall,
        "mips": machine.retired() as f64 / wall / 1e6,
        "resets": machine.resets(),
        "port_accesses": board.io,
        "memory_accesses": board.mmio,
        "ticks": board.ticks,
        "line_changes": board.lines,
        "interrupts": board.interrupts,
        "disk_requests": board.disk_requests,
        "disk_bytes": board.disk_bytes,
        "frames": board.frames,
        "frame_bytes": board.frame_bytes,
        "maps": board.maps,
        "devices": devices,
        "nats": networks.nat_stats(),
        "threads": threads::seconds(),
        "state_sha256": hash,
    });
    println!("{stats}");
    Ok(())
}
