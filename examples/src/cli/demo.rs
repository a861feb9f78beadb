//! The built-in demonstration: the full machine boots from a disk of our own, whose program works every device and says what it
//! found.
//!
//! A device passes only if that program reported it, on the screen or on the first serial port. What it could not report
//! because the machine never got so far is looked at from outside ([`probe`]).

mod probe;
mod report;

use std::io::IsTerminal;
use std::sync::Arc;
use std::time::{Duration, Instant};

use slotone_block::memory::MemoryDisk;
use slotone_block::{BlockBackend, read_exact, write_all};
use slotone_bus::VmInstant;
use slotone_firmware::BootDevice;
use slotone_net::{MacAddress, NetPort};
use slotone_s3trio::TextScreen;
use slotone_tulip_nic::Tulip;
use slotone_vhd::CreateOptions;
use slotone_vmm_core::vs2005::name;
use slotone_vmm_core::{DriveBay, MachineBuilder, OnTripleFault, RunExit, virtual_server_2005};
use slotone_vnet::dhcp;
use slotone_vnet::fault::{Faults, Faulty};
use slotone_vnet::mac;
use slotone_vnet::switch::{PortOptions, Switch};

use self::report::{Report, Verdict};
use super::args::{Args, TripleFaultArg};
use super::failure::Failure;
use super::network::Networks;
use super::screen::Screen;
use super::session::{End, Session};
use super::signals::Signals;
use super::{fault, run};

/// The boot disk: `examples/demo` has its source.
const BOOT_IMAGE: &[u8] = include_bytes!("../../demo/boot.bin");
/// Size of the disk to boot from, which grows as it is written.
const BOOT_DISK: u64 = 64 << 20;
/// Size of the disk to write on.
const WORK_DISK: u64 = 32 << 20;
/// Blocks of the CD and their size.
const DISC_BLOCKS: usize = 1024;
const DISC_BLOCK: usize = 2048;
/// Doubleword `i` of block `n` of the CD is (512 n + i) times this.
const DISC_FACTOR: u32 = 0x9e37_79b1;
/// Where the program writes on the second disk, and what: 64 KB, each doubleword made from the one before.
const WRITTEN_AT: u64 = 2048 * 512;
const WRITTEN_SEED: u32 = 0x510e_0001;
/// Network cards, and the network that they are on.
const NETWORK: &str = "demonstration";
const NICS: u32 = 2;
/// Size of a SCSI disk.
const SCSI_DISK: u64 = 8 << 20;
/// What the program copies from each adapter's disk 0 to its disk 1: from and to where, and how much; doubleword `i` on
/// adapter `a` is i + 1 times the factor of `a`.
const COPIED: (u64, u64, usize) = (100 * 512, 200 * 512, 32 * 512);
const COPIED_FACTOR: [u32; 4] = [0x510e_5c50, 0x9b05_688d, 0x1f83_d9ab, 0x5be0_cd19];
/// Virtual seconds between two looks at the machine.
const LOOK: f64 = 0.05;
/// Virtual seconds without anything new on screen and serial port after which the guest counts as stuck.
const PATIENCE: f64 = 5.0;
/// Virtual seconds that the demonstration may take.
const LIMIT: f64 = 60.0;
/// Host time after which a silent guest counts as stuck, and one that has not shown anything at all: a processor that runs wild
/// on a broken board can be so slow that virtual time tells nothing.
const HOST_PATIENCE: [Duration; 2] = [Duration::from_secs(15), Duration::from_secs(8)];

/// Runs the demonstration and returns the exit status.
pub(crate) fn run(args: &Args, signals: &Signals) -> Result<u8, Failure> {
    let folder = tempfile::Builder::new().prefix("slotone-demonstration-").tempdir()?;
    let boot = CreateOptions::dynamic(BOOT_DISK).create(folder.path().join("boot.vhd"))?;
    let work = CreateOptions::dynamic(WORK_DISK).create(folder.path().join("work.vhd"))?;
    let (boot, work): (Arc<dyn BlockBackend>, Arc<dyn BlockBackend>) = (Arc::new(boot), Arc::new(work));
    // Both boot, so that the machine starts without its first disk and can say that it is missing.
    write_all(&boot, 0, BOOT_IMAGE)?;
    write_all(&work, 0, BOOT_IMAGE)?;
    let disc: Arc<dyn BlockBackend> = Arc::new(MemoryDisk::from_bytes(&disc()).read_only());

    let mut config = run::machine_config(args)?;
    if args.boot.is_empty() {
        config.boot = vec![BootDevice::HardDisk];
    }
    let [hda, hdb, hdc, hdd] = &mut config.ide;
    *hda = DriveBay::Disk(boot);
    *hdb = DriveBay::Disk(Arc::clone(&work));
    *hdc = DriveBay::CdRom(Some(disc));
    *hdd = DriveBay::Empty;
    config.nics = (0..NICS).map(|i| mac::from_seed(args.seed, i)).collect();
    let mut copies = Vec::new();
    for (adapter, factor) in config.scsi.iter_mut().zip(COPIED_FACTOR) {
        let disks: [Arc<dyn BlockBackend>; 7] =
            std::array::from_fn(|_| Arc::new(MemoryDisk::new(SCSI_DISK)) as _);
        write_all(&disks[0], COPIED.0, &pattern(factor))?;
        copies.push(Arc::clone(&disks[1]));
        *adapter = Some(disks.map(DriveBay::Disk));
    }
    fault::break_drives(&mut config, args)?;
    let chipset_id = config.chipset_id;
    let mut builder = virtual_server_2005(&config)?;
    if args.on_triple_fault != Some(TripleFaultArg::Reset) {
        builder.on_triple_fault(OnTripleFault::Stop);
    }
    fault::break_devices(&mut builder, args)?;
    plug(&mut builder, &config.nics, args)?;
    let mut machine = builder.build()?;
    machine.measure_host_time(args.stats);
    let mut session = Session::new(machine, &args.serial, signals)?;
    session.transcript = Some(Vec::new());
    if let Some(text) = &args.expect {
        session.expect(text);
    }
    args.screenshot.iter().filter(|s| s.at.is_some()).for_each(|s| session.screenshot(s));
    args.type_text.iter().for_each(|t| session.type_text(t));
    if let (Some(path), Some(at)) = (&args.save, args.save_at) {
        session.save_at(path, at);
    }

    let end = watch(&mut session, args)?;
    if let Ending::Run(End::Signal(signal)) = end {
        return Ok(run::killed_by(signal));
    }
    if let (Some(path), None) = (&args.save, args.save_at) {
        session.save(path)?;
    }
    let screen = session.text_screen();
    let lines = screen.as_ref().map(TextScreen::to_lines).unwrap_or_default();
    let transcript = String::from_utf8_lossy(session.transcript.as_deref().unwrap_or_default()).into_owned();
    let picture = take_picture(&session, args)?;
    if args.stats {
        run::print_stats(&session, &Networks::default())?;
    }

    let mut report = Report::new(&lines, &transcript);
    let mut ended = None;
    if report.is_complete() {
        if end != Ending::Run(End::Machine(RunExit::PowerOff)) && report.verdict("pm").is_pass() {
            report.fail("pm", "the machine did not switch itself off");
        }
        if report.verdict("hdb").is_pass() && !is_written(&*work) {
            report.fail("hdb", "what the program wrote did not reach the disk");
        }
        for ((adapter, copy), factor) in name::SCSI.into_iter().zip(&copies).zip(COPIED_FACTOR) {
            if report.verdict(adapter).is_pass() && !is_copied(&**copy, factor) {
                report.fail(adapter, "what the program copied did not reach the disk");
            }
        }
    } else if !matches!(end, Ending::Run(End::Expected | End::TimeUp)) {
        for (device, why) in probe::dead_devices(&mut session.machine, chipset_id) {
            report.fail(device, &why);
        }
        ended = Some(how(end));
        report.stuck(&how(end));
    }
    print_screen(screen.as_ref(), &transcript);
    if let Some(how) = ended {
        println!("the machine did not come to its end: {how}");
    }
    print_report(&report, &picture);
    let reached = session.all_reached();
    let status = match end {
        Ending::Run(End::Expected) => 0,
        Ending::Run(End::TimeUp) => run::TIME_UP,
        _ if args.expect.is_some() => {
            eprintln!("virtual-server-2005: the demonstration ended before the expected text came");
            3
        }
        _ => u8::from(!report.is_good()),
    };
    Ok(if status == 0 && !reached { run::MISSED } else { status })
}

/// Puts the cards on a network of their own with a DHCP server.
fn plug(builder: &mut MachineBuilder, cards: &[MacAddress], args: &Args) -> Result<(), Failure> {
    let switch = Switch::new();
    switch.station(dhcp::Server::new(dhcp::Config::for_network(NETWORK))?)?;
    for (card, mac) in name::NICS.into_iter().zip(cards) {
        // A dead card is not there.
        let Ok(id) = builder.find(card) else { continue };
        let mut port: Box<dyn NetPort> =
            Box::new(switch.port(PortOptions { mac: Some(*mac), ..PortOptions::default() })?);
        if let Some(kind) = args.fault.iter().filter(|f| f.device == card).find_map(|f| f.kind.as_deref()) {
            let faults: Faults =
                kind.parse().map_err(|e| Failure::usage(format!("--fault {card}={e}, or dead")))?;
            port = Box::new(Faulty::new(port, faults));
        }
        builder.network::<Tulip>(id, port);
    }
    Ok(())
}

/// The disc: a volume descriptor where ISO 9660 has it, and a pattern.
fn disc() -> Vec<u8> {
    let words = (0..(DISC_BLOCKS * DISC_BLOCK / 4) as u32).map(|k| k.wrapping_mul(DISC_FACTOR));
    let mut bytes: Vec<u8> = words.flat_map(u32::to_le_bytes).collect();
    bytes[16 * DISC_BLOCK..][..7].copy_from_slice(b"\x01CD001\x01");
    bytes
}

/// Whether the pattern that the program writes is on the second disk.
fn is_written(disk: &dyn BlockBackend) -> bool {
    let mut data = vec![0; 64 << 10];
    let mut value = WRITTEN_SEED;
    read_exact(disk, WRITTEN_AT, &mut data).is_ok()
        && data.chunks_exact(4).all(|word| {
            let expected = value;
            value = value.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            word == expected.to_le_bytes()
        })
}

/// What is copied between two disks.
fn pattern(factor: u32) -> Vec<u8> {
    (1..=COPIED.2 as u32 / 4).flat_map(|i| i.wrapping_mul(factor).to_le_bytes()).collect()
}

/// Whether the copy is on the disk.
fn is_copied(disk: &dyn BlockBackend, factor: u32) -> bool {
    let mut data = vec![0; COPIED.2];
    read_exact(disk, COPIED.1, &mut data).is_ok() && data == pattern(factor)
}

/// How the demonstration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// As any run.
    Run(End),
    /// The guest did nothing that could be seen for too long.
    Stuck,
}

fn how(end: Ending) -> String {
    match end {
        Ending::Run(End::Machine(RunExit::TripleFault { eip })) => format!("triple fault at {eip:#x}"),
        Ending::Run(End::Machine(RunExit::Unsupported { eip })) => {
            format!("the processor cannot execute what stands at {eip:#x}")
        }
        Ending::Run(End::Machine(RunExit::PowerOff)) => "switched off too early".into(),
        Ending::Run(End::Machine(_)) => "halted for good".into(),
        Ending::Run(End::Expected | End::TimeUp | End::Signal(_)) | Ending::Stuck => "stuck".into(),
    }
}

/// Runs the machine to its end, mirrors its screen, and gives up when nothing happens any more.
fn watch(session: &mut Session, args: &Args) -> Result<Ending, Failure> {
    let mut mirror = Screen::of(args);
    let seconds = |t: VmInstant| t.as_nanos() as f64 / 1e9;
    let limit = args.exit_after.unwrap_or(f64::INFINITY);
    let mut seen = (0, None);
    let (mut news, mut host_news) = (0.0, Instant::now());
    loop {
        let now = seconds(session.machine.now());
        let end = session.run(Some((now + LOOK).min(limit)))?;
        let screen = session.text_screen();
        mirror.show(session);
        if end != End::TimeUp || now + LOOK >= limit {
            return Ok(Ending::Run(end));
        }
        let seen_now = (session.transcript.as_ref().map_or(0, Vec::len), screen);
        if seen_now != seen {
            (seen, news, host_news) = (seen_now, now, Instant::now());
        }
        let [patience, patience_at_first] = HOST_PATIENCE;
        let host_patience = if news == 0.0 { patience_at_first } else { patience };
        if now - news > PATIENCE || now > LIMIT || host_news.elapsed() > host_patience {
            return Ok(Ending::Stuck);
        }
    }
}

/// Saves the screen where the user wants it, else where it finds room; returns where, or why not.
fn take_picture(session: &Session, args: &Args) -> Result<Result<String, String>, Failure> {
    if session.frame().is_none() {
        return Ok(Err("the machine has no video device".into()));
    }
    let wanted: Vec<&str> =
        args.screenshot.iter().filter(|s| s.at.is_none()).map(|s| s.what.as_str()).collect();
    for path in &wanted {
        session.take_screenshot(path)?;
    }
    if !args.screenshot.is_empty() {
        return Ok(Ok(wanted.join(", ")));
    }
    let usual = std::env::temp_dir().join("slotone-demonstration.png").display().to_string();
    if session.take_screenshot(&usual).is_ok() {
        return Ok(Ok(usual));
    }
    // Another user's picture is in the way.
    let file = tempfile::Builder::new().prefix("slotone-demonstration-").suffix(".png").tempfile()?;
    let path = file.into_temp_path().keep()?.display().to_string();
    session.take_screenshot(&path)?;
    Ok(Ok(path))
}

/// The final screen: in colours in a terminal, else as plain text. Without a screen what came out of the serial port.
fn print_screen(screen: Option<&TextScreen>, transcript: &str) {
    match screen {
        Some(screen) if std::io::stdout().is_terminal() => {
            for row in 0..screen.rows {
                println!("{}", colored(screen.row(row)));
            }
        }
        Some(screen) => screen.to_lines().iter().for_each(|line| println!("{line}")),
        None => {
            let finished = transcript.lines().filter(|l| !l.starts_with("[ .. ]"));
            finished.for_each(|line| println!("{line}"));
        }
    }
    println!();
}

/// One row with the terminal's colours.
fn colored(cells: &[(u8, u8)]) -> String {
    // The VGA counts blue, green, red; ANSI red, green, blue.
    let ansi = |color: u8| (color & 1) << 2 | color & 2 | color >> 2 & 1;
    let mut line = String::new();
    let mut last = None;
    for (code, attribute) in cells {
        if last.replace(attribute) != Some(attribute) {
            let foreground = ansi(*attribute) + if attribute & 8 != 0 { 90 } else { 30 };
            line += &format!("\x1b[0;{foreground};{}m", ansi(attribute >> 4) + 40);
        }
        line.push(slotone_console::cp437::to_char(*code));
    }
    line + "\x1b[0m"
}

fn print_report(report: &Report, picture: &Result<String, String>) {
    for (device, verdict) in report.verdicts() {
        if let Verdict::Failed(why) = verdict {
            println!("failed: {device}: {why}");
        }
    }
    let untested: Vec<&str> = report.untested().collect();
    if !untested.is_empty() {
        println!("not reached: {}", untested.join(", "));
    }
    println!("not in this build: {}", report::NOT_BUILT.join(", "));
    match picture {
        Ok(path) if path.is_empty() => {}
        Ok(path) => println!("picture of the screen: {path}"),
        Err(why) => println!("no picture of the screen: {why}"),
    }
    println!("{}", report.summary());
    println!("try next: cargo run --release -- --fault rtc      (break a device and see it named)");
    println!("          cargo run --release -- --cdrom YOUR.iso --boot cd");
    println!("          cargo run --release -- --help");
}
