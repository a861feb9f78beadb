//! The real guests on our machine: verdict, exit status, last screen, and twice the same run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use slotone_vhd::{CreateOptions, Vhd};

use super::steps::Steps;
use crate::error::{Error, IoContext, Result};
use crate::guests::initramfs::{noise, sha256_hex};
use crate::guests::screen::Screen;
use crate::host;

/// The line that ends a good run. It stands in no guest and on no command line.
const VERDICT: &str = "GUEST-TESTS-PASS";
/// The kernel command line of direct boots, before the list of what must be there.
const APPEND: &str = "cryptomgr.notests=1 console=tty0 console=ttyS0,115200 panic=-1 gt=";
/// Virtual seconds after which a guest has failed.
const VIRTUAL_LIMIT: &str = "300";
/// How long one may take on the wall.
const LIMIT: Duration = Duration::from_secs(600);

/// How a run is started and what it has to show.
struct Guest {
    name: &'static str,
    args: Vec<String>,
    /// Ends at the verdict (`--expect`) instead of at the power-off.
    expect: bool,
    /// The screen at the end equals this file of `guests/golden`.
    golden: Option<&'static str>,
    /// Run a second time, which must be the same run.
    twice: bool,
    /// Sparse disks, or dynamic VHDs by their names, made anew, and their sizes in bytes. They keep what is written to them; other disks do not.
    disks: Vec<(PathBuf, u64)>,
    /// Its disks or its memory take too long to be summed for the statistics.
    large: bool,
    /// Arguments of a run after the first, on the same disks.
    then: Option<Vec<String>>,
}

impl Default for Guest {
    fn default() -> Self {
        Self {
            name: "",
            args: Vec::new(),
            expect: true,
            golden: None,
            twice: false,
            disks: Vec::new(),
            large: false,
            then: None,
        }
    }
}

/// What a run left behind.
#[derive(Debug, PartialEq)]
struct Stats {
    instructions: u64,
    state: String,
    mips: f64,
}

/// The guests that ran to their good end, and those that this host cannot run.
pub(super) struct Passed(pub(super) usize, pub(super) Vec<String>);

/// What a worker takes from the queue.
enum Job {
    Machine(Box<Guest>),
    /// A mode of `guests/outside.sh`, and its name.
    Outside(&'static str, &'static str),
}

/// Boots the cheap guests, or all of them, two at a time where there are two processors.
pub(super) fn run(steps: &Steps, machine: &Path, full: bool) -> Passed {
    let Some(list) = steps.run("guests: what to run", || list(full)) else { return Passed(0, Vec::new()) };
    let jobs = OUTSIDE.into_iter().map(|(mode, name)| Job::Outside(mode, name));
    let jobs = Mutex::new(jobs.chain(list.into_iter().map(|guest| Job::Machine(Box::new(guest)))));
    let passed = Mutex::new(Passed(0, Vec::new()));
    let workers = thread::available_parallelism().map_or(1, usize::from).min(4);
    let next = || jobs.lock().ok().and_then(|mut left| left.next());
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some(job) = next() {
                    let name = match &job {
                        Job::Machine(guest) => guest.name,
                        Job::Outside(_, name) => name,
                    };
                    let good = steps.run(&format!("guest: {name}"), || match &job {
                        Job::Machine(guest) => boot(steps, machine, guest).map(|found| (true, found)),
                        Job::Outside(mode, _) => outside(steps, machine, mode, name),
                    });
                    let mut passed = passed.lock().unwrap_or_else(PoisonError::into_inner);
                    match good {
                        Some(true) => passed.0 += 1,
                        Some(false) => passed.1.push(format!("{name}: this host cannot; see its log")),
                        None => {}
                    }
                }
            });
        }
    });
    passed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The modes of `guests/outside.sh`. They come first, so that the short ones are the last to run.
const OUTSIDE: [(&str, &str); 4] = [
    ("tap", "tulip: a TAP interface, dnsmasq"),
    ("wire", "tulip: the wire of an interface, dnsmasq"),
    ("two", "tulip: two processes on one network"),
    ("nat", "tulip: the host's own connections, as nobody"),
];

/// Whether a guest of `guests/outside.sh` ran; `false` if this host cannot do it.
fn outside(steps: &Steps, machine: &Path, mode: &str, name: &str) -> Result<(bool, String)> {
    let log = steps.log(&format!("guest {name}"));
    let mut command = Command::new("sh");
    command.arg(host::root().join("guests/outside.sh")).arg(mode).arg(machine);
    command
        .arg(guest_file("vmlinux-686"))
        .arg(guest_file("initrd-net.gz"))
        .arg(host::output_dir("ci/files")?);
    let ended = host::run_logged(&mut command, &log, LIMIT)?;
    let text = host::read_lossy(&log)?;
    match ended.code() {
        Some(0) => {
            let checks = text.lines().filter(|l| l.starts_with("CHECK ") && l.contains(" ok")).count();
            Ok((true, format!("{checks} checks")))
        }
        Some(77) => Ok((false, format!("skipped: {}", text.lines().last().unwrap_or_default()))),
        _ => {
            let end = host::tail(&text, 12).join("\n");
            Err(Error::Check(format!("{ended}, wanted 0; all of it is in {}\n{end}", log.display())))
        }
    }
}

fn strings(list: &[&str]) -> Vec<String> {
    list.iter().map(|arg| (*arg).to_owned()).collect()
}

fn guest_file(name: &str) -> String {
    host::guests_dir().join(name).display().to_string()
}

/// A kernel and an initramfs, entered directly; `gt` lists what must be there.
fn direct(kernel: &str, initrd: &str, gt: &str) -> Vec<String> {
    let append = format!("{APPEND}{gt}");
    strings(&["--kernel", &guest_file(kernel), "--initrd", &guest_file(initrd), "--append", &append])
}

fn list(full: bool) -> Result<(Vec<Guest>, String)> {
    let mut guests = board(full);
    guests.extend(network(full)?);
    guests.extend(scsi(full)?);
    let found = format!("{} guests", guests.len());
    Ok((guests, found))
}

/// The board's guests. The dear ones first, so that the last to run is a short one.
fn board(full: bool) -> Vec<Guest> {
    let mut guests = vec![
        Guest {
            name: "debian.vhd",
            args: strings(&["--hda", &guest_file("debian.vhd")]),
            golden: Some("linux-screen.txt"),
            twice: full,
            ..Guest::default()
        },
        // Nothing on IDE: our BIOS boots from the adapter, Debian's aic7xxx goes on.
        Guest {
            name: "debian.vhd on SCSI alone",
            args: strings(&["--scsi", &format!("0:0={}", guest_file("debian.vhd")), "--boot", "scsi"]),
            golden: Some("linux-screen.txt"),
            ..Guest::default()
        },
        Guest {
            name: "debian.iso",
            args: strings(&["--cdrom", &guest_file("debian.iso"), "--boot", "cd"]),
            golden: Some("linux-screen.txt"),
            ..Guest::default()
        },
        Guest {
            name: "direct -686-pae ELF, twice",
            args: direct("vmlinux-686-pae", "initrd-pae.gz", ""),
            expect: false,
            twice: true,
            ..Guest::default()
        },
        Guest {
            name: "GRUB menu, power-off from it",
            args: strings(&["--hda", &guest_file("debian-grub-menu.vhd"), "--type", "{down}{enter}@4"]),
            expect: false,
            golden: Some("grub-menu.txt"),
            ..Guest::default()
        },
    ];
    if full {
        let mut bzimage = direct("vmlinuz-686", "initrd.gz", "ide,cd");
        bzimage.extend(strings(&["--hda", &guest_file("debian.vhd"), "--cdrom", &guest_file("debian.iso")]));
        // The kernel writes every page that is free and reads it back before it uses any.
        let append = format!("{APPEND} memtest=1");
        let mut memory = strings(&["--memory", "3686", "--append", &append]);
        for (option, file) in [("--kernel", "vmlinux-686-pae"), ("--initrd", "initrd-pae.gz")] {
            memory.extend([option.to_owned(), guest_file(file)]);
        }
        guests.extend([
            Guest {
                name: "debian-pae.vhd",
                args: strings(&["--hda", &guest_file("debian-pae.vhd")]),
                expect: false,
                large: true,
                ..Guest::default()
            },
            Guest { name: "direct -686 bzImage", args: bzimage, ..Guest::default() },
            Guest {
                name: "3686 MiB of memory, every free page tested",
                args: memory,
                large: true,
                ..Guest::default()
            },
            Guest {
                name: "debian.iso on SCSI alone",
                args: strings(&[
                    "--scsi",
                    &format!("0:2={},cdrom", guest_file("debian.iso")),
                    "--boot",
                    "cd",
                ]),
                golden: Some("linux-screen.txt"),
                ..Guest::default()
            },
        ]);
    }
    guests
}

/// Debian's tulip driver on our networks.
fn network(full: bool) -> Result<Vec<Guest>> {
    let card = |gt: &str, args: &[&str]| {
        let mut all = direct("vmlinux-686", "initrd-net.gz", gt);
        all.extend(strings(args));
        all
    };
    // A file of 50 MB that no pattern compresses, and its sum for the guest.
    let folder = host::output_dir("ci/files")?;
    let content = noise(50, 50_000_000);
    let path = folder.join("large.bin");
    fs::write(&path, &content).at(&path)?;
    let files = format!("internal={}", folder.display());
    let fetch = format!("cards=1 gtfile=large.bin:{}", sha256_hex(&content));
    // What iPXE is told to fetch: the kernel by HTTP, the initramfs by TFTP.
    let script = format!(
        "#!ipxe\nkernel http://${{next-server}}/vmlinuz {APPEND}cards=1 initrd=initrd.gz\n\
         initrd tftp://${{next-server}}/initrd.gz\nboot\n"
    );
    let boot = host::output_dir("ci/ipxe")?;
    let path = boot.join("boot.ipxe");
    fs::write(&path, script).at(&path)?;
    for (from, to) in [("vmlinuz-686", "vmlinuz"), ("initrd-net.gz", "initrd.gz")] {
        let path = boot.join(to);
        fs::copy(guest_file(from), &path).at(&path)?;
    }
    let boot = format!("internal={}", boot.display());
    let lease = "internal=10.244.0.0/24,boot-file=http://10.244.0.2/boot.ipxe";
    let pair = "internal,promiscuous=on";
    let pings = if full { 10_000 } else { 1_000 };
    Ok(vec![
        Guest {
            name: "tulip: 50 MB by HTTP",
            args: card(&fetch, &["--nic", "internal", "--files", &files]),
            ..Guest::default()
        },
        Guest {
            name: "iPXE: DHCP, HTTP, TFTP, then Linux",
            args: strings(&[
                "--cdrom",
                &guest_file("ipxe.iso"),
                "--boot",
                "cd",
                "--nic",
                "internal",
                "--files",
                &boot,
                "--dhcp",
                lease,
            ]),
            ..Guest::default()
        },
        Guest {
            name: "tulip: two cards on a network, filters, pings, down and up",
            args: card(&format!("cards=2,pair,updown=20,pings={pings}"), &["--nic", pair, "--nic", pair]),
            ..Guest::default()
        },
        Guest {
            name: "tulip: four cards on four networks",
            args: card(
                "cards=4",
                &["--nic=internal=a", "--nic=internal=b", "--nic=internal=c", "--nic=internal=d"],
            ),
            twice: full,
            ..Guest::default()
        },
    ])
}

/// Disks on SCSI adapters: `ids` on each of `adapters`, of `size` bytes in logical blocks of `block`, in files of this kind (img or vhd).
struct Rack {
    folder: PathBuf,
    kind: &'static str,
    adapters: usize,
    ids: usize,
    size: u64,
    block: u32,
}

impl Rack {
    fn disks(&self) -> impl Iterator<Item = (usize, usize, PathBuf)> {
        let places = (0..self.adapters).flat_map(|adapter| (0..self.ids).map(move |id| (adapter, id)));
        places.map(|(adapter, id)| (adapter, id, self.folder.join(format!("{adapter}{id}.{}", self.kind))))
    }

    fn args(&self, gt: &str) -> Vec<String> {
        let gt = format!("adapters={},disks={},{gt}", self.adapters, self.adapters * self.ids);
        let mut args = direct("vmlinux-686", "initrd-scsi.gz", &gt);
        args.extend(self.disks().map(|(adapter, id, path)| {
            format!("--scsi={adapter}:{id}={},block={}", path.display(), self.block)
        }));
        args
    }

    fn guest(&self, name: &'static str, gt: &str, then: Option<&str>) -> Guest {
        Guest {
            name,
            args: self.args(gt),
            disks: self.disks().map(|(_, _, path)| (path, self.size)).collect(),
            large: self.size >= 1 << 32,
            then: then.map(|gt| self.args(gt)),
            ..Guest::default()
        }
    }
}

/// What is wrong with the disks of the guest with faults, by their SCSI IDs; that at 0 is well.
const FAULTS: [&str; 10] = [
    "1=error@4000+3",
    "1=pending@9000",
    "2=fail@20+2",
    "2=fail@30+6",
    "2=attention@200",
    "3=vanish@40",
    "4=hang@100",
    "4=hang@300",
    "5=hang@120",
    "6=vanish@40+3",
];
/// What this guest has to find.
const FOUND: &str = "calm=0,bad=1:4000:3,pending=1:9000,fail=2,attention=2,gone=3,hang=4,stuck=5,vanish=6";

/// Debian's aic7xxx driver with our disks.
fn scsi(full: bool) -> Result<Vec<Guest>> {
    let rack = |name: &str, adapters, ids, size| -> Result<Rack> {
        let folder = host::output_dir(&format!("ci/disks/{name}"))?;
        Ok(Rack { folder, kind: "img", adapters, ids, size, block: 512 })
    };
    let three = rack("three", 1, 3, 256 << 20)?;
    let small = rack("two", 2, 1, 64 << 20)?;
    let mut guests = vec![
        three.guest("aic7xxx: a file system, and again after a reboot", "format,ends", Some("verify")),
        small.guest("aic7xxx: two adapters, disks at once, device and bus resets", "together,reset", None),
    ];
    let mut faulty = rack("faulty", 1, 7, 16 << 20)?.guest(
        "aic7xxx: medium errors, attentions, hangs, absences",
        FOUND,
        None,
    );
    faulty.args.extend(FAULTS.iter().map(|fault| format!("--fault=scsi0:{fault}")));
    guests.push(faulty);
    if full {
        guests.push(rack("all", 4, 7, 16 << 20)?.guest(
            "aic7xxx: 4 adapters with 7 disks",
            "ends,together",
            None,
        ));
        // One sector more and a disk needs commands of 16 bytes, which this driver does not send; or larger blocks.
        let most = rack("most", 1, 1, u64::from(u32::MAX) * 512)?;
        guests.push(most.guest(
            "aic7xxx: a disk of 2^32 - 1 sectors, both ends",
            "ends,sectors=4294967295",
            None,
        ));
        let large = Rack { block: 4096, ..rack("large", 1, 1, 512 << 32)? };
        guests.push(large.guest(
            "aic7xxx: a disk of 2^32 sectors, both ends",
            "ends,sectors=4294967296,block=4096",
            None,
        ));
        let vhd = Rack { kind: "vhd", ..rack("vhd", 1, 1, 2040 << 30)? };
        guests.push(vhd.guest("aic7xxx: a VHD of 2040 GB, both ends", "ends", None));
    }
    Ok(guests)
}

fn boot(steps: &Steps, machine: &Path, guest: &Guest) -> Result<String> {
    for (path, size) in &guest.disks {
        if path.extension().is_some_and(|kind| kind == "vhd") {
            if path.exists() {
                fs::remove_file(path).at(path)?;
            }
            let made = CreateOptions::dynamic(*size).create(path).and_then(Vhd::close);
            made.map_err(|error| Error::Input(error.to_string()))?;
        } else {
            fs::File::create(path).and_then(|file| file.set_len(*size)).at(path)?;
        }
    }
    let (first, checks) = once(steps, machine, guest, &guest.args, "")?;
    let mut found = match &first {
        Some(first) => format!(
            "{:.2} G instructions, {:.0} M a second{checks}",
            first.instructions as f64 / 1e9,
            first.mips
        ),
        None => checks.trim_start_matches(", ").to_owned(),
    };
    if guest.twice {
        let (second, _) = once(steps, machine, guest, &guest.args, " again")?;
        let same = |a: &Stats, b: &Stats| (a.instructions, &a.state) == (b.instructions, &b.state);
        if !first.as_ref().zip(second.as_ref()).is_some_and(|(a, b)| same(a, b)) {
            return Err(Error::Check(format!("two counted runs differ: {first:?}; then {second:?}")));
        }
        found += ", the same twice";
    }
    if let Some(args) = &guest.then {
        let (_, checks) = once(steps, machine, guest, args, " then")?;
        found += &format!(", then{checks}");
    }
    for (path, _) in &guest.disks {
        fs::remove_file(path).at(path)?;
    }
    Ok(found)
}

/// One run of a guest.
fn once(
    steps: &Steps,
    machine: &Path,
    guest: &Guest,
    args: &[String],
    again: &str,
) -> Result<(Option<Stats>, String)> {
    let log = steps.log(&format!("guest {}{again}", guest.name));
    let screen = log.with_extension("screen.txt");
    let mut command = Command::new(machine);
    command.args(args).args(["--clock", "counted", "--screen", "none"]);
    if !guest.large {
        command.arg("--stats");
    }
    if guest.disks.is_empty() {
        command.args(["--undo", "discard"]);
    }
    command.args(["--serial", "stdio", "--exit-after", VIRTUAL_LIMIT]);
    if guest.expect {
        command.args(["--expect", VERDICT]);
    }
    if guest.golden.is_some() {
        // The menu is looked at before a key ends it, Linux's screen when the verdict has come.
        let at = if guest.expect { "" } else { "@3" };
        command.arg("--screenshot").arg(format!("{}{at}", screen.display()));
    }
    let ended = host::run_logged(&mut command, &log, LIMIT)?;
    let text = host::read_lossy(&log)?;
    let tests = !guest.args.iter().any(|arg| arg.contains("grub-menu"));
    let failed = |what: String| {
        let bad: Vec<&str> =
            text.lines().filter(|line| line.starts_with("CHECK ") && line.contains(" FAIL")).collect();
        let end = if bad.is_empty() { host::tail(&text, 12) } else { bad };
        Error::Check(format!("{what}; all of it is in {}\n{}", log.display(), end.join("\n")))
    };
    if ended.code() != Some(0) {
        return Err(failed(format!("{ended}, wanted 0")));
    }
    if tests && !text.lines().any(|line| line.trim_end() == VERDICT) {
        return Err(failed(format!("{VERDICT} did not come")));
    }
    if let Some(golden) = guest.golden {
        compare(&host::root().join("guests/golden").join(golden), &screen)?;
    }
    let checks = text.lines().filter(|line| line.starts_with("CHECK ") && line.contains(" ok")).count();
    let checks = if tests { format!(", {checks} checks") } else { String::new() };
    Ok(((!guest.large).then(|| stats(&text)).transpose()?, checks))
}

/// The golden screen is compared with the one just taken.
fn compare(golden: &Path, taken: &Path) -> Result<()> {
    let read = |path: &Path| fs::read_to_string(path).at(path).and_then(|text| Screen::from_golden(&text));
    match read(golden)?.difference(&read(taken)?) {
        None => Ok(()),
        Some(what) => Err(Error::Check(format!(
            "the screen {} differs from {}: {what}",
            taken.display(),
            golden.display()
        ))),
    }
}

/// The line of `--stats`: the last that is a JSON object.
fn stats(text: &str) -> Result<Stats> {
    let line = text.lines().rev().find(|line| line.starts_with('{')).unwrap_or_default();
    let value: serde_json::Value = serde_json::from_str(line).unwrap_or_default();
    let (instructions, state) = (value["instructions"].as_u64(), value["state_sha256"].as_str());
    let (Some(instructions), Some(state)) = (instructions, state) else {
        return Err(Error::Check("--stats printed no instructions and state_sha256".into()));
    };
    Ok(Stats { instructions, state: state.to_owned(), mips: value["mips"].as_f64().unwrap_or_default() })
}

/// The files a run of these guests needs.
pub(super) fn missing() -> Vec<PathBuf> {
    let names = [
        "vmlinux-686",
        "vmlinuz-686",
        "ipxe.iso",
        "vmlinux-686-pae",
        "initrd-pae.gz",
        "initrd-net.gz",
        "initrd-scsi.gz",
        "debian.vhd",
        "debian.iso",
        "debian-grub-menu.vhd",
    ];
    names.iter().map(|name| host::guests_dir().join(name)).filter(|path| !path.is_file()).collect()
}
